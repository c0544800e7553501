/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections of the engine: what is answered and how, what is handed over, whatever the split of the bytes and whatever the
 * transport does with the replies.
 */
#include "config.h"

#include "conn_rig.h"

#define POST "POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"

/* ---- one after the other ---- */

static const struct {
    const char *requests;
    bool ends;
} answered[] = {
    {GET("/small"), false},
    {GET("/empty"), false},
    {GET("/one"), false},
    {GET("/large"), false},
    {HEAD("/large"), false},
    {SAME("/large"), false},
    {SAME("/empty") HEAD("/empty") GET("/empty"), false},
    {GET("/small") GET("/small?1") HEAD("/small?2") SAME("/small?3"), false},
    {GET("/large") GET("/small") GET("/large") GET("/large"), false},
    {GET("/small") GET("/large") GET("/small"), false},
    {GET("/one") GET("/one") GET("/small") GET("/one") GET("/large") GET("/one"), false},
    {OLD_KEEP("/small") GET("/small"), false},
    {CLOSE("/small"), true},
    {CLOSE("/one"), true},
    {CLOSE("/large"), true},
    {CLOSE("/empty"), true},
    {OLD("/small"), true},
    {GET("/small") CLOSE("/small"), true},
    {GET("/large") OLD("/large"), true},
};

START_TEST(replies)
{
    unsigned count = 0;
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    rig_arrive(&r, answered[_i].requests);
    rig_settle(&r);
    rig_sent(&r, answered[_i].requests);
    for (const char *at = answered[_i].requests; (at = strstr(at, " HTTP/1.")) != NULL; at++)
        count++;
    ck_assert_uint_eq(r.told, count);
    ck_assert_uint_eq(fixture_counter(&r.f, AFPA_COUNTER_FAST_HITS), count);
    ck_assert_uint_eq(r.closes, answered[_i].ends);
    ck_assert_uint_eq(r.handovers, 0);
    rig_end(&r);
}
END_TEST

/* One receive, one send, for as many as fit; the connection has no memory when it waits. */
START_TEST(pipelined)
{
    static char requests[64 * 64];
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    for (unsigned i = 0; i < 16; i++)
        sprintf(requests + strlen(requests), "GET /small?%u HTTP/1.1\r\nHost: h\r\n\r\n", i);
    ck_assert_uint_eq(r.conn.receives, 1);
    rig_arrive(&r, requests);
    rig_sent(&r, requests);
    ck_assert_uint_eq(r.conn.sends, 1);
    ck_assert_uint_eq(r.conn.receives, 2);
    ck_assert(!r.c->kept && !r.c->out && !r.c->send);
    rig_end(&r);
}
END_TEST

START_TEST(sent_by_reference)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    rig_arrive(&r, GET("/large"));
    ck_assert_uint_eq(r.conn.references, 1); /* three whole chunks side by side; the last 3392 bytes share theirs */
    rig_sent(&r, GET("/large"));
    rig_end(&r);
}
END_TEST

/* Chunks that are not in memory are read by a job, while nothing else moves. */
START_TEST(cold_chunks)
{
    afpa_ref_t other;
    rig_t r;

    rig_begin(&r);
    fixture_file(&r.f, "filler", 3500000, 1); /* most of the zone: the large file's later chunks have to go */
    other = fixture_open(&r.f, "filler");
    rig_start(&r);
    rig_arrive(&r, GET("/large") GET("/small"));
    rig_settle(&r);
    afpa_cache_release(&other);
    if (!r.handovers)
        rig_sent(&r, GET("/large") GET("/small"));
    rig_end(&r);
}
END_TEST

/* ---- to the host ---- */

static const struct {
    const char *answered, *handed;
    afpa_counter_t why;
} foreign[] = {
    {"", POST, AFPA_DECLINE_METHOD},
    {"", GET("/other"), AFPA_DECLINE_NO_RESPONSE},
    {"", "GET / HTTP/1.1\r\n\r\n", AFPA_DECLINE_REQUEST},
    {"", "GET /small HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n", AFPA_DECLINE_FIELD},
    {"", "GET /small HTTP/1.1\r\nHost: h\r\nIf-None-Match: small\r\n\r\n", AFPA_DECLINE_CONDITION},
    {"", "GET /small HTTP/1.1\r\nHost: other\r\n\r\n", AFPA_DECLINE_NO_RESPONSE},
    {"", "\x16\x03\x01", AFPA_DECLINE_METHOD},
    {"", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", AFPA_DECLINE_METHOD},
    {GET("/small"), POST GET("/small"), AFPA_DECLINE_METHOD},
    {GET("/large"), GET("/other") GET("/large"), AFPA_DECLINE_NO_RESPONSE},
    {GET("/one"), GET("/other") GET("/one"), AFPA_DECLINE_NO_RESPONSE},
    {GET("/small") SAME("/large") GET("/large"), "BREW /pot", AFPA_DECLINE_METHOD},
};

START_TEST(handed_over)
{
    char *all;
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    ck_assert_int_ge(asprintf(&all, "%s%s", foreign[_i].answered, foreign[_i].handed), 0);
    rig_arrive(&r, all);
    rig_settle(&r);
    rig_sent(&r, foreign[_i].answered);
    ck_assert_uint_eq(r.handovers, 1);
    ck_assert_int_eq(r.why, foreign[_i].why);
    ck_assert_uint_eq(r.handed_length, strlen(foreign[_i].handed));
    ck_assert_int_eq(memcmp(r.handed, foreign[_i].handed, r.handed_length), 0);
    ck_assert_uint_eq(fixture_counter(&r.f, foreign[_i].why), 1);
    ck_assert(!r.conn.closed && !r.conn.released);
    free(all);
    rig_end(&r);
}
END_TEST

START_TEST(disabled_and_stale)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    fixture_away(&r.f);
    if (_i == 0)
        afpa_zone_enable(r.f.zone, false);
    else
        fixture_clock_advance(1000);
    rig_arrive(&r, GET("/small"));
    ck_assert_uint_eq(r.handovers, 1);
    ck_assert_int_eq(r.why, _i ? AFPA_DECLINE_STALE : AFPA_DECLINE_DISABLED);
    rig_end(&r);
}
END_TEST

/* A file half way to too old is served, and checked once. */
START_TEST(check_due)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    fixture_away(&r.f);
    fixture_clock_advance(600);
    rig_arrive(&r, GET("/small") GET("/small"));
    ck_assert_uint_eq(r.jobs.submitted, 1);
    rig_settle(&r);
    ck_assert_uint_eq(fixture_counter(&r.f, AFPA_COUNTER_REVALIDATIONS), 1);
    fixture_clock_advance(600);
    rig_arrive(&r, GET("/small"));
    rig_sent(&r, GET("/small") GET("/small") GET("/small"));
    rig_settle(&r);
    r.jobs.full = true; /* a check that cannot be queued is no reason not to answer */
    fixture_clock_advance(600);
    rig_arrive(&r, GET("/small"));
    ck_assert_uint_eq(r.told, 4);
    rig_end(&r);
}
END_TEST

/* Where the look-up can check the file itself, no worker and no host is needed, however old it is. */
START_TEST(checked_at_once)
{
    bool can;
    rig_t r;

    rig_begin(&r);
    can = fixture_at_once(&r.f);
    rig_start(&r);
    fixture_clock_advance(5000);
    rig_arrive(&r, GET("/small") GET("/small"));
    ck_assert_uint_eq(r.handovers, !can);
    ck_assert_uint_eq(r.told, can ? 2 : 0);
    ck_assert_uint_eq(r.jobs.submitted, 0);
    ck_assert_uint_eq(fixture_counter(&r.f, AFPA_COUNTER_REVALIDATIONS), can);
    rig_end(&r);
}
END_TEST

/* ---- splits ---- */

static const char stream[] = GET("/small") HEAD("/small?1") SAME("/large") GET("/empty") GET("/one") GET("/small?2") POST;
static const char stream_answered[] = GET("/small") HEAD("/small?1") SAME("/large") GET("/empty") GET("/one") GET("/small?2");

/* Whatever came is answered or handed over, once, in order. */
static void nothing_lost(rig_t *r, size_t arrived)
{
    size_t answered_length = strlen(stream_answered), foreign_length = arrived - answered_length;

    rig_sent(r, stream_answered);
    ck_assert_uint_eq(r->handovers, 1);
    ck_assert_uint_eq(r->handed_length + r->conn.arrived_length, foreign_length);
    ck_assert_int_eq(memcmp(r->handed, stream + answered_length, r->handed_length), 0);
}

/* Two parts, at each place. */
START_TEST(each_split)
{
    rig_t r;

    rig_begin(&r);
    for (size_t at = 1; at < strlen(stream); at++) {
        rig_start(&r);
        fake_conn_arrive(&r.conn, stream, at);
        fake_conn_arrive(&r.conn, stream + at, strlen(stream) - at);
        nothing_lost(&r, strlen(stream));
        rig_again(&r);
    }
    r.handovers = 1;
    rig_end(&r);
}
END_TEST

/* Many parts, of random length, and a transport that takes what it wants, when it wants, and completes as it likes. */
START_TEST(random_splits)
{
    uint64_t random = 12345 + (uint64_t)_i;
    rig_t r;

    rig_begin(&r);
    for (unsigned round = 0; round < 300; round++) {
        size_t at = 0;

        r.conn.accept = check_below(&random, 3) ? SIZE_MAX : 1 + check_below(&random, 700);
        r.conn.block = (unsigned)check_below(&random, 4);
        r.conn.block += r.conn.block == 1;
        r.conn.late = check_below(&random, 2);
        rig_start(&r);
        while (at < strlen(stream)) {
            size_t part = 1 + check_below(&random, check_below(&random, 2) ? 8 : 150);

            part = part < strlen(stream) - at ? part : strlen(stream) - at;
            fake_conn_arrive(&r.conn, stream + at, part);
            at += part;
            if (check_below(&random, 2))
                fake_conn_complete(&r.conn, 1 + check_below(&random, 2000));
            if (check_below(&random, 3) == 0)
                fake_conn_writable(&r.conn);
        }
        rig_settle(&r);
        nothing_lost(&r, strlen(stream));
        rig_again(&r);
    }
    r.handovers = 1;
    rig_end(&r);
}
END_TEST

/* Bytes that were read before the engine got the connection. */
START_TEST(bytes_read_before)
{
    rig_t r;

    rig_begin(&r);
    r.setup.bytes = GET("/small") "GET /em";
    r.setup.length = strlen(r.setup.bytes);
    rig_start(&r);
    rig_sent(&r, GET("/small"));
    rig_arrive(&r, "pty HTTP/1.1\r\nHost: h\r\n\r\n");
    rig_sent(&r, GET("/small") GET("/empty"));
    rig_end(&r);
}
END_TEST

/* ---- slow readers ---- */

/* While its reply is stuck, nothing is received; what came with the request waits. */
START_TEST(blocked)
{
    const char *requests = _i ? GET("/large") GET("/small") GET("/small?1") : GET("/small") GET("/small?1");
    rig_t r;

    rig_begin(&r);
    r.conn.block = 1;
    rig_start(&r);
    rig_arrive(&r, requests);
    ck_assert_uint_eq(r.conn.sent_length, 0);
    ck_assert_ptr_null(r.conn.receiving);
    rig_arrive(&r, GET("/empty"));
    ck_assert_uint_eq(r.conn.arrived_length, strlen(GET("/empty")));
    r.conn.block = 0;
    r.conn.accept = 100;
    rig_settle(&r);
    ck_assert_uint_eq(r.told, _i ? 4 : 3);
    ck_assert_uint_eq(r.conn.arrived_length, 0);
    rig_end(&r);
}
END_TEST

START_TEST(late_completions)
{
    rig_t r;

    rig_begin(&r);
    r.conn.late = true;
    rig_start(&r);
    rig_arrive(&r, GET("/small"));
    ck_assert_ptr_null(r.conn.receiving);
    fake_conn_complete(&r.conn, 500);
    ck_assert_ptr_null(r.conn.receiving);
    fake_conn_complete(&r.conn, SIZE_MAX);
    ck_assert_ptr_nonnull(r.conn.receiving);
    rig_sent(&r, GET("/small"));
    rig_arrive(&r, CLOSE("/large"));
    rig_settle(&r);
    rig_sent(&r, GET("/small") CLOSE("/large"));
    ck_assert_uint_eq(r.closes, 1);
    rig_end(&r);
}
END_TEST

START_TEST(dot)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    afpa__conn_print_dot(out);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "\"parse\" -> \"gone\" [label=\"foreign\"]"));
    ck_assert_str_eq(afpa__conn_state_name(0), "wait");
    ck_assert_str_eq(afpa__conn_state_name(1000), "?");
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn");

    check_add_loop(suite, "replies", replies, CHECK_COUNT(answered));
    check_add_loop(suite, "pipelined", pipelined, 1);
    check_add_loop(suite, "sent_by_reference", sent_by_reference, 1);
    check_add_loop(suite, "cold_chunks", cold_chunks, 1);
    check_add_loop(suite, "handed_over", handed_over, CHECK_COUNT(foreign));
    check_add_loop(suite, "disabled_and_stale", disabled_and_stale, 2);
    check_add_loop(suite, "check_due", check_due, 1);
    check_add_loop(suite, "checked_at_once", checked_at_once, 1);
    check_add_loop(suite, "each_split", each_split, 1);
    check_add_loop(suite, "random_splits", random_splits, 4);
    check_add_loop(suite, "bytes_read_before", bytes_read_before, 1);
    check_add_loop(suite, "blocked", blocked, 2);
    check_add_loop(suite, "late_completions", late_completions, 1);
    check_add_loop(suite, "dot", dot, 1);
    return check_main(suite);
}
