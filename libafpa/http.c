/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 1 of 7, rules: dates and conditions.  In: fields of a request, validators of a response.  Out: 200, 304, or the server's.
 *
 * Everything is parsed in its one current form; what is in another, or malformed, is not guessed at.
 */
#include "config.h"

#include <string.h>
#include <time.h>

#include <afpa/http.h>

#include "clock.h"

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* ---- dates ---- */

static char *put_digits(char *at, int value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + digits;
}

static char *put_text(char *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}

void afpa_http_date_print(int64_t seconds, char *text)
{
    time_t when = (time_t)seconds;
    struct tm tm;
    char *at;

    gmtime_r(&when, &tm);
    at = put_text(text, days + (ptrdiff_t)tm.tm_wday * 3, 3);
    at = put_text(at, ", ", 2);
    at = put_digits(at, tm.tm_mday, 2);
    *at++ = ' ';
    at = put_text(at, months + (ptrdiff_t)tm.tm_mon * 3, 3);
    *at++ = ' ';
    at = put_digits(at, tm.tm_year + 1900, 4);
    *at++ = ' ';
    at = put_digits(at, tm.tm_hour, 2);
    *at++ = ':';
    at = put_digits(at, tm.tm_min, 2);
    *at++ = ':';
    at = put_digits(at, tm.tm_sec, 2);
    put_text(at, " GMT", 4);
}

static bool get_digits(const char *at, int digits, int *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        *value = *value * 10 + at[i] - '0';
    }
    return true;
}

static int get_month(const char *at)
{
    for (int month = 0; month < 12; month++)
        if (memcmp(at, months + (ptrdiff_t)month * 3, 3) == 0)
            return month;
    return -1;
}

/* Printing what was understood says whether it was all there: separators, the day of the week, a day that the month has. */
bool afpa_http_date_parse(const char *text, size_t length, int64_t *seconds)
{
    char again[AFPA_HTTP_DATE];
    struct tm tm = {0};

    if (length != AFPA_HTTP_DATE || !get_digits(text + 5, 2, &tm.tm_mday) || !get_digits(text + 12, 4, &tm.tm_year) ||
        !get_digits(text + 17, 2, &tm.tm_hour) || !get_digits(text + 20, 2, &tm.tm_min) || !get_digits(text + 23, 2, &tm.tm_sec))
        return false;
    tm.tm_mon = get_month(text + 8);
    if (tm.tm_mon < 0 || tm.tm_year < 1)
        return false;
    tm.tm_year -= 1900;
    *seconds = timegm(&tm);
    afpa_http_date_print(*seconds, again);
    return memcmp(again, text, AFPA_HTTP_DATE) == 0;
}

/* ---- validators ---- */

static bool is_etagc(char c)
{
    unsigned char u = (unsigned char)c;

    return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

/* One entity tag at *at: its opaque part with the quotes.  false: there is none. */
static bool read_etag(const char **at, const char *end, afpa_text_t *opaque)
{
    const char *start;

    if (end - *at >= 2 && (*at)[0] == 'W' && (*at)[1] == '/')
        *at += 2;
    start = *at;
    if (start == end || *start != '"')
        return false;
    for (++*at; *at < end && is_etagc(**at); ++*at)
        continue;
    if (*at == end || **at != '"')
        return false;
    ++*at;
    *opaque = (afpa_text_t){start, (size_t)(*at - start)};
    return true;
}

/* Weak comparison with one tag (RFC 9110 section 8.8.3.2). */
static bool etag_is(afpa_text_t opaque, afpa_text_t etag)
{
    size_t skip = etag.length >= 2 && etag.at[0] == 'W' ? 2 : 0;

    return etag.at && etag.length - skip == opaque.length && memcmp(etag.at + skip, opaque.at, opaque.length) == 0;
}

/* If-None-Match: "*", or tags with a comma and at most one space between them. */
static afpa_condition_t none_match(afpa_text_t field, afpa_text_t etag)
{
    const char *at = field.at, *end = field.at + field.length;
    bool found = false;

    if (field.length == 1 && *at == '*')
        return AFPA_CONDITION_NOT_MODIFIED;
    for (;;) {
        afpa_text_t opaque;

        if (!read_etag(&at, end, &opaque))
            return AFPA_CONDITION_UNCLEAR;
        found |= etag_is(opaque, etag);
        if (at == end)
            return found ? AFPA_CONDITION_NOT_MODIFIED : AFPA_CONDITION_NONE;
        if (*at++ != ',')
            return AFPA_CONDITION_UNCLEAR;
        if (at < end && *at == ' ')
            at++;
    }
}

static afpa_condition_t modified_since(afpa_text_t field, const afpa_validators_t *v)
{
    int64_t since;

    if (v->since == AFPA_SINCE_NEVER)
        return AFPA_CONDITION_NONE;
    /* Servers print a time before 1970 as its first second, and compare with what it was. */
    if (v->last_modified <= 0 || !afpa_http_date_parse(field.at, field.length, &since))
        return AFPA_CONDITION_UNCLEAR;
    if (v->since == AFPA_SINCE_PAST && since > afpa__wall_seconds())
        return AFPA_CONDITION_NONE;
    if (v->since == AFPA_SINCE_EXACT ? since == v->last_modified : since >= v->last_modified)
        return AFPA_CONDITION_NOT_MODIFIED;
    return AFPA_CONDITION_NONE;
}

afpa_condition_t afpa_http_condition(const afpa_request_t *request, const afpa_validators_t *validators)
{
    afpa_condition_t match = AFPA_CONDITION_NONE, since = AFPA_CONDITION_NONE;

    if (request->if_none_match.at)
        match = none_match(request->if_none_match, validators->etag);
    if (request->if_modified_since.at)
        since = modified_since(request->if_modified_since, validators);
    if (match == AFPA_CONDITION_UNCLEAR || since == AFPA_CONDITION_UNCLEAR)
        return AFPA_CONDITION_UNCLEAR;
    if (!request->if_none_match.at)
        return since;
    if (!request->if_modified_since.at || !validators->both)
        return match;
    return match == since ? match : AFPA_CONDITION_NONE;
}
