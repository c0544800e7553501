/* SPDX-License-Identifier: Apache-2.0
 *
 * What every suite needs: main(), a death test that also works where libcheck does not fork, and numbers that are random but the
 * same in every run.
 *
 *     CK_FORK=no  all in one process, for debuggers and valgrind        CK_RUN_CASE=name  one case alone
 */
#ifndef AFPA_CHECK_MAIN_H
#define AFPA_CHECK_MAIN_H

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* As ck_assert(), which writes a line to a file each time it is passed: this one writes only when it fails. */
#define CHECK_THAT(condition)                                                                                                      \
    do {                                                                                                                           \
        if (!(condition))                                                                                                          \
            ck_abort_msg("%s", #condition);                                                                                        \
    } while (0)

static inline int check_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static inline void check_add(Suite *suite, const char *name, const TTest *test)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test);
    suite_add_tcase(suite, tc);
}

/* A case for each number from 0 on, as _i. */
static inline void check_add_loop(Suite *suite, const char *name, const TTest *test, size_t count)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test, 0, (int)count);
    suite_add_tcase(suite, tc);
}

/* Whether fn(arg), in a process of its own, ends with abort(); what it says on standard error goes to `said` (may be NULL). */
static inline bool check_aborts(void (*fn)(void *arg), void *arg, char *said, size_t size)
{
    int fds[2], status = 0;
    size_t have = 0;
    ssize_t n;
    char rest[512];
    pid_t pid;

    ck_assert_int_eq(pipe(fds), 0);
    fflush(NULL);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(fds[1], STDERR_FILENO);
        fn(arg);
        _exit(0);
    }
    close(fds[1]);
    while ((n = read(fds[0], rest, sizeof(rest))) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (said && have + 1 < size)
                said[have++] = rest[i];
    if (said)
        said[have] = 0;
    close(fds[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* xorshift64*; *state must not be 0. */
static inline uint64_t check_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717) >> 16;
}

/* 0 … limit - 1 */
static inline uint64_t check_below(uint64_t *state, uint64_t limit)
{
    return check_random(state) % limit;
}

#endif
