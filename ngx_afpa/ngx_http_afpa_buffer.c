/* SPDX-License-Identifier: Apache-2.0
 *
 * Stages 5 to 7 in nginx: from a held object to buffers over its pinned chunks, and back to released pins.
 *
 * The buffer is the completion: nginx advances it as the bytes leave, and hands it back when it is used up; then its pin goes.
 * A buffer is both memory and file: nginx sends it with sendfile where it may, and takes the memory where a filter or TLS needs it.
 * At most AFPA_SEND_WINDOW chunks of a reply are pinned at a time; a chunk that is not in memory is read by a worker while the
 * request waits.  Whatever is still pinned when the request ends, is released by its clean-up.
 */
#include "ngx_http_afpa.h"

void ngx_http_afpa_release(void *data)
{
    ngx_http_afpa_ctx_t *ctx = data;

    for (ngx_chain_t *cl = ctx->busy; cl; cl = cl->next)
        afpa_cache_unpin(&((ngx_http_afpa_buf_t *)cl->buf)->extent);
    ctx->busy = NULL;
    afpa_cache_unpin(&ctx->overflow);
    afpa_cache_release(&ctx->ref);
}

/* sendfile() is only worth asking for where nginx will use it: it changes how the chunk is freed. */
static afpa_pin_mode_t pin_mode(ngx_http_request_t *r, uint64_t size)
{
    ngx_http_afpa_main_conf_t *main_conf = ngx_http_get_module_main_conf(r, ngx_http_afpa_module);

    if (!r->connection->sendfile || r->filter_need_in_memory || r->main_filter_need_in_memory ||
        size < (uint64_t)main_conf->zerocopy)
        return AFPA_PIN_COPY;
#if (NGX_HTTP_SSL)
    if (r->connection->ssl)
        return AFPA_PIN_COPY;
#endif
    return AFPA_PIN_REFERENCE;
}

/* ---- building buffers ---- */

static ngx_file_t *segment_file(ngx_http_request_t *r, afpa_zone_t *zone)
{
    ngx_file_t *file = ngx_pcalloc(r->pool, sizeof(ngx_file_t));

    if (file) {
        file->fd = afpa_zone_fd(zone);
        file->name.data = (u_char *)afpa_zone_path(zone);
        file->name.len = ngx_strlen(file->name.data);
        file->log = r->connection->log;
    }
    return file;
}

static ngx_chain_t *link_get(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx)
{
    ngx_http_afpa_buf_t *b;
    ngx_chain_t *cl = ctx->free;

    if (cl) {
        ctx->free = cl->next;
        ngx_memzero(cl->buf, sizeof(ngx_http_afpa_buf_t));
    } else {
        cl = ngx_alloc_chain_link(r->pool);
        b = ngx_pcalloc(r->pool, sizeof(ngx_http_afpa_buf_t));
        if (cl == NULL || b == NULL)
            return NULL;
        cl->buf = &b->buf;
    }
    cl->buf->tag = (ngx_buf_tag_t)&ngx_http_afpa_module;
    cl->next = NULL;
    return cl;
}

/* Sets a buffer to `length` bytes of its pinned chunk, from `skip` on. */
static void buf_fill(ngx_http_afpa_ctx_t *ctx, ngx_http_afpa_buf_t *b, const afpa_step_t *step)
{
    b->buf.memory = 1;
    b->buf.pos = (u_char *)(uintptr_t)b->extent.data + step->skip;
    b->buf.last = b->buf.pos + step->length;
    b->buf.start = b->buf.pos;
    b->buf.end = b->buf.last;
    if (b->extent.by_reference) {
        b->buf.in_file = 1;
        b->buf.file = ctx->file;
        b->buf.file_pos = (off_t)(b->extent.file_offset + step->skip);
        b->buf.file_last = b->buf.file_pos + (off_t)step->length;
    }
}

static afpa_status_t chunk_pin(ngx_http_afpa_ctx_t *ctx, uint32_t index, afpa_extent_t *extent)
{
    afpa_status_t status = AFPA_OK;

    if (ctx->overflow.cache) {
        *extent = ctx->overflow;
        ctx->overflow.cache = NULL;
    } else {
        status = afpa_cache_pin(&ctx->ref, index, ctx->mode, extent);
    }
    if (status == AFPA_OK)
        ctx->rounds = 0;
    return status;
}

/* Appends buffers until the window is full, the range ends, or a chunk is not in memory.
 * AFPA_OK, AFPA_EMPTY, or AFPA_NO_SPACE: the pool is out of memory. */
static afpa_status_t window_fill(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, ngx_chain_t **out)
{
    afpa_step_t step;

    while (ctx->flying < AFPA_SEND_WINDOW && afpa_walk_step(&ctx->walk, &step)) {
        ngx_chain_t *cl = link_get(r, ctx);
        ngx_http_afpa_buf_t *b;

        if (cl == NULL)
            return AFPA_NO_SPACE;
        b = (ngx_http_afpa_buf_t *)cl->buf;
        if (chunk_pin(ctx, step.index, &b->extent) != AFPA_OK) {
            cl->next = ctx->free;
            ctx->free = cl;
            return AFPA_EMPTY;
        }
        buf_fill(ctx, b, &step);
        afpa_walk_advance(&ctx->walk, step.length);
        if (!afpa_walk_step(&ctx->walk, &step)) {
            b->buf.last_buf = (r == r->main) ? 1 : 0;
            b->buf.last_in_chain = 1;
        }
        ctx->flying++;
        *out = cl;
        out = &cl->next;
    }
    return AFPA_OK;
}

/* Gives back the pins of buffers that are used up. */
static void window_drain(ngx_http_afpa_ctx_t *ctx)
{
    while (ctx->busy && ngx_buf_size(ctx->busy->buf) == 0) {
        ngx_chain_t *cl = ctx->busy;

        ctx->busy = cl->next;
        afpa_cache_unpin(&((ngx_http_afpa_buf_t *)cl->buf)->extent);
        cl->next = ctx->free;
        ctx->free = cl;
        ctx->flying--;
    }
}

/* Our own list of the buffers nginx has: the chain given to the filters is theirs to take apart. */
static ngx_int_t busy_append(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, ngx_chain_t *out)
{
    ngx_chain_t **last = &ctx->busy;

    while (*last)
        last = &(*last)->next;
    for (; out; out = out->next) {
        *last = ngx_alloc_chain_link(r->pool);
        if (*last == NULL)
            return NGX_ERROR;
        (*last)->buf = out->buf;
        (*last)->next = NULL;
        last = &(*last)->next;
    }
    return NGX_OK;
}

/* Filters copy the links of what they keep; ours can be used again. */
static void links_free(ngx_http_request_t *r, ngx_chain_t *out)
{
    while (out) {
        ngx_chain_t *cl = out;

        out = out->next;
        ngx_free_chain(r->pool, cl);
    }
}

/* ---- filling ---- */

static void run_fill(void *data, ngx_log_t *log)
{
    ngx_http_afpa_ctx_t *ctx = *(ngx_http_afpa_ctx_t **)data;
    afpa_step_t step;

    if (!afpa_walk_step(&ctx->walk, &step))
        return;
    ctx->fill_status = AFPA_NO_SPACE;
    if (ctx->rounds++ < AFPA_SEND_FILLS)
        ctx->fill_status = afpa_cache_fill(&ctx->ref, step.index, AFPA_SEND_WINDOW);
    if (ctx->fill_status == AFPA_NO_SPACE)
        ctx->fill_status = afpa_cache_read(&ctx->ref, step.index, &ctx->overflow);
}

/* ---- sending ---- */

static ngx_int_t cut(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, afpa_status_t status)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "afpa: \"%V\": reply cut at byte %uL: %s", &ctx->path, ctx->walk.offset,
                  afpa_status_name(status));
    afpa_cache_count(ctx->ref.cache, AFPA_COUNTER_CUT);
    return NGX_ERROR;
}

/* Sends what can be sent now.  NGX_AGAIN: something is left, on_writable() goes on.  Otherwise what to finalize with. */
static ngx_int_t pump(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx)
{
    afpa_step_t step;

    for (;;) {
        ngx_chain_t *out = NULL;
        afpa_status_t status = window_fill(r, ctx, &out);
        ngx_int_t rc;

        if (status == AFPA_NO_SPACE || busy_append(r, ctx, out) != NGX_OK)
            return NGX_ERROR;
        rc = ngx_http_output_filter(r, out);
        if (rc == NGX_ERROR)
            return rc;
        links_free(r, out);
        window_drain(ctx);
        if (!afpa_walk_step(&ctx->walk, &step))
            return rc; /* all handed over; nginx flushes, the clean-up releases */
        if (r->aio)
            return NGX_AGAIN; /* `aio threads`: a thread is at sendfile(), and calls the write handler when it is done */
        if (status == AFPA_EMPTY) {
            if (ngx_http_afpa_post(r, ctx, run_fill) != NGX_OK)
                return cut(r, ctx, AFPA_NO_SPACE);
            return NGX_AGAIN;
        }
        if (ctx->flying == AFPA_SEND_WINDOW)
            return NGX_AGAIN;
    }
}

/* Waits for the socket, as nginx's own writer does. */
static void wait_writable(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t *clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    ngx_event_t *wev = r->connection->write;

    if (!wev->delayed && !r->aio)
        ngx_add_timer(wev, clcf->send_timeout);
    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK)
        ngx_http_finalize_request(r, NGX_ERROR);
}

static void on_writable(ngx_http_request_t *r)
{
    ngx_http_afpa_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_afpa_module);
    ngx_connection_t *c = r->connection;
    ngx_int_t rc;

    if (c->write->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }
    if (r->aio || c->write->delayed) {
        wait_writable(r);
        return;
    }
    if (ctx->fill_status != AFPA_OK) {
        ngx_http_finalize_request(r, cut(r, ctx, ctx->fill_status));
        return;
    }
    rc = pump(r, ctx);
    if (rc == NGX_AGAIN && ctx->walk.offset < ctx->walk.end) {
        wait_writable(r);
        return;
    }
    ngx_http_finalize_request(r, rc);
}

/* After the header: a single range was cut out by nginx's range filter, which wants to see the bytes before it go by.  It only
 * counts them, so a buffer that stands for them, without memory, is enough. */
static ngx_int_t skip_to_range(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, uint64_t size)
{
    uint64_t start = 0, end = size;
    ngx_chain_t *cl;

    if (r->headers_out.status == NGX_HTTP_PARTIAL_CONTENT && r->headers_out.content_range) {
        start = (uint64_t)r->headers_out.content_offset;
        if (r->headers_out.content_length_n >= 0) /* where trailers follow it was taken back; that filter knows where to end */
            end = start + (uint64_t)r->headers_out.content_length_n;
        start -= start % afpa_zone_chunk_size(afpa_cache_zone(ctx->ref.cache));
    }
    afpa_walk_init(&ctx->walk, size, afpa_zone_chunk_size(afpa_cache_zone(ctx->ref.cache)), start, end - start);
    if (start == 0)
        return NGX_OK;
    cl = ngx_alloc_chain_link(r->pool);
    if (cl == NULL || (cl->buf = ngx_calloc_buf(r->pool)) == NULL)
        return NGX_ERROR;
    cl->buf->in_file = 1;
    cl->buf->file = ctx->file;
    cl->buf->file_last = (off_t)start;
    cl->next = NULL;
    return ngx_http_output_filter(r, cl);
}

static ngx_int_t send_one(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, uint64_t size)
{
    ngx_chain_t *cl = link_get(r, ctx), out;
    afpa_step_t step = {.length = (uint32_t)size};
    ngx_http_afpa_buf_t *b;

    if (cl == NULL)
        return NGX_ERROR;
    b = (ngx_http_afpa_buf_t *)cl->buf;
    if (size > 0) {
        afpa_cache_pin(&ctx->ref, 0, ctx->mode, &b->extent); /* the ref holds it: cannot fail */
        buf_fill(ctx, b, &step);
        ctx->busy = cl;
    }
    b->buf.last_buf = (r == r->main) ? 1 : 0;
    b->buf.last_in_chain = 1;
    b->buf.sync = (b->buf.last_buf || size > 0) ? 0 : 1;
    out.buf = cl->buf;
    out.next = NULL;
    return ngx_http_output_filter(r, &out);
}

static ngx_int_t send_many(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx, uint64_t size)
{
    ngx_int_t rc = skip_to_range(r, ctx, size);

    if (rc == NGX_ERROR)
        return rc;
    rc = pump(r, ctx);
    if (rc != NGX_AGAIN || ctx->walk.offset == ctx->walk.end)
        return rc;
    r->write_event_handler = on_writable;
    r->main->count++;
    wait_writable(r);
    return NGX_DONE;
}

ngx_int_t ngx_http_afpa_send(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx)
{
    const afpa_identity_t *identity = afpa_ref_identity(&ctx->ref);
    uint64_t size = identity->size;
    ngx_int_t rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK)
        return rc;
    r->connection->log->action = "sending response to client";
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = (off_t)size;
    r->headers_out.last_modified_time = identity->mtime_sec;
    if (ngx_http_set_etag(r) != NGX_OK || ngx_http_set_content_type(r) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    r->allow_ranges = 1;
#if (NGX_HTTP_GZIP)
    ctx->varied = r->gzip_vary;
#endif
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
        return rc;
    ngx_http_afpa_capture(r, ctx);
    ctx->mode = pin_mode(r, size); /* after the header filters: they say whether they need memory */
    ctx->file = segment_file(r, afpa_cache_zone(ctx->ref.cache));
    if (ctx->file == NULL)
        return NGX_ERROR;
    return afpa_ref_entries(&ctx->ref) == 1 ? send_one(r, ctx, size) : send_many(r, ctx, size);
}
