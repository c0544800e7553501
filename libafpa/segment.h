/* SPDX-License-Identifier: Apache-2.0
 *
 * Layout of the shared segment, and one process's mapping of it.
 *
 * Types whose name ends in _shared lie in the segment: no pointers, no sizes that depend on the process, every index checked
 * before it is followed (afpa__object_at and its like return NULL for one that is out of range).
 * What look-ups read without a lock is _Atomic; everything else says which lock covers it.
 *
 *   header | owners | shards | space | buckets | ghosts | uses | objects | entries | groups | chunks | data … | ledger rows …
 *   '---------------------- `size` bytes at most, reserved at creation ------------------------------------' '- sparse -'
 */
#ifndef AFPA_SEGMENT_H
#define AFPA_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/cache.h>
#include <afpa/counters.h>
#include <afpa/inspect.h>
#include <afpa/zone.h>

#include "assert.h"
#include "lock.h"

#define AFPA_LAYOUT_VERSION 7u
#define AFPA_MAGIC UINT64_C(0x0a31617066610d89) /* line ends and a high bit in it, so that a text transfer shows */
#define AFPA_NONE UINT32_MAX
#define AFPA_OWNERS 256u /* httpd's prefork has 150 processes by default, two generations overlap on reload */
#define AFPA_SHARDS 16u
#define AFPA_GROUP 8u /* pin entries per group: 512 KB of a file at 64 KB per chunk */
#define AFPA_CACHE_LINE 64u
#define AFPA_UNITS 64u            /* run units of a chunk: one bit each of a 64-bit word */
#define AFPA_SLOTS 1024u          /* most slots a chunk is carved into */
#define AFPA_WINDOWS 64u          /* parts of a ledger row */
#define AFPA_CLASSES 57u          /* slot sizes from chunk/1024 to chunk/8, eight steps per doubling: see chunk.c */
#define AFPA_REFERENCE_MIN 32768u /* below, pages are shared between payloads and nothing may be sent by reference */

/* Phases of an object.  1 → 2 → 3 → 0; 1 → 0 when it lost the race to be inserted.  See object.c. */
typedef enum afpa__phase { AFPA__PHASE_FREE, AFPA__PHASE_NEW, AFPA__PHASE_LIVE, AFPA__PHASE_RETIRED } afpa__phase_t;

/* States of a pin entry.  See pin.c. */
typedef enum afpa__pin_state { AFPA__EMPTY, AFPA__FILLING, AFPA__PINNED, AFPA__DRAINING } afpa__pin_state_t;

typedef enum afpa__queue_id { AFPA__QUEUE_NONE, AFPA__QUEUE_SMALL, AFPA__QUEUE_MAIN, AFPA__QUEUES } afpa__queue_id_t;

typedef enum afpa__chunk_kind { AFPA__CHUNK_FREE, AFPA__CHUNK_SLOTS, AFPA__CHUNK_RUNS } afpa__chunk_kind_t;

/* Written once at creation, but for the part after `checksum`. */
typedef struct afpa__header_shared {
    uint64_t magic;
    uint32_t layout_version, chunk_size;
    uint64_t size, file_size;
    uint64_t seed; /* of the key hash, random per segment: nobody can aim at one bucket */
    uint64_t creation_id;
    char name[40];
    uint64_t checksum; /* over all of the above */
    _Atomic uint32_t ready, enabled, pinned, broken;
    _Atomic uint32_t owner_high; /* one past the highest slot ever used */
    uint32_t unused;
    _Atomic uint64_t gone[AFPA_COUNTER_LIMIT]; /* counts of owners that left */
} afpa__header_shared_t;

/* Slot of a process.  Whoever holds the OFD lock on the slot's byte may write it; the counters are its process's alone. */
typedef struct afpa__owner_shared {
    _Alignas(64) _Atomic uint32_t used;
    _Atomic uint32_t pid;
    char kind[16];
    _Atomic uint64_t windows;       /* parts of the ledger row that have memory, one bit each */
    _Atomic uint64_t pid_namespace; /* its inode; 0: not known.  See owner.c */
    _Alignas(64) _Atomic uint64_t counters[AFPA_COUNTER_LIMIT];
} afpa__owner_shared_t;

/* Covers the buckets of the shard, and the step between the phases live and retired of its objects. */
typedef struct afpa__shard_shared {
    _Alignas(64) afpa__lock_t lock;
} afpa__shard_shared_t;

/* Chain of objects; version is odd while a writer is at it. */
typedef struct afpa__bucket_shared {
    _Atomic uint32_t version, head;
} afpa__bucket_shared_t;

/* 128 bytes.  hash, hash_next, phase, frequency, last_check and check_claim are read or written without a lock;
 * identity, key, entries and group are constant from phase live on; the rest is under the space lock. */
typedef struct afpa__object_shared {
    _Atomic uint64_t hash;
    _Atomic uint32_t hash_next;
    _Atomic uint8_t phase, frequency;
    uint8_t kind, queue;
    uint32_t key_chunk, key_offset, key_length, entries;
    afpa_identity_t identity;
    _Atomic uint64_t last_check;  /* ms, monotonic */
    _Atomic int64_t hits;         /* to be added to the ledgers' hits: see owner.c */
    uint64_t bytes;               /* payload in memory */
    uint32_t next, previous;      /* in the queue, or next in the free list */
    uint32_t group;               /* first group of entries 1 and up */
    _Atomic uint32_t check_claim; /* ms: when a revalidation was last handed out */
    uint32_t made;                /* s, monotonic */
    uint16_t owner;               /* slot, in phase new */
    uint8_t local;                /* its file is on a file system of this machine: see fresh.c; constant from phase live on */
    uint8_t young;                /* its file was, when it was opened: see afpa__identity_young(); constant from phase live on */
} afpa__object_shared_t;

/* 32 bytes.  word is the pin protocol's; chunk, offset and length are constant while PINNED or DRAINING, and the filler's while
 * FILLING, but change only under the space lock. */
typedef struct afpa__entry_shared {
    _Atomic uint64_t word;
    uint32_t chunk, offset, length;
    _Atomic uint8_t referenced; /* its pages may still be in a socket after the last unpin */
    uint8_t draining;           /* linked in the draining list; space lock */
    uint16_t unused;
    uint32_t next; /* in the draining list; space lock */
    uint32_t object;
} afpa__entry_shared_t;

/* Space lock. */
typedef struct afpa__chunk_shared {
    uint32_t next, previous;
    uint8_t kind, class_id;
    uint16_t used; /* slots or units taken */
    uint32_t unused;
    uint64_t holes;                   /* units whose pages tmpfs had no room for when they were to come back */
    uint64_t bitmap[AFPA_SLOTS / 64]; /* taken slots; of a chunk with runs the first word, one bit per unit */
} afpa__chunk_shared_t;

typedef struct afpa__queue_shared {
    uint32_t head, tail; /* newest, oldest */
    uint64_t count, bytes;
} afpa__queue_shared_t;

/* The writers' state besides the index: allocator, queues, draining list.  All of it can be derived again from objects and
 * entries, and is, after a process died in the middle of it (space rebuild). */
typedef struct afpa__space_shared {
    _Alignas(64) afpa__lock_t lock;
    uint32_t free_chunk, free_object, free_group, draining;
    uint64_t free_chunks, free_objects, free_groups;
    uint64_t bytes_used;           /* of the data section: units and slots taken */
    uint32_t holed;                /* chunks with holes */
    uint32_t slots[AFPA_CLASSES];  /* chunks of the class with a free slot */
    uint32_t runs[AFPA_UNITS + 1]; /* chunks with runs, by their longest free run */
    afpa__queue_shared_t queue[AFPA__QUEUES];
    uint64_t bytes_cached;
    uint32_t ghost_clock;
    _Atomic uint32_t fill_waiters; /* threads that wait for somebody's fill, or died at it; not under the lock */
} afpa__space_shared_t;

/* Where everything lies, from (size, chunk_size) alone; never read from the segment. */
typedef struct afpa__layout {
    uint64_t size, file_size;
    uint32_t chunk_size, chunk_shift;
    uint32_t objects, groups, entries, chunks, buckets, ghosts, uses;
    uint64_t owners_at, shards_at, space_at, buckets_at, ghosts_at, uses_at, objects_at, entries_at, groups_at, chunks_at;
    uint64_t data_at, data_length, ledger_at, ledger_row, ledger_window;
    uint32_t window_entries; /* cells per window */
} afpa__layout_t;

/* A process's mapping. */
typedef struct afpa__segment {
    afpa__layout_t layout;
    int fd;
    char *base;
    afpa__header_shared_t *header;
    afpa__owner_shared_t *owners;
    afpa__shard_shared_t *shards;
    afpa__space_shared_t *space;
    afpa__bucket_shared_t *buckets;
    _Atomic uint64_t *ghosts;
    _Atomic uint32_t *uses;
    afpa__object_shared_t *objects;
    afpa__entry_shared_t *entries;
    uint32_t *groups; /* next group */
    afpa__chunk_shared_t *chunks;
    char *data;
    uint64_t device, inode;
} afpa__segment_t;

/* A cell of a ledger: the pin count in the low half, in entries that begin an object its hits in the high half, so that one
 * atomic addition does both. */
typedef _Atomic uint64_t afpa__cell_t;
#define AFPA__PIN_ONE UINT64_C(1)
#define AFPA__HIT_ONE (UINT64_C(1) << 32)

/* false: the sizes make no segment (too small, too large, chunk not a power of two in range). */
bool afpa__layout_compute(afpa__layout_t *layout, uint64_t size, uint32_t chunk_size);

/* Maps `fd`, which must have layout->file_size bytes.  Errors name `path`. */
afpa_status_t afpa__segment_map(afpa__segment_t *segment, const afpa__layout_t *layout, int fd, const char *path,
                                afpa_error_t *error);
void afpa__segment_unmap(afpa__segment_t *segment);

/* Gives the pages of a range of the segment their memory; what has some keeps it.  false: errno says why, ENOSPC: tmpfs is full. */
bool afpa__segment_reserve(const afpa__segment_t *segment, uint64_t at, uint64_t length);

/* Fills a segment of zero bytes: header, locks, free lists. */
void afpa__segment_format(afpa__segment_t *segment, const char *name);

/* Checks the header of an open file against its size, and gives the layout it must have.
 * AFPA_INVALID: the error says what is wrong with it ("has layout version 3, this release has 7"). */
afpa_status_t afpa__segment_examine(int fd, const char *path, afpa__layout_t *layout, afpa_error_t *error);

/* The segment is damaged beyond what a shard or the allocator can mend: everyone bypasses it, the next server start replaces it. */
void afpa__segment_break(afpa__segment_t *segment, const char *why);

/* Whether it is.  Nothing of it is given out or taken back any more then: see space.c. */
static inline bool afpa__segment_broken(const afpa__segment_t *s)
{
    return atomic_load_explicit(&s->header->broken, memory_order_relaxed) != 0;
}

/* What was stored before is in memory before what is stored after, for who looks when this process has died in between.  That is the
 * compiler's order: what a process has stored its death does not take back. */
static inline void afpa__store_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

static inline afpa__object_shared_t *afpa__object_at(const afpa__segment_t *s, uint32_t object)
{
    return object < s->layout.objects ? &s->objects[object] : NULL;
}

static inline afpa__entry_shared_t *afpa__entry_at(const afpa__segment_t *s, uint32_t entry)
{
    return entry < s->layout.entries ? &s->entries[entry] : NULL;
}

static inline afpa__cell_t *afpa__ledger_row(const afpa__segment_t *s, uint32_t slot)
{
    return (afpa__cell_t *)(void *)(s->base + s->layout.ledger_at + s->layout.ledger_row * slot);
}

/* Bytes of the data section from (chunk, offset); NULL if that is not within it. */
static inline char *afpa__data_at(const afpa__segment_t *s, uint32_t chunk, uint32_t offset, uint32_t length)
{
    if (chunk >= s->layout.chunks || offset > s->layout.chunk_size || length > s->layout.chunk_size - offset)
        return NULL;
    return s->data + ((uint64_t)chunk << s->layout.chunk_shift) + offset;
}

#endif
