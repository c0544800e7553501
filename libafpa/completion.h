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

/* The chunk that is being offered, not wholly accepted yet; NULL: none. */
afpa_flight_t *afpa__flight_current(afpa_send_t *send);

/* Begins a flight with a pinned chunk, which it takes over. */
void afpa__flight_begin(afpa_send_t *send, afpa_extent_t *extent);

/* The transport took `bytes` of the current chunk; `whole`: no more of it is wanted. */
void afpa__flight_accept(afpa_send_t *send, size_t bytes, bool whole);

/* No more of the current chunk will be offered. */
void afpa__flight_stop(afpa_send_t *send);

/* `bytes` are out of the transport's hands, the oldest first; gives back the pins of chunks that are wholly so. */
void afpa__flight_complete(afpa_send_t *send, size_t bytes);

/* Whether the transport holds nothing of this reply any more. */
bool afpa__flight_none(const afpa_send_t *send);

#endif
