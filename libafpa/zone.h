/* SPDX-License-Identifier: Apache-2.0
 *
 * A zone, as the library's sources see it.
 */
#ifndef AFPA_ZONE_PRIVATE_H
#define AFPA_ZONE_PRIVATE_H

#include <afpa/zone.h>

#include "segment.h"

struct afpa_zone {
    afpa__segment_t segment;
    char name[AFPA_ZONE_NAME_MAX + 1];
    char path[AFPA_PATH_MAX];
    int64_t limit_raised; /* by how many bytes RLIMIT_MEMLOCK was, for this zone */
};

afpa__segment_t *afpa__zone_segment(afpa_zone_t *zone);

/* The path of the zone of that name, unless its options give it another. */
void afpa__zone_path(const char *name, char *path, size_t room);

/* Sets the text, and returns the status. */
afpa_status_t afpa__fail(afpa_error_t *error, afpa_status_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
