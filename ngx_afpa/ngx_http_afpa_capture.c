/* SPDX-License-Identifier: Apache-2.0
 *
 * From a reply that nginx makes to a response entry.
 *
 * Called when nginx's filters have made the header of a hit and nothing else has been sent yet: nginx holds the block back to send
 * it together with the body (postpone_output), so it lies in r->out, complete, as the client will get it.
 * Taken are only replies to requests that came as they are: no internal redirect, no rewriting, no credentials, no limit at work,
 * no filter that wants to look at or change the body.  What the header itself rules out, libafpa knows (afpa_response_propose).
 *
 * So each request is remembered as it began, before the phases that change its URI.  With try_files only what was asked for itself
 * is taken: another file would be served on after that one had appeared.
 *
 * The one redirect that is allowed is that of `index`, from a directory to the first name in its list, in that directory, where all
 * the same rules hold in both places and both have the same root.  With the first name a file that appears cannot change what nginx
 * would choose, and one that vanishes takes the response entry with it; with another name that would go unseen.
 */
#include "ngx_http_afpa_fastpath.h"

/* Of a kind that is never captured, whatever the URI. */
static ngx_flag_t is_plain(ngx_http_request_t *r)
{
    return r == r->main && r->method == NGX_HTTP_GET && r->http_version == NGX_HTTP_VERSION_11 && r->keepalive && !r->uri_changed &&
           !r->error_page && r->err_status == 0 && r->schema_start == NULL && r->headers_in.host &&
           r->headers_in.authorization == NULL && r->unparsed_uri.len > 0;
}

static ngx_flag_t is_unchanged(ngx_http_request_t *r)
{
    return !r->internal && r->valid_unparsed_uri && r->uri_changes == NGX_HTTP_MAX_URI_CHANGES + 1;
}

/* Whether replies from a location may be captured at all. */
static ngx_flag_t allowed_in(ngx_http_afpa_loc_conf_t *conf, ngx_http_core_loc_conf_t *clcf)
{
    return conf->fast_path && conf->zone && !conf->noted && !conf->bypass && !clcf->internal &&
           !ngx_http_afpa_refuse_varies(conf, clcf) && !(clcf->keepalive_disable & NGX_HTTP_KEEPALIVE_DISABLE_SAFARI);
}

ngx_int_t ngx_http_afpa_capture_begin(ngx_http_request_t *r)
{
    ngx_http_afpa_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_afpa_module);
    ngx_http_core_loc_conf_t *clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    ngx_http_afpa_client_t *client;

    if (!allowed_in(conf, clcf) || !is_plain(r) || !is_unchanged(r) || (client = ngx_http_afpa_client(r->connection)) == NULL)
        return NGX_DECLINED;
    client->began = r;
    client->began_clcf = clcf;
    client->began_conf = conf;
    client->began_uri = r->uri;
    return NGX_DECLINED;
}

static ngx_flag_t has_name(ngx_str_t *uri, ngx_str_t *directory, ngx_str_t *name)
{
    return uri->len == directory->len + name->len && ngx_memcmp(uri->data, directory->data, directory->len) == 0 &&
           ngx_memcmp(uri->data + directory->len, name->data, name->len) == 0;
}

static ngx_flag_t same_root(ngx_http_core_loc_conf_t *a, ngx_http_core_loc_conf_t *b)
{
    return !a->alias && !b->alias && a->root_lengths == NULL && b->root_lengths == NULL && a->root.len == b->root.len &&
           ngx_memcmp(a->root.data, b->root.data, a->root.len) == 0;
}

/* Whether nothing but `index` redirects there: a content handler of its own, or try_files, may. */
static ngx_flag_t only_index(ngx_http_afpa_loc_conf_t *conf, ngx_http_core_loc_conf_t *clcf)
{
#if (NGX_HAVE_OPENAT)
    if (clcf->disable_symlinks != NGX_DISABLE_SYMLINKS_OFF)
        return 0;
#endif
    return clcf->handler == NULL && !conf->try_files && conf->index.len > 0;
}

/* Whether the file is the one that was asked for, or the first index of the directory that was. */
static ngx_flag_t as_it_came(ngx_http_request_t *r, ngx_http_core_loc_conf_t *clcf)
{
    static ngx_str_t nothing = ngx_null_string;
    ngx_http_afpa_client_t *client = ngx_http_afpa_client(r->connection);

    if (client == NULL || client->began != r || !is_plain(r))
        return 0;
    if (is_unchanged(r))
        return has_name(&r->uri, &client->began_uri, &nothing);
    return r->internal && r->uri_changes == NGX_HTTP_MAX_URI_CHANGES && client->began_uri.data[client->began_uri.len - 1] == '/' &&
           only_index(client->began_conf, client->began_clcf) && same_root(client->began_clcf, clcf) &&
           has_name(&r->uri, &client->began_uri, &client->began_conf->index);
}

static ngx_flag_t untouched(ngx_http_request_t *r)
{
    return r->headers_out.status == NGX_HTTP_OK && r->postponed == NULL && !r->filter_need_in_memory &&
           !r->main_filter_need_in_memory && !r->filter_need_temporary && r->limit_rate == 0 && r->limit_req_status == 0 &&
           r->limit_conn_status == 0;
}

/* The header block, if it lies in r->out whole and alone. */
static ngx_buf_t *header_of(ngx_http_request_t *r)
{
    ngx_chain_t *out = r->out;

    if (out == NULL || out->next || !ngx_buf_in_memory(out->buf) || out->buf->last - out->buf->pos < 4 ||
        ngx_memcmp(out->buf->last - 4, "\r\n\r\n", 4) != 0)
        return NULL;
    return out->buf;
}

static afpa_text_t text_of(const ngx_table_elt_t *field)
{
    return field ? (afpa_text_t){(const char *)field->value.data, field->value.len} : (afpa_text_t){NULL, 0};
}

/* What the key of the entry is made of. */
static afpa_request_t request_of(ngx_http_request_t *r)
{
    afpa_request_t request = {.target = {(const char *)r->unparsed_uri.data, r->unparsed_uri.len},
                              .host = text_of(r->headers_in.host)};

#if (NGX_HTTP_GZIP)
    request.accept_encoding = text_of(r->headers_in.accept_encoding);
#endif
    return request;
}

/* nginx's own Vary, of its gzip filter: that filter does not look at a 304. */
static ngx_flag_t varies_by_filter(ngx_http_request_t *r, const ngx_http_afpa_ctx_t *ctx)
{
#if (NGX_HTTP_GZIP)
    return r->gzip_vary && !ctx->varied;
#else
    return 0;
#endif
}

static ngx_flag_t has_field(ngx_list_t *fields, const char *name)
{
    for (ngx_list_part_t *part = &fields->part; part; part = part->next)
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            ngx_table_elt_t *field = (ngx_table_elt_t *)part->elts + i;

            if (field->hash && field->key.len == ngx_strlen(name) &&
                ngx_strncasecmp(field->key.data, (u_char *)name, field->key.len) == 0)
                return 1;
        }
    return 0;
}

/* `varies`: its 304 has no Vary. */
static afpa_response_terms_t terms_of(ngx_http_request_t *r, ngx_http_afpa_loc_conf_t *conf, ngx_flag_t varies)
{
    static const char *const names[] = {"Vary", "Content-Type", "Content-Length", "Accept-Ranges", "Content-Encoding", NULL};
    static const afpa_since_t since[] = {AFPA_SINCE_NEVER, AFPA_SINCE_EXACT, AFPA_SINCE_BEFORE};
    ngx_http_afpa_main_conf_t *main_conf = ngx_http_get_module_main_conf(r, ngx_http_afpa_module);
    ngx_http_core_loc_conf_t *clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    ngx_http_afpa_srv_conf_t *srv = ngx_http_get_module_srv_conf(r, ngx_http_afpa_module);

    return (afpa_response_terms_t){.server = ngx_http_afpa_server(main_conf, r->http_connection->addr_conf),
                                   .revalidate_ms = ngx_http_afpa_u32(conf->revalidate),
                                   .limits = {.keep_alive_ms = ngx_http_afpa_u32(clcf->keepalive_timeout),
                                              .send_ms = ngx_http_afpa_u32(clcf->send_timeout),
                                              .lifetime_ms = ngx_http_afpa_u32(clcf->keepalive_time),
                                              .requests = ngx_http_afpa_u32(clcf->keepalive_requests)},
                                   .since = since[clcf->if_modified_since <= 2 ? clcf->if_modified_since : 0],
                                   .both = true,
                                   .expires_follows = true, /* where it does not, nothing is admitted: see ngx_http_afpa_refuse.c */
                                   .tag = (uint32_t)srv->log,
                                   .dropped = varies ? names : names + 1};
}

void ngx_http_afpa_capture(ngx_http_request_t *r, ngx_http_afpa_ctx_t *ctx)
{
    ngx_http_afpa_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_afpa_module);
    ngx_http_core_loc_conf_t *clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    ngx_buf_t *header;
    afpa_request_t request;
    afpa_response_terms_t terms;
    afpa_response_t response;
    afpa_proposal_t *proposal;
    ngx_flag_t there, varies = varies_by_filter(r, ctx);
    const char *why;

    if ((ctx->status != NGX_HTTP_AFPA_HIT && ctx->status != NGX_HTTP_AFPA_REVALIDATED) || !allowed_in(conf, clcf) ||
        !as_it_came(r, clcf) || !untouched(r) || (header = header_of(r)) == NULL)
        return;
#if (NGX_HTTP_GZIP)
    if (r->gzip_tested && r->headers_in.accept_encoding)
        return; /* whether it is compressed may depend on other fields too */
#endif
    if (varies && has_field(&r->headers_out.headers, "Vary"))
        return; /* which of them a 304 has is too fine a point */
    request = request_of(r);
    terms = terms_of(r, conf, varies);
    (void)afpa_response_lookup(ctx->cache, terms.server, &request, &response);
    there = response.file.cache != NULL;
    afpa_response_release(&response);
    if (there)
        return; /* the request is of a kind that is never answered there */
    proposal =
        afpa_response_propose(&request, (const char *)header->pos, (size_t)(header->last - header->pos), &ctx->ref, &terms, &why);
    if (proposal) {
        afpa_response_admit_later(proposal, &ngx_http_afpa_executor);
    } else { /* of which nothing is left where nginx is built without debugging */
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "afpa: \"%V\" is not for the fast path: %s", &r->uri, why);
    }
}
