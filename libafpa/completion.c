/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 7 of 7: completion.  In: counts of bytes accepted, later completed.  Out: pins given back.
 *
 * A ring of flights, one per pinned chunk, in the order of sending: first those wholly accepted, then the current one, then those
 * pinned ahead of it.  A flight ends, and its pin goes, when all that is wanted of the chunk was accepted *and* all that was
 * accepted has completed.  The header goes before all of them and has a count of its own.  Completions carry only a number of
 * bytes: transports complete in order.
 */
#include "config.h"

#include "assert.h"
#include "completion.h"

static afpa_flight_t *flight(afpa_send_t *send, unsigned index)
{
    return &send->flights[(send->first + index) % AFPA_SEND_WINDOW_MAX];
}

bool afpa__flight_room(const afpa_send_t *send)
{
    return send->flying < send->setup.window;
}

afpa_flight_t *afpa__flight_current(afpa_send_t *send)
{
    for (unsigned i = 0; i < send->flying; i++)
        if (flight(send, i)->wanted > 0)
            return flight(send, i);
    return NULL;
}

afpa_flight_t *afpa__flight_after(afpa_send_t *send, const afpa_flight_t *before)
{
    unsigned index = (unsigned)(before - send->flights + AFPA_SEND_WINDOW_MAX - send->first) % AFPA_SEND_WINDOW_MAX + 1;

    return index < send->flying ? flight(send, index) : NULL;
}

afpa_flight_t *afpa__flight_begin(afpa_send_t *send, afpa_extent_t *extent, size_t wanted)
{
    afpa_flight_t *begun = flight(send, send->flying);

    afpa__assert(afpa__flight_room(send) && wanted > 0);
    send->flying++;
    *begun = (afpa_flight_t){.extent = *extent, .wanted = wanted};
    extent->cache = NULL;
    return begun;
}

static void retire_finished(afpa_send_t *send)
{
    while (send->flying > 0 && flight(send, 0)->wanted == 0 && flight(send, 0)->outstanding == 0) {
        afpa_cache_unpin(&flight(send, 0)->extent);
        send->first = (send->first + 1) % AFPA_SEND_WINDOW_MAX;
        send->flying--;
    }
}

void afpa__flight_accept(afpa_send_t *send, size_t bytes)
{
    for (unsigned i = 0; i < send->flying && bytes > 0; i++) {
        afpa_flight_t *f = flight(send, i);
        size_t part = bytes < f->wanted ? bytes : f->wanted;

        f->wanted -= part;
        f->outstanding += part;
        bytes -= part;
    }
    afpa__assert(bytes == 0); /* the transport took more than it was offered */
    retire_finished(send);
}

void afpa__flight_trim(afpa_send_t *send)
{
    const afpa_flight_t *current = afpa__flight_current(send);

    while (current && flight(send, send->flying - 1) != current) {
        send->flying--;
        afpa_cache_unpin(&flight(send, send->flying)->extent);
    }
}

void afpa__flight_stop(afpa_send_t *send)
{
    afpa_flight_t *current = afpa__flight_current(send);

    afpa__flight_trim(send);
    if (current)
        current->wanted = 0;
    retire_finished(send);
}

void afpa__flight_complete(afpa_send_t *send, size_t bytes)
{
    size_t part = bytes < send->header_outstanding ? bytes : send->header_outstanding;

    send->header_outstanding -= part;
    bytes -= part;
    for (unsigned i = 0; i < send->flying && bytes > 0; i++) {
        afpa_flight_t *f = flight(send, i);

        part = bytes < f->outstanding ? bytes : f->outstanding;
        f->outstanding -= part;
        bytes -= part;
    }
    afpa__assert(bytes == 0); /* the transport completed what it never accepted */
    retire_finished(send);
}

bool afpa__flight_none(const afpa_send_t *send)
{
    return send->header_outstanding == 0 && send->flying == 0;
}
