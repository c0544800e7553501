#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file system in which each read takes a while, as on a disk; spoken to by the kernel over /dev/fuse, without a library.

    bench/slowfs.py DIR MILLISECONDS     (root; runs until it is ended, then unmounts)

DIR/hot/N.bin (16 KB) and DIR/cold/N.bin (64 KB) are there for every N.  A reply to a read of data, and to the first look-up of a
name, which on a disk reads the inode, comes MILLISECONDS later; any number may be under way.  What the kernel has read it may keep,
as of a disk.
"""
import ctypes
import errno
import heapq
import os
import select
import signal
import stat
import struct
import sys
import time

# From linux/fuse.h.
LOOKUP, FORGET, GETATTR, READ, STATFS, INIT, OPENDIR, RELEASEDIR, ACCESS, INTERRUPT, BATCH_FORGET = 1, 2, 3, 15, 17, 26, 27, 29, 34, 36, 42
IN_HEADER, OUT_HEADER = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
KEEP_CACHE = 2  # FOPEN_KEEP_CACHE
FLAGS = 1 | 1 << 18  # FUSE_ASYNC_READ, FUSE_PARALLEL_DIROPS: several reads of a file, several look-ups in a directory at once
VALID = 3600    # seconds for which names and attributes stay good
ROOT, DIRECTORIES = 1, {"hot": (2, 16384), "cold": (3, 65536)}
BASE = {2: 1 << 32, 3: 2 << 32}  # inode of file N: base + N
BUFFER = 1 << 17
SINCE = int(time.time()) - 100000
PIECE = bytes(range(256)) * (BUFFER // 256)


def size_of(node):
    return DIRECTORIES["hot"][1] if node < BASE[3] else DIRECTORIES["cold"][1]


def attributes(node):
    directory = node < BASE[2]
    size = 0 if directory else size_of(node)
    mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o644
    return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, SINCE, SINCE, SINCE, 0, 0, 0, mode, 1 + directory, 0, 0, 0, 4096, 0)


class Slow:
    def __init__(self, directory, delay):
        self.directory, self.delay = directory, delay
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        self.later, self.known, self.count = [], set(), 0
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
        if libc.mount(b"slowfs", os.fsencode(directory), b"fuse", 1 | 2 | 4, options.encode()) != 0:  # read-only, no suid, no devices
            raise OSError(ctypes.get_errno(), f"mount {directory}: {os.strerror(ctypes.get_errno())}")
        self.unmount = lambda: libc.umount2(os.fsencode(directory), 2)

    def send(self, unique, data=b"", error=0):
        try:
            os.write(self.fd, OUT_HEADER.pack(OUT_HEADER.size + len(data), -error, unique) + data)
        except FileNotFoundError:
            pass  # whoever asked has gone

    def send_later(self, unique, data):
        self.count += 1
        heapq.heappush(self.later, (time.monotonic() + self.delay, self.count, unique, data))

    def node_of(self, parent, name):
        """The inode of a name; 0 if there is none."""
        if parent == ROOT:
            return DIRECTORIES.get(name, (0,))[0]
        number = name.removesuffix(".bin")
        return BASE[parent] + int(number) if parent in BASE and number.isdigit() and name.endswith(".bin") and len(number) < 9 else 0

    def look_up(self, unique, parent, name):
        node = self.node_of(parent, name)
        if not node:
            self.send(unique, error=errno.ENOENT)
            return
        reply = struct.pack("<QQQQII", node, 0, VALID, VALID, 0, 0) + attributes(node)
        if node in self.known or node < BASE[2]:
            self.send(unique, reply)
        else:
            self.known.add(node)
            self.send_later(unique, reply)

    def read(self, unique, node, body):
        _, offset, size = struct.unpack_from("<QQI", body)
        self.send_later(unique, PIECE[:max(min(size, size_of(node) - offset), 0)])

    def serve(self, request):
        _, opcode, unique, node, *_ = IN_HEADER.unpack_from(request)
        body = request[IN_HEADER.size:]
        if opcode == INIT:
            _, _, readahead, flags = struct.unpack_from("<IIII", body)
            self.send(unique, struct.pack("<IIIIHHIIHH32x", 7, 31, readahead, flags & FLAGS, 64, 48, 4096, 1, 0, 0))
        elif opcode == LOOKUP:
            self.look_up(unique, node, body.rstrip(b"\0").decode("latin-1"))
        elif opcode == GETATTR:
            self.send(unique, struct.pack("<QII", VALID, 0, 0) + attributes(node))
        elif opcode == OPENDIR:
            self.send(unique, struct.pack("<QII", 0, KEEP_CACHE, 0))
        elif opcode == READ:
            self.read(unique, node, body)
        elif opcode in (RELEASEDIR, ACCESS):
            self.send(unique)
        elif opcode == STATFS:
            self.send(unique, struct.pack("<QQQQQIIII24x", 1 << 30, 0, 0, 1 << 30, 0, 4096, 255, 4096, 0))
        elif opcode not in (FORGET, BATCH_FORGET, INTERRUPT):  # OPEN and FLUSH too: then the kernel opens and closes by itself
            self.send(unique, error=errno.ENOSYS)

    def run(self):
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while True:
            wait = max(self.later[0][0] - time.monotonic(), 0) * 1000 + 0.5 if self.later else None
            poll.poll(wait)
            while self.later and self.later[0][0] <= time.monotonic():
                self.send(*heapq.heappop(self.later)[2:])
            try:
                self.serve(os.read(self.fd, BUFFER + 4096))
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return  # unmounted
                if error.errno not in (errno.EINTR, errno.ENOENT):
                    raise


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: slowfs.py DIR MILLISECONDS")
    try:
        slow = Slow(sys.argv[1], float(sys.argv[2]) / 1000)
    except OSError as error:
        sys.exit(f"slowfs: {error}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        slow.run()
    finally:
        slow.unmount()


if __name__ == "__main__":
    main()
