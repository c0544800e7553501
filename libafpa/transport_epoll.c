/* SPDX-License-Identifier: Apache-2.0
 *
 * The epoll provider.  In: readiness.  Out: completions.
 *
 * A socket is registered once, edge-triggered, for everything; what the kernel said is kept in two flags, so a request that can be
 * served at once makes no system call but its own.  A receive that brought less than was asked for proves that no more is there:
 * the next one waits for an edge (EPOLLRDHUP tells of an end that came with the last bytes).
 * Bytes are copied by the kernel, or with sendfile referred to by pages that are replaced before they are used again (chunk.c); so
 * every send completes as soon as it was accepted.
 * A connection that always has more to read gets AT_ONCE receives per turn of the loop, then the others have theirs.
 * A transport that was closed is freed at the end of the turn: events of the same turn may still point at it.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <afpa/loop.h>

#include "assert.h"
#include "clock.h"

#define EVENTS 256
#define ACCEPTS 64 /* per turn of the loop */
#define AT_ONCE 16
#define BUFFER 65536
#define PAUSE_MS 100 /* without descriptors or memory, until accept is tried again */
#define LISTENERS 16

typedef struct conn {
    afpa_transport_t base; /* first */
    afpa_loop_t *loop;
    int fd;
    bool readable, ended, accepted, ready; /* ended: the peer closed, or an error; ready: in the loop's list */
    unsigned at_once;
    afpa_io_t *receiving, *sending, *connecting; /* under way; sending: waits to be writable */
    void *buffer;
    size_t size;
    char *left; /* of an indication that was not taken whole */
    size_t left_at, left_length;
    struct conn *next_ready, *next_garbage;
} conn_t;

typedef struct listener {
    int fd;
    afpa_endpoint_t *endpoint;
    uint64_t paused_until;
} listener_t;

struct afpa_loop {
    int epoll, wake;
    listener_t listeners[LISTENERS];
    unsigned listening, port;
    conn_t *ready, *garbage;
    char *memory; /* of receives without a buffer */
    afpa_executor_t executor;
    afpa_executor_t *pool;
    pthread_mutex_t lock; /* covers done */
    afpa_job_t *done;
};

static conn_t *conn_of(afpa_transport_t *transport)
{
    return (conn_t *)transport;
}

/* ---- receiving ---- */

static void finish_receive(conn_t *c, afpa_status_t status, size_t bytes, const void *data)
{
    afpa_io_t *io = c->receiving;

    c->receiving = NULL;
    io->data = data;
    io->completed(io, status, bytes);
}

static void ready_later(conn_t *c)
{
    if (c->ready)
        return;
    c->ready = true;
    c->next_ready = c->loop->ready;
    c->loop->ready = c;
}

static ssize_t recv_some(conn_t *c, void *to, size_t size)
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
static void try_receive(conn_t *c)
{
    void *to = c->buffer ? c->buffer : c->loop->memory;
    size_t size = c->buffer ? c->size : BUFFER;
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
    conn_t *c = conn_of(transport);

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
static void indicate(conn_t *c)
{
    afpa_endpoint_t *endpoint = c->base.endpoint;

    while (c->readable && !c->receiving && c->fd >= 0 && !c->left && endpoint && endpoint->received) {
        ssize_t n = recv_some(c, c->loop->memory, BUFFER);
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
    conn_t *c = conn_of(transport);
    off_t at = (off_t)piece->file_offset;
    ssize_t n;

    if (c->fd < 0)
        return AFPA_CLOSED;
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
    *accepted = (size_t)n;
    io->completed(io, AFPA_OK, (size_t)n);
    return AFPA_OK;
}

static void writable(conn_t *c)
{
    afpa_io_t *io = c->sending;

    c->sending = NULL;
    if (io)
        io->writable(io);
}

/* ---- connecting and disconnecting ---- */

static bool watch(conn_t *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};

    return epoll_ctl(c->loop->epoll, EPOLL_CTL_ADD, c->fd, &event) == 0;
}

static conn_t *conn_new(afpa_loop_t *loop, afpa_endpoint_t *endpoint, int fd)
{
    conn_t *c = calloc(1, sizeof(*c));
    extern const afpa_provider_t afpa__provider_epoll;

    if (c) {
        c->base.provider = &afpa__provider_epoll;
        c->base.endpoint = endpoint;
        c->loop = loop;
        c->fd = fd;
        c->at_once = AT_ONCE;
    }
    return c;
}

static void conn_drop(conn_t *c)
{
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

static void finish_connect(conn_t *c)
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
    conn_t *c = conn_of(transport);
    int on = 1, rc;

    afpa__assert(c->fd < 0);
    c->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return AFPA_IO_ERROR;
    if (address->sa_family != AF_UNIX)
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    rc = connect(c->fd, address, length);
    if ((rc != 0 && errno != EINPROGRESS) || !watch(c)) {
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
    conn_t *c = conn_of(transport);

    if (how == AFPA_DISCONNECT_RELEASE) {
        if (c->fd >= 0)
            (void)shutdown(c->fd, SHUT_WR);
    } else {
        afpa_io_t *connecting = c->connecting;

        conn_drop(c);
        c->sending = c->connecting = NULL;
        if (connecting)
            connecting->completed(connecting, AFPA_CLOSED, 0);
        if (c->receiving)
            finish_receive(c, AFPA_CLOSED, 0, NULL);
    }
    if (io)
        io->completed(io, AFPA_OK, 0);
}

const afpa_provider_t afpa__provider_epoll = {
    .accept = on_accept, .connect = on_connect, .send = on_send, .receive = on_receive, .disconnect = on_disconnect};

afpa_transport_t *afpa_loop_transport(afpa_loop_t *loop, afpa_endpoint_t *endpoint)
{
    conn_t *c = conn_new(loop, endpoint, -1);

    return c ? &c->base : NULL;
}

/* ---- listening ---- */

static void offer(afpa_loop_t *loop, const listener_t *listener, int fd)
{
    conn_t *c = listener->endpoint->connected ? conn_new(loop, listener->endpoint, fd) : NULL;
    int on = 1;

    if (!c) {
        close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->readable = true; /* a request often comes with the connection; if not, one receive is in vain */
    if (watch(c))
        listener->endpoint->connected(listener->endpoint, &c->base);
    if (!c->accepted && c->fd >= 0)
        conn_drop(c);
}

static void listener_watch(afpa_loop_t *loop, listener_t *listener, bool on)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};

    (void)epoll_ctl(loop->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener->fd, &event);
}

static void on_listener(afpa_loop_t *loop, listener_t *listener)
{
    for (unsigned i = 0; i < ACCEPTS && listener->fd >= 0; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            offer(loop, listener, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            listener->paused_until = afpa__now_ms() + PAUSE_MS;
            listener_watch(loop, listener, false);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void listeners_resume(afpa_loop_t *loop)
{
    for (unsigned i = 0; i < loop->listening; i++) {
        listener_t *listener = &loop->listeners[i];

        if (listener->paused_until && afpa__now_ms() >= listener->paused_until) {
            listener->paused_until = 0;
            listener_watch(loop, listener, true);
        }
    }
}

static int listen_on(const struct sockaddr *address, socklen_t length)
{
    int on = 1, fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0 && bind(fd, address, length) == 0 &&
        listen(fd, SOMAXCONN) == 0)
        return fd;
    close(fd);
    return -1;
}

afpa_status_t afpa_loop_listen(afpa_loop_t *loop, const struct sockaddr *address, socklen_t length, afpa_endpoint_t *endpoint,
                               afpa_error_t *error)
{
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    listener_t *listener = &loop->listeners[loop->listening];
    struct sockaddr_storage bound;
    socklen_t bound_length = sizeof(bound);

    if (loop->listening == LISTENERS)
        errno = EMFILE;
    else
        listener->fd = listen_on(address, length);
    if (loop->listening == LISTENERS || listener->fd < 0) {
        int why = errno;

        (void)getnameinfo(address, length, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
        snprintf(error->text, sizeof(error->text), "cannot listen on %s port %s: %s", host, port, strerror(why));
        return AFPA_INVALID;
    }
    listener->endpoint = endpoint;
    listener->paused_until = 0;
    listener_watch(loop, listener, true);
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &bound_length) == 0)
        loop->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                       : ((struct sockaddr_in *)&bound)->sin_port);
    loop->listening++;
    return AFPA_OK;
}

unsigned afpa_loop_port(const afpa_loop_t *loop)
{
    return loop->port;
}

void afpa_loop_unlisten(afpa_loop_t *loop)
{
    for (unsigned i = 0; i < loop->listening; i++) {
        if (loop->listeners[i].fd >= 0)
            close(loop->listeners[i].fd);
        loop->listeners[i].fd = -1;
        loop->listeners[i].paused_until = 0;
    }
}

/* ---- jobs ---- */

/* A job on its way through the pool. */
typedef struct errand {
    afpa_job_t job; /* first */
    afpa_job_t *of;
    afpa_loop_t *loop;
} errand_t;

static void run_errand(afpa_job_t *job)
{
    errand_t *errand = (errand_t *)(void *)job;

    errand->of->run(errand->of);
}

/* In the worker: leaves the job for the loop. */
static void on_errand_done(afpa_job_t *job)
{
    errand_t *errand = (errand_t *)(void *)job;
    afpa_loop_t *loop = errand->loop;

    pthread_mutex_lock(&loop->lock);
    errand->of->next = loop->done;
    loop->done = errand->of;
    pthread_mutex_unlock(&loop->lock);
    afpa_loop_wake(loop);
    free(errand);
}

static afpa_status_t on_submit(afpa_executor_t *executor, afpa_job_t *job)
{
    afpa_loop_t *loop = (afpa_loop_t *)(void *)((char *)executor - offsetof(afpa_loop_t, executor));
    errand_t *errand = malloc(sizeof(*errand));
    afpa_status_t status = AFPA_NO_SPACE;

    if (!errand)
        return status;
    *errand = (errand_t){.job = {.run = run_errand, .done = on_errand_done}, .of = job, .loop = loop};
    status = loop->pool->submit(loop->pool, &errand->job);
    if (status != AFPA_OK)
        free(errand);
    return status;
}

afpa_executor_t *afpa_loop_executor(afpa_loop_t *loop, afpa_executor_t *pool)
{
    loop->pool = pool;
    loop->executor.submit = on_submit;
    return &loop->executor;
}

static void jobs_done(afpa_loop_t *loop)
{
    afpa_job_t *jobs;

    pthread_mutex_lock(&loop->lock);
    jobs = loop->done;
    loop->done = NULL;
    pthread_mutex_unlock(&loop->lock);
    while (jobs) {
        afpa_job_t *job = jobs;

        jobs = jobs->next;
        if (job->done)
            job->done(job);
    }
}

/* ---- the loop ---- */

/* The peer closed or the connection broke, and no request is there to tell. */
static void ended(conn_t *c, afpa_status_t why)
{
    if (c->fd >= 0 && !c->receiving && c->base.endpoint && c->base.endpoint->disconnected)
        c->base.endpoint->disconnected(c->base.endpoint, &c->base, why);
}

static void on_event(conn_t *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    c->at_once = AT_ONCE;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->ended = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->readable = true;
    if (c->connecting && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        finish_connect(c);
    if (c->fd >= 0 && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        writable(c);
    if (c->fd >= 0 && c->receiving)
        try_receive(c);
    else if (c->fd >= 0 && c->readable)
        indicate(c);
    if (c->ended)
        ended(c, events & EPOLLERR ? AFPA_IO_ERROR : AFPA_CLOSED);
}

static void ready_go_on(afpa_loop_t *loop)
{
    conn_t *list = loop->ready;

    loop->ready = NULL;
    while (list) {
        conn_t *c = list;

        list = c->next_ready;
        c->ready = false;
        c->at_once = AT_ONCE;
        if (c->fd >= 0 && c->receiving)
            try_receive(c);
    }
}

static void collect_garbage(afpa_loop_t *loop)
{
    conn_t **link = &loop->garbage;

    while (*link) {
        conn_t *c = *link;

        if (c->ready) { /* still in the other list */
            link = &c->next_garbage;
        } else {
            *link = c->next_garbage;
            free(c);
        }
    }
}

static bool is_listener(const afpa_loop_t *loop, const void *at)
{
    return at >= (const void *)loop->listeners && at < (const void *)(loop->listeners + LISTENERS);
}

afpa_status_t afpa_loop_run(afpa_loop_t *loop, int ms)
{
    struct epoll_event events[EVENTS];
    int count;

    listeners_resume(loop);
    count = epoll_wait(loop->epoll, events, EVENTS, loop->ready ? 0 : ms);
    if (count < 0)
        return errno == EINTR ? AFPA_OK : AFPA_IO_ERROR;
    for (int i = 0; i < count; i++) {
        void *at = events[i].data.ptr;
        uint64_t value;

        if (is_listener(loop, at))
            on_listener(loop, at);
        else if (at)
            on_event(at, events[i].events);
        else if (read(loop->wake, &value, sizeof(value)) > 0)
            jobs_done(loop);
    }
    ready_go_on(loop);
    collect_garbage(loop);
    return AFPA_OK;
}

void afpa_loop_wake(afpa_loop_t *loop)
{
    const uint64_t one = 1;

    (void)!write(loop->wake, &one, sizeof(one));
}

afpa_loop_t *afpa_loop_create(void)
{
    afpa_loop_t *loop = calloc(1, sizeof(*loop));
    struct epoll_event event = {.events = EPOLLIN};

    if (!loop)
        return NULL;
    loop->memory = malloc(BUFFER);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&loop->lock, NULL);
    if (loop->memory && loop->epoll >= 0 && loop->wake >= 0 && epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) == 0)
        return loop;
    afpa_loop_destroy(&loop);
    return NULL;
}

void afpa_loop_destroy(afpa_loop_t **out)
{
    afpa_loop_t *loop = *out;

    *out = NULL;
    if (!loop)
        return;
    afpa_loop_unlisten(loop);
    ready_go_on(loop);
    collect_garbage(loop);
    if (loop->epoll >= 0)
        close(loop->epoll);
    if (loop->wake >= 0)
        close(loop->wake);
    pthread_mutex_destroy(&loop->lock);
    free(loop->memory);
    free(loop);
}
