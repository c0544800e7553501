/* SPDX-License-Identifier: Apache-2.0
 *
 * ngx_afpa, the fast path: what its files share.
 */
#ifndef NGX_HTTP_AFPA_FASTPATH_H
#define NGX_HTTP_AFPA_FASTPATH_H

#include "ngx_http_afpa.h"

#include <afpa/engine.h>
#include <afpa/loop.h>
#include <afpa/response.h>

/* A connection of a listening socket that was taken over.  Lies in the connection's pool; the transport comes first. */
typedef struct {
    afpa_transport_t transport;
    ngx_connection_t *c;
    afpa_conn_t *conn; /* NULL: nginx has it */
    ngx_http_addr_conf_t *addr_conf;
    /* The engine's requests. */
    afpa_io_t *receiving, *sending;
    void *buffer;
    size_t size;
    ngx_uint_t at_once; /* receives that are left to it in this turn */
    uint64_t sent;      /* bytes, in this turn */
    time_t idle_since;  /* as nginx knows it */
    /* nginx's, while the engine has it; NULL before the first request that nginx has seen. */
    ngx_event_handler_pt keepalive_handler;
    ngx_http_connection_t *hc;
    /* Bytes that nginx is to read again. */
    u_char *stash, *stash_pos, *stash_last;
    /* The request at work, and where and as what it began; NULL: it did not begin as one that may be captured. */
    ngx_http_request_t *began;
    ngx_http_core_loc_conf_t *began_clcf;
    ngx_http_afpa_loc_conf_t *began_conf;
    ngx_str_t began_uri;
    ngx_event_t back;        /* posted when nginx has finished a request */
    ngx_msec_t keepalive_ms; /* of that request's location */
    ngx_flag_t released;     /* our side is closed */
} ngx_http_afpa_client_t;

/* ngx_http_afpa_transport.c */
void ngx_http_afpa_transport_init(ngx_http_afpa_client_t *client, ngx_connection_t *c);
/* Events of the connection go to the engine from now on. */
void ngx_http_afpa_transport_take(ngx_http_afpa_client_t *client);
/* The receive that is under way never completes. */
void ngx_http_afpa_transport_forget(ngx_http_afpa_client_t *client);
/* It is in the middle of something. */
void ngx_http_afpa_idle_off(ngx_http_afpa_client_t *client);
/* Keeps bytes for nginx to read; c->recv and the read event are set up for it.  NGX_ERROR: no memory. */
ngx_int_t ngx_http_afpa_stash(ngx_http_afpa_client_t *client, const char *bytes, size_t length);
void ngx_http_afpa_stash_drop(ngx_http_afpa_client_t *client);

/* ngx_http_afpa_fastpath.c */
ngx_int_t ngx_http_afpa_fastpath_postconfiguration(ngx_conf_t *cf);
ngx_int_t ngx_http_afpa_fastpath_init_module(ngx_cycle_t *cycle, ngx_http_afpa_main_conf_t *conf);
ngx_int_t ngx_http_afpa_fastpath_init_process(ngx_cycle_t *cycle, ngx_http_afpa_main_conf_t *conf);
/* The client of a connection; NULL: it is none of ours. */
ngx_http_afpa_client_t *ngx_http_afpa_client(ngx_connection_t *c);
/* The number that response entries of one address have in this configuration. */
uint64_t ngx_http_afpa_server(const ngx_http_afpa_main_conf_t *conf, const ngx_http_addr_conf_t *addr_conf);

/* ngx_http_afpa_capture.c: a phase handler, before try_files and `index`. */
ngx_int_t ngx_http_afpa_capture_begin(ngx_http_request_t *r);

/* ngx_http_afpa_refuse.c: watches other modules' directives while a configuration is read, and afterwards no more. */
ngx_int_t ngx_http_afpa_refuse_watch(ngx_conf_t *cf);
void ngx_http_afpa_refuse_unwatch(void);
/* NGX_ERROR: the fast path is on where it may not be; said why. */
ngx_int_t ngx_http_afpa_refuse_merge(ngx_conf_t *cf, ngx_http_afpa_loc_conf_t *prev, ngx_http_afpa_loc_conf_t *conf);
/* Likewise of an address on which a server with the fast path on listens. */
ngx_int_t ngx_http_afpa_refuse_address(ngx_conf_t *cf, const ngx_http_conf_addr_t *addr);
/* Whether replies from a location depend on what is only known when both modules' directives there are. */
ngx_flag_t ngx_http_afpa_refuse_varies(const ngx_http_afpa_loc_conf_t *conf, const ngx_http_core_loc_conf_t *clcf);

#endif
