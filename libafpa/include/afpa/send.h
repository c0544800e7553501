/* SPDX-License-Identifier: Apache-2.0
 *
 * The send machine: walks an object's pin array in order; a pinned chunk is pinned once more and offered to the transport at
 * once, an empty one is filled by a worker first; each completion gives pins back and goes on.
 *
 * One machine sends one reply.  All calls on it are made in one thread, that of its event loop; its executor's `done` must run
 * there too.  The table of states and events is send_states.def.
 */
#ifndef AFPA_SEND_H
#define AFPA_SEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/cache.h>
#include <afpa/executor.h>
#include <afpa/transport.h>
#include <afpa/walk.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Chunks that may be in flight at once, at most and unless told otherwise; a slow client never pins more of an object. */
#define AFPA_SEND_WINDOW_MAX 16
#define AFPA_SEND_WINDOW 8

/* Fills in a row of one chunk that cannot be pinned afterwards: it was evicted again at once, or there is no room to count the pin.
 * After so many a host reads it into memory of its own (afpa_cache_read()), as it does after AFPA_NO_SPACE. */
#define AFPA_SEND_FILLS 2

typedef struct afpa_send afpa_send_t;

typedef enum afpa_send_outcome {
    AFPA_SEND_DONE,   /* every byte was accepted and completed */
    AFPA_SEND_ABORTED /* cut: see afpa_send_t.reason */
} afpa_send_outcome_t;

typedef struct afpa_send_setup {
    afpa_ref_t ref;     /* moved into the machine, which releases it */
    const void *header; /* sent first, may be NULL; stays valid until the end */
    size_t header_length;
    uint64_t offset, bytes;      /* of the payload; bytes 0 for HEAD and 304 */
    uint64_t zerocopy;           /* payload from this size on is offered by reference; UINT64_MAX: never */
    unsigned window;             /* chunks, 1 … AFPA_SEND_WINDOW_MAX; 0: AFPA_SEND_WINDOW */
    afpa_transport_t *transport; /* stays valid until `ended` */
    afpa_executor_t *executor;   /* fills chunks; likewise */
    /* The reply cannot be finished, but for a reason the transport does not know: the caller disconnects, so that the peer sees it
     * cut.  What is in flight completes all the same, then `ended` follows; not from within this call. */
    void (*cut)(afpa_send_t *send);
    /* Called once, last of all: no pin is held, nothing is in flight, no job is queued; the machine may be freed in it. */
    void (*ended)(afpa_send_t *send, afpa_send_outcome_t outcome);
    void *context; /* the caller's, see afpa_send_context() */
} afpa_send_setup_t;

/* A pin in flight. */
typedef struct afpa_flight {
    afpa_extent_t extent;
    size_t wanted;      /* not accepted yet */
    size_t outstanding; /* accepted, not completed */
} afpa_flight_t;

/* The caller allocates it; the fields are the machine's. */
struct afpa_send {
    unsigned state;
    afpa_status_t reason; /* of an abort that was not asked for; AFPA_OK otherwise */
    afpa_send_setup_t setup;
    afpa_walk_t walk;
    size_t header_sent, header_outstanding;
    afpa_flight_t flights[AFPA_SEND_WINDOW_MAX]; /* ring, oldest at `first` */
    unsigned first, flying;
    afpa_job_t job;
    uint32_t fill_index;
    unsigned rounds;      /* fills in a row for the same chunk */
    uint64_t waits_since; /* when it last began to wait for the peer, as afpa_engine_now(); 0: it never did */
    afpa_status_t fill_status;
    afpa_extent_t overflow; /* a chunk in memory of its own, when nothing could be evicted */
    size_t early;           /* completed, not settled yet */
    afpa_io_t io;           /* of the transport's requests */
    bool running, filling, filled, writable, aborting, over;
};

/* Prepares; takes setup->ref over (clears it there).  Nothing is sent yet. */
void afpa_send_init(afpa_send_t *send, afpa_send_setup_t *setup);

/* Starts.  `ended` may be called before this returns. */
void afpa_send_start(afpa_send_t *send);

/* Stops sending (the client went away, a time-out).  `ended` follows as soon as nothing is in flight and no job is queued. */
void afpa_send_abort(afpa_send_t *send);

/* The context of its setup. */
void *afpa_send_context(const afpa_send_t *send);

/* "wait-fill"; for logs. */
const char *afpa_send_state_name(unsigned state);

#ifdef __cplusplus
}
#endif
#endif
