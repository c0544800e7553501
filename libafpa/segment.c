/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 4 of 7, memory: the shared segment.  What lies where, how it is made, how one that is found is judged.
 *
 * The layout follows from (size, chunk size) by afpa__layout_compute() alone, in every process; the header only says which two
 * numbers those were, under a checksum.  So no offset is ever read from memory that somebody else can write.
 * Ledger rows come after the data and are sparse: a part of a row gets memory when its process first pins something there.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "log.h"
#include "segment.h"
#include "space.h"

#define PAGE 4096u
#define OBJECT_BYTES_SMALL 1792u /* bytes of zone per object record, up to the first 64 MB: 10,000 files of 1 KB fit in 20 MB … */
#define OBJECT_BYTES_LARGE 8192u /* … and beyond, where the average web file is larger than that */
#define OBJECT_ZONE_SMALL (UINT64_C(64) << 20)
#define SIZE_LIMIT (UINT64_C(1) << 44)

_Static_assert(sizeof(afpa__object_shared_t) == 128, "two cache lines");
_Static_assert(sizeof(afpa__entry_shared_t) == 32, "half a cache line");
_Static_assert(sizeof(afpa__header_shared_t) <= PAGE, "one page");

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

static uint32_t power_of_two(uint64_t at_least)
{
    uint32_t value = 64;

    while (value < at_least)
        value *= 2;
    return value;
}

/* Places everything for a given number of chunks; all counts are bounded by SIZE_LIMIT, so nothing here can overflow. */
static void place(afpa__layout_t *l, uint32_t chunks)
{
    uint64_t at = PAGE;

    l->chunks = chunks;
    l->groups = chunks + 64; /* a file of a chunk and a bit needs one: its rest lies beside others of a chunk */
    l->entries = l->objects + l->groups * AFPA_GROUP;
#define SECTION(field, bytes)                                                                                                      \
    l->field = at;                                                                                                                 \
    at = round_up(at + (bytes), AFPA_CACHE_LINE)
    SECTION(owners_at, sizeof(afpa__owner_shared_t) * AFPA_OWNERS);
    SECTION(shards_at, sizeof(afpa__shard_shared_t) * AFPA_SHARDS);
    SECTION(space_at, sizeof(afpa__space_shared_t));
    SECTION(buckets_at, sizeof(afpa__bucket_shared_t) * (uint64_t)l->buckets);
    SECTION(ghosts_at, sizeof(uint64_t) * (uint64_t)l->ghosts);
    SECTION(uses_at, sizeof(uint32_t) * (uint64_t)l->uses);
    SECTION(objects_at, sizeof(afpa__object_shared_t) * (uint64_t)l->objects);
    SECTION(entries_at, sizeof(afpa__entry_shared_t) * (uint64_t)l->entries);
    SECTION(groups_at, sizeof(uint32_t) * (uint64_t)l->groups);
    SECTION(chunks_at, sizeof(afpa__chunk_shared_t) * (uint64_t)l->chunks);
#undef SECTION
    l->data_at = round_up(at, 65536);
    l->data_length = (uint64_t)chunks << l->chunk_shift;
    l->ledger_at = l->data_at + l->data_length;
    l->ledger_row = round_up((uint64_t)l->entries * sizeof(afpa__cell_t), PAGE);
    l->ledger_window = round_up((l->ledger_row + AFPA_WINDOWS - 1) / AFPA_WINDOWS, PAGE);
    l->window_entries = (uint32_t)(l->ledger_window / sizeof(afpa__cell_t));
    l->file_size = l->ledger_at + l->ledger_row * AFPA_OWNERS;
}

bool afpa__layout_compute(afpa__layout_t *l, uint64_t size, uint32_t chunk_size)
{
    uint64_t objects, chunks;

    memset(l, 0, sizeof(*l));
    if (size < AFPA_ZONE_SIZE_MIN || size > SIZE_LIMIT)
        return false;
    if (chunk_size < 65536 || chunk_size > 1048576 || (chunk_size & (chunk_size - 1)))
        return false;
    l->size = size;
    l->chunk_size = chunk_size;
    l->chunk_shift = (uint32_t)__builtin_ctz(chunk_size);
    objects = size < OBJECT_ZONE_SMALL ? size / OBJECT_BYTES_SMALL
                                       : OBJECT_ZONE_SMALL / OBJECT_BYTES_SMALL + (size - OBJECT_ZONE_SMALL) / OBJECT_BYTES_LARGE;
    if (objects > UINT32_MAX / 4)
        return false;
    l->objects = (uint32_t)objects;
    l->buckets = l->ghosts = power_of_two(objects);
    l->uses = l->buckets;
    for (chunks = size / chunk_size; chunks >= 4; chunks--) {
        place(l, (uint32_t)chunks);
        if (l->ledger_at <= size)
            return true;
        if (l->ledger_at - size > 16 * (uint64_t)chunk_size) /* far off: big steps first */
            chunks -= (l->ledger_at - size) / (2 * (uint64_t)chunk_size);
    }
    return false;
}

afpa_status_t afpa__segment_map(afpa__segment_t *s, const afpa__layout_t *l, int fd, const char *path, afpa_error_t *error)
{
    struct stat st;
    char *base;

    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != l->file_size) {
        snprintf(error->text, sizeof(error->text), "%s: has not the size its header gives it", path);
        return AFPA_INVALID;
    }
    base = mmap(NULL, l->file_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        snprintf(error->text, sizeof(error->text), "%s: cannot map %llu bytes: %s", path, (unsigned long long)l->file_size,
                 strerror(errno));
        return AFPA_INVALID;
    }
    (void)!madvise(base, l->file_size, MADV_NOHUGEPAGE); /* EINVAL: the kernel has no large pages */
    s->layout = *l;
    s->fd = fd;
    s->base = base;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    s->header = (void *)base;
    s->owners = (void *)(base + l->owners_at);
    s->shards = (void *)(base + l->shards_at);
    s->space = (void *)(base + l->space_at);
    s->buckets = (void *)(base + l->buckets_at);
    s->ghosts = (void *)(base + l->ghosts_at);
    s->uses = (void *)(base + l->uses_at);
    s->objects = (void *)(base + l->objects_at);
    s->entries = (void *)(base + l->entries_at);
    s->groups = (void *)(base + l->groups_at);
    s->chunks = (void *)(base + l->chunks_at);
    s->data = base + l->data_at;
    return AFPA_OK;
}

void afpa__segment_unmap(afpa__segment_t *s)
{
    if (s->base)
        munmap(s->base, s->layout.file_size);
    s->base = NULL;
}

/* By faults of our mapping, since that alone can say that it wants small pages.  fallocate() makes large ones on a tmpfs mounted with
 * `huge`, and punching a part of one zeroes that part first, which sockets that refer to it then send: see chunk.c. */
bool afpa__segment_reserve(const afpa__segment_t *s, uint64_t at, uint64_t length)
{
    int rc;

#ifdef MADV_POPULATE_WRITE
    uint64_t below = at % (uint64_t)sysconf(_SC_PAGESIZE);

    do {
        rc = madvise(s->base + at - below, length + below, MADV_POPULATE_WRITE);
    } while (rc != 0 && (errno == EINTR || errno == EAGAIN));
    if (rc == 0 || errno != EINVAL) {
        if (rc != 0 && errno == EFAULT) /* where a touch would be a SIGBUS */
            errno = ENOSPC;
        return rc == 0;
    }
#endif
    do { /* before Linux 5.14 */
        rc = fallocate(s->fd, 0, (off_t)at, (off_t)length);
    } while (rc != 0 && errno == EINTR);
    return rc == 0;
}

static uint64_t header_checksum(const afpa__header_shared_t *h)
{
    return XXH3_64bits(h, offsetof(afpa__header_shared_t, checksum));
}

static uint64_t random64(void)
{
    uint64_t value = 0;

    afpa__assert(getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value));
    return value;
}

void afpa__segment_format(afpa__segment_t *s, const char *name)
{
    afpa__header_shared_t *h = s->header;

    h->magic = AFPA_MAGIC;
    h->layout_version = AFPA_LAYOUT_VERSION;
    h->chunk_size = s->layout.chunk_size;
    h->size = s->layout.size;
    h->file_size = s->layout.file_size;
    h->seed = random64();
    h->creation_id = random64();
    snprintf(h->name, sizeof(h->name), "%s", name);
    h->checksum = header_checksum(h);
    atomic_store(&h->enabled, 1);
    for (uint32_t i = 0; i < AFPA_SHARDS; i++)
        afpa__lock_init(&s->shards[i].lock);
    for (uint32_t i = 0; i < s->layout.buckets; i++)
        atomic_store_explicit(&s->buckets[i].head, AFPA_NONE, memory_order_relaxed);
    for (uint32_t i = 0; i < s->layout.entries; i++)
        s->entries[i].chunk = AFPA_NONE;
    afpa__lock_init(&s->space->lock);
    afpa__space_rebuild(s); /* of an empty segment: everything on the free lists */
    atomic_store(&h->ready, 1);
}

afpa_status_t afpa__segment_examine(int fd, const char *path, afpa__layout_t *layout, afpa_error_t *error)
{
    afpa__header_shared_t h;
    struct stat st;
    const char *wrong = NULL;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        wrong = "is not a regular file";
    } else if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) || h.magic != AFPA_MAGIC) {
        wrong = "is not an AFPA segment";
    } else if (h.layout_version != AFPA_LAYOUT_VERSION) {
        snprintf(error->text, sizeof(error->text), "%s: has layout version %u, this release has %u", path, h.layout_version,
                 AFPA_LAYOUT_VERSION);
        return AFPA_INVALID;
    } else if (h.checksum != header_checksum(&h)) {
        wrong = "has a damaged header (checksum)";
    } else if (!afpa__layout_compute(layout, h.size, h.chunk_size) || layout->file_size != h.file_size) {
        wrong = "has a damaged header (sizes)";
    } else if ((uint64_t)st.st_size != h.file_size) {
        wrong = "is not as long as its header says";
    } else if (!atomic_load(&h.ready)) {
        wrong = "was never finished";
    } else if (atomic_load(&h.broken)) {
        wrong = "was found inconsistent and switched off";
    }
    if (!wrong)
        return AFPA_OK;
    snprintf(error->text, sizeof(error->text), "%s: %s", path, wrong);
    return AFPA_INVALID;
}

void afpa__segment_break(afpa__segment_t *s, const char *why)
{
    if (atomic_exchange(&s->header->broken, 1) == 0)
        afpa__log(AFPA_LOG_ERROR, "zone %.40s: %s; it is bypassed until the next server start replaces it", s->header->name, why);
}
