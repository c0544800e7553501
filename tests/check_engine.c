/* SPDX-License-Identifier: Apache-2.0
 *
 * What the connections of an engine share: the bound on their number, recycling, timers at every distance, the date.
 */
#include "config.h"

#include <time.h>

#include "conn_rig.h"

/* As many as are allowed, and again when they are gone; none of it costs memory the second time. */
START_TEST(bound)
{
    afpa_conn_t *conns[4];
    rig_t r;

    rig_begin(&r);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 4; i++) {
            conns[i] = afpa__engine_conn(r.engine);
            ck_assert_ptr_nonnull(conns[i]);
        }
        ck_assert_ptr_null(afpa__engine_conn(r.engine));
        ck_assert_ptr_null(afpa_conn_start(r.engine, &r.setup));
        ck_assert_uint_eq(afpa_engine_conns(r.engine), 4);
        for (unsigned i = 0; i < 4; i++)
            afpa__engine_conn_free(conns[i]);
        ck_assert_uint_eq(afpa_engine_conns(r.engine), 0);
    }
    r.closes = 1;
    rig_end(&r);
}
END_TEST

START_TEST(buffers)
{
    afpa__out_t *outs[40];
    afpa_send_t *sends[40];
    rig_t r;

    rig_begin(&r);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 40; i++) {
            outs[i] = afpa__engine_out(r.engine);
            sends[i] = afpa__engine_send(r.engine);
            ck_assert(outs[i] && sends[i]);
            memset(outs[i], 1, sizeof(*outs[i]));
            memset(sends[i], 1, sizeof(*sends[i]));
        }
        for (unsigned i = 0; i < 40; i++) {
            afpa__engine_out_free(r.engine, outs[i]);
            afpa__engine_send_free(r.engine, sends[i]);
        }
    }
    ck_assert_uint_lt(r.engine->outs, 40);
    ck_assert_uint_lt(r.engine->sends, 40);
    r.closes = 1;
    rig_end(&r);
}
END_TEST

/* Nothing fires before its time, or more than two ticks after it, however far it is and however often it was put back. */
START_TEST(timers)
{
    static const uint32_t times[] = {1, 255, 256, 257, 1000, 65000, 65535, 65536, 66000, 300000};
    uint32_t ms = times[_i];
    rig_t r;

    rig_begin(&r);
    for (unsigned put_back = 0; put_back < 3; put_back++) {
        uint64_t passed = 0, limit = put_back * 700;

        r.setup.first_ms = ms;
        r.closes = 0;
        rig_start(&r);
        for (; passed < limit && limit < ms; passed += 100) { /* set anew, later each time */
            fixture_clock_advance(100);
            afpa_engine_tick(r.engine);
            afpa__timer_set(r.c, ms);
        }
        for (passed = 0; r.closes == 0 && passed < ms + 2000; passed += 50) {
            fixture_clock_advance(50);
            afpa_engine_tick(r.engine);
        }
        ck_assert_uint_eq(r.closes, 1);
        ck_assert_uint_ge(passed, ms - ms % 50);
        ck_assert_uint_le(passed, ms + 2 * AFPA_ENGINE_TICK_MS + 50);
        rig_again(&r);
    }
    r.closes = 1;
    rig_end(&r);
}
END_TEST

/* A timer that is set to an earlier time fires then. */
START_TEST(sooner)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    afpa__timer_set(r.c, 2000);
    for (unsigned i = 0; i < 7; i++) {
        fixture_clock_advance(250);
        afpa_engine_tick(r.engine);
        ck_assert_uint_eq(r.closes, 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        fixture_clock_advance(250);
        afpa_engine_tick(r.engine);
    }
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

/* A host that has no connection does not tick, so the wheel stands still. */
START_TEST(idle_for_long)
{
    static const uint64_t pauses[] = {65000, 75000, 131000, 140000, UINT64_C(86400000)};
    static const uint32_t times[] = {1000, 3000, 60000, 66000};
    uint32_t ms = times[_i / (int)CHECK_COUNT(pauses)];
    uint64_t passed = 0;
    rig_t r;

    rig_begin(&r);
    fixture_clock_advance(pauses[_i % (int)CHECK_COUNT(pauses)]);
    r.setup.first_ms = ms;
    rig_start(&r);
    for (; r.closes == 0 && passed < ms + 100000; passed += 50) {
        fixture_clock_advance(50);
        if (passed >= AFPA_ENGINE_TICK_MS)
            afpa_engine_tick(r.engine);
    }
    ck_assert_uint_ge(passed, ms - ms % 50);
    ck_assert_uint_le(passed, ms + 2 * AFPA_ENGINE_TICK_MS + 50);
    rig_end(&r);
}
END_TEST

/* The machine slept. */
START_TEST(long_pause)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    fixture_clock_advance(UINT64_C(1000) * 3600 * 24 * 30);
    afpa_engine_tick(r.engine);
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

START_TEST(date)
{
    int64_t before = time(NULL), after, is;
    rig_t r;

    rig_begin(&r);
    ck_assert(afpa_http_date_parse(afpa__engine_date(r.engine), AFPA_HTTP_DATE, &is));
    after = time(NULL);
    ck_assert_int_ge(is, before - 1); /* the coarse clock is up to a tick behind */
    ck_assert_int_le(is, after);
    r.closes = 1;
    rig_end(&r);
}
END_TEST

START_TEST(nothing)
{
    afpa_engine_t *engine = NULL;

    afpa_engine_destroy(&engine);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engine");

    check_add_loop(suite, "bound", bound, 1);
    check_add_loop(suite, "buffers", buffers, 1);
    check_add_loop(suite, "timers", timers, 10);
    check_add_loop(suite, "sooner", sooner, 1);
    check_add_loop(suite, "idle_for_long", idle_for_long, 20);
    check_add_loop(suite, "long_pause", long_pause, 1);
    check_add_loop(suite, "date", date, 1);
    check_add_loop(suite, "nothing", nothing, 1);
    return check_main(suite);
}
