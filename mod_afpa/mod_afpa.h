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
    apr_file_t *file;    /* the segment in this child, for sendfile */
    apr_pool_t *pool;    /* its pool: lives as long as the process, so nothing ever sets the file aside */
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
/* Sets the variable afpa-status to what it is as long as the handler has not said anything else. */
int afpa_mod_status_begin(request_rec *r);

/* mod_afpa_bucket.c: a bucket over all of a held object, which it takes over from *ref.  Chunks are pinned one by one as it is
 * read, and given back with the last destroy.  `sendfile`: pin them for use by reference.  NULL: out of memory. */
apr_bucket *afpa_mod_bucket_create(afpa_ref_t *ref, apr_size_t length, int sendfile, conn_rec *c);
/* Whether a bucket is one over an object, meant for sendfile, that nobody has read yet. */
int afpa_mod_bucket_unread(const apr_bucket *b);
/* The chunk behind a bucket of at least `min` bytes that may be sent by reference; NULL otherwise. */
const afpa_extent_t *afpa_mod_bucket_sendfile(apr_bucket *b, apr_size_t min);
/* Puts a file bucket over the chunk's bytes before the bucket, which from then on only holds the pin. */
void afpa_mod_bucket_to_file(apr_bucket *b, apr_file_t *file, apr_pool_t *pool);

/* mod_afpa_filter.c: the filter before the network. */
void afpa_mod_filter_register(void);
/* Whether the reply to this request may go by reference; sees to it that the filter is there then. */
int afpa_mod_filter_want(request_rec *r, afpa_mod_zone_t *zone, apr_int64_t zerocopy);

#endif
