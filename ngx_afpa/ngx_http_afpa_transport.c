/* SPDX-License-Identifier: Apache-2.0
 *
 * libafpa's transport over nginx's connections and events.
 *
 * A client is a connection of a listening socket that the fast path has taken over, for as long as nginx has it.  While the engine
 * has it, c->data is the client and the events come here; while nginx has it, nothing of nginx's own is changed but c->recv, and
 * that only until the bytes which the engine had read before are read again.
 *
 * Idle connections stay what they are to nginx: reusable, closed by it when it stops or runs short (c->close).
 */
#include "ngx_http_afpa_fastpath.h"

#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#define AT_ONCE 16 /* receives of one connection, then the others have their turn */
#define RECEIVE_SIZE 65536

static u_char memory[RECEIVE_SIZE]; /* of receives without a buffer */

static ngx_http_afpa_client_t *client_of(afpa_transport_t *transport)
{
    return (ngx_http_afpa_client_t *)transport;
}

/* ---- a worker that stops ---- */

static ngx_flag_t stopping(void)
{
    return (ngx_exiting | ngx_terminate) != 0;
}

/* The next reply says that it is the last, as nginx's do then.  No connection is taken over while the worker stops, so that there
 * always is a record to be told; until afpa_conn_start() returns it is not known here. */
static void finish_if_stopping(ngx_http_afpa_client_t *client)
{
    if (stopping() && client->conn)
        afpa_conn_finish(client->conn);
}

/* ---- receiving ---- */

static void finish_receive(ngx_http_afpa_client_t *client, afpa_status_t status, size_t bytes, const void *data)
{
    afpa_io_t *io = client->receiving;

    client->receiving = NULL;
    io->data = data;
    io->completed(io, status, bytes);
}

/* As nginx has it between two requests.  Its queue of reusable connections is brought up to date once a second. */
static void idle_on(ngx_http_afpa_client_t *client)
{
    ngx_connection_t *c = client->c;

    c->idle = c->requests > 0; /* before the first one nginx waits as long as for a header, even when it stops */
    if (c->reusable && client->idle_since == ngx_time())
        return;
    client->idle_since = ngx_time();
    ngx_reusable_connection(c, 1);
}

void ngx_http_afpa_idle_off(ngx_http_afpa_client_t *client)
{
    client->c->idle = 0;
    if (client->c->reusable)
        ngx_reusable_connection(client->c, 0);
}

static void try_receive(ngx_http_afpa_client_t *client)
{
    ngx_connection_t *c = client->c;
    void *to = client->buffer ? client->buffer : memory;
    ssize_t n;

    if (client->at_once == 0) {
        ngx_post_event(c->read, &ngx_posted_next_events);
        return;
    }
    client->at_once--;
    n = c->read->ready ? ngx_recv(c, to, client->buffer ? client->size : RECEIVE_SIZE) : NGX_AGAIN;
    if (n == NGX_AGAIN) {
        if (client->buffer == NULL)
            idle_on(client);
        else
            ngx_http_afpa_idle_off(client);
        if (ngx_handle_read_event(c->read, 0) != NGX_OK)
            finish_receive(client, AFPA_IO_ERROR, 0, NULL);
        return;
    }
    if (n <= 0) {
        finish_receive(client, n == 0 ? AFPA_CLOSED : AFPA_IO_ERROR, 0, NULL);
        return;
    }
    finish_if_stopping(client);
    finish_receive(client, AFPA_OK, (size_t)n, to);
}

static afpa_status_t on_receive(afpa_transport_t *transport, afpa_io_t *io, void *buffer, size_t size)
{
    ngx_http_afpa_client_t *client = client_of(transport);

    client->receiving = io;
    client->buffer = buffer;
    client->size = size;
    if (stopping() && client->c->requests > 0 && (client->conn == NULL || afpa_conn_idle(client->conn)))
        finish_receive(client, AFPA_CLOSED, 0, NULL); /* as nginx: no further request on a connection of a worker that goes */
    else
        try_receive(client);
    return AFPA_OK;
}

/* nginx wants it closed: worker_shutdown_timeout is over, nginx stops, or it runs short of connections.  Then it does not wait for
 * one that lingers, and must not find one again that has a reply under way. */
static void on_close(ngx_http_afpa_client_t *client)
{
    if (client->c->error || (client->released && !stopping())) {
        afpa_conn_abort(client->conn);
        return;
    }
    ngx_http_afpa_idle_off(client);
    afpa_conn_close(client->conn);
}

static void on_read(ngx_event_t *rev)
{
    ngx_connection_t *c = rev->data;
    ngx_http_afpa_client_t *client = c->data;

    client->at_once = AT_ONCE;
    client->sent = 0;
    if (c->close) {
        on_close(client);
        return;
    }
    if (client->receiving)
        try_receive(client);
}

/* Where nginx itself does. */
static bool on_must_linger(afpa_transport_t *transport)
{
    int bytes = 0;

    return ioctl(client_of(transport)->c->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* ---- sending ---- */

/* send() is a point where a thread may be cancelled, for which the C library takes 60 instructions where there are threads. */
static ssize_t send_bytes(ngx_socket_t fd, const afpa_piece_t *piece)
{
    return syscall(SYS_sendto, fd, piece->data, piece->length, piece->last ? 0 : MSG_MORE, NULL, 0);
}

static afpa_status_t on_send(afpa_transport_t *transport, afpa_io_t *io, const afpa_piece_t *piece, size_t *accepted)
{
    ngx_http_afpa_client_t *client = client_of(transport);
    ngx_connection_t *c = client->c;
    off_t at = (off_t)piece->file_offset;
    ssize_t n;

    if (client->sent >= AFPA_TRANSPORT_SHARE) {
        client->sending = io;
        ngx_http_afpa_idle_off(client);
        ngx_post_event(c->write, &ngx_posted_next_events);
        return AFPA_AGAIN;
    }
    do {
        n = piece->by_reference ? sendfile(c->fd, piece->file, &at, piece->length) : send_bytes(c->fd, piece);
    } while (n < 0 && ngx_errno == NGX_EINTR);
    if (n < 0 && ngx_errno == NGX_EAGAIN) {
        c->write->ready = 0;
        client->sending = io;
        ngx_http_afpa_idle_off(client);
        return ngx_handle_write_event(c->write, 0) == NGX_OK ? AFPA_AGAIN : AFPA_IO_ERROR;
    }
    if (n <= 0)
        return AFPA_IO_ERROR;
    c->sent += n;
    client->sent += (uint64_t)n;
    *accepted = (size_t)n;
    io->completed(io, AFPA_OK, (size_t)n);
    return AFPA_OK;
}

static void on_write(ngx_event_t *wev)
{
    ngx_connection_t *c = wev->data;
    ngx_http_afpa_client_t *client = c->data;
    afpa_io_t *io = client->sending;

    if (wev->posted) { /* an event came first; a macro of several statements */
        ngx_delete_posted_event(wev);
    }
    client->sent = 0;
    client->sending = NULL;
    if (io) {
        finish_if_stopping(client); /* there may be more requests behind the one whose reply this is */
        io->writable(io);
    }
}

/* ---- disconnecting ---- */

static afpa_status_t on_accept(afpa_transport_t *transport, afpa_io_t *io)
{
    return AFPA_INVALID; /* nginx has accepted it */
}

static void on_disconnect(afpa_transport_t *transport, afpa_io_t *io, afpa_disconnect_t how)
{
    ngx_http_afpa_client_t *client = client_of(transport);

    if (how == AFPA_DISCONNECT_RELEASE) {
        client->released = 1;
        (void)ngx_shutdown_socket(client->c->fd, NGX_WRITE_SHUTDOWN);
        if (io)
            io->completed(io, AFPA_OK, 0);
        return;
    }
    if (client->receiving)
        finish_receive(client, AFPA_CLOSED, 0, NULL);
    if (io)
        io->completed(io, AFPA_OK, 0); /* the connection itself is closed when the engine has forgotten it: it holds the client */
}

static const afpa_provider_t provider = {
    .accept = on_accept, .send = on_send, .receive = on_receive, .must_linger = on_must_linger, .disconnect = on_disconnect};

/* ---- between nginx and the engine ---- */

/* Has nginx read again what the engine had read. */
static ssize_t recv_again(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_http_afpa_client_t *client = ngx_http_afpa_client(c);
    size_t left = (size_t)(client->stash_last - client->stash_pos);
    size_t part = left < size ? left : size;

    ngx_memcpy(buf, client->stash_pos, part);
    client->stash_pos += part;
    if (part == left)
        ngx_http_afpa_stash_drop(client);
    c->read->ready = 1; /* whether the socket has more, the next receive will tell */
    c->read->available = -1;
    return (ssize_t)part;
}

void ngx_http_afpa_stash_drop(ngx_http_afpa_client_t *client)
{
    ngx_free(client->stash);
    client->stash = client->stash_pos = client->stash_last = NULL;
    client->c->recv = ngx_recv;
}

ngx_int_t ngx_http_afpa_stash(ngx_http_afpa_client_t *client, const char *bytes, size_t length)
{
    client->stash = ngx_alloc(length, client->c->log);
    if (client->stash == NULL)
        return NGX_ERROR;
    client->stash_pos = client->stash;
    client->stash_last = ngx_cpymem(client->stash, bytes, length);
    client->c->recv = recv_again;
    client->c->read->ready = 1;
    return NGX_OK;
}

void ngx_http_afpa_transport_init(ngx_http_afpa_client_t *client, ngx_connection_t *c)
{
    client->transport.provider = &provider;
    client->c = c;
}

void ngx_http_afpa_transport_forget(ngx_http_afpa_client_t *client)
{
    client->receiving = NULL;
}

void ngx_http_afpa_transport_take(ngx_http_afpa_client_t *client)
{
    ngx_connection_t *c = client->c;

    client->at_once = AT_ONCE;
    client->sent = 0;
    client->receiving = client->sending = NULL;
    c->data = client;
    c->read->handler = on_read;
    c->write->handler = on_write;
    if (c->read->timer_set)
        ngx_del_timer(c->read); /* the engine has timers of its own */
    if (c->read->posted) {      /* it looks whether there is something at once; a macro of several statements */
        ngx_delete_posted_event(c->read);
    }
}
