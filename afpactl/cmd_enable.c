/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl enable, disable: a switch in the segment that every process looks at before each look-up.
 */
#include "config.h"

#include <stdio.h>

#include "afpactl.h"
#include "output.h"

static int set(app_t *app, const struct argp *argp, int argc, char **argv, bool on)
{
    app_parse(argp, argc, argv, app);
    app_open(app);
    afpa_zone_enable(app->zone, on);
    if (app->json)
        json_print(json_pack("{s:o,s:b}", "zone", json_text(afpa_zone_name(app->zone)), "enabled", on));
    return EXIT_DONE;
}

static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};

int cmd_enable(app_t *app, int argc, char **argv)
{
    static const struct argp argp = {NULL, app_no_options, "enable", "Has all processes use the zone again.", children, NULL, NULL};

    return set(app, &argp, argc, argv, true);
}

int cmd_disable(app_t *app, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, app_no_options, "disable", "Has all processes bypass the zone, at once and until 'enable'.", children, NULL, NULL};

    return set(app, &argp, argc, argv, false);
}
