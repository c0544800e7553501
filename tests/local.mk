# SPDX-License-Identifier: Apache-2.0
# One libcheck suite per library source; tests/check_X.c tests libafpa/X.c.  Each runs alone and beside the others.
check_LTLIBRARIES =
suites =

LDADD = libafpa/libafpa_internal.la $(CHECK_LIBS)
AM_CFLAGS += $(CHECK_CFLAGS)

check_PROGRAMS += $(suites)
TESTS += $(suites)
