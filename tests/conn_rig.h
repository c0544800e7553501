/* SPDX-License-Identifier: Apache-2.0
 *
 * A real cache, an engine, and connections over the fake provider: what the suites of conn.c and engine.c share.
 */
#ifndef AFPA_CONN_RIG_H
#define AFPA_CONN_RIG_H

#include "check_main.h"
#include "engine.h"
#include "fake_provider.h"
#include "fixture.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: h\r\n\r\n"
#define HEAD(target) "HEAD " target " HTTP/1.1\r\nHost: h\r\n\r\n"
#define SAME(target) "GET " target " HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n"
#define CLOSE(target) "GET " target " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define OLD(target) "GET " target " HTTP/1.0\r\nHost: h\r\n\r\n"
#define OLD_KEEP(target) "GET " target " HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"

#define RIG_SMALL 1000u
#define RIG_ONE 50000u /* one chunk, too large to be copied */
#define RIG_LARGE 200000u

typedef struct rig {
    fixture_t f;
    fake_jobs_t jobs;
    afpa_engine_t *engine;
    afpa_conn_setup_t setup;
    fake_conn_t conn;
    afpa_conn_t *c;
    /* Seen: */
    char *handed; /* bytes handed over, NULL: not */
    size_t handed_length;
    afpa_counter_t why;
    unsigned handovers, closes, unfinished;
    bool timed_out; /* the head that was unfinished */
    bool stalled;   /* the connection that was closed */
    struct {
        char target[64];
        unsigned status;
        uint64_t header, body;
        bool cut;
    } replies[256];
    unsigned told;
} rig_t;

/* Files small (1000 bytes), one (50000), large (200000) and empty, each admitted as /small and so on; /small?N for N < 64 too. */
void rig_begin(rig_t *r);
/* Ends it; fails if a pin or a connection is left. */
void rig_end(rig_t *r);

/* As a host that ends unfinished heads itself. */
void rig_take_unfinished(rig_t *r);

/* The connection has ended: another one, on the same cache and engine, with nothing seen of it. */
void rig_again(rig_t *r);

/* Starts the connection; it must not end at once. */
void rig_start(rig_t *r);

void rig_arrive(rig_t *r, const char *text);

/* Lets time pass, with the engine's ticks. */
void rig_pass(rig_t *r, unsigned ms);

/* Drives completions, writability and jobs until nothing moves. */
void rig_settle(rig_t *r);

/* What the engine should answer to requests of these, one after the other: appended to `to`, with its Date blanked. */
size_t rig_expect(rig_t *r, const char *request, char *to);

/* The name of the file that a response is of. */
void rig_file_name(const afpa_response_t *response, char name[64]);

/* Blanks the Date fields of header blocks in what was sent. */
void rig_blank_dates(char *bytes, size_t length);

/* Admits `target` for a file of the fixture, with these limits. */
void rig_admit(rig_t *r, const char *target, const char *file, const afpa_limits_t *limits);

/* Fails unless exactly the replies to these requests were sent. */
void rig_sent(rig_t *r, const char *requests);

#endif
