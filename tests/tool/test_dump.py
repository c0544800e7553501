# SPDX-License-Identifier: Apache-2.0
"""afpactl dump and restore: the list, its order, the way there and back."""
import os

import pytest

from tool import CHUNK, MIB, NOT_SO, WARM, put, wrong

ODD = [b"two words", b"tab\t", b"back\\slash", b"bad\xff", "grün".encode(), b"-0", b"\x1b[2J", b"*", b" ", b"http:"]


def test_order(zone, tmp_path, holder):
    """Hottest first; what is as hot, by name."""
    paths = {name: put(tmp_path / name) for name in "abcde"}
    zone.warm(tmp_path)
    holder(zone, *[paths["d"]] * 4, *[paths["b"]] * 2, paths["e"]).end()
    order = zone.run("dump").done().lines
    assert order[:2] == [str(paths["d"]), str(paths["b"])], f"expected the hottest first: {order}"
    assert order[2:] == [str(paths["e"]), str(paths["a"]), str(paths["c"])], f"expected the rest by hits, then by name: {order}"
    assert zone.json("dump") == order, "expected the same in JSON"
    assert zone.run("dump", "-0").done().out.split(b"\0")[:-1] == [os.fsencode(one) for one in order], "expected the same with -0"


def test_empty(zone):
    assert zone.run("dump").done().out == b"", "expected nothing"
    assert zone.json("dump") == [], "expected an empty array"
    assert zone.run("--json", "restore").done().json["files"] == 0, "expected an empty list to be no failure"


def test_round_trip(make, site):
    first, second = make(), make()
    first.warm(site)
    out = first.run("dump").done().out
    result = second.run("--json", "restore", stdin=out).done().json
    assert wrong(result, WARM) == [], f"expected the fields of warm: {result}"
    assert (result["files"], result["skipped"]) == (4, {}), f"expected all: {result}"
    assert second.paths() == first.paths(), "expected the same objects"
    assert second.run("dump").done().out == out, "expected the same list again"
    second.run("verify", "--content").done()


@pytest.mark.parametrize("names", [ODD, [*ODD, b"line\nend"]], ids=["lines", "with a line end in a name"])
def test_odd_names(make, tmp_path, names):
    first, second = make(), make()
    directory = os.fsencode(tmp_path)
    for name in names:
        put(directory + b"/" + name)
    first.warm(tmp_path)
    out = first.run("dump", "--null").done().out
    assert sorted(out.split(b"\0")[:-1]) == sorted(directory + b"/" + name for name in names), "expected the very bytes of names"
    assert second.run("--json", "restore", "-0", stdin=out).done().json["files"] == len(names), "expected all of them"
    assert second.run("dump", "-0").done().out == out, "expected the same list again"


def test_line_end_in_a_name(zone, tmp_path):
    """A line cannot hold such a name: it is left out, and that is told."""
    put(tmp_path / "line\nend")
    plain = put(tmp_path / "plain")
    zone.warm(tmp_path)
    ended = zone.run("dump")
    assert ended.complains(NOT_SO, rf"{tmp_path}/line\x0aend: left out", "-0").out == b"%s\n" % os.fsencode(plain), \
        "expected the other"


@pytest.mark.parametrize("given", [[], ["-"], ["FILE"]], ids=["nothing", "dash", "file"])
def test_where_the_list_comes_from(zone, site, tmp_path, given):
    text = f"{site}/empty\n{site}/small.txt\n".encode()
    listed = put(tmp_path / "list", text if given == ["FILE"] else b"")
    operands = [listed if one == "FILE" else one for one in given]
    result = zone.run("--json", "restore", *operands, stdin=b"" if given == ["FILE"] else text)
    assert result.done().json["files"] == 2, f"expected the files of the list: {result}"


def test_list_that_is_not_there(zone, tmp_path):
    zone.run("restore", tmp_path / "missing").fails(NOT_SO, tmp_path / "missing", "No such file")


def test_list_that_is_a_directory(zone, tmp_path):
    """It can be opened, but not read."""
    zone.run("restore", tmp_path).complains(NOT_SO, tmp_path, "Is a directory")


def test_files_that_are_gone(zone, site):
    """What vanished since the dump is no failure, but counted."""
    given = f"{site}/empty\n{site}/gone\n{site}/small.txt\n".encode()
    result = zone.run("--json", "restore", stdin=given).done().json
    assert (result["files"], result["skipped"]) == (2, {"not_found": 1}), f"expected the rest: {result}"


def test_retired_objects_are_left_out(zone, site, holder):
    zone.warm(site)
    holder(zone, site / "small.txt")
    zone.run("purge", site / "small.txt").done()
    assert f"{site}/small.txt" not in zone.run("dump").done().lines, "expected only what can be found"


def test_until_full(make, tmp_path):
    """Into a smaller zone: the hottest, and none of them is dropped for the rest."""
    large, small = make("8m"), make("2m")
    paths = [put(tmp_path / f"{index:02}", bytes([index]) * (2 * CHUNK)) for index in range(40)]
    large.warm(tmp_path)
    result = small.run("--json", "restore", "-j", "1", stdin=large.run("dump").done().out).done().json
    assert result["evicted"] == 0 and set(result["skipped"]) == {"no_space"}, f"expected it to stop when it is full: {result}"
    assert small.paths() == [str(one) for one in paths[:result["files"]]], "expected the first of the list"
    assert small.json("stat")["bytes_cached"] > MIB, "expected most of the room to be used"


OPTIONS = {"-M 9": (1, "max_size"), "--min-size 11": (3, "min_size"), "-j 2": (4, None), "-m 1 -M 1g": (3, "min_size")}


@pytest.mark.parametrize("options", OPTIONS)
def test_options_of_warm(zone, site, options):
    given = "\n".join(str(one) for one in site.rglob("*") if one.is_file()).encode()
    if "11" in options:
        (site / "small.txt").write_bytes(b"." * 11)
    result = zone.run("--json", "restore", *options.split(), stdin=given).done().json
    count, reason = OPTIONS[options]
    assert result["files"] == count and set(result["skipped"]) == ({reason} if reason else set()), f"expected these: {result}"


def test_disabled_zone(zone, site):
    zone.run("disable").done()
    ended = zone.run("--json", "restore", stdin=str(site / "empty").encode())
    assert ended.complains(NOT_SO, "disabled").json["files"] == 0, f"expected nothing to be loaded: {ended}"


# ---- keys that are no folded paths ----

SPELLED = ["/sub/../small.txt", "//small.txt", "/./small.txt", "/sub//large.bin", "//sub/.././chunk.bin", "/small.txt"]


def test_spellings_come_back(make, site, holder):
    """A server's root or alias can have such parts, and then the keys have them: none is lost, none is added."""
    first, second = make(), make()
    holder(first, *[f"{site}{given}" for given in SPELLED]).end()
    saved = first.run("dump").done().out
    assert sorted(saved.decode().splitlines()) == sorted(f"{site}{given}" for given in SPELLED), "expected the keys as they are"
    assert second.run("--json", "restore", stdin=saved).done().json["files"] == len(SPELLED), "expected all of them"
    assert second.paths() == first.paths(), "expected the same keys"
    assert second.run("dump").done().out == saved, "expected the same list again"
    second.run("verify", "--content").done()


def test_file_that_is_a_directory_now(zone, site):
    """Its files were not saved under that name."""
    given = f"{site}/sub\n{site}/empty\n".encode()
    result = zone.run("--json", "restore", stdin=given).done().json
    assert (result["files"], result["skipped"]) == (1, {"not_regular": 1}), f"expected the file alone: {result}"
    assert zone.paths() == [f"{site}/empty"], "expected nothing that was not in the list"


def test_relative_names(zone, site):
    """dump prints none, but somebody may write one."""
    assert zone.run("--json", "restore", stdin=b"sub/../empty\n", cwd=site).done().json["files"] == 1
    assert zone.paths() == [f"{site}/empty"], "expected it to be made absolute"


def test_list_that_ends_names_with_nul(zone, site):
    """Read as lines, most of it would be lost without a word."""
    given = f"{site}/empty\0{site}/small.txt\0".encode()
    ended = zone.run("--json", "restore", stdin=given)
    assert ended.complains(NOT_SO, "standard input", "NUL", "-0").json["files"] == 0, f"expected it to be told: {ended}"
    assert zone.run("--json", "restore", "-0", stdin=given).done().json["files"] == 2, "expected -0 to read it"
