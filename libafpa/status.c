/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, statuses: their names, for logs.
 */
#include "config.h"

#include <stddef.h>

#include <afpa/status.h>

const char *afpa_status_name(afpa_status_t status)
{
    static const char *const names[] = {
        [AFPA_OK] = "ok",
        [AFPA_CHECK_DUE] = "check_due",
        [AFPA_STALE] = "stale",
        [AFPA_MISS] = "miss",
        [AFPA_EMPTY] = "empty",
        [AFPA_AGAIN] = "again",
        [AFPA_DECLINED] = "declined",
        [AFPA_DISABLED] = "disabled",
        [AFPA_CHANGED] = "changed",
        [AFPA_NO_SPACE] = "no_space",
        [AFPA_IO_ERROR] = "io_error",
        [AFPA_CLOSED] = "closed",
        [AFPA_NOT_FOUND] = "not_found",
        [AFPA_INVALID] = "invalid",
        [AFPA_IN_USE] = "in_use",
    };

    return (size_t)status < sizeof(names) / sizeof(names[0]) ? names[status] : "unknown";
}
