/* SPDX-License-Identifier: Apache-2.0
 *
 * A zone of its own for each test: what the suites of zone.c and zone_attach.c share.
 */
#ifndef AFPA_ZONE_STATE_H
#define AFPA_ZONE_STATE_H

#include <sys/stat.h>
#include <xxhash.h>

#include <afpa/log.h>

#include "check_main.h"
#include "zone.h"

#define MB (UINT64_C(1) << 20)

static char zone_name[32], zone_path[64];

/* Options of a zone of 4 MB that no other test or run has. */
static inline afpa_zone_options_t options_new(void)
{
    static unsigned number;
    afpa_zone_options_t o;

    snprintf(zone_name, sizeof(zone_name), "checkzone-%d-%u", (int)getpid(), number++);
    snprintf(zone_path, sizeof(zone_path), "/dev/shm/afpa-%s", zone_name);
    afpa_zone_options_init(&o);
    o.name = zone_name;
    o.size = 4 * MB;
    o.mlock = AFPA_MLOCK_OFF;
    return o;
}

static inline afpa_zone_t *zone_open(const afpa_zone_options_t *o)
{
    afpa_zone_t *zone;
    afpa_error_t error;

    ck_assert_msg(afpa_zone_open(o, &zone, &error) == AFPA_OK, "%s", error.text);
    return zone;
}

static inline ino_t inode_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_ino : 0;
}

static inline void keep_warning(void *context, afpa_log_level_t level, const char *line)
{
    if (level == AFPA_LOG_WARN)
        snprintf(context, 600, "%s", line);
}

static inline void damage_version(afpa__segment_t *s)
{
    s->header->layout_version = 8;
    s->header->checksum = XXH3_64bits(s->header, offsetof(afpa__header_shared_t, checksum));
}

#endif
