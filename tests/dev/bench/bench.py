"""What jamsocket_lite costs, against what the same takes by hand: a markdown table, in less than three minutes.

    python3 tests/dev/bench/bench.py [--module FILE] [ROW …]

The interpreter is the one that runs this; the jobs run in a new virtual environment of it, so that nothing that is
installed beside it starts with them, with a bare environment, in turn. They come as bytecode. The server is a process
of its own. Ratios are ours to the other's, medians of rounds. Work is counted in instructions by valgrind or perf, else
in processor time. requests and httpx take part where this interpreter has them.

TLS trusts the tests' authority alone: to load a system's 140 authorities takes each side the same some 240 million
instructions more (Python 3.11), in which the differences would drown.
"""

import argparse
import compileall
import importlib.util
import json
import os
import platform
import re
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from kit.certificates import Certificates

# Modules that only a call, a wait or the command line needs.
LATE = ("argparse", "asyncio", "base64", "email", "http", "json", "logging", "select", "selectors", "socket", "ssl",
        "subprocess", "tempfile", "threading", "urllib")
COUNT_CONTEXTS = """\
import atexit, ssl
made, new = [], ssl.SSLContext.__new__
ssl.SSLContext.__new__ = lambda *given, **named: (made.append(1), new(*given, **named))[1]
atexit.register(lambda: print(len(made)))
"""


class Line(NamedTuple):
    """A line of the table."""

    what: str
    ratio: str
    goal: str = ""
    met: Optional[bool] = None
    figures: str = ""


def at_most(what: str, ratio: float, limit: float, figures: str) -> Line:
    return Line(what, "%.2f" % ratio, "at most %g" % limit, ratio <= limit, figures)


# ---- The processes ---------------------------------------------------------------------------------------------------


class Counter(NamedTuple):
    """A way to count what a process takes."""

    unit: str
    command: Sequence[str]
    pattern: str  # of the number in its report, on standard error
    scale: float  # from that number to the unit


COUNTERS = (
    Counter("M instructions", ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
            r"Collected : ([\d,]+)", 1e-6),
    Counter("M instructions", ("perf", "stat", "-e", "instructions:u"), r"([\d,]+) +instructions:u", 1e-6),
)
PROCESSOR_TIME = Counter("ms of processor time", (), "", 1e3)


class Bench:
    """The environment, the server and the counter."""

    def __init__(self, module: Path, stack: ExitStack) -> None:
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        venv.create(str(self.directory / "venv"), with_pip=False, symlinks=os.name != "nt")
        self.python = str(self.directory / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        self.work = self.directory / "work"
        self.work.mkdir()
        for source in (module, HERE / "parts.py", *(HERE / "jobs").glob("*.py")):
            shutil.copy(str(source), str(self.work / ("jamsocket_lite.py" if source == module else source.name)))
        # PYTHONHASHSEED: so that two runs take the same way.
        self.environment = {"PYTHONHASHSEED": "0"}
        for name in ("SYSTEMROOT", "LD_LIBRARY_PATH"):  # what some systems and interpreters cannot do without
            if name in os.environ:
                self.environment[name] = os.environ[name]
        self.notes: List[str] = []
        self.peer = stack.enter_context(subprocess.Popen(
            [sys.executable, str(HERE / "peer.py"), *self._make_certificates()], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, universal_newlines=True))
        ports = json.loads(self._told())
        self.bases = {scheme: "%s://127.0.0.1:%d" % (scheme, port) for scheme, port in ports.items()}
        self.counter = next(filter(self._works, COUNTERS), PROCESSOR_TIME)

    def _make_certificates(self) -> List[str]:
        try:
            made = Certificates(self.directory / "certificates")
        except RuntimeError as error:
            self.notes.append("No TLS: %s." % error)
            return []
        # REQUESTS_CA_BUNDLE is what requests knows.
        self.environment.update(SSL_CERT_FILE=made.ca_file, REQUESTS_CA_BUNDLE=made.ca_file)
        return [str(made.directory / "good.pem"), str(made.directory / "server.key")]

    def _told(self) -> str:
        assert self.peer.stdout is not None
        return self.peer.stdout.readline()

    def _works(self, counter: Counter) -> bool:
        try:
            return self._count(counter, ["-c", ""]) > 0
        except (OSError, subprocess.SubprocessError, AttributeError):
            return False

    def connections(self) -> int:
        """How many the server has accepted so far."""
        assert self.peer.stdin is not None
        self.peer.stdin.write("\n")
        self.peer.stdin.flush()
        return int(self._told())

    def run(self, arguments: Sequence[str], before: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """Runs Python, where `import` finds the jobs."""
        return subprocess.run([*before, self.python, "-s", *arguments], cwd=str(self.work), env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=True,
                              timeout=120)

    def part(self, *arguments: object) -> Any:
        return json.loads(self.run(["parts.py", *map(str, arguments)]).stdout)

    def _count(self, counter: Counter, arguments: Sequence[str]) -> float:
        if not counter.command:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.run(arguments)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * counter.scale
        program = shutil.which(counter.command[0])
        if program is None:
            raise FileNotFoundError(counter.command[0])
        report = re.search(counter.pattern, self.run(arguments, [program, *counter.command[1:]]).stderr)
        assert report is not None, "no count in the report"
        return int(report.group(1).replace(",", "")) * counter.scale

    def counts(self, runs: Mapping[str, Sequence[str]]) -> Dict[str, float]:
        """What each of these runs takes. Instructions do not mind company; times are taken one by one, in turn."""
        if self.counter.command:
            with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
                return dict(zip(runs, pool.map(lambda run: self._count(self.counter, run), runs.values())))
        return _in_turn(lambda run: self._count(self.counter, run), runs, 9)

    def milliseconds(self, runs: Mapping[str, Sequence[str]], rounds: int) -> Dict[str, float]:
        """How long each of these runs takes, in turn."""
        def timed(run: Sequence[str]) -> float:
            begun = time.perf_counter()
            self.run(run)
            return (time.perf_counter() - begun) * 1e3

        return _in_turn(timed, runs, rounds)


def _in_turn(measure: Callable[[Sequence[str]], float], runs: Mapping[str, Sequence[str]],
             rounds: int) -> Dict[str, float]:
    taken = [{name: measure(run) for name, run in runs.items()} for _ in range(rounds)]
    return {name: median(one[name] for one in taken) for name in runs}


# ---- The rows --------------------------------------------------------------------------------------------------------


def importing(bench: Bench) -> Iterator[Line]:
    script = "import sys; before = set(sys.modules); import jamsocket_lite; print(*(set(sys.modules) - before))"
    loaded = sorted(set(bench.run(["-c", script]).stdout.split()) - {"jamsocket_lite"})
    (bench.work / "needed.py").write_text("".join("import %s\n" % name for name in loaded))
    compileall.compile_dir(str(bench.work), quiet=1)
    runs = {"nothing": ["-c", "pass"], "standard": ["-c", "import needed"], "ours": ["-c", "import jamsocket_lite"]}
    bench.milliseconds(runs, 2)
    cost, time_taken = bench.counts(runs), bench.milliseconds(runs, 9)
    standard, own = cost["standard"] - cost["nothing"], cost["ours"] - cost["standard"]
    yield at_most("1. import: our own share, to the standard modules", own / standard, 0.25,
                  "%.1f to %.1f %s; %.1f to %.1f ms" % (own, standard, bench.counter.unit,
                                                        time_taken["ours"] - time_taken["standard"],
                                                        time_taken["standard"] - time_taken["nothing"]))
    early = [name for name in loaded if name.partition(".")[0].lstrip("_") in LATE]
    yield Line("1. import: modules before they are needed", str(len(early)), "0", not early,
               ", ".join(early) or "%d loaded, for re, typing and dataclasses" % len(loaded))


def cold(bench: Bench) -> Iterator[Line]:
    others = [name for name in ("requests", "httpx") if importlib.util.find_spec(name)]
    bench.notes += ["%s is not installed." % name for name in ("requests", "httpx") if name not in others]
    places = [place for place in sys.path if place.endswith("-packages")] if others else []
    prelude = "import sys; sys.path += %r; " % places
    jobs = ["ours", "floor", "by_urllib", *("by_" + name for name in others)]
    compileall.compile_dir(str(bench.work), quiet=1)
    for scheme, base in bench.bases.items():
        runs = {job: ["-c", prelude + "import " + job, base] for job in jobs}
        made = {job: _made(bench, job, prelude, base) for job in jobs}  # and everything is warm
        cost, time_taken = bench.counts(runs), bench.milliseconds(runs, 5)
        for job, name, limit in (("floor", "http.client, by hand", 1.25), ("by_urllib", "urllib.request", 0.0),
                                 ("by_requests", "requests", 0.5), ("by_httpx", "httpx", 0.5)):
            if job not in runs:
                continue
            ratio, what = cost["ours"] / cost[job], "2. cold job, %s: to %s" % (scheme, name)
            figures = "%.0f to %.0f %s; %.0f to %.0f ms" % (cost["ours"], cost[job], bench.counter.unit,
                                                            time_taken["ours"], time_taken[job])
            figures += "; theirs: %s, %s" % made[job]
            yield at_most(what, ratio, limit, figures) if limit else Line(what, "%.2f" % ratio, figures=figures)
        connections, contexts = made["ours"]
        yield Line("2. cold job, %s: connections, for 2 answers, and contexts" % scheme, "%s, %s" % made["ours"],
                   "2, %d" % (scheme == "https"), (connections, contexts) == ("2", "01"[scheme == "https"]))


def _made(bench: Bench, job: str, prelude: str, base: str) -> Tuple[str, str]:
    """The numbers of connections and of TLS contexts that a job makes."""
    before = bench.connections()
    contexts = bench.run(["-c", COUNT_CONTEXTS + prelude + "import " + job, base]).stdout.strip()
    return str(bench.connections() - before), contexts


def warm(bench: Bench) -> Iterator[Line]:
    for scheme, base in bench.bases.items():
        rounds = bench.part("warm", base)
        ratio = median(ours[0] / theirs[0] for ours, theirs in rounds)
        figures = "%.0f to %.0f a second; %.2f to %.2f ms of processor time each" % (
            *(median(one[side][0] for one in rounds) for side in (0, 1)),
            *(median(one[side][1] for one in rounds) / 1e3 for side in (0, 1)))
        yield Line("3. warm calls, %s: to urlopen" % scheme, "%.2f" % ratio, "at least 1", ratio >= 1, figures)


def readiness(bench: Bench) -> Iterator[Line]:
    told = bench.part("readiness", bench.bases["http"], 50)
    waited, polled = ([seconds * 1e3 for seconds in told[which]] for which in ("waited", "polled"))
    yield Line("4. readiness: to polling every half second", "%.3f" % (median(waited) / median(polled)),
               "median under 5 ms, worst under 50 ms", median(waited) < 5 and max(waited) < 50,
               "%.1f to %.0f ms, worst %.1f to %.0f ms" % (median(waited), median(polled), max(waited), max(polled)))


def types(bench: Bench) -> Iterator[Line]:
    limited, times = ("ConnectResponse", "BackendState"), 2000
    runs = {"%s %s" % (name, what): ["parts.py", "repeat", name, what, str(count)]
            for name in limited for what, count in (("loads", times), ("from_dict", times), ("to_dict", 0))}
    cost = bench.counts(runs)
    for name, rounds in bench.part("types").items():
        by_time = {what: median(one / loads for one, loads in zip(rounds[what], rounds["loads"])) for what in rounds}
        a_second = {what: 1e6 / median(rounds[what]) for what in rounds}
        figures = "%.0f thousand a second, to_dict %.0f (ratio %.2f), loads %.0f" % (
            a_second["from_dict"] / 1e3, a_second["to_dict"] / 1e3, by_time["to_dict"], a_second["loads"] / 1e3)
        what = "5. types: %s.from_dict to json.loads" % name
        if name in limited:
            base = cost[name + " to_dict"]  # it was done no time
            ratio = (cost[name + " from_dict"] - base) / (cost[name + " loads"] - base)
            yield at_most(what, ratio, 6, "by time %.2f; %s" % (by_time["from_dict"], figures))
        else:
            yield Line(what, "%.2f" % by_time["from_dict"], figures=figures)


def stream(bench: Bench) -> Iterator[Line]:
    events, size = 20000, 62  # an event's bytes
    rounds = bench.part("stream", bench.bases["http"], events)
    ours, by_hand = (events / median(one[side] for one in rounds) for side in (0, 1))
    yield Line("6. stream: events a second, to http.client and json.loads", "%.2f" % median(
        theirs / ours for ours, theirs in rounds), figures="%.0f to %.0f thousand a second; %.1f to %.1f MB/s" % (
            ours / 1e3, by_hand / 1e3, ours * size / 1e6, by_hand * size / 1e6))
    count, megabytes = 1000000, 14.0
    told = bench.part("comments", bench.bases["http"], count)
    yield Line("6. stream: growth over a million comments", "%d KiB" % told["kib"], "under 1024 KiB",
               told["kib"] < 1024, "%.1f s, %.1f MB/s" % (told["seconds"], megabytes / told["seconds"]))


def waiting(bench: Bench) -> Iterator[Line]:
    threads = 200
    ours, polling, resting = (bench.part("waiting", bench.bases["http"], how, threads, seconds)
                              for how, seconds in (("ours", 10), ("polling", 4), ("nothing", 1)))
    yield Line("7. waiting: processor, %d threads, to polling every half second" % threads,
               "%.2f" % (ours["cpu"] / polling["cpu"]), "under 5 % of a core", ours["cpu"] < 0.05,
               "%.1f to %.1f %% of a core; %.2f s in ten seconds" % (
                   ours["cpu"] * 100, polling["cpu"] * 100, ours["cpu"] * 10))
    yield Line("7. waiting: memory a wait, to a thread that rests", "%.1f" % (ours["kib"] / resting["kib"]),
               figures="%.0f to %.0f KiB; polling %.0f KiB" % (ours["kib"], resting["kib"], polling["kib"]))


# ---- The table -------------------------------------------------------------------------------------------------------

ROWS: List[Callable[[Bench], Iterator[Line]]] = [importing, cold, warm, readiness, types, stream, waiting]


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description="What jamsocket_lite costs, as a markdown table.")
    parser.add_argument("--module", type=Path, default=HERE.parent.parent.parent / "jamsocket_lite.py", help="another version")
    parser.add_argument("rows", metavar="ROW", nargs="*", type=int, help="1 to 7; all of them")
    options = parser.parse_args()
    begun = time.monotonic()
    with ExitStack() as stack:
        bench = Bench(options.module.resolve(), stack)
        print("%s, %d cores, %s; Python %s, %s; work in %s.\n" % (
            processor(), os.cpu_count() or 1, platform.system(), platform.python_version(), ssl.OPENSSL_VERSION,
            bench.counter.unit + (" (%s)" % bench.counter.command[0] if bench.counter.command else
                                  ": neither valgrind nor perf works here")))
        print("| what | ratio | goal | met | figures |\n| --- | --- | --- | --- | --- |")
        for number in options.rows or range(1, len(ROWS) + 1):
            for line in ROWS[number - 1](bench):
                met = {True: "yes", False: "**no**", None: ""}[line.met]
                print("| %s |" % " | ".join((line.what, line.ratio, line.goal, met, line.figures)), flush=True)
        print("\n" + " ".join([*bench.notes, "It took %d seconds." % (time.monotonic() - begun)]))


if __name__ == "__main__":
    main()
