/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's side of bench/policy: that it is the library which is replayed, and that its counts add up.
 */
#include "config.h"

#include <math.h>

#include "check_main.h"
#include "policy.h"

#define CHUNK 65536u
#define NO_LIMIT UINT64_MAX

static void replay(const policy_trace_t *trace, uint64_t capacity, uint32_t min_uses, policy_afpa_t *afpa)
{
    const policy_setup_t setup = {.capacity = capacity, .max_size = NO_LIMIT, .min_uses = min_uses};
    policy_error_t error;

    ck_assert_msg(policy_afpa(trace, &setup, afpa, &error), "%s", error.text);
    ck_assert_uint_eq(afpa->problems, 0);
    ck_assert_uint_ge(afpa->data_length, capacity);
    ck_assert_uint_le(afpa->tally.most, afpa->data_length);
    ck_assert_uint_eq(afpa->tally.requests, trace->count);
    ck_assert_uint_eq(afpa->tally.bytes, trace->bytes);
    ck_assert_uint_le(afpa->tally.missed_bytes, afpa->tally.bytes);
}

static void skewed_trace(policy_trace_t *trace, uint32_t count, uint32_t objects, uint64_t (*size)(uint64_t *state))
{
    uint32_t *requests = malloc(count * sizeof(*requests));
    uint64_t *sizes = malloc(objects * sizeof(*sizes)), state = 99;

    for (uint32_t i = 0; i < count; i++)
        requests[i] = (uint32_t)check_below(&state, 1 + check_below(&state, 1 + check_below(&state, objects)));
    for (uint32_t i = 0; i < objects; i++)
        sizes[i] = size(&state);
    policy_trace_make(trace, requests, count, sizes, objects);
    free(requests);
    free(sizes);
}

static uint64_t one_chunk(uint64_t *state)
{
    return CHUNK;
}

static uint64_t many_sizes(uint64_t *state)
{
    return 1 + check_below(state, UINT64_C(1) << (6 + check_below(state, 13)));
}

/* Objects of a chunk each waste nothing but the paths' chunk; so the library misses what S3-FIFO misses on paper.  What is left is
 * that fingerprints of ghosts share slots: 1 % of the requests is far more than that makes. */
START_TEST(as_on_paper)
{
    policy_tally_t paper, fifo;
    policy_trace_t trace;
    policy_afpa_t afpa;
    double apart;

    skewed_trace(&trace, 100000, 2000, one_chunk);
    for (uint64_t chunks = 20; chunks <= 500; chunks *= 5) {
        replay(&trace, chunks * CHUNK, 1, &afpa);
        policy_s3fifo(&trace, afpa.tally.most, NO_LIMIT, &paper);
        policy_fifo(&trace, afpa.tally.most, NO_LIMIT, &fifo);
        apart = fabs((double)afpa.tally.misses - (double)paper.misses) / trace.count;
        ck_assert_msg(apart < 0.01, "%llu chunks: %llu misses, on paper %llu", (unsigned long long)chunks,
                      (unsigned long long)afpa.tally.misses, (unsigned long long)paper.misses);
        ck_assert_uint_lt(afpa.tally.misses, fifo.misses);
        ck_assert_uint_eq(afpa.fills, afpa.tally.misses);
        ck_assert_uint_eq(afpa.tally.missed_bytes, afpa.tally.misses * CHUNK);
    }
    policy_trace_free(&trace);
}
END_TEST

/* Every byte of the data section is accounted for, and a second replay is the same to the last bit. */
START_TEST(adds_up)
{
    policy_afpa_t afpa, again;
    policy_trace_t trace;
    double sum;

    skewed_trace(&trace, 50000, 3000, many_sizes);
    for (uint64_t capacity = 1u << 20; capacity < 32u << 20; capacity *= 4) {
        replay(&trace, capacity, 1, &afpa);
        sum = afpa.payload + afpa.paths + afpa.rounding + afpa.free_chunks + afpa.free_runs + afpa.free_slots;
        ck_assert_msg(fabs(sum / (double)afpa.data_length - 1) < 0.03, "%g of %llu bytes", sum,
                      (unsigned long long)afpa.data_length);
        ck_assert_uint_gt(afpa.evictions, 0);
        ck_assert_uint_eq(afpa.declined, 0);
        replay(&trace, capacity, 1, &again);
        ck_assert_int_eq(memcmp(&afpa, &again, sizeof(afpa)), 0);
    }
    policy_trace_free(&trace);
}
END_TEST

/* All of it fits: each object is missed once, and nothing is evicted. */
START_TEST(all_fits)
{
    uint32_t asked = 0;
    policy_trace_t trace;
    policy_afpa_t afpa;

    skewed_trace(&trace, 20000, 500, many_sizes);
    for (uint32_t i = 0; i < trace.count; i++)
        asked += trace.next[i] == POLICY_NEVER;
    replay(&trace, trace.footprint * 2 + 8 * CHUNK, 1, &afpa);
    ck_assert_uint_eq(afpa.tally.misses, asked);
    ck_assert_uint_eq(afpa.evictions, 0);
    ck_assert_uint_eq(afpa.tally.most, afpa.tally.missed_bytes);
    ck_assert((uint64_t)afpa.payload == afpa.tally.most);
    policy_trace_free(&trace);
}
END_TEST

/* With min_uses 2 the first request for an object is left to the server, and the second is the one that fills. */
START_TEST(min_uses)
{
    uint32_t requests[40];
    uint64_t sizes[20];
    policy_trace_t trace;
    policy_afpa_t afpa;

    for (uint32_t i = 0; i < 20; i++) {
        requests[i] = i;
        requests[20 + i] = i % 4;
        sizes[i] = 1000;
    }
    policy_trace_make(&trace, requests, 40, sizes, 20);
    replay(&trace, 1u << 20, 2, &afpa);
    ck_assert_uint_eq(afpa.declined, 20);
    ck_assert_uint_eq(afpa.fills, 4);
    ck_assert_uint_eq(afpa.tally.misses, 24);
    policy_trace_free(&trace);
}
END_TEST

START_TEST(max_size)
{
    static const uint32_t requests[] = {0, 1, 0, 1, 0, 1};
    static const uint64_t sizes[] = {1000, 1001};
    const policy_setup_t setup = {.capacity = 1u << 20, .max_size = 1000, .min_uses = 1};
    policy_error_t error;
    policy_trace_t trace;
    policy_afpa_t afpa;

    policy_trace_make(&trace, requests, 6, sizes, 2);
    ck_assert_msg(policy_afpa(&trace, &setup, &afpa, &error), "%s", error.text);
    ck_assert_uint_eq(afpa.declined, 3);
    ck_assert_uint_eq(afpa.tally.misses, 4);
    ck_assert_uint_eq(afpa.tally.missed_bytes, 1000 + 3 * 1001);
    policy_trace_free(&trace);
}
END_TEST

/* Objects of several chunks: missed whole, then hit whole; one that is larger than the zone goes through it, and leaves the hot
 * one. */
START_TEST(large_objects)
{
    static const uint32_t requests[] = {0, 0, 0, 1, 0, 1, 0};
    static const uint64_t sizes[] = {200000, 3u << 20};
    policy_trace_t trace;
    policy_afpa_t afpa;

    policy_trace_make(&trace, requests, 3, sizes, 2);
    replay(&trace, 1u << 20, 1, &afpa);
    ck_assert_uint_eq(afpa.tally.misses, 1);
    ck_assert_uint_eq(afpa.tally.missed_bytes, 200000);
    ck_assert_uint_eq(afpa.fills, 4);
    policy_trace_free(&trace);
    policy_trace_make(&trace, requests, 7, sizes, 2);
    replay(&trace, 1u << 20, 1, &afpa);
    ck_assert_uint_ge(afpa.tally.misses, 3);
    ck_assert_uint_gt(afpa.evictions, 0);
    policy_trace_free(&trace);
}
END_TEST

START_TEST(no_zone_of_that_size)
{
    static const uint32_t requests[] = {0};
    static const uint64_t sizes[] = {1000};
    const policy_setup_t setup = {.capacity = UINT64_C(1) << 50, .max_size = NO_LIMIT, .min_uses = 1};
    policy_error_t error;
    policy_trace_t trace;
    policy_afpa_t afpa;

    policy_trace_make(&trace, requests, 1, sizes, 1);
    ck_assert(!policy_afpa(&trace, &setup, &afpa, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "no zone has a data section of 1125899906842624 bytes"));
    policy_trace_free(&trace);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy_afpa");

    check_add(suite, "as_on_paper", as_on_paper);
    check_add(suite, "adds_up", adds_up);
    check_add(suite, "all_fits", all_fits);
    check_add(suite, "min_uses", min_uses);
    check_add(suite, "max_size", max_size);
    check_add(suite, "large_objects", large_objects);
    check_add(suite, "no_zone_of_that_size", no_zone_of_that_size);
    return check_main(suite);
}
