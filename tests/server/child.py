# SPDX-License-Identifier: Apache-2.0
"""A server as a child process, with ports and a directory of its own."""
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from wire import eventually


def free_port():
    """A port nobody listens on, below the range that outgoing connections take theirs from."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def find(*names):
    """The first of some programs that is there; None if none is."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return next(filter(None, (shutil.which(n, path=path) for n in names)), None)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: an interrupted test leaves no server behind


class StartFailed(Exception):
    pass


class Child:
    """What is common to all servers.  A class of its own for each has command(), and writes what that needs into self.dir."""

    start_seconds = 15

    def __init__(self, name):
        self.name = name
        self.dir = Path(tempfile.mkdtemp(prefix="server-"))
        self.dir.chmod(0o755)
        self.port, self.port2 = free_port(), free_port()
        self.process = None

    def command(self):
        raise NotImplementedError

    def environment(self):
        return None

    def before_exec(self):
        die_with_parent()

    def said(self):
        return (self.dir / "stderr").read_text(errors="replace") + self.log()

    def launch(self):
        with open(self.dir / "stderr", "ab") as err:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=self.dir,
                                            env=self.environment(), start_new_session=True, preexec_fn=self.before_exec)

    def start(self):
        self.launch()
        up = eventually(lambda: self.process.poll() is not None or self._listens(), self.start_seconds, 0.02)
        if not up or self.process.poll() is not None or not eventually(self.ready, self.start_seconds, 0.02):
            self.stop()
            raise StartFailed(f"{self.name} did not start:\n{self.said()}")
        return self

    def ready(self):
        """Whether it can be used, once it listens."""
        return True

    def _listens(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)  # httpd gives workers that are busy some ten seconds
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5)
        self.process = None

    def restart(self):
        self.stop()
        self.start()

    def workers(self):
        """Process ids of the children."""
        pid = self.process.pid
        try:
            return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def log(self):
        try:
            return (self.dir / "error.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.close()
