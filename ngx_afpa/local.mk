# SPDX-License-Identifier: Apache-2.0
# The dynamic nginx module.  nginx's own configure is run once for the headers it generates.
ngxmoddir = $(nginx_moddir)
ngxmod_LTLIBRARIES = ngx_afpa/ngx_http_afpa_module.la
ngx_afpa_ngx_http_afpa_module_la_SOURCES = \
	ngx_afpa/ngx_http_afpa_module.c \
	ngx_afpa/ngx_http_afpa_handler.c \
	ngx_afpa/ngx_http_afpa_buffer.c \
	ngx_afpa/ngx_http_afpa_modules.c \
	ngx_afpa/ngx_http_afpa.h
ngx_afpa_ngx_http_afpa_module_la_CPPFLAGS = $(AM_CPPFLAGS) \
	-I$(nginx_src)/src/core -I$(nginx_src)/src/event -I$(nginx_src)/src/event/modules -I$(nginx_src)/src/os/unix \
	-I$(nginx_src)/src/http -I$(nginx_src)/src/http/modules -I$(nginx_src)/src/http/v2 -Ingx_objs
ngx_afpa_ngx_http_afpa_module_la_LIBADD = libafpa/libafpa.la
ngx_afpa_ngx_http_afpa_module_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared \
	-export-symbols-regex '^(ngx_modules|ngx_module_names|ngx_module_order|ngx_http_afpa_module)$$'

$(ngx_afpa_ngx_http_afpa_module_la_OBJECTS): ngx_objs/ngx_auto_config.h
ngx_objs/ngx_auto_config.h:
	$(AM_V_GEN)cd $(nginx_src) && bash -c 'NGX_CONF_FLAGS=(--with-compat); if test -f conf_flags; then . ./conf_flags; fi; \
	  ./configure "$${NGX_CONF_FLAGS[@]}" --builddir=$(abs_builddir)/ngx_objs' >/dev/null
	@test -f $@

EXTRA_DIST += ngx_afpa/config
CLEAN_HOOKS += clean-ngx-objs
clean-ngx-objs:
	rm -rf ngx_objs
# libtool's .la is of no use to a server.
INSTALL_HOOKS += install-ngx-hook
install-ngx-hook: install-ngxmodLTLIBRARIES
	rm -f $(DESTDIR)$(ngxmoddir)/ngx_http_afpa_module.la
UNINSTALL_HOOKS += uninstall-ngx-hook
uninstall-ngx-hook:
	rm -f $(DESTDIR)$(ngxmoddir)/ngx_http_afpa_module.so
