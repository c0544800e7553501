# SPDX-License-Identifier: Apache-2.0
"""TLS and HTTP/2: replies through layers that copy, encrypt and frame what the cache holds."""
import re
import ssl
import subprocess

import pytest

from docroot import payload
from wire import HOST, Wire, eventually, get
from zone import STOCK_ONLY

SIZES = {"/empty.bin": 0, "/small.bin": 1000, "/chunk.bin": 65536, "/chunks.bin": 300001, "/large.bin": 3 << 20}

TLS = {
    "nginx": """
    server {
        listen 127.0.0.1:@PORT2@ ssl http2;
        server_name localhost;
        root @ROOT@;
        ssl_certificate CERT;
        ssl_certificate_key KEY;
        location /forbidden/ { deny all; }
    }""",
    "httpd": """
    SSLSessionCache none
    Protocols h2 h2c http/1.1
    Listen 127.0.0.1:@PORT2@
    <VirtualHost 127.0.0.1:@PORT2@>
        ServerName localhost
        DocumentRoot @ROOT@
        SSLEngine on
        SSLCertificateFile CERT
        SSLCertificateKeyFile KEY
        Protocols h2 http/1.1
        <Location /forbidden>\nRequire all denied\n</Location>
    </VirtualHost>""",
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate and its key."""
    where = tmp_path_factory.mktemp("tls")
    cert, key = where / "cert.pem", where / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={HOST}", "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=30)
    return cert, key


@pytest.fixture(scope="module")
def settings(kind, certificate):
    return {"outer": TLS[kind].replace("CERT", str(certificate[0])).replace("KEY", str(certificate[1]))}


def tree(pair):
    for name, size in SIZES.items():
        pair.put(name[1:], payload(name, size))
    pair.put("forbidden/file.bin", payload("forbidden", 100))


@pytest.fixture(scope="module")
def context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def tls_same(pair, context, raw):
    replies = []
    for server in (pair.ours, pair.stock):
        with Wire(server.port2, tls=context) as wire:
            replies.append(wire.request(raw))
    assert replies[0].comparable() == replies[1].comparable()
    return replies[0]


@pytest.mark.parametrize("name", SIZES)
def test_tls(pair, context, name):
    tls_same(pair, context, get(name))
    hits = pair.zone.hits()
    reply = tls_same(pair, context, get(name))
    assert pair.zone.grows("hits", hits)
    assert reply.body == payload(name, SIZES[name])
    tls_same(pair, context, get(name, method="HEAD"))
    tls_same(pair, context, get(name, "Range: bytes=10-70000"))
    tls_same(pair, context, get(name, "Range: bytes=1-2,5-66000"))
    assert tls_same(pair, context, get(name, f"If-None-Match: {reply.header('ETag')}")).status == 304
    assert pair.hit(name).digest == reply.digest


def test_tls_keep_alive_and_pipeline(pair, context):
    names = list(SIZES) * 3
    raw = b"".join(get(name) for name in names)
    with Wire(pair.ours.port2, tls=context) as wire:
        wire.send(raw)
        for name in names:
            assert wire.reply().body == payload(name, SIZES[name])


def test_tls_forbidden(pair, context):
    pair.same("/forbidden/file.bin")
    assert tls_same(pair, context, get("/forbidden/file.bin")).status == 403


def test_tls_client_goes_half_way(pair, context):
    for reset in (False, True):
        for _ in range(5):
            wire = Wire(pair.ours.port2, rcvbuf=4096, tls=context)
            wire.send(get("/large.bin"))
            wire.sock.recv(1000)
            wire.close(reset)
    assert pair.zone.unpinned()


def curl(url, where, *more):
    """Headers and body of a request by curl; headers without Date."""
    head, body = where / "head", where / "body"
    head.unlink(missing_ok=True)
    run = subprocess.run(["curl", "-sk", "--max-time", "20", "-D", head, "-o", body, "-w", "%{http_version} %{http_code}", *more, url],
                         capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, f"curl: exit {run.returncode}: {run.stderr}"
    data = body.read_bytes() if body.exists() else b""
    body.unlink(missing_ok=True)
    if "--head" in more:
        data = b""  # curl writes the header once more where the body goes
    return run.stdout, re.sub(r"(?im)^date: .*\n", "", head.read_text()), data


def curl_same(pair, where, name, *more, plain=False):
    replies = []
    for server in (pair.ours, pair.stock):
        url = f"http://{HOST}:{server.port}{name}" if plain else f"https://{HOST}:{server.port2}{name}"
        replies.append(curl(url, where, "--resolve", f"{HOST}:{url.split(':')[2].split('/')[0]}:127.0.0.1", *more))
    assert replies[0][:2] == replies[1][:2]
    assert replies[0][2] == replies[1][2]
    assert replies[0][0].startswith("2 ")
    return replies[0]


@pytest.fixture(scope="module")
def http2(need):
    """Whoever asks for this needs a curl that speaks HTTP/2."""
    try:
        version = subprocess.run(["curl", "--version"], capture_output=True, text=True, timeout=10).stdout
    except FileNotFoundError:
        version = ""
    need("HTTP2" in version, "curl with HTTP/2 is not installed")


@pytest.mark.parametrize("name", SIZES)
def test_http2(pair, http2, tmp_path, name):
    for _ in range(2):
        assert curl_same(pair, tmp_path, name, "--http2")[2] == payload(name, SIZES[name])
    hits = pair.zone.hits()
    reply = curl_same(pair, tmp_path, name, "--http2")
    assert pair.zone.grows("hits", hits)
    curl_same(pair, tmp_path, name, "--http2", "--head")
    tag = re.search(r"(?im)^etag: (.*?)\r?$", reply[1]).group(1)
    assert curl_same(pair, tmp_path, name, "--http2", "-H", f"If-None-Match: {tag}")[0].endswith("304")
    curl_same(pair, tmp_path, name, "--http2", "-r", "10-70000")
    curl_same(pair, tmp_path, name, "--http2", "-r", "5000000-")


def test_http2_cold(pair, http2, tmp_path):
    data = pair.put("cold.bin", payload("cold", 200000))
    assert curl_same(pair, tmp_path, "/cold.bin", "--http2")[2] == data


def test_http2_without_tls(pair, http2, tmp_path):
    if pair.kind == "httpd":  # nginx listens for h2c only where it listens for nothing else
        for name in SIZES:
            curl_same(pair, tmp_path, name, "--http2-prior-knowledge", plain=True)


def test_http2_many_streams(pair, http2, tmp_path):
    """40 streams in one connection; each body arrives whole, and the frames of one do not stray into another."""
    pair.same("/chunks.bin")
    url = f"https://{HOST}:{pair.ours.port2}/chunks.bin"
    argv = ["curl", "-sk", "--http2", "--max-time", "30", "--resolve", f"{HOST}:{pair.ours.port2}:127.0.0.1", "-Z", "--parallel-max", "40"]
    for number in range(40):
        argv += [url + f"?{number}", "-o", str(tmp_path / f"out-{number}")]
    assert subprocess.run(argv, timeout=40).returncode == 0
    for number in range(40):
        assert (tmp_path / f"out-{number}").read_bytes() == payload("/chunks.bin", SIZES["/chunks.bin"])
    assert pair.zone.unpinned()


def test_http2_client_goes_half_way(pair, http2, tmp_path):
    for _ in range(3):
        url = f"https://127.0.0.1:{pair.ours.port2}/large.bin"
        client = subprocess.Popen(["curl", "-sk", "--http2", "--limit-rate", "20k", "-o", tmp_path / "part", url])
        try:
            assert eventually(lambda: STOCK_ONLY or pair.zone.count("pins") > 0 or (tmp_path / "part").exists(), 5)
        finally:
            client.kill()
            client.wait(5)
    assert pair.zone.unpinned()
