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
    const char *kind, *state, *queue;
    afpa_identity_t identity;
    uint64_t bytes, hits, pins;
    uint32_t number, entries, entries_pinned, frequency;
    double age, checked;
} object_t;

typedef struct objects {
    object_t *items;
    size_t count;
} objects_t;

/* All objects whose path matches the pattern (fnmatch; NULL: all). */
void objects_collect(app_t *app, const char *pattern, objects_t *objects);

/* Those that match a pattern as it is spelled; if there are none, what it is made absolute and folded (pattern_absolute). */
void objects_match(app_t *app, const char *pattern, const char *absolute, objects_t *objects);

void objects_free(objects_t *objects);

/* Whether it can be found by its path: neither in the making nor retired. */
bool object_live(const object_t *object);

/* Whether it is a response entry of this URL: there may be several, by server and Accept-Encoding. */
bool object_is_response(const object_t *object, const char *url);

/* The live object that an operand means.  Of a URL: the response entry that is asked for most.  Of a path: what is cached under it as
 * it is written, or made absolute and folded (path_absolute(), which has to be called before the rights change).
 * false: not cached.  The caller frees object->path. */
bool object_find(app_t *app, const char *operand, const char *absolute, object_t *object);

/* The fields list and show have in common. */
json_t *object_json(const object_t *object);

#endif
