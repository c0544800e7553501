/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects: their pin arrays, their phases (each step leaves every record, group and byte accounted for), who keeps a retired one
 * alive, and that a step that does not exist aborts.
 */
#include "config.h"

#include "cache.h"
#include "check_main.h"
#include "child.h"
#include "fixture.h"
#include "index.h"
#include "key.h"
#include "object.h"
#include "space.h"

#define ZONE (8u << 20)
#define KEY "/some/file.html"

/* What must be as before once an object is gone. */
typedef struct balance {
    uint64_t objects, groups, used, cached, queued;
} balance_t;

static balance_t balance(const fixture_t *f)
{
    const afpa__space_shared_t *s = f->segment->space;

    return (balance_t){s->free_objects, s->free_groups, s->bytes_used, s->bytes_cached,
                       s->queue[AFPA__QUEUE_SMALL].bytes + s->queue[AFPA__QUEUE_MAIN].bytes};
}

static void balance_is(const fixture_t *f, const balance_t *before)
{
    balance_t now = balance(f);

    ck_assert_mem_eq(&now, before, sizeof(now));
}

static uint64_t key_hash(const fixture_t *f)
{
    return afpa__key_hash(f->segment, KEY, strlen(KEY));
}

static uint32_t make(fixture_t *f, uint64_t size)
{
    afpa_identity_t identity = {.size = size, .inode = 7};
    uint32_t object = afpa__object_new(f->segment, f->cache->ledger.slot, key_hash(f), KEY, strlen(KEY), &identity);

    ck_assert_uint_ne(object, AFPA_NONE);
    return object;
}

static uint32_t search(fixture_t *f)
{
    uint32_t object;

    afpa__shard_take(f->segment, key_hash(f));
    object = afpa__index_search(f->segment, key_hash(f), KEY, strlen(KEY));
    afpa__shard_release(f->segment, key_hash(f));
    return object;
}

static void publish(fixture_t *f, uint32_t object)
{
    afpa__shard_take(f->segment, key_hash(f));
    afpa__object_publish(f->segment, object);
    afpa__shard_release(f->segment, key_hash(f));
}

static void retire(fixture_t *f, uint32_t object)
{
    afpa__shard_take(f->segment, key_hash(f));
    afpa__space_take(f->segment);
    afpa__object_retire(f->segment, object);
    afpa__space_release(f->segment);
    afpa__shard_release(f->segment, key_hash(f));
}

static void discard(fixture_t *f, uint32_t object)
{
    afpa__space_take(f->segment);
    afpa__object_discard(f->segment, object);
    afpa__space_release(f->segment);
}

static void poll_draining(fixture_t *f)
{
    afpa__space_take(f->segment);
    afpa__draining_poll(f->segment);
    afpa__space_release(f->segment);
}

/* ---- pin arrays ---- */

static const uint32_t array_lengths[] = {1, 2, 8, 9, 10, 17, 100};

START_TEST(pin_array)
{
    uint32_t length = array_lengths[_i], object;
    balance_t before;
    uint8_t *seen;
    fixture_t f;

    fixture_begin(&f, ZONE);
    before = balance(&f);
    seen = calloc(f.segment->layout.entries, 1);
    object = make(&f, (uint64_t)length * FIXTURE_CHUNK);
    ck_assert_uint_eq(f.segment->objects[object].entries, length);
    for (uint32_t from = 0; from <= length; from++) {
        uint32_t index = from;
        afpa__cursor_t at;

        for (afpa__cursor_start(&at, f.segment, object, from); at.entry != AFPA_NONE; afpa__cursor_next(&at), index++) {
            CHECK_THAT(at.index == index && at.entry == afpa__object_entry(f.segment, object, index));
            CHECK_THAT(f.segment->entries[at.entry].object == object);
            CHECK_THAT(from > 0 || seen[at.entry]++ == 0);
        }
        CHECK_THAT(index == length);
    }
    ck_assert_uint_eq(afpa__object_entry(f.segment, object, 0), object);
    ck_assert_uint_eq(afpa__object_entry(f.segment, object, length), AFPA_NONE);
    ck_assert_uint_eq(afpa__object_entry(f.segment, object, UINT32_MAX), AFPA_NONE);
    ck_assert_uint_eq(afpa__object_entry(f.segment, f.segment->layout.objects, 0), AFPA_NONE);
    discard(&f, object);
    balance_is(&f, &before);
    free(seen);
    fixture_end(&f);
}
END_TEST

static const struct {
    uint64_t size;
    uint32_t index, length;
} lengths[] = {{0, 0, 0},
               {1, 0, 1},
               {FIXTURE_CHUNK - 1, 0, FIXTURE_CHUNK - 1},
               {FIXTURE_CHUNK, 0, FIXTURE_CHUNK},
               {FIXTURE_CHUNK, 1, 0},
               {FIXTURE_CHUNK + 1, 0, FIXTURE_CHUNK},
               {FIXTURE_CHUNK + 1, 1, 1},
               {UINT64_C(1) << 40, (1u << 24) - 1, FIXTURE_CHUNK},
               {(UINT64_C(1) << 40) + 3, 1u << 24, 3}};

START_TEST(entry_length)
{
    afpa__object_shared_t o = {.identity = {.size = lengths[_i].size}};
    afpa__segment_t s = {0};

    ck_assert(afpa__layout_compute(&s.layout, ZONE, FIXTURE_CHUNK));
    ck_assert_uint_eq(afpa__object_length(&s, &o, lengths[_i].index), lengths[_i].length);
}
END_TEST

/* A chain of groups that was damaged ends the walk; it is not followed out of the table. */
START_TEST(damaged_chain)
{
    uint32_t object, group, next, offset;
    afpa__cursor_t at;
    fixture_t f;

    fixture_begin(&f, ZONE);
    object = make(&f, 20 * (uint64_t)FIXTURE_CHUNK);
    group = f.segment->objects[object].group;
    next = f.segment->groups[group];
    f.segment->groups[group] = f.segment->layout.groups;
    afpa__cursor_start(&at, f.segment, object, AFPA_GROUP);
    ck_assert_uint_ne(at.entry, AFPA_NONE);
    afpa__cursor_next(&at);
    ck_assert_uint_eq(at.entry, AFPA_NONE);
    ck_assert_uint_eq(afpa__object_entry(f.segment, object, 2 * AFPA_GROUP), AFPA_NONE);
    offset = f.segment->objects[object].key_offset;
    f.segment->objects[object].key_offset = FIXTURE_CHUNK;
    ck_assert_ptr_null(afpa__object_key(f.segment, &f.segment->objects[object]));
    f.segment->objects[object].key_offset = offset;
    f.segment->groups[group] = next;
    discard(&f, object);
    fixture_end(&f);
}
END_TEST

/* ---- phases ---- */

START_TEST(phase_new)
{
    const afpa__object_shared_t *o;
    balance_t before;
    uint32_t object;
    fixture_t f;

    fixture_begin(&f, ZONE);
    before = balance(&f);
    object = make(&f, 3 * FIXTURE_CHUNK);
    o = &f.segment->objects[object];
    ck_assert_int_eq(atomic_load(&o->phase), AFPA__PHASE_NEW);
    ck_assert_uint_eq(o->key_length, strlen(KEY));
    ck_assert_mem_eq(afpa__object_key(f.segment, o), KEY, strlen(KEY));
    ck_assert_uint_eq(o->identity.inode, 7);
    ck_assert_uint_eq(search(&f), AFPA_NONE);
    discard(&f, object);
    ck_assert_int_eq(atomic_load(&o->phase), AFPA__PHASE_FREE);
    balance_is(&f, &before);
    fixture_end(&f);
}
END_TEST

/* More entries than there are: refused, and nothing is evicted for it or lost by it. */
START_TEST(new_too_large)
{
    afpa_identity_t identity = {.size = UINT64_MAX};
    balance_t before;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 100, 1);
    fixture_load(&f, "a");
    before = balance(&f);
    ck_assert_uint_eq(afpa__object_new(f.segment, 0, 1, KEY, strlen(KEY), &identity), AFPA_NONE);
    identity.size = ((uint64_t)f.segment->layout.groups * AFPA_GROUP + 2) * FIXTURE_CHUNK;
    ck_assert_uint_eq(afpa__object_new(f.segment, 0, 1, KEY, strlen(KEY), &identity), AFPA_NONE);
    balance_is(&f, &before);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    fixture_end(&f);
}
END_TEST

/* Runs out of groups half-way, everything else being held: gives back what it took. */
START_TEST(new_without_groups)
{
    afpa_identity_t identity = {0};
    uint32_t first;
    balance_t before;
    fixture_t f;

    fixture_begin(&f, ZONE);
    first = make(&f, 100 * (uint64_t)FIXTURE_CHUNK);
    before = balance(&f);
    identity.size = (f.segment->space->free_groups + 1) * AFPA_GROUP * FIXTURE_CHUNK;
    ck_assert_uint_eq(afpa__object_new(f.segment, 0, 1, KEY, strlen(KEY), &identity), AFPA_NONE);
    balance_is(&f, &before);
    discard(&f, first);
    fixture_end(&f);
}
END_TEST

/* Without evicting, a pin array is made only for what fits: as many whole chunks as are free, not one more. */
START_TEST(made_without_evicting)
{
    afpa_identity_t identity = {0};
    balance_t before;
    uint32_t object;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 5 * FIXTURE_CHUNK, 1);
    fixture_load(&f, "a");
    before = balance(&f);
    identity.size = (f.segment->space->free_chunks + 1) * FIXTURE_CHUNK;
    ck_assert_uint_eq(afpa__object_make(f.segment, 0, 1, KEY, strlen(KEY), &identity, AFPA__EVICT_NOTHING), AFPA_NONE);
    balance_is(&f, &before);
    identity.size--; /* its tail is a run */
    object = afpa__object_make(f.segment, 0, 1, KEY, strlen(KEY), &identity, AFPA__EVICT_NOTHING);
    ck_assert_uint_ne(object, AFPA_NONE);
    discard(&f, object);
    balance_is(&f, &before);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    fixture_end(&f);
}
END_TEST

START_TEST(published_then_retired)
{
    balance_t before;
    uint32_t object;
    fixture_t f;

    fixture_begin(&f, ZONE);
    before = balance(&f);
    object = make(&f, 3 * FIXTURE_CHUNK);
    publish(&f, object);
    ck_assert_int_eq(atomic_load(&f.segment->objects[object].phase), AFPA__PHASE_LIVE);
    ck_assert_uint_eq(search(&f), object);
    ck_assert_int_eq(f.segment->objects[object].queue, AFPA__QUEUE_SMALL);
    retire(&f, object);
    ck_assert_int_eq(atomic_load(&f.segment->objects[object].phase), AFPA__PHASE_FREE);
    ck_assert_uint_eq(search(&f), AFPA_NONE);
    balance_is(&f, &before);
    fixture_end(&f);
}
END_TEST

/* Retired while held: no look-up finds it, its holders read on, and with the last of them it goes. */
START_TEST(retired_while_held)
{
    const char *path;
    afpa_extent_t extents[3];
    afpa_ref_t ref;
    balance_t before;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 3 * FIXTURE_CHUNK, 1);
    before = balance(&f);
    ref = fixture_open(&f, "a");
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(afpa_cache_pin(&ref, i, AFPA_PIN_COPY, &extents[i]), AFPA_OK);
    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert_int_eq(atomic_load(&f.segment->objects[ref.object].phase), AFPA__PHASE_RETIRED);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_MISS);
    ck_assert_uint_eq(afpa_ref_identity(&ref)->size, 3 * FIXTURE_CHUNK);
    afpa_cache_release(&ref);
    for (uint32_t i = 0; i < 3; i++) {
        poll_draining(&f);
        ck_assert_uint_gt(f.segment->space->bytes_cached, 0);
        for (uint32_t k = i; k < 3; k++)
            ck_assert(fixture_right(&extents[k], "a", 1, k * (uint64_t)FIXTURE_CHUNK));
        afpa_cache_unpin(&extents[i]);
    }
    poll_draining(&f);
    balance_is(&f, &before);
    fixture_end(&f);
}
END_TEST

/* A record in its next life is another object: its first entry has another generation. */
START_TEST(next_life)
{
    uint32_t object;
    uint64_t word;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 10, 1);
    ref = fixture_open(&f, "a");
    object = ref.object;
    word = atomic_load(&f.segment->entries[object].word);
    afpa_cache_release(&ref);
    ck_assert_int_eq(afpa_cache_purge(f.cache, fixture_path(&f, "a"), strlen(fixture_path(&f, "a"))), AFPA_OK);
    ref = fixture_open(&f, "a");
    ck_assert_uint_eq(ref.object, object); /* the free list hands out what came last */
    ck_assert_uint_eq(afpa__word_generation(atomic_load(&f.segment->entries[object].word)), afpa__word_generation(word) + 1);
    ck_assert(!afpa__pin_take(&f.cache->ledger, object, afpa__word_generation(word), AFPA__PIN_ONE));
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* Hits of an earlier life of the record are not counted to the next. */
START_TEST(hits_start_at_zero)
{
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 10, 1);
    fixture_load(&f, "a");
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    ck_assert_int_eq(afpa_cache_purge(f.cache, fixture_path(&f, "a"), strlen(fixture_path(&f, "a"))), AFPA_OK);
    ref = fixture_open(&f, "a");
    ck_assert_int_eq((int64_t)afpa__pin_hits(f.segment, ref.object) + atomic_load(&f.segment->objects[ref.object].hits), 0);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* ---- steps that do not exist ---- */

typedef struct step {
    fixture_t *f;
    uint32_t object;
} step_t;

static void step_discard(void *arg)
{
    discard(((step_t *)arg)->f, ((step_t *)arg)->object);
}

static void step_retire(void *arg)
{
    retire(((step_t *)arg)->f, ((step_t *)arg)->object);
}

static void step_free(void *arg)
{
    step_t *step = arg;

    afpa__space_take(step->f->segment);
    afpa__object_free(step->f->segment, step->object);
}

static const struct {
    const char *label;
    bool live;
    void (*fn)(void *);
} steps[] = {{"live, discarded", true, step_discard},
             {"live, freed", true, step_free},
             {"new, retired", false, step_retire},
             {"new, freed", false, step_free}};

/* The locks the child dies with are its own to break: everything is dropped afterwards. */
START_TEST(wrong_step_aborts)
{
    fixture_t f;
    step_t step = {.f = &f};

    fixture_begin(&f, ZONE);
    step.object = make(&f, 10);
    if (steps[_i].live)
        publish(&f, step.object);
    ck_assert_msg(check_aborts(steps[_i].fn, &step, NULL, 0), "%s", steps[_i].label);
    fixture_drop(&f);
}
END_TEST

/* ---- a process died under the space lock ---- */

static child_result_t die_under_the_lock(void *segment)
{
    afpa__space_take(segment);
    return CHILD_GOOD;
}

/* Who publishes is the next to take the lock, and rebuilds: the object is live then, and in a queue already. */
START_TEST(published_by_who_rebuilds)
{
    balance_t before;
    uint32_t object;
    fixture_t f;

    fixture_begin(&f, ZONE);
    before = balance(&f);
    object = make(&f, 0);
    child_run(die_under_the_lock, f.segment, "dies under the space lock");
    publish(&f, object);
    ck_assert_uint_eq(f.segment->space->queue[AFPA__QUEUE_SMALL].count, 1);
    ck_assert_uint_eq(fixture_problems(&f, true), 0);
    retire(&f, object);
    balance_is(&f, &before);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("object");
    TCase *loops = tcase_create("loops");

    check_add(suite, "damaged_chain", damaged_chain);
    check_add(suite, "phase_new", phase_new);
    check_add(suite, "new_too_large", new_too_large);
    check_add(suite, "new_without_groups", new_without_groups);
    check_add(suite, "made_without_evicting", made_without_evicting);
    check_add(suite, "published_then_retired", published_then_retired);
    check_add(suite, "retired_while_held", retired_while_held);
    check_add(suite, "next_life", next_life);
    check_add(suite, "hits_start_at_zero", hits_start_at_zero);
    check_add(suite, "published_by_who_rebuilds", published_by_who_rebuilds);
    tcase_set_timeout(loops, 60);
    tcase_add_loop_test(loops, pin_array, 0, CHECK_COUNT(array_lengths));
    tcase_add_loop_test(loops, entry_length, 0, CHECK_COUNT(lengths));
    tcase_add_loop_test(loops, wrong_step_aborts, 0, CHECK_COUNT(steps));
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
