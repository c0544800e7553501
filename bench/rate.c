/* SPDX-License-Identifier: Apache-2.0
 *
 * A load at a constant rate: request number n is due n/RATE seconds after the start, whatever became of those before it, and its
 * time counts from when it was due.  A server that stands still is so seen by all requests that came due meanwhile, and not only
 * by those that a waiting client had sent already.
 *
 *     rate PORT CONNECTIONS RATE SECONDS FILE
 *
 * FILE has a target on each line; they are asked for in turn.  A request goes out on the connection that was idle longest; when
 * none is idle it waits.  Prints one line of JSON, times in microseconds.  A connection that ends is counted and made anew.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 512
#define HEAD_MAX 4096
#define DRAIN_NS 2000000000 /* how long replies are waited for after the last request came due */
#define NS 1000000000.0

struct connection {
    int fd;
    int64_t due;   /* of the request that it carries */
    int64_t body;  /* bytes still to come; -1 while the head is read */
    size_t length; /* of the head so far */
    char head[HEAD_MAX];
};

static struct sockaddr_in address;
static struct connection *connections;
static int *idle; /* ring of connection numbers */
static size_t count, idle_first, idle_count;
static char **targets;
static size_t target_count;
static double *times;
static size_t done, lost, wrong, broken; /* requests answered, and not; replies other than 200; connections that ended */
static int epoll;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void idle_add(size_t number)
{
    idle[(idle_first + idle_count++) % count] = (int)number;
}

static size_t idle_take(void)
{
    size_t number = (size_t)idle[idle_first];

    idle_first = (idle_first + 1) % count;
    idle_count--;
    return number;
}

static void connection_open(size_t number)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = number};
    struct connection *c = &connections[number];
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        die("connect");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void request_send(size_t number, size_t index, int64_t due)
{
    char request[HEAD_MAX];
    struct connection *c = &connections[number];
    int length = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", targets[index % target_count],
                          ntohs(address.sin_port));

    c->due = due;
    c->body = -1;
    c->length = 0;
    /* If it cannot be sent the connection has ended, which epoll tells too. */
    (void)!send(c->fd, request, (size_t)length, MSG_NOSIGNAL);
}

/* The length of the body by a head that is whole; 0 if it names none. */
static int64_t body_length(const char *head)
{
    static const char name[] = "\r\nContent-Length:";
    const char *at = strcasestr(head, name);

    return at ? strtoll(at + sizeof(name) - 1, NULL, 10) : 0;
}

/* Takes bytes of a reply; true when it is whole. */
static bool reply_take(struct connection *c, const char *bytes, size_t length)
{
    if (c->body < 0) {
        size_t take = length < HEAD_MAX - 1 - c->length ? length : HEAD_MAX - 1 - c->length;
        const char *end;

        memcpy(c->head + c->length, bytes, take);
        c->head[c->length + take] = 0;
        end = strstr(c->head, "\r\n\r\n");
        if (!end) {
            c->length += take;
            return false;
        }
        c->body = body_length(c->head);
        length -= (size_t)(end + 4 - c->head) - c->length;
        if (strncmp(c->head + 8, " 200", 4) != 0)
            wrong++;
    }
    c->body -= (int64_t)length;
    return c->body <= 0;
}

static void on_readable(size_t number)
{
    static char buffer[262144];
    struct connection *c = &connections[number];
    ssize_t n = recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(c->fd);
        broken++;
        connection_open(number);
        if (c->due) { /* else it is in the ring of the idle, and stays there */
            lost++;
            c->due = 0;
            idle_add(number);
        }
        return;
    }
    if (!c->due || !reply_take(c, buffer, (size_t)n))
        return;
    times[done++] = (double)(now() - c->due) / 1000;
    c->due = 0;
    idle_add(number);
}

static void wait_for_events(int64_t until)
{
    struct epoll_event events[EVENTS];
    int64_t left = until - now();
    struct timespec timeout = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    int ready;

    if (left < 0)
        timeout = (struct timespec){0};
    ready = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < ready; i++)
        on_readable(events[i].data.u64);
}

static void targets_read(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0, room = 0;
    ssize_t length;

    if (!file)
        die(path);
    while ((length = getline(&line, &size, file)) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (target_count == room) {
            room = room ? 2 * room : 64;
            targets = realloc(targets, room * sizeof(*targets));
            if (!targets)
                die("realloc");
        }
        targets[target_count++] = strdup(line);
    }
    free(line);
    fclose(file);
    if (target_count == 0) {
        fprintf(stderr, "rate: %s has no target\n", path);
        exit(1);
    }
}

/* Requests that were not answered in the end count with the time they have waited, which is less than the truth. */
static size_t waiting_add(size_t sent, size_t wanted, int64_t begin, double rate)
{
    size_t known = done;
    int64_t end = now();

    for (size_t i = 0; i < count; i++)
        if (connections[i].due)
            times[known++] = (double)(end - connections[i].due) / 1000;
    for (; sent < wanted; sent++)
        times[known++] = (double)(end - begin - (int64_t)((double)sent * NS / rate)) / 1000;
    return known;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double percentile(size_t known, double share)
{
    size_t at = (size_t)((double)known * share);

    return known == 0 ? 0 : times[at < known ? at : known - 1];
}

static void run(double rate, double seconds)
{
    size_t wanted = (size_t)(rate * seconds), sent = 0, known;
    int64_t begin = now() + 10000000, end, last;

    times = calloc(wanted + 1, sizeof(*times));
    if (!times)
        die("calloc");
    end = begin + (int64_t)(seconds * NS) + DRAIN_NS;
    while (done + lost < wanted && now() < end) {
        int64_t due = begin + (int64_t)((double)sent * NS / rate);

        for (; sent < wanted && idle_count > 0 && due <= now(); due = begin + (int64_t)((double)sent * NS / rate)) {
            request_send(idle_take(), sent, due);
            sent++;
        }
        wait_for_events(sent < wanted && idle_count > 0 ? due : end);
    }
    last = now();
    known = waiting_add(sent, wanted, begin, rate);
    qsort(times, known, sizeof(*times), by_value);
    printf("{\"wanted\": %zu, \"replies\": %zu, \"seconds\": %.4f, \"not_200\": %zu, \"broken\": %zu, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
           wanted, done, (double)(last - begin) / NS, wrong, broken, percentile(known, 0.5), percentile(known, 0.99),
           percentile(known, 0.999), percentile(known, 1));
}

int main(int argc, char **argv)
{
    if (argc != 6 || atoi(argv[2]) < 1 || atof(argv[3]) <= 0 || atof(argv[4]) <= 0) {
        fprintf(stderr, "usage: %s PORT CONNECTIONS RATE SECONDS FILE\n", argv[0]);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1UL);
    address = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    count = (size_t)atoi(argv[2]);
    connections = calloc(count, sizeof(*connections));
    idle = calloc(count, sizeof(*idle));
    epoll = epoll_create1(0);
    if (!connections || !idle || epoll < 0)
        die("rate");
    targets_read(argv[5]);
    for (size_t i = 0; i < count; i++) {
        connection_open(i);
        idle_add(i);
    }
    run(atof(argv[3]), atof(argv[4]));
    return 0;
}
