/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace in a file of its own, and what is read from it.
 */
#ifndef AFPA_POLICY_WORK_H
#define AFPA_POLICY_WORK_H

#include "check_main.h"
#include "policy.h"

typedef struct work {
    char dir[64], path[128];
    policy_reading_t reading;
    policy_trace_t trace;
    policy_error_t error;
} work_t;

static inline void begin(work_t *w)
{
    const char *tmp = getenv("TMPDIR");

    memset(w, 0, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "%.40s/afpa-policy-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    policy_reading_init(&w->reading);
}

static inline void end(work_t *w)
{
    policy_trace_free(&w->trace);
    unlink(w->path);
    ck_assert_int_eq(rmdir(w->dir), 0);
}

static inline void put(work_t *w, const char *name, const void *bytes, size_t length)
{
    FILE *file;

    snprintf(w->path, sizeof(w->path), "%s/%s", w->dir, name);
    file = fopen(w->path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
}

static inline bool load(work_t *w)
{
    return policy_trace_load(&w->trace, w->path, &w->reading, &w->error);
}

static inline void good(work_t *w, const char *name, const char *text)
{
    put(w, name, text, strlen(text));
    ck_assert_msg(load(w), "%s", w->error.text);
}

/* Requests as text: the size of each. */
static inline void is_sizes(const policy_trace_t *t, const uint64_t *sizes, uint32_t count)
{
    ck_assert_uint_eq(t->count, count);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_uint_eq(t->sizes[t->requests[i]], sizes[i]);
}

#endif
