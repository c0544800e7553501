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

/* All that a flush has to send, and what comes next of it. */
size_t afpa__reply_length(const afpa_conn_t *conn);
afpa_piece_t afpa__reply_piece(const afpa_conn_t *conn);

/* The reply of conn->head is sent, or is cut after `body` bytes of its payload: tells the host, and consumes the request. */
void afpa__reply_end(afpa_conn_t *conn, uint64_t body, bool done);

/* Gives up the buffer and what it holds. */
void afpa__reply_release(afpa_conn_t *conn);

#endif
