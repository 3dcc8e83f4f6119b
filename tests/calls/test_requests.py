"""What every call sends: one request, well formed, with credentials for their own origin alone."""

import re
from typing import Any, Callable, Dict, List

import pytest

import jamsocket_lite
from jamsocket_lite import ConnectResponse, JamsocketTimeout
from kit.calls import METHODS, SINGLE, first, sent
from kit.deadlines import LONG, timed
from kit.platforms import ID, JAMSOCKET, Api, Client
from kit.secrets import BACKEND_TOKEN, SECRET_TOKEN, TOKEN, look_over
from kit.server import Pause, Reset, Server, Silence, Step, answer

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("name", SINGLE)
def test_a_call_is_one_request_on_one_connection(api: Api, name: str) -> None:
    with Server(api.service()) as server:
        client = api.client(server.url)
        for count in (1, 2, 3):
            METHODS[name](client)
            assert (server.connections, len(server.requests)) == (count, count)
            assert server.wait_closed(LONG)  # nothing is kept between calls


@pytest.mark.parametrize("name", METHODS)
def test_every_request_says_who_it_is_from(api: Api, name: str) -> None:
    for request in sent(api, METHODS[name]):
        assert request.header("User-Agent") == "jamsocket-lite/" + jamsocket_lite.__version__


@pytest.mark.parametrize("name", METHODS)
def test_every_request_is_well_formed(api: Api, name: str) -> None:
    for request in sent(api, METHODS[name]):
        lines = request.head.split(b"\r\n")
        assert re.match(rb"(GET|POST) /[!-~]* HTTP/1\.1\Z", lines[0])
        assert all(re.match(rb"[A-Za-z-]+: [ -~]+\Z", line) for line in lines[1:-2])
        names = [field.lower() for field, _ in request.headers]
        assert len(names) == len(set(names)) and names.count("host") == 1
        assert re.match(r"127\.0\.0\.1:\d+\Z", request.header("Host") or "")
        assert "gzip" not in (request.header("Accept-Encoding") or "")
        assert request.header("Connection") == "close"


@pytest.mark.parametrize("name", METHODS)
def test_credentials_go_with_connect_and_terminate(api: Api, name: str) -> None:
    """Jamsocket's status endpoints need none, and get none; Plane's headers are the controller's,
    whatever the call."""
    expected = "Bearer " + TOKEN if api.plane or name in ("connect", "terminate") else None
    for request in sent(api, METHODS[name]):
        assert request.header("Authorization") == expected
        assert (TOKEN.encode() in request.head) == (expected is not None)
        assert TOKEN.encode() not in request.body and TOKEN not in request.target


@pytest.mark.parametrize("call", [
    lambda client, connected: client.status(connected.status_url),
    lambda client, connected: first(client.status_stream(connected.status_url, timeout=LONG)),
    lambda client, connected: client.wait_until_ready(connected.status_url, timeout=LONG),
    lambda client, connected: jamsocket_lite.wait_until_ready(connected, timeout=LONG),
], ids=["status", "stream", "wait", "function"])
def test_no_credentials_leave_for_another_origin(api: Api, call: Callable[[Client, ConnectResponse],
                                                                          Any]) -> None:
    """Not even those of a backend: its url alone leads to it."""
    with Server(api.service()) as elsewhere, Server(api.service()) as server:
        call(api.client(server.url), api.connected(elsewhere.url))
        assert elsewhere.requests and not server.requests
        for request in elsewhere.requests:
            assert request.header("Authorization") is None
            for secret in (TOKEN, BACKEND_TOKEN, SECRET_TOKEN):
                assert secret.encode() not in request.head + request.body


@pytest.mark.parametrize("call", [
    lambda client, connected: client.status(connected),
    lambda client, connected: first(client.status_stream(connected, timeout=LONG)),
    lambda client, connected: client.wait_until_ready(connected, timeout=LONG),
], ids=["status", "stream", "wait"])
def test_a_backend_of_jamsockets_is_asked_for_where_its_answer_says(
        call: Callable[[Client, ConnectResponse], Any]) -> None:
    """And no credentials go there."""
    with Server(JAMSOCKET.service()) as elsewhere, Server(JAMSOCKET.service()) as server:
        call(JAMSOCKET.client(server.url), JAMSOCKET.connected(elsewhere.url))
        assert elsewhere.requests and not server.requests
        assert not any(TOKEN.encode() in request.head for request in elsewhere.requests)


@pytest.mark.parametrize("name, method, accept", [
    ("connect", "POST", "application/json"), ("status", "GET", "application/json"),
    ("terminate", "POST", "application/json"), ("status_stream", "GET", "text/event-stream")])
def test_a_call_goes_to_its_endpoint(api: Api, name: str, method: str, accept: str) -> None:
    targets = {"connect": api.connect_target, "status": api.status_target(),
               "terminate": api.terminate_target(), "status_stream": api.stream_target()}
    request = sent(api, METHODS[name])[0]
    assert (request.method, request.target, request.header("Accept")) == (method, targets[name],
                                                                          accept)


@pytest.mark.parametrize("name", METHODS)
def test_only_a_post_has_a_body(api: Api, name: str) -> None:
    for request in sent(api, METHODS[name]):
        length = request.header("Content-Length")
        if request.method == "GET":
            assert request.body == b"" and length is None and request.header("Content-Type") is None
        else:
            assert length == str(len(request.body)) and request.header("Transfer-Encoding") is None


@pytest.mark.parametrize("name", ["status", "status_stream", "terminate", "wait_until_ready"])
def test_a_backend_is_named_by_answer_id_or_status_url(api: Api, name: str) -> None:
    targets = {"status": api.status_target(), "terminate": api.terminate_target(),
               "status_stream": api.stream_target(), "wait_until_ready": api.stream_target()}
    with Server(api.service()) as server:
        client, connected = api.client(server.url), api.connected(server.url)
        for backend in (connected, connected.backend_id, connected.status_url):
            before = len(server.requests)
            result = getattr(client, name)(backend)
            if name == "status_stream":
                first(result)
            assert targets[name] in [request.target for request in server.requests[before:]]


BREAKS: Dict[str, List[Step]] = {
    "closed at once": [],
    "reset": [Reset()],
    "cut head": [b"HTTP/1.1 200 OK\r\nContent-Le"],
    "cut body": [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"],
    "reset in the body": [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Pause(0.02), Reset()],
    "no JSON": [answer(b"<html>")],
    "empty": [answer(b"")],
    "204": [answer(b"", 204)],
    "no HTTP": [b"SSH-2.0-x\r\n"],
    "redirect": [answer(b"", 307, [("Location", "/")])],
    "401": [answer(b"", 401)],
    "404": [answer(b"", 404)],
    "408": [answer(b"", 408)],
    "409": [answer({"error": {"message": "held"}}, 409)],
    "421": [answer(b"", 421)],
    "425": [answer(b"", 425)],
    "429": [answer(b"", 429, [("Retry-After", "0")])],
    "500": [answer(b"", 500)],
    "502": [answer(b"<html>", 502)],
    "503": [answer(b"", 503, [("Retry-After", "0")])],
    "504": [answer(b"", 504)],
    "silence": [Silence()],
}


@pytest.mark.waits
@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("weather", BREAKS)
def test_a_call_is_sent_once_and_never_repeated(api: Api, weather: str, name: str) -> None:
    with Server(BREAKS[weather]) as server:
        client = api.client(server.url, timeout=0.4 if weather == "silence" else LONG)
        look_over(timed(lambda: METHODS[name](client)).outcome)
        assert server.wait_closed(LONG)
        if weather == "silence":  # whose deadline may pass before anything is sent
            assert server.connections <= 1 and len(server.requests) <= 1
        else:
            assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.waits
@pytest.mark.parametrize("name", SINGLE)
def test_the_clients_timeout_is_that_of_a_call_without_one(api: Api, name: str) -> None:
    with Server([Silence()]) as server:
        with pytest.raises(JamsocketTimeout):
            METHODS[name](api.client(server.url, timeout=0.2))
        assert server.wait_closed(LONG)


@pytest.mark.waits
@pytest.mark.parametrize("call", [
    lambda client: client.connect(timeout=0.2), lambda client: client.status(ID, timeout=0.2),
    lambda client: client.terminate(ID, timeout=0.2),
    lambda client: client.wait_until_ready(ID, timeout=0.2),
    lambda client: list(client.status_stream(ID, timeout=0.2)),
], ids=["connect", "status", "terminate", "wait", "stream"])
def test_a_calls_own_timeout_goes_before_the_clients(api: Api,
                                                     call: Callable[[Client], Any]) -> None:
    with Server([Silence()]) as server:
        with pytest.raises(JamsocketTimeout):
            call(api.client(server.url, timeout=600))
        assert server.wait_closed(LONG)
