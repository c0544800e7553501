/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_LINUX_OPENAT2_H
#include <linux/openat2.h>
#endif

#include "check_main.h"
#include "clock.h"
#include "fill.h"
#include "fixture.h"
#include "pin.h"
#include "zone.h"

static uint64_t stopped_at;

static uint64_t stopped(void)
{
    return stopped_at;
}

void fixture_clock_stop(void)
{
    stopped_at = 1000000;
    afpa__clock_set(stopped);
}

void fixture_clock_advance(uint64_t ms)
{
    stopped_at += ms;
}

void fixture_begin(fixture_t *fixture, uint64_t size)
{
    fixture_begin_chunks(fixture, size, FIXTURE_CHUNK);
}

void fixture_begin_chunks(fixture_t *fixture, uint64_t size, uint32_t chunk_size)
{
    static unsigned number;
    const char *tmp = getenv("TMPDIR");
    afpa_zone_options_t options;
    afpa_error_t error;
    char name[32];

    memset(fixture, 0, sizeof(*fixture));
    snprintf(fixture->dir, sizeof(fixture->dir), "%.40s/afpa-check-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(fixture->dir));
    snprintf(name, sizeof(name), "check-%d-%u", (int)getpid(), number++);
    snprintf(fixture->path, sizeof(fixture->path), AFPA_ZONE_DIR "/" AFPA_ZONE_PREFIX "%s", name);
    fixture->policy = (afpa_policy_t){.max_size = UINT64_MAX, .revalidate_ms = 1000, .min_uses = 1};
    afpa_zone_options_init(&options);
    options.name = name;
    options.size = size;
    options.chunk_size = chunk_size;
    options.mlock = AFPA_MLOCK_OFF;
    ck_assert_msg(afpa_zone_open(&options, &fixture->zone, &error) == AFPA_OK, "%s", error.text);
    fixture->segment = afpa__zone_segment(fixture->zone);
    fixture->cache = fixture_attach(fixture);
}

afpa_cache_t *fixture_attach(fixture_t *fixture)
{
    afpa_cache_t *cache;
    afpa_error_t error;

    ck_assert_msg(afpa_cache_attach(fixture->zone, "check", &cache, &error) == AFPA_OK, "%s", error.text);
    return cache;
}

static void remove_files(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;

    ck_assert_ptr_nonnull(d);
    while ((entry = readdir(d)) != NULL)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    ck_assert_int_eq(rmdir(dir), 0);
}

void fixture_drop(fixture_t *fixture)
{
    afpa_cache_detach(&fixture->cache);
    afpa_zone_close(&fixture->zone);
    unlink(fixture->path);
    remove_files(fixture->dir);
    afpa__clock_set(NULL);
}

void fixture_end(fixture_t *fixture)
{
    uint64_t pins = fixture_pins(fixture);
    size_t problems = fixture_problems(fixture, true);

    fixture_drop(fixture);
    ck_assert_uint_eq(pins, 0);
    ck_assert_uint_eq(problems, 0);
}

const char *fixture_path(fixture_t *fixture, const char *name)
{
    static char paths[2][FIXTURE_PATH];
    static unsigned turn;
    char *path = paths[turn++ % 2];

    snprintf(path, FIXTURE_PATH, "%s/%s", fixture->dir, name);
    return path;
}

char fixture_byte(const char *name, unsigned version, uint64_t offset)
{
    uint64_t x = (offset + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)version << 32;

    for (; *name; name++)
        x = (x ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return (char)(x >> 56);
}

static void write_file(int fd, const char *name, uint64_t size, unsigned version)
{
    char *bytes = malloc(size + 1);
    ssize_t written;

    ck_assert_ptr_nonnull(bytes);
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = fixture_byte(name, version, i);
    written = write(fd, bytes, size);
    free(bytes);
    ck_assert_int_eq(written, (ssize_t)size);
}

const char *fixture_file(fixture_t *fixture, const char *name, uint64_t size, unsigned version)
{
    const char *path = fixture_path(fixture, name);
    char fresh[FIXTURE_PATH + 8];
    time_t then = time(NULL) - 7200 + (time_t)version;
    int fd;

    snprintf(fresh, sizeof(fresh), "%s.new", path);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    write_file(fd, name, size, version);
    ck_assert_int_eq(futimens(fd, (struct timespec[]){{then, 0}, {then, 0}}), 0);
    close(fd);
    ck_assert_int_eq(rename(fresh, path), 0);
    return path;
}

afpa_ref_t fixture_open(fixture_t *fixture, const char *name)
{
    const char *path = fixture_path(fixture, name);
    afpa_counter_t why = 0;
    afpa_ref_t ref = {0};
    afpa_status_t status = afpa_cache_open(fixture->cache, path, strlen(path), &fixture->policy, &ref, &why, NULL);

    ck_assert_msg(status == AFPA_OK, "%s: status %d, %s", path, (int)status, afpa_counter_name(why));
    afpa_cache_fill(&ref, 0, afpa_ref_entries(&ref));
    return ref;
}

void fixture_load(fixture_t *fixture, const char *name)
{
    afpa_ref_t ref = fixture_open(fixture, name);

    afpa_cache_release(&ref);
}

afpa_status_t fixture_lookup(fixture_t *fixture, const char *name)
{
    const char *path = fixture_path(fixture, name);
    afpa_ref_t ref;
    afpa_status_t status = afpa_cache_lookup(fixture->cache, path, strlen(path), fixture->policy.revalidate_ms, &ref);

    if (status == AFPA_OK || status == AFPA_CHECK_DUE)
        afpa_cache_release(&ref);
    return status;
}

void fixture_away(fixture_t *fixture)
{
    for (uint32_t object = 0; object < fixture->segment->layout.objects; object++)
        fixture->segment->objects[object].local = 0;
}

bool fixture_at_once(fixture_t *fixture)
{
    bool can = false;
#if defined(RESOLVE_CACHED) && defined(SYS_openat2)
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED};
    afpa__file_t file = {.fd = (int)syscall(SYS_openat2, AT_FDCWD, fixture->dir, &how, sizeof(how))};

    can = file.fd >= 0 && afpa__file_is_local(&file);
    if (file.fd >= 0)
        close(file.fd);
#endif
    return can;
}

bool fixture_right(const afpa_extent_t *extent, const char *name, unsigned version, uint64_t offset)
{
    for (uint32_t i = 0; i < extent->length; i++)
        if (((const char *)extent->data)[i] != fixture_byte(name, version, offset + i))
            return false;
    return true;
}

uint64_t fixture_pins(const fixture_t *fixture)
{
    uint64_t pins = 0;

    for (uint32_t entry = 0; entry < fixture->segment->layout.entries; entry++)
        pins += afpa__pin_count(fixture->segment, entry);
    return pins;
}

static void print_problem(void *context, const char *problem)
{
    if (*(bool *)context)
        fprintf(stderr, "verify: %s\n", problem);
}

size_t fixture_problems(fixture_t *fixture, bool say)
{
    return afpa_inspect_verify(fixture->zone, print_problem, &say);
}

uint64_t fixture_counter(fixture_t *fixture, afpa_counter_t counter)
{
    afpa_stat_t stat;

    afpa_inspect_stat(fixture->zone, &stat);
    return stat.counters[counter];
}
