/* SPDX-License-Identifier: Apache-2.0
 *
 * One process's use of a zone: look up, open, pin, fill, check.
 *
 * The loop calls afpa_cache_lookup() and afpa_cache_pin(), which take no lock, wait for nothing and touch no disk.  They make
 * system calls only when a check is due, or when this process needs another piece of its ledger.
 * Workers call afpa_cache_open(), afpa_cache_fill(), afpa_cache_read() and afpa_cache_check(), which take locks and may block.
 *
 *     lookup ── OK ─────────────► ref ─► pin ─► send ─► unpin ─► release
 *        │                         ▲      │
 *        └─ MISS, STALE ─► (worker) open   └─ EMPTY ─► (worker) fill ─► pin
 *
 * An afpa_cache_t may be used by all threads of the process at once.  A ref or an extent belongs to one holder: it may move from
 * one thread to another, but must not be used by two at a time.
 */
#ifndef AFPA_CACHE_H
#define AFPA_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <afpa/counters.h>
#include <afpa/executor.h>
#include <afpa/options.h>
#include <afpa/status.h>
#include <afpa/zone.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct afpa_cache afpa_cache_t;

/* What a file is known by.  Two files with the same identity have the same content as far as stat() can tell. */
typedef struct afpa_identity {
    uint64_t device, inode, size;
    int64_t mtime_sec, ctime_sec;
    uint32_t mtime_nsec, ctime_nsec;
} afpa_identity_t;

/* A held object: as long as it is held, its record and its first chunk stay.  A value: to assign it is to move it, and only one of
 * the two may be released; afpa_cache_ref_copy() makes a second hold. */
typedef struct afpa_ref {
    afpa_cache_t *cache; /* NULL: holds nothing */
    uint32_t object;     /* index of the record */
    uint32_t why;        /* after AFPA_DECLINED: the counter of the reason */
    uint64_t generation; /* of its first pin entry when it was taken */
    bool checked;        /* it was stale until the look-up compared it with its file */
    bool no_evict;       /* fills through it take free room only: the policy it was opened with said so */
} afpa_ref_t;

/* A pinned chunk: memory that stays as it is until afpa_cache_unpin(). */
typedef struct afpa_extent {
    afpa_cache_t *cache;  /* NULL: holds nothing */
    const void *data;     /* mapped, resident */
    uint64_t file_offset; /* of the same bytes in the segment file (afpa_zone_fd), for sendfile() */
    uint32_t length;      /* bytes of the chunk that are in use: those of the file; 0 for an empty one */
    uint32_t entry;       /* number of the pin entry; the library's */
    uint32_t object;      /* index of the record; the library's */
    bool by_reference;    /* the chunk has pages of its own: sendfile() from file_offset is allowed if asked for at pin time */
} afpa_extent_t;

/* Takes an owner slot for this process.  Call after fork, in the process that will use it; `kind` ("nginx", "httpd", "afpactl";
 * at most 15 bytes) is shown by `afpactl stat`.
 * The zone must stay open until afpa_cache_detach().  May block.
 * AFPA_OK        *cache is the caller's, to be given back with afpa_cache_detach().
 * AFPA_NO_SPACE  every owner slot is taken, or there is no memory: serve without the cache.  (Where tmpfs has no room for this
 *                process's ledger, that is found out as it is needed: files are declined with AFPA_DECLINE_NO_SPACE.)
 * AFPA_INVALID   the segment file cannot be opened by this user, was replaced, or is in use by processes of another PID namespace; the
 *                error says which.
 * Unless AFPA_OK, *cache is NULL, which afpa_cache_lookup() and afpa_cache_open() answer with AFPA_DISABLED. */
afpa_status_t afpa_cache_attach(afpa_zone_t *zone, const char *kind, afpa_cache_t **cache, afpa_error_t *error);

/* Gives the slot back, and with it every pin that this process still holds: refs and extents that were not released must not be
 * used any more.  No other thread may be in a call on the cache.  *cache may be NULL; it is set to NULL.
 * Legal in the handler of a signal that ends the process, whatever it interrupts: what is left then others take back. */
void afpa_cache_detach(afpa_cache_t **cache);

/* The zone it is attached to. */
afpa_zone_t *afpa_cache_zone(const afpa_cache_t *cache);

/* The slot of this process in the owner table: 0 to afpa_stat_t.owners_limit - 1. */
unsigned afpa_cache_slot(const afpa_cache_t *cache);

/* ---- in the loop: lock-free, no disk ---- */

/* Finds the object of a canonical absolute path and holds it, its first chunk pinned.
 * A check that is due is made by the look-up itself if the kernel can say what is needed without waiting for a disk: three system
 * calls (Linux 5.12, file systems of this machine, the way to the file in memory); ref->checked says that the object was stale
 * before.  If not:
 * AFPA_CHECK_DUE           *ref is held, and the caller has a worker check it: afpa_cache_check_later().
 * AFPA_STALE               *ref holds nothing: afpa_cache_open() in a worker.
 * Else:
 * AFPA_OK                  *ref is held; release it.
 * AFPA_MISS                *ref holds nothing: afpa_cache_open() in a worker.
 * AFPA_DECLINED            afpa_cache_open() declined this path less than revalidate_ms ago (and less than a second): the server
 *                          serves the file by itself; ref->why is the counter of the reason, already counted.
 * AFPA_DISABLED            the zone is off, or cache is NULL. */
afpa_status_t afpa_cache_lookup(afpa_cache_t *cache, const char *path, size_t len, uint32_t revalidate_ms, afpa_ref_t *ref);

/* Identity (hence size and times) and number of pin entries of a held object.  Never fails. */
const afpa_identity_t *afpa_ref_identity(const afpa_ref_t *ref);
uint32_t afpa_ref_entries(const afpa_ref_t *ref);

/* Holds once more what ref holds.  Never fails. */
void afpa_cache_ref_copy(const afpa_ref_t *ref, afpa_ref_t *copy);

/* Lets go, and clears *ref.  Legal on one that holds nothing. */
void afpa_cache_release(afpa_ref_t *ref);

/* Whether the chunk's memory will be handed to the kernel by reference (sendfile).  A socket may then refer to its pages long after
 * the last unpin, so they are replaced, not used again, when the chunk is freed.  Asked for, it is granted only where
 * extent->by_reference comes back true. */
typedef enum afpa_pin_mode { AFPA_PIN_COPY, AFPA_PIN_REFERENCE } afpa_pin_mode_t;

/* Pins entry `index` of a held object.  The extent keeps the object too, so ref may be released before it.
 * AFPA_OK     *extent is pinned; unpin it when its bytes were taken: completed, not merely accepted.
 * AFPA_EMPTY  not in memory: have a worker fill it, then pin again. */
afpa_status_t afpa_cache_pin(const afpa_ref_t *ref, uint32_t index, afpa_pin_mode_t mode, afpa_extent_t *extent);

/* Lowers the pin count, and clears *extent.  Legal on one that holds nothing. */
void afpa_cache_unpin(afpa_extent_t *extent);

/* Adds one to a counter of this process.  `cache` may be NULL. */
void afpa_cache_count(afpa_cache_t *cache, afpa_counter_t counter);

/* ---- in a worker: may block ---- */

/* Makes sure the object of `path` is cached, checked and its first chunk pinned, and holds it.  Opens, reads, revalidates, evicts
 * as needed; one process reads, others wait for it.
 * AFPA_OK        *ref is held; *fresh (may be NULL) says whether the object was already there: true, only checked.
 * AFPA_DECLINED  *why is the counter of the reason (already counted): the server serves the file by itself.  With
 *                policy->no_evict, AFPA_DECLINE_NO_SPACE: the file does not fit in the room that is free.
 * AFPA_DISABLED  as lookup. */
afpa_status_t afpa_cache_open(afpa_cache_t *cache, const char *path, size_t len, const afpa_policy_t *policy, afpa_ref_t *ref,
                              afpa_counter_t *why, bool *fresh);

/* Reads entries [index, index + count) of a held object that are not in memory yet; count is cut to the pin array.  The status is
 * that of entry `index`; the others are read ahead, as far as there is room that nobody uses.
 * AFPA_OK        entry `index` was pinned when this was written down; it may have been evicted again: pin, and on AFPA_EMPTY fill anew.
 * AFPA_CHANGED, AFPA_IO_ERROR, AFPA_NO_SPACE  the reply is cut, or the server serves by itself if nothing was sent yet.
 * AFPA_NO_SPACE too where the zone was found damaged since the object was looked up.
 * With ref->no_evict, AFPA_NO_SPACE says that no room is free.  The object stays as far as it was read: who wants all or nothing,
 * and was told by afpa_cache_open() that it is new, purges it. */
afpa_status_t afpa_cache_fill(const afpa_ref_t *ref, uint32_t index, uint32_t count);

/* Reads entry `index` of a held object into memory of the caller's process, for when afpa_cache_fill() says AFPA_NO_SPACE in the
 * middle of a reply: the reply can then go on although nothing can be evicted.  The extent is given back with
 * afpa_cache_unpin(), which may be called in the loop; it is never by reference.
 * AFPA_OK, or AFPA_CHANGED, AFPA_IO_ERROR, AFPA_NO_SPACE (malloc failed): the reply is cut. */
afpa_status_t afpa_cache_read(const afpa_ref_t *ref, uint32_t index, afpa_extent_t *extent);

/* Compares the object of `path`, if there is one, with the file; retires it if they differ.
 * AFPA_OK         still the same, and its last check is now.
 * AFPA_CHANGED    it differed, or the file is gone or cannot be looked at: the object is retired.
 * AFPA_NOT_FOUND  not cached.
 * AFPA_DISABLED   as lookup. */
afpa_status_t afpa_cache_check(afpa_cache_t *cache, const char *path, size_t len);

/* Has a worker do that, and forget the result: what a look-up that said AFPA_CHECK_DUE asks for.  May be called in the loop; `path` is
 * copied.  The cache has to live until the executor's jobs are done.  A full queue is no matter: the next half period asks again. */
void afpa_cache_check_later(afpa_cache_t *cache, const char *path, size_t len, afpa_executor_t *executor);

/* Retires the object of `path`, or the response entry whose key it is (afpa_object_info_t.path).  Who holds it may finish.  Works
 * on a zone that is switched off, too; `cache` must not be NULL.  AFPA_OK; AFPA_NOT_FOUND: not cached. */
afpa_status_t afpa_cache_purge(afpa_cache_t *cache, const char *path, size_t len);

/* Takes back slots of dead processes and frees what was waiting for the last pin.  Cheap when there is nothing to do; a server
 * calls it when idle, or never: allocation does the same when it needs room.  Returns the slots taken back. */
unsigned afpa_cache_reap(afpa_cache_t *cache);

#ifdef __cplusplus
}
#endif
#endif
