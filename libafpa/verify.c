/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, verification: holding a segment against its own rules.
 *
 * Under all writers' locks, objects and entries are walked once and everything that is derived from them is derived again in
 * private memory, then compared: bitmaps, free lists, chains, queues, draining list, ledgers.  Words of entries may still go
 * EMPTY → FILLING → PINNED meanwhile, which contradicts nothing.  What a process left that died under one of the locks is mended
 * first, as by any taker of it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <afpa/inspect.h>
#include <afpa/walk.h>

#include "cache.h"
#include "chunk.h"
#include "fill.h"
#include "index.h"
#include "key.h"
#include "object.h"
#include "owner.h"
#include "pin.h"
#include "space.h"
#include "zone.h"

#define PROBLEMS_MAX 1000 /* told one by one; a damaged segment may have one per record */

/* What is derived, and where problems go. */
typedef struct check {
    afpa__segment_t *s;
    afpa__segment_t copy; /* its chunks and space are private */
    uint8_t *groups;      /* 1: used by an object */
    uint8_t *seen;        /* objects: bits below */
    uint64_t live, retired, free_objects, bytes_cached;
    size_t problems;
    afpa_problem_fn *fn;
    void *context;
} check_t;

enum { SEEN_INDEX = 1, SEEN_QUEUE = 2, SEEN_FREE = 4, SEEN_DRAINING = 8 };

static void problem(check_t *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void problem(check_t *c, const char *format, ...)
{
    char text[256];
    va_list args;

    if (++c->problems > PROBLEMS_MAX)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    c->fn(c->context, text);
}

/* ---- objects and entries ---- */

static void check_entry(check_t *c, uint32_t object, uint32_t index, uint32_t entry)
{
    const afpa__entry_shared_t *e = &c->s->entries[entry];
    uint64_t word = atomic_load(&e->word);
    afpa__pin_state_t state = afpa__word_state(word);
    uint32_t length = afpa__object_length(c->s, &c->s->objects[object], index);

    if (state > AFPA__DRAINING)
        problem(c, "object %u, entry %u: no such state", object, index);
    if (e->object != object)
        problem(c, "object %u, entry %u: belongs to object %u", object, index, e->object);
    if (state == AFPA__FILLING &&
        (afpa__word_owner(word) >= AFPA_OWNERS || !atomic_load(&c->s->owners[afpa__word_owner(word)].used)))
        problem(c, "object %u, entry %u: being filled by nobody", object, index);
    if (e->chunk == AFPA_NONE) {
        if ((state == AFPA__PINNED || state == AFPA__DRAINING) && length > 0)
            problem(c, "object %u, entry %u: %s without a chunk", object, index, afpa__pin_state_name(state));
        return;
    }
    if (state == AFPA__EMPTY) {
        problem(c, "object %u, entry %u: empty, but has chunk %u", object, index, e->chunk);
        return;
    }
    if (e->length != length)
        problem(c, "object %u, entry %u: has %u bytes instead of %u", object, index, e->length, length);
    if (!afpa__chunk_claim(&c->copy, e->chunk, e->offset, e->length))
        problem(c, "object %u, entry %u: chunk %u, offset %u, length %u is out of range or used twice", object, index, e->chunk,
                e->offset, e->length);
    c->bytes_cached += e->length;
}

static void check_array(check_t *c, uint32_t object)
{
    const afpa__object_shared_t *o = &c->s->objects[object];
    uint32_t group = o->group, count = 0;
    afpa__cursor_t at;

    for (uint32_t index = 1; index < o->entries && group < c->s->layout.groups; index += AFPA_GROUP) {
        if (c->groups[group]) {
            problem(c, "object %u: group %u is used twice", object, group);
            return;
        }
        c->groups[group] = 1;
        group = c->s->groups[group];
    }
    for (afpa__cursor_start(&at, c->s, object, 0); at.entry != AFPA_NONE; afpa__cursor_next(&at), count++)
        check_entry(c, object, at.index, at.entry);
    if (count != o->entries)
        problem(c, "object %u: pin array has %u entries, not %u", object, count, o->entries);
}

static void check_object(check_t *c, uint32_t object)
{
    const afpa__object_shared_t *o = &c->s->objects[object];
    uint8_t phase = atomic_load(&o->phase);
    const char *key;

    if (phase == AFPA__PHASE_FREE) {
        c->free_objects++;
        return;
    }
    c->live += phase == AFPA__PHASE_LIVE;
    c->retired += phase == AFPA__PHASE_RETIRED;
    if (phase > AFPA__PHASE_RETIRED)
        problem(c, "object %u: no such phase", object);
    if (o->key_length && !afpa__chunk_claim(&c->copy, o->key_chunk, o->key_offset, o->key_length))
        problem(c, "object %u: its key is out of range or used twice", object);
    if (phase != AFPA__PHASE_NEW && o->entries != afpa_walk_entries(o->identity.size, c->s->layout.chunk_size))
        problem(c, "object %u: %u entries for %llu bytes", object, o->entries, (unsigned long long)o->identity.size);
    key = afpa__object_key(c->s, o);
    if (phase == AFPA__PHASE_LIVE && key && afpa__key_hash(c->s, key, o->key_length) != atomic_load(&o->hash))
        problem(c, "object %u: its hash is not that of its key", object);
    check_array(c, object);
}

/* ---- what is derived ---- */

static void check_index(check_t *c)
{
    const afpa__segment_t *s = c->s;
    uint64_t found = 0;

    for (uint32_t bucket = 0; bucket < s->layout.buckets; bucket++) {
        uint32_t at = atomic_load(&s->buckets[bucket].head);

        if (atomic_load(&s->buckets[bucket].version) & 1)
            problem(c, "bucket %u: left in the middle of a change", bucket);
        for (; at != AFPA_NONE; at = atomic_load(&s->objects[at].hash_next)) {
            if (at >= s->layout.objects || c->seen[at] & SEEN_INDEX) {
                problem(c, "bucket %u: chain leads out of the table or in a circle", bucket);
                break;
            }
            c->seen[at] |= SEEN_INDEX;
            found++;
            if (atomic_load(&s->objects[at].phase) != AFPA__PHASE_LIVE ||
                afpa__key_bucket(s, atomic_load(&s->objects[at].hash)) != bucket)
                problem(c, "bucket %u: object %u does not belong there", bucket, at);
        }
    }
    if (found != c->live)
        problem(c, "%llu objects are live, %llu are in the index", (unsigned long long)c->live, (unsigned long long)found);
}

static void check_queue(check_t *c, afpa__queue_id_t id, uint64_t *found)
{
    const afpa__queue_shared_t *q = &c->s->space->queue[id];
    uint32_t previous = AFPA_NONE, at = q->head;
    uint64_t count = 0, bytes = 0;

    for (; at != AFPA_NONE; previous = at, at = c->s->objects[at].next) {
        if (at >= c->s->layout.objects || c->seen[at] & SEEN_QUEUE) {
            problem(c, "queue %d: leads out of the table or in a circle", id);
            return;
        }
        c->seen[at] |= SEEN_QUEUE;
        count++;
        bytes += afpa__queue_weight(&c->s->objects[at]);
        if (c->s->objects[at].queue != id || c->s->objects[at].previous != previous)
            problem(c, "queue %d: object %u is linked wrongly", id, at);
    }
    if (q->tail != previous || q->count != count || q->bytes != bytes)
        problem(c, "queue %d: says %llu objects, %llu bytes; has %llu, %llu", id, (unsigned long long)q->count,
                (unsigned long long)q->bytes, (unsigned long long)count, (unsigned long long)bytes);
    *found += count;
}

static void check_queues(check_t *c)
{
    uint64_t found = 0;

    check_queue(c, AFPA__QUEUE_SMALL, &found);
    check_queue(c, AFPA__QUEUE_MAIN, &found);
    if (found != c->live)
        problem(c, "%llu objects are live, %llu are in the queues", (unsigned long long)c->live, (unsigned long long)found);
}

static void check_free_lists(check_t *c)
{
    const afpa__space_shared_t *space = c->s->space;
    uint64_t found = 0, used = 0;
    uint32_t at;

    for (at = space->free_object; at < c->s->layout.objects && !(c->seen[at] & SEEN_FREE); at = c->s->objects[at].next, found++)
        c->seen[at] |= SEEN_FREE;
    if (at != AFPA_NONE || found != c->free_objects || found != space->free_objects)
        problem(c, "%llu object records are free, %llu are on the free list", (unsigned long long)c->free_objects,
                (unsigned long long)found);
    for (uint32_t group = 0; group < c->s->layout.groups; group++)
        used += c->groups[group];
    found = 0;
    for (at = space->free_group; at < c->s->layout.groups && !c->groups[at]; at = c->s->groups[at], found++)
        c->groups[at] = 2;
    if (at != AFPA_NONE || found + used != c->s->layout.groups || found != space->free_groups)
        problem(c, "%llu groups are used, %llu free, of %u", (unsigned long long)used, (unsigned long long)found,
                c->s->layout.groups);
}

static void check_draining(check_t *c)
{
    uint64_t retired = 0, steps = 0;
    uint32_t at = c->s->space->draining;

    for (; at < c->s->layout.entries && steps <= c->s->layout.entries; at = c->s->entries[at].next, steps++)
        if (at < c->s->layout.objects && atomic_load(&c->s->objects[at].phase) == AFPA__PHASE_RETIRED)
            retired++;
    if (at != AFPA_NONE)
        problem(c, "the draining list leads out of the table or in a circle");
    else if (retired != c->retired)
        problem(c, "%llu objects are retired, %llu are on the draining list", (unsigned long long)c->retired,
                (unsigned long long)retired);
}

static void check_chunks(check_t *c)
{
    const afpa__space_shared_t *is = c->s->space, *should = c->copy.space;

    for (uint32_t i = 0; i < c->s->layout.chunks; i++) {
        const afpa__chunk_shared_t *a = &c->s->chunks[i], *b = &c->copy.chunks[i];

        if (a->used != b->used || memcmp(a->bitmap, b->bitmap, sizeof(a->bitmap)) != 0)
            problem(c, "chunk %u: %u parts taken, %u in use", i, a->used, b->used);
        else if (a->used && a->kind != b->kind)
            problem(c, "chunk %u: wrong kind", i);
    }
    if (is->bytes_used != should->bytes_used || is->bytes_cached != c->bytes_cached || is->holed != should->holed)
        problem(c, "totals: %llu bytes taken, %llu cached; counted %llu and %llu", (unsigned long long)is->bytes_used,
                (unsigned long long)is->bytes_cached, (unsigned long long)should->bytes_used, (unsigned long long)c->bytes_cached);
}

/* Numbers the chunks of one list. */
static void mark_list(check_t *c, const afpa__segment_t *s, uint32_t head, uint16_t number, uint16_t *list_of)
{
    uint32_t previous = AFPA_NONE;

    for (uint32_t at = head; at != AFPA_NONE; previous = at, at = s->chunks[at].next) {
        if (at >= s->layout.chunks || list_of[at] || s->chunks[at].previous != previous) {
            problem(c, "chunk list %u: leads out of the table, in a circle or onto another", number);
            return;
        }
        list_of[at] = number;
    }
}

static void mark_lists(check_t *c, const afpa__segment_t *s, uint16_t *list_of)
{
    uint16_t number = 1;

    mark_list(c, s, s->space->free_chunk, number++, list_of);
    for (uint32_t i = 0; i < AFPA_CLASSES; i++)
        mark_list(c, s, s->space->slots[i], number++, list_of);
    for (uint32_t i = 0; i <= AFPA_UNITS; i++)
        mark_list(c, s, s->space->runs[i], number++, list_of);
}

static void check_chunk_lists(check_t *c)
{
    uint32_t chunks = c->s->layout.chunks;
    uint16_t *is = calloc(chunks, 2 * sizeof(*is)), *should;

    if (!is) {
        problem(c, "out of memory");
        return;
    }
    should = is + chunks;
    afpa__chunk_relist(&c->copy);
    mark_lists(c, c->s, is);
    mark_lists(c, &c->copy, should);
    for (uint32_t i = 0; i < chunks; i++)
        if (is[i] != should[i])
            problem(c, "chunk %u: is in list %u, belongs in %u", i, is[i], should[i]);
    if (c->s->space->free_chunks != c->copy.space->free_chunks)
        problem(c, "%llu chunks are free, %llu counted", (unsigned long long)c->copy.space->free_chunks,
                (unsigned long long)c->s->space->free_chunks);
    free(is);
}

static void check_ledgers(check_t *c)
{
    for (uint32_t slot = 0; slot < AFPA_OWNERS; slot++) {
        uint64_t windows = atomic_load(&c->s->owners[slot].windows);

        if (atomic_load(&c->s->owners[slot].used))
            continue;
        for (uint32_t entry = 0; entry < c->s->layout.entries; entry++)
            if (windows >> entry / c->s->layout.window_entries & 1 &&
                (atomic_load(&afpa__ledger_row(c->s, slot)[entry]) & UINT32_MAX))
                problem(c, "ledger %u: has pins of entry %u, but no owner", slot, entry);
    }
}

static void check_all(check_t *c)
{
    afpa__chunk_reset(&c->copy);
    for (uint32_t object = 0; object < c->s->layout.objects; object++)
        check_object(c, object);
    check_index(c);
    check_queues(c);
    check_free_lists(c);
    check_draining(c);
    check_chunks(c);
    check_chunk_lists(c);
    check_ledgers(c);
}

static void check_locked(check_t *c)
{
    afpa__lock_result_t result;
    uint32_t shard;

    if (!afpa__shards_take_all(c->s, &shard)) {
        problem(c, "shard %u: its lock cannot be had", shard);
        return;
    }
    result = afpa__lock_timed(&c->s->space->lock, 3000);
    if (result == AFPA__LOCK_BUSY) {
        problem(c, "the space lock cannot be had");
    } else {
        if (result == AFPA__LOCK_DIED)
            afpa__space_rebuild(c->s);
        memcpy(c->copy.chunks, c->s->chunks, sizeof(*c->copy.chunks) * c->s->layout.chunks); /* for the holes */
        check_all(c);
        afpa__space_release(c->s);
    }
    afpa__shards_release_all(c->s);
}

size_t afpa_inspect_verify(afpa_zone_t *zone, afpa_problem_fn *fn, void *context)
{
    afpa__segment_t *s = afpa__zone_segment(zone);
    check_t c = {.s = s, .copy = *s, .fn = fn, .context = context};

    c.copy.chunks = calloc(s->layout.chunks, sizeof(*c.copy.chunks));
    c.copy.space = aligned_alloc(AFPA_CACHE_LINE, sizeof(*c.copy.space));
    c.groups = calloc(s->layout.groups, 1);
    c.seen = calloc(s->layout.objects, 1);
    if (c.copy.chunks && c.copy.space && c.groups && c.seen) {
        memset(c.copy.space, 0, sizeof(*c.copy.space));
        check_locked(&c);
    } else {
        problem(&c, "out of memory");
    }
    free(c.copy.chunks);
    free(c.copy.space);
    free(c.groups);
    free(c.seen);
    return c.problems;
}

/* ---- content ---- */

/* Compares what is in memory of one entry with the file.  A file that has changed meanwhile proves nothing. */
static void compare_entry(check_t *c, const afpa_ref_t *ref, uint32_t index, int fd, const char *path, char *buffer)
{
    const afpa_identity_t *identity = afpa_ref_identity(ref);
    uint64_t at = (uint64_t)index * c->s->layout.chunk_size;
    afpa_extent_t extent;

    if (afpa_cache_pin(ref, index, AFPA_PIN_COPY, &extent) != AFPA_OK)
        return;
    if (afpa__file_read(fd, identity, buffer, extent.length, at) == AFPA_OK && memcmp(buffer, extent.data, extent.length) != 0)
        problem(c, "%.200s: bytes from %llu on differ from the file", path, (unsigned long long)at);
    afpa_cache_unpin(&extent);
}

static void compare_object(check_t *c, afpa_cache_t *cache, const afpa_object_info_t *info, char *buffer)
{
    afpa__file_t file;
    afpa_counter_t why;
    afpa_ref_t ref;

    if (afpa_cache_lookup(cache, info->path, info->path_len, UINT32_MAX, &ref) == AFPA_MISS || !ref.cache)
        return;
    if (afpa__file_open(info->path, &file, &why) == AFPA_OK) {
        if (afpa__identity_same(&file.identity, afpa_ref_identity(&ref)))
            for (uint32_t index = 0; index < afpa_ref_entries(&ref); index++)
                compare_entry(c, &ref, index, file.fd, info->path, buffer);
        close(file.fd);
    }
    afpa_cache_release(&ref);
}

size_t afpa_inspect_verify_content(afpa_cache_t *cache, afpa_problem_fn *fn, void *context)
{
    check_t c = {.s = cache->segment, .fn = fn, .context = context};
    afpa_object_info_t *info = malloc(sizeof(*info));
    char *buffer = malloc(c.s->layout.chunk_size);
    uint32_t cursor = 0;

    if (!info || !buffer)
        problem(&c, "out of memory");
    else
        while (afpa_inspect_next(cache->zone, &cursor, info) == AFPA_OK)
            if (info->kind == AFPA_KIND_FILE && strcmp(info->state, "live") == 0)
                compare_object(&c, cache, info, buffer);
    free(info);
    free(buffer);
    return c.problems;
}
