/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, messages: to the one receiver a process has set; and the last words before an abort.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "assert.h"
#include "log.h"

static afpa_log_fn *receiver;
static void *receiver_context;
int afpa__log_limit = -1;

void afpa_log_set(afpa_log_fn *fn, void *context, afpa_log_level_t up_to)
{
    receiver = fn;
    receiver_context = context;
    afpa__log_limit = fn ? (int)up_to : -1;
}

void afpa__log(afpa_log_level_t level, const char *format, ...)
{
    char line[1024];
    va_list args;

    if (!receiver || !afpa__logs(level))
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    receiver(receiver_context, level, line);
}

void afpa__assert_failed(const char *file, int line, const char *expression)
{
    fprintf(stderr, "afpa: %s:%d: assertion failed: %s\n", file, line, expression);
    abort();
}
