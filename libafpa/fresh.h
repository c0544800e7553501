/* SPDX-License-Identifier: Apache-2.0
 *
 * Freshness of objects: see fresh.c.
 */
#ifndef AFPA_FRESH_H
#define AFPA_FRESH_H

#include <stdbool.h>
#include <stdint.h>

#include <afpa/cache.h>

#include "segment.h"

/* What may be done with an object by its age.  Lock-free.  AFPA_OK, AFPA_CHECK_DUE or AFPA_STALE. */
afpa_status_t afpa__fresh_judge(afpa__object_shared_t *object, uint32_t revalidate_ms);

/* What a look-up may do with a held object: as judged, but AFPA_OK where a check is due and can be made
 * at once; then *checked says whether the object was stale. */
afpa_status_t afpa__fresh_lookup(afpa_cache_t *cache, uint32_t object, uint32_t revalidate_ms, bool *checked);

/* Compares a held object with its file.  May block.  AFPA_OK; AFPA_CHANGED: it was retired. */
afpa_status_t afpa__fresh_check(afpa_cache_t *cache, uint32_t object, const char *path);

/* Retires a held object, if nobody else did. */
void afpa__fresh_retire(afpa_cache_t *cache, uint32_t object);

#endif
