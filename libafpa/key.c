/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 2 of 7: key.  In: the path a server mapped a request to.  Out: a hash.
 *
 * The key of a file object is that path, byte for byte: two spellings of one file are two objects, which costs memory and can
 * never serve the wrong file.  The hash is XXH3 with the segment's random seed; equal hashes decide nothing, the whole key is
 * always compared.
 */
#include "config.h"

#include <string.h>
#include <xxhash.h>

#include "key.h"

bool afpa__key_valid(const char *path, size_t len)
{
    return len > 0 && len < AFPA_PATH_MAX && path[0] == '/' && memchr(path, 0, len) == NULL;
}

uint64_t afpa__key_hash(const afpa__segment_t *s, const char *path, size_t len)
{
    return XXH3_64bits_withSeed(path, len, s->header->seed);
}
