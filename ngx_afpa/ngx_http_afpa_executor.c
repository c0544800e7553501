/* SPDX-License-Identifier: Apache-2.0
 *
 * libafpa's executor over an nginx thread pool: a job runs in one of its threads and is done in the worker's event loop.
 */
#include "ngx_http_afpa.h"

typedef struct {
    ngx_thread_task_t task;
    afpa_job_t *job;
} errand_t;

static void run(void *data, ngx_log_t *log)
{
    errand_t *errand = data;

    errand->job->run(errand->job);
}

static void on_done(ngx_event_t *ev)
{
    errand_t *errand = ev->data;
    afpa_job_t *job = errand->job;

    ngx_free(errand);
    job->done(job);
}

static afpa_status_t submit(afpa_executor_t *base, afpa_job_t *job)
{
    ngx_http_afpa_main_conf_t *conf = ngx_http_cycle_get_module_main_conf(ngx_cycle, ngx_http_afpa_module);
    errand_t *errand = ngx_calloc(sizeof(*errand), ngx_cycle->log);

    if (errand == NULL)
        return AFPA_NO_SPACE;
    errand->job = job;
    errand->task.ctx = errand;
    errand->task.handler = run;
    errand->task.event.handler = on_done;
    errand->task.event.data = errand;
    if (conf->pool && ngx_thread_task_post(conf->pool, &errand->task) == NGX_OK)
        return AFPA_OK;
    ngx_free(errand);
    return AFPA_NO_SPACE;
}

afpa_executor_t ngx_http_afpa_executor = {.submit = submit};
