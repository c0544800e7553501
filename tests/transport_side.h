/* SPDX-License-Identifier: Apache-2.0
 *
 * One side of a connection, over a real socket (of epoll's provider or of nginx's) or over the fake, and a peer: what the suites of
 * providers and of the loop share.
 */
#ifndef AFPA_TRANSPORT_SIDE_H
#define AFPA_TRANSPORT_SIDE_H

#include <netinet/in.h>

#include <afpa/loop.h>

#include "check_main.h"
#include "fake_provider.h"

/* One side of a connection with its provider, and what happens there. */
typedef struct side {
    afpa_io_t receiving, sending, accepting, disconnecting; /* first: completions find the side by these */
    afpa_endpoint_t endpoint;
    afpa_transport_t *transport;
    bool refuse, take_half, close_in_receive;
    char *got;
    size_t got_length;
    afpa_status_t status, why;
    unsigned received, accepted, disconnected, told, writable;
    size_t completed;
    bool closed_first; /* the receive under way ended before the disconnect */
    bool closing;      /* it has been disconnected for good */
    int kind;
    /* real sockets: */
    int peer; /* -1: there is none */
    unsigned port;
    afpa_loop_t *loop; /* epoll */
    void *nginx;       /* of the double */
    /* the fake: */
    fake_conn_t fake;
} side_t;

enum { EPOLL, FAKE, NGINX };

/* How a side is driven whose host is no part of the library; set by the suite that has it. */
typedef struct side_host {
    unsigned (*listen)(side_t *s); /* the port */
    void (*accept)(side_t *s);
    void (*turn)(side_t *s);
    void (*end)(side_t *s);
} side_host_t;

extern const side_host_t *side_nginx;
const side_host_t *side_nginx_double(void);

void side_begin(side_t *s, int kind);
void side_end(side_t *s);

/* Some turns of its loop. */
void side_turn(side_t *s);

/* The peer connects, sends, ends. */
void side_dial(side_t *s);
void side_peer_sends(side_t *s, const char *text);
void side_peer_ends(side_t *s, bool reset);

/* What has arrived at the peer: bytes, or -1 at the end. */
ssize_t side_peer_reads(side_t *s, char *to, size_t size);

/* A receive; it must be taken. */
void side_ask(side_t *s, void *buffer, size_t size);

void side_disconnect(side_t *s, afpa_disconnect_t how);

/* Fails unless this is what was received so far. */
void side_have(side_t *s, const char *text);

/* Events of its endpoint, for tests that want them. */
size_t side_on_received(afpa_endpoint_t *endpoint, afpa_transport_t *transport, const void *data, size_t length);
void side_on_disconnected(afpa_endpoint_t *endpoint, afpa_transport_t *transport, afpa_status_t why);

struct sockaddr_in side_loopback(unsigned port);

#endif
