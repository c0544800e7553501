# SPDX-License-Identifier: Apache-2.0
"""The load: wrk as fast as it goes, bench/rate at a constant rate.  Both run on the processor that servers do not use."""
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from child import die_with_parent
from wire import eventually
from zone import BUILD

RATE = BUILD / "bench" / "rate"
# One script for wrk.  Requests are made before the time starts; a request function is there only where requests differ.
SCRIPT = """\
local threads = {}
%(headers)s
function setup(thread) table.insert(threads, thread) end
%(requests)s
%(check)s
function done(summary, latency, requests)
    local wrong, seen = 0, 0
    for _, thread in ipairs(threads) do
        wrong = wrong + (thread:get("wrong") or 0)
        seen = seen + (thread:get("seen") or 0)
    end
    local e = summary.errors
    io.write(string.format('\\nRESULT {"replies": %%d, "seconds": %%.6f, "bytes": %%d, "broken": %%d, "bad": %%d, "wrong": %%d, "seen": %%d, ' ..
        '"p50_us": %%.1f, "p99_us": %%.1f, "p999_us": %%.1f}\\n', summary.requests, summary.duration / 1e6, summary.bytes,
        e.connect + e.read + e.write + e.timeout, e.status, wrong, seen,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""
PIPELINE = """\
function init(args) all = string.rep(wrk.format("GET", "%(target)s"), %(pipeline)d) end
function request() return all end
"""
LIST = """\
local all, n, at = {}, 0, 0
function init(args)
    local made = {}
    for target in io.lines("%(file)s") do
        made[target] = made[target] or wrk.format("GET", target)
        n = n + 1
        all[n] = made[target]
    end
    at = %(start)d %% n
end
function request()
    at = at %% n + 1
    return all[at]
end
"""
COUNT = """\
local at = %(start)d
function request()
    at = at + 1
    return wrk.format("GET", string.format("%(pattern)s", at))
end
"""
CHECK = """\
wrong, seen = 0, 0
function response(status, headers, body)
    seen = seen + 1
    if status ~= 200 then wrong = wrong + 1 end
end
"""


class LoadFailed(Exception):
    pass


@dataclass
class Load:
    """What wrk is to do."""
    url: str
    directory: object              # for its script
    connections: int = 32
    headers: dict = None
    target: str = "/"
    pipeline: int = 1
    list: object = None            # a file with targets, one a line, asked for in turn
    start: int = 0                 # where in it
    pattern: str = ""              # or a target with a %d that counts up
    check: bool = False            # looks at each reply's status (slower)
    cpus: frozenset = None
    nice: int = 0

    def script(self):
        requests = ""
        if self.list:
            requests = LIST % {"file": self.list, "start": self.start}
        elif self.pattern:
            requests = COUNT % {"start": self.start, "pattern": self.pattern}
        elif self.pipeline > 1:
            requests = PIPELINE % {"target": self.target, "pipeline": self.pipeline}
        headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in (self.headers or {}).items())
        return SCRIPT % {"headers": headers, "requests": requests, "check": CHECK if self.check else ""}

    def command(self, script):
        return ["wrk", "-t", "1", "-c", str(self.connections), "-d", "600s", "-s", str(script), self.url]

    def begin(self):
        path = self.directory / "load.lua"
        path.write_text(self.script())
        process = subprocess.Popen(self.command(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   preexec_fn=lambda: pinned(self.cpus, self.nice))
        # Only then does SIGINT end it with a result.
        eventually(lambda: process.poll() is not None or catches(process.pid, signal.SIGINT), 20, 0.005)
        return process

    def run(self, seconds):
        return self.end(self.begin(), seconds)

    @staticmethod
    def end(process, seconds):
        """Lets it run for some seconds, and has it say what became of it."""
        try:
            out, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                out, _ = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                out, _ = process.communicate()
        lines = [line for line in out.splitlines() if line.startswith("RESULT ")]
        if not lines:
            raise LoadFailed(f"wrk ended without a result: {out[-300:]}")
        return json.loads(lines[0][len("RESULT "):])


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    mask = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(mask[1], 16) >> (number - 1) & 1)


def pinned(cpus, nice=0):
    die_with_parent()
    if cpus:
        os.sched_setaffinity(0, cpus)
    if nice:
        os.nice(nice)


def constant_rate(port, connections, rate, seconds, targets, cpus=None):
    """bench/rate: latencies of requests that are due at a constant rate.  targets: a file, one a line."""
    run = subprocess.run([RATE, str(port), str(connections), str(rate), str(seconds), str(targets)], capture_output=True, text=True,
                         timeout=seconds + 60, preexec_fn=lambda: pinned(cpus))
    if run.returncode != 0:
        raise LoadFailed(f"bench/rate: {run.stderr.strip()[-300:]}")
    return json.loads(run.stdout)


def bytes_received(process, seconds, step=0.02):
    """[(seconds since the first, bytes)] that wrk has read so far, sampled while it runs; it reads from sockets only."""
    samples, begin = [], time.monotonic()
    while time.monotonic() - begin < seconds and process.poll() is None:
        with open(f"/proc/{process.pid}/io") as file:
            samples.append((time.monotonic() - begin, int(file.readline().split()[1])))
        time.sleep(step)
    return samples
