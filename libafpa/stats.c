/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, counters.
 *
 * Each owner counts in cache lines of its own, so that counting costs no traffic between cores; a total is the sum over
 * the owners and the header, where the counts of those that left are kept.
 */
#include "config.h"

#include <stddef.h>

#include "stats.h"

static const struct {
    const char *name, *help;
} rows[AFPA_COUNTER_LIMIT] = {
#define COUNTER(id, name, help) {#name, help},
#define DECLINE(id, name, help) {#name, help},
#include <afpa/counters.def>
};

const char *afpa_counter_name(afpa_counter_t counter)
{
    return (unsigned)counter < AFPA_COUNTER_LIMIT ? rows[counter].name : NULL;
}

const char *afpa_counter_help(afpa_counter_t counter)
{
    return (unsigned)counter < AFPA_COUNTER_LIMIT ? rows[counter].help : NULL;
}

void afpa__stats_count(afpa__segment_t *s, afpa_counter_t counter)
{
    atomic_fetch_add_explicit(&s->header->gone[counter], 1, memory_order_relaxed);
}

void afpa__stats_retire_owner(afpa__segment_t *s, uint32_t slot)
{
    for (unsigned i = 0; i < AFPA_COUNTER_LIMIT; i++)
        atomic_fetch_add(&s->header->gone[i], atomic_exchange(&s->owners[slot].counters[i], 0));
}

uint64_t afpa__stats_total(const afpa__segment_t *s, afpa_counter_t counter)
{
    uint64_t total = atomic_load(&s->header->gone[counter]);

    for (uint32_t slot = 0; slot < AFPA_OWNERS; slot++)
        total += atomic_load_explicit(&s->owners[slot].counters[counter], memory_order_relaxed);
    return total;
}

void afpa__stats_reset(afpa__segment_t *s)
{
    for (unsigned i = 0; i < AFPA_COUNTER_LIMIT; i++) {
        atomic_store(&s->header->gone[i], 0);
        for (uint32_t slot = 0; slot < AFPA_OWNERS; slot++)
            atomic_store(&s->owners[slot].counters[i], 0);
    }
}
