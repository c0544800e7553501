/* SPDX-License-Identifier: Apache-2.0
 *
 * The zone a command works on.
 *
 * A segment is data that its owner, a server's user, can write; so the tool takes on that user's rights before it looks into one
 * (afpa_zone_attach), and opens files with those rights too: what the server may not read cannot get into its cache.
 * The owner can also cut the file short, or put nonsense where the library expects its own records.  Whatever that leads to ends
 * here with a message and EXIT_NO_ZONE.
 */
#include "config.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <afpa/log.h>

#include "afpactl.h"
#include "output.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* has a better report to give */
#else
#define SANITIZED 0
#endif

/* ---- what a bad segment can do ---- */

static char cut_text[AFPA_PATH_MAX + 128], damaged_text[AFPA_PATH_MAX + 128], stuck_text[AFPA_PATH_MAX + 128];

static void on_fault(int signal_number)
{
    const char *text = signal_number == SIGBUS ? cut_text : signal_number == SIGALRM ? stuck_text : damaged_text;

    (void)!write(STDERR_FILENO, text, strlen(text));
    _exit(EXIT_NO_ZONE);
}

void app_expect_faults(const char *path)
{
    struct sigaction action = {.sa_handler = on_fault};

    snprintf(cut_text, sizeof(cut_text), "afpactl: %s: was cut short while it was in use\n", path);
    snprintf(stuck_text, sizeof(stuck_text), "afpactl: %s: a lock in it cannot be had: who holds it hangs, or it is damaged\n",
             path);
    snprintf(damaged_text, sizeof(damaged_text), "afpactl: %s: is damaged, and what is in it cannot be worked with\n", path);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    if (!SANITIZED) {
        sigaction(SIGSEGV, &action, NULL);
        sigaction(SIGABRT, &action, NULL);
    }
}

void app_watch(unsigned seconds)
{
    alarm(seconds);
}

void app_keep_going(void)
{
    static const int stops[] = {SIGTSTP, SIGTTIN, SIGTTOU};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++)
        sigaddset(&set, stops[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ---- zones ---- */

static void on_log(void *context, afpa_log_level_t level, const char *line)
{
    complain("%s", line);
}

void app_show_warnings(void)
{
    afpa_log_set(on_log, NULL, AFPA_LOG_WARN);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_zone(const struct dirent *entry)
{
    return strncmp(entry->d_name, AFPA_ZONE_PREFIX, strlen(AFPA_ZONE_PREFIX)) == 0;
}

/* The path of the only segment in the usual directory; says what there is otherwise. */
static char *only_zone(void)
{
    struct dirent **found = NULL;
    int count = scandir(AFPA_ZONE_DIR, &found, is_zone, by_name);
    char *text = NULL;
    size_t size;
    FILE *names;

    if (count == 1 && asprintf(&text, "%s/%s", AFPA_ZONE_DIR, found[0]->d_name) > 0) {
        free(found[0]);
        free(found);
        return text;
    }
    if (count <= 0) {
        complain("there is no zone in %s; give one with -z, or make one with 'afpactl create'", AFPA_ZONE_DIR);
        exit(EXIT_NO_ZONE);
    }
    names = must(open_memstream(&text, &size));
    for (int i = 0; i < count; i++) {
        fprintf(names, "%s%s", i ? ", " : "", found[i]->d_name + strlen(AFPA_ZONE_PREFIX));
        free(found[i]);
    }
    free(found);
    fclose(names);
    complain("there are several zones in %s, choose one with -z: %s", AFPA_ZONE_DIR, text);
    free(text);
    exit(EXIT_NO_ZONE);
}

void app_open(app_t *app)
{
    char *only = app->zone_name ? NULL : only_zone();
    const char *name = only ? only : app->zone_name;
    afpa_error_t error;

    if (strlen(name) >= AFPA_PATH_MAX / 2) {
        complain("%.60s...: no zone has a name that long", name);
        exit(EXIT_NO_ZONE);
    }
    app_expect_faults(name);
    if (afpa_zone_attach(name, true, &app->zone, &error) != AFPA_OK) {
        complain("%s", error.text);
        exit(EXIT_NO_ZONE);
    }
    app_expect_faults(afpa_zone_path(app->zone));
    free(only);
}

static void ignore_problem(void *context, const char *problem)
{
}

bool app_in_use(const app_t *app)
{
    afpa_owner_info_t owner;
    afpa_stat_t stat;

    afpa_inspect_stat(app->zone, &stat);
    for (uint32_t slot = 0; slot < stat.owners_limit; slot++)
        if (afpa_inspect_owner(app->zone, slot, &owner) == AFPA_OK && owner.alive)
            return true;
    return false;
}

bool app_pinned(const app_t *app, const afpa_stat_t *stat)
{
    return stat->pinned && app_in_use(app);
}

void app_attach(app_t *app)
{
    afpa_status_t status;
    afpa_error_t error;

    app_open(app);
    app_keep_going();
    app_show_warnings();
    app_watch(30);
    if (!app_in_use(app) && afpa_inspect_verify(app->zone, ignore_problem, NULL) > 0) {
        complain("%s: is inconsistent (see afpactl verify); the next server start replaces it, afpactl destroy removes it",
                 afpa_zone_path(app->zone));
        exit(EXIT_NO_ZONE);
    }
    status = afpa_cache_attach(app->zone, "afpactl", &app->cache, &error);
    app_watch(0);
    if (status == AFPA_OK)
        return;
    complain("%s", error.text);
    exit(status == AFPA_NO_SPACE ? EXIT_NOT_SO : EXIT_NO_ZONE);
}
