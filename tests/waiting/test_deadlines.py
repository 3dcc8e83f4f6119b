"""A wait and a stream end with their deadline, whatever the server does, and tell what was seen
last."""

import math
import time
from contextlib import closing
from typing import Any, Callable, Dict, List

import pytest

from jamsocket_lite import BackendState, JamsocketTimeout, wait_until_ready
from kit.backends import DEAF, Gate, python
from kit.calls import Call, name_of
from kit.certificates import Certificates
from kit.deadlines import GRACE, SHORT, against, at_most, keeps_deadline, patiently
from kit.pages import connected
from kit.platforms import ID, Api, channels, client, events, running, state
from kit.scenarios import FAILS, HANGS, check
from kit.server import (Close, Dribble, Pause, Repeat, Reset, Script, Server, Silence, Step, answer,
                        chunk, closed_port, event, stream_head)

pytestmark = pytest.mark.usefixtures("nothing_left")


BOTH: Dict[str, Callable[..., Any]] = {
    "wait": lambda client, backend, timeout: client.wait_until_ready(backend, timeout=timeout),
    "stream": lambda client, backend, timeout: list(client.status_stream(backend, timeout=timeout)),
}


@pytest.mark.waits
@pytest.mark.parametrize("kind", [*BOTH, "function"])
def test_a_deadline_tells_what_was_seen_last(api: Api, kind: str) -> None:
    with running(api, python(DEAF)) as cluster:
        client, connected = cluster.client(), cluster.spawn(until="waiting")

        def check(timeout: float) -> None:
            with pytest.raises(JamsocketTimeout) as caught:
                if kind == "function":
                    wait_until_ready(connected.status_url, timeout=timeout)
                else:
                    BOTH[kind](client, connected, timeout)
            assert caught.value.last_state == client.status(connected)
            assert "waiting" in str(caught.value)

        patiently(check)


@pytest.mark.waits
@pytest.mark.parametrize("kind", BOTH)
def test_a_deadline_without_any_word_tells_of_none(api: Api, kind: str) -> None:
    with Server([Silence()]) as server:
        with pytest.raises(JamsocketTimeout) as caught:
            BOTH[kind](api.client(server.url), ID, 0.2)
        assert caught.value.last_state is None


@pytest.mark.waits
@pytest.mark.parametrize("kind", BOTH)
def test_a_deadline_holds_while_states_go_on(api: Api, kind: str) -> None:
    """Words that never end must not keep a wait alive."""
    steps: List[Step] = [stream_head()]
    for number in range(10000):
        steps += [event(api.state("word-%d" % number)), Pause(0.005)]
    with Server(api.channels(steps)) as server:
        with pytest.raises(JamsocketTimeout), at_most(2.0):
            BOTH[kind](api.client(server.url), ID, 0.3)


@pytest.mark.waits
def test_the_deadline_of_a_stream_counts_from_the_call(api: Api) -> None:
    """It runs on while the caller thinks about a state."""
    with Server(api.channels([api.streamed("scheduled"), Silence()], [Silence()])) as server:
        def check(timeout: float) -> None:
            with closing(api.client(server.url).status_stream(ID, timeout=timeout)) as stream:
                assert next(stream).status == "scheduled"
                time.sleep(timeout + 0.05)
                with pytest.raises(JamsocketTimeout), at_most(GRACE):
                    next(stream)

        patiently(check)


@pytest.mark.waits
@pytest.mark.parametrize("kind", BOTH)
def test_nobody_there_is_waited_out_until_the_deadline(api: Api, kind: str) -> None:
    with pytest.raises(JamsocketTimeout):
        BOTH[kind](api.client("http://127.0.0.1:%d" % closed_port()), ID, 0.3)


def test_no_deadline_is_none_or_infinite(api: Api) -> None:
    with Gate() as gate, running(api, gate.command) as cluster:
        def on_status(state: BackendState) -> None:
            if state.status == "waiting":
                gate.open()

        client = cluster.client(timeout=0.001)  # the client's is not a wait's
        for timeout in (None, math.inf):
            connected = cluster.client().connect()
            assert client.wait_until_ready(connected, timeout=timeout, on_status=on_status).is_ready


def slow_weather(every: float) -> Dict[str, Script]:
    head = b"HTTP/1.1 200 OK\r\n"
    waiting = [answer(state("waiting"))]
    return {
        "silence": HANGS,
        "dribbled status lines": [Dribble(head * 50, every)],
        "dribbled headers": [head, Dribble(b"X-Slow: " + b"x" * 500, every)],
        "headers for ever": [head, Repeat(b"X: y\r\n", pause=every)],
        "a dribbled event": channels([stream_head(), Dribble(b"data:" + b" " * 500, every)],
                                     waiting),
        "a dribbled event in chunks": channels([stream_head(True),
                                                Repeat(chunk(b" "), pause=every)], waiting),
        "a dribbled chunk size": channels([stream_head(True), Dribble(b"5; " + b"x" * 500, every)],
                                          waiting),
        "comments for ever": channels([stream_head(), Repeat(b":\n", pause=every)], waiting),
        "comments for ever, without a pause": channels([stream_head(),
                                                        Repeat(b":keep-alive\n\n" * 50)], waiting),
        "garbage for ever, without a pause": channels([stream_head(), Repeat(b"data:{}\n\n" * 50)],
                                                      waiting),
        "the same state for ever, without a pause": channels([stream_head(),
                                                              Repeat(events("waiting") * 20)],
                                                             waiting),
        "states that are no longer true": channels([stream_head(),
                                                    Repeat(events("waiting", "scheduled"),
                                                           pause=every)],
                                               waiting),
        "no event": channels([stream_head(), Silence()], waiting),
        "no event, no status": channels([stream_head(), Silence()], HANGS),
        "ends at once each time": channels([stream_head()], waiting),
        "closed each time": [Close()],
        "reset each time": [Reset()],
        "500 each time": FAILS,
        "a dribbled error": [b"HTTP/1.1 500 Oops\r\nContent-Length: 500\r\n\r\n",
                             Dribble(b"x" * 500, every)],
        "retry in an hour": channels([stream_head() + b"retry:3600000\n\n"], waiting),
        "a dribbled status answer": channels(HANGS, [head + b"Content-Length: 500\r\n\r\n",
                                                     Dribble(b" " * 500, every)]),
    }


@pytest.mark.waits
@pytest.mark.parametrize("weather", slow_weather(0.04))
def test_a_wait_and_a_stream_end_with_their_deadline(weather: str, lasting: Call) -> None:
    keeps_deadline("%s, %s" % (weather, name_of(lasting)),
                   against(slow_weather(0.04)[weather], lasting))


@pytest.mark.waits
@pytest.mark.parametrize("weather", [weather for weather in slow_weather(0.2)
                                     if "without a pause" not in weather])
def test_a_deadline_is_the_whole_waits_and_not_one_reads(weather: str, lasting: Call) -> None:
    keeps_deadline("%s, %s, slower" % (weather, name_of(lasting)),
                   against(slow_weather(0.2)[weather], lasting, 0.9), 0.9)


@pytest.mark.waits
@pytest.mark.parametrize("handshake", ["silent", "dribble"])
def test_a_tls_handshake_that_never_comes_ends_with_the_deadline(
        handshake: str, call: Call, certificates: Certificates) -> None:
    keeps_deadline("a TLS handshake: %s, %s" % (handshake, name_of(call)), against(
        [], call, SHORT, {"ssl_context": certificates.client_context()}, handshake=handshake,
        tls=certificates.server_context() if handshake == "dribble" else None, every=0.04))
