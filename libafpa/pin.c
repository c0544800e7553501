/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 5 of 7: pins.  In: a pin entry and a generation.  Out: held, or not.
 *
 * An entry goes EMPTY → FILLING → PINNED → DRAINING → EMPTY, its generation one up at the end (FILLING → EMPTY when a fill fails).
 * Its pin count is the sum over processes: each owner has a row of cells, one per entry, which only that process writes.  So a
 * pin costs one atomic addition in a cache line no other process writes, and a dead process's pins go by zeroing its row.
 *
 *     pin:   cell += 1;  load word;  PINNED, same generation?  held  :  cell −= 1
 *     evict: word PINNED → DRAINING;  sum of cells;  0?  free  :  wait
 *
 * Both write first and read the other's word second, all four sequentially consistent.  So at least one of the two sees the
 * other: either the evictor counts the new pin, or the pinner sees DRAINING (Dekker's argument).  From DRAINING there is no way
 * back, so a count of 0 seen there is final.
 * What an entry describes (chunk, offset, length, and for the first entry of an object the whole record) does not change while
 * it is PINNED or DRAINING.
 */
#include "config.h"

#include "pin.h"

/* Gives a part of the row its memory.  tmpfs may be full: then we must know before we touch it, or die of SIGBUS.
 * The bit is set before the first cell is written, so whoever sums either sees the bit or was early enough not to matter. */
bool afpa__pin_window_open(afpa__ledger_t *l, uint32_t entry)
{
    const afpa__layout_t *lay = &l->segment->layout;
    uint64_t at = lay->ledger_window * (entry / lay->window_entries), length = lay->ledger_window;

    if (at + length > lay->ledger_row)
        length = lay->ledger_row - at;
    if (!afpa__segment_reserve(l->segment, lay->ledger_at + lay->ledger_row * l->slot + at, length))
        return false;
    atomic_fetch_or(l->windows, afpa__pin_window_bit(l->segment, entry));
    return true;
}

/* Adds up the cells of an entry, shifted and masked; rows without memory there are passed over, reading them would take some. */
static uint64_t sum(const afpa__segment_t *s, uint32_t entry, unsigned shift)
{
    uint32_t high = atomic_load(&s->header->owner_high);
    uint64_t total = 0, bit = afpa__pin_window_bit(s, entry);

    for (uint32_t slot = 0; slot < high && slot < AFPA_OWNERS; slot++)
        if (atomic_load(&s->owners[slot].windows) & bit)
            total += (atomic_load(&afpa__ledger_row(s, slot)[entry]) >> shift) & UINT32_MAX;
    return total;
}

uint64_t afpa__pin_count(const afpa__segment_t *s, uint32_t entry)
{
    return sum(s, entry, 0);
}

uint64_t afpa__pin_hits(const afpa__segment_t *s, uint32_t entry)
{
    return sum(s, entry, 32);
}

bool afpa__pin_drain(const afpa__segment_t *s, uint32_t entry)
{
    afpa__entry_shared_t *e = &s->entries[entry];
    uint64_t word = atomic_load(&e->word);

    if (afpa__word_state(word) == AFPA__PINNED)
        atomic_compare_exchange_strong(&e->word, &word, afpa__word(AFPA__DRAINING, 0, afpa__word_generation(word)));
    return afpa__word_state(atomic_load(&e->word)) == AFPA__DRAINING && afpa__pin_count(s, entry) == 0;
}

const char *afpa__pin_state_name(afpa__pin_state_t state)
{
    static const char *const names[] = {"empty", "filling", "pinned", "draining"};

    return (unsigned)state < 4 ? names[state] : "?";
}
