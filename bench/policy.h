/* SPDX-License-Identifier: Apache-2.0
 *
 * Replay of cache traces: what the parts of bench/policy share.
 *
 *   policy_input.c      a file, standard input, or what a decompressor makes of a file
 *   policy_records.c    binary formats: oracleGeneral, vscsi, lcs
 *   policy_trace.c      csv and txt; from any format to requests, object by object
 *   policy_baselines.c  FIFO, LRU, SIEVE, S3-FIFO without an allocator
 *   policy_belady.c     what knows the future: Belady's MIN, and a lower bound for objects of any size
 *   policy_afpa.c       the library itself, over files that policy_files.c makes up
 *   policy_report.c     the tables
 */
#ifndef POLICY_H
#define POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define POLICY_SIZE_MAX (UINT64_C(1) << 40) /* of one object: what says more is not a size */
#define POLICY_NEVER UINT32_MAX

typedef struct policy_error {
    char text[512];
} policy_error_t;

/* Writes the text; always false. */
bool policy_fail(policy_error_t *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- where a trace comes from ---- */

typedef struct policy_input {
    const char *name; /* for messages */
    FILE *file;
    const char *program; /* decompressor; NULL: none */
    pid_t child;
} policy_input_t;

/* "-": standard input.  By its ending (.zst, .gz, .xz) a file is read through the program that can. */
bool policy_input_open(policy_input_t *input, const char *path, policy_error_t *error);

/* `whole`: read to its end, so that the decompressor must have ended well. */
bool policy_input_close(policy_input_t *input, bool whole, policy_error_t *error);

/* ---- traces ---- */

typedef enum policy_format { POLICY_AUTO, POLICY_CSV, POLICY_TXT, POLICY_ORACLE, POLICY_VSCSI, POLICY_LCS } policy_format_t;

/* What is known of a binary trace's records once it has begun. */
typedef struct policy_records {
    policy_input_t *input;
    size_t length;                /* of a record */
    unsigned key_at, size_at;     /* offsets */
    bool wide;                    /* the size has 64 bits, not 32 */
    unsigned version_at, version; /* a byte that each record has, and its value; 0: none */
    uint64_t count, stated;       /* records; those the header tells of, 0: it tells nothing */
    size_t kept;                  /* bytes that beginning has read of the first record */
    uint8_t bytes[128];
} policy_records_t;

typedef struct policy_record {
    bool end;          /* there is none */
    const char *wrong; /* what makes no sense; NULL: nothing */
    uint64_t id, size;
} policy_record_t;

/* false: this is no such trace. */
bool policy_records_begin(policy_records_t *records, policy_format_t format, policy_input_t *input, policy_error_t *error);

/* false: the trace is not whole. */
bool policy_records_next(policy_records_t *records, policy_record_t *record, policy_error_t *error);

typedef struct policy_reading {
    policy_format_t format;
    char delimiter;                                /* csv */
    unsigned time_column, key_column, size_column; /* csv; from 1; 0: there is none */
    uint64_t unit;                                 /* bytes of an object where the trace says none */
    uint64_t limit;                                /* requests; 0: all */
    double sample;                                 /* share of the keys that is kept; 1: all */
    bool skip_bad;                                 /* leave out records that make no sense, and count them */
} policy_reading_t;

typedef struct policy_trace {
    uint32_t *requests; /* objects, in the order they are asked for */
    uint32_t *next;     /* when the object of a request is asked for again; POLICY_NEVER */
    uint64_t *sizes;    /* of the objects */
    uint32_t count, objects;
    uint64_t footprint; /* bytes of all objects */
    uint64_t bytes;     /* of all requests */
    uint64_t resized;   /* requests that gave their object another size than the largest, which is taken */
    uint64_t bad, unsampled;
} policy_trace_t;

void policy_reading_init(policy_reading_t *reading);

/* Errors name the file and the line or record. */
bool policy_trace_load(policy_trace_t *trace, const char *path, const policy_reading_t *reading, policy_error_t *error);

/* From memory: requests[] names objects, sizes[] has `objects` sizes.  For tests. */
void policy_trace_make(policy_trace_t *trace, const uint32_t *requests, uint32_t count, const uint64_t *sizes, uint32_t objects);

void policy_trace_free(policy_trace_t *trace);

/* malloc() and friends that end the program when there is no memory. */
void *policy_alloc(void *old, size_t count, size_t each);

/* ---- policies ---- */

typedef struct policy_tally {
    uint64_t requests, bytes, misses, missed_bytes;
    uint64_t most; /* bytes held at any one time */
} policy_tally_t;

/* Caches of `capacity` bytes; what is larger than max_size, or than the cache, is served without it. */
typedef void policy_replay_t(const policy_trace_t *trace, uint64_t capacity, uint64_t max_size, policy_tally_t *tally);

policy_replay_t policy_fifo, policy_lru, policy_sieve, policy_s3fifo, policy_belady, policy_bound;

typedef struct policy_baseline {
    const char *name;
    policy_replay_t *replay;
} policy_baseline_t;

#define POLICY_BASELINES 6
extern const policy_baseline_t policy_baselines[POLICY_BASELINES];

/* ---- the library ---- */

typedef struct policy_setup {
    uint64_t capacity; /* bytes the data section is to have, at least */
    uint64_t max_size;
    uint32_t min_uses, chunk_size;
} policy_setup_t;

typedef struct policy_afpa {
    policy_tally_t tally;
    uint64_t zone_size, data_length; /* as they came out */
    uint64_t records;                /* object records of the zone */
    uint64_t fills, evictions;       /* as the library counted them */
    uint64_t declined;               /* requests that were left to the server */
    size_t problems;                 /* that verify found at the end */
    /* Averages from the first eviction on; without one, the state at the end. */
    double payload, paths, rounding;           /* bytes of the data section */
    double free_chunks, free_runs, free_slots; /* free: whole chunks; in chunks of runs; in chunks of slots */
    double objects;
} policy_afpa_t;

bool policy_afpa(const policy_trace_t *trace, const policy_setup_t *setup, policy_afpa_t *afpa, policy_error_t *error);

/* ---- files that are not there (policy_files.c) ---- */

#define POLICY_PATH 32

/* From now on these paths can be opened, and have these sizes; NULL: none can. */
void policy_files_set(const policy_trace_t *trace);
size_t policy_files_path(uint32_t object, char path[POLICY_PATH]);

/* ---- output ---- */

typedef enum policy_style { POLICY_TEXT, POLICY_MARKDOWN, POLICY_CSV_OUT } policy_style_t;
#define POLICY_USES_MAX 4

typedef struct policy_cell {
    const char *trace;
    double share;      /* of the footprint that was asked for; 0: bytes were */
    unsigned variants; /* runs of the library, by min_uses */
    uint32_t min_uses[POLICY_USES_MAX];
    policy_afpa_t afpa[POLICY_USES_MAX];
    policy_tally_t data[POLICY_BASELINES]; /* at the bytes of the data section */
    policy_tally_t held[POLICY_BASELINES]; /* at the payload bytes that the library really held */
} policy_cell_t;

void policy_report_trace(policy_style_t style, const char *name, const policy_trace_t *trace);
void policy_report_cell(policy_style_t style, const policy_trace_t *trace, const policy_cell_t *cell);

#endif
