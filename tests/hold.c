/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that uses a zone as a server does, for the tests of afpactl: hold SEGMENT PATH ...
 *
 * Looks each path up, or loads it, and pins every entry of it; a path named again is looked up and held once more.
 * Says "held", keeps everything until standard input ends, then gives it back.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <afpa/cache.h>

#define EXTENTS_MAX 4096

static afpa_extent_t extents[EXTENTS_MAX];
static unsigned extent_count;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "hold: %s: %s\n", what, why);
    exit(1);
}

static void pin_all(const afpa_ref_t *ref, const char *path)
{
    for (uint32_t index = 0; index < afpa_ref_entries(ref); index++) {
        if (extent_count == EXTENTS_MAX)
            die(path, "has too many entries");
        while (afpa_cache_pin(ref, index, AFPA_PIN_COPY, &extents[extent_count]) != AFPA_OK)
            if (afpa_cache_fill(ref, index, 1) != AFPA_OK)
                die(path, "cannot be filled");
        extent_count++;
    }
}

static void hold(afpa_cache_t *cache, const char *path, afpa_ref_t *ref)
{
    afpa_status_t status = afpa_cache_lookup(cache, path, strlen(path), 3600000, ref);
    afpa_policy_t policy;
    afpa_counter_t why;

    if (status == AFPA_OK || status == AFPA_CHECK_DUE) {
        afpa_cache_count(cache, AFPA_COUNTER_PIPELINE_HITS);
        return;
    }
    afpa_policy_init(&policy);
    afpa_cache_count(cache, AFPA_COUNTER_MISSES);
    if (afpa_cache_open(cache, path, strlen(path), &policy, ref, &why, NULL) != AFPA_OK)
        die(path, "cannot be cached");
}

static bool named_before(char **paths, int count, const char *path)
{
    for (int i = 0; i < count; i++)
        if (strcmp(paths[i], path) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    afpa_ref_t *refs = calloc((size_t)argc, sizeof(*refs));
    afpa_cache_t *cache;
    afpa_zone_t *zone;
    afpa_error_t error;

    if (argc < 2 || !refs)
        die("usage", "hold SEGMENT PATH ...");
    if (afpa_zone_attach(argv[1], false, &zone, &error) != AFPA_OK || afpa_cache_attach(zone, "hold", &cache, &error) != AFPA_OK)
        die(argv[1], error.text);
    for (int i = 2; i < argc; i++) {
        hold(cache, argv[i], &refs[i]);
        if (!named_before(argv + 2, i - 2, argv[i]))
            pin_all(&refs[i], argv[i]);
    }
    puts("held");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    while (extent_count > 0)
        afpa_cache_unpin(&extents[--extent_count]);
    for (int i = 2; i < argc; i++)
        afpa_cache_release(&refs[i]);
    afpa_cache_detach(&cache);
    afpa_zone_close(&zone);
    free(refs);
    return 0;
}
