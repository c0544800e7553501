/* SPDX-License-Identifier: Apache-2.0
 *
 * What every provider has to do.
 */
#ifndef AFPA_TRANSPORT_CASES_H
#define AFPA_TRANSPORT_CASES_H

#include <check.h>
#include <stdbool.h>

/* Adds the cases to a suite, asked of `count` kinds from `from` on (transport_side.h).  whole false: of a provider whose host
 * accepts connections by itself, and which has no events. */
void transport_cases(Suite *suite, int from, int count, bool whole);

#endif
