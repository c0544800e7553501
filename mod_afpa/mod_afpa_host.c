/* SPDX-License-Identifier: Apache-2.0
 *
 * httpd on connections of the fast path: what the engine cannot answer runs through httpd's whole pipeline, in threads of ours.
 *
 * For these connections this file is what the MPM is for its own: it makes the conn_rec when httpd is needed for the first time,
 * runs the process_connection hooks, and does what the state they leave behind asks for: flush, wait (in the loop), close.
 * The MPM knows nothing of them: they are not in its counters, and it writes to none of their structures.
 *
 * The bytes that the engine had read come first when httpd reads: instead of the socket bucket, httpd's network filter gets a
 * bucket of ours, which gives those, and then what the socket has.  When a request is through, httpd looks whether another one has
 * been read already; if so it is served at once, here.  So a connection goes back to its loop only when no byte of it is in
 * httpd's filters.
 *
 * Each thread has a slot of its own in the scoreboard if ThreadLimit leaves room behind ThreadsPerChild; else its requests are
 * not in server-status.
 */
#include "mod_afpa_fastpath.h"

#include <ap_mpm.h>
#include <apr_shm.h>
#include <http_connection.h>
#include <http_main.h>
#include <http_vhost.h>
#include <mpm_common.h>
#include <scoreboard.h>
#include <util_filter.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define CLOSE_SECONDS 2 /* httpd: SECONDS_TO_LINGER, for the flush before a close */
/* The MPM notes requests in a structure that it hangs on the connections it made (event_conn_state_t, about 200 bytes), and looks
 * at nothing else of it there.  Ours have room for that. */
#define MPM_NOTES 1024

typedef struct {
    apr_thread_t *thread;
    ap_sb_handle_t *slot; /* NULL: none */
    unsigned number;
} host_thread_t;

static struct {
    apr_pool_t *pconf;       /* parent of every connection's pool, as the MPM has it: its allocator has a lock */
    apr_pool_t *pool;        /* of the threads; under the lock */
    apr_threadattr_t *stack; /* NULL: the system's */
    host_thread_t *threads;
    unsigned most;
    pthread_mutex_t lock; /* covers what follows */
    pthread_cond_t work;
    afpa_job_t *first, **last;
    unsigned count, idle, queued;
    int stop;
} host = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .last = &host.first};

static atomic_long child = -1; /* this one's number in the scoreboard */
static atomic_uint *threads;   /* how many each child has, by that number; shared by all; NULL: not known */
static int per_child, thread_limit, server_limit;
static module *mpm;

/* ---- input ---- */

static apr_bucket *input_bucket(afpa_mod_client_t *client, apr_bucket_alloc_t *list);

/* A heap bucket in place of b, and behind it another one of ours. */
static void input_became(apr_bucket *b, char *bytes, apr_size_t length, apr_size_t room, void (*free_bytes)(void *))
{
    apr_bucket *rest = input_bucket(b->data, b->list);

    b = apr_bucket_heap_make(b, bytes, length, free_bytes);
    ((apr_bucket_heap *)b->data)->alloc_len = room;
    APR_BUCKET_INSERT_AFTER(b, rest);
}

static apr_status_t input_from_socket(apr_bucket *b, const char **str, apr_size_t *len, apr_read_type_e block)
{
    afpa_mod_client_t *client = b->data;
    char *bytes = apr_bucket_alloc(APR_BUCKET_BUFF_SIZE, b->list);
    apr_interval_time_t timeout = 0;
    apr_status_t rv;

    if (client->late) {
        apr_bucket_free(bytes);
        return APR_TIMEUP;
    }
    if (block == APR_NONBLOCK_READ) {
        apr_socket_timeout_get(client->socket, &timeout);
        apr_socket_timeout_set(client->socket, 0);
    }
    *len = APR_BUCKET_BUFF_SIZE;
    rv = apr_socket_recv(client->socket, bytes, len);
    if (block == APR_NONBLOCK_READ)
        apr_socket_timeout_set(client->socket, timeout);
    if (rv == APR_SUCCESS && *len > 0) {
        *str = bytes;
        input_became(b, bytes, *len, APR_BUCKET_BUFF_SIZE, apr_bucket_free);
        return APR_SUCCESS;
    }
    apr_bucket_free(bytes);
    *str = "";
    *len = 0;
    if (rv == APR_SUCCESS || rv == APR_EOF) { /* the end: nothing will follow this bucket */
        apr_bucket_immortal_make(b, "", 0);
        return APR_SUCCESS;
    }
    return rv;
}

static apr_status_t on_input_read(apr_bucket *b, const char **str, apr_size_t *len, apr_read_type_e block)
{
    afpa_mod_client_t *client = b->data;
    char *bytes = client->bytes;

    if (!bytes)
        return input_from_socket(b, str, len, block);
    client->bytes = NULL;
    *str = bytes;
    *len = client->length;
    input_became(b, bytes, client->length, client->length, free);
    return APR_SUCCESS;
}

static const apr_bucket_type_t input_type = {"AFPA_INPUT",
                                             5,
                                             APR_BUCKET_DATA,
                                             apr_bucket_destroy_noop,
                                             on_input_read,
                                             apr_bucket_setaside_notimpl,
                                             apr_bucket_split_notimpl,
                                             apr_bucket_copy_notimpl};

static apr_bucket *input_bucket(afpa_mod_client_t *client, apr_bucket_alloc_t *list)
{
    apr_bucket *b = apr_bucket_alloc(sizeof(*b), list);

    APR_BUCKET_INIT(b);
    b->free = apr_bucket_free;
    b->list = list;
    b->type = &input_type;
    b->length = (apr_size_t)-1;
    b->start = -1;
    b->data = client;
    return b;
}

static apr_status_t on_insert_network_bucket(conn_rec *c, apr_bucket_brigade *bb, apr_socket_t *socket)
{
    const afpa_mod_conn_t *conn = ap_get_module_config(c->conn_config, &afpa_module);

    if (!conn || !conn->client)
        return AP_DECLINED;
    APR_BRIGADE_INSERT_HEAD(bb, input_bucket(conn->client, c->bucket_alloc));
    return APR_SUCCESS;
}

/* ---- a connection ---- */

static apr_pool_t *pool_make(void)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;

    if (apr_allocator_create(&allocator) != APR_SUCCESS)
        return NULL;
    apr_allocator_max_free_set(allocator, ap_max_mem_free);
    if (apr_pool_create_ex(&pool, host.pconf, NULL, allocator) != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, pool);
    apr_pool_tag(pool, "afpa_connection");
    return pool;
}

/* The transport closes the socket; apr must not, for by then its number may be another one's. */
static void socket_forget(afpa_mod_client_t *client, apr_pool_t *pool)
{
    apr_os_sock_t none = -1;

    if (client->socket)
        apr_os_sock_put(&client->socket, &none, pool);
    client->socket = NULL;
}

/* Whether both ends are known.  Of a connection that was reset one may not be; then httpd would close the socket, which is not its.
 */
static int addresses_known(apr_socket_t *socket)
{
    apr_sockaddr_t *address;

    return apr_socket_addr_get(&address, APR_LOCAL, socket) == APR_SUCCESS &&
           apr_socket_addr_get(&address, APR_REMOTE, socket) == APR_SUCCESS;
}

/* Behind those of the MPM's threads, of all children: mod_cgid's daemon knows by it whose script is to be killed. */
static long id_of(const host_thread_t *thread)
{
    return (long)server_limit * thread_limit + atomic_load(&child) * (long)host.most + thread->number;
}

static conn_rec *conn_make(afpa_mod_client_t *client, const host_thread_t *thread)
{
    apr_pool_t *pool = pool_make();
    apr_os_sock_info_t info = {.os_sock = &client->fd,
                               .local = (struct sockaddr *)&client->local,
                               .remote = (struct sockaddr *)&client->remote,
                               .family = client->local.ss_family,
                               .type = SOCK_STREAM,
                               .protocol = APR_PROTO_TCP};
    conn_rec *c = NULL;
    int rc;

    if (!pool)
        return NULL;
    client->socket = NULL;
    if (apr_os_sock_make(&client->socket, &info, pool) == APR_SUCCESS && addresses_known(client->socket))
        c = ap_run_create_connection(pool, ap_server_conf, client->socket, id_of(thread), thread->slot,
                                     apr_bucket_alloc_create(pool));
    if (!c) {
        socket_forget(client, pool);
        apr_pool_destroy(pool);
        return NULL;
    }
    c->cs = &client->state;
    if (mpm)
        ap_set_module_config(c->conn_config, mpm, apr_pcalloc(pool, MPM_NOTES));
    ap_update_vhost_given_ip(c);
    rc = ap_pre_connection(c, client->socket);
    afpa_mod_conn(c)->client = client;
    if (rc != OK && rc != DONE)
        c->aborted = 1;
    return c;
}

static void conn_destroy(afpa_mod_client_t *client)
{
    apr_pool_t *pool = client->c->pool;

    client->c = NULL;
    socket_forget(client, pool);
    apr_pool_destroy(pool);
    free(client->bytes);
    client->bytes = NULL;
}

/* All is sent, or given up. */
static afpa_mod_after_t conn_close(afpa_mod_client_t *client)
{
    conn_rec *c = client->c;
    afpa_mod_after_t after;

    apr_socket_timeout_set(client->socket, apr_time_from_sec(CLOSE_SECONDS));
    after = ap_start_lingering_close(c)                        ? AFPA_MOD_CLOSE
            : apr_table_get(c->notes, "short-lingering-close") ? AFPA_MOD_LINGER_SHORT
                                                               : AFPA_MOD_LINGER;
    conn_destroy(client);
    return after;
}

/* ---- what the MPM does around the process_connection hooks ---- */

/* Sends what httpd holds back; APR_SUCCESS also if some of it has to wait. */
static apr_status_t flush(conn_rec *c)
{
    ap_filter_t *network = c->output_filters;

    while (network->next)
        network = network->next;
    return network->frec->filter_func.out_func(network, NULL);
}

static int are_known(const ap_filter_t *filter)
{
    static const char *const names[] = {"core_in", "core", "reqtimeout", "log_input_output", "afpa_sendfile"};
    apr_size_t known = sizeof(names) / sizeof(names[0]);

    for (; filter; filter = filter->next) {
        apr_size_t i = 0;

        while (i < known && strcmp(filter->frec->name, names[i]) != 0)
            i++;
        if (i == known)
            return 0;
    }
    return 1;
}

int afpa_mod_is_bare(conn_rec *c)
{
    return are_known(c->input_filters) && are_known(c->output_filters) && !c->clogging_input_filters && !c->master &&
           strcmp(ap_get_protocol(c), AP_PROTOCOL_HTTP1) == 0;
}

/* Kept alive, and all of the last reply is sent: whose is the next request? */
static afpa_mod_after_t kept_alive(conn_rec *c)
{
    return afpa_mod_is_bare(c) ? AFPA_MOD_TO_ENGINE : AFPA_MOD_WAIT_INPUT;
}

/* What the state that the hooks left means; AFPA_MOD_LINGER: to be closed. */
static afpa_mod_after_t settle(conn_rec *c, int rc)
{
    conn_state_e state = c->cs->state;

    if ((rc != OK && rc != DONE) || c->aborted)
        return AFPA_MOD_LINGER;
    if (state == CONN_STATE_SUSPENDED)
        return AFPA_MOD_SUSPENDED;
    if (state == CONN_STATE_ASYNC_WAITIO)
        return c->cs->sense == CONN_SENSE_WANT_WRITE ? AFPA_MOD_WAIT_WRITE : AFPA_MOD_WAIT_READ;
    if (state != CONN_STATE_WRITE_COMPLETION && state != CONN_STATE_KEEPALIVE)
        return AFPA_MOD_LINGER;
    if (flush(c) != APR_SUCCESS)
        return AFPA_MOD_LINGER;
    if (c->data_in_output_filters)
        return AFPA_MOD_WAIT_WRITE;
    if (c->cs->sense == CONN_SENSE_WANT_READ)
        return AFPA_MOD_WAIT_READ;
    return c->keepalive == AP_CONN_KEEPALIVE && !c->aborted ? kept_alive(c) : AFPA_MOD_LINGER;
}

/* Runs the hooks until there is something to wait for.  What waited in the middle of a reply goes on with that first. */
static afpa_mod_after_t go_on(conn_rec *c, afpa_mod_after_t before)
{
    afpa_mod_after_t after = AFPA_MOD_TO_ENGINE;
    int flushing = before == AFPA_MOD_SUSPENDED ||
                   ((before == AFPA_MOD_WAIT_WRITE || before == AFPA_MOD_WAIT_READ) && c->cs->state == CONN_STATE_WRITE_COMPLETION);
    int rc = OK;

    do {
        c->cs->sense = CONN_SENSE_DEFAULT;
        if (!flushing) {
            c->cs->state = CONN_STATE_PROCESSING;
            rc = ap_run_process_connection(c);
        }
        flushing = 0;
        after = settle(c, rc);
    } while (c->data_in_input_filters && (after == AFPA_MOD_TO_ENGINE || after == AFPA_MOD_WAIT_INPUT));
    return after;
}

/* Whether the bytes that the engine had read may begin with an empty line. */
static int may_be_blank(const afpa_mod_client_t *client)
{
    return !client->bytes || client->length == 0 || *client->bytes == '\r' || *client->bytes == '\n';
}

/* After each reply httpd looks whether more has come, and passes over blank lines; a reply of the engine makes no difference.  The
 * look would count as a byte more of the next request (%I), so it is not taken where there can be none. */
static afpa_mod_after_t next_request(afpa_mod_client_t *client)
{
    conn_rec *c = client->c;
    afpa_mod_conn_t *conn = afpa_mod_conn(c);
    apr_status_t rv = APR_SUCCESS;

    if (client->requests > 0)
        c->keepalive = AP_CONN_KEEPALIVE;
    if (client->requests > 0 && may_be_blank(client)) {
        if (!conn->blank)
            conn->blank = apr_brigade_create(c->pool, c->bucket_alloc);
        rv = ap_check_pipeline(c, conn->blank, DEFAULT_LIMIT_BLANK_LINES);
        apr_brigade_cleanup(conn->blank);
    }
    if (rv == APR_SUCCESS)
        return go_on(c, AFPA_MOD_TO_ENGINE);
    if (client->keep_alive_ms == 0) /* httpd has not had a request on it yet that would have said */
        client->keep_alive_ms = afpa_mod_msec(c->base_server->keep_alive_timeout);
    return APR_STATUS_IS_EAGAIN(rv) ? AFPA_MOD_TO_ENGINE : AFPA_MOD_LINGER;
}

static void serve(afpa_mod_client_t *client, host_thread_t *thread)
{
    afpa_mod_after_t before = client->c ? client->after : AFPA_MOD_TO_ENGINE;
    int resumed = client->c != NULL;
    conn_rec *c;

    if (!client->c)
        client->c = conn_make(client, thread);
    c = client->c;
    if (!c) {
        client->after = AFPA_MOD_CLOSE;
        afpa_mod_loop_return(client);
        return;
    }
    c->sbh = thread->slot;
    c->current_thread = thread->thread;
    c->id = id_of(thread); /* no two threads at work have the same: mod_unique_id relies on it, too */
    c->keepalives = (int)client->requests;
    if (resumed)
        ap_run_resume_connection(c, NULL);
    if (before == AFPA_MOD_SUSPENDED && c->cs->state == CONN_STATE_SUSPENDED)
        client->after = AFPA_MOD_SUSPENDED;
    else if (c->aborted)
        client->after = AFPA_MOD_LINGER;
    else
        client->after = before == AFPA_MOD_TO_ENGINE ? next_request(client) : go_on(c, before);
    if (client->after == AFPA_MOD_LINGER) {
        client->after = conn_close(client);
    } else {
        client->requests = (uint32_t)c->keepalives;
        ap_run_suspend_connection(c, NULL);
        c->sbh = NULL;
        c->current_thread = NULL;
    }
    afpa_mod_loop_return(client);
}

/* ---- threads ---- */

static void slot_take(host_thread_t *thread)
{
    long number = atomic_load(&child);
    int place = per_child + (int)thread->number;

    if (!thread->slot && number >= 0 && place < thread_limit)
        ap_create_sb_handle(&thread->slot, apr_thread_pool_get(thread->thread), (int)number, place);
}

/* Not counted with the MPM's idle workers while there is nothing to do. */
static void slot_rest(const host_thread_t *thread)
{
    if (thread->slot)
        ap_update_child_status(thread->slot, SERVER_DEAD, NULL);
}

static void run_end(afpa_mod_client_t *client)
{
    if (client->c) {
        ap_prep_lingering_close(client->c);
        conn_destroy(client);
    }
    afpa_mod_client_free(client);
}

/* The next client; NULL: the end. */
static afpa_mod_client_t *next_client(const host_thread_t *thread)
{
    afpa_job_t *job;

    pthread_mutex_lock(&host.lock);
    if (!host.first && !host.stop) {
        pthread_mutex_unlock(&host.lock);
        slot_rest(thread);
        pthread_mutex_lock(&host.lock);
    }
    host.idle++;
    while (!host.first && !host.stop)
        pthread_cond_wait(&host.work, &host.lock);
    host.idle--;
    job = host.first;
    if (job) {
        host.queued--;
        host.first = job->next;
        if (!host.first)
            host.last = &host.first;
    }
    pthread_mutex_unlock(&host.lock);
    return (afpa_mod_client_t *)(void *)job;
}

static void *APR_THREAD_FUNC work(apr_thread_t *apr_thread, void *data)
{
    host_thread_t *thread = data;
    afpa_mod_client_t *client;

    thread->thread = apr_thread;
    while ((client = next_client(thread)) != NULL)
        if (client->fd < 0) {
            run_end(client);
        } else {
            slot_take(thread);
            serve(client, thread);
        }
    slot_rest(thread);
    return NULL;
}

/* Under the lock. */
static void threads_tell(void)
{
    long number = atomic_load(&child);

    if (threads && number >= 0)
        atomic_store_explicit(&threads[number], host.stop ? 0 : host.count, memory_order_relaxed);
}

/* MaxRequestWorkers is for all children together, as it is for the MPM's. */
static int may_add(void)
{
    unsigned all = 0;

    for (int i = 0; threads && i < server_limit; i++)
        all += atomic_load_explicit(&threads[i], memory_order_relaxed);
    return host.count < host.most && all < host.most;
}

/* Its signals are masked as those of the caller are: they are for the MPM's main thread. */
static apr_status_t thread_add(void)
{
    host_thread_t *thread = &host.threads[host.count];
    apr_status_t rv;

    thread->number = host.count;
    rv = ap_thread_create(&thread->thread, host.stack, work, thread, host.pool);
    if (rv == APR_SUCCESS)
        host.count++;
    threads_tell();
    return rv;
}

/* The MPM does not see that these are at work, and makes no more children for it; so where it would, there are more threads. */
void afpa_mod_host_submit(afpa_mod_client_t *client)
{
    client->job.next = NULL;
    pthread_mutex_lock(&host.lock);
    *host.last = &client->job;
    host.last = &client->job.next;
    if (++host.queued > host.idle && may_add())
        (void)thread_add(); /* else it waits */
    if (host.idle > 0)
        pthread_cond_signal(&host.work);
    pthread_mutex_unlock(&host.lock);
}

/* Another child of that number may have died at work, and left our slots as they were. */
void afpa_mod_host_child(long id)
{
    long unknown = -1;

    if (atomic_load_explicit(&child, memory_order_relaxed) >= 0 ||
        !atomic_compare_exchange_strong(&child, &unknown, id / thread_limit))
        return;
    for (int place = per_child; place < thread_limit; place++)
        ap_update_child_status_from_indexes((int)(id / thread_limit), place, SERVER_DEAD, NULL);
    pthread_mutex_lock(&host.lock);
    threads_tell();
    pthread_mutex_unlock(&host.lock);
}

void afpa_mod_host_prepare(apr_pool_t *pconf)
{
    apr_shm_t *shm;

    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &server_limit);
    threads = NULL;
    if (apr_shm_create(&shm, (apr_size_t)server_limit * sizeof(*threads), NULL, pconf) == APR_SUCCESS)
        threads = apr_shm_baseaddr_get(shm);
    if (threads)
        memset(threads, 0, (size_t)server_limit * sizeof(*threads));
}

apr_status_t afpa_mod_host_start(apr_pool_t *p, apr_pool_t *pconf, unsigned count, unsigned most)
{
    sigset_t all, before;
    apr_status_t rv = APR_SUCCESS;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &per_child);
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_THREADS, &thread_limit);
    mpm = ap_find_linked_module("event.c");
    host.pconf = pconf;
    host.most = most;
    host.threads = apr_pcalloc(p, most * sizeof(*host.threads));
    host.pool = pool_make();
    if (!host.pool)
        return APR_ENOMEM;
    if (ap_thread_stacksize != 0 && apr_threadattr_create(&host.stack, host.pool) == APR_SUCCESS)
        apr_threadattr_stacksize_set(host.stack, ap_thread_stacksize);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&host.lock);
    while (host.count < count && rv == APR_SUCCESS)
        rv = thread_add();
    pthread_mutex_unlock(&host.lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return host.count > 0 ? APR_SUCCESS : rv;
}

void afpa_mod_host_stop(void)
{
    apr_status_t rv;

    pthread_mutex_lock(&host.lock);
    host.stop = 1;
    threads_tell();
    pthread_cond_broadcast(&host.work);
    pthread_mutex_unlock(&host.lock);
    for (unsigned i = 0; i < host.count; i++)
        apr_thread_join(&rv, host.threads[i].thread);
}

void afpa_mod_host_register(void)
{
    ap_hook_insert_network_bucket(on_insert_network_bucket, NULL, NULL, APR_HOOK_FIRST);
}
