/* SPDX-License-Identifier: Apache-2.0
 *
 * Children that attach to a zone, report on a board in memory they share with the test, then stay until they are killed.
 */
#ifndef AFPA_OWNER_BOARD_H
#define AFPA_OWNER_BOARD_H

#include <sys/mman.h>

#include "check_main.h"
#include "child.h"
#include "fixture.h"

#define ZONE (4u << 20)
#define TOO_MANY (AFPA_OWNERS + 4u)

typedef struct board {
    fixture_t *f;
    _Atomic unsigned ready;
    _Atomic int pid;                 /* of a grandchild */
    _Atomic unsigned slot[TOO_MANY]; /* one more than that; 0: nothing said yet, UINT32_MAX: refused */
    _Atomic uint32_t object, turn;
    char error[512];
} board_t;

static inline board_t *board_new(fixture_t *f)
{
    board_t *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(b, MAP_FAILED);
    b->f = f;
    return b;
}

static inline void board_drop(board_t *b)
{
    ck_assert_int_eq(munmap(b, sizeof(*b)), 0);
}

static inline void board_wait(board_t *b, unsigned ready)
{
    for (unsigned tries = 0; atomic_load(&b->ready) < ready; tries++, usleep(500))
        ck_assert_uint_lt(tries, 100000);
}

/* Says so, and stays until killed. */
static inline child_result_t stay(board_t *b)
{
    atomic_fetch_add(&b->ready, 1);
    while (pause() == -1)
        continue;
    return CHILD_BAD;
}

static inline void end(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(WTERMSIG(child_wait(pid)), SIGKILL);
}

#endif
