"""The two platforms that the client speaks to, what they send, and real ones that run.

    def test_of_either(api: Api) -> None:               # runs once for each platform
        with Server(api.service()) as server:           # a scripted one
            api.client(server.url).connect()

    def test_with_real_backends(cluster: Cluster) -> None:      # the local platform, of either kind
        cluster.client().wait_until_ready(cluster.spawn())

Where the platform makes no difference, `client`, `connected`, `state`, … are the hosted one's.
"""

import json
import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import (Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence,
                    Union)

from jamsocket_lite import BackendState, ConnectResponse, Jamsocket, Plane
from kit.backends import POLITE, python
from kit.deadlines import LONG
from kit.secrets import BACKEND_TOKEN, READY_PATH, SECRET_TOKEN, TOKEN, URL_PATH
from kit.server import Request, Script, Silence, Step, answer, event, stream_head
from local.local_platform import Backend, LocalPlatform

Client = Union[Jamsocket, Plane]

STATUSES = ("scheduled", "loading", "starting", "waiting", "ready", "terminating",
            "hard-terminating", "terminated")
LIFE = list(STATUSES[:5])  # of a backend that becomes ready
ENDING = STATUSES[5:]

TIME = "2026-11-23T22:46:13.368Z"
MILLISECONDS = round(datetime(2026, 11, 23, 22, 46, 13, 368000, timezone.utc).timestamp() * 1000)

ID = "b4ckend"
IMAGE = "registry.example.test/backend:1"


Steps = Union[Sequence[Step], Callable[[int], Sequence[Step]]]


def is_stream(request: Request) -> bool:
    return request.target.endswith(("/stream", "-stream"))


def in_turn(*steps: Sequence[Step]) -> Steps:
    """Each request gets the next of these, and the last again and again."""
    return lambda number: steps[min(number, len(steps)) - 1]


class Api(NamedTuple):
    """One of the two, how it is spoken to, and what it answers."""

    name: str
    connect_target: str
    status_format: str
    stream_format: str

    @property
    def plane(self) -> bool:
        return self.name == "plane"

    def client(self, url: str, **options: Any) -> Client:
        """A client with credentials."""
        options.setdefault("timeout", LONG)
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

    def document(self, url: str, **more: Any) -> Dict[str, Any]:
        """The answer to a connect request, of a platform at this url."""
        given: Dict[str, Any] = {
            "backend_id": ID, "spawned": True, "status": "scheduled", "token": BACKEND_TOKEN,
            "url": "https://sessions.example.test/%s/" % URL_PATH,
            "status_url": url + self.status_target(), "secret_token": SECRET_TOKEN}
        if self.plane:
            given.update(subdomain=None, drone="dr-1")
        else:
            given.update(ready_url="https://sessions.example.test/_r/" + READY_PATH)
        return {**given, **more}

    def connected(self, url: str, status: str = "scheduled", **more: Any) -> ConnectResponse:
        """The same as the client gives it."""
        return ConnectResponse.from_dict(self.document(url, status=status, **more), strict=False)

    def state(self, status: str, **more: Any) -> Dict[str, Any]:
        """A state of that TIME as the platform sends it."""
        made = {"status": status, "time": MILLISECONDS if self.plane else TIME, **more}
        if status in ("terminating", "hard-terminating"):
            made.setdefault("termination_reason", "external")
        return made

    def terminated(self) -> Any:
        """The answer to a terminate request."""
        return None if self.plane else {"status": "ok"}

    def refusal(self, status: int, code: str, message: str, id: str) -> Dict[str, Any]:
        if self.plane:
            return {"id": id, "kind": code, "message": message}
        return {"error": {"message": message, "status": status, "code": code, "id": id}}

    def told(self, status: str, **more: Any) -> List[Step]:
        """The answer to the status call."""
        return [answer(self.state(status, **more))]

    def events(self, *statuses: str) -> bytes:
        return b"".join(event(self.state(status)) for status in statuses)

    def streamed(self, *statuses: str) -> bytes:
        """The head of a stream, and the events that it begins with."""
        return stream_head() + self.events(*statuses)

    def channels(self, stream: Steps, status: Optional[Steps] = None) -> Script:
        """A script for both ways to hear of a backend. A function gets the number, from 1 on, of
        its kind's request. Without `status` that call fails in a way that passes by itself."""
        counts, lock = {True: 0, False: 0}, threading.Lock()

        def script(request: Request) -> Sequence[Step]:
            streaming = is_stream(request)
            with lock:
                counts[streaming] += 1
                number = counts[streaming]
            steps = stream if streaming else [answer(b"", 503)] if status is None else status
            return steps(number) if callable(steps) else steps

        return script

    def service(self, url: Optional[str] = None, **more: Any) -> Script:
        """A script that answers every call well. Without `url`, it is where it was asked."""
        def script(request: Request) -> Sequence[Step]:
            if is_stream(request):
                return [self.streamed("ready"), Silence()]
            if request.target.endswith("/status"):
                return self.told("ready")
            if request.target.endswith("connect"):
                return [answer(self.document(url or "http://%s" % request.header("Host"), **more))]
            return [answer(self.terminated())]
        return script


JAMSOCKET = Api("jamsocket", "/v2/service/acme/board/connect", "/v2/backend/%s/status",
                "/v2/backend/%s/status/stream")
PLANE = Api("plane", "/ctrl/connect", "/pub/b/%s/status", "/pub/b/%s/status-stream")
APIS = {api.name: api for api in (JAMSOCKET, PLANE)}

client, connected, state = JAMSOCKET.client, JAMSOCKET.connected, JAMSOCKET.state
told, events, streamed = JAMSOCKET.told, JAMSOCKET.events, JAMSOCKET.streamed
channels, service = JAMSOCKET.channels, JAMSOCKET.service

READY = json.dumps(state("ready")).encode("ascii")  # what a status call gets of a ready backend


def statuses(states: Sequence[BackendState]) -> List[str]:
    return [state.status for state in states]


def up_to_ready(stream: Iterator[BackendState]) -> List[str]:
    """What it tells until then; it can be read on."""
    told: List[str] = []
    while told[-1:] != ["ready"]:
        told.append(next(stream).status)
    return told


# -------------------------------------------------------------------------------------------------
# A platform that runs
# -------------------------------------------------------------------------------------------------

class Cluster:
    """The local platform, of either kind, and its clients."""

    def __init__(self, api: Api, platform: LocalPlatform) -> None:
        self.api, self.platform, self.url = api, platform, platform.url

    def client(self, **options: Any) -> Client:
        return self.api.client(self.url, **options)

    def backend(self, connected: ConnectResponse) -> Backend:
        return self.platform.backend(connected.backend_id)

    def spawn(self, request: Optional[Mapping[str, Any]] = None,
              until: str = "ready") -> ConnectResponse:
        """A new backend that has come so far."""
        connected = self.client().connect(request)
        self.backend(connected).wait(until)
        return connected

    def statuses(self, connected: ConnectResponse) -> List[str]:
        """All that a backend has been through."""
        return [state["status"] for state in self.backend(connected).states]

    def asked(self, connected: ConnectResponse) -> int:
        """How many status calls there were."""
        target = self.api.status_target(connected.backend_id)
        return [request.path for request in self.platform.requests].count(target)

    def is_whole(self, told: Sequence[str], connected: ConnectResponse, asked: int = 0) -> bool:
        """Whether this is all that it has been through, in order. Where the machine is so busy that
        a status call was faster than the stream, what that passes over is not told; `asked` is how
        many there were before the stream."""
        overtaken = self.asked(connected) > asked
        return list(told) == [status for status in self.statuses(connected)
                              if status in told or not overtaken]


@contextmanager
def running(api: Api, command: Optional[Sequence[str]] = None,
            **options: Any) -> Iterator[Cluster]:
    with LocalPlatform(command or python(POLITE), plane=api.plane, tokens=[TOKEN],
                       **options) as platform:
        yield Cluster(api, platform)
