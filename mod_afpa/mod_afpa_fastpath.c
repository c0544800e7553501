/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast path in httpd: which connections, from when until when.
 *
 * A connection is taken from the MPM in its first process_connection hook, before a byte is read (or between two requests, if it
 * could not be taken then).  What is taken is the descriptor, as a duplicate, and the addresses; to the MPM the connection is over:
 * it closes its own descriptor and recycles conn_rec and pool.  So there is nothing that two threads share, and no moment at which
 * the loop would have to know that a worker has let go: what the worker still writes, it writes to structures that the loop does
 * not have.  (A connection that is marked CONN_STATE_SUSPENDED is written to by the MPM after the hook has returned; and it counts
 * for the MPM's limit of connections per child, ThreadsPerChild + idle workers × AsyncRequestWorkerFactor, which is 75 by default:
 * see docs/measurements.md.)
 * If the first request has come already and is not one that the engine can answer, the connection stays where it is: handing it
 * over and back would cost more than half a request (docs/measurements.md).  It is taken when a request comes that it can.
 * A duplicate keeps the connection open while the other descriptor is closed, for c->aborted tells httpd not to shut it down.
 * To epoll both are one socket, so the loop ends its watch by itself before it closes its own (transport_epoll.c).
 *
 * The module has a bound of its own, AfpaMaxConnections; beyond it connections stay with httpd.
 */
#include "mod_afpa_fastpath.h"

#include <ap_mpm.h>
#include <http_connection.h>
#include <http_ssl.h>
#include <mpm_common.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/resource.h>

#define WORKERS_PER_LOOP 16
#define CONNECTIONS 4096
#define ENDS_NOW_SECONDS 5 /* the parent kills after ten or so */

/* Where a server with the fast path on listens. */
typedef struct {
    apr_sockaddr_t *address; /* NULL: anywhere */
    apr_port_t port;         /* 0: any */
} place_t;

/* What a child has at most. */
typedef struct {
    unsigned loops, connections;
} bounds_t;

/* Of the configuration in force; the parent fills it in before it forks. */
static struct {
    apr_pool_t *pconf;
    afpa_mod_zone_t *zone;       /* NULL: the fast path is on nowhere */
    apr_array_header_t *places;  /* of place_t */
    apr_array_header_t *servers; /* of server_rec *, by tag */
    uint64_t epoch;              /* response entries of another configuration are never found */
} setup;

static afpa_mod_loop_t *loops; /* of this child; NULL: none */
static atomic_int stopping;
static atomic_uint connections;
static unsigned connections_most;

int afpa_mod_stopping(void)
{
    return atomic_load(&stopping);
}

/* ---- addresses and servers ---- */

static void place_add(apr_sockaddr_t *address, apr_port_t port)
{
    place_t *place = apr_array_push(setup.places);

    place->address = address && !apr_sockaddr_is_wildcard(address) ? address : NULL;
    place->port = port;
}

int afpa_mod_takes_over(const apr_sockaddr_t *local)
{
    for (int i = 0; setup.zone && i < setup.places->nelts; i++) {
        const place_t *place = &APR_ARRAY_IDX(setup.places, i, place_t);

        if ((place->port == 0 || place->port == local->port) && (!place->address || apr_sockaddr_equal(place->address, local)))
            return 1;
    }
    return 0;
}

static uint64_t mix(uint64_t hash, const void *bytes, apr_size_t length)
{
    const unsigned char *at = bytes;

    for (apr_size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * 0x100000001b3; /* FNV-1a; what is put in cannot be chosen by a client */
    return hash;
}

/* The lists of virtual hosts are made before the parent forks: their addresses are the same in all children. */
uint64_t afpa_mod_server_number(const conn_rec *c)
{
    uint64_t hash = mix(setup.epoch, &c->vhost_lookup_data, sizeof(c->vhost_lookup_data));

    hash = mix(hash, &c->local_addr->port, sizeof(c->local_addr->port));
    return mix(hash, c->local_addr->ipaddr_ptr, (apr_size_t)c->local_addr->ipaddr_len);
}

/* Servers that say nothing to this module share one configuration, so the number is not in there. */
apr_uint32_t afpa_mod_tag_of(const server_rec *s)
{
    int tag = 0;

    while (tag < setup.servers->nelts && APR_ARRAY_IDX(setup.servers, tag, server_rec *) != s)
        tag++;
    return (apr_uint32_t)tag;
}

const server_rec *afpa_mod_server_by_tag(apr_uint32_t tag)
{
    return tag < (apr_uint32_t)setup.servers->nelts ? APR_ARRAY_IDX(setup.servers, tag, server_rec *) : NULL;
}

/* ---- taking over ---- */

void afpa_mod_client_free(afpa_mod_client_t *client)
{
    atomic_fetch_sub_explicit(&connections, 1, memory_order_relaxed);
    free(client->bytes);
    free(client);
}

static int room(void)
{
    if (atomic_fetch_add_explicit(&connections, 1, memory_order_relaxed) < connections_most)
        return 1;
    atomic_fetch_sub_explicit(&connections, 1, memory_order_relaxed);
    return 0;
}

static void address_copy(struct sockaddr_storage *to, const apr_sockaddr_t *from)
{
    memcpy(to, &from->sa, from->salen < sizeof(*to) ? from->salen : sizeof(*to));
}

static afpa_mod_client_t *client_make(conn_rec *c)
{
    afpa_mod_client_t *client = calloc(1, sizeof(*client));
    apr_os_sock_t fd;

    if (!client)
        return NULL;
    apr_os_sock_get(&fd, ap_get_conn_socket(c));
    client->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (client->fd < 0) {
        free(client);
        return NULL;
    }
    address_copy(&client->local, c->local_addr);
    address_copy(&client->remote, c->client_addr);
    apr_cpystrn(client->ip, c->client_ip, sizeof(client->ip));
    client->base_server = c->base_server;
    client->server = afpa_mod_server_number(c);
    client->accepted_ms = afpa_engine_now();
    client->requests = (uint32_t)c->keepalives;
    client->timeout_ms = afpa_mod_msec(c->base_server->timeout);
    client->keep_alive_ms = c->keepalives ? afpa_mod_msec(c->base_server->keep_alive_timeout) : 0;
    return client;
}

/* Looks at what has come without taking it.  1: the engine can answer it, or it is not there yet. */
static int is_answerable(conn_rec *c)
{
    char head[AFPA_REQUEST_MAX];
    afpa_cache_t *cache = setup.zone->cache;
    afpa_counter_t why = AFPA_DECLINE_NO_RESPONSE;
    afpa_request_result_t result;
    afpa_response_t response;
    afpa_request_t request;
    apr_os_sock_t fd;
    ssize_t n;
    int found;

    apr_os_sock_get(&fd, ap_get_conn_socket(c));
    n = recv(fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0)
        return 1;
    result = afpa_request_read(head, (size_t)n, &request, &why);
    if (result == AFPA_REQUEST_INCOMPLETE)
        return 1;
    if (result == AFPA_REQUEST_WHOLE) {
        afpa_status_t status = afpa_response_lookup(cache, afpa_mod_server_number(c), &request, &response);

        found = status == AFPA_OK || status == AFPA_CHECK_DUE;
        if (status == AFPA_CHECK_DUE)
            afpa_response_check_later(&response, afpa_mod_loops_executor());
        afpa_response_release(&response);
        if (found)
            return 1;
        why = status == AFPA_STALE      ? AFPA_DECLINE_STALE
              : status == AFPA_DISABLED ? AFPA_DECLINE_DISABLED
                                        : AFPA_DECLINE_NO_RESPONSE;
    }
    afpa_cache_count(cache, why);
    return 0;
}

static int takes(conn_rec *c)
{
    const afpa_mod_conn_t *conn = ap_get_module_config(c->conn_config, &afpa_module);

    return loops && !(conn && conn->client) && !afpa_mod_stopping() && c->cs && !c->aborted && !c->data_in_input_filters &&
           afpa_mod_takes_over(c->local_addr) && afpa_mod_is_bare(c) && !ap_ssl_conn_is_ssl(c);
}

static int on_process_connection(conn_rec *c)
{
    afpa_mod_client_t *client;

    if (!takes(c) || !is_answerable(c) || !room())
        return DECLINED;
    client = client_make(c);
    if (!client) {
        atomic_fetch_sub_explicit(&connections, 1, memory_order_relaxed);
        return DECLINED;
    }
    afpa_mod_host_child(c->id);
    if (!afpa_mod_loop_give(loops, client)) {
        close(client->fd);
        afpa_mod_client_free(client);
        return DECLINED;
    }
    c->aborted = 1; /* for the MPM there is nobody any more; it must not shut the connection down */
    c->cs->state = CONN_STATE_LINGER;
    return OK;
}

/* How long a connection waits within and after the reply to this request, as the event MPM decides it. */
static int on_post_read_request(request_rec *r)
{
    const afpa_mod_conn_t *conn = ap_get_module_config(r->connection->conn_config, &afpa_module);
    const server_rec *s = r->server->keep_alive_timeout_set ? r->server : r->connection->base_server;

    if (conn && conn->client) {
        conn->client->keep_alive_ms = afpa_mod_msec(s->keep_alive_timeout);
        conn->client->timeout_ms = afpa_mod_msec(s->timeout);
    }
    return DECLINED;
}

/* ---- configuration ---- */

static int is_event(void)
{
    return strcmp(ap_show_mpm(), "event") == 0;
}

/* Also what a configuration test runs. */
int afpa_mod_fastpath_check(server_rec *s)
{
    const afpa_mod_server_conf_t *first = NULL;
    const char *stranger = afpa_mod_guard_stranger();

    setup.zone = NULL;
    for (; s; s = s->next) {
        afpa_mod_server_conf_t *conf = ap_get_module_config(s->module_config, &afpa_module);

        conf->fast = afpa_mod_fast_wanted(conf) && conf->enable == 1 && is_event() && !stranger;
        if (!conf->fast)
            continue;
        if (conf->logging != 0 && !conf->log) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "AfpaFastPath is on, and no AfpaLogFile says where its replies are logged: name a file, or say "
                         "\"AfpaLogging off\"");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (first && first->zone != conf->zone) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "AfpaFastPath is on for zone \"%s\" and for zone \"%s\": it can have only one", first->zone->name,
                         conf->zone->name);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        first = conf;
        setup.zone = conf->zone;
    }
    return OK;
}

/* Says once why it is off although it was asked for. */
static void warn(server_rec *s)
{
    const char *stranger = afpa_mod_guard_stranger();

    if (!is_event())
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "AfpaFastPath needs the event MPM, and this is %s: the pipeline serves all requests", ap_show_mpm());
    else if (stranger)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "AfpaFastPath: %s sees each request, and may refuse, map or log it; the fast path would pass it by, so it "
                     "stays off",
                     stranger);
}

static unsigned at_most(unsigned wanted, rlim_t most)
{
    return most < wanted ? (unsigned)most : wanted;
}

/* Of the descriptors that a process may have, the connections of the loops get half and the loops an eighth, two each: httpd ends a
 * child that cannot accept. */
static bounds_t bounds_of(const afpa_mod_server_conf_t *conf)
{
    struct rlimit files;
    bounds_t bounds;
    int workers = 0;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &workers);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        files.rlim_cur = RLIM_INFINITY;
    bounds.loops = conf->threads > 0 ? (unsigned)conf->threads : (unsigned)(workers + WORKERS_PER_LOOP - 1) / WORKERS_PER_LOOP;
    bounds.loops = at_most(bounds.loops, files.rlim_cur / 16);
    bounds.loops = bounds.loops > 0 ? bounds.loops : 1;
    bounds.connections = at_most(conf->connections > 0 ? (unsigned)conf->connections : CONNECTIONS, files.rlim_cur / 2);
    return bounds;
}

/* Says what was asked for and cannot be. */
static void warn_of_bounds(server_rec *s)
{
    const afpa_mod_server_conf_t *conf = ap_get_module_config(s->module_config, &afpa_module);
    bounds_t bounds = bounds_of(conf);

    if (conf->threads > (apr_int64_t)bounds.loops)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "AfpaThreads %" APR_INT64_T_FMT
                     ": a child has %u, for which an eighth of its open files is enough (ulimit -n)",
                     conf->threads, bounds.loops);
    if (conf->connections > (apr_int64_t)bounds.connections)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "AfpaMaxConnections %" APR_INT64_T_FMT ": a child has %u, half of its open files (ulimit -n)",
                     conf->connections, bounds.connections);
}

static int wanted(server_rec *s)
{
    for (; s; s = s->next)
        if (afpa_mod_fast_wanted(ap_get_module_config(s->module_config, &afpa_module)))
            return 1;
    return 0;
}

/* A head has its time also where mod_reqtimeout is there and nothing is said of it. */
static void header_time_default(server_rec *s)
{
    /* MRT_DEFAULT_header_TIMEOUT, _MIN_RATE, _MAX_TIMEOUT */
    static const afpa_mod_header_time_t usual = {.seconds = 20, .rate = 500, .most = 40};
    int limited = ap_find_linked_module("mod_reqtimeout.c") != NULL;

    for (; s && limited; s = s->next) {
        afpa_mod_server_conf_t *conf = ap_get_module_config(s->module_config, &afpa_module);

        if (conf->header.seconds == AFPA_MOD_UNSET)
            conf->header = usual;
    }
}

int afpa_mod_fastpath_prepare(apr_pool_t *pconf, server_rec *main_server)
{
    setup.pconf = pconf;
    if (wanted(main_server))
        warn(main_server);
    if (!setup.zone)
        return OK;
    warn_of_bounds(main_server);
    header_time_default(main_server);
    afpa_mod_host_prepare(pconf);
    setup.places = apr_array_make(pconf, 4, sizeof(place_t));
    setup.servers = apr_array_make(pconf, 4, sizeof(server_rec *));
    for (server_rec *s = main_server; s; s = s->next) {
        afpa_mod_server_conf_t *conf = ap_get_module_config(s->module_config, &afpa_module);

        APR_ARRAY_PUSH(setup.servers, server_rec *) = s;
        if (conf->fast && !s->is_virtual)
            place_add(NULL, 0);
        for (server_addr_rec *address = conf->fast && s->is_virtual ? s->addrs : NULL; address; address = address->next)
            place_add(address->host_addr, address->host_port);
    }
    if (getrandom(&setup.epoch, sizeof(setup.epoch), 0) != sizeof(setup.epoch)) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, errno, main_server, "AfpaFastPath: getrandom() failed");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return afpa_mod_logs_open(pconf, main_server) ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- life of a child ---- */

static void on_child_stopping(apr_pool_t *pchild, int graceful)
{
    int not_yet = 0;

    if (!loops)
        return;
    if (atomic_compare_exchange_strong(&stopping, &not_yet, 1))
        afpa_mod_loops_wake(loops, 0);
    if (!graceful && atomic_exchange(&stopping, 2) < 2)
        afpa_mod_loops_wake(loops, 1);
}

/* Before the cache is detached.  A graceful end takes as long as replies take; the parent has its own patience. */
static apr_status_t before_exit(void *data)
{
    on_child_stopping(data, 1);
    if (!afpa_mod_loops_join(loops, afpa_mod_stopping() == 2 ? ENDS_NOW_SECONDS : 0))
        setup.zone->cache = NULL; /* a thread still uses it: the process goes with it */
    else
        afpa_mod_host_stop();
    loops = NULL;
    return APR_SUCCESS;
}

void afpa_mod_fastpath_child(apr_pool_t *pchild, server_rec *s)
{
    const afpa_mod_server_conf_t *conf = ap_get_module_config(s->module_config, &afpa_module);
    int workers = 0, children = 0;
    bounds_t bounds = bounds_of(conf);
    unsigned most;

    if (!setup.zone || !setup.zone->cache)
        return;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &workers);
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &children);
    most = (unsigned)workers * (unsigned)(children > 1 ? children : 1);
    connections_most = bounds.connections;
    afpa_descriptors_reserve(connections_most + 4 * most);
    if (afpa_mod_host_start(pchild, setup.pconf, (unsigned)workers, most) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, s, "AfpaFastPath: no thread can be started; this child serves without");
        return;
    }
    loops = afpa_mod_loops_start(pchild, s, setup.zone->cache, bounds.loops);
    apr_pool_pre_cleanup_register(pchild, pchild, before_exit);
}

void afpa_mod_fastpath_register(void)
{
    afpa_mod_host_register();
    ap_hook_process_connection(on_process_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_post_read_request(on_post_read_request, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(on_child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
}
