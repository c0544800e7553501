/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting: see stats.c.
 */
#ifndef AFPA_STATS_H
#define AFPA_STATS_H

#include <stdint.h>

#include "segment.h"

/* Adds one for nobody in particular: rare events, and those of owners that are gone. */
void afpa__stats_count(afpa__segment_t *segment, afpa_counter_t counter);

/* Adds one for an owner. */
static inline void afpa__stats_owner_count(afpa__segment_t *s, uint32_t slot, afpa_counter_t counter)
{
    atomic_fetch_add_explicit(&s->owners[slot].counters[counter], 1, memory_order_relaxed);
}

/* Moves an owner's counts to those of owners that are gone. */
void afpa__stats_retire_owner(afpa__segment_t *segment, uint32_t slot);

uint64_t afpa__stats_total(const afpa__segment_t *segment, afpa_counter_t counter);
void afpa__stats_reset(afpa__segment_t *segment);

#endif
