# SPDX-License-Identifier: Apache-2.0
"""What all commands have in common: options, exit statuses, the choice of the zone, files that are no segment."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tool import NO_ZONE, NOT_SO, USAGE, put, run
from wire import eventually
from zone import AFPACTL

COMMANDS = ["stat", "list", "show", "warm", "purge", "verify", "dump", "restore", "enable", "disable", "create", "destroy"]
# Each with what it needs to get as far as the zone.
ON_ZONE = [["stat"], ["stat", "--interval", "1"], ["list"], ["show", "/x"], ["warm", "/x"], ["purge", "/x"], ["purge", "--all"],
           ["verify"], ["verify", "--content"], ["dump"], ["restore"], ["enable"], ["disable"], ["destroy"]]

WRONG = [  # what it was called with, a word of what it says
    [[], "command"],
    [["nonsense"], "nonsense"],
    [["STAT"], "STAT"],
    [["--nonsense"], "--nonsense"],
    [["-x"], "x"],
    [["-z"], "z"],
    [["-z", "name"], "command"],
    [["-z", "", "stat"], "empty"],
    [["--zone=", "stat"], "empty"],
    [["stat", "extra"], "extra"],
    [["stat", "--nonsense"], "--nonsense"],
    [["stat", "--interval", "0"], "--interval"],
    [["stat", "--interval", "-1"], "--interval"],
    [["stat", "--interval", "1x"], "--interval"],
    [["stat", "--interval", "nan"], "--interval"],
    [["stat", "--interval", "inf"], "--interval"],
    [["stat", "--interval", ""], "--interval"],
    [["stat", "--count", "2"], "--interval"],
    [["stat", "--interval", "1", "--count", "0"], "--count"],
    [["stat", "--interval", "1", "--count", "2x"], "--count"],
    [["stat", "--interval", "1", "--reset"], "--reset"],
    [["list", "--sort", "colour"], "colour"],
    [["list", "--sort", ""], "--sort"],
    [["list", "one", "two"], "two"],
    [["show"], "path"],
    [["show", "one", "two"], "two"],
    [["warm"], "needed"],
    [["warm", "", "x"], "empty"],
    [["serve", ""], "empty"],
    [["warm", "-j", "0", "x"], "-j"],
    [["warm", "-j", "65", "x"], "-j"],
    [["warm", "-j", "many", "x"], "-j"],
    [["warm", "-j", "", "x"], "-j"],
    [["warm", "--min-size", "much", "x"], "--min-size"],
    [["warm", "--max-size", "-1", "x"], "--max-size"],
    [["warm", "--max-size", "1t", "x"], "--max-size"],
    [["restore", "one", "two"], "one list"],
    [["restore", "--until-full"], "until-full"],
    [["purge"], "--all"],
    [["purge", "--all", "x"], "--all"],
    [["verify", "extra"], "extra"],
    [["dump", "extra"], "extra"],
    [["enable", "extra"], "extra"],
    [["disable", "extra"], "extra"],
    [["create"], "size"],
    [["create", "name"], "size"],
    [["create", "name", "4m", "extra"], "extra"],
    [["create", "name", "4x"], "4x"],
    [["create", "name", ""], "size"],
    [["create", "name", "-4m"], "4"],
    [["create", "name", "99999999999999999999"], "size"],
    [["create", "name", "4m", "--chunk", "3000"], "chunk"],
    [["create", "name", "4m", "--chunk", "32k"], "chunk"],
    [["create", "name", "4m", "--chunk", "2m"], "chunk"],
    [["create", "name", "4m", "--mlock", "perhaps"], "mlock"],
    [["create", "name", "4m", "--path", "relative"], "absolute"],
    [["create", "name", "4m", "--owner", "no such user"], "owner"],
    [["create", "name", "4m", "--owner", "0:no such group"], "owner"],
    [["create", "name", "4m", "--owner", ""], "owner"],
    [["destroy"], "name"],
    [["destroy", "one", "two"], "two"],
]


@pytest.mark.parametrize("args,word", WRONG, ids=[" ".join(args) or "nothing" for args, _ in WRONG])
def test_usage(args, word):
    ended = run(*args)
    assert ended.status == USAGE, f"expected wrong usage: {ended}"
    assert ended.out == b"", f"expected nothing on stdout: {ended}"
    assert ended.err.startswith(b"afpactl: "), f"expected the tool's name first: {ended}"
    assert word in ended.err.decode().splitlines()[0], f"expected {word!r} in the first line: {ended}"


def test_help():
    text = run("--help").done().text
    for name in COMMANDS:
        assert f"  {name} " in text, f"expected {name} in the help"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_command(name):
    text = run(name, "--help").done().text
    assert text.startswith("Usage: ") and name in text.splitlines()[0], "expected how the command is called"
    assert "--zone" in text and "--json" in text, "expected the common options"


def test_version():
    assert run("--version").done().text.startswith("afpactl (AFPA) "), "expected name and version"
    assert run("-V").done().out == run("--version").out, "expected -V to be the same"


@pytest.mark.parametrize("args", ON_ZONE, ids=" ".join)
def test_no_such_zone(make, args):
    missing = make(create=False)
    missing.run(*args).fails(NO_ZONE, missing.path, "No such file")
    run("-z", missing.name, *args).fails(NO_ZONE, missing.path, "No such file")
    assert not missing.path.exists(), "expected that no segment is made"


def test_ways_to_name_a_zone(zone):
    for args in [["-z", zone.name, "stat"], ["-z", zone.path, "stat"], ["stat", "-z", zone.name], [f"--zone={zone.name}", "stat"],
                 ["stat", f"--zone={zone.path}"], ["--json", "stat", "-z", zone.name]]:
        assert zone.name in run(*args).done().text, f"expected {args} to find the zone"
    assert zone.name in run("-z", f"./{zone.path.name}", "stat", cwd="/dev/shm").done().text, "expected a relative path to be one"
    run("-z", zone.path.name, "stat", cwd="/dev/shm").fails(NO_ZONE, f"afpa-{zone.path.name}")


def test_json_before_and_after_the_command(zone):
    for args in [["--json", "stat"], ["stat", "--json"], ["-J", "stat"], ["stat", "-J"]]:
        assert zone.run(*args).done().json["zone"] == zone.name, f"expected JSON from {args}"


def test_long_names(zone):
    run("-z", "n" * 5000, "stat").fails(NO_ZONE, "that long")
    run("-z", "/dev/shm/" + "n" * 300, "stat").fails(NO_ZONE, "name too long")


def test_several_zones(make):
    names = [make().name for _ in range(2)]
    run("stat").fails(NO_ZONE, "several", *names)


ONE_ZONE = """
mount -t tmpfs -o size=16m tmpfs /dev/shm || exit 77
tool=$1
$tool stat; echo "none: $?"
: >/dev/shm/other
$tool create alone 2m; echo "made: $?"
$tool --json stat; echo "one: $?"
$tool create second 2m; $tool list; echo "two: $?"
$tool destroy second; $tool verify; echo "one: $?"
"""


def test_zone_may_be_left_out(need):
    """In a /dev/shm of its own, which only root, or a user who may become one there, can have."""
    how = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    need(shutil.which("unshare"), "no unshare")
    ended = subprocess.run([*how, "sh", "-c", ONE_ZONE, "sh", AFPACTL], capture_output=True, text=True, timeout=30)
    need(ended.returncode != 77 and "unshare" not in ended.stderr, "no mount namespace for this user")
    assert [line for line in ended.stdout.splitlines() if line.split(":")[0] in ("none", "made", "one", "two")] == \
        ["none: 3", "made: 0", "one: 0", "two: 3", "one: 0"], f"expected the only zone to be used: {ended}"
    assert '"zone": "alone"' in ended.stdout, f"expected the zone that is there: {ended.stdout}"
    assert len(ended.stderr.splitlines()) == 2, f"expected a message where there is none, and where there are two: {ended.stderr}"
    assert "alone, second" in ended.stderr, f"expected both names: {ended.stderr}"


# ---- what is no segment ----

def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def shorter(path, size):
    os.truncate(path, size)


def replace(path, make):
    path.unlink()
    make(path)


NO_SEGMENT = {  # what is done to a good one, a word of the reason
    "empty": (lambda path: shorter(path, 0), "is not an AFPA segment"),
    "text": (lambda path: replace(path, lambda path: put(path, b"hello\n" * 1000)), "is not an AFPA segment"),
    "zeroes": (lambda path: replace(path, lambda path: put(path, bytes(1 << 20))), "is not an AFPA segment"),
    "directory": (lambda path: replace(path, lambda path: path.mkdir()), "s a directory"),
    "fifo": (lambda path: replace(path, os.mkfifo), "is not a regular file"),
    "device": (lambda path: replace(path, lambda path: path.symlink_to("/dev/null")), "symbolic links"),
    "link": (lambda path: (path.rename(f"{path}.moved"), path.symlink_to(f"{path}.moved")), "symbolic links"),
    "short header": (lambda path: shorter(path, 100), "is not an AFPA segment"),
    "cut to a page": (lambda path: shorter(path, 4096), "not as long"),
    "cut in half": (lambda path: shorter(path, 2 << 20), "not as long"),
    "one byte less": (lambda path: shorter(path, path.stat().st_size - 1), "not as long"),
    "one byte more": (lambda path: shorter(path, path.stat().st_size + 1), "not as long"),
    "another magic": (lambda path: overwrite(path, 0, b"AFPA"), "is not an AFPA segment"),
    "another layout": (lambda path: overwrite(path, 8, b"\x63\0\0\0"), "layout version 99"),
    "another chunk": (lambda path: overwrite(path, 12, b"\0\0\2\0"), "damaged header"),
    "another size": (lambda path: overwrite(path, 16, b"\0\0\0\0\1\0\0\0"), "damaged header"),
}


@pytest.fixture(params=NO_SEGMENT, ids=str)
def ruined(request, make):
    """Something under the name of a zone, and what is wrong with it."""
    segment = make()
    change, reason = NO_SEGMENT[request.param]
    change(segment.path)
    yield segment, reason
    if segment.path.is_symlink():
        segment.path.unlink()
    elif segment.path.is_dir():
        segment.path.rmdir()
    Path(f"{segment.path}.moved").unlink(missing_ok=True)


def test_no_segment(ruined):
    segment, reason = ruined
    for args in ON_ZONE:
        if args[0] != "destroy":
            segment.run(*args).fails(NO_ZONE, segment.path, reason)


@pytest.mark.parametrize("directory", ["/dev/shm", "/dev/null", "/etc/passwd"])
def test_no_segment_of_ours(directory):
    run("-z", directory, "stat").fails(NO_ZONE, directory)


def test_cut_short_while_in_use(zone, site):
    """The file is cut behind the back of a process that has it mapped: a message, not a signal."""
    zone.warm(site)
    process = zone.start("warm", "-")
    process.stdin.write(str(site / "small.txt").encode() + b"\n")
    process.stdin.flush()
    wait_for_owner(zone)
    size = zone.path.stat().st_size
    os.truncate(zone.path, 4096)
    out, err = process.communicate(f"{site}\n".encode(), timeout=30)
    os.truncate(zone.path, size)
    assert process.returncode == NO_ZONE, f"expected exit status 3, not {process.returncode}: {err}"
    assert err.decode() == f"afpactl: {zone.path}: was cut short while it was in use\n", "expected a message that says so"


def wait_for_owner(zone):
    assert eventually(lambda: zone.json("stat")["owners"], 10, 0.01), "expected the process in the list of owners"


# ---- standard output ----

@pytest.mark.parametrize("args", [["stat"], ["list"], ["dump"], ["verify"]], ids=" ".join)
def test_full_disk(zone, site, args):
    zone.warm(site)
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([AFPACTL, "-z", zone.path, *args], stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert ended.returncode == NOT_SO, f"expected exit status 1 when nothing can be written: {ended}"
    assert ended.stderr.startswith(b"afpactl: standard output: "), f"expected a message: {ended}"


def test_nobody_reads(zone, site):
    """A reader that ends early, as `head` does, ends the tool by SIGPIPE or with exit status 1, as it is with other tools."""
    zone.warm(site)
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as pipe:
        ended = subprocess.run([AFPACTL, "-z", zone.path, "list"], stdout=pipe, stderr=subprocess.PIPE, timeout=30)
    assert ended.returncode in (-13, 141, NOT_SO), f"expected no other end: {ended}"


CLOSED = {"0": "<&-", "1": ">&-", "2": "2>&-", "all": "<&- >&- 2>&-"}


@pytest.mark.parametrize("streams", CLOSED)
def test_closed_streams(zone, site, streams):
    """The segment does not get the number of one of them, or what is printed would be written into it."""
    for index in range(100):  # what is printed of them does not wait in a buffer
        put(site / f"file{index}")
    zone.warm(site)
    before = zone.path.read_bytes()[:4096]
    how = ["sh", "-c", f'"$@" {CLOSED[streams]}', "sh"]
    for args in (["show", "/not/there"], ["list"], ["stat"], ["warm", "-"], ["dump"]):
        ended = zone.run(*args, prefix=how)
        if args[0] != "warm" and streams in ("1", "all"):
            assert ended.status == NOT_SO, f"expected it to be told that nothing can be printed: {ended}"
    assert zone.path.read_bytes()[:4096] == before, "expected the segment's header to stay"
    zone.run("verify", "--content").done()
