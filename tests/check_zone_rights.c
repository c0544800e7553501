/* SPDX-License-Identifier: Apache-2.0
 *
 * Zones where rights, limits and room are short: files of other users, directories nobody may write, memory that may not be locked,
 * a tmpfs that is full.  Each in a child, which gives up rights or has a tmpfs of its own; each says what and why in one line.
 *
 * A child answers with CHILD_GOOD or what failed; parts that need root are passed over without.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <afpa/log.h>

#include "check_main.h"
#include "child.h"
#include "fixture.h"
#include "zone.h"

#define MB (UINT64_C(1) << 20)
#define NOBODY 65534
#define SOMEBODY 65533

typedef struct place {
    char dir[64]; /* on tmpfs */
    char path[96];
    afpa_zone_options_t options;
} place_t;

static void place_begin(place_t *p)
{
    memset(p, 0, sizeof(*p));
    snprintf(p->dir, sizeof(p->dir), "/dev/shm/check-rights-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(p->dir));
    snprintf(p->path, sizeof(p->path), "%s/zone", p->dir);
    afpa_zone_options_init(&p->options);
    p->options.name = "rights";
    p->options.path = p->path;
    p->options.size = 4 * MB;
    p->options.mlock = AFPA_MLOCK_OFF;
}

static void place_end(place_t *p)
{
    unlink(p->path);
    ck_assert_int_eq(rmdir(p->dir), 0);
}

static bool become(uid_t uid)
{
    return geteuid() == 0 && setgid(uid) == 0 && setuid(uid) == 0;
}

static bool owner_is(const place_t *p, uid_t uid)
{
    struct stat st;

    return stat(p->path, &st) == 0 && st.st_uid == uid && (st.st_mode & 07777) == 0600;
}

static bool group_is(const place_t *p, gid_t gid)
{
    struct stat st;

    return stat(p->path, &st) == 0 && st.st_gid == gid;
}

static ino_t inode_of(const place_t *p)
{
    struct stat st;

    return stat(p->path, &st) == 0 ? st.st_ino : 0;
}

static char warning[600];

static void keep_warning(void *context, afpa_log_level_t level, const char *line)
{
    (void)context;
    if (level == AFPA_LOG_WARN)
        snprintf(warning, sizeof(warning), "%s", line);
}

/* Opens and closes; on failure the error is kept. */
static afpa_status_t try_open(const place_t *p, afpa_error_t *error)
{
    afpa_zone_t *zone;
    afpa_status_t status;

    error->text[0] = warning[0] = 0;
    afpa_log_set(keep_warning, NULL, AFPA_LOG_WARN);
    status = afpa_zone_open(&p->options, &zone, error);
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    afpa_zone_close(&zone);
    return status;
}

/* Whether the line is `zone "rights": PATH`, then `rest`. */
static bool says(const place_t *p, const char *text, const char *rest)
{
    char expected[700];

    snprintf(expected, sizeof(expected), "zone \"rights\": %s%s", p->path, rest);
    if (strcmp(text, expected) == 0)
        return true;
    fprintf(stderr, "said:     %s\nexpected: %s\n", text, expected);
    return false;
}

/* ---- users ---- */

/* None of the caller's, and all of them that user's own. */
static bool groups_are(gid_t gid)
{
    gid_t groups[16];
    int count = getgroups(16, groups);

    for (int i = 0; i < count; i++)
        if (groups[i] == SOMEBODY)
            return false;
    return count <= 1 && (count < 1 || groups[0] == gid);
}

/* Servers open as root what their workers use as somebody else; a restart finds it, and so does who only knows its name. */
static child_result_t given_to_the_user(void *arg)
{
    place_t *p = arg;
    afpa_error_t error;
    afpa_zone_t *zone;
    ino_t inode;

    if (geteuid() != 0)
        return CHILD_SKIP;
    CHILD_NEED(setgroups(1, (gid_t[]){SOMEBODY}) == 0);
    CHILD_NEED(chmod(p->dir, 01777) == 0); /* as /dev/shm, with all that fs.protected_regular makes of it */
    p->options.uid = p->options.gid = NOBODY;
    CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, NOBODY));
    inode = inode_of(p);
    CHILD_NEED(afpa_zone_check(&p->options, &error) == AFPA_OK);
    CHILD_NEED(try_open(p, &error) == AFPA_OK && inode_of(p) == inode && warning[0] == 0);
    CHILD_NEED(afpa_zone_attach(p->path, false, &zone, &error) == AFPA_OK && geteuid() == 0);
    afpa_zone_close(&zone);
    CHILD_NEED(afpa_zone_attach(p->path, true, &zone, &error) == AFPA_OK);
    afpa_zone_close(&zone);
    CHILD_NEED(geteuid() == NOBODY && getuid() == NOBODY && getegid() == NOBODY && groups_are(NOBODY));
    CHILD_NEED(setuid(0) != 0); /* for good */
    p->options.uid = p->options.gid = (uid_t)-1;
    CHILD_NEED(try_open(p, &error) == AFPA_OK && inode_of(p) == inode);
    return CHILD_GOOD;
}

/* What root made by hand may hold what only root can read: the server's user gets an empty one in its place. */
static child_result_t made_by_root(void *arg)
{
    place_t *p = arg;
    afpa_error_t error;
    ino_t inode;

    if (geteuid() != 0)
        return CHILD_SKIP;
    CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, 0));
    inode = inode_of(p);
    p->options.uid = p->options.gid = NOBODY;
    CHILD_NEED(afpa_zone_check(&p->options, &error) == AFPA_OK && inode_of(p) == inode);
    CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, NOBODY) && inode_of(p) != inode);
    inode = inode_of(p);
    CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, NOBODY) && inode_of(p) == inode);
    return CHILD_GOOD;
}

static child_result_t plant(void *arg)
{
    place_t *p = arg;
    afpa_error_t error;

    if (!become(SOMEBODY))
        return CHILD_SKIP;
    CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, SOMEBODY));
    return CHILD_GOOD;
}

/* The group alone is given too: of the calling user's segment, of another's, of one that is there already and stays warm. */
static child_result_t given_to_the_group(void *arg)
{
    static const uid_t users[] = {(uid_t)-1, 0, NOBODY};
    place_t *p = arg;
    afpa_error_t error;

    if (geteuid() != 0)
        return CHILD_SKIP;
    for (unsigned i = 0; i < CHECK_COUNT(users); i++) {
        uid_t owner = users[i] == NOBODY ? NOBODY : 0;
        ino_t inode;

        p->options.uid = users[i];
        p->options.gid = SOMEBODY;
        CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, owner) && group_is(p, SOMEBODY));
        inode = inode_of(p);
        p->options.gid = NOBODY;
        CHILD_NEED(afpa_zone_check(&p->options, &error) == AFPA_OK && group_is(p, SOMEBODY)); /* changes nothing */
        CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, owner) && group_is(p, NOBODY));
        p->options.gid = (gid_t)-1;
        CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, owner) && group_is(p, NOBODY));
        CHILD_NEED(inode_of(p) == inode && warning[0] == 0);
        CHILD_NEED(unlink(p->path) == 0);
    }
    return CHILD_GOOD;
}

/* What root is to make is made by root from the beginning: an empty file of the user's own is not used. */
static child_result_t left_empty(void *arg)
{
    place_t *p = arg;
    char rest[200];
    afpa_error_t error;
    ino_t inode;
    int fd;

    if (geteuid() != 0)
        return CHILD_SKIP;
    fd = open(p->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHILD_NEED(fd >= 0 && fchown(fd, NOBODY, NOBODY) == 0);
    inode = inode_of(p);
    p->options.uid = p->options.gid = NOBODY;
    CHILD_NEED(afpa_zone_check(&p->options, &error) == AFPA_OK && inode_of(p) == inode);
    CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, NOBODY) && inode_of(p) != inode);
    snprintf(rest, sizeof(rest), "zone \"rights\": %s: was left empty by user %d; replaced by an empty one", p->path, NOBODY);
    CHILD_NEED(strcmp(warning, rest) == 0);
    close(fd);
    return CHILD_GOOD;
}

/* Whenever it is the user's, it is whole. */
static child_result_t watch(void *arg)
{
    const place_t *p = arg;

    for (;;) {
        afpa__header_shared_t header;
        struct stat st;
        int fd = open(p->path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
            continue;
        CHILD_NEED(fstat(fd, &st) == 0);
        if (st.st_uid == NOBODY)
            CHILD_NEED(pread(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header) && atomic_load(&header.ready));
        close(fd);
    }
}

static child_result_t given_when_whole(void *arg)
{
    place_t *p = arg;
    afpa_error_t error;
    bool good = true;
    int status;
    pid_t pid;

    if (geteuid() != 0)
        return CHILD_SKIP;
    pid = child_start(watch, p);
    p->options.uid = p->options.gid = NOBODY;
    for (unsigned i = 0; i < 20 && good; i++) {
        good = try_open(p, &error) == AFPA_OK && owner_is(p, NOBODY) && unlink(p->path) == 0;
        usleep(2000);
    }
    kill(pid, SIGKILL);
    status = child_wait(pid);
    CHILD_NEED(good && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return CHILD_GOOD;
}

/* A segment made by somebody who may have it open still: root does not take it over but puts an empty one in its place. */
static child_result_t planted(void *arg)
{
    place_t *p = arg;
    char rest[200];
    afpa_error_t error;
    ino_t inode;

    if (geteuid() != 0)
        return CHILD_SKIP;
    CHILD_NEED(chmod(p->dir, 0777) == 0);
    CHILD_NEED(child_wait(child_start(plant, p)) == 0);
    inode = inode_of(p);
    p->options.uid = p->options.gid = NOBODY;
    CHILD_NEED(afpa_zone_check(&p->options, &error) == AFPA_OK && inode_of(p) == inode);
    CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, NOBODY) && inode_of(p) != inode);
    snprintf(rest, sizeof(rest), "zone \"rights\": %s: belonged to user %d; replaced by an empty one", p->path, SOMEBODY);
    CHILD_NEED(strcmp(warning, rest) == 0);
    return CHILD_GOOD;
}

/* The same while processes of that user have it: a server that is to run as another user does not start. */
static child_result_t in_use_by_another_user(void *arg)
{
    place_t *p = arg;
    char rest[128];
    afpa_cache_t *cache;
    afpa_error_t error;
    afpa_zone_t *zone;
    bool good;

    if (geteuid() != 0)
        return CHILD_SKIP;
    p->options.uid = p->options.gid = SOMEBODY;
    CHILD_NEED(afpa_zone_open(&p->options, &zone, &error) == AFPA_OK);
    CHILD_NEED(afpa_cache_attach(zone, "check", &cache, &error) == AFPA_OK);
    p->options.uid = p->options.gid = NOBODY;
    snprintf(rest, sizeof(rest), " belongs to user %d, but the processes of this server run as user %d", SOMEBODY, NOBODY);
    good = afpa_zone_check(&p->options, &error) == AFPA_INVALID && says(p, error.text, rest);
    good = good && try_open(p, &error) == AFPA_INVALID && says(p, error.text, rest) && owner_is(p, SOMEBODY);
    afpa_cache_detach(&cache);
    afpa_zone_close(&zone);
    CHILD_NEED(good);
    return CHILD_GOOD;
}

static child_result_t file_of_root(void *arg)
{
    place_t *p = arg;
    afpa_error_t error;
    afpa_zone_t *zone;
    char text[200];

    if (geteuid() != 0)
        return CHILD_SKIP;
    CHILD_NEED(try_open(p, &error) == AFPA_OK && chmod(p->dir, 0777) == 0 && become(NOBODY));
    CHILD_NEED(afpa_zone_check(&p->options, &error) == AFPA_INVALID && says(p, error.text, ": Permission denied"));
    CHILD_NEED(try_open(p, &error) == AFPA_INVALID && says(p, error.text, ": Permission denied"));
    CHILD_NEED(afpa_zone_attach(p->path, true, &zone, &error) == AFPA_INVALID);
    snprintf(text, sizeof(text), "%s: Permission denied", p->path);
    CHILD_NEED(strcmp(error.text, text) == 0);
    CHILD_NEED(afpa_zone_destroy(p->path, true, &error) == AFPA_INVALID && strcmp(error.text, text) == 0);
    CHILD_NEED(owner_is(p, 0));
    return CHILD_GOOD;
}

static child_result_t directory_of_root(void *arg)
{
    place_t *p = arg;
    afpa_error_t error;

    CHILD_NEED(chmod(p->dir, 0555) == 0);
    if (!become(NOBODY))
        return CHILD_SKIP;
    CHILD_NEED(afpa_zone_check(&p->options, &error) == AFPA_INVALID && says(p, error.text, ": Permission denied"));
    CHILD_NEED(try_open(p, &error) == AFPA_INVALID && says(p, error.text, ": Permission denied"));
    return CHILD_GOOD;
}

/* A user may not give files away. */
static child_result_t given_without_right(void *arg)
{
    place_t *p = arg;
    char rest[128];
    afpa_error_t error;

    CHILD_NEED(chmod(p->dir, 0777) == 0);
    if (!become(SOMEBODY))
        return CHILD_SKIP;
    p->options.uid = NOBODY;
    snprintf(rest, sizeof(rest), ": cannot be given to user %d: Operation not permitted", NOBODY);
    CHILD_NEED(try_open(p, &error) == AFPA_INVALID && says(p, error.text, rest));
    CHILD_NEED(access(p->path, F_OK) != 0); /* nothing is left of it */
    p->options.uid = (uid_t)-1;
    p->options.gid = NOBODY;
    snprintf(rest, sizeof(rest), ": cannot be given to user %d with that group: Operation not permitted", SOMEBODY);
    CHILD_NEED(try_open(p, &error) == AFPA_INVALID && says(p, error.text, rest));
    CHILD_NEED(access(p->path, F_OK) != 0);
    p->options.gid = SOMEBODY; /* its own */
    CHILD_NEED(try_open(p, &error) == AFPA_OK && owner_is(p, SOMEBODY) && group_is(p, SOMEBODY));
    p->options.gid = NOBODY;
    CHILD_NEED(try_open(p, &error) == AFPA_INVALID && says(p, error.text, rest));
    CHILD_NEED(unlink(p->path) == 0); /* what was written before is there still */
    return CHILD_GOOD;
}

/* ---- memory that is to be locked ---- */

static bool without_right_to_lock(place_t *p, rlim_t limit)
{
    if (chmod(p->dir, 0777) != 0 || setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){limit, limit}) != 0)
        return false;
    return geteuid() != 0 || become(NOBODY); /* root may lock what it likes */
}

static child_result_t lock_refused(void *arg)
{
    place_t *p = arg;
    char text[400];
    afpa_error_t error;
    afpa_zone_t *zone;
    uint64_t length;
    bool pinned;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* whose mlock() does nothing, and says it did */
    return CHILD_SKIP;
#endif
    if (!without_right_to_lock(p, 65536))
        return CHILD_SKIP;
    p->options.mlock = AFPA_MLOCK_TRY;
    afpa_log_set(keep_warning, NULL, AFPA_LOG_WARN);
    CHILD_NEED(afpa_zone_open(&p->options, &zone, &error) == AFPA_OK);
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    length = afpa__zone_segment(zone)->layout.data_length;
    pinned = afpa_zone_pinned(zone);
    afpa_zone_close(&zone);
    CHILD_NEED(!pinned);
    snprintf(text, sizeof(text),
             "zone \"rights\": cannot lock %llu bytes in memory: Cannot allocate memory; the cache works, but may be swapped out "
             "(limit: ulimit -l, LimitMEMLOCK=)",
             (unsigned long long)length);
    CHILD_NEED(strcmp(warning, text) == 0);

    p->options.mlock = AFPA_MLOCK_REQUIRE;
    snprintf(text, sizeof(text),
             "zone \"rights\": mlock=require: cannot lock %llu bytes in memory: Cannot allocate memory (limit: ulimit -l, "
             "LimitMEMLOCK=)",
             (unsigned long long)length);
    CHILD_NEED(try_open(p, &error) == AFPA_INVALID && strcmp(error.text, text) == 0);
    CHILD_NEED(access(p->path, F_OK) == 0); /* it was there before */
    CHILD_NEED(unlink(p->path) == 0);
    CHILD_NEED(try_open(p, &error) == AFPA_INVALID && strcmp(error.text, text) == 0);
    CHILD_NEED(access(p->path, F_OK) != 0); /* nothing is left of one that was made for this */

    p->options.mlock = AFPA_MLOCK_OFF;
    CHILD_NEED(try_open(p, &error) == AFPA_OK && warning[0] == 0);
    CHILD_NEED(unlink(p->path) == 0);
    return CHILD_GOOD;
}

static child_result_t lock_allowed(void *arg)
{
    place_t *p = arg;
    afpa_error_t error;
    afpa_zone_t *zone, *other;
    bool pinned;

    if (!without_right_to_lock(p, 8 * MB))
        return CHILD_SKIP;
    p->options.mlock = AFPA_MLOCK_REQUIRE;
    CHILD_NEED(afpa_zone_open(&p->options, &zone, &error) == AFPA_OK);
    pinned = afpa_zone_pinned(zone);
    p->options.mlock = AFPA_MLOCK_OFF;
    CHILD_NEED(afpa_zone_open(&p->options, &other, &error) == AFPA_OK);
    pinned = pinned && !afpa_zone_pinned(zone); /* as it was last opened */
    afpa_zone_close(&zone);
    afpa_zone_close(&other);
    CHILD_NEED(unlink(p->path) == 0);
    CHILD_NEED(pinned);
    return CHILD_GOOD;
}

/* Root raises the limit its children inherit by what it locks. */
/* As long as the zone is open: reloads do not add to it. */
static child_result_t limit_raised(void *arg)
{
    place_t *p = arg;
    struct rlimit limit;
    afpa_error_t error;
    afpa_zone_t *zone;
    uint64_t length;

    if (geteuid() != 0 || getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_max < 5 * MB)
        return CHILD_SKIP;
    limit.rlim_cur = 65536;
    CHILD_NEED(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    p->options.mlock = AFPA_MLOCK_REQUIRE;
    CHILD_NEED(afpa_zone_open(&p->options, &zone, &error) == AFPA_OK);
    length = afpa__zone_segment(zone)->layout.data_length;
    CHILD_NEED(getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == 65536 + length && limit.rlim_max >= limit.rlim_cur);
    afpa_zone_close(&zone);
    CHILD_NEED(getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == 65536);
    return CHILD_GOOD;
}

/* ---- room ---- */

/* A page short of what is reserved; then enough, but a hundredth of what the file could grow to with 256 owners. */
static child_result_t room_for_one(void *arg)
{
    place_t *p = arg;
    char rest[128];
    afpa__layout_t layout;
    afpa_error_t error;
    afpa_zone_t *zone;
    int filler;
    struct statvfs fs;
    bool reserved;
    uint64_t least;

    CHILD_NEED(afpa__layout_compute(&layout, p->options.size, 65536));
    least = layout.ledger_at + layout.ledger_row; /* with nobody's ledger it would be of no use */
    if (!child_tmpfs(p->dir, "size=5m"))
        return CHILD_SKIP;
    CHILD_NEED(chdir(p->dir) == 0);
    filler = open("filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHILD_NEED(filler >= 0 && statvfs(".", &fs) == 0);
    CHILD_NEED(fallocate(filler, 0, 0, (off_t)((uint64_t)fs.f_bavail * fs.f_bsize - least + 4096)) == 0);
    CHILD_NEED(try_open(p, &error) == AFPA_INVALID);
    snprintf(rest, sizeof(rest), ": tmpfs cannot reserve %llu bytes: No space left on device", (unsigned long long)least);
    CHILD_NEED(says(p, error.text, rest));
    CHILD_NEED(access(p->path, F_OK) != 0);
    CHILD_NEED(ftruncate(filler, 0) == 0);
    CHILD_NEED(afpa_zone_open(&p->options, &zone, &error) == AFPA_OK);
    for (off_t at = 0; fallocate(filler, 0, at, 4096) == 0; at += 4096)
        continue;
    memset(afpa__zone_segment(zone)->data, 'x', layout.data_length); /* a page that was not reserved would be a SIGBUS */
    reserved = afpa__zone_segment(zone)->data[layout.data_length - 1] == 'x';
    afpa_zone_close(&zone);
    close(filler);
    CHILD_NEED(reserved);
    return CHILD_GOOD;
}

/* No room for a ledger: the file cannot be cached, and that is all. */
static child_result_t no_room_for_a_ledger(void *arg)
{
    static const char path[] = "/proc/self/exe";
    place_t *p = arg;
    afpa_policy_t policy;
    afpa_counter_t why = 0;
    afpa_cache_t *cache;
    afpa_error_t error;
    afpa_status_t status;
    afpa_zone_t *zone;
    afpa_ref_t ref;
    int filler;

    if (!child_tmpfs(p->dir, "size=5m"))
        return CHILD_SKIP;
    CHILD_NEED(chdir(p->dir) == 0);
    CHILD_NEED(afpa_zone_open(&p->options, &zone, &error) == AFPA_OK);
    filler = open("filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (off_t at = 0; fallocate(filler, 0, at, 4096) == 0; at += 4096)
        continue;
    CHILD_NEED(afpa_cache_attach(zone, "check", &cache, &error) == AFPA_OK);
    afpa_policy_init(&policy);
    status = afpa_cache_open(cache, path, strlen(path), &policy, &ref, &why, NULL);
    CHILD_NEED(status == AFPA_DECLINED && why == AFPA_DECLINE_NO_SPACE);
    CHILD_NEED(ftruncate(filler, 0) == 0);
    status = afpa_cache_open(cache, path, strlen(path), &policy, &ref, &why, NULL);
    afpa_cache_release(&ref);
    afpa_cache_detach(&cache);
    afpa_zone_close(&zone);
    close(filler);
    CHILD_NEED(status == AFPA_OK);
    return CHILD_GOOD;
}

static const struct {
    const char *label;
    child_fn *part;
} cases[] = {
    {"given to the server's user", given_to_the_user},
    {"made by root", made_by_root},
    {"left empty", left_empty},
    {"given when it is whole", given_when_whole},
    {"given to the group", given_to_the_group},
    {"planted", planted},
    {"in use by another user", in_use_by_another_user},
    {"a file of root", file_of_root},
    {"a directory of root", directory_of_root},
    {"given without the right to", given_without_right},
    {"locking refused", lock_refused},
    {"locking allowed", lock_allowed},
    {"limit raised", limit_raised},
    {"no room, then just enough", room_for_one},
    {"no room for a ledger", no_room_for_a_ledger},
};

START_TEST(part)
{
    place_t place;

    place_begin(&place);
    child_run(cases[_i].part, &place, cases[_i].label);
    chmod(place.dir, 0700);
    place_end(&place);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("zone_rights");
    TCase *tc = tcase_create("part");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, part, 0, CHECK_COUNT(cases));
    suite_add_tcase(suite, tc);
    return check_main(suite);
}
