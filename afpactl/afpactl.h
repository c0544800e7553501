/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands of afpactl share.
 */
#ifndef AFPACTL_H
#define AFPACTL_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

#include <afpa/cache.h>
#include <afpa/inspect.h>
#include <afpa/zone.h>

/* Exit codes; scripts depend on them. */
enum { EXIT_DONE = 0, EXIT_NOT_SO = 1, EXIT_USAGE = 2, EXIT_NO_ZONE = 3 };

typedef struct app {
    const char *zone_name; /* -z; NULL: the only one there is */
    bool json;             /* --json */
    afpa_zone_t *zone;
    afpa_cache_t *cache; /* made by app_attach() */
} app_t;

/* ---- app.c ---- */

/* Opens the zone; ends the process with EXIT_NO_ZONE if there is none.  From then on the process has the rights of the
 * segment's owner. */
void app_open(app_t *app);

/* app_open(), then a slot in the zone.  Refuses a segment that is inconsistent and that no server is using. */
void app_attach(app_t *app);

/* What ends the process because of a bad segment, or by app_watch(), names it so; app_open() does that. */
void app_expect_faults(const char *name);

/* Prints the library's warnings and errors from now on; app_attach() does that. */
void app_show_warnings(void);

/* Whether a living process has a slot in the zone that is open. */
bool app_in_use(const app_t *app);

/* Whether the payload is locked: it was when the zone was opened last, and who did that still has it mapped. */
bool app_pinned(const app_t *app, const afpa_stat_t *stat);

/* Ends the process if it is not called again within so many seconds; 0: no more.  Around what takes a lock in the segment. */
void app_watch(unsigned seconds);

/* A terminal cannot stop the process from here on, nor its threads: it may have a lock in the segment, and every server would stand
 * still with it.  app_attach() does that. */
void app_keep_going(void);

/* ---- arguments: afpactl.c ---- */

/* The options every command takes, for the `children` of its argp; its input is the app_t. */
extern const struct argp app_argp;

/* Parses a command's arguments; unknown ones end the process with EXIT_USAGE. */
void app_parse(const struct argp *argp, int argc, char **argv, void *input);

/* A parser for commands without options and operands of their own; the input is the app_t. */
error_t app_no_options(int key, char *arg, struct argp_state *state);

/* ---- operands.c; what they return is the caller's to free ---- */

/* An absolute path with ".", ".." and empty parts folded by name, as most servers map it; one that spells them out needs the path
 * as it is. */
char *path_absolute(const char *path);

/* The same of a pattern; one that begins with '*' or '?' matches anywhere and stays as it is, and so does that of a URL. */
char *pattern_absolute(const char *pattern);

bool is_url(const char *text);
bool is_glob(const char *text);

/* malloc() and friends never fail here: they end the process. */
void *must(void *memory);

int cmd_stat(app_t *app, int argc, char **argv);
int cmd_list(app_t *app, int argc, char **argv);
int cmd_show(app_t *app, int argc, char **argv);
int cmd_warm(app_t *app, int argc, char **argv);
int cmd_restore(app_t *app, int argc, char **argv);
int cmd_purge(app_t *app, int argc, char **argv);
int cmd_verify(app_t *app, int argc, char **argv);
int cmd_dump(app_t *app, int argc, char **argv);
int cmd_enable(app_t *app, int argc, char **argv);
int cmd_disable(app_t *app, int argc, char **argv);
int cmd_serve(app_t *app, int argc, char **argv);
int cmd_create(app_t *app, int argc, char **argv);
int cmd_destroy(app_t *app, int argc, char **argv);

#endif
