/* SPDX-License-Identifier: Apache-2.0
 *
 * Printing.
 */
#include "config.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "output.h"

#define BAR_WIDTH 24

/* Covers standard error: messages come from several threads, and the progress line has to give way to them. */
static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;
static bool progress_shown;

/* ---- text ---- */

/* Characters that are printable by name, but change the direction of what follows, or hide. */
static bool deceives(wchar_t c)
{
    return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

void print_name(FILE *to, const char *text)
{
    size_t left = strlen(text);
    mbstate_t state = {0};

    while (left > 0) {
        wchar_t c;
        size_t used = mbrtowc(&c, text, left, &state);

        if (used > 0 && used <= left && iswprint((wint_t)c) && !deceives(c)) {
            if (c == L'\\')
                fputc('\\', to);
            fwrite(text, 1, used, to);
        } else {
            memset(&state, 0, sizeof(state));
            used = 1;
            fprintf(to, "\\x%02x", (unsigned char)*text);
        }
        text += used;
        left -= used;
    }
}

void complain(const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    pthread_mutex_lock(&error_lock);
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
    fputs("afpactl: ", stderr);
    print_name(stderr, text ? text : "out of memory");
    fputc('\n', stderr);
    pthread_mutex_unlock(&error_lock);
    free(text);
}

static char *buffer(void)
{
    static char buffers[8][32];
    static unsigned next;

    return buffers[next++ % 8];
}

static const char *size_into(char *text, size_t room, uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    unsigned unit = 0;

    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    snprintf(text, room, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

const char *size_text(uint64_t bytes)
{
    return size_into(buffer(), 32, bytes);
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

/* ---- JSON ---- */

#define JSON_STYLE (JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15))

void json_print_line(json_t *value)
{
    json_dumpf(value, stdout, JSON_STYLE | JSON_COMPACT);
    putchar('\n');
    json_decref(value);
}

void json_print(json_t *value)
{
    json_dumpf(value, stdout, JSON_STYLE | JSON_INDENT(2));
    putchar('\n');
    json_decref(value);
}

/* Bytes of the UTF-8 character that text begins with; 0 if it begins with none. */
static size_t utf8_length(const char *text)
{
    size_t limit = strnlen(text, 4);

    for (size_t length = 1; length <= limit; length++) {
        json_t *value = json_stringn(text, length);

        json_decref(value);
        if (value)
            return length;
    }
    return 0;
}

json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    char *clean = value ? NULL : malloc(3 * strlen(text) + 1), *out = clean;

    if (!clean)
        return value;
    while (*text) {
        size_t length = utf8_length(text);

        out = length ? mempcpy(out, text, length) : mempcpy(out, "\xEF\xBF\xBD", 3);
        text += length ? length : 1;
    }
    *out = 0;
    value = json_string(clean);
    free(clean);
    return value;
}

/* ---- progress ---- */

void progress_draw(const progress_t *p)
{
    char bar[BAR_WIDTH + 1], bytes[32], rate[32];
    size_t filled = p->total && !p->walking ? (size_t)(p->done * BAR_WIDTH / p->total) : 0;

    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled > BAR_WIDTH ? BAR_WIDTH : filled);
    bar[BAR_WIDTH] = 0;
    size_into(bytes, sizeof(bytes), p->bytes);
    size_into(rate, sizeof(rate), p->seconds > 0 ? (uint64_t)((double)p->bytes / p->seconds) : 0);
    pthread_mutex_lock(&error_lock);
    fprintf(stderr, "\r[%s] %llu of %llu%s files, %s, %s/s\033[K", bar, (unsigned long long)p->done, (unsigned long long)p->total,
            p->walking ? "+" : "", bytes, rate);
    fflush(stderr);
    progress_shown = true;
    pthread_mutex_unlock(&error_lock);
}

void progress_clear(void)
{
    pthread_mutex_lock(&error_lock);
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
    pthread_mutex_unlock(&error_lock);
}
