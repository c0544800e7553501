/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading files into the cache with several threads.
 *
 * One thread names files (and URLs) with load_add(), as many as asked for load them meanwhile.  What is not loaded is skipped,
 * for a reason, a word: one of the library's reasons to decline, or one of loading's own.
 */
#ifndef AFPACTL_LOAD_H
#define AFPACTL_LOAD_H

#include <jansson.h>
#include <stdint.h>

#include <afpa/options.h>

#include "afpactl.h"

#define LOAD_JOBS_MAX 64

typedef struct load load_t;

typedef struct load_options {
    afpa_policy_t policy; /* with no_evict, that there is no room is no failure */
    unsigned jobs;
    bool verbose; /* a message for everything skipped */
} load_options_t;

/* How a name came up.  What was asked for by name fails the run and is told if it is skipped; what was found in a tree only
 * if it should have been possible to load it. */
typedef enum load_origin { LOAD_FOUND, LOAD_ASKED } load_origin_t;

typedef struct load_result {
    uint64_t files, bytes, skipped_total, evicted;
    json_t *skipped; /* {reason: count}, most frequent first; the caller's */
    double seconds;
    bool failed;     /* something was skipped that should not have been */
    bool disabled;   /* the zone is switched off: nothing can be loaded */
    int interrupted; /* 0, or the signal */
} load_result_t;

/* Defaults: the library's policy, a thread per processor, at most 16. */
void load_options_init(load_options_t *options);

/* Starts the threads.  The app is attached. */
load_t *load_start(app_t *app, const load_options_t *options);

/* Has an absolute path, or a URL, loaded.  Waits while there is enough to do. */
void load_add(load_t *load, const char *name, load_origin_t origin);

/* Notes that something will not be loaded.  Thread-safe. */
void load_skip(load_t *load, const char *name, load_origin_t origin, const char *reason);

/* The reason for an error of the system. */
const char *load_reason(int error);

/* Whether there is no point in naming more: interrupted, disabled. */
bool load_stopped(const load_t *load);

/* Waits for everything, ends the threads, frees. */
void load_end(load_t *load, load_result_t *result);

#endif
