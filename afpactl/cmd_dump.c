/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl dump: the paths that are cached, hottest first, one per line; `afpactl restore` reads it.
 * The names go out byte for byte: this output is for a file or another program.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "output.h"

typedef struct options {
    app_t *app;
    bool nul;
} options_t;

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case '0':
        o->nul = true;
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

static void print_json(const objects_t *objects)
{
    json_t *array = json_array();

    for (size_t i = 0; i < objects->count; i++)
        json_array_append_new(array, json_text(objects->items[i].path));
    json_print(array);
}

static int print_lines(const objects_t *objects, bool nul)
{
    int status = EXIT_DONE;

    for (size_t i = 0; i < objects->count; i++) {
        const char *path = objects->items[i].path;

        if (!nul && strchr(path, '\n')) {
            complain("%s: left out, a line cannot hold its name; -0 can", path);
            status = EXIT_NOT_SO;
            continue;
        }
        fputs(path, stdout);
        putchar(nul ? 0 : '\n');
    }
    return status;
}

/* Only what can be found and loaded again. */
static void keep_files(objects_t *objects)
{
    size_t kept = 0;

    for (size_t i = 0; i < objects->count; i++)
        if (strcmp(objects->items[i].kind, "file") == 0 && object_live(&objects->items[i]))
            objects->items[kept++] = objects->items[i];
        else
            free(objects->items[i].path);
    objects->count = kept;
}

int cmd_dump(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"null", '0', NULL, 0, "end names with NUL instead of a line end", 0}, {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, on_option, "dump", "Prints the cached paths, hottest first.", children, NULL, NULL};
    options_t options = {.app = app};
    int status = EXIT_DONE;
    objects_t objects;

    app_parse(&argp, argc, argv, &options);
    app_open(app);
    objects_collect(app, NULL, &objects);
    keep_files(&objects);
    if (objects.count)
        qsort(objects.items, objects.count, sizeof(object_t), hottest_first);
    if (app->json)
        print_json(&objects);
    else
        status = print_lines(&objects, options.nul);
    objects_free(&objects);
    return status;
}
