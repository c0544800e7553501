# SPDX-License-Identifier: Apache-2.0
"""The logs of the fast paths: what a client sent can be read back from each line, whatever it was; lines stay whole in a file that
is the server's own log too; the time is now."""
import datetime
import json
import os
import re
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from conftest import need
from docroot import payload
from pair import Pair
from servers import missing
from wire import Wire, eventually, exchange, fetch, get, masked
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

DATA = payload("a", 1000)
FAST = {"nginx": "afpa_fast_path on; afpa_access_log @DIR@/fast.log {};\n",
        "httpd": "AfpaFastPath on\nAfpaLogFile @DIR@/fast.log {}\n"}
COMBINED = '%h %l %u %t \\"%r\\" %>s %b \\"%{Referer}i\\" \\"%{User-Agent}i\\"'
# What the servers are told to write where our log is to have the same: nginx's log_format, httpd's CustomLog.
OWN = {
    ("nginx", "vhost_combined"): "$host:$server_port $remote_addr - $remote_user [$time_local] \"$request\" $status "
                                 "$body_bytes_sent \"$http_referer\" \"$http_user_agent\"",
    ("httpd", "V-CLF"): '%v %h %l %u %t \\"%r\\" %>s %b',
    ("httpd", "V-ECLF"): "%v " + COMBINED,
}


@contextmanager
def site(kind, form, conf="", outer="", zone="", **settings):
    """Two servers, ours with a log in a form; `zone`: the time zone of both, as TZ has it."""
    need(not missing(kind), missing(kind))
    pair = Pair(kind, conf=FAST[kind].format(form) + conf, outer=outer, revalidate=3600000, **settings)
    pair.put("a.bin", DATA)
    for server in (pair.ours, pair.stock):
        server.environment = lambda: {**os.environ, **({"TZ": zone} if zone else {})}
    with pair:
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert "signal 11" not in pair.ours.log() and "signal 6" not in pair.ours.log(), pair.ours.log()


def admit(pair, raw):
    """As pair.admit(), of a request that is there already."""
    def fast():
        before = pair.zone.count("fast_hits")
        fetch(pair.ours.port, raw)
        return pair.zone.grows("fast_hits", before, seconds=0.1)
    assert any(fast() for _ in range(20)), raw


def lines_of(path):
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def emptied(*logs):
    """Empties logs when the last line is written that nginx keeps for a second."""
    time.sleep(1.3)
    for log in logs:
        log.write_bytes(b"")


# ---- what a line says ----

VALUES = ["plain", 'a "quoted" \\ one', '"', "\\", '\\"', "ends in \\", "\\x41 \\u0041 \\n", "a\tb", "%20%22%5C", "{'a':[1]}",
          "\u00e4 \u20ac \U0001f600", bytes(range(0x80, 0x100)), b"\xff" * 1200, "x" * 3000, "", None]
TARGETS = ["/a.bin", "/a.bin?q=%20'x~%22%5C%FF", "/a.bin?a=1&b=(c)*d;e,f@g:h!$"]


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


def with_fields(target, referer, agent, **more):
    """The bytes of a request; None: without the field."""
    fields = [(name, as_bytes(value)) for name, value in (("Referer", referer), ("User-Agent", agent)) if value is not None]
    return get(target, *(f"{name}: {value.decode('latin-1')}" for name, value in fields), **more)


# Each value in each field, each target; and what one line has, another has not.
ASKED = [(TARGETS[n % len(TARGETS)], VALUES[n], VALUES[-n]) for n in range(len(VALUES))]
# Not of the form that the fast path takes: it has no line of theirs, and the server says what it thinks of them.
LEFT = [with_fields("/a.bin", None, f"a{chr(c)}b") for c in (1, 8, 0x0b, 0x1b, 0x1f, 0x7f)]
LEFT += [with_fields(f"/a.bin?q={c}", None, None) for c in ('"', "\\", "\xff", "\x01", "\x7f")]


def ask_all(pair, servers):
    """Sends what is to be logged, and what is not; returns how many lines there are to be."""
    for server in servers:
        with Wire(server.port) as wire:
            for one in ASKED:
                assert wire.request(with_fields(*one)).status == 200
    for raw in LEFT:
        raw = raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert exchange(pair.ours.port, raw) == exchange(pair.stock.port, raw)
    return len(ASKED)


@pytest.mark.parametrize("kind, form", [("nginx", "json"), ("httpd", "JSON")])
def test_json(kind, form):
    """Every line is JSON in UTF-8.  Bytes that are no ASCII stand there each as the character of that number, so none is lost."""
    with site(kind, form) as pair:
        for target in TARGETS:
            admit(pair, get(target))
        log = pair.ours.dir / "fast.log"
        emptied(log)
        count = ask_all(pair, [pair.ours])
        assert eventually(lambda: len(lines_of(log)) >= count, 4)
        time.sleep(1.2)
        records = [json.loads(line.decode("utf-8")) for line in lines_of(log)]
        assert len(records) == count
        for record, (target, referer, agent) in zip(records, ASKED):
            assert record["request"] == f"GET {target} HTTP/1.1"
            assert record["http_referer"].encode("latin-1") == as_bytes(referer or "")
            assert record["http_user_agent"].encode("latin-1") == as_bytes(agent or "")
            assert (record["status"], record["body_bytes_sent"], record["remote_addr"]) == (200, 1000, "127.0.0.1")
            assert record["host"] == "localhost" and record["afpa_status"] == "HIT"


def unescaped(text):
    """The bytes that a quoted part of a line stands for."""
    letters = {b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
    return re.sub(rb"\\x([0-9A-Fa-f]{2})|\\(.)",
                  lambda m: bytes([int(m.group(1), 16)]) if m.group(1) else letters.get(m.group(2), m.group(2)), text)


def quoted(line):
    return [unescaped(part) for part in re.findall(rb'"((?:[^"\\]|\\.)*)"', line)]


@pytest.mark.parametrize("kind, form", OWN)
def test_lines(kind, form):
    """As the server itself would have written them, and to be read back."""
    own = OWN[kind, form]
    conf = "access_log @DIR@/access.log own;" if kind == "nginx" else f'CustomLog @DIR@/access.log "{own}"\n'
    with site(kind, form, conf=conf, outer=f"log_format own '{own}';" if kind == "nginx" else "") as pair:
        for target in TARGETS:
            admit(pair, get(target))
        logs = pair.ours.dir / "fast.log", pair.stock.dir / "access.log"
        emptied(*logs)
        count = ask_all(pair, [pair.ours, pair.stock])
        assert eventually(lambda: all(len(lines_of(log)) >= count for log in logs), 4)
        time.sleep(1.2)
        ours, theirs = ([re.sub(rb"\[[^]]*\]", b"[]", line.replace(str(server.port).encode(), b"PORT"), 1) for line in lines_of(log)]
                        for log, server in zip(logs, (pair.ours, pair.stock)))
        assert len(ours) == count and ours == theirs[:count]
        for line, (target, *fields) in zip(ours, ASKED):
            expected = [f"GET {target} HTTP/1.1", *("-" if field is None else field for field in fields if form != "V-CLF")]
            assert all(0x20 <= c < 0x7f for c in line)
            assert quoted(line) == [as_bytes(one) for one in expected]


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost:8080", "LOCALHOST.:80"])
def test_name_of_the_host(host):
    """vhost_combined begins with nginx's $host and $server_port, however the client spells them."""
    own = OWN["nginx", "vhost_combined"]
    with site("nginx", "vhost_combined", conf="access_log @DIR@/access.log own;", outer=f"log_format own '{own}';", workers=1) as pair:
        admit(pair, get("/a.bin", host=host))
        fetch(pair.stock.port, get("/a.bin", host=host))
        assert eventually(lambda: lines_of(pair.ours.dir / "fast.log"), 4)
        begins = [lines_of(log)[-1].split(b" ")[0] for log in (pair.ours.dir / "fast.log", pair.stock.dir / "access.log")]
        assert begins == [f"localhost:{server.port}".encode() for server in (pair.ours, pair.stock)]


def by_unix_socket(path):
    """What comes back on a Unix socket that has a request answered twice."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(get("/a.bin") + get("/a.bin", "Connection: close"))
        return masked(b"".join(iter(lambda: sock.recv(1 << 16), b"")))


def test_a_unix_socket_has_no_port():
    own = OWN["nginx", "vhost_combined"]
    conf = "listen unix:@DIR@/socket; access_log @DIR@/access.log own;"
    with site("nginx", "vhost_combined", conf=conf, outer=f"log_format own '{own}';", workers=1) as pair:
        for _ in range(5):
            assert by_unix_socket(pair.ours.dir / "socket") == by_unix_socket(pair.stock.dir / "socket")
        assert eventually(lambda: lines_of(pair.ours.dir / "fast.log"), 4)
        begins = [lines_of(log)[-1].split(b"[")[0] for log in (pair.ours.dir / "fast.log", pair.stock.dir / "access.log")]
        assert begins == [b"localhost: unix: - - "] * 2


# ---- the time ----

TIMES = [("nginx", "combined", "XYZ+03:30", -210), ("nginx", "json", "XYZ-05:45", 345), ("httpd", "CLF", "XYZ-05:45", 345),
         ("httpd", "JSON", "XYZ+03:30", -210)]


def time_in(line, form):
    if form in ("json", "JSON"):
        text = json.loads(line)["time"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", text)
        return datetime.datetime.fromisoformat(text)
    text = re.search(rb" \[(\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] ", line).group(1).decode()
    return datetime.datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")


@pytest.mark.parametrize("kind, form, zone, minutes", TIMES)
def test_time(kind, form, zone, minutes):
    """In the server's time zone; and not that of when it last did something, or began to gather lines."""
    with site(kind, form, zone=zone, workers=1) as pair:
        admit(pair, get("/a.bin"))
        log = pair.ours.dir / "fast.log"
        emptied(log)
        time.sleep(2)
        with Wire(pair.ours.port) as wire:
            for wait in (0, 2.5):
                time.sleep(wait)
                begin, before = time.time(), len(lines_of(log))
                assert wire.request(get("/a.bin")).status == 200
                end = time.time()
                assert eventually(lambda: len(lines_of(log)) > before, 4)
                said = time_in(lines_of(log)[-1], form)
                assert said.utcoffset() == datetime.timedelta(minutes=minutes)
                assert begin - 2 <= said.timestamp() <= end + 2


# ---- one file for both ----

BOTH = {"nginx": "access_log @DIR@/fast.log combined;", "nginx-buffered": "access_log @DIR@/fast.log combined buffer=4k flush=1s;",
        "httpd": f'CustomLog @DIR@/fast.log "{COMBINED}"\n'}
FORM = {"nginx": "combined buffer=8k", "httpd": "ECLF"}
LINE = re.compile(rb'127\.0\.0\.1 - - \[[^]]{26}\] "GET /(a\.bin|missing) HTTP/1\.1" (200 1000|404 \d+) "-" "client-(\d+-\d+)\.x*"')
CLIENTS, EACH = 4, 300


def run_clients(port, failed):
    """Each its own connection, with hits and what the server answers in turns; each request has a name of its own."""
    def client(number):
        try:
            with Wire(port) as wire:
                for n in range(EACH):
                    agent = f"User-Agent: client-{number}-{n}." + "x" * (n * 37 % 700)
                    assert wire.request(get("/missing" if n % 2 else "/a.bin", agent)).status == (404 if n % 2 else 200)
        except (OSError, AssertionError, ValueError) as error:
            failed.append(repr(error))
    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    return threads


@contextmanager
def shared(which):
    """A site whose logs are one file, with clients at work; when the block is left, they are done."""
    kind = which.partition("-")[0]
    with site(kind, FORM[kind], conf=BOTH[which], workers=2) as pair:
        admit(pair, get("/a.bin"))
        emptied(pair.ours.dir / "fast.log")
        before, failed = pair.zone.count("fast_hits"), []
        threads = run_clients(pair.ours.port, failed)
        yield pair
        for thread in threads:
            thread.join(40)
        assert not failed, (failed, pair.ours.log())
        assert pair.zone.grows("fast_hits", before, CLIENTS * EACH // 2)
        complete(pair.ours.dir)


def complete(where):
    """Every request has its line in one of the files, and each line is whole."""
    def lines():
        return [line for log in sorted(where.glob("fast.log*")) for line in lines_of(log)]
    assert eventually(lambda: len(lines()) >= CLIENTS * EACH, 5), f"{len(lines())} lines"
    torn = [line for line in lines() if not LINE.fullmatch(line)]
    assert not torn, torn[:3]
    names = sorted(LINE.fullmatch(line).group(3).decode() for line in lines())
    assert names == sorted(f"{number}-{n}" for number in range(CLIENTS) for n in range(EACH))


@pytest.mark.parametrize("which", BOTH)
def test_one_file_for_both(which):
    with shared(which):
        pass


@pytest.mark.parametrize("which", ["nginx", "nginx-buffered"])
def test_one_file_for_both_is_opened_anew(which):
    with shared(which) as pair:
        log = pair.ours.dir / "fast.log"
        for number in range(3):
            time.sleep(0.1)
            log.rename(log.with_name(f"fast.log.{number}"))
            pair.ours.process.send_signal(10)  # SIGUSR1
            assert eventually(log.exists, 5)
