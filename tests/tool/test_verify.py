# SPDX-License-Identifier: Apache-2.0
"""afpactl verify: what is sound, what is not, and what it says about it."""
import mmap
import os
import signal

import pytest

from tool import DONE, NO_ZONE, NOT_SO, VERIFY, put, wrong


def poke(segment, old, new):
    """Replaces bytes in the segment where they are; how often."""
    with open(segment.path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        count, at = 0, memory.find(old)
        while at >= 0:
            memory[at:at + len(new)] = new
            count, at = count + 1, memory.find(old, at + 1)
    return count


@pytest.mark.parametrize("options", [[], ["--content"], ["-c"]], ids=lambda options: " ".join(options) or "plain")
def test_sound(zone, site, options):
    for directory in (None, site):
        if directory:
            zone.warm(directory)
        assert zone.run("verify", *options).done().text == "ok\n", "expected it to be sound"
        result = zone.json("verify", *options)
        assert wrong(result, VERIFY) == [], f"expected every field, of its type: {result}"
        assert (result["ok"], result["problems"]) == (True, []), f"expected no problems: {result}"


def test_sound_in_use(zone, site, holder):
    holder(zone, site / "sub/large.bin")
    assert zone.run("verify", "--content").done().text == "ok\n", "expected it to be sound"


def test_changes_nothing(zone, site):
    zone.warm(site)
    before = zone.json("stat")
    zone.run("verify").done()
    assert zone.json("stat") == before, "expected the same totals after it"


def test_content(zone, tmp_path):
    """A byte in memory that is not the file's: found with --content alone."""
    path = put(tmp_path / "file", b"a quite recognisable content" * 10)
    zone.warm(path)
    assert poke(zone, b"a quite recognisable", b"a quite recognizable") == 10, "expected the content in the segment"
    assert zone.run("verify").done().text == "ok\n", "expected the structure to be sound"
    ended = zone.run("verify", "--content")
    assert ended.status == NOT_SO and ended.err == b"", f"expected a problem: {ended}"
    assert str(path) in ended.text and "ok" not in ended.lines, f"expected the file's name: {ended}"
    result = zone.run("--json", "verify", "--content")
    assert result.status == NOT_SO and wrong(result.json, VERIFY) == [], f"expected every field: {result}"
    assert result.json["ok"] is False and len(result.json["problems"]) == 1, f"expected one problem: {result}"
    zone.run("purge", path).done()
    zone.verified()


def test_stale_is_no_problem(zone, site):
    zone.warm(site)
    put(site / "small.txt", b"changed since")
    (site / "empty").unlink()
    assert zone.run("verify", "--content").done().text == "ok\n", "expected stale objects to be no problem"


def test_problem_is_harmless(zone, tmp_path):
    """A problem that names a file whose name could command a terminal."""
    path = put(os.fsencode(tmp_path) + b"/\x1b[2J\n\xff", b"a quite recognisable content")
    zone.warm(path)
    assert poke(zone, b"a quite recognisable", b"a quite recognizable") == 1
    ended = zone.run("verify", "--content")
    assert ended.status == NOT_SO and b"\x1b" not in ended.out and b"\xff" not in ended.out, f"expected escapes: {ended}"
    assert len(ended.lines) == 1, f"expected one line: {ended}"


def test_damaged_structure(zone, site):
    """The name of an object changed under its hash."""
    zone.warm(site)
    assert poke(zone, os.fsencode(site / "small.txt"), os.fsencode(site / "smell.txt")) >= 1, "expected the name in the segment"
    ended = zone.run("verify")
    assert ended.status == NOT_SO and ended.err == b"" and len(ended.lines) >= 1, f"expected problems: {ended}"
    result = zone.run("--json", "verify")
    assert result.status == NOT_SO and wrong(result.json, VERIFY) == [], f"expected every field: {result}"
    assert not result.json["ok"] and len(result.json["problems"]) == len(ended.lines), f"expected the same problems: {result}"
    for command in (["warm", site], ["purge", "--all"], ["restore"]):
        zone.run(*command).fails(NO_ZONE, zone.path, "inconsistent", "afpactl verify")
    zone.run("stat").done()
    assert f"{site}/smell.txt" not in zone.paths(), "expected the object not to be shown under a name that is not its own"


def test_many_problems(make, tmp_path):
    """All are counted."""
    zone = make("8m")
    for index in range(300):
        put(tmp_path / f"recognisable{index}")
    zone.warm(tmp_path)
    assert poke(zone, b"/recognisable", b"/recognizable") == 300
    ended, result = zone.run("verify"), zone.run("--json", "verify")
    assert (ended.status, result.status) == (NOT_SO, NOT_SO), f"expected problems: {result}"
    assert result.json["count"] >= 300 and result.json["count"] >= len(result.json["problems"]), \
        f"expected all to be counted: {result}"


@pytest.mark.parametrize("how", [None, signal.SIGKILL], ids=["gone", "killed"])
def test_after_an_owner(zone, site, holder, how):
    holder(zone, site / "sub/large.bin", site / "small.txt").end(how)
    ended = zone.run("verify", "--content")
    assert (ended.status, ended.text) == (DONE, "ok\n"), f"expected it to be sound: {ended}"
