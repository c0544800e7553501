# SPDX-License-Identifier: Apache-2.0
"""nginx's fast path: replies that other modules' directives make depend on what the fast path does not look at."""
import gzip
import time

import pytest

from pair import Pair
from test_fast_path import checked
from wire import exchange, get
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

FAST = "afpa_fast_path on; afpa_access_log off;"
OUTER = "map $http_x_src $src { default koi8-r; utf-8 utf-8; } charset_map koi8-r utf-8 { A3 D191; }"
NOT_ADMITTED = {
    "source": "charset koi8-r; override_charset on; charset_types *; source_charset $src;",
    "substitute": "sub_filter_types *; sub_filter_last_modified on; sub_filter $http_x_from y;",
    "second": "sub_filter_types *; sub_filter_last_modified on; sub_filter $http_x_from y; sub_filter $http_x_other y;",
    "zipped": "gzip_static on; gzip_vary on;",
    "zipped-outside": "gzip_static on; location /zipped-outside/a.txt { gzip_vary on; }",
    "vary-outside": "gzip_vary on; location /vary-outside/a.txt { gzip_static on; }",
    "type": "types { } default_type \"\"; add_header Content-Type text/x-more;",
    "ranges": "add_header accept-ranges none; max_ranges 0;",
    "coding": "add_header Content-Encoding identity;",
}
ADMITTED = {
    "plain": "",
    "no-source": "charset koi8-r; charset_types *; source_charset koi8-r;",
    "zipped-only": "gzip_static on;",
    "vary-only": "gzip_vary on;",
    "unzipped": "gzip_static on; gzip_vary on; location /unzipped/a.txt { gzip_static off; }",
    "no-variable": "sub_filter $http_x_from y; location /no-variable/a.txt { sub_filter no y; sub_filter_types text/x-none; }",
}
SPECIAL = ([], ["X-Src: utf-8"], ["X-From: aaaa"], ["If-None-Match: *"], ["Accept-Encoding: gzip"])


@pytest.fixture(scope="module")
def pair():
    conf = "".join(f"location /{name}/ {{ {text} }}\n" for name, text in {**NOT_ADMITTED, **ADMITTED}.items())
    with Pair("nginx", conf=FAST + conf, outer=OUTER, revalidate=3600000) as pair:
        for name in (*NOT_ADMITTED, *ADMITTED):
            pair.put(f"{name}/a.txt", b"hello \xd1\x91 aaaa " + name.encode() * 20)
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()


@pytest.mark.parametrize("place", NOT_ADMITTED)
def test_not_admitted(pair, place):
    before = pair.zone.count("fast_hits")
    for _ in range(4):
        for headers in SPECIAL:
            pair.same(f"/{place}/a.txt", *headers)
        time.sleep(0.02)
    assert pair.zone.count("fast_hits") == before


@pytest.mark.parametrize("place", ADMITTED)
def test_admitted(pair, place):
    assert pair.admit(f"/{place}/a.txt")
    for headers in SPECIAL:
        pair.same(f"/{place}/a.txt", *headers)


@pytest.mark.parametrize("place", ["zipped", "zipped-only"])
def test_a_compressed_file_comes_and_goes(pair, place):
    """Whether it is there is in everyone's Vary, if gzip_vary is on."""
    target, zipped = f"/{place}/a.txt", pair.root / place / "a.txt.gz"
    for _ in range(3):
        for headers in SPECIAL:
            pair.same(target, *headers)
        time.sleep(0.02)
    pair.put(f"{place}/a.txt.gz", gzip.compress(b"hello"))
    for headers in SPECIAL:
        pair.same(target, *headers)
    zipped.unlink()
    for headers in SPECIAL:
        pair.same(target, *headers)


def test_two_content_ranges(pair):
    """nginx knows the field, and has it once only."""
    assert pair.admit("/plain/a.txt")
    for fields in (["Content-Range: bytes 0-0/1"], ["Content-Range: bytes 0-0/1", "CONTENT-range: bytes 0-0/1"]):
        before = pair.zone.count("fast_hits")
        raw = get("/plain/a.txt", *fields, "Connection: close")
        assert exchange(pair.ours.port, raw) == exchange(pair.stock.port, raw)
        assert pair.zone.count("fast_hits") == before


SHORT = "large_client_header_buffers 4 4k; "
OTHER = "} server { listen 127.0.0.1:@PORT@%s; server_name other; " + FAST


def test_short_heads_of_the_default_server():
    """What comes before Host is read as the default server has it."""
    status, said = checked(SHORT + OTHER % "")
    assert status != 0 and 'whose address\'s default server\'s "large_client_header_buffers" have 4096 bytes' in said
    status, said = checked("large_client_header_buffers 4 8k; " + OTHER % "")
    assert status == 0, said
    status, said = checked(SHORT + OTHER % " default_server")
    assert status == 0, said
    status, said = checked(SHORT + OTHER.replace("PORT", "PORT2") % "")
    assert status == 0, said


NO_FILE = [("syslog:server=127.0.0.1", '"syslog:server=127.0.0.1": lines of the fast path are written to files, not to syslog'),
           ("@DIR@/$host.log", '/$host.log": a path cannot contain variables'),
           ("off combined", '"combined": nothing can follow "off"')]


@pytest.mark.parametrize("words, why", NO_FILE)
def test_no_file(words, why):
    """What access_log takes, and this does not, is not a file of that name."""
    status, said = checked(f"afpa_fast_path on; afpa_access_log {words};")
    assert status != 0 and why in said and "afpa_access_log: " in said
