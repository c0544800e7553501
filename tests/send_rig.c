/* SPDX-License-Identifier: Apache-2.0
 *
 * See send_rig.h.
 */
#include "send_rig.h"

static void on_ended(afpa_send_t *send, afpa_send_outcome_t outcome)
{
    rig_t *r = afpa_send_context(send);

    ck_assert_ptr_eq(send, r->send);
    ck_assert_uint_eq(r->cache.pins, 0);
    ck_assert_uint_eq(r->cache.refs, 0);
    ck_assert_uint_eq(fake_transport_in_flight(&r->transport), 0);
    ck_assert_msg(!r->executor.queued, "ended with a job queued");
    r->ended++;
    r->outcome = outcome;
    r->reason = send->reason;
    free(send);
    r->send = NULL;
}

static void on_cut(afpa_send_t *send)
{
    rig_t *r = afpa_send_context(send);

    r->transport.disconnects++;
}

void rig_begin(rig_t *r, uint64_t size)
{
    memset(r, 0, sizeof(*r));
    fake_cache_begin(&r->cache, size, CHUNK);
    fake_transport_begin(&r->transport);
    fake_executor_begin(&r->executor);
    r->transport.context = r;
    r->setup = (afpa_send_setup_t){.header = HEADER,
                                   .header_length = strlen(HEADER),
                                   .bytes = size,
                                   .zerocopy = UINT64_MAX,
                                   .transport = &r->transport.base,
                                   .executor = &r->executor.base,
                                   .cut = on_cut,
                                   .ended = on_ended,
                                   .context = r};
}

void rig_init(rig_t *r)
{
    r->transport.header = r->setup.header;
    r->transport.header_length = r->setup.header_length;
    r->transport.offset = r->setup.offset;
    r->transport.bytes = r->setup.bytes;
    r->setup.ref = fake_cache_hold(&r->cache);
    r->send = malloc(sizeof(*r->send));
    afpa_send_init(r->send, &r->setup);
    ck_assert_msg(!r->setup.ref.cache, "the ref is the machine's now");
}

void rig_start(rig_t *r)
{
    rig_init(r);
    afpa_send_start(r->send);
}

void rig_end(rig_t *r, afpa_send_outcome_t outcome, afpa_status_t reason)
{
    ck_assert_uint_eq(r->ended, 1);
    ck_assert_int_eq(r->outcome, outcome);
    ck_assert_int_eq(r->reason, reason);
    if (outcome == AFPA_SEND_DONE) {
        ck_assert_uint_eq(r->transport.completed, r->transport.header_length + r->transport.bytes);
        ck_assert_uint_eq(r->transport.disconnects, 0);
    }
    fake_cache_end(&r->cache);
}

void rig_complete(rig_t *r, size_t bytes)
{
    fake_transport_complete(&r->transport, bytes);
}

void rig_writable(rig_t *r)
{
    r->send->io.writable(&r->send->io);
}

bool rig_in_state(const rig_t *r, const char *name)
{
    return strcmp(afpa_send_state_name(r->send->state), name) == 0;
}

void rig_drive(rig_t *r)
{
    while (!r->ended) {
        if (r->executor.queued)
            fake_executor_go(&r->executor);
        else if (r->transport.blocked && rig_in_state(r, "wait-writable"))
            rig_writable(r);
        else
            rig_complete(r, FAKE_ALL);
    }
}
