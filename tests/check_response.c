/* SPDX-License-Identifier: Apache-2.0
 *
 * Response entries: found for the request they were made of and no other, printed as sent, dead with their file, as fresh as it
 * is, replaced, evicted, and gone after a reload's new number.
 */
#include "config.h"

#include <pthread.h>

#include <afpa/response.h>

#include "cache.h"
#include "check_main.h"
#include "fixture.h"

#define ZONE (2u << 20)
#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define TODAY "Tue, 24 Nov 2026 17:00:00 GMT"
#define SIZE 1000u

static const char *const dropped[] = {"Content-Length", NULL};
static const afpa_response_terms_t terms = {
    .server = 7, .revalidate_ms = 1000, .limits = {75000, 60000, 3600000, 1000}, .dropped = dropped};

static const char header[] = "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 1000\r\nConnection: keep-alive\r\n"
                             "ETag: \"e\"\r\n\r\n";

static afpa_request_t request_for(const char *target)
{
    static char text[8][8192];
    static unsigned next;
    char *bytes = text[next++ % 8];
    afpa_request_t request;
    afpa_counter_t why;

    snprintf(bytes, sizeof(text[0]), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    ck_assert_int_eq(afpa_request_read(bytes, strlen(bytes), &request, &why), AFPA_REQUEST_WHOLE);
    return request;
}

static afpa_status_t admit_as(const afpa_ref_t *file, const afpa_request_t *request, const afpa_response_terms_t *t)
{
    const char *why;
    afpa_proposal_t *proposal = afpa_response_propose(request, header, sizeof(header) - 1, file, t, &why);

    ck_assert_msg(proposal != NULL, "%s", why);
    return afpa_response_admit(proposal);
}

/* A zone with a file "a", admitted as /a. */
static void begin(fixture_t *f)
{
    afpa_request_t request = request_for("/a");
    afpa_ref_t ref;

    fixture_begin(f, ZONE);
    fixture_file(f, "a", SIZE, 1);
    ref = fixture_open(f, "a");
    ck_assert_int_eq(admit_as(&ref, &request, &terms), AFPA_OK);
    afpa_cache_release(&ref);
}

static afpa_status_t look(fixture_t *f, uint64_t server, const afpa_request_t *request)
{
    afpa_response_t response;
    afpa_status_t status = afpa_response_lookup(f->cache, server, request, &response);

    ck_assert((response.file.cache != NULL) == (status == AFPA_OK || status == AFPA_CHECK_DUE));
    afpa_response_release(&response);
    return status;
}

static afpa_status_t look_for(fixture_t *f, const char *target)
{
    afpa_request_t request = request_for(target);

    return look(f, terms.server, &request);
}

/* ---- keys ---- */

START_TEST(found)
{
    afpa_request_t request = request_for("/a"), other;
    fixture_t f;

    begin(&f);
    ck_assert_int_eq(look(&f, terms.server, &request), AFPA_OK);
    ck_assert_int_eq(look(&f, terms.server + 1, &request), AFPA_MISS);
    ck_assert_int_eq(look_for(&f, "/b"), AFPA_MISS);
    ck_assert_int_eq(look_for(&f, "/a?"), AFPA_MISS);
    ck_assert_int_eq(look_for(&f, "/%61"), AFPA_MISS);
    other = request;
    other.host = (afpa_text_t){"h2", 2};
    ck_assert_int_eq(look(&f, terms.server, &other), AFPA_MISS);
    other = request;
    other.accept_encoding = (afpa_text_t){"gzip", 4};
    ck_assert_int_eq(look(&f, terms.server, &other), AFPA_MISS);
    other.accept_encoding = (afpa_text_t){"", 0};
    ck_assert_int_eq(look(&f, terms.server, &other), AFPA_MISS);
    other = request;
    other.user_agent = other.referer = (afpa_text_t){"x", 1};
    ck_assert_int_eq(look(&f, terms.server, &other), AFPA_OK);
    ck_assert_int_eq(afpa_response_lookup(NULL, 7, &request, &(afpa_response_t){0}), AFPA_DISABLED);
    afpa_zone_enable(f.zone, false);
    ck_assert_int_eq(look(&f, terms.server, &request), AFPA_DISABLED);
    fixture_end(&f);
}
END_TEST

START_TEST(long_urls)
{
    static char target[AFPA_REQUEST_MAX];
    const char *why;
    afpa_ref_t ref;
    fixture_t f;

    begin(&f);
    ref = fixture_open(&f, "a");
    for (size_t length = 3900; length < 4200; length++) {
        afpa_request_t request;
        afpa_proposal_t *proposal;

        memset(target, 'x', sizeof(target));
        target[0] = '/';
        target[length] = 0;
        request = request_for(target);
        proposal = afpa_response_propose(&request, header, sizeof(header) - 1, &ref, &terms, &why);
        ck_assert(proposal == NULL || length < AFPA_PATH_MAX);
        ck_assert(proposal != NULL || length > 4000);
        afpa_response_drop(proposal);
        ck_assert_int_eq(look_for(&f, target), AFPA_MISS);
    }
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* ---- what it says ---- */

static void printed(const afpa_response_t *r, bool not_modified, bool keep_alive, const char *should)
{
    static char out[AFPA_RESPONSE_PRINT_MAX];
    size_t length = afpa_response_print(r, not_modified, (afpa_persistence_t){.keep_alive = keep_alive}, TODAY, out);

    ck_assert_uint_eq(length, strlen(should));
    ck_assert_int_eq(memcmp(out, should, length), 0);
}

START_TEST(header_block)
{
    afpa_request_t request = request_for("/a");
    char path[AFPA_PATH_MAX];
    afpa_validators_t v;
    uint32_t length;
    afpa_response_t r;
    afpa_extent_t extent;
    fixture_t f;

    begin(&f);
    ck_assert_int_eq(afpa_response_lookup(f.cache, terms.server, &request, &r), AFPA_OK);
    printed(&r, false, true,
            "HTTP/1.1 200 OK\r\nDate: " TODAY "\r\nContent-Length: 1000\r\nConnection: keep-alive\r\nETag: \"e\"\r\n\r\n");
    printed(&r, false, false,
            "HTTP/1.1 200 OK\r\nDate: " TODAY "\r\nContent-Length: 1000\r\nConnection: close\r\nETag: \"e\"\r\n\r\n");
    printed(&r, true, true, "HTTP/1.1 304 Not Modified\r\nDate: " TODAY "\r\nConnection: keep-alive\r\nETag: \"e\"\r\n\r\n");
    printed(&r, true, false, "HTTP/1.1 304 Not Modified\r\nDate: " TODAY "\r\nConnection: close\r\nETag: \"e\"\r\n\r\n");
    v = afpa_response_validators(&r);
    ck_assert(v.etag.length == 3 && memcmp(v.etag.at, "\"e\"", 3) == 0 && v.last_modified == INT64_MIN);
    ck_assert_uint_eq(afpa_response_limits(&r)->keep_alive_ms, 75000);
    ck_assert_uint_eq(afpa_response_limits(&r)->requests, 1000);
    ck_assert_ptr_nonnull(afpa_response_payload(&r, &length));
    ck_assert_uint_eq(length, SIZE);
    ck_assert_int_eq(afpa_inspect_header(f.zone, r.entry.object, path, sizeof(path)), AFPA_OK);
    ck_assert_str_eq(path, header);
    ck_assert_int_eq(afpa_inspect_header(f.zone, r.entry.object, path, sizeof(header) - 1), AFPA_NO_SPACE);
    ck_assert_int_eq(afpa_inspect_header(f.zone, r.file.object, path, sizeof(path)), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_header(f.zone, UINT32_MAX, path, sizeof(path)), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_cache_pin(&r.file, 0, AFPA_PIN_COPY, &extent), AFPA_OK);
    afpa_response_release(&r);
    ck_assert(fixture_right(&extent, "a", 1, 0));
    afpa_cache_unpin(&extent);
    fixture_end(&f);
}
END_TEST

START_TEST(expires_follows)
{
    static const char text[] =
        "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nExpires: Sun, 06 Nov 1994 09:49:37 GMT\r\nContent-Length: 1000\r\n"
        "Connection: keep-alive\r\n\r\n";
    afpa_request_t request = request_for("/e");
    afpa_response_terms_t t = terms;
    afpa_response_t r;
    const char *why;
    afpa_ref_t ref;
    fixture_t f;

    begin(&f);
    ref = fixture_open(&f, "a");
    t.expires_follows = true;
    ck_assert_int_eq(afpa_response_admit(afpa_response_propose(&request, text, sizeof(text) - 1, &ref, &t, &why)), AFPA_OK);
    afpa_cache_release(&ref);
    ck_assert_int_eq(afpa_response_lookup(f.cache, terms.server, &request, &r), AFPA_OK);
    printed(&r, false, true,
            "HTTP/1.1 200 OK\r\nDate: " TODAY "\r\nExpires: Tue, 24 Nov 2026 18:00:00 GMT\r\nContent-Length: 1000\r\n"
            "Connection: keep-alive\r\n\r\n");
    printed(&r, true, false,
            "HTTP/1.1 304 Not Modified\r\nDate: " TODAY "\r\nExpires: Tue, 24 Nov 2026 18:00:00 GMT\r\nConnection: close\r\n\r\n");
    afpa_response_release(&r);
    fixture_end(&f);
}
END_TEST

/* httpd tells who asks for how long, and for how many requests. */
START_TEST(answers_keep_alive)
{
#define HEAD(line) "HTTP/1.1 200 OK\r\nDate: " TODAY "\r\nContent-Length: 1000\r\n" line "Content-Type: a/b\r\n\r\n"
    static const char text[] = "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 1000\r\nContent-Type: a/b\r\n\r\n";
    static const struct {
        afpa_persistence_t persistence;
        const char *should;
    } table[] = {
        {{.keep_alive = true, .left = 7}, HEAD("")},
        {{.keep_alive = true, .asked = true, .left = 7}, HEAD("Keep-Alive: timeout=9, max=7\r\nConnection: Keep-Alive\r\n")},
        {{.keep_alive = true, .asked = true, .left = AFPA_REQUESTS_UNLIMITED - 1},
         HEAD("Keep-Alive: timeout=9\r\nConnection: Keep-Alive\r\n")},
        {{.asked = true}, HEAD("Connection: close\r\n")},
    };
    static char out[AFPA_RESPONSE_PRINT_MAX];
    afpa_request_t request = request_for("/k");
    afpa_response_terms_t t = terms;
    afpa_response_t r;
    const char *why;
    afpa_ref_t ref;
    fixture_t f;

    begin(&f);
    ref = fixture_open(&f, "a");
    t.answers_keep_alive = true;
    t.keep_alive_said = 9; /* the limit is 75 */
    ck_assert_int_eq(afpa_response_admit(afpa_response_propose(&request, text, sizeof(text) - 1, &ref, &t, &why)), AFPA_OK);
    afpa_cache_release(&ref);
    ck_assert_int_eq(afpa_response_lookup(f.cache, terms.server, &request, &r), AFPA_OK);
    for (unsigned i = 0; i < CHECK_COUNT(table); i++) {
        size_t length = afpa_response_print(&r, false, table[i].persistence, TODAY, out);

        ck_assert_uint_eq(length, strlen(table[i].should));
        ck_assert_int_eq(memcmp(out, table[i].should, length), 0);
    }
    afpa_response_release(&r);
    fixture_end(&f);
}
END_TEST

/* ---- life ---- */

START_TEST(dead_with_its_file)
{
    fixture_t f;

    begin(&f);
    fixture_file(&f, "a", SIZE, 2);
    ck_assert_int_eq(afpa_cache_check(f.cache, fixture_path(&f, "a"), strlen(fixture_path(&f, "a"))), AFPA_CHANGED);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_MISS);
    fixture_load(&f, "a"); /* the new file, most likely in the record of the old one */
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_MISS);
    fixture_end(&f);
}
END_TEST

/* Who holds a response whose file is retired goes on to the end. */
START_TEST(held_over_its_files_end)
{
    afpa_request_t request = request_for("/a");
    afpa_extent_t extent;
    afpa_response_t r;
    fixture_t f;

    begin(&f);
    ck_assert_int_eq(afpa_response_lookup(f.cache, terms.server, &request, &r), AFPA_OK);
    ck_assert_int_eq(afpa_cache_purge(f.cache, fixture_path(&f, "a"), strlen(fixture_path(&f, "a"))), AFPA_OK);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_MISS);
    ck_assert_int_eq(afpa_cache_pin(&r.file, 0, AFPA_PIN_COPY, &extent), AFPA_OK);
    ck_assert(fixture_right(&extent, "a", 1, 0));
    afpa_cache_unpin(&extent);
    afpa_response_release(&r);
    fixture_end(&f);
}
END_TEST

START_TEST(fresh_as_its_file)
{
    fixture_t f;

    fixture_clock_stop();
    begin(&f);
    fixture_away(&f);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_OK);
    fixture_clock_advance(499);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_OK);
    fixture_clock_advance(1);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_CHECK_DUE);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_OK); /* one is told so */
    fixture_clock_advance(500);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_STALE);
    ck_assert_int_eq(afpa_cache_check(f.cache, fixture_path(&f, "a"), strlen(fixture_path(&f, "a"))), AFPA_OK);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_OK);
    fixture_end(&f);
}
END_TEST

/* A file that a look-up can check is never stale; one that changed is. */
START_TEST(checked_with_its_file)
{
    fixture_t f;
    bool can;

    fixture_clock_stop();
    begin(&f);
    can = fixture_at_once(&f);
    fixture_clock_advance(1000);
    ck_assert_int_eq(look_for(&f, "/a"), can ? AFPA_OK : AFPA_STALE);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REVALIDATIONS), can);
    fixture_file(&f, "a", 100, 2);
    ck_assert_int_eq(look_for(&f, "/a"), can ? AFPA_OK : AFPA_STALE); /* for a second */
    fixture_clock_advance(1000);
    ck_assert_int_eq(look_for(&f, "/a"), AFPA_STALE);
    fixture_end(&f);
}
END_TEST

START_TEST(replaced)
{
    afpa_request_t request = request_for("/a");
    afpa_response_t held;
    afpa_stat_t stat;
    afpa_ref_t ref;
    fixture_t f;

    begin(&f);
    ref = fixture_open(&f, "a");
    ck_assert_int_eq(afpa_response_lookup(f.cache, terms.server, &request, &held), AFPA_OK);
    ck_assert_int_eq(admit_as(&ref, &request, &terms), AFPA_OK); /* the same again */
    afpa_inspect_stat(f.zone, &stat);
    ck_assert_uint_eq(stat.response_entries, 1);
    ck_assert_uint_eq(stat.draining, 0);
    fixture_file(&f, "b", SIZE, 1);
    afpa_cache_release(&ref);
    ref = fixture_open(&f, "b");
    ck_assert_int_eq(admit_as(&ref, &request, &terms), AFPA_OK); /* another file */
    afpa_inspect_stat(f.zone, &stat);
    ck_assert_uint_eq(stat.draining, 1);
    afpa_cache_release(&ref);
    afpa_response_release(&held);
    ck_assert_int_eq(afpa_response_lookup(f.cache, terms.server, &request, &held), AFPA_OK);
    ck_assert_uint_eq(held.file.object, fixture_open(&f, "b").object);
    afpa_cache_release(&(afpa_ref_t){.cache = f.cache, .object = held.file.object}); /* of fixture_open() just above */
    afpa_response_release(&held);
    fixture_end(&f);
}
END_TEST

/* Many more entries than there is room for: the zone stays sound, and what is found is right. */
START_TEST(evicted)
{
    unsigned there = 0;
    char target[32];
    afpa_ref_t ref;
    fixture_t f;

    begin(&f);
    fixture_clock_stop(); /* it may take longer than a check lasts */
    ref = fixture_open(&f, "a");
    for (unsigned i = 0; i < 5000; i++) {
        afpa_request_t request;

        snprintf(target, sizeof(target), "/a?%u", i);
        request = request_for(target);
        ck_assert_int_eq(admit_as(&ref, &request, &terms), AFPA_OK);
        if (i % 1000 == 0)
            CHECK_THAT(fixture_problems(&f, true) == 0);
    }
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(target, sizeof(target), "/a?%u", i);
        there += look_for(&f, target) == AFPA_OK;
    }
    ck_assert_uint_gt(there, 500);
    ck_assert_uint_lt(there, 5000);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

START_TEST(no_room)
{
    afpa_request_t request = request_for("/other");
    afpa_ref_t refs[64], ref;
    unsigned held = 0;
    char name[16];
    fixture_t f;

    begin(&f);
    ref = fixture_open(&f, "a");
    for (; held < 64; held++) { /* whole chunks, held, until there are none */
        afpa_counter_t why;

        snprintf(name, sizeof(name), "f%u", held);
        fixture_file(&f, name, FIXTURE_CHUNK, 1);
        if (afpa_cache_open(f.cache, fixture_path(&f, name), strlen(fixture_path(&f, name)), &f.policy, &refs[held], &why, NULL) !=
            AFPA_OK)
            break;
    }
    for (unsigned i = 0; i < 4000; i++) { /* and what is left in slots */
        char target[32];

        snprintf(target, sizeof(target), "/a?%u", i);
        request = request_for(target);
        (void)admit_as(&ref, &request, &terms);
    }
    afpa_zone_enable(f.zone, false);
    ck_assert_int_eq(admit_as(&ref, &request, &terms), AFPA_DISABLED);
    afpa_zone_enable(f.zone, true);
    while (held > 0)
        afpa_cache_release(&refs[--held]);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* ---- two threads ---- */

typedef struct race {
    fixture_t f;
    _Atomic bool stop, wrong;
} race_t;

static void *race_look(void *arg)
{
    race_t *r = arg;
    afpa_request_t request = request_for("/a");

    while (!atomic_load(&r->stop)) {
        afpa_response_t response;
        afpa_extent_t extent;
        afpa_status_t status = afpa_response_lookup(r->f.cache, terms.server, &request, &response);

        if (status != AFPA_OK && status != AFPA_CHECK_DUE)
            continue;
        if (afpa_cache_pin(&response.file, 0, AFPA_PIN_COPY, &extent) != AFPA_OK || extent.length != SIZE ||
            afpa_response_validators(&response).etag.length != 3)
            atomic_store(&r->wrong, true);
        afpa_cache_unpin(&extent);
        afpa_response_release(&response);
    }
    return NULL;
}

/* The file changes, is read anew and admitted anew, while another thread looks. */
START_TEST(race)
{
    afpa_request_t request = request_for("/a");
    race_t r = {0};
    pthread_t thread;

    begin(&r.f);
    ck_assert_int_eq(pthread_create(&thread, NULL, race_look, &r), 0);
    for (unsigned round = 0; round < 1500; round++) {
        const char *path = fixture_path(&r.f, "a");
        afpa_counter_t why;
        afpa_ref_t ref;

        afpa_cache_purge(r.f.cache, path, strlen(path));
        CHECK_THAT(afpa_cache_open(r.f.cache, path, strlen(path), &r.f.policy, &ref, &why, NULL) == AFPA_OK);
        CHECK_THAT(admit_as(&ref, &request, &terms) == AFPA_OK);
        afpa_cache_release(&ref);
    }
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
    ck_assert(!atomic_load(&r.wrong));
    fixture_end(&r.f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("response");

    check_add(suite, "found", found);
    check_add(suite, "long_urls", long_urls);
    check_add(suite, "header_block", header_block);
    check_add(suite, "expires_follows", expires_follows);
    check_add(suite, "answers_keep_alive", answers_keep_alive);
    check_add(suite, "dead_with_its_file", dead_with_its_file);
    check_add(suite, "held_over_its_files_end", held_over_its_files_end);
    check_add(suite, "fresh_as_its_file", fresh_as_its_file);
    check_add(suite, "checked_with_its_file", checked_with_its_file);
    check_add(suite, "replaced", replaced);
    check_add(suite, "evicted", evicted);
    check_add(suite, "no_room", no_room);
    check_add(suite, "race", race);
    return check_main(suite);
}
