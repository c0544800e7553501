/* SPDX-License-Identifier: Apache-2.0
 *
 * A cache of one object, and an executor, that do as a test tells them: in place of the calls of afpa/cache.h that the send
 * machine makes.  Linked instead of cache.c.
 *
 * Memory whose last pin goes is overwritten at once, so bytes that somebody still needs do not survive.
 */
#ifndef AFPA_FAKE_CACHE_H
#define AFPA_FAKE_CACHE_H

#include <afpa/cache.h>
#include <afpa/executor.h>

#define FAKE_ENTRIES_MAX (1u << 15)
#define FAKE_FILE_BASE UINT64_C(0x100000) /* of the data section in the pretended segment file */

typedef struct fake_entry {
    bool in_memory;
    unsigned pins;
    char *memory;
} fake_entry_t;

/* The type behind afpa_cache_t in programs linked with the fake. */
typedef struct afpa_cache {
    /* Told: */
    uint32_t chunk_size;
    bool blank;                /* memory without content, for objects too large to have any */
    bool by_reference;         /* grant it */
    bool neighbours;           /* the chunks lie one behind the other in memory, as they always do in the pretended file */
    unsigned evictions;        /* so many fills from now on whose chunks are gone again before they can be pinned */
    unsigned fail_at;          /* this fill, counted from 1, and all later ones return fail_status; 0: none */
    afpa_status_t fail_status; /* of fills */
    afpa_status_t read_status; /* of reads for one reply alone */
    /* Seen: */
    unsigned refs, pins, pins_max, fills, reads, references_asked;
    unsigned counts[AFPA_COUNTER_LIMIT];
    uint32_t filled_end; /* one past the last entry ever asked for */
    /* Its own: */
    afpa_zone_t *zone;
    afpa_identity_t identity;
    char *room; /* for neighbours */
    fake_entry_t *entries;
    uint32_t entries_count;
    char **graveyard;
    size_t graves;
} fake_cache_t;

/* An object of `size` bytes, nothing of it in memory; grants references, reads succeed. */
void fake_cache_begin(fake_cache_t *cache, uint64_t size, uint32_t chunk_size);
void fake_cache_end(fake_cache_t *cache);

/* Puts all of it in memory; drops an entry if nobody has pinned it. */
void fake_cache_fill_all(fake_cache_t *cache);
void fake_cache_evict(fake_cache_t *cache, uint32_t index);

/* A held ref. */
afpa_ref_t fake_cache_hold(fake_cache_t *cache);

/* The byte at an offset of the object. */
char fake_cache_byte(uint64_t offset);

/* ---- executor ---- */

typedef struct fake_executor {
    afpa_executor_t base;
    afpa_job_t *queued;
    unsigned submitted;
    bool at_once; /* run and done within submit */
    bool full;    /* refuse */
} fake_executor_t;

void fake_executor_begin(fake_executor_t *executor);

/* Runs what is queued, and says so; or only the one or the other. */
void fake_executor_go(fake_executor_t *executor);
void fake_executor_run(fake_executor_t *executor);
void fake_executor_done(fake_executor_t *executor);

#endif
