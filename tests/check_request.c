/* SPDX-License-Identifier: Apache-2.0
 *
 * The request reader: what it takes and what it makes of it, what it leaves to the server and why, that no split of the bytes
 * changes its mind, and that both ways to look through a value agree.
 */
#include "config.h"

#include <afpa/request.h>

#include "check_main.h"
#include "request.h"

#define H "GET /a HTTP/1.1\r\nHost: x\r\n"
#define DECLINED(name) AFPA_DECLINE_##name

/* why 0: taken. */
static const struct {
    const char *head;
    afpa_counter_t why;
    bool keep_alive;
} cases[] = {
    {H "\r\n", 0, true},
    {"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", 0, true},
    {"GET /a HTTP/1.0\r\nHost: x\r\n\r\n", 0, false},
    {"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", 0, true},
    {"GET /a HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n", 0, false},
    {H "Connection: close\r\n\r\n", 0, false},
    {H "connection:KEEP-Alive\r\n\r\n", 0, true},
    {H "Connection: keep-alive, Keep-Alive\r\n\r\n", 0, true},
    {H "Connection: close,close\r\nConnection: close\r\n\r\n", 0, false},
    {H "Accept:  text/html \r\nTab: a\tb\r\nX-Any: \x80\xff!\r\nEmpty:\r\n\r\n", 0, true},
    {H "Content-Length: 0\r\n\r\n", 0, true},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, true},
    {"GET /%41-._~!$&'()*+,;=:@/b?c=/..//?&d HTTP/1.1\r\nHOST: x.y-z:8080\r\n\r\n", 0, true},
    {"GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0, true},
    {"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 0, true},

    {"POST /a HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(METHOD), 0},
    {"get /a HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(METHOD), 0},
    {"GETS /a HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(METHOD), 0},
    {"\r\n" H "\r\n", DECLINED(METHOD), 0},
    {"GET  /a HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET http://x/a HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET  HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET //a HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a//b HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /.. HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a/./b HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /.htpasswd HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a%2 HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a%00 HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a\\b HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a\r\n\r\n", DECLINED(TARGET), 0},
    {"GET /a HTTP/0.9\r\nHost: x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.2\r\nHost: x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/2.0\r\nHost: x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a http/1.1\r\nHost: x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a  HTTP/1.1\r\nHost: x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1 \r\nHost: x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\nHost: x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.0\r\n\r\n", DECLINED(REQUEST), 0},
    {H "Host: x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost:\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost: x y\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost: x@y\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost: x,y\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost: x:80a\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost: x:123456\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost: []\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\nHost : x\r\n\r\n", DECLINED(REQUEST), 0},
    {"GET /a HTTP/1.1\r\n Host: x\r\n\r\n", DECLINED(REQUEST), 0},
    {H " folded\r\n\r\n", DECLINED(REQUEST), 0},
    {H "\tfolded\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A: b\n\r\n", DECLINED(REQUEST), 0},
    {H "A: b\rc\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A: b\r\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A: b\x01\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A:\tb\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A: b\t\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A: b \t \r\n\r\n", DECLINED(REQUEST), 0},
    {H "A:\t\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A: b\x7f\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A B: c\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A(: c\r\n\r\n", DECLINED(REQUEST), 0},
    {H ": c\r\n\r\n", DECLINED(REQUEST), 0},
    {H "A\r\n\r\n", DECLINED(REQUEST), 0},
    {H "\n", DECLINED(REQUEST), 0},
    {H "\r\r\n", DECLINED(REQUEST), 0},
    {H "If-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n\r\n", DECLINED(REQUEST), 0},
    {H "If-Modified-Since: a\r\nIf-Modified-Since: b\r\n\r\n", DECLINED(REQUEST), 0},
    {H "Accept-Encoding: a\r\naccept-encoding: b\r\n\r\n", DECLINED(REQUEST), 0},
    {H "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", DECLINED(REQUEST), 0},
    {H "Content-Length: 1\r\n\r\n", DECLINED(FIELD), 0},
    {H "Content-Length: 00\r\n\r\n", DECLINED(FIELD), 0},
    {H "Content-Length:\r\n\r\n", DECLINED(FIELD), 0},
    {H "Transfer-Encoding: chunked\r\n\r\n", DECLINED(FIELD), 0},
    {H "authorization: Basic eDp5\r\n\r\n", DECLINED(FIELD), 0},
    {H "RANGE: bytes=0-1\r\n\r\n", DECLINED(FIELD), 0},
    {H "If-Range: \"x\"\r\n\r\n", DECLINED(FIELD), 0},
    {H "Content-Range: bytes 0-1/2\r\n\r\n", DECLINED(FIELD), 0},
    {H "If-Match: *\r\n\r\n", DECLINED(FIELD), 0},
    {H "If-Unmodified-Since: x\r\n\r\n", DECLINED(FIELD), 0},
    {H "Expect: 100-continue\r\n\r\n", DECLINED(FIELD), 0},
    {H "Upgrade: h2c\r\n\r\n", DECLINED(FIELD), 0},
    {H "TE: trailers\r\n\r\n", DECLINED(FIELD), 0},
    {H "Trailer: x\r\n\r\n", DECLINED(FIELD), 0},
    {H "Connection:\r\n\r\n", DECLINED(FIELD), 0},
    {H "Connection: upgrade\r\n\r\n", DECLINED(FIELD), 0},
    {H "Connection: close, keep-alive\r\n\r\n", DECLINED(FIELD), 0},
    {H "Connection: close\r\nConnection: keep-alive\r\n\r\n", DECLINED(FIELD), 0},
    {H "Connection: close;x\r\n\r\n", DECLINED(FIELD), 0},
    {H "Connection: close,\r\n\r\n", DECLINED(FIELD), 0},
    {H "Connection: closed\r\n\r\n", DECLINED(FIELD), 0},
};

static afpa_request_result_t read_part(const char *head, size_t length, afpa_request_t *request, afpa_counter_t *why)
{
    char *copy = malloc(length + 1); /* so that a sanitizer sees a read behind the end */
    afpa_request_result_t result;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, head, length);
    *why = 0;
    result = afpa_request_read(copy, length, request, why);
    free(copy);
    return result;
}

START_TEST(decision)
{
    const char *head = cases[_i].head;
    size_t length = strlen(head);
    afpa_request_t request;
    afpa_counter_t why = 0;
    afpa_request_result_t result = afpa_request_read(head, length, &request, &why);

    ck_assert_msg(why == cases[_i].why, "declined for %d, should be %d: %s", (int)why, (int)cases[_i].why, head);
    ck_assert_int_eq(result, why ? AFPA_REQUEST_DECLINED : AFPA_REQUEST_WHOLE);
    if (why)
        return;
    ck_assert_uint_eq(request.length, length);
    ck_assert(request.keep_alive == cases[_i].keep_alive);
    ck_assert(request.head == (head[0] == 'H'));
    ck_assert(request.http10 == (strstr(head, "HTTP/1.0") != NULL));
}
END_TEST

/* Of a head that is taken every part is incomplete; of one that is declined a part may be, and it stays declined. */
START_TEST(parts)
{
    const char *head = cases[_i].head;
    size_t length = strlen(head);
    bool declined = false;

    for (size_t part = 0; part < length; part++) {
        afpa_request_t request;
        afpa_counter_t why;
        afpa_request_result_t result = read_part(head, part, &request, &why);

        ck_assert_msg(result != AFPA_REQUEST_WHOLE, "whole after %zu bytes: %s", part, head);
        ck_assert_msg(result == AFPA_REQUEST_DECLINED || !declined, "declined, then not, after %zu bytes: %s", part, head);
        declined = result == AFPA_REQUEST_DECLINED;
        ck_assert(!declined || cases[_i].why);
    }
}
END_TEST

static void text_is(afpa_text_t text, const char *should)
{
    if (!should) {
        ck_assert_ptr_null(text.at);
        return;
    }
    ck_assert_uint_eq(text.length, strlen(should));
    ck_assert_int_eq(memcmp(text.at, should, text.length), 0);
}

START_TEST(fields)
{
    static const char head[] =
        "GET /p?q HTTP/1.1\r\nuser-agent:  A b \r\nHOST: h:1\r\nIf-None-Match: \"e\", W/\"f\"\r\n"
        "If-Modified-Since: Sun\r\nAccept-Encoding: gzip, br\r\nReferer: http://r/\r\nCookie: c\r\n\r\nGET /next";
    afpa_request_t request;
    afpa_counter_t why;

    ck_assert_int_eq(afpa_request_read(head, sizeof(head) - 1, &request, &why), AFPA_REQUEST_WHOLE);
    ck_assert_str_eq(head + request.length, "GET /next");
    text_is(request.line, "GET /p?q HTTP/1.1");
    text_is(request.target, "/p?q");
    text_is(request.host, "h:1");
    text_is(request.if_none_match, "\"e\", W/\"f\"");
    text_is(request.if_modified_since, "Sun");
    text_is(request.accept_encoding, "gzip, br");
    text_is(request.referer, "http://r/");
    text_is(request.user_agent, "A b");
    ck_assert_int_eq(afpa_request_read(H "\r\n", sizeof(H "\r\n") - 1, &request, &why), AFPA_REQUEST_WHOLE);
    text_is(request.if_none_match, NULL);
    text_is(request.user_agent, NULL);
}
END_TEST

/* 8192 bytes are taken, one more is not, however much of it has arrived. */
START_TEST(longest)
{
    static char head[AFPA_REQUEST_MAX + 2];
    const size_t front = sizeof(H "A: ") - 1;
    afpa_request_t request;
    afpa_counter_t why = 0;

    for (unsigned over = 0; over < 2; over++) {
        size_t length = AFPA_REQUEST_MAX + over;

        memset(head, 'x', sizeof(head));
        memcpy(head, H "A: ", front);
        memcpy(head + length - 4, "\r\n\r\n", 4);
        ck_assert_int_eq(afpa_request_read(head, AFPA_REQUEST_MAX - 1, &request, &why), AFPA_REQUEST_INCOMPLETE);
        ck_assert_int_eq(afpa_request_read(head, length, &request, &why), over ? AFPA_REQUEST_DECLINED : AFPA_REQUEST_WHOLE);
    }
    ck_assert_int_eq(why, AFPA_DECLINE_HEADER_SIZE);
}
END_TEST

START_TEST(both_scans)
{
    static char bytes[256];
    uint64_t random = 88172645463325252u;

    for (unsigned round = 0; round < 200000; round++) {
        size_t start = check_below(&random, 40), length = start + check_below(&random, sizeof(bytes) - start);

        for (unsigned i = 0; i < 8; i++) {
            uint64_t r = check_random(&random);

            memcpy(bytes + 8 * check_below(&random, sizeof(bytes) / 8), &r, 8);
        }
        if (round % 2) /* mostly good ones, so that both get far */
            for (size_t i = 0; i < sizeof(bytes); i++)
                if ((unsigned char)bytes[i] < 32)
                    bytes[i] = check_below(&random, 100) ? 'a' : bytes[i];
        CHECK_THAT(afpa__value_end(bytes, bytes + start, bytes + length) == afpa__value_end_scalar(bytes + start, bytes + length));
    }
    for (unsigned c = 0; c < 256; c++) {
        bool allowed = c == '\t' || (c >= 32 && c != 127);

        memset(bytes, 'a', 32);
        for (unsigned at = 0; at < 32; at++) {
            bytes[at] = (char)c;
            CHECK_THAT((afpa__value_end(bytes, bytes, bytes + 32) == bytes + 32) == allowed);
            CHECK_THAT((afpa__value_end_scalar(bytes, bytes + 32) == bytes + 32) == allowed);
            bytes[at] = 'a';
        }
    }
}
END_TEST

/* What a target may be, byte by byte. */
static bool target_allowed(const char *at)
{
    bool query = false;

    if (*at != '/')
        return false;
    for (const char *c = at; *c; c++) {
        if (c > at && c[-1] == '/' && !query && (*c == '/' || *c == '.'))
            return false;
        query |= *c == '?';
        if (*c == '%') {
            if (!c[1] || !c[2] || !strchr("0123456789abcdefABCDEF", c[1]) || !strchr("0123456789abcdefABCDEF", c[2]) ||
                (c[1] == '0' && c[2] == '0'))
                return false;
            c += 2;
        } else if (!strchr("abcXYZ0149-._~!$&'()*+,;=:@/?", *c)) {
            return false;
        }
    }
    return true;
}

START_TEST(random_targets)
{
    static const char usual[] = "abcXYZ019-._/", odd[] = "abc/./?%4a0~:@#\"<>\\^`{|}\x80\t\x01";
    uint64_t random = 271828;
    unsigned allowed = 0;

    for (unsigned round = 0; round < 100000; round++) {
        char target[80] = "/", head[160];
        size_t length = 1 + check_below(&random, 70);
        afpa_request_t request;
        afpa_counter_t why;
        bool taken;

        for (size_t i = 1; i < length; i++)
            target[i] = check_below(&random, 40) ? usual[check_below(&random, check_below(&random, 9) ? 11 : sizeof(usual) - 1)]
                                                 : odd[check_below(&random, sizeof(odd) - 1)];
        snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
        taken = afpa_request_read(head, strlen(head), &request, &why) == AFPA_REQUEST_WHOLE;
        if (taken != target_allowed(target))
            ck_abort_msg("%s: %s", taken ? "taken" : "declined", target);
        allowed += taken;
    }
    ck_assert_uint_gt(allowed, 5000);
    ck_assert_uint_lt(allowed, 95000);
}
END_TEST

/* Names up to any length, with any byte in them, anywhere. */
START_TEST(names)
{
    for (unsigned length = 1; length < 50; length++)
        for (unsigned at = 0; at < length; at++)
            for (unsigned c = 1; c < 256; c++) {
                char head[128] = "GET / HTTP/1.1\r\nHost: x\r\n", *name = head + strlen(head);
                bool token =
                    strchr("!#$%&'*+-.^_`|~", (int)c) || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
                afpa_request_t request;
                afpa_counter_t why;

                if (c == ':' || c >= 0x80)
                    token = c == ':' && at > 0; /* the name ends there */
                memset(name, 'n', length);
                name[at] = (char)c;
                memcpy(name + length, ": v\r\n\r\n", 8);
                CHECK_THAT((afpa_request_read(head, strlen(head), &request, &why) == AFPA_REQUEST_WHOLE) == token);
            }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("request");
    TCase *loops = tcase_create("loops");

    tcase_add_loop_test(loops, decision, 0, CHECK_COUNT(cases));
    tcase_add_loop_test(loops, parts, 0, CHECK_COUNT(cases));
    suite_add_tcase(suite, loops);
    check_add(suite, "fields", fields);
    check_add(suite, "longest", longest);
    check_add(suite, "both_scans", both_scans);
    check_add(suite, "random_targets", random_targets);
    check_add(suite, "names", names);
    return check_main(suite);
}
