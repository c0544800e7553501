# SPDX-License-Identifier: Apache-2.0
"""afpactl warm where room is short: what is evicted for it, and what --until-full leaves alone."""
import pytest

from tool import MIB, NOT_SO, put


def test_larger_than_the_zone(zone, tmp_path):
    path = put(tmp_path / "huge", bytes(6 * MIB))
    result = zone.run("--json", "warm", path)
    result.complains(NOT_SO, f"{path}: no_space")
    assert (result.json["files"], result.json["skipped"]) == (0, {"no_space": 1}), f"expected it to be skipped: {result}"
    zone.verified()
    assert zone.warm(put(tmp_path / "small"))["files"] == 1, "expected room for another"


def test_nearly_as_large_as_the_zone(zone, tmp_path):
    room = zone.json("stat")["bytes_free"]
    path = put(tmp_path / "large", bytes(room - 65536))
    assert zone.warm(path)["files"] == 1, "expected what there is room for"
    zone.run("verify", "--content").done()


def tree_larger_than(zone, directory, size):
    """Files of `size` bytes, half again as many as fit."""
    count = 3 * zone.json("stat")["bytes_free"] // (2 * size)
    for index in range(count):
        put(directory / f"{index:05}", (b"%05d" % index).ljust(size, b"."))
    return count


def test_evicts(zone, tmp_path):
    count = tree_larger_than(zone, tmp_path, 100000)
    result = zone.json("warm", tmp_path)
    assert result["files"] == count and result["evicted"] > 0, f"expected all to be loaded, and others dropped for them: {result}"
    assert zone.run("warm", tmp_path).done().text.endswith(" evictions meanwhile\n"), "expected people to be told"
    assert zone.json("stat")["evictions"] >= result["evicted"], "expected the counter to tell"
    zone.run("verify", "--content").done()


@pytest.mark.parametrize("option,size", [("--until-full", 65536), ("-u", 65536), ("-u", 262144), ("-u", 100000), ("-u", 6000),
                                         ("-u", 20000), ("-u", 1000000)])
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_until_full(zone, tmp_path, option, size, jobs):
    """Nothing is dropped for what comes later, and nothing is left of what did not fit."""
    count = tree_larger_than(zone, tmp_path / "tree", size)
    result = zone.json("warm", option, "-j", jobs, tmp_path / "tree")
    assert result["evicted"] == 0, f"expected nothing to be dropped: {result}"
    assert 0 < result["files"] < count and set(result["skipped"]) == {"no_space"}, f"expected part of it: {result}"
    assert result["files"] + result["skipped"]["no_space"] == count, f"expected each file to be counted: {result}"
    stat = zone.json("stat")
    assert stat["bytes_cached"] == result["bytes"] > 1.9 * MIB, f"expected most of the room to be used, by whole files: {stat}"
    assert (stat["objects"], stat["fill_errors"]) == (result["files"], 0), f"expected nothing else: {stat}"
    zone.run("verify", "--content").done()


@pytest.mark.parametrize("size", [6000, 100000])
def test_until_full_again(zone, tmp_path, size):
    """In a full zone, what is there is counted, what changed is loaded anew, the rest is not even opened."""
    count = tree_larger_than(zone, tmp_path, size)
    first = zone.json("warm", "-u", "-j", "1", tmp_path)
    before = zone.json("stat")
    changed = zone.paths()[0]
    put(tmp_path / "new", bytes(size)).rename(changed)
    again = zone.json("warm", "-u", "-j", "1", tmp_path)
    after = zone.json("stat")
    assert (again["files"], again["evicted"]) == (first["files"], 0), f"expected the same files: {again}"
    assert after["fills"] - before["fills"] <= 2 * ((size + 65535) // 65536), f"expected hardly anything to be read: {after}"
    assert again["skipped"]["no_space"] == count - again["files"] > 5, f"expected many to be left: {again}"
    assert sum(after["declined"].values()) <= 2, f"expected no more than one try each time: {after}"
    zone.run("verify", "--content").done()


def test_until_full_goes_on_with_smaller_ones(zone, tmp_path):
    """A file that is too large keeps no smaller one out, one that is as large is not tried."""
    room = zone.json("stat")["bytes_free"]
    sizes = {"large": room - 4 * 65536, "huge": 2 * room, "too-large": 5 * 65536, "as-large": 5 * 65536, "medium": 65536,
             "small": 100}
    given = "\n".join(str(put(tmp_path / name, bytes(size))) for name, size in sizes.items())
    result = zone.run("--json", "warm", "-u", "-j", "1", "-", stdin=given.encode()).done().json
    assert zone.paths() == sorted(f"{tmp_path}/{name}" for name in ("large", "medium", "small")), f"expected what fits: {result}"
    assert (result["skipped"], result["evicted"]) == ({"no_space": 3}, 0), f"expected the others to be skipped: {result}"
    assert zone.json("stat")["declined"] == {"no_space": 2}, "expected one of two that are as large to be tried"


def test_until_full_tells_other_reasons(zone, tmp_path):
    """A full zone is not the reason for what would not be loaded anyway."""
    tree_larger_than(zone, tmp_path, 65536)
    put(tmp_path / "z-large", bytes(70000))
    result = zone.json("warm", "-u", "-j", "1", "-M", "65536", tmp_path)
    assert result["skipped"]["max_size"] == 1 and result["skipped"]["no_space"] > 1, f"expected both reasons: {result}"


def test_until_full_leaves_what_it_found(zone, tmp_path):
    """What is there gives up no chunk for what does not fit."""
    room = zone.json("stat")["bytes_free"]
    large = put(tmp_path / "large", bytes(room - 8 * 65536))
    zone.warm(large)
    before = zone.json("show", large)
    put(tmp_path / "other", bytes(20 * 65536))
    assert zone.json("warm", "-u", tmp_path / "other")["skipped"] == {"no_space": 1}, "expected no room"
    after = zone.json("show", large)
    assert after["entries_pinned"] == before["entries_pinned"] == before["entries"], f"expected it to stay: {after}"


def test_everything_is_pinned(zone, tmp_path, holder):
    """Where all that could be evicted is held, the rest is skipped."""
    room = zone.json("stat")["bytes_free"]
    held = put(tmp_path / "held", bytes(room - 2 * 65536))
    holder(zone, held)
    ended = zone.run("--json", "warm", put(tmp_path / "other", bytes(4 * 65536)))
    assert ended.complains(NOT_SO, "no_space").json["skipped"] == {"no_space": 1}, f"expected no room: {ended}"
    assert zone.json("show", held)["entries_pinned"] == zone.json("show", held)["entries"], "expected what is held to stay"
