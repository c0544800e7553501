/* SPDX-License-Identifier: Apache-2.0
 *
 * Fills: what may be opened, that bytes are compared with the file's identity, one reader per entry among threads and processes,
 * taking over from a reader that died, and that a failed fill leaves nothing behind.
 */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <time.h>

#include "cache.h"
#include "check_main.h"
#include "child.h"
#include "fill.h"
#include "fixture.h"
#include "object.h"
#include "pin.h"
#include "space.h"

#define ZONE (4u << 20)

/* ---- identity ---- */

START_TEST(identity)
{
    const struct stat base = {.st_dev = 1, .st_ino = 2, .st_size = 3, .st_mtim = {4, 5}, .st_ctim = {6, 7}};
    struct stat other = base;
    afpa_identity_t a, b;

    switch (_i) {
    case 0:
        other.st_dev++;
        break;
    case 1:
        other.st_ino++;
        break;
    case 2:
        other.st_size++;
        break;
    case 3:
        other.st_mtim.tv_sec++;
        break;
    case 4:
        other.st_mtim.tv_nsec++;
        break;
    case 5:
        other.st_ctim.tv_sec++;
        break;
    case 6:
        other.st_ctim.tv_nsec++;
        break;
    default:
        other.st_atim.tv_sec++;
        break; /* reading a file changes nothing */
    }
    memset(&a, 0xff, sizeof(a));
    afpa__identity_of(&base, &a);
    afpa__identity_of(&other, &b);
    ck_assert_int_eq(afpa__identity_same(&a, &b), _i == 7);
}
END_TEST

/* ---- opening ---- */

static void make_nothing(const char *path)
{
    (void)path;
}

static void make_directory(const char *path)
{
    ck_assert_int_eq(mkdir(path, 0755), 0);
}

static void make_fifo(const char *path)
{
    ck_assert_int_eq(mkfifo(path, 0644), 0);
}

static void make_loop(const char *path)
{
    ck_assert_int_eq(symlink(path, path), 0);
}

static const struct {
    void (*make)(const char *path);
    const char *below;
    afpa_counter_t why;
} refusals[] = {{make_nothing, "", AFPA_DECLINE_NOT_FOUND},
                {make_directory, "", AFPA_DECLINE_NOT_REGULAR},
                {make_fifo, "", AFPA_DECLINE_NOT_REGULAR},
                {make_fifo, "/below", AFPA_DECLINE_NOT_FOUND},
                {make_loop, "", AFPA_DECLINE_IO_ERROR}};

START_TEST(refused)
{
    char path[FIXTURE_PATH + 16];
    afpa_counter_t why = 0;
    afpa__file_t file;
    fixture_t f;

    fixture_begin(&f, ZONE);
    snprintf(path, sizeof(path), "%s%s", fixture_path(&f, "x"), refusals[_i].below);
    refusals[_i].make(fixture_path(&f, "x"));
    ck_assert_int_eq(afpa__file_open(path, &file, &why), AFPA_DECLINED);
    ck_assert_int_eq(why, refusals[_i].why);
    rmdir(fixture_path(&f, "x"));
    fixture_end(&f);
}
END_TEST

static child_result_t open_as_nobody(void *path)
{
    afpa_counter_t why = 0;
    afpa__file_t file;

    if (geteuid() == 0)
        CHILD_NEED(setgid(65534) == 0 && setuid(65534) == 0);
    CHILD_NEED(afpa__file_open(path, &file, &why) == AFPA_DECLINED && why == AFPA_DECLINE_PERMISSION);
    return CHILD_GOOD;
}

START_TEST(unreadable)
{
    const char *path;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 10, 1);
    ck_assert_int_eq(chmod(f.dir, 0755), 0);
    ck_assert_int_eq(chmod(path, 0), 0);
    child_run(open_as_nobody, (void *)(uintptr_t)path, "unreadable");
    fixture_end(&f);
}
END_TEST

/* A file that changed just now could change again within the same time stamp: opening waits that out. */
START_TEST(settles)
{
    struct timespec before, after;
    afpa__file_t file;
    afpa_counter_t why;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 10, 1);
    clock_gettime(CLOCK_MONOTONIC, &before);
    ck_assert_int_eq(afpa__file_open(fixture_path(&f, "a"), &file, &why), AFPA_OK);
    clock_gettime(CLOCK_MONOTONIC, &after);
    close(file.fd);
    ck_assert_int_gt((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec, 10000000);
    fixture_end(&f);
}
END_TEST

START_TEST(local)
{
    static const struct {
        const char *path;
        bool local;
    } cases[] = {{"/dev/shm", true}, {"/proc/self", false}, {"/sys", false}, {"/nowhere", false}};
    afpa__file_t file = {.fd = open(cases[_i].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};

    ck_assert_int_eq(afpa__file_is_local(&file), cases[_i].local);
    close(file.fd);
}
END_TEST

/* ---- reading ---- */

START_TEST(compared_with_identity)
{
    char bytes[100];
    afpa__file_t file;
    afpa_counter_t why;
    const char *path;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 100, 1);
    ck_assert_int_eq(afpa__file_open(path, &file, &why), AFPA_OK);
    ck_assert_int_eq(afpa__file_read(file.fd, &file.identity, bytes, 60, 40), AFPA_OK);
    for (unsigned i = 0; i < 60; i++)
        CHECK_THAT(bytes[i] == fixture_byte("a", 1, 40 + i));
    ck_assert_int_eq(afpa__file_read(file.fd, &file.identity, bytes, 60, 41), AFPA_CHANGED); /* it ends too early */
    ck_assert_int_eq(afpa__file_read(-1, &file.identity, bytes, 1, 0), AFPA_IO_ERROR);
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_int_eq(afpa__file_read(file.fd, &file.identity, bytes, 60, 40), AFPA_CHANGED);
    close(file.fd);
    fixture_end(&f);
}
END_TEST

/* A fill that fails: the entry is empty again, its room is back, it is counted, and nobody is shown a byte of it. */
START_TEST(failed)
{
    afpa_extent_t extent;
    afpa_ref_t ref;
    uint64_t used;
    const char *path;
    fixture_t f;
    int fd;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 2 * FIXTURE_CHUNK, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    used = f.segment->space->bytes_used;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(truncate(path, FIXTURE_CHUNK + 5), 0);
    ck_assert_int_eq(afpa__fill_entry(f.cache, ref.object, 1, fd, AFPA__EVICT_OBJECTS), AFPA_CHANGED);
    ck_assert_int_eq(afpa__fill_entry(f.cache, ref.object, 1, -1, AFPA__EVICT_OBJECTS), AFPA_IO_ERROR);
    ck_assert_int_eq(afpa__fill_entry(f.cache, ref.object, 2, fd, AFPA__EVICT_OBJECTS), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent), AFPA_EMPTY);
    ck_assert_uint_eq(f.segment->space->bytes_used, used);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILL_ERRORS), 2);
    close(fd);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* No room: the entry is empty again, for who may evict for it, and that is no error of reading. */
START_TEST(without_room)
{
    uint32_t chunk, offset;
    const char *path;
    afpa_ref_t ref;
    fixture_t f;
    int fd;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "b", FIXTURE_CHUNK, 1);
    fixture_load(&f, "b");
    path = fixture_file(&f, "a", 2 * FIXTURE_CHUNK, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    afpa__space_take(f.segment);
    while (afpa__room_alloc(f.segment, FIXTURE_CHUNK, AFPA__EVICT_NOTHING, &chunk, &offset))
        continue;
    afpa__space_release(f.segment);
    ck_assert_int_eq(afpa__fill_entry(f.cache, ref.object, 1, fd, AFPA__EVICT_NOTHING), AFPA_NO_SPACE);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 0);
    ck_assert_int_eq(afpa__fill_entry(f.cache, ref.object, 1, fd, AFPA__EVICT_OBJECTS), AFPA_OK);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_EVICTIONS), 1);
    ck_assert_int_eq(afpa__fill_entry(f.cache, ref.object, 1, -1, AFPA__EVICT_NOTHING), AFPA_OK); /* it is there */
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILL_ERRORS), 0);
    close(fd);
    afpa_cache_release(&ref);
    fixture_drop(&f);
}
END_TEST

/* ---- side by side ---- */

/* Whether the chunks of a file lie one behind the other, each filled by itself. */
static bool side_by_side(fixture_t *f, const char *name, uint32_t chunks)
{
    const char *path = fixture_path(f, name);
    const afpa__entry_shared_t *entries = f->segment->entries;
    bool good = true;
    afpa_ref_t ref;

    ck_assert_int_eq(afpa_cache_open(f->cache, path, strlen(path), &f->policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    for (uint32_t i = 0; i < chunks; i++) {
        ck_assert_int_eq(afpa_cache_fill(&ref, i, 1), AFPA_OK);
        good = good && entries[afpa__object_entry(f->segment, ref.object, i)].chunk == entries[ref.object].chunk + i;
    }
    afpa_cache_release(&ref);
    return good;
}

/* In a new zone, and in the room of a file that was evicted. */
START_TEST(neighbours)
{
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 10 * FIXTURE_CHUNK, 1);
    fixture_file(&f, "b", 20 * FIXTURE_CHUNK, 2);
    fixture_file(&f, "c", 10 * FIXTURE_CHUNK, 3);
    ck_assert(side_by_side(&f, "a", 10) && side_by_side(&f, "b", 20));
    ck_assert_int_eq(afpa_cache_purge(f.cache, fixture_path(&f, "a"), strlen(fixture_path(&f, "a"))), AFPA_OK);
    ck_assert(side_by_side(&f, "c", 10));
    fixture_end(&f);
}
END_TEST

/* ---- one reader ---- */

#define READERS 6
#define CHUNKS 12u

static void open_and_look(fixture_t *f, afpa_cache_t *cache, const char *path, _Atomic bool *wrong)
{
    afpa_counter_t why;
    afpa_extent_t extent;
    afpa_ref_t ref;

    if (afpa_cache_open(cache, path, strlen(path), &f->policy, &ref, &why, NULL) != AFPA_OK) {
        atomic_store(wrong, true);
        return;
    }
    for (uint32_t i = 0; i < CHUNKS; i++) {
        if (afpa_cache_fill(&ref, i, 1) != AFPA_OK || afpa_cache_pin(&ref, i, AFPA_PIN_COPY, &extent) != AFPA_OK) {
            atomic_store(wrong, true);
            continue;
        }
        if (!fixture_right(&extent, "a", 1, i * (uint64_t)FIXTURE_CHUNK))
            atomic_store(wrong, true);
        afpa_cache_unpin(&extent);
    }
    afpa_cache_release(&ref);
}

static child_result_t reader_child(void *arg)
{
    fixture_t *f = arg;
    _Atomic bool wrong = false;
    afpa_cache_t *own;
    afpa_error_t error;

    CHILD_NEED(afpa_cache_attach(f->zone, "reader", &own, &error) == AFPA_OK);
    open_and_look(f, own, fixture_path(f, "a"), &wrong);
    afpa_cache_detach(&own);
    CHILD_NEED(!atomic_load(&wrong));
    return CHILD_GOOD;
}

START_TEST(single_flight_of_processes)
{
    pid_t pids[READERS];
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", CHUNKS * FIXTURE_CHUNK, 1);
    for (unsigned i = 0; i < READERS; i++)
        pids[i] = child_start(reader_child, &f);
    for (unsigned i = 0; i < READERS; i++)
        ck_assert_int_eq(child_wait(pids[i]), 0);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_FILLS), CHUNKS);
    fixture_end(&f);
}
END_TEST

typedef struct crowd {
    fixture_t f;
    char path[FIXTURE_PATH];
    _Atomic bool wrong;
} crowd_t;

static void *reader_thread(void *arg)
{
    crowd_t *c = arg;

    open_and_look(&c->f, c->f.cache, c->path, &c->wrong);
    return NULL;
}

START_TEST(single_flight_of_threads)
{
    pthread_t threads[READERS];
    crowd_t c = {0};

    fixture_begin(&c.f, ZONE);
    snprintf(c.path, sizeof(c.path), "%s", fixture_file(&c.f, "a", CHUNKS * FIXTURE_CHUNK, 1));
    for (unsigned i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, reader_thread, &c), 0);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert(!atomic_load(&c.wrong));
    ck_assert_uint_eq(fixture_counter(&c.f, AFPA_COUNTER_FILLS), CHUNKS);
    fixture_end(&c.f);
}
END_TEST

/* Two readers leave the same line at once, again and again: one of them reads, and no byte of the zone is taken twice. */
#define ROUNDS 40000u

typedef struct race {
    fixture_t f;
    uint32_t object, entry;
    int fd;
    _Atomic unsigned started, ended;
} race_t;

static void race_leg(race_t *r, unsigned round)
{
    for (unsigned spins = 0; atomic_load(&r->started) < round; spins++)
        if (spins > 2000)
            sched_yield();
    CHECK_THAT(afpa__fill_entry(r->f.cache, r->object, 1, r->fd, AFPA__EVICT_OBJECTS) == AFPA_OK);
}

static void *race_thread(void *arg)
{
    race_t *r = arg;

    for (unsigned round = 1; round <= ROUNDS; round++) {
        race_leg(r, round);
        atomic_store(&r->ended, round);
    }
    return NULL;
}

static void race_empty(race_t *r)
{
    afpa__segment_t *s = r->f.segment;

    afpa__space_take(s);
    CHECK_THAT(afpa__pin_drain(s, r->entry));
    afpa__entry_free(s, r->entry);
    afpa__space_release(s);
}

START_TEST(single_flight_of_two)
{
    race_t r = {0};
    const char *path;
    pthread_t thread;
    afpa_ref_t ref;
    uint64_t used;

    fixture_begin(&r.f, ZONE);
    path = fixture_file(&r.f, "a", FIXTURE_CHUNK + 1, 1);
    ck_assert_int_eq(afpa_cache_open(r.f.cache, path, strlen(path), &r.f.policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    used = r.f.segment->space->bytes_used;
    r.object = ref.object;
    r.entry = afpa__object_entry(r.f.segment, ref.object, 1);
    r.fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(pthread_create(&thread, NULL, race_thread, &r), 0);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        atomic_store(&r.started, round);
        for (unsigned spins = 0; spins < round % 200; spins++) /* the other hears of it later than this thread does */
            (void)atomic_load(&r.started);
        race_leg(&r, round);
        while (atomic_load(&r.ended) < round)
            sched_yield();
        race_empty(&r);
    }
    pthread_join(thread, NULL);
    ck_assert_uint_eq(r.f.segment->space->bytes_used, used);
    ck_assert_uint_eq(fixture_counter(&r.f, AFPA_COUNTER_FILLS), ROUNDS + 1);
    close(r.fd);
    afpa_cache_release(&ref);
    fixture_end(&r.f);
}
END_TEST

/* Who waits is woken when the reading has ended, and does not wait out its time. */
typedef struct waiting {
    fixture_t f;
    uint32_t object;
    int fd;
    struct timespec ended;
} waiting_t;

static void *wait_for_fill(void *arg)
{
    waiting_t *w = arg;

    CHECK_THAT(afpa__fill_entry(w->f.cache, w->object, 1, w->fd, AFPA__EVICT_OBJECTS) == AFPA_OK);
    clock_gettime(CLOCK_MONOTONIC, &w->ended);
    return NULL;
}

/* Nanoseconds from the end of a reading to that of the wait for it. */
static int64_t time_to_wake(waiting_t *w, uint32_t entry)
{
    _Atomic uint64_t *word = &w->f.segment->entries[entry].word;
    uint64_t generation = afpa__word_generation(atomic_load(word));
    struct timespec pause = {0, 7000000}, done;
    pthread_t thread;

    atomic_store(word, afpa__word(AFPA__FILLING, w->f.cache->ledger.slot, generation));
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_fill, w), 0);
    while (atomic_load(&w->f.segment->space->fill_waiters) == 0)
        sched_yield();
    nanosleep(&pause, NULL); /* it sleeps by now */
    clock_gettime(CLOCK_MONOTONIC, &done);
    atomic_store(word, afpa__word(AFPA__PINNED, 0, generation));
    afpa__fill_wake(w->f.segment, entry);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(atomic_load(&w->f.segment->space->fill_waiters), 0);
    return (int64_t)(w->ended.tv_sec - done.tv_sec) * 1000000000 + w->ended.tv_nsec - done.tv_nsec;
}

START_TEST(woken)
{
    unsigned late = 0;
    waiting_t w = {0};
    const char *path;
    uint32_t entry;
    afpa_ref_t ref;

    fixture_begin(&w.f, ZONE);
    path = fixture_file(&w.f, "a", FIXTURE_CHUNK + 1, 1);
    ref = fixture_open(&w.f, "a");
    w.object = ref.object;
    entry = afpa__object_entry(w.f.segment, ref.object, 1);
    w.fd = open(path, O_RDONLY | O_CLOEXEC);
    for (unsigned round = 0; round < 9; round++)
        late += time_to_wake(&w, entry) > 20000000; /* of the 43 ms that were left */
    ck_assert_uint_lt(late, 5);
    close(w.fd);
    afpa_cache_release(&ref);
    fixture_end(&w.f);
}
END_TEST

/* ---- a reader that died ---- */

static child_result_t die_filling(void *arg)
{
    fixture_t *f = arg;
    afpa_cache_t *own;
    afpa_error_t error;
    afpa_ref_t ref;
    uint32_t entry;

    CHILD_NEED(afpa_cache_attach(f->zone, "reader", &own, &error) == AFPA_OK);
    CHILD_NEED(afpa_cache_lookup(own, fixture_path(f, "a"), strlen(fixture_path(f, "a")), 1000000, &ref) == AFPA_OK);
    entry = afpa__object_entry(f->segment, ref.object, 1);
    atomic_store(&f->segment->entries[entry].word,
                 afpa__word(AFPA__FILLING, own->ledger.slot, afpa__word_generation(atomic_load(&f->segment->entries[entry].word))));
    raise(SIGKILL);
    return CHILD_BAD;
}

/* Its entry and its pins are taken back by who waits for it. */
START_TEST(reader_died)
{
    const char *path;
    afpa_extent_t extent;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 2 * FIXTURE_CHUNK, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &(afpa_counter_t){0}, NULL), AFPA_OK);
    ck_assert(WIFSIGNALED(child_wait(child_start(die_filling, &f))));
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent), AFPA_EMPTY);
    ck_assert_int_eq(afpa_cache_fill(&ref, 1, 1), AFPA_OK);
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent), AFPA_OK);
    ck_assert(fixture_right(&extent, "a", 1, FIXTURE_CHUNK));
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REAPED), 1);
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fill");
    TCase *loops = tcase_create("loops");

    check_add(suite, "unreadable", unreadable);
    check_add(suite, "settles", settles);
    check_add(suite, "compared_with_identity", compared_with_identity);
    check_add(suite, "failed", failed);
    check_add(suite, "without_room", without_room);
    check_add(suite, "neighbours", neighbours);
    check_add(suite, "single_flight_of_processes", single_flight_of_processes);
    check_add(suite, "woken", woken);
    check_add(suite, "reader_died", reader_died);
    tcase_add_loop_test(loops, identity, 0, 8);
    tcase_add_loop_test(loops, refused, 0, CHECK_COUNT(refusals));
    tcase_add_loop_test(loops, local, 0, 4);
    suite_add_tcase(suite, loops);
    check_add(suite, "single_flight_of_two", single_flight_of_two);
    check_add(suite, "single_flight_of_threads", single_flight_of_threads); /* last: a fork after it inherits its stacks */
    return check_main(suite);
}
