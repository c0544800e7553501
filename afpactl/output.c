/* SPDX-License-Identifier: Apache-2.0
 *
 * Printing.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

static char *buffer(void)
{
    static char buffers[8][32];
    static unsigned next;

    return buffers[next++ % 8];
}

const char *size_text(uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    unsigned unit = 0;
    char *text = buffer();

    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

const char *age_text(double seconds)
{
    char *text = buffer();

    if (seconds < 120)
        snprintf(text, 32, "%.0f s", seconds);
    else if (seconds < 7200)
        snprintf(text, 32, "%.0f min", seconds / 60);
    else if (seconds < 172800)
        snprintf(text, 32, "%.0f h", seconds / 3600);
    else
        snprintf(text, 32, "%.0f d", seconds / 86400);
    return text;
}

void json_print(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(value);
}

json_t *json_path(const char *path)
{
    json_t *value = json_string(path);
    char clean[3 * 4096 + 1], *out = clean;

    if (value)
        return value;
    for (; *path && out < clean + sizeof(clean) - 4; path++)
        if ((unsigned char)*path < 0x80)
            *out++ = *path;
        else
            out = stpcpy(out, "\xEF\xBF\xBD");
    *out = 0;
    return json_string(clean);
}

void progress(uint64_t done, uint64_t total, uint64_t bytes)
{
    char bar[31];
    unsigned filled = total ? (unsigned)(done * 30 / total) : 0;

    if (!isatty(STDERR_FILENO))
        return;
    memset(bar, '.', 30);
    memset(bar, '#', filled > 30 ? 30 : filled);
    bar[30] = 0;
    fprintf(stderr, "\r[%s] %llu of %llu files, %s ", bar, (unsigned long long)done, (unsigned long long)total, size_text(bytes));
}

void progress_end(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}
