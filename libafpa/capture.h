/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of response entries: see capture.c.
 */
#ifndef AFPA_CAPTURE_H
#define AFPA_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/response.h>

/* One header block and the places in it that are written anew for each reply; offsets from its beginning. */
typedef struct afpa__part_shared {
    uint32_t length;
    uint32_t date;
    uint32_t expires; /* 0: none, or constant */
    uint32_t connection, connection_length;
} afpa__part_shared_t;

/* What the first pin entry of a response entry holds; constant while it is PINNED. */
typedef struct afpa__block_shared {
    uint32_t object; /* of the file */
    uint32_t revalidate_ms, tag;
    uint32_t etag, etag_length; /* in the first part; length 0: none */
    uint32_t keep_alive_said;
    uint8_t since, both, answers_keep_alive, unused;
    uint64_t generation;
    uint64_t size; /* of the payload */
    int64_t last_modified;
    int64_t expires_after; /* seconds */
    afpa_limits_t limits;
    afpa__part_shared_t part[2]; /* 200, 304: their bytes follow in this order */
} afpa__block_shared_t;

#define AFPA__BLOCK_MAX (sizeof(afpa__block_shared_t) + 2 * AFPA_RESPONSE_HEADER_MAX)

/* Makes a block of a reply's header.  Pure.  Returns its length (at most AFPA__BLOCK_MAX), or 0 with *why. */
size_t afpa__capture(const char *header, size_t length, uint64_t size, const afpa_response_terms_t *terms, char *out,
                     const char **why);

/* Whether `length` bytes are a block whose offsets all lie within it. */
bool afpa__block_sound(const afpa__block_shared_t *block, size_t length);

static inline const char *afpa__block_bytes(const afpa__block_shared_t *block, unsigned part)
{
    return (const char *)(block + 1) + (part ? block->part[0].length : 0);
}

#endif
