/* SPDX-License-Identifier: Apache-2.0
 *
 * afpactl serve: the engine alone, in front of a directory.  A small static server to try the cache with, and the reference that
 * benchmarks measure the modules against.
 *
 * Each thread has a loop, an engine and a listening socket of its own.  A request that has no response entry yet goes through a
 * worker, which opens the file, makes a header and admits it; then the connection goes back to the engine with the same bytes, and
 * is a hit.  Header fields that only ask for less than the whole file (conditions in old forms, ranges, upgrades) may be ignored
 * by a server and are taken out of the request first; what cannot be answered so gets an error and is closed.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <afpa/engine.h>
#include <afpa/http.h>
#include <afpa/loop.h>
#include <afpa/options.h>
#include <afpa/response.h>

#include "afpactl.h"
#include "output.h"
#include "site.h"

#define THREADS_MAX 64
#define DESCRIPTORS 2048   /* per thread, from the beginning */
#define CONNECTIONS 100000 /* per thread; the process's limit of descriptors is reached first */
#define HEAD_MS 30000
#define LINGER_MS 5000

typedef struct serve serve_t;

typedef struct thread {
    serve_t *serve;
    pthread_t id;
    afpa_loop_t *loop;
    afpa_engine_t *engine;
    afpa_executor_t *executor;
    afpa_endpoint_t endpoint;
    struct client *clients, *starting; /* starting: given to the engine just now */
} thread_t;

struct serve {
    app_t *app;
    site_t site;
    unsigned port, jobs;
    const char *operand;
    afpa_executor_t *pool;
    thread_t threads[THREADS_MAX];
};

/* A connection, as long as it is there. */
typedef struct client {
    thread_t *thread;
    struct client *next, *previous;
    afpa_transport_t *transport;
    afpa_conn_t *conn; /* NULL: with a worker */
    afpa_io_t accepting, closing;
    afpa_job_t job;
    char *bytes; /* read and not answered */
    size_t length;
    unsigned tries;
    site_status_t status;
    uint64_t accepted_ms;
} client_t;

static volatile sig_atomic_t stopped;

/* ---- clients ---- */

static void client_free(client_t *client)
{
    if (client->next)
        client->next->previous = client->previous;
    if (client->previous)
        client->previous->next = client->next;
    else
        client->thread->clients = client->next;
    free(client->bytes);
    free(client);
}

static void give_to_engine(client_t *client)
{
    thread_t *thread = client->thread;
    const serve_t *serve = thread->serve;
    const afpa_conn_setup_t setup = {.transport = client->transport,
                                     .context = client,
                                     .cache = serve->app->cache,
                                     .server = serve->site.server,
                                     .accepted_ms = client->accepted_ms,
                                     .first_ms = HEAD_MS,
                                     .head_ms = HEAD_MS,
                                     .linger_ms = LINGER_MS,
                                     .bytes = client->bytes,
                                     .length = client->length};
    char *bytes = client->bytes;
    afpa_conn_t *conn;

    client->bytes = NULL;
    client->length = 0;
    thread->starting = client; /* until it is known whether the call has ended or returned the connection */
    conn = afpa_conn_start(thread->engine, &setup);
    free(bytes);
    if (thread->starting == client)
        client->conn = conn;
    if (!conn)
        afpa_transport_disconnect(client->transport, &client->closing, AFPA_DISCONNECT_CLOSE);
}

static void on_accepted(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
}

static void on_closing(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    client_free((client_t *)(void *)((char *)io - offsetof(client_t, closing)));
}

static void on_connected(afpa_endpoint_t *endpoint, afpa_transport_t *transport)
{
    thread_t *thread = (thread_t *)(void *)((char *)endpoint - offsetof(thread_t, endpoint));
    client_t *client = calloc(1, sizeof(*client));

    if (!client)
        return;
    client->thread = thread;
    client->transport = transport;
    client->accepting.completed = on_accepted;
    client->closing.completed = on_closing;
    client->accepted_ms = afpa_engine_now();
    client->next = thread->clients;
    if (client->next)
        client->next->previous = client;
    thread->clients = client;
    if (transport->provider->accept(transport, &client->accepting) == AFPA_OK)
        give_to_engine(client);
}

static void on_closed(void *context)
{
    client_t *client = context;

    client->thread->starting = NULL;
    client_free(client);
}

/* ---- what the engine cannot answer ---- */

/* An error is short enough for any socket buffer; if it is not taken, the end of the connection tells as much. */
static void refuse(client_t *client)
{
    const char *text = site_error(client->status);
    const afpa_piece_t piece = {.data = text, .length = strlen(text), .last = true};
    size_t accepted;

    (void)afpa_transport_send(client->transport, &client->accepting, &piece, &accepted);
    afpa_transport_disconnect(client->transport, NULL, AFPA_DISCONNECT_RELEASE);
    afpa_transport_disconnect(client->transport, &client->closing, AFPA_DISCONNECT_CLOSE);
}

static client_t *client_of(afpa_job_t *job)
{
    return (client_t *)(void *)((char *)job - offsetof(client_t, job));
}

static void run_open(afpa_job_t *job)
{
    client_t *client = client_of(job);
    const serve_t *serve = client->thread->serve;

    client->status = site_admit(&serve->site, serve->app->cache, client->bytes, &client->length);
}

static void on_opened(afpa_job_t *job)
{
    client_t *client = client_of(job);

    if (client->status == SITE_OK)
        give_to_engine(client);
    else
        refuse(client);
}

static void on_handover(void *context, afpa_transport_t *transport, const char *bytes, size_t length, afpa_counter_t why)
{
    client_t *client = context;
    afpa_executor_t *executor = client->thread->executor;

    client->thread->starting = NULL;
    client->conn = NULL;
    client->status = SITE_BUSY;
    client->bytes = malloc(length);
    if (!client->bytes || ++client->tries > 3) { /* admitted, and evicted at once, and so on */
        refuse(client);
        return;
    }
    memcpy(client->bytes, bytes, length);
    client->length = length;
    client->job = (afpa_job_t){.run = run_open, .done = on_opened};
    if (executor->submit(executor, &client->job) != AFPA_OK)
        refuse(client);
}

static void on_replied(void *context, const afpa_reply_t *reply)
{
    client_t *client = context;

    client->tries = 0;
}

/* ---- threads ---- */

static void turn(thread_t *thread, uint64_t *next_tick)
{
    (void)afpa_loop_run(thread->loop, AFPA_ENGINE_TICK_MS);
    if (afpa_engine_now() < *next_tick)
        return;
    afpa_engine_tick(thread->engine);
    *next_tick = afpa_engine_now() + AFPA_ENGINE_TICK_MS;
}

/* Replies under way are finished, for a while. */
static void wind_up(thread_t *thread)
{
    uint64_t until = afpa_engine_now() + LINGER_MS, next_tick = 0;

    afpa_loop_unlisten(thread->loop);
    for (client_t *next, *client = thread->clients; client; client = next) {
        next = client->next;
        if (client->conn)
            afpa_conn_close(client->conn);
    }
    while (thread->clients && afpa_engine_now() < until)
        turn(thread, &next_tick);
}

static void *work(void *data)
{
    thread_t *thread = data;
    uint64_t next_tick = 0;

    while (!stopped)
        turn(thread, &next_tick);
    wind_up(thread);
    return NULL;
}

static struct sockaddr_in address_of(const serve_t *serve)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)serve->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* The threads share a port, and the kernel would have them share it with another process of the same user too. */
static void port_claim(const serve_t *serve)
{
    const struct sockaddr_in address = address_of(serve);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        complain("cannot listen on 127.0.0.1 port %u: %s", serve->port, strerror(errno));
        exit(EXIT_NOT_SO);
    }
    close(fd);
}

static void thread_prepare(serve_t *serve, thread_t *thread)
{
    const struct sockaddr_in address = address_of(serve);
    afpa_engine_setup_t setup = {.zerocopy = afpa_option_default(AFPA_OPTION_ZEROCOPY),
                                 .connections = CONNECTIONS,
                                 .handover = on_handover,
                                 .closed = on_closed,
                                 .replied = on_replied};
    afpa_error_t error;

    thread->serve = serve;
    thread->endpoint.connected = on_connected;
    thread->loop = must(afpa_loop_create());
    thread->executor = setup.executor = afpa_loop_executor(thread->loop, serve->pool);
    thread->engine = must(afpa_engine_create(&setup));
    if (afpa_loop_listen(thread->loop, (const struct sockaddr *)&address, sizeof(address), &thread->endpoint, &error) != AFPA_OK) {
        complain("%s", error.text);
        exit(EXIT_NOT_SO);
    }
    serve->port = afpa_loop_port(thread->loop); /* the others take the same */
}

static void on_signal(int number)
{
    stopped = number;
}

/* Whoever is still there after all that time goes with the process. */
static void thread_end(thread_t *thread)
{
    if (thread->clients)
        return;
    afpa_engine_destroy(&thread->engine);
    afpa_loop_destroy(&thread->loop);
}

static void print_address(const serve_t *serve)
{
    printf("http://127.0.0.1:%u/ from ", serve->port);
    print_name(stdout, serve->site.root);
    printf(", %u threads; end it with Ctrl-C\n", serve->jobs);
}

static int run(serve_t *serve)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t stop, before;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* sendfile to a client that has gone; it has no MSG_NOSIGNAL */
    sigemptyset(&stop);       /* for this thread alone, and only while it waits */
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, &before);
    afpa_descriptors_reserve(serve->jobs * DESCRIPTORS);
    port_claim(serve);
    serve->pool = must(afpa_executor_pthread(4, 4096));
    for (unsigned i = 0; i < serve->jobs; i++)
        thread_prepare(serve, &serve->threads[i]);
    for (unsigned i = 0; i < serve->jobs; i++)
        if ((errno = pthread_create(&serve->threads[i].id, NULL, work, &serve->threads[i])) != 0) {
            complain("no thread can be started: %s", strerror(errno));
            exit(EXIT_NOT_SO); /* others run already, on memory of the caller */
        }
    if (serve->app->json)
        json_print_line(json_pack("{s:s,s:i,s:i}", "address", "127.0.0.1", "port", (int)serve->port, "threads", (int)serve->jobs));
    else
        print_address(serve);
    fflush(stdout);
    while (!stopped)
        sigsuspend(&before);
    for (unsigned i = 0; i < serve->jobs; i++)
        afpa_loop_wake(serve->threads[i].loop);
    for (unsigned i = 0; i < serve->jobs; i++)
        pthread_join(serve->threads[i].id, NULL);
    afpa_executor_close(&serve->pool);
    for (unsigned i = 0; i < serve->jobs; i++)
        thread_end(&serve->threads[i]);
    return EXIT_DONE;
}

/* ---- the command ---- */

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    serve_t *serve = state->input;
    char *end;
    unsigned long value;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = serve->app;
        return 0;
    case 'p':
    case 'j':
        value = strtoul(arg, &end, 10);
        if (*arg < '0' || *arg > '9' || *end || value > (key == 'p' ? 65535 : THREADS_MAX) || (key == 'j' && value == 0))
            argp_error(state, "-%c: %s is no number from %d to %d", key, arg, key == 'j', key == 'p' ? 65535 : THREADS_MAX);
        *(key == 'p' ? &serve->port : &serve->jobs) = (unsigned)value;
        return 0;
    case ARGP_KEY_ARG:
        if (serve->operand)
            argp_error(state, "unexpected argument: %s", arg);
        if (!*arg)
            argp_error(state, "the name of a directory is not empty");
        serve->operand = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a directory is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {{"port", 'p', "PORT", 0, "listen on this port of 127.0.0.1; 0, the default: any", 0},
                                             {"jobs", 'j', "N", 0, "threads; default: one per processor", 0},
                                             {0}};
static const struct argp_child children[] = {{&app_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {options,  on_option, "DIR", "Serves the files of a directory from the zone, on 127.0.0.1.",
                                 children, NULL,      NULL};

int cmd_serve(app_t *app, int argc, char **argv)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    serve_t *serve = must(calloc(1, sizeof(*serve)));
    int status;

    serve->app = app;
    serve->jobs = processors < 1 ? 1 : processors > THREADS_MAX ? THREADS_MAX : (unsigned)processors;
    app_parse(&argp, argc, argv, serve);
    serve->site.root = path_absolute(serve->operand);
    status = EXIT_NOT_SO;
    if (site_open(&serve->site)) {
        app_attach(app);
        status = run(serve);
    }
    free(serve->site.root);
    free(serve);
    return status;
}
