/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading files into chunks: see fill.c.  In worker threads only.
 */
#ifndef AFPA_FILL_H
#define AFPA_FILL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <afpa/cache.h>

#include "evict.h"
#include "segment.h"

/* The identity in what stat() said. */
void afpa__identity_of(const struct stat *st, afpa_identity_t *identity);
bool afpa__identity_same(const afpa_identity_t *a, const afpa_identity_t *b);

typedef struct afpa__file {
    int fd; /* who opened it closes it */
    afpa_identity_t identity;
    uint64_t opened; /* ms, monotonic: the path led to it then, or later */
} afpa__file_t;

/* Opens a regular file for reading.  AFPA_OK, or AFPA_DECLINED with *why. */
afpa_status_t afpa__file_open(const char *path, afpa__file_t *file, afpa_counter_t *why);

/* Whether the file is young: its last change is so little ago that it may not be over, or that another may bear the same stamp. */
bool afpa__identity_young(const afpa_identity_t *identity);

/* Whether it is on a file system of this machine, of a kind that has the inode of an open file in memory, whole and up to date. */
bool afpa__file_is_local(const afpa__file_t *file);

/* Makes sure entry `index` of a held object was PINNED at some moment during the call; reads it from fd if need be, or waits for
 * the process that reads it.  Statuses as afpa_cache_fill(), and AFPA_NOT_FOUND: the object has no such entry. */
afpa_status_t afpa__fill_entry(afpa_cache_t *cache, uint32_t object, uint32_t index, int fd, afpa__evict_t what);

/* Fills the first entry of a new object, which nobody else knows yet, with bytes from memory.  AFPA_OK, AFPA_NO_SPACE. */
afpa_status_t afpa__fill_bytes(afpa_cache_t *cache, uint32_t object, const void *bytes, uint32_t length);

/* Reads `length` bytes at `at`, and checks the identity afterwards.
 * AFPA_OK; AFPA_CHANGED: another identity, or fewer bytes; AFPA_IO_ERROR: errno says why. */
afpa_status_t afpa__file_read(int fd, const afpa_identity_t *identity, char *to, uint32_t length, uint64_t at);

/* Wakes the threads that wait for a fill of the entry, in all processes. */
void afpa__fill_wake(afpa__segment_t *segment, uint32_t entry);

#endif
