/* SPDX-License-Identifier: Apache-2.0
 *
 * Options as a table (options.def), and the readers of their values that both servers use, so that a size means the same everywhere.
 */
#ifndef AFPA_OPTIONS_H
#define AFPA_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum afpa_option {
#define OPTION(id, name, type, fallback, nginx, httpd, help) AFPA_OPTION_##id,
#include <afpa/options.def>
    AFPA_OPTION_LIMIT
} afpa_option_t;

typedef enum afpa_option_type { AFPA_TYPE_SIZE, AFPA_TYPE_TIME, AFPA_TYPE_COUNT, AFPA_TYPE_MODE } afpa_option_type_t;

typedef struct afpa_option_row {
    const char *name, *fallback, *nginx, *httpd, *help;
    afpa_option_type_t type;
} afpa_option_row_t;

/* The row of an option; NULL outside the table. */
const afpa_option_row_t *afpa_option_row(afpa_option_t option);

/* The default of a SIZE, TIME or COUNT option as a number (bytes, milliseconds, count). */
uint64_t afpa_option_default(afpa_option_t option);

/* Reads "4096", "64k", "20M", "1g" into bytes.  AFPA_INVALID: not a size, or it overflows; *bytes untouched. */
afpa_status_t afpa_parse_size(const char *text, size_t len, uint64_t *bytes);

/* Reads "1", "1s", "250ms", "5m", "1h" into milliseconds; a bare number is seconds.  AFPA_INVALID as above. */
afpa_status_t afpa_parse_time(const char *text, size_t len, uint64_t *ms);

/* What admits a file to the cache, from the configuration of the place where it is served. */
typedef struct afpa_policy {
    uint64_t min_size, max_size; /* bytes, inclusive */
    uint32_t revalidate_ms;
    uint32_t min_uses;
    bool no_evict; /* only into room that is free: nothing is dropped for it (loading ahead of requests); no directive sets it */
} afpa_policy_t;

/* The defaults of options.def; evicting is allowed. */
void afpa_policy_init(afpa_policy_t *policy);

#ifdef __cplusplus
}
#endif
#endif
