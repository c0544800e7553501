# SPDX-License-Identifier: Apache-2.0
"""The hot set behind a slow disk: hot files are asked for at a constant rate, alone and while a scan asks for files that are not in
memory.  The files are on bench/slowfs.py, each server runs in a control group with less memory than what is scanned."""
import os
import signal
import subprocess
import sys
from pathlib import Path

from child import StartFailed
from wire import eventually

from bench import measure, results
from bench.load import Load, LoadFailed, constant_rate
from bench.servers.base import Site
from bench.turns import in_turns

KIND = "slow-disk"
DELAY_MS = 20
HOT_SECONDS = {True: 1, False: 2}  # quick, or not
HOT_FILES = 256         # of 16 KB
SCANNERS = 16           # connections that ask for cold files, of 64 KB
GROUP_MB, CACHE_MB = 256, 64
GROUPS = Path("/sys/fs/cgroup")
cold_next = 0           # no cold file is ever asked for twice


class SlowDisk:
    """The file system, mounted; hot and cold files."""

    def __init__(self, directory):
        self.root = directory / "slow"
        self.root.mkdir(mode=0o755)
        self.process = subprocess.Popen([sys.executable, Path(__file__).with_name("slowfs.py"), self.root, str(DELAY_MS)],
                                        stderr=subprocess.PIPE, text=True, preexec_fn=lambda: os.nice(5))
        if not eventually(lambda: self.process.poll() is not None or os.path.ismount(self.root), 10) or self.process.poll() is not None:
            raise StartFailed(self.process.communicate(timeout=10)[1].strip() or "slowfs did not start")

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.root.rmdir()


class Group:
    """A control group with a limit of memory; path is None where there can be none."""

    def __init__(self):
        memory, unified = GROUPS / "memory", GROUPS
        self.path = (memory if memory.is_dir() else unified) / f"afpa-bench-{os.getpid()}"
        limit = "memory.limit_in_bytes" if memory.is_dir() else "memory.max"
        try:
            self.path.mkdir()
            (self.path / limit).write_text(str(GROUP_MB << 20))
        except OSError:
            self.close()
            self.path = None

    def close(self):
        if self.path and self.path.is_dir():
            eventually(lambda: not (self.path / "cgroup.procs").read_text().strip(), 10)
            self.path.rmdir()


def why_not():
    if os.geteuid() != 0:
        return "only root can mount a file system"
    return "" if Path("/dev/fuse").exists() else "there is no /dev/fuse"


def measure_one(server, work, options, hot, cpus, watch):
    """A round of hot requests alone, and one beside the scan: (quiet, scan)."""
    global cold_next
    warm(server, hot, cpus)
    with watch(server, "quiet"):
        quiet = hot_round(server, work, hot, cpus, HOT_SECONDS[options.quick])
    cold = Load(server.url(), server.dir, SCANNERS, pattern="/cold/%d.bin", start=cold_next, cpus=cpus, nice=10)
    process = cold.begin()
    try:
        with watch(server, ""):
            scan = hot_round(server, work, hot, cpus, HOT_SECONDS[options.quick])
    finally:
        scanned = Load.end(process, 0.05)
    cold_next += 2 * scanned["replies"] + 1000
    scan["cold_s"] = round(scanned["replies"] / scanned["seconds"], 1)
    scan["memory"] = measure.memory(server)
    return quiet, scan


def warm(server, hot, cpus):
    """Has the hot files in memory, what came before done, and the server at rest."""
    load, seen = Load(server.url(), server.dir, 16, list=hot, check=True, cpus=cpus), 0
    for _ in range(60):
        result = load.run(0.5)
        if result["wrong"] or result["bad"]:
            raise LoadFailed(f"{result['wrong'] + result['bad']} replies other than 200")
        seen += result["seen"]
        if seen >= 8 * HOT_FILES and result["seen"] >= HOT_FILES:
            return
    raise LoadFailed(f"only {seen} hot files in 30 s")


def hot_round(server, work, hot, cpus, seconds):
    before = measure.cpu_seconds(server.pids())
    result = constant_rate(server.port, work.connections, work.rate, seconds, hot, cpus)
    if result["not_200"]:
        raise LoadFailed(f"{result['not_200']} replies other than 200")
    return {"replies_s": result["replies"] / result["seconds"], "answered": result["replies"] / result["wanted"],
            **measure.cpu_between(before, measure.cpu_seconds(server.pids()), max(result["replies"], 1)),
            **{key: result[key] for key in ("p50_us", "p99_us", "p999_us", "max_us")}}


def measure_all(session, kinds, work, disk, group, data, watch):
    servers_cpus, load_cpus = measure.processors()
    hot = session.directory / "hot"
    hot.write_text("".join(f"/hot/{number}.bin\n" for number in range(HOT_FILES)))
    session.files.root, kept = disk.root, session.files.root
    try:
        session.start_origin()
    finally:
        session.files.root = kept
    session.site, kept = Site(disk.root, CACHE_MB, files=hot, cpus=servers_cpus, origin=session.site.origin, group=group.path), session.site
    try:
        found = in_turns(session, kinds, work, data, 1 if session.options.quick else session.options.rounds,
                         lambda server: measure_one(server, work, session.options, hot, load_cpus, watch))
    finally:
        session.site = kept
    for name, rounds in found.items():
        data["cells"][work.name][name] = cell_of(name, rounds)


def cell_of(name, rounds):
    from bench.matrix import say
    quiet, scan = zip(*rounds)
    cell = results.sum_up(list(scan))
    cell.update(quiet=results.sum_up(list(quiet)), memory=scan[-1]["memory"], cold_s=results.spread([one["cold_s"] for one in scan]))
    say(f"  {name:18} alone p50 {cell['quiet']['p50_us']['median']:7.0f} p99 {cell['quiet']['p99_us']['median']:7.0f} us; beside the scan "
        f"p50 {cell['p50_us']['median']:8.0f} p99 {cell['p99_us']['median']:8.0f} p99.9 {cell['p999_us']['median']:8.0f} us; "
        f"{cell['cold_s']['median']:.0f} cold/s; answered {min(one['answered'] for one in scan):.3f}")
    return cell


def measure_work(session, kinds, work, data, watch=measure.nothing):
    cells = data["cells"].setdefault(work.name, {})
    reason, disk = why_not(), None
    if not reason:
        try:
            disk = SlowDisk(session.directory)
        except (StartFailed, OSError) as error:
            reason = str(error)
    if reason:
        cells.update({kind.name: {"absent": reason} for kind in kinds})
        return
    group = Group()
    data["works"][work.name].update(delay_ms=DELAY_MS, hot_files=HOT_FILES, scanners=SCANNERS, cache_mb=CACHE_MB, group_mb=GROUP_MB if group.path else 0)
    try:
        measure_all(session, kinds, work, disk, group, data, watch)
    finally:
        session.close([])
        group.close()
        disk.close()
