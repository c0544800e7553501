/* SPDX-License-Identifier: Apache-2.0
 *
 * The index: a key is found under its hash and by all of its bytes, among whatever shares the bucket, unless its chunk is on the
 * way out; a look-up ends, whatever the chain; all records can be used.  Several writers at once: check_index_writers.c.
 */
#include "config.h"

#include "index_records.h"
#include "key.h"

/* ---- keys and hashes ---- */

static const struct {
    const char *label;
    uint64_t hash;
    const char *key;
    int found; /* which of the records below; -1: none */
} key_cases[] = {
    {"the first", HASH, "/a", 0},
    {"same hash, another key", HASH, "/b", 1},
    {"same hash, longer key", HASH, "/a/long", 2},
    {"same bucket, another hash", HASH ^ UINT64_C(1) << 40, "/a", 3},
    {"another bucket of the shard", HASH + AFPA_SHARDS, "/a", 4},
    {"another shard", HASH + 1, "/a", 5},
    {"same hash, no such key", HASH, "/c", -1},
    {"same hash, part of a key", HASH, "/a/lon", -1},
    {"same hash, more than a key", HASH, "/a/longer", -1},
    {"same hash, no key", HASH, "", -1},
    {"same bucket, no such hash", HASH ^ UINT64_C(1) << 41, "/a", -1},
    {"bucket with nothing", HASH + 2 * AFPA_SHARDS, "/a", -1},
    {"key of another bucket", HASH + 1, "/b", -1},
};

#define RECORDS 6

START_TEST(by_hash_and_key)
{
    uint32_t objects[RECORDS], expected;
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < RECORDS; i++) {
        ck_assert(both_find(&f, key_cases[i].hash, key_cases[i].key, AFPA_NONE));
        objects[i] = publish(f.cache, key_cases[i].hash, key_cases[i].key);
    }
    expected = key_cases[_i].found < 0 ? AFPA_NONE : objects[key_cases[_i].found];
    ck_assert_msg(both_find(&f, key_cases[_i].hash, key_cases[_i].key, expected), "%s", key_cases[_i].label);
    ck_assert_uint_eq(fixture_pins(&f), 0); /* those that were looked at in vain are let go */
    retire_all(&f);
    ck_assert(both_find(&f, key_cases[_i].hash, key_cases[_i].key, AFPA_NONE));
    fixture_end(&f);
}
END_TEST

/* What is found is held, in the generation told, with what the caller adds. */
START_TEST(found_is_held)
{
    uint64_t generation;
    uint32_t made, object;
    fixture_t f;

    fixture_begin(&f, ZONE);
    made = publish(f.cache, HASH, "/a");
    ck_assert(afpa__index_pin(&f.cache->ledger, HASH, "/a", 2, AFPA__PIN_ONE | AFPA__HIT_ONE, &object, &generation));
    ck_assert_uint_eq(object, made);
    ck_assert_uint_eq(generation, afpa__word_generation(atomic_load(&f.segment->entries[made].word)));
    ck_assert_uint_eq(afpa__pin_count(f.segment, made), 1);
    ck_assert_uint_eq(afpa__pin_hits(f.segment, made), 1);
    retire(f.cache, made);
    ck_assert(both_find(&f, HASH, "/a", AFPA_NONE));
    ck_assert_uint_eq(atomic_load(&f.segment->objects[made].phase), AFPA__PHASE_RETIRED);
    afpa__pin_drop(&f.cache->ledger, made);
    afpa_cache_reap(f.cache);
    ck_assert_uint_eq(atomic_load(&f.segment->objects[made].phase), AFPA__PHASE_FREE);
    fixture_end(&f);
}
END_TEST

static const struct {
    const char *label;
    afpa__pin_state_t state;
    afpa__phase_t phase;
    bool look, search;
} state_cases[] = {
    {"pinned", AFPA__PINNED, AFPA__PHASE_LIVE, true, true},
    {"empty", AFPA__EMPTY, AFPA__PHASE_LIVE, false, true},
    {"filling", AFPA__FILLING, AFPA__PHASE_LIVE, false, true},
    {"draining", AFPA__DRAINING, AFPA__PHASE_LIVE, false, true},
    {"no state", (afpa__pin_state_t)7, AFPA__PHASE_LIVE, false, true},
    {"pinned, but retired just now", AFPA__PINNED, AFPA__PHASE_RETIRED, false, true},
    {"pinned, but new", AFPA__PINNED, AFPA__PHASE_NEW, false, true},
};

/* Without a lock only what can be sent is found; under the lock a record is found whatever its entries are. */
START_TEST(states)
{
    uint32_t object;
    uint64_t word;
    fixture_t f;

    fixture_begin(&f, ZONE);
    object = publish(f.cache, HASH, "/a");
    word = atomic_load(&f.segment->entries[object].word);
    atomic_store(&f.segment->entries[object].word, afpa__word(state_cases[_i].state, 0, afpa__word_generation(word)));
    atomic_store(&f.segment->objects[object].phase, (uint8_t)state_cases[_i].phase);
    ck_assert_msg((look(f.cache, HASH, "/a", 2) == object) == state_cases[_i].look, "%s", state_cases[_i].label);
    ck_assert_msg((search(f.cache, HASH, "/a", 2) == object) == state_cases[_i].search, "%s", state_cases[_i].label);
    ck_assert_uint_eq(fixture_pins(&f), 0);
    atomic_store(&f.segment->objects[object].phase, AFPA__PHASE_LIVE);
    atomic_store(&f.segment->entries[object].word, word);
    retire_all(&f);
    fixture_end(&f);
}
END_TEST

/* Nobody finds what its maker has not published. */
START_TEST(unpublished)
{
    uint32_t object;
    fixture_t f;

    fixture_begin(&f, ZONE);
    object = record_new(f.cache, HASH, "/a");
    ck_assert(both_find(&f, HASH, "/a", AFPA_NONE));
    afpa__space_take(f.segment);
    afpa__object_discard(f.segment, object);
    afpa__space_release(f.segment);
    ck_assert(both_find(&f, HASH, "/a", AFPA_NONE));
    fixture_end(&f);
}
END_TEST

/* ---- chains ---- */

#define CHAIN 5

/* Takes one out of a chain: the first, the last, one between. */
START_TEST(removed_from_chain)
{
    uint32_t objects[CHAIN];
    uint32_t version;
    char key[8];
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < CHAIN; i++) {
        snprintf(key, sizeof(key), "/%u", i);
        objects[i] = publish(f.cache, HASH, key);
    }
    version = atomic_load(&f.segment->buckets[afpa__key_bucket(f.segment, HASH)].version);
    ck_assert_uint_eq(version, 2 * CHAIN); /* even: nobody is at it */
    retire(f.cache, objects[_i]);
    ck_assert_uint_eq(atomic_load(&f.segment->buckets[afpa__key_bucket(f.segment, HASH)].version), version + 2);
    for (unsigned i = 0; i < CHAIN; i++) {
        snprintf(key, sizeof(key), "/%u", i);
        ck_assert(both_find(&f, HASH, key, i == (unsigned)_i ? AFPA_NONE : objects[i]));
    }
    afpa__shard_take(f.segment, HASH);
    afpa__index_remove(f.segment, objects[_i]); /* is not there: changes nothing */
    afpa__shard_release(f.segment, HASH);
    ck_assert_uint_eq(atomic_load(&f.segment->buckets[afpa__key_bucket(f.segment, HASH)].version), version + 2);
    retire_all(&f);
    fixture_end(&f);
}
END_TEST

/* A chain no hash makes: the loop gives up after 64 steps, a worker finds the rest. */
START_TEST(chain_too_long)
{
    uint32_t objects[70];
    char key[8];
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < CHECK_COUNT(objects); i++) {
        snprintf(key, sizeof(key), "/%u", i);
        objects[i] = publish(f.cache, HASH, key);
    }
    for (unsigned i = 0; i < CHECK_COUNT(objects); i++) { /* the newest is first */
        snprintf(key, sizeof(key), "/%u", i);
        ck_assert_uint_eq(look(f.cache, HASH, key, strlen(key)), i < CHECK_COUNT(objects) - 64 ? AFPA_NONE : objects[i]);
        ck_assert_uint_eq(search(f.cache, HASH, key, strlen(key)), objects[i]);
    }
    retire_all(&f);
    fixture_end(&f);
}
END_TEST

static void damage_circle(afpa__segment_t *s, uint32_t first, uint32_t last)
{
    atomic_store(&s->objects[last].hash_next, first);
}

static void damage_self(afpa__segment_t *s, uint32_t first, uint32_t last)
{
    (void)last;
    atomic_store(&s->objects[first].hash_next, first);
}

static void damage_next(afpa__segment_t *s, uint32_t first, uint32_t last)
{
    (void)first;
    atomic_store(&s->objects[last].hash_next, s->layout.objects);
}

static void damage_head(afpa__segment_t *s, uint32_t first, uint32_t last)
{
    (void)first, (void)last;
    atomic_store(&s->buckets[afpa__key_bucket(s, HASH)].head, UINT32_MAX - 1);
}

static void damage_version(afpa__segment_t *s, uint32_t first, uint32_t last)
{
    (void)first, (void)last;
    atomic_fetch_or(&s->buckets[afpa__key_bucket(s, HASH)].version, 1);
}

static void damage_key(afpa__segment_t *s, uint32_t first, uint32_t last)
{
    s->objects[first].key_chunk = s->layout.chunks;
    s->objects[last].key_offset = UINT32_MAX;
}

/* Whatever a chain looks like while a record in it is used anew, or after damage: a look-up comes to an end. */
START_TEST(comes_to_an_end)
{
    static void (*const damage[])(afpa__segment_t *, uint32_t, uint32_t) = {damage_circle, damage_self,    damage_next,
                                                                            damage_head,   damage_version, damage_key};
    uint32_t first, last;
    fixture_t f;

    fixture_begin(&f, ZONE);
    last = publish(f.cache, HASH, "/a");
    first = publish(f.cache, HASH, "/b");
    damage[_i](f.segment, first, last);
    ck_assert_uint_eq(look(f.cache, HASH, "/c", 2), AFPA_NONE);
    ck_assert_uint_eq(look(f.cache, HASH + (UINT64_C(1) << 50), "/a", 2), AFPA_NONE);
    ck_assert_uint_eq(fixture_pins(&f), 0);
    fixture_drop(&f);
}
END_TEST

/* ---- all records ---- */

/* Three times as many keys as records: each is found when it comes, and what was there before makes room. */
START_TEST(full_index)
{
    uint32_t records, live = 0;
    char key[32];
    fixture_t f;

    fixture_begin(&f, ZONE);
    records = f.segment->layout.objects;
    for (unsigned i = 0; i < 3 * records; i++) {
        int length = snprintf(key, sizeof(key), "/file/%u", i);
        uint64_t hash = afpa__key_hash(f.segment, key, (size_t)length);
        uint32_t object = publish(f.cache, hash, key);

        CHECK_THAT(object != AFPA_NONE);
        CHECK_THAT(both_find(&f, hash, key, object));
    }
    for (unsigned i = 0; i < 3 * records; i++) {
        int length = snprintf(key, sizeof(key), "/file/%u", i);

        live += look(f.cache, afpa__key_hash(f.segment, key, (size_t)length), key, (size_t)length) != AFPA_NONE;
    }
    ck_assert_uint_eq(live, records);
    fixture_end(&f);
}
END_TEST

START_TEST(full_of_held_records)
{
    uint32_t count = 0, object;
    char key[32];
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (;; count++) {
        int length = snprintf(key, sizeof(key), "/file/%u", count);

        object = publish(f.cache, afpa__key_hash(f.segment, key, (size_t)length), key);
        if (object == AFPA_NONE)
            break;
        CHECK_THAT(afpa__pin_raise(&f.cache->ledger, object, AFPA__PIN_ONE));
    }
    ck_assert_uint_eq(count, f.segment->layout.objects);
    afpa__pin_drop(&f.cache->ledger, 17);
    object = publish(f.cache, HASH, "/one/more");
    ck_assert_uint_eq(object, 17);
    ck_assert(both_find(&f, HASH, "/one/more", 17));
    retire(f.cache, 17);
    for (uint32_t i = 0; i < f.segment->layout.objects; i++)
        if (i != 17)
            afpa__pin_drop(&f.cache->ledger, i);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("index");

    check_add_loop(suite, "by_hash_and_key", by_hash_and_key, CHECK_COUNT(key_cases));
    check_add(suite, "found_is_held", found_is_held);
    check_add_loop(suite, "states", states, CHECK_COUNT(state_cases));
    check_add(suite, "unpublished", unpublished);
    check_add_loop(suite, "removed_from_chain", removed_from_chain, CHAIN);
    check_add(suite, "chain_too_long", chain_too_long);
    check_add_loop(suite, "comes_to_an_end", comes_to_an_end, 6);
    check_add(suite, "full_index", full_index);
    check_add(suite, "full_of_held_records", full_of_held_records);
    return check_main(suite);
}
