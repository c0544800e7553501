# SPDX-License-Identifier: Apache-2.0
"""afpactl purge: by path, by pattern, everything; what is being sent goes when it is released."""
import os

import pytest

from tool import DONE, NOT_SO, put


def left(zone, site):
    return [os.path.relpath(path, site) for path in zone.paths()]


ALL = ["chunk.bin", "empty", "small.txt", "sub/large.bin"]
PURGES = {  # operands behind the directory, what is left
    "small.txt": ["chunk.bin", "empty", "sub/large.bin"],
    "./sub/../small.txt": ["chunk.bin", "empty", "sub/large.bin"],
    "empty small.txt": ["chunk.bin", "sub/large.bin"],
    "*.bin": ["empty", "small.txt"],
    "s*": ["chunk.bin", "empty"],
    "*": [],
    "sub/*": ["chunk.bin", "empty", "small.txt"],
    "[ce]*": ["small.txt", "sub/large.bin"],
    "?mpty chunk.bin": ["small.txt", "sub/large.bin"],
}


@pytest.mark.parametrize("operands", PURGES)
def test_purge(zone, site, operands):
    zone.warm(site)
    count = len(ALL) - len(PURGES[operands])
    text = zone.run("purge", *[f"{site}/{one}" for one in operands.split()]).done().text
    assert text == f"purged {count} object{'' if count == 1 else 's'}\n", f"expected the number of them: {text}"
    assert left(zone, site) == PURGES[operands], "expected the others to stay"
    assert zone.json("stat")["retired"] == count, "expected the counter to tell"
    zone.run("verify", "--content").done()


@pytest.mark.parametrize("option", ["--all", "-a"])
def test_all(zone, site, option):
    zone.warm(site)
    free = zone.json("stat")["bytes_free"]
    assert zone.json("purge", option) == {"purged": 4}, "expected the number of them"
    stat = zone.json("stat")
    assert (stat["objects"], stat["bytes_cached"], stat["draining"]) == (0, 0, 0), f"expected an empty zone: {stat}"
    assert stat["bytes_free"] > free, "expected the room to be free"
    assert zone.run("purge", option).done().text == "purged 0 objects\n", "expected nothing to do to be no failure"


NOT_CACHED = [  # operands, words for it
    (["/not/there"], ["/not/there: not cached"]),
    (["/not/*"], ["/not/*: nothing that is cached matches"]),
    ([""], ["not cached"]),
    (["/"], ["/: not cached"]),
    (["http://127.0.0.1/x"], ["no response entry for this URL"]),
    (["https://127.0.0.1/*"], ["no response entry for this URL"]),
    (["x" * 5000], ["not cached"]),
    (["\x1b[2J"], [r"\x1b[2J: nothing that is cached matches"]),
]


@pytest.mark.parametrize("operands,words", NOT_CACHED, ids=[str(index) for index in range(len(NOT_CACHED))])
def test_not_cached(zone, site, operands, words):
    zone.warm(site)
    ended = zone.run("purge", *operands)
    assert ended.complains(NOT_SO, *words).text == "purged 0 objects\n", f"expected nothing to go: {ended}"
    assert zone.run("--json", "purge", *operands).complains(NOT_SO).json == {"purged": 0}, "expected the same in JSON"
    assert left(zone, site) == ALL, "expected everything to stay"


def test_one_of_several_is_not_cached(zone, site):
    zone.warm(site)
    ended = zone.run("purge", site / "empty", "/not/there", site / "small.txt")
    assert ended.complains(NOT_SO, "/not/there: not cached").text == "purged 2 objects\n", f"expected the others to go: {ended}"


def test_name_before_pattern(zone, tmp_path):
    """A file whose very name is a pattern goes alone."""
    for name in ("*", "a", "b"):
        put(tmp_path / name)
    zone.warm(tmp_path)
    assert zone.json("purge", tmp_path / "*") == {"purged": 1}, "expected the file of that name"
    assert zone.json("purge", tmp_path / "*") == {"purged": 2}, "expected it to be a pattern then"


def test_file_that_is_gone(zone, site):
    zone.warm(site)
    (site / "empty").unlink()
    assert zone.json("purge", site / "empty") == {"purged": 1}, "expected the object to go, whatever the file does"


def test_held(zone, site, holder):
    """Nobody finds it any more; who holds it keeps it; its room comes free with the last pin."""
    path = site / "sub/large.bin"
    process = holder(zone, path)
    size = path.stat().st_size
    assert zone.json("purge", path) == {"purged": 1}, "expected it to be dropped"
    stat = zone.json("stat")
    assert (stat["objects"], stat["draining"], stat["retired"]) == (0, 1, 1), f"expected it to wait: {stat}"
    assert stat["pins"] >= 9, f"expected the pins to stay: {stat}"
    zone.run("show", path).fails(NOT_SO, "not cached")
    zone.run("purge", path).complains(NOT_SO, "not cached")
    [one] = zone.json("list")
    assert (one["path"], one["state"]) == (str(path), "retired"), f"expected it in the list, as what it is: {one}"
    zone.verified()
    assert zone.warm(path)["bytes"] == size, "expected it to be loaded anew"
    assert sorted(one["state"] for one in zone.json("list")) == ["live", "retired"], "expected both"
    assert zone.run("dump").done().lines == [str(path)], "expected it in the dump once"
    assert process.end() == 0
    zone.run("purge", "/none")
    stat = zone.json("stat")
    assert (stat["objects"], stat["draining"], stat["pins"]) == (1, 0, 0), f"expected the old one to be gone: {stat}"
    zone.run("verify", "--content").done()


def test_all_while_held(zone, site, holder):
    zone.warm(site)
    holder(zone, site / "small.txt")
    assert zone.json("purge", "--all") == {"purged": 4}, "expected all of them"
    assert zone.json("purge", "--all") == {"purged": 0}, "expected what is retired not to count again"
    stat = zone.json("stat")
    assert (stat["objects"], stat["draining"]) == (0, 1), f"expected the held one to wait: {stat}"


def test_disabled_zone(zone, site):
    """Purging is possible there too: nothing old may come back when it is enabled."""
    zone.warm(site)
    zone.run("disable").done()
    ended = zone.run("--json", "purge", "--all")
    assert (ended.status, ended.json) == (DONE, {"purged": 4}), f"expected all to go: {ended}"
    assert zone.json("list") == [], "expected an empty zone"


def test_pattern_in_a_directory_that_looks_like_one(zone, tmp_path):
    """Only what is in that directory goes."""
    for name in ("*/file", "other/file"):
        put(tmp_path / name)
    zone.warm(tmp_path)
    assert zone.run("--json", "purge", "f*", cwd=tmp_path / "*").done().json == {"purged": 1}, "expected one"
    assert zone.paths() == [f"{tmp_path}/other/file"], "expected the other to stay"


def test_names_that_are_not_folded(zone, site):
    """Nothing else goes with them."""
    for name in ("//small.txt", "//empty", "/small.txt"):
        zone.json("warm", "-x", f"{site}{name}")
    assert zone.json("purge", f"{site}//s*") == {"purged": 1}, "expected the one that is spelled so"
    assert zone.json("purge", f"{site}//empty") == {"purged": 1}, "expected the very name"
    assert zone.paths() == [f"{site}/small.txt"], "expected the other spelling to stay"
