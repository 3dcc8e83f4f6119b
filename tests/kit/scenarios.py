"""A wait or a stream against a server that answers both of its ways so, and what came of it."""

import time
from typing import Any, Callable, List, NamedTuple, Sequence

from jamsocket_lite import BackendState
from kit.deadlines import LONG, in_time, record, timed
from kit.platforms import (JAMSOCKET, STATUSES, Api, Steps, channels, client, connected, is_stream,
                           state, statuses)
from kit.secrets import SECRETS, failed
from kit.server import Request, Script, Server, Silence, Step, answer

HANGS: Sequence[Step] = [Silence()]
FAILS: Sequence[Step] = [answer(b"oops", 500)]
LOGIN = answer(b"<html><body>Log in</body></html>", 200, [("Content-Type", "text/html")])


def refusing(status: int, **headers: str) -> List[Step]:
    return [answer({"error": {"message": "no", "status": status, "code": "NO", "id": "r1"}}, status,
                   [(name.replace("_", "-"), value) for name, value in headers.items()])]


class Scenario(NamedTuple):
    stream: Steps
    status: Steps
    expected: Any  # the statuses that a stream yields, "ready" of a wait, or the class of an error
    within: float = 20.0  # seconds; a bound for what is broken, not a measure
    timeout: float = LONG
    known: str = "scheduled"  # the status in the ConnectResponse
    least: float = 0.0


class Outcome(NamedTuple):
    result: Any
    seconds: float
    states: List[BackendState]  # as on_status saw them, or as they were yielded
    moments: List[float]  # when, in seconds from the call on
    requests: List[Request]
    began: float

    @property
    def seen(self) -> List[str]:
        return statuses(self.states)

    def times(self, streaming: bool) -> List[float]:
        """Of the stream's requests, or of the status calls."""
        return [request.at for request in self.requests if is_stream(request) == streaming]

    def gaps(self, streaming: bool) -> List[float]:
        times = self.times(streaming)
        return [later - earlier for earlier, later in zip(times, times[1:])]

    def late(self, moment: float) -> float:
        """How long after this moment, counted from the first status call, it was over."""
        return self.began + self.seconds - self.times(streaming=False)[0] - moment

    def is_soon(self, seconds: float, limit: float) -> bool:
        """Whether something of it took no longer than it may, on a machine as late as this was."""
        return in_time(seconds, limit, self.began)


Call = Callable[[Server, Scenario, Callable[[BackendState], None]], Any]


def _run(scenario: Scenario, call: Call) -> Outcome:
    states: List[BackendState] = []
    moments: List[float] = []

    def note(state: BackendState) -> None:
        states.append(state)
        moments.append(time.monotonic() - began)

    with Server(channels(scenario.stream, scenario.status)) as server:
        began = time.monotonic()
        result, seconds = timed(lambda: call(server, scenario, note))
        assert server.wait_closed(LONG), "a connection is still open"
        return Outcome(result, seconds, states, moments, server.requests, began)


def run_wait(scenario: Scenario) -> Outcome:
    return _run(scenario, lambda server, scenario, note: client(server.url).wait_until_ready(
        connected(server.url, scenario.known), timeout=scenario.timeout, on_status=note))


def run_stream(scenario: Scenario) -> Outcome:
    def follow(server: Server, scenario: Scenario, note: Callable[[BackendState], None]) -> None:
        for state in client(server.url).status_stream(connected(server.url),
                                                      timeout=scenario.timeout):
            note(state)

    return _run(scenario, follow)


def check(kind: str, name: str, scenario: Scenario) -> Outcome:
    """Runs it, by a wait or a stream, and looks at what came of it."""
    outcome = {"wait": run_wait, "stream": run_stream}[kind](scenario)
    if isinstance(scenario.expected, type):
        failed(outcome.result, scenario.expected)
    elif isinstance(outcome.result, BaseException):
        raise outcome.result
    elif kind == "wait":
        assert isinstance(outcome.result, BackendState) and outcome.result.is_ready
    else:
        assert outcome.seen == scenario.expected
    assert scenario.least <= outcome.seconds
    assert outcome.is_soon(outcome.seconds, scenario.within)
    in_order(outcome.seen)
    for request in outcome.requests:  # nothing in it that only the API's own calls are to get
        assert request.method == "GET" and request.header("Authorization") is None
        assert request.target in (JAMSOCKET.status_target(), JAMSOCKET.stream_target())
        assert not any(secret.encode() in request.head for secret in SECRETS)
    record("%s: %s" % (kind, name), "%s after %.2f s" % (
        ", ".join(outcome.seen[-3:]) or type(outcome.result).__name__, outcome.seconds))
    return outcome


def in_order(seen: Sequence[str]) -> Sequence[str]:
    """These statuses, which must be each one once and in the lifecycle's order."""
    ranks = [STATUSES.index(status) for status in seen if status in STATUSES]
    assert ranks == sorted(set(ranks)) and len(set(seen)) == len(seen)
    return seen


def flaky(api: Api, trouble: Sequence[Step], times: int = 2) -> Script:
    """A script whose first answers are trouble, then all is well."""
    left = {api.status_target(): times, api.stream_target(): times}

    def script(request: Request) -> Sequence[Step]:
        left[request.target] -= 1
        if left[request.target] >= 0:
            return trouble
        return api.told("ready") if not is_stream(request) else [api.streamed("ready"), Silence()]

    return script
