# SPDX-License-Identifier: Apache-2.0
"""nginx's fast path: the index of a directory, whose first name it may answer with, and nothing else."""
import os
import time

import pytest

from docroot import payload
from pair import Pair
from wire import Wire, fetch, get, head
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

FAST = "afpa_fast_path on; afpa_access_log off;"
ADMITTED = {
    "plain": "location /plain/ { }",
    "named": "location /named/ { index start.txt index.html; }",
    "twice": "location /twice/ { index start.txt; index index.html; }",
    "deeper": "location /deeper/ { index down/below.html; }",
    "exact": "location = /exact/ { } location /exact/ { add_header X-Place target; }",
    "target": "location /target/ { } location = /target/index.html { add_header X-Place target; expires 1d; }",
    "tries": "location = /tries/ { } location /tries/ { try_files $uri =404; }",
}
NOT_ADMITTED = {
    "second": "location /second/ { index first.html index.html; }",
    "variable": "location /variable/ { index $arg_x.html index.html; }",
    "absolute": "location /absolute/ { index /plain/index.html; }",
    "try": "location /try/ { try_files $uri $uri/index.html =404; }",
    "fallback": "location = /fallback/ { try_files $uri /fallback/index.html; } location /fallback/ { }",
    "root": "location = /root/ { root @ROOT@/other; } location /root/ { }",
    "alias": "location /alias/ { alias @ROOT@/plain/; }",
    "off": "location = /off/ { afpa_fast_path off; } location /off/ { }",
    "cold": "location = /cold/ { afpa off; } location /cold/ { }",
    "target-off": "location = /target-off/index.html { afpa_fast_path off; }",
    "target-var": "location = /target-var/index.html { add_header X-Client $arg_x; }",
    "directory-var": "location = /directory-var/ { add_header X-Client $arg_x; } location /directory-var/ { }",
    "bypass": "location = /bypass/ { afpa_bypass $arg_x; } location /bypass/ { }",
    "random": "location = /random/ { random_index on; } location /random/ { }",
    "links": "location = /links/ { disable_symlinks on; } location /links/ { }",
    "error": "location = /error/ { return 403; error_page 403 =200 /error/index.html; } location /error/ { }",
    "rewritten": "location = /rewritten/ { afpa_fast_path off; rewrite ^ /rewritten/index.html last; } location /rewritten/ { }",
}

WHOLE = "location /whole/ { try_files $uri /whole/instead.bin =404; }"


@pytest.fixture(scope="module")
def pair():
    conf = FAST + WHOLE + "".join((*ADMITTED.values(), *NOT_ADMITTED.values()))
    with Pair("nginx", conf=conf, revalidate=3600000) as pair:
        for place in ("", *(f"{place}/" for place in (*ADMITTED, *NOT_ADMITTED)), "other/root/", "sub/"):
            pair.put(f"{place}index.html", payload(place, 1000))
        for place in ("named/start.txt", "twice/start.txt", "deeper/down/below.html"):
            pair.put(place, payload(place, 1200))
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert "signal 11" not in pair.ours.log() and "signal 6" not in pair.ours.log()


@pytest.mark.parametrize("target", ["/", "/?query", "/sub/", "/s%75b/", *(f"/{place}/" for place in ADMITTED)])
def test_admitted(pair, target):
    assert pair.admit(target)
    before = pair.zone.count("fast_hits")
    tag = fetch(pair.stock.port, get(target)).header("ETag")
    for more in ([], ["Connection: close"], [f"If-None-Match: {tag}"], ["If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT"]):
        for method in ("GET", "HEAD"):
            pair.same(target, *more, method=method)
    assert pair.zone.grows("fast_hits", before, 8)


@pytest.mark.parametrize("place", NOT_ADMITTED)
def test_not_admitted(pair, place):
    pair.same(f"/{place}/index.html")
    before = pair.zone.count("fast_hits")
    for _ in range(6):
        pair.same(f"/{place}/")
        pair.same(f"/{place}/?x=index")
        time.sleep(0.01)
    assert pair.zone.count("fast_hits") == before


def test_only_what_was_asked_for(pair):
    """try_files in the place of a file that is not there: the file would be served on when it is."""
    pair.put("whole/instead.bin", payload("instead", 1000))
    before = pair.zone.count("fast_hits")
    for _ in range(6):
        assert pair.same("/whole/page").body == payload("instead", 1000)
        time.sleep(0.01)
    assert pair.zone.count("fast_hits") == before
    pair.put("whole/page", payload("page", 1000))
    assert pair.same("/whole/page").body == payload("page", 1000)
    assert pair.admit("/whole/page")


def test_directories_without_an_index(pair):
    (pair.root / "empty").mkdir(exist_ok=True)
    before = pair.zone.count("fast_hits")
    for target in ("/empty/", "/empty", "/missing/"):
        for _ in range(4):
            assert pair.same(target).status in (403, 301, 404)
    assert pair.zone.count("fast_hits") == before


def test_among_other_requests(pair):
    """What was remembered of a directory is of no other request on the connection."""
    assert pair.admit("/") and pair.admit("/sub/")
    others = [get("/"), get("/second/"), get("/plain/index.html"), get("/off/"), head("/sub/"), get("/missing"), get("/plain/"),
              get("/error/"), get("/index.html"), get("/empty/"), get("/try/"), get("/")]
    before = pair.zone.count("fast_hits")
    for _ in range(3):
        with Wire(pair.ours.port) as ours, Wire(pair.stock.port) as theirs:
            for raw in others:  # one at a time, so that the connection goes back and forth
                assert ours.request(raw).comparable() == theirs.request(raw).comparable()
    assert pair.zone.grows("fast_hits", before, 3 * 4)
    pair.same_bytes(b"".join(others * 3) + get("/", "Connection: close"))  # at once: what nginx has begun, it goes on with


# ---- changes ----

@pytest.fixture
def changing():
    with Pair("nginx", conf=FAST + "location /two/ { index a.html b.html; }", revalidate=300) as pair:
        for name in ("index.html", "two/a.html", "two/b.html"):
            pair.put(name, payload(name, 2000))
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()


def test_index_changes(changing):
    assert changing.admit("/")
    changing.put("index.html", payload("new", 1500))
    time.sleep(0.35)
    assert fetch(changing.ours.port, get("/")).body == payload("new", 1500)
    assert changing.admit("/")


def test_index_vanishes_and_comes_back(changing):
    """Each change is seen after afpa_revalidate; the second name is served at once, and never from the fast path."""
    assert changing.admit("/two/")
    (changing.root / "two/a.html").rename(changing.root / "two/kept")
    time.sleep(0.35)
    before = changing.zone.count("fast_hits")
    for _ in range(6):
        assert changing.same("/two/").body == payload("two/b.html", 2000)
        time.sleep(0.02)
    assert changing.zone.count("fast_hits") == before
    (changing.root / "two/kept").rename(changing.root / "two/a.html")
    assert changing.same("/two/").body == payload("two/a.html", 2000)
    assert changing.admit("/two/")
    os.unlink(changing.root / "two/a.html")
    os.unlink(changing.root / "two/b.html")
    time.sleep(0.35)
    assert changing.same("/two/").status == 403


def test_directory_vanishes(changing):
    assert changing.admit("/two/")
    (changing.root / "two").rename(changing.root / "gone")
    time.sleep(0.35)
    assert changing.same("/two/").status == 404
    assert changing.same("/gone/").status == 403
