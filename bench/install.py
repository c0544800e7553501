# SPDX-License-Identifier: Apache-2.0
"""Installs what servers need, from Debian's packages, without a service being started."""
import os
import subprocess
import sys
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")
TOOLS = ("wrk", "strace", "openssl", "gnuplot-nox", "valgrind", "nghttp2-client")


def installed(package):
    run = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status}", package], capture_output=True, text=True, timeout=30)
    return run.stdout == "installed"


def install(kinds):
    """One package after the other: one that is refused does not keep the others away."""
    if os.geteuid() != 0:
        sys.exit("bench/run: --install has to be run as root")
    wanted = [p for p in dict.fromkeys([*TOOLS, *(p for kind in kinds for p in kind.packages)]) if not installed(p)]
    if not wanted:
        return
    made = not POLICY.exists()
    if made:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, env=environment, timeout=600)
        for package in wanted:
            run = subprocess.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", package],
                                 capture_output=True, text=True, env=environment, timeout=900)
            print(f"{package}: {'installed' if run.returncode == 0 else 'refused: ' + run.stderr.strip()[-200:]}", file=sys.stderr)
    finally:
        if made:
            POLICY.unlink()
