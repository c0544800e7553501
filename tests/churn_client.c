/* SPDX-License-Identifier: Apache-2.0
 *
 * Many short connections to one server, and whether it answers all of them rightly; tests/churn runs it.
 *
 *   churn_client PORT CONNECTIONS AT_ONCE SEED DIRECTORY
 *
 * DIRECTORY has 0.ask, 0.answer, 1.ask, …: what is sent on a connection, and what has to come back, a NUL standing for any byte.  If
 * the answer says "Connection: close", the end of the connection has to follow.  How a client behaves is drawn for each connection.
 * One thread, one epoll; a connection is in one slot from its socket() to its close().
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CASES 64
#define SLOTS 1024
#define PATIENCE_MS 20000
#define PAUSE_MS 4 /* longest between two parts */

/* name, weight, what it does */
#define MANNERS                                                                                                                    \
    MANNER(WHOLE, 36, "asked and read all")                                                                                        \
    MANNER(LATE, 14, "asked after a while")                                                                                        \
    MANNER(PARTS, 12, "asked in two parts")                                                                                        \
    MANNER(HALF_CLOSED, 8, "asked, closed its side, read all")                                                                     \
    MANNER(SILENT, 4, "closed without asking")                                                                                     \
    MANNER(SILENT_RESET, 4, "reset without asking")                                                                                \
    MANNER(HEAD_CLOSE, 4, "closed within the head")                                                                                \
    MANNER(HEAD_RESET, 4, "reset within the head")                                                                                 \
    MANNER(HEAD_HALF_CLOSED, 4, "closed its side within the head")                                                                 \
    MANNER(ASK_RESET, 4, "asked and reset")                                                                                        \
    MANNER(READ_CLOSE, 3, "closed within the reply")                                                                               \
    MANNER(READ_RESET, 3, "reset within the reply")

typedef enum manner {
#define MANNER(name, weight, text) M_##name,
    MANNERS
#undef MANNER
        M_COUNT
} manner_t;

static const struct {
    unsigned weight;
    const char *text;
} manners[] = {
#define MANNER(name, weight, text) {weight, text},
    MANNERS
#undef MANNER
};

typedef struct text {
    char *at;
    size_t length;
} text_t;

static struct {
    text_t ask, answer;
    bool closes;
} cases[CASES];

typedef struct slot {
    int fd; /* -1: free */
    manner_t manner;
    unsigned number;                  /* of the case */
    size_t sent, first, read, enough; /* first: bytes of the first part; enough: of the answer */
    bool connected, closed_side;
    uint64_t started, pause_until; /* ms; pause_until 0: none */
} slot_t;

static slot_t slots[SLOTS];
static unsigned at_once, case_count;
static struct sockaddr_in server = {.sin_family = AF_INET};
static int epoll;
static uint64_t random_state, to_start, done[M_COUNT], wrong;

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* splitmix64 */
static unsigned draw(unsigned below)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ z >> 31) >> 11) % below;
}

static manner_t draw_manner(void)
{
    unsigned sum = 0, at;
    manner_t manner = 0;

    for (manner_t m = 0; m < M_COUNT; m++)
        sum += manners[m].weight;
    for (at = draw(sum); at >= manners[manner].weight; manner++)
        at -= manners[manner].weight;
    return manner;
}

static void say_wrong(const slot_t *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say_wrong(const slot_t *s, const char *format, ...)
{
    va_list args;

    if (wrong++ >= 20)
        return;
    va_start(args, format);
    printf("wrong: case %u, a client that %s: ", s->number, manners[s->manner].text);
    vprintf(format, args);
    printf(" (sent %zu of %zu, read %zu of %zu)\n", s->sent, cases[s->number].ask.length, s->read, cases[s->number].answer.length);
    va_end(args);
}

/* ---- one connection ---- */

static void start(slot_t *s);

static void finish(slot_t *s, bool reset)
{
    const struct linger linger = {.l_onoff = 1};

    if (reset)
        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(s->fd);
    s->fd = -1;
    done[s->manner]++;
    if (to_start > 0)
        start(s);
}

static void start(slot_t *s)
{
    const text_t *ask;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    int on = 1;

    to_start--;
    *s = (slot_t){.manner = draw_manner(), .number = draw(case_count), .started = now_ms()};
    ask = &cases[s->number].ask;
    s->first = s->manner >= M_HEAD_CLOSE && s->manner <= M_HEAD_HALF_CLOSED ? 1 + draw(40)
               : s->manner == M_PARTS                                       ? 1 + draw((unsigned)ask->length - 1)
                                                                            : ask->length;
    s->enough = s->manner >= M_READ_CLOSE ? draw((unsigned)cases[s->number].answer.length) : cases[s->number].answer.length;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event) != 0) {
        perror("churn_client: socket");
        exit(2);
    }
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(s->fd, (struct sockaddr *)&server, sizeof(server)) != 0 && errno != EINPROGRESS) {
        perror("churn_client: connect");
        exit(2);
    }
}

/* A server may close or reset once it has answered; what it said before that is read. */
static bool send_part(slot_t *s, size_t until)
{
    const text_t *ask = &cases[s->number].ask;

    while (s->sent < until) {
        ssize_t n = send(s->fd, ask->at + s->sent, until - s->sent, MSG_NOSIGNAL);

        if (n <= 0) {
            say_wrong(s, "send: %s", strerror(errno));
            finish(s, false);
            return false;
        }
        s->sent += (size_t)n;
    }
    return true;
}

/* Sends what is due.  False: it is over. */
static bool go_on(slot_t *s)
{
    if (s->pause_until)
        return true;
    if (s->manner == M_SILENT || s->manner == M_SILENT_RESET) {
        finish(s, s->manner == M_SILENT_RESET);
        return false;
    }
    if (!send_part(s, s->sent == 0 ? s->first : cases[s->number].ask.length))
        return false;
    if (s->manner == M_PARTS && s->sent == s->first) {
        s->pause_until = now_ms() + 1 + draw(PAUSE_MS);
    } else if (s->manner == M_HEAD_CLOSE || s->manner == M_HEAD_RESET || s->manner == M_ASK_RESET) {
        finish(s, s->manner != M_HEAD_CLOSE);
        return false;
    } else if ((s->manner == M_HALF_CLOSED || s->manner == M_HEAD_HALF_CLOSED) && !s->closed_side) {
        (void)shutdown(s->fd, SHUT_WR);
        s->closed_side = true;
    }
    return true;
}

static bool same(const slot_t *s, const char *bytes, size_t length)
{
    const text_t *answer = &cases[s->number].answer;

    if (length > answer->length - s->read)
        return false;
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != answer->at[s->read + i] && answer->at[s->read + i] != 0)
            return false;
    return true;
}

/* Where they begin to differ. */
static void say_other(const slot_t *s, const char *bytes, size_t length)
{
    char shown[161];
    size_t from = 0, n = 0;

    while (from < length && same(s, bytes, from + 1))
        from++;
    for (size_t at = from > 40 ? from - 40 : 0; at < length && n < sizeof(shown) - 1; at++)
        shown[n++] = bytes[at] >= ' ' && bytes[at] < 127 ? bytes[at] : '~';
    shown[n] = 0;
    say_wrong(s, "other bytes from %zu on: %s", s->read + from, shown);
}

/* Nothing more comes: 0, or errno. */
static void on_end(slot_t *s, int error)
{
    if (s->manner != M_HEAD_HALF_CLOSED && (s->read < s->enough || error))
        say_wrong(s, "%s", error ? strerror(error) : "it ended too early");
    finish(s, false);
}

static void on_readable(slot_t *s)
{
    static char bytes[1 << 16];

    for (;;) {
        ssize_t n = recv(s->fd, bytes, sizeof(bytes), 0);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            on_end(s, n < 0 ? errno : 0);
            return;
        }
        if (s->manner == M_HEAD_HALF_CLOSED)
            continue;
        if (!same(s, bytes, (size_t)n)) {
            say_other(s, bytes, (size_t)n);
            finish(s, false);
            return;
        }
        s->read += (size_t)n;
        if (s->manner >= M_READ_CLOSE && s->read >= s->enough) {
            finish(s, s->manner == M_READ_RESET);
            return;
        }
        if (s->read == cases[s->number].answer.length && !cases[s->number].closes && s->manner != M_HALF_CLOSED) {
            finish(s, false);
            return;
        }
    }
}

static void on_event(slot_t *s, uint32_t events)
{
    int error = 0;
    socklen_t length = sizeof(error);

    if (s->fd < 0)
        return;
    if (!s->connected) {
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
            return;
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error) {
            say_wrong(s, "connect: %s", strerror(error));
            finish(s, false);
            return;
        }
        s->connected = true;
        if (s->manner == M_LATE || draw(2) == 0)
            s->pause_until = now_ms() + 1 + draw(PAUSE_MS);
        if (!go_on(s))
            return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
        on_readable(s);
}

static void on_tick(uint64_t now)
{
    for (unsigned i = 0; i < at_once; i++) {
        slot_t *s = &slots[i];

        if (s->fd < 0)
            continue;
        if (now > s->started + PATIENCE_MS) {
            say_wrong(s, "nothing for %d s", PATIENCE_MS / 1000);
            finish(s, false);
        } else if (s->pause_until && s->pause_until <= now) {
            s->pause_until = 0;
            (void)go_on(s);
        }
    }
}

/* ---- the whole ---- */

static bool load(const char *directory, unsigned number, const char *kind, text_t *text)
{
    char name[4096];
    FILE *file;

    snprintf(name, sizeof(name), "%s/%u.%s", directory, number, kind);
    file = fopen(name, "rb");
    if (!file)
        return false;
    text->at = malloc(1 << 20);
    text->length = text->at ? fread(text->at, 1, 1 << 20, file) : 0;
    fclose(file);
    return text->length > 0;
}

static void run(void)
{
    struct epoll_event events[256];
    uint64_t next_tick = 0;

    for (unsigned i = 0; i < at_once; i++)
        slots[i].fd = -1;
    for (unsigned i = 0; i < at_once && to_start > 0; i++)
        start(&slots[i]);
    for (bool busy = true; busy;) {
        int count = epoll_wait(epoll, events, 256, 1);
        uint64_t now = now_ms();

        for (int i = 0; i < count; i++)
            on_event(events[i].data.ptr, events[i].events);
        if (now >= next_tick)
            on_tick(now);
        next_tick = now >= next_tick ? now + 1 : next_tick;
        busy = to_start > 0;
        for (unsigned i = 0; i < at_once && !busy; i++)
            busy = slots[i].fd >= 0;
    }
}

int main(int argc, char **argv)
{
    if (argc == 6)
        while (case_count < CASES && load(argv[5], case_count, "ask", &cases[case_count].ask) &&
               load(argv[5], case_count, "answer", &cases[case_count].answer)) {
            const text_t *answer = &cases[case_count].answer;

            cases[case_count++].closes = memmem(answer->at, answer->length, "\r\nConnection: close\r\n", 21) != NULL;
        }
    at_once = argc == 6 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    if (case_count == 0 || at_once < 1 || at_once > SLOTS) {
        fprintf(stderr, "usage: churn_client PORT CONNECTIONS AT_ONCE(1-%d) SEED DIRECTORY, with 0.ask and 0.answer in it\n", SLOTS);
        return 2;
    }
    server.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to_start = strtoull(argv[2], NULL, 10);
    random_state = strtoull(argv[4], NULL, 10);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    run();
    for (manner_t m = 0; m < M_COUNT; m++)
        printf("%s: %llu\n", manners[m].text, (unsigned long long)done[m]);
    printf("wrong replies: %llu\n", (unsigned long long)wrong);
    return wrong > 0;
}
