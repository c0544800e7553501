/* SPDX-License-Identifier: Apache-2.0
 *
 * What an owner had that was killed is taken back, all of it and once: pins, hits, counts, the chunk it was reading, the record it
 * was making; whether somebody reaps it, takes its slot, or waits for it.
 */
#include "config.h"

#include <pthread.h>

#include <afpa/log.h>

#include "cache.h"
#include "chunk.h"
#include "object.h"
#include "owner.h"
#include "owner_board.h"
#include "pin.h"
#include "space.h"

/* Marks entry 1 of the object as a worker does that has found room and is about to read. */
static void begin_fill(afpa_cache_t *cache, uint32_t object)
{
    afpa__segment_t *s = cache->segment;
    uint32_t entry = afpa__object_entry(s, object, 1);
    afpa__entry_shared_t *e = &s->entries[entry];
    afpa__object_shared_t *o = &s->objects[object];
    uint64_t word = atomic_load(&e->word);

    atomic_store(&e->word, afpa__word(AFPA__FILLING, cache->ledger.slot, afpa__word_generation(word)));
    afpa__space_take(s);
    if (afpa__chunk_alloc(s, FIXTURE_CHUNK, &e->chunk, &e->offset)) {
        e->length = FIXTURE_CHUNK;
        o->bytes += FIXTURE_CHUNK;
        s->space->queue[o->queue].bytes += FIXTURE_CHUNK;
        s->space->bytes_cached += FIXTURE_CHUNK;
    }
    afpa__space_release(s);
}

static child_result_t do_everything_and_stay(void *arg)
{
    static const afpa_identity_t identity = {.size = 3 * FIXTURE_CHUNK};
    board_t *b = arg;
    const char *path = fixture_path(b->f, "big");
    afpa_cache_t *cache;
    afpa_error_t error;
    afpa_extent_t extent;
    afpa_ref_t ref, again;

    CHILD_NEED(afpa_cache_attach(b->f->zone, "worker", &cache, &error) == AFPA_OK);
    CHILD_NEED(afpa_cache_lookup(cache, path, strlen(path), 100000, &ref) == AFPA_OK);
    CHILD_NEED(afpa_cache_lookup(cache, path, strlen(path), 100000, &again) == AFPA_OK);
    CHILD_NEED(afpa_cache_fill(&ref, 2, 1) == AFPA_OK);
    CHILD_NEED(afpa_cache_pin(&ref, 2, AFPA_PIN_REFERENCE, &extent) == AFPA_OK);
    afpa_cache_count(cache, AFPA_COUNTER_PIPELINE_HITS);
    begin_fill(cache, ref.object);
    atomic_store(&b->object, afpa__object_new(cache->segment, cache->ledger.slot, 1, "/new", 4, &identity));
    CHILD_NEED(atomic_load(&b->object) != AFPA_NONE);
    return stay(b);
}

static uint32_t object_of(fixture_t *f, const char *name)
{
    afpa_object_info_t *info = malloc(sizeof(*info));
    const char *path = fixture_path(f, name);
    uint32_t object;

    ck_assert_ptr_nonnull(info);
    ck_assert_int_eq(afpa_inspect_path(f->zone, path, strlen(path), info), AFPA_OK);
    object = info->object;
    free(info);
    return object;
}

static uint64_t row_sum(const afpa__segment_t *s, uint32_t slot)
{
    uint64_t sum = 0;

    for (uint32_t entry = 0; entry < s->layout.entries; entry++)
        sum += atomic_load(&afpa__ledger_row(s, slot)[entry]);
    return sum;
}

static void load_first_chunk(fixture_t *f, const char *name, uint64_t size)
{
    const char *path = fixture_file(f, name, size, 1);
    afpa_counter_t why;
    afpa_ref_t ref;

    f->policy.revalidate_ms = 100000;
    ck_assert_int_eq(afpa_cache_open(f->cache, path, strlen(path), &f->policy, &ref, &why, NULL), AFPA_OK);
    afpa_cache_release(&ref);
}

static void keep_line(void *context, afpa_log_level_t level, const char *line)
{
    if (level == AFPA_LOG_NOTICE)
        snprintf(context, 256, "%s", line);
}

START_TEST(killed_with_everything)
{
    char line[256] = "", expected[256];
    uint64_t generation, hits;
    uint32_t object, entry;
    afpa__segment_t *s;
    afpa_stat_t stat;
    fixture_t f;
    board_t *b;
    pid_t pid;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    s = f.segment;
    load_first_chunk(&f, "big", 4 * FIXTURE_CHUNK);
    object = object_of(&f, "big");
    entry = afpa__object_entry(s, object, 1);
    generation = afpa__word_generation(atomic_load(&s->entries[entry].word));
    pid = child_start(do_everything_and_stay, b);
    board_wait(b, 1);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 0);
    ck_assert_uint_eq(fixture_pins(&f), 4); /* two refs; the extent, which holds the object too */
    hits = afpa__pin_hits(s, object) + (uint64_t)s->objects[object].hits;
    ck_assert_uint_eq(hits, 2);
    end(pid);
    ck_assert_uint_eq(fixture_pins(&f), 4);

    afpa_log_set(keep_line, line, AFPA_LOG_NOTICE);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 1);
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    snprintf(expected, sizeof(expected), "zone %s: process %d (worker) is gone without leaving; slot 1 is taken back",
             afpa_zone_name(f.zone), (int)pid);
    ck_assert_str_eq(line, expected);
    ck_assert_uint_eq(row_sum(s, 1), 0);
    ck_assert(s->owners[1].used == 0 && s->owners[1].pid == 0);
    ck_assert_uint_eq(s->owners[1].counters[AFPA_COUNTER_PIPELINE_HITS], 0);
    ck_assert_uint_eq(afpa__pin_hits(s, object) + (uint64_t)s->objects[object].hits, hits);
    ck_assert_uint_eq(atomic_load(&s->entries[entry].word), afpa__word(AFPA__EMPTY, 0, generation + 1));
    ck_assert_uint_eq(s->entries[entry].chunk, AFPA_NONE);
    ck_assert_uint_eq(atomic_load(&s->objects[atomic_load(&b->object)].phase), AFPA__PHASE_FREE);
    afpa_inspect_stat(f.zone, &stat);
    ck_assert_uint_eq(stat.counters[AFPA_COUNTER_PIPELINE_HITS], 1);
    ck_assert_uint_eq(stat.counters[AFPA_COUNTER_REAPED], 1);
    ck_assert_uint_eq(stat.bytes_cached, 2 * FIXTURE_CHUNK);
    ck_assert_int_eq(fixture_lookup(&f, "big"), AFPA_OK);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

/* Who takes the slot of a dead process takes back what it had, first. */
START_TEST(slot_of_a_dead_process)
{
    fixture_t f;
    board_t *b;
    uint32_t slot;
    int fd;
    afpa_error_t error;
    pid_t pid;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    load_first_chunk(&f, "big", 4 * FIXTURE_CHUNK);
    pid = child_start(do_everything_and_stay, b);
    board_wait(b, 1);
    ck_assert_int_eq(afpa_cache_purge(f.cache, fixture_path(&f, "big"), strlen(fixture_path(&f, "big"))), AFPA_OK);
    end(pid);
    ck_assert_int_eq(afpa__owner_take(f.segment, f.path, "heir", &fd, &slot, &error), AFPA_OK);
    ck_assert_uint_eq(slot, 1);
    ck_assert_uint_eq(row_sum(f.segment, 1), 0);
    ck_assert_uint_eq(fixture_pins(&f), 0);
    ck_assert_uint_eq(f.segment->space->draining, AFPA_NONE);
    ck_assert_uint_eq(f.segment->space->bytes_used, 0);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REAPED), 1);
    ck_assert_uint_eq(f.segment->owners[1].pid, (uint32_t)getpid());
    afpa__owner_release(f.segment, fd, slot);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

static child_result_t detach_under_the_lock(void *arg)
{
    board_t *b = arg;
    const char *path = fixture_path(b->f, "big");
    afpa_cache_t *cache;
    afpa_error_t error;
    afpa_ref_t ref;

    CHILD_NEED(afpa_cache_attach(b->f->zone, "worker", &cache, &error) == AFPA_OK);
    CHILD_NEED(afpa_cache_lookup(cache, path, strlen(path), 100000, &ref) == AFPA_OK);
    afpa__space_take(cache->segment);
    afpa_cache_detach(&cache);
    return CHILD_GOOD;
}

/* As httpd's prefork does, whose children detach in a signal handler, whatever they were at: it is as if they were killed. */
START_TEST(ended_by_a_signal_handler)
{
    fixture_t f;
    board_t *b;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    load_first_chunk(&f, "big", 4 * FIXTURE_CHUNK);
    child_run(detach_under_the_lock, b, "detached under the space lock");
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 1);
    ck_assert_uint_eq(fixture_pins(&f), 0);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

/* An object that was retired while the dead held it goes with the reaping. */
START_TEST(retired_object_of_the_dead)
{
    afpa_stat_t stat;
    fixture_t f;
    board_t *b;
    pid_t pid;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    load_first_chunk(&f, "big", 4 * FIXTURE_CHUNK);
    pid = child_start(do_everything_and_stay, b);
    board_wait(b, 1);
    ck_assert_int_eq(afpa_cache_purge(f.cache, fixture_path(&f, "big"), strlen(fixture_path(&f, "big"))), AFPA_OK);
    afpa_inspect_stat(f.zone, &stat);
    ck_assert_uint_eq(stat.draining, 1);
    end(pid);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 1);
    afpa_inspect_stat(f.zone, &stat);
    ck_assert(stat.draining == 0 && stat.objects == 0 && stat.bytes_cached == 0 && stat.pins == 0);
    ck_assert_uint_eq(f.segment->space->bytes_used, 0);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

static child_result_t reap_once(void *arg)
{
    board_t *b = arg;
    afpa_cache_t *cache;
    afpa_error_t error;

    CHILD_NEED(afpa_cache_attach(b->f->zone, "reaper", &cache, &error) == AFPA_OK); /* reaps */
    afpa_cache_detach(&cache);
    return CHILD_GOOD;
}

/* Many have the idea at once; one does it. */
START_TEST(reaped_once)
{
    pid_t dead, reapers[8];
    fixture_t f;
    board_t *b;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    load_first_chunk(&f, "big", 4 * FIXTURE_CHUNK);
    for (unsigned round = 1; round <= 5; round++) {
        dead = child_start(do_everything_and_stay, b);
        board_wait(b, round);
        end(dead);
        for (unsigned i = 0; i < CHECK_COUNT(reapers); i++)
            reapers[i] = child_start(reap_once, b);
        for (unsigned i = 0; i < CHECK_COUNT(reapers); i++)
            ck_assert_int_eq(child_wait(reapers[i]), 0);
        ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REAPED), round);
        ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_PIPELINE_HITS), round);
        ck_assert_uint_eq(fixture_pins(&f), 0);
        ck_assert_uint_eq(fixture_problems(&f, true), 0);
    }
    board_drop(b);
    fixture_end(&f);
}
END_TEST

typedef struct waiter {
    afpa_ref_t ref;
    _Atomic int status;
} waiter_t;

static void *wait_for_fill(void *arg)
{
    waiter_t *w = arg;

    atomic_store(&w->status, (int)afpa_cache_fill(&w->ref, 1, 1));
    return NULL;
}

/* Who waits for a chunk that a process was reading when it died reads it instead. */
START_TEST(waiter_takes_over)
{
    waiter_t w = {.status = -1};
    afpa_extent_t extent;
    pthread_t thread;
    fixture_t f;
    board_t *b;
    pid_t pid;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    load_first_chunk(&f, "big", 4 * FIXTURE_CHUNK);
    pid = child_start(do_everything_and_stay, b);
    board_wait(b, 1);
    ck_assert_int_eq(afpa_cache_lookup(f.cache, fixture_path(&f, "big"), strlen(fixture_path(&f, "big")), 100000, &w.ref), AFPA_OK);
    ck_assert_int_eq(afpa_cache_pin(&w.ref, 1, AFPA_PIN_COPY, &extent), AFPA_EMPTY);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_fill, &w), 0);
    usleep(150000);
    ck_assert_int_eq(atomic_load(&w.status), -1);
    end(pid);
    pthread_join(thread, NULL);
    ck_assert_int_eq(atomic_load(&w.status), AFPA_OK);
    ck_assert_int_eq(afpa_cache_pin(&w.ref, 1, AFPA_PIN_COPY, &extent), AFPA_OK);
    ck_assert(fixture_right(&extent, "big", 1, FIXTURE_CHUNK));
    afpa_cache_unpin(&extent);
    afpa_cache_release(&w.ref);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REAPED), 1);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("owner_death");

    check_add(suite, "killed_with_everything", killed_with_everything);
    check_add(suite, "slot_of_a_dead_process", slot_of_a_dead_process);
    check_add(suite, "ended_by_a_signal_handler", ended_by_a_signal_handler);
    check_add(suite, "retired_object_of_the_dead", retired_object_of_the_dead);
    check_add(suite, "reaped_once", reaped_once);
    check_add(suite, "waiter_takes_over", waiter_takes_over); /* last: what libc keeps of a thread, a forked child would leak */
    return check_main(suite);
}
