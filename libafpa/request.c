/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 1 of 7: request.  In: bytes of a connection.  Out: one request head, or the reason why it is the server's.
 *
 * One pass, byte classes from a table.  Where the processor has SSE2, what is most of a head is looked through 16 bytes at a time:
 * the values of fields, for bytes that may not be there, and the plain part of path and names.
 */
#include "config.h"

#include <string.h>
#include <strings.h>

#include <afpa/request.h>

#include "request.h"

#define TOKEN 1u  /* tchar, RFC 9110 section 5.6.2 */
#define TARGET 2u /* pchar, "/" and "?" of RFC 3986, without "%" */
#define HOST 4u   /* of a name or an IPv4 address */
#define HEX 8u
#define VALUE 16u /* field-vchar, SP and HTAB */

#define ALNUM_HEX (TOKEN | TARGET | HOST | HEX | VALUE)
#define ALNUM (TOKEN | TARGET | HOST | VALUE)

/* clang-format off */
static const unsigned char classes[256] = {
    ['\t'] = VALUE, [' '] = VALUE,
    ['!'] = TOKEN | TARGET | VALUE, ['"'] = VALUE, ['#'] = TOKEN | VALUE, ['$'] = TOKEN | TARGET | VALUE, ['%'] = TOKEN | VALUE,
    ['&'] = TOKEN | TARGET | VALUE, ['\''] = TOKEN | TARGET | VALUE, ['('] = TARGET | VALUE, [')'] = TARGET | VALUE,
    ['*'] = TOKEN | TARGET | VALUE, ['+'] = TOKEN | TARGET | VALUE, [','] = TARGET | VALUE, ['-'] = ALNUM, ['.'] = ALNUM,
    ['/'] = TARGET | VALUE, ['0' ... '9'] = ALNUM_HEX, [':'] = TARGET | VALUE, [';'] = TARGET | VALUE, ['<'] = VALUE,
    ['='] = TARGET | VALUE, ['>'] = VALUE, ['?'] = TARGET | VALUE, ['@'] = TARGET | VALUE,
    ['A' ... 'F'] = ALNUM_HEX, ['G' ... 'Z'] = ALNUM, ['['] = VALUE, ['\\'] = VALUE, [']'] = VALUE, ['^'] = TOKEN | VALUE,
    ['_'] = ALNUM, ['`'] = TOKEN | VALUE, ['a' ... 'f'] = ALNUM_HEX, ['g' ... 'z'] = ALNUM,
    ['{'] = VALUE, ['|'] = TOKEN | VALUE, ['}'] = VALUE, ['~'] = TOKEN | TARGET | VALUE, [0x80 ... 0xff] = VALUE,
};
/* clang-format on */

static bool is(char c, unsigned class)
{
    return classes[(unsigned char)c] & class;
}

/* ---- values ---- */

const char *afpa__value_end_scalar(const char *at, const char *end)
{
    while (at < end && is(*at, VALUE))
        at++;
    return at;
}

#ifdef __SSE2__
#include <emmintrin.h>

#define VECTOR 16

/* Where to load from to look at less than 16 bytes: they are the last of what is loaded, behind `*over` others.  NULL: there are no
 * others to be read, from `start` on. */
static inline const char *window(const char *start, const char *at, const char *end, unsigned *over)
{
    *over = VECTOR - (unsigned)(end - at);
    return end - start >= VECTOR ? end - VECTOR : NULL;
}

/* Which of 16 bytes are 0x00–0x1f or 0x7f. */
static inline unsigned controls(const char *from)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f))));
}

/* The first control but HTAB, which is rare. */
static inline const char *value_end(const char *start, const char *at, const char *end)
{
    for (;;) {
        const char *from = at;
        unsigned over = 0, found;

        if (end - at < VECTOR && (from = window(start, at, end, &over)) == NULL)
            return afpa__value_end_scalar(at, end);
        found = controls(from) >> over;
        if (!found && over > 0)
            return end;
        at += found ? (unsigned)__builtin_ctz(found) : VECTOR;
        if (found && *at++ != '\t')
            return at - 1;
    }
}

/* Which of 16 bytes are letters, digits, "-", "." or "_"; which are "/". */
static inline unsigned plain(const char *from, unsigned *slashes)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)from), lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    __m128i letter = _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)), _mm_cmplt_epi8(lower, _mm_set1_epi8('z' + 1)));
    __m128i other = _mm_and_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8('-' - 1)), _mm_cmplt_epi8(bytes, _mm_set1_epi8('9' + 1)));
    __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('/'));

    other = _mm_andnot_si128(slash, _mm_or_si128(other, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('_'))));
    *slashes = (unsigned)_mm_movemask_epi8(slash);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, other));
}

/* How many of 16 there are up to the first that is not. */
static inline unsigned run_of(unsigned bits)
{
    return (unsigned)__builtin_ctz(~bits | 1u << VECTOR);
}

/* Which of the 16 bytes at `at` are "/" or ".". */
static inline unsigned slashes_and_dots(const char *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);

    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('/')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('.'))));
}

/* Skips what is plain at the beginning of a name; the caller looks at the rest byte by byte. */
static inline const char *name_skip(const char *start, const char *at, const char *end)
{
    for (;;) {
        const char *from = at;
        unsigned over = 0, slashes, run;

        if (end - at < VECTOR && (from = window(start, at, end, &over)) == NULL)
            return at;
        run = run_of(plain(from, &slashes) >> over);
        at += run;
        if (run < VECTOR)
            return at;
    }
}

/* The same of a target; in its path it stops before two bytes that servers resolve. */
static inline const char *target_skip(const char *at, const char *end, bool in_query)
{
    while (end - at > VECTOR) {
        unsigned slashes, others = plain(at, &slashes), run = run_of(others | slashes);

        if (!in_query && slashes & slashes_and_dots(at + 1) & ((1u << run) - 1))
            break;
        at += run;
        if (run < VECTOR)
            break;
    }
    return at;
}
#else
static inline const char *value_end(const char *start, const char *at, const char *end)
{
    (void)start;
    return afpa__value_end_scalar(at, end);
}

static inline const char *name_skip(const char *start, const char *at, const char *end)
{
    (void)start, (void)end;
    return at;
}

static inline const char *target_skip(const char *at, const char *end, bool in_query)
{
    (void)end, (void)in_query;
    return at;
}
#endif

const char *afpa__value_end(const char *start, const char *at, const char *end)
{
    return value_end(start, at, end);
}

/* ---- the reader ---- */

#define FIELDS_MAX 100 /* httpd: LimitRequestFields; with more than that it refuses a request */

/* What is being read.  A step returns false when it cannot go on: `stop` says why, and *why more. */
typedef struct reader {
    const char *at, *end;
    afpa_request_t *request;
    afpa_request_result_t stop;
    afpa_counter_t *why;
    afpa_text_t content_length;
    bool close, keep_alive;
} reader_t;

static bool decline(reader_t *r, afpa_counter_t why)
{
    r->stop = AFPA_REQUEST_DECLINED;
    *r->why = why;
    return false;
}

static bool incomplete(reader_t *r)
{
    r->stop = AFPA_REQUEST_INCOMPLETE;
    return false;
}

/* Where the bytes end within a fixed text, all is well so far. */
static bool text_ends(reader_t *r, const char *text, size_t length, afpa_counter_t why)
{
    size_t have = (size_t)(r->end - r->at);

    return have < length && memcmp(r->at, text, have) == 0 ? incomplete(r) : decline(r, why);
}

/* A fixed text; inline, so that the comparison is one of numbers. */
static inline bool expect(reader_t *r, const char *text, size_t length, afpa_counter_t why)
{
    if (__builtin_expect((size_t)(r->end - r->at) < length || memcmp(r->at, text, length) != 0, 0))
        return text_ends(r, text, length, why);
    r->at += length;
    return true;
}

static bool read_method(reader_t *r)
{
    if (r->at == r->end)
        return incomplete(r);
    r->request->head = *r->at == 'H';
    return r->request->head ? expect(r, "HEAD ", 5, AFPA_DECLINE_METHOD) : expect(r, "GET ", 4, AFPA_DECLINE_METHOD);
}

/* Servers resolve "//", "/./" and "/../" before they look for a file; what they make of it is theirs. */
static bool resolved(const char *at, bool in_query)
{
    return !in_query && at[-1] == '/' && (*at == '/' || *at == '.');
}

static bool read_target(reader_t *r)
{
    const char *start = r->at;
    bool in_query = false;

    if (start < r->end && *start != '/')
        return decline(r, AFPA_DECLINE_TARGET);
    r->at = target_skip(r->at, r->end, false);
    for (; r->at < r->end && *r->at != ' '; r->at++) {
        if (r->at > start && resolved(r->at, in_query))
            return decline(r, AFPA_DECLINE_TARGET);
        in_query |= *r->at == '?';
        if (is(*r->at, TARGET)) {
            if (in_query)
                r->at = target_skip(r->at + 1, r->end, true) - 1;
            continue;
        }
        if (*r->at != '%')
            return decline(r, AFPA_DECLINE_TARGET);
        if (r->end - r->at < 3)
            return incomplete(r);
        if (!is(r->at[1], HEX) || !is(r->at[2], HEX) || (r->at[1] == '0' && r->at[2] == '0'))
            return decline(r, AFPA_DECLINE_TARGET);
        r->at += 2;
    }
    if (r->at == r->end)
        return incomplete(r);
    r->request->target = (afpa_text_t){start, (size_t)(r->at - start)};
    return true;
}

static bool read_version(reader_t *r)
{
    if (!expect(r, " HTTP/1.", 8, AFPA_DECLINE_REQUEST))
        return false;
    if (r->at == r->end)
        return incomplete(r);
    if (*r->at != '0' && *r->at != '1')
        return decline(r, AFPA_DECLINE_REQUEST);
    r->request->http10 = *r->at++ == '0';
    r->request->line.length = (size_t)(r->at - r->request->line.at);
    return expect(r, "\r\n", 2, AFPA_DECLINE_REQUEST);
}

/* ---- fields ---- */

/* A field that is used, once. */
static bool keep(reader_t *r, afpa_text_t *field, const char *at, size_t length)
{
    if (field->at)
        return decline(r, AFPA_DECLINE_REQUEST);
    *field = (afpa_text_t){at, length};
    return true;
}

/* A name or address, and maybe a port.  An IPv6 address is what its brackets say.  `line`: from where on bytes may be read. */
static bool host_valid(const char *line, const char *at, const char *end)
{
    const char *start = at;

    if (at < end && *at == '[') {
        for (at++; at < end && (is(*at, HEX) || *at == ':' || *at == '.'); at++)
            continue;
        if (at - start < 3 || at == end || *at++ != ']')
            return false;
    } else {
        at = name_skip(line, at, end);
        while (at < end && is(*at, HOST))
            at++;
        if (at == start)
            return false;
    }
    if (at < end && *at == ':')
        for (start = ++at; at < end && *at >= '0' && *at <= '9' && at - start < 5; at++)
            continue;
    return at == end;
}

static bool token_is(const char *at, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(at, word, length) == 0;
}

/* Connection: close and keep-alive; any other token is between the client and the server. */
static bool read_connection(reader_t *r, const char *at, const char *end)
{
    for (;;) {
        const char *start = at;

        while (at < end && is(*at, TOKEN))
            at++;
        if (token_is(start, (size_t)(at - start), "close"))
            r->close = true;
        else if (token_is(start, (size_t)(at - start), "keep-alive"))
            r->keep_alive = true;
        else
            return decline(r, AFPA_DECLINE_FIELD);
        if (at == end)
            return true;
        if (*at++ != ',')
            return decline(r, AFPA_DECLINE_FIELD);
        if (at < end && *at == ' ')
            at++;
    }
}

typedef enum field {
    F_OTHER,
    F_HOST,
    F_CONNECTION,
    F_CONTENT_LENGTH,
    F_IF_NONE_MATCH,
    F_IF_MODIFIED_SINCE,
    F_ACCEPT_ENCODING,
    F_REFERER,
    F_USER_AGENT,
    F_SERVERS /* the request is the server's because of it */
} field_t;

/* Whether a token is this word of small letters and "-"; inline, so that the comparison is one of numbers.  Bit 5 makes large
 * letters small, and of nothing else that a token may contain a letter or "-". */
static inline bool named(const char *name, const char *word, size_t length)
{
    const uint64_t small = UINT64_C(0x2020202020202020);
    uint64_t differ = 0;
    size_t at = 0;

    for (; at + 8 <= length; at += 8) {
        uint64_t a, b;

        memcpy(&a, name + at, 8);
        memcpy(&b, word + at, 8);
        differ |= (a | small) ^ b;
    }
    if (at + 4 <= length) {
        uint32_t a, b;

        memcpy(&a, name + at, 4);
        memcpy(&b, word + at, 4);
        differ |= (a | (uint32_t)small) ^ b;
        at += 4;
    }
    for (; at < length; at++)
        differ |= (uint64_t)(unsigned char)((name[at] | 0x20) ^ word[at]);
    return differ == 0;
}

/* By its length; most names that browsers send have a length or a first letter that none of these has. */
static field_t field_of(const char *name, size_t length)
{
    switch (length << 8 | (unsigned char)(*name | 0x20)) {
    case 2 << 8 | 't':
        return named(name, "te", 2) ? F_SERVERS : F_OTHER;
    case 4 << 8 | 'h':
        return named(name, "host", 4) ? F_HOST : F_OTHER;
    case 5 << 8 | 'r':
        return named(name, "range", 5) ? F_SERVERS : F_OTHER;
    case 6 << 8 | 'e':
        return named(name, "expect", 6) ? F_SERVERS : F_OTHER;
    case 7 << 8 | 'r':
        return named(name, "referer", 7) ? F_REFERER : F_OTHER;
    case 7 << 8 | 't':
        return named(name, "trailer", 7) ? F_SERVERS : F_OTHER;
    case 7 << 8 | 'u':
        return named(name, "upgrade", 7) ? F_SERVERS : F_OTHER;
    case 8 << 8 | 'i':
        return named(name, "if-range", 8) || named(name, "if-match", 8) ? F_SERVERS : F_OTHER;
    case 10 << 8 | 'c':
        return named(name, "connection", 10) ? F_CONNECTION : F_OTHER;
    case 10 << 8 | 'u':
        return named(name, "user-agent", 10) ? F_USER_AGENT : F_OTHER;
    case 13 << 8 | 'a':
        return named(name, "authorization", 13) ? F_SERVERS : F_OTHER;
    case 13 << 8 | 'c':
        return named(name, "content-range", 13) ? F_SERVERS : F_OTHER;
    case 13 << 8 | 'i':
        return named(name, "if-none-match", 13) ? F_IF_NONE_MATCH : F_OTHER;
    case 14 << 8 | 'c':
        return named(name, "content-length", 14) ? F_CONTENT_LENGTH : F_OTHER;
    case 15 << 8 | 'a':
        return named(name, "accept-encoding", 15) ? F_ACCEPT_ENCODING : F_OTHER;
    case 17 << 8 | 'i':
        return named(name, "if-modified-since", 17) ? F_IF_MODIFIED_SINCE : F_OTHER;
    case 17 << 8 | 't':
        return named(name, "transfer-encoding", 17) ? F_SERVERS : F_OTHER;
    case 19 << 8 | 'i':
        return named(name, "if-unmodified-since", 19) ? F_SERVERS : F_OTHER;
    case 19 << 8 | 'p':
        return named(name, "proxy-authorization", 19) ? F_SERVERS : F_OTHER;
    default:
        return F_OTHER;
    }
}

static bool use_field(reader_t *r, field_t field, const char *at, size_t length)
{
    switch (field) {
    case F_HOST:
        return host_valid(r->request->line.at, at, at + length) ? keep(r, &r->request->host, at, length)
                                                                : decline(r, AFPA_DECLINE_REQUEST);
    case F_CONNECTION:
        return read_connection(r, at, at + length);
    case F_CONTENT_LENGTH:
        return length == 1 && *at == '0' ? keep(r, &r->content_length, at, length) : decline(r, AFPA_DECLINE_FIELD);
    case F_IF_NONE_MATCH:
        return keep(r, &r->request->if_none_match, at, length);
    case F_IF_MODIFIED_SINCE:
        return keep(r, &r->request->if_modified_since, at, length);
    case F_ACCEPT_ENCODING:
        return keep(r, &r->request->accept_encoding, at, length);
    case F_REFERER:
        return keep(r, &r->request->referer, at, length);
    case F_USER_AGENT:
        return keep(r, &r->request->user_agent, at, length);
    case F_SERVERS:
        return decline(r, AFPA_DECLINE_FIELD);
    default:
        return true;
    }
}

static bool read_field(reader_t *r)
{
    const char *name = r->at, *value, *last;
    size_t length;

    for (r->at = name_skip(r->request->line.at, name, r->end); r->at < r->end && is(*r->at, TOKEN); r->at++)
        continue;
    if (r->at == r->end)
        return incomplete(r);
    length = (size_t)(r->at - name);
    if (length == 0 || *r->at++ != ':')
        return decline(r, AFPA_DECLINE_REQUEST);
    while (r->at < r->end && *r->at == ' ')
        r->at++;
    value = r->at;
    last = r->at = value_end(r->request->line.at, value, r->end);
    if (!expect(r, "\r\n", 2, AFPA_DECLINE_REQUEST))
        return false;
    while (last > value && last[-1] == ' ')
        last--;
    if (last > value && (*value == '\t' || last[-1] == '\t')) /* white space to some servers, nginx takes it for content */
        return decline(r, AFPA_DECLINE_REQUEST);
    return use_field(r, field_of(name, length), value, (size_t)(last - value));
}

static bool read_fields(reader_t *r)
{
    unsigned fields = 0;

    while (r->at < r->end && *r->at != '\r')
        if (fields++ == FIELDS_MAX)
            return decline(r, AFPA_DECLINE_HEADER_SIZE);
        else if (!read_field(r))
            return false;
    return r->at < r->end ? expect(r, "\r\n", 2, AFPA_DECLINE_REQUEST) : incomplete(r);
}

afpa_request_result_t afpa_request_read(const char *bytes, size_t length, afpa_request_t *request, afpa_counter_t *why)
{
    size_t seen = length < AFPA_REQUEST_MAX ? length : AFPA_REQUEST_MAX;
    reader_t r = {.at = bytes, .end = bytes + seen, .request = request, .why = why};

    memset(request, 0, sizeof(*request));
    request->line.at = bytes;
    if (read_method(&r) && read_target(&r) && read_version(&r) && read_fields(&r)) {
        if (!request->host.at)
            decline(&r, AFPA_DECLINE_REQUEST);
        else if (r.close && r.keep_alive)
            decline(&r, AFPA_DECLINE_FIELD);
        else
            r.stop = AFPA_REQUEST_WHOLE;
        request->length = (size_t)(r.at - bytes);
        request->keep_alive = request->http10 ? r.keep_alive : !r.close;
        request->keep_alive_token = r.keep_alive;
    }
    if (r.stop == AFPA_REQUEST_INCOMPLETE && seen == AFPA_REQUEST_MAX)
        decline(&r, AFPA_DECLINE_HEADER_SIZE);
    return r.stop;
}
