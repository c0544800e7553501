# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md from a file of results: tables, and the texts of bench/prose.md between them."""
import re
import sys
from pathlib import Path

from bench import plot, results
from bench.results import cell_of
from bench.work import WORKS

PROSE = Path(__file__).with_name("prose.md")
WIDE = 8  # columns of a table, at most
# Who is compared with whom: all, or those of that name.
OURS = {"nginx-afpa-fast": "", "httpd-afpa-fast": "httpd", "nginx-afpa": "nginx", "httpd-afpa": "httpd"}
FAST = list(OURS)[:2]
UNITS = {"cpu_us": "CPU µs per reply", "replies_s": "replies/s", "p99_us": "p99 µs", "to_95_s": "seconds to 95 % of its rate"}
PROFILED = 5  # rows of a profile that are on the page
MADE = "<!-- made by bench/run --report from bench/results; texts are in bench/prose.md -->"


def prose():
    """Name → text of the sections of bench/prose.md; one may have several names, with commas between."""
    parts = re.split(r"^# (.+)\n", PROSE.read_text(), flags=re.M)
    return {name.strip(): text.strip() for names, text in zip(parts[1::2], parts[2::2]) for name in names.split(",")}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value):
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_spread(figure):
    half = (figure["high"] - figure["low"]) / 2 / figure["median"] * 100 if figure["median"] else 0
    return f"{number(figure['median'])} ±{half:.0f} %"


class Page:
    def __init__(self, data, images):
        self.data, self.images, self.prose, self.out, self.missing = data, images, prose(), [], []
        self.notes = {}  # reason → number

    def add(self, *texts):
        self.out += [text for text in texts if text]

    def section(self, title, name=None):
        self.add(f"## {title}", self.prose.get(name or title.lower(), ""))

    def image(self, name, text):
        if name in self.images:
            self.add(f"![{text}](benchmarks/{name}.svg)")

    def servers(self):
        return list(self.data["servers"])

    def title(self, server):
        return self.data["servers"][server]["title"]

    def works(self, kind):
        return [name for name, work in self.data["works"].items() if work["kind"] == kind and name in self.data["cells"]]

    def reason(self, work, server):
        """A footnote's mark for a cell that is not there."""
        cell = self.data["cells"].get(work, {}).get(server)
        text = cell["absent"] if cell else self.data["servers"][server].get("absent", "not measured in this run")
        return self.dash(text.split("\n")[0].rstrip(":"))

    def dash(self, text):
        return f"– [{self.notes.setdefault(text, len(self.notes) + 1)}]"

    def cell(self, work, server, show):
        cell = cell_of(self.data, work, server)
        if not cell:
            return self.reason(work, server)
        text = show(cell)
        return text if text is not None else "–"

    def matrix(self, works, show):
        """A table of all servers and some works; split if it is too wide."""
        for at in range(0, len(works), WIDE):
            part = works[at:at + WIDE]
            rows = [[self.title(server), *(self.cell(work, server, show) for work in part)]
                    for server in self.servers() if not self.only(server)]
            self.add(table(["", *(self.data["works"][work]["title"] for work in part)], rows))

    def only(self, server):
        """Whether a server is there for some other work only."""
        return any("measured for" in cells.get(server, {}).get("absent", "") for cells in self.data["cells"].values())

    # ---- the parts ----

    def head(self):
        machine, runs = self.data["machine"], self.data["runs"]
        self.add("# Benchmarks", MADE, self.prose.get("intro", ""))
        dates = sorted({run["date"][:16] for run in runs if "--profile" not in run["command"]})
        rows = [["date", " to ".join(dict.fromkeys([dates[0], dates[-1]]))], ["machine", f"{machine['processors']} {'virtual ' * machine['virtual']}processors, {machine['processor']}, "
                                              f"{machine['memory_mb'] / 1024:.0f} GB"], ["system", f"{machine['system']}, Linux {machine['kernel']}"],
                ["load", runs[-1]["load"] + "; bench/rate"], ["commands", "<br>".join(map(self.run_line, runs))]]
        self.add(table(["", ""], rows))

    @staticmethod
    def run_line(run):
        rounds = "" if "--profile" in run["command"] else f"{run['rounds']} rounds of {run['seconds']} s a cell"
        minutes = f"{run['minutes']} minutes" if "minutes" in run else ""
        return f"`bench/run {run['command']}`".replace(" `", "`") + f" ({', '.join(filter(None, (run['commit'], rounds, minutes)))})"

    def server_table(self):
        self.section("The servers", "servers")
        rows = []
        for name, server in self.data["servers"].items():
            rows.append([server["title"], server.get("version", ""), server["note"] + (f"; absent: {server['absent'].splitlines()[0]}" if server.get("absent") else "")])
        self.add(table(["server", "version", "configuration"], rows))

    def by_size(self):
        self.section("CPU time by size", "by size")
        self.image("cpu-second", "replies per CPU second by size of the file, for each server")
        self.matrix(self.sizes(), lambda cell: with_spread(cell["cpu_us"]))

    def sizes(self):
        return [name for name in self.works("closed") if name.startswith("size-")]

    def others(self):
        return [name for name in self.works("closed") if not name.startswith("size-")]

    def other_work(self):
        self.section("CPU time for other work", "other work")
        self.matrix(self.others(), self.cpu_and_broken)

    @staticmethod
    def cpu_and_broken(cell):
        broken = max((one.get("broken", 0) for one in cell["rounds"]), default=0)
        return with_spread(cell["cpu_us"]) + (f", {broken:.0%} of the requests got no reply" if broken > 0.005 else "")

    def floor(self):
        self.section("Against the floor", "floor")
        self.image("floor", "CPU time per reply of AFPA as a multiple of the floor's")
        works, ours = self.sizes() + self.others(), [s for s in self.servers() if self.data["servers"][s]["ours"]]
        rows = []
        for work in works:
            floor = results.median(self.data, work, "floor", "cpu_us")
            if floor:
                rows.append([self.data["works"][work]["title"],
                             *(self.cell(work, server, lambda cell: f"{cell['cpu_us']['median'] / floor:.2f}") for server in ours)])
        self.add(table(["CPU time as a multiple of the floor's", *(self.title(server) for server in ours)], rows))

    def rate(self):
        for work in self.works("rate"):
            self.section("Latency at a constant rate", "rate")
            rows = [[self.title(server), *(self.cell(work, server, lambda cell, f=figure: with_spread(cell[f])) for figure in ("p50_us", "p99_us", "p999_us", "cpu_us"))]
                    for server in self.servers() if not self.only(server)]
            self.add(table([self.data["works"][work]["title"], "p50 µs", "p99 µs", "p99.9 µs", "CPU µs"], rows))

    def rate_check(self):
        for work in self.works("rate-check"):
            for server in self.servers():
                cell = cell_of(self.data, work, server)
                if cell:
                    self.add(table([self.data["works"][work]["title"], "p50 µs", "p99 µs"],
                                   [[f"{self.title(server)}, by {name}", *(with_spread(cell[f"{of}_{p}_us"]) for p in ("p50", "p99"))]
                                    for of, name in (("rate", "bench/rate"), ("h2load", "h2load"))]))

    def slow_disk(self):
        for work in self.works("slow-disk"):
            self.section("The hot set behind a slow disk", "slow disk")
            self.image("slow-disk", "p99 of hot requests, alone and beside a scan of cold files")
            rows = []
            for server in self.servers():
                cell = cell_of(self.data, work, server)
                if not cell:
                    rows.append([self.title(server), self.reason(work, server), *[""] * 5])
                    continue
                three = [" / ".join(number(one[f]["median"] / 1000) for f in ("p50_us", "p99_us", "p999_us")) for one in (cell["quiet"], cell)]
                rows.append([self.title(server), *three, f"{cell['p99_us']['median'] / cell['quiet']['p99_us']['median']:,.1f}",
                             f"{min(one['answered'] for one in cell['rounds']):.0%}", number(cell["cold_s"]["median"]), self.memory(cell),
                             number(cell["quiet"]["cpu_us"]["median"]) if "cpu_us" in cell["quiet"] else "–"])
            self.add(table(["hot requests", "alone: p50 / p99 / p99.9 ms", "beside the scan", "p99, times", "answered", "cold files/s", "memory, MB",
                            "CPU µs alone"], rows))

    def cold_start(self):
        for work in self.works("cold-start"):
            self.section("Cold start", "cold start")
            rows = [[self.title(server), self.cell(work, server, lambda cell: with_spread(cell["to_95_s"])),
                     self.cell(work, server, lambda cell: number(cell["steady_mb_s"]["median"])),
                     self.cell(work, server, lambda cell: with_spread(cell["mb_1s"])),
                     *(self.cell(work, server, show) for show in (lambda cell: number(cell["cpu_us"]["median"]), self.latency, self.memory))]
                    for server in self.servers() if not self.only(server)]
            self.add(table(["", "seconds to 95 % of its steady rate", "that rate, MB/s", "MB in the first second", "CPU µs per reply",
                            "p50 / p99 / p99.9, µs", "memory, MB"], rows))

    def instructions(self):
        works = self.works("instructions")
        if works:
            self.section("Instructions in user space", "instructions")
        for work in works:
            rows = [[self.title(server), self.cell(work, server, lambda cell: f"{cell['instructions']:,}"),
                     ", ".join(f"{name} {share:.0f} %" for share, name in (cell_of(self.data, work, server) or {"functions": []})["functions"]
                               if not name.startswith("0x"))]
                    for server in self.servers()]
            self.add(table([self.data["works"][work]["title"], "per reply", "most of them in"], rows))

    def ahead(self):
        """Where another server needs less than ours, and why, which the prose has to say."""
        self.section("Where others are ahead", "ahead")
        self.add("\n".join(f"- {lines} {text}" for text, lines in self.ahead_lines(self.ahead_cells())) or "Nowhere in this run.")
        within = [one for one in self.ahead_cells(results.overlap) if one[1] in FAST and one[3] != "replies_s"]
        if within:
            self.add(self.prose["within"], "\n".join(f"- {lines} {text}".rstrip() for text, lines in self.ahead_lines(within, self.within_text)))

    def ahead_lines(self, cells, text_of=None):
        """[(why, who is ahead of whom by how much)]: what is said of several is said once."""
        together = {}
        for work, ours, server, figure in cells:
            text = (text_of or self.ahead_text)(work, ours, server, figure)
            together.setdefault(text, {}).setdefault((work, figure, ours), []).append(server)
        for text, groups in together.items():
            yield text, " ".join(
                f"{self.data['works'][work]['title']}, {UNITS[figure]}: " + ", ".join(
                    f"{self.title(one)} {number(results.median(self.data, work, one, figure))}" for one in (*servers, ours)) + "."
                for (work, figure, ours), servers in groups.items())

    def ahead_cells(self, by=results.apart):
        """(work, ours, the server that is ahead of it, in which figure)."""
        for work, cells in self.data["cells"].items():
            for ours, against in OURS.items():
                mine = cell_of(self.data, work, ours)
                for server in cells if mine else ():
                    for figure in self.ahead_in(mine, work, server, against, by):
                        yield work, ours, server, figure

    def ahead_in(self, mine, work, server, against, by):
        """The figures in which a server is ahead of ours."""
        cell, about = cell_of(self.data, work, server), self.data["servers"].get(server)
        if not cell or not about or about["ours"] or server == "floor" or not server.startswith(against):
            return []
        figures = [results.main_figure(mine)] + ["replies_s"] * (self.data["works"][work]["kind"] == "closed")
        return [figure for figure in figures if figure in mine and figure in cell and by(cell[figure], mine[figure]) and
                (cell[figure]["median"] < mine[figure]["median"]) == (figure != "replies_s")]

    def within_text(self, work, _ours, _server, figure):
        return self.prose.get(f"ahead {figure} {work}", "")

    def ahead_text(self, work, ours, _server, figure):
        """Why, as the prose has it: of this work and server of ours, or more in general."""
        for name in (f"{figure} {work} {ours}", f"{figure} {work}", f"{figure} {ours}", figure):
            if f"ahead {name}" in self.prose:
                return self.prose[f"ahead {name}"]
        self.missing.append(f"# ahead {figure} {work} {ours}")
        return "**Not explained yet.**"

    def profiles(self):
        """Where the time of those goes who were profiled."""
        rows = []
        for work, servers in self.data["profiles"].items():
            for server, found in servers.items():
                for part, one in [("", found), *((f", {name}", its) for name, its in found.items() if isinstance(its, dict) and "waits" in its)]:
                    waits = [f"{why} {seconds:.1f} s ({times} × {mean:.1f} ms)" for seconds, times, mean, why, _ in one.get("waits", [])[:PROFILED]]
                    if "ready" in one:
                        waits.append(f"a processor {one['ready']['seconds']:.1f} s (p99 {one['ready'].get('p99_ms', 0):.1f} ms)")
                    rows.append([f"{WORKS[work].title}{part}", self.title(server), ", ".join(f"{where} {share:.0f} %" for share, where in one["objects"][:PROFILED]),
                                 ", ".join(f"{name} {share:.0f} %" for share, name, _ in one["functions"][:PROFILED]), ", ".join(waits) or "–"])
        if rows:
            self.add("### Profiles", self.prose.get("profiles", ""), table(["work", "server", "in", "most of it in", "all threads wait for"], rows))

    def all_figures(self):
        self.section("All figures", "all figures")
        closed = self.sizes() + self.others()
        for title, show in (("Replies per second", lambda c: with_spread(c["replies_s"])),
                            ("CPU µs per reply in user space and in the kernel", lambda c: f"{number(c['user_us']['median'])} + {number(c['system_us']['median'])}"),
                            ("Latency with wrk as fast as it goes: p50 / p99 / p99.9, µs", self.latency),
                            ("System calls per reply", self.calls)):
            self.add(f"### {title}")
            self.matrix(closed, show)
        self.add("### Share of the replies that came from the cache, the way the server is there for")
        ours = [server for server in self.servers() if self.data["servers"][server]["ours"]]
        rows = [[self.data["works"][work]["title"], *(self.cell(work, server, lambda c: f"{min(r['hit_ratio'] for r in c['rounds']):.3f}") for server in ours)]
                for work in closed]
        self.add(table(["", *(self.title(server) for server in ours)], rows))
        self.add("### Memory after the work: resident / proportional share / segment, MB")
        self.add(self.prose.get("memory", ""))
        self.matrix(closed, self.memory)

    def latency(self, cell):
        """wrk's; where it had several requests under way on a connection its percentiles are wrong, and not taken."""
        if "p50_us" not in cell:
            return self.dash("wrk's percentiles are wrong with several requests at once: to each reply that took long it adds those that it would have "
                             "waited for too, as if one request were under way, and those below the least that was seen it then leaves out")
        return " / ".join(f"{cell[figure]['median']:,.0f}" for figure in ("p50_us", "p99_us", "p999_us"))

    @staticmethod
    def memory(cell):
        return " / ".join(number(cell["memory"][k] / 1024) for k in ("rss_kb", "pss_kb", "segment_kb"))

    def calls(self, cell):
        calls = cell.get("syscalls") or {"absent": "system calls were not counted in this run"}
        return number(calls["total"]) if "total" in calls else self.dash(calls["absent"])

    def footnotes(self):
        if self.notes:
            self.add("## Cells that are not there", "\n".join(f"{n}. {text}" for text, n in self.notes.items()))

    def text(self):
        for part in (self.head, self.server_table, self.by_size, self.floor, self.other_work, self.rate, self.rate_check, self.slow_disk, self.cold_start,
                     self.instructions, self.ahead, self.profiles, self.all_figures, self.footnotes):
            part()
        self.add(self.prose.get("again", ""))
        return "\n\n".join(self.out) + "\n"


def make(data, docs, latest_svg):
    images = plot.make(data, docs / "benchmarks", latest_svg)
    page = Page(data, images)
    (docs / "benchmarks.md").write_text(page.text())
    print(f"{docs / 'benchmarks.md'}; plots: {', '.join(images) or 'none'}")
    for name in page.missing:
        print(f"bench/prose.md does not say why yet: {name}", file=sys.stderr)
