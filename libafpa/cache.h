/* SPDX-License-Identifier: Apache-2.0
 *
 * A process's attachment, as the library's sources share it.
 */
#ifndef AFPA_CACHE_PRIVATE_H
#define AFPA_CACHE_PRIVATE_H

#include <pthread.h>

#include <afpa/cache.h>

#include "pin.h"
#include "segment.h"

struct afpa_cache {
    afpa_zone_t *zone;
    afpa__segment_t *segment;
    afpa__ledger_t ledger;
    int fd;                    /* of this process alone: carries the lock on its slot */
    pthread_mutex_t reap_lock; /* one thread of the process reaps at a time: the OFD lock does not tell them apart */
};

#endif
