# SPDX-License-Identifier: Apache-2.0
"""User-space instructions per reply, by callgrind: the difference between a run with few requests and one with many, so that what a
server does when it starts and stops falls out.  One process, 32 connections, 1 KB."""
import re
import shutil
import subprocess

from child import StartFailed
from wire import fetch, get

from bench import measure
from bench.load import Load, LoadFailed
from bench.servers.base import Site

KIND = "instructions"
FEW, MANY = 0.7, 3.0  # seconds; callgrind makes a server some fifty times slower
CACHE_MB = 64
SERVERS = ("serve", "nginx-afpa-fast", "nginx-afpa", "nginx", "nginx-ofc", "httpd-afpa-fast", "httpd-afpa", "httpd")
LONG_SERVERS = ("serve", "nginx-afpa-fast", "httpd-afpa-fast")  # with a browser's head
TOP = 12
START_SECONDS = 60  # until the first reply


# What a browser sends beside Host, in its order; the cookie is as long as it takes.
BROWSER = {
    "Connection": "keep-alive", "Cache-Control": "max-age=0", "sec-ch-ua": '"Not/A)Brand";v="99", "Chromium";v="140"', "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"', "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate", "Sec-Fetch-User": "?1", "Sec-Fetch-Dest": "document", "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-US,en;q=0.9,de;q=0.8",
}


def padded(server, work):
    """(target, headers) of a request whose head is as long as it is to be."""
    headers = dict(BROWSER) if work.head > 100 else {}
    lines = [f"GET {work.target} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *(f"{name}: {value}" for name, value in headers.items()), ""]
    missing = work.head - sum(len(line) + 2 for line in lines)
    if headers:
        headers["Cookie"] = "session=" + "x" * (missing - len("Cookie: session=\r\n"))
        return work.target, headers
    return f"{work.target}?{'x' * (missing - 1)}", headers


def counted(kind, site, work, seconds, cpus):
    """(instructions, replies, {function: its instructions}) of a run."""
    server = kind(site, wrap=["valgrind", "--tool=callgrind", "--trace-children=yes", "--vgdb=no",
                              "--callgrind-out-file=callgrind.out"], alone=True)
    try:
        out = server.write("callgrind.out", "")
        out.chmod(0o666)  # written as the user that the server has become
        server.start()
        target, headers = padded(server, work)
        fetch(server.port, get(target), START_SECONDS)
        replies = Load(server.url(target), server.dir, work.connections, headers, target, cpus=cpus).run(seconds)["replies"]
        if not replies:
            raise LoadFailed("no reply at all")
        server.stop()
        total = re.search(r"^totals: (\d+)", out.read_text(errors="replace"), re.M)
        if not total:
            raise LoadFailed("callgrind wrote nothing")
        return int(total[1]), replies, functions(out)
    finally:
        server.close()


def functions(out):
    """{function: instructions} by callgrind_annotate."""
    run = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no", out], capture_output=True, text=True, timeout=120)
    found = {}
    for count, name in re.findall(r"^ *([\d,]+) \( *[\d.]+%\) +(?:\S*?:)?(\w[\w.@']*)(?= |$)", run.stdout, re.M):
        found[name] = found.get(name, 0) + int(count.replace(",", ""))
    return {name: count for name, count in found.items() if name != "PROGRAM"}


def top(few, many):
    """[(share, function)]: who has most of what the longer run needed beyond the shorter one."""
    more, total = {name: count - few[2].get(name, 0) for name, count in many[2].items()}, many[0] - few[0]
    return [[round(count / total * 100, 1), name] for name, count in sorted(more.items(), key=lambda one: -one[1])[:TOP]]


def measure_work(session, kinds, work, data):
    from bench.matrix import say
    if not shutil.which("valgrind"):
        data["cells"][work.name] = {kind.name: {"absent": "valgrind is not installed"} for kind in kinds}
        return
    cells = data["cells"].setdefault(work.name, {})
    cpus = measure.processors()
    site = Site(session.files.root, CACHE_MB, files=session.files.one(work), cpus=cpus[0])
    for kind in kinds:
        reason = "counted are the engine, the modules, and the servers that they are in" if kind.name not in SERVERS else \
            "counted with the shorter head" if work.head > 100 and kind.name not in LONG_SERVERS else kind.absent() or data["servers"].get(kind.name, {}).get("absent")
        if not reason:
            try:
                few, many = (counted(kind, site, work, seconds, cpus[1]) for seconds in (FEW, MANY))
                per_reply = round((many[0] - few[0]) / (many[1] - few[1]))
                cells[kind.name] = {"instructions": per_reply, "replies": many[1] - few[1], "functions": top(few, many)}
                say(f"  {kind.name:18} {per_reply:8d} instructions per reply")
                continue
            except (LoadFailed, StartFailed, OSError, ValueError, subprocess.SubprocessError) as error:
                reason = f"failed: {str(error)[:300]}"
                say(f"  {kind.name}: {reason}")
        cells[kind.name] = {"absent": reason}
