/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of objects: see key.c.
 */
#ifndef AFPA_KEY_H
#define AFPA_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "segment.h"

/* Whether the path may be a key: absolute, no NUL, not too long. */
bool afpa__key_valid(const char *path, size_t len);

uint64_t afpa__key_hash(const afpa__segment_t *segment, const char *path, size_t len);

/* The low bits of the bucket number, so that a bucket belongs to one shard. */
static inline uint32_t afpa__key_shard(uint64_t hash)
{
    return (uint32_t)hash & (AFPA_SHARDS - 1);
}

static inline uint32_t afpa__key_bucket(const afpa__segment_t *s, uint64_t hash)
{
    return (uint32_t)hash & (s->layout.buckets - 1);
}

#endif
