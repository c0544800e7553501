/* SPDX-License-Identifier: Apache-2.0
 *
 * What tools do with zones: attach to what is there and to nothing else, never replace, remove only segments.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <afpa/log.h>

#include "check_main.h"
#include "fixture.h"
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
    snprintf(text, sizeof(text), "%s: has layout version 7, this release has 4", zone_path);
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

int main(void)
{
    Suite *suite = suite_create("zone_attach");
    TCase *loops = tcase_create("attach_to_something_else");

    check_add(suite, "attach", attach);
    tcase_add_loop_test(loops, attach_to_something_else, 0, 3);
    suite_add_tcase(suite, loops);
    check_add(suite, "destroy", destroy);
    return check_main(suite);
}
