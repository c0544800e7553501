/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 4 of 7, room: 64 KB chunks, and what is smaller in parts of chunks.
 *
 * A chunk (its size here C) is free, or carved into slots of one size class, or given out in runs of units of C/64.
 *   up to C/8   a slot: classes from C/1024 to C/8, eight steps per doubling; where chunks are short, a free slot of up to twice
 *               the size rather than one chunk more for a class
 *   above       a run of units
 *   C           a whole chunk, if possible the one behind that of the bytes before
 *   from 32 KB  never a slot (in chunks of 512 KB and 1 MB it could be one); the run begins and ends on pages, so it may be sent
 *               by reference
 * Slot or run is at most an eighth larger than what is in it, but for two cases.  The smallest slot, C/1024, holds what is smaller.
 * In chunks of 512 KB and 1 MB the units are 8 and 16 KB, so a run for 32 KB and more may be a quarter or a half larger; from C/8
 * on it is an eighth again.  Of a chunk with slots the end is left over where one more does not fit: up to 9 %.
 * All of it is under the space lock, and all of it can be derived again from the pin entries and keys that use it; but for the size
 * of a chunk's slots, which is set before the first of them is taken and stays, and for the holes below.
 *
 * Pages that were sent by reference may sit in a socket long after the last pin.  They are given to it: the range is punched out
 * of the file and reserved anew.  If tmpfs has no room at that moment the units stay out of use as holes, and are tried again
 * when room runs short.  That holds of small pages only: see afpa__segment_reserve().
 */
#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "chunk.h"
#include "log.h"

#define CLASS_REACH 8u /* classes up to a slot of twice the size */
#define LOOK_BACK 32u  /* chunks, 2 MB: a run of free ones longer than that begins in its middle just as well */

/* How a length is placed. */
typedef struct shape {
    bool slot;
    uint32_t class_id, slot_size; /* slot */
    uint32_t units, align;        /* run */
} shape_t;

static uint32_t unit_of(const afpa__segment_t *s)
{
    return s->layout.chunk_size / AFPA_UNITS;
}

static uint32_t class_size(const afpa__segment_t *s, uint32_t class_id)
{
    uint32_t smallest = s->layout.chunk_size / AFPA_SLOTS, power = smallest << (class_id / 8);

    return power + power / 8 * (class_id % 8);
}

static uint32_t class_of(const afpa__segment_t *s, uint32_t length)
{
    uint32_t smallest = s->layout.chunk_size / AFPA_SLOTS, doubling, power;

    if (length <= smallest)
        return 0;
    doubling = 31 - (uint32_t)__builtin_clz((length - 1) / smallest);
    power = smallest << doubling;
    return doubling * 8 + (length - power + power / 8 - 1) / (power / 8);
}

/* The pages of a slot cannot be given away: see run_free(). */
static bool is_for_slot(const afpa__segment_t *s, uint32_t length)
{
    return length <= s->layout.chunk_size / 8 && !afpa__chunk_exclusive(length);
}

static shape_t shape_of(const afpa__segment_t *s, uint32_t length)
{
    uint32_t unit = unit_of(s), page = (uint32_t)sysconf(_SC_PAGESIZE);
    shape_t shape = {.slot = is_for_slot(s, length), .align = 1};

    if (shape.slot) {
        shape.class_id = class_of(s, length);
        shape.slot_size = class_size(s, shape.class_id);
        return shape;
    }
    if (afpa__chunk_exclusive(length) && unit < page)
        shape.align = page / unit;
    shape.units = (length + unit - 1) / unit;
    shape.units = (shape.units + shape.align - 1) / shape.align * shape.align;
    return shape;
}

bool afpa__chunk_exclusive(uint32_t length)
{
    return length >= AFPA_REFERENCE_MIN;
}

uint32_t afpa__chunk_cost(const afpa__segment_t *s, uint32_t length)
{
    shape_t shape = shape_of(s, length);

    return shape.slot ? shape.slot_size : shape.units * unit_of(s);
}

uint32_t afpa__chunk_taken(const afpa__segment_t *s, uint32_t chunk, uint32_t length)
{
    return is_for_slot(s, length) ? class_size(s, s->chunks[chunk].class_id) : afpa__chunk_cost(s, length);
}

/* ---- lists of chunks ---- */

static void list_push(afpa__segment_t *s, uint32_t *head, uint32_t chunk)
{
    s->chunks[chunk].previous = AFPA_NONE;
    s->chunks[chunk].next = *head;
    if (*head < s->layout.chunks)
        s->chunks[*head].previous = chunk;
    *head = chunk;
}

/* Whether what a list says comes next is a chunk, or nothing. */
static bool is_link(const afpa__segment_t *s, uint32_t chunk)
{
    return chunk == AFPA_NONE || chunk < s->layout.chunks;
}

static void list_remove(afpa__segment_t *s, uint32_t *head, uint32_t chunk)
{
    const afpa__chunk_shared_t *c = &s->chunks[chunk];

    if (!is_link(s, c->previous) || !is_link(s, c->next)) {
        afpa__segment_break(s, "a list of chunks leads out of the table");
        return;
    }
    if (c->previous == AFPA_NONE)
        *head = c->next;
    else
        s->chunks[c->previous].next = c->next;
    if (c->next != AFPA_NONE)
        s->chunks[c->next].previous = c->previous;
}

static uint32_t longest_run(uint64_t free_units)
{
    uint32_t length = 0;

    for (; free_units; free_units &= free_units >> 1)
        length++;
    return length;
}

static uint32_t slots_in(const afpa__segment_t *s, uint32_t class_id)
{
    return s->layout.chunk_size / class_size(s, class_id);
}

/* The list a chunk belongs in by what is free in it; NULL: in none, it is full. */
static uint32_t *list_of(afpa__segment_t *s, const afpa__chunk_shared_t *c)
{
    if (c->kind == AFPA__CHUNK_SLOTS)
        return c->used < slots_in(s, c->class_id) ? &s->space->slots[c->class_id] : NULL;
    if (c->kind == AFPA__CHUNK_RUNS)
        return c->used < AFPA_UNITS ? &s->space->runs[longest_run(~c->bitmap[0])] : NULL;
    return &s->space->free_chunk;
}

static void unlist(afpa__segment_t *s, uint32_t chunk)
{
    uint32_t *head = list_of(s, &s->chunks[chunk]);

    if (head)
        list_remove(s, head, chunk);
}

/* Puts a chunk where it belongs now; one that became empty is free again. */
static void relist(afpa__segment_t *s, uint32_t chunk)
{
    afpa__chunk_shared_t *c = &s->chunks[chunk];
    uint32_t *head;

    if (c->used == 0) {
        c->kind = AFPA__CHUNK_FREE;
        memset(c->bitmap, 0, sizeof(c->bitmap));
        s->space->free_chunks++;
    }
    head = list_of(s, c);
    if (head)
        list_push(s, head, chunk);
}

/* Takes a chunk from the free ones; it is in no list then. */
static void chunk_begin(afpa__segment_t *s, uint32_t chunk, afpa__chunk_kind_t kind, uint32_t class_id)
{
    afpa__chunk_shared_t *c = &s->chunks[chunk];

    list_remove(s, &s->space->free_chunk, chunk);
    s->space->free_chunks--;
    c->kind = (uint8_t)kind;
    c->class_id = (uint8_t)class_id;
    c->used = 0;
}

static bool chunk_start(afpa__segment_t *s, afpa__chunk_kind_t kind, uint32_t class_id, uint32_t *chunk)
{
    *chunk = s->space->free_chunk;
    if (*chunk == AFPA_NONE)
        return false;
    chunk_begin(s, *chunk, kind, class_id);
    return true;
}

/* ---- slots ---- */

/* Whether the chunk's slots may hold what belongs in `class_id`. */
static bool class_fits(const afpa__chunk_shared_t *c, uint32_t class_id)
{
    return c->class_id >= class_id && c->class_id <= class_id + CLASS_REACH && c->class_id < AFPA_CLASSES;
}

/* A chunk with a free slot that will do.  A class takes a larger one's slot only where there is no longer a free chunk for each:
 * in a small zone with files of many sizes, chunks with one or two slots taken would else be most of it (docs/policy.md). */
static uint32_t slot_search(const afpa__segment_t *s, uint32_t class_id)
{
    uint32_t reach = s->space->free_chunks <= AFPA_CLASSES ? CLASS_REACH : 0;

    for (uint32_t i = class_id; i <= class_id + reach && i < AFPA_CLASSES; i++)
        if (s->space->slots[i] != AFPA_NONE)
            return s->space->slots[i];
    return AFPA_NONE;
}

static bool slot_alloc(afpa__segment_t *s, const shape_t *shape, uint32_t *chunk, uint32_t *offset)
{
    afpa__chunk_shared_t *c;
    uint32_t slots, slot;

    *chunk = slot_search(s, shape->class_id);
    if (*chunk != AFPA_NONE)
        unlist(s, *chunk);
    else if (!chunk_start(s, AFPA__CHUNK_SLOTS, shape->class_id, chunk))
        return false;
    c = &s->chunks[*chunk];
    slots = slots_in(s, c->class_id);
    for (slot = 0; slot < slots; slot += 64)
        if (~c->bitmap[slot / 64])
            break;
    slot += (uint32_t)__builtin_ctzll(~c->bitmap[slot / 64]);
    afpa__assert(slot < slots);
    c->bitmap[slot / 64] |= UINT64_C(1) << slot % 64;
    c->used++;
    relist(s, *chunk);
    *offset = slot * class_size(s, c->class_id);
    return true;
}

/* ---- runs ---- */

static uint64_t run_mask(uint32_t unit, uint32_t units)
{
    return (units == 64 ? UINT64_MAX : (UINT64_C(1) << units) - 1) << unit;
}

/* First unit of a free run, on a multiple of align; 64: none. */
static uint32_t run_find(uint64_t taken, uint32_t units, uint32_t align)
{
    for (uint32_t unit = 0; unit + units <= AFPA_UNITS; unit += align)
        if (!(taken & run_mask(unit, units)))
            return unit;
    return AFPA_UNITS;
}

static uint32_t run_search(afpa__segment_t *s, const shape_t *shape, uint32_t *unit)
{
    for (uint32_t run = shape->units; run < AFPA_UNITS; run++) {
        uint32_t chunk = s->space->runs[run];

        /* A run that is long enough may begin askew; a few tries, then the next longer. */
        for (unsigned tries = 0; chunk != AFPA_NONE && tries < 4; tries++, chunk = s->chunks[chunk].next) {
            *unit = run_find(s->chunks[chunk].bitmap[0], shape->units, shape->align);
            if (*unit < AFPA_UNITS)
                return chunk;
        }
    }
    return AFPA_NONE;
}

/* Of a chunk that is in no list. */
static void run_take(afpa__segment_t *s, uint32_t chunk, uint32_t unit, uint32_t units)
{
    afpa__chunk_shared_t *c = &s->chunks[chunk];

    c->bitmap[0] |= run_mask(unit, units);
    c->used = (uint16_t)(c->used + units);
    relist(s, chunk);
}

static bool run_alloc(afpa__segment_t *s, const shape_t *shape, uint32_t *chunk, uint32_t *offset)
{
    uint32_t unit = 0;

    *chunk = run_search(s, shape, &unit);
    if (*chunk != AFPA_NONE) {
        unlist(s, *chunk);
    } else {
        if (!chunk_start(s, AFPA__CHUNK_RUNS, 0, chunk))
            return false;
        unit = 0; /* whatever the search tried last */
    }
    run_take(s, *chunk, unit, shape->units);
    *offset = unit * unit_of(s);
    return true;
}

/* ---- whole chunks ---- */

static void whole_take(afpa__segment_t *s, uint32_t chunk)
{
    chunk_begin(s, chunk, AFPA__CHUNK_RUNS, 0);
    run_take(s, chunk, 0, AFPA_UNITS);
}

/* Where free chunks lie side by side, the first of them: what the next one asks for is then the one behind (afpa__chunk_take). */
static bool whole_alloc(afpa__segment_t *s, uint32_t *chunk, uint32_t *offset)
{
    uint32_t first = s->space->free_chunk;

    if (first == AFPA_NONE)
        return false;
    for (unsigned steps = 0; steps < LOOK_BACK && first > 0 && s->chunks[first - 1].kind == AFPA__CHUNK_FREE; steps++)
        first--;
    whole_take(s, first);
    *chunk = first;
    *offset = 0;
    return true;
}

/* ---- pages that were sent by reference ---- */

static bool punch(const afpa__segment_t *s, uint64_t at, uint32_t length)
{
    return fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, length) == 0;
}

/* New pages for a range of the data section; none at all if it cannot have all. */
static bool renew(afpa__segment_t *s, uint32_t chunk, uint32_t offset, uint32_t length)
{
    uint64_t at = s->layout.data_at + ((uint64_t)chunk << s->layout.chunk_shift) + offset;

    if (!punch(s, at, length))
        return false;
    if (afpa__segment_reserve(s, at, length))
        return true;
    punch(s, at, length);
    return false;
}

/* Tries again to get pages for units that had none.  true: some came back. */
static bool holes_mend(afpa__segment_t *s)
{
    bool mended = false;

    for (uint32_t chunk = 0; chunk < s->layout.chunks && s->space->holed; chunk++) {
        afpa__chunk_shared_t *c = &s->chunks[chunk];

        if (!c->holes)
            continue;
        for (uint32_t unit = 0; unit < AFPA_UNITS; unit++)
            if (c->holes >> unit & 1) {
                if (!renew(s, chunk, unit * unit_of(s), unit_of(s)))
                    return mended;
                unlist(s, chunk);
                c->holes &= ~(UINT64_C(1) << unit);
                c->bitmap[0] &= ~(UINT64_C(1) << unit);
                c->used--;
                mended = true;
                if (!c->holes)
                    s->space->holed--;
                relist(s, chunk);
            }
    }
    return mended;
}

/* ---- the interface ---- */

static bool place(afpa__segment_t *s, const shape_t *shape, uint32_t *chunk, uint32_t *offset)
{
    if (shape->units == AFPA_UNITS)
        return whole_alloc(s, chunk, offset);
    return shape->slot ? slot_alloc(s, shape, chunk, offset) : run_alloc(s, shape, chunk, offset);
}

bool afpa__chunk_alloc(afpa__segment_t *s, uint32_t length, uint32_t *chunk, uint32_t *offset)
{
    shape_t shape = shape_of(s, length);

    afpa__assert(length > 0 && length <= s->layout.chunk_size);
    if (afpa__segment_broken(s))
        return false;
    if (!place(s, &shape, chunk, offset) && !(s->space->holed && holes_mend(s) && place(s, &shape, chunk, offset)))
        return false;
    s->space->bytes_used += afpa__chunk_taken(s, *chunk, length);
    return true;
}

bool afpa__chunk_take(afpa__segment_t *s, uint32_t chunk)
{
    if (chunk >= s->layout.chunks || s->chunks[chunk].kind != AFPA__CHUNK_FREE || afpa__segment_broken(s))
        return false;
    whole_take(s, chunk);
    s->space->bytes_used += s->layout.chunk_size;
    return true;
}

static void run_free(afpa__segment_t *s, uint32_t chunk, uint32_t offset, const shape_t *shape, bool referenced)
{
    afpa__chunk_shared_t *c = &s->chunks[chunk];
    uint32_t unit = offset / unit_of(s), bytes = shape->units * unit_of(s);
    uint64_t mask = run_mask(unit, shape->units);

    if (referenced && !renew(s, chunk, offset, bytes)) {
        afpa__log(AFPA_LOG_WARN, "zone %.40s: tmpfs is full, %u bytes are out of use for now", s->header->name, bytes);
        s->space->holed += c->holes == 0;
        c->holes |= mask;
        s->space->bytes_used -= bytes;
        return;
    }
    unlist(s, chunk);
    c->bitmap[0] &= ~mask;
    c->used = (uint16_t)(c->used - shape->units);
    s->space->bytes_used -= bytes;
    relist(s, chunk);
}

static uint64_t slot_bit(const afpa__chunk_shared_t *c, uint32_t slot)
{
    return c->bitmap[slot / 64] & UINT64_C(1) << slot % 64;
}

static void slot_free(afpa__segment_t *s, uint32_t chunk, uint32_t offset)
{
    afpa__chunk_shared_t *c = &s->chunks[chunk];
    uint32_t slot_size = class_size(s, c->class_id), slot = offset / slot_size;

    unlist(s, chunk);
    c->bitmap[slot / 64] &= ~slot_bit(c, slot);
    c->used--;
    s->space->bytes_used -= slot_size;
    relist(s, chunk);
}

bool afpa__chunk_holds(const afpa__segment_t *s, uint32_t chunk, uint32_t offset, uint32_t length)
{
    const afpa__chunk_shared_t *c = &s->chunks[chunk];
    shape_t shape;
    uint32_t part;

    if (length == 0 || !afpa__data_at(s, chunk, offset, length))
        return false;
    shape = shape_of(s, length);
    if (shape.slot ? c->kind != AFPA__CHUNK_SLOTS || !class_fits(c, shape.class_id) : c->kind != AFPA__CHUNK_RUNS)
        return false;
    part = shape.slot ? class_size(s, c->class_id) : unit_of(s);
    if (offset % part)
        return false;
    if (shape.slot)
        return offset / part < slots_in(s, c->class_id) && slot_bit(c, offset / part);
    return offset / part + shape.units <= AFPA_UNITS && !(run_mask(offset / part, shape.units) & ~c->bitmap[0]);
}

void afpa__chunk_free(afpa__segment_t *s, uint32_t chunk, uint32_t offset, uint32_t length, bool referenced)
{
    shape_t shape = shape_of(s, length);

    if (afpa__segment_broken(s))
        return;
    afpa__assert(afpa__chunk_holds(s, chunk, offset, length));
    if (shape.slot)
        slot_free(s, chunk, offset);
    else
        run_free(s, chunk, offset, &shape, referenced);
}

/* ---- rebuilding ---- */

void afpa__chunk_reset(afpa__segment_t *s)
{
    afpa__space_shared_t *space = s->space;

    space->holed = 0;
    for (uint32_t i = 0; i < s->layout.chunks; i++) {
        afpa__chunk_shared_t *c = &s->chunks[i];

        /* class_id and holes are nowhere else, so they are not touched: who does this may die of it, too. */
        c->next = c->previous = 0;
        c->kind = AFPA__CHUNK_FREE;
        c->used = 0;
        memset(c->bitmap, 0, sizeof(c->bitmap));
        if (c->holes) { /* still without pages */
            c->kind = AFPA__CHUNK_RUNS;
            c->bitmap[0] = c->holes;
            c->used = (uint16_t)__builtin_popcountll(c->holes);
            space->holed++;
        }
    }
    space->free_chunk = AFPA_NONE;
    for (uint32_t i = 0; i < AFPA_CLASSES; i++)
        space->slots[i] = AFPA_NONE;
    for (uint32_t i = 0; i <= AFPA_UNITS; i++)
        space->runs[i] = AFPA_NONE;
    space->free_chunks = space->bytes_used = 0;
}

static bool claim_slot(afpa__segment_t *s, afpa__chunk_shared_t *c, const shape_t *shape, uint32_t offset)
{
    uint32_t slot, slot_size;

    if (c->used == 0) {
        c->kind = AFPA__CHUNK_SLOTS;
        if (!class_fits(c, shape->class_id))
            c->class_id = (uint8_t)shape->class_id;
    }
    if (c->kind != AFPA__CHUNK_SLOTS || !class_fits(c, shape->class_id))
        return false;
    slot_size = class_size(s, c->class_id);
    slot = offset / slot_size;
    if (offset % slot_size || slot >= slots_in(s, c->class_id) || c->bitmap[slot / 64] >> slot % 64 & 1)
        return false;
    c->bitmap[slot / 64] |= UINT64_C(1) << slot % 64;
    c->used++;
    s->space->bytes_used += slot_size;
    return true;
}

/* A run whose pages could not be renewed, and whose entry did not come to let go of it: it is the entry's again, which is freed as
 * soon as somebody looks, and the pages are asked for anew. */
static bool claim_holes(afpa__segment_t *s, afpa__chunk_shared_t *c, uint64_t mask)
{
    if ((c->holes & mask) != mask)
        return false;
    c->holes &= ~mask;
    s->space->holed -= c->holes == 0;
    return true;
}

static bool claim_run(afpa__segment_t *s, afpa__chunk_shared_t *c, const shape_t *shape, uint32_t offset)
{
    uint32_t unit = offset / unit_of(s);
    uint64_t mask;

    if (c->used == 0)
        c->kind = AFPA__CHUNK_RUNS;
    if (c->kind != AFPA__CHUNK_RUNS || offset % (unit_of(s) * shape->align) || unit + shape->units > AFPA_UNITS)
        return false;
    mask = run_mask(unit, shape->units);
    if (!(c->bitmap[0] & mask))
        c->used = (uint16_t)(c->used + shape->units);
    else if (!claim_holes(s, c, mask))
        return false;
    c->bitmap[0] |= mask;
    s->space->bytes_used += shape->units * unit_of(s);
    return true;
}

bool afpa__chunk_claim(afpa__segment_t *s, uint32_t chunk, uint32_t offset, uint32_t length)
{
    afpa__chunk_shared_t *c = &s->chunks[chunk];
    shape_t shape;

    if (length == 0 || !afpa__data_at(s, chunk, offset, length))
        return false;
    shape = shape_of(s, length);
    return shape.slot ? claim_slot(s, c, &shape, offset) : claim_run(s, c, &shape, offset);
}

void afpa__chunk_relist(afpa__segment_t *s)
{
    for (uint32_t chunk = s->layout.chunks; chunk-- > 0;)
        relist(s, chunk);
}
