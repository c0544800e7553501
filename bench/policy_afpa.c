/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's side of a replay.  Each request does what a server does with it: look-up; on a miss the worker's open, which asks
 * for admission, evicts and fills; then every chunk is pinned in turn, and those that are not in memory are filled by windows.
 * So index, admission, ghosts, queues, allocator and fill are the library's own; only the files are made up (policy_files.c).
 *
 * Unlike in a server, one request ends before the next begins, so nothing but the object at hand is ever held, and the clock
 * stands still, so nothing is checked anew.  Response entries of the fast path are not made.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include <afpa/send.h>

#include "cache.h"
#include "chunk.h"
#include "clock.h"
#include "policy.h"
#include "segment.h"
#include "zone.h"

#define REVALIDATE_MS 1000u
#define CHUNKS_EVERY 512u

typedef struct side {
    const policy_trace_t *trace;
    policy_afpa_t *afpa;
    afpa_policy_t policy;
    afpa_zone_t *zone;
    afpa_cache_t *cache;
    const afpa__segment_t *segment;
    uint32_t path_cost; /* bytes of the data section that a path takes */
    uint64_t samples, chunk_samples;
} side_t;

static uint64_t standing(void)
{
    return 1000000;
}

/* ---- the zone ---- */

/* The smallest zone whose data section has that many bytes; 0: there is none. */
static uint64_t zone_size(uint64_t data, uint32_t chunk_size)
{
    uint64_t low = AFPA_ZONE_SIZE_MIN, high = data * 8 + low; /* tables are never as large as seven times the data */
    afpa__layout_t layout;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (afpa__layout_compute(&layout, middle, chunk_size) && layout.data_length >= data)
            high = middle;
        else
            low = middle + 1;
    }
    return afpa__layout_compute(&layout, low, chunk_size) ? low : 0;
}

static bool zone_make(side_t *side, const policy_setup_t *setup, policy_error_t *error)
{
    afpa_zone_options_t options;
    afpa_error_t reason;
    char name[AFPA_ZONE_NAME_MAX + 1];

    afpa_zone_options_init(&options);
    snprintf(name, sizeof(name), "policy-%d", (int)getpid());
    options.name = name;
    if (setup->chunk_size)
        options.chunk_size = setup->chunk_size;
    options.size = zone_size(setup->capacity, options.chunk_size);
    options.mlock = AFPA_MLOCK_OFF;
    if (options.size == 0)
        return policy_fail(error, "no zone has a data section of %llu bytes", (unsigned long long)setup->capacity);
    if (afpa_zone_open(&options, &side->zone, &reason) != AFPA_OK)
        return policy_fail(error, "%s", reason.text);
    side->segment = afpa__zone_segment(side->zone);
    if (afpa_cache_attach(side->zone, "policy", &side->cache, &reason) != AFPA_OK)
        policy_fail(error, "%s", reason.text);
    unlink(afpa_zone_path(side->zone)); /* it goes with this process, however that ends */
    if (!side->cache)
        afpa_zone_close(&side->zone);
    return side->cache != NULL;
}

/* ---- a request ---- */

static bool chunk_pinned(const afpa_ref_t *ref, uint32_t index)
{
    afpa_extent_t extent;

    if (afpa_cache_pin(ref, index, AFPA_PIN_COPY, &extent) != AFPA_OK)
        return false;
    afpa_cache_unpin(&extent);
    return true;
}

/* Every chunk, in the order they are sent; entry 0 is in memory.  Returns the bytes that were not, when the request came. */
static uint64_t chunks_pass(const afpa_ref_t *ref, uint64_t size, uint32_t chunk_size)
{
    uint32_t entries = afpa_ref_entries(ref);
    uint64_t missed = 0;

    for (uint32_t index = 1; index < entries; index++)
        if (!chunk_pinned(ref, index))
            missed += index + 1 < entries ? chunk_size : size - (uint64_t)index * chunk_size;
    for (uint32_t index = 1; index < entries && missed > 0; index++)
        if (!chunk_pinned(ref, index))
            afpa_cache_fill(ref, index, AFPA_SEND_WINDOW); /* what does not fit is read by the server itself */
    return missed;
}

static void request(side_t *side, uint32_t object)
{
    policy_tally_t *tally = &side->afpa->tally;
    uint64_t size = side->trace->sizes[object], missed = 0;
    uint32_t chunk_size = side->segment->layout.chunk_size;
    char path[POLICY_PATH];
    size_t length = policy_files_path(object, path);
    afpa_status_t status;
    afpa_counter_t why;
    afpa_ref_t ref;

    status = afpa_cache_lookup(side->cache, path, length, REVALIDATE_MS, &ref);
    if (status == AFPA_MISS) {
        missed = size < chunk_size ? size : chunk_size;
        status = afpa_cache_open(side->cache, path, length, &side->policy, &ref, &why, NULL);
    }
    if (status == AFPA_OK) {
        missed += chunks_pass(&ref, size, chunk_size);
        afpa_cache_release(&ref);
    } else {
        side->afpa->declined++;
        missed = size;
    }
    tally->misses += missed > 0;
    tally->missed_bytes += missed;
}

/* ---- what lies in the data section ---- */

/* Where the free bytes are: a walk over all chunks, so only now and then. */
static void sample_chunks(side_t *side)
{
    const afpa__segment_t *s = side->segment;
    uint64_t unit = s->layout.chunk_size / AFPA_UNITS, runs = 0, whole = s->space->free_chunks * s->layout.chunk_size;

    for (uint32_t chunk = 0; chunk < s->layout.chunks; chunk++)
        if (s->chunks[chunk].kind == AFPA__CHUNK_RUNS)
            runs += (AFPA_UNITS - s->chunks[chunk].used) * unit;
    side->chunk_samples++;
    side->afpa->free_chunks += (double)whole;
    side->afpa->free_runs += (double)runs;
    side->afpa->free_slots += (double)(s->layout.data_length - s->space->bytes_used - whole - runs);
}

static void sample(side_t *side, bool last)
{
    const afpa__space_shared_t *space = side->segment->space;
    policy_afpa_t *a = side->afpa;
    uint64_t objects = space->queue[AFPA__QUEUE_SMALL].count + space->queue[AFPA__QUEUE_MAIN].count;
    uint64_t paths = objects * side->path_cost;

    if (space->bytes_cached > a->tally.most)
        a->tally.most = space->bytes_cached;
    if (last && side->samples > 0)
        return;
    if (side->samples++ % CHUNKS_EVERY == 0)
        sample_chunks(side);
    a->objects += (double)objects;
    a->payload += (double)space->bytes_cached;
    a->paths += (double)paths;
    a->rounding += (double)(space->bytes_used - space->bytes_cached - paths);
}

static void average(side_t *side)
{
    policy_afpa_t *a = side->afpa;
    double *const values[] = {&a->objects, &a->payload, &a->paths, &a->rounding, &a->free_chunks, &a->free_runs, &a->free_slots};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        *values[i] /= (double)(i < 4 ? side->samples : side->chunk_samples);
}

static void say_problem(void *context, const char *problem)
{
    fprintf(stderr, "policy: verify: %s\n", problem);
}

static void finish(side_t *side)
{
    policy_afpa_t *a = side->afpa;
    afpa_stat_t stat;

    sample(side, true);
    average(side);
    afpa_inspect_stat(side->zone, &stat);
    a->fills = stat.counters[AFPA_COUNTER_FILLS];
    a->evictions = stat.counters[AFPA_COUNTER_EVICTIONS];
    a->problems = afpa_inspect_verify(side->zone, say_problem, NULL);
}

bool policy_afpa(const policy_trace_t *trace, const policy_setup_t *setup, policy_afpa_t *afpa, policy_error_t *error)
{
    side_t side = {.trace = trace, .afpa = afpa};
    const _Atomic uint64_t *evictions;
    char path[POLICY_PATH];

    *afpa = (policy_afpa_t){.tally = {.requests = trace->count, .bytes = trace->bytes}};
    side.policy = (afpa_policy_t){.max_size = setup->max_size, .revalidate_ms = REVALIDATE_MS, .min_uses = setup->min_uses};
    if (!zone_make(&side, setup, error))
        return false;
    afpa__clock_set(standing);
    policy_files_set(trace);
    afpa->zone_size = afpa_zone_size(side.zone);
    afpa->data_length = side.segment->layout.data_length;
    afpa->records = side.segment->layout.objects;
    side.path_cost = afpa__chunk_cost(side.segment, (uint32_t)policy_files_path(0, path));
    evictions = &side.segment->header->gone[AFPA_COUNTER_EVICTIONS];
    for (uint32_t i = 0; i < trace->count; i++) {
        request(&side, trace->requests[i]);
        if (atomic_load_explicit(evictions, memory_order_relaxed) > 0)
            sample(&side, false);
    }
    finish(&side);
    policy_files_set(NULL);
    afpa__clock_set(NULL);
    afpa_cache_detach(&side.cache);
    afpa_zone_close(&side.zone);
    return true;
}
