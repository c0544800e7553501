# SPDX-License-Identifier: Apache-2.0
"""afpactl warm URL: which replies are whole, and what is said of those that are not."""
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tool import NOT_SO, SECONDS, died_by
from wire import eventually

END = b"\r\n\r\n"


class Canned:
    """A server that sends these very bytes to whoever asks, in pieces; then it closes, resets, or stays silent."""

    def __init__(self, pieces, how="close"):
        self.pieces, self.how = pieces, how
        self.asked = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/file"
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        connection = self.listener.accept()[0]
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while END not in self.asked and (data := connection.recv(65536)):
                self.asked += data
            for piece in self.pieces:
                connection.sendall(piece)
                self.over.wait(0.01)
            if self.how == "silent":
                self.over.wait(SECONDS)
            if self.how == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(SECONDS)
        self.listener.close()


def reply(fields=(), body=b"", line=b"HTTP/1.1 200 OK"):
    return b"\r\n".join([line, *fields]) + END + body


LENGTH = [b"Content-Length: 10"]
CHUNKED = [b"Transfer-Encoding: chunked"]
BODY = b"0123456789"

WHOLE = {
    "length": reply(LENGTH, BODY),
    "length 0": reply([b"Content-Length: 0"]),
    "no length": reply([], BODY),
    "no body, no length": reply(),
    "more than its length": reply(LENGTH, BODY + b"!"),
    "name in capitals, blanks": reply([b"CONTENT-LENGTH:\t 10  "], BODY),
    "chunks": reply(CHUNKED, b"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"),
    "no chunks": reply(CHUNKED, b"0\r\n\r\n"),
    "chunks with extensions and a trailer": reply(CHUNKED, b"000A;x=1\r\n0123456789\r\n0;y\r\nField: value\r\n\r\n"),
    "chunks after gzip": reply([b"Transfer-Encoding: gzip, Chunked "], b"a\r\n0123456789\r\n0\r\n\r\n"),
    "chunks beat a length": reply(LENGTH + CHUNKED, b"1\r\n0\r\n0\r\n\r\n"),
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 10\n\n" + BODY,
    "after interim replies": reply(LENGTH, line=b"HTTP/1.1 103 Early Hints") + reply(line=b"HTTP/1.1 100 Continue") + reply(LENGTH, BODY),
    "HTTP/1.0": reply(LENGTH, BODY, b"HTTP/1.0 200 OK"),
    "long head": reply([b"X-Long: " + b"x" * 200000, *LENGTH], BODY),
    "long body": reply([b"Content-Length: 300000"], b"." * 300000),
}
CUT = {
    "length": reply(LENGTH, BODY[:9]),
    "no body": reply(LENGTH),
    "huge length": reply([b"Content-Length: 18446744073709551599"], BODY),
    "no last chunk": reply(CHUNKED, b"a\r\n0123456789\r\n"),
    "no end of the last chunk": reply(CHUNKED, b"a\r\n0123456789\r\n0\r\n"),
    "no chunk": reply(CHUNKED),
    "half a chunk": reply(CHUNKED, b"a\r\n01234"),
    "half a size": reply(CHUNKED, b"a"),
    "no line end behind a chunk": reply(CHUNKED, b"a\r\n0123456789"),
    "half a trailer": reply(CHUNKED, b"0\r\nField: va"),
}
BAD = {
    "length": reply([b"Content-Length: ten"], BODY),
    "lengths": reply([b"Content-Length: 10, 10"], BODY),
    "negative length": reply([b"Content-Length: -1"], BODY),
    "length out of range": reply([b"Content-Length: 99999999999999999999"], BODY),
    "size of a chunk": reply(CHUNKED, b"x\r\n0123456789\r\n0\r\n\r\n"),
    "size out of range": reply(CHUNKED, b"fffffffffffffffff\r\n0123456789\r\n0\r\n\r\n"),
    "sign of a chunk's size": reply(CHUNKED, b"-1\r\n0123456789\r\n0\r\n\r\n"),
    "a chunk longer than its size": reply(CHUNKED, b"9\r\n0123456789\r\n0\r\n\r\n"),
}
NONE = {
    "nothing": b"", "no HTTP": b"hello\r\n\r\n", "half a status line": b"HTTP/1.1 200", "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no end of the head": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "interim alone": reply(line=b"HTTP/1.1 103 Early Hints"),
    "another protocol": reply(LENGTH, BODY, b"HTTP/2 200"),
}
FAULTS = [(word, label, cases[label]) for word, cases in (("incomplete", CUT), ("bad_reply", BAD), ("no_reply", NONE)) for label in cases]


def pieces_of(data, how):
    """At once, or byte by byte where it is short enough, so that every place to part it is tried."""
    return [data] if how == "whole" else [data[i:i + 1] for i in range(len(data))]


@pytest.mark.parametrize("label", WHOLE)
def test_whole(zone, label):
    with Canned([WHOLE[label]]) as server:
        result = zone.run("--json", "warm", server.url).done().json
    assert (result["files"], result["skipped"]) == (1, {}), f"expected it to count: {result}"


@pytest.mark.parametrize("label", ["length", "chunks with extensions and a trailer", "after interim replies"])
def test_whole_in_pieces(zone, label):
    with Canned(pieces_of(WHOLE[label], "bytes")) as server:
        assert zone.run("--json", "warm", server.url).done().json["files"] == 1, "expected it to count"


@pytest.mark.parametrize("word,label,given", FAULTS, ids=[f"{word}: {label}" for word, label, _ in FAULTS])
def test_not_whole(zone, word, label, given):
    """No file is counted; URL and reason are told, and the status tells too."""
    with Canned([given]) as server:
        ended = zone.run("--json", "warm", server.url)
    assert ended.complains(NOT_SO, f"{server.url}: {word}: ").json["skipped"] == {word: 1}, f"expected the reason: {ended}"
    assert (ended.json["files"], ended.json["bytes"]) == (0, 0), f"expected nothing to be counted: {ended}"


@pytest.mark.parametrize("fields", [LENGTH, CHUNKED, []], ids=["length", "chunks", "neither"])
def test_reset(zone, fields):
    """A reply that nothing but the end of the connection ends is not whole if that is no orderly one."""
    with Canned([reply(fields, b"5\r\n01")], "reset") as server:
        zone.run("--json", "warm", server.url).complains(NOT_SO, f"{server.url}: incomplete")


def test_one_of_several(zone, site):
    """The others count."""
    with Canned([CUT["length"]]) as cut, Canned([WHOLE["length"]]) as whole:
        ended = zone.run("warm", cut.url, site / "empty", whole.url)
    assert ended.complains(NOT_SO, cut.url, "incomplete").text.startswith("warmed 2 files, "), f"expected the others: {ended}"
    assert ended.text.endswith("; skipped 1: incomplete 1\n"), f"expected the summary to tell: {ended}"


def test_status_counts_before_length(zone):
    with Canned([reply(LENGTH, b"", b"HTTP/1.1 404 Not Found")]) as server:
        zone.run("--json", "warm", server.url).complains(NOT_SO, f"{server.url}: http_404")


@pytest.mark.parametrize("byte", ["\t", "\x01", "\x7f", "\x1b"])
def test_control_character_in_a_url(zone, byte):
    """Never sent."""
    ended = zone.run("--json", "warm", f"http://127.0.0.1:1/a{byte}b")
    assert ended.complains(NOT_SO, "bad_url").json["skipped"] == {"bad_url": 1}, f"expected no connection: {ended}"
    assert byte.encode() not in ended.err, f"expected it to be escaped: {ended}"


def taken(process, number):
    """Whether a signal that was sent to the process is no longer on its way to one of its threads."""
    pending = re.search(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{process.pid}/status").read_text(), re.M)
    return not int(pending[1], 16) >> (number - 1) & 1


def test_interrupt(zone):
    """While a reply comes to a stop: an end, and no complaint about a reply that nobody waited for."""
    with Canned([CUT["length"]], "silent") as server:
        process = zone.start("warm", "-j1", server.url)
        assert eventually(lambda: END in server.asked, 10, 0.01), "expected the request"
        process.send_signal(signal.SIGINT)
        assert eventually(lambda: taken(process, signal.SIGINT), 10, 0.01), "expected that it is taken"
        time.sleep(0.1)  # from there it is a step to the handler
        server.over.set()
        out, err = process.communicate(timeout=SECONDS)
    assert died_by(process.returncode) and err == b"", f"expected to end by the signal: {process.returncode}, {err}"
    assert out.startswith(b"warmed 0 files, "), f"expected the summary: {out}"
