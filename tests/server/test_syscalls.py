# SPDX-License-Identifier: Apache-2.0
"""What a hit costs in system calls, watched by strace: the file is not touched."""
import re
import shutil
import signal
import subprocess

import pytest

from conftest import need
from docroot import payload
from pair import Pair
from wire import Wire, eventually, get
from zone import STOCK_ONLY

HITS = 1000
CALLS = "open,openat,openat2,creat,stat,lstat,fstat,newfstatat,statx,access,faccessat,faccessat2,read,pread64,readv,preadv,preadv2,mmap"
# httpd looks at the path of every request before any handler may, for .htaccess, links and so on; it does not open the file.
ALLOWED = {"nginx": set(), "httpd": {"stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2"}}


class Trace:
    """strace on all workers of a server."""

    def __init__(self, server, calls):
        self.out = server.dir / "trace"
        self.err = server.dir / "trace-messages"
        pids = [word for pid in server.workers() for word in ("-p", str(pid))]
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen(["strace", "-f", "-y", "-s", "300", "-e", f"trace={calls}", "-o", self.out, *pids],
                                            stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        self.attached = eventually(lambda: "attached" in self.err.read_text() or self.process.poll() is not None, 5) \
            and self.process.poll() is None

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(10)
        return self.out.read_text(errors="replace") if self.out.exists() else ""


@pytest.fixture(scope="module")
def pair(kind):
    with Pair(kind, workers=1, revalidate=3600000) as pair:
        yield pair


def traced(pair, raw, times, calls=CALLS):
    """The calls made while `times` keep-alive requests are answered."""
    need(shutil.which("strace"), "strace is not installed")
    trace = Trace(pair.ours, calls)
    try:
        need(trace.attached, f"strace may not attach: {trace.err.read_text()}")
        with Wire(pair.ours.port) as wire:
            for _ in range(times):
                reply = wire.request(raw)
    finally:
        said = trace.stop()
    return reply, said


def calls_on(trace, name):
    return [line for line in trace.splitlines() if name in line]


@pytest.mark.parametrize("size", [1000, 200000])
def test_hits_do_not_touch_the_file(pair, kind, size):
    name = f"watched-{size}.bin"
    data = pair.put(name, payload(name, size))
    pair.warm("/" + name)
    hits = pair.zone.hits()
    reply, trace = traced(pair, get("/" + name), HITS if size < 65536 else HITS // 10)
    assert reply.body == data
    assert pair.zone.grows("hits", hits, HITS // 10)
    touched = [line for line in calls_on(trace, str(pair.root / name))
               if (re.search(r"^\d+\s+(?:<\.\.\. )?(\w+)", line) or [None, ""])[1] not in ALLOWED[kind]]
    assert STOCK_ONLY or not touched, touched[:10]


def test_the_watch_sees_what_a_cold_file_costs(pair):
    """The test above proves something only if the file's name would be seen."""
    pair.put("cold.bin", payload("cold", 1000))
    _, trace = traced(pair, get("/cold.bin"), 1)
    assert [line for line in calls_on(trace, str(pair.root / "cold.bin")) if "open" in line]


def test_nothing_is_written_per_hit(pair, kind):
    """A hit makes no call that could block on another process or on a disk."""
    pair.put("calls.bin", payload("calls", 1000))
    pair.warm("/calls.bin")
    slow = "fsync,fdatasync,msync,flock,fallocate,ftruncate,rename,unlink,clone,clone3,madvise,mlock,munlock"
    _, trace = traced(pair, get("/calls.bin"), 200, slow)
    lines = [line for line in trace.splitlines() if re.match(r"\d+\s+\w+\(", line)]
    assert len(lines) < 20, lines[:20]
