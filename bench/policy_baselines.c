/* SPDX-License-Identifier: Apache-2.0
 *
 * What our policy is compared with: FIFO, LRU, SIEVE (Zhang et al., NSDI 2024), and S3-FIFO by bytes with the library's own
 * parameters but without its allocator: no slots, no chunks, no paths, exact ghosts.  What lies between that and the library is the
 * allocator's doing; what lies between that and the others is the policy's.
 *
 * All by bytes, all admit whatever is no larger than max_size and the cache.  Objects are told by number, so lists are arrays.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "policy.h"

#define NONE UINT32_MAX
#define SMALL_PERCENT 10u
#define FREQUENCY_MAX 3u

typedef struct list {
    uint32_t newest, oldest, count;
    uint64_t bytes;
} list_t;

typedef enum place { ABSENT, IN_FIRST, IN_MAIN } place_t;

typedef struct cache {
    const policy_trace_t *trace;
    policy_tally_t *tally;
    uint64_t capacity, used;
    uint32_t *newer, *older;
    uint8_t *place, *mark; /* mark: visited, or frequency */
    uint32_t *ghost;       /* clock at which the object left the small queue; 0: never */
    uint32_t ghost_clock, hand;
    list_t first, main;
} cache_t;

/* ---- lists ---- */

static void push(cache_t *c, list_t *list, uint32_t object)
{
    c->older[object] = list->newest;
    c->newer[object] = NONE;
    if (list->newest != NONE)
        c->newer[list->newest] = object;
    else
        list->oldest = object;
    list->newest = object;
    list->count++;
    list->bytes += c->trace->sizes[object];
    c->place[object] = list == &c->main ? IN_MAIN : IN_FIRST;
}

static void unlink_object(cache_t *c, uint32_t object)
{
    list_t *list = c->place[object] == IN_MAIN ? &c->main : &c->first;

    if (c->newer[object] != NONE)
        c->older[c->newer[object]] = c->older[object];
    else
        list->newest = c->older[object];
    if (c->older[object] != NONE)
        c->newer[c->older[object]] = c->newer[object];
    else
        list->oldest = c->newer[object];
    list->count--;
    list->bytes -= c->trace->sizes[object];
    c->place[object] = ABSENT;
}

static void evict(cache_t *c, uint32_t object)
{
    unlink_object(c, object);
    c->used -= c->trace->sizes[object];
}

/* ---- the frame of them all ---- */

static void cache_begin(cache_t *c, const policy_trace_t *trace, uint64_t capacity, policy_tally_t *tally)
{
    *c = (cache_t){.trace = trace, .tally = tally, .capacity = capacity, .hand = NONE};
    c->first = c->main = (list_t){.newest = NONE, .oldest = NONE};
    c->newer = policy_alloc(NULL, trace->objects, sizeof(*c->newer));
    c->older = policy_alloc(NULL, trace->objects, sizeof(*c->older));
    c->ghost = policy_alloc(NULL, trace->objects, sizeof(*c->ghost));
    c->place = policy_alloc(NULL, trace->objects, 1);
    c->mark = policy_alloc(NULL, trace->objects, 1);
    memset(c->ghost, 0, trace->objects * sizeof(*c->ghost));
    memset(c->place, ABSENT, trace->objects);
    memset(c->mark, 0, trace->objects);
    *tally = (policy_tally_t){.requests = trace->count, .bytes = trace->bytes};
}

static void cache_end(cache_t *c)
{
    free(c->newer);
    free(c->older);
    free(c->ghost);
    free(c->place);
    free(c->mark);
}

/* A hit does `touch`; a miss makes room with `make_room`, one object a call, and goes in with `admit`. */
static void run(const policy_trace_t *trace, uint64_t capacity, uint64_t max_size, policy_tally_t *tally,
                void (*touch)(cache_t *, uint32_t), void (*make_room)(cache_t *), void (*admit)(cache_t *, uint32_t))
{
    cache_t c;

    cache_begin(&c, trace, capacity, tally);
    for (uint32_t i = 0; i < trace->count; i++) {
        uint32_t object = trace->requests[i];
        uint64_t size = trace->sizes[object];

        if (c.place[object] != ABSENT) {
            touch(&c, object);
            continue;
        }
        tally->misses++;
        tally->missed_bytes += size;
        if (size > capacity || size > max_size)
            continue;
        while (c.used + size > capacity)
            make_room(&c);
        admit(&c, object);
        c.used += size;
        if (c.used > tally->most)
            tally->most = c.used;
    }
    cache_end(&c);
}

static void admit_first(cache_t *c, uint32_t object)
{
    c->mark[object] = 0;
    push(c, &c->first, object);
}

static void evict_oldest(cache_t *c)
{
    evict(c, c->first.oldest);
}

/* ---- FIFO, LRU ---- */

static void touch_nothing(cache_t *c, uint32_t object)
{
}

void policy_fifo(const policy_trace_t *trace, uint64_t capacity, uint64_t max_size, policy_tally_t *tally)
{
    run(trace, capacity, max_size, tally, touch_nothing, evict_oldest, admit_first);
}

static void touch_renew(cache_t *c, uint32_t object)
{
    unlink_object(c, object);
    push(c, &c->first, object);
}

void policy_lru(const policy_trace_t *trace, uint64_t capacity, uint64_t max_size, policy_tally_t *tally)
{
    run(trace, capacity, max_size, tally, touch_renew, evict_oldest, admit_first);
}

/* ---- SIEVE: a hand goes from old to new, takes marks off, and evicts the first that has none ---- */

static void touch_mark(cache_t *c, uint32_t object)
{
    c->mark[object] = 1;
}

static void sieve_room(cache_t *c)
{
    uint32_t at = c->hand != NONE ? c->hand : c->first.oldest;

    while (c->mark[at]) {
        c->mark[at] = 0;
        at = c->newer[at] != NONE ? c->newer[at] : c->first.oldest;
    }
    c->hand = c->newer[at];
    evict(c, at);
}

void policy_sieve(const policy_trace_t *trace, uint64_t capacity, uint64_t max_size, policy_tally_t *tally)
{
    run(trace, capacity, max_size, tally, touch_mark, sieve_room, admit_first);
}

/* ---- S3-FIFO ---- */

static void touch_count(cache_t *c, uint32_t object)
{
    if (c->mark[object] < FREQUENCY_MAX)
        c->mark[object]++;
}

static void s3fifo_room(cache_t *c)
{
    bool small = c->first.count && (c->first.bytes > c->capacity * SMALL_PERCENT / 100 || !c->main.count);
    uint32_t object = small ? c->first.oldest : c->main.oldest;

    if (small && c->mark[object] > 1) {
        c->mark[object] = 0;
        unlink_object(c, object);
        push(c, &c->main, object);
    } else if (!small && c->mark[object] > 0) {
        c->mark[object]--;
        unlink_object(c, object);
        push(c, &c->main, object);
    } else {
        if (small)
            c->ghost[object] = ++c->ghost_clock;
        evict(c, object);
    }
}

/* A ghost stands for as many evictions from the small queue as there are objects in the cache. */
static void s3fifo_admit(cache_t *c, uint32_t object)
{
    bool ghost = c->ghost[object] && c->ghost_clock - c->ghost[object] <= c->first.count + c->main.count;

    c->mark[object] = 0;
    push(c, ghost ? &c->main : &c->first, object);
}

void policy_s3fifo(const policy_trace_t *trace, uint64_t capacity, uint64_t max_size, policy_tally_t *tally)
{
    run(trace, capacity, max_size, tally, touch_count, s3fifo_room, s3fifo_admit);
}

const policy_baseline_t policy_baselines[POLICY_BASELINES] = {
    {"ideal s3-fifo", policy_s3fifo}, {"fifo", policy_fifo},     {"lru", policy_lru},
    {"sieve", policy_sieve},          {"belady", policy_belady}, {"lower bound", policy_bound},
};
