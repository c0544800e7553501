/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl enable, disable: a switch in the segment that every process looks at before each look-up.
 */
#include "config.h"

#include "afpactl.h"

static error_t on_option(int key, char *arg, struct argp_state *state)
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

static int set(app_t *app, int argc, char **argv, bool on)
{
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {NULL, on_option, "", "Switches the use of a zone in all processes.", children, NULL, NULL};

    app_parse(&argp, argc, argv, app);
    app_open(app);
    afpa_zone_enable(app->zone, on);
    return EXIT_DONE;
}

int cmd_enable(app_t *app, int argc, char **argv)
{
    return set(app, argc, argv, true);
}

int cmd_disable(app_t *app, int argc, char **argv)
{
    return set(app, argc, argv, false);
}
