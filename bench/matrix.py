# SPDX-License-Identifier: Apache-2.0
"""The matrix: all servers run at once, on one processor; the load goes to one after the other in an order that changes each round,
so that whatever else the machine does meets all of them alike."""
import random
import ssl
import sys
import time

from child import StartFailed
from wire import fetch, get

from bench import measure, results
from bench.load import Load, LoadFailed, constant_rate
from bench.work import MB

WARM_SECONDS = 0.3
MIX_WARM_SECONDS = 60  # at most, rests aside; it ends when each file was asked for
MIX_PASSES = 2         # a response is captured of the second request
BROKEN_MOST = 0.5      # requests without a reply, per reply; what is below is told with the figures
KINDS = ("closed", "rate")


def say(text):
    print(text, file=sys.stderr, flush=True)


def slower(work):
    return work.connections / 2000 + work.size / (20 * MB)


class Matrix:
    def __init__(self, servers, files, options, data):
        self.servers, self.files, self.options, self.data = servers, files, options, data
        self.cpus = measure.processors()[1]
        self.order = random.Random(options.seed)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    # ---- one request, to see that the server does what is asked of it ----

    def ask(self, server, work, target, *headers):
        port = server.port2 if work.tls else server.port
        return fetch(port, get(target, *headers, host=f"127.0.0.1:{port}"), tls=self.tls if work.tls else None)

    def condition(self, server, work):
        """The header lines for work that asks with a condition."""
        if not work.condition:
            return {}
        reply = self.ask(server, work, work.target)
        for name, header in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")):
            if reply.header(name):
                return {header: reply.header(name)}
        raise LoadFailed("replies have no validator")

    def verify(self, server, work, headers):
        mix = work.mix and server.name != "floor"
        target = self.files.first if mix else work.target
        lines = [f"{name}: {value}" for name, value in headers.items()]
        for _ in range(3):
            reply = self.ask(server, work, target, *lines)
        wanted = (304, 0) if work.condition else (200, self.files.first_size if mix else work.size)
        if (reply.status, reply.length) != wanted:
            raise LoadFailed(f"{target}: status {reply.status}, {reply.length} bytes instead of {wanted[0]}, {wanted[1]}")

    # ---- load ----

    def load(self, server, work, headers, start=0, check=False):
        return Load(server.url(work.target, work.tls), server.dir, work.connections, {**headers, **({"Connection": "close"} if work.close else {})},
                    work.target, work.pipeline, self.files.sequence if work.mix and server.name != "floor" else None, start, check=check, cpus=self.cpus)

    def right(self, work, result):
        """Raises unless the replies are what was asked for, by what can be seen of them without slowing wrk."""
        if not result["replies"]:
            raise LoadFailed("no reply at all")
        if result["bad"] or result["wrong"] or result["broken"] > BROKEN_MOST * result["replies"]:
            raise LoadFailed(f"{result['broken']} requests without a reply, {result['bad'] + result['wrong']} replies other than 200, "
                             f"of {result['replies']}")
        size = result["bytes"] / result["replies"]
        if not work.condition and not work.mix and size < work.size or work.condition and size > 1000:
            raise LoadFailed(f"{size:.0f} bytes a reply")

    def warm(self, server, work, headers):
        """Requests of the kind to come; of the mix every file, and every reply's status is looked at."""
        self.right(work, self.load(server, work, headers).run(WARM_SECONDS + slower(work)))
        if work.mix and server.name != "floor":
            load = self.load(server, work, headers, check=True)
            load.list = self.files.list
            end, seen, wanted = time.monotonic() + MIX_WARM_SECONDS, 0, MIX_PASSES * self.files.total
            while seen < wanted and time.monotonic() < end:
                load.start = seen
                result = load.run(server.warm_by[0])
                self.right(work, result)
                seen += result["seen"]
                time.sleep(server.warm_by[1])
                end += server.warm_by[1]
            if seen < wanted:
                raise LoadFailed(f"only {seen} of {wanted} files in {MIX_WARM_SECONDS} s")

    def seconds(self, work):
        """Of a round: longer where connections take a while to be made, or replies to be sent."""
        return self.options.seconds + slower(work)

    def round(self, server, work, headers, number):
        before, hits = measure.cpu_seconds(server.pids()), self.hits(server)
        if work.kind == "rate":
            result = constant_rate(server.port, work.connections, work.rate, self.seconds(work), self.files.one(work), self.cpus)
            if result["not_200"] or result["broken"] or result["replies"] < result["wanted"]:
                raise LoadFailed(f"{result['replies']} replies of {result['wanted']}, {result['not_200']} other than 200")
        else:
            result = self.load(server, work, headers, number * 7919).run(self.seconds(work))
            self.right(work, result)
        if server.process.poll() is not None:
            raise LoadFailed(f"the server ended, status {server.process.returncode}")
        used = measure.cpu_between(before, measure.cpu_seconds(server.pids()), result["replies"])
        one = {"replies_s": result["replies"] / result["seconds"], **used,
               **{k: result[k] for k in ("p50_us", "p99_us", "p999_us") if work.pipeline == 1}}
        if work.kind != "rate" and result["broken"]:
            one["broken"] = result["broken"] / result["replies"]
        if hits:
            one["hit_ratio"] = self.share_of_hits(server, work, hits, result["replies"])
        return {key: round(value, 3) for key, value in one.items()}

    def hits(self, server):
        """(fast hits, pipeline hits) of a server with the cache."""
        if not server.ours:
            return None
        stat = server.zone.stat()
        return stat["fast_hits"], stat["pipeline_hits"]

    def share_of_hits(self, server, work, before, replies):
        """Of the replies, those that came from the cache the way this server is here for (TLS: the pipeline)."""
        fast, pipeline = (b - a for a, b in zip(before, self.hits(server)))
        return min((fast if server.fast and not work.tls else fast + pipeline) / replies, 1)

    # ---- the whole ----

    def ready(self, server, work):
        """Prepares a server for work; (headers, None) or (None, why it cannot be measured)."""
        refused = type(server).refuses(work)
        if refused:
            return None, refused
        if work.tls and not server.site.certificate:
            return None, "no certificate could be made (openssl is missing)"
        try:
            if server.process is None or server.process.poll() is not None:
                server.restart()
            server.before(work)
            headers = self.condition(server, work)
            self.verify(server, work, headers)
            self.warm(server, work, headers)
            return headers, None
        except (LoadFailed, StartFailed, OSError, ValueError, AssertionError) as error:
            return None, f"failed: {str(error)[:300]}"

    def measure(self, work):
        """All rounds of one kind of work."""
        cells, rounds, headers = self.data["cells"].setdefault(work.name, {}), {}, {}
        for server in self.servers:
            headers[server], reason = self.ready(server, work)
            if reason:
                cells[server.name] = {"absent": reason}
                if reason.startswith("failed"):
                    say(f"  {work.name}: {server.name}: {reason}")
            else:
                rounds[server] = []
        for number in range(self.options.rounds):
            for server in self.order.sample(list(rounds), len(rounds)):
                try:
                    rounds[server].append(self.round(server, work, headers[server], number))
                except (LoadFailed, OSError, ValueError, AssertionError) as error:
                    cells[server.name] = {"absent": f"failed: {str(error)[:300]}"}
                    say(f"  {work.name}: {server.name}: {cells[server.name]['absent']}")
                    del rounds[server]
        for server, found in rounds.items():
            cell = results.sum_up(found)
            cell.update(self.memory_and_calls(server, work, headers[server]))
            cells[server.name] = cell
        self.show(work)

    def memory_and_calls(self, server, work, headers):
        found = {"memory": measure.memory(server)}
        if self.options.syscalls and work.kind == "closed":
            try:
                found["syscalls"] = measure.system_calls(server, self.load(server, work, headers))
            except (LoadFailed, OSError) as error:
                found["syscalls"] = {"absent": f"failed: {str(error)[:300]}"}
        return found

    def show(self, work):
        """One line for each server, on the terminal."""
        for server in self.servers:
            cell = results.cell_of(self.data, work.name, server.name)
            if cell:
                calls = cell.get("syscalls")
                cpu = cell["cpu_us"]
                say(f"  {server.name:18} {cpu['median']:8.2f} us ({cpu['low']:.2f}-{cpu['high']:.2f})  {cell['replies_s']['median']:9.0f}/s" +
                    (f"  p99 {cell['p99_us']['median']:8.0f} us" if "p99_us" in cell else "") + (f"  {calls.get('total', 0):.2f} calls" if calls else "") +
                    (f"  broken {max(r.get('broken', 0) for r in cell['rounds']):.3f}" if any("broken" in r for r in cell["rounds"]) else "") +
                    (f"  hits {min(r['hit_ratio'] for r in cell['rounds']):.3f}" if server.ours else ""))
