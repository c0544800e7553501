/* SPDX-License-Identifier: Apache-2.0
 *
 * Writers' locks: one holder at a time among threads and processes, what a holder leaves that died, giving up in time, and that
 * mistakes (releasing what is not held, taking locks out of order) abort instead of going on.
 *
 * The locks lie in memory shared with the children; a child dies by a signal, as a server's worker would.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "check_main.h"
#include "child.h"
#include "fixture.h"
#include "index.h"
#include "lock.h"
#include "space.h"

#define ROUNDS 2000
#define PROCESSES 4

typedef struct shared {
    afpa__lock_t lock;
    _Atomic unsigned taken; /* by a child */
    unsigned count;         /* under the lock */
} shared_t;

static shared_t *shared_new(void)
{
    shared_t *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(s, MAP_FAILED);
    afpa__lock_init(&s->lock);
    return s;
}

static void shared_drop(shared_t *s)
{
    ck_assert_int_eq(munmap(s, sizeof(*s)), 0);
}

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Takes the lock and stays, to be killed. */
static child_result_t take_and_stay(void *arg)
{
    shared_t *s = arg;

    afpa__lock_take(&s->lock);
    atomic_store(&s->taken, 1);
    while (pause() == -1)
        continue;
    return CHILD_BAD;
}

static pid_t holder_start(shared_t *s)
{
    pid_t pid;

    atomic_store(&s->taken, 0);
    pid = child_start(take_and_stay, s);
    while (!atomic_load(&s->taken))
        usleep(200);
    return pid;
}

static void holder_kill(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(WTERMSIG(child_wait(pid)), SIGKILL);
}

/* ---- what a taker finds ---- */

typedef enum lock_state { STATE_FREE, STATE_HELD, STATE_DIED } lock_state_t;

static afpa__lock_result_t take_timed(afpa__lock_t *lock)
{
    return afpa__lock_timed(lock, 20);
}

static const struct {
    const char *label;
    afpa__lock_result_t (*take)(afpa__lock_t *lock);
    lock_state_t state;
    afpa__lock_result_t found;
} found_cases[] = {
    {"take, free", afpa__lock_take, STATE_FREE, AFPA__LOCKED},
    {"take, holder died", afpa__lock_take, STATE_DIED, AFPA__LOCK_DIED},
    {"try, free", afpa__lock_try, STATE_FREE, AFPA__LOCKED},
    {"try, held", afpa__lock_try, STATE_HELD, AFPA__LOCK_BUSY},
    {"try, holder died", afpa__lock_try, STATE_DIED, AFPA__LOCK_DIED},
    {"timed, free", take_timed, STATE_FREE, AFPA__LOCKED},
    {"timed, held", take_timed, STATE_HELD, AFPA__LOCK_BUSY},
#ifndef __SANITIZE_THREAD__ /* whose pthread_mutex_timedlock() overlooks that EOWNERDEAD means "held" */
    {"timed, holder died", take_timed, STATE_DIED, AFPA__LOCK_DIED},
#endif
};

START_TEST(found)
{
    shared_t *s = shared_new();
    lock_state_t state = found_cases[_i].state;
    pid_t holder = state == STATE_FREE ? 0 : holder_start(s);

    if (state == STATE_DIED)
        holder_kill(holder);
    ck_assert_msg(found_cases[_i].take(&s->lock) == found_cases[_i].found, "%s", found_cases[_i].label);
    if (state == STATE_HELD) {
        holder_kill(holder);
        ck_assert_int_eq(afpa__lock_take(&s->lock), AFPA__LOCK_DIED);
    }
    ck_assert_int_eq(afpa__lock_try(&s->lock), AFPA__LOCK_BUSY); /* it is held now, whatever was found */
    afpa__lock_release(&s->lock);
    ck_assert_int_eq(found_cases[_i].take(&s->lock), AFPA__LOCKED); /* a death is told once */
    afpa__lock_release(&s->lock);
    shared_drop(s);
}
END_TEST

/* Who was told of a death and died before all was mended leaves the same message. */
START_TEST(died_while_mending)
{
    shared_t *s = shared_new();

    for (unsigned round = 0; round < 3; round++)
        holder_kill(holder_start(s));
    ck_assert_int_eq(afpa__lock_take(&s->lock), AFPA__LOCK_DIED);
    afpa__lock_release(&s->lock);
    ck_assert_int_eq(afpa__lock_take(&s->lock), AFPA__LOCKED);
    afpa__lock_release(&s->lock);
    shared_drop(s);
}
END_TEST

static child_result_t wait_for_death(void *arg)
{
    shared_t *s = arg;

    CHILD_NEED(afpa__lock_take(&s->lock) == AFPA__LOCK_DIED);
    afpa__lock_release(&s->lock);
    return CHILD_GOOD;
}

/* Who sleeps on the lock when its holder dies is woken. */
START_TEST(died_while_others_wait)
{
    shared_t *s = shared_new();
    pid_t holder = holder_start(s), waiter = child_start(wait_for_death, s);

    usleep(50000);
    ck_assert_int_eq(waitpid(waiter, NULL, WNOHANG), 0);
    holder_kill(holder);
    ck_assert_int_eq(child_wait(waiter), 0);
    ck_assert_int_eq(afpa__lock_take(&s->lock), AFPA__LOCKED);
    afpa__lock_release(&s->lock);
    shared_drop(s);
}
END_TEST

/* ---- one at a time ---- */

static child_result_t count_up(void *arg)
{
    shared_t *s = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned count;

        while (i % 2 && afpa__lock_try(&s->lock) != AFPA__LOCKED)
            sched_yield();
        if (i % 2 == 0)
            CHILD_NEED(afpa__lock_take(&s->lock) == AFPA__LOCKED);
        count = *(volatile unsigned *)&s->count;
        if (i % 64 == 0)
            sched_yield();
        s->count = count + 1;
        afpa__lock_release(&s->lock);
    }
    return CHILD_GOOD;
}

START_TEST(one_process_at_a_time)
{
    shared_t *s = shared_new();
    pid_t pids[PROCESSES];

    for (unsigned i = 0; i < PROCESSES; i++)
        pids[i] = child_start(count_up, s);
    for (unsigned i = 0; i < PROCESSES; i++)
        ck_assert_int_eq(child_wait(pids[i]), 0);
    ck_assert_uint_eq(s->count, PROCESSES * ROUNDS);
    shared_drop(s);
}
END_TEST

static void *count_up_thread(void *arg)
{
    return count_up(arg) == CHILD_GOOD ? arg : NULL;
}

START_TEST(one_thread_at_a_time)
{
    shared_t *s = shared_new();
    pthread_t threads[PROCESSES];
    void *result;

    for (unsigned i = 0; i < PROCESSES; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up_thread, s), 0);
    for (unsigned i = 0; i < PROCESSES; i++) {
        pthread_join(threads[i], &result);
        ck_assert_ptr_eq(result, s);
    }
    ck_assert_uint_eq(s->count, PROCESSES * ROUNDS);
    shared_drop(s);
}
END_TEST

/* ---- giving up ---- */

START_TEST(gives_up_after)
{
    static const unsigned limits[] = {0, 1, 150, 999, 1100};
    shared_t *s = shared_new();
    pid_t holder = holder_start(s);
    uint64_t before = now_ms(), waited;

    ck_assert_int_eq(afpa__lock_timed(&s->lock, limits[_i]), AFPA__LOCK_BUSY);
    waited = now_ms() - before;
    ck_assert_uint_ge(waited + 2, limits[_i]);
    ck_assert_uint_lt(waited, limits[_i] + 900u); /* however busy the machine is */
    holder_kill(holder);
    shared_drop(s);
}
END_TEST

static child_result_t leave_unmended(void *arg)
{
    shared_t *s = arg;

    CHILD_NEED(pthread_mutex_lock(&s->lock.mutex) == EOWNERDEAD);
    pthread_mutex_unlock(&s->lock.mutex);
    return CHILD_GOOD;
}

static void take_it(void *s)
{
    afpa__lock_take(&((shared_t *)s)->lock);
}

static void try_it(void *s)
{
    afpa__lock_try(&((shared_t *)s)->lock);
}

/* A lock that cannot be had any more: who looks at a segment passes over it, who relies on it stops. */
static void nobody_can_have(shared_t *s)
{
    char said[512];

    ck_assert_int_eq(afpa__lock_timed(&s->lock, 10), AFPA__LOCK_BUSY);
    ck_assert(check_aborts(take_it, s, said, sizeof(said)));
    ck_assert_ptr_nonnull(strstr(said, "lock.c"));
    ck_assert(check_aborts(try_it, s, said, sizeof(said)));
    ck_assert_ptr_nonnull(strstr(said, "lock.c"));
}

START_TEST(not_mended)
{
    shared_t *s = shared_new();

    holder_kill(holder_start(s));
    child_run(leave_unmended, s, "not mended");
    nobody_can_have(s);
    shared_drop(s);
}
END_TEST

START_TEST(no_lock_at_all)
{
    shared_t *s = shared_new();

    memset(&s->lock, 0x5a, sizeof(s->lock));
    nobody_can_have(s);
    shared_drop(s);
}
END_TEST

/* ---- mistakes of callers ---- */

static void release_free(void *s)
{
    afpa__lock_release(&((shared_t *)s)->lock);
}

static void release_twice(void *s)
{
    take_it(s);
    release_free(s);
    release_free(s);
}

START_TEST(release_of_what_is_not_held)
{
    shared_t *s = shared_new();
    pid_t holder;

    ck_assert(check_aborts(release_free, s, NULL, 0));
    ck_assert(check_aborts(release_twice, s, NULL, 0));
    holder = holder_start(s);
    ck_assert(check_aborts(release_free, s, NULL, 0));
    ck_assert_int_eq(afpa__lock_try(&s->lock), AFPA__LOCK_BUSY);
    holder_kill(holder);
    shared_drop(s);
}
END_TEST

/* Two hashes of two shards. */
#define HASH_A UINT64_C(0x100)
#define HASH_B UINT64_C(0x101)

static void space_twice(void *s)
{
    afpa__space_take(s);
    afpa__space_take(s);
}

static void shard_under_space(void *s)
{
    afpa__space_take(s);
    afpa__shard_take(s, HASH_A);
}

static void two_shards(void *s)
{
    afpa__shard_take(s, HASH_A);
    afpa__shard_take(s, HASH_B);
}

static void shard_twice(void *s)
{
    afpa__shard_take(s, HASH_A);
    afpa__shard_take(s, HASH_A);
}

static void shard_after_try(void *s)
{
    afpa__space_take(s);
    if (afpa__shard_try(s, HASH_A))
        afpa__space_release(s);
    afpa__shard_take(s, HASH_B);
}

static void all_under_space(void *s)
{
    uint32_t failed;

    afpa__space_take(s);
    afpa__shards_take_all(s, &failed);
}

static void all_under_one(void *s)
{
    uint32_t failed;

    afpa__shard_take(s, HASH_A);
    afpa__shards_take_all(s, &failed);
}

static void one_under_all(void *s)
{
    uint32_t failed;

    afpa__shards_take_all(s, &failed);
    afpa__shard_take(s, HASH_A);
}

static const struct {
    const char *label;
    void (*take)(void *segment);
    const char *says;
} order_cases[] = {
    {"space twice", space_twice, "space.c"},
    {"shard under space", shard_under_space, "index.c"},
    {"two shards", two_shards, "index.c"},
    {"shard twice", shard_twice, "index.c"},
    {"shard under one that was tried for", shard_after_try, "index.c"},
    {"all under space", all_under_space, "index.c"},
    {"all under one", all_under_one, "index.c"},
    {"one under all", one_under_all, "index.c"},
};

START_TEST(out_of_order)
{
    char said[512];
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    ck_assert_msg(check_aborts(order_cases[_i].take, f.segment, said, sizeof(said)), "%s", order_cases[_i].label);
    ck_assert_msg(strstr(said, order_cases[_i].says) && strstr(said, "assertion failed"), "%s", said);
    for (uint64_t hash = 0; hash < AFPA_SHARDS; hash++) { /* who comes next mends what the dead left */
        afpa__shard_take(f.segment, hash);
        afpa__shard_release(f.segment, hash);
    }
    afpa__space_take(f.segment);
    afpa__space_release(f.segment);
    fixture_end(&f);
}
END_TEST

START_TEST(in_order)
{
    afpa__segment_t *s;
    uint32_t failed;
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    s = f.segment;
    afpa__shard_take(s, HASH_A);
    afpa__space_take(s);
    ck_assert(afpa__space_mine());
    ck_assert(afpa__shard_try(s, HASH_B));
    ck_assert(!afpa__shard_try(s, HASH_A));
    afpa__shard_release(s, HASH_B);
    afpa__space_release(s);
    ck_assert(!afpa__space_mine());
    afpa__shard_release(s, HASH_A);
    afpa__shard_take(s, HASH_B);
    afpa__shard_release(s, HASH_B);
    ck_assert(afpa__shards_take_all(s, &failed));
    for (uint64_t hash = 0; hash < AFPA_SHARDS; hash++)
        ck_assert(!afpa__shard_try(s, hash));
    afpa__shards_release_all(s);
    ck_assert(afpa__shards_take_all(s, &failed));
    afpa__shards_release_all(s);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lock");

    check_add_loop(suite, "found", found, CHECK_COUNT(found_cases));
    check_add(suite, "died_while_mending", died_while_mending);
    check_add(suite, "died_while_others_wait", died_while_others_wait);
    check_add(suite, "one_process_at_a_time", one_process_at_a_time);
    check_add_loop(suite, "gives_up_after", gives_up_after, 5);
    check_add(suite, "not_mended", not_mended);
    check_add(suite, "no_lock_at_all", no_lock_at_all);
    check_add(suite, "release_of_what_is_not_held", release_of_what_is_not_held);
    check_add_loop(suite, "out_of_order", out_of_order, CHECK_COUNT(order_cases));
    check_add(suite, "in_order", in_order);
    check_add(suite, "one_thread_at_a_time",
              one_thread_at_a_time); /* last: what libc keeps of a thread, a forked child would leak */
    return check_main(suite);
}
