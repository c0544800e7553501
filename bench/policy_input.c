/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace as a stream.  Compressed files are read through the program that can: no shell sees their names.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy.h"

bool policy_fail(policy_error_t *error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return false;
}

void *policy_alloc(void *old, size_t count, size_t each)
{
    void *memory = reallocarray(old, count ? count : 1, each);

    if (!memory) {
        fprintf(stderr, "policy: no memory for %zu times %zu bytes\n", count, each);
        exit(1);
    }
    return memory;
}

static const char *program_for(const char *path)
{
    static const char *const programs[][2] = {{".zst", "zstd"}, {".gz", "gzip"}, {".xz", "xz"}};
    size_t length = strlen(path);

    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        size_t ending = strlen(programs[i][0]);

        if (length > ending && strcmp(path + length - ending, programs[i][0]) == 0)
            return programs[i][1];
    }
    return NULL;
}

static bool decompress(policy_input_t *input, const char *path, policy_error_t *error)
{
    int from = fileno(input->file), ends[2];

    if (pipe(ends) != 0)
        return policy_fail(error, "%s: pipe: %s", path, strerror(errno));
    fflush(NULL);
    input->child = fork();
    if (input->child == 0) {
        dup2(from, STDIN_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp(input->program, input->program, "-dc", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    fclose(input->file);
    input->file = NULL;
    if (input->child > 0)
        input->file = fdopen(ends[0], "r");
    if (input->file)
        return true;
    close(ends[0]);
    return policy_fail(error, "%s: %s: %s", path, input->program, strerror(errno));
}

bool policy_input_open(policy_input_t *input, const char *path, policy_error_t *error)
{
    *input = (policy_input_t){.name = path};
    if (strcmp(path, "-") == 0) {
        input->name = "standard input";
        input->file = stdin;
        return true;
    }
    input->file = fopen(path, "re");
    if (!input->file)
        return policy_fail(error, "%s: %s", path, strerror(errno));
    input->program = program_for(path);
    return !input->program || decompress(input, path, error);
}

bool policy_input_close(policy_input_t *input, bool whole, policy_error_t *error)
{
    bool failed = whole && ferror(input->file);
    int status = 0;

    if (input->file != stdin)
        fclose(input->file);
    input->file = NULL;
    if (input->child > 0 && waitpid(input->child, &status, 0) == input->child && whole) {
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            return policy_fail(error, "%s: cannot run %s to read it", input->name, input->program);
        if (status != 0)
            return policy_fail(error, "%s: %s -dc failed, the trace is not whole", input->name, input->program);
    }
    return !failed || policy_fail(error, "%s: cannot be read", input->name);
}
