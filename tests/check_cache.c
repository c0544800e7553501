/* SPDX-License-Identifier: Apache-2.0
 *
 * A process's use of a zone, call by call: each status a call can return, what is held after it, and that bytes are those of one
 * version of a file, whatever happens to the file, to the zone's room or to other processes.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cache.h"
#include "check_main.h"
#include "child.h"
#include "clock.h"
#include "fixture.h"
#include "index.h"
#include "space.h"

#define ZONE (4u << 20)

static afpa_status_t open_named(fixture_t *f, const char *name, afpa_ref_t *ref, afpa_counter_t *why)
{
    const char *path = fixture_path(f, name);

    return afpa_cache_open(f->cache, path, strlen(path), &f->policy, ref, why, NULL);
}

static afpa_status_t lookup_named(fixture_t *f, const char *name, uint32_t ms, afpa_ref_t *ref)
{
    const char *path = fixture_path(f, name);

    return afpa_cache_lookup(f->cache, path, strlen(path), ms, ref);
}

/* ---- look-ups ---- */

START_TEST(statuses_of_lookup)
{
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_clock_stop();
    fixture_file(&f, "a", 100, 1);
    ck_assert_int_eq(lookup_named(&f, "a", 1000, &ref), AFPA_MISS);
    ck_assert_ptr_null(ref.cache);
    fixture_load(&f, "a");
    ck_assert_int_eq(lookup_named(&f, "a", 1000, &ref), AFPA_OK);
    ck_assert_uint_eq(fixture_pins(&f), 1);
    afpa_cache_release(&ref);
    ck_assert_ptr_null(ref.cache);
    afpa_cache_release(&ref); /* holds nothing: legal */
    fixture_away(&f);
    ck_assert_int_eq(lookup_named(&f, "a", 0, &ref), AFPA_STALE);
    ck_assert_ptr_null(ref.cache);
    ck_assert_uint_eq(fixture_pins(&f), 0);
    fixture_clock_advance(600);
    ck_assert_int_eq(lookup_named(&f, "a", 1000, &ref), AFPA_CHECK_DUE);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

START_TEST(disabled)
{
    afpa_counter_t why;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 100, 1);
    fixture_load(&f, "a");
    atomic_store(&f.segment->header->enabled, 0);
    ck_assert_int_eq(lookup_named(&f, "a", 1000, &ref), AFPA_DISABLED);
    ck_assert_int_eq(open_named(&f, "a", &ref, &why), AFPA_DISABLED);
    ck_assert_ptr_null(ref.cache);
    atomic_store(&f.segment->header->enabled, 1);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    ck_assert_int_eq(afpa_cache_lookup(NULL, "/a", 2, 1000, &ref), AFPA_DISABLED);
    afpa_cache_count(NULL, AFPA_COUNTER_MISSES); /* legal, does nothing */
    fixture_end(&f);
}
END_TEST

/* A hit takes no lock: here every one of them is taken. */
START_TEST(no_lock_on_a_hit)
{
    afpa_extent_t extent;
    uint32_t failed;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 2 * FIXTURE_CHUNK, 1);
    fixture_load(&f, "a");
    ck_assert(afpa__shards_take_all(f.segment, &failed));
    afpa__space_take(f.segment);
    ck_assert_int_eq(lookup_named(&f, "a", 100000, &ref), AFPA_OK);
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_REFERENCE, &extent), AFPA_OK);
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
    ck_assert_int_eq(lookup_named(&f, "b", 100000, &ref), AFPA_MISS);
    afpa__space_release(f.segment);
    afpa__shards_release_all(f.segment);
    fixture_end(&f);
}
END_TEST

/* ---- opening ---- */

START_TEST(policy)
{
    afpa_counter_t why = 0;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 100, 1);
    f.policy.min_size = 101;
    ck_assert_int_eq(open_named(&f, "a", &ref, &why), AFPA_DECLINED);
    ck_assert_int_eq(why, AFPA_DECLINE_MIN_SIZE);
    ck_assert_int_eq(lookup_named(&f, "a", 1000, &ref), AFPA_DECLINED); /* remembered */
    ck_assert_int_eq(ref.why, AFPA_DECLINE_MIN_SIZE);
    f.policy.min_size = 100;
    f.policy.max_size = 99;
    ck_assert_int_eq(open_named(&f, "a", &ref, &why), AFPA_DECLINED);
    ck_assert_int_eq(why, AFPA_DECLINE_MAX_SIZE);
    f.policy.max_size = 100;
    f.policy.min_uses = 3;
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(open_named(&f, "a", &ref, &why), AFPA_DECLINED);
        ck_assert_int_eq(why, AFPA_DECLINE_MIN_USES);
    }
    ck_assert_int_eq(open_named(&f, "a", &ref, &why), AFPA_OK);
    afpa_cache_release(&ref);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_DECLINE_MIN_USES), 2);
    fixture_end(&f);
}
END_TEST

START_TEST(paths_that_are_none)
{
    static char endless[8192];
    static const char *const paths[] = {"", "a", "./a", endless};
    afpa_counter_t why = 0;
    afpa_ref_t ref;
    fixture_t f;

    memset(endless, '/', sizeof(endless) - 1);
    fixture_begin(&f, ZONE);
    ck_assert_int_eq(afpa_cache_open(f.cache, paths[_i], strlen(paths[_i]), &f.policy, &ref, &why, NULL), AFPA_DECLINED);
    ck_assert_int_eq(why, AFPA_DECLINE_PATH);
    ck_assert_int_eq(afpa_cache_check(f.cache, paths[_i], strlen(paths[_i])), AFPA_NOT_FOUND);
    fixture_end(&f);
}
END_TEST

/* ---- payload ---- */

static const uint64_t sizes[] = {0, 1, 4095, 32768, 65535, 65536, 65537, 1048577};

START_TEST(payload)
{
    uint64_t size = sizes[_i], total = 0;
    afpa_extent_t extent;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", size, 1);
    ref = fixture_open(&f, "a");
    ck_assert_uint_eq(afpa_ref_identity(&ref)->size, size);
    for (uint32_t i = 0; i < afpa_ref_entries(&ref); i++) {
        ck_assert_int_eq(afpa_cache_pin(&ref, i, AFPA_PIN_REFERENCE, &extent), AFPA_OK);
        ck_assert_ptr_nonnull(extent.data);
        ck_assert(fixture_right(&extent, "a", 1, i * (uint64_t)FIXTURE_CHUNK));
        ck_assert_int_eq(extent.by_reference, extent.length >= AFPA_REFERENCE_MIN);
        total += extent.length;
        afpa_cache_unpin(&extent);
        ck_assert_ptr_null(extent.cache);
    }
    ck_assert_uint_eq(total, size);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* An extent keeps the object, so does a copy of a ref. */
START_TEST(holds)
{
    afpa_extent_t extent;
    afpa_ref_t ref, copy;
    const char *path;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 2 * FIXTURE_CHUNK, 1);
    ref = fixture_open(&f, "a");
    afpa_cache_ref_copy(&ref, &copy);
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent), AFPA_OK);
    afpa_cache_release(&ref);
    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_NOT_FOUND);
    ck_assert_uint_eq(afpa_ref_identity(&copy)->size, 2 * FIXTURE_CHUNK);
    afpa_cache_release(&copy);
    ck_assert(fixture_right(&extent, "a", 1, FIXTURE_CHUNK));
    afpa_cache_unpin(&extent);
    fixture_end(&f);
}
END_TEST

/* The file is replaced: who holds the old version keeps its bytes, what is not in memory cannot be had any more. */
START_TEST(one_version)
{
    afpa_extent_t extent;
    afpa_ref_t ref, fresh;
    const char *path;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 3 * FIXTURE_CHUNK, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    fixture_file(&f, "a", 3 * FIXTURE_CHUNK, 2);
    ck_assert_int_eq(afpa_cache_fill(&ref, 1, 2), AFPA_CHANGED);
    ck_assert_int_eq(afpa_cache_read(&ref, 1, &extent), AFPA_CHANGED);
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent), AFPA_EMPTY);
    ck_assert_int_eq(afpa_cache_pin(&ref, 0, AFPA_PIN_COPY, &extent), AFPA_OK);
    ck_assert(fixture_right(&extent, "a", 1, 0));
    afpa_cache_unpin(&extent);
    fresh = fixture_open(&f, "a");
    ck_assert_int_eq(afpa_cache_pin(&fresh, 1, AFPA_PIN_COPY, &extent), AFPA_OK);
    ck_assert(fixture_right(&extent, "a", 2, FIXTURE_CHUNK));
    afpa_cache_unpin(&extent);
    afpa_cache_release(&fresh);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* A fill reads what is missing of its range, and leaves be what is there. */
START_TEST(range_of_a_fill)
{
    afpa_ref_t ref;
    const char *path;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 6 * FIXTURE_CHUNK, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    ck_assert_int_eq(afpa_cache_fill(&ref, 2, 1), AFPA_OK);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILLS), 2);
    ck_assert_int_eq(afpa_cache_fill(&ref, 0, 4), AFPA_OK);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILLS), 4);
    ck_assert_int_eq(afpa_cache_fill(&ref, 4, UINT32_MAX), AFPA_OK);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILLS), 6);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* A file three times the zone goes through it, chunk by chunk, right to the last byte. */
START_TEST(larger_than_the_zone)
{
    afpa_extent_t extent;
    const char *path;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 3 * (uint64_t)ZONE, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    for (uint32_t i = 0; i < afpa_ref_entries(&ref); i++) {
        ck_assert_int_eq(afpa_cache_fill(&ref, i, 8), AFPA_OK);
        ck_assert_int_eq(afpa_cache_pin(&ref, i, AFPA_PIN_COPY, &extent), AFPA_OK);
        ck_assert(fixture_right(&extent, "a", 1, i * (uint64_t)FIXTURE_CHUNK));
        afpa_cache_unpin(&extent);
    }
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* Everything is pinned: a new file is declined, one under way is read into memory of its own. */
START_TEST(everything_pinned)
{
    static afpa_extent_t pinned[128];
    uint32_t count = 0;
    afpa_extent_t own;
    afpa_counter_t why;
    const char *path;
    afpa_ref_t ref, other;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "b", FIXTURE_CHUNK, 1);
    path = fixture_file(&f, "a", 2 * (uint64_t)ZONE, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &why, NULL), AFPA_OK);
    while (afpa_cache_fill(&ref, count, 1) == AFPA_OK) {
        ck_assert_int_eq(afpa_cache_pin(&ref, count, AFPA_PIN_COPY, &pinned[count]), AFPA_OK);
        count++;
        ck_assert_uint_lt(count, 128);
    }
    ck_assert_int_eq(open_named(&f, "b", &other, &why), AFPA_DECLINED);
    ck_assert_int_eq(why, AFPA_DECLINE_NO_SPACE);
    ck_assert_int_eq(afpa_cache_read(&ref, count, &own), AFPA_OK);
    ck_assert(fixture_right(&own, "a", 1, count * (uint64_t)FIXTURE_CHUNK) && !own.by_reference);
    afpa_cache_unpin(&own);
    while (count > 0)
        afpa_cache_unpin(&pinned[--count]);
    ck_assert_int_eq(open_named(&f, "b", &other, &why), AFPA_OK);
    afpa_cache_release(&other);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* Bytes that a socket holds by reference outlive the chunk: evicted and filled with something else, the client gets the old ones.
 */
START_TEST(reference_outlives_the_chunk)
{
    static char got[FIXTURE_CHUNK];
    const char *path;
    afpa_extent_t extent;
    afpa_ref_t ref;
    fixture_t f;
    off_t at;
    int fds[2];
    ssize_t sent;
    char name[16];

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", FIXTURE_CHUNK, 1);
    ref = fixture_open(&f, "a");
    ck_assert_int_eq(afpa_cache_pin(&ref, 0, AFPA_PIN_REFERENCE, &extent), AFPA_OK);
    ck_assert(extent.by_reference);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    at = (off_t)extent.file_offset;
    sent = sendfile(fds[0], f.segment->fd, &at, extent.length);
    ck_assert_int_gt(sent, 0);
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_OK);
    for (unsigned i = 0; i < 80; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        fixture_file(&f, name, FIXTURE_CHUNK, 1);
        fixture_load(&f, name);
    }
    for (ssize_t have = 0, n; have < sent; have += n)
        ck_assert_int_gt(n = read(fds[1], got + have, (size_t)(sent - have)), 0);
    for (ssize_t i = 0; i < sent; i++)
        CHECK_THAT(got[i] == fixture_byte("a", 1, (uint64_t)i));
    close(fds[0]);
    close(fds[1]);
    fixture_end(&f);
}
END_TEST

/* ---- checks ---- */

START_TEST(checks)
{
    const char *path;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 10, 1);
    ck_assert_int_eq(afpa_cache_check(f.cache, path, strlen(path)), AFPA_NOT_FOUND);
    fixture_load(&f, "a");
    path = fixture_path(&f, "a");
    ck_assert_int_eq(afpa_cache_check(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(afpa_cache_check(f.cache, path, strlen(path)), AFPA_CHANGED);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_MISS);
    fixture_end(&f);
}
END_TEST

/* ---- a process that died ---- */

static child_result_t die_holding(void *arg)
{
    fixture_t *f = arg;
    afpa_extent_t extent;
    afpa_cache_t *own;
    afpa_error_t error;
    afpa_ref_t ref;

    CHILD_NEED(afpa_cache_attach(f->zone, "child", &own, &error) == AFPA_OK);
    CHILD_NEED(afpa_cache_lookup(own, fixture_path(f, "a"), strlen(fixture_path(f, "a")), 1000000, &ref) == AFPA_OK);
    CHILD_NEED(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent) == AFPA_OK);
    raise(SIGKILL);
    return CHILD_BAD;
}

START_TEST(pins_of_the_dead)
{
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 2 * FIXTURE_CHUNK, 1);
    fixture_load(&f, "a");
    ck_assert(WIFSIGNALED(child_wait(child_start(die_holding, &f))));
    ck_assert_uint_eq(fixture_pins(&f), 3);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 1);
    ck_assert_uint_eq(fixture_pins(&f), 0);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 0);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache");
    TCase *loops = tcase_create("loops");

    check_add(suite, "statuses_of_lookup", statuses_of_lookup);
    check_add(suite, "disabled", disabled);
    check_add(suite, "no_lock_on_a_hit", no_lock_on_a_hit);
    check_add(suite, "policy", policy);
    check_add(suite, "holds", holds);
    check_add(suite, "one_version", one_version);
    check_add(suite, "range_of_a_fill", range_of_a_fill);
    check_add(suite, "larger_than_the_zone", larger_than_the_zone);
    check_add(suite, "everything_pinned", everything_pinned);
    check_add(suite, "reference_outlives_the_chunk", reference_outlives_the_chunk);
    check_add(suite, "checks", checks);
    check_add(suite, "pins_of_the_dead", pins_of_the_dead);
    tcase_add_loop_test(loops, payload, 0, CHECK_COUNT(sizes));
    tcase_add_loop_test(loops, paths_that_are_none, 0, 4);
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
