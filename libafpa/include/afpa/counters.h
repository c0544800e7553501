/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of the counters and of the reasons to decline; counters.def is the table both come from.
 */
#ifndef AFPA_COUNTERS_H
#define AFPA_COUNTERS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum afpa_counter {
#define COUNTER(id, name, help) AFPA_COUNTER_##id,
#define DECLINE(id, name, help) AFPA_DECLINE_##id,
#include <afpa/counters.def>
    AFPA_COUNTER_LIMIT
} afpa_counter_t;

/* Reasons to decline are the counters from here on. */
#define AFPA_DECLINE_FIRST AFPA_DECLINE_DISABLED

/* The name of a counter ("pipeline_hits", "min_uses"), and in a few words what it counts.  Static storage; NULL outside the table. */
const char *afpa_counter_name(afpa_counter_t counter);
const char *afpa_counter_help(afpa_counter_t counter);

#ifdef __cplusplus
}
#endif
#endif
