# SPDX-License-Identifier: Apache-2.0
# The sources in the order the bytes take: see libafpa/README.md.
afpaincludedir = $(includedir)/afpa
afpainclude_HEADERS = \
	libafpa/include/afpa/afpa.h \
	libafpa/include/afpa/cache.h \
	libafpa/include/afpa/counters.def \
	libafpa/include/afpa/counters.h \
	libafpa/include/afpa/engine.h \
	libafpa/include/afpa/executor.h \
	libafpa/include/afpa/http.h \
	libafpa/include/afpa/inspect.h \
	libafpa/include/afpa/log.h \
	libafpa/include/afpa/loop.h \
	libafpa/include/afpa/options.def \
	libafpa/include/afpa/options.h \
	libafpa/include/afpa/request.h \
	libafpa/include/afpa/response.h \
	libafpa/include/afpa/send.h \
	libafpa/include/afpa/status.h \
	libafpa/include/afpa/transport.h \
	libafpa/include/afpa/walk.h \
	libafpa/include/afpa/zone.h

libafpa_sources = \
	libafpa/request.c libafpa/request.h \
	libafpa/http.c \
	libafpa/capture.c libafpa/capture.h \
	libafpa/key.c libafpa/key.h \
	libafpa/index.c libafpa/index.h \
	libafpa/response.c \
	libafpa/object.c libafpa/object.h \
	libafpa/fill.c libafpa/fill.h \
	libafpa/fresh.c libafpa/fresh.h \
	libafpa/evict.c libafpa/evict.h \
	libafpa/chunk.c libafpa/chunk.h \
	libafpa/space.c libafpa/space.h \
	libafpa/segment.c libafpa/segment.h \
	libafpa/pin.c libafpa/pin.h \
	libafpa/walk.c \
	libafpa/send.c libafpa/send.h libafpa/send_states.def \
	libafpa/completion.c libafpa/completion.h \
	libafpa/machine.c libafpa/machine.h \
	libafpa/owner.c libafpa/owner.h \
	libafpa/transport_epoll.c \
	libafpa/loop.c libafpa/loop.h \
	libafpa/reply.c libafpa/reply.h \
	libafpa/conn.c libafpa/conn_states.def \
	libafpa/engine.c libafpa/engine.h \
	libafpa/cache.c libafpa/cache.h \
	libafpa/zone.c libafpa/zone.h libafpa/zone_attach.c \
	libafpa/judge.c libafpa/judge.h \
	libafpa/inspect.c \
	libafpa/verify.c \
	libafpa/executor.c \
	libafpa/stats.c libafpa/stats.h \
	libafpa/options.c \
	libafpa/lock.c libafpa/lock.h \
	libafpa/clock.c libafpa/clock.h \
	libafpa/log.c libafpa/log.h \
	libafpa/assert.h \
	libafpa/status.c

# The tests reach inside; the installed library shows only its public names.
noinst_LTLIBRARIES += libafpa/libafpa_internal.la
libafpa_libafpa_internal_la_SOURCES = $(libafpa_sources)
# Calls within the library go straight to where they lead.
libafpa_libafpa_internal_la_CFLAGS = $(AM_CFLAGS) $(XXHASH_CFLAGS) -fno-semantic-interposition
libafpa_libafpa_internal_la_LIBADD = $(XXHASH_LIBS)

lib_LTLIBRARIES += libafpa/libafpa.la
libafpa_libafpa_la_SOURCES =
libafpa_libafpa_la_LIBADD = libafpa/libafpa_internal.la
libafpa_libafpa_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined \
	-Wl,-Bsymbolic-functions -Wl,--version-script=$(top_srcdir)/libafpa/libafpa.map
libafpa_libafpa_la_DEPENDENCIES = libafpa/libafpa_internal.la $(top_srcdir)/libafpa/libafpa.map

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = libafpa/libafpa.pc
EXTRA_DIST += libafpa/libafpa.map libafpa/README.md

UNINSTALL_HOOKS += uninstall-libafpa-hook
uninstall-libafpa-hook: uninstall-afpaincludeHEADERS
	test ! -d $(DESTDIR)$(afpaincludedir) || rmdir $(DESTDIR)$(afpaincludedir)
