# SPDX-License-Identifier: Apache-2.0
"""A zone that is too small for what is asked of it: the server answers as ever, from the cache or by itself."""
import random

import pytest

from docroot import payload
from load import Load
from pair import Pair
from servers import Server
from slow import SlowClients
from wire import Wire, eventually, get
from zone import STOCK_ONLY

SETTINGS = {"size": "4m"}


def test_file_larger_than_the_zone(pair):
    data = pair.put("large.bin", payload("large", 9 << 20))
    for _ in range(3):
        assert pair.same("/large.bin").length == len(data)
    assert pair.same("/large.bin", "Range: bytes=8000000-8200000").body == data[8000000:8200001]
    assert pair.same("/large.bin", "Range: bytes=-1").body == data[-1:]
    pair.same("/large.bin", method="HEAD")
    assert pair.zone.unpinned()


def test_several_read_a_file_larger_than_the_zone(pair):
    data = pair.put("shared.bin", payload("shared", 9 << 20))
    with SlowClients(pair.ours.port, ["/shared.bin"] * 12, {"/shared.bin": data}) as clients:
        clients.run(0.5, 1 << 20)
        assert clients.finish() == 12
        assert clients.right()
    assert pair.zone.unpinned()


def test_more_files_than_fit(pair):
    names = [f"many/{number}.bin" for number in range(120)]
    sizes = {name: random.Random(name).choice([500, 3000, 30000, 70000, 200000]) for name in names}
    for name in names:
        pair.put(name, payload(name, sizes[name]))
    evictions = pair.zone.count("evictions")
    for _ in range(2):
        for name in names:
            assert pair.same("/" + name).body == payload(name, sizes[name])
    assert pair.zone.grows("evictions", evictions)
    assert not pair.zone.problems()


def test_more_objects_than_fit(pair):
    """Tiny files use up records rather than chunks."""
    names = [f"tiny/{number % 50}/{number}" for number in range(6000)]
    for name in names:
        path = pair.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload(name, 20))
    with Wire(pair.ours.port) as wire:
        for start in range(0, len(names), 100):
            part = names[start:start + 100]
            wire.send(b"".join(get("/" + name) for name in part))
            for name in part:
                assert wire.reply().body == payload(name, 20)
    assert not pair.zone.problems()
    pair.warm("/" + names[0])


def test_zone_full_of_pinned_chunks(pair):
    """80 slow readers of 80 files hold more than there is; nobody is refused for it, and nobody gets wrong bytes."""
    content = {f"/held-{number}.bin": payload(f"held {number}", 1 << 20) for number in range(80)}
    for name, data in content.items():
        pair.put(name[1:], data)
    with SlowClients(pair.ours.port, list(content), content) as clients:
        clients.run(1, 16384)
        for number in range(20):
            name = f"late-{number}.bin"
            data = pair.put(name, payload(name, 150000))
            assert pair.same("/" + name).body == data
            assert pair.same("/" + name).body == data
        clients.run(0.5, 16384)
        assert clients.right()
        whole = clients.finish()
        assert clients.right()
        assert whole == len(content), "replies were cut for want of room"
    assert pair.zone.unpinned()
    assert not pair.zone.problems()
    pair.warm("/held-1.bin")


@pytest.mark.parametrize("size", ["1m"])
def test_smallest_zone(kind, size):
    with Pair(kind, size=size) as pair:
        for number in range(30):
            data = pair.put(f"{number}.bin", payload(number, number * 9000))
            for _ in range(2):
                assert pair.same(f"/{number}.bin").body == data
        pair.put("small.bin", payload("small", 100))
        pair.warm("/small.bin")
        assert STOCK_ONLY or pair.zone.stat()["size"] <= 1 << 20
        assert pair.zone.unpinned()
        assert not pair.zone.problems()


MANY_PROCESSES = 262  # six more than there are owner slots
PREFORK = f"ServerLimit {MANY_PROCESSES + 40}\nMaxRequestWorkers {MANY_PROCESSES + 40}\nMaxSpareServers {MANY_PROCESSES + 40}"


def test_more_processes_than_owner_slots(kind):
    """Those that get no slot serve without the cache; nobody notices."""
    with Pair(kind, mpm="prefork", size="8m", workers=2) as pair:
        content = {f"/{n}.bin": pair.put(f"{n}.bin", payload(n, 20000)) for n in range(8)}
        server = Server(kind, pair.root, pair.zone, mpm="prefork", workers=MANY_PROCESSES, outer="" if kind == "nginx" else PREFORK)
        try:
            server.start()
            eventually(lambda: len(server.workers()) >= MANY_PROCESSES, 10)
            with Load(server.port, content, threads=4) as load:
                load.wait(1000)
            assert not load.failed and not load.wrong
            assert STOCK_ONLY or len(pair.zone.stat()["owners"]) <= 256
        finally:
            server.close()
        assert pair.zone.unpinned()
        assert not pair.zone.problems()
        pair.warm("/1.bin")
