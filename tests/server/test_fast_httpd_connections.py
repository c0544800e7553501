# SPDX-License-Identifier: Apache-2.0
"""httpd's fast path: connections that go back and forth between its loops and httpd, their limits, and how they end."""
import base64
import random
import re
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import need
from docroot import payload
from load import Load
from pair import Pair
from servers import Server, binary, missing
from test_fast_path import send_in_parts
from wire import Wire, eventually, exchange, fetch, get, head, masked
from zone import STOCK_ONLY, Zone

pytestmark = pytest.mark.skipif(STOCK_ONLY or binary("httpd") is None, reason="needs the module")

FAST = "AfpaFastPath on\nAfpaLogging off\n"
CONF = FAST + "RewriteEngine on\nRewriteRule ^/gone - [G]\nRewriteRule ^/moved/(.*) /real/$1 [PT]\n"
CLOSE = "Connection: close"
SMALL, LARGE, HUGE = (payload(name, size) for name, size in (("small.bin", 1000), ("large.bin", 300000), ("huge.bin", 30 << 20)))


@pytest.fixture(scope="module")
def pair():
    need(not missing("httpd"), missing("httpd"))
    with Pair("httpd", conf=CONF + "AfpaMaxCache 1m\n", revalidate=3600000, workers=1) as pair:
        tree(pair)
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert "signal" not in pair.ours.log()


def tree(pair):
    for name, data in (("small.bin", SMALL), ("large.bin", LARGE), ("real/a.bin", SMALL), ("huge.bin", HUGE)):
        pair.put(name, data)
    admitted(pair)


def admitted(pair):
    assert pair.admit("/small.bin") and pair.admit("/large.bin")


def fresh(more="", **settings):
    """A server of its own, with something admitted."""
    pair = Pair("httpd", conf=CONF + more, revalidate=3600000, **settings)
    return pair


# ---- back and forth ----

def stream(seed):
    """Requests of all kinds, for one connection."""
    choose = random.Random(seed)
    kinds = [get("/small.bin"), get("/large.bin"), head("/large.bin"), get("/gone"), get("/missing"), get("/small.bin", "Range: bytes=1-5"),
             get("/small.bin", "If-None-Match: *"), b"POST /small.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde",
             b"POST /gone HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
             get("/moved/a.bin"), get("/small.bin", "Connection: keep-alive"), get("/small.bin", "X-Long: " + "x" * choose.randrange(3000)),
             b"\r\n" + get("/small.bin")]
    return b"".join(choose.choice(kinds) for _ in range(30)) + get("/small.bin", "Connection: close")


@pytest.mark.parametrize("seed", range(16))
def test_back_and_forth(pair, seed):
    """Hits and misses in any order, however the bytes are cut: what httpd alone would have sent."""
    admitted(pair)
    raw = stream(seed)
    assert send_in_parts(pair.ours.port, raw, random.Random(seed)) == exchange(pair.stock.port, raw)


def test_each_hit_is_fast_between_misses(pair):
    """A connection comes back after each request that httpd answered."""
    admitted(pair)
    with Wire(pair.ours.port) as wire:
        wire.request(get("/small.bin"))
        before = pair.zone.stat()
        for _ in range(20):
            for target in ("/gone", "/small.bin", "/missing", "/moved/a.bin"):
                wire.request(get(target))
    after = pair.zone.stat()
    assert after["fast_hits"] == before["fast_hits"] + 20, (before, after)


def test_first_request_is_httpds(pair):
    """Then the connection stays with the MPM, and is taken over with the first one that is not."""
    admitted(pair)
    with Wire(pair.ours.port) as wire:
        before = pair.zone.count("fast_hits")
        for _ in range(3):
            assert wire.request(get("/gone")).status == 410
        for _ in range(3):
            assert wire.request(get("/small.bin")).body == SMALL
        assert pair.zone.count("fast_hits") == before + 3


def test_half_closed_and_aborted(pair):
    admitted(pair)
    for target, size in (("/large.bin", 300000), ("/small.bin", 1000), ("/moved/a.bin", 1000)):
        with Wire(pair.ours.port) as wire:
            wire.send(get("/small.bin") + get(target) * 2)
            wire.sock.shutdown(socket.SHUT_WR)
            assert [wire.reply().length for _ in range(3)] == [1000, size, size]
            assert wire.until_end() == b""
    for target in ("/large.bin", "/huge.bin", "/moved/a.bin"):
        for _ in range(10):
            wire = Wire(pair.ours.port)
            wire.send(get("/small.bin") + get(target) * 3)
            wire.close(reset=True)
    assert pair.zone.unpinned()
    assert fetch(pair.ours.port, get("/small.bin")).body == SMALL


def test_malformed_and_endless_heads(pair):
    """httpd says so, in its own words, on a connection that had a hit too."""
    admitted(pair)
    for raw in (b"GET /small.bin HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n", b"GARBAGE\r\n\r\n",
                b"GET /small.bin HTTP/1.1\r\n\r\n", b"GET /small.bin HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                b"GET /small.bin HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"):
        raw = get("/small.bin") + raw + get("/gone", "Connection: close")
        assert exchange(pair.ours.port, raw) == exchange(pair.stock.port, raw)


@pytest.mark.parametrize("between", ["\n", "\r\n", "\n\r\n\n", "\n" * 9, "\n" * 12, "\r\r\n", "\r", " "])
def test_empty_lines_between_requests(pair, between):
    """httpd passes over a few of them, ended one way or the other; behind a hit too."""
    between = between.encode()
    for raw in (get("/small.bin") + between + get("/large.bin", "Connection: close"), get("/small.bin") + between,
                get("/small.bin") + between + get("/gone", "Connection: close")):
        assert half_closed(pair.ours, raw) == half_closed(pair.stock, raw)


def half_closed(server, raw):
    with Wire(server.port) as wire:
        wire.send(raw)
        wire.sock.shutdown(socket.SHUT_WR)
        return masked(wire.until_end())


# ---- httpd on such connections ----

def slow_readers(pair, count):
    """Connections of the loops, of all children, on each of which httpd has begun a reply that nobody reads."""
    wires = [Wire(pair.ours.port, rcvbuf=4096, timeout=60) for _ in range(count)]
    for wire in wires:
        assert wire.request(get("/small.bin")).body == SMALL
    for wire in wires:
        wire.send(get("/huge.bin", "Range: bytes=5-8000004"))
    time.sleep(0.5)
    return wires


def test_slow_readers_hold_no_thread():
    """httpd's own large replies, as files: what a client has not read waits in the loop, and more of them than there are threads."""
    with fresh("EnableSendfile on\nAfpaMaxCache 1m\n", workers=1) as pair:
        tree(pair)
        wires = slow_readers(pair, 40)  # ThreadsPerChild 16
        begin = time.monotonic()
        with Wire(pair.ours.port) as other:
            assert other.request(get("/small.bin")).status == 200
            assert other.request(get("/gone")).status == 410
        assert time.monotonic() - begin < 2
        for wire in wires[:6]:
            assert wire.reply().body == HUGE[5:8000005]
            assert wire.request(get("/small.bin")).body == SMALL
        for wire in wires:
            wire.close()


def test_more_at_work_than_a_child_has_workers():
    """The MPM makes no more children for requests on connections of the loops, so there have to be threads for them."""
    with fresh("EnableSendfile off\nEnableMMAP off\nAfpaMaxCache 1m\n", workers=1) as pair:
        tree(pair)
        wires = slow_readers(pair, 40)  # ThreadsPerChild 16
        with Wire(pair.ours.port, timeout=3) as other:
            assert other.request(get("/small.bin")).status == 200
            assert other.request(get("/gone")).status == 410
        for wire in wires[-3:]:
            assert wire.reply().body == HUGE[5:8000005]
        for wire in wires:
            wire.close()


def test_as_many_as_the_children_may_have_together():
    """MaxRequestWorkers is for all children: where each has its ThreadsPerChild, no more threads are started."""
    def threads(server):
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in server.workers())

    with fresh("EnableSendfile off\nEnableMMAP off\nAfpaMaxCache 1m\n", outer="ServerLimit 2\nMaxRequestWorkers 32\n", workers=2) as pair:
        tree(pair)
        before = threads(pair.ours)
        wires = slow_readers(pair, 60)
        assert threads(pair.ours) == before
        for wire in wires:
            wire.close()


def test_threads_have_the_stack_that_is_asked_for():
    """ThreadStackSize: those that run httpd on connections of the loops too."""
    with fresh("", outer="ThreadStackSize 3145728\n", workers=1) as pair:
        tree(pair)

        def stacks(server):
            maps = Path(f"/proc/{server.workers()[0]}/maps").read_text().splitlines()
            ends = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps if line.split()[1] == "rw-p"]
            return sum(high - low == 3 << 20 for low, high in ends)
        assert stacks(pair.stock) >= 16
        assert stacks(pair.ours) >= stacks(pair.stock) + 16  # ThreadsPerChild


def curl(*args):
    return subprocess.run(["curl", "-sS", "--max-time", "20", *args], capture_output=True, text=True, timeout=30)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("how", ["--http2", "--http2-prior-knowledge"])
def test_http2_in_the_clear(how):
    with fresh("Protocols h2c http/1.1\n", workers=1) as pair:
        for name, data in (("small.bin", SMALL), ("large.bin", LARGE)):
            pair.put(name, data)
        url = f"http://127.0.0.1:{pair.ours.port}"
        for name, size in (("large.bin", 300000), ("small.bin", 1000)) if "prior" in how else (("small.bin", 1000),):
            run = curl(how, "-o", "/dev/null", "-w", "%{http_version} %{size_download} %{http_code}\n", f"{url}/{name}")
            assert run.stdout == f"2 {size} 200\n", run.stderr
        run = curl("--http1.1", "-o", "/dev/null", "-w", "%{http_version} %{size_download}\n", f"{url}/small.bin")
        assert run.stdout == "1.1 1000\n"
        assert pair.zone.count("fast_hits") == 0  # the offer comes with the first reply on a connection only


def test_modules_see_these_requests():
    """mod_log_config, mod_status, mod_unique_id: requests that httpd answers on a connection of the loop."""
    outer = "".join(f"LoadModule {m}_module @LIBEXEC@/mod_{m}.so\n" for m in ("status", "unique_id"))
    outer += "ThreadLimit 64\n<Location /server-status>\nSetHandler server-status\n</Location>\nExtendedStatus on\n"
    more = 'CustomLog @DIR@/access.log "%U %>s %k %{UNIQUE_ID}e"\n'
    with fresh(more, outer=outer, workers=1) as pair:
        tree(pair)

        def status():
            text = fetch(pair.ours.port, get("/server-status?auto", "Connection: close")).body.decode()
            return {k: int(v) for k, v in re.findall(r"^(Total Accesses|BusyWorkers|ConnsTotal): (\d+)", text, re.M)}
        before = status()
        with Wire(pair.ours.port) as wire:
            for _ in range(50):
                assert wire.request(get("/small.bin")).status == 200
                assert wire.request(get("/gone")).status == 410
            assert eventually(lambda: status()["Total Accesses"] >= before["Total Accesses"] + 50)
        assert eventually(lambda: status()["BusyWorkers"] == 1)  # the one that answers this; others may be a moment at the end of theirs
        assert status()["ConnsTotal"] <= 1
        lines = [line.split() for line in (pair.ours.dir / "access.log").read_text().splitlines() if line.startswith("/gone")]
        assert [line[1] for line in lines] == ["410"] * 50
        assert [int(line[2]) for line in lines] == list(range(1, 101, 2))  # requests on the connection before, hits too
        assert len({line[3] for line in lines}) == 50


def test_no_two_children_have_an_id_in_common():
    """Of connections that requests are under way on: mod_cgid's daemon has one table of scripts for all children."""
    outer = "LoadModule unique_id_module @LIBEXEC@/mod_unique_id.so\n"
    with fresh('CustomLog @DIR@/access.log "%P %U %{UNIQUE_ID}e"\n', outer=outer, workers=3) as pair:
        tree(pair)

        def ask(_):
            with Wire(pair.ours.port) as wire:
                for target in ("/small.bin", "/gone") * 5:
                    assert wire.request(get(target)).status in (200, 410)
        ids = {}
        for _ in range(20):
            with ThreadPoolExecutor(12) as pool:
                list(pool.map(ask, range(12)))
            for line in (pair.ours.dir / "access.log").read_text().splitlines():
                pid, target, unique = line.split()
                if target == "/gone":  # time, root, counter, id
                    ids.setdefault(pid, set()).add(base64.urlsafe_b64decode(unique + "=")[16:20])
            if len(ids) > 1:
                break
        assert len(ids) > 1 and sum(map(len, ids.values())) == len(set().union(*ids.values())), ids


# ---- limits ----

def test_requests_per_connection():
    with fresh("MaxKeepAliveRequests 5\n", workers=1) as pair:
        tree(pair)
        for targets in (["/small.bin"] * 8, ["/gone", "/small.bin"] * 4, ["/small.bin", "/gone", "/large.bin"] * 3):
            for more in ((), ("Connection: keep-alive",)):
                raw = b"".join(get(target, *more) for target in targets)
                assert exchange(pair.ours.port, raw) == exchange(pair.stock.port, raw)


def test_keep_alive_off():
    with fresh("KeepAlive off\n", workers=1) as pair:
        for name in ("small.bin", "large.bin"):
            pair.put(name, SMALL)
        for _ in range(5):
            raw = get("/small.bin") + get("/large.bin")
            assert exchange(pair.ours.port, raw) == exchange(pair.stock.port, raw)


@pytest.mark.parametrize("said, seconds", [(b"GET /small.bin HTT", 2), (get("/small.bin")[:-3], 2), (get("/small.bin"), 1),
                                           (get("/small.bin") + b"GET /sm", 2), (get("/small.bin") + get("/large.bin")[:-1], 2),
                                           (get("/small.bin") + get("/gone"), 1), (get("/gone") + get("/small.bin"), 1)],
                         ids=["line", "fields", "idle", "second", "second-fields", "idle-after-httpd", "idle-after-both"])
def test_times(said, seconds):
    """mod_reqtimeout's for a head, KeepAliveTimeout between two requests."""
    with fresh("RequestReadTimeout header=2\nKeepAliveTimeout 1\n", workers=1) as pair:
        tree(pair)
        begin = time.monotonic()
        heard = exchange(pair.ours.port, said)
        assert seconds - 0.2 <= time.monotonic() - begin <= seconds + 1.5
        assert heard == exchange(pair.stock.port, said)


@pytest.mark.parametrize("most, seconds", [("", 3), ("-2", 2)], ids=["unbounded", "bounded"])
def test_rate_of_a_head(most, seconds):
    """A second more for each 100 bytes of it; httpd itself finds out with the next ones."""
    with fresh(f"RequestReadTimeout header=1{most},MinRate=100\n", workers=1) as pair:
        tree(pair)
        times = []
        for server in (pair.ours, pair.stock):
            with Wire(server.port, timeout=10) as wire:
                wire.send(get("/small.bin"))
                assert wire.reply().status == 200
                begin = time.monotonic()
                wire.send(b"GET /small.bin HTTP/1.1\r\nX: " + b"x" * 73)
                for more in (b"y" * 99, b"z"):
                    time.sleep(0.7)
                    wire.send(more)
                wire.until_end()
                times.append(time.monotonic() - begin)
        assert all(seconds - 0.2 <= taken <= seconds + 1.5 for taken in times), times


def test_bound_of_connections():
    """Beyond AfpaMaxConnections they stay with httpd."""
    with fresh("", outer="AfpaMaxConnections 5\n", workers=1) as pair:
        tree(pair)
        before = pair.zone.count("fast_hits")
        wires = [Wire(pair.ours.port) for _ in range(12)]
        for _ in range(3):
            for wire in wires:
                assert wire.request(get("/small.bin")).body == SMALL
        assert pair.zone.count("fast_hits") == before + 15
        for wire in wires:
            wire.close()
        assert eventually(lambda: fetch(pair.ours.port, get("/small.bin")) and pair.zone.count("fast_hits") > before + 16)


def ask_at_once(pair, connections):
    """A request on each, and no reply read yet."""
    wires = [Wire(pair.ours.port) for _ in range(connections)]
    for wire in wires:
        wire.send(get("/small.bin"))
    return wires


def epolls(server):
    """How many epoll descriptors its child has: a loop's each, beside the MPM's own."""
    child, = server.workers()
    return [link.readlink().name for link in Path(f"/proc/{child}/fd").iterdir()].count("anon_inode:[eventpoll]")


def test_bound_of_open_files():
    """The loops take no more connections than leave httpd room; the others wait to be accepted, as they do for its own bound."""
    with fresh("KeepAliveTimeout 60\n", outer="ServerLimit 1\nMaxRequestWorkers 16\nMinSpareThreads 1\nMaxSpareThreads 16\n", workers=1,
               wrap=["prlimit", "--nofile=200:200"]) as pair:
        tree(pair)
        for wire in ask_at_once(pair, 300):
            assert wire.reply().body == SMALL
            wire.close()
        assert "Too many open files" not in pair.ours.log() and "ulimit" not in pair.ours.log()


def test_bounds_that_open_files_lower():
    """Who asks for more is told what there is; both are what a child really has."""
    with fresh("", outer="AfpaMaxConnections 40\nAfpaThreads 5\n", workers=1, wrap=["prlimit", "--nofile=64:64"]) as pair:
        tree(pair)
        assert "AfpaMaxConnections 40: a child has 32, half of its open files (ulimit -n)" in pair.ours.log()
        assert "AfpaThreads 5: a child has 4, for which an eighth of its open files is enough (ulimit -n)" in pair.ours.log()
        assert epolls(pair.ours) == epolls(pair.stock) + 4
        before = pair.zone.count("fast_hits")
        wires = ask_at_once(pair, 36)
        assert all(wire.reply().body == SMALL for wire in wires)
        assert pair.zone.grows("fast_hits", before, 32) and pair.zone.count("fast_hits") == before + 32
        for wire in wires:
            wire.close()


def test_more_connections_than_the_mpm_takes():
    """The event MPM takes ThreadsPerChild + idle × AsyncRequestWorkerFactor = 48 here; ours are none of its."""
    with fresh("KeepAliveTimeout 60\n", outer="ServerLimit 1\nMaxRequestWorkers 16\nMinSpareThreads 1\nMaxSpareThreads 16\n", workers=1) as pair:
        tree(pair)
        wires = []
        for _ in range(400):
            wires.append(Wire(pair.ours.port))
            assert wires[-1].request(get("/small.bin")).body == SMALL
        for wire in wires:
            assert wire.request(get("/gone")).status == 410
            assert wire.request(get("/small.bin")).body == SMALL
            wire.close()


# ---- the end of a child ----

def test_restart_cuts_no_reply():
    """Graceful: a reply under way is finished, whoever sends it; idle connections are closed; then the child ends."""
    with fresh("AfpaMaxCache 1m\nHeader set X-Epoch one\n", workers=1) as pair:
        tree(pair)
        with Wire(pair.ours.port, rcvbuf=4096, timeout=30) as fast, Wire(pair.ours.port, rcvbuf=4096, timeout=30) as host, \
                Wire(pair.ours.port) as idle, Load(pair.ours.port, {"/small.bin": SMALL, "/large.bin": LARGE}) as load:
            for wire in (fast, host, idle):
                wire.request(get("/small.bin"))
            fast.send(get("/large.bin"))
            host.send(get("/huge.bin", "Range: bytes=0-7999999"))
            load.wait(50)
            old = set(pair.ours.workers())
            pair.ours.conf = pair.ours.conf.replace("X-Epoch one", "X-Epoch two")
            pair.ours.configure()
            pair.ours.reload(wait=False)
            load.wait(50)
            assert eventually(lambda: fetch(pair.ours.port, get("/small.bin")).header("X-Epoch") == "two")
            assert idle.until_end() == b""
            assert fast.reply().body == LARGE
            assert host.reply().body == HUGE[:8000000]
            assert fast.until_end() == host.until_end() == b""
            assert eventually(lambda: not old & set(pair.ours.workers()), 5)
            for _ in range(20):
                assert fetch(pair.ours.port, get("/small.bin")).header("X-Epoch") == "two"
        assert not load.failed and not load.wrong


def test_stops_at_once_with_idle_connections():
    with fresh("", workers=1) as pair:
        tree(pair)
        wires = [Wire(pair.ours.port) for _ in range(10)]
        for wire in wires * 3:
            assert wire.request(get("/small.bin")).status == 200
        for how in ("SIGWINCH",):
            begin = time.monotonic()
            pair.ours.process.send_signal(getattr(__import__("signal"), how))
            pair.ours.process.wait(10)
            assert time.monotonic() - begin < 4
        assert all(wire.until_end() == b"" for wire in wires)


def test_stops_at_once_with_replies_under_way():
    """Not gracefully: connections are broken off, and the processes end by themselves."""
    with fresh("AfpaMaxCache 1m\n", workers=1) as pair:
        tree(pair)
        wires = [Wire(pair.ours.port, rcvbuf=4096) for _ in range(10)]
        for number, wire in enumerate(wires):
            wire.request(get("/small.bin"))
            wire.send(get("/huge.bin" if number % 2 else "/large.bin") * 3)
        time.sleep(0.3)
        begin = time.monotonic()
        pair.ours.process.terminate()
        pair.ours.process.wait(10)
        assert time.monotonic() - begin < 5
        assert "SIGKILL" not in pair.ours.log() and "signal 11" not in pair.ours.log()
        for wire in wires:
            wire.close()


def test_connections_per_child():
    """MaxConnectionsPerChild: a child that has had its share ends gracefully, under load."""
    with fresh("", outer="MaxConnectionsPerChild 100\n", workers=2) as pair:
        tree(pair)
        first = set(pair.ours.workers())
        with Load(pair.ours.port, {"/small.bin": SMALL, "/large.bin": LARGE, "/moved/a.bin": SMALL}) as load, Wire(pair.ours.port) as wire:
            wire.request(get("/small.bin"))
            load.wait(800)
        assert not load.failed and not load.wrong
        assert eventually(lambda: not first & set(pair.ours.workers()), 10)


def test_descriptors_and_threads_stay():
    with fresh("", workers=1) as pair:
        tree(pair)
        pid = pair.ours.workers()[0]

        def size():
            return len(list(Path(f"/proc/{pid}/fd").iterdir())), len(list(Path(f"/proc/{pid}/task").iterdir()))
        time.sleep(0.5)
        before = size()
        for number in range(300):
            with Wire(pair.ours.port) as wire:
                wire.send(get("/small.bin") + get("/gone") * (number % 3))
                if number % 4:
                    wire.reply()
                wire.close(reset=number % 5 == 0)
        assert eventually(lambda: size() == before, 5), (before, size())
