"""Waits and streams in bad weather: what passes they go on through, what will not pass ends them at once.

Most cases are scenarios that take a second or more of waiting, so all of them run at the same time, once.
"""

import gc
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type

import pytest

from kit.certificates import Certificates
from jamsocket_lite import (AuthenticationError, BackendState, BackendTerminated, HTTPError, JamsocketTimeout,
                            NetworkError, ProtocolError, wait_until_ready)
from kit.server import (Close, Dribble, Pause, Repeat, Request, Reset, Script, Server, Silence, Step, Wait, answer, chunk,
                    event, stream_head)
from kit.calls import CALLS, Call, LASTING, name_of
from kit.deadlines import GRACE, LONG, SHORT, Timed, against, keeps_deadline, record, timed
from kit.platforms import (ID, STATUSES, Steps, channels, client, connected, events, in_turn,
                           is_stream, state, streamed, told)
from kit.secrets import (BACKEND_TOKEN, READY_PATH, SECRETS, SECRET_TOKEN, URL_PATH, failed,
                         failure, look_over)
from kit.threads import together

pytestmark = pytest.mark.usefixtures("nothing_left")


each_call = pytest.mark.parametrize("call", list(LASTING.values()), ids=list(LASTING))

HANGS: Sequence[Step] = [Silence()]
FAILS: Sequence[Step] = [answer(b"oops", 500)]
PAGE = answer(b"<html><body>Log in</body></html>", 200, [("Content-Type", "text/html")])


def refused(status: int, **headers: str) -> List[Step]:
    return [answer({"error": {"message": "no", "status": status, "code": "NO", "id": "r1"}}, status,
                   [(name.replace("_", "-"), value) for name, value in headers.items()])]


# ---------------------------------------------------------------------------------------------------------------------
# Scenarios
# ---------------------------------------------------------------------------------------------------------------------

class Scenario(NamedTuple):
    stream: Steps
    status: Steps
    expected: Any  # the statuses that a stream yields, "ready" of a wait, or the class of an error
    within: float = 5.0  # seconds; a bound for what is broken, not a measure
    timeout: float = LONG
    known: str = "scheduled"  # the status in the ConnectResponse
    least: float = 0.0


class Outcome(NamedTuple):
    result: Any
    seconds: float
    seen: List[str]  # by on_status, or yielded
    requests: List[Request]

    def times(self, streaming: bool) -> List[float]:
        return [request.at for request in self.requests if is_stream(request) == streaming]


def run_wait(scenario: Scenario) -> Outcome:
    seen: List[str] = []
    with Server(channels(scenario.stream, scenario.status)) as server:
        backend = connected(server.url, scenario.known)
        result, seconds = timed(lambda: client(server.url).wait_until_ready(
            backend, timeout=scenario.timeout, on_status=lambda state: seen.append(state.status)))
        assert server.wait_closed(LONG), "a connection is still open"
        return Outcome(result, seconds, seen, server.requests)


def run_stream(scenario: Scenario) -> Outcome:
    seen: List[str] = []

    def follow() -> List[str]:
        for state in client(server.url).status_stream(connected(server.url), timeout=scenario.timeout):
            seen.append(state.status)
        return seen

    with Server(channels(scenario.stream, scenario.status)) as server:
        result, seconds = timed(follow)
        assert server.wait_closed(LONG), "a connection is still open"
        return Outcome(result, seconds, seen, server.requests)


RETURNS: Dict[str, Scenario] = {
    # What the stream tells is enough, although the status call has no answer.
    "live ready, the status call hangs": Scenario(
        [streamed("scheduled", "waiting"), Pause(0.8), events("ready"), Silence()], HANGS, "ready", 3.0),
    "live ready, the status call fails": Scenario(
        [streamed("scheduled", "waiting"), Pause(0.8), events("ready"), Silence()], FAILS, "ready", 3.0),
    "replayed ready, the status call hangs": Scenario([streamed(*STATUSES[:5]), Silence()], HANGS, "ready"),
    "replayed ready, the status call fails": Scenario([streamed(*STATUSES[:5]), Silence()], FAILS, "ready"),
    "replayed ready, the status call confirms it": Scenario([streamed(*STATUSES[:5]), Silence()], told("ready"), "ready",
                                                            2.0),
    "the stream closes after ready": Scenario([streamed(*STATUSES[:5])], told("ready"), "ready"),
    "opens only at the third try": Scenario(
        in_turn([Close()], [answer(b"", 503)], [streamed("waiting", "ready"), Silence()]), FAILS, "ready"),
    "reset, cut, malformed, then there": Scenario(
        in_turn([Reset()], [stream_head(True) + b"ffff\r\ndata:"], [stream_head(True) + b"zz\r\n"],
                [streamed("ready"), Silence()]), FAILS, "ready"),
    "ends in the middle of a chunk": Scenario(
        in_turn([stream_head(True) + chunk(events("scheduled")) + chunk(events("loading"))[:-30]],
                [stream_head(True) + chunk(events("scheduled", "loading", "ready")), Silence()]), FAILS, "ready"),
    "ends in the middle of an event": Scenario(
        in_turn([stream_head() + events("scheduled", "ready")[:-2]], [streamed("scheduled", "ready"), Silence()]),
        FAILS, "ready"),
    "dribbled events": Scenario(
        [stream_head(), Dribble(events("scheduled", "ready"), 0.003), Silence()], HANGS, "ready"),
    "chunks of one byte": Scenario(
        [stream_head(True), b"".join(chunk(bytes([byte])) for byte in events("scheduled", "ready")), Silence()],
        HANGS, "ready"),
    "garbage between good events": Scenario(
        [stream_head() + b"data:{\n\n:\n\ndata:[]\n\nevent:other\n" + events("terminated") + b"\xff\xfe\n\ndata:\n\n"
         + events("starting") + b'data:{"status":7,"time":""}\n\n' + b"x" * 1000 + b"\n\n" + events("ready"),
         Silence()], HANGS, "ready"),
    "states from the future": Scenario(
        [streamed("scheduled", "dreaming", "ready", "dreaming"), Silence()], told("ready"), "ready"),
    "a state from the future after ready": Scenario(
        [streamed("scheduled", "ready", "basking"), Silence()], told("ready"), "ready"),
    # What the status call tells is enough, although the stream never tells anything.
    "the stream is 400": Scenario(refused(400), told("ready"), "ready"),
    "the stream is 404": Scenario(refused(404), told("ready"), "ready"),
    "the stream is 405": Scenario(refused(405), told("ready"), "ready"),
    "the stream is 500": Scenario(refused(500), told("ready"), "ready"),
    "the stream is 503": Scenario(refused(503, Retry_After="30"), told("ready"), "ready"),
    "the stream is 429": Scenario(refused(429, Retry_After="30"), told("ready"), "ready"),
    "the stream closes at once each time": Scenario([Close()], told("ready"), "ready"),
    "the stream ends at once each time": Scenario([stream_head()], told("ready"), "ready"),
    "the stream is empty, with a length, each time": Scenario([answer(b"")], told("ready"), "ready"),
    "the stream is reset each time": Scenario([Reset()], told("ready"), "ready"),
    "the stream is a page": Scenario([PAGE], told("ready"), "ready"),
    "the stream is JSON": Scenario(told("ready"), told("ready"), "ready"),
    "the stream is not HTTP": Scenario([b"\0\1\2\3\r\n\r\n"], told("ready"), "ready"),
    "the stream is compressed": Scenario(
        [stream_head(headers=[("Content-Encoding", "gzip")]) + b"\x1f\x8b", Silence()], told("ready"), "ready"),
    "a proxy holds the head back": Scenario(HANGS, told("ready"), "ready"),
    "a proxy holds the events back": Scenario([stream_head(), Silence()], told("ready"), "ready"),
    "a proxy lets only comments pass": Scenario([stream_head(), Repeat(b":\n\n", pause=0.05)], told("ready"), "ready"),
    "a proxy lets the first events pass": Scenario([streamed("scheduled"), Silence()], told("ready"), "ready"),
    "endless headers": Scenario([stream_head()[:-2], Repeat(b"X: y\r\n" * 1000)], told("ready"), "ready"),
    "an endless event": Scenario([stream_head() + b"data:", Repeat(b"x" * 9999)], told("ready"), "ready"),
    # Both are in trouble, which passes.
    "404 in the first moments": Scenario(
        in_turn(refused(404), refused(404), [streamed("scheduled", "ready"), Silence()]),
        in_turn(refused(404), told("ready")), "ready"),
    "429 in the first moments": Scenario(
        in_turn(refused(429, Retry_After="0.2"), [streamed("ready"), Silence()]),
        in_turn(refused(429, Retry_After="0.2"), told("ready")), "ready"),
    "502 and pages in the first moments": Scenario(
        in_turn([PAGE], refused(502), [streamed("ready"), Silence()]),
        in_turn(refused(502), [PAGE], told("ready")), "ready"),
    "the first request is never answered": Scenario(
        in_turn([Close()], [streamed("ready"), Silence()]), in_turn(HANGS, told("ready")), "ready"),
    "connect said ready": Scenario([streamed(*STATUSES[:5]), Silence()], told("ready"), "ready", 2.0, known="ready"),
    "connect said ready, the status call fails": Scenario([streamed(*STATUSES[:5]), Silence()], FAILS, "ready",
                                                          known="ready"),
    "connect said a word from the future": Scenario([streamed("ready"), Silence()], told("ready"), "ready",
                                                    known="dozing"),
}

WILL_NEVER_BE: Dict[str, Scenario] = {
    "replayed, over at once": Scenario([streamed(*STATUSES), Silence()], refused(404), BackendTerminated),
    "replayed, over, and the status call still says ready": Scenario([streamed(*STATUSES), Silence()], told("ready"),
                                                                     BackendTerminated, 0.9),
    "replayed, terminating": Scenario([streamed(*STATUSES[:6]), Silence()], HANGS, BackendTerminated),
    "replayed in two parts": Scenario(
        [streamed(*STATUSES[:5]), Pause(0.3), events("terminated"), Silence()], refused(404), BackendTerminated),
    "replayed in many parts": Scenario(
        [stream_head(), Dribble(events("scheduled", "ready", "terminated"), 0.003), Silence()], refused(404),
        BackendTerminated),
    "replayed, cut after ready": Scenario(
        in_turn([streamed(*STATUSES[:5])], [streamed(*STATUSES[:5])], [streamed(*STATUSES), Silence()]), refused(404),
        BackendTerminated),
    "replayed, cut after ready, nothing else works": Scenario(
        in_turn([streamed(*STATUSES[:5])], [streamed(*STATUSES[:5])], [streamed(*STATUSES), Silence()]), FAILS, BackendTerminated),
    "replayed, the end held back": Scenario([streamed(*STATUSES[:5]), Silence()], told("terminating"), BackendTerminated),
    "replayed, the end held back, hard": Scenario([streamed(*STATUSES[:5]), Silence()], told("hard-terminating"),
                                                  BackendTerminated),
    "replayed, in one piece with a cut chunk": Scenario(
        [stream_head(True) + chunk(events(*STATUSES)) + b"ffff\r\n"], refused(404), BackendTerminated),
    "the status call says terminated": Scenario(HANGS, told("terminated"), BackendTerminated),
    "connect said ready, it is not": Scenario(HANGS, told("terminating"), BackendTerminated, known="ready"),
    "connect said ready, it is over": Scenario([streamed(*STATUSES), Silence()], refused(404), BackendTerminated,
                                               known="ready"),
    "a startup timeout": Scenario([streamed("waiting"), events("hard-terminating"), Silence()], HANGS,
                                  BackendTerminated),
    "a crash": Scenario([streamed("loading") + event(state("terminated", exit_error=True)), Silence()], HANGS,
                        BackendTerminated),
    "a reason from the future": Scenario(
        [streamed("loading") + event(state("terminating", termination_reason="meteor", termination_kind="gentle"))
         + events("ready"), Silence()], HANGS, BackendTerminated),
    "no reason at all": Scenario([streamed("loading") + b'data:{"status":"terminating","time":1}\n\n', Silence()],
                                 HANGS, BackendTerminated),
}

ALIKE: Dict[str, Scenario] = {  # a wait and a stream end alike
    "400": Scenario(refused(400), refused(400), HTTPError, 2.0),
    "401": Scenario(refused(401), refused(401), AuthenticationError, 2.0),
    "403": Scenario(refused(403), refused(403), AuthenticationError, 2.0),
    "407": Scenario(refused(407), refused(407), AuthenticationError, 2.0),
    "405": Scenario(refused(405), refused(405), HTTPError, 2.0),
    "410": Scenario(refused(410), refused(410), HTTPError, 2.0),
    "422 after a while": Scenario(in_turn(FAILS, refused(422)), in_turn(FAILS, refused(422)), HTTPError, 8.0),
    "a redirect": Scenario([answer(b"", 302, [("Location", "/")])], [answer(b"", 307, [("Location", "/")])],
                           ProtocolError, 2.0),
    "a redirect to a file": Scenario([answer(b"", 301, [("Location", "file:///etc/passwd")])] * 2,
                                     [answer(b"", 301, [("Location", "file:///etc/passwd")])], ProtocolError, 2.0),
    "never answered, status 404": Scenario(HANGS, refused(404), HTTPError, 6.0, least=1.9),
    "no event, status 404": Scenario([stream_head(), Silence()], refused(404), HTTPError, 6.0, least=1.9),
    "404 on both": Scenario(refused(404), refused(404), HTTPError, 6.0, least=1.9),
    "empty at once, status 404": Scenario([stream_head()], refused(404), HTTPError, 6.0, least=1.9),
    "silence, status 401": Scenario([stream_head(), Silence()], refused(401), AuthenticationError, 3.0),
    # What passes by itself does not pass here.
    "never there": Scenario([Close()], [Reset()], JamsocketTimeout, 2.0, 1.2),
    "500 on both": Scenario(FAILS, FAILS, JamsocketTimeout, 2.0, 1.2),
    "429 until after the deadline": Scenario(refused(429, Retry_After="3600"), refused(429, Retry_After="3600"),
                                             JamsocketTimeout, 2.0, 1.2),
}

STREAMS: Dict[str, Scenario] = {
    "the whole life": Scenario([streamed(*STATUSES)], FAILS, list(STATUSES)),
    "never ends after terminated": Scenario([streamed(*STATUSES), Silence()], HANGS, list(STATUSES), 2.0),
    "keep-alive after terminated": Scenario([streamed("terminated"), Repeat(b":\n", pause=0.02)], HANGS, ["terminated"],
                                            2.0),
    "skipped states": Scenario([streamed("loading", "terminated"), Silence()], HANGS, ["loading", "terminated"]),
    "each state twice": Scenario([streamed(*(status for status in STATUSES for _ in range(2)))], HANGS, list(STATUSES)),
    "out of order": Scenario([streamed("waiting", "scheduled", "ready", "loading", "waiting", "terminated")], HANGS,
                             ["waiting", "ready", "terminated"]),
    "from the future": Scenario(
        [streamed("scheduled", "dreaming", "dreaming", "ready", "basking", "dreaming", "terminated")], HANGS,
        ["scheduled", "dreaming", "ready", "basking", "terminated"]),
    "cut again and again": Scenario(
        in_turn([streamed("scheduled")], [streamed("scheduled", "loading")[:-1]], [Reset()], [streamed(*STATUSES[:5])],
                [PAGE], refused(503), [streamed(*STATUSES), Silence()]), FAILS, list(STATUSES), 8.0),
    "ends in the middle of a chunk": Scenario(
        in_turn([stream_head(True) + chunk(events("scheduled")) + chunk(events("loading", "ready"))[:-40]],
                [stream_head(True) + chunk(events(*STATUSES)), Silence()]), FAILS, list(STATUSES)),
    "opens only at the third try": Scenario(in_turn([Close()], refused(503), [streamed(*STATUSES)]), FAILS, list(STATUSES)),
    "404 in the first moments": Scenario(in_turn(refused(404), refused(404), [streamed(*STATUSES)]), told("ready"),
                                         list(STATUSES)),
    "429, then there": Scenario(in_turn(refused(429, Retry_After="0.3"), [streamed(*STATUSES)]), FAILS, list(STATUSES)),
    "dribbled": Scenario([stream_head(), Dribble(events("ready", "terminated"), 0.003)], HANGS,
                         ["ready", "terminated"]),
    "chunks of one byte": Scenario(
        [stream_head(True), b"".join(chunk(bytes([byte])) for byte in events(*STATUSES))], HANGS, list(STATUSES)),
    "the status call alone works": Scenario([Close()], told("ready"), JamsocketTimeout, 2.0, 1.2),
    "a stream that is a page": Scenario([PAGE], told("ready"), ProtocolError),
    "a stream that is JSON": Scenario(told("ready"), told("ready"), ProtocolError),
    "a stream that is refused": Scenario(refused(403), told("ready"), AuthenticationError, 2.0),
    "a stream that is not allowed": Scenario(refused(405), told("ready"), HTTPError, 2.0),
    "a stream that is sent elsewhere": Scenario([answer(b"", 308, [("Location", "/")])], told("ready"), ProtocolError,
                                                2.0),
    "a stream of another spelling of its type": Scenario(
        [b"HTTP/1.1 200 OK\r\ncontent-type: TEXT/Event-Stream; charset=utf-8\r\n\r\n" + events("terminated")], HANGS,
        ["terminated"]),
}

GOOD = b'{"status":"%s","time":"t"}'
LINES: Dict[str, Tuple[bytes, List[str]]] = {  # what an event stream may look like
    "carriage returns": (b"data:" + GOOD % b"ready" + b"\r\rdata:" + GOOD % b"terminated" + b"\r\r",
                         ["ready", "terminated"]),
    "all line ends": (b"data:" + GOOD % b"ready" + b"\r\n\ndata:" + GOOD % b"terminated" + b"\r\n\r\n",
                      ["ready", "terminated"]),
    "a byte-order mark": (b"\xef\xbb\xbfdata:" + GOOD % b"terminated" + b"\n\n", ["terminated"]),
    "space after the colon": (b"data: " + GOOD % b"terminated" + b"\n\n", ["terminated"]),
    "data in many lines": (b'data:{"status":\ndata:"terminated",\ndata:"time":"t"}\n\n', ["terminated"]),
    "no data": (b"data\n\nevent:message\n\nid:7\n\n" + events("terminated"), ["terminated"]),
    "another type": (b"event:ping\n" + events("ready") + b"event: message\n" + events("terminated"), ["terminated"]),
    "no state": (b"data:null\n\ndata:{}\n\ndata:7\n\ndata:\"ready\"\n\n" + events("terminated"), ["terminated"]),
    "no JSON": (b"data:ready\n\ndata:{'status':'ready'}\n\ndata:" + b"[" * 100000 + b"\n\n" + events("terminated"),
                ["terminated"]),
    "numbers that Python refuses": (b'data:{"status":"ready","time":1' + b"0" * 5000 + b"}\n\n" + events("terminated"),
                                    ["terminated"]),
    "NaN": (b'data:{"status":"ready","time":NaN}\n\n' + events("terminated"), ["terminated"]),
    "bytes that are not UTF-8": (b"data:\xff\xfe\n\n\xff:\xff\n\n" + events("terminated"), ["terminated"]),
    "line separators of Unicode in a string": (
        'data:{"status":"terminated","time":"\u2028\u2029\x85\x0b\x0c"}\n\n'.encode().replace(b"\x0b", b"").replace(
            b"\x0c", b""), ["terminated"]),
    "NUL": (b"\0\n\nid:\0\ndata:" + GOOD % b"terminated" + b"\n\n", ["terminated"]),
    "fields that nobody knows": (b"colour:red\ndata2:x\n:x:y\nretry:soon\n" + events("terminated"), ["terminated"]),
    "an HTTP answer in it": (b"HTTP/1.1 200 OK\r\n\r\n" + events("terminated"), ["terminated"]),
    "ten thousand events": (events("ready") * 10000 + events("terminated"), ["ready", "terminated"]),
    "milliseconds": (b'data:{"status":"terminated","time":1732401973368}\n\n', ["terminated"]),
    "nulls": (b'data:{"status":"terminated","time":"t","termination_reason":null,"exit_error":null}\n\n',
              ["terminated"]),
}
for _name, (_bytes, _statuses) in LINES.items():
    STREAMS["line by line: " + _name] = Scenario([stream_head() + _bytes, Silence()], HANGS, _statuses)

LAST_IDS: Dict[str, Tuple[bytes, Optional[str]]] = {
    "a name": (b"id:ready\ndata:x\n\n", "ready"), "with spaces": (b"id: a b\ndata:x\n\n", "a b"),
    "none": (b"data:x\n\n", None), "taken back": (b"id:1\ndata:x\n\nid\ndata:x\n\n", None),
    "empty": (b"id:\ndata:x\n\n", None), "NUL": (b"id:a\0b\ndata:x\n\n", None),
    "control characters": (b"id:a\x01b\ndata:x\n\n", None), "DEL": (b"id:a\x7fb\ndata:x\n\n", None),
    "the last one": (b"id:1\ndata:x\n\nid:2\ndata:x\n\n", "2"),
    "of an event without data": (b"id:1\n\nid:3\n\n", "3"),
    "of an unfinished event": (b"id:1\ndata:x\n\nid:2\ndata:y\n", "1"),
    "UTF-8": (b"id:\xc3\xa9\ndata:x\n\n", "\xc3\xa9"), "very long": (b"id:" + b"x" * 100000 + b"\ndata:x\n\n", None),
}
for _name, (_bytes, _) in LAST_IDS.items():
    STREAMS["last id: " + _name] = Scenario(in_turn([stream_head() + _bytes], [streamed("terminated")]), FAILS,
                                            ["terminated"])
STREAMS["retry"] = Scenario(in_turn([stream_head() + b"retry:700\n\n"], [streamed("terminated")]), FAILS,
                            ["terminated"])

Key = Tuple[str, str]


def jobs() -> Dict[Key, Callable[[], Outcome]]:
    made: Dict[Key, Callable[[], Outcome]] = {}
    for kind, table in (("wait", RETURNS), ("wait", WILL_NEVER_BE), ("wait", ALIKE), ("stream", ALIKE),
                        ("stream", STREAMS)):
        for name, scenario in table.items():
            run = run_wait if kind == "wait" else run_stream
            assert (kind, name) not in made
            made[kind, name] = lambda run=run, scenario=scenario: run(scenario)  # type: ignore[misc]
    return made


class Outcomes:
    """Of all scenarios; what broke in one is raised where it is asked for."""

    def __init__(self) -> None:
        def whole(job: Callable[[], Outcome]) -> Callable[[], Timed]:
            return lambda: timed(job)

        self._done = together({"%s: %s" % key: whole(job) for key, job in jobs().items()}, 48)

    def of(self, kind: str, name: str) -> Outcome:
        outcome = self._done["%s: %s" % (kind, name)].outcome
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, Outcome)
        return outcome


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return Outcomes()


def check(kind: str, name: str, scenario: Scenario, outcome: Outcome) -> None:
    if isinstance(scenario.expected, type):
        failed(outcome.result, scenario.expected)
    elif isinstance(outcome.result, BaseException):
        raise outcome.result
    elif kind == "wait":
        assert isinstance(outcome.result, BackendState) and outcome.result.is_ready
    else:
        assert outcome.seen == scenario.expected
    assert scenario.least <= outcome.seconds <= scenario.within
    # Each state once, in order, and nothing that only the API's own calls are to get.
    ranks = [STATUSES.index(status) for status in outcome.seen if status in STATUSES]
    assert ranks == sorted(set(ranks)) and len(set(outcome.seen)) == len(outcome.seen)
    for request in outcome.requests:
        assert request.method == "GET" and request.header("Authorization") is None
        assert request.target in ("/v2/backend/b4ckend/status", "/v2/backend/b4ckend/status/stream")
        assert not any(secret.encode() in request.head for secret in SECRETS)
    record("%s: %s" % (kind, name), "%s after %.2f s" % (
        type(outcome.result).__name__ if isinstance(outcome.result, BaseException) else ", ".join(outcome.seen[-3:]),
        outcome.seconds))


@pytest.mark.parametrize("name", list(RETURNS))
def test_a_wait_returns_once_the_platform_says_ready(name: str, outcomes: Outcomes) -> None:
    """By the stream or by the status call, whatever happens to the other."""
    check("wait", name, RETURNS[name], outcomes.of("wait", name))


@pytest.mark.parametrize("name", list(WILL_NEVER_BE))
def test_a_wait_never_returns_a_ready_that_is_over(name: str, outcomes: Outcomes) -> None:
    outcome = outcomes.of("wait", name)
    check("wait", name, WILL_NEVER_BE[name], outcome)
    assert STATUSES.index(outcome.result.state.status) > STATUSES.index("ready")
    assert outcome.seen[-1:] in ([outcome.result.state.status], [])


@pytest.mark.parametrize("kind", ["wait", "stream"])
@pytest.mark.parametrize("name", list(ALIKE))
def test_what_will_not_pass_ends_a_wait_and_a_stream_and_nothing_else_does(
        name: str, kind: str, outcomes: Outcomes) -> None:
    outcome = outcomes.of(kind, name)
    check(kind, name, ALIKE[name], outcome)
    if isinstance(outcome.result, HTTPError):
        assert str(outcome.result.status) in name


@pytest.mark.parametrize("name", list(STREAMS))
def test_a_stream_yields_each_state_once_in_order(name: str, outcomes: Outcomes) -> None:
    check("stream", name, STREAMS[name], outcomes.of("stream", name))


def test_retry_after_is_waited_for(outcomes: Outcomes) -> None:
    for key, asked in ((("wait", "429 in the first moments"), 0.2), (("stream", "429, then there"), 0.3)):
        times = outcomes.of(*key).times(True)
        assert len(times) >= 2 and times[1] - times[0] >= asked - 0.01
    for kind in ("wait", "stream"):
        outcome = outcomes.of(kind, "429 until after the deadline")
        assert len(outcome.times(True)) == 1 and len(outcome.times(False)) <= 1
        record("%s: 429 until after the deadline" % kind, "%d requests, %.0f ms past the deadline" % (
            len(outcome.requests), max(0.0, outcome.seconds - 1.2) * 1000))


@pytest.mark.parametrize("kind", ["wait", "stream"])
def test_pauses_grow(kind: str, outcomes: Outcomes) -> None:
    """A server that is down is not hammered."""
    growths = []
    for name in ("never there", "500 on both"):
        times = outcomes.of(kind, name).times(True)
        gaps = [later - earlier for earlier, later in zip(times, times[1:])]
        assert 2 < len(times) <= 8 and gaps[0] > 0.05
        growths.append(gaps[-1] / gaps[0])
        record("%s: %s" % (kind, name), "%d requests in 1.2 s" % len(times))
    assert max(growths) > 1.5  # a busy machine may spoil one of them


def test_pauses_are_jittered() -> None:
    """So that a crowd of waiters does not come back at the same moment."""
    with Server([Close()]) as server:
        def one() -> None:
            backend = "%s/v2/backend/%d/status" % (server.url, threading.get_ident())
            failure(lambda: wait_until_ready(backend, timeout=0.7), JamsocketTimeout)

        together({str(number): one for number in range(16)}, 16)
        by_waiter: Dict[str, List[float]] = {}
        for request in server.requests:
            if is_stream(request):
                by_waiter.setdefault(request.target, []).append(request.at)
        second = [times[2] - times[1] for times in by_waiter.values() if len(times) > 2]
        assert len(second) >= 4 and max(second) - min(second) > 0.03
        record("a crowd's pauses", "the second is %.0f to %.0f ms" % (min(second) * 1000, max(second) * 1000))


@pytest.mark.slow
def test_the_status_is_asked_for_again_and_again() -> None:
    """Also where the stream tells nothing: ready comes minutes late to a buffering proxy."""
    scenario = Scenario(HANGS, in_turn(told("starting"), told("waiting"), told("ready")), "ready", 25.0, 30.0)
    outcome = run_wait(scenario)
    check("wait", "ready at the third status call", scenario, outcome)
    assert outcome.seen == ["starting", "waiting", "ready"]


@pytest.mark.slow
def test_retry_is_honoured_up_to_five_seconds() -> None:
    steps = in_turn([stream_head() + b"retry:3600000\n\n"], [streamed("terminated")])
    outcome = run_stream(Scenario(steps, FAILS, None))
    first, second = outcome.times(True)
    assert outcome.seen == ["terminated"] and 4.9 <= second - first <= 7.0


def test_retry_is_honoured(outcomes: Outcomes) -> None:
    """It is longer than the first pause would be."""
    first, second = outcomes.of("stream", "retry").times(True)
    assert 0.69 <= second - first <= 4.0


@pytest.mark.parametrize("name", list(LAST_IDS))
def test_the_last_id_is_sent_back_where_a_header_can_carry_it(name: str, outcomes: Outcomes) -> None:
    outcome = outcomes.of("stream", "last id: " + name)
    first, second = [request for request in outcome.requests if is_stream(request)]
    assert outcome.seen == ["terminated"]
    assert first.header("Last-Event-ID") is None and second.header("Last-Event-ID") == LAST_IDS[name][1]


# ---------------------------------------------------------------------------------------------------------------------
# Deadlines
# ---------------------------------------------------------------------------------------------------------------------

def slow_weather(every: float) -> Dict[str, Script]:
    head = b"HTTP/1.1 200 OK\r\n"
    waiting = [answer(state("waiting"))]
    return {
        "silence": HANGS,
        "dribbled status lines": [Dribble(head * 50, every)],
        "dribbled headers": [head, Dribble(b"X-Slow: " + b"x" * 500, every)],
        "headers for ever": [head, Repeat(b"X: y\r\n", pause=every)],
        "a dribbled event": channels([stream_head(), Dribble(b"data:" + b" " * 500, every)], waiting),
        "a dribbled event in chunks": channels([stream_head(True), Repeat(chunk(b" "), pause=every)], waiting),
        "a dribbled chunk size": channels([stream_head(True), Dribble(b"5; " + b"x" * 500, every)], waiting),
        "comments for ever": channels([stream_head(), Repeat(b":\n", pause=every)], waiting),
        "comments for ever, without a pause": channels([stream_head(), Repeat(b":keep-alive\n\n" * 50)], waiting),
        "garbage for ever, without a pause": channels([stream_head(), Repeat(b"data:{}\n\n" * 50)], waiting),
        "the same state for ever, without a pause": channels([stream_head(), Repeat(events("waiting") * 20)], waiting),
        "states that are no longer true": channels([stream_head(), Repeat(events("waiting", "scheduled"), pause=every)],
                                               waiting),
        "no event": channels([stream_head(), Silence()], waiting),
        "no event, no status": channels([stream_head(), Silence()], HANGS),
        "ends at once each time": channels([stream_head()], waiting),
        "closed each time": [Close()],
        "reset each time": [Reset()],
        "500 each time": FAILS,
        "a dribbled error": [b"HTTP/1.1 500 Oops\r\nContent-Length: 500\r\n\r\n", Dribble(b"x" * 500, every)],
        "retry in an hour": channels([stream_head() + b"retry:3600000\n\n"], waiting),
        "a dribbled status answer": channels(HANGS, [head + b"Content-Length: 500\r\n\r\n", Dribble(b" " * 500, every)]),
    }


@pytest.mark.parametrize("deadline, every", [(SHORT, 0.04), (0.9, 0.2)], ids=["short", "long"])
def test_a_wait_and_a_stream_end_with_their_deadline(deadline: float, every: float) -> None:
    def job(name: str, weather: str, script: Script) -> Callable[[], Any]:
        attempt = against(script, LASTING[name], deadline)
        return lambda: keeps_deadline("%s, %s" % (weather, name), attempt, deadline)

    # The long deadline shows that it is not one read's that counts: nothing without a pause is needed for that.
    together({"%s: %s" % (name, weather): job(name, weather, script)
                  for name in LASTING for weather, script in slow_weather(every).items()
                  if deadline == SHORT or "without a pause" not in weather}, 14 if deadline == SHORT else 40)


def test_a_tls_handshake_that_never_comes_ends_with_the_deadline(certificates: Certificates) -> None:
    options = {"ssl_context": certificates.client_context()}

    def job(name: str, handshake: str) -> Callable[[], Any]:
        tls = certificates.server_context() if handshake == "dribble" else None
        attempt = against([], CALLS[name], SHORT, options, tls=tls, handshake=handshake, every=0.04)
        return lambda: keeps_deadline("a TLS handshake: %s, %s" % (handshake, name), attempt)

    together({"%s: %s" % (name, handshake): job(name, handshake) for name in CALLS
                  for handshake in ("silent", "dribble")})


def test_the_deadline_tells_the_last_state() -> None:
    def job(name: str, script: Script, expected: Optional[str]) -> Callable[[], None]:
        def run() -> None:
            with Server(script) as server:
                last = failure(lambda: LASTING[name](server.url, 0.5), JamsocketTimeout).last_state
                assert (last and last.status) == expected
        return run

    told_two, told_none = channels([streamed("scheduled", "starting"), Silence()], HANGS), channels(HANGS, HANGS)
    together({**{"some, " + name: job(name, told_two, "starting") for name in LASTING},
                  **{"none, " + name: job(name, told_none, None) for name in LASTING}})


def test_time_in_the_callers_hands_counts_too() -> None:
    """A stream's deadline runs while the caller thinks about a state."""
    with Server(channels([streamed("scheduled"), Silence()], HANGS)) as server:
        states = client(server.url).status_stream(connected(server.url), timeout=SHORT)
        assert next(states).status == "scheduled"
        time.sleep(SHORT)
        late = timed(lambda: next(states))
        failed(late.outcome, JamsocketTimeout)
        assert late.seconds < GRACE


# ---------------------------------------------------------------------------------------------------------------------
# As soon as it is told, and freed at once
# ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("chunked", [False, True], ids=["plain", "chunked"])
def test_a_state_is_yielded_as_soon_as_its_event_is_complete(chunked: bool) -> None:
    """The next event comes only after the caller has had this one."""
    gates = {status: threading.Event() for status in STATUSES}
    steps: List[Step] = [stream_head(chunked)]
    for status in STATUSES:
        steps += [Wait(gates[status]), chunk(events(status)) if chunked else events(status)]
    with Server(channels([*steps, Silence()], HANGS)) as server:
        states = client(server.url).status_stream(connected(server.url), timeout=LONG)
        for status in STATUSES:
            gates[status].set()
            assert next(states).status == status
        with pytest.raises(StopIteration):
            next(states)
        assert server.wait_closed(LONG)


def test_a_status_is_told_to_the_caller_of_a_wait_as_soon_as_it_is_known() -> None:
    gates = {status: threading.Event() for status in STATUSES[:5]}
    steps: List[Step] = [stream_head()]
    for status in gates:
        steps += [Wait(gates[status]), events(status)]
    seen: List[str] = []

    def on_status(state: BackendState) -> None:
        seen.append(state.status)
        for status in STATUSES[:STATUSES.index(state.status) + 2]:
            gates.get(status, threading.Event()).set()

    gates["scheduled"].set()
    with Server(channels([*steps, Silence()], told("ready"))) as server:
        assert client(server.url).wait_until_ready(connected(server.url), timeout=LONG, on_status=on_status).is_ready
    assert seen == list(STATUSES[:5])


def leave_by_close(states: Any) -> None:
    next(states)
    states.close()


def leave_by_break(states: Any) -> None:
    for _ in states:
        break
    states = None


def leave_by_error(states: Any) -> None:
    with pytest.raises(LookupError):
        next(states)
        states.throw(LookupError("the caller's"))


def leave_unstarted(states: Any) -> None:
    states.close()


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_break, leave_by_error, leave_unstarted])
def test_leaving_a_stream_frees_its_socket_at_once(leave: Callable[[Any], None]) -> None:
    gc.disable()  # it must not depend on the collector
    try:
        with Server(channels([streamed("scheduled"), Silence()], HANGS)) as server:
            leave(client(server.url).status_stream(connected(server.url), timeout=LONG))
            assert server.wait_closed(2.0)
    finally:
        gc.enable()


class Own(Exception):
    pass


@pytest.mark.parametrize("kind", [Own, KeyboardInterrupt, SystemExit, OSError])
def test_what_on_status_raises_ends_the_wait_and_passes_as_it_is(kind: Type[BaseException]) -> None:
    mine = kind("mine")

    def on_status(state: BackendState) -> None:
        raise mine

    with Server(channels([streamed("scheduled"), Silence()], HANGS)) as server:
        with pytest.raises(kind) as caught:
            client(server.url).wait_until_ready(connected(server.url), timeout=LONG, on_status=on_status)
        assert caught.value is mine and mine.__cause__ is None and mine.__context__ is None
        assert server.wait_closed(2.0)


def test_the_function_waits_as_the_method_does() -> None:
    for backend in (lambda url: connected(url), lambda url: connected(url).status_url):
        with Server(channels([streamed("scheduled", "ready"), Silence()], told("ready"))) as server:
            assert wait_until_ready(backend(server.url), timeout=LONG).is_ready
            assert all(request.header("Authorization") is None for request in server.requests)
    with Server(HANGS) as server:
        keeps_deadline("silence, the function", lambda: timed(
            lambda: wait_until_ready(connected(server.url), timeout=SHORT)))


def test_a_backend_that_connect_called_terminated_is_not_asked_for() -> None:
    with Server() as server:
        for status in STATUSES[5:]:
            backend = connected(server.url, status)
            error = failure(lambda: client(server.url).wait_until_ready(backend), BackendTerminated)
            assert error.state.status == status
        assert server.connections == 0


@each_call
@pytest.mark.parametrize("which", ["self-signed", "expired", "wrong-host", "unknown-ca"])
def test_a_certificate_that_does_not_hold_ends_a_wait_and_a_stream_at_once(which: str, call: Call,
                                                                           certificates: Certificates) -> None:
    with Server(tls=certificates.server_context(which)) as server:
        done = timed(lambda: call(server.url, LONG, ssl_context=certificates.client_context()))
        failed(done.outcome, NetworkError)
        assert done.seconds < 3.0 and not server.requests and server.connections <= 2


# ---------------------------------------------------------------------------------------------------------------------
# Secrets
# ---------------------------------------------------------------------------------------------------------------------

@each_call
def test_no_error_of_a_wait_or_a_stream_shows_a_secret_that_the_server_repeats(call: Call) -> None:
    """Also not as a state, a reason, an event's id, or a trouble that the deadline's error tells of."""
    known = (BACKEND_TOKEN, SECRET_TOKEN, URL_PATH, READY_PATH)
    everything = "; ".join(known)
    hostile: Dict[str, Script] = {"%d" % status: [answer(everything.encode(), status)] for status in (400, 401, 500)}
    for secret in known:
        hostile["as a state: " + secret[:4]] = channels([streamed(secret), Silence()], HANGS)
        hostile["as a status: " + secret[:4]] = channels(HANGS, told(secret))
        hostile["as a reason: " + secret[:4]] = channels(
            [stream_head() + event(state("terminating", termination_reason=secret)), event(state("terminated"))], HANGS)
    hostile["as a type"] = channels([answer(b"{}", 200, [("Content-Type", everything)])], FAILS)
    hostile["as a place"] = [answer(b"", 302, [("Location", "http://%s@x/%s" % (BACKEND_TOKEN, URL_PATH))])]
    hostile["as an answer"] = [answer(everything.encode())]

    def job(script: Script) -> Callable[[], None]:
        def run() -> None:
            with Server(script) as server:
                outcome = timed(lambda: call(server.url, 0.4)).outcome
                if isinstance(outcome, BaseException):
                    look_over(outcome)
        return run

    together({name: job(script) for name, script in hostile.items()}, 12)
    record("secrets repeated to a %s" % name_of(call), "searched every text, found none")
