# SPDX-License-Identifier: Apache-2.0
"""The fast path's last reply on a connection arrives whole, whatever the client has sent behind its request, or sends before it has all of
it: were the connection closed then, the kernel would reset it, and throw away what the client has not got yet."""
import signal
import time

import pytest

from conftest import need
from docroot import payload
from pair import Pair
from servers import missing
from wire import Wire, get
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

FAST = {"nginx": "afpa_fast_path on; afpa_access_log off;", "httpd": "AfpaFastPath on\nAfpaLogging off\n"}
LIMIT = {"nginx": "keepalive_requests 2;", "httpd": "MaxKeepAliveRequests 1\n"}  # the second reply is the last
GRACEFUL = {"nginx": [signal.SIGHUP, signal.SIGQUIT], "httpd": [signal.SIGUSR1, signal.SIGWINCH]}
WAYS = [(kind, way) for kind in FAST for way in ("close", "limit", *GRACEFUL[kind])]


@pytest.mark.parametrize("kind, way", WAYS, ids=[f"{kind}-{getattr(way, 'name', way)}" for kind, way in WAYS])
def test_whole(kind, way):
    need(not missing(kind), missing(kind))
    with Pair(kind, size="64m", conf=FAST[kind] + (LIMIT[kind] if way == "limit" else ""), revalidate=3600000, workers=1) as pair:
        data = pair.put("file.bin", payload("file", 3000000))
        pair.put("small.bin", payload("small", 100))
        assert pair.admit("/file.bin") and pair.admit("/small.bin")
        before = pair.zone.count("fast_hits")
        with Wire(pair.ours.port, timeout=15, rcvbuf=4096) as wire:
            assert wire.request(get("/small.bin")).status == 200
            wire.send(get("/file.bin", *(["Connection: close"] if way == "close" else [])))
            time.sleep(0.2)
            if way in GRACEFUL[kind]:
                pair.ours.process.send_signal(way)
                time.sleep(0.2)
            wire.send(get("/small.bin"))
            time.sleep(0.2)
            reply = wire.reply()
        assert reply.body == data and reply.complete
        assert way not in ("close", "limit") or reply.header("Connection") == "close"
        assert pair.zone.grows("fast_hits", before, 2)


@pytest.mark.parametrize("way", ["close", "limit", "idle", *GRACEFUL["httpd"]], ids=lambda way: getattr(way, "name", way))
def test_whole_in_the_socket(way):
    """The reply has room in the socket, so the server is through with it long before the client is, who then sends once more.
    nginx closes there, with the module and without."""
    need(not missing("httpd"), missing("httpd"))
    conf = FAST["httpd"] + {"limit": LIMIT["httpd"], "idle": "KeepAliveTimeout 1\n"}.get(way, "")
    with Pair("httpd", conf=conf, revalidate=3600000, workers=1) as pair:
        data = pair.put("file.bin", payload("file", 300000))
        pair.put("small.bin", payload("small", 100))
        assert pair.admit("/file.bin") and pair.admit("/small.bin")
        for server in (pair.stock, pair.ours):
            before = pair.zone.count("fast_hits")
            with Wire(server.port, timeout=15, rcvbuf=4096) as wire:
                assert wire.request(get("/small.bin")).status == 200
                wire.send(get("/file.bin", *(["Connection: close"] if way == "close" else [])))
                time.sleep(0.2)
                if way in GRACEFUL["httpd"]:
                    server.process.send_signal(way)
                time.sleep(2 if way == "idle" else 0.3)
                wire.send(get("/small.bin"))
                time.sleep(0.2)
                reply = wire.reply()
            assert reply.body == data and reply.complete
            assert way not in ("close", "limit") or reply.header("Connection") == "close"
        assert pair.zone.grows("fast_hits", before, 2)


@pytest.mark.parametrize("way", ["close", "limit", "idle", *GRACEFUL["httpd"]], ids=lambda way: getattr(way, "name", way))
def test_what_crosses_the_end(way):
    """What the client still sends is thrown away for a while, as httpd does it: a reset would reach a client that has not read yet, and on
    some systems takes what lies in its socket."""
    need(not missing("httpd"), missing("httpd"))
    conf = FAST["httpd"] + {"limit": LIMIT["httpd"], "idle": "KeepAliveTimeout 1\n"}.get(way, "")
    with Pair("httpd", conf=conf, revalidate=3600000, workers=1) as pair:
        pair.put("small.bin", payload("small", 100))
        assert pair.admit("/small.bin")
        for server in (pair.stock, pair.ours):
            before = pair.zone.count("fast_hits")
            with Wire(server.port, timeout=15) as wire:
                assert wire.request(get("/small.bin")).status == 200
                if way in ("close", "limit"):
                    assert wire.request(get("/small.bin", *(["Connection: close"] if way == "close" else []))).header("Connection") == "close"
                elif way != "idle":
                    server.process.send_signal(way)
                assert wire.until_end() == b""
                for _ in range(3):
                    wire.send(get("/small.bin"))
                    time.sleep(0.1)
                assert wire.until_end() == b""
            assert pair.zone.grows("fast_hits", before, 1 + (way in ("close", "limit"))) or server is pair.stock
