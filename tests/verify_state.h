/* SPDX-License-Identifier: Apache-2.0
 *
 * A state for verify to look at, and what it says about it: object 0 is "small" of 1000 bytes, object 1 "big" of ten chunks, which
 * takes two groups, object 2 "half" of 30000 bytes.
 */
#ifndef AFPA_VERIFY_STATE_H
#define AFPA_VERIFY_STATE_H

#include "check_main.h"
#include "fixture.h"

#define ZONE (4u << 20)
#define SMALL 0u
#define BIG 1u
#define HALF 2u
#define BIG_SIZE (10u * FIXTURE_CHUNK)

typedef struct said {
    size_t count;
    size_t length;
    char text[256 * 1024];
} said_t;

static said_t said;

static inline void hear(void *context, const char *problem)
{
    said_t *s = context;

    s->count++;
    s->length += (size_t)snprintf(s->text + s->length, sizeof(s->text) - s->length, "%s\n", problem);
    ck_assert_uint_lt(s->length, sizeof(s->text));
}

static inline size_t verify(fixture_t *f)
{
    said.count = said.length = 0;
    said.text[0] = 0;
    return afpa_inspect_verify(f->zone, hear, &said);
}

/* Whether one of the lines begins so. */
static inline bool says(const char *line)
{
    const char *at = said.text;

    while (*at) {
        if (strncmp(at, line, strlen(line)) == 0)
            return true;
        at = strchr(at, '\n') + 1;
    }
    return false;
}

static inline void state_begin(fixture_t *f)
{
    fixture_begin(f, ZONE);
    f->policy.revalidate_ms = 100000;
    fixture_file(f, "small", 1000, 1); /* all files first: one that changed just now is waited for */
    fixture_file(f, "big", BIG_SIZE, 1);
    fixture_file(f, "half", 30000, 1);
    fixture_load(f, "small");
    fixture_load(f, "big");
    fixture_load(f, "half");
    ck_assert_uint_eq(f->segment->objects[SMALL].identity.size, 1000);
    ck_assert_uint_eq(f->segment->objects[BIG].identity.size, BIG_SIZE);
    ck_assert_uint_eq(f->segment->objects[HALF].identity.size, 30000);
}

#endif
