# SPDX-License-Identifier: Apache-2.0
"""What the administrator says about the cache: off here, bypass there, sizes, uses, purge, enable and disable; the status header."""
import subprocess
import time

import pytest

from docroot import payload, settle
from wire import Wire, fetch, get
from zone import AFPACTL, STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="nothing to control without the module")

CONF = {
    "nginx": """
        location /off/ { afpa off; }
        location /bypass/ { afpa_bypass $arg_nocache $http_x_bypass; }
        location /large/ { afpa_max_size 10k; }
        location /small/ { afpa_min_size 10k; }
        location /uses/ { afpa_min_uses 3; }
        location /status/ { afpa_cache_status on; }
        location /variable/ { add_header X-Afpa $afpa_status always; }
        location /seldom/ { afpa_revalidate 1h; }
        location /often/ { afpa_revalidate 0s; }
    """,
    "httpd": """
        <Directory @ROOT@/off>\nAfpaCache off\n</Directory>
        SetEnvIf Request_URI "nothing" no-afpa
        <Location /bypass>
            SetEnvIf X-Bypass "^1$" no-afpa
            RewriteEngine on
            RewriteCond %{QUERY_STRING} nocache=1
            RewriteRule .* - [E=no-afpa:1]
        </Location>
        <Directory @ROOT@/large>\nAfpaMaxCache 10k\n</Directory>
        <Directory @ROOT@/small>\nAfpaMinCache 10k\n</Directory>
        <Directory @ROOT@/status>\nAfpaCacheStatus on\n</Directory>
        <Directory @ROOT@/variable>\nHeader always set X-Afpa "%{afpa-status}e"\n</Directory>
        <Directory @ROOT@/seldom>\nAfpaRevalidationTimeout 3600\n</Directory>
        <Directory @ROOT@/often>\nAfpaRevalidationTimeout 0\n</Directory>
    """,
}
PLACES = ["off", "bypass", "large", "small", "uses", "status", "variable", "seldom", "often", "plain"]


def tree(pair):
    for place in PLACES:
        pair.put(f"{place}/tiny.bin", payload("tiny", 10239))
        pair.put(f"{place}/edge.bin", payload("edge", 10240))
        pair.put(f"{place}/huge.bin", payload("huge", 10241))
    settle()  # else an object is dropped once, to be read once more, and may not be there to be purged


def test_off(pair):
    pair.left_alone("/off/tiny.bin")


def test_bypass(pair):
    pair.warm("/bypass/tiny.bin")
    pair.left_alone("/bypass/tiny.bin?nocache=1", reason="bypass")
    pair.hit("/bypass/tiny.bin?nocache=0" if pair.kind == "nginx" else "/bypass/tiny.bin?other")
    if pair.kind == "nginx":
        pair.left_alone("/bypass/tiny.bin", "X-Bypass: 1", reason="bypass")
        pair.hit("/bypass/tiny.bin", "X-Bypass: 0")


def test_max_size(pair):
    pair.warm("/large/edge.bin")
    pair.left_alone("/large/huge.bin", reason="max_size")


def test_min_size(pair):
    pair.warm("/small/edge.bin")
    pair.left_alone("/small/tiny.bin", reason="min_size")


def test_min_uses(pair):
    if pair.kind == "httpd":  # AfpaMinUses is for a whole server
        return
    before = pair.zone.count("min_uses")
    hits = pair.zone.hits()
    pair.same("/uses/tiny.bin")
    pair.same("/uses/tiny.bin")
    assert pair.zone.grows("min_uses", before, 2)
    assert pair.zone.hits() == hits
    pair.same("/uses/tiny.bin")
    pair.hit("/uses/tiny.bin")


def status_of(pair, target, *headers):
    return fetch(pair.ours.port, get(target, *headers))


def test_cache_status_header(pair):
    fields = [status_of(pair, "/status/tiny.bin").header("Cache-Status") for _ in range(2)]
    assert fields[0].startswith("afpa; fwd=")
    assert fields[1].startswith("afpa; hit")
    again = status_of(pair, "/status/tiny.bin", "If-None-Match: *")
    assert again.status == 304
    theirs = fetch(pair.stock.port, get("/status/tiny.bin"))
    ours = status_of(pair, "/status/tiny.bin")
    ours.headers = [(n, v) for n, v in ours.headers if n != "Cache-Status"]
    assert ours.comparable() == theirs.comparable()


def test_status_variable(pair):
    assert status_of(pair, "/variable/tiny.bin").header("X-Afpa") == "MISS"
    assert status_of(pair, "/variable/tiny.bin").header("X-Afpa") == "HIT"
    assert status_of(pair, "/variable/tiny.bin", "Range: bytes=0-1").header("X-Afpa") == "HIT"
    time.sleep(0.3)
    assert status_of(pair, "/variable/tiny.bin").header("X-Afpa") in ("REVALIDATED", "STALE")
    assert status_of(pair, "/variable/missing.bin").header("X-Afpa") in ("DECLINED:not_found", "-")
    pair.zone.ctl("disable")
    try:
        assert status_of(pair, "/variable/tiny.bin").header("X-Afpa") == "DECLINED:disabled"
    finally:
        pair.zone.ctl("enable")


def test_seldom_revalidated(pair):
    pair.put("seldom/changed.bin", payload("one", 100))
    pair.warm("/seldom/changed.bin")
    pair.put("seldom/changed.bin", payload("two", 100))
    time.sleep(0.3)
    if pair.kind == "nginx":  # httpd looks at each file anyway, and the module at what httpd saw
        assert fetch(pair.ours.port, get("/seldom/changed.bin")).body == payload("one", 100), "served without a check, as configured"
    pair.zone.ctl("purge", pair.root / "seldom/changed.bin")
    assert pair.same("/seldom/changed.bin").body == payload("two", 100)


def test_always_revalidated(pair):
    for number in range(10):
        data = pair.put("often/changed.bin", payload(number, 100 + number))
        assert pair.same("/often/changed.bin").body == data
        assert pair.same("/often/changed.bin").body == data


def test_purge(pair):
    name = pair.root / "plain/tiny.bin"
    for what in (name, "--all", f"{pair.root}/plain/*"):
        pair.warm("/plain/tiny.bin")
        fills = pair.zone.count("fills")
        pair.zone.ctl("purge", what)
        assert pair.zone.ctl("show", name, check=False).returncode == 1
        assert pair.same("/plain/tiny.bin").status == 200
        assert pair.zone.grows("fills", fills)
        pair.hit("/plain/tiny.bin")


def test_purge_of_what_is_being_sent(pair):
    data = pair.put("plain/sent.bin", payload("sent", 4 << 20))
    pair.warm("/plain/sent.bin")
    with Wire(pair.ours.port, rcvbuf=4096) as wire:
        wire.send(get("/plain/sent.bin"))
        head = wire.head()
        pair.zone.ctl("purge", "--all")
        assert pair.same("/plain/sent.bin").body == data
        reply = wire.rest(head)
    assert data.startswith(reply.body)
    assert pair.zone.unpinned()
    assert not pair.zone.problems()


def test_disable_and_enable(pair):
    pair.warm("/plain/huge.bin")
    pair.zone.ctl("disable")
    try:
        pair.left_alone("/plain/huge.bin", reason="disabled")
        pair.left_alone("/plain/edge.bin", reason="disabled")
        pair.ours.reload()
        pair.left_alone("/plain/huge.bin", reason="disabled")
    finally:
        pair.zone.ctl("enable")
    fills = pair.zone.count("fills")
    pair.hit("/plain/huge.bin")
    assert pair.zone.count("fills") == fills


def test_warmed_by_afpactl(pair):
    for number in range(5):
        pair.put(f"warmed/{number}.bin", payload(f"warmed {number}", 50000 * number))
    pair.zone.ctl("warm", pair.root / "warmed")
    fills, misses = pair.zone.count("fills"), pair.zone.count("misses")
    for number in range(5):
        pair.hit(f"/warmed/{number}.bin")
    assert (pair.zone.count("fills"), pair.zone.count("misses")) == (fills, misses)


def test_show_and_verify_while_the_server_runs(pair):
    pair.put("plain/shown.bin", payload("shown", 200000))
    pair.warm("/plain/shown.bin")
    shown = pair.zone.show(pair.root / "plain/shown.bin")
    assert [e["state"] for e in shown["pin_array"]] == ["pinned"] * 4
    assert sum(e["length"] for e in shown["pin_array"]) == shown["size"] == 200000
    assert not pair.zone.problems()


@pytest.mark.parametrize("what", ["/etc/passwd", "/nosuch", "/", "nosuch-zone"])
def test_afpactl_on_what_is_no_segment(what):
    for command in (["stat"], ["list"], ["show", "/x"], ["verify"], ["purge", "--all"], ["disable"], ["warm", "/etc/hostname"]):
        run = subprocess.run([AFPACTL, "-z", what, *command], capture_output=True, text=True, timeout=20)
        assert run.returncode == 3, (command, run)
        lines = run.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("afpactl: ") and what in lines[0], run.stderr
