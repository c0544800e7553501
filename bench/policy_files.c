/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that are not there: what the library's open(), fstat(), pread() and close() do in bench/policy.
 *
 * The linker has these calls go to __wrap_… (bench/local.mk: -Wl,--wrap); for all other paths and descriptors they are passed on.
 * A path /policy/N opens object N of the trace: a regular file of that size, long unchanged, whose bytes are never written, so that
 * a zone's data section costs memory only where paths lie.  For the same reason fallocate() reserves nothing: no pages
 * are needed that nobody touches.  getrandom() gives the same bytes each time, so that a replay can be repeated bit by bit.
 */
#include "config.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "policy.h"

#define PREFIX "/policy/"
#define DESCRIPTOR_BASE (1 << 30) /* above any that the kernel gives */
#define LONG_AGO 1000000000

int __real_close(int fd);
int __wrap_open(const char *path, int flags, ...);
int __wrap_fstat(int fd, struct stat *st);
ssize_t __wrap_pread(int fd, void *to, size_t length, off_t at);
int __wrap_close(int fd);
int __wrap_fallocate(int fd, int mode, off_t at, off_t length);
ssize_t __wrap_getrandom(void *to, size_t length, unsigned flags);

static const policy_trace_t *files;

void policy_files_set(const policy_trace_t *trace)
{
    files = trace;
}

size_t policy_files_path(uint32_t object, char path[POLICY_PATH])
{
    static const char digits[] = "0123456789abcdef";
    char *at = path + sizeof(PREFIX) - 1;

    memcpy(path, PREFIX, sizeof(PREFIX) - 1);
    for (int shift = 28; shift >= 0; shift -= 4)
        *at++ = digits[object >> shift & 15];
    *at = 0;
    return (size_t)(at - path);
}

static bool is_ours(int fd)
{
    return fd >= DESCRIPTOR_BASE && files && (uint32_t)(fd - DESCRIPTOR_BASE) < files->objects;
}

int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (files && strncmp(path, PREFIX, sizeof(PREFIX) - 1) == 0)
        return DESCRIPTOR_BASE + (int)strtoul(path + sizeof(PREFIX) - 1, NULL, 16);
    if (flags & O_CREAT) {
        va_list arguments;

        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return openat(AT_FDCWD, path, flags, mode);
}

int __wrap_fstat(int fd, struct stat *st)
{
    if (!is_ours(fd))
        return fstatat(fd, "", st, AT_EMPTY_PATH);
    memset(st, 0, sizeof(*st));
    st->st_mode = S_IFREG | 0644;
    st->st_ino = (ino_t)(fd - DESCRIPTOR_BASE) + 1;
    st->st_size = (off_t)files->sizes[fd - DESCRIPTOR_BASE];
    st->st_mtim.tv_sec = st->st_ctim.tv_sec = LONG_AGO;
    return 0;
}

ssize_t __wrap_pread(int fd, void *to, size_t length, off_t at)
{
    uint64_t size;

    if (!is_ours(fd))
        return preadv(fd, &(struct iovec){.iov_base = to, .iov_len = length}, 1, at);
    size = files->sizes[fd - DESCRIPTOR_BASE];
    if ((uint64_t)at >= size)
        return 0;
    return (ssize_t)(size - (uint64_t)at < length ? size - (uint64_t)at : length);
}

int __wrap_close(int fd)
{
    return is_ours(fd) ? 0 : __real_close(fd);
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t length)
{
    return 0;
}

ssize_t __wrap_getrandom(void *to, size_t length, unsigned flags)
{
    memset(to, 0x5a, length);
    return (ssize_t)length;
}

/* The same, by the names they have where off_t was once smaller. */
int __wrap_open64(const char *path, int flags, ...) __attribute__((alias("__wrap_open")));
int __wrap_fstat64(int fd, struct stat *st) __attribute__((alias("__wrap_fstat")));
ssize_t __wrap_pread64(int fd, void *to, size_t length, off_t at) __attribute__((alias("__wrap_pread")));
int __wrap_fallocate64(int fd, int mode, off_t at, off_t length) __attribute__((alias("__wrap_fallocate")));
