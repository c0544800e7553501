/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary traces: what is made of good ones, and that those cut short anywhere or damaged are refused with file and record.
 */
#include "config.h"

#include "policy_work.h"

/* Whether what could not be read is told of with its file and in these words. */
static void says(const work_t *w, const char *text)
{
    ck_assert_ptr_nonnull(strstr(w->error.text, w->path));
    ck_assert_msg(strstr(w->error.text, text) != NULL, "\"%s\" is not in \"%s\"", text, w->error.text);
    ck_assert_ptr_null(w->trace.requests);
}

/* One of three: the trace is refused for it, or, if that was asked for, read without it. */
static void second_is_bad(work_t *w, const char *why)
{
    ck_assert(!load(w));
    says(w, why);
    w->reading.skip_bad = true;
    ck_assert(load(w));
    ck_assert_uint_eq(w->trace.count, 2);
    ck_assert_uint_eq(w->trace.bad, 1);
}

/* The bytes of a number, little-endian. */
static void number(unsigned char *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

/* ---- oracleGeneral ---- */

static const unsigned char records[] = {
    1,    0,    0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
    0x00, 0x02, 0, 0, 2,    0,    0,    0,    0,    0,    0,    0, /* 512 bytes */
    2,    0,    0, 0, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x03, 0x00, 1, 0, 255,  255,  255,  255,  255,  255,  255,  255, /* 65539 */
    3,    0,    0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
    0x00, 0x02, 0, 0, 255,  255,  255,  255,  255,  255,  255,  255,
};

START_TEST(oracle)
{
    static const uint64_t sizes[] = {512, 65539, 512};
    work_t w;

    begin(&w);
    put(&w, "t.oracleGeneral.bin", records, sizeof(records));
    ck_assert_msg(load(&w), "%s", w.error.text);
    is_sizes(&w.trace, sizes, 3);
    ck_assert_uint_eq(w.trace.objects, 2);
    ck_assert_uint_eq(w.trace.next[0], 2);
    end(&w);
}
END_TEST

START_TEST(oracle_cut_short)
{
    work_t w;

    begin(&w);
    put(&w, "t.oracleGeneral", records, sizeof(records) - 5);
    ck_assert(!load(&w));
    ck_assert_ptr_nonnull(strstr(w.error.text, w.path));
    ck_assert_ptr_nonnull(strstr(w.error.text, "record 3 is cut short: it has 19 of 24 bytes"));
    end(&w);
}
END_TEST

START_TEST(oracle_size_0)
{
    unsigned char bytes[sizeof(records)];
    work_t w;

    begin(&w);
    memcpy(bytes, records, sizeof(bytes));
    bytes[24 + 12] = bytes[24 + 14] = 0;
    put(&w, "t.oracleGeneral", bytes, sizeof(bytes));
    second_is_bad(&w, "record 2: the size is 0");
    end(&w);
}
END_TEST

/* ---- vscsi ---- */

enum { VSCSI_RECORDS = 3 };
static const uint64_t vscsi_keys[VSCSI_RECORDS] = {UINT64_C(0x1122334455667788), 42932745, UINT64_C(0x1122334455667788)};
static const uint32_t vscsi_sizes[VSCSI_RECORDS] = {512, 65536, 512};

/* Of a version: all fields, those that are not looked at with something in them too.  Returns the length. */
static size_t vscsi_make(unsigned version, unsigned char *bytes)
{
    size_t length = version == 1 ? 32 : 40;

    memset(bytes, 0, VSCSI_RECORDS * length);
    for (unsigned i = 0; i < VSCSI_RECORDS; i++) {
        unsigned char *at = bytes + i * length;

        number(at + (version == 1 ? 0 : 4), 0x800000f4 + i, 4); /* serial number */
        number(at + (version == 1 ? 4 : 8), vscsi_sizes[i], 4);
        number(at + (version == 1 ? 8 : 12), 1 + i, 4);           /* parts */
        number(at + (version == 1 ? 12 : 0), i ? 0x2a : 0x28, 2); /* command */
        number(at + (version == 1 ? 14 : 2), version << 8 | (i & 1), 2);
        number(at + 16, vscsi_keys[i], 8);
        number(at + 24, UINT64_C(5633898000000) + i, 8);
        if (version == 2)
            number(at + 32, 77, 8);
    }
    return VSCSI_RECORDS * length;
}

START_TEST(vscsi)
{
    static const uint64_t sizes[] = {512, 65536, 512};
    unsigned char bytes[256];
    work_t w;

    begin(&w);
    put(&w, "t.vscsi", bytes, vscsi_make((unsigned)_i, bytes));
    ck_assert_msg(load(&w), "%s", w.error.text);
    is_sizes(&w.trace, sizes, VSCSI_RECORDS);
    ck_assert_uint_eq(w.trace.objects, 2);
    ck_assert_uint_eq(w.trace.next[0], 2);
    end(&w);
}
END_TEST

/* At any byte: whole records are a trace, anything else is not. */
START_TEST(vscsi_cut_short)
{
    unsigned char bytes[256];
    size_t whole = vscsi_make((unsigned)_i, bytes), each = whole / VSCSI_RECORDS;

    for (size_t length = 0; length < whole; length++) {
        work_t w;

        begin(&w);
        put(&w, "t.vscsi", bytes, length);
        if (length > 0 && length % each == 0) {
            ck_assert_msg(load(&w), "%s", w.error.text);
            ck_assert_uint_eq(w.trace.count, length / each);
        } else {
            ck_assert_msg(!load(&w), "%zu bytes", length);
            says(&w, length ? "is cut short" : "has no request");
        }
        end(&w);
    }
}
END_TEST

START_TEST(vscsi_of_another_version)
{
    unsigned char bytes[256];
    size_t length = vscsi_make((unsigned)_i, bytes);
    work_t w;

    begin(&w);
    bytes[length / VSCSI_RECORDS + (_i == 1 ? 15 : 3)] = 3;
    put(&w, "t.vscsi", bytes, length);
    second_is_bad(&w, "record 2: is of another version than the first");
    end(&w);
}
END_TEST

/* A byte too many or too few in the middle: no record behind it is where it should be. */
START_TEST(vscsi_out_of_step)
{
    unsigned char bytes[256];
    size_t length = vscsi_make((unsigned)_i, bytes), each = length / VSCSI_RECORDS;
    work_t w;

    begin(&w);
    memmove(bytes + each, bytes + each + 1, length - each - 1);
    put(&w, "t.vscsi", bytes, length - 1);
    ck_assert(!load(&w));
    says(&w, "record 2: is of another version than the first");
    end(&w);
}
END_TEST

START_TEST(vscsi_size_0)
{
    unsigned char bytes[256];
    size_t length = vscsi_make((unsigned)_i, bytes);
    work_t w;

    begin(&w);
    number(bytes + 2 * length / VSCSI_RECORDS + (_i == 1 ? 4 : 8), 0, 4);
    put(&w, "t.vscsi", bytes, length);
    ck_assert(!load(&w));
    says(&w, "record 3: the size is 0");
    end(&w);
}
END_TEST

START_TEST(no_vscsi)
{
    work_t w;

    begin(&w);
    put(&w, "t.vscsi", "time,key,size\n1,a,100\n2,b,200\n3,c,300\n", 41);
    ck_assert(!load(&w));
    says(&w, "is no vscsi trace");
    end(&w);
}
END_TEST

/* ---- lcs ---- */

enum { LCS_HEADER = 8192, LCS_RECORDS = 3 };
static const unsigned lcs_lengths[] = {0, 24, 28, 36, 40, 44, 52, 68, 100};

/* A whole trace; `bytes` has room for LCS_HEADER + LCS_RECORDS * 100.  Returns its length. */
static size_t lcs_make(unsigned version, unsigned char *bytes)
{
    static const uint64_t sizes[LCS_RECORDS] = {512, 65539, 512};
    unsigned each = lcs_lengths[version];

    memset(bytes, 0, LCS_HEADER);
    memset(bytes + LCS_HEADER, 0xee, LCS_RECORDS * each);
    number(bytes, UINT64_C(0x123456789abcdef0), 8);
    number(bytes + 8, version, 8);
    number(bytes + 24, LCS_RECORDS, 8);
    number(bytes + LCS_HEADER - 8, UINT64_C(0x123456789abcdef0), 8);
    for (unsigned i = 0; i < LCS_RECORDS; i++) {
        unsigned char *at = bytes + LCS_HEADER + i * each;

        number(at, i + 1, 4);
        number(at + 4, i == 1 ? 7 : UINT64_C(0x1122334455667788), 8);
        number(at + 12, sizes[i], version < 3 ? 4 : 8);
    }
    return LCS_HEADER + LCS_RECORDS * each;
}

typedef struct lcs {
    work_t w;
    unsigned char bytes[LCS_HEADER + LCS_RECORDS * 100];
    size_t length;
} lcs_t;

static void lcs_begin(lcs_t *t, unsigned version)
{
    begin(&t->w);
    t->length = lcs_make(version, t->bytes);
}

static void lcs_refused(lcs_t *t, const char *text)
{
    put(&t->w, "t.lcs", t->bytes, t->length);
    ck_assert(!load(&t->w));
    says(&t->w, text);
}

START_TEST(lcs)
{
    static const uint64_t sizes[] = {512, 65539, 512};
    lcs_t t;

    lcs_begin(&t, (unsigned)_i);
    put(&t.w, "t.lcs", t.bytes, t.length);
    ck_assert_msg(load(&t.w), "%s", t.w.error.text);
    is_sizes(&t.w.trace, sizes, LCS_RECORDS);
    ck_assert_uint_eq(t.w.trace.objects, 2);
    end(&t.w);
}
END_TEST

/* The header says how many there are, so a trace cut between two records shows too. */
START_TEST(lcs_cut_short)
{
    unsigned each = lcs_lengths[_i];
    lcs_t t;

    lcs_begin(&t, (unsigned)_i);
    end(&t.w);
    for (size_t length = LCS_HEADER; length < LCS_HEADER + LCS_RECORDS * each; length++) {
        lcs_begin(&t, (unsigned)_i);
        t.length = length;
        lcs_refused(&t, (length - LCS_HEADER) % each ? "is cut short" : "of the 3 records that its header tells of");
        end(&t.w);
    }
}
END_TEST

/* Only a part is asked for: then nothing is missing. */
START_TEST(lcs_limit)
{
    lcs_t t;

    lcs_begin(&t, 1);
    t.w.reading.limit = 2;
    put(&t.w, "t.lcs", t.bytes, t.length - 24);
    ck_assert_msg(load(&t.w), "%s", t.w.error.text);
    ck_assert_uint_eq(t.w.trace.count, 2);
    end(&t.w);
}
END_TEST

/* Writers that counted nothing left a 0. */
START_TEST(lcs_without_count)
{
    lcs_t t;

    lcs_begin(&t, 2);
    number(t.bytes + 24, 0, 8);
    put(&t.w, "t.lcs", t.bytes, t.length);
    ck_assert_msg(load(&t.w), "%s", t.w.error.text);
    ck_assert_uint_eq(t.w.trace.count, LCS_RECORDS);
    end(&t.w);
}
END_TEST

static const struct {
    const char *says;
    size_t at;
    uint64_t value;
    size_t length; /* 0: the whole */
} bad_headers[] = {
    {"does not begin as one", 0, UINT64_C(0x123456789abcdef1), 0},
    {"does not begin as one", 0, UINT64_C(0x123456789abcdef0), 15},
    {"does not begin as one", 0, UINT64_C(0x123456789abcdef0), 1},
    {"the header is cut short: it has 1024 of 8192 bytes", 16, 0, 1024},
    {"the header is cut short: it has 8191 of 8192 bytes", 16, 0, 8191},
    {"version 0", 8, 0, 0},
    {"version 9", 8, 9, 0},
    {"version 4294967297", 8, UINT64_C(4294967297), 0},
    {"of the first kind", 8, UINT64_C(0x514951493c), 0}, /* "<IQIQ" */
    {"the header is damaged", LCS_HEADER - 8, 0, 0},
    {"the header is damaged", 24, UINT64_MAX, 0},
    {"ends after 3 of the 4 records", 24, 4, 0},
};

START_TEST(lcs_bad_header)
{
    lcs_t t;

    lcs_begin(&t, 1);
    number(t.bytes + bad_headers[_i].at, bad_headers[_i].value, 8);
    if (bad_headers[_i].length)
        t.length = bad_headers[_i].length;
    lcs_refused(&t, bad_headers[_i].says);
    end(&t.w);
}
END_TEST

/* A size of 64 bits that no file has, or that is negative. */
START_TEST(lcs_bad_size)
{
    static const uint64_t sizes[] = {(UINT64_C(1) << 40) + 1, UINT64_MAX, 0};
    lcs_t t;

    lcs_begin(&t, 3);
    number(t.bytes + LCS_HEADER + 36 + 12, sizes[_i], 8);
    lcs_refused(&t, sizes[_i] ? "record 2: the size is more than a file can have" : "record 2: the size is 0");
    end(&t.w);
}
END_TEST

static void add_loop(Suite *suite, const char *name, const TTest *test, int from, int to)
{
    TCase *tc = tcase_create(name);

    tcase_add_loop_test(tc, test, from, to);
    suite_add_tcase(suite, tc);
}

int main(void)
{
    Suite *suite = suite_create("policy_records");

    check_add(suite, "oracle", oracle);
    check_add(suite, "oracle_cut_short", oracle_cut_short);
    check_add(suite, "oracle_size_0", oracle_size_0);
    add_loop(suite, "vscsi", vscsi, 1, 3);
    add_loop(suite, "vscsi_cut_short", vscsi_cut_short, 1, 3);
    add_loop(suite, "vscsi_of_another_version", vscsi_of_another_version, 1, 3);
    add_loop(suite, "vscsi_out_of_step", vscsi_out_of_step, 1, 3);
    add_loop(suite, "vscsi_size_0", vscsi_size_0, 1, 3);
    check_add(suite, "no_vscsi", no_vscsi);
    add_loop(suite, "lcs", lcs, 1, 9);
    add_loop(suite, "lcs_cut_short", lcs_cut_short, 1, 9);
    check_add(suite, "lcs_limit", lcs_limit);
    check_add(suite, "lcs_without_count", lcs_without_count);
    add_loop(suite, "lcs_bad_header", lcs_bad_header, 0, (int)CHECK_COUNT(bad_headers));
    add_loop(suite, "lcs_bad_size", lcs_bad_size, 0, 3);
    return check_main(suite);
}
