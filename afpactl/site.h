/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory as a web site: what `afpactl serve` answers with.
 */
#ifndef AFPACTL_SITE_H
#define AFPACTL_SITE_H

#include <stddef.h>
#include <stdint.h>

#include "afpactl.h"

typedef struct site {
    char *root; /* absolute, no slash at the end */
    /* The number of its response entries; another one each time, for the same URL may have been another directory's. */
    uint64_t server;
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

/* Whether the root is a directory; complains if not.  Gives the site its number. */
bool site_open(site_t *site);

/* Has the request at the beginning of `bytes` answered from now on: takes the fields out of it that a server may ignore, which
 * makes *length smaller, opens the file and admits a response.  In a worker. */
site_status_t site_admit(const site_t *site, afpa_cache_t *cache, char *bytes, size_t *length);

/* The whole reply, for anything but SITE_OK.  Static storage. */
const char *site_error(site_status_t status);

#endif
