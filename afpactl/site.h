/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder as a web site: what `afpactl serve` answers with.
 */
#ifndef AFPACTL_SITE_H
#define AFPACTL_SITE_H

#include <stddef.h>

#include "afpactl.h"

/* The number of its response entries; the header they are made of does not depend on anything configured. */
#define SITE_SERVER UINT64_C(0x6166706163746c01)

typedef struct site {
    char *root; /* absolute, no slash at the end */
} site_t;

typedef enum site_status {
    SITE_OK,        /* the engine can answer now, or has to read more */
    SITE_BAD,       /* 400 */
    SITE_FORBIDDEN, /* 403 */
    SITE_NOT_FOUND, /* 404 */
    SITE_METHOD,    /* 405 */
    SITE_TOO_LARGE, /* 431 */
    SITE_BUSY       /* 503 */
} site_status_t;

/* Whether the root is a folder; complains if not. */
bool site_root_valid(const site_t *site);

/* Has the request at the beginning of `bytes` answered from now on: takes the fields out of it that a server may ignore, which
 * makes *length smaller, opens the file and admits a response.  In a worker. */
site_status_t site_admit(const site_t *site, afpa_cache_t *cache, char *bytes, size_t *length);

/* The whole reply, for anything but SITE_OK.  Static storage. */
const char *site_error(site_status_t status);

#endif
