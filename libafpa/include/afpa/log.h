/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the library's messages go.  The library never writes to a descriptor of its own accord.
 */
#ifndef AFPA_LOG_H
#define AFPA_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum afpa_log_level { AFPA_LOG_ERROR, AFPA_LOG_WARN, AFPA_LOG_NOTICE, AFPA_LOG_DEBUG } afpa_log_level_t;

/* Receives one line without a newline.  May be called from any thread, so it must be thread-safe; must not call the library. */
typedef void afpa_log_fn(void *context, afpa_log_level_t level, const char *line);

/* Sets the process's receiver; NULL (the start) discards messages.  Call before other threads use the library. */
void afpa_log_set(afpa_log_fn *fn, void *context, afpa_log_level_t up_to);

#ifdef __cplusplus
}
#endif
#endif
