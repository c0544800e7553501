/* SPDX-License-Identifier: Apache-2.0
 *
 * Owner slots: see owner.c.
 */
#ifndef AFPA_OWNER_H
#define AFPA_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "pin.h"
#include "segment.h"

/* Opens the segment file once more for this process alone, and takes a slot.  Statuses as afpa_cache_attach(). */
afpa_status_t afpa__owner_take(afpa__segment_t *segment, const char *path, const char *kind, int *fd, uint32_t *slot,
                               afpa_error_t *error);

/* Gives the slot back, with what is left in its ledger, and closes fd. */
void afpa__owner_release(afpa__segment_t *segment, int fd, uint32_t slot);

/* Whether the process that has the slot lives.  `fd` is any descriptor of the segment file that holds no lock on that slot. */
bool afpa__owner_alive(int fd, uint32_t slot);

/* How many slots are held by living processes.  `fd` likewise. */
unsigned afpa__owners_living(int fd);

/* Takes a dead process's slot back.  Not by two threads of one process at once with the same fd.  false: alive, or free. */
bool afpa__owner_reap(afpa__segment_t *segment, int fd, uint32_t slot);

/* The lock under which a segment is made, judged, replaced or removed: a byte of its file.  Waits; goes with fd at the latest.  Who can
 * open the file can lock it, and keep the lock: so nobody waits for ever.  To make a segment, or to judge one, takes a small part of
 * the time that is given here.  false: errno says why. */
#define AFPA_CREATION_MS 60000u
bool afpa__owner_lock_creation(int fd, unsigned limit_ms);
void afpa__owner_unlock_creation(int fd);
/* The same, for a file that was opened as `path`.  AFPA_OK; AFPA_AGAIN: another file has that name by now, fd is of no use;
 * AFPA_INVALID: the lock cannot be had, errno says why. */
afpa_status_t afpa__owner_lock_named(int fd, const char *path);

#endif
