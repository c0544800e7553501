# SPDX-License-Identifier: Apache-2.0
"""Where a server's time goes: the functions and the libraries, the kernel too, that perf finds it in under load."""
import re
import shutil
import subprocess
import sys

from bench import measure
from bench.matrix import Matrix, say
from bench.report import Page
from bench.servers import ALL
from bench.work import WORKS

SECONDS = 2
TOP = 20


def by_object(rows):
    """The shares of kernel, server, libraries and modules, in falling order."""
    totals = {}
    for share, _, where in rows:
        totals[where] = totals.get(where, 0) + share
    return sorted(([round(share, 1), where] for where, share in totals.items() if share >= 0.5), reverse=True)


def profile(server, load):
    """Of a server while a load runs: {"objects": [[percent, object]], "functions": [[percent, function, object]]}."""
    out = server.dir / "perf.data"
    process = load.begin()
    try:
        subprocess.run(["perf", "record", "-q", "-F", "2000", "-e", "cpu-clock", "-o", out, "-p", ",".join(map(str, server.pids())), "--",
                        "sleep", str(SECONDS)], check=True, capture_output=True, timeout=60)
    finally:
        load.end(process, 0.01)
    run = subprocess.run(["perf", "report", "-i", out, "--stdio", "--no-children", "-s", "sym,dso", "-F", "overhead,sym,dso"],
                         capture_output=True, text=True, timeout=120)
    rows = re.findall(r"^ *([\d.]+)% +\[(.)\] (\S+) +(\S+)", run.stdout, re.M)
    rows = sorted(([float(share), name, "kernel" if kind == "k" else where] for share, kind, name, where in rows), reverse=True)
    return {"objects": by_object(rows), "functions": rows[:TOP]}


def run(session, wanted, data):
    """wanted: SERVER:WORK, …; "ahead": each that is ahead of ours in these results, and ours."""
    if not shutil.which("perf"):
        sys.exit("bench/run: perf is not installed (Debian: linux-perf)")
    if wanted == "ahead":
        cells = [one for one in Page(data, []).ahead_cells() if WORKS[one[0]].kind == "closed"]
        pairs = list(dict.fromkeys((server, work) for work, ours, other in cells for server in (ours, other)))
        if not pairs:
            say("nobody is ahead")
            return
    else:
        pairs = [one.partition(":")[::2] for one in wanted.split(",")]
    for server, work in pairs:
        if server not in ALL or work not in WORKS or WORKS[work].kind != "closed":
            sys.exit(f"bench/run: --profile takes SERVER:WORK, and {server}:{work} is none")
    session.files.make([WORKS[work] for _, work in pairs])
    servers = []
    try:
        session.start_origin()
        servers = session.start([ALL[name] for name in dict.fromkeys(server for server, _ in pairs)], data)
        matrix = Matrix(servers, session.files, session.options, data)
        for name, work in pairs:
            for server in servers:
                if server.name == name:
                    one(matrix, server, WORKS[work], data)
    finally:
        session.close(servers)


def one(matrix, server, work, data):
    headers, reason = matrix.ready(server, work)
    if reason:
        say(f"{server.name}:{work.name}: {reason}")
        return
    found = profile(server, matrix.load(server, work, headers))
    data["profiles"].setdefault(work.name, {})[server.name] = found
    say(f"{server.name}, {work.title}: " + ", ".join(f"{where} {share} %" for share, where in found["objects"]))
    for share, name, where in found["functions"]:
        say(f"  {share:6.2f} %  {name}  ({where})")
