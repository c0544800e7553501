/* SPDX-License-Identifier: Apache-2.0
 *
 * What was sent by reference stays as it was when its room is used again: in chunks of any size, and on a tmpfs that gives large
 * pages where it can.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "fixture.h"

#define ZONE (32u << 20)
#define FILES 96u /* in more than two large pages of 2 MB */

typedef struct reuse {
    const char *mount;
    uint32_t chunk_size, size; /* of each file */
} reuse_t;

static const reuse_t cases[] = {
    {"huge=never", 65536, 65536},    {"huge=within_size", 65536, 65536}, {"huge=always", 65536, 65536},
    {"huge=advise", 65536, 65536},   {"huge=always", 65536, 40000},      {"huge=never", 65536, 32768},
    {"huge=never", 262144, 32768},   {"huge=never", 262144, 40000},      {"huge=never", 524288, 40000},
    {"huge=never", 1048576, 32768},  {"huge=never", 1048576, 33000},     {"huge=never", 1048576, 131072},
    {"huge=always", 1048576, 131072}};

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
static unsigned wrong_bytes(int fd, const char *name, uint32_t size)
{
    unsigned wrong = 0;
    uint64_t offset = 0;
    char buffer[4096];
    ssize_t n;

    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        for (ssize_t i = 0; i < n; i++)
            wrong += buffer[i] != fixture_byte(name, 1, offset++);
    return wrong + (unsigned)(size - offset);
}

static const char *name_of(char kind, unsigned number)
{
    static char name[16];

    snprintf(name, sizeof(name), "%c%u", kind, number);
    return name;
}

static child_result_t reuse(void *arg)
{
    const reuse_t *c = arg;
    unsigned wrong = 0;
    int fds[FILES];
    fixture_t f;

    if (!child_tmpfs(AFPA_ZONE_DIR, c->mount))
        return CHILD_SKIP;
    fixture_begin_chunks(&f, ZONE, c->chunk_size);
    for (unsigned i = 0; i < 2 * FILES; i++)
        fixture_file(&f, name_of(i < FILES ? 'a' : 'b', i % FILES), c->size, 1);
    for (unsigned i = 0; i < FILES; i++)
        fixture_load(&f, name_of('a', i));
    for (unsigned i = 0; i < FILES; i++)
        fds[i] = send_by_reference(&f, name_of('a', i));
    for (unsigned i = 0; i < FILES; i++) {
        const char *path = fixture_path(&f, name_of('a', i));

        CHILD_NEED(afpa_cache_purge(f.cache, path, strlen(path)) == AFPA_OK);
    }
    for (unsigned i = 0; i < FILES; i++)
        fixture_load(&f, name_of('b', i));
    for (unsigned i = 0; i < FILES; i++) {
        wrong += wrong_bytes(fds[i], name_of('a', i), c->size);
        close(fds[i]);
    }
    fixture_end(&f);
    CHILD_NEED(wrong == 0);
    return CHILD_GOOD;
}

START_TEST(reuse_of_referenced_pages)
{
    char label[64];

    snprintf(label, sizeof(label), "%s, chunks of %u, files of %u", cases[_i].mount, cases[_i].chunk_size, cases[_i].size);
    child_run(reuse, (void *)(uintptr_t)&cases[_i], label);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chunk_reuse");
    TCase *tc = tcase_create("reuse");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, reuse_of_referenced_pages, 0, CHECK_COUNT(cases));
    suite_add_tcase(suite, tc);
    return check_main(suite);
}
