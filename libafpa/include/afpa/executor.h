/* SPDX-License-Identifier: Apache-2.0
 *
 * Who runs what may block.  The event loop never reads a file; it submits a job, and goes on.
 *
 * This is AFPA's pool of worker threads: an interface, because nginx and APR have pools of their own.
 */
#ifndef AFPA_EXECUTOR_H
#define AFPA_EXECUTOR_H

#include <afpa/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct afpa_job afpa_job_t;

/* Memory is the submitter's and must stay valid until `done` was called. */
struct afpa_job {
    void (*run)(afpa_job_t *job);  /* in a worker thread; may block */
    void (*done)(afpa_job_t *job); /* after run: in the submitter's event loop if the executor belongs to one, else in the worker */
    afpa_job_t *next;              /* the executor's */
};

typedef struct afpa_executor afpa_executor_t;

struct afpa_executor {
    /* Queues the job.  Never blocks.  AFPA_OK: run and done will each be called once.  AFPA_NO_SPACE: the queue is full,
     * nothing will be called; the caller goes on as if the job had failed. */
    afpa_status_t (*submit)(afpa_executor_t *executor, afpa_job_t *job);
    /* Waits for every job submitted, ends the threads, frees.  NULL where there is nothing to do. */
    void (*close)(afpa_executor_t *executor);
};

/* The library's own pool: `threads` POSIX threads (1–64), at most `queue` jobs waiting.  NULL: errno says why. */
afpa_executor_t *afpa_executor_pthread(unsigned threads, unsigned queue);

/* Closes whatever kind it is: see afpa_executor.close.  Not from one of its jobs.  *executor may be NULL; it is set to NULL. */
void afpa_executor_close(afpa_executor_t **executor);

#ifdef __cplusplus
}
#endif
#endif
