# SPDX-License-Identifier: Apache-2.0
"""nginx's fast path: where it may be, what it answers and what it leaves, connections that go back and forth, its log."""
import contextlib
import random
import re
import socket
import time

import pytest

from docroot import payload
from load import Load
from pair import Pair, admit
from servers import Server
from wire import Wire, eventually, exchange, fetch, get, head
from zone import STOCK_ONLY, Zone

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

FAST = "afpa_fast_path on; afpa_access_log off;"
NOT_ADMITTED = {
    "variable": "add_header X-Client $remote_addr;",
    "expires": "expires modified 1h;",
    "expires-header": 'add_header Expires "Thu, 01 Jan 2037 00:00:00 GMT";',
    "private": 'add_header Cache-Control private;',
    "no-store": 'add_header Cache-Control "no-store";',
    "vary": "add_header Vary Cookie;",
    "cookie": "add_header Set-Cookie a=b;",
    "rate": "limit_rate 10m;",
    "bypass": "afpa_bypass $arg_x;",
    "off": "afpa_fast_path off;",
    "try": "try_files /try/none.bin $uri =404;",
    "zipped": "gzip_static always;",
    "ssi": "ssi on; ssi_types *;",
    "own-tag": """add_header ETag '"v1"';""",
    "own-date": 'add_header Last-Modified "Thu, 01 Jan 2037 00:00:00 GMT";',
    "set-rate": "set $limit_rate $arg_rate;",
    "set-rate-outside": "set $Limit_Rate $arg_rate; location /set-rate-outside/a.bin { set $other x; }",
    "sub": "sub_filter aaa bbb; sub_filter_types *;",
}
ADMITTED = {
    "plain": "",
    "gzip": "gzip on; gzip_types *; gzip_min_length 1;",  # to those who take nothing else
    "gzip-vary": "gzip on; gzip_types *; gzip_min_length 1; gzip_vary on;",
    "header": 'add_header X-Own "some thing" always;',
    "relative": "expires 1h;",
    "epoch": "expires epoch;",
    "max": "expires max;",
    "etag": "etag off;",
    "since": "if_modified_since before;",
    "types": "default_type text/x-own; charset utf-8;",
    "keep": "keepalive_timeout 30s 20s;",
    "tries": "try_files $uri =404;",
    "status": "afpa_cache_status on;",
    "set": "set $other 10m;",
}
REFUSED = ["allow all;", "deny 10.0.0.1;", 'auth_basic "x"; auth_basic_user_file x;', "auth_request /x;", "limit_req zone=r;",
           "limit_conn c 1;", "limit_except GET { deny all; }", "internal;", "secure_link $arg_x;", "if ($arg_x) { return 403; }",
           "mirror /x;", "rewrite ^/a /b;"]
NOT_REFUSED = ["auth_basic off;", "auth_request off;", "mirror off;"]


def places(table):
    return "".join(f"location /{name}/ {{ {text} }}\n" for name, text in table.items())


@pytest.fixture(scope="module")
def pair():
    conf = FAST + places(NOT_ADMITTED) + places(ADMITTED) + "location /few/ { keepalive_requests 3; } location = /say { return 200 hello; }"
    with Pair("nginx", conf=conf, revalidate=3600000) as pair:
        for name in ("small.bin", "few/a.bin", *(f"{place}/a.bin" for place in (*NOT_ADMITTED, *ADMITTED))):
            pair.put(name, payload(name, 1000))
        pair.put("large.bin", payload("large.bin", 300000))
        pair.put("huge.bin", payload("huge.bin", 8 << 20))
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert "signal 11" not in pair.ours.log() and "signal 6" not in pair.ours.log()


# ---- what is admitted ----

@pytest.mark.parametrize("place", ADMITTED)
def test_admitted(pair, place):
    target = f"/{place}/a.bin"
    assert pair.admit(target)
    before = pair.zone.count("fast_hits")
    tag = fetch(pair.stock.port, get(target)).header("ETag") or '"none"'
    for more in ([], ["Connection: close"], [f"If-None-Match: {tag}"], ["If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT"]):
        for method in ("GET", "HEAD"):
            ours, theirs = (fetch(s.port, get(target, *more, method=method)) for s in (pair.ours, pair.stock))
            ours.headers = [(n, v) for n, v in ours.headers if n != "Cache-Status"]
            if place == "relative":  # a second may pass between the two
                for reply in (ours, theirs):
                    reply.headers = [(n, v) for n, v in reply.headers if n != "Expires"]
            assert ours.comparable() == theirs.comparable()
    assert pair.zone.grows("fast_hits", before, 8)


def test_expires_follows_the_date(pair):
    assert pair.admit("/relative/a.bin")
    time.sleep(1.1)
    reply = fetch(pair.ours.port, get("/relative/a.bin"))
    at = [time.mktime(time.strptime(reply.header(n), "%a, %d %b %Y %H:%M:%S GMT")) for n in ("Date", "Expires")]
    assert at[1] - at[0] == 3600


@pytest.mark.parametrize("place", NOT_ADMITTED)
def test_not_admitted(pair, place):
    before = pair.zone.count("fast_hits")
    for _ in range(6):
        pair.same(f"/{place}/a.bin")
        pair.same(f"/{place}/a.bin", "Accept-Encoding: gzip")
        time.sleep(0.01)
    assert pair.zone.count("fast_hits") == before


def test_own_cookie():
    """userid: to a client that has the cookie it is not given again, and to one that has not it must be."""
    with Pair("nginx", conf=FAST + "userid on;", revalidate=3600000) as pair:
        pair.put("a.bin", payload("a", 1000))
        cookie = fetch(pair.ours.port, get("/a.bin")).header("Set-Cookie").partition(";")[0]
        for _ in range(6):
            assert fetch(pair.ours.port, get("/a.bin", f"Cookie: {cookie}")).header("Set-Cookie") is None
            assert fetch(pair.ours.port, get("/a.bin")).header("Set-Cookie")
            time.sleep(0.01)


def test_compression_is_left_to_nginx(pair):
    """A location that compresses answers those who do not want that; never one with the other's."""
    assert pair.admit("/gzip/a.bin")
    before = pair.zone.count("fast_hits")
    for _ in range(5):
        assert pair.same("/gzip/a.bin", "Accept-Encoding: identity").header("Content-Encoding") is None
        assert pair.same("/gzip/a.bin", "Accept-Encoding: gzip").header("Content-Encoding") == "gzip"
    assert pair.zone.count("fast_hits") == before


LEFT = ["Range: bytes=0-9", "If-Range: x", "Authorization: Basic eDp5", "If-Match: *", "Expect: 100-continue", "Upgrade: h2c",
        "Content-Length: 0\r\nContent-Length: 0", "Host: other", "If-Modified-Since: yesterday", "TE: trailers"]


@pytest.mark.parametrize("header", LEFT)
def test_requests_left_to_nginx(pair, header):
    assert pair.admit("/small.bin")
    before = pair.zone.count("fast_hits")
    raw = get("/small.bin", header, "Connection: close")
    assert exchange(pair.ours.port, raw) == exchange(pair.stock.port, raw)
    assert pair.zone.count("fast_hits") == before


def test_accept_encoding_is_part_of_the_key(pair):
    assert pair.admit("/small.bin")
    before = pair.zone.count("fast_hits")
    pair.same("/small.bin", "Accept-Encoding: gzip, made-up")
    assert pair.zone.count("fast_hits") == before
    assert pair.admit("/small.bin", "Accept-Encoding: gzip, made-up")


def test_the_zone_switched_off(pair):
    assert pair.admit("/small.bin")
    pair.zone.ctl("disable")
    try:
        before = pair.zone.count("fast_hits")
        pair.same("/small.bin")
        assert pair.zone.count("fast_hits") == before
    finally:
        pair.zone.ctl("enable")
    assert pair.admit("/small.bin")


# ---- connections ----

def stream(seed):
    """Requests of all kinds, for one connection."""
    choose = random.Random(seed)
    kinds = [get("/small.bin"), get("/large.bin"), head("/large.bin"), get("/say"), get("/missing"), get("/small.bin", "Range: bytes=1-5"),
             get("/small.bin", "If-None-Match: *"), b"POST /small.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde",
             get("/header/a.bin"), get("/plain/a.bin", "X-Long: " + "x" * choose.randrange(3000))]
    return b"".join(choose.choice(kinds) for _ in range(30)) + get("/small.bin", "Connection: close")


def send_in_parts(port, raw, choose):
    """Sends raw in pieces, some of them a moment apart; all that comes back, dates masked."""
    with Wire(port) as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at = 0
        while at < len(raw):
            part = choose.choice([1, 7, 60, 400, 5000])
            wire.send(raw[at:at + part])
            at += part
            if choose.random() < 0.3:
                time.sleep(0.001)
        return re.sub(rb"\r\nDate: [^\r\n]*", b"\r\nDate: -", wire.until_end())


@pytest.mark.parametrize("seed", range(12))
def test_back_and_forth(pair, seed):
    """Hits and misses in any order, however the bytes are cut: what nginx alone would have sent."""
    for target in ("/small.bin", "/large.bin", "/header/a.bin", "/plain/a.bin"):
        assert pair.admit(target)
    raw = stream(seed)
    assert send_in_parts(pair.ours.port, raw, random.Random(seed)) == exchange(pair.stock.port, raw)


def test_each_hit_is_fast_between_misses(pair):
    """A connection comes back after each request that nginx answered."""
    assert pair.admit("/small.bin")
    before = pair.zone.stat()
    with Wire(pair.ours.port) as wire:
        for _ in range(20):
            for target in ("/say", "/small.bin", "/missing"):
                wire.request(get(target))
    after = pair.zone.stat()
    assert after["fast_hits"] == before["fast_hits"] + 20, (before, after)


def test_keepalive_requests(pair):
    """The third reply closes, whoever gave the first two."""
    assert pair.admit("/few/a.bin")
    for targets in (["/few/a.bin"] * 3, ["/few/missing", "/few/a.bin", "/few/a.bin"], ["/few/a.bin", "/few/missing", "/few/a.bin"]):
        raw = b"".join(get(target) for target in targets)
        assert exchange(pair.ours.port, raw) == exchange(pair.stock.port, raw)


def test_only_ports_that_want_it_are_taken_over(pair):
    """A server without it, on a port of its own, gets its connections as ever; one that shares a port is merely never admitted."""
    zone = Zone()
    outer = "afpa_access_log off; server { listen 127.0.0.1:@PORT2@; root @ROOT@; }"
    more = "} server { listen 127.0.0.1:@PORT@; server_name other; root @ROOT@; "
    server = Server("nginx", pair.root, zone, conf="afpa_fast_path on;" + more, outer=outer, workers=1, revalidate=3600000)
    try:
        with server:
            for _ in range(5):
                assert fetch(server.port2, get("/small.bin")).status == 200
                time.sleep(0.01)
            assert zone.count("no_response") == 0 and zone.hits() > 0
            for _ in range(5):
                assert fetch(server.port, get("/small.bin", host="other")).status == 200
            assert zone.count("fast_hits") == 0 and zone.count("no_response") == 5
            for _ in range(5):
                fetch(server.port, get("/small.bin"))
                time.sleep(0.01)
            assert zone.count("fast_hits") > 0
    finally:
        zone.remove()


@contextlib.contextmanager
def few_connections(pair):
    """A server with 32 of them in all, and its zone."""
    zone = Zone()
    server = Server("nginx", pair.root, zone, conf=FAST, workers=1, revalidate=3600000)
    server.file.write_text(server.file.read_text().replace("worker_connections 2048", "worker_connections 32"))
    try:
        with server:
            assert admit(server, zone, "/small.bin")
            yield server, zone
    finally:
        zone.remove()


def give_way(server, wires, count):
    """As many more connections, each with its reply."""
    for _ in range(count):
        wires.append(Wire(server.port))
        assert wires[-1].request(get("/small.bin")).body == payload("small.bin", 1000)
    for wire in wires:
        wire.close()


def test_idle_connections_give_way(pair):
    """nginx's way out when worker_connections run short: idle connections are closed for new ones."""
    with few_connections(pair) as (server, zone):
        give_way(server, [], 100)
        assert zone.count("fast_hits") > 90


def test_lingering_connections_give_way(pair):
    """So does one whose last reply is out and that waits for its client, as in nginx; those behind it in the queue would stay."""
    with few_connections(pair) as (server, _):
        wires = [Wire(server.port)]
        wires[0].send(get("/small.bin") + get("/small.bin", "Connection: close") + b"x")
        assert [wires[0].reply().status for _ in range(2)] == [200, 200]
        time.sleep(1.1)  # the queue has seconds
        give_way(server, wires, 60)


@pytest.mark.parametrize("said", [b"", b"GET /small.bin HTT", get("/small.bin") + b"GET /sm"], ids=["nothing", "part", "second"])
def test_slow_heads(pair, said):
    """A head that does not arrive ends the connection when client_header_timeout says so, and not much later."""
    zone = Zone()
    server = Server("nginx", pair.root, zone, conf=FAST + "client_header_timeout 1s;", workers=1, revalidate=3600000)
    try:
        with server:
            for _ in range(5):
                fetch(server.port, get("/small.bin"))
                time.sleep(0.02)
            with Wire(server.port) as wire:
                begin = time.monotonic()
                wire.send(said) if said else None
                if said.endswith(b"/sm"):
                    assert wire.reply().status == 200
                assert wire.until_end() == b""
                assert 0.9 <= time.monotonic() - begin <= 3
    finally:
        zone.remove()


UNFINISHED = [b"", b"G", b"GET /small.bin HTT", b"GET /small.bin HTTP/1.1\r\nHost: local", b"HEAD / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n",
              get("/small.bin"), get("/small.bin") + b"GET /sm", get("/say") + b"GET /small.bin HTTP/1.1\r\n", get("/small.bin") + get("/missing"),
              b"\x16\x03\x01", b"POST /small"]


def end_of(server, said, how):
    """What comes back, and the lines in the log, for a client that stops in the middle of a head."""
    log, before = server.dir / "access.log", len((server.dir / "access.log").read_text().splitlines())
    with Wire(server.port) as wire:
        wire.send(said) if said else None
        if how == "half":
            wire.sock.shutdown(socket.SHUT_WR)
        elif how == "reset":
            time.sleep(0.1)
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            wire.sock.close()
        got = b"" if how == "reset" else wire.until_end()
    time.sleep(0.2)
    lines = [re.sub(r"\[[^]]*\]", "[-]", line) for line in log.read_text().splitlines()[before:]]
    return re.sub(rb"\r\nDate: [^\r\n]*", b"\r\nDate: -", got), lines


@pytest.mark.parametrize("how", ["slow", "half", "reset"])
def test_unfinished_heads(pair, how):
    """A head that does not arrive whole: nginx answers and logs it, 408 or 400, and no other end has a line."""
    zone, conf = Zone(), "access_log @DIR@/access.log; client_header_timeout 1s; keepalive_timeout 1s; location = /say { return 200 x; }"
    ours = Server("nginx", pair.root, zone, conf=FAST + conf, workers=1, revalidate=3600000)
    stock = Server("nginx", pair.root, None, conf=conf, workers=1)
    try:
        with ours, stock:
            for _ in range(5):
                fetch(ours.port, get("/small.bin"))
                time.sleep(0.02)
            for said in UNFINISHED:
                begin = time.monotonic()
                replies, lines = end_of(ours, said, how)
                assert time.monotonic() - begin < 2.2
                theirs, their_lines = end_of(stock, said, how)
                assert replies == theirs
                if said.startswith(get("/small.bin")):  # answered by the fast path, which has a log of its own
                    assert '"GET /small.bin HTTP/1.1" 200' in their_lines.pop(0)
                assert lines == their_lines
            assert zone.count("fast_hits") > 2 and zone.unpinned()
            assert "signal" not in ours.log()
    finally:
        zone.remove()


def test_endless_head(pair):
    """Longer than any server takes: nginx says so, in its own words."""
    raw = b"GET /small.bin HTTP/1.1\r\nHost: localhost\r\n" + b"X-Long: " + b"x" * 40000 + b"\r\n\r\n"
    ours, theirs = (send_in_parts(s.port, raw, random.Random(1)) for s in (pair.ours, pair.stock))
    assert ours.split(b"\r\n")[0] == theirs.split(b"\r\n")[0] == b"HTTP/1.1 400 Bad Request"


def test_half_closed(pair):
    """A client that has closed its side still gets what it asked for."""
    assert pair.admit("/large.bin")
    for target, size in (("/large.bin", 300000), ("/small.bin", 1000)):
        with Wire(pair.ours.port) as wire:
            wire.send(get(target) * 2)
            wire.sock.shutdown(socket.SHUT_WR)
            assert [wire.reply().length for _ in range(2)] == [size, size]
            assert wire.until_end() == b""


def test_stops_at_once_with_idle_connections(pair):
    zone = Zone()
    server = Server("nginx", pair.root, zone, conf=FAST, workers=1, revalidate=3600000)
    try:
        server.start()
        wires = [Wire(server.port) for _ in range(10)]
        for wire in wires * 3:
            wire.request(get("/small.bin"))
        assert zone.count("fast_hits") > 5
        begin = time.monotonic()
        server.process.send_signal(3)  # SIGQUIT: gracefully
        server.process.wait(10)
        assert time.monotonic() - begin < 3
        assert all(wire.until_end() == b"" for wire in wires)
    finally:
        server.close()
        zone.remove()


def test_worker_shutdown_timeout(pair):
    """A worker that stops waits for a slow client that long, and no longer."""
    zone = Zone()
    server = Server("nginx", pair.root, zone, conf=FAST, workers=1, revalidate=3600000)
    server.file.write_text(server.file.read_text().replace("events {", "worker_shutdown_timeout 1s;\nevents {", 1))
    try:
        server.start()
        for _ in range(5):
            fetch(server.port, get("/huge.bin"))
            time.sleep(0.02)
        with Wire(server.port, rcvbuf=4096) as slow, Wire(server.port) as half:
            before = zone.count("fast_hits")
            slow.send(get("/huge.bin"))
            half.send(b"GET /small.bin HTT")
            assert zone.grows("fast_hits", before)
            begin = time.monotonic()
            server.process.send_signal(3)  # SIGQUIT: gracefully
            server.process.wait(10)
            assert 0.8 < time.monotonic() - begin < 4
        assert zone.unpinned()
    finally:
        server.close()
        zone.remove()


def test_reload_keeps_replies_and_forgets_headers(pair):
    zone = Zone()
    server = Server("nginx", pair.root, zone, conf=FAST + "add_header X-Epoch one;", workers=1, revalidate=3600000)
    try:
        with server:
            for _ in range(5):
                assert fetch(server.port, get("/small.bin")).header("X-Epoch") == "one"
                time.sleep(0.02)
            assert zone.count("fast_hits") > 0
            with Wire(server.port, rcvbuf=4096) as slow, Load(server.port, {"/small.bin": payload("small.bin", 1000)}) as load:
                slow.send(get("/large.bin"))
                load.wait(50)
                server.conf = FAST + "add_header X-Epoch two;"
                server.configure()
                server.reload(wait=False)
                load.wait(50)
                assert eventually(lambda: fetch(server.port, get("/small.bin")).header("X-Epoch") == "two")
                time.sleep(0.5)  # an old worker may have accepted a last one
                for _ in range(20):
                    assert fetch(server.port, get("/small.bin")).header("X-Epoch") == "two"
                assert slow.reply().body == payload("large.bin", 300000)
                assert not load.failed and not load.wrong
    finally:
        zone.remove()


# ---- the log ----

@pytest.mark.parametrize("form", ["combined", "common"])
def test_log_lines_are_nginxs(form):
    outer = "log_format common '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent';"
    conf = f"access_log @DIR@/access.log {form}; afpa_fast_path on; afpa_access_log @DIR@/fast.log {form};"
    with Pair("nginx", conf=conf, outer=outer, revalidate=3600000) as pair:
        pair.put("a.bin", payload("a", 1000))
        pair.put("large.bin", payload("large", 200000))
        for target in ("/a.bin", "/large.bin", "/a.bin?q=%20'x"):
            assert pair.admit(target)
        time.sleep(1.3)  # what is buffered
        (pair.ours.dir / "fast.log").write_text("")
        (pair.stock.dir / "access.log").write_text("")
        requests = [get("/a.bin", 'User-Agent: a "quoted" \\ one', "Referer: http://x/?y"), get("/a.bin?q=%20'x"), head("/a.bin"),
                    get("/large.bin", "User-Agent: \xe4\xff\t~", "Referer:"), get("/a.bin", "If-None-Match: *"),
                    get("/a.bin", "Connection: keep-alive", version="HTTP/1.0")]
        with Wire(pair.ours.port) as ours, Wire(pair.stock.port) as stock:
            for raw in requests:
                ours.request(raw)
                stock.request(raw)

        def lines(server, name):
            return [re.sub(r"\[[^]]*\]", "[]", line) for line in (server.dir / name).read_text(errors="replace").splitlines()]
        assert eventually(lambda: len(lines(pair.ours, "fast.log")) >= len(requests), 4)
        assert lines(pair.ours, "fast.log") == lines(pair.stock, "access.log")


def test_log_is_opened_anew():
    with Pair("nginx", conf="afpa_fast_path on; afpa_access_log @DIR@/fast.log json;", revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 100))
        assert pair.admit("/a.bin")
        log = pair.ours.dir / "fast.log"
        assert eventually(lambda: '"status":200' in log.read_text(), 3)
        log.rename(pair.ours.dir / "old.log")
        before = len((pair.ours.dir / "old.log").read_text().splitlines())
        fetch(pair.ours.port, get("/a.bin"))  # still in the buffer
        pair.ours.process.send_signal(10)  # SIGUSR1
        assert eventually(log.exists, 3)
        assert eventually(lambda: len((pair.ours.dir / "old.log").read_text().splitlines()) == before + 1, 3)
        fetch(pair.ours.port, get("/a.bin"))
        assert eventually(lambda: len(log.read_text().splitlines()) == 1, 3)


# ---- configurations ----

def checked(conf, outer=""):
    zone = Zone()
    outer += "limit_req_zone $binary_remote_addr zone=r:1m rate=1r/s; limit_conn_zone $binary_remote_addr zone=c:1m;"
    server = Server("nginx", "/tmp", zone, conf=conf, outer=outer)
    try:
        return server.check()
    finally:
        server.close()
        zone.remove()


@pytest.mark.parametrize("directive", REFUSED)
@pytest.mark.parametrize("where", ["location /x/ { @ }", "@", "location /x/ { location /x/y/ { @ } }"], ids=["location", "server", "nested"])
def test_refused_beside(directive, where):
    if directive == "internal;" and where == "@" or directive.startswith("limit_except") and where == "@":
        return  # not allowed there
    status, said = checked(FAST + where.replace("@", directive))
    name = directive.split()[0].rstrip(";")
    assert status != 0
    assert f'where "{name}" is in force' in said and "afpa_fast_path" in said
    status, said = checked("afpa_access_log off;" + where.replace("@", directive + " afpa_fast_path off;"))
    assert status == 0, said


@pytest.mark.parametrize("directive", NOT_REFUSED)
def test_not_refused_beside(directive):
    status, said = checked(FAST + f"location /x/ {{ {directive} }}")
    assert status == 0, said


def test_refused_with_short_heads():
    status, said = checked("large_client_header_buffers 2 1k;" + FAST)
    assert status != 0 and 'whose "large_client_header_buffers" have 1024 bytes' in said
    status, said = checked("large_client_header_buffers 2 8k; client_header_buffer_size 512;" + FAST)
    assert status == 0, said


def test_put_out_of_force_again():
    status, said = checked('auth_basic "x"; auth_basic_user_file x; location /open/ { auth_basic off; ' + FAST.split(";")[0]
                           + "; } afpa_access_log off;")
    assert status == 0, said


BAD = [("afpa_fast_path on;", "without an afpa_access_log"),
       ("afpa_fast_path maybe; afpa_access_log off;", "afpa_fast_path"),
       ("afpa_access_log /dev/null weird; afpa_fast_path on;", '"weird" is neither buffer=SIZE nor a format'),
       ("afpa_access_log /dev/null combined buffer=10; afpa_fast_path on;", '"buffer=10" is no size of at least 4k'),
       ("afpa_access_log off; afpa_access_log off;", "is duplicate"),
       ("afpa_access_log /nowhere/log; afpa_fast_path on;", "/nowhere/log")]


@pytest.mark.parametrize("conf, words", BAD)
def test_bad_configuration(conf, words):
    status, said = checked(conf)
    assert status != 0 and words in said


def test_one_zone_only():
    status, said = checked(FAST + "location /other/ { afpa another; }", outer="afpa_zone another 16m path=/dev/shm/afpa-another-test;")
    assert status != 0 and 'zone "another"' in said and "one only" in said
