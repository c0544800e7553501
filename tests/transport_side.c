/* SPDX-License-Identifier: Apache-2.0
 *
 * See transport_side.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>

#include "transport_side.h"

const side_host_t *side_nginx;

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
        side_disconnect(s, AFPA_DISCONNECT_CLOSE);
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

size_t side_on_received(afpa_endpoint_t *endpoint, afpa_transport_t *transport, const void *data, size_t length)
{
    side_t *s = (side_t *)(void *)((char *)endpoint - offsetof(side_t, endpoint));
    size_t taken = s->take_half ? length / 2 : length;

    CHECK_THAT(transport == s->transport);
    got(s, data, taken);
    s->told++;
    return taken;
}

void side_on_disconnected(afpa_endpoint_t *endpoint, afpa_transport_t *transport, afpa_status_t why)
{
    side_t *s = (side_t *)(void *)((char *)endpoint - offsetof(side_t, endpoint));

    CHECK_THAT(transport == s->transport);
    s->why = why;
}

void side_disconnect(side_t *s, afpa_disconnect_t how)
{
    s->closing = how == AFPA_DISCONNECT_CLOSE;
    afpa_transport_disconnect(s->transport, &s->disconnecting, how);
}

/* ---- all kinds ---- */

struct sockaddr_in side_loopback(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

void side_turn(side_t *s)
{
    if (s->loop)
        for (unsigned i = 0; i < 3; i++)
            ck_assert_int_eq(afpa_loop_run(s->loop, 10), AFPA_OK);
    else if (s->nginx)
        side_nginx->turn(s);
}

void side_begin(side_t *s, int kind)
{
    memset(s, 0, sizeof(*s));
    s->receiving.completed = on_received;
    s->sending = (afpa_io_t){.completed = on_sent, .writable = on_writable};
    s->accepting.completed = on_accepted;
    s->disconnecting.completed = on_disconnected;
    s->endpoint.connected = on_connected_event;
    s->peer = -1;
    s->kind = kind;
    if (kind == NGINX) {
        s->port = side_nginx->listen(s);
    } else if (kind == EPOLL) {
        const struct sockaddr_in address = side_loopback(0);
        afpa_error_t error;

        s->loop = afpa_loop_create();
        ck_assert_ptr_nonnull(s->loop);
        ck_assert_int_eq(afpa_loop_listen(s->loop, (const struct sockaddr *)&address, sizeof(address), &s->endpoint, &error),
                         AFPA_OK);
        s->port = afpa_loop_port(s->loop);
    } else {
        fake_conn_begin(&s->fake, &s->endpoint);
    }
}

/* The peer connects. */
void side_dial(side_t *s)
{
    if (s->kind != FAKE) {
        const struct sockaddr_in address = side_loopback(s->port);

        s->peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(s->peer, (const struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(fcntl(s->peer, F_SETFL, O_NONBLOCK), 0);
        if (s->kind == NGINX)
            side_nginx->accept(s);
    } else {
        fake_conn_offer(&s->fake);
    }
    side_turn(s);
}

void side_end(side_t *s)
{
    if (s->transport && !s->disconnected)
        afpa_transport_disconnect(s->transport, NULL, AFPA_DISCONNECT_CLOSE);
    if (s->peer >= 0)
        close(s->peer);
    if (s->loop)
        afpa_loop_destroy(&s->loop);
    else if (s->kind == NGINX)
        side_nginx->end(s);
    else
        fake_conn_end(&s->fake);
    free(s->got);
}

void side_peer_sends(side_t *s, const char *text)
{
    if (s->kind != FAKE)
        ck_assert_int_eq(send(s->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    else
        fake_conn_arrive(&s->fake, text, strlen(text));
    side_turn(s);
}

void side_peer_ends(side_t *s, bool reset)
{
    const struct linger hard = {1, 0};

    if (s->kind == FAKE) {
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
    side_turn(s);
}

/* What has arrived at the peer: bytes, or -1 at the end. */
ssize_t side_peer_reads(side_t *s, char *to, size_t size)
{
    ssize_t n;

    if (s->kind != FAKE) {
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

void side_ask(side_t *s, void *buffer, size_t size)
{
    ck_assert_int_eq(afpa_transport_receive(s->transport, &s->receiving, buffer, size), AFPA_OK);
}

void side_have(side_t *s, const char *text)
{
    ck_assert_uint_eq(s->got_length, strlen(text));
    ck_assert_int_eq(memcmp(s->got, text, strlen(text)), 0);
}
