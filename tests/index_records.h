/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of the index made by hand, with hashes as a case needs them and no payload; each test retires them before verify looks.
 */
#ifndef AFPA_INDEX_RECORDS_H
#define AFPA_INDEX_RECORDS_H

#include "cache.h"
#include "check_main.h"
#include "fixture.h"
#include "index.h"
#include "object.h"
#include "pin.h"
#include "space.h"

#define ZONE (4u << 20)
#define HASH UINT64_C(0x1234567800000100)

/* A new record whose first entry is pinned, as a filler leaves it; AFPA_NONE: no room. */
static inline uint32_t record_new(afpa_cache_t *cache, uint64_t hash, const char *key)
{
    static const afpa_identity_t empty;
    afpa__segment_t *s = cache->segment;
    uint32_t object = afpa__object_new(s, cache->ledger.slot, hash, key, strlen(key), &empty);
    uint64_t word;

    if (object == AFPA_NONE)
        return AFPA_NONE;
    word = atomic_load(&s->entries[object].word);
    atomic_store(&s->entries[object].word, afpa__word(AFPA__PINNED, 0, afpa__word_generation(word)));
    return object;
}

static inline uint32_t publish(afpa_cache_t *cache, uint64_t hash, const char *key)
{
    uint32_t object = record_new(cache, hash, key);

    if (object == AFPA_NONE)
        return AFPA_NONE;
    afpa__shard_take(cache->segment, hash);
    afpa__object_publish(cache->segment, object);
    afpa__shard_release(cache->segment, hash);
    return object;
}

static inline void retire(afpa_cache_t *cache, uint32_t object)
{
    afpa__segment_t *s = cache->segment;
    uint64_t hash = atomic_load(&s->objects[object].hash);

    afpa__shard_take(s, hash);
    afpa__space_take(s);
    afpa__object_retire(s, object);
    afpa__space_release(s);
    afpa__shard_release(s, hash);
}

static inline void retire_all(fixture_t *f)
{
    for (uint32_t object = 0; object < f->segment->layout.objects; object++)
        if (atomic_load(&f->segment->objects[object].phase) == AFPA__PHASE_LIVE)
            retire(f->cache, object);
}

/* The object that a look-up without a lock finds, not held any more; AFPA_NONE: none. */
static inline uint32_t look(afpa_cache_t *cache, uint64_t hash, const char *key, size_t length)
{
    uint64_t generation;
    uint32_t object;

    if (!afpa__index_pin(&cache->ledger, hash, key, length, AFPA__PIN_ONE, &object, &generation))
        return AFPA_NONE;
    afpa__pin_drop(&cache->ledger, object);
    return object;
}

static inline uint32_t search(afpa_cache_t *cache, uint64_t hash, const char *key, size_t length)
{
    uint32_t object;

    afpa__shard_take(cache->segment, hash);
    object = afpa__index_search(cache->segment, hash, key, length);
    afpa__shard_release(cache->segment, hash);
    return object;
}

static inline bool both_find(fixture_t *f, uint64_t hash, const char *key, uint32_t object)
{
    return look(f->cache, hash, key, strlen(key)) == object && search(f->cache, hash, key, strlen(key)) == object;
}

#endif
