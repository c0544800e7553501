/* SPDX-License-Identifier: Apache-2.0
 *
 * The send machine when it does not go well: aborted in each state, misused, driven at random; and the table itself.  Whatever
 * comes first, it ends once, with nothing held.
 */
#include "config.h"

#include "send_rig.h"

/* ---- abort ---- */

/* In each state; ends when the last byte has completed and the worker has come back, in either order. */
START_TEST(abort_anywhere)
{
    static const char *const states[] = {"idle", "wait-fill", "wait-writable", "wait-completion"};
    fake_answer_t blocked[] = {{.accept = FAKE_ALL}, {.accept = CHUNK / 2}, {.status = AFPA_AGAIN}};
    bool fill_last = _i & 4;
    rig_t r;

    rig_begin(&r, 3 * CHUNK);
    if ((_i & 3) != 1)
        fake_cache_fill_all(&r.cache);
    if ((_i & 3) == 2) {
        r.transport.answers = blocked;
        r.transport.answers_count = CHECK_COUNT(blocked);
    }
    rig_init(&r);
    if (_i & 3)
        afpa_send_start(r.send);
    ck_assert_msg(rig_in_state(&r, states[_i & 3]), "%s", afpa_send_state_name(r.send->state));
    afpa_send_abort(r.send);
    if (r.send && r.executor.queued && fill_last) {
        rig_complete(&r, FAKE_ALL);
        ck_assert_uint_eq(r.ended, 0);
    }
    if (r.send && r.executor.queued)
        fake_executor_go(&r.executor);
    if (r.send) {
        ck_assert_uint_eq(r.cache.pins > 0, (_i & 3) > 1);
        rig_complete(&r, FAKE_ALL);
    }
    rig_end(&r, AFPA_SEND_ABORTED, AFPA_OK);
}
END_TEST

/* A completion that comes after the abort is normal, in any number of parts; pins last as long. */
START_TEST(late_completion)
{
    rig_t r;

    rig_begin(&r, 3 * CHUNK);
    fake_cache_fill_all(&r.cache);
    rig_start(&r);
    afpa_send_abort(r.send);
    afpa_send_abort(r.send); /* again: nothing */
    rig_writable(&r);
    for (size_t left = strlen(HEADER) + 3 * CHUNK; left > 0; left--) {
        ck_assert_uint_eq(r.ended, 0);
        ck_assert_uint_eq(r.cache.pins, left > 3 * CHUNK ? 3 : (left + CHUNK - 1) / CHUNK);
        rig_complete(&r, 1);
    }
    rig_end(&r, AFPA_SEND_ABORTED, AFPA_OK);
}
END_TEST

/* A fill that fails after the abort is not the reason of it, and closes nothing. */
START_TEST(fill_fails_after_abort)
{
    rig_t r;

    rig_begin(&r, CHUNK);
    r.cache.fail_at = 1;
    r.cache.fail_status = AFPA_CHANGED;
    rig_start(&r);
    afpa_send_abort(r.send);
    rig_complete(&r, FAKE_ALL);
    ck_assert_uint_eq(r.ended, 0);
    fake_executor_go(&r.executor);
    ck_assert_uint_eq(r.transport.disconnects, 0);
    ck_assert_uint_eq(r.ended, 1);
    ck_assert_int_eq(r.outcome, AFPA_SEND_ABORTED);
    fake_cache_end(&r.cache);
}
END_TEST

static void abort_now(fake_transport_t *transport)
{
    rig_t *r = transport->context;

    afpa_send_abort(r->send);
}

/* The client goes while send() runs: accepted bytes are still in flight, nothing more is offered. */
START_TEST(abort_within)
{
    static const fake_answer_t last[] = {{.accept = 10, .within = abort_now},
                                         {.accept = FAKE_ALL, .within = abort_now, .complete = FAKE_ALL},
                                         {.status = AFPA_AGAIN, .within = abort_now},
                                         {.status = AFPA_IO_ERROR, .within = abort_now}};
    fake_answer_t answers[] = {{.accept = FAKE_ALL}, {.accept = FAKE_ALL}, last[_i]};
    rig_t r;

    rig_begin(&r, 5 * CHUNK);
    fake_cache_fill_all(&r.cache);
    r.transport.answers = answers;
    r.transport.answers_count = 3;
    rig_start(&r);
    ck_assert_uint_eq(r.transport.sends, 3);
    if (r.send)
        rig_complete(&r, FAKE_ALL);
    rig_end(&r, AFPA_SEND_ABORTED, last[_i].status == AFPA_IO_ERROR ? AFPA_IO_ERROR : AFPA_OK);
}
END_TEST

/* ---- misuse aborts the process ---- */

static void start_twice(void *arg)
{
    afpa_send_start(((rig_t *)arg)->send);
}

static void complete_more(void *arg)
{
    rig_t *r = arg;

    r->send->io.completed(&r->send->io, AFPA_OK, fake_transport_in_flight(&r->transport) + 1);
}

static void complete_twice(void *arg)
{
    rig_t *r = arg;

    rig_complete(r, CHUNK);
    r->send->io.completed(&r->send->io, AFPA_OK, fake_transport_in_flight(&r->transport) + CHUNK);
}

static void accept_nothing(void *arg)
{
    rig_t *r = arg;

    r->transport.otherwise.accept = 0;
    fake_executor_go(&r->executor);
}

static const struct {
    const char *name;
    void (*fn)(void *);
} misuses[] = {{"started twice", start_twice},
               {"completed more than was accepted", complete_more},
               {"completed twice", complete_twice},
               {"accepted no byte", accept_nothing}};

START_TEST(misuse)
{
    rig_t r;

    rig_begin(&r, 3 * CHUNK);
    fake_cache_fill_all(&r.cache);
    fake_cache_evict(&r.cache, 2);
    rig_start(&r);
    ck_assert_msg(check_aborts(misuses[_i].fn, &r, NULL, 0), "%s", misuses[_i].name);
    rig_drive(&r);
    rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
}
END_TEST

/* ---- at random ---- */

static bool lucky(rig_t *r, uint64_t percent)
{
    return check_below(&r->random, 100) < percent;
}

static void anything_within(fake_transport_t *transport)
{
    rig_t *r = transport->context;

    if (lucky(r, 30))
        fake_transport_complete(transport, 1 + check_below(&r->random, 3 * CHUNK));
    if (lucky(r, 30))
        rig_writable(r);
    if (lucky(r, r->trouble))
        afpa_send_abort(r->send);
}

static fake_answer_t decide_anything(fake_transport_t *transport)
{
    rig_t *r = transport->context;
    fake_answer_t answer = {.accept = lucky(r, 50) ? FAKE_ALL : 1 + check_below(&r->random, 4 * CHUNK), .within = anything_within};

    if (lucky(r, 20))
        answer.status = AFPA_AGAIN;
    else if (lucky(r, r->trouble))
        answer.status = AFPA_IO_ERROR;
    if (lucky(r, 30))
        answer.complete = 1 + check_below(&r->random, 2 * CHUNK);
    return answer;
}

static void step_anything(rig_t *r)
{
    uint64_t what = check_below(&r->random, 100);

    if (what < 30)
        rig_complete(r, 1 + check_below(&r->random, 2 * CHUNK));
    else if (what < 50)
        rig_writable(r);
    else if (what < 90 && r->executor.queued)
        fake_executor_go(&r->executor);
    else if (what < 95 && r->cache.entries_count)
        fake_cache_evict(&r->cache, (uint32_t)check_below(&r->random, r->cache.entries_count));
    else if (lucky(r, r->trouble))
        afpa_send_abort(r->send);
}

/* Whatever comes in whatever order, a reply ends once; without trouble it is whole.  The rest is asserted in the fakes. */
START_TEST(random_scripts)
{
    for (unsigned round = 0; round < 200; round++) {
        uint64_t size, seed = 1 + round + 1000 * (uint64_t)_i;
        unsigned steps = 0;
        rig_t r;

        check_random(&seed);
        size = check_below(&seed, 20) * CHUNK + check_below(&seed, 3);
        rig_begin(&r, size);
        r.random = seed;
        r.trouble = round % 2 ? 0 : 2;
        r.transport.decide = decide_anything;
        r.executor.at_once = lucky(&r, 20);
        r.setup.window = 1 + (unsigned)check_below(&r.random, AFPA_SEND_WINDOW_MAX);
        r.setup.offset = check_below(&r.random, size + 1);
        r.setup.bytes = check_below(&r.random, size - r.setup.offset + 1);
        r.cache.evictions = (unsigned)check_below(&r.random, 5);
        r.cache.neighbours = lucky(&r, 50);
        if (lucky(&r, 30)) {
            r.cache.fail_at = 1 + (unsigned)check_below(&r.random, 5);
            r.cache.fail_status = r.trouble && lucky(&r, 50) ? AFPA_CHANGED : AFPA_NO_SPACE;
        }
        if (lucky(&r, 50))
            fake_cache_fill_all(&r.cache);
        rig_init(&r);
        r.random += !r.random;
        afpa_send_start(r.send);
        while (!r.ended && steps++ < 1000000)
            step_anything(&r);
        ck_assert_uint_le(r.cache.pins_max, r.setup.window + 1);
        if (r.trouble == 0)
            rig_end(&r, AFPA_SEND_DONE, AFPA_OK);
        else
            rig_end(&r, r.outcome, r.reason);
    }
}
END_TEST

/* ---- the table ---- */

enum {
#define STATE(id, text) S_##id,
#include "send_states.def"
    S_LIMIT,
    S_STAY,
    S_BUG
};

enum {
#define EVENT(id, ...) E_##id,
#include "send_states.def"
    E_LIMIT
};

static const unsigned char table[E_LIMIT][S_LIMIT] = {
#define EVENT(id, text, a, b, c, d, e, f, g, h) {S_##a, S_##b, S_##c, S_##d, S_##e, S_##f, S_##g, S_##h},
#include "send_states.def"
};

/* The states that can be reached, as bits. */
static unsigned reach(unsigned from)
{
    unsigned have = 1u << from, before;

    do {
        before = have;
        for (unsigned event = 0; event < E_LIMIT; event++)
            for (unsigned state = 0; state < S_LIMIT; state++)
                if ((have & 1u << state) && table[event][state] < S_LIMIT)
                    have |= 1u << table[event][state];
    } while (have != before);
    return have;
}

START_TEST(table_is_sound)
{
    ck_assert_uint_eq(reach(S_IDLE), (1u << S_LIMIT) - 1);
    ck_assert_uint_eq(reach(S_DONE), 1u << S_DONE);
    ck_assert_uint_eq(reach(S_ABORTED), 1u << S_ABORTED);
    for (unsigned state = 0; state < S_LIMIT; state++) {
        bool final = state == S_DONE || state == S_ABORTED;

        ck_assert_msg(final || reach(state) & 1u << S_DONE, "%s cannot end well", afpa_send_state_name(state));
        ck_assert_uint_eq(table[E_ABORT][state], final ? S_STAY : S_ABORTED);
        ck_assert_msg(table[E_WRITABLE][state] != S_BUG, "writable may come at any time");
        ck_assert_msg(state == S_IDLE || state == S_DONE || table[E_COMPLETED][state] != S_BUG, "completions come when they come");
    }
    ck_assert_msg(table[E_FILLED][S_ABORTED] == S_STAY && table[E_FILL_FAILED][S_ABORTED] == S_STAY, "workers finish late");
}
END_TEST

/* The picture has every transition, and no other. */
START_TEST(picture)
{
    char *text = NULL, line[200];
    size_t size = 0, edges = 0, cells = 0;
    FILE *out = open_memstream(&text, &size);

    afpa__send_print_dot(out);
    fclose(out);
    for (unsigned event = 0; event < E_LIMIT; event++)
        for (unsigned state = 0; state < S_LIMIT; state++)
            if (table[event][state] < S_LIMIT) {
                cells++;
                snprintf(line, sizeof(line), "  \"%s\" -> \"%s\" [label=", afpa_send_state_name(state),
                         afpa_send_state_name(table[event][state]));
                ck_assert_msg(strstr(text, line), "no%s", line);
            }
    for (const char *at = text; (at = strstr(at, " -> ")); at++)
        edges++;
    ck_assert_uint_eq(edges, cells);
    free(text);
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(afpa_send_state_name(S_IDLE), "idle");
    ck_assert_str_eq(afpa_send_state_name(S_WAIT_FILL), "wait-fill");
    ck_assert_str_eq(afpa_send_state_name(S_ABORTED), "aborted");
    ck_assert_str_eq(afpa_send_state_name(S_LIMIT), "?");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("send_abort");
    TCase *loops = tcase_create("loops");

    check_add(suite, "table_is_sound", table_is_sound);
    check_add(suite, "picture", picture);
    check_add(suite, "names", names);
    check_add(suite, "late_completion", late_completion);
    check_add(suite, "fill_fails_after_abort", fill_fails_after_abort);
    tcase_set_timeout(loops, 60);
    tcase_add_loop_test(loops, abort_anywhere, 0, 8);
    tcase_add_loop_test(loops, abort_within, 0, 4);
    tcase_add_loop_test(loops, misuse, 0, CHECK_COUNT(misuses));
    tcase_add_loop_test(loops, random_scripts, 0, 10);
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
