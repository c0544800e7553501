/* SPDX-License-Identifier: Apache-2.0
 *
 * A provider that moves no bytes but those of a test: what arrives is said by the test, what was sent is read when it completes, so
 * memory that was used again too early shows.  It checks that requests are legal.
 */
#ifndef AFPA_FAKE_PROVIDER_H
#define AFPA_FAKE_PROVIDER_H

#include <afpa/executor.h>
#include <afpa/transport.h>

#define FAKE_PIECES 4096

typedef struct fake_conn {
    afpa_transport_t base;
    /* Told: */
    size_t accept;      /* most bytes that one send takes */
    unsigned block;     /* every so manieth send says AFPA_AGAIN; 0: none */
    bool late;          /* sends complete when told */
    bool broken;        /* sends fail from now on */
    const void *memory; /* of the segment: where by_reference pieces are */
    /* Seen: */
    char *sent;
    size_t sent_length, sent_room;
    unsigned sends, references, receives;
    bool released, closed, accepted, waits; /* waits: said AFPA_AGAIN last */
    /* Its own: */
    char *arrived; /* and not received */
    size_t arrived_length;
    bool ended, reset;
    afpa_io_t *receiving, *sending, *connecting;
    void *buffer;
    size_t size;
    char *lent; /* memory of the last receive without a buffer: taken back at once */
    struct {
        const char *data;
        size_t length;
        afpa_io_t *io;
    } pieces[FAKE_PIECES];
    size_t first, count;
} fake_conn_t;

/* A connection; sends take everything and complete at once. */
void fake_conn_begin(fake_conn_t *conn, afpa_endpoint_t *endpoint);
void fake_conn_end(fake_conn_t *conn);

/* Bytes come, or the end, or a reset. */
void fake_conn_arrive(fake_conn_t *conn, const void *bytes, size_t length);
void fake_conn_eof(fake_conn_t *conn);
void fake_conn_reset(fake_conn_t *conn);

/* Completes so many bytes, oldest first; says that it can be written to again. */
void fake_conn_complete(fake_conn_t *conn, size_t bytes);
void fake_conn_writable(fake_conn_t *conn);

/* Offers it to its endpoint.  Whether it was accepted. */
bool fake_conn_offer(fake_conn_t *conn);

/* An executor that waits to be told. */
typedef struct fake_jobs {
    afpa_executor_t base;
    afpa_job_t *queued;
    unsigned submitted;
    bool full;
} fake_jobs_t;

void fake_jobs_begin(fake_jobs_t *jobs);

/* Runs all that is queued.  Whether anything was. */
bool fake_jobs_go(fake_jobs_t *jobs);

#endif
