/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking into a segment: for afpactl and for status pages.  Nothing here but the two calls at the end needs an owner slot, holds
 * a pin or takes a lock, and nothing trusts the segment's content: every index is checked before it is followed, what is shown is
 * a copy.
 * Values of objects in use by others are a snapshot and may be a moment old.
 */
#ifndef AFPA_INSPECT_H
#define AFPA_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <afpa/cache.h>
#include <afpa/counters.h>
#include <afpa/status.h>
#include <afpa/zone.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Room for the longest key of an object, a path or a response entry's, with a NUL. */
#define AFPA_PATH_MAX 4096

typedef struct afpa_stat {
    uint32_t layout_version;
    uint64_t size;   /* bytes given at creation */
    uint64_t memory; /* bytes of tmpfs the segment takes now, ledgers included */
    bool pinned, enabled;
    uint64_t objects, response_entries;
    uint64_t draining;     /* objects retired and waiting for their last pin */
    uint64_t bytes_cached; /* payload */
    uint64_t bytes_free;   /* of the data section: whole free chunks and free slots */
    uint64_t pins;         /* sum of all ledgers */
    uint32_t owners, owners_limit;
    uint64_t counters[AFPA_COUNTER_LIMIT];
} afpa_stat_t;

/* Totals of the zone; walks its tables. */
void afpa_inspect_stat(afpa_zone_t *zone, afpa_stat_t *stat);

/* Sets all counters to zero.  What is counted meanwhile may be lost. */
void afpa_inspect_reset(afpa_zone_t *zone);

typedef struct afpa_owner_info {
    uint32_t slot;
    pid_t pid;
    char kind[16];
    uint64_t pins;
    bool alive;
} afpa_owner_info_t;

/* The owner in slot `slot`.  AFPA_NOT_FOUND: free, or no such slot (see afpa_stat_t.owners_limit). */
afpa_status_t afpa_inspect_owner(afpa_zone_t *zone, uint32_t slot, afpa_owner_info_t *info);

typedef enum afpa_object_kind { AFPA_KIND_FILE = 1, AFPA_KIND_RESPONSE = 2 } afpa_object_kind_t;

typedef struct afpa_object_info {
    uint32_t object; /* index of the record */
    afpa_object_kind_t kind;
    const char *state;        /* phase: "new", "live", "retired"; static storage */
    char path[AFPA_PATH_MAX]; /* its key, NUL-terminated: a path; of a response entry URL, server and Accept-Encoding */
    size_t path_len;
    afpa_identity_t identity;
    uint32_t entries, entries_pinned;
    uint64_t bytes; /* payload in memory */
    uint64_t hits;
    double age, checked; /* seconds since it was made; since its last check, 0 of a response entry */
    uint64_t pins;       /* of its whole pin array */
    uint32_t frequency;  /* S3-FIFO, 0–3 */
    const char *queue;   /* "small", "main", "none" */
} afpa_object_info_t;

/* Copies the object at *cursor or the next one after it into *info and moves *cursor behind it; start with 0.
 * AFPA_NOT_FOUND: no more. */
afpa_status_t afpa_inspect_next(afpa_zone_t *zone, uint32_t *cursor, afpa_object_info_t *info);

/* The live object of a path.  AFPA_NOT_FOUND: not cached. */
afpa_status_t afpa_inspect_path(afpa_zone_t *zone, const char *path, size_t len, afpa_object_info_t *info);

typedef struct afpa_entry_info {
    const char *state; /* "empty", "filling", "pinned", "draining"; static storage */
    uint64_t generation;
    uint64_t pins;
    uint32_t length;  /* bytes in memory, 0 if empty */
    int64_t chunk;    /* number of the chunk it lies in, -1 if none */
    uint64_t offset;  /* of its bytes in the data section */
    const void *data; /* mapped; another process may free or rewrite it at any time.  NULL if there is none */
} afpa_entry_info_t;

/* Pin entry `index` of an object.  AFPA_NOT_FOUND: the object has no such entry (any more). */
afpa_status_t afpa_inspect_entry(afpa_zone_t *zone, uint32_t object, uint32_t index, afpa_entry_info_t *info);

/* Copies the header block of a response entry, as it was captured, and ends it with a NUL.
 * AFPA_NOT_FOUND: no such response entry (any more).  AFPA_NO_SPACE: longer than size - 1. */
afpa_status_t afpa_inspect_header(afpa_zone_t *zone, uint32_t object, char *header, size_t size);

/* Receives one problem in words. */
typedef void afpa_problem_fn(void *context, const char *problem);

/* Holds every invariant of the segment against its content, under the writers' locks: lists and bitmaps against the pin
 * entries that use them, hash chains, queues, ledgers of dead processes.  First mends what a process that died under one of these
 * locks left.  Writers wait meanwhile; look-ups do not.  A lock that cannot be had within some seconds is a problem, too.
 * Calls fn for each problem, up to a thousand; returns their number. */
size_t afpa_inspect_verify(afpa_zone_t *zone, afpa_problem_fn *fn, void *context);

/* Compares each cached byte of each live object with the file, holding it meanwhile.  An object whose file has changed since its
 * last check is no problem, only stale.  Needs a slot, hence a cache.  Returns the number of problems. */
size_t afpa_inspect_verify_content(afpa_cache_t *cache, afpa_problem_fn *fn, void *context);

#ifdef __cplusplus
}
#endif
#endif
