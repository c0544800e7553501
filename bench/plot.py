# SPDX-License-Identifier: Apache-2.0
"""SVG plots of a file of results, by gnuplot."""
import shutil
import subprocess
import sys

from bench.results import cell_of, median

HEAD = """\
set terminal svg size 900,{height} font "sans-serif,13" background "white"
set output "{out}"
set key outside right top
set border 3
set tics nomirror
set grid y lc rgb "#dddddd"
"""
# One colour for each family: ours red, nginx green, httpd orange, the floor black, peers blue and grey.
COLOURS = {"floor": "#000000", "serve": "#7a0000", "nginx-afpa-fast": "#d00000", "nginx-afpa": "#ff7070", "nginx": "#005000", "nginx-ofc": "#20a020",
           "nginx-nosendfile": "#80d080", "nginx-aio": "#506050", "httpd-afpa-fast": "#c000c0", "httpd-afpa": "#e080e0", "httpd": "#a05000",
           "httpd-sendfile": "#d08030", "httpd-filecache": "#e0b070", "httpd-socache": "#f0d0a0", "lighttpd": "#0000c0", "h2o": "#4080ff",
           "varnish": "#606060", "trafficserver": "#a0a0a0"}


def gnuplot(script):
    subprocess.run(["gnuplot"], input=script, text=True, check=True, capture_output=True, timeout=60)


def quote(text):
    return '"' + text.replace("_", "\\\\_").replace('"', "") + '"'


def block(name, rows):
    return f"${name} << EOD\n" + "".join(" ".join(map(str, row)) + "\n" for row in rows) + "EOD\n"


def cpu_second(data, out):
    """Replies per CPU second by size."""
    sizes = [(work, about["size"]) for work, about in data["works"].items() if work.startswith("size-")]
    script, curves = HEAD.format(height=560, out=out), []
    for number, server in enumerate(name for name in COLOURS if name in data["servers"]):
        rows = [(size, 1e6 / median(data, work, server, "cpu_us")) for work, size in sizes if median(data, work, server, "cpu_us")]
        if rows:
            script += block(f"s{number}", rows)
            wide = 3 if data["servers"][server]["ours"] else 1.5
            curves.append(f"$s{number} using 1:2 with linespoints pt 7 ps 0.4 lw {wide} lc rgb {quote(COLOURS[server])} "
                          f"title {quote(data['servers'][server]['title'])}")
    if not curves:
        return False
    script += "set logscale xy\nset xlabel 'size of the file, bytes'\nset ylabel 'replies per CPU second'\n"
    script += "set xtics (" + ", ".join(f"'{about['title']}' {about['size']}" for work, about in data["works"].items() if work.startswith("size-")) + ")\n"
    gnuplot(script + "plot " + ", ".join(curves) + "\n")
    return True


def slow_disk(data, out):
    """p99 of hot requests, alone and beside the scan."""
    rows = [(quote(data["servers"][server]["title"]), cell["quiet"]["p99_us"]["median"] / 1000, cell["p99_us"]["median"] / 1000)
            for server in data["servers"] for cell in [cell_of(data, "slow-disk", server)] if cell]
    if not rows:
        return False
    script = HEAD.format(height=520, out=out) + block("bars", rows) + (
        "set style data histograms\nset style histogram clustered gap 1\nset style fill solid\nset logscale y\nset ylabel 'p99 of hot requests, ms'\n"
        "set xtics rotate by -35\nset yrange [0.1:*]\nset key inside left top\n"
        'plot $bars using 2:xtic(1) lc rgb "#20a020" title "alone", "" using 3 lc rgb "#d00000" title "beside a scan of cold files"\n')
    gnuplot(script)
    return True


def floor(data, out):
    """CPU time of the servers with the cache as a multiple of the floor's."""
    works = [work for work, about in data["works"].items() if about["kind"] == "closed" and median(data, work, "floor", "cpu_us")]
    ours = [server for server, about in data["servers"].items() if about["ours"] and any(median(data, work, server, "cpu_us") for work in works)]
    if not works or not ours:
        return False
    rows = [(quote(data["works"][work]["title"]),
             *((lambda v: v / median(data, work, "floor", "cpu_us") if v else "?")(median(data, work, server, "cpu_us")) for server in ours)) for work in works]
    bars = ", ".join(f'{"$bars" if n == 0 else chr(34) * 2} using {n + 2}{":xtic(1)" if n == 0 else ""} lc rgb {quote(COLOURS[server])} '
                     f"title {quote(data['servers'][server]['title'])}" for n, server in enumerate(ours))
    gnuplot(HEAD.format(height=520, out=out) + 'set datafile missing "?"\n' + block("bars", rows) +
            "set style data histograms\nset style histogram clustered gap 1\nset style fill solid\nset xtics rotate by -35\n"
            "set ylabel 'CPU time per reply, floor = 1'\nset yrange [0:*]\n"
            f'plot 1 lc rgb "#000000" title "floor", {bars}\n')
    return True


def make(data, directory, latest):
    """The names of the plots that could be made, in a directory; that by size also as the picture beside the results."""
    if not shutil.which("gnuplot"):
        print("bench/run: no plots: gnuplot is not installed (Debian: gnuplot-nox)", file=sys.stderr)
        return []
    directory.mkdir(parents=True, exist_ok=True)
    made = [name for name, draw in (("cpu-second", cpu_second), ("floor", floor), ("slow-disk", slow_disk)) if draw(data, directory / f"{name}.svg")]
    if "cpu-second" in made:
        shutil.copy(directory / "cpu-second.svg", latest)
    return made
