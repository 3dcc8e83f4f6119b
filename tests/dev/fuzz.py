#!/usr/bin/env python3
"""Fuzzing, against a real server on loopback: answers and streams as they were recorded, mutated
byte by byte; floods; slow replays of a backend's life. http and https.

    python tests/dev/fuzz.py --seconds 60                 # with a seed by the clock, printed
    python tests/dev/fuzz.py --seconds 60 --seed 7        # the same cases again
    python tests/dev/fuzz.py --seed 7 --case 1234         # one of them alone

Whatever comes, a call ends within its deadline, with an answer of the contract or with one of the
contract's errors, which shows no secret; how the bytes were cut into pieces on their way makes no
difference; a wait returns no `ready` that is over; and nothing is left behind, no thread, no
descriptor.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from typing import (Any, Callable, Counter as Counts, Dict, Iterator, List, NamedTuple, Optional,
                    Sequence, Tuple)

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if not os.environ.get("JAMSOCKET_LITE_INSTALLED") and os.path.dirname(TESTS) not in sys.path:
    sys.path[:0] = [TESTS, os.path.dirname(TESTS)]

from dev.fuzzing import floods, mutations, replays
from dev.fuzzing.cases import Case, Failure, Late, summary
from jamsocket_lite import JamsocketTimeout
from kit import noise
from kit.certificates import Certificates
from kit.deadlines import GRACE, timed
from kit.leftovers import leaving_nothing
from kit.server import Request, Reset, Server, Step

__all__ = ["Failure", "Report", "fuzz", "make_case", "run_case"]

ATTEMPTS = 3  # at one that comes late: a busy machine is late now and then
DISTURBED = 20  # and so many more, while it is known to have been late
WORKERS = 8
WAITERS = 24  # for the replays, which mostly wait
WAITS_EVERY = 8  # a case of so many is a replay
TLS_EVERY = 5  # and one of so many comes by https


class Report(NamedTuple):
    seed: int
    cases: int
    outcomes: Dict[str, int]
    latest: float  # seconds past a deadline
    tls: bool


def make_case(seed: int, number: int) -> Case:
    """A case depends on the seed and its number alone."""
    rng = random.Random("%d:%d" % (seed, number))
    if number % WAITS_EVERY == 0:
        return replays.make(rng)
    return floods.make(rng) if rng.random() < 0.15 else mutations.make(rng)


class Fuzzer:
    """The servers, the cases that are under way, and what came of those before."""

    def __init__(self, seed: int, stack: ExitStack) -> None:
        self.seed = seed
        self.outcomes: Counts[str] = Counter()
        self.latest = 0.0
        self._cases: Dict[str, Case] = {}
        self._lock = threading.Lock()
        self._server = stack.enter_context(Server(self._steps))
        self._tls: Optional[Server] = None
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            made = Certificates(folder)
        except RuntimeError:
            return  # no openssl here
        self._context = made.client_context()
        self._tls = stack.enter_context(Server(self._steps, tls=made.server_context()))

    @property
    def tls(self) -> bool:
        return self._tls is not None

    def run(self, number: int) -> None:
        """One case; raises Failure where the contract is broken."""
        try:
            outcome = self._outcome(number, lambda: make_case(self.seed, number))
            other = make_case(self.seed, number).otherwise()
            if other is not None:
                compare(outcome, self._outcome(number, lambda: other))
        except Exception as error:
            text = str(error) if isinstance(error, Failure) else "".join(
                traceback.format_exception(type(error), error, error.__traceback__))
            raise Failure("seed %d, case %d (--seed %d --case %d): %s" % (
                self.seed, number, self.seed, number, text)) from None

    def _outcome(self, number: int, make: Callable[[], Case]) -> Any:
        attempts, disturbed = ATTEMPTS, DISTURBED
        while True:
            case, begun = make(), time.monotonic()
            outcome, past = self._attempt(number, case)
            try:
                if past > GRACE:
                    raise Late("%.3f s past the deadline" % past)
                case.check(outcome)
                break
            except AssertionError as error:
                if disturbed and noise.lateness(begun, time.monotonic()) > 0.1:
                    disturbed -= 1
                else:
                    attempts -= 1
                if not isinstance(error, Late) or not attempts:
                    raise Failure("%s\n%r; it ended with %r" % (error, case, outcome)) from None
        with self._lock:
            self.latest = max(self.latest, past)
            self.outcomes["%s: %s" % (case.kind, type(outcome).__name__)] += 1
        return outcome

    def _attempt(self, number: int, case: Case) -> Tuple[Any, float]:
        """What comes of it, and how many seconds past its deadline."""
        server, options = self._server, {}  # type: Server, Dict[str, Any]
        if self._tls is not None and number % TLS_EVERY == 0:
            server, options = self._tls, {"ssl_context": self._context}
        key = "%d-%d" % (number, threading.get_ident())
        with self._lock:
            self._cases[key] = case
        try:
            outcome, seconds = timed(lambda: case.run("%s/%s" % (server.url, key), **options))
        finally:
            with self._lock:
                del self._cases[key]
        return outcome, seconds - case.deadline

    def _steps(self, request: Request) -> Sequence[Step]:
        with self._lock:
            case = self._cases.get(request.target.split("/")[1])
        return case.steps(request) if case else [Reset()]


def compare(outcome: Any, other: Any) -> None:
    # What ended with the deadline may have been on the way to anything.
    if isinstance(outcome, JamsocketTimeout) or isinstance(other, JamsocketTimeout):
        return
    if summary(outcome) != summary(other):
        raise Failure("the pieces make a difference: %r, whole %r" % (
            summary(outcome), summary(other)))


def run_case(seed: int, number: int) -> None:
    with leaving_nothing(), ExitStack() as stack:
        Fuzzer(seed, stack).run(number)


def fuzz(seed: int, *, seconds: float = 1e9, cases: int = sys.maxsize,
         longest: float = 1e9) -> Report:
    """Run cases 0, 1, 2, … for so many seconds, or so many of them, without those of a longer
    deadline. Raises the first Failure."""
    end = time.monotonic() + seconds
    failures: List[BaseException] = []
    taken: List[int] = []
    lock = threading.Lock()

    def work(fuzzer: Fuzzer, numbers: Iterator[int]) -> None:
        while time.monotonic() < end and not failures:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            if make_case(seed, number).deadline > longest:
                continue
            taken.append(number)
            try:
                fuzzer.run(number)
            except BaseException as error:
                failures.append(error)

    with leaving_nothing(), ExitStack() as stack:
        fuzzer = Fuzzer(seed, stack)
        quick = (number for number in range(cases) if number % WAITS_EVERY)
        threads = [threading.Thread(target=work, args=(fuzzer, quick)) for _ in range(WORKERS)]
        slow = iter(range(0, cases, WAITS_EVERY))
        threads += [threading.Thread(target=work, args=(fuzzer, slow)) for _ in range(WAITERS)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            end = 0.0
    if failures:
        raise failures[0]
    return Report(seed, len(taken), dict(sorted(fuzzer.outcomes.items())), fuzzer.latest,
                  fuzzer.tls)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()),
                        help="of all that is random (the time)")
    parser.add_argument("--longest", type=float, default=1e9,
                        help="without cases of a deadline of more seconds")
    parser.add_argument("--case", type=int, help="run this one alone")
    options = parser.parse_args(argv)
    print("seed %d" % options.seed, flush=True)
    noise.watch()
    try:
        if options.case is not None:
            print(make_case(options.seed, options.case))
            run_case(options.seed, options.case)
            print("it holds")
            return 0
        report = fuzz(options.seed, seconds=options.seconds, longest=options.longest)
    except AssertionError as error:
        print(error)
        return 1
    print("%d cases, at most %.0f ms past a deadline%s" % (
        report.cases, report.latest * 1000,
        "" if report.tls else "; no https, which needs the openssl command"))
    for name, count in report.outcomes.items():
        print("%8d %s" % (count, name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
