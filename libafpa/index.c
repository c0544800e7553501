/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 3 of 7: index.  In: a key and its hash.  Out: an object, held by a pin on its first entry.
 *
 * Buckets are chains of objects.  Writers hold the lock of the bucket's shard and make the bucket's version odd while they are at
 * it.  Look-ups take no lock: they walk the chain, pin a candidate, and compare the full key afterwards, when it cannot go away
 * any more.  So a hit needs no look at the version; a miss is only believed if the version did not change meanwhile.
 * A walk that met a record in the middle of being reused may end early or run in a circle: steps are counted.
 */
#include "config.h"

#include <string.h>

#include "index.h"
#include "key.h"
#include "log.h"
#include "object.h"
#include "space.h"

#define WALK_LIMIT 64u /* chains are 1 long on average; one of 64 is not a chain */
#define TRIES 4u
#define LOCK_TIMEOUT_MS 3000u

static afpa__bucket_shared_t *bucket_of(const afpa__segment_t *s, uint64_t hash)
{
    return &s->buckets[afpa__key_bucket(s, hash)];
}

static bool key_is(const afpa__segment_t *s, const afpa__object_shared_t *o, const char *key, size_t length)
{
    const char *stored = o->key_length == length ? afpa__object_key(s, o) : NULL;

    return stored && memcmp(stored, key, length) == 0;
}

/* Pins a record found under the right hash, if it is what we look for. */
static bool candidate_pin(afpa__ledger_t *l, uint32_t object, const char *key, size_t length, uint64_t add, uint64_t *generation)
{
    const afpa__segment_t *s = l->segment;
    const afpa__object_shared_t *o = &s->objects[object];
    uint64_t word = atomic_load_explicit(&s->entries[object].word, memory_order_acquire);

    *generation = afpa__word_generation(word);
    if (afpa__word_state(word) != AFPA__PINNED || !afpa__pin_take(l, object, *generation, add))
        return false;
    if (atomic_load_explicit(&o->phase, memory_order_relaxed) == AFPA__PHASE_LIVE && key_is(s, o, key, length))
        return true;
    atomic_fetch_sub_explicit(&l->row[object], add, memory_order_release);
    return false;
}

bool afpa__index_pin(afpa__ledger_t *l, uint64_t hash, const char *key, size_t length, uint64_t add, uint32_t *object,
                     uint64_t *generation)
{
    const afpa__segment_t *s = l->segment;
    afpa__bucket_shared_t *b = bucket_of(s, hash);

    for (unsigned tries = 0; tries < TRIES; tries++) {
        uint32_t version = atomic_load_explicit(&b->version, memory_order_acquire);
        uint32_t at = atomic_load_explicit(&b->head, memory_order_acquire);

        for (uint32_t steps = 0; at < s->layout.objects && steps < WALK_LIMIT; steps++) {
            afpa__object_shared_t *o = &s->objects[at];

            if (atomic_load_explicit(&o->hash, memory_order_acquire) == hash &&
                candidate_pin(l, at, key, length, add, generation)) {
                *object = at;
                return true;
            }
            at = atomic_load_explicit(&o->hash_next, memory_order_acquire);
        }
        /* All loads above were acquires, so this one comes after them. */
        if (!(version & 1) && atomic_load_explicit(&b->version, memory_order_relaxed) == version)
            return false;
    }
    return false; /* writers are busy here; a worker will look under the lock */
}

/* ---- shards ---- */

static afpa__lock_t *shard_lock(afpa__segment_t *s, uint64_t hash)
{
    return &s->shards[afpa__key_shard(hash)].lock;
}

/* Empties a shard whose holder died: its chains may be half-linked.  Under its lock and the space lock. */
static void shard_drop(afpa__segment_t *s, uint32_t shard)
{
    afpa__log(AFPA_LOG_WARN, "zone %.40s: a process died while it changed the index; shard %u is dropped", s->header->name, shard);
    for (uint32_t i = shard; i < s->layout.buckets; i += AFPA_SHARDS) {
        atomic_store(&s->buckets[i].head, AFPA_NONE);
        atomic_store(&s->buckets[i].version, (atomic_load(&s->buckets[i].version) | 1) + 1);
    }
    for (uint32_t object = 0; object < s->layout.objects; object++) {
        afpa__object_shared_t *o = &s->objects[object];

        if (atomic_load(&o->phase) == AFPA__PHASE_LIVE && afpa__key_shard(atomic_load(&o->hash)) == shard)
            afpa__object_retire(s, object);
    }
}

/* Shards this thread holds: it may wait for one only while it holds neither another nor the space lock. */
static _Thread_local unsigned shards_mine;

void afpa__shard_take(afpa__segment_t *s, uint64_t hash)
{
    afpa__assert(shards_mine == 0 && !afpa__space_mine());
    shards_mine++;
    if (afpa__lock_take(shard_lock(s, hash)) == AFPA__LOCK_DIED) {
        afpa__space_take(s);
        shard_drop(s, afpa__key_shard(hash));
        afpa__space_release(s);
    }
}

bool afpa__shard_try(afpa__segment_t *s, uint64_t hash)
{
    afpa__lock_result_t result = afpa__lock_try(shard_lock(s, hash));

    if (result == AFPA__LOCK_DIED)
        shard_drop(s, afpa__key_shard(hash));
    shards_mine += result != AFPA__LOCK_BUSY;
    return result != AFPA__LOCK_BUSY;
}

void afpa__shard_release(afpa__segment_t *s, uint64_t hash)
{
    shards_mine--;
    afpa__lock_release(shard_lock(s, hash));
}

bool afpa__shards_take_all(afpa__segment_t *s, uint32_t *failed)
{
    afpa__assert(shards_mine == 0 && !afpa__space_mine());
    for (uint32_t shard = 0; shard < AFPA_SHARDS; shard++) {
        afpa__lock_result_t result = afpa__lock_timed(&s->shards[shard].lock, LOCK_TIMEOUT_MS);

        if (result == AFPA__LOCK_BUSY) {
            *failed = shard;
            while (shard-- > 0)
                afpa__lock_release(&s->shards[shard].lock);
            return false;
        }
        if (result == AFPA__LOCK_DIED) {
            afpa__space_take(s);
            shard_drop(s, shard);
            afpa__space_release(s);
        }
    }
    shards_mine = AFPA_SHARDS;
    return true;
}

void afpa__shards_release_all(afpa__segment_t *s)
{
    shards_mine = 0;
    for (uint32_t shard = AFPA_SHARDS; shard-- > 0;)
        afpa__lock_release(&s->shards[shard].lock);
}

/* ---- under the shard's lock ---- */

uint32_t afpa__index_search(const afpa__segment_t *s, uint64_t hash, const char *key, size_t length)
{
    uint32_t at = atomic_load(&bucket_of(s, hash)->head);

    for (; at < s->layout.objects; at = atomic_load(&s->objects[at].hash_next))
        if (atomic_load(&s->objects[at].hash) == hash && key_is(s, &s->objects[at], key, length))
            return at;
    return AFPA_NONE;
}

static void write_begin(afpa__bucket_shared_t *b)
{
    atomic_fetch_or(&b->version, 1);
}

static void write_end(afpa__bucket_shared_t *b)
{
    atomic_fetch_add(&b->version, 1);
}

void afpa__index_insert(afpa__segment_t *s, uint32_t object)
{
    afpa__object_shared_t *o = &s->objects[object];
    afpa__bucket_shared_t *b = bucket_of(s, atomic_load(&o->hash));

    write_begin(b);
    atomic_store(&o->hash_next, atomic_load(&b->head));
    atomic_store(&b->head, object);
    write_end(b);
}

void afpa__index_remove(afpa__segment_t *s, uint32_t object)
{
    afpa__object_shared_t *o = &s->objects[object];
    afpa__bucket_shared_t *b = bucket_of(s, atomic_load(&o->hash));
    _Atomic uint32_t *link = &b->head;
    uint32_t at = atomic_load(link);

    for (uint32_t steps = 0; at != object; steps++, at = atomic_load(link)) {
        if (at >= s->layout.objects || steps >= s->layout.objects)
            return;
        link = &s->objects[at].hash_next;
    }
    write_begin(b);
    atomic_store(link, atomic_load(&o->hash_next));
    write_end(b);
}
