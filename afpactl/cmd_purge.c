/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl purge: drops objects.  Who is being sent one gets the rest of it; nobody finds it any more.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "output.h"

#define WATCH_SECONDS 30

typedef struct options {
    app_t *app;
    char **operands;
    int count;
    bool all;
} options_t;

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case 'a':
        o->all = true;
        return 0;
    case ARGP_KEY_ARGS:
        o->operands = state->argv + state->next;
        o->count = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (o->all == (o->count > 0))
            argp_error(state, o->all ? "--all and operands exclude each other" : "a path, a pattern or --all is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static unsigned long purge_path(app_t *app, const char *path)
{
    app_watch(WATCH_SECONDS);
    return afpa_cache_purge(app->cache, path, strlen(path)) == AFPA_OK;
}

/* Purges what matches; returns how many. */
static unsigned long purge_matching(app_t *app, const char *pattern, const char *absolute)
{
    unsigned long purged = 0;
    objects_t objects;

    objects_match(app, pattern, absolute, &objects);
    for (size_t i = 0; i < objects.count; i++)
        if (object_live(&objects.items[i]))
            purged += purge_path(app, objects.items[i].path);
    objects_free(&objects);
    return purged;
}

/* Purges every response entry of a URL; the file stays. */
static unsigned long purge_responses(app_t *app, const char *url)
{
    unsigned long purged = 0;
    objects_t objects;

    objects_collect(app, NULL, &objects);
    for (size_t i = 0; i < objects.count; i++)
        if (object_live(&objects.items[i]) && object_is_response(&objects.items[i], url))
            purged += purge_path(app, objects.items[i].path);
    objects_free(&objects);
    return purged;
}

/* What is cached under the very name comes before what the name matches as a pattern. */
static unsigned long purge_operand(app_t *app, const char *operand, const char *absolute)
{
    bool url = is_url(operand);
    unsigned long purged = url ? purge_responses(app, operand) : purge_path(app, operand) || purge_path(app, absolute);

    if (!purged && is_glob(operand))
        purged = purge_matching(app, operand, absolute);
    if (!purged)
        complain("%s: %s", operand,
                 url                ? "no response entry for this URL"
                 : is_glob(operand) ? "nothing that is cached matches"
                                    : "not cached");
    return purged;
}

int cmd_purge(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"all", 'a', NULL, 0, "everything", 0}, {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known,
                                     on_option,
                                     "purge PATH|URL|GLOB...\npurge --all",
                                     "Drops objects from a zone.\vIn GLOB, '*' matches any characters, '/' too.  "
                                     "Exit status 1: an operand matched nothing.",
                                     children,
                                     NULL,
                                     NULL};
    options_t options = {.app = app};
    unsigned long purged = 0, now;
    bool missed = false;
    char **paths;

    app_parse(&argp, argc, argv, &options);
    paths = must(calloc((size_t)options.count + 1, sizeof(*paths)));
    for (int i = 0; i < options.count; i++) /* before the rights change */
        paths[i] = is_glob(options.operands[i]) ? pattern_absolute(options.operands[i]) : path_absolute(options.operands[i]);
    app_attach(app);
    if (options.all)
        purged = purge_matching(app, NULL, NULL);
    for (int i = 0; i < options.count; i++) {
        now = purge_operand(app, options.operands[i], paths[i]);
        missed |= now == 0;
        purged += now;
        free(paths[i]);
    }
    app_watch(0);
    free(paths);
    if (app->json)
        json_print(json_pack("{s:I}", "purged", (json_int_t)purged));
    else
        printf("purged %lu %s\n", purged, purged == 1 ? "object" : "objects");
    return missed ? EXIT_NOT_SO : EXIT_DONE;
}
