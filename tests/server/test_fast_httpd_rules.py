# SPDX-License-Identifier: Apache-2.0
"""httpd's fast path: rules of httpd's by which a URL may have another answer although the file that was served is the same."""
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import need
from docroot import payload, settle
from pair import Pair
from servers import binary, missing
from wire import Wire, eventually, exchange, fetch, get
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY or binary("httpd") is None, reason="needs the module")

FAST = "AfpaFastPath on\nAfpaLogging off\n"
LOCK = "RewriteRule ^(.*)\\.html$ $1.lock\nRewriteCond %{REQUEST_FILENAME} -f\nRewriteRule ^ - [F]\nRewriteRule ^(.*)\\.lock$ $1.html\n"


def modules(*names):
    """What loads them, unless httpd has them built in."""
    return "".join(f"<IfModule !{name}_module>\nLoadModule {name}_module @LIBEXEC@/mod_{name}.so\n</IfModule>\n" for name in names)


def pair_with(conf="", outer="", fast=FAST, **more):
    need(not missing("httpd"), missing("httpd"))
    more.setdefault("workers", 1)
    return Pair("httpd", conf=fast + conf, outer=outer, **more)


def never(pair, target, **more):
    """Whatever is asked, and however often, the fast path has no part in it, and the replies are httpd's."""
    before = pair.zone.count("fast_hits")
    for _ in range(5):
        pair.same(target, **more)
        time.sleep(0.01)
    return pair.zone.count("fast_hits") == before


# ---- which file there is ----

# Of a server, then what is asked for; then the file that appears.
RULES = {
    "fallback": ("RewriteRule ^/x/(.*)$ @ROOT@/first/$1\nRewriteCond %{REQUEST_FILENAME} !-f\n"
                 "RewriteRule ^@ROOT@/first/(.*)$ @ROOT@/second/$1\n", "/x/a.html", "first/a.html"),
    "size": ("RewriteRule ^/x/(.*)$ @ROOT@/first/$1\nRewriteCond %{REQUEST_FILENAME} !-s\n"
             "RewriteRule ^@ROOT@/first/(.*)$ @ROOT@/second/$1\n", "/x/a.html", "first/a.html"),
    "lock": ("RewriteRule ^/x/(.*)\\.html$ @ROOT@/second/$1.lock\nRewriteCond %{REQUEST_FILENAME} -f\nRewriteRule ^ - [F]\n"
             "RewriteRule ^(@ROOT@/second/.*)\\.lock$ $1.html\n", "/x/a.html", "second/a.lock"),
    "lock-in-directory": (f"<Directory @ROOT@/second>\nRewriteEngine on\n{LOCK}</Directory>\n", "/second/a.html", "second/a.lock"),
    "lock-in-round-two": ("<Directory @ROOT@/second>\nRewriteEngine on\nRewriteCond %{REQUEST_FILENAME} -f\n"
                          "RewriteRule \\.lock$ - [F]\nRewriteRule ^(.*)\\.lock$ $1.html [L]\n"
                          "RewriteRule ^(.*)\\.html$ $1.lock [N]\n</Directory>\n", "/second/a.html", "second/a.lock"),
    "inherited": (f"<Directory @ROOT@>\nRewriteEngine on\n{LOCK}</Directory>\n"
                  "<Directory @ROOT@/second>\nRewriteEngine on\nRewriteOptions Inherit\n</Directory>\n", "/second/a.html", "second/a.lock"),
}


@pytest.mark.parametrize("name", RULES)
def test_conditions_about_another_file(name):
    conf, target, appears = RULES[name]
    with pair_with("RewriteEngine on\n" + conf) as pair:
        pair.put("second/a.html", payload("second", 1000))
        pair.put("first/z.html", payload("z", 10))
        pair.put("plain.html", payload("plain", 100))
        assert never(pair, target)
        pair.put(appears, payload("appeared", 2000))
        for _ in range(3):
            pair.same(target)


def test_condition_about_the_url_as_a_path():
    """For a server REQUEST_FILENAME is the URL, and the file it names is one in the root of the file system."""
    with pair_with("RewriteEngine on\nRewriteCond %{REQUEST_FILENAME} -f\nRewriteRule ^ - [F]\n") as pair:
        pair.put("etc/hostname.html", payload("a", 1000))
        assert never(pair, "/etc/hostname.html")
        (pair.root / "etc/passwd").symlink_to(pair.root / "etc/hostname.html")
        assert pair.same("/etc/passwd").status == 403


def test_path_from_the_root_of_the_system():
    """A rule's path lies below DocumentRoot as long as nothing of its first part's name is in the root of the system."""
    top = Path(f"/afpa-test-{os.getpid()}")
    with pair_with(f"RewriteEngine on\nRewriteRule ^/x/(.*)$ {top}/$1\n") as pair:
        pair.put(f"{top.name}/a.html", payload("below", 1000))
        pair.put("plain.html", payload("plain", 100))
        assert never(pair, "/x/a.html") and pair.admit("/plain.html")
        try:
            top.mkdir()
        except OSError:
            pytest.skip("nothing can be made in the root of the system")
        try:
            (top / "a.html").write_bytes(payload("root", 2000))
            for _ in range(3):
                assert pair.same("/x/a.html").length == 2000
        finally:
            (top / "a.html").unlink(missing_ok=True)
            top.rmdir()


def test_user_directories():
    """mod_userdir takes the first that is there."""
    with pair_with("UserDir @ROOT@/first/* @ROOT@/second/*\n", modules("userdir")) as pair:
        pair.put("second/joe/a.html", payload("second", 1000))
        assert never(pair, "/~joe/a.html")
        pair.put("first/joe/a.html", payload("first", 2000))
        for _ in range(3):
            assert pair.same("/~joe/a.html").length == 2000


def test_one_user_directory():
    with pair_with("UserDir @ROOT@/first/*\nUserDir disabled root daemon\n", modules("userdir")) as pair:
        pair.put("first/joe/a.html", payload("first", 2000))
        assert pair.admit("/~joe/a.html")
        pair.same("/~joe/a.html")


TESTS = {"F": "<Directory @ROOT@/d>\nRewriteEngine on\nRewriteCond %{REQUEST_FILENAME} -F\nRewriteRule ^never - [F]\n</Directory>\n",
         "nothing": "<Directory @ROOT@/d>\nRewriteEngine on\nRewriteCond %{REQUEST_FILENAME} \"-\"\nRewriteRule ^never - [F]\n</Directory>\n",
         "blank": "<Directory @ROOT@/d>\nRewriteEngine on\nRewriteCond %{REQUEST_URI}\\ %{HTTP_COOKIE} beta\nRewriteRule ^ - [F]\n</Directory>\n"}


@pytest.mark.parametrize("name", TESTS)
def test_conditions_that_are_httpds(name):
    with pair_with(TESTS[name]) as pair:
        pair.put("d/a.html", payload("a", 1000))
        assert never(pair, "/d/a.html")
        assert pair.same("/d/a.html", "Cookie: beta").status == (403 if name == "blank" else 200)


@pytest.mark.parametrize("test", ["!-f", "!-d", "-s", "!-l"])
def test_condition_about_the_file_itself(test):
    """In a directory; a rule before that changes nothing, or is the last then, makes no difference."""
    rules = f"RewriteRule ^front - [L]\nRewriteRule ^old /new [R,L]\nRewriteCond %{{REQUEST_FILENAME}} {test}\nRewriteRule ^never /front.html\n"
    with pair_with(f"<Directory @ROOT@/d>\nRewriteEngine on\n{rules}</Directory>\n") as pair:
        pair.put("d/a.html", payload("a", 1000))
        assert pair.admit("/d/a.html")
        pair.same("/d/a.html")


@pytest.mark.parametrize("words", ["+SymLinksIfOwnerMatch", "FollowSymLinks SymLinksIfOwnerMatch"])
def test_links_of_another_owner(words):
    with pair_with(f"<Directory @ROOT@>\nOptions {words}\n</Directory>\n") as pair:
        pair.put("d/a.html", payload("a", 1000))
        assert never(pair, "/d/a.html")
        if os.geteuid() == 0:
            (pair.root / "d").rename(pair.root / "e")
            (pair.root / "d").symlink_to("e")
            os.chown(pair.root / "d", 2000, 2000, follow_symlinks=False)
            for _ in range(3):
                assert pair.same("/d/a.html").status == 403


def test_links_whoever_owns_them():
    with pair_with("<Directory @ROOT@>\nOptions +FollowSymLinks -SymLinksIfOwnerMatch\n</Directory>\n") as pair:
        pair.put("d/a.html", payload("a", 1000))
        assert pair.admit("/d/a.html")


# ---- whose it is ----

def test_log_names_the_virtual_host():
    """Also where a virtual host says nothing to the module, and so shares its configuration with others; and a name as long as names get."""
    names = ("one.example", "two.example", "three.example", ".".join(["long" * 15] * 4))
    hosts = "".join(f"<VirtualHost *:@PORT@>\nServerName {name}\n</VirtualHost>\n" for name in names)
    with pair_with(hosts, fast="AfpaFastPath on\nAfpaLogFile @DIR@/fast.log V-CLF\n") as pair:
        pair.put("a.html", payload("a", 1000))
        before = pair.zone.count("fast_hits")
        for name in names:
            for _ in range(6):
                fetch(pair.ours.port, get(f"/a.html?{name}", host=name))
                time.sleep(0.02)
        assert pair.zone.grows("fast_hits", before, 3 * len(names))
        lines = (pair.ours.dir / "fast.log").read_text().splitlines()
        assert len(lines) >= 3 * len(names) and {line.split()[0] for line in lines} == set(names)
        assert all(f"GET /a.html?{line.split()[0]} " in line for line in lines), lines


HOSTS = {"first has its own": ("KeepAliveTimeout 7\n", "KeepAliveTimeout 2\n", "", 2),
         "second has its own": ("KeepAliveTimeout 7\n", "KeepAliveTimeout 9\n", "KeepAliveTimeout 1\n", 1)}


@pytest.mark.parametrize("name", HOSTS)
def test_time_that_a_connection_is_kept(name):
    """What is said is the virtual host's number; what is waited may be that of the first one of the address."""
    outer, first, second, seconds = HOSTS[name]
    hosts = f"<VirtualHost *:@PORT@>\nServerName one\n{first}</VirtualHost>\n<VirtualHost *:@PORT@>\nServerName two\n{second}</VirtualHost>\n"
    with pair_with(outer + hosts) as pair:
        pair.put("a.html", payload("a", 1000))
        settle()
        raw = get("/a.html", "Connection: keep-alive", host="two")
        for _ in range(4):
            pair.same(raw)
            time.sleep(0.02)
        before = pair.zone.count("fast_hits")
        said = [exchange(server.port, raw) for server in (pair.stock, pair.ours)]
        begin = time.monotonic()
        assert exchange(pair.ours.port, raw) == said[0] == said[1]
        assert seconds - 0.2 <= time.monotonic() - begin <= seconds + 1.3
        assert pair.zone.grows("fast_hits", before, 2)


def test_time_for_a_slow_reader():
    """Of a reply of httpd's that waits in the loop: the virtual host's Timeout, where httpd's event MPM takes that host's times."""
    hosts = "".join(f"<VirtualHost *:@PORT@>\nServerName {name}\nTimeout {seconds}\nKeepAliveTimeout 5\n</VirtualHost>\n"
                    for name, seconds in (("one", 1), ("two", 20)))
    with pair_with("EnableSendfile on\nAfpaMaxCache 1m\n" + hosts, revalidate=3600000) as pair:
        pair.put("a.html", payload("a", 1000))
        pair.put("huge.bin", payload("huge", 20 << 20))
        assert pair.admit("/a.html")
        for server in (pair.stock, pair.ours):
            with Wire(server.port, rcvbuf=4096, timeout=30) as wire:
                assert wire.request(get("/a.html")).status == 200
                wire.send(get("/huge.bin", host="two"))
                time.sleep(3)
                assert wire.reply().length == 20 << 20


# ---- when ----

@pytest.mark.parametrize("tag", ["None", "Digest", "All"])
def test_time_to_come(tag):
    """httpd says then that the file changed now, with every reply anew."""
    with pair_with(f"FileETag {tag}\n") as pair:
        pair.put("a.html", payload("a", 1000))
        assert pair.admit("/a.html")
        then = time.time() + 3600
        os.utime(pair.root / "a.html", (then, then))
        time.sleep(0.5)  # what was admitted goes with the file as it was
        assert never(pair, "/a.html")
        time.sleep(1.1)
        assert never(pair, "/a.html")
        then -= 7200
        os.utime(pair.root / "a.html", (then, then))
        assert pair.admit("/a.html")


def heard_after(port, said, seconds):
    """What a connection hears that has said this and nothing more, and when."""
    begin = time.monotonic()
    heard = exchange(port, said, timeout=seconds)
    return heard, time.monotonic() - begin


def test_time_for_a_head_by_default():
    """mod_reqtimeout gives one 20 seconds without being told, whatever Timeout says; both servers at once."""
    with pair_with("Timeout 50\nKeepAliveTimeout 40\n") as pair:
        pair.put("a.html", payload("a", 1000))
        assert pair.admit("/a.html")
        with ThreadPoolExecutor(4) as pool:
            said = [(server.port, start) for start in (b"GET /a.ht", get("/a.html") + b"GET /a.ht") for server in (pair.ours, pair.stock)]
            heard = [one.result() for one in [pool.submit(heard_after, *one, 30) for one in said]]
        for (ours, when), (stock, _) in (heard[:2], heard[2:]):
            assert ours == stock and 19 <= when <= 23


def test_time_for_a_head_sent_bit_by_bit():
    """Timeout is for one piece of it."""
    with pair_with("Timeout 2\n") as pair:
        pair.put("a.html", payload("a", 1000))
        assert pair.admit("/a.html")
        with Wire(pair.ours.port) as wire:
            wire.request(get("/a.html"))
            raw = get("/a.html", "Connection: close")
            for piece in (raw[:10], raw[10:20], raw[20:30], raw[30:40]):
                wire.send(piece)
                time.sleep(0.8)
            assert wire.request(raw[40:]).length == 1000


# ---- modules with a word in it ----

def heard_at_once(port, raw):
    """What comes in the first half second, whether or not it is all."""
    with Wire(port) as wire:
        wire.send(raw)
        time.sleep(0.5)
        return len(wire.sock.recv(1 << 20))


def test_dialup():
    """mod_dialup serves files itself, a piece each second: no hit of either kind there."""
    with pair_with("<Location /dial>\nModemStandard V.34\n</Location>\n", modules("dialup")) as pair:
        for name in ("plain.html", "dial/a.html"):
            pair.put(name, payload(name, 20000))
        assert pair.admit("/plain.html")
        before = pair.zone.hits()
        for _ in range(4):
            assert heard_at_once(pair.ours.port, get("/dial/a.html")) == heard_at_once(pair.stock.port, get("/dial/a.html")) < 5000
        assert pair.zone.hits() == before
        assert heard_at_once(pair.ours.port, get("/plain.html")) > 20000


def test_hosts_that_become_proxied():
    """mod_proxy_express looks the host up in a file with each request, and so notices a line that was added to it."""
    need(shutil.which("httxt2dbm"), "httxt2dbm is not installed")
    conf = "ProxyExpressEnable on\nProxyExpressDBMFile @ROOT@/hosts\nProxyExpressDBMType SDBM\n"
    pair = pair_with(conf, modules("proxy", "proxy_http", "proxy_express"))

    def proxied(host):
        subprocess.run(["httxt2dbm", "-f", "SDBM", "-i", "/dev/stdin", "-o", pair.root / "hosts"], check=True, capture_output=True,
                       input=f"{host} http://127.0.0.1:1\n".encode(), timeout=10)

    proxied("other.example")
    with pair:
        pair.put("a.html", payload("a", 1000))
        assert never(pair, "/a.html", host="a.example")
        proxied("a.example")
        for _ in range(3):
            assert pair.same("/a.html", host="a.example").status == 503


LOGS = {"log_debug": ("LogLevel info\n<Location /d>\nLogMessage seen\n</Location>\n", True),
        "ident": ("<Location /d>\nIdentityCheck On\n</Location>\n", True),
        "ident-off": ("IdentityCheck Off\n", False)}


@pytest.mark.parametrize("name", LOGS)
def test_other_logs(name):
    """Lines that modules write of each request, and what one of them would add to ours."""
    conf, left = LOGS[name]
    with pair_with(conf, modules(name.partition("-")[0])) as pair:
        for place in ("d/a.html", "a.html"):
            pair.put(place, payload(place, 1000))
        assert pair.admit("/a.html")
        if left:
            assert never(pair, "/d/a.html")
            assert pair.ours.log().count("seen") == pair.stock.log().count("seen") == (5 if name == "log_debug" else 0)
        else:
            assert pair.admit("/d/a.html")


def test_why_not():
    """The guide's way to find out: LogLevel knows the module by its name, and each line says whose it is."""
    with pair_with("<IfModule afpa_module>\nLogLevel afpa:debug\n</IfModule>\n<Location /d>\nRequire ip 127.0.0.1\n</Location>\n") as pair:
        pair.put("d/a.html", payload("a", 1000))
        assert never(pair, "/d/a.html")
        lines = [line for line in pair.ours.log().splitlines() if "not for the fast path: Require" in line]
        assert lines and all("[afpa:debug]" in line for line in lines), pair.ours.log()


def test_bytes_that_came():
    """mod_logio counts what a request had, and what httpd looked at before; behind a hit that is no more."""
    with pair_with('CustomLog @DIR@/access.log "%r %I"\n', modules("logio")) as pair:
        pair.put("a.html", payload("a", 1000))
        assert pair.admit("/a.html")
        said = []
        for server in (pair.ours, pair.stock):
            log = server.dir / "access.log"
            log.write_text("")
            with Wire(server.port) as wire:
                for raw in (get("/a.html"), get("/nope"), get("/a.html"), get("/nope", "X-More: x"), get("/a.html", "Range: bytes=0-9")):
                    wire.request(raw)
                    time.sleep(0.02)
            eventually(lambda: "/nope" in log.read_text(), 2)
            said.append([line for line in log.read_text().splitlines() if "/nope" in line])
        assert said[0] == said[1] and len(said[0]) == 2
