dnl SPDX-License-Identifier: Apache-2.0
dnl AFPA_APACHE: finds the Apache httpd to build mod_afpa for, by asking its apxs.
dnl Sets with_apache, APACHE_CPPFLAGS and apache_moddir; defines the conditional APACHE.
AC_DEFUN([AFPA_APACHE], [
  AC_ARG_WITH([apache], [AS_HELP_STRING([--without-apache], [do not build mod_afpa])], [], [with_apache=yes])
  AC_ARG_WITH([apxs], [AS_HELP_STRING([--with-apxs=PATH], [apxs of the Apache httpd to build for])], [], [with_apxs=yes])
  AC_ARG_WITH([apache-moddir],
    [AS_HELP_STRING([--with-apache-moddir=DIR], [install mod_afpa there instead of where apxs says])], [], [with_apache_moddir=])
  AS_IF([test "$with_apxs" = no], [with_apache=no])
  AS_IF([test "$with_apache" != no], [
    AS_IF([test "$with_apxs" != yes], [APXS=$with_apxs],
          [AC_PATH_PROGS([APXS], [apxs2 apxs], [], [$PATH:/usr/sbin:/usr/local/sbin:/usr/local/apache2/bin])])
    AS_IF([test -z "$APXS"],
          [AC_MSG_ERROR([apxs2 or apxs was not found (Debian: apache2-dev); give --with-apxs=PATH or --without-apache])])
    apache_include=`$APXS -q INCLUDEDIR 2>/dev/null`
    AS_IF([test ! -f "$apache_include/httpd.h"],
          [AC_MSG_ERROR([$APXS names "$apache_include" as the directory of httpd.h, which is not there])])
    # As system headers: their warnings are not ours.  /usr/include itself must keep its place in the search order.
    APACHE_CPPFLAGS="-isystem $apache_include"
    for apache_dir in `$APXS -q APR_INCLUDEDIR` `$APXS -q APU_INCLUDEDIR`; do
      case " $APACHE_CPPFLAGS /usr/include " in
        *" $apache_dir "*) ;;
        *) APACHE_CPPFLAGS="$APACHE_CPPFLAGS -isystem $apache_dir" ;;
      esac
    done
    APACHE_CPPFLAGS="$APACHE_CPPFLAGS `$APXS -q EXTRA_CPPFLAGS`"
    AS_IF([test -n "$with_apache_moddir"], [apache_moddir=$with_apache_moddir], [apache_moddir=`$APXS -q LIBEXECDIR`])
  ])
  AC_SUBST([APACHE_CPPFLAGS])
  AC_SUBST([apache_moddir])
  AM_CONDITIONAL([APACHE], [test "$with_apache" != no])
])
