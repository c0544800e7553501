/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock that freshness is measured with.
 */
#ifndef AFPA_CLOCK_H
#define AFPA_CLOCK_H

#include <stdint.h>

/* Milliseconds, monotonic, the same in all processes of the machine; about 5 ns a call. */
uint64_t afpa__now_ms(void);

/* Seconds since the epoch, as cheap. */
int64_t afpa__wall_seconds(void);

/* Replaces the monotonic clock; NULL: the real one.  For tests. */
void afpa__clock_set(uint64_t (*clock)(void));

#endif
