"""Silence and dribble: each call ends within its deadline."""

import json
import threading
from typing import Any, Dict, List

import pytest

from jamsocket_lite import HTTPError, JamsocketTimeout
from kit.answers import CHUNKED, HEAD, length
from kit.calls import Call, call_status, name_of, right_document
from kit.certificates import Certificates
from kit.deadlines import (GRACE, LONG, SHORT, Timed, against, in_time, keeps_deadline, record,
                           timed, undisturbed)
from kit.platforms import READY, client
from kit.raw import connect
from kit.secrets import failed, failure
from kit.server import (Action, Drain, Dribble, Peer, Repeat, Request, Server, Silence, Step, Wait,
                        answer, at_once, chunk)

pytestmark = pytest.mark.usefixtures("nothing_left")


def slow_answers(every: float) -> Dict[str, List[Step]]:
    """Answers that never come to an end, although each of their bytes comes soon."""
    return {
        "silence": [Silence()],
        "silence, request unread": [at_once, Silence()],
        "dribbled status line": [Dribble(HEAD + length(2) + b"{}", every)],
        "dribbled header": [HEAD, Dribble(b"X-Slow: " + b"x" * 500, every)],
        "headers for ever": [HEAD, Repeat(b"X-Slow: x\r\n", pause=every)],
        "interim answers for ever": [Repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
                                            pause=every)],
        "silence after the headers": [HEAD + length(500), Silence()],
        "silence in the body": [HEAD + length(500) + READY, Silence()],
        "dribbled body": [HEAD + length(500), Dribble(b" " * 500, every)],
        "dribbled body without a length": [HEAD + b"\r\n", Dribble(b" " * 500, every)],
        "dribbled chunk size": [HEAD + CHUNKED, Dribble(b"5; " + b"x" * 500, every)],
        "dribbled chunk": [HEAD + CHUNKED + b"1f4\r\n", Dribble(b" " * 500, every)],
        "chunks of one byte for ever": [HEAD + CHUNKED, Repeat(chunk(b" "), pause=every)],
        "silence between two chunks": [HEAD + CHUNKED + chunk(READY), Silence()],
    }


@pytest.mark.waits
@pytest.mark.parametrize("weather", slow_answers(0.04))
def test_a_slow_answer_ends_with_the_deadline(weather: str, single: Call) -> None:
    keeps_deadline("%s, %s over TCP" % (weather, name_of(single)),
                   against(slow_answers(0.04)[weather], single))


@pytest.mark.waits
@pytest.mark.parametrize("weather", slow_answers(0.04))
def test_a_slow_answer_over_tls_does_too(weather: str, certificates: Certificates) -> None:
    keeps_deadline("%s, status over TLS" % weather, against(
        slow_answers(0.04)[weather], call_status, SHORT,
        {"ssl_context": certificates.client_context()}, tls=certificates.server_context()))


@pytest.mark.waits
@pytest.mark.parametrize("weather", slow_answers(0.2))
def test_a_deadline_is_the_whole_calls_and_not_one_reads(weather: str) -> None:
    keeps_deadline("%s, status, slower" % weather,
                   against(slow_answers(0.2)[weather], call_status, 0.7), 0.7)


ERROR = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
SLOW_ERRORS: Dict[str, List[Step]] = {
    "dribbled error": [ERROR + length(500), Dribble(b"a" * 500, 0.04)],
    "silence in an error": [ERROR + length(500) + b"a", Silence()],
    "an error's chunks for ever": [ERROR + CHUNKED, Repeat(chunk(b"a"), pause=0.04)],
}


@pytest.mark.waits
@pytest.mark.parametrize("weather", SLOW_ERRORS)
def test_a_slow_error_answer_ends_with_the_deadline(weather: str, single: Call) -> None:
    """What it is about may be said or not; but soon."""
    keeps_deadline("%s, %s" % (weather, name_of(single)), against(SLOW_ERRORS[weather], single),
                   SHORT, HTTPError, JamsocketTimeout)


@pytest.mark.waits
def test_a_request_that_is_not_taken_ends_with_the_deadline() -> None:
    """Sending has the same deadline as all else: here the system's buffers are full."""
    def attempt() -> Timed:
        go = threading.Event()
        with Server([at_once, Wait(go), Drain()]) as server:
            result = timed(lambda: client(server.url).connect({"auth": {"text": "x" * 6 * MIB}},
                                                              timeout=0.7))
            go.set()
            assert server.wait_closed(LONG)
        return result

    keeps_deadline("a request that is not taken", attempt, 0.7)


class Sip(Action):
    """Read what there is, a little at a time, for so long as the client sends."""

    def run(self, peer: Peer) -> None:
        while True:
            peer.receive()
            peer.pause(0.02)


@pytest.mark.waits
def test_a_request_that_is_taken_slowly_ends_with_the_deadline() -> None:
    """Though each piece of it is taken in time."""
    def attempt() -> Timed:
        with Server([at_once, Sip()]) as server:
            result = timed(lambda: client(server.url).connect({"auth": {"text": "x" * 24 * MIB}},
                                                              timeout=0.9))
        return result

    keeps_deadline("a request that is taken slowly", attempt, 0.9)


@pytest.mark.waits
def test_the_clients_timeout_holds_where_the_call_has_none(single: Call) -> None:
    def without(url: str, timeout: float) -> Any:
        return single(url, None, timeout_of_client=timeout)

    keeps_deadline("silence, the client's timeout, " + name_of(single),
                   against([Silence()], without))


def test_an_answer_is_over_when_its_length_says_so(single: Call) -> None:
    """Not when the connection ends, which a proxy may keep open."""
    name = name_of(single)
    for chunked in (False, True):
        def script(request: Request) -> List[Step]:
            body = right_document(server.url, name)
            return [answer(body, chunked=chunked), Silence()]

        with Server(script) as server:
            single(server.url)
            assert server.wait_closed(LONG) and server.connections == 1


def test_an_early_answer_is_heard_while_the_request_is_still_being_sent() -> None:
    refused = answer({"error": {"message": "too large", "status": 413, "code": "TOO_LARGE",
                                "id": "r1"}}, 413)
    with Server([at_once, refused, Drain()]) as server:
        error = failure(lambda: client(server.url).connect({"auth": {"text": "x" * 300000}},
                                                           timeout=LONG), HTTPError)
        assert (error.status, error.code) == (413, "TOO_LARGE")


def test_a_large_request_does_not_delay_its_error() -> None:
    """All of it is a secret that the answer may repeat; to look for it takes next to no time."""
    def connect(url: str, timeout: float) -> Any:
        return client(url).connect({"auth": {"text": "x" * MIB}}, timeout=timeout)

    def check() -> None:
        once = against([answers], connect, LONG)()
        failed(once.outcome, HTTPError)
        record("the error for a large request", "after %.0f ms" % (once.seconds * 1000))
        assert in_time(once.seconds, SHORT + GRACE)

    answers = answer(json.dumps({"error": {"message": "y" * 60000}}).encode(), 500)
    undisturbed(check)


MIB = 1 << 20
