"""The local platform spoken to by `http.client` alone: what it sends, before any client of ours has
made something of it.

    answer, backend = spawn(platform, key="room")       # on either API
    with Stream(stream_url(platform, backend)) as stream:
        assert stream.until("ready") == backend.states
"""

import calendar
import http.client
import json
import socket
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from kit.deadlines import LONG
from local.local_platform import Backend, LocalPlatform

CONNECT = "/v2/service/-/-/connect"
DEV = {"Authorization": "Bearer -"}
JSON = {"Content-Type": "application/json"}

Body = Union[None, bytes, Mapping[str, Any]]


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body.decode("utf-8"))


def opened(url: str) -> Tuple[http.client.HTTPConnection, str]:
    """A connection, and what to ask it for."""
    netloc, _, path = url[len("http://"):].partition("/")
    return http.client.HTTPConnection(netloc, timeout=LONG), "/" + path


def call(url: str, method: str = "GET", body: Body = None,
         headers: Optional[Mapping[str, str]] = None) -> Answer:
    connection, path = opened(url)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, path, data, dict(headers or {}))
        return Answer(connection.getresponse())
    finally:
        connection.close()


def connect(platform: LocalPlatform, request: Body = b"{}",
            headers: Optional[Mapping[str, str]] = None, path: str = CONNECT) -> Answer:
    """A connect request, as that API wants it."""
    if platform.plane:
        path = "/ctrl/connect"
    default = JSON if platform.plane else DEV
    return call(platform.url + path, "POST", request, default if headers is None else headers)


def request_for(platform: LocalPlatform, key: Optional[str] = None,
                env: Optional[Mapping[str, str]] = None, may_spawn: bool = True, tag: str = "",
                image: str = "i", limits: Optional[Mapping[str, int]] = None,
                **who: Any) -> Dict[str, Any]:
    """What either API is sent for the same."""
    executable: Dict[str, Any] = {"env": dict(env or {})}
    config: Dict[str, Any] = {"executable": executable, **(limits or {})}
    request: Dict[str, Any] = who
    if platform.plane:
        executable["image"] = image
        if key is not None:
            request["key"] = {"name": key, "tag": tag}
        if may_spawn:
            request["spawn_config"] = config
    else:
        if key is not None:
            request["key"] = key
        request["spawn"] = may_spawn and {**config, "tag": tag}
    return request


def spawn(platform: LocalPlatform, **wanted: Any) -> Tuple[Dict[str, Any], Backend]:
    """The answer to a connect request, and its backend, which may have been there before."""
    answer = connect(platform, request_for(platform, **wanted))
    assert answer.status == 200, answer.body
    return answer.json, platform.backend(answer.json["backend_id"])


def terminate(platform: LocalPlatform, backend: str, hard: bool = False) -> Answer:
    if platform.plane:
        kind = "hard" if hard else "soft"
        return call("%s/ctrl/b/%s/%s-terminate" % (platform.url, backend, kind), "POST")
    url = "%s/v2/backend/%s/terminate" % (platform.url, backend)
    return call(url, "POST", {"hard": hard}, DEV)


def status_url(platform: LocalPlatform, backend: str) -> str:
    path = "/pub/b/%s/status" if platform.plane else "/v2/backend/%s/status"
    return platform.url + path % backend


def stream_url(platform: LocalPlatform, backend: str) -> str:
    return status_url(platform, backend) + ("-stream" if platform.plane else "/stream")


def statuses(backend: Backend) -> List[str]:
    return [state["status"] for state in backend.states]


class Stream:
    """An event stream, read event by event."""

    def __init__(self, url: str, headers: Optional[Mapping[str, str]] = None) -> None:
        self.connection, path = opened(url)
        self.connection.request("GET", path, headers=dict(headers or {}))
        self.response = self.connection.getresponse()

    def event(self) -> Dict[str, str]:
        """The next event's fields; a comment is the field ''."""
        lines = [line.decode().rstrip("\n") for line in iter(self.response.readline, b"\n")]
        fields = [line.partition(":") for line in lines]
        return {name: value.strip() for name, _, value in fields}

    def state(self) -> Dict[str, Any]:
        state: Dict[str, Any] = json.loads(self.event()["data"])
        return state

    def until(self, status: str) -> List[Dict[str, Any]]:
        states = [self.state()]
        while states[-1]["status"] != status:
            states.append(self.state())
        return states

    def is_silent(self, seconds: float = 0.15) -> bool:
        """Not a byte comes for so long."""
        assert self.connection.sock is not None
        self.connection.sock.settimeout(seconds)
        try:
            self.response.readline()
        except socket.timeout:
            return True
        return False

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self.response.close()
        self.connection.close()


@contextmanager
def asking(platform: LocalPlatform, request: bytes) -> Iterator[socket.socket]:
    """A connection on which this has been sent."""
    with socket.create_connection(("127.0.0.1", platform.port), LONG) as sock:
        sock.sendall(request)
        yield sock


@contextmanager
def upgraded(url: str) -> Iterator[socket.socket]:
    """A tunnel to a backend that shouts, as a WebSocket is one."""
    netloc, _, path = url[len("http://"):].partition("/")
    host, _, port = netloc.partition(":")
    with socket.create_connection((host, int(port)), LONG) as sock:
        sock.sendall(b"GET /%s HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nat once"
                     % path.encode())
        received = b""
        while not received.endswith(b"AT ONCE"):
            data = sock.recv(65536)
            assert data, received
            received += data
        assert received.startswith(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
        yield sock


@contextmanager
def watcher() -> Iterator[Tuple[socket.socket, str]]:
    """A listener, and its port, for a process whose end is to be seen: it holds a connection."""
    with socket.socket() as listener:
        listener.settimeout(LONG)
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener, str(listener.getsockname()[1])


def milliseconds(state: Mapping[str, Any]) -> float:
    """When it was entered, on either API."""
    when = state["time"]
    if isinstance(when, int):
        return float(when)
    whole, _, fraction = when.rstrip("Z").partition(".")
    parsed = time.strptime(whole + "UTC", "%Y-%m-%dT%H:%M:%S%Z")
    return calendar.timegm(parsed) * 1000.0 + float(fraction)
