/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl create, destroy: segments without a server.
 */
#include "config.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <afpa/log.h>
#include <afpa/options.h>

#include "afpactl.h"

typedef struct options {
    app_t *app;
    afpa_zone_options_t zone;
    const char *operands[2];
    int count, wanted;
    bool force;
} options_t;

/* "user" or "user:group", names or numbers. */
static bool parse_owner(afpa_zone_options_t *zone, const char *arg)
{
    char *user = strdup(arg), *group = user ? strchr(user, ':') : NULL, *end = user;
    struct passwd *pw;
    struct group *gr;

    if (!user)
        return false;
    if (group)
        *group++ = 0;
    pw = getpwnam(user);
    zone->uid = pw ? pw->pw_uid : (uid_t)strtoul(user, &end, 10);
    if (!pw && (*end || end == user)) {
        free(user);
        return false;
    }
    if (pw)
        zone->gid = pw->pw_gid;
    if (group && (gr = getgrnam(group)) != NULL)
        zone->gid = gr->gr_gid;
    else if (group) {
        zone->gid = (gid_t)strtoul(group, &end, 10);
        if (*end || end == group) {
            free(user);
            return false;
        }
    }
    free(user);
    return true;
}

static void zone_parameter(struct argp_state *state, const char *name, const char *value)
{
    options_t *o = state->input;
    afpa_error_t error;
    char *text;

    if (asprintf(&text, "%s=%s", name, value) < 0) /* kept: the path stays in use */
        exit(EXIT_NOT_SO);
    if (afpa_zone_options_parse(&o->zone, text, &error) != AFPA_OK)
        argp_error(state, "%s", error.text);
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case 'p':
        zone_parameter(state, "path", arg);
        return 0;
    case 'c':
        zone_parameter(state, "chunk", arg);
        return 0;
    case 'm':
        zone_parameter(state, "mlock", arg);
        return 0;
    case 'o':
        if (!parse_owner(&o->zone, arg))
            argp_error(state, "--owner: no such user or group: %s", arg);
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
        if (o->count < o->wanted)
            argp_error(state, o->wanted == 2 ? "a name and a size are needed" : "which zone?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void on_log(void *context, afpa_log_level_t level, const char *line)
{
    complain("%s", line);
}

static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};

int cmd_create(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"path", 'p', "FILE", 0, "the segment's file, on tmpfs", 0},
        {"chunk", 'c', "SIZE", 0, "bytes of a file per pin entry, 64k to 1m", 0},
        {"mlock", 'm', "try|require|off", 0, "lock the payload in memory while this runs: tells whether the limit allows it", 0},
        {"owner", 'o', "USER[:GROUP]", 0, "the user the servers' processes run as", 0},
        {0}};
    static const struct argp argp = {known, on_option, "NAME SIZE", "Makes a segment without a server.", children, NULL, NULL};
    options_t o = {.app = app, .wanted = 2};
    afpa_error_t error;

    afpa_zone_options_init(&o.zone);
    app_parse(&argp, argc, argv, &o);
    o.zone.name = o.operands[0];
    if (afpa_parse_size(o.operands[1], strlen(o.operands[1]), &o.zone.size) != AFPA_OK) {
        complain("create: \"%s\" is not a size", o.operands[1]);
        return EXIT_USAGE;
    }
    afpa_log_set(on_log, NULL, AFPA_LOG_WARN);
    if (afpa_zone_open(&o.zone, &app->zone, &error) != AFPA_OK) {
        complain("%s", error.text);
        return EXIT_NOT_SO;
    }
    return EXIT_DONE;
}

int cmd_destroy(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"force", 'f', NULL, 0, "even while processes use it", 0}, {0}};
    static const struct argp argp = {known, on_option, "NAME|PATH", "Removes a segment.", children, NULL, NULL};
    options_t o = {.app = app, .wanted = 1};
    afpa_status_t status;
    afpa_error_t error;

    app_parse(&argp, argc, argv, &o);
    status = afpa_zone_destroy(o.operands[0], o.force, &error);
    if (status == AFPA_OK)
        return EXIT_DONE;
    complain("%s", error.text);
    return status == AFPA_IN_USE ? EXIT_NOT_SO : EXIT_NO_ZONE;
}
