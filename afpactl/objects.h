/* SPDX-License-Identifier: Apache-2.0
 *
 * Collecting the objects of a zone, for the commands that go through all of them.
 */
#ifndef AFPACTL_OBJECTS_H
#define AFPACTL_OBJECTS_H

#include <jansson.h>

#include "afpactl.h"

/* What list, show, dump and purge need of an object. */
typedef struct object {
    char *path;
    const char *kind, *state;
    afpa_identity_t identity;
    uint64_t bytes, hits, pins;
    uint32_t number, entries, frequency;
    double age, checked;
} object_t;

typedef struct objects {
    object_t *items;
    size_t count;
} objects_t;

/* All objects whose path matches the pattern (fnmatch; NULL: all). */
void objects_collect(app_t *app, const char *pattern, objects_t *objects);
void objects_free(objects_t *objects);

void object_of(const afpa_object_info_t *info, object_t *object);

/* The fields list and show have in common. */
json_t *object_json(const object_t *object);

#endif
