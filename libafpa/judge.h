/* SPDX-License-Identifier: Apache-2.0
 *
 * Judging a segment by somebody who can be spared: see judge.c.
 */
#ifndef AFPA_JUDGE_H
#define AFPA_JUDGE_H

#include <stdbool.h>
#include <sys/types.h>

#include "zone.h"

/* With whose rights, if this process is root's, and how long it may take. */
typedef struct afpa__judge {
    uid_t user;
    gid_t group;
    unsigned limit_ms;
} afpa__judge_t;

/* Time for a segment of that size. */
unsigned afpa__judge_limit_ms(uint64_t size);

/* Whether nothing is wrong with a mapped segment that nobody uses, after what a dead holder of its locks left is mended.  On any
 * doubt false, and in `why` the first that is wrong, or why it could not be told. */
bool afpa__judge_sound(afpa_zone_t *zone, const afpa__judge_t *judge, afpa_error_t *why);

/* Takes on those rights, for good. */
bool afpa__judge_rights(const afpa__judge_t *judge);

#endif
