/* SPDX-License-Identifier: Apache-2.0
 *
 * What a hit costs inside the cache: look-up, pin, unpin, release, over 1000 warm files of 1 KB, in one thread; then in two
 * processes at once, each on a core of its own, in alternating rounds.  Prints nanoseconds and the ratio of the throughputs.
 *
 * That a hit writes nothing that others write is shown by taking the right to: before each round every page of the segment is
 * made read-only but this process's ledger row and its owner slot, so that any other write ends the program with SIGSEGV.  That it
 * takes no lock is in tests/check_cache.c (no_lock_on_a_hit), where every lock is held meanwhile.
 *
 *     micro_lookup           the figures
 *     micro_lookup --check   a short run; fails if something is written, or two processes are no faster than 1.3 times one
 */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "zone.h"

#define FILES 1000u
#define FILE_SIZE 1024u
#define ROUNDS 31u    /* in 3 two processes that wrote four lines of each other were at 0.7 to 1.5 and passed now and then */
#define RATIO_MIN 1.3 /* of --check: machines of CI have neighbours; on a quiet one it is near 2 */
#define FRESH_MS 3600000u

static afpa_zone_t *zone;
static char dir[64];
static char paths[FILES][96];
static size_t path_lengths[FILES];
static unsigned passes = 300;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void make_files(void)
{
    const char *tmp = getenv("TMPDIR");
    char bytes[FILE_SIZE];

    memset(bytes, 'x', sizeof(bytes));
    snprintf(dir, sizeof(dir), "%.40s/afpa-micro-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        fail("mkdtemp");
    for (unsigned i = 0; i < FILES; i++) {
        struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
        int fd;

        path_lengths[i] = (size_t)snprintf(paths[i], sizeof(paths[i]), "%s/some-page-%u.html", dir, i);
        fd = open(paths[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) || futimens(fd, old) != 0)
            fail(paths[i]);
        close(fd);
    }
}

static void remove_files(void)
{
    for (unsigned i = 0; i < FILES; i++)
        unlink(paths[i]);
    rmdir(dir);
}

static void pin_and_release(afpa_cache_t *cache, unsigned file)
{
    afpa_extent_t extent;
    afpa_ref_t ref;

    if (afpa_cache_lookup(cache, paths[file], path_lengths[file], FRESH_MS, &ref) != AFPA_OK ||
        afpa_cache_pin(&ref, 0, AFPA_PIN_COPY, &extent) != AFPA_OK) {
        fprintf(stderr, "micro_lookup: %s is not cached\n", paths[file]);
        exit(1);
    }
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
}

static afpa_cache_t *attach(void)
{
    afpa_cache_t *cache;
    afpa_error_t error;

    if (afpa_cache_attach(zone, "bench", &cache, &error) != AFPA_OK) {
        fprintf(stderr, "micro_lookup: %s\n", error.text);
        exit(1);
    }
    return cache;
}

/* Everything but the row and the slot of this process, by whole pages. */
static void forbid_other_writes(const afpa_cache_t *cache)
{
    const afpa__segment_t *s = cache->segment;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *slot = (char *)&s->owners[cache->ledger.slot], *row = (char *)afpa__ledger_row(s, cache->ledger.slot);
    size_t slot_at = (size_t)(slot - s->base) / page * page, row_at = (size_t)(row - s->base);
    size_t slot_end = ((size_t)(slot - s->base) + sizeof(*s->owners) + page - 1) / page * page;

    if (mprotect(s->base, slot_at, PROT_READ) != 0 || mprotect(s->base + slot_end, row_at - slot_end, PROT_READ) != 0 ||
        mprotect(s->base + row_at + s->layout.ledger_row, s->layout.file_size - row_at - s->layout.ledger_row, PROT_READ) != 0)
        fail("mprotect");
}

static void allow_writes(const afpa_cache_t *cache)
{
    if (mprotect(cache->segment->base, cache->segment->layout.file_size, PROT_READ | PROT_WRITE) != 0)
        fail("mprotect");
}

/* One process's part of a round, after the byte that starts it; writes nanoseconds per operation. */
static void measure(int core, int start, int result)
{
    afpa_cache_t *cache = attach();
    cpu_set_t cores;
    double began, ns;
    char byte;

    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    sched_setaffinity(0, sizeof(cores), &cores);
    for (unsigned pass = 0; pass < 5; pass++) /* frequencies are at their end, ledgers have memory */
        for (unsigned file = 0; file < FILES; file++)
            pin_and_release(cache, file);
    forbid_other_writes(cache);
    if (read(start, &byte, 1) != 1)
        fail("read");
    began = seconds();
    for (unsigned pass = 0; pass < passes; pass++)
        for (unsigned file = 0; file < FILES; file++)
            pin_and_release(cache, file);
    ns = (seconds() - began) * 1e9 / passes / FILES;
    allow_writes(cache);
    afpa_cache_detach(&cache);
    if (write(result, &ns, sizeof(ns)) != (ssize_t)sizeof(ns))
        fail("write");
}

/* Operations per nanosecond of `count` processes together; *ns: of one operation, on average. */
static double round_of(unsigned count, double *ns)
{
    int start[2], result[2], status;
    double sum = 0, one;

    if (pipe(start) != 0 || pipe(result) != 0)
        fail("pipe");
    for (unsigned i = 0; i < count; i++) {
        pid_t pid = fork();

        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            measure((int)i, start[0], result[1]);
            _exit(0);
        }
    }
    usleep(100000);
    if (write(start[1], "xx", count) != (ssize_t)count)
        fail("write");
    *ns = 0;
    for (unsigned i = 0; i < count; i++) {
        if (wait(&status) < 0 || status != 0) {
            fprintf(stderr, "micro_lookup: a process ended with %d: a hit wrote where others write\n", status);
            exit(1);
        }
        if (read(result[0], &one, sizeof(one)) != (ssize_t)sizeof(one))
            fail("read");
        sum += 1 / one;
        *ns += one / count;
    }
    for (int i = 0; i < 2; i++) {
        close(start[i]);
        close(result[i]);
    }
    return sum;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

static void make_zone(void)
{
    const afpa_policy_t policy = {.max_size = UINT64_MAX, .revalidate_ms = FRESH_MS, .min_uses = 1};
    afpa_zone_options_t options;
    afpa_cache_t *cache;
    afpa_counter_t why;
    afpa_error_t error;
    afpa_ref_t ref;
    char name[32];

    snprintf(name, sizeof(name), "micro-%d", (int)getpid());
    afpa_zone_options_init(&options);
    options.name = name;
    options.size = 8u << 20;
    options.mlock = AFPA_MLOCK_OFF;
    if (afpa_zone_open(&options, &zone, &error) != AFPA_OK) {
        fprintf(stderr, "micro_lookup: %s\n", error.text);
        exit(1);
    }
    cache = attach();
    for (unsigned i = 0; i < FILES; i++) {
        if (afpa_cache_open(cache, paths[i], path_lengths[i], &policy, &ref, &why, NULL) != AFPA_OK) {
            fprintf(stderr, "micro_lookup: %s: %s\n", paths[i], afpa_counter_name(why));
            exit(1);
        }
        afpa_cache_release(&ref);
    }
    afpa_cache_detach(&cache);
}

int main(int argc, char **argv)
{
    bool check = argc > 1 && strcmp(argv[1], "--check") == 0;
    double one[ROUNDS], two[ROUNDS], ratios[ROUNDS];
    bool good = true;

    if (argc > 1 && !check) {
        fprintf(stderr, "usage: micro_lookup [--check]\n");
        return 2;
    }
    passes = check ? 200 : 1000;
    make_files();
    make_zone();
    for (unsigned i = 0; i < ROUNDS; i++) {
        double single = round_of(1, &one[i]);

        ratios[i] = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? round_of(2, &two[i]) / single : 0;
    }
    printf("look-up, pin, unpin, release: %.0f ns", median(one, ROUNDS));
    if (ratios[0] > 0) {
        printf("; two processes: %.0f ns each, %.2f times the throughput of one", median(two, ROUNDS), median(ratios, ROUNDS));
        good = !check || median(ratios, ROUNDS) >= RATIO_MIN;
    }
    printf("\nwritten outside of the process's own ledger and slot: nothing\n");
    remove_files();
    unlink(afpa_zone_path(zone));
    afpa_zone_close(&zone);
    return good ? 0 : 1;
}
