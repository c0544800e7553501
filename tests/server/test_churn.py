# SPDX-License-Identifier: Apache-2.0
"""httpd's fast path when connections come and go by the thousand, and when children are killed."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import need
from docroot import payload
from load import Load
from pair import Pair
from servers import binary, missing
from slow import SlowClients
from wire import Wire, eventually, fetch, get
from zone import BUILD, STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY or binary("httpd") is None, reason="needs the module")

CHURN = Path(__file__).resolve().parents[1] / "churn"
CONNECTIONS = os.environ.get("AFPA_CHURN", "6000")
FILES = {"/small.bin": payload("small", 1000), "/chunk.bin": payload("chunk", 60000), "/large.bin": payload("large", 300000)}
BIG = payload("big", 8 << 20)


@pytest.mark.seconds(200 + int(CONNECTIONS) // 100)
def test_churn():
    """tests/churn with a few connections; AFPA_CHURN says how many."""
    need(not missing("httpd"), missing("httpd"))
    need((BUILD / "tests/churn_client").exists(), "tests/churn_client has not been built")
    run = subprocess.run([sys.executable, CHURN, CONNECTIONS], capture_output=True, text=True, env={**os.environ, "AFPA_BUILDDIR": str(BUILD)})
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.search(r"answered by the fast path +(\d+)", run.stdout)[1]) > int(CONNECTIONS) / 3


def children_of(server, wires):
    """The processes that have the other ends of connections."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {f"socket:[{row[9]}]": int(row[2].rpartition(":")[2], 16) for row in rows if row[1].endswith(f":{server.port:04X}")}
    children = {}
    for pid in server.workers():
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                children[ports.get(os.readlink(f"/proc/{pid}/fd/{name}"))] = pid
            except OSError:
                pass  # just closed
    return [children[wire.sock.getsockname()[1]] for wire in wires]


def answers(wire):
    """Hits and misses on one connection."""
    for target, data in FILES.items():
        assert wire.request(get(target)).body == data
        assert wire.request(get(target, "Range: bytes=5-8")).body == data[5:9]
        assert wire.request(get("/missing")).status == 404


@pytest.mark.seconds(120)
def test_killed_child():
    """Connections of the other children go on, no byte is wrong, and the pins of the dead come back."""
    need(not missing("httpd"), missing("httpd"))
    with Pair("httpd", conf="AfpaFastPath on\nAfpaLogging off\n", workers=3, size="64m") as pair:
        for name, data in [*FILES.items(), ("/big.bin", BIG)]:
            pair.put(name[1:], data)
        for _ in range(4):
            for name in [*FILES, "/big.bin"]:
                fetch(pair.ours.port, get(name))
        with Load(pair.ours.port, FILES, threads=2) as load:
            for _ in range(3):
                before = pair.zone.count("reaped")
                wires = [Wire(pair.ours.port) for _ in range(30)]
                for wire in wires:
                    answers(wire)
                slow = SlowClients(pair.ours.port, ["/big.bin"] * 6, {"/big.bin": BIG})
                slow.run(0.2, 1 << 18)
                assert eventually(lambda: pair.zone.count("pins") > 0, 2)
                victim, *owners = children_of(pair.ours, [slow.clients[0][0], *wires])
                os.kill(victim, signal.SIGKILL)
                for wire, owner in zip(wires, owners):
                    if owner != victim:
                        answers(wire)
                    else:
                        with pytest.raises(ConnectionError):
                            answers(wire)
                    wire.close()
                slow.finish()  # those of the victim end
                assert slow.right()
                slow.close()
                assert eventually(lambda: len(pair.ours.workers()) >= 3 and victim not in pair.ours.workers(), 10)
                assert eventually(lambda: pair.zone.count("reaped") > before, 10)
                load.wait(20)
        time.sleep(0.1)
        assert not load.wrong
        assert len(load.failed) <= 12, load.failed  # what was under way in the three
        assert pair.zone.count("fast_hits") > 500
        assert pair.zone.unpinned() and not pair.zone.problems()
        for name in FILES:
            pair.same(name)
