/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection engine: requests in, replies from response entries out, everything else to the host.
 *
 * One engine per event loop; all calls, and the loop's transports, belong to that loop's thread.  A connection is given to the
 * engine when its next byte will begin a request, and stays until it is closed, or until a request comes that the engine cannot
 * answer: then the host gets it back with exactly the bytes that were not answered.  The host may give it again after that request.
 * Hits whose requests arrive together cost one receive and one send between them, as far as their replies fit in one buffer.
 */
#ifndef AFPA_ENGINE_H
#define AFPA_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/cache.h>
#include <afpa/executor.h>
#include <afpa/request.h>
#include <afpa/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct afpa_engine afpa_engine_t;
typedef struct afpa_conn afpa_conn_t;

/* One reply, for the host's log.  Valid during the call. */
typedef struct afpa_reply {
    const afpa_request_t *request;
    uint32_t tag;    /* of the response: see afpa_response_terms_t */
    unsigned status; /* 200, 304 */
    uint64_t body;   /* bytes of payload that were sent; one that is copied behind its header counts as sent at once */
    uint64_t header; /* length of the header block */
    bool cut;        /* the connection ended before all of it was sent */
} afpa_reply_t;

typedef struct afpa_engine_setup {
    afpa_executor_t *executor; /* checks files, reads chunks; its `done` runs in the loop */
    uint64_t zerocopy;         /* payload of so many bytes and more is sent by reference; UINT64_MAX: none is */
    unsigned connections;      /* at most so many at once */
    /* The request is the host's, for the reason `why` (counted already).  The engine has forgotten the connection; no request of
     * its transport is under way.  `bytes` are what was read and not answered, at least one; the host copies them. */
    void (*handover)(void *context, afpa_transport_t *transport, const char *bytes, size_t length, afpa_counter_t why);
    /* The head of a request did not arrive whole: its time is over, or the peer ended the connection; the host is to do with it as
     * it does with its own.  As handover(), but nothing is counted, and after `timed_out` a receive is still under way, which the
     * transport has to forget without a completion.  NULL: such connections are closed. */
    void (*unfinished)(void *context, afpa_transport_t *transport, const char *bytes, size_t length, bool timed_out);
    /* The connection is closed, its transport gone; the engine has forgotten it. */
    void (*closed)(void *context);
    /* A reply was sent, or cut.  In the order of the requests.  May be NULL. */
    void (*replied)(void *context, const afpa_reply_t *reply);
} afpa_engine_setup_t;

/* NULL: out of memory. */
afpa_engine_t *afpa_engine_create(const afpa_engine_setup_t *setup);

/* Ends it; every connection must be gone.  *engine may be NULL; it is set to NULL. */
void afpa_engine_destroy(afpa_engine_t **engine);

/* Lets timers fire.  The loop calls it at least every AFPA_ENGINE_TICK_MS while afpa_engine_conns() is not 0. */
#define AFPA_ENGINE_TICK_MS 256
void afpa_engine_tick(afpa_engine_t *engine);

/* Connections that the engine has now. */
unsigned afpa_engine_conns(const afpa_engine_t *engine);

typedef struct afpa_conn_setup {
    afpa_transport_t *transport; /* accepted or connected, nothing under way */
    void *context;               /* for the host's routines */
    afpa_cache_t *cache;         /* NULL: everything is the host's */
    uint64_t server;             /* see afpa_response_terms_t */
    uint64_t accepted_ms;        /* when it was accepted, by afpa_engine_now(); for afpa_limits_t.lifetime_ms */
    uint32_t first_ms;           /* time until the first byte of the next request */
    uint32_t head_ms;            /* time from there until the last byte of its head */
    uint32_t head_rate;          /* a second more for so many bytes of the head; 0: none; not with head_in_first */
    uint32_t head_most_ms;       /* as much time it has then at most; 0: no bound */
    bool head_in_first;          /* first_ms is for all of the next request's head; head_ms for those after it */
    uint32_t linger_ms;          /* what the peer still sends after the last reply is read and thrown away for so long */
    uint32_t requests;           /* answered on this connection before; for afpa_limits_t.requests */
    const char *bytes;           /* `length` bytes that were read already and not answered; copied; NULL with length 0 */
    size_t length;
} afpa_conn_setup_t;

/* Takes the connection.  NULL: the engine has as many as it may, or there is no memory; the connection stays the host's.
 * May call handover(), unfinished() or closed() before it returns: then the result is not NULL, and must not be used. */
afpa_conn_t *afpa_conn_start(afpa_engine_t *engine, const afpa_conn_setup_t *setup);

/* Ends the connection: at once if it waits for a request, after the reply under way otherwise; then closed() is called. */
void afpa_conn_close(afpa_conn_t *conn);

/* Ends the connection now, a reply under way is cut; then closed() is called.  Not from within a callback of the engine. */
void afpa_conn_abort(afpa_conn_t *conn);

/* The next reply is its last; until then it waits as ever.  For a connection without any request yet, when the host is to stop. */
void afpa_conn_finish(afpa_conn_t *conn);

/* Whether it ended because the peer took nothing for as long as the limits allow.  May be asked in closed(). */
bool afpa_conn_stalled(const afpa_conn_t *conn);

/* Whether it waits for the first byte of a request: it can be closed and nothing is lost. */
bool afpa_conn_idle(const afpa_conn_t *conn);

/* Milliseconds, monotonic and coarse (a tick of the kernel, 1 to 10 ms): what every time here is measured by. */
uint64_t afpa_engine_now(void);

#ifdef __cplusplus
}
#endif
#endif
