/* SPDX-License-Identifier: Apache-2.0
 *
 * What the library is compared with in bench/policy: FIFO, LRU, SIEVE, S3-FIFO on traces worked out by hand; Belady and the lower
 * bound against every schedule there is, on small ones.
 */
#include "config.h"

#include "check_main.h"
#include "policy.h"

#define NO_LIMIT UINT64_MAX

static const policy_baseline_t *named(const char *name)
{
    for (unsigned i = 0; i < POLICY_BASELINES; i++)
        if (strcmp(policy_baselines[i].name, name) == 0)
            return &policy_baselines[i];
    ck_abort_msg("no policy is called %s", name);
    return NULL;
}

/* Requests as letters: 'a' is object 0. */
static void letters(policy_trace_t *trace, const char *text, const uint64_t *sizes)
{
    uint64_t ones[26];
    uint32_t requests[256], count = (uint32_t)strlen(text), objects = 0;

    for (uint32_t i = 0; i < 26; i++)
        ones[i] = 1;
    for (uint32_t i = 0; i < count; i++) {
        requests[i] = (uint32_t)(text[i] - 'a');
        if (requests[i] >= objects)
            objects = requests[i] + 1;
    }
    policy_trace_make(trace, requests, count, sizes ? sizes : ones, objects);
}

/* ---- by hand ---- */

static const struct {
    const char *policy, *requests;
    uint64_t capacity, misses;
} hand_cases[] = {
    {"fifo", "abacab", 2, 5},   /* c for a, a for b, b for c */
    {"lru", "abacab", 2, 4},    /* c for b, b for c */
    {"sieve", "abacab", 2, 4},  /* a was visited: c for b, b for c */
    {"belady", "abacab", 2, 3}, /* c is not cached at all */
    {"lower bound", "abacab", 2, 3},
    {"fifo", "abcabdabcd", 3, 8}, /* d for a, a for b, b for c, c for d, d for a: all but the second a and b miss */
    {"lru", "abcabdabcd", 3, 6},
    /* The hand goes on from where it stopped: e goes for a, f (b and d visited) for e, e for b, b for d. */
    {"sieve", "abcabdebdfeb", 3, 8},
    {"fifo", "aaaa", 1, 1},
    {"lru", "abababab", 1, 8},
    {"belady", "abababab", 1, 5}, /* one of the two stays */
    /* A loop larger than the cache: FIFO and LRU never hit. */
    {"fifo", "abcdabcdabcd", 3, 12},
    {"lru", "abcdabcdabcd", 3, 12},
    {"belady", "abcdabcdabcd", 3, 6},
    /* a, asked for twice more, moves to the main queue; b leaves a ghost, and comes back into the main queue; the scan
     * f … o takes only the small queue's place, so a and b still hit. */
    {"ideal s3-fifo",
     "abcdeaafb"
     "ghijklmno"
     "ab",
     5, 16},
    {"fifo",
     "abcdeaafb"
     "ghijklmno"
     "ab",
     5, 17},
};

START_TEST(by_hand)
{
    policy_trace_t trace;
    policy_tally_t tally;

    letters(&trace, hand_cases[_i].requests, NULL);
    named(hand_cases[_i].policy)->replay(&trace, hand_cases[_i].capacity, NO_LIMIT, &tally);
    ck_assert_msg(tally.misses == hand_cases[_i].misses, "%s, %s: %llu misses, not %llu", hand_cases[_i].policy,
                  hand_cases[_i].requests, (unsigned long long)tally.misses, (unsigned long long)hand_cases[_i].misses);
    ck_assert_uint_eq(tally.missed_bytes, tally.misses);
    ck_assert_uint_eq(tally.requests, trace.count);
    policy_trace_free(&trace);
}
END_TEST

/* By bytes: sizes 3, 2, 1 in 4 bytes. */
START_TEST(bytes)
{
    static const uint64_t sizes[] = {3, 2, 1};
    policy_trace_t trace;
    policy_tally_t tally;

    letters(&trace, "abcac", sizes); /* b for a; c beside b; a for b; c is there */
    policy_lru(&trace, 4, NO_LIMIT, &tally);
    ck_assert_uint_eq(tally.misses, 4);
    ck_assert_uint_eq(tally.missed_bytes, 9);
    ck_assert_uint_eq(tally.bytes, 10);
    ck_assert_uint_eq(tally.most, 4);
    policy_trace_free(&trace);
}
END_TEST

/* What is too large for the cache, or for max_size, takes nobody's place. */
START_TEST(too_large)
{
    static const uint64_t sizes[] = {5, 1, 3};
    policy_trace_t trace;
    policy_tally_t tally;

    letters(&trace, "bababcacb", sizes);
    for (unsigned i = 0; i < POLICY_BASELINES; i++) {
        policy_baselines[i].replay(&trace, 4, NO_LIMIT, &tally);
        ck_assert_msg(tally.misses == 5, "%s", policy_baselines[i].name); /* a three times, b and c once */
        policy_baselines[i].replay(&trace, 4, 2, &tally);
        ck_assert_msg(tally.misses == 6, "%s", policy_baselines[i].name); /* c each time, too */
        policy_baselines[i].replay(&trace, 9, 4, &tally);
        ck_assert_msg(tally.misses == 5, "%s", policy_baselines[i].name);
    }
    policy_trace_free(&trace);
}
END_TEST

/* ---- at random ---- */

static void random_trace(policy_trace_t *trace, uint64_t *state, uint32_t count, uint32_t objects, uint64_t size_max)
{
    uint32_t *requests = malloc(count * sizeof(*requests));
    uint64_t *sizes = malloc(objects * sizeof(*sizes));

    for (uint32_t i = 0; i < count; i++) /* the lower, the more often */
        requests[i] = (uint32_t)check_below(state, 1 + check_below(state, objects));
    for (uint32_t i = 0; i < objects; i++)
        sizes[i] = 1 + check_below(state, size_max);
    policy_trace_make(trace, requests, count, sizes, objects);
    free(requests);
    free(sizes);
}

/* Objects of one size: Belady is the best, and nothing is below the lower bound; counts are in their limits. */
START_TEST(belady_is_best)
{
    uint64_t state = 42 + (uint64_t)_i;
    policy_tally_t belady, other;
    policy_trace_t trace;

    random_trace(&trace, &state, 20000, 500, 1);
    for (uint64_t capacity = 1; capacity < 700; capacity = capacity * 2 + check_below(&state, 3)) {
        policy_belady(&trace, capacity, NO_LIMIT, &belady);
        for (unsigned i = 0; i < POLICY_BASELINES; i++) {
            policy_baselines[i].replay(&trace, capacity, NO_LIMIT, &other);
            CHECK_THAT(other.misses >= belady.misses || policy_baselines[i].replay == policy_bound);
            CHECK_THAT(other.misses <= belady.misses || policy_baselines[i].replay != policy_bound);
            CHECK_THAT(other.most <= capacity && other.missed_bytes == other.misses && other.requests == trace.count);
        }
    }
    CHECK_THAT(belady.misses <= 500); /* all of it fits: each object once */
    policy_trace_free(&trace);
}
END_TEST

START_TEST(nothing_below_the_bound)
{
    uint64_t state = 4242 + (uint64_t)_i;
    policy_tally_t bound, other;
    policy_trace_t trace;

    random_trace(&trace, &state, 20000, 500, 1000);
    for (uint64_t capacity = 500; capacity < 400000; capacity *= 3) {
        policy_bound(&trace, capacity, NO_LIMIT, &bound);
        for (unsigned i = 0; i < POLICY_BASELINES; i++) {
            policy_baselines[i].replay(&trace, capacity, NO_LIMIT, &other);
            CHECK_THAT(other.misses >= bound.misses && other.missed_bytes >= bound.missed_bytes);
            CHECK_THAT(other.most <= capacity);
        }
    }
    policy_trace_free(&trace);
}
END_TEST

/* ---- every schedule ---- */

typedef struct search {
    const policy_trace_t *trace;
    uint64_t capacity;
    bool by_bytes;
} search_t;

static uint64_t weight(const search_t *s, unsigned set)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->trace->objects; i++)
        sum += set >> i & 1 ? s->trace->sizes[i] : 0;
    return sum;
}

/* The fewest misses from request `at` on with `cached`: a miss may leave any part of what is there, with the object or without. */
static uint64_t fewest(const search_t *s, uint32_t at, unsigned cached)
{
    uint64_t best = UINT64_MAX;
    unsigned object, all;

    if (at == s->trace->count)
        return 0;
    object = 1u << s->trace->requests[at];
    if (cached & object)
        return fewest(s, at + 1, cached);
    all = cached | object;
    for (unsigned keep = all;; keep = (keep - 1) & all) {
        if (weight(s, keep) <= s->capacity) {
            uint64_t rest = fewest(s, at + 1, keep);

            if (rest < best)
                best = rest;
        }
        if (keep == 0)
            break;
    }
    return best + (s->by_bytes ? s->trace->sizes[s->trace->requests[at]] : 1);
}

START_TEST(every_schedule)
{
    uint64_t state = 7 + (uint64_t)_i * 1000;
    policy_tally_t tally;
    policy_trace_t trace;
    search_t search = {.trace = &trace};

    random_trace(&trace, &state, 9, 4, 1);
    search.capacity = 2;
    policy_belady(&trace, 2, NO_LIMIT, &tally);
    ck_assert_uint_eq(tally.misses, fewest(&search, 0, 0));
    policy_bound(&trace, 2, NO_LIMIT, &tally);
    ck_assert_uint_le(tally.misses, fewest(&search, 0, 0));
    policy_trace_free(&trace);

    random_trace(&trace, &state, 9, 4, 4);
    search.capacity = 5;
    policy_bound(&trace, 5, NO_LIMIT, &tally);
    ck_assert_uint_le(tally.misses, fewest(&search, 0, 0));
    search.by_bytes = true;
    ck_assert_uint_le(tally.missed_bytes, fewest(&search, 0, 0));
    policy_trace_free(&trace);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *tc = tcase_create("hand"), *random = tcase_create("random");

    tcase_add_loop_test(tc, by_hand, 0, (int)CHECK_COUNT(hand_cases));
    suite_add_tcase(suite, tc);
    check_add(suite, "bytes", bytes);
    check_add(suite, "too_large", too_large);
    tcase_set_timeout(random, 60);
    tcase_add_loop_test(random, belady_is_best, 0, 3);
    tcase_add_loop_test(random, nothing_below_the_bound, 0, 3);
    tcase_add_loop_test(random, every_schedule, 0, 40);
    suite_add_tcase(suite, random);
    return check_main(suite);
}
