"""A wait for what will never be ready ends as soon as that is known."""

import threading
from typing import Any, Dict, List, Sequence

import pytest

from jamsocket_lite import BackendState, BackendTerminated, HTTPError
from kit.backends import CRASHING, DEAF, STUBBORN, Gate, python
from kit.deadlines import LONG
from kit.platforms import (ENDING, ID, JAMSOCKET, STATUSES, TIME, Api, Cluster, client, connected,
                           events, in_turn, running, state, statuses, streamed, told)
from kit.scenarios import FAILS, HANGS, Scenario, check, in_order, refusing
from kit.secrets import failure
from kit.server import (Close, Dribble, Pause, Server, Silence, Step, Wait, answer, chunk, event,
                        stream_head)

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_crash_before_ready_ends_the_wait_at_once(api: Api) -> None:
    with running(api, python(CRASHING)) as cluster:
        seen: List[BackendState] = []
        connected = cluster.client().connect()
        with pytest.raises(BackendTerminated) as caught:
            cluster.client().wait_until_ready(connected, timeout=LONG, on_status=seen.append)
        assert (caught.value.state.status, caught.value.state.exit_error) == ("terminated", True)
        assert in_order(statuses(seen))[-1] == "terminated" and seen[-1] == caught.value.state


def test_a_startup_timeout_ends_the_wait_at_once(api: Api) -> None:
    with running(api, python(DEAF), startup_timeout=0.3) as cluster:
        with pytest.raises(BackendTerminated) as caught:
            cluster.client().wait_until_ready(cluster.client().connect(), timeout=LONG)
        assert caught.value.state.status in ("hard-terminating", "terminated")
        assert caught.value.state.termination_reason == "startup_timeout"
        assert caught.value.state.status in str(caught.value)


def test_an_end_while_waiting_ends_the_wait_before_it_is_over(api: Api) -> None:
    """As soon as it is known: this backend takes its time to end."""
    with Gate(stubborn=True) as gate, running(api, gate.command) as cluster:
        client = cluster.client()
        connected = cluster.spawn(until="waiting")

        def on_status(state: BackendState) -> None:
            if state.status == "waiting":
                client.terminate(connected)

        with gate.wait(), pytest.raises(BackendTerminated) as caught:
            client.wait_until_ready(connected, timeout=LONG, on_status=on_status)
            assert cluster.backend(connected).status == "terminating"
        assert caught.value.state.status == "terminating"
        assert caught.value.state.termination_reason == "external"


@pytest.mark.parametrize("by", ["answer", "id", "url"])
def test_a_replayed_ready_that_is_over_does_not_count(api: Api, by: str) -> None:
    """The stream begins with `ready`, though the backend is on its way out, and stays so for
    long."""
    with running(api, python(STUBBORN), grace=600) as cluster:
        client = cluster.client()
        connected = cluster.spawn()
        client.terminate(connected)
        cluster.backend(connected).wait("terminating")
        backend: Any = {"answer": connected, "id": connected.backend_id,
                        "url": connected.status_url}[by]
        with pytest.raises(BackendTerminated) as caught:
            client.wait_until_ready(backend, timeout=LONG)
        assert caught.value.state.status == "terminating" == cluster.backend(connected).status


def test_a_terminated_backend_is_never_ready(cluster: Cluster) -> None:
    connected = cluster.spawn()
    cluster.client().terminate(connected, hard=True)
    cluster.backend(connected).wait("terminated")
    with pytest.raises(BackendTerminated) as caught:
        cluster.client().wait_until_ready(connected, timeout=LONG)
    # The replay tells of both
    assert caught.value.state.status in ("hard-terminating", "terminated")
    assert caught.value.state.termination_reason == "external"


@pytest.mark.parametrize("status", ENDING)
def test_an_answer_that_is_over_ends_the_wait(api: Api, status: str) -> None:
    """A held key may answer with the state of a backend that is about to end."""
    with Server(api.channels([api.streamed("ready"), Silence()],
                             api.told("terminating"))) as server:
        connected = api.connected(server.url, status=status)
        with pytest.raises(BackendTerminated) as caught:
            api.client(server.url).wait_until_ready(connected, timeout=LONG)
        assert caught.value.state.status in ENDING


def test_an_answer_that_says_ready_is_not_enough(api: Api) -> None:
    """The platform has to say so after the call began."""
    end = api.state("terminated", exit_error=True)
    with Server(api.channels([stream_head(), event(api.state("ready")), event(end), Silence()],
                             [answer(end)])) as server:
        with pytest.raises(BackendTerminated):
            api.client(server.url).wait_until_ready(api.connected(server.url, status="ready"),
                                                    timeout=LONG)


@pytest.mark.waits
@pytest.mark.parametrize("pause", [0.0, 0.05, 0.2])
def test_a_replayed_ready_waits_for_what_follows(api: Api, pause: float) -> None:
    """Whether the end follows at once or a little later, while the status call says nothing."""
    steps: List[Step] = [api.streamed("ready"), Pause(pause), api.events("terminating"), Silence()]
    with Server(api.channels(steps, [Silence()])) as server:
        with pytest.raises(BackendTerminated):
            api.client(server.url).wait_until_ready(ID, timeout=LONG)


def test_the_status_call_decides_on_a_replayed_ready(api: Api) -> None:
    state = api.state("hard-terminating", termination_reason="lost")
    with Server(api.channels([stream_head(), event(api.state("ready")), Silence()],
                             [answer(state)])) as server:
        with pytest.raises(BackendTerminated) as caught:
            api.client(server.url).wait_until_ready(ID, timeout=LONG)
        assert caught.value.state == BackendState("hard-terminating", TIME, "lost")


def test_a_backend_that_has_ended_ends_a_wait(api: Api) -> None:
    """On the dev server its status is 404, its stream tells the end. Nothing may hang, nothing may
    say ready."""
    with running(api) as cluster:
        connected = cluster.spawn()
        cluster.client().terminate(connected, hard=True)
        cluster.backend(connected).wait("terminated")
        with pytest.raises((BackendTerminated, HTTPError)) as caught:
            cluster.client().wait_until_ready(connected, timeout=LONG)
        assert isinstance(caught.value, BackendTerminated) or "404" in str(caught.value)


@pytest.mark.parametrize("status", ENDING)
def test_of_a_backend_that_connect_called_over_the_status_call_tells_more(status: str) -> None:
    end = state("terminated", termination_reason="lost", termination_kind="hard")
    with Server([answer(end)]) as server:
        backend = connected(server.url, status)
        error = failure(lambda: client(server.url).wait_until_ready(backend), BackendTerminated)
        assert error.state.to_dict() == end
        assert [one.target for one in server.requests] == [JAMSOCKET.status_target()]


LESS: Dict[str, Sequence[Step]] = {
    "fails": [answer(b"", 404)], "hangs up": [Close()], "tells less": told("ready")}


@pytest.mark.parametrize("weather", LESS)
@pytest.mark.parametrize("status", ENDING)
def test_where_the_status_call_tells_no_more_the_answer_to_connect_counts(status: str,
                                                                          weather: str) -> None:
    with Server(LESS[weather]) as server:
        backend = connected(server.url, status)
        error = failure(lambda: client(server.url).wait_until_ready(backend), BackendTerminated)
        assert (error.state.status, error.state.time) == (status, "")
        assert server.connections == 1


TOLD = threading.Event()
WILL_NEVER_BE: Dict[str, Scenario] = {
    "replayed, over at once": Scenario([streamed(*STATUSES), Silence()], refusing(404),
                                       BackendTerminated),
    # It says so only once the stream has told all, lest its word comes first.
    "replayed, over, and the status call still says ready": Scenario(
        [streamed(*STATUSES), TOLD.set, Silence()], [Wait(TOLD), *told("ready")],
        BackendTerminated, 0.9),
    "replayed, terminating": Scenario([streamed(*STATUSES[:6]), Silence()], HANGS,
                                      BackendTerminated),
    "replayed in two parts": Scenario(
        [streamed(*STATUSES[:5]), Pause(0.3), events("terminated"), Silence()], refusing(404),
        BackendTerminated),
    "replayed in many parts": Scenario(
        [stream_head(), Dribble(events("scheduled", "ready", "terminated"), 0.003), Silence()],
        refusing(404),
        BackendTerminated),
    "replayed, cut after ready": Scenario(
        in_turn([streamed(*STATUSES[:5])], [streamed(*STATUSES[:5])],
                [streamed(*STATUSES), Silence()]), refusing(404),
        BackendTerminated),
    "replayed, cut after ready, nothing else works": Scenario(
        in_turn([streamed(*STATUSES[:5])], [streamed(*STATUSES[:5])],
                [streamed(*STATUSES), Silence()]), FAILS, BackendTerminated),
    "replayed, the end held back": Scenario([streamed(*STATUSES[:5]), Silence()],
                                            told("terminating"), BackendTerminated),
    "replayed, the end held back, hard": Scenario([streamed(*STATUSES[:5]), Silence()],
                                                  told("hard-terminating"), BackendTerminated),
    "replayed, in one piece with a cut chunk": Scenario(
        [stream_head(True) + chunk(events(*STATUSES)) + b"ffff\r\n"], refusing(404),
        BackendTerminated),
    "the status call says terminated": Scenario(HANGS, told("terminated"), BackendTerminated),
    "connect said ready, it is not": Scenario(HANGS, told("terminating"), BackendTerminated,
                                              known="ready"),
    "connect said ready, it is over": Scenario([streamed(*STATUSES), Silence()], refusing(404),
                                               BackendTerminated, known="ready"),
    "a startup timeout": Scenario([streamed("waiting"), events("hard-terminating"), Silence()],
                                  HANGS, BackendTerminated),
    "a crash": Scenario([streamed("loading") + event(state("terminated", exit_error=True)),
                         Silence()], HANGS,
                        BackendTerminated),
    "a reason from the future": Scenario(
        [streamed("loading") + event(state("terminating", termination_reason="meteor",
                                           termination_kind="gentle"))
         + events("ready"), Silence()], HANGS, BackendTerminated),
    "no reason at all": Scenario([streamed("loading")
                                  + b'data:{"status":"terminating","time":1}\n\n', Silence()],
                                 HANGS, BackendTerminated),
}


@pytest.mark.waits
@pytest.mark.parametrize("name", WILL_NEVER_BE)
def test_a_wait_never_returns_a_ready_that_is_over(name: str) -> None:
    outcome = check("wait", name, WILL_NEVER_BE[name])
    assert outcome.result.state.status in ENDING
    assert outcome.seen[-1:] in ([outcome.result.state.status], [])
