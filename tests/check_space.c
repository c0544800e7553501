/* SPDX-License-Identifier: Apache-2.0
 *
 * The state under the space lock: free lists, queues, the draining list; and that all of it can be derived again from objects and
 * entries, which is what happens after a process died under the lock.
 */
#include "config.h"

#include <afpa/log.h>

#include "cache.h"
#include "check_main.h"
#include "child.h"
#include "chunk.h"
#include "evict.h"
#include "fixture.h"
#include "index.h"
#include "space.h"

#define ZONE (4u << 20)

/* ---- free lists ---- */

START_TEST(objects_listed_once)
{
    uint32_t object, count = 0;
    uint8_t *seen;
    fixture_t f;

    fixture_begin(&f, ZONE);
    seen = calloc(f.segment->layout.objects, 1);
    afpa__space_take(f.segment);
    while ((object = afpa__space_object(f.segment)) != AFPA_NONE) {
        CHECK_THAT(object < f.segment->layout.objects && seen[object]++ == 0);
        count++;
    }
    ck_assert_uint_eq(count, f.segment->layout.objects);
    ck_assert_uint_eq(f.segment->space->free_objects, 0);
    for (object = 0; object < count; object++)
        afpa__space_object_free(f.segment, object);
    ck_assert_uint_eq(f.segment->space->free_objects, count);
    ck_assert_uint_eq(afpa__space_object(f.segment), count - 1);
    afpa__space_object_free(f.segment, count - 1);
    afpa__space_release(f.segment);
    free(seen);
    fixture_end(&f);
}
END_TEST

START_TEST(groups_listed_once)
{
    uint32_t group, count = 0;
    uint8_t *seen;
    fixture_t f;

    fixture_begin(&f, ZONE);
    seen = calloc(f.segment->layout.groups, 1);
    afpa__space_take(f.segment);
    while ((group = afpa__space_group(f.segment)) != AFPA_NONE) {
        CHECK_THAT(group < f.segment->layout.groups && seen[group]++ == 0);
        count++;
    }
    ck_assert_uint_eq(count, f.segment->layout.groups);
    ck_assert_uint_eq(f.segment->space->free_groups, 0);
    for (group = 0; group < count; group++)
        afpa__space_group_free(f.segment, group);
    ck_assert_uint_eq(f.segment->space->free_groups, count);
    afpa__space_release(f.segment);
    free(seen);
    fixture_end(&f);
}
END_TEST

/* ---- queues ---- */

#define QUEUED 5u

/* Takes records off the free list, so that nothing else uses them. */
static void queue_begin(fixture_t *f, uint32_t *objects)
{
    fixture_begin(f, ZONE);
    afpa__space_take(f->segment);
    for (uint32_t i = 0; i < QUEUED; i++) {
        objects[i] = afpa__space_object(f->segment);
        f->segment->objects[objects[i]].bytes = 100 * (i + 1);
        f->segment->objects[objects[i]].key_length = i;
        afpa__queue_push(f->segment, objects[i], AFPA__QUEUE_MAIN);
    }
}

static void queue_end(fixture_t *f, const uint32_t *objects)
{
    const afpa__queue_shared_t *q = &f->segment->space->queue[AFPA__QUEUE_MAIN];

    for (uint32_t i = 0; i < QUEUED; i++) {
        afpa__queue_remove(f->segment, objects[i]); /* again, for some: nothing */
        f->segment->objects[objects[i]].bytes = f->segment->objects[objects[i]].key_length = 0;
        afpa__space_object_free(f->segment, objects[i]);
    }
    ck_assert_uint_eq(q->count, 0);
    ck_assert_uint_eq(q->bytes, 0);
    ck_assert_uint_eq(q->head, AFPA_NONE);
    ck_assert_uint_eq(q->tail, AFPA_NONE);
    afpa__space_release(f->segment);
    fixture_end(f);
}

/* First in, first out, whichever is taken from the middle meanwhile. */
START_TEST(queue_order)
{
    uint32_t objects[QUEUED], count = QUEUED, gone = (uint32_t)_i;
    const afpa__queue_shared_t *q;
    uint64_t bytes = 0;
    fixture_t f;

    queue_begin(&f, objects);
    q = &f.segment->space->queue[AFPA__QUEUE_MAIN];
    if (gone < QUEUED) {
        afpa__queue_remove(f.segment, objects[gone]);
        ck_assert_int_eq(f.segment->objects[objects[gone]].queue, AFPA__QUEUE_NONE);
        count--;
    }
    ck_assert_uint_eq(q->count, count);
    for (uint32_t i = 0; i < QUEUED; i++)
        if (i != gone)
            bytes += afpa__queue_weight(&f.segment->objects[objects[i]]);
    ck_assert_uint_eq(q->bytes, bytes);
    for (uint32_t i = 0; i < QUEUED; i++) {
        if (i == gone)
            continue;
        ck_assert_uint_eq(q->tail, objects[i]);
        afpa__queue_remove(f.segment, objects[i]);
    }
    queue_end(&f, objects);
}
END_TEST

START_TEST(queue_weight)
{
    afpa__object_shared_t o = {.bytes = 1000, .key_length = 50};

    ck_assert_uint_eq(afpa__queue_weight(&o), 1050 + sizeof(afpa__object_shared_t) + sizeof(afpa__entry_shared_t));
}
END_TEST

/* ---- draining ---- */

/* Retired objects and draining entries wait there for their last pin, linked once however often they are put there. */
START_TEST(draining)
{
    afpa_extent_t extent;
    const char *path;
    uint32_t later;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 2 * FIXTURE_CHUNK, 1);
    ref = fixture_open(&f, "a");
    ck_assert_int_eq(afpa_cache_pin(&ref, 1, AFPA_PIN_COPY, &extent), AFPA_OK);
    later = extent.entry;
    afpa__space_take(f.segment);
    ck_assert(!afpa__pin_drain(f.segment, later));
    afpa__draining_push(f.segment, later);
    afpa__draining_push(f.segment, later);
    ck_assert(!afpa__draining_poll(f.segment));
    ck_assert_uint_eq(f.segment->space->draining, later);
    afpa_cache_unpin(&extent);
    ck_assert(afpa__draining_poll(f.segment));
    ck_assert_uint_eq(f.segment->space->draining, AFPA_NONE);
    ck_assert(!afpa__draining_poll(f.segment));
    ck_assert_int_eq(afpa__word_state(atomic_load(&f.segment->entries[later].word)), AFPA__EMPTY);
    afpa__space_release(f.segment);

    ck_assert_int_eq(afpa_cache_purge(f.cache, path, strlen(path)), AFPA_OK);
    ck_assert_uint_eq(f.segment->space->draining, ref.object);
    afpa_cache_release(&ref);
    afpa__space_take(f.segment);
    ck_assert(afpa__draining_poll(f.segment));
    ck_assert_uint_eq(f.segment->space->draining, AFPA_NONE);
    afpa__space_release(f.segment);
    fixture_end(&f);
}
END_TEST

/* ---- deriving it again ---- */

/* What a rebuild must give back; lists may come in another order. */
typedef struct summary {
    uint64_t objects, groups, chunks, used, cached, small_count, small_bytes, main_count, main_bytes, draining;
} summary_t;

static summary_t summary(const afpa__segment_t *s)
{
    const afpa__space_shared_t *p = s->space;
    summary_t sum = {p->free_objects,
                     p->free_groups,
                     p->free_chunks,
                     p->bytes_used,
                     p->bytes_cached,
                     p->queue[AFPA__QUEUE_SMALL].count,
                     p->queue[AFPA__QUEUE_SMALL].bytes,
                     p->queue[AFPA__QUEUE_MAIN].count,
                     p->queue[AFPA__QUEUE_MAIN].bytes,
                     0};

    for (uint32_t at = p->draining; at != AFPA_NONE; at = s->entries[at].next)
        sum.draining++;
    return sum;
}

/* Objects in each phase, chunks in each state. */
typedef struct scene {
    fixture_t f;
    afpa_ref_t held, retired, draining;
    afpa_extent_t extent;
} scene_t;

static void scene_begin(scene_t *n)
{
    char name[16];

    fixture_begin(&n->f, ZONE);
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        fixture_file(&n->f, name, i * i * 100, 1);
        fixture_load(&n->f, name);
    }
    fixture_file(&n->f, "held", 100000, 1);
    fixture_file(&n->f, "retired", 300000, 1);
    fixture_file(&n->f, "draining", 200000, 1);
    n->held = fixture_open(&n->f, "held");
    n->retired = fixture_open(&n->f, "retired");
    n->draining = fixture_open(&n->f, "draining");
    afpa_cache_purge(n->f.cache, fixture_path(&n->f, "retired"), strlen(fixture_path(&n->f, "retired")));
    ck_assert_int_eq(afpa_cache_pin(&n->draining, 1, AFPA_PIN_COPY, &n->extent), AFPA_OK);
    afpa__space_take(n->f.segment);
    ck_assert(!afpa__pin_drain(n->f.segment, n->extent.entry));
    afpa__draining_push(n->f.segment, n->extent.entry);
    afpa__space_release(n->f.segment);
}

/* All that was held is whole, everything can be given back. */
static void scene_end(scene_t *n)
{
    afpa_extent_t extent;

    ck_assert(fixture_right(&n->extent, "draining", 1, FIXTURE_CHUNK));
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(afpa_cache_pin(&n->retired, i, AFPA_PIN_COPY, &extent), AFPA_OK);
        ck_assert(fixture_right(&extent, "retired", 1, i * (uint64_t)FIXTURE_CHUNK));
        afpa_cache_unpin(&extent);
    }
    afpa_cache_unpin(&n->extent);
    afpa_cache_release(&n->held);
    afpa_cache_release(&n->retired);
    afpa_cache_release(&n->draining);
    ck_assert_uint_eq(fixture_problems(&n->f, true), 0);
    for (unsigned i = 0; i < 60; i++) {
        char name[16];

        snprintf(name, sizeof(name), "file%u", i);
        fixture_load(&n->f, name);
    }
    fixture_end(&n->f);
}

/* Everything that can be derived is spoilt, then derived. */
static void spoil(afpa__segment_t *s)
{
    afpa__space_shared_t *p = s->space;

    p->free_object = p->free_group = p->free_chunk = p->draining = AFPA_NONE;
    p->free_objects = p->free_groups = p->free_chunks = p->bytes_used = p->bytes_cached = 4711;
    memset(p->queue, 0x11, sizeof(p->queue));
    memset(p->slots, 0x22, sizeof(p->slots));
    memset(p->runs, 0x33, sizeof(p->runs));
}

START_TEST(rebuilt)
{
    summary_t before, after;
    scene_t n;

    scene_begin(&n);
    before = summary(n.f.segment);
    ck_assert_uint_eq(before.draining, 2);
    afpa__space_take(n.f.segment);
    spoil(n.f.segment);
    afpa__space_rebuild(n.f.segment);
    afpa__space_release(n.f.segment);
    after = summary(n.f.segment);
    ck_assert_mem_eq(&before, &after, sizeof(before));
    ck_assert_uint_eq(atomic_load(&n.f.segment->header->broken), 0);
    scene_end(&n);
}
END_TEST

static unsigned warnings;

static void on_log(void *context, afpa_log_level_t level, const char *line)
{
    (void)context;
    warnings += level == AFPA_LOG_WARN && strstr(line, "free lists are rebuilt") != NULL;
}

static child_result_t die_under_the_lock(void *arg)
{
    fixture_t *f = arg;

    afpa__space_take(f->segment);
    spoil(f->segment);
    raise(SIGKILL);
    return CHILD_BAD;
}

START_TEST(holder_died)
{
    scene_t n;
    int status;

    scene_begin(&n);
    status = child_wait(child_start(die_under_the_lock, &n.f));
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    warnings = 0;
    afpa_log_set(on_log, NULL, AFPA_LOG_WARN);
    afpa__space_take(n.f.segment);
    afpa__space_release(n.f.segment);
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    ck_assert_uint_eq(warnings, 1);
    scene_end(&n);
}
END_TEST

/* Two objects that claim the same room, or group: nobody can say who is right, so the segment is given up. */
static void same_room(scene_t *n)
{
    afpa__entry_shared_t *a = &n->f.segment->entries[n->held.object], *b = &n->f.segment->entries[n->draining.object];

    a->chunk = b->chunk;
    a->offset = b->offset;
}

static void same_group(scene_t *n)
{
    n->f.segment->objects[n->held.object].group = n->f.segment->objects[n->draining.object].group;
}

static void group_outside(scene_t *n)
{
    n->f.segment->objects[n->held.object].group = n->f.segment->layout.groups;
}

static void key_outside(scene_t *n)
{
    n->f.segment->objects[n->held.object].key_chunk = n->f.segment->layout.chunks;
}

static void entry_of_another(scene_t *n)
{
    n->f.segment->entries[n->held.object].object = n->draining.object;
}

static void no_phase(scene_t *n)
{
    atomic_store(&n->f.segment->objects[n->held.object].phase, 4);
}

static void (*const contradictions[])(scene_t *) = {same_room, same_group, group_outside, key_outside, entry_of_another, no_phase};

/* Nothing is on a list, nothing is given out, nothing that is given back is given out again. */
static void nothing_moves(afpa__segment_t *s)
{
    const afpa__space_shared_t *p = s->space;
    uint32_t chunk, offset;

    ck_assert(p->free_object == AFPA_NONE && p->free_group == AFPA_NONE && p->free_chunk == AFPA_NONE && p->draining == AFPA_NONE);
    for (uint32_t i = 0; i < AFPA_CLASSES; i++)
        ck_assert_uint_eq(p->slots[i], AFPA_NONE);
    for (uint32_t i = 0; i <= AFPA_UNITS; i++)
        ck_assert_uint_eq(p->runs[i], AFPA_NONE);
    for (int i = 0; i < AFPA__QUEUES; i++)
        ck_assert(p->queue[i].head == AFPA_NONE && p->queue[i].tail == AFPA_NONE && p->queue[i].count == 0);
    afpa__space_object_free(s, 0);
    afpa__space_group_free(s, 0);
    afpa__chunk_free(s, 0, 0, FIXTURE_CHUNK, true);
    afpa__draining_push(s, 0);
    afpa__queue_push(s, 0, AFPA__QUEUE_MAIN);
    afpa__queue_remove(s, 0);
    ck_assert(!afpa__draining_poll(s) && !afpa__evict_one(s, AFPA__EVICT_CHUNKS));
    ck_assert(afpa__space_object(s) == AFPA_NONE && afpa__space_group(s) == AFPA_NONE);
    ck_assert(!afpa__chunk_alloc(s, 100, &chunk, &offset) && !afpa__chunk_alloc(s, FIXTURE_CHUNK, &chunk, &offset));
    for (chunk = 0; chunk < s->layout.chunks; chunk++)
        ck_assert(!afpa__chunk_take(s, chunk));
}

START_TEST(contradiction)
{
    static afpa__object_shared_t objects[2];
    static afpa__entry_shared_t entry;
    scene_t n;

    scene_begin(&n);
    objects[0] = n.f.segment->objects[n.held.object];
    entry = n.f.segment->entries[n.held.object];
    afpa__space_take(n.f.segment);
    contradictions[_i](&n);
    afpa__space_rebuild(n.f.segment);
    ck_assert_uint_ne(atomic_load(&n.f.segment->header->broken), 0);
    nothing_moves(n.f.segment);
    n.f.segment->objects[n.held.object] = objects[0];
    n.f.segment->entries[n.held.object] = entry;
    afpa__space_rebuild(n.f.segment);
    nothing_moves(n.f.segment); /* once broken, for good */
    afpa__space_release(n.f.segment);
    ck_assert_int_eq(fixture_lookup(&n.f, "file3"), AFPA_DISABLED);
    atomic_store(&n.f.segment->header->broken, 0);
    afpa__space_take(n.f.segment);
    afpa__space_rebuild(n.f.segment);
    afpa__space_release(n.f.segment);
    scene_end(&n);
}
END_TEST

static child_result_t die_in_contradiction(void *arg)
{
    scene_t *n = arg;

    afpa__space_take(n->f.segment);
    contradictions[0](n);
    return CHILD_GOOD;
}

/* Found by a process in the middle of a reply: it gets no chunk, and what others are being sent stays as it is. */
START_TEST(found_while_filling)
{
    afpa_extent_t pinned[5], read;
    afpa_counter_t why;
    const char *path;
    afpa_ref_t more;
    scene_t n;

    scene_begin(&n);
    path = fixture_file(&n.f, "more", 20 * FIXTURE_CHUNK, 1);
    ck_assert_int_eq(afpa_cache_open(n.f.cache, path, strlen(path), &n.f.policy, &more, &why, NULL), AFPA_OK);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_int_eq(afpa_cache_pin(&n.retired, i, AFPA_PIN_REFERENCE, &pinned[i]), AFPA_OK);
    ck_assert_int_eq(child_wait(child_start(die_in_contradiction, &n)), 0);

    ck_assert_int_eq(afpa_cache_fill(&more, 1, 19), AFPA_NO_SPACE);
    ck_assert_uint_ne(atomic_load(&n.f.segment->header->broken), 0);
    ck_assert_int_eq(afpa_cache_fill(&more, 2, 18), AFPA_NO_SPACE);
    ck_assert_int_eq(afpa_cache_read(&more, 1, &read), AFPA_OK); /* the reply goes on */
    ck_assert(fixture_right(&read, "more", 1, FIXTURE_CHUNK));
    afpa_cache_unpin(&read);
    afpa_cache_purge(n.f.cache, path, strlen(path));
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert(fixture_right(&pinned[i], "retired", 1, i * (uint64_t)FIXTURE_CHUNK));
        afpa_cache_unpin(&pinned[i]);
    }
    ck_assert(fixture_right(&n.extent, "draining", 1, FIXTURE_CHUNK));
    afpa_cache_unpin(&n.extent);
    afpa_cache_release(&more);
    afpa_cache_release(&n.held);
    afpa_cache_release(&n.retired);
    afpa_cache_release(&n.draining);
    afpa_cache_reap(n.f.cache);
    fixture_drop(&n.f);
}
END_TEST

/* ---- lock order ---- */

static void take_twice(void *arg)
{
    afpa__space_take(arg);
    afpa__space_take(arg);
}

static void shard_after_space(void *arg)
{
    afpa__space_take(arg);
    afpa__shard_take(arg, 1);
}

START_TEST(lock_order)
{
    fixture_t f;

    fixture_begin(&f, ZONE);
    ck_assert(!afpa__space_mine());
    afpa__space_take(f.segment);
    ck_assert(afpa__space_mine());
    afpa__space_release(f.segment);
    ck_assert(!afpa__space_mine());
    ck_assert(check_aborts(take_twice, f.segment, NULL, 0));
    ck_assert(check_aborts(shard_after_space, f.segment, NULL, 0));
    afpa__space_take(f.segment); /* from the dead */
    afpa__space_release(f.segment);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("space");
    TCase *loops = tcase_create("loops");

    check_add(suite, "objects_listed_once", objects_listed_once);
    check_add(suite, "groups_listed_once", groups_listed_once);
    check_add(suite, "queue_weight", queue_weight);
    check_add(suite, "draining", draining);
    check_add(suite, "rebuilt", rebuilt);
    check_add(suite, "holder_died", holder_died);
    check_add(suite, "found_while_filling", found_while_filling);
    check_add(suite, "lock_order", lock_order);
    tcase_set_timeout(loops, 60);
    tcase_add_loop_test(loops, queue_order, 0, QUEUED + 1);
    tcase_add_loop_test(loops, contradiction, 0, CHECK_COUNT(contradictions));
    suite_add_tcase(suite, loops);
    return check_main(suite);
}
