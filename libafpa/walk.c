/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 5 of 7: the walk.  In: a byte range of an object.  Out: which pin entry comes next, from where in it, how much.
 *
 * Nothing but arithmetic, so that it can be tested to the last byte without a segment.
 */
#include "config.h"

#include <afpa/walk.h>

void afpa_walk_init(afpa_walk_t *walk, uint64_t size, uint32_t chunk_size, uint64_t offset, uint64_t bytes)
{
    if (offset > size)
        offset = size;
    if (bytes > size - offset)
        bytes = size - offset;
    walk->offset = offset;
    walk->end = offset + bytes;
    walk->chunk_size = chunk_size;
}

bool afpa_walk_step(const afpa_walk_t *walk, afpa_step_t *step)
{
    uint64_t left = walk->end - walk->offset;
    uint32_t room;

    if (left == 0)
        return false;
    step->index = (uint32_t)(walk->offset / walk->chunk_size);
    step->skip = (uint32_t)(walk->offset % walk->chunk_size);
    room = walk->chunk_size - step->skip;
    step->length = left < room ? (uint32_t)left : room;
    return true;
}

void afpa_walk_advance(afpa_walk_t *walk, uint64_t bytes)
{
    uint64_t left = walk->end - walk->offset;

    walk->offset += bytes < left ? bytes : left;
}

uint64_t afpa_walk_entries(uint64_t size, uint32_t chunk_size)
{
    return size == 0 ? 1 : (size - 1) / chunk_size + 1;
}
