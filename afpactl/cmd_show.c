/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl show: one object, its pin array entry by entry, and a picture of it.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "objects.h"
#include "output.h"

#define PICTURE_WIDTH 64
#define TABLE_LIMIT 64 /* entries told one by one; the picture has them all */

typedef struct options {
    app_t *app;
    const char *what;
    bool all;
} options_t;

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o->app;
        return 0;
    case 'a':
        o->all = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->what)
            argp_error(state, "unexpected argument: %s", arg);
        o->what = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which object? Give its path");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static json_t *identity_json(const afpa_identity_t *id)
{
    return json_pack("{s:I,s:I,s:I,s:f,s:f}", "device", (json_int_t)id->device, "inode", (json_int_t)id->inode, "size",
                     (json_int_t)id->size, "mtime", (double)id->mtime_sec + id->mtime_nsec / 1e9, "ctime",
                     (double)id->ctime_sec + id->ctime_nsec / 1e9);
}

static void print_json(app_t *app, const object_t *o)
{
    json_t *value = object_json(o), *array = json_array();
    afpa_entry_info_t entry;

    for (uint32_t i = 0; i < o->entries && afpa_inspect_entry(app->zone, o->number, i, &entry) == AFPA_OK; i++)
        json_array_append_new(array, json_pack("{s:I,s:s,s:I,s:I,s:I}", "index", (json_int_t)i, "state", entry.state, "pins",
                                               (json_int_t)entry.pins, "length", (json_int_t)entry.length, "chunk",
                                               (json_int_t)entry.chunk));
    json_object_set_new(value, "identity", identity_json(&o->identity));
    json_object_set_new(value, "header", json_null());
    json_object_set_new(value, "checked", json_real(o->checked));
    json_object_set_new(value, "pin_array", array);
    json_print(value);
}

static char glyph(const afpa_entry_info_t *entry)
{
    uint64_t held = entry->pins;

    switch (entry->state[0]) {
    case 'e':
        return '.';
    case 'f':
        return 'f';
    case 'd':
        return 'd';
    default:
        return held == 0 ? '#' : held < 10 ? (char)('0' + held) : '*';
    }
}

static void print_picture(app_t *app, const object_t *o)
{
    afpa_entry_info_t entry;

    for (uint32_t i = 0; i < o->entries && afpa_inspect_entry(app->zone, o->number, i, &entry) == AFPA_OK; i++) {
        if (i % PICTURE_WIDTH == 0)
            printf("%s  %6u  ", i ? "\n" : "", i);
        putchar(glyph(&entry));
    }
    puts("\n          # pinned, 1-9 or * held by so many, . empty, f being read, d draining");
}

static void print_table(app_t *app, const object_t *o, bool all)
{
    uint32_t limit = all || o->entries < TABLE_LIMIT ? o->entries : TABLE_LIMIT;
    afpa_entry_info_t entry;

    printf("  %6s %-9s %6s %8s %8s %12s\n", "ENTRY", "STATE", "PINS", "LENGTH", "CHUNK", "GENERATION");
    for (uint32_t i = 0; i < limit && afpa_inspect_entry(app->zone, o->number, i, &entry) == AFPA_OK; i++)
        printf("  %6u %-9s %6llu %8u %8lld %12llu\n", i, entry.state, (unsigned long long)entry.pins, entry.length,
               (long long)entry.chunk, (unsigned long long)entry.generation);
    if (limit < o->entries)
        printf("  and %u more (--all)\n", o->entries - limit);
}

static void print_object(app_t *app, const object_t *o, bool all)
{
    time_t changed = (time_t)o->identity.mtime_sec;
    char when[64] = "?";
    struct tm tm;

    if (localtime_r(&changed, &tm))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z", &tm);
    printf("%s\n", o->path);
    printf("  %s, %s, size %llu, changed %s, device %llu, inode %llu\n", o->kind, o->state, (unsigned long long)o->identity.size, when,
           (unsigned long long)o->identity.device, (unsigned long long)o->identity.inode);
    printf("  hits %llu, age %s, checked %.1f s ago, in memory %s, pins %llu\n", (unsigned long long)o->hits, age_text(o->age), o->checked,
           size_text(o->bytes), (unsigned long long)o->pins);
    printf("pin array, %u entries of %s\n", o->entries, size_text(afpa_zone_chunk_size(app->zone)));
    print_picture(app, o);
    print_table(app, o, all);
}

int cmd_show(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"all", 'a', NULL, 0, "every entry in the table, not only the first 64", 0}, {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, on_option, "PATH|URL", "Shows one object and its pin array.", children, NULL, NULL};
    options_t options = {.app = app};
    afpa_object_info_t *info = calloc(1, sizeof(*info));
    afpa_status_t found = AFPA_NOT_FOUND;
    object_t object;
    char *path;

    app_parse(&argp, argc, argv, &options);
    path = is_url(options.what) ? NULL : path_absolute(options.what); /* before the rights change */
    app_open(app);
    if (path && info)
        found = afpa_inspect_path(app->zone, path, strlen(path), info);
    if (found != AFPA_OK) {
        complain("%s: %s", options.what, path ? "not cached" : "no response entry for this URL");
        free(path);
        free(info);
        return EXIT_NOT_SO;
    }
    object_of(info, &object);
    if (app->json)
        print_json(app, &object);
    else
        print_object(app, &object, options.all);
    free(object.path);
    free(path);
    free(info);
    return EXIT_DONE;
}
