/* SPDX-License-Identifier: Apache-2.0
 *
 * What suites of the cache need: a directory of files whose bytes follow from name, version and offset, a zone, caches attached to
 * it, and a clock that stands still until told otherwise.
 *
 * The files are made two hours old, so that the cache does not wait for them to settle.
 */
#ifndef AFPA_FIXTURE_H
#define AFPA_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include <afpa/afpa.h>

#include "segment.h"

#define FIXTURE_PATH 128
#define FIXTURE_CHUNK 65536u

typedef struct fixture {
    char dir[64];  /* of the files; on a disk or tmpfs, as TMPDIR is */
    char path[64]; /* of the segment */
    afpa_zone_t *zone;
    afpa__segment_t *segment;
    afpa_cache_t *cache;
    afpa_policy_t policy;
} fixture_t;

/* A zone of `size` bytes with chunks of 64 KB, one cache attached.  Fails the test if that cannot be had. */
void fixture_begin(fixture_t *fixture, uint64_t size);

/* The same with chunks of another size. */
void fixture_begin_chunks(fixture_t *fixture, uint64_t size, uint32_t chunk_size);

/* Ends it: detaches, and fails the test if a pin is left or the segment is not sound. */
void fixture_end(fixture_t *fixture);

/* As fixture_end(), but for a segment that the test damaged: looks at nothing. */
void fixture_drop(fixture_t *fixture);

/* One more owner within this process. */
afpa_cache_t *fixture_attach(fixture_t *fixture);

/* Makes or replaces (by rename) the file, and returns its path: static storage, two at a time. */
const char *fixture_file(fixture_t *fixture, const char *name, uint64_t size, unsigned version);

/* The byte at an offset of that file. */
char fixture_byte(const char *name, unsigned version, uint64_t offset);

/* The path of a name, in the same storage. */
const char *fixture_path(fixture_t *fixture, const char *name);

/* Opens the object of the file, all of it in memory unless it does not fit; fails the test unless that is AFPA_OK. */
afpa_ref_t fixture_open(fixture_t *fixture, const char *name);
void fixture_load(fixture_t *fixture, const char *name);

/* lookup of the file by name; a ref that is held is released at once. */
afpa_status_t fixture_lookup(fixture_t *fixture, const char *name);

/* From now on the files loaded so far count as on another machine: no look-up checks them itself. */
void fixture_away(fixture_t *fixture);

/* Whether the kernel lets a look-up check such a file itself: Linux 5.12, a file system of this machine, no filter of system calls. */
bool fixture_at_once(fixture_t *fixture);

/* Whether the extent holds the file's bytes from `offset` on. */
bool fixture_right(const afpa_extent_t *extent, const char *name, unsigned version, uint64_t offset);

/* Sum of all pins; number of problems that verify finds, with `say` printed on standard error. */
uint64_t fixture_pins(const fixture_t *fixture);
size_t fixture_problems(fixture_t *fixture, bool say);
uint64_t fixture_counter(fixture_t *fixture, afpa_counter_t counter);

/* Stops the clock of the library (in this process) at 1 000 000 ms, or moves it on; fixture_drop() lets it go again. */
void fixture_clock_stop(void);
void fixture_clock_advance(uint64_t ms);

#endif
