/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock: milliseconds of CLOCK_MONOTONIC to within a tick, never backwards, the same for all processes; and replaceable.
 */
#include "config.h"

#include <time.h>

#include "check_main.h"
#include "child.h"
#include "clock.h"

#define TICK_MS 10 /* a coarse clock lags by one kernel tick at most: CONFIG_HZ is 100 or more */

static uint64_t monotonic_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

START_TEST(milliseconds)
{
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t before = monotonic_ms(), now = afpa__now_ms(), after = monotonic_ms();

        CHECK_THAT(now + TICK_MS + 1 >= before);
        CHECK_THAT(now <= after);
    }
}
END_TEST

START_TEST(never_backwards)
{
    uint64_t last = afpa__now_ms();

    for (unsigned i = 0; i < 100000; i++) {
        uint64_t now = afpa__now_ms();

        CHECK_THAT(now >= last);
        last = now;
    }
}
END_TEST

START_TEST(goes_on)
{
    struct timespec pause = {0, 60000000};
    uint64_t before = afpa__now_ms();

    ck_assert_int_eq(nanosleep(&pause, NULL), 0);
    ck_assert_uint_ge(afpa__now_ms() - before, 60 - TICK_MS - 1);
}
END_TEST

static child_result_t between(void *arg)
{
    CHILD_NEED(afpa__now_ms() >= *(uint64_t *)arg);
    CHILD_NEED(afpa__now_ms() <= *(uint64_t *)arg + 60000);
    return CHILD_GOOD;
}

/* Whether an object is fresh is judged by one process and checked by another. */
START_TEST(same_in_all_processes)
{
    uint64_t before = afpa__now_ms();

    child_run(between, &before, "same in all processes");
    ck_assert_uint_ge(afpa__now_ms(), before);
}
END_TEST

static uint64_t standing(void)
{
    return 42;
}

static uint64_t counting(void)
{
    static uint64_t calls;

    return ++calls;
}

static child_result_t replaced_there(void *arg)
{
    (void)arg;
    afpa__clock_set(counting);
    CHILD_NEED(afpa__now_ms() == 1);
    return CHILD_GOOD;
}

START_TEST(replaced)
{
    uint64_t before = afpa__now_ms();

    afpa__clock_set(standing);
    ck_assert_uint_eq(afpa__now_ms(), 42);
    child_run(replaced_there, NULL, "replaced elsewhere");
    ck_assert_uint_eq(afpa__now_ms(), 42);
    afpa__clock_set(counting);
    ck_assert_uint_eq(afpa__now_ms(), 1);
    ck_assert_uint_eq(afpa__now_ms(), 2); /* asked once per call */
    afpa__clock_set(NULL);
    ck_assert_uint_ge(afpa__now_ms(), before);
    afpa__clock_set(NULL);
    ck_assert_uint_ge(afpa__now_ms(), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");

    check_add(suite, "milliseconds", milliseconds);
    check_add(suite, "never_backwards", never_backwards);
    check_add(suite, "goes_on", goes_on);
    check_add(suite, "same_in_all_processes", same_in_all_processes);
    check_add(suite, "replaced", replaced);
    return check_main(suite);
}
