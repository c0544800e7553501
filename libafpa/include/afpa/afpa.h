/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole public interface of libafpa.  Each header can also be included by itself.
 *
 * A server's pipeline needs zone.h (one segment, opened before fork), cache.h (one process's use of it), executor.h (who runs
 * what may block) and, if it does not send with buffers of its own, send.h (the send machine) over transport.h.
 * A fast path needs engine.h (connections), response.h (what is answered) and request.h besides, and loop.h where the server has
 * no event loop that fits.  A tool needs zone.h, cache.h and inspect.h.
 */
#ifndef AFPA_AFPA_H
#define AFPA_AFPA_H

#include <afpa/cache.h>
#include <afpa/counters.h>
#include <afpa/engine.h>
#include <afpa/executor.h>
#include <afpa/http.h>
#include <afpa/inspect.h>
#include <afpa/log.h>
#include <afpa/loop.h>
#include <afpa/options.h>
#include <afpa/request.h>
#include <afpa/response.h>
#include <afpa/send.h>
#include <afpa/status.h>
#include <afpa/transport.h>
#include <afpa/walk.h>
#include <afpa/zone.h>

#endif
