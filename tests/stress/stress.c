/* SPDX-License-Identifier: Apache-2.0
 *
 * Stress: workers look up, open, fill, pin, send by reference, check, purge, and change the files under it all, on a zone far
 * smaller than the data, until the time is over.  Workers are processes, which are killed at random and die on purpose under each
 * lock and in the middle of a fill; or, with --threads, threads (ThreadSanitizer cannot see between processes).
 *
 * A byte of a file is a function of file, version and offset, the version stands in the file's time stamp, hence in the identity
 * of its object: so every byte handed out is checked, when it is pinned and again before it is let go.
 * At the end no pin is left, verify finds nothing, and once everything is purged every record, group, chunk and slot is free.
 * An activity that never happened fails the run too.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <afpa/log.h>

#include "cache.h"
#include "index.h"
#include "object.h"
#include "space.h"
#include "stress_files.h"
#include "zone.h"

#define ZONE_SIZE (4u << 20)
#define WORKERS 6u
#define THREADS_PER_CACHE 3u
#define HELD 4u
#define KILL_EVERY_MS 150u
#define VERIFY_EVERY_MS 1500u

/* Name, and whether threads can do it too. */
/* clang-format off */
#define ACTIVITIES(X)                                                   \
    X(HIT, "hits", 1)                                                   \
    X(OPENED, "opened", 1)                                              \
    X(DECLINED, "declined", 1)                                          \
    X(EMPTY, "chunks found empty", 1)                                   \
    X(BYTES, "MB checked", 1)                                           \
    X(CHECKED, "checks", 1)                                             \
    X(PURGED, "purged", 1)                                              \
    X(CUT, "replies cut by a change", 1)                                \
    X(OWN_MEMORY, "chunks read into memory of their own", 0)            \
    X(REFERENCE, "chunks sent by reference", 1)                         \
    X(REPLACED, "files replaced", 1)                                    \
    X(IN_PLACE, "files changed in place", 1)                            \
    X(SHORTENED, "files truncated", 1)                                  \
    X(RECREATED, "files deleted and made again", 1)                     \
    X(VERIFIED, "verifications while it ran", 1)                        \
    X(ATTACHED, "attached anew", 0)                                     \
    X(KILLED, "killed", 0)                                              \
    X(DIED_SPACE, "died under the space lock", 0)                       \
    X(DIED_SHARD, "died under a shard's lock", 0)                       \
    X(DIED_FILL, "died while filling", 0)                               \
    X(DIED_HOLDING, "died with pins", 0)
/* clang-format on */

enum {
#define X(id, text, threads) A_##id,
    ACTIVITIES(X)
#undef X
        A_LIMIT
};

static const struct {
    const char *text;
    bool threads;
    bool may_be_none;
} activities[] = {
#define X(id, text, threads) {text, threads, A_##id == A_OWN_MEMORY},
    ACTIVITIES(X)
#undef X
};

typedef struct shared {
    _Atomic bool stop, wrong;
    _Atomic uint64_t done[A_LIMIT], bytes;
    stress_files_t files;
} shared_t;

static shared_t *shared;
static afpa_zone_t *zone;
static bool threaded;
static const afpa_policy_t policy = {.max_size = UINT64_MAX, .revalidate_ms = 50, .min_uses = 1};

typedef struct worker {
    afpa_cache_t *cache;
    uint64_t random;
    int sockets[2];
} worker_t;

static uint64_t below(worker_t *w, uint64_t limit)
{
    return stress_random(&w->random) % limit;
}

static void did(int activity)
{
    atomic_fetch_add_explicit(&shared->done[activity], 1, memory_order_relaxed);
}

static void wrong(const char *what, const char *path, uint64_t at)
{
    fprintf(stderr, "stress: %s: %s at %llu\n", path, what, (unsigned long long)at);
    atomic_store(&shared->wrong, true);
}

/* ---- one reply ---- */

static void examine(const afpa_ref_t *ref, unsigned file, uint32_t index, const void *data, uint32_t length)
{
    uint64_t at = (uint64_t)index * afpa_zone_chunk_size(zone), bad;

    if (!stress_files_right(&shared->files, file, afpa_ref_identity(ref), at, data, length, &bad))
        wrong("wrong byte", shared->files.path[file], bad);
    atomic_fetch_add_explicit(&shared->bytes, length, memory_order_relaxed);
}

/* Has the kernel take references to the pages, lets go of them, and looks at what comes out some time later. */
static void send_reference(worker_t *w, const afpa_ref_t *ref, unsigned file, uint32_t index, afpa_extent_t *extent)
{
    static _Thread_local char got[1 << 16];
    off_t at = (off_t)extent->file_offset;
    ssize_t sent = sendfile(w->sockets[0], afpa__zone_segment(zone)->fd, &at, extent->length), have = 0;

    afpa_cache_unpin(extent);
    if (below(w, 2))
        usleep((useconds_t)below(w, 3000));
    while (have < sent) {
        ssize_t n = read(w->sockets[1], got + have, (size_t)(sent - have));

        if (n <= 0)
            break;
        have += n;
    }
    if (have > 0)
        examine(ref, file, index, got, (uint32_t)have);
    did(A_REFERENCE);
}

/* Pins a chunk, in memory or not.  false: the reply is cut. */
static bool take(worker_t *w, const afpa_ref_t *ref, uint32_t index, afpa_pin_mode_t mode, afpa_extent_t *extent)
{
    for (unsigned tries = 0; tries < 3; tries++) {
        afpa_status_t status;

        if (afpa_cache_pin(ref, index, mode, extent) == AFPA_OK)
            return true;
        did(A_EMPTY);
        status = afpa_cache_fill(ref, index, 1 + (uint32_t)below(w, 4));
        if (status == AFPA_NO_SPACE)
            break;
        if (status != AFPA_OK) {
            did(A_CUT);
            return false;
        }
    }
    if (afpa_cache_read(ref, index, extent) == AFPA_OK) {
        did(A_OWN_MEMORY);
        return true;
    }
    did(A_CUT);
    return false;
}

static void give_back(const afpa_ref_t *ref, unsigned file, uint32_t first, afpa_extent_t *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        examine(ref, file, first + i, extents[i].data, extents[i].length);
        afpa_cache_unpin(&extents[i]);
    }
}

static void reply(worker_t *w, const afpa_ref_t *ref, unsigned file)
{
    uint32_t entries = afpa_ref_entries(ref), first = (uint32_t)below(w, entries), count = 0;
    afpa_pin_mode_t mode = below(w, 4) ? AFPA_PIN_COPY : AFPA_PIN_REFERENCE;
    afpa_extent_t extents[HELD];

    while (count < HELD && first + count < entries) {
        if (!take(w, ref, first + count, mode, &extents[count]))
            break;
        examine(ref, file, first + count, extents[count].data, extents[count].length);
        count++;
    }
    if (count > 0 && extents[count - 1].by_reference) {
        count--;
        send_reference(w, ref, file, first + count, &extents[count]);
    }
    if (below(w, 4) == 0)
        usleep((useconds_t)below(w, 2000));
    give_back(ref, file, first, extents, count);
}

static bool hold(worker_t *w, unsigned file, afpa_ref_t *ref)
{
    const char *path = shared->files.path[file];
    afpa_status_t status = afpa_cache_lookup(w->cache, path, strlen(path), policy.revalidate_ms, ref);
    afpa_counter_t why;

    if (status == AFPA_OK || status == AFPA_CHECK_DUE) {
        did(A_HIT);
        return true;
    }
    if (status != AFPA_DECLINED && afpa_cache_open(w->cache, path, strlen(path), &policy, ref, &why, NULL) == AFPA_OK) {
        did(A_OPENED);
        return true;
    }
    did(A_DECLINED);
    return false;
}

static void request(worker_t *w)
{
    /* Half of the requests for a tenth of the files. */
    unsigned file = (unsigned)below(w, below(w, 2) ? STRESS_FILES : STRESS_FILES / 10);
    afpa_ref_t ref;

    if (!hold(w, file, &ref))
        return;
    reply(w, &ref, file);
    afpa_cache_release(&ref);
}

/* ---- other things ---- */

/* A file that is not there is declined, however often one asks. */
static void request_missing(worker_t *w)
{
    char path[128];
    afpa_counter_t why;
    afpa_ref_t ref;

    snprintf(path, sizeof(path), "%s/none", shared->files.dir);
    if (afpa_cache_open(w->cache, path, strlen(path), &policy, &ref, &why, NULL) != AFPA_OK) {
        did(A_DECLINED);
        return;
    }
    wrong("found", path, 0);
    afpa_cache_release(&ref);
}

static void change_file(worker_t *w)
{
    static const int kinds[] = {A_REPLACED, A_IN_PLACE, A_SHORTENED, A_RECREATED};
    unsigned kind = below(w, 2) ? 0 : (unsigned)below(w, 4);

    if (stress_files_change(&shared->files, (unsigned)below(w, STRESS_FILES), (stress_change_t)kind))
        did(kinds[kind]);
}

static void check_or_purge(worker_t *w)
{
    const char *path = shared->files.path[below(w, STRESS_FILES)];

    if (below(w, 3)) {
        afpa_cache_check(w->cache, path, strlen(path));
        did(A_CHECKED);
    } else if (afpa_cache_purge(w->cache, path, strlen(path)) == AFPA_OK) {
        did(A_PURGED);
    }
}

static void attach(worker_t *w)
{
    afpa_error_t error;

    for (unsigned tries = 0; afpa_cache_attach(zone, "stress", &w->cache, &error) != AFPA_OK; tries++) {
        if (tries == 100) {
            wrong(error.text, "attach", 0);
            exit(1);
        }
        usleep(10000);
    }
}

/* Dies as badly as it can. */
static void die(worker_t *w)
{
    afpa__segment_t *s = afpa__zone_segment(zone);
    uint32_t entry;
    uint64_t word;
    afpa_ref_t ref;

    switch (below(w, 4)) {
    case 0:
        did(A_DIED_SPACE);
        afpa__space_take(s);
        s->space->free_chunk = s->space->draining = AFPA_NONE;
        s->space->queue[AFPA__QUEUE_SMALL].tail = 0;
        break;
    case 1:
        did(A_DIED_SHARD);
        afpa__shard_take(s, below(w, 1u << 30));
        break;
    case 2:
        if (!hold(w, (unsigned)below(w, STRESS_FILES), &ref))
            return;
        entry = afpa__object_entry(s, ref.object, afpa_ref_entries(&ref) - 1);
        word = atomic_load(&s->entries[entry].word);
        if (afpa__word_state(word) != AFPA__EMPTY ||
            !atomic_compare_exchange_strong(&s->entries[entry].word, &word,
                                            afpa__word(AFPA__FILLING, w->cache->ledger.slot, afpa__word_generation(word)))) {
            afpa_cache_release(&ref);
            return;
        }
        did(A_DIED_FILL);
        break;
    default:
        if (!hold(w, (unsigned)below(w, STRESS_FILES), &ref))
            return;
        did(A_DIED_HOLDING);
    }
    raise(SIGKILL);
}

static void step(worker_t *w)
{
    uint64_t what = below(w, 1000);

    if (what < 960)
        request(w);
    else if (what < 975)
        check_or_purge(w);
    else if (what < 990)
        change_file(w);
    else if (what < 992)
        request_missing(w);
    else if (what < 996)
        afpa_cache_reap(w->cache);
    else if (!threaded && what < 998)
        die(w);
    else if (!threaded) {
        afpa_cache_detach(&w->cache);
        attach(w);
        did(A_ATTACHED);
    }
}

static void *work(void *arg)
{
    worker_t *w = arg;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, w->sockets) != 0) {
        wrong(strerror(errno), "socketpair", 0);
        return NULL;
    }
    while (!atomic_load(&shared->stop) && !atomic_load(&shared->wrong))
        step(w);
    close(w->sockets[0]);
    close(w->sockets[1]);
    return NULL;
}

/* ---- who watches ---- */

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_problem(void *context, const char *problem)
{
    wrong(problem, context, 0);
}

static void verify(const char *when)
{
    afpa_inspect_verify(zone, on_problem, (void *)(uintptr_t)when);
}

static pid_t start_process(uint64_t seed)
{
    pid_t parent = getpid(), pid = fork();
    worker_t w = {.random = seed | 1};

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    attach(&w);
    work(&w);
    afpa_cache_detach(&w.cache);
    afpa_zone_close(&zone);
    _exit(0);
}

static void watch_processes(uint64_t until, uint64_t seed)
{
    uint64_t next_kill = 0, next_verify = now_ms() + VERIFY_EVERY_MS, now;
    pid_t pids[WORKERS];

    for (unsigned i = 0; i < WORKERS; i++)
        pids[i] = start_process(seed += 2);
    while ((now = now_ms()) < until && !atomic_load(&shared->wrong)) {
        int status;
        pid_t pid;

        if (now >= next_kill) {
            if (next_kill && kill(pids[seed % WORKERS], SIGKILL) == 0)
                did(A_KILLED);
            next_kill = now + KILL_EVERY_MS;
        }
        if (now >= next_verify) {
            verify("while it ran");
            did(A_VERIFIED);
            next_verify = now + VERIFY_EVERY_MS;
        }
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
            if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
                wrong("a worker ended by itself", "status", (uint64_t)status);
            for (unsigned i = 0; i < WORKERS; i++)
                if (pids[i] == pid)
                    pids[i] = start_process(seed += 2);
        }
        usleep(5000);
    }
    atomic_store(&shared->stop, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        int status = -1;

        if (waitpid(pids[i], &status, 0) == pids[i] && status != 0 && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
            wrong("a worker ended badly", "status", (uint64_t)status);
    }
}

static void watch_threads(uint64_t until, uint64_t seed)
{
    worker_t workers[WORKERS] = {{0}};
    pthread_t threads[WORKERS];

    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].random = (seed += 2) | 1;
        if (i % THREADS_PER_CACHE == 0)
            attach(&workers[i]);
        else
            workers[i].cache = workers[i - 1].cache;
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            exit(1);
    }
    while (now_ms() < until && !atomic_load(&shared->wrong)) {
        usleep(VERIFY_EVERY_MS * 1000);
        verify("while it ran");
        did(A_VERIFIED);
    }
    atomic_store(&shared->stop, true);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < WORKERS; i += THREADS_PER_CACHE)
        afpa_cache_detach(&workers[i].cache);
}

/* ---- the end ---- */

static void expect(const char *what, uint64_t is, uint64_t should)
{
    if (is != should) {
        fprintf(stderr, "stress: %s: %llu, should be %llu\n", what, (unsigned long long)is, (unsigned long long)should);
        atomic_store(&shared->wrong, true);
    }
}

static void settle_accounts(void)
{
    afpa__segment_t *s = afpa__zone_segment(zone);
    afpa_stat_t stat;
    worker_t w = {0};

    attach(&w);
    afpa_cache_reap(w.cache);
    verify("at the end");
    afpa_inspect_stat(zone, &stat);
    expect("pins", stat.pins, 0);
    expect("broken", atomic_load(&s->header->broken), 0);
    for (unsigned i = 0; i < STRESS_FILES; i++)
        afpa_cache_purge(w.cache, shared->files.path[i], strlen(shared->files.path[i]));
    verify("after the purge");
    expect("bytes still in use", s->space->bytes_used, 0);
    expect("bytes still cached", s->space->bytes_cached, 0);
    expect("free records", s->space->free_objects, s->layout.objects);
    expect("free groups", s->space->free_groups, s->layout.groups);
    expect("free chunks", s->space->free_chunks + s->space->holed, s->layout.chunks);
    printf("%12llu %s\n", (unsigned long long)stat.counters[AFPA_COUNTER_FILLS], "chunks filled");
    printf("%12llu %s\n", (unsigned long long)stat.counters[AFPA_COUNTER_EVICTIONS], "evicted");
    printf("%12llu %s\n", (unsigned long long)stat.counters[AFPA_COUNTER_RETIRED], "retired");
    printf("%12llu %s\n", (unsigned long long)stat.counters[AFPA_COUNTER_REVALIDATIONS], "revalidated");
    printf("%12llu %s\n", (unsigned long long)stat.counters[AFPA_COUNTER_REAPED], "reaped");
    if (!stat.counters[AFPA_COUNTER_FILLS] || !stat.counters[AFPA_COUNTER_EVICTIONS] || !stat.counters[AFPA_COUNTER_RETIRED] ||
        !stat.counters[AFPA_COUNTER_REVALIDATIONS] || (!threaded && !stat.counters[AFPA_COUNTER_REAPED]))
        wrong("was never done", "one of these", 0);
    afpa_cache_detach(&w.cache);
}

static void report(void)
{
    atomic_store(&shared->done[A_BYTES], atomic_load(&shared->bytes) >> 20);
    for (unsigned i = 0; i < A_LIMIT; i++) {
        uint64_t done = atomic_load(&shared->done[i]);

        if (threaded && !activities[i].threads)
            continue;
        printf("%12llu %s\n", (unsigned long long)done, activities[i].text);
        if (done == 0 && !activities[i].may_be_none)
            wrong("was never done", activities[i].text, 0);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"threads", no_argument, NULL, 't'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {0}};
    uint64_t seconds = 30, seed = (uint64_t)time(NULL);
    afpa_zone_options_t zone_options;
    afpa_error_t error;
    char name[32];

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == '?')
            return 2;
        if (c == 't')
            threaded = true;
        else
            *(c == 's' ? &seconds : &seed) = strtoull(optarg, NULL, 10);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !stress_files_make(&shared->files, seed)) {
        perror("stress");
        return 1;
    }
    snprintf(name, sizeof(name), "stress-%d", (int)getpid());
    afpa_zone_options_init(&zone_options);
    zone_options.name = name;
    zone_options.size = ZONE_SIZE;
    zone_options.mlock = AFPA_MLOCK_OFF;
    if (afpa_zone_open(&zone_options, &zone, &error) != AFPA_OK) {
        fprintf(stderr, "stress: %s\n", error.text);
        return 1;
    }
    printf("stress: %s, %llu s, seed %llu, %u MB of files in a zone of %u MB\n", threaded ? "threads" : "processes",
           (unsigned long long)seconds, (unsigned long long)seed, (unsigned)(shared->files.total >> 20), ZONE_SIZE >> 20);
    (threaded ? watch_threads : watch_processes)(now_ms() + seconds * 1000, seed);
    settle_accounts();
    report();
    stress_files_remove(&shared->files);
    (void)unlink(afpa_zone_path(zone));
    afpa_zone_close(&zone);
    printf("stress: %s\n", atomic_load(&shared->wrong) ? "FAILED" : "ok");
    return atomic_load(&shared->wrong) ? 1 : 0;
}
