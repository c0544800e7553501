/* SPDX-License-Identifier: Apache-2.0
 *
 * Replies of a connection: where their payload lies, how long it is held, what is told of it.
 */
#include "config.h"

#include "conn_rig.h"

#define ZONE_CHUNK 65536u

static const afpa_limits_t usual = {.keep_alive_ms = 75000, .send_ms = 60000, .lifetime_ms = 3600000, .requests = 1000};

/* ---- where it lies ---- */

static const struct {
    unsigned size;
    uint64_t zerocopy;
    unsigned sends, references;
} placed[] = {
    {1, 32768, 1, 0},
    {AFPA__COPY_MAX, 32768, 1, 0},
    {AFPA__COPY_MAX, 1, 1, 0},
    {AFPA__COPY_MAX + 1, 32768, 2, 1},
    {AFPA__COPY_MAX + 1, 40000, 2, 0},
    {ZONE_CHUNK - 1, 32768, 2, 1},
    {ZONE_CHUNK, 32768, 2, 1},
    {ZONE_CHUNK, UINT64_MAX, 2, 0},
    {ZONE_CHUNK + 1, 32768, 3, 1}, /* the last byte shares a chunk */
    {3 * ZONE_CHUNK, 32768, 2, 1}, /* they lie side by side */
    {3 * ZONE_CHUNK, UINT64_MAX, 2, 0},
    {(AFPA_SEND_WINDOW + 2) * ZONE_CHUNK, 32768, 3, 2},
};

START_TEST(placement)
{
    rig_t r;

    rig_begin(&r);
    fixture_file(&r.f, "file", placed[_i].size, 1);
    rig_admit(&r, "/file", "file", &usual);
    r.engine->setup.zerocopy = placed[_i].zerocopy;
    rig_start(&r);
    rig_arrive(&r, GET("/file"));
    rig_settle(&r);
    ck_assert_uint_eq(r.conn.sends, placed[_i].sends);
    ck_assert_uint_eq(r.conn.references, placed[_i].references);
    rig_arrive(&r, HEAD("/file"));
    rig_arrive(&r, SAME("/file"));
    ck_assert_uint_eq(r.conn.sends, placed[_i].sends + 2);
    rig_arrive(&r, CLOSE("/file") GET("/file"));
    rig_settle(&r);
    rig_sent(&r, GET("/file") HEAD("/file") SAME("/file") CLOSE("/file"));
    ck_assert_uint_eq(r.told, 4);
    ck_assert_uint_eq(r.replies[0].body, placed[_i].size);
    ck_assert_uint_eq(r.replies[0].header, strlen("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: \r\n"
                                                  "Connection: keep-alive\r\nETag: \"file\"\r\n\r\n") +
                                               (size_t)snprintf(NULL, 0, "%u", placed[_i].size));
    ck_assert_uint_eq(r.replies[1].body, 0);
    ck_assert(!r.replies[0].cut && !r.replies[3].cut);
    rig_end(&r);
}
END_TEST

/* ---- how long it is held ---- */

/* One chunk: pinned, and its request not answered, until the transport has completed all of it; copies are not held. */
START_TEST(held_until_completed)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    r.conn.late = true;
    rig_arrive(&r, GET("/small") GET("/one"));
    ck_assert_uint_eq(fixture_pins(&r.f), 1);
    ck_assert_uint_eq(r.told, 1);
    while (r.conn.sent_length < RIG_ONE + 1) {
        ck_assert_uint_eq(fixture_pins(&r.f), 1);
        ck_assert_uint_eq(r.told, 1);
        fake_conn_complete(&r.conn, 10000);
    }
    rig_settle(&r);
    ck_assert_uint_eq(fixture_pins(&r.f), 0);
    ck_assert_uint_eq(r.told, 2);
    rig_sent(&r, GET("/small") GET("/one"));
    rig_end(&r);
}
END_TEST

/* The file is gone from the cache meanwhile: the reply is of the version that its header is of. */
START_TEST(purged_meanwhile)
{
    const char *path;
    rig_t r;

    rig_begin(&r);
    path = fixture_path(&r.f, "one");
    rig_start(&r);
    r.conn.accept = 7000;
    r.conn.block = 3;
    rig_arrive(&r, GET("/one"));
    ck_assert(r.conn.waits);
    ck_assert_int_eq(afpa_cache_purge(r.f.cache, path, strlen(path)), AFPA_OK);
    r.conn.block = 0;
    rig_settle(&r);
    ck_assert_uint_eq(r.told, 1);
    ck_assert_uint_eq(r.replies[0].body, RIG_ONE);
    for (unsigned i = 0; i < RIG_ONE; i++)
        ck_assert_int_eq(r.conn.sent[r.conn.sent_length - RIG_ONE + i], (char)fixture_byte("one", 1, i));
    rig_arrive(&r, GET("/one"));
    ck_assert_uint_eq(r.handovers, 1);
    rig_end(&r);
}
END_TEST

/* ---- ends in the middle ---- */

static const struct {
    const char *requests;
    unsigned told; /* before the one that is cut */
    uint64_t most; /* bytes of its payload */
} cut[] = {
    {GET("/one"), 0, RIG_ONE},
    {GET("/small") GET("/one"), 1, RIG_ONE},
    {GET("/one") GET("/one") GET("/small"), 0, RIG_ONE},
    {GET("/large"), 0, RIG_LARGE},
};

/* A payload whose connection breaks, or that nobody reads, is told as cut, once; what follows it is never answered. */
START_TEST(cut_off)
{
    int kind = _i % 4;
    const char *requests = cut[_i / 4].requests;
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    r.conn.accept = 9000;
    r.conn.block = kind / 2 ? 4 : 1;
    rig_arrive(&r, requests);
    ck_assert(r.conn.waits);
    if (kind % 2) {
        fake_conn_reset(&r.conn);
    } else {
        rig_pass(&r, 121000); /* what the send machine has begun has its time anew, once */
    }
    rig_settle(&r);
    ck_assert_uint_eq(r.closes, 1);
    ck_assert_uint_eq(r.told, cut[_i / 4].told + 1);
    ck_assert(r.replies[r.told - 1].cut);
    ck_assert_uint_lt(r.replies[r.told - 1].body, cut[_i / 4].most);
    ck_assert_uint_eq(r.replies[r.told - 1].body > 0, kind / 2);
    ck_assert_uint_eq(fixture_counter(&r.f, AFPA_COUNTER_CUT), 1);
    rig_end(&r);
}
END_TEST

/* While the buffer was stuck its request moved to memory of the connection's own: it is told all the same. */
START_TEST(told_after_waiting)
{
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    r.conn.block = 1;
    rig_arrive(&r, _i ? GET("/large") GET("/small?7") : GET("/one") GET("/small?7"));
    ck_assert_ptr_nonnull(r.c->kept);
    r.conn.block = 0;
    rig_settle(&r);
    ck_assert_uint_eq(r.told, 2);
    ck_assert_str_eq(r.replies[0].target, _i ? "/large" : "/one");
    ck_assert_str_eq(r.replies[1].target, "/small?7");
    rig_end(&r);
}
END_TEST

/* ---- room ---- */

/* More replies than one buffer takes: each is whole, and no send has less than it could. */
START_TEST(more_than_a_buffer)
{
    static char requests[100 * 64];
    rig_t r;

    rig_begin(&r);
    rig_start(&r);
    *requests = 0;
    for (unsigned i = 0; i < 64; i++)
        sprintf(requests + strlen(requests), "GET /small?%u HTTP/1.1\r\nHost: h\r\n\r\n", i);
    rig_arrive(&r, requests);
    rig_sent(&r, requests);
    ck_assert_uint_le(r.conn.sends, 1 + r.conn.sent_length / (AFPA__OUT_SIZE - AFPA_RESPONSE_PRINT_MAX - AFPA__COPY_MAX));
    rig_end(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reply");

    check_add_loop(suite, "placement", placement, CHECK_COUNT(placed));
    check_add_loop(suite, "held_until_completed", held_until_completed, 1);
    check_add_loop(suite, "purged_meanwhile", purged_meanwhile, 1);
    check_add_loop(suite, "cut_off", cut_off, 4 * CHECK_COUNT(cut));
    check_add_loop(suite, "told_after_waiting", told_after_waiting, 2);
    check_add_loop(suite, "more_than_a_buffer", more_than_a_buffer, 1);
    return check_main(suite);
}
