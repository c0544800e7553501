/* SPDX-License-Identifier: Apache-2.0
 *
 * One send machine with everything around it scripted: what the suites of send.c share.
 */
#ifndef AFPA_SEND_RIG_H
#define AFPA_SEND_RIG_H

#include <stdlib.h>

#include "check_main.h"
#include "fake_cache.h"
#include "fake_transport.h"
#include "send.h"

#define CHUNK 1000u
#define HEADER "HTTP/1.1 200 OK\r\n\r\n"

typedef struct rig {
    fake_cache_t cache;
    fake_transport_t transport;
    fake_executor_t executor;
    afpa_send_t *send; /* freed when it ends, so that a sanitizer sees whoever looks at it after that */
    afpa_send_setup_t setup;
    unsigned ended;
    afpa_send_outcome_t outcome;
    afpa_status_t reason;
    uint64_t random;
    unsigned trouble; /* of a random run, in percent */
} rig_t;

/* An object of `size` bytes, nothing of it in memory, a reply with all of it; the test may change r->setup and the rest. */
void rig_begin(rig_t *r, uint64_t size);

/* The machine, not started; or started. */
void rig_init(rig_t *r);
void rig_start(rig_t *r);

/* Drives the machine as a loop would, until it ends. */
void rig_drive(rig_t *r);

/* Fails unless it ended once, so, and holds nothing. */
void rig_end(rig_t *r, afpa_send_outcome_t outcome, afpa_status_t reason);

void rig_complete(rig_t *r, size_t bytes);
void rig_writable(rig_t *r);
bool rig_in_state(const rig_t *r, const char *name);

#endif
