/* SPDX-License-Identifier: Apache-2.0
 *
 * The epoll loop and its transports: loop.c has the loop, transport_epoll.c the connections.
 */
#ifndef AFPA_LOOP_PRIVATE_H
#define AFPA_LOOP_PRIVATE_H

#include <pthread.h>

#include <afpa/loop.h>

#define AFPA__LOOP_BUFFER 65536
#define AFPA__LISTENERS 16

typedef struct afpa__epoll {
    afpa_transport_t base; /* first */
    afpa_loop_t *loop;
    int fd;
    bool readable, ended, accepted, ready;       /* ended: the peer closed, or an error; ready: in the loop's list */
    bool adopted;                                /* there may be other descriptors of the socket */
    unsigned at_once;                            /* receives that are left to it in this turn */
    uint64_t sent;                               /* bytes, in this turn */
    afpa_io_t *receiving, *sending, *connecting; /* under way; sending: waits to be writable */
    afpa_io_t *awaiting;                         /* of afpa_loop_await() */
    uint32_t awaited;                            /* its events */
    void *buffer;
    size_t size;
    char *left; /* of an indication that was not taken whole */
    size_t left_at, left_length;
    struct afpa__epoll *next_ready, *next_garbage;
} afpa__epoll_t;

typedef struct afpa__listener {
    int fd;
    afpa_endpoint_t *endpoint;
    uint64_t paused_until;
} afpa__listener_t;

struct afpa_loop {
    int epoll, wake;
    afpa__listener_t listeners[AFPA__LISTENERS];
    unsigned listening, port;
    afpa__epoll_t *ready, *garbage;
    char *memory; /* of receives without a buffer */
    afpa_executor_t executor;
    afpa_executor_t *pool;
    pthread_mutex_t lock; /* covers done */
    afpa_job_t *done;     /* last first */
};

/* A transport for a socket, or -1; NULL: out of memory. */
afpa__epoll_t *afpa__epoll_new(afpa_loop_t *loop, afpa_endpoint_t *endpoint, int fd);

/* Closes its socket; it is freed at the end of the turn. */
void afpa__epoll_drop(afpa__epoll_t *conn);

/* Registers the socket. */
bool afpa__epoll_watch(afpa__epoll_t *conn);

/* What epoll says about it. */
void afpa__epoll_event(afpa__epoll_t *conn, uint32_t events);

/* Those that had their share of the last turn go on; those that were dropped are freed. */
void afpa__epoll_go_on(afpa_loop_t *loop);
void afpa__epoll_collect(afpa_loop_t *loop);

#endif
