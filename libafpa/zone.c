/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, zones: finding, making, judging and replacing segment files.
 *
 * Whoever makes or judges a segment holds the creation lock (a byte of the file itself), so that two servers that start at once
 * agree on one.  A segment that is no good is not mended but unlinked, and a new file made under its name: processes that still
 * have the old one mapped go on with it undisturbed.  A cache may always be dropped.
 *
 * This is root's process often, and who may write the segment is not: nothing that is read out of it is followed here, and what it
 * holds is judged by another process (judge.c).
 *
 * Memory is reserved before it is touched (afpa__segment_reserve), since on a full tmpfs the touch itself would be a SIGBUS.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <afpa/inspect.h>
#include <afpa/options.h>

#include "judge.h"
#include "log.h"
#include "owner.h"
#include "zone.h"

#define OPEN_TRIES 100u /* to lock the file that is under the name, and not one that was replaced meanwhile */
#define REPLACE_TRIES 10u

/* A segment file in the making or under judgement. */
typedef struct candidate {
    const afpa_zone_options_t *options;
    const char *path;
    afpa__layout_t wanted, found;
    int fd;
    bool made;        /* by this call */
    uid_t user;       /* who is to own it, with the group of the options … */
    bool to_be_given; /* … but one of them does not yet */
} candidate_t;

afpa_status_t afpa__fail(afpa_error_t *error, afpa_status_t status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return status;
}

/* ---- names ---- */

static bool name_valid(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > AFPA_ZONE_NAME_MAX || name[0] == '.')
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("-_.", *name))
            return false;
    return true;
}

void afpa__zone_path(const char *name, char *path, size_t room)
{
    snprintf(path, room, "%s/%s%s", AFPA_ZONE_DIR, AFPA_ZONE_PREFIX, name);
}

static void options_path(const afpa_zone_options_t *o, char *path, size_t room)
{
    if (o->path)
        snprintf(path, room, "%s", o->path);
    else
        afpa__zone_path(o->name, path, room);
}

/* The directory of an absolute path. */
static void directory_of(const char *path, char *directory, size_t size)
{
    char *slash;

    snprintf(directory, size, "%s", path);
    slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = 0;
}

static bool directory_same(const char *path_a, const char *path_b)
{
    char a[AFPA_PATH_MAX], b[AFPA_PATH_MAX];
    struct stat st_a, st_b;

    directory_of(path_a, a, sizeof(a));
    directory_of(path_b, b, sizeof(b));
    return stat(a, &st_a) == 0 && stat(b, &st_b) == 0 && st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

bool afpa_zone_options_same_file(const afpa_zone_options_t *a, const afpa_zone_options_t *b)
{
    char path_a[AFPA_PATH_MAX], path_b[AFPA_PATH_MAX];

    options_path(a, path_a, sizeof(path_a));
    options_path(b, path_b, sizeof(path_b));
    return strcmp(path_a, path_b) == 0 || (strcmp(basename(path_a), basename(path_b)) == 0 && directory_same(path_a, path_b));
}

static afpa_status_t options_check(const afpa_zone_options_t *o, candidate_t *c, char *path, size_t room, afpa_error_t *error)
{
    const char *name = o->name ? o->name : "";
    uint32_t chunk = o->chunk_size ? o->chunk_size : (uint32_t)afpa_option_default(AFPA_OPTION_CHUNK);

    if (!name_valid(name))
        return afpa__fail(error, AFPA_INVALID, "zone \"%s\": a name has 1 to %d letters, digits, '-', '_' or '.'", name,
                          AFPA_ZONE_NAME_MAX);
    if (o->path && o->path[0] != '/')
        return afpa__fail(error, AFPA_INVALID, "zone \"%s\": the path \"%s\" must be absolute", name, o->path);
    if (o->path && strlen(o->path) >= room)
        return afpa__fail(error, AFPA_INVALID, "zone \"%s\": the path is too long", name);
    options_path(o, path, room);
    if (!afpa__layout_compute(&c->wanted, o->size, chunk))
        return afpa__fail(
            error, AFPA_INVALID,
            "zone \"%s\": size %llu with chunks of %u is out of range (at least %d bytes and 4 chunks, less than 8 TB)", name,
            (unsigned long long)o->size, chunk, AFPA_ZONE_SIZE_MIN);
    c->options = o;
    c->path = path;
    c->user = o->uid == (uid_t)-1 ? geteuid() : o->uid;
    c->fd = -1;
    c->made = false;
    return AFPA_OK;
}

/* The directory must be on tmpfs: on a disk every page could have to be written back, and a hit could wait for the disk. */
static afpa_status_t directory_check(const candidate_t *c, afpa_error_t *error)
{
    char directory[AFPA_PATH_MAX];
    struct statfs fs;

    directory_of(c->path, directory, sizeof(directory));
    if (statfs(directory, &fs) != 0)
        return afpa__fail(error, AFPA_INVALID, "zone \"%s\": %s: %s", c->options->name, directory, strerror(errno));
    if (fs.f_type != TMPFS_MAGIC)
        return afpa__fail(
            error, AFPA_INVALID,
            "zone \"%s\": %s is not on tmpfs (a segment on a disk file system would wait for the disk); use a path under %s",
            c->options->name, c->path, AFPA_ZONE_DIR);
    return AFPA_OK;
}

/* ---- owners ---- */

/* Nobody else may be able to write the file, or could have planted it.  AFPA_NOT_FOUND: somebody could, and has it open perhaps, or
 * what is in it was read with the rights of another user, root's say, or it is for root to make and somebody else's: it is to be
 * replaced. */
static afpa_status_t rights_judge(candidate_t *c, afpa_error_t *error)
{
    struct stat st;

    if (fstat(c->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return afpa__fail(error, AFPA_INVALID, "zone \"%s\": %s is not a regular file", c->options->name, c->path);
    c->to_be_given = c->options->gid != (gid_t)-1 && st.st_gid != c->options->gid;
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return afpa__fail(error, AFPA_INVALID, "zone \"%s\": %s may be written by others (mode %03o); remove it", c->options->name,
                          c->path, st.st_mode & 0777);
    if (st.st_size == 0 && geteuid() == 0 && st.st_uid != 0) {
        snprintf(error->text, sizeof(error->text), "%s: was left empty by user %d", c->path, (int)st.st_uid);
        return AFPA_NOT_FOUND;
    }
    if (st.st_uid == c->user)
        return AFPA_OK;
    c->to_be_given = st.st_uid == 0 || st.st_uid == geteuid();
    if (afpa__owners_living(c->fd) > 0 || (!c->to_be_given && geteuid() != 0))
        return afpa__fail(error, AFPA_INVALID,
                          "zone \"%s\": %s belongs to user %d, but the processes of this server run as user %d", c->options->name,
                          c->path, (int)st.st_uid, (int)c->user);
    if (c->to_be_given && st.st_size == 0)
        return AFPA_OK;
    snprintf(error->text, sizeof(error->text), "%s: belonged to user %d", c->path, (int)st.st_uid);
    return AFPA_NOT_FOUND;
}

static afpa_status_t give(const candidate_t *c, afpa_error_t *error)
{
    if (!c->to_be_given || fchown(c->fd, c->user, c->options->gid) == 0)
        return AFPA_OK;
    return afpa__fail(error, AFPA_INVALID, "zone \"%s\": %s: cannot be given to user %d%s: %s", c->options->name, c->path,
                      (int)c->user, c->options->gid == (gid_t)-1 ? "" : " with that group", strerror(errno));
}

/* ---- making ---- */

/* The segment, and the ledger of one process: without any nothing could be pinned, and the zone would lie there for nothing. */
static uint64_t least_room(const candidate_t *c)
{
    return c->wanted.ledger_at + c->wanted.ledger_row;
}

/* Not the reservation, but it spares the others of this tmpfs the moment when it is full. */
static bool has_room(const candidate_t *c)
{
    struct statfs fs;

    if (fstatfs(c->fd, &fs) != 0 || fs.f_blocks == 0 || (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize >= least_room(c))
        return true;
    errno = ENOSPC;
    return false;
}

static afpa_status_t no_room(const candidate_t *c, afpa_error_t *error)
{
    return afpa__fail(error, AFPA_INVALID, "zone \"%s\": %s: tmpfs cannot reserve %llu bytes: %s", c->options->name, c->path,
                      (unsigned long long)least_room(c), strerror(errno));
}

/* Maps the file at its whole size, and gives all of it but the ledgers its memory. */
static afpa_status_t map_anew(const candidate_t *c, afpa__segment_t *segment, afpa_error_t *error)
{
    afpa_status_t status;

    if (!has_room(c) || ftruncate(c->fd, (off_t)c->wanted.file_size) != 0)
        return no_room(c, error);
    status = afpa__segment_map(segment, &c->wanted, c->fd, c->path, error);
    if (status != AFPA_OK || afpa__segment_reserve(segment, 0, c->wanted.ledger_at))
        return status;
    no_room(c, error);
    afpa__segment_unmap(segment);
    return AFPA_INVALID;
}

static afpa_status_t make(candidate_t *c, afpa__segment_t *segment, afpa_error_t *error)
{
    afpa_status_t status = map_anew(c, segment, error);

    if (status == AFPA_OK)
        afpa__segment_format(segment, c->options->name);
    else
        unlink(c->path);
    c->made = status == AFPA_OK;
    return status;
}

/* By another process: see judge.c.  Where no group was named, with that of the file. */
static bool is_sound(const candidate_t *c, afpa_zone_t *zone)
{
    afpa__judge_t judge = {.user = c->user, .group = c->options->gid, .limit_ms = afpa__judge_limit_ms(c->found.size)};
    afpa_error_t problem;
    struct stat st;

    if (judge.group == (gid_t)-1 && fstat(c->fd, &st) == 0)
        judge.group = st.st_gid;
    if (afpa__judge_sound(zone, &judge, &problem))
        return true;
    afpa__log(AFPA_LOG_WARN, "zone %s: %s", c->options->name, problem.text);
    return false;
}

/* Attaches to the segment that is there, if it is good.  AFPA_NOT_FOUND: it is not, and is to be replaced; why is in `error`. */
static afpa_status_t adopt(candidate_t *c, afpa_zone_t *zone, afpa_error_t *error)
{
    afpa__segment_t *segment = &zone->segment;

    if (afpa__segment_examine(c->fd, c->path, &c->found, error) != AFPA_OK)
        return AFPA_NOT_FOUND;
    if (c->found.size != c->wanted.size || c->found.chunk_size != c->wanted.chunk_size) {
        unsigned living = afpa__owners_living(c->fd);

        snprintf(error->text, sizeof(error->text), "%s: has size %llu and chunk %u, not %llu and %u", c->path,
                 (unsigned long long)c->found.size, c->found.chunk_size, (unsigned long long)c->wanted.size, c->wanted.chunk_size);
        if (living == 0)
            return AFPA_NOT_FOUND;
        return afpa__fail(
            error, AFPA_IN_USE,
            "zone \"%s\": %s is in use by %u processes with size %llu and chunk %u, not %llu and %u; stop them to change it",
            c->options->name, c->path, living, (unsigned long long)c->found.size, c->found.chunk_size,
            (unsigned long long)c->wanted.size, c->wanted.chunk_size);
    }
    if (afpa__segment_map(segment, &c->found, c->fd, c->path, error) != AFPA_OK)
        return AFPA_NOT_FOUND;
    if (afpa__owners_living(c->fd) > 0 || is_sound(c, zone))
        return AFPA_OK;
    afpa__segment_unmap(segment);
    snprintf(error->text, sizeof(error->text), "%s: is inconsistent", c->path);
    return AFPA_NOT_FOUND;
}

/* O_CREAT only where there is no file: with it, fs.protected_regular would keep root out of a segment in /dev/shm that was given
 * to the server's user. */
static int open_or_create(const char *path)
{
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    return fd < 0 && errno == ENOENT ? open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : fd;
}

static afpa_status_t replaced_again(const candidate_t *c, afpa_error_t *error)
{
    return afpa__fail(error, AFPA_IN_USE, "zone \"%s\": %s is being replaced over and over", c->options->name, c->path);
}

/* Opens the file, and takes the creation lock on the one that is under the name then. */
static afpa_status_t file_open(candidate_t *c, afpa_error_t *error)
{
    for (unsigned tries = 0; tries < OPEN_TRIES; tries++) {
        afpa_status_t status;
        int why;

        c->fd = open_or_create(c->path);
        if (c->fd < 0 && errno == EEXIST) /* somebody was quicker */
            continue;
        if (c->fd < 0)
            return afpa__fail(error, AFPA_INVALID, "zone \"%s\": %s: %s", c->options->name, c->path, strerror(errno));
        status = afpa__owner_lock_named(c->fd, c->path);
        if (status == AFPA_OK)
            return AFPA_OK;
        why = errno;
        close(c->fd);
        c->fd = -1;
        if (status != AFPA_AGAIN)
            return afpa__fail(error, status, "zone \"%s\": %s: cannot be locked: %s", c->options->name, c->path, strerror(why));
    }
    return replaced_again(c, error);
}

/* A path that somebody wrote into a configuration may be the path of something else. */
static afpa_status_t content_check(const candidate_t *c, afpa_error_t *error)
{
    uint64_t magic = 0;

    if (!c->options->path || pread(c->fd, &magic, sizeof(magic), 0) <= 0 || magic == AFPA_MAGIC || magic == 0)
        return AFPA_OK;
    return afpa__fail(error, AFPA_INVALID, "zone \"%s\": %s is not an AFPA segment: name another path, or remove it",
                      c->options->name, c->path);
}

/* What root makes is given away when it is whole: who may write it could lead astray who makes it. */
static afpa_status_t make_or_adopt(candidate_t *c, afpa_zone_t *zone, afpa_error_t *error)
{
    afpa_status_t status = content_check(c, error);
    struct stat st;

    if (status == AFPA_OK)
        status = rights_judge(c, error);
    if (status != AFPA_OK)
        return status;
    if (fstat(c->fd, &st) == 0 && st.st_size == 0) {
        status = make(c, &zone->segment, error);
        return status == AFPA_OK ? give(c, error) : status;
    }
    status = give(c, error);
    return status == AFPA_OK ? adopt(c, zone, error) : status;
}

/* Makes, adopts, or replaces.  The creation lock is held; it is that of the file, so whoever replaces one has to look at the new
 * one as at any other: another process may have been quicker to make it, and use it. */
static afpa_status_t settle(candidate_t *c, afpa_zone_t *zone, afpa_error_t *error)
{
    for (unsigned tries = 0; tries < REPLACE_TRIES; tries++) {
        afpa_status_t status = make_or_adopt(c, zone, error);

        if (status != AFPA_NOT_FOUND)
            return status;
        afpa__log(AFPA_LOG_WARN, "zone \"%s\": %s; replaced by an empty one", c->options->name, error->text);
        unlink(c->path);
        close(c->fd);
        status = file_open(c, error);
        if (status != AFPA_OK)
            return status;
    }
    return replaced_again(c, error);
}

/* ---- memory lock ---- */

/* Children of a server started as root are not root; they lock what they map all the same, within a limit they inherit.
 * What opening a zone adds, closing it takes back: else each reload would add to it. */
static bool move_memory_limit(int64_t by)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || (by < 0 && limit.rlim_cur < (rlim_t)-by))
        return false;
    limit.rlim_cur += (rlim_t)by;
    if (limit.rlim_max < limit.rlim_cur)
        limit.rlim_max = limit.rlim_cur;
    return setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
}

/* Not through the mapping: who owns the file may cut it off at any time. */
static void pinned_set(const candidate_t *c, uint32_t pinned)
{
    (void)!pwrite(c->fd, &pinned, sizeof(pinned), offsetof(afpa__header_shared_t, pinned));
}

static afpa_status_t lock_memory(const candidate_t *c, afpa_zone_t *zone, afpa_error_t *error)
{
    const afpa__segment_t *s = &zone->segment;
    int saved;

    if (c->options->mlock == AFPA_MLOCK_OFF) {
        pinned_set(c, 0);
        return AFPA_OK;
    }
    if (geteuid() == 0 && move_memory_limit((int64_t)s->layout.data_length))
        zone->limit_raised = (int64_t)s->layout.data_length;
    if (mlock(s->data, s->layout.data_length) == 0) {
        pinned_set(c, 1);
        return AFPA_OK;
    }
    saved = errno;
    if (c->options->mlock == AFPA_MLOCK_REQUIRE)
        return afpa__fail(error, AFPA_INVALID,
                          "zone \"%s\": mlock=require: cannot lock %llu bytes in memory: %s (limit: ulimit -l, LimitMEMLOCK=)",
                          c->options->name, (unsigned long long)s->layout.data_length, strerror(saved));
    if (afpa__owners_living(c->fd) == 0) /* else it was locked by those who use it, or not, as the header says */
        pinned_set(c, 0);
    afpa__log(AFPA_LOG_WARN,
              "zone \"%s\": cannot lock %llu bytes in memory: %s; the cache works, but may be swapped out (limit: ulimit -l, "
              "LimitMEMLOCK=)",
              c->options->name, (unsigned long long)s->layout.data_length, strerror(saved));
    return AFPA_OK;
}

/* ---- the interface ---- */

afpa_status_t afpa_zone_open(const afpa_zone_options_t *options, afpa_zone_t **out, afpa_error_t *error)
{
    afpa_zone_t *zone = calloc(1, sizeof(*zone));
    afpa_status_t status;
    candidate_t c;

    *out = NULL;
    if (!zone)
        return afpa__fail(error, AFPA_NO_SPACE, "zone \"%s\": out of memory", options->name ? options->name : "");
    status = options_check(options, &c, zone->path, sizeof(zone->path), error);
    if (status == AFPA_OK)
        status = directory_check(&c, error);
    if (status == AFPA_OK)
        status = file_open(&c, error);
    if (status != AFPA_OK) {
        free(zone);
        return status;
    }
    status = settle(&c, zone, error);
    if (status == AFPA_OK)
        status = lock_memory(&c, zone, error);
    if (status != AFPA_OK) { /* the creation lock goes with the descriptor */
        if (c.made)
            unlink(c.path);
        zone->segment.fd = c.fd;
        afpa_zone_close(&zone);
        return status;
    }
    afpa__owner_unlock_creation(c.fd);
    snprintf(zone->name, sizeof(zone->name), "%s", options->name);
    *out = zone;
    return AFPA_OK;
}

afpa_status_t afpa_zone_check(const afpa_zone_options_t *options, afpa_error_t *error)
{
    char path[AFPA_PATH_MAX], directory[AFPA_PATH_MAX];
    afpa_error_t ignored;
    candidate_t c;
    afpa_status_t status = options_check(options, &c, path, sizeof(path), error);

    if (status == AFPA_OK)
        status = directory_check(&c, error);
    if (status != AFPA_OK)
        return status;
    c.fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (c.fd < 0 && errno == ENOENT) {
        directory_of(path, directory, sizeof(directory));
        if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0)
            return AFPA_OK;
    }
    if (c.fd < 0)
        return afpa__fail(error, AFPA_INVALID, "zone \"%s\": %s: %s", options->name, path, strerror(errno));
    status = content_check(&c, error);
    if (status == AFPA_OK)
        status = rights_judge(&c, error);
    if (status == AFPA_NOT_FOUND)
        status = AFPA_OK; /* would be replaced, as one of another size that nobody uses */
    else if (status == AFPA_OK && afpa__segment_examine(c.fd, path, &c.found, &ignored) == AFPA_OK &&
             afpa__owners_living(c.fd) > 0 && (c.found.size != c.wanted.size || c.found.chunk_size != c.wanted.chunk_size))
        status =
            afpa__fail(error, AFPA_IN_USE, "zone \"%s\": %s is in use with size %llu and chunk %u; stop its servers to change it",
                       options->name, path, (unsigned long long)c.found.size, c.found.chunk_size);
    close(c.fd);
    return status;
}

void afpa_zone_close(afpa_zone_t **zone)
{
    afpa_zone_t *z = *zone;

    *zone = NULL;
    if (!z)
        return;
    if (z->limit_raised)
        (void)move_memory_limit(-z->limit_raised);
    afpa__segment_unmap(&z->segment);
    if (z->segment.fd >= 0)
        close(z->segment.fd);
    free(z);
}

const char *afpa_zone_name(const afpa_zone_t *zone)
{
    return zone->name;
}

const char *afpa_zone_path(const afpa_zone_t *zone)
{
    return zone->path;
}

uint64_t afpa_zone_size(const afpa_zone_t *zone)
{
    return zone->segment.layout.size;
}

uint32_t afpa_zone_chunk_size(const afpa_zone_t *zone)
{
    return zone->segment.layout.chunk_size;
}

int afpa_zone_fd(const afpa_zone_t *zone)
{
    return zone->segment.fd;
}

void afpa_zone_enable(afpa_zone_t *zone, bool on)
{
    atomic_store(&zone->segment.header->enabled, on);
}

bool afpa_zone_enabled(const afpa_zone_t *zone)
{
    return atomic_load(&zone->segment.header->enabled);
}

bool afpa_zone_pinned(const afpa_zone_t *zone)
{
    return atomic_load(&zone->segment.header->pinned);
}

afpa__segment_t *afpa__zone_segment(afpa_zone_t *zone)
{
    return &zone->segment;
}
