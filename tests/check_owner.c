/* SPDX-License-Identifier: Apache-2.0
 *
 * Owners: every process that attaches gets a slot of its own, as long as there are any, and is alive until it ends, however it
 * ends; a process that forked, a segment that was replaced, and who makes one.  What a dead owner leaves: check_owner_death.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cache.h"
#include "owner.h"
#include "owner_board.h"

#define MANY 40u

static child_result_t attach_and_stay(void *arg)
{
    board_t *b = arg;
    uint32_t turn = atomic_fetch_add(&b->turn, 1);
    afpa_cache_t *cache;
    afpa_error_t error;
    afpa_status_t status = afpa_cache_attach(b->f->zone, "child", &cache, &error);

    CHILD_NEED(status == AFPA_OK || status == AFPA_NO_SPACE);
    if (status == AFPA_NO_SPACE)
        snprintf(b->error, sizeof(b->error), "%s", error.text);
    atomic_store(&b->slot[turn], status == AFPA_OK ? afpa_cache_slot(cache) + 1 : UINT32_MAX);
    return stay(b);
}

/* ---- slots ---- */

START_TEST(lowest_free_slot)
{
    afpa_cache_t *a, *b, *c;
    afpa_owner_info_t info;
    fixture_t f;

    fixture_begin(&f, ZONE);
    a = fixture_attach(&f);
    b = fixture_attach(&f);
    ck_assert_uint_eq(afpa_cache_slot(f.cache), 0);
    ck_assert_uint_eq(afpa_cache_slot(a), 1);
    ck_assert_uint_eq(afpa_cache_slot(b), 2);
    afpa_cache_detach(&a);
    ck_assert_ptr_null(a);
    afpa_cache_detach(&a);
    ck_assert_int_eq(afpa_inspect_owner(f.zone, 1, &info), AFPA_NOT_FOUND);
    c = fixture_attach(&f);
    ck_assert_uint_eq(afpa_cache_slot(c), 1);
    ck_assert_int_eq(afpa_inspect_owner(f.zone, 1, &info), AFPA_OK);
    ck_assert(info.slot == 1 && info.pid == getpid() && info.alive && info.pins == 0);
    ck_assert_str_eq(info.kind, "check");
    ck_assert_ptr_eq(afpa_cache_zone(c), f.zone);
    afpa_cache_detach(&b);
    afpa_cache_detach(&c);
    fixture_end(&f);
}
END_TEST

START_TEST(kind)
{
    static const struct {
        const char *given, *shown;
    } kinds[] = {{"nginx", "nginx"}, {"", ""}, {"fifteen bytes..", "fifteen bytes.."}, {"sixteen bytes...", "sixteen bytes.."}};
    afpa_owner_info_t info;
    afpa_cache_t *cache;
    afpa_error_t error;
    fixture_t f;

    fixture_begin(&f, ZONE);
    ck_assert_int_eq(afpa_cache_attach(f.zone, kinds[_i].given, &cache, &error), AFPA_OK);
    ck_assert_int_eq(afpa_inspect_owner(f.zone, afpa_cache_slot(cache), &info), AFPA_OK);
    ck_assert_str_eq(info.kind, kinds[_i].shown);
    afpa_cache_detach(&cache);
    fixture_end(&f);
}
END_TEST

/* Neither takes the other for dead, although they are one process; each has pins of its own. */
START_TEST(two_caches_in_one_process)
{
    afpa_cache_t *other;
    afpa_owner_info_t info;
    afpa_ref_t a, b;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 1000, 1);
    other = fixture_attach(&f);
    a = fixture_open(&f, "a");
    ck_assert_int_eq(afpa_cache_lookup(other, fixture_path(&f, "a"), strlen(fixture_path(&f, "a")), 1000, &b), AFPA_OK);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 0);
    ck_assert_uint_eq(afpa_cache_reap(other), 0);
    ck_assert(!afpa__owner_reap(f.segment, f.cache->fd, afpa_cache_slot(other)));
    ck_assert_uint_eq(fixture_pins(&f), 2);
    for (uint32_t slot = 0; slot < 2; slot++) {
        ck_assert_int_eq(afpa_inspect_owner(f.zone, slot, &info), AFPA_OK);
        ck_assert(info.alive && info.pins == 1);
    }
    afpa_cache_release(&b);
    afpa_cache_detach(&other);
    ck_assert_uint_eq(fixture_pins(&f), 1);
    ck_assert(afpa__owner_alive(f.segment->fd, 0));
    ck_assert(!afpa__owner_alive(f.segment->fd, 1));
    afpa_cache_release(&a);
    fixture_end(&f);
}
END_TEST

/* Who leaves with something in hand: it is not counted any more. */
START_TEST(left_with_pins)
{
    afpa_cache_t *other;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 1000, 1);
    fixture_load(&f, "a");
    other = fixture_attach(&f);
    ck_assert_int_eq(afpa_cache_lookup(other, fixture_path(&f, "a"), strlen(fixture_path(&f, "a")), 1000, &ref), AFPA_OK);
    ck_assert_uint_eq(fixture_pins(&f), 1);
    afpa_cache_detach(&other);
    ck_assert_uint_eq(fixture_pins(&f), 0);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REAPED), 0);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    fixture_end(&f);
}
END_TEST

static unsigned slots_taken(board_t *b, unsigned children, unsigned *refused)
{
    bool taken[AFPA_OWNERS] = {false};
    unsigned count = 0;

    *refused = 0;
    for (unsigned i = 0; i < children; i++) {
        unsigned slot = atomic_load(&b->slot[i]);

        *refused += slot == UINT32_MAX;
        if (slot == UINT32_MAX)
            continue;
        ck_assert(slot >= 1 && slot <= AFPA_OWNERS && !taken[slot - 1]);
        ck_assert(afpa__owner_alive(b->f->segment->fd, slot - 1));
        taken[slot - 1] = true;
        count++;
    }
    return count;
}

/* All at once, as a server's workers start: each has a slot that no other has. */
START_TEST(many_processes)
{
    pid_t pids[MANY];
    unsigned refused;
    afpa_stat_t stat;
    fixture_t f;
    board_t *b;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    for (unsigned i = 0; i < MANY; i++)
        pids[i] = child_start(attach_and_stay, b);
    board_wait(b, MANY);
    ck_assert_uint_eq(slots_taken(b, MANY, &refused), MANY);
    ck_assert_uint_eq(refused, 0);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 0);
    for (unsigned i = 0; i < MANY; i++)
        end(pids[i]);
    afpa_inspect_stat(f.zone, &stat);
    ck_assert_uint_eq(stat.owners, MANY + 1);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), MANY);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 0);
    afpa_inspect_stat(f.zone, &stat);
    ck_assert_uint_eq(stat.owners, 1);
    ck_assert_uint_eq(stat.counters[AFPA_COUNTER_REAPED], MANY);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

START_TEST(more_processes_than_slots)
{
    pid_t pids[TOO_MANY];
    afpa_cache_t *cache;
    afpa_error_t error;
    unsigned refused;
    fixture_t f;
    board_t *b;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    for (unsigned i = 0; i < TOO_MANY; i++)
        pids[i] = child_start(attach_and_stay, b);
    board_wait(b, TOO_MANY);
    ck_assert_uint_eq(slots_taken(b, TOO_MANY, &refused), AFPA_OWNERS - 1);
    ck_assert_uint_eq(refused, TOO_MANY - (AFPA_OWNERS - 1));
    ck_assert_msg(strncmp(b->error, f.path, strlen(f.path)) == 0, "%s", b->error);
    ck_assert_ptr_nonnull(strstr(b->error, ": all 256 owner slots are taken; process "));
    ck_assert_int_eq(afpa_cache_attach(f.zone, "late", &cache, &error), AFPA_NO_SPACE);
    ck_assert_ptr_null(cache);
    for (unsigned i = 0; i < TOO_MANY; i++)
        end(pids[i]);
    cache = fixture_attach(&f); /* there is room again, and who comes first clears up */
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_REAPED), AFPA_OWNERS - 1);
    afpa_cache_detach(&cache);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

/* ---- fork after attach ---- */

static child_result_t attach_and_fork(void *arg)
{
    board_t *b = arg;
    afpa_cache_t *cache;
    afpa_error_t error;
    pid_t pid;

    CHILD_NEED(afpa_cache_attach(b->f->zone, "parent", &cache, &error) == AFPA_OK);
    atomic_store(&b->slot[0], afpa_cache_slot(cache) + 1);
    pid = fork();
    CHILD_NEED(pid >= 0);
    if (pid == 0) /* attaches for itself, as it should */
        return attach_and_stay(b);
    atomic_store(&b->pid, pid);
    return stay(b);
}

/* The lock belongs to the open file, which a forked child has as well: the slot counts as alive as long as either lives, which
 * keeps pins too long, never too short.  The child's own slot is another. */
START_TEST(fork_after_attach)
{
    pid_t parent, child;
    fixture_t f;
    board_t *b;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    atomic_store(&b->turn, 1);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    parent = child_start(attach_and_fork, b);
    board_wait(b, 2);
    child = atomic_load(&b->pid);
    ck_assert_uint_eq(atomic_load(&b->slot[0]), 2);
    ck_assert_uint_eq(atomic_load(&b->slot[1]), 3);
    end(parent);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 0);
    ck_assert(afpa__owner_alive(f.segment->fd, 1) && afpa__owner_alive(f.segment->fd, 2));
    end(child);
    ck_assert_uint_eq(afpa_cache_reap(f.cache), 2);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

static child_result_t end_at_once(void *arg)
{
    (void)arg;
    return CHILD_GOOD;
}

/* A child that does nothing with what it inherited changes nothing by ending. */
START_TEST(child_ends)
{
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", 100, 1);
    ref = fixture_open(&f, "a");
    child_run(end_at_once, NULL, "child ends");
    ck_assert(afpa__owner_alive(f.segment->fd, 0));
    ck_assert_uint_eq(fixture_pins(&f), 1);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* ---- refused ---- */

static void make_other_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void make_link(const char *path)
{
    ck_assert_int_eq(symlink("/dev/null", path), 0);
}

static void make_nothing(const char *path)
{
    ck_assert_int_ne(access(path, F_OK), 0);
}

static const struct {
    const char *label;
    void (*replace)(const char *path);
    const char *says;
} replaced_cases[] = {
    {"another file", make_other_file, ": was replaced since the server opened it; restart the server"},
    {"a link", make_link, "Too many levels of symbolic links"},
    {"nothing", make_nothing, "No such file or directory"},
};

/* Who has it open goes on; nobody new may attach to something else. */
START_TEST(segment_replaced)
{
    afpa_cache_t *cache;
    afpa_error_t error;
    fixture_t f;

    fixture_begin(&f, ZONE);
    ck_assert_int_eq(unlink(f.path), 0);
    replaced_cases[_i].replace(f.path);
    ck_assert_int_eq(afpa_cache_attach(f.zone, "late", &cache, &error), AFPA_INVALID);
    ck_assert_ptr_null(cache);
    ck_assert_msg(strncmp(error.text, f.path, strlen(f.path)) == 0 && strstr(error.text, replaced_cases[_i].says), "%s: %s",
                  replaced_cases[_i].label, error.text);
    fixture_file(&f, "a", 100, 1);
    fixture_load(&f, "a");
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    fixture_end(&f);
}
END_TEST

static child_result_t attach_as_nobody(void *arg)
{
    fixture_t *f = arg;
    char expected[128];
    afpa_cache_t *cache;
    afpa_error_t error;

    if (geteuid() != 0 || setuid(65534) != 0)
        return CHILD_SKIP;
    CHILD_NEED(afpa_cache_attach(f->zone, "nobody", &cache, &error) == AFPA_INVALID && cache == NULL);
    snprintf(expected, sizeof(expected), "%s: cannot be opened by process %d (user 65534): Permission denied", f->path,
             (int)getpid());
    CHILD_NEED(strcmp(error.text, expected) == 0);
    return CHILD_GOOD;
}

START_TEST(no_permission)
{
    fixture_t f;

    fixture_begin(&f, ZONE);
    child_run(attach_as_nobody, &f, "no permission");
    fixture_end(&f);
}
END_TEST

/* ---- the creation lock ---- */

static child_result_t create_next(void *arg)
{
    board_t *b = arg;
    int fd = open(b->f->path, O_RDWR | O_CLOEXEC);

    CHILD_NEED(fd >= 0);
    atomic_fetch_add(&b->ready, 1);
    CHILD_NEED(afpa__owner_lock_creation(fd, AFPA_CREATION_MS));
    CHILD_NEED(atomic_load(&b->turn) == 1);
    return CHILD_GOOD;
}

START_TEST(one_creator_at_a_time)
{
    fixture_t f;
    board_t *b;
    pid_t pid;
    int fd, other;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    fd = open(f.path, O_RDWR | O_CLOEXEC);
    ck_assert(afpa__owner_lock_creation(fd, AFPA_CREATION_MS));
    pid = child_start(create_next, b);
    board_wait(b, 1);
    usleep(30000);
    ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
    other = open(f.path, O_RDWR | O_CLOEXEC);
    ck_assert(!afpa__owner_lock_creation(other, 50) && errno == EAGAIN); /* who keeps it keeps nobody for ever */
    close(other);
    atomic_store(&b->turn, 1);
    afpa__owner_unlock_creation(fd);
    ck_assert_int_eq(child_wait(pid), 0);
    ck_assert(!afpa__owner_lock_creation(-1, AFPA_CREATION_MS));
    close(fd);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

/* ---- PID namespaces ---- */

static afpa_status_t attach_here(board_t *b)
{
    afpa_error_t error;
    afpa_cache_t *cache;
    afpa_status_t status = afpa_cache_attach(b->f->zone, "stranger", &cache, &error);

    snprintf(b->error, sizeof(b->error), "%s", error.text);
    if (status == AFPA_OK && atomic_load(&b->turn) < 2)
        afpa_cache_detach(&cache);
    return status;
}

static child_result_t attach_as_stranger(void *arg)
{
    board_t *b = arg;
    afpa_status_t status;
    int ended;
    pid_t pid;

    if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
        return CHILD_SKIP;
    pid = fork();
    if (pid == 0)
        _exit((int)attach_here(b));
    CHILD_NEED(waitpid(pid, &ended, 0) == pid && WIFEXITED(ended));
    status = (afpa_status_t)WEXITSTATUS(ended);
    if (atomic_load(&b->turn) > 0) { /* nobody else is there */
        CHILD_NEED(status == AFPA_OK);
        return CHILD_GOOD;
    }
    CHILD_NEED(status == AFPA_INVALID && strstr(b->error, "of another PID namespace"));
    return CHILD_GOOD;
}

/* Threads there may have the numbers of threads here, by which the kernel tells holders of locks apart. */
START_TEST(another_pid_namespace)
{
    afpa_owner_info_t info;
    fixture_t f;
    board_t *b;

    fixture_begin(&f, ZONE);
    b = board_new(&f);
    child_run(attach_as_stranger, b, "another PID namespace");
    ck_assert_int_eq(afpa_inspect_owner(f.zone, 1, &info), AFPA_NOT_FOUND);
    afpa_cache_detach(&f.cache);
    atomic_store(&b->turn, 1);
    child_run(attach_as_stranger, b, "a PID namespace of its own");
    atomic_store(&b->turn, 2);
    child_run(attach_as_stranger, b, "one that is gone without leaving");
    f.cache = fixture_attach(&f);
    board_drop(b);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("owner");

    check_add(suite, "lowest_free_slot", lowest_free_slot);
    check_add_loop(suite, "kind", kind, 4);
    check_add(suite, "two_caches_in_one_process", two_caches_in_one_process);
    check_add(suite, "left_with_pins", left_with_pins);
    check_add(suite, "many_processes", many_processes);
    check_add(suite, "more_processes_than_slots", more_processes_than_slots);
    check_add(suite, "fork_after_attach", fork_after_attach);
    check_add(suite, "child_ends", child_ends);
    check_add_loop(suite, "segment_replaced", segment_replaced, CHECK_COUNT(replaced_cases));
    check_add(suite, "no_permission", no_permission);
    check_add(suite, "one_creator_at_a_time", one_creator_at_a_time);
    check_add(suite, "another_pid_namespace", another_pid_namespace);
    return check_main(suite);
}
