/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of statuses: each has one, the one its identifier spells, none twice; what is no status has a name all the same.
 */
#include "config.h"

#include <afpa/status.h>

#include "check_main.h"

#define STATUS(id, name)                                                                                                           \
    {                                                                                                                              \
        AFPA_##id, #id, name                                                                                                       \
    }

static const struct {
    afpa_status_t status;
    const char *id, *name;
} cases[] = {
    STATUS(OK, "ok"),
    STATUS(CHECK_DUE, "check_due"),
    STATUS(STALE, "stale"),
    STATUS(MISS, "miss"),
    STATUS(EMPTY, "empty"),
    STATUS(AGAIN, "again"),
    STATUS(DECLINED, "declined"),
    STATUS(DISABLED, "disabled"),
    STATUS(CHANGED, "changed"),
    STATUS(NO_SPACE, "no_space"),
    STATUS(IO_ERROR, "io_error"),
    STATUS(CLOSED, "closed"),
    STATUS(NOT_FOUND, "not_found"),
    STATUS(INVALID, "invalid"),
    STATUS(IN_USE, "in_use"),
};

START_TEST(name)
{
    ck_assert_str_eq(afpa_status_name(cases[_i].status), cases[_i].name);
    for (size_t i = 0; cases[_i].id[i]; i++)
        ck_assert_int_eq(cases[_i].name[i] == '_' ? '_' : cases[_i].name[i] - 'a' + 'A', cases[_i].id[i]);
    for (size_t i = 0; i < CHECK_COUNT(cases); i++)
        ck_assert((strcmp(cases[_i].name, cases[i].name) == 0) == ((int)i == _i));
}
END_TEST

/* The table above is whole: it has each number from 0 on, and the next is no status any more. */
START_TEST(all_of_them)
{
    for (size_t i = 0; i < CHECK_COUNT(cases); i++)
        ck_assert_int_eq((int)cases[i].status, (int)i);
    ck_assert_str_eq(afpa_status_name((afpa_status_t)CHECK_COUNT(cases)), "unknown");
    ck_assert_int_eq(AFPA_OK, 0);
}
END_TEST

START_TEST(no_status)
{
    static const int numbers[] = {15, 16, 100, INT32_MAX, -1, INT32_MIN};

    ck_assert_str_eq(afpa_status_name((afpa_status_t)numbers[_i]), "unknown");
}
END_TEST

/* Callers may keep it. */
START_TEST(static_storage)
{
    const char *kept = afpa_status_name(AFPA_NO_SPACE);

    (void)afpa_status_name(AFPA_IN_USE);
    ck_assert_str_eq(kept, "no_space");
    ck_assert_ptr_eq(kept, afpa_status_name(AFPA_NO_SPACE));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("status");
    TCase *tc = tcase_create("name");

    tcase_add_loop_test(tc, name, 0, CHECK_COUNT(cases));
    suite_add_tcase(suite, tc);
    check_add(suite, "all_of_them", all_of_them);
    tc = tcase_create("no_status");
    tcase_add_loop_test(tc, no_status, 0, 6);
    suite_add_tcase(suite, tc);
    check_add(suite, "static_storage", static_storage);
    return check_main(suite);
}
