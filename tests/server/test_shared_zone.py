# SPDX-License-Identifier: Apache-2.0
"""nginx and httpd on one zone: what one has read the other need not."""
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from conftest import need
from docroot import payload, put, settle
from load import Load
from servers import KINDS, Server, missing
from slow import SlowClients
from wire import Wire, eventually, fetch, get
from zone import STOCK_ONLY, Zone


class Both:
    def __init__(self):
        self.root = Path(tempfile.mkdtemp(prefix="site-"))
        self.root.chmod(0o755)
        self.zone = Zone("64m")
        self.servers = {kind: Server(kind, self.root, self.zone) for kind in KINDS}

    def close(self):
        for server in self.servers.values():
            server.close()
        self.zone.remove()
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture(scope="module")
def both():
    for kind in KINDS:
        need(not missing(kind), missing(kind))
    both = Both()
    try:
        for server in both.servers.values():
            server.start()
        yield both
        assert both.zone.unpinned()
        assert not both.zone.problems()
    finally:
        both.close()


@pytest.mark.parametrize("first, second", [KINDS, KINDS[::-1]], ids=["nginx first", "httpd first"])
def test_read_by_one_is_a_hit_for_the_other(both, first, second):
    for size in (0, 100, 65536, 300000):
        name = f"/{first}-{size}.bin"
        data = put(both.root / name[1:], payload(name, size))
        assert fetch(both.servers[first].port, get(name)).body == data
        fills, hits, misses = (both.zone.count(c) for c in ("fills", "pipeline_hits", "misses"))
        assert fetch(both.servers[second].port, get(name)).body == data
        assert both.zone.grows("hits", hits)
        assert (both.zone.count("fills"), both.zone.count("misses")) == (fills, misses)


def test_both_are_owners(both):
    if not STOCK_ONLY:
        kinds = {owner["kind"] for owner in both.zone.stat()["owners"] if owner["alive"]}
        assert kinds >= {"nginx", "httpd"}


def test_one_sees_the_others_revalidation(both):
    put(both.root / "changed.bin", payload("one", 5000))
    for server in both.servers.values():
        assert fetch(server.port, get("/changed.bin")).body == payload("one", 5000)
    put(both.root / "changed.bin", payload("two", 7000))
    time.sleep(0.3)
    for server in both.servers.values():
        assert fetch(server.port, get("/changed.bin")).body == payload("two", 7000)


def test_one_file_cold_for_both_at_once(both):
    """One process reads it; those who wait for it are of both servers."""
    for number in range(5):
        name = f"/together-{number}.bin"
        data = put(both.root / name[1:], payload(name, 600000))
        fills = both.zone.count("fills")
        wires = [Wire(server.port) for server in both.servers.values() for _ in range(8)]
        for wire in wires:
            wire.send(get(name))
        for wire in wires:
            assert wire.reply().body == data
            wire.close()
        assert STOCK_ONLY or both.zone.count("fills") - fills == 10, "a chunk was read twice"


def test_one_stops_and_the_other_goes_on(both):
    content = {f"/on-{n}.bin": put(both.root / f"on-{n}.bin", payload(n, 20000)) for n in range(10)}
    settle()
    for stopped, other in (KINDS, KINDS[::-1]):
        with Load(both.servers[other].port, content, threads=2) as load:
            load.wait(30)
            fills = both.zone.count("fills")
            both.servers[stopped].restart()
            load.wait(30)
        assert not load.failed and not load.wrong
        assert both.zone.count("fills") == fills


def test_slow_readers_of_both(both):
    data = put(both.root / "big.bin", payload("big", 8 << 20))
    ports = [server.port for server in both.servers.values()]
    with SlowClients(ports[0], ["/big.bin"] * 5, {"/big.bin": data}) as one, \
            SlowClients(ports[1], ["/big.bin"] * 5, {"/big.bin": data}) as two:
        one.run(0.3)
        two.run(0.3)
        if not STOCK_ONLY:
            holders = {o["kind"] for o in both.zone.stat()["owners"] if o["pins"]}
            assert holders == {"nginx", "httpd"}
        assert one.finish() == two.finish() == 5
        assert one.right() and two.right()
    assert eventually(lambda: both.zone.count("pins") == 0)
