/* SPDX-License-Identifier: Apache-2.0
 *
 * main() of a fuzz target where there is no libFuzzer: runs what the corpus holds, then inputs from a generator with a fixed
 * seed, then, for FUZZ_SECONDS, what comes of changing the corpus here and there.  Arguments are files to run instead, to look at a
 * finding; one that crashed is in fuzz-last in the current directory.
 * The run passes if nothing crashes.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz.h"

#define INPUT_MAX 4096
#define CORPUS_MAX 256
#ifndef FUZZ_SECONDS
#define FUZZ_SECONDS 0
#endif

static struct {
    uint8_t *data;
    size_t size;
} corpus[CORPUS_MAX];
static unsigned corpus_count;
#define MADE_UP 500

static const uint8_t *last_data;
static size_t last_size;

static void on_abort(int number)
{
    FILE *file = last_data ? fopen("fuzz-last", "wb") : NULL;

    if (file) {
        fwrite(last_data, 1, last_size, file);
        fclose(file);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static int run_file(const char *path)
{
    static uint8_t data[1 << 16];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file) {
        perror(path);
        return 0;
    }
    size = fread(data, 1, sizeof(data), file);
    fclose(file);
    if (corpus_count < CORPUS_MAX && (corpus[corpus_count].data = malloc(size + 1)) != NULL) {
        memcpy(corpus[corpus_count].data, data, size);
        corpus[corpus_count++].size = size;
    }
    LLVMFuzzerTestOneInput(data, size);
    return 1;
}

static int run_directory(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char name[4096];
    int ran = 0;

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        ran += run_file(name);
    }
    if (dir)
        closedir(dir);
    return ran;
}

/* xorshift64 */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void run_made_up(void)
{
    uint64_t state = UINT64_C(0x5eed5eed5eed);
    uint8_t data[INPUT_MAX];

    for (int i = 0; i < MADE_UP; i++) {
        size_t size = random_next(&state) % (i % 8 == 0 ? INPUT_MAX : 64);

        for (size_t at = 0; at < size; at++)
            data[at] = (uint8_t)(random_next(&state) >> 32);
        LLVMFuzzerTestOneInput(data, size);
    }
}

/* One change: a byte, a bit, a run taken out, said twice, or replaced by one from elsewhere. */
static size_t change(uint8_t *data, size_t size, uint64_t *state)
{
    size_t at = size ? random_next(state) % size : 0, length = size ? 1 + random_next(state) % (size - at) : 0;
    unsigned other = (unsigned)(random_next(state) % corpus_count);
    size_t from = corpus[other].size ? random_next(state) % corpus[other].size : 0;

    switch (random_next(state) % 6) {
    case 0:
        data[at] = (uint8_t)(random_next(state) >> 32);
        return size;
    case 1:
        data[at] ^= (uint8_t)(1u << random_next(state) % 8);
        return size;
    case 2:
        data[at] = (uint8_t) " :\r\n\t/%?.,\"*\\-0aGH"[random_next(state) % 19];
        return size;
    case 3:
        length = length % 16;
        memmove(data + at, data + at + length, size - at - length);
        return size - length;
    case 4:
        length = size + length <= INPUT_MAX ? length : 0;
        memmove(data + at + length, data + at, size - at);
        return size + length;
    default:
        length = corpus[other].size - from < 64 ? corpus[other].size - from : 64;
        length = at + length <= INPUT_MAX ? length : 0;
        memcpy(data + at, corpus[other].data + from, length);
        return at + length > size ? at + length : size;
    }
}

static unsigned long run_changed(void)
{
    uint64_t state = UINT64_C(0xc0ffee123456789);
    time_t until = time(NULL) + FUZZ_SECONDS;
    static uint8_t data[INPUT_MAX + 64];
    unsigned long ran = 0;

    while (FUZZ_SECONDS && corpus_count && (ran % 256 != 0 || time(NULL) < until)) {
        unsigned which = (unsigned)(random_next(&state) % corpus_count);
        size_t size = corpus[which].size < INPUT_MAX ? corpus[which].size : INPUT_MAX;

        memcpy(data, corpus[which].data, size);
        for (unsigned changes = 1 + random_next(&state) % 6; changes > 0 && size > 0; changes--)
            size = change(data, size, &state);
        last_data = data;
        last_size = size;
        LLVMFuzzerTestOneInput(data, size);
        ran++;
    }
    last_data = NULL;
    return ran;
}

int main(int argc, char **argv)
{
    unsigned long changed;
    const char *source = getenv("AFPA_SRCDIR");
    const char *name = strrchr(argv[0], '/');
    char directory[4096];
    int ran = 0;

    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);

    for (int i = 1; i < argc; i++)
        run_file(argv[i]);
    if (argc > 1)
        return 0;
    name = name ? name + 1 : argv[0];
    if (strncmp(name, "lt-", 3) == 0)
        name += 3;
    snprintf(directory, sizeof(directory), "%s/tests/fuzz/corpus/%s", source ? source : ".", name + strlen("fuzz_"));
    ran = run_directory(directory);
    run_made_up();
    changed = run_changed();
    printf("%d inputs of %s, %d made up, %lu changed\n", ran, directory, MADE_UP, changed);
    return ran > 0 ? 0 : 1;
}
