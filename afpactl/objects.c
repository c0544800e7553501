/* SPDX-License-Identifier: Apache-2.0
 *
 * Collecting objects.
 */
#include "config.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "output.h"

static void object_of(const afpa_object_info_t *info, object_t *o)
{
    *o = (object_t){.path = must(strdup(info->path)),
                    .kind = info->kind == AFPA_KIND_RESPONSE ? "response" : "file",
                    .state = info->state,
                    .queue = info->queue,
                    .identity = info->identity,
                    .bytes = info->bytes,
                    .hits = info->hits,
                    .pins = info->pins,
                    .number = info->object,
                    .entries = info->entries,
                    .entries_pinned = info->entries_pinned,
                    .frequency = info->frequency,
                    .age = info->age,
                    .checked = info->checked};
}

void objects_collect(app_t *app, const char *pattern, objects_t *objects)
{
    afpa_object_info_t *info = must(malloc(sizeof(*info)));
    uint32_t cursor = 0;
    size_t room = 0;

    *objects = (objects_t){0};
    while (afpa_inspect_next(app->zone, &cursor, info) == AFPA_OK) {
        if (pattern && fnmatch(pattern, info->path, 0) != 0)
            continue;
        if (objects->count == room)
            objects->items = must(realloc(objects->items, (room = room * 2 + 64) * sizeof(*objects->items)));
        object_of(info, &objects->items[objects->count++]);
    }
    free(info);
}

/* A relative pattern is no spelling of a key. */
void objects_match(app_t *app, const char *pattern, const char *absolute, objects_t *objects)
{
    bool spelled = pattern && pattern[0] == '/' && strcmp(pattern, absolute) != 0;

    *objects = (objects_t){0};
    if (spelled)
        objects_collect(app, pattern, objects);
    if (objects->count > 0)
        return;
    objects_free(objects);
    objects_collect(app, absolute, objects);
}

void objects_free(objects_t *objects)
{
    for (size_t i = 0; i < objects->count; i++)
        free(objects->items[i].path);
    free(objects->items);
}

bool object_live(const object_t *o)
{
    return strcmp(o->state, "live") == 0;
}

bool object_is_response(const object_t *o, const char *url)
{
    size_t length = strlen(url);

    return strcmp(o->kind, "response") == 0 && strncmp(o->path, url, length) == 0 && o->path[length] == ' ';
}

/* *object is the one with the most hits. */
static bool find_response(app_t *app, const char *url, object_t *object)
{
    objects_t objects;
    size_t best = SIZE_MAX;

    objects_collect(app, NULL, &objects);
    for (size_t i = 0; i < objects.count; i++)
        if (object_live(&objects.items[i]) && object_is_response(&objects.items[i], url) &&
            (best == SIZE_MAX || objects.items[i].hits > objects.items[best].hits))
            best = i;
    if (best != SIZE_MAX) {
        *object = objects.items[best];
        objects.items[best].path = NULL;
    }
    objects_free(&objects);
    return best != SIZE_MAX;
}

static bool find_path(app_t *app, const char *operand, const char *absolute, object_t *object)
{
    afpa_object_info_t *info = must(malloc(sizeof(*info)));
    bool found = afpa_inspect_path(app->zone, operand, strlen(operand), info) == AFPA_OK ||
                 afpa_inspect_path(app->zone, absolute, strlen(absolute), info) == AFPA_OK;

    if (found)
        object_of(info, object);
    free(info);
    return found;
}

bool object_find(app_t *app, const char *operand, const char *absolute, object_t *object)
{
    if (is_url(operand))
        return find_response(app, operand, object);
    return find_path(app, operand, absolute, object);
}

json_t *object_json(const object_t *o)
{
    return json_pack("{s:o,s:s,s:I,s:s,s:I,s:f,s:I,s:I,s:f,s:I,s:I,s:s,s:I}", "path", json_text(o->path), "kind", o->kind, "size",
                     (json_int_t)o->identity.size, "state", o->state, "hits", (json_int_t)o->hits, "age", o->age, "pins",
                     (json_int_t)o->pins, "bytes", (json_int_t)o->bytes, "checked", o->checked, "entries", (json_int_t)o->entries,
                     "entries_pinned", (json_int_t)o->entries_pinned, "queue", o->queue, "frequency", (json_int_t)o->frequency);
}
