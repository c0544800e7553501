/* SPDX-License-Identifier: Apache-2.0
 *
 * The pin protocol: see pin.c.
 */
#ifndef AFPA_PIN_H
#define AFPA_PIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

/* An entry's word: state in bits 0–2, owner slot of a fill in bits 3–15, generation above.  Its low half is also the futex
 * word that fills are waited on: every change of state changes it. */
#define AFPA__WORD_OWNER_SHIFT 3
#define AFPA__WORD_GENERATION_SHIFT 16

static inline uint64_t afpa__word(afpa__pin_state_t state, uint32_t owner, uint64_t generation)
{
    return (uint64_t)state | (uint64_t)owner << AFPA__WORD_OWNER_SHIFT | generation << AFPA__WORD_GENERATION_SHIFT;
}

static inline afpa__pin_state_t afpa__word_state(uint64_t word)
{
    return (afpa__pin_state_t)(word & 7);
}

static inline uint32_t afpa__word_owner(uint64_t word)
{
    return (uint32_t)(word >> AFPA__WORD_OWNER_SHIFT) & 0x1fff;
}

static inline uint64_t afpa__word_generation(uint64_t word)
{
    return word >> AFPA__WORD_GENERATION_SHIFT;
}

/* One process's ledger, as the hot path needs it. */
typedef struct afpa__ledger {
    const afpa__segment_t *segment;
    afpa__cell_t *row;
    _Atomic uint64_t *windows; /* of the owner slot */
    uint32_t slot;
} afpa__ledger_t;

static inline uint64_t afpa__pin_window_bit(const afpa__segment_t *s, uint32_t entry)
{
    return UINT64_C(1) << (entry / s->layout.window_entries);
}

/* Gives the part of the row that an entry lies in its memory.  false: there is none. */
bool afpa__pin_window_open(afpa__ledger_t *ledger, uint32_t entry);

/* Raises the count of an entry by `add` whatever its state; false: there is no memory for that part of the ledger.
 * Only for entries that something else keeps from being freed meanwhile (a pin already held, the shard lock). */
static inline bool afpa__pin_raise(afpa__ledger_t *l, uint32_t entry, uint64_t add)
{
    if (__builtin_expect(!(atomic_load_explicit(l->windows, memory_order_relaxed) & afpa__pin_window_bit(l->segment, entry)), 0) &&
        !afpa__pin_window_open(l, entry))
        return false;
    atomic_fetch_add(&l->row[entry], add);
    return true;
}

/* Pins the entry if its word is PINNED in this generation; lock-free.  `add` is AFPA__PIN_ONE, or with AFPA__HIT_ONE. */
static inline bool afpa__pin_take(afpa__ledger_t *l, uint32_t entry, uint64_t generation, uint64_t add)
{
    if (!afpa__pin_raise(l, entry, add))
        return false;
    if (__builtin_expect(atomic_load(&l->segment->entries[entry].word) == afpa__word(AFPA__PINNED, 0, generation), 1))
        return true;
    atomic_fetch_sub_explicit(&l->row[entry], add, memory_order_release);
    return false;
}

/* Lowers the count. */
static inline void afpa__pin_drop(afpa__ledger_t *l, uint32_t entry)
{
    uint64_t before = atomic_fetch_sub_explicit(&l->row[entry], AFPA__PIN_ONE, memory_order_release);

    afpa__assert((uint32_t)before != 0);
}

/* The pin count: the sum over all ledgers. */
uint64_t afpa__pin_count(const afpa__segment_t *segment, uint32_t entry);

/* The hits counted in all ledgers. */
uint64_t afpa__pin_hits(const afpa__segment_t *segment, uint32_t entry);

/* PINNED → DRAINING.  true: it was, and nobody holds it: the caller may free it.  false: it was not PINNED, or has pins. */
bool afpa__pin_drain(const afpa__segment_t *segment, uint32_t entry);

/* "pinned"; "?" for a value that is no state. */
const char *afpa__pin_state_name(afpa__pin_state_t state);

#endif
