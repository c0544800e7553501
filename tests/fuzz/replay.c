/* SPDX-License-Identifier: Apache-2.0
 *
 * main() of a fuzz target where there is no libFuzzer: runs what the corpus holds, then inputs from a generator with a fixed
 * seed, so that every run of the tests is the same.  Arguments are files to run instead, to look at a finding.
 * The run passes if nothing crashes.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX 4096
#define MADE_UP 500

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
    LLVMFuzzerTestOneInput(data, size);
    return 1;
}

static int run_folder(const char *path)
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

int main(int argc, char **argv)
{
    const char *source = getenv("AFPA_SRCDIR");
    const char *name = strrchr(argv[0], '/');
    char corpus[4096];
    int ran = 0;

    for (int i = 1; i < argc; i++)
        run_file(argv[i]);
    if (argc > 1)
        return 0;
    name = name ? name + 1 : argv[0];
    if (strncmp(name, "lt-", 3) == 0)
        name += 3;
    snprintf(corpus, sizeof(corpus), "%s/tests/fuzz/corpus/%s", source ? source : ".", name + strlen("fuzz_"));
    ran = run_folder(corpus);
    run_made_up();
    printf("%d inputs of %s, %d made up\n", ran, corpus, MADE_UP);
    return ran > 0 ? 0 : 1;
}
