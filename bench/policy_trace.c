/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces: from lines or records to requests, object by object.
 *
 *   csv   one request a line; the columns of time, key and size are told by number.  A first line without numbers is a header
 *   txt   one key a line; all objects have the size --unit
 *   oracleGeneral, vscsi, lcs: see policy_records.c
 *
 * Times are checked, in text, and not used: nothing ages here.  The next access is worked out anew, as it would be wrong for a
 * part of a trace.
 * One key is one file.  Where a trace gives it several sizes (parts of a file, replies cut short), it has the largest.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "policy.h"

#define REQUESTS_MAX (UINT32_MAX - 1)
#define FIELD_MAX 64

typedef struct reader {
    policy_trace_t *trace;
    const policy_reading_t *reading;
    policy_input_t input;
    policy_error_t *error;
    uint64_t place;   /* line or record, from 1 */
    const char *unit; /* "line" or "record" */
    uint64_t *ids;    /* of the objects */
    uint32_t *slots;  /* hash table: object + 1 */
    uint64_t slots_mask;
    uint32_t *given; /* requests that gave the object's largest size so far */
    size_t room_requests, room_objects;
    bool full; /* limit reached */
} reader_t;

void policy_reading_init(policy_reading_t *reading)
{
    *reading = (policy_reading_t){.delimiter = ',', .time_column = 1, .key_column = 2, .size_column = 3, .unit = 4096, .sample = 1};
}

/* ---- keys ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint32_t *slot_of(reader_t *r, uint64_t id)
{
    uint64_t at = mix(id) & r->slots_mask;

    while (r->slots[at] && r->ids[r->slots[at] - 1] != id)
        at = (at + 1) & r->slots_mask;
    return &r->slots[at];
}

static void slots_grow(reader_t *r)
{
    uint64_t slots = r->slots ? (r->slots_mask + 1) * 2 : 4096;

    free(r->slots);
    r->slots = policy_alloc(NULL, slots, sizeof(*r->slots));
    memset(r->slots, 0, slots * sizeof(*r->slots));
    r->slots_mask = slots - 1;
    for (uint32_t object = 0; object < r->trace->objects; object++)
        *slot_of(r, r->ids[object]) = object + 1;
}

static uint32_t object_of(reader_t *r, uint64_t id)
{
    policy_trace_t *t = r->trace;
    uint32_t *slot;

    if (!r->slots || t->objects >= r->slots_mask / 3 * 2)
        slots_grow(r);
    slot = slot_of(r, id);
    if (*slot)
        return *slot - 1;
    if (t->objects == r->room_objects) {
        r->room_objects = r->room_objects ? r->room_objects * 2 : 1024;
        r->ids = policy_alloc(r->ids, r->room_objects, sizeof(*r->ids));
        r->given = policy_alloc(r->given, r->room_objects, sizeof(*r->given));
        t->sizes = policy_alloc(t->sizes, r->room_objects, sizeof(*t->sizes));
    }
    r->ids[t->objects] = id;
    r->given[t->objects] = 0;
    t->sizes[t->objects] = 0;
    *slot = ++t->objects;
    return t->objects - 1;
}

/* ---- requests ---- */

/* A record makes no sense: an error, or, if that is wanted, one left out. */
static bool bad(reader_t *r, const char *what, const char *text)
{
    if (r->reading->skip_bad) {
        r->trace->bad++;
        return true;
    }
    return policy_fail(r->error, "%s: %s %llu: %s%s%.60s%s", r->input.name, r->unit, (unsigned long long)r->place, what,
                       text ? " \"" : "", text ? text : "", text ? "\"" : "");
}

static bool add(reader_t *r, uint64_t id, uint64_t size)
{
    policy_trace_t *t = r->trace;
    uint32_t object;

    if (r->reading->sample < 1 && (double)(mix(id ^ UINT64_C(0x9e3779b97f4a7c15)) >> 11) * 0x1p-53 >= r->reading->sample) {
        t->unsampled++;
        return true;
    }
    if (t->count == REQUESTS_MAX)
        return policy_fail(r->error, "%s: has more than %u requests: --limit or --sample take a part", r->input.name, REQUESTS_MAX);
    object = object_of(r, id);
    if (size > t->sizes[object]) {
        t->sizes[object] = size;
        r->given[object] = 0;
    }
    r->given[object] += size == t->sizes[object];
    if (t->count == r->room_requests) {
        r->room_requests = r->room_requests ? r->room_requests * 2 : 4096;
        t->requests = policy_alloc(t->requests, r->room_requests, sizeof(*t->requests));
    }
    t->requests[t->count++] = object;
    r->full = t->count == r->reading->limit;
    return true;
}

static bool add_sized(reader_t *r, uint64_t id, uint64_t size, const char *text)
{
    if (size == 0)
        return bad(r, "the size is 0", NULL);
    if (size > POLICY_SIZE_MAX)
        return bad(r, "the size is more than a file can have:", text);
    return add(r, id, size);
}

/* ---- text ---- */

typedef struct field {
    char *at;
    size_t length;
} field_t;

static bool field_of(char *line, char delimiter, unsigned column, field_t *field)
{
    while (--column > 0) {
        line = strchr(line, delimiter);
        if (!line)
            return false;
        line++;
    }
    while (*line == ' ' && delimiter != ' ')
        line++;
    field->at = line;
    field->length = strcspn(line, (char[]){delimiter, 0});
    while (field->length > 0 && line[field->length - 1] == ' ')
        field->length--;
    return true;
}

/* The field as a string of its own. */
static const char *text_of(const field_t *field, char text[FIELD_MAX])
{
    size_t length = field->length < FIELD_MAX - 1 ? field->length : FIELD_MAX - 1;

    memcpy(text, field->at, length);
    text[length] = 0;
    return text;
}

static bool is_time(const char *text)
{
    char *end;

    if (!isdigit((unsigned char)*text) && *text != '-' && *text != '.')
        return false;
    strtod(text, &end);
    return *end == 0;
}

static bool size_parse(const char *text, uint64_t *size)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *size = strtoull(text, &end, 10);
    if (errno == ERANGE)
        *size = UINT64_MAX;
    return *end == 0;
}

static uint64_t id_of(const char *text, size_t length)
{
    return XXH3_64bits(text, length);
}

static bool csv_line(reader_t *r, char *line, bool first)
{
    const policy_reading_t *o = r->reading;
    char time_text[FIELD_MAX] = "0", size_text[FIELD_MAX] = "";
    field_t time = {NULL, 0}, key = {NULL, 0}, size = {NULL, 0};
    uint64_t bytes = o->unit;

    if ((o->time_column && !field_of(line, o->delimiter, o->time_column, &time)) ||
        (o->size_column && !field_of(line, o->delimiter, o->size_column, &size)) ||
        !field_of(line, o->delimiter, o->key_column, &key))
        return bad(r, "has too few fields:", line);
    if (time.at)
        text_of(&time, time_text);
    if (size.at)
        text_of(&size, size_text);
    if (first && size.at && isalpha((unsigned char)*size_text) && (!time.at || isalpha((unsigned char)*time_text)))
        return true; /* names of columns */
    if (!is_time(time_text))
        return bad(r, "the time is no number:", time_text);
    if (key.length == 0)
        return bad(r, "has no key:", line);
    if (size.at && !size_parse(size_text, &bytes))
        return bad(r, "the size is no number:", size_text);
    return add_sized(r, id_of(key.at, key.length), bytes, size_text);
}

static bool txt_line(reader_t *r, char *line, bool first)
{
    return add(r, id_of(line, strlen(line)), r->reading->unit);
}

static bool lines_read(reader_t *r, bool (*take)(reader_t *r, char *line, bool first))
{
    bool good = true, first = true;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    r->unit = "line";
    while (good && !r->full && (length = getline(&line, &room, r->input.file)) >= 0) {
        r->place++;
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            line[--length] = 0;
        if (length == 0)
            continue;
        if (strlen(line) != (size_t)length)
            good = bad(r, "has a NUL byte: this is no text", NULL);
        else
            good = take(r, line, first);
        first = false;
    }
    free(line);
    return good;
}

/* ---- records ---- */

static bool records_read(reader_t *r, policy_format_t format)
{
    policy_records_t records;
    policy_record_t record;
    char text[FIELD_MAX];

    r->unit = "record";
    if (!policy_records_begin(&records, format, &r->input, r->error))
        return false;
    while (!r->full) {
        if (!policy_records_next(&records, &record, r->error))
            return false;
        if (record.end)
            return true;
        r->place++;
        snprintf(text, sizeof(text), "%llu", (unsigned long long)record.size);
        if (record.wrong ? !bad(r, record.wrong, NULL) : !add_sized(r, record.id, record.size, text))
            return false;
    }
    return true;
}

/* ---- the whole ---- */

static policy_format_t format_of(const char *path)
{
    if (strstr(path, ".lcs"))
        return POLICY_LCS;
    if (strstr(path, ".vscsi"))
        return POLICY_VSCSI;
    if (strstr(path, "oracleGeneral"))
        return POLICY_ORACLE;
    if (strstr(path, ".csv") || strcmp(path, "-") == 0)
        return POLICY_CSV;
    return strstr(path, ".txt") ? POLICY_TXT : POLICY_AUTO;
}

/* When each request's object is asked for again. */
static void next_set(policy_trace_t *t)
{
    uint32_t *last = policy_alloc(NULL, t->objects, sizeof(*last));

    memset(last, 0xff, t->objects * sizeof(*last));
    t->next = policy_alloc(NULL, t->count, sizeof(*t->next));
    t->footprint = t->bytes = 0;
    for (uint32_t i = t->count; i-- > 0;) {
        uint32_t object = t->requests[i];

        t->next[i] = last[object];
        last[object] = i;
        t->bytes += t->sizes[object];
    }
    for (uint32_t object = 0; object < t->objects; object++)
        t->footprint += t->sizes[object];
    free(last);
}

static bool read_all(reader_t *r, policy_format_t format)
{
    policy_trace_t *t = r->trace;
    bool text = format == POLICY_CSV || format == POLICY_TXT;
    bool good = text ? lines_read(r, format == POLICY_CSV ? csv_line : txt_line) : records_read(r, format);
    policy_error_t later;

    if (!policy_input_close(&r->input, good && !r->full, good ? r->error : &later))
        return false;
    if (!good)
        return false;
    if (t->count == 0)
        return policy_fail(r->error, "%s: has no request", r->input.name);
    t->resized = t->count;
    for (uint32_t object = 0; object < t->objects; object++)
        t->resized -= r->given[object];
    next_set(t);
    return true;
}

bool policy_trace_load(policy_trace_t *trace, const char *path, const policy_reading_t *reading, policy_error_t *error)
{
    policy_format_t format = reading->format == POLICY_AUTO ? format_of(path) : reading->format;
    reader_t r = {.trace = trace, .reading = reading, .error = error};
    bool good;

    memset(trace, 0, sizeof(*trace));
    if (format == POLICY_AUTO)
        return policy_fail(error, "%s: its name does not say what format it has: give --format", path);
    if (!policy_input_open(&r.input, path, error))
        return false;
    good = read_all(&r, format);
    free(r.ids);
    free(r.slots);
    free(r.given);
    if (!good)
        policy_trace_free(trace);
    return good;
}

void policy_trace_make(policy_trace_t *t, const uint32_t *requests, uint32_t count, const uint64_t *sizes, uint32_t objects)
{
    *t = (policy_trace_t){.count = count, .objects = objects};
    t->requests = policy_alloc(NULL, count, sizeof(*requests));
    t->sizes = policy_alloc(NULL, objects, sizeof(*sizes));
    memcpy(t->requests, requests, count * sizeof(*requests));
    memcpy(t->sizes, sizes, objects * sizeof(*sizes));
    next_set(t);
}

void policy_trace_free(policy_trace_t *t)
{
    free(t->requests);
    free(t->next);
    free(t->sizes);
    memset(t, 0, sizeof(*t));
}
