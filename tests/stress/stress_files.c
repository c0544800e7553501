/* SPDX-License-Identifier: Apache-2.0
 *
 * See stress_files.h.  The version of a file is its modification time in seconds, less EPOCH; its size follows from both.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stress_files.h"

#define EPOCH 1000000000
#define VERSIONS 10000000
#define LARGEST (600u << 10)

uint64_t stress_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717) >> 16;
}

/* Eight bytes at a time, so that checking does not take all the time. */
static uint64_t word_at(unsigned file, uint32_t version, uint64_t word)
{
    uint64_t x = (word + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)version << 40 ^ (uint64_t)file << 24;

    x ^= x >> 31;
    return x * UINT64_C(0xbf58476d1ce4e5b9);
}

static char byte_at(unsigned file, uint32_t version, uint64_t offset)
{
    return (char)(word_at(file, version, offset / 8) >> offset % 8 * 8);
}

/* A third each below 4 KB, below a chunk, and of several chunks. */
static uint32_t size_of(unsigned file, uint32_t version)
{
    static const uint32_t limits[] = {4096, 65536, LARGEST};
    uint64_t x = word_at(file, version, UINT64_C(1) << 40);

    return (uint32_t)((x >> 20) % (limits[file % 3] + 1));
}

static bool write_all(int fd, unsigned file, uint32_t version)
{
    uint32_t size = size_of(file, version), at = 0;
    struct timespec times[2] = {{EPOCH + version, 0}, {EPOCH + version, 0}};
    char buffer[8192];

    while (at < size) {
        uint32_t part = size - at < sizeof(buffer) ? size - at : (uint32_t)sizeof(buffer);

        for (uint32_t i = 0; i < part; i++)
            buffer[i] = byte_at(file, version, at + i);
        if (pwrite(fd, buffer, part, at) != (ssize_t)part)
            return false;
        at += part;
    }
    return ftruncate(fd, size) == 0 && futimens(fd, times) == 0;
}

static bool write_new(const char *path, unsigned file, uint32_t version)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool good = fd >= 0 && write_all(fd, file, version);

    if (fd >= 0)
        close(fd);
    return good;
}

bool stress_files_make(stress_files_t *f, uint64_t seed)
{
    const char *tmp = getenv("TMPDIR");

    (void)seed;
    snprintf(f->dir, sizeof(f->dir), "%.40s/afpa-stress-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f->dir))
        return false;
    for (unsigned i = 0; i < STRESS_FILES; i++) {
        snprintf(f->path[i], sizeof(f->path[i]), "%s/%u", f->dir, i);
        atomic_store(&f->version[i], 1);
        f->total += size_of(i, 1);
        if (!write_new(f->path[i], i, 1))
            return false;
    }
    return true;
}

void stress_files_remove(stress_files_t *f)
{
    char fresh[128];

    for (unsigned i = 0; i < STRESS_FILES; i++) {
        snprintf(fresh, sizeof(fresh), "%s.new", f->path[i]);
        unlink(fresh);
        unlink(f->path[i]);
    }
    rmdir(f->dir);
}

static bool change_take(stress_files_t *f, unsigned file)
{
    int holder = 0;

    if (atomic_compare_exchange_strong(&f->changing[file], &holder, getpid()))
        return true;
    return holder != getpid() && kill(holder, 0) != 0 && errno == ESRCH &&
           atomic_compare_exchange_strong(&f->changing[file], &holder, getpid());
}

static bool replace(const char *path, unsigned file, uint32_t version)
{
    char fresh[128];

    snprintf(fresh, sizeof(fresh), "%s.new", path);
    return write_new(fresh, file, version) && rename(fresh, path) == 0;
}

bool stress_files_change(stress_files_t *f, unsigned file, stress_change_t change)
{
    const char *path = f->path[file];
    uint32_t version;
    bool good = false;
    int fd = -1;

    if (!change_take(f, file))
        return false;
    version = atomic_fetch_add(&f->version[file], 1) + 1;
    switch (change) {
    case STRESS_REPLACE:
        good = replace(path, file, version);
        break;
    case STRESS_IN_PLACE:
        fd = open(path, O_WRONLY | O_CLOEXEC);
        good = fd >= 0 && write_all(fd, file, version);
        break;
    case STRESS_TRUNCATE:
        good = truncate(path, 0) == 0 && write_new(path, file, version);
        break;
    case STRESS_RECREATE:
        good = unlink(path) == 0;
        good = write_new(path, file, version) && good;
        break;
    }
    if (fd >= 0)
        close(fd);
    atomic_store(&f->changing[file], 0);
    return good;
}

bool stress_files_right(const stress_files_t *f, unsigned file, const afpa_identity_t *identity, uint64_t offset, const void *data,
                        uint32_t length, uint64_t *bad)
{
    const char *bytes = data;
    uint32_t version = (uint32_t)(identity->mtime_sec - EPOCH), i = 0;
    uint64_t word;

    (void)f;
    if (identity->mtime_sec <= EPOCH || identity->mtime_sec > EPOCH + VERSIONS || identity->mtime_nsec != 0)
        return true;
    for (; i + 8 <= length; i += 8) {
        word = word_at(file, version, (offset + i) / 8);
        if (memcmp(bytes + i, &word, 8) != 0)
            break;
    }
    for (; i < length; i++)
        if (bytes[i] != byte_at(file, version, offset + i)) {
            *bad = offset + i;
            return false;
        }
    return true;
}
