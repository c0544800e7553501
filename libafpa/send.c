/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 6 of 7: the send machine.  In: a held object, a range, a header.  Out: pieces offered to a transport.
 *
 * The table is send_states.def.  transit() looks a transition up and makes it; dispatch() does what entering a state means, which
 * may be the next event, until there is none.  Nothing here makes a system call: bytes go through the transport, files are read
 * by the executor's jobs.
 *
 * The transport may complete, become writable or abort from within its own send(), and an executor may run a job at once.  What
 * comes while the machine is running is noted in its fields and taken up when the action returns, so actions never nest.
 *
 * Bytes that complete before send() has said that it accepted them are settled as soon as it has.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "assert.h"
#include "clock.h"
#include "completion.h"
#include "log.h"
#include "machine.h"
#include "send.h"

typedef enum state {
#define STATE(id, text) S_##id,
#include "send_states.def"
    S_LIMIT,
    S_STAY = S_LIMIT, /* see machine.h */
    S_BUG
} state_t;

typedef enum event {
#define EVENT(id, ...) E_##id,
#include "send_states.def"
    E_LIMIT,
    E_NONE = E_LIMIT
} event_t;

static const char *const state_names[] = {
#define STATE(id, text) text,
#include "send_states.def"
};

static const char *const event_names[] = {
#define EVENT(id, text, ...) text,
#include "send_states.def"
};

static const unsigned char table[E_LIMIT][S_LIMIT] = {
#define EVENT(id, text, a, b, c, d, e, f, g, h) {S_##a, S_##b, S_##c, S_##d, S_##e, S_##f, S_##g, S_##h},
#include "send_states.def"
};

static const afpa__machine_t machine = {.name = "send",
                                        .state_names = state_names,
                                        .event_names = event_names,
                                        .table = table[0],
                                        .states = S_LIMIT,
                                        .events = E_LIMIT};

const char *afpa_send_state_name(unsigned state)
{
    return afpa__machine_state_name(&machine, state);
}

void afpa__send_print_dot(FILE *out)
{
    afpa__machine_print_dot(&machine, out);
}

/* Makes the transition.  false: nothing changes. */
static bool transit(afpa_send_t *send, event_t event)
{
    unsigned before = send->state;

    if (!afpa__machine_transit(&machine, &send->state, event))
        return false;
    if (afpa__logs(AFPA_LOG_DEBUG))
        afpa__log(AFPA_LOG_DEBUG, "send %p: %s, %s -> %s", (void *)send, event_names[event], state_names[before],
                  state_names[send->state]);
    return true;
}

/* ---- what the states do; each returns the next event ---- */

static event_t offer(afpa_send_t *send, const afpa_piece_t *piece, size_t *accepted)
{
    afpa_status_t status = afpa_transport_send(send->setup.transport, &send->io, piece, accepted);

    if (status == AFPA_OK) {
        afpa__assert(*accepted > 0 && *accepted <= piece->length);
        return E_ACCEPTED;
    }
    if (status == AFPA_AGAIN)
        return E_BLOCKED;
    send->reason = status;
    return E_BROKEN;
}

static event_t do_header(afpa_send_t *send)
{
    afpa_piece_t piece = {.data = (const char *)send->setup.header + send->header_sent,
                          .length = send->setup.header_length - send->header_sent,
                          .last = send->walk.offset == send->walk.end};
    size_t accepted = 0;
    event_t event;

    if (piece.length == 0)
        return E_HEADER_END;
    event = offer(send, &piece, &accepted);
    if (event != E_ACCEPTED)
        return event;
    send->header_sent += accepted;
    send->header_outstanding += accepted;
    return event;
}

/* Pins a chunk into a flight of its own.  NULL: it is not in memory. */
static afpa_flight_t *take_chunk(afpa_send_t *send, const afpa_step_t *step)
{
    bool reference = afpa_ref_identity(&send->setup.ref)->size >= send->setup.zerocopy;
    afpa_extent_t extent = send->overflow;

    if (extent.cache)
        send->overflow.cache = NULL;
    else if (afpa_cache_pin(&send->setup.ref, step->index, reference ? AFPA_PIN_REFERENCE : AFPA_PIN_COPY, &extent) != AFPA_OK)
        return NULL;
    send->rounds = 0;
    return afpa__flight_begin(send, &extent, step->length);
}

/* Whether the bytes of a chunk lie right behind those of another, in memory and in the segment file. */
static bool adjacent(const afpa_extent_t *a, const afpa_extent_t *b)
{
    return a->by_reference == b->by_reference && a->file_offset + a->length == b->file_offset &&
           (const char *)a->data + a->length == b->data;
}

/* What is left of the current chunk.  Those that follow are pinned ahead, and go in the same call as far as each lies right behind
 * the one before: a call for each chunk was a quarter of the time of a large file (docs/measurements.md). */
static afpa_piece_t piece_make(afpa_send_t *send, afpa_flight_t *flight, afpa_step_t step)
{
    const afpa_extent_t *extent = &flight->extent;
    afpa_walk_t ahead = send->walk;
    afpa_piece_t piece = {.data = (const char *)extent->data + step.skip,
                          .file_offset = extent->file_offset + step.skip,
                          .file = afpa_zone_fd(afpa_cache_zone(extent->cache)),
                          .by_reference = extent->by_reference};

    do {
        extent = &flight->extent;
        piece.length += step.length;
        afpa_walk_advance(&ahead, step.length);
        if (!afpa_walk_step(&ahead, &step))
            break;
        flight = afpa__flight_after(send, flight);
        if (!flight && afpa__flight_room(send))
            flight = take_chunk(send, &step);
    } while (flight && adjacent(extent, &flight->extent));
    piece.last = ahead.offset == ahead.end;
    return piece;
}

static event_t do_chunk(afpa_send_t *send)
{
    afpa_flight_t *current = afpa__flight_current(send);
    afpa_piece_t piece;
    size_t accepted = 0;
    afpa_step_t step;
    event_t event;

    if (!afpa_walk_step(&send->walk, &step))
        return E_END;
    if (!current && !afpa__flight_room(send))
        return E_FULL;
    if (!current)
        current = take_chunk(send, &step);
    if (!current) {
        send->fill_index = step.index;
        return E_EMPTY;
    }
    piece = piece_make(send, current, step);
    event = offer(send, &piece, &accepted);
    if (event != E_ACCEPTED)
        return event;
    afpa_walk_advance(&send->walk, accepted);
    afpa__flight_accept(send, accepted);
    return event;
}

/* In a worker. */
static void run_fill(afpa_job_t *job)
{
    afpa_send_t *send = (afpa_send_t *)(void *)((char *)job - offsetof(afpa_send_t, job));
    const afpa_ref_t *ref = &send->setup.ref;

    send->fill_status = AFPA_NO_SPACE;
    if (send->rounds <= AFPA_SEND_FILLS)
        send->fill_status = afpa_cache_fill(ref, send->fill_index, send->setup.window);
    if (send->fill_status == AFPA_NO_SPACE)
        send->fill_status = afpa_cache_read(ref, send->fill_index, &send->overflow);
}

static void dispatch(afpa_send_t *send, event_t event);

/* In the loop. */
static void on_fill_done(afpa_job_t *job)
{
    afpa_send_t *send = (afpa_send_t *)(void *)((char *)job - offsetof(afpa_send_t, job));

    send->filled = true;
    dispatch(send, E_NONE);
}

static event_t do_fill(afpa_send_t *send)
{
    send->rounds++;
    send->job = (afpa_job_t){.run = run_fill, .done = on_fill_done};
    send->filling = true;
    if (send->setup.executor->submit(send->setup.executor, &send->job) == AFPA_OK)
        return E_NONE;
    send->filling = false;
    send->reason = AFPA_NO_SPACE;
    return E_FILL_FAILED;
}

/* A client that does not take what it asked for shall not keep more of it in memory than it has to. */
static event_t do_wait_writable(afpa_send_t *send)
{
    send->waits_since = afpa__now_ms();
    afpa__flight_trim(send);
    return E_NONE;
}

static event_t do_wait_completion(afpa_send_t *send)
{
    send->waits_since = afpa__now_ms();
    if (send->walk.offset < send->walk.end)
        return afpa__flight_room(send) ? E_ROOM : E_NONE;
    return afpa__flight_none(send) ? E_DRAINED : E_NONE;
}

static event_t do_abort(afpa_send_t *send, event_t because)
{
    afpa__flight_stop(send);
    if (because == E_FILL_FAILED)
        send->setup.cut(send);
    return E_NONE;
}

/* What entering a state means. */
static event_t enter(afpa_send_t *send, event_t because)
{
    switch (send->state) {
    case S_HEADER:
        return do_header(send);
    case S_CHUNK:
        return do_chunk(send);
    case S_WAIT_FILL:
        return do_fill(send);
    case S_WAIT_WRITABLE:
        return do_wait_writable(send);
    case S_WAIT_COMPLETION:
        return do_wait_completion(send);
    case S_ABORTED:
        return do_abort(send, because);
    default:
        return E_NONE;
    }
}

/* ---- running ---- */

/* What arrived while an action ran. */
static event_t arrived(afpa_send_t *send)
{
    if (send->early > 0) {
        afpa__flight_complete(send, send->early);
        send->early = 0;
        return E_COMPLETED;
    }
    if (send->aborting) {
        send->aborting = false;
        return E_ABORT;
    }
    if (send->filled) {
        send->filled = send->filling = false;
        if (send->fill_status != AFPA_OK)
            send->reason = send->fill_status;
        return send->fill_status == AFPA_OK ? E_FILLED : E_FILL_FAILED;
    }
    if (send->writable && send->state == S_WAIT_WRITABLE) {
        send->writable = false;
        return E_WRITABLE;
    }
    return E_NONE;
}

/* Tells the caller, once, when nothing can happen any more. */
static void end_if_over(afpa_send_t *send)
{
    if (send->over || (send->state != S_DONE && send->state != S_ABORTED) || send->filling || !afpa__flight_none(send))
        return;
    send->over = true;
    afpa_cache_unpin(&send->overflow);
    afpa_cache_release(&send->setup.ref);
    send->setup.ended(send, send->state == S_DONE ? AFPA_SEND_DONE : AFPA_SEND_ABORTED); /* may free it */
}

static void dispatch(afpa_send_t *send, event_t event)
{
    if (send->running)
        return; /* arrived() will see it */
    send->running = true;
    for (;;) {
        event_t waiting = arrived(send);

        if (waiting != E_NONE && transit(send, waiting))
            event = enter(send, waiting);
        else if (waiting == E_NONE && event != E_NONE)
            event = transit(send, event) ? enter(send, event) : E_NONE;
        else if (waiting == E_NONE)
            break;
    }
    send->running = false;
    end_if_over(send);
}

/* ---- the transport's answers ---- */

static afpa_send_t *send_of(afpa_io_t *io)
{
    return (afpa_send_t *)(void *)((char *)io - offsetof(afpa_send_t, io));
}

static void on_writable(afpa_io_t *io)
{
    afpa_send_t *send = send_of(io);

    send->writable = true;
    dispatch(send, E_NONE);
}

/* May come from within the transport's send(), and after an abort; bytes count whatever the status is.  More of them than are
 * outstanding is a bug of the transport. */
static void on_completed(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    afpa_send_t *send = send_of(io);

    send->early += bytes;
    dispatch(send, E_NONE);
}

/* ---- the interface ---- */

void afpa_send_init(afpa_send_t *send, afpa_send_setup_t *setup)
{
    memset(send, 0, offsetof(afpa_send_t, flights)); /* flights are set when they begin */
    memset(&send->first, 0, sizeof(*send) - offsetof(afpa_send_t, first));
    send->setup = *setup;
    send->io = (afpa_io_t){.completed = on_completed, .writable = on_writable};
    setup->ref.cache = NULL;
    if (!send->setup.header)
        send->setup.header = "";
    if (send->setup.window == 0)
        send->setup.window = AFPA_SEND_WINDOW;
    afpa__assert(send->setup.window <= AFPA_SEND_WINDOW_MAX);
    afpa_walk_init(&send->walk, afpa_ref_identity(&send->setup.ref)->size,
                   afpa_zone_chunk_size(afpa_cache_zone(send->setup.ref.cache)), setup->offset, setup->bytes);
}

void afpa_send_start(afpa_send_t *send)
{
    dispatch(send, E_START);
}

void afpa_send_abort(afpa_send_t *send)
{
    send->aborting = true;
    dispatch(send, E_NONE);
}

void *afpa_send_context(const afpa_send_t *send)
{
    return send->setup.context;
}
