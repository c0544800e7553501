/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, state machines as tables: send.c's and conn.c's.
 *
 * A machine's .def file lists its states once and its events once, each with a cell per state; the source that owns the machine
 * makes names and table of it, and everything else about tables is here.
 */
#include "config.h"

#include "assert.h"
#include "log.h"
#include "machine.h"

void afpa__machine_bug(const afpa__machine_t *m, unsigned state, unsigned event)
{
    afpa__log(AFPA_LOG_ERROR, "%s: %s cannot happen in state %s", m->name, m->event_names[event], m->state_names[state]);
    afpa__assert(!"an event that the table forbids");
    __builtin_unreachable();
}

const char *afpa__machine_state_name(const afpa__machine_t *m, unsigned state)
{
    return state < m->states ? m->state_names[state] : "?";
}

void afpa__machine_print_dot(const afpa__machine_t *m, FILE *out)
{
    fprintf(out, "digraph %s {\n", m->name);
    for (unsigned event = 0; event < m->events; event++)
        for (unsigned state = 0; state < m->states; state++) {
            unsigned next = m->table[event * m->states + state];

            if (next < m->states)
                fprintf(out, "  \"%s\" -> \"%s\" [label=\"%s\"];\n", m->state_names[state], m->state_names[next],
                        m->event_names[event]);
        }
    fputs("}\n", out);
}
