/* SPDX-License-Identifier: Apache-2.0
 *
 * Requesting one URL, for its effect on the server.
 */
#ifndef AFPACTL_HTTP_GET_H
#define AFPACTL_HTTP_GET_H

#include <stdint.h>

/* Requests a http:// URL and reads the whole reply, at most 30 s per step.  Returns the status code, or 0 with *why set to a
 * word for it; *bytes is what came in. */
int http_get(const char *url, uint64_t *bytes, const char **why);

#endif
