/* SPDX-License-Identifier: Apache-2.0
 *
 * As much of nginx as its provider (ngx_afpa/ngx_http_afpa_transport.c) calls: one connection, and a loop around it that does with
 * events what nginx's does.  Readiness is kept in the events and edges come from epoll; a receive that brings less than was asked
 * for clears it; a connection that was disconnected is closed by its host, here at the next turn.
 */
#include "ngx_http_afpa_fastpath.h"

#include <signal.h>
#include <sys/epoll.h>

#include "transport_side.h"

typedef struct {
    ngx_http_afpa_client_t client; /* its transport comes first */
    ngx_connection_t connection;
    ngx_event_t read, write;
    ngx_log_t log;
    int listener, epoll;
} ngx_double_t;

static ngx_double_t *only; /* there is one at a time */

/* ---- nginx's own ---- */

ngx_os_io_t ngx_io;
ngx_queue_t ngx_posted_next_events;
ngx_rbtree_t ngx_event_timer_rbtree;
volatile ngx_time_t *ngx_cached_time;
ngx_uint_t ngx_exiting;
sig_atomic_t ngx_terminate;

void *ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}

void ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err, const char *fmt, ...)
{
}

void ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ck_abort_msg("a timer that nobody has set is deleted");
}

void ngx_reusable_connection(ngx_connection_t *c, ngx_uint_t reusable)
{
    c->reusable = reusable ? 1 : 0;
}

/* Both are registered once, for edges. */
ngx_int_t ngx_handle_read_event(ngx_event_t *rev, ngx_uint_t flags)
{
    return NGX_OK;
}

ngx_int_t ngx_handle_write_event(ngx_event_t *wev, size_t lowat)
{
    return NGX_OK;
}

ngx_http_afpa_client_t *ngx_http_afpa_client(ngx_connection_t *c)
{
    return &only->client;
}

static ssize_t receive(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t n = recv(c->fd, buf, size, 0);

    if (n < 0 && errno == EAGAIN) {
        c->read->ready = 0;
        return NGX_AGAIN;
    }
    if (n < 0)
        return NGX_ERROR;
    if (n > 0 && (size_t)n < size && !c->read->pending_eof)
        c->read->ready = 0;
    return n;
}

/* ---- a side ---- */

static unsigned on_listen(side_t *s)
{
    struct sockaddr_in address = side_loopback(0);
    socklen_t length = sizeof(address);
    static ngx_time_t now = {.sec = 1};
    ngx_double_t *d = calloc(1, sizeof(*d));

    only = s->nginx = d;
    signal(SIGPIPE, SIG_IGN); /* as nginx has it */
    ngx_cached_time = &now;
    ngx_queue_init(&ngx_posted_next_events);
    ngx_io.recv = receive;
    d->epoll = epoll_create1(EPOLL_CLOEXEC);
    d->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(d->listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(d->listener, 1), 0);
    ck_assert_int_eq(getsockname(d->listener, (struct sockaddr *)&address, &length), 0);
    d->connection.fd = -1;
    return ntohs(address.sin_port);
}

static void on_accept(side_t *s)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    ngx_double_t *d = s->nginx;
    ngx_connection_t *c = &d->connection;

    c->fd = accept4(d->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(c->fd, 0);
    c->log = d->read.log = d->write.log = &d->log;
    c->read = &d->read;
    c->write = &d->write;
    c->read->data = c->write->data = c;
    c->recv = ngx_recv;
    ngx_http_afpa_transport_init(&d->client, c);
    ngx_http_afpa_transport_take(&d->client);
    ck_assert_int_eq(epoll_ctl(d->epoll, EPOLL_CTL_ADD, c->fd, &event), 0);
    s->transport = &d->client.transport;
}

static void happen(ngx_double_t *d, uint32_t events)
{
    ngx_connection_t *c = &d->connection;

    if (events & (EPOLLERR | EPOLLHUP))
        events |= EPOLLIN | EPOLLOUT;
    if (events & EPOLLRDHUP)
        c->read->pending_eof = 1;
    if (events & EPOLLIN) {
        c->read->ready = 1;
        c->read->handler(c->read);
    }
    if (events & EPOLLOUT && c->fd >= 0) {
        c->write->ready = 1;
        c->write->handler(c->write);
    }
}

static void run_posted(void)
{
    while (!ngx_queue_empty(&ngx_posted_next_events)) {
        ngx_event_t *ev = ngx_queue_data(ngx_queue_head(&ngx_posted_next_events), ngx_event_t, queue);

        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }
}

static void on_turn(side_t *s)
{
    ngx_double_t *d = s->nginx;

    for (unsigned i = 0; i < 3; i++) {
        struct epoll_event event;

        if (s->closing && d->connection.fd >= 0) {
            close(d->connection.fd);
            d->connection.fd = -1;
        }
        if (epoll_wait(d->epoll, &event, 1, 10) == 1)
            happen(d, event.events);
        run_posted();
    }
}

static void on_end(side_t *s)
{
    ngx_double_t *d = s->nginx;

    if (d->connection.fd >= 0)
        close(d->connection.fd);
    close(d->listener);
    close(d->epoll);
    free(d);
    only = NULL;
}

const side_host_t *side_nginx_double(void)
{
    static const side_host_t host = {.listen = on_listen, .accept = on_accept, .turn = on_turn, .end = on_end};

    return &host;
}
