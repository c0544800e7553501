/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading files into the cache with several threads.
 *
 * Names travel in batches, so that a thread has to wake up once for many of them; one that has nothing else to do takes the
 * batch that is being written, so no name waits for the next.  The lock covers batches and skips; totals are atomic.
 * An interrupt lets every thread finish what it is reading, so that no pin and no half-read chunk is left to be reaped.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "http_get.h"
#include "load.h"
#include "output.h"

#define BATCH_NAMES 64
#define BATCH_BYTES 32768
#define QUEUE_BATCHES 64 /* then the thread that names files waits */
#define FILL_CHUNKS 64   /* 4 MB read for one opening of a file */
#define TOLD_MAX 20      /* messages about what was skipped; --verbose lifts that */
#define REASONS_MAX 64
#define PROGRESS_MS 100

typedef struct batch {
    struct batch *next;
    unsigned names;
    size_t used;
    char text[BATCH_BYTES]; /* origin, name, NUL; and so on */
} batch_t;

typedef struct reason {
    char word[32];
    uint64_t count;
} reason_t;

struct load {
    app_t *app;
    load_options_t options;
    struct timespec began;
    uint64_t evicted_before;
    pthread_t threads[LOAD_JOBS_MAX], painter;
    unsigned started;
    bool painting;

    pthread_mutex_t lock;
    pthread_cond_t work, room, end;
    batch_t *first, *last, *open; /* open: being written, not in the queue */
    unsigned queued, idle;
    bool complete;
    reason_t reasons[REASONS_MAX];
    unsigned told;
    bool failed, ended;

    _Atomic uint64_t named, done, files, bytes, read; /* read: bytes of unfinished files too */
    _Atomic uint64_t no_room;                         /* size of the smallest file that found no room; UINT64_MAX: none yet */
    _Atomic bool disabled;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    interrupted = signal_number;
}

static double seconds_since(const struct timespec *began)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

bool load_stopped(const load_t *l)
{
    return interrupted || l->disabled;
}

/* ---- skipping ---- */

const char *load_reason(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return afpa_counter_name(AFPA_DECLINE_NOT_FOUND);
    case EACCES:
    case EPERM:
        return afpa_counter_name(AFPA_DECLINE_PERMISSION);
    case ENAMETOOLONG:
        return afpa_counter_name(AFPA_DECLINE_PATH);
    case ELOOP:
        return "loop";
    default:
        return afpa_counter_name(AFPA_DECLINE_IO_ERROR);
    }
}

/* What the words of loading's own mean, and of the library's where its own help speaks of requests. */
static const char *reason_help(const char *word)
{
    static const char *const own[][2] = {
        {"loop", "a symbolic link leads back to a directory it is in"},
        {"https", "https:// is not supported; warm the file itself, or request it with another program"},
        {"bad_url", "not a valid http:// URL"},
        {"unreachable", "the server cannot be reached"},
        {"no_reply", "the server gave no HTTP reply"},
        {"incomplete", "the connection ended before the reply did"},
        {"timeout", "the reply came to a stop before its end"},
        {"bad_reply", "the length or the chunks of the reply are no valid HTTP/1"},
        {"no_space", "there is no room left in the zone for it"},
    };

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strcmp(word, own[i][0]) == 0)
            return own[i][1];
    for (unsigned i = AFPA_DECLINE_FIRST; i < AFPA_COUNTER_LIMIT; i++)
        if (strcmp(word, afpa_counter_name((afpa_counter_t)i)) == 0)
            return afpa_counter_help((afpa_counter_t)i);
    return "";
}

/* Skips that nobody need do anything about, in what was found and not asked for: policy, and files that come and go. */
static bool harmless(const load_t *l, const char *word)
{
    static const char *const words[] = {"min_size", "max_size", "not_regular", "not_found", "changed", "loop"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return l->options.policy.no_evict && strcmp(word, "no_space") == 0;
}

static void reason_count(load_t *l, const char *word)
{
    unsigned i = 0;

    while (i < REASONS_MAX - 1 && l->reasons[i].count && strcmp(l->reasons[i].word, word) != 0)
        i++;
    if (l->reasons[i].count++ == 0)
        snprintf(l->reasons[i].word, sizeof(l->reasons[i].word), "%s", i < REASONS_MAX - 1 ? word : "other");
}

void load_skip(load_t *l, const char *name, load_origin_t origin, const char *word)
{
    bool fails = origin == LOAD_ASKED ? !(l->options.policy.no_evict && strcmp(word, "no_space") == 0) : !harmless(l, word);
    const char *help = reason_help(word);
    unsigned number = 0;

    pthread_mutex_lock(&l->lock);
    reason_count(l, word);
    l->failed |= fails;
    if (l->options.verbose || (fails && origin == LOAD_ASKED))
        number = ++l->told;
    pthread_mutex_unlock(&l->lock);
    if (number > 0 && (l->options.verbose || number <= TOLD_MAX))
        complain("%s: %s%s%s", name, word, *help ? ": " : "", help);
    else if (number == TOLD_MAX + 1)
        complain("more was skipped; --verbose tells all of it");
}

/* ---- room ---- */

/* With no_evict, a file that finds no room says that larger ones will find none either, so that they need not be opened.  What the
 * allocator has left in chunks that are partly used may fit one of them all the same; that is little, and is left. */
static void note_no_room(load_t *l, uint64_t size)
{
    uint64_t least = l->no_room;

    while (size < least && !atomic_compare_exchange_weak(&l->no_room, &least, size))
        continue;
}

static bool is_cached(load_t *l, const char *path)
{
    afpa_object_info_t *info = must(malloc(sizeof(*info)));
    bool cached = afpa_inspect_path(l->app->zone, path, strlen(path), info) == AFPA_OK;

    free(info);
    return cached;
}

/* Whether there is no point in opening the file.  Where there is another reason not to load it, opening will tell. */
static bool is_hopeless(load_t *l, const char *path)
{
    uint64_t least = l->no_room, size;
    struct stat st;

    if (least == UINT64_MAX || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    size = (uint64_t)st.st_size;
    return size >= least && size <= l->options.policy.max_size && !is_cached(l, path);
}

/* A file that was begun and does not fit, because others took the room meanwhile.  Half of it would take room for nothing, so it
 * goes, and what it had is free again for files smaller than it.  One that was there before stays as it was found. */
static void give_up(load_t *l, const char *path, uint64_t size)
{
    afpa_cache_purge(l->app->cache, path, strlen(path));
    l->no_room = size;
}

/* ---- loading ---- */

/* Reads what is not in memory of the entries after the first.  Reading ahead stops quietly where there is no room, so each
 * entry is looked at. */
static afpa_status_t fill_rest(load_t *l, const afpa_ref_t *ref)
{
    uint64_t size = afpa_ref_identity(ref)->size, chunk = afpa_zone_chunk_size(l->app->zone);
    uint32_t entries = afpa_ref_entries(ref);

    l->read += size < chunk ? size : chunk;
    if (size > afpa_zone_size(l->app->zone))
        return AFPA_NO_SPACE;
    for (uint32_t index = 1; index < entries && !interrupted; index++) {
        afpa_status_t status = AFPA_OK;
        afpa_extent_t extent;

        if (afpa_cache_pin(ref, index, AFPA_PIN_COPY, &extent) == AFPA_OK)
            afpa_cache_unpin(&extent);
        else
            status = afpa_cache_fill(ref, index, entries - index < FILL_CHUNKS ? entries - index : FILL_CHUNKS);
        if (status != AFPA_OK)
            return status;
        l->read += index + 1 < entries ? chunk : size - index * chunk;
    }
    return interrupted ? AFPA_AGAIN : AFPA_OK;
}

static const char *reason_of(afpa_status_t status)
{
    return afpa_counter_name(status == AFPA_NO_SPACE  ? AFPA_DECLINE_NO_SPACE
                             : status == AFPA_CHANGED ? AFPA_DECLINE_CHANGED
                                                      : AFPA_DECLINE_IO_ERROR);
}

/* The file was not opened for some reason. */
static void skip_file(load_t *l, const char *path, load_origin_t origin, afpa_counter_t why)
{
    struct stat st;

    if (why == AFPA_DECLINE_NO_SPACE && l->options.policy.no_evict && stat(path, &st) == 0)
        note_no_room(l, (uint64_t)st.st_size);
    load_skip(l, path, origin, afpa_counter_name(why));
}

static void load_file(load_t *l, const char *path, load_origin_t origin)
{
    afpa_status_t status;
    afpa_counter_t why;
    afpa_ref_t ref;
    uint64_t size;
    bool found;

    if (is_hopeless(l, path)) {
        load_skip(l, path, origin, afpa_counter_name(AFPA_DECLINE_NO_SPACE));
        return;
    }
    status = afpa_cache_open(l->app->cache, path, strlen(path), &l->options.policy, &ref, &why, &found);
    if (status == AFPA_DISABLED)
        l->disabled = true;
    else if (status != AFPA_OK)
        skip_file(l, path, origin, why);
    if (status != AFPA_OK)
        return;
    status = fill_rest(l, &ref);
    size = afpa_ref_identity(&ref)->size;
    afpa_cache_release(&ref);
    if (status == AFPA_OK) {
        l->bytes += size;
        l->files++;
    } else if (status != AFPA_AGAIN) {
        load_skip(l, path, origin, reason_of(status));
    }
    if (status == AFPA_NO_SPACE && l->options.policy.no_evict && !found)
        give_up(l, path, size);
}

static void load_url(load_t *l, const char *url, load_origin_t origin)
{
    char status_word[16];
    const char *why;
    uint64_t bytes;
    int status = http_get(url, &interrupted, &bytes, &why);

    if (status == 200 && !why) {
        l->files++;
        l->bytes += bytes;
        l->read += bytes;
        return;
    }
    if (interrupted)
        return;
    if (status && status != 200) {
        snprintf(status_word, sizeof(status_word), "http_%d", status);
        why = status_word;
    }
    load_skip(l, url, origin, why);
}

/* ---- the queue ---- */

static batch_t *batch_take(load_t *l)
{
    batch_t *batch;

    pthread_mutex_lock(&l->lock);
    l->idle++;
    while (!l->first && !l->open && !l->complete)
        pthread_cond_wait(&l->work, &l->lock);
    l->idle--;
    batch = l->first;
    if (!batch) {
        batch = l->open;
        l->open = NULL;
    } else {
        l->first = batch->next;
        if (!l->first)
            l->last = NULL;
        l->queued--;
        pthread_cond_signal(&l->room);
    }
    pthread_mutex_unlock(&l->lock);
    return batch;
}

static void *worker(void *data)
{
    load_t *l = data;
    batch_t *batch;

    while ((batch = batch_take(l)) != NULL) {
        for (const char *at = batch->text; batch->names > 0; batch->names--, at += strlen(at) + 1) {
            load_origin_t origin = *at++ == '!' ? LOAD_ASKED : LOAD_FOUND;

            if (load_stopped(l))
                continue;
            if (is_url(at))
                load_url(l, at, origin);
            else
                load_file(l, at, origin);
            l->done++;
        }
        free(batch);
    }
    return NULL;
}

/* Puts the batch that is being written into the queue.  The lock is held, and let go while there is enough to do. */
static void batch_send(load_t *l)
{
    while (l->queued >= QUEUE_BATCHES)
        pthread_cond_wait(&l->room, &l->lock);
    if (!l->open) /* taken meanwhile */
        return;
    if (l->last)
        l->last->next = l->open;
    else
        l->first = l->open;
    l->last = l->open;
    l->open = NULL;
    l->queued++;
    pthread_cond_signal(&l->work);
}

void load_add(load_t *l, const char *name, load_origin_t origin)
{
    size_t length = strlen(name) + 1;

    if (length > AFPA_PATH_MAX) {
        load_skip(l, name, origin, afpa_counter_name(AFPA_DECLINE_PATH));
        return;
    }
    pthread_mutex_lock(&l->lock);
    if (l->open && l->open->used + 1 + length > sizeof(l->open->text))
        batch_send(l);
    if (!l->open) {
        l->open = must(malloc(sizeof(*l->open)));
        l->open->next = NULL;
        l->open->names = 0;
        l->open->used = 0;
    }
    l->open->text[l->open->used] = origin == LOAD_ASKED ? '!' : '.';
    memcpy(l->open->text + l->open->used + 1, name, length);
    l->open->used += 1 + length;
    l->named++;
    if (++l->open->names >= BATCH_NAMES)
        batch_send(l);
    else if (l->idle > 0)
        pthread_cond_signal(&l->work);
    pthread_mutex_unlock(&l->lock);
}

/* ---- progress ---- */

static void *painter(void *data)
{
    load_t *l = data;
    struct timespec until;

    pthread_mutex_lock(&l->lock);
    while (!l->ended) {
        progress_t p = {
            .walking = !l->complete, .done = l->done, .total = l->named, .bytes = l->read, .seconds = seconds_since(&l->began)};

        pthread_mutex_unlock(&l->lock);
        progress_draw(&p);
        pthread_mutex_lock(&l->lock);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PROGRESS_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (!l->ended)
            pthread_cond_timedwait(&l->end, &l->lock, &until);
    }
    pthread_mutex_unlock(&l->lock);
    progress_clear();
    return NULL;
}

/* ---- start and end ---- */

void load_options_init(load_options_t *options)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    *options = (load_options_t){.jobs = processors < 1 ? 1 : processors > 16 ? 16 : (unsigned)processors};
    afpa_policy_init(&options->policy);
    options->policy.revalidate_ms = 0; /* what was changed just now is why somebody warms */
}

/* Evictions since there were `before` of them. */
static uint64_t evictions(app_t *app, uint64_t before)
{
    afpa_stat_t stat;

    afpa_inspect_stat(app->zone, &stat);
    return stat.counters[AFPA_COUNTER_EVICTIONS] > before ? stat.counters[AFPA_COUNTER_EVICTIONS] - before : 0;
}

load_t *load_start(app_t *app, const load_options_t *options)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    load_t *l = must(calloc(1, sizeof(*l)));

    l->app = app;
    l->options = *options;
    clock_gettime(CLOCK_MONOTONIC, &l->began);
    l->evicted_before = evictions(app, 0);
    l->no_room = UINT64_MAX;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->room, NULL);
    pthread_cond_init(&l->end, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    while (l->started < options->jobs && pthread_create(&l->threads[l->started], NULL, worker, l) == 0)
        l->started++;
    if (l->started == 0) {
        complain("no thread can be started: %s", strerror(errno));
        exit(EXIT_NOT_SO);
    }
    if (isatty(STDERR_FILENO))
        l->painting = pthread_create(&l->painter, NULL, painter, l) == 0;
    return l;
}

static int by_count(const void *a, const void *b)
{
    const reason_t *x = a, *y = b;

    return x->count == y->count ? strcmp(x->word, y->word) : x->count < y->count ? 1 : -1;
}

static void result_fill(load_t *l, load_result_t *result)
{
    *result = (load_result_t){.files = l->files,
                              .bytes = l->bytes,
                              .evicted = evictions(l->app, l->evicted_before),
                              .skipped = json_object(),
                              .seconds = seconds_since(&l->began),
                              .failed = l->failed,
                              .disabled = l->disabled,
                              .interrupted = interrupted};
    qsort(l->reasons, REASONS_MAX, sizeof(l->reasons[0]), by_count);
    for (unsigned i = 0; i < REASONS_MAX && l->reasons[i].count; i++) {
        json_object_set_new(result->skipped, l->reasons[i].word, json_integer((json_int_t)l->reasons[i].count));
        result->skipped_total += l->reasons[i].count;
    }
}

static void finish_painting(load_t *l)
{
    pthread_mutex_lock(&l->lock);
    l->ended = true;
    pthread_cond_signal(&l->end);
    pthread_mutex_unlock(&l->lock);
    if (l->painting)
        pthread_join(l->painter, NULL);
}

void load_end(load_t *l, load_result_t *result)
{
    pthread_mutex_lock(&l->lock);
    l->complete = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    while (l->started > 0)
        pthread_join(l->threads[--l->started], NULL);
    finish_painting(l);
    result_fill(l, result);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->room);
    pthread_cond_destroy(&l->end);
    free(l);
}
