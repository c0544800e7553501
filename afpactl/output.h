/* SPDX-License-Identifier: Apache-2.0
 *
 * How afpactl prints: sizes for people, JSON for scripts.
 */
#ifndef AFPACTL_OUTPUT_H
#define AFPACTL_OUTPUT_H

#include <jansson.h>
#include <stdint.h>

/* "1.5 MB" in binary units; one of a few static buffers, good until several calls later. */
const char *size_text(uint64_t bytes);

/* "3 d 4 h", "12 s". */
const char *age_text(double seconds);

/* Prints and releases. */
void json_print(json_t *value);

/* A path as JSON; bytes that are not UTF-8 show as U+FFFD. */
json_t *json_path(const char *path);

/* A progress bar on standard error, if that is a terminal.  total 0: unknown. */
void progress(uint64_t done, uint64_t total, uint64_t bytes);
void progress_end(void);

#endif
