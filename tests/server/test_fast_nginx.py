# SPDX-License-Identifier: Apache-2.0
"""nginx's fast path beside nginx's own ways: one log file for both, a worker that stops, timeouts."""
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from docroot import payload, put
from pair import admit
from servers import Server
from wire import Wire, eventually, fetch, get
from zone import STOCK_ONLY, Zone

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

FAST = "afpa_fast_path on; afpa_access_log off;"
SAY = "location = /say { return 200 x; }"


@pytest.fixture(scope="module")
def root():
    root = Path(tempfile.mkdtemp(prefix="site-"))
    root.chmod(0o755)
    put(root / "a.bin", payload("a", 1000))
    put(root / "mid.bin", payload("mid", 60000))
    put(root / "huge.bin", payload("huge", 24 << 20))
    yield root
    shutil.rmtree(root)


@contextmanager
def fast(root, conf, *targets, **more):
    """A server of one worker with the fast path, these targets admitted, and its zone."""
    zone = Zone("64m")
    server = Server("nginx", root, zone, conf=conf, workers=1, revalidate=3600000, **more)
    try:
        with server:
            assert all(admit(server, zone, target) for target in targets)
            yield server, zone
            assert zone.unpinned() and "signal 11" not in server.log() and "signal 6" not in server.log()
    finally:
        zone.remove()


def end_of(wire, reset_is=None):
    """What still comes, and after how long the connection ended."""
    begin, data = time.monotonic(), b""
    try:
        data = wire.until_end()
    except ConnectionResetError:
        data = reset_is
    return data, time.monotonic() - begin


# ---- one file for nginx's log and ours ----

FORMS = ["combined", "common", "vhost_combined", "json"]
OWN = "log_format own '$remote_addr \"$request\" $status';"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["", "buffer=8k flush=1s"], ids=["unbuffered", "buffered"])
def test_one_file_for_both_logs(root, form, how):
    """Every line of both is there, once and whole, before and after the file is opened anew."""
    conf = f"afpa_fast_path on; afpa_access_log @DIR@/one.log {form}; access_log @DIR@/one.log own {how};" + SAY
    with fast(root, conf, "/a.bin", outer=OWN) as (server, zone):
        log, old = server.dir / "one.log", server.dir / "old.log"
        worker = server.workers()

        def ask(times):
            for _ in range(times):
                assert fetch(server.port, get("/say")).status == 200
                assert fetch(server.port, get("/a.bin")).status == 200

        def lines(path):
            """How many there are of nginx's, and of ours for a reply of the fast path."""
            text = path.read_text() if path.exists() else ""
            assert "\0" not in text
            said = [line for line in text.splitlines() if '"GET /say HTTP/1.1" 200' in line]
            got = [line for line in text.splitlines() if "/a.bin" in line and not line.startswith('127.0.0.1 "GET')]
            assert len(text.splitlines()) == len(said) + len(got) + text.count('127.0.0.1 "GET /a.bin')
            return len(said), len(got)

        fast_hits = zone.count("fast_hits")
        ask(10)
        assert eventually(lambda: lines(log) == (10, fast_hits + 10), 4), log.read_text()
        log.rename(old)
        ask(3)  # in the buffers of both, or in the old file already
        server.process.send_signal(signal.SIGUSR1)
        assert eventually(log.exists, 3)
        assert eventually(lambda: lines(old) == (13, fast_hits + 13), 3), old.read_text()
        ask(5)
        assert eventually(lambda: lines(log) == (5, 5), 4), log.read_text()
        server.reload()
        assert admit(server, zone, "/a.bin")
        said, got = lines(log)
        ask(2)
        assert eventually(lambda: lines(log)[0] == said + 2 and lines(log)[1] >= got + 2, 4), log.read_text()
        assert worker != server.workers()


def test_one_file_for_two_servers(root):
    """Their lines are all in the old file when it is opened anew."""
    conf = "afpa_fast_path on; afpa_access_log @DIR@/one.log; } server { listen 127.0.0.1:@PORT2@; root @ROOT@; afpa_fast_path on;" \
        "afpa_access_log @DIR@/one.log json;"
    with fast(root, conf, "/a.bin") as (server, zone):
        before = zone.count("fast_hits")
        while zone.count("fast_hits") < before + 3:
            fetch(server.port2, get("/a.bin"))
            time.sleep(0.02)
        log, old = server.dir / "one.log", server.dir / "old.log"
        log.rename(old)
        fetch(server.port, get("/a.bin"))
        fetch(server.port2, get("/a.bin"))
        hits = zone.count("fast_hits")
        server.process.send_signal(signal.SIGUSR1)
        assert eventually(log.exists, 3)
        assert eventually(lambda: len(old.read_text().splitlines()) == hits, 2) and log.read_text() == ""


# ---- a worker that stops ----

def test_the_last_reply_of_a_worker_that_stops(root):
    """It says `close`, and closes."""
    with fast(root, FAST + "client_header_timeout 20s;", "/a.bin") as (server, zone):
        with Wire(server.port) as first, Wire(server.port) as second, Wire(server.port) as silent:
            first.send(b"GET /a")
            second.request(get("/a.bin"))
            second.send(b"GET /a")
            time.sleep(0.2)
            server.reload(wait=False)
            time.sleep(0.3)
            for wire in (first, second, silent):
                before = zone.count("fast_hits")
                wire.send(b".bin HTTP/1.1\r\nHost: localhost\r\n\r\n" if wire is not silent else get("/a.bin"))
                reply = wire.reply()
                assert (reply.status, reply.header("Connection")) == (200, "close")
                assert zone.grows("fast_hits", before)
                data, after = end_of(wire)
                assert data == b"" and after < 2


def test_requests_behind_each_other_when_a_worker_stops(root):
    """Those behind a large one that was under way: the first of them has the last reply."""
    with fast(root, FAST, "/a.bin", "/huge.bin") as (server, zone):
        with Wire(server.port, rcvbuf=4096, timeout=20) as wire:
            wire.send(get("/huge.bin") + get("/a.bin") * 3)
            time.sleep(0.3)
            server.reload(wait=False)
            time.sleep(0.3)
            assert wire.reply().length == 24 << 20
            reply = wire.reply()
            assert (reply.status, reply.header("Connection"), reply.length) == (200, "close", 1000)
            assert end_of(wire)[0] == b""
