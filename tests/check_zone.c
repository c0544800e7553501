/* SPDX-License-Identifier: Apache-2.0
 *
 * Zones: made, found again warm, judged, replaced, removed; and one line that names what is wrong and why for everything that keeps
 * a server from starting.  What takes other users, limits and file systems: check_zone_rights.c.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <afpa/log.h>

#include "check_main.h"
#include "child.h"
#include "fixture.h"
#include "zone_state.h"

/* ---- made ---- */

START_TEST(made)
{
    afpa_zone_options_t o = options_new();
    afpa_zone_t *zone;
    struct stat st;

    zone = zone_open(&o);
    ck_assert_str_eq(afpa_zone_name(zone), zone_name);
    ck_assert_str_eq(afpa_zone_path(zone), zone_path);
    ck_assert_uint_eq(afpa_zone_size(zone), 4 * MB);
    ck_assert_uint_eq(afpa_zone_chunk_size(zone), 65536);
    ck_assert(afpa_zone_enabled(zone));
    ck_assert(!afpa_zone_pinned(zone));
    ck_assert_int_eq(fstat(afpa_zone_fd(zone), &st), 0);
    ck_assert_uint_eq(st.st_ino, inode_of(zone_path));
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_ge((uint64_t)st.st_blocks * 512, afpa__zone_segment(zone)->layout.ledger_at); /* reserved, not promised */
    ck_assert_int_eq(fcntl(afpa_zone_fd(zone), F_GETFD), FD_CLOEXEC);
    afpa_zone_close(&zone);
    ck_assert_ptr_null(zone);
    afpa_zone_close(&zone);
    ck_assert_int_eq(unlink(zone_path), 0);
}
END_TEST

START_TEST(with_options)
{
    afpa_zone_options_t o = options_new();
    char path[80];
    afpa_zone_t *zone;

    snprintf(path, sizeof(path), "/dev/shm/%s.segment", zone_name);
    o.path = path;
    o.size = 20 * MB;
    o.chunk_size = 262144;
    zone = zone_open(&o);
    ck_assert_str_eq(afpa_zone_path(zone), path);
    ck_assert_uint_eq(afpa_zone_size(zone), 20 * MB);
    ck_assert_uint_eq(afpa_zone_chunk_size(zone), 262144);
    afpa_zone_close(&zone);
    o.chunk_size = 0; /* the default */
    zone = zone_open(&o);
    ck_assert_uint_eq(afpa_zone_chunk_size(zone), 65536);
    afpa_zone_close(&zone);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(enabled_everywhere)
{
    afpa_zone_options_t o = options_new();
    afpa_zone_t *a = zone_open(&o), *b = zone_open(&o);

    afpa_zone_enable(a, false);
    ck_assert(!afpa_zone_enabled(a) && !afpa_zone_enabled(b));
    afpa_zone_enable(b, true);
    ck_assert(afpa_zone_enabled(a) && afpa_zone_enabled(b));
    afpa_zone_close(&a);
    afpa_zone_close(&b);
    unlink(zone_path);
}
END_TEST

/* ---- wrong options ---- */

static const struct {
    const char *label, *name, *path;
    uint64_t size;
    uint32_t chunk_size;
    const char *says;
} wrong_cases[] = {
    {"no name", NULL, NULL, 4 * MB, 65536, "zone \"\": a name has 1 to 32 letters, digits, '-', '_' or '.'"},
    {"empty name", "", NULL, 4 * MB, 65536, "zone \"\": a name has 1 to 32 letters, digits, '-', '_' or '.'"},
    {"name too long", "123456789012345678901234567890123", NULL, 4 * MB, 65536,
     "zone \"123456789012345678901234567890123\": a name has 1 to 32 letters, digits, '-', '_' or '.'"},
    {"hidden name", ".a", NULL, 4 * MB, 65536, "zone \".a\": a name has 1 to 32 letters, digits, '-', '_' or '.'"},
    {"name that leads elsewhere", "a/../b", NULL, 4 * MB, 65536,
     "zone \"a/../b\": a name has 1 to 32 letters, digits, '-', '_' or '.'"},
    {"name with a blank", "a b", NULL, 4 * MB, 65536, "zone \"a b\": a name has 1 to 32 letters, digits, '-', '_' or '.'"},
    {"name with a letter beyond ASCII", "\xc3\xa4", NULL, 4 * MB, 65536,
     "zone \"\xc3\xa4\": a name has 1 to 32 letters, digits, '-', '_' or '.'"},
    {"no size", "w", NULL, 0, 65536,
     "zone \"w\": size 0 with chunks of 65536 is out of range (at least 1048576 bytes and 4 chunks, less than 8 TB)"},
    {"one byte too small", "w", NULL, MB - 1, 65536,
     "zone \"w\": size 1048575 with chunks of 65536 is out of range (at least 1048576 bytes and 4 chunks, less than 8 TB)"},
    {"too small for its chunks", "w", NULL, 4 * MB, 1048576,
     "zone \"w\": size 4194304 with chunks of 1048576 is out of range (at least 1048576 bytes and 4 chunks, less than 8 TB)"},
    {"all numbers there are", "w", NULL, UINT64_MAX, 65536,
     "zone \"w\": size 18446744073709551615 with chunks of 65536 is out of range (at least 1048576 bytes and 4 chunks, less than 8 "
     "TB)"},
    {"chunk that is none", "w", NULL, 4 * MB, 65537,
     "zone \"w\": size 4194304 with chunks of 65537 is out of range (at least 1048576 bytes and 4 chunks, less than 8 TB)"},
    {"relative path", "w", "w", 4 * MB, 65536, "zone \"w\": the path \"w\" must be absolute"},
    {"empty path", "w", "", 4 * MB, 65536, "zone \"w\": the path \"\" must be absolute"},
    {"not on tmpfs", "w", "/proc/w", 4 * MB, 65536,
     "zone \"w\": /proc/w is not on tmpfs (a segment on a disk file system would wait for the disk); use a path under /dev/shm"},
    {"the root directory", "w", "/w-no-such", 4 * MB, 65536,
     "zone \"w\": /w-no-such is not on tmpfs (a segment on a disk file system would wait for the disk); use a path under /dev/shm"},
    {"no such directory", "w", "/dev/shm/no-such/w", 4 * MB, 65536, "zone \"w\": /dev/shm/no-such: No such file or directory"},
    {"a directory", "w", "/dev/shm/", 4 * MB, 65536, "zone \"w\": /dev/shm/: Is a directory"},
};

/* Said in the same words by the configuration test and by the start, and nothing is made. */
START_TEST(wrong_options)
{
    afpa_zone_options_t o;
    afpa_error_t error;
    afpa_zone_t *zone;

    afpa_zone_options_init(&o);
    o.name = wrong_cases[_i].name;
    o.path = wrong_cases[_i].path;
    o.size = wrong_cases[_i].size;
    o.chunk_size = wrong_cases[_i].chunk_size;
    ck_assert_msg(afpa_zone_check(&o, &error) == AFPA_INVALID, "%s", wrong_cases[_i].label);
    ck_assert_str_eq(error.text, wrong_cases[_i].says);
    ck_assert_int_eq(afpa_zone_open(&o, &zone, &error), AFPA_INVALID);
    ck_assert_ptr_null(zone);
    ck_assert_str_eq(error.text, wrong_cases[_i].says);
    ck_assert_int_ne(access("/dev/shm/afpa-w", F_OK), 0);
}
END_TEST

START_TEST(path_too_long)
{
    afpa_zone_options_t o = options_new();
    static char path[5000];
    afpa_error_t error;
    afpa_zone_t *zone;

    memset(path, '/', sizeof(path) - 1);
    o.path = path;
    ck_assert_int_eq(afpa_zone_open(&o, &zone, &error), AFPA_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, ": the path is too long"));
}
END_TEST

static const struct {
    const char *label, *name_a, *path_a, *name_b, *path_b;
    bool same;
} same_cases[] = {
    {"same name", "a", NULL, "a", NULL, true},
    {"other names", "a", NULL, "b", NULL, false},
    {"name and its path", "a", NULL, "b", "/dev/shm/afpa-a", true},
    {"same path", "a", "/dev/shm/x", "b", "/dev/shm/x", true},
    {"other paths", "a", "/dev/shm/x", "a", "/dev/shm/y", false},
    {"the path spelled another way", "a", NULL, "b", "/dev/shm/../shm//afpa-a", true},
    {"same name in another directory", "a", NULL, "a", "/tmp/afpa-a", false},
    {"directories that are not there", "a", "/no-such/x", "b", "/no-such-either/x", false},
};

START_TEST(same_file)
{
    afpa_zone_options_t a, b;

    afpa_zone_options_init(&a);
    afpa_zone_options_init(&b);
    a.name = same_cases[_i].name_a;
    a.path = same_cases[_i].path_a;
    b.name = same_cases[_i].name_b;
    b.path = same_cases[_i].path_b;
    ck_assert_msg(afpa_zone_options_same_file(&a, &b) == same_cases[_i].same, "%s", same_cases[_i].label);
    ck_assert_msg(afpa_zone_options_same_file(&b, &a) == same_cases[_i].same, "%s", same_cases[_i].label);
}
END_TEST

/* ---- found again ---- */

/* A server that restarts, and a second one, find what the first has cached. */
START_TEST(warm)
{
    afpa_zone_options_t o;
    afpa_zone_t *again;
    fixture_t f;

    fixture_begin(&f, 4 * MB);
    afpa_zone_options_init(&o);
    o.name = strstr(f.path, "check-");
    o.size = 4 * MB;
    o.mlock = AFPA_MLOCK_OFF;
    fixture_file(&f, "a", 1000, 1);
    fixture_load(&f, "a");
    again = zone_open(&o); /* beside the one that is open */
    ck_assert(afpa__zone_segment(again)->header->creation_id == f.segment->header->creation_id);
    afpa_cache_detach(&f.cache);
    afpa_zone_close(&f.zone);
    afpa_zone_close(&again);
    f.zone = zone_open(&o); /* and after all have gone */
    f.segment = afpa__zone_segment(f.zone);
    f.cache = fixture_attach(&f);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    fixture_end(&f);
}
END_TEST

START_TEST(other_size_in_use)
{
    char expected[300];
    afpa_zone_options_t o;
    afpa_error_t error;
    afpa_zone_t *zone;
    ino_t inode;
    fixture_t f;

    fixture_begin(&f, 4 * MB);
    inode = inode_of(f.path);
    afpa_zone_options_init(&o);
    o.name = afpa_zone_name(f.zone);
    o.size = _i == 0 ? 8 * MB : 4 * MB;
    o.chunk_size = _i == 0 ? 65536 : 131072;
    ck_assert_int_eq(afpa_zone_check(&o, &error), AFPA_IN_USE);
    snprintf(expected, sizeof(expected),
             "zone \"%s\": %s is in use with size 4194304 and chunk 65536; stop its servers to change it", o.name, f.path);
    ck_assert_str_eq(error.text, expected);
    ck_assert_int_eq(afpa_zone_open(&o, &zone, &error), AFPA_IN_USE);
    ck_assert_ptr_null(zone);
    snprintf(expected, sizeof(expected),
             "zone \"%s\": %s is in use by 1 processes with size 4194304 and chunk 65536, not %llu and %u; stop them to change it",
             o.name, f.path, (unsigned long long)o.size, o.chunk_size);
    ck_assert_str_eq(error.text, expected);
    ck_assert_uint_eq(inode_of(f.path), inode);
    fixture_end(&f);
}
END_TEST

/* ---- replaced ---- */

static void damage_nothing(afpa__segment_t *s)
{
    (void)s;
}

static void damage_magic(afpa__segment_t *s)
{
    s->header->magic++;
}

static void damage_header(afpa__segment_t *s)
{
    s->header->seed ^= 1;
}

static void damage_ready(afpa__segment_t *s)
{
    atomic_store(&s->header->ready, 0);
}

static void damage_broken(afpa__segment_t *s)
{
    atomic_store(&s->header->broken, 1);
}

static void damage_length(afpa__segment_t *s)
{
    ck_assert_int_eq(ftruncate(s->fd, (off_t)s->layout.file_size - 4096), 0);
}

static void damage_list(afpa__segment_t *s)
{
    s->space->free_objects++;
}

static const struct {
    const char *label;
    void (*damage)(afpa__segment_t *);
    uint64_t size;
    const char *says; /* NULL: it is not replaced */
} replaced_cases[] = {
    {"sound", damage_nothing, 4 * MB, NULL},
    {"another size", damage_nothing, 8 * MB, "has size 4194304 and chunk 65536, not 8388608 and 65536"},
    {"magic", damage_magic, 4 * MB, "is not an AFPA segment"},
    {"layout of another release", damage_version, 4 * MB, "has layout version 8, this release has 7"},
    {"header", damage_header, 4 * MB, "has a damaged header (checksum)"},
    {"making was not finished", damage_ready, 4 * MB, "was never finished"},
    {"broken", damage_broken, 4 * MB, "was found inconsistent and switched off"},
    {"length", damage_length, 4 * MB, "is not as long as its header says"},
    {"contradicts itself", damage_list, 4 * MB, "is inconsistent"},
};

/* Nobody uses it: a new one takes its name, and the log says why; a tool would not touch it. */
START_TEST(replaced)
{
    const char *says = replaced_cases[_i].says;
    afpa_zone_options_t o = options_new();
    afpa_zone_t *zone = zone_open(&o), *next;
    char line[600] = "", expected[600];
    ino_t inode = inode_of(zone_path);

    replaced_cases[_i].damage(afpa__zone_segment(zone));
    o.size = replaced_cases[_i].size;
    afpa_log_set(keep_warning, line, AFPA_LOG_WARN);
    next = zone_open(&o);
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    ck_assert_msg((inode_of(zone_path) == inode) == (says == NULL), "%s", replaced_cases[_i].label);
    snprintf(expected, sizeof(expected), "zone \"%s\": %s: %s; replaced by an empty one", zone_name, zone_path, says ? says : "");
    ck_assert_str_eq(line, says ? expected : "");
    ck_assert_uint_eq(afpa_zone_size(next), o.size);
    afpa_zone_close(&zone); /* the old one goes on for who has it */
    afpa_zone_close(&next);
    next = zone_open(&o);
    afpa_zone_close(&next);
    unlink(zone_path);
}
END_TEST

static void put_directory(const char *path)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void put_link(const char *path)
{
    ck_assert_int_eq(symlink("/dev/shm/elsewhere", path), 0);
}

static void put_fifo(const char *path)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void put_writable(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(fchmod(fd, 0620), 0);
    close(fd);
}

static const struct {
    const char *label;
    void (*put)(const char *path);
    const char *says;
} in_the_way_cases[] = {
    {"a directory", put_directory, ": Is a directory"},
    {"a link", put_link, ": Too many levels of symbolic links"},
    {"a pipe", put_fifo, " is not a regular file"},
    {"what others may write", put_writable, " may be written by others (mode 620); remove it"},
};

/* What is no segment of ours is left alone; the configuration test says so already. */
START_TEST(in_the_way)
{
    afpa_zone_options_t o = options_new();
    char expected[300];
    afpa_error_t error;
    afpa_zone_t *zone;

    in_the_way_cases[_i].put(zone_path);
    snprintf(expected, sizeof(expected), "zone \"%s\": %s%s", zone_name, zone_path, in_the_way_cases[_i].says);
    ck_assert_msg(afpa_zone_check(&o, &error) == AFPA_INVALID, "%s", in_the_way_cases[_i].label);
    ck_assert_str_eq(error.text, expected);
    ck_assert_int_eq(afpa_zone_open(&o, &zone, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, expected);
    ck_assert_int_eq(remove(zone_path), 0);
    ck_assert_int_ne(access("/dev/shm/elsewhere", F_OK), 0);
}
END_TEST

/* A file that somebody's path points at by mistake is neither replaced nor given away. */
START_TEST(something_else)
{
    afpa_zone_options_t o = options_new();
    char expected[300], content[9] = "";
    afpa_error_t error;
    afpa_zone_t *zone;
    int fd = open(zone_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(write(fd, "precious", 8), 8);
    o.path = zone_path;
    snprintf(expected, sizeof(expected), "zone \"%s\": %s is not an AFPA segment: name another path, or remove it", zone_name,
             zone_path);
    ck_assert_int_eq(afpa_zone_check(&o, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, expected);
    ck_assert_int_eq(afpa_zone_open(&o, &zone, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, expected);
    ck_assert_int_eq(pread(fd, content, 8, 0), 8);
    ck_assert_str_eq(content, "precious");
    close(fd);
    unlink(zone_path);
}
END_TEST

/* A creation that was killed leaves a file without a beginning; it can be removed by its name, and is replaced. */
START_TEST(half_made)
{
    afpa_zone_options_t o = options_new();
    afpa_error_t error;
    afpa_zone_t *zone;

    for (unsigned i = 0; i < 2; i++) {
        int fd = open(zone_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        ck_assert_int_eq(ftruncate(fd, 4 << 20), 0);
        close(fd);
        if (i == 0)
            ck_assert_msg(afpa_zone_destroy(zone_name, false, &error) == AFPA_OK, "%s", error.text);
    }
    zone = zone_open(&o);
    afpa_zone_close(&zone);
    unlink(zone_path);
}
END_TEST

START_TEST(check_makes_nothing)
{
    afpa_zone_options_t o = options_new();
    afpa_zone_t *zone;
    afpa_error_t error;
    ino_t inode;

    ck_assert_msg(afpa_zone_check(&o, &error) == AFPA_OK, "%s", error.text);
    ck_assert_int_ne(access(zone_path, F_OK), 0);
    zone = zone_open(&o);
    inode = inode_of(zone_path);
    ck_assert_int_eq(afpa_zone_check(&o, &error), AFPA_OK);
    o.size = 8 * MB; /* would be replaced: nobody uses it */
    ck_assert_int_eq(afpa_zone_check(&o, &error), AFPA_OK);
    damage_header(afpa__zone_segment(zone));
    ck_assert_int_eq(afpa_zone_check(&o, &error), AFPA_OK);
    ck_assert_uint_eq(inode_of(zone_path), inode);
    afpa_zone_close(&zone);
    unlink(zone_path);
}
END_TEST

/* Servers that start at once agree on one segment. */
static child_result_t start_up(void *arg)
{
    const struct timespec pause = {0, 200000000};
    const afpa__header_shared_t *header;
    afpa_zone_t *zone;
    afpa_error_t error;
    uint64_t id;
    bool same;

    CHILD_NEED(afpa_zone_open(arg, &zone, &error) == AFPA_OK);
    header = afpa__zone_segment(zone)->header;
    id = header->creation_id;
    nanosleep(&pause, NULL);
    same = inode_of(zone_path) == afpa__zone_segment(zone)->inode && header->ready && header->creation_id == id;
    afpa_zone_close(&zone);
    CHILD_NEED(same);
    return CHILD_GOOD;
}

/* With nothing there, or with an old segment of another size, which it takes a while to give back. */
START_TEST(started_at_once)
{
    afpa_zone_options_t o = options_new();
    pid_t pids[12];

    if (_i > 0) {
        afpa_zone_t *old;

        o.size = 256 * MB;
        old = zone_open(&o);
        o.size = 4 * MB;
        afpa_zone_close(&old);
    }
    for (unsigned i = 0; i < CHECK_COUNT(pids); i++)
        pids[i] = child_start(start_up, &o);
    for (unsigned i = 0; i < CHECK_COUNT(pids); i++)
        ck_assert_int_eq(child_wait(pids[i]), 0);
    unlink(zone_path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("zone");

    check_add(suite, "made", made);
    check_add(suite, "with_options", with_options);
    check_add(suite, "enabled_everywhere", enabled_everywhere);
    check_add_loop(suite, "wrong_options", wrong_options, CHECK_COUNT(wrong_cases));
    check_add(suite, "path_too_long", path_too_long);
    check_add_loop(suite, "same_file", same_file, CHECK_COUNT(same_cases));
    check_add(suite, "warm", warm);
    check_add_loop(suite, "other_size_in_use", other_size_in_use, 2);
    check_add_loop(suite, "replaced", replaced, CHECK_COUNT(replaced_cases));
    check_add_loop(suite, "in_the_way", in_the_way, CHECK_COUNT(in_the_way_cases));
    check_add(suite, "check_makes_nothing", check_makes_nothing);
    check_add(suite, "something_else", something_else);
    check_add(suite, "half_made", half_made);
    check_add_loop(suite, "started_at_once", started_at_once, 4);
    return check_main(suite);
}
