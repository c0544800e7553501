/* SPDX-License-Identifier: Apache-2.0
 *
 * Which headers become blocks, which do not and for what, and that a block's places are where they should be.
 */
#include "config.h"

#include "capture.h"
#include "check_main.h"

#define BEGIN "HTTP/1.1 200 OK\r\nServer: s\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: a/b\r\nContent-Length: 42\r\n"
#define KEEP "Connection: keep-alive\r\n"
#define REST "ETag: \"e\"\r\nAccept-Ranges: bytes\r\nX-Own: any: thing\r\n"
#define LATER "Sun, 06 Nov 1994 09:49:37 GMT"

static const char *const dropped[] = {"Content-Type", "Content-Length", "Accept-Ranges", NULL};
static const afpa_response_terms_t terms = {.revalidate_ms = 1000, .limits = {75000, 60000, 3600000, 1000}, .dropped = dropped};

static size_t capture(const char *header, bool follows, char *block, const char **why)
{
    afpa_response_terms_t t = terms;
    size_t length = strlen(header);
    char *copy = malloc(length ? length : 1);

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, header, length); /* without the NUL: a sanitizer sees a read behind the end */
    t.expires_follows = follows;
    length = afpa__capture(copy, length, 42, &t, block, why);
    free(copy);
    return length;
}

static const struct {
    const char *header;
    bool follows, taken;
} cases[] = {
    {BEGIN KEEP REST "\r\n", 0, 1},
    {BEGIN KEEP "Keep-Alive: timeout=5\r\n" REST "\r\n", 0, 1},
    {BEGIN KEEP "\r\n", 0, 1},
    {BEGIN KEEP "Vary: Accept-Encoding\r\n\r\n", 0, 1},
    {BEGIN KEEP "Cache-Control: public, max-age=3, no-cache\r\n\r\n", 0, 1},
    {BEGIN KEEP "Cache-Control: x=\"y\"\r\n\r\n", 0, 1},
    {BEGIN KEEP "Cache-Control: privately\r\n\r\n", 0, 1},
    {BEGIN KEEP "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n\r\n", 0, 1},
    {BEGIN KEEP "Expires: Thu, 31 Dec 2037 23:55:55 GMT\r\n\r\n", 0, 1},
    {BEGIN KEEP "Expires: " LATER "\r\n\r\n", 1, 1},
    {BEGIN KEEP "Empty:\r\n\r\n", 0, 1},

    {"", 0, 0},
    {"HTTP/1.1 200 OK\r\n", 0, 0},
    {"HTTP/1.1 200 OK\r\n\r\n", 0, 0},
    {"HTTP/1.1 304 Not Modified\r\n" KEEP "\r\n", 0, 0},
    {"HTTP/1.1 206 Partial Content\r\nContent-Length: 42\r\n" KEEP "\r\n", 0, 0},
    {BEGIN "\r\n", 0, 0},
    {BEGIN "Connection: close\r\n\r\n", 0, 0},
    {BEGIN KEEP KEEP "\r\n", 0, 0},
    {BEGIN KEEP "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n", 0, 0},
    {BEGIN KEEP "Content-Length: 42\r\n\r\n", 0, 0},
    {BEGIN KEEP "Keep-Alive: a\r\nX: y\r\nKeep-Alive: b\r\n\r\n", 0, 0},
    {"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 41\r\n" KEEP "\r\n", 0, 0},
    {"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: x\r\n" KEEP "\r\n", 0, 0},
    {"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length:\r\n" KEEP "\r\n", 0, 0},
    {"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 42\r\n" KEEP "\r\n", 0, 0},
    {"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" KEEP "\r\n", 0, 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n" KEEP "\r\n", 0, 0},
    {BEGIN KEEP "Set-Cookie: a=b\r\n\r\n", 0, 0},
    {BEGIN KEEP "set-cookie: a=b\r\n\r\n", 0, 0},
    {BEGIN KEEP "Transfer-Encoding: chunked\r\n\r\n", 0, 0},
    {BEGIN KEEP "Content-Encoding: gzip\r\n\r\n", 0, 0},
    {BEGIN KEEP "Vary: Cookie\r\n\r\n", 0, 0},
    {BEGIN KEEP "Vary: *\r\n\r\n", 0, 0},
    {BEGIN KEEP "Vary: Accept-Encoding, Origin\r\n\r\n", 0, 0},
    {BEGIN KEEP "Cache-Control: private\r\n\r\n", 0, 0},
    {BEGIN KEEP "Cache-Control: max-age=3, PRIVATE=\"x\"\r\n\r\n", 0, 0},
    {BEGIN KEEP "Cache-Control: a,no-store\r\n\r\n", 0, 0},
    {BEGIN KEEP "Cache-Control: a\r\nCache-Control: no-store\r\n\r\n", 0, 0},
    {BEGIN KEEP "Expires: " LATER "\r\n\r\n", 0, 0},
    {BEGIN KEEP "Expires: 0\r\n\r\n", 0, 0},
    {BEGIN KEEP "Expires: " LATER "\r\nExpires: " LATER "\r\n\r\n", 1, 0},
    {BEGIN KEEP "Last-Modified: long ago\r\n\r\n", 0, 0},
    {BEGIN KEEP "no colon\r\n\r\n", 0, 0},
    {BEGIN KEEP ": no name\r\n\r\n", 0, 0},
    {BEGIN KEEP "A: b\n\r\n", 0, 0},
    {BEGIN KEEP "A: b\r\n", 0, 0},
    {BEGIN KEEP "A: b\r", 0, 0},
    {BEGIN KEEP "\r\nmore", 0, 0},
};

START_TEST(taken)
{
    static char block[AFPA__BLOCK_MAX];
    const char *why = NULL;
    size_t length = capture(cases[_i].header, cases[_i].follows, block, &why);

    ck_assert_msg((length > 0) == cases[_i].taken, "%s: %s", cases[_i].header, why);
    if (length > 0)
        ck_assert(afpa__block_sound((const void *)block, length));
    else
        ck_assert(why && *why);
}
END_TEST

START_TEST(with_nul)
{
    static const char header[] = BEGIN KEEP "A: \0\r\nCache-Control: \0, private\r\n\r\n";
    static char block[AFPA__BLOCK_MAX];
    const char *why;

    ck_assert_uint_eq(afpa__capture(header, sizeof(header) - 1, 42, &terms, block, &why), 0);
}
END_TEST

START_TEST(places)
{
    static const char header[] = BEGIN KEEP "Keep-Alive: timeout=5\r\nLast-Modified: Sun, 06 Nov 1994 08:49:36 GMT\r\n"
                                            "Expires: " LATER "\r\n" REST "\r\n";
    static const char shorter[] = "HTTP/1.1 304 Not Modified\r\nServer: s\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" KEEP
                                  "Keep-Alive: timeout=5\r\nLast-Modified: Sun, 06 Nov 1994 08:49:36 GMT\r\nExpires: " LATER
                                  "\r\nETag: \"e\"\r\nX-Own: any: thing\r\n\r\n";
    static char out[AFPA__BLOCK_MAX], constant[AFPA__BLOCK_MAX];
    const afpa__block_shared_t *b = (const void *)out;
    const char *why;

    ck_assert_uint_eq(capture(header, true, out, &why), sizeof(*b) + sizeof(header) - 1 + sizeof(shorter) - 1);
    ck_assert_uint_eq(b->part[0].length, sizeof(header) - 1);
    ck_assert_int_eq(memcmp(afpa__block_bytes(b, 0), header, sizeof(header) - 1), 0);
    ck_assert_uint_eq(b->part[1].length, sizeof(shorter) - 1);
    ck_assert_int_eq(memcmp(afpa__block_bytes(b, 1), shorter, sizeof(shorter) - 1), 0);
    ck_assert_int_eq(memcmp(afpa__block_bytes(b, 0) + b->etag, "\"e\"", b->etag_length), 0);
    ck_assert_int_eq(b->last_modified, 784111776);
    ck_assert_int_eq(b->expires_after, 3600);
    ck_assert_uint_gt(capture(BEGIN KEEP "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n\r\n", true, constant, &why), 0);
    ck_assert_uint_eq(((const afpa__block_shared_t *)(const void *)constant)->part[0].expires, 0);
    for (unsigned i = 0; i < 2; i++) {
        const char *bytes = afpa__block_bytes(b, i);
        const afpa__part_shared_t *p = &b->part[i];

        ck_assert_int_eq(memcmp(bytes + p->date, "Sun, 06 Nov 1994 08:49:37 GMT\r\n", 31), 0);
        ck_assert_int_eq(memcmp(bytes + p->expires, LATER "\r\n", 31), 0);
        ck_assert_int_eq(memcmp(bytes + p->connection, KEEP "Keep-Alive: timeout=5\r\n", p->connection_length), 0);
        ck_assert_uint_eq(p->connection_length, sizeof(KEEP "Keep-Alive: timeout=5\r\n") - 1);
    }
}
END_TEST

/* httpd: what it says of the connection is left out; its place is before Content-Type, and in a 304 at the end. */
START_TEST(answers_keep_alive)
{
#define HTTPD "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" TAG "Content-Length: 42\r\n"
#define TAG "ETag: \"e\"\r\n"
#define TYPE "Content-Type: a/b\r\n"
    static const char plain[] = HTTPD TYPE "\r\n",
                      asked[] = HTTPD "Keep-Alive: timeout=5, max=99\r\nConnection: Keep-Alive\r\n" TYPE "\r\n";
    static const char *const headers[] = {plain, asked};
    static const char shorter[] = "HTTP/1.1 304 Not Modified\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" TAG "\r\n";
    static const char closes[] = HTTPD "Connection: close\r\n" TYPE "\r\n", weak[] = "HTTP/1.1 200 OK\r\nETag: W/\"e\"\r\n\r\n";
    static char out[AFPA__BLOCK_MAX];
    const afpa__block_shared_t *b = (const void *)out;
    afpa_response_terms_t t = terms;
    const char *why;

    t.answers_keep_alive = t.strong_etag = true;
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_eq(afpa__capture(headers[i], strlen(headers[i]), 42, &t, out, &why),
                          sizeof(*b) + strlen(plain) + strlen(shorter));
        ck_assert_int_eq(memcmp(afpa__block_bytes(b, 0), plain, sizeof(plain) - 1), 0);
        ck_assert_int_eq(memcmp(afpa__block_bytes(b, 1), shorter, sizeof(shorter) - 1), 0);
        ck_assert_uint_eq(b->part[0].connection, sizeof(HTTPD) - 1);
        ck_assert_uint_eq(b->part[1].connection, sizeof(shorter) - 3);
        ck_assert_uint_eq(b->part[0].connection_length + b->part[1].connection_length, 0);
    }
    ck_assert_uint_eq(afpa__capture(closes, sizeof(closes) - 1, 42, &t, out, &why), 0);
    ck_assert_uint_eq(afpa__capture(weak, sizeof(weak) - 1, 42, &t, out, &why), 0);
    ck_assert_str_eq(why, "the file has changed just now");
}
END_TEST

START_TEST(too_long)
{
    static char header[AFPA_RESPONSE_HEADER_MAX + 1], block[AFPA__BLOCK_MAX];
    const size_t front = sizeof(BEGIN KEEP "A: ") - 1;
    size_t longest = 0;
    const char *why;

    for (size_t length = front + 4; length <= AFPA_RESPONSE_HEADER_MAX; length++) {
        memset(header, 'x', length);
        memcpy(header, BEGIN KEEP "A: ", front);
        memcpy(header + length - 4, "\r\n\r\n", 5);
        if (afpa__capture(header, length, 42, &terms, block, &why) > 0)
            longest = length;
    }
    ck_assert_uint_ge(longest, AFPA_RESPONSE_HEADER_MAX - 64);
    ck_assert_uint_lt(longest, AFPA_RESPONSE_HEADER_MAX);
}
END_TEST

/* Whatever a block of the segment says, one that counts as sound is read within its bounds. */
START_TEST(damaged)
{
    static char block[AFPA__BLOCK_MAX];
    uint64_t random = 99;
    const char *why;
    size_t length = capture(cases[0].header, false, block, &why);

    for (unsigned i = 0; i < 100000; i++) {
        union {
            afpa__block_shared_t block;
            unsigned char bytes[sizeof(afpa__block_shared_t)];
        } bad;

        memcpy(&bad, block, sizeof(bad));
        for (unsigned n = 0; n < 3; n++)
            bad.bytes[check_below(&random, sizeof(bad))] ^= (unsigned char)check_random(&random);
        if (!afpa__block_sound(&bad.block, length))
            continue;
        for (unsigned part = 0; part < 2; part++) {
            const afpa__part_shared_t *p = &bad.block.part[part];

            CHECK_THAT(p->length + sizeof(bad) <= length && p->date + (size_t)AFPA_HTTP_DATE <= p->length);
            CHECK_THAT((size_t)p->connection + p->connection_length <= p->length);
            CHECK_THAT(p->expires + (size_t)AFPA_HTTP_DATE <= p->length);
        }
    }
    ck_assert(!afpa__block_sound((const void *)block, length - 1) && !afpa__block_sound((const void *)block, 10));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("capture");
    TCase *loops = tcase_create("loops");

    tcase_add_loop_test(loops, taken, 0, CHECK_COUNT(cases));
    suite_add_tcase(suite, loops);
    check_add(suite, "with_nul", with_nul);
    check_add(suite, "places", places);
    check_add(suite, "answers_keep_alive", answers_keep_alive);
    check_add(suite, "too_long", too_long);
    check_add(suite, "damaged", damaged);
    return check_main(suite);
}
