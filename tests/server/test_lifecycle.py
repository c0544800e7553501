# SPDX-License-Identifier: Apache-2.0
"""Reload, restart, killed workers: requests go on, payload stays, pins of the dead come back."""
import os
import signal
import time
from pathlib import Path

import pytest

from docroot import payload, settle
from load import Load
from pair import Pair
from slow import SlowClients
from wire import Wire, eventually, fetch, get
from zone import STOCK_ONLY

FILES = {f"/{number}.bin": payload(number, number * 9001) for number in range(24)}
BIG = payload("big", 8 << 20)
SETTINGS = {"size": "64m"}


def tree(pair):
    for name, data in FILES.items():
        pair.put(name[1:], data)
    pair.put("big.bin", BIG)
    settle()


def warm_all(pair):
    for name in [*FILES, "/big.bin"]:
        fetch(pair.ours.port, get(name))


def test_reload_under_load(pair):
    warm_all(pair)
    fills = pair.zone.count("fills")
    with Load(pair.ours.port, FILES) as load:
        for _ in range(3):
            load.wait(150)
            pair.ours.reload()
        load.wait(150)
    assert not load.failed and not load.wrong
    assert pair.zone.count("fills") == fills, "payload was read again after a reload"
    pair.hit("/3.bin")


def test_reload_during_slow_replies(pair):
    """Old workers finish what they began; their pins come back when they have."""
    warm_all(pair)
    content = {"/big.bin": BIG}
    with SlowClients(pair.ours.port, ["/big.bin"] * 6, content) as clients:
        clients.run(0.3, 1 << 18)
        pair.ours.reload(wait=False)
        # An old worker that has not heard of it yet may still accept one, and says that it closes it.
        assert eventually(lambda: all(fetch(pair.ours.port, get("/5.bin")).header("Connection") != "close" for _ in range(10)), 10)
        pair.hit("/5.bin")
        clients.run(0.3, 1 << 18)
        assert clients.finish() == 6
        assert clients.right()
    assert pair.zone.unpinned()


def test_reload_with_a_zone_that_cannot_be_had():
    """nginx has no way back at that point, and must not end: it goes on without the zone, and has it again when that is possible."""
    with Pair("nginx", conf="afpa_fast_path on; afpa_access_log off;", revalidate=3600000) as pair:
        for name, data in FILES.items():
            pair.put(name[1:], data)
        assert pair.admit("/3.bin")
        pair.ours.configure(pair.zone.directive("nginx", "64m"))
        pair.ours.reload()
        assert pair.ours.process.poll() is None
        assert "is in use by" in pair.ours.log() and "reloaded without zone" in pair.ours.log()
        before = pair.zone.hits()
        for name, data in FILES.items():
            assert fetch(pair.ours.port, get(name)).body == data
        assert pair.zone.hits() == before
        pair.ours.configure()
        pair.ours.reload()
        assert pair.admit("/3.bin")
        assert pair.zone.unpinned() and not pair.zone.problems()


def test_reload_with_broken_configuration_loses_nothing(pair):
    """The server goes on with the configuration it has, and so does its cache."""
    warm_all(pair)
    fills, text = pair.zone.count("fills"), pair.ours.file.read_text()
    try:
        size = f"{pair.zone.name} {pair.zone.size}"
        pair.ours.file.write_text(text.replace(size, f"{pair.zone.name} 4k"))
        if STOCK_ONLY or pair.kind == "httpd":  # httpd ends when its configuration is broken at a graceful restart: only checked
            status, said = pair.ours.check()
            assert STOCK_ONLY or status != 0, said
        else:
            pair.ours.process.send_signal(signal.SIGHUP)
            assert eventually(lambda: "[emerg]" in pair.ours.log())
        for name, data in FILES.items():
            assert fetch(pair.ours.port, get(name)).body == data
    finally:
        pair.ours.file.write_text(text)
    assert pair.zone.count("fills") == fills
    pair.ours.reload()
    pair.hit("/4.bin")
    assert pair.zone.count("fills") == fills


def kill_one(server):
    before = server.workers()
    least = len(before) if server.kind == "nginx" else 1  # httpd has as many processes as it has idle threads to spare
    os.kill(before[0], signal.SIGKILL)
    assert eventually(lambda: before[0] not in server.workers() and len(server.workers()) >= least, 10), "no worker took its place"


def test_killed_worker_under_load(pair):
    warm_all(pair)
    content = {"/big.bin": BIG}
    with SlowClients(pair.ours.port, ["/big.bin"] * 10, content) as clients, Load(pair.ours.port, FILES) as load:
        for _ in range(3):
            load.wait(50)
            clients.run(0.1, 1 << 16)
            kill_one(pair.ours)
        load.wait(50)
        failed = len(load.failed)
        load.wait(200)
        assert len(load.failed) == failed, "requests fail although all workers are there again"
        assert clients.right()
    assert not load.wrong
    assert len(load.failed) <= 60  # what was under way in the workers killed
    assert pair.zone.unpinned(), f"pins of the dead: {pair.zone.stat()}"
    assert not pair.zone.problems()
    for name in FILES:
        pair.same(name)
    pair.hit("/7.bin")


def test_killed_worker_while_reading(pair):
    """Cold files all the time, so that fills are under way when a worker dies; nobody waits for them for ever."""
    content = {f"/cold/{n}.bin": payload(f"cold {n}", 700000) for n in range(40)}
    for name, data in content.items():
        pair.put(name[1:], data)
    with Load(pair.ours.port, content) as load:
        for _ in range(3):
            load.wait(5)
            kill_one(pair.ours)
        load.wait(100)
    assert not load.wrong
    for name, data in content.items():
        assert fetch(pair.ours.port, get(name)).body == data
    assert pair.zone.unpinned()
    assert not pair.zone.problems()


def test_killed_server(pair):
    """All processes at once, as when the machine kills for memory.  The segment is sound, and the next server finds it warm."""
    warm_all(pair)
    with SlowClients(pair.ours.port, ["/big.bin"] * 4, {"/big.bin": BIG}) as clients:
        clients.run(0.2)
        fills = pair.zone.count("fills")
        os.killpg(pair.ours.process.pid, signal.SIGKILL)
        pair.ours.process.wait(5)
        assert not pair.zone.problems()
    (pair.ours.dir / "server.pid").unlink(missing_ok=True)
    time.sleep(0.2)
    pair.ours.start()
    pair.hit("/9.bin")
    assert pair.zone.count("fills") == fills
    assert pair.zone.unpinned()


def test_restart_finds_the_cache_warm(pair):
    warm_all(pair)
    fills = pair.zone.count("fills")
    pair.ours.restart()
    for name in FILES:
        pair.hit(name)
    assert fetch(pair.ours.port, get("/big.bin")).body == BIG
    assert pair.zone.count("fills") == fills
    assert not pair.zone.problems()


def test_file_changed_while_the_server_was_down(pair):
    pair.put("down.bin", payload("before", 70000))
    pair.warm("/down.bin")
    pair.ours.stop()
    data = pair.put("down.bin", payload("after", 70000))
    time.sleep(0.3)
    pair.ours.start()
    assert pair.same("/down.bin").body == data


def test_stop_during_replies(pair):
    """A server told to stop while clients read leaves no pin and no slot behind."""
    warm_all(pair)
    with SlowClients(pair.ours.port, ["/big.bin"] * 6, {"/big.bin": BIG}) as clients:
        clients.run(0.2)
        pair.ours.stop()
    if not STOCK_ONLY:
        assert not [o for o in pair.zone.stat()["owners"] if o["alive"]]
        assert not pair.zone.problems()
    pair.ours.start()
    pair.hit("/8.bin")
    assert pair.zone.unpinned()


def test_slots_are_given_back(kind):
    """Ten reloads take no more slots than one."""
    with Pair(kind, workers=2) as pair:
        pair.put("file.bin", payload("file", 1000))
        for _ in range(10):
            pair.ours.reload()
        pair.warm("/file.bin")
        if not STOCK_ONLY:
            def alive():
                return [o for o in pair.zone.stat()["owners"] if o["alive"]]
            assert eventually(lambda: len(alive()) <= 4, 10), f"{alive()}"
            assert all(os.path.exists(f"/proc/{o['pid']}") for o in alive())


@pytest.mark.parametrize("count", [12])
def test_more_workers(kind, count):
    """Many processes on one zone: each file is read once."""
    with Pair(kind, workers=count) as pair:
        content = {f"/{n}.bin": pair.put(f"{n}.bin", payload(n, 90000)) for n in range(10)}
        with Load(pair.ours.port, content, threads=4) as load:
            load.wait(300)
        assert not load.failed and not load.wrong
        assert STOCK_ONLY or pair.zone.count("fills") <= 20, "ten files of two chunks"


def accepted(port, client):
    """Whether the server has taken the connection from its queue: one that it has not has no inode."""
    ends = [f"0100007F:{port:04X}", f"0100007F:{client:04X}"]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1:3] == ends and row[9] != "0" for row in rows)


def test_stops_after_what_waits_for_a_worker(kind):
    """A file that changed just now is opened some milliseconds later, in a worker thread: the request waits, and so does the end."""
    with Pair(kind, workers=1, revalidate=0) as pair:
        for number in range(5):
            data = pair.put("fresh.bin", payload(number, 100000 + number))
            with Wire(pair.ours.port) as wire:
                wire.send(get("/fresh.bin"))
                assert eventually(lambda: accepted(pair.ours.port, wire.sock.getsockname()[1]), 5, 0.0005)
                time.sleep(0.004)
                pair.ours.process.send_signal(signal.SIGQUIT if kind == "nginx" else signal.SIGWINCH)
                assert wire.reply().body == data
            pair.ours.process.wait(10)
            assert "open socket" not in pair.ours.log()
            pair.ours.process = None
            pair.ours.start()
