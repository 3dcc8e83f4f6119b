"""A wait returns with the ready state: at once, told step by step, for many at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List

import pytest

import jamsocket_lite
from jamsocket_lite import BackendState
from kit.backends import Gate
from kit.deadlines import LONG, at_most, in_time
from kit.platforms import (ID, LIFE, STATUSES, Api, Cluster, channels, client, connected, events,
                           in_turn, running, state, statuses, streamed, told)
from kit.scenarios import FAILS, HANGS, LOGIN, Scenario, check, in_order, refusing
from kit.server import (Close, Dribble, Pause, Repeat, Reset, Server, Silence, Step, Wait, answer,
                        chunk, event, stream_head)

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_wait_returns_the_ready_state(cluster: Cluster) -> None:
    connected = cluster.client().connect()
    state = cluster.client().wait_until_ready(connected, timeout=LONG)
    assert state.is_ready and state == cluster.client().status(connected)
    assert cluster.backend(connected).status == "ready"


def test_a_wait_does_not_return_before_ready(api: Api) -> None:
    with Gate() as gate, running(api, gate.command) as cluster, ThreadPoolExecutor(1) as pool:
        connected = cluster.spawn(until="waiting")
        waiting = threading.Event()

        def on_status(state: BackendState) -> None:
            if state.status == "waiting":
                waiting.set()

        future = pool.submit(cluster.client().wait_until_ready, connected, timeout=LONG,
                             on_status=on_status)
        assert waiting.wait(LONG) and not future.done()
        gate.open()
        assert future.result(LONG).is_ready


def test_on_status_sees_each_state_once_in_order(api: Api) -> None:
    with Gate() as gate, running(api, gate.command) as cluster:
        client, seen = cluster.client(), []  # type: Any, List[BackendState]

        def on_status(state: BackendState) -> None:
            seen.append(state)
            if state.status == "waiting":
                gate.open()

        connected = client.connect()
        ready = client.wait_until_ready(connected, timeout=LONG, on_status=on_status)
        assert in_order(statuses(seen))[-2:] == ["waiting",
                                                 "ready"] and set(statuses(seen)) <= set(LIFE)
        assert seen[-1] == ready


def test_a_wait_for_what_is_ready_already_is_short(cluster: Cluster) -> None:
    connected = cluster.spawn({"key": "room"})
    again = cluster.client().connect({"key": "room"})
    for backend in (connected, again, connected.backend_id, connected.status_url):
        with at_most(3.0):
            assert cluster.client().wait_until_ready(backend, timeout=LONG).is_ready


def test_a_wait_returns_with_the_ready_event(api: Api) -> None:
    """Within 50 ms; the best of some, for the machine has other things to do."""
    moments: Dict[str, float] = {}

    def log(line: str) -> None:
        words = line.split()
        if words[-1] == "ready":
            moments[words[1].strip(":")] = time.monotonic()

    began = time.monotonic()
    with Gate() as gate, running(api, gate.command, log=log) as cluster:
        late = []
        for _ in range(3):
            connected = cluster.client().connect()

            def on_status(state: BackendState) -> None:
                if state.status == "waiting":
                    gate.open()

            cluster.client().wait_until_ready(connected, timeout=LONG, on_status=on_status)
            returned = time.monotonic()
            # Noted right after the state was told, so it may be a little late itself.
            cluster.backend(connected).wait("ready")
            late.append(returned - moments.get(connected.backend_id, returned))
    assert in_time(min(late), 0.05, began) and in_time(max(late), 1.5, began), late


def test_the_function_waits_like_the_method(cluster: Cluster) -> None:
    seen: List[BackendState] = []
    connected = cluster.client().connect()
    state = jamsocket_lite.wait_until_ready(connected, timeout=LONG, on_status=seen.append)
    assert state.is_ready and seen[-1] == state
    assert jamsocket_lite.wait_until_ready(connected.status_url, timeout=LONG) == state


def test_one_client_serves_many_waits_at_once(api: Api) -> None:
    with Gate() as gate, running(api, gate.command) as cluster, ThreadPoolExecutor(4) as pool:
        client = cluster.client()
        connected = [client.connect() for _ in range(4)]
        futures = [pool.submit(client.wait_until_ready, one, timeout=LONG) for one in connected]
        for _ in connected:
            gate.open()
        states = [future.result(LONG) for future in futures]
        assert states == [client.status(one) for one in connected]


def test_states_from_the_future_do_not_end_a_wait(api: Api) -> None:
    told = [api.state("dreaming"), api.state("waiting", termination_reason="bored"),
            api.state("ready")]
    seen: List[BackendState] = []
    stream: List[Step] = [stream_head(), *map(event, told), Silence()]
    with Server(api.channels(stream, [answer(told[-1])])) as server:
        assert api.client(server.url).wait_until_ready(ID, timeout=LONG,
                                                       on_status=seen.append).is_ready
    assert statuses(seen)[-1] == "ready" and len(set(statuses(seen))) == len(seen)


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
    def status_call(number: int) -> List[Step]:
        """It knows no more than what was told: a stream that is late is not overtaken."""
        return told("ready" if gates["ready"].is_set() else "scheduled")

    with Server(channels([*steps, Silence()], status_call)) as server:
        assert client(server.url).wait_until_ready(connected(server.url), timeout=LONG,
                                                   on_status=on_status).is_ready
    assert seen == list(STATUSES[:5])


RETURNS: Dict[str, Scenario] = {
    # What the stream tells is enough, although the status call has no answer.
    "live ready, the status call hangs": Scenario(
        [streamed("scheduled", "waiting"), Pause(0.8), events("ready"), Silence()], HANGS, "ready"),
    "live ready, the status call fails": Scenario(
        [streamed("scheduled", "waiting"), Pause(0.8), events("ready"), Silence()], FAILS, "ready"),
    "replayed ready, the status call hangs": Scenario(
        [streamed(*STATUSES[:5]), Silence()], HANGS, "ready"
    ),
    "replayed ready, the status call fails": Scenario(
        [streamed(*STATUSES[:5]), Silence()], FAILS, "ready"
    ),
    "replayed ready, the status call confirms it": Scenario(
        [streamed(*STATUSES[:5]), Silence()], told("ready"), "ready", 2.0
    ),
    "the stream closes after ready": Scenario(
        [streamed(*STATUSES[:5])], told("ready"), "ready"
    ),
    "opens only at the third try": Scenario(
        in_turn([Close()], [answer(b"", 503)], [streamed("waiting", "ready"), Silence()]),
        FAILS,
        "ready",
    ),
    "reset, cut, malformed, then there": Scenario(
        in_turn(
            [Reset()],
            [stream_head(True) + b"ffff\r\ndata:"],
            [stream_head(True) + b"zz\r\n"],
            [streamed("ready"), Silence()],
        ),
        FAILS,
        "ready",
    ),
    "ends in the middle of a chunk": Scenario(
        in_turn(
            [stream_head(True) + chunk(events("scheduled")) + chunk(events("loading"))[:-30]],
            [stream_head(True) + chunk(events("scheduled", "loading", "ready")), Silence()],
        ),
        FAILS,
        "ready",
    ),
    "ends in the middle of an event": Scenario(
        in_turn(
            [stream_head() + events("scheduled", "ready")[:-2]],
            [streamed("scheduled", "ready"), Silence()],
        ),
        FAILS,
        "ready",
    ),
    "dribbled events": Scenario(
        [stream_head(), Dribble(events("scheduled", "ready"), 0.003), Silence()], HANGS, "ready"
    ),
    "chunks of one byte": Scenario(
        [
            stream_head(True),
            b"".join(chunk(bytes([byte])) for byte in events("scheduled", "ready")),
            Silence(),
        ],
        HANGS,
        "ready",
    ),
    "garbage between good events": Scenario(
        [
            stream_head()
            + b"data:{\n\n:\n\ndata:[]\n\nevent:other\n"
            + events("terminated")
            + b"\xff\xfe\n\ndata:\n\n"
            + events("starting")
            + b'data:{"status":7,"time":""}\n\n'
            + b"x" * 1000
            + b"\n\n"
            + events("ready"),
            Silence(),
        ],
        HANGS,
        "ready",
    ),
    "states from the future": Scenario(
        [streamed("scheduled", "dreaming", "ready", "dreaming"), Silence()],
        told("ready"),
        "ready",
    ),
    "a state from the future after ready": Scenario(
        [streamed("scheduled", "ready", "basking"), Silence()], told("ready"), "ready"
    ),
    # What the status call tells is enough, although the stream never tells anything.
    "the stream is 400": Scenario(refusing(400), told("ready"), "ready"),
    "the stream is 404": Scenario(refusing(404), told("ready"), "ready"),
    "the stream is 405": Scenario(refusing(405), told("ready"), "ready"),
    "the stream is 500": Scenario(refusing(500), told("ready"), "ready"),
    "the stream is 503": Scenario(refusing(503, Retry_After="30"), told("ready"), "ready"),
    "the stream is 429": Scenario(refusing(429, Retry_After="30"), told("ready"), "ready"),
    "the stream closes at once each time": Scenario([Close()], told("ready"), "ready"),
    "the stream ends at once each time": Scenario([stream_head()], told("ready"), "ready"),
    "the stream is empty, with a length, each time": Scenario(
        [answer(b"")], told("ready"), "ready"
    ),
    "the stream is reset each time": Scenario([Reset()], told("ready"), "ready"),
    "the stream is a page": Scenario([LOGIN], told("ready"), "ready"),
    "the stream is JSON": Scenario(told("ready"), told("ready"), "ready"),
    "the stream is not HTTP": Scenario([b"\0\1\2\3\r\n\r\n"], told("ready"), "ready"),
    "the stream is compressed": Scenario(
        [stream_head(headers=[("Content-Encoding", "gzip")]) + b"\x1f\x8b", Silence()],
        told("ready"),
        "ready",
    ),
    "a proxy holds the head back": Scenario(HANGS, told("ready"), "ready"),
    "a proxy holds the events back": Scenario(
        [stream_head(), Silence()], told("ready"), "ready"
    ),
    "a proxy lets only comments pass": Scenario(
        [stream_head(), Repeat(b":\n\n", pause=0.05)], told("ready"), "ready"
    ),
    "endless headers": Scenario(
        [stream_head()[:-2], Repeat(b"X: y\r\n" * 1000)], told("ready"), "ready"
    ),
    "an endless event": Scenario(
        [stream_head() + b"data:", Repeat(b"x" * 9999)], told("ready"), "ready"
    ),  # Both are in trouble, which passes.
    "404 in the first moments": Scenario(
        in_turn(refusing(404), refusing(404), [streamed("scheduled", "ready"), Silence()]),
        in_turn(refusing(404), told("ready")),
        "ready",
    ),
    "429 in the first moments": Scenario(
        in_turn(refusing(429, Retry_After="0.2"), [streamed("ready"), Silence()]),
        in_turn(refusing(429, Retry_After="0.2"), told("ready")),
        "ready",
    ),
    "502 and pages in the first moments": Scenario(
        in_turn([LOGIN], refusing(502), [streamed("ready"), Silence()]),
        in_turn(refusing(502), [LOGIN], told("ready")),
        "ready",
    ),
    "the first request is never answered": Scenario(
        in_turn([Close()], [streamed("ready"), Silence()]),
        in_turn(HANGS, told("ready")),
        "ready",
    ),
    "connect said ready": Scenario(
        [streamed(*STATUSES[:5]), Silence()], told("ready"), "ready", 2.0, known="ready"
    ),
    "connect said ready, the status call fails": Scenario(
        [streamed(*STATUSES[:5]), Silence()], FAILS, "ready", known="ready"
    ),
    "connect said a word from the future": Scenario(
        [streamed("ready"), Silence()], told("ready"), "ready", known="dozing"
    ),
}


@pytest.mark.waits
@pytest.mark.parametrize("name", RETURNS)
def test_a_wait_returns_once_the_platform_says_ready(name: str) -> None:
    """By the stream or by the status call, whatever happens to the other."""
    check("wait", name, RETURNS[name])
