/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 7 of 7: owners.  What a process has in the segment, and what becomes of it when the process dies.
 *
 * A process holds an open-file-description lock on its slot's byte of the segment file, through a descriptor it opened after
 * fork and shares with nobody.  The kernel drops the lock when the process ends, however it ends.  So "the lock is free" means
 * "the owner is dead", and who takes the lock may clean up, undisturbed by others who had the same idea:
 *   its counts are added to those of the gone · its pins vanish (ledger row zeroed) · the entries it was filling become EMPTY ·
 *   the records it was making are discarded · the slot is free.
 * What a process was changing under a lock when it died is mended by the next taker of that lock (lock.c).
 *
 * Such a lock has the number of its holder's thread in it.  When a thread is killed that waits for one, the kernel compares: is the
 * number its own, it says that the holder died.  In two PID namespaces (two containers) the same number may be two threads, and the
 * lock would be taken from one that lives.  So all owners of a segment have to be of one namespace.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fill.h"
#include "log.h"
#include "object.h"
#include "owner.h"
#include "space.h"
#include "stats.h"

/* Lock bytes lie beyond any segment, where no data is. */
#define LOCK_BASE (INT64_C(1) << 61)
#define LOCK_CREATION (LOCK_BASE - 1)
#define LOCK_PAUSE_MS 10

static bool lock_byte(int fd, int command, short type, off_t at)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    int rc;

    do
        rc = fcntl(fd, command, &lock);
    while (rc != 0 && errno == EINTR);
    return rc == 0 && (command != F_OFD_GETLK || lock.l_type == F_UNLCK);
}

bool afpa__owner_lock_creation(int fd, unsigned limit_ms)
{
    struct timespec pause = {0, LOCK_PAUSE_MS * 1000000};

    for (unsigned waited = 0;; waited += LOCK_PAUSE_MS) {
        if (lock_byte(fd, F_OFD_SETLK, F_WRLCK, LOCK_CREATION))
            return true;
        if ((errno != EAGAIN && errno != EACCES) || waited >= limit_ms)
            return false;
        nanosleep(&pause, NULL);
    }
}

void afpa__owner_unlock_creation(int fd)
{
    lock_byte(fd, F_OFD_SETLK, F_UNLCK, LOCK_CREATION);
}

afpa_status_t afpa__owner_lock_named(int fd, const char *path)
{
    struct stat st, now;

    if (!afpa__owner_lock_creation(fd, AFPA_CREATION_MS) || fstat(fd, &st) != 0)
        return AFPA_INVALID;
    return lstat(path, &now) == 0 && now.st_ino == st.st_ino && now.st_dev == st.st_dev ? AFPA_OK : AFPA_AGAIN;
}

bool afpa__owner_alive(int fd, uint32_t slot)
{
    return !lock_byte(fd, F_OFD_GETLK, F_WRLCK, LOCK_BASE + slot);
}

/* ---- cleaning up ---- */

/* Zeroes a row; hits are kept with their objects. */
static void ledger_clear(afpa__segment_t *s, uint32_t slot)
{
    afpa__cell_t *row = afpa__ledger_row(s, slot);
    uint64_t windows = atomic_load(&s->owners[slot].windows);

    for (uint32_t entry = 0; entry < s->layout.entries; entry++) {
        uint64_t cell;

        if (!(windows >> entry / s->layout.window_entries & 1)) {
            entry += s->layout.window_entries - entry % s->layout.window_entries - 1;
            continue;
        }
        if (atomic_load_explicit(&row[entry], memory_order_relaxed) == 0)
            continue;
        cell = atomic_exchange(&row[entry], 0);
        if (entry < s->layout.objects)
            atomic_fetch_add(&s->objects[entry].hits, (int64_t)(cell >> 32));
    }
}

/* Entries the dead process was filling: nobody else writes them while they are FILLING. */
static void fills_clear(afpa__segment_t *s, uint32_t slot)
{
    for (uint32_t entry = 0; entry < s->layout.entries; entry++) {
        uint64_t word = atomic_load(&s->entries[entry].word);

        if (afpa__word_state(word) == AFPA__FILLING && afpa__word_owner(word) == slot) {
            afpa__entry_free(s, entry);
            afpa__fill_wake(s, entry);
        }
    }
}

static void records_clear(afpa__segment_t *s, uint32_t slot)
{
    for (uint32_t object = 0; object < s->layout.objects; object++)
        if (atomic_load(&s->objects[object].phase) == AFPA__PHASE_NEW && s->objects[object].owner == slot)
            afpa__object_discard(s, object);
}

/* The caller holds the slot's lock. */
static void slot_clear(afpa__segment_t *s, uint32_t slot)
{
    afpa__space_take(s);
    fills_clear(s, slot);
    records_clear(s, slot);
    ledger_clear(s, slot);
    afpa__draining_poll(s);
    afpa__space_release(s);
    afpa__stats_retire_owner(s, slot);
    atomic_store(&s->owners[slot].pid, 0);
    atomic_store(&s->owners[slot].used, 0);
}

bool afpa__owner_reap(afpa__segment_t *s, int fd, uint32_t slot)
{
    if (!atomic_load(&s->owners[slot].used) || !lock_byte(fd, F_OFD_SETLK, F_WRLCK, LOCK_BASE + slot))
        return false;
    if (!atomic_load(&s->owners[slot].used)) {
        lock_byte(fd, F_OFD_SETLK, F_UNLCK, LOCK_BASE + slot);
        return false;
    }
    afpa__log(AFPA_LOG_NOTICE, "zone %.40s: process %u (%.15s) is gone without leaving; slot %u is taken back", s->header->name,
              atomic_load(&s->owners[slot].pid), s->owners[slot].kind, slot);
    slot_clear(s, slot);
    afpa__stats_count(s, AFPA_COUNTER_REAPED);
    lock_byte(fd, F_OFD_SETLK, F_UNLCK, LOCK_BASE + slot);
    return true;
}

/* ---- taking and giving back ---- */

/* Where there is no /proc nothing is known. */
static uint64_t namespace_of_this(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

/* Looks twice: who has just taken the slot of one that is gone says a moment later of which it is. */
static bool is_stranger(const afpa__owner_shared_t *o, int fd, uint32_t slot, uint64_t namespace)
{
    struct timespec pause = {0, LOCK_PAUSE_MS * 1000000};

    for (unsigned looks = 0; looks < 2; looks++) {
        uint64_t theirs = atomic_load(&o->pid_namespace);

        if (!theirs || theirs == namespace || !atomic_load(&o->used) || !afpa__owner_alive(fd, slot))
            return false;
        if (looks == 0)
            nanosleep(&pause, NULL);
    }
    return true;
}

/* Whether a living owner is of another one. */
static bool has_strangers(const afpa__segment_t *s, int fd, uint64_t namespace, const char *path, afpa_error_t *error)
{
    for (uint32_t slot = 0; slot < AFPA_OWNERS && namespace; slot++) {
        const afpa__owner_shared_t *o = &s->owners[slot];

        if (!is_stranger(o, fd, slot, namespace))
            continue;
        snprintf(error->text, sizeof(error->text),
                 "%s: is in use by process %u of another PID namespace; share that too, or have a zone each", path,
                 atomic_load(&o->pid));
        return true;
    }
    return false;
}

static bool slot_try(afpa__segment_t *s, int fd, uint32_t slot, uint64_t namespace, const char *kind)
{
    afpa__owner_shared_t *o = &s->owners[slot];
    uint32_t high;

    if (!lock_byte(fd, F_OFD_SETLK, F_WRLCK, LOCK_BASE + slot))
        return false;
    atomic_store(&o->pid_namespace, namespace); /* before others see a slot in use that is locked again */
    if (atomic_load(&o->used)) {
        slot_clear(s, slot);
        afpa__stats_count(s, AFPA_COUNTER_REAPED);
    }
    snprintf(o->kind, sizeof(o->kind), "%s", kind);
    atomic_store(&o->pid, (uint32_t)getpid());
    high = atomic_load(&s->header->owner_high);
    while (high <= slot && !atomic_compare_exchange_weak(&s->header->owner_high, &high, slot + 1))
        continue;
    atomic_store(&o->used, 1);
    return true;
}

static int open_again(const afpa__segment_t *s, const char *path, afpa_error_t *error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0) {
        snprintf(error->text, sizeof(error->text), "%s: cannot be opened by process %d (user %d): %s", path, (int)getpid(),
                 (int)geteuid(), strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
        return fd;
    snprintf(error->text, sizeof(error->text), "%s: was replaced since the server opened it; restart the server", path);
    close(fd);
    return -1;
}

static afpa_status_t slot_take(afpa__segment_t *s, const char *path, const char *kind, int fd, uint32_t *slot, afpa_error_t *error)
{
    uint64_t namespace = namespace_of_this();

    if (has_strangers(s, fd, namespace, path, error))
        return AFPA_INVALID;
    for (*slot = 0; *slot < AFPA_OWNERS; ++*slot) {
        if (!slot_try(s, fd, *slot, namespace, kind))
            continue;
        if (!has_strangers(s, fd, namespace, path, error)) /* two that come at once: each has said now that it is there */
            return AFPA_OK;
        atomic_store(&s->owners[*slot].used, 0);
        return AFPA_INVALID;
    }
    snprintf(error->text, sizeof(error->text), "%s: all %u owner slots are taken; process %d works without the cache", path,
             AFPA_OWNERS, (int)getpid());
    return AFPA_NO_SPACE;
}

afpa_status_t afpa__owner_take(afpa__segment_t *s, const char *path, const char *kind, int *fd, uint32_t *slot, afpa_error_t *error)
{
    afpa_status_t status;

    *fd = open_again(s, path, error);
    if (*fd < 0)
        return AFPA_INVALID;
    status = slot_take(s, path, kind, *fd, slot, error);
    if (status != AFPA_OK)
        close(*fd);
    return status;
}

void afpa__owner_release(afpa__segment_t *s, int fd, uint32_t slot)
{
    if (!afpa__space_mine()) /* else a signal ends the process in the middle of that (httpd's prefork): as if it were killed */
        slot_clear(s, slot);
    close(fd);
}

unsigned afpa__owners_living(int fd)
{
    unsigned living = 0;

    for (uint32_t slot = 0; slot < AFPA_OWNERS; slot++)
        living += afpa__owner_alive(fd, slot);
    return living;
}
