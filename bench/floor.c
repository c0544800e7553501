/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor: an epoll loop that receives, and sends a canned reply for each end of a head it has seen.  It parses nothing, knows no
 * file and keeps no promise; nothing that speaks HTTP over sockets can need less.
 *
 *     floor PORT BYTES [sendfile] [close]
 *
 * sendfile: the body from a file in memory; close: the connection is closed after each reply.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512
#define CLIENTS 65536
#define COPIES 16 /* of the reply, so that as many requests that came at once are answered at once */

static struct client {
    size_t owed; /* replies, the one under way among them */
    size_t at;   /* bytes of that which have gone */
} clients[CLIENTS];
static char *reply;
static size_t reply_length, header_length;
static int file = -1; /* with the body, for sendfile */
static int close_after;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on(unsigned port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, SOMAXCONN) != 0)
        die("listen");
    return fd;
}

static void reply_make(size_t body)
{
    static const char header[] = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 17:00:00 GMT\r\n"
                                 "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n"
                                 "Last-Modified: Tue, 24 Nov 2026 16:00:00 GMT\r\nConnection: %s\r\n"
                                 "ETag: \"6924a0c0-400\"\r\nAccept-Ranges: bytes\r\n\r\n";

    reply_length = (size_t)snprintf(NULL, 0, header, body, close_after ? "close" : "keep-alive") + body;
    header_length = reply_length - body;
    reply = malloc(COPIES * reply_length + 1);
    if (!reply)
        die("malloc");
    for (char *at = reply; at < reply + COPIES * reply_length; at += reply_length) {
        snprintf(at, header_length + 1, header, body, close_after ? "close" : "keep-alive");
        memset(at + header_length, 'x', body);
    }
}

static void body_to_file(size_t body)
{
    file = memfd_create("floor", 0);
    if (file < 0 || write(file, reply + header_length, body) != (ssize_t)body)
        die("memfd");
}

/* Sends as many replies at once as there are copies; the number of bytes that went out, or -1. */
static ssize_t send_copies(int fd, size_t at, size_t replies)
{
    return send(fd, reply + at, (replies < COPIES ? replies : COPIES) * reply_length - at, MSG_NOSIGNAL);
}

/* The header held back, so that it goes out with the first of the body. */
static ssize_t send_file(int fd, size_t at)
{
    off_t offset = (off_t)at - (off_t)header_length;

    if (at < header_length)
        return send(fd, reply + at, header_length - at, MSG_NOSIGNAL | MSG_MORE);
    return sendfile(fd, file, &offset, reply_length - at);
}

/* Sends what is owed, as far as the client takes it. */
static void on_writable(int fd)
{
    struct client *c = &clients[fd];

    while (c->owed > 0) {
        ssize_t n = file >= 0 ? send_file(fd, c->at) : send_copies(fd, c->at, c->owed);

        if (n < 0)
            return;
        c->at += (size_t)n;
        c->owed -= c->at / reply_length;
        c->at %= reply_length;
    }
    if (close_after)
        close(fd);
}

static void on_readable(int fd)
{
    char buffer[16384];
    ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
    size_t replies = 0;

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        close(fd);
        return;
    }
    for (char *at = buffer; n > 0 && (at = memmem(at, (size_t)(buffer + n - at), "\r\n\r\n", 4)) != NULL; at += 4)
        replies++;
    clients[fd].owed += close_after && replies > 1 ? 1 : replies;
    if (clients[fd].owed > 0)
        on_writable(fd);
}

static void on_client(int listener, int epoll)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};

    if (fd < 0)
        return;
    if (fd >= CLIENTS) {
        close(fd);
        return;
    }
    clients[fd] = (struct client){0};
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv)
{
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    int listener, epoll = epoll_create1(0), by_file = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: %s PORT BYTES [sendfile] [close]\n", argv[0]);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN); /* sendfile has no MSG_NOSIGNAL */
    for (int i = 3; i < argc; i++) {
        by_file |= strcmp(argv[i], "sendfile") == 0;
        close_after |= strcmp(argv[i], "close") == 0;
    }
    reply_make(strtoul(argv[2], NULL, 10));
    if (by_file)
        body_to_file(strtoul(argv[2], NULL, 10));
    listener = event.data.fd = listen_on((unsigned)strtoul(argv[1], NULL, 10));
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                on_client(listener, epoll);
            else if (events[i].events & EPOLLIN)
                on_readable(events[i].data.fd);
            else if (events[i].events & (EPOLLHUP | EPOLLERR))
                close(events[i].data.fd);
            else if (clients[events[i].data.fd].owed > 0)
                on_writable(events[i].data.fd);
        }
    }
}
