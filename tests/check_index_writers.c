/* SPDX-License-Identifier: Apache-2.0
 *
 * The index and its writers: look-ups without a lock stay right while keys come and go around them; what a writer leaves that
 * died is dropped, and no more; a shard that cannot be had is named.
 */
#include "config.h"

#include <pthread.h>

#include <afpa/log.h>

#include "child.h"
#include "index_records.h"
#include "key.h"

/* ---- a writer that dies ---- */

/* In the middle of a change of the shard of HASH: the version odd, the chain leading nowhere. */
static child_result_t die_writing(void *arg)
{
    fixture_t *f = arg;
    afpa__bucket_shared_t *b = &f->segment->buckets[afpa__key_bucket(f->segment, HASH)];

    afpa__shard_take(f->segment, HASH);
    atomic_fetch_or(&b->version, 1);
    atomic_store(&b->head, f->segment->layout.objects + 7);
    raise(SIGKILL);
    return CHILD_BAD;
}

static void mend_take(afpa__segment_t *s)
{
    afpa__shard_take(s, HASH);
    afpa__shard_release(s, HASH);
}

static void mend_try(afpa__segment_t *s)
{
    afpa__space_take(s);
    ck_assert(afpa__shard_try(s, HASH));
    afpa__shard_release(s, HASH);
    afpa__space_release(s);
}

#ifndef __SANITIZE_THREAD__ /* whose pthread_mutex_timedlock() overlooks that EOWNERDEAD means "held" */
static void mend_all(afpa__segment_t *s)
{
    uint32_t failed;

    ck_assert(afpa__shards_take_all(s, &failed));
    afpa__shards_release_all(s);
}
#endif

static void (*const menders[])(afpa__segment_t *) = {
    mend_take,
    mend_try,
#ifndef __SANITIZE_THREAD__
    mend_all,
#endif
};

static void warned(void *context, afpa_log_level_t level, const char *line)
{
    if (level == AFPA_LOG_WARN)
        snprintf(context, 256, "%s", line);
}

START_TEST(writer_dies)
{
    uint32_t lost, held, kept, other;
    char line[256] = "", expected[256];
    afpa__bucket_shared_t *b;
    fixture_t f;

    fixture_begin(&f, ZONE);
    b = &f.segment->buckets[afpa__key_bucket(f.segment, HASH)];
    lost = publish(f.cache, HASH, "/lost");
    held = publish(f.cache, HASH + AFPA_SHARDS, "/held");
    kept = publish(f.cache, HASH + 1, "/kept");
    ck_assert(afpa__pin_raise(&f.cache->ledger, held, AFPA__PIN_ONE));
    ck_assert_int_eq(WTERMSIG(child_wait(child_start(die_writing, &f))), SIGKILL);
    ck_assert_uint_eq(look(f.cache, HASH, "/lost", 5), AFPA_NONE);

    afpa_log_set(warned, line, AFPA_LOG_WARN);
    menders[_i](f.segment);
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    snprintf(expected, sizeof(expected), "zone %s: a process died while it changed the index; shard 0 is dropped",
             afpa_zone_name(f.zone));
    ck_assert_str_eq(line, expected);
    ck_assert_uint_eq(atomic_load(&b->head), AFPA_NONE);
    ck_assert_uint_eq(atomic_load(&b->version) % 2, 0);
    ck_assert(both_find(&f, HASH, "/lost", AFPA_NONE) && both_find(&f, HASH + AFPA_SHARDS, "/held", AFPA_NONE));
    ck_assert(both_find(&f, HASH + 1, "/kept", kept)); /* the other shards live on */
    ck_assert_uint_eq(atomic_load(&f.segment->objects[lost].phase), AFPA__PHASE_FREE);
    ck_assert_uint_eq(atomic_load(&f.segment->objects[held].phase), AFPA__PHASE_RETIRED);
    ck_assert_uint_eq(afpa__word_state(atomic_load(&f.segment->entries[held].word)), AFPA__DRAINING);
    other = publish(f.cache, HASH, "/lost");
    ck_assert(both_find(&f, HASH, "/lost", other));
    afpa__pin_drop(&f.cache->ledger, held);
    retire_all(&f);
    afpa_cache_reap(f.cache);
    fixture_end(&f);
}
END_TEST

static child_result_t hold_shard_5(void *arg)
{
    afpa__shard_take(((fixture_t *)arg)->segment, 5);
    *(volatile uint32_t *)&((fixture_t *)arg)->segment->header->unused = 1;
    while (pause() == -1)
        continue;
    return CHILD_BAD;
}

/* One shard that cannot be had: a look at the whole gives up after seconds, names it, and lets go of the others. */
START_TEST(not_all_shards)
{
    uint32_t failed = 99;
    fixture_t f;
    pid_t pid;

    fixture_begin(&f, ZONE);
    pid = child_start(hold_shard_5, &f);
    while (!*(volatile uint32_t *)&f.segment->header->unused)
        usleep(200);
    ck_assert(!afpa__shards_take_all(f.segment, &failed));
    ck_assert_uint_eq(failed, 5);
    for (uint64_t shard = 0; shard < AFPA_SHARDS; shard++) {
        ck_assert(afpa__shard_try(f.segment, shard) == (shard != 5));
        if (shard != 5)
            afpa__shard_release(f.segment, shard);
    }
    kill(pid, SIGKILL);
    child_wait(pid);
    mend_take(f.segment);
    afpa__shard_take(f.segment, 5);
    afpa__shard_release(f.segment, 5);
    fixture_end(&f);
}
END_TEST

/* ---- readers and writers at once ---- */

#define WRITERS 2u
#define READERS 2u
#define KEYS 48u   /* per writer, all in four buckets of one shard */
#define STEADY 16u /* that nobody changes, in buckets of the same shard */
#define WRITES 4000u

typedef struct traffic {
    afpa_cache_t *cache;
    unsigned number;
    unsigned found, wrong, lost;
    _Atomic bool *over;
} traffic_t;

static uint64_t hash_of(unsigned number)
{
    return (uint64_t)(number / 2) << 32 | (number % 4) * AFPA_SHARDS; /* two keys for each hash */
}

static uint64_t steady_hash(unsigned number)
{
    return (uint64_t)number << 32 | (8 + number) * AFPA_SHARDS;
}

static void key_of(char *key, size_t size, unsigned number)
{
    snprintf(key, size, "/key/%u/%.*s", number, (int)(number % 20), "abcdefghijklmnopqrst");
}

/* Brings a key and takes it away again: its own writer must see both. */
static void *write_keys(void *arg)
{
    traffic_t *t = arg;
    uint32_t objects[KEYS];
    uint64_t random = 5 + t->number;
    char key[64];

    memset(objects, 0xff, sizeof(objects));
    for (unsigned i = 0; i < WRITES; i++) {
        unsigned which = (unsigned)check_below(&random, KEYS), number = which * WRITERS + t->number, tries = 0;

        key_of(key, sizeof(key), number);
        if (objects[which] == AFPA_NONE) {
            objects[which] = publish(t->cache, hash_of(number), key);
            t->wrong += search(t->cache, hash_of(number), key, strlen(key)) != objects[which];
            while (look(t->cache, hash_of(number), key, strlen(key)) != objects[which] && tries++ < 100000)
                sched_yield(); /* the other writer is at this bucket */
            t->lost += tries >= 100000;
        } else {
            retire(t->cache, objects[which]);
            objects[which] = AFPA_NONE;
            t->wrong += look(t->cache, hash_of(number), key, strlen(key)) != AFPA_NONE;
        }
    }
    return NULL;
}

/* What is found is what was looked for, and stays so as long as it is held. */
static void read_key(traffic_t *t, uint64_t hash, const char *key, bool steady)
{
    const afpa__segment_t *s = t->cache->segment;
    size_t length = strlen(key);
    uint64_t generation;
    uint32_t object;

    if (!afpa__index_pin(&t->cache->ledger, hash, key, length, AFPA__PIN_ONE, &object, &generation)) {
        t->lost += steady;
        return;
    }
    t->found++;
    for (unsigned i = 0; i < 3; i++)
        t->wrong += s->objects[object].key_length != length || memcmp(afpa__object_key(s, &s->objects[object]), key, length) != 0 ||
                    afpa__word_generation(atomic_load(&s->entries[object].word)) != generation;
    afpa__pin_drop(&t->cache->ledger, object);
}

static void *read_keys(void *arg)
{
    traffic_t *t = arg;
    uint64_t random = 99 + t->number;
    char key[64];

    for (unsigned i = 0; i < 1000 || !atomic_load(t->over); i++) {
        unsigned number = (unsigned)check_below(&random, KEYS * WRITERS), steady = (unsigned)check_below(&random, STEADY);

        key_of(key, sizeof(key), number);
        read_key(t, hash_of(number), key, false);
        key_of(key, sizeof(key), steady);
        read_key(t, steady_hash(steady), key, true);
    }
    return NULL;
}

START_TEST(readers_and_writers)
{
    traffic_t t[WRITERS + READERS];
    pthread_t threads[WRITERS + READERS];
    _Atomic bool over = false;
    char key[64];
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (unsigned i = 0; i < STEADY; i++) {
        key_of(key, sizeof(key), i);
        ck_assert_uint_ne(publish(f.cache, steady_hash(i), key), AFPA_NONE);
    }
    for (unsigned i = 0; i < WRITERS + READERS; i++) {
        t[i] = (traffic_t){.cache = fixture_attach(&f), .number = i, .over = &over};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < WRITERS ? write_keys : read_keys, &t[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS + READERS; i++) {
        if (i == WRITERS)
            atomic_store(&over, true);
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < WRITERS + READERS; i++) {
        ck_assert_uint_eq(t[i].wrong, 0);
        ck_assert_uint_eq(t[i].lost, 0);
        ck_assert(i < WRITERS || t[i].found > 0);
        afpa_cache_detach(&t[i].cache);
    }
    retire_all(&f);
    afpa_cache_reap(f.cache);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("index_writers");

    check_add_loop(suite, "writer_dies", writer_dies, CHECK_COUNT(menders));
    check_add(suite, "not_all_shards", not_all_shards);
    check_add(suite, "readers_and_writers", readers_and_writers); /* last: what libc keeps of a thread, a forked child would leak */
    return check_main(suite);
}
