/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 6 in httpd: large payload by reference.
 *
 * httpd's network filter uses sendfile() for file buckets only.  So the last filter before it turns each chunk of ours into a file
 * bucket over the segment, followed by a metadata bucket that holds the pin.  The network filter takes buckets apart in their
 * order, so the pin goes after the bytes; and no content filter ever sees the pair, so nothing can copy one without the other.
 * File buckets do not count as memory there: a slow client of a small object is left to the MPM and holds no worker.  Of a large
 * object one window at a time is pinned, and the worker waits until it is sent.
 *
 * Only with EnableSendfile On, on plain HTTP/1 connections, each of which has the segment open for itself.
 */
#include "mod_afpa.h"

#include <ap_mpm.h>
#include <http_connection.h>
#include <http_ssl.h>
#include <util_filter.h>

static ap_filter_rec_t *filter_handle;

/* Passes on what comes before `e`, and waits until it is sent. */
static apr_status_t pass_before(ap_filter_t *f, apr_bucket_brigade *bb, apr_bucket *e)
{
    apr_bucket_brigade *rest = apr_brigade_split_ex(bb, e, NULL);
    apr_status_t rv;

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(f->c->bucket_alloc));
    rv = ap_pass_brigade(f->next, bb);
    apr_brigade_cleanup(bb);
    APR_BRIGADE_CONCAT(bb, rest);
    apr_brigade_destroy(rest);
    return rv;
}

/* A descriptor of the connection's own, in its pool.  httpd sets file buckets aside when a client is slow: what is in a pool above
 * that of the pending buckets stays as it is then, anything else is moved there, away from the others who use it.  And of less
 * than 256 bytes httpd makes no sendfile() but a seek and a read, so the position in the file must be nobody else's.
 * 0: the chunk is sent from memory (there may be no /proc, as with ChrootDir). */
static int segment_open(conn_rec *c, afpa_mod_conn_t *ctx)
{
    const char *path;
    apr_status_t rv;

    if (ctx->segment || ctx->min == APR_SIZE_MAX)
        return ctx->segment != NULL;
    path = apr_psprintf(c->pool, "/proc/self/fd/%d", afpa_zone_fd(ctx->zone->zone));
    rv = apr_file_open(&ctx->segment, path, APR_FOPEN_READ | APR_FOPEN_BINARY | APR_FOPEN_SENDFILE_ENABLED, 0, c->pool);
    if (rv == APR_SUCCESS)
        return 1;
    ap_log_cerror(APLOG_MARK, APLOG_DEBUG, rv, c, "afpa: %s of zone \"%s\" cannot be opened: sent from memory", path,
                  ctx->zone->name);
    ctx->segment = NULL;
    ctx->min = APR_SIZE_MAX; /* not tried again */
    return 0;
}

static apr_status_t on_output(ap_filter_t *f, apr_bucket_brigade *bb)
{
    afpa_mod_conn_t *ctx = f->ctx;
    unsigned window = 0;
    apr_bucket *e = APR_BRIGADE_FIRST(bb);

    while (e != APR_BRIGADE_SENTINEL(bb)) {
        if (afpa_mod_bucket_unread(e)) {
            const char *bytes;
            apr_size_t length;
            apr_status_t rv = APR_SUCCESS;

            if (window++ == AFPA_SEND_WINDOW) {
                window = 1;
                rv = pass_before(f, bb, e);
            }
            if (rv == APR_SUCCESS)
                rv = apr_bucket_read(e, &bytes, &length, APR_BLOCK_READ); /* pins, and leaves the rest behind it */
            if (rv != APR_SUCCESS) {
                apr_brigade_cleanup(bb);
                return rv;
            }
        }
        if (afpa_mod_bucket_sendfile(e, ctx->min) && segment_open(f->c, ctx))
            afpa_mod_bucket_to_file(e, ctx->segment, f->c->pool);
        e = APR_BUCKET_NEXT(e);
    }
    return ap_pass_brigade(f->next, bb);
}

void afpa_mod_filter_register(void)
{
    filter_handle = ap_register_output_filter("AFPA_SENDFILE", on_output, NULL, AP_FTYPE_NETWORK - 1);
}

afpa_mod_conn_t *afpa_mod_conn(conn_rec *c)
{
    afpa_mod_conn_t *conn = ap_get_module_config(c->conn_config, &afpa_module);

    if (conn == NULL) {
        conn = apr_pcalloc(c->pool, sizeof(*conn));
        ap_set_module_config(c->conn_config, &afpa_module, conn);
    }
    return conn;
}

int afpa_mod_filter_want(request_rec *r, afpa_mod_zone_t *zone, apr_int64_t zerocopy)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    apr_int64_t min = zerocopy == AFPA_MOD_UNSET ? (apr_int64_t)afpa_option_default(AFPA_OPTION_ZEROCOPY) : zerocopy;
    conn_rec *c = r->connection;
    afpa_mod_conn_t *ctx;

    if (core->enable_sendfile != ENABLE_SENDFILE_ON || r->finfo.size < min || c->master || ap_ssl_conn_is_ssl(c))
        return 0;
    ctx = afpa_mod_conn(c);
    if (ctx->zone == NULL) {
        ctx->zone = zone;
        ctx->min = min < 256 ? 256 : (apr_size_t)min; /* httpd sends less than that from memory in any case */
        ap_add_output_filter_handle(filter_handle, ctx, r, c);
    }
    return ctx->zone == zone; /* a connection that changes between virtual hosts with different zones: from memory */
}
