# SPDX-License-Identifier: Apache-2.0
"""bench/run, from its command line: a run of one cell or two, its file of results, what is made of that."""
import copy
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from bench import TOP, report, results
from zone import BUILD

SECONDS = 50
FIGURES = ("replies_s", "cpu_us", "user_us", "system_us")
PERCENTILES = ("p50_us", "p99_us", "p999_us")


def bench(*arguments, path=None):
    environment = {**os.environ, "AFPA_BUILDDIR": str(BUILD), **({"PATH": str(path)} if path else {})}
    return subprocess.run([sys.executable, TOP / "bench" / "run", *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS, env=environment)


@pytest.fixture(scope="module")
def tools(need):
    need(shutil.which("wrk"), "wrk is not installed")
    need((BUILD / "bench" / "rate").exists(), "bench/rate has not been built")


@pytest.fixture(scope="module")
def server(need):
    need(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "nginx is not installed")
    return "nginx"


@pytest.fixture(scope="module")
def measured(tools, server, tmp_path_factory):
    """The results of a small run; with a server that is not there, as its program is in no directory of PATH."""
    directory = tmp_path_factory.mktemp("run")
    programs = directory / "programs"
    programs.mkdir()
    (programs / "wrk").symlink_to(shutil.which("wrk"))
    out = directory / "a.json"
    run = bench("--servers", f"floor,{server},h2o", "--work", "size-1k,pipeline-4", "--rounds", 2, "--seconds", 0.2, "--no-syscalls", "--output", out,
                path=programs)
    assert run.returncode == 0, run.stderr
    return out


def test_cells(measured, server):
    data = results.read(measured)
    assert data["machine"]["kernel"] and data["date"] and data["runs"][0]["command"].startswith("--servers"), "expected how it was made"
    for work, figures in (("size-1k", FIGURES + PERCENTILES), ("pipeline-4", FIGURES)):
        for name in ("floor", server):
            cell = data["cells"][work][name]
            assert len(cell["rounds"]) == 2, "expected each round"
            assert not cell.keys() & (set(PERCENTILES) - set(figures)), "expected no percentiles where wrk's are wrong"
            for figure in figures:
                assert cell[figure]["low"] <= cell[figure]["median"] <= cell[figure]["high"], f"expected {figure} of {work}, {name}"
            assert cell["cpu_us"]["low"] > 0.1 and cell["replies_s"]["low"] > 10, "expected that it did something"
            assert cell["memory"]["rss_kb"] > 100, "expected its memory"
    assert data["servers"][server]["version"] and "access_log off" in data["servers"][server]["config"], "expected what was measured"


def test_absent(measured):
    """A server that is missing is told of, with the reason, in each cell."""
    data = results.read(measured)
    assert "not installed" in data["servers"]["h2o"]["absent"]
    assert all("not installed" in data["cells"][work]["h2o"]["absent"] for work in ("size-1k", "pipeline-4"))


def test_no_paths(measured):
    assert str(BUILD) not in measured.read_text() and "afpa-bench-" not in measured.read_text(), "expected no path of this machine"


def test_resume(measured):
    """What is there is not measured again."""
    before = results.read(measured)["cells"]
    run = bench("--servers", "floor", "--work", "size-1k,pipeline-4", "--output", measured, "--resume")
    assert run.returncode == 0 and results.read(measured)["cells"] == before, run.stderr


def test_compare(measured, server, tmp_path):
    data = results.read(measured)
    slower = copy.deepcopy(data)
    for figure in slower["cells"]["size-1k"][server]["cpu_us"]:
        slower["cells"]["size-1k"][server]["cpu_us"][figure] *= 10
    (tmp_path / "b.json").write_text(json.dumps(slower))
    run = bench("--compare", measured, tmp_path / "b.json")
    lines = {tuple(line.split()[:2]): line for line in run.stdout.splitlines()}
    assert run.returncode == 0 and re.search(r" 10\.00 +10\.00  \*$", lines["size-1k", server]), run.stdout
    assert re.search(r" 1\.00 +1\.00$", lines["pipeline-4", server]), run.stdout


@pytest.mark.parametrize("arguments, said", [(["--compare", "/none", "/none"], "/none"), (["--servers", "iis"], "iis"), (["--work", "x"], "'x'")])
def test_wrong_arguments(arguments, said):
    run = bench(*arguments)
    assert run.returncode == 1 and said in run.stderr and "Traceback" not in run.stderr, run.stderr


def test_page(measured, server, tmp_path):
    """Each cell is on the page, or the reason why not; who is ahead of us is named."""
    data = results.read(measured)
    cell = copy.deepcopy(data["cells"]["size-1k"][server])
    cell["cpu_us"] = {figure: 1e5 for figure in cell["cpu_us"]}
    cell["replies_s"] = {figure: 1.0 for figure in cell["replies_s"]}
    for one in cell["rounds"]:
        one["hit_ratio"] = 1.0
    data["servers"]["nginx-afpa-fast"] = {**data["servers"][server], "title": "ours", "ours": True}
    data["cells"]["size-1k"]["nginx-afpa-fast"] = cell
    data["profiles"] = {"slow-disk": {server: {"objects": [[90.0, "kernel"]], "functions": [[30.0, "xas_load", "kernel"]],
                                               "waits": [[2.5, 100, 25.0, "pread64: folio_wait", "nginx"]],
                                               "ready": {"times": 9, "seconds": 0.2, "p50_ms": 0.1, "p99_ms": 5.0, "max_ms": 6.0}}}}
    report.make(data, tmp_path, tmp_path / "latest.svg")
    page = (tmp_path / "benchmarks.md").read_text()
    assert report.with_spread(data["cells"]["size-1k"][server]["cpu_us"]) in page, "expected the figure"
    assert re.search(r"\| H2O \| – \[(\d+)\] \|", page) and "1. not installed" in page, "expected the reason"
    for figure, value in (("CPU µs per reply", "100,000"), ("replies/s", "1.00")):
        assert re.search(rf"^- .*\b1 KB, {figure}: nginx, stock [\d.,]+, ours {value}\.", page, re.M), f"expected who is ahead in {figure}"
    assert "| kernel 90 % | xas_load 30 % | pread64: folio_wait 2.5 s (100 × 25.0 ms), a processor 0.2 s (p99 5.0 ms) |" in page, "expected the profile"
