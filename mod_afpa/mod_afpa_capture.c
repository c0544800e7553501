/* SPDX-License-Identifier: Apache-2.0
 *
 * From a reply that httpd makes to a response entry.
 *
 * A filter behind httpd's own header filter, the last before the connection's, sees the header as it will be sent, and behind it
 * the body.  Taken are only replies to requests that came as they are, whose body is the file's chunks and nothing else, with no
 * other filter left between, and where no rule is in force that could have made it another reply for somebody else
 * (mod_afpa_guard.c).  What the header itself rules out, libafpa knows (afpa_response_propose).
 */
#include "mod_afpa_fastpath.h"

#include <http_ssl.h>
#include <util_filter.h>

static ap_filter_rec_t *filter_handle;

/* What is to be taken. */
typedef struct {
    afpa_ref_t ref; /* held until the request ends */
    char *header;
    apr_size_t length;
} context_t;

/* ---- the request ---- */

/* Neither rewritten nor redirected within: the path that was served is the one that was asked for. */
static int as_it_came(request_rec *r)
{
    char *path = apr_pstrdup(r->pool, r->parsed_uri.path ? r->parsed_uri.path : "");

    return !r->main && !r->prev && r->method_number == M_GET && !r->header_only && r->proto_num == HTTP_VERSION(1, 1) &&
           !r->assbackwards && *r->unparsed_uri == '/' && ap_unescape_url(path) == OK && r->uri && strcmp(path, r->uri) == 0 &&
           !apr_table_get(r->headers_in, "Authorization") && !apr_table_get(r->headers_in, "Range") &&
           !apr_table_get(r->subprocess_env, "nokeepalive") && !apr_table_get(r->subprocess_env, "downgrade-1.0") &&
           !apr_table_get(r->subprocess_env, "force-response-1.0") && !apr_table_get(r->subprocess_env, "force-no-vary");
}

/* Whether a rule of the server made the URL the path of a file.  Which file that is mod_rewrite decides anew each time: one from
 * the root of the system if there is something of its first part's name, else one below DocumentRoot.  r->uri does not show it. */
static int was_rewritten(const request_rec *r)
{
    const char *status = apr_table_get(r->notes, "mod_rewrite_rewritten"); /* mod_rewrite's own: 0, or what a rule did */

    return status && strcmp(status, "0") != 0;
}

/* Of an empty file httpd tells the length to GET, and does not to HEAD.  Of a time to come it says that it is now, whenever that
 * is; one that changed in this second may have another tag in the next. */
static const char *refused(request_rec *r, const afpa_mod_dir_conf_t *dir)
{
    const conn_rec *c = r->connection;

    if (c->master || ap_ssl_conn_is_ssl(r->connection) || !afpa_mod_takes_over(c->local_addr))
        return "the connection is of another kind";
    if (r->finfo.size == 0)
        return "the file is empty";
    if (r->finfo.mtime + APR_USEC_PER_SEC > r->request_time)
        return "the file has changed just now, or its time is to come";
    if (r->server->keep_alive_max == INT_MAX || apr_time_as_msec(r->server->keep_alive_timeout) >= UINT32_MAX)
        return "a number in Keep-Alive would be too large";
    if (!as_it_came(r) || was_rewritten(r))
        return "the request is of another kind, or was changed on the way";
    return afpa_mod_guarded(r, dir);
}

static afpa_text_t text_of(const char *text)
{
    return (afpa_text_t){text, text ? strlen(text) : 0};
}

/* What the key of the entry is made of. */
static afpa_request_t request_of(const request_rec *r)
{
    return (afpa_request_t){.target = text_of(r->unparsed_uri),
                            .host = text_of(apr_table_get(r->headers_in, "Host")),
                            .accept_encoding = text_of(apr_table_get(r->headers_in, "Accept-Encoding"))};
}

static afpa_response_terms_t terms_of(const request_rec *r, const afpa_mod_dir_conf_t *dir)
{
    static const char *const dropped[] = {"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", NULL};
    const server_rec *s = r->server, *waits = s->keep_alive_timeout_set ? s : r->connection->base_server;
    uint32_t revalidate =
        dir->revalidate_ms == AFPA_MOD_UNSET ? (uint32_t)afpa_option_default(AFPA_OPTION_REVALIDATE) : (uint32_t)dir->revalidate_ms;

    return (afpa_response_terms_t){
        .server = afpa_mod_server_number(r->connection),
        .revalidate_ms = revalidate,
        .limits = {.keep_alive_ms = s->keep_alive ? afpa_mod_msec(waits->keep_alive_timeout) : 0,
                   .send_ms = afpa_mod_msec(s->timeout),
                   .lifetime_ms = UINT32_MAX,
                   .requests = s->keep_alive_max > 0 ? (uint32_t)s->keep_alive_max + 1 : AFPA_REQUESTS_UNLIMITED},
        .since = AFPA_SINCE_PAST,
        .both = true,
        .answers_keep_alive = true,
        .keep_alive_said = (uint32_t)apr_time_sec(s->keep_alive_timeout), /* whichever server's time it waits */
        .strong_etag = true,
        .expires_follows = dir->guard.expires,
        .tag = afpa_mod_tag_of(s),
        .dropped = dropped};
}

/* ---- the reply ---- */

/* Those of httpd that every reply has; what is between request and connection beside them may want to look at the body, or slow it.
 */
static int only_known_filters(const request_rec *r, const ap_filter_t *own)
{
    static const char *const names[] = {"byterange", "content_length", "http_header", "http_outerror", "fixup_headers_out"};
    apr_size_t known = sizeof(names) / sizeof(names[0]);

    for (const ap_filter_t *f = r->output_filters; f; f = f->next) {
        apr_size_t i = 0;

        while (i < known && strcmp(f->frec->name, names[i]) != 0)
            i++;
        if (f != own && f->r && i == known)
            return 0;
    }
    return 1;
}

/* "Server: …" goes where AfpaSendServerHeader says so. */
static apr_size_t without_server(char *header, apr_size_t length)
{
    char *at = header, *end = header + length;

    while (at < end) {
        char *next = memchr(at, '\n', (apr_size_t)(end - at));

        next = next ? next + 1 : end;
        if (ap_cstr_casecmpn(at, "Server:", 7) == 0) {
            memmove(at, next, (apr_size_t)(end - next));
            return length - (apr_size_t)(next - at);
        }
        at = next;
    }
    return length;
}

/* A reply that varies: its 304 may not say so (mod_deflate, for one, is not asked for a 304). */
static void take(request_rec *r, context_t *ctx)
{
    const afpa_mod_dir_conf_t *dir = ap_get_module_config(r->per_dir_config, &afpa_module);
    const afpa_mod_server_conf_t *server = ap_get_module_config(r->server->module_config, &afpa_module);
    afpa_request_t request = request_of(r);
    afpa_response_terms_t terms = terms_of(r, dir);
    afpa_proposal_t *proposal = NULL;
    const char *why = "Host is missing, or it varies";

    if (server->server_header == 0)
        ctx->length = without_server(ctx->header, ctx->length);
    if (request.host.at && !apr_table_get(r->headers_out, "Vary"))
        proposal = afpa_response_propose(&request, ctx->header, ctx->length, &ctx->ref, &terms, &why);
    if (proposal)
        (void)afpa_response_admit(proposal);
    else
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "afpa: not for the fast path: %s", why);
}

/* The header, if the brigade begins with it; *body is what follows. */
static char *header_of(request_rec *r, apr_bucket_brigade *bb, apr_bucket **body, apr_size_t *length)
{
    apr_bucket *b = APR_BRIGADE_FIRST(bb);
    const char *bytes;

    if (b == APR_BRIGADE_SENTINEL(bb) || APR_BUCKET_IS_METADATA(b) ||
        apr_bucket_read(b, &bytes, length, APR_BLOCK_READ) != APR_SUCCESS || *length < 4 ||
        memcmp(bytes + *length - 4, "\r\n\r\n", 4) != 0)
        return NULL;
    *body = APR_BUCKET_NEXT(b);
    return apr_pmemdup(r->pool, bytes, *length);
}

/* Whether these buckets are the whole file and the end of the reply. */
static int is_whole_file(apr_bucket_brigade *bb, apr_bucket *b, const afpa_ref_t *ref)
{
    apr_uint64_t length = 0;

    for (; b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_EOS(b))
            return length == afpa_ref_identity(ref)->size;
        if (afpa_mod_bucket_is_ours(b))
            length += b->length;
        else if (!APR_BUCKET_IS_METADATA(b))
            return 0;
    }
    return 0;
}

/* httpd passes the header by itself, and then the body. */
static apr_status_t on_output(ap_filter_t *f, apr_bucket_brigade *bb)
{
    context_t *ctx = f->ctx;
    apr_bucket *body = APR_BRIGADE_FIRST(bb);

    if (f->r->status != HTTP_OK || !only_known_filters(f->r, f)) {
        ap_remove_output_filter(f);
        return ap_pass_brigade(f->next, bb);
    }
    if (!ctx->header) {
        ctx->header = header_of(f->r, bb, &body, &ctx->length);
        if (ctx->header && body == APR_BRIGADE_SENTINEL(bb))
            return ap_pass_brigade(f->next, bb);
    }
    if (ctx->header && is_whole_file(bb, body, &ctx->ref))
        take(f->r, ctx);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

static apr_status_t ref_release(void *data)
{
    afpa_cache_release(data);
    return APR_SUCCESS;
}

void afpa_mod_capture(request_rec *r, const afpa_ref_t *ref)
{
    const afpa_mod_dir_conf_t *dir = ap_get_module_config(r->per_dir_config, &afpa_module);
    const afpa_mod_server_conf_t *server = ap_get_module_config(r->server->module_config, &afpa_module);
    afpa_response_t response;
    afpa_request_t request;
    const char *why;
    context_t *ctx;

    if (dir->fast_path != 1 || !server->fast)
        return;
    why = refused(r, dir);
    if (why) {
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "afpa: not for the fast path: %s", why);
        return;
    }
    request = request_of(r);
    if (request.host.at) {
        (void)afpa_response_lookup(ref->cache, afpa_mod_server_number(r->connection), &request, &response);
        why = response.file.cache ? "it is there" : NULL;
        afpa_response_release(&response);
    }
    if (why)
        return;
    ctx = apr_pcalloc(r->pool, sizeof(*ctx));
    if (afpa_cache_lookup(ref->cache, r->filename, strlen(r->filename), UINT32_MAX, &ctx->ref) == AFPA_OK &&
        ctx->ref.object == ref->object && ctx->ref.generation == ref->generation) {
        apr_pool_cleanup_register(r->pool, &ctx->ref, ref_release, apr_pool_cleanup_null);
        ap_add_output_filter_handle(filter_handle, ctx, r, r->connection);
    } else {
        afpa_cache_release(&ctx->ref);
    }
}

void afpa_mod_capture_register(void)
{
    filter_handle = ap_register_output_filter("AFPA_CAPTURE", on_output, NULL, AP_FTYPE_TRANSCODE);
}
