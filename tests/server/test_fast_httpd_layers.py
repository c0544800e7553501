# SPDX-License-Identifier: Apache-2.0
"""httpd's fast path beside connections that are not for it: TLS, a PROXY line before the requests, a filter that is not the core's."""
import re

import pytest

from child import free_port
from conftest import need
from docroot import payload
from pair import Pair
from servers import binary, libexec, missing
from test_tls import certificate, context  # noqa: F401
from wire import Wire, eventually, exchange, fetch, get
from zone import STOCK_ONLY

pytestmark = pytest.mark.skipif(STOCK_ONLY or binary("httpd") is None, reason="needs the module")

SMALL, LARGE = payload("small.bin", 1000), payload("large.bin", 300000)
CONF = "AfpaFastPath on\nAfpaLogging off\n"
HOSTS = {
    "ssl": "SSLEngine on\nSSLCertificateFile @CERT@\nSSLCertificateKeyFile @KEY@\n",
    "remoteip": 'RemoteIPProxyProtocol On\nCustomLog @DIR@/proxied.log "%a %{c}a %r"\n',
    "dumpio": "DumpIOInput On\nLogLevel dumpio:trace7\n",
}


def vhost(name, port):
    return f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nServerName localhost\n{HOSTS[name]}</VirtualHost>\n"


@pytest.fixture(scope="module")
def there():
    """The modules of httpd that are installed, of those that make such connections."""
    return [name for name in HOSTS if (libexec() / f"mod_{name}.so").exists()]


@pytest.fixture(scope="module")
def site(there, certificate):  # noqa: F811
    """A server with the fast path on for all of it, with a virtual host of each kind; yields it with their ports."""
    need(not missing("httpd"), missing("httpd"))
    pair = Pair("httpd", conf=CONF, revalidate=3600000, workers=1)
    ports = {name: free_port() for name in there}
    for server, own in ((pair.ours, ports), (pair.stock, {name: free_port() for name in there})):
        load = "".join(f"LoadModule {name}_module {libexec()}/mod_{name}.so\n" for name in there if name != "ssl")
        text = load + "SSLSessionCache none\n" + "".join(vhost(name, port) for name, port in own.items())
        server.conf += text.replace("@CERT@", str(certificate[0])).replace("@KEY@", str(certificate[1]))
        server.configure()
    with pair:
        pair.put("small.bin", SMALL)
        pair.put("large.bin", LARGE)
        yield pair, ports
        assert pair.zone.unpinned() and not pair.zone.problems()
        assert "signal" not in pair.ours.log()


def port_of(site, name):
    need(name in site[1], f"httpd's mod_{name} is not installed")
    return site[1][name]


def test_tls(site, context):  # noqa: F811
    pair, port = site[0], port_of(site, "ssl")
    with Wire(port, tls=context) as wire:
        def ask():
            assert wire.request(get("/large.bin")).body == LARGE
        assert pair.from_the_pipeline(ask, 6)
    for _ in range(3):
        with Wire(port, tls=context) as wire:
            wire.send(get("/small.bin") + get("/missing") + get("/small.bin"))
            assert [wire.reply().status for _ in range(3)] == [200, 404, 200]
    assert pair.from_the_pipeline(lambda: fetch(port, get("/small.bin"), tls=context), 4)


def test_in_the_clear_to_tls(site):
    """What is no TLS there httpd refuses in its own words, though the very same request is admitted elsewhere."""
    pair, port = site[0], port_of(site, "ssl")
    assert pair.admit("/small.bin")
    before = pair.zone.count("fast_hits")
    for _ in range(3):
        assert fetch(port, get("/small.bin", "Connection: close")).status == 400
    assert pair.zone.count("fast_hits") == before


def test_proxy_protocol(site):
    """The PROXY line is read, and the client it names is the one in the log, for every request of the connection."""
    pair, port = site[0], port_of(site, "remoteip")

    def ask():
        with Wire(port) as wire:
            wire.send(b"PROXY TCP4 192.0.2.77 192.0.2.1 4000 80\r\n")
            for target, body in (("/small.bin", SMALL), ("/large.bin", LARGE), ("/small.bin", SMALL)):
                assert wire.request(get(target)).body == body
            assert wire.request(get("/missing")).status == 404
    log = pair.ours.dir / "proxied.log"
    log.write_text("")
    assert pair.from_the_pipeline(ask, 4)
    assert eventually(lambda: len(log.read_text().splitlines()) >= 16)
    lines = log.read_text().splitlines()
    named = {f"192.0.2.77 127.0.0.1 GET /{name} HTTP/1.1" for name in ("small.bin", "large.bin", "missing")}
    assert len(lines) == 16 and set(lines) == named


def test_proxy_line_that_is_missing(site):
    """Without it nothing is served there, though the very same request is admitted elsewhere."""
    pair, port = site[0], port_of(site, "remoteip")
    assert pair.admit("/small.bin")
    before = pair.zone.hits()
    for _ in range(3):
        assert exchange(port, get("/small.bin", "Connection: close")) == b""
    assert pair.zone.hits() == before


def test_another_filter(site):
    """mod_dumpio is to see every byte of such a connection, so each of its requests goes through it."""
    pair, port = site[0], port_of(site, "dumpio")
    with Wire(port) as wire:
        def ask():
            assert wire.request(get("/small.bin", "X-Seen: yes")).body == SMALL
        assert pair.from_the_pipeline(ask, 8)
    assert eventually(lambda: len(re.findall(r"mod_dumpio:.*X-Seen: yes", pair.ours.log())) == 8)
    fetch(pair.ours.port, get("/small.bin", "X-Other: yes"))
    assert not re.search(r"mod_dumpio:.*X-Other", pair.ours.log())
