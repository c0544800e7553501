/* SPDX-License-Identifier: Apache-2.0
 *
 * See fake_cache.h.  Misuse of the cache by the code under test fails the test right here.
 */
#include <stdlib.h>
#include <string.h>

#include <afpa/walk.h>
#include <afpa/zone.h>

#include "check_main.h"
#include "fake_cache.h"

#define NO_ENTRY UINT32_MAX
#define POISON 0x5a

struct afpa_zone {
    uint32_t chunk_size;
};

void fake_cache_begin(fake_cache_t *cache, uint64_t size, uint32_t chunk_size)
{
    memset(cache, 0, sizeof(*cache));
    cache->chunk_size = chunk_size;
    cache->by_reference = true;
    cache->identity.size = size;
    cache->entries_count = (uint32_t)afpa_walk_entries(size, chunk_size);
    CHECK_THAT(cache->entries_count <= FAKE_ENTRIES_MAX);
    cache->entries = calloc(cache->entries_count, sizeof(*cache->entries));
    cache->zone = malloc(sizeof(*cache->zone));
    cache->zone->chunk_size = chunk_size;
}

void fake_cache_end(fake_cache_t *cache)
{
    CHECK_THAT(cache->pins == 0);
    CHECK_THAT(cache->refs == 0);
    free(cache->room);
    for (size_t i = 0; i < cache->graves; i++)
        free(cache->graveyard[i]);
    free(cache->graveyard);
    free(cache->entries);
    free(cache->zone);
}

char fake_cache_byte(uint64_t offset)
{
    return (char)((offset * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static uint32_t entry_length(const fake_cache_t *cache, uint32_t index)
{
    uint64_t left = cache->identity.size - (uint64_t)index * cache->chunk_size;

    return left < cache->chunk_size ? (uint32_t)left : cache->chunk_size;
}

static void memory_set(const fake_cache_t *cache, uint32_t index, char *memory)
{
    for (uint32_t i = 0; i < entry_length(cache, index) && !cache->blank; i++)
        memory[i] = fake_cache_byte((uint64_t)index * cache->chunk_size + i);
}

static char *memory_new(const fake_cache_t *cache, uint32_t index)
{
    uint32_t length = entry_length(cache, index);
    char *memory = malloc(length ? length : 1);

    memory_set(cache, index, memory);
    return memory;
}

static char *memory_of_neighbour(fake_cache_t *cache, uint32_t index)
{
    char *memory;

    if (!cache->room)
        cache->room = malloc(cache->identity.size ? cache->identity.size : 1);
    memory = cache->room + (uint64_t)index * cache->chunk_size;
    memory_set(cache, index, memory);
    return memory;
}

/* Spoiled now, freed at the end, so that a late reader gets wrong bytes rather than a crash. */
static void memory_bury(fake_cache_t *cache, char *memory, uint32_t length)
{
    if (!cache->blank)
        memset(memory, POISON, length);
    if (cache->room && memory >= cache->room && memory < cache->room + cache->identity.size)
        return;
    if (cache->blank) {
        free(memory);
        return;
    }
    cache->graveyard = realloc(cache->graveyard, (cache->graves + 1) * sizeof(char *));
    cache->graveyard[cache->graves++] = memory;
}

void fake_cache_fill_all(fake_cache_t *cache)
{
    for (uint32_t i = 0; i < cache->entries_count; i++)
        cache->entries[i].in_memory = true;
}

void fake_cache_evict(fake_cache_t *cache, uint32_t index)
{
    if (cache->entries[index].pins == 0)
        cache->entries[index].in_memory = false;
}

afpa_ref_t fake_cache_hold(fake_cache_t *cache)
{
    cache->refs++;
    return (afpa_ref_t){.cache = cache};
}

/* ---- the calls of afpa/cache.h ---- */

afpa_zone_t *afpa_cache_zone(const afpa_cache_t *cache)
{
    return cache->zone;
}

int afpa_zone_fd(const afpa_zone_t *zone)
{
    return -1;
}

uint32_t afpa_zone_chunk_size(const afpa_zone_t *zone)
{
    return zone->chunk_size;
}

const afpa_identity_t *afpa_ref_identity(const afpa_ref_t *ref)
{
    return &ref->cache->identity;
}

void afpa_cache_release(afpa_ref_t *ref)
{
    if (ref->cache) {
        CHECK_THAT(ref->cache->refs > 0);
        ref->cache->refs--;
    }
    ref->cache = NULL;
}

void afpa_cache_count(afpa_cache_t *cache, afpa_counter_t counter)
{
    cache->counts[counter]++;
}

static void pins_raise(fake_cache_t *cache)
{
    cache->pins++;
    if (cache->pins > cache->pins_max)
        cache->pins_max = cache->pins;
}

afpa_status_t afpa_cache_pin(const afpa_ref_t *ref, uint32_t index, afpa_pin_mode_t mode, afpa_extent_t *extent)
{
    fake_cache_t *cache = ref->cache;
    fake_entry_t *entry;

    CHECK_THAT(cache);
    CHECK_THAT(index < cache->entries_count);
    extent->cache = NULL;
    entry = &cache->entries[index];
    if (!entry->in_memory)
        return AFPA_EMPTY;
    if (!entry->memory)
        entry->memory = cache->neighbours ? memory_of_neighbour(cache, index) : memory_new(cache, index);
    entry->pins++;
    pins_raise(cache);
    cache->references_asked += mode == AFPA_PIN_REFERENCE;
    *extent = (afpa_extent_t){.cache = cache,
                              .data = entry->memory,
                              .file_offset = FAKE_FILE_BASE + (uint64_t)index * cache->chunk_size,
                              .length = entry_length(cache, index),
                              .entry = index,
                              .by_reference = mode == AFPA_PIN_REFERENCE && cache->by_reference};
    return AFPA_OK;
}

void afpa_cache_unpin(afpa_extent_t *extent)
{
    fake_cache_t *cache = extent->cache;
    fake_entry_t *entry;

    extent->cache = NULL;
    if (!cache)
        return;
    CHECK_THAT(cache->pins > 0);
    cache->pins--;
    if (extent->entry == NO_ENTRY) {
        memory_bury(cache, (char *)(uintptr_t)extent->data, extent->length);
        return;
    }
    entry = &cache->entries[extent->entry];
    CHECK_THAT(entry->pins > 0);
    if (--entry->pins == 0) {
        memory_bury(cache, entry->memory, extent->length);
        entry->memory = NULL;
    }
}

afpa_status_t afpa_cache_fill(const afpa_ref_t *ref, uint32_t index, uint32_t count)
{
    fake_cache_t *cache = ref->cache;

    CHECK_THAT(cache && cache->refs > 0);
    CHECK_THAT(index < cache->entries_count);
    CHECK_THAT(count > 0);
    cache->fills++;
    if (cache->fail_at > 0 && cache->fills >= cache->fail_at)
        return cache->fail_status;
    if (index + count > cache->filled_end)
        cache->filled_end = index + count;
    if (cache->evictions > 0) {
        cache->evictions--;
        return AFPA_OK;
    }
    for (uint32_t i = index; i < cache->entries_count && i - index < count; i++)
        cache->entries[i].in_memory = true;
    return AFPA_OK;
}

afpa_status_t afpa_cache_read(const afpa_ref_t *ref, uint32_t index, afpa_extent_t *extent)
{
    fake_cache_t *cache = ref->cache;

    CHECK_THAT(cache && cache->refs > 0);
    extent->cache = NULL;
    cache->reads++;
    if (cache->read_status != AFPA_OK)
        return cache->read_status;
    *extent =
        (afpa_extent_t){.cache = cache, .data = memory_new(cache, index), .length = entry_length(cache, index), .entry = NO_ENTRY};
    pins_raise(cache);
    return AFPA_OK;
}

/* ---- executor ---- */

static afpa_status_t on_submit(afpa_executor_t *executor, afpa_job_t *job)
{
    fake_executor_t *fake = (fake_executor_t *)executor;

    if (fake->full)
        return AFPA_NO_SPACE;
    CHECK_THAT(!fake->queued);
    fake->submitted++;
    fake->queued = job;
    if (fake->at_once)
        fake_executor_go(fake);
    return AFPA_OK;
}

void fake_executor_begin(fake_executor_t *executor)
{
    memset(executor, 0, sizeof(*executor));
    executor->base.submit = on_submit;
}

void fake_executor_run(fake_executor_t *executor)
{
    executor->queued->run(executor->queued);
}

void fake_executor_done(fake_executor_t *executor)
{
    afpa_job_t *job = executor->queued;

    executor->queued = NULL;
    job->done(job);
}

void fake_executor_go(fake_executor_t *executor)
{
    fake_executor_run(executor);
    fake_executor_done(executor);
}
