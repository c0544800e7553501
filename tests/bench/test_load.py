# SPDX-License-Identifier: Apache-2.0
"""What the load is made of: the mix, the constant rate, the slow file system."""
import collections
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from bench import TOP, work
from bench.load import constant_rate
from child import free_port
from wire import eventually
from zone import BUILD


def test_mix():
    """The shares of the classes, their sizes, and Zipf's law within one."""
    asked = list(work.mix_requests(40000, 40000))
    for share, low, high in work.CLASSES:
        got = sum(low <= size < high for _, size in asked) / len(asked)
        assert abs(got - share) < 0.02, f"expected {share} of the requests from {low} to {high} bytes, got {got}"
    counts = collections.Counter(target for target, _ in asked if target.startswith("/mix/1/")).most_common()
    first, tenth = counts[0], counts[9]
    assert first[0] == "/mix/1/0/0.bin" and 5 < first[1] / tenth[1] < 20, "expected the first about ten times as often as the tenth"
    assert asked == list(work.mix_requests(40000, 40000)), "expected the same requests each time"


class Stalling:
    """A server that answers at once, but for one pause."""

    def __init__(self, pause):
        self.pause, self.begin = pause, time.monotonic()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        while connection.recv(4096):
            with self.lock:
                if self.pause and time.monotonic() - self.begin > 0.5:
                    time.sleep(self.pause)
                    self.pause = 0
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture
def targets(tmp_path, need):
    need((BUILD / "bench" / "rate").exists(), "bench/rate has not been built")
    (tmp_path / "targets").write_text("/a\n/b\n")
    return tmp_path / "targets"


def test_constant_rate_sees_a_pause(targets):
    """All requests that came due in it have waited, not only the one in each connection: of 400 in 2 s, about 80 in 0.4 s."""
    server = Stalling(0.4)
    result = constant_rate(server.port, 4, 200, 2, targets)
    server.listener.close()
    assert (result["wanted"], result["replies"], result["not_200"]) == (400, 400, 0), result
    assert result["max_us"] > 350000 and result["p99_us"] > 300000, f"expected to see the pause: {result}"
    assert result["p50_us"] < 200000, f"expected most not to be in it: {result}"


def test_constant_rate_agrees_with_the_floor(targets):
    port = free_port()
    floor = subprocess.Popen([BUILD / "bench" / "floor", str(port), "1000"])
    try:
        assert eventually(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 5)
        result = constant_rate(port, 8, 1000, 0.5, targets)
    finally:
        floor.terminate()
        floor.wait()
    assert result["replies"] == 500 and 0.3 < result["seconds"] < 3 and 0 < result["p50_us"] <= result["p99_us"] <= result["max_us"], result


def test_slow_file_system(tmp_path, need):
    need(os.geteuid() == 0 and os.path.exists("/dev/fuse"), "it takes root and /dev/fuse")
    process = subprocess.Popen([sys.executable, TOP / "bench" / "slowfs.py", tmp_path, "50"], stderr=subprocess.PIPE, text=True)
    try:
        up = eventually(lambda: os.path.ismount(tmp_path) or process.poll() is not None, 5)
        need(up and process.poll() is None, "no file system can be mounted here")
        begin = time.monotonic()
        data = (tmp_path / "cold" / "7.bin").read_bytes()
        first, begin = time.monotonic() - begin, time.monotonic()
        assert len(data) == 65536 and (tmp_path / "cold" / "7.bin").read_bytes() == data
        again = time.monotonic() - begin
        assert first >= 0.1 and again < first / 2, f"expected a look-up and a read of 50 ms each, and then none: {first}, {again}"
        assert not (tmp_path / "cold" / "x").exists() and (tmp_path / "hot" / "1.bin").stat().st_size == 16384
    finally:
        process.terminate()
        process.wait(10)
    assert not os.path.ismount(tmp_path), "expected it to be unmounted"
