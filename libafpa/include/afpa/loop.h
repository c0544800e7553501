/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's own event loop, and the transport provider on it: epoll, edge-triggered.  For hosts that have none.
 *
 * One loop belongs to one thread; only afpa_loop_wake() and afpa_loop_post() may be called from others.  A server runs a loop per
 * thread, each with a listening socket of its own on the same address (SO_REUSEPORT), so that the kernel spreads connections.
 */
#ifndef AFPA_LOOP_H
#define AFPA_LOOP_H

#include <stdbool.h>
#include <sys/socket.h>

#include <afpa/executor.h>
#include <afpa/status.h>
#include <afpa/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct afpa_loop afpa_loop_t;

/* NULL: errno says why. */
afpa_loop_t *afpa_loop_create(void);

/* Makes room for `count` descriptors (at most as many as the process may have) in the kernel's table of them.  Otherwise the table
 * doubles whenever it is full, and in a process with threads that takes 15 to 20 ms, for which the caller who needed one more
 * descriptor is stopped: an event loop in accept(), say.  Call it once, if possible before threads are started. */
void afpa_descriptors_reserve(unsigned count);

/* Closes its listening sockets and frees it.  Its connections must be gone, and no job submitted to its executor be under way.
 * *loop may be NULL; it is set to NULL. */
void afpa_loop_destroy(afpa_loop_t **loop);

/* Listens on an address; connections are offered to `endpoint`.  AFPA_INVALID: the error says which address, and why. */
afpa_status_t afpa_loop_listen(afpa_loop_t *loop, const struct sockaddr *address, socklen_t length, afpa_endpoint_t *endpoint,
                               afpa_error_t *error);

/* The port that the last listening socket got. */
unsigned afpa_loop_port(const afpa_loop_t *loop);

/* Stops listening; connections go on. */
void afpa_loop_unlisten(afpa_loop_t *loop);

/* A new transport of this loop, for connect(); one that is never connected is given back with disconnect().  NULL: no memory. */
afpa_transport_t *afpa_loop_transport(afpa_loop_t *loop, afpa_endpoint_t *endpoint);

/* A transport of this loop over a connected, non-blocking socket, which belongs to the transport from then on: closed when it is
 * disconnected.  As if just accepted: the first receive looks at the socket at once.  NULL: out of memory or watches; the socket
 * stays the caller's. */
afpa_transport_t *afpa_loop_adopt(afpa_loop_t *loop, afpa_endpoint_t *endpoint, int fd);

/* For a host that reads and writes the socket of a transport by itself while no request of it is under way.  `io` completes with
 * AFPA_OK once the socket can be read from, or written to, or is broken; with AFPA_CLOSED if the transport was disconnected first;
 * maybe inline.
 * AFPA_OK                     `io` will complete.
 * AFPA_CLOSED, AFPA_IO_ERROR  it will not: the transport is disconnected already, or the socket cannot be watched. */
afpa_status_t afpa_loop_await(afpa_transport_t *transport, afpa_io_t *io, bool writable);

/* Gives up the receive that is under way: it never completes, and its io may be used again. */
void afpa_loop_forget(afpa_transport_t *transport);

/* Has job->done called in the loop's thread.  From any thread; the job stays where it is until then. */
void afpa_loop_post(afpa_loop_t *loop, afpa_job_t *job);

/* Waits for events, at most `ms` (-1: for ever), and handles them.  AFPA_OK, or AFPA_IO_ERROR: errno says why. */
afpa_status_t afpa_loop_run(afpa_loop_t *loop, int ms);

/* Makes afpa_loop_run() return soon.  From any thread, or a signal handler. */
void afpa_loop_wake(afpa_loop_t *loop);

/* An executor whose jobs run in `pool` and are done in this loop.  It belongs to the loop and is not closed; `pool` stays the
 * caller's, and its jobs must be over before the loop is destroyed.  One per loop. */
afpa_executor_t *afpa_loop_executor(afpa_loop_t *loop, afpa_executor_t *pool);

#ifdef __cplusplus
}
#endif
#endif
