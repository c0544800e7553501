# SPDX-License-Identifier: Apache-2.0
"""Files that change under the server.  After `revalidate` the module answers as the stock server does, whatever happened to the
file; before, with one version or the other, never with a mixture; a reply begun goes on with the version it began with, or is cut."""
import contextlib
import ctypes
import os
import shutil
import struct
import threading
import time

import pytest

from docroot import age, mkdir, payload, put, rewrite, settle
from wire import Wire, fetch, get
from zone import STOCK_ONLY

FAST = True
WAIT = 0.3  # longer than revalidate, which is 0.2 s here
# Stock httpd maps files, and dies of SIGBUS when one is cut while it is sent.
# The place of the storm says which replies were made by the module.
CONF = {"nginx": "", "httpd": "EnableMMAP off\n<Directory @ROOT@/storm>\nAfpaCacheStatus on\n</Directory>"}


def replace_longer(path):
    put(path, payload("new", path.stat().st_size + 70000))


def replace_same_size(path):
    put(path, payload("new", path.stat().st_size))


def rewrite_same_size(path):
    rewrite(path, payload("new", path.stat().st_size))


def rewrite_longer(path):
    rewrite(path, payload("new", path.stat().st_size + 70000))


def rewrite_shorter(path):
    rewrite(path, payload("new", path.stat().st_size - 300))


def rewrite_and_restore_mtime(path):
    stat = path.stat()
    rewrite(path, payload("new", stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def append(path):
    with open(path, "ab") as file:
        file.write(b"more")
    age(path)


def truncate_half(path):
    os.truncate(path, path.stat().st_size // 2)
    age(path)


def truncate_all(path):
    os.truncate(path, 0)
    age(path)


def delete(path):
    path.unlink()


def delete_and_make(path):
    path.unlink()
    put(path, payload("new", 5000))


def unreadable(path):
    path.chmod(0)


def touch(path):
    os.utime(path, (1700000000, 1700000000))


def become_directory(path):
    path.unlink()
    mkdir(path)


def become_fifo(path):
    path.unlink()
    os.mkfifo(path)
    path.chmod(0o644)


def become_symlink(path):
    put(path.with_name("target.bin"), payload("new", 3000))
    path.unlink()
    path.symlink_to("target.bin")


def become_dangling(path):
    path.unlink()
    path.symlink_to("nowhere")


def become_loop(path):
    path.unlink()
    path.symlink_to(path.name)


def rename_directory(path):
    path.parent.rename(path.parent.with_name(path.parent.name + "-gone"))


def exchange_directory(path):
    put(path.parent.with_name(path.parent.name + "-other") / path.name, payload("new", 4000))
    rename_directory(path)
    path.parent.with_name(path.parent.name + "-other").rename(path.parent)


def unsearchable_directory(path):
    path.parent.chmod(0)


CHANGES = [replace_longer, replace_same_size, rewrite_same_size, rewrite_longer, rewrite_shorter, rewrite_and_restore_mtime, append,
           truncate_half, truncate_all, delete, delete_and_make, unreadable, touch, become_directory, become_fifo, become_symlink,
           become_dangling, become_loop, rename_directory, exchange_directory, unsearchable_directory]
GONE = {delete: (404,), rename_directory: (404,), unreadable: (403,), unsearchable_directory: (403,), become_dangling: (404, 403)}


def skip_fifo_for_httpd(pair, change):
    """Stock httpd opens a FIFO and waits for a writer: there is nothing to compare with."""
    if pair.kind == "httpd" and change is become_fifo:
        pytest.skip("stock httpd hangs on a FIFO")


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_change(pair, change):
    skip_fifo_for_httpd(pair, change)
    tags = {}
    for size in (1000, 300000):
        name = f"/{change.__name__}-{size}/file.bin"
        pair.put(name[1:], payload("old", size))
        tags[name] = pair.warm(name).header("ETag")
    try:
        for name in tags:
            change(pair.root / name[1:])
        time.sleep(WAIT)
        for name, tag in tags.items():
            reply = pair.same(name)
            assert reply.status in GONE.get(change, (reply.status,))
            for header in (f"If-None-Match: {tag}", "Range: bytes=100-199", "If-None-Match: *", "X: y"):
                pair.same(name, header)
            pair.same(name, method="HEAD")
    finally:
        for name in tags:
            directory = (pair.root / name[1:]).parent
            directory.exists() and directory.chmod(0o755)


@pytest.mark.parametrize("change", [unreadable, unsearchable_directory, delete, become_fifo], ids=lambda c: c.__name__)
def test_change_and_back(pair, change):
    """What was there before is served again, and from the cache."""
    skip_fifo_for_httpd(pair, change)
    name = f"/back-{change.__name__}/file.bin"
    path = pair.root / name[1:]
    data = pair.put(name[1:], payload("old", 70000))
    pair.warm(name)
    change(path)
    time.sleep(WAIT)
    assert pair.same(name).status >= 400
    path.parent.chmod(0o755)
    path.exists() and path.unlink()
    put(path, data)
    time.sleep(WAIT)
    assert pair.warm(name).body == data


def link_pair(pair, what):
    for version in ("one", "two"):
        pair.put(f"{what}-{version}/file.bin", payload(version, 100000))
    link = pair.root / f"{what}-current"
    link.symlink_to(f"{what}-one")
    return link


def repoint(link, target):
    fresh = link.with_name("fresh-link")
    fresh.symlink_to(target)
    os.rename(fresh, link)


def test_symlink_to_directory_repointed(pair):
    link = link_pair(pair, "release")
    assert pair.warm("/release-current/file.bin").body == payload("one", 100000)
    repoint(link, "release-two")
    time.sleep(WAIT)
    assert pair.same("/release-current/file.bin").body == payload("two", 100000)
    repoint(link, "release-one")
    time.sleep(WAIT)
    assert pair.same("/release-current/file.bin").body == payload("one", 100000)
    shutil.rmtree(pair.root / "release-one")
    time.sleep(WAIT)
    assert pair.same("/release-current/file.bin").status >= 400


def test_symlink_to_file_repointed(pair):
    link_pair(pair, "link")
    link = pair.root / "alias.bin"
    link.symlink_to("link-one/file.bin")
    assert pair.warm("/alias.bin").body == payload("one", 100000)
    repoint(link, "link-two/file.bin")
    time.sleep(WAIT)
    assert pair.same("/alias.bin").body == payload("two", 100000)
    pair.put("link-two/file.bin", payload("three", 50000))
    time.sleep(WAIT)
    assert pair.same("/alias.bin").body == payload("three", 50000)


def test_hard_link(pair):
    pair.put("hard/one.bin", payload("hard", 2000))
    os.link(pair.root / "hard/one.bin", pair.root / "hard/two.bin")
    pair.warm("/hard/one.bin")
    pair.warm("/hard/two.bin")
    rewrite(pair.root / "hard/two.bin", payload("changed", 2000))
    time.sleep(WAIT)
    assert pair.same("/hard/one.bin").body == pair.same("/hard/two.bin").body == payload("changed", 2000)


def test_file_that_was_missing_appears(pair):
    assert pair.same("/later/file.bin").status == 404
    data = pair.put("later/file.bin", payload("later", 1000))
    assert pair.same("/later/file.bin").body == data
    time.sleep(WAIT)
    assert pair.warm("/later/file.bin").body == data


def test_unchanged_file_is_a_hit_after_revalidation(pair):
    pair.put("steady.bin", payload("steady", 200000))
    settle()
    pair.warm("/steady.bin")
    fills = pair.zone.count("fills")
    time.sleep(WAIT)
    pair.hit("/steady.bin")
    time.sleep(WAIT)
    pair.hit("/steady.bin")
    assert pair.zone.count("fills") == fills


def kernel_checks_at_once(path):
    """Whether openat2() knows RESOLVE_CACHED (0x20), for O_PATH | O_CLOEXEC, and may be used."""
    how = struct.pack("QQQ", 0o12000000, 0, 0x20)
    fd = ctypes.CDLL(None, use_errno=True).syscall(437, -100, os.fsencode(path), how, len(how))
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def test_check_needs_no_worker(pair):
    """The look-up makes it: the very first request after `revalidate` is a hit, and stays with the fast path if it was there."""
    path = pair.root / "seldom.bin"
    pair.put(path.name, payload("seldom", 3000))
    settle()
    pair.warm("/seldom.bin")
    if not kernel_checks_at_once(path):
        pytest.skip("the kernel has no RESOLVE_CACHED (5.12), or a filter of system calls is in the way")
    kind = "fast_hits" if pair.admit("/seldom.bin") else "pipeline_hits"
    for _ in range(3):
        time.sleep(WAIT)
        before = {name: pair.zone.count(name) for name in (kind, "misses", "stale", "revalidations")}
        assert fetch(pair.ours.port, get("/seldom.bin")).body == payload("seldom", 3000)
        assert pair.zone.grows(kind, before[kind])
        assert pair.zone.count("revalidations") > before["revalidations"]
        assert [pair.zone.count(name) - before[name] for name in ("misses", "stale")] == [0, 0]


def test_changed_twice_within_one_tick_of_the_clock(pair):
    """The second change leaves size and time stamps as the first did.  Read in between, the first must not stay."""
    names = [f"/tick-{number}.bin" for number in range(60)]
    for number, name in enumerate(names):
        path = pair.root / name[1:]
        first, second = payload(name, 3000), payload(name + " again", 3000)
        put(path, first, old=False)
        with Wire(pair.ours.port) as wire, open(path, "r+b", buffering=0) as file:
            wire.send(get(name))
            time.sleep(number % 4 / 2000)
            file.write(second)
            reply = wire.reply()
        assert STOCK_ONLY or reply.body in (first, second) or not reply.complete
    time.sleep(WAIT)
    for name in names:
        assert fetch(pair.ours.port, get(name)).body == payload(name + " again", 3000)


VERSIONS = 7


def version(number):
    return payload(f"version {number}", 100000 + number * 20011)


def assert_one_version(reply, versions):
    """The reply is one version whole, or, cut, the beginning of one; its header belongs to the same version."""
    assert reply.status == 200
    fits = [v for v in versions if v.startswith(reply.body) and int(reply.header("Content-Length")) == len(v)]
    assert fits, f"{reply.length} bytes of {reply.header('Content-Length')}, of no version or of several"
    if reply.complete:
        assert reply.length == len(fits[0])


def from_cache(reply):
    status = reply.header("Cache-Status") or ""
    return "hit" in status or "stored" in status


def hammer(port, name, until, replies, failures):
    """Asks again and again, on one connection as long as it lasts.  A reply that was cut is a reply."""
    while not until.is_set():
        try:
            with Wire(port) as wire:
                while not until.is_set():
                    replies.append(wire.request(get(name)))
                    if not replies[-1].complete:
                        break
        except (OSError, AssertionError, ValueError) as error:
            failures.append(error)


@contextlib.contextmanager
def hammered(port, name):
    """Three threads hammer while the block runs; gives the lists of replies and failures."""
    stop, replies, failures = threading.Event(), [], []
    threads = [threading.Thread(target=hammer, args=(port, name, stop, replies, failures)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield replies, failures
    finally:
        stop.set()
        for thread in threads:
            thread.join(15)


@pytest.mark.parametrize("by_link", [False, True], ids=["rename", "symlink"])
def test_storm_of_replacements(pair, by_link):
    """Replies while the file is replaced every few milliseconds: each is one of the versions.  Not those that httpd makes by
    itself because the file has just changed: it takes the length before it opens the file."""
    name = f"/storm/{by_link}.bin"
    path = pair.root / name[1:]
    mkdir(path.parent)
    versions = [version(n) for n in range(VERSIONS)]
    if by_link:
        for number, data in enumerate(versions):
            pair.put(f"storm/versions/{number}.bin", data)
        path.symlink_to("versions/0.bin")
    else:
        put(path, versions[0])
    end, number = time.monotonic() + 2, 0
    with hammered(pair.ours.port, name) as (replies, failures):
        while time.monotonic() < end:
            number += 1
            if by_link:
                repoint(path, f"versions/{number % VERSIONS}.bin")
            else:
                put(path, versions[number % VERSIONS])
            time.sleep(0.02)
    assert not failures
    cached = [reply for reply in replies if pair.kind == "nginx" or from_cache(reply)]
    assert len(cached) > 20 or STOCK_ONLY
    for reply in cached:
        assert_one_version(reply, versions)
    time.sleep(WAIT)
    assert fetch(pair.ours.port, get(name)).body == versions[number % VERSIONS]


def test_storm_of_rewrites_in_place(pair):
    """What is half written may be seen, as by the stock server; what is served has the length it was said to have, or is cut."""
    path = pair.root / "in-place.bin"
    versions = [version(n) for n in range(VERSIONS)]
    put(path, versions[0])
    end, number = time.monotonic() + 2, 0
    with hammered(pair.ours.port, "/in-place.bin") as (replies, failures):
        while time.monotonic() < end:
            number += 1
            data = versions[number % VERSIONS]
            with open(path, "r+b") as file:
                for at in range(0, len(data), 40000):
                    file.write(data[at:at + 40000])
                    file.flush()
                file.truncate(len(data) if number % 2 else 100)
            time.sleep(0.01)
        rewrite(path, versions[1])
    # Stock httpd, to whom we leave what changes while it is read, may cut before the first byte.
    assert not [error for error in failures if pair.kind == "nginx" or not isinstance(error, ConnectionError)]
    assert len(replies) > 20 and {reply.status for reply in replies} == {200}
    time.sleep(WAIT)
    assert pair.same("/in-place.bin").body == versions[1]


HALF_SENT = [replace_same_size, replace_longer, rewrite_same_size, rewrite_longer, rewrite_shorter, rewrite_and_restore_mtime,
             truncate_half, truncate_all, delete, delete_and_make, unreadable, rename_directory, become_symlink]
BIG = 6 << 20


def begin(pair, name):
    wire = Wire(pair.ours.port, rcvbuf=4096)
    wire.send(get(name))
    return wire, wire.head()


@pytest.mark.parametrize("change", HALF_SENT, ids=lambda c: c.__name__)
def test_change_during_a_reply(pair, change):
    """Of a file that was in the cache and of one that is being read into it."""
    if STOCK_ONLY and change.__name__.startswith("rewrite"):
        pytest.skip("stock servers do send mixtures of a file rewritten in place")
    names = [f"/half-{change.__name__}-{state}/file.bin" for state in ("warm", "cold")]
    old = payload("old", BIG)
    for name in names:
        pair.put(name[1:], old)
    pair.warm(names[0])
    begun = [begin(pair, name) for name in names]
    time.sleep(0.05)
    for name in names:
        change(pair.root / name[1:])
    time.sleep(WAIT)
    for name, (wire, head) in zip(names, begun):
        now = pair.same(name, timeout=5)
        if now.status == 200:
            assert now.body == (pair.root / name[1:]).read_bytes()
        assert_one_version(wire.rest(head), [old])
        wire.close()
        pair.same(name)


def test_change_during_many_replies(pair):
    """One reader after another begins on a version of its own; each gets that and no other."""
    path = pair.root / "many.bin"
    versions, wires = [], []
    for number in range(6):
        versions.append(put(path, payload(f"many {number}", 2 << 20)))
        time.sleep(WAIT)
        wires.append(begin(pair, "/many.bin"))
    for (wire, head), old in zip(wires, versions):
        assert_one_version(wire.rest(head), [old])
        wire.close()
    assert fetch(pair.ours.port, get("/many.bin")).body == versions[-1]
