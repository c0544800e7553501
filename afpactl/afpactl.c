/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl: inspects and warms AFPA zones.
 *
 * The command's name splits the arguments: what comes before is read here, the rest by the command, which takes the common
 * options too.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "afpactl.h"
#include "output.h"

const char *argp_program_version = "afpactl (AFPA) " PACKAGE_VERSION;

static char program_name[] = "afpactl"; /* whatever it was called as, messages begin with this */

typedef struct command {
    const char *name, *arguments, *help;
    int (*run)(app_t *app, int argc, char **argv);
} command_t;

static const command_t commands[] = {
    {"stat", "[--interval S] [--reset]", "totals: hits, misses, memory, owners", cmd_stat},
    {"list", "[--sort KEY] [GLOB]", "the objects in the zone", cmd_list},
    {"show", "PATH|URL", "one object with its pin array", cmd_show},
    {"warm", "[-j N] PATH|DIR|URL|- ...", "load files, trees, lists; request URLs", cmd_warm},
    {"purge", "PATH|URL|GLOB ...|--all", "drop objects", cmd_purge},
    {"verify", "[--content]", "check every invariant of the segment", cmd_verify},
    {"dump", "", "list of cached paths, hottest first", cmd_dump},
    {"restore", "[FILE]", "warm from such a list", cmd_restore},
    {"enable", "", "have all processes use the zone", cmd_enable},
    {"disable", "", "have all processes bypass it, at once", cmd_disable},
    {"serve", "[-p PORT] [-j N] DIR", "serve a directory from the zone, by itself", cmd_serve},
    {"create", "NAME SIZE", "make a segment without a server", cmd_create},
    {"destroy", "NAME|PATH", "remove a segment", cmd_destroy},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* ---- the common options ---- */

static error_t app_option(int key, char *arg, struct argp_state *state)
{
    app_t *app = state->input;

    switch (key) {
    case 'z':
        if (!*arg)
            argp_error(state, "-z: the name of a zone is not empty");
        app->zone_name = arg;
        return 0;
    case 'J':
        app->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option app_options[] = {{"zone", 'z', "ZONE|PATH", 0, "the zone; not needed where there is only one", 10},
                                                 {"json", 'J', NULL, 0, "print JSON", 10},
                                                 {0}};
const struct argp app_argp = {app_options, app_option, NULL, NULL, NULL, NULL, NULL};

void app_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    argv[0] = program_name;
    if (argp_parse(argp, argc, argv, 0, NULL, input) != 0)
        exit(EXIT_USAGE);
}

error_t app_no_options(int key, char *arg, struct argp_state *state)
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

/* ---- the command ---- */

/* The command and where it stands. */
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
        argp_error(state, "a command is needed");
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
        fprintf(out, "  %-8s %-26s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    fputs("\nExit status: 0 done, 1 something asked for was not so, 2 wrong usage, 3 no such zone or unreadable segment.\n"
          "'afpactl COMMAND --help' tells more.",
          out);
    fclose(out);
    return help;
}

static const struct argp_child main_children[] = {{&app_argp, 0, NULL, 0}, {0}};
static const struct argp main_argp = {
    NULL, main_option, "COMMAND [ARGUMENT...]", "Inspects and warms AFPA zones.\v ", main_children, main_help, NULL};

/* A stream that is closed gets a descriptor that can be neither read nor written: else the segment would get its number, and what
 * is printed would go into it. */
static void occupy_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            exit(EXIT_NOT_SO);
}

int main(int argc, char **argv)
{
    app_t app = {0};
    choice_t choice = {.app = &app};
    int status;

    occupy_streams();
    setlocale(LC_CTYPE, "");
    argp_err_exit_status = EXIT_USAGE;
    argv[0] = program_name;
    argp_parse(&main_argp, argc, argv, ARGP_IN_ORDER, NULL, &choice);
    status = choice.command->run(&app, argc - choice.first, argv + choice.first);
    afpa_cache_detach(&app.cache);
    afpa_zone_close(&app.zone);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("standard output: %s", strerror(errno));
        return EXIT_NOT_SO;
    }
    return status;
}
