/* SPDX-License-Identifier: Apache-2.0
 *
 * S3-FIFO as this cache has it: who goes first, who is passed over, who comes back to the main queue; and admission by uses.
 */
#include "config.h"

#include "cache.h"
#include "check_main.h"
#include "evict.h"
#include "fixture.h"
#include "index.h"
#include "key.h"
#include "space.h"

#define ZONE (4u << 20)
#define PAYLOAD 30000u  /* runs of 30 units of 1 KB: two to a chunk */
#define ABOVE_TENTH 20u /* so many of them are more than a tenth of the zone */

static const char *numbered(unsigned number)
{
    static char name[16];

    snprintf(name, sizeof(name), "n%u", number);
    return name;
}

static void load(fixture_t *f, unsigned number)
{
    fixture_file(f, numbered(number), PAYLOAD, 1);
    fixture_load(f, numbered(number));
}

static bool is_cached(fixture_t *f, unsigned number)
{
    const char *path = fixture_path(f, numbered(number));
    uint64_t hash = afpa__key_hash(f->segment, path, strlen(path));
    uint32_t object;

    afpa__shard_take(f->segment, hash);
    object = afpa__index_search(f->segment, hash, path, strlen(path));
    afpa__shard_release(f->segment, hash);
    return object != AFPA_NONE;
}

static int queue_of(fixture_t *f, unsigned number)
{
    afpa_ref_t ref = fixture_open(f, numbered(number));
    int queue = f->segment->objects[ref.object].queue;

    afpa_cache_release(&ref);
    return queue;
}

static bool evict_one(fixture_t *f, afpa__evict_t what)
{
    bool evicted;

    afpa__space_take(f->segment);
    evicted = afpa__evict_one(f->segment, what);
    afpa__space_release(f->segment);
    return evicted;
}

/* Whether evict_one() gives up n0, n1, … in this order. */
static void evicted_in_order(fixture_t *f, const unsigned *order, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        ck_assert(evict_one(f, AFPA__EVICT_OBJECTS));
        ck_assert_msg(!is_cached(f, order[i]), "n%u should have gone now", order[i]);
        for (unsigned k = i + 1; k < count; k++)
            ck_assert_msg(is_cached(f, order[k]), "n%u went before n%u", order[k], order[i]);
    }
}

/* ---- who goes ---- */

START_TEST(first_in_first_out)
{
    static const unsigned order[] = {0, 1, 2, 3};
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < 4; i++)
        load(&f, i);
    evicted_in_order(&f, order, 4);
    ck_assert(!evict_one(&f, AFPA__EVICT_CHUNKS));
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 4);
    fixture_end(&f);
}
END_TEST

/* Asked for twice while in the small queue, which is above its tenth: moves on instead of going. */
START_TEST(promoted_from_small)
{
    static const unsigned order[] = {1, 3, 4, 5};
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < ABOVE_TENTH; i++)
        load(&f, i);
    for (unsigned hits = 0; hits < 2; hits++) {
        fixture_lookup(&f, numbered(0));
        fixture_lookup(&f, numbered(2));
    }
    fixture_lookup(&f, numbered(1)); /* once is not enough */
    evicted_in_order(&f, order, 4);
    ck_assert(is_cached(&f, 0) && is_cached(&f, 2));
    ck_assert_int_eq(queue_of(&f, 0), AFPA__QUEUE_MAIN);
    ck_assert_int_eq(queue_of(&f, 6), AFPA__QUEUE_SMALL);
    fixture_end(&f);
}
END_TEST

/* In the main queue, each hit (three count) is one more round. */
START_TEST(rounds_in_main)
{
    static const unsigned order[] = {3, 1, 2, 0};
    static const unsigned hits[] = {9, 1, 2, 0};
    fixture_t f;

    fixture_begin(&f, ZONE);
    afpa__space_take(f.segment);
    afpa__space_release(f.segment);
    for (unsigned i = 0; i < 4; i++) {
        afpa_ref_t ref;

        load(&f, i);
        ref = fixture_open(&f, numbered(i));
        afpa__space_take(f.segment);
        afpa__queue_remove(f.segment, ref.object);
        afpa__queue_push(f.segment, ref.object, AFPA__QUEUE_MAIN);
        afpa__space_release(f.segment);
        afpa_cache_release(&ref);
        for (unsigned k = 0; k < hits[i]; k++)
            fixture_lookup(&f, numbered(i));
    }
    evicted_in_order(&f, order, 4);
    fixture_end(&f);
}
END_TEST

START_TEST(frequency_is_at_most_three)
{
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    load(&f, 0);
    ref = fixture_open(&f, numbered(0));
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_uint_eq(atomic_load(&f.segment->objects[ref.object].frequency), i < 3 ? i : 3);
        fixture_lookup(&f, numbered(0));
    }
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* A hot set outlives a scan many times larger than the zone: what S3-FIFO is for. */
START_TEST(scan_resistance)
{
    unsigned hot = 20, scanned = 300;
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < hot; i++)
        load(&f, i);
    for (unsigned i = 0; i < scanned; i++) {
        for (unsigned k = 0; k < hot && i % 10 == 0; k++)
            fixture_lookup(&f, numbered(k));
        load(&f, hot + i);
    }
    for (unsigned i = 0; i < hot; i++)
        ck_assert_msg(is_cached(&f, i), "n%u of the hot set is gone", i);
    ck_assert_uint_gt(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), scanned / 2);
    fixture_end(&f);
}
END_TEST

/* Held objects are passed over, and move to the main queue; that this is held whole does not save the small one. */
START_TEST(held)
{
    afpa_ref_t refs[2];
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < 4; i++)
        load(&f, i);
    refs[0] = fixture_open(&f, numbered(0));
    refs[1] = fixture_open(&f, numbered(2));
    ck_assert(evict_one(&f, AFPA__EVICT_OBJECTS) && evict_one(&f, AFPA__EVICT_OBJECTS));
    ck_assert(!evict_one(&f, AFPA__EVICT_OBJECTS));
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(is_cached(&f, i), i % 2 == 0);
    afpa_cache_release(&refs[0]);
    ck_assert(evict_one(&f, AFPA__EVICT_OBJECTS));
    ck_assert(!is_cached(&f, 0));
    afpa_cache_release(&refs[1]);
    fixture_end(&f);
}
END_TEST

/* A large object that is held gives up chunks nobody holds, but only if that is asked for. */
START_TEST(chunks_of_held_objects)
{
    afpa_extent_t extent, second;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "large", 3 * FIXTURE_CHUNK, 1);
    ref = fixture_open(&f, "large");
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent), AFPA_OK);
    ck_assert(!evict_one(&f, AFPA__EVICT_NOTHING));
    ck_assert(!evict_one(&f, AFPA__EVICT_OBJECTS));
    ck_assert(evict_one(&f, AFPA__EVICT_CHUNKS));
    ck_assert(!evict_one(&f, AFPA__EVICT_CHUNKS));
    ck_assert_int_eq(afpa_cache_pin(&ref, 2, AFPA_PIN_COPY, &second), AFPA_EMPTY);
    ck_assert(fixture_right(&extent, "large", 1, FIXTURE_CHUNK));
    ck_assert_int_eq(afpa_cache_pin(&ref, 0, AFPA_PIN_COPY, &second), AFPA_OK);
    afpa_cache_unpin(&second);
    afpa_cache_unpin(&extent);
    ck_assert(evict_one(&f, AFPA__EVICT_CHUNKS));
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* What was given up before is room as soon as its last pin has gone, even where nothing may be given up. */
START_TEST(nothing_but_what_drains)
{
    afpa_extent_t extent;
    const char *path;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    load(&f, 0);
    fixture_file(&f, "large", 3 * FIXTURE_CHUNK, 1);
    ref = fixture_open(&f, "large");
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent), AFPA_OK);
    path = fixture_path(&f, "large");
    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert(!evict_one(&f, AFPA__EVICT_NOTHING));
    afpa_cache_release(&ref);
    ck_assert(!evict_one(&f, AFPA__EVICT_NOTHING));
    afpa_cache_unpin(&extent);
    ck_assert(evict_one(&f, AFPA__EVICT_NOTHING));
    ck_assert(!evict_one(&f, AFPA__EVICT_NOTHING));
    ck_assert(is_cached(&f, 0));
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 0);
    fixture_end(&f);
}
END_TEST

/* A victim whose shard somebody is busy with is passed over, not waited for. */
START_TEST(busy_shard)
{
    const char *path;
    uint64_t hash;
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < 40; i++)
        load(&f, i);
    path = fixture_path(&f, numbered(0));
    hash = afpa__key_hash(f.segment, path, strlen(path));
    afpa__shard_take(f.segment, hash);
    for (unsigned i = 0; i < 5; i++)
        ck_assert(evict_one(&f, AFPA__EVICT_OBJECTS));
    ck_assert_uint_ne(afpa__index_search(f.segment, hash, path, strlen(path)), AFPA_NONE);
    afpa__shard_release(f.segment, hash);
    while (evict_one(&f, AFPA__EVICT_OBJECTS))
        continue;
    ck_assert(!is_cached(&f, 0));
    fixture_end(&f);
}
END_TEST

/* ---- ghosts ---- */

/* Who comes back soon after it left the small queue enters the main queue; later it is a stranger again. */
START_TEST(ghost)
{
    const char *path;
    uint64_t hash;
    fixture_t f;

    fixture_begin(&f, ZONE);
    load(&f, 0);
    path = fixture_path(&f, numbered(0));
    hash = afpa__key_hash(f.segment, path, strlen(path));
    for (unsigned i = 1; i < ABOVE_TENTH; i++)
        load(&f, i);
    ck_assert_int_eq(queue_of(&f, 0), AFPA__QUEUE_SMALL);
    ck_assert(!afpa__ghost_has(f.segment, hash));
    ck_assert(evict_one(&f, AFPA__EVICT_OBJECTS));
    ck_assert(!is_cached(&f, 0));
    ck_assert(afpa__ghost_has(f.segment, hash));
    load(&f, 0);
    ck_assert_int_eq(queue_of(&f, 0), AFPA__QUEUE_MAIN);
    ck_assert(evict_one(&f, AFPA__EVICT_OBJECTS));
    ck_assert(!is_cached(&f, 1));
    for (unsigned i = 100; i < 120; i++) {
        load(&f, i);
        ck_assert(evict_one(&f, AFPA__EVICT_OBJECTS));
    }
    load(&f, 1);
    ck_assert_int_eq(queue_of(&f, 1), AFPA__QUEUE_SMALL);
    fixture_end(&f);
}
END_TEST

/* ---- room ---- */

START_TEST(room)
{
    uint32_t chunk, offset, count = 0;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    ref = (afpa_ref_t){0};
    for (unsigned i = 0; i < 300; i++)
        load(&f, i);
    ref = fixture_open(&f, numbered(299));
    afpa__space_take(f.segment);
    ck_assert(!afpa__room_alloc(f.segment, FIXTURE_CHUNK, AFPA__EVICT_NOTHING, &chunk, &offset));
    while (afpa__room_alloc(f.segment, FIXTURE_CHUNK, AFPA__EVICT_OBJECTS, &chunk, &offset))
        count++;
    afpa__space_release(f.segment);
    /* All but the chunks that what is held lies in: its payload and its key. */
    ck_assert_uint_ge(count, f.segment->layout.chunks - 2);
    ck_assert(is_cached(&f, 299));
    afpa_cache_release(&ref);
    fixture_drop(&f);
}
END_TEST

/* ---- admission ---- */

START_TEST(uses)
{
    uint64_t hash = UINT64_C(0x1234567800000042), other = UINT64_C(0x9999567800000042);
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (uint32_t i = 1; i <= 0xffff; i++)
        CHECK_THAT(afpa__uses_add(f.segment, hash) == i);
    ck_assert_uint_eq(afpa__uses_add(f.segment, hash), 0xffff);
    ck_assert_uint_eq(afpa__uses_add(f.segment, other), 1); /* takes the cell over */
    ck_assert_uint_eq(afpa__uses_add(f.segment, hash), 1);
    ck_assert_uint_eq(afpa__uses_add(f.segment, hash + 1), 1);
    ck_assert_uint_eq(afpa__uses_add(f.segment, hash), 2);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("evict");

    check_add(suite, "first_in_first_out", first_in_first_out);
    check_add(suite, "promoted_from_small", promoted_from_small);
    check_add(suite, "rounds_in_main", rounds_in_main);
    check_add(suite, "frequency_is_at_most_three", frequency_is_at_most_three);
    check_add(suite, "scan_resistance", scan_resistance);
    check_add(suite, "held", held);
    check_add(suite, "chunks_of_held_objects", chunks_of_held_objects);
    check_add(suite, "nothing_but_what_drains", nothing_but_what_drains);
    check_add(suite, "busy_shard", busy_shard);
    check_add(suite, "ghost", ghost);
    check_add(suite, "room", room);
    check_add(suite, "uses", uses);
    return check_main(suite);
}
