/* SPDX-License-Identifier: Apache-2.0
 *
 * Judging: the verdict of another process, with the rights of the zone's user; what that process meets, its parent does not,
 * whatever the host does about children and signals.
 */
#include "config.h"

#include <dirent.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "child.h"
#include "fixture.h"
#include "index.h"
#include "judge.h"
#include "object.h"
#include "zone_state.h"

#define NOBODY 65534
#define SOMEBODY 65533
#define CANARY 65536u

/* A zone with an object in it that nobody has attached to. */
static void state_begin(fixture_t *f)
{
    fixture_begin(f, 4 * MB);
    fixture_file(f, "a", 3 * FIXTURE_CHUNK, 1);
    fixture_load(f, "a");
    afpa_cache_detach(&f->cache);
}

static bool judged(fixture_t *f, unsigned limit_ms, afpa_error_t *why)
{
    afpa__judge_t judge = {.user = geteuid(), .group = getegid(), .limit_ms = limit_ms};

    why->text[0] = 0;
    return afpa__judge_sound(f->zone, &judge, why);
}

static unsigned descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

START_TEST(verdict)
{
    unsigned before;
    afpa_error_t why;
    fixture_t f;

    state_begin(&f);
    before = descriptors();
    ck_assert_msg(judged(&f, 30000, &why), "%s", why.text);
    f.segment->space->free_objects++;
    ck_assert(!judged(&f, 30000, &why));
    ck_assert_ptr_nonnull(strstr(why.text, "object records are free"));
    ck_assert_uint_eq(descriptors(), before);
    fixture_drop(&f);
}
END_TEST

START_TEST(limits)
{
    ck_assert_uint_eq(afpa__judge_limit_ms(MB), 30000);
    ck_assert_uint_eq(afpa__judge_limit_ms(UINT64_C(10) << 30), 40000);
}
END_TEST

/* ---- what it meets ---- */

/* Behind the mapping there is no file any more: whoever looks at it dies of SIGBUS. */
START_TEST(dies)
{
    afpa_error_t why;
    fixture_t f;

    state_begin(&f);
    ck_assert_int_eq(ftruncate(f.segment->fd, (off_t)f.segment->layout.objects_at), 0);
    ck_assert(!judged(&f, 30000, &why));
    ck_assert_str_eq(why.text, "the process that judged it died of signal 7");
    fixture_drop(&f);
}
END_TEST

static child_result_t hold_a_shard(void *arg)
{
    afpa__segment_t *s = arg;

    afpa__shard_take(s, 5);
    atomic_store(&s->header->enabled, 7);
    while (pause() == -1)
        continue;
    return CHILD_BAD;
}

START_TEST(takes_too_long)
{
    struct timespec from, to;
    afpa_error_t why;
    fixture_t f;
    pid_t pid;

    state_begin(&f);
    pid = child_start(hold_a_shard, f.segment);
    while (atomic_load(&f.segment->header->enabled) != 7)
        usleep(200);
    clock_gettime(CLOCK_MONOTONIC, &from);
    ck_assert(!judged(&f, 200, &why));
    clock_gettime(CLOCK_MONOTONIC, &to);
    ck_assert_str_eq(why.text, "it could not be judged within 1 s");
    ck_assert_int_le(to.tv_sec - from.tv_sec, 2);
    kill(pid, SIGKILL);
    child_wait(pid);
    fixture_drop(&f);
}
END_TEST

/* ---- the host ---- */

static volatile sig_atomic_t reaped;

static void reap_all(int number)
{
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        reaped = reaped + 1;
}

static void nothing(int number)
{
    (void)number;
}

static void (*const handlers[])(int) = {SIG_DFL, SIG_IGN, reap_all};

/* A host may reap every child it hears of, or leave it to the kernel; and be interrupted all the time. */
START_TEST(host)
{
    struct sigaction on_child = {.sa_handler = handlers[_i]}, on_alarm = {.sa_handler = nothing};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    sigset_t blocked;
    afpa_error_t why;
    fixture_t f;

    state_begin(&f);
    reaped = 0;
    sigaction(SIGCHLD, &on_child, NULL);
    sigaction(SIGALRM, &on_alarm, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (unsigned i = 0; i < 20; i++) {
        ck_assert_msg(judged(&f, 30000, &why), "%s", why.text);
        ck_assert_int_eq(reaped, 0);
    }
    f.segment->space->free_objects++;
    ck_assert(!judged(&f, 30000, &why));
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ck_assert(!sigismember(&blocked, SIGCHLD));
    fixture_drop(&f);
}
END_TEST

/* ---- rights ---- */

static child_result_t gives_up_rights(void *arg)
{
    afpa__judge_t judge = {.user = NOBODY, .group = SOMEBODY};
    uid_t r, e, s;
    gid_t rg, eg, sg;

    (void)arg;
    if (geteuid() != 0)
        return CHILD_SKIP;
    CHILD_NEED(setgroups(1, (gid_t[]){0}) == 0);
    CHILD_NEED(afpa__judge_rights(&judge));
    CHILD_NEED(getresuid(&r, &e, &s) == 0 && r == NOBODY && e == NOBODY && s == NOBODY);
    CHILD_NEED(getresgid(&rg, &eg, &sg) == 0 && rg == SOMEBODY && eg == SOMEBODY && sg == SOMEBODY);
    CHILD_NEED(getgroups(0, NULL) == 0 && setuid(0) != 0);
    CHILD_NEED(afpa__judge_rights(&judge)); /* nothing to give up */
    return CHILD_GOOD;
}

static child_result_t no_process_to_be_had(void *arg)
{
    afpa_error_t why;

    CHILD_NEED(setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0}) == 0);
    if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0)
        return CHILD_SKIP;
    CHILD_NEED(!judged(arg, 30000, &why));
    CHILD_NEED(strncmp(why.text, "no process can be had to judge it: ", 35) == 0);
    return CHILD_GOOD;
}

START_TEST(rights)
{
    fixture_t f;

    child_run(gives_up_rights, NULL, "rights given up");
    state_begin(&f);
    child_run(no_process_to_be_had, &f, "no process to be had");
    fixture_drop(&f);
}
END_TEST

/* ---- a segment that somebody has prepared ---- */

static void far_neighbours(afpa__segment_t *s, afpa__object_shared_t *o)
{
    uint64_t end = (s->layout.file_size - s->layout.objects_at) / sizeof(*o);

    o->previous = (uint32_t)end + 16; /* in what lies behind the mapping */
    o->next = (uint32_t)end + 20;
}

static void far_group(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    o->group = UINT32_MAX - 16;
}

static void many_entries(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    o->entries = UINT32_MAX;
}

static void far_queue(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    o->queue = 200;
}

static void far_key(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    o->key_chunk = UINT32_MAX / 2;
}

static void far_room(afpa__segment_t *s, afpa__object_shared_t *o)
{
    s->entries[o - s->objects].chunk = UINT32_MAX / 2;
}

static void far_object(afpa__segment_t *s, afpa__object_shared_t *o)
{
    s->entries[o - s->objects].object = UINT32_MAX / 2;
}

static void far_chunks(afpa__segment_t *s, afpa__object_shared_t *o)
{
    afpa__chunk_shared_t *c = &s->chunks[o->key_chunk];

    c->next = c->previous = UINT32_MAX / 2;
}

static void far_draining(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)o;
    s->space->draining = s->layout.entries + 1000000;
}

static void (*const traps[])(afpa__segment_t *, afpa__object_shared_t *) = {
    far_neighbours, far_group, many_entries, far_queue, far_key, far_room, far_object, far_chunks, far_draining};

typedef struct prepared {
    fixture_t *f;
    int trap;
} prepared_t;

/* Dies under the lock of the object's shard. */
static child_result_t prepare(void *arg)
{
    prepared_t *p = arg;
    afpa__segment_t *s = p->f->segment;
    afpa__object_shared_t *o = s->objects;

    while (atomic_load(&o->phase) != AFPA__PHASE_LIVE)
        o++;
    traps[p->trap](s, o);
    afpa__shard_take(s, atomic_load(&o->hash));
    return CHILD_GOOD;
}

static void options_of(fixture_t *f, afpa_zone_options_t *o)
{
    afpa_zone_options_init(o);
    o->name = strstr(f->path, "check-");
    o->size = 4 * MB;
    o->mlock = AFPA_MLOCK_OFF;
}

/* It is thrown away, an empty one takes its place, and who opened it has not been written into. */
START_TEST(trap)
{
    prepared_t p = {.trap = _i};
    afpa_zone_options_t o;
    unsigned char *canary;
    afpa_zone_t *next;
    afpa_stat_t stat;
    ino_t inode;
    fixture_t f;

    state_begin(&f);
    p.f = &f;
    inode = inode_of(f.path);
    ck_assert_int_eq(child_wait(child_start(prepare, &p)), 0);
    canary = mmap(NULL, CANARY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(canary, MAP_FAILED);
    options_of(&f, &o);
    next = zone_open(&o);
    for (uint32_t i = 0; i < CANARY; i++)
        CHECK_THAT(canary[i] == 0);
    ck_assert_uint_ne(inode_of(f.path), inode);
    afpa_inspect_stat(next, &stat);
    ck_assert_uint_eq(stat.objects, 0);
    afpa_zone_close(&next);
    munmap(canary, CANARY);
    fixture_drop(&f);
}
END_TEST

static child_result_t cut_off(void *arg)
{
    afpa__segment_t *s = ((fixture_t *)arg)->segment;

    afpa__shard_take(s, 5);
    atomic_store(&s->header->enabled, 7);
    usleep(300000); /* until who judges waits for the lock */
    if (ftruncate(s->fd, (off_t)s->layout.objects_at) != 0)
        return CHILD_BAD;
    afpa__shard_release(s, 5);
    return CHILD_GOOD;
}

/* Cut off while it is judged, which is the death of who looks at it. */
START_TEST(cut_off_meanwhile)
{
    afpa_zone_options_t o;
    afpa_zone_t *next;
    ino_t inode;
    fixture_t f;
    pid_t pid;

    state_begin(&f);
    inode = inode_of(f.path);
    options_of(&f, &o);
    pid = child_start(cut_off, &f);
    while (atomic_load(&f.segment->header->enabled) != 7)
        usleep(200);
    next = zone_open(&o);
    ck_assert_int_eq(child_wait(pid), 0);
    ck_assert_uint_ne(inode_of(f.path), inode);
    afpa_zone_close(&next);
    fixture_drop(&f);
}
END_TEST

/* Met by a process that goes on with the segment: it is broken then, and nothing is written that does not lie in it. */
START_TEST(trap_in_use)
{
    prepared_t p = {.trap = _i};
    uint32_t failed;
    fixture_t f;

    state_begin(&f);
    p.f = &f;
    ck_assert_int_eq(child_wait(child_start(prepare, &p)), 0);
    ck_assert(afpa__shards_take_all(f.segment, &failed));
    afpa__shards_release_all(f.segment);
    f.cache = fixture_attach(&f);
    ck_assert_uint_ne(atomic_load(&f.segment->header->broken), 0);
    fixture_drop(&f);
}
END_TEST

/* A server's user died under a lock, and no harm was meant: mended, and as warm as can be. */
static child_result_t die(void *arg)
{
    afpa__shard_take(((fixture_t *)arg)->segment, 5);
    return CHILD_GOOD;
}

START_TEST(mended)
{
    afpa_zone_options_t o;
    afpa_zone_t *next;
    ino_t inode;
    fixture_t f;

    state_begin(&f);
    inode = inode_of(f.path);
    ck_assert_int_eq(child_wait(child_start(die, &f)), 0);
    options_of(&f, &o);
    next = zone_open(&o);
    ck_assert_uint_eq(inode_of(f.path), inode);
    afpa_zone_close(&next);
    f.cache = fixture_attach(&f);
    fixture_load(&f, "a");
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("judge");

    check_add(suite, "verdict", verdict);
    check_add(suite, "limits", limits);
    check_add(suite, "dies", dies);
    check_add(suite, "takes_too_long", takes_too_long);
    check_add_loop(suite, "host", host, CHECK_COUNT(handlers));
    check_add(suite, "rights", rights);
    check_add_loop(suite, "trap", trap, CHECK_COUNT(traps));
    check_add_loop(suite, "trap_in_use", trap_in_use, CHECK_COUNT(traps));
    check_add(suite, "cut_off_meanwhile", cut_off_meanwhile);
    check_add(suite, "mended", mended);
    return check_main(suite);
}
