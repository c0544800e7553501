/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl warm, restore: load payload before it is asked for.
 *
 * Paths and trees are collected first, then read by several threads through the library, with no server needed; URLs are
 * requested from their server, which loads what it serves.
 */
#include "config.h"

#include <errno.h>
#include <fts.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <afpa/options.h>
#include <afpa/send.h>

#include "afpactl.h"
#include "http_get.h"
#include "output.h"

#define JOBS_MAX 64
/* Reasons beyond the library's reasons to decline. */
enum { SKIP_MISSING = AFPA_COUNTER_LIMIT, SKIP_HTTPS, SKIP_HTTP, SKIP_LIMIT };

typedef struct work {
    app_t *app;
    afpa_policy_t policy;
    char **items; /* absolute paths and URLs */
    size_t count, room;
    unsigned jobs;
    bool nul_separated;
    char **operands;
    int operand_count;
    _Atomic size_t next, done;
    _Atomic uint64_t files, bytes, skipped[SKIP_LIMIT];
} work_t;

static const char *skip_name(unsigned reason)
{
    static const char *const more[] = {"missing", "https", "http"};

    return reason < AFPA_COUNTER_LIMIT ? afpa_counter_name((afpa_counter_t)reason) : more[reason - AFPA_COUNTER_LIMIT];
}

/* ---- collecting ---- */

static void add(work_t *w, char *item)
{
    if (w->count == w->room) {
        char **more = realloc(w->items, (w->room = w->room * 2 + 1024) * sizeof(*more));

        if (!more || !item) {
            complain("out of memory");
            exit(EXIT_NOT_SO);
        }
        w->items = more;
    }
    w->items[w->count++] = item;
}

static void skip(work_t *w, unsigned reason, const char *what, const char *why)
{
    complain("%s: %s", what, why);
    w->skipped[reason]++;
}

static void add_tree(work_t *w, char *root)
{
    char *roots[] = {root, NULL};
    FTS *tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, NULL);
    FTSENT *e;

    while (tree && (e = fts_read(tree)) != NULL)
        switch (e->fts_info) {
        case FTS_F:
        case FTS_NSOK:
            add(w, strdup(e->fts_path));
            break;
        case FTS_DEFAULT:
            w->skipped[AFPA_DECLINE_NOT_REGULAR]++;
            break;
        case FTS_SLNONE:
            w->skipped[AFPA_DECLINE_NOT_FOUND]++;
            break;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            skip(w, AFPA_DECLINE_PERMISSION, e->fts_path, strerror(e->fts_errno));
            break;
        default: /* folders, and FTS_DC: a link back to one we are in */
            break;
        }
    if (tree)
        fts_close(tree);
}

static void add_operand(work_t *w, const char *operand)
{
    struct stat st;
    char *path;

    if (is_url(operand)) {
        add(w, strdup(operand));
        return;
    }
    path = path_absolute(operand);
    if (stat(path, &st) != 0) {
        skip(w, errno == EACCES ? AFPA_DECLINE_PERMISSION : SKIP_MISSING, operand, strerror(errno));
        free(path);
    } else if (S_ISDIR(st.st_mode)) {
        add_tree(w, path);
        free(path);
    } else {
        add(w, path);
    }
}

static void add_list(work_t *w, FILE *list)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    int end = w->nul_separated ? 0 : '\n';

    while ((length = getdelim(&line, &size, end, list)) > 0) {
        if (line[length - 1] == end)
            line[--length] = 0;
        if (length > 0)
            add_operand(w, line);
    }
    free(line);
}

/* ---- loading ---- */

static void load_file(work_t *w, const char *path)
{
    afpa_counter_t why;
    afpa_ref_t ref;

    if (afpa_cache_open(w->app->cache, path, strlen(path), &w->policy, &ref, &why, NULL) != AFPA_OK) {
        w->skipped[why]++;
        return;
    }
    for (uint32_t index = 1; index < afpa_ref_entries(&ref); index += AFPA_SEND_WINDOW) {
        afpa_status_t status = afpa_cache_fill(&ref, index, AFPA_SEND_WINDOW);

        if (status != AFPA_OK) {
            w->skipped[status == AFPA_NO_SPACE ? AFPA_DECLINE_NO_SPACE : status == AFPA_CHANGED ? AFPA_DECLINE_CHANGED : AFPA_DECLINE_IO_ERROR]++;
            afpa_cache_release(&ref);
            return;
        }
    }
    w->bytes += afpa_ref_identity(&ref)->size;
    w->files++;
    afpa_cache_release(&ref);
}

static void load_url(work_t *w, const char *url)
{
    const char *why;
    uint64_t bytes;
    int status;

    if (strncasecmp(url, "https:", 6) == 0) {
        skip(w, SKIP_HTTPS, url, "https is not supported; warm its file, or request it with another tool");
        return;
    }
    status = http_get(url, &bytes, &why);
    if (status == 200) {
        w->files++;
        w->bytes += bytes;
        return;
    }
    if (status)
        complain("%s: status %d", url, status);
    else
        complain("%s: %s", url, why);
    w->skipped[SKIP_HTTP]++;
}

static void *load_some(void *data)
{
    work_t *w = data;
    size_t item;

    while ((item = w->next++) < w->count) {
        if (is_url(w->items[item]))
            load_url(w, w->items[item]);
        else
            load_file(w, w->items[item]);
        w->done++;
    }
    return NULL;
}

static void load_all(work_t *w)
{
    unsigned jobs = w->jobs < w->count ? w->jobs : (unsigned)w->count, started = 0;
    struct timespec pause = {0, 100000000};
    bool terminal = isatty(STDERR_FILENO);
    pthread_t threads[JOBS_MAX];

    while (started < jobs && pthread_create(&threads[started], NULL, load_some, w) == 0)
        started++;
    if (started == 0)
        load_some(w);
    while (terminal && w->done < w->count) {
        progress(w->done, w->count, w->bytes);
        nanosleep(&pause, NULL);
    }
    while (started > 0)
        pthread_join(threads[--started], NULL);
    progress_end();
}

/* ---- summary ---- */

static uint64_t skipped_total(const work_t *w)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < SKIP_LIMIT; i++)
        total += w->skipped[i];
    return total;
}

static void summarize(work_t *w, double seconds, uint64_t evicted)
{
    const char *separator = "; skipped";
    json_t *skipped = json_object();

    for (unsigned i = 0; i < SKIP_LIMIT; i++)
        if (w->skipped[i])
            json_object_set_new(skipped, skip_name(i), json_integer((json_int_t)w->skipped[i]));
    if (w->app->json) {
        json_print(json_pack("{s:I,s:I,s:o,s:f,s:I}", "files", (json_int_t)w->files, "bytes", (json_int_t)w->bytes, "skipped", skipped,
                             "seconds", seconds, "evicted", (json_int_t)evicted));
        return;
    }
    printf("warmed %llu files, %s in %.2f s", (unsigned long long)w->files, size_text(w->bytes), seconds);
    if (evicted)
        printf("; %llu objects or chunks were evicted to make room", (unsigned long long)evicted);
    if (skipped_total(w))
        printf("%s %llu:", separator, (unsigned long long)skipped_total(w));
    separator = " ";
    for (unsigned i = 0; i < SKIP_LIMIT; i++)
        if (w->skipped[i]) {
            printf("%s%s %llu", separator, skip_name(i), (unsigned long long)w->skipped[i]);
            separator = ", ";
        }
    putchar('\n');
    json_decref(skipped);
}

static uint64_t evictions(app_t *app)
{
    afpa_stat_t stat;

    afpa_inspect_stat(app->zone, &stat);
    return stat.counters[AFPA_COUNTER_EVICTIONS];
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Relative operands are made absolute before the rights change, everything else happens after. */
static int work_run(work_t *w, FILE *list)
{
    uint64_t evicted;
    double began = now();

    for (int i = 0; i < w->operand_count; i++)
        if (strcmp(w->operands[i], "-") != 0 && !is_url(w->operands[i]))
            w->operands[i] = path_absolute(w->operands[i]);
    app_attach(w->app);
    evicted = evictions(w->app);
    for (int i = 0; i < w->operand_count; i++)
        if (strcmp(w->operands[i], "-") == 0)
            add_list(w, stdin);
        else
            add_operand(w, w->operands[i]);
    if (list)
        add_list(w, list);
    load_all(w);
    summarize(w, now() - began, evictions(w->app) - evicted);
    for (size_t i = 0; i < w->count; i++)
        free(w->items[i]);
    free(w->items);
    return skipped_total(w) ? EXIT_NOT_SO : EXIT_DONE;
}

/* ---- arguments ---- */

static uint64_t number(struct argp_state *state, const char *name, const char *arg)
{
    uint64_t bytes = 0;

    if (afpa_parse_size(arg, strlen(arg), &bytes) != AFPA_OK)
        argp_error(state, "%s: \"%s\" is not a size", name, arg);
    return bytes;
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    work_t *w = state->input;
    char *end;
    long jobs;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = w->app;
        return 0;
    case 'j':
        jobs = strtol(arg, &end, 10);
        if (*end || jobs < 1 || jobs > JOBS_MAX)
            argp_error(state, "-j: \"%s\" is not a number from 1 to %d", arg, JOBS_MAX);
        w->jobs = (unsigned)jobs;
        return 0;
    case '0':
        w->nul_separated = true;
        return 0;
    case 'M':
        w->policy.max_size = number(state, "--max-size", arg);
        return 0;
    case 'm':
        w->policy.min_size = number(state, "--min-size", arg);
        return 0;
    case ARGP_KEY_ARGS:
        w->operands = state->argv + state->next;
        w->operand_count = state->argc - state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option known[] = {{"jobs", 'j', "N", 0, "so many at a time (default: one per processor, at most 16)", 0},
                                           {"null", '0', NULL, 0, "names in a list end with NUL instead of a line end", 0},
                                           {"max-size", 'M', "SIZE", 0, "skip larger files (default: 64m)", 0},
                                           {"min-size", 'm', "SIZE", 0, "skip smaller files", 0},
                                           {0}};
static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};

static void work_init(work_t *w, app_t *app)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    memset(w, 0, sizeof(*w));
    w->app = app;
    w->jobs = processors < 1 ? 1 : processors > 16 ? 16 : (unsigned)processors;
    afpa_policy_init(&w->policy);
}

int cmd_warm(app_t *app, int argc, char **argv)
{
    static const struct argp argp = {known, on_option, "PATH|DIR|URL|-...", "Loads files, trees, lists (-: standard input) or URLs.",
                                     children, NULL, NULL};
    static work_t work;

    work_init(&work, app);
    app_parse(&argp, argc, argv, &work);
    if (work.operand_count == 0) {
        complain("warm: what? Give files, folders, URLs, or - for a list on standard input");
        return EXIT_USAGE;
    }
    return work_run(&work, NULL);
}

int cmd_restore(app_t *app, int argc, char **argv)
{
    static const struct argp argp = {known, on_option, "[FILE]", "Warms from a list as afpactl dump prints it.", children, NULL, NULL};
    static work_t work;
    FILE *list = stdin;
    int status;

    work_init(&work, app);
    app_parse(&argp, argc, argv, &work);
    if (work.operand_count > 1) {
        complain("restore: one list at a time");
        return EXIT_USAGE;
    }
    if (work.operand_count == 1 && strcmp(work.operands[0], "-") != 0 && !(list = fopen(work.operands[0], "re"))) {
        complain("%s: %s", work.operands[0], strerror(errno));
        return EXIT_NOT_SO;
    }
    work.operand_count = 0;
    status = work_run(&work, list);
    if (list != stdin)
        fclose(list);
    return status;
}
