# SPDX-License-Identifier: Apache-2.0
"""afpactl show: the fields, the pin array as a table and as a drawing."""
import os
import re
import time

import pytest

from tool import CHUNK, NOT_SO, SHOW, put, wrong

SIZES = [0, 1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 8 * CHUNK, 9 * CHUNK + 5, 20 * CHUNK - 1]


def lengths(size, chunk=CHUNK):
    """What the entries of a pin array hold."""
    return [min(chunk, size - at) for at in range(0, size, chunk)] or [0]


@pytest.mark.parametrize("size", SIZES)
def test_fields(zone, tmp_path, size):
    path = put(tmp_path / "file", b"." * size)
    zone.warm(path)
    shown = zone.json("show", path)
    assert wrong(shown, SHOW) == [], f"expected every field, of its type: {shown}"
    assert (shown["path"], shown["kind"], shown["size"], shown["state"]) == (str(path), "file", size, "live"), "expected the file"
    entries = shown["pin_array"]
    assert [one["index"] for one in entries] == list(range(len(entries))), "expected the entries in order"
    assert [one["length"] for one in entries] == lengths(size), "expected the lengths of its chunks"
    assert {one["state"] for one in entries} == {"pinned"}, "expected all of it in memory"
    assert all((one["chunk"] is None) == (one["length"] == 0) for one in entries), "expected a chunk where there are bytes"
    assert {one["pins"] for one in entries} == {0}, "expected nobody to hold it"


def test_identity(zone, site):
    path = site / "chunk.bin"
    zone.warm(path)
    identity, stat = zone.json("show", path)["identity"], path.stat()
    assert (identity["device"], identity["inode"], identity["size"]) == (stat.st_dev, stat.st_ino, stat.st_size), \
        "expected stat()'s"
    assert (int(identity["mtime"]), identity["mtime_nsec"]) == divmod(stat.st_mtime_ns, 10 ** 9), "expected the time of change"
    assert (int(identity["ctime"]), identity["ctime_nsec"]) == divmod(stat.st_ctime_ns, 10 ** 9), "expected the inode's"


def drawing(text):
    """The glyphs of the picture: rows behind the number of their first entry."""
    rows = re.findall(r"^ {2}( *\d+)  ([#*.fd0-9]+)$", text, re.M)
    return [(int(first), glyphs) for first, glyphs in rows]


def table(text):
    return [line.split() for line in re.findall(r"^ +\d+  (?:pinned|empty|filling|draining) .*$", text, re.M)]


@pytest.mark.parametrize("size", SIZES)
def test_drawing(zone, tmp_path, size):
    path = put(tmp_path / "file", b"." * size)
    zone.warm(path)
    text, count = zone.run("show", path).done().text, len(lengths(size))
    assert drawing(text) == [(0, "#" * count)], f"expected a # for each entry: {text}"
    rows = table(text)
    assert [row[:2] + row[3:4] for row in rows] == \
        [[str(at), "pinned", str(length)] for at, length in enumerate(lengths(size))], \
        f"expected the entries in a table: {text}"
    assert [row[4] == "-" for row in rows] == [length == 0 for length in lengths(size)], f"expected a chunk for bytes: {text}"
    words = f"pin array: {count} {'entry' if count == 1 else 'entries'} of 64.0 KB, {count} pinned\n"
    assert words in text, f"expected {words!r}: {text}"


def test_long_drawing(make, tmp_path):
    """Rows of 64; the table stops after 64 entries unless it is told not to."""
    zone, path = make("16m"), put(tmp_path / "file", b"." * (130 * CHUNK))
    zone.warm(path)
    text = zone.run("show", path).done().text
    assert drawing(text) == [(0, "#" * 64), (64, "#" * 64), (128, "##")], f"expected three rows: {text}"
    assert len(table(text)) == 64 and "  and 66 more (--all)\n" in text, f"expected the first 64: {text}"
    for option in ("--all", "-a"):
        text = zone.run("show", option, path).done().text
        assert len(table(text)) == 130 and "more (--all)" not in text, f"expected all with {option}: {text}"
    assert len(zone.json("show", path)["pin_array"]) == 130, "expected all in JSON"


def test_held(zone, tmp_path, holder):
    """How many hold an entry shows in the picture; the first is held by who holds the object."""
    path = put(tmp_path / "file", b"." * (4 * CHUNK))
    holder(zone, path)
    pins = [one["pins"] for one in zone.json("show", path)["pin_array"]]
    assert pins[1:] == [1] * 3 and pins[0] >= 2, f"expected a pin for each entry, and the object's: {pins}"
    [(_, glyphs)] = drawing(zone.run("show", path).done().text)
    assert glyphs == str(pins[0]) + "1" * 3, f"expected the pins in the picture: {glyphs}"
    holder(zone, *[path] * 12)
    [(_, glyphs)] = drawing(zone.run("show", path).done().text)
    assert glyphs == "*222", f"expected a star for more than nine: {glyphs}"
    shown = zone.json("show", path)
    assert shown["pins"] == sum(one["pins"] for one in shown["pin_array"]), "expected the sum of the entries"
    assert shown["hits"] >= 11, f"expected its hits: {shown['hits']}"


def test_partly_in_memory(make, tmp_path, holder):
    """Entries that were evicted are drawn as dots."""
    zone = make("2m")
    paths = [put(tmp_path / str(index), bytes([index]) * (8 * CHUNK)) for index in range(8)]
    zone.warm(*paths)
    seen = set()
    for one in zone.json("list"):
        shown = zone.json("show", one["path"])
        [(_, glyphs)] = drawing(zone.run("show", one["path"]).done().text)
        assert glyphs == "".join("#" if entry["state"] == "pinned" else "." for entry in shown["pin_array"]), \
            f"expected the picture of {shown['pin_array']}"
        assert shown["bytes"] == sum(entry["length"] for entry in shown["pin_array"]), f"expected the bytes in memory: {shown}"
        seen.update(glyphs)
    assert "#" in seen, "expected something to be in memory"


@pytest.mark.parametrize("chunk", [65536, 131072, 1048576])
def test_chunk_size(make, tmp_path, chunk):
    zone = make("16m", options=["--chunk", str(chunk)])
    path = put(tmp_path / "file", b"." * (2 * chunk + 1))
    zone.warm(path)
    assert [one["length"] for one in zone.json("show", path)["pin_array"]] == [chunk, chunk, 1], "expected entries of that size"


# ---- finding it ----

def test_spellings(zone, site):
    zone.warm(site)
    for given, directory in [("small.txt", site), ("./small.txt", site), ("../small.txt", site / "sub"),
                          (f"{site}//sub/../small.txt", "/"),
                          (f"{site}/./small.txt", "/")]:
        assert zone.run("--json", "show", given, cwd=directory).done().json["path"] == f"{site}/small.txt", \
            f"expected to find {given}"


def test_links_are_names(zone, site):
    """A link is cached under its own name, as a server maps it."""
    link = site / "link"
    link.symlink_to("small.txt")
    zone.warm(link)
    assert zone.json("show", link)["path"] == str(link), "expected the link's name"
    zone.run("show", site / "small.txt").fails(NOT_SO, "not cached")


@pytest.mark.parametrize("what", ["/not/there", "http://127.0.0.1/x", "https://127.0.0.1/x", "", "/", "x" * 5000])
def test_not_cached(zone, site, what):
    zone.warm(site)
    for options in ([], ["--json"]):
        zone.run(*options, "show", what).fails(NOT_SO, what[:100], "for this URL" if what.startswith("http") else "not cached")


def test_time_of_change(zone, site):
    path = site / "small.txt"
    os.utime(path, (1000000000, 1000000000))
    zone.warm(path)
    assert "changed:   2001-09-09 01:46:40 +0000\n" in zone.run("show", path).done().text, "expected the time in words"


def test_times_far_away(zone, site):
    """Whatever a file's time is, something is printed."""
    for index, seconds in enumerate([0, -1, 2 ** 31, 2 ** 33, int(time.time()) + 10 ** 6]):
        path = put(site / f"time{index}")
        os.utime(path, (seconds, seconds))
        zone.warm(path)
        assert "  changed:   " in zone.run("show", path).done().text, f"expected a time for {seconds}"
        if path.stat().st_mtime == seconds:
            assert int(zone.json("show", path)["identity"]["mtime"]) == seconds, f"expected {seconds}"
