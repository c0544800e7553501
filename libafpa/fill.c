/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 4 of 7, filling: one reader per entry among all processes.
 *
 * Who moves an entry's word EMPTY → FILLING (with its slot in it) reads; everyone else sleeps on the word, a futex in the
 * segment, and looks every so often whether the reader still lives.  Sleeping is for worker threads: no loop ever comes here.
 * The file is compared with the object's identity before and after its bytes are read.  A difference means that nothing of
 * what was read is published, and that the object is retired by the caller.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "chunk.h"
#include "clock.h"
#include "fill.h"
#include "object.h"
#include "owner.h"
#include "pin.h"
#include "space.h"
#include "stats.h"

/* Younger than the oldest headers this is built with. */
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef F2FS_SUPER_MAGIC
#define F2FS_SUPER_MAGIC 0xF2F52010
#endif

#define WAIT_MS 50       /* between two looks at whether the reader lives */
#define WAIT_ROUNDS 600  /* so 30 s while another process reads the chunk: then the disk is as good as gone */
#define DRAIN_NS 2000000 /* between two looks at whether a draining entry has lost its last pin; so 1.2 s */
/* A file changed less than this ago may change again within the same time stamp (a kernel tick is at most 10 ms), unseen. */
#define SETTLE_NS 20000000
/* A write() stamps the file and then copies: what is read meanwhile is old, and no later stamp tells.  So what was read this soon
 * after a change is read once more, at the first check after that time.  FAT's stamps are as coarse as this, those of ext2 to ext4
 * with small inodes are whole seconds. */
#define YOUNG_NS 2000000000

void afpa__identity_of(const struct stat *st, afpa_identity_t *identity)
{
    memset(identity, 0, sizeof(*identity));
    identity->device = st->st_dev;
    identity->inode = st->st_ino;
    identity->size = (uint64_t)st->st_size;
    identity->mtime_sec = st->st_mtim.tv_sec;
    identity->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
    identity->ctime_sec = st->st_ctim.tv_sec;
    identity->ctime_nsec = (uint32_t)st->st_ctim.tv_nsec;
}

bool afpa__identity_same(const afpa_identity_t *a, const afpa_identity_t *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Whether the file changed less than `ns` ago, by the clock that stamps files.  What is said to change later is not young. */
static bool younger(const afpa_identity_t *identity, int64_t ns)
{
    struct timespec now;
    int64_t seconds, age;

    clock_gettime(CLOCK_REALTIME, &now);
    seconds = (int64_t)now.tv_sec - identity->ctime_sec;
    if (seconds < 0 || seconds > 3)
        return false;
    age = seconds * 1000000000 + now.tv_nsec - (int64_t)identity->ctime_nsec;
    return age >= 0 && age < ns;
}

bool afpa__identity_young(const afpa_identity_t *identity)
{
    return younger(identity, YOUNG_NS);
}

/* Waits until the file's last change is in the past.  false: its stamps may be too coarse for that to tell. */
static bool settle(const afpa_identity_t *identity)
{
    struct timespec pause = {0, SETTLE_NS};

    if (identity->ctime_nsec == 0 && afpa__identity_young(identity))
        return false;
    if (younger(identity, SETTLE_NS))
        nanosleep(&pause, NULL);
    return true;
}

static afpa_counter_t decline_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return AFPA_DECLINE_NOT_FOUND;
    case EACCES:
    case EPERM:
        return AFPA_DECLINE_PERMISSION;
    case ENAMETOOLONG:
        return AFPA_DECLINE_PATH;
    case ENXIO: /* a FIFO or a socket */
        return AFPA_DECLINE_NOT_REGULAR;
    default:
        return AFPA_DECLINE_IO_ERROR;
    }
}

afpa_status_t afpa__file_open(const char *path, afpa__file_t *file, afpa_counter_t *why)
{
    struct stat st;

    file->opened = afpa__now_ms();
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0) {
        *why = decline_of(errno);
        return AFPA_DECLINED;
    }
    if (fstat(file->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        afpa__identity_of(&st, &file->identity);
        if (settle(&file->identity))
            return AFPA_OK;
        *why = AFPA_DECLINE_CHANGED;
    } else {
        *why = AFPA_DECLINE_NOT_REGULAR;
    }
    close(file->fd);
    return AFPA_DECLINED;
}

bool afpa__file_is_local(const afpa__file_t *file)
{
    /* Not overlays: below them may be anything. */
    static const unsigned kinds[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC};
    struct statfs fs;

    if (fstatfs(file->fd, &fs) != 0)
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if ((unsigned)fs.f_type == kinds[i])
            return true;
    return false;
}

/* ---- waiting ---- */

/* The low half of the word, which is what a futex can be. */
static uint32_t *futex_of(afpa__segment_t *s, uint32_t entry)
{
    uint32_t *halves = (uint32_t *)(void *)&s->entries[entry].word;

    return halves + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

/* The word is written before the waiters are counted, and they count themselves before the kernel reads the word. */
void afpa__fill_wake(afpa__segment_t *s, uint32_t entry)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&s->space->fill_waiters) == 0)
        return;
    syscall(SYS_futex, futex_of(s, entry), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void wait_for(afpa_cache_t *cache, uint32_t entry, uint64_t word)
{
    struct timespec timeout = {0, WAIT_MS * 1000000};
    uint32_t owner = afpa__word_owner(word);
    bool late;

    atomic_fetch_add(&cache->segment->space->fill_waiters, 1);
    late = syscall(SYS_futex, futex_of(cache->segment, entry), FUTEX_WAIT, (uint32_t)word, &timeout, NULL, 0) == -1 &&
           errno == ETIMEDOUT;
    atomic_fetch_sub(&cache->segment->space->fill_waiters, 1);
    if (late && owner < AFPA_OWNERS && owner != cache->ledger.slot && !afpa__owner_alive(cache->fd, owner))
        afpa_cache_reap(cache);
}

/* An entry that is being evicted while somebody still sends from it: it comes free with the last pin. */
static void wait_draining(afpa_cache_t *cache)
{
    struct timespec pause = {0, DRAIN_NS};

    afpa__space_take(cache->segment);
    afpa__draining_poll(cache->segment);
    afpa__space_release(cache->segment);
    nanosleep(&pause, NULL);
}

/* ---- reading ---- */

/* FILLING → PINNED, or → EMPTY.  Want of room is no error of reading, and is not counted as one. */
static void finish(afpa_cache_t *cache, uint32_t entry, uint64_t word, afpa_status_t status)
{
    afpa__segment_t *s = cache->segment;

    if (status == AFPA_OK) {
        atomic_store(&s->entries[entry].word, afpa__word(AFPA__PINNED, 0, afpa__word_generation(word)));
    } else {
        afpa__space_take(s);
        afpa__entry_free(s, entry);
        afpa__space_release(s);
    }
    afpa__fill_wake(s, entry);
    if (status != AFPA_NO_SPACE)
        afpa__stats_owner_count(s, cache->ledger.slot, status == AFPA_OK ? AFPA_COUNTER_FILLS : AFPA_COUNTER_FILL_ERRORS);
}

/* Right behind the chunk before it, if that can be: the two are then sent in one call. */
static bool room_find(afpa__segment_t *s, uint32_t before, uint32_t length, afpa__evict_t what, uint32_t *chunk, uint32_t *offset)
{
    if (before != AFPA_NONE && length == s->layout.chunk_size && s->entries[before].chunk != AFPA_NONE) {
        *chunk = s->entries[before].chunk + 1;
        *offset = 0;
        if (afpa__chunk_take(s, *chunk))
            return true;
    }
    return afpa__room_alloc(s, length, what, chunk, offset);
}

/* `before`: the pin entry of the chunk before it; AFPA_NONE: there is none. */
static bool room_take(afpa_cache_t *cache, uint32_t object, uint32_t entry, uint32_t before, uint32_t length, afpa__evict_t what)
{
    afpa__segment_t *s = cache->segment;
    afpa__entry_shared_t *e = &s->entries[entry];
    afpa__object_shared_t *o = &s->objects[object];
    uint32_t chunk, offset;
    bool got;

    afpa__space_take(s);
    got = room_find(s, before, length, what, &chunk, &offset);
    if (got) {
        e->offset = offset;
        e->length = length;
        afpa__store_order(); /* from here on it owns the room */
        e->chunk = chunk;
        o->bytes += length;
        if (o->queue != AFPA__QUEUE_NONE)
            s->space->queue[o->queue].bytes += length;
        s->space->bytes_cached += length;
    }
    afpa__space_release(s);
    return got;
}

afpa_status_t afpa__fill_bytes(afpa_cache_t *cache, uint32_t object, const void *bytes, uint32_t length)
{
    afpa__segment_t *s = cache->segment;
    afpa__entry_shared_t *e = &s->entries[object];
    uint64_t word = atomic_load(&e->word);

    afpa__assert(atomic_load(&s->objects[object].phase) == AFPA__PHASE_NEW && afpa__word_state(word) == AFPA__EMPTY);
    atomic_store(&e->word, afpa__word(AFPA__FILLING, cache->ledger.slot, afpa__word_generation(word)));
    if (!room_take(cache, object, object, AFPA_NONE, length, AFPA__EVICT_OBJECTS))
        return AFPA_NO_SPACE; /* discarding the object frees the entry */
    memcpy(afpa__data_at(s, e->chunk, e->offset, length), bytes, length);
    atomic_store(&e->word, afpa__word(AFPA__PINNED, 0, afpa__word_generation(word)));
    return AFPA_OK;
}

static afpa_status_t read_all(int fd, char *to, uint32_t length, uint64_t at)
{
    while (length > 0) {
        ssize_t n = pread(fd, to, length, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return AFPA_IO_ERROR;
        if (n == 0)
            return AFPA_CHANGED; /* shorter than it was */
        to += n;
        at += (uint64_t)n;
        length -= (uint32_t)n;
    }
    return AFPA_OK;
}

afpa_status_t afpa__file_read(int fd, const afpa_identity_t *identity, char *to, uint32_t length, uint64_t at)
{
    afpa_status_t status = read_all(fd, to, length, at);
    afpa_identity_t now;
    struct stat st;

    if (status != AFPA_OK)
        return status;
    if (fstat(fd, &st) != 0)
        return AFPA_IO_ERROR;
    afpa__identity_of(&st, &now);
    return afpa__identity_same(&now, identity) ? AFPA_OK : AFPA_CHANGED;
}

/* The caller has just moved the entry to FILLING. */
static afpa_status_t fill(afpa_cache_t *cache, uint32_t object, uint32_t index, uint32_t entry, int fd, afpa__evict_t what)
{
    afpa__segment_t *s = cache->segment;
    const afpa__object_shared_t *o = &s->objects[object];
    afpa__entry_shared_t *e = &s->entries[entry];
    uint32_t before = index > 0 ? afpa__object_entry(s, object, index - 1) : AFPA_NONE;
    uint32_t length = afpa__object_length(s, o, index);
    afpa_status_t status = AFPA_OK;

    if (length > 0 && !room_take(cache, object, entry, before, length, what))
        status = AFPA_NO_SPACE;
    if (length > 0 && status == AFPA_OK)
        status = afpa__file_read(fd, &o->identity, afpa__data_at(s, e->chunk, e->offset, length), length,
                                 (uint64_t)index << s->layout.chunk_shift);
    finish(cache, entry, atomic_load(&e->word), status);
    return status;
}

afpa_status_t afpa__fill_entry(afpa_cache_t *cache, uint32_t object, uint32_t index, int fd, afpa__evict_t what)
{
    afpa__segment_t *s = cache->segment;
    uint32_t entry = afpa__object_entry(s, object, index);

    if (entry == AFPA_NONE)
        return AFPA_NOT_FOUND;
    for (unsigned round = 0; round < WAIT_ROUNDS; round++) {
        uint64_t word = atomic_load(&s->entries[entry].word);
        uint64_t filling = afpa__word(AFPA__FILLING, cache->ledger.slot, afpa__word_generation(word));

        switch (afpa__word_state(word)) {
        case AFPA__PINNED:
            return AFPA_OK;
        case AFPA__EMPTY:
            if (atomic_compare_exchange_strong(&s->entries[entry].word, &word, filling))
                return fill(cache, object, index, entry, fd, what);
            break;
        case AFPA__FILLING:
            wait_for(cache, entry, word);
            break;
        case AFPA__DRAINING:
            if (index == 0) /* retired meanwhile; the caller's hold keeps it readable */
                return AFPA_OK;
            wait_draining(cache);
            break;
        }
    }
    return AFPA_NO_SPACE;
}
