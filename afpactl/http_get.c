/* SPDX-License-Identifier: Apache-2.0
 *
 * A GET over a plain connection; enough to make a server load a file.
 */
#include "config.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "http_get.h"

typedef struct target {
    char host[256], port[16];
    const char *path; /* "" for none */
} target_t;

/* http://host[:port][/path], host possibly [IPv6]. */
static int parse(const char *url, target_t *t)
{
    const char *host = url + strlen("http://"), *end = host + strcspn(host, "/?#"), *colon;
    size_t length;

    t->path = end;
    colon = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : host;
    colon = colon ? memchr(colon, ':', (size_t)(end - colon)) : NULL;
    length = (size_t)((colon ? colon : end) - host);
    if (*host == '[') {
        if (length <= 2 || host[length - 1] != ']')
            return 0;
        host++;
        length -= 2;
    }
    if (length == 0 || length >= sizeof(t->host))
        return 0;
    memcpy(t->host, host, length);
    t->host[length] = 0;
    snprintf(t->port, sizeof(t->port), "%.*s", colon ? (int)(end - colon - 1) : 2, colon ? colon + 1 : "80");
    return 1;
}

static int dial(const target_t *t)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
    struct timeval limit = {30, 0};
    int fd = -1;

    if (getaddrinfo(t->host, t->port, &hints, &list) != 0)
        return -1;
    for (a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static int ask(int fd, const char *url, const target_t *t)
{
    size_t authority = (size_t)(t->path - url) - strlen("http://");
    char *request;
    int length = asprintf(&request, "GET %s%.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: afpactl/%s\r\nConnection: close\r\n\r\n",
                          *t->path == '/' ? "" : "/", (int)strcspn(t->path, "#"), t->path, (int)authority, url + strlen("http://"),
                          PACKAGE_VERSION);
    ssize_t sent = length < 0 ? -1 : send(fd, request, (size_t)length, MSG_NOSIGNAL);

    if (length >= 0)
        free(request);
    return length >= 0 && sent == length;
}

int http_get(const char *url, uint64_t *bytes, const char **why)
{
    char buffer[65536];
    target_t target;
    ssize_t got;
    int fd, status = 0, first = 1;

    *bytes = 0;
    *why = "https";
    if (strncasecmp(url, "https:", 6) == 0)
        return 0;
    *why = "bad_url";
    if (!parse(url, &target) || strpbrk(url, "\r\n "))
        return 0;
    *why = "unreachable";
    if ((fd = dial(&target)) < 0)
        return 0;
    if (ask(fd, url, &target))
        while ((got = recv(fd, buffer, sizeof(buffer) - 1, 0)) > 0) {
            if (first) {
                buffer[got] = 0;
                sscanf(buffer, "HTTP/1.%*1d %3d", &status);
                first = 0;
            }
            *bytes += (uint64_t)got;
        }
    close(fd);
    *why = status ? "status" : "no_reply";
    return status;
}
