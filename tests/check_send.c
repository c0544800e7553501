/* SPDX-License-Identifier: Apache-2.0
 *
 * The send machine over a scripted transport, cache and executor: replies are whole and right however the transport takes them;
 * pins go on completion, never on acceptance; what fails half-way cuts the reply.  Aborts are in check_send_abort.c.
 */
#include "config.h"

#include "send_rig.h"

/* ---- whole replies ---- */

static const uint64_t sizes[] = {0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 20 * CHUNK + 7};
static const size_t takes[] = {1, 7, CHUNK - 1, FAKE_ALL};

/* Each size, taken in parts of each length, completed within the call or later, in memory or not, filled at once or later, the
 * chunks apart or side by side. */
START_TEST(whole)
{
    size_t take = takes[_i % (int)CHECK_COUNT(takes)];
    uint64_t size = sizes[_i / (int)CHECK_COUNT(takes)];

    for (unsigned how = 0; how < 32; how++) {
        rig_t r;

        rig_begin(&r, size);
        r.transport.otherwise = (fake_answer_t){.accept = take, .complete = how & 1 ? FAKE_ALL : 0};
        if (how & 2)
            fake_cache_fill_all(&r.cache);
        r.executor.at_once = how & 4;
        r.setup.zerocopy = how & 8 ? 0 : UINT64_MAX;
        r.cache.neighbours = how & 16;
        rig_start(&r);
        rig_drive(&r);
        ck_assert_int_eq(r.transport.references > 0, (how & 8) && size > 0);
        ck_assert_uint_le(r.cache.pins_max, AFPA_SEND_WINDOW);
        if (how & 2)
            ck_assert_uint_eq(r.cache.fills, 0);
        rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
    }
}
END_TEST

static const struct {
    uint64_t offset, bytes;
} ranges[] = {{0, 1},         {0, CHUNK},         {1, CHUNK},          {CHUNK - 1, 2},      {CHUNK, CHUNK},
              {CHUNK + 1, 1}, {4 * CHUNK + 9, 1}, {17, 4 * CHUNK - 7}, {0, 4 * CHUNK + 10}, {3 * CHUNK, CHUNK + 10}};

START_TEST(range)
{
    rig_t r;

    rig_begin(&r, 4 * CHUNK + 10);
    r.setup.offset = ranges[_i].offset;
    r.setup.bytes = ranges[_i].bytes;
    rig_start(&r);
    rig_drive(&r);
    ck_assert_uint_ge(r.cache.fills, 1);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* HEAD, 304: no payload, so no pin and no fill. */
START_TEST(header_alone)
{
    rig_t r;

    rig_begin(&r, 5 * CHUNK);
    r.setup.bytes = 0;
    rig_start(&r);
    rig_drive(&r);
    ck_assert_uint_eq(r.cache.pins_max + r.cache.fills, 0);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

START_TEST(payload_alone)
{
    rig_t r;

    rig_begin(&r, 2 * CHUNK);
    r.setup.header = NULL;
    r.setup.header_length = 0;
    rig_start(&r);
    rig_drive(&r);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

START_TEST(nothing_at_all)
{
    rig_t r;

    rig_begin(&r, 0);
    r.setup.header_length = 0;
    rig_start(&r);
    ck_assert_uint_eq(r.transport.sends, 0);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* From the threshold on by reference, if the cache grants it. */
START_TEST(by_reference)
{
    static const struct {
        uint64_t zerocopy;
        bool grant, asked, sent;
    } cases[] = {{2 * CHUNK + 1, true, false, false}, {2 * CHUNK, true, true, true}, {2 * CHUNK, false, true, false}};
    rig_t r;

    rig_begin(&r, 2 * CHUNK);
    fake_cache_fill_all(&r.cache);
    r.cache.by_reference = cases[_i].grant;
    r.setup.zerocopy = cases[_i].zerocopy;
    rig_start(&r);
    rig_drive(&r);
    ck_assert_int_eq(r.cache.references_asked > 0, cases[_i].asked);
    ck_assert_int_eq(r.transport.references > 0, cases[_i].sent);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* ---- chunks side by side ---- */

static const struct {
    const char *what;
    uint64_t size;
    uint64_t offset;  /* of the reply */
    unsigned evicted; /* this chunk is not in memory; 0: all are */
    size_t take;      /* of the first piece; FAKE_ALL */
    size_t sends;     /* up to where nothing more can be offered, with the header */
    unsigned pins;    /* then */
} runs[] = {{"all in one", 3 * CHUNK, 0, 0, FAKE_ALL, 2, 3},
            {"a range of them", 3 * CHUNK, CHUNK + 7, 0, FAKE_ALL, 2, 2},
            {"the tail too", 3 * CHUNK + 1, 0, 0, FAKE_ALL, 2, 4},
            {"taken in part, then the rest", 3 * CHUNK, 0, 0, CHUNK + 1, 3, 3},
            {"taken up to a border", 3 * CHUNK, 0, 0, CHUNK, 3, 3},
            {"up to one that is not in memory", 6 * CHUNK, 0, 2, FAKE_ALL, 2, 2},
            {"no more than the window", 20 * CHUNK, 0, 0, FAKE_ALL, 2, AFPA_SEND_WINDOW}};

/* Chunks that lie side by side go in one call. */
START_TEST(side_by_side)
{
    for (unsigned reference = 0; reference < 2; reference++) {
        fake_answer_t answers[] = {{.accept = FAKE_ALL}, {.accept = runs[_i].take}};
        rig_t r;

        rig_begin(&r, runs[_i].size);
        r.cache.neighbours = true;
        fake_cache_fill_all(&r.cache);
        if (runs[_i].evicted)
            fake_cache_evict(&r.cache, runs[_i].evicted);
        r.transport.answers = answers;
        r.transport.answers_count = 2;
        r.setup.zerocopy = reference ? 0 : UINT64_MAX;
        r.setup.offset = runs[_i].offset;
        r.setup.bytes = runs[_i].size - runs[_i].offset;
        rig_start(&r);
        ck_assert_msg(r.transport.sends == runs[_i].sends, "%s: %zu sends", runs[_i].what, r.transport.sends);
        ck_assert_uint_eq(r.cache.pins, runs[_i].pins);
        rig_drive(&r);
        rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
    }
}
END_TEST

/* One that lies elsewhere is pinned, and sent by itself. */
START_TEST(not_side_by_side)
{
    rig_t r;

    rig_begin(&r, 3 * CHUNK);
    fake_cache_fill_all(&r.cache);
    rig_start(&r);
    ck_assert_uint_eq(r.transport.sends, 4);
    ck_assert_uint_eq(r.cache.pins, 3);
    rig_drive(&r);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* A client that takes nothing keeps one chunk pinned, beside those that the transport has. */
START_TEST(blocked_gives_back)
{
    fake_answer_t answers[] = {
        {.accept = FAKE_ALL}, {.accept = _i ? CHUNK + 1 : 0, .status = _i ? AFPA_OK : AFPA_AGAIN}, {.status = AFPA_AGAIN}};
    rig_t r;

    rig_begin(&r, 20 * CHUNK);
    r.cache.neighbours = true;
    fake_cache_fill_all(&r.cache);
    r.transport.answers = answers;
    r.transport.answers_count = 3;
    rig_start(&r);
    ck_assert(rig_in_state(&r, "wait-writable"));
    ck_assert_uint_eq(r.cache.pins, _i ? 2 : 1);
    rig_drive(&r);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* ---- accepted is not completed ---- */

START_TEST(pins_until_completed)
{
    rig_t r;

    rig_begin(&r, 3 * CHUNK);
    fake_cache_fill_all(&r.cache);
    rig_start(&r);
    ck_assert_uint_eq(fake_transport_in_flight(&r.transport), strlen(HEADER) + 3 * CHUNK);
    ck_assert_uint_eq(r.cache.pins, 3);
    rig_complete(&r, strlen(HEADER) + CHUNK);
    ck_assert_uint_eq(r.cache.pins, 2);
    rig_complete(&r, 2 * CHUNK - 1);
    ck_assert_uint_eq(r.cache.pins, 1);
    ck_assert_uint_eq(r.ended, 0);
    rig_complete(&r, 1);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

static const unsigned windows[] = {1, 2, AFPA_SEND_WINDOW, AFPA_SEND_WINDOW_MAX};

/* The object is far larger than what one slow client may pin, or have read ahead for it. */
START_TEST(window)
{
    unsigned size = windows[_i];
    rig_t r;

    rig_begin(&r, (uint64_t)FAKE_ENTRIES_MAX * CHUNK);
    r.cache.blank = r.transport.blank = true;
    r.executor.at_once = true;
    r.setup.window = size;
    rig_start(&r);
    for (unsigned chunk = 1; chunk < FAKE_ENTRIES_MAX; chunk++) {
        unsigned left = FAKE_ENTRIES_MAX - chunk + 1;

        CHECK_THAT(r.cache.pins == (left < size ? left : size));
        CHECK_THAT(r.cache.filled_end <= chunk + 2 * size);
        rig_complete(&r, CHUNK + (chunk == 1 ? strlen(HEADER) : 0));
    }
    ck_assert_uint_eq(r.ended, 0);
    rig_complete(&r, CHUNK);
    ck_assert_uint_eq(r.cache.pins_max, size);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* ---- would block ---- */

/* Blocked at the n-th send: nothing more is offered until it is writable. */
START_TEST(would_block)
{
    fake_answer_t answers[8];
    rig_t r;

    for (int i = 0; i < 8; i++)
        answers[i] = (fake_answer_t){.status = i == _i ? AFPA_AGAIN : AFPA_OK, .accept = 900};
    rig_begin(&r, 3 * CHUNK);
    fake_cache_fill_all(&r.cache);
    r.transport.answers = answers;
    r.transport.answers_count = 8;
    rig_start(&r);
    ck_assert(rig_in_state(&r, "wait-writable"));
    ck_assert_uint_eq(r.transport.sends, _i + 1);
    rig_complete(&r, 1);
    ck_assert_uint_eq(r.transport.sends, _i + 1);
    rig_writable(&r);
    ck_assert_uint_gt(r.transport.sends, _i + 1);
    rig_complete(&r, FAKE_ALL);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

static void become_writable(fake_transport_t *transport)
{
    rig_writable(transport->context);
}

/* Writable again before send() has even returned AFPA_AGAIN: that is not forgotten. */
START_TEST(writable_within)
{
    fake_answer_t answers[] = {
        {.status = AFPA_AGAIN, .within = become_writable}, {.accept = FAKE_ALL}, {.status = AFPA_AGAIN, .within = become_writable}};
    rig_t r;

    rig_begin(&r, CHUNK);
    fake_cache_fill_all(&r.cache);
    r.transport.answers = answers;
    r.transport.answers_count = CHECK_COUNT(answers);
    rig_start(&r);
    ck_assert_uint_eq(r.transport.sends, 4);
    rig_complete(&r, FAKE_ALL);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* Writable although nobody waited for it: legal, changes nothing. */
START_TEST(writable_at_any_time)
{
    rig_t r;

    rig_begin(&r, 20 * CHUNK);
    rig_init(&r);
    rig_writable(&r);
    ck_assert(rig_in_state(&r, "idle"));
    afpa_send_start(r.send);
    ck_assert(rig_in_state(&r, "wait-fill"));
    rig_writable(&r);
    ck_assert(rig_in_state(&r, "wait-fill"));
    fake_executor_go(&r.executor);
    ck_assert(rig_in_state(&r, "wait-completion"));
    rig_writable(&r);
    ck_assert(rig_in_state(&r, "wait-completion"));
    rig_drive(&r);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* ---- fills ---- */

static const struct {
    afpa_status_t fill, read; /* read: what afpa_cache_read() says, if it comes to that */
    afpa_status_t reason;
} failures[] = {{AFPA_CHANGED, AFPA_OK, AFPA_CHANGED},
                {AFPA_IO_ERROR, AFPA_OK, AFPA_IO_ERROR},
                {AFPA_NO_SPACE, AFPA_CHANGED, AFPA_CHANGED},
                {AFPA_NO_SPACE, AFPA_IO_ERROR, AFPA_IO_ERROR},
                {AFPA_NO_SPACE, AFPA_NO_SPACE, AFPA_NO_SPACE}};

/* Fails at the first fill or half-way: the reply is cut, and what is in flight completes all the same. */
START_TEST(fill_fails)
{
    for (unsigned at = 1; at <= 3; at++) {
        rig_t r;

        rig_begin(&r, 20 * CHUNK);
        r.cache.fail_at = at;
        r.cache.fail_status = failures[_i].fill;
        r.cache.read_status = failures[_i].read;
        r.setup.window = 4;
        rig_start(&r);
        while (r.transport.disconnects == 0)
            if (r.executor.queued)
                fake_executor_go(&r.executor);
            else
                rig_complete(&r, CHUNK);
        ck_assert_uint_eq(r.cache.fills, at);
        ck_assert_uint_eq(r.ended, fake_transport_in_flight(&r.transport) == 0);
        if (r.send)
            rig_complete(&r, FAKE_ALL);
        ck_assert_uint_eq(r.transport.disconnects, 1);
        rig_end(&r, AFPA_SEND_ABORTED, failures[_i].reason);
    }
}
END_TEST

/* Nothing can be evicted: the reply goes on from memory of its own. */
START_TEST(no_space)
{
    rig_t r;

    rig_begin(&r, 3 * CHUNK);
    r.cache.fail_at = 1;
    r.cache.fail_status = AFPA_NO_SPACE;
    r.setup.zerocopy = 0;
    rig_start(&r);
    rig_drive(&r);
    ck_assert_uint_eq(r.cache.reads, 3);
    ck_assert_uint_eq(r.transport.references, 0);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* Evicted between fill and pin: filled anew, but not for ever. */
START_TEST(evicted_at_once)
{
    static const unsigned evictions[] = {1, 2, 3, 1000};
    rig_t r;

    rig_begin(&r, CHUNK);
    r.cache.evictions = evictions[_i];
    rig_start(&r);
    rig_drive(&r);
    ck_assert_uint_le(r.cache.fills, 4);
    ck_assert_uint_eq(r.cache.reads, evictions[_i] >= 2);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

START_TEST(executor_full)
{
    rig_t r;

    rig_begin(&r, CHUNK);
    r.executor.full = true;
    rig_start(&r);
    ck_assert_uint_eq(r.transport.disconnects, 1);
    ck_assert_uint_eq(r.ended, 0);
    rig_complete(&r, FAKE_ALL);
    rig_end(&r, AFPA_SEND_ABORTED, AFPA_NO_SPACE);
}
END_TEST

/* Bytes that were accepted before may complete while a worker reads the next chunk. */
START_TEST(completion_while_filling)
{
    rig_t r;

    rig_begin(&r, 2 * CHUNK);
    fake_cache_fill_all(&r.cache);
    fake_cache_evict(&r.cache, 1);
    rig_start(&r);
    ck_assert(rig_in_state(&r, "wait-fill"));
    rig_complete(&r, FAKE_ALL);
    ck_assert_uint_eq(r.cache.pins, 0);
    ck_assert(rig_in_state(&r, "wait-fill"));
    rig_drive(&r);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* ---- the transport breaks ---- */

START_TEST(broken)
{
    fake_answer_t answers[4];
    rig_t r;

    for (int i = 0; i < 4; i++)
        answers[i] = (fake_answer_t){.status = i == _i ? AFPA_IO_ERROR : AFPA_OK, .accept = FAKE_ALL};
    rig_begin(&r, 3 * CHUNK);
    fake_cache_fill_all(&r.cache);
    r.transport.answers = answers;
    r.transport.answers_count = 4;
    rig_start(&r);
    ck_assert_uint_eq(r.ended, _i == 0);
    if (r.send)
        rig_complete(&r, FAKE_ALL);
    rig_end(&r, AFPA_SEND_ABORTED, AFPA_IO_ERROR);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("send");
    TCase *loops = tcase_create("loops");

    check_add(suite, "header_alone", header_alone);
    check_add(suite, "payload_alone", payload_alone);
    check_add(suite, "nothing_at_all", nothing_at_all);
    check_add(suite, "not_side_by_side", not_side_by_side);
    check_add(suite, "pins_until_completed", pins_until_completed);
    check_add(suite, "writable_within", writable_within);
    check_add(suite, "writable_at_any_time", writable_at_any_time);
    check_add(suite, "no_space", no_space);
    check_add(suite, "executor_full", executor_full);
    check_add(suite, "completion_while_filling", completion_while_filling);
    tcase_set_timeout(loops, 60);
    tcase_add_loop_test(loops, whole, 0, CHECK_COUNT(sizes) * CHECK_COUNT(takes));
    tcase_add_loop_test(loops, range, 0, CHECK_COUNT(ranges));
    tcase_add_loop_test(loops, by_reference, 0, 3);
    tcase_add_loop_test(loops, side_by_side, 0, CHECK_COUNT(runs));
    tcase_add_loop_test(loops, blocked_gives_back, 0, 2);
    tcase_add_loop_test(loops, window, 0, CHECK_COUNT(windows));
    tcase_add_loop_test(loops, would_block, 0, 7);
    tcase_add_loop_test(loops, fill_fails, 0, CHECK_COUNT(failures));
    tcase_add_loop_test(loops, evicted_at_once, 0, 4);
    tcase_add_loop_test(loops, broken, 0, 4);
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
