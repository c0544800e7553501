# SPDX-License-Identifier: Apache-2.0
"""What make does with what configure was told of nginx."""
import subprocess

import pytest

from conftest import need
from zone import BUILD

CONFIGURE = """#!/bin/sh
for word do
    case $word in
        --builddir=*) folder=${word#*=} ;;
        *) printf '%s\\n' "$word" ;;
    esac
done >words
mkdir "$folder" && touch "$folder/ngx_auto_config.h"
"""

FLAGS = [  # as `nginx -V` prints them; as nginx's configure has to get them
    ("--with-compat --with-threads", ["--with-compat", "--with-threads"]),
    ("--with-cc-opt='-g -O2 -fPIC' --prefix=/usr/share/nginx --with-ld-opt='-Wl,-z,relro -Wl,-z,now' --with-compat",
     ["--with-cc-opt=-g -O2 -fPIC", "--prefix=/usr/share/nginx", "--with-ld-opt=-Wl,-z,relro -Wl,-z,now", "--with-compat"]),
    ("--with-cc-opt=\"-DX='y z'\"", ["--with-cc-opt=-DX='y z'"]),
]


@pytest.mark.parametrize("flags, words", FLAGS, ids=["plain", "quoted", "quotes in quotes"])
def test_nginx_flags(tmp_path, flags, words):
    makefile = BUILD / "Makefile"
    need(makefile.exists() and "\nngx_objs/ngx_auto_config.h:" in makefile.read_text(), "nginx's module is not built here")
    source, build = tmp_path / "nginx", tmp_path / "build"
    source.mkdir()
    build.mkdir()
    (source / "configure").write_text(CONFIGURE)
    (source / "configure").chmod(0o755)
    run = subprocess.run(["make", "-f", makefile, "ngx_objs/ngx_auto_config.h", f"nginx_src={source}", f"nginx_flags={flags}",
                          f"abs_builddir={build}"], cwd=build, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (source / "words").read_text().splitlines() == words
