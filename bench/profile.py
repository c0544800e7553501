# SPDX-License-Identifier: Apache-2.0
"""Where a server's time goes, by perf: the functions and the libraries, the kernel too, that it is found in under load; and, of work
that is mostly waiting, what its threads wait for, and how long those that are ready wait for a processor."""
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys

from bench import coldstart, results, slowdisk
from bench.matrix import Matrix, say
from bench.report import Page
from bench.servers import ALL
from bench.work import WORKS

SECONDS = 2
TOP = 20
ALONE = {module.KIND: module for module in (coldstart, slowdisk)}  # kinds of work for which a server is started alone
SAMPLES = ("-F", "2000", "-e", "cpu-clock")
SWITCHES = ("-a", "-g", "--kernel-callchains", "-m", "4096", "-e", "sched:sched_switch,sched:sched_waking")
# One line for each time that a thread had a processor: before it the thread slept, then was ready, then ran, and ended so.
RAN = re.compile(r"^ *[\d.]+ +\[\d+\] +(\S.*?)\[(\d+)(?:/\d+)?\] +([\d.]+) +([\d.]+) +([\d.]+) +(\w)\S* *(.*)$", re.M)


# ---- what perf recorded ----

def by_object(rows):
    """The shares of kernel, server, libraries and modules, in falling order."""
    totals = {}
    for share, _, where in rows:
        totals[where] = totals.get(where, 0) + share
    return sorted(([round(share, 1), where] for where, share in totals.items() if share >= 0.5), reverse=True)


def on_processor(out):
    """{"objects": [[percent, object]], "functions": [[percent, function, object]]}."""
    run = subprocess.run(["perf", "report", "-i", out, "--stdio", "--no-children", "-s", "sym,dso", "-F", "overhead,sym,dso"],
                         capture_output=True, text=True, timeout=120)
    rows = re.findall(r"^ *([\d.]+)% +\[(.)\] (\S+) +(\S+)", run.stdout, re.M)
    rows = sorted(([float(share), name, "kernel" if kind == "k" else where] for share, kind, name, where in rows), reverse=True)
    return {"objects": by_object(rows), "functions": rows[:TOP]}


def reason(frames):
    """The system call and the function in it where a thread went to sleep."""
    frames = frames.split(" <- ")
    call = next((frame.partition("_sys_")[2] for frame in reversed(frames) if re.match("__.*_sys_", frame)), "page fault" if any("page_fault" in frame for frame in frames) else "")
    inner = next((frame for frame in frames if not frame.startswith(("schedule", "io_schedule", "__schedule"))), "")
    return f"{call}: {inner}" if call else inner


def off_processor(text):
    """Of what `perf sched timehist` says: "waits": [[seconds, times, mean ms, reason, thread]]; "ready", ms for a processor."""
    slept, before, ready = {}, {}, []
    for thread, tid, wait, delay, _, state, frames in RAN.findall(text):
        wait, delay = float(wait), float(delay)
        if tid in before:
            ended, why = before[tid]
            ready.append(wait + delay if ended == "R" else delay)
            if ended != "R":
                slept.setdefault((why, thread), []).append(wait)
        before[tid] = state, reason(frames)
    ready.sort()
    rows = sorted(([round(sum(ms) / 1000, 3), len(ms), round(sum(ms) / len(ms), 3), why, thread] for (why, thread), ms in slept.items()), reverse=True)
    return {"waits": rows[:TOP], "ready": {"times": len(ready), "seconds": round(sum(ready) / 1000, 3),
                                           **{f"p{p}_ms": ready[len(ready) * p // 100] for p in (50, 99) if ready}, "max_ms": ready[-1] if ready else 0}}


@contextlib.contextmanager
def recorded(out, *options):
    """Has perf record while the body runs, and only then."""
    ours, its = socket.socketpair()
    process = subprocess.Popen(["perf", "record", "-q", "-D", "-1", f"--control=fd:{its.fileno()},{its.fileno()}", "-o", out, *options],
                               pass_fds=[its.fileno()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    its.close()
    with ours:
        ours.settimeout(30)
        ours.sendall(b"enable\n")
        if not ours.recv(16):
            raise OSError("perf record ended")
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


@contextlib.contextmanager
def watched(server, found):
    """Fills found with what a server does, and waits for, while the body runs."""
    pids, samples, switches = ",".join(map(str, server.pids())), server.dir / "perf.data", server.dir / "switches.data"
    with recorded(samples, *SAMPLES, "-p", pids), recorded(switches, *SWITCHES):
        yield
    run = subprocess.run(["perf", "sched", "timehist", "-i", switches, "--pid", pids, "--state", "--max-stack", "30"], capture_output=True,
                         text=True, timeout=300)
    found.update(on_processor(samples), **off_processor(run.stdout))


# ---- the work ----

def profile(server, load):
    """Of a server while a load runs."""
    out = server.dir / "perf.data"
    process = load.begin()
    try:
        subprocess.run(["perf", "record", "-q", *SAMPLES, "-o", out, "-p", ",".join(map(str, server.pids())), "--", "sleep", str(SECONDS)],
                       check=True, capture_output=True, timeout=60)
    finally:
        load.end(process, 0.01)
    return on_processor(out)


def chosen(wanted, data):
    """[(server, work)] of SERVER:WORK, …; "ahead": each that is ahead of ours in these results, and ours."""
    if wanted == "ahead":
        cells = [one for one in Page(data, []).ahead_cells() if WORKS[one[0]].kind in ("closed", *ALONE)]
        return list(dict.fromkeys((server, work) for work, ours, other, _ in cells for server in (ours, other)))
    pairs = [one.partition(":")[::2] for one in wanted.split(",")]
    for server, work in pairs:
        if server not in ALL or work not in WORKS or WORKS[work].kind not in ("closed", *ALONE):
            sys.exit(f"bench/run: --profile takes SERVER:WORK, and {server}:{work} is none")
    return pairs


def run(session, wanted, data):
    if not shutil.which("perf"):
        sys.exit("bench/run: perf is not installed (Debian: linux-perf)")
    pairs = chosen(wanted, data)
    if not pairs:
        say("nobody is ahead")
        return
    session.files.make([WORKS[work] for _, work in pairs])
    side_by_side(session, [pair for pair in pairs if WORKS[pair[1]].kind == "closed"], data)
    for name, work in pairs:
        if WORKS[work].kind in ALONE:
            alone(session, name, WORKS[work], data)


def side_by_side(session, pairs, data):
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
    keep(data, server.name, work, profile(server, matrix.load(server, work, headers)))


def alone(session, name, work, data):
    """One round of a measurement; its figures are not kept, since perf has slowed it."""
    scratch, parts = {**results.new(), "works": {work.name: {}}}, {}
    session.options.rounds = 1
    try:
        ALONE[work.kind].measure_work(session, [ALL[name]], work, scratch, lambda server, part: watched(server, parts.setdefault(part, {})))
    finally:
        session.close([])
    found = parts.pop("", None)
    if not found:
        say(f"{name}:{work.name}: {scratch['cells'][work.name][name].get('absent', 'perf recorded nothing')}")
        return
    data["servers"].setdefault(name, scratch["servers"][name])
    keep(data, name, work, {**found, **parts})


def keep(data, name, work, found):
    data["profiles"].setdefault(work.name, {})[name] = found
    show(f"{name}, {work.title}", found)
    for part, its in found.items():
        if isinstance(its, dict) and "waits" in its:
            show(f"{name}, {work.title}, {part}", its)


def show(title, found):
    say(f"{title}: " + ", ".join(f"{where} {share} %" for share, where in found["objects"]))
    for share, name, where in found["functions"]:
        say(f"  {share:6.2f} %  {name}  ({where})")
    for seconds, times, mean, why, thread in found.get("waits", []):
        say(f"  {seconds:8.3f} s waiting, {times} times, {mean} ms each  {why}  ({thread})")
    if "ready" in found:
        say(f"  ready, and waiting for a processor: {found['ready']}")
