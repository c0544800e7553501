# SPDX-License-Identifier: Apache-2.0
"""What a server has used: processor time, memory, system calls."""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
SYSCALL_SECONDS = 0.4
SYSCALL_AGAIN_SECONDS = 15  # where a server sends nothing in that time


def processors():
    """For the servers, for the load."""
    have = sorted(os.sched_getaffinity(0))
    return (frozenset(have[-1:]), frozenset(have[:-1])) if len(have) > 1 else (frozenset(have), frozenset(have))


def nothing(_server, _part):
    """Watches a part of a measurement, and sees nothing; bench/profile.py has one that does."""
    return contextlib.nullcontext()


def cpu_seconds(pids):
    """User and system time of some processes.  The sum is exact, from the scheduler; how it is divided is known in ticks only."""
    user = system = exact = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            exact += sum(int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0]) for task in os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
        user, system = user + int(fields[11]), system + int(fields[12])
    return user / TICK, system / TICK, exact / 1e9


def cpu_between(before, after, replies):
    """Microseconds per reply."""
    user, system, exact = (b - a for a, b in zip(before, after))
    share = user / (user + system) if user + system else 0
    total = exact / replies * 1e6
    return {"cpu_us": total, "user_us": total * share, "system_us": total * (1 - share)}


def memory(server):
    """Kilobytes: resident, proportional share, of that in the cache's segment; and the segment's own pages."""
    found = {"rss_kb": 0, "pss_kb": 0, "segment_kb": 0}
    for pid in server.pids():
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for name in ("Rss", "Pss"):
            found[f"{name.lower()}_kb"] += int(re.search(rf"^{name}: +(\d+)", text, re.M)[1])
    if server.zone and server.zone.path.exists():
        found["segment_kb"] = server.zone.path.stat().st_blocks // 2
    return found


def system_calls(server, load):
    """System calls per reply, by name, under a load of their own: with strace attached the server is slow.  If not, {"absent": why}."""
    if not shutil.which("strace"):
        return {"absent": "strace is not installed"}
    for seconds in (SYSCALL_SECONDS + load.connections / 1000, SYSCALL_AGAIN_SECONDS):
        replies, calls = traced_calls(server, load, seconds)
        if replies:
            return {"total": round(sum(calls.values()) / replies, 3),
                    "by_name": {name: round(n / replies, 3) for name, n in sorted(calls.items(), key=lambda c: -c[1]) if n > replies / 100}}
    return {"absent": f"with strace attached it sent no reply within {SYSCALL_AGAIN_SECONDS} s"}


def traced_calls(server, load, seconds):
    """(replies, {system call: times})"""
    out = server.dir / "calls"
    strace = subprocess.Popen(["strace", "-f", "-c", "-o", out, *[word for pid in server.pids() for word in ("-p", str(pid))]],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_attached(server.pids(), strace.pid)
        replies = load.run(seconds)["replies"]
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait(20)
    rows = [line.split() for line in out.read_text().splitlines() if re.match(r"\s*[\d.]+\s", line)]
    return replies, {row[-1]: int(row[3]) for row in rows if row[-1] != "total"}


def wait_attached(pids, tracer):
    """Until every thread is being traced."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        traced = [f"TracerPid:\t{tracer}\n" in Path(f"/proc/{pid}/task/{task}/status").read_text()
                  for pid in pids for task in os.listdir(f"/proc/{pid}/task")]
        if all(traced):
            return
        time.sleep(0.02)
