/* SPDX-License-Identifier: Apache-2.0
 *
 * Accepted against completed: see completion.c.
 */
#ifndef AFPA_COMPLETION_H
#define AFPA_COMPLETION_H

#include <stdbool.h>
#include <stddef.h>

#include <afpa/send.h>

/* Whether another chunk may be pinned. */
bool afpa__flight_room(const afpa_send_t *send);

/* The oldest that was not wholly accepted yet: what is offered next begins in it.  NULL: there is none. */
afpa_flight_t *afpa__flight_current(afpa_send_t *send);

/* The one begun after it; NULL: there is none. */
afpa_flight_t *afpa__flight_after(afpa_send_t *send, const afpa_flight_t *flight);

/* Begins a flight with a pinned chunk, which it takes over; `wanted` bytes of it will be offered. */
afpa_flight_t *afpa__flight_begin(afpa_send_t *send, afpa_extent_t *extent, size_t wanted);

/* The transport took `bytes`: of the current chunk, then of those that follow. */
void afpa__flight_accept(afpa_send_t *send, size_t bytes);

/* Gives back the chunks behind the current one: they were pinned ahead, and nothing of them can be offered for now. */
void afpa__flight_trim(afpa_send_t *send);

/* No more of any chunk will be offered. */
void afpa__flight_stop(afpa_send_t *send);

/* `bytes` are out of the transport's hands, the oldest first; gives back the pins of chunks that are wholly so. */
void afpa__flight_complete(afpa_send_t *send, size_t bytes);

/* Whether the transport holds nothing of this reply any more. */
bool afpa__flight_none(const afpa_send_t *send);

#endif
