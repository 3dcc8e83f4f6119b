"""Waiting and watching: against the local platform with real processes, and, where it cannot behave so badly, against a
scripted one."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Callable, Dict, List, Sequence

import pytest

import jamsocket_lite
from kit.backends import CRASHING, DEAF, Gate, STUBBORN, python
from kit.deadlines import LONG
from kit.platforms import APIS, Api, Cluster, ID, LIFE, STATUSES, TIME, running, statuses
from kit.threads import for_each
from jamsocket_lite import (AuthenticationError, BackendState, BackendTerminated, HTTPError, JamsocketError,
                            JamsocketTimeout)
from kit.server import Pause, Request, Server, Silence, Step, answer, closed_port, event, stream_head

pytestmark = pytest.mark.usefixtures("nothing_left")


def in_order(seen: Sequence[BackendState]) -> List[str]:
    """Their statuses, which must be each one once and in the lifecycle's order."""
    found = statuses(seen)
    ranks = [STATUSES.index(status) for status in found]
    assert ranks == sorted(set(ranks))
    return found


def each_rule(*rules: Callable[[Api], None]) -> None:
    """Checks these with either platform, all at once: they mostly wait."""
    for_each(lambda row: row[0](row[1]), [(rule, api) for rule in rules for api in APIS.values()])


# ---------------------------------------------------------------------------------------------------------------------
# Ready
# ---------------------------------------------------------------------------------------------------------------------

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

        future = pool.submit(cluster.client().wait_until_ready, connected, timeout=LONG, on_status=on_status)
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
        assert in_order(seen)[-2:] == ["waiting", "ready"] and set(statuses(seen)) <= set(LIFE)
        assert seen[-1] == ready


def test_a_wait_for_what_is_ready_already_is_short(cluster: Cluster) -> None:
    connected = cluster.spawn({"key": "room"})
    again = cluster.client().connect({"key": "room"})
    for backend in (connected, again, connected.backend_id, connected.status_url):
        start = time.monotonic()
        assert cluster.client().wait_until_ready(backend, timeout=LONG).is_ready
        assert time.monotonic() - start < 3.0


def test_a_wait_returns_with_the_ready_event(api: Api) -> None:
    """Within 50 ms; the best of some, for the machine has other things to do."""
    moments: Dict[str, float] = {}

    def log(line: str) -> None:
        words = line.split()
        if words[-1] == "ready":
            moments[words[1].strip(":")] = time.monotonic()

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
    assert min(late) < 0.05 and max(late) < 1.5, late


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


# ---------------------------------------------------------------------------------------------------------------------
# Never ready
# ---------------------------------------------------------------------------------------------------------------------

def test_a_crash_before_ready_ends_the_wait_at_once(api: Api) -> None:
    with running(api, python(CRASHING)) as cluster:
        seen: List[BackendState] = []
        connected = cluster.client().connect()
        with pytest.raises(BackendTerminated) as caught:
            cluster.client().wait_until_ready(connected, timeout=LONG, on_status=seen.append)
        assert (caught.value.state.status, caught.value.state.exit_error) == ("terminated", True)
        assert in_order(seen)[-1] == "terminated" and seen[-1] == caught.value.state


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
    """The stream begins with `ready`, though the backend is on its way out, and stays so for long."""
    with running(api, python(STUBBORN), grace=600) as cluster:
        client = cluster.client()
        connected = cluster.spawn()
        client.terminate(connected)
        cluster.backend(connected).wait("terminating")
        backend: Any = {"answer": connected, "id": connected.backend_id, "url": connected.status_url}[by]
        with pytest.raises(BackendTerminated) as caught:
            client.wait_until_ready(backend, timeout=LONG)
        assert caught.value.state.status == "terminating" == cluster.backend(connected).status


def test_a_terminated_backend_is_never_ready(cluster: Cluster) -> None:
    connected = cluster.spawn()
    cluster.client().terminate(connected, hard=True)
    cluster.backend(connected).wait("terminated")
    with pytest.raises(BackendTerminated) as caught:
        cluster.client().wait_until_ready(connected, timeout=LONG)
    assert caught.value.state.status in ("hard-terminating", "terminated")  # the replay tells of both
    assert caught.value.state.termination_reason == "external"


def test_an_answer_that_is_over_ends_the_wait(api: Api) -> None:
    """A held key may answer with the state of a backend that is about to end."""
    with Server(api.channels([stream_head(), event(api.state("ready")), Silence()],
                             [answer(api.state("terminating", termination_reason="swept"))])) as server:
        for status in ("terminating", "hard-terminating", "terminated"):
            with pytest.raises(BackendTerminated) as caught:
                api.client(server.url).wait_until_ready(api.connected(server.url, status=status), timeout=LONG)
            assert caught.value.state.status in ("terminating", "hard-terminating", "terminated")


def test_an_answer_that_says_ready_is_not_enough(api: Api) -> None:
    """The platform has to say so after the call began."""
    end = api.state("terminated", exit_error=True)
    with Server(api.channels([stream_head(), event(api.state("ready")), event(end), Silence()], [answer(end)])) as server:
        with pytest.raises(BackendTerminated):
            api.client(server.url).wait_until_ready(api.connected(server.url, status="ready"), timeout=LONG)


def test_a_replayed_ready_waits_for_what_follows(api: Api) -> None:
    """Whether the end follows at once or a little later, while the status call says nothing."""
    def check(pause: float) -> None:
        steps: List[Step] = [stream_head(), event(api.state("ready")), Pause(pause),
                             event(api.state("terminating", termination_reason="swept")), Silence()]
        with Server(api.channels(steps, [Silence()])) as server:
            with pytest.raises(BackendTerminated):
                api.client(server.url).wait_until_ready(ID, timeout=LONG)

    for_each(check, [0.0, 0.05, 0.2])


def test_the_status_call_decides_on_a_replayed_ready(api: Api) -> None:
    state = api.state("hard-terminating", termination_reason="lost")
    with Server(api.channels([stream_head(), event(api.state("ready")), Silence()], [answer(state)])) as server:
        with pytest.raises(BackendTerminated) as caught:
            api.client(server.url).wait_until_ready(ID, timeout=LONG)
        assert caught.value.state == BackendState("hard-terminating", TIME, "lost")


def test_states_from_the_future_do_not_end_a_wait(api: Api) -> None:
    told = [api.state("dreaming"), api.state("waiting", termination_reason="bored"), api.state("ready")]
    seen: List[BackendState] = []
    stream: List[Step] = [stream_head(), *map(event, told), Silence()]
    with Server(api.channels(stream, [answer(told[-1])])) as server:
        assert api.client(server.url).wait_until_ready(ID, timeout=LONG, on_status=seen.append).is_ready
    assert statuses(seen)[-1] == "ready" and len(set(statuses(seen))) == len(seen)


# ---------------------------------------------------------------------------------------------------------------------
# Deadlines
# ---------------------------------------------------------------------------------------------------------------------

def a_deadline_tells_what_was_seen_last(api: Api) -> None:
    with running(api, python(DEAF)) as cluster:
        client = cluster.client()
        connected = cluster.spawn(until="waiting")
        calls: List[Callable[[], Any]] = [
            lambda: client.wait_until_ready(connected, timeout=0.3),
            lambda: jamsocket_lite.wait_until_ready(connected.status_url, timeout=0.3),
            lambda: list(client.status_stream(connected, timeout=0.3))]

        def check(call: Callable[[], Any]) -> None:
            start = time.monotonic()
            with pytest.raises(JamsocketTimeout) as caught:
                call()
            assert 0.29 <= time.monotonic() - start < 2.0
            assert caught.value.last_state == client.status(connected)
            assert "waiting" in str(caught.value)

        for_each(check, calls)


def a_deadline_without_any_word_tells_of_none(api: Api) -> None:
    with Server([Silence()]) as server:
        def check(call: Callable[[], Any]) -> None:
            with pytest.raises(JamsocketTimeout) as caught:
                call()
            assert caught.value.last_state is None

        client = api.client(server.url)
        for_each(check, [lambda: client.wait_until_ready(ID, timeout=0.2),
                         lambda: list(client.status_stream(ID, timeout=0.2))])


def a_deadline_holds_while_states_go_on(api: Api) -> None:
    """Words that never end must not keep a wait alive."""
    steps: List[Step] = [stream_head()]
    for number in range(2000):
        steps += [event(api.state("word-%d" % number)), Pause(0.005)]
    with Server(api.channels(steps)) as server:
        def check(call: Callable[[], Any]) -> None:
            start = time.monotonic()
            with pytest.raises(JamsocketTimeout):
                call()
            assert time.monotonic() - start < 2.0

        client = api.client(server.url)
        for_each(check, [lambda: client.wait_until_ready(ID, timeout=0.3),
                         lambda: list(client.status_stream(ID, timeout=0.3))])


def the_deadline_of_a_stream_counts_from_the_call(api: Api) -> None:
    with running(api, python(DEAF)) as cluster:
        stream = cluster.client().status_stream(cluster.spawn(until="waiting"), timeout=0.3)
        with closing(stream):
            assert next(stream).status == "scheduled"
            time.sleep(0.35)  # the deadline passes in the user's own time
            start = time.monotonic()
            with pytest.raises(JamsocketTimeout):
                list(stream)
            assert time.monotonic() - start < 2.0


def nobody_there_is_waited_out_until_the_deadline(api: Api) -> None:
    client = api.client("http://127.0.0.1:%d" % closed_port())

    def check(call: Callable[[], Any]) -> None:
        with pytest.raises(JamsocketTimeout):
            call()

    for_each(check, [lambda: client.wait_until_ready(ID, timeout=0.3),
                     lambda: list(client.status_stream(ID, timeout=0.3))])


def test_a_deadline_holds_and_tells_what_was_seen() -> None:
    each_rule(a_deadline_tells_what_was_seen_last, a_deadline_without_any_word_tells_of_none,
              a_deadline_holds_while_states_go_on, the_deadline_of_a_stream_counts_from_the_call,
              nobody_there_is_waited_out_until_the_deadline)


def test_no_deadline_is_none_or_infinite(api: Api) -> None:
    with Gate() as gate, running(api, gate.command) as cluster:
        def on_status(state: BackendState) -> None:
            if state.status == "waiting":
                gate.open()

        client = cluster.client(timeout=0.001)  # the client's is not a wait's
        for timeout in (None, math.inf):
            connected = cluster.client().connect()
            assert client.wait_until_ready(connected, timeout=timeout, on_status=on_status).is_ready


# ---------------------------------------------------------------------------------------------------------------------
# What passes by itself, and what does not
# ---------------------------------------------------------------------------------------------------------------------

def flaky(api: Api, trouble: Sequence[Step], times: int = 2) -> Callable[[Request], Sequence[Step]]:
    """A script whose first answers are trouble, then all is well."""
    left = {api.status_target(): times, api.stream_target(): times}

    def script(request: Request) -> Sequence[Step]:
        left[request.target] -= 1
        if left[request.target] >= 0:
            return trouble
        if request.target == api.status_target():
            return [answer(api.state("ready"))]
        return [stream_head(), event(api.state("ready")), Silence()]

    return script


PASSING: Dict[str, Sequence[Step]] = {
    "closed at once": [],
    "cut head": [b"HTTP/1.1 200 OK\r\nContent-"],
    "empty stream": [stream_head()],
    "500": [answer(b"", 500)], "502": [answer(b"<html>", 502)], "503": [answer(b"", 503)], "504": [answer(b"", 504)],
    "429": [answer(b"", 429)], "429 for a moment": [answer(b"", 429, [("Retry-After", "0.1")])],
    "404 of a newborn": [answer(b"", 404)],
}


def test_a_wait_and_a_stream_go_on_through_what_passes(api: Api) -> None:
    def check(row: Any) -> None:
        trouble, waits = row
        with Server(flaky(api, PASSING[trouble])) as server:
            client = api.client(server.url)
            if waits:
                assert client.wait_until_ready(ID, timeout=LONG).is_ready
            else:
                with closing(client.status_stream(ID, timeout=LONG)) as stream:
                    assert next(stream).is_ready
            assert server.wait_closed(LONG)

    for_each(check, [(trouble, waits) for trouble in PASSING for waits in (True, False)])


LASTING: Dict[str, Sequence[Step]] = {
    "401": [answer(b"", 401)], "403": [answer(b"", 403)], "400": [answer(b"", 400)], "410": [answer(b"", 410)],
    "redirect": [answer(b"", 302, [("Location", "/")])], "308": [answer(b"", 308, [("Location", "http://h.test/")])],
}


def test_what_will_not_pass_ends_them_at_once(api: Api) -> None:
    def check(row: Any) -> None:
        trouble, waits = row
        with Server(LASTING[trouble]) as server:
            client, start = api.client(server.url), time.monotonic()
            with pytest.raises(JamsocketError) as caught:
                if waits:
                    client.wait_until_ready(ID, timeout=LONG)
                else:
                    list(client.status_stream(ID, timeout=LONG))
            assert not isinstance(caught.value, JamsocketTimeout) and time.monotonic() - start < 5.0
            if trouble in ("401", "403"):
                assert isinstance(caught.value, AuthenticationError)
            elif trouble.isdigit() and trouble < "5" and trouble != "308":
                assert isinstance(caught.value, HTTPError) and str(caught.value.status) == trouble
            assert server.wait_closed(LONG)

    for_each(check, [(trouble, waits) for trouble in LASTING for waits in (True, False)])


# ---------------------------------------------------------------------------------------------------------------------
# Sockets, and what on_status raises
# ---------------------------------------------------------------------------------------------------------------------

class Mine(Exception):
    """The caller's own."""


@pytest.mark.parametrize("error", [Mine("x"), KeyboardInterrupt(), OSError(5, "x"), TimeoutError(), StopIteration(),
                                   GeneratorExit(), JamsocketTimeout("x")], ids=lambda error: type(error).__name__)
def test_what_on_status_raises_comes_out_and_frees_the_socket(api: Api, error: BaseException) -> None:
    def on_status(state: BackendState) -> None:
        raise error

    with Server(api.channels([stream_head(), event(api.state("loading")), Silence()])) as server:
        with pytest.raises(type(error)) as caught:
            api.client(server.url).wait_until_ready(ID, timeout=LONG, on_status=on_status)
        assert caught.value is error
        assert server.wait_closed(LONG)


def test_on_status_is_a_function(api: Api) -> None:
    with Server() as server:
        with pytest.raises(TypeError):
            api.client(server.url).wait_until_ready(ID, on_status="print")  # type: ignore[arg-type]
        assert server.connections == 0


def leave_by_break(stream: Any) -> None:
    for _ in stream:
        break


ENDS: Dict[str, Callable[[Any], Any]] = {
    "close": lambda stream: (next(stream), stream.close()),
    "break": leave_by_break,
    "throw": lambda stream: (next(stream), pytest.raises(Mine, stream.throw, Mine())),
    "never begun": lambda stream: stream.close(),
}


@pytest.mark.parametrize("way", list(ENDS))
def test_leaving_a_stream_frees_its_socket_at_once(api: Api, way: str) -> None:
    with Server(api.channels([stream_head(), event(api.state("loading")), Silence()])) as server:
        stream = api.client(server.url).status_stream(ID)
        ENDS[way](stream)
        del stream
        assert server.wait_closed(LONG) and server.open_connections == 0
        assert server.connections == (0 if way == "never begun" else server.connections)


def test_a_real_stream_that_is_left_is_gone_on_the_platform(cluster: Cluster) -> None:
    connected = cluster.spawn()
    stream = cluster.client().status_stream(connected)
    assert [next(stream).status for _ in LIFE] == LIFE
    threads = threading.active_count()
    stream.close()
    end = time.monotonic() + LONG
    while threading.active_count() > threads - 2 and time.monotonic() < end:
        time.sleep(0.01)  # the platform serves a stream by two threads of its own
    assert threading.active_count() <= threads - 2


READY = {"status": "ready", "time": TIME}


@pytest.mark.parametrize("steps, status, timeout", [
    ([stream_head(), event(READY), Silence()], [answer(READY)], LONG),
    ([stream_head(), event({"status": "terminated", "time": TIME}), Silence()], [Silence()], LONG),
    ([stream_head(), Silence()], [Silence()], 0.3),
    ([answer(b"", 401)], [answer(b"", 401)], LONG),
], ids=["ready", "terminated", "deadline", "refused"])
def test_a_wait_leaves_no_socket_however_it_ends(api: Api, steps: Sequence[Step], status: Sequence[Step],
                                                 timeout: float) -> None:
    with Server(api.channels(steps, status or None)) as server:
        try:
            api.client(server.url).wait_until_ready(ID, timeout=timeout)
        except JamsocketError:
            pass
        assert server.wait_closed(LONG)


# ---------------------------------------------------------------------------------------------------------------------
# The stream of a real backend
# ---------------------------------------------------------------------------------------------------------------------

def test_a_stream_tells_a_whole_life(cluster: Cluster) -> None:
    client, seen = cluster.client(), []  # type: Any, List[BackendState]
    connected = client.connect()
    for state in client.status_stream(connected, timeout=LONG):
        seen.append(state)
        if state.is_ready:
            client.terminate(connected)
    assert in_order(seen) == cluster.statuses(connected)
    assert seen[0].status == "scheduled" and seen[-1].is_terminated
    assert (seen[-1].termination_reason, seen[-1].termination_kind) == ("external", "soft")
    assert all(state.time.endswith("Z") and "T" in state.time for state in seen)


def test_a_stream_that_is_opened_late_begins_with_the_states_so_far(cluster: Cluster) -> None:
    connected = cluster.spawn()
    with closing(cluster.client().status_stream(connected, timeout=LONG)) as stream:
        assert [next(stream).status for _ in LIFE] == LIFE
    cluster.client().terminate(connected, hard=True)
    cluster.backend(connected).wait("terminated")
    whole = statuses(list(cluster.client().status_stream(connected, timeout=LONG)))
    assert whole == cluster.statuses(connected) and whole[-1] == "terminated"


def test_a_backend_that_has_ended_ends_a_wait(api: Api) -> None:
    """On the dev server its status is 404, its stream tells the end. Nothing may hang, nothing may say ready."""
    with running(api) as cluster:
        connected = cluster.spawn()
        cluster.client().terminate(connected, hard=True)
        cluster.backend(connected).wait("terminated")
        with pytest.raises((BackendTerminated, HTTPError)) as caught:
            cluster.client().wait_until_ready(connected, timeout=LONG)
        assert isinstance(caught.value, BackendTerminated) or "404" in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# What takes its time: all at once
# ---------------------------------------------------------------------------------------------------------------------

def a_404_is_believed_after_two_seconds(api: Api, call: Callable[[Any], Any]) -> None:
    """Until then it may be a backend about to exist."""
    with Server([answer(b"", 404)]) as server:
        start = time.monotonic()
        with pytest.raises(HTTPError) as caught:
            call(api.client(server.url))
        assert caught.value.status == 404 and 1.9 < time.monotonic() - start < 10.0


def a_wait_believes_a_late_404(api: Api) -> None:
    a_404_is_believed_after_two_seconds(api, lambda client: client.wait_until_ready(ID, timeout=LONG))


def a_stream_believes_a_late_404(api: Api) -> None:
    a_404_is_believed_after_two_seconds(api, lambda client: list(client.status_stream(ID, timeout=LONG)))


def a_retry_after_is_respected(api: Api) -> None:
    """By neither of a wait's two ways does a request come sooner."""
    with Server(flaky(api, [answer(b"", 429, [("Retry-After", "0.8")])], times=1)) as server:
        assert api.client(server.url).wait_until_ready(ID, timeout=LONG).is_ready
        for target in (api.status_target(), api.stream_target()):
            times = [request.at for request in server.requests if request.target == target]
            assert len(times) < 2 or times[1] - times[0] >= 0.79


def a_retry_after_is_respected_whatever_the_stream_tells(api: Api) -> None:
    """A replayed `ready` is a reason to ask for the status, but not sooner than the platform allowed."""
    ready = event(api.state("ready"))
    stream: List[Step] = [stream_head(), ready, Pause(0.2), ready, Pause(0.2), ready, Silence()]
    with Server(api.channels(stream, [answer(b"", 429, [("Retry-After", "0.8")])])) as server:
        try:
            api.client(server.url).wait_until_ready(ID, timeout=3)
        except JamsocketTimeout:
            pass  # the status was never told, so either will do
        times = [request.at for request in server.requests if request.target == api.status_target()]
        assert all(later - sooner >= 0.79 for sooner, later in zip(times, times[1:]))


def a_wait_costs_few_requests(api: Api) -> None:
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


def silence_is_not_death(api: Api) -> None:
    """Neither the dev server's nor that of Plane, which sends comments: a stream that is idle goes on."""
    with running(api, keep_alive=0.05) as cluster:
        connected = cluster.spawn()
        with closing(cluster.client().status_stream(connected, timeout=LONG)) as stream:
            assert [next(stream).status for _ in LIFE] == LIFE
            timer = threading.Timer(1.5, cluster.client().terminate, [connected])
            timer.start()
            assert next(stream).status == "terminating"
            timer.join()
            assert len([one for one in cluster.platform.requests if one.path.endswith("stream")]) == 1


def test_rules_that_take_their_time() -> None:
    each_rule(a_wait_believes_a_late_404, a_stream_believes_a_late_404, a_retry_after_is_respected,
              a_retry_after_is_respected_whatever_the_stream_tells, a_wait_costs_few_requests, silence_is_not_death)
