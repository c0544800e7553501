# SPDX-License-Identifier: Apache-2.0
# The command-line tool.
bin_PROGRAMS += afpactl/afpactl
afpactl_afpactl_SOURCES = \
	afpactl/afpactl.c afpactl/afpactl.h \
	afpactl/output.c afpactl/output.h \
	afpactl/app.c \
	afpactl/operands.c \
	afpactl/objects.c afpactl/objects.h \
	afpactl/tree.c afpactl/tree.h \
	afpactl/load.c afpactl/load.h \
	afpactl/http_get.c afpactl/http_get.h \
	afpactl/cmd_stat.c \
	afpactl/cmd_list.c \
	afpactl/cmd_show.c \
	afpactl/cmd_warm.c \
	afpactl/cmd_purge.c \
	afpactl/cmd_verify.c \
	afpactl/cmd_dump.c \
	afpactl/cmd_enable.c \
	afpactl/site.c afpactl/site.h \
	afpactl/cmd_serve.c \
	afpactl/cmd_create.c
afpactl_afpactl_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
afpactl_afpactl_LDADD = libafpa/libafpa.la $(JANSSON_LIBS)
