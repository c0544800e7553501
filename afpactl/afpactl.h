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
    afpa_cache_t *cache;   /* made by app_attach() */
} app_t;

/* The options every command takes, for the `children` of its argp; its input is the app_t. */
extern const struct argp app_argp;

/* Prints "afpactl: …" to standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Opens the zone; ends the process with EXIT_NO_ZONE if there is none.  From then on the process has the rights of the
 * segment's owner. */
void app_open(app_t *app);

/* app_open(), then a slot in the zone.  Refuses a segment that is inconsistent and that no server is using. */
void app_attach(app_t *app);

/* Parses a command's arguments; unknown ones end the process with EXIT_USAGE. */
void app_parse(const struct argp *argp, int argc, char **argv, void *input);

/* An absolute path with "." and ".." folded by name, as a server would map it; the caller frees. */
char *path_absolute(const char *path);
bool is_url(const char *text);
bool is_glob(const char *text);

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
int cmd_create(app_t *app, int argc, char **argv);
int cmd_destroy(app_t *app, int argc, char **argv);

#endif
