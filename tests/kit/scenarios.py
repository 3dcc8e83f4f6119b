"""A wait or a stream against a server that answers both of its ways so, and what came of it."""

from typing import Any, List, NamedTuple, Sequence

from jamsocket_lite import BackendState
from kit.deadlines import LONG, in_time, record, timed
from kit.platforms import (JAMSOCKET, STATUSES, Api, Steps, channels, client, connected, is_stream,
                           state)
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
        for state in client(server.url).status_stream(connected(server.url),
                                                      timeout=scenario.timeout):
            seen.append(state.status)
        return seen

    with Server(channels(scenario.stream, scenario.status)) as server:
        result, seconds = timed(follow)
        assert server.wait_closed(LONG), "a connection is still open"
        return Outcome(result, seconds, seen, server.requests)


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
    assert scenario.least <= outcome.seconds and in_time(outcome.seconds, scenario.within)
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
