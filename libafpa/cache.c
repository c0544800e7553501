/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, the cache: one process's use of a zone.  The calls of afpa/cache.h, put together from index, pins, fills and
 * freshness.
 *
 * A ref is a raised count of an object's first entry, which is PINNED, or DRAINING since the object was retired: its bytes are
 * there as long as the ref is.  An extent is a pin on its entry and, for later entries, one more on the first; so an extent keeps
 * everything it needs, whatever becomes of the ref it was taken through.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <afpa/walk.h>

#include "cache.h"
#include "chunk.h"
#include "clock.h"
#include "evict.h"
#include "fill.h"
#include "fresh.h"
#include "index.h"
#include "key.h"
#include "object.h"
#include "owner.h"
#include "space.h"
#include "stats.h"
#include "zone.h"

#define OPEN_TRIES 3
#define REFUSAL_MS 1000

/* ---- attaching ---- */

afpa_status_t afpa_cache_attach(afpa_zone_t *zone, const char *kind, afpa_cache_t **out, afpa_error_t *error)
{
    afpa_cache_t *cache = calloc(1, sizeof(*cache));
    afpa_status_t status;

    *out = NULL;
    if (!cache) {
        snprintf(error->text, sizeof(error->text), "%s: out of memory", afpa_zone_path(zone));
        return AFPA_NO_SPACE;
    }
    cache->zone = zone;
    cache->segment = afpa__zone_segment(zone);
    status = afpa__owner_take(cache->segment, afpa_zone_path(zone), kind, &cache->fd, &cache->ledger.slot, error);
    if (status != AFPA_OK) {
        free(cache);
        return status;
    }
    cache->ledger.segment = cache->segment;
    cache->ledger.row = afpa__ledger_row(cache->segment, cache->ledger.slot);
    cache->ledger.windows = &cache->segment->owners[cache->ledger.slot].windows;
    pthread_mutex_init(&cache->reap_lock, NULL);
    if (afpa_zone_pinned(zone)) /* this process's page tables too; the pages are locked by who opened the zone anyway */
        (void)!mlock(cache->segment->data, cache->segment->layout.data_length);
    afpa_cache_reap(cache); /* what a crashed predecessor left */
    *out = cache;
    return AFPA_OK;
}

void afpa_cache_detach(afpa_cache_t **cache)
{
    afpa_cache_t *c = *cache;

    *cache = NULL;
    if (!c)
        return;
    afpa__owner_release(c->segment, c->fd, c->ledger.slot);
    pthread_mutex_destroy(&c->reap_lock);
    free(c);
}

afpa_zone_t *afpa_cache_zone(const afpa_cache_t *cache)
{
    return cache->zone;
}

unsigned afpa_cache_slot(const afpa_cache_t *cache)
{
    return cache->ledger.slot;
}

void afpa_cache_count(afpa_cache_t *cache, afpa_counter_t counter)
{
    if (cache)
        afpa__stats_owner_count(cache->segment, cache->ledger.slot, counter);
}

/* ---- in the loop ---- */

/* Remembers that a path was declined.  Not where each request counts (min_uses), or where waiting helps (no space). */
static void refusal_note(afpa_cache_t *cache, uint64_t hash, afpa_counter_t why)
{
    afpa__refusal_t *r = &cache->refusals[hash % AFPA_REFUSALS];

    if (why == AFPA_DECLINE_MIN_USES || why == AFPA_DECLINE_NO_SPACE || why == AFPA_DECLINE_CHANGED)
        return;
    atomic_store_explicit(&r->hash, hash, memory_order_relaxed);
    atomic_store_explicit(&r->when, afpa__now_ms() << 8 | (uint64_t)why, memory_order_relaxed);
}

static bool refusal_stands(afpa_cache_t *cache, uint64_t hash, uint32_t revalidate_ms, uint32_t *why)
{
    afpa__refusal_t *r = &cache->refusals[hash % AFPA_REFUSALS];
    uint64_t when, limit = revalidate_ms < REFUSAL_MS ? revalidate_ms : REFUSAL_MS;

    if (atomic_load_explicit(&r->hash, memory_order_relaxed) != hash)
        return false;
    when = atomic_load_explicit(&r->when, memory_order_relaxed);
    *why = (uint32_t)(when & 0xff);
    return *why < AFPA_COUNTER_LIMIT && afpa__now_ms() - (when >> 8) < limit;
}

/* Nothing was found. */
static afpa_status_t miss(afpa_cache_t *cache, uint64_t hash, uint32_t revalidate_ms, afpa_ref_t *ref)
{
    if (!refusal_stands(cache, hash, revalidate_ms, &ref->why))
        return AFPA_MISS;
    afpa_cache_count(cache, (afpa_counter_t)ref->why);
    return AFPA_DECLINED;
}

afpa_status_t afpa_cache_lookup(afpa_cache_t *cache, const char *path, size_t len, uint32_t revalidate_ms, afpa_ref_t *ref)
{
    afpa_status_t status;
    uint64_t hash;

    ref->cache = NULL;
    if (!afpa__cache_usable(cache))
        return AFPA_DISABLED;
    hash = afpa__key_hash(cache->segment, path, len);
    if (!afpa__index_pin(&cache->ledger, hash, path, len, AFPA__PIN_ONE | AFPA__HIT_ONE, &ref->object, &ref->generation))
        return miss(cache, hash, revalidate_ms, ref);
    ref->cache = cache;
    ref->no_evict = false;
    status = afpa__fresh_lookup(cache, ref->object, revalidate_ms, &ref->checked);
    if (status == AFPA_STALE)
        afpa_cache_release(ref);
    else
        afpa__object_used(&cache->segment->objects[ref->object]);
    return status;
}

static const afpa__object_shared_t *object_of(const afpa_ref_t *ref)
{
    return &ref->cache->segment->objects[ref->object];
}

const afpa_identity_t *afpa_ref_identity(const afpa_ref_t *ref)
{
    return &object_of(ref)->identity;
}

uint32_t afpa_ref_entries(const afpa_ref_t *ref)
{
    return object_of(ref)->entries;
}

void afpa_cache_ref_copy(const afpa_ref_t *ref, afpa_ref_t *copy)
{
    *copy = *ref;
    if (ref->cache)
        afpa__assert(afpa__pin_raise(&ref->cache->ledger, ref->object, AFPA__PIN_ONE));
}

void afpa_cache_release(afpa_ref_t *ref)
{
    if (ref->cache)
        afpa__pin_drop(&ref->cache->ledger, ref->object);
    ref->cache = NULL;
}

/* Entry 0 is held by the ref, so it only has to be counted; a later one goes through the protocol. */
static bool entry_pin(const afpa_ref_t *ref, uint32_t entry)
{
    afpa__ledger_t *ledger = &ref->cache->ledger;
    uint64_t word;

    if (entry != ref->object) {
        word = atomic_load_explicit(&ledger->segment->entries[entry].word, memory_order_acquire);
        if (afpa__word_state(word) != AFPA__PINNED || !afpa__pin_take(ledger, entry, afpa__word_generation(word), AFPA__PIN_ONE))
            return false;
    }
    afpa__assert(afpa__pin_raise(ledger, ref->object, AFPA__PIN_ONE)); /* the ref has opened that window */
    return true;
}

afpa_status_t afpa_cache_pin(const afpa_ref_t *ref, uint32_t index, afpa_pin_mode_t mode, afpa_extent_t *extent)
{
    afpa__segment_t *s = ref->cache->segment;
    uint32_t entry = afpa__object_entry(s, ref->object, index);
    afpa__entry_shared_t *e;

    extent->cache = NULL;
    afpa__assert(entry != AFPA_NONE);
    if (!entry_pin(ref, entry))
        return AFPA_EMPTY;
    e = &s->entries[entry];
    *extent = (afpa_extent_t){.cache = ref->cache, .data = "", .length = e->length, .entry = entry, .object = ref->object};
    if (e->length > 0) {
        extent->data = afpa__data_at(s, e->chunk, e->offset, e->length);
        extent->file_offset = (uint64_t)((const char *)extent->data - s->base);
    }
    if (mode == AFPA_PIN_REFERENCE && afpa__chunk_exclusive(e->length)) {
        extent->by_reference = true;
        if (!atomic_load_explicit(&e->referenced, memory_order_relaxed))
            atomic_store(&e->referenced, 1);
    }
    return AFPA_OK;
}

void afpa_cache_unpin(afpa_extent_t *extent)
{
    afpa_cache_t *cache = extent->cache;

    extent->cache = NULL;
    if (!cache)
        return;
    if (extent->entry == AFPA_NONE) /* memory of its own: afpa_cache_read() */
        free((void *)(uintptr_t)extent->data);
    else if (extent->entry != extent->object)
        afpa__pin_drop(&cache->ledger, extent->entry);
    afpa__pin_drop(&cache->ledger, extent->object);
}

/* ---- in a worker ---- */

/* Holds the live object of a key, whatever the state of its entries. */
static uint32_t hold_live(afpa_cache_t *cache, uint64_t hash, const char *path, size_t len)
{
    uint32_t object;

    afpa__shard_take(cache->segment, hash);
    object = afpa__index_search(cache->segment, hash, path, len);
    if (object != AFPA_NONE && !afpa__pin_raise(&cache->ledger, object, AFPA__PIN_ONE))
        object = AFPA_NONE;
    afpa__shard_release(cache->segment, hash);
    return object;
}

/* Publishes a new object, or finds that somebody else was quicker; holds what is live then.  AFPA_NONE: no memory for the hold. */
static uint32_t publish_or_join(afpa_cache_t *cache, uint64_t hash, const char *path, size_t len, uint32_t made)
{
    afpa__segment_t *s = cache->segment;
    uint32_t object;
    bool held;

    afpa__shard_take(s, hash);
    object = afpa__index_search(s, hash, path, len);
    held = afpa__pin_raise(&cache->ledger, object == AFPA_NONE ? made : object, AFPA__PIN_ONE);
    if (object == AFPA_NONE && held)
        afpa__object_publish(s, object = made);
    afpa__shard_release(s, hash);
    if (object != made) {
        afpa__space_take(s);
        afpa__object_discard(s, made);
        afpa__space_release(s);
    }
    return held ? object : AFPA_NONE;
}

/* Whether the policy admits a file; if not, *why. */
static bool admit(afpa_cache_t *cache, const afpa_policy_t *policy, uint64_t hash, const afpa_identity_t *identity,
                  afpa_counter_t *why)
{
    if (identity->size < policy->min_size)
        *why = AFPA_DECLINE_MIN_SIZE;
    else if (identity->size > policy->max_size)
        *why = AFPA_DECLINE_MAX_SIZE;
    else if (policy->min_uses > 1 && afpa__uses_add(cache->segment, hash) < policy->min_uses)
        *why = AFPA_DECLINE_MIN_USES;
    else
        return true;
    return false;
}

/* Makes and holds an object for a file just opened. */
static afpa_status_t object_for(afpa_cache_t *cache, uint64_t hash, const char *path, size_t len, const afpa__file_t *file,
                                bool no_evict, uint32_t *object, afpa_counter_t *why)
{
    afpa__evict_t what = no_evict ? AFPA__EVICT_NOTHING : AFPA__EVICT_OBJECTS;
    afpa__object_shared_t *o;
    uint32_t made = afpa__object_make(cache->segment, cache->ledger.slot, hash, path, len, &file->identity, what);

    *why = AFPA_DECLINE_NO_SPACE;
    if (made == AFPA_NONE)
        return AFPA_DECLINED;
    o = &cache->segment->objects[made];
    atomic_store(&o->last_check, file->opened);
    atomic_store(&o->check_claim, (uint32_t)file->opened);
    o->local = afpa__file_is_local(file);
    o->young = afpa__identity_young(&file->identity);
    *object = publish_or_join(cache, hash, path, len, made);
    if (*object == AFPA_NONE)
        return AFPA_DECLINED;
    if (afpa__identity_same(&cache->segment->objects[*object].identity, &file->identity))
        return AFPA_OK;
    *why = AFPA_DECLINE_CHANGED; /* who was quicker had found another file here */
    afpa__fresh_retire(cache, *object);
    afpa__pin_drop(&cache->ledger, *object);
    return AFPA_CHANGED;
}

static afpa_counter_t decline_for(afpa_status_t status)
{
    return status == AFPA_CHANGED ? AFPA_DECLINE_CHANGED : status == AFPA_IO_ERROR ? AFPA_DECLINE_IO_ERROR : AFPA_DECLINE_NO_SPACE;
}

/* Fills an entry; if everything is pinned, it may be by processes that died. */
static afpa_status_t fill_or_reap(afpa_cache_t *cache, uint32_t object, uint32_t index, int fd, bool no_evict)
{
    afpa__evict_t what = no_evict ? AFPA__EVICT_NOTHING : AFPA__EVICT_CHUNKS;
    afpa_status_t status = afpa__fill_entry(cache, object, index, fd, what);

    if (status == AFPA_NO_SPACE && afpa_cache_reap(cache) > 0)
        status = afpa__fill_entry(cache, object, index, fd, what);
    return status;
}

/* Fills the first entry of a held object from fd; on failure the hold is given back and the object retired. */
static afpa_status_t first_fill(afpa_cache_t *cache, uint32_t object, int fd, bool no_evict, afpa_counter_t *why)
{
    afpa_status_t status = fill_or_reap(cache, object, 0, fd, no_evict);

    if (status == AFPA_OK)
        return AFPA_OK;
    *why = decline_for(status);
    afpa__fresh_retire(cache, object);
    afpa__pin_drop(&cache->ledger, object);
    return status == AFPA_CHANGED ? AFPA_CHANGED : AFPA_DECLINED;
}

/* Opens the file of a held object, if it still is that file.  The object is retired if it is not; not if that could not be known, for
 * want of descriptors, say.  AFPA_OK; AFPA_CHANGED; AFPA_DECLINED, with *why. */
static afpa_status_t open_again(afpa_cache_t *cache, uint32_t object, const char *path, afpa__file_t *file, afpa_counter_t *why)
{
    afpa_status_t status = afpa__file_open(path, file, why);

    if (status == AFPA_OK) {
        if (afpa__identity_same(&file->identity, &cache->segment->objects[object].identity))
            return AFPA_OK;
        close(file->fd);
        *why = AFPA_DECLINE_CHANGED;
        status = AFPA_CHANGED;
    }
    if (*why != AFPA_DECLINE_IO_ERROR)
        afpa__fresh_retire(cache, object);
    return status;
}

/* The object is there: check it if it is getting old, and see that its first chunk is in memory. */
static afpa_status_t open_live(afpa_cache_t *cache, uint32_t object, const char *path, const afpa_policy_t *policy,
                               afpa_counter_t *why)
{
    afpa__segment_t *s = cache->segment;
    afpa_status_t status = afpa__fresh_judge(&s->objects[object], policy->revalidate_ms);
    afpa__file_t file;

    if (status != AFPA_OK && afpa__fresh_check(cache, object, path) != AFPA_OK) {
        afpa__pin_drop(&cache->ledger, object);
        return AFPA_CHANGED;
    }
    if (afpa__word_state(atomic_load(&s->entries[object].word)) == AFPA__PINNED)
        return AFPA_OK;
    status = open_again(cache, object, path, &file, why);
    if (status == AFPA_OK) {
        status = first_fill(cache, object, file.fd, policy->no_evict, why);
        close(file.fd);
    } else {
        afpa__pin_drop(&cache->ledger, object);
    }
    return status;
}

static afpa_status_t open_new(afpa_cache_t *cache, uint64_t hash, const char *path, size_t len, const afpa_policy_t *policy,
                              uint32_t *object, afpa_counter_t *why)
{
    afpa_status_t status;
    afpa__file_t file;

    status = afpa__file_open(path, &file, why);
    if (status != AFPA_OK)
        return status;
    status = AFPA_DECLINED;
    if (admit(cache, policy, hash, &file.identity, why))
        status = object_for(cache, hash, path, len, &file, policy->no_evict, object, why);
    if (status == AFPA_OK)
        status = first_fill(cache, *object, file.fd, policy->no_evict, why);
    close(file.fd);
    return status;
}

afpa_status_t afpa_cache_open(afpa_cache_t *cache, const char *path, size_t len, const afpa_policy_t *policy, afpa_ref_t *ref,
                              afpa_counter_t *why, bool *fresh)
{
    char name[AFPA_PATH_MAX];
    afpa_status_t status = AFPA_CHANGED;
    uint32_t object = AFPA_NONE;
    uint64_t hash;
    bool found = false;

    ref->cache = NULL;
    *why = AFPA_DECLINE_PATH;
    if (!afpa__cache_usable(cache))
        return AFPA_DISABLED;
    if (!afpa__key_valid(path, len)) {
        afpa_cache_count(cache, *why);
        return AFPA_DECLINED;
    }
    memcpy(name, path, len);
    name[len] = 0;
    hash = afpa__key_hash(cache->segment, path, len);
    for (unsigned tries = 0; tries < OPEN_TRIES && status == AFPA_CHANGED; tries++) {
        *why = AFPA_DECLINE_CHANGED;
        object = hold_live(cache, hash, name, len);
        found = object != AFPA_NONE;
        status = found ? open_live(cache, object, name, policy, why) : open_new(cache, hash, name, len, policy, &object, why);
    }
    if (status != AFPA_OK) {
        afpa_cache_count(cache, *why);
        refusal_note(cache, hash, *why);
        return AFPA_DECLINED;
    }
    if (fresh)
        *fresh = found;
    *ref = (afpa_ref_t){.cache = cache, .object = object, .no_evict = policy->no_evict};
    ref->generation = afpa__word_generation(atomic_load(&cache->segment->entries[object].word));
    return AFPA_OK;
}

/* open_again() for a fill. */
static afpa_status_t reopen(const afpa_ref_t *ref, int *fd)
{
    char name[AFPA_PATH_MAX];
    afpa_counter_t why = AFPA_DECLINE_IO_ERROR;
    afpa__file_t file;

    afpa__assert(afpa__object_path(ref->cache->segment, object_of(ref), name));
    if (open_again(ref->cache, ref->object, name, &file, &why) == AFPA_OK) {
        *fd = file.fd;
        return AFPA_OK;
    }
    return why == AFPA_DECLINE_IO_ERROR ? AFPA_IO_ERROR : AFPA_CHANGED;
}

static bool is_pinned(const afpa_ref_t *ref, uint32_t index)
{
    afpa__segment_t *s = ref->cache->segment;
    uint32_t entry = afpa__object_entry(s, ref->object, index);

    return index == 0 || (entry != AFPA_NONE && afpa__word_state(atomic_load(&s->entries[entry].word)) == AFPA__PINNED);
}

/* Reading ahead may not take chunks from objects in use, above all not from this one. */
static void read_ahead(const afpa_ref_t *ref, uint32_t from, uint32_t to, int fd)
{
    afpa__evict_t what = ref->no_evict ? AFPA__EVICT_NOTHING : AFPA__EVICT_OBJECTS;

    for (uint32_t index = from; index < to; index++)
        if (afpa__fill_entry(ref->cache, ref->object, index, fd, what) != AFPA_OK)
            break;
}

afpa_status_t afpa_cache_fill(const afpa_ref_t *ref, uint32_t index, uint32_t count)
{
    uint32_t entries = object_of(ref)->entries, end = count < entries - index ? index + count : entries, next = index;
    afpa_status_t status;
    int fd;

    afpa__assert(index < entries && count > 0);
    while (next < end && is_pinned(ref, next))
        next++;
    if (next == end)
        return AFPA_OK;
    if (afpa__segment_broken(ref->cache->segment))
        return AFPA_NO_SPACE; /* no chunk is given out any more, but afpa_cache_read() can go on */
    status = reopen(ref, &fd);
    if (status != AFPA_OK)
        return next > index ? AFPA_OK : status;
    if (next == index)
        status = fill_or_reap(ref->cache, ref->object, next++, fd, ref->no_evict);
    if (status == AFPA_OK)
        read_ahead(ref, next, end, fd);
    close(fd);
    if (status == AFPA_CHANGED || status == AFPA_IO_ERROR)
        afpa__fresh_retire(ref->cache, ref->object);
    return status;
}

afpa_status_t afpa_cache_read(const afpa_ref_t *ref, uint32_t index, afpa_extent_t *extent)
{
    const afpa__segment_t *s = ref->cache->segment;
    uint32_t length = afpa__object_length(s, object_of(ref), index);
    char *memory = malloc(length ? length : 1);
    afpa_status_t status;
    int fd;

    extent->cache = NULL;
    status = memory ? reopen(ref, &fd) : AFPA_NO_SPACE;
    if (status == AFPA_OK) {
        status = afpa__file_read(fd, &object_of(ref)->identity, memory, length, (uint64_t)index << s->layout.chunk_shift);
        close(fd);
    }
    if (status != AFPA_OK) {
        free(memory);
        return status;
    }
    afpa__assert(afpa__pin_raise(&ref->cache->ledger, ref->object, AFPA__PIN_ONE));
    *extent = (afpa_extent_t){.cache = ref->cache, .data = memory, .length = length, .entry = AFPA_NONE, .object = ref->object};
    return AFPA_OK;
}

afpa_status_t afpa_cache_check(afpa_cache_t *cache, const char *path, size_t len)
{
    char name[AFPA_PATH_MAX];
    afpa_status_t status;
    uint32_t object;

    if (!afpa__cache_usable(cache))
        return AFPA_DISABLED;
    if (!afpa__key_valid(path, len))
        return AFPA_NOT_FOUND;
    memcpy(name, path, len);
    name[len] = 0;
    object = hold_live(cache, afpa__key_hash(cache->segment, path, len), name, len);
    if (object == AFPA_NONE)
        return AFPA_NOT_FOUND;
    status = afpa__fresh_check(cache, object, name);
    afpa__pin_drop(&cache->ledger, object);
    return status;
}

afpa_status_t afpa_cache_purge(afpa_cache_t *cache, const char *path, size_t len)
{
    uint64_t hash = afpa__key_hash(cache->segment, path, len);
    uint32_t object = hold_live(cache, hash, path, len);

    if (object == AFPA_NONE)
        return AFPA_NOT_FOUND;
    afpa__fresh_retire(cache, object);
    afpa__pin_drop(&cache->ledger, object);
    afpa__space_take(cache->segment);
    afpa__draining_poll(cache->segment);
    afpa__space_release(cache->segment);
    return AFPA_OK;
}

unsigned afpa_cache_reap(afpa_cache_t *cache)
{
    afpa__segment_t *s = cache->segment;
    uint32_t high = atomic_load(&s->header->owner_high);
    unsigned reaped = 0;

    pthread_mutex_lock(&cache->reap_lock);
    for (uint32_t slot = 0; slot < high && slot < AFPA_OWNERS; slot++)
        if (slot != cache->ledger.slot && afpa__owner_reap(s, cache->fd, slot))
            reaped++;
    pthread_mutex_unlock(&cache->reap_lock);
    afpa__space_take(s);
    afpa__draining_poll(s);
    afpa__space_release(s);
    return reaped;
}
