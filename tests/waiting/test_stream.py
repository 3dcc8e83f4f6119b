"""status_stream: each state once, in order, as soon as it is told, until the last."""

import threading
from contextlib import closing
from typing import Any, Dict, List

import pytest

from jamsocket_lite import BackendState, JamsocketTimeout
from kit.deadlines import LONG
from kit.platforms import (STATUSES, Cluster, channels, client, connected, events, in_turn, state,
                           statuses, streamed, told, up_to_ready)
from kit.scenarios import FAILS, HANGS, LOGIN, Scenario, check, in_order, refusing
from kit.server import (Close, Dribble, Repeat, Reset, Server, Silence, Step, Wait, answer, chunk,
                        stream_head)

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_stream_tells_a_whole_life(cluster: Cluster) -> None:
    client, seen = cluster.client(), []  # type: Any, List[BackendState]
    connected = client.connect()
    for state in client.status_stream(connected, timeout=LONG):
        seen.append(state)
        if state.is_ready:
            client.terminate(connected)
    assert cluster.is_whole(in_order(statuses(seen)), connected) and seen[-1].is_terminated
    assert (seen[-1].termination_reason, seen[-1].termination_kind) == ("external", "soft")
    assert all(state.time.endswith("Z") and "T" in state.time for state in seen)


def test_a_stream_that_is_opened_late_begins_with_the_states_so_far(cluster: Cluster) -> None:
    connected = cluster.spawn()
    with closing(cluster.client().status_stream(connected, timeout=LONG)) as stream:
        assert cluster.is_whole(up_to_ready(stream), connected)
    cluster.client().terminate(connected, hard=True)
    cluster.backend(connected).wait("terminated")
    whole = statuses(list(cluster.client().status_stream(connected, timeout=LONG)))
    assert cluster.is_whole(whole, connected) and whole[-1] == "terminated"


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


STREAMS: Dict[str, Scenario] = {
    "the whole life": Scenario([streamed(*STATUSES)], FAILS, list(STATUSES)),
    "never ends after terminated": Scenario([streamed(*STATUSES), Silence()], HANGS, list(STATUSES),
                                            5.0),
    "keep-alive after terminated": Scenario([streamed("terminated"), Repeat(b":\n", pause=0.02)],
                                            HANGS, ["terminated"], 5.0),
    "skipped states": Scenario([streamed("loading", "terminated"), Silence()], HANGS,
                               ["loading", "terminated"]),
    "each state twice": Scenario([streamed(*(status for status in STATUSES for _ in range(2)))],
                                 HANGS, list(STATUSES)),
    "out of order": Scenario([streamed("waiting", "scheduled", "ready", "loading", "waiting",
                                       "terminated")], HANGS,
                             ["waiting", "ready", "terminated"]),
    "from the future": Scenario(
        [streamed("scheduled", "dreaming", "dreaming", "ready", "basking", "dreaming",
                  "terminated")], HANGS,
        ["scheduled", "dreaming", "ready", "basking", "terminated"]),
    "cut again and again": Scenario(
        in_turn([streamed("scheduled")], [streamed("scheduled", "loading")[:-1]], [Reset()],
                [streamed(*STATUSES[:5])], [LOGIN], refusing(503),
                [streamed(*STATUSES), Silence()]), FAILS, list(STATUSES), 8.0),
    "ends in the middle of a chunk": Scenario(
        in_turn([stream_head(True) + chunk(events("scheduled"))
                 + chunk(events("loading", "ready"))[:-40]],
                [stream_head(True) + chunk(events(*STATUSES)), Silence()]), FAILS, list(STATUSES)),
    "opens only at the third try": Scenario(in_turn([Close()], refusing(503),
                                                    [streamed(*STATUSES)]), FAILS, list(STATUSES)),
    "404 in the first moments": Scenario(in_turn(refusing(404), refusing(404),
                                                 [streamed(*STATUSES)]), FAILS, list(STATUSES)),
    "429, then there": Scenario(in_turn(refusing(429, Retry_After="0.3"), [streamed(*STATUSES)]),
                                FAILS, list(STATUSES)),
    "dribbled": Scenario([stream_head(), Dribble(events("ready", "terminated"), 0.003)], HANGS,
                         ["ready", "terminated"]),
    "chunks of one byte": Scenario(
        [stream_head(True), b"".join(chunk(bytes([byte])) for byte in events(*STATUSES))], HANGS,
        list(STATUSES)),
    "the status call alone works": Scenario([Close()], told("ready"), JamsocketTimeout, 2.0, 1.2),
    # Its failures end nothing: what the status call tells is yielded.
    "a stream that is a page": Scenario([LOGIN], told("terminated"), ["terminated"]),
    "a stream that is JSON": Scenario(told("ready"), told("terminated"), ["terminated"]),
    "a stream that is refused": Scenario(refusing(403), told("terminated"), ["terminated"]),
    "a stream that is not allowed": Scenario(refusing(405), told("terminated"), ["terminated"]),
    "a stream that is sent elsewhere": Scenario([answer(b"", 308, [("Location", "/")])],
                                                told("terminated"), ["terminated"]),
    "a stream that is too long": Scenario([stream_head() + b"data:", Repeat(b"x" * 9999)],
                                          told("terminated"), ["terminated"]),
    "a stream of another spelling of its type": Scenario(
        [b"HTTP/1.1 200 OK\r\ncontent-type: TEXT/Event-Stream; charset=utf-8\r\n\r\n"
         + events("terminated")], HANGS,
        ["terminated"]),
}


@pytest.mark.waits
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_yields_each_state_once_in_order(name: str) -> None:
    check("stream", name, STREAMS[name])
