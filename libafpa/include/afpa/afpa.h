/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole public interface of libafpa.
 *
 * A server module needs: zone.h (one segment, opened before fork), cache.h (one process's use of it), executor.h (who runs
 * what may block) and send.h (the send machine).  A tool needs zone.h, cache.h and inspect.h.
 */
#ifndef AFPA_AFPA_H
#define AFPA_AFPA_H

#include <afpa/cache.h>
#include <afpa/counters.h>
#include <afpa/executor.h>
#include <afpa/inspect.h>
#include <afpa/log.h>
#include <afpa/options.h>
#include <afpa/send.h>
#include <afpa/status.h>
#include <afpa/transport.h>
#include <afpa/walk.h>
#include <afpa/zone.h>

#endif
