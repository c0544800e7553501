/* SPDX-License-Identifier: Apache-2.0
 *
 * Dates as libc prints them, read back and nothing else read; conditions by a table of cases.
 */
#include "config.h"

#include <afpa/http.h>
#include <time.h>

#include "check_main.h"

/* ---- dates ---- */

static void strftime_date(int64_t seconds, char *text, size_t size)
{
    time_t when = (time_t)seconds;
    struct tm tm;

    gmtime_r(&when, &tm);
    strftime(text, size, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

START_TEST(dates)
{
    uint64_t random = 4711;

    for (unsigned i = 0; i < 100000; i++) {
        int64_t seconds = (int64_t)check_below(&random, UINT64_C(253402300800)), back = -1; /* until 9999 */
        char text[AFPA_HTTP_DATE + 1] = "", should[64];

        if (i % 2)
            seconds %= INT64_C(4102444800);
        afpa_http_date_print(seconds, text);
        strftime_date(seconds, should, sizeof(should));
        CHECK_THAT(strcmp(text, should) == 0);
        CHECK_THAT(afpa_http_date_parse(text, AFPA_HTTP_DATE, &back) && back == seconds);
    }
}
END_TEST

static const char *const no_dates[] = {
    "Sun, 06 Nov 1994 08:49:37 GM",
    "Sun, 06 Nov 1994 08:49:37 GMT ",
    "Mon, 06 Nov 1994 08:49:37 GMT",
    "Sun, 31 Feb 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:49:37 GMT",
    "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:60 GMT",
    "Sun, 06 nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 CET",
    "Sun, 6  Nov 1994 08:49:37 GMT",
    "Sun; 06 Nov 1994 08:49:37 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 0000 08:49:37 GMT",
    "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Sun, 06 Nov 1994 08-49-37 GMT",
    "Sun, -6 Nov 1994 08:49:37 GMT",
    "",
    "0",
};

START_TEST(no_date)
{
    int64_t seconds;

    ck_assert(!afpa_http_date_parse(no_dates[_i], strlen(no_dates[_i]), &seconds));
}
END_TEST

/* No byte of a date can be changed and still be the same date; most changes make it none. */
START_TEST(changed_dates)
{
    static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";

    for (unsigned at = 0; at < AFPA_HTTP_DATE; at++)
        for (unsigned c = 1; c < 256; c++) {
            char text[AFPA_HTTP_DATE + 1], again[AFPA_HTTP_DATE];
            int64_t seconds;

            memcpy(text, date, sizeof(text));
            text[at] = (char)c;
            if (!afpa_http_date_parse(text, AFPA_HTTP_DATE, &seconds))
                continue;
            afpa_http_date_print(seconds, again);
            CHECK_THAT(memcmp(again, text, AFPA_HTTP_DATE) == 0);
        }
}
END_TEST

/* ---- conditions ---- */

#define WHEN INT64_C(784111777)
#define AT "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"
#define OK AFPA_CONDITION_NONE
#define SAME AFPA_CONDITION_NOT_MODIFIED
#define UNCLEAR AFPA_CONDITION_UNCLEAR

static const struct {
    const char *none_match, *since, *etag;
    afpa_since_t mode;
    bool both;
    afpa_condition_t should;
} conditions[] = {
    {NULL, NULL, "\"a\"", 0, 0, OK},
    {"\"a\"", NULL, "\"a\"", 0, 0, SAME},
    {"\"b\"", NULL, "\"a\"", 0, 0, OK},
    {"*", NULL, "\"a\"", 0, 0, SAME},
    {"*", NULL, NULL, 0, 0, SAME},
    {"\"a\"", NULL, NULL, 0, 0, OK},
    {"W/\"a\"", NULL, "\"a\"", 0, 0, SAME},
    {"\"a\"", NULL, "W/\"a\"", 0, 0, SAME},
    {"\"b\", \"a\"", NULL, "\"a\"", 0, 0, SAME},
    {"\"b\",W/\"a\"", NULL, "\"a\"", 0, 0, SAME},
    {"\"a\", \"b\"", NULL, "\"a\"", 0, 0, SAME},
    {"\"\"", NULL, "\"\"", 0, 0, SAME},
    {"\"b,\"", NULL, "\"b\"", 0, 0, OK},
    {"\"ab\"", NULL, "\"a\"", 0, 0, OK},
    {"a", NULL, "\"a\"", 0, 0, UNCLEAR},
    {"", NULL, "\"a\"", 0, 0, UNCLEAR},
    {"\"a\",", NULL, "\"a\"", 0, 0, UNCLEAR},
    {"\"a\"  ,\"b\"", NULL, "\"a\"", 0, 0, UNCLEAR},
    {"\"a\" \"b\"", NULL, "\"a\"", 0, 0, UNCLEAR},
    {"w/\"a\"", NULL, "\"a\"", 0, 0, UNCLEAR},
    {"\"a", NULL, "\"a\"", 0, 0, UNCLEAR},
    {"\"a b\"", NULL, "\"a\"", 0, 0, UNCLEAR},
    {"*, \"a\"", NULL, "\"a\"", 0, 0, UNCLEAR},

    {NULL, AT, NULL, AFPA_SINCE_EXACT, 0, SAME},
    {NULL, BEFORE, NULL, AFPA_SINCE_EXACT, 0, OK},
    {NULL, AFTER, NULL, AFPA_SINCE_EXACT, 0, OK},
    {NULL, AT, NULL, AFPA_SINCE_BEFORE, 0, SAME},
    {NULL, BEFORE, NULL, AFPA_SINCE_BEFORE, 0, OK},
    {NULL, AFTER, NULL, AFPA_SINCE_BEFORE, 0, SAME},
    {NULL, AT, NULL, AFPA_SINCE_NEVER, 0, OK},
    {NULL, AT, NULL, AFPA_SINCE_PAST, 0, SAME},
    {NULL, BEFORE, NULL, AFPA_SINCE_PAST, 0, OK},
    {NULL, AFTER, NULL, AFPA_SINCE_PAST, 0, SAME},
    {NULL, "Fri, 31 Dec 9999 23:59:59 GMT", NULL, AFPA_SINCE_PAST, 0, OK},
    {NULL, "yesterday", NULL, AFPA_SINCE_EXACT, 0, UNCLEAR},
    {NULL, "Sunday, 06-Nov-94 08:49:37 GMT", NULL, AFPA_SINCE_EXACT, 0, UNCLEAR},
    {NULL, "yesterday", NULL, AFPA_SINCE_NEVER, 0, OK},
    {NULL, "Wed, 31 Dec 1969 23:59:59 GMT", NULL, AFPA_SINCE_BEFORE, 0, OK},

    {"\"a\"", AT, "\"a\"", AFPA_SINCE_EXACT, 0, SAME},
    {"\"a\"", BEFORE, "\"a\"", AFPA_SINCE_EXACT, 0, SAME},
    {"\"b\"", AT, "\"a\"", AFPA_SINCE_EXACT, 0, OK},
    {"\"a\"", AT, "\"a\"", AFPA_SINCE_EXACT, 1, SAME},
    {"\"a\"", BEFORE, "\"a\"", AFPA_SINCE_EXACT, 1, OK},
    {"\"b\"", AT, "\"a\"", AFPA_SINCE_EXACT, 1, OK},
    {"\"a\"", "x", "\"a\"", AFPA_SINCE_EXACT, 0, UNCLEAR},
    {"x", AT, "\"a\"", AFPA_SINCE_EXACT, 0, UNCLEAR},
};

static afpa_text_t text_of(const char *text)
{
    return (afpa_text_t){text, text ? strlen(text) : 0};
}

START_TEST(condition)
{
    afpa_request_t request = {.if_none_match = text_of(conditions[_i].none_match),
                              .if_modified_since = text_of(conditions[_i].since)};
    afpa_validators_t validators = {
        .etag = text_of(conditions[_i].etag), .last_modified = WHEN, .since = conditions[_i].mode, .both = conditions[_i].both};

    ck_assert_int_eq(afpa_http_condition(&request, &validators), conditions[_i].should);
}
END_TEST

START_TEST(no_last_modified)
{
    afpa_request_t request = {.if_modified_since = text_of(AT)};
    afpa_validators_t validators = {.last_modified = INT64_MIN};

    ck_assert_int_eq(afpa_http_condition(&request, &validators), AFPA_CONDITION_UNCLEAR);
    validators.last_modified = 0; /* it may be older than it says */
    ck_assert_int_eq(afpa_http_condition(&request, &validators), AFPA_CONDITION_UNCLEAR);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http");
    TCase *loops = tcase_create("loops");

    check_add(suite, "dates", dates);
    check_add(suite, "changed_dates", changed_dates);
    check_add(suite, "no_last_modified", no_last_modified);
    tcase_add_loop_test(loops, no_date, 0, CHECK_COUNT(no_dates));
    tcase_add_loop_test(loops, condition, 0, CHECK_COUNT(conditions));
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
