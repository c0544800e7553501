# SPDX-License-Identifier: Apache-2.0
"""What the servers under test have in common: one process (as far as a server can), one processor, no access log, connections
that stay as long as the client likes, the same files."""
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from child import Child, StartFailed, find
from zone import AFPACTL, Zone

USER = "www-data"
ROOT = os.geteuid() == 0
CONNECTIONS = 4096
DESCRIPTORS = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 100000)
# Caches look at a file again (the modules, nginx's open_file_cache) after so long.
CHECK_SECONDS = 1


@dataclass
class Site:
    """What is served, and with what."""
    root: Path                 # the files
    memory: int = 1024         # megabytes that a server may use as a cache of its own
    files: Path = None         # a list of all files, one target a line
    certificate: Path = None   # with its key; None: no TLS
    cpus: frozenset = None     # processors for servers
    origin: int = 0            # port of the server that those ask which have no files themselves
    group: Path = None         # control group to run in


class Bench(Child):
    """A server under test."""
    start_seconds = 60  # beside a dozen others, or under callgrind
    title = ""
    note = ""          # what is particular about its configuration
    ours = False       # has the cache; `fast`: its fast path
    fast = False
    peer = False       # another project's server
    packages = ()      # Debian's
    programs = ()      # one of these has to be there
    tls = False        # can it
    by_origin = False  # has no files of its own
    forks = False      # serves in a process below the first
    only = None        # work that it is measured for, if not all
    cannot = {}        # work → why not
    single = ()        # words with which it is one process
    warm_by = (1, 0)   # seconds of requests and of rest, in turn, when every file of the mix is asked for

    def __init__(self, site, wrap=(), alone=False):
        """wrap: words before the command; alone: as one process."""
        super().__init__(self.name)
        self.wrap, self.alone = list(wrap), alone
        self.site = site
        self.zone = Zone(f"{site.memory}m") if self.ours else None
        (self.dir / "tmp").mkdir()
        if ROOT:  # some servers write their files as the user they work as
            shutil.chown(self.dir, USER)
            shutil.chown(self.dir / "tmp", USER)

    # ---- what a server says of itself ----

    @classmethod
    def absent(cls):
        """Why it cannot be measured here; empty if it can."""
        if cls.programs and not find(*cls.programs):
            return f"not installed (Debian: {' '.join(cls.packages)})"
        return ""

    @classmethod
    def version(cls):
        return ""

    @classmethod
    def refuses(cls, work):
        """Why it does not take part in this work; empty if it does."""
        if cls.only and work.name not in cls.only:
            return f"measured for {', '.join(cls.only)} only"
        if work.tls and not cls.tls:
            return "has no TLS"
        return cls.cannot.get(work.name, "")

    def config(self):
        """The text of its configuration, for the record."""
        return ""

    def prepare(self):
        """Writes what it needs to start."""

    def before(self, work):
        """Called before each kind of work."""

    def words(self):
        """The command that starts it."""
        raise NotImplementedError

    def command(self):
        return [*self.wrap, *self.words(), *(self.single if self.alone else ())]

    # ---- running ----

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def before_exec(self):
        super().before_exec()
        if self.site.cpus:
            os.sched_setaffinity(0, self.site.cpus)
        if self.site.group:
            (self.site.group / "cgroup.procs").write_text("0")
        for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_MEMLOCK):
            most = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (most, most))

    def start(self):
        self.prepare()
        return super().start()

    def close(self):
        super().close()
        if self.zone:
            self.zone.remove()

    def ready(self):
        return self.alone or not self.forks or bool(self.workers())

    def pids(self):
        """The process and all below it."""
        found = [self.process.pid]
        for pid in found:
            try:
                found += [int(p) for task in os.listdir(f"/proc/{pid}/task")
                          for p in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
            except OSError:
                pass
        return found

    def url(self, target="/", tls=False):
        return f"{'https' if tls else 'http'}://127.0.0.1:{self.port2 if tls else self.port}{target}"


def said_by(*command, line=0, take=None):
    """A word of what a program prints about itself."""
    program = find(command[0])
    if not program:
        return ""
    run = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=20)
    lines = (run.stdout + run.stderr).splitlines()
    return (take(lines[line]) if take else lines[line]).strip() if len(lines) > line else ""


__all__ = ["AFPACTL", "Bench", "CHECK_SECONDS", "CONNECTIONS", "DESCRIPTORS", "ROOT", "Site", "StartFailed", "USER", "find", "said_by"]
