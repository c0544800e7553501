/* SPDX-License-Identifier: Apache-2.0
 *
 * How afpactl prints: messages, names and sizes for people, JSON for scripts, progress on a terminal.
 *
 * Names come out of a segment that somebody else can write: they reach a terminal only with everything escaped that could
 * command it.
 */
#ifndef AFPACTL_OUTPUT_H
#define AFPACTL_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Prints "afpactl: …" to standard error.  Thread-safe. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints text of any origin; bytes that are no printable characters show as \xHH, a backslash as two. */
void print_name(FILE *to, const char *text);

/* "1.5 MB" in binary units; one of a few static buffers, good until several calls later.  Main thread only, as age_text(). */
const char *size_text(uint64_t bytes);

/* "35 s", "4 min", "3 h", "12 d". */
const char *age_text(double seconds);

/* Prints on one line, or indented; releases. */
void json_print_line(json_t *value);
void json_print(json_t *value);

/* Any text as JSON; bytes that are not UTF-8 show as U+FFFD. */
json_t *json_text(const char *text);

/* A line on standard error that is drawn over and over; complain() works around it. */
typedef struct progress {
    bool walking; /* the total may still grow */
    uint64_t done, total, bytes;
    double seconds;
} progress_t;

void progress_draw(const progress_t *progress);
void progress_clear(void);

#endif
