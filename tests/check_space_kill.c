/* SPDX-License-Identifier: Apache-2.0
 *
 * A process may be killed between any two of its instructions, and what it leaves can be mended.
 *
 * A child does a piece of work one instruction at a time.  Wherever it has changed something, it is as if it had been killed there:
 * what can be derived is derived again, which must find no contradiction; then all is put back as it was, and the child goes on.
 * So it is the order of stores in the code as it was compiled that is tested, not the order in the source.
 */
#include "config.h"

#include <sys/ptrace.h>

#include "cache.h"
#include "child.h"
#include "chunk.h"
#include "fixture.h"
#include "object.h"
#include "space.h"

#define ZONE (2u << 20)
#define STEPS_MAX 3000000u

typedef struct work {
    fixture_t f;
    afpa_ref_t ref;       /* of "big", of which only the first chunk is in memory */
    unsigned char *saved; /* the tables, as the child has them */
    uint64_t *holes;      /* before */
    unsigned tried;
} work_t;

/* ---- pieces of work ---- */

static child_result_t make_and_discard(void *arg)
{
    static const afpa_identity_t identity = {.size = 12 * FIXTURE_CHUNK};
    afpa_cache_t *cache = ((work_t *)arg)->f.cache;
    uint32_t object = afpa__object_new(cache->segment, cache->ledger.slot, 1, "/new/of/twelve", 14, &identity);

    CHILD_NEED(object != AFPA_NONE);
    afpa__space_take(cache->segment);
    afpa__object_discard(cache->segment, object);
    afpa__space_release(cache->segment);
    return CHILD_GOOD;
}

static child_result_t fill(void *arg)
{
    CHILD_NEED(afpa_cache_fill(&((work_t *)arg)->ref, 1, 1) == AFPA_OK);
    return CHILD_GOOD;
}

static child_result_t purge(void *arg)
{
    work_t *w = arg;
    const char *path = fixture_path(&w->f, "sent");

    CHILD_NEED(afpa_cache_purge(w->f.cache, path, strlen(path)) == AFPA_OK);
    return CHILD_GOOD;
}

/* No page can be had for those that were sent by reference. */
static child_result_t purge_without_room(void *arg)
{
    ((work_t *)arg)->f.segment->fd = -1;
    return purge(arg);
}

static child_result_t rebuild(void *arg)
{
    afpa__segment_t *s = ((work_t *)arg)->f.segment;

    afpa__space_take(s);
    afpa__space_rebuild(s);
    afpa__space_release(s);
    return CHILD_GOOD;
}

static const struct {
    const char *label;
    child_fn *fn;
    unsigned least; /* places where it is killed */
} cases[] = {{"make and discard", make_and_discard, 50},
             {"fill", fill, 10},
             {"purge", purge, 50},
             {"purge without room", purge_without_room, 50},
             {"rebuild", rebuild, 500}};

/* ---- the state it is done in ---- */

static void send_all(fixture_t *f, const char *name)
{
    afpa_ref_t ref = fixture_open(f, name);
    afpa_extent_t extent;

    for (uint32_t i = 0; i < afpa_ref_entries(&ref); i++) {
        ck_assert_int_eq(afpa_cache_pin(&ref, i, AFPA_PIN_REFERENCE, &extent), AFPA_OK);
        afpa_cache_unpin(&extent);
    }
    afpa_cache_release(&ref);
}

/* Units that had to be left without pages. */
static void make_hole(fixture_t *f)
{
    const char *path = fixture_path(f, "hole");
    int fd = f->segment->fd;

    send_all(f, "hole");
    f->segment->fd = -1;
    ck_assert_int_eq(afpa_cache_purge(f->cache, path, strlen(path)), AFPA_OK);
    f->segment->fd = fd;
    ck_assert_uint_eq(f->segment->space->holed, 1);
}

/* Slots of a class larger than what lies in them, which only the chunk knows. */
static void make_wide_slots(fixture_t *f)
{
    const char *path;
    char name[16];

    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "wide%u", i);
        fixture_file(f, name, i == 0 ? 4000 : 2300 + i * 10, 1);
        fixture_load(f, name);
    }
    path = fixture_path(f, "wide0");
    ck_assert_int_eq(afpa_cache_purge(f->cache, path, strlen(path)), AFPA_OK);
}

static void work_begin(work_t *w)
{
    afpa_counter_t why;
    const char *path;

    memset(w, 0, sizeof(*w));
    fixture_begin(&w->f, ZONE);
    w->f.policy.revalidate_ms = 100000;
    fixture_file(&w->f, "hole", 40000, 1);
    fixture_file(&w->f, "sent", 10 * FIXTURE_CHUNK + 40000, 1);
    fixture_file(&w->f, "big", 3 * FIXTURE_CHUNK, 1);
    make_hole(&w->f);
    make_wide_slots(&w->f);
    send_all(&w->f, "sent");
    path = fixture_path(&w->f, "big");
    ck_assert_int_eq(afpa_cache_open(w->f.cache, path, strlen(path), &w->f.policy, &w->ref, &why, NULL), AFPA_OK);
    w->saved = malloc(w->f.segment->layout.data_at);
    w->holes = malloc(w->f.segment->layout.chunks * sizeof(*w->holes));
    ck_assert(w->saved && w->holes);
    for (uint32_t i = 0; i < w->f.segment->layout.chunks; i++)
        w->holes[i] = w->f.segment->chunks[i].holes;
    memcpy(w->saved, w->f.segment->base, w->f.segment->layout.data_at);
}

static void work_end(work_t *w)
{
    free(w->saved);
    free(w->holes);
    afpa_cache_release(&w->ref);
    fixture_end(&w->f);
}

/* ---- being killed ---- */

/* The child is stopped. */
static void kill_here(work_t *w, const char *label)
{
    afpa__segment_t *s = w->f.segment;
    uint64_t length = s->layout.data_at;

    if (memcmp(w->saved, s->base, length) == 0)
        return;
    memcpy(w->saved, s->base, length);
    w->tried++;
    afpa__space_rebuild(s);
    ck_assert_msg(!atomic_load(&s->header->broken), "%s: killed at change %u, it cannot be mended", label, w->tried);
    for (uint32_t i = 0; i < s->layout.chunks; i++)
        ck_assert_msg((w->holes[i] & ~s->chunks[i].holes) == 0, "%s: killed at change %u, a hole is lost", label, w->tried);
    memcpy(s->base, w->saved, length);
}

typedef struct job {
    work_t *work;
    child_fn *fn;
} job_t;

static child_result_t step_by_step(void *arg)
{
    job_t *job = arg;

    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        return CHILD_SKIP;
    raise(SIGSTOP);
    return job->fn(job->work);
}

START_TEST(killed_anywhere)
{
    const char *label = cases[_i].label;
    work_t w;
    job_t job = {&w, cases[_i].fn};
    unsigned steps = 0;
    int status;
    pid_t pid;

    work_begin(&w);
    pid = child_start(step_by_step, &job);
    for (status = child_wait(pid); WIFSTOPPED(status) && steps < STEPS_MAX; status = child_wait(pid), steps++) {
        kill_here(&w, label);
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIP) {
        fprintf(stderr, "skip: %s: no process may be traced here\n", label);
    } else {
        ck_assert_msg(status == 0, "%s: ended with 0x%x after %u steps", label, (unsigned)status, steps);
        ck_assert_msg(w.tried >= cases[_i].least, "%s: only %u changes in %u steps", label, w.tried, steps);
    }
    work_end(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("space_kill");
    TCase *tc = tcase_create("killed_anywhere");

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, killed_anywhere, 0, CHECK_COUNT(cases));
    suite_add_tcase(suite, tc);
    return check_main(suite);
}
