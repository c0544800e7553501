# SPDX-License-Identifier: Apache-2.0
"""bench/idle, from its command line."""
import os
import re
import shutil
import subprocess
import sys

import pytest

from bench import TOP
from zone import BUILD


@pytest.mark.parametrize("through", ([], ["--through"]), ids=("hits", "through"))
def test_idle(need, through):
    need(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "nginx is not installed")
    run = subprocess.run([sys.executable, TOP / "bench" / "idle", "--connections", "500", *through, "nginx"], capture_output=True, text=True, timeout=60,
                         env={**os.environ, "AFPA_BUILDDIR": str(BUILD)})
    assert run.returncode == 0, run.stderr
    said = re.fullmatch(r"nginx: ([\d,]+) bytes of private memory and 0 of the segment for each of 500 connections\n", run.stdout)
    assert said, f"expected one line, got {run.stdout!r}"
    assert 100 < int(said[1].replace(",", "")) < 50000, "expected that a connection costs something"
