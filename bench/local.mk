# SPDX-License-Identifier: Apache-2.0
# Measurements.  `make bench`: all of the side-by-side benchmark, and its page; BENCH="…" gives arguments to bench/run.
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
EXTRA_DIST += bench/check bench/idle bench/mixed bench/pair bench/run bench/servers bench/prose.md \
	bench/__init__.py bench/coldstart.py bench/install.py bench/instructions.py bench/load.py bench/matrix.py bench/measure.py \
	bench/plot.py bench/profile.py bench/ratecheck.py bench/report.py bench/results.py bench/session.py bench/slowdisk.py bench/slowfs.py \
	bench/turns.py bench/work.py

bench: all bench/floor$(EXEEXT) bench/rate$(EXEEXT)
	AFPA_BUILDDIR='$(abs_builddir)' $(srcdir)/bench/run $(BENCH)
	$(srcdir)/bench/run --report
.PHONY: bench

# A small run, in the way that tests/summary counts.
TESTS += tests/run-bench
EXTRA_DIST += tests/run-bench tests/bench
CLEANFILES += tests/bench.xml
dist_doc_DATA += docs/benchmarks.md
EXTRA_DIST += docs/benchmarks

# Replay of cache traces.  The linker has the library open files that are not there: see policy_files.c.
policy_parts = bench/policy.h bench/policy_input.c bench/policy_records.c bench/policy_trace.c bench/policy_baselines.c \
	bench/policy_belady.c
policy_wraps = -Wl,--wrap=open -Wl,--wrap=open64 -Wl,--wrap=fstat -Wl,--wrap=fstat64 -Wl,--wrap=pread -Wl,--wrap=pread64 \
	-Wl,--wrap=close -Wl,--wrap=fallocate -Wl,--wrap=fallocate64 -Wl,--wrap=getrandom
policy_side = bench/policy_afpa.c bench/policy_files.c
check_PROGRAMS += bench/policy bench/policy_generate
bench_policy_SOURCES = bench/policy.c bench/policy_report.c $(policy_parts) $(policy_side)
policy_flags = $(AM_CPPFLAGS) -iquote $(srcdir)/bench $(XXHASH_CFLAGS)
bench_policy_CPPFLAGS = $(policy_flags)
bench_policy_LDADD = libafpa/libafpa_internal.la $(XXHASH_LIBS)
bench_policy_LDFLAGS = $(AM_LDFLAGS) $(policy_wraps)
bench_policy_generate_SOURCES = bench/policy_generate.c
bench_policy_generate_LDADD = -lm
EXTRA_DIST += bench/policy_tables
