/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, workers: the library's own pool of threads, for hosts that have none.
 *
 * One queue under one mutex.  submit() only ever waits for that mutex, which nobody holds while a job runs; a full queue is an
 * answer, not a wait.  A thread runs a job and calls its `done` itself; the job's memory is its submitter's again from then on.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include <afpa/executor.h>

#include "assert.h"

#define THREADS_MAX 64

typedef struct pool {
    afpa_executor_t executor; /* first: what callers have */
    pthread_mutex_t lock;     /* covers all below */
    pthread_cond_t work;
    afpa_job_t *head, **tail;
    unsigned waiting, limit;
    bool closing;
    unsigned threads;
    pthread_t thread[THREADS_MAX];
} pool_t;

static afpa_status_t pool_submit(afpa_executor_t *executor, afpa_job_t *job)
{
    pool_t *pool = (pool_t *)executor;
    afpa_status_t status = AFPA_NO_SPACE;

    pthread_mutex_lock(&pool->lock);
    if (pool->waiting < pool->limit && !pool->closing) {
        job->next = NULL;
        *pool->tail = job;
        pool->tail = &job->next;
        pool->waiting++;
        status = AFPA_OK;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

/* The next job; NULL: the pool is closing and nothing is left. */
static afpa_job_t *take(pool_t *pool)
{
    afpa_job_t *job;

    pthread_mutex_lock(&pool->lock);
    while (!pool->head && !pool->closing)
        pthread_cond_wait(&pool->work, &pool->lock);
    job = pool->head;
    if (job) {
        pool->head = job->next;
        pool->waiting--;
        if (!pool->head)
            pool->tail = &pool->head;
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *work(void *data)
{
    afpa_job_t *job;

    while ((job = take(data)) != NULL) {
        job->run(job);
        if (job->done)
            job->done(job);
    }
    return NULL;
}

static void pool_close(afpa_executor_t *executor)
{
    pool_t *pool = (pool_t *)executor;

    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    while (pool->threads > 0)
        afpa__assert(pthread_join(pool->thread[--pool->threads], NULL) == 0);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* Workers leave signals to the host's own threads. */
static int start(pool_t *pool, unsigned threads)
{
    sigset_t all, before;
    int rc = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->threads < threads && rc == 0) {
        rc = pthread_create(&pool->thread[pool->threads], NULL, work, pool);
        pool->threads += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

afpa_executor_t *afpa_executor_pthread(unsigned threads, unsigned queue)
{
    pool_t *pool;
    int rc;

    if (threads < 1 || threads > THREADS_MAX || queue < 1) {
        errno = EINVAL;
        return NULL;
    }
    pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->executor.submit = pool_submit;
    pool->executor.close = pool_close;
    pool->tail = &pool->head;
    pool->limit = queue;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    rc = start(pool, threads);
    if (rc == 0)
        return &pool->executor;
    pool_close(&pool->executor);
    errno = rc;
    return NULL;
}

void afpa_executor_close(afpa_executor_t **executor)
{
    afpa_executor_t *e = *executor;

    *executor = NULL;
    if (e && e->close)
        e->close(e);
}
