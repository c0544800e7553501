/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 1 of 7, capture: from the header a server sent to a block that can be sent again.  In: header, terms.  Out: block, or why
 * not.
 *
 * The header is taken as it is, so whatever the server adds to its replies is there; only what changes from reply to reply has a
 * place that is written anew: Date, an Expires that follows it, and the fields about the connection.  The header of a 304 is the
 * same with some fields left out.  A field that could mean that the reply was for one client, or for one moment, refuses the whole.
 */
#include "config.h"

#include <string.h>
#include <strings.h>

#include "capture.h"

#define OK_LINE "HTTP/1.1 200 OK\r\n"
#define NOT_MODIFIED_LINE "HTTP/1.1 304 Not Modified\r\n"

/* A block being made, and what the 200 has said so far. */
typedef struct capture {
    const afpa_response_terms_t *terms;
    afpa__block_shared_t *block;
    char *to[2]; /* where the next line of each part goes */
    const char *why;
    uint64_t size;
    int64_t date, expires;
    bool has_length, has_date, has_expires, has_connection, in_connection;
} capture_t;

typedef struct line {
    const char *at; /* the whole line, with its CRLF */
    size_t length;
    afpa_text_t name, value;
} line_t;

static bool refuse(capture_t *c, const char *why)
{
    c->why = why;
    return false;
}

static bool text_is(afpa_text_t text, const char *word)
{
    return strlen(word) == text.length && strncasecmp(text.at, word, text.length) == 0;
}

/* Whether a list of tokens, some with arguments, has one of these names. */
static bool has_token(afpa_text_t list, const char *word)
{
    const char *at = list.at, *end = list.at + list.length;
    size_t length = strlen(word);

    while (at < end) {
        size_t token;

        at += strspn(at, ", \t");
        token = strcspn(at, ",; =\t\r");
        if (token == length && strncasecmp(at, word, length) == 0)
            return true;
        at += token;
        at += strcspn(at, ",\r");
        if (*at == '\r')
            break;
    }
    return false;
}

/* ---- one line ---- */

static void put(capture_t *c, unsigned part, const line_t *line)
{
    memcpy(c->to[part], line->at, line->length);
    c->to[part] += line->length;
}

static uint32_t offset_in(const capture_t *c, unsigned part)
{
    return (uint32_t)(c->to[part] - afpa__block_bytes(c->block, 0)) - (part ? AFPA_RESPONSE_HEADER_MAX : 0);
}

static bool on_date(capture_t *c, const line_t *line)
{
    if (c->has_date || !afpa_http_date_parse(line->value.at, line->value.length, &c->date))
        return refuse(c, "Date is not one date");
    c->has_date = true;
    for (unsigned part = 0; part < 2; part++)
        c->block->part[part].date = offset_in(c, part) + (uint32_t)(line->value.at - line->at);
    return true;
}

/* Dates that servers send for "never" and "always" (nginx: expires epoch, expires max). */
static bool expires_constant(int64_t expires)
{
    return expires == 1 || expires == 2145916555;
}

static bool on_expires(capture_t *c, const line_t *line)
{
    if (c->has_expires || !afpa_http_date_parse(line->value.at, line->value.length, &c->expires))
        return refuse(c, "Expires is not one date");
    c->has_expires = true;
    if (c->terms->expires_follows && !expires_constant(c->expires))
        for (unsigned part = 0; part < 2; part++)
            c->block->part[part].expires = offset_in(c, part) + (uint32_t)(line->value.at - line->at);
    return true;
}

/* Where httpd says how long the connection is kept, if it is asked: before Content-Type, which it adds last. */
static void connection_here(capture_t *c, bool not_modified)
{
    if (!c->has_connection)
        c->block->part[0].connection = offset_in(c, 0);
    if (!c->has_connection || not_modified)
        c->block->part[1].connection = offset_in(c, 1);
    c->has_connection = true;
}

/* Connection, and Keep-Alive right behind it, are one place; httpd has them the other way round, and they are left out. */
static bool on_connection(capture_t *c, const line_t *line)
{
    bool more = text_is(line->name, "Keep-Alive");

    if (c->terms->answers_keep_alive) {
        if (!more && !text_is(line->value, "keep-alive"))
            return refuse(c, "the connection was not kept alive");
        connection_here(c, false);
        return true;
    }
    if (more ? !c->in_connection : c->has_connection || !text_is(line->value, "keep-alive"))
        return refuse(c, "the connection was not kept alive");
    c->has_connection = true;
    for (unsigned part = 0; part < 2; part++) {
        if (!more)
            c->block->part[part].connection = offset_in(c, part);
        c->block->part[part].connection_length += (uint32_t)line->length;
    }
    return true;
}

static bool on_length(capture_t *c, const line_t *line)
{
    uint64_t value = 0;

    for (size_t i = 0; i < line->value.length; i++) {
        if (line->value.at[i] < '0' || line->value.at[i] > '9' || i > 18)
            return refuse(c, "Content-Length is no number");
        value = value * 10 + (uint64_t)(line->value.at[i] - '0');
    }
    if (c->has_length || line->value.length == 0 || value != c->size)
        return refuse(c, "Content-Length is not the file's");
    c->has_length = true;
    return true;
}

static bool on_etag(capture_t *c, const line_t *line)
{
    if (c->terms->strong_etag && line->value.length > 0 && *line->value.at == 'W')
        return refuse(c, "the file has changed just now");
    c->block->etag = offset_in(c, 0) + (uint32_t)(line->value.at - line->at);
    c->block->etag_length = (uint32_t)line->value.length;
    return true;
}

static bool refused_field(capture_t *c, const line_t *line)
{
    static const char *const names[] = {"Set-Cookie",       "Set-Cookie2",      "Transfer-Encoding",
                                        "Content-Encoding", "Content-Range",    "Trailer",
                                        "Upgrade",          "WWW-Authenticate", "Age"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (text_is(line->name, names[i])) {
            c->why = names[i];
            return true;
        }
    if (text_is(line->name, "Vary") && !text_is(line->value, "Accept-Encoding"))
        return !refuse(c, "Vary");
    if (text_is(line->name, "Cache-Control") && (has_token(line->value, "private") || has_token(line->value, "no-store")))
        return !refuse(c, "Cache-Control");
    return false;
}

static bool is_dropped(const capture_t *c, const line_t *line)
{
    for (const char *const *name = c->terms->dropped; *name; name++)
        if (text_is(line->name, *name))
            return true;
    return false;
}

static bool on_line(capture_t *c, const line_t *line)
{
    bool connection = text_is(line->name, "Connection") || text_is(line->name, "Keep-Alive");

    if (refused_field(c, line))
        return false;
    if (text_is(line->name, "Date") && !on_date(c, line))
        return false;
    if (text_is(line->name, "Expires") && !on_expires(c, line))
        return false;
    if (text_is(line->name, "Content-Length") && !on_length(c, line))
        return false;
    if (text_is(line->name, "ETag") && !on_etag(c, line))
        return false;
    if (text_is(line->name, "Last-Modified") && !afpa_http_date_parse(line->value.at, line->value.length, &c->block->last_modified))
        return refuse(c, "Last-Modified is no date");
    if (connection && !on_connection(c, line))
        return false;
    c->in_connection = connection;
    if (c->terms->answers_keep_alive) {
        if (connection)
            return true;
        if (text_is(line->name, "Content-Type") || text_is(line->name, "Content-Language"))
            connection_here(c, false);
    }
    put(c, 0, line);
    if (!is_dropped(c, line))
        put(c, 1, line);
    return true;
}

/* ---- the whole ---- */

/* The next line of a header; false: it is not "Name: value" CRLF. */
static bool next_line(const char **at, const char *end, line_t *line)
{
    const char *start = *at, *stop = memchr(start, '\r', (size_t)(end - start)), *colon;

    if (!stop || stop + 1 >= end || stop[1] != '\n' || memchr(start, '\n', (size_t)(stop - start)))
        return false;
    colon = memchr(start, ':', (size_t)(stop - start));
    if (!colon || colon == start)
        return false;
    *at = stop + 2;
    *line = (line_t){.at = start, .length = (size_t)(*at - start), .name = {start, (size_t)(colon - start)}};
    for (colon++; colon < stop && *colon == ' '; colon++)
        continue;
    line->value = (afpa_text_t){colon, (size_t)(stop - colon)};
    return true;
}

static bool lines(capture_t *c, const char *at, const char *end)
{
    const line_t empty = {.at = "\r\n", .length = 2};
    line_t line;

    while (end - at != 2 || memcmp(at, "\r\n", 2) != 0)
        if (!next_line(&at, end, &line))
            return refuse(c, "the header is not in its usual form");
        else if (!on_line(c, &line))
            return false;
    if (c->terms->answers_keep_alive)
        connection_here(c, true);
    put(c, 0, &empty);
    put(c, 1, &empty);
    return true;
}

static bool complete(capture_t *c)
{
    if (!c->has_date || !c->has_length || !c->has_connection)
        return refuse(c, "Date, Content-Length or Connection is missing");
    if (c->has_expires && !c->terms->expires_follows && !expires_constant(c->expires))
        return refuse(c, "Expires depends on the time");
    c->block->expires_after = c->expires - c->date;
    return true;
}

size_t afpa__capture(const char *header, size_t length, uint64_t size, const afpa_response_terms_t *terms, char *out,
                     const char **why)
{
    const size_t first = sizeof(OK_LINE) - 1;
    const line_t line[2] = {{.at = OK_LINE, .length = first}, {.at = NOT_MODIFIED_LINE, .length = sizeof(NOT_MODIFIED_LINE) - 1}};
    capture_t c = {.terms = terms, .block = (afpa__block_shared_t *)(void *)out, .size = size};
    char *bytes = out + sizeof(*c.block);

    *c.block = (afpa__block_shared_t){.revalidate_ms = terms->revalidate_ms,
                                      .limits = terms->limits,
                                      .tag = terms->tag,
                                      .since = (uint8_t)terms->since,
                                      .both = terms->both,
                                      .answers_keep_alive = terms->answers_keep_alive,
                                      .keep_alive_said = terms->keep_alive_said,
                                      .size = size,
                                      .last_modified = INT64_MIN};
    *why = "the header is too long";
    if (length > AFPA_RESPONSE_HEADER_MAX - sizeof(NOT_MODIFIED_LINE))
        return 0;
    *why = "the header has a NUL in it";
    if (memchr(header, 0, length))
        return 0;
    *why = "it is no 200";
    if (length < first || memcmp(header, OK_LINE, first) != 0)
        return 0;
    c.to[0] = bytes;
    c.to[1] = bytes + AFPA_RESPONSE_HEADER_MAX;
    put(&c, 0, &line[0]);
    put(&c, 1, &line[1]);
    if (!lines(&c, header + first, header + length) || !complete(&c)) {
        *why = c.why;
        return 0;
    }
    c.block->part[0].length = offset_in(&c, 0);
    c.block->part[1].length = offset_in(&c, 1);
    memmove(bytes + c.block->part[0].length, bytes + AFPA_RESPONSE_HEADER_MAX, c.block->part[1].length);
    return sizeof(*c.block) + c.block->part[0].length + c.block->part[1].length;
}

static bool part_sound(const afpa__part_shared_t *p)
{
    return p->length <= AFPA_RESPONSE_HEADER_MAX && p->date <= p->length && p->length - p->date >= AFPA_HTTP_DATE &&
           p->expires <= p->length && p->length - p->expires >= AFPA_HTTP_DATE && p->connection <= p->length &&
           p->connection_length <= p->length - p->connection;
}

bool afpa__block_sound(const afpa__block_shared_t *b, size_t length)
{
    return length >= sizeof(*b) && part_sound(&b->part[0]) && part_sound(&b->part[1]) &&
           length == sizeof(*b) + b->part[0].length + b->part[1].length && b->etag <= b->part[0].length &&
           b->etag_length <= b->part[0].length - b->etag;
}
