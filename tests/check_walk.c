/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk, against a model that looks at one byte at a time: every small size, offset and length, every way to move on; and the
 * same arithmetic at the far end of the numbers.
 */
#include "config.h"

#include <afpa/walk.h>

#include "check_main.h"

#define SMALL 20u /* bytes: with chunks of up to 6, several chunks with every remainder */

/* ---- the model ---- */

/* The bytes of an object that are asked for, one by one. */
static unsigned model_bytes(unsigned size, uint64_t offset, uint64_t bytes, unsigned *wanted)
{
    unsigned count = 0;

    for (unsigned at = 0; at < size; at++)
        if (at >= offset && at - offset < bytes)
            wanted[count++] = at;
    return count;
}

/* Whether the step is all that is wanted of one chunk, from the next byte on. */
static bool model_step(const afpa_step_t *step, unsigned chunk, const unsigned *wanted, unsigned count)
{
    unsigned length = 0;

    while (length < count && wanted[length] / chunk == wanted[0] / chunk)
        length++;
    return step->index == wanted[0] / chunk && step->skip == wanted[0] % chunk && step->length == length;
}

/* Walks through by at most `stride` bytes at a time. */
static void walk_through(unsigned size, unsigned chunk, uint64_t offset, uint64_t bytes, unsigned stride)
{
    unsigned wanted[SMALL + 1], count = model_bytes(size, offset, bytes, wanted), at = 0;
    afpa_walk_t walk;
    afpa_step_t step;

    afpa_walk_init(&walk, size, chunk, offset, bytes);
    while (at < count) {
        unsigned move;

        if (!afpa_walk_step(&walk, &step) || !model_step(&step, chunk, wanted + at, count - at))
            ck_abort_msg("size %u, chunk %u, offset %u, bytes %u, stride %u: wrong at byte %u", size, chunk, (unsigned)offset,
                         (unsigned)bytes, stride, at);
        move = stride < step.length ? stride : step.length;
        afpa_walk_advance(&walk, move);
        at += move;
    }
    if (afpa_walk_step(&walk, &step))
        ck_abort_msg("size %u, chunk %u, offset %u, bytes %u: goes on behind the end", size, chunk, (unsigned)offset,
                     (unsigned)bytes);
}

START_TEST(exhaustive)
{
    unsigned chunk = (unsigned)_i;

    for (unsigned size = 0; size <= SMALL; size++)
        for (unsigned offset = 0; offset <= size + 2; offset++)
            for (unsigned bytes = 0; bytes <= size + 2; bytes++)
                for (unsigned stride = 1; stride <= chunk + 1; stride++)
                    walk_through(size, chunk, offset, bytes, stride);
}
END_TEST

/* Asking for everything there could be is how a server asks for "to the end". */
START_TEST(to_the_end)
{
    static const uint64_t far[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - SMALL, UINT64_C(1) << 63, UINT64_C(1) << 32};

    for (unsigned chunk = 1; chunk <= 6; chunk++)
        for (unsigned size = 0; size <= SMALL; size++)
            for (unsigned offset = 0; offset <= size + 1; offset++)
                walk_through(size, chunk, offset, far[_i], chunk);
    for (unsigned size = 0; size <= SMALL; size++) {
        walk_through(size, 4, far[_i], far[_i], 4);
        walk_through(size, 4, far[_i], 1, 4);
    }
}
END_TEST

START_TEST(entries)
{
    for (unsigned chunk = 1; chunk <= 6; chunk++)
        for (unsigned size = 0; size <= SMALL; size++) {
            unsigned count = 1; /* an empty file has one empty chunk */

            for (unsigned at = 0; at < size; at++)
                count = at / chunk + 1;
            ck_assert_uint_eq(afpa_walk_entries(size, chunk), count);
        }
}
END_TEST

/* ---- moving ---- */

/* A look does not move, and the end is never passed. */
START_TEST(never_past_the_end)
{
    afpa_step_t step, again;
    afpa_walk_t walk;

    afpa_walk_init(&walk, 100, 64, 10, 80);
    ck_assert(afpa_walk_step(&walk, &step) && afpa_walk_step(&walk, &again));
    ck_assert(step.index == again.index && step.skip == again.skip && step.length == again.length);
    afpa_walk_advance(&walk, 0);
    ck_assert_uint_eq(walk.offset, 10);
    afpa_walk_advance(&walk, 79);
    ck_assert(afpa_walk_step(&walk, &step));
    ck_assert(step.index == 1 && step.skip == 25 && step.length == 1);
    afpa_walk_advance(&walk, UINT64_MAX);
    ck_assert_uint_eq(walk.offset, 90);
    ck_assert(!afpa_walk_step(&walk, &step));
    afpa_walk_advance(&walk, 1);
    ck_assert_uint_eq(walk.offset, 90);
    ck_assert_uint_eq(walk.end, 90);
}
END_TEST

/* ---- large numbers ---- */

#define TB (UINT64_C(1) << 40)

static const struct {
    const char *label;
    uint64_t size;
    uint32_t chunk;
    uint64_t offset, bytes;
    uint32_t index, skip, length; /* of the first step; length 0: none */
    uint64_t end;
} large_cases[] = {
    {"last byte of 4 GB", UINT64_C(1) << 32, 65536, UINT32_MAX, 10, 65535, 65535, 1, UINT64_C(1) << 32},
    {"first byte beyond 4 GB", (UINT64_C(1) << 32) + 1, 65536, UINT64_C(1) << 32, 10, 65536, 0, 1, (UINT64_C(1) << 32) + 1},
    {"whole chunk of a terabyte", TB, 65536, TB / 2, TB, 1u << 23, 0, 65536, TB},
    {"a megabyte chunk", TB, 1048576, TB - 1048576, UINT64_MAX, (1u << 20) - 1, 0, 1048576, TB},
    {"last chunk that an index can be", (UINT64_C(1) << 48) - 1, 65536, (UINT64_C(1) << 48) - 3, 9, UINT32_MAX, 65533, 2,
     (UINT64_C(1) << 48) - 1},
    {"largest offset of a file", INT64_MAX, 1u << 31, INT64_MAX - 1, 5, UINT32_MAX, (1u << 31) - 2, 1, INT64_MAX},
    {"offset and length that add up to 0", 1000, 65536, 500, UINT64_MAX - 499, 0, 500, 500, 1000},
    {"offset beyond, sum wraps into the file", 1000, 65536, UINT64_MAX, 2, 0, 0, 0, 1000},
};

START_TEST(large)
{
    const char *label = large_cases[_i].label;
    afpa_step_t step = {0};
    afpa_walk_t walk;

    afpa_walk_init(&walk, large_cases[_i].size, large_cases[_i].chunk, large_cases[_i].offset, large_cases[_i].bytes);
    ck_assert_msg(walk.end == large_cases[_i].end, "%s", label);
    ck_assert_msg(afpa_walk_step(&walk, &step) == (large_cases[_i].length > 0), "%s", label);
    ck_assert_msg(step.index == large_cases[_i].index && step.skip == large_cases[_i].skip && step.length == large_cases[_i].length,
                  "%s: %u, %u, %u", label, step.index, step.skip, step.length);
}
END_TEST

START_TEST(large_entries)
{
    ck_assert_uint_eq(afpa_walk_entries(UINT64_MAX, 65536), UINT64_C(1) << 48);
    ck_assert_uint_eq(afpa_walk_entries(UINT64_C(1) << 48, 65536), UINT64_C(1) << 32);
    ck_assert_uint_eq(afpa_walk_entries((UINT64_C(1) << 48) + 1, 65536), (UINT64_C(1) << 32) + 1);
    ck_assert_uint_eq(afpa_walk_entries(UINT64_MAX, 1), UINT64_MAX);
}
END_TEST

/* Any range of a large object is walked in steps that touch, none empty, none across a chunk's border. */
START_TEST(any_range)
{
    uint64_t random = 23;

    for (unsigned round = 0; round < 2000; round++) {
        uint32_t chunk = 65536u << check_below(&random, 5);
        uint64_t size = check_below(&random, UINT64_C(1) << 24), offset = check_below(&random, size + 1);
        uint64_t bytes = check_below(&random, size + 100), next = offset, end = bytes < size - offset ? offset + bytes : size;
        afpa_step_t step;
        afpa_walk_t walk;

        for (afpa_walk_init(&walk, size, chunk, offset, bytes); afpa_walk_step(&walk, &step);
             afpa_walk_advance(&walk, step.length)) {
            CHECK_THAT(step.length > 0 && step.skip + step.length <= chunk);
            CHECK_THAT((uint64_t)step.index * chunk + step.skip == next);
            CHECK_THAT(step.index < afpa_walk_entries(size, chunk));
            next += step.length;
        }
        CHECK_THAT(next == end);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("walk");
    TCase *tc = tcase_create("exhaustive");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, exhaustive, 1, 7);
    suite_add_tcase(suite, tc);
    tc = tcase_create("to_the_end");
    tcase_add_loop_test(tc, to_the_end, 0, 5);
    suite_add_tcase(suite, tc);
    check_add(suite, "entries", entries);
    check_add(suite, "never_past_the_end", never_past_the_end);
    tc = tcase_create("large");
    tcase_add_loop_test(tc, large, 0, CHECK_COUNT(large_cases));
    suite_add_tcase(suite, tc);
    check_add(suite, "large_entries", large_entries);
    check_add(suite, "any_range", any_range);
    return check_main(suite);
}
