/* SPDX-License-Identifier: Apache-2.0
 *
 * See fake_provider.h.
 */
#include <string.h>

#include "check_main.h"
#include "fake_provider.h"

static fake_conn_t *conn_of(afpa_transport_t *transport)
{
    return (fake_conn_t *)transport;
}

/* ---- receiving ---- */

static void finish_receive(fake_conn_t *c, afpa_status_t status, size_t bytes, const void *data)
{
    afpa_io_t *io = c->receiving;

    c->receiving = NULL;
    io->data = data;
    io->completed(io, status, bytes);
}

/* Memory of the provider is good for one completion only. */
static void give(fake_conn_t *c)
{
    size_t room = c->buffer ? c->size : 65536, part = c->arrived_length < room ? c->arrived_length : room;
    char *lent = c->buffer ? NULL : malloc(part);
    void *to = c->buffer ? c->buffer : lent;

    memcpy(to, c->arrived, part);
    memmove(c->arrived, c->arrived + part, c->arrived_length - part);
    c->arrived_length -= part;
    finish_receive(c, AFPA_OK, part, to);
    if (lent)
        memset(lent, 0x5a, part);
    free(lent);
}

static void try_receive(fake_conn_t *c)
{
    if (!c->receiving)
        return;
    if (c->arrived_length > 0)
        give(c);
    else if (c->reset)
        finish_receive(c, AFPA_IO_ERROR, 0, NULL);
    else if (c->ended)
        finish_receive(c, AFPA_CLOSED, 0, NULL);
}

static afpa_status_t on_receive(afpa_transport_t *transport, afpa_io_t *io, void *buffer, size_t size)
{
    fake_conn_t *c = conn_of(transport);

    CHECK_THAT(!c->receiving && !c->closed);
    CHECK_THAT(!buffer || size > 0);
    c->receiving = io;
    c->buffer = buffer;
    c->size = size;
    c->receives++;
    try_receive(c);
    return AFPA_OK;
}

static void indicate(fake_conn_t *c)
{
    afpa_endpoint_t *endpoint = c->base.endpoint;

    while (c->arrived_length > 0 && !c->receiving && !c->closed && endpoint && endpoint->received) {
        size_t taken = endpoint->received(endpoint, &c->base, c->arrived, c->arrived_length);

        CHECK_THAT(taken <= c->arrived_length);
        memmove(c->arrived, c->arrived + taken, c->arrived_length - taken);
        c->arrived_length -= taken;
        if (taken == 0)
            break;
    }
}

void fake_conn_arrive(fake_conn_t *c, const void *bytes, size_t length)
{
    c->arrived = realloc(c->arrived, c->arrived_length + length + 1);
    memcpy(c->arrived + c->arrived_length, bytes, length);
    c->arrived_length += length;
    if (c->receiving)
        try_receive(c);
    else
        indicate(c);
}

static void tell_end(fake_conn_t *c, afpa_status_t why)
{
    afpa_endpoint_t *endpoint = c->base.endpoint;

    if (c->receiving)
        try_receive(c);
    else if (endpoint && endpoint->disconnected && !c->closed)
        endpoint->disconnected(endpoint, &c->base, why);
}

void fake_conn_eof(fake_conn_t *c)
{
    c->ended = true;
    tell_end(c, AFPA_CLOSED);
}

void fake_conn_reset(fake_conn_t *c)
{
    c->reset = c->broken = true;
    if (c->waits)
        fake_conn_writable(c);
    tell_end(c, AFPA_IO_ERROR);
}

/* ---- sending ---- */

void fake_conn_complete(fake_conn_t *c, size_t bytes)
{
    while (c->count > 0 && bytes > 0) {
        size_t part = bytes < c->pieces[c->first].length ? bytes : c->pieces[c->first].length;
        afpa_io_t *io = c->pieces[c->first].io;

        if (c->sent_length + part > c->sent_room) {
            c->sent_room = 2 * (c->sent_length + part);
            c->sent = realloc(c->sent, c->sent_room);
        }
        memcpy(c->sent + c->sent_length, c->pieces[c->first].data, part);
        c->sent_length += part;
        c->pieces[c->first].data += part;
        c->pieces[c->first].length -= part;
        bytes -= part;
        if (c->pieces[c->first].length == 0) {
            c->first = (c->first + 1) % FAKE_PIECES;
            c->count--;
        }
        io->completed(io, c->closed ? AFPA_CLOSED : AFPA_OK, part);
    }
}

static afpa_status_t on_send(afpa_transport_t *transport, afpa_io_t *io, const afpa_piece_t *piece, size_t *accepted)
{
    fake_conn_t *c = conn_of(transport);
    size_t at = (c->first + c->count) % FAKE_PIECES;

    CHECK_THAT(!c->closed && !c->released && piece->length > 0);
    c->sends++;
    if (c->broken)
        return AFPA_IO_ERROR;
    c->waits = c->block && c->sends % c->block == 0;
    c->sending = io;
    if (c->waits)
        return AFPA_AGAIN;
    c->references += piece->by_reference;
    if (piece->by_reference)
        CHECK_THAT((const char *)piece->data == (const char *)c->memory + piece->file_offset);
    *accepted = piece->length < c->accept ? piece->length : c->accept;
    CHECK_THAT(c->count < FAKE_PIECES);
    c->pieces[at].data = piece->data;
    c->pieces[at].length = *accepted;
    c->pieces[at].io = io;
    c->count++;
    if (!c->late)
        fake_conn_complete(c, *accepted);
    return AFPA_OK;
}

void fake_conn_writable(fake_conn_t *c)
{
    if (!c->waits || c->closed)
        return;
    c->waits = false;
    c->sending->writable(c->sending);
}

/* ---- the rest ---- */

static afpa_status_t on_accept(afpa_transport_t *transport, afpa_io_t *io)
{
    conn_of(transport)->accepted = true;
    if (io)
        io->completed(io, AFPA_OK, 0);
    return AFPA_OK;
}

static afpa_status_t on_connect(afpa_transport_t *transport, afpa_io_t *io, const struct sockaddr *address, socklen_t length)
{
    fake_conn_t *c = conn_of(transport);

    (void)address, (void)length;
    c->accepted = true;
    io->completed(io, c->broken ? AFPA_IO_ERROR : AFPA_OK, 0);
    return AFPA_OK;
}

static void on_disconnect(afpa_transport_t *transport, afpa_io_t *io, afpa_disconnect_t how)
{
    fake_conn_t *c = conn_of(transport);

    CHECK_THAT(!c->closed);
    if (how == AFPA_DISCONNECT_RELEASE) {
        c->released = true;
    } else {
        c->closed = true;
        fake_conn_complete(c, SIZE_MAX);
        if (c->receiving)
            finish_receive(c, AFPA_CLOSED, 0, NULL);
    }
    if (io)
        io->completed(io, AFPA_OK, 0);
}

static bool on_must_linger(afpa_transport_t *transport)
{
    return conn_of(transport)->arrived_length > 0;
}

static const afpa_provider_t provider = {.accept = on_accept,
                                         .connect = on_connect,
                                         .send = on_send,
                                         .receive = on_receive,
                                         .must_linger = on_must_linger,
                                         .disconnect = on_disconnect};

bool fake_conn_offer(fake_conn_t *c)
{
    if (c->base.endpoint->connected)
        c->base.endpoint->connected(c->base.endpoint, &c->base);
    c->closed |= !c->accepted;
    return c->accepted;
}

void fake_conn_begin(fake_conn_t *c, afpa_endpoint_t *endpoint)
{
    memset(c, 0, sizeof(*c));
    c->base.provider = &provider;
    c->base.endpoint = endpoint;
    c->accept = SIZE_MAX;
}

void fake_conn_end(fake_conn_t *c)
{
    free(c->sent);
    free(c->arrived);
    c->sent = c->arrived = NULL;
    c->sent_room = 0;
}

/* ---- jobs ---- */

static afpa_status_t on_submit(afpa_executor_t *executor, afpa_job_t *job)
{
    fake_jobs_t *jobs = (fake_jobs_t *)executor;

    if (jobs->full)
        return AFPA_NO_SPACE;
    job->next = jobs->queued;
    jobs->queued = job;
    jobs->submitted++;
    return AFPA_OK;
}

void fake_jobs_begin(fake_jobs_t *jobs)
{
    memset(jobs, 0, sizeof(*jobs));
    jobs->base.submit = on_submit;
}

bool fake_jobs_go(fake_jobs_t *jobs)
{
    afpa_job_t *list = jobs->queued;
    bool any = list != NULL;

    jobs->queued = NULL;
    while (list) {
        afpa_job_t *job = list;

        list = job->next;
        job->run(job);
        job->done(job);
    }
    return any;
}
