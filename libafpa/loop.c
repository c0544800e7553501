/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine, the event loop: listening sockets, the hand-over of jobs from workers, one turn after the other.
 *
 * An event of a listening socket, of a transport, or of the descriptor that wakes the loop is told apart by the pointer that comes
 * with it.  Where descriptors or memory are short, a listening socket rests for PAUSE_MS instead of failing as fast as it can.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "loop.h"

#define EVENTS 256
#define ACCEPTS 64 /* per turn of the loop */
#define PAUSE_MS 100

void afpa_descriptors_reserve(unsigned count)
{
    struct rlimit limit;
    int fd, high;

    if (count == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (count > limit.rlim_cur)
        count = (unsigned)limit.rlim_cur;
    fd = eventfd(0, EFD_CLOEXEC);
    high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, (int)count - 1);
    if (high >= 0)
        close(high);
    if (fd >= 0)
        close(fd);
}

/* ---- listening ---- */

static void offer(afpa_loop_t *loop, const afpa__listener_t *listener, int fd)
{
    afpa__epoll_t *c = listener->endpoint->connected ? afpa__epoll_new(loop, listener->endpoint, fd) : NULL;
    int on = 1;

    if (!c) {
        close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->readable = true; /* a request often comes with the connection; if not, one receive is in vain */
    if (afpa__epoll_watch(c))
        listener->endpoint->connected(listener->endpoint, &c->base);
    if (!c->accepted && c->fd >= 0)
        afpa__epoll_drop(c);
}

static void listener_watch(afpa_loop_t *loop, afpa__listener_t *listener, bool on)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};

    (void)epoll_ctl(loop->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener->fd, &event);
}

static void on_listener(afpa_loop_t *loop, afpa__listener_t *listener)
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
        afpa__listener_t *listener = &loop->listeners[i];

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
    afpa__listener_t *listener;
    struct sockaddr_storage bound;
    socklen_t bound_length = sizeof(bound);
    int fd;

    errno = EMFILE; /* of this loop's listening sockets */
    fd = loop->listening < AFPA__LISTENERS ? listen_on(address, length) : -1;
    if (fd < 0) {
        int why = errno;

        (void)getnameinfo(address, length, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
        snprintf(error->text, sizeof(error->text), "cannot listen on %s port %s: %s", host, port, strerror(why));
        return AFPA_INVALID;
    }
    listener = &loop->listeners[loop->listening++];
    *listener = (afpa__listener_t){.fd = fd, .endpoint = endpoint};
    listener_watch(loop, listener, true);
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &bound_length) == 0)
        loop->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                       : ((struct sockaddr_in *)&bound)->sin_port);
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

/* Who finds the list empty wakes the loop, which takes all of it. */
void afpa_loop_post(afpa_loop_t *loop, afpa_job_t *job)
{
    bool first;

    pthread_mutex_lock(&loop->lock);
    first = loop->done == NULL;
    job->next = loop->done;
    loop->done = job;
    pthread_mutex_unlock(&loop->lock);
    if (first)
        afpa_loop_wake(loop);
}

static void run_errand(afpa_job_t *job)
{
    errand_t *errand = (errand_t *)(void *)job;

    errand->of->run(errand->of);
}

/* In the worker: leaves the job for the loop. */
static void on_errand_done(afpa_job_t *job)
{
    errand_t *errand = (errand_t *)(void *)job;

    afpa_loop_post(errand->loop, errand->of);
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

static afpa_job_t *in_order(afpa_job_t *last)
{
    afpa_job_t *first = NULL;

    while (last) {
        afpa_job_t *job = last;

        last = job->next;
        job->next = first;
        first = job;
    }
    return first;
}

static void jobs_done(afpa_loop_t *loop)
{
    afpa_job_t *jobs;

    pthread_mutex_lock(&loop->lock);
    jobs = in_order(loop->done);
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

static bool is_listener(const afpa_loop_t *loop, const void *at)
{
    return at >= (const void *)loop->listeners && at < (const void *)(loop->listeners + AFPA__LISTENERS);
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
            afpa__epoll_event(at, events[i].events);
        else if (read(loop->wake, &value, sizeof(value)) > 0)
            jobs_done(loop);
    }
    afpa__epoll_go_on(loop);
    afpa__epoll_collect(loop);
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
    loop->memory = malloc(AFPA__LOOP_BUFFER);
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
    afpa__epoll_go_on(loop);
    afpa__epoll_collect(loop);
    if (loop->epoll >= 0)
        close(loop->epoll);
    if (loop->wake >= 0)
        close(loop->wake);
    pthread_mutex_destroy(&loop->lock);
    free(loop->memory);
    free(loop);
}
