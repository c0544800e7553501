/* SPDX-License-Identifier: Apache-2.0
 *
 * Bugs abort, in release builds as well: going on could send somebody the wrong bytes.
 */
#ifndef AFPA_ASSERT_H
#define AFPA_ASSERT_H

/* Prints where and what to standard error, and aborts. */
_Noreturn void afpa__assert_failed(const char *file, int line, const char *expression);

/* The expression is evaluated once, in every build: it may be a call whose result must not be anything else. */
#define afpa__assert(expression) ((expression) ? (void)0 : afpa__assert_failed(__FILE__, __LINE__, #expression))

#endif
