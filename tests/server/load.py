# SPDX-License-Identifier: Apache-2.0
"""Load on a server from a few threads, while a test does something to it.  Every reply is checked."""
import threading
import time

from wire import fetch, get


class Load:
    """Each thread asks for one target after another, on a connection of its own each time, until the block is left.
    `failed` has a line for each request that was not answered rightly; wrong: the bytes were not those of the file."""

    def __init__(self, port, content, threads=3, seconds=5.0):
        self.port, self.content, self.seconds = port, content, seconds
        self.failed, self.wrong, self.done = [], [], 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def _run(self, number):
        targets = list(self.content)
        while not self._stop.is_set():
            number += 1
            target = targets[number % len(targets)]
            try:
                reply = fetch(self.port, get(target, "Connection: close"), self.seconds)
                right = reply.status == 200 and reply.complete
                same = self.content[target].startswith(reply.body or b"")
            except (OSError, ValueError, AssertionError) as error:
                reply, right, same = repr(error), False, True
            with self._lock:
                self.done += 1
                if not right:
                    self.failed.append(f"{target}: {reply}"[:200])
                if not same:
                    self.wrong.append(target)

    def wait(self, more):
        """Returns when `more` further requests were made."""
        goal, end = self.done + more, time.monotonic() + 20
        while self.done < goal and time.monotonic() < end:
            time.sleep(0.01)
        assert self.done >= goal, f"only {self.done} of {goal} requests in time: {self.failed[-3:]}"
