/* SPDX-License-Identifier: Apache-2.0
 *
 * Operands: paths, patterns, URLs.
 *
 * A key in the cache is the path a server mapped a request to: absolute, symbolic links and all.  So a relative operand is put
 * behind the current directory and folded by name only; links are never resolved.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "afpactl.h"
#include "output.h"

void *must(void *memory)
{
    if (memory)
        return memory;
    complain("out of memory");
    exit(EXIT_NOT_SO);
}

bool is_url(const char *text)
{
    return strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0;
}

bool is_glob(const char *text)
{
    return strpbrk(text, "*?[") != NULL;
}

/* Folds `whole`, which begins with a slash, in place. */
static void fold(char *whole)
{
    char *in = whole, *out = whole;

    while (*in) {
        size_t length;

        in += strspn(in, "/");
        length = strcspn(in, "/");
        if (length == 2 && memcmp(in, "..", 2) == 0) {
            while (out > whole && *--out != '/')
                continue;
        } else if (length > 0 && !(length == 1 && *in == '.')) {
            *out++ = '/';
            memmove(out, in, length);
            out += length;
        }
        in += length;
    }
    if (out == whole)
        *out++ = '/';
    *out = 0;
}

/* In a pattern the current directory stands for itself, whatever characters are in its name. */
static char *escape(char *name)
{
    char *escaped = must(malloc(2 * strlen(name) + 1)), *out = escaped;

    for (const char *in = name; *in; in++) {
        if (strchr("*?[\\", *in))
            *out++ = '\\';
        *out++ = *in;
    }
    *out = 0;
    free(name);
    return escaped;
}

static char *current_directory(void)
{
    char *name = getcwd(NULL, 0);

    if (name)
        return name;
    complain("the current directory: %s", strerror(errno));
    exit(EXIT_NOT_SO);
}

static char *absolute(const char *name, bool pattern)
{
    char *directory = name[0] == '/' ? must(strdup("")) : current_directory(), *whole = NULL;

    if (pattern)
        directory = escape(directory);
    if (asprintf(&whole, "%s/%s", directory, name) < 0)
        whole = NULL;
    fold(must(whole));
    free(directory);
    return whole;
}

char *path_absolute(const char *path)
{
    return absolute(path, false);
}

char *pattern_absolute(const char *pattern)
{
    if (pattern[0] == '*' || pattern[0] == '?' || is_url(pattern))
        return must(strdup(pattern));
    return absolute(pattern, true);
}
