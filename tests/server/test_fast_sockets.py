# SPDX-License-Identifier: Apache-2.0
"""nginx's fast path and its listening sockets: ways to accept, sockets that are not for it, and how long a connection may idle."""
import time
from contextlib import contextmanager

import pytest

from child import free_port
from conftest import need
from docroot import payload
from load import Load
from pair import Pair
from servers import missing
from test_tls import certificate, context, curl, http2  # noqa: F401
from wire import Wire, eventually, exchange, fetch, get
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

FAST = "afpa_fast_path on; afpa_access_log off; location = /say { return 200 hello; }"
SMALL, LARGE = payload("small.bin", 1000), payload("large.bin", 300000)


@contextmanager
def site(conf="", outer="", change=("", ""), **settings):
    """Two servers, with something admitted; `change`: two texts, the second replaces the first in their configuration."""
    need(not missing("nginx"), missing("nginx"))
    pair = Pair("nginx", conf=FAST + conf, outer=outer, revalidate=3600000, **settings)
    pair.put("small.bin", SMALL)
    pair.put("large.bin", LARGE)
    for server in (pair.ours, pair.stock):
        old = change[0].replace("@PORT@", str(server.port))
        assert old in server.file.read_text()
        server.file.write_text(server.file.read_text().replace(old, change[1].replace("@PORT@", str(server.port)), 1))
    with pair:
        assert pair.admit("/small.bin") and pair.admit("/large.bin")
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert "signal 11" not in pair.ours.log() and "signal 6" not in pair.ours.log()


# ---- ways to accept ----

ACCEPTS = {"reuseport": ("listen 127.0.0.1:@PORT@;", "listen 127.0.0.1:@PORT@ reuseport;"),
           "accept_mutex": ("events {", "events { accept_mutex on; accept_mutex_delay 20ms;")}


def all_fast(pair, connections=40):
    """Connections that are open at the same time; each of their requests is answered by the fast path, whoever has accepted it."""
    before = pair.zone.count("fast_hits")
    wires = [Wire(pair.ours.port) for _ in range(connections)]
    for target, data in (("/small.bin", SMALL), ("/large.bin", LARGE)):
        for wire in wires:
            assert wire.request(get(target)).body == data
    for wire in wires:
        wire.close()
    return pair.zone.grows("fast_hits", before, 2 * connections) and pair.zone.count("fast_hits") == before + 2 * connections


@pytest.mark.parametrize("way", ACCEPTS)
def test_ways_to_accept(way):
    with site(change=ACCEPTS[way], workers=2) as pair:
        for target in ("/small.bin", "/large.bin", "/say", "/missing", "/small.bin"):
            pair.same(target)
        assert all_fast(pair)
        with Load(pair.ours.port, {"/small.bin": SMALL, "/large.bin": LARGE}) as load:
            for _ in range(2):
                pair.ours.reload()
                load.wait(30)
        assert not load.failed and not load.wrong
        assert pair.admit("/small.bin") and pair.admit("/large.bin")
        assert all_fast(pair)
        pair.same("/say")


def lines_of_a_slow_head(server, said):
    log = server.dir / "access.log"
    before = len(log.read_text().splitlines())
    with Wire(server.port) as wire:
        wire.send(said)
        assert wire.until_end() == b""
    assert eventually(lambda: len(log.read_text().splitlines()) > before, 1), f"{said} has no line"
    return [line.split('"', 1)[1] for line in log.read_text().splitlines()[before:]]


@pytest.mark.parametrize("said", [b"GET /small.bin HT", b"GET /small.bin HTTP/1.1\r\nHost: local"], ids=["line", "field"])
def test_slow_heads_with_accept_mutex(said):
    """nginx then reads a first head in a later turn of its loop; one that does not arrive whole has its line all the same."""
    with site("access_log @DIR@/access.log; client_header_timeout 1s;", change=ACCEPTS["accept_mutex"], workers=2) as pair:
        lines = lines_of_a_slow_head(pair.stock, said)
        assert lines_of_a_slow_head(pair.ours, said) == lines and " 408 0 " in lines[0]


def listening(port):
    """How many sockets listen on a port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows[1:])


def test_each_worker_has_a_socket():
    """With reuseport there are as many as workers, so the test above is of those that nginx makes from the one in its configuration."""
    with site(change=ACCEPTS["reuseport"], workers=2) as pair:
        assert listening(pair.ours.port) == 2


# ---- sockets that are not for it ----

LAYERS = """
listen 127.0.0.1:@TLS@ ssl;
listen 127.0.0.1:@H2@ http2;
listen 127.0.0.1:@PROXIED@ proxy_protocol;
ssl_certificate @CERT@;
ssl_certificate_key @KEY@;
access_log @DIR@/access.log whose;
"""


@pytest.fixture(scope="module")
def layers(certificate):  # noqa: F811
    """One server with a socket of each kind; yields the pair and the ports of ours."""
    ports = {name: free_port() for name in ("TLS", "H2", "PROXIED")}
    conf = LAYERS.replace("@CERT@", str(certificate[0])).replace("@KEY@", str(certificate[1]))
    need(not missing("nginx"), missing("nginx"))
    pair = Pair("nginx", conf=FAST + conf, outer="log_format whose '$proxy_protocol_addr $remote_addr $request';", revalidate=3600000)
    for server, own in ((pair.ours, ports), (pair.stock, {name: free_port() for name in ports})):
        text = server.file.read_text()
        for name, port in own.items():
            text = text.replace(f"@{name}@", str(port))
        server.file.write_text(text)
    with pair:
        pair.put("small.bin", SMALL)
        pair.put("large.bin", LARGE)
        yield pair, ports
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert "signal 11" not in pair.ours.log() and "signal 6" not in pair.ours.log()


def test_tls_beside_it(layers, context):  # noqa: F811
    pair, ports = layers
    with Wire(ports["TLS"], tls=context) as wire:
        def ask():
            assert wire.request(get("/large.bin")).body == LARGE
        assert pair.from_the_pipeline(ask, 6)
    assert pair.from_the_pipeline(lambda: fetch(ports["TLS"], get("/small.bin"), tls=context), 6)
    assert fetch(ports["TLS"], get("/small.bin"), tls=context).body == SMALL
    assert fetch(ports["TLS"], get("/small.bin")).status == 400  # in the clear: nginx's own words


def test_http2_in_the_clear_beside_it(layers, http2, tmp_path):  # noqa: F811
    pair, ports = layers

    def ask():
        said, _, body = curl(f"http://127.0.0.1:{ports['H2']}/small.bin", tmp_path, "--http2-prior-knowledge", "-H", "Host: localhost")
        assert said == "2 200" and body == SMALL
    assert pair.from_the_pipeline(ask, 6)


def proxied(port, client, *targets):
    """Asks for targets on one connection that a proxy makes for a client."""
    with Wire(port) as wire:
        wire.send(f"PROXY TCP4 {client} 192.0.2.1 4000 80\r\n".encode())
        return [wire.request(get(target)) for target in targets]


def test_proxy_protocol_beside_it(layers):
    pair, ports = layers
    targets = ["/small.bin", "/large.bin", "/say", "/small.bin"]

    def ask():
        replies = proxied(ports["PROXIED"], "192.0.2.77", *targets)
        assert [reply.body for reply in replies] == [SMALL, LARGE, b"hello", SMALL]
    assert pair.from_the_pipeline(ask, 5)
    assert exchange(ports["PROXIED"], get("/small.bin")) == b""  # without the line nginx closes
    log = pair.ours.dir / "access.log"
    assert eventually(lambda: log.read_text().count("192.0.2.77 127.0.0.1 GET /small.bin HTTP/1.1\n") == 10)
    assert log.read_text().count("192.0.2.77 127.0.0.1 GET /say HTTP/1.1\n") == 5


# ---- how long a connection may idle ----

@pytest.fixture(scope="module")
def short():
    places = "location /long/ { keepalive_timeout 30s; } location /none/ { keepalive_timeout 0; }"
    with site(conf="keepalive_timeout 1s;" + places, workers=1) as pair:
        for name in ("long/a.bin", "none/a.bin"):
            pair.put(name, SMALL)
        assert pair.admit("/long/a.bin")
        yield pair


def hits_of(targets):
    return sum(target.endswith(".bin") for target in targets)


@pytest.mark.parametrize("targets", [["/small.bin"], ["/small.bin"] * 5, ["/say"], ["/say", "/small.bin"], ["/small.bin", "/say"],
                                     ["/long/a.bin", "/small.bin"]], ids=" ".join)
def test_idle_connections_end(short, targets):
    """After the last reply, whoever gave it, and no matter how long the connection was there before."""
    before = short.zone.count("fast_hits")
    with Wire(short.ours.port) as wire:
        for target in targets[:-1]:
            assert wire.request(get(target)).status == 200
        time.sleep(0.4)
        assert wire.request(get(targets[-1])).status == 200
        replied = time.monotonic()
        assert wire.until_end() == b""
        assert 0.9 <= time.monotonic() - replied <= 3
    assert short.zone.count("fast_hits") == before + hits_of(targets)


def test_each_place_has_its_own_time(short):
    """That of the last reply counts."""
    before = short.zone.count("fast_hits")
    with Wire(short.ours.port) as wire:
        for target in ("/small.bin", "/long/a.bin"):
            assert wire.request(get(target)).body == SMALL
        time.sleep(2.5)
        assert wire.request(get("/long/a.bin")).body == SMALL
    assert short.zone.count("fast_hits") == before + 3


def test_none_is_kept_where_the_time_is_none(short):
    """keepalive_timeout 0: each reply closes, and says so, as the first and as a later one."""
    for _ in range(4):
        assert short.same("/none/a.bin").header("Connection") == "close"
        time.sleep(0.01)
    before = short.zone.count("fast_hits")
    for raw in (get("/none/a.bin") * 2, get("/small.bin") + get("/none/a.bin") + get("/small.bin")):
        ours = short.same_bytes(raw)
        assert ours.count(b"\r\nConnection: close\r\n") == 1 and ours.endswith(SMALL)
    assert short.zone.count("fast_hits") == before + 1
