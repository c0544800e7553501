# SPDX-License-Identifier: Apache-2.0
"""The fast path's last reply on a connection arrives whole, whatever the client has sent behind its request: were the connection closed
with that unread, the kernel would reset it, and throw away what the client has not got yet."""
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
LIMIT = {"nginx": "keepalive_requests 2;", "httpd": "MaxKeepAliveRequests 2\n"}  # the second reply is the last
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
        assert pair.zone.grows("fast_hits", before, 2)
