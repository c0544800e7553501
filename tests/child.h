/* SPDX-License-Identifier: Apache-2.0
 *
 * Part of a test in a process of its own: for what dies, gives up rights, or mounts something.
 *
 * ck_assert() is of no use there: without CK_FORK it would jump back into the runner, in the wrong process.  So such a part is a
 * function that returns CHILD_GOOD, or through CHILD_NEED() what failed, on standard error.
 */
#ifndef AFPA_CHILD_H
#define AFPA_CHILD_H

#include <sched.h>
#include <sys/mount.h>

#include "check_main.h"

typedef enum child_result { CHILD_GOOD = 0, CHILD_BAD = 1, CHILD_SKIP = 77 } child_result_t;

typedef child_result_t child_fn(void *arg);

#define CHILD_NEED(condition)                                                                                                      \
    do {                                                                                                                           \
        if (!(condition)) {                                                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                        \
            return CHILD_BAD;                                                                                                      \
        }                                                                                                                          \
    } while (0)

/* Starts fn(arg) in a child, which ends with what it returns. */
static inline pid_t child_start(child_fn *fn, void *arg)
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit((int)fn(arg));
    return pid;
}

/* How it ended, as waitpid() says. */
static inline int child_wait(pid_t pid)
{
    int status = -1;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* Both; fails the test unless the child returned CHILD_GOOD.  A part that cannot be had here is passed over. */
static inline void child_run(child_fn *fn, void *arg, const char *label)
{
    int status = child_wait(child_start(fn, arg));

    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIP)
        fprintf(stderr, "skip: %s\n", label);
    else
        ck_assert_msg(status == 0, "%s: the child ended with 0x%x", label, (unsigned)status);
}

/* A tmpfs of its own for this process, as root in a mount namespace, else in a user namespace where that is allowed. */
static inline bool child_tmpfs(const char *dir, const char *options)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 && mount("tmpfs", dir, "tmpfs", 0, options) == 0;
}

#endif
