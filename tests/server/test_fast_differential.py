# SPDX-License-Identifier: Apache-2.0
"""Requests made at random, in random parts, to a server with the fast path and to the same server alone: the same bytes have to come
back.

Each case is a few requests on one connection, most of them right, some changed at a byte or two.  AFPA_DIFFERENTIAL=SECONDS says how
long to go on (20), AFPA_DIFFERENTIAL_SEED with which numbers.
"""
import os
import random
import socket
import time

import pytest

from conftest import need
from docroot import payload
from pair import Pair
from servers import KINDS, missing
from wire import Wire, fetch, get, masked
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

SECONDS = float(os.environ.get("AFPA_DIFFERENTIAL", "20"))
SEED = int(os.environ.get("AFPA_DIFFERENTIAL_SEED", "1"))
TARGETS = ["/a.bin", "/b.txt", "/empty", "/large.bin", "/a.bin?q", "/a%2ebin", "/missing", "/", "/sub/../a.bin", "//a.bin", "/sub/",
           "/./a.bin", "/.hidden", "/a.bin#x", "http://localhost/a.bin", "*", "/a.bin%00", "/%zz", "/a.bin%"]
HEADERS = ["Connection: close", "Connection: keep-alive", "Connection: Close, TE", "Host: localhost", "Host: other", "Host:",
           "Content-Length: 0", "Content-Length: 3", "Content-Length: x", "Transfer-Encoding: chunked", "Range: bytes=0-3", "Expect: 100-continue",
           "If-None-Match: @", "If-None-Match: *", "If-None-Match: x", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
           "If-Modified-Since: x", "If-Match: *", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "Accept-Encoding: gzip",
           "Accept-Encoding:", "Accept: */*", "Cookie: a=b", "X-Empty:", "x_under: 1", "Bad Name: 1", ": none", "NoColon", " folded",
           "User-Agent: \x80\xff", "X: \x01", "X: a\tb", "Keep-Alive: 5", "Upgrade: h2c", "TE: trailers", "Proxy-Connection: close",
           "Connection: keep-alive, close", "Connection: TE", "Connection:", "Connection: ,close", "Host: LOCALHOST", "Host: localhost:80",
           "Host: localhost.", "Host: [::1]", "Host: a b", "If-None-Match: W/@", 'If-None-Match: "x", @', "If-None-Match: @ @", "If-None-Match:",
           "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT",
           "If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT", "Referer: a", "Trailer: x", "Authorization: Basic eDp5",
           "\r\n".join(f"X-{n}: y" for n in range(97)), "\r\n".join(f"X-{n}: y" for n in range(101)), "X: " + "y" * 7900, "X: " + "y" * 8300]
USUAL = ["Connection: keep-alive", "If-None-Match: @", "If-None-Match: *", "Accept: */*", "Cookie: a=b", "X-Empty:", "Accept-Encoding: gzip",
         "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "User-Agent: \x80\xff", "Content-Length: 0",
         "Connection: close", "Connection: Keep-Alive", "If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT", "Referer: http://localhost/"]
BYTES = b"\r\n \t:/%?.,;\"\\\x00\x01\x7f\x80\xff-0aZ"


FAST = {"nginx": "keepalive_requests 4; afpa_fast_path on; afpa_access_log off;",
        "httpd": "MaxKeepAliveRequests 4\nAfpaFastPath on\nAfpaLogging off\n"}
ENDED = {"nginx": "exited on signal", "httpd": "exit signal"}


def one_request(choose, tag):
    method = choose.choice(["GET"] * 16 + ["HEAD", "HEAD", "HEAD", "POST", "get", "OPTIONS"])
    version = choose.choice(["HTTP/1.1"] * 19 + ["HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1"])
    target = choose.choice(TARGETS[:5] if choose.random() < 0.85 else TARGETS)
    lines = [f"{method} {target} {version}"] + ["Host: localhost"] * (choose.random() < 0.97)
    lines += [choose.choice(USUAL if choose.random() < 0.7 else HEADERS).replace("@", tag) for _ in range(choose.choice([0, 0, 1, 1, 2, 3]))]
    end = choose.choice(["\r\n"] * 30 + ["\n"])
    return (end.join(lines) + end * 2).encode("latin-1")


def one_case(choose, tag):
    raw = bytearray(b"".join(one_request(choose, tag) for _ in range(choose.randrange(1, 6))))
    while choose.random() < 0.3:
        at = choose.randrange(len(raw))
        raw[at:at + choose.randrange(2)] = bytes([choose.choice(BYTES)]) if choose.random() < 0.8 else b""
    return bytes(raw)


def converse(port, raw, choose=None):
    """Everything that comes back for raw, sent whole or in parts, until the server closes; the client closes its side first."""
    got, at = b"", 0
    with Wire(port, timeout=5) as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while at < len(raw):
                part = choose.choice([1, 2, 10, 50, 300, 3000]) if choose else len(raw)
                wire.send(raw[at:at + part])
                at += part
                if choose and choose.random() < 0.2:
                    time.sleep(0.0005)
            wire.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed already: what it said is still there
        try:
            while data := wire.sock.recv(1 << 20):
                got += data
        except ConnectionError:
            pass
    return masked(got)


@pytest.mark.seconds(int(SECONDS) + 60)
@pytest.mark.parametrize("kind", KINDS)
def test_random_requests(kind):
    need(not missing(kind), missing(kind))
    with Pair(kind, conf=FAST[kind], revalidate=3600000) as pair:
        for name, size in (("a.bin", 1000), ("b.txt", 3000), ("empty", 0), ("large.bin", 100000)):
            pair.put(name, payload(name, size))
            os.utime(pair.root / name, (784111777, 784111777))
        (pair.root / "sub").mkdir()
        for target in TARGETS[:6]:
            for more in ([], ["Accept-Encoding: gzip"], ["Accept-Encoding:"]):
                for _ in range(4):
                    fetch(pair.ours.port, get(target, *more))
                    time.sleep(0.005)
        tag = fetch(pair.stock.port, get("/a.bin")).header("ETag")
        assert pair.zone.stat()["response_entries"] >= 10
        choose, cases, end = random.Random(SEED), 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            raw = one_case(choose, tag)
            theirs = converse(pair.stock.port, raw)
            for _ in range(3):  # a reset may overtake what was sent before it, on either side
                ours = converse(pair.ours.port, raw, choose)
                if ours == theirs:
                    break
                theirs = converse(pair.stock.port, raw)
            at = len(os.path.commonprefix([ours, theirs]))
            assert ours == theirs, f"case {cases}: {raw!r}\nfrom byte {at} on:\n{ours[at:at + 500]!r}\n{theirs[at:at + 500]!r}"
            cases += 1
        stat = pair.zone.stat()
        print(f"{cases} cases, {stat['fast_hits']} answered by the fast path, declined: {stat['declined']}")
        assert stat["fast_hits"] > cases / 3
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert ENDED[kind] not in pair.ours.log()
