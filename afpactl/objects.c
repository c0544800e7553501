/* SPDX-License-Identifier: Apache-2.0
 *
 * Collecting objects.
 */
#include "config.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "output.h"

void object_of(const afpa_object_info_t *info, object_t *o)
{
    *o = (object_t){.path = strdup(info->path),
                    .kind = info->kind == AFPA_KIND_RESPONSE ? "response" : "file",
                    .state = info->state,
                    .identity = info->identity,
                    .bytes = info->bytes,
                    .hits = info->hits,
                    .pins = info->pins,
                    .number = info->object,
                    .entries = info->entries,
                    .frequency = info->frequency,
                    .age = info->age,
                    .checked = info->checked};
    if (!o->path) {
        complain("out of memory");
        exit(EXIT_NOT_SO);
    }
}

void objects_collect(app_t *app, const char *pattern, objects_t *objects)
{
    afpa_object_info_t *info = malloc(sizeof(*info));
    uint32_t cursor = 0;
    size_t room = 0;

    *objects = (objects_t){0};
    while (info && afpa_inspect_next(app->zone, &cursor, info) == AFPA_OK) {
        if (pattern && fnmatch(pattern, info->path, 0) != 0)
            continue;
        if (objects->count == room) {
            object_t *more = realloc(objects->items, (room = room * 2 + 64) * sizeof(*more));

            if (!more) {
                complain("out of memory");
                exit(EXIT_NOT_SO);
            }
            objects->items = more;
        }
        object_of(info, &objects->items[objects->count++]);
    }
    free(info);
}

void objects_free(objects_t *objects)
{
    for (size_t i = 0; i < objects->count; i++)
        free(objects->items[i].path);
    free(objects->items);
}

json_t *object_json(const object_t *o)
{
    return json_pack("{s:o,s:s,s:I,s:s,s:I,s:f,s:I,s:I}", "path", json_path(o->path), "kind", o->kind, "size",
                     (json_int_t)o->identity.size, "state", o->state, "hits", (json_int_t)o->hits, "age", o->age, "pins",
                     (json_int_t)o->pins, "bytes", (json_int_t)o->bytes);
}
