/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of options: each row as documentation and scripts know it, each default a value its own reader takes; and the readers
 * of sizes and times, with every unit, to the last number that fits.
 */
#include "config.h"

#include <afpa/options.h>
#include <afpa/zone.h>

#include "check_main.h"

#define KB UINT64_C(1024)

/* ---- rows ---- */

static const struct {
    afpa_option_t option;
    const char *name, *fallback, *nginx, *httpd;
    afpa_option_type_t type;
    uint64_t number; /* the default */
} rows[] = {
    {AFPA_OPTION_CHUNK, "chunk", "64k", "afpa_zone", "AfpaZone", AFPA_TYPE_SIZE, 65536},
    {AFPA_OPTION_MLOCK, "mlock", "try", "afpa_zone", "AfpaZone", AFPA_TYPE_MODE, 0},
    {AFPA_OPTION_REVALIDATE, "revalidate", "1s", "afpa_revalidate", "AfpaRevalidationTimeout", AFPA_TYPE_TIME, 1000},
    {AFPA_OPTION_MIN_SIZE, "min_size", "0", "afpa_min_size", "AfpaMinCache", AFPA_TYPE_SIZE, 0},
    {AFPA_OPTION_MAX_SIZE, "max_size", "64m", "afpa_max_size", "AfpaMaxCache", AFPA_TYPE_SIZE, 64 * KB *KB},
    {AFPA_OPTION_MIN_USES, "min_uses", "1", "afpa_min_uses", "AfpaMinUses", AFPA_TYPE_COUNT, 1},
    {AFPA_OPTION_ZEROCOPY, "zerocopy", "32k", "afpa_zerocopy", "AfpaZeroCopy", AFPA_TYPE_SIZE, 32 * KB},
};

START_TEST(row)
{
    const afpa_option_row_t *r = afpa_option_row(rows[_i].option);

    ck_assert_ptr_nonnull(r);
    ck_assert_str_eq(r->name, rows[_i].name);
    ck_assert_str_eq(r->fallback, rows[_i].fallback);
    ck_assert_str_eq(r->nginx, rows[_i].nginx);
    ck_assert_str_eq(r->httpd, rows[_i].httpd);
    ck_assert_int_eq(r->type, rows[_i].type);
    ck_assert_uint_gt(strlen(r->help), 10);
    ck_assert_uint_eq(afpa_option_default(rows[_i].option), rows[_i].number);
}
END_TEST

START_TEST(rows_are_all)
{
    ck_assert_uint_eq(CHECK_COUNT(rows), AFPA_OPTION_LIMIT);
    for (size_t i = 0; i < CHECK_COUNT(rows); i++)
        ck_assert_int_eq((int)rows[i].option, (int)i);
    ck_assert_ptr_null(afpa_option_row(AFPA_OPTION_LIMIT));
    ck_assert_ptr_null(afpa_option_row((afpa_option_t)-1));
    ck_assert_uint_eq(afpa_option_default(AFPA_OPTION_LIMIT), 0);
}
END_TEST

START_TEST(policy)
{
    afpa_policy_t p;

    memset(&p, 0xff, sizeof(p));
    afpa_policy_init(&p);
    ck_assert_uint_eq(p.min_size, 0);
    ck_assert_uint_eq(p.max_size, 64 * KB * KB);
    ck_assert_uint_eq(p.revalidate_ms, 1000);
    ck_assert_uint_eq(p.min_uses, 1);
    ck_assert(!p.no_evict);
}
END_TEST

/* What the rows of a zone say is what a zone takes when nothing is said. */
START_TEST(zone_defaults)
{
    afpa_zone_options_t init, said;
    afpa_error_t error;
    char text[64];

    afpa_zone_options_init(&init);
    afpa_zone_options_init(&said);
    said.chunk_size = 1;
    said.mlock = AFPA_MLOCK_OFF;
    for (int i = AFPA_OPTION_CHUNK; i <= AFPA_OPTION_MLOCK; i++) {
        const afpa_option_row_t *r = afpa_option_row((afpa_option_t)i);

        snprintf(text, sizeof(text), "%s=%s", rows[i].name, r->fallback);
        ck_assert_msg(afpa_zone_options_parse(&said, text, &error) == AFPA_OK, "%s", error.text);
    }
    ck_assert_uint_eq(said.chunk_size, init.chunk_size);
    ck_assert_int_eq(said.mlock, init.mlock);
}
END_TEST

/* ---- sizes and times ---- */

typedef struct value_case {
    const char *text;
    uint64_t value;
} value_case_t;

static const value_case_t sizes[] = {
    {"0", 0},
    {"1", 1},
    {"4096", 4096},
    {"007", 7},
    {"64k", 65536},
    {"64K", 65536},
    {"20m", 20 * KB *KB},
    {"20M", 20 * KB *KB},
    {"1g", KB *KB *KB},
    {"3G", 3 * KB *KB *KB},
    {"0g", 0},
    {"18446744073709551615", UINT64_MAX},
    {"18014398509481983k", UINT64_MAX - 1023},
    {"17592186044415m", UINT64_MAX - KB *KB + 1},
    {"17179869183g", UINT64_MAX - KB *KB *KB + 1},
};

static const value_case_t times[] = {
    {"0", 0},
    {"1", 1000},
    {"1s", 1000},
    {"1S", 1000},
    {"250ms", 250},
    {"250MS", 250},
    {"0ms", 0},
    {"5m", 300000},
    {"5M", 300000},
    {"1h", 3600000},
    {"24H", 86400000},
    {"18446744073709551615ms", UINT64_MAX},
    {"18446744073709551", UINT64_MAX - 615},
    {"18446744073709551s", UINT64_MAX - 615},
    {"307445734561825m", UINT64_MAX - 51615},
    {"5124095576030h", UINT64_MAX - 1551615},
};

/* In memory of just that length, so that a sanitizer sees a read beyond it. */
static afpa_status_t exact(afpa_status_t (*parse)(const char *, size_t, uint64_t *), const char *text, size_t len, uint64_t *value)
{
    char *copy = malloc(len ? len : 1);
    afpa_status_t status;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len);
    status = parse(copy, len, value);
    free(copy);
    return status;
}

START_TEST(size)
{
    uint64_t value = 99;

    ck_assert_msg(exact(afpa_parse_size, sizes[_i].text, strlen(sizes[_i].text), &value) == AFPA_OK, "%s", sizes[_i].text);
    ck_assert_uint_eq(value, sizes[_i].value);
}
END_TEST

START_TEST(duration)
{
    uint64_t value = 99;

    ck_assert_msg(exact(afpa_parse_time, times[_i].text, strlen(times[_i].text), &value) == AFPA_OK, "%s", times[_i].text);
    ck_assert_uint_eq(value, times[_i].value);
}
END_TEST

static const char *const no_sizes[] = {
    "",
    " ",
    "k",
    "m",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1 k",
    "1kb",
    "1ki",
    "1b",
    "1t",
    "1.5m",
    "0x10",
    "1e3",
    "k1",
    "1k1",
    "1kk",
    "ten",
    "1,",
    "1\n",
    "-",
    "1\xff",
    "1s",
    "1ms",
    "1h",
    "٣",
    "1_000",
    "1/2",
    "18446744073709551616",
    "18446744073709551620",
    "99999999999999999999999999",
    "18014398509481984k",
    "17592186044416m",
    "17179869184g",
    "36893488147419103232k",
};

static const char *const no_times[] = {
    "",
    " ",
    "s",
    "ms",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1 s",
    "1sec",
    "1min",
    "1d",
    "1w",
    "1y",
    "1us",
    "1.5s",
    "1k",
    "1g",
    "1mss",
    "1sm",
    "1hs",
    "m5",
    "0x1s",
    "18446744073709551616ms",
    "18446744073709552",
    "18446744073709552s",
    "307445734561826m",
    "5124095576031h",
};

START_TEST(no_size)
{
    uint64_t value = 99;

    ck_assert_msg(exact(afpa_parse_size, no_sizes[_i], strlen(no_sizes[_i]), &value) == AFPA_INVALID, "\"%s\"", no_sizes[_i]);
    ck_assert_uint_eq(value, 99);
}
END_TEST

START_TEST(no_time)
{
    uint64_t value = 99;

    ck_assert_msg(exact(afpa_parse_time, no_times[_i], strlen(no_times[_i]), &value) == AFPA_INVALID, "\"%s\"", no_times[_i]);
    ck_assert_uint_eq(value, 99);
}
END_TEST

/* Only the bytes given count: servers hand over parts of a line. */
START_TEST(part_of_a_text)
{
    uint64_t value;

    ck_assert_int_eq(exact(afpa_parse_size, "12k garbage", 3, &value), AFPA_OK);
    ck_assert_uint_eq(value, 12 * KB);
    ck_assert_int_eq(exact(afpa_parse_size, "12k", 2, &value), AFPA_OK);
    ck_assert_uint_eq(value, 12);
    ck_assert_int_eq(exact(afpa_parse_time, "15ms", 3, &value), AFPA_OK);
    ck_assert_uint_eq(value, 15 * 60000);
    ck_assert_int_eq(exact(afpa_parse_size, "12k", 0, &value), AFPA_INVALID);
    ck_assert_int_eq(exact(afpa_parse_size, "1\0k", 3, &value), AFPA_INVALID);
    ck_assert_int_eq(exact(afpa_parse_size, "1k\0", 3, &value), AFPA_INVALID);
    ck_assert_int_eq(exact(afpa_parse_time, "1m\0", 3, &value), AFPA_INVALID);
    ck_assert_int_eq(exact(afpa_parse_time, "1s\0", 3, &value), AFPA_INVALID);
}
END_TEST

/* ---- parameters of a zone ---- */

static const struct {
    const char *text, *says;
} bad_parameters[] = {
    {"", "unknown parameter \"\" (path=FILE, chunk=SIZE and mlock=try|require|off are known)"},
    {"size=1m", "unknown parameter \"size=1m\" (path=FILE, chunk=SIZE and mlock=try|require|off are known)"},
    {"chunk", "unknown parameter \"chunk\" (path=FILE, chunk=SIZE and mlock=try|require|off are known)"},
    {"Chunk=64k", "unknown parameter \"Chunk=64k\" (path=FILE, chunk=SIZE and mlock=try|require|off are known)"},
    {" chunk=64k", "unknown parameter \" chunk=64k\" (path=FILE, chunk=SIZE and mlock=try|require|off are known)"},
    {"chunk=", "\"chunk=\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=0", "\"chunk=0\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=32k", "\"chunk=32k\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=65535", "\"chunk=65535\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=65537", "\"chunk=65537\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=96k", "\"chunk=96k\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=2m", "\"chunk=2m\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=4295032832", "\"chunk=4295032832\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=18446744073709551616", "\"chunk=18446744073709551616\": the chunk size must be a power of two from 64k to 1m"},
    {"chunk=64s", "\"chunk=64s\": the chunk size must be a power of two from 64k to 1m"},
    {"mlock=", "\"mlock=\": mlock is one of try, require, off"},
    {"mlock=on", "\"mlock=on\": mlock is one of try, require, off"},
    {"mlock=Try", "\"mlock=Try\": mlock is one of try, require, off"},
    {"mlock=offf", "\"mlock=offf\": mlock is one of try, require, off"},
    {"path=", "\"path=\": the path of a zone must be absolute"},
    {"path=afpa-x", "\"path=afpa-x\": the path of a zone must be absolute"},
    {"path=./x", "\"path=./x\": the path of a zone must be absolute"},
};

START_TEST(bad_parameter)
{
    afpa_zone_options_t before, after;
    afpa_error_t error = {.text = ""};

    afpa_zone_options_init(&before);
    afpa_zone_options_init(&after);
    ck_assert_int_eq(afpa_zone_options_parse(&after, bad_parameters[_i].text, &error), AFPA_INVALID);
    ck_assert_str_eq(error.text, bad_parameters[_i].says);
    ck_assert(after.chunk_size == before.chunk_size && after.mlock == before.mlock && after.path == NULL);
}
END_TEST

START_TEST(good_parameters)
{
    static const char path[] = "path=/dev/shm/x=y";
    afpa_zone_options_t o;
    afpa_error_t error;

    afpa_zone_options_init(&o);
    ck_assert(o.name == NULL && o.path == NULL && o.size == 0 && o.chunk_size == 65536 && o.mlock == AFPA_MLOCK_TRY);
    ck_assert(o.uid == (uid_t)-1 && o.gid == (gid_t)-1);
    ck_assert_int_eq(afpa_zone_options_parse(&o, path, &error), AFPA_OK);
    ck_assert_ptr_eq(o.path, path + 5);
    ck_assert_int_eq(afpa_zone_options_parse(&o, "chunk=1M", &error), AFPA_OK);
    ck_assert_uint_eq(o.chunk_size, 1048576);
    ck_assert_int_eq(afpa_zone_options_parse(&o, "chunk=131072", &error), AFPA_OK);
    ck_assert_uint_eq(o.chunk_size, 131072);
    ck_assert_int_eq(afpa_zone_options_parse(&o, "mlock=require", &error), AFPA_OK);
    ck_assert_int_eq(o.mlock, AFPA_MLOCK_REQUIRE);
    ck_assert_int_eq(afpa_zone_options_parse(&o, "mlock=off", &error), AFPA_OK);
    ck_assert_int_eq(o.mlock, AFPA_MLOCK_OFF);
    ck_assert_int_eq(afpa_zone_options_parse(&o, "mlock=try", &error), AFPA_OK);
    ck_assert_int_eq(o.mlock, AFPA_MLOCK_TRY);
}
END_TEST

/* However long a mistake is, the message is one line and ends. */
START_TEST(long_mistake)
{
    afpa_zone_options_t o;
    afpa_error_t error;
    char text[2000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    afpa_zone_options_init(&o);
    ck_assert_int_eq(afpa_zone_options_parse(&o, text, &error), AFPA_INVALID);
    ck_assert_uint_eq(strlen(error.text), sizeof(error.text) - 1);
    ck_assert_ptr_null(strchr(error.text, '\n'));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");

    check_add_loop(suite, "row", row, CHECK_COUNT(rows));
    check_add(suite, "rows_are_all", rows_are_all);
    check_add(suite, "policy", policy);
    check_add(suite, "zone_defaults", zone_defaults);
    check_add_loop(suite, "size", size, CHECK_COUNT(sizes));
    check_add_loop(suite, "duration", duration, CHECK_COUNT(times));
    check_add_loop(suite, "no_size", no_size, CHECK_COUNT(no_sizes));
    check_add_loop(suite, "no_time", no_time, CHECK_COUNT(no_times));
    check_add(suite, "part_of_a_text", part_of_a_text);
    check_add_loop(suite, "bad_parameter", bad_parameter, CHECK_COUNT(bad_parameters));
    check_add(suite, "good_parameters", good_parameters);
    check_add(suite, "long_mistake", long_mistake);
    return check_main(suite);
}
