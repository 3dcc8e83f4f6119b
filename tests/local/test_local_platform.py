"""The local platform does what the platform, the dev server and Plane do, with real processes behind real sockets."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import pytest

from local.local_platform import Backend, LocalPlatform

# The tests' own tools change seldom, so `make test` goes without; `make test-slow` has them.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

# For what must come to pass: only a broken platform waits so long.
LONG = 20.0
HERE = Path(__file__).resolve().parent
CONNECT = "/v2/service/-/-/connect"
DEV = {"Authorization": "Bearer -"}
JSON = {"Content-Type": "application/json"}
LIFE = ["scheduled", "loading", "starting", "waiting", "ready"]

# Backends. The first connection is the platform's look whether anybody listens.
LISTEN = "import os, signal, socket, subprocess, sys, time; s = socket.socket(); " \
         "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', int(os.environ['PORT']))); "
STUBBORN = LISTEN + "signal.signal(signal.SIGTERM, signal.SIG_IGN); s.listen(5)\nwhile True: signal.pause()"
POLITE = LISTEN + "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); s.listen(5)\nwhile True: signal.pause()"
DEAF = "import signal; signal.pause()"
CRASHING = "raise SystemExit(3)"
LEAVING = LISTEN + "s.listen(5); s.accept(); s.accept(); os._exit(int(os.environ['CODE']))"
# Says what it received, in capitals; and goes on so as long as the client sends.
SHOUTING = LISTEN + """s.listen(5)
while True:
    c, _ = s.accept()
    head = b''
    while b'\\r\\n\\r\\n' not in head:
        data = c.recv(65536)
        if not data: break
        head += data
    else:
        head, _, rest = head.partition(b'\\r\\n\\r\\n')
        if b'Upgrade: shout' in head:
            c.sendall(b'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: shout\\r\\n\\r\\n'
                      + rest.upper())
            while True:
                data = c.recv(65536)
                if not data: break
                c.sendall(data.upper())
        else:
            length = 0
            for line in head.split(b'\\r\\n'):
                if line.lower().startswith(b'content-length:'): length = int(line[15:])
            while len(rest) < length: rest += c.recv(65536)
            while b'chunked' in head and b'0\\r\\n\\r\\n' not in rest: rest += c.recv(65536)
            body = head + b'\\n\\n' + rest.upper()
            c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nX-Mine: 1\\r\\n\\r\\n' % len(body) + body)
    c.close()
"""
# Its child holds a connection to us until it dies, and does not listen to SIGTERM.
PARENT = LISTEN + """
subprocess.Popen([sys.executable, '-c', '''if True:
    import os, signal, socket
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    held = socket.create_connection(('127.0.0.1', int(os.environ['WATCH'])))
    while True: signal.pause()'''])
s.listen(5)
while True: signal.pause()
"""


def python(script: str) -> List[str]:
    return [sys.executable, "-S", "-c", script]


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(url: str, method: str = "GET", body: Union[None, bytes, Dict[str, Any]] = None,
         headers: Optional[Dict[str, str]] = None, **more: Any) -> Answer:
    netloc, _, path = url[len("http://"):].partition("/")
    connection = http.client.HTTPConnection(netloc, timeout=LONG)
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    try:
        connection.request(method, "/" + path, data, headers or {}, **more)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def connect(platform: LocalPlatform, request: Union[bytes, Dict[str, Any]] = b"{}", path: str = CONNECT,
            headers: Optional[Dict[str, str]] = None) -> Answer:
    if platform.plane:
        return call(platform.url + "/ctrl/connect", "POST", request, JSON if headers is None else headers)
    return call(platform.url + path, "POST", request, DEV if headers is None else headers)


def spawn(platform: LocalPlatform, request: Optional[Dict[str, Any]] = None) -> Tuple[Dict[str, Any], Backend]:
    default: Dict[str, Any] = {"spawn_config": {"executable": {"image": "i"}}} if platform.plane else {}
    answer = connect(platform, default if request is None else request)
    assert answer.status == 200, answer.body
    return answer.json, platform.backend(answer.json["backend_id"])


def terminate(platform: LocalPlatform, backend: Backend, hard: bool = False) -> Answer:
    return call("%s/v2/backend/%s/terminate" % (platform.url, backend.id), "POST", {"hard": hard}, DEV)


def statuses(backend: Backend) -> List[str]:
    return [state["status"] for state in backend.states]


class Stream:
    """An event stream, read event by event."""

    def __init__(self, url: str, headers: Optional[Dict[str, str]] = None) -> None:
        netloc, _, path = url[len("http://"):].partition("/")
        self.connection = http.client.HTTPConnection(netloc, timeout=LONG)
        self.connection.request("GET", "/" + path, headers=headers or {})
        self.response = self.connection.getresponse()

    def event(self) -> Dict[str, str]:
        """The next event's fields; a comment is the field ''."""
        lines = list(iter(self.response.readline, b"\n"))
        return dict(line.decode().rstrip("\n").split(":", 1) for line in lines)

    def until(self, status: str) -> List[Dict[str, Any]]:
        states = [json.loads(self.event()["data"])]
        while states[-1]["status"] != status:
            states.append(json.loads(self.event()["data"]))
        return states

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: Any) -> None:
        self.response.close()
        self.connection.close()


# ---------------------------------------------------------------------------------------------------------------------
# Connecting
# ---------------------------------------------------------------------------------------------------------------------

def test_a_connect_answer_has_what_the_platform_sends() -> None:
    with LocalPlatform(python(POLITE)) as platform:
        answer, backend = spawn(platform)
        assert set(answer) == {"backend_id", "spawned", "status", "token", "url", "status_url", "ready_url",
                               "secret_token"}
        assert (answer["spawned"], answer["status"], answer["ready_url"]) == (True, "scheduled", "")
        assert answer["status_url"] == "%s/v2/backend/%s/status" % (platform.url, backend.id)
        assert answer["url"] == "%s/%s/" % (platform.url, answer["token"])


def test_the_urls_are_those_by_which_the_client_came() -> None:
    with LocalPlatform(python(POLITE)) as platform:
        answer = connect(platform, headers={**DEV, "Host": "example.test:1"}).json
        assert answer["status_url"].startswith("http://example.test:1/v2/")
        assert connect(platform, headers={**DEV, "Host": "a b/c"}).json["url"].startswith(platform.url)


def test_the_backend_of_its_own_says_who_it_is() -> None:
    with LocalPlatform() as platform:
        answer, backend = spawn(platform, {"key": "a room"})
        backend.wait("ready")
        greeting = call(answer["url"]).body.decode()
        assert backend.id in greeting and '"a room"' in greeting
        terminate(platform, backend)
        assert backend.wait("terminated")["exit_error"] is False


def test_a_held_key_gives_the_same_backend_and_another_token() -> None:
    with LocalPlatform(python(SHOUTING)) as platform:
        first, backend = spawn(platform, {"key": "k"})
        backend.wait("ready")
        second, again = spawn(platform, {"key": "k", "spawn": False})
        assert (again, second["spawned"], second["status"]) == (backend, False, "ready")
        assert second["token"] != first["token"]
        assert {call(first["url"]).status, call(second["url"]).status} == {200}
        assert spawn(platform)[1] is not backend


def test_a_key_is_released_when_its_backend_has_ended() -> None:
    with LocalPlatform(python(STUBBORN)) as platform:
        _, backend = spawn(platform, {"key": "k"})
        backend.wait("ready")
        terminate(platform, backend)
        backend.wait("terminating")
        held = connect(platform, {"key": "k"}).json
        assert (held["backend_id"], held["status"]) == (backend.id, "terminating")
        terminate(platform, backend, hard=True)
        backend.wait("terminated")
        assert connect(platform, {"key": "k", "spawn": False}).status == 409
        assert spawn(platform, {"key": "k"})[1] is not backend


def test_keys_of_two_services_are_two() -> None:
    with LocalPlatform(python(POLITE), tokens=["t"]) as platform:
        ids = {connect(platform, {"key": "k"}, "/v2/service/a/%s/connect" % service,
                       {"Authorization": "bearer t"}).json["backend_id"] for service in ("s", "s", "s/env", "other")}
        assert len(ids) == 3


def test_the_process_gets_the_requests_environment(tmp_path: Path) -> None:
    script = LISTEN + "s.listen(5); print(ascii([os.environ.get(n) for n in ('SESSION_BACKEND_ID', " \
                      "'SESSION_BACKEND_KEY', 'GREETING', 'JAMSOCKET_SERVICE')]), file=open(os.environ['TO'], 'w')); " \
                      "os._exit(0)"
    told = tmp_path / "told"
    with LocalPlatform(python(script)) as platform:
        _, backend = spawn(platform, {"key": "ключ", "spawn": {"executable": {"env": {"GREETING": "hé",
                                                                                     "TO": str(told)}}}})
        backend.wait("terminated")
    assert told.read_text().strip() == ascii([backend.id, "ключ", "hé", None])


@pytest.mark.parametrize("request_, told", [
    (b"{", "JSON"), (b"null", "body"), (b"[]", "body"), (b"NaN", "JSON"), (b"[" * 100000, "JSON"),
    (b'{"user": "\\ud800"}', "JSON"),
    ({"key": ""}, "key"), ({"key": "k" * 129}, "key"), ({"key": 1}, "key"), ({"key": None}, "key"),
    ({"spawn": None}, "spawn"), ({"spawn": False}, "spawn"), ({"spawn": 1}, "spawn"), ({"kee": "k"}, "kee"),
    ({"auth": []}, "auth"), ({"user": 1}, "user"),
    ({"spawn": {"max_idle_seconds": 1.0}}, "spawn.max_idle_seconds"),
    ({"spawn": {"lifetime_limit_seconds": -1}}, "spawn.lifetime_limit_seconds"),
    ({"spawn": {"lifetime_limit_seconds": True}}, "spawn.lifetime_limit_seconds"),
    ({"spawn": {"lifetime_limit_seconds": 2 ** 31}}, "spawn.lifetime_limit_seconds"),
    ({"spawn": {"executable": {"env": {"PORT": "1"}}}}, "spawn.executable.env.PORT"),
    ({"spawn": {"executable": {"env": {"SESSION_BACKEND_KEY": "1"}}}}, "spawn.executable.env"),
    ({"spawn": {"executable": {"env": {"A=B": "1"}}}}, "spawn.executable.env"),
    ({"spawn": {"executable": {"env": {"A": 1}}}}, "spawn.executable.env.A"),
    ({"spawn": {"executable": {"env": {"A": "\0"}}}}, "spawn.executable.env.A"),
    ({"spawn": {"executable": {"resource_limits": {"cpu_period_percent": 256}}}}, "cpu_period_percent"),
    ({"spawn": {"executable": {"image": "i"}}}, "spawn.executable.image"),
], ids=lambda value: str(value)[:60])
def test_an_ill_shaped_request_is_refused(request_: Union[bytes, Dict[str, Any]], told: str) -> None:
    with LocalPlatform(["/nonexistent"]) as platform:
        answer = connect(platform, request_)
        error = answer.json["error"]
        assert (answer.status, error["status"], set(error)) == (400, 400, {"message", "status", "code", "id"})
        assert told in error["message"]


@pytest.mark.parametrize("request_", [
    {"key": "ü" * 128, "user": "u", "auth": {"a": [1, {"b": None}]}}, {"spawn": True}, {"spawn": {}},
    {"spawn": {"tag": "t", "cluster": "c", "lifetime_limit_seconds": 2 ** 31 - 1, "max_idle_seconds": 9, "executable": {
        "mount": True, "env": {"A": ""}, "resource_limits": {"cpu_period": 1, "cpu_period_percent": 255,
                                                             "cpu_time_limit": 1, "memory_limit_bytes": 2 ** 63 - 1,
                                                             "disk_limit_bytes": 0}}}},
    b"",
], ids=lambda value: str(value)[:60])
def test_a_well_shaped_request_is_taken(request_: Union[bytes, Dict[str, Any]]) -> None:
    with LocalPlatform(["/nonexistent"]) as platform:
        assert connect(platform, request_).status == 200


@pytest.mark.parametrize("path, token, status", [
    (CONNECT, None, 401), (CONNECT, "Basic -", 401), (CONNECT, "Bearer x", 401), (CONNECT, "Bearer -", 200),
    ("/v2/service/a/s/connect", "Bearer -", 401), ("/v2/service/-/-/env/connect", "Bearer -", 401),
    ("/v2/service/a/s/connect", "Bearer listed", 200),
    ("/v2/service/a/s/env/connect", "Bearer listed", 200), (CONNECT, "Bearer listed", 200),
])
def test_connecting_takes_a_known_token(path: str, token: Optional[str], status: int) -> None:
    with LocalPlatform(["/nonexistent"], tokens=["listed"]) as platform:
        answer = connect(platform, path=path, headers={"Authorization": token} if token else {})
        assert answer.status == status
        if status == 401:
            assert answer.json["error"]["code"] == "UNAUTHORIZED"


def test_what_is_not_there_is_404() -> None:
    with LocalPlatform() as platform:
        for path in ("/", "/v2/backend/nobody/status", "/v2/backend/nobody/status/stream", "/v2/x", "/pub/b/x/status"):
            assert call(platform.url + path).json["error"]["status"] == 404
        assert call(platform.url + "/v2/backend/nobody/terminate", "POST", b"{}", DEV).status == 404
        assert call(platform.url + CONNECT, "GET").status == 404


def test_a_connection_takes_many_requests_and_each_is_recorded() -> None:
    with LocalPlatform() as platform:
        connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=LONG)
        for method, path, body in (("POST", "/v2/x?a=b", b"12"), ("GET", "/v2/y", b"")):
            connection.request(method, path, body, {"X-Mine": "ja"})
            connection.getresponse().read()
        connection.close()
        assert [(r.method, r.path, r.body) for r in platform.requests] == [("POST", "/v2/x?a=b", b"12"),
                                                                           ("GET", "/v2/y", b"")]
        assert ("X-Mine", "ja") in platform.requests[1].headers


# ---------------------------------------------------------------------------------------------------------------------
# From scheduled to terminated
# ---------------------------------------------------------------------------------------------------------------------

def test_a_backend_goes_through_every_state_to_ready() -> None:
    with LocalPlatform(python(POLITE)) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        assert statuses(backend) == LIFE
        state = call(answer["status_url"]).json
        assert state == backend.states[-1] and state["time"][-5] == "." and state["time"][-1] == "Z"


@pytest.mark.parametrize("script, hard, ends", [
    (POLITE, False, ["terminating", "terminated"]),
    (STUBBORN, False, ["terminating", "hard-terminating", "terminated"]),
    (STUBBORN, True, ["hard-terminating", "terminated"]),
], ids=["soft", "soft, but SIGTERM is ignored", "hard"])
def test_terminating(script: str, hard: bool, ends: List[str]) -> None:
    with LocalPlatform(python(script), grace=0.2 if script is STUBBORN else LONG) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        assert terminate(platform, backend, hard).json == {"status": "ok"}
        last = backend.wait("terminated")
        assert statuses(backend) == LIFE + ends
        assert {state["termination_reason"] for state in backend.states[5:]} == {"external"}
        assert not any("termination_kind" in state for state in backend.states[:-1])
        assert last["termination_kind"] == ("hard" if "hard-terminating" in ends else "soft")
        assert last["exit_error"] is (script is STUBBORN)
        assert call(answer["status_url"]).json == last
        assert terminate(platform, backend).json == {"status": "ok"}


def test_a_hard_termination_overtakes_a_soft_one() -> None:
    with LocalPlatform(python(STUBBORN), grace=1000) as platform:
        _, backend = spawn(platform)
        backend.wait("ready")
        terminate(platform, backend)
        backend.wait("terminating")
        terminate(platform, backend, hard=True)
        assert backend.wait("terminated")["termination_kind"] == "hard"


def test_terminating_takes_a_known_token_and_a_boolean() -> None:
    with LocalPlatform(python(POLITE), tokens=["t"]) as platform:
        _, backend = spawn(platform)
        url = "%s/v2/backend/%s/terminate" % (platform.url, backend.id)
        assert call(url, "POST", b"{}").status == 401
        assert call(url, "POST", {"hard": 1}, DEV).status == 400
        assert call(url, "POST", {"hard": False}, {"Authorization": "Bearer t"}).status == 200


def test_a_backend_can_be_terminated_before_it_is_ready() -> None:
    with LocalPlatform(python(DEAF)) as platform:
        _, backend = spawn(platform)
        backend.wait("waiting")
        terminate(platform, backend, hard=True)
        backend.wait("terminated")
        assert statuses(backend) == LIFE[:4] + ["hard-terminating", "terminated"]


def test_a_crash_before_ready_ends_it_without_a_reason() -> None:
    with LocalPlatform(python(CRASHING)) as platform:
        _, backend = spawn(platform)
        last = backend.wait("terminated")
        assert last == {"status": "terminated", "time": last["time"], "exit_error": True}


def test_a_command_that_cannot_run_is_an_image_that_cannot_be_loaded() -> None:
    lines: List[str] = []
    with LocalPlatform(["/nonexistent"], log=lines.append) as platform:
        _, backend = spawn(platform)
        last = backend.wait("terminated")
        assert statuses(backend) == ["scheduled", "loading", "terminated"] and set(last) == {"status", "time"}
    assert any("/nonexistent" in line for line in lines)


@pytest.mark.parametrize("code", [0, 7])
def test_a_process_that_ends_by_itself_is_terminated(code: int) -> None:
    with LocalPlatform(python(LEAVING)) as platform:
        answer, backend = spawn(platform, {"spawn": {"executable": {"env": {"CODE": str(code)}}}})
        backend.wait("ready")
        call_until_hung_up(answer["url"])
        last = backend.wait("terminated")
        assert last == {"status": "terminated", "time": last["time"], "exit_error": code != 0}
        assert statuses(backend) == LIFE + ["terminated"]


def call_until_hung_up(url: str) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        call(url)


def test_a_backend_that_does_not_listen_in_time_is_killed() -> None:
    with LocalPlatform(python(DEAF), startup_timeout=0.2) as platform:
        _, backend = spawn(platform)
        last = backend.wait("terminated")
        assert statuses(backend) == LIFE[:4] + ["hard-terminating", "terminated"]
        assert (last["termination_reason"], last["termination_kind"]) == ("startuptimeout", "hard")


def test_the_lifetime_limit_ends_it() -> None:
    with LocalPlatform(python(POLITE)) as platform:
        _, backend = spawn(platform, {"spawn": {"lifetime_limit_seconds": 1}})
        assert backend.wait("terminating")["termination_reason"] == "swept"
        assert backend.wait("terminated")["termination_kind"] == "soft"


def test_it_is_ended_when_idle() -> None:
    with LocalPlatform(python(POLITE)) as platform:
        _, backend = spawn(platform, {"spawn": {"max_idle_seconds": 1}})
        backend.wait("ready")
        assert backend.wait("terminating")["termination_reason"] == "swept"


def test_it_is_not_idle_while_a_request_is_under_way() -> None:
    with LocalPlatform(python(SHOUTING)) as platform:
        answer, backend = spawn(platform)
        assert backend.wanted.max_idle == 300
        backend.wait("ready")
        with upgraded(answer["url"]):
            limit_idleness(platform, backend, 0.1)
            with pytest.raises(TimeoutError):
                backend.wait("terminating", timeout=0.3)
            limit_idleness(platform, backend, 0.5)
            left = time.monotonic()
        assert backend.wait("terminating")["termination_reason"] == "swept"
        assert time.monotonic() - left > 0.4


def limit_idleness(platform: LocalPlatform, backend: Backend, seconds: float) -> None:
    with platform.changed:
        backend.wanted = backend.wanted._replace(max_idle=seconds)
        platform.changed.notify_all()


def test_what_a_backend_started_dies_with_it() -> None:
    with watcher() as (listener, port), LocalPlatform(python(PARENT)) as platform:
        _, backend = spawn(platform, {"spawn": {"executable": {"env": {"WATCH": port}}}})
        held, _ = listener.accept()
        with held:
            held.settimeout(LONG)
            terminate(platform, backend)
            assert held.recv(1) == b""


@contextmanager
def watcher() -> Iterator[Tuple[socket.socket, str]]:
    with socket.socket() as listener:
        listener.settimeout(LONG)
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener, str(listener.getsockname()[1])


def test_closing_ends_everything_at_once() -> None:
    with watcher() as (listener, port):
        platform = LocalPlatform(python(PARENT), grace=1000)
        platform.start()
        answer, backend = spawn(platform, {"spawn": {"executable": {"env": {"WATCH": port}}}})
        held, _ = listener.accept()
        with held, Stream(answer["status_url"] + "/stream") as stream:
            stream.until("ready")
            idle = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=LONG)
            idle.request("GET", "/v2/")
            idle.getresponse().read()
            started = time.monotonic()
            platform.close()
            assert time.monotonic() - started < 5
            held.settimeout(LONG)
            assert held.recv(1) == b"" and idle.sock.recv(1) == b""
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                stream.response.read()
            idle.close()
        assert backend.status == "terminated"
        with pytest.raises(ConnectionError):
            connect(platform)
        platform.close()


# ---------------------------------------------------------------------------------------------------------------------
# The status stream
# ---------------------------------------------------------------------------------------------------------------------

def test_a_stream_replays_goes_on_and_outlives_the_backend() -> None:
    with LocalPlatform(python(POLITE)) as platform:
        answer, backend = spawn(platform)
        with Stream(answer["status_url"] + "/stream") as early:
            assert early.response.headers.get_content_type() == "text/event-stream"
            assert early.response.headers["Transfer-Encoding"] == "chunked"
            assert early.until("ready") == backend.states
            with Stream(answer["status_url"] + "/stream") as late:
                assert late.until("ready") == backend.states
                terminate(platform, backend)
                seen = late.until("terminated")
                assert early.until("terminated") == seen == backend.states[5:]
                assert_silent(late)
        with Stream(answer["status_url"] + "/stream") as replay:
            assert replay.until("terminated") == backend.states
            assert_silent(replay)


def assert_silent(stream: Stream) -> None:
    assert stream.connection.sock is not None
    stream.connection.sock.settimeout(0.1)
    with pytest.raises(OSError) as caught:
        stream.response.readline()
    assert isinstance(caught.value, socket.timeout)


def test_an_event_is_its_data_and_a_blank_line() -> None:
    with LocalPlatform(["/nonexistent"]) as platform:
        answer, backend = spawn(platform)
        with Stream(answer["status_url"] + "/stream") as stream:
            state = json.dumps(backend.states[0], separators=(",", ":"))
            assert stream.response.readline() + stream.response.readline() == b"data:%s\n\n" % state.encode()


def test_a_client_of_http_1_0_gets_the_events_as_they_are() -> None:
    with LocalPlatform(["/nonexistent"]) as platform:
        _, backend = spawn(platform)
        with socket.create_connection(("127.0.0.1", platform.port), LONG) as sock:
            sock.sendall(b"GET /v2/backend/%s/status/stream HTTP/1.0\r\n\r\n" % backend.id.encode())
            received = b""
            while b"terminated" not in received:
                received += sock.recv(65536)
            assert b"\r\n\r\ndata:{" in received and b"chunked" not in received


def test_a_client_that_leaves_a_silent_stream_is_noticed() -> None:
    with LocalPlatform(python(POLITE)) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        before = set(threading.enumerate())
        with Stream(answer["status_url"] + "/stream") as stream:
            stream.until("ready")
            serving = set(threading.enumerate()) - before
            assert serving
        for thread in serving:
            thread.join(LONG)
            assert not thread.is_alive()


def test_forgetting_imitates_the_dev_server() -> None:
    with LocalPlatform(python(POLITE), forget=True) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        assert call(answer["status_url"]).status == 200
        terminate(platform, backend)
        backend.wait("terminated")
        assert call(answer["status_url"]).status == 404
        assert terminate(platform, backend).status == 404
        with Stream(answer["status_url"] + "/stream") as stream:
            assert stream.until("terminated") == backend.states
        with socket.create_connection(("127.0.0.1", platform.port), LONG) as sock:
            sock.sendall(b"GET /v2/backend/nobody/status/stream HTTP/1.1\r\n\r\n")
            sock.settimeout(0.2)
            with pytest.raises(socket.timeout):
                sock.recv(1)


# ---------------------------------------------------------------------------------------------------------------------
# The proxy
# ---------------------------------------------------------------------------------------------------------------------

@contextmanager
def upgraded(url: str) -> Iterator[socket.socket]:
    netloc, _, path = url[len("http://"):].partition("/")
    host, _, port = netloc.partition(":")
    with socket.create_connection((host, int(port)), LONG) as sock:
        sock.sendall(b"GET /%s HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nat once" % path.encode())
        received = b""
        while not received.endswith(b"AT ONCE"):
            data = sock.recv(65536)
            assert data, received
            received += data
        assert received.startswith(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
        yield sock


@pytest.fixture
def shouting(nothing_left: None) -> Iterator[Tuple[Backend, str]]:
    with LocalPlatform(python(SHOUTING)) as platform:
        answer, backend = spawn(platform, {"user": "ü\r\nX-Evil: 1", "auth": {"role": "ä"}})
        backend.wait("ready")
        yield backend, answer["url"]


def test_a_request_is_passed_on_without_the_token(shouting: Tuple[Backend, str]) -> None:
    backend, url = shouting
    answer = call(url + "a/b?c=d", "PATCH", b"hello", {"X-Mine": "1", "X-Verified-Backend": "forged"})
    head = answer.body.decode().split("\r\n")
    assert head[0] == "PATCH /a/b?c=d HTTP/1.1" and answer.body.endswith(b"\n\nHELLO")
    assert (answer.status, answer.headers["X-Mine"], answer.headers["Connection"]) == (200, "1", "close")
    assert "X-Mine: 1" in head and "X-Verified-Backend: forged" not in answer.body.decode()


def test_the_backend_is_told_who_comes(shouting: Tuple[Backend, str]) -> None:
    backend, url = shouting
    head = call(url + "x").body.decode().split("\r\n")
    assert "X-Verified-Backend: " + backend.id in head
    assert "X-Verified-Username: ü??X-Evil: 1" in head
    assert 'X-Verified-User-Data: {"role": "\\u00e4"}' in [line.split("\n")[0] for line in head]


def test_any_page_may_read_what_a_backend_answers(shouting: Tuple[Backend, str]) -> None:
    assert call(shouting[1]).headers["Access-Control-Allow-Origin"] == "*"


def test_a_url_works_without_its_last_slash(shouting: Tuple[Backend, str]) -> None:
    assert call(shouting[1][:-1] + "?q").body.startswith(b"GET /?q HTTP/1.1")


def test_a_large_body_is_passed_on(shouting: Tuple[Backend, str]) -> None:
    assert call(shouting[1], "POST", b"x" * 3000000).body.count(b"X") >= 3000000


def test_a_chunked_body_is_passed_on(shouting: Tuple[Backend, str]) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
    netloc, _, path = shouting[1][len("http://"):].partition("/")
    connection = http.client.HTTPConnection(netloc, timeout=LONG)
    connection.request("POST", "/" + path, parts(), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    body = connection.getresponse().read()
    connection.close()
    assert body.endswith(b"\n\n3\r\nONE\r\n3\r\nTWO\r\n0\r\n\r\n")


def test_an_upgraded_connection_is_a_tunnel(shouting: Tuple[Backend, str]) -> None:
    with upgraded(shouting[1]) as tunnel:
        for word in (b"one", b"two"):
            tunnel.sendall(word)
            assert tunnel.recv(100) == word.upper()


def test_a_url_is_refused_before_ready_and_after_the_end() -> None:
    with LocalPlatform(python(DEAF)) as platform:
        answer, backend = spawn(platform)
        assert call(answer["url"]).status == 503
        terminate(platform, backend, hard=True)
        backend.wait("terminated")
        assert call(answer["url"]).status == 410
        assert call(platform.url + "/nobody/").status == 410


# ---------------------------------------------------------------------------------------------------------------------
# Plane
# ---------------------------------------------------------------------------------------------------------------------

def test_planes_connect_answer_and_states() -> None:
    with LocalPlatform(python(SHOUTING), plane=True) as platform:
        answer, backend = spawn(platform)
        assert set(answer) == {"backend_id", "spawned", "status", "token", "url", "status_url", "secret_token",
                               "subdomain", "drone"}
        assert answer["status_url"] == "%s/pub/b/%s/status" % (platform.url, backend.id)
        backend.wait("ready")
        state = call(answer["status_url"]).json
        assert state == {"status": "ready", "time": state["time"]}
        assert type(state["time"]) is int and abs(state["time"] / 1000 - time.time()) < 60
        assert call(answer["url"]).status == 200


@pytest.mark.parametrize("hard", [False, True])
def test_plane_terminates_and_says_of_which_kind(hard: bool) -> None:
    with LocalPlatform(python(POLITE), plane=True) as platform:
        _, backend = spawn(platform)
        backend.wait("ready")
        url = "%s/ctrl/b/%s/%s-terminate" % (platform.url, backend.id, "hard" if hard else "soft")
        answer = call(url, "POST")
        assert (answer.status, answer.body) == (200, b"null")
        backend.wait("terminated")
        assert statuses(backend) == LIFE + ["hard-terminating" if hard else "terminating", "terminated"]
        assert {state["termination_kind"] for state in backend.states[5:]} == {"hard" if hard else "soft"}
        assert {state["termination_reason"] for state in backend.states[5:]} == {"external"}


def test_planes_events_have_ids_and_go_on_from_the_last() -> None:
    with LocalPlatform(["/nonexistent"], plane=True) as platform:
        answer, backend = spawn(platform)
        backend.wait("terminated")
        with Stream(answer["status_url"] + "-stream") as stream:
            assert [stream.event()["id"] for _ in range(3)] == ["scheduled", "loading", "terminated"]
        with Stream(answer["status_url"] + "-stream", {"Last-Event-ID": "scheduled"}) as stream:
            assert json.loads(stream.event()["data"]) == backend.states[1]
        with Stream(answer["status_url"] + "-stream", {"Last-Event-ID": "nonsense"}) as stream:
            assert stream.event()["id"] == "scheduled"


def test_planes_idle_streams_carry_comments() -> None:
    with LocalPlatform(plane=True, keep_alive=0.05) as platform:
        with Stream(platform.url + "/pub/b/nobody/status-stream") as stream:
            assert [stream.event(), stream.event()] == [{"": ""}, {"": ""}]


SPAWN: Dict[str, Any] = {"executable": {"image": "i"}}


@pytest.mark.parametrize("request_, status, kind", [
    ({}, 409, "KeyUnheldNoSpawnConfig"), ({"key": {"name": "k"}}, 409, "KeyUnheldNoSpawnConfig"),
    ({"key": {"name": "held", "tag": "other"}}, 409, "KeyHeld"),
    ({"key": "k"}, 400, "Other"), ({"key": {}}, 400, "Other"), ({"spawn": True}, 400, "Other"),
    ({"spawn_config": {}}, 400, "Other"), ({"spawn_config": {"executable": {}}}, 400, "Other"),
    ({"spawn_config": {**SPAWN, "tag": "t"}}, 400, "Other"),
    ({"spawn_config": {**SPAWN, "max_idle_seconds": 0.5}}, 400, "Other"),
    (b"nonsense", 400, "Other"),
], ids=str)
def test_plane_refuses_with_its_own_errors(request_: Union[bytes, Dict[str, Any]], status: int, kind: str) -> None:
    with LocalPlatform(python(POLITE), plane=True) as platform:
        if isinstance(request_, dict) and "tag" in request_.get("key", ()):
            spawn(platform, {"key": {"name": "held"}, "spawn_config": SPAWN})
        answer = connect(platform, request_)
        assert (answer.status, answer.json["kind"], set(answer.json)) == (status, kind, {"id", "kind", "message"})


def test_planes_keys_have_namespaces() -> None:
    with LocalPlatform(python(POLITE), plane=True) as platform:
        _, backend = spawn(platform, {"key": {"name": "k", "namespace": "n"}, "spawn_config": SPAWN})
        assert backend.key == "k"
        again, same = spawn(platform, {"key": {"name": "k", "namespace": "n"}})
        assert (same, again["spawned"], again["drone"]) == (backend, False, None)
        assert spawn(platform, {"key": {"name": "k"}, "spawn_config": SPAWN})[1] is not backend


def test_plane_does_not_know_everybody() -> None:
    with LocalPlatform(plane=True) as platform:
        assert call(platform.url + "/pub/b/nobody/status").json["kind"] == "NotFound"
        assert call(platform.url + "/ctrl/b/nobody/soft-terminate", "POST").status == 404
        assert call(platform.url + CONNECT, "POST", b"{}", DEV).status == 404


def test_no_web_page_can_start_a_process() -> None:
    with LocalPlatform(plane=True) as platform:
        assert connect(platform, {"spawn_config": SPAWN}, headers={"Content-Type": "text/plain"}).status == 415
        assert "Access-Control-Allow-Headers" not in call(platform.url + "/ctrl/connect", "OPTIONS").headers


def test_plane_wants_a_token_only_where_one_is_listed() -> None:
    with LocalPlatform(["/nonexistent"], plane=True, tokens=["t"]) as platform:
        assert connect(platform, {"spawn_config": SPAWN}).status == 401
        assert connect(platform, {"spawn_config": SPAWN}, headers={**JSON, "Authorization": "Bearer t"}).status == 200


# ---------------------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------------------

def program(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, str(HERE / "local_platform.py"), *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, universal_newlines=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_the_program_leaves_no_orphan(number: signal.Signals) -> None:
    with watcher() as (listener, port), program("--port", "0", "--", *python(PARENT)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[2]
        assert "JAMSOCKET_DEV=true JAMSOCKET_DEV_PORT=" + url.rpartition(":")[2] in line
        body = {"key": "k", "spawn": {"executable": {"env": {"WATCH": port}}}}
        answer = call(url + CONNECT, "POST", body, DEV).json
        with Stream(answer["status_url"] + "/stream") as stream:
            stream.until("ready")
        held, _ = listener.accept()
        with held:
            process.send_signal(number)
            out, err = process.communicate(timeout=LONG)    # the end of all who hold its standard error
            assert held.recv(1) == b""
        assert process.returncode == 0 and "Traceback" not in err
        assert 'backend %s (key "k"): ready\n' % answer["backend_id"] in err
        assert answer["token"] not in out + err


def test_the_program_serves_plane_and_the_backends_output_is_seen() -> None:
    script = "import sys; print('from the backend', flush=True)"
    with program("--port", "0", "--plane", "--", *python(script)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[2]
        assert "PLANE_URL=%s PLANE_IMAGE=" % url in line
        answer = call(url + "/ctrl/connect", "POST", {"spawn_config": SPAWN}, JSON).json
        with Stream(answer["status_url"] + "-stream") as stream:
            while stream.event()["id"] != "terminated":
                pass
        process.terminate()
        assert "from the backend\n" in process.communicate(timeout=LONG)[1]


def test_a_taken_port_is_one_clear_line() -> None:
    with watcher() as (_, port), program("--port", port) as process:
        out, err = process.communicate(timeout=LONG)
        assert (process.returncode, out, err.count("\n")) == (1, "", 1)
        assert port in err and "--port" in err and "Traceback" not in err


@pytest.mark.parametrize("arguments, code", [(["--help"], 0), (["--port", "x"], 2), (["--port", "70000"], 2),
                                             (["stray"], 2)], ids=str)
def test_the_program_explains_itself(arguments: Sequence[str], code: int) -> None:
    with program(*arguments) as process:
        out, err = process.communicate(timeout=LONG)
        assert process.returncode == code and "usage: local_platform.py [options] [-- CMD ARG...]" in out + err
