"""The errors of the contract: what each is, what it carries, and that both survive pickling,
copying and processes."""

import copy
import multiprocessing
import pickle
import re
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

import pytest

import jamsocket_lite
from jamsocket_lite import (AuthenticationError, BackendState, BackendTerminated,
                            ConfigurationError, ConnectRequest, HTTPError, Jamsocket,
                            JamsocketError, JamsocketTimeout, NetworkError, ProtocolError,
                            RateLimitError, ValidationError, wait_until_ready)
from kit.server import Server, Silence, answer, closed_port, event, stream_head

STATE = BackendState("terminating", "2026-11-23T22:46:13.368Z", "swept", "soft")
STRANGE = BackendState.from_dict({"status": "sleeping", "time": "", "exit_error": True},
                                 strict=False)
HTTP = {"status": 418, "code": "TEAPOT", "request_id": "req-1", "retry_after": 1.5}

# Each class: its bases, and what it carries.
TABLE: List[Tuple[Type[JamsocketError], Tuple[type, ...], Dict[str, Any]]] = [
    (JamsocketError, (Exception,), {}),
    (ValidationError, (JamsocketError, ValueError), {"path": "spawn.executable.env.PATH"}),
    (ConfigurationError, (JamsocketError, ValueError), {}),
    (NetworkError, (JamsocketError, OSError), {}),
    (ProtocolError, (JamsocketError,), {}),
    (HTTPError, (JamsocketError,), HTTP),
    (AuthenticationError, (HTTPError,), HTTP),
    (RateLimitError, (HTTPError,), HTTP),
    (JamsocketTimeout, (JamsocketError, TimeoutError), {"last_state": STATE}),
    (BackendTerminated, (JamsocketError,), {"state": STATE}),
]
NAMES = [kind.__name__ for kind, _, _ in TABLE]
each_error = pytest.mark.parametrize("kind, bases, carried", TABLE, ids=NAMES)

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
each_way = pytest.mark.parametrize("duplicate", [
    *[(lambda error, n=protocol: pickle.loads(pickle.dumps(error, n))) for protocol in PROTOCOLS],
    copy.copy, copy.deepcopy,
], ids=["pickle-%d" % n for n in PROTOCOLS] + ["copy", "deepcopy"])

MESSAGE = "what happened, in a line"


def assert_same(one: Any, other: Any) -> None:
    """Two errors that say and carry the same."""
    assert type(one) is type(other) and one is not other
    assert (str(one), repr(one), one.args) == (str(other), repr(other), other.args)
    for kind, _, carried in TABLE:
        if isinstance(one, kind):
            assert [getattr(one, name, "-") for name in carried] == [getattr(other, name, "-")
                                                                     for name in carried]


# -------------------------------------------------------------------------------------------------
# The classes
# -------------------------------------------------------------------------------------------------

def test_the_module_exports_every_error_of_the_table_and_no_other() -> None:
    exported = [getattr(jamsocket_lite, name) for name in jamsocket_lite.__all__]
    assert {one for one in exported if isinstance(one, type)
            and issubclass(one, BaseException)} == {
        kind for kind, _, _ in TABLE}


@each_error
def test_an_error_has_the_contracts_bases(kind: Type[JamsocketError], bases: Tuple[type, ...],
                                          carried: Dict[str, Any]) -> None:
    assert kind.__bases__ == bases


@each_error
def test_an_error_carries_what_the_contract_says(kind: Type[JamsocketError],
                                                 bases: Tuple[type, ...],
                                                 carried: Dict[str, Any]) -> None:
    error = kind(MESSAGE, **carried)
    assert str(error) == MESSAGE
    assert {name: getattr(error, name) for name in carried} == carried


@each_error
def test_a_message_alone_makes_an_error(kind: Type[JamsocketError], bases: Tuple[type, ...],
                                        carried: Dict[str, Any]) -> None:
    """Those who test their own programs want to raise them."""
    error: Any = kind(MESSAGE)
    assert str(error) == MESSAGE
    if kind is ValidationError:
        assert error.path == ""
    if issubclass(kind, HTTPError):
        assert type(error.status) is int
        assert (error.code, error.request_id, error.retry_after) == (None, None, None)
    if kind is JamsocketTimeout:
        assert error.last_state is None


@each_way
@each_error
def test_an_error_keeps_all_when_it_is_pickled_or_copied(kind: Type[JamsocketError],
                                                         bases: Tuple[type, ...],
                                                         carried: Dict[str, Any],
                                                         duplicate: Callable[[Any], Any]) -> None:
    for error in (kind(MESSAGE, **carried), kind("two\nlines ü\udc80", **carried), kind(MESSAGE),
                  kind()):
        assert_same(duplicate(error), error)


@each_way
def test_an_error_keeps_a_state_from_the_future(duplicate: Callable[[Any], Any]) -> None:
    for error in (JamsocketTimeout(MESSAGE, last_state=STRANGE),
                  BackendTerminated(MESSAGE, state=STRANGE)):
        assert_same(duplicate(error), error)


class Mine(HTTPError):
    """Of a user's."""


@each_way
def test_an_error_of_a_subclass_stays_one(duplicate: Callable[[Any], Any]) -> None:
    assert_same(duplicate(Mine(MESSAGE, **HTTP)), Mine(MESSAGE, **HTTP))


@each_way
def test_what_a_user_adds_to_an_error_stays(duplicate: Callable[[Any], Any]) -> None:
    error: Any = RateLimitError(MESSAGE, **HTTP)
    error.attempt = 3
    assert duplicate(error).attempt == 3


def raise_it(number: int) -> None:
    kind, _, carried = TABLE[number]
    raise kind(MESSAGE, **carried)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(),
                    reason="starting anew takes too long")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_an_error_passes_from_a_process_pool() -> None:
    """One that cannot be unpickled breaks the pool."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        futures = [pool.submit(raise_it, number) for number in range(len(TABLE))]
        for future, (kind, _, carried) in zip(futures, TABLE):
            caught = future.exception(timeout=20)
            assert_same(caught, kind(MESSAGE, **carried))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
def test_notes_stay() -> None:
    error: Any = HTTPError(MESSAGE, **HTTP)
    error.add_note("while it rained")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while it rained"]


# -------------------------------------------------------------------------------------------------
# Errors as they are really raised
# -------------------------------------------------------------------------------------------------

def caught(kind: Type[JamsocketError], call: Callable[[], Any]) -> Any:
    with pytest.raises(JamsocketError) as info:
        call()
    assert type(info.value) is kind, repr(info.value)
    return info.value


def client(server: Server, **options: Any) -> Jamsocket:
    return Jamsocket("acme", "board", "tests-token", api_url=server.url, timeout=5, **options)


def refused(status: int, headers: Tuple[Tuple[str, str], ...] = ()) -> Any:
    body = {"error": {"message": "no", "status": status, "code": "NO_WAY", "id": "req-7"}}
    with Server([answer(body, status, headers)]) as server:
        kind = {401: AuthenticationError, 403: AuthenticationError, 407: AuthenticationError,
                429: RateLimitError}.get(status, HTTPError)
        return caught(kind, lambda: client(server).connect())


def timed_out() -> Any:
    state = {"status": "loading", "time": "t"}

    def script(request: Any) -> Any:
        return [stream_head(), event(state),
                Silence()] if request.target.endswith("/stream") else [answer(state)]

    error: Any = None
    with Server(script) as server:
        for timeout in (0.3, 3.0, 30.0):  # a busy machine may need longer to hear of anything
            error = caught(JamsocketTimeout,
                           lambda: client(server).wait_until_ready("b1", timeout=timeout))
            if error.last_state is not None:
                break
    return error


def terminated() -> Any:
    state = {"status": "terminated", "time": "t", "termination_reason": "startuptimeout",
             "exit_error": None}

    def script(request: Any) -> Any:
        return [stream_head(),
                event(state)] if request.target.endswith("/stream") else [answer(state)]

    with Server(script) as server:
        return caught(BackendTerminated,
                      lambda: wait_until_ready(server.url + "/v2/backend/b1/status", timeout=5))


def unreachable() -> Any:
    nobody = Jamsocket("a", "s", "t", api_url="http://127.0.0.1:%d" % closed_port())
    return caught(NetworkError, lambda: nobody.status("b1"))


def not_json() -> Any:
    with Server([answer(b"<html>")]) as server:
        return caught(ProtocolError, lambda: client(server).status("b1"))


REAL: List[Tuple[str, Callable[[], Any], Dict[str, Any]]] = [
    ("ValidationError", lambda: caught(ValidationError,
                                       lambda: ConnectRequest.from_dict({"auth": {"a": [b""]}})),
     {"path": "auth.a[0]"}),
    ("ConfigurationError", lambda: caught(ConfigurationError, lambda: Jamsocket()), {}),
    ("NetworkError", unreachable, {}),
    ("ProtocolError", not_json, {}),
    ("HTTPError", lambda: refused(404), {"status": 404, "code": "NO_WAY", "request_id": "req-7",
                                         "retry_after": None}),
    ("HTTPError-503", lambda: refused(503, (("Retry-After", "7"),)),
     {"status": 503, "retry_after": 7.0}),
    ("AuthenticationError-401", lambda: refused(401), {"status": 401, "code": "NO_WAY"}),
    ("AuthenticationError-403", lambda: refused(403), {"status": 403, "request_id": "req-7"}),
    ("AuthenticationError-407", lambda: refused(407), {"status": 407}),
    ("RateLimitError", lambda: refused(429, (("Retry-After", "0.5"),)),
     {"status": 429, "code": "NO_WAY", "request_id": "req-7", "retry_after": 0.5}),
    ("JamsocketTimeout", timed_out, {"last_state": BackendState("loading", "t")}),
    ("BackendTerminated", terminated,
     {"state": BackendState("terminated", "t", "startup_timeout")}),
]


@pytest.mark.parametrize("make, carried", [row[1:] for row in REAL], ids=[row[0] for row in REAL])
def test_an_error_that_was_raised_carries_its_facts_and_keeps_them(make: Callable[[], Any],
                                                                   carried: Dict[str, Any]) -> None:
    error = make()
    assert {name: getattr(error, name) for name in carried} == carried
    for duplicate in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert_same(duplicate, error)
    lines = str(error).splitlines()
    assert len(lines) == 1 and lines[0].isprintable()


@pytest.mark.parametrize("make", [row[1] for row in REAL], ids=[row[0] for row in REAL])
def test_an_error_hides_no_foreign_one_behind_it(make: Callable[[], Any]) -> None:
    """Hosts log the whole chain; what stands there may quote anything."""
    error: Optional[BaseException] = make()
    while error is not None:
        assert isinstance(error, JamsocketError)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_the_status_and_the_servers_words_are_in_the_text() -> None:
    text = str(refused(404))
    assert "404" in text and "NO_WAY" in text and "req-7" in text
    assert re.search(r"\bno\b", text)


def test_an_error_may_be_raised_again_in_another_thread() -> None:
    error, seen = refused(404), []

    def again() -> None:
        try:
            raise copy.copy(error)
        except HTTPError as one:
            seen.append(one)

    thread = threading.Thread(target=again)
    thread.start()
    thread.join()
    assert_same(seen[0], error)


@each_error
def test_an_error_refuses_what_it_does_not_carry(kind: Type[JamsocketError],
                                                 bases: Tuple[type, ...],
                                                 carried: Dict[str, Any]) -> None:
    """A misspelt keyword must not become an attribute that nobody reads."""
    for name in ("stat", "retry-after", "codes"):
        with pytest.raises(TypeError, match="%s.*%s" % (kind.__name__, name)):
            kind(MESSAGE, **{name: 5})
