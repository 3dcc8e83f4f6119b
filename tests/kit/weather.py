"""What the weather tests share: the secrets in play, a look at every error, deadlines measured, a table of the figures.

With WEATHER_TABLE set to a file's name, the figures are there at the end of the run, as `weather | measured`; those of
other runs stay, unless they were measured again.
"""

import atexit
import copy
import os
import pickle
import re
import threading
import time
import traceback
import warnings
from base64 import b64encode
from contextlib import contextmanager
from typing import (Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Type, TypeVar,
                    Union)

import jamsocket_lite
from jamsocket_lite import BackendState, ConnectRequest, ConnectResponse, Jamsocket, JamsocketError, JamsocketTimeout
from kit.server import Request, Script, Server, Step, answer, event, stream_head

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

LONG = 20.0  # for what must come to pass: only what is broken takes so long
SHORT = 0.3  # a deadline that is meant to pass
GRACE = 0.25  # how long after its deadline a call may return

# ---------------------------------------------------------------------------------------------------------------------
# Secrets, and the look at every error
# ---------------------------------------------------------------------------------------------------------------------

TOKEN = "tok-Cl1ent/8f2e+4b1d=7c"
BACKEND_TOKEN = "backend-t0ken-55aa1e"
SECRET_TOKEN = "secret-t0ken-c0ffee"
URL_PATH = "url-p4th-0ddba11"
READY_PATH = "ready-p4th-5ca1ab1e"
ENV_VALUE = "env-v4lue-deadbeef"
ENV_LINES = ("-----BEGIN SECRET LINES-----", "TUlJRXZnSUJBREFOQmdrcWhr")
AUTH_VALUE = "auth-v4lue-ba5eba11"
AUTH_NUMBER = 90210770311902
PROXY_PASSWORD = "pr0xy-passw0rd-f00d"
PROXY_CREDENTIALS = "carrier:" + PROXY_PASSWORD

SECRETS = (TOKEN, BACKEND_TOKEN, SECRET_TOKEN, URL_PATH, READY_PATH, ENV_VALUE, *ENV_LINES, AUTH_VALUE,
           str(AUTH_NUMBER), PROXY_PASSWORD, b64encode(PROXY_CREDENTIALS.encode()).decode())

REQUEST = ConnectRequest.from_dict({
    "key": "board/42",
    "spawn": {"executable": {"env": {"API_KEY": ENV_VALUE, "PEM": "\n".join(ENV_LINES)}}},
    "auth": {"session": {"cookies": [AUTH_VALUE]}, "pin": AUTH_NUMBER},
})


def connected(url: str, status: str = "scheduled", **fields: Any) -> ConnectResponse:
    """An answer to `connect` that points at this server."""
    return ConnectResponse.from_dict({
        "backend_id": "b4ckend", "spawned": True, "status": status, "token": BACKEND_TOKEN,
        "url": "https://sessions.example.test/%s/" % URL_PATH, "status_url": url + "/v2/backend/b4ckend/status",
        "ready_url": "https://sessions.example.test/_r/" + READY_PATH, "secret_token": SECRET_TOKEN, **fields},
        strict=False)


def texts_of(error: BaseException) -> List[str]:
    """All that a log could show of an error, with whatever hangs on it."""
    texts, chain = [], [error]  # type: List[str], List[BaseException]
    while chain:
        one = chain.pop()
        texts += [str(one), repr(one), "".join(traceback.format_exception(type(one), one, one.__traceback__))]
        texts += [str(argument) for argument in one.args]
        texts += [str(getattr(one, name)) for name in ("code", "request_id", "path") if hasattr(one, name)]
        # Also what `raise … from None` hides: some loggers show it.
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
        assert len(texts) < 1000, "a chain of errors without an end"
    return texts


def look_over(error: BaseException) -> None:
    """An error of the contract: of its classes, one line that a log can take, no secret, a copy of it says the same."""
    texts = texts_of(error)
    shown = [secret[:4] + "…" for secret in SECRETS if any(secret.lower() in text.lower() for text in texts)]
    assert not shown, "%s shows the secret %s" % (type(error).__name__, ", ".join(shown))
    assert isinstance(error, JamsocketError), texts[2]
    assert type(error).__name__ in jamsocket_lite.__all__
    text = str(error)
    assert text and text.isprintable() and len(text) < 1000, ascii(text[:1000])
    text.encode("utf-8")
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error) and str(other) == text and vars(other) == vars(error)


def failure(call: Callable[[], Any], kind: Type[E], *others: Type[E]) -> E:
    """The error that a call raises, which must be of one of these very classes."""
    try:
        got = call()
    except Exception as error:
        return failed(error, kind, *others)
    raise AssertionError("no error, but %r" % (got,))


def failed(error: Any, kind: Type[E], *others: Type[E]) -> E:
    assert isinstance(error, BaseException), "no error, but %r" % (error,)
    look_over(error)
    assert type(error) in (kind, *others), "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return error  # type: ignore[return-value]


# ---------------------------------------------------------------------------------------------------------------------
# Calls, all of one shape, so that one table of weather serves them all
# ---------------------------------------------------------------------------------------------------------------------

Call = Callable[..., Any]


def client(url: str, timeout_of_client: float = LONG, **options: Any) -> Jamsocket:
    return Jamsocket("acme", "board", TOKEN, api_url=url, timeout=timeout_of_client, **options)


def call_connect(url: str, timeout: Optional[float] = LONG, **options: Any) -> ConnectResponse:
    return client(url, **options).connect(REQUEST, timeout=timeout)


def call_status(url: str, timeout: Optional[float] = LONG, **options: Any) -> BackendState:
    return client(url, **options).status(connected(url), timeout=timeout)


def call_terminate(url: str, timeout: Optional[float] = LONG, **options: Any) -> None:
    client(url, **options).terminate(connected(url), hard=True, timeout=timeout)


def call_wait(url: str, timeout: Optional[float] = LONG, **options: Any) -> BackendState:
    return client(url, **options).wait_until_ready(connected(url), timeout=timeout)


def call_stream(url: str, timeout: Optional[float] = LONG, **options: Any) -> List[BackendState]:
    return list(client(url, **options).status_stream(connected(url), timeout=timeout))


SINGLE: Mapping[str, Call] = {"connect": call_connect, "status": call_status, "terminate": call_terminate}
LASTING: Mapping[str, Call] = {"wait": call_wait, "stream": call_stream}
CALLS: Mapping[str, Call] = {**SINGLE, **LASTING}


def name_of(call: Call) -> str:
    return call.__name__[len("call_"):]


def state(status: str, **fields: Any) -> Dict[str, Any]:
    """A state as the wire has it."""
    made = {"status": status, "time": "2026-11-23T22:46:13.368Z", **fields}
    if status in ("terminating", "hard-terminating"):
        made.setdefault("termination_reason", "external")
    return made


def events(*statuses: str) -> bytes:
    return b"".join(event(state(status)) for status in statuses)


def right_document(url: str, call: str) -> Any:
    """What the platform answers to a single call."""
    return {"connect": connected(url).to_dict(), "status": state("ready"), "terminate": {"status": "ok"}}[call]


def is_stream(request: Request) -> bool:
    return request.target.endswith("/stream")


Steps = Union[Sequence[Step], Callable[[int], Sequence[Step]]]


def both(stream: Steps, status: Steps) -> Script:
    """A script for both ways to hear of a backend. A function gets the number, from 1 on, of its kind's request."""
    counts, lock = {True: 0, False: 0}, threading.Lock()

    def script(request: Request) -> Sequence[Step]:
        streaming = is_stream(request)
        with lock:
            counts[streaming] += 1
            number = counts[streaming]
        steps = stream if streaming else status
        return steps(number) if callable(steps) else steps

    return script


def streamed(*statuses: str) -> bytes:
    """The head of a stream, and the events that it begins with."""
    return stream_head() + events(*statuses)


def told(status: str) -> List[Step]:
    """The answer to the status call."""
    return [answer(state(status))]


# ---------------------------------------------------------------------------------------------------------------------
# Deadlines
# ---------------------------------------------------------------------------------------------------------------------

class Timed(NamedTuple):
    outcome: Any  # what was returned, or raised
    seconds: float


def timed(call: Callable[[], Any]) -> Timed:
    start = time.monotonic()
    try:
        outcome = call()
    except Exception as error:
        outcome = error
    return Timed(outcome, time.monotonic() - start)


def keeps_deadline(weather: str, attempt: Callable[[], Timed], deadline: float = SHORT,
                   *kinds: Type[JamsocketError]) -> Any:
    """The error with which a call ends at its deadline; without `kinds` it is JamsocketTimeout."""
    once = attempt()
    if once.seconds - deadline > GRACE:
        once = attempt()  # a busy machine is late now and then, a client that waits for the wrong thing always
    past = once.seconds - deadline
    error = failed(once.outcome, *(kinds or (JamsocketTimeout,)))
    if type(error) is JamsocketTimeout:
        assert past > -0.02, "%.3f s before the deadline" % -past
    record(weather, "%.0f ms past the deadline of %.1f s" % (max(0.0, past) * 1000, deadline))
    assert past <= GRACE, "%.3f s past the deadline" % past
    return error


def against(script: Script, call: Call, timeout: float = SHORT, client_options: Optional[Mapping[str, Any]] = None,
            **server_options: Any) -> Callable[[], Timed]:
    """An attempt of a call against a server of its own, of which it must let go at once, although it still runs."""
    def attempt() -> Timed:
        with Server(script, **server_options) as server:
            result = timed(lambda: call(server.url, timeout, **(client_options or {})))
            assert server.wait_closed(LONG), "the connection is still open"
        return result
    return attempt


def concurrently(jobs: Mapping[str, Callable[[], T]], width: int = 12) -> Dict[str, T]:
    """Run independent jobs in threads, so that their waiting costs its time once."""
    results, broken = {}, {}  # type: Dict[str, T], Dict[str, BaseException]
    waiting = list(jobs.items())
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                name, job = waiting.pop(0)
            try:
                result = job()
            except BaseException as error:  # to be raised in the thread that waits for all
                broken[name] = error
            else:
                results[name] = result

    threads = [threading.Thread(target=work) for _ in range(min(width, len(jobs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not broken, "\n\n".join(
        "--- %s\n%s" % (name, "".join(traceback.format_exception(type(error), error, error.__traceback__)))
        for name, error in broken.items())
    return results


# ---------------------------------------------------------------------------------------------------------------------
# What must not be left behind
# ---------------------------------------------------------------------------------------------------------------------

def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def wait_until(test: Callable[[], bool], seconds: float = LONG) -> bool:
    """For what no event tells: the end of a thread, a file of another process."""
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() >= end:
            return False
        time.sleep(0.0005)
    return True


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Checks that what happens meanwhile leaves no thread, no descriptor, no socket for the collector to close."""
    threads: Set[threading.Thread] = set(threading.enumerate())
    files = open_files()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        yield
    unclosed = [str(one.message) for one in seen if issubclass(one.category, ResourceWarning)]
    assert not unclosed, "left to the collector: " + ", ".join(unclosed)
    # A server's threads may take a moment to end after they have reported that they did.
    assert wait_until(lambda: set(threading.enumerate()) <= threads, 5.0), "left running: %s" % threading.enumerate()
    assert wait_until(lambda: open_files() <= files, 1.0), "left open: %d descriptors" % (open_files() - files)


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------

_rows: Dict[str, str] = {}  # of this run


def record(weather: str, measured: str) -> None:
    """A row of the table, which holds one line a weather: no port, no address."""
    _rows[re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", weather)] = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", measured)


def _write_table() -> None:
    name = os.environ.get("WEATHER_TABLE")
    if not name or not _rows:
        return
    rows: Dict[str, str] = {}
    if os.path.exists(name):
        with open(name, encoding="utf-8") as file:
            for line in file:
                weather, _, measured = line.rstrip("\n").partition(" | ")
                rows[weather] = measured
    rows.update(_rows)
    with open(name, "w", encoding="utf-8") as file:
        file.writelines("%s | %s\n" % row for row in sorted(rows.items()))


atexit.register(_write_table)
