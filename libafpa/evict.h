/* SPDX-License-Identifier: Apache-2.0
 *
 * Eviction and admission: see evict.c.
 */
#ifndef AFPA_EVICT_H
#define AFPA_EVICT_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

/* What may be given up to make room. */
typedef enum afpa__evict {
    AFPA__EVICT_NOTHING, /* what was given up before, and whose last pin has gone since */
    AFPA__EVICT_OBJECTS, /* objects nobody holds */
    AFPA__EVICT_CHUNKS   /* those, and single chunks of objects that are held */
} afpa__evict_t;

/* Makes some room.  Under the space lock.  false: nothing of that kind can be given up. */
bool afpa__evict_one(afpa__segment_t *segment, afpa__evict_t what);

/* afpa__chunk_alloc(), evicting until it succeeds.  Under the space lock. */
bool afpa__room_alloc(afpa__segment_t *segment, uint32_t length, afpa__evict_t what, uint32_t *chunk, uint32_t *offset);

/* Whether the key was evicted from the small queue not long ago.  Under the space lock. */
bool afpa__ghost_has(const afpa__segment_t *segment, uint64_t hash);

/* Counts a request for a key that is not cached, and returns the count; approximate.  No lock. */
uint32_t afpa__uses_add(afpa__segment_t *segment, uint64_t hash);

#endif
