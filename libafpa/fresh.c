/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 4 of 7, freshness: nothing is served whose last check is older than the `revalidate` of the place where it is served.
 *
 * An object whose last check is less than half of that ago is simply served.  From then on one look-up per half period has it checked,
 * so that the check of an object in use never gets older than the whole; where it did, the object is served only after a new one.
 *
 * A check is a stat() of the path: it sees a replaced file, a re-pointed link, a renamed directory, a changed mode.  It may wait for
 * a disk, so in general it belongs to a worker.  With many files that are each asked for seldom, that cost more than everything else
 * (docs/measurements.md); so the look-up makes the check itself where it cannot wait:
 *   openat2(O_PATH, RESOLVE_CACHED)  fails unless every step of the path is in the kernel's memory; then the inode is, too.
 *   statx(AT_STATX_DONT_SYNC)        has the kernel tell what it knows, without asking another machine or process: the path may
 *                                    lead to one by now.
 * What the kernel knows of a file elsewhere may be old.  So only objects count that were filled from a file system of this machine
 * (o->local), and since the device is part of an identity, a file elsewhere never compares equal.
 * What remains: a file that is removed within these microseconds is freed by our close().
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#ifdef HAVE_LINUX_OPENAT2_H
#include <linux/openat2.h>
#endif

#include "cache.h"
#include "clock.h"
#include "fill.h"
#include "fresh.h"
#include "index.h"
#include "object.h"
#include "space.h"
#include "stats.h"

/* Claims the check for one look-up in half a period: whoever moves the claim on. */
static bool claim(afpa__object_shared_t *o, uint32_t now, uint32_t half_ms)
{
    uint32_t claimed = atomic_load_explicit(&o->check_claim, memory_order_relaxed);

    return now - claimed >= half_ms && atomic_compare_exchange_strong(&o->check_claim, &claimed, now);
}

afpa_status_t afpa__fresh_judge(afpa__object_shared_t *o, uint32_t revalidate_ms)
{
    uint64_t age = afpa__fresh_age(o);

    if (age >= revalidate_ms)
        return AFPA_STALE;
    if (!afpa__fresh_recent(age, revalidate_ms) && claim(o, (uint32_t)afpa__now_ms(), revalidate_ms / 2))
        return AFPA_CHECK_DUE;
    return AFPA_OK;
}

/* Whether a file is the one that an object was filled from, and not to be read once more since it was young then. */
static bool still(const afpa__object_shared_t *o, const afpa_identity_t *identity)
{
    return afpa__identity_same(identity, &o->identity) && (!o->young || afpa__identity_young(identity));
}

#if defined(RESOLVE_CACHED) && defined(SYS_openat2)
#define WANTED (STATX_INO | STATX_SIZE | STATX_MTIME | STATX_CTIME)

/* The identity of an open file, as far as it is known without asking. */
static bool identity_known(int fd, afpa_identity_t *identity)
{
    struct statx x;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, WANTED, &x) != 0 || (x.stx_mask & WANTED) != WANTED)
        return false;
    memset(identity, 0, sizeof(*identity));
    identity->device = makedev(x.stx_dev_major, x.stx_dev_minor);
    identity->inode = x.stx_ino;
    identity->size = x.stx_size;
    identity->mtime_sec = x.stx_mtime.tv_sec;
    identity->mtime_nsec = x.stx_mtime.tv_nsec;
    identity->ctime_sec = x.stx_ctime.tv_sec;
    identity->ctime_nsec = x.stx_ctime.tv_nsec;
    return true;
}

/* false: nothing is known, for whatever reason; a worker finds out. */
static bool check_at_once(afpa_cache_t *cache, afpa__object_shared_t *o)
{
    static atomic_bool refused; /* by the kernel, or by a filter of system calls: it will be again */
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED};
    uint64_t before = afpa__now_ms();
    afpa_identity_t identity;
    char path[AFPA_PATH_MAX];
    bool known;
    int fd;

    if (!o->local || atomic_load_explicit(&refused, memory_order_relaxed) || !afpa__object_path(cache->segment, o, path))
        return false;
    fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    if (fd < 0) {
        if (errno == ENOSYS || errno == EPERM || errno == EINVAL)
            atomic_store_explicit(&refused, true, memory_order_relaxed);
        return false;
    }
    known = identity_known(fd, &identity);
    close(fd);
    if (!known || !still(o, &identity))
        return false;
    atomic_store_explicit(&o->last_check, before, memory_order_relaxed);
    afpa__stats_owner_count(cache->segment, cache->ledger.slot, AFPA_COUNTER_REVALIDATIONS);
    return true;
}
#else
static bool check_at_once(afpa_cache_t *cache, afpa__object_shared_t *o)
{
    return false;
}
#endif

afpa_status_t afpa__fresh_due(afpa_cache_t *cache, uint32_t object, uint32_t revalidate_ms, bool *checked)
{
    afpa__object_shared_t *o = &cache->segment->objects[object];
    afpa_status_t status = afpa__fresh_judge(o, revalidate_ms);
    bool same = status != AFPA_OK && check_at_once(cache, o);

    *checked = same && status == AFPA_STALE;
    return same ? AFPA_OK : status;
}

void afpa__fresh_retire(afpa_cache_t *cache, uint32_t object)
{
    afpa__segment_t *s = cache->segment;
    afpa__object_shared_t *o = &s->objects[object];
    uint64_t hash = atomic_load(&o->hash);

    afpa__shard_take(s, hash);
    if (atomic_load(&o->phase) == AFPA__PHASE_LIVE) {
        afpa__space_take(s);
        afpa__object_retire(s, object);
        afpa__space_release(s);
        afpa__stats_owner_count(s, cache->ledger.slot, AFPA_COUNTER_RETIRED);
    }
    afpa__shard_release(s, hash);
}

afpa_status_t afpa__fresh_check(afpa_cache_t *cache, uint32_t object, const char *path)
{
    afpa__object_shared_t *o = &cache->segment->objects[object];
    uint64_t before = afpa__now_ms();
    afpa_identity_t identity;
    struct stat st;

    afpa__stats_owner_count(cache->segment, cache->ledger.slot, AFPA_COUNTER_REVALIDATIONS);
    if (stat(path, &st) == 0) {
        afpa__identity_of(&st, &identity);
        if (still(o, &identity)) {
            atomic_store_explicit(&o->last_check, before, memory_order_relaxed);
            return AFPA_OK;
        }
    }
    afpa__fresh_retire(cache, object);
    return AFPA_CHANGED;
}

/* ---- in the background ---- */

typedef struct check {
    afpa_job_t job; /* first */
    afpa_cache_t *cache;
    size_t length;
    char path[];
} check_t;

static void run_check(afpa_job_t *job)
{
    check_t *check = (check_t *)(void *)job;

    afpa_cache_check(check->cache, check->path, check->length);
}

static void on_check_done(afpa_job_t *job)
{
    free(job);
}

void afpa_cache_check_later(afpa_cache_t *cache, const char *path, size_t len, afpa_executor_t *executor)
{
    check_t *check = malloc(sizeof(*check) + len);

    if (!check)
        return;
    check->job = (afpa_job_t){.run = run_check, .done = on_check_done};
    check->cache = cache;
    check->length = len;
    memcpy(check->path, path, len);
    if (executor->submit(executor, &check->job) != AFPA_OK)
        free(check);
}
