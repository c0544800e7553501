# SPDX-License-Identifier: Apache-2.0
"""Payload from the cache on its way through the server's filters: compression, rewriting of content, includes, limits, errors."""
import gzip
import time

import pytest

from docroot import payload, text
from wire import fetch, get
from zone import STOCK_ONLY

GZIP = "Accept-Encoding: gzip"

CONF = {
    "nginx": """
        location /gzip/ { gzip on; gzip_types text/plain text/css; gzip_min_length 100; gzip_vary on; }
        location /static/ { gzip_static on; gzip_vary on; }
        location /always/ { gzip_static always; gunzip on; }
        location /sub/ { sub_filter fox cat; sub_filter_once off; sub_filter_types text/plain; }
        location /sub-dates/ { sub_filter fox cat; sub_filter_types text/plain; sub_filter_last_modified on; }
        location /ssi/ { ssi on; }
        location /around/ { add_before_body /parts/head.txt; add_after_body /parts/foot.txt; addition_types *; }
        location /charset/ { charset utf-8; source_charset windows-1251; charset_types text/plain; }
        location /postponed/ { postpone_output 2m; }
        location /postponed-ssi/ { postpone_output 2m; ssi on; }
        location /slow/ { limit_rate 200k; }
        location /slow-after/ { limit_rate_after 300k; limit_rate 200k; }
        location /slice/ { proxy_pass http://127.0.0.1:@PORT@/parts/; }
        location /errors/ { error_page 404 /parts/error.html; error_page 403 =200 /parts/error.html; error_page 405 /parts/error.html;
            location /errors/denied { deny all; } }
        location /error-named/ { error_page 404 = @named; }
        location @named { root @ROOT@/parts; try_files /error.html =500; }
        location /error-loop/ { error_page 404 /error-loop/missing; recursive_error_pages on; }
        location /auth/ { auth_request /parts/small.txt; }
        location /mirror/ { mirror /parts/small.txt; }
        location /both/ { gzip on; gzip_types text/plain; gzip_min_length 1; sub_filter fox cat; sub_filter_once off; sub_filter_types *;
            limit_rate 2m; add_header X-Both yes; }
    """,
    "httpd": """
        AddType text/html .shtml
        <Directory @ROOT@/gzip>\nAddOutputFilterByType DEFLATE text/plain text/css text/html\n</Directory>
        <Directory @ROOT@/static>
            RewriteEngine on
            RewriteCond %{HTTP:Accept-Encoding} gzip
            RewriteCond %{REQUEST_FILENAME}.gz -f
            RewriteRule ^(.*)$ $1.gz [L]
            AddEncoding x-gzip .gz
            Header append Vary Accept-Encoding
        </Directory>
        <Directory @ROOT@/always>\nSetOutputFilter INFLATE\nAddEncoding gzip .gz\n</Directory>
        <Directory @ROOT@/sub>\nSetOutputFilter SUBSTITUTE\nSubstitute s/fox/cat/n\n</Directory>
        <Directory @ROOT@/sub-dates>\nAddOutputFilterByType SUBSTITUTE text/plain\nSubstitute s/fox/cat/n\n</Directory>
        <Directory @ROOT@/ssi>\nOptions +Includes\nAddOutputFilter INCLUDES .shtml\nXBitHack off\n</Directory>
        <Directory @ROOT@/slow>\nSetOutputFilter RATE_LIMIT\nSetEnv rate-limit 200\n</Directory>
        <Directory @ROOT@/slow-after>\nSetOutputFilter RATE_LIMIT\nSetEnv rate-limit 200\nSetEnv rate-initial-burst 300\n</Directory>
        <Location /errors>\nErrorDocument 404 /parts/error.html\nErrorDocument 403 /parts/error.html\n</Location>
        <Location /errors/denied>\nRequire all denied\n</Location>
        <Location /error-named>\nErrorDocument 404 "plain words"\n</Location>
        <Location /error-loop>\nErrorDocument 404 /error-loop/missing\n</Location>
        <Directory @ROOT@/both>\nSetOutputFilter SUBSTITUTE;DEFLATE\nSubstitute s/fox/cat/n\nHeader set X-Both yes\n</Directory>
        <Directory @ROOT@/buffered>\nSetOutputFilter CONTENT_LENGTH\n</Directory>
    """,
}

OUTER = {"nginx": "charset_map windows-1251 utf-8 { C0 D090; }"}

SSI = """<!--#include virtual="/parts/small.txt" -->|<!--#include virtual="/parts/large.txt" -->|<!--#include virtual="/parts/missing" -->
<!--#include virtual="/parts/empty.txt" -->|<!--#include virtual="/ssi/inner.shtml" -->|<!--#set var="x" value="y" --><!--#echo var="x" -->
<!--#if expr="$x = y" -->yes<!--#else -->no<!--#endif -->
"""
SIZES = {"small.txt": 800, "large.txt": 200000, "empty.txt": 0, "chunk.txt": 65536}
PLACES = ["gzip", "static", "always", "sub", "sub-dates", "around", "charset", "both", "buffered", "auth", "mirror", "parts"]


def tree(pair):
    for place in PLACES + ["slow", "slow-after"]:
        for name, size in SIZES.items():
            data = pair.put(f"{place}/{name}", text(f"{place}/{name}", size))
            if place in ("static", "always"):
                pair.put(f"{place}/{name}.gz", gzip.compress(data, mtime=0))
    for name in ("head.txt", "foot.txt", "error.html"):
        pair.put(f"parts/{name}", text(name, 700))
    pair.put("parts/plain.bin", payload("plain", 90000))
    pair.put("ssi/page.shtml", SSI.encode())
    pair.put("ssi/inner.shtml", b"inner <!--#include virtual=\"/parts/small.txt\" -->")
    pair.put("ssi/large.shtml", (SSI * 12).encode() + text("rest", 150000))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("place", PLACES)
def test_filtered(pair, place, name):
    target = f"/{place}/{name}"
    for _ in range(2):
        plain = pair.same(target)
        packed = pair.same(target, GZIP)
        if packed.header("Content-Encoding") == "gzip" and packed.body and place not in ("always", "around"):
            assert gzip.decompress(packed.body) == plain.body
        pair.same(target, GZIP, version="HTTP/1.0")
        pair.same(target, method="HEAD")
        pair.same(target, GZIP, method="HEAD")
        pair.same(target, "Range: bytes=10-70")
        pair.same(target, GZIP, "Range: bytes=10-70")
        pair.same(target, "If-None-Match: *")
        for reply, header in ((plain, None), (packed, GZIP)):
            if tag := reply.header("ETag"):
                pair.same(target, f"If-None-Match: {tag}", *([header] if header else []))
                pair.same(target, f"If-Range: {tag}", "Range: bytes=5-9")


@pytest.mark.parametrize("place", ["gzip", "sub", "both"])
def test_filtered_reply_is_a_hit(pair, place):
    reply = pair.warm(f"/{place}/large.txt", GZIP)
    assert reply.status == 200
    assert b"cat" in pair.same(f"/{place}/large.txt").body or place == "gzip"


def test_what_compression_says(pair):
    """The comparison is worth nothing if nothing was compressed."""
    reply = pair.warm("/gzip/large.txt", GZIP)
    assert reply.header("Content-Encoding") == "gzip" and reply.length < SIZES["large.txt"] / 3
    static = pair.same("/static/large.txt", GZIP)
    assert static.header("Content-Encoding") in ("gzip", "x-gzip")
    assert gzip.decompress(static.body) == text("static/large.txt", SIZES["large.txt"])


def test_precompressed_file_comes_and_goes(pair):
    data = pair.put("static/late.txt", text("late", 5000))
    assert pair.same("/static/late.txt", GZIP).body == data
    pair.put("static/late.txt.gz", gzip.compress(data, mtime=0))
    assert gzip.decompress(pair.same("/static/late.txt", GZIP).body) == data
    assert pair.same("/static/late.txt").body == data
    (pair.root / "static/late.txt.gz").unlink()
    time.sleep(0.3)
    assert pair.same("/static/late.txt", GZIP).body == data


@pytest.mark.parametrize("name", ["page.shtml", "large.shtml", "inner.shtml"])
def test_includes(pair, name):
    for _ in range(3):
        reply = pair.same(f"/ssi/{name}")
        assert text("parts/small.txt", 800) in reply.body
        pair.same(f"/ssi/{name}", method="HEAD")
        pair.same(f"/ssi/{name}", version="HTTP/1.0")
        pair.same(f"/ssi/{name}", "Range: bytes=0-9")
        pair.same(f"/ssi/{name}", "If-None-Match: *")


def test_included_files_come_from_the_cache(pair):
    pair.same("/ssi/inner.shtml")
    hits = pair.zone.hits()
    pair.same("/ssi/inner.shtml")
    assert pair.zone.grows("hits", hits, 1)


POSTPONED = {"postponed/file.bin": payload("postponed", 700000), "postponed/large.bin": payload("large", 3 << 20),
             "postponed/small.bin": payload("small", 300000),
             "postponed-ssi/page.shtml": b'<!--#include virtual="/postponed/large.bin" -->',
             "postponed-ssi/large.shtml": (SSI + text("more", 80000).decode("latin-1")).encode("latin-1") * 12}


@pytest.mark.parametrize("name", POSTPONED)
def test_postponed_output(pair, name):
    """nginx may be told to hold back more than is pinned of a file at a time; nothing may wait for that."""
    pair.put(name, POSTPONED[name])
    for _ in range(3):
        assert pair.same(f"/{name}", timeout=4).status == 200


def test_changed_include(pair):
    for words in (b"first words", b"second and more words"):
        pair.put("parts/changing.txt", words)
        pair.put("ssi/changing.shtml", b'<!--#include virtual="/parts/changing.txt" -->')
        time.sleep(0.3)
        assert words in pair.same("/ssi/changing.shtml").body


@pytest.mark.parametrize("place, least", [("slow", 0.7), ("slow-after", 0.0)])
def test_rate_limit(pair, place, least):
    target = f"/{place}/limited.txt"
    data = pair.put(target[1:], text(target, 400000))
    for _ in range(2):
        time.sleep(1.05 - time.time() % 1)  # nginx counts whole seconds of its clock, the one a request begins in as a full one
        begin = time.monotonic()
        reply = fetch(pair.ours.port, get(target))
        seconds = time.monotonic() - begin
        assert reply.body == data
        assert least <= seconds <= least + 3
    assert fetch(pair.stock.port, get(target)).comparable() == reply.comparable()


ERRORS = ["/errors/missing", "/errors/denied", "/errors/denied/x", "/error-named/missing", "/error-loop/missing", "/parts/missing"]


@pytest.mark.parametrize("target", ERRORS)
def test_error_documents(pair, target):
    for _ in range(2):
        pair.same(target)
        pair.same(target, method="HEAD")
        pair.same(target, "If-None-Match: *")
        pair.same(target, "If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT")
        pair.same(target, "Range: bytes=0-5")
        pair.same(target, version="HTTP/1.0")
    pair.same(target, "Content-Length: 0", method="POST")


def test_error_document_keeps_its_status(pair):
    for _ in range(3):
        reply = pair.same("/errors/missing")
        assert reply.status == 404 and reply.body == text("error.html", 700)
    assert pair.same("/parts/error.html").status == 200


def test_error_document_changes(pair):
    pair.same("/errors/missing")
    pair.put("parts/error.html", b"<p>other words</p>")
    time.sleep(0.3)
    assert pair.same("/errors/missing").body == b"<p>other words</p>"
    pair.put("parts/error.html", text("error.html", 700))
    time.sleep(0.3)


def test_proxied_from_the_cache(pair):
    """The server fetches from itself, so that one reply's payload is pinned while another is read."""
    if pair.kind == "nginx":
        pair.same("/parts/large.txt")
        reply = fetch(pair.ours.port, get("/slice/large.txt"))
        assert reply.body == text("parts/large.txt", SIZES["large.txt"])
    assert STOCK_ONLY or pair.zone.unpinned()
