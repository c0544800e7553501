/* SPDX-License-Identifier: Apache-2.0
 *
 * mod_afpa, the fast path: what its files share.
 *
 *   MPM ─ accepted ─► mod_afpa_fastpath.c ─ descriptor ─► mod_afpa_loop.c ── request is httpd's ──► mod_afpa_host.c
 *                     takes it from the MPM               engine, in loop threads                   httpd, in threads of ours
 *                                                           ▲                                          │
 *                                                           └───────── reply sent, kept alive ─────────┘
 */
#ifndef MOD_AFPA_FASTPATH_H
#define MOD_AFPA_FASTPATH_H

#include "mod_afpa.h"

#include <netinet/in.h>

#include <afpa/engine.h>
#include <afpa/loop.h>
#include <afpa/response.h>

typedef struct afpa_mod_loop afpa_mod_loop_t;

/* What httpd wants done with a connection when it is through with it for now. */
typedef enum {
    AFPA_MOD_TO_ENGINE,  /* kept alive, between two requests */
    AFPA_MOD_WAIT_INPUT, /* wait for input, then httpd again: kept alive too, but in a protocol of its own */
    AFPA_MOD_WAIT_READ,  /* wait for input in the middle of something */
    AFPA_MOD_WAIT_WRITE, /* wait until more of the reply can be sent, then httpd again */
    AFPA_MOD_SUSPENDED,  /* a handler will go on with it by itself */
    AFPA_MOD_LINGER,     /* all is sent; read what still comes, for a while */
    AFPA_MOD_LINGER_SHORT,
    AFPA_MOD_CLOSE
} afpa_mod_after_t;

/* A connection that was taken from the MPM.  It belongs to one thread at a time: to that of its loop, or, from
 * afpa_mod_host_submit() until afpa_mod_loop_return(), to one of httpd's. */
typedef struct afpa_mod_client {
    afpa_job_t job; /* first: its way to the other thread */
    afpa_mod_loop_t *loop;
    struct afpa_mod_client *next, *previous; /* of the loop's */
    int fd;                                  /* the transport's, once there is one */
    struct sockaddr_storage local, remote;
    char ip[INET6_ADDRSTRLEN];
    server_rec *base_server;
    uint64_t server; /* see afpa_response_terms_t */
    uint64_t accepted_ms;
    uint32_t requests;                  /* replies so far, of both */
    uint32_t keep_alive_ms, timeout_ms; /* between two requests; in the middle of one */
    /* the loop's: */
    afpa_transport_t *transport;
    afpa_conn_t *conn; /* the engine's; NULL: the engine does not have it */
    afpa_io_t waiting, closing;
    uint64_t deadline; /* of what is awaited; 0: nothing is */
    int idle;          /* what is awaited is a request */
    /* httpd's: */
    conn_rec *c; /* NULL: httpd has not had it yet */
    apr_socket_t *socket;
    conn_state_t state;
    afpa_mod_after_t after;
    char *bytes; /* read by the engine, and not answered: httpd's to read first */
    apr_size_t length;
    int late; /* the time for a head was over: what httpd reads behind those is that, not the socket */
} afpa_mod_client_t;

/* Milliseconds, as far as they go. */
static inline uint32_t afpa_mod_msec(apr_interval_time_t time)
{
    apr_int64_t ms = apr_time_as_msec(time);

    return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* The number of the virtual hosts behind the address that a connection came to, in this configuration. */
uint64_t afpa_mod_server_number(const conn_rec *c);

/* Whether connections to this address are taken over. */
int afpa_mod_takes_over(const apr_sockaddr_t *local);

/* The servers of this configuration, by tag: of a server's responses. */
apr_uint32_t afpa_mod_tag_of(const server_rec *s);
const server_rec *afpa_mod_server_by_tag(apr_uint32_t tag);

/* A child is about to end: no new requests on connections that wait for one. */
int afpa_mod_stopping(void);

/* ---- mod_afpa_loop.c ---- */

/* Starts `count` loops with the cache of this child.  NULL: said why. */
afpa_mod_loop_t *afpa_mod_loops_start(apr_pool_t *p, server_rec *s, afpa_cache_t *cache, unsigned count);

/* What checks files for them; any thread may submit. */
afpa_executor_t *afpa_mod_loops_executor(void);

/* Gives a connection to one of them; any thread.  0: they end, and it is the caller's still. */
int afpa_mod_loop_give(afpa_mod_loop_t *loops, afpa_mod_client_t *client);

/* Gives it back, with client->after set.  A thread of httpd's. */
void afpa_mod_loop_return(afpa_mod_client_t *client);

/* Has the loops look at afpa_mod_stopping().  `now`: connections are broken off. */
void afpa_mod_loops_wake(afpa_mod_loop_t *loops, int now);

/* Waits until their connections are gone and they have ended, at most `seconds` (0: as long as it takes).  0: some have not. */
int afpa_mod_loops_join(afpa_mod_loop_t *loops, unsigned seconds);

/* ---- mod_afpa_host.c ---- */

void afpa_mod_host_register(void);

/* Before there are children. */
void afpa_mod_host_prepare(apr_pool_t *pconf);

/* Starts at most `count` threads that run httpd on connections, and later, when all are at work, others: `most` in all, in all
 * children that have such connections together. */
apr_status_t afpa_mod_host_start(apr_pool_t *p, apr_pool_t *pconf, unsigned count, unsigned most);

/* Whether HTTP/1 is spoken on this connection, with nothing but httpd's own between it and the network. */
int afpa_mod_is_bare(conn_rec *c);

/* Has httpd go on with a connection.  One whose socket is closed (fd -1), which the loop has forgotten, ends: httpd's structures of it
 * go, then the client itself. */
void afpa_mod_host_submit(afpa_mod_client_t *client);

/* Ends the threads when there is nothing left to do. */
void afpa_mod_host_stop(void);

/* The first connection that the MPM hands over tells which child this is. */
void afpa_mod_host_child(long id);

/* The client and all of it are gone. */
void afpa_mod_client_free(afpa_mod_client_t *client);

/* ---- mod_afpa_log.c ---- */

typedef struct afpa_mod_buffer {
    struct afpa_mod_buffer *next;
    afpa_mod_log_t *log;
    apr_size_t length;
    char bytes[];
} afpa_mod_buffer_t;

/* Opens the log files of all servers.  0: said why one cannot be. */
int afpa_mod_logs_open(apr_pool_t *p, server_rec *s);

/* Adds a line to a buffer of the calling thread's list, and writes what is in all of them. */
void afpa_mod_log_reply(afpa_mod_buffer_t **buffers, const server_rec *s, const afpa_mod_client_t *client,
                        const afpa_reply_t *reply);
void afpa_mod_log_flush(afpa_mod_buffer_t *buffers);
void afpa_mod_log_free(afpa_mod_buffer_t **buffers);

#endif
