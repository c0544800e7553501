/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine, connections.  In: bytes.  Out: replies, or the bytes again, to the host.
 *
 * The table is conn_states.def; dispatch() does what entering a state means, which may be the next event, until there is none.
 * What happens while an action runs (completions are often inline) is noted in the record's fields and taken up when it returns,
 * so actions never nest.
 *
 * Requests are read one after the other out of what was received; replies gather in one buffer (reply.c), which is flushed when
 * there is nothing more to read, when it is full, or when there is a payload too large to be copied.  While a flush is blocked
 * nothing is received, so a client that does not read cannot make the engine hold more than one receive.
 *
 * Bytes that were received into the provider's memory are moved into memory of the connection's own if any are left when the
 * provider gets its memory back.  A request counts as answered, and its bytes as gone, when its reply is in the buffer; if its
 * payload is not, when that has been sent.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "engine.h"
#include "machine.h"
#include "reply.h"

/* The host ends, and is not held up for long by a client that keeps an idle connection open: httpd's SECONDS_TO_LINGER. */
#define END_LINGER_MS 2000u

typedef enum state {
#define STATE(id, text) S_##id,
#include "conn_states.def"
    S_LIMIT,
    S_STAY = S_LIMIT, /* see machine.h */
    S_BUG
} state_t;

typedef enum event {
#define EVENT(id, ...) E_##id,
#include "conn_states.def"
    E_LIMIT,
    E_NONE = E_LIMIT
} event_t;

static const char *const state_names[] = {
#define STATE(id, text) text,
#include "conn_states.def"
};

static const char *const event_names[] = {
#define EVENT(id, text, ...) text,
#include "conn_states.def"
};

static const unsigned char table[E_LIMIT][S_LIMIT] = {
#define EVENT(id, text, a, b, c, d, e, f, g, h) {S_##a, S_##b, S_##c, S_##d, S_##e, S_##f, S_##g, S_##h},
#include "conn_states.def"
};

static const afpa__machine_t machine = {.name = "conn",
                                        .state_names = state_names,
                                        .event_names = event_names,
                                        .table = table[0],
                                        .states = S_LIMIT,
                                        .events = E_LIMIT};

const char *afpa__conn_state_name(unsigned state)
{
    return afpa__machine_state_name(&machine, state);
}

void afpa__conn_print_dot(FILE *out)
{
    afpa__machine_print_dot(&machine, out);
}

/* ---- input ---- */

static void input_drop(afpa_conn_t *conn)
{
    free(conn->kept);
    conn->kept = NULL;
    conn->in_length = 0;
}

void afpa__conn_consume(afpa_conn_t *conn, size_t bytes)
{
    conn->in += bytes;
    conn->in_length -= bytes;
    conn->head_timed = false;
    if (conn->in_length == 0)
        input_drop(conn);
}

/* Moves what is left to memory of its own, at its beginning, with room for a whole head. */
static bool input_keep(afpa_conn_t *conn)
{
    size_t room = conn->in_length < AFPA_REQUEST_MAX ? AFPA_REQUEST_MAX : conn->in_length;

    if (conn->engine->requester == conn)
        conn->engine->requester = NULL;
    if (conn->in_length == 0)
        return true;
    if (!conn->kept) {
        conn->kept = malloc(room);
        conn->kept_room = room;
    }
    if (!conn->kept)
        return false;
    memmove(conn->kept, conn->in, conn->in_length);
    conn->in = conn->kept;
    return true;
}

/* ---- what the states do; each returns the next event ---- */

static event_t do_parse(afpa_conn_t *conn)
{
    for (;;) {
        afpa_request_result_t result = AFPA_REQUEST_INCOMPLETE;
        afpa_request_t *request = &conn->engine->request;

        conn->engine->requester = NULL;
        if (!afpa__reply_room(conn))
            return conn->out ? E_OUTPUT : E_BROKEN;
        if (conn->in_length > 0 && !conn->last)
            result = afpa_request_read(conn->in, conn->in_length, request, &conn->why);
        if (result == AFPA_REQUEST_WHOLE && afpa__reply_make(conn, request)) {
            if (conn->head == 0)
                continue;
            conn->engine->requester = conn;
            return E_OUTPUT;
        }
        if (conn->out_length > 0)
            return E_OUTPUT; /* first what came before */
        return result == AFPA_REQUEST_INCOMPLETE ? E_EMPTY : E_FOREIGN;
    }
}

/* How it ends where no request is answered any more: what the peer has sent, or sends before it has all, must not have it reset. */
static event_t end_of(afpa_conn_t *conn, event_t if_read)
{
    return conn->in_length > 0 || afpa_transport_must_linger(conn->setup.transport) ? E_LINGER : if_read;
}

static event_t after_reply(afpa_conn_t *conn, event_t goes_on)
{
    return conn->last ? end_of(conn, E_LAST) : goes_on;
}

static event_t do_flush(afpa_conn_t *conn)
{
    size_t length = afpa__reply_length(conn);

    while (conn->out_accepted < length) {
        const afpa_piece_t piece = afpa__reply_piece(conn);
        size_t accepted = 0;
        afpa_status_t status = afpa_transport_send(conn->setup.transport, &conn->sending, &piece, &accepted);

        if (status == AFPA_AGAIN)
            return E_HELD;
        if (status != AFPA_OK)
            return E_BROKEN;
        conn->out_accepted += accepted;
    }
    if (conn->out_completed < length)
        return E_HELD;
    if (conn->head > 0 && !conn->send)
        afpa__reply_end(conn, length - conn->out_length, true);
    afpa__reply_release(conn);
    return conn->send ? E_LARGE : after_reply(conn, conn->in_length > 0 ? E_FLUSHED : E_EMPTY);
}

/* The record waits without a buffer; its timer goes on if the head has begun to arrive. */
static event_t do_wait(afpa_conn_t *conn)
{
    afpa__reply_release(conn);
    if (conn->close_asked && conn->in_length == 0)
        return end_of(conn, E_CLOSE);
    if (conn->in_length == 0) {
        afpa__timer_set(conn, conn->requests > conn->setup.requests ? conn->limits.keep_alive_ms : conn->setup.first_ms);
        conn->head_timed = false;
    } else if (!conn->head_timed) {
        if (!conn->setup.head_in_first || conn->requests > conn->setup.requests) {
            afpa__timer_clear(conn); /* it may be sooner than what is set */
            afpa__timer_set(conn, conn->setup.head_ms);
        }
        conn->head_since = conn->engine->now;
        conn->head_timed = true;
    }
    return E_NONE;
}

static event_t do_payload(afpa_conn_t *conn)
{
    afpa__timer_set(conn, conn->limits.send_ms);
    afpa_send_start(conn->send);
    return E_NONE;
}

static uint32_t linger_ms(const afpa_conn_t *conn)
{
    bool idle_at_end = conn->close_asked && !conn->last;

    return idle_at_end && conn->setup.linger_ms > END_LINGER_MS ? END_LINGER_MS : conn->setup.linger_ms;
}

static event_t do_linger(afpa_conn_t *conn)
{
    input_drop(conn);
    if (!conn->disconnected) {
        conn->disconnected = true;
        afpa_transport_disconnect(conn->setup.transport, NULL, AFPA_DISCONNECT_RELEASE);
        afpa__timer_set(conn, linger_ms(conn));
    }
    return E_NONE;
}

static event_t do_closing(afpa_conn_t *conn)
{
    afpa__timer_clear(conn);
    conn->disconnected = false;
    if (conn->send)
        afpa_send_abort(conn->send);
    else if (conn->head > 0)
        afpa__reply_end(conn, conn->out_accepted > conn->out_length ? conn->out_accepted - conn->out_length : 0, false);
    afpa_transport_disconnect(conn->setup.transport, &conn->closing, AFPA_DISCONNECT_CLOSE);
    return E_NONE;
}

/* The end for the engine; the record is recycled by who entered last. */
static event_t do_gone(afpa_conn_t *conn, event_t because)
{
    char *kept = conn->kept;

    afpa__reply_release(conn);
    afpa__timer_clear(conn);
    conn->kept = NULL;
    if (!conn->setup.transport) {
        conn->engine->setup.closed(conn->setup.context);
    } else if (because == E_UNFINISHED) {
        conn->engine->setup.unfinished(conn->setup.context, conn->setup.transport, conn->in, conn->in_length, conn->head_late);
    } else {
        afpa_cache_count(conn->setup.cache, conn->why);
        conn->engine->setup.handover(conn->setup.context, conn->setup.transport, conn->in, conn->in_length, conn->why);
    }
    free(kept);
    return E_NONE;
}

static event_t enter(afpa_conn_t *conn, event_t because)
{
    switch (conn->state) {
    case S_WAIT:
        return do_wait(conn);
    case S_PARSE:
        return do_parse(conn);
    case S_FLUSH:
        return do_flush(conn);
    case S_BLOCKED:
        afpa__timer_set(conn, conn->limits.send_ms);
        return E_NONE;
    case S_PAYLOAD:
        return do_payload(conn);
    case S_LINGER:
        return do_linger(conn);
    case S_CLOSING:
        return do_closing(conn);
    default:
        return do_gone(conn, because);
    }
}

/* ---- running ---- */

/* The send machine has ended: its request is answered, or its reply is cut. */
static event_t payload_end(afpa_conn_t *conn)
{
    bool done = conn->outcome == AFPA_SEND_DONE;

    conn->ended = false;
    afpa__reply_end(conn, conn->send->walk.offset, done);
    afpa__engine_send_free(conn->engine, conn->send);
    conn->send = NULL;
    return done ? after_reply(conn, E_SENT) : E_CUT;
}

/* In the middle of a head some hosts have their own end. */
static event_t ended(afpa_conn_t *conn, event_t how)
{
    conn->head_late = how == E_TIMEOUT;
    conn->stalled = how == E_TIMEOUT && (conn->state == S_BLOCKED || conn->state == S_PAYLOAD);
    if (conn->state == S_WAIT && conn->in_length > 0 && conn->engine->setup.unfinished)
        return E_UNFINISHED;
    return conn->state == S_WAIT && conn->in_length == 0 && how != E_BROKEN ? end_of(conn, how) : how;
}

/* What happened while an action ran. */
static event_t arrived(afpa_conn_t *conn)
{
    if (conn->ended)
        return payload_end(conn);
    if (conn->completed) {
        conn->completed = false;
        return E_COMPLETED;
    }
    if (conn->writable) {
        conn->writable = false;
        return E_WRITABLE;
    }
    if (conn->timed_out) {
        conn->timed_out = false;
        return ended(conn, E_TIMEOUT);
    }
    if (conn->state == S_CLOSING && conn->disconnected && !conn->send && !conn->receiving) {
        conn->setup.transport = NULL;
        return E_CLOSED;
    }
    return E_NONE;
}

static void dispatch(afpa_conn_t *conn, event_t event)
{
    if (conn->running)
        return; /* arrived() will see it */
    conn->running = true;
    while (conn->state != S_GONE) {
        event_t waiting = event == E_NONE ? arrived(conn) : event;

        if (waiting == E_NONE)
            break;
        event = afpa__machine_transit(&machine, &conn->state, waiting) ? enter(conn, waiting) : E_NONE;
    }
    conn->running = false;
}

/* Asks for bytes as long as they come at once; a completion within the call is run by it, not deeper down. */
static void pump(afpa_conn_t *conn)
{
    if (conn->pumping || conn->running)
        return;
    conn->pumping = true;
    while ((conn->state == S_WAIT || conn->state == S_LINGER) && !conn->receiving) {
        bool kept = conn->kept != NULL && conn->state == S_WAIT;
        afpa_status_t status;

        if (kept)
            input_keep(conn); /* to the beginning of its memory */
        conn->receiving = true;
        status = afpa_transport_receive(conn->setup.transport, &conn->receive, kept ? conn->kept + conn->in_length : NULL,
                                        kept ? conn->kept_room - conn->in_length : 0);
        if (status != AFPA_OK) {
            conn->receiving = false;
            dispatch(conn, E_BROKEN);
        }
    }
    conn->pumping = false;
    if (conn->state == S_GONE)
        afpa__engine_conn_free(conn);
}

static afpa_conn_t *conn_of(afpa_io_t *io, size_t offset)
{
    return (afpa_conn_t *)(void *)((char *)io - offset);
}

static void on_received(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    afpa_conn_t *conn = conn_of(io, offsetof(afpa_conn_t, receive));

    conn->receiving = false;
    conn->engine->now = afpa_engine_now();
    if (status == AFPA_OK && !conn->kept)
        conn->in = io->data;
    if (status == AFPA_OK)
        conn->in_length += bytes;
    if (conn->state == S_CLOSING)
        dispatch(conn, E_NONE);
    else
        dispatch(conn, status == AFPA_OK ? E_BYTES : ended(conn, status == AFPA_CLOSED ? E_EOF : E_BROKEN));
    if (conn->state < S_LINGER && !conn->kept && !input_keep(conn))
        dispatch(conn, E_BROKEN);
    pump(conn);
}

static void on_sent(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    afpa_conn_t *conn = conn_of(io, offsetof(afpa_conn_t, sending));

    conn->out_completed += bytes;
    if (conn->running)
        return; /* within the flush, which looks */
    conn->completed = conn->out_completed == afpa__reply_length(conn);
    dispatch(conn, E_NONE);
    pump(conn);
}

static void on_writable(afpa_io_t *io)
{
    afpa_conn_t *conn = conn_of(io, offsetof(afpa_conn_t, sending));

    conn->engine->now = afpa_engine_now();
    conn->writable = true;
    dispatch(conn, E_NONE);
    pump(conn);
}

static void on_closed(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    afpa_conn_t *conn = conn_of(io, offsetof(afpa_conn_t, closing));

    conn->disconnected = true;
    dispatch(conn, E_NONE);
    pump(conn);
}

void afpa__conn_send_cut(afpa_send_t *send)
{
    afpa_conn_t *conn = afpa_send_context(send);

    afpa_transport_disconnect(conn->setup.transport, NULL, AFPA_DISCONNECT_RELEASE);
}

void afpa__conn_send_ended(afpa_send_t *send, afpa_send_outcome_t outcome)
{
    afpa_conn_t *conn = afpa_send_context(send);

    conn->ended = true;
    conn->outcome = outcome;
    dispatch(conn, E_NONE);
    pump(conn);
}

/* ---- the interface ---- */

/* A payload's timer is not moved with every piece: what is left of its time since the last one is found out when it fires.  While a
 * chunk is being read it is not the peer that is waited for. */
static bool payload_has_time(afpa_conn_t *conn)
{
    uint64_t since = conn->send->filling ? conn->engine->now : conn->send->waits_since;
    uint64_t end = since + conn->limits.send_ms;

    if (end <= conn->engine->now)
        return false;
    afpa__timer_set(conn, (uint32_t)(end - conn->engine->now));
    return true;
}

/* Nor is a head's with the bytes that arrive. */
static bool head_has_time(afpa_conn_t *conn)
{
    const afpa_conn_setup_t *setup = &conn->setup;
    uint64_t ms, end;

    if (conn->in_length == 0 || setup->head_rate == 0)
        return false;
    ms = setup->head_ms + conn->in_length * 1000 / setup->head_rate;
    end = conn->head_since + (setup->head_most_ms > 0 && ms > setup->head_most_ms ? setup->head_most_ms : ms);
    if (end <= conn->engine->now)
        return false;
    afpa__timer_set(conn, (uint32_t)(end - conn->engine->now));
    return true;
}

void afpa__conn_timeout(afpa_conn_t *conn)
{
    if (conn->state == S_PAYLOAD && payload_has_time(conn))
        return;
    if (conn->state == S_WAIT && head_has_time(conn))
        return;
    conn->timed_out = true;
    dispatch(conn, E_NONE);
    pump(conn);
}

afpa_conn_t *afpa_conn_start(afpa_engine_t *engine, const afpa_conn_setup_t *setup)
{
    afpa_conn_t *conn = afpa__engine_conn(engine);

    if (!conn)
        return NULL;
    engine->now = afpa_engine_now();
    conn->setup = *setup;
    conn->requests = setup->requests;
    conn->receive.completed = on_received;
    conn->sending = (afpa_io_t){.completed = on_sent, .writable = on_writable};
    conn->closing.completed = on_closed;
    conn->state = S_WAIT;
    do_wait(conn);
    if (setup->length > 0) {
        conn->in = setup->bytes;
        conn->in_length = setup->length;
        dispatch(conn, input_keep(conn) ? E_BYTES : E_BROKEN);
    }
    pump(conn);
    return conn;
}

bool afpa_conn_idle(const afpa_conn_t *conn)
{
    return conn->state == S_WAIT && conn->in_length == 0;
}

bool afpa_conn_stalled(const afpa_conn_t *conn)
{
    return conn->stalled;
}

void afpa_conn_finish(afpa_conn_t *conn)
{
    conn->close_asked = true;
}

void afpa_conn_close(afpa_conn_t *conn)
{
    afpa_conn_finish(conn);
    if (afpa_conn_idle(conn)) {
        dispatch(conn, end_of(conn, E_CLOSE));
        pump(conn);
    }
}

void afpa_conn_abort(afpa_conn_t *conn)
{
    dispatch(conn, E_BROKEN);
    pump(conn);
}
