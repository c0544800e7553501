/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop: listening, connecting, a fair share for everybody, jobs that run elsewhere and are done here.
 */
#include "config.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "loop.h"
#include "transport_side.h"

START_TEST(connecting)
{
    const afpa_piece_t piece = {.data = "knock", .length = 5, .last = true};
    struct sockaddr_in address;
    afpa_transport_t *client;
    size_t accepted;
    side_t s, c;

    side_begin(&s, EPOLL);
    side_begin(&c, FAKE); /* for its completions */
    address = side_loopback(afpa_loop_port(s.loop));
    client = afpa_loop_transport(s.loop, NULL);
    ck_assert_int_eq(client->provider->connect(client, &c.accepting, (const struct sockaddr *)&address, sizeof(address)), AFPA_OK);
    side_turn(&s);
    ck_assert_uint_eq(c.accepted, 1);
    ck_assert_uint_eq(s.accepted, 1);
    side_ask(&s, NULL, 0);
    ck_assert_int_eq(afpa_transport_send(client, &c.sending, &piece, &accepted), AFPA_OK);
    side_turn(&s);
    side_have(&s, "knock");
    afpa_transport_disconnect(client, &c.disconnecting, AFPA_DISCONNECT_CLOSE);
    ck_assert_uint_eq(c.disconnected, 1);
    side_end(&s);
    side_end(&c);
}
END_TEST

static void on_connect_failed(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    (void)bytes;
    ((side_t *)(void *)((char *)io - offsetof(side_t, accepting)))->status = status;
}

START_TEST(connecting_in_vain)
{
    struct sockaddr_in address;
    afpa_transport_t *client;
    side_t s, c;

    side_begin(&s, EPOLL);
    side_begin(&c, FAKE);
    c.accepting.completed = on_connect_failed;
    address = side_loopback(afpa_loop_port(s.loop));
    afpa_loop_unlisten(s.loop);
    client = afpa_loop_transport(s.loop, NULL);
    if (client->provider->connect(client, &c.accepting, (const struct sockaddr *)&address, sizeof(address)) == AFPA_OK) {
        side_turn(&s);
        ck_assert_int_eq(c.status, AFPA_IO_ERROR);
    }
    afpa_transport_disconnect(client, NULL, AFPA_DISCONNECT_CLOSE);
    side_end(&s);
    side_end(&c);
}
END_TEST

/* Slots of this process's table of descriptors. */
static unsigned descriptors(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    unsigned size = 0;
    char line[256];

    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof(line), status))
        (void)!sscanf(line, "FDSize: %u", &size);
    fclose(status);
    return size;
}

START_TEST(descriptors_reserved)
{
    struct rlimit limit = {700, 700};
    int fd;

    afpa_descriptors_reserve(0);
    ck_assert_uint_lt(descriptors(), 500);
    afpa_descriptors_reserve(500);
    ck_assert_uint_ge(descriptors(), 500);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    afpa_descriptors_reserve(100000); /* as many as it may have */
    ck_assert_uint_ge(descriptors(), 700);
    ck_assert_uint_lt(descriptors(), 100000);
    fd = dup(0);
    ck_assert(fd >= 0 && fd < 20); /* none is taken */
    close(fd);
}
END_TEST

START_TEST(cannot_listen)
{
    struct sockaddr_in address = side_loopback(81);
    afpa_loop_t *loop = afpa_loop_create();
    afpa_endpoint_t endpoint = {0};
    afpa_error_t error;

    address.sin_addr.s_addr = htonl(0xcb007101); /* 203.0.113.1, for documentation: nobody has it */
    ck_assert_int_eq(afpa_loop_listen(loop, (const struct sockaddr *)&address, sizeof(address), &endpoint, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, "cannot listen on 203.0.113.1 port 81: Cannot assign requested address");
    afpa_loop_destroy(&loop);
    ck_assert_ptr_null(loop);
    afpa_loop_destroy(&loop);
}
END_TEST

/* A connection that always has more does not keep the loop from the others, nor from its caller. */
START_TEST(fair)
{
    static char bytes[100000];
    char buffer[16];
    side_t s;

    side_begin(&s, EPOLL);
    side_dial(&s);
    memset(bytes, 'x', sizeof(bytes));
    ck_assert_int_eq(send(s.peer, bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
    afpa_loop_run(s.loop, 10);
    for (unsigned i = 0; i < 200; i++) { /* asks again at once, as an engine does */
        unsigned before = s.received;

        if (afpa_transport_receive(s.transport, &s.receiving, buffer, sizeof(buffer)) != AFPA_OK || s.received == before)
            break;
    }
    ck_assert_uint_lt(s.received, 40);
    while (s.received < 200) {
        unsigned before = s.received;

        afpa_loop_run(s.loop, 10);
        while (s.received > before && s.received < 200) {
            before = s.received;
            side_ask(&s, buffer, sizeof(buffer));
        }
    }
    side_end(&s);
}
END_TEST

typedef struct errand {
    afpa_job_t job;
    afpa_loop_t *loop;
    pthread_t ran_in, done_in;
    bool done;
} errand_t;

static void run_errand(afpa_job_t *job)
{
    ((errand_t *)(void *)job)->ran_in = pthread_self();
}

static void on_errand_done(afpa_job_t *job)
{
    ((errand_t *)(void *)job)->done_in = pthread_self();
    ((errand_t *)(void *)job)->done = true;
}

START_TEST(jobs)
{
    errand_t errands[20] = {0};
    afpa_loop_t *loop = afpa_loop_create();
    afpa_executor_t *pool = afpa_executor_pthread(2, 64), *executor = afpa_loop_executor(loop, pool);

    for (unsigned i = 0; i < 20; i++) {
        errands[i].job = (afpa_job_t){.run = run_errand, .done = on_errand_done};
        ck_assert_int_eq(executor->submit(executor, &errands[i].job), AFPA_OK);
    }
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned tries = 0; tries < 500 && !errands[i].done; tries++)
            afpa_loop_run(loop, 10);
        ck_assert(errands[i].done);
        ck_assert(pthread_equal(errands[i].done_in, pthread_self()));
        ck_assert(!pthread_equal(errands[i].ran_in, pthread_self()));
    }
    afpa_executor_close(&pool);
    afpa_loop_destroy(&loop);
}
END_TEST

static void *post_all(void *data)
{
    errand_t *errands = data;

    for (unsigned i = 0; i < 20; i++)
        afpa_loop_post(errands[i].loop, &errands[i].job);
    return NULL;
}

/* Posted from another thread, done here, in the order they were posted. */
START_TEST(posts)
{
    errand_t errands[20] = {0};
    afpa_loop_t *loop = afpa_loop_create();
    pthread_t thread;

    for (unsigned i = 0; i < 20; i++)
        errands[i] = (errand_t){.job = {.done = on_errand_done}, .loop = loop};
    ck_assert_int_eq(pthread_create(&thread, NULL, post_all, errands), 0);
    for (unsigned tries = 0; tries < 500 && !errands[19].done; tries++)
        afpa_loop_run(loop, 10);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < 20; i++)
        ck_assert(errands[i].done && pthread_equal(errands[i].done_in, pthread_self()));
    afpa_loop_destroy(&loop);
}
END_TEST

/* ---- sockets that come from elsewhere ---- */

static unsigned awaited;
static afpa_status_t await_status;

static void on_awaited(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    (void)io;
    (void)bytes;
    awaited++;
    await_status = status;
}

static void fill(int fd)
{
    static const char some[65536];

    while (send(fd, some, sizeof(some), MSG_DONTWAIT) > 0)
        continue;
}

static void drain(int fd)
{
    char some[65536];

    while (recv(fd, some, sizeof(some), MSG_DONTWAIT) > 0)
        continue;
}

static void turns(afpa_loop_t *loop, unsigned until)
{
    for (unsigned i = 0; i < 20 && awaited < until; i++)
        afpa_loop_run(loop, 5);
}

/* Reading and writing go on beside the loop; an edge that the loop saw in between is not lost. */
START_TEST(adopted)
{
    afpa_io_t io = {.completed = on_awaited};
    afpa_loop_t *loop = afpa_loop_create();
    afpa_transport_t *transport;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    transport = afpa_loop_adopt(loop, NULL, pair[0]);
    ck_assert_ptr_nonnull(transport);

    fill(pair[0]);
    turns(loop, 1);
    drain(pair[1]);
    afpa_loop_run(loop, 5); /* writable again, and nobody has asked */
    ck_assert_int_eq(afpa_loop_await(transport, &io, true), AFPA_OK);
    turns(loop, 1);
    ck_assert_uint_eq(awaited, 1);

    fill(pair[0]);
    ck_assert_int_eq(afpa_loop_await(transport, &io, true), AFPA_OK);
    turns(loop, 2);
    ck_assert_uint_eq(awaited, 1);
    drain(pair[1]);
    turns(loop, 2);
    ck_assert_uint_eq(awaited, 2);

    ck_assert_int_eq(afpa_loop_await(transport, &io, false), AFPA_OK);
    turns(loop, 3);
    ck_assert_uint_eq(awaited, 2);
    ck_assert_int_eq(send(pair[1], "x", 1, 0), 1);
    turns(loop, 3);
    ck_assert_uint_eq(awaited, 3);
    ck_assert_int_eq(await_status, AFPA_OK);

    drain(pair[0]);
    ck_assert_int_eq(afpa_loop_await(transport, &io, false), AFPA_OK);
    afpa_transport_disconnect(transport, NULL, AFPA_DISCONNECT_CLOSE);
    ck_assert_uint_eq(awaited, 4);
    ck_assert_int_eq(await_status, AFPA_CLOSED);
    ck_assert_int_eq(send(pair[1], "x", 1, MSG_NOSIGNAL), -1); /* the socket went with it */
    close(pair[1]);
    afpa_loop_destroy(&loop);
}
END_TEST

/* How many descriptors the loop watches. */
static unsigned watched(const afpa_loop_t *loop)
{
    char line[256];
    unsigned count = 0;
    FILE *file;

    snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", loop->epoll);
    file = fopen(line, "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        count += strncmp(line, "tfd:", 4) == 0;
    fclose(file);
    return count;
}

/* The kernel would go on telling of a socket that was closed as long as it has another descriptor: to memory that is freed. */
START_TEST(adopted_duplicate)
{
    afpa_loop_t *loop = afpa_loop_create();
    unsigned before = watched(loop);
    afpa_transport_t *transport;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    transport = afpa_loop_adopt(loop, NULL, dup(pair[0]));
    ck_assert_ptr_nonnull(transport);
    ck_assert_uint_eq(watched(loop), before + 1);
    afpa_transport_disconnect(transport, NULL, AFPA_DISCONNECT_CLOSE);
    ck_assert_uint_eq(watched(loop), before);
    ck_assert_int_eq(send(pair[1], "x", 1, 0), 1); /* it is still open */
    ck_assert_int_eq(afpa_loop_run(loop, 5), AFPA_OK);
    close(pair[0]);
    close(pair[1]);
    afpa_loop_destroy(&loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop");

    check_add_loop(suite, "connecting", connecting, 1);
    check_add_loop(suite, "connecting_in_vain", connecting_in_vain, 1);
    check_add_loop(suite, "descriptors_reserved", descriptors_reserved, 1);
    check_add_loop(suite, "cannot_listen", cannot_listen, 1);
    check_add_loop(suite, "fair", fair, 1);
    check_add_loop(suite, "jobs", jobs, 1);
    check_add_loop(suite, "posts", posts, 1);
    check_add_loop(suite, "adopted", adopted, 1);
    check_add_loop(suite, "adopted_duplicate", adopted_duplicate, 1);
    return check_main(suite);
}
