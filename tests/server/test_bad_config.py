# SPDX-License-Identifier: Apache-2.0
"""Configurations that cannot be: one line that names the directive, the zone or value, and the reason; exit status not 0; nothing lost."""
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import need
from docroot import payload, put, settle
from servers import ROOT, Server
from wire import fetch, get
from zone import STOCK_ONLY, Zone

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

NOBODY = 65534
UNPRIVILEGED = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if ROOT else []


class Place:
    """A document root with one file, and servers over it that end with the test."""

    def __init__(self, kind):
        self.kind = kind
        self.root = Path(tempfile.mkdtemp(prefix="site-"))
        self.root.chmod(0o755)
        self.data = put(self.root / "file.bin", payload("file", 100000))
        self.closing = []

    def zone(self, *args):
        zone = Zone(*args)
        self.closing.append(zone.remove)
        return zone

    def server(self, zone, zone_line=None, unprivileged=False, limit=(), **more):
        if unprivileged or limit:
            more.update(wrap=[*limit, *(UNPRIVILEGED if unprivileged else [])])
            if unprivileged:
                more["user"] = None
        server = Server(self.kind, self.root, zone, **more)
        if unprivileged and ROOT:
            os.chown(server.dir, NOBODY, NOBODY)
        if zone_line:
            server.configure(zone_line)
        self.closing.append(server.close)
        return server

    def close(self):
        for step in reversed(self.closing):
            step()
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture
def place(kind):
    place = Place(kind)
    yield place
    place.close()


DIRECTIVE = {"nginx": "afpa_zone", "httpd": "AfpaZone"}


def complaints(kind, said):
    """The lines of what a server said that are about us, without the time stamps in front, each once."""
    plain = [re.sub(r"^(nginx: |\d{4}/\S+ \S+ |\[[^]]*\] )+(\d+#\d+: )?", "", line) for line in said.splitlines()]
    ours = [re.sub(r"^\[\w+\] (\d+#\d+: )?", "", line) for line in plain if re.search(r"\bafpa", line, re.I)]
    return sorted(set(ours) - {line for line in ours if line.startswith("AH00526")})


def refused(server, reason, *words, directive=None):
    """Both the configuration test and the start fail, with one line that has all of this in it."""
    for status, said in (server.check(), server.run()):
        assert status not in (0, None) and status > 0, f"exit status {status}:\n{said}"
        lines = complaints(server.kind, said)
        assert len(lines) == 1, f"not one line:\n{said}"
        for word in (directive or DIRECTIVE[server.kind], *words):
            assert str(word) in lines[0], f"{word!r} is not named: {lines[0]}"
        assert re.search(reason, lines[0], re.I), f"no reason {reason!r}: {lines[0]}"
        if server.kind == "nginx":
            assert str(server.file) in said
        return lines[0]


PARAMETERS = [
    ("@ 4k", "small|least|less than", "@"), ("@ 0", "small|size", "@"), ("@ abc", "size", "abc"), ("@ -1m", "size", "-1m"),
    ("@ 99999999999999g", "size|large|big", "99999999999999g"), ("@ 8m chunk=100", "chunk|power", "100"), ("@ 8m chunk=abc", "chunk", "abc"),
    ("@ 8m chunk=3000k", "chunk|power", "3000k"), ("@ 8m mlock=maybe", "try|require|off", "maybe"),
    ("@ 8m nonsense=1", "parameter|unknown|invalid", "nonsense"), ("@ 8m nonsense", "parameter|unknown|invalid", "nonsense"),
    ("@ 8m path=", "path|empty", "path"), ("@ 8m path=relative/zone", "absolute|path", "relative/zone"),
    ("@/x 8m", "name", "@/x"), (".hidden 8m", "name", ".hidden"), ("a" * 60 + " 8m", "name|long", "a" * 60), ("@", "argument|size|param", "")]


@pytest.mark.parametrize("line, reason, word", PARAMETERS, ids=[p[0][:30] for p in PARAMETERS])
def test_parameters(place, line, reason, word):
    zone = place.zone("8m")
    text = f"{DIRECTIVE[place.kind]} {line.replace('@', zone.name)}" + (";" if place.kind == "nginx" else "")
    word = word.replace("@", zone.name)
    zone.name = text.split()[1].rstrip(";")  # so that it is used by the name it is declared by
    refused(place.server(zone, text), reason, word)
    assert not zone.path.exists()


VALUES = [("afpa_revalidate", "AfpaRevalidationTimeout", "soon"), ("afpa_revalidate", "AfpaRevalidationTimeout", "-1"),
          ("afpa_min_size", "AfpaMinCache", "x"), ("afpa_max_size", "AfpaMaxCache", "-5"), ("afpa_min_uses", "AfpaMinUses", "-1"),
          ("afpa_min_uses", "AfpaMinUses", "few"), ("afpa_zerocopy", "AfpaZeroCopy", "much"), ("afpa_cache_status", "AfpaCacheStatus", "maybe"),
          ("afpa_threads", None, "nosuchpool"), (None, "AfpaCache", "perhaps")]


MAIN = ("afpa_zerocopy", "afpa_threads")  # of nginx, at http level only


@pytest.mark.parametrize("nginx, httpd, value", VALUES, ids=[f"{v[0] or v[1]} {v[2]}" for v in VALUES])
def test_values(place, nginx, httpd, value):
    directive = nginx if place.kind == "nginx" else httpd
    if directive:
        text = {"conf": f"{directive} {value}"} if place.kind == "httpd" else \
            {"outer": f"{directive} {value};"} if nginx in MAIN else {"conf": f"{directive} {value};"}
        server = place.server(place.zone("8m"), **text)
        for status, said in (server.check(), server.run()):
            assert status > 0
            # nginx's own readers of values name the directive, not the value
            assert [line for line in said.splitlines() if directive in line or value in line], said


def test_unknown_zone(place):
    nginx = place.kind == "nginx"
    conf = "location /x/ { afpa nosuch; }" if nginx else "AfpaEnable nosuch"
    server = place.server(place.zone("8m"), conf=conf)
    refused(server, "unknown|no zone|not declared|no such|undeclared|declare", "nosuch", directive="afpa" if nginx else "AfpaEnable")


def test_zone_declared_twice(place):
    zone = place.zone("8m")
    server = place.server(zone, "\n".join([zone.directive(place.kind)] * 2))
    refused(server, "twice|already|duplicate", zone.name)


def disk_directory(place):
    for directory in (place.root, Path("/var/tmp"), Path("/"), Path.home()):
        kind = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True, timeout=5).stdout.strip()
        if kind != "tmpfs" and os.access(directory, os.W_OK):
            return directory
    return None


def test_path_not_on_tmpfs(place):
    directory = disk_directory(place)
    need(directory, "every directory that can be written is on tmpfs")
    path = directory / f"zone-{os.getpid()}"
    refused(place.server(place.zone("8m", f"path={path}")), "tmpfs", path)
    assert not path.exists()


def test_path_in_no_directory(place):
    path = Path(f"/dev/shm/afpa-nosuch-{os.getpid()}/zone")
    refused(place.server(place.zone("8m", f"path={path}")), "no such file", path.parent)


@pytest.fixture
def closed_directory():
    """A directory on tmpfs in which a server without rights may make nothing."""
    path = Path(tempfile.mkdtemp(prefix="closed-", dir="/dev/shm"))
    path.chmod(0o755 if ROOT else 0o555)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


def test_path_not_writable(place, closed_directory):
    zone = place.zone("8m", f"path={closed_directory}/zone")
    refused(place.server(zone, unprivileged=True), "permission denied", zone.path)


def test_segment_of_another_user(place):
    need(ROOT, "needs root to make a file of another user")
    zone = place.zone("8m")
    with place.server(zone):
        pass
    before = zone.path.stat()
    assert before.st_mode & 0o077 == 0, "others may read or write the segment"
    refused(place.server(zone, unprivileged=True), "permission denied", zone.path)
    assert zone.path.stat().st_ino == before.st_ino


def test_memory_lock_required_but_refused(place):
    zone = place.zone("8m", "mlock=require")
    server = place.server(zone, unprivileged=True, limit=["prlimit", "--memlock=0:0"])
    status, said = server.run()
    lines = complaints(place.kind, said)
    assert status > 0 and len(lines) == 1, said
    assert DIRECTIVE[place.kind] in lines[0] and zone.name in lines[0] and re.search("lock", lines[0])
    assert not zone.path.exists(), "a segment nobody can use was left"


@pytest.mark.parametrize("mode", ["try", "off"])
def test_memory_lock_not_required(place, mode):
    zone = place.zone("8m", f"mlock={mode}")
    with place.server(zone, unprivileged=True, limit=["prlimit", "--memlock=0:0"]) as server:
        assert fetch(server.port, get("/file.bin")).body == place.data
        assert fetch(server.port, get("/file.bin")).body == place.data
        assert zone.stat()["pinned"] is False
        assert zone.hits() > 0
        warned = [line for line in server.said().splitlines() if "lock" in line and zone.name in line]
        assert bool(warned) == (mode == "try"), server.said()


def test_size_changed_while_in_use(place):
    settle()
    zone = place.zone("8m")
    with place.server(zone) as first:
        for _ in range(2):
            fetch(first.port, get("/file.bin"))
        fills = zone.count("fills")
        refused(place.server(zone, zone.directive(place.kind, "16m")), "size|8388608|8m|in use", zone.name)
        hits = zone.hits()
        assert fetch(first.port, get("/file.bin")).body == place.data
        assert zone.grows("hits", hits)
        assert zone.count("fills") == fills


def test_chunk_changed_while_in_use(place):
    zone = place.zone("8m")
    with place.server(zone):
        line = zone.directive(place.kind).replace(" 8m", " 8m chunk=128k")
        refused(place.server(zone, line), "chunk|in use", zone.name)


def test_size_changed_while_not_in_use(place):
    """Replaced by an empty one, and said so."""
    zone = place.zone("8m")
    with place.server(zone) as first:
        fetch(first.port, get("/file.bin"))
    with place.server(zone, zone.directive(place.kind, "16m")) as second:
        assert zone.stat()["size"] == 16 << 20
        assert [line for line in second.said().splitlines() if zone.name in line and "size" in line], second.said()
        for _ in range(2):
            assert fetch(second.port, get("/file.bin")).body == place.data
        assert not zone.problems()


def write_at(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def other_layout(path, version):
    """The number of the layout version stands somewhere in the first bytes of the header; raises it by one."""
    head = path.read_bytes()[:64]
    at = next(n for n in range(4, 64, 4) if int.from_bytes(head[n:n + 4], "little") == version)
    write_at(path, at, (version + 1).to_bytes(4, "little"))


DAMAGE = {
    "magic": lambda path, version: write_at(path, 0, b"\0" * 8),
    "layout version": other_layout,
    "zeroed header": lambda path, version: write_at(path, 0, b"\0" * 4096),
    "noise in the header": lambda path, version: write_at(path, 8, os.urandom(4000)),
    "cut": lambda path, version: os.truncate(path, path.stat().st_size // 2),
    "cut to one page": lambda path, version: os.truncate(path, 4096),
    "empty": lambda path, version: os.truncate(path, 0),
    "text": lambda path, version: (os.truncate(path, 0), write_at(path, 0, b"hello\n")),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_segment(place, how):
    """Thrown away with a warning; the server starts and the cache fills anew."""
    zone = place.zone("8m")
    with place.server(zone) as first:
        for _ in range(2):
            fetch(first.port, get("/file.bin"))
        version = zone.stat()["layout_version"]
    DAMAGE[how](zone.path, version)
    assert zone.ctl("stat", check=False).returncode == 3
    with place.server(zone) as second:
        warned = [line for line in complaints(place.kind, second.said()) if zone.name in line]
        assert len(warned) == 1 or how == "empty", second.said()
        assert zone.stat()["objects"] == 0
        for _ in range(2):
            assert fetch(second.port, get("/file.bin")).body == place.data
        assert zone.hits() > 0
        assert not zone.problems()


def small_tmpfs(size, where):
    """Words that run a command with a tmpfs of its own mounted."""
    return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size},mode=1777 none "$0" && exec "$@"', str(where)]


def may_mount():
    return ROOT and subprocess.run(small_tmpfs("1m", "/mnt") + ["true"], capture_output=True, timeout=10).returncode == 0


def test_tmpfs_too_small_for_the_zone(place):
    need(may_mount(), "needs the right to mount")
    where = place.root / "mnt"
    where.mkdir()
    zone = place.zone("32m", f"path={where}/zone")
    server = place.server(zone, limit=small_tmpfs("8m", where))
    status, said = server.run()
    lines = complaints(place.kind, said)
    assert status > 0 and len(lines) == 1, said
    assert DIRECTIVE[place.kind] in lines[0] and re.search("no space|room|full", lines[0], re.I)


def test_tmpfs_full_once_the_zone_is_made(place):
    """Room for the zone but for nothing on top of it: what a worker needs for itself is missing.  Served all the same."""
    need(may_mount(), "needs the right to mount")
    where = place.root / "mnt"
    where.mkdir()
    zone = place.zone("8m", f"path={where}/zone")
    for size in ("8m", "8200k", "8400k", "9m"):
        server = place.server(zone, limit=small_tmpfs(size, where))
        try:
            server.start()
        except Exception as error:
            assert "No space" in str(error) or "room" in str(error), error
            continue
        for _ in range(3):
            assert fetch(server.port, get("/file.bin")).body == place.data
        assert "signal 7" not in server.log(), "SIGBUS"
        server.stop()


def test_tmpfs_full_for_a_part_of_a_ledger(place):
    """A worker that counts pins of first chunks already has no memory to count those of the chunks behind: it goes on without."""
    need(may_mount(), "needs the right to mount")
    where = place.root / "mnt"
    where.mkdir()
    large = put(place.root / "large.bin", payload("large", 400000))
    small = put(place.root / "small.bin", payload("small", 1000))
    server = place.server(place.zone("8m", f"path={where}/zone"), limit=small_tmpfs("12m", where), workers=1)
    with server:
        assert fetch(server.port, get("/small.bin")).body == small
        with open(f"/proc/{server.workers()[0]}/root{where}/rest", "wb") as rest:
            with pytest.raises(OSError):
                while True:
                    os.posix_fallocate(rest.fileno(), rest.seek(4096, os.SEEK_CUR), 4096)
            for _ in range(3):
                assert fetch(server.port, get("/large.bin"), 5).body == large
                assert fetch(server.port, get("/small.bin"), 5).body == small
