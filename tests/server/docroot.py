# SPDX-License-Identifier: Apache-2.0
"""What the test servers serve: files whose content is a function of a tag, so that no two versions share a run of bytes."""
import hashlib
import itertools
import os
import time

DIR_MODE, FILE_MODE = 0o755, 0o644  # servers started by root serve as another user
SETTLED = 2.1  # seconds after its change from which on what is read of a file is not read once more (libafpa/fill.c)


def payload(tag, size):
    """`size` bytes that differ at every offset from those of any other tag."""
    return hashlib.shake_128(str(tag).encode()).digest(size) if size else b""


def text(tag, size):
    """`size` bytes of text that compresses; each line is different."""
    lines = []
    total = 0
    while total < size:
        lines.append(f"line {len(lines)} of {tag}: the quick brown fox jumps over the lazy dog\n")
        total += len(lines[-1])
    return "".join(lines).encode()[:size]


def mkdir(path):
    for one in reversed([path, *path.parents]):
        if not one.exists():
            one.mkdir()
            one.chmod(DIR_MODE)


_ticks = itertools.count()


def put(path, data, old=True):
    """Makes or replaces a file by rename, as a careful editor does.  Unless told otherwise, with a time of change in the past,
    another for each: httpd sends a weak ETag for a file that changed within the last second, and would do so for one of two
    requests only."""
    mkdir(path.parent)
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    fresh.chmod(FILE_MODE)
    if old:
        age(fresh)
    os.rename(fresh, path)
    return data


def age(path):
    """Gives a file a time of change of its own, a while ago."""
    then = time.time() - 100000 + next(_ticks)
    os.utime(path, (then, then))


def settle():
    """Called after files are made and before they are asked for: what a server then reads, it does not read once more."""
    time.sleep(SETTLED)


def rewrite(path, data):
    """Overwrites a file in place: the same inode, never shorter than both versions while it is written."""
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate(len(data))
    age(path)
    return data
