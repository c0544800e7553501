/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 4 of 7, replacement: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), by bytes.
 *
 * New objects enter a small queue (a tenth of the data section).  Those that are asked for twice while they are there move on to the
 * main queue; the others are evicted and leave a fingerprint in the ghost table.  A key that comes back while its fingerprint is there
 * enters the main queue at once.  The main queue is a FIFO with re-insertion by frequency (at most 3), which look-ups count up
 * without a lock.
 * Objects that are held are passed over.  If nothing else is left, a large object that is held gives up single chunks that nobody has
 * pinned: so a file larger than the zone can be sent through it.
 *
 * All under the space lock; a victim's shard is only tried for (see lock.c).
 */
#include "config.h"

#include "chunk.h"
#include "evict.h"
#include "index.h"
#include "object.h"
#include "pin.h"
#include "space.h"
#include "stats.h"

#define SMALL_SHARE 10 /* percent: SOSP 2023, section 4.2 */

/* ---- ghosts: one word per slot, fingerprint and the clock at which it was left ---- */

static _Atomic uint64_t *ghost_slot(const afpa__segment_t *s, uint64_t hash)
{
    return &s->ghosts[hash & (s->layout.ghosts - 1)];
}

bool afpa__ghost_has(const afpa__segment_t *s, uint64_t hash)
{
    uint64_t ghost = atomic_load_explicit(ghost_slot(s, hash), memory_order_relaxed);
    uint64_t span = s->space->queue[AFPA__QUEUE_MAIN].count + s->space->queue[AFPA__QUEUE_SMALL].count;

    return ghost != 0 && (uint32_t)(ghost >> 32) == (uint32_t)(hash >> 32) && s->space->ghost_clock - (uint32_t)ghost <= span;
}

static void ghost_add(afpa__segment_t *s, uint64_t hash)
{
    atomic_store_explicit(ghost_slot(s, hash), (hash >> 32) << 32 | ++s->space->ghost_clock, memory_order_relaxed);
}

/* ---- admission ---- */

uint32_t afpa__uses_add(afpa__segment_t *s, uint64_t hash)
{
    _Atomic uint32_t *cell = &s->uses[hash & (s->layout.uses - 1)];
    uint32_t old = atomic_load_explicit(cell, memory_order_relaxed), mark = (uint32_t)(hash >> 48), count = 0;

    if (old >> 16 == mark)
        count = old & 0xffff;
    if (count < 0xffff)
        count++;
    atomic_store_explicit(cell, mark << 16 | count, memory_order_relaxed);
    return count;
}

/* ---- eviction ---- */

static void requeue(afpa__segment_t *s, uint32_t object, afpa__queue_id_t queue)
{
    afpa__queue_remove(s, object);
    afpa__queue_push(s, object, queue);
}

/* Frees the first chunk of a held object that nobody has pinned. */
static bool evict_chunk(afpa__segment_t *s, uint32_t object)
{
    afpa__cursor_t at;

    for (afpa__cursor_start(&at, s, object, 1); at.entry != AFPA_NONE; afpa__cursor_next(&at)) {
        if (afpa__word_state(atomic_load(&s->entries[at.entry].word)) != AFPA__PINNED || afpa__pin_count(s, at.entry) != 0)
            continue;
        if (afpa__pin_drain(s, at.entry)) {
            afpa__entry_free(s, at.entry);
            afpa__stats_count(s, AFPA_COUNTER_EVICTIONS);
            return true;
        }
        afpa__draining_push(s, at.entry); /* pinned between the two looks */
    }
    return false;
}

static bool evict_object(afpa__segment_t *s, uint32_t object)
{
    afpa__object_shared_t *o = &s->objects[object];
    uint64_t hash = atomic_load(&o->hash);
    bool from_small = o->queue == AFPA__QUEUE_SMALL;

    if (!afpa__shard_try(s, hash)) {
        requeue(s, object, o->queue);
        return false;
    }
    if (atomic_load(&o->phase) != AFPA__PHASE_LIVE) { /* the shard was dropped just now */
        afpa__shard_release(s, hash);
        return true;
    }
    if (from_small)
        ghost_add(s, hash);
    afpa__object_retire(s, object);
    afpa__shard_release(s, hash);
    afpa__stats_count(s, AFPA_COUNTER_EVICTIONS);
    return atomic_load(&o->phase) == AFPA__PHASE_FREE;
}

/* The oldest object of a queue: gives it another round, or evicts.  true: that made room. */
static bool consider(afpa__segment_t *s, uint32_t object, afpa__evict_t what)
{
    afpa__object_shared_t *o = &s->objects[object];
    uint8_t frequency = atomic_load_explicit(&o->frequency, memory_order_relaxed);

    if (afpa__pin_count(s, object) != 0) {
        bool freed = what == AFPA__EVICT_CHUNKS && o->entries > 1 && evict_chunk(s, object);

        requeue(s, object, AFPA__QUEUE_MAIN);
        return freed;
    }
    if (o->queue == AFPA__QUEUE_SMALL && frequency > 1) {
        atomic_store_explicit(&o->frequency, 0, memory_order_relaxed);
        requeue(s, object, AFPA__QUEUE_MAIN);
        return false;
    }
    if (o->queue == AFPA__QUEUE_MAIN && frequency > 0) {
        atomic_store_explicit(&o->frequency, (uint8_t)(frequency - 1), memory_order_relaxed);
        requeue(s, object, AFPA__QUEUE_MAIN);
        return false;
    }
    return evict_object(s, object);
}

bool afpa__evict_one(afpa__segment_t *s, afpa__evict_t what)
{
    afpa__queue_shared_t *small = &s->space->queue[AFPA__QUEUE_SMALL], *main_queue = &s->space->queue[AFPA__QUEUE_MAIN];
    uint64_t small_bytes = s->layout.data_length * SMALL_SHARE / 100, in_vain = 0;

    if (afpa__draining_poll(s))
        return true;
    if (what == AFPA__EVICT_NOTHING)
        return false;
    /* At most four rounds of the main queue: by then each frequency is 0 and each object was tried.  If all of it is held, the
     * small queue gives, small as it is. */
    for (uint64_t turns = (small->count + main_queue->count) * 5 + 4; turns > 0; turns--) {
        bool from_small = small->count && (small->bytes > small_bytes || in_vain >= main_queue->count * 4);
        uint32_t victim = from_small ? small->tail : main_queue->tail;

        if (victim >= s->layout.objects || afpa__segment_broken(s))
            return false;
        if (consider(s, victim, what))
            return true;
        in_vain += !from_small;
    }
    return false;
}

bool afpa__room_alloc(afpa__segment_t *s, uint32_t length, afpa__evict_t what, uint32_t *chunk, uint32_t *offset)
{
    while (!afpa__chunk_alloc(s, length, chunk, offset))
        if (!afpa__evict_one(s, what))
            return false;
    return true;
}
