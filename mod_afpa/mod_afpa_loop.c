/* SPDX-License-Identifier: Apache-2.0
 *
 * Event loops of the fast path: threads that own the connections taken from the MPM.
 *
 * A loop has an engine and its connections.  Each of them is in one place: with the engine; with httpd, in one of its threads
 * (client->conn NULL, no deadline), which has it alone until it comes back as a job; or waiting here for what httpd asked for.
 * A socket stays registered all the time.  It is closed by its transport and by nobody else.
 *
 * Who stops: afpa_mod_stopping() is set, and the loop is woken.  It then ends what waits for a request, and itself when its last
 * connection is gone.
 */
#include "mod_afpa_fastpath.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define LINGER_MS 30000      /* httpd: MAX_SECS_TO_LINGER */
#define LINGER_SHORT_MS 2000 /* httpd: SECONDS_TO_LINGER */
#define QUEUE 4096           /* checks and reads that wait for a thread */

struct afpa_mod_loop {
    afpa_loop_t *loop;
    afpa_engine_t *engine;
    afpa_cache_t *cache;
    apr_thread_t *thread;
    afpa_mod_client_t *clients, *starting; /* starting: given to the engine just now */
    afpa_mod_buffer_t *buffers;
    afpa_job_t stop[2]; /* after the replies under way; now */
    atomic_uint load;   /* connections, of all kinds */
    atomic_int ended;
    int winding_up;
    afpa_mod_loop_t *next; /* of this child */
    server_rec *s;
};

static afpa_executor_t *executor; /* of all loops of this child */

/* ---- clients ---- */

static void client_add(afpa_mod_client_t *client)
{
    afpa_mod_loop_t *loop = client->loop;

    client->next = loop->clients;
    if (client->next)
        client->next->previous = client;
    loop->clients = client;
}

static void client_remove(afpa_mod_client_t *client)
{
    afpa_mod_loop_t *loop = client->loop;

    if (client->next)
        client->next->previous = client->previous;
    if (client->previous)
        client->previous->next = client->next;
    else
        loop->clients = client->next;
    atomic_fetch_sub_explicit(&loop->load, 1, memory_order_relaxed);
}

/* The socket is closed. */
static void client_gone(afpa_mod_client_t *client)
{
    client_remove(client);
    client->fd = -1;
    if (client->c)
        afpa_mod_host_submit(client);
    else
        afpa_mod_client_free(client);
}

static void on_closing(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    client_gone((afpa_mod_client_t *)(void *)((char *)io - APR_OFFSETOF(afpa_mod_client_t, closing)));
}

static void client_close(afpa_mod_client_t *client)
{
    client->deadline = 0;
    client->closing.completed = on_closing;
    afpa_transport_disconnect(client->transport, &client->closing, AFPA_DISCONNECT_CLOSE);
}

/* ---- with the engine ---- */

/* The engine's connection ends when it has nothing under way; one that nothing was asked on yet may have its first request. */
static void stop(afpa_mod_client_t *client)
{
    if (client->requests > 0)
        afpa_conn_close(client->conn);
    else
        afpa_conn_finish(client->conn);
}

static void to_engine(afpa_mod_client_t *client, uint32_t first_ms)
{
    afpa_mod_loop_t *loop = client->loop;
    const afpa_mod_server_conf_t *conf = ap_get_module_config(client->base_server->module_config, &afpa_module);
    const afpa_mod_header_time_t *header = &conf->header;
    uint32_t head_ms = afpa_mod_msec(header->seconds > 0 ? apr_time_from_sec(header->seconds) : client->base_server->timeout);
    const afpa_conn_setup_t setup = {.transport = client->transport,
                                     .context = client,
                                     .cache = loop->cache,
                                     .server = client->server,
                                     .accepted_ms = client->accepted_ms,
                                     .first_ms = first_ms ? first_ms : head_ms,
                                     .head_ms = head_ms,
                                     .head_rate = header->seconds > 0 ? (uint32_t)header->rate : 0,
                                     .head_most_ms = afpa_mod_msec(apr_time_from_sec(header->most)),
                                     .linger_ms = LINGER_MS,
                                     .requests = client->requests};
    afpa_conn_t *conn;

    loop->starting = client;
    conn = afpa_conn_start(loop->engine, &setup);
    if (loop->starting == client)
        client->conn = conn;
    if (!conn) /* no memory */
        client_close(client);
    else if (loop->starting == client && afpa_mod_stopping())
        stop(client);
}

static void on_handover(void *context, afpa_transport_t *transport, const char *bytes, size_t length, afpa_counter_t why)
{
    afpa_mod_client_t *client = context;

    client->loop->starting = NULL;
    client->conn = NULL;
    client->bytes = malloc(length);
    client->length = length;
    if (!client->bytes) {
        client_close(client);
        return;
    }
    memcpy(client->bytes, bytes, length);
    afpa_mod_host_submit(client);
}

/* A part of a head is httpd's to refuse: now, not after one more timeout. */
static void on_unfinished(void *context, afpa_transport_t *transport, const char *bytes, size_t length, bool timed_out)
{
    afpa_mod_client_t *client = context;

    if (timed_out)
        afpa_loop_forget(transport);
    client->late = timed_out;
    on_handover(context, transport, bytes, length, AFPA_DECLINE_REQUEST);
}

static void on_closed(void *context)
{
    afpa_mod_client_t *client = context;

    client->loop->starting = NULL;
    client->conn = NULL;
    client_gone(client);
}

static void on_replied(void *context, const afpa_reply_t *reply)
{
    afpa_mod_client_t *client = context;
    const server_rec *s = afpa_mod_server_by_tag(reply->tag);

    client->requests++;
    if (s)
        afpa_mod_log_reply(&client->loop->buffers, s, client, reply);
}

/* ---- waiting for httpd ---- */

static void on_awaited(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    afpa_mod_client_t *client = (afpa_mod_client_t *)(void *)((char *)io - APR_OFFSETOF(afpa_mod_client_t, waiting));

    if (client->deadline == 0)
        return; /* it is being closed */
    client->deadline = 0;
    afpa_mod_host_submit(client);
}

static void await(afpa_mod_client_t *client, int writable, uint64_t ms)
{
    client->deadline = afpa_engine_now() + ms;
    client->waiting.completed = on_awaited;
    if (afpa_loop_await(client->transport, &client->waiting, writable) != AFPA_OK)
        client_close(client);
}

static void on_lingered(afpa_io_t *io, afpa_status_t status, size_t bytes)
{
    afpa_mod_client_t *client = (afpa_mod_client_t *)(void *)((char *)io - APR_OFFSETOF(afpa_mod_client_t, waiting));

    if (client->deadline == 0)
        return;
    if (status != AFPA_OK || afpa_transport_receive(client->transport, io, NULL, 0) != AFPA_OK)
        client_close(client);
}

static void linger(afpa_mod_client_t *client, uint64_t ms)
{
    client->deadline = afpa_engine_now() + ms;
    client->waiting.completed = on_lingered;
    if (afpa_transport_receive(client->transport, &client->waiting, NULL, 0) != AFPA_OK)
        client_close(client);
}

static void on_returned(afpa_job_t *job)
{
    afpa_mod_client_t *client = (afpa_mod_client_t *)(void *)job;

    client->idle = client->after == AFPA_MOD_WAIT_INPUT;
    switch (client->after) {
    case AFPA_MOD_TO_ENGINE:
        to_engine(client, client->keep_alive_ms);
        break;
    case AFPA_MOD_WAIT_INPUT:
        if (afpa_mod_stopping())
            client_close(client);
        else
            await(client, 0, client->keep_alive_ms);
        break;
    case AFPA_MOD_WAIT_READ:
        await(client, 0, client->timeout_ms);
        break;
    case AFPA_MOD_WAIT_WRITE:
        await(client, 1, client->timeout_ms);
        break;
    case AFPA_MOD_SUSPENDED: /* looked at with every tick */
        client->deadline = UINT64_MAX;
        break;
    case AFPA_MOD_LINGER:
        linger(client, LINGER_MS);
        break;
    case AFPA_MOD_LINGER_SHORT:
        linger(client, LINGER_SHORT_MS);
        break;
    case AFPA_MOD_CLOSE:
        client_close(client);
        break;
    }
}

void afpa_mod_loop_return(afpa_mod_client_t *client)
{
    client->job.done = on_returned;
    afpa_loop_post(client->loop->loop, &client->job);
}

/* Deadlines of what waits here: a few connections at most, compared with those that the engine has timers for. */
static void deadlines(afpa_mod_loop_t *loop, uint64_t now)
{
    for (afpa_mod_client_t *next, *client = loop->clients; client; client = next) {
        next = client->next;
        if (client->deadline == UINT64_MAX) {
            client->deadline = 0;
            afpa_mod_host_submit(client);
        } else if (client->deadline != 0 && client->deadline <= now) {
            client_close(client);
        }
    }
}

/* ---- new connections ---- */

static void on_given(afpa_job_t *job)
{
    afpa_mod_client_t *client = (afpa_mod_client_t *)(void *)job;

    client_add(client);
    client->transport = afpa_loop_adopt(client->loop->loop, NULL, client->fd);
    if (client->transport) {
        to_engine(client, client->keep_alive_ms);
        return;
    }
    close(client->fd);
    client_gone(client);
}

static afpa_mod_loop_t *least_loaded(afpa_mod_loop_t *loops)
{
    afpa_mod_loop_t *least = NULL;

    for (afpa_mod_loop_t *loop = loops; loop; loop = loop->next)
        if (!atomic_load_explicit(&loop->ended, memory_order_relaxed) &&
            (!least ||
             atomic_load_explicit(&loop->load, memory_order_relaxed) < atomic_load_explicit(&least->load, memory_order_relaxed)))
            least = loop;
    return least;
}

/* A loop ends when it sees that the child stops, and then that it has no connection; here it is the other way round: counted first,
 * then looked whether it stops.  So one of the two sees the other. */
int afpa_mod_loop_give(afpa_mod_loop_t *loops, afpa_mod_client_t *client)
{
    afpa_mod_loop_t *least = least_loaded(loops);

    if (!least)
        return 0;
    atomic_fetch_add(&least->load, 1);
    if (afpa_mod_stopping() || atomic_load(&least->ended)) {
        atomic_fetch_sub(&least->load, 1);
        return 0;
    }
    client->loop = least;
    client->job.done = on_given;
    afpa_loop_post(least->loop, &client->job);
    return 1;
}

/* ---- the loops ---- */

/* Ends what waits for a request.  A reply under way is finished first. */
static void wind_up(afpa_mod_loop_t *loop)
{
    loop->winding_up = 1;
    for (afpa_mod_client_t *next, *client = loop->clients; client; client = next) {
        next = client->next;
        if (client->conn)
            stop(client);
        else if (client->deadline != 0 && client->idle)
            client_close(client);
    }
}

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *data)
{
    afpa_mod_loop_t *loop = data;
    uint64_t next_tick = 0;

    while (!afpa_mod_stopping() || atomic_load(&loop->load) > 0) {
        uint64_t now;

        if (afpa_loop_run(loop->loop, loop->clients || afpa_mod_stopping() ? AFPA_ENGINE_TICK_MS : -1) != AFPA_OK) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, errno, loop->s, "afpa: an event loop of the fast path failed");
            break;
        }
        if (afpa_mod_stopping() && !loop->winding_up)
            wind_up(loop);
        now = afpa_engine_now();
        if (now >= next_tick) {
            afpa_engine_tick(loop->engine);
            deadlines(loop, now);
            next_tick = now + AFPA_ENGINE_TICK_MS;
        }
        afpa_mod_log_flush(loop->buffers);
    }
    atomic_store(&loop->ended, 1);
    return NULL;
}

static void loop_free(afpa_mod_loop_t *loop)
{
    afpa_engine_destroy(&loop->engine);
    afpa_loop_destroy(&loop->loop);
    afpa_mod_log_free(&loop->buffers);
}

static int loop_init(afpa_mod_loop_t *loop)
{
    const afpa_mod_server_conf_t *conf = ap_get_module_config(loop->s->module_config, &afpa_module);
    afpa_engine_setup_t setup = {.zerocopy = conf->zerocopy == AFPA_MOD_UNSET ? afpa_option_default(AFPA_OPTION_ZEROCOPY)
                                                                              : (uint64_t)conf->zerocopy,
                                 .connections = UINT32_MAX, /* they are counted where they are taken */
                                 .handover = on_handover,
                                 .unfinished = on_unfinished,
                                 .closed = on_closed,
                                 .replied = on_replied};

    loop->loop = afpa_loop_create();
    if (!loop->loop)
        return 0;
    setup.executor = afpa_loop_executor(loop->loop, executor);
    loop->engine = afpa_engine_create(&setup);
    return loop->engine != NULL;
}

/* Signals are for the MPM's main thread. */
static apr_status_t loop_start(afpa_mod_loop_t *loop, apr_pool_t *p)
{
    sigset_t all, before;
    apr_status_t rv;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = ap_thread_create(&loop->thread, NULL, work, loop, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv;
}

afpa_mod_loop_t *afpa_mod_loops_start(apr_pool_t *p, server_rec *s, afpa_cache_t *cache, unsigned count)
{
    afpa_mod_loop_t *loops = NULL;
    unsigned started = 0;
    apr_status_t rv;

    executor = afpa_executor_pthread(2, QUEUE);
    rv = apr_get_os_error();
    for (; executor && started < count; started++) {
        afpa_mod_loop_t *loop = apr_pcalloc(p, sizeof(*loop));

        loop->cache = cache;
        loop->s = s;
        rv = loop_init(loop) ? loop_start(loop, p) : apr_get_os_error();
        if (rv != APR_SUCCESS) {
            loop_free(loop);
            break;
        }
        loop->next = loops;
        loops = loop;
    }
    if (!loops)
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "AfpaFastPath: no event loop can be started; this child serves without");
    else if (started < count)
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s, "AfpaThreads %u: this child has %u, no more can be started", count, started);
    return loops;
}

afpa_executor_t *afpa_mod_loops_executor(void)
{
    return executor;
}

static void on_stop(afpa_job_t *job)
{
}

static void on_stop_now(afpa_job_t *job)
{
    afpa_mod_loop_t *loop = (afpa_mod_loop_t *)(void *)((char *)job - APR_OFFSETOF(afpa_mod_loop_t, stop[1]));

    for (afpa_mod_client_t *client = loop->clients; client; client = client->next)
        (void)shutdown(client->fd, SHUT_RDWR);
}

void afpa_mod_loops_wake(afpa_mod_loop_t *loops, int now)
{
    for (; loops; loops = loops->next) {
        loops->stop[now].done = now ? on_stop_now : on_stop;
        afpa_loop_post(loops->loop, &loops->stop[now]);
    }
}

int afpa_mod_loops_join(afpa_mod_loop_t *loops, unsigned seconds)
{
    apr_status_t rv;

    for (unsigned waited = 0; seconds > 0 && waited < seconds * 20; waited++) {
        int running = 0;

        for (afpa_mod_loop_t *loop = loops; loop; loop = loop->next)
            running |= !atomic_load(&loop->ended);
        if (!running)
            break;
        apr_sleep(apr_time_from_msec(50));
    }
    for (afpa_mod_loop_t *loop = loops; loop; loop = loop->next) {
        if (seconds > 0 && !atomic_load(&loop->ended))
            return 0;
        apr_thread_join(&rv, loop->thread);
    }
    afpa_executor_close(&executor);
    for (; loops; loops = loops->next)
        if (loops->clients) /* its loop failed */
            return 0;
        else
            loop_free(loops);
    return 1;
}
