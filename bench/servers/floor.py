# SPDX-License-Identifier: Apache-2.0
"""bench/floor: what the kernel alone takes.  It knows no file, so it is started anew with the size of each work's reply."""
from zone import BUILD

from .base import Bench

BY_REFERENCE = 32768  # from this size on by sendfile, as the module does by default


class Floor(Bench):
    name = "floor"
    title = "floor"
    note = "a bare epoll loop with a canned reply: the least that HTTP over sockets can take"
    cannot = {
        "304": "a canned reply has no conditions",
        "instructions": "not counted: does nothing in user space that could be",
        "cold-start": "has no files",
        "slow-disk": "has no files",
    }

    size, closes = 1024, False

    @classmethod
    def absent(cls):
        return "" if (BUILD / "bench" / "floor").exists() else "bench/floor has not been built (make bench/floor)"

    def words(self):
        return [BUILD / "bench" / "floor", str(self.port), str(self.size), *["sendfile"] * (self.size >= BY_REFERENCE),
                *["close"] * self.closes]

    def before(self, work):
        if (work.size, work.close) != (self.size, self.closes):
            self.size, self.closes = work.size, work.close
            self.restart()


SERVERS = [Floor]
