/* SPDX-License-Identifier: Apache-2.0
 *
 * A GET over a plain connection; enough to make a server load a file, and to see that it sent the whole of it: a reply that ends
 * before the length or the last chunk it announced is none.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "afpactl.h"
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

/* No blanks, no control characters: they would end the request line, or part it. */
static bool printable(const char *url)
{
    for (; *url; url++)
        if ((unsigned char)*url <= ' ' || *url == 0x7f)
            return false;
    return true;
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

/* ---- the reply ---- */

/* A reply as it comes in. */
typedef struct reply {
    int fd;
    const volatile sig_atomic_t *stop;
    char buffer[65536];
    size_t at, end; /* what was received and not looked at */
    uint64_t bytes; /* received in all */
    int error;      /* why nothing more comes; 0: the connection was closed in order */
    bool malformed;

    int status;
    bool chunked, has_length;
    uint64_t length;
} reply_t;

/* Receives more, when all that is there was looked at. */
static bool more(reply_t *r)
{
    ssize_t got;

    do
        got = *r->stop ? -1 : recv(r->fd, r->buffer, sizeof(r->buffer), 0);
    while (got < 0 && errno == EINTR && !*r->stop);
    r->error = got < 0 ? errno : 0;
    r->at = 0;
    r->end = got > 0 ? (size_t)got : 0;
    r->bytes += r->end;
    return got > 0;
}

/* A line without its end; what `text` has no room for is dropped.  false: it did not come to its end. */
static bool line(reply_t *r, char *text, size_t room)
{
    size_t length = 0;

    for (;;) {
        char c;

        if (r->at == r->end && !more(r))
            return false;
        c = r->buffer[r->at++];
        if (c == '\n')
            break;
        if (length + 1 < room)
            text[length++] = c;
    }
    if (length > 0 && text[length - 1] == '\r')
        length--;
    text[length] = 0;
    return true;
}

static bool skip(reply_t *r, uint64_t length)
{
    while (length > 0) {
        size_t there;

        if (r->at == r->end && !more(r))
            return false;
        there = r->end - r->at < length ? r->end - r->at : (size_t)length;
        r->at += there;
        length -= there;
    }
    return true;
}

/* The number that text begins with, and what comes behind it.  NULL: none, or too large a one. */
static const char *number(const char *text, unsigned base, uint64_t *value)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = text, *digit;

    for (*value = 0; *at && (digit = strchr(digits, tolower((unsigned char)*at))) != NULL && digit < digits + base; at++) {
        if (*value > (UINT64_MAX - 15) / base)
            return NULL;
        *value = *value * base + (uint64_t)(digit - digits);
    }
    return at == text ? NULL : at;
}

/* The value, if the line is that field. */
static const char *value_of(const char *text, const char *name)
{
    size_t length = strlen(name);

    if (strncasecmp(text, name, length) != 0 || text[length] != ':')
        return NULL;
    return text + length + 1 + strspn(text + length + 1, " \t");
}

static void field(reply_t *r, const char *text)
{
    const char *value, *end;
    size_t length;

    if ((value = value_of(text, "Content-Length")) != NULL) {
        end = number(value, 10, &r->length);
        r->has_length = true;
        r->malformed |= !end || end[strspn(end, " \t")] != 0;
    } else if ((value = value_of(text, "Transfer-Encoding")) != NULL) {
        length = strlen(value);
        while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
            length--;
        r->chunked = length >= 7 && strncasecmp(value + length - 7, "chunked", 7) == 0;
    }
}

/* The head of the final reply; the interim ones before it are passed over. */
static bool head(reply_t *r)
{
    char text[1024];

    do {
        r->status = 0;
        r->chunked = r->has_length = false;
        if (!line(r, text, sizeof(text)) || sscanf(text, "HTTP/1.%*1d %3d", &r->status) != 1)
            return false;
        for (;;) {
            if (!line(r, text, sizeof(text)))
                return false;
            if (!*text)
                break;
            field(r, text);
        }
    } while (r->status >= 100 && r->status < 200);
    return true;
}

/* The size of a chunk; false: there is none. */
static bool chunk_size(reply_t *r, uint64_t *size)
{
    char text[64];

    if (!line(r, text, sizeof(text)))
        return false;
    r->malformed |= number(text, 16, size) == NULL;
    return !r->malformed;
}

static bool chunks(reply_t *r)
{
    char text[64];
    uint64_t size;

    for (;;) {
        if (!chunk_size(r, &size))
            return false;
        if (size == 0)
            break;
        if (!skip(r, size) || !line(r, text, sizeof(text)))
            return false;
        r->malformed |= *text != 0;
    }
    do /* the trailer, and the empty line that ends all */
        if (!line(r, text, sizeof(text)))
            return false;
    while (*text);
    return !r->malformed;
}

/* Whether the body came to the end that the head announced. */
static bool body(reply_t *r)
{
    if (r->chunked)
        return chunks(r);
    if (r->has_length)
        return skip(r, r->length);
    while (more(r)) /* its end is that of the connection */
        continue;
    return r->error == 0;
}

/* The whole reply.  NULL: it is whole; else a word for what is wrong with it. */
static const char *reply_read(reply_t *r)
{
    if (!head(r)) {
        r->status = 0;
        return "no_reply";
    }
    if (body(r) && !r->malformed)
        return NULL;
    return r->malformed ? "bad_reply" : r->error == EAGAIN ? "timeout" : "incomplete";
}

int http_get(const char *url, const volatile sig_atomic_t *stop, uint64_t *bytes, const char **why)
{
    target_t target;
    reply_t *r;
    int status;

    *bytes = 0;
    *why = "https";
    if (strncasecmp(url, "https:", 6) == 0)
        return 0;
    *why = "bad_url";
    if (!parse(url, &target) || !printable(url))
        return 0;
    r = must(calloc(1, sizeof(*r)));
    r->stop = stop;
    *why = "unreachable";
    if ((r->fd = dial(&target)) >= 0) {
        *why = ask(r->fd, url, &target) ? reply_read(r) : "no_reply";
        close(r->fd);
    }
    *bytes = r->bytes;
    status = r->status;
    free(r);
    return status;
}
