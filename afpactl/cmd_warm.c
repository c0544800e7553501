/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl warm, restore: load payload before it is asked for.
 *
 * Paths and trees are read through the library, with no server needed; URLs are requested from their server, which loads what
 * it serves.  What `restore` reads are keys, and a key is the very bytes of a path, so it folds nothing.  Its list is hottest
 * first, so once the zone is full the rest is not worth anything being evicted for.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "load.h"
#include "output.h"
#include "tree.h"

typedef struct options {
    app_t *app;
    load_options_t load;
    bool nul;
    bool exact;  /* absolute paths as they are spelled */
    bool listed; /* names are those of files: what is a directory now is not gone through */
    char **operands;
    int count;
} options_t;

/* ---- naming what to load ---- */

/* A relative path is no server's spelling, so there is nothing in it to keep. */
static char *path_of(const options_t *o, const char *operand)
{
    return o->exact && operand[0] == '/' ? must(strdup(operand)) : path_absolute(operand);
}

static void add_operand(load_t *load, const options_t *o, const char *operand, load_origin_t origin)
{
    struct stat st;
    char *path;

    if (is_url(operand)) {
        load_add(load, operand, origin);
        return;
    }
    path = path_of(o, operand);
    if (stat(path, &st) != 0)
        load_skip(load, path, origin, load_reason(errno));
    else if (S_ISDIR(st.st_mode) && !o->listed)
        tree_add(load, path);
    else
        load_add(load, path, origin);
    free(path);
}

/* false: the list could not be read to its end. */
static bool add_list(load_t *load, const options_t *o, FILE *list, const char *name, load_origin_t origin)
{
    int end = o->nul ? 0 : '\n';
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    bool whole;

    while (!load_stopped(load) && (length = getdelim(&line, &size, end, list)) > 0) {
        if (line[length - 1] == end)
            line[--length] = 0;
        if (strlen(line) != (size_t)length) {
            complain("%s: a line has a NUL byte in it, and no name has; -0 reads names that end with one", name);
            free(line);
            return false;
        }
        if (length > 0)
            add_operand(load, o, line, origin);
    }
    whole = load_stopped(load) || !ferror(list);
    if (!whole)
        complain("%s: %s", name, strerror(errno));
    free(line);
    return whole;
}

/* ---- the result ---- */

static void print_json(const load_result_t *r)
{
    json_print(json_pack("{s:I,s:I,s:O,s:f,s:I}", "files", (json_int_t)r->files, "bytes", (json_int_t)r->bytes, "skipped",
                         r->skipped, "seconds", r->seconds, "evicted", (json_int_t)r->evicted));
}

static void print_summary(const load_result_t *r)
{
    const char *separator = " ", *word;
    json_t *count;

    printf("warmed %llu %s, %s in %.2f s", (unsigned long long)r->files, r->files == 1 ? "file" : "files", size_text(r->bytes),
           r->seconds);
    if (r->skipped_total)
        printf("; skipped %llu:", (unsigned long long)r->skipped_total);
    json_object_foreach(r->skipped, word, count) {
        printf("%s%s %lld", separator, word, (long long)json_integer_value(count));
        separator = ", ";
    }
    if (r->evicted)
        printf("; %llu evictions meanwhile", (unsigned long long)r->evicted);
    putchar('\n');
}

/* Ends as the signal would have ended it, now that nothing is held any more. */
static void interrupt(app_t *app, int signal_number)
{
    afpa_cache_detach(&app->cache);
    afpa_zone_close(&app->zone);
    fflush(stdout);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static int report(app_t *app, load_result_t *r)
{
    if (app->json)
        print_json(r);
    else
        print_summary(r);
    json_decref(r->skipped);
    if (r->disabled)
        complain("%s: the zone is disabled, nothing can be loaded; 'afpactl enable' switches it on", afpa_zone_name(app->zone));
    if (r->interrupted)
        interrupt(app, r->interrupted);
    return r->failed || r->disabled ? EXIT_NOT_SO : EXIT_DONE;
}

/* A tree keeps one descriptor open for each level of directories. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)!setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- arguments ---- */

static uint64_t parse_size(struct argp_state *state, const char *name, const char *arg)
{
    uint64_t bytes = 0;

    if (afpa_parse_size(arg, strlen(arg), &bytes) != AFPA_OK)
        argp_error(state, "%s: \"%s\" is not a size", name, arg);
    return bytes;
}

static unsigned parse_jobs(struct argp_state *state, const char *arg)
{
    char *end;
    unsigned long jobs = strtoul(arg, &end, 10);

    if (*end || *arg < '0' || *arg > '9' || jobs < 1 || jobs > LOAD_JOBS_MAX)
        argp_error(state, "-j: \"%s\" is not a number from 1 to %d", arg, LOAD_JOBS_MAX);
    return (unsigned)jobs;
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case 'j':
        o->load.jobs = parse_jobs(state, arg);
        return 0;
    case '0':
        o->nul = true;
        return 0;
    case 'x':
        o->exact = true;
        return 0;
    case 'v':
        o->load.verbose = true;
        return 0;
    case 'u':
        o->load.policy.no_evict = true;
        return 0;
    case 'M':
        o->load.policy.max_size = parse_size(state, "--max-size", arg);
        return 0;
    case 'm':
        o->load.policy.min_size = parse_size(state, "--min-size", arg);
        return 0;
    case ARGP_KEY_ARGS:
        o->operands = state->argv + state->next;
        o->count = state->argc - state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

#define LOADING_OPTIONS                                                                                                            \
    {"jobs", 'j', "N", 0, "load so many at a time (default: one per processor, at most 16)", 0},                                   \
        {"null", '0', NULL, 0, "names in a list end with NUL instead of a line end", 0},                                           \
        {"verbose", 'v', NULL, 0, "tell everything that is skipped, and why", 0},                                                  \
        {"max-size", 'M', "SIZE", 0, "skip larger files (default: 64m)", 0},                                                       \
    {                                                                                                                              \
        "min-size", 'm', "SIZE", 0, "skip smaller files (default: 0)", 0                                                           \
    }

static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};

/* ---- the commands ---- */

int cmd_warm(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {
        LOADING_OPTIONS,
        {"exact", 'x', NULL, 0, "keep absolute paths as they are spelled, rather than fold '.', '..' and '//' in them", 0},
        {"until-full", 'u', NULL, 0, "skip what the zone has no room for, rather than evict", 0},
        {0}};
    static const struct argp argp = {
        known,
        on_option,
        "warm PATH|DIR|URL|-...",
        "Loads files, trees, lists (-: standard input) or URLs.\vA file is cached under its absolute path, "
        "folded, which should be the one the server has (--exact).  Exit status 1: something that was asked for "
        "could not be loaded.",
        children,
        NULL,
        NULL};
    options_t o = {.app = app};
    load_result_t result;
    bool whole = true;
    load_t *load;

    load_options_init(&o.load);
    app_parse(&argp, argc, argv, &o);
    if (o.count == 0) {
        complain("warm: files, directories, URLs, or - for a list on standard input are needed");
        return EXIT_USAGE;
    }
    for (int i = 0; i < o.count; i++)
        if (!*o.operands[i]) { /* $DIR that is not set; it would be the current directory */
            complain("warm: the name of a file or directory is not empty");
            return EXIT_USAGE;
        }
    raise_file_limit();
    for (int i = 0; i < o.count; i++) /* before the rights change */
        if (strcmp(o.operands[i], "-") != 0 && !is_url(o.operands[i]))
            o.operands[i] = path_of(&o, o.operands[i]);
    app_attach(app);
    load = load_start(app, &o.load);
    for (int i = 0; i < o.count && !load_stopped(load); i++)
        if (strcmp(o.operands[i], "-") == 0)
            whole &= add_list(load, &o, stdin, "standard input", LOAD_ASKED);
        else
            add_operand(load, &o, o.operands[i], LOAD_ASKED);
    load_end(load, &result);
    result.failed |= !whole;
    for (int i = 0; i < o.count; i++)
        if (o.operands[i][0] == '/')
            free(o.operands[i]);
    return report(app, &result);
}

int cmd_restore(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {LOADING_OPTIONS, {0}};
    static const struct argp argp = {
        known,
        on_option,
        "restore [FILE]",
        "Warms from a list as 'afpactl dump' prints it, from FILE or standard input, until the zone is full.",
        children,
        NULL,
        NULL};
    options_t o = {.app = app, .exact = true, .listed = true};
    load_result_t result;
    const char *name = "standard input";
    FILE *list = stdin;
    load_t *load;
    bool whole;

    load_options_init(&o.load);
    o.load.policy.no_evict = true;
    app_parse(&argp, argc, argv, &o);
    if (o.count > 1) {
        complain("restore: one list at a time");
        return EXIT_USAGE;
    }
    if (o.count == 1 && strcmp(o.operands[0], "-") != 0)
        list = fopen(name = o.operands[0], "re"); /* with the caller's rights still */
    if (!list) {
        complain("%s: %s", name, strerror(errno));
        return EXIT_NOT_SO;
    }
    app_attach(app);
    load = load_start(app, &o.load);
    whole = add_list(load, &o, list, name, LOAD_FOUND);
    load_end(load, &result);
    result.failed |= !whole;
    if (list != stdin)
        fclose(list);
    return report(app, &result);
}
