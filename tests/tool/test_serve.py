# SPDX-License-Identifier: Apache-2.0
"""afpactl serve, over sockets; and what the other commands say of response entries, which it makes without a server."""
import json
import re
import signal
import time
from pathlib import Path

import pytest

from tool import NOT_SO, SECONDS, USAGE, put
from wire import Wire, exchange, fetch, get, head

SIZES = {"empty.txt": 0, "small.html": 1000, "chunk.bin": 65536, "large.bin": 400001}


def content(name):
    return (name.encode() * (SIZES[name] // len(name) + 1))[:SIZES[name]]


@pytest.fixture
def site(tmp_path):
    for name in SIZES:
        put(tmp_path / name, content(name))
    put(tmp_path / "index.html", b"the index\n")
    put(tmp_path / "sub" / "a b.txt", b"blank\n")
    (tmp_path / "sub" / "directory").mkdir()
    tmp_path.chmod(0o755)
    return tmp_path


class Serving:
    def __init__(self, zone, site, *options):
        self.process = zone.start("--json", "serve", *options, site)
        self.said = json.loads(self.process.stdout.readline())
        self.port = self.said["port"]

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            assert self.end() == (0, b"", b""), "expected an end without a word"


@pytest.fixture
def serving(zone, site):
    with Serving(zone, site, "-j", "2") as serving:
        yield serving
    zone.verified()


def test_files(serving):
    for _ in range(3):
        for name, size in SIZES.items():
            reply = fetch(serving.port, get("/" + name))
            assert (reply.status, reply.body) == (200, content(name)), f"expected {name}"
            assert fetch(serving.port, head("/" + name)).header("Content-Length") == str(size), "expected the same header"
    assert fetch(serving.port, get("/")).body == b"the index\n", "expected the index of the directory"
    assert fetch(serving.port, get("/sub/a%20b.txt?x=/../y")).body == b"blank\n", "expected the decoded path, without the query"


def test_client_that_goes(serving):
    """sendfile to a client that has gone raises a signal that would end the server.  The moment is hard to hit, so this looks
    whether the signal is ignored."""
    status = Path(f"/proc/{serving.process.pid}/status").read_text()
    ignored = int(re.search(r"^SigIgn:\s*(\w+)", status, re.M)[1], 16)
    assert ignored >> (signal.SIGPIPE - 1) & 1, "expected SIGPIPE to be ignored"


def test_types(serving):
    for name, kind in (("small.html", "text/html"), ("empty.txt", "text/plain"), ("chunk.bin", "application/octet-stream")):
        assert fetch(serving.port, get("/" + name)).header("Content-Type") == kind, f"expected the type of {name}"


ERRORS = [(get("/missing"), 404), (get("/sub"), 404), (get("/sub/directory/"), 404), (get("/../etc/passwd"), 404), (get("/%2e%2e/x"), 404),
          (get("/sub%2fa%20b.txt"), 404), (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
          (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde", 400),
          (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400), (get("/", "X: " + "x" * 9000), 431)]


@pytest.mark.parametrize("raw, status", ERRORS)
def test_errors(serving, raw, status):
    reply = fetch(serving.port, raw)
    assert reply.status == status and reply.complete, f"expected {status}"
    assert reply.header("Connection") == "close", "expected the end of the connection"


def test_unreadable(zone, site):
    put(site / "secret.txt", b"x").chmod(0)
    with Serving(zone, site) as serving:
        assert fetch(serving.port, get("/secret.txt")).status in (200, 403), "expected 403, or to be root"


IGNORED = ["Range: bytes=0-1", "Upgrade: h2c", "TE: trailers", "If-Modified-Since: yesterday", "If-None-Match: odd"]


@pytest.mark.parametrize("field", IGNORED)
def test_fields_that_may_be_ignored(serving, field):
    with Wire(serving.port) as wire:
        for _ in range(2):
            assert wire.request(get("/small.html", field)).body == content("small.html"), "expected the whole"


def test_conditions(serving):
    reply = fetch(serving.port, get("/small.html"))
    for field in (f"If-None-Match: {reply.header('ETag')}", f"If-Modified-Since: {reply.header('Last-Modified')}"):
        again = fetch(serving.port, get("/small.html", field))
        assert (again.status, again.length) == (304, 0), "expected no body"


def test_pipeline_and_close(serving):
    raw = get("/small.html") + head("/large.bin") + get("/large.bin") + get("/empty.txt", "Connection: close") + get("/small.html")
    data = exchange(serving.port, raw)
    assert data.count(b"HTTP/1.1 200 OK") == 4 and data.count(content("large.bin")) == 1, "expected four replies, in order"


def test_changed_file(serving, site):
    assert fetch(serving.port, get("/small.html")).body == content("small.html")
    (site / "new").write_bytes(b"changed")
    (site / "new").rename(site / "small.html")
    time.sleep(1.2)
    assert fetch(serving.port, get("/small.html")).body == b"changed", "expected nothing older than a second"


def test_another_directory(make, shm):
    """What is left of one that was served before is nobody's: the same address and Host stand for another directory now."""
    zone, port = make(), 0
    for name in ("first", "second"):
        put(shm / name / "index.html", name.encode())  # on tmpfs: what is due for a check is checked by the look-up
        with Serving(zone, shm / name, "-p", str(port)) as serving:
            port = serving.port
            for _ in range(2):
                reply = fetch(port, get("/"))
                assert (reply.status, reply.body) == (200, name.encode()), f"expected the file of {name}"


def test_many_connections(serving):
    wires = [Wire(serving.port) for _ in range(300)]
    for wire in wires:
        wire.send(get("/chunk.bin"))
    for wire in wires:
        assert wire.reply().body == content("chunk.bin"), "expected a reply on each"
        wire.close()


def test_ends_in_the_middle_of_a_reply(zone, site):
    serving = Serving(zone, site)
    with Wire(serving.port, rcvbuf=4096) as wire:
        wire.send(get("/large.bin"))
        time.sleep(0.2)
        serving.process.send_signal(signal.SIGINT)
        assert wire.reply().body == content("large.bin"), "expected the reply to be finished"
    assert serving.process.wait(SECONDS) == 0, "expected an orderly end"
    assert zone.json("stat")["pins"] == 0, "expected no pin to be left"


USAGE_ERRORS = [["serve"], ["serve", "a", "b"], ["serve", "-p", "x", "."], ["serve", "-p", "70000", "."], ["serve", "-j", "0", "."],
                ["serve", "-j", "1000", "."]]


@pytest.mark.parametrize("args", USAGE_ERRORS)
def test_usage(zone, args):
    assert zone.run(*args).status == USAGE, "expected wrong usage"


def test_no_directory(zone, tmp_path):
    zone.run("serve", tmp_path / "none").fails(NOT_SO, tmp_path / "none", "No such file")
    zone.run("serve", put(tmp_path / "file", b"x")).fails(NOT_SO, tmp_path / "file", "Not a directory")


def test_port_that_is_taken(zone, site, serving):
    """By another of the same kind and user, which the kernel would let listen there too."""
    zone.run("serve", "-p", serving.port, site, seconds=5).fails(NOT_SO, f"port {serving.port}", "in use")


def test_address_for_people(zone, tmp_path):
    """The directory's name in one line, whatever is in it."""
    put(tmp_path / "\x1b[2J\n" / "file")
    process = zone.start("serve", tmp_path / "\x1b[2J\n")
    said = process.stdout.readline().decode()
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=SECONDS) == (b"", b"")
    assert re.fullmatch(rf"http://127\.0\.0\.1:\d+/ from {re.escape(str(tmp_path))}/\\x1b\[2J\\x0a, \d+ threads; .*\n", said), said


# ---- response entries, as the other commands have them ----

def test_show_of_a_url(zone, site, serving):
    url = "http://localhost/small.html"
    zone.run("show", url).fails(NOT_SO, "no response entry for this URL")
    fetch(serving.port, get("/small.html"))
    shown = zone.json("show", url)
    assert shown["kind"] == "response" and shown["path"].startswith(url + " "), "expected the response entry"
    assert shown["header"].startswith("HTTP/1.1 200 OK\r\n") and shown["header"].endswith("\r\n\r\n"), "expected its header"
    assert "Content-Length: 1000\r\n" in shown["header"], "expected its header"
    text = zone.run("show", url).done().text
    assert "\n  HTTP/1.1 200 OK\n" in text and "  Content-Length: 1000\n" in text, "expected the header, line by line"
    assert zone.json("show", site / "small.html")["header"] is None, "expected none of a file"


def test_purge_of_a_url(zone, site, serving):
    for more in ([], ["Accept-Encoding: gzip"]):
        fetch(serving.port, get("/small.html", *more))
    assert zone.json("purge", "http://localhost/small.html")["purged"] == 2, "expected both forms"
    assert str(site / "small.html") in zone.paths(), "expected the file to stay"
    zone.run("purge", "http://localhost/small.html").complains(NOT_SO, "no response entry for this URL")


def test_purge_of_urls(zone, site, serving):
    """A pattern of them, as `list` takes it."""
    for name in ("small.html", "chunk.bin", "large.bin"):
        fetch(serving.port, get(f"/{name}"))
    assert zone.json("purge", "http://localhost/*.bin*")["purged"] == 2, "expected the two that match"
    found = zone.json("list", "http://localhost/*")
    assert [one["path"].partition(" ")[0] for one in found] == ["http://localhost/small.html"], f"expected the other: {found}"
    assert str(site / "chunk.bin") in zone.paths(), "expected the files to stay"
    zone.run("purge", "http://localhost/*.bin*").complains(NOT_SO, "no response entry for this URL")


def test_list_of_urls(zone, site, serving):
    """A pattern that begins as they do is no path in the current directory."""
    for name in ("small.html", "chunk.bin"):
        fetch(serving.port, get(f"/{name}"))
    found = zone.run("--json", "list", "http://localhost/*.html*", cwd=site).done().json
    assert [one["path"].partition(" ")[0] for one in found] == ["http://localhost/small.html"], f"expected that one: {found}"
    assert zone.run("list", "h*", cwd=site).status == NOT_SO, "expected another to be one"


def test_counts_and_dump(zone, serving):
    for _ in range(3):
        fetch(serving.port, get("/small.html"))
    stat = zone.json("stat")
    assert (stat["objects"], stat["response_entries"]) == (1, 1), "expected one of each"
    assert stat["fast_hits"] == 3 and stat["declined"]["no_response"] == 1, "expected one request to be admitted first"
    assert [one for one in zone.run("dump").done().lines if one.startswith("http")] == [], "expected files only"
