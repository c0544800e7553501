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
            argp_error(state, o->all ? "--all and operands exclude each other" : "what? Give paths or patterns, or --all");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Purges what matches; returns how many. */
static unsigned long purge_matching(app_t *app, const char *pattern)
{
    unsigned long purged = 0;
    objects_t objects;

    objects_collect(app, pattern, &objects);
    for (size_t i = 0; i < objects.count; i++)
        purged += afpa_cache_purge(app->cache, objects.items[i].path, strlen(objects.items[i].path)) == AFPA_OK;
    objects_free(&objects);
    return purged;
}

int cmd_purge(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"all", 'a', NULL, 0, "everything", 0}, {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, on_option, "PATH|URL|GLOB...\n--all", "Drops objects from a zone.", children, NULL, NULL};
    options_t options = {.app = app};
    unsigned long purged = 0, failed = 0;
    char **paths;

    app_parse(&argp, argc, argv, &options);
    paths = calloc((size_t)options.count + 1, sizeof(*paths));
    for (int i = 0; paths && i < options.count; i++) /* before the rights change */
        paths[i] = is_url(options.operands[i]) ? NULL : path_absolute(options.operands[i]);
    app_attach(app);
    if (options.all)
        purged = purge_matching(app, NULL);
    for (int i = 0; paths && i < options.count; i++) {
        unsigned long now = 0;

        if (paths[i] && afpa_cache_purge(app->cache, paths[i], strlen(paths[i])) == AFPA_OK)
            now = 1;
        else if (paths[i] && is_glob(options.operands[i]))
            now = purge_matching(app, paths[i]);
        if (!now) {
            complain("%s: not cached", options.operands[i]);
            failed++;
        }
        purged += now;
        free(paths[i]);
    }
    free(paths);
    if (app->json)
        json_print(json_pack("{s:I}", "purged", (json_int_t)purged));
    else
        printf("purged %lu objects\n", purged);
    return failed ? EXIT_NOT_SO : EXIT_DONE;
}
