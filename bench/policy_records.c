/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary traces: records of one length, little-endian.  In: a stream.  Out: key and size of each record.
 *
 *   oracleGeneral  24 bytes: time (32 bits), key (64), size (32), next access (64)
 *   vscsi          32 bytes (version 1) or 40 (version 2): requests of a virtual disk; the key is the block, the size its length.
 *                  Version 1 has the version behind the command at 14, version 2 at 2, in the high byte; each record has it, so
 *                  what is no such trace, or lost its step, shows
 *   lcs            a header of 8 KB, between two magic numbers, with version and number of requests, then what its version says:
 *                  1 as oracleGeneral, 2 with 4 bytes more, 3 with a size of 64 bits, 4 to 8 with more fields behind that
 *
 * Nothing is looked at twice, so all of them may come through a pipe.
 */
#include "config.h"

#include <endian.h>
#include <string.h>

#include "policy.h"

#define LCS_HEADER 8192u
#define LCS_MAGIC UINT64_C(0x123456789abcdef0)
#define LCS_VERSIONS 8u

static uint32_t u32_at(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static uint64_t u64_at(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

/* ---- vscsi ---- */

static bool vscsi_begin(policy_records_t *r, policy_error_t *error)
{
    enum { SHORTER = 32, LONGER = 40 };

    *r = (policy_records_t){.input = r->input, .length = SHORTER, .key_at = 16, .size_at = 4, .version_at = 15, .version = 1};
    r->kept = fread(r->bytes, 1, SHORTER, r->input->file);
    if (r->kept < SHORTER || r->bytes[15] == 1)
        return true;
    if (r->bytes[3] != 2)
        return policy_fail(error, "%s: is no vscsi trace: its first record is of neither version 1 nor 2", r->input->name);
    r->length = LONGER;
    r->size_at = 8;
    r->version_at = 3;
    r->version = 2;
    return true;
}

/* ---- lcs ---- */

static bool lcs_begin(policy_records_t *r, policy_error_t *error)
{
    static const uint8_t lengths[LCS_VERSIONS + 1] = {0, 24, 28, 36, 40, 44, 52, 68, 100};
    const char *name = r->input->name;
    uint8_t header[LCS_HEADER];
    size_t length = fread(header, 1, sizeof(header), r->input->file);
    uint64_t version;

    if (length < 16 || u64_at(header) != LCS_MAGIC)
        return policy_fail(error, "%s: is no lcs trace: it does not begin as one", name);
    if (header[8] == '<')
        return policy_fail(error,
                           "%s: is an lcs trace of the first kind, whose header has a format: only versions 1 to %u are read", name,
                           LCS_VERSIONS);
    if (length < sizeof(header))
        return policy_fail(error, "%s: the header is cut short: it has %zu of %u bytes", name, length, LCS_HEADER);
    version = u64_at(header + 8);
    if (version == 0 || version > LCS_VERSIONS)
        return policy_fail(error, "%s: is an lcs trace of version %llu: only versions 1 to %u are read", name,
                           (unsigned long long)version, LCS_VERSIONS);
    if (u64_at(header + LCS_HEADER - 8) != LCS_MAGIC || u64_at(header + 24) > INT64_MAX)
        return policy_fail(error, "%s: the header is damaged", name);
    *r = (policy_records_t){.input = r->input, .length = lengths[version], .key_at = 4, .size_at = 12, .wide = version >= 3};
    r->stated = u64_at(header + 24);
    return true;
}

/* ---- any ---- */

bool policy_records_begin(policy_records_t *r, policy_format_t format, policy_input_t *input, policy_error_t *error)
{
    *r = (policy_records_t){.input = input, .length = 24, .key_at = 4, .size_at = 12};
    if (format == POLICY_VSCSI)
        return vscsi_begin(r, error);
    return format != POLICY_LCS || lcs_begin(r, error);
}

bool policy_records_next(policy_records_t *r, policy_record_t *record, policy_error_t *error)
{
    size_t length = r->kept + fread(r->bytes + r->kept, 1, r->length - r->kept, r->input->file);

    r->kept = 0;
    *record = (policy_record_t){.end = length == 0};
    if (record->end) {
        if (r->count < r->stated && !ferror(r->input->file))
            return policy_fail(error, "%s: ends after %llu of the %llu records that its header tells of", r->input->name,
                               (unsigned long long)r->count, (unsigned long long)r->stated);
        return true;
    }
    r->count++;
    if (length < r->length)
        return policy_fail(error, "%s: record %llu is cut short: it has %zu of %zu bytes", r->input->name,
                           (unsigned long long)r->count, length, r->length);
    record->id = u64_at(r->bytes + r->key_at);
    record->size = r->wide ? u64_at(r->bytes + r->size_at) : u32_at(r->bytes + r->size_at);
    if (r->version && r->bytes[r->version_at] != r->version)
        record->wrong = "is of another version than the first";
    return true;
}
