# SPDX-License-Identifier: Apache-2.0
"""httpd's fast path: what is admitted and to whom, its log, its configuration."""
import re
import subprocess
import time

import pytest

from conftest import need
from docroot import payload
from pair import Pair
from servers import Server, apxs, binary, libexec, missing
from wire import Wire, eventually, exchange, fetch, get, head
from zone import STOCK_ONLY, Zone

pytestmark = pytest.mark.skipif(STOCK_ONLY or binary("httpd") is None, reason="needs the module")

FAST = "AfpaFastPath on\nAfpaLogging off\n"
NOT_ADMITTED = {
    "ip": "Require ip 127.0.0.1",
    "not": "<RequireAll>\nRequire all granted\nRequire not ip 10.0.0.1\n</RequireAll>",
    "method": "<Limit GET>\nRequire ip 127.0.0.1\n</Limit>",
    "compat": "Order deny,allow\nDeny from 10.0.0.1",
    "allow": "Order allow,deny\nAllow from 127.0.0.1",
    "if": "<If \"%{HTTP:X-Key} == 'x'\">\nHeader set X-Own one\n</If>",
    "condition": "RewriteEngine on\nRewriteCond %{HTTP_COOKIE} beta\nRewriteRule ^ /small.bin [PT]",
    "maintenance": "RewriteEngine on\nRewriteCond @ROOT@/closed -f\nRewriteRule ^ - [F]",
    "variable": "RewriteEngine on\nRewriteRule ^ - [E=x:%{REMOTE_ADDR}]",
    "header": "Header set X-Client expr=%{REMOTE_ADDR}",
    "weekday": 'Header set X-Time expr=%{TIME_WDAY}',
    "request": "RequestHeader unset If-None-Match",
    "expires": 'ExpiresActive on\nExpiresDefault "modification plus 1 hour"',
    "private": "Header set Cache-Control private",
    "no-store": "Header set Cache-Control no-store",
    "cookie": "Header set Set-Cookie a=b",
    "vary": "Header set Vary Cookie",
    "rate": "SetOutputFilter RATE_LIMIT\nSetEnv rate-limit 100000",
    "substitute": "SetOutputFilter SUBSTITUTE\nSubstitute s/aaa/bbb/",
    "includes": "Options +Includes\nSetOutputFilter INCLUDES",
    "deflate": "SetOutputFilter DEFLATE",
    "bypass": "SetEnvIf X-Key x no-afpa",
    "agent": "SetEnvIf User-Agent x y",
    "agent-expr": "SetEnvIfExpr \"%{HTTP:X-Key} == 'x'\" y",
    "browser": "BrowserMatch x no-gzip\nSetOutputFilter DEFLATE",
    "alias": 'Alias "@ROOT@/alias/%{HTTP:X-Key}a.bin"',
    "handler": 'SetHandler "%{HTTP:X-Key}"',
    "filter": "FilterDeclare redact\nFilterProvider redact SUBSTITUTE \"%{HTTP:X-Key} == 'x'\"\nFilterChain redact\nSubstitute s/a/b/",
    "off": "AfpaFastPath off",
    "no-links": "Options -FollowSymLinks",
    "no-options": "Options None",
    "links-of-owner": "Options SymLinksIfOwnerMatch",
    "own-tag": 'Header set ETag "\\"v1\\""',
    "no-tag": "Header unset ETag",
    "edited-tag": 'Header always edit ETag "-" "+"',
    "own-date": 'Header onsuccess set Last-Modified: "Thu, 01 Jan 2015 00:00:00 GMT"',
    "own-type": "Header set Content-Type text/x-own",
    "own-language": "Header set Content-Language fr",
    "own-keep-alive": "Header always set Keep-Alive x=1",
}
ADMITTED = {
    "plain": "",
    "granted": "Require all granted",
    "old": "Order allow,deny\nAllow from all",
    "constant": 'Header set X-Own "some thing"\nHeader always set X-More more',
    "relative": 'ExpiresActive on\nExpiresDefault "access plus 1 hour"',
    "type": "ForceType text/x-own\nAddDefaultCharset utf-8",
    "tagless": "FileETag None",
    "url": "RewriteEngine on\nRewriteCond %{REQUEST_URI} ^/never\nRewriteRule ^ /x",
    "front": "RewriteEngine on\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^ /small.bin",
    "environment": "SetEnvIf Request_URI ^ y",
    "php-fpm": 'SetEnvIfNoCase ^Authorization$ "(.+)" HTTP_AUTHORIZATION=$1',
    "old-browsers": 'BrowserMatch "Mozilla/2" nokeepalive',
    "unlogged": "SetEnvIf User-Agent bot dontlog",
    "alias-plain": 'Alias "@ROOT@/alias-plain/a.bin"',
    "handler-plain": "SetHandler none",
    "status": "AfpaCacheStatus on",
    "links": "Options FollowSymLinks Indexes",
    "all-options": "Options All",
    "more-options": "Options +Indexes -Includes",
    "language": "DefaultLanguage en\nRemoveType .bin",
}


def places(table):
    return "".join(f"<Location /{name}>\n{text}\n</Location>\n" for name, text in table.items())


# The access rules of an inner section replace those of an outer one.
CLOSED = """Redirect permanent /elsewhere https://example.org/a%20b
<Location /closed>\nRequire ip 10.0.0.1\n</Location>\n<Location /closed/open>\nRequire all granted\n</Location>
<Location /open>\nRequire all granted\n</Location>\n<Location /open/closed>\nRequire ip 127.0.0.1\n</Location>
<Location /forbidding>\nOptions -FollowSymLinks\n</Location>\n<Location /forbidding/allowing>\nOptions +FollowSymLinks\n</Location>
<Directory @ROOT@/htaccess>\nAllowOverride All\n</Directory>
<Location /negotiated>\nOptions +MultiViews\n</Location>
RewriteEngine on\nRewriteRule ^/moved/(.*) /plain/$1 [PT]
"""


@pytest.fixture(scope="module")
def pair():
    need(not missing("httpd"), missing("httpd"))
    with Pair("httpd", conf=FAST + CLOSED + places(NOT_ADMITTED) + places(ADMITTED), revalidate=3600000, workers=1) as pair:
        for name in ("small.bin", "closed/a.bin", "closed/open/a.bin", "open/a.bin", "open/closed/a.bin", "forbidding/allowing/a.bin",
                     "htaccess/a.bin", "index.html", "negotiated/page.html", *(f"{place}/a.bin" for place in (*NOT_ADMITTED, *ADMITTED))):
            pair.put(name, payload(name, 1000))
        pair.put("large.bin", payload("large.bin", 300000))
        yield pair
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert "signal" not in pair.ours.log()


def never(pair, *raws):
    """Whatever is asked, and however often, the fast path has no part in it, and the replies are httpd's."""
    before = pair.zone.count("fast_hits")
    for _ in range(4):
        for raw in raws:
            pair.same(raw)
        time.sleep(0.01)
    return pair.zone.count("fast_hits") == before


# ---- what is admitted ----

@pytest.mark.parametrize("place", [*ADMITTED, "closed/open", "open"])
def test_admitted(pair, place):
    target = f"/{place}/a.bin"
    assert pair.admit(target)
    before = pair.zone.count("fast_hits")
    tag = fetch(pair.stock.port, get(target)).header("ETag") or '"none"'
    since = "If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT"
    for more in ([], ["Connection: close"], ["Connection: keep-alive"], [f"If-None-Match: {tag}"], [since], [f"If-None-Match: {tag}", since]):
        for method in ("GET", "HEAD"):
            if place == "status":
                assert fetch(pair.ours.port, get(target, *more, method=method)).header("Cache-Status") == "afpa; hit"
            else:
                pair.same(target, *more, method=method)
    assert pair.zone.grows("fast_hits", before, 12)


@pytest.mark.parametrize("place", [*NOT_ADMITTED, "open/closed", "forbidding/allowing", "htaccess", "moved"])
def test_not_admitted(pair, place):
    target = f"/{place}/a.bin"
    assert never(pair, get(target), get(target, "X-Key: x"), get(target, "Cookie: beta=1"), get(target, "Accept-Encoding: gzip"))


def test_directory_and_negotiation(pair):
    """What is served is not what was asked for, and which file it is may change without that file changing."""
    assert never(pair, get("/"), get("/negotiated/page"))
    assert fetch(pair.ours.port, get("/")).body == payload("index.html", 1000)


def test_compression_is_left_to_httpd(pair):
    for _ in range(5):
        assert pair.same("/deflate/a.bin", "Accept-Encoding: gzip").header("Content-Encoding") == "gzip"
        assert pair.same("/deflate/a.bin").header("Content-Encoding") is None


def test_expires_follows_the_date(pair):
    assert pair.admit("/relative/a.bin")
    time.sleep(1.1)
    reply = fetch(pair.ours.port, get("/relative/a.bin"))
    at = [time.mktime(time.strptime(reply.header(n), "%a, %d %b %Y %H:%M:%S GMT")) for n in ("Date", "Expires")]
    assert at[1] - at[0] == 3600 and reply.header("Cache-Control") == "max-age=3600"


def test_changed_just_now(pair):
    """httpd's tag of a file that changed within the last second is weak, and another one a second later."""
    pair.put("fresh.bin", payload("fresh", 1000), old=False)
    for _ in range(3):
        reply = fetch(pair.ours.port, get("/fresh.bin"))
    time.sleep(2.2)
    assert not fetch(pair.ours.port, get("/fresh.bin")).header("ETag").startswith("W/")
    assert reply.status == 200


LEFT = ["Range: bytes=0-9", "If-Range: x", "Authorization: Basic eDp5", "If-Match: *", "Expect: 100-continue", "Upgrade: x", "Host: other",
        "If-Modified-Since: yesterday", "TE: trailers", "\r\n".join(f"X-{n}: y" for n in range(120))]


@pytest.mark.parametrize("header", LEFT)
def test_requests_left_to_httpd(pair, header):
    assert pair.admit("/small.bin")
    before = pair.zone.count("fast_hits")
    raw = get("/small.bin", header, "Connection: close")
    assert exchange(pair.ours.port, raw) == exchange(pair.stock.port, raw)
    assert pair.zone.count("fast_hits") == before


# ---- rights: a client that lacks one never gets the file, however often one that has it was served ----

RIGHTS = {
    "require-env": ("<Location />\nSetEnvIf X-Key secret let_in\nRequire env let_in\n</Location>\n", "X-Key: secret", 403),
    "require-expr": ("<Location />\nRequire expr \"%{HTTP:X-Key} == 'secret'\"\n</Location>\n", "X-Key: secret", 403),
    "compat-env": ("<Location />\nSetEnvIf X-Key secret let_in\nOrder allow,deny\nAllow from env=let_in\n</Location>\n", "X-Key: secret", 403),
    "basic": ("<Location />\nAuthType Basic\nAuthName x\nAuthUserFile @DIR@/users\nRequire valid-user\n</Location>\n",
              "Authorization: Basic dTpw", 401),
    "any": ("<Location />\nAuthType Basic\nAuthName x\nAuthUserFile @DIR@/users\n<RequireAny>\nRequire env let_in\nRequire valid-user\n"
            "</RequireAny>\nSetEnvIf X-Key secret let_in\n</Location>\n", "X-Key: secret", 401),
    "if": ("<If \"%{HTTP:X-Key} != 'secret'\">\nRequire all denied\n</If>\n", "X-Key: secret", 403),
    "rewrite": ("RewriteEngine on\nRewriteCond %{HTTP:X-Key} !=secret\nRewriteRule ^ - [F]\n", "X-Key: secret", 403),
    "rewrite-env": ("RewriteEngine on\nSetEnvIf X-Key secret let_in\nRewriteCond %{ENV:let_in} !1\nRewriteRule ^ - [F]\n", "X-Key: secret", 403),
    "htaccess": ("<Directory @ROOT@>\nAllowOverride All\n</Directory>\n", "X-Key: secret", 403),
}
# The modules of httpd that decide in each case.
DECIDE = {"require-env": ["setenvif"], "compat-env": ["access_compat", "setenvif"], "rewrite": ["rewrite"], "htaccess": ["setenvif"],
          "rewrite-env": ["rewrite", "setenvif"], "basic": ["auth_basic", "authn_core", "authn_file", "authz_user"],
          "any": ["auth_basic", "authn_core", "authn_file", "authz_user", "setenvif"]}


@pytest.mark.parametrize("name", RIGHTS)
def test_rights(name):
    conf, right, refusal = RIGHTS[name]
    for module in DECIDE.get(name, []):
        need((libexec() / f"mod_{module}.so").exists(), f"httpd's mod_{module} is not installed")
    with Pair("httpd", conf=FAST + conf, revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        for server in (pair.ours, pair.stock):
            (server.dir / "users").write_text("u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n")  # p
        if name == "htaccess":
            pair.put(".htaccess", b"SetEnvIf X-Key secret let_in\nRequire env let_in\n")
        before = pair.zone.hits()
        with Wire(pair.ours.port) as wire:
            for _ in range(10):
                assert wire.request(get("/a.bin", right)).body == payload("a", 1000)
                assert wire.request(get("/a.bin")).status == refusal
            for _ in range(5):
                assert fetch(pair.ours.port, get("/a.bin", right)).status == 200
                assert fetch(pair.ours.port, get("/a.bin")).status == refusal
        assert pair.zone.grows("hits", before, 10)  # so it could have been admitted
        assert pair.zone.count("fast_hits") == 0


def test_htaccess_that_appears():
    """Where overrides are allowed nothing is admitted, so one that comes later is in force at once."""
    with Pair("httpd", conf=FAST + "<Directory @ROOT@>\nAllowOverride AuthConfig\n</Directory>\n", revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        for _ in range(5):
            assert fetch(pair.ours.port, get("/a.bin")).status == 200
        pair.put(".htaccess", b"Require all denied\n")
        assert fetch(pair.ours.port, get("/a.bin")).status == 403


def test_virtual_hosts():
    """By name, and by whether it is on there."""
    conf = "".join(f"<VirtualHost *:@PORT@>\nServerName {name}\nDocumentRoot @ROOT@/{name}\nAfpaFastPath {on}\n</VirtualHost>\n"
                   for name, on in (("one", "on"), ("two", "on"), ("three", "off")))
    with Pair("httpd", conf="AfpaLogging off\n" + conf, revalidate=3600000, workers=1) as pair:
        for name in ("one", "two", "three"):
            pair.put(f"{name}/a.bin", payload(name, 1000))
        with Wire(pair.ours.port) as wire:
            for _ in range(10):
                for name in ("one", "two", "three", "ONE"):
                    assert wire.request(get("/a.bin", host=name)).body == payload(name.lower(), 1000)
        hits = pair.zone.count("fast_hits")
        assert hits >= 24
        for _ in range(5):
            fetch(pair.ours.port, get("/a.bin", host="three"))
        assert pair.zone.count("fast_hits") == hits


LIMITS = {"LimitRequestFieldSize 100": get("/a.bin", "X-Long: " + "x" * 300, host="two"),
          "LimitRequestFields 10": get("/a.bin", *(f"X-{number}: x" for number in range(30)), host="two")}


@pytest.mark.parametrize("limit", LIMITS)
def test_limits_of_the_address(limit):
    """httpd reads a request by the limits of the first server of the address, whichever it turns out to be for."""
    conf = f"<VirtualHost *:@PORT@>\nServerName one\n{limit}\n</VirtualHost>\n<VirtualHost *:@PORT@>\nServerName two\n</VirtualHost>\n"
    with Pair("httpd", conf=FAST + conf, revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        assert pair.same(get("/a.bin", host="two")).status == 200
        assert never(pair, get("/a.bin", host="two"), LIMITS[limit])
        assert fetch(pair.ours.port, LIMITS[limit]).status == 400


def test_link_in_the_way():
    """A directory that becomes a link, which is not to be followed: the file behind it is the same."""
    conf = "<Directory @ROOT@>\nOptions -FollowSymLinks\n</Directory>\n"
    with Pair("httpd", conf=FAST + conf, revalidate=200, workers=1) as pair:
        pair.put("d/a.bin", payload("a", 1000))
        assert never(pair, get("/d/a.bin"))
        (pair.root / "d").rename(pair.root / "e")
        (pair.root / "d").symlink_to("e")
        for _ in range(5):
            assert fetch(pair.ours.port, get("/d/a.bin")).status == 403


def test_off_in_a_virtual_host():
    """As if it had never been on there: no log is asked for, and no zone is compared."""
    conf = "<VirtualHost *:@PORT@>\nServerName one\nAfpaLogging on\nAfpaFastPath off\n</VirtualHost>\n"
    with Pair("httpd", conf=FAST + conf, revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        assert never(pair, get("/a.bin", host="one"))


# ---- what it says of itself ----

def test_server_header():
    with Pair("httpd", conf=FAST + "AfpaSendServerHeader off\nServerTokens Prod\n", revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        assert fetch(pair.ours.port, get("/a.bin")).header("Server") == "Apache"
        assert pair.admit("/a.bin")
        reply = fetch(pair.ours.port, get("/a.bin"))
        assert reply.header("Server") is None and reply.header("Content-Type") is None and reply.length == 1000


FORMATS = {"CLF": '%h %l %u %t \\"%r\\" %>s %b', "ECLF": '%h %l %u %t \\"%r\\" %>s %b \\"%{Referer}i\\" \\"%{User-Agent}i\\"'}
FORMATS |= {f"V-{name}": "%v " + text for name, text in FORMATS.items()}


@pytest.mark.parametrize("form", FORMATS)
def test_log_lines_are_httpds(form):
    conf = f'AfpaFastPath on\nAfpaLogFile @DIR@/fast.log {form}\nCustomLog @DIR@/access.log "{FORMATS[form]}"\n'
    with Pair("httpd", conf=conf, revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        pair.put("large.bin", payload("large", 200000))
        for target in ("/a.bin", "/large.bin", "/a.bin?q=%20'x~"):
            assert pair.admit(target)
        (pair.ours.dir / "fast.log").write_text("")
        (pair.stock.dir / "access.log").write_text("")
        requests = [get("/a.bin", 'User-Agent: a "quoted" \\ one', "Referer: http://x/?y"), get("/a.bin?q=%20'x~"), head("/a.bin"),
                    get("/large.bin", "User-Agent: \xe4\xff\t~", "Referer:"), get("/a.bin", "If-None-Match: *"),
                    get("/a.bin", "Connection: keep-alive", version="HTTP/1.0")]
        with Wire(pair.ours.port) as ours, Wire(pair.stock.port) as stock:
            for raw in requests:
                ours.request(raw)
                stock.request(raw)

        def lines(server, name):
            text = (server.dir / name).read_text(errors="replace")
            assert not text or re.search(r" \[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] ", text)
            return [re.sub(r"\[[^]]*\]", "[]", line) for line in text.splitlines()]
        logs = (pair.ours, "fast.log"), (pair.stock, "access.log")
        assert eventually(lambda: all(len(lines(*log)) >= len(requests) for log in logs), 4)
        assert lines(*logs[0]) == lines(*logs[1])


def test_log_is_rotated_and_piped():
    conf = "AfpaFastPath on\nAfpaLogFile @DIR@/fast.log JSON\n"
    with Pair("httpd", conf=conf, revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 100))
        assert pair.admit("/a.bin")
        log = pair.ours.dir / "fast.log"
        assert '"status":200,"body_bytes_sent":100' in log.read_text()
        log.rename(pair.ours.dir / "old.log")
        pair.ours.conf = pair.ours.conf.replace("JSON", "JSON\nErrorLog @DIR@/error.log")
        pair.ours.reload()
        assert pair.admit("/a.bin") and log.read_text()
        pair.ours.conf = conf.replace("@DIR@/fast.log", f'"|$/bin/cat >> {pair.ours.dir}/piped.log"')
        pair.ours.configure()
        pair.ours.reload()
        assert pair.admit("/a.bin")
        assert eventually(lambda: '"status":200' in (pair.ours.dir / "piped.log").read_text(), 3)


# ---- configurations ----

def checked(conf, outer="", size="16m", **more):
    zone = Zone(size)
    server = Server("httpd", "/tmp", zone, conf=conf, outer=outer, **more)
    try:
        return server.check()
    finally:
        server.close()
        zone.remove()


BAD = [("AfpaFastPath on", "no AfpaLogFile says where"),
       ("AfpaFastPath maybe\nAfpaLogging off", "AfpaFastPath"),
       ("AfpaFastPath on\nAfpaLogFile /dev/null weird", '"weird" is no format'),
       ("AfpaThreads 0", '"0" is not a number'),
       ("AfpaThreads 257", '"257" is not a number from 1 to 256'),
       ("<Location />\nAfpaMinCache 11k\nAfpaMaxCache 10k\n</Location>", "AfpaMinCache 11264 is larger than AfpaMaxCache 10240"),
       ("AfpaMaxCache 10k\nAfpaMinCache 11k", "AfpaMinCache 11264 is larger than AfpaMaxCache 10240"),
       ("AfpaMaxConnections x", '"x" is not a number'),
       ("<Directory />\nAfpaLogging off\n</Directory>", "AfpaLogging"),
       ("LimitRequestFieldz 3", "Invalid command 'LimitRequestFieldz'"),
       ("CookieTracking on", "Invalid command 'CookieTracking'")]  # one that is watched, and its module is not there


@pytest.mark.parametrize("conf, words", BAD)
def test_bad_configuration(conf, words):
    status, said = checked(conf + "\n")
    assert status != 0 and words in said


def test_log_that_cannot_be_opened():
    zone = Zone()
    server = Server("httpd", "/tmp", zone, conf="AfpaFastPath on\nAfpaLogFile /nowhere/at/all CLF\n")
    try:
        status, said = server.run()
        assert status != 0 and "AfpaLogFile /nowhere/at/all" in said
    finally:
        server.close()
        zone.remove()


def test_one_zone_only():
    other = Zone()
    try:
        conf = f"AfpaZone {other.name} 16m\n{FAST}<VirtualHost *:@PORT@>\nAfpaEnable {other.name}\n</VirtualHost>\n"
        status, said = checked(conf)
        assert status != 0 and other.name in said and "only one" in said
    finally:
        other.remove()


@pytest.mark.parametrize("mpm", ["prefork", "worker"])
def test_other_mpms(mpm):
    with Pair("httpd", conf=FAST, revalidate=3600000, mpm=mpm) as pair:
        pair.put("a.bin", payload("a", 1000))
        assert pair.ours.log().count("AfpaFastPath needs the event MPM, and this is") == 1
        pair.hit("/a.bin")
        assert pair.zone.count("fast_hits") == 0


def test_unknown_access_module():
    outer = "LoadModule lua_module @LIBEXEC@/mod_lua.so\n"
    with Pair("httpd", conf=FAST, outer=outer, revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        assert "mod_lua.c sees each request, and may refuse, map or log it" in pair.ours.log()
        pair.hit("/a.bin")
        assert pair.zone.count("fast_hits") == 0


STRANGER = """
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <http_request.h>

static int declined(request_rec *r)
{
    return DECLINED;
}

static void hooks(apr_pool_t *p)
{
    ap_hook_@HOOK@(declined, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA stranger_module = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks};
"""


@pytest.mark.parametrize("hook", ["translate_name", "map_to_storage", "log_transaction"])
def test_unknown_module(hook, tmp_path):
    """One that maps, or only logs: its users miss what the fast path answers."""
    need(apxs(), "no apxs")
    (tmp_path / "mod_stranger.c").write_text(STRANGER.replace("@HOOK@", hook))
    subprocess.run([apxs(), "-c", "mod_stranger.c"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    with Pair("httpd", conf=FAST, outer=f"LoadModule stranger_module {tmp_path}/.libs/mod_stranger.so\n", revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        assert "mod_stranger.c sees each request" in pair.ours.log()
        pair.hit("/a.bin")
        assert pair.zone.count("fast_hits") == 0


@pytest.mark.parametrize("name", ["file_cache", "userdir", "vhost_alias"])
def test_known_module(name):
    with Pair("httpd", conf=FAST, outer=f"LoadModule {name}_module @LIBEXEC@/mod_{name}.so\n", revalidate=3600000, workers=1) as pair:
        pair.put("a.bin", payload("a", 1000))
        assert "sees each request" not in pair.ours.log()
        pair.hit("/a.bin")
        pair.hit("/a.bin")
        assert pair.zone.count("fast_hits") > 0
