/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 4 of 7: objects.  In: a path and the identity of its file.  Out: a record with a pin array, all of it empty at first.
 *
 *   0 free      on the free list
 *   1 new       one process writes it; nobody else can find it
 *   2 live      in the index and in an eviction queue; record constant but for counters
 *   3 retired   out of both, for good; who holds it goes on reading; freed after the last pin
 *
 * Entry 0 of the pin array has the object's own number, and its pin count keeps the record alive, whatever the entry's state:
 * look-ups raise it through the pin protocol, workers under the shard's lock.  Who pins a later entry pins entry 0 as well.
 * Entries 1 and up come in groups, chained.
 */
#include "config.h"

#include <string.h>

#include <afpa/walk.h>

#include "chunk.h"
#include "clock.h"
#include "index.h"
#include "object.h"
#include "pin.h"
#include "space.h"

void afpa__cursor_start(afpa__cursor_t *at, const afpa__segment_t *s, uint32_t object, uint32_t index)
{
    const afpa__object_shared_t *o = afpa__object_at(s, object);
    uint32_t group;

    *at = (afpa__cursor_t){.segment = s, .object = object, .index = index, .entry = AFPA_NONE};
    if (!o || index >= o->entries || o->entries > s->layout.groups * AFPA_GROUP + 1)
        return;
    at->group = o->group;
    if (index == 0) {
        at->entry = object;
        return;
    }
    group = o->group;
    for (uint32_t hop = (index - 1) / AFPA_GROUP; hop > 0 && group < s->layout.groups; hop--)
        group = s->groups[group];
    at->group = group;
    if (group < s->layout.groups)
        at->entry = s->layout.objects + group * AFPA_GROUP + (index - 1) % AFPA_GROUP;
}

void afpa__cursor_next(afpa__cursor_t *at)
{
    const afpa__segment_t *s = at->segment;
    uint32_t place = at->index++ % AFPA_GROUP; /* of the entry that comes now, in its group */

    at->entry = AFPA_NONE;
    if (at->index >= s->objects[at->object].entries || at->group >= s->layout.groups)
        return;
    if (place == 0 && at->index > 1) {
        at->group = s->groups[at->group];
        if (at->group >= s->layout.groups)
            return;
    }
    at->entry = s->layout.objects + at->group * AFPA_GROUP + place;
}

uint32_t afpa__object_entry(const afpa__segment_t *s, uint32_t object, uint32_t index)
{
    afpa__cursor_t at;

    afpa__cursor_start(&at, s, object, index);
    return at.entry;
}

uint32_t afpa__object_length(const afpa__segment_t *s, const afpa__object_shared_t *o, uint32_t index)
{
    uint64_t start = (uint64_t)index << s->layout.chunk_shift;

    if (start >= o->identity.size)
        return 0;
    return o->identity.size - start < s->layout.chunk_size ? (uint32_t)(o->identity.size - start) : s->layout.chunk_size;
}

const char *afpa__object_key(const afpa__segment_t *s, const afpa__object_shared_t *o)
{
    return afpa__data_at(s, o->key_chunk, o->key_offset, o->key_length);
}

bool afpa__object_path(const afpa__segment_t *s, const afpa__object_shared_t *o, char path[AFPA_PATH_MAX])
{
    const char *key = afpa__object_key(s, o);

    if (!key || o->key_length >= AFPA_PATH_MAX)
        return false;
    memcpy(path, key, o->key_length);
    path[o->key_length] = 0;
    return true;
}

/* ---- making ---- */

/* Chains groups for the rest of the pin array; o->entries grows with the chain, so that it never promises more. */
static bool groups_take(afpa__segment_t *s, uint32_t object, uint32_t entries, afpa__evict_t what)
{
    afpa__object_shared_t *o = &s->objects[object];
    uint32_t *link = &o->group;

    for (uint32_t index = 1; index < entries; index += AFPA_GROUP) {
        uint32_t group;

        while ((group = afpa__space_group(s)) == AFPA_NONE)
            if (!afpa__evict_one(s, what))
                return false;
        for (uint32_t i = 0; i < AFPA_GROUP; i++)
            s->entries[s->layout.objects + group * AFPA_GROUP + i].object = object;
        *link = group;
        afpa__store_order();
        link = &s->groups[group];
        o->entries = entries - index < AFPA_GROUP ? entries : index + AFPA_GROUP;
    }
    return true;
}

/* Where nothing may be evicted, a file that cannot fit is refused before any of it is read.  What a whole chunk of it needs is a
 * whole free chunk; that its tail finds room is not said. */
static bool chunks_free(afpa__segment_t *s, uint64_t size)
{
    while (size >> s->layout.chunk_shift > s->space->free_chunks)
        if (!afpa__evict_one(s, AFPA__EVICT_NOTHING))
            return false;
    return true;
}

static uint32_t record_take(afpa__segment_t *s, uint64_t size, afpa__evict_t what)
{
    uint32_t object;

    if (what == AFPA__EVICT_NOTHING && !chunks_free(s, size))
        return AFPA_NONE;
    while ((object = afpa__space_object(s)) == AFPA_NONE)
        if (!afpa__evict_one(s, what))
            return AFPA_NONE;
    return object;
}

uint32_t afpa__object_new(afpa__segment_t *s, uint32_t slot, uint64_t hash, const char *key, size_t length,
                          const afpa_identity_t *identity)
{
    return afpa__object_make(s, slot, hash, key, length, identity, AFPA__EVICT_OBJECTS);
}

uint32_t afpa__object_make(afpa__segment_t *s, uint32_t slot, uint64_t hash, const char *key, size_t length,
                           const afpa_identity_t *identity, afpa__evict_t what)
{
    uint64_t entries = afpa_walk_entries(identity->size, s->layout.chunk_size);
    afpa__object_shared_t *o;
    uint32_t object, chunk, offset;

    if (entries > (uint64_t)s->layout.groups * AFPA_GROUP)
        return AFPA_NONE;
    afpa__space_take(s);
    object = record_take(s, identity->size, what);
    if (object == AFPA_NONE) {
        afpa__space_release(s);
        return AFPA_NONE;
    }
    o = &s->objects[object];
    o->entries = 1;
    o->key_length = 0;
    o->group = AFPA_NONE;
    o->bytes = 0;
    o->queue = AFPA__QUEUE_NONE;
    o->owner = (uint16_t)slot;
    o->local = 0;
    o->young = 0;
    o->identity = *identity;
    s->entries[object].object = object;
    atomic_store(&o->phase, AFPA__PHASE_NEW);
    if (!groups_take(s, object, (uint32_t)entries, what) || !afpa__room_alloc(s, (uint32_t)length, what, &chunk, &offset)) {
        afpa__object_discard(s, object);
        afpa__space_release(s);
        return AFPA_NONE;
    }
    o->key_chunk = chunk;
    o->key_offset = offset;
    afpa__store_order();
    o->key_length = (uint32_t)length; /* from here on it has that room: a rebuild claims it */
    afpa__space_release(s);
    memcpy(afpa__data_at(s, chunk, offset, (uint32_t)length), key, length);
    o->kind = AFPA_KIND_FILE;
    o->made = (uint32_t)(afpa__now_ms() / 1000);
    atomic_store_explicit(&o->hash, hash, memory_order_relaxed);
    atomic_store_explicit(&o->frequency, 0, memory_order_relaxed);
    atomic_store_explicit(&o->hits, -(int64_t)afpa__pin_hits(s, object), memory_order_relaxed);
    return object;
}

/* ---- freeing ---- */

/* Where the room of an entry is not what the allocator gives, the entry is of no use, nor is what it says of others. */
static void room_free(afpa__segment_t *s, const afpa__entry_shared_t *e)
{
    afpa__object_shared_t *o = afpa__object_at(s, e->object);

    if (!o || o->queue >= AFPA__QUEUES || !afpa__chunk_holds(s, e->chunk, e->offset, e->length)) {
        afpa__segment_break(s, "an entry has room that was not given to it");
        return;
    }
    afpa__chunk_free(s, e->chunk, e->offset, e->length, atomic_load(&e->referenced));
    if (o->queue != AFPA__QUEUE_NONE)
        s->space->queue[o->queue].bytes -= e->length;
    o->bytes -= e->length;
    s->space->bytes_cached -= e->length;
}

void afpa__entry_free(afpa__segment_t *s, uint32_t entry)
{
    afpa__entry_shared_t *e = &s->entries[entry];
    uint64_t word = atomic_load(&e->word);

    if (e->chunk != AFPA_NONE && !afpa__segment_broken(s))
        room_free(s, e);
    e->chunk = AFPA_NONE;
    afpa__store_order();
    e->length = 0;
    atomic_store(&e->referenced, 0);
    atomic_store(&e->word, afpa__word(AFPA__EMPTY, 0, afpa__word_generation(word) + 1));
}

static bool key_free(afpa__segment_t *s, const afpa__object_shared_t *o)
{
    if (!o->key_length)
        return true;
    if (!afpa__chunk_holds(s, o->key_chunk, o->key_offset, o->key_length))
        return false;
    afpa__chunk_free(s, o->key_chunk, o->key_offset, o->key_length, false);
    return true;
}

static bool groups_free(afpa__segment_t *s, uint32_t group, uint32_t entries)
{
    for (uint32_t index = 1; index < entries; index += AFPA_GROUP) {
        uint32_t next;

        if (group >= s->layout.groups)
            return false;
        next = s->groups[group];
        afpa__space_group_free(s, group);
        group = next;
    }
    return true;
}

/* Frees the pin array and the key; nobody holds any of it.  The record lets go of the groups before they are on the free list, and
 * its count of entries goes before its first group, so that a rebuild never follows a chain that is being taken apart. */
static bool content_free(afpa__segment_t *s, uint32_t object)
{
    afpa__object_shared_t *o = &s->objects[object];
    uint32_t group = o->group, entries = o->entries;
    afpa__cursor_t at;

    if (entries == 0 || entries > s->layout.groups * AFPA_GROUP + 1)
        return false;
    for (afpa__cursor_start(&at, s, object, 0); at.entry != AFPA_NONE; afpa__cursor_next(&at))
        if (afpa__word_state(atomic_load(&s->entries[at.entry].word)) != AFPA__EMPTY)
            afpa__entry_free(s, at.entry);
    if (!key_free(s, o))
        return false;
    o->key_length = 0;
    o->entries = 1;
    afpa__store_order();
    o->group = AFPA_NONE;
    return groups_free(s, group, entries);
}

/* Frees all of the record.  In a broken segment it stays as it is, for good: what it says of its room may be another's. */
static void object_clear(afpa__segment_t *s, uint32_t object)
{
    if (!afpa__segment_broken(s) && !content_free(s, object))
        afpa__segment_break(s, "an object has room that was not given to it");
    if (afpa__segment_broken(s))
        return;
    atomic_store(&s->objects[object].phase, AFPA__PHASE_FREE);
    afpa__space_object_free(s, object);
}

void afpa__object_discard(afpa__segment_t *s, uint32_t object)
{
    afpa__assert(atomic_load(&s->objects[object].phase) == AFPA__PHASE_NEW);
    object_clear(s, object);
}

/* Its holders hold entry 0, whatever other entry they hold; so that count decides, once nothing can be pinned anew. */
bool afpa__object_free(afpa__segment_t *s, uint32_t object)
{
    afpa__object_shared_t *o = &s->objects[object];

    afpa__assert(atomic_load(&o->phase) == AFPA__PHASE_RETIRED);
    afpa__pin_drain(s, object);
    if (afpa__pin_count(s, object) != 0)
        return false;
    object_clear(s, object);
    return atomic_load(&o->phase) == AFPA__PHASE_FREE;
}

void afpa__object_publish(afpa__segment_t *s, uint32_t object)
{
    afpa__object_shared_t *o = &s->objects[object];

    atomic_store(&o->phase, AFPA__PHASE_LIVE);
    afpa__index_insert(s, object);
    afpa__space_take(s);
    if (o->queue == AFPA__QUEUE_NONE) /* else the queues were rebuilt after a process died, with this object in them */
        afpa__queue_push(s, object, afpa__ghost_has(s, atomic_load(&o->hash)) ? AFPA__QUEUE_MAIN : AFPA__QUEUE_SMALL);
    afpa__space_release(s);
}

void afpa__object_retire(afpa__segment_t *s, uint32_t object)
{
    afpa__object_shared_t *o = &s->objects[object];

    afpa__assert(atomic_load(&o->phase) == AFPA__PHASE_LIVE);
    afpa__index_remove(s, object);
    atomic_store(&o->phase, AFPA__PHASE_RETIRED);
    afpa__queue_remove(s, object);
    if (!afpa__object_free(s, object))
        afpa__draining_push(s, object);
}
