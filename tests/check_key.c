/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys: which paths may be one, that the hash is of exactly the bytes given and of the segment's seed, that a bucket belongs to
 * one shard, and that names as files have them spread evenly.
 */
#include "config.h"

#include "check_main.h"
#include "key.h"

static char long_path[AFPA_PATH_MAX + 1];

static const struct {
    const char *label, *path;
    size_t len;
    bool valid;
} valid_cases[] = {
    {"nothing", "", 0, false},
    {"nothing of something", "/a", 0, false},
    {"root", "/", 1, true},
    {"a file", "/a", 2, true},
    {"relative", "a", 1, false},
    {"relative, dot", "./a", 3, false},
    {"blank first", " /a", 3, false},
    {"any byte but NUL", "/\x01\xff\n %?", 7, true},
    {"NUL first", "\0/a", 3, false},
    {"NUL within", "/a\0b", 4, false},
    {"NUL last", "/a", 3, false},
    {"NUL behind", "/a", 2, true},
    {"longest", long_path, AFPA_PATH_MAX - 1, true},
    {"one too long", long_path, AFPA_PATH_MAX, false},
    {"far too long", long_path, SIZE_MAX, false},
};

START_TEST(valid)
{
    memset(long_path, '/', sizeof(long_path));
    ck_assert_msg(afpa__key_valid(valid_cases[_i].path, valid_cases[_i].len) == valid_cases[_i].valid, "%s", valid_cases[_i].label);
}
END_TEST

static uint64_t hash_seeded(uint64_t seed, const char *path, size_t len)
{
    afpa__header_shared_t header = {.seed = seed};
    afpa__segment_t segment = {.header = &header};

    return afpa__key_hash(&segment, path, len);
}

START_TEST(hash_of_the_bytes)
{
    char copy[] = "xx/var/www/index.html";
    uint64_t hash = hash_seeded(1, "/var/www/index.html", 19);

    ck_assert(hash == hash_seeded(1, copy + 2, 19));                 /* wherever they lie */
    ck_assert(hash == hash_seeded(1, "/var/www/index.html.gz", 19)); /* and whatever comes after them */
    ck_assert(hash != hash_seeded(1, "/var/www/index.html", 18));
    ck_assert(hash != hash_seeded(1, "/var/www/Index.html", 19));
    ck_assert(hash != hash_seeded(1, "/var//www/index.html", 20));
}
END_TEST

/* Nobody who does not know the seed can aim at a bucket. */
START_TEST(hash_of_the_seed)
{
    unsigned same = 0;

    for (uint64_t seed = 0; seed < 1000; seed++)
        same += (hash_seeded(seed, "/a", 2) & 0xfff) == (hash_seeded(seed, "/b", 2) & 0xfff);
    ck_assert_uint_lt(same, 10);
    ck_assert(hash_seeded(1, "/a", 2) != hash_seeded(2, "/a", 2));
}
END_TEST

/* Each bit of a path changes about half of the bits of the hash. */
START_TEST(hash_of_every_bit)
{
    char path[64];
    uint64_t hash;

    memset(path, 'x', sizeof(path));
    hash = hash_seeded(5, path, sizeof(path));
    for (unsigned bit = 0; bit < sizeof(path) * 8; bit++) {
        int changed;

        path[bit / 8] ^= (char)(1 << bit % 8);
        changed = __builtin_popcountll(hash ^ hash_seeded(5, path, sizeof(path)));
        ck_assert_msg(changed >= 10 && changed <= 54, "bit %u changes %d", bit, changed);
        path[bit / 8] ^= (char)(1 << bit % 8);
    }
}
END_TEST

START_TEST(bucket_has_one_shard)
{
    afpa__segment_t s = {.layout.buckets = 64u << _i};
    uint64_t random = 3;

    for (unsigned i = 0; i < 10000; i++) {
        uint64_t hash = check_random(&random) << 16 ^ check_random(&random);
        uint32_t bucket = afpa__key_bucket(&s, hash);

        CHECK_THAT(bucket < s.layout.buckets);
        CHECK_THAT(afpa__key_shard(hash) < AFPA_SHARDS);
        CHECK_THAT(afpa__key_shard(hash) == bucket % AFPA_SHARDS);
    }
}
END_TEST

/* 64 names per bucket on average, deviation 8: the limits are five of those away. */
START_TEST(names_spread)
{
    afpa__header_shared_t header = {.seed = 77};
    afpa__segment_t s = {.header = &header, .layout.buckets = 1024};
    unsigned in_bucket[1024] = {0}, most = 0, least = UINT32_MAX;
    char path[64];

    for (unsigned i = 0; i < 65536; i++) {
        int len = snprintf(path, sizeof(path), "/var/www/htdocs/dir%u/file%u.html", i / 256, i % 256);

        in_bucket[afpa__key_bucket(&s, afpa__key_hash(&s, path, (size_t)len))]++;
    }
    for (unsigned i = 0; i < 1024; i++) {
        most = in_bucket[i] > most ? in_bucket[i] : most;
        least = in_bucket[i] < least ? in_bucket[i] : least;
    }
    ck_assert_uint_le(most, 104);
    ck_assert_uint_ge(least, 24);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key");
    TCase *tc = tcase_create("valid");

    tcase_add_loop_test(tc, valid, 0, CHECK_COUNT(valid_cases));
    suite_add_tcase(suite, tc);
    check_add(suite, "hash_of_the_bytes", hash_of_the_bytes);
    check_add(suite, "hash_of_the_seed", hash_of_the_seed);
    check_add(suite, "hash_of_every_bit", hash_of_every_bit);
    tc = tcase_create("bucket_has_one_shard");
    tcase_add_loop_test(tc, bucket_has_one_shard, 0, 10);
    suite_add_tcase(suite, tc);
    check_add(suite, "names_spread", names_spread);
    return check_main(suite);
}
