# SPDX-License-Identifier: Apache-2.0
# One libcheck suite per library source; tests/check_X.c tests libafpa/X.c.  Each runs alone and beside the others:
# add tests/check_X to suites, and a line tests_check_X_SOURCES if it has more than the one file.
suites =

LDADD = libafpa/libafpa_internal.la $(CHECK_LIBS)
AM_CFLAGS += $(CHECK_CFLAGS)

if HAVE_CHECK
check_PROGRAMS += $(suites)
TESTS += $(suites)
endif

# What a script says about its cases, `cases: N passed, N failed, N skipped`, is summed up by tests/summary.
TESTS += tests/guards tests/run-server
AM_TESTS_ENVIRONMENT = \
	AFPA_BUILDDIR='$(abs_builddir)'; export AFPA_BUILDDIR; \
	AFPA_SRCDIR='$(abs_srcdir)'; export AFPA_SRCDIR; \
	PYTHON3='$(PYTHON3)'; export PYTHON3;
EXTRA_DIST += tests/guards tests/run-server tests/summary tests/server
CLEANFILES += tests/server.xml
