/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces as text: what is made of good ones, and that bad ones are refused with file and place.
 */
#include "config.h"

#include "policy_work.h"

START_TEST(csv)
{
    static const uint64_t sizes[] = {100, 20, 100, 3};
    work_t w;

    begin(&w);
    good(&w, "t.csv", "1,a,100\n2.5,b,20\n3,a,100\n\n4,c,3");
    is_sizes(&w.trace, sizes, 4);
    ck_assert_uint_eq(w.trace.objects, 3);
    ck_assert_uint_eq(w.trace.footprint, 123);
    ck_assert_uint_eq(w.trace.bytes, 223);
    ck_assert_uint_eq(w.trace.next[0], 2);
    ck_assert_uint_eq(w.trace.next[1], POLICY_NEVER);
    ck_assert_uint_eq(w.trace.next[2], POLICY_NEVER);
    end(&w);
}
END_TEST

START_TEST(csv_header_and_line_ends)
{
    static const uint64_t sizes[] = {7, 8};
    work_t w;

    begin(&w);
    good(&w, "t.csv", "time,key,size\r\n1,a,7\r\n1,b,8\r\n");
    is_sizes(&w.trace, sizes, 2);
    end(&w);
}
END_TEST

START_TEST(csv_columns)
{
    static const uint64_t sizes[] = {512, 1024};
    work_t w;

    begin(&w);
    w.reading.delimiter = '\t';
    w.reading.time_column = 2;
    w.reading.key_column = 5;
    w.reading.size_column = 4;
    good(&w, "t.csv", "version\ttime\top\tsize\tlbn\n1\t5633898\t2a\t512\t42\n1\t5633899\t2a\t1024\t43\n");
    is_sizes(&w.trace, sizes, 2);
    ck_assert_uint_eq(w.trace.objects, 2);
    end(&w);
}
END_TEST

START_TEST(csv_without_time_and_size)
{
    static const uint64_t sizes[] = {4096, 4096};
    work_t w;

    begin(&w);
    w.reading.time_column = w.reading.size_column = 0;
    w.reading.key_column = 1;
    good(&w, "t.csv", "x\ny\n");
    is_sizes(&w.trace, sizes, 2);
    end(&w);
}
END_TEST

START_TEST(txt)
{
    static const uint64_t sizes[] = {512, 512, 512};
    work_t w;

    begin(&w);
    w.reading.unit = 512;
    good(&w, "t.txt", "42932745\n42932746\n42932745\n");
    is_sizes(&w.trace, sizes, 3);
    ck_assert_uint_eq(w.trace.objects, 2);
    end(&w);
}
END_TEST

/* One key is one file, as large as its largest request. */
START_TEST(sizes_that_change)
{
    static const uint64_t sizes[] = {30, 30, 30, 5, 30};
    work_t w;

    begin(&w);
    good(&w, "t.csv", "1,a,10\n2,a,30\n3,a,20\n4,b,5\n5,a,30\n");
    is_sizes(&w.trace, sizes, 5);
    ck_assert_uint_eq(w.trace.resized, 2);
    ck_assert_uint_eq(w.trace.footprint, 35);
    end(&w);
}
END_TEST

START_TEST(limit)
{
    work_t w;

    begin(&w);
    w.reading.limit = 2;
    good(&w, "t.csv", "1,a,10\n2,b,30\nthis is not read\n");
    ck_assert_uint_eq(w.trace.count, 2);
    end(&w);
}
END_TEST

/* A sample takes keys, not requests: all requests for a key, or none. */
START_TEST(sample)
{
    enum { KEYS = 2000 };
    char *text = malloc(KEYS * 2 * 32), *at = text;
    work_t w;

    for (int round = 0; round < 2; round++)
        for (int key = 0; key < KEYS; key++)
            at += sprintf(at, "1,%d,10\n", key);
    begin(&w);
    w.reading.sample = 0.25;
    good(&w, "t.csv", text);
    free(text);
    ck_assert_uint_eq(w.trace.count, w.trace.objects * 2);
    ck_assert_uint_eq(w.trace.count + w.trace.unsampled, KEYS * 2);
    ck_assert_uint_gt(w.trace.objects, KEYS / 5);
    ck_assert_uint_lt(w.trace.objects, KEYS * 3 / 10);
    end(&w);
}
END_TEST

/* ---- what is refused ---- */

static const struct {
    const char *text, *says;
    size_t length; /* 0: up to its NUL */
} bad_cases[] = {
    {"1,a,10\n2,b,x\n", "line 2: the size is no number: \"x\"", 0},
    {"1,a,10\n2,b,-5\n", "line 2: the size is no number: \"-5\"", 0},
    {"1,a,10\n2,b,1e3\n", "line 2: the size is no number: \"1e3\"", 0},
    {"1,a,10\n2,b,\n", "line 2: the size is no number: \"\"", 0},
    {"1,a,10\nnoon,b,5\n", "line 2: the time is no number: \"noon\"", 0},
    {"time,key,size\ntime,key,size\n", "line 2: the time is no number", 0},
    {"1,a,0\n", "line 1: the size is 0", 0},
    {"1,a,1099511627777\n", "line 1: the size is more than a file can have: \"1099511627777\"", 0},
    {"1,a,99999999999999999999999\n", "line 1: the size is more than a file can have", 0},
    {"1,a,10\n\n2,b\n", "line 3: has too few fields: \"2,b\"", 0},
    {"1,,10\n", "line 1: has no key", 0},
    {"1,a,10\n2,b\0c,10\n", "line 2: has a NUL byte", 17},
    {"", "has no request", 0},
    {"time,key,size\n", "has no request", 0},
};

START_TEST(bad)
{
    const char *text = bad_cases[_i].text;
    work_t w;

    begin(&w);
    put(&w, "t.csv", text, bad_cases[_i].length ? bad_cases[_i].length : strlen(text));
    ck_assert(!load(&w));
    ck_assert_ptr_nonnull(strstr(w.error.text, w.path));
    ck_assert_msg(strstr(w.error.text, bad_cases[_i].says) != NULL, "\"%s\" is not in \"%s\"", bad_cases[_i].says, w.error.text);
    ck_assert_ptr_null(w.trace.requests);
    end(&w);
}
END_TEST

START_TEST(skip_bad)
{
    static const uint64_t sizes[] = {10, 7};
    work_t w;

    begin(&w);
    w.reading.skip_bad = true;
    good(&w, "t.csv", "1,a,10\n2,b,x\n3,c\n4,d,0\n5,e,7\n");
    is_sizes(&w.trace, sizes, 2);
    ck_assert_uint_eq(w.trace.bad, 3);
    end(&w);
}
END_TEST

START_TEST(no_file)
{
    work_t w;

    begin(&w);
    snprintf(w.path, sizeof(w.path), "%s/none.csv", w.dir);
    ck_assert(!load(&w));
    ck_assert_ptr_nonnull(strstr(w.error.text, "none.csv: No such file"));
    end(&w);
}
END_TEST

START_TEST(unknown_format)
{
    work_t w;

    begin(&w);
    put(&w, "trace", "1\n", 2);
    ck_assert(!load(&w));
    ck_assert_ptr_nonnull(strstr(w.error.text, "--format"));
    end(&w);
}
END_TEST

/* ---- compressed ---- */

START_TEST(compressed)
{
    static const uint64_t sizes[] = {5, 6};
    char command[512];
    work_t w;

    begin(&w);
    put(&w, "t'.csv", "1,a,5\n2,b,6\n", 12);
    snprintf(command, sizeof(command), "gzip \"%s\"", w.path);
    ck_assert_int_eq(system(command), 0);
    strcat(w.path, ".gz");
    ck_assert_msg(load(&w), "%s", w.error.text);
    is_sizes(&w.trace, sizes, 2);
    end(&w);
}
END_TEST

/* A trace that cannot be decompressed to its end is no shorter trace. */
START_TEST(compressed_damaged)
{
    unsigned char bytes[200];
    char command[512];
    size_t length;
    FILE *file;
    work_t w;

    begin(&w);
    put(&w, "t.csv", "1,a,5\n2,b,6\n", 12);
    snprintf(command, sizeof(command), "gzip \"%s\"", w.path);
    ck_assert_int_eq(system(command), 0);
    strcat(w.path, ".gz");
    file = fopen(w.path, "re");
    ck_assert_ptr_nonnull(file);
    length = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    put(&w, "t.csv.gz", bytes, length - 6);
    ck_assert(!load(&w));
    ck_assert_ptr_nonnull(strstr(w.error.text, "gzip -dc failed"));
    end(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy_trace");
    TCase *tc = tcase_create("bad");

    check_add(suite, "csv", csv);
    check_add(suite, "csv_header_and_line_ends", csv_header_and_line_ends);
    check_add(suite, "csv_columns", csv_columns);
    check_add(suite, "csv_without_time_and_size", csv_without_time_and_size);
    check_add(suite, "txt", txt);
    check_add(suite, "sizes_that_change", sizes_that_change);
    check_add(suite, "limit", limit);
    check_add(suite, "sample", sample);
    tcase_add_loop_test(tc, bad, 0, (int)CHECK_COUNT(bad_cases));
    suite_add_tcase(suite, tc);
    check_add(suite, "skip_bad", skip_bad);
    check_add(suite, "no_file", no_file);
    check_add(suite, "unknown_format", unknown_format);
    check_add(suite, "compressed", compressed);
    check_add(suite, "compressed_damaged", compressed_damaged);
    return check_main(suite);
}
