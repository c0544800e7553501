/* SPDX-License-Identifier: Apache-2.0
 *
 * Requesting one URL, for its effect on the server.
 */
#ifndef AFPACTL_HTTP_GET_H
#define AFPACTL_HTTP_GET_H

#include <signal.h>
#include <stdint.h>

/* Requests a http:// URL and reads the whole reply, at most 30 s per step, or until *stop is set.  Returns the status code, 0 if
 * there is none; *why is NULL if the reply is whole, else a word for what went wrong.  *bytes is what came in. */
int http_get(const char *url, const volatile sig_atomic_t *stop, uint64_t *bytes, const char **why);

#endif
