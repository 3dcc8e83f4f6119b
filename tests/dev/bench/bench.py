"""What jamsocket_lite costs, against what the same takes by hand: a markdown table.

    python3 tests/dev/bench/bench.py [--module FILE] [--before FILE] [ROW …]

It takes about two minutes. Ratios are ours to the other's, medians of rounds; figures stand in the
same order. Work is counted in instructions by valgrind or perf, else in processor time:
instructions do not mind a busy machine, times and rates do. requests and httpx are installed in an
environment below .venvs; an older version of the module takes part where --before names its file.

Over https each side trusts the tests' authority alone: to load a system's 140 authorities takes
each the same 240 million instructions more (Python 3.11), in which the differences would drown.
Over http whoever makes a TLS context all the same loads its own, as it does everywhere.
"""

import argparse
import os
import platform
import ssl
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Callable, Iterator, List, NamedTuple, Optional

TESTS = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TESTS))

from dev.bench.processes import Processes, Run

MODULE = TESTS.parent / "jamsocket_lite.py"


class Line(NamedTuple):
    """A line of the table."""

    what: str
    ratio: str
    figures: str
    goal: str = ""


def line(what: str, ratio: float, figures: str, at_most: Optional[float] = None,
         at_least: Optional[float] = None) -> Line:
    ratio, goal = round(ratio, 2), ""
    if at_most is not None:
        goal = judged("at most %g" % at_most, ratio <= at_most)
    if at_least is not None:
        goal = judged("at least %g" % at_least, ratio >= at_least)
    return Line(what, "%.2f" % ratio, figures, goal)


def judged(goal: str, met: bool) -> str:
    return goal + (": yes" if met else ": **no**")


# ---- The rows ------------------------------------------------------------------------------------


def importing(processes: Processes) -> Iterator[Line]:
    runs = {"nothing": Run(["-c", "pass"]), "standard": Run(["-c", "import dataclasses, typing"]),
            "ours": Run(["-c", "import jamsocket_lite"])}
    if processes.has_before:
        runs["before"] = runs["ours"].as_before()
    taken, times = processes.counts(runs), processes.milliseconds(runs, 9)
    own_work, own_time = taken["ours"] - taken["nothing"], times["ours"] - times["nothing"]
    for other, name, at_most in (("standard", "dataclasses and typing", None),
                                 ("before", "the version before", 1.0)):
        if other in runs:
            work, its_time = taken[other] - taken["nothing"], times[other] - times["nothing"]
            yield line("1. import for the types: to " + name, own_work / work,
                       "%.1f to %.1f %s; %.1f to %.1f ms" % (
                           own_work, work, processes.counter.unit, own_time, its_time), at_most)


def cold(processes: Processes) -> Iterator[Line]:
    libraries = processes.find_libraries()
    for scheme, base in processes.bases.items():
        jobs = {"ours": "import ours", "by_urllib": "import by_urllib"}
        floor, most = (1.2, 0.6) if scheme == "http" else (None, None)
        for library, beginning in libraries.items():
            jobs["by_" + library] = beginning + "import by_" + library
        runs = {name: Run(["-c", job, base]) for name, job in jobs.items()}
        if processes.has_before:
            runs["before"] = runs["ours"].as_before()
        taken, times = processes.counts(runs), processes.milliseconds(runs, 5)
        for other, name, at_most in (("by_urllib", "urllib.request, by hand", floor),
                                     ("by_requests", "requests", most), ("by_httpx", "httpx", most),
                                     ("before", "the version before", None)):
            if other in runs:
                figures = "%.0f to %.0f %s; %.0f to %.0f ms" % (
                    taken["ours"], taken[other], processes.counter.unit,
                    times["ours"], times[other])
                yield line("2. cold connect and wait, %s: to %s" % (scheme, name),
                           taken["ours"] / taken[other], figures, at_most)


def warm(processes: Processes) -> Iterator[Line]:
    for scheme, base in processes.bases.items():
        rounds = processes.inside("warm", base)
        figures = "%.0f to %.0f a second; %.2f to %.2f ms of processor time each" % (
            *(median(one[side][0] for one in rounds) for side in (0, 1)),
            *(median(one[side][1] for one in rounds) / 1e3 for side in (0, 1)))
        yield line("3. warm connect, %s: calls a second, to urlopen" % scheme,
                   median(ours[0] / theirs[0] for ours, theirs in rounds), figures, at_least=1)


def readiness(processes: Processes) -> Iterator[Line]:
    for scheme, base in processes.bases.items():
        told = processes.inside("readiness", base, 50)
        waited, call = ([seconds * 1e3 for seconds in told[which]] for which in ("waited", "call"))
        beyond = median(waited) - median(call)
        yield Line("4. ready, %s: until the return, without the confirming call" % scheme,
                   "%.1f ms" % beyond, "%.1f ms, the worst of %d %.1f ms; a status call %.1f ms" % (
                       median(waited), len(waited), max(waited), median(call)),
                   judged("under 5 ms", beyond < 5))


def types(processes: Processes) -> Iterator[Line]:
    times = 2000
    for name in ("ConnectResponse", "BackendState"):
        taken = processes.counts({what: Run(["inside.py", "repeat", name, what, str(times)])
                                  for what in ("loads", "from_dict", "to_dict", "nothing")})
        loads, from_dict, to_dict = ((taken[what] - taken["nothing"]) / times * 1e3
                                     for what in ("loads", "from_dict", "to_dict"))
        figures = "%.1f to %.1f %s a thousand; to_dict %.1f" % (
            from_dict, loads, processes.counter.unit, to_dict)
        yield line("5. %s.from_dict: to json.loads" % name, from_dict / loads, figures, 6)


def stream(processes: Processes) -> Iterator[Line]:
    events = 20000
    rounds = processes.inside("stream", processes.bases["http"], events)
    ours, theirs = (events / median(one[side] for one in rounds) / 1e3 for side in (0, 1))
    yield line("6. stream: events a second, to http.client and json.loads", ours / theirs,
               "%.0f to %.0f thousand a second" % (ours, theirs))
    comments = processes.inside("comments", processes.bases["http"], 1000000)
    yield Line("6. stream: growth over a million comments", "%d KiB" % comments["kib"],
               "%.1f s" % comments["seconds"], judged("under 1024 KiB", comments["kib"] < 1024))


def waiting(processes: Processes) -> Iterator[Line]:
    threads = 200
    ours, polling, resting = (
        processes.inside("waiting", processes.bases["http"], how, threads, seconds)
        for how, seconds in (("ours", 10), ("polling", 4), ("nothing", 1)))
    yield Line("7. waiting: processor, %d threads, to polling twice a second" % threads,
               "%.2f" % (ours["cpu"] / polling["cpu"]),
               "%.1f to %.1f %% of a core" % (ours["cpu"] * 100, polling["cpu"] * 100),
               judged("under 5 % of a core", ours["cpu"] < 0.05))
    yield line("7. waiting: memory of a wait, to a thread that rests", ours["kib"] / resting["kib"],
               "%.0f to %.0f KiB; polling %.0f KiB" % (ours["kib"], resting["kib"], polling["kib"]))


# ---- The table -----------------------------------------------------------------------------------

ROWS: List[Callable[[Processes], Iterator[Line]]] = [
    importing, cold, warm, readiness, types, stream, waiting]


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = (line for line in lines if line.startswith("model name"))
            return next(names).partition(":")[2].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description="What jamsocket_lite costs, as a markdown table.")
    parser.add_argument("--module", type=Path, default=MODULE, help="the file to measure")
    parser.add_argument("--before", type=Path, help="an older version, to compare with")
    parser.add_argument("rows", metavar="ROW", nargs="*", type=int, help="1 to %d; all" % len(ROWS))
    options = parser.parse_args()
    begun = time.monotonic()
    with ExitStack() as stack:
        processes = Processes(options.module, options.before, stack)
        print("%s, %d cores, %s; Python %s, %s; work in %s.\n" % (
            processor(), os.cpu_count() or 1, platform.system(), platform.python_version(),
            ssl.OPENSSL_VERSION, processes.counter.description))
        print("| what | ratio | goal | figures |\n| --- | --- | --- | --- |")
        for number in options.rows or range(1, len(ROWS) + 1):
            for one in ROWS[number - 1](processes):
                cells = (one.what, one.ratio, one.goal, one.figures)
                print("| %s |" % " | ".join(cells), flush=True)
        notes = [*processes.notes, "It took %d seconds." % (time.monotonic() - begun)]
        print("\n" + " ".join(notes))


if __name__ == "__main__":
    main()
