/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl stat: totals of a zone.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "afpactl.h"
#include "output.h"

#define HEADING_EVERY 20 /* lines */

typedef struct options {
    app_t *app;
    double interval;
    unsigned long count;
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
        if (*end || end == arg || !(o->interval >= 0.01 && o->interval <= 86400))
            argp_error(state, "--interval: \"%s\" is not a number of seconds", arg);
        return 0;
    case 'n':
        o->count = strtoul(arg, &end, 10);
        if (*end || *arg < '1' || *arg > '9')
            argp_error(state, "--count: \"%s\" is not a number above 0", arg);
        return 0;
    case 'r':
        o->reset = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument: %s", arg);
        return 0;
    case ARGP_KEY_END:
        if (o->count && o->interval <= 0)
            argp_error(state, "--count goes with --interval");
        if (o->reset && o->interval > 0)
            argp_error(state, "--reset and --interval exclude each other");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static uint64_t hits_of(const afpa_stat_t *s)
{
    return s->counters[AFPA_COUNTER_PIPELINE_HITS] + s->counters[AFPA_COUNTER_FAST_HITS];
}

static uint64_t declined_of(const afpa_stat_t *s)
{
    uint64_t total = 0;

    for (unsigned i = AFPA_DECLINE_FIRST; i < AFPA_COUNTER_LIMIT; i++)
        total += s->counters[i];
    return total;
}

/* ---- JSON ---- */

static json_t *owners_json(app_t *app, const afpa_stat_t *stat)
{
    json_t *owners = json_array();
    afpa_owner_info_t owner;

    for (uint32_t slot = 0; slot < stat->owners_limit; slot++)
        if (afpa_inspect_owner(app->zone, slot, &owner) == AFPA_OK)
            json_array_append_new(owners, json_pack("{s:i,s:i,s:o,s:I,s:b}", "slot", (int)owner.slot, "pid", (int)owner.pid, "kind",
                                                    json_text(owner.kind), "pins", (json_int_t)owner.pins, "alive", owner.alive));
    return owners;
}

static json_t *declined_json(const afpa_stat_t *s)
{
    json_t *declined = json_object();

    for (unsigned i = AFPA_DECLINE_FIRST; i < AFPA_COUNTER_LIMIT; i++)
        if (s->counters[i])
            json_object_set_new(declined, afpa_counter_name((afpa_counter_t)i), json_integer((json_int_t)s->counters[i]));
    return declined;
}

static json_t *stat_json(app_t *app, const afpa_stat_t *s)
{
    json_t *value = json_object();

#define SET(name, number) json_object_set_new(value, name, json_integer((json_int_t)(number)))
    json_object_set_new(value, "zone", json_text(afpa_zone_name(app->zone)));
    json_object_set_new(value, "path", json_text(afpa_zone_path(app->zone)));
    SET("layout_version", s->layout_version);
    SET("size", s->size);
    SET("chunk", afpa_zone_chunk_size(app->zone));
    SET("memory", s->memory);
    json_object_set_new(value, "pinned", json_boolean(app_pinned(app, s)));
    json_object_set_new(value, "enabled", json_boolean(s->enabled));
    SET("objects", s->objects);
    SET("response_entries", s->response_entries);
    SET("draining", s->draining);
    SET("bytes_cached", s->bytes_cached);
    SET("bytes_free", s->bytes_free);
    SET("hits", hits_of(s));
    for (unsigned i = 0; i < AFPA_DECLINE_FIRST; i++)
        SET(afpa_counter_name((afpa_counter_t)i), s->counters[i]);
    SET("pins", s->pins);
    SET("owners_limit", s->owners_limit);
#undef SET
    json_object_set_new(value, "owners", owners_json(app, s));
    json_object_set_new(value, "declined", declined_json(s));
    return value;
}

/* ---- for people ---- */

static void count_line(const char *name, uint64_t value, const char *help)
{
    printf("  %-17s %12llu  %s\n", name, (unsigned long long)value, help);
}

static void size_line(const char *name, uint64_t bytes, const char *help)
{
    printf("  %-17s %12s  %s\n", name, size_text(bytes), help);
}

static void counter_lines(const afpa_stat_t *s, const afpa_counter_t *which, size_t count)
{
    for (size_t i = 0; i < count; i++)
        count_line(afpa_counter_name(which[i]), s->counters[which[i]], afpa_counter_help(which[i]));
}

static void print_zone(app_t *app, const afpa_stat_t *s)
{
    bool pinned = app_pinned(app, s);

    fputs("zone ", stdout);
    print_name(stdout, afpa_zone_name(app->zone));
    fputs("  ", stdout);
    print_name(stdout, afpa_zone_path(app->zone));
    printf("\n  enabled: %s, layout version: %u, chunk: %s\n\n", s->enabled ? "yes" : "no", s->layout_version,
           size_text(afpa_zone_chunk_size(app->zone)));
    printf("memory  pinned: %s%s\n", pinned ? "yes" : "no",
           pinned      ? ""
           : s->pinned ? " (no process has it open)"
                       : " (not locked: it may be swapped out)");
    size_line("size", s->size, "tables and payload");
    size_line("memory", s->memory, "taken of tmpfs, the ledgers of processes included");
    size_line("bytes_cached", s->bytes_cached, "payload");
    size_line("bytes_free", s->bytes_free, "room for payload without evicting");
}

static void print_objects(const afpa_stat_t *s)
{
    puts("\nobjects");
    count_line("objects", s->objects, "files");
    count_line("response_entries", s->response_entries, "finished headers that refer to them");
    count_line("draining", s->draining, "retired, waiting for their last pin");
    count_line("pins", s->pins, "held by processes now");
}

static void print_traffic(const afpa_stat_t *s)
{
    static const afpa_counter_t traffic[] = {AFPA_COUNTER_PIPELINE_HITS, AFPA_COUNTER_FAST_HITS, AFPA_COUNTER_MISSES,
                                             AFPA_COUNTER_CUT};
    static const afpa_counter_t fills[] = {AFPA_COUNTER_FILLS,         AFPA_COUNTER_FILL_ERRORS, AFPA_COUNTER_EVICTIONS,
                                           AFPA_COUNTER_REVALIDATIONS, AFPA_COUNTER_RETIRED,     AFPA_COUNTER_REAPED};
    uint64_t hits = hits_of(s), asked = hits + s->counters[AFPA_COUNTER_MISSES];

    puts("\ntraffic");
    count_line("hits", hits, "pipeline and fast path");
    printf("  %-17s %10.1f %%  %s\n", "hit ratio", asked ? 100.0 * (double)hits / (double)asked : 0.0, "hits of hits and misses");
    counter_lines(s, traffic, sizeof(traffic) / sizeof(traffic[0]));
    count_line("declined", declined_of(s), "left to the server, by reason below");
    puts("\nfills");
    counter_lines(s, fills, sizeof(fills) / sizeof(fills[0]));
}

static void print_declined(const afpa_stat_t *s)
{
    if (declined_of(s) == 0)
        return;
    puts("\ndeclined");
    for (unsigned i = AFPA_DECLINE_FIRST; i < AFPA_COUNTER_LIMIT; i++)
        if (s->counters[i])
            count_line(afpa_counter_name((afpa_counter_t)i), s->counters[i], afpa_counter_help((afpa_counter_t)i));
}

static void print_owners(app_t *app, const afpa_stat_t *s)
{
    afpa_owner_info_t owner;

    printf("\nowners  %u of %u slots\n", s->owners, s->owners_limit);
    if (s->owners)
        printf("  %4s %8s %10s  %-5s  %s\n", "SLOT", "PID", "PINS", "ALIVE", "KIND");
    for (uint32_t slot = 0; slot < s->owners_limit; slot++)
        if (afpa_inspect_owner(app->zone, slot, &owner) == AFPA_OK) {
            printf("  %4u %8d %10llu  %-5s  ", owner.slot, (int)owner.pid, (unsigned long long)owner.pins,
                   owner.alive ? "yes" : "no");
            print_name(stdout, owner.kind);
            putchar('\n');
        }
}

/* ---- intervals ---- */

/* What came since the last look; after a reset, all there is. */
static uint64_t since(uint64_t before, uint64_t now)
{
    return now >= before ? now - before : now;
}

static void print_interval(const afpa_stat_t *before, const afpa_stat_t *now, unsigned long row)
{
#define DELTA(id) (unsigned long long)since(before->counters[AFPA_COUNTER_##id], now->counters[AFPA_COUNTER_##id])
    if (row % HEADING_EVERY == 0)
        printf("%10s %9s %9s %9s %7s %9s %9s %9s %9s %10s %10s %7s\n", "hits", "misses", "declined", "fills", "errors", "evicted",
               "checked", "retired", "objects", "cached", "free", "pins");
    printf("%10llu %9llu %9llu %9llu %7llu %9llu %9llu %9llu %9llu %10s %10s %7llu\n",
           (unsigned long long)since(hits_of(before), hits_of(now)), DELTA(MISSES),
           (unsigned long long)since(declined_of(before), declined_of(now)), DELTA(FILLS), DELTA(FILL_ERRORS), DELTA(EVICTIONS),
           DELTA(REVALIDATIONS), DELTA(RETIRED), (unsigned long long)now->objects, size_text(now->bytes_cached),
           size_text(now->bytes_free), (unsigned long long)now->pins);
#undef DELTA
}

static bool still_there(app_t *app, ino_t inode)
{
    struct stat st;

    if (stat(afpa_zone_path(app->zone), &st) == 0 && st.st_ino == inode)
        return true;
    complain("%s: was removed or replaced", afpa_zone_path(app->zone));
    return false;
}

static void pause_for(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

/* One line per interval, as vmstat does: what came in it; JSON: the totals at its end. */
static int print_intervals(app_t *app, double interval, unsigned long count)
{
    afpa_stat_t before, now;
    struct stat st;

    if (fstat(afpa_zone_fd(app->zone), &st) != 0)
        return EXIT_NO_ZONE;
    afpa_inspect_stat(app->zone, &before);
    for (unsigned long row = 0; count == 0 || row < count; row++) {
        pause_for(interval);
        if (!still_there(app, st.st_ino))
            return EXIT_NO_ZONE;
        afpa_inspect_stat(app->zone, &now);
        if (app->json)
            json_print_line(stat_json(app, &now));
        else
            print_interval(&before, &now, row);
        if (fflush(stdout) != 0)
            return EXIT_NOT_SO;
        before = now;
    }
    return EXIT_DONE;
}

int cmd_stat(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"interval", 'i', "SECONDS", 0, "a line for every so many seconds, until interrupted", 0},
        {"count", 'n', "N", 0, "end after N such lines", 0},
        {"reset", 'r', NULL, 0, "set all counters to zero, after printing them", 0},
        {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, on_option, "stat", "Prints the totals of a zone.", children, NULL, NULL};
    options_t options = {.app = app};
    afpa_stat_t stat;

    app_parse(&argp, argc, argv, &options);
    app_open(app);
    if (options.interval > 0)
        return print_intervals(app, options.interval, options.count);
    afpa_inspect_stat(app->zone, &stat);
    if (app->json) {
        json_print(stat_json(app, &stat));
    } else {
        print_zone(app, &stat);
        print_objects(&stat);
        print_traffic(&stat);
        print_declined(&stat);
        print_owners(app, &stat);
    }
    if (options.reset) {
        if (fflush(stdout) != 0 || ferror(stdout))
            return EXIT_NOT_SO; /* nobody has them yet */
        afpa_inspect_reset(app->zone);
    }
    return EXIT_DONE;
}
