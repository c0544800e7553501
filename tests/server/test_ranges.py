# SPDX-License-Identifier: Apache-2.0
"""Range and If-Range: what stands in the standard, and what clients send instead."""
import pytest

from docroot import payload
from wire import Wire, get

FAST = True
CONF = {"nginx": "location /trailers/ { add_trailer X-Trailer 1; }"}
FILES = {"/small.bin": 1000, "/chunks.bin": 300000, "/empty.bin": 0}

SINGLE = ["bytes=0-", "bytes=0-0", "bytes=1-10", "bytes=999-", "bytes=-1", "bytes=-1000", "bytes=-5000000", "bytes=0-5000000",
          "bytes=990-999", "bytes=65535-65536", "bytes=65536-131071", "bytes=10-131080", "bytes = 0-1", "Bytes=0-1", "bytes=0-0,"]
UNSATISFIABLE = ["bytes=1000000-", "bytes=300000-", "bytes=300000-300001", "bytes=-0", "bytes=5000000-6000000"]
MULTI = ["bytes=0-0,-1", "bytes=0-1,5-6,10-20", "bytes=0-10,5-15", "bytes=5-15,0-10", "bytes=0-0,65536-65540,-10",
         "bytes=0-0,2000000-", "bytes=0-,0-,0-", "bytes=0-1, 4-5 ,  8-9", "bytes=100-199,0-99", "bytes=0-65535,65536-131071",
         "bytes=" + ",".join(f"{n * 10}-{n * 10 + 3}" for n in range(80)),
         "bytes=" + ",".join(f"{n}-{n}" for n in range(300))]
MALFORMED = ["bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-1", "bytes=1", "bytes=--1", "bytes=0x1-2", "bytes=1-2-3", "lines=0-1",
             "bytes=99999999999999999999-", "bytes=0-99999999999999999999", "bytes=0-1;2-3", "bytes=,", "bytes=0-1,x", "0-1", ""]


def tree(pair):
    for name, size in FILES.items():
        pair.put(name[1:], payload(name, size))
        pair.warm(name)
    pair.put("trailers/chunks.bin", payload("trailers", FILES["/chunks.bin"]))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("value", SINGLE + UNSATISFIABLE + MULTI + MALFORMED)
def test_range(pair, value, method):
    for name in FILES:
        pair.same(name, f"Range: {value}", method=method)


@pytest.mark.parametrize("value", SINGLE[:12])
def test_single_range_is_a_hit(pair, value):
    reply = pair.hit("/chunks.bin", f"Range: {value}")
    whole = payload("/chunks.bin", FILES["/chunks.bin"])
    first, _, last = value.partition("=")[2].partition("-")
    want = whole[-int(last):] if not first else whole[int(first):int(last) + 1 if last else None]
    assert (reply.status, reply.body) == (206, want) or len(want) == len(whole)


def test_every_edge_of_a_chunk(pair):
    whole = payload("/chunks.bin", FILES["/chunks.bin"])
    for edge in (65536, 131072, 262144):
        for first in (edge - 1, edge, edge + 1):
            for last in (edge - 1, edge, edge + 1, edge + 65536):
                if first <= last < len(whole):
                    reply = pair.same("/chunks.bin", f"Range: bytes={first}-{last}")
                    assert (reply.status, reply.body) == (206, whole[first:last + 1])


@pytest.mark.parametrize("value", SINGLE + UNSATISFIABLE + MALFORMED)
def test_range_with_trailers(pair, value):
    """nginx's reply then has no Content-Length, and the replies behind it are those to the requests behind it."""
    raw = get("/trailers/chunks.bin", f"Range: {value}") + get("/small.bin") + get("/trailers/chunks.bin", "Connection: close")
    assert pair.warm("/trailers/chunks.bin").length == FILES["/chunks.bin"]
    with Wire(pair.ours.port) as ours, Wire(pair.stock.port) as stock:
        for wire in (ours, stock):
            wire.send(raw)
        for _ in range(3):
            assert ours.reply().comparable() == stock.reply().comparable()


def validators(reply):
    tag, date = reply.header("ETag"), reply.header("Last-Modified")
    return {"tag": tag, "date": date, "weak tag": f"W/{tag}", "other tag": '"nothing"', "later date": "Fri, 01 Jan 2038 00:00:00 GMT",
            "earlier date": "Thu, 01 Jan 1998 00:00:00 GMT", "star": "*", "nonsense": "nonsense", "bare tag": tag.strip('"'),
            "list": f'{tag}, "x"', "empty": ""}


@pytest.mark.parametrize("which", ["tag", "date", "weak tag", "other tag", "later date", "earlier date", "star", "nonsense",
                                   "bare tag", "list", "empty"])
def test_if_range(pair, which):
    for name in FILES:
        value = validators(pair.same(name))[which]
        for value_range in ("bytes=10-20", "bytes=0-1,5-9", "bytes=5000000-"):
            pair.same(name, f"Range: {value_range}", f"If-Range: {value}")
    pair.same("/small.bin", f"If-Range: {value}")


def test_range_with_conditions(pair):
    reply = pair.same("/small.bin")
    tag, date = reply.header("ETag"), reply.header("Last-Modified")
    for header in (f"If-None-Match: {tag}", 'If-None-Match: "x"', f"If-Match: {tag}", 'If-Match: "x"', f"If-Modified-Since: {date}",
                   f"If-Unmodified-Since: {date}", "If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT"):
        pair.same("/small.bin", "Range: bytes=1-5", header)
        pair.same("/small.bin", "Range: bytes=5000-", header)


def test_two_range_headers(pair):
    pair.same("/small.bin", "Range: bytes=1-5", "Range: bytes=7-9")
    pair.same("/small.bin", "Request-Range: bytes=1-5")


def test_request_in_http_1_0(pair):
    pair.same("/small.bin", "Range: bytes=1-5", version="HTTP/1.0")
    pair.same("/small.bin", "Range: bytes=1-5,7-9", version="HTTP/1.0")
