/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects and their pin arrays: see object.c.
 */
#ifndef AFPA_OBJECT_H
#define AFPA_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "evict.h"
#include "segment.h"

/* A walk over a pin array; at.entry is AFPA_NONE at the end, or where the chain is not sound. */
typedef struct afpa__cursor {
    const afpa__segment_t *segment;
    uint32_t object, index, group, entry;
} afpa__cursor_t;

void afpa__cursor_start(afpa__cursor_t *at, const afpa__segment_t *segment, uint32_t object, uint32_t index);
void afpa__cursor_next(afpa__cursor_t *at);

/* The entry at `index` of the object's pin array; AFPA_NONE: it has none there. */
uint32_t afpa__object_entry(const afpa__segment_t *segment, uint32_t object, uint32_t index);

/* Bytes of the file that entry `index` stands for. */
uint32_t afpa__object_length(const afpa__segment_t *segment, const afpa__object_shared_t *object, uint32_t index);

/* The key; NULL if the record is not sound. */
const char *afpa__object_key(const afpa__segment_t *segment, const afpa__object_shared_t *object);

/* The same as a path of its own, with a zero behind it.  false: the record is not sound. */
bool afpa__object_path(const afpa__segment_t *segment, const afpa__object_shared_t *object, char path[AFPA_PATH_MAX]);

/* Phase 0 → 1: a record with key, identity and an empty pin array.  Takes the space lock; gives up `what` if it must.  With
 * AFPA__EVICT_NOTHING there must be free chunks for all whole chunks of the file, too.  AFPA_NONE: no room. */
uint32_t afpa__object_make(afpa__segment_t *segment, uint32_t slot, uint64_t hash, const char *key, size_t length,
                           const afpa_identity_t *identity, afpa__evict_t what);

/* The same with AFPA__EVICT_OBJECTS. */
uint32_t afpa__object_new(afpa__segment_t *segment, uint32_t slot, uint64_t hash, const char *key, size_t length,
                          const afpa_identity_t *identity);

/* Phase 1 → 0, under the space lock. */
void afpa__object_discard(afpa__segment_t *segment, uint32_t object);

/* Phase 1 → 2.  Under its shard's lock; takes the space lock. */
void afpa__object_publish(afpa__segment_t *segment, uint32_t object);

/* Phase 2 → 3: out of the index, and freed as soon as nobody holds it.  Under its shard's lock and the space lock. */
void afpa__object_retire(afpa__segment_t *segment, uint32_t object);

/* Phase 3 → 0 if nobody holds it.  Under the space lock.  false: somebody does. */
bool afpa__object_free(afpa__segment_t *segment, uint32_t object);

/* A look-up found it.  Read first: the frequency of an object in use is at its most, and then nothing shared is written. */
static inline void afpa__object_used(afpa__object_shared_t *object)
{
    uint8_t frequency = atomic_load_explicit(&object->frequency, memory_order_relaxed);

    if (frequency < 3)
        atomic_store_explicit(&object->frequency, (uint8_t)(frequency + 1), memory_order_relaxed);
}

/* FILLING or DRAINING → EMPTY: gives the room back.  Under the space lock. */
void afpa__entry_free(afpa__segment_t *segment, uint32_t entry);

#endif
