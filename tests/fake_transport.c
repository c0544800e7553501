/* SPDX-License-Identifier: Apache-2.0
 *
 * See fake_transport.h.
 */
#include <string.h>

#include "check_main.h"
#include "fake_cache.h"
#include "fake_transport.h"

uint64_t fake_transport_in_flight(const fake_transport_t *transport)
{
    return transport->accepted - transport->completed;
}

/* What has to stand at a position of the reply. */
static char expected(const fake_transport_t *transport, uint64_t position)
{
    if (position < transport->header_length)
        return transport->header[position];
    return fake_cache_byte(transport->offset + position - transport->header_length);
}

static void look(const fake_transport_t *transport, const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint64_t position = transport->completed + i;

        if (transport->blank && position >= transport->header_length)
            return;
        if (data[i] != expected(transport, position))
            ck_abort_msg("wrong byte at %llu of the reply", (unsigned long long)position);
    }
}

void fake_transport_complete(fake_transport_t *transport, size_t bytes)
{
    size_t total = 0;

    while (transport->count > 0 && total < bytes) {
        size_t left = bytes - total;
        size_t length = transport->runs[transport->first].length;
        size_t part = left < length ? left : length;

        look(transport, transport->runs[transport->first].data, part);
        transport->completed += part;
        total += part;
        transport->runs[transport->first].data += part;
        transport->runs[transport->first].length -= part;
        if (part == length) {
            transport->first = (transport->first + 1) % FAKE_RUNS_MAX;
            transport->count--;
        }
    }
    if (total > 0)
        transport->io->completed(transport->io, AFPA_OK, total);
}

static void take(fake_transport_t *transport, const afpa_piece_t *piece, size_t bytes)
{
    size_t at = (transport->first + transport->count++) % FAKE_RUNS_MAX;

    CHECK_THAT(transport->count <= FAKE_RUNS_MAX);
    transport->runs[at].data = piece->data;
    transport->runs[at].length = bytes;
    transport->accepted += bytes;
}

/* Whether the piece is the right one, apart from its bytes. */
static void examine(const fake_transport_t *transport, const afpa_piece_t *piece)
{
    uint64_t total = transport->header_length + transport->bytes;

    CHECK_THAT(piece->data);
    CHECK_THAT(piece->length > 0);
    CHECK_THAT(transport->accepted + piece->length <= total);
    CHECK_THAT(piece->last == (transport->accepted + piece->length == total));
    if (piece->by_reference) {
        CHECK_THAT(transport->accepted >= transport->header_length);
        CHECK_THAT(piece->file_offset == FAKE_FILE_BASE + transport->offset + transport->accepted - transport->header_length);
    }
}

static fake_answer_t answer_next(fake_transport_t *transport)
{
    if (transport->decide)
        return transport->decide(transport);
    return transport->sends <= transport->answers_count ? transport->answers[transport->sends - 1] : transport->otherwise;
}

static afpa_status_t on_send(afpa_transport_t *base, afpa_io_t *io, const afpa_piece_t *piece, size_t *accepted)
{
    fake_transport_t *transport = (fake_transport_t *)base;
    fake_answer_t answer;

    examine(transport, piece);
    CHECK_THAT(transport->disconnects == 0);
    transport->io = io;
    transport->sends++;
    transport->references += piece->by_reference;
    answer = answer_next(transport);
    transport->blocked = answer.status == AFPA_AGAIN;
    if (answer.status == AFPA_OK) {
        *accepted = answer.accept < piece->length ? answer.accept : piece->length;
        take(transport, piece, *accepted);
    }
    if (answer.within)
        answer.within(transport);
    fake_transport_complete(transport, answer.complete);
    return answer.status;
}

static const afpa_provider_t provider = {.send = on_send};

void fake_transport_begin(fake_transport_t *transport)
{
    memset(transport, 0, sizeof(*transport));
    transport->base.provider = &provider;
    transport->otherwise.accept = FAKE_ALL;
}
