/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl: inspects and warms AFPA zones.
 *
 * A segment is data that its owner, a server's user, can write; so the tool takes on that user's rights before it looks into one
 * (afpa_zone_attach), and opens files with those rights too: what the server may not read cannot get into its cache.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <afpa/log.h>

#include "afpactl.h"

const char *argp_program_version = "afpactl " PACKAGE_VERSION;

typedef struct command {
    const char *name, *arguments, *help;
    int (*run)(app_t *app, int argc, char **argv);
} command_t;

static const command_t commands[] = {
    {"stat", "[--interval S] [--reset]", "totals: hits, misses, fills, memory, owners", cmd_stat},
    {"list", "[--sort size|hits|age] [GLOB]", "the objects in the zone", cmd_list},
    {"show", "PATH|URL", "one object with its pin array", cmd_show},
    {"warm", "[-j N] PATH|DIR|URL|- ...", "load files, trees, lists, or request URLs", cmd_warm},
    {"purge", "PATH|URL|GLOB ...|--all", "drop objects", cmd_purge},
    {"verify", "[--content]", "hold every invariant of the segment against it", cmd_verify},
    {"dump", "", "list of cached paths, hottest first", cmd_dump},
    {"restore", "[FILE]", "warm from such a list", cmd_restore},
    {"enable", "", "have all processes use the zone", cmd_enable},
    {"disable", "", "have all processes bypass the zone, at once", cmd_disable},
    {"create", "NAME SIZE", "make a segment without a server", cmd_create},
    {"destroy", "NAME|PATH", "remove a segment", cmd_destroy},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

void complain(const char *format, ...)
{
    va_list args;

    fputs("afpactl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- zones ---- */

static void on_log(void *context, afpa_log_level_t level, const char *line)
{
    complain("%s", line);
}

/* The owner of a segment can cut it short while we look at it. */
static void on_bus_error(int signal_number)
{
    static const char text[] = "afpactl: the segment was cut short while it was read\n";

    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(EXIT_NO_ZONE);
}

/* The name of the only segment in the usual folder; says what there is otherwise. */
static char *only_zone(void)
{
    DIR *folder = opendir(AFPA_ZONE_DIR);
    struct dirent *entry;
    char *found = NULL;
    unsigned count = 0;

    while (folder && (entry = readdir(folder)) != NULL)
        if (strncmp(entry->d_name, AFPA_ZONE_PREFIX, strlen(AFPA_ZONE_PREFIX)) == 0) {
            if (count++ == 1)
                complain("there are several zones, choose one with -z: %s", found);
            if (count > 1)
                complain("                                            %s", entry->d_name + strlen(AFPA_ZONE_PREFIX));
            else
                found = strdup(entry->d_name + strlen(AFPA_ZONE_PREFIX));
        }
    if (folder)
        closedir(folder);
    if (count == 0)
        complain("there is no zone in %s; give its path with -z", AFPA_ZONE_DIR);
    if (count == 1)
        return found;
    exit(EXIT_NO_ZONE);
}

void app_open(app_t *app)
{
    char *only = app->zone_name ? NULL : only_zone();
    afpa_error_t error;

    signal(SIGBUS, on_bus_error);
    if (afpa_zone_attach(only ? only : app->zone_name, true, &app->zone, &error) != AFPA_OK) {
        complain("%s", error.text);
        exit(EXIT_NO_ZONE);
    }
    free(only);
}

static void ignore_problem(void *context, const char *problem)
{
}

static bool in_use(app_t *app)
{
    afpa_owner_info_t owner;
    afpa_stat_t stat;

    afpa_inspect_stat(app->zone, &stat);
    for (uint32_t slot = 0; slot < stat.owners_limit; slot++)
        if (afpa_inspect_owner(app->zone, slot, &owner) == AFPA_OK && owner.alive)
            return true;
    return false;
}

void app_attach(app_t *app)
{
    afpa_error_t error;

    app_open(app);
    afpa_log_set(on_log, NULL, AFPA_LOG_WARN);
    if (!in_use(app) && afpa_inspect_verify(app->zone, ignore_problem, NULL) > 0) {
        complain("%s: is inconsistent (see afpactl verify); the next server start replaces it, afpactl destroy removes it",
                 afpa_zone_path(app->zone));
        exit(EXIT_NO_ZONE);
    }
    if (afpa_cache_attach(app->zone, "afpactl", &app->cache, &error) != AFPA_OK) {
        complain("%s", error.text);
        exit(EXIT_NO_ZONE);
    }
}

/* ---- operands ---- */

bool is_url(const char *text)
{
    return strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0;
}

bool is_glob(const char *text)
{
    return strpbrk(text, "*?[") != NULL;
}

char *path_absolute(const char *path)
{
    char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0), *whole = NULL, *folded, *out, *part, *rest;

    if (asprintf(&whole, "%s/%s", cwd ? cwd : "", path) < 0 || !(folded = malloc(strlen(whole) + 2))) {
        complain("out of memory");
        exit(EXIT_NOT_SO);
    }
    out = folded;
    for (part = strtok_r(whole, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        if (strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") == 0) {
            while (out > folded && *--out != '/')
                continue;
            continue;
        }
        *out++ = '/';
        out = stpcpy(out, part);
    }
    if (out == folded)
        *out++ = '/';
    *out = 0;
    free(whole);
    free(cwd);
    return folded;
}

/* ---- arguments ---- */

static error_t app_option(int key, char *arg, struct argp_state *state)
{
    app_t *app = state->input;

    switch (key) {
    case 'z':
        app->zone_name = arg;
        return 0;
    case 'J':
        app->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option app_options[] = {{"zone", 'z', "ZONE|PATH", 0, "the zone; not needed if there is only one", 10},
                                                 {"json", 'J', NULL, 0, "print JSON", 10},
                                                 {0}};
const struct argp app_argp = {app_options, app_option, NULL, NULL, NULL, NULL, NULL};

void app_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(argp, argc, argv, 0, NULL, input) != 0)
        exit(EXIT_USAGE);
}

/* The command and what follows it. */
typedef struct choice {
    app_t *app;
    const command_t *command;
    int first;
} choice_t;

static error_t main_option(int key, char *arg, struct argp_state *state)
{
    choice_t *choice = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = choice->app;
        return 0;
    case ARGP_KEY_ARG:
        for (size_t i = 0; i < COMMANDS; i++)
            if (strcmp(arg, commands[i].name) == 0)
                choice->command = &commands[i];
        if (!choice->command)
            argp_error(state, "no such command: %s", arg);
        choice->first = state->next - 1;
        state->next = state->argc; /* the rest is the command's */
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static char *main_help(int key, const char *text, void *input)
{
    char *help = NULL;
    size_t size;
    FILE *out;

    if (key != ARGP_KEY_HELP_POST_DOC || !(out = open_memstream(&help, &size)))
        return (char *)(uintptr_t)text;
    fputs("Commands:\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %-32s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    fputs("\nExit status: 0 done, 1 something asked for was not so, 2 usage, 3 no such zone or unreadable segment.\n"
          "afpactl COMMAND --help tells more.",
          out);
    fclose(out);
    return help;
}

static const struct argp_child main_children[] = {{&app_argp, 0, NULL, 0}, {0}};
static const struct argp main_argp = {NULL, main_option, "COMMAND [ARGUMENT...]", "Inspects and warms AFPA zones.\v ", main_children,
                                      main_help, NULL};

int main(int argc, char **argv)
{
    app_t app = {0};
    choice_t choice = {.app = &app};
    char name[64];
    int status;

    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&main_argp, argc, argv, ARGP_IN_ORDER, NULL, &choice);
    snprintf(name, sizeof(name), "afpactl %s", choice.command->name);
    argv[choice.first] = name;
    status = choice.command->run(&app, argc - choice.first, argv + choice.first);
    afpa_cache_detach(&app.cache);
    afpa_zone_close(&app.zone);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("standard output: %s", strerror(errno));
        return EXIT_NOT_SO;
    }
    return status;
}
