/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic over (pin array, offset, bytes): which chunk comes next, from where in it, how much.  Pure: no memory but its own.
 */
#ifndef AFPA_WALK_H
#define AFPA_WALK_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct afpa_walk {
    uint64_t offset; /* of the next byte, in the file */
    uint64_t end;    /* one past the last byte asked for */
    uint32_t chunk_size;
} afpa_walk_t;

typedef struct afpa_step {
    uint32_t index;  /* of the pin entry in the pin array */
    uint32_t skip;   /* bytes of that chunk before the first wanted */
    uint32_t length; /* bytes wanted of that chunk, at least 1 */
} afpa_step_t;

/* Bytes [offset, offset + bytes) of an object of `size` bytes; cut to what the object has. */
void afpa_walk_init(afpa_walk_t *walk, uint64_t size, uint32_t chunk_size, uint64_t offset, uint64_t bytes);

/* The step at the walk's position, without moving.  false: the walk is at its end. */
bool afpa_walk_step(const afpa_walk_t *walk, afpa_step_t *step);

/* Moves on by `bytes`, which may be less than the step's length and never reaches past the end. */
void afpa_walk_advance(afpa_walk_t *walk, uint64_t bytes);

/* Entries of the pin array of an object of `size` bytes: at least 1, an empty file has one empty chunk. */
uint64_t afpa_walk_entries(uint64_t size, uint32_t chunk_size);

#ifdef __cplusplus
}
#endif
#endif
