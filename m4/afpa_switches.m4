dnl SPDX-License-Identifier: Apache-2.0
dnl AFPA_SWITCHES: --enable-developer, the sanitizers, and fuzzing.
dnl Sets AFPA_CFLAGS (warnings) and AFPA_SANITIZE (to compile and to link with); defines the conditional FUZZING.
AC_DEFUN([AFPA_SWITCHES], [
  AC_ARG_ENABLE([developer], [AS_HELP_STRING([--enable-developer], [strict warnings, and warnings are errors])],
    [], [enable_developer=no])
  AC_ARG_ENABLE([asan], [AS_HELP_STRING([--enable-asan], [build with AddressSanitizer])], [], [enable_asan=no])
  AC_ARG_ENABLE([tsan], [AS_HELP_STRING([--enable-tsan], [build with ThreadSanitizer])], [], [enable_tsan=no])
  AC_ARG_ENABLE([ubsan], [AS_HELP_STRING([--enable-ubsan], [build with UndefinedBehaviorSanitizer])], [], [enable_ubsan=no])
  AC_ARG_ENABLE([fuzzing], [AS_HELP_STRING([--enable-fuzzing], [build the fuzz targets with libFuzzer (needs clang)])],
    [], [enable_fuzzing=no])

  AFPA_CFLAGS="-std=gnu11 -Wall -Wextra -Wshadow -Wno-unused-parameter"
  AS_IF([test "$enable_developer" != no],
        [AFPA_CFLAGS="$AFPA_CFLAGS -Werror -Wmissing-prototypes -Wstrict-prototypes -Wpointer-arith -Wcast-align -Wwrite-strings -Wvla -Wformat=2"
         # Cutting a text that is too long is what snprintf is used for here.
         AFPA_CFLAGS="$AFPA_CFLAGS -Wno-format-truncation"])

  AFPA_SANITIZE=
  AS_IF([test "$enable_asan" != no && test "$enable_tsan" != no],
        [AC_MSG_ERROR([--enable-asan and --enable-tsan exclude each other])])
  AS_IF([test "$enable_asan" != no], [AFPA_SANITIZE="$AFPA_SANITIZE -fsanitize=address -fno-omit-frame-pointer"])
  AS_IF([test "$enable_tsan" != no], [AFPA_SANITIZE="$AFPA_SANITIZE -fsanitize=thread"])
  AS_IF([test "$enable_ubsan" != no], [AFPA_SANITIZE="$AFPA_SANITIZE -fsanitize=undefined -fno-sanitize-recover=undefined"])
  AS_IF([test "$enable_fuzzing" != no], [
    AFPA_SANITIZE="$AFPA_SANITIZE -fsanitize=fuzzer-no-link"
    AC_MSG_CHECKING([whether $CC has libFuzzer])
    afpa_saved=$CFLAGS
    CFLAGS="$CFLAGS -fsanitize=fuzzer"
    AC_LINK_IFELSE([AC_LANG_SOURCE([
      #include <stddef.h>
      int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
      int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) { return data == NULL && size > 0; }])],
      [AC_MSG_RESULT([yes])],
      [AC_MSG_RESULT([no])
       AC_MSG_ERROR([--enable-fuzzing needs a compiler with -fsanitize=fuzzer: run configure with CC=clang])])
    CFLAGS=$afpa_saved
  ])
  AC_SUBST([AFPA_CFLAGS])
  AC_SUBST([AFPA_SANITIZE])
  AM_CONDITIONAL([FUZZING], [test "$enable_fuzzing" != no])
])
