# SPDX-License-Identifier: Apache-2.0
"""nginx's module built in other ways than the one that is tested: other flags, nginx's own make."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import need
from zone import BUILD

SOURCES = Path(os.environ.get("AFPA_SRCDIR") or Path(__file__).resolve().parents[2])
MAKEFILE = BUILD / "Makefile"


def make(directory, *arguments):
    """A make of its own, also within `make check`."""
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")}
    return subprocess.run(["make", "-s", "-f", MAKEFILE, *arguments], cwd=directory, capture_output=True, text=True, timeout=60, env=own)


@pytest.fixture
def makefile():
    text = MAKEFILE.read_text() if MAKEFILE.exists() else ""
    need("\nngx_objs/ngx_auto_config.h:" in text, "nginx's module is not built here")
    return text


CONFIGURE = """#!/bin/sh
for word do
    case $word in
        --builddir=*) directory=${word#*=} ;;
        *) printf '%s\\n' "$word" ;;
    esac
done >words
mkdir "$directory" && touch "$directory/ngx_auto_config.h"
"""

FLAGS = [  # as `nginx -V` prints them; as nginx's configure has to get them
    ("--with-compat --with-threads", ["--with-compat", "--with-threads"]),
    ("--with-cc-opt='-g -O2 -fPIC' --prefix=/usr/share/nginx --with-ld-opt='-Wl,-z,relro -Wl,-z,now' --with-compat",
     ["--with-cc-opt=-g -O2 -fPIC", "--prefix=/usr/share/nginx", "--with-ld-opt=-Wl,-z,relro -Wl,-z,now", "--with-compat"]),
    ("--with-cc-opt=\"-DX='y z'\"", ["--with-cc-opt=-DX='y z'"]),
]


@pytest.mark.parametrize("flags, words", FLAGS, ids=["plain", "quoted", "quotes in quotes"])
def test_nginx_flags(makefile, tmp_path, flags, words):
    source, build = tmp_path / "nginx", tmp_path / "build"
    source.mkdir()
    build.mkdir()
    (source / "configure").write_text(CONFIGURE)
    (source / "configure").chmod(0o755)
    run = make(build, "ngx_objs/ngx_auto_config.h", f"nginx_src={source}", f"nginx_flags={flags}", f"abs_builddir={build}")
    assert run.returncode == 0, run.stdout + run.stderr
    assert (source / "words").read_text().splitlines() == words


def test_without_debugging(makefile, tmp_path):
    """nginx's own make has warnings as errors; and debug messages are nothing unless it was configured with --with-debug."""
    need(shutil.which("cc"), "no cc")
    nginx = re.search(r"^nginx_src = (.*)$", makefile, re.M)[1]
    directories = [f"{nginx}/src/{part}" for part in ("core", "event", "event/modules", "os/unix", "http", "http/modules", "http/v2")]
    for source in sorted((SOURCES / "ngx_afpa").glob("*.c")):
        one = tmp_path / "one.c"
        one.write_text(f'#include <ngx_config.h>\n#undef NGX_DEBUG\n#include "{source}"\n')
        run = subprocess.run(["cc", "-fsyntax-only", "-W", "-Wall", "-Wpointer-arith", "-Wno-unused-parameter", "-Werror",
                              *(f"-isystem{path}" for path in [*directories, BUILD / "ngx_objs"]), f"-I{SOURCES}/libafpa/include", one],
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr


def test_headers_of_later_releases(makefile, tmp_path):
    """With QUIC, nginx's headers include some that lie in directories which the release that is tested does not have."""
    need(shutil.which("cc"), "no cc")
    for header in ("core/ngx_core.h", "event/quic/ngx_event_quic.h", "http/v3/ngx_http_v3.h"):
        (tmp_path / "src" / header).parent.mkdir(parents=True)
        (tmp_path / "src" / header).touch()
    shown = "--eval=show:; @echo $(ngx_afpa_ngx_http_afpa_module_la_CPPFLAGS)"
    flags = make(tmp_path, shown, "show", f"nginx_src={tmp_path}")
    assert flags.returncode == 0, flags.stdout + flags.stderr
    one = tmp_path / "one.c"
    one.write_text("#include <ngx_core.h>\n#include <ngx_event_quic.h>\n#include <ngx_http_v3.h>\n")
    run = subprocess.run(["cc", "-fsyntax-only", *flags.stdout.splitlines()[-1].split(), one], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
