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

/* Where problems go: the array, or standard output. */
typedef struct report {
    json_t *problems;
    size_t told;
} report_t;

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

static void on_problem(void *context, const char *problem)
{
    report_t *report = context;

    report->told++;
    if (report->problems) {
        json_array_append_new(report->problems, json_text(problem));
        return;
    }
    print_name(stdout, problem);
    putchar('\n');
}

/* Compares bytes with files.  Not on a segment that contradicts itself: that would take part in it. */
static int verify_content(app_t *app, report_t *report, size_t *problems)
{
    afpa_error_t error;

    if (!afpa_zone_enabled(app->zone)) {
        complain("%s: the zone is disabled, so its content was not compared", afpa_zone_name(app->zone));
        return EXIT_NOT_SO;
    }
    if (afpa_cache_attach(app->zone, "afpactl", &app->cache, &error) != AFPA_OK) {
        complain("%s", error.text);
        return EXIT_NO_ZONE;
    }
    *problems += afpa_inspect_verify_content(app->cache, on_problem, report);
    return EXIT_DONE;
}

static void print_result(app_t *app, report_t *report, size_t problems, bool ok)
{
    if (app->json)
        json_print(json_pack("{s:b,s:o,s:I}", "ok", ok, "problems", report->problems, "count", (json_int_t)problems));
    else if (ok)
        puts("ok");
    else if (problems > report->told)
        printf("and %zu more\n", problems - report->told);
}

int cmd_verify(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"content", 'c', NULL, 0, "also compare each cached byte with its file", 0}, {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known,
                                     on_option,
                                     "verify",
                                     "Checks every invariant of a segment.\vPrints \"ok\", or what is wrong.  "
                                     "Exit status 1: something is.",
                                     children,
                                     NULL,
                                     NULL};
    options_t options = {.app = app};
    report_t report = {0};
    int status = EXIT_DONE;
    size_t problems;

    app_parse(&argp, argc, argv, &options);
    app_open(app);
    if (app->json)
        report.problems = json_array();
    app_keep_going();
    app_watch(60);
    problems = afpa_inspect_verify(app->zone, on_problem, &report);
    app_watch(0);
    if (problems == 0 && options.content)
        status = verify_content(app, &report, &problems);
    if (status == EXIT_DONE && problems > 0)
        status = EXIT_NOT_SO;
    print_result(app, &report, problems, status == EXIT_DONE);
    return status;
}
