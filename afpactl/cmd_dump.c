/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl dump: the paths that are cached, hottest first, one per line; `afpactl restore` reads it.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "output.h"

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->input;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument: %s", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int hottest_first(const void *a, const void *b)
{
    const object_t *x = a, *y = b;

    if (x->hits != y->hits)
        return x->hits < y->hits ? 1 : -1;
    if (x->frequency != y->frequency)
        return x->frequency < y->frequency ? 1 : -1;
    return strcmp(x->path, y->path);
}

int cmd_dump(app_t *app, int argc, char **argv)
{
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {NULL, on_option, "", "Prints the cached paths, hottest first.", children, NULL, NULL};
    json_t *array = NULL;
    objects_t objects;

    app_parse(&argp, argc, argv, app);
    app_open(app);
    objects_collect(app, NULL, &objects);
    if (objects.count)
        qsort(objects.items, objects.count, sizeof(object_t), hottest_first);
    if (app->json)
        array = json_array();
    for (size_t i = 0; i < objects.count; i++) {
        const object_t *o = &objects.items[i];

        if (strcmp(o->kind, "file") != 0 || strcmp(o->state, "live") != 0)
            continue;
        if (array)
            json_array_append_new(array, json_path(o->path));
        else if (strchr(o->path, '\n'))
            complain("left out, its name has a line end: %s", o->path);
        else
            puts(o->path);
    }
    if (array)
        json_print(array);
    objects_free(&objects);
    return EXIT_DONE;
}
