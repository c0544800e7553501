/* SPDX-License-Identifier: Apache-2.0
 *
 * State machines as tables: see machine.c.
 */
#ifndef AFPA_MACHINE_H
#define AFPA_MACHINE_H

#include <stdbool.h>
#include <stdio.h>

/* One kind of machine.  A cell is a state, or one of the two numbers behind the last: `states`, nothing changes; `states` + 1, it
 * cannot happen. */
typedef struct afpa__machine {
    const char *name;
    const char *const *state_names, *const *event_names;
    const unsigned char *table; /* events rows of `states` cells */
    unsigned states, events;
} afpa__machine_t;

/* An event that the table says cannot happen: says so in the log, and aborts. */
void afpa__machine_bug(const afpa__machine_t *machine, unsigned state, unsigned event) __attribute__((noreturn));

/* Makes the transition.  false: nothing changes. */
static inline bool afpa__machine_transit(const afpa__machine_t *machine, unsigned *state, unsigned event)
{
    unsigned next = machine->table[event * machine->states + *state];

    if (__builtin_expect(next >= machine->states, 0)) {
        if (next > machine->states)
            afpa__machine_bug(machine, *state, event);
        return false;
    }
    *state = next;
    return true;
}

/* "wait-fill"; "?" for a number that is no state. */
const char *afpa__machine_state_name(const afpa__machine_t *machine, unsigned state);

/* The table as a graph, for dot(1). */
void afpa__machine_print_dot(const afpa__machine_t *machine, FILE *out);

#endif
