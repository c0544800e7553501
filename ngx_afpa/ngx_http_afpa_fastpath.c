/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast path in nginx: connections before nginx, and back to it.
 *
 *   accepted ─► engine ── request is nginx's ─► nginx ── request finished, keep-alive ─► engine ─► …
 *
 * The handler of each plain listening socket on which a server with `afpa_fast_path on` listens is replaced when the configuration
 * is complete.  What the engine cannot answer goes to nginx's own handler, with the bytes that were read: the first time to the
 * one that every new connection goes to, later to the one that nginx had left on the connection when it put it to keep-alive.
 * After each request nginx runs its log phase; that posts an event, and if nginx has the connection waiting by the time it comes
 * up, the engine takes it.  The event and the stash are undone by a clean-up of the connection's pool, so neither outlives it.
 *
 * Everything runs in the worker's one thread.
 */
#include "ngx_http_afpa_log.h"

#if (NGX_HTTP_SSL)
#include <ngx_http_ssl_module.h>
#endif

#include <sys/random.h>

#define LINGER_MS 5000 /* nginx: lingering_timeout's default */

static afpa_engine_t *engine; /* of this worker; NULL: no fast path */
static afpa_cache_t *engine_cache;
static ngx_event_t tick;
static ngx_http_afpa_client_t *starting; /* given to the engine just now */

static ngx_http_afpa_main_conf_t *main_conf_of(void)
{
    return ngx_http_cycle_get_module_main_conf(ngx_cycle, ngx_http_afpa_module);
}

uint64_t ngx_http_afpa_server(const ngx_http_afpa_main_conf_t *conf, const ngx_http_addr_conf_t *addr_conf)
{
    return conf->epoch ^ (uint64_t)(uintptr_t)addr_conf; /* the same in every worker of this configuration */
}

/* ---- timers ---- */

/* The timer keeps a worker that is to exit waiting while connections have something to send. */
static void tick_arm(void)
{
    if (!tick.timer_set && afpa_engine_conns(engine) > 0)
        ngx_add_timer(&tick, AFPA_ENGINE_TICK_MS);
}

static void on_tick(ngx_event_t *ev)
{
    afpa_engine_tick(engine);
    tick_arm();
}

/* ---- clients ---- */

static void on_pool_destroyed(void *data)
{
    ngx_http_afpa_client_t *client = data;

    if (client->back.posted) { /* a macro of several statements */
        ngx_delete_posted_event(&client->back);
    }
    ngx_free(client->stash);
    client->stash = NULL;
}

ngx_http_afpa_client_t *ngx_http_afpa_client(ngx_connection_t *c)
{
    for (ngx_pool_cleanup_t *cleanup = c->pool->cleanup; cleanup; cleanup = cleanup->next)
        if (cleanup->handler == on_pool_destroyed)
            return cleanup->data;
    return NULL;
}

static void on_finished(ngx_event_t *ev);

static ngx_http_afpa_client_t *client_make(ngx_connection_t *c, ngx_http_addr_conf_t *addr_conf)
{
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(c->pool, sizeof(ngx_http_afpa_client_t));
    ngx_http_afpa_client_t *client;

    if (cleanup == NULL)
        return NULL;
    client = cleanup->data;
    ngx_memzero(client, sizeof(*client));
    cleanup->handler = on_pool_destroyed;
    client->addr_conf = addr_conf;
    client->back.handler = on_finished;
    client->back.data = client;
    client->back.log = c->log;
    ngx_http_afpa_transport_init(client, c);
    return client;
}

/* ---- to nginx ---- */

/* client_header_timeout is for the whole first head, from the accept on: of a head that nginx has to read the rest of it gets what
 * is left.  As with all its timers a moment does not matter; most heads are whole, and need none. */
static void first_timer(ngx_connection_t *c, ngx_msec_t timeout)
{
    ngx_msec_t gone = ngx_current_msec - c->start_time;

    if (!c->read->ready || gone < NGX_TIMER_LAZY_DELAY)
        return;
    ngx_add_timer(c->read, gone < timeout ? timeout - gone : 1);
}

static void to_first_handler(ngx_http_afpa_client_t *client)
{
    ngx_connection_t *c = client->c;

    c->read->available = -1;
    c->sent = 0; /* nginx counts from here, for its log */
    first_timer(c, client->addr_conf->default_server->client_header_timeout);
    ngx_http_init_connection(c);
}

/* nginx's keep-alive handler expects its timer to be set, and the connection to be idle. */
static void to_keepalive(ngx_http_afpa_client_t *client)
{
    ngx_connection_t *c = client->c;

    c->data = client->hc;
    c->read->handler = client->keepalive_handler;
    c->write->handler = ngx_http_empty_handler;
    c->idle = 1;
    ngx_reusable_connection(c, 1);
    ngx_add_timer(c->read, client->keepalive_ms);
}

static void to_keepalive_handler(ngx_http_afpa_client_t *client)
{
    to_keepalive(client);
    client->c->read->handler(client->c->read);
}

static void to_nginx(ngx_http_afpa_client_t *client)
{
    if (client->hc)
        to_keepalive_handler(client);
    else
        to_first_handler(client);
}

/* ---- to the engine ---- */

static void on_handover(void *context, afpa_transport_t *transport, const char *bytes, size_t length, afpa_counter_t why)
{
    ngx_http_afpa_client_t *client = context;

    if (starting == client)
        starting = NULL;
    client->conn = NULL;
    ngx_http_afpa_idle_off(client);
    if (ngx_http_afpa_stash(client, bytes, length) != NGX_OK)
        ngx_http_close_connection(client->c);
    else
        to_nginx(client);
}

/* A request whose head nginx has seen a part of ends as nginx ends it, with its line in the log: now, not after one more timeout.
 */
static void on_unfinished(void *context, afpa_transport_t *transport, const char *bytes, size_t length, bool timed_out)
{
    ngx_http_afpa_client_t *client = context;
    ngx_connection_t *c = client->c;

    ngx_http_afpa_transport_forget(client);
    on_handover(context, transport, bytes, length, AFPA_DECLINE_REQUEST);
    if (c->read->posted) { /* accept_mutex has it wait its turn */
        ngx_delete_posted_event(c->read);
        c->read->handler(c->read);
    }
    if (!timed_out || c->fd == (ngx_socket_t)-1 || !c->read->timer_set) /* it is closed already, or reads on in spite of all */
        return;
    ngx_del_timer(c->read);
    c->read->timedout = 1;
    c->read->handler(c->read);
}

/* As nginx: reset_timedout_connection has what the kernel still holds for the client thrown away. */
static void reset_if_wanted(ngx_http_afpa_client_t *client)
{
    static const struct linger at_once = {.l_onoff = 1};
    ngx_http_core_loc_conf_t *clcf = client->addr_conf->default_server->ctx->loc_conf[ngx_http_core_module.ctx_index];

    if (clcf->reset_timedout_connection && setsockopt(client->c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == -1)
        ngx_log_error(NGX_LOG_ALERT, client->c->log, ngx_socket_errno, "afpa: setsockopt(SO_LINGER) failed");
}

static void on_closed(void *context)
{
    ngx_http_afpa_client_t *client = context;

    if (starting == client)
        starting = NULL;
    if (client->conn && afpa_conn_stalled(client->conn))
        reset_if_wanted(client);
    ngx_http_close_connection(client->c);
}

static void on_replied(void *context, const afpa_reply_t *reply)
{
    ngx_http_afpa_client_t *client = context;

    ngx_http_afpa_log_t **logs = main_conf_of()->logs.elts;

    client->c->requests++;
    if (reply->tag < main_conf_of()->logs.nelts && logs[reply->tag])
        ngx_http_afpa_log_write(logs[reply->tag], client->c, reply);
#if (NGX_STAT_STUB)
    (void)ngx_atomic_fetch_add(ngx_stat_requests, 1);
#endif
}

static void keep_with_nginx(ngx_http_afpa_client_t *client, const char *bytes, size_t length)
{
    if (length > 0 && ngx_http_afpa_stash(client, bytes, length) != NGX_OK)
        ngx_http_close_connection(client->c);
    else if (length > 0 || client->hc == NULL)
        to_nginx(client);
    else {
        to_keepalive(client);
        if (client->c->read->ready) { /* a macro of several statements */
            ngx_post_event(client->c->read, &ngx_posted_events);
        }
    }
}

/* Gives the connection to the engine, with what is left of the bytes that nginx was to read again. */
static void give(ngx_http_afpa_client_t *client, ngx_msec_t first_ms)
{
    ngx_http_core_srv_conf_t *cscf = client->addr_conf->default_server;
    u_char *stash = client->stash;
    afpa_conn_t *conn;
    afpa_conn_setup_t setup = {.transport = &client->transport,
                               .context = client,
                               .cache = engine_cache,
                               .server = ngx_http_afpa_server(main_conf_of(), client->addr_conf),
                               .accepted_ms = client->c->start_time,
                               .first_ms = ngx_http_afpa_u32(first_ms),
                               .head_ms = ngx_http_afpa_u32(cscf->client_header_timeout),
                               .head_in_first = client->hc == NULL,
                               .linger_ms = LINGER_MS,
                               .requests = (uint32_t)client->c->requests,
                               .bytes = (const char *)client->stash_pos,
                               .length = (size_t)(client->stash_last - client->stash_pos)};

    client->stash = NULL; /* the call may end client and connection */
    if (stash)
        ngx_http_afpa_stash_drop(client);
    ngx_http_afpa_transport_take(client);
    starting = client;
    conn = afpa_conn_start(engine, &setup);
    if (starting == client)
        client->conn = conn;
    if (conn == NULL) /* as many as may be are there: nginx keeps it */
        keep_with_nginx(client, setup.bytes, setup.length);
    ngx_free(stash);
    tick_arm();
}

/* nginx has the connection waiting for the next request: it has come to keep-alive, without a request in sight. */
static void on_finished(ngx_event_t *ev)
{
    ngx_http_afpa_client_t *client = ev->data;
    ngx_connection_t *c = client->c;

    if (!c->idle || !c->destroyed || c->close || c->error || c->read->timedout || client->conn)
        return;
    client->keepalive_handler = c->read->handler;
    client->hc = c->data;
    give(client, client->keepalive_ms);
}

/* The log phase: nginx is about to be done with a request. */
static ngx_int_t on_log(ngx_http_request_t *r)
{
    ngx_connection_t *c = r->connection;
    ngx_http_afpa_client_t *client;
    ngx_http_core_loc_conf_t *clcf;

    if (engine == NULL || r != r->main || r->http_version >= NGX_HTTP_VERSION_20 || (client = ngx_http_afpa_client(c)) == NULL)
        return NGX_OK;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    client->keepalive_ms = clcf->keepalive_timeout;
    client->began = NULL;
    if (!client->back.posted) {
        ngx_post_event(&client->back, &ngx_posted_events);
    }
    return NGX_OK;
}

/* ---- new connections ---- */

/* The configuration of the address that a connection came to, as nginx finds it. */
static ngx_http_addr_conf_t *addr_conf_of(ngx_connection_t *c)
{
    ngx_http_port_t *port = c->listening->servers;
    ngx_uint_t i = 0;

    if (port->naddrs > 1 && ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK)
        return NULL;
#if (NGX_HAVE_INET6)
    if (c->local_sockaddr->sa_family == AF_INET6) {
        ngx_http_in6_addr_t *addr6 = port->addrs;
        struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)c->local_sockaddr;

        while (i + 1 < port->naddrs && ngx_memcmp(&addr6[i].addr6, &sin6->sin6_addr, 16) != 0)
            i++;
        return &addr6[i].conf;
    }
#endif
    for (ngx_http_in_addr_t *addr = port->addrs; i + 1 < port->naddrs; i++)
        if (addr[i].addr == ((struct sockaddr_in *)c->local_sockaddr)->sin_addr.s_addr)
            break;
    return &((ngx_http_in_addr_t *)port->addrs)[i].conf;
}

/* Whether requests come in the clear, as HTTP/1.x, from the first byte on. */
static ngx_flag_t is_plain(ngx_http_addr_conf_t *conf)
{
    if (conf->proxy_protocol)
        return 0;
#if (NGX_HTTP_V2)
    if (conf->http2)
        return 0;
#endif
#if (NGX_HTTP_V3)
    if (conf->quic)
        return 0;
#endif
#if (NGX_HTTP_SSL)
    if (conf->ssl)
        return 0;
#if (nginx_version < 1025001)
    {
        ngx_http_ssl_srv_conf_t *sscf = ngx_http_get_module_srv_conf(conf->default_server->ctx, ngx_http_ssl_module);

        if (sscf->enable)
            return 0;
    }
#endif
#endif
    return 1;
}

static void on_connection(ngx_connection_t *c)
{
    ngx_http_addr_conf_t *addr_conf = engine ? addr_conf_of(c) : NULL;
    ngx_http_afpa_client_t *client;

    if (addr_conf == NULL || !is_plain(addr_conf) || ngx_exiting || ngx_terminate || (client = client_make(c, addr_conf)) == NULL) {
        ngx_http_init_connection(c);
        return;
    }
    c->log->connection = c->number;
    c->log_error = NGX_ERROR_INFO;
    if (ngx_tcp_nodelay(c) != NGX_OK) {
        ngx_http_close_connection(c);
        return;
    }
    give(client, addr_conf->default_server->client_header_timeout);
}

/* ---- configuration and processes ---- */

/* Whether a server with the fast path on listens on an address. */
static ngx_flag_t address_wants_it(ngx_http_conf_addr_t *addr)
{
    ngx_http_core_srv_conf_t **server = addr->servers.elts;

    for (ngx_uint_t i = 0; i < addr->servers.nelts; i++)
        if (((ngx_http_afpa_srv_conf_t *)server[i]->ctx->srv_conf[ngx_http_afpa_module.ctx_index])->fast)
            return 1;
    return 0;
}

/* NGX_OK: on one of the port's addresses; NGX_DECLINED: on none. */
static ngx_int_t port_wants_it(ngx_conf_t *cf, ngx_http_conf_port_t *port)
{
    ngx_http_conf_addr_t *addr = port->addrs.elts;
    ngx_int_t wants = NGX_DECLINED;

    for (ngx_uint_t i = 0; i < port->addrs.nelts; i++)
        if (address_wants_it(&addr[i])) {
            if (ngx_http_afpa_refuse_address(cf, &addr[i]) != NGX_OK)
                return NGX_ERROR;
            wants = NGX_OK;
        }
    return wants;
}

/* nginx's own list of them is gone when the sockets are there. */
static ngx_int_t ports_note(ngx_conf_t *cf, ngx_http_core_main_conf_t *core)
{
    ngx_http_afpa_main_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_afpa_module);
    ngx_http_conf_port_t *port = core->ports ? core->ports->elts : NULL;

    for (ngx_uint_t i = 0; port && i < core->ports->nelts; i++) {
        ngx_int_t wants = port_wants_it(cf, &port[i]);
        ngx_http_afpa_port_t *noted;

        if (wants == NGX_ERROR)
            return NGX_ERROR;
        if (wants != NGX_OK)
            continue;
        noted = ngx_array_push(&conf->fast_ports);
        if (noted == NULL)
            return NGX_ERROR;
        noted->family = port[i].family;
        noted->port = port[i].port;
    }
    return NGX_OK;
}

static ngx_flag_t is_fast_port(ngx_http_afpa_main_conf_t *conf, struct sockaddr *address)
{
    ngx_http_afpa_port_t *noted = conf->fast_ports.elts;

    for (ngx_uint_t i = 0; i < conf->fast_ports.nelts; i++)
        if (noted[i].family == address->sa_family && noted[i].port == ngx_inet_get_port(address))
            return 1;
    return 0;
}

ngx_int_t ngx_http_afpa_fastpath_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *log = ngx_array_push(&core->phases[NGX_HTTP_LOG_PHASE].handlers);
    ngx_http_handler_pt *begin = ngx_array_push(&core->phases[NGX_HTTP_PREACCESS_PHASE].handlers);

    if (log == NULL || begin == NULL)
        return NGX_ERROR;
    *log = on_log;
    *begin = ngx_http_afpa_capture_begin;
    return ports_note(cf, core);
}

ngx_int_t ngx_http_afpa_fastpath_init_module(ngx_cycle_t *cycle, ngx_http_afpa_main_conf_t *conf)
{
    ngx_listening_t *ls = cycle->listening.elts;

    if (conf->fast_zone == NULL)
        return NGX_OK;
    if (getrandom(&conf->epoch, sizeof(conf->epoch), 0) != sizeof(conf->epoch)) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno, "afpa_fast_path: getrandom() failed");
        return NGX_ERROR;
    }
    ngx_http_afpa_log_init(conf);
    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++)
        if (ls[i].handler == ngx_http_init_connection && is_fast_port(conf, ls[i].sockaddr))
            ls[i].handler = on_connection;
    return NGX_OK;
}

ngx_int_t ngx_http_afpa_fastpath_init_process(ngx_cycle_t *cycle, ngx_http_afpa_main_conf_t *conf)
{
    afpa_engine_setup_t setup = {.zerocopy = (uint64_t)conf->zerocopy,
                                 .connections = (unsigned)cycle->connection_n,
                                 .handover = on_handover,
                                 .unfinished = on_unfinished,
                                 .closed = on_closed,
                                 .replied = on_replied};

    if (conf->fast_zone == NULL || conf->fast_zone->cache == NULL)
        return NGX_OK;
    afpa_descriptors_reserve((unsigned)cycle->connection_n);
    setup.executor = &ngx_http_afpa_executor;
    engine_cache = conf->fast_zone->cache;
    engine = afpa_engine_create(&setup);
    tick.handler = on_tick;
    tick.data = &tick;
    tick.log = cycle->log;
    return engine ? NGX_OK : NGX_ERROR;
}
