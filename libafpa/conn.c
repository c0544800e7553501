/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection of the engine.  In: bytes.  Out: replies, or the bytes again, to the host.
 *
 * The table is conn_states.def; dispatch() does what entering a state means, which may be the next event, until there is none.
 * What happens while an action runs (completions are often inline) is noted in the record's fields and taken up when it returns,
 * so actions never nest.
 *
 * Requests are read one after the other out of what was received; replies gather in one buffer, which is flushed when there is
 * nothing more to read, when it is full, or before a payload that the send machine has.  While a flush is blocked nothing is
 * received, so a client that does not read cannot make the engine hold more than one receive.
 *
 * Bytes that were received into the provider's memory are moved into memory of the connection's own if any are left when the
 * provider gets its memory back.  A request counts as answered, and its bytes as gone, when its reply is in the buffer; if the
 * send machine has its payload, when that has ended.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "engine.h"
#include "machine.h"

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

static void input_consume(afpa_conn_t *conn, size_t bytes)
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

/* ---- replies ---- */

static bool out_room(afpa_conn_t *conn)
{
    if (!conn->out) {
        conn->out = afpa__engine_out(conn->engine);
        conn->out_length = conn->out_accepted = conn->out_completed = 0;
    }
    return conn->out && AFPA__OUT_SIZE - conn->out_length >= AFPA_RESPONSE_PRINT_MAX + AFPA__COPY_MAX;
}

static void tell(afpa_conn_t *conn, const afpa_request_t *request, unsigned status, uint64_t header, uint64_t body, bool cut)
{
    const afpa_reply_t reply = {.request = request, .tag = conn->tag, .status = status, .header = header, .body = body, .cut = cut};

    if (conn->engine->setup.replied)
        conn->engine->setup.replied(conn->setup.context, &reply);
}

static void on_send_cut(afpa_send_t *send);
static void on_send_ended(afpa_send_t *send, afpa_send_outcome_t outcome);

/* Hands the payload to a send machine, which starts after the flush. */
static bool payload_prepare(afpa_conn_t *conn, afpa_response_t *response, uint64_t size)
{
    afpa_send_setup_t setup = {.ref = response->file,
                               .bytes = size,
                               .zerocopy = conn->engine->setup.zerocopy,
                               .transport = conn->setup.transport,
                               .executor = conn->engine->setup.executor,
                               .cut = on_send_cut,
                               .ended = on_send_ended,
                               .context = conn};

    conn->send = afpa__engine_send(conn->engine);
    if (!conn->send)
        return false;
    afpa_send_init(conn->send, &setup);
    response->file.cache = NULL; /* the machine's now */
    return true;
}

/* Whether the connection lives on after the reply to this request. */
static bool stays(afpa_conn_t *conn, const afpa_request_t *request)
{
    const afpa_limits_t *limits = &conn->limits;

    conn->requests++;
    return request->keep_alive && !conn->close_asked && limits->keep_alive_ms > 0 && conn->requests < limits->requests &&
           (int64_t)(conn->engine->now - conn->setup.accepted_ms) < (int64_t)limits->lifetime_ms; /* clocks may differ by a tick */
}

/* Appends header and, if it is small, payload; the response is held. */
static bool reply(afpa_conn_t *conn, const afpa_request_t *request, afpa_response_t *response, bool not_modified)
{
    uint64_t size = request->head || not_modified ? 0 : afpa_ref_identity(&response->file)->size;
    char *out = conn->out->bytes + conn->out_length;
    size_t header;

    if (size > AFPA__COPY_MAX && !payload_prepare(conn, response, size))
        return false;
    conn->limits = *afpa_response_limits(response);
    conn->tag = afpa_response_tag(response);
    conn->last = !stays(conn, request);
    header = afpa_response_print(response, not_modified,
                                 (afpa_persistence_t){.keep_alive = !conn->last,
                                                      .asked = request->keep_alive_token,
                                                      .left = conn->limits.requests - conn->requests},
                                 afpa__engine_date(conn->engine), out);
    conn->out_length += header;
    afpa_cache_count(conn->setup.cache, AFPA_COUNTER_FAST_HITS);
    if (conn->send) {
        conn->head = request->length;
        conn->progress = 0;
        return true;
    }
    if (size > 0) {
        uint32_t length;

        memcpy(out + header, afpa_response_payload(response, &length), size);
        conn->out_length += size;
    }
    tell(conn, request, not_modified ? 304 : 200, header, size, false);
    input_consume(conn, request->length);
    return true;
}

/* Answers one request.  false: it is the host's, conn->why says for what. */
static bool answer(afpa_conn_t *conn, const afpa_request_t *request)
{
    afpa_condition_t condition = AFPA_CONDITION_NONE;
    afpa_response_t response;
    afpa_status_t status = afpa_response_lookup(conn->setup.cache, conn->setup.server, request, &response);
    bool answered = false;

    if (status != AFPA_OK && status != AFPA_CHECK_DUE) {
        conn->why = status == AFPA_STALE      ? AFPA_DECLINE_STALE
                    : status == AFPA_DISABLED ? AFPA_DECLINE_DISABLED
                                              : AFPA_DECLINE_NO_RESPONSE;
        return false;
    }
    if (status == AFPA_CHECK_DUE)
        afpa_response_check_later(&response, conn->engine->setup.executor);
    if (request->if_none_match.at || request->if_modified_since.at) {
        const afpa_validators_t validators = afpa_response_validators(&response);

        condition = afpa_http_condition(request, &validators);
    }
    conn->why = condition == AFPA_CONDITION_UNCLEAR ? AFPA_DECLINE_CONDITION : AFPA_DECLINE_NO_SPACE;
    if (condition != AFPA_CONDITION_UNCLEAR)
        answered = reply(conn, request, &response, condition == AFPA_CONDITION_NOT_MODIFIED);
    afpa_response_release(&response);
    return answered;
}

/* ---- what the states do; each returns the next event ---- */

static event_t do_parse(afpa_conn_t *conn)
{
    for (;;) {
        afpa_request_result_t result = AFPA_REQUEST_INCOMPLETE;
        afpa_request_t *request = &conn->engine->request;

        conn->engine->requester = NULL;
        if (!out_room(conn))
            return conn->out ? E_OUTPUT : E_BROKEN;
        if (conn->in_length > 0 && !conn->last)
            result = afpa_request_read(conn->in, conn->in_length, request, &conn->why);
        if (result == AFPA_REQUEST_WHOLE && answer(conn, request)) {
            if (!conn->send)
                continue;
            conn->engine->requester = conn;
            return E_OUTPUT;
        }
        if (conn->out_length > 0)
            return E_OUTPUT; /* first what came before */
        return result == AFPA_REQUEST_INCOMPLETE ? E_EMPTY : E_FOREIGN;
    }
}

static event_t after_reply(afpa_conn_t *conn, event_t goes_on)
{
    if (!conn->last)
        return goes_on;
    return conn->in_length > 0 ? E_UNREAD : E_LAST;
}

static void out_release(afpa_conn_t *conn)
{
    if (conn->out)
        afpa__engine_out_free(conn->engine, conn->out);
    conn->out = NULL;
    conn->out_length = conn->out_accepted = conn->out_completed = 0;
}

static event_t do_flush(afpa_conn_t *conn)
{
    while (conn->out_accepted < conn->out_length) {
        const afpa_piece_t piece = {
            .data = conn->out->bytes + conn->out_accepted, .length = conn->out_length - conn->out_accepted, .last = !conn->send};
        size_t accepted = 0;
        afpa_status_t status = afpa_transport_send(conn->setup.transport, &conn->sending, &piece, &accepted);

        if (status == AFPA_AGAIN)
            return E_HELD;
        if (status != AFPA_OK)
            return E_BROKEN;
        conn->out_accepted += accepted;
    }
    if (conn->out_completed < conn->out_length)
        return E_HELD;
    out_release(conn);
    return conn->send ? E_LARGE : after_reply(conn, conn->in_length > 0 ? E_FLUSHED : E_EMPTY);
}

/* The record waits without a buffer; its timer goes on if the head has begun to arrive. */
static event_t do_wait(afpa_conn_t *conn)
{
    out_release(conn);
    if (conn->close_asked && conn->in_length == 0)
        return E_CLOSE;
    if (conn->in_length == 0) {
        afpa__timer_set(conn, conn->requests > conn->setup.requests ? conn->limits.keep_alive_ms : conn->setup.first_ms);
        conn->head_timed = false;
    } else if (!conn->head_timed) {
        afpa__timer_clear(conn); /* it may be sooner than what is set */
        afpa__timer_set(conn, conn->setup.head_ms);
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

static event_t do_linger(afpa_conn_t *conn)
{
    input_drop(conn);
    if (!conn->disconnected) {
        conn->disconnected = true;
        afpa_transport_disconnect(conn->setup.transport, NULL, AFPA_DISCONNECT_RELEASE);
        afpa__timer_set(conn, conn->setup.linger_ms);
    }
    return E_NONE;
}

static event_t do_closing(afpa_conn_t *conn)
{
    afpa__timer_clear(conn);
    conn->disconnected = false;
    if (conn->send)
        afpa_send_abort(conn->send);
    afpa_transport_disconnect(conn->setup.transport, &conn->closing, AFPA_DISCONNECT_CLOSE);
    return E_NONE;
}

/* The end for the engine; the record is recycled by who entered last. */
static event_t do_gone(afpa_conn_t *conn)
{
    char *kept = conn->kept;

    out_release(conn);
    afpa__timer_clear(conn);
    conn->kept = NULL;
    if (!conn->setup.transport) {
        conn->engine->setup.closed(conn->setup.context);
    } else {
        afpa_cache_count(conn->setup.cache, conn->why);
        conn->engine->setup.handover(conn->setup.context, conn->setup.transport, conn->in, conn->in_length, conn->why);
    }
    free(kept);
    return E_NONE;
}

static event_t enter(afpa_conn_t *conn)
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
        return do_gone(conn);
    }
}

/* ---- running ---- */

/* The send machine has ended: its request is answered, or its reply is cut. */
static event_t payload_end(afpa_conn_t *conn)
{
    bool done = conn->outcome == AFPA_SEND_DONE;
    afpa_request_t *request = &conn->engine->request;
    afpa_counter_t why;

    conn->ended = false;
    if (conn->engine->requester == conn || afpa_request_read(conn->in, conn->in_length, request, &why) == AFPA_REQUEST_WHOLE)
        tell(conn, request, 200, 0, conn->send->walk.offset, !done);
    if (!done)
        afpa_cache_count(conn->setup.cache, AFPA_COUNTER_CUT);
    conn->engine->requester = NULL;
    afpa__engine_send_free(conn->engine, conn->send);
    conn->send = NULL;
    input_consume(conn, conn->head);
    return done ? after_reply(conn, E_SENT) : E_CUT;
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
        return E_TIMEOUT;
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
        event = afpa__machine_transit(&machine, &conn->state, waiting) ? enter(conn) : E_NONE;
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
        dispatch(conn, status == AFPA_OK ? E_BYTES : status == AFPA_CLOSED ? E_EOF : E_BROKEN);
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
    conn->completed = conn->out_completed == conn->out_length;
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

static void on_send_cut(afpa_send_t *send)
{
    afpa_conn_t *conn = afpa_send_context(send);

    afpa_transport_disconnect(conn->setup.transport, NULL, AFPA_DISCONNECT_RELEASE);
}

static void on_send_ended(afpa_send_t *send, afpa_send_outcome_t outcome)
{
    afpa_conn_t *conn = afpa_send_context(send);

    conn->ended = true;
    conn->outcome = outcome;
    dispatch(conn, E_NONE);
    pump(conn);
}

/* ---- the interface ---- */

/* A payload that made progress since the timer was set has its time anew. */
void afpa__conn_timeout(afpa_conn_t *conn)
{
    if (conn->state == S_PAYLOAD && conn->send->walk.offset != conn->progress) {
        conn->progress = conn->send->walk.offset;
        afpa__timer_set(conn, conn->limits.send_ms);
        return;
    }
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

void afpa_conn_finish(afpa_conn_t *conn)
{
    conn->close_asked = true;
}

void afpa_conn_close(afpa_conn_t *conn)
{
    afpa_conn_finish(conn);
    if (afpa_conn_idle(conn)) {
        dispatch(conn, E_CLOSE);
        pump(conn);
    }
}
