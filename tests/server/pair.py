# SPDX-License-Identifier: Apache-2.0
"""The heart of these tests: the server with the module beside the same server without it, over one document root."""
import shutil
import tempfile
import time
from pathlib import Path

from docroot import put
from servers import Server
from wire import exchange, fetch, get
from zone import Zone


def admit(server, zone, target, *headers):
    """Asks until the fast path answers; whether it did."""
    for _ in range(20):
        before = zone.count("fast_hits")
        fetch(server.port, get(target, *headers))
        if zone.grows("fast_hits", before, seconds=0.1):
            return True
    return False


class Pair:
    def __init__(self, kind, size="32m", **more):
        self.kind = kind
        self.root = Path(tempfile.mkdtemp(prefix="site-"))
        self.root.chmod(0o755)
        self.zone = Zone(size)
        self.ours = Server(kind, self.root, self.zone, **more)
        self.stock = Server(kind, self.root, None, **more)

    def __enter__(self):
        try:
            self.stock.start()
            self.ours.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.ours.close()
        self.stock.close()
        self.zone.remove()
        shutil.rmtree(self.root, ignore_errors=True)

    def put(self, name, data, **more):
        return put(self.root / name, data, **more)

    def same(self, target, *headers, timeout=10, **more):
        """Asks both servers the same; asserts that they answer the same; returns the reply."""
        raw = target if isinstance(target, bytes) else get(target, *headers, **more)
        for _ in range(3):
            ours, theirs = (fetch(server.port, raw, timeout) for server in (self.ours, self.stock))
            if ours.comparable() == theirs.comparable() or ours.header("Date") == theirs.header("Date"):
                break
            time.sleep(0.02)  # a second began between them; the fast path sees that up to a tick of the kernel (10 ms) late
        assert ours.comparable() == theirs.comparable()
        return ours

    def same_bytes(self, raw, timeout=10):
        """Sends raw bytes to both, compares all they send until they close; returns it."""
        ours = exchange(self.ours.port, raw, timeout)
        assert ours == exchange(self.stock.port, raw, timeout)
        return ours

    def admit(self, target, *headers):
        return admit(self.ours, self.zone, target, *headers)

    def from_the_pipeline(self, ask, times, admitted=("/small.bin", "/large.bin")):
        """Whether asking some times makes that many hits, and none of them is the fast path's; which has not gone away meanwhile."""
        for target in admitted:
            assert self.admit(target)
        before = self.zone.stat()
        for _ in range(times):
            ask()
        assert self.zone.grows("pipeline_hits", before["pipeline_hits"], times)
        assert self.zone.count("fast_hits") == before["fast_hits"]
        fetch(self.ours.port, get(admitted[0]))
        return self.zone.grows("fast_hits", before["fast_hits"]) and self.zone.count("fast_hits") == before["fast_hits"] + 1

    def hit(self, target, *headers, **more):
        """As same(), and the reply came from pinned memory; the second or third time at the latest, for the first may find the
        object due for a check."""
        for _ in range(3):
            before = self.zone.hits()
            reply = self.same(target, *headers, **more)
            if self.zone.grows("hits", before, seconds=0.3):
                return reply
        raise AssertionError(f"{target} was no hit: {self.zone.stat()}")

    def warm(self, target, *headers, **more):
        """Asks until the file is in the cache, then proves it."""
        self.same(target, *headers, **more)
        return self.hit(target, *headers, **more)

    def left_alone(self, target, *headers, reason=None, **more):
        """As same(), twice, and neither reply came from the cache; `reason`: the counter that grew."""
        hits, before = self.zone.hits(), self.zone.count(reason) if reason else 0
        self.same(target, *headers, **more)
        reply = self.same(target, *headers, **more)
        if reason:
            assert self.zone.grows(reason, before, 2), f"{target} was not declined for {reason}: {self.zone.stat()}"
        assert self.zone.hits() == hits, f"{target} came from the cache"
        return reply
