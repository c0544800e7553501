/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 6 of 7, replies: from a request to what is to be sent.  In: a request of a connection.  Out: header and payload in the
 * connection's buffer, or behind it.
 *
 * Where the payload lies:
 *   copied       up to AFPA__COPY_MAX: behind its header in the buffer, so that one send has many replies; its pin is given back at
 *                once, its request is answered.
 *   one chunk    pinned, sent from where it lies right after the buffer; pin and request are held until all of it has completed.
 *   more chunks  a send machine has it, which starts after the buffer was sent; request likewise.
 * Nothing is put behind the latter two before they have ended.
 */
#include "config.h"

#include <string.h>

#include "assert.h"
#include "reply.h"

static void tell(afpa_conn_t *conn, const afpa_request_t *request, unsigned status, uint64_t header, uint64_t body, bool cut)
{
    const afpa_reply_t reply = {.request = request, .tag = conn->tag, .status = status, .header = header, .body = body, .cut = cut};

    if (conn->engine->setup.replied)
        conn->engine->setup.replied(conn->setup.context, &reply);
}

/* Puts the one chunk of the payload behind the bytes of the buffer.  It is held, so pinning it again cannot fail. */
static void payload_append(afpa_conn_t *conn, const afpa_response_t *response, uint64_t size)
{
    afpa_pin_mode_t mode = size >= conn->engine->setup.zerocopy ? AFPA_PIN_REFERENCE : AFPA_PIN_COPY;
    afpa_status_t status = afpa_cache_pin(&response->file, 0, mode, &conn->out->payload);

    afpa__assert(status == AFPA_OK);
}

/* Hands the payload to a send machine, which starts after the flush. */
static bool payload_to_machine(afpa_conn_t *conn, afpa_response_t *response, uint64_t size)
{
    afpa_send_setup_t setup = {.ref = response->file,
                               .bytes = size,
                               .zerocopy = conn->engine->setup.zerocopy,
                               .transport = conn->setup.transport,
                               .executor = conn->engine->setup.executor,
                               .cut = afpa__conn_send_cut,
                               .ended = afpa__conn_send_ended,
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

static bool payload_prepare(afpa_conn_t *conn, afpa_response_t *response, uint64_t size)
{
    if (afpa_ref_entries(&response->file) > 1)
        return payload_to_machine(conn, response, size);
    payload_append(conn, response, size);
    return true;
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
    if (size > AFPA__COPY_MAX) {
        conn->head = request->length;
        conn->header = header;
        return true;
    }
    if (size > 0) {
        uint32_t length;

        memcpy(out + header, afpa_response_payload(response, &length), size);
        conn->out_length += size;
    }
    tell(conn, request, not_modified ? 304 : 200, header, size, false);
    afpa__conn_consume(conn, request->length);
    return true;
}

bool afpa__reply_make(afpa_conn_t *conn, const afpa_request_t *request)
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

void afpa__reply_end(afpa_conn_t *conn, uint64_t body, bool done)
{
    afpa_request_t *request = &conn->engine->request;
    afpa_counter_t why;

    if (conn->engine->requester == conn || afpa_request_read(conn->in, conn->in_length, request, &why) == AFPA_REQUEST_WHOLE)
        tell(conn, request, 200, conn->header, body, !done);
    if (!done)
        afpa_cache_count(conn->setup.cache, AFPA_COUNTER_CUT);
    conn->engine->requester = NULL;
    afpa__conn_consume(conn, conn->head);
    conn->head = 0;
}

/* ---- the buffer ---- */

bool afpa__reply_room(afpa_conn_t *conn)
{
    if (!conn->out) {
        conn->out = afpa__engine_out(conn->engine);
        conn->out_length = conn->out_accepted = conn->out_completed = 0;
    }
    return conn->out && AFPA__OUT_SIZE - conn->out_length >= AFPA_RESPONSE_PRINT_MAX + AFPA__COPY_MAX;
}

void afpa__reply_release(afpa_conn_t *conn)
{
    if (conn->out) {
        if (conn->out->payload.cache)
            afpa_cache_unpin(&conn->out->payload);
        afpa__engine_out_free(conn->engine, conn->out);
    }
    conn->out = NULL;
    conn->out_length = conn->out_accepted = conn->out_completed = 0;
}
