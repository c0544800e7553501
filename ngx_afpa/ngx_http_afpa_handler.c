/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 1 in nginx: from a request to a held object, or to NGX_DECLINED.
 *
 * Runs in the content phase, after access control and rewriting.  A hit is answered at once.  A miss, and an object whose last
 * check is too old and could not be made anew by the look-up, goes to a worker thread while the request stands still; then the
 * content phase is entered again, and the worker's result either answers or declines, so that nginx's static handler gets the
 * request as if nothing had happened.
 */
#include "ngx_http_afpa.h"

/* A worker that stops gracefully waits as long as there is a timer: so a request that waits for a thread has one. */
#define TASK_MS 60000

/* ---- thread pool ---- */

/* The client went away, or the request ended otherwise, while the worker was busy. */
static ngx_flag_t gone(ngx_http_request_t *r)
{
#if (nginx_version >= 1025004)
    return r->done || r->main->terminated;
#else
    return r->done;
#endif
}

static void on_task_done(ngx_event_t *ev)
{
    ngx_http_request_t *r = ev->data;
    ngx_connection_t *c = r->connection;

    if (ev->timedout) {
        ngx_log_error(NGX_LOG_ALERT, c->log, 0, "afpa: a worker thread has been busy with this request's file for %d s",
                      TASK_MS / 1000);
        ev->timedout = 0;
        return;
    }
    if (ev->timer_set) {
        ngx_del_timer(ev);
    }
    ngx_http_set_log_request(c->log, r);
    r->main->blocked--;
    r->aio = 0;
    if (gone(r)) {
        c->write->handler(c->write);
        return;
    }
    r->write_event_handler(r);
    ngx_http_run_posted_requests(c);
}

ngx_int_t ngx_http_afpa_post(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, void (*run)(void *data, ngx_log_t *log))
{
    ngx_http_afpa_main_conf_t *main_conf = ngx_http_get_module_main_conf(r, ngx_http_afpa_module);

    if (ctx->task == NULL) {
        ctx->task = ngx_thread_task_alloc(r->pool, sizeof(ngx_http_afpa_ctx_t *));
        if (ctx->task == NULL)
            return NGX_ERROR;
        *(ngx_http_afpa_ctx_t **)ctx->task->ctx = ctx;
        ctx->task->event.data = r;
        ctx->task->event.log = r->connection->log;
        ctx->task->event.handler = on_task_done;
    }
    ctx->task->handler = run;
    if (main_conf->pool == NULL || ngx_thread_task_post(main_conf->pool, ctx->task) != NGX_OK)
        return NGX_ERROR;
    ngx_add_timer(&ctx->task->event, TASK_MS);
    r->main->blocked++;
    r->aio = 1;
    return NGX_OK;
}

/* ---- opening ---- */

static void run_open(void *data, ngx_log_t *log)
{
    ngx_http_afpa_ctx_t *ctx = *(ngx_http_afpa_ctx_t **)data;
    bool fresh = false;

    ctx->open_status =
        afpa_cache_open(ctx->cache, (const char *)ctx->path.data, ctx->path.len, &ctx->policy, &ctx->ref, &ctx->why, &fresh);
    ctx->fresh = fresh;
    ctx->answered = 1;
}

/* Enters the content phase again once the worker has answered; anything else that wakes the request up is too early. */
static void on_opened(ngx_http_request_t *r)
{
    ngx_http_afpa_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_afpa_module);

    if (r->aio || !ctx->answered)
        return;
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}

/* ---- the header of RFC 9211 ---- */

static ngx_int_t cache_status_add(ngx_http_request_t *r, const char *value)
{
    ngx_table_elt_t *h = ngx_list_push(&r->headers_out.headers);

    if (h == NULL)
        return NGX_ERROR;
    ngx_memzero(h, sizeof(*h));
    h->hash = 1;
    ngx_str_set(&h->key, "Cache-Status");
    h->value.data = (u_char *)(uintptr_t)value;
    h->value.len = ngx_strlen(value);
    return NGX_OK;
}

static const char *cache_status_of(ngx_http_afpa_status_t status)
{
    switch (status) {
    case NGX_HTTP_AFPA_HIT:
    case NGX_HTTP_AFPA_REVALIDATED:
        return "afpa; hit";
    case NGX_HTTP_AFPA_MISS:
        return "afpa; fwd=uri-miss; stored";
    case NGX_HTTP_AFPA_STALE:
        return "afpa; fwd=stale; stored";
    case NGX_HTTP_AFPA_BYPASS:
        return "afpa; fwd=bypass";
    default:
        return "afpa; fwd=uri-miss";
    }
}

/* Whether the range filter has to make several parts: it does that of one buffer only. */
static ngx_flag_t is_multipart(ngx_http_request_t *r)
{
    ngx_table_elt_t *range = r == r->main ? r->headers_in.range : NULL;

    return range && ngx_strlchr(range->value.data, range->value.data + range->value.len, ',');
}

/* Whether nginx would hold back (postpone_output) more than all that is pinned at a time, and so wait for what never comes. */
static ngx_flag_t is_postponed(ngx_http_request_t *r, const ngx_http_afpa_ctx_t *ctx)
{
    ngx_http_core_loc_conf_t *clcf = ngx_http_get_module_loc_conf(r->main, ngx_http_core_module);

    return afpa_ref_entries(&ctx->ref) > AFPA_SEND_WINDOW &&
           clcf->postpone_output > AFPA_SEND_WINDOW * (size_t)afpa_zone_chunk_size(afpa_cache_zone(ctx->ref.cache));
}

static ngx_int_t answer(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, ngx_http_afpa_status_t status)
{
    ngx_http_afpa_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_afpa_module);
    ngx_flag_t multipart = afpa_ref_entries(&ctx->ref) > 1 && is_multipart(r);

    ctx->status = status;
    if (multipart || is_postponed(r, ctx)) {
        ctx->status = NGX_HTTP_AFPA_DECLINED;
        ctx->why = multipart ? AFPA_DECLINE_RANGES : AFPA_DECLINE_FILTER;
        afpa_cache_release(&ctx->ref);
        afpa_cache_count(ctx->cache, ctx->why);
        return NGX_DECLINED;
    }
    afpa_cache_count(ctx->cache, status == NGX_HTTP_AFPA_MISS || status == NGX_HTTP_AFPA_STALE ? AFPA_COUNTER_MISSES
                                                                                               : AFPA_COUNTER_PIPELINE_HITS);
    if (conf->cache_status && cache_status_add(r, cache_status_of(status)) != NGX_OK)
        return NGX_ERROR;
    r->root_tested = !r->error_page;
    return ngx_http_afpa_send(r, ctx);
}

static ngx_int_t decline(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, ngx_http_afpa_status_t status, afpa_counter_t why)
{
    ngx_http_afpa_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_afpa_module);

    ctx->status = status;
    ctx->why = why;
    if (conf->cache_status && cache_status_add(r, cache_status_of(status)) != NGX_OK)
        return NGX_ERROR;
    return NGX_DECLINED;
}

static ngx_int_t decline_counted(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, ngx_http_afpa_status_t status, afpa_counter_t why)
{
    afpa_cache_count(ctx->cache, why);
    return decline(r, ctx, status, why);
}

/* The worker is back. */
static ngx_int_t after_open(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx)
{
    ctx->answered = 0;
    if (ctx->open_status == AFPA_DISABLED)
        return decline_counted(r, ctx, NGX_HTTP_AFPA_DECLINED, AFPA_DECLINE_DISABLED);
    if (ctx->open_status != AFPA_OK)
        return decline(r, ctx, NGX_HTTP_AFPA_DECLINED, ctx->why);
    if (ctx->stale)
        return answer(r, ctx, ctx->fresh ? NGX_HTTP_AFPA_REVALIDATED : NGX_HTTP_AFPA_STALE);
    return answer(r, ctx, NGX_HTTP_AFPA_MISS);
}

static ngx_int_t open_later(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, ngx_http_afpa_loc_conf_t *conf)
{
    ctx->policy.min_size = (uint64_t)conf->min_size;
    ctx->policy.max_size = (uint64_t)conf->max_size;
    ctx->policy.min_uses = (uint32_t)ngx_min(conf->min_uses, 65535); /* the library counts that far */
    ctx->policy.revalidate_ms = ngx_http_afpa_u32(conf->revalidate);
    if (ngx_http_afpa_post(r, ctx, run_open) != NGX_OK)
        return decline_counted(r, ctx, NGX_HTTP_AFPA_DECLINED, AFPA_DECLINE_NO_SPACE);
    r->write_event_handler = on_opened;
    r->main->count++;
    return NGX_DONE;
}

static ngx_http_afpa_ctx_t *ctx_make(ngx_http_request_t *r, afpa_cache_t *cache)
{
    ngx_http_afpa_ctx_t *ctx = ngx_pcalloc(r->pool, sizeof(*ctx));
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(r->pool, 0); /* before the first pin is taken */

    if (ctx == NULL || cleanup == NULL)
        return NULL;
    cleanup->handler = ngx_http_afpa_release;
    cleanup->data = ctx;
    ctx->cache = cache;
    ngx_http_set_ctx(r, ctx, ngx_http_afpa_module);
    return ctx;
}

static ngx_int_t look_up(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, ngx_http_afpa_loc_conf_t *conf)
{
    afpa_status_t status =
        afpa_cache_lookup(ctx->cache, (const char *)ctx->path.data, ctx->path.len, ngx_http_afpa_u32(conf->revalidate), &ctx->ref);

    switch (status) {
    case AFPA_CHECK_DUE:
        /* The library hands out one check per object and half period, so these are few. */
        afpa_cache_check_later(ctx->cache, (const char *)ctx->path.data, ctx->path.len, &ngx_http_afpa_executor);
        return answer(r, ctx, NGX_HTTP_AFPA_HIT);
    case AFPA_OK:
        return answer(r, ctx, ctx->ref.checked ? NGX_HTTP_AFPA_REVALIDATED : NGX_HTTP_AFPA_HIT);
    case AFPA_STALE:
        ctx->stale = 1;
        return open_later(r, ctx, conf);
    case AFPA_MISS:
        return open_later(r, ctx, conf);
    case AFPA_DECLINED:
        return decline(r, ctx, NGX_HTTP_AFPA_DECLINED, (afpa_counter_t)ctx->ref.why);
    default:
        return decline_counted(r, ctx, NGX_HTTP_AFPA_DECLINED, ctx->cache ? AFPA_DECLINE_DISABLED : AFPA_DECLINE_NO_OWNER);
    }
}

ngx_int_t ngx_http_afpa_handler(ngx_http_request_t *r)
{
    ngx_http_afpa_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_afpa_module);
    ngx_http_core_loc_conf_t *clcf;
    ngx_http_afpa_ctx_t *ctx;
    u_char *last;
    size_t root;

    if (conf->zone == NULL || r->uri.data[r->uri.len - 1] == '/')
        return NGX_DECLINED;
    ctx = ngx_http_get_module_ctx(r, ngx_http_afpa_module);
    if (ctx && ctx->answered)
        return after_open(r, ctx);
    if (ctx == NULL && (ctx = ctx_make(r, conf->zone->cache)) == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)))
        return decline_counted(r, ctx, NGX_HTTP_AFPA_DECLINED, AFPA_DECLINE_METHOD);
    switch (ngx_http_test_predicates(r, conf->bypass)) {
    case NGX_ERROR:
        return NGX_ERROR;
    case NGX_DECLINED:
        return decline_counted(r, ctx, NGX_HTTP_AFPA_BYPASS, AFPA_DECLINE_BYPASS);
    default:
        break;
    }
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
#if (NGX_HAVE_OPENAT)
    if (clcf->disable_symlinks != NGX_DISABLE_SYMLINKS_OFF)
        return decline_counted(r, ctx, NGX_HTTP_AFPA_DECLINED, AFPA_DECLINE_SYMLINKS);
#endif
    last = ngx_http_map_uri_to_path(r, &ctx->path, &root, 0);
    if (last == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ctx->path.len = (size_t)(last - ctx->path.data);
    return look_up(r, ctx, conf);
}
