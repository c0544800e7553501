/* SPDX-License-Identifier: Apache-2.0
 *
 * The space lock, and what it covers: see space.c.  All calls but the first three are made under the lock.
 */
#ifndef AFPA_SPACE_H
#define AFPA_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

/* Takes the lock, and rebuilds first what a process that died under it left. */
void afpa__space_take(afpa__segment_t *segment);
void afpa__space_release(afpa__segment_t *segment);
/* Whether this thread holds it by afpa__space_take(). */
bool afpa__space_mine(void);

/* Derives all free lists, bitmaps, queues and the draining list from the objects and entries. */
void afpa__space_rebuild(afpa__segment_t *segment);

/* Free lists of object records and of groups of entries; AFPA_NONE: empty. */
uint32_t afpa__space_object(afpa__segment_t *segment);
void afpa__space_object_free(afpa__segment_t *segment, uint32_t object);
uint32_t afpa__space_group(afpa__segment_t *segment);
void afpa__space_group_free(afpa__segment_t *segment, uint32_t group);

/* The queues of evict.c: push at the newest end, remove from anywhere. */
void afpa__queue_push(afpa__segment_t *segment, uint32_t object, afpa__queue_id_t queue);
void afpa__queue_remove(afpa__segment_t *segment, uint32_t object);
/* What an object weighs in its queue: payload in memory, key and record.  Whoever changes its payload while it is in a queue changes
 * the queue's sum by as much. */
uint64_t afpa__queue_weight(const afpa__object_shared_t *object);

/* The list of entries that could not be freed yet: a first entry stands for its whole retired object. */
void afpa__draining_push(afpa__segment_t *segment, uint32_t entry);
/* Frees what has no pin any more.  true: something was freed. */
bool afpa__draining_poll(afpa__segment_t *segment);

#endif
