/* SPDX-License-Identifier: Apache-2.0
 *
 * The hash index: see index.c.
 */
#ifndef AFPA_INDEX_H
#define AFPA_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pin.h"
#include "segment.h"

/* Finds the live object of a key and pins its first entry, which must be PINNED; lock-free.  Adds `add` to the ledger cell. */
bool afpa__index_pin(afpa__ledger_t *ledger, uint64_t hash, const char *key, size_t length, uint64_t add, uint32_t *object,
                     uint64_t *generation);

/* A shard's lock, by the hash of a key in it; mends a shard whose holder died by dropping all of it. */
void afpa__shard_take(afpa__segment_t *segment, uint64_t hash);
void afpa__shard_release(afpa__segment_t *segment, uint64_t hash);
/* For who holds the space lock; false: busy. */
bool afpa__shard_try(afpa__segment_t *segment, uint64_t hash);

/* All shards, for a look at the whole; false: one could not be had within a few seconds, none is held then. */
bool afpa__shards_take_all(afpa__segment_t *segment, uint32_t *failed);
void afpa__shards_release_all(afpa__segment_t *segment);

/* Under the shard's lock: the live object of a key, whatever the state of its entries; AFPA_NONE: none. */
uint32_t afpa__index_search(const afpa__segment_t *segment, uint64_t hash, const char *key, size_t length);

/* Under the shard's lock. */
void afpa__index_insert(afpa__segment_t *segment, uint32_t object);
void afpa__index_remove(afpa__segment_t *segment, uint32_t object);

#endif
