/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, the clock, replaceable.
 *
 * CLOCK_MONOTONIC_COARSE counts in ticks of 1–10 ms, is read without a system call, and does not jump when an administrator sets
 * the time.
 */
#include "config.h"

#include <stddef.h>
#include <time.h>

#include "clock.h"

static uint64_t (*replacement)(void);

uint64_t afpa__now_ms(void)
{
    struct timespec ts;

    if (__builtin_expect(replacement != NULL, 0))
        return replacement();
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int64_t afpa__wall_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return ts.tv_sec;
}

void afpa__clock_set(uint64_t (*clock)(void))
{
    replacement = clock;
}
