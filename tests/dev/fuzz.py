#!/usr/bin/env python3
"""Fuzzing: answers and streams as they were recorded, mutated byte by byte, against a real server on loopback.

    python tests/dev/fuzz.py --seconds 60                 # with a seed by the clock, which is printed
    python tests/dev/fuzz.py --seconds 60 --seed 7        # the same cases again
    python tests/dev/fuzz.py --seed 7 --case 1234         # one of them alone

Whatever comes, a call ends within its deadline, with an answer of the contract or with one of the contract's errors,
which shows no secret; and how the bytes were cut into pieces on their way makes no difference.
"""

import argparse
import os
import random
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if not os.environ.get("JAMSOCKET_LITE_INSTALLED") and os.path.dirname(TESTS) not in sys.path:
    sys.path[:0] = [TESTS, os.path.dirname(TESTS)]

from jamsocket_lite import (AuthenticationError, BackendState, BackendTerminated, ConnectResponse, HTTPError,
                            JamsocketTimeout, NetworkError, ProtocolError, RateLimitError)
from kit.server import Action, Peer, Request, Reset, Server, Silence, Step, answer, chunk, event, stream_head
from kit.calls import CALLS
from kit.deadlines import GRACE, timed
from kit.platforms import state
from kit.secrets import SECRETS, look_over

__all__ = ["Failure", "Report", "fuzz", "run_case"]

DEADLINE = 0.4  # for cases that never end by themselves
ERRORS = (NetworkError, ProtocolError, HTTPError, AuthenticationError, RateLimitError, JamsocketTimeout)

# ---------------------------------------------------------------------------------------------------------------------
# What was recorded
# ---------------------------------------------------------------------------------------------------------------------

DEV_CONNECT = (
    b'{"backend_id":"o32yhwwj29z3vz","status_url":"http://localhost:8080/v2/backend/o32yhwwj29z3vz/status",'
    b'"status":"scheduled","spawned":true,"ready_url":"","url":"http://localhost:8081/tpPHHVd2vYqa/",'
    b'"secret_token":"s0me-secret","token":"tpPHHVd2vYqa"}')
PLANE_CONNECT = (
    b'{"backend_id":"nq3kg5","spawned":true,"status":"scheduled","token":"t-1","url":"https://plane.example.test/t-1/",'
    b'"subdomain":null,"secret_token":"s-1","status_url":"http://localhost:8080/pub/b/nq3kg5/status","drone":"dr-1"}')
DEV_HEAD = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nVary: Origin\r\n"
            b"Date: Mon, 23 Nov 2026 22:46:13 GMT\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
STATES = [state("scheduled"), state("loading"), state("starting"), state("waiting"), state("ready"),
          state("terminating", termination_reason="keyexpired", termination_kind="soft"),
          state("hard-terminating", termination_reason="swept"),
          state("terminated", termination_reason="external", termination_kind="hard", exit_error=True)]
DEV_EVENTS = b"".join(event(one) for one in STATES)
PLANE_EVENTS = b":\n\n" + b"".join(event({**one, "time": 1732401973368}, id=one["status"]) for one in STATES) + b":\n\n"
ERROR = {"error": {"message": "Service not found", "status": 404, "code": "SERVICE_NOT_FOUND", "id": "req_7f"}}


def in_chunks(body: bytes, size: int) -> bytes:
    return b"".join(chunk(body[start:start + size]) for start in range(0, len(body), size)) + chunk(b"")


SINGLE: List[bytes] = [
    DEV_HEAD + in_chunks(DEV_CONNECT, 1000), DEV_HEAD + in_chunks(DEV_CONNECT, 50), answer(DEV_CONNECT),
    answer(PLANE_CONNECT), answer(PLANE_CONNECT, length=False), answer(state("ready")),
    answer({**STATES[5], "time": 1732401973368}),
    DEV_HEAD + in_chunks(b'{"status":"terminated","time":"","exit_error":true}', 9),
    answer({"status": "ok"}), answer(None), answer(ERROR, 404), answer(ERROR, 401), answer(b"backend not found", 404),
    answer({"id": "x", "kind": "KeyHeld", "message": "Key is held"}, 409), answer(b"", 429, [("Retry-After", "7")]),
    answer(b"", 503, [("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")]), answer(b"<html>502</html>", 502),
    answer(b"", 302, [("Location", "https://elsewhere.example.test/")]),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(state("ready")),
]
STREAM: List[bytes] = [
    stream_head() + DEV_EVENTS, stream_head(True) + in_chunks(DEV_EVENTS, 60), stream_head() + PLANE_EVENTS,
    stream_head(True) + in_chunks(PLANE_EVENTS, 1000), stream_head() + event(STATES[4]) + b"retry:10\n\n",
    stream_head() + b"".join(event(one).replace(b'","', b'",\ndata:"') for one in STATES).replace(b"\n", b"\r\n"),
    stream_head() + DEV_EVENTS.replace(b"\n", b"\r\n"), stream_head() + DEV_EVENTS.replace(b"\n", b"\r"),
    stream_head(True) + b"".join(chunk(bytes([byte])) for byte in event(STATES[0]) + event(STATES[7])),
]

# ---------------------------------------------------------------------------------------------------------------------
# What is done to it
# ---------------------------------------------------------------------------------------------------------------------

WORDS: Sequence[bytes] = [
    b"", b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b":", b" ", b"\t", b"-", b"0", b"9" * 30,
    b"ffffffffffffffff",
    b"-1", b"1e999", b"NaN", b"null", b"true", b"{}", b"[]", b"[" * 5000, b'"', b"\\", b"\\ud800", b"\xff",
    b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"data:", b"data", b"id:", b"event:x\n",
    b"retry:99999999999999999999\n", b": x\n",
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Location: file:///etc/passwd\r\n", b"0\r\n\r\n",
    b"5\r\nhello\r\n", b"Retry-After: 0.01\r\n", b"Content-Type: text/event-stream\r\n",
    b"X: " + b"y" * 70000 + b"\r\n",
    b"x" * 140000, b'"status":"terminated",', b'"status":"dreaming",', b'"time":0,', b'"time":' + b"1" * 5000 + b",",
]


def mutate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5, 10))):
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + rng.choice((1, 1, 2, 4, 16, 64, 256)))
        kind = rng.randrange(10)
        if kind < 3 and place < len(data):  # another byte
            byte = rng.choice((rng.randrange(256), data[place] ^ 1 << rng.randrange(8), rng.choice(b"\r\n:{}[]\"0 ")))
            data = data[:place] + bytes([byte]) + data[place + 1:]
        elif kind == 3:
            data = data[:place] + data[end:]
        elif kind == 4:
            data = data[:end] + data[place:]
        elif kind < 7:
            data = data[:place] + rng.choice(WORDS) + data[place if rng.random() < 0.5 else end:]
        elif kind == 7:
            data = data[:place]
        elif kind == 8:
            other = rng.choice(others)
            data = data[:place] + other[rng.randrange(len(other)):]
        else:
            data = data[:place] + data[place:end] * rng.randrange(2, 40) + data[end:]
    return data


class Pieces(Action):
    """Sends bytes in pieces of their own, as the network may deliver them."""

    def __init__(self, pieces: Sequence[bytes], pause: float) -> None:
        self.pieces, self.every = pieces, pause

    def run(self, peer: Peer) -> None:
        for piece in self.pieces:
            peer.send(piece)
            if self.every:
                peer.pause(self.every)


def cut(rng: random.Random, data: bytes) -> Pieces:
    kind = rng.randrange(4)
    if kind == 0 and len(data) < 2000:
        return Pieces([bytes([byte]) for byte in data], 0.0)
    if kind == 1:  # few, each arrives alone, and many begin where a line ends
        ends = [place for place, byte in enumerate(data, 1) if byte in b"\r\n"] or [0]
        places = sorted(rng.choice(ends) if rng.random() < 0.6 else rng.randrange(len(data) + 1)
                        for _ in range(rng.randrange(1, 8)))
        return Pieces([data[start:end] for start, end in zip([0, *places], [*places, len(data)])], 0.002)
    size = rng.choice((1, 2, 3, 7, 100, 1000)) if len(data) < 5000 else 4096
    return Pieces([data[start:start + size] for start in range(0, len(data), size)], 0.0)


class Case(NamedTuple):
    call: str
    data: bytes
    ends: str  # "close", "reset" or "silence"
    pieces: Pieces


def make_case(seed: int, number: int) -> Case:
    """A case depends on the seed and its number alone."""
    rng = random.Random("%d:%d" % (seed, number))
    call = rng.choice(("connect", "status", "terminate", "wait", "stream", "stream"))
    recorded = STREAM if call in ("wait", "stream") and rng.random() < 0.9 else SINGLE
    data = mutate(rng, rng.choice(recorded), SINGLE + STREAM)
    ends = rng.choice(("close",) * 12 + ("reset", "silence"))
    return Case(call, data, ends, cut(rng, data))


# ---------------------------------------------------------------------------------------------------------------------
# What must come of it
# ---------------------------------------------------------------------------------------------------------------------

class Failure(AssertionError):
    pass


class Report(NamedTuple):
    seed: int
    cases: int
    outcomes: Dict[str, int]
    latest: float  # seconds past a deadline


class Fuzzer:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.outcomes: Dict[str, int] = {}
        self.latest = 0.0
        self._scripts: Dict[str, Callable[[Request], Sequence[Step]]] = {}
        self._lock = threading.Lock()
        self._server = Server(self._script)

    def close(self) -> None:
        self._server.close()
        if self._server.errors:
            raise self._server.errors[0]

    def run(self, number: int) -> None:
        """One case: as it is cut into pieces, and whole; raises Failure where the contract is broken."""
        case = make_case(self.seed, number)
        try:
            cut_up = self._outcome(case, number, case.pieces)
            if case.ends == "close" and case.call not in ("wait",):
                whole = self._outcome(case, number, Pieces([case.data], 0.0))
                if self._comparable(cut_up, whole) and summary(cut_up) != summary(whole):
                    raise Failure("the pieces make a difference: %r, whole %r" % (summary(cut_up), summary(whole)))
        except Exception as error:
            raise Failure("seed %d, case %d (--seed %d --case %d): %s, %d bytes %r, then %s\n%s" % (
                self.seed, number, self.seed, number, case.call, len(case.data), case.data[:3000], case.ends,
                "".join(traceback.format_exception(type(error), error, error.__traceback__)))) from None

    def _comparable(self, one: Any, other: Any) -> bool:
        # What ended with the deadline may have been on the way to anything.
        return not isinstance(one, JamsocketTimeout) and not isinstance(other, JamsocketTimeout)

    def _outcome(self, case: Case, number: int, pieces: Pieces) -> Any:
        outcome, past = self._attempt(case, number, pieces)
        if past > GRACE:
            outcome, past = self._attempt(case, number, pieces)  # a busy machine is late now and then
        if past > GRACE:
            raise Failure("%.3f s past the deadline" % past)
        check_outcome(case.call, outcome)
        with self._lock:
            self.latest = max(self.latest, past)
            name = type(outcome).__name__
            self.outcomes[name] = self.outcomes.get(name, 0) + 1
        return outcome

    def _attempt(self, case: Case, number: int, pieces: Pieces) -> Tuple[Any, float]:
        key = "%d-%d" % (number, threading.get_ident())
        ends: Dict[str, Step] = {"close": b"", "reset": Reset(), "silence": Silence()}
        streams = [0]

        def script(request: Request) -> Sequence[Step]:
            # A stream is fuzzed once; when it is opened again, it is over. The status call hangs meanwhile.
            if case.call in ("wait", "stream"):
                if not request.target.endswith("/stream"):
                    return [Silence()]
                streams[0] += 1
                if streams[0] > 1:
                    return [stream_head() + event(state("terminated")), Silence()]
            return [pieces, ends[case.ends]]

        with self._lock:
            self._scripts[key] = script
        # Those who wait are given more time only where the stream, once opened again, ends the call.
        deadline = DEADLINE if case.ends == "silence" else 2.0
        try:
            outcome, seconds = timed(lambda: CALLS[case.call]("%s/%s" % (self._server.url, key), deadline))
        finally:
            with self._lock:
                del self._scripts[key]
        return outcome, seconds - deadline

    def _script(self, request: Request) -> Sequence[Step]:
        with self._lock:
            script = self._scripts.get(request.target.split("/")[1])
        return script(request) if script else [Reset()]


def check_outcome(call: str, outcome: Any) -> None:
    if isinstance(outcome, BaseException):
        look_over(outcome)
        allowed = ERRORS + ((BackendTerminated,) if call == "wait" else ())
        if type(outcome) not in allowed:
            raise Failure("%s is not an error of this call" % type(outcome).__name__)
        if isinstance(outcome, HTTPError):
            after = outcome.retry_after
            if not (400 <= outcome.status <= 999 and (after is None or 0.0 <= after < float("inf"))):
                raise Failure("status %r, retry_after %r" % (outcome.status, after))
        return
    states = {"connect": [], "terminate": [], "status": [outcome], "wait": [outcome], "stream": outcome}[call]
    if call == "connect":
        if type(outcome) is not ConnectResponse:
            raise Failure("connect gave %r" % (outcome,))
        again: Any = ConnectResponse.from_dict(outcome.to_dict(), strict=False)
        if again != outcome or any(secret in repr(outcome) for secret in (*SECRETS, "tpPHHVd2vYqa", "s0me-secret")):
            raise Failure("connect gave %s" % outcome)
    if call == "terminate" and outcome is not None:
        raise Failure("terminate gave %r" % (outcome,))
    for one in states:
        if type(one) is not BackendState or BackendState.from_dict(one.to_dict(), strict=False) != one:
            raise Failure("%s gave %r" % (call, one))
    if call == "wait" and not outcome.is_ready:
        raise Failure("wait gave %r" % (outcome,))
    if call == "stream":
        statuses = [one.status for one in states]
        known = [statuses.index(one["status"]) for one in STATES if one["status"] in statuses]
        if len(set(statuses)) != len(statuses) or known != sorted(known) or not states[-1].is_terminated:
            raise Failure("stream gave %r" % statuses)


def summary(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        return type(outcome).__name__, str(outcome)
    if isinstance(outcome, list):
        return [one.to_dict() for one in outcome]
    return outcome if outcome is None else outcome.to_dict()


def run_case(seed: int, number: int) -> None:
    fuzzer = Fuzzer(seed)
    try:
        fuzzer.run(number)
    finally:
        fuzzer.close()


def fuzz(seed: int, *, seconds: float = 1e9, cases: int = sys.maxsize, workers: int = 8) -> Report:
    """Run cases 0, 1, 2, … for so many seconds, or so many of them. Raises the first Failure."""
    fuzzer, end = Fuzzer(seed), time.monotonic() + seconds
    failures: List[BaseException] = []
    taken, lock = [0], threading.Lock()

    def work() -> None:
        while time.monotonic() < end and not failures:
            with lock:
                number = taken[0]
                if number >= cases:
                    return
                taken[0] += 1
            try:
                fuzzer.run(number)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        end = 0.0
        fuzzer.close()
    if failures:
        raise failures[0]
    return Report(seed, taken[0], dict(sorted(fuzzer.outcomes.items())), fuzzer.latest)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all that is random (the time)")
    parser.add_argument("--case", type=int, help="run this one alone")
    options = parser.parse_args(argv)
    print("seed %d" % options.seed, flush=True)
    try:
        if options.case is not None:
            print(make_case(options.seed, options.case))
            run_case(options.seed, options.case)
            print("it holds")
            return 0
        report = fuzz(options.seed, seconds=options.seconds)
    except Failure as error:
        print(error)
        return 1
    print("%d cases, at most %.0f ms past a deadline" % (report.cases, report.latest * 1000))
    for name, count in report.outcomes.items():
        print("%8d %s" % (count, name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
