#!/usr/bin/env python3
"""A soak: eight threads connect, wait, stream and terminate, on local platforms of both APIs behind
nginx and HAProxy as they come, each of which is killed and started again now and then.

    python tests/dev/soak.py                        # half an hour
    python tests/dev/soak.py --minutes 5 --seed 7

Prints a table. The exit status is 0 only where no `ready` was returned that was over, no foreign
exception came, no call was past its deadline, and no descriptor was left.
"""

import argparse
import os
import random
import re
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if not os.environ.get("JAMSOCKET_LITE_INSTALLED") and os.path.dirname(TESTS) not in sys.path:
    sys.path[:0] = [TESTS, os.path.dirname(TESTS)]

from jamsocket_lite import BackendState, JamsocketError
from kit.backends import LISTEN, python
from kit.haproxy import HAPROXY, HAProxy
from kit.leftovers import open_files
from kit.nginx import NGINX, Nginx
from kit.noise import Noise
from kit.platforms import APIS, STATUSES, Api, Client, running, statuses
from kit.process import ServerProcess
from kit.secrets import look_over
from kit.witness import Witness, watch

__all__ = ["Report", "soak"]

THREADS = 8
SLACK = 1.0  # how long after its deadline a call may return, beyond what the machine is late itself
LONGEST = 8.0  # of the deadlines
KEYS = 6  # few, so that threads meet under them

# It listens after LATE seconds and ends LIFE seconds later, or with the platform that started it.
BACKEND = LISTEN + """
import time
platform = os.getppid()
def pass_time(seconds):
    end = time.monotonic() + seconds
    while os.getppid() == platform and time.monotonic() < end:
        time.sleep(max(0.0, min(0.2, end - time.monotonic())))
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
pass_time(float(os.environ['LATE']))
s.listen(5)
pass_time(float(os.environ['LIFE']))
"""


# --------------------------------------------------------------------------------------------------
# The servers
# --------------------------------------------------------------------------------------------------

class Platform(ServerProcess):
    """A local platform that writes down, a line each, what a witness has to know."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self.api = api

    def command(self) -> List[str]:
        return [sys.executable, os.path.abspath(__file__),
                "--serve", self.api.name, "--port", str(self.port)]

    def kill(self) -> None:
        super().kill()
        with open(str(self.folder / "output.txt"), "a") as output:
            output.write("%r * killed\n" % time.monotonic())

    def tell(self, witness: Witness) -> str:
        """Hand the notes on; what else it said, which should be nothing."""
        alive: Set[str] = set()
        odd = []
        with open(str(self.folder / "output.txt")) as lines:
            for line in lines:
                if not re.match(r"\d+\.\d+ ", line):
                    odd.append(line)
                    continue
                moment, id, what = line.rstrip("\n").split(" ", 2)
                # What a killed platform had begun ended with it.
                ids, what = (alive, "terminated") if what == "killed" else ({id}, what)
                for one in ids:
                    witness.note(float(moment), one, what)
                alive = set() if id == "*" else alive | {id}
        return "".join(odd[:40])


def serve(api: Api, port: int) -> None:
    """A platform in a process of its own, until it is ended."""
    def note(moment: float, id: str, what: str) -> None:
        os.write(1, ("%r %s %s\n" % (moment, id, what)).encode())  # a whole line, or none

    with running(api, python(BACKEND), port=port, record=False) as cluster:
        watch(cluster.platform, note)
        threading.Event().wait()


class Route(NamedTuple):
    """A way to a platform."""

    name: str
    api: Api
    url: str

    def client(self) -> Client:
        return self.api.client(self.url)


# --------------------------------------------------------------------------------------------------
# What came of it
# --------------------------------------------------------------------------------------------------

class Overdue(NamedTuple):
    begun: float
    ended: float
    past: float
    what: str


class Ready(NamedTuple):
    id: str
    begun: float
    returned: float


class Report:
    """Of all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.noise = Noise()
        self.outcomes: Dict[str, "Counter[str]"] = {}  # of each call
        self.slowest: Dict[str, float] = {}
        self.ready: List[Ready] = []
        self.over = 0
        self.foreign: List[str] = []
        self.overdue: List[Overdue] = []
        self.late: List[str] = []
        self.latest = 0.0
        self.disorder: List[str] = []
        self.unclosed: List[str] = []
        self.killed: "Counter[str]" = Counter()
        self.files = self.threads = (0, 0)
        self.said = ""  # by the platforms, of troubles of their own
        self.sessions, self.minutes = 0, 0.0

    def call(self, name: str, timeout: float, call: Callable[[], Any]) -> Any:
        """What the call returns, or None where it fails."""
        begun = time.monotonic()
        result: Any = None
        error: Optional[Exception] = None
        try:
            result, outcome = call(), "done"
        except JamsocketError as caught:
            error, outcome = caught, type(caught).__name__
        except Exception as caught:  # that none comes is what this is about
            error, outcome = caught, "foreign"
        ended = time.monotonic()
        took = ended - begun
        past = took - timeout
        with self.lock:
            self.outcomes.setdefault(name, Counter())[outcome] += 1
            self.slowest[name] = max(took, self.slowest.get(name, 0.0))
            self.latest = max(self.latest, min(past, SLACK))
            if past > SLACK:
                what = "%s: %s after %.2f s of %.2f s" % (name, outcome, took, timeout)
                self.overdue.append(Overdue(begun, ended, past, what))
        if error is not None:
            self._look(error)
        return result

    def _look(self, error: Exception) -> None:
        try:
            look_over(error)
        except AssertionError:
            with self.lock:
                self.foreign.append("".join(traceback.format_exception(
                    type(error), error, error.__traceback__)))

    def judge(self, witness: Witness) -> None:
        self.over = sum(witness.was_over(*one) for one in self.ready)
        for one in self.overdue:
            past = one.past - self.noise.between(one.begun, one.ended)
            self.latest = max(self.latest, past)
            if past > SLACK:
                self.late.append(one.what)

    def faults(self) -> List[str]:
        found = []
        if self.over:
            found.append("%d times `ready` was over" % self.over)
        found += ["foreign or unsound: " + one for one in self.foreign[:5]]
        found += ["late: " + one for one in self.late[:10]]
        found += ["out of order: " + one for one in self.disorder[:5]]
        found += ["left to the collector: " + one for one in self.unclosed[:5]]
        if self.files[1] > self.files[0]:
            found.append("descriptors are left")
        if not self.ready:
            found.append("nothing became ready: this proves nothing")
        return found

    def lines(self) -> List[str]:
        names = sorted({name for counts in self.outcomes.values() for name in counts} - {"done"})
        row = "%-18s" + " %7s" * 2 + " %9s" + "".join("  %%%ds" % len(name) for name in names)
        table = [row % ("call", "calls", "done", "slowest", *names)]
        for call, counts in sorted(self.outcomes.items()):
            table.append(row % (call, sum(counts.values()), counts["done"],
                                "%.2f s" % self.slowest[call], *[counts[name] for name in names]))
        killed = ", ".join("%s %d" % one for one in sorted(self.killed.items()))
        figures = [
            ("minutes", "%.1f" % self.minutes), ("sessions", self.sessions), ("killed", killed),
            ("`ready` returned", len(self.ready)), ("of these over", self.over),
            ("foreign exceptions", len(self.foreign)),
            ("streams out of order", len(self.disorder)),
            ("calls past their deadline", len(self.late)),
            ("the most past one", "%.2f s (the machine itself: %.2f s)"
             % (self.latest, self.noise.most)),
            ("descriptors", "%d at the start, %d at the end" % self.files),
            ("threads", "%d at the start, %d at the end" % self.threads),
            ("sockets left unclosed", len(self.unclosed))]
        return table + [""] + ["%-26s %s" % one for one in figures]


# --------------------------------------------------------------------------------------------------
# What the threads do
# --------------------------------------------------------------------------------------------------

def session(report: Report, route: Route, dice: random.Random, longest: float) -> None:
    """One backend from its connect to its end, with deadlines that are met and that are not."""
    def timeout() -> float:
        return dice.choice((0.3, longest / 4, longest, longest))

    client = route.client()
    env = {"LATE": "%.3f" % dice.choice((0.0, 0.0, 0.3, longest / 4)),
           "LIFE": "%.3f" % dice.choice((0.0, 0.05, 0.1, 0.15, 0.3, 2.0, 10.0))}
    request: Dict[str, Any] = {"spawn": {"executable": {"env": env}}}
    if dice.random() < 0.4:
        request["key"] = "%s-%d" % (route.api.name, dice.randrange(KEYS))
    seconds, begun = timeout(), time.monotonic()
    if dice.random() < 0.25:
        backend = report.call("connect_and_wait", seconds,
                              lambda: client.connect_and_wait(request, timeout=seconds))
        if backend:
            report.ready.append(Ready(backend.backend_id, begun, time.monotonic()))
    else:
        backend = report.call("connect", longest,
                              lambda: client.connect(request, timeout=longest))
    if backend is None:
        return
    steps = dice.sample([wait, stream, read_to_ready, status], dice.randrange(1, 4))
    for step in [wait] * (dice.random() < 0.5) + steps:
        step(report, client, backend, timeout())
    report.call("terminate", longest, lambda: client.terminate(
        backend, hard=dice.random() < 0.5, timeout=longest))


def wait(report: Report, client: Client, backend: Any, timeout: float) -> None:
    begun = time.monotonic()
    if report.call("wait", timeout, lambda: client.wait_until_ready(backend, timeout=timeout)):
        report.ready.append(Ready(backend.backend_id, begun, time.monotonic()))


def status(report: Report, client: Client, backend: Any, timeout: float) -> None:
    report.call("status", timeout, lambda: client.status(backend, timeout=timeout))


def stream(report: Report, client: Client, backend: Any, timeout: float, last: str = "") -> None:
    states: List[BackendState] = []

    def read() -> None:
        for state in client.status_stream(backend, timeout=timeout):
            states.append(state)
            if state.status == last:
                break

    report.call("stream", timeout, read)
    told = [STATUSES.index(one) for one in statuses(states)]
    if told != sorted(set(told)):
        with report.lock:
            report.disorder.append(", ".join(statuses(states)))


def read_to_ready(report: Report, client: Client, backend: Any, timeout: float) -> None:
    stream(report, client, backend, timeout, "ready")


# --------------------------------------------------------------------------------------------------
# All of it
# --------------------------------------------------------------------------------------------------

def soak(seconds: float, seed: int, longest: float = LONGEST,
         say: Callable[[str], None] = lambda line: None) -> Report:
    report = Report()
    with ExitStack() as stack, warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        servers: Dict[str, ServerProcess] = {}
        routes: List[Route] = []
        for api in APIS.values():
            platform = servers["platform/" + api.name] = stack.enter_context(Platform(api))
            # Jamsocket's answers lead elsewhere, where the Host is not passed on.
            location = "" if api.plane else "proxy_set_header Host $http_host;"
            for kind in (Nginx(platform.port, location=location), HAProxy(platform.port)):
                name = "%s/%s" % (type(kind).__name__.lower(), api.name)
                servers[name] = stack.enter_context(kind)
                routes.append(Route(name, api, kind.url))
        report.noise.start()
        stack.callback(report.noise.stop)
        _work(report, servers, routes, seconds, seed, longest, say)
        witness = Witness()
        for server in servers.values():
            if isinstance(server, Platform):
                report.said += server.tell(witness)
        report.judge(witness)
    report.unclosed = [str(one.message) for one in seen
                       if issubclass(one.category, ResourceWarning)]
    return report


def _work(report: Report, servers: Dict[str, ServerProcess], routes: List[Route], seconds: float,
          seed: int, longest: float, say: Callable[[str], None]) -> None:
    start = time.monotonic()
    end = start + seconds

    def work(number: int) -> None:
        dice = random.Random("%d/%d" % (seed, number))
        while time.monotonic() < end:
            session(report, dice.choice(routes), dice, longest)
            with report.lock:
                report.sessions += 1

    files, count = open_files(), threading.active_count()
    with ThreadPoolExecutor(THREADS) as pool:
        working = [pool.submit(work, number) for number in range(THREADS)]
        _strike(report, servers, end, random.Random(seed), say)
        for one in working:
            one.result()
    report.files = files, open_files()
    report.threads = count, threading.active_count()
    report.minutes = (time.monotonic() - start) / 60


def _strike(report: Report, servers: Dict[str, ServerProcess], end: float, dice: random.Random,
            say: Callable[[str], None]) -> None:
    """Kill one server after the other, each for a while."""
    while True:
        pause = dice.uniform(1.0, 7.0)
        if time.monotonic() + pause >= end:
            time.sleep(max(0.0, end - time.monotonic()))
            return
        time.sleep(pause)
        name = dice.choice(sorted(servers))
        servers[name].kill()
        report.killed[name] += 1
        time.sleep(dice.uniform(0.0, 3.0))
        servers[name].start()
        say("%4.1f minutes left, %d sessions" % ((end - time.monotonic()) / 60, report.sessions))


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the dice (the time)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve(APIS[options.serve], options.port)
    if not NGINX or not HAPROXY:
        print("soak: needs nginx and HAProxy (apt install nginx-light haproxy)", file=sys.stderr)
        return 2
    print("seed %d" % options.seed, flush=True)
    report = soak(options.minutes * 60, options.seed,
                  say=lambda line: print(line, file=sys.stderr, flush=True))
    print("\n".join(report.lines()))
    print(report.said and "\nThe platforms said:\n" + report.said)
    faults = report.faults()
    print("\n".join(["", *faults] if faults else ["", "It holds."]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
