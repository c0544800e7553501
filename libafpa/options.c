/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, options: their table, and readers of sizes and times that mean the same in both servers and in afpactl.
 */
#include "config.h"

#include <string.h>

#include <afpa/options.h>

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
