dnl SPDX-License-Identifier: Apache-2.0
dnl AFPA_NGINX: finds the nginx sources whose headers ngx_afpa is built with: Debian's nginx-dev, or --with-nginx-src.
dnl nginx-dev records the options of the nginx it belongs to in conf_flags.  For other sources they have to be those of the
dnl nginx that will load the module (`nginx -V` shows them), or at least agree in what nginx checks when it loads a module.
dnl Sets with_nginx, nginx_src, nginx_flags and nginx_moddir; defines the conditional NGINX.
AC_DEFUN([AFPA_NGINX], [
  AC_ARG_WITH([nginx], [AS_HELP_STRING([--without-nginx], [do not build ngx_afpa])], [], [with_nginx=yes])
  AC_ARG_WITH([nginx-src], [AS_HELP_STRING([--with-nginx-src=DIR], [nginx sources, unpacked or from Debian's nginx-dev])],
    [], [with_nginx_src=yes])
  AC_ARG_WITH([nginx-flags],
    [AS_HELP_STRING([--with-nginx-flags=FLAGS], [options of the nginx to build for, where DIR has no conf_flags])],
    [], [with_nginx_flags='--with-compat --with-threads'])
  AC_ARG_WITH([nginx-moddir], [AS_HELP_STRING([--with-nginx-moddir=DIR], [install the nginx module there])],
    [], [with_nginx_moddir=])
  AS_IF([test "$with_nginx_src" = no], [with_nginx=no])
  AS_IF([test "$with_nginx" != no], [
    AC_MSG_CHECKING([for nginx sources])
    AS_IF([test "$with_nginx_src" = yes], [nginx_src=/usr/share/nginx/src],
          [nginx_src=`cd "$with_nginx_src" 2>/dev/null && pwd` || nginx_src=$with_nginx_src])
    AC_MSG_RESULT([$nginx_src])
    AS_IF([test ! -x "$nginx_src/configure" || test ! -f "$nginx_src/src/core/nginx.h"],
          [AC_MSG_ERROR([$nginx_src has no nginx sources (Debian: nginx-dev); give --with-nginx-src=DIR or --without-nginx])])
    nginx_flags=$with_nginx_flags
    AC_MSG_CHECKING([where nginx looks for modules])
    nginx_moddir=$with_nginx_moddir
    AS_IF([test -z "$nginx_moddir" && test -f "$nginx_src/conf_flags"],
          [nginx_moddir=`sed -n 's/.*--modules-path=\(@<:@^ @:>@*\).*/\1/p' "$nginx_src/conf_flags"`])
    AS_IF([test -z "$nginx_moddir"],
          [nginx_moddir=`PATH=$PATH:/usr/sbin:/usr/local/sbin nginx -V 2>&1 | sed -n 's/.*--modules-path=\(@<:@^ @:>@*\).*/\1/p'`])
    AS_IF([test -z "$nginx_moddir"], [nginx_moddir='${libdir}/nginx/modules'])
    AC_MSG_RESULT([$nginx_moddir])
  ])
  AC_SUBST([nginx_src])
  AC_SUBST([nginx_flags])
  AC_SUBST([nginx_moddir])
  AM_CONDITIONAL([NGINX], [test "$with_nginx" != no])
])
