/* SPDX-License-Identifier: Apache-2.0
 *
 * mod_afpa, the pipeline: what its files share.
 *
 * The module is a content handler just before httpd's default handler.  It replaces "open, read" by pinned chunks; everything
 * before it (access control, rewriting) and behind it (filters, logs) is httpd's own.  Handlers run in worker threads, which may
 * block; so opening, reading and checking files happens right there.
 */
#ifndef MOD_AFPA_H
#define MOD_AFPA_H

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <apr_buckets.h>
#include <apr_strings.h>

#include <afpa/cache.h>
#include <afpa/log.h>
#include <afpa/options.h>
#include <afpa/send.h>
#include <afpa/zone.h>

extern module AP_MODULE_DECLARE_DATA afpa_module;

/* Declared by AfpaZone; one list for all servers of a configuration. */
typedef struct afpa_mod_zone {
    const char *name;
    afpa_zone_options_t options;
    afpa_zone_t *zone;
    afpa_cache_t *cache; /* of this child process; NULL: serve without */
    struct afpa_mod_zone *next;
} afpa_mod_zone_t;

#define AFPA_MOD_UNSET (-1)

typedef struct {
    int enable;       /* AFPA_MOD_UNSET, 0 or 1 */
    const char *name; /* of the zone; NULL with enable 1: the only one */
    afpa_mod_zone_t *zone;
    apr_int64_t min_uses, zerocopy;
} afpa_mod_server_conf_t;

typedef struct {
    int cache, cache_status;
    apr_int64_t revalidate_ms, min_size, max_size;
} afpa_mod_dir_conf_t;

/* mod_afpa_handler.c */
int afpa_mod_handler(request_rec *r);

/* mod_afpa_bucket.c: a bucket over a held object, which it takes over from *ref; `length` bytes from `start`.
 * Chunks are pinned one by one as the bucket is read, and given back with the last destroy. */
apr_bucket *afpa_mod_bucket_create(afpa_ref_t *ref, apr_uint64_t start, apr_size_t length, conn_rec *c, apr_bucket_alloc_t *list);

#endif
