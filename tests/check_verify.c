/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify: a sound segment has no problem, whatever was done to it, also while others use it; cached bytes are held against the
 * files.  What damage is found: check_verify_damage.c.
 */
#include "config.h"

#include <pthread.h>
#include <sys/stat.h>

#include "cache.h"
#include "fill.h"
#include "object.h"
#include "verify_state.h"

/* ---- sound ---- */

START_TEST(sound)
{
    afpa_extent_t extent;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    ck_assert_uint_eq(verify(&f), 0); /* empty */
    fixture_drop(&f);
    state_begin(&f);
    ck_assert_uint_eq(verify(&f), 0);
    ref = fixture_open(&f, "big");
    ck_assert_int_eq(afpa_cache_pin(&ref, 9, AFPA_PIN_REFERENCE, &extent), AFPA_OK);
    ck_assert_uint_eq(verify(&f), 0); /* with pins */
    ck_assert_int_eq(afpa_cache_purge(f.cache, fixture_path(&f, "big"), strlen(fixture_path(&f, "big"))), AFPA_OK);
    ck_assert_uint_eq(verify(&f), 0); /* with a retired object */
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
    ck_assert_uint_eq(verify(&f), 0); /* that nobody holds, not freed yet */
    afpa_cache_reap(f.cache);
    ck_assert_uint_eq(verify(&f), 0);
    ck_assert_uint_eq(said.count, 0);
    fixture_end(&f);
}
END_TEST

/* Full, and full again of other files, of all sizes. */
START_TEST(sound_after_evictions)
{
    uint64_t random = 31;
    char name[16];
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        fixture_file(&f, name, check_below(&random, 1u << check_below(&random, 20)), 1);
    }
    for (unsigned i = 0; i < 600; i++) {
        snprintf(name, sizeof(name), "f%u", (unsigned)check_below(&random, 200));
        fixture_load(&f, name);
        if (i % 10 == 0)
            ck_assert_msg(verify(&f) == 0, "after %u: %s", i, said.text);
    }
    ck_assert_uint_gt(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 10);
    fixture_end(&f);
}
END_TEST

/* A chunk whose longest free run is long enough for a payload that starts on a page, but starts between two: another chunk is
 * taken, from its beginning. */
START_TEST(sound_with_a_run_askew)
{
    static const uint32_t units[] = {9, 16, 17, 22}; /* of 1 KB: all of a chunk */
    afpa_extent_t extent;
    char name[16];
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        fixture_file(&f, name, units[i] * 1024, 1);
    }
    fixture_file(&f, "page", AFPA_REFERENCE_MIN, 1);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        fixture_load(&f, name);
    }
    for (unsigned i = 1; i < 3; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        ck_assert_int_eq(afpa_cache_purge(f.cache, fixture_path(&f, name), strlen(fixture_path(&f, name))), AFPA_OK);
    }
    ref = fixture_open(&f, "page");
    ck_assert_int_eq(afpa_cache_pin(&ref, 0, AFPA_PIN_REFERENCE, &extent), AFPA_OK);
    ck_assert(fixture_right(&extent, "page", 1, 0) && extent.by_reference);
    ck_assert_msg(verify(&f) == 0, "%s", said.text);
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* One problem per record: the first thousand are told, all are counted. */
START_TEST(too_many_to_tell)
{
    fixture_t f;

    state_begin(&f);
    for (uint32_t i = 0; i < 1500; i++)
        atomic_store(&f.segment->buckets[i].version, 1);
    ck_assert_uint_eq(verify(&f), 1500);
    ck_assert_uint_eq(said.count, 1000);
    fixture_drop(&f);
}
END_TEST

/* ---- while others use it ---- */

typedef struct traffic {
    fixture_t *f;
    unsigned number;
    _Atomic bool *over;
} traffic_t;

static void *use(void *arg)
{
    traffic_t *t = arg;
    uint64_t random = 3 + t->number;
    char path[FIXTURE_PATH];
    afpa_extent_t extent;
    afpa_counter_t why;
    afpa_ref_t ref;

    while (!atomic_load(t->over)) {
        snprintf(path, sizeof(path), "%s/f%u", t->f->dir, (unsigned)check_below(&random, 20));
        if (check_below(&random, 8) == 0)
            afpa_cache_purge(t->f->cache, path, strlen(path));
        if (afpa_cache_open(t->f->cache, path, strlen(path), &t->f->policy, &ref, &why, NULL) != AFPA_OK)
            continue;
        afpa_cache_fill(&ref, 0, afpa_ref_entries(&ref));
        if (afpa_cache_pin(&ref, afpa_ref_entries(&ref) - 1, AFPA_PIN_COPY, &extent) == AFPA_OK)
            afpa_cache_unpin(&extent);
        afpa_cache_release(&ref);
    }
    return NULL;
}

START_TEST(sound_while_in_use)
{
    _Atomic bool over = false;
    traffic_t t[3];
    pthread_t threads[3];
    size_t found = 0;
    char name[16];
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        fixture_file(&f, name, i * i * 1200, 1); /* twice what there is room for */
    }
    for (unsigned i = 0; i < 3; i++) {
        t[i] = (traffic_t){.f = &f, .number = i, .over = &over};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use, &t[i]), 0);
    }
    for (unsigned i = 0; i < 60 && found == 0; i++) {
        found = verify(&f);
        usleep(2000);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_msg(found == 0, "%s", said.text);
    ck_assert_uint_gt(fixture_counter(&f, AFPA_COUNTER_FILLS), 0);
    fixture_end(&f);
}
END_TEST

/* ---- content ---- */

static size_t verify_content(fixture_t *f)
{
    said.count = said.length = 0;
    said.text[0] = 0;
    return afpa_inspect_verify_content(f->cache, hear, &said);
}

static char *cached(fixture_t *f, uint32_t object, uint32_t index)
{
    afpa__entry_shared_t *e = &f->segment->entries[afpa__object_entry(f->segment, object, index)];

    return afpa__data_at(f->segment, e->chunk, e->offset, e->length);
}

static void change_nothing(fixture_t *f)
{
    (void)f;
}

static void change_first_byte(fixture_t *f)
{
    cached(f, SMALL, 0)[0] ^= 1;
}

static void change_last_byte(fixture_t *f)
{
    cached(f, BIG, 9)[FIXTURE_CHUNK - 1] ^= 1;
}

static void change_two_chunks(fixture_t *f)
{
    cached(f, BIG, 2)[5] ^= 1;
    cached(f, BIG, 3)[5] ^= 1;
}

static void change_file(fixture_t *f)
{
    fixture_file(f, "small", 1000, 2);
}

static void change_file_and_memory(fixture_t *f)
{
    fixture_file(f, "small", 1000, 2);
    change_first_byte(f);
}

static void remove_file(fixture_t *f)
{
    ck_assert_int_eq(unlink(fixture_path(f, "half")), 0);
}

static void shorten_file(fixture_t *f)
{
    ck_assert_int_eq(truncate(fixture_path(f, "big"), 100), 0);
}

/* With the same identity: what a stat() cannot see. */
static void other_bytes_same_identity(fixture_t *f)
{
    struct stat st;

    fixture_file(f, "small", 1000, 2);
    ck_assert_int_eq(stat(fixture_path(f, "small"), &st), 0);
    afpa__identity_of(&st, &f->segment->objects[SMALL].identity);
}

static const struct {
    const char *label;
    void (*change)(fixture_t *f);
    size_t problems;
    const char *name;
    uint64_t at;
} content_cases[] = {
    {"nothing", change_nothing, 0, NULL, 0},
    {"first byte in memory", change_first_byte, 1, "small", 0},
    {"last byte in memory", change_last_byte, 1, "big", 9 * FIXTURE_CHUNK},
    {"two chunks", change_two_chunks, 2, "big", 3 * FIXTURE_CHUNK},
    {"file, which is only stale", change_file, 0, NULL, 0},
    {"file and memory, which proves nothing", change_file_and_memory, 0, NULL, 0},
    {"file removed", remove_file, 0, NULL, 0},
    {"file shortened", shorten_file, 0, NULL, 0},
    {"other bytes, same identity", other_bytes_same_identity, 1, "small", 0},
};

START_TEST(content)
{
    char expected[FIXTURE_PATH + 64];
    fixture_t f;

    state_begin(&f);
    content_cases[_i].change(&f);
    ck_assert_msg(verify_content(&f) == content_cases[_i].problems, "%s: %s", content_cases[_i].label, said.text);
    ck_assert_uint_eq(said.count, content_cases[_i].problems);
    if (content_cases[_i].name) {
        snprintf(expected, sizeof(expected), "%s: bytes from %llu on differ from the file\n",
                 fixture_path(&f, content_cases[_i].name), (unsigned long long)content_cases[_i].at);
        ck_assert_msg(says(expected), "%s", said.text);
    }
    fixture_end(&f); /* lets go of all it held; in itself the segment is sound */
}
END_TEST

/* What is not in memory is not compared, what nobody finds is not either. */
START_TEST(content_of_parts)
{
    afpa_counter_t why;
    const char *path;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    f.policy.revalidate_ms = 100000;
    path = fixture_file(&f, "big", BIG_SIZE, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &why, NULL), AFPA_OK);
    ck_assert_uint_eq(verify_content(&f), 0);
    cached(&f, ref.object, 0)[0] ^= 1;
    ck_assert_uint_eq(verify_content(&f), 1);
    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert_uint_eq(verify_content(&f), 0);
    afpa_cache_release(&ref);
    afpa_cache_reap(f.cache);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("verify");

    check_add(suite, "sound", sound);
    check_add(suite, "sound_after_evictions", sound_after_evictions);
    check_add(suite, "sound_with_a_run_askew", sound_with_a_run_askew);
    check_add(suite, "too_many_to_tell", too_many_to_tell);
    check_add(suite, "sound_while_in_use", sound_while_in_use);
    check_add_loop(suite, "content", content, CHECK_COUNT(content_cases));
    check_add(suite, "content_of_parts", content_of_parts);
    return check_main(suite);
}
