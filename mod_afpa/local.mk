# SPDX-License-Identifier: Apache-2.0
# The Apache httpd module.
apachemodexecdir = $(apache_moddir)
apachemodexec_LTLIBRARIES = mod_afpa/mod_afpa.la
mod_afpa_mod_afpa_la_SOURCES = \
	mod_afpa/mod_afpa_config.c \
	mod_afpa/mod_afpa_handler.c \
	mod_afpa/mod_afpa_bucket.c \
	mod_afpa/mod_afpa_filter.c \
	mod_afpa/mod_afpa_guard.c mod_afpa/mod_afpa_guard.def \
	mod_afpa/mod_afpa_capture.c \
	mod_afpa/mod_afpa_fastpath.c mod_afpa/mod_afpa_fastpath.h \
	mod_afpa/mod_afpa_loop.c \
	mod_afpa/mod_afpa_host.c \
	mod_afpa/mod_afpa_log.c \
	mod_afpa/mod_afpa.h
mod_afpa_mod_afpa_la_CPPFLAGS = $(AM_CPPFLAGS) $(APACHE_CPPFLAGS)
# httpd's own tables leave their last fields out.
mod_afpa_mod_afpa_la_CFLAGS = $(AM_CFLAGS) -Wno-missing-field-initializers
mod_afpa_mod_afpa_la_LIBADD = libafpa/libafpa.la
mod_afpa_mod_afpa_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -export-symbols-regex '^afpa_module$$'

# Installing a module links it anew, to the library, which has to be in its place by then.  (Through a variable, so that
# automake does not take this for the whole rule.)
apachemod_install = install-apachemodexecLTLIBRARIES
$(apachemod_install): install-libLTLIBRARIES
# libtool's .la is of no use to a server.
INSTALL_HOOKS += install-apache-hook
install-apache-hook:
	rm -f $(DESTDIR)$(apachemodexecdir)/mod_afpa.la
UNINSTALL_HOOKS += uninstall-apache-hook
uninstall-apache-hook:
	rm -f $(DESTDIR)$(apachemodexecdir)/mod_afpa.so
