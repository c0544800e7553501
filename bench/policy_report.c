/* SPDX-License-Identifier: Apache-2.0
 *
 * What a replay prints: for people, as Markdown, or as CSV for programs (one line a policy).
 */
#include "config.h"

#include <string.h>

#include "policy.h"

#define NAME_LENGTH 24

static const char *bytes_text(double bytes, char text[32])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    unsigned unit = 0;

    while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

void policy_report_trace(policy_style_t style, const char *name, const policy_trace_t *t)
{
    char footprint[32], mean[32], bytes[32];

    if (style == POLICY_CSV_OUT)
        return;
    printf("%s%s: %u requests for %u objects; footprint %s, %s an object; %s asked for\n", style == POLICY_MARKDOWN ? "\n### " : "",
           name, t->count, t->objects, bytes_text((double)t->footprint, footprint),
           bytes_text((double)t->footprint / t->objects, mean), bytes_text((double)t->bytes, bytes));
    if (t->resized)
        printf("  %llu requests gave their object another size than its largest, which was taken\n",
               (unsigned long long)t->resized);
    if (t->bad)
        printf("  %llu records made no sense and were left out\n", (unsigned long long)t->bad);
    if (t->unsampled)
        printf("  %llu requests are for keys that are not in the sample\n", (unsigned long long)t->unsampled);
    if (style == POLICY_MARKDOWN) {
        printf("\n| cache | afpa holds | afpa |");
        for (unsigned i = 0; i < POLICY_BASELINES; i++)
            printf(" %s |", policy_baselines[i].name);
        printf("\n|---|---|---|");
        for (unsigned i = 0; i < POLICY_BASELINES; i++)
            printf("---|");
        printf("\n");
    }
}

static void share_text(const policy_cell_t *cell, const policy_trace_t *t, char text[32])
{
    char bytes[32];
    double share = 100 * (double)cell->afpa[0].data_length / (double)t->footprint;

    snprintf(text, 32, "%.3g %%, %s", share, bytes_text((double)cell->afpa[0].data_length, bytes));
}

static void afpa_name(const policy_cell_t *cell, unsigned variant, char name[NAME_LENGTH])
{
    if (cell->min_uses[variant] > 1)
        snprintf(name, NAME_LENGTH, "afpa min_uses %u", cell->min_uses[variant]);
    else
        snprintf(name, NAME_LENGTH, "afpa");
}

/* ---- for people ---- */

static void place_line(const policy_cell_t *cell, unsigned variant)
{
    const policy_afpa_t *a = &cell->afpa[variant];
    double percent = 100 / (double)a->data_length;
    char name[NAME_LENGTH];

    afpa_name(cell, variant, name);
    printf("  %s: %.0f objects (of %llu records), %llu evictions, %llu requests declined; in the data section %.1f %% payload, "
           "%.1f %% paths, %.1f %% rounding, free %.1f %% whole chunks, %.1f %% among runs, %.1f %% among slots\n",
           name, a->objects, (unsigned long long)a->records, (unsigned long long)a->evictions, (unsigned long long)a->declined,
           a->payload * percent, a->paths * percent, a->rounding * percent, a->free_chunks * percent, a->free_runs * percent,
           a->free_slots * percent);
}

static void people_row(const char *name, const policy_tally_t *data, const policy_tally_t *held)
{
    printf("  %-*s %8.4f %8.4f", NAME_LENGTH, name, ratio(data->misses, data->requests), ratio(data->missed_bytes, data->bytes));
    if (held)
        printf("   %8.4f %8.4f", ratio(held->misses, held->requests), ratio(held->missed_bytes, held->bytes));
    printf("\n");
}

static void report_people(const policy_trace_t *t, const policy_cell_t *cell)
{
    char size[32], zone[32], name[NAME_LENGTH];

    share_text(cell, t, size);
    printf("\n  %s of payload room, in a zone of %s\n", size, bytes_text((double)cell->afpa[0].zone_size, zone));
    for (unsigned i = 0; i < cell->variants; i++)
        place_line(cell, i);
    printf("  %-*s %-17s   %s\n", NAME_LENGTH, "miss ratios", "of that room", "of what afpa held");
    printf("  %-*s %8s %8s   %8s %8s\n", NAME_LENGTH, "", "objects", "bytes", "objects", "bytes");
    for (unsigned i = 0; i < cell->variants; i++) {
        afpa_name(cell, i, name);
        people_row(name, &cell->afpa[i].tally, NULL);
    }
    for (unsigned i = 0; i < POLICY_BASELINES; i++)
        people_row(policy_baselines[i].name, &cell->data[i], &cell->held[i]);
}

/* ---- Markdown: objects / bytes in a cell; one line at the data section's bytes, one at what afpa held ---- */

static void pair_print(const policy_tally_t *tally)
{
    printf(" %.3f / %.3f |", ratio(tally->misses, tally->requests), ratio(tally->missed_bytes, tally->bytes));
}

static void report_markdown(const policy_trace_t *t, const policy_cell_t *cell)
{
    const policy_afpa_t *a = cell->afpa;
    char size[32], held[32], name[NAME_LENGTH];

    share_text(cell, t, size);
    printf("| %s | %.1f %% |", size, 100 * a->payload / (double)a->data_length);
    pair_print(&a->tally);
    for (unsigned i = 0; i < POLICY_BASELINES; i++)
        pair_print(&cell->data[i]);
    printf("\n| %s, as held |  |  |", bytes_text(a->payload, held));
    for (unsigned i = 0; i < POLICY_BASELINES; i++)
        pair_print(&cell->held[i]);
    printf("\n");
    for (unsigned v = 1; v < cell->variants; v++) {
        afpa_name(cell, v, name);
        printf("| %s | %.1f %% |", name, 100 * cell->afpa[v].payload / (double)cell->afpa[v].data_length);
        pair_print(&cell->afpa[v].tally);
        for (unsigned i = 0; i < POLICY_BASELINES; i++)
            printf("  |");
        printf("\n");
    }
}

/* ---- CSV ---- */

static void csv_row(const policy_cell_t *cell, const char *policy, const char *at, double capacity, const policy_tally_t *tally)
{
    printf("\"%s\",%.6g,\"%s\",%s,%.0f,%llu,%llu,%llu,%llu\n", cell->trace, cell->share, policy, at, capacity,
           (unsigned long long)tally->requests, (unsigned long long)tally->misses, (unsigned long long)tally->bytes,
           (unsigned long long)tally->missed_bytes);
}

static void report_csv(const policy_cell_t *cell)
{
    static bool begun;
    double data = (double)cell->afpa[0].data_length, held = cell->afpa[0].payload;
    char name[NAME_LENGTH];

    if (!begun)
        printf("trace,share,policy,at,capacity,requests,misses,bytes,missed_bytes\n");
    begun = true;
    for (unsigned i = 0; i < cell->variants; i++) {
        afpa_name(cell, i, name);
        csv_row(cell, name, "data", data, &cell->afpa[i].tally);
    }
    for (unsigned i = 0; i < POLICY_BASELINES; i++) {
        csv_row(cell, policy_baselines[i].name, "data", data, &cell->data[i]);
        csv_row(cell, policy_baselines[i].name, "held", held, &cell->held[i]);
    }
}

void policy_report_cell(policy_style_t style, const policy_trace_t *trace, const policy_cell_t *cell)
{
    if (style == POLICY_TEXT)
        report_people(trace, cell);
    else if (style == POLICY_MARKDOWN)
        report_markdown(trace, cell);
    else
        report_csv(cell);
    fflush(stdout);
}
