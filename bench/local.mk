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
EXTRA_DIST += bench/check bench/pair bench/run bench/servers bench/prose.md \
	bench/__init__.py bench/coldstart.py bench/install.py bench/instructions.py bench/load.py bench/matrix.py bench/measure.py \
	bench/plot.py bench/profile.py bench/ratecheck.py bench/report.py bench/results.py bench/session.py bench/slowdisk.py bench/slowfs.py bench/work.py

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
