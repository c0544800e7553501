# SPDX-License-Identifier: Apache-2.0
"""What bench/run does: chooses servers and work, starts the former, has the latter measured, keeps the results."""
import shutil
import subprocess
import sys
import time
from pathlib import Path

from child import StartFailed
from zone import BUILD

from bench import TOP, coldstart, instructions, measure, profile, ratecheck, results, slowdisk
from bench.install import install
from bench.matrix import KINDS, Matrix, say
from bench.servers import ALL
from bench.servers.base import Site
from bench.servers.nginx import Nginx
from bench.work import WORKS, Files, certificate

RESULTS = TOP / "bench" / "results"
LATEST = RESULTS / "latest.json"
FULL = {"rounds": 5, "seconds": 0.3, "files": 40000}
QUICK = {"rounds": 3, "seconds": 0.3, "files": 4000}
QUICK_SERVERS = "floor,nginx-afpa-fast,nginx-afpa,nginx,httpd-afpa-fast,httpd-afpa,httpd,lighttpd,h2o".split(",")
QUICK_WORK = "size-1k,size-64k,size-1m,mix,pipeline-16,close,304,tls-1k,slow-disk".split(",")


def list_all():
    for name, server in ALL.items():
        print(f"{name:18} {server.title}: {server.absent() or server.version() or 'of this tree'}")
    for work in WORKS.values():
        print(f"{work.name:18} {work.title}")


def chosen(given, known, what, default):
    names = [name for name in given.split(",") if name] or list(default)
    wrong = [name for name in names if name not in known]
    if wrong:
        sys.exit(f"bench/run: no {what} {wrong[0]!r}; there are {', '.join(known)}")
    return [known[name] for name in names]


def settle(options):
    """Fills in what was not given."""
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    servers = chosen(options.servers, ALL, "server", QUICK_SERVERS if options.quick else ALL)
    works = chosen(options.work, WORKS, "work", QUICK_WORK if options.quick else WORKS)
    return servers, works


def compare(a, b):
    try:
        print("\n".join(results.compare(results.read(a), results.read(b))))
    except (OSError, ValueError) as error:
        sys.exit(f"bench/run: {error}")


def report(path):
    from bench import report as page
    try:
        page.make(results.read(path), TOP / "docs", Path(path).with_suffix(".svg"))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        sys.exit(f"bench/run: {error}")


class Session:
    """Servers and files of one run."""

    def __init__(self, options, directory, works):
        self.options, self.directory = options, directory
        self.files = Files(directory, options.files)
        cpus = measure.processors()
        self.site = Site(self.files.root, files=self.files.list, certificate=certificate(directory), cpus=cpus[0])
        self.works = works
        self.origin = None

    def start_origin(self):
        """The server that caches without files of their own ask; it runs beside the load."""
        if self.origin or Nginx.absent():
            return
        self.origin = Nginx(Site(self.files.root, cpus=measure.processors()[1])).start()
        self.site.origin = self.origin.port

    def start(self, kinds, data):
        """Those servers that can be; the others are told of in the results."""
        started = []
        for kind in kinds:
            reason = kind.absent() or (kind.by_origin and not self.origin and "needs nginx as its origin, which is not installed")
            server = None
            if not reason:
                server = kind(self.site)
                try:
                    started.append(server.start())
                except (StartFailed, OSError) as error:
                    reason = f"did not start: {str(error).strip()[-300:]}"
                    server.close()
            describe(data, kind, server, reason)
            if reason:
                say(f"{kind.name}: {reason}")
        return started

    def close(self, servers):
        for server in [*servers, *([self.origin] if self.origin else [])]:
            server.close()
        self.origin = None


def describe(data, kind, server, reason):
    entry = {"title": kind.title, "note": kind.note, "ours": kind.ours, "peer": kind.peer, "version": kind.version() if not kind.absent() else ""}
    if reason:
        entry["absent"] = reason
        for cells in data["cells"].values():
            cells.setdefault(kind.name, {"absent": reason})
    elif server:
        entry.update(command=[str(word) for word in server.command()], config=server.config())
    data["servers"][kind.name] = entry


def missing_cells(data, kinds, work):
    return [kind for kind in kinds if kind.name not in data["cells"].get(work.name, {})]


def run(options, directory):
    kinds, works = settle(options)
    if options.install:
        install(kinds)
    if not shutil.which("wrk"):
        sys.exit("bench/run: wrk is not installed (Debian: wrk)")
    if not (BUILD / "bench" / "rate").exists():
        sys.exit("bench/run: bench/rate has not been built (make bench/rate bench/floor)")
    output, began = Path(options.output or (RESULTS / "quick.json" if options.quick else LATEST)), time.monotonic()
    data = results.read(output) if (options.add or options.resume or options.profile) and output.exists() else results.new()
    data["runs"].append({"date": results.date(), "command": " ".join(sys.argv[1:]), "rounds": options.rounds, "seconds": options.seconds,
                         "files": options.files, "load": wrk_version(), "commit": commit()})
    if options.profile:
        profile.run(Session(options, directory, works), options.profile, data)
        results.write(output, data)
        return
    session = Session(options, directory, works)
    say(f"making files in {directory}")
    session.files.make(works)
    for work in works:
        data["works"][work.name] = {"title": work.title, "kind": work.kind, "size": session.files.mean if work.mix else work.size,
                                    "connections": work.connections, "pipeline": work.pipeline, "rate": work.rate}
    side_by_side(session, kinds, works, data, output)
    one_by_one(session, kinds, works, data, output)
    data["runs"][-1]["minutes"] = round((time.monotonic() - began) / 60, 1)
    results.write(output, data)
    say(f"{output}: {data['runs'][-1]['minutes']} minutes")


def side_by_side(session, kinds, works, data, output):
    works = [work for work in works if work.kind in KINDS]
    if session.options.resume:
        works = [work for work in works if missing_cells(data, kinds, work)]
    if not works:
        return
    servers = []
    try:
        session.start_origin()
        servers = session.start([kind for kind in kinds if not kind.only], data)
        matrix = Matrix(servers, session.files, session.options, data)
        for number, work in enumerate(works):
            say(f"[{number + 1}/{len(works)}] {work.name}: {work.title}")
            matrix.measure(work)
            for kind in kinds:  # those that are not there, or take no part
                reason = data["servers"].get(kind.name, {}).get("absent") or kind.refuses(work)
                if kind.name not in data["cells"][work.name] and reason:
                    data["cells"][work.name][kind.name] = {"absent": reason}
            results.write(output, data)
    finally:
        session.close(servers)


def one_by_one(session, kinds, works, data, output):
    """Measurements for which a server is started alone."""
    for module in (ratecheck, coldstart, slowdisk, instructions):
        for work in works:
            if work.kind == module.KIND and not (session.options.resume and not missing_cells(data, kinds, work)):
                say(f"{work.name}: {work.title}")
                try:
                    module.measure_work(session, kinds, work, data)
                finally:
                    session.close([])
                results.write(output, data)


def wrk_version():
    return subprocess.run(["wrk", "-v"], capture_output=True, text=True, timeout=10).stdout.split(" [")[0]


def git(*words):
    return subprocess.run(["git", "-C", TOP, *words], capture_output=True, text=True, timeout=10).stdout.strip()


def commit():
    """Of this tree, "-dirty" if more than results was changed in it; empty if that is a release's."""
    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results", ":!docs/benchmarks*")
        return git("describe", "--always") + "-dirty" * bool(changed)
    except OSError:
        return ""
