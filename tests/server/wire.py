# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 on bare sockets: writes the bytes of a request, reads the bytes of the reply.

A test of "byte for byte the same" cannot use a client library, which normalises what it reads.  Bodies are kept up to
KEEP bytes; of longer ones only length and digest are.  Every socket has a timeout.
"""
import hashlib
import re
import socket
import time
import zlib
from dataclasses import dataclass, field

KEEP = 8 << 20
HOST = "localhost"


def get(target, *headers, method="GET", version="HTTP/1.1", host=HOST):
    """The bytes of a request; `headers` are whole lines ("Range: bytes=0-1")."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines.extend(headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def head(target, *headers, **more):
    return get(target, *headers, method="HEAD", **more)


def in_order(methods):
    """The value of Allow; httpd gives the methods in an order that differs from process to process."""
    return ",".join(sorted(methods.split(",")))


class Body:
    """Collects a body: its length, its digest, its bytes unless there are too many."""

    def __init__(self):
        self.length = 0
        self.bytes = bytearray()
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, data):
        self.length += len(data)
        self._hash.update(data)
        if self.bytes is not None:
            self.bytes += data
            if self.length > KEEP:
                self.bytes = None

    @property
    def digest(self):
        return self._hash.hexdigest()


@dataclass
class Reply:
    version: str
    status: int
    reason: str
    headers: list = field(default_factory=list)  # (name, value) in the order they came
    length: int = 0
    digest: str = ""
    body: bytes = None   # None: longer than KEEP
    complete: bool = True  # False: the connection ended before the body did

    def header(self, name):
        """The value of the only header of that name; None if there is none."""
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    def comparable(self):
        """The reply as lines, without what differs between two instances of one server."""
        length, digest, headers = self.length, self.digest, self.headers
        boundary = re.search(r'boundary="?([0-9A-Za-z]+)', self.header("Content-Type") or "")
        if boundary:
            mark = boundary.group(1)
            plain = (self.body or b"").replace(mark.encode(), b"BOUNDARY")
            shorter = self.length - len(plain)
            length, digest = len(plain), hashlib.blake2b(plain, digest_size=16).hexdigest()
            # httpd's boundary is a random number without leading zeros: its length, and that of what HEAD is told of, varies.
            headers = [(n, (str(int(v) - shorter) if length else "by the boundary") if n.lower() == "content-length"
                        else v.replace(mark, "BOUNDARY")) for n, v in headers]
        if not self.header("Content-Length") and self.header("Content-Encoding") == "gzip" and self.body and self.complete:
            # A compressor's output depends on how its input was cut in pieces; what is in it does not.
            plain = zlib.decompress(self.body, wbits=31)
            length, digest = len(plain), hashlib.blake2b(plain, digest_size=16).hexdigest()
        lines = [f"{self.version} {self.status} {self.reason}"]
        lines += [f"{n}: {in_order(v) if n == 'Allow' else v}" for n, v in headers if n.lower() != "date"]
        return lines + [f"<{length} bytes, {digest}, {'complete' if self.complete else 'cut'}>"]


class Wire:
    """One connection.  `rcvbuf` makes a client that takes little at a time."""

    def __init__(self, port, timeout=10.0, rcvbuf=None, tls=None):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.connect(("127.0.0.1", port))
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=HOST)
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self, reset=False):
        if reset:  # linger 0: the peer sees a reset, not an orderly end
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def _more(self):
        data = self.sock.recv(1 << 20)
        self.buf += data
        return bool(data)

    def _line(self):
        while b"\n" not in self.buf:
            if not self._more():
                raise ConnectionError(f"connection ended within a line: {self.buf[:80]!r}")
        line, _, self.buf = self.buf.partition(b"\n")
        assert line.endswith(b"\r"), f"line without CR: {line!r}"
        return line[:-1].decode("latin-1")

    def _take(self, count, body):
        """Moves `count` bytes (None: all there are until the end) into body; False if the connection ended before."""
        while count is None or count > 0:
            if not self.buf and not self._more():
                return count is None
            data = self.buf if count is None else self.buf[:count]
            self.buf = self.buf[len(data):]
            body.add(data)
            if count is not None:
                count -= len(data)
        return True

    def _chunked(self, body):
        while True:
            size = int(self._line().split(";")[0], 16)
            if not self._take(size, body):
                return False
            if size == 0:
                while self._line():
                    pass
                return True
            assert self._line() == "", "chunk without its line end"

    def head(self):
        """Status line and headers; the body stays in the connection."""
        version, _, rest = self._line().partition(" ")
        status, _, reason = rest.partition(" ")
        reply = Reply(version, int(status), reason)
        while line := self._line():
            name, _, value = line.partition(":")
            reply.headers.append((name, value.strip()))
        return reply

    def rest(self, reply, method="GET"):
        """Reads the body that belongs to a head."""
        body = Body()
        length = reply.header("Content-Length")
        try:
            if method == "HEAD" or reply.status in (204, 304) or reply.status < 200:
                pass
            elif (reply.header("Transfer-Encoding") or "").lower() == "chunked":
                reply.complete = self._chunked(body)
            else:
                reply.complete = self._take(None if length is None else int(length), body)
        except ConnectionError:
            reply.complete = False
        reply.length, reply.digest = body.length, body.digest
        reply.body = None if body.bytes is None else bytes(body.bytes)
        return reply

    def reply(self, method="GET"):
        """The next reply, whole; interim (1xx) replies are passed over."""
        while (reply := self.head()).status < 200:
            pass
        return self.rest(reply, method)

    def request(self, raw):
        self.send(raw)
        return self.reply(raw.split(b" ", 1)[0].decode())

    def until_end(self):
        """Everything up to the end of the connection."""
        while self._more():
            pass
        data, self.buf = self.buf, b""
        return data


def fetch(port, raw, timeout=10.0, tls=None):
    """One request on a connection of its own."""
    with Wire(port, timeout, tls=tls) as wire:
        return wire.request(raw)


def masked(data):
    """Replies without what differs between two instances of one server, or from second to second."""
    data = re.sub(rb"\r\nDate: [^\r\n]*", b"\r\nDate: -", data)
    return re.sub(rb"\r\nAllow: ([^\r\n]*)", lambda m: b"\r\nAllow: " + in_order(m.group(1).decode()).encode(), data)


def exchange(port, raw, timeout=10.0):
    """All bytes the server sends for `raw` until it closes, masked."""
    with Wire(port, timeout) as wire:
        wire.send(raw)
        return masked(wire.until_end())


def eventually(check, seconds=5.0, step=0.05):
    """The first true value of check() within `seconds`, else its last value."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)
