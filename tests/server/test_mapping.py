# SPDX-License-Identifier: Apache-2.0
"""From a URL to a file and to its headers, as the server maps them: alias, index, try_files, rewriting, types, ETags, expiry."""
import pytest

from docroot import mkdir, payload, settle, text
from wire import Wire, get

CONF = {
    "nginx": """
        location /try/ { try_files $uri $uri/ /try/fallback.html; }
        location /named/ { try_files $uri @elsewhere; }
        location @elsewhere { root @ROOT@/elsewhere; try_files /fixed.bin =404; }
        location /alias/ { alias @ROOT@/real/; }
        location = /exact { alias @ROOT@/real/file.bin; }
        location ~ ^/re/(.+)\\.dat$ { alias @ROOT@/real/$1.bin; }
        location /list/ { autoindex on; autoindex_exact_size on; }
        location /index/ { index first.html index.html; }
        location /rewrite/ { rewrite ^/rewrite/(.*)$ /real/$1 last; }
        location /break/ { rewrite ^/break/(.*)$ /real/$1 break; }
        location /redirect/ { rewrite ^/redirect/(.*)$ /real/$1 redirect; }
        location /return/ { return 200 "short"; }
        location /rooted/ { root @ROOT@/elsewhere; }
        location /variable/ { root @ROOT@/$arg_dir; }
        location /types/ { types { text/x-odd bin; } default_type text/x-default; charset utf-8; charset_types text/x-odd; }
        location /noetag/ { etag off; }
        location /since/ { if_modified_since before; }
        location /ignore/ { if_modified_since off; }
        location /headers/ { add_header X-One 1; add_header X-Always 2 always; add_header X-Var $uri; add_header Cache-Control "public"; }
        location /expires/ { expires 1h; }
        location /modified/ { expires modified +10s; }
        location /epoch/ { expires epoch; }
        location /maxed/ { expires max; }
        location /ranges/ { max_ranges 0; }
        location /direct/ { sendfile off; directio 4k; }
        location /nosendfile/ { sendfile off; output_buffers 1 4k; }
        location /aio/ { aio threads; }
        location /chunky/ { sendfile_max_chunk 16k; }
        location /postpone/ { postpone_output 0; tcp_nodelay off; }
        location /noalive/ { keepalive_timeout 0; }
        location /slashes/ { root @ROOT@; }
        location /openfile/ { open_file_cache max=10; open_file_cache_valid 1s; open_file_cache_errors on; }
        location /limit/ { limit_except GET HEAD { deny all; } }
        merge_slashes on;
    """,
    "httpd": """
        FallbackResource disabled
        <Directory @ROOT@/try>\nFallbackResource /try/fallback.html\n</Directory>
        Alias /alias/ @ROOT@/real/
        Alias /exact @ROOT@/real/file.bin
        AliasMatch ^/re/(.+)\\.dat$ @ROOT@/real/$1.bin
        <Directory @ROOT@/list>\nOptions +Indexes\nIndexOptions FancyIndexing\n</Directory>
        <Directory @ROOT@/index>\nDirectoryIndex first.html index.html\n</Directory>
        RewriteEngine on
        RewriteRule ^/rewrite/(.*)$ /real/$1 [PT]
        RewriteRule ^/break/(.*)$ @ROOT@/real/$1 [L]
        RewriteRule ^/redirect/(.*)$ /real/$1 [R]
        Redirect gone /return/
        <Directory @ROOT@/types>\nAddType text/x-odd .bin\nAddCharset utf-8 .bin\nAddLanguage en .bin\n</Directory>
        <Directory @ROOT@/forced>\nForceType text/x-forced\n</Directory>
        <Directory @ROOT@/encoded>\nAddEncoding x-odd .bin\n</Directory>
        <Directory @ROOT@/charset>\nAddDefaultCharset utf-8\n</Directory>
        <Directory @ROOT@/noetag>\nFileETag None\n</Directory>
        <Directory @ROOT@/inode>\nFileETag INode MTime Size\n</Directory>
        <Directory @ROOT@/sizetag>\nFileETag Size\n</Directory>
        <Directory @ROOT@/digest>\nFileETag Digest\n</Directory>
        <Directory @ROOT@/headers>
            Header set X-One 1
            Header always set X-Always 2
            Header set X-Uri "expr=%{REQUEST_URI}"
            Header append Cache-Control public
            Header unset Last-Modified
            Header edit ETag "^(.*)$" "$1"
        </Directory>
        <Directory @ROOT@/expires>\nExpiresActive on\nExpiresDefault "access plus 1 hour"\n</Directory>
        <Directory @ROOT@/modified>\nExpiresActive on\nExpiresByType application/octet-stream "modification plus 10 seconds"\n</Directory>
        <Directory @ROOT@/nosendfile>\nEnableSendfile off\nEnableMMAP off\n</Directory>
        <Directory @ROOT@/direct>\nEnableSendfile on\n</Directory>
        <Directory @ROOT@/ranges>\nMaxRanges none\n</Directory>
        <Directory @ROOT@/limit>\nAllowMethods GET\n</Directory>
        <Directory @ROOT@/views>\nOptions +MultiViews\nAddLanguage en .en\nAddLanguage de .de\n</Directory>
        <Directory @ROOT@/pathinfo>\nAcceptPathInfo on\n</Directory>
        <Directory @ROOT@/handler>\nSetHandler default-handler\n</Directory>
        <Files named.bin>\nHeader set X-Files yes\n</Files>
        <If "%{QUERY_STRING} == 'odd'">\nHeader set X-If yes\n</If>
    """,
}

# Places whose only difference is in headers or in how the server would have read the file.
PLAIN = ["types", "forced", "encoded", "charset", "noetag", "inode", "sizetag", "digest", "since", "ignore", "headers", "expires", "modified",
         "epoch", "maxed", "ranges", "direct", "nosendfile", "aio", "chunky", "postpone", "noalive", "openfile", "limit", "handler",
         "pathinfo", "slashes", "variable"]
MTIME = "Tue, 14 Nov 2023 22:13:20 GMT"


def tree(pair):
    for place in PLAIN + ["real", "try", "list", "index", "named"]:
        pair.put(f"{place}/file.bin", payload(place, 70000))
        pair.put(f"{place}/named.bin", payload(place, 500))
    for name in ("try/fallback.html", "try/dir/index.html", "index/first.html", "index/second/index.html", "index.html"):
        pair.put(name, text(name, 3000))
    pair.put("elsewhere/fixed.bin", payload("fixed", 4000))
    pair.put("elsewhere/rooted/file.bin", payload("rooted", 4000))
    pair.put("sub/variable/file.bin", payload("variable", 4000))
    for name in ("page.html.en", "page.html.de"):
        pair.put(f"views/{name}", text(name, 2000))
    mkdir(pair.root / "empty")
    for number in range(5):
        pair.put(f"list/{number}.txt", text(number, number * 700))
    settle()


def same_in_many_ways(pair, target):
    first = pair.same(target)
    pair.same(target, method="HEAD")
    again = pair.same(target)
    for header in (f"If-None-Match: {first.header('ETag')}", f"If-Modified-Since: {first.header('Last-Modified')}",
                   f"If-Modified-Since: {MTIME}", "Range: bytes=10-99", "Range: bytes=1-2,5-6", "Accept-Encoding: gzip",
                   "Accept-Language: de"):
        pair.same(target, header)
    return again


@pytest.mark.parametrize("place", PLAIN)
def test_headers_of_a_place(pair, place):
    for name in ("file.bin", "named.bin"):
        reply = same_in_many_ways(pair, f"/{place}/{name}")
        assert reply.status == 200 or place == "variable"
    pair.same(f"/{place}/missing.bin")
    pair.same(f"/{place}/file.bin", "Content-Length: 0", method="POST")


@pytest.mark.parametrize("place", ["types", "noetag", "headers", "expires", "modified", "nosendfile", "ranges"])
def test_place_is_served_from_the_cache(pair, place):
    pair.warm(f"/{place}/file.bin")


@pytest.mark.parametrize("target", [
    "/", "/index.html", "/index", "/index/", "/index/second/", "/index/second", "/empty/", "/empty", "/list/", "/list", "/list/0.txt",
    "/list/?C=S;O=D", "/try/file.bin", "/try/nothing", "/try/dir", "/try/dir/", "/named/file.bin", "/named/nothing", "/alias/file.bin",
    "/alias/missing", "/alias/", "/alias", "/exact", "/exact/", "/exact/more", "/re/file.dat", "/re/missing.dat", "/re/../re/file.dat",
    "/rewrite/file.bin", "/rewrite/missing", "/break/file.bin", "/redirect/file.bin", "/return/", "/return/x", "/rooted/file.bin",
    "/variable/file.bin?dir=sub", "/variable/file.bin?dir=nothing", "/variable/file.bin?dir=", "/views/page.html", "/views/page",
    "/views/page.html.en", "/file.bin/more", "/pathinfo/file.bin/more/info", "/real/file.bin?odd", "/real//file.bin", "/real/./file.bin",
    "/real/x/../file.bin", "//real///file.bin", "/REAL/file.bin", "/real"])
def test_mapping(pair, target):
    same_in_many_ways(pair, target)


@pytest.mark.parametrize("target", ["/", "/index/", "/try/file.bin", "/alias/file.bin", "/exact", "/re/file.dat", "/rewrite/file.bin",
                                    "/break/file.bin", "/real/file.bin?x=y", "/real/%66ile.bin", "/try/nothing"])
def test_mapped_file_is_a_hit(pair, target):
    pair.warm(target)


def test_one_object_for_all_names_of_a_file(pair):
    """Payload is found by path: alias, rewriting and the plain URL share it."""
    pair.warm("/real/file.bin")
    fills = pair.zone.count("fills")
    for target in ("/alias/file.bin", "/exact", "/re/file.dat", "/rewrite/file.bin", "/break/file.bin"):
        pair.hit(target)
    assert pair.zone.count("fills") == fills


def test_listing_is_never_cached(pair):
    for _ in range(2):
        pair.same("/list/")
    pair.put("list/new.txt", text("new", 100))
    assert b"new.txt" in pair.same("/list/").body
    (pair.root / "list/new.txt").unlink()
    assert b"new.txt" not in pair.same("/list/").body


def test_long_names(pair):
    deep = "/".join(["d" * 200] * 12)
    pair.put(f"{deep}/file.bin", payload("deep", 1000))
    pair.same(f"/{deep}/file.bin")
    pair.same(f"/{deep}/file.bin")
    pair.same("/" + "/".join(["d" * 200] * 25))


@pytest.mark.parametrize("place", ["aio", "direct", "nosendfile", "chunky", "postpone", "headers"])
def test_many_times(pair, place):
    """Ways of sending that take more than one step, often enough for a race between the steps to show."""
    name = f"/{place}/long.bin"
    data = pair.put(name[1:], payload(name, 700000))
    with Wire(pair.ours.port) as wire:
        for _ in range(60):
            reply = wire.request(get(name))
            assert reply.complete and reply.body == data
            part = wire.request(get(name, "Range: bytes=60000-400000"))
            assert part.body == data[60000:400001]
