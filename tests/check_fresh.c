/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded staleness: what a look-up may do by the age of the last check, one check per half period, and what a check finds.
 */
#include "config.h"

#include <sys/stat.h>

#include "check_main.h"
#include "clock.h"
#include "fixture.h"
#include "fresh.h"

static const struct {
    const char *label;
    uint32_t revalidate_ms;
    uint64_t age_ms;
    afpa_status_t first, second;
} judge_cases[] = {
    {"just checked", 1000, 0, AFPA_OK, AFPA_OK},
    {"just below half", 1000, 499, AFPA_OK, AFPA_OK},
    {"half: one look-up gets the check", 1000, 500, AFPA_CHECK_DUE, AFPA_OK},
    {"just below the limit", 1000, 999, AFPA_CHECK_DUE, AFPA_OK},
    {"the limit", 1000, 1000, AFPA_STALE, AFPA_STALE},
    {"long ago", 1000, UINT64_C(900000), AFPA_STALE, AFPA_STALE},
    {"odd period, half rounded up", 3, 1, AFPA_OK, AFPA_OK},
    {"odd period, beyond half", 3, 2, AFPA_CHECK_DUE, AFPA_OK},
    {"no period at all", 0, 0, AFPA_STALE, AFPA_STALE},
};

START_TEST(judge)
{
    afpa__object_shared_t object = {0};

    fixture_clock_stop();
    atomic_store(&object.last_check, afpa__now_ms());
    fixture_clock_advance(judge_cases[_i].age_ms);
    ck_assert_msg(afpa__fresh_judge(&object, judge_cases[_i].revalidate_ms) == judge_cases[_i].first, "%s", judge_cases[_i].label);
    ck_assert_msg(afpa__fresh_judge(&object, judge_cases[_i].revalidate_ms) == judge_cases[_i].second, "%s", judge_cases[_i].label);
    afpa__clock_set(NULL);
}
END_TEST

/* A check that nobody came to do must not be the last one offered. */
START_TEST(check_offered_again)
{
    afpa__object_shared_t object = {0};

    fixture_clock_stop();
    atomic_store(&object.last_check, afpa__now_ms());
    fixture_clock_advance(60000);
    ck_assert_int_eq(afpa__fresh_judge(&object, 100000), AFPA_CHECK_DUE);
    fixture_clock_advance(1000);
    ck_assert_int_eq(afpa__fresh_judge(&object, 100000), AFPA_OK);
    atomic_fetch_add(&object.last_check, 20000);
    fixture_clock_advance(50000);
    ck_assert_int_eq(afpa__fresh_judge(&object, 100000), AFPA_CHECK_DUE);
    afpa__clock_set(NULL);
}
END_TEST

/* A segment that outlives a boot of the clock, or a damaged one: a check from the future is no reason to serve for ever. */
START_TEST(check_from_the_future)
{
    afpa__object_shared_t object = {0};

    fixture_clock_stop();
    atomic_store(&object.last_check, afpa__now_ms() + 5000);
    ck_assert_int_eq(afpa__fresh_judge(&object, 1000), AFPA_STALE);
    afpa__clock_set(NULL);
}
END_TEST

static void change_content(const char *path)
{
    FILE *file = fopen(path, "r+");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ne(fputc('x', file), EOF);
    ck_assert_int_eq(fclose(file), 0);
}

static void change_mode(const char *path)
{
    ck_assert_int_eq(chmod(path, 0600), 0);
}

static void change_size(const char *path)
{
    ck_assert_int_eq(truncate(path, 5), 0);
}

static void change_name(const char *path)
{
    char other[FIXTURE_PATH + 8];

    snprintf(other, sizeof(other), "%s.moved", path);
    ck_assert_int_eq(rename(path, other), 0);
}

static void change_nothing(const char *path)
{
    (void)path;
}

static const struct {
    void (*change)(const char *path);
    afpa_status_t check, lookup;
} change_cases[] = {
    {change_nothing, AFPA_OK, AFPA_OK},     {change_content, AFPA_CHANGED, AFPA_MISS}, {change_mode, AFPA_CHANGED, AFPA_MISS},
    {change_size, AFPA_CHANGED, AFPA_MISS}, {change_name, AFPA_CHANGED, AFPA_MISS},
};

START_TEST(check)
{
    fixture_t f;
    const char *path;

    fixture_begin(&f, 4 << 20);
    fixture_clock_stop();
    path = fixture_file(&f, "a", 100, 1);
    fixture_load(&f, "a");
    change_cases[_i].change(path);
    ck_assert_int_eq(afpa_cache_check(f.cache, path, strlen(path)), change_cases[_i].check);
    ck_assert_int_eq(fixture_lookup(&f, "a"), change_cases[_i].lookup);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REVALIDATIONS), 1);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_RETIRED), change_cases[_i].check == AFPA_CHANGED);
    fixture_end(&f);
}
END_TEST

START_TEST(check_of_nothing)
{
    fixture_t f;
    const char *path;

    fixture_begin(&f, 4 << 20);
    path = fixture_path(&f, "none");
    ck_assert_int_eq(afpa_cache_check(f.cache, path, strlen(path)), AFPA_NOT_FOUND);
    fixture_end(&f);
}
END_TEST

/* A check that found the same makes the object young again; the age counts from before the stat(). */
START_TEST(check_renews)
{
    fixture_t f;
    const char *path;

    fixture_clock_stop();
    fixture_begin(&f, 4 << 20);
    path = fixture_file(&f, "a", 100, 1);
    fixture_load(&f, "a");
    fixture_away(&f);
    fixture_clock_advance(1000);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_STALE);
    ck_assert_int_eq(afpa_cache_check(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    fixture_end(&f);
}
END_TEST

/* ---- checks that a look-up makes itself ---- */

static afpa_status_t lookup(fixture_t *f, const char *path, afpa_ref_t *ref)
{
    afpa_status_t status = afpa_cache_lookup(f->cache, path, strlen(path), f->policy.revalidate_ms, ref);

    ck_assert_int_eq(ref->cache != NULL, status == AFPA_OK || status == AFPA_CHECK_DUE);
    afpa_cache_release(ref);
    return status;
}

static const uint64_t at_once_ages[] = {600, 1000};

/* Due or stale: what is the same is served, checked; of what changed nothing is said but what its age says. */
START_TEST(at_once)
{
    uint64_t age = at_once_ages[_i % 2];
    unsigned change = (unsigned)_i / 2;
    afpa_status_t by_age = age < 1000 ? AFPA_CHECK_DUE : AFPA_STALE;
    const char *path;
    afpa_ref_t ref;
    fixture_t f;
    bool same;

    fixture_clock_stop();
    fixture_begin(&f, 4 << 20);
    path = fixture_file(&f, "a", 100, 1);
    fixture_load(&f, "a");
    same = change_cases[change].check == AFPA_OK && fixture_at_once(&f);
    change_cases[change].change(path);
    fixture_clock_advance(age);
    ck_assert_int_eq(lookup(&f, path, &ref), same ? AFPA_OK : by_age);
    if (same)
        ck_assert_int_eq(ref.checked, by_age == AFPA_STALE);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REVALIDATIONS), same);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_RETIRED), 0); /* that takes locks: a worker's */
    fixture_clock_advance(499);
    ck_assert_int_eq(lookup(&f, path, &ref), same ? AFPA_OK : age + 499 < 1000 ? AFPA_OK : AFPA_STALE);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REVALIDATIONS), same); /* it is young again */
    fixture_end(&f);
}
END_TEST

/* Where the kernel would have to wait, or could have to: nothing is looked at. */
START_TEST(not_at_once)
{
    char path[FIXTURE_PATH + 16];
    afpa_ref_t ref;
    fixture_t f;

    fixture_clock_stop();
    fixture_begin(&f, 4 << 20);
    /* A link of /proc has its target computed, which the kernel does not do in passing. */
    snprintf(path, sizeof(path), "%s%s", _i == 0 ? "/proc/self/root" : "", fixture_file(&f, "a", 100, 1));
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    afpa_cache_release(&ref);
    if (_i == 1)
        fixture_away(&f);
    fixture_clock_advance(600);
    ck_assert_int_eq(lookup(&f, path, &ref), AFPA_CHECK_DUE);
    fixture_clock_advance(400);
    ck_assert_int_eq(lookup(&f, path, &ref), AFPA_STALE);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REVALIDATIONS), 0);
    ck_assert_int_eq(afpa_cache_check(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert_int_eq(lookup(&f, path, &ref), AFPA_OK);
    fixture_end(&f);
}
END_TEST

/* Who holds a retired object may finish with it; nobody new finds it; its room comes back with the last release. */
START_TEST(retired_while_held)
{
    fixture_t f;
    const char *path;
    afpa_extent_t extent;
    afpa_stat_t stat;
    afpa_ref_t ref;

    fixture_begin(&f, 4 << 20);
    path = fixture_file(&f, "a", 5000, 1);
    ref = fixture_open(&f, "a");
    path = fixture_file(&f, "a", 5000, 2);
    ck_assert_int_eq(afpa_cache_check(f.cache, path, strlen(path)), AFPA_CHANGED);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_MISS);
    ck_assert_int_eq(afpa_cache_pin(&ref, 0, AFPA_PIN_COPY, &extent), AFPA_OK);
    ck_assert(fixture_right(&extent, "a", 1, 0));
    afpa_cache_release(&ref);
    fixture_load(&f, "a");
    ck_assert(fixture_right(&extent, "a", 1, 0));
    afpa_cache_unpin(&extent);
    afpa_cache_reap(f.cache);
    afpa_inspect_stat(f.zone, &stat);
    ck_assert_uint_eq(stat.objects, 1);
    ck_assert_uint_eq(stat.bytes_cached, 5000);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fresh");
    TCase *tc = tcase_create("judge");

    tcase_add_loop_test(tc, judge, 0, CHECK_COUNT(judge_cases));
    suite_add_tcase(suite, tc);
    check_add(suite, "check_offered_again", check_offered_again);
    check_add(suite, "check_from_the_future", check_from_the_future);
    tc = tcase_create("check");
    tcase_add_loop_test(tc, check, 0, CHECK_COUNT(change_cases));
    suite_add_tcase(suite, tc);
    check_add(suite, "check_of_nothing", check_of_nothing);
    check_add(suite, "check_renews", check_renews);
    tc = tcase_create("at once");
    tcase_add_loop_test(tc, at_once, 0, 2 * CHECK_COUNT(change_cases));
    tcase_add_loop_test(tc, not_at_once, 0, 2);
    suite_add_tcase(suite, tc);
    check_add(suite, "retired_while_held", retired_while_held);
    return check_main(suite);
}
