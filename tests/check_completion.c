/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of flights: a pin goes when all that is wanted of its chunk was accepted *and* all that was accepted has completed,
 * never before; completions are counted off oldest first, the header before everything; more than was accepted aborts.
 */
#include "config.h"

#include "check_main.h"
#include "completion.h"
#include "fake_cache.h"

#define CHUNK 1000u

typedef struct ring {
    fake_cache_t cache;
    afpa_ref_t ref;
    afpa_send_t send;
} ring_t;

static void ring_begin(ring_t *r, unsigned window)
{
    memset(r, 0, sizeof(*r));
    fake_cache_begin(&r->cache, 100 * CHUNK, CHUNK);
    fake_cache_fill_all(&r->cache);
    r->ref = fake_cache_hold(&r->cache);
    r->send.setup.window = window;
}

static void ring_end(ring_t *r)
{
    ck_assert(afpa__flight_none(&r->send));
    afpa_cache_release(&r->ref);
    fake_cache_end(&r->cache);
}

static afpa_flight_t *begin(ring_t *r, uint32_t index)
{
    afpa_extent_t extent;
    afpa_flight_t *begun;

    ck_assert_int_eq(afpa_cache_pin(&r->ref, index, AFPA_PIN_COPY, &extent), AFPA_OK);
    begun = afpa__flight_begin(&r->send, &extent, CHUNK);
    ck_assert_msg(extent.cache == NULL, "a flight takes its extent over");
    return begun;
}

START_TEST(accepted_is_not_completed)
{
    ring_t r;

    ring_begin(&r, 4);
    begin(&r, 0);
    afpa__flight_accept(&r.send, CHUNK);
    ck_assert_ptr_null(afpa__flight_current(&r.send));
    ck_assert_uint_eq(r.cache.pins, 1);
    ck_assert(!afpa__flight_none(&r.send));
    afpa__flight_complete(&r.send, CHUNK - 1);
    ck_assert_uint_eq(r.cache.pins, 1);
    afpa__flight_complete(&r.send, 1);
    ck_assert_uint_eq(r.cache.pins, 0);
    ring_end(&r);
}
END_TEST

/* All that was accepted has completed, but more of the chunk is still to be offered: the pin stays. */
START_TEST(completed_is_not_accepted)
{
    ring_t r;

    ring_begin(&r, 4);
    begin(&r, 0);
    afpa__flight_accept(&r.send, 400);
    afpa__flight_complete(&r.send, 400);
    ck_assert_uint_eq(r.cache.pins, 1);
    ck_assert_ptr_nonnull(afpa__flight_current(&r.send));
    afpa__flight_accept(&r.send, 600);
    ck_assert_uint_eq(r.cache.pins, 1);
    afpa__flight_complete(&r.send, 600);
    ck_assert_uint_eq(r.cache.pins, 0);
    ring_end(&r);
}
END_TEST

START_TEST(oldest_first)
{
    ring_t r;

    ring_begin(&r, 4);
    for (uint32_t i = 0; i < 4; i++) {
        begin(&r, i);
        afpa__flight_accept(&r.send, CHUNK);
    }
    for (unsigned part = 1; part <= 8; part++) {
        afpa__flight_complete(&r.send, CHUNK / 2);
        for (unsigned i = 0; i < 4; i++)
            ck_assert_uint_eq(r.cache.entries[i].pins, part < 2 * (i + 1));
    }
    ring_end(&r);
}
END_TEST

/* One completion may span several flights, and its end may lie in the middle of one. */
START_TEST(one_for_many)
{
    ring_t r;

    ring_begin(&r, 8);
    for (uint32_t i = 0; i < 5; i++) {
        begin(&r, i);
        afpa__flight_accept(&r.send, CHUNK);
    }
    afpa__flight_complete(&r.send, 3 * CHUNK + 1);
    ck_assert_uint_eq(r.cache.pins, 2);
    afpa__flight_complete(&r.send, 2 * CHUNK - 1);
    ck_assert_uint_eq(r.cache.pins, 0);
    ring_end(&r);
}
END_TEST

START_TEST(header_first)
{
    ring_t r;

    ring_begin(&r, 4);
    r.send.header_outstanding = 100;
    begin(&r, 0);
    afpa__flight_accept(&r.send, CHUNK);
    afpa__flight_complete(&r.send, 99);
    ck_assert_uint_eq(r.send.header_outstanding, 1);
    ck_assert_uint_eq(r.send.flights[0].outstanding, CHUNK);
    afpa__flight_complete(&r.send, CHUNK);
    ck_assert_uint_eq(r.send.header_outstanding, 0);
    ck_assert_uint_eq(r.cache.pins, 1);
    ck_assert(!afpa__flight_none(&r.send));
    afpa__flight_complete(&r.send, 1);
    ring_end(&r);
}
END_TEST

START_TEST(window_bounds)
{
    unsigned window = (unsigned)_i + 1;
    ring_t r;

    ring_begin(&r, window);
    for (unsigned round = 0; round < 3 * AFPA_SEND_WINDOW_MAX; round++) {
        while (afpa__flight_room(&r.send)) {
            begin(&r, r.send.flying);
            afpa__flight_accept(&r.send, CHUNK);
        }
        ck_assert_uint_eq(r.cache.pins, window);
        afpa__flight_complete(&r.send, CHUNK);
        ck_assert(afpa__flight_room(&r.send));
    }
    afpa__flight_complete(&r.send, (window - 1) * CHUNK);
    ring_end(&r);
}
END_TEST

/* Stopping ends the flight under way: at once if the transport has nothing of it, else with its last completion. */
START_TEST(stop)
{
    static const size_t accepted[] = {0, 1, CHUNK - 1};
    ring_t r;

    ring_begin(&r, 4);
    afpa__flight_stop(&r.send); /* nothing to stop */
    begin(&r, 0);
    begin(&r, 1);
    if (accepted[_i])
        afpa__flight_accept(&r.send, accepted[_i]);
    afpa__flight_stop(&r.send);
    ck_assert_ptr_null(afpa__flight_current(&r.send));
    ck_assert_uint_eq(r.cache.pins, accepted[_i] > 0);
    if (accepted[_i])
        afpa__flight_complete(&r.send, accepted[_i]);
    ck_assert_uint_eq(r.cache.pins, 0);
    ring_end(&r);
}
END_TEST

/* ---- chunks pinned ahead ---- */

/* What is accepted goes to the current chunk, then to those behind it. */
START_TEST(accepted_over_many)
{
    afpa_flight_t *flights[4];
    ring_t r;

    ring_begin(&r, 4);
    for (uint32_t i = 0; i < 4; i++)
        flights[i] = begin(&r, i);
    afpa__flight_accept(&r.send, 2 * CHUNK + 1);
    ck_assert_ptr_eq(afpa__flight_current(&r.send), flights[2]);
    ck_assert_uint_eq(flights[1]->outstanding, CHUNK);
    ck_assert_uint_eq(flights[2]->wanted, CHUNK - 1);
    afpa__flight_complete(&r.send, 2 * CHUNK + 1);
    ck_assert_uint_eq(r.cache.pins, 2);
    afpa__flight_accept(&r.send, 2 * CHUNK - 1);
    ck_assert_ptr_null(afpa__flight_current(&r.send));
    afpa__flight_complete(&r.send, 2 * CHUNK - 1);
    ck_assert_uint_eq(r.cache.pins, 0);
    ring_end(&r);
}
END_TEST

/* In the order of beginning, wherever in the ring they lie. */
START_TEST(one_after_the_other)
{
    ring_t r;

    ring_begin(&r, AFPA_SEND_WINDOW_MAX);
    for (int i = 0; i < _i; i++) {
        begin(&r, 0);
        afpa__flight_accept(&r.send, CHUNK);
        afpa__flight_complete(&r.send, CHUNK);
    }
    for (uint32_t i = 0; i < AFPA_SEND_WINDOW_MAX; i++)
        begin(&r, i);
    for (uint32_t i = 0; i < AFPA_SEND_WINDOW_MAX; i++) {
        afpa_flight_t *current = afpa__flight_current(&r.send), *after = afpa__flight_after(&r.send, current);

        ck_assert_uint_eq(current->extent.entry, i);
        if (i == AFPA_SEND_WINDOW_MAX - 1)
            ck_assert_ptr_null(after);
        else
            ck_assert_uint_eq(after->extent.entry, i + 1);
        afpa__flight_accept(&r.send, CHUNK);
    }
    afpa__flight_complete(&r.send, AFPA_SEND_WINDOW_MAX * CHUNK);
    ring_end(&r);
}
END_TEST

/* Only those that nothing was accepted of are given back, and not the current one. */
START_TEST(trim)
{
    ring_t r;

    ring_begin(&r, 4);
    afpa__flight_trim(&r.send);
    for (uint32_t i = 0; i < 4; i++)
        begin(&r, i);
    afpa__flight_accept(&r.send, CHUNK);
    afpa__flight_trim(&r.send);
    ck_assert_uint_eq(r.cache.pins, 2);
    ck_assert_uint_eq(r.cache.entries[0].pins + r.cache.entries[1].pins, 2);
    ck_assert_uint_eq(afpa__flight_current(&r.send)->extent.entry, 1);
    afpa__flight_accept(&r.send, CHUNK);
    afpa__flight_trim(&r.send);
    ck_assert_uint_eq(r.cache.pins, 2);
    afpa__flight_complete(&r.send, 2 * CHUNK);
    ring_end(&r);
}
END_TEST

/* ---- bugs of the transport, or of the machine, abort ---- */

static void complete_twice(void *arg)
{
    ring_t *r = arg;

    afpa__flight_complete(&r->send, CHUNK);
    afpa__flight_complete(&r->send, CHUNK);
}

static void complete_too_much(void *arg)
{
    afpa__flight_complete(&((ring_t *)arg)->send, CHUNK + 1);
}

static void accept_without_flight(void *arg)
{
    afpa__flight_accept(&((ring_t *)arg)->send, 1);
}

static void accept_too_much(void *arg)
{
    ring_t *r = arg;

    afpa__flight_complete(&r->send, CHUNK);
    begin(r, 1);
    afpa__flight_accept(&r->send, CHUNK + 1);
}

static void begin_beyond_the_window(void *arg)
{
    begin(arg, 1);
}

static const struct {
    const char *name;
    void (*fn)(void *);
} bugs[] = {
    {"completed twice", complete_twice},
    {"completed more than accepted", complete_too_much},
    {"accepted without a flight", accept_without_flight},
    {"accepted more than offered", accept_too_much},
    {"begun beyond the window", begin_beyond_the_window},
};

START_TEST(bugs_abort)
{
    ring_t r;

    ring_begin(&r, 1);
    begin(&r, 0);
    afpa__flight_accept(&r.send, CHUNK);
    ck_assert_msg(check_aborts(bugs[_i].fn, &r, NULL, 0), "%s", bugs[_i].name);
    afpa__flight_complete(&r.send, CHUNK);
    ring_end(&r);
}
END_TEST

/* ---- against a model: bytes of chunks begun, bytes accepted, bytes completed ---- */

START_TEST(random_order)
{
    uint64_t random = 1000 + (uint64_t)_i, begun = 0, accepted = 0, completed = 0, wanted = 60 * CHUNK;
    ring_t r;

    ring_begin(&r, 1 + (unsigned)check_below(&random, AFPA_SEND_WINDOW_MAX));
    while (completed < wanted) {
        size_t part;

        while (begun < wanted && afpa__flight_room(&r.send) && check_below(&random, 2)) {
            begin(&r, (uint32_t)(begun / CHUNK));
            begun += CHUNK;
        }
        if (accepted < begun && check_below(&random, 2)) {
            part = 1 + check_below(&random, begun - accepted);
            accepted += part;
            afpa__flight_accept(&r.send, part);
        } else if (accepted < begun && check_below(&random, 4) == 0) {
            afpa__flight_trim(&r.send);
            begun = (accepted / CHUNK + 1) * CHUNK; /* the current one stays */
        } else if (accepted > completed) {
            part = 1 + check_below(&random, accepted - completed);
            completed += part;
            afpa__flight_complete(&r.send, part);
        }
        for (uint64_t i = 0; i < wanted / CHUNK; i++)
            CHECK_THAT(r.cache.entries[i].pins == (i * CHUNK < begun && completed < (i + 1) * CHUNK));
    }
    ring_end(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("completion");
    TCase *loops = tcase_create("loops");

    check_add(suite, "accepted_is_not_completed", accepted_is_not_completed);
    check_add(suite, "completed_is_not_accepted", completed_is_not_accepted);
    check_add(suite, "oldest_first", oldest_first);
    check_add(suite, "one_for_many", one_for_many);
    check_add(suite, "header_first", header_first);
    check_add(suite, "accepted_over_many", accepted_over_many);
    check_add(suite, "trim", trim);
    tcase_add_loop_test(loops, one_after_the_other, 0, AFPA_SEND_WINDOW_MAX);
    tcase_add_loop_test(loops, window_bounds, 0, AFPA_SEND_WINDOW_MAX);
    tcase_add_loop_test(loops, stop, 0, 3);
    tcase_add_loop_test(loops, bugs_abort, 0, CHECK_COUNT(bugs));
    tcase_add_loop_test(loops, random_order, 0, 50);
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
