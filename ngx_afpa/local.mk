# SPDX-License-Identifier: Apache-2.0
# The dynamic nginx module.  nginx's own configure is run once for the headers it generates.
ngxmodexecdir = $(nginx_moddir)
ngxmodexec_LTLIBRARIES = ngx_afpa/ngx_http_afpa_module.la
ngx_afpa_ngx_http_afpa_module_la_SOURCES = \
	ngx_afpa/ngx_http_afpa_module.c \
	ngx_afpa/ngx_http_afpa_handler.c \
	ngx_afpa/ngx_http_afpa_buffer.c \
	ngx_afpa/ngx_http_afpa_capture.c \
	ngx_afpa/ngx_http_afpa_fastpath.c \
	ngx_afpa/ngx_http_afpa_transport.c \
	ngx_afpa/ngx_http_afpa_refuse.c \
	ngx_afpa/ngx_http_afpa_executor.c \
	ngx_afpa/ngx_http_afpa_log.c \
	ngx_afpa/ngx_http_afpa_log.h \
	ngx_afpa/ngx_http_afpa_fastpath.h \
	ngx_afpa/ngx_http_afpa_modules.c \
	ngx_afpa/ngx_http_afpa.h
# As system headers: their warnings are not ours.  Those of QUIC are there from nginx 1.25 on.
ngx_afpa_ngx_http_afpa_module_la_CPPFLAGS = $(AM_CPPFLAGS) \
	-isystem $(nginx_src)/src/core -isystem $(nginx_src)/src/event -isystem $(nginx_src)/src/event/modules \
	-isystem $(nginx_src)/src/event/quic -isystem $(nginx_src)/src/os/unix -isystem $(nginx_src)/src/http \
	-isystem $(nginx_src)/src/http/modules -isystem $(nginx_src)/src/http/v2 -isystem $(nginx_src)/src/http/v3 -isystem ngx_objs
# nginx passes string literals as plain char *.
ngx_afpa_ngx_http_afpa_module_la_CFLAGS = $(AM_CFLAGS) -Wno-write-strings
ngx_afpa_ngx_http_afpa_module_la_LIBADD = libafpa/libafpa.la
ngx_afpa_ngx_http_afpa_module_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared \
	-export-symbols-regex '^(ngx_modules|ngx_module_names|ngx_module_order|ngx_http_afpa_module)$$'

# Takes some seconds, once.  Made under another name first, so that an interrupted run leaves nothing that looks finished.
# The flags go by the environment: what `nginx -V` prints has quotes in it.
$(ngx_afpa_ngx_http_afpa_module_la_OBJECTS): ngx_objs/ngx_auto_config.h
ngx_objs/ngx_auto_config.h: export AFPA_NGX_FLAGS = $(nginx_flags)
ngx_objs/ngx_auto_config.h:
	@rm -rf ngx_objs ngx_objs.new ngx_objs.log
	$(AM_V_GEN)(cd $(nginx_src) && bash -c 'eval "NGX_CONF_FLAGS=($$AFPA_NGX_FLAGS)"; if test -f conf_flags; then . ./conf_flags; fi; \
	  ./configure "$${NGX_CONF_FLAGS[@]}" --builddir="$(abs_builddir)/ngx_objs.new"') >ngx_objs.log 2>&1 \
	  || { tail -20 ngx_objs.log; echo "$(nginx_src)/configure failed: see ngx_objs.log" >&2; exit 1; }
	@mv ngx_objs.new ngx_objs

CLEAN_HOOKS += clean-ngx-objs
clean-ngx-objs:
	rm -rf ngx_objs ngx_objs.new ngx_objs.log
# Installing a module links it anew, to the library, which has to be in its place by then.  (Through a variable, so that
# automake does not take this for the whole rule.)
ngxmod_install = install-ngxmodexecLTLIBRARIES
$(ngxmod_install): install-libLTLIBRARIES
# libtool's .la is of no use to a server.
INSTALL_HOOKS += install-ngx-hook
install-ngx-hook:
	rm -f $(DESTDIR)$(ngxmodexecdir)/ngx_http_afpa_module.la
UNINSTALL_HOOKS += uninstall-ngx-hook
uninstall-ngx-hook:
	rm -f $(DESTDIR)$(ngxmodexecdir)/ngx_http_afpa_module.so
