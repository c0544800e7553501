/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator of the data section: see chunk.c.  Every call is made under the space lock.
 */
#ifndef AFPA_CHUNK_H
#define AFPA_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

/* Room for `length` bytes (1 … chunk size).  false: there is none; evict and try again. */
bool afpa__chunk_alloc(afpa__segment_t *segment, uint32_t length, uint32_t *chunk, uint32_t *offset);

/* The whole of that very chunk, if it is free. */
bool afpa__chunk_take(afpa__segment_t *segment, uint32_t chunk);

/* Gives back what afpa__chunk_alloc(length) gave.  `referenced`: sockets may still hold references to the pages; they keep the
 * old ones, the data section gets new ones. */
void afpa__chunk_free(afpa__segment_t *segment, uint32_t chunk, uint32_t offset, uint32_t length, bool referenced);

/* Whether that is room which was given for `length` bytes. */
bool afpa__chunk_holds(const afpa__segment_t *segment, uint32_t chunk, uint32_t offset, uint32_t length);

/* Whether room for `length` bytes is made of pages that nothing else lies in. */
bool afpa__chunk_exclusive(uint32_t length);

/* Bytes that `length` bytes take at least. */
uint32_t afpa__chunk_cost(const afpa__segment_t *segment, uint32_t length);

/* Bytes that an allocation of `length` bytes in that chunk takes: up to twice the least, where it got a slot of a larger class. */
uint32_t afpa__chunk_taken(const afpa__segment_t *segment, uint32_t chunk, uint32_t length);

/* Forgets every allocation; then, for each that is known to be in use, claims it again.  false: it lies outside of the data
 * section, or overlaps another. */
void afpa__chunk_reset(afpa__segment_t *segment);
bool afpa__chunk_claim(afpa__segment_t *segment, uint32_t chunk, uint32_t offset, uint32_t length);
/* After the claims: puts each chunk into the list where it belongs. */
void afpa__chunk_relist(afpa__segment_t *segment);

#endif
