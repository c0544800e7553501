# SPDX-License-Identifier: Apache-2.0
"""The other MPMs of httpd: one process per connection, and threads without an event loop."""
import pytest

from conftest import need
from docroot import payload
from load import Load
from pair import Pair
from servers import libexec, missing
from slow import SlowClients
from wire import get

SIZES = {"/empty.bin": 0, "/small.bin": 1000, "/chunk.bin": 65537, "/large.bin": 3 << 20}


@pytest.fixture(scope="module", params=["prefork", "worker"])
def pair(request):
    need(not missing("httpd"), missing("httpd"))
    need((libexec() / f"mod_mpm_{request.param}.so").exists(), f"mpm_{request.param} is not installed")
    with Pair("httpd", mpm=request.param, workers=4) as pair:
        for name, size in SIZES.items():
            pair.put(name[1:], payload(name, size))
        yield pair
        assert pair.zone.unpinned()
        assert not pair.zone.problems()


@pytest.mark.parametrize("name", SIZES)
def test_replies(pair, name):
    assert pair.warm(name).body == payload(name, SIZES[name])
    for header in ("Range: bytes=0-0", "Range: bytes=1-2,4-66000", "If-None-Match: *", "If-Match: \"x\"", "Connection: close"):
        pair.same(name, header)
    pair.same(name, method="HEAD")
    pair.same(name, version="HTTP/1.0")
    pair.same(name + "/missing")


def test_pipeline(pair):
    data = pair.same_bytes(get("/small.bin") * 50 + get("/chunk.bin") * 5 + get("/small.bin", "Connection: close"))
    assert data.count(b"HTTP/1.1 200") == 56


def test_slow_readers(pair):
    with SlowClients(pair.ours.port, ["/large.bin"] * 10, {"/large.bin": payload("/large.bin", 3 << 20)}) as clients:
        clients.run(0.5)
        assert clients.right()
        assert clients.finish() == 10 and clients.right()
    assert pair.zone.unpinned()


def test_reload_under_load(pair):
    content = {name: payload(name, size) for name, size in SIZES.items()}
    with Load(pair.ours.port, content) as load:
        load.wait(50)
        pair.ours.reload()
        load.wait(50)
    assert not load.failed and not load.wrong
    pair.hit("/small.bin")
