/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, writers' locks: process-shared, robust POSIX mutexes.
 *
 * Order: shard, then space.  Who holds the space lock may only *try* a shard (eviction does), and passes the victim over when
 * it is busy.  No system call that can wait for a disk is made under either.
 * A holder that dies leaves the lock to the next taker with AFPA__LOCK_DIED: a shard is then dropped (index.c), the space state
 * derived anew from objects and entries (space.c).
 */
#include "config.h"

#include <errno.h>
#include <time.h>

#include "assert.h"
#include "lock.h"

void afpa__lock_init(afpa__lock_t *lock)
{
    pthread_mutexattr_t attr;

    afpa__assert(pthread_mutexattr_init(&attr) == 0);
    afpa__assert(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0);
    afpa__assert(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
    afpa__assert(pthread_mutex_init(&lock->mutex, &attr) == 0);
    afpa__assert(pthread_mutexattr_destroy(&attr) == 0);
}

static afpa__lock_result_t taken(afpa__lock_t *lock, int rc)
{
    if (rc == 0)
        return AFPA__LOCKED;
    if (rc == EBUSY)
        return AFPA__LOCK_BUSY;
    afpa__assert(rc == EOWNERDEAD);
    afpa__assert(pthread_mutex_consistent(&lock->mutex) == 0);
    return AFPA__LOCK_DIED;
}

afpa__lock_result_t afpa__lock_take(afpa__lock_t *lock)
{
    return taken(lock, pthread_mutex_lock(&lock->mutex));
}

afpa__lock_result_t afpa__lock_try(afpa__lock_t *lock)
{
    return taken(lock, pthread_mutex_trylock(&lock->mutex));
}

afpa__lock_result_t afpa__lock_timed(afpa__lock_t *lock, unsigned ms)
{
    struct timespec until;
    int rc;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    rc = pthread_mutex_timedlock(&lock->mutex, &until);
    return rc == 0 || rc == EOWNERDEAD ? taken(lock, rc) : AFPA__LOCK_BUSY;
}

void afpa__lock_release(afpa__lock_t *lock)
{
    afpa__assert(pthread_mutex_unlock(&lock->mutex) == 0);
}
