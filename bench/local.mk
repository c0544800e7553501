# SPDX-License-Identifier: Apache-2.0
# Measurements; `make bench` comes with the side-by-side benchmark.
check_PROGRAMS += bench/micro_lookup
bench_micro_lookup_SOURCES = bench/micro_lookup.c
bench_micro_lookup_LDADD = libafpa/libafpa_internal.la
check_PROGRAMS += bench/floor
bench_floor_SOURCES = bench/floor.c
bench_floor_LDADD =
check_PROGRAMS += bench/rate
bench_rate_SOURCES = bench/rate.c
bench_rate_LDADD =
TESTS += bench/check
EXTRA_DIST += bench/check bench/pair
