/* SPDX-License-Identifier: Apache-2.0
 *
 * What the send machine asks of whoever moves the bytes: a socket, nginx's output filter, a test.
 *
 * After AFPA's transport interface on Windows (TDI): every request has a completion routine, which runs whether the request
 * completes at once or later; callers must not care which.  Accepted is not completed: `send` says how many bytes were taken,
 * afpa_send_completed() says later, or from within `send`, that their memory is free.
 */
#ifndef AFPA_TRANSPORT_H
#define AFPA_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct afpa_send afpa_send_t;
typedef struct afpa_transport afpa_transport_t;

/* One run of bytes to send. */
typedef struct afpa_piece {
    const void *data;     /* memory, always valid */
    size_t length;        /* at least 1 */
    uint64_t file_offset; /* of the same bytes in the segment file; meaningful if by_reference */
    bool by_reference;    /* may be sent with sendfile() from the segment's descriptor */
    bool last;            /* nothing of this reply comes after it */
} afpa_piece_t;

struct afpa_transport {
    /* Takes some or all of the piece.  Never blocks.
     * AFPA_OK        *accepted bytes (1 … length) were taken; their memory stays untouched until they complete.
     * AFPA_AGAIN     nothing was taken; the transport calls afpa_send_writable() when it pays to try again.
     * anything else  the transport is broken; nothing was taken; the machine aborts. */
    afpa_status_t (*send)(afpa_transport_t *transport, afpa_send_t *send, const afpa_piece_t *piece, size_t *accepted);
    /* The reply cannot be finished: close, so that the peer sees it cut.  Bytes still in flight complete all the same. */
    void (*disconnect)(afpa_transport_t *transport, afpa_send_t *send);
};

#ifdef __cplusplus
}
#endif
#endif
