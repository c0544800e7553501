# SPDX-License-Identifier: Apache-2.0
"""Conditional requests: every validator, alone and together."""
import itertools
import os
import time

import pytest

from docroot import payload

FAST = True
OLD, LATE = "Thu, 01 Jan 1998 00:00:00 GMT", "Fri, 01 Jan 2038 00:00:00 GMT"
MTIME = 1700000000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"

TAGS = ["*", "@", "W/@", '"x"', 'W/"x"', '"x", @', '@, "x"', '"x", W/@, "y"', "@,@", '"x""y"', "@ ", "bare", "", '"', '""', "W/", "@@",
        ", @", "@garbage", '*, "x"', ",".join(f'"{n}"' for n in range(200)) + ",@"]
DATES = [DATE, OLD, LATE, "Tuesday, 14-Nov-23 22:13:20 GMT", "Tue Nov 14 22:13:20 2023", "Tue, 14 Nov 2023 22:13:19 GMT",
         "Tue, 14 Nov 2023 22:13:21 GMT", "Tue, 14 Nov 2023 22:13:20", "nonsense", "", "0", "-1", DATE + "; length=1000",
         "Tue, 31 Feb 2023 22:13:20 GMT", "Tue, 14 Nov 9999 22:13:20 GMT"]


def tree(pair):
    for name in ("small.bin", "chunks.bin"):
        pair.put(name, payload(name, 1000 if name == "small.bin" else 200000))
        os.utime(pair.root / name, (MTIME, MTIME))
        pair.warm("/" + name)


@pytest.fixture(scope="module")
def tag(pair):
    return pair.same("/small.bin").header("ETag")


@pytest.mark.parametrize("value", TAGS)
@pytest.mark.parametrize("name", ["If-None-Match", "If-Match"])
def test_tags(pair, tag, name, value):
    for method in ("GET", "HEAD"):
        pair.same("/small.bin", f"{name}: {value.replace('@', tag)}", method=method)


@pytest.mark.parametrize("value", DATES)
@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since"])
def test_dates(pair, name, value):
    for method in ("GET", "HEAD"):
        pair.same("/small.bin", f"{name}: {value}", method=method)


def test_what_the_answers_are(pair, tag):
    """That both servers agree does not show that the question was understood."""
    assert pair.hit("/chunks.bin").status == 200
    assert pair.hit("/small.bin", f"If-None-Match: {tag}").status == 304
    assert pair.hit("/small.bin", "If-None-Match: *").status == 304
    assert pair.hit("/small.bin", f"If-Modified-Since: {DATE}").status == 304
    assert pair.same("/small.bin", 'If-Match: "x"').status == 412
    assert pair.same("/small.bin", f"If-Unmodified-Since: {OLD}").status == 412
    assert pair.hit("/small.bin", f"If-Match: {tag}").status == 200


def test_together(pair, tag):
    none_match = [None, "*", tag, '"x"', f"W/{tag}"]
    match = [None, tag, '"x"']
    since = [None, DATE, OLD, LATE]
    unmodified = [None, DATE, OLD]
    for values in itertools.product(none_match, match, since, unmodified):
        names = ("If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since")
        headers = [f"{n}: {v}" for n, v in zip(names, values) if v is not None]
        if len(headers) > 1:
            pair.same("/small.bin", *headers)


def test_header_given_twice(pair, tag):
    pair.same("/small.bin", 'If-None-Match: "x"', f"If-None-Match: {tag}")
    pair.same("/small.bin", f"If-Modified-Since: {DATE}", f"If-Modified-Since: {OLD}")


def test_other_methods(pair, tag):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        pair.same("/small.bin", f"If-None-Match: {tag}", "Content-Length: 0", method=method)


def test_file_from_the_future_and_before_1970(pair):
    for name, time in (("future.bin", 4102444800), ("epoch.bin", 0), ("ancient.bin", -86400)):
        pair.put(name, payload(name, 100))
        os.utime(pair.root / name, (time, time))
        reply = pair.warm("/" + name)
        for header in (f"If-None-Match: {reply.header('ETag')}", f"If-Modified-Since: {reply.header('Last-Modified')}",
                       f"If-Unmodified-Since: {reply.header('Last-Modified')}", f"If-Modified-Since: {DATE}"):
            pair.same("/" + name, header)
            pair.same("/" + name, header, "Range: bytes=1-2")


def test_file_modified_just_now(pair):
    """httpd calls the validator of a file weak within a second of its change, hence by the time of the request."""
    for number in range(3):
        name = f"now-{number}.bin"
        pair.put(name, payload(name, 100), old=False)
        first = pair.same("/" + name)
        again = pair.same("/" + name, f"If-None-Match: {first.header('ETag')}")
        assert again.status == 304
    time.sleep(1.1)
    later = pair.same("/" + name)
    assert not later.header("ETag").startswith("W/")
