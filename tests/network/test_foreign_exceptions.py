"""What the caller's own code raises while a call waits comes out as it is and at once, in each
phase of each call.

The code is a signal handler's: the server sends the signal when the call has come so far.
"""

import http.client
import signal
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import pytest

from jamsocket_lite import BackendState
from kit.calls import CALLS, LASTING, SINGLE, Call, call_connect
from kit.certificates import Certificates
from kit.deadlines import LONG, in_time
from kit.platforms import JAMSOCKET, channels, client, connected, streamed, told
from kit.server import (DeadAddress, Pause, Request, Script, Server, Silence, Step, answer,
                        at_once, stream_head)

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal for one thread here"),
]


class JobLimit(Exception):
    """As schedulers raise it out of a handler."""


Error = Callable[[], BaseException]
ERRORS: Dict[str, Error] = {
    "a plain TimeoutError": lambda: TimeoutError("the job took too long"),
    "an exception of its own": lambda: JobLimit("after 1 s"),
}
MORE_ERRORS: Dict[str, Error] = {
    **ERRORS,
    "a TimeoutError without a word": TimeoutError,
    "a ValueError": lambda: ValueError("of the caller"),
    "a RuntimeError": lambda: RuntimeError("of the caller"),
    "an EOFError": EOFError,
    "a KeyError": lambda: KeyError("of the caller"),
    "SystemExit": SystemExit,
}
# The first is the one that is most easily taken for the network's.
each_error = pytest.mark.parametrize("error", [
    ERRORS["a plain TimeoutError"],
    pytest.param(ERRORS["an exception of its own"], marks=pytest.mark.slow)], ids=list(ERRORS))


def strike() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


class Handler:
    """Raises an error in the main thread, once, when it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.sent = 0.0  # when
        self._armed = True

    def strike(self) -> None:
        """For a step of a script."""
        if not self.sent:
            self.sent = time.monotonic()
            strike()

    def __call__(self, *_: object) -> None:
        if self._armed:
            self._armed = False
            raise self.error

    def ends(self, call: Callable[[], Any]) -> None:
        """Checks that the call ends with this very error, as soon as it is raised."""
        caught: Optional[BaseException] = None
        try:
            outcome = call()
        except BaseException as error:
            outcome, caught = None, error
        late = time.monotonic() - self.sent
        self._armed = False
        assert self.sent, "the call ended before, with %r" % (caught or outcome)
        assert caught is self.error, "not the handler's: %r" % (caught or outcome)
        assert in_time(late, 1.0, self.sent), "%.2f s late" % late


@contextmanager
def handling(error: Error) -> Iterator[Handler]:
    handler = Handler(error())
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield handler
    finally:
        signal.signal(signal.SIGUSR1, before)


PATIENCE = 20.0  # of a call; one that takes the error for the network's ends only then
WAITS = 0.03  # for the call to wait by then; were it not, the case would be the phase before
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"
HALF_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"
HALF_ERROR = b"HTTP/1.1 500 Oops\r\nContent-Length: 500\r\n\r\n{"
ANSWERS = {"headers": b"HTTP/1.1 200 OK\r\nX-Y: z\r\n", "no answer": b"", "body": HALF,
           "chunk": HALF_CHUNK, "chunk size": HALF_CHUNK[:-4], "error's body": HALF_ERROR}


def options(secure: bool, certificates: Certificates) -> Dict[str, Any]:
    return {"ssl_context": certificates.client_context()} if secure else {}


def serve(script: Script, secure: bool, certificates: Certificates) -> Server:
    return Server(script, tls=certificates.server_context() if secure else None)


each_scheme = pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
each_single = pytest.mark.parametrize("call", [pytest.param(
    call, id=name, marks=[pytest.mark.slow] if name == "terminate" else [])
    for name, call in SINGLE.items()])


# --------------------------------------------------------------------------------------------------
# Before the answer
# --------------------------------------------------------------------------------------------------

@each_error
@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
def test_a_handlers_exception_leaves_connecting(call: Call, error: Error) -> None:
    with DeadAddress() as dead, handling(error) as handler:
        timer = threading.Timer(0.1, handler.strike)

        def connect() -> Any:
            timer.start()
            return call("http://%s:%d" % dead.addresses[0], PATIENCE)

        handler.ends(connect)
        timer.join()


@pytest.mark.parametrize("error", list(ERRORS.values()), ids=list(ERRORS))
@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
def test_a_handlers_exception_leaves_a_handshake(call: Call, error: Error,
                                                 certificates: Certificates) -> None:
    """And the socket, which ssl closes for an OSError alone."""
    with handling(error) as handler:
        with Server([at_once, Pause(WAITS), handler.strike, Silence()]) as server:
            handler.ends(lambda: call("https://" + server.address, PATIENCE,
                                      **options(True, certificates)))
            assert server.wait_closed(LONG)


@each_error
@pytest.mark.parametrize("call", [call_connect, LASTING["wait"]], ids=["connect", "wait"])
def test_a_handlers_exception_leaves_a_proxy(call: Call, error: Error,
                                             certificates: Certificates,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """That has not yet answered to CONNECT."""
    with handling(error) as handler:
        with Server([Pause(WAITS), handler.strike, Silence()]) as server:
            monkeypatch.setenv("https_proxy", "http://" + server.address)
            handler.ends(lambda: call("https://api.example.test", PATIENCE,
                                      **options(True, certificates)))
            assert server.wait_closed(LONG)


@each_error
@each_scheme
def test_a_handlers_exception_leaves_sending(secure: bool, error: Error,
                                             certificates: Certificates) -> None:
    large = {"auth": {"text": "x" * (6 << 20)}}
    with handling(error) as handler:
        script: List[Step] = [at_once, Pause(0.2), handler.strike, Silence()]
        with serve(script, secure, certificates) as server:
            one = client(server.url, **options(secure, certificates))
            handler.ends(lambda: one.connect(large, timeout=PATIENCE))


# --------------------------------------------------------------------------------------------------
# In the answer
# --------------------------------------------------------------------------------------------------

@each_error
@each_scheme
@each_single
@pytest.mark.parametrize("phase", list(ANSWERS))
def test_a_handlers_exception_leaves_an_answer(phase: str, call: Call, secure: bool,
                                               error: Error,
                                               certificates: Certificates) -> None:
    with handling(error) as handler:
        script: List[Step] = [ANSWERS[phase], Pause(WAITS), handler.strike, Silence()]
        with serve(script, secure, certificates) as server:
            handler.ends(lambda: call(server.url, PATIENCE, **options(secure, certificates)))
            assert server.wait_closed(LONG)


@pytest.mark.parametrize("error", list(MORE_ERRORS.values()), ids=list(MORE_ERRORS))
@pytest.mark.parametrize("phase", ["no answer", "headers", "chunk size", "chunk"])
def test_an_exception_of_any_class_comes_out(phase: str, error: Error) -> None:
    """Also where http.client makes one of its own of it."""
    with handling(error) as handler:
        with Server([ANSWERS[phase], Pause(WAITS), handler.strike, Silence()]) as server:
            handler.ends(lambda: call_connect(server.url, PATIENCE))


# --------------------------------------------------------------------------------------------------
# In a wait and a stream
# --------------------------------------------------------------------------------------------------

Moment = Callable[[Sequence[Step]], Script]
QUIET: List[Step] = [Silence()]
REFUSED: List[Step] = [answer(b"", 403)]  # the status call comes at once then
MOMENTS: Dict[str, Moment] = {
    "before the stream's headers": lambda struck: channels([*struck, Silence()], QUIET),
    "in the stream's headers": lambda struck: channels([stream_head()[:-2], *struck, Silence()],
                                                       QUIET),
    "in the stream": lambda struck: channels([streamed("scheduled"), *struck, Silence()],
                                             told("scheduled")),
    "in an event": lambda struck: channels([streamed("scheduled") + b"data:{", *struck, Silence()],
                                       told("scheduled")),
    "in a chunk": lambda struck: channels([stream_head(True) + b"10\r\ndata", *struck, Silence()],
                                      told("scheduled")),
    "before the status call's answer": lambda struck: channels(REFUSED, [*struck, Silence()]),
    "in the status call's answer": lambda struck: channels(REFUSED, [HALF, *struck, Silence()]),
    "in a refused stream's text": lambda struck: channels([HALF_ERROR, *struck, Silence()], QUIET),
}


@each_error
@each_scheme
@pytest.mark.parametrize("call", list(LASTING.values()), ids=list(LASTING))
@pytest.mark.parametrize("moment", list(MOMENTS))
def test_a_handlers_exception_leaves_a_wait(moment: str, call: Call, secure: bool,
                                            error: Error,
                                            certificates: Certificates) -> None:
    with handling(error) as handler:
        script = MOMENTS[moment]([Pause(WAITS), handler.strike])
        with serve(script, secure, certificates) as server:
            handler.ends(lambda: call(server.url, PATIENCE, **options(secure, certificates)))
            assert server.wait_closed(LONG)


@each_error
@pytest.mark.parametrize("call", list(LASTING.values()), ids=list(LASTING))
def test_a_handlers_exception_leaves_a_pause(call: Call, error: Error) -> None:
    """Nothing is open then: the stream is refused, and nothing else due yet."""
    with handling(error) as handler:
        refused = answer(b"", 429, [("Retry-After", "60")])
        with Server([refused, lambda: time.sleep(WAITS), handler.strike]) as server:
            handler.ends(lambda: call(server.url, PATIENCE))


def held_key(request: Request, struck: Sequence[Step]) -> List[Step]:
    """A key whose backend goes on ending. In the pause after the third connect the handler is
    struck; the first pauses are short."""
    if request.target.endswith("/connect"):
        document = JAMSOCKET.document("http://%s" % request.header("Host"), spawned=False,
                                      status="terminating", backend_id="b%d" % request.number)
        return [answer(document)]
    return told("terminating") + list(struck if request.number > 5 else [])


BOTH_IN_ONE: Dict[str, Callable[[Request, Sequence[Step]], List[Step]]] = {
    "its connect": lambda request, struck: [HALF, *struck, Silence()],
    "its wait": lambda request, struck: [answer(JAMSOCKET.document(
        "http://%s" % request.header("Host")))] if request.number == 1 else [*struck, Silence()],
    "its pause": held_key,
}


@each_error
@pytest.mark.parametrize("place", list(BOTH_IN_ONE))
def test_a_handlers_exception_leaves_connect_and_wait(place: str, error: Error) -> None:
    with handling(error) as handler:
        struck = [lambda: time.sleep(WAITS), handler.strike]
        with Server(lambda request: BOTH_IN_ONE[place](request, struck)) as server:
            handler.ends(lambda: client(server.url).connect_and_wait(timeout=PATIENCE))


# --------------------------------------------------------------------------------------------------
# Of what hooks the standard library
# --------------------------------------------------------------------------------------------------

class NotRecorded(Exception):
    """As recorders raise it for a request that their cassette lacks."""


@pytest.mark.parametrize("place", ["putrequest", "getresponse"])
@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
def test_what_a_recorder_raises_comes_out(call: Call, place: str,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    mine = NotRecorded("no such request")

    def refuse(*_: Any, **__: Any) -> Any:
        raise mine

    monkeypatch.setattr(http.client.HTTPConnection, place, refuse)
    with Server(told("ready")) as server, pytest.raises(NotRecorded) as caught:
        call(server.url, LONG)
    assert caught.value is mine


def test_what_a_handler_does_and_does_not_raise_ends_nothing() -> None:
    """It makes a call of its own, of the same client, and the first goes on."""
    with Server() as server:
        one = client(server.url)
        inner: List[BackendState] = []

        def script(request: Request) -> List[Step]:
            if request.number > 1:
                return told("waiting")
            return [Pause(WAITS), strike, Pause(WAITS), *told("ready")]

        server.script = script
        backend = connected(server.url)
        before = signal.signal(signal.SIGUSR1, lambda *_: inner.append(one.status(backend)))
        try:
            assert one.status(backend, timeout=LONG).is_ready
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert [state.status for state in inner] == ["waiting"]
