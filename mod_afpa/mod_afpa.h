/* SPDX-License-Identifier: Apache-2.0
 *
 * mod_afpa: what its files share.  What only the fast path needs is in mod_afpa_fastpath.h.
 *
 * The module is a content handler just before httpd's default handler.  It replaces "open, read" by pinned chunks; everything
 * before it (access control, rewriting) and behind it (filters, logs) is httpd's own.  Handlers run in worker threads, which may
 * block; so opening, reading and checking files happens right there.
 */
#ifndef MOD_AFPA_H
#define MOD_AFPA_H

#include <httpd.h> /* first: the others rely on it */

#include <apr_buckets.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>

#include <afpa/cache.h>
#include <afpa/log.h>
#include <afpa/options.h>
#include <afpa/send.h>
#include <afpa/zone.h>

extern module AP_MODULE_DECLARE_DATA afpa_module;
APLOG_USE_MODULE(afpa); /* whose messages these are: "LogLevel afpa:debug" */

/* Declared by AfpaZone; one list for all servers of a configuration. */
typedef struct afpa_mod_zone {
    const char *name;
    afpa_zone_options_t options;
    afpa_zone_t *zone;
    afpa_cache_t *cache; /* of this child process; NULL: serve without */
    struct afpa_mod_zone *next;
} afpa_mod_zone_t;

#define AFPA_MOD_UNSET (-1)

typedef struct afpa_mod_log afpa_mod_log_t;

/* For a head to arrive. */
typedef struct {
    apr_int64_t seconds; /* AFPA_MOD_UNSET; 0: it has no time of its own */
    apr_int64_t rate;    /* a second more for so many bytes; 0: none */
    apr_int64_t most;    /* seconds, with those; 0: no bound */
} afpa_mod_header_time_t;

typedef struct {
    int enable;       /* AFPA_MOD_UNSET, 0 or 1 */
    const char *name; /* of the zone; NULL with enable 1: the only one */
    afpa_mod_zone_t *zone;
    apr_int64_t min_uses, zerocopy;
    /* the fast path: */
    int fast_here, fast_within; /* what AfpaFastPath says of the server; it is on in a section of it */
    int fast;                   /* it is on somewhere in this server, and can be */
    int logging, server_header;
    afpa_mod_log_t *log;
    apr_int64_t threads, connections;
    afpa_mod_header_time_t header; /* mod_reqtimeout's, from RequestReadTimeout or its default */
    const char *limit;             /* a limit of requests that is lower than httpd's own; NULL: there is none */
} afpa_mod_server_conf_t;

/* What is in force at a place that lets a reply depend on more than its URL: see mod_afpa_guard.c. */
typedef struct {
    const char *directive;        /* the first one; NULL: none */
    const char *require, *compat; /* of the access rules of both generations: "" all are let in, a name: not all; NULL: not said */
    int expires;                  /* Expires follows the time of the request */
    int renames; /* while it is read: a rule of this section may have made the file another one for those behind it */
} afpa_mod_guard_t;

typedef struct {
    int cache, cache_status, fast_path;
    apr_int64_t revalidate_ms, min_size, max_size;
    afpa_mod_guard_t guard;
} afpa_mod_dir_conf_t;

/* Of a connection. */
typedef struct {
    afpa_mod_zone_t *zone; /* of the filter before the network; NULL: it is not there */
    apr_file_t *segment;   /* of that zone */
    apr_size_t min;
    struct afpa_mod_client *client; /* of the fast path; NULL: the MPM's connection */
    apr_bucket_brigade *blank;      /* for looking at what follows a request; empty */
} afpa_mod_conn_t;

static inline int afpa_mod_fast_wanted(const afpa_mod_server_conf_t *conf)
{
    return conf->fast_here == 1 || conf->fast_within;
}

afpa_mod_conn_t *afpa_mod_conn(conn_rec *c);

/* mod_afpa_handler.c */
int afpa_mod_handler(request_rec *r);
/* Sets the variable afpa-status to what it is as long as the handler has not said anything else. */
int afpa_mod_status_begin(request_rec *r);

/* mod_afpa_bucket.c: a bucket over all of a held object, which it takes over from *ref.  Chunks are pinned one by one as it is
 * read, and given back with the last destroy.  `sendfile`: pin them for use by reference.  NULL: out of memory. */
apr_bucket *afpa_mod_bucket_create(afpa_ref_t *ref, apr_size_t length, int sendfile, conn_rec *c);
/* Whether a bucket stands for bytes of an object. */
int afpa_mod_bucket_is_ours(const apr_bucket *b);
/* Whether a bucket is one over an object, meant for sendfile, that nobody has read yet. */
int afpa_mod_bucket_unread(const apr_bucket *b);
/* The chunk behind a bucket of at least `min` bytes that may be sent by reference; NULL otherwise. */
const afpa_extent_t *afpa_mod_bucket_sendfile(apr_bucket *b, apr_size_t min);
/* Puts a file bucket over the chunk's bytes before the bucket, which from then on only holds the pin. */
void afpa_mod_bucket_to_file(apr_bucket *b, apr_file_t *file, apr_pool_t *pool);

/* mod_afpa_guard.c: the handler of every directive in mod_afpa_guard.def. */
const char *afpa_mod_watch(cmd_parms *cmd, void *dir, const char *args);
void afpa_mod_guard_merge(afpa_mod_guard_t *merged, const afpa_mod_guard_t *base, const afpa_mod_guard_t *own);
/* Why a reply to this request may depend on more than its URL; NULL: it does not. */
const char *afpa_mod_guarded(const request_rec *r, const afpa_mod_dir_conf_t *dir);
/* A module that sees each request and that we do not know; NULL: there is none. */
const char *afpa_mod_guard_stranger(void);

/* mod_afpa_log.c */
const char *afpa_mod_log_set(cmd_parms *cmd, void *dir, const char *path, const char *format);

/* mod_afpa_capture.c: has the reply that is about to be sent from `ref` admitted to the fast path, if it may be. */
void afpa_mod_capture(request_rec *r, const afpa_ref_t *ref);
void afpa_mod_capture_register(void);

/* mod_afpa_fastpath.c */
void afpa_mod_fastpath_register(void);
int afpa_mod_fastpath_check(server_rec *s);
int afpa_mod_fastpath_prepare(apr_pool_t *pconf, server_rec *s);
void afpa_mod_fastpath_child(apr_pool_t *pchild, server_rec *s);

/* mod_afpa_filter.c: the filter before the network. */
void afpa_mod_filter_register(void);
/* Whether the reply to this request may go by reference; sees to it that the filter is there then. */
int afpa_mod_filter_want(request_rec *r, afpa_mod_zone_t *zone, apr_int64_t zerocopy);

#endif
