/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of states and events: what a cell does, names, and the picture.
 */
#include "config.h"

#include "check_main.h"
#include "machine.h"

enum { STAY = 2, BUG };

static const char *const states[] = {"off", "on"}, *const events[] = {"press", "look", "break"};
static const unsigned char table[3][2] = {{1, 0}, {STAY, STAY}, {BUG, 1}};
static const afpa__machine_t machine = {
    .name = "lamp", .state_names = states, .event_names = events, .table = table[0], .states = 2, .events = 3};

START_TEST(cells)
{
    unsigned state = 0;

    ck_assert(afpa__machine_transit(&machine, &state, 0) && state == 1);
    ck_assert(!afpa__machine_transit(&machine, &state, 1) && state == 1);
    ck_assert(afpa__machine_transit(&machine, &state, 2) && state == 1); /* entered again */
    ck_assert(afpa__machine_transit(&machine, &state, 0) && state == 0);
}
END_TEST

static void do_bug(void *arg)
{
    unsigned state = 0;

    (void)arg;
    afpa__machine_transit(&machine, &state, 2);
}

START_TEST(bug)
{
    char said[512];

    ck_assert(check_aborts(do_bug, NULL, said, sizeof(said)));
    ck_assert_ptr_nonnull(strstr(said, "an event that the table forbids"));
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(afpa__machine_state_name(&machine, 0), "off");
    ck_assert_str_eq(afpa__machine_state_name(&machine, 1), "on");
    ck_assert_str_eq(afpa__machine_state_name(&machine, 2), "?");
}
END_TEST

START_TEST(dot)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    afpa__machine_print_dot(&machine, out);
    fclose(out);
    ck_assert_str_eq(text, "digraph lamp {\n"
                           "  \"off\" -> \"on\" [label=\"press\"];\n"
                           "  \"on\" -> \"off\" [label=\"press\"];\n"
                           "  \"on\" -> \"on\" [label=\"break\"];\n"
                           "}\n");
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("machine");

    check_add(suite, "cells", cells);
    check_add(suite, "bug", bug);
    check_add(suite, "names", names);
    check_add(suite, "dot", dot);
    return check_main(suite);
}
