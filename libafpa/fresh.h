/* SPDX-License-Identifier: Apache-2.0
 *
 * Freshness of objects: see fresh.c.
 */
#ifndef AFPA_FRESH_H
#define AFPA_FRESH_H

#include <stdbool.h>
#include <stdint.h>

#include <afpa/cache.h>

#include "cache.h"
#include "clock.h"
#include "segment.h"

/* What may be done with an object by its age.  Lock-free.  AFPA_OK, AFPA_CHECK_DUE or AFPA_STALE. */
afpa_status_t afpa__fresh_judge(afpa__object_shared_t *object, uint32_t revalidate_ms);

/* Milliseconds since its last check.  The clock is read last: a check in the future is damage, and wraps to a great age. */
static inline uint64_t afpa__fresh_age(const afpa__object_shared_t *object)
{
    uint64_t checked = atomic_load_explicit(&object->last_check, memory_order_acquire);

    return afpa__now_ms() - checked;
}

/* Whether the last check is so recent that none is due yet: less than half of the time has passed. */
static inline bool afpa__fresh_recent(uint64_t age, uint32_t revalidate_ms)
{
    return age < ((uint64_t)revalidate_ms + 1) / 2;
}

/* afpa__fresh_lookup() for an object whose last check is not recent. */
afpa_status_t afpa__fresh_due(afpa_cache_t *cache, uint32_t object, uint32_t revalidate_ms, bool *checked);

/* What a look-up may do with a held object: as afpa__fresh_judge(), but AFPA_OK where a check was due, could be made at once and
 * found no difference.  *checked: so it was, and the object had been stale. */
static inline afpa_status_t afpa__fresh_lookup(afpa_cache_t *cache, uint32_t object, uint32_t revalidate_ms, bool *checked)
{
    *checked = false;
    if (afpa__fresh_recent(afpa__fresh_age(&cache->segment->objects[object]), revalidate_ms))
        return AFPA_OK;
    return afpa__fresh_due(cache, object, revalidate_ms, checked);
}

/* Compares a held object with its file.  May block.  AFPA_OK; AFPA_CHANGED: it was retired. */
afpa_status_t afpa__fresh_check(afpa_cache_t *cache, uint32_t object, const char *path);

/* Retires a held object, if nobody else did. */
void afpa__fresh_retire(afpa_cache_t *cache, uint32_t object);

#endif
