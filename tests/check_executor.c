/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool of threads: each job that was accepted runs once and is then done, in order and by no more threads than asked for; a
 * full queue is an answer; closing waits for all of it and takes nothing new.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include <afpa/executor.h>

#include "check_main.h"
#include "child.h"

#define JOBS 1000u
#define SUBMITTERS 4u

/* ---- jobs that leave a trace ---- */

typedef struct traced {
    afpa_job_t job; /* first */
    unsigned number, runs, dones;
    pthread_t ran_in, done_in;
} traced_t;

static _Atomic unsigned running, most_running, ended;
static unsigned order[JOBS]; /* of one thread's jobs */

static void on_run(afpa_job_t *job)
{
    traced_t *t = (traced_t *)job;
    unsigned now = atomic_fetch_add(&running, 1) + 1, most = atomic_load(&most_running);

    while (most < now && !atomic_compare_exchange_weak(&most_running, &most, now))
        continue;
    t->runs++;
    t->ran_in = pthread_self();
    if (t->number % 64 == 0)
        usleep(200);
    atomic_fetch_sub(&running, 1);
}

static void on_done(afpa_job_t *job)
{
    traced_t *t = (traced_t *)job;

    t->dones += t->runs == 1; /* after run, never before */
    t->done_in = pthread_self();
    order[atomic_fetch_add(&ended, 1) % JOBS] = t->number;
}

static traced_t *traced_new(void)
{
    traced_t *jobs = calloc(JOBS, sizeof(*jobs));

    ck_assert_ptr_nonnull(jobs);
    atomic_store(&running, 0);
    atomic_store(&most_running, 0);
    atomic_store(&ended, 0);
    for (unsigned i = 0; i < JOBS; i++)
        jobs[i] = (traced_t){.job = {.run = on_run, .done = on_done}, .number = i};
    return jobs;
}

static afpa_executor_t *pool_new(unsigned threads, unsigned queue)
{
    afpa_executor_t *pool = afpa_executor_pthread(threads, queue);

    ck_assert_ptr_nonnull(pool);
    return pool;
}

static unsigned threads_of_process(void)
{
    char line[128];
    unsigned count = 0;
    FILE *status = fopen("/proc/self/status", "r");

    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof(line), status))
        if (sscanf(line, "Threads: %u", &count) == 1)
            break;
    fclose(status);
    return count;
}

/* A thread that was joined may still be counted for a moment. */
static bool threads_become(unsigned count)
{
#ifdef __SANITIZE_THREAD__ /* starts a thread of its own at a time of its own */
    return threads_of_process() + 1 > count;
#endif
    for (unsigned tries = 0; tries < 2000 && threads_of_process() != count; tries++)
        usleep(1000);
    return threads_of_process() == count;
}

/* ---- all of them ---- */

static const struct {
    unsigned threads;
} pool_sizes[] = {{1}, {2}, {5}, {64}};

START_TEST(all_run_once)
{
    unsigned threads = pool_sizes[_i].threads, before = threads_of_process();
    afpa_executor_t *pool = pool_new(threads, JOBS);
    traced_t *jobs = traced_new();

    ck_assert(threads_become(before + threads));
    for (unsigned i = 0; i < JOBS; i++)
        ck_assert_int_eq(pool->submit(pool, &jobs[i].job), AFPA_OK);
    ck_assert(threads_become(before + threads));
    afpa_executor_close(&pool);
    ck_assert_ptr_null(pool);
    ck_assert(threads_become(before));
    ck_assert_uint_eq(ended, JOBS);
    ck_assert_uint_le(most_running, threads);
    for (unsigned i = 0; i < JOBS; i++) {
        CHECK_THAT(jobs[i].runs == 1 && jobs[i].dones == 1);
        CHECK_THAT(!pthread_equal(jobs[i].ran_in, pthread_self()) && pthread_equal(jobs[i].ran_in, jobs[i].done_in));
    }
    free(jobs);
}
END_TEST

START_TEST(in_order_of_submission)
{
    afpa_executor_t *pool = pool_new(1, JOBS);
    traced_t *jobs = traced_new();

    for (unsigned i = 0; i < JOBS; i++)
        ck_assert_int_eq(pool->submit(pool, &jobs[i].job), AFPA_OK);
    afpa_executor_close(&pool);
    for (unsigned i = 0; i < JOBS; i++)
        CHECK_THAT(order[i] == i);
    free(jobs);
}
END_TEST

typedef struct submitter {
    afpa_executor_t *pool;
    traced_t *jobs;
    unsigned refused;
} submitter_t;

static void *submit_share(void *arg)
{
    submitter_t *s = arg;

    for (unsigned i = 0; i < JOBS / SUBMITTERS; i++)
        while (s->pool->submit(s->pool, &s->jobs[i].job) != AFPA_OK) {
            s->refused++;
            sched_yield();
        }
    return NULL;
}

/* Through a queue much shorter than what they bring. */
START_TEST(from_several_threads)
{
    afpa_executor_t *pool = pool_new(3, 8);
    traced_t *jobs = traced_new();
    submitter_t shares[SUBMITTERS];
    pthread_t threads[SUBMITTERS];

    for (unsigned i = 0; i < SUBMITTERS; i++) {
        shares[i] = (submitter_t){.pool = pool, .jobs = jobs + i * (JOBS / SUBMITTERS)};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, submit_share, &shares[i]), 0);
    }
    for (unsigned i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    afpa_executor_close(&pool);
    ck_assert_uint_eq(ended, JOBS);
    ck_assert_uint_le(most_running, 3);
    for (unsigned i = 0; i < JOBS; i++)
        CHECK_THAT(jobs[i].runs == 1 && jobs[i].dones == 1);
    free(jobs);
}
END_TEST

/* ---- jobs that wait for the test ---- */

typedef struct gate {
    afpa_job_t job; /* first */
    sem_t entered, leave;
} gate_t;

static void on_gate(afpa_job_t *job)
{
    gate_t *g = (gate_t *)job;

    sem_post(&g->entered);
    while (sem_wait(&g->leave) != 0)
        continue;
}

static void gate_init(gate_t *g)
{
    *g = (gate_t){.job = {.run = on_gate}}; /* no done: legal */
    sem_init(&g->entered, 0, 0);
    sem_init(&g->leave, 0, 0);
}

static void gate_enter(gate_t *g)
{
    while (sem_wait(&g->entered) != 0)
        continue;
}

/* As many as there are threads run at the same time, and that is what the limit of the queue does not count. */
START_TEST(queue_full)
{
    unsigned threads = 1 + (unsigned)_i, queue = 3;
    afpa_executor_t *pool = pool_new(threads, queue);
    traced_t *jobs = traced_new();
    gate_t gates[4];

    for (unsigned i = 0; i < threads; i++) {
        gate_init(&gates[i]);
        ck_assert_int_eq(pool->submit(pool, &gates[i].job), AFPA_OK);
        gate_enter(&gates[i]);
    }
    for (unsigned i = 0; i < queue; i++)
        ck_assert_int_eq(pool->submit(pool, &jobs[i].job), AFPA_OK);
    ck_assert_int_eq(pool->submit(pool, &jobs[queue].job), AFPA_NO_SPACE);
    ck_assert_int_eq(pool->submit(pool, &jobs[queue].job), AFPA_NO_SPACE);
    ck_assert_uint_eq(ended, 0);
    for (unsigned i = 0; i < threads; i++)
        sem_post(&gates[i].leave);
    while (atomic_load(&ended) < queue)
        usleep(100);
    ck_assert_int_eq(pool->submit(pool, &jobs[queue + 1].job), AFPA_OK);
    afpa_executor_close(&pool);
    ck_assert_uint_eq(ended, queue + 1);
    ck_assert_uint_eq(jobs[queue].runs + jobs[queue].dones, 0); /* what was refused is never called */
    ck_assert_uint_eq(jobs[queue + 1].dones, 1);
    free(jobs);
}
END_TEST

/* ---- jobs that submit ---- */

typedef struct again {
    afpa_job_t job; /* first */
    afpa_executor_t *pool;
    unsigned left, runs;
    sem_t over;
} again_t;

static void on_again(afpa_job_t *job)
{
    ((again_t *)job)->runs++;
}

/* From then on the memory is the submitter's again: it may bring the same job anew. */
static void on_again_done(afpa_job_t *job)
{
    again_t *a = (again_t *)job;

    if (--a->left == 0 || a->pool->submit(a->pool, job) != AFPA_OK)
        sem_post(&a->over);
}

START_TEST(same_job_again)
{
    again_t a = {.job = {.run = on_again, .done = on_again_done}, .pool = pool_new(2, 1), .left = 500};

    sem_init(&a.over, 0, 0);
    ck_assert_int_eq(a.pool->submit(a.pool, &a.job), AFPA_OK);
    while (sem_wait(&a.over) != 0)
        continue;
    afpa_executor_close(&a.pool);
    ck_assert_uint_eq(a.left, 0);
    ck_assert_uint_eq(a.runs, 500);
}
END_TEST

static void on_done_free(afpa_job_t *job)
{
    atomic_fetch_add(&ended, 1);
    free(job);
}

START_TEST(done_may_free)
{
    afpa_executor_t *pool = pool_new(2, JOBS);

    atomic_store(&ended, 0);
    for (unsigned i = 0; i < JOBS; i++) {
        traced_t *t = calloc(1, sizeof(*t));

        ck_assert_ptr_nonnull(t);
        t->job = (afpa_job_t){.run = on_run, .done = on_done_free};
        ck_assert_int_eq(pool->submit(pool, &t->job), AFPA_OK);
    }
    afpa_executor_close(&pool);
    ck_assert_uint_eq(ended, JOBS);
}
END_TEST

/* ---- closing ---- */

typedef struct late {
    afpa_job_t job; /* first */
    afpa_executor_t *pool;
    traced_t *jobs;
    unsigned accepted;
    sem_t entered;
} late_t;

/* Submits until it is told that nothing is taken any more: the queue is long enough for all, so that means closing. */
static void on_late(afpa_job_t *job)
{
    late_t *l = (late_t *)job;

    sem_post(&l->entered);
    while (l->accepted < JOBS && l->pool->submit(l->pool, &l->jobs[l->accepted].job) == AFPA_OK) {
        l->accepted++;
        usleep(1000);
    }
}

START_TEST(nothing_new_while_closing)
{
    late_t l = {.job = {.run = on_late}, .pool = pool_new(1 + (unsigned)_i, JOBS + 1), .jobs = traced_new()};
    afpa_executor_t *pool = l.pool;

    sem_init(&l.entered, 0, 0);
    ck_assert_int_eq(pool->submit(pool, &l.job), AFPA_OK);
    while (sem_wait(&l.entered) != 0)
        continue;
    usleep(10000);
    afpa_executor_close(&pool);
    ck_assert_uint_lt(l.accepted, JOBS);
    ck_assert_uint_eq(ended, l.accepted); /* all that was accepted, also what came just before */
    for (unsigned i = 0; i < JOBS; i++)
        CHECK_THAT(l.jobs[i].runs == (i < l.accepted) && l.jobs[i].dones == l.jobs[i].runs);
    free(l.jobs);
}
END_TEST

static void *close_it(void *pool)
{
    afpa_executor_close(pool);
    return NULL;
}

/* Closing lasts as long as the longest job. */
START_TEST(close_waits)
{
    afpa_executor_t *pool = pool_new(2, 10);
    traced_t *jobs = traced_new();
    pthread_t closer;
    gate_t gate;

    gate_init(&gate);
    ck_assert_int_eq(pool->submit(pool, &gate.job), AFPA_OK);
    gate_enter(&gate);
    ck_assert_int_eq(pool->submit(pool, &jobs[1].job), AFPA_OK);
    ck_assert_int_eq(pthread_create(&closer, NULL, close_it, &pool), 0);
    while (atomic_load(&ended) == 0)
        usleep(100);
    usleep(30000);
    ck_assert_int_eq(pthread_tryjoin_np(closer, NULL), EBUSY);
    sem_post(&gate.leave);
    ck_assert_int_eq(pthread_join(closer, NULL), 0);
    free(jobs);
}
END_TEST

START_TEST(close_of_nothing)
{
    afpa_executor_t *none = NULL, *idle = pool_new(4, 4), other = {.close = NULL}, *no_close = &other;

    afpa_executor_close(&none);
    ck_assert_ptr_null(none);
    afpa_executor_close(&idle);
    ck_assert_ptr_null(idle);
    afpa_executor_close(&no_close);
    ck_assert_ptr_null(no_close);
}
END_TEST

/* ---- what a pool may be ---- */

static const struct {
    const char *label;
    unsigned threads, queue;
    bool good;
} size_cases[] = {
    {"least", 1, 1, true},
    {"most threads", 64, 1, true},
    {"longest queue", 1, UINT32_MAX, true},
    {"no thread", 0, 10, false},
    {"no queue", 1, 0, false},
    {"one thread too many", 65, 10, false},
    {"far too many threads", UINT32_MAX, 10, false},
};

START_TEST(sizes)
{
    afpa_executor_t *pool;

    errno = 0;
    pool = afpa_executor_pthread(size_cases[_i].threads, size_cases[_i].queue);
    ck_assert_msg((pool != NULL) == size_cases[_i].good, "%s", size_cases[_i].label);
    if (!pool)
        ck_assert_int_eq(errno, EINVAL);
    afpa_executor_close(&pool);
}
END_TEST

static void on_mask(afpa_job_t *job)
{
    traced_t *t = (traced_t *)job;
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    t->runs = (unsigned)(sigismember(&blocked, SIGTERM) + sigismember(&blocked, SIGHUP) + sigismember(&blocked, SIGUSR1) +
                         sigismember(&blocked, SIGCHLD) + sigismember(&blocked, SIGALRM));
}

/* The host handles its signals in its own threads, and its own mask is as it was. */
START_TEST(signals_left_to_the_host)
{
    traced_t t = {.job = {.run = on_mask}};
    sigset_t before, after;
    afpa_executor_t *pool;

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    pool = pool_new(1, 1);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ck_assert_int_eq(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
    ck_assert_int_eq(sigismember(&after, SIGUSR1), sigismember(&before, SIGUSR1));
    ck_assert_int_eq(pool->submit(pool, &t.job), AFPA_OK);
    afpa_executor_close(&pool);
    ck_assert_uint_eq(t.runs, 5);
}
END_TEST

/* Three threads may be started, the fourth may not; as a user that nobody else is, since the limit is per user. */
static child_result_t few_threads(void *arg)
{
    afpa_executor_t *pool;
    traced_t t = {.job = {.run = on_run}};

    (void)arg;
    if (geteuid() != 0 || setrlimit(RLIMIT_NPROC, &(struct rlimit){4, 4}) != 0 || setuid(2000000000 + (uid_t)getpid()) != 0)
        return CHILD_SKIP;
    errno = 0;
    pool = afpa_executor_pthread(8, 4);
    CHILD_NEED(pool == NULL && errno == EAGAIN);
    CHILD_NEED(threads_become(1));
    for (unsigned tries = 0; !pool && tries < 200; tries++, usleep(10000)) /* those that ended are counted a little longer */
        pool = afpa_executor_pthread(1, 4);
    CHILD_NEED(pool && pool->submit(pool, &t.job) == AFPA_OK);
    afpa_executor_close(&pool);
    CHILD_NEED(t.runs == 1);
    return CHILD_GOOD;
}

START_TEST(no_more_threads)
{
    child_run(few_threads, NULL, "no more threads");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("executor");

    check_add(suite, "no_more_threads", no_more_threads); /* first: what libc keeps of a thread, a forked child would leak */
    check_add_loop(suite, "all_run_once", all_run_once, CHECK_COUNT(pool_sizes));
    check_add(suite, "in_order_of_submission", in_order_of_submission);
    check_add(suite, "from_several_threads", from_several_threads);
    check_add_loop(suite, "queue_full", queue_full, 4);
    check_add(suite, "same_job_again", same_job_again);
    check_add(suite, "done_may_free", done_may_free);
    check_add_loop(suite, "nothing_new_while_closing", nothing_new_while_closing, 3);
    check_add(suite, "close_waits", close_waits);
    check_add(suite, "close_of_nothing", close_of_nothing);
    check_add_loop(suite, "sizes", sizes, CHECK_COUNT(size_cases));
    check_add(suite, "signals_left_to_the_host", signals_left_to_the_host);
    return check_main(suite);
}
