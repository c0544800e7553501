# SPDX-License-Identifier: Apache-2.0
"""afpactl stat: the fields, what they count, lines at an interval, the reset; owners that are alive, and that were killed."""
import re
import resource
import signal
import subprocess
import time

import pytest

from tool import DONE, NO_ZONE, NOT_SO, SECONDS, STAT, command, died_by, environment, put, wrong
from wire import eventually


def test_fields(zone):
    stat = zone.json("stat")
    assert wrong(stat, STAT) == [], f"expected every field, of its type: {stat}"


def test_fields_of_a_zone_in_use(zone, site, holder):
    holder(zone, site / "sub/large.bin", site / "sub/large.bin")
    zone.run("warm", "--max-size", "9", site / "small.txt")
    stat = zone.json("stat")
    assert wrong(stat, STAT) == [], f"expected every field, of its type: {stat}"
    assert stat["owners"] and stat["declined"] == {"max_size": 1}, f"expected an owner and a reason: {stat}"


def test_empty_zone(zone):
    stat = zone.json("stat")
    assert (stat["zone"], stat["path"]) == (zone.name, str(zone.path)), "expected name and path"
    assert (stat["size"], stat["chunk"]) == (4 << 20, 65536) and stat["layout_version"] > 0, "expected what it was made with"
    assert not stat["pinned"] and stat["enabled"], "expected an enabled zone that nobody locked"
    assert stat["owners"] == [] and stat["declined"] == {}, "expected nobody in it"
    assert 3 << 20 < stat["bytes_free"] < 4 << 20, "expected most of it to be free"
    for name in set(STAT) - {"zone", "path", "layout_version", "size", "pinned", "bytes_free", "owners", "declined"}:
        assert stat[name] == 0, f"expected {name} to be 0"


def test_counts(zone, site):
    zone.warm(site)
    stat = zone.json("stat")
    total = sum(one.stat().st_size for one in site.rglob("*") if one.is_file())
    assert (stat["objects"], stat["bytes_cached"]) == (4, total), "expected the four files of the site"
    assert stat["fills"] == 1 + 1 + 1 + 9, "expected a fill for each chunk"
    assert stat["bytes_free"] <= 4 * (1 << 20) - total, "expected less room"
    zone.run("purge", site / "chunk.bin").done()
    stat = zone.json("stat")
    assert (stat["objects"], stat["retired"], stat["bytes_cached"]) == (3, 1, total - 65536), "expected one object less"


def test_hits(zone, site, holder):
    holder(zone, *[site / "small.txt"] * 6)
    stat = zone.json("stat")
    assert (stat["hits"], stat["pipeline_hits"], stat["fast_hits"], stat["misses"]) == (5, 5, 0, 1), \
        "expected five hits after a miss"
    assert re.search(r"hit ratio +83\.3 %", zone.run("stat").done().text), "expected the ratio of them"


def test_declined(zone, tmp_path):
    small, large = put(tmp_path / "small", b"." * 10), put(tmp_path / "large", b"." * 1000)
    zone.run("warm", "-m", "100", "-M", "999", small, large)
    zone.run("warm", "-m", "100", small, large)
    zone.run("warm", "/dev/null")
    assert zone.json("stat")["declined"] == {"min_size": 2, "max_size": 1, "not_regular": 1}, "expected the reasons by name"
    assert re.search(r"^  min_size +2  smaller than min_size$", zone.run("stat").done().text, re.M), "expected them in words"


def test_for_people(zone, site, holder):
    process = holder(zone, site / "small.txt")
    text = zone.run("stat").done().text
    for part in [f"zone {zone.name}  {zone.path}\n", "enabled: yes", "layout version: ", "chunk: 64.0 KB", "pinned: no"]:
        assert part in text, f"expected {part!r} in {text}"
    assert re.search(rf"^ +0 +{process.pid} +\d+  yes    hold$", text, re.M), f"expected the owner in a table: {text}"
    assert re.search(r"^owners  1 of 256 slots$", text, re.M), f"expected how many slots there are: {text}"
    for name in set(STAT) - {"zone", "path", "layout_version", "owners", "pinned", "hits", "declined"}:
        assert re.search(rf"^  {name} +[0-9.]+", text, re.M), f"expected {name} in {text}"


# ---- owners ----

def test_owner(zone, site, holder):
    process = holder(zone, site / "sub/large.bin")
    [owner] = zone.json("stat")["owners"]
    assert (owner["pid"], owner["kind"], owner["alive"]) == (process.pid, "hold", True), f"expected the process: {owner}"
    assert owner["pins"] == zone.json("stat")["pins"] >= 9, f"expected a pin for each entry: {owner}"
    assert process.end() == 0
    stat = zone.json("stat")
    assert (stat["owners"], stat["pins"]) == ([], 0), f"expected nothing of it to stay: {stat}"
    zone.verified()


def test_killed_owner(zone, site, holder):
    """What a server leaves that was killed: its slot, its pins.  The next process takes them back."""
    zone.warm(site)
    process = holder(zone, site / "sub/large.bin", site / "small.txt")
    process.end(signal.SIGKILL)
    stat = zone.json("stat")
    [owner] = stat["owners"]
    assert (owner["pid"], owner["alive"]) == (process.pid, False), f"expected the dead owner: {owner}"
    assert owner["pins"] >= 10, f"expected its pins: {owner}"
    assert re.search(rf"^ +0 +{process.pid} +\d+  no     hold$", zone.run("stat").done().text, re.M), "expected it in the table"
    zone.verified()
    assert len(zone.paths()) == 4, "expected the objects to be there"
    zone.run("show", site / "sub/large.bin").done()
    zone.run("purge", "--all").done()
    stat = zone.json("stat")
    assert (stat["owners"], stat["pins"], stat["objects"], stat["draining"]) == ([], 0, 0, 0), \
        f"expected nothing to be left: {stat}"
    assert stat["reaped"] == 1, f"expected the slot to be counted: {stat}"
    zone.verified()


def test_several_owners(zone, site, holder):
    pids = {holder(zone, site / "small.txt").pid for _ in range(3)}
    owners = zone.json("stat")["owners"]
    assert {one["pid"] for one in owners} == pids, f"expected them all: {owners}"
    assert len({one["slot"] for one in owners}) == 3, f"expected a slot for each: {owners}"


# ---- reset ----

def test_reset_of_what_could_not_be_printed(zone, site):
    """Counters that nobody got to see are kept."""
    zone.warm(site)
    before = zone.json("stat")["fills"]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(command("-z", zone.path, "stat", "--reset"), stdout=full, stderr=subprocess.PIPE, timeout=SECONDS,
                               env=environment())
    assert ended.returncode == NOT_SO and ended.stderr.startswith(b"afpactl: standard output: "), f"expected a message: {ended}"
    assert zone.json("stat")["fills"] == before > 0, "expected the counters to stay"


def test_reset(zone, site, holder):
    with holder(zone, site / "small.txt", site / "small.txt"):
        before = zone.json("stat", "--reset")
        assert (before["hits"], before["fills"]) == (1, 1), f"expected the counts before the reset: {before}"
        after = zone.json("stat")
        assert (after["hits"], after["misses"], after["fills"]) == (0, 0, 0), f"expected counters at zero: {after}"
        for name in ("objects", "bytes_cached", "pins", "owners"):
            assert after[name] == before[name], f"expected {name} to stay"
    zone.run("purge", "/none")
    zone.verified()


# ---- intervals ----

def test_interval_for_people(zone):
    lines = zone.run("stat", "--interval", "0.01", "--count", "21").done().lines
    heading = "hits misses declined fills errors evicted checked retired objects cached free pins".split()
    assert len(lines) == 23, f"expected 21 lines below two headings: {lines}"
    assert lines[0].split() == lines[21].split() == heading, f"expected the heading again after 20 lines: {lines}"


def test_interval_json(zone):
    ended = zone.run("--json", "stat", "-i", "0.01", "-n", "3").done()
    assert len(ended.lines) == 3, f"expected an object a line: {ended}"
    import json
    for line in ended.lines:
        assert wrong(json.loads(line), STAT) == [], f"expected all fields in {line}"


def test_interval_counts_what_came(zone, site):
    zone.warm(site / "small.txt")
    process = zone.start("stat", "--interval", "1", "--count", "1")
    time.sleep(0.2)
    zone.warm(site / "sub/large.bin")
    out = process.communicate(timeout=30)[0].decode().splitlines()
    assert process.returncode == DONE, f"expected it to end by itself: {out}"
    row = dict(zip(out[0].split(), out[1].split()))
    assert (row["fills"], row["objects"]) == ("9", "2"), f"expected the fills of the interval, and all objects: {out}"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interval_interrupted(zone, how):
    kept = signal.signal(how, signal.SIG_DFL)  # who runs the tests in the background may have it ignored
    process = zone.start("stat", "--interval", "0.02")
    signal.signal(how, kept)
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(how)
    err = process.communicate(timeout=10)[1]
    assert all(line.endswith(b"\n") for line in lines), f"expected a line each time: {lines}"
    assert died_by(process.returncode, how) and err == b"", f"expected it to end at once, {process.returncode}: {err}"


def test_interval_ends_with_the_zone(zone, make):
    process = zone.start("stat", "--interval", "0.02")
    process.stdout.readline()
    zone.run("destroy").done()
    err = process.communicate(timeout=10)[1].decode()
    assert process.returncode == NO_ZONE, f"expected exit status 3: {process.returncode}"
    assert err == f"afpactl: {zone.path}: was removed or replaced\n", f"expected the reason: {err}"


# ---- locked memory ----

def test_pinned_only_while_somebody_has_it(make, site):
    """`create --mlock require` finds out whether it can be locked; the lock ends with it."""
    segment = make(create=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    made = segment.run("create", "--mlock", "try", segment.name, segment.size)
    assert made.status == DONE, f"expected a segment whether or not it could be locked: {made}"
    assert segment.json("stat")["pinned"] is False, "expected no lock without a process"
    assert eventually(lambda: "pinned: no" in segment.run("stat").done().text, 1), "expected the same in words"
