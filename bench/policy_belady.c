/* SPDX-License-Identifier: Apache-2.0
 *
 * What knows the future.
 *
 * `belady` is MIN (Belady 1966): of what is cached and what was just asked for, those go whose next use is farthest away; what was
 * just asked for may so be served without being cached.  With objects of one size nothing can miss less.  With objects of several
 * sizes it is only a good schedule, which another can beat: it may keep one large object where ten small ones would do more.
 *
 * `lower bound` holds for all sizes.  To hit, an object must stay from one request to its next, which takes its size for that
 * long; a cache of C bytes has C times the number of requests to give.  The cheapest are granted until nothing is left, as if
 * bytes could be borrowed from one moment to another; so no schedule, and no policy, has fewer misses.  (The same argument as
 * PFOO-L: Berger, Beckmann, Harchol-Balter, SIGMETRICS 2018.)  The bound on bytes counts parts of objects, that on objects does
 * not; the two are not reached by one schedule.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "policy.h"

#define NOWHERE UINT32_MAX

/* Cached objects, the one that is used last on top. */
typedef struct heap {
    const policy_trace_t *trace;
    uint32_t *objects, *at; /* at: place of an object in the heap */
    uint32_t *next;         /* by object: its next use */
    uint32_t count;
    uint32_t *victims; /* of the request at hand, in case they are to stay */
    uint64_t used, capacity;
} heap_t;

static void heap_put(heap_t *h, uint32_t place, uint32_t object)
{
    h->objects[place] = object;
    h->at[object] = place;
}

static void heap_up(heap_t *h, uint32_t place)
{
    uint32_t object = h->objects[place];

    for (; place > 0 && h->next[h->objects[(place - 1) / 2]] < h->next[object]; place = (place - 1) / 2)
        heap_put(h, place, h->objects[(place - 1) / 2]);
    heap_put(h, place, object);
}

static void heap_down(heap_t *h, uint32_t place)
{
    uint32_t object = h->objects[place];

    for (uint32_t child = place * 2 + 1; child < h->count; place = child, child = place * 2 + 1) {
        if (child + 1 < h->count && h->next[h->objects[child + 1]] > h->next[h->objects[child]])
            child++;
        if (h->next[h->objects[child]] <= h->next[object])
            break;
        heap_put(h, place, h->objects[child]);
    }
    heap_put(h, place, object);
}

static void heap_push(heap_t *h, uint32_t object)
{
    h->objects[h->count] = object;
    heap_up(h, h->count++);
    h->used += h->trace->sizes[object];
}

static uint32_t heap_pop(heap_t *h)
{
    uint32_t top = h->objects[0], last = h->objects[--h->count];

    h->at[top] = NOWHERE;
    h->used -= h->trace->sizes[top];
    if (h->count > 0) {
        h->objects[0] = last;
        heap_down(h, 0);
    }
    return top;
}

/* Caches the object unless its next use is farther away than that of all that would have to go for it. */
static void admit(heap_t *h, uint32_t object)
{
    uint64_t size = h->trace->sizes[object];
    uint32_t victims = 0;

    while (h->used + size > h->capacity && h->next[h->objects[0]] > h->next[object])
        h->victims[victims++] = heap_pop(h);
    if (h->used + size <= h->capacity) {
        heap_push(h, object);
        return;
    }
    while (victims > 0) /* it is the first to go itself */
        heap_push(h, h->victims[--victims]);
}

void policy_belady(const policy_trace_t *trace, uint64_t capacity, uint64_t max_size, policy_tally_t *tally)
{
    heap_t h = {.trace = trace, .capacity = capacity};

    h.objects = policy_alloc(NULL, trace->objects, sizeof(uint32_t));
    h.at = policy_alloc(NULL, trace->objects, sizeof(uint32_t));
    h.next = policy_alloc(NULL, trace->objects, sizeof(uint32_t));
    h.victims = policy_alloc(NULL, trace->objects, sizeof(uint32_t));
    memset(h.at, 0xff, trace->objects * sizeof(uint32_t));
    *tally = (policy_tally_t){.requests = trace->count, .bytes = trace->bytes};
    for (uint32_t i = 0; i < trace->count; i++) {
        uint32_t object = trace->requests[i];
        uint64_t size = trace->sizes[object];

        h.next[object] = trace->next[i];
        if (h.at[object] != NOWHERE) {
            heap_up(&h, h.at[object]); /* a later use than before */
            continue;
        }
        tally->misses++;
        tally->missed_bytes += size;
        if (size <= capacity && size <= max_size && trace->next[i] != POLICY_NEVER)
            admit(&h, object);
        if (h.used > tally->most)
            tally->most = h.used;
    }
    free(h.objects);
    free(h.at);
    free(h.next);
    free(h.victims);
}

/* ---- the lower bound ---- */

typedef struct stay {
    uint64_t size;
    uint32_t length;
} stay_t;

static int by_cost(const void *a, const void *b)
{
    const stay_t *x = a, *y = b;
    unsigned __int128 left = (unsigned __int128)x->size * x->length, right = (unsigned __int128)y->size * y->length;

    return (left > right) - (left < right);
}

static int by_length(const void *a, const void *b)
{
    const stay_t *x = a, *y = b;

    return (x->length > y->length) - (x->length < y->length);
}

void policy_bound(const policy_trace_t *trace, uint64_t capacity, uint64_t max_size, policy_tally_t *tally)
{
    stay_t *stays = policy_alloc(NULL, trace->count, sizeof(*stays));
    unsigned __int128 room = (unsigned __int128)capacity * trace->count, left = room;
    uint32_t count = 0;

    for (uint32_t i = 0; i < trace->count; i++) {
        uint64_t size = trace->sizes[trace->requests[i]];

        if (trace->next[i] != POLICY_NEVER && size <= capacity && size <= max_size)
            stays[count++] = (stay_t){.size = size, .length = trace->next[i] - i};
    }
    *tally = (policy_tally_t){.requests = trace->count, .bytes = trace->bytes};
    tally->misses = trace->count;
    tally->missed_bytes = trace->bytes;
    qsort(stays, count, sizeof(*stays), by_cost);
    for (uint32_t i = 0; i < count && (unsigned __int128)stays[i].size * stays[i].length <= left; i++) {
        left -= (unsigned __int128)stays[i].size * stays[i].length;
        tally->misses--;
    }
    left = room;
    qsort(stays, count, sizeof(*stays), by_length);
    for (uint32_t i = 0; i < count && left > 0; i++) {
        unsigned __int128 part = left / stays[i].length, whole = stays[i].size;

        tally->missed_bytes -= (uint64_t)(part < whole ? part : whole);
        left = part < whole ? 0 : left - whole * stays[i].length;
    }
    free(stays);
}
