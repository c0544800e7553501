/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl verify: whether a segment is what it says it is.
 */
#include "config.h"

#include <stdio.h>

#include "afpactl.h"
#include "output.h"

typedef struct options {
    app_t *app;
    bool content;
} options_t;

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case 'c':
        o->content = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument: %s", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Where problems go: the array, or standard output. */
typedef struct report {
    json_t *problems;
} report_t;

static void on_problem(void *context, const char *problem)
{
    report_t *report = context;

    if (report->problems)
        json_array_append_new(report->problems, json_path(problem));
    else
        puts(problem);
}

int cmd_verify(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"content", 'c', NULL, 0, "also compare each cached byte with its file", 0}, {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, on_option, "", "Holds every invariant of a segment against it.", children, NULL, NULL};
    options_t options = {.app = app};
    report_t report = {0};
    size_t problems;

    app_parse(&argp, argc, argv, &options);
    app_open(app);
    if (app->json)
        report.problems = json_array();
    problems = afpa_inspect_verify(app->zone, on_problem, &report);
    if (problems == 0 && options.content) {
        afpa_error_t error;

        if (afpa_cache_attach(app->zone, "afpactl", &app->cache, &error) != AFPA_OK) {
            complain("%s", error.text);
            return EXIT_NO_ZONE;
        }
        problems = afpa_inspect_verify_content(app->cache, on_problem, &report);
    }
    if (app->json)
        json_print(json_pack("{s:b,s:o}", "ok", problems == 0, "problems", report.problems));
    else if (problems == 0)
        puts("ok");
    else
        printf("%zu problems\n", problems);
    return problems ? EXIT_NOT_SO : EXIT_DONE;
}
