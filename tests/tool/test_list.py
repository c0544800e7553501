# SPDX-License-Identifier: Apache-2.0
"""afpactl list: the fields, order, patterns; names that could command a terminal."""
import json
import os
import re
import time

import pytest

from tool import LIST, NOT_SO, put, wrong

HARMLESS = {  # a file's name, how it is shown
    b"plain": "plain",
    b"two words": "two words",
    b"line\nend": r"line\x0aend",
    b"tab\there": r"tab\x09here",
    b"\x1b[2Jclear": r"\x1b[2Jclear",
    b"\x1b]0;title\x07": r"\x1b]0;title\x07",
    b"back\\slash": r"back\\slash",
    b"bad\xff\xfeutf": r"bad\xff\xfeutf",
    b"cut\xe2\x82": r"cut\xe2\x82",
    b"overlong\xc0\xaf": r"overlong\xc0\xaf",
    b"c1\xc2\x9b2J": r"c1\xc2\x9b2J",
    b"del\x7f": r"del\x7f",
    "grün €".encode(): "grün €",
    "rtl\u202egpj.exe".encode(): r"rtl\xe2\x80\xaegpj.exe",
    "hidden\u200bspace".encode(): r"hidden\xe2\x80\x8bspace",
    b"%s%n": "%s%n",
    b"*": "*",
    b"-z": "-z",
}


@pytest.fixture
def named(zone, tmp_path):
    """A zone with a file for each of these names, and their directory."""
    directory = tmp_path / "names"
    directory.mkdir()
    for name in HARMLESS:
        put(os.fsencode(directory) + b"/" + name)
    zone.warm(directory)
    return zone, directory


def test_fields(zone, site):
    zone.warm(site)
    objects = zone.json("list")
    assert [one["path"] for one in objects] == sorted(str(one) for one in site.rglob("*") if one.is_file()), \
        "expected all, by path"
    for one in objects:
        assert wrong(one, LIST) == [], f"expected every field, of its type: {one}"
        assert (one["kind"], one["state"], one["size"]) == ("file", "live", os.stat(one["path"]).st_size), \
            f"expected the file: {one}"
        assert one["age"] < 60 and one["pins"] == 0 and one["hits"] == 0, f"expected a new object: {one}"


def test_nothing(zone):
    assert zone.json("list") == [], "expected an empty array"
    assert len(zone.run("list").done().lines) == 1, "expected the heading alone"


def test_for_people(zone, site):
    zone.warm(site)
    lines = zone.run("list").done().lines
    assert lines[0].split() == ["SIZE", "IN", "MEMORY", "HITS", "AGE", "PINS", "STATE", "PATH"], f"expected a heading: {lines}"
    assert re.fullmatch(rf" +64\.0 KB +64\.0 KB +0 +\d+ s +0 live +{site}/chunk\.bin", lines[1]), \
        f"expected the object: {lines[1]}"
    assert len(lines) == 5, f"expected the four files: {lines}"


def test_pins_and_hits(zone, site, holder):
    holder(zone, *[site / "small.txt"] * 4)
    [one] = zone.json("list")
    assert one["hits"] == 3 and one["pins"] >= 4, f"expected three hits, held: {one}"


SORTS = {  # by what, which order the names are in
    None: ["a.large", "b.small", "c.medium", "d.medium"],
    "path": ["a.large", "b.small", "c.medium", "d.medium"],
    "size": ["a.large", "c.medium", "d.medium", "b.small"],
    "hits": ["c.medium", "b.small", "a.large", "d.medium"],
}


@pytest.mark.parametrize("key", SORTS, ids=str)
def test_sort(zone, tmp_path, holder, key):
    sizes = {"a.large": 30000, "b.small": 10, "c.medium": 2000, "d.medium": 2000}
    paths = {name: put(tmp_path / name, b"." * size) for name, size in sizes.items()}
    zone.warm(*paths.values())
    holder(zone, *[paths["c.medium"]] * 3, paths["b.small"]).end()
    given = ["--sort", key] if key else []
    assert [os.path.basename(one) for one in zone.paths(*given)] == SORTS[key], f"expected the order by {key or 'default'}"
    if key:
        assert [os.path.basename(one) for one in zone.paths("-s", key)] == SORTS[key], f"expected the same from -s {key}"
        text = zone.run("list", "--sort", key).done().lines
        assert [line.rpartition("/")[2] for line in text[1:]] == SORTS[key], f"expected the same order for people: {text}"


@pytest.mark.seconds(20)
def test_sort_by_age(zone, tmp_path):
    """Ages are whole seconds."""
    old, new = put(tmp_path / "z.old"), put(tmp_path / "a.new")
    zone.warm(old)
    time.sleep(1.1)
    zone.warm(new)
    assert zone.paths("--sort", "age") == [str(old), str(new)], "expected the oldest first"
    ages = [one["age"] for one in zone.json("list", "--sort", "age")]
    assert ages[0] > ages[1], f"expected the ages in that order: {ages}"


GLOBS = {  # a pattern, behind the directory, and what it matches
    "/*": ["chunk.bin", "empty", "small.txt", "sub/large.bin"],
    "/*.bin": ["chunk.bin", "sub/large.bin"],
    "/sub/*": ["sub/large.bin"],
    "/s*": ["small.txt", "sub/large.bin"],
    "/????y": ["empty"],
    "/[ce]*": ["chunk.bin", "empty"],
    "/[!ce]*": ["small.txt", "sub/large.bin"],
    "/empty": ["empty"],
    "/../site/./empty": ["empty"],
}


@pytest.mark.parametrize("pattern", GLOBS)
def test_pattern(zone, site, pattern):
    zone.warm(site)
    expected = [f"{site}/{name}" for name in GLOBS[pattern]]
    assert zone.paths(f"{site}{pattern}") == expected, "expected what the absolute pattern matches"
    if pattern[1] not in "*?":
        assert [one["path"] for one in zone.run("--json", "list", pattern[1:], cwd=site).done().json] == expected, \
            "expected the same of a pattern in that directory"


def test_pattern_that_begins_with_a_star(zone, site, tmp_path):
    zone.warm(site)
    for directory in (tmp_path, "/"):
        found = zone.run("--json", "list", "*.bin", cwd=directory).done().json
        assert len(found) == 2, f"expected it to match in any directory, called in {directory}: {found}"


@pytest.mark.parametrize("pattern", ["/none", "*.none", "/", "\x1b[2J*"])
def test_pattern_that_matches_nothing(zone, site, pattern):
    zone.warm(site)
    ended = zone.run("list", pattern)
    assert ended.complains(NOT_SO, pattern.replace("\x1b", r"\x1b"), "nothing that is cached matches").lines[1:] == []
    ended = zone.run("--json", "list", pattern)
    assert ended.complains(NOT_SO).json == [], f"expected an empty array: {ended}"


# ---- names ----

def test_names_are_harmless(named):
    zone, directory = named
    lines = zone.run("list").done().lines[1:]
    shown = sorted(line.partition(f"{directory}/")[2] for line in lines)
    assert shown == sorted(HARMLESS.values()), "expected each name on one line, with what commands a terminal escaped"


def test_names_in_c_locale(named):
    """Where only ASCII is printable."""
    zone, directory = named
    out = zone.run("list", LC_ALL="C").done().out
    assert all(0x20 <= byte < 0x7f or byte == 0x0a for byte in out), "expected ASCII alone"
    assert out.count(b"\n") == len(HARMLESS) + 1, "expected a line for each"
    assert rb"gr\xc3\xbcn \xe2\x82\xac" in out, "expected escapes for what this terminal cannot show"


def test_names_in_json(named):
    zone, directory = named
    out = zone.run("--json", "list").done().out
    assert b"\x1b" not in out and b"\x7f" not in out.replace(b"del\x7f", b""), "expected no bare control characters"
    names = {os.path.relpath(one["path"], directory) for one in json.loads(out)}
    assert names == {name.decode(errors="replace") if name != b"cut\xe2\x82" else "cut\ufffd\ufffd" for name in HARMLESS}, \
        "expected the names, with U+FFFD for each byte that is no UTF-8"


@pytest.mark.parametrize("name", HARMLESS, ids=[str(index) for index in range(len(HARMLESS))])
def test_names_elsewhere(named, name):
    """show finds each by its very bytes and prints it in one line, and so does what complains."""
    zone, directory = named
    path = os.fsencode(directory) + b"/" + name
    assert zone.run("show", path).done().lines[0] == f"{directory}/{HARMLESS[name]}", "expected the name in one line"
    zone.run("show", path + b"!").fails(NOT_SO, f"{directory}/{HARMLESS[name]}!: not cached")
    zone.run("warm", path + b"!").complains(NOT_SO, f"{directory}/{HARMLESS[name]}!: not_found")
    assert zone.run("purge", path).done().text == "purged 1 object\n", "expected it to be dropped, and it alone"
    assert len(zone.json("list")) == len(HARMLESS) - 1, "expected the others to stay"


def test_names_that_are_not_folded(zone, site):
    """What a server spells with such parts is found as it is spelled; what is not there so, as it is folded."""
    for name in ("//small.txt", "/sub/../empty", "/chunk.bin"):
        zone.json("warm", "-x", f"{site}{name}")
    for given, found in [("//small.txt", "//small.txt"), ("//small*", "//small.txt"), ("/sub/../*", "/sub/../empty"),
                         ("/sub/../ch*", "/chunk.bin"), ("//chunk.bin", "/chunk.bin")]:
        assert zone.paths(f"{site}{given}") == [f"{site}{found}"], f"expected {given} to find it"


def test_pattern_in_a_directory_that_looks_like_one(zone, tmp_path):
    """The directory one is in is no part of the pattern."""
    for name in ("[x]/file", "x/file", "*/file", "back\\/file"):
        put(tmp_path / name)
    zone.warm(tmp_path)
    for directory in ("[x]", "*", "back\\"):
        found = zone.run("--json", "list", "f*", cwd=tmp_path / directory).done().json
        assert [one["path"] for one in found] == [f"{tmp_path}/{directory}/file"], f"expected what is in {directory}"
