/* SPDX-License-Identifier: Apache-2.0
 *
 * See conn_rig.h.
 */
#include "conn_rig.h"

static const afpa_limits_t usual = {.keep_alive_ms = 75000, .send_ms = 60000, .lifetime_ms = 3600000, .requests = 1000};

static void on_handover(void *context, afpa_transport_t *transport, const char *bytes, size_t length, afpa_counter_t why)
{
    rig_t *r = context;

    ck_assert_ptr_eq(transport, &r->conn.base);
    ck_assert_msg(!r->conn.receiving && r->conn.count == 0, "handed over with a request under way");
    CHECK_THAT(length > 0);
    r->handovers++;
    r->handed = malloc(length);
    memcpy(r->handed, bytes, length);
    r->handed_length = length;
    r->why = why;
    r->c = NULL;
}

static void on_unfinished(void *context, afpa_transport_t *transport, const char *bytes, size_t length, bool timed_out)
{
    rig_t *r = context;

    ck_assert_int_eq(r->conn.receiving != NULL, timed_out);
    r->conn.receiving = NULL;
    r->unfinished++;
    r->timed_out = timed_out;
    on_handover(context, transport, bytes, length, AFPA_COUNTER_LIMIT);
}

void rig_take_unfinished(rig_t *r)
{
    r->engine->setup.unfinished = on_unfinished;
}

static void on_closed(void *context)
{
    rig_t *r = context;

    ck_assert_msg(r->conn.closed, "forgotten before it was closed");
    r->closes++;
    r->stalled = r->c && afpa_conn_stalled(r->c);
    r->c = NULL;
}

static void on_replied(void *context, const afpa_reply_t *reply)
{
    rig_t *r = context;
    unsigned n = r->told++ % CHECK_COUNT(r->replies);
    size_t length = reply->request->target.length < 63 ? reply->request->target.length : 63;

    memcpy(r->replies[n].target, reply->request->target.at, length);
    r->replies[n].target[length] = 0;
    r->replies[n].status = reply->status;
    r->replies[n].header = reply->header;
    r->replies[n].body = reply->body;
    r->replies[n].cut = reply->cut;
}

void rig_admit(rig_t *r, const char *target, const char *file, const afpa_limits_t *limits)
{
    static const char *const dropped[] = {"Content-Length", NULL};
    afpa_response_terms_t terms = {.server = 7, .revalidate_ms = 1000, .limits = *limits, .dropped = dropped};
    char head[256], header[256];
    afpa_ref_t ref = fixture_open(&r->f, file);
    afpa_request_t request;
    afpa_proposal_t *proposal;
    afpa_counter_t why;
    const char *refused;

    snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    ck_assert_int_eq(afpa_request_read(head, strlen(head), &request, &why), AFPA_REQUEST_WHOLE);
    snprintf(header, sizeof(header),
             "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: %llu\r\nConnection: keep-alive\r\n"
             "ETag: \"%s\"\r\n\r\n",
             (unsigned long long)afpa_ref_identity(&ref)->size, file);
    proposal = afpa_response_propose(&request, header, strlen(header), &ref, &terms, &refused);
    ck_assert_msg(proposal != NULL, "%s", refused);
    ck_assert_int_eq(afpa_response_admit(proposal), AFPA_OK);
    afpa_cache_release(&ref);
}

void rig_begin(rig_t *r)
{
    afpa_engine_setup_t setup = {.executor = &r->jobs.base,
                                 .zerocopy = 32768,
                                 .connections = 4,
                                 .handover = on_handover,
                                 .closed = on_closed,
                                 .replied = on_replied};
    char target[32];

    memset(r, 0, sizeof(*r));
    fixture_begin(&r->f, 4u << 20);
    fixture_clock_stop();
    fake_jobs_begin(&r->jobs);
    fixture_file(&r->f, "small", RIG_SMALL, 1);
    fixture_file(&r->f, "one", RIG_ONE, 1);
    fixture_file(&r->f, "large", RIG_LARGE, 1);
    fixture_file(&r->f, "empty", 0, 1);
    rig_admit(r, "/small", "small", &usual);
    rig_admit(r, "/one", "one", &usual);
    rig_admit(r, "/large", "large", &usual);
    rig_admit(r, "/empty", "empty", &usual);
    for (unsigned i = 0; i < 64; i++) {
        snprintf(target, sizeof(target), "/small?%u", i);
        rig_admit(r, target, "small", &usual);
    }
    r->engine = afpa_engine_create(&setup);
    ck_assert_ptr_nonnull(r->engine);
    fake_conn_begin(&r->conn, NULL);
    r->conn.memory = r->f.segment->base;
    r->setup = (afpa_conn_setup_t){.transport = &r->conn.base,
                                   .context = r,
                                   .cache = r->f.cache,
                                   .server = 7,
                                   .accepted_ms = afpa_engine_now(),
                                   .first_ms = 60000,
                                   .head_ms = 60000,
                                   .linger_ms = 5000};
}

void rig_end(rig_t *r)
{
    if (r->c) {
        afpa_conn_close(r->c);
        rig_settle(r);
        if (r->c) /* in the middle of something */
            fake_conn_reset(&r->conn);
        rig_settle(r);
    }
    ck_assert_uint_eq(afpa_engine_conns(r->engine), 0);
    ck_assert_uint_eq(r->handovers + r->closes, 1);
    ck_assert_uint_eq(fixture_pins(&r->f), 0);
    afpa_engine_destroy(&r->engine);
    fake_conn_end(&r->conn);
    free(r->handed);
    fixture_end(&r->f);
}

void rig_again(rig_t *r)
{
    fake_conn_end(&r->conn);
    fake_conn_begin(&r->conn, NULL);
    r->conn.memory = r->f.segment->base;
    free(r->handed);
    r->handed = NULL;
    r->handovers = r->closes = r->told = 0;
}

void rig_start(rig_t *r)
{
    r->c = afpa_conn_start(r->engine, &r->setup);
    ck_assert_ptr_nonnull(r->c);
}

void rig_arrive(rig_t *r, const char *text)
{
    fake_conn_arrive(&r->conn, text, strlen(text));
}

void rig_pass(rig_t *r, unsigned ms)
{
    for (; ms >= 250; ms -= 250) {
        fixture_clock_advance(250);
        afpa_engine_tick(r->engine);
    }
}

void rig_settle(rig_t *r)
{
    for (;;) {
        if (r->conn.count > 0)
            fake_conn_complete(&r->conn, SIZE_MAX);
        else if (r->conn.waits && !r->conn.closed)
            fake_conn_writable(&r->conn);
        else if (!fake_jobs_go(&r->jobs))
            return;
    }
}

void rig_blank_dates(char *bytes, size_t length)
{
    for (size_t i = 0; i + 35 <= length; i++)
        if (memcmp(bytes + i, "\r\nDate: ", 8) == 0)
            memset(bytes + i + 8, 'x', AFPA_HTTP_DATE);
}

/* It is the tag. */
void rig_file_name(const afpa_response_t *response, char name[64])
{
    afpa_text_t etag = afpa_response_validators(response).etag;

    snprintf(name, 64, "%.*s", (int)etag.length - 2, etag.at + 1);
}

size_t rig_expect(rig_t *r, const char *text, char *to)
{
    const char *end = text + strlen(text);
    size_t length = 0;

    while (text < end) {
        afpa_response_t response;
        afpa_request_t request;
        afpa_counter_t why;
        char name[64];
        bool same;
        uint64_t size;

        ck_assert_int_eq(afpa_request_read(text, (size_t)(end - text), &request, &why), AFPA_REQUEST_WHOLE);
        ck_assert_int_eq(afpa_response_lookup(r->f.cache, 7, &request, &response), AFPA_OK);
        same = request.if_none_match.at != NULL;
        length += afpa_response_print(&response, same, (afpa_persistence_t){.keep_alive = request.keep_alive},
                                      "Sun, 06 Nov 1994 08:49:37 GMT", to + length);
        size = same || request.head ? 0 : afpa_ref_identity(&response.file)->size;
        rig_file_name(&response, name);
        for (uint64_t i = 0; i < size; i++)
            to[length + i] = fixture_byte(name, 1, i);
        length += size;
        afpa_response_release(&response);
        text += request.length;
    }
    rig_blank_dates(to, length);
    return length;
}

void rig_sent(rig_t *r, const char *requests)
{
    static char expected[4u << 20];
    size_t length = rig_expect(r, requests, expected);

    ck_assert_uint_eq(r->conn.sent_length, length);
    rig_blank_dates(r->conn.sent, length);
    ck_assert_msg(length == 0 || memcmp(r->conn.sent, expected, length) == 0, "wrong reply to: %s", requests);
}
