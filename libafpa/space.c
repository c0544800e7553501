/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 4 of 7, bookkeeping: one lock over free lists, bitmaps, queues and the draining list.
 *
 * None of this state is original: it says again, in a form that is quick to use, what the phases of objects and the states of
 * entries say.  So a process may die anywhere under the lock.  The next to take it rebuilds everything from there.
 * To make that sound, who frees clears the bitmap first and the entry last, who allocates sets the bitmap first and the entry
 * last; a half-done step then shows as an entry that still, or does not yet, own its room.
 *
 * Where objects and entries contradict each other, the segment is broken, for good.  Who was sent something goes on reading it, so
 * no byte of it may change: in a broken segment nothing is given out, and nothing taken back.  Each call here and in chunk.c looks
 * for itself, since the segment may break in any of them.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "chunk.h"
#include "log.h"
#include "object.h"
#include "pin.h"
#include "space.h"

/* Whether this thread holds the space lock, or may: the lock order is checked where locks are taken, and a signal handler asks. */
static _Thread_local bool mine;

bool afpa__space_mine(void)
{
    return mine;
}

void afpa__space_take(afpa__segment_t *s)
{
    afpa__assert(!mine);
    mine = true;
    if (afpa__lock_take(&s->space->lock) == AFPA__LOCK_DIED) {
        afpa__log(AFPA_LOG_WARN, "zone %.40s: a process died while it allocated; free lists are rebuilt", s->header->name);
        afpa__space_rebuild(s);
    }
}

void afpa__space_release(afpa__segment_t *s)
{
    afpa__lock_release(&s->space->lock);
    mine = false;
}

/* ---- free lists ---- */

uint32_t afpa__space_object(afpa__segment_t *s)
{
    uint32_t object = s->space->free_object;

    if (object >= s->layout.objects || afpa__segment_broken(s))
        return AFPA_NONE;
    s->space->free_object = s->objects[object].next;
    s->space->free_objects--;
    return object;
}

void afpa__space_object_free(afpa__segment_t *s, uint32_t object)
{
    if (afpa__segment_broken(s))
        return;
    s->objects[object].next = s->space->free_object;
    s->space->free_object = object;
    s->space->free_objects++;
}

uint32_t afpa__space_group(afpa__segment_t *s)
{
    uint32_t group = s->space->free_group;

    if (group >= s->layout.groups || afpa__segment_broken(s))
        return AFPA_NONE;
    s->space->free_group = s->groups[group];
    s->space->free_groups--;
    return group;
}

void afpa__space_group_free(afpa__segment_t *s, uint32_t group)
{
    if (afpa__segment_broken(s))
        return;
    s->groups[group] = s->space->free_group;
    s->space->free_group = group;
    s->space->free_groups++;
}

/* ---- queues ---- */

uint64_t afpa__queue_weight(const afpa__object_shared_t *o)
{
    return o->bytes + o->key_length + sizeof(afpa__object_shared_t) + sizeof(afpa__entry_shared_t);
}

void afpa__queue_push(afpa__segment_t *s, uint32_t object, afpa__queue_id_t id)
{
    afpa__queue_shared_t *q = &s->space->queue[id];
    afpa__object_shared_t *o = &s->objects[object];

    if (afpa__segment_broken(s))
        return;
    o->queue = (uint8_t)id;
    o->next = q->head;
    o->previous = AFPA_NONE;
    if (q->head < s->layout.objects)
        s->objects[q->head].previous = object;
    else
        q->tail = object;
    q->head = object;
    q->count++;
    q->bytes += afpa__queue_weight(o);
}

/* Whether a link of a queue is an object, or nothing. */
static bool is_link(const afpa__segment_t *s, uint32_t object)
{
    return object == AFPA_NONE || object < s->layout.objects;
}

void afpa__queue_remove(afpa__segment_t *s, uint32_t object)
{
    afpa__object_shared_t *o = &s->objects[object];
    afpa__queue_shared_t *q;

    if (o->queue == AFPA__QUEUE_NONE || afpa__segment_broken(s))
        return;
    if (o->queue >= AFPA__QUEUES || !is_link(s, o->previous) || !is_link(s, o->next)) {
        afpa__segment_break(s, "a queue leads out of the table");
        return;
    }
    q = &s->space->queue[o->queue];
    if (o->previous != AFPA_NONE)
        s->objects[o->previous].next = o->next;
    else
        q->head = o->next;
    if (o->next != AFPA_NONE)
        s->objects[o->next].previous = o->previous;
    else
        q->tail = o->previous;
    q->count--;
    q->bytes -= afpa__queue_weight(o);
    o->queue = AFPA__QUEUE_NONE;
}

/* ---- draining ---- */

void afpa__draining_push(afpa__segment_t *s, uint32_t entry)
{
    afpa__entry_shared_t *e = &s->entries[entry];

    if (e->draining || afpa__segment_broken(s))
        return;
    e->draining = 1;
    e->next = s->space->draining;
    s->space->draining = entry;
}

/* Whether the entry has to stay on the list. */
static bool still_draining(afpa__segment_t *s, uint32_t entry, bool *freed)
{
    if (entry < s->layout.objects) {
        if (atomic_load(&s->objects[entry].phase) != AFPA__PHASE_RETIRED)
            return false;
        if (!afpa__object_free(s, entry))
            return true;
    } else {
        if (afpa__word_state(atomic_load(&s->entries[entry].word)) != AFPA__DRAINING)
            return false;
        if (!afpa__pin_drain(s, entry))
            return true;
        afpa__entry_free(s, entry);
    }
    *freed = true;
    return false;
}

bool afpa__draining_poll(afpa__segment_t *s)
{
    uint32_t *link = &s->space->draining;
    bool freed = false;

    for (uint32_t steps = 0; *link != AFPA_NONE && !afpa__segment_broken(s); steps++) {
        afpa__entry_shared_t *e = afpa__entry_at(s, *link);

        if (!e || steps > s->layout.entries) {
            afpa__segment_break(s, "the draining list leads out of the table or in a circle");
            break;
        }
        if (still_draining(s, *link, &freed)) {
            link = &e->next;
        } else {
            e->draining = 0;
            *link = e->next;
        }
    }
    return freed;
}

/* ---- rebuilding ---- */

static bool claim_entry(afpa__segment_t *s, uint32_t object, uint32_t entry)
{
    afpa__entry_shared_t *e = &s->entries[entry];
    afpa__pin_state_t state = afpa__word_state(atomic_load(&e->word));

    if (e->object != object)
        return false;
    if (state != AFPA__EMPTY && e->chunk != AFPA_NONE) {
        if (!afpa__chunk_claim(s, e->chunk, e->offset, e->length))
            return false;
        s->objects[object].bytes += e->length;
        s->space->bytes_cached += e->length;
    } else {
        e->chunk = AFPA_NONE;
    }
    if (state == AFPA__DRAINING && entry >= s->layout.objects)
        afpa__draining_push(s, entry);
    return true;
}

/* Claims all that an object uses; marks its groups in `taken`. */
static bool claim_object(afpa__segment_t *s, uint32_t object, uint8_t *taken)
{
    afpa__object_shared_t *o = &s->objects[object];
    uint32_t group = o->group;

    o->bytes = 0;
    if (o->key_length && !afpa__chunk_claim(s, o->key_chunk, o->key_offset, o->key_length))
        return false;
    if (!claim_entry(s, object, object))
        return false;
    for (uint32_t index = 1; index < o->entries; index++) {
        if ((index - 1) % AFPA_GROUP == 0) {
            if (index > 1)
                group = s->groups[group];
            if (group >= s->layout.groups || taken[group])
                return false;
            taken[group] = 1;
        }
        if (!claim_entry(s, object, s->layout.objects + group * AFPA_GROUP + (index - 1) % AFPA_GROUP))
            return false;
    }
    return true;
}

static void space_clear(afpa__segment_t *s)
{
    afpa__space_shared_t *space = s->space;

    space->free_object = space->free_group = space->draining = AFPA_NONE;
    space->free_objects = space->free_groups = space->bytes_cached = 0;
    for (int i = 0; i < AFPA__QUEUES; i++)
        space->queue[i] = (afpa__queue_shared_t){.head = AFPA_NONE, .tail = AFPA_NONE};
    for (uint32_t i = 0; i < s->layout.entries; i++)
        s->entries[i].draining = 0;
    afpa__chunk_reset(s);
}

/* false: objects and entries contradict each other. */
static bool derive(afpa__segment_t *s, uint8_t *taken)
{
    for (uint32_t object = s->layout.objects; object-- > 0;) {
        afpa__object_shared_t *o = &s->objects[object];
        uint8_t phase = atomic_load(&o->phase), queue = o->queue;

        o->queue = AFPA__QUEUE_NONE;
        if (phase == AFPA__PHASE_FREE) {
            afpa__space_object_free(s, object);
            continue;
        }
        if (phase > AFPA__PHASE_RETIRED || !claim_object(s, object, taken))
            return false;
        if (phase == AFPA__PHASE_LIVE)
            afpa__queue_push(s, object, queue == AFPA__QUEUE_MAIN ? AFPA__QUEUE_MAIN : AFPA__QUEUE_SMALL);
        else if (phase == AFPA__PHASE_RETIRED)
            afpa__draining_push(s, object);
    }
    for (uint32_t group = s->layout.groups; group-- > 0;)
        if (!taken[group])
            afpa__space_group_free(s, group);
    afpa__chunk_relist(s);
    return true;
}

/* What is free cannot be told from what is in use: nothing is on a list, and nothing comes on one. */
static void give_up(afpa__segment_t *s, const char *why)
{
    afpa__segment_break(s, why);
    space_clear(s);
    for (uint32_t object = 0; object < s->layout.objects; object++)
        s->objects[object].queue = AFPA__QUEUE_NONE;
}

void afpa__space_rebuild(afpa__segment_t *s)
{
    uint8_t *taken = calloc(s->layout.groups, 1);

    space_clear(s);
    if (!taken)
        give_up(s, "there is no memory to rebuild its free lists");
    else if (afpa__segment_broken(s) || !derive(s, taken))
        give_up(s, "objects and entries contradict each other");
    free(taken);
}
