/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, options: their table, readers of sizes and times that mean the same in both servers and in afpactl, and the
 * parameters of a zone.
 */
#include "config.h"

#include <string.h>

#include <afpa/options.h>

#include "zone.h"

static const afpa_option_row_t rows[AFPA_OPTION_LIMIT] = {
#define OPTION(id, name, type, fallback, nginx, httpd, help) {#name, fallback, nginx, httpd, help, AFPA_TYPE_##type},
#include <afpa/options.def>
};

/* A unit behind a number, and what it multiplies by. */
typedef struct unit {
    const char *name;
    uint64_t factor;
} unit_t;

const afpa_option_row_t *afpa_option_row(afpa_option_t option)
{
    return (unsigned)option < AFPA_OPTION_LIMIT ? &rows[option] : NULL;
}

/* Digits, then one of the units; the first unit's name is "" and stands for none. */
static afpa_status_t parse(const char *text, size_t len, const unit_t *units, size_t count, uint64_t *value)
{
    uint64_t number = 0;
    size_t i = 0;

    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++)
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return AFPA_INVALID;
    if (i == 0)
        return AFPA_INVALID;
    for (size_t u = 0; u < count; u++)
        if (strlen(units[u].name) == len - i && strncasecmp(units[u].name, text + i, len - i) == 0) {
            if (__builtin_mul_overflow(number, units[u].factor, &number))
                return AFPA_INVALID;
            *value = number;
            return AFPA_OK;
        }
    return AFPA_INVALID;
}

afpa_status_t afpa_parse_size(const char *text, size_t len, uint64_t *bytes)
{
    static const unit_t units[] = {{"", 1}, {"k", 1024}, {"m", 1048576}, {"g", 1073741824}};

    return parse(text, len, units, sizeof(units) / sizeof(units[0]), bytes);
}

afpa_status_t afpa_parse_time(const char *text, size_t len, uint64_t *ms)
{
    static const unit_t units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};

    return parse(text, len, units, sizeof(units) / sizeof(units[0]), ms);
}

uint64_t afpa_option_default(afpa_option_t option)
{
    const afpa_option_row_t *row = afpa_option_row(option);
    uint64_t value = 0;

    if (row && row->type == AFPA_TYPE_TIME)
        afpa_parse_time(row->fallback, strlen(row->fallback), &value);
    else if (row && row->type != AFPA_TYPE_MODE)
        afpa_parse_size(row->fallback, strlen(row->fallback), &value);
    return value;
}

void afpa_policy_init(afpa_policy_t *policy)
{
    policy->min_size = afpa_option_default(AFPA_OPTION_MIN_SIZE);
    policy->max_size = afpa_option_default(AFPA_OPTION_MAX_SIZE);
    policy->revalidate_ms = (uint32_t)afpa_option_default(AFPA_OPTION_REVALIDATE);
    policy->min_uses = (uint32_t)afpa_option_default(AFPA_OPTION_MIN_USES);
    policy->no_evict = false;
}

/* ---- the parameters of a zone ---- */

void afpa_zone_options_init(afpa_zone_options_t *options)
{
    *options = (afpa_zone_options_t){.chunk_size = (uint32_t)afpa_option_default(AFPA_OPTION_CHUNK),
                                     .mlock = AFPA_MLOCK_TRY,
                                     .uid = (uid_t)-1,
                                     .gid = (gid_t)-1};
}

static bool parse_mlock(afpa_zone_options_t *options, const char *value)
{
    static const char *const words[] = {[AFPA_MLOCK_TRY] = "try", [AFPA_MLOCK_REQUIRE] = "require", [AFPA_MLOCK_OFF] = "off"};

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(value, words[i]) == 0) {
            options->mlock = (afpa_mlock_t)i;
            return true;
        }
    return false;
}

afpa_status_t afpa_zone_options_parse(afpa_zone_options_t *options, const char *text, afpa_error_t *error)
{
    uint64_t bytes;

    if (strncmp(text, "path=", 5) == 0) {
        if (text[5] != '/')
            return afpa__fail(error, AFPA_INVALID, "\"%s\": the path of a zone must be absolute", text);
        options->path = text + 5;
    } else if (strncmp(text, "chunk=", 6) == 0) {
        if (afpa_parse_size(text + 6, strlen(text + 6), &bytes) != AFPA_OK || bytes < 65536 || bytes > 1048576 ||
            (bytes & (bytes - 1)))
            return afpa__fail(error, AFPA_INVALID, "\"%s\": the chunk size must be a power of two from 64k to 1m", text);
        options->chunk_size = (uint32_t)bytes;
    } else if (strncmp(text, "mlock=", 6) == 0) {
        if (!parse_mlock(options, text + 6))
            return afpa__fail(error, AFPA_INVALID, "\"%s\": mlock is one of try, require, off", text);
    } else {
        return afpa__fail(error, AFPA_INVALID,
                          "unknown parameter \"%s\" (path=FILE, chunk=SIZE and mlock=try|require|off are known)", text);
    }
    return AFPA_OK;
}
