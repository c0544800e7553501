/* SPDX-License-Identifier: Apache-2.0
 *
 * What every provider has to do, asked of epoll over real sockets and of the fake alike; then what only epoll has: listening,
 * connecting, jobs that are done in the loop.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>

#include <afpa/loop.h>

#include "check_main.h"
#include "fake_provider.h"

#define BIG (4u << 20)

/* One side of a connection with its provider, and what happens there. */
typedef struct side {
    afpa_io_t receiving, sending, accepting, disconnecting; /* first: completions find the side by these */
    afpa_endpoint_t endpoint;
    afpa_transport_t *transport;
    bool refuse, take_half, close_in_receive;
    char *got;
    size_t got_length;
    afpa_status_t status, why;
    unsigned received, accepted, disconnected, told, writable;
    size_t completed;
    bool closed_first; /* the receive under way ended before the disconnect */
    /* epoll: */
    afpa_loop_t *loop;
    int peer;
    /* the fake: */
    fake_conn_t fake;
} side_t;

static side_t *side_of(const afpa_io_t *io, size_t offset)
{
    return (side_t *)(void *)((char *)(uintptr_t)io - offset);
}

static void got(side_t *s, const void *data, size_t length)
{
    s->got = realloc(s->got, s->got_length + length + 1);
    memcpy(s->got + s->got_length, data, length);
    s->got_length += length;
}

static void on_received(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    side_t *s = side_of(io, offsetof(side_t, receiving));

    s->received++;
    s->status = status;
    if (status == AFPA_OK && io->data)
        got(s, io->data, bytes);
    else
        CHECK_THAT(bytes == 0);
    if (s->close_in_receive && status == AFPA_OK)
        afpa_transport_disconnect(s->transport, &s->disconnecting, AFPA_DISCONNECT_CLOSE);
}

static void on_sent(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    (void)status;
    side_of(io, offsetof(side_t, sending))->completed += bytes;
}

static void on_writable(afpa_io_t *io)
{
    side_of(io, offsetof(side_t, sending))->writable++;
}

static void on_accepted(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    (void)bytes;
    CHECK_THAT(status == AFPA_OK);
    side_of(io, offsetof(side_t, accepting))->accepted++;
}

static void on_disconnected(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    side_t *s = side_of(io, offsetof(side_t, disconnecting));

    (void)status, (void)bytes;
    s->disconnected++;
    s->closed_first = s->status == AFPA_CLOSED;
}

static void on_connected_event(afpa_endpoint_t *endpoint, afpa_transport_t *transport)
{
    side_t *s = (side_t *)(void *)((char *)endpoint - offsetof(side_t, endpoint));

    if (s->refuse)
        return;
    s->transport = transport;
    CHECK_THAT(transport->provider->accept(transport, &s->accepting) == AFPA_OK);
}

static size_t on_received_event(afpa_endpoint_t *endpoint, afpa_transport_t *transport, const void *data, size_t length)
{
    side_t *s = (side_t *)(void *)((char *)endpoint - offsetof(side_t, endpoint));
    size_t taken = s->take_half ? length / 2 : length;

    CHECK_THAT(transport == s->transport);
    got(s, data, taken);
    s->told++;
    return taken;
}

static void on_disconnected_event(afpa_endpoint_t *endpoint, afpa_transport_t *transport, afpa_status_t why)
{
    side_t *s = (side_t *)(void *)((char *)endpoint - offsetof(side_t, endpoint));

    CHECK_THAT(transport == s->transport);
    s->why = why;
}

/* ---- both kinds ---- */

enum { EPOLL, FAKE, KINDS };

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void turn(side_t *s)
{
    if (s->loop)
        for (unsigned i = 0; i < 3; i++)
            ck_assert_int_eq(afpa_loop_run(s->loop, 10), AFPA_OK);
}

static void begin(side_t *s, int kind)
{
    memset(s, 0, sizeof(*s));
    s->receiving.completed = on_received;
    s->sending = (afpa_io_t){.completed = on_sent, .writable = on_writable};
    s->accepting.completed = on_accepted;
    s->disconnecting.completed = on_disconnected;
    s->endpoint.connected = on_connected_event;
    s->peer = -1;
    if (kind == EPOLL) {
        const struct sockaddr_in address = loopback(0);
        afpa_error_t error;

        s->loop = afpa_loop_create();
        ck_assert_ptr_nonnull(s->loop);
        ck_assert_int_eq(afpa_loop_listen(s->loop, (const struct sockaddr *)&address, sizeof(address), &s->endpoint, &error),
                         AFPA_OK);
    } else {
        fake_conn_begin(&s->fake, &s->endpoint);
    }
}

/* The peer connects. */
static void dial(side_t *s)
{
    if (s->loop) {
        const struct sockaddr_in address = loopback(afpa_loop_port(s->loop));

        s->peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(s->peer, (const struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(fcntl(s->peer, F_SETFL, O_NONBLOCK), 0);
    } else {
        fake_conn_offer(&s->fake);
    }
    turn(s);
}

static void end(side_t *s)
{
    if (s->transport && !s->disconnected)
        afpa_transport_disconnect(s->transport, NULL, AFPA_DISCONNECT_CLOSE);
    if (s->peer >= 0)
        close(s->peer);
    if (s->loop)
        afpa_loop_destroy(&s->loop);
    else
        fake_conn_end(&s->fake);
    free(s->got);
}

static void peer_sends(side_t *s, const char *text)
{
    if (s->loop)
        ck_assert_int_eq(send(s->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    else
        fake_conn_arrive(&s->fake, text, strlen(text));
    turn(s);
}

static void peer_ends(side_t *s, bool reset)
{
    const struct linger hard = {1, 0};

    if (!s->loop) {
        if (reset)
            fake_conn_reset(&s->fake);
        else
            fake_conn_eof(&s->fake);
        return;
    }
    if (reset)
        ck_assert_int_eq(setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    if (reset)
        close(s->peer);
    else
        shutdown(s->peer, SHUT_WR);
    s->peer = reset ? -1 : s->peer;
    turn(s);
}

/* What has arrived at the peer: bytes, or -1 at the end. */
static ssize_t peer_reads(side_t *s, char *to, size_t size)
{
    ssize_t n;

    if (s->loop) {
        n = recv(s->peer, to, size, 0);
        return n > 0 ? n : n == 0 || errno != EAGAIN ? -1 : 0;
    }
    n = (ssize_t)(s->fake.sent_length < size ? s->fake.sent_length : size);
    if (n == 0 && (s->fake.closed || s->fake.released))
        return -1;
    if (n == 0)
        return 0;
    memcpy(to, s->fake.sent, (size_t)n);
    memmove(s->fake.sent, s->fake.sent + n, s->fake.sent_length - (size_t)n);
    s->fake.sent_length -= (size_t)n;
    return n;
}

static void ask(side_t *s, void *buffer, size_t size)
{
    ck_assert_int_eq(afpa_transport_receive(s->transport, &s->receiving, buffer, size), AFPA_OK);
}

static void have(side_t *s, const char *text)
{
    ck_assert_uint_eq(s->got_length, strlen(text));
    ck_assert_int_eq(memcmp(s->got, text, strlen(text)), 0);
}

/* ---- accepting ---- */

START_TEST(taken)
{
    char byte;
    side_t s;

    begin(&s, _i);
    dial(&s);
    ck_assert_uint_eq(s.accepted, 1);
    ck_assert_ptr_nonnull(s.transport);
    ck_assert_int_eq(peer_reads(&s, &byte, 1), 0);
    end(&s);
}
END_TEST

/* Refused: nobody takes it, or nobody is there to. */
START_TEST(refused)
{
    char byte;
    side_t s;

    begin(&s, _i % KINDS);
    s.refuse = true;
    if (_i >= KINDS)
        s.endpoint.connected = NULL;
    dial(&s);
    ck_assert_ptr_null(s.transport);
    ck_assert_int_eq(peer_reads(&s, &byte, 1), -1);
    end(&s);
}
END_TEST

/* ---- receiving ---- */

START_TEST(receive_then_bytes)
{
    side_t s;

    begin(&s, _i);
    dial(&s);
    ask(&s, NULL, 0);
    ck_assert_uint_eq(s.received, 0);
    peer_sends(&s, "hello");
    ck_assert_uint_eq(s.received, 1);
    have(&s, "hello");
    peer_sends(&s, " world"); /* nobody has asked */
    have(&s, "hello");
    ask(&s, NULL, 0);
    turn(&s);
    have(&s, "hello world");
    end(&s);
}
END_TEST

START_TEST(into_a_buffer)
{
    char buffer[4];
    side_t s;

    begin(&s, _i);
    dial(&s);
    peer_sends(&s, "abcdefghij");
    for (unsigned i = 0; i < 3; i++) {
        ask(&s, buffer, sizeof(buffer));
        turn(&s);
        ck_assert_uint_eq(s.received, i + 1);
        ck_assert_ptr_eq(s.receiving.data, buffer);
    }
    have(&s, "abcdefghij");
    end(&s);
}
END_TEST

START_TEST(end_of_stream)
{
    side_t s;

    begin(&s, _i);
    dial(&s);
    peer_sends(&s, "last words");
    peer_ends(&s, false);
    ask(&s, NULL, 0);
    turn(&s);
    have(&s, "last words");
    ask(&s, NULL, 0);
    turn(&s);
    ck_assert_uint_eq(s.received, 2);
    ck_assert_int_eq(s.status, AFPA_CLOSED);
    end(&s);
}
END_TEST

START_TEST(end_while_asking)
{
    side_t s;

    begin(&s, _i % KINDS);
    dial(&s);
    ask(&s, NULL, 0);
    peer_ends(&s, _i >= KINDS);
    ck_assert_uint_eq(s.received, 1);
    ck_assert_int_eq(s.status, _i >= KINDS ? AFPA_IO_ERROR : AFPA_CLOSED);
    end(&s);
}
END_TEST

/* ---- events ---- */

START_TEST(indicated)
{
    side_t s;

    begin(&s, _i);
    s.endpoint.received = on_received_event;
    dial(&s);
    peer_sends(&s, "one");
    have(&s, "one");
    ask(&s, NULL, 0); /* a request goes before the event */
    peer_sends(&s, "two");
    ck_assert_uint_eq(s.told, 1);
    ck_assert_uint_eq(s.received, 1);
    have(&s, "onetwo");
    peer_sends(&s, "three");
    have(&s, "onetwothree");
    end(&s);
}
END_TEST

/* What an event does not take is there for a receive. */
START_TEST(indicated_in_part)
{
    char buffer[3];
    side_t s;

    begin(&s, _i);
    s.endpoint.received = on_received_event;
    s.take_half = true;
    dial(&s);
    peer_sends(&s, "0123456789");
    ck_assert_uint_ge(s.got_length, 5);
    while (s.got_length < 10) {
        size_t before = s.got_length;

        ask(&s, buffer, sizeof(buffer));
        turn(&s);
        ck_assert_uint_gt(s.got_length, before);
    }
    have(&s, "0123456789");
    end(&s);
}
END_TEST

START_TEST(told_of_the_end)
{
    side_t s;

    begin(&s, _i % KINDS);
    s.endpoint.disconnected = on_disconnected_event;
    dial(&s);
    peer_ends(&s, _i >= KINDS);
    ck_assert_int_eq(s.why, _i >= KINDS ? AFPA_IO_ERROR : AFPA_CLOSED);
    end(&s);
}
END_TEST

/* ---- sending ---- */

static void fill(char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
}

/* All of it, in pieces as the transport takes them, while the peer reads. */
static void send_all(side_t *s, const char *bytes, size_t length, int file)
{
    static char read_back[BIG];
    size_t at = 0, back = 0, accepted_total = 0;
    unsigned idle = 0;
    bool blocked = false;

    while (back < length && idle < 1000) {
        ssize_t n;

        if (blocked && s->writable > 0)
            blocked = false;
        while (!blocked && at < length) {
            const afpa_piece_t piece = {.data = bytes + at,
                                        .length = length - at < 1000000 ? length - at : 1000000,
                                        .file = file,
                                        .file_offset = at,
                                        .by_reference = file >= 0,
                                        .last = length - at <= 1000000};
            size_t accepted = 0;
            afpa_status_t status;

            s->writable = 0;
            status = afpa_transport_send(s->transport, &s->sending, &piece, &accepted);
            blocked = status == AFPA_AGAIN;
            ck_assert(blocked || status == AFPA_OK);
            ck_assert(blocked || (accepted > 0 && accepted <= piece.length));
            at += accepted;
            accepted_total += accepted;
        }
        n = peer_reads(s, read_back + back, sizeof(read_back) - back);
        ck_assert_int_ge(n, 0);
        back += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
        if (!s->loop)
            fake_conn_writable(&s->fake);
        turn(s);
    }
    ck_assert_uint_eq(back, length);
    ck_assert_uint_eq(accepted_total, length);
    ck_assert_uint_eq(s->completed, length);
    ck_assert_int_eq(memcmp(read_back, bytes, length), 0);
}

START_TEST(sent)
{
    static const size_t sizes[] = {1, 1000, 100000, BIG};
    static char bytes[BIG];
    side_t s;

    begin(&s, _i % KINDS);
    s.fake.accept = 70000;
    s.fake.block = 3;
    dial(&s);
    fill(bytes, sizeof(bytes));
    send_all(&s, bytes, sizes[_i / KINDS], -1);
    end(&s);
}
END_TEST

START_TEST(sent_by_reference)
{
    int file = memfd_create("check", MFD_CLOEXEC);
    char *bytes;
    side_t s;

    ck_assert_int_eq(ftruncate(file, BIG), 0);
    bytes = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    fill(bytes, BIG);
    begin(&s, _i);
    s.fake.memory = bytes;
    s.fake.accept = 70000;
    dial(&s);
    send_all(&s, bytes, BIG, file);
    end(&s);
    munmap(bytes, BIG);
    close(file);
}
END_TEST

START_TEST(sent_to_nobody)
{
    static char bytes[1000];
    const afpa_piece_t piece = {.data = bytes, .length = sizeof(bytes), .last = true};
    afpa_status_t status = AFPA_OK;
    size_t accepted;
    side_t s;

    begin(&s, _i);
    dial(&s);
    peer_ends(&s, true);
    for (unsigned i = 0; i < 3 && status == AFPA_OK; i++) {
        status = afpa_transport_send(s.transport, &s.sending, &piece, &accepted);
        turn(&s);
    }
    ck_assert(status != AFPA_OK && status != AFPA_AGAIN);
    end(&s);
}
END_TEST

/* ---- disconnecting ---- */

START_TEST(closed_while_asking)
{
    char byte;
    side_t s;

    begin(&s, _i);
    dial(&s);
    ask(&s, NULL, 0);
    afpa_transport_disconnect(s.transport, &s.disconnecting, AFPA_DISCONNECT_CLOSE);
    turn(&s);
    ck_assert_uint_eq(s.disconnected, 1);
    ck_assert_uint_eq(s.received, 1);
    ck_assert_int_eq(s.status, AFPA_CLOSED);
    ck_assert(s.closed_first);
    ck_assert_int_eq(peer_reads(&s, &byte, 1), -1);
    end(&s);
}
END_TEST

START_TEST(closed_in_a_completion)
{
    side_t s;

    begin(&s, _i);
    s.close_in_receive = true;
    dial(&s);
    ask(&s, NULL, 0);
    peer_sends(&s, "bye");
    ck_assert_uint_eq(s.disconnected, 1);
    ck_assert_uint_eq(s.received, 1);
    end(&s);
}
END_TEST

/* Released: the peer sees the end, what it still sends arrives. */
START_TEST(released)
{
    const afpa_piece_t piece = {.data = "done", .length = 4, .last = true};
    size_t accepted;
    char bytes[8];
    side_t s;

    begin(&s, _i);
    dial(&s);
    ck_assert_int_eq(afpa_transport_send(s.transport, &s.sending, &piece, &accepted), AFPA_OK);
    afpa_transport_disconnect(s.transport, &s.disconnecting, AFPA_DISCONNECT_RELEASE);
    turn(&s);
    ck_assert_uint_eq(s.disconnected, 1);
    ck_assert_int_eq(peer_reads(&s, bytes, sizeof(bytes)), 4);
    ck_assert_int_eq(peer_reads(&s, bytes, sizeof(bytes)), -1);
    ask(&s, NULL, 0);
    peer_sends(&s, "late");
    have(&s, "late");
    s.disconnected = 0; /* the transport is still there */
    end(&s);
}
END_TEST

/* ---- epoll alone ---- */

START_TEST(connecting)
{
    const afpa_piece_t piece = {.data = "knock", .length = 5, .last = true};
    struct sockaddr_in address;
    afpa_transport_t *client;
    size_t accepted;
    side_t s, c;

    begin(&s, EPOLL);
    begin(&c, FAKE); /* for its completions */
    address = loopback(afpa_loop_port(s.loop));
    client = afpa_loop_transport(s.loop, NULL);
    ck_assert_int_eq(client->provider->connect(client, &c.accepting, (const struct sockaddr *)&address, sizeof(address)), AFPA_OK);
    turn(&s);
    ck_assert_uint_eq(c.accepted, 1);
    ck_assert_uint_eq(s.accepted, 1);
    ask(&s, NULL, 0);
    ck_assert_int_eq(afpa_transport_send(client, &c.sending, &piece, &accepted), AFPA_OK);
    turn(&s);
    have(&s, "knock");
    afpa_transport_disconnect(client, &c.disconnecting, AFPA_DISCONNECT_CLOSE);
    ck_assert_uint_eq(c.disconnected, 1);
    end(&s);
    end(&c);
}
END_TEST

static void on_connect_failed(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    (void)bytes;
    side_of(io, offsetof(side_t, accepting))->status = status;
}

START_TEST(connecting_in_vain)
{
    struct sockaddr_in address;
    afpa_transport_t *client;
    side_t s, c;

    begin(&s, EPOLL);
    begin(&c, FAKE);
    c.accepting.completed = on_connect_failed;
    address = loopback(afpa_loop_port(s.loop));
    afpa_loop_unlisten(s.loop);
    client = afpa_loop_transport(s.loop, NULL);
    if (client->provider->connect(client, &c.accepting, (const struct sockaddr *)&address, sizeof(address)) == AFPA_OK) {
        turn(&s);
        ck_assert_int_eq(c.status, AFPA_IO_ERROR);
    }
    afpa_transport_disconnect(client, NULL, AFPA_DISCONNECT_CLOSE);
    end(&s);
    end(&c);
}
END_TEST

START_TEST(cannot_listen)
{
    struct sockaddr_in address = loopback(81);
    afpa_loop_t *loop = afpa_loop_create();
    afpa_endpoint_t endpoint = {0};
    afpa_error_t error;

    address.sin_addr.s_addr = htonl(0xcb007101); /* 203.0.113.1, for documentation: nobody has it */
    ck_assert_int_eq(afpa_loop_listen(loop, (const struct sockaddr *)&address, sizeof(address), &endpoint, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, "cannot listen on 203.0.113.1 port 81: Cannot assign requested address");
    afpa_loop_destroy(&loop);
    ck_assert_ptr_null(loop);
    afpa_loop_destroy(&loop);
}
END_TEST

/* A connection that always has more does not keep the loop from the others, nor from its caller. */
START_TEST(fair)
{
    static char bytes[100000];
    char buffer[16];
    side_t s;

    begin(&s, EPOLL);
    dial(&s);
    memset(bytes, 'x', sizeof(bytes));
    ck_assert_int_eq(send(s.peer, bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
    afpa_loop_run(s.loop, 10);
    for (unsigned i = 0; i < 200; i++) { /* asks again at once, as an engine does */
        unsigned before = s.received;

        if (afpa_transport_receive(s.transport, &s.receiving, buffer, sizeof(buffer)) != AFPA_OK || s.received == before)
            break;
    }
    ck_assert_uint_lt(s.received, 40);
    while (s.received < 200) {
        unsigned before = s.received;

        afpa_loop_run(s.loop, 10);
        while (s.received > before && s.received < 200) {
            before = s.received;
            ask(&s, buffer, sizeof(buffer));
        }
    }
    end(&s);
}
END_TEST

typedef struct errand {
    afpa_job_t job;
    pthread_t ran_in, done_in;
    bool done;
} errand_t;

static void run_errand(afpa_job_t *job)
{
    ((errand_t *)(void *)job)->ran_in = pthread_self();
}

static void on_errand_done(afpa_job_t *job)
{
    ((errand_t *)(void *)job)->done_in = pthread_self();
    ((errand_t *)(void *)job)->done = true;
}

START_TEST(jobs)
{
    errand_t errands[20] = {0};
    afpa_loop_t *loop = afpa_loop_create();
    afpa_executor_t *pool = afpa_executor_pthread(2, 64), *executor = afpa_loop_executor(loop, pool);

    for (unsigned i = 0; i < 20; i++) {
        errands[i].job = (afpa_job_t){.run = run_errand, .done = on_errand_done};
        ck_assert_int_eq(executor->submit(executor, &errands[i].job), AFPA_OK);
    }
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned tries = 0; tries < 500 && !errands[i].done; tries++)
            afpa_loop_run(loop, 10);
        ck_assert(errands[i].done);
        ck_assert(pthread_equal(errands[i].done_in, pthread_self()));
        ck_assert(!pthread_equal(errands[i].ran_in, pthread_self()));
    }
    afpa_executor_close(&pool);
    afpa_loop_destroy(&loop);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test, int count)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test, 0, count);
    suite_add_tcase(suite, tc);
}

int main(void)
{
    Suite *suite = suite_create("transport_epoll");

    add(suite, "taken", taken, KINDS);
    add(suite, "refused", refused, 2 * KINDS);
    add(suite, "receive_then_bytes", receive_then_bytes, KINDS);
    add(suite, "into_a_buffer", into_a_buffer, KINDS);
    add(suite, "end_of_stream", end_of_stream, KINDS);
    add(suite, "end_while_asking", end_while_asking, 2 * KINDS);
    add(suite, "indicated", indicated, KINDS);
    add(suite, "indicated_in_part", indicated_in_part, KINDS);
    add(suite, "told_of_the_end", told_of_the_end, 2 * KINDS);
    add(suite, "sent", sent, 4 * KINDS);
    add(suite, "sent_by_reference", sent_by_reference, KINDS);
    add(suite, "sent_to_nobody", sent_to_nobody, KINDS);
    add(suite, "closed_while_asking", closed_while_asking, KINDS);
    add(suite, "closed_in_a_completion", closed_in_a_completion, KINDS);
    add(suite, "released", released, KINDS);
    add(suite, "connecting", connecting, 1);
    add(suite, "connecting_in_vain", connecting_in_vain, 1);
    add(suite, "cannot_listen", cannot_listen, 1);
    add(suite, "fair", fair, 1);
    add(suite, "jobs", jobs, 1);
    return check_main(suite);
}
