/* SPDX-License-Identifier: Apache-2.0
 *
 * Robust mutexes in shared memory: see lock.c.
 */
#ifndef AFPA_LOCK_H
#define AFPA_LOCK_H

#include <pthread.h>
#include <stdbool.h>

typedef struct afpa__lock {
    pthread_mutex_t mutex;
} afpa__lock_t;

/* What taking a lock found. */
typedef enum afpa__lock_result {
    AFPA__LOCKED,    /* held */
    AFPA__LOCK_DIED, /* held, but who held it before died: mend what it covers, then unlock as usual */
    AFPA__LOCK_BUSY  /* not held; afpa__lock_take() never says so */
} afpa__lock_result_t;

/* Of a lock in zeroed memory, before anybody else can see it. */
void afpa__lock_init(afpa__lock_t *lock);
/* Waits. */
afpa__lock_result_t afpa__lock_take(afpa__lock_t *lock);
/* Does not wait. */
afpa__lock_result_t afpa__lock_try(afpa__lock_t *lock);
/* For memory that is not trusted: gives up after `ms`, or when it is no lock at all, with AFPA__LOCK_BUSY. */
afpa__lock_result_t afpa__lock_timed(afpa__lock_t *lock, unsigned ms);
void afpa__lock_release(afpa__lock_t *lock);

#endif
