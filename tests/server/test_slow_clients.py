# SPDX-License-Identifier: Apache-2.0
"""Clients that read slowly, stop reading, or go away."""
import socket
import time

import pytest

from docroot import payload
from slow import SlowClients
from wire import Wire, fetch, get
from zone import STOCK_ONLY

FAST = True
BIG, CHUNK = 8 << 20, 65536
SETTINGS = {"size": "64m"}
MANY = 80
# A window of several chunks may be in flight for a client; the whole file (128 chunks) may not be pinned for one.
WINDOW = 20


def tree(pair):
    pair.put("big.bin", payload("big", BIG))
    pair.put("small.bin", payload("small", 1000))
    pair.warm("/big.bin")
    pair.warm("/small.bin")


def test_slow_readers(pair):
    content = {"/big.bin": payload("big", BIG)}
    with SlowClients(pair.ours.port, ["/big.bin"] * MANY, content) as clients:
        clients.run(2)
        pins = pair.zone.count("pins")
        assert STOCK_ONLY or 0 < pins <= MANY * WINDOW
        before = time.monotonic()
        for _ in range(20):
            assert fetch(pair.ours.port, get("/small.bin")).body == payload("small", 1000)
        assert time.monotonic() - before < 2, "slow readers slow the others down"
        clients.run(2)
        assert clients.right()
        assert pair.zone.count("pins") <= MANY * WINDOW
    assert pair.zone.unpinned(), f"pins left by clients that went: {pair.zone.stat()}"


def test_slow_reader_gets_everything(pair):
    content = {"/big.bin": payload("big", BIG)}
    with SlowClients(pair.ours.port, ["/big.bin"] * 8, content) as clients:
        clients.run(1)
        assert clients.finish() == 8
        assert clients.right()
    assert pair.zone.unpinned()


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize("read", [0, 1, 100000], ids=lambda n: f"after {n} bytes")
def test_client_goes_half_way(pair, read, reset):
    wires = [Wire(pair.ours.port, rcvbuf=4096) for _ in range(20)]
    for wire in wires:
        wire.send(get("/big.bin") + get("/small.bin"))
    for wire in wires:
        left = read
        while left > 0:
            left -= len(wire.sock.recv(left))
        wire.close(reset)
    assert pair.zone.unpinned()
    pair.hit("/big.bin")
    pair.hit("/small.bin")


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
def test_client_goes_before_the_file_is_read(pair, reset):
    """The worker's job outlives the request it was for."""
    for number in range(15):
        name = f"cold-{reset}-{number}.bin"
        data = pair.put(name, payload(name, 2 << 20))
        wire = Wire(pair.ours.port)
        wire.send(get("/" + name))
        wire.close(reset)
        if number % 5 == 0:
            assert pair.same("/" + name).body == data
    assert pair.zone.unpinned()
    assert pair.warm("/" + name).body == data


def test_half_closed_client(pair):
    """A client that has said all it will say still listens, or so some servers think."""
    replies = []
    for server in (pair.ours, pair.stock):
        with Wire(server.port) as wire:
            wire.send(get("/small.bin", "Connection: close"))
            wire.sock.shutdown(socket.SHUT_WR)
            replies.append(wire.reply().comparable())
    assert replies[0] == replies[1]
    assert pair.zone.unpinned()


def test_client_that_never_reads(pair):
    wires = [Wire(pair.ours.port, rcvbuf=4096) for _ in range(10)]
    for wire in wires:
        wire.send(get("/big.bin"))
    time.sleep(0.5)
    assert STOCK_ONLY or pair.zone.count("pins") <= 10 * WINDOW
    pair.hit("/small.bin")
    for wire in wires:
        wire.close()
    assert pair.zone.unpinned()
