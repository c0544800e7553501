/* SPDX-License-Identifier: Apache-2.0
 *
 * What calls return.  Conditions are returned; bugs abort (see afpa__assert in the sources).
 */
#ifndef AFPA_STATUS_H
#define AFPA_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum afpa_status {
    AFPA_OK = 0,    /* done */
    AFPA_CHECK_DUE, /* done, and served from the cache; a check is due that the look-up could not make, or that found a
                        * difference: the caller queues afpa_cache_check() for this path */
    AFPA_STALE,     /* cached, but its last check is too old, and the look-up could not make a new one, or found a
                        * difference: the caller has a worker call afpa_cache_open() */
    AFPA_MISS,      /* not cached: the caller has a worker call afpa_cache_open() */
    AFPA_EMPTY,     /* the chunk is not pinned yet: the caller has a worker call afpa_cache_fill(), then pins again */
    AFPA_AGAIN,     /* would block: try again after the next event */
    AFPA_DECLINED,  /* the cache will not hold this: the server serves the file itself; a reason goes with it */
    AFPA_DISABLED,  /* the zone is switched off, or this process has no owner slot: the server serves by itself */
    AFPA_CHANGED,   /* the file is not what it was: a reply already begun is cut, never finished */
    AFPA_NO_SPACE,  /* no chunk can be evicted now, or memory, a queue or the owner slots are used up: the server serves by
                        * itself, or the reply is cut */
    AFPA_IO_ERROR,  /* reading failed, errno says why: as AFPA_CHANGED */
    AFPA_CLOSED,    /* the connection is closed, by either side: nothing more can be sent or received on it */
    AFPA_NOT_FOUND, /* no such zone, object or entry: nothing was done */
    AFPA_INVALID,   /* an argument or a segment is not valid; afpa_error_t says which and why */
    AFPA_IN_USE     /* held by living processes; afpa_error_t says by whom */
} afpa_status_t;

/* One line for people, filled in by calls that can fail for a reason an administrator can mend.
 * Names the file or the parameter, and the reason; no newline at the end. */
typedef struct afpa_error {
    char text[512];
} afpa_error_t;

/* The name of a status as logs show it, "no_space" for AFPA_NO_SPACE.  Static storage; never NULL. */
const char *afpa_status_name(afpa_status_t status);

#ifdef __cplusplus
}
#endif
#endif
