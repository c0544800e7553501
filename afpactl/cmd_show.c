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
#define HEADER_MAX 8192
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
        argp_error(state, "the path of an object is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The times as one number lose what comes after the microseconds, so the nanoseconds are there too. */
static json_t *identity_json(const afpa_identity_t *id)
{
    return json_pack("{s:I,s:I,s:I,s:f,s:f,s:I,s:I}", "device", (json_int_t)id->device, "inode", (json_int_t)id->inode, "size",
                     (json_int_t)id->size, "mtime", (double)id->mtime_sec + id->mtime_nsec / 1e9, "ctime",
                     (double)id->ctime_sec + id->ctime_nsec / 1e9, "mtime_nsec", (json_int_t)id->mtime_nsec, "ctime_nsec",
                     (json_int_t)id->ctime_nsec);
}

static json_t *entry_json(uint32_t index, const afpa_entry_info_t *entry)
{
    return json_pack("{s:I,s:s,s:I,s:I,s:o,s:I}", "index", (json_int_t)index, "state", entry->state, "pins",
                     (json_int_t)entry->pins, "length", (json_int_t)entry->length, "chunk",
                     entry->chunk < 0 ? json_null() : json_integer((json_int_t)entry->chunk), "generation",
                     (json_int_t)entry->generation);
}

/* The header block of a response entry, with a NUL. */
static bool header_of(app_t *app, const object_t *o, char *header, size_t size)
{
    return strcmp(o->kind, "response") == 0 && afpa_inspect_header(app->zone, o->number, header, size) == AFPA_OK;
}

static void print_json(app_t *app, const object_t *o)
{
    json_t *value = object_json(o), *array = json_array();
    char header[HEADER_MAX];
    afpa_entry_info_t entry;

    for (uint32_t i = 0; i < o->entries && afpa_inspect_entry(app->zone, o->number, i, &entry) == AFPA_OK; i++)
        json_array_append_new(array, entry_json(i, &entry));
    json_object_set_new(value, "identity", identity_json(&o->identity));
    json_object_set_new(value, "header", header_of(app, o, header, sizeof(header)) ? json_text(header) : json_null());
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
    uint32_t i;

    for (i = 0; i < o->entries && afpa_inspect_entry(app->zone, o->number, i, &entry) == AFPA_OK; i++) {
        if (i % PICTURE_WIDTH == 0)
            printf("%s  %6u  ", i ? "\n" : "", i);
        putchar(glyph(&entry));
    }
    puts("\n          # pinned, 1-9 or * so many hold it, . empty, f being filled, d draining");
}

static void print_entries(app_t *app, const object_t *o, bool all)
{
    uint32_t limit = all || o->entries < TABLE_LIMIT ? o->entries : TABLE_LIMIT;
    afpa_entry_info_t entry;

    printf("  %6s  %-9s %6s %8s %8s %12s\n", "ENTRY", "STATE", "PINS", "LENGTH", "CHUNK", "GENERATION");
    for (uint32_t i = 0; i < limit && afpa_inspect_entry(app->zone, o->number, i, &entry) == AFPA_OK; i++) {
        char chunk[24] = "-";

        if (entry.chunk >= 0)
            snprintf(chunk, sizeof(chunk), "%lld", (long long)entry.chunk);
        printf("  %6u  %-9s %6llu %8u %8s %12llu\n", i, entry.state, (unsigned long long)entry.pins, entry.length, chunk,
               (unsigned long long)entry.generation);
    }
    if (limit < o->entries)
        printf("  and %u more (--all)\n", o->entries - limit);
}

static const char *time_text(int64_t seconds, char *text, size_t room)
{
    time_t when = (time_t)seconds;
    struct tm tm;

    if (!localtime_r(&when, &tm) || !strftime(text, room, "%Y-%m-%d %H:%M:%S %z", &tm))
        snprintf(text, room, "%lld", (long long)seconds);
    return text;
}

/* Line by line, as it is untrusted text. */
static void print_header(app_t *app, const object_t *o)
{
    char header[HEADER_MAX], *rest = header, *line;

    if (!header_of(app, o, header, sizeof(header)))
        return;
    puts("header:");
    while ((line = strsep(&rest, "\n")) != NULL && *line && *line != '\r') {
        line[strcspn(line, "\r")] = 0;
        fputs("  ", stdout);
        print_name(stdout, line);
        putchar('\n');
    }
}

static void print_identity(const object_t *o)
{
    char when[64];

    printf("  changed:   %s\n", time_text(o->identity.mtime_sec, when, sizeof(when)));
    printf("  identity:  device %llu, inode %llu, mtime %lld.%09u, ctime %lld.%09u\n", (unsigned long long)o->identity.device,
           (unsigned long long)o->identity.inode, (long long)o->identity.mtime_sec, o->identity.mtime_nsec,
           (long long)o->identity.ctime_sec, o->identity.ctime_nsec);
    printf("  checked:   %.1f s ago\n", o->checked);
}

static void print_object(app_t *app, const object_t *o, bool all)
{
    print_name(stdout, o->path);
    printf("\n  kind:      %s, %s\n", o->kind, o->state);
    printf("  size:      %llu (%s), in memory %llu\n", (unsigned long long)o->identity.size, size_text(o->identity.size),
           (unsigned long long)o->bytes);
    if (strcmp(o->kind, "file") == 0)
        print_identity(o);
    printf("  hits:      %llu\n", (unsigned long long)o->hits);
    printf("  age:       %s\n", age_text(o->age));
    printf("  queue:     %s, frequency %u\n", o->queue, o->frequency);
    printf("  pins:      %llu; the first entry is also held by who only reads the object\n", (unsigned long long)o->pins);
    print_header(app, o);
    printf("pin array: %u %s of %s, %u pinned\n", o->entries, o->entries == 1 ? "entry" : "entries",
           size_text(afpa_zone_chunk_size(app->zone)), o->entries_pinned);
    print_picture(app, o);
    print_entries(app, o, all);
}

int cmd_show(app_t *app, int argc, char **argv)
{
    static const struct argp_option known[] = {{"all", 'a', NULL, 0, "every entry in the table, not only the first 64", 0}, {0}};
    static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, on_option, "show PATH|URL", "Shows one object and its pin array.", children,
                                     NULL,  NULL};
    options_t options = {.app = app};
    object_t object;
    char *path;

    app_parse(&argp, argc, argv, &options);
    path = path_absolute(options.what); /* before the rights change */
    app_open(app);
    if (!object_find(app, options.what, path, &object)) {
        complain("%s: %s", options.what, is_url(options.what) ? "no response entry for this URL" : "not cached");
        free(path);
        return EXIT_NOT_SO;
    }
    if (app->json)
        print_json(app, &object);
    else
        print_object(app, &object, options.all);
    free(object.path);
    free(path);
    return EXIT_DONE;
}
