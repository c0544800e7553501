/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator where chunks are short: slots of a larger class, and what that leaves free.  That nothing overlaps and all of it
 * comes back is in check_chunk.c, whose sequences go there too.
 */
#include "config.h"

#include "check_main.h"
#include "chunk.h"
#include "fixture.h"
#include "space.h"

#define ZONE (8u << 20)
#define ALLOCATIONS 2000u

typedef struct piece {
    uint32_t chunk, offset, length;
} piece_t;

typedef struct state {
    fixture_t f;
    afpa__segment_t *s;
    piece_t pieces[ALLOCATIONS];
    uint32_t count;
} state_t;

static void begin(state_t *t)
{
    memset(t, 0, sizeof(*t));
    fixture_begin(&t->f, ZONE);
    t->s = t->f.segment;
}

static bool take(state_t *t, uint32_t length)
{
    piece_t *p = &t->pieces[t->count];

    ck_assert_uint_lt(t->count, ALLOCATIONS);
    p->length = length;
    if (!afpa__chunk_alloc(t->s, length, &p->chunk, &p->offset))
        return false;
    t->count++;
    return true;
}

static void give(state_t *t)
{
    const piece_t *p = &t->pieces[--t->count];

    afpa__chunk_free(t->s, p->chunk, p->offset, p->length, false);
}

/* Takes whole chunks until so many are free. */
static void leave_chunks(state_t *t, uint64_t chunks)
{
    while (t->s->space->free_chunks > chunks)
        ck_assert(take(t, FIXTURE_CHUNK));
}

static void end(state_t *t)
{
    while (t->count > 0)
        give(t);
    ck_assert_uint_eq(t->s->space->free_chunks, t->s->layout.chunks);
    ck_assert_uint_eq(t->s->space->bytes_used, 0);
    fixture_end(&t->f);
}

/* Whether `length` bytes get a slot beside 4096 bytes that lie in a chunk of their own class. */
static bool lies_beside(uint32_t length, uint64_t free_chunks)
{
    uint32_t chunk;
    bool beside;
    state_t t;

    begin(&t);
    leave_chunks(&t, free_chunks + 1);
    ck_assert(take(&t, 4096));
    chunk = t.pieces[t.count - 1].chunk;
    ck_assert(take(&t, length));
    beside = t.pieces[t.count - 1].chunk == chunk;
    ck_assert_uint_eq(afpa__chunk_taken(t.s, t.pieces[t.count - 1].chunk, length), beside ? 4096 : afpa__chunk_cost(t.s, length));
    end(&t);
    return beside;
}

static const struct {
    uint32_t length;
    uint64_t free_chunks;
    bool beside;
} beside_cases[] = {
    /* as long as there is a free chunk for every class, each has its own */
    {3500, AFPA_CLASSES + 1, false},
    {2048, AFPA_CLASSES + 1, false},
    {4000, AFPA_CLASSES + 1, true},
    /* then up to twice the size */
    {3500, AFPA_CLASSES, true},
    {2049, AFPA_CLASSES, true},
    {2048, AFPA_CLASSES, true},
    {1900, AFPA_CLASSES, false},
    {1900, 1, false},
    {64, AFPA_CLASSES, false},
    {4608, AFPA_CLASSES, false}, /* a larger one does not fit */
    /* and what is no slot takes no slot */
    {9000, 1, false},
};

START_TEST(larger_slots)
{
    ck_assert_int_eq(lies_beside(beside_cases[_i].length, beside_cases[_i].free_chunks), beside_cases[_i].beside);
}
END_TEST

/* The slot of the own class first, if there is one. */
START_TEST(own_class_first)
{
    uint32_t own;
    state_t t;

    begin(&t);
    ck_assert(take(&t, 4096));
    ck_assert(take(&t, 3500));
    own = t.pieces[1].chunk;
    ck_assert_uint_ne(own, t.pieces[0].chunk);
    leave_chunks(&t, 2);
    ck_assert(take(&t, 3500));
    ck_assert_uint_eq(t.pieces[t.count - 1].chunk, own);
    end(&t);
}
END_TEST

/* What a small zone is for: files of many sizes.  It takes much of its bytes before it has to say no; each class with chunks of its
 * own would take a tenth. */
START_TEST(many_sizes_in_few_chunks)
{
    uint64_t random = 5, payload = 0;
    uint32_t length;
    state_t t;

    begin(&t);
    leave_chunks(&t, 24);
    while (take(&t, length = 64 + (uint32_t)check_below(&random, 8129)))
        payload += length;
    ck_assert_uint_gt(payload * 100, 24u * FIXTURE_CHUNK * 45u);
    end(&t);
}
END_TEST

/* After a process died under the lock: from the allocations alone, in any order, the same slots are taken of slots of the same
 * size. */
START_TEST(derived_again)
{
    uint64_t random = 17, used;
    afpa__chunk_shared_t *before;
    uint32_t larger = 0;
    state_t t;

    begin(&t);
    leave_chunks(&t, 24);
    while (take(&t, 64 + (uint32_t)check_below(&random, 8129)))
        larger += afpa__chunk_taken(t.s, t.pieces[t.count - 1].chunk, t.pieces[t.count - 1].length) >
                  afpa__chunk_cost(t.s, t.pieces[t.count - 1].length);
    ck_assert_uint_gt(larger, 10);
    used = t.s->space->bytes_used;
    before = malloc(t.s->layout.chunks * sizeof(*before));
    memcpy(before, t.s->chunks, t.s->layout.chunks * sizeof(*before));
    afpa__chunk_reset(t.s);
    for (uint32_t i = t.count; i-- > 0;)
        ck_assert(afpa__chunk_claim(t.s, t.pieces[i].chunk, t.pieces[i].offset, t.pieces[i].length));
    afpa__chunk_relist(t.s);
    for (uint32_t i = 0; i < t.s->layout.chunks; i++) {
        const afpa__chunk_shared_t *a = &t.s->chunks[i], *b = &before[i];

        ck_assert(a->kind == b->kind && a->used == b->used);
        ck_assert(a->kind != AFPA__CHUNK_SLOTS || a->class_id == b->class_id);
        ck_assert_mem_eq(a->bitmap, b->bitmap, sizeof(a->bitmap));
    }
    ck_assert_uint_eq(t.s->space->bytes_used, used);
    free(before);
    end(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chunk_slots");
    TCase *tc = tcase_create("larger_slots");

    tcase_add_loop_test(tc, larger_slots, 0, (int)CHECK_COUNT(beside_cases));
    suite_add_tcase(suite, tc);
    check_add(suite, "own_class_first", own_class_first);
    check_add(suite, "many_sizes_in_few_chunks", many_sizes_in_few_chunks);
    check_add(suite, "derived_again", derived_again);
    return check_main(suite);
}
