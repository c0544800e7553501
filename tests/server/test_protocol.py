# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 as it is spoken: HEAD, old versions, keep-alive, pipelining, bodies nobody asked for, other methods, odd bytes."""
import pytest

from docroot import payload
from wire import Wire, exchange, get, head

FAST = True
SIZES = {"/a.bin": 10, "/b.bin": 5000, "/c.bin": 70000, "/d.bin": 0, "/e.bin": 300000}
CLOSE = "Connection: close"


def tree(pair):
    for name, size in SIZES.items():
        pair.put(name[1:], payload(name, size))
        pair.warm(name)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("headers", [(), (CLOSE,), ("Connection: keep-alive",), ("Connection: Keep-Alive, x",)], ids=str)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_versions_and_connections(pair, name, version, headers):
    pair.hit(name, *headers, version=version)
    pair.hit(name, *headers, version=version, method="HEAD")


def test_http_1_0_ends_the_connection(pair):
    data = pair.same_bytes(get("/b.bin", version="HTTP/1.0"))
    assert data.endswith(payload("/b.bin", 5000))
    pair.same_bytes(get("/b.bin", version="HTTP/1.0", host=None))


def test_http_1_0_keep_alive(pair):
    one = get("/b.bin", "Connection: keep-alive", version="HTTP/1.0")
    pair.same_bytes(one * 5 + get("/a.bin", version="HTTP/1.0"))


def test_http_0_9(pair):
    pair.same_bytes(b"GET /b.bin\r\n")


def test_keep_alive(pair):
    with Wire(pair.ours.port) as ours, Wire(pair.stock.port) as stock:
        for name in list(SIZES) * 4:
            for raw in (get(name), head(name), get(name, "Range: bytes=1-4"), get("/missing")):
                assert ours.request(raw).comparable() == stock.request(raw).comparable()


def test_pipeline(pair):
    """200 requests in one write, answered in order."""
    raw = b""
    for number in range(40):
        name = list(SIZES)[number % len(SIZES)]
        raw += get(name) + head(name) + get("/missing") + get(name, "If-None-Match: *") + get(name, "Range: bytes=2-8")
    hits = pair.zone.hits()
    data = pair.same_bytes(raw + get("/a.bin", CLOSE))
    assert data.count(b"HTTP/1.1 ") == 201
    assert pair.zone.grows("hits", hits, 150)


def test_pipeline_of_large_replies(pair):
    data = pair.same_bytes(get("/e.bin") * 30 + get("/a.bin", CLOSE), timeout=20)
    assert data.count(payload("/e.bin", 300000)) == 30


def test_pipeline_in_small_pieces(pair):
    """A request line cut in the middle of a packet, the rest with the next request."""
    raw = get("/b.bin") + get("/c.bin") + get("/a.bin", CLOSE)
    replies = []
    for port in (pair.ours.port, pair.stock.port):
        with Wire(port) as wire:
            for at in range(0, len(raw), 7):
                wire.send(raw[at:at + 7])
            replies.append([wire.reply().comparable() for _ in range(3)])
    assert replies[0] == replies[1]


def test_body_of_a_get_is_skipped(pair):
    body = get("/b.bin", "Content-Length: 5") + b"12345"
    chunked = get("/b.bin", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    pair.same_bytes(body + chunked + get("/a.bin", CLOSE))


def test_body_larger_than_any_buffer(pair):
    body = get("/b.bin", f"Content-Length: {300000}") + b"x" * 300000
    pair.same_bytes(body + get("/a.bin", CLOSE))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "get", "GETS"])
def test_other_methods(pair, method):
    for name in ("/b.bin", "/missing"):
        pair.same_bytes(get(name, CLOSE, "Content-Length: 0", method=method))


def test_expect_continue(pair):
    pair.same_bytes(get("/b.bin", "Expect: 100-continue", CLOSE))
    pair.same_bytes(get("/b.bin", "Expect: 100-continue", CLOSE, "Content-Length: 3") + b"abc")
    pair.same_bytes(get("/b.bin", "Expect: nonsense", CLOSE))


@pytest.mark.parametrize("target", ["/b.bin?", "/b.bin?x=1", "/%62.bin", "/./b.bin", "/x/../b.bin", "//b.bin", "/b.bin/", "/b.bin/extra",
                                    "/b%2ebin", "/b.bin%00", "/b.bin%", "/b.bin%zz", "/../b.bin", "/..%2fb.bin", "/b.bin#frag",
                                    "http://localhost/b.bin", "http://other/b.bin", "*", "b.bin", "/\xe4.bin", "/%e4.bin",
                                    "/" + "a" * 300, "/" + "a/" * 3000, "/nothing/b.bin", "/b.bin\\", "/B.BIN", "/b.bin%20", "/ b.bin"])
def test_targets(pair, target):
    pair.same_bytes(get(target, CLOSE))


@pytest.mark.parametrize("raw", [
    b"GET /b.bin HTTP/1.1\r\n\r\n", b"GET /b.bin HTTP/1.1\nHost: localhost\nConnection: close\n\n",
    b"GET /b.bin HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
    b"GET /b.bin HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 60000 + b"\r\n\r\n",
    b"GET /b.bin HTTP/1.1\r\nHost : localhost\r\nConnection: close\r\n\r\n",
    b"GET /b.bin HTTP/1.1\r\nHost: localhost\r\n Folded: x\r\nConnection: close\r\n\r\n",
    b"GET /b.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    b"GET /b.bin HTTP/1.2\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /b.bin HTTP/2.0\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 20 + b"\r\n\r\n",
    b"GET  /b.bin  HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"\r\n\r\nGET /b.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /b.bin HTTP/1.1\r\nHost: localhost\r\nX\0Y: z\r\nConnection: close\r\n\r\n"], ids=range(13))
def test_odd_requests(pair, raw):
    pair.same_bytes(raw)


def test_names_with_odd_characters(pair):
    for number, name in enumerate(["with space.bin", "percent%41.bin", "plus+.bin", "umlaut-ä.bin", "quote'\".bin", "semi;colon.bin",
                                   "back\\slash.bin", "-dash.bin", ".hidden", "new\nline.bin", "x" * 250]):
        data = pair.put(name, payload(name, 100 + number))
        target = "/" + "".join(f"%{b:02x}" for b in name.encode())
        assert pair.warm(target).body == data


def test_many_connections_at_once(pair):
    wires = [Wire(pair.ours.port) for _ in range(60)]
    for wire in wires:
        wire.send(get("/c.bin"))
    for wire in wires:
        assert wire.reply().body == payload("/c.bin", 70000)
        wire.close()
    assert exchange(pair.ours.port, get("/a.bin", CLOSE)).endswith(payload("/a.bin", 10))
