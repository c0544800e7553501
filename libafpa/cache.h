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

#define AFPA_REFUSALS 1024u /* a power of two */

/* A path that was declined lately, so that the loop need not send each request for it through a worker.  Both words belong
 * together; a torn pair only means one trip more, or one less. */
typedef struct afpa__refusal {
    _Atomic uint64_t hash;
    _Atomic uint64_t when; /* ms << 8 | counter */
} afpa__refusal_t;

struct afpa_cache {
    afpa_zone_t *zone;
    afpa__segment_t *segment;
    afpa__ledger_t ledger;
    int fd; /* of this process alone: carries the lock on its slot */
    afpa__refusal_t refusals[AFPA_REFUSALS];
    pthread_mutex_t reap_lock; /* one thread of the process reaps at a time: the OFD lock does not tell them apart */
};

/* Whether look-ups are to be tried at all; `cache` may be NULL. */
static inline bool afpa__cache_usable(const afpa_cache_t *cache)
{
    const afpa__header_shared_t *h = cache ? cache->segment->header : NULL;

    return h && atomic_load_explicit(&h->enabled, memory_order_relaxed) && !atomic_load_explicit(&h->broken, memory_order_relaxed);
}

#endif
