/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters: names from the table, each owner in cells of its own, the total the sum over the living and the gone; nothing is lost
 * when an owner leaves, dies, or another takes its slot, nor among threads.
 */
#include "config.h"

#include <pthread.h>

#include "check_main.h"
#include "child.h"
#include "fixture.h"
#include "stats.h"

#define THREADS 4
#define ROUNDS 100000u

/* ---- names ---- */

static const struct {
    afpa_counter_t counter;
    const char *id, *name, *help;
} rows[] = {
#define COUNTER(id, name, help) {AFPA_COUNTER_##id, #id, #name, help},
#define DECLINE(id, name, help) {AFPA_DECLINE_##id, #id, #name, help},
#include <afpa/counters.def>
};

START_TEST(names)
{
    const char *id = rows[_i].id, *name = afpa_counter_name(rows[_i].counter);

    ck_assert_int_eq((int)rows[_i].counter, _i);
    ck_assert_str_eq(name, rows[_i].name);
    ck_assert_str_eq(afpa_counter_help(rows[_i].counter), rows[_i].help);
    ck_assert_int_eq(strcasecmp(id, name), 0);
    ck_assert_uint_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
    for (size_t i = 0; i < CHECK_COUNT(rows); i++)
        ck_assert((strcmp(rows[i].name, name) == 0) == ((int)i == _i));
}
END_TEST

START_TEST(names_outside)
{
    static const int outside[] = {AFPA_COUNTER_LIMIT, AFPA_COUNTER_LIMIT + 1, 255, -1};

    for (size_t i = 0; i < CHECK_COUNT(outside); i++) {
        ck_assert_ptr_null(afpa_counter_name((afpa_counter_t)outside[i]));
        ck_assert_ptr_null(afpa_counter_help((afpa_counter_t)outside[i]));
    }
    ck_assert_uint_eq(CHECK_COUNT(rows), AFPA_COUNTER_LIMIT);
    ck_assert_uint_lt(AFPA_COUNTER_LIMIT, 256); /* one byte of a refusal: see cache.h */
}
END_TEST

/* Reasons to decline come last, and all of them. */
START_TEST(reasons)
{
    static const char *const first_and_last[] = {"disabled", "stale"};

    ck_assert_str_eq(afpa_counter_name(AFPA_DECLINE_FIRST), first_and_last[0]);
    ck_assert_str_eq(afpa_counter_name(AFPA_COUNTER_LIMIT - 1), first_and_last[1]);
    ck_assert_str_eq(afpa_counter_name(AFPA_DECLINE_FIRST - 1), "reaped");
}
END_TEST

/* ---- sums ---- */

START_TEST(one_counter_of_many)
{
    afpa_counter_t counter = (afpa_counter_t)_i;
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    afpa_cache_count(f.cache, counter);
    for (int i = 0; i < AFPA_COUNTER_LIMIT; i++)
        ck_assert_uint_eq(fixture_counter(&f, (afpa_counter_t)i), i == _i);
    afpa__stats_count(f.segment, counter);
    ck_assert_uint_eq(fixture_counter(&f, counter), 2);
    afpa_cache_count(NULL, counter); /* legal, and counts nowhere */
    ck_assert_uint_eq(fixture_counter(&f, counter), 2);
    fixture_end(&f);
}
END_TEST

static void count(afpa_cache_t *cache, afpa_counter_t counter, unsigned times)
{
    while (times-- > 0)
        afpa_cache_count(cache, counter);
}

START_TEST(sum_over_owners)
{
    afpa_cache_t *other;
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    other = fixture_attach(&f);
    count(f.cache, AFPA_COUNTER_MISSES, 3);
    count(other, AFPA_COUNTER_MISSES, 4);
    count(other, AFPA_DECLINE_METHOD, 5);
    ck_assert_uint_eq(f.segment->owners[afpa_cache_slot(f.cache)].counters[AFPA_COUNTER_MISSES], 3);
    ck_assert_uint_eq(f.segment->owners[afpa_cache_slot(other)].counters[AFPA_COUNTER_MISSES], 4);
    ck_assert_uint_eq(afpa__stats_total(f.segment, AFPA_COUNTER_MISSES), 7);
    ck_assert_uint_eq(afpa__stats_total(f.segment, AFPA_DECLINE_METHOD), 5);
    afpa_cache_detach(&other);
    ck_assert_uint_eq(afpa__stats_total(f.segment, AFPA_COUNTER_MISSES), 7);
    ck_assert_uint_eq(afpa__stats_total(f.segment, AFPA_DECLINE_METHOD), 5);
    ck_assert_uint_eq(f.segment->header->gone[AFPA_COUNTER_MISSES], 4);
    fixture_end(&f);
}
END_TEST

/* The next owner of a slot starts from nothing; what was counted there stays in the sum. */
START_TEST(slot_used_again)
{
    afpa_cache_t *other;
    unsigned slot;
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    for (unsigned round = 1; round <= 5; round++) {
        other = fixture_attach(&f);
        slot = afpa_cache_slot(other);
        ck_assert_uint_eq(slot, 1);
        for (int i = 0; i < AFPA_COUNTER_LIMIT; i++)
            ck_assert_uint_eq(f.segment->owners[slot].counters[i], 0);
        count(other, AFPA_COUNTER_FILLS, round);
        ck_assert_uint_eq(f.segment->owners[slot].counters[AFPA_COUNTER_FILLS], round);
        afpa_cache_detach(&other);
        ck_assert_uint_eq(afpa__stats_total(f.segment, AFPA_COUNTER_FILLS), round * (round + 1) / 2);
    }
    fixture_end(&f);
}
END_TEST

static child_result_t count_and_die(void *arg)
{
    fixture_t *f = arg;
    afpa_cache_t *cache;
    afpa_error_t error;

    CHILD_NEED(afpa_cache_attach(f->zone, "dying", &cache, &error) == AFPA_OK);
    count(cache, AFPA_COUNTER_CUT, 11);
    raise(SIGKILL);
    return CHILD_BAD;
}

START_TEST(owner_dies)
{
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    ck_assert_int_eq(WTERMSIG(child_wait(child_start(count_and_die, &f))), SIGKILL);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_CUT), 11);
    ck_assert_uint_eq(f.segment->owners[1].counters[AFPA_COUNTER_CUT], 11);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 1);
    ck_assert_uint_eq(f.segment->owners[1].counters[AFPA_COUNTER_CUT], 0);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_CUT), 11);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REAPED), 1);
    fixture_end(&f);
}
END_TEST

START_TEST(reset)
{
    afpa_cache_t *other;
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    other = fixture_attach(&f);
    for (int i = 0; i < AFPA_COUNTER_LIMIT; i++) {
        count(f.cache, (afpa_counter_t)i, 2);
        count(other, (afpa_counter_t)i, 3);
        afpa__stats_count(f.segment, (afpa_counter_t)i);
    }
    for (int i = 0; i < AFPA_COUNTER_LIMIT; i++)
        ck_assert_uint_eq(fixture_counter(&f, (afpa_counter_t)i), 6);
    afpa_inspect_reset(f.zone);
    for (int i = 0; i < AFPA_COUNTER_LIMIT; i++)
        ck_assert_uint_eq(fixture_counter(&f, (afpa_counter_t)i), 0);
    count(other, AFPA_COUNTER_FILLS, 1);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILLS), 1);
    afpa_cache_detach(&other);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILLS), 1);
    fixture_end(&f);
}
END_TEST

/* Beyond 32 bits: a server answers that many in days. */
START_TEST(large_numbers)
{
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    atomic_store(&f.segment->owners[0].counters[AFPA_COUNTER_FAST_HITS], UINT32_MAX);
    atomic_store(&f.segment->header->gone[AFPA_COUNTER_FAST_HITS], UINT64_C(1) << 40);
    count(f.cache, AFPA_COUNTER_FAST_HITS, 2);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FAST_HITS), (UINT64_C(1) << 40) + UINT32_MAX + 2);
    fixture_end(&f);
}
END_TEST

static pthread_barrier_t together;

static void *count_many(void *cache)
{
    pthread_barrier_wait(&together);
    for (unsigned i = 0; i < ROUNDS; i++)
        afpa_cache_count(cache, i % 2 ? AFPA_COUNTER_PIPELINE_HITS : AFPA_COUNTER_MISSES);
    return NULL;
}

/* While threads of one owner count, others come and go: not one count is lost. */
START_TEST(many_threads)
{
    pthread_t threads[THREADS];
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    pthread_barrier_init(&together, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_many, f.cache), 0);
    for (unsigned i = 0; i < 50; i++) {
        afpa_cache_t *other = fixture_attach(&f);

        count(other, AFPA_COUNTER_MISSES, 1);
        ck_assert_uint_ge(afpa__stats_total(f.segment, AFPA_COUNTER_MISSES), i + 1);
        afpa_cache_detach(&other);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&together);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_PIPELINE_HITS), THREADS * ROUNDS / 2);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_MISSES), THREADS * ROUNDS / 2 + 50);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stats");
    TCase *tc = tcase_create("names");

    tcase_add_loop_test(tc, names, 0, CHECK_COUNT(rows));
    suite_add_tcase(suite, tc);
    check_add(suite, "names_outside", names_outside);
    check_add(suite, "reasons", reasons);
    tc = tcase_create("one_counter_of_many");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, one_counter_of_many, 0, AFPA_COUNTER_LIMIT);
    suite_add_tcase(suite, tc);
    check_add(suite, "sum_over_owners", sum_over_owners);
    check_add(suite, "slot_used_again", slot_used_again);
    check_add(suite, "owner_dies", owner_dies);
    check_add(suite, "reset", reset);
    check_add(suite, "large_numbers", large_numbers);
    check_add(suite, "many_threads", many_threads); /* last: what libc keeps of a thread, a forked child would leak */
    return check_main(suite);
}
