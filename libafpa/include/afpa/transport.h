/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections, as the engine and the send machine see them: a provider moves the bytes, an endpoint is told what happens.
 *
 * After TDI, the interface under AFPA on Windows.  There are five requests: accept, connect, send, receive, disconnect.  Each
 * carries an afpa_io_t, whose completion routine runs exactly once per request, inline (before the call returns) or later; callers
 * must not care which.  There are three events: connected, received, disconnected, each optional.
 *
 * Everything about one connection happens in the thread of its loop.  From inside any completion or event, any request may be
 * made, a disconnect too; a provider must not touch what a completion may have freed.
 *
 * Memory:  send     the bytes of a piece stay as they are from AFPA_OK until they complete; what was not accepted is the caller's.
 *          receive  the buffer is the provider's until completion; without one, io->data is valid only during completed().
 *          io       the requester's; it stays where it is until its request has completed.
 *
 * Accepted is not completed: send says how many bytes were taken, completions say later, in order, that their memory is free.
 */
#ifndef AFPA_TRANSPORT_H
#define AFPA_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <afpa/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct afpa_io afpa_io_t;
typedef struct afpa_transport afpa_transport_t;
typedef struct afpa_provider afpa_provider_t;
typedef struct afpa_endpoint afpa_endpoint_t;

/* One request, or in the case of send a stream of them. */
struct afpa_io {
    /* accept, connect, disconnect, receive: once per request.  send: once or more, `bytes` add up to what was accepted.
     * AFPA_OK      done; receive: `bytes` (at least 1) arrived.
     * AFPA_CLOSED  receive: the peer has closed its side, nothing more will come.  Any: the connection was disconnected first; a
     *              send's bytes are free then all the same, and are counted.
     * AFPA_IO_ERROR  the connection is broken; only disconnect is still legal. */
    void (*completed)(afpa_io_t *io, afpa_status_t status, size_t bytes);
    void (*writable)(afpa_io_t *io); /* send, after AFPA_AGAIN: it pays to try again, or the connection broke */
    const void *data;                /* receive without a buffer: the bytes, during completed() */
};

/* One run of bytes to send. */
typedef struct afpa_piece {
    const void *data;     /* memory, always valid */
    size_t length;        /* at least 1 */
    uint64_t file_offset; /* of the same bytes in the segment file; meaningful if by_reference */
    int file;             /* the segment's descriptor, likewise */
    bool by_reference;    /* may be sent with sendfile() from there */
    bool last;            /* nothing follows at once: what is held back to fill a packet goes out */
} afpa_piece_t;

typedef enum afpa_disconnect {
    AFPA_DISCONNECT_RELEASE, /* nothing more will be sent; what was accepted arrives; receiving goes on */
    AFPA_DISCONNECT_CLOSE    /* the connection is gone: every request under way completes with AFPA_CLOSED, then this one; after
                              * its completion the transport is the provider's again and must not be touched */
} afpa_disconnect_t;

/* Bytes that one connection may send in one turn of its loop before others have theirs.  With them a client that takes whatever is
 * sent would keep the loop for as long as its file is. */
#define AFPA_TRANSPORT_SHARE 2097152u

/* Requests.  Those that return a status: AFPA_OK, the request was taken and will complete; else it was not, and will not.
 * A NULL is legal where a provider cannot do it (connect). */
struct afpa_provider {
    /* From within the event `connected` only: takes the connection.  Who does not, refuses it. */
    afpa_status_t (*accept)(afpa_transport_t *transport, afpa_io_t *io);
    /* Begins a connection of the transport, which is new. */
    afpa_status_t (*connect)(afpa_transport_t *transport, afpa_io_t *io, const struct sockaddr *address, socklen_t length);
    /* Takes some or all of the piece.  Never blocks.
     * AFPA_OK        *accepted bytes (1 … length) were taken.
     * AFPA_AGAIN     nothing was taken; io->writable() is called when it pays to try again, or, after AFPA_TRANSPORT_SHARE bytes in
     *                one turn of the loop, when the others have had theirs.
     * anything else  the connection is broken; nothing was taken. */
    afpa_status_t (*send)(afpa_transport_t *transport, afpa_io_t *io, const afpa_piece_t *piece, size_t *accepted);
    /* Asks for the next bytes, one request at a time.  buffer NULL: into the provider's memory, so that an idle connection needs
     * none. */
    afpa_status_t (*receive)(afpa_transport_t *transport, afpa_io_t *io, void *buffer, size_t size);
    /* Whether a connection that ends has to linger (RFC 9112, 9.6): closed with bytes in it that no receive has brought, it is reset
     * at once; closed before the peer has read all, it is reset when the peer sends something more; and at a reset the peer may lose
     * what it has not read yet.  A provider that cannot tell says yes; one whose host closes all the same does as the host. */
    bool (*must_linger)(afpa_transport_t *transport);
    /* Always legal, and never fails.  `io` may be NULL. */
    void (*disconnect)(afpa_transport_t *transport, afpa_io_t *io, afpa_disconnect_t how);
};

/* A connection; providers have their own behind it. */
struct afpa_transport {
    const afpa_provider_t *provider;
    afpa_endpoint_t *endpoint; /* whom events go to; may be changed between events; NULL: nobody */
    void *context;             /* the endpoint's */
};

/* Events; NULL: not interested. */
struct afpa_endpoint {
    /* A connection is offered.  NULL: all are refused. */
    void (*connected)(afpa_endpoint_t *endpoint, afpa_transport_t *transport);
    /* Bytes came while no receive was under way.  Returns how many were taken; the rest waits for a receive.
     * NULL: they wait in the kernel. */
    size_t (*received)(afpa_endpoint_t *endpoint, afpa_transport_t *transport, const void *data, size_t length);
    /* The peer closed (AFPA_CLOSED) or the connection broke (AFPA_IO_ERROR) while no request was under way that would tell.
     * NULL: the next request tells. */
    void (*disconnected)(afpa_endpoint_t *endpoint, afpa_transport_t *transport, afpa_status_t why);
};

static inline afpa_status_t afpa_transport_send(afpa_transport_t *t, afpa_io_t *io, const afpa_piece_t *piece, size_t *accepted)
{
    return t->provider->send(t, io, piece, accepted);
}

static inline afpa_status_t afpa_transport_receive(afpa_transport_t *t, afpa_io_t *io, void *buffer, size_t size)
{
    return t->provider->receive(t, io, buffer, size);
}

static inline bool afpa_transport_must_linger(afpa_transport_t *t)
{
    return t->provider->must_linger(t);
}

static inline void afpa_transport_disconnect(afpa_transport_t *t, afpa_io_t *io, afpa_disconnect_t how)
{
    t->provider->disconnect(t, io, how);
}

#ifdef __cplusplus
}
#endif
#endif
