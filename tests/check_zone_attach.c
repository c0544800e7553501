/* SPDX-License-Identifier: Apache-2.0
 *
 * What tools do with zones: attach to what is there and to nothing else, never replace, remove only segments.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <afpa/log.h>

#include "check_main.h"
#include "child.h"
#include "fixture.h"
#include "owner.h"
#include "zone_state.h"

START_TEST(attach)
{
    afpa_zone_options_t o = options_new();
    char text[600], line[600] = "";
    afpa_zone_t *zone, *tool;
    afpa_error_t error;
    ino_t inode;

    ck_assert_int_eq(afpa_zone_attach(zone_name, false, &tool, &error), AFPA_NOT_FOUND);
    ck_assert_ptr_null(tool);
    snprintf(text, sizeof(text), "%s: No such file or directory", zone_path);
    ck_assert_str_eq(error.text, text);
    zone = zone_open(&o);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_msg(afpa_zone_attach(i ? zone_path : zone_name, false, &tool, &error) == AFPA_OK, "%s", error.text);
        ck_assert_str_eq(afpa_zone_name(tool), zone_name);
        ck_assert_str_eq(afpa_zone_path(tool), zone_path);
        ck_assert_uint_eq(afpa_zone_size(tool), 4 * MB);
        afpa_zone_close(&tool);
    }
    inode = inode_of(zone_path);
    damage_version(afpa__zone_segment(zone));
    afpa_log_set(keep_warning, line, AFPA_LOG_WARN);
    ck_assert_int_eq(afpa_zone_attach(zone_name, false, &tool, &error), AFPA_INVALID);
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    ck_assert_ptr_null(tool);
    snprintf(text, sizeof(text), "%s: has layout version 8, this release has 7", zone_path);
    ck_assert_str_eq(error.text, text);
    ck_assert_uint_eq(inode_of(zone_path), inode);
    afpa_zone_close(&zone);
    unlink(zone_path);
}
END_TEST

START_TEST(attach_to_something_else)
{
    static const struct {
        const char *path, *says;
    } cases[] = {{"/dev/null", "/dev/null: is not a regular file"},
                 {"/dev/shm", "/dev/shm: Is a directory"},
                 {"/proc/self/comm", "/proc/self/comm: is not an AFPA segment"}};
    afpa_error_t error;
    afpa_zone_t *tool;

    ck_assert_int_eq(afpa_zone_attach(cases[_i].path, false, &tool, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, cases[_i].says);
    ck_assert_ptr_null(tool);
}
END_TEST

START_TEST(destroy)
{
    char expected[300];
    afpa_error_t error;
    fixture_t f;
    int fd;

    fixture_begin(&f, 4 * MB);
    ck_assert_int_eq(afpa_zone_destroy(f.path, false, &error), AFPA_IN_USE);
    snprintf(expected, sizeof(expected), "%s: is in use by 1 processes", f.path);
    ck_assert_str_eq(error.text, expected);
    ck_assert_int_eq(access(f.path, F_OK), 0);
    ck_assert_int_eq(afpa_zone_destroy(afpa_zone_name(f.zone), true, &error), AFPA_OK);
    ck_assert_int_ne(access(f.path, F_OK), 0);
    fixture_file(&f, "a", 100, 1);
    fixture_load(&f, "a"); /* who has it goes on */
    ck_assert_int_eq(afpa_zone_destroy(f.path, true, &error), AFPA_NOT_FOUND);

    fd = open(f.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq((int)write(fd, "a file of somebody", 18), 18);
    ck_assert_int_eq(afpa_zone_destroy(f.path, true, &error), AFPA_INVALID);
    snprintf(expected, sizeof(expected), "%s: is not an AFPA segment", f.path);
    ck_assert_str_eq(error.text, expected);
    ck_assert_int_eq(access(f.path, F_OK), 0);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(afpa_zone_destroy(f.path, false, &error), AFPA_OK); /* one that was never begun */
    ck_assert_int_ne(access(f.path, F_OK), 0);
    close(fd);
    fixture_end(&f);
}
END_TEST

/* ---- removing what somebody makes or replaces ---- */

typedef enum change { CHANGE_NONE, CHANGE_GONE, CHANGE_REPLACED, CHANGE_USED, CHANGE_LIMIT } change_t;

static const struct {
    afpa_status_t status;
    bool left; /* a file of that name */
} removals[CHANGE_LIMIT] = {[CHANGE_NONE] = {AFPA_OK, false},
                            [CHANGE_GONE] = {AFPA_NOT_FOUND, false},
                            [CHANGE_REPLACED] = {AFPA_OK, false},
                            [CHANGE_USED] = {AFPA_IN_USE, true}};

static child_result_t destroy_next(void *arg)
{
    const change_t *change = arg;
    afpa_error_t error;
    afpa_status_t status = afpa_zone_destroy(zone_name, false, &error);

    CHILD_NEED(status == removals[*change].status);
    return CHILD_GOOD;
}

/* It waits for who has the creation lock, and judges what is under the name then. */
START_TEST(destroy_waits)
{
    afpa_zone_options_t o = options_new();
    change_t change = (change_t)_i;
    afpa_zone_t *old = zone_open(&o), *new = NULL;
    afpa_cache_t *user = NULL;
    afpa_error_t error;
    pid_t pid;
    int fd = open(zone_path, O_RDWR | O_CLOEXEC);

    ck_assert(afpa__owner_lock_creation(fd, AFPA_CREATION_MS));
    pid = child_start(destroy_next, &change);
    usleep(50000);
    ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
    ck_assert_uint_ne(inode_of(zone_path), 0);
    if (change != CHANGE_NONE)
        ck_assert_int_eq(unlink(zone_path), 0);
    if (change == CHANGE_REPLACED || change == CHANGE_USED)
        new = zone_open(&o);
    if (change == CHANGE_USED)
        ck_assert_msg(afpa_cache_attach(new, "test", &user, &error) == AFPA_OK, "%s", error.text);
    afpa__owner_unlock_creation(fd); /* the child has the descriptor too */
    close(fd);
    ck_assert_int_eq(child_wait(pid), 0);
    ck_assert_int_eq(inode_of(zone_path) != 0, removals[change].left);
    afpa_cache_detach(&user);
    afpa_zone_close(&new);
    afpa_zone_close(&old);
    unlink(zone_path);
}
END_TEST

/* A lock on something else is none of its business. */
START_TEST(destroy_does_not_wait_for_others)
{
    char path[] = "/dev/shm/checkzone-XXXXXX";
    afpa_error_t error;
    int fd = mkstemp(path), other;

    ck_assert_int_eq((int)write(fd, "a file of somebody", 18), 18);
    ck_assert(afpa__owner_lock_creation(fd, AFPA_CREATION_MS));
    ck_assert_int_eq(afpa_zone_destroy(path, true, &error), AFPA_INVALID);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(fd);
    unlink(path);
    options_new();
    ck_assert_int_eq(mkfifo(zone_path, 0600), 0);
    other = open(zone_path, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(afpa_zone_destroy(zone_name, true, &error), AFPA_INVALID);
    ck_assert_int_eq(access(zone_path, F_OK), 0);
    close(other);
    unlink(zone_path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("zone_attach");
    TCase *loops = tcase_create("attach_to_something_else"), *waits = tcase_create("destroy_waits");

    check_add(suite, "attach", attach);
    tcase_add_loop_test(loops, attach_to_something_else, 0, 3);
    suite_add_tcase(suite, loops);
    check_add(suite, "destroy", destroy);
    tcase_add_loop_test(waits, destroy_waits, 0, CHANGE_LIMIT);
    suite_add_tcase(suite, waits);
    check_add(suite, "destroy_does_not_wait_for_others", destroy_does_not_wait_for_others);
    return check_main(suite);
}
