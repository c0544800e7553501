# SPDX-License-Identifier: Apache-2.0
"""Cold start: the files are not in memory, the server has just started; how long until it is as fast as it gets.  The load is the
SPECweb96 mix; how far it has come is seen in the bytes that wrk reads."""
import os

from bench import measure, results
from bench.load import Load, LoadFailed, bytes_received
from bench.turns import in_turns

KIND = "cold-start"
SECONDS = {True: 3, False: 4}  # quick, or not
WINDOW = 0.2      # seconds over which a rate is taken
STEADY = 0.95
SENT_BY = (0.1, 0.5, 1)  # seconds after which it is noted how much has come


def drop_files(files):
    """Takes the files out of the page cache."""
    os.sync()
    for target in files.list.read_text().split():
        with open(files.root / target[1:], "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def time_to_steady(samples):
    """(seconds until the rate first is 95 % of that of the last third, that rate in bytes a second)."""
    last, first = samples[-1], samples[2 * len(samples) // 3]
    steady = (last[1] - first[1]) / (last[0] - first[0])
    begin = 0
    for end, (at, count) in enumerate(samples):
        while samples[begin + 1][0] < at - WINDOW:
            begin += 1
        since, before = samples[begin]
        if at - since >= WINDOW and (count - before) / (at - since) >= STEADY * steady:
            return at, steady
    return samples[-1][0], steady


def measure_one(server, session, cpus, watch):
    load, before = Load(server.url(), server.dir, 32, list=session.files.sequence, cpus=cpus), measure.cpu_seconds(server.pids())
    with watch(server, ""):
        process = load.begin()
        try:
            samples = bytes_received(process, SECONDS[session.options.quick])
        finally:
            result = Load.end(process, 0.01)
    if result["bad"] or result["broken"] or not result["replies"]:
        raise LoadFailed(f"{result['bad']} replies other than 200, {result['broken']} requests without a reply")
    started = next((i for i, sample in enumerate(samples) if sample[1] > samples[0][1] + 100000), 0)
    begin = samples[max(started - 1, 0)]
    samples = [(at - begin[0], count - begin[1]) for at, count in samples[max(started - 1, 0):]]
    seconds, steady = time_to_steady(samples)
    return {"to_95_s": seconds, "steady_mb_s": steady / 1e6, "replies_s": result["replies"] / result["seconds"],
            **measure.cpu_between(before, measure.cpu_seconds(server.pids()), result["replies"]),
            **{figure: result[figure] for figure in ("p50_us", "p99_us", "p999_us")},
            **{f"mb_{at}s": next((count for when, count in samples if when >= at), samples[-1][1]) / 1e6 for at in SENT_BY}}


def measure_work(session, kinds, work, data, watch=measure.nothing):
    from bench.matrix import say
    cells = data["cells"].setdefault(work.name, {})
    cpus = measure.processors()[1]
    session.start_origin()

    memory = {}

    def one_round(server):
        one = measure_one(server, session, cpus, watch)
        memory[server.name] = measure.memory(server)
        return one

    for name, rounds in in_turns(session, kinds, work, data, session.options.rounds, one_round, lambda: drop_files(session.files)).items():
        cells[name] = {"rounds": rounds, **{figure: results.spread([r[figure] for r in rounds]) for figure in rounds[0]}}
        cell = cells[name]
        cell["memory"] = memory[name]
        say(f"  {name:18} {cell['to_95_s']['median']:6.2f} s to 95 % of {cell['steady_mb_s']['median']:.0f} MB/s; "
            f"{cell['mb_1s']['median']:.0f} MB in the first second")
