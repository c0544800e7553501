/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment's layout (everything in its place for every size, and no segment for sizes that make none), what a header says
 * when it was damaged, and that a segment that is broken is bypassed.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <xxhash.h>

#include <afpa/log.h>

#include "check_main.h"
#include "chunk.h"
#include "fixture.h"
#include "pin.h"

#define MB UINT64_C(1048576)
/* The size with 2^30 - 1 objects, one per 1,792 bytes of the first 64 MB and one per 8 KB from there on. */
#define LAST_SIZE (64 * MB + ((UINT64_C(1) << 30) - 64 * MB / 1792) * 8192 - 1)

/* ---- layout ---- */

static uint64_t section_end(uint64_t at, uint64_t bytes, uint64_t next)
{
    ck_assert_uint_eq(at % AFPA_CACHE_LINE, 0);
    ck_assert_uint_le(at + bytes, next);
    return next;
}

/* In order, aligned, and none into the next. */
static void layout_sections(const afpa__layout_t *l)
{
    section_end(0, sizeof(afpa__header_shared_t), l->owners_at);
    section_end(l->owners_at, sizeof(afpa__owner_shared_t) * AFPA_OWNERS, l->shards_at);
    section_end(l->shards_at, sizeof(afpa__shard_shared_t) * AFPA_SHARDS, l->space_at);
    section_end(l->space_at, sizeof(afpa__space_shared_t), l->buckets_at);
    section_end(l->buckets_at, sizeof(afpa__bucket_shared_t) * (uint64_t)l->buckets, l->ghosts_at);
    section_end(l->ghosts_at, sizeof(uint64_t) * (uint64_t)l->ghosts, l->uses_at);
    section_end(l->uses_at, sizeof(uint32_t) * (uint64_t)l->uses, l->objects_at);
    section_end(l->objects_at, sizeof(afpa__object_shared_t) * (uint64_t)l->objects, l->entries_at);
    section_end(l->entries_at, sizeof(afpa__entry_shared_t) * (uint64_t)l->entries, l->groups_at);
    section_end(l->groups_at, sizeof(uint32_t) * (uint64_t)l->groups, l->chunks_at);
    section_end(l->chunks_at, sizeof(afpa__chunk_shared_t) * (uint64_t)l->chunks, l->data_at);
    ck_assert_uint_eq(l->data_at % 65536, 0);
    ck_assert_uint_eq(l->data_length, (uint64_t)l->chunks * l->chunk_size);
    ck_assert_uint_eq(l->ledger_at, l->data_at + l->data_length);
    ck_assert_uint_eq(l->file_size, l->ledger_at + l->ledger_row * AFPA_OWNERS);
}

static void layout_numbers(const afpa__layout_t *l)
{
    ck_assert_uint_eq(l->entries, (uint64_t)l->objects + (uint64_t)l->groups * AFPA_GROUP);
    ck_assert_uint_ge(l->groups * (uint64_t)AFPA_GROUP, l->chunks); /* one file may fill the whole zone */
    ck_assert_uint_ge(l->groups, l->chunks);                        /* afpa(7): so many files larger than a chunk … */
    ck_assert_uint_eq(l->objects,
                      l->size < 64 * MB ? l->size / 1792 : 64 * MB / 1792 + (l->size - 64 * MB) / 8192); /* … and of any size */
    ck_assert_uint_ge(l->buckets, l->objects);
    ck_assert_uint_eq(l->buckets & (l->buckets - 1), 0);
    ck_assert_uint_eq(l->ghosts & (l->ghosts - 1), 0);
    ck_assert_uint_eq(l->uses & (l->uses - 1), 0);
    ck_assert_uint_ge(l->ledger_row, l->entries * (uint64_t)sizeof(afpa__cell_t));
    ck_assert_uint_eq(l->ledger_row % 4096, 0);
    ck_assert_uint_eq(l->ledger_window % 4096, 0);
    ck_assert_uint_ge(l->ledger_window * AFPA_WINDOWS, l->ledger_row);
    ck_assert_uint_eq(l->window_entries * (uint64_t)sizeof(afpa__cell_t), l->ledger_window);
    ck_assert_uint_eq(UINT64_C(1) << l->chunk_shift, l->chunk_size);
    ck_assert_uint_ge(l->chunks, 4);
}

static void layout_is_right(uint64_t size, uint32_t chunk_size)
{
    afpa__layout_t l;

    ck_assert_msg(afpa__layout_compute(&l, size, chunk_size), "size %llu, chunk %u", (unsigned long long)size, chunk_size);
    ck_assert_uint_eq(l.size, size);
    ck_assert_uint_eq(l.chunk_size, chunk_size);
    layout_sections(&l);
    layout_numbers(&l);
    /* All of it within `size`, and no room left for one chunk more with its tables. */
    ck_assert_uint_le(l.ledger_at, size);
    ck_assert_uint_lt(size - l.ledger_at, chunk_size + UINT64_C(65536) + 1024);
}

static const uint64_t layout_sizes[] = {
    MB,          MB + 1,         MB + 4095, 3 * MB / 2,         4 * MB, 20 * MB,        64 * MB - 1,   64 * MB,
    64 * MB + 1, 64 * MB + 8192, 1000 * MB, 10240 * MB + 12345, MB *MB, MB *MB * 3 + 7, LAST_SIZE - 1, LAST_SIZE,
};

START_TEST(layout_of_sizes)
{
    layout_is_right(layout_sizes[_i], 65536);
    if (layout_sizes[_i] >= 20 * MB)
        for (uint32_t chunk = 65536; chunk <= 1048576; chunk *= 2)
            layout_is_right(layout_sizes[_i], chunk);
}
END_TEST

START_TEST(layout_of_any_size)
{
    uint64_t random = 4711;

    for (unsigned round = 0; round < 2000; round++) {
        uint64_t magnitude = UINT64_C(1) << (24 + check_below(&random, 19));

        layout_is_right(magnitude + check_below(&random, magnitude), 65536u << check_below(&random, 5));
    }
}
END_TEST

static const struct {
    const char *label;
    uint64_t size;
    uint32_t chunk_size;
} refused_cases[] = {
    {"nothing", 0, 65536},
    {"one byte too few", AFPA_ZONE_SIZE_MIN - 1, 65536},
    {"one object more than can be numbered", LAST_SIZE + 1, 65536},
    {"twice as many", UINT64_C(1) << 44, 65536},
    {"one byte beyond the limit", (UINT64_C(1) << 44) + 1, 65536},
    {"half of the numbers there are", UINT64_C(1) << 63, 65536},
    {"all of the numbers there are", UINT64_MAX, 65536},
    {"all but a page, to be rounded up", UINT64_MAX - 4096, 1048576},
    {"no chunk size", 64 * MB, 0},
    {"chunk of one byte", 64 * MB, 1},
    {"chunk too small", 64 * MB, 32768},
    {"chunk not a power of two, just below", 64 * MB, 65535},
    {"chunk not a power of two, just above", 64 * MB, 65537},
    {"chunk not a power of two, between", 64 * MB, 98304},
    {"chunk too large", 64 * MB, 2097152},
    {"highest bit", 64 * MB, UINT32_C(1) << 31},
    {"fewer than four chunks", 3 * MB, 1048576},
    {"four chunks, but no room for the tables", 4 * MB, 1048576},
};

START_TEST(layout_refused)
{
    afpa__layout_t layout;

    ck_assert_msg(!afpa__layout_compute(&layout, refused_cases[_i].size, refused_cases[_i].chunk_size), "%s",
                  refused_cases[_i].label);
}
END_TEST

/* ---- a segment without a zone ---- */

static int file_make(uint64_t size)
{
    int fd = memfd_create("segment", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static afpa__segment_t segment_make(uint64_t size)
{
    afpa__segment_t segment;
    afpa__layout_t layout;
    afpa_error_t error;

    ck_assert(afpa__layout_compute(&layout, size, FIXTURE_CHUNK));
    ck_assert_int_eq(afpa__segment_map(&segment, &layout, file_make(layout.file_size), "a/path", &error), AFPA_OK);
    afpa__segment_format(&segment, "check");
    return segment;
}

static void segment_drop(afpa__segment_t *segment)
{
    afpa__segment_unmap(segment);
    afpa__segment_unmap(segment); /* twice is once */
    close(segment->fd);
}

START_TEST(format)
{
    afpa__segment_t a = segment_make(4 * MB), b = segment_make(4 * MB);
    afpa__layout_t layout;
    afpa_error_t error;

    ck_assert_int_eq(afpa__segment_examine(a.fd, "a/path", &layout, &error), AFPA_OK);
    ck_assert_mem_eq(&layout, &a.layout, sizeof(layout));
    ck_assert_str_eq(a.header->name, "check");
    ck_assert_uint_eq(a.header->size, 4 * MB);
    ck_assert_uint_ne(a.header->seed, b.header->seed);
    ck_assert_uint_ne(a.header->creation_id, b.header->creation_id);
    ck_assert(atomic_load(&a.header->enabled) && atomic_load(&a.header->ready) && !atomic_load(&a.header->broken));
    for (uint32_t entry = 0; entry < a.layout.entries; entry++)
        ck_assert(a.entries[entry].chunk == AFPA_NONE && afpa__word_state(atomic_load(&a.entries[entry].word)) == AFPA__EMPTY);
    for (uint32_t bucket = 0; bucket < a.layout.buckets; bucket++)
        ck_assert_uint_eq(atomic_load(&a.buckets[bucket].head), AFPA_NONE);
    ck_assert_uint_eq(a.space->free_objects, a.layout.objects);
    ck_assert_uint_eq(a.space->free_groups, a.layout.groups);
    ck_assert_uint_eq(a.space->free_chunks, a.layout.chunks);
    segment_drop(&a);
    segment_drop(&b);
}
END_TEST

/* What README.md promises: records, keys and payload of ten thousand small files in 20 MB. */
START_TEST(files_of_1k)
{
    afpa__segment_t s = segment_make(20 * MB);
    uint32_t chunk, offset, files = 0;

    while (files < 10000 && afpa__chunk_alloc(&s, 1024, &chunk, &offset) && afpa__chunk_alloc(&s, 80, &chunk, &offset))
        files++;
    ck_assert_uint_eq(files, 10000);
    ck_assert_uint_ge(s.layout.objects, 10000);
    segment_drop(&s);
}
END_TEST

START_TEST(bounds)
{
    afpa__segment_t s = segment_make(4 * MB);
    uint32_t last = s.layout.chunks - 1, size = s.layout.chunk_size;

    ck_assert_ptr_eq(afpa__object_at(&s, s.layout.objects - 1), &s.objects[s.layout.objects - 1]);
    ck_assert_ptr_null(afpa__object_at(&s, s.layout.objects));
    ck_assert_ptr_null(afpa__object_at(&s, AFPA_NONE));
    ck_assert_ptr_eq(afpa__entry_at(&s, s.layout.entries - 1), &s.entries[s.layout.entries - 1]);
    ck_assert_ptr_null(afpa__entry_at(&s, s.layout.entries));
    ck_assert_ptr_eq(afpa__data_at(&s, last, 0, size), s.base + s.layout.ledger_at - size);
    ck_assert_ptr_eq(afpa__data_at(&s, 0, size - 1, 1), s.data + size - 1);
    ck_assert_ptr_null(afpa__data_at(&s, last + 1, 0, 1));
    ck_assert_ptr_null(afpa__data_at(&s, AFPA_NONE, 0, 0));
    ck_assert_ptr_null(afpa__data_at(&s, 0, 1, size));
    ck_assert_ptr_null(afpa__data_at(&s, 0, size + 1, 0));
    ck_assert_ptr_null(afpa__data_at(&s, 0, UINT32_MAX, 2));
    ck_assert_ptr_null(afpa__data_at(&s, 0, 2, UINT32_MAX));
    ck_assert_ptr_eq((char *)afpa__ledger_row(&s, 0), s.base + s.layout.ledger_at);
    ck_assert_ptr_eq((char *)(afpa__ledger_row(&s, AFPA_OWNERS - 1)) + s.layout.ledger_row, s.base + s.layout.file_size);
    segment_drop(&s);
}
END_TEST

START_TEST(map_refused)
{
    afpa__segment_t segment = {0};
    afpa__layout_t layout;
    afpa_error_t error;
    char name[64];
    int fd, readable;

    ck_assert(afpa__layout_compute(&layout, 4 * MB, FIXTURE_CHUNK));
    fd = file_make(layout.file_size - 1);
    ck_assert_int_eq(afpa__segment_map(&segment, &layout, fd, "a/path", &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, "a/path: has not the size its header gives it");
    ck_assert_int_eq(ftruncate(fd, (off_t)layout.file_size), 0);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    readable = open(name, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(afpa__segment_map(&segment, &layout, readable, "a/path", &error), AFPA_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "a/path: cannot map"));
    ck_assert_int_eq(afpa__segment_map(&segment, &layout, -1, "a/path", &error), AFPA_INVALID);
    ck_assert_ptr_null(segment.base);
    close(readable);
    close(fd);
}
END_TEST

/* ---- damaged headers ---- */

#define FIELD(name) offsetof(afpa__header_shared_t, name), sizeof(((afpa__header_shared_t *)NULL)->name)

static const struct {
    const char *label;
    size_t at, length; /* what is overwritten … */
    uint64_t with;
    bool summed; /* … under a checksum that is made right again */
    const char *says;
} header_cases[] = {
    {"magic", FIELD(magic), 1, true, "is not an AFPA segment"},
    {"layout version", FIELD(layout_version), 8, true, "has layout version 8, this release has 7"},
    {"layout version, not summed", FIELD(layout_version), 0, false, "has layout version 0, this release has 7"},
    {"chunk size, not summed", FIELD(chunk_size), 131072, false, "has a damaged header (checksum)"},
    {"size, not summed", FIELD(size), 5 * MB, false, "has a damaged header (checksum)"},
    {"file size, not summed", FIELD(file_size), 5 * MB, false, "has a damaged header (checksum)"},
    {"seed", FIELD(seed), 1, false, "has a damaged header (checksum)"},
    {"creation id", FIELD(creation_id), 1, false, "has a damaged header (checksum)"},
    {"name", FIELD(name), 0x58, false, "has a damaged header (checksum)"},
    {"checksum", FIELD(checksum), 1, false, "has a damaged header (checksum)"},
    {"chunk size of another layout", FIELD(chunk_size), 131072, true, "has a damaged header (sizes)"},
    {"chunk size that is none", FIELD(chunk_size), 65535, true, "has a damaged header (sizes)"},
    {"size of another layout", FIELD(size), 5 * MB, true, "has a damaged header (sizes)"},
    {"size that is none", FIELD(size), UINT64_MAX, true, "has a damaged header (sizes)"},
    {"file size", FIELD(file_size), 4 * MB, true, "has a damaged header (sizes)"},
    {"not ready", FIELD(ready), 0, true, "was never finished"},
    {"broken", FIELD(broken), 1, true, "was found inconsistent and switched off"},
};

START_TEST(header_damaged)
{
    afpa__segment_t s = segment_make(4 * MB);
    char expected[128];
    afpa__layout_t layout;
    afpa_error_t error;

    memset((char *)s.header + header_cases[_i].at, 0, header_cases[_i].length);
    memcpy((char *)s.header + header_cases[_i].at, &header_cases[_i].with,
           header_cases[_i].length < 8 ? header_cases[_i].length : 8);
    if (header_cases[_i].summed)
        s.header->checksum = XXH3_64bits(s.header, offsetof(afpa__header_shared_t, checksum));
    ck_assert_msg(afpa__segment_examine(s.fd, "a/path", &layout, &error) == AFPA_INVALID, "%s", header_cases[_i].label);
    snprintf(expected, sizeof(expected), "a/path: %s", header_cases[_i].says);
    ck_assert_str_eq(error.text, expected);
    segment_drop(&s);
}
END_TEST

/* No bit of what is summed may change unnoticed. */
START_TEST(header_any_bit)
{
    afpa__segment_t s = segment_make(4 * MB);
    afpa__layout_t layout;
    afpa_error_t error;

    for (size_t bit = 0; bit < offsetof(afpa__header_shared_t, ready) * 8; bit++) {
        ((char *)s.header)[bit / 8] ^= (char)(1 << bit % 8);
        ck_assert_msg(afpa__segment_examine(s.fd, "a/path", &layout, &error) == AFPA_INVALID, "bit %zu", bit);
        ((char *)s.header)[bit / 8] ^= (char)(1 << bit % 8);
    }
    ck_assert_int_eq(afpa__segment_examine(s.fd, "a/path", &layout, &error), AFPA_OK);
    segment_drop(&s);
}
END_TEST

static const struct {
    int64_t by; /* bytes longer than it should be; INT64_MIN: empty */
    const char *says;
} length_cases[] = {
    {-1, "a/path: is not as long as its header says"},
    {1, "a/path: is not as long as its header says"},
    {65536, "a/path: is not as long as its header says"},
    {INT64_MIN, "a/path: is not an AFPA segment"},
};

START_TEST(file_of_other_length)
{
    afpa__segment_t s = segment_make(4 * MB);
    int64_t length = length_cases[_i].by == INT64_MIN ? 0 : (int64_t)s.layout.file_size + length_cases[_i].by;
    afpa__layout_t layout;
    afpa_error_t error;

    ck_assert_int_eq(ftruncate(s.fd, length), 0);
    ck_assert_int_eq(afpa__segment_examine(s.fd, "a/path", &layout, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, length_cases[_i].says);
    segment_drop(&s);
}
END_TEST

START_TEST(file_is_none)
{
    int directory = open("/", O_RDONLY | O_CLOEXEC);
    afpa__layout_t layout;
    afpa_error_t error;

    ck_assert_int_eq(afpa__segment_examine(directory, "a/path", &layout, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, "a/path: is not a regular file");
    close(directory);
    ck_assert_int_eq(afpa__segment_examine(-1, "a/path", &layout, &error), AFPA_INVALID);
}
END_TEST

/* ---- broken ---- */

static void count_line(void *context, afpa_log_level_t level, const char *line)
{
    ck_assert_int_eq(level, AFPA_LOG_ERROR);
    ck_assert_ptr_nonnull(strstr(line, "out of order"));
    ++*(unsigned *)context;
}

/* Everyone bypasses it, and the log says so once. */
START_TEST(broken)
{
    unsigned lines = 0;
    fixture_t f;

    fixture_begin(&f, 4 * MB);
    fixture_file(&f, "a", 100, 1);
    fixture_load(&f, "a");
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    afpa_log_set(count_line, &lines, AFPA_LOG_ERROR);
    afpa__segment_break(f.segment, "out of order");
    afpa__segment_break(f.segment, "out of order");
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    ck_assert_uint_eq(lines, 1);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_DISABLED);
    fixture_drop(&f);
}
END_TEST

/* Any range, without the way for older kernels, which a tmpfs with large pages makes wrong. */
START_TEST(reserve)
{
    afpa__segment_t without;
    fixture_t f;

    fixture_begin(&f, 4 * MB);
    without = *f.segment;
    without.fd = -1;
    if (afpa__segment_reserve(&without, without.layout.data_at, 4096)) {
        ck_assert(afpa__segment_reserve(&without, without.layout.data_at + 1024, 1024));
        ck_assert(afpa__segment_reserve(&without, without.layout.data_at + 3072, 2048));
        ck_assert(afpa__segment_reserve(&without, without.layout.ledger_at, without.layout.ledger_window));
    } else {
        ck_assert_int_eq(errno, EBADF); /* this kernel is one of those */
    }
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("segment");

    check_add_loop(suite, "layout_of_sizes", layout_of_sizes, CHECK_COUNT(layout_sizes));
    check_add(suite, "layout_of_any_size", layout_of_any_size);
    check_add_loop(suite, "layout_refused", layout_refused, CHECK_COUNT(refused_cases));
    check_add(suite, "format", format);
    check_add(suite, "files_of_1k", files_of_1k);
    check_add(suite, "bounds", bounds);
    check_add(suite, "map_refused", map_refused);
    check_add(suite, "reserve", reserve);
    check_add_loop(suite, "header_damaged", header_damaged, CHECK_COUNT(header_cases));
    check_add(suite, "header_any_bit", header_any_bit);
    check_add_loop(suite, "file_of_other_length", file_of_other_length, CHECK_COUNT(length_cases));
    check_add(suite, "file_is_none", file_is_none);
    check_add(suite, "broken", broken);
    return check_main(suite);
}
