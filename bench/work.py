# SPDX-License-Identifier: Apache-2.0
"""The work: what is asked for, and the files for it."""
import itertools
import random
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

from docroot import mkdir, payload, put

KB, MB = 1 << 10, 1 << 20
SIZES = {"64": 64, "1k": KB, "4k": 4 * KB, "16k": 16 * KB, "64k": 64 * KB, "256k": 256 * KB, "1m": MB, "10m": 10 * MB}

# SPECweb96: classes of files by size, with their share of the requests.  The files of a class have sizes spread evenly over it.
CLASSES = ((0.35, 100, KB), (0.50, KB, 10 * KB), (0.14, 10 * KB, 100 * KB), (0.01, 100 * KB, MB))
MIX_FILES, MIX_REQUESTS, SEED = 40000, 200000, 1996
MIX_MEAN = round(sum(share * (low + high) / 2 for share, low, high in CLASSES))


@dataclass(frozen=True)
class Work:
    """One kind of work; kind: "closed" (wrk, as fast as it goes), "rate" (constant rate), or a measurement of its own."""
    name: str
    title: str
    kind: str = "closed"
    size: int = KB          # of the reply's body; of the mix, the mean
    connections: int = 32
    pipeline: int = 1
    close: bool = False
    tls: bool = False
    condition: bool = False  # asks with If-None-Match
    mix: bool = False
    rate: int = 0            # requests a second
    head: int = 0            # bytes of a request's head: padded to that

    @property
    def target(self):
        return "/" if self.mix else f"/{self.size}.bin"


WORKS = {work.name: work for work in [
    *(Work(f"size-{name}", f"{name.upper() if size >= KB else name} B" if size < KB else f"{name[:-1]} {name[-1].upper()}B", size=size)
      for name, size in SIZES.items()),
    Work("mix", "SPECweb96 mix", mix=True, size=MIX_MEAN),
    Work("pipeline-4", "1 KB, 4 requests at once", pipeline=4),
    Work("pipeline-16", "1 KB, 16 requests at once", pipeline=16),
    Work("conn-1", "1 KB, 1 connection", connections=1),
    Work("conn-256", "1 KB, 256 connections", connections=256),
    Work("conn-2000", "1 KB, 2,000 connections", connections=2000),
    Work("close", "1 KB, a connection each", close=True),
    Work("304", "304 Not Modified", condition=True),
    Work("tls-1k", "1 KB over TLS", tls=True),
    Work("tls-64k", "64 KB over TLS", tls=True, size=64 * KB),
    Work("rate", "1 KB, 5,000 requests a second on 32 connections", kind="rate", rate=5000),
    Work("rate-check", "bench/rate beside h2load, 1 connection, 100 requests a second", kind="rate-check"),
    Work("instructions", "1 KB, 32 connections, a head of 60 bytes", kind="instructions", head=60),
    Work("instructions-800", "1 KB, 32 connections, a browser's head of 800 bytes", kind="instructions", head=800),
    Work("cold-start", "start with nothing in memory", kind="cold-start", mix=True, size=MIX_MEAN),
    Work("slow-disk", "hot files beside a scan of files on a slow disk", kind="slow-disk", size=16 * KB, rate=2000, connections=200),
]}


def mix_files(count):
    """(target, size) for each class, in the order of how often they are asked for."""
    classes = []
    for number, (share, low, high) in enumerate(CLASSES):
        files = max(round(count * share), 1)
        sizes = [low + (high - low) * (2 * i + 1) // (2 * files) for i in range(files)]
        random.Random(SEED + number).shuffle(sizes)
        classes.append([(f"/mix/{number}/{i // 1000}/{i}.bin", size) for i, size in enumerate(sizes)])
    return classes


def mix_requests(count, requests):
    """Targets as they are asked for: first the class by its share, then the file within it by Zipf's law (exponent 1)."""
    choose = random.Random(SEED)
    classes = mix_files(count)
    weights = [list(itertools.accumulate(1 / (rank + 1) for rank in range(len(files)))) for files in classes]
    picks = choose.choices(range(len(CLASSES)), [share for share, _, _ in CLASSES], k=requests)
    for number in picks:
        yield choose.choices(classes[number], cum_weights=weights[number])[0]


class Files:
    """The document root, made once for a run."""

    def __init__(self, root, count=MIX_FILES):
        self.root, self.count = Path(root) / "site", count
        self.list, self.sequence = Path(root) / "files", Path(root) / "sequence"
        self.mean, self.total = MIX_MEAN, 0
        self.first, self.first_size = "", 0  # of the mix

    def make(self, works):
        for directory in (self.root, self.root / "mix"):
            mkdir(directory)
        targets = []
        for size in sorted({work.size for work in works if not work.mix}):
            put(self.root / f"{size}.bin", payload(size, size))
            targets.append(f"/{size}.bin")
        if any(work.mix for work in works):
            bulk = payload("mix", 2 * MB)
            mix = list(itertools.chain(*mix_files(self.count)))
            self.first, self.first_size = mix[0]
            for target, size in mix:
                start = zlib.crc32(target.encode()) % MB
                put(self.root / target[1:], bulk[start:start + size])
                targets.append(target)
            asked = list(mix_requests(self.count, MIX_REQUESTS))
            self.mean = round(sum(size for _, size in asked) / len(asked))
            self.sequence.write_text("".join(f"{target}\n" for target, _ in asked))
        self.list.write_text("".join(f"{target}\n" for target in targets))
        self.total = len(targets)
        return self

    def one(self, work):
        """A file with the only target of some work."""
        path = self.root.parent / f"{work.name}.targets"
        path.write_text(f"{work.target}\n")
        return path

    def remove(self):
        shutil.rmtree(self.root.parent, ignore_errors=True)


def certificate(directory):
    """A self-signed certificate with its key, in one file; None if it cannot be made."""
    if not shutil.which("openssl"):
        return None
    path, key, cert = (Path(directory) / name for name in ("tls.pem", "tls.key", "tls.crt"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=60)
    path.write_text(key.read_text() + cert.read_text())
    path.chmod(0o644)
    return path
