/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine, the epoll provider.  In: readiness.  Out: completions.
 *
 * A socket is registered once, edge-triggered, for everything; what the kernel said is kept in two flags, so a request that can be
 * served at once makes no system call but its own.  A receive that brought less than was asked for proves that no more is there:
 * the next one waits for an edge (EPOLLRDHUP tells of an end that came with the last bytes).
 * Bytes are copied by the kernel, or with sendfile referred to by pages that are replaced before they are used again (chunk.c); so
 * every send completes as soon as it was accepted.
 * A connection that always has more to read gets AT_ONCE receives per turn of the loop, one that takes whatever is sent
 * AFPA_TRANSPORT_SHARE bytes; then the others have theirs.
 * A transport that was closed is freed at the end of the turn: events of the same turn may still point at it.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "assert.h"
#include "loop.h"

#define AT_ONCE 16

static const afpa_provider_t provider;

static afpa__epoll_t *conn_of(afpa_transport_t *transport)
{
    return (afpa__epoll_t *)transport;
}

/* ---- receiving ---- */

static void finish_receive(afpa__epoll_t *c, afpa_status_t status, size_t bytes, const void *data)
{
    afpa_io_t *io = c->receiving;

    c->receiving = NULL;
    io->data = data;
    io->completed(io, status, bytes);
}

static void ready_later(afpa__epoll_t *c)
{
    if (c->ready)
        return;
    c->ready = true;
    c->next_ready = c->loop->ready;
    c->loop->ready = c;
}

static ssize_t recv_some(afpa__epoll_t *c, void *to, size_t size)
{
    ssize_t n = recv(c->fd, to, size, 0);

    if (n < 0 && errno == EINTR)
        return recv_some(c, to, size);
    if (n < 0 && errno != EAGAIN)
        c->ended = true;
    if ((n < 0 || (size_t)n < size) && !c->ended)
        c->readable = false;
    return n;
}

/* Serves the receive that is under way, if anything is there. */
static void try_receive(afpa__epoll_t *c)
{
    void *to = c->buffer ? c->buffer : c->loop->memory;
    size_t size = c->buffer ? c->size : AFPA__LOOP_BUFFER;
    ssize_t n;

    if (c->left) {
        size_t part = c->left_length < size ? c->left_length : size;

        memcpy(to, c->left + c->left_at, part);
        c->left_at += part;
        c->left_length -= part;
        if (c->left_length == 0) {
            free(c->left);
            c->left = NULL;
        }
        finish_receive(c, AFPA_OK, part, to);
        return;
    }
    if (!c->readable)
        return;
    if (c->at_once == 0) {
        ready_later(c);
        return;
    }
    c->at_once--;
    n = recv_some(c, to, size);
    if (n > 0)
        finish_receive(c, AFPA_OK, (size_t)n, to);
    else if (n == 0)
        finish_receive(c, AFPA_CLOSED, 0, NULL);
    else if (errno != EAGAIN)
        finish_receive(c, AFPA_IO_ERROR, 0, NULL);
    else
        c->readable = false;
}

static afpa_status_t on_receive(afpa_transport_t *transport, afpa_io_t *io, void *buffer, size_t size)
{
    afpa__epoll_t *c = conn_of(transport);

    afpa__assert(!c->receiving);
    if (c->fd < 0)
        return AFPA_CLOSED;
    c->receiving = io;
    c->buffer = buffer;
    c->size = size;
    try_receive(c);
    return AFPA_OK;
}

/* Nobody has asked: the endpoint is told. */
static void indicate(afpa__epoll_t *c)
{
    afpa_endpoint_t *endpoint = c->base.endpoint;

    while (c->readable && !c->receiving && c->fd >= 0 && !c->left && endpoint && endpoint->received) {
        ssize_t n = recv_some(c, c->loop->memory, AFPA__LOOP_BUFFER);
        size_t taken;

        if (n <= 0)
            break;
        taken = endpoint->received(endpoint, &c->base, c->loop->memory, (size_t)n);
        if (taken < (size_t)n && c->fd >= 0) {
            c->left = malloc((size_t)n - taken);
            afpa__assert(c->left);
            memcpy(c->left, c->loop->memory + taken, (size_t)n - taken);
            c->left_at = 0;
            c->left_length = (size_t)n - taken;
        }
    }
}

/* ---- sending ---- */

static afpa_status_t on_send(afpa_transport_t *transport, afpa_io_t *io, const afpa_piece_t *piece, size_t *accepted)
{
    afpa__epoll_t *c = conn_of(transport);
    off_t at = (off_t)piece->file_offset;
    ssize_t n;

    if (c->fd < 0)
        return AFPA_CLOSED;
    if (c->sent >= AFPA_TRANSPORT_SHARE) {
        c->sending = io;
        ready_later(c);
        return AFPA_AGAIN;
    }
    do {
        n = piece->by_reference ? sendfile(c->fd, piece->file, &at, piece->length)
                                : send(c->fd, piece->data, piece->length, MSG_NOSIGNAL | (piece->last ? 0 : MSG_MORE));
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        c->sending = io;
        return AFPA_AGAIN;
    }
    if (n <= 0)
        return AFPA_IO_ERROR;
    c->sent += (uint64_t)n;
    *accepted = (size_t)n;
    io->completed(io, AFPA_OK, (size_t)n);
    return AFPA_OK;
}

static void writable(afpa__epoll_t *c)
{
    afpa_io_t *io = c->sending;

    c->sending = NULL;
    if (io)
        io->writable(io);
}

/* ---- awaiting ---- */

static bool epoll_set(afpa__epoll_t *c, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};

    return epoll_ctl(c->loop->epoll, operation, c->fd, &event) == 0;
}

static void finish_await(afpa__epoll_t *c, afpa_status_t status)
{
    afpa_io_t *io = c->awaiting;

    c->awaiting = NULL;
    io->completed(io, status, 0);
}

/* Its edge may have come and gone while others used the socket: setting the watch again has the kernel look. */
afpa_status_t afpa_loop_await(afpa_transport_t *transport, afpa_io_t *io, bool writable)
{
    afpa__epoll_t *c = conn_of(transport);

    afpa__assert(!c->awaiting && !c->receiving);
    if (c->fd < 0)
        return AFPA_CLOSED;
    c->awaiting = io;
    c->awaited = (writable ? EPOLLOUT : EPOLLIN | EPOLLRDHUP) | EPOLLHUP | EPOLLERR;
    if (epoll_set(c, EPOLL_CTL_MOD))
        return AFPA_OK;
    c->awaiting = NULL;
    return AFPA_IO_ERROR;
}

void afpa_loop_forget(afpa_transport_t *transport)
{
    conn_of(transport)->receiving = NULL;
}

/* Always: what the peer's kernel has acknowledged its application may not have read. */
static bool on_must_linger(afpa_transport_t *transport)
{
    return conn_of(transport)->fd >= 0;
}

/* ---- connecting and disconnecting ---- */

bool afpa__epoll_watch(afpa__epoll_t *c)
{
    return epoll_set(c, EPOLL_CTL_ADD);
}

afpa_transport_t *afpa_loop_adopt(afpa_loop_t *loop, afpa_endpoint_t *endpoint, int fd)
{
    afpa__epoll_t *c = afpa__epoll_new(loop, endpoint, fd);

    if (c && !afpa__epoll_watch(c)) {
        free(c);
        return NULL;
    }
    if (c)
        c->readable = c->accepted = c->adopted = true;
    return c ? &c->base : NULL;
}

afpa__epoll_t *afpa__epoll_new(afpa_loop_t *loop, afpa_endpoint_t *endpoint, int fd)
{
    afpa__epoll_t *c = calloc(1, sizeof(*c));

    if (c) {
        c->base.provider = &provider;
        c->base.endpoint = endpoint;
        c->loop = loop;
        c->fd = fd;
        c->at_once = AT_ONCE;
    }
    return c;
}

/* Closing a descriptor ends the kernel's watch only if it is the socket's last. */
void afpa__epoll_drop(afpa__epoll_t *c)
{
    if (c->adopted && c->fd >= 0)
        (void)epoll_set(c, EPOLL_CTL_DEL);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->left);
    c->left = NULL;
    c->next_garbage = c->loop->garbage;
    c->loop->garbage = c;
}

static afpa_status_t on_accept(afpa_transport_t *transport, afpa_io_t *io)
{
    conn_of(transport)->accepted = true;
    if (io)
        io->completed(io, AFPA_OK, 0);
    return AFPA_OK;
}

static void finish_connect(afpa__epoll_t *c)
{
    afpa_io_t *io = c->connecting;
    int error = 0;
    socklen_t length = sizeof(error);

    c->connecting = NULL;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    io->completed(io, error ? AFPA_IO_ERROR : AFPA_OK, 0);
}

static afpa_status_t on_connect(afpa_transport_t *transport, afpa_io_t *io, const struct sockaddr *address, socklen_t length)
{
    afpa__epoll_t *c = conn_of(transport);
    int on = 1, rc;

    afpa__assert(c->fd < 0);
    c->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return AFPA_IO_ERROR;
    if (address->sa_family != AF_UNIX)
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    rc = connect(c->fd, address, length);
    if ((rc != 0 && errno != EINPROGRESS) || !afpa__epoll_watch(c)) {
        close(c->fd);
        c->fd = -1;
        return AFPA_IO_ERROR;
    }
    c->connecting = io;
    if (rc == 0)
        finish_connect(c);
    return AFPA_OK;
}

static void on_disconnect(afpa_transport_t *transport, afpa_io_t *io, afpa_disconnect_t how)
{
    afpa__epoll_t *c = conn_of(transport);

    if (how == AFPA_DISCONNECT_RELEASE) {
        if (c->fd >= 0)
            (void)shutdown(c->fd, SHUT_WR);
    } else {
        afpa_io_t *connecting = c->connecting;

        afpa__epoll_drop(c);
        c->sending = c->connecting = NULL;
        if (connecting)
            connecting->completed(connecting, AFPA_CLOSED, 0);
        if (c->awaiting)
            finish_await(c, AFPA_CLOSED);
        if (c->receiving)
            finish_receive(c, AFPA_CLOSED, 0, NULL);
    }
    if (io)
        io->completed(io, AFPA_OK, 0);
}

static const afpa_provider_t provider = {.accept = on_accept,
                                         .connect = on_connect,
                                         .send = on_send,
                                         .receive = on_receive,
                                         .must_linger = on_must_linger,
                                         .disconnect = on_disconnect};

afpa_transport_t *afpa_loop_transport(afpa_loop_t *loop, afpa_endpoint_t *endpoint)
{
    afpa__epoll_t *c = afpa__epoll_new(loop, endpoint, -1);

    return c ? &c->base : NULL;
}

/* ---- events ---- */

/* The peer closed or the connection broke, and no request is there to tell. */
static void ended(afpa__epoll_t *c, afpa_status_t why)
{
    if (c->fd >= 0 && !c->receiving && c->base.endpoint && c->base.endpoint->disconnected)
        c->base.endpoint->disconnected(c->base.endpoint, &c->base, why);
}

void afpa__epoll_event(afpa__epoll_t *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    c->at_once = AT_ONCE;
    c->sent = 0;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->ended = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->readable = true;
    if (c->connecting && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        finish_connect(c);
    if (c->fd >= 0 && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        writable(c);
    if (c->fd >= 0 && c->awaiting && events & c->awaited)
        finish_await(c, AFPA_OK);
    if (c->fd >= 0 && c->receiving)
        try_receive(c);
    else if (c->fd >= 0 && c->readable)
        indicate(c);
    if (c->ended)
        ended(c, events & EPOLLERR ? AFPA_IO_ERROR : AFPA_CLOSED);
}

void afpa__epoll_go_on(afpa_loop_t *loop)
{
    afpa__epoll_t *list = loop->ready;

    loop->ready = NULL;
    while (list) {
        afpa__epoll_t *c = list;

        list = c->next_ready;
        c->ready = false;
        c->at_once = AT_ONCE;
        c->sent = 0;
        if (c->fd >= 0)
            writable(c);
        if (c->fd >= 0 && c->receiving)
            try_receive(c);
    }
}

void afpa__epoll_collect(afpa_loop_t *loop)
{
    afpa__epoll_t **link = &loop->garbage;

    while (*link) {
        afpa__epoll_t *c = *link;

        if (c->ready) { /* still in the other list */
            link = &c->next_garbage;
        } else {
            *link = c->next_garbage;
            free(c);
        }
    }
}
