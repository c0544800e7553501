# SPDX-License-Identifier: Apache-2.0
"""httpd with EnableSendfile On: chunks go by reference, whatever the clients do, and others who get the same file are not touched."""
import time

import pytest

from conftest import need
from docroot import payload
from pair import Pair
from servers import libexec, missing
from wire import Wire, fetch, get

LARGE, CHUNK = payload("large", 500000), payload("chunk", 65536)


@pytest.fixture(scope="module", params=["event", "worker", "fast path"])
def pair(request):
    need(not missing("httpd"), missing("httpd"))
    mpm = "worker" if request.param == "worker" else "event"
    need((libexec() / f"mod_mpm_{mpm}.so").exists(), f"mpm_{mpm} is not installed")
    fast = "AfpaFastPath on\nAfpaLogging off\n" if request.param == "fast path" else ""
    with Pair("httpd", conf="EnableSendfile on\n" + fast, outer="SendBufferSize 65536\n", mpm=mpm, workers=1, revalidate=3600000) as pair:
        pair.put("large.bin", LARGE)
        pair.put("chunk.bin", CHUNK)
        pair.warm("/large.bin")
        pair.warm("/chunk.bin")
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()


def right(pair, *headers):
    """Both files, by new connections, and one after the other on one."""
    for _ in range(4):
        assert fetch(pair.ours.port, get("/large.bin", *headers)).body == LARGE
        assert fetch(pair.ours.port, get("/chunk.bin", *headers)).body == CHUNK
    with Wire(pair.ours.port) as wire:
        for _ in range(4):
            assert wire.request(get("/chunk.bin", *headers)).body == CHUNK
            assert wire.request(get("/large.bin", *headers)).body == LARGE


@pytest.mark.parametrize("headers", [(), ("X-Long: " + "x" * 8000,)], ids=["", "not for the fast path"])
def test_beside_slow_readers(pair, headers):
    """What httpd sets aside for a client that does not read is that client's alone."""
    right(pair, *headers)
    wires = [Wire(pair.ours.port, rcvbuf=4096) for _ in range(6)]
    for wire in wires:
        wire.send(get("/large.bin", *headers))
    time.sleep(0.5)
    right(pair, *headers)
    for wire in wires[::2]:
        assert wire.reply().body == LARGE
        assert wire.request(get("/chunk.bin", *headers)).body == CHUNK
    for wire in wires:
        wire.close()
    right(pair, *headers)


def test_in_small_parts(pair):
    """Ranges of all lengths around what httpd makes a sendfile() of, many at once."""
    for length in (1, 255, 256, 257, 32767, 32768, 65535):
        for start in (0, 1, 65535, 65536, 200000):
            reply = fetch(pair.ours.port, get("/large.bin", f"Range: bytes={start}-{start + length - 1}"))
            assert reply.body == LARGE[start:start + length]
