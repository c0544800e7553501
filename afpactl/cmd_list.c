/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl list: the objects of a zone.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "output.h"

typedef int compare_fn(const void *, const void *);

typedef struct options {
    app_t *app;
    compare_fn *compare;
    const char *pattern;
} options_t;

static int by_path(const void *a, const void *b)
{
    return strcmp(((const object_t *)a)->path, ((const object_t *)b)->path);
}

/* Largest first; equal ones by path. */
#define DESCENDING(name, field)                                                                                                    \
    static int name(const void *a, const void *b)                                                                                  \
    {                                                                                                                              \
        const object_t *x = a, *y = b;                                                                                             \
                                                                                                                                   \
        return x->field == y->field ? by_path(a, b) : x->field < y->field ? 1 : -1;                                                \
    }
DESCENDING(by_size, identity.size)
DESCENDING(by_hits, hits)
DESCENDING(by_age, age)

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case 's':
        o->compare = strcmp(arg, "size") == 0   ? by_size
                     : strcmp(arg, "hits") == 0 ? by_hits
                     : strcmp(arg, "age") == 0  ? by_age
                     : strcmp(arg, "path") == 0 ? by_path
                                                : NULL;
        if (!o->compare)
            argp_error(state, "--sort: \"%s\" is none of path, size, hits, age", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (o->pattern)
            argp_error(state, "unexpected argument: %s", arg);
        o->pattern = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* One object to a line, and none kept: there may be very many. */
static void print_json(const objects_t *objects)
{
    putchar('[');
    for (size_t i = 0; i < objects->count; i++) {
        fputs(i ? "," : "", stdout);
        json_print_line(object_json(&objects->items[i]));
    }
    puts("]");
}

static void print_table(const objects_t *objects)
{
    printf("%10s %10s %10s %7s %6s %-8s %s\n", "SIZE", "IN MEMORY", "HITS", "AGE", "PINS", "STATE", "PATH");
    for (size_t i = 0; i < objects->count; i++) {
        const object_t *o = &objects->items[i];

        printf("%10s %10s %10llu %7s %6llu %-8s ", size_text(o->identity.size), size_text(o->bytes), (unsigned long long)o->hits,
               age_text(o->age), (unsigned long long)o->pins, o->state);
        print_name(stdout, o->path);
        putchar('\n');
    }
}

int cmd_list(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"sort", 's', "KEY", 0, "path (default), or size, hits or age, largest first", 0},
                                               {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        known,
        on_option,
        "list [GLOB]",
        "Lists the objects whose path matches GLOB, or all.\vIn GLOB, '*' matches any characters, '/' too.  "
        "Exit status 1: nothing matches it.",
        children,
        NULL,
        NULL};
    options_t options = {.app = app, .compare = by_path};
    objects_t objects;
    char *pattern;
    bool nothing;

    app_parse(&argp, argc, argv, &options);
    pattern = options.pattern ? pattern_absolute(options.pattern) : NULL; /* before the rights change */
    app_open(app);
    objects_match(app, options.pattern, pattern, &objects);
    if (objects.count)
        qsort(objects.items, objects.count, sizeof(object_t), options.compare);
    if (app->json)
        print_json(&objects);
    else
        print_table(&objects);
    nothing = pattern && objects.count == 0;
    if (nothing)
        complain("%s: nothing that is cached matches", options.pattern);
    objects_free(&objects);
    free(pattern);
    return nothing ? EXIT_NOT_SO : EXIT_DONE;
}
