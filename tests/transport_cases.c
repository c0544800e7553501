/* SPDX-License-Identifier: Apache-2.0
 *
 * See transport_cases.h.
 */
#include "config.h"

#include <sys/mman.h>

#include "transport_cases.h"
#include "transport_side.h"

#define BIG (4u << 20)

/* The kinds asked, one after the other; each case runs through them once for each of its variants. */
static int first, kinds;

static int kind(int i)
{
    return first + i % kinds;
}

static int variant(int i)
{
    return i / kinds;
}

/* ---- accepting ---- */

START_TEST(taken)
{
    char byte;
    side_t s;

    side_begin(&s, kind(_i));
    side_dial(&s);
    ck_assert_uint_eq(s.accepted, 1);
    ck_assert_ptr_nonnull(s.transport);
    ck_assert_int_eq(side_peer_reads(&s, &byte, 1), 0);
    side_end(&s);
}
END_TEST

/* Refused: nobody takes it, or nobody is there to. */
START_TEST(refused)
{
    char byte;
    side_t s;

    side_begin(&s, kind(_i));
    s.refuse = true;
    if (variant(_i))
        s.endpoint.connected = NULL;
    side_dial(&s);
    ck_assert_ptr_null(s.transport);
    ck_assert_int_eq(side_peer_reads(&s, &byte, 1), -1);
    side_end(&s);
}
END_TEST

/* ---- receiving ---- */

START_TEST(receive_then_bytes)
{
    side_t s;

    side_begin(&s, kind(_i));
    side_dial(&s);
    side_ask(&s, NULL, 0);
    ck_assert_uint_eq(s.received, 0);
    side_peer_sends(&s, "hello");
    ck_assert_uint_eq(s.received, 1);
    side_have(&s, "hello");
    side_peer_sends(&s, " world"); /* nobody has asked */
    side_have(&s, "hello");
    side_ask(&s, NULL, 0);
    side_turn(&s);
    side_have(&s, "hello world");
    side_end(&s);
}
END_TEST

START_TEST(into_a_buffer)
{
    char buffer[4];
    side_t s;

    side_begin(&s, kind(_i));
    side_dial(&s);
    side_peer_sends(&s, "abcdefghij");
    for (unsigned i = 0; i < 3; i++) {
        side_ask(&s, buffer, sizeof(buffer));
        side_turn(&s);
        ck_assert_uint_eq(s.received, i + 1);
        ck_assert_ptr_eq(s.receiving.data, buffer);
    }
    side_have(&s, "abcdefghij");
    side_end(&s);
}
END_TEST

START_TEST(end_of_stream)
{
    side_t s;

    side_begin(&s, kind(_i));
    side_dial(&s);
    side_peer_sends(&s, "last words");
    side_peer_ends(&s, false);
    side_ask(&s, NULL, 0);
    side_turn(&s);
    side_have(&s, "last words");
    side_ask(&s, NULL, 0);
    side_turn(&s);
    ck_assert_uint_eq(s.received, 2);
    ck_assert_int_eq(s.status, AFPA_CLOSED);
    side_end(&s);
}
END_TEST

START_TEST(end_while_asking)
{
    side_t s;

    side_begin(&s, kind(_i));
    side_dial(&s);
    side_ask(&s, NULL, 0);
    side_peer_ends(&s, variant(_i));
    ck_assert_uint_eq(s.received, 1);
    ck_assert_int_eq(s.status, variant(_i) ? AFPA_IO_ERROR : AFPA_CLOSED);
    side_end(&s);
}
END_TEST

/* ---- events ---- */

START_TEST(indicated)
{
    side_t s;

    side_begin(&s, kind(_i));
    s.endpoint.received = side_on_received;
    side_dial(&s);
    side_peer_sends(&s, "one");
    side_have(&s, "one");
    side_ask(&s, NULL, 0); /* a request goes before the event */
    side_peer_sends(&s, "two");
    ck_assert_uint_eq(s.told, 1);
    ck_assert_uint_eq(s.received, 1);
    side_have(&s, "onetwo");
    side_peer_sends(&s, "three");
    side_have(&s, "onetwothree");
    side_end(&s);
}
END_TEST

/* What an event does not take is there for a receive. */
START_TEST(indicated_in_part)
{
    char buffer[3];
    side_t s;

    side_begin(&s, kind(_i));
    s.endpoint.received = side_on_received;
    s.take_half = true;
    side_dial(&s);
    side_peer_sends(&s, "0123456789");
    ck_assert_uint_ge(s.got_length, 5);
    while (s.got_length < 10) {
        size_t before = s.got_length;

        side_ask(&s, buffer, sizeof(buffer));
        side_turn(&s);
        ck_assert_uint_gt(s.got_length, before);
    }
    side_have(&s, "0123456789");
    side_end(&s);
}
END_TEST

START_TEST(told_of_the_end)
{
    side_t s;

    side_begin(&s, kind(_i));
    s.endpoint.disconnected = side_on_disconnected;
    side_dial(&s);
    side_peer_ends(&s, variant(_i));
    ck_assert_int_eq(s.why, variant(_i) ? AFPA_IO_ERROR : AFPA_CLOSED);
    side_end(&s);
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
        n = side_peer_reads(s, read_back + back, sizeof(read_back) - back);
        ck_assert_int_ge(n, 0);
        back += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
        if (s->kind == FAKE)
            fake_conn_writable(&s->fake);
        side_turn(s);
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

    side_begin(&s, kind(_i));
    s.fake.accept = 70000;
    s.fake.block = 3;
    side_dial(&s);
    fill(bytes, sizeof(bytes));
    send_all(&s, bytes, sizes[variant(_i)], -1);
    side_end(&s);
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
    side_begin(&s, kind(_i));
    s.fake.memory = bytes;
    s.fake.accept = 70000;
    side_dial(&s);
    send_all(&s, bytes, BIG, file);
    side_end(&s);
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

    side_begin(&s, kind(_i));
    side_dial(&s);
    side_peer_ends(&s, true);
    for (unsigned i = 0; i < 3 && status == AFPA_OK; i++) {
        status = afpa_transport_send(s.transport, &s.sending, &piece, &accepted);
        side_turn(&s);
    }
    ck_assert(status != AFPA_OK && status != AFPA_AGAIN);
    side_end(&s);
}
END_TEST

/* ---- disconnecting ---- */

/* The side's own end of the connection. */
static int socket_of(const side_t *s)
{
    for (int fd = 3; fd < 64; fd++) {
        struct sockaddr_in here, there;
        socklen_t length = sizeof(here);

        if (fd != s->peer && getpeername(fd, (struct sockaddr *)&there, &length) == 0 &&
            getsockname(fd, (struct sockaddr *)&here, &length) == 0 && ntohs(here.sin_port) == s->port)
            return fd;
    }
    return -1;
}

/* A peer that takes everything (datagrams that nobody reads) does not keep the loop from the others. */
START_TEST(fair_sending)
{
    static const char bytes[60000];
    const afpa_piece_t piece = {.data = bytes, .length = sizeof(bytes), .last = true};
    struct sockaddr_in address = side_loopback(0);
    socklen_t length = sizeof(address);
    int sink = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    size_t accepted;
    side_t s;

    side_begin(&s, kind(_i));
    if (s.kind != FAKE) {
        side_dial(&s);
        ck_assert_int_eq(bind(sink, (const struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(getsockname(sink, (struct sockaddr *)&address, &length), 0);
        ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_ge(dup2(fd, socket_of(&s)), 0);
        for (unsigned turn = 0; turn < 3; turn++) {
            s.completed = 0;
            while (afpa_transport_send(s.transport, &s.sending, &piece, &accepted) == AFPA_OK)
                ck_assert_uint_lt(s.completed, 3 * AFPA_TRANSPORT_SHARE);
            ck_assert_uint_ge(s.completed, AFPA_TRANSPORT_SHARE);
            ck_assert_uint_lt(s.completed, AFPA_TRANSPORT_SHARE + sizeof(bytes));
            ck_assert_uint_eq(s.writable, turn);
            side_turn(&s);
            ck_assert_uint_eq(s.writable, turn + 1);
        }
    }
    close(sink);
    close(fd);
    side_end(&s);
}
END_TEST

START_TEST(closed_while_asking)
{
    char byte;
    side_t s;

    side_begin(&s, kind(_i));
    side_dial(&s);
    side_ask(&s, NULL, 0);
    side_disconnect(&s, AFPA_DISCONNECT_CLOSE);
    side_turn(&s);
    ck_assert_uint_eq(s.disconnected, 1);
    ck_assert_uint_eq(s.received, 1);
    ck_assert_int_eq(s.status, AFPA_CLOSED);
    ck_assert(s.closed_first);
    ck_assert_int_eq(side_peer_reads(&s, &byte, 1), -1);
    side_end(&s);
}
END_TEST

START_TEST(closed_in_a_completion)
{
    side_t s;

    side_begin(&s, kind(_i));
    s.close_in_receive = true;
    side_dial(&s);
    side_ask(&s, NULL, 0);
    side_peer_sends(&s, "bye");
    ck_assert_uint_eq(s.disconnected, 1);
    ck_assert_uint_eq(s.received, 1);
    side_end(&s);
}
END_TEST

/* Released: the peer sees the end, what it still sends arrives. */
START_TEST(released)
{
    const afpa_piece_t piece = {.data = "done", .length = 4, .last = true};
    size_t accepted;
    char bytes[8];
    side_t s;

    side_begin(&s, kind(_i));
    side_dial(&s);
    ck_assert_int_eq(afpa_transport_send(s.transport, &s.sending, &piece, &accepted), AFPA_OK);
    side_disconnect(&s, AFPA_DISCONNECT_RELEASE);
    side_turn(&s);
    ck_assert_uint_eq(s.disconnected, 1);
    ck_assert_int_eq(side_peer_reads(&s, bytes, sizeof(bytes)), 4);
    ck_assert_int_eq(side_peer_reads(&s, bytes, sizeof(bytes)), -1);
    side_ask(&s, NULL, 0);
    side_peer_sends(&s, "late");
    side_have(&s, "late");
    s.disconnected = 0; /* the transport is still there */
    side_end(&s);
}
END_TEST

void transport_cases(Suite *suite, int from, int count, bool whole)
{
    first = from;
    kinds = count;
    if (whole) {
        check_add_loop(suite, "taken", taken, kinds);
        check_add_loop(suite, "refused", refused, 2 * kinds);
        check_add_loop(suite, "indicated", indicated, kinds);
        check_add_loop(suite, "indicated_in_part", indicated_in_part, kinds);
        check_add_loop(suite, "told_of_the_end", told_of_the_end, 2 * kinds);
    }
    check_add_loop(suite, "receive_then_bytes", receive_then_bytes, kinds);
    check_add_loop(suite, "into_a_buffer", into_a_buffer, kinds);
    check_add_loop(suite, "end_of_stream", end_of_stream, kinds);
    check_add_loop(suite, "end_while_asking", end_while_asking, 2 * kinds);
    check_add_loop(suite, "sent", sent, 4 * kinds);
    check_add_loop(suite, "sent_by_reference", sent_by_reference, kinds);
    check_add_loop(suite, "sent_to_nobody", sent_to_nobody, kinds);
    check_add_loop(suite, "fair_sending", fair_sending, kinds);
    check_add_loop(suite, "closed_while_asking", closed_while_asking, kinds);
    check_add_loop(suite, "closed_in_a_completion", closed_in_a_completion, kinds);
    check_add_loop(suite, "released", released, kinds);
}
