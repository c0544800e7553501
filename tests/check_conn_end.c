/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections of the engine: their limits, their timers, and how they end.
 */
#include "config.h"

#include "conn_rig.h"
#include "object.h"
#include "space.h"

/* ---- limits ---- */

START_TEST(requests_limit)
{
    const afpa_limits_t three = {.keep_alive_ms = 1000, .send_ms = 1000, .lifetime_ms = 1000000, .requests = 3};
    rig_t r;

    rig_begin(&r);
    rig_admit(&r, "/three", "small", &three);
    r.setup.requests = (uint32_t)_i;
    rig_start(&r);
    for (int i = _i; i < 2; i++)
        rig_arrive(&r, GET("/three"));
    ck_assert_uint_eq(r.closes, 0);
    rig_arrive(&r, GET("/three"));
    ck_assert_uint_eq(r.closes, 1);
    ck_assert_uint_eq(r.told, 3 - (unsigned)_i);
    rig_end(&r);
}
END_TEST

START_TEST(lifetime_limit)
{
    const afpa_limits_t brief = {.keep_alive_ms = 1000, .send_ms = 1000, .lifetime_ms = 400, .requests = 1000};
    rig_t r;

    rig_begin(&r);
    rig_admit(&r, "/brief", "small", &brief);
    rig_start(&r);
    rig_arrive(&r, GET("/brief"));
    fixture_clock_advance(400);
    ck_assert_uint_eq(r.closes, 0);
    rig_arrive(&r, GET("/brief"));
    ck_assert_uint_eq(r.closes, 1);
    ck_assert_uint_eq(r.told, 2);
    rig_end(&r);
}
END_TEST

START_TEST(no_keep_alive)
{
    const afpa_limits_t none = {.keep_alive_ms = 0, .send_ms = 1000, .lifetime_ms = 1000000, .requests = 1000};
    rig_t r;

    rig_begin(&r);
    rig_admit(&r, "/none", "small", &none);
    rig_start(&r);
    rig_arrive(&r, GET("/none"));
    ck_assert_uint_eq(r.closes, 1);
    ck_assert_ptr_nonnull(memmem(r.conn.sent, r.conn.sent_length, "Connection: close\r\n", 19));
    rig_end(&r);
}
END_TEST

/* ---- timers ---- */

/* Not before its time, and at most two ticks late. */
static void ends_after(rig_t *r, unsigned ms)
{
    rig_pass(r, ms - 250);
    ck_assert_uint_eq(r->closes, 0);
    rig_pass(r, 1000);
    rig_settle(r);
    ck_assert_uint_eq(r->closes, 1);
}

START_TEST(first_timeout)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    ends_after(&r, 60000);
    ck_assert(!r.stalled);
    rig_end(&r);
}
END_TEST

START_TEST(idle_timeout)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    rig_pass(&r, 500);
    rig_arrive(&r, GET("/small"));
    ends_after(&r, 75000);
    rig_end(&r);
}
END_TEST

/* A byte now and then does not make a head last longer. */
START_TEST(head_timeout)
{
    rig_t r;

    rig_begin(&r);
    r.setup.head_ms = 5000;
    rig_start(&r);
    rig_arrive(&r, GET("/small"));
    rig_arrive(&r, "GET /small HTTP/1.1\r\nX: ");
    for (unsigned i = 0; i < 9; i++) {
        rig_pass(&r, 500);
        rig_arrive(&r, "x");
    }
    ck_assert_uint_eq(r.closes, 0);
    rig_pass(&r, 1000);
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

/* Bytes of it do where there is a rate: these 27 are 2.7 s more, or as many as there may be. */
START_TEST(head_timeout_with_rate)
{
    rig_t r;

    rig_begin(&r);
    r.setup.head_ms = 5000;
    r.setup.head_rate = 10;
    r.setup.head_most_ms = _i == 0 ? 0 : 7000;
    rig_start(&r);
    rig_pass(&r, 3000);
    rig_arrive(&r, "GET /small HTTP/1.1\r\n"); /* 21 */
    rig_pass(&r, 1000);
    rig_arrive(&r, "Host: ");
    ends_after(&r, _i == 0 ? 6700 : 6000);
    rig_end(&r);
}
END_TEST

/* The next head has its time anew. */
START_TEST(head_timeout_is_per_head)
{
    rig_t r;

    rig_begin(&r);
    r.setup.head_ms = 5000;
    rig_start(&r);
    for (unsigned i = 0; i < 4; i++) {
        rig_arrive(&r, "GET /small HTTP/1.1\r\n");
        rig_pass(&r, 500);
        rig_arrive(&r, "Host: h\r\n\r\nGET /small HTTP/1.1\r\nHo");
        rig_settle(&r); /* the check of the file */
        rig_pass(&r, 500);
        rig_arrive(&r, "st: h\r\n\r\n");
        rig_settle(&r);
    }
    ck_assert_uint_eq(r.closes + r.handovers, 0);
    ck_assert_uint_eq(r.told, 8);
    rig_end(&r);
}
END_TEST

/* As a host has it whose time for the first head runs from the accept on, and for the others from their first byte. */
START_TEST(head_timeout_in_first)
{
    rig_t r;

    rig_begin(&r);
    r.setup.first_ms = 5000;
    r.setup.head_ms = _i == 1 ? 2000 : 10000;
    r.setup.head_in_first = true;
    rig_start(&r);
    rig_pass(&r, 3000);
    rig_arrive(&r, "GET /small HTTP/1.1\r\n");
    if (_i < 2) {
        ends_after(&r, 2000);
    } else {
        rig_arrive(&r, "Host: h\r\n\r\n");
        rig_settle(&r);
        rig_pass(&r, 3000);
        rig_arrive(&r, "GET /small HTTP/1.1\r\n");
        ends_after(&r, 10000);
    }
    rig_end(&r);
}
END_TEST

START_TEST(send_timeout)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    r.conn.block = 1;
    rig_arrive(&r, _i == 0 ? GET("/small") : _i == 1 ? GET("/one") : GET("/large"));
    ends_after(&r, 60000);
    ck_assert(r.stalled);
    rig_end(&r);
}
END_TEST

/* A payload that goes on, however slowly, is not timed out; one that stops is, so long after its last piece, and its reply is told
 * as cut. */
START_TEST(send_progress)
{
    rig_t r;

    rig_begin(&r);
    r.conn.accept = 1000;
    rig_start(&r);
    r.conn.block = 3;
    rig_arrive(&r, GET("/large"));
    for (unsigned i = 0; i < 20; i++) {
        rig_pass(&r, 30000);
        ck_assert(r.conn.waits);
        fake_conn_writable(&r.conn);
    }
    ends_after(&r, 60000);
    ck_assert(r.stalled);
    ck_assert_uint_eq(r.told, 1);
    ck_assert(r.replies[0].cut && r.replies[0].body > 0 && r.replies[0].body < RIG_LARGE);
    rig_end(&r);
}
END_TEST

/* Takes a chunk out of memory. */
static void evict(rig_t *r, const char *name, uint32_t index)
{
    afpa_ref_t ref = fixture_open(&r->f, name);
    afpa__segment_t *s = r->f.segment;

    afpa__space_take(s);
    afpa__entry_free(s, afpa__object_entry(s, ref.object, index));
    afpa__space_release(s);
    afpa_cache_release(&ref);
}

/* A chunk that takes long to read is no fault of the client's. */
START_TEST(send_waits_for_a_disk)
{
    rig_t r;

    rig_begin(&r);
    evict(&r, "large", 2);
    rig_start(&r);
    if (_i == 1)
        r.conn.accept = 1000;
    r.conn.block = 2;
    rig_arrive(&r, GET("/large"));
    while (!r.jobs.queued) {
        ck_assert(r.conn.waits);
        rig_pass(&r, 20000);
        fake_conn_writable(&r.conn);
    }
    rig_pass(&r, 200000);
    ck_assert_uint_eq(r.closes, 0);
    r.conn.block = 0;
    rig_settle(&r);
    rig_sent(&r, GET("/large"));
    rig_end(&r);
}
END_TEST

/* ---- ends ---- */

/* What was sent behind the last request is read and thrown away for a while, so that no reset overtakes the reply. */
START_TEST(lingers)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    rig_arrive(&r, CLOSE("/small") GET("/small"));
    rig_sent(&r, CLOSE("/small"));
    ck_assert(r.conn.released && !r.conn.closed);
    rig_arrive(&r, GET("/small"));
    ck_assert_uint_eq(r.told, 1);
    if (_i == 0)
        fake_conn_eof(&r.conn);
    else if (_i == 1)
        fake_conn_reset(&r.conn);
    else
        ends_after(&r, 5000);
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

/* What comes while the last reply is on its way is not received, and must not be forgotten: closed with it unread, the connection
 * would be reset, and the rest of the reply lost. */
START_TEST(lingers_over_what_is_unread)
{
    static const char *const requests[] = {CLOSE("/one"), CLOSE("/large"), GET("/one")};
    bool last = _i < 2;
    rig_t r;

    rig_begin(&r);
    r.conn.accept = 1000;
    rig_start(&r);
    r.conn.block = 3;
    rig_arrive(&r, requests[_i]);
    fake_conn_arrive(&r.conn, GET("/small"), strlen(GET("/small")));
    if (!last)
        afpa_conn_close(r.c); /* the host ends: that reply is the last */
    rig_settle(&r);
    rig_sent(&r, requests[_i]);
    ck_assert_msg(r.conn.released && !r.conn.closed, "%s", requests[_i]);
    ck_assert_uint_eq(r.told, 1);
    ck_assert_uint_eq(r.conn.arrived_length, 0);
    fake_conn_eof(&r.conn);
    rig_settle(&r);
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

static const char *const under_way[] = {
    "", "GET /sm", GET("/small"), GET("/one"), GET("/large"), GET("/large"), CLOSE("/small") "GET "};

/* Whatever it is doing: nothing more of it, and once. */
START_TEST(aborted)
{
    rig_t r;

    rig_begin(&r);
    r.conn.accept = 1000;
    rig_start(&r);
    if (_i >= 2 && _i < 6)
        r.conn.block = _i == 5 ? 3 : 1;
    rig_arrive(&r, under_way[_i]);
    ck_assert_uint_eq(r.closes, 0);
    afpa_conn_abort(r.c);
    rig_settle(&r);
    ck_assert_uint_eq(r.closes, 1);
    ck_assert_uint_eq(r.handovers, 0);
    ck_assert(r.told == 0 || r.replies[0].cut || _i == 6 || _i == 2);
    rig_end(&r);
}
END_TEST

static const char *const ends[] = {"", "GET /sm", GET("/small"), GET("/small") "GET "};

START_TEST(peer_ends)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    rig_arrive(&r, ends[_i / 2]);
    if (_i % 2)
        fake_conn_reset(&r.conn);
    else
        fake_conn_eof(&r.conn);
    ck_assert_uint_eq(r.closes, 1);
    ck_assert_uint_eq(r.told, _i >= 4);
    rig_end(&r);
}
END_TEST

/* A host that wants them gets heads that do not arrive whole: what came of them, once; and no others. */
START_TEST(unfinished)
{
    const char *begun = ends[_i / 3];
    size_t answered = begun == ends[2] || begun == ends[3] ? strlen(ends[2]) : 0;
    size_t left = strlen(begun) - answered;
    rig_t r;

    rig_begin(&r);
    rig_take_unfinished(&r);
    r.setup.head_ms = 5000;
    rig_start(&r);
    rig_arrive(&r, begun);
    if (_i % 3 == 0)
        rig_pass(&r, 80000);
    else if (_i % 3 == 1)
        fake_conn_eof(&r.conn);
    else
        fake_conn_reset(&r.conn);
    rig_settle(&r);
    ck_assert_uint_eq(r.unfinished, left > 0);
    ck_assert_uint_eq(r.closes, left == 0);
    ck_assert_uint_eq(r.told, answered > 0);
    if (left > 0) {
        ck_assert_uint_eq(r.handed_length, left);
        ck_assert_int_eq(memcmp(r.handed, begun + answered, left), 0);
        ck_assert_int_eq(r.timed_out, _i % 3 == 0);
    }
    rig_end(&r);
}
END_TEST

/* A request, then the end of the stream: it is answered. */
START_TEST(half_closed)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    r.conn.block = 1;
    rig_arrive(&r, GET("/large"));
    fake_conn_eof(&r.conn);
    ck_assert_uint_eq(r.closes, 0);
    r.conn.block = 0;
    rig_settle(&r);
    rig_sent(&r, GET("/large"));
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

START_TEST(broken_while_sending)
{
    rig_t r;

    rig_begin(&r);
    r.conn.accept = 500;
    r.conn.block = 2;
    r.conn.late = _i / 2;
    rig_start(&r);
    rig_arrive(&r, _i % 2 ? GET("/large") GET("/small") : GET("/small") GET("/large"));
    fake_conn_reset(&r.conn);
    rig_settle(&r);
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

/* The file changes while its reply is on its way: the reply is cut. */
START_TEST(file_changes)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    ck_assert_int_eq(afpa_cache_purge(r.f.cache, fixture_path(&r.f, "large"), strlen(fixture_path(&r.f, "large"))), AFPA_OK);
    rig_arrive(&r, GET("/large"));
    ck_assert_uint_eq(r.handovers, 1); /* its response went with it */
    rig_end(&r);
}
END_TEST

START_TEST(closed_by_host)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    ck_assert(afpa_conn_idle(r.c));
    if (_i == 0) {
        afpa_conn_close(r.c);
    } else {
        r.conn.block = _i == 1 ? 1 : 2;
        rig_arrive(&r, GET("/large"));
        ck_assert(!afpa_conn_idle(r.c));
        afpa_conn_close(r.c);
        ck_assert_uint_eq(r.closes, 0);
        r.conn.block = 0;
        rig_settle(&r);
        rig_sent(&r, GET("/large"));
    }
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

/* A head that has begun is still read; its reply says that it is the last. */
START_TEST(closed_in_a_head)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    rig_arrive(&r, "GET /small HTT");
    afpa_conn_close(r.c);
    ck_assert_uint_eq(r.closes, 0);
    rig_arrive(&r, "P/1.1\r\nHost: h\r\n\r\n");
    rig_sent(&r, CLOSE("/small"));
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn_end");

    check_add_loop(suite, "requests_limit", requests_limit, 3);
    check_add_loop(suite, "lifetime_limit", lifetime_limit, 1);
    check_add_loop(suite, "no_keep_alive", no_keep_alive, 1);
    check_add_loop(suite, "first_timeout", first_timeout, 1);
    check_add_loop(suite, "idle_timeout", idle_timeout, 1);
    check_add_loop(suite, "head_timeout", head_timeout, 1);
    check_add_loop(suite, "head_timeout_with_rate", head_timeout_with_rate, 2);
    check_add_loop(suite, "head_timeout_is_per_head", head_timeout_is_per_head, 1);
    check_add_loop(suite, "head_timeout_in_first", head_timeout_in_first, 3);
    check_add_loop(suite, "send_timeout", send_timeout, 3);
    check_add_loop(suite, "send_progress", send_progress, 1);
    check_add_loop(suite, "send_waits_for_a_disk", send_waits_for_a_disk, 2);
    check_add_loop(suite, "lingers", lingers, 3);
    check_add_loop(suite, "lingers_over_what_is_unread", lingers_over_what_is_unread, 3);
    check_add_loop(suite, "aborted", aborted, CHECK_COUNT(under_way));
    check_add_loop(suite, "peer_ends", peer_ends, 2 * CHECK_COUNT(ends));
    check_add_loop(suite, "unfinished", unfinished, 3 * CHECK_COUNT(ends));
    check_add_loop(suite, "half_closed", half_closed, 1);
    check_add_loop(suite, "broken_while_sending", broken_while_sending, 4);
    check_add_loop(suite, "file_changes", file_changes, 1);
    check_add_loop(suite, "closed_by_host", closed_by_host, 3);
    check_add_loop(suite, "closed_in_a_head", closed_in_a_head, 1);
    return check_main(suite);
}
