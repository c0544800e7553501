/* SPDX-License-Identifier: Apache-2.0
 *
 * ngx_afpa, the pipeline: what its files share.
 *
 * The module is a content handler just before nginx's own static handler.  Everything it cannot or may not do, it declines, and
 * nginx goes on as if the module were not there.  The event loop calls only what libafpa allows it: look up and pin.  Opening,
 * reading and checking go to a thread pool.
 */
#ifndef NGX_HTTP_AFPA_H
#define NGX_HTTP_AFPA_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <afpa/cache.h>
#include <afpa/inspect.h>
#include <afpa/log.h>
#include <afpa/options.h>
#include <afpa/send.h>
#include <afpa/zone.h>

/* Numbers of the configuration that are larger than the library's. */
static ngx_inline uint32_t ngx_http_afpa_u32(uintmax_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

typedef struct {
    ngx_str_t name;
    afpa_zone_options_t options;
    afpa_zone_t *zone;   /* opened by the master, once per configuration */
    afpa_cache_t *cache; /* of this worker; NULL: serve without */
} ngx_http_afpa_zone_t;

typedef struct {
    ngx_int_t family;
    in_port_t port;
} ngx_http_afpa_port_t;

typedef struct {
    ngx_array_t zones; /* of ngx_http_afpa_zone_t * */
    off_t zerocopy;
    ngx_str_t threads;
    ngx_thread_pool_t *pool;
    ngx_array_t fast_ports;          /* of ngx_http_afpa_port_t: taken over */
    ngx_http_afpa_zone_t *fast_zone; /* of the fast path; NULL: it is on nowhere */
    ngx_array_t logs;                /* of ngx_http_afpa_log_t *; NULL: off */
    uint64_t epoch;                  /* of this configuration: response entries of another are never found */
} ngx_http_afpa_main_conf_t;

typedef struct {
    ngx_uint_t log;  /* afpa_access_log, by its place in main_conf->logs; NGX_CONF_UNSET_UINT: nothing was said */
    ngx_flag_t fast; /* the fast path is on somewhere in this server */
} ngx_http_afpa_srv_conf_t;

typedef struct {
    ngx_http_afpa_zone_t *zone; /* NULL: off */
    ngx_msec_t revalidate;
    off_t min_size, max_size;
    ngx_uint_t min_uses;
    ngx_array_t *bypass; /* of ngx_http_complex_value_t */
    ngx_flag_t cache_status;
    ngx_flag_t fast_path;
    uint64_t noted, noted_not; /* directives of other modules in force here, or put out of force: ngx_http_afpa_refuse.c */
    ngx_str_t index;           /* the first name of `index`; empty: it depends on the request */
    ngx_flag_t try_files;      /* it stands here */
    ngx_flag_t gzip_static;    /* it is not off */
} ngx_http_afpa_loc_conf_t;

/* What $afpa_status says. */
typedef enum {
    NGX_HTTP_AFPA_NONE,
    NGX_HTTP_AFPA_HIT,
    NGX_HTTP_AFPA_MISS,
    NGX_HTTP_AFPA_REVALIDATED,
    NGX_HTTP_AFPA_STALE,
    NGX_HTTP_AFPA_BYPASS,
    NGX_HTTP_AFPA_DECLINED
} ngx_http_afpa_status_t;

/* A buffer over a pinned chunk.  The buffer comes first: nginx hands back buffers. */
typedef struct {
    ngx_buf_t buf;
    afpa_extent_t extent;
} ngx_http_afpa_buf_t;

typedef struct {
    ngx_http_afpa_status_t status;
    afpa_counter_t why; /* of a decline */
    ngx_str_t path;
    afpa_cache_t *cache;
    afpa_ref_t ref;
    afpa_policy_t policy;
    ngx_thread_task_t *task; /* made when first needed */
    unsigned answered : 1;   /* a worker has tried to open the file: open_status */
    unsigned stale : 1;      /* it was cached, but too old */
    unsigned fresh : 1;      /* it was cached, and is still the same */
    unsigned varied : 1;     /* it was to have a Vary before the filters saw it */
    afpa_status_t open_status, fill_status;
    afpa_extent_t overflow; /* a chunk read into private memory, because nothing could be evicted */
    afpa_walk_t walk;
    ngx_file_t *file; /* the segment, for sendfile */
    afpa_pin_mode_t mode;
    ngx_chain_t *busy, *free;
    ngx_uint_t flying;
    ngx_uint_t rounds; /* fills in a row for the same chunk */
} ngx_http_afpa_ctx_t;

extern ngx_module_t ngx_http_afpa_module;

/* ngx_http_afpa_handler.c */
ngx_int_t ngx_http_afpa_handler(ngx_http_request_t *r);

/* ngx_http_afpa_buffer.c: answers with the object in ctx->ref; as a content handler's return. */
ngx_int_t ngx_http_afpa_send(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx);
/* Gives back every pin of the request: its clean-up. */
void ngx_http_afpa_release(void *data);

/* ngx_http_afpa_executor.c: libafpa's jobs, in the thread pool of this configuration; they are done in the event loop. */
extern afpa_executor_t ngx_http_afpa_executor;

/* ngx_http_afpa_capture.c: has the header just sent admitted to the fast path, if the reply may be. */
void ngx_http_afpa_capture(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx);

/* Runs `run` in the thread pool with the request held, then r->write_event_handler in the loop.  NGX_OK; NGX_ERROR: not posted. */
ngx_int_t ngx_http_afpa_post(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, void (*run)(void *data, ngx_log_t *log));

#endif
