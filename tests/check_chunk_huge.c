/* SPDX-License-Identifier: Apache-2.0
 *
 * Zones on a tmpfs that gives large pages where it can: what was sent by reference stays as it was when its chunk is used again.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "fixture.h"

#define FILES 96u /* of a chunk each, which is more than two large pages of 2 MB */

static const char *const mounts[] = {"huge=never", "huge=within_size", "huge=always", "huge=advise"};

/* Sends the file by reference; the end that it can be read from. */
static int send_by_reference(fixture_t *f, const char *name)
{
    afpa_ref_t ref = fixture_open(f, name);
    int ends[2], room = 1 << 20;
    afpa_extent_t extent;
    off_t at;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    ck_assert_int_eq(afpa_cache_pin(&ref, 0, AFPA_PIN_REFERENCE, &extent), AFPA_OK);
    ck_assert(extent.by_reference);
    at = (off_t)extent.file_offset;
    ck_assert_int_eq(sendfile(ends[1], f->segment->fd, &at, extent.length), (ssize_t)extent.length);
    afpa_cache_unpin(&extent);
    afpa_cache_release(&ref);
    close(ends[1]);
    return ends[0];
}

/* How many bytes of what comes are not the file's. */
static unsigned wrong_bytes(int fd, const char *name)
{
    unsigned wrong = 0;
    uint64_t offset = 0;
    char buffer[4096];
    ssize_t n;

    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        for (ssize_t i = 0; i < n; i++)
            wrong += buffer[i] != fixture_byte(name, 1, offset++);
    return wrong + (unsigned)(FIXTURE_CHUNK - offset);
}

static void name_of(char name[16], char kind, unsigned number)
{
    snprintf(name, 16, "%c%u", kind, number);
}

static void make_all(fixture_t *f, char kind)
{
    char name[16];

    for (unsigned i = 0; i < FILES; i++) {
        name_of(name, kind, i);
        fixture_file(f, name, FIXTURE_CHUNK, 1);
    }
}

static void load_all(fixture_t *f, char kind)
{
    char name[16];

    for (unsigned i = 0; i < FILES; i++) {
        name_of(name, kind, i);
        fixture_load(f, name);
    }
}

static child_result_t reuse(void *options)
{
    unsigned wrong = 0;
    int fds[FILES];
    char name[16];
    fixture_t f;

    if (!child_tmpfs(AFPA_ZONE_DIR, options))
        return CHILD_SKIP;
    fixture_begin(&f, 16 << 20);
    make_all(&f, 'a');
    make_all(&f, 'b');
    load_all(&f, 'a');
    for (unsigned i = 0; i < FILES; i++) {
        name_of(name, 'a', i);
        fds[i] = send_by_reference(&f, name);
    }
    for (unsigned i = 0; i < FILES; i++) {
        const char *path;

        name_of(name, 'a', i);
        path = fixture_path(&f, name);
        CHILD_NEED(afpa_cache_purge(f.cache, path, strlen(path)) == AFPA_OK);
    }
    load_all(&f, 'b');
    for (unsigned i = 0; i < FILES; i++) {
        name_of(name, 'a', i);
        wrong += wrong_bytes(fds[i], name);
        close(fds[i]);
    }
    fixture_end(&f);
    CHILD_NEED(wrong == 0);
    return CHILD_GOOD;
}

START_TEST(reuse_of_referenced_pages)
{
    child_run(reuse, (void *)(uintptr_t)mounts[_i], mounts[_i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chunk_huge");
    TCase *tc = tcase_create("reuse");

    tcase_add_loop_test(tc, reuse_of_referenced_pages, 0, CHECK_COUNT(mounts));
    suite_add_tcase(suite, tc);
    return check_main(suite);
}
