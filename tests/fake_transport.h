/* SPDX-License-Identifier: Apache-2.0
 *
 * A transport that does as a script says, and reads what it accepted only when it completes it, as a network card would: pins that
 * were given back too early show up as wrong bytes.
 */
#ifndef AFPA_FAKE_TRANSPORT_H
#define AFPA_FAKE_TRANSPORT_H

#include <afpa/transport.h>

#define FAKE_ALL SIZE_MAX
#define FAKE_RUNS_MAX 16384

typedef struct fake_transport fake_transport_t;

/* What one call of send() does. */
typedef struct fake_answer {
    afpa_status_t status;
    size_t accept;                               /* bytes, cut to the piece; FAKE_ALL */
    size_t complete;                             /* bytes completed within the call, of all that is in flight */
    void (*within)(fake_transport_t *transport); /* called before that; NULL: nothing */
} fake_answer_t;

struct fake_transport {
    afpa_transport_t base;
    afpa_io_t *io; /* of the last send */
    /* Told: */
    const fake_answer_t *answers; /* one after the other; behind the last, `otherwise` */
    size_t answers_count;
    fake_answer_t otherwise;
    fake_answer_t (*decide)(fake_transport_t *transport); /* instead of all these; NULL: those */
    void *context;
    const char *header; /* what should come */
    size_t header_length;
    uint64_t offset, bytes; /* of the payload */
    bool blank;             /* do not look at the payload */
    /* Seen: */
    size_t sends, disconnects, references;
    uint64_t accepted, completed;
    bool blocked; /* said AFPA_AGAIN last */
    /* Its own: */
    struct {
        const char *data;
        size_t length;
    } runs[FAKE_RUNS_MAX];
    size_t first, count;
};

/* Accepts everything, completes nothing, until told otherwise. */
void fake_transport_begin(fake_transport_t *transport);

/* Completes so many of the bytes in flight, oldest first; FAKE_ALL: all of them, which may be none. */
void fake_transport_complete(fake_transport_t *transport, size_t bytes);

uint64_t fake_transport_in_flight(const fake_transport_t *transport);

#endif
