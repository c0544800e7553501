/* SPDX-License-Identifier: Apache-2.0
 *
 * The send machine, for tests and documentation.
 */
#ifndef AFPA_SEND_PRIVATE_H
#define AFPA_SEND_PRIVATE_H

#include <stdio.h>

#include <afpa/send.h>

/* The table as a graph, for dot(1). */
void afpa__send_print_dot(FILE *out);

#endif
