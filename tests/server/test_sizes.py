# SPDX-License-Identifier: Apache-2.0
"""Files of every size that matters to slots, chunks and pin arrays: cold, warm, 304, 206, HEAD."""
import pytest

from docroot import payload
from pair import Pair

FAST = True
SIZES = [0, 1, 63, 64, 1000, 4095, 4096, 32767, 32768, 65535, 65536, 65537, 131072, (1 << 20) + 1]
HUGE = 200 << 20

CONF = {
    "nginx": "location /raised/ { afpa_max_size 300m; }",
    "httpd": "<Directory @ROOT@/raised>\nAfpaMaxCache 300m\n</Directory>",
}


@pytest.mark.parametrize("size", SIZES)
def test_size(pair, size):
    name = f"/size-{size}.bin"
    data = pair.put(name[1:], payload(name, size))
    misses = pair.zone.count("misses")
    assert pair.same(name).body == data
    assert pair.zone.grows("misses", misses)
    warm = pair.hit(name)
    assert (warm.status, warm.body) == (200, data)
    again = pair.hit(name, f"If-None-Match: {warm.header('ETag')}")
    assert (again.status, again.body) == (304, b"")
    assert pair.hit(name, method="HEAD").body == b""
    if size > 1:
        part = pair.hit(name, f"Range: bytes=1-{size - 1}")
        assert (part.status, part.body) == (206, data[1:])


@pytest.mark.parametrize("size", SIZES)
def test_first_request_is_conditional(pair, size):
    """Cold, as 304, 206 and HEAD: nothing of the body is wanted, or only some."""
    for number, header in enumerate(["If-None-Match: *", "Range: bytes=0-0", "Range: bytes=-1"]):
        name = f"/cold-{size}-{number}.bin"
        pair.put(name[1:], payload(name, size))
        pair.same(name, header)
        pair.warm(name)
    name = f"/cold-{size}-head.bin"
    pair.put(name[1:], payload(name, size))
    pair.same(name, method="HEAD")
    pair.warm(name)


@pytest.mark.parametrize("kept", [True, False], ids=["max_size raised", "default max_size"])
def test_huge_file(kind, kept):
    settings = {"conf": CONF[kind], "size": "256m" if kept else "32m"}
    name = "/raised/huge.bin" if kept else "/huge.bin"
    with Pair(kind, **settings) as pair:
        data = pair.put(name[1:], payload(name, HUGE))
        if kept:
            pair.same(name, timeout=30)
            reply = pair.hit(name, timeout=30)
            assert pair.zone.count("bytes_cached") >= HUGE or not pair.ours.zone
        else:
            reply = pair.left_alone(name, timeout=30, reason="max_size")
        assert reply.length == HUGE
        tag = reply.header("ETag")
        check = pair.hit if kept else pair.same
        assert check(name, f"If-None-Match: {tag}").status == 304
        part = check(name, "Range: bytes=150000000-150100000", f"If-Range: {tag}")
        assert (part.status, part.body) == (206, data[150000000:150100001])
        assert check(name, "Range: bytes=-70000").body == data[-70000:]
        assert check(name, method="HEAD").header("Content-Length") == str(HUGE)
        assert pair.zone.unpinned()
