"""The calls of the client: what each sends, byte by byte, what it makes of the answer, and what it refuses to begin."""

import inspect
import json
import math
import re
import ssl
import sys
import urllib.request
from contextlib import closing
from types import MappingProxyType
from typing import Any, Callable, Dict, Generator, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import unquote

import pytest

import jamsocket_lite
from kit.deadlines import LONG
from kit.platforms import Api, Client, Cluster, ID, IMAGE, TIME, running
from kit.secrets import BACKEND_TOKEN, SECRET_TOKEN, TOKEN
from kit.threads import for_each
from jamsocket_lite import (BackendState, ConfigurationError, ConnectRequest, ConnectResponse,
                            HTTPError, Jamsocket, JamsocketError, JamsocketTimeout, Plane, ProtocolError,
                            ValidationError)
from kit.server import Request, Reset, Server, Silence, Step, answer, closed_port, event, stream_head

pytestmark = pytest.mark.usefixtures("nothing_left")

FULL = {"key": "zimmer/ü 😀", "user": "ada", "auth": {"roles": ["日本", None, 1.5]}, "spawn": {
    "tag": "v2", "cluster": "eu", "lifetime_limit_seconds": 3600, "max_idle_seconds": 60, "executable": {
        "mount": True, "env": {"GREETING": "grüß\n"}, "resource_limits": {"cpu_period_percent": 50}}}}


def answering(api: Api, **connected: Any) -> Callable[[Request], Sequence[Step]]:
    """A script that answers all four calls well."""
    def script(request: Request) -> Sequence[Step]:
        url = "http://" + str(request.header("Host"))
        if request.target == api.stream_target():
            return [stream_head(), event(api.state("ready")), Silence()]
        if request.target == api.status_target():
            return [answer(api.state("ready"))]
        return [answer(api.terminated() if "terminate" in request.target else api.document(url, **connected))]
    return script


def first(stream: Generator[BackendState, None, None]) -> BackendState:
    """The first state of a stream, which is closed then."""
    with closing(stream):
        return next(stream)


# ---------------------------------------------------------------------------------------------------------------------
# Signatures
# ---------------------------------------------------------------------------------------------------------------------

URL = "'https://api.jamsocket.com'"
SIGNATURES = [
    (Jamsocket, "account=None, service=None, token=None, *, dev=False, port=8080, api_url=%s, timeout=60.0, "
                "ssl_context=None" % URL),
    (Plane, "url='http://localhost:8080', *, image, pool=None, namespace=None, timeout=60.0, ssl_context=None, "
            "headers=None"),
    *[(getattr(kind, name), "%s%s" % (first, rest)) for kind, first in ((Jamsocket, "self, "), (Plane, "self, "))
      for name, rest in (
          ("connect", "request=None, *, timeout=None"), ("status", "backend, *, timeout=None"),
          ("status_stream", "backend, *, timeout=None"),
          ("wait_until_ready", "backend, *, timeout=60.0, on_status=None"),
          ("terminate", "backend, *, hard=False, timeout=None"))],
    (Jamsocket.from_env, "env=None"), (Plane.from_env, "env=None"),
    (jamsocket_lite.connect, "request=None, *, account=None, service=None, token=None, dev=False, port=8080, "
                             "api_url=%s, timeout=60.0, ssl_context=None" % URL),
    (jamsocket_lite.wait_until_ready, "backend, *, timeout=60.0, on_status=None, ssl_context=None"),
]


@pytest.mark.parametrize("function, expected", SIGNATURES, ids=[one.__qualname__ for one, _ in SIGNATURES])
def test_a_signature_is_the_contracts(function: Any, expected: str) -> None:
    parameters = inspect.signature(function).parameters.values()
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
    found = re.sub(r" ?= ?", "=", str(inspect.Signature(plain)))
    assert found == "(%s)" % expected


# ---------------------------------------------------------------------------------------------------------------------
# What arrives
# ---------------------------------------------------------------------------------------------------------------------

Call = Callable[[Client, Server, Api], Any]

CALLS: Dict[str, Call] = {
    "connect": lambda client, server, api: client.connect(),
    "status": lambda client, server, api: client.status(ID),
    "status_stream": lambda client, server, api: first(client.status_stream(ID, timeout=LONG)),
    "wait_until_ready": lambda client, server, api: client.wait_until_ready(ID, timeout=LONG),
    "terminate": lambda client, server, api: client.terminate(ID),
}
each_call = pytest.mark.parametrize("name", list(CALLS))
ONCE = ["connect", "status", "terminate"]  # the calls of one request


def sent(api: Api, call: Call, **options: Any) -> List[Request]:
    """What a call sends to a server that answers well."""
    with Server(answering(api)) as server:
        call(api.client(server.url, **options), server, api)
        assert server.wait_closed(LONG)
        assert server.connections == len(server.requests)
        return server.requests


@pytest.mark.parametrize("name", ONCE)
def test_a_call_is_one_request_on_one_connection(api: Api, name: str) -> None:
    with Server(answering(api)) as server:
        client = api.client(server.url)
        for count in (1, 2, 3):
            CALLS[name](client, server, api)
            assert (server.connections, len(server.requests)) == (count, count)
            assert server.wait_closed(LONG)  # nothing is kept between calls


@each_call
def test_every_request_says_who_it_is_from(api: Api, name: str) -> None:
    for request in sent(api, CALLS[name]):
        assert request.header("User-Agent") == "jamsocket-lite/" + jamsocket_lite.__version__


@each_call
def test_every_request_is_well_formed(api: Api, name: str) -> None:
    for request in sent(api, CALLS[name]):
        lines = request.head.split(b"\r\n")
        assert re.match(rb"(GET|POST) /[!-~]* HTTP/1\.1\Z", lines[0])
        assert all(re.match(rb"[A-Za-z-]+: [ -~]+\Z", line) for line in lines[1:-2])
        names = [field.lower() for field, _ in request.headers]
        assert len(names) == len(set(names)) and names.count("host") == 1
        assert re.match(r"127\.0\.0\.1:\d+\Z", request.header("Host") or "")
        assert "gzip" not in (request.header("Accept-Encoding") or "")
        assert request.header("Connection") == "close"


@each_call
def test_credentials_go_with_connect_and_terminate(api: Api, name: str) -> None:
    """Jamsocket's status endpoints need none, and get none; Plane's headers are the controller's, whatever the call."""
    expected = "Bearer " + TOKEN if api.plane or name in ("connect", "terminate") else None
    for request in sent(api, CALLS[name]):
        assert request.header("Authorization") == expected
        assert (TOKEN.encode() in request.head) == (expected is not None)
        assert TOKEN.encode() not in request.body and TOKEN not in request.target


@pytest.mark.parametrize("call", [
    lambda client, connected: client.status(connected),
    lambda client, connected: client.status(connected.status_url),
    lambda client, connected: first(client.status_stream(connected, timeout=LONG)),
    lambda client, connected: client.wait_until_ready(connected, timeout=LONG),
    lambda client, connected: client.wait_until_ready(connected.status_url, timeout=LONG),
    lambda client, connected: jamsocket_lite.wait_until_ready(connected, timeout=LONG),
], ids=["status", "status-url", "stream", "wait", "wait-url", "function"])
def test_no_credentials_leave_for_another_origin(api: Api, call: Callable[[Client, ConnectResponse], Any]) -> None:
    """Not even those of a backend: its url alone leads to it."""
    with Server(answering(api)) as elsewhere, Server(answering(api)) as server:
        call(api.client(server.url), api.connected(elsewhere.url))
        assert elsewhere.requests and not server.requests
        for request in elsewhere.requests:
            assert request.header("Authorization") is None
            for secret in (TOKEN, BACKEND_TOKEN, SECRET_TOKEN):
                assert secret.encode() not in request.head + request.body


@pytest.mark.parametrize("name, method, accept", [
    ("connect", "POST", "application/json"), ("status", "GET", "application/json"),
    ("terminate", "POST", "application/json"), ("status_stream", "GET", "text/event-stream")])
def test_a_call_goes_to_its_endpoint(api: Api, name: str, method: str, accept: str) -> None:
    targets = {"connect": api.connect_target, "status": api.status_target(), "terminate": api.terminate_target(),
               "status_stream": api.stream_target()}
    request = sent(api, CALLS[name])[0]
    assert (request.method, request.target, request.header("Accept")) == (method, targets[name], accept)


@each_call
def test_only_a_post_has_a_body(api: Api, name: str) -> None:
    for request in sent(api, CALLS[name]):
        length = request.header("Content-Length")
        if request.method == "GET":
            assert request.body == b"" and length is None and request.header("Content-Type") is None
        else:
            assert length == str(len(request.body)) and request.header("Transfer-Encoding") is None


def test_the_body_of_a_connect_is_ascii_json(api: Api) -> None:
    request = sent(api, lambda client, server, api: client.connect(FULL))[0]
    assert request.header("Content-Type") == "application/json"
    assert request.body.decode("ascii") and b"\\u00fc" in request.body
    body = request.json()
    assert (body["user"], body["auth"]) == (FULL["user"], FULL["auth"])
    assert (body["key"]["name"] if api.plane else body["key"]) == FULL["key"]


@pytest.mark.parametrize("request_", [None, {}, ConnectRequest(), MappingProxyType({"key": None, "spawn": None})],
                         ids=["None", "empty", "instance", "nulls"])
def test_what_is_not_set_is_not_sent(api: Api, request_: Any) -> None:
    request = sent(api, lambda client, server, api: client.connect(request_))[0]
    assert request.json() == ({"spawn_config": {"executable": {"image": IMAGE}}} if api.plane else {})
    assert b"null" not in request.body


def test_a_mapping_and_an_instance_are_sent_alike(api: Api) -> None:
    bodies = [sent(api, lambda client, server, api: client.connect(given))[0].body
              for given in (FULL, ConnectRequest.from_dict(FULL), MappingProxyType(FULL))]
    assert bodies[0] == bodies[1] == bodies[2]


def test_jamsocket_gets_the_request_as_it_is() -> None:
    with Server([answer(ConnectResponse.from_dict({
            "backend_id": ID, "spawned": True, "status": "scheduled", "token": "t", "url": "u", "status_url": "s"}
            ).to_dict())]) as server:
        Jamsocket("acme", "board", TOKEN, api_url=server.url).connect(FULL)
        assert server.requests[0].json() == FULL


@pytest.mark.parametrize("request_", [
    {"key": ""}, {"nope": 1}, {"spawn": False}, {"auth": {"a": b""}}, {"spawn": {"max_idle_seconds": 1.0}}, [], "{}", 5,
], ids=repr)
def test_a_request_that_breaks_the_rules_is_not_sent(api: Api, request_: Any) -> None:
    with Server() as server:
        with pytest.raises(ValidationError):
            api.client(server.url).connect(request_)
        assert server.connections == 0


@pytest.mark.parametrize("given, path", [
    (("acme", "board"), "/v2/service/acme/board/connect"),
    (("acme", "board/staging"), "/v2/service/acme/board/staging/connect"),
    (("a b", "ü/é"), "/v2/service/a%20b/%C3%BC/%C3%A9/connect"),
    (("a?b", "c#d%2f"), "/v2/service/a%3Fb/c%23d%252f/connect"),
])
@pytest.mark.parametrize("base", ["", "/"], ids=["origin", "slash"])
def test_account_service_and_environment_make_the_path(given: Tuple[str, str], path: str, base: str) -> None:
    with Server() as server:
        with pytest.raises(ProtocolError):  # its answer is {}
            Jamsocket(*given, TOKEN, api_url=server.url + base).connect()
        assert server.requests[0].target == path


def test_dev_mode_speaks_for_nobody_in_particular() -> None:
    with Server() as server:
        for client in (Jamsocket(dev=True, port=server.port),
                       Jamsocket("acme", "board", TOKEN, dev=True, port=server.port)):
            with pytest.raises(ProtocolError):
                client.connect()
            request = server.requests[-1]
            assert request.target == "/v2/service/-/-/connect"
            assert request.header("Authorization") == "Bearer -"
            assert TOKEN.encode() not in request.head


def test_terminate_says_how(api: Api) -> None:
    for hard in (False, True):
        request = sent(api, lambda client, server, api: client.terminate(ID, hard=hard))[0]
        assert request.target == api.terminate_target(hard)
        assert request.body == b"" if api.plane else request.json() == {"hard": hard}
    assert sent(api, lambda client, server, api: client.terminate(ID))[0].target == api.terminate_target()


@pytest.mark.parametrize("name", ["status", "status_stream", "terminate", "wait_until_ready"])
def test_a_backend_is_named_by_answer_id_or_status_url(api: Api, name: str) -> None:
    targets = {"status": api.status_target(), "terminate": api.terminate_target(),
               "status_stream": api.stream_target(), "wait_until_ready": api.stream_target()}
    with Server(answering(api)) as server:
        client, connected = api.client(server.url), api.connected(server.url)
        for backend in (connected, connected.backend_id, connected.status_url):
            before = len(server.requests)
            result = getattr(client, name)(backend)
            if name == "status_stream":
                first(result)
            assert targets[name] in [request.target for request in server.requests[before:]]


def test_terminate_goes_to_the_clients_own_origin(api: Api) -> None:
    """A status url elsewhere must not have the token sent there."""
    with Server(answering(api)) as elsewhere, Server(answering(api)) as server:
        for backend in (api.connected(elsewhere.url), elsewhere.url + api.status_target()):
            try:
                api.client(server.url).terminate(backend)
            except ConfigurationError:
                continue
            assert server.requests[-1].target == api.terminate_target()
        assert elsewhere.connections == 0


# ---------------------------------------------------------------------------------------------------------------------
# Once
# ---------------------------------------------------------------------------------------------------------------------

BREAKS: Dict[str, List[Step]] = {
    "closed at once": [],
    "reset": [Reset()],
    "cut head": [b"HTTP/1.1 200 OK\r\nContent-Le"],
    "cut body": [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"],
    "no JSON": [answer(b"<html>")],
    "empty": [answer(b"")],
    "204": [answer(b"", 204)],
    "no HTTP": [b"SSH-2.0-x\r\n"],
    "redirect": [answer(b"", 307, [("Location", "/")])],
    "401": [answer(b"", 401)],
    "404": [answer(b"", 404)],
    "408": [answer(b"", 408)],
    "409": [answer({"error": {"message": "held"}}, 409)],
    "425": [answer(b"", 425)],
    "429": [answer(b"", 429, [("Retry-After", "0")])],
    "500": [answer(b"", 500)],
    "502": [answer(b"<html>", 502)],
    "503": [answer(b"", 503, [("Retry-After", "0")])],
    "504": [answer(b"", 504)],
    "silence": [Silence()],
}


def test_a_call_is_sent_once_and_never_repeated(api: Api) -> None:
    def check(row: Any) -> None:
        name, weather = row
        with Server(BREAKS[weather]) as server:
            with pytest.raises(JamsocketError):
                CALLS[name](api.client(server.url, timeout=0.4), server, api)
            assert server.wait_closed(LONG)
            assert (server.connections, len(server.requests)) == (1, 1)

    for_each(check, [(name, weather) for name in ONCE for weather in BREAKS])


# ---------------------------------------------------------------------------------------------------------------------
# What is made of the answer
# ---------------------------------------------------------------------------------------------------------------------

def test_connect_gives_the_answer(api: Api) -> None:
    with Server(answering(api)) as server:
        connected = api.client(server.url).connect({"key": "k"})
        sent = {"ready_url": "", **api.document(server.url)}
        assert connected.to_dict() == {name: sent[name] for name in sent
                                       if name not in ("subdomain", "drone")}


def test_status_gives_the_state_with_its_time_in_iso_8601(api: Api) -> None:
    state = api.state("terminated", termination_reason="keyexpired", termination_kind="hard", exit_error=True)
    with Server([answer(state)]) as server:
        assert api.client(server.url).status(ID) == BackendState("terminated", TIME, "key_expired", "hard", True)


def test_words_from_the_future_are_kept(api: Api) -> None:
    def script(request: Request) -> Sequence[Step]:
        if request.method == "POST":
            return [answer(api.document("http://h.test", status="sleeping", more=[1]))]
        return [answer(api.state("sleeping", termination_reason="bored", dream={"a": 1}))]

    with Server(script) as server:
        client = api.client(server.url)
        assert str(client.connect().status) == "sleeping"
        assert client.status(ID).to_dict() == {"status": "sleeping", "time": TIME, "termination_reason": "bored"}


def test_nulls_of_an_answer_are_as_good_as_nothing(api: Api) -> None:
    state = api.state("terminated", termination_reason=None, termination_kind=None, exit_error=None)
    with Server([answer(state)]) as server:
        assert api.client(server.url).status(ID) == BackendState("terminated", TIME)
    with Server([answer(api.document("http://h.test", secret_token=None))]) as server:
        assert api.client(server.url).connect().secret_token is None


@pytest.mark.parametrize("wrong", [{}, [], None, 5, "ready", {"status": "ready"}, {"status": 5, "time": TIME}],
                         ids=repr)
def test_an_answer_of_the_wrong_shape_is_a_protocol_error(api: Api, wrong: Any) -> None:
    with Server([answer(wrong)]) as server:
        client = api.client(server.url)
        for call in (lambda: client.status(ID), lambda: client.connect()):
            with pytest.raises(ProtocolError) as caught:
                call()
            assert not isinstance(caught.value, ValidationError)


def test_terminate_gives_nothing(api: Api) -> None:
    with Server(answering(api)) as server:
        result: Any = api.client(server.url).terminate(ID)
        assert result is None


def test_an_error_keeps_its_meaning(api: Api) -> None:
    body = api.refusal(409, "KeyHeld", "the key is held", "req-12")
    with Server([answer(body, 409)]) as server:
        for name in ONCE:
            with pytest.raises(HTTPError) as caught:
                CALLS[name](api.client(server.url), server, api)
            assert (caught.value.status, caught.value.code, caught.value.request_id) == (409, "KeyHeld", "req-12")
            assert "the key is held" in str(caught.value)


def test_the_clients_timeout_is_that_of_a_call_without_one(api: Api) -> None:
    def check(name: str) -> None:
        with Server([Silence()]) as server:
            with pytest.raises(JamsocketTimeout):
                CALLS[name](api.client(server.url, timeout=0.2), server, api)
            assert server.wait_closed(LONG)

    for_each(check, ONCE)


def test_a_calls_own_timeout_goes_before_the_clients(api: Api) -> None:
    def check(call: Callable[[Client], Any]) -> None:
        with Server([Silence()]) as server:
            with pytest.raises(JamsocketTimeout):
                call(api.client(server.url, timeout=600))
            assert server.wait_closed(LONG)

    for_each(check, [lambda client: client.connect(timeout=0.2), lambda client: client.status(ID, timeout=0.2),
                     lambda client: client.terminate(ID, timeout=0.2),
                     lambda client: client.wait_until_ready(ID, timeout=0.2),
                     lambda client: list(client.status_stream(ID, timeout=0.2))])


# ---------------------------------------------------------------------------------------------------------------------
# What is refused before anything is sent
# ---------------------------------------------------------------------------------------------------------------------

MISCONFIGURED: Dict[str, Callable[[], Any]] = {
    "nothing": lambda: Jamsocket(),
    "no token": lambda: Jamsocket("a", "s"),
    "empty account": lambda: Jamsocket("", "s", "t"),
    "empty service": lambda: Jamsocket("a", "", "t"),
    "empty token": lambda: Jamsocket("a", "s", ""),
    "account no string": lambda: Jamsocket(5, "s", "t"),  # type: ignore[arg-type]
    "service no string": lambda: Jamsocket("a", ["s"], "t"),  # type: ignore[arg-type]
    "token no string": lambda: Jamsocket("a", "s", b"t"),  # type: ignore[arg-type]
    "token with a line end": lambda: Jamsocket("a", "s", "t\r\nX: y"),
    "token with a space": lambda: Jamsocket("a", "s", "t t"),
    "token beyond ASCII": lambda: Jamsocket("a", "s", "tö"),
    "account of dots": lambda: Jamsocket("..", "s", "t"),
    "service of dots": lambda: Jamsocket("a", "..", "t"),
    "empty environment": lambda: Jamsocket("a", "s/", "t"),
    "two environments": lambda: Jamsocket("a", "s/e/f", "t"),
    "api_url empty": lambda: Jamsocket("a", "s", "t", api_url=""),
    "api_url None": lambda: Jamsocket("a", "s", "t", api_url=None),  # type: ignore[arg-type]
    "api_url without scheme": lambda: Jamsocket("a", "s", "t", api_url="api.jamsocket.com"),
    "api_url ftp": lambda: Jamsocket("a", "s", "t", api_url="ftp://h.test"),
    "api_url file": lambda: Jamsocket("a", "s", "t", api_url="file:///etc/passwd"),
    "api_url with a user": lambda: Jamsocket("a", "s", "t", api_url="https://u:p@h.test"),
    "api_url with a space": lambda: Jamsocket("a", "s", "t", api_url="https://h.test/a b"),
    "api_url with a line end": lambda: Jamsocket("a", "s", "t", api_url="https://h.test/\r\nX: y"),
    "api_url without a host": lambda: Jamsocket("a", "s", "t", api_url="https:///x"),
    "api_url with a bad port": lambda: Jamsocket("a", "s", "t", api_url="https://h.test:99999"),
    "api_url with a word as port": lambda: Jamsocket("a", "s", "t", api_url="https://h.test:http"),
    **{"port %r" % (port,): (lambda port=port: Jamsocket(dev=True, port=port))  # type: ignore[misc]
       for port in (0, -1, 65536, 10 ** 30, True, "8080", 8080.0, None)},
    "Plane url": lambda: Plane("localhost:8080", image=IMAGE),
    "Plane url empty": lambda: Plane("", image=IMAGE),
    "Plane image empty": lambda: Plane(image=""),
    "Plane image no string": lambda: Plane(image=None),  # type: ignore[arg-type]
    "Plane pool": lambda: Plane(image=IMAGE, pool=5),  # type: ignore[arg-type]
    "Plane namespace": lambda: Plane(image=IMAGE, namespace=["n"]),  # type: ignore[arg-type]
    **{"Plane headers %d" % number: (lambda headers=headers: Plane(image=IMAGE, headers=headers))  # type: ignore[misc]
       for number, headers in enumerate(([("A", "b")], {"A": 5}, {5: "b"}, {"A": "b\r\nC: d"}, {"A: b\r\nC": "d"},
                                         {"": "b"}, {"A b": "c"}, {"A": "ü"}, "A: b"))},
    "no context": lambda: Jamsocket("a", "s", "t", ssl_context="yes"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", list(MISCONFIGURED))
def test_a_misconfigured_client_is_not_made(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MISCONFIGURED[name]()
    message = str(caught.value)
    assert message.isprintable() and len(message) < 300
    assert "t\r\nX" not in message and "u:p" not in message


def test_a_context_that_does_not_check_is_refused() -> None:
    """Certificates are checked, always."""
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigurationError, match="ssl_context"):
        Jamsocket("a", "s", "t", ssl_context=careless)
    Jamsocket("a", "s", "t", ssl_context=ssl.create_default_context())


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match="account.*service.*token"):
        Jamsocket()
    with pytest.raises(ConfigurationError, match="token") as caught:
        Jamsocket("acme", "board")
    assert "account" not in str(caught.value).split(",")[0]


WRONG_TIMEOUTS = [0, 0.0, -1, -0.5, math.nan, -math.inf, True, False, "5", b"5", [5], 5j]


@pytest.mark.parametrize("timeout", WRONG_TIMEOUTS, ids=repr)
def test_a_timeout_is_a_number_of_seconds_above_0(api: Api, timeout: Any) -> None:
    with Server() as server:
        with pytest.raises(ConfigurationError, match="timeout"):
            api.client(server.url, timeout=timeout)
        client = api.client(server.url)
        calls: List[Callable[[], Any]] = [
            lambda: client.connect(timeout=timeout), lambda: client.status(ID, timeout=timeout),
            lambda: client.terminate(ID, timeout=timeout), lambda: client.wait_until_ready(ID, timeout=timeout),
            lambda: client.status_stream(ID, timeout=timeout),  # at the call, not at the first state
            lambda: jamsocket_lite.wait_until_ready(server.url + api.status_target(), timeout=timeout),
            lambda: jamsocket_lite.connect(account="a", service="s", token="t", api_url=server.url, timeout=timeout)]
        for call in calls:
            with pytest.raises(ConfigurationError, match="timeout"):
                call()
        assert server.connections == 0


@pytest.mark.parametrize("timeout", [5, 0.5 + LONG, math.inf, 1e10, 10 ** 400, 1e308],
                         ids=["int", "float", "inf", "1e10", "huge int", "1e308"])
def test_any_time_above_0_is_good(api: Api, timeout: float) -> None:
    with Server(answering(api)) as server:
        client = api.client(server.url, timeout=timeout)
        assert client.connect().backend_id == client.connect(timeout=timeout).backend_id == ID
        assert client.wait_until_ready(ID, timeout=timeout).is_ready
        assert first(client.status_stream(ID, timeout=timeout)).is_ready


def test_no_time_limit_is_good_where_the_contract_has_none(api: Api) -> None:
    with Server(answering(api)) as server:
        client = api.client(server.url)
        assert client.wait_until_ready(ID, timeout=None).is_ready
        assert first(client.status_stream(ID, timeout=None)).is_ready
        assert jamsocket_lite.wait_until_ready(api.connected(server.url), timeout=None).is_ready


@pytest.mark.parametrize("url", ["ftp://h.test/s", "file:///etc/passwd", "http://u:p@h.test/s", "http:///s", "://",
                                 "http://h.test/a b", "http://h.test:0/s", "javascript://x", "http://h.test\r\n/s"])
def test_only_http_and_https_urls_are_opened(api: Api, url: str) -> None:
    client = api.client("http://127.0.0.1:%d" % closed_port(), timeout=5)
    connected = api.connected("http://h.test", status_url=url)
    calls: List[Callable[[], Any]] = [
        lambda: client.status(url), lambda: client.status(connected), lambda: client.status_stream(connected),
        lambda: client.wait_until_ready(connected), lambda: jamsocket_lite.wait_until_ready(url)]
    for call in calls:
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert "u:p" not in str(caught.value) and "passwd" not in str(caught.value)


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_names_nothing_is_refused(api: Api, id: str) -> None:
    with Server(answering(api)) as server:
        client = api.client(server.url)
        calls: List[Callable[[], Any]] = [
            lambda: client.status(id), lambda: client.status_stream(id), lambda: client.wait_until_ready(id),
            lambda: client.terminate(id), lambda: jamsocket_lite.wait_until_ready(id)]
        for call in calls:
            with pytest.raises(ConfigurationError):
                call()
        assert server.connections == 0


@pytest.mark.parametrize("id", ["a/b", "../x", "a?b", "a#b", "a%2fb", "a b", "ü", "a\r\nX: y", "\0"], ids=ascii)
def test_an_id_arrives_as_it_is_or_not_at_all(api: Api, id: str) -> None:
    with Server(answering(api)) as server:
        client = api.client(server.url)
        calls: List[Tuple[Callable[[str], Any], str]] = [(client.status, api.status_target("%s")),
                                                         (client.terminate, api.terminate_target(id="%s"))]
        for call, target in calls:
            prefix, suffix = target.split("%s")
            before = len(server.requests)
            try:
                call(id)
            except JamsocketError:
                pass
            for request in server.requests[before:]:
                middle = request.target[len(prefix):len(request.target) - len(suffix)]
                assert request.target == prefix + middle + suffix
                assert unquote(middle) == id and not set(middle) & set("/?# ")


def test_the_modules_function_wants_a_status_url() -> None:
    with pytest.raises(ConfigurationError):
        jamsocket_lite.wait_until_ready(ID)


def test_credentials_are_keyword_arguments_of_the_function() -> None:
    with pytest.raises(TypeError):
        jamsocket_lite.connect({}, "acme")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Jamsocket("acme", "board", TOKEN, True)  # type: ignore[call-arg]


# ---------------------------------------------------------------------------------------------------------------------
# The environment and the functions
# ---------------------------------------------------------------------------------------------------------------------

def environment(**names: str) -> Dict[str, str]:
    return {"JAMSOCKET_" + name: value for name, value in names.items()}


CREDENTIALS = environment(ACCOUNT="acme", SERVICE="board/staging", TOKEN=TOKEN)


def seen(make: Callable[[Server], Any]) -> Tuple[str, Optional[str]]:
    """Target and credentials of what a client sends."""
    with Server([answer({})]) as server:
        with pytest.raises(ProtocolError):
            client = make(server)
            if client is not None:
                client.connect()
        return server.requests[0].target, server.requests[0].header("Authorization")


STAGING = ("/v2/service/acme/board/staging/connect", "Bearer " + TOKEN)
DEV = ("/v2/service/-/-/connect", "Bearer -")


def variables(server: Server, **more: str) -> Dict[str, str]:
    return {**CREDENTIALS, **environment(API_URL=server.url, **more)}


@pytest.mark.parametrize("more, expected", [
    ({}, STAGING), ({"DEV": "false"}, STAGING), ({"DEV": ""}, STAGING), ({"DEV": "true"}, DEV),
])
def test_from_env_reads_the_environment(more: Mapping[str, str], expected: Tuple[str, str],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    def given(server: Server) -> Jamsocket:
        return Jamsocket.from_env(MappingProxyType(variables(server, DEV_PORT=str(server.port), **more)))

    def in_environ(server: Server) -> Jamsocket:
        for name, value in variables(server, DEV_PORT=str(server.port), **more).items():
            monkeypatch.setenv(name, value)
        return Jamsocket.from_env()

    assert seen(given) == seen(in_environ) == expected


def test_from_env_in_dev_mode_needs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(lambda server: Jamsocket.from_env(environment(DEV="true", DEV_PORT=str(server.port)))) == DEV
    assert "8080" in repr(Jamsocket.from_env(environment(DEV="true")))
    assert "8080" in repr(Jamsocket.from_env(environment(DEV="true", DEV_PORT="")))


def test_from_env_goes_to_the_platform_by_default() -> None:
    for more in ({}, environment(API_URL="")):
        assert "https://api.jamsocket.com" in repr(Jamsocket.from_env({**CREDENTIALS, **more}))


def test_a_mapping_stands_in_for_the_whole_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="JAMSOCKET_ACCOUNT"):
        Jamsocket.from_env({})


@pytest.mark.parametrize("env, named", [
    ({}, "JAMSOCKET_ACCOUNT"),
    ({**CREDENTIALS, **environment(TOKEN="")}, "JAMSOCKET_TOKEN"),
    ({name: CREDENTIALS[name] for name in ("JAMSOCKET_ACCOUNT", "JAMSOCKET_TOKEN")}, "JAMSOCKET_SERVICE"),
    (environment(DEV="true", DEV_PORT="http"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="0"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="65536"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="-1"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="8080.0"), "(?i)port"),
    (environment(DEV="true", DEV_PORT="9" * 5000), "(?i)port"),
    ({**CREDENTIALS, **environment(API_URL="ftp://h.test")}, ""),
    ({**CREDENTIALS, **environment(TOKEN="a b")}, "token"),
], ids=["nothing", "empty token", "no service", "word", "0", "65536", "negative", "fraction", "long", "url", "token"])
def test_a_malformed_environment_is_refused_by_name(env: Mapping[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named or None) as caught:
        Jamsocket.from_env(env)
    assert TOKEN not in str(caught.value)


def test_the_function_connects_by_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(ACCOUNT="other", SERVICE="other", TOKEN="other", API_URL="http://h.test").items():
        monkeypatch.setenv(name, value)
    assert seen(lambda server: jamsocket_lite.connect(account="acme", service="board/staging", token=TOKEN,
                                                      api_url=server.url) and None) == STAGING
    assert seen(lambda server: jamsocket_lite.connect(dev=True, port=server.port) and None) == DEV


def test_the_function_connects_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_environment(server: Server) -> None:
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        jamsocket_lite.connect({"key": "k"})

    assert seen(by_environment) == STAGING


def test_the_function_needs_all_credentials_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them from here and half from there would be somebody else's."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="token"):
        jamsocket_lite.connect(account="acme", service="board")
    monkeypatch.delenv("JAMSOCKET_TOKEN")
    with pytest.raises(ConfigurationError, match="JAMSOCKET_TOKEN"):
        jamsocket_lite.connect()


# ---------------------------------------------------------------------------------------------------------------------
# Secrets
# ---------------------------------------------------------------------------------------------------------------------

def test_no_repr_of_a_client_shows_its_secrets(api: Api) -> None:
    client = api.client("https://h.test/secret-path")
    for text in (repr(client), str(client), "%s" % client, repr([client])):
        assert TOKEN not in text and "secret-path" not in text


@pytest.mark.parametrize("form", [TOKEN, TOKEN.upper(), "Bearer " + TOKEN, "x%sx" % TOKEN])
def test_a_secret_that_the_server_echoes_is_not_repeated(api: Api, form: str) -> None:
    body = api.refusal(400, form, "bad token %s for %s" % (form, "hunter2hunter2"), form)
    with Server([answer(body, 400)]) as server:
        client = api.client(server.url)
        secret = {"auth": {"password": "hunter2hunter2"}}
        with pytest.raises(HTTPError) as caught:
            client.connect(secret)
    for text in (str(caught.value), repr(caught.value), repr(vars(caught.value))):
        assert TOKEN.lower() not in text.lower() and "hunter2hunter2" not in text


# ---------------------------------------------------------------------------------------------------------------------
# Against the platform itself
# ---------------------------------------------------------------------------------------------------------------------

# A web server that says what the platform told it of its caller.
TELLING = [sys.executable, "-c", """if True:
    import http.server, json, os

    class Telling(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            names = [name for name in os.environ if name.startswith("SESSION_") or name == "GREETING"]
            body = json.dumps([dict(self.headers), {name: os.environ[name] for name in names}]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Telling).serve_forever()
"""]


def test_a_backend_can_be_had_and_used(api: Api) -> None:
    with running(api, TELLING) as cluster:
        client = cluster.client()
        connected = client.connect({"key": "room", "user": "ada", "auth": {"roles": ["admin"]}, "spawn": {
            "executable": {"env": {"GREETING": "hello"}}}})
        assert client.wait_until_ready(connected, timeout=LONG).is_ready
        with urllib.request.urlopen(connected.url, timeout=LONG) as response:
            headers, env = json.loads(response.read().decode())
        told = {name.lower(): value for name, value in headers.items()}
        assert told["x-verified-username"] == "ada"
        assert json.loads(told["x-verified-user-data"]) == {"roles": ["admin"]}
        assert told["x-verified-secret"] == connected.secret_token
        assert env == {"GREETING": "hello", "SESSION_BACKEND_ID": connected.backend_id, "SESSION_BACKEND_KEY": "room"}


def test_a_held_key_gives_the_same_backend(cluster: Cluster) -> None:
    client = cluster.client()
    first = client.connect({"key": "room"})
    client.wait_until_ready(first, timeout=LONG)
    second = client.connect(ConnectRequest(key="room", spawn=False))
    assert (first.spawned, second.spawned) == (True, False)
    assert (second.backend_id, second.status) == (first.backend_id, "ready")
    assert second.token != first.token
    assert client.connect({"key": "other"}).backend_id != first.backend_id


def test_a_key_that_nobody_holds_is_an_error_without_spawn(cluster: Cluster) -> None:
    with pytest.raises(HTTPError) as caught:
        cluster.client().connect({"key": "nobody", "spawn": False})
    assert 400 <= caught.value.status < 500 and caught.value.code and caught.value.request_id


def test_an_unknown_backend_is_404(cluster: Cluster) -> None:
    client = cluster.client()
    for call in (lambda: client.status("nobody"), lambda: client.terminate("nobody")):
        with pytest.raises(HTTPError) as caught:
            call()
        assert caught.value.status == 404 and caught.value.code and caught.value.request_id


def test_the_platform_takes_a_full_request(api: Api) -> None:
    with running(api, cluster="eu") as cluster:
        connected = cluster.client().connect(FULL)
        assert connected.spawned
        wanted = cluster.backend(connected).wanted
        assert (wanted.key, wanted.user, wanted.auth) == (FULL["key"], FULL["user"], FULL["auth"])
        assert (wanted.env, wanted.lifetime, wanted.max_idle) == ({"GREETING": "grüß\n"}, 3600, 60)


@pytest.mark.parametrize("hard, kind", [(False, "soft"), (True, "hard")])
def test_terminate_ends_a_real_backend(cluster: Cluster, hard: bool, kind: str) -> None:
    client = cluster.client()
    connected = cluster.spawn()
    client.terminate(connected, hard=hard)
    last = list(client.status_stream(connected, timeout=LONG))[-1]
    assert (last.status, last.termination_reason, last.termination_kind) == ("terminated", "external", kind)


def test_wrong_credentials_are_refused(api: Api) -> None:
    with running(api) as cluster:
        wrong = (Plane(cluster.url, image=IMAGE, headers={"Authorization": "Bearer wrong"}) if api.plane
                 else Jamsocket("acme", "board", "wrong", api_url=cluster.url))
        with pytest.raises(jamsocket_lite.AuthenticationError) as caught:
            wrong.connect()
        assert caught.value.status == 401
