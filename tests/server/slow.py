# SPDX-License-Identifier: Apache-2.0
"""Many clients that take their replies a few kilobytes at a time, driven by one thread."""
import select
import time

from wire import Wire, get


class SlowClients:
    """One connection per target, each asking for it at once and reading only when told to.  `want` maps targets to content."""

    def __init__(self, port, targets, want):
        self.want = want
        self.clients = []
        for target in targets:
            wire = Wire(port, rcvbuf=4096)
            wire.send(get(target))
            self.clients.append([wire, target, bytearray(), None])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self, reset=False):
        for wire, *_ in self.clients:
            wire.close(reset)
        self.clients = []

    def _read(self, limit):
        """Has each client that can read take up to `limit` bytes; the number that did."""
        by_socket = {c[0].sock: c for c in self.clients if c[3] is None}
        ready = select.select(list(by_socket), [], [], 0.01)[0]
        for sock in ready:
            client = by_socket[sock]
            try:
                data = sock.recv(limit)
            except ConnectionError:
                data = b""
            client[2].extend(data)
            if not data:
                client[3] = "ended"
        return len(ready)

    def run(self, seconds, rate=4096):
        """Reads `rate` bytes a second from each."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(max(rate // 10, 1))
            time.sleep(0.1)

    def _body(self, client):
        head, _, body = bytes(client[2]).partition(b"\r\n\r\n")
        return head, body

    def finish(self, seconds=20):
        """Reads all that is left, at full speed; the number of clients that got the whole content."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(self._whole(c) or c[3] for c in self.clients):
            self._read(1 << 18)
        return sum(self._whole(c) for c in self.clients)

    def _whole(self, client):
        head, body = self._body(client) if len(client[2]) >= len(self.want[client[1]]) else (b"", b"")
        return bool(head) and len(body) >= len(self.want[client[1]])

    def right(self):
        """Whether all bytes that came so far are those of the content asked for."""
        for client in self.clients:
            head, body = self._body(client)
            if head and not (b" 200 " in head.split(b"\r\n")[0] and self.want[client[1]].startswith(body)):
                return False
        return True
