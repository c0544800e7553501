/* SPDX-License-Identifier: Apache-2.0
 *
 * Replies of a connection, for conn.c: see reply.c.
 */
#ifndef AFPA_REPLY_H
#define AFPA_REPLY_H

#include "engine.h"

/* Whether one more reply fits; conn->out NULL: out of memory. */
bool afpa__reply_room(afpa_conn_t *conn);

/* Appends the reply to a request.  conn->head 0: all of it is in the buffer, and the request is consumed; else the flush goes
 * first, and afpa__reply_end() ends it.  false: the request is the host's, conn->why says for what. */
bool afpa__reply_make(afpa_conn_t *conn, const afpa_request_t *request);

/* All that a flush has to send. */
static inline size_t afpa__reply_length(const afpa_conn_t *conn)
{
    const afpa_extent_t *payload = &conn->out->payload;

    return conn->out_length + (payload->cache ? payload->length : 0);
}

/* What comes next of it. */
static inline afpa_piece_t afpa__reply_piece(const afpa_conn_t *conn)
{
    const afpa_extent_t *payload = &conn->out->payload;
    size_t at = conn->out_accepted;

    if (at < conn->out_length)
        return (afpa_piece_t){.data = conn->out->bytes + at, .length = conn->out_length - at, .last = conn->head == 0};
    at -= conn->out_length;
    return (afpa_piece_t){.data = (const char *)payload->data + at,
                          .length = payload->length - at,
                          .file_offset = payload->file_offset + at,
                          .file = afpa_zone_fd(afpa_cache_zone(payload->cache)),
                          .by_reference = payload->by_reference,
                          .last = true};
}

/* The reply of conn->head is sent, or is cut after `body` bytes of its payload: tells the host, and consumes the request. */
void afpa__reply_end(afpa_conn_t *conn, uint64_t body, bool done);

/* Gives up the buffer and what it holds. */
void afpa__reply_release(afpa_conn_t *conn);

#endif
