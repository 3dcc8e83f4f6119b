"""`connect_and_wait`: connect, wait, and wait out a dying backend that holds the key."""

import threading
import time
from typing import Any, Dict, List, Sequence

import pytest

from jamsocket_lite import (BackendTerminated, ConnectResponse, HTTPError, NetworkError,
                            ProtocolError)
from kit.answers import answer
from kit.backends import CRASHING, STUBBORN, Gate, python
from kit.deadlines import LONG, in_time
from kit.platforms import ENDING, LIFE, Api, Cluster, is_stream, running
from kit.secrets import failure
from kit.server import Request, Server
from kit.steps import Close, Silence, Step, Wait
from kit.turns import KEY, connects, document, dying, fails, held, spawned, telling

# -------------------------------------------------------------------------------------------------
# It connects, waits until the backend is ready, and returns the answer as it came
# -------------------------------------------------------------------------------------------------

def test_its_backend_is_ready(cluster: Cluster) -> None:
    connected = cluster.client().connect_and_wait(KEY, timeout=LONG)
    assert isinstance(connected, ConnectResponse) and connected.spawned
    assert cluster.statuses(connected) == LIFE
    assert cluster.backend(connected).key == "room"


def test_it_waits_for_a_backend_that_takes_its_time(api: Api) -> None:
    with Gate() as gate, running(api, gate.command) as cluster:
        timer = threading.Timer(0.5, gate.open)
        timer.start()
        connected = cluster.client().connect_and_wait(timeout=LONG)
        timer.join()
        assert cluster.statuses(connected) == LIFE


def test_a_held_backend_that_is_ready_is_taken(cluster: Cluster) -> None:
    first = cluster.client().connect_and_wait(KEY, timeout=LONG)
    second = cluster.client().connect_and_wait(KEY, timeout=LONG)
    assert (second.backend_id, second.spawned, second.status) == (first.backend_id, False, "ready")


def test_a_request_is_not_needed(cluster: Cluster) -> None:
    assert cluster.client().connect_and_wait().spawned


def test_the_answer_is_returned_as_it_came(api: Api) -> None:
    """Its status is the connect's, not `ready`."""
    with Server(telling(api, spawned())) as server:
        connected = api.client(server.url).connect_and_wait(KEY, timeout=LONG)
        expected = document(api, server.url, spawned())
        assert connected == ConnectResponse.from_dict(expected, strict=False)
        assert connected.status == "scheduled"


def test_the_answer_of_the_last_connect_is_returned(api: Api) -> None:
    with Server(telling(api, dying(), spawned())) as server:
        connected = api.client(server.url).connect_and_wait(KEY, timeout=LONG)
        expected = document(api, server.url, spawned())
        assert connected == ConnectResponse.from_dict(expected, strict=False)


def test_it_connects_once_where_the_backend_becomes_ready(api: Api) -> None:
    with Server(telling(api, spawned())) as server:
        api.client(server.url).connect_and_wait(KEY, timeout=LONG)
        assert len(connects(api, server)) == 1


# -------------------------------------------------------------------------------------------------
# A dying backend that holds the key is waited out
# -------------------------------------------------------------------------------------------------

@pytest.mark.waits
def test_a_key_whose_backend_is_ending_gives_a_new_one(api: Api) -> None:
    with running(api, python(STUBBORN), grace=1.0) as cluster:
        client = cluster.client()
        old = cluster.spawn(KEY)
        client.terminate(old)
        cluster.backend(old).wait("terminating")
        connected = client.connect_and_wait(KEY, timeout=LONG)
        assert connected.spawned and connected.backend_id != old.backend_id
        assert cluster.statuses(old)[-1] == "terminated"
        assert cluster.statuses(connected) == LIFE


@pytest.mark.waits
def test_a_key_whose_backend_is_swept_gives_a_new_one(api: Api) -> None:
    """As when a user comes back to a backend that was idle for too long."""
    request = {**KEY, "spawn": {"max_idle_seconds": 0}}
    with running(api, python(STUBBORN), grace=0.5, sweep=600) as cluster:
        old = cluster.spawn(request)
        with cluster.platform.changed:
            cluster.platform.sweep = 0.05
            cluster.platform.changed.notify_all()
        cluster.backend(old).wait("terminating")
        cluster.platform.sweep = 600
        connected = cluster.client().connect_and_wait(request, timeout=LONG)
        assert connected.spawned and connected.backend_id != old.backend_id


@pytest.mark.waits
def test_a_key_whose_backend_crashes_under_another_gives_a_new_one(api: Api) -> None:
    """Found while it was starting; that it is ending shows in the wait."""
    with Gate() as gate, running(api, gate.command) as cluster:
        old = cluster.client().connect(KEY)
        cluster.backend(old).wait("waiting")

        def crash_it_and_open_the_next() -> None:
            gate.crash()
            gate.open()

        timer = threading.Timer(0.3, crash_it_and_open_the_next)
        timer.start()
        connected = cluster.client().connect_and_wait(KEY, timeout=LONG)
        timer.join()
        assert connected.spawned and connected.backend_id != old.backend_id


@pytest.mark.parametrize("status", ENDING)
def test_that_it_is_ending_may_stand_in_the_answer(api: Api, status: str) -> None:
    with Server(telling(api, dying(status), dying(status), spawned())) as server:
        connected = api.client(server.url).connect_and_wait(KEY, timeout=LONG)
        assert connected.backend_id == "fresh" and len(connects(api, server)) == 3


@pytest.mark.parametrize("status", ENDING)
def test_that_it_is_ending_may_be_told_by_the_status_call(api: Api, status: str) -> None:
    """Right after a terminate a connect may still say `ready`, and so may the stream."""
    old = held("ready", status=status)
    with Server(telling(api, old, spawned())) as server:
        assert api.client(server.url).connect_and_wait(KEY, timeout=LONG).backend_id == "fresh"


def test_that_it_has_ended_may_be_told_by_the_stream_alone(api: Api) -> None:
    """The dev server has forgotten it by then."""
    told = threading.Event()
    script: Any = telling(api, held("ready", stream=[*LIFE, "terminating", "terminated"],
                                    status=[Wait(told), answer(b"", 404)]), spawned())

    def telling_first(request: Request) -> Sequence[Step]:
        steps = list(script(request))
        return [steps[0], told.set, Silence()] if is_stream(request) else steps

    with Server(telling_first) as server:
        assert api.client(server.url).connect_and_wait(KEY, timeout=LONG).backend_id == "fresh"


def pauses(api: Api, times: int) -> List[float]:
    """Those between connects, where the key's backend takes so many of them to end."""
    with Server(telling(api, *[dying()] * times, spawned())) as server:
        api.client(server.url).connect_and_wait(KEY, timeout=LONG)
        at = [request.at for request in connects(api, server)]
        return [later - sooner for sooner, later in zip(at, at[1:])]


@pytest.mark.waits
def test_the_pauses_between_connects_are_doubled(api: Api) -> None:
    """From 0.1 s on; chance may make them a little shorter."""
    for number, pause in enumerate(pauses(api, 4)):
        assert pause > 0.7 * 0.1 * 2 ** number


def test_the_first_pause_is_short(api: Api) -> None:
    began = time.monotonic()
    assert in_time(pauses(api, 1)[0], 0.5, began)


@pytest.mark.waits
def test_no_pause_is_longer_than_two_seconds(api: Api) -> None:
    began = time.monotonic()
    assert in_time(pauses(api, 7)[-1], 3.5, began)  # doubled once more it would be 4.8 at least


def test_a_backend_that_died_and_then_another_that_dies_are_both_waited_out(api: Api) -> None:
    with Server(telling(api, dying(id="one"), dying(id="two"), spawned())) as server:
        assert api.client(server.url).connect_and_wait(KEY, timeout=LONG).backend_id == "fresh"


def test_a_second_held_backend_that_is_well_is_taken(api: Api) -> None:
    """Somebody else was quicker to spawn it."""
    with Server(telling(api, dying(), held("ready", "theirs"))) as server:
        connected = api.client(server.url).connect_and_wait(KEY, timeout=LONG)
        assert (connected.backend_id, connected.spawned) == ("theirs", False)


def test_every_connect_carries_the_same_request(api: Api) -> None:
    with Server(telling(api, dying(), spawned())) as server:
        api.client(server.url).connect_and_wait(KEY, timeout=LONG)
        first, second = connects(api, server)
        assert first.body == second.body and b"room" in first.body


# -------------------------------------------------------------------------------------------------
# One that was spawned and ends is BackendTerminated
# -------------------------------------------------------------------------------------------------

def test_a_spawned_backend_that_crashes_is_terminated_for_good(api: Api) -> None:
    with running(api, python(CRASHING)) as cluster:
        error = failure(lambda: cluster.client().connect_and_wait(KEY, timeout=LONG),
                        BackendTerminated)
        assert error.state.is_terminated and error.state.exit_error is True
        paths = [request.path for request in cluster.platform.requests]
        assert paths.count(api.connect_target) == 1


@pytest.mark.parametrize("status", ENDING)
def test_a_spawned_backend_that_ends_is_not_connected_to_again(api: Api, status: str) -> None:
    script = telling(api, spawned(stream=["scheduled", status], status=status))
    error, sent = fails(api, script, BackendTerminated)
    assert (error.state.status, sent) == (status, 1)


def test_one_that_is_spawned_after_a_dying_one_and_ends_is_terminated(api: Api) -> None:
    fresh = spawned(stream=["scheduled", "terminated"], status="terminated")
    error, sent = fails(api, telling(api, dying(), fresh), BackendTerminated)
    assert (error.state.status, error.response.backend_id, sent) == ("terminated", "fresh", 2)


# -------------------------------------------------------------------------------------------------
# A connect that fails is not repeated
# -------------------------------------------------------------------------------------------------

FAILURES: Dict[str, Any] = {
    "503": ([answer(b"", 503)], HTTPError), "500": ([answer(b"", 500)], HTTPError),
    "409": ([answer(b"", 409)], HTTPError), "404": ([answer(b"", 404)], HTTPError),
    "a page": ([answer(b"<p>maintenance</p>")], ProtocolError),
    "no answer": ([Close()], NetworkError),
    "half an answer": ([answer({"backend_id": "b"})[:-5]], NetworkError),
}


@pytest.mark.parametrize("name", list(FAILURES))
def test_a_connect_that_fails_is_sent_once(api: Api, name: str) -> None:
    steps, kind = FAILURES[name]
    error, sent = fails(api, telling(api, steps, spawned()), kind)
    assert (error.response, sent) == (None, 1)


@pytest.mark.parametrize("name", list(FAILURES))
def test_a_connect_that_fails_after_a_dying_backend_is_not_repeated(api: Api, name: str) -> None:
    steps, kind = FAILURES[name]
    error, sent = fails(api, telling(api, dying(), steps, spawned()), kind)
    assert (error.response.backend_id, sent) == ("old", 2)


@pytest.mark.waits
def test_a_key_that_may_not_spawn_ends_with_its_backend(api: Api) -> None:
    """Once it is free the platform says so, and that is the outcome."""
    with running(api, python(STUBBORN), grace=0.5) as cluster:
        old = cluster.spawn(KEY)
        cluster.client().terminate(old)
        cluster.backend(old).wait("terminating")
        error = failure(lambda: cluster.client().connect_and_wait(
            {**KEY, "spawn": False}, timeout=LONG), HTTPError)
        assert error.status == 409
