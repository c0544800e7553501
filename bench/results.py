# SPDX-License-Identifier: Apache-2.0
"""One file of results: made, added to, summed up, compared."""
import datetime
import json
import os
import platform
import re
import statistics
from pathlib import Path

from zone import BUILD

SCHEMA = 1
# Figures of a round that are summed up as median, lowest, highest.
FIGURES = ("replies_s", "cpu_us", "user_us", "system_us", "p50_us", "p99_us", "p999_us")


def machine():
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", info, re.M)
    memory = int(re.search(r"^MemTotal: +(\d+)", Path("/proc/meminfo").read_text(), re.M)[1])
    release = re.search(r'^PRETTY_NAME="(.*)"$', Path("/etc/os-release").read_text(), re.M) if Path("/etc/os-release").exists() else None
    return {"processor": model[1] if model else platform.machine(), "processors": len(os.sched_getaffinity(0)), "memory_mb": memory >> 10,
            "virtual": "hypervisor" in info, "kernel": platform.release(), "system": release[1] if release else platform.system()}


def date():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def new():
    return {"schema": SCHEMA, "date": date(), "machine": machine(), "runs": [], "servers": {}, "works": {}, "cells": {}, "profiles": {}}


def read(path):
    """A file of results; ValueError says what is wrong with it."""
    data = json.loads(Path(path).read_text())
    if data.get("schema") != SCHEMA:
        raise ValueError(f"{path}: schema {data.get('schema')}, this program reads {SCHEMA}")
    return data


def write(path, data):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(without_paths(json.dumps(data, indent=1)) + "\n")
    fresh.rename(path)


def without_paths(text):
    """Where things happened to lie on this machine is nobody's business."""
    text = text.replace(str(BUILD), "BUILD")
    text = re.sub(r"/[\w/.-]*?/afpa-bench-\w+", "FILES", text)
    return re.sub(r"/[\w/.-]*?/server-\w+", "DIR", text)


def spread(values):
    return {"median": round(statistics.median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


def sum_up(rounds):
    """A cell, of its rounds."""
    cell = {"rounds": rounds}
    for figure in FIGURES:
        values = [one[figure] for one in rounds if one.get(figure) is not None]
        if values:
            cell[figure] = spread(values)
    return cell


def cell_of(data, work, server):
    """The cell if it was measured, else None."""
    cell = data["cells"].get(work, {}).get(server)
    return cell if cell and "absent" not in cell else None


def median(data, work, server, figure):
    cell = cell_of(data, work, server)
    return cell[figure]["median"] if cell and figure in cell else None


def apart(a, b):
    """Whether two spreads do not overlap."""
    return a["high"] < b["low"] or b["high"] < a["low"]


def overlap(a, b):
    return not apart(a, b)


def main_figure(cell):
    """By what cells of this kind are compared; less is better."""
    figure = "to_95_s" if "to_95_s" in cell else "p99_us" if "quiet" in cell else "cpu_us"
    return figure if figure in cell else None


def compare(a, b):
    """Lines that say how b differs from a."""
    lines = [f"{'work':14} {'server':18} {'figure':8} {'A':>10} {'B':>10} {'B/A':>7} {'to floor':>9}"]
    both = [(work, server) for work, cells in a["cells"].items() for server in cells if cell_of(a, work, server) and cell_of(b, work, server)]
    for work, server in both:
        ours, theirs = cell_of(a, work, server), cell_of(b, work, server)
        figure = main_figure(ours)
        if not figure or figure not in theirs:
            continue
        x, y = ours[figure], theirs[figure]
        floors = [median(data, work, "floor", figure) for data in (a, b)]
        to_floor = f"{y['median'] / floors[1] / (x['median'] / floors[0]):9.2f}" if all(floors) and x["median"] else f"{'-':>9}"
        ratio = f"{y['median'] / x['median']:7.2f}" if x["median"] else f"{'-':>7}"
        lines.append(f"{work:14} {server:18} {figure:8} {x['median']:10.2f} {y['median']:10.2f} {ratio} {to_floor}"
                     f"{'  *' if apart(x, y) else ''}")
    lines.append(f"{len(both)} cells in both.  *: the rounds of A and B do not overlap.  To floor: the same, each divided by the floor of its own run.")
    for name, one, other in (("A", a, b), ("B", b, a)):
        only = [f"{w}/{s}" for w, cells in one["cells"].items() for s in cells if cell_of(one, w, s) and not cell_of(other, w, s)]
        if only:
            lines.append(f"only in {name}: {' '.join(only)}")
    return lines
