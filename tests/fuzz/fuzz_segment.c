/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment that somebody damaged, read by a tool: attaching, statistics, lists, pin arrays and verification must find it bad
 * or show nonsense, but never follow an index out of the mapping, loop, or crash.
 *
 * The input is a list of patches on the tables of a good segment: offset (3 bytes, modulo the size of the tables), length
 * (1 byte, 0 to 15), bytes.  The locks are left alone: a tool takes them with a time limit, and the C library trusts them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <afpa/afpa.h>

#include "../../libafpa/segment.h"
#include "../../libafpa/zone.h"
#include "fuzz.h"

#define SIZE (UINT64_C(1) << 20)

static const size_t file_sizes[] = {0, 100, 1000, 5000, 65536, 200000};
#define FILES (sizeof(file_sizes) / sizeof(file_sizes[0]))

static char zone_path[64], directory[64];
static afpa__layout_t layout;
static uint8_t *image, *damaged;

static void file_name(char *path, size_t room, size_t i)
{
    snprintf(path, room, "%s/%zu", directory, i);
}

static void clean_up(void)
{
    char path[128];

    unlink(zone_path);
    for (size_t i = 0; i < FILES; i++) {
        file_name(path, sizeof(path), i);
        unlink(path);
    }
    rmdir(directory);
}

static void load_file(afpa_cache_t *cache, size_t i)
{
    afpa_policy_t policy;
    afpa_counter_t why;
    afpa_ref_t ref;
    char path[128];
    int fd;

    file_name(path, sizeof(path), i);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    afpa__assert(fd >= 0 && ftruncate(fd, (off_t)file_sizes[i]) == 0);
    close(fd);
    afpa_policy_init(&policy);
    if (afpa_cache_open(cache, path, strlen(path), &policy, &ref, &why, NULL) != AFPA_OK)
        return;
    afpa_cache_fill(&ref, 0, afpa_ref_entries(&ref));
    afpa_cache_release(&ref);
}

/* Makes a good segment, and keeps a copy of its tables. */
static void prepare(void)
{
    afpa_zone_options_t options;
    afpa_zone_t *zone = NULL;
    afpa_cache_t *cache = NULL;
    afpa_error_t error;
    int fd;

    snprintf(directory, sizeof(directory), "/tmp/afpa-fuzz-XXXXXX");
    afpa__assert(mkdtemp(directory));
    snprintf(zone_path, sizeof(zone_path), "/dev/shm/afpa-fuzz-%d", (int)getpid());
    atexit(clean_up);
    afpa_zone_options_init(&options);
    options.name = "fuzz";
    options.path = zone_path;
    options.size = SIZE;
    options.mlock = AFPA_MLOCK_OFF;
    afpa__assert(afpa_zone_open(&options, &zone, &error) == AFPA_OK);
    afpa__assert(afpa_cache_attach(zone, "fuzz", &cache, &error) == AFPA_OK);
    for (size_t i = 0; i < FILES; i++)
        load_file(cache, i);
    layout = afpa__zone_segment(zone)->layout;
    afpa_cache_detach(&cache);
    afpa_zone_close(&zone);

    image = malloc(layout.data_at);
    damaged = malloc(layout.data_at);
    fd = open(zone_path, O_RDONLY | O_CLOEXEC);
    afpa__assert(image && damaged && pread(fd, image, layout.data_at, 0) == (ssize_t)layout.data_at);
    close(fd);
}

static int is_lock(uint64_t offset)
{
    return (offset >= layout.shards_at && offset < layout.shards_at + AFPA_SHARDS * sizeof(afpa__shard_shared_t)) ||
           (offset >= layout.space_at && offset < layout.space_at + sizeof(afpa__lock_t));
}

static void damage(const uint8_t *data, size_t size)
{
    memcpy(damaged, image, layout.data_at);
    while (size > 4) {
        uint64_t offset = ((uint64_t)data[0] << 16 | (uint64_t)data[1] << 8 | data[2]) % layout.data_at;
        size_t length = data[3] & 15u;

        data += 4, size -= 4;
        for (size_t i = 0; i < length && i < size && offset + i < layout.data_at; i++)
            if (!is_lock(offset + i))
                damaged[offset + i] = data[i];
        length = length < size ? length : size;
        data += length, size -= length;
    }
}

static void ignore(void *context, const char *problem)
{
    (void)context;
    afpa__assert(strlen(problem) > 0);
}

/* Reads every byte of an entry that the library says is there. */
static unsigned touch(const afpa_entry_info_t *entry)
{
    const uint8_t *bytes = entry->data;
    unsigned sum = 0;

    if (bytes && entry->length > 0)
        sum = bytes[0] + bytes[entry->length / 2] + bytes[entry->length - 1u];
    return sum;
}

static void inspect(afpa_zone_t *zone)
{
    static afpa_object_info_t object;
    afpa_owner_info_t owner;
    afpa_entry_info_t entry;
    afpa_stat_t stat;
    uint32_t cursor = 0;
    volatile unsigned sum = 0;
    char path[128];

    afpa_inspect_stat(zone, &stat);
    for (uint32_t slot = 0; slot < stat.owners_limit; slot++)
        afpa_inspect_owner(zone, slot, &owner);
    while (afpa_inspect_next(zone, &cursor, &object) == AFPA_OK) {
        afpa__assert(strlen(object.path) < AFPA_PATH_MAX && object.state && object.queue);
        for (uint32_t i = 0; i < object.entries && i < 64; i++)
            if (afpa_inspect_entry(zone, object.object, i, &entry) == AFPA_OK)
                sum = sum + touch(&entry);
    }
    for (size_t i = 0; i < FILES; i++) {
        file_name(path, sizeof(path), i);
        afpa_inspect_path(zone, path, strlen(path), &object);
    }
    afpa_inspect_verify(zone, ignore, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    afpa_zone_t *zone = NULL;
    afpa_error_t error;
    int fd;

    if (!image)
        prepare();
    damage(data, size);
    fd = open(zone_path, O_WRONLY | O_CLOEXEC);
    afpa__assert(fd >= 0 && pwrite(fd, damaged, layout.data_at, 0) == (ssize_t)layout.data_at);
    close(fd);
    if (afpa_zone_attach(zone_path, false, &zone, &error) != AFPA_OK)
        return 0;
    inspect(zone);
    afpa_zone_close(&zone);
    return 0;
}
