# SPDX-License-Identifier: Apache-2.0
"""bench/rate beside h2load, where the latter is a constant rate too: on one connection, at a rate far below what the server can."""
import shutil
import subprocess

from child import StartFailed

from bench import measure, results
from bench.load import LoadFailed, constant_rate, pinned
from bench.servers.base import Site

KIND = "rate-check"
RATE, SECONDS = 100, 2  # h2load's clock has a step of 10 ms: of higher rates it makes bursts
SERVER = "floor"


def h2load(server, target, cpus):
    """[microseconds] of the requests that h2load made."""
    log = server.dir / "h2load.log"
    log.unlink(missing_ok=True)
    subprocess.run(["h2load", "--h1", "-c", "1", "-t", "1", "--rps", str(RATE), "-D", str(SECONDS), f"--log-file={log}", server.url(target)],
                   check=True, capture_output=True, timeout=60, preexec_fn=lambda: pinned(cpus))
    times = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    if not times:
        raise LoadFailed("h2load made no request")
    return {"p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}


def measure_work(session, kinds, work, data):
    from bench.matrix import say
    cells = data["cells"].setdefault(work.name, {})
    cpus = measure.processors()
    for kind in kinds:
        reason = f"checked with {SERVER} only" if kind.name != SERVER else kind.absent()
        if not reason and not shutil.which("h2load"):
            reason = "h2load is not installed (Debian: nghttp2-client)"
        if reason:
            cells[kind.name] = {"absent": reason}
            continue
        server = kind(Site(session.files.root, cpus=cpus[0]))
        try:
            server.start()
            rounds = []
            for _ in range(session.options.rounds):
                ours = constant_rate(server.port, 1, RATE, SECONDS, session.files.one(work), cpus[1])
                theirs = h2load(server, work.target, cpus[1])
                rounds.append({"rate_p50_us": ours["p50_us"], "rate_p99_us": ours["p99_us"], "h2load_p50_us": theirs["p50_us"], "h2load_p99_us": theirs["p99_us"]})
            cell = cells[kind.name] = {"rounds": rounds, **{name: results.spread([one[name] for one in rounds]) for name in rounds[0]}}
            say("  " + ", ".join(f"{name} {cell[name]['median']:.0f}" for name in rounds[0]))
        except (LoadFailed, StartFailed, OSError, subprocess.SubprocessError) as error:
            cells[kind.name] = {"absent": f"failed: {str(error)[:300]}"}
            say(f"  {kind.name}: {cells[kind.name]['absent']}")
        finally:
            server.close()
