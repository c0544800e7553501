/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: nothing is said until somebody listens, up to the level asked for, one line at a time, whole lines even when threads
 * talk at once; and what is printed before a bug aborts.
 */
#include "config.h"

#include <pthread.h>

#include <afpa/log.h>

#include "assert.h"
#include "check_main.h"
#include "log.h"

#define THREADS 4
#define LINES 5000

typedef struct heard {
    pthread_mutex_t lock;
    unsigned count, torn;
    afpa_log_level_t level;
    char line[2048];
} heard_t;

static void hear(void *context, afpa_log_level_t level, const char *line)
{
    heard_t *h = context;

    pthread_mutex_lock(&h->lock);
    h->count++;
    h->level = level;
    snprintf(h->line, sizeof(h->line), "%s", line);
    pthread_mutex_unlock(&h->lock);
}

static const afpa_log_level_t levels[] = {AFPA_LOG_ERROR, AFPA_LOG_WARN, AFPA_LOG_NOTICE, AFPA_LOG_DEBUG};

/* From errors alone to everything. */
START_TEST(up_to)
{
    heard_t h = {.lock = PTHREAD_MUTEX_INITIALIZER};

    afpa_log_set(hear, &h, levels[_i]);
    for (size_t i = 0; i < CHECK_COUNT(levels); i++) {
        h.count = 0;
        afpa__log(levels[i], "level %d of %s", (int)levels[i], "four");
        ck_assert_uint_eq(h.count, (int)i <= _i);
        if (h.count == 0)
            continue;
        ck_assert_int_eq(h.level, levels[i]);
        ck_assert_int_eq(h.line[6], '0' + (int)i);
        ck_assert_str_eq(h.line + 7, " of four");
    }
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
}
END_TEST

static void say_all(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < CHECK_COUNT(levels); i++)
        afpa__log(levels[i], "nobody should read this");
    abort();
}

/* From the start, and after the receiver was taken away; not on standard error either. */
START_TEST(nobody_listens)
{
    heard_t h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char said[256];

    ck_assert(check_aborts(say_all, NULL, said, sizeof(said)));
    ck_assert_str_eq(said, "");
    afpa_log_set(hear, &h, AFPA_LOG_DEBUG);
    afpa_log_set(NULL, NULL, AFPA_LOG_DEBUG);
    ck_assert(check_aborts(say_all, NULL, said, sizeof(said)));
    ck_assert_str_eq(said, "");
    afpa__log(AFPA_LOG_ERROR, "lost");
    ck_assert_uint_eq(h.count, 0);
}
END_TEST

START_TEST(one_receiver)
{
    heard_t first = {.lock = PTHREAD_MUTEX_INITIALIZER}, second = {.lock = PTHREAD_MUTEX_INITIALIZER};

    afpa_log_set(hear, &first, AFPA_LOG_WARN);
    afpa__log(AFPA_LOG_WARN, "one");
    afpa_log_set(hear, &second, AFPA_LOG_WARN);
    afpa__log(AFPA_LOG_WARN, "two");
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    ck_assert_uint_eq(first.count, 1);
    ck_assert_str_eq(first.line, "one");
    ck_assert_uint_eq(second.count, 1);
    ck_assert_str_eq(second.line, "two");
}
END_TEST

/* A path may be as long as 4095 bytes: the line is cut, and ends. */
START_TEST(long_line)
{
    heard_t h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char path[4096];

    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    afpa_log_set(hear, &h, AFPA_LOG_ERROR);
    afpa__log(AFPA_LOG_ERROR, "%s and more", path);
    ck_assert_uint_eq(strlen(h.line), 1023);
    ck_assert_mem_eq(h.line, path, 1023);
    afpa__log(AFPA_LOG_ERROR, "%s", "");
    ck_assert_str_eq(h.line, "");
    afpa__log(AFPA_LOG_ERROR, "100%%");
    ck_assert_str_eq(h.line, "100%");
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
}
END_TEST

static void hear_whole(void *context, afpa_log_level_t level, const char *line)
{
    heard_t *h = context;
    size_t length = strlen(line);

    (void)level;
    pthread_mutex_lock(&h->lock);
    h->count++;
    h->torn += length != 200 || strspn(line, (char[]){line[0], 0}) != 200;
    pthread_mutex_unlock(&h->lock);
}

static void *talk(void *number)
{
    char line[201];

    memset(line, 'a' + (int)(intptr_t)number, 200);
    line[200] = 0;
    for (unsigned i = 0; i < LINES; i++)
        afpa__log(AFPA_LOG_WARN, "%s", line);
    return NULL;
}

START_TEST(many_threads)
{
    heard_t h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS];

    afpa_log_set(hear_whole, &h, AFPA_LOG_WARN);
    for (intptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, talk, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    ck_assert_uint_eq(h.count, THREADS * LINES);
    ck_assert_uint_eq(h.torn, 0);
}
END_TEST

/* ---- bugs ---- */

static void pass(void *counter)
{
    unsigned *n = counter;

    afpa__assert(++*n == 1);
    fprintf(stderr, "evaluated %u times", *n);
    abort();
}

static void fall(void *arg)
{
    afpa__assert(arg != NULL && "the reason");
}

START_TEST(last_words)
{
    unsigned n = 0;
    char said[512], *line;

    ck_assert(check_aborts(pass, &n, said, sizeof(said)));
    ck_assert_str_eq(said, "evaluated 1 times");
    ck_assert(check_aborts(fall, NULL, said, sizeof(said)));
    ck_assert_msg(strncmp(said, "afpa: ", 6) == 0, "%s", said);
    ck_assert_ptr_nonnull(strstr(said, "check_log.c:"));
    line = strstr(said, ": assertion failed: arg != NULL && \"the reason\"\n");
    ck_assert_ptr_nonnull(line);
    ck_assert_int_ne(line[-1], ':'); /* the number of the line is there */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tc = tcase_create("up_to");

    tcase_add_loop_test(tc, up_to, 0, CHECK_COUNT(levels));
    suite_add_tcase(suite, tc);
    check_add(suite, "nobody_listens", nobody_listens);
    check_add(suite, "one_receiver", one_receiver);
    check_add(suite, "long_line", long_line);
    check_add(suite, "last_words", last_words);
    check_add(suite, "many_threads", many_threads); /* last: what libc keeps of a thread, a forked child would leak */
    return check_main(suite);
}
