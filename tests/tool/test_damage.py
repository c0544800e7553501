# SPDX-License-Identifier: Apache-2.0
"""Segments whose owner wrote nonsense into them: every command ends in time, by itself, with a status of its own.

Random bytes, from seeds, in copies of a good segment; and each command that changes something on some of them.
"""
import concurrent.futures
import os
import random

import pytest

from tool import DONE, NO_ZONE, NOT_SO, put, run

SEEDS = 200
PARTS = 8
SECONDS = 20  # what a lock in it costs that cannot be had is less
READERS = [["verify"], ["stat"], ["list"], ["show", "FILE"]]
WRITERS = [["warm", "FILE"], ["purge", "--all"], ["verify", "--content"], ["dump"], ["--json", "list"], ["--json", "stat"],
           ["--json", "show", "FILE"], ["disable"], ["stat", "--reset"], ["destroy"]]
HEADER = 160  # bytes whose change is found at once


TABLES_AND_DATA = 1 << 20


def sparse_copy(source, target):
    """The tables and the data; behind them is a hole."""
    with open(source, "rb") as old, open(target, "wb") as new:
        new.write(old.read(TABLES_AND_DATA))
        new.truncate(os.stat(source).st_size)


@pytest.fixture
def good(make, tmp_path, shm):
    """A small segment with objects of all sizes, and a file in it."""
    zone = make("1m")
    for index, size in enumerate([0, 1, 100, 1000, 5000, 10000, 30000, 65536, 70000, 140000]):
        put(tmp_path / f"file{index}", bytes([index + 65]) * size)
    zone.warm(tmp_path)
    return zone, tmp_path / "file9", shm


def used_places(path):
    """Ranges of 64 bytes of the tables that are not all zero: where damage matters."""
    with open(path, "rb") as file:
        data = file.read(TABLES_AND_DATA)
    return [at for at in range(0, len(data), 64) if any(data[at:at + 64])]


def damage(path, places, seed):
    """One to many changes: bits, bytes, words of a kind that indexes do not like."""
    dice = random.Random(seed)
    with open(path, "r+b") as file:
        for _ in range(dice.choice([1, 1, 2, 5, 50])):
            at = max(HEADER, dice.choice(places) + dice.randrange(64)) if seed % 8 else dice.randrange(HEADER)
            file.seek(at)
            old = file.read(1) or b"\0"
            file.seek(at)
            file.write(dice.choice([bytes([old[0] ^ 1 << dice.randrange(8)]), b"\xff", b"\0", b"\xff" * 4, b"\xff" * 8,
                                    b"\1\0\0\0",
                                    bytes(4), dice.randbytes(8), b"\0\0\0\x80"]))


def judge(ended, seed):
    assert ended.status in (DONE, NOT_SO, NO_ZONE), f"seed {seed}: expected exit status 0, 1 or 3: {ended}"
    assert b"Sanitizer" not in ended.err, f"seed {seed}: expected no report: {ended}"
    for line in ended.err.splitlines():
        assert line.startswith(b"afpactl: ") or b"ssertion" in line, f"seed {seed}: expected messages of its own: {ended}"
    return ended.status


def try_out(good, places, seed, commands):
    """The exit statuses of these commands on a damaged copy."""
    zone, path, directory = good
    copy = directory / f"seed{seed}"
    statuses = []
    for number, words in enumerate(commands):
        if number == 0 or commands is WRITERS:  # readers change nothing
            sparse_copy(zone.path, copy)
            damage(copy, places, seed)
        ended = run("-z", copy, *[path if word == "FILE" else word for word in words], seconds=SECONDS)
        statuses.append(judge(ended, seed))
    copy.unlink(missing_ok=True)
    return statuses


@pytest.mark.seconds(120)
@pytest.mark.parametrize("part", range(PARTS))
def test_readers(good, part):
    places = used_places(good[0].path)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        all_of_it = list(pool.map(lambda seed: try_out(good, places, seed, READERS), range(part, SEEDS, PARTS)))
    verified = [statuses[0] for statuses in all_of_it]
    assert NOT_SO in verified or NO_ZONE in verified, f"expected some damage to be found: {verified}"


@pytest.mark.seconds(120)
@pytest.mark.parametrize("part", range(3))
def test_writers(good, part):
    places = used_places(good[0].path)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda seed: try_out(good, places, seed, WRITERS), range(1000 + part, 1024, 3)))


@pytest.mark.parametrize("byte", [0x00, 0xff, 0x55])
def test_everything_after_the_header(good, byte):
    """All tables overwritten with one byte."""
    zone, path, directory = good
    for words in [*READERS, *WRITERS]:
        copy = directory / "flat"
        sparse_copy(zone.path, copy)
        with open(copy, "r+b") as file:
            file.seek(4096)
            file.write(bytes([byte]) * (TABLES_AND_DATA - 4096))
        judge(run("-z", copy, *[path if word == "FILE" else word for word in words], seconds=SECONDS), hex(byte))
