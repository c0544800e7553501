/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending a line to the process's receiver: see log.c.
 */
#ifndef AFPA_LOG_PRIVATE_H
#define AFPA_LOG_PRIVATE_H

#include <stdbool.h>

#include <afpa/log.h>

/* Up to which level lines are wanted; -1: nobody listens. */
extern int afpa__log_limit;

/* For where a line is on a hot path. */
static inline bool afpa__logs(afpa_log_level_t level)
{
    return (int)level <= afpa__log_limit;
}

void afpa__log(afpa_log_level_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
