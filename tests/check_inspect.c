/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking into a segment: every figure against a state that is known, in full; nothing changed by looking; and an answer, whatever
 * a damaged segment holds.
 */
#include "config.h"

#include <pthread.h>
#include <sys/stat.h>

#include "check_main.h"
#include "chunk.h"
#include "fixture.h"
#include "key.h"
#include "object.h"
#include "pin.h"
#include "space.h"

#define ZONE (4u << 20)
#define BIG (2u * FIXTURE_CHUNK + 500u)

/* ---- a known state: "small" of 1000 bytes, "empty", and "big" of three chunks of which the middle one is not in memory ---- */

typedef struct state {
    fixture_t f;
    uint32_t small, empty, big;
    afpa_object_info_t *info;
} state_t;

static bool look(state_t *t, const char *name)
{
    const char *path = fixture_path(&t->f, name);

    return afpa_inspect_path(t->f.zone, path, strlen(path), t->info) == AFPA_OK;
}

static uint32_t number_of(state_t *t, const char *name)
{
    ck_assert_msg(look(t, name), "%s", name);
    return t->info->object;
}

static void state_begin(state_t *t)
{
    const char *path;
    afpa_counter_t why;
    afpa_ref_t ref;

    fixture_clock_stop();
    fixture_begin(&t->f, ZONE);
    t->info = malloc(sizeof(*t->info));
    ck_assert_ptr_nonnull(t->info);
    t->f.policy.revalidate_ms = 100000;
    fixture_file(&t->f, "small", 1000, 1); /* all files first: one that changed just now is waited for */
    fixture_file(&t->f, "empty", 0, 1);
    fixture_file(&t->f, "big", BIG, 1);
    fixture_load(&t->f, "small");
    fixture_load(&t->f, "empty");
    path = fixture_path(&t->f, "big");
    ck_assert_int_eq(afpa_cache_open(t->f.cache, path, strlen(path), &t->f.policy, &ref, &why, NULL), AFPA_OK);
    ck_assert_int_eq(afpa_cache_fill(&ref, 2, 1), AFPA_OK);
    afpa_cache_release(&ref);
    t->small = number_of(t, "small");
    t->empty = number_of(t, "empty");
    t->big = number_of(t, "big");
}

static void state_end(state_t *t)
{
    free(t->info);
    fixture_end(&t->f);
}

/* Bytes of the data section that an object has: path, and the chunks that are in memory. */
static uint64_t taken_by(const state_t *t, uint32_t object)
{
    const afpa__segment_t *s = t->f.segment;
    const afpa__object_shared_t *o = &s->objects[object];
    uint64_t taken = afpa__chunk_taken(s, o->key_chunk, o->key_length);
    afpa__cursor_t at;

    for (afpa__cursor_start(&at, s, object, 0); at.entry != AFPA_NONE; afpa__cursor_next(&at))
        if (s->entries[at.entry].chunk != AFPA_NONE)
            taken += afpa__chunk_taken(s, s->entries[at.entry].chunk, s->entries[at.entry].length);
    return taken;
}

/* ---- totals ---- */

START_TEST(stat_of_nothing)
{
    afpa_stat_t stat;
    fixture_t f;

    fixture_begin(&f, ZONE);
    memset(&stat, 0xff, sizeof(stat));
    afpa_inspect_stat(f.zone, &stat);
    ck_assert_uint_eq(stat.layout_version, AFPA_LAYOUT_VERSION);
    ck_assert_uint_eq(stat.size, ZONE);
    ck_assert_uint_eq(stat.memory, (f.segment->layout.ledger_at + 4095) / 4096 * 4096);
    ck_assert(stat.enabled && !stat.pinned);
    ck_assert(stat.objects == 0 && stat.response_entries == 0 && stat.draining == 0 && stat.pins == 0);
    ck_assert_uint_eq(stat.bytes_cached, 0);
    ck_assert_uint_eq(stat.bytes_free, f.segment->layout.data_length);
    ck_assert(stat.owners == 1 && stat.owners_limit == AFPA_OWNERS);
    for (int i = 0; i < AFPA_COUNTER_LIMIT; i++)
        ck_assert_uint_eq(stat.counters[i], 0);
    afpa_cache_detach(&f.cache); /* needs no owner */
    afpa_zone_enable(f.zone, false);
    afpa_inspect_stat(f.zone, &stat);
    ck_assert(stat.owners == 0 && !stat.enabled);
    afpa_zone_enable(f.zone, true);
    fixture_end(&f);
}
END_TEST

START_TEST(stat_of_known_state)
{
    afpa_stat_t stat;
    afpa_ref_t ref;
    afpa_extent_t extent;
    uint64_t before, taken;
    state_t t;

    state_begin(&t);
    taken = taken_by(&t, t.small) + taken_by(&t, t.empty) + taken_by(&t, t.big);
    ck_assert_uint_ge(taken, 1000 + FIXTURE_CHUNK + 500);
    afpa_inspect_stat(t.f.zone, &stat);
    ck_assert_uint_eq(stat.objects, 3);
    ck_assert_uint_eq(stat.bytes_cached, 1000 + FIXTURE_CHUNK + 500);
    ck_assert_uint_eq(stat.bytes_free, t.f.segment->layout.data_length - taken);
    ck_assert_uint_eq(stat.counters[AFPA_COUNTER_FILLS], 4);
    ck_assert_uint_gt(stat.memory, t.f.segment->layout.ledger_at); /* a part of this owner's ledger */
    ck_assert(stat.pins == 0 && stat.draining == 0);
    before = stat.bytes_free;

    ref = fixture_open(&t.f, "big"); /* all of it */
    ck_assert_int_eq(afpa_cache_pin(&ref, 2, AFPA_PIN_COPY, &extent), AFPA_OK);
    ck_assert_int_eq(afpa_cache_purge(t.f.cache, fixture_path(&t.f, "big"), strlen(fixture_path(&t.f, "big"))), AFPA_OK);
    afpa_inspect_stat(t.f.zone, &stat);
    ck_assert(stat.objects == 2 && stat.draining == 1);
    ck_assert_uint_eq(stat.pins, 3); /* the ref; the extent, which holds the first entry too */
    ck_assert_uint_eq(stat.bytes_free, before - FIXTURE_CHUNK);
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
    t.f.segment->objects[t.small].kind = AFPA_KIND_RESPONSE;
    afpa_inspect_stat(t.f.zone, &stat);
    ck_assert(stat.objects == 1 && stat.response_entries == 1);
    t.f.segment->objects[t.small].kind = AFPA_KIND_FILE;
    state_end(&t);
}
END_TEST

/* ---- objects ---- */

static const struct {
    const char *name;
    uint64_t bytes;
    uint32_t entries, pinned;
} object_cases[] = {{"small", 1000, 1, 1}, {"empty", 0, 1, 1}, {"big", FIXTURE_CHUNK + 500, 3, 2}};

START_TEST(object)
{
    const char *name = object_cases[_i].name, *path;
    afpa_object_info_t *info;
    struct stat st;
    state_t t;

    state_begin(&t);
    info = t.info;
    path = fixture_path(&t.f, name);
    fixture_clock_advance(2500);
    memset(info, 0xff, sizeof(*info));
    ck_assert(look(&t, name));
    ck_assert_str_eq(info->path, path);
    ck_assert_uint_eq(info->path_len, strlen(path));
    ck_assert_int_eq(info->kind, AFPA_KIND_FILE);
    ck_assert_str_eq(info->state, "live");
    ck_assert_str_eq(info->queue, "small");
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert(info->identity.device == st.st_dev && info->identity.inode == st.st_ino &&
              info->identity.size == (uint64_t)st.st_size);
    ck_assert(info->identity.mtime_sec == st.st_mtim.tv_sec && info->identity.ctime_sec == st.st_ctim.tv_sec);
    ck_assert(info->identity.mtime_nsec == (uint32_t)st.st_mtim.tv_nsec &&
              info->identity.ctime_nsec == (uint32_t)st.st_ctim.tv_nsec);
    ck_assert(info->entries == object_cases[_i].entries && info->entries_pinned == object_cases[_i].pinned);
    ck_assert_uint_eq(info->bytes, object_cases[_i].bytes);
    ck_assert(info->hits == 0 && info->pins == 0 && info->frequency == 0);
    ck_assert_msg(info->checked > 2.49 && info->checked < 2.51, "%f", info->checked);
    ck_assert_msg(info->age > 1.9 && info->age < 3.1, "%f", info->age); /* whole seconds */
    t.f.segment->objects[info->object].kind = AFPA_KIND_RESPONSE;
    ck_assert(look(&t, name) && info->checked == 0); /* it is its file that is checked */
    t.f.segment->objects[info->object].kind = AFPA_KIND_FILE;
    state_end(&t);
}
END_TEST

START_TEST(object_in_use)
{
    afpa_ref_t refs[5];
    state_t t;

    state_begin(&t);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(
            afpa_cache_lookup(t.f.cache, fixture_path(&t.f, "small"), strlen(fixture_path(&t.f, "small")), 100000, &refs[i]),
            AFPA_OK);
    ck_assert(look(&t, "small"));
    ck_assert(t.info->hits == 5 && t.info->pins == 5 && t.info->frequency == 3);
    ck_assert_int_eq(afpa_cache_purge(t.f.cache, t.info->path, t.info->path_len), AFPA_OK);
    ck_assert(!look(&t, "small")); /* no path leads there, but it is shown as long as it is held */
    t.info->object = t.small;
    ck_assert_int_eq(afpa_inspect_next(t.f.zone, &(uint32_t){t.small}, t.info), AFPA_OK);
    ck_assert_uint_eq(t.info->object, t.small);
    ck_assert_str_eq(t.info->state, "retired");
    ck_assert_str_eq(t.info->queue, "none");
    ck_assert(t.info->hits == 5 && t.info->pins == 5);
    for (unsigned i = 0; i < 5; i++)
        afpa_cache_release(&refs[i]);
    afpa_cache_reap(t.f.cache);
    state_end(&t);
}
END_TEST

/* Each once, from wherever the list is begun. */
START_TEST(list)
{
    uint32_t cursor = 0, seen = 0;
    state_t t;

    state_begin(&t);
    while (afpa_inspect_next(t.f.zone, &cursor, t.info) == AFPA_OK) {
        seen |= 1u << (t.info->object == t.small ? 0 : t.info->object == t.empty ? 1 : t.info->object == t.big ? 2 : 31);
        ck_assert_uint_eq(cursor, t.info->object + 1);
    }
    ck_assert_uint_eq(seen, 7);
    ck_assert_uint_eq(cursor, t.f.segment->layout.objects);
    ck_assert_int_eq(afpa_inspect_next(t.f.zone, &cursor, t.info), AFPA_NOT_FOUND);
    cursor = UINT32_MAX;
    ck_assert_int_eq(afpa_inspect_next(t.f.zone, &cursor, t.info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_path(t.f.zone, "/no/such", 8, t.info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_path(t.f.zone, fixture_path(&t.f, "small"), strlen(fixture_path(&t.f, "small")) - 1, t.info),
                     AFPA_NOT_FOUND);
    state_end(&t);
}
END_TEST

/* ---- entries ---- */

START_TEST(entries)
{
    afpa_entry_info_t info;
    afpa__entry_shared_t *e;
    afpa_ref_t ref;
    uint64_t word;
    state_t t;

    state_begin(&t);
    ref = fixture_open(&t.f, "small");
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.small, 0, &info), AFPA_OK);
    e = &t.f.segment->entries[t.small];
    ck_assert_str_eq(info.state, "pinned");
    ck_assert(info.pins == 1 && info.length == 1000 && info.chunk == e->chunk);
    ck_assert_uint_eq(info.generation, afpa__word_generation(e->word));
    ck_assert_uint_eq(info.offset, (uint64_t)e->chunk * FIXTURE_CHUNK + e->offset);
    ck_assert_ptr_eq(info.data, t.f.segment->data + info.offset);
    for (uint32_t i = 0; i < info.length; i++)
        CHECK_THAT(((const char *)info.data)[i] == fixture_byte("small", 1, i));
    afpa_cache_release(&ref);

    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.big, 1, &info), AFPA_OK);
    ck_assert_str_eq(info.state, "empty");
    ck_assert(info.length == 0 && info.chunk == -1 && info.data == NULL && info.pins == 0);
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.big, 2, &info), AFPA_OK);
    ck_assert_str_eq(info.state, "pinned");
    ck_assert_uint_eq(info.length, 500);
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.empty, 0, &info), AFPA_OK);
    ck_assert_str_eq(info.state, "pinned");
    ck_assert(info.length == 0 && info.chunk == -1 && info.data == NULL);

    word = atomic_load(&e->word);
    for (unsigned state = 0; state < 8; state++) {
        static const char *const names[] = {"empty", "filling", "pinned", "draining", "?", "?", "?", "?"};

        atomic_store(&e->word, afpa__word((afpa__pin_state_t)state, 3, 77));
        ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.small, 0, &info), AFPA_OK);
        ck_assert_str_eq(info.state, names[state]);
        ck_assert_uint_eq(info.generation, 77);
    }
    atomic_store(&e->word, word);
    state_end(&t);
}
END_TEST

START_TEST(no_such_entry)
{
    afpa_entry_info_t info;
    uint32_t objects;
    state_t t;

    state_begin(&t);
    objects = t.f.segment->layout.objects;
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.small, 1, &info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.big, 3, &info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.big, UINT32_MAX, &info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, objects, 0, &info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, UINT32_MAX, 0, &info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, objects - 1, 0, &info), AFPA_NOT_FOUND); /* never used */
    ck_assert_int_eq(afpa_cache_purge(t.f.cache, fixture_path(&t.f, "small"), strlen(fixture_path(&t.f, "small"))), AFPA_OK);
    ck_assert_int_eq(afpa_inspect_entry(t.f.zone, t.small, 0, &info), AFPA_NOT_FOUND); /* not any more */
    state_end(&t);
}
END_TEST

START_TEST(no_such_owner)
{
    afpa_owner_info_t info;
    fixture_t f;

    fixture_begin(&f, ZONE);
    ck_assert_int_eq(afpa_inspect_owner(f.zone, 1, &info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_owner(f.zone, AFPA_OWNERS, &info), AFPA_NOT_FOUND);
    ck_assert_int_eq(afpa_inspect_owner(f.zone, UINT32_MAX, &info), AFPA_NOT_FOUND);
    memset(f.segment->owners[0].kind, 'k', sizeof(f.segment->owners[0].kind)); /* damage: without an end */
    ck_assert_int_eq(afpa_inspect_owner(f.zone, 0, &info), AFPA_OK);
    ck_assert_uint_eq(strlen(info.kind), sizeof(info.kind) - 1);
    fixture_end(&f);
}
END_TEST

/* ---- looking changes nothing ---- */

START_TEST(nothing_changed)
{
    afpa_stat_t stat;
    afpa_entry_info_t entry;
    afpa_owner_info_t owner;
    uint32_t cursor = 0;
    uint64_t length;
    char *before;
    state_t t;

    state_begin(&t);
    length = t.f.segment->layout.ledger_at;
    before = malloc(length);
    ck_assert_ptr_nonnull(before);
    memcpy(before, t.f.segment->base, length);
    afpa_inspect_stat(t.f.zone, &stat);
    while (afpa_inspect_next(t.f.zone, &cursor, t.info) == AFPA_OK)
        for (uint32_t i = 0; i < t.info->entries; i++)
            afpa_inspect_entry(t.f.zone, t.info->object, i, &entry);
    look(&t, "small");
    for (uint32_t slot = 0; slot < AFPA_OWNERS; slot++)
        afpa_inspect_owner(t.f.zone, slot, &owner);
    ck_assert_int_eq(memcmp(before, t.f.segment->base, length), 0);
    ck_assert_uint_eq(fixture_pins(&t.f), 0);
    free(before);
    state_end(&t);
}
END_TEST

/* ---- damage ---- */

static void damage_key_chunk(afpa__segment_t *s, afpa__object_shared_t *o)
{
    o->key_chunk = s->layout.chunks;
}

static void damage_key_length(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    o->key_length = AFPA_PATH_MAX;
}

static void damage_key_offset(afpa__segment_t *s, afpa__object_shared_t *o)
{
    o->key_offset = s->layout.chunk_size - 1;
}

static void damage_key(afpa__segment_t *s, afpa__object_shared_t *o)
{
    afpa__data_at(s, o->key_chunk, o->key_offset, 1)[0] ^= 1;
}

static void damage_phase(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    atomic_store(&o->phase, 77);
}

static void damage_entries(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    o->entries = UINT32_MAX;
}

static void damage_group(afpa__segment_t *s, afpa__object_shared_t *o)
{
    o->group = s->layout.groups;
    o->entries = 9;
}

static void damage_group_circle(afpa__segment_t *s, afpa__object_shared_t *o)
{
    s->groups[o->group] = o->group;
    o->entries = s->layout.groups * AFPA_GROUP + 1;
}

static void damage_chunk(afpa__segment_t *s, afpa__object_shared_t *o)
{
    s->entries[o - s->objects].chunk = UINT32_MAX - 1;
}

static void damage_length(afpa__segment_t *s, afpa__object_shared_t *o)
{
    s->entries[o - s->objects].length = UINT32_MAX;
}

static void damage_chain(afpa__segment_t *s, afpa__object_shared_t *o)
{
    atomic_store(&o->hash_next, (uint32_t)(o - s->objects));
}

static void damage_queue(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    o->queue = 200;
    o->kind = 200;
    atomic_store(&o->hits, INT64_MIN);
}

static void damage_times(afpa__segment_t *s, afpa__object_shared_t *o)
{
    (void)s;
    o->made = UINT32_MAX;
    atomic_store(&o->last_check, UINT64_MAX);
}

static const struct {
    const char *label;
    void (*damage)(afpa__segment_t *, afpa__object_shared_t *);
    const char *state; /* shown; NULL: not shown at all */
    bool data;         /* of the first entry */
} damage_cases[] = {
    {"chunk of the key", damage_key_chunk, NULL, true},
    {"length of the key", damage_key_length, NULL, true},
    {"offset of the key", damage_key_offset, NULL, true},
    {"key", damage_key, NULL, true},
    {"phase", damage_phase, "damaged", true},
    {"number of entries", damage_entries, "live", false},
    {"group", damage_group, "live", true},
    {"group in a circle", damage_group_circle, "live", true},
    {"chunk", damage_chunk, "live", false},
    {"length", damage_length, "live", false},
    {"hash chain", damage_chain, "live", true},
    {"queue, kind and hits", damage_queue, "live", true},
    {"times", damage_times, "live", true},
};

/* A path that is not there, in the bucket of one that is. */
static bool look_beside(state_t *t, uint32_t number)
{
    const afpa__segment_t *s = t->f.segment;
    uint32_t bucket = afpa__key_bucket(s, atomic_load(&s->objects[number].hash));
    char path[32];

    for (unsigned i = 0;; i++) {
        size_t length = (size_t)snprintf(path, sizeof(path), "/beside/%u", i);

        if (afpa__key_bucket(s, afpa__key_hash(s, path, length)) == bucket)
            return afpa_inspect_path(t->f.zone, path, length, t->info) == AFPA_OK;
    }
}

/* No index is followed unchecked, no loop runs for ever. */
START_TEST(damaged)
{
    const char *state = damage_cases[_i].state, *label = damage_cases[_i].label;
    afpa_entry_info_t entry;
    afpa_stat_t stat;
    uint32_t cursor;
    bool shown;
    state_t t;

    state_begin(&t);
    damage_cases[_i].damage(t.f.segment, &t.f.segment->objects[t.big]);
    afpa_inspect_stat(t.f.zone, &stat);
    cursor = t.big;
    shown = afpa_inspect_next(t.f.zone, &cursor, t.info) == AFPA_OK && t.info->object == t.big;
    ck_assert_msg(shown == (state != NULL), "%s", label);
    if (shown) {
        ck_assert_str_eq(t.info->state, state);
        ck_assert(t.info->kind == AFPA_KIND_FILE && (int64_t)t.info->hits >= 0 && t.info->age >= 0 && t.info->checked >= 0);
    }
    ck_assert_msg(look(&t, "big") == (state != NULL), "%s", label);
    ck_assert(!look_beside(&t, t.big));
    memset(&entry, 0, sizeof(entry));
    afpa_inspect_entry(t.f.zone, t.big, 0, &entry);
    ck_assert_msg((entry.data != NULL) == damage_cases[_i].data, "%s", label);
    free(t.info);
    fixture_drop(&t.f);
}
END_TEST

#ifndef __SANITIZE_THREAD__ /* looking without a lock is a race on purpose: what is shown is a snapshot, checked before use */
typedef struct churn {
    fixture_t *f;
    _Atomic bool over;
} churn_t;

static void *come_and_go(void *arg)
{
    churn_t *c = arg;
    char path[FIXTURE_PATH];
    afpa_counter_t why;
    afpa_ref_t ref;

    for (unsigned i = 0; i < 600; i++) {
        snprintf(path, sizeof(path), "%s/file%u", c->f->dir, i % 5);
        if (i % 3 == 2)
            afpa_cache_purge(c->f->cache, path, strlen(path));
        else if (afpa_cache_open(c->f->cache, path, strlen(path), &c->f->policy, &ref, &why, NULL) == AFPA_OK)
            afpa_cache_release(&ref);
    }
    atomic_store(&c->over, true);
    return NULL;
}

/* While objects come and go: what is shown has a path of ours, or nothing is shown. */
START_TEST(while_objects_come_and_go)
{
    afpa_entry_info_t entry;
    pthread_t thread;
    unsigned shown = 0;
    churn_t c = {.over = false};
    state_t t;
    char name[16];

    state_begin(&t);
    c.f = &t.f;
    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        fixture_file(&t.f, name, 100 + i * 40000, 1);
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, come_and_go, &c), 0);
    while (!atomic_load(&c.over)) {
        uint32_t cursor = 0;

        while (afpa_inspect_next(t.f.zone, &cursor, t.info) == AFPA_OK) {
            CHECK_THAT(strncmp(t.info->path, t.f.dir, strlen(t.f.dir)) == 0 && strlen(t.info->path) == t.info->path_len);
            afpa_inspect_entry(t.f.zone, t.info->object, t.info->entries - 1, &entry);
            shown++;
        }
        sched_yield();
    }
    pthread_join(thread, NULL);
    ck_assert_uint_gt(shown, 0);
    state_end(&t);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("inspect");

    check_add(suite, "stat_of_nothing", stat_of_nothing);
    check_add(suite, "stat_of_known_state", stat_of_known_state);
    check_add_loop(suite, "object", object, CHECK_COUNT(object_cases));
    check_add(suite, "object_in_use", object_in_use);
    check_add(suite, "list", list);
    check_add(suite, "entries", entries);
    check_add(suite, "no_such_entry", no_such_entry);
    check_add(suite, "no_such_owner", no_such_owner);
    check_add(suite, "nothing_changed", nothing_changed);
    check_add_loop(suite, "damaged", damaged, CHECK_COUNT(damage_cases));
#ifndef __SANITIZE_THREAD__
    check_add(suite, "while_objects_come_and_go", while_objects_come_and_go);
#endif
    return check_main(suite);
}
