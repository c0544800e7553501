/* SPDX-License-Identifier: Apache-2.0
 *
 * Replays cache traces through the library's own admission and eviction, and through policies to compare it with: object and byte
 * miss ratios, at cache sizes given as shares of the trace's footprint.  What is real here and what is not: docs/policy.md.
 *
 *     policy trace.csv other.oracleGeneral.zst
 *     policy_generate zipf | policy -
 */
#include "config.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <afpa/options.h>

#include "policy.h"

#define SIZES_MAX 16
#define TRACES_MAX 64

typedef struct size {
    double share; /* of the footprint; 0: bytes are given */
    uint64_t bytes;
} size_spec_t;

typedef struct options {
    policy_reading_t reading;
    policy_style_t style;
    size_spec_t sizes[SIZES_MAX];
    unsigned size_count;
    uint32_t min_uses[POLICY_USES_MAX];
    unsigned variants;
    uint64_t max_size, chunk_size;
    const char *name;
    const char *traces[TRACES_MAX];
    unsigned trace_count;
} options_t;

enum { OPTION_UNIT = 256, OPTION_SKIP, OPTION_MAX_SIZE, OPTION_MIN_USES, OPTION_CHUNK, OPTION_MARKDOWN, OPTION_CSV, OPTION_NAME };

static const struct argp_option argp_options[] = {
    {"format", 'f', "FORMAT", 0, "csv, txt, oracleGeneral, vscsi or lcs; by default by the file's name, standard input is csv", 1},
    {"columns", 'c', "SPEC", 0, "csv: which columns these are, from 1 (default time=1,key=2,size=3; time and size may be 0: none)",
     1},
    {"delimiter", 'd', "CHAR", 0, "csv: between columns (default a comma); \"tab\" and \"space\" are known", 1},
    {"unit", OPTION_UNIT, "SIZE", 0, "bytes of an object where the trace says none (default 4k)", 1},
    {"limit", 'n', "N", 0, "replay only the first N requests", 1},
    {"sample", 's', "SHARE", 0, "replay only this share of the keys (0 to 1), chosen by hash", 1},
    {"skip-bad", OPTION_SKIP, NULL, 0, "leave out records that make no sense, instead of giving up; they are counted", 1},
    {"name", OPTION_NAME, "NAME", 0, "call the trace this in what is printed", 1},
    {"sizes", 'z', "LIST", 0, "sizes of the cache: bytes, or shares of the footprint (default 0.1%,1%,10%)", 2},
    {"max-size", OPTION_MAX_SIZE, "SIZE", 0, "largest object that any policy caches (default 64m, as the servers')", 2},
    {"min-uses", OPTION_MIN_USES, "LIST", 0, "requests before the library admits an object (default 1); several: one replay each",
     2},
    {"chunk", OPTION_CHUNK, "SIZE", 0, "chunk size of the zone (default 64k)", 2},
    {"markdown", OPTION_MARKDOWN, NULL, 0, "print tables in Markdown", 3},
    {"csv", OPTION_CSV, NULL, 0, "print a line a policy, for programs", 3},
    {0},
};

/* ---- options ---- */

static uint64_t size_argument(struct argp_state *state, const char *option, const char *text, uint64_t least)
{
    uint64_t value = 0;

    if (afpa_parse_size(text, strlen(text), &value) != AFPA_OK || value < least)
        argp_error(state, "--%s: \"%s\" is no size, or too small", option, text);
    return value;
}

static uint32_t number_argument(struct argp_state *state, const char *option, const char *text, uint32_t least, uint32_t most)
{
    unsigned long long value;
    char *end;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value < least || value > most)
        argp_error(state, "--%s: \"%s\" is no number from %u to %u", option, text, least, most);
    return (uint32_t)value;
}

static double share_argument(struct argp_state *state, const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || strcmp(end, "%") == 0) {
        value /= 100;
        end += end != text;
    }
    if (end == text || *end || !(value > 0 && value <= 1))
        argp_error(state, "--%s: \"%s\" is no share of a whole", option, text);
    return value;
}

static void sizes_argument(struct argp_state *state, options_t *o, char *list)
{
    o->size_count = 0;
    for (char *at = strtok(list, ","); at; at = strtok(NULL, ",")) {
        size_spec_t *size = &o->sizes[o->size_count++];

        if (o->size_count == SIZES_MAX)
            argp_error(state, "--sizes: more than %d", SIZES_MAX - 1);
        *size = (size_spec_t){0};
        if (strchr(at, '%'))
            size->share = share_argument(state, "sizes", at);
        else
            size->bytes = size_argument(state, "sizes", at, 1);
    }
    if (o->size_count == 0)
        argp_error(state, "--sizes: none");
}

static void min_uses_argument(struct argp_state *state, options_t *o, char *list)
{
    o->variants = 0;
    for (char *at = strtok(list, ","); at; at = strtok(NULL, ",")) {
        if (o->variants == POLICY_USES_MAX)
            argp_error(state, "--min-uses: more than %d", POLICY_USES_MAX);
        o->min_uses[o->variants++] = number_argument(state, "min-uses", at, 1, 65535);
    }
    if (o->variants == 0)
        argp_error(state, "--min-uses: none");
}

static void columns_argument(struct argp_state *state, policy_reading_t *reading, char *list)
{
    for (char *at = strtok(list, ","); at; at = strtok(NULL, ",")) {
        if (strncmp(at, "time=", 5) == 0)
            reading->time_column = number_argument(state, "columns", at + 5, 0, 1000);
        else if (strncmp(at, "key=", 4) == 0)
            reading->key_column = number_argument(state, "columns", at + 4, 1, 1000);
        else if (strncmp(at, "size=", 5) == 0)
            reading->size_column = number_argument(state, "columns", at + 5, 0, 1000);
        else
            argp_error(state, "--columns: \"%s\": time=N, key=N and size=N are known", at);
    }
}

static char delimiter_argument(struct argp_state *state, const char *text)
{
    if (strcmp(text, "tab") == 0)
        return '\t';
    if (strcmp(text, "space") == 0)
        return ' ';
    if (strlen(text) != 1)
        argp_error(state, "--delimiter: \"%s\" is not one character", text);
    return *text;
}

static policy_format_t format_argument(struct argp_state *state, const char *text)
{
    static const char *const names[] = {
        [POLICY_CSV] = "csv",     [POLICY_TXT] = "txt", [POLICY_ORACLE] = "oracleGeneral",
        [POLICY_VSCSI] = "vscsi", [POLICY_LCS] = "lcs",
    };

    for (unsigned i = POLICY_CSV; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0)
            return (policy_format_t)i;
    argp_error(state, "--format: \"%s\": csv, txt, oracleGeneral, vscsi and lcs are known", text);
    return POLICY_AUTO;
}

static error_t reading_option(int key, char *arg, struct argp_state *state)
{
    policy_reading_t *reading = &((options_t *)state->input)->reading;

    switch (key) {
    case 'f':
        reading->format = format_argument(state, arg);
        return 0;
    case 'c':
        columns_argument(state, reading, arg);
        return 0;
    case 'd':
        reading->delimiter = delimiter_argument(state, arg);
        return 0;
    case 'n':
        reading->limit = number_argument(state, "limit", arg, 1, UINT32_MAX - 1);
        return 0;
    case 's':
        reading->sample = share_argument(state, "sample", arg);
        return 0;
    case OPTION_UNIT:
        reading->unit = size_argument(state, "unit", arg, 1);
        return 0;
    case OPTION_SKIP:
        reading->skip_bad = true;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case 'z':
        sizes_argument(state, o, arg);
        return 0;
    case OPTION_MAX_SIZE:
        o->max_size = size_argument(state, "max-size", arg, 1);
        return 0;
    case OPTION_MIN_USES:
        min_uses_argument(state, o, arg);
        return 0;
    case OPTION_CHUNK:
        o->chunk_size = size_argument(state, "chunk", arg, 65536);
        return 0;
    case OPTION_MARKDOWN:
        o->style = POLICY_MARKDOWN;
        return 0;
    case OPTION_CSV:
        o->style = POLICY_CSV_OUT;
        return 0;
    case OPTION_NAME:
        o->name = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->trace_count == TRACES_MAX)
            argp_error(state, "more than %d traces", TRACES_MAX);
        o->traces[o->trace_count++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->trace_count == 0)
            argp_error(state, "no trace is given");
        return 0;
    }
    return reading_option(key, arg, state);
}

/* ---- replaying ---- */

/* One size of the cache: the library first, as its zone says what the others get. */
static bool cell_run(const options_t *o, const policy_trace_t *trace, const size_spec_t *size, policy_cell_t *cell,
                     policy_error_t *error)
{
    policy_setup_t setup = {.max_size = o->max_size, .chunk_size = (uint32_t)o->chunk_size};

    setup.capacity = size->share > 0 ? (uint64_t)((double)trace->footprint * size->share) : size->bytes;
    if (setup.capacity == 0)
        setup.capacity = 1;
    cell->share = size->share;
    cell->variants = o->variants;
    for (unsigned i = 0; i < o->variants; i++) {
        setup.min_uses = cell->min_uses[i] = o->min_uses[i];
        if (!policy_afpa(trace, &setup, &cell->afpa[i], error))
            return false;
        if (cell->afpa[i].problems)
            return policy_fail(error, "%s: the segment is not sound after the replay", cell->trace);
    }
    for (unsigned i = 0; i < POLICY_BASELINES; i++) {
        policy_baselines[i].replay(trace, cell->afpa[0].data_length, o->max_size, &cell->data[i]);
        policy_baselines[i].replay(trace, (uint64_t)cell->afpa[0].payload, o->max_size, &cell->held[i]);
    }
    return true;
}

static bool trace_run(const options_t *o, const char *path, policy_error_t *error)
{
    policy_trace_t trace;
    policy_cell_t cell;
    bool good = policy_trace_load(&trace, path, &o->reading, error);

    if (!good)
        return false;
    memset(&cell, 0, sizeof(cell));
    cell.trace = o->name ? o->name : path;
    policy_report_trace(o->style, cell.trace, &trace);
    for (unsigned i = 0; i < o->size_count && good; i++) {
        good = cell_run(o, &trace, &o->sizes[i], &cell, error);
        if (good)
            policy_report_cell(o->style, &trace, &cell);
    }
    policy_trace_free(&trace);
    return good;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = argp_options,
        .parser = on_option,
        .args_doc = "TRACE...",
        .doc = "Replay cache traces through the library's admission and eviction, and through others; print the miss ratios of "
               "objects "
               "and bytes.\vA TRACE named \"-\" is standard input; one that ends in .zst, .gz or .xz is read through zstd, gzip or "
               "xz.",
    };
    options_t options = {
        .sizes = {{.share = 0.001}, {.share = 0.01}, {.share = 0.1}}, .size_count = 3, .min_uses = {1}, .variants = 1};
    policy_error_t error;
    int status = 0;

    options.max_size = afpa_option_default(AFPA_OPTION_MAX_SIZE);
    policy_reading_init(&options.reading);
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    for (unsigned i = 0; i < options.trace_count; i++)
        if (!trace_run(&options, options.traces[i], &error)) {
            fprintf(stderr, "policy: %s\n", error.text);
            status = 1;
        }
    return status;
}
