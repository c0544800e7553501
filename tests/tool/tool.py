# SPDX-License-Identifier: Apache-2.0
"""afpactl as a script sees it: what it was called with, its exit status, what it printed; segments made by itself."""
import json
import os
import pty
import signal
import subprocess
import threading
from pathlib import Path

from zone import AFPACTL, BUILD, Zone

HOLD = BUILD / "tests" / "hold"
# What libtool's script starts: the script takes ten times as long as the tool.
REAL = AFPACTL.parent / ".libs" / "afpactl"
TOOL = REAL if REAL.exists() else AFPACTL
DONE, NOT_SO, USAGE, NO_ZONE = range(4)
SECONDS = 30  # nothing here takes longer
MIB = 1 << 20
CHUNK = 64 << 10


def environment(**more):
    """Names in UTF-8, times in one zone, the library from the build tree."""
    return {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "LD_LIBRARY_PATH": str(BUILD / "libafpa" / ".libs"), **more}


def command(*args):
    return [os.fsencode(one) if isinstance(one, (str, Path)) else one if isinstance(one, bytes) else str(one).encode()
            for one in (TOOL, *args)]


class Run:
    """One call that ended."""

    def __init__(self, args, status, out, err):
        self.args, self.status, self.out, self.err = args, status, out, err

    def __repr__(self):
        return f"afpactl {self.args}: exit {self.status}\nstdout: {self.out}\nstderr: {self.err}"

    @property
    def text(self):
        return self.out.decode()

    @property
    def lines(self):
        return self.text.splitlines()

    @property
    def json(self):
        return json.loads(self.out)

    def done(self):
        """It went well, and there was nothing to complain about."""
        assert self.status == DONE and self.err == b"", f"expected success without a word on stderr: {self}"
        return self

    def fails(self, status, *words):
        """It ended with that status, nothing on stdout, and one line on stderr that has these words."""
        assert self.out == b"", f"expected nothing on stdout: {self}"
        return self.complains(status, *words)

    def complains(self, status, *words):
        err = self.err.decode()
        assert self.status == status, f"expected exit status {status}: {self}"
        assert err.startswith("afpactl: ") and err.endswith("\n") and err.count("\n") == 1, \
            f"expected one line of afpactl: {self}"
        for word in words:
            assert str(word) in err, f"expected {word!r} in the message: {self}"
        return self


def run(*args, stdin=b"", cwd=None, seconds=SECONDS, prefix=(), **env):
    given = command(*args)
    ended = subprocess.run([*prefix, *given], input=stdin, capture_output=True, timeout=seconds, cwd=cwd, env=environment(**env))
    return Run(given[1:], ended.returncode, ended.stdout, ended.stderr)


class Segment(Zone):
    """A zone of the test's own, made without a server."""

    def create(self, *options):
        run("create", *options, *(f"--{one}" for one in self.params), self.name, self.size).done()
        return self

    def run(self, *args, **more):
        return run("-z", self.path, *args, **more)

    def json(self, *args, **more):
        return self.run("--json", *args, **more).done().json

    def warm(self, *paths):
        """Loads files, all of which are expected to fit."""
        return self.json("warm", *paths)

    def paths(self, *args):
        return [one["path"] for one in self.json("list", *args)]

    def verified(self):
        assert self.run("verify").done().lines == ["ok"], "expected a sound segment"

    def start(self, *args, stdin=subprocess.PIPE, stderr=subprocess.PIPE, **more):
        """A call that goes on; the caller waits for it."""
        return subprocess.Popen(command("-z", self.path, *args), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr,
                                env=environment(), **more)


class Holder:
    """A process that uses a zone as a server does, and holds objects: see tests/hold.c."""

    def __init__(self, segment, *paths):
        self.process = subprocess.Popen([HOLD, segment.path, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        assert said == "held\n", f"expected a process that holds {paths}, it said {said!r}"

    @property
    def pid(self):
        return self.process.pid

    def end(self, how=None):
        """Has it give everything back; or kills it."""
        if how:
            self.process.send_signal(how)
        self.process.communicate(timeout=SECONDS)
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            self.end()


class Terminal:
    """A terminal for the standard error of a process; collects what is written to it."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        self.output = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            while data := os.read(self.ours, 4096):
                self.output += data
        except OSError:  # how the end of a terminal shows
            pass

    def end(self):
        """All that was written; call when the process has ended."""
        os.close(self.theirs)
        self.reader.join(SECONDS)
        os.close(self.ours)
        return self.output


def died_by(status, *signals):
    """Whether a process ended by one of these signals."""
    return status in [-one for one in signals or (signal.SIGINT,)]


def put(path, data=b"x"):
    path = Path(os.fsdecode(path)) if isinstance(path, bytes) else path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# ---- JSON, as scripts depend on it ----

def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_seconds(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def is_text(value):
    return isinstance(value, str)


def is_bool(value):
    return isinstance(value, bool)


def is_counts(value):
    """{"reason": count}"""
    return isinstance(value, dict) and all(is_text(word) and is_count(count) and count > 0 for word, count in value.items())


def is_chunk(value):
    return value is None or is_count(value)


def all_of(fields):
    return lambda value: isinstance(value, list) and all(wrong(one, fields) == [] for one in value)


def is_header(value):
    return value is None or is_text(value)


OWNER = {"slot": is_count, "pid": is_count, "kind": is_text, "pins": is_count, "alive": is_bool}
STAT = {"zone": is_text, "path": is_text, "layout_version": is_count, "size": is_count, "pinned": is_bool, "objects": is_count,
        "response_entries": is_count, "bytes_cached": is_count, "bytes_free": is_count, "hits": is_count, "fast_hits": is_count,
        "pipeline_hits": is_count, "misses": is_count, "fills": is_count, "fill_errors": is_count, "evictions": is_count,
        "revalidations": is_count, "retired": is_count, "pins": is_count, "owners": all_of(OWNER), "declined": is_counts}
LIST = {"path": is_text, "kind": is_text, "size": is_count, "state": is_text, "hits": is_count, "age": is_seconds,
        "pins": is_count}
ENTRY = {"index": is_count, "state": is_text, "pins": is_count, "length": is_count, "chunk": is_chunk}
SHOW = {**LIST, "identity": lambda value: isinstance(value, dict) and value != {}, "header": is_header,
        "pin_array": all_of(ENTRY)}
WARM = {"files": is_count, "bytes": is_count, "skipped": is_counts, "seconds": is_seconds}
VERIFY = {"ok": is_bool, "problems": lambda value: isinstance(value, list) and all(is_text(one) for one in value)}


def wrong(value, fields):
    """The fields that are missing or of another type than interface says."""
    if not isinstance(value, dict):
        return ["no object"]
    return [name for name, good in fields.items() if name not in value or not good(value[name])]
