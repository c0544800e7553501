/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of the stress program: what is in them, and ways to change them.  The table lies in memory that all workers share.
 */
#ifndef AFPA_STRESS_FILES_H
#define AFPA_STRESS_FILES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <afpa/cache.h>

#define STRESS_FILES 120u

typedef struct stress_files {
    char dir[64];
    char path[STRESS_FILES][96];
    _Atomic uint32_t version[STRESS_FILES];
    _Atomic int changing[STRESS_FILES]; /* by that process; one that died is replaced */
    uint64_t total;
} stress_files_t;

typedef enum stress_change { STRESS_REPLACE, STRESS_IN_PLACE, STRESS_TRUNCATE, STRESS_RECREATE } stress_change_t;

/* xorshift64*; *state must not be 0. */
uint64_t stress_random(uint64_t *state);

/* Makes a directory with all of them, in version 1. */
bool stress_files_make(stress_files_t *files, uint64_t seed);
void stress_files_remove(stress_files_t *files);

/* Gives a file its next version.  false: somebody else is at it, or it failed. */
bool stress_files_change(stress_files_t *files, unsigned file, stress_change_t change);

/* Whether the bytes at `offset` are those of the file in the version the identity says; if not, *bad is where.  An identity from
 * the middle of a change in place says nothing: true. */
bool stress_files_right(const stress_files_t *files, unsigned file, const afpa_identity_t *identity, uint64_t offset,
                        const void *data, uint32_t length, uint64_t *bad);

#endif
