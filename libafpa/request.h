/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests compare: see request.c.
 */
#ifndef AFPA_REQUEST_PRIVATE_H
#define AFPA_REQUEST_PRIVATE_H

/* The first byte from `at` on that may not stand in the value of a field; `end` if there is none.  Both say the same; the first may
 * look at bytes from `start` on. */
const char *afpa__value_end(const char *start, const char *at, const char *end);
const char *afpa__value_end_scalar(const char *at, const char *end);

#endif
