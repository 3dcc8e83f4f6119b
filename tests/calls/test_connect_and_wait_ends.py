"""How `connect_and_wait` ends other than well: its deadline, what its errors carry; and what
`on_status` is told meanwhile."""

import pickle
import signal
import threading
from typing import Any, Callable, Dict, List, Sequence, Tuple

import pytest

from jamsocket_lite import (AuthenticationError, BackendState, BackendTerminated,
                            ConfigurationError, ConnectResponse, HTTPError, JamsocketTimeout,
                            RateLimitError, ValidationError)
from kit.answers import answer
from kit.backends import DEAF, STUBBORN, python
from kit.deadlines import LONG, against, keeps_deadline, patiently
from kit.platforms import JAMSOCKET, LIFE, Api, running, statuses
from kit.secrets import failure
from kit.server import Request, Script, Server
from kit.shell import run, towards
from kit.steps import Pause, Silence, Step, Wait
from kit.turns import KEY, connects, document, dying, fails, held, spawned, telling

WAITING = spawned(stream=LIFE[:4], status="waiting")  # it never becomes ready


def at_its_deadline(api: Api, weather: str, script: Callable[[float], Script],
                    look: Callable[[Any], bool]) -> None:
    """The error with which the call ends then, against the script for that deadline."""
    def call(url: str, timeout: float) -> ConnectResponse:
        return api.client(url).connect_and_wait(KEY, timeout=timeout)

    def check(timeout: float) -> None:
        attempt = against(script(timeout), call, timeout)
        assert look(keeps_deadline("connect_and_wait, " + weather, attempt, timeout))

    patiently(check)


def same_after_pickling(error: Any) -> bool:
    again = pickle.loads(pickle.dumps(error))
    return type(again) is type(error) and vars(again) == vars(error) and str(again) == str(error)


# -------------------------------------------------------------------------------------------------
# All within one deadline
# -------------------------------------------------------------------------------------------------

@pytest.mark.waits
def test_its_deadline_ends_a_connect_that_hangs(api: Api) -> None:
    at_its_deadline(api, "connect hangs", lambda timeout: [Silence()],
                    lambda error: error.response is None)


@pytest.mark.waits
def test_its_deadline_ends_a_wait(api: Api) -> None:
    at_its_deadline(api, "never ready", lambda timeout: telling(api, WAITING),
                    lambda error: (error.response.backend_id, error.last_state.status)
                    == ("fresh", "waiting") and same_after_pickling(error))


@pytest.mark.waits
def test_its_deadline_ends_the_waiting_out(api: Api) -> None:
    at_its_deadline(api, "always dying", lambda timeout: telling(api, dying()),
                    lambda error: (error.response.backend_id, error.last_state.status)
                    == ("old", "terminating"))


@pytest.mark.waits
def test_what_a_slow_connect_took_is_missing_from_the_wait(api: Api) -> None:
    def slow(timeout: float) -> Script:
        script: Any = telling(api, WAITING)

        def slowly(request: Request) -> Sequence[Step]:
            steps: Sequence[Step] = script(request)
            return [Pause(timeout / 2), *steps] if request.method == "POST" else steps
        return slowly

    at_its_deadline(api, "slow connect", slow, lambda error: error.response is not None)


@pytest.mark.waits
def test_a_second_connect_has_only_what_is_left(api: Api) -> None:
    at_its_deadline(api, "second connect hangs", lambda timeout: telling(api, dying(), [Silence()]),
                    lambda error: error.response.backend_id == "old")


@pytest.mark.waits
def test_a_real_backend_that_never_listens_ends_it_at_the_deadline(api: Api) -> None:
    with running(api, python(DEAF)) as cluster:
        def check(timeout: float) -> None:
            error = failure(lambda: cluster.client().connect_and_wait(KEY, timeout=timeout),
                            JamsocketTimeout)
            assert error.response is not None
            cluster.client().terminate(error.response, hard=True)  # it can be found, and ended
            cluster.backend(error.response).wait("terminated")
        patiently(check)


@pytest.mark.waits
def test_a_real_backend_that_dies_slowly_ends_it_at_the_deadline(api: Api) -> None:
    with running(api, python(STUBBORN), grace=600) as cluster:
        old = cluster.spawn(KEY)
        cluster.client().terminate(old)
        cluster.backend(old).wait("terminating")

        def check(timeout: float) -> None:
            error = failure(lambda: cluster.client().connect_and_wait(KEY, timeout=timeout),
                            JamsocketTimeout)
            assert error.response is not None and error.response.backend_id == old.backend_id
            assert error.last_state is not None and error.last_state.status == "terminating"
        patiently(check)


@pytest.mark.waits
def test_the_clients_own_timeout_is_not_asked(api: Api) -> None:
    """That is for single calls."""
    script = telling(api, [Pause(0.6), answer(b"", 409)])
    with Server(script) as server:
        failure(lambda: api.client(server.url, timeout=0.2).connect_and_wait(KEY), HTTPError)


@pytest.mark.waits
@pytest.mark.parametrize("timeout", [None, float("inf")])
def test_it_may_have_no_deadline(api: Api, timeout: Any) -> None:
    with Server(telling(api, dying(), spawned())) as server:
        connected = api.client(server.url, timeout=0.3).connect_and_wait(KEY, timeout=timeout)
        assert connected.backend_id == "fresh"


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "1"], ids=repr)
def test_a_timeout_that_is_none_sends_nothing(api: Api, timeout: Any) -> None:
    with Server(telling(api, spawned())) as server:
        with pytest.raises((ConfigurationError, TypeError)):
            api.client(server.url).connect_and_wait(KEY, timeout=timeout)
        assert server.requests == []


# -------------------------------------------------------------------------------------------------
# An error after a connect that was answered carries the answer
# -------------------------------------------------------------------------------------------------

def refused_status(api: Api, status: int) -> Script:
    return telling(api, spawned(status=[answer(b"", status)], stream=[]))


AFTERWARDS: Dict[str, Tuple[Callable[[Api], Script], Any]] = {
    "terminated": (lambda api: telling(api, spawned(stream=["terminated"], status="terminated")),
                   BackendTerminated),
    "403": (lambda api: refused_status(api, 403), AuthenticationError),
    "400": (lambda api: refused_status(api, 400), HTTPError),
}


@pytest.mark.waits
@pytest.mark.parametrize("name", list(AFTERWARDS))
def test_an_error_of_the_wait_carries_the_answer(api: Api, name: str) -> None:
    script, kind = AFTERWARDS[name]
    with Server(script(api)) as server:
        error = failure(lambda: api.client(server.url).connect_and_wait(KEY, timeout=LONG), kind)
        expected = document(api, server.url, spawned())
        assert error.response == ConnectResponse.from_dict(expected, strict=False)


@pytest.mark.waits
@pytest.mark.parametrize("name", list(AFTERWARDS))
def test_an_error_pickles_with_the_answer(api: Api, name: str) -> None:
    script, kind = AFTERWARDS[name]
    error, _ = fails(api, script(api), kind)
    assert error.response is not None and same_after_pickling(error)


def test_an_error_of_the_connect_itself_carries_none(api: Api) -> None:
    error, _ = fails(api, [answer(b"", 429, [("Retry-After", "7")])], RateLimitError)
    assert (error.response, error.retry_after) == (None, 7.0)


def test_a_request_that_is_refused_here_carries_none_and_sends_nothing(api: Api) -> None:
    with Server(telling(api, spawned())) as server:
        error = failure(lambda: api.client(server.url).connect_and_wait({"key": ""}),
                        ValidationError)
        assert (error.response, error.path, server.requests) == (None, "key", [])


@pytest.mark.parametrize("call", ["connect", "wait_until_ready", "status"])
def test_an_error_of_another_call_carries_none(api: Api, call: str) -> None:
    with Server([answer(b"", 400)]) as server:
        client = api.client(server.url)
        argument: Any = KEY if call == "connect" else "b"
        assert failure(lambda: getattr(client, call)(argument), HTTPError).response is None


def test_the_command_lines_error_names_the_backend() -> None:
    script = telling(JAMSOCKET, spawned(stream=["terminated"], status="terminated"))
    with Server(script) as server:
        done = run("connect", "--wait", "--key", "room", env=towards(server))
        assert (done.status, done.out) == (5, b"")
        assert "fresh" in done.errors.splitlines()[-1]


def test_the_command_line_waits_out_a_dying_backend() -> None:
    with Server(telling(JAMSOCKET, dying(), spawned())) as server:
        done = run("connect", "--wait", "--key", "room", env=towards(server))
        assert done.status == 0 and b'"fresh"' in done.out


# -------------------------------------------------------------------------------------------------
# on_status
# -------------------------------------------------------------------------------------------------

def told(api: Api, *turns: Any) -> List[str]:
    seen: List[BackendState] = []
    with Server(telling(api, *turns)) as server:
        api.client(server.url).connect_and_wait(KEY, timeout=LONG, on_status=seen.append)
    return statuses(seen)


def in_order(seen: List[str], life: List[str]) -> bool:
    return seen == [status for status in life if status in seen]


def test_on_status_sees_the_states_up_to_ready(api: Api) -> None:
    seen = told(api, spawned())
    assert seen[-1] == "ready" and in_order(seen, LIFE)


def test_on_status_sees_the_states_of_each_backend_in_turn(api: Api) -> None:
    life = [*LIFE, "terminating", "terminated"]
    old = held("waiting", stream=life, status="terminated")
    seen = told(api, old, spawned())
    end = seen.index("terminated") + 1
    assert in_order(seen[:end], life)
    assert seen[end:] and seen[-1] == "ready" and in_order(seen[end:], LIFE)


@pytest.mark.waits
def test_on_status_sees_each_state_of_a_backend_once_however_often_it_is_met(api: Api) -> None:
    seen: List[BackendState] = []
    heard = threading.Event()

    def on_status(state: BackendState) -> None:
        seen.append(state)
        if state.is_ready:
            heard.set()

    # Its status call says nothing before its stream was heard, however late that is.
    fresh = spawned(status=[Wait(heard), *api.told("ready")])
    with Server(telling(api, dying(), dying(), dying(), fresh)) as server:
        api.client(server.url).connect_and_wait(KEY, timeout=LONG, on_status=on_status)
    assert statuses(seen) == ["terminating", *LIFE]


def test_on_status_sees_both_lives_of_real_backends(api: Api) -> None:
    with running(api, python(STUBBORN), grace=1.0) as cluster:
        old = cluster.spawn(KEY)
        cluster.client().terminate(old)
        cluster.backend(old).wait("terminating")
        seen: List[BackendState] = []
        cluster.client().connect_and_wait(KEY, timeout=LONG, on_status=seen.append)
        names = statuses(seen)
        assert names[-1] == "ready"
        assert "ready" not in names[:-1] or "terminating" in names


def test_what_on_status_raises_comes_out_as_it_is(api: Api) -> None:
    class Mine(Exception):
        pass

    def refuse(state: BackendState) -> None:
        raise Mine

    with Server(telling(api, spawned())) as server:
        with pytest.raises(Mine):
            api.client(server.url).connect_and_wait(KEY, timeout=LONG, on_status=refuse)
        assert len(connects(api, server)) == 1


def test_a_signal_handlers_exception_comes_out_of_a_pause_at_once(api: Api) -> None:
    class JobLimit(Exception):
        pass

    def limit(*_: object) -> None:
        raise JobLimit

    before = signal.signal(signal.SIGALRM, limit)
    try:
        with Server(telling(api, dying())) as server:
            with pytest.raises(JobLimit):
                signal.setitimer(signal.ITIMER_REAL, 1.0)  # nearly all of the time is pauses then
                api.client(server.url).connect_and_wait(KEY, timeout=LONG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
