/* SPDX-License-Identifier: Apache-2.0
 *
 * What the connections of one engine share: records, buffers, timers, the date.  See engine.c.
 */
#ifndef AFPA_ENGINE_PRIVATE_H
#define AFPA_ENGINE_PRIVATE_H

#include <stdio.h>

#include <afpa/engine.h>
#include <afpa/http.h>
#include <afpa/response.h>
#include <afpa/send.h>

/* Payload up to here is copied behind its header, and its pin given back before anything is sent.  Copying that much costs about
 * as much as a system call more and pages by reference do (docs/measurements.md). */
#define AFPA__COPY_MAX 32767u
/* Replies of one flush. */
#define AFPA__OUT_SIZE 65536u

typedef struct afpa__out {
    struct afpa__out *next;
    afpa_extent_t payload; /* sent behind the bytes; holds nothing: there is none */
    char bytes[AFPA__OUT_SIZE];
} afpa__out_t;

/* In its engine's wheel, while it has a deadline. */
typedef struct afpa__timer {
    afpa_conn_t *previous, *next;
    uint64_t deadline; /* ms; 0: none */
    uint32_t slot;     /* of the wheel; AFPA__WHEEL: in none */
} afpa__timer_t;

#define AFPA__WHEEL 256u

struct afpa_conn {
    afpa_engine_t *engine;
    afpa_conn_setup_t setup;
    unsigned state;
    afpa_io_t receive, sending, closing;
    afpa__timer_t timer;
    /* Input: bytes read and not answered. */
    const char *in;
    size_t in_length;
    char *kept; /* memory of its own for them; NULL: they are the provider's */
    size_t kept_room;
    /* Output: replies put together; the last one may have a payload behind them. */
    afpa__out_t *out;
    size_t out_length, out_accepted, out_completed; /* the latter two with that payload */
    /* The reply whose payload is no copy: its request is at the beginning of the input until it ends. */
    size_t head;          /* of the request; 0: there is none */
    size_t header;        /* of the reply */
    afpa_send_t *send;    /* has the payload, if it is of several chunks */
    afpa_limits_t limits; /* of the last reply */
    uint64_t head_since;  /* ms: when its first bytes were there */
    uint32_t tag;
    uint32_t requests;
    afpa_counter_t why; /* a handover is due */
    afpa_send_outcome_t outcome;
    /* What happened while an action ran. */
    bool completed, writable, ended, timed_out, close_asked, disconnected;
    bool running, pumping, receiving, last, head_timed, head_late, stalled;
};

struct afpa_engine {
    afpa_engine_setup_t setup;
    unsigned conns;
    afpa_conn_t *free_conns; /* by timer.next */
    struct slab *slabs;
    afpa__out_t *free_outs;
    unsigned outs;
    afpa_send_t **free_sends;
    unsigned sends;
    afpa_conn_t *wheel[AFPA__WHEEL];
    uint64_t now;                 /* ms, of the last event */
    uint64_t dated;               /* ms: when the date was looked at */
    uint64_t turned;              /* ms: slots before this time are done */
    afpa_request_t request;       /* read last */
    const afpa_conn_t *requester; /* whose it is, as long as the bytes it points to are there; or NULL */
    int64_t second;
    char date[AFPA_HTTP_DATE];
};

/* A record, cleared; NULL: as many as may be are in use, or out of memory.  And back. */
afpa_conn_t *afpa__engine_conn(afpa_engine_t *engine);
void afpa__engine_conn_free(afpa_conn_t *conn);

/* NULL: out of memory. */
afpa__out_t *afpa__engine_out(afpa_engine_t *engine);
void afpa__engine_out_free(afpa_engine_t *engine, afpa__out_t *out);
afpa_send_t *afpa__engine_send(afpa_engine_t *engine);
void afpa__engine_send_free(afpa_engine_t *engine, afpa_send_t *send);

/* The Date of now: AFPA_HTTP_DATE bytes; printed once a second, which begins up to a tick of the kernel (10 ms) late. */
const char *afpa__engine_date(afpa_engine_t *engine);

/* Sets the connection's one timer, or takes it away; afpa__conn_timeout() is called when it is over. */
void afpa__timer_set(afpa_conn_t *conn, uint32_t ms);
void afpa__timer_clear(afpa_conn_t *conn);
void afpa__conn_timeout(afpa_conn_t *conn);

/* Bytes of the input are answered. */
void afpa__conn_consume(afpa_conn_t *conn, size_t bytes);

/* Of its send machine. */
void afpa__conn_send_cut(afpa_send_t *send);
void afpa__conn_send_ended(afpa_send_t *send, afpa_send_outcome_t outcome);

/* The table as a graph, for dot(1); "blocked". */
void afpa__conn_print_dot(FILE *out);
const char *afpa__conn_state_name(unsigned state);

#endif
