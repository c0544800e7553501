/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, inspection: looking into a segment without taking part in it.  No slot, no pin, no lock.
 *
 * What is shown is copied first.  A record may be freed and used anew meanwhile: its generation before and after tells, and a key
 * that does not make the record's hash is not shown.  No index is followed unchecked, no loop runs longer than a table.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <afpa/inspect.h>
#include <afpa/walk.h>

#include "capture.h"
#include "clock.h"
#include "index.h"
#include "key.h"
#include "object.h"
#include "owner.h"
#include "pin.h"
#include "stats.h"
#include "zone.h"

#define COPY_TRIES 8

static const char *phase_name(uint8_t phase)
{
    static const char *const names[] = {"free", "new", "live", "retired"};

    return phase < 4 ? names[phase] : "damaged";
}

static const char *queue_name(uint8_t queue)
{
    return queue == AFPA__QUEUE_SMALL ? "small" : queue == AFPA__QUEUE_MAIN ? "main" : "none";
}

/* ---- totals ---- */

static uint64_t row_pins(const afpa__segment_t *s, uint32_t slot)
{
    uint64_t windows = atomic_load(&s->owners[slot].windows), pins = 0;
    afpa__cell_t *row = afpa__ledger_row(s, slot);

    for (uint32_t entry = 0; entry < s->layout.entries; entry++)
        if (windows >> entry / s->layout.window_entries & 1)
            pins += atomic_load_explicit(&row[entry], memory_order_relaxed) & UINT32_MAX;
        else
            entry += s->layout.window_entries - entry % s->layout.window_entries - 1;
    return pins;
}

static void stat_objects(const afpa__segment_t *s, afpa_stat_t *stat)
{
    for (uint32_t i = 0; i < s->layout.objects; i++) {
        uint8_t phase = atomic_load(&s->objects[i].phase);

        if (phase == AFPA__PHASE_RETIRED)
            stat->draining++;
        else if (phase == AFPA__PHASE_LIVE && s->objects[i].kind == AFPA_KIND_RESPONSE)
            stat->response_entries++;
        else if (phase == AFPA__PHASE_LIVE)
            stat->objects++;
    }
}

void afpa_inspect_stat(afpa_zone_t *zone, afpa_stat_t *stat)
{
    const afpa__segment_t *s = afpa__zone_segment(zone);
    struct stat st;

    memset(stat, 0, sizeof(*stat));
    stat->layout_version = AFPA_LAYOUT_VERSION;
    stat->size = s->layout.size;
    if (fstat(s->fd, &st) == 0)
        stat->memory = (uint64_t)st.st_blocks * 512;
    stat->pinned = afpa_zone_pinned(zone);
    stat->enabled = afpa_zone_enabled(zone);
    stat->owners_limit = AFPA_OWNERS;
    stat_objects(s, stat);
    stat->bytes_cached = s->space->bytes_cached;
    stat->bytes_free = s->layout.data_length - s->space->bytes_used;
    for (uint32_t slot = 0; slot < AFPA_OWNERS; slot++) {
        if (!atomic_load(&s->owners[slot].used))
            continue;
        stat->owners++;
        stat->pins += row_pins(s, slot);
    }
    for (unsigned i = 0; i < AFPA_COUNTER_LIMIT; i++)
        stat->counters[i] = afpa__stats_total(s, (afpa_counter_t)i);
}

void afpa_inspect_reset(afpa_zone_t *zone)
{
    afpa__stats_reset(afpa__zone_segment(zone));
}

afpa_status_t afpa_inspect_owner(afpa_zone_t *zone, uint32_t slot, afpa_owner_info_t *info)
{
    const afpa__segment_t *s = afpa__zone_segment(zone);

    if (slot >= AFPA_OWNERS || !atomic_load(&s->owners[slot].used))
        return AFPA_NOT_FOUND;
    memset(info, 0, sizeof(*info));
    info->slot = slot;
    info->pid = (pid_t)atomic_load(&s->owners[slot].pid);
    memcpy(info->kind, s->owners[slot].kind, sizeof(info->kind) - 1);
    info->pins = row_pins(s, slot);
    info->alive = afpa__owner_alive(s->fd, slot);
    return AFPA_OK;
}

/* ---- objects ---- */

static void copy_entries(const afpa__segment_t *s, uint32_t object, afpa_object_info_t *info)
{
    afpa__cursor_t at;

    for (afpa__cursor_start(&at, s, object, 0); at.entry != AFPA_NONE; afpa__cursor_next(&at)) {
        afpa__pin_state_t state = afpa__word_state(atomic_load(&s->entries[at.entry].word));

        info->pins += afpa__pin_count(s, at.entry);
        info->entries_pinned += state == AFPA__PINNED || state == AFPA__DRAINING;
    }
}

static bool copy_key(const afpa__segment_t *s, const afpa__object_shared_t *o, afpa_object_info_t *info)
{
    uint32_t length = o->key_length;
    const char *key = length < sizeof(info->path) ? afpa__data_at(s, o->key_chunk, o->key_offset, length) : NULL;

    if (!key || length == 0)
        return false;
    memcpy(info->path, key, length);
    info->path[length] = 0;
    info->path_len = length;
    return afpa__key_hash(s, info->path, length) == atomic_load(&o->hash);
}

static bool copy_object(const afpa__segment_t *s, uint32_t object, afpa_object_info_t *info)
{
    const afpa__object_shared_t *o = &s->objects[object];
    uint8_t phase = atomic_load(&o->phase);
    uint64_t now = afpa__now_ms(), checked = atomic_load(&o->last_check); /* of a response entry it is what the record last had */
    int64_t hits;

    memset(info, 0, offsetof(afpa_object_info_t, path));
    info->pins = info->bytes = 0;
    info->entries_pinned = 0;
    if (phase == AFPA__PHASE_FREE || !copy_key(s, o, info))
        return false;
    hits = atomic_load(&o->hits) + (int64_t)afpa__pin_hits(s, object);
    info->object = object;
    info->kind = o->kind == AFPA_KIND_RESPONSE ? AFPA_KIND_RESPONSE : AFPA_KIND_FILE;
    info->state = phase_name(phase);
    info->identity = o->identity;
    info->entries = o->entries;
    info->bytes = o->bytes;
    info->hits = hits > 0 ? (uint64_t)hits : 0;
    info->age = now / 1000 > o->made ? (double)(now / 1000 - o->made) : 0;
    info->checked = now > checked && info->kind == AFPA_KIND_FILE ? (double)(now - checked) / 1000 : 0;
    info->frequency = atomic_load(&o->frequency);
    info->queue = queue_name(o->queue);
    copy_entries(s, object, info);
    return true;
}

/* Copies until nothing moved meanwhile; a few times at most. */
static bool copy_steady(const afpa__segment_t *s, uint32_t object, afpa_object_info_t *info)
{
    bool good = false;

    for (unsigned tries = 0; tries < COPY_TRIES; tries++) {
        uint64_t hash = atomic_load(&s->objects[object].hash), word = atomic_load(&s->entries[object].word);

        good = copy_object(s, object, info);
        if (atomic_load(&s->objects[object].hash) == hash && atomic_load(&s->entries[object].word) == word)
            break;
    }
    return good;
}

afpa_status_t afpa_inspect_next(afpa_zone_t *zone, uint32_t *cursor, afpa_object_info_t *info)
{
    const afpa__segment_t *s = afpa__zone_segment(zone);

    while (*cursor < s->layout.objects)
        if (copy_steady(s, (*cursor)++, info))
            return AFPA_OK;
    return AFPA_NOT_FOUND;
}

afpa_status_t afpa_inspect_path(afpa_zone_t *zone, const char *path, size_t len, afpa_object_info_t *info)
{
    const afpa__segment_t *s = afpa__zone_segment(zone);
    uint64_t hash = afpa__key_hash(s, path, len);
    uint32_t at = atomic_load(&s->buckets[afpa__key_bucket(s, hash)].head);

    for (uint32_t steps = 0; at < s->layout.objects && steps < s->layout.objects; steps++) {
        if (atomic_load(&s->objects[at].hash) == hash && copy_steady(s, at, info) && info->path_len == len &&
            memcmp(info->path, path, len) == 0)
            return AFPA_OK;
        at = atomic_load(&s->objects[at].hash_next);
    }
    return AFPA_NOT_FOUND;
}

afpa_status_t afpa_inspect_entry(afpa_zone_t *zone, uint32_t object, uint32_t index, afpa_entry_info_t *info)
{
    const afpa__segment_t *s = afpa__zone_segment(zone);
    uint32_t number = afpa__object_entry(s, object, index);
    const afpa__entry_shared_t *e = afpa__entry_at(s, number);
    uint64_t word;

    if (!e || atomic_load(&s->objects[object].phase) == AFPA__PHASE_FREE)
        return AFPA_NOT_FOUND;
    word = atomic_load(&e->word);
    memset(info, 0, sizeof(*info));
    info->state = afpa__pin_state_name(afpa__word_state(word));
    info->generation = afpa__word_generation(word);
    info->pins = afpa__pin_count(s, number);
    info->chunk = -1;
    if (afpa__word_state(word) == AFPA__EMPTY || !afpa__data_at(s, e->chunk, e->offset, e->length))
        return AFPA_OK;
    info->length = e->length;
    info->chunk = e->chunk;
    info->data = afpa__data_at(s, e->chunk, e->offset, e->length);
    info->offset = (uint64_t)((const char *)info->data - s->data);
    return AFPA_OK;
}

afpa_status_t afpa_inspect_header(afpa_zone_t *zone, uint32_t object, char *header, size_t size)
{
    const afpa__segment_t *s = afpa__zone_segment(zone);
    const afpa__object_shared_t *o = afpa__object_at(s, object);
    char copy[AFPA__BLOCK_MAX]; /* others may write where it comes from */
    const afpa__block_shared_t *block = (const void *)copy;
    afpa_entry_info_t entry;

    if (!o || o->kind != AFPA_KIND_RESPONSE || afpa_inspect_entry(zone, object, 0, &entry) != AFPA_OK || !entry.data ||
        entry.length > sizeof(copy))
        return AFPA_NOT_FOUND;
    memcpy(copy, entry.data, entry.length);
    if (!afpa__block_sound(block, entry.length))
        return AFPA_NOT_FOUND;
    if (block->part[0].length >= size)
        return AFPA_NO_SPACE;
    memcpy(header, afpa__block_bytes(block, 0), block->part[0].length);
    header[block->part[0].length] = 0;
    return AFPA_OK;
}
