/* SPDX-License-Identifier: Apache-2.0
 *
 * A policy that forbids evicting: files are loaded as long as there is free room, nothing is dropped for them, and what finds no
 * room leaves nothing behind.
 */
#include "config.h"

#include "cache.h"
#include "check_main.h"
#include "child.h"
#include "fixture.h"

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

static const char *numbered(unsigned number)
{
    static char name[16];

    snprintf(name, sizeof(name), "n%u", number);
    return name;
}

/* Whether all of the object is in memory. */
static bool is_whole(fixture_t *f, const char *name)
{
    afpa_extent_t extent;
    afpa_ref_t ref;
    uint32_t index;

    if (lookup_named(f, name, 1000000, &ref) > AFPA_CHECK_DUE)
        return false;
    for (index = 0; index < afpa_ref_entries(&ref); index++) {
        if (afpa_cache_pin(&ref, index, AFPA_PIN_COPY, &extent) != AFPA_OK)
            break;
        afpa_cache_unpin(&extent);
    }
    index = afpa_ref_entries(&ref) - index;
    afpa_cache_release(&ref);
    return index == 0;
}

/* Loads all of a file, or nothing.  false: there is no room for it. */
static bool load_whole(fixture_t *f, const char *name)
{
    afpa_counter_t why;
    afpa_status_t status;
    afpa_ref_t ref;

    status = open_named(f, name, &ref, &why);
    if (status != AFPA_OK) {
        ck_assert_int_eq(status, AFPA_DECLINED);
        ck_assert_int_eq(why, AFPA_DECLINE_NO_SPACE);
        return false;
    }
    ck_assert_int_eq(ref.no_evict, f->policy.no_evict);
    for (uint32_t index = 0; index < afpa_ref_entries(&ref) && status == AFPA_OK; index++)
        status = afpa_cache_fill(&ref, index, 4);
    afpa_cache_release(&ref);
    if (status == AFPA_OK)
        return true;
    ck_assert_int_eq(status, AFPA_NO_SPACE);
    ck_assert_int_eq(afpa_cache_purge(f->cache, fixture_path(f, name), strlen(fixture_path(f, name))), AFPA_OK);
    return false;
}

static const uint64_t loaded_sizes[] = {0, 100, 6000, 20000, 65536, 100000, 300000, 700000};

/* Makes more files than can be cached, and lets them settle. */
static void make_too_many(fixture_t *f, uint64_t size)
{
    uint64_t fit = size ? f->segment->layout.data_length / size : UINT64_MAX;

    for (unsigned i = 0; i <= fit && i <= f->segment->layout.objects; i++)
        fixture_file(f, numbered(i), size, 1);
    usleep(30000);
}

/* Whatever their size, files are loaded until one finds no room; nothing is dropped for it, nothing is left of it, and no error
 * is counted.  With leave to evict it is loaded then. */
START_TEST(until_full)
{
    unsigned count = 0;
    uint64_t used, cached;
    fixture_t f;

    fixture_begin(&f, ZONE / 2);
    make_too_many(&f, loaded_sizes[_i]);
    f.policy.no_evict = true;
    while (load_whole(&f, numbered(count)))
        count++;
    ck_assert_uint_gt(count, 1);
    used = f.segment->space->bytes_used;
    cached = f.segment->space->bytes_cached;
    ck_assert_uint_eq(cached, count * loaded_sizes[_i]);
    ck_assert(!load_whole(&f, numbered(count)));
    ck_assert_uint_eq(f.segment->space->bytes_used, used);
    for (unsigned i = 0; i < count; i++)
        ck_assert_msg(is_whole(&f, numbered(i)), "n%u of %u is not all there", i, count);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 0);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILL_ERRORS), 0);
    f.policy.no_evict = false;
    ck_assert(load_whole(&f, numbered(count)));
    ck_assert_uint_gt(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 0);
    fixture_end(&f);
}
END_TEST

/* A file with more whole chunks than are free is refused before a byte of it is read, and what is cached already is not read
 * anew for want of room. */
START_TEST(too_large_for_what_is_free)
{
    uint64_t fills, used;
    fixture_t f;

    fixture_begin(&f, ZONE);
    f.policy.no_evict = true;
    fixture_file(&f, "a", 20 * (uint64_t)FIXTURE_CHUNK, 1);
    ck_assert(load_whole(&f, "a"));
    fixture_file(&f, "b", f.segment->space->free_chunks * FIXTURE_CHUNK + FIXTURE_CHUNK, 1);
    fills = fixture_counter(&f, AFPA_COUNTER_FILLS);
    used = f.segment->space->bytes_used;
    ck_assert(!load_whole(&f, "b"));
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILLS), fills);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_RETIRED), 0);
    ck_assert_uint_eq(f.segment->space->bytes_used, used);
    ck_assert(load_whole(&f, "a"));
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILLS), fills);
    ck_assert(is_whole(&f, "a"));
    fixture_end(&f);
}
END_TEST

/* What was there in part, and does not fit as a whole, stays as it was found; so does what others hold chunks of. */
START_TEST(found_in_part)
{
    afpa_counter_t why;
    afpa_extent_t extent;
    afpa_ref_t part, ref;
    const char *path;
    bool fresh = false;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "part", 40 * (uint64_t)FIXTURE_CHUNK, 1);
    ck_assert_int_eq(open_named(&f, "part", &part, &why), AFPA_OK);
    ck_assert_int_eq(afpa_cache_fill(&part, 1, 3), AFPA_OK);
    f.policy.no_evict = true;
    fixture_file(&f, "other", 30 * (uint64_t)FIXTURE_CHUNK, 1);
    ck_assert(load_whole(&f, "other"));
    path = fixture_path(&f, "part");
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &why, &fresh), AFPA_OK);
    ck_assert(fresh);
    ck_assert_int_eq(afpa_cache_fill(&ref, 4, 36), AFPA_OK); /* as far as there is room */
    ck_assert_int_eq(afpa_cache_fill(&ref, 39, 1), AFPA_NO_SPACE);
    ck_assert_int_eq(afpa_cache_pin(&ref, 3, AFPA_PIN_COPY, &extent), AFPA_OK);
    afpa_cache_unpin(&extent);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 0);
    ck_assert(is_whole(&f, "other"));
    afpa_cache_release(&ref);
    ck_assert_int_eq(afpa_cache_fill(&part, 39, 1), AFPA_OK); /* this one may evict */
    ck_assert_uint_gt(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 0);
    afpa_cache_release(&part);
    fixture_end(&f);
}
END_TEST

/* A ref says how it was opened: a copy the same, one by look-up that it may evict, whatever the memory held before. */
START_TEST(no_evict_of_a_ref)
{
    afpa_counter_t why;
    afpa_ref_t ref, copy;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 10, 1);
    f.policy.no_evict = true;
    memset(&ref, 0xff, sizeof(ref));
    ck_assert_int_eq(open_named(&f, "a", &ref, &why), AFPA_OK);
    afpa_cache_ref_copy(&ref, &copy);
    ck_assert(ref.no_evict && copy.no_evict);
    afpa_cache_release(&ref);
    afpa_cache_release(&copy);
    ck_assert_int_eq(lookup_named(&f, "a", 1000000, &copy), AFPA_OK);
    ck_assert(!copy.no_evict);
    afpa_cache_release(&copy);
    fixture_end(&f);
}
END_TEST

/* Room that is free but for being noticed is free: of a retired object after its last pin … */
START_TEST(free_after_the_last_pin)
{
    const char *path;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 30 * (uint64_t)FIXTURE_CHUNK, 1);
    fixture_file(&f, "b", 40 * (uint64_t)FIXTURE_CHUNK, 1);
    ref = fixture_open(&f, "a");
    path = fixture_path(&f, "a");
    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_OK);
    f.policy.no_evict = true;
    ck_assert(!load_whole(&f, "b"));
    afpa_cache_release(&ref);
    ck_assert(load_whole(&f, "b"));
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 0);
    fixture_end(&f);
}
END_TEST

/* … and of processes that died. */
static child_result_t die_holding(void *arg)
{
    fixture_t *f = arg;
    afpa_cache_t *own;
    afpa_error_t error;
    afpa_ref_t ref;

    CHILD_NEED(afpa_cache_attach(f->zone, "child", &own, &error) == AFPA_OK);
    CHILD_NEED(afpa_cache_lookup(own, fixture_path(f, "a"), strlen(fixture_path(f, "a")), 1000000, &ref) == AFPA_OK);
    raise(SIGKILL);
    return CHILD_BAD;
}

/* Small enough for its record to be made; its first chunk finds room when the dead are reaped. */
START_TEST(free_after_a_death)
{
    unsigned count = 0;
    const char *path;
    fixture_t f;

    fixture_begin(&f, ZONE / 2);
    fixture_file(&f, "a", 4 * FIXTURE_CHUNK, 1);
    fixture_load(&f, "a");
    ck_assert(WIFSIGNALED(child_wait(child_start(die_holding, &f))));
    path = fixture_path(&f, "a");
    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert_uint_gt(fixture_pins(&f), 0);
    make_too_many(&f, 20000);
    f.policy.no_evict = true;
    while (load_whole(&f, numbered(count)))
        count++;
    ck_assert_uint_eq(fixture_pins(&f), 0);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REAPED), 1);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 0);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache_no_evict");
    TCase *loops = tcase_create("loops");

    check_add(suite, "too_large_for_what_is_free", too_large_for_what_is_free);
    check_add(suite, "found_in_part", found_in_part);
    check_add(suite, "no_evict_of_a_ref", no_evict_of_a_ref);
    check_add(suite, "free_after_the_last_pin", free_after_the_last_pin);
    check_add(suite, "free_after_a_death", free_after_a_death);
    tcase_set_timeout(loops, 60);
    tcase_add_loop_test(loops, until_full, 0, CHECK_COUNT(loaded_sizes));
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
