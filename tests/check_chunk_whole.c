/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole chunks: that very one, and rows of them from the beginning, so that the chunks of a file lie side by side.
 */
#include "config.h"

#include "check_main.h"
#include "chunk.h"
#include "fixture.h"
#include "space.h"

#define ZONE (8u << 20)

START_TEST(that_very_chunk)
{
    uint32_t chunk, offset, used;
    fixture_t f;

    fixture_begin(&f, ZONE);
    used = f.segment->layout.chunks - f.segment->space->free_chunks;
    ck_assert(afpa__chunk_alloc(f.segment, FIXTURE_CHUNK, &chunk, &offset));
    ck_assert(!afpa__chunk_take(f.segment, chunk));
    ck_assert(afpa__chunk_take(f.segment, chunk + 5));
    ck_assert(!afpa__chunk_take(f.segment, chunk + 5));
    ck_assert_uint_eq(f.segment->layout.chunks - f.segment->space->free_chunks, used + 2);
    afpa__chunk_free(f.segment, chunk + 5, 0, FIXTURE_CHUNK, false);
    ck_assert(afpa__chunk_take(f.segment, chunk + 5));
    ck_assert(!afpa__chunk_take(f.segment, f.segment->layout.chunks));
    ck_assert(!afpa__chunk_take(f.segment, AFPA_NONE));
    ck_assert_uint_eq(f.segment->space->bytes_used, (uint64_t)(used + 2) * FIXTURE_CHUNK);
    afpa__space_rebuild(f.segment);
    fixture_end(&f);
}
END_TEST

/* However they came back, a row of free chunks is taken from its beginning. */
START_TEST(from_the_beginning)
{
    static const uint32_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}};
    uint32_t chunk, offset, first;
    fixture_t f;

    fixture_begin(&f, ZONE);
    ck_assert(afpa__chunk_alloc(f.segment, FIXTURE_CHUNK, &first, &offset)); /* stays, before the row */
    for (uint32_t i = 1; i <= 5; i++)
        ck_assert(afpa__chunk_take(f.segment, first + i)); /* the last stays, behind it */
    for (uint32_t i = 0; i < 4; i++)
        afpa__chunk_free(f.segment, first + 1 + orders[_i][i], 0, FIXTURE_CHUNK, false);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert(afpa__chunk_alloc(f.segment, FIXTURE_CHUNK, &chunk, &offset));
        ck_assert_uint_eq(chunk, first + 1 + i);
    }
    afpa__space_rebuild(f.segment);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chunk_whole");
    TCase *loops = tcase_create("from_the_beginning");

    check_add(suite, "that_very_chunk", that_very_chunk);
    tcase_add_loop_test(loops, from_the_beginning, 0, 3);
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
