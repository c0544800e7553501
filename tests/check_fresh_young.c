/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that changed a moment ago: what stamps cannot tell, and paths that lead elsewhere while they are being opened.
 */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check_main.h"
#include "fill.h"
#include "fixture.h"
#include "fresh.h"

#define ZONE (4u << 20)
#define SIZE 5000u

static void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

static afpa_status_t check(fixture_t *f, const char *path)
{
    return afpa_cache_check(f->cache, path, strlen(path));
}

/* The first byte that the cache has of a file. */
static char first_byte(fixture_t *f, const char *name)
{
    afpa_ref_t ref = fixture_open(f, name);
    afpa_extent_t extent;
    char byte;

    ck_assert_int_eq(afpa_cache_pin(&ref, 0, AFPA_PIN_COPY, &extent), AFPA_OK);
    byte = *(const char *)extent.data;
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
    return byte;
}

/* A second store through a mapping leaves no stamp, as the rest of a long write() leaves none. */
START_TEST(change_without_a_stamp)
{
    const char *path;
    struct stat before, after;
    fixture_t f;
    char *map;
    int fd;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", SIZE, 1);
    fd = open(path, O_RDWR | O_CLOEXEC);
    map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    memset(map, 'A', SIZE);
    ck_assert_int_eq(stat(path, &before), 0);
    ck_assert_int_eq(first_byte(&f, "a"), 'A');
    memset(map, 'B', SIZE);
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_int_eq(after.st_ctim.tv_nsec, before.st_ctim.tv_nsec);
    ck_assert_int_eq(check(&f, path), AFPA_OK); /* it may go on changing */
    pause_ms(2050);
    ck_assert_int_eq(check(&f, path), AFPA_CHANGED);
    ck_assert_int_eq(first_byte(&f, "a"), 'B');
    ck_assert_int_eq(check(&f, path), AFPA_OK); /* once is enough */
    munmap(map, SIZE);
    close(fd);
    fixture_end(&f);
}
END_TEST

/* The look-up does not renew it by itself either. */
START_TEST(read_once_more)
{
    afpa_ref_t ref;
    const char *path;
    fixture_t f;

    fixture_clock_stop();
    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", SIZE, 1);
    fixture_load(&f, "a");
    pause_ms(2050);
    fixture_clock_advance(f.policy.revalidate_ms);
    ck_assert_int_eq(afpa_cache_lookup(f.cache, path, strlen(path), f.policy.revalidate_ms, &ref), AFPA_STALE);
    fixture_load(&f, "a");
    fixture_clock_advance(f.policy.revalidate_ms);
    ck_assert_int_eq(afpa_cache_lookup(f.cache, path, strlen(path), f.policy.revalidate_ms, &ref),
                     fixture_at_once(&f) ? AFPA_OK : AFPA_STALE);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

/* A file system whose stamps are whole seconds: what changed is not admitted before the stamp is two seconds old. */
START_TEST(coarse_stamps)
{
    static const char script[] =
        "cd \"$0\" && truncate -s 1M image && mkfs.ext4 -q -I 128 image && mkdir on && mount -o loop image on && echo old >on/a";
    char path[64], command[sizeof(script) + 100];
    afpa_counter_t why;
    afpa__file_t file;
    fixture_t f;
    int directory;

    fixture_begin(&f, ZONE);
    snprintf(command, sizeof(command), "sh -c '%s' %s >/dev/null 2>&1", script, f.dir);
    snprintf(path, sizeof(path), "%s/on", f.dir);
    if (geteuid() == 0 && system(command) == 0) {
        directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_eq(umount2(path, MNT_DETACH), 0); /* it is there as long as the directory is open */
        snprintf(path, sizeof(path), "/proc/self/fd/%d/a", directory);
        ck_assert_int_eq(afpa__file_open(path, &file, &why), AFPA_DECLINED);
        ck_assert_int_eq(why, AFPA_DECLINE_CHANGED);
        pause_ms(2050);
        ck_assert_int_eq(afpa__file_open(path, &file, &why), AFPA_OK);
        close(file.fd);
        close(directory);
    }
    snprintf(path, sizeof(path), "%s/on", f.dir);
    rmdir(path);
    fixture_end(&f);
}
END_TEST

/* ---- paths that lead elsewhere ---- */

/* What was seen of the path was seen before the wait for the stamp. */
START_TEST(checked_when_opened)
{
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    fixture_file(&f, "a", SIZE, 1);
    ref = fixture_open(&f, "a");
    ck_assert_uint_ge(afpa__fresh_age(&f.segment->objects[ref.object]), 15);
    afpa_cache_release(&ref);
    fixture_end(&f);
}
END_TEST

typedef struct opener {
    fixture_t *f;
    const char *path;
} opener_t;

static void *open_path(void *argument)
{
    opener_t *opener = argument;
    afpa_ref_t ref;
    afpa_counter_t why;

    if (afpa_cache_open(opener->f->cache, opener->path, strlen(opener->path), &opener->f->policy, &ref, &why, NULL) == AFPA_OK)
        afpa_cache_release(&ref);
    return NULL;
}

static void point(fixture_t *f, const char *to)
{
    char fresh[FIXTURE_PATH];

    snprintf(fresh, sizeof(fresh), "%s/fresh", f->dir);
    ck_assert_int_eq(symlink(to, fresh), 0);
    ck_assert_int_eq(rename(fresh, fixture_path(f, "link")), 0);
}

/* Who opens a link that was re-pointed gets what it leads to, though an older open of it comes to its end meanwhile. */
START_TEST(link_moved_on)
{
    afpa_counter_t why;
    pthread_t thread;
    opener_t opener;
    struct stat st;
    afpa_ref_t ref;
    fixture_t f;

    fixture_begin(&f, ZONE);
    f.policy.revalidate_ms = 0;
    opener = (opener_t){&f, fixture_path(&f, "link")};
    for (unsigned version = 1; version <= 10; version++) {
        fixture_file(&f, "a", SIZE, version); /* both just changed: opening either takes a while */
        fixture_file(&f, "b", SIZE, version + 100);
        point(&f, "a");
        opener.path = fixture_path(&f, "link");
        ck_assert_int_eq(pthread_create(&thread, NULL, open_path, &opener), 0);
        pause_ms(4);
        point(&f, "b");
        ck_assert_int_eq(stat(opener.path, &st), 0);
        ck_assert_int_eq(afpa_cache_open(f.cache, opener.path, strlen(opener.path), &f.policy, &ref, &why, NULL), AFPA_OK);
        ck_assert_uint_eq(afpa_ref_identity(&ref)->inode, st.st_ino);
        afpa_cache_release(&ref);
        pthread_join(thread, NULL);
    }
    fixture_end(&f);
}
END_TEST

/* ---- no descriptors left ---- */

START_TEST(kept_without_descriptors)
{
    struct rlimit limit, none;
    afpa_status_t status;
    afpa_ref_t ref;
    afpa_counter_t why;
    const char *path;
    fixture_t f;
    int lowest;

    fixture_begin(&f, ZONE);
    path = fixture_file(&f, "a", 3 * FIXTURE_CHUNK, 1);
    ck_assert_int_eq(afpa_cache_open(f.cache, path, strlen(path), &f.policy, &ref, &why, NULL), AFPA_OK);
    getrlimit(RLIMIT_NOFILE, &limit);
    lowest = dup(0);
    close(lowest);
    none = (struct rlimit){(rlim_t)lowest, limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    status = afpa_cache_fill(&ref, 1, 1);
    setrlimit(RLIMIT_NOFILE, &limit);
    ck_assert_int_eq(status, AFPA_IO_ERROR);
    afpa_cache_release(&ref);
    ck_assert_int_eq(fixture_lookup(&f, "a"), AFPA_OK);
    ck_assert_uint_eq(fixture_counter(&f, AFPA_COUNTER_RETIRED), 0);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fresh_young");

    check_add(suite, "change_without_a_stamp", change_without_a_stamp);
    check_add(suite, "read_once_more", read_once_more);
    check_add(suite, "coarse_stamps", coarse_stamps);
    check_add(suite, "checked_when_opened", checked_when_opened);
    check_add(suite, "link_moved_on", link_moved_on);
    check_add(suite, "kept_without_descriptors", kept_without_descriptors);
    return check_main(suite);
}
