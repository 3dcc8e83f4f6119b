"""The two platforms that the client speaks to, side by side, so that a test runs against both.

A test that takes `api` runs once for each, usually with a scripted server (`api.client(server.url)`); one that takes
`cluster` has the local platform running, with real processes as backends. Both fixtures are imported by name.
"""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, TypeVar, Union

import pytest

from jamsocket_lite import BackendState, ConnectResponse, Jamsocket, Plane
from local.local_platform import Backend, LocalPlatform
from kit.server import Request, Script, Step, answer

__all__ = ["APIS", "Api", "Client", "Cluster", "Gate", "api", "cluster", "running", "python", "by_call", "together",
           "POLITE", "STUBBORN", "CRASHING", "DEAF", "ID", "IMAGE", "LIFE", "LONG", "STATUSES", "TIME", "TOKEN",
           "URL_TOKEN", "SECRET_TOKEN", "statuses"]

Client = Union[Jamsocket, Plane]
T = TypeVar("T")

LONG = 20.0  # for what must come to pass: only a broken client waits so long

STATUSES = ("scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated")
LIFE = list(STATUSES[:5])  # of a backend that becomes ready

TIME = "2026-11-23T22:46:13.368Z"
MILLISECONDS = round(datetime(2026, 11, 23, 22, 46, 13, 368000, timezone.utc).timestamp() * 1000)

ID = "o32yhwwj29z3vz"
TOKEN = "tests-bearer-0123456789"  # the client's
URL_TOKEN = "url-token-0123456789"  # the backend's
SECRET_TOKEN = "secret-token-0123456789"
IMAGE = "registry.example.test/backend:1"


class Api(NamedTuple):
    """One of the two, and how it is spoken to."""

    name: str
    connect_target: str
    status_format: str
    stream_format: str

    @property
    def plane(self) -> bool:
        return self.name == "plane"

    def client(self, url: str, **options: Any) -> Client:
        """A client with credentials."""
        if self.plane:
            options.setdefault("headers", {"Authorization": "Bearer " + TOKEN})
            return Plane(url, image=IMAGE, **options)
        return Jamsocket("acme", "board", TOKEN, api_url=url, **options)

    def status_target(self, id: str = ID) -> str:
        return self.status_format % id

    def stream_target(self, id: str = ID) -> str:
        return self.stream_format % id

    def terminate_target(self, hard: bool = False, id: str = ID) -> str:
        if self.plane:
            return "/ctrl/b/%s/%s-terminate" % (id, "hard" if hard else "soft")
        return "/v2/backend/%s/terminate" % id

    def state(self, status: str, **more: Any) -> Dict[str, Any]:
        """A state of that TIME as the platform sends it."""
        return {"status": status, "time": MILLISECONDS if self.plane else TIME, **more}

    def connected(self, url: str, **more: Any) -> Dict[str, Any]:
        """The platform's answer to a connect request."""
        given: Dict[str, Any] = {
            "backend_id": ID, "status_url": url + self.status_target(), "status": "scheduled", "spawned": True,
            "url": "%s/%s/" % (url, URL_TOKEN), "secret_token": SECRET_TOKEN, "token": URL_TOKEN}
        given.update({"subdomain": None, "drone": "dr-1"} if self.plane else {"ready_url": ""})
        return {**given, **more}

    def response(self, url: str, **more: Any) -> ConnectResponse:
        return ConnectResponse.from_dict(self.connected(url, **more), strict=False)

    def terminated(self) -> Any:
        """The answer to a terminate request."""
        return None if self.plane else {"status": "ok"}

    def refusal(self, status: int, code: str, message: str, id: str) -> Dict[str, Any]:
        if self.plane:
            return {"id": id, "kind": code, "message": message}
        return {"error": {"message": message, "status": status, "code": code, "id": id}}


APIS = {
    "jamsocket": Api("jamsocket", "/v2/service/acme/board/connect", "/v2/backend/%s/status",
                     "/v2/backend/%s/status/stream"),
    "plane": Api("plane", "/ctrl/connect", "/pub/b/%s/status", "/pub/b/%s/status-stream"),
}


@pytest.fixture(params=["jamsocket", "plane"])
def api(request: Any) -> Api:
    return APIS[request.param]


def by_call(api: Api, *, status: Sequence[Step] = (), stream: Sequence[Sequence[Step]] = ()) -> Script:
    """A script that answers status calls with `status`, and each opening of the stream with the next of `stream`, the
    last of them again and again. Without `status` the answer is that the backend is scheduled."""
    opened: List[int] = []

    def script(request: Request) -> Sequence[Step]:
        if request.target == api.stream_target():
            opened.append(request.number)
            return stream[min(len(opened), len(stream)) - 1]
        return status or [answer(api.state("scheduled"))]

    return script


def together(check: Callable[[T], None], cases: Sequence[T]) -> None:
    """Checks all cases at once, each in its thread: for those that mostly wait. What fails is named."""
    failures: List[str] = []

    def run(case: T) -> None:
        try:
            check(case)
        except BaseException as error:
            failures.append("%r: %r" % (case, error))

    with ThreadPoolExecutor(len(cases)) as pool:
        list(pool.map(run, cases))
    assert not failures, "\n".join(failures)


# ---------------------------------------------------------------------------------------------------------------------
# Real backends
# ---------------------------------------------------------------------------------------------------------------------

def python(script: str, *arguments: str) -> List[str]:
    return [sys.executable, "-S", "-c", script, *arguments]


LISTEN = "import os, signal, socket, sys; s = socket.socket(); " \
         "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', int(os.environ['PORT']))); "
POLITE = LISTEN + "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); s.listen(5)\nwhile True: signal.pause()"
STUBBORN = LISTEN + "signal.signal(signal.SIGTERM, signal.SIG_IGN); s.listen(5)\nwhile True: signal.pause()"
CRASHING = "raise SystemExit(3)"
DEAF = "import signal\nwhile True: signal.pause()"  # it never listens

# Listens once what it is connected to says so.
GATED = LISTEN + """
if sys.argv[2:]: signal.signal(signal.SIGTERM, signal.SIG_IGN)
gate = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
if not gate.recv(1): raise SystemExit(3)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); s.listen(5)
while True: signal.pause()"""


class Gate:
    """Backends that become ready when the test says so, one after the other; or crash. Stubborn ones ignore SIGTERM
    until then."""

    def __init__(self, stubborn: bool = False) -> None:
        self._stubborn = stubborn
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self._listener.settimeout(LONG)

    @property
    def command(self) -> List[str]:
        return python(GATED, str(self._listener.getsockname()[1]), *["stubborn"] * self._stubborn)

    def wait(self) -> socket.socket:
        """Wait for the next backend. It waits in turn, until this is sent something, or closed."""
        return self._listener.accept()[0]

    def open(self) -> None:
        """Let the next backend become ready."""
        self._release(b"!")

    def crash(self) -> None:
        """Let the next backend fail before it is ready."""
        self._release(b"")

    def _release(self, data: bytes) -> None:
        with self.wait() as backend:
            backend.sendall(data)

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()


class Cluster:
    """A platform that runs, and its clients."""

    def __init__(self, api: Api, platform: LocalPlatform) -> None:
        self.api, self.platform, self.url = api, platform, platform.url

    def client(self, **options: Any) -> Client:
        return self.api.client(self.url, **options)

    def backend(self, connected: ConnectResponse) -> Backend:
        return self.platform.backend(connected.backend_id)

    def spawn(self, request: Optional[Mapping[str, Any]] = None, until: str = "ready") -> ConnectResponse:
        """A new backend that has come so far."""
        connected = self.client().connect(request)
        self.backend(connected).wait(until)
        return connected

    def statuses(self, connected: ConnectResponse) -> List[str]:
        """All that a backend has been through."""
        return [state["status"] for state in self.backend(connected).states]


@contextmanager
def running(api: Api, command: Optional[Sequence[str]] = None, **options: Any) -> Iterator[Cluster]:
    with LocalPlatform(command or python(POLITE), plane=api.plane, tokens=[TOKEN], **options) as platform:
        yield Cluster(api, platform)


@pytest.fixture
def cluster(api: Api) -> Iterator[Cluster]:
    with running(api) as started:
        yield started


def statuses(states: Sequence[BackendState]) -> List[str]:
    return [state.status for state in states]
