/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl stat: totals of a zone.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "afpactl.h"
#include "output.h"

typedef struct options {
    app_t *app;
    double interval;
    bool reset;
} options_t;

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;
    char *end;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case 'i':
        o->interval = strtod(arg, &end);
        if (*end || o->interval < 0.01 || o->interval > 86400)
            argp_error(state, "--interval: \"%s\" is not a number of seconds", arg);
        return 0;
    case 'r':
        o->reset = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument: %s", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static json_t *owners_json(app_t *app, const afpa_stat_t *stat)
{
    json_t *owners = json_array();
    afpa_owner_info_t owner;

    for (uint32_t slot = 0; slot < stat->owners_limit; slot++)
        if (afpa_inspect_owner(app->zone, slot, &owner) == AFPA_OK)
            json_array_append_new(owners, json_pack("{s:i,s:i,s:o,s:I,s:b}", "slot", (int)owner.slot, "pid", (int)owner.pid, "kind",
                                                    json_path(owner.kind), "pins", (json_int_t)owner.pins, "alive", owner.alive));
    return owners;
}

static json_t *stat_json(app_t *app, const afpa_stat_t *s)
{
    json_t *value = json_object(), *declined = json_object();
    uint64_t hits = s->counters[AFPA_COUNTER_PIPELINE_HITS] + s->counters[AFPA_COUNTER_FAST_HITS];

#define SET(name, number) json_object_set_new(value, name, json_integer((json_int_t)(number)))
    json_object_set_new(value, "zone", json_path(afpa_zone_name(app->zone)));
    json_object_set_new(value, "path", json_path(afpa_zone_path(app->zone)));
    SET("layout_version", s->layout_version);
    SET("size", s->size);
    SET("memory", s->memory);
    json_object_set_new(value, "pinned", json_boolean(s->pinned));
    json_object_set_new(value, "enabled", json_boolean(s->enabled));
    SET("objects", s->objects);
    SET("response_entries", s->response_entries);
    SET("draining", s->draining);
    SET("bytes_cached", s->bytes_cached);
    SET("bytes_free", s->bytes_free);
    SET("hits", hits);
    for (unsigned i = 0; i < AFPA_DECLINE_FIRST; i++)
        SET(afpa_counter_name((afpa_counter_t)i), s->counters[i]);
    SET("pins", s->pins);
    SET("owners_limit", s->owners_limit);
#undef SET
    json_object_set_new(value, "owners", owners_json(app, s));
    for (unsigned i = AFPA_DECLINE_FIRST; i < AFPA_COUNTER_LIMIT; i++)
        if (s->counters[i])
            json_object_set_new(declined, afpa_counter_name((afpa_counter_t)i), json_integer((json_int_t)s->counters[i]));
    json_object_set_new(value, "declined", declined);
    return value;
}

static void line(const char *name, uint64_t value, const char *more)
{
    printf("  %-18s %12llu  %s\n", name, (unsigned long long)value, more);
}

static void print_zone(app_t *app, const afpa_stat_t *s)
{
    printf("zone %s  %s\n", afpa_zone_name(app->zone), afpa_zone_path(app->zone));
    printf("  size %s, in memory %s, pinned: %s, enabled: %s\n", size_text(s->size), size_text(s->memory), s->pinned ? "yes" : "no",
           s->enabled ? "yes" : "no");
    printf("  payload %s, free %s\n", size_text(s->bytes_cached), size_text(s->bytes_free));
    puts("objects");
    line("objects", s->objects, "");
    line("response_entries", s->response_entries, "");
    line("draining", s->draining, "retired, waiting for their last pin");
    line("pins", s->pins, "");
}

static void print_traffic(const afpa_stat_t *s)
{
    uint64_t hits = s->counters[AFPA_COUNTER_PIPELINE_HITS] + s->counters[AFPA_COUNTER_FAST_HITS];
    uint64_t asked = hits + s->counters[AFPA_COUNTER_MISSES];

    printf("traffic                          hit ratio %.1f %%\n", asked ? 100.0 * (double)hits / (double)asked : 0.0);
    for (unsigned i = 0; i < AFPA_DECLINE_FIRST; i++)
        line(afpa_counter_name((afpa_counter_t)i), s->counters[i], afpa_counter_help((afpa_counter_t)i));
    puts("declined");
    for (unsigned i = AFPA_DECLINE_FIRST; i < AFPA_COUNTER_LIMIT; i++)
        if (s->counters[i])
            line(afpa_counter_name((afpa_counter_t)i), s->counters[i], afpa_counter_help((afpa_counter_t)i));
}

static void print_owners(app_t *app, const afpa_stat_t *s)
{
    afpa_owner_info_t owner;

    printf("owners  %u of %u slots\n", s->owners, s->owners_limit);
    for (uint32_t slot = 0; slot < s->owners_limit; slot++)
        if (afpa_inspect_owner(app->zone, slot, &owner) == AFPA_OK)
            printf("  %3u  pid %-8d %-12s %8llu pins  %s\n", owner.slot, (int)owner.pid, owner.kind, (unsigned long long)owner.pins,
                   owner.alive ? "alive" : "dead");
}

/* One line per interval, as vmstat does. */
static void print_intervals(app_t *app, double interval)
{
    afpa_stat_t before, now;

    afpa_inspect_stat(app->zone, &before);
    for (unsigned row = 0;; row++) {
        if (row % 20 == 0 && !app->json)
            printf("%10s %10s %10s %10s %10s %12s %8s\n", "hits/s", "misses/s", "fills/s", "evict/s", "objects", "payload", "pins");
        usleep((useconds_t)(interval * 1e6));
        afpa_inspect_stat(app->zone, &now);
        if (app->json) {
            json_t *value = stat_json(app, &now);

            json_dumpf(value, stdout, JSON_COMPACT);
            putchar('\n');
            json_decref(value);
        } else {
#define RATE(id) ((double)(now.counters[AFPA_COUNTER_##id] - before.counters[AFPA_COUNTER_##id]) / interval)
            printf("%10.0f %10.0f %10.0f %10.0f %10llu %12s %8llu\n", RATE(PIPELINE_HITS) + RATE(FAST_HITS), RATE(MISSES), RATE(FILLS),
                   RATE(EVICTIONS), (unsigned long long)now.objects, size_text(now.bytes_cached), (unsigned long long)now.pins);
#undef RATE
        }
        if (fflush(stdout) != 0)
            return;
        before = now;
    }
}

int cmd_stat(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"interval", 'i', "SECONDS", 0, "print changes every so often", 0},
                                               {"reset", 'r', NULL, 0, "set all counters to zero, after printing them", 0},
                                               {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, on_option, "", "Prints the totals of a zone.", children, NULL, NULL};
    options_t options = {.app = app};
    afpa_stat_t stat;

    app_parse(&argp, argc, argv, &options);
    app_open(app);
    if (options.interval > 0) {
        print_intervals(app, options.interval);
        return EXIT_DONE;
    }
    afpa_inspect_stat(app->zone, &stat);
    if (app->json) {
        json_print(stat_json(app, &stat));
    } else {
        print_zone(app, &stat);
        print_traffic(&stat);
        print_owners(app, &stat);
    }
    if (options.reset)
        afpa_inspect_reset(app->zone);
    return EXIT_DONE;
}
