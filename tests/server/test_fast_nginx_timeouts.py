# SPDX-License-Identifier: Apache-2.0
"""nginx's fast path: client_header_timeout and send_timeout are as long as nginx's own, and reset_timedout_connection is heard."""
import os
import time

import pytest

from test_fast_nginx import FAST, SAY, end_of, fast, root  # noqa: F401
from wire import Wire, eventually, get
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

LATE = 0.8  # two ticks of the engine, and a slow machine


@pytest.mark.parametrize("said", [b"GET /a", b"POST /a", b"GET /say HTTP/1.1\r\nHost: localhost\r\nRange: x\r\nX-Part"],
                         ids=["ours", "nginx's", "nginx's-late"])
def test_the_first_head_has_its_time_from_the_accept_on(root, said):  # noqa: F811
    with fast(root, FAST + SAY + "client_header_timeout 2s;", "/a.bin") as (server, zone), Wire(server.port) as wire:
        begin = time.monotonic()
        time.sleep(1.2)
        wire.send(said)
        assert end_of(wire)[0] == b""
        assert 1.9 <= time.monotonic() - begin <= 2 + LATE


def test_a_head_in_time(root):  # noqa: F811
    """And its connection is not ended by the first head's timer."""
    with fast(root, FAST + SAY + "client_header_timeout 2s;", "/a.bin") as (server, zone):
        for parts in ([get("/a.bin")[:20], get("/a.bin")[20:]], [get("/say")[:20], get("/say")[20:]]):
            with Wire(server.port) as wire:
                for part in parts:
                    time.sleep(0.8)
                    wire.send(part)
                assert wire.reply().status == 200
                time.sleep(1.2)
                for target in ("/say", "/a.bin"):
                    assert wire.request(get(target)).status == 200


@pytest.mark.parametrize("target", ["/a.bin", "/say"])
def test_later_heads_have_it_from_their_first_byte_on(root, target):  # noqa: F811
    with fast(root, FAST + SAY + "client_header_timeout 2s;", "/a.bin") as (server, zone), Wire(server.port) as wire:
        assert wire.request(get(target)).status == 200
        time.sleep(1.5)
        wire.send(b"GET /a")
        begin = time.monotonic()
        assert end_of(wire)[0] == b""
        assert 1.9 <= time.monotonic() - begin <= 2 + LATE


def descriptors(server):
    return len(os.listdir(f"/proc/{server.workers()[0]}/fd"))


def stalled(server, zone, raw, more=0):
    """Asks, reads no more than `more` bytes a moment later, and waits for the server to give up: the connection, and how long the
    server waited."""
    idle, before = descriptors(server), zone.count("fast_hits")
    wire = Wire(server.port, rcvbuf=4096)
    wire.send(raw)
    assert zone.grows("fast_hits", before)
    begin = time.monotonic()
    if more:
        time.sleep(0.4)
        while more > 0:
            more -= len(wire.sock.recv(min(more, 1 << 16)))
        begin = time.monotonic()
    assert eventually(lambda: descriptors(server) == idle, 10, 0.02)
    return wire, time.monotonic() - begin


# By the send machine, in one piece, and many in one buffer.
@pytest.mark.parametrize("raw", [get("/huge.bin"), get("/mid.bin") * 200, get("/a.bin") * 1000 * 10], ids=["huge", "mid", "small"])
def test_send_timeout(root, raw):  # noqa: F811
    with fast(root, FAST + "send_timeout 2s;", "/a.bin", "/mid.bin", "/huge.bin") as (server, zone):
        wire, waited = stalled(server, zone, raw)
        wire.close()
        assert 1.7 <= waited <= 2 + LATE


def test_send_timeout_after_progress(root):  # noqa: F811
    with fast(root, FAST + "send_timeout 2s;", "/huge.bin") as (server, zone):
        wire, waited = stalled(server, zone, get("/huge.bin"), more=8 << 20)
        wire.close()
        assert 1.7 <= waited <= 2 + LATE


@pytest.mark.parametrize("said, reset", [("on", True), ("off", False)])
def test_reset_timedout_connection(root, said, reset):  # noqa: F811
    with fast(root, FAST + f"send_timeout 1s; reset_timedout_connection {said};", "/huge.bin") as (server, zone):
        wire, _ = stalled(server, zone, get("/huge.bin"))
        data, _ = end_of(wire, reset_is=b"reset")
        assert data.endswith(b"reset") == reset
        wire.close()
