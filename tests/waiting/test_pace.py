"""How often a wait and a stream ask: pauses that grow and differ, Retry-After and retry heeded, few
requests."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Dict, List, Sequence

import pytest

from jamsocket_lite import JamsocketTimeout
from kit.backends import Gate
from kit.deadlines import LONG, patiently, record, undisturbed
from kit.platforms import (ID, JAMSOCKET, Api, client, connected, in_turn, running, streamed, told,
                           up_to_ready)
from kit.scenarios import FAILS, HANGS, Scenario, check, flaky, refusing
from kit.secrets import failure
from kit.server import Close, Pause, Server, Silence, Step, Wait, answer

pytestmark = pytest.mark.usefixtures("nothing_left")


def gaps(server: Server, target: str) -> List[float]:
    """Seconds between one request for that and the next."""
    times = [request.at for request in server.requests if request.target == target]
    return [later - sooner for sooner, later in zip(times, times[1:])]


@pytest.mark.waits
def test_a_retry_after_is_respected(api: Api) -> None:
    """By neither of a wait's two ways does a request come sooner."""
    trouble = [answer(b"", 429, [("Retry-After", "0.8")])]
    with Server(flaky(api, trouble, times=1)) as server:
        assert api.client(server.url).wait_until_ready(ID, timeout=LONG).is_ready
        for target in (api.status_target(), api.stream_target()):
            assert all(gap >= 0.79 for gap in gaps(server, target))


@pytest.mark.waits
def test_a_retry_after_is_respected_whatever_the_stream_tells(api: Api) -> None:
    """A `ready` is a reason to ask for the status, but not sooner than the platform allowed."""
    stream: List[Step] = [api.streamed("ready"), Pause(0.2), api.events("ready"), Pause(0.2),
                          api.events("ready"), Silence()]
    with Server(api.channels(stream, [answer(b"", 429, [("Retry-After", "0.8")])])) as server:
        try:
            api.client(server.url).wait_until_ready(ID, timeout=3)
        except JamsocketTimeout:
            pass  # the status was never told, so either will do
        assert all(gap >= 0.79 for gap in gaps(server, api.status_target()))


@pytest.mark.waits
@pytest.mark.parametrize("kind", ["wait", "stream"])
def test_a_retry_after_past_the_deadline_is_waited_out(kind: str) -> None:
    limit = refusing(429, Retry_After="3600")
    outcome = check(kind, "429 until after the deadline",
                    Scenario(limit, limit, JamsocketTimeout, 2.0, 1.2))
    assert len(outcome.times(True)) <= 1 and len(outcome.times(False)) <= 1


@pytest.mark.waits
def test_a_wait_costs_few_requests(api: Api) -> None:
    """One stream, and a status call every few seconds at most."""
    with Gate() as gate, running(api, gate.command) as cluster:
        connected = cluster.client().connect()
        timer = threading.Timer(1.3, gate.open)
        timer.start()
        cluster.client().wait_until_ready(connected, timeout=LONG)
        timer.join()
        paths = [request.path for request in cluster.platform.requests]
        assert paths.count(api.stream_target(connected.backend_id)) <= 1
        assert paths.count(api.status_target(connected.backend_id)) <= 3


@pytest.mark.waits
def test_silence_is_not_death(api: Api) -> None:
    """Neither the dev server's nor that of Plane, which sends comments: an idle stream goes on."""
    with running(api, keep_alive=0.05) as cluster:
        connected = cluster.spawn()
        with closing(cluster.client().status_stream(connected, timeout=LONG)) as stream:
            assert cluster.is_whole(up_to_ready(stream), connected)
            timer = threading.Timer(1.5, cluster.client().terminate, [connected])
            timer.start()
            assert next(stream).status == "terminating"
            timer.join()
            opened = [one for one in cluster.platform.requests if one.path.endswith("stream")]
            assert len(opened) == 1


DOWN: Dict[str, Sequence[Step]] = {"never there": [Close()], "500 on both": FAILS}


@pytest.mark.waits
@pytest.mark.parametrize("kind", ["wait", "stream"])
@pytest.mark.parametrize("weather", DOWN)
def test_pauses_grow(kind: str, weather: str) -> None:
    """A server that is down is not hammered. Steady pauses of the first one's length would make
    thirty requests in that time; a busy machine makes fewer, never more."""
    steps = DOWN[weather]
    outcome = check(kind, weather, Scenario(steps, steps, JamsocketTimeout, LONG, 3.0))
    record("%s: %s" % (kind, weather), "%d requests in 3 s" % len(outcome.times(True)))
    assert 2 <= len(outcome.times(True)) <= 10


@pytest.mark.waits
def test_pauses_are_jittered() -> None:
    """So that a crowd of waiters does not come back at the same moment."""
    def check(timeout: float) -> None:
        def fourth_pause(number: int) -> float:
            """By then they differ by more than what a machine is late by."""
            with Server([Close()]) as server:
                failure(lambda: client(server.url).wait_until_ready(ID, timeout=7 * timeout),
                        JamsocketTimeout)
                return gaps(server, JAMSOCKET.stream_target())[3]

        with ThreadPoolExecutor(12) as pool:
            pauses = list(pool.map(fourth_pause, range(12)))
        assert max(pauses) - min(pauses) > 0.05
        record("a crowd's pauses", "%.0f to %.0f ms" % (min(pauses) * 1000, max(pauses) * 1000))

    patiently(check)


@pytest.mark.waits
@pytest.mark.slow
def test_the_status_is_asked_for_again_and_again() -> None:
    """Also where the stream tells nothing: ready comes minutes late to a buffering proxy."""
    outcome = check("wait", "ready at the third status call", Scenario(
        HANGS, in_turn(told("starting"), told("waiting"), told("ready")), "ready", 25.0, 30.0))
    assert outcome.seen == ["starting", "waiting", "ready"]


@pytest.mark.waits
@pytest.mark.slow
def test_a_stream_that_tells_something_leaves_a_status_call_every_ten_seconds() -> None:
    """So `ready` is known at last where a proxy lets the first events pass alone."""
    begun = threading.Event()
    scheduled: List[Step] = [Wait(begun), *told("scheduled")]  # never before the stream

    def look() -> None:
        outcome = check("wait", "a proxy lets the first events pass", Scenario(
            [streamed("scheduled"), begun.set, Silence()], in_turn(scheduled, told("ready")),
            "ready", 30.0))
        first, second = outcome.times(False)
        assert second - first >= 9.0

    undisturbed(look)
