/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl create, destroy: segments without a server.
 *
 * A lock on memory lasts as long as a process that maps it; so `create` locks nothing unless it is told to find out whether the
 * limit would allow it.  The servers lock the segment when they open it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <afpa/options.h>

#include "afpactl.h"
#include "output.h"

#define WATCH_SECONDS 30

typedef struct options {
    app_t *app;
    afpa_zone_options_t zone;
    const char *operands[2];
    int count, wanted;
    bool force;
} options_t;

static bool parse_id(const char *text, unsigned *id)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 10);
    *id = (unsigned)value;
    return *text >= '0' && *text <= '9' && !*end && errno == 0 && value < UINT32_MAX;
}

/* "user", "user:group" or ":group", names or numbers.  A user given by name brings the group along. */
static bool parse_owner(afpa_zone_options_t *zone, char *text)
{
    char *group = strchr(text, ':');
    struct passwd *pw;
    struct group *gr;
    unsigned id;

    if (group)
        *group++ = 0;
    if ((pw = getpwnam(text)) != NULL) {
        zone->uid = pw->pw_uid;
        zone->gid = pw->pw_gid;
    } else if (parse_id(text, &id)) {
        zone->uid = id;
    } else if (*text || !group) {
        return false;
    }
    if (!group)
        return true;
    gr = getgrnam(group);
    if (!gr && !parse_id(group, &id))
        return false;
    zone->gid = gr ? gr->gr_gid : id;
    return true;
}

static void owner_parameter(struct argp_state *state, afpa_zone_options_t *zone, const char *arg)
{
    char *copy = must(strdup(arg));

    if (!parse_owner(zone, copy))
        argp_error(state, "--owner: no such user or group: %s", arg);
    free(copy);
}

/* The same reader, and the same messages, as for the servers' directives. */
static void zone_parameter(struct argp_state *state, afpa_zone_options_t *zone, const char *name, const char *value)
{
    afpa_error_t error;
    char *text;

    if (asprintf(&text, "%s=%s", name, value) < 0)
        text = NULL;
    if (afpa_zone_options_parse(zone, must(text), &error) != AFPA_OK)
        argp_error(state, "%s", error.text);
    if (zone->path == text + strlen("path="))
        zone->path = value;
    free(text);
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case 'p':
        zone_parameter(state, &o->zone, "path", arg);
        return 0;
    case 'c':
        zone_parameter(state, &o->zone, "chunk", arg);
        return 0;
    case 'm':
        zone_parameter(state, &o->zone, "mlock", arg);
        return 0;
    case 'o':
        owner_parameter(state, &o->zone, arg);
        return 0;
    case 'f':
        o->force = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->count == o->wanted)
            argp_error(state, "unexpected argument: %s", arg);
        o->operands[o->count++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->wanted == 1 && o->count == 0)
            o->operands[0] = o->app->zone_name;
        if (o->operands[o->wanted - 1] == NULL)
            argp_error(state, o->wanted == 2 ? "a name and a size are needed" : "the name of a zone is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};

/* Opening would take over a segment that fits, and replace one that does not; `create` makes new ones only. */
static bool exists(const afpa_zone_options_t *zone)
{
    char *path;
    bool there;

    if (asprintf(&path, "%s%s", zone->path ? zone->path : AFPA_ZONE_DIR "/" AFPA_ZONE_PREFIX, zone->path ? "" : zone->name) < 0)
        path = NULL;
    must(path);
    there = faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (there)
        complain("%s: exists already; 'afpactl destroy' removes it", path);
    free(path);
    return there;
}

int cmd_create(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"path", 'p', "FILE", 0, "the segment's file, on tmpfs (default: " AFPA_ZONE_DIR "/" AFPA_ZONE_PREFIX "NAME)", 0},
        {"chunk", 'c', "SIZE", 0, "bytes of a file per pin entry, 64k (default) to 1m", 0},
        {"mlock", 'm', "try|require|off", 0, "whether to lock the payload while this runs, to see if it can be (default: off)", 0},
        {"owner", 'o', "USER[:GROUP]", 0, "the user the servers' processes run as", 0},
        {0}};
    static const struct argp argp = {
        known,
        on_option,
        "create NAME SIZE",
        "Makes a segment without a server.\vSIZE is in bytes, or with k, m or g behind.  A server that "
        "is to use the segment declares the same size and chunk.",
        children,
        NULL,
        NULL};
    options_t o = {.app = app, .wanted = 2};
    afpa_error_t error;

    afpa_zone_options_init(&o.zone);
    o.zone.mlock = AFPA_MLOCK_OFF;
    app_parse(&argp, argc, argv, &o);
    o.zone.name = o.operands[0];
    if (afpa_parse_size(o.operands[1], strlen(o.operands[1]), &o.zone.size) != AFPA_OK) {
        complain("create: \"%s\" is not a size", o.operands[1]);
        return EXIT_USAGE;
    }
    app_show_warnings();
    if (exists(&o.zone))
        return EXIT_NOT_SO;
    if (afpa_zone_open(&o.zone, &app->zone, &error) != AFPA_OK) {
        complain("%s", error.text);
        return EXIT_NOT_SO;
    }
    if (app->json)
        json_print(json_pack("{s:o,s:o,s:I,s:I}", "zone", json_text(afpa_zone_name(app->zone)), "path",
                             json_text(afpa_zone_path(app->zone)), "size", (json_int_t)afpa_zone_size(app->zone), "chunk",
                             (json_int_t)afpa_zone_chunk_size(app->zone)));
    return EXIT_DONE;
}

int cmd_destroy(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"force", 'f', NULL, 0, "even while processes use it: they go on with what they have mapped, nobody joins them", 0}, {0}};
    static const struct argp argp = {known, on_option, "destroy NAME|PATH", "Removes a segment.", children, NULL, NULL};
    options_t o = {.app = app, .wanted = 1};
    afpa_status_t status;
    afpa_error_t error;

    app_parse(&argp, argc, argv, &o);
    app_expect_faults(o.operands[0]);
    app_watch(WATCH_SECONDS); /* for who makes or judges it now */
    status = afpa_zone_destroy(o.operands[0], o.force, &error);
    app_watch(0);
    if (status != AFPA_OK) {
        complain("%s", error.text);
        return status == AFPA_IN_USE ? EXIT_NOT_SO : EXIT_NO_ZONE;
    }
    if (app->json)
        json_print(json_pack("{s:o}", "destroyed", json_text(o.operands[0])));
    return EXIT_DONE;
}
