/* SPDX-License-Identifier: Apache-2.0
 *
 * The pin protocol: an entry is held only if it was PINNED in the generation asked for; its count is the sum over owners; from
 * DRAINING nothing is pinned anew; and of a pinner and an evictor that race, at least one sees the other.
 */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "cache.h"
#include "check_main.h"
#include "child.h"
#include "fixture.h"
#include "pin.h"

#define ZONE (4u << 20)
#define RACE_MS 400

typedef struct pins {
    fixture_t f;
    afpa__ledger_t *ledger;
    uint32_t entry; /* the last of the table, which no object uses here */
    _Atomic uint64_t *word;
} pins_t;

static void pins_begin(pins_t *p)
{
    fixture_begin(&p->f, ZONE);
    p->ledger = &p->f.cache->ledger;
    p->entry = p->f.segment->layout.entries - 1;
    p->word = &p->f.segment->entries[p->entry].word;
}

static void pins_end(pins_t *p)
{
    atomic_store(p->word, afpa__word(AFPA__EMPTY, 0, afpa__word_generation(atomic_load(p->word))));
    fixture_end(&p->f);
}

/* ---- the word ---- */

START_TEST(word)
{
    static const uint64_t generations[] = {0, 1, 77, (UINT64_C(1) << 48) - 1};
    static const uint32_t owners[] = {0, 1, AFPA_OWNERS - 1, 0x1fff};

    for (unsigned state = 0; state < 4; state++)
        for (unsigned g = 0; g < CHECK_COUNT(generations); g++)
            for (unsigned o = 0; o < CHECK_COUNT(owners); o++) {
                uint64_t w = afpa__word((afpa__pin_state_t)state, owners[o], generations[g]);

                ck_assert_uint_eq(afpa__word_state(w), state);
                ck_assert_uint_eq(afpa__word_owner(w), owners[o]);
                ck_assert_uint_eq(afpa__word_generation(w), generations[g]);
            }
}
END_TEST

/* A word of zero bytes, as a new segment has them, is EMPTY in generation 0; each change of state changes the futex half. */
START_TEST(word_halves)
{
    ck_assert_uint_eq(afpa__word(AFPA__EMPTY, 0, 0), 0);
    for (unsigned a = 0; a < 4; a++)
        for (unsigned b = 0; b < 4; b++)
            if (a != b)
                ck_assert_uint_ne((uint32_t)afpa__word((afpa__pin_state_t)a, 3, 9),
                                  (uint32_t)afpa__word((afpa__pin_state_t)b, 3, 9));
}
END_TEST

START_TEST(state_names)
{
    ck_assert_str_eq(afpa__pin_state_name(AFPA__EMPTY), "empty");
    ck_assert_str_eq(afpa__pin_state_name(AFPA__FILLING), "filling");
    ck_assert_str_eq(afpa__pin_state_name(AFPA__PINNED), "pinned");
    ck_assert_str_eq(afpa__pin_state_name(AFPA__DRAINING), "draining");
    ck_assert_str_eq(afpa__pin_state_name((afpa__pin_state_t)4), "?");
}
END_TEST

/* ---- taking ---- */

static const struct {
    afpa__pin_state_t state;
    uint64_t generation;
    bool held;
} takes[] = {{AFPA__PINNED, 5, true},
             {AFPA__PINNED, 4, false},
             {AFPA__PINNED, 6, false},
             {AFPA__EMPTY, 5, false},
             {AFPA__FILLING, 5, false},
             {AFPA__DRAINING, 5, false},
             {AFPA__PINNED, 5 + (UINT64_C(1) << 32), false}};

START_TEST(take)
{
    pins_t p;

    pins_begin(&p);
    atomic_store(p.word, afpa__word(takes[_i].state, 0, takes[_i].generation));
    ck_assert_int_eq(afpa__pin_take(p.ledger, p.entry, 5, AFPA__PIN_ONE | AFPA__HIT_ONE), takes[_i].held);
    ck_assert_uint_eq(afpa__pin_count(p.f.segment, p.entry), takes[_i].held);
    ck_assert_uint_eq(afpa__pin_hits(p.f.segment, p.entry), takes[_i].held);
    if (takes[_i].held)
        afpa__pin_drop(p.ledger, p.entry);
    ck_assert_uint_eq(afpa__pin_count(p.f.segment, p.entry), 0);
    pins_end(&p);
}
END_TEST

/* The count is the sum over owners, hits stay when pins go. */
START_TEST(sum_over_owners)
{
    afpa_cache_t *others[3];
    pins_t p;

    pins_begin(&p);
    atomic_store(p.word, afpa__word(AFPA__PINNED, 0, 0));
    ck_assert(afpa__pin_take(p.ledger, p.entry, 0, AFPA__PIN_ONE | AFPA__HIT_ONE));
    for (unsigned i = 0; i < 3; i++) {
        others[i] = fixture_attach(&p.f);
        ck_assert(afpa__pin_take(&others[i]->ledger, p.entry, 0, AFPA__PIN_ONE | AFPA__HIT_ONE));
        ck_assert(afpa__pin_take(&others[i]->ledger, p.entry, 0, AFPA__PIN_ONE));
    }
    ck_assert_uint_eq(afpa__pin_count(p.f.segment, p.entry), 7);
    for (unsigned i = 0; i < 3; i++) {
        afpa__pin_drop(&others[i]->ledger, p.entry);
        afpa__pin_drop(&others[i]->ledger, p.entry);
    }
    ck_assert_uint_eq(afpa__pin_count(p.f.segment, p.entry), 1);
    ck_assert_uint_eq(afpa__pin_hits(p.f.segment, p.entry), 4);
    afpa__pin_drop(p.ledger, p.entry);
    for (unsigned i = 0; i < 3; i++)
        afpa_cache_detach(&others[i]);
    pins_end(&p);
}
END_TEST

static void drop_one(void *arg)
{
    pins_t *p = arg;

    afpa__pin_drop(p->ledger, p->entry);
}

START_TEST(drop_below_zero_aborts)
{
    pins_t p;

    pins_begin(&p);
    ck_assert(afpa__pin_raise(p.ledger, p.entry, AFPA__PIN_ONE));
    afpa__pin_drop(p.ledger, p.entry);
    ck_assert(check_aborts(drop_one, &p, NULL, 0));
    ck_assert(afpa__pin_raise(p.ledger, p.entry, AFPA__PIN_ONE)); /* the child had lowered it before it looked */
    pins_end(&p);
}
END_TEST

/* ---- draining ---- */

START_TEST(drain_free)
{
    pins_t p;

    pins_begin(&p);
    atomic_store(p.word, afpa__word(AFPA__PINNED, 0, 8));
    ck_assert(afpa__pin_drain(p.f.segment, p.entry));
    ck_assert_uint_eq(atomic_load(p.word), afpa__word(AFPA__DRAINING, 0, 8));
    pins_end(&p);
}
END_TEST

/* Held: it drains, nobody can pin it any more, and it is free when the last of several owners lets go. */
START_TEST(drain_held)
{
    afpa_cache_t *other;
    pins_t p;

    pins_begin(&p);
    other = fixture_attach(&p.f);
    atomic_store(p.word, afpa__word(AFPA__PINNED, 0, 8));
    ck_assert(afpa__pin_take(p.ledger, p.entry, 8, AFPA__PIN_ONE) && afpa__pin_take(&other->ledger, p.entry, 8, AFPA__PIN_ONE));
    ck_assert(!afpa__pin_drain(p.f.segment, p.entry));
    ck_assert(!afpa__pin_take(p.ledger, p.entry, 8, AFPA__PIN_ONE));
    afpa__pin_drop(p.ledger, p.entry);
    ck_assert(!afpa__pin_drain(p.f.segment, p.entry));
    afpa__pin_drop(&other->ledger, p.entry);
    ck_assert(afpa__pin_drain(p.f.segment, p.entry));
    afpa_cache_detach(&other);
    pins_end(&p);
}
END_TEST

START_TEST(drain_what_is_not_pinned)
{
    static const afpa__pin_state_t states[] = {AFPA__EMPTY, AFPA__FILLING};
    pins_t p;

    pins_begin(&p);
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(p.word, afpa__word(states[i], 0, 3));
        ck_assert(!afpa__pin_drain(p.f.segment, p.entry));
        ck_assert_uint_eq(atomic_load(p.word), afpa__word(states[i], 0, 3));
    }
    pins_end(&p);
}
END_TEST

/* ---- memory of ledgers ---- */

static uint64_t blocks(const pins_t *p)
{
    struct stat st;

    ck_assert_int_eq(fstat(p->f.segment->fd, &st), 0);
    return (uint64_t)st.st_blocks;
}

/* A row takes memory where it is written, never where it is read. */
START_TEST(ledgers_are_sparse)
{
    afpa_cache_t *other;
    uint64_t before;
    pins_t p;

    pins_begin(&p);
    other = fixture_attach(&p.f);
    before = blocks(&p);
    for (uint32_t entry = 0; entry < p.f.segment->layout.entries; entry++)
        ck_assert(afpa__pin_count(p.f.segment, entry) == 0 && afpa__pin_hits(p.f.segment, entry) == 0);
    ck_assert_uint_eq(blocks(&p), before);
    ck_assert(afpa__pin_raise(&other->ledger, p.entry, AFPA__PIN_ONE));
    ck_assert_uint_gt(blocks(&p), before);
    ck_assert_uint_le((blocks(&p) - before) * 512, p.f.segment->layout.ledger_window + 4096);
    afpa__pin_drop(&other->ledger, p.entry);
    afpa_cache_detach(&other);
    pins_end(&p);
}
END_TEST

/* tmpfs is full: that is a pin not had, not SIGBUS; when there is room again it is had. */
static child_result_t full_tmpfs(void *options)
{
    afpa_cache_t *other;
    int filler;
    pins_t p;

    if (!child_tmpfs(AFPA_ZONE_DIR, options))
        return CHILD_SKIP;
    pins_begin(&p);
    other = fixture_attach(&p.f);
    filler = open(AFPA_ZONE_DIR "/filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (off_t end = 0; fallocate(filler, 0, end, 4096) == 0; end += 4096)
        continue;
    atomic_store(p.word, afpa__word(AFPA__PINNED, 0, 1));
    CHILD_NEED(!afpa__pin_take(&other->ledger, p.entry, 1, AFPA__PIN_ONE));
    CHILD_NEED(!afpa__pin_raise(&other->ledger, p.entry, AFPA__PIN_ONE));
    CHILD_NEED(afpa__pin_count(p.f.segment, p.entry) == 0);
    CHILD_NEED(ftruncate(filler, 0) == 0);
    CHILD_NEED(afpa__pin_take(&other->ledger, p.entry, 1, AFPA__PIN_ONE));
    CHILD_NEED(afpa__pin_count(p.f.segment, p.entry) == 1);
    afpa__pin_drop(&other->ledger, p.entry);
    afpa_cache_detach(&other);
    close(filler);
    pins_end(&p);
    return CHILD_GOOD;
}

START_TEST(no_memory_for_the_ledger)
{
    static const char options[] = "size=6m";

    child_run(full_tmpfs, (void *)(uintptr_t)options, "full tmpfs");
}
END_TEST

/* ---- pinner against evictor ---- */

typedef struct race {
    pins_t p;
    afpa_cache_t *other;
    afpa__ledger_t *ledgers[2];
    _Atomic unsigned turn;
    _Atomic bool stop, wrong;
    _Atomic uint64_t held, evicted, waited;
    /* What the entry stands for: the generation it was filled in.  Zero while it is free.  Not atomic: protected by the pins. */
    uint64_t payload[8];
} race_t;

static uint64_t payload_of(const race_t *r)
{
    uint64_t first = ((const volatile uint64_t *)r->payload)[0];

    for (unsigned i = 1; i < 8; i++)
        if (((const volatile uint64_t *)r->payload)[i] != first)
            return UINT64_MAX;
    return first;
}

static void payload_set(race_t *r, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        ((volatile uint64_t *)r->payload)[i] = value;
}

static void pin_and_look(race_t *r, afpa__ledger_t *ledger)
{
    uint64_t w = atomic_load(r->p.word), generation = afpa__word_generation(w);

    if (afpa__word_state(w) != AFPA__PINNED || !afpa__pin_take(ledger, r->p.entry, generation, AFPA__PIN_ONE))
        return;
    if (payload_of(r) != generation || payload_of(r) != generation)
        atomic_store(&r->wrong, true);
    atomic_fetch_add(&r->held, 1);
    afpa__pin_drop(ledger, r->p.entry);
}

/* Evicts, overwrites, fills anew; as the allocator would, polling what is still held. */
static void evict_and_fill(race_t *r)
{
    uint64_t generation = afpa__word_generation(atomic_load(r->p.word));

    while (!afpa__pin_drain(r->p.f.segment, r->p.entry))
        atomic_fetch_add(&r->waited, 1);
    payload_set(r, 0);
    atomic_store(r->p.word, afpa__word(AFPA__FILLING, 0, generation + 1));
    payload_set(r, generation + 1);
    atomic_store(r->p.word, afpa__word(AFPA__PINNED, 0, generation + 1));
    atomic_fetch_add(&r->evicted, 1);
}

static void *pinner(void *arg)
{
    race_t *r = arg;
    afpa__ledger_t *ledger = r->ledgers[atomic_fetch_add(&r->turn, 1)];

    while (!atomic_load(&r->stop))
        pin_and_look(r, ledger);
    return NULL;
}

static child_result_t pinner_child(void *arg)
{
    pinner(arg);
    return CHILD_GOOD;
}

static race_t *race_begin(void)
{
    race_t *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(r, MAP_FAILED);
    pins_begin(&r->p);
    r->ledgers[0] = r->p.ledger;
    r->other = fixture_attach(&r->p.f);
    r->ledgers[1] = &r->other->ledger;
    atomic_store(r->p.word, afpa__word(AFPA__PINNED, 0, 1));
    payload_set(r, 1);
    return r;
}

static uint64_t milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void race_run(race_t *r)
{
    uint64_t start = milliseconds();

    while (milliseconds() - start < RACE_MS || atomic_load(&r->held) < 100 || atomic_load(&r->evicted) <= 100)
        evict_and_fill(r);
    atomic_store(&r->stop, true);
}

static void race_end(race_t *r)
{
    ck_assert(!atomic_load(&r->wrong));
    ck_assert_uint_gt(atomic_load(&r->evicted), 100);
    ck_assert_uint_eq(afpa__pin_count(r->p.f.segment, r->p.entry), 0);
    afpa_cache_detach(&r->other);
    pins_end(&r->p);
    munmap(r, sizeof(*r));
}

/* Threads of one process share a row, so both variants: two on one row, and a row each. */
START_TEST(race_of_threads)
{
    race_t *r = race_begin();
    pthread_t threads[2];

    if (_i == 0)
        r->ledgers[1] = r->ledgers[0];
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, pinner, r), 0);
    race_run(r);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    race_end(r);
}
END_TEST

START_TEST(race_of_processes)
{
    race_t *r = race_begin();
    pid_t pids[2];

    for (unsigned i = 0; i < 2; i++)
        pids[i] = child_start(pinner_child, r);
    race_run(r);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(child_wait(pids[i]), 0);
    race_end(r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pin");
    TCase *loops = tcase_create("loops");

    check_add(suite, "word", word);
    check_add(suite, "word_halves", word_halves);
    check_add(suite, "state_names", state_names);
    check_add(suite, "sum_over_owners", sum_over_owners);
    check_add(suite, "drop_below_zero_aborts", drop_below_zero_aborts);
    check_add(suite, "drain_free", drain_free);
    check_add(suite, "drain_held", drain_held);
    check_add(suite, "drain_what_is_not_pinned", drain_what_is_not_pinned);
    check_add(suite, "ledgers_are_sparse", ledgers_are_sparse);
    check_add(suite, "no_memory_for_the_ledger", no_memory_for_the_ledger);
    check_add(suite, "race_of_processes", race_of_processes);
    tcase_set_timeout(loops, 60);
    tcase_add_loop_test(loops, take, 0, CHECK_COUNT(takes));
    tcase_add_loop_test(loops, race_of_threads, 0, 2);
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
