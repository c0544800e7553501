# SPDX-License-Identifier: Apache-2.0
"""afpactl create and destroy: sizes, names, places, owners; what exists already, is in use, or is not ours."""
import fcntl
import grp
import os
import pwd
import signal
import struct
import subprocess
import time

import pytest

from tool import DONE, NO_ZONE, NOT_SO, put, run
from wire import eventually


@pytest.mark.parametrize("size,expected", [("1048576", 1 << 20), ("1m", 1 << 20), ("1M", 1 << 20), ("1500k", 1500 << 10),
                                           ("3000000", 3000000),
                                           ("64m", 64 << 20)])
def test_size(make, size, expected):
    zone = make(size)
    stat = zone.json("stat")
    assert (stat["size"], stat["chunk"], stat["zone"]) == (expected, 65536, zone.name), f"expected what was asked for: {stat}"
    assert stat["memory"] <= expected + (1 << 20), "expected no more memory than that"
    zone.verified()


@pytest.mark.parametrize("chunk", ["64k", "128k", "262144", "1m"])
def test_chunk(make, chunk):
    zone = make("8m", options=["--chunk", chunk])
    expected = {"64k": 65536, "128k": 131072, "262144": 262144, "1m": 1048576}[chunk]
    assert zone.json("stat")["chunk"] == expected, "expected what was asked for"
    zone.verified()


BAD = {  # name, size, options; a word of the reason
    "too small": (None, "1023k", [], "out of range"),
    "nothing": (None, "0", [], "out of range"),
    "no room for four chunks": (None, "2m", ["--chunk", "1m"], "out of range"),
    "too large for the machine": (None, "900g", [], "reserve"),
    "no name": ("", "4m", [], "a name has"),
    "slash": ("a/b", "4m", [], "a name has"),
    "dots": ("..", "4m", [], "a name has"),
    "hidden": (".x", "4m", [], "a name has"),
    "blank": ("a b", "4m", [], "a name has"),
    "escape": ("\x1b[2J", "4m", [], "a name has"),
    "long": ("n" * 33, "4m", [], "a name has"),
    "no directory": (None, "4m", ["--path", "/dev/shm/afpa_no/such/directory"], "No such file"),
    "no tmpfs": (None, "4m", ["--path", "/proc/segment"], "is not on tmpfs"),
}


@pytest.mark.parametrize("label", BAD)
def test_bad(make, label):
    zone = make(create=False)
    name, size, options, word = BAD[label]
    run("create", *options, zone.name if name is None else name, size).fails(NOT_SO, word)
    assert not zone.path.exists(), "expected no file to be left"


def test_long_but_good_name(shm):
    name = "n" * 32
    run("create", "--path", shm / "segment", name, "1m").done()
    assert run("-z", shm / "segment", "--json", "stat").done().json["zone"] == name, "expected the whole name"


def test_json(make):
    zone = make(create=False)
    created = run("--json", "create", zone.name, "4m").done().json
    assert created == {"zone": zone.name, "path": str(zone.path), "size": 4 << 20, "chunk": 65536}, \
        f"expected what was made: {created}"
    assert run("--json", "destroy", zone.name).done().json == {"destroyed": zone.name}


def test_path(shm):
    path = shm / "segment"
    assert run("create", "--path", path, "name", "4m").done().out == b"", "expected no word"
    stat = run("-z", path, "--json", "stat").done().json
    assert (stat["zone"], stat["path"]) == ("name", str(path)), f"expected the name it was given: {stat}"
    run("destroy", path).done()
    assert not path.exists(), "expected it to be removed"


@pytest.mark.parametrize("way", ["segment", "text", "directory", "dangling link"])
def test_exists_already(make, way):
    zone = make(create=False)
    if way == "segment":
        zone.create()
    elif way == "text":
        put(zone.path, b"text")
    elif way == "directory":
        zone.path.mkdir()
    else:
        zone.path.symlink_to("afpa_not_there")
    before = os.lstat(zone.path)
    run("create", zone.name, "8m").fails(NOT_SO, zone.path, "exists already")
    after = os.lstat(zone.path)
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size), "expected it to stay as it is"
    if way == "directory":
        zone.path.rmdir()
    elif way == "dangling link":
        zone.path.unlink()


def test_rights_of_the_file(make):
    stat = os.stat(make().path)
    assert (stat.st_mode & 0o777, stat.st_uid) == (0o600, os.geteuid()), "expected nobody else to get at it"


def test_umask(make):
    zone = make(create=False)
    old = os.umask(0)
    try:
        zone.create()
    finally:
        os.umask(old)
    assert os.stat(zone.path).st_mode & 0o777 == 0o600, "expected the same whatever the umask"


def nobody():
    user = pwd.getpwnam("nobody")
    return user, grp.getgrgid(user.pw_gid).gr_name


OWNERS = {  # what is given; whether it brings a user, a group
    "USER": (True, True), "UID": (True, False), "USER:GROUP": (True, True), "UID:GID": (True, True),
    ":GROUP": (False, True), ":GID": (False, True), "root:GROUP": (False, True), "0:GID": (False, True),
}


@pytest.mark.parametrize("form", OWNERS)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner(make, form):
    user, group = nobody()
    given = form
    for word, value in (("USER", user.pw_name), ("UID", user.pw_uid), ("GROUP", group), ("GID", user.pw_gid)):
        given = given.replace(word, str(value))
    zone = make(options=["--owner", given])
    stat = os.stat(zone.path)
    brings_user, brings_group = OWNERS[form]
    assert stat.st_uid == (user.pw_uid if brings_user else 0), f"expected the user of {given}"
    assert not brings_group or stat.st_gid == user.pw_gid, f"expected the group of {given}"
    zone.verified()
    run("destroy", zone.name).done()


@pytest.mark.parametrize("lock", ["try", "off", "require"])
def test_mlock(make, lock):
    zone = make(create=False)
    made = run("create", "--mlock", lock, zone.name, "1m")
    if lock == "require" and made.status == NOT_SO:  # the limit is too low here: told, and nothing is left
        assert not zone.path.exists() and b"lock" in made.err, f"expected the reason: {made}"
    else:
        assert made.status == DONE and zone.json("stat")["size"] == 1 << 20, f"expected a segment: {made}"


def test_mlock_refused(make, need):
    """Under a limit, without the right to pass it."""
    need(os.geteuid() == 0 and os.path.exists("/usr/bin/setpriv"), "only root can give up a right, with setpriv")
    zone = make(create=False)
    rights = "-ipc_lock,-sys_resource"
    limited = ["sh", "-c", f'ulimit -l 64; exec setpriv --bounding-set={rights} --inh-caps={rights} "$@"', "sh"]
    ended = run("create", "--mlock", "require", zone.name, "4m", prefix=limited)
    need(ended.status != DONE, "the limit is not in force here")
    ended.fails(NOT_SO, zone.name, "lock")
    assert not zone.path.exists(), "expected no file to be left"


# ---- destroy ----

def test_destroy(make):
    zone = make()
    for given in (zone.name, zone.path):
        assert run("destroy", given).done().out == b"", "expected no word"
        assert not zone.path.exists(), "expected it to be removed"
        run("destroy", given).fails(NO_ZONE, zone.path, "No such file")
        zone.create()
    zone.run("destroy").done()
    assert not zone.path.exists(), "expected -z to name it too"


def test_destroy_what_is_in_use(make, site, holder):
    zone = make()
    process = holder(zone, site / "small.txt")
    run("destroy", zone.name).fails(NOT_SO, zone.path, "in use by 1 process")
    assert zone.path.exists(), "expected it to stay"
    run("destroy", "--force", zone.name).done()
    assert not zone.path.exists(), "expected it to be removed"
    zone.create()
    assert zone.json("stat")["owners"] == [], "expected a new one under its name"
    assert process.end() == 0, "expected the process to end in peace"


def test_destroy_what_a_killed_process_used(make, site, holder):
    zone = make()
    holder(zone, site / "small.txt").end(signal.SIGKILL)
    run("destroy", zone.name).done()


def test_destroy_while_afpactl_uses_it(make):
    zone = make()
    process = zone.start("warm", "-")
    assert eventually(lambda: zone.json("stat")["owners"], 10, 0.01), "expected it in the zone"
    run("destroy", zone.name).fails(NOT_SO, zone.path, "in use")
    process.communicate(timeout=30)
    run("destroy", zone.name).done()


NOT_OURS = ["text", "zeroes", "directory", "fifo", "link"]


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "force"])
@pytest.mark.parametrize("kind", NOT_OURS)
def test_destroy_what_is_no_segment(shm, make, kind, force):
    """Nothing but segments is ever removed, --force or not."""
    path = shm / "file"
    if kind == "text":
        put(path, b"precious" * 1000)
    elif kind == "zeroes":
        put(path, bytes(1 << 20))
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(make().path)
    run("destroy", *force, path).fails(NO_ZONE, path)
    assert os.path.lexists(path), "expected it to stay"


@pytest.mark.parametrize("kind", ["empty", "another layout", "cut short"])
def test_destroy_what_was_a_segment(make, kind):
    """What no server could use any more is removed all the same; so is an empty file, which a creation that was killed leaves."""
    zone = make()
    with open(zone.path, "r+b") as file:
        if kind == "another layout":
            file.seek(8)
            file.write(b"\x63")
        else:
            file.truncate(0 if kind == "empty" else 5000)
    run("destroy", zone.path).done()
    assert not zone.path.exists(), "expected it to be removed"


def test_two_at_once(make):
    """Of two that make the same segment, each ends well or says it exists; the segment is sound."""
    for _ in range(5):
        zone = make(create=False)
        both = [zone.start("create", zone.name, "4m", stdin=subprocess.DEVNULL) for _ in range(2)]
        ends = []
        for process in both:
            err = process.communicate(timeout=30)[1]
            ends.append(process.returncode)
            assert process.returncode == DONE or b"exists already" in err, f"expected no other failure: {err}"
        assert DONE in ends, "expected one to make it"
        zone.verified()


# ---- the creation lock ----

# struct flock, for the byte that libafpa/owner.c has that lock on.
LOCK = struct.pack("@hhqqi", fcntl.F_WRLCK, os.SEEK_SET, (1 << 61) - 1, 1, 0)


@pytest.fixture
def being_made(make):
    """A segment that somebody makes or replaces just now, and the descriptor that has the lock."""
    zone = make()
    with open(zone.path, "r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, LOCK)
        yield zone, file


def start_destroy(zone):
    process = zone.start("destroy", stdin=subprocess.DEVNULL)
    time.sleep(0.2)
    assert process.poll() is None and zone.path.exists(), "expected it to wait"
    return process


def test_destroy_waits(being_made):
    zone, lock = being_made
    process = start_destroy(zone)
    lock.close()
    assert process.communicate(timeout=30) == (b"", b"") and process.returncode == DONE, "expected it to be removed then"
    assert not zone.path.exists()


def test_destroy_judges_what_replaced_it(being_made, site, holder):
    """Not what was under the name when it began."""
    zone, lock = being_made
    process = start_destroy(zone)
    zone.path.unlink()
    zone.create()
    holder(zone, site / "small.txt")
    lock.close()
    err = process.communicate(timeout=30)[1]
    assert process.returncode == NOT_SO and b"in use by 1 process" in err, f"expected the new one to be kept: {err}"
    assert zone.json("stat")["objects"] == 1, "expected the new one"


def test_destroy_does_not_wait_for_ever(being_made):
    """Who has the lock may hang, or mean it: there is an end, with a message.  The alarm is sent rather than waited for."""
    zone, _ = being_made
    process = start_destroy(zone)
    process.send_signal(signal.SIGALRM)
    err = process.communicate(timeout=30)[1].decode()
    assert process.returncode == NO_ZONE and err.startswith(f"afpactl: {zone.path}: a lock in it"), f"expected a message: {err}"
    assert zone.path.exists(), "expected it to stay"
