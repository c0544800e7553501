/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify finds damage: each rule it holds a segment against is broken on purpose, and the problem is told in words that say where
 * it is.
 */
#include "config.h"

#include "index.h"
#include "key.h"
#include "object.h"
#include "pin.h"
#include "space.h"
#include "verify_state.h"

static afpa__entry_shared_t *entry_of(afpa__segment_t *s, uint32_t object, uint32_t index)
{
    return &s->entries[afpa__object_entry(s, object, index)];
}

static void state_to(afpa__entry_shared_t *e, unsigned state, uint32_t owner)
{
    atomic_store(&e->word, afpa__word((afpa__pin_state_t)state, owner, afpa__word_generation(e->word)));
}

static void entry_state(afpa__segment_t *s)
{
    state_to(entry_of(s, BIG, 3), 5, 0);
}

static void entry_object(afpa__segment_t *s)
{
    entry_of(s, BIG, 3)->object = HALF;
}

static void entry_filled_by_nobody(afpa__segment_t *s)
{
    state_to(entry_of(s, BIG, 9), AFPA__FILLING, 7);
}

static void entry_filled_by_no_slot(afpa__segment_t *s)
{
    state_to(entry_of(s, BIG, 9), AFPA__FILLING, AFPA_OWNERS);
}

static void entry_without_chunk(afpa__segment_t *s)
{
    entry_of(s, SMALL, 0)->chunk = AFPA_NONE;
}

static void draining_without_chunk(afpa__segment_t *s)
{
    entry_of(s, BIG, 2)->chunk = AFPA_NONE;
    state_to(entry_of(s, BIG, 2), AFPA__DRAINING, 0);
}

static void entry_empty_with_chunk(afpa__segment_t *s)
{
    state_to(entry_of(s, HALF, 0), AFPA__EMPTY, 0);
}

static void entry_length(afpa__segment_t *s)
{
    entry_of(s, HALF, 0)->length = 29999;
}

static void entry_chunk_outside(afpa__segment_t *s)
{
    entry_of(s, HALF, 0)->chunk = s->layout.chunks;
}

static void entry_chunk_twice(afpa__segment_t *s)
{
    entry_of(s, BIG, 5)->chunk = entry_of(s, BIG, 4)->chunk;
}

static void entry_offset(afpa__segment_t *s)
{
    entry_of(s, SMALL, 0)->offset = FIXTURE_CHUNK - 8;
}

static void group_twice(afpa__segment_t *s)
{
    s->groups[s->objects[BIG].group] = s->objects[BIG].group;
}

static void group_outside(afpa__segment_t *s)
{
    s->groups[s->objects[BIG].group] = s->layout.groups;
}

static void entries_of_nothing(afpa__segment_t *s)
{
    s->objects[BIG].entries = UINT32_MAX;
}

static void entries_too_few(afpa__segment_t *s)
{
    s->objects[BIG].entries = 9;
}

static void no_phase(afpa__segment_t *s)
{
    atomic_store(&s->objects[HALF].phase, 4);
}

static void key_outside(afpa__segment_t *s)
{
    s->objects[HALF].key_chunk = s->layout.chunks;
}

static void key_twice(afpa__segment_t *s)
{
    s->objects[HALF].key_chunk = s->objects[SMALL].key_chunk;
    s->objects[HALF].key_offset = s->objects[SMALL].key_offset;
}

static void key_changed(afpa__segment_t *s)
{
    afpa__data_at(s, s->objects[SMALL].key_chunk, s->objects[SMALL].key_offset, 1)[0] ^= 1;
}

static void hash_changed(afpa__segment_t *s)
{
    atomic_fetch_xor(&s->objects[SMALL].hash, UINT64_C(1) << 60);
}

static _Atomic uint32_t *head_of(afpa__segment_t *s, uint32_t object)
{
    return &s->buckets[afpa__key_bucket(s, s->objects[object].hash)].head;
}

static void bucket_version(afpa__segment_t *s)
{
    atomic_store(&s->buckets[3].version, 7);
}

static void bucket_circle(afpa__segment_t *s)
{
    atomic_store(&s->objects[SMALL].hash_next, SMALL);
}

static void bucket_outside(afpa__segment_t *s)
{
    atomic_store(&s->buckets[3].head, s->layout.objects);
}

static void bucket_of_another(afpa__segment_t *s)
{
    atomic_store(head_of(s, SMALL), AFPA_NONE);
    atomic_store(&s->buckets[(afpa__key_bucket(s, s->objects[SMALL].hash) + 1) % s->layout.buckets].head, SMALL);
}

static void bucket_of_the_free(afpa__segment_t *s)
{
    atomic_store(&s->buckets[afpa__key_bucket(s, s->objects[100].hash)].head, 100);
}

static void not_in_the_index(afpa__segment_t *s)
{
    afpa__index_remove(s, HALF);
}

/* The queue from its newest: half, big, small. */
static void queue_circle(afpa__segment_t *s)
{
    s->objects[SMALL].next = HALF;
}

static void queue_outside(afpa__segment_t *s)
{
    s->objects[BIG].next = s->layout.objects + 5;
}

static void queue_backwards(afpa__segment_t *s)
{
    s->objects[BIG].previous = AFPA_NONE;
}

static void queue_name(afpa__segment_t *s)
{
    s->objects[BIG].queue = AFPA__QUEUE_MAIN;
}

static void queue_count(afpa__segment_t *s)
{
    s->space->queue[AFPA__QUEUE_SMALL].count++;
}

static void queue_bytes(afpa__segment_t *s)
{
    s->space->queue[AFPA__QUEUE_MAIN].bytes--;
}

static void queue_tail(afpa__segment_t *s)
{
    s->space->queue[AFPA__QUEUE_SMALL].tail = BIG;
}

static void not_in_the_queue(afpa__segment_t *s)
{
    afpa__queue_remove(s, HALF);
}

static void free_list_short(afpa__segment_t *s)
{
    s->space->free_object = s->objects[s->space->free_object].next;
}

static void free_list_count(afpa__segment_t *s)
{
    s->space->free_objects--;
}

static void free_list_circle(afpa__segment_t *s)
{
    s->objects[s->objects[s->space->free_object].next].next = s->space->free_object;
}

static void free_group_lost(afpa__segment_t *s)
{
    s->space->free_group = s->groups[s->space->free_group];
}

static void free_group_in_use(afpa__segment_t *s)
{
    s->groups[s->space->free_group] = s->objects[BIG].group;
}

static void free_group_count(afpa__segment_t *s)
{
    s->space->free_groups++;
}

static void draining_circle(afpa__segment_t *s)
{
    s->space->draining = BIG;
    s->entries[BIG].next = BIG;
}

static void draining_outside(afpa__segment_t *s)
{
    s->space->draining = s->layout.entries;
}

static void not_draining(afpa__segment_t *s)
{
    afpa__index_remove(s, HALF);
    afpa__queue_remove(s, HALF);
    atomic_store(&s->objects[HALF].phase, AFPA__PHASE_RETIRED);
}

static void chunk_bitmap(afpa__segment_t *s)
{
    s->chunks[entry_of(s, SMALL, 0)->chunk].bitmap[8] ^= 1;
}

static void chunk_used(afpa__segment_t *s)
{
    s->chunks[entry_of(s, HALF, 0)->chunk].used++;
}

static void chunk_lost(afpa__segment_t *s)
{
    s->chunks[s->layout.chunks - 1].used = 64;
    s->chunks[s->layout.chunks - 1].bitmap[0] = UINT64_MAX;
}

static void chunk_kind(afpa__segment_t *s)
{
    s->chunks[entry_of(s, BIG, 3)->chunk].kind = AFPA__CHUNK_FREE;
}

static void total_used(afpa__segment_t *s)
{
    s->space->bytes_used += 8;
}

static void total_cached(afpa__segment_t *s)
{
    s->space->bytes_cached--;
}

static void total_holed(afpa__segment_t *s)
{
    s->space->holed++;
}

static void list_circle(afpa__segment_t *s)
{
    s->chunks[s->chunks[s->space->free_chunk].next].next = s->space->free_chunk;
}

static void list_outside(afpa__segment_t *s)
{
    s->space->runs[12] = s->layout.chunks;
}

static void list_back(afpa__segment_t *s)
{
    s->chunks[s->chunks[s->space->free_chunk].next].previous = AFPA_NONE;
}

static void list_short(afpa__segment_t *s)
{
    s->space->free_chunk = s->chunks[s->space->free_chunk].next;
    s->chunks[s->space->free_chunk].previous = AFPA_NONE;
}

static void list_count(afpa__segment_t *s)
{
    s->space->free_chunks++;
}

static void ledger_of_nobody(afpa__segment_t *s)
{
    atomic_store(&s->owners[5].windows, 1);
    atomic_store(&afpa__ledger_row(s, 5)[17], 1);
}

static void lock_of_shard(afpa__segment_t *s)
{
    memset(&s->shards[9].lock, 0x5a, sizeof(s->shards[9].lock));
}

static void lock_of_space(afpa__segment_t *s)
{
    memset(&s->space->lock, 0x5a, sizeof(s->space->lock));
}

#define DAMAGE(how) #how, how

static const struct {
    const char *label;
    void (*damage)(afpa__segment_t *s);
    const char *says;
} cases[] = {
    {DAMAGE(entry_state), "object 1, entry 3: no such state\n"},
    {DAMAGE(entry_object), "object 1, entry 3: belongs to object 2\n"},
    {DAMAGE(entry_filled_by_nobody), "object 1, entry 9: being filled by nobody\n"},
    {DAMAGE(entry_filled_by_no_slot), "object 1, entry 9: being filled by nobody\n"},
    {DAMAGE(entry_without_chunk), "object 0, entry 0: pinned without a chunk\n"},
    {DAMAGE(draining_without_chunk), "object 1, entry 2: draining without a chunk\n"},
    {DAMAGE(entry_empty_with_chunk), "object 2, entry 0: empty, but has chunk "},
    {DAMAGE(entry_length), "object 2, entry 0: has 29999 bytes instead of 30000\n"},
    {DAMAGE(entry_chunk_outside), "object 2, entry 0: chunk "},
    {DAMAGE(entry_chunk_twice), "object 1, entry 5: chunk "},
    {DAMAGE(entry_offset), "object 0, entry 0: chunk "},
    {DAMAGE(group_twice), "object 1: group "},
    {DAMAGE(group_outside), "object 1: pin array has 9 entries, not 10\n"},
    {DAMAGE(entries_of_nothing), "object 1: pin array has 0 entries, not 4294967295\n"},
    {DAMAGE(entries_too_few), "object 1: 9 entries for 655360 bytes\n"},
    {DAMAGE(no_phase), "object 2: no such phase\n"},
    {DAMAGE(key_outside), "object 2: its key is out of range or used twice\n"},
    {DAMAGE(key_twice), "object 2: its key is out of range or used twice\n"},
    {DAMAGE(key_changed), "object 0: its hash is not that of its key\n"},
    {DAMAGE(hash_changed), "object 0: its hash is not that of its key\n"},
    {DAMAGE(bucket_version), "bucket 3: left in the middle of a change\n"},
    {DAMAGE(bucket_circle), "bucket "},
    {DAMAGE(bucket_outside), "bucket 3: chain leads out of the table or in a circle\n"},
    {DAMAGE(bucket_of_another), "bucket "},
    {DAMAGE(bucket_of_the_free), "bucket 0: object 100 does not belong there\n"},
    {DAMAGE(not_in_the_index), "3 objects are live, 2 are in the index\n"},
    {DAMAGE(queue_circle), "queue 1: leads out of the table or in a circle\n"},
    {DAMAGE(queue_outside), "queue 1: leads out of the table or in a circle\n"},
    {DAMAGE(queue_backwards), "queue 1: object 1 is linked wrongly\n"},
    {DAMAGE(queue_name), "queue 1: object 1 is linked wrongly\n"},
    {DAMAGE(queue_count), "queue 1: says 4 objects, "},
    {DAMAGE(queue_bytes), "queue 2: says 0 objects, 18446744073709551615 bytes; has 0, 0\n"},
    {DAMAGE(queue_tail), "queue 1: says 3 objects, "},
    {DAMAGE(not_in_the_queue), "3 objects are live, 2 are in the queues\n"},
    {DAMAGE(free_list_short), "2337 object records are free, 2336 are on the free list\n"},
    {DAMAGE(free_list_count), "2337 object records are free, 2337 are on the free list\n"},
    {DAMAGE(free_list_circle), "2337 object records are free, 2 are on the free list\n"},
    {DAMAGE(free_group_lost), "2 groups are used, "},
    {DAMAGE(free_group_in_use), "2 groups are used, 1 free, "},
    {DAMAGE(free_group_count), "2 groups are used, "},
    {DAMAGE(draining_circle), "the draining list leads out of the table or in a circle\n"},
    {DAMAGE(draining_outside), "the draining list leads out of the table or in a circle\n"},
    {DAMAGE(not_draining), "1 objects are retired, 0 are on the draining list\n"},
    {DAMAGE(chunk_bitmap), "chunk "},
    {DAMAGE(chunk_used), "chunk "},
    {DAMAGE(chunk_lost), "chunk "},
    {DAMAGE(chunk_kind), "chunk "},
    {DAMAGE(total_used), "totals: "},
    {DAMAGE(total_cached), "totals: "},
    {DAMAGE(total_holed), "totals: "},
    {DAMAGE(list_circle), "chunk list 1: leads out of the table, in a circle or onto another\n"},
    {DAMAGE(list_outside), "chunk list 71: leads out of the table, in a circle or onto another\n"},
    {DAMAGE(list_back), "chunk list 1: leads out of the table, in a circle or onto another\n"},
    {DAMAGE(list_short), "chunk "},
    {DAMAGE(list_count), ""},
    {DAMAGE(ledger_of_nobody), "ledger 5: has pins of entry 17, but no owner\n"},
    {DAMAGE(lock_of_shard), "shard 9: its lock cannot be had\n"},
    {DAMAGE(lock_of_space), "the space lock cannot be had\n"},
};

START_TEST(damage)
{
    uint64_t length;
    char *before;
    size_t found;
    fixture_t f;

    state_begin(&f);
    length = f.segment->layout.ledger_at;
    before = malloc(length);
    ck_assert_ptr_nonnull(before);
    memcpy(before, f.segment->base, length);
    cases[_i].damage(f.segment);
    found = verify(&f);
    ck_assert_msg(found > 0, "%s is not found", cases[_i].label);
    ck_assert_uint_eq(found, said.count);
    ck_assert_msg(says(cases[_i].says), "%s: %s", cases[_i].label, said.text);
    for (uint64_t shard = 0; shard < AFPA_SHARDS; shard++) /* nothing stays locked */
        if (cases[_i].damage != lock_of_shard || shard != 9) {
            afpa__shard_take(f.segment, shard);
            afpa__shard_release(f.segment, shard);
        }
    memcpy(f.segment->base, before, length);
    free(before);
    fixture_end(&f); /* sound again */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("verify_damage");

    check_add_loop(suite, "damage", damage, CHECK_COUNT(cases));
    return check_main(suite);
}
