/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes traces for bench/policy, as csv on standard output; the same for the same options.
 *
 *   zipf      the object of rank r is asked for in proportion to 1 / r^alpha
 *   scan      the same, and every so often a crawler goes on through all files, one after the other
 *   loop      loops of five lengths (1/1000 to 1/2 of the objects) take turns at random
 *   one-hit   zipf, and files that are asked for once and never again
 *   shift     zipf, but the hot objects change: every 20 requests a rank drawn by popularity and a rank drawn evenly change places
 *   mix       a half shift, the rest scan, loop and one-hit in equal parts
 *
 * Sizes (`web`): nine tenths log-normal around 6 KB, the rest a Pareto tail from 64 KB to 8 MB; about 35 KB on average.  They go by
 * object and are independent of popularity.
 */
#include "config.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOPS 5
#define SHIFT_EVERY 20
#define REQUESTS_PER_SECOND 1000

typedef struct options {
    const char *kind;
    uint32_t requests, objects, share, fixed;
    double alpha;
    uint64_t seed;
} options_t;

typedef struct generator {
    options_t o;
    uint64_t state;               /* of the random numbers */
    double *up_to;                /* by rank: how likely this rank or a better one is */
    uint32_t *by_rank;            /* objects */
    uint32_t crawler, once, left; /* left: requests of this scan, or of this gap */
    bool scanning;
    uint32_t loop_at[LOOPS];
} generator_t;

static void *allocate(size_t count, size_t each)
{
    void *memory = calloc(count, each);

    if (!memory) {
        fprintf(stderr, "policy_generate: no memory\n");
        exit(1);
    }
    return memory;
}

/* ---- numbers: a counter, well mixed ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static double unit_of(uint64_t x)
{
    return (double)(x >> 11) * 0x1p-53;
}

static double draw(generator_t *g)
{
    return unit_of(mix(g->state += UINT64_C(0x9e3779b97f4a7c15)));
}

static uint32_t below(generator_t *g, uint32_t limit)
{
    return (uint32_t)(draw(g) * limit);
}

/* ---- sizes ---- */

static double web_size(uint64_t hash)
{
    double kind = unit_of(mix(hash + 1)), a = unit_of(mix(hash + 2)), b = unit_of(mix(hash + 3));
    const double low = 65536, high = 8388608, shape = 1.1;

    if (kind < 0.93) /* log-normal, by Box and Muller */
        return 6000 * exp(1.4 * sqrt(-2 * log(1 - a)) * cos(6.283185307179586 * b));
    return low / pow(1 - a * (1 - pow(low / high, shape)), 1 / shape);
}

static uint32_t size_of(const generator_t *g, uint32_t object)
{
    double size;

    if (g->o.fixed)
        return g->o.fixed;
    size = web_size(mix(g->o.seed ^ (uint64_t)object << 20));
    return size < 64 ? 64 : size > 8388608 ? 8388608 : (uint32_t)size;
}

/* ---- who asks for what ---- */

static uint32_t draw_rank(generator_t *g)
{
    double at = draw(g) * g->up_to[g->o.objects - 1];
    uint32_t low = 0, high = g->o.objects - 1;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (g->up_to[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t next_zipf(generator_t *g)
{
    return g->by_rank[draw_rank(g)];
}

/* Scans of a tenth of the files, with gaps such that they make up their share of all requests. */
static uint32_t next_scan(generator_t *g)
{
    uint32_t length = g->o.objects / 10 + 1;

    if (g->left == 0) {
        g->scanning = !g->scanning;
        g->left = g->scanning ? length : (uint32_t)((uint64_t)length * (100 - g->o.share) / g->o.share) + 1;
    }
    g->left--;
    return g->scanning ? g->crawler++ % g->o.objects : next_zipf(g);
}

static uint32_t next_loop(generator_t *g)
{
    static const uint32_t parts[LOOPS] = {1000, 200, 50, 10, 2};
    uint32_t loop = below(g, LOOPS), start = 0, length;

    for (uint32_t i = 0; i < loop; i++)
        start += g->o.objects / parts[i] + 1;
    length = g->o.objects / parts[loop] + 1;
    return start + g->loop_at[loop]++ % length;
}

static uint32_t next_once(generator_t *g)
{
    return below(g, 100) < g->o.share ? g->o.objects * 2 + g->once++ : next_zipf(g);
}

static uint32_t next_shift(generator_t *g)
{
    if (below(g, SHIFT_EVERY) == 0) {
        uint32_t hot = draw_rank(g), other = below(g, g->o.objects), object = g->by_rank[hot];

        g->by_rank[hot] = g->by_rank[other];
        g->by_rank[other] = object;
    }
    return next_zipf(g);
}

static uint32_t next_mix(generator_t *g)
{
    switch (below(g, 6)) {
    case 0:
        return next_loop(g);
    case 1:
        return g->crawler++ % g->o.objects;
    case 2:
        return g->o.objects * 2 + g->once++;
    }
    return next_shift(g);
}

static const struct {
    const char *name;
    uint32_t (*next)(generator_t *g);
} kinds[] = {
    {"zipf", next_zipf}, {"scan", next_scan}, {"loop", next_loop}, {"one-hit", next_once}, {"shift", next_shift}, {"mix", next_mix},
};

static uint32_t (*kind_find(const char *name))(generator_t *g)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].next;
    return NULL;
}

static void generator_begin(generator_t *g)
{
    double sum = 0;

    g->state = mix(g->o.seed);
    g->up_to = allocate(g->o.objects, sizeof(*g->up_to));
    g->by_rank = allocate(g->o.objects, sizeof(*g->by_rank));
    for (uint32_t rank = 0; rank < g->o.objects; rank++) {
        g->up_to[rank] = sum += pow(rank + 1, -g->o.alpha);
        g->by_rank[rank] = rank;
    }
    for (uint32_t rank = g->o.objects; rank-- > 1;) {
        uint32_t other = below(g, rank + 1), object = g->by_rank[rank];

        g->by_rank[rank] = g->by_rank[other];
        g->by_rank[other] = object;
    }
}

/* ---- options ---- */

static const struct argp_option argp_options[] = {
    {"requests", 'n', "N", 0, "requests (default 1000000)", 0},
    {"objects", 'o', "N", 0, "objects that popularity is spread over (default 50000)", 0},
    {"alpha", 'a', "A", 0, "exponent of Zipf's law (default 0.9)", 0},
    {"share", 'p', "PERCENT", 0, "of the requests that are scans or one-hit wonders (default 30)", 0},
    {"sizes", 'z', "SIZES", 0, "web, or the bytes that each object has (default web)", 0},
    {"seed", 's', "N", 0, "of the random numbers (default 1)", 0},
    {0},
};

static uint32_t number(struct argp_state *state, const char *what, const char *text, uint32_t least, uint32_t most)
{
    unsigned long long value;
    char *end;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value < least || value > most)
        argp_error(state, "--%s: \"%s\" is no number from %u to %u", what, text, least, most);
    return (uint32_t)value;
}

static double alpha_of(struct argp_state *state, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= 0 && value <= 10))
        argp_error(state, "--alpha: \"%s\" is no number from 0 to 10", text);
    return value;
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    options_t *o = state->input;

    switch (key) {
    case 'n':
        o->requests = number(state, "requests", arg, 1, 1000000000);
        return 0;
    case 'o':
        o->objects = number(state, "objects", arg, 10, 100000000);
        return 0;
    case 'a':
        o->alpha = alpha_of(state, arg);
        return 0;
    case 'p':
        o->share = number(state, "share", arg, 1, 99);
        return 0;
    case 'z':
        o->fixed = strcmp(arg, "web") == 0 ? 0 : number(state, "sizes", arg, 1, UINT32_MAX);
        return 0;
    case 's':
        o->seed = number(state, "seed", arg, 0, UINT32_MAX);
        return 0;
    case ARGP_KEY_ARG:
        if (o->kind || !kind_find(arg))
            argp_error(state, "\"%s\": one of zipf, scan, loop, one-hit, shift and mix is expected", arg);
        o->kind = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->kind)
            argp_error(state, "what kind of trace?");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = argp_options,
        .parser = on_option,
        .args_doc = "zipf|scan|loop|one-hit|shift|mix",
        .doc = "Make a trace (csv: time, key, size) on standard output; the same for the same options.",
    };
    generator_t g = {.o = {.requests = 1000000, .objects = 50000, .share = 30, .alpha = 0.9, .seed = 1}};

    argp_parse(&argp, argc, argv, 0, NULL, &g.o);
    generator_begin(&g);
    printf("time,key,size\n");
    for (uint32_t i = 0; i < g.o.requests && !ferror(stdout); i++) {
        uint32_t object = kind_find(g.o.kind)(&g);

        printf("%u,%u,%u\n", i / REQUESTS_PER_SECOND, object, size_of(&g, object));
    }
    free(g.up_to);
    free(g.by_rank);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "policy_generate: standard output: %s\n", strerror(errno));
        return 1;
    }
    return 0;
}
