/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending a line to the process's receiver: see log.c.
 */
#ifndef AFPA_LOG_PRIVATE_H
#define AFPA_LOG_PRIVATE_H

#include <afpa/log.h>

void afpa__log(afpa_log_level_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
