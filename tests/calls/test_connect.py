"""connect: its document, its path, its answer, and the backend that it gives."""

import json
import urllib.request
from types import MappingProxyType
from typing import Any, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import (ConnectRequest, ConnectResponse, HTTPError, Jamsocket, Plane,
                            ProtocolError, ValidationError)
from kit.backends import python
from kit.calls import sent
from kit.deadlines import LONG
from kit.platforms import ID, IMAGE, Api, Cluster, running
from kit.secrets import TOKEN
from kit.server import Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")


# -------------------------------------------------------------------------------------------------
# What is sent
# -------------------------------------------------------------------------------------------------

FULL = {"key": "zimmer/ü 😀", "user": "ada", "auth": {"roles": ["日本", None, 1.5]}, "spawn": {
    "tag": "v2", "cluster": "eu", "lifetime_limit_seconds": 3600, "max_idle_seconds": 60,
    "executable": {
        "mount": True, "env": {"GREETING": "grüß\n"},
        "resource_limits": {"cpu_period_percent": 50}}}}


def test_the_body_of_a_connect_is_ascii_json(api: Api) -> None:
    request = sent(api, lambda client: client.connect(FULL))[0]
    assert request.header("Content-Type") == "application/json"
    assert request.body.decode("ascii") and b"\\u00fc" in request.body
    body = request.json()
    assert (body["user"], body["auth"]) == (FULL["user"], FULL["auth"])
    assert (body["key"]["name"] if api.plane else body["key"]) == FULL["key"]


@pytest.mark.parametrize("request_",
                         [None, {}, ConnectRequest(),
                          MappingProxyType({"key": None, "spawn": None})],
                         ids=["None", "empty", "instance", "nulls"])
def test_what_is_not_set_is_not_sent(api: Api, request_: Any) -> None:
    request = sent(api, lambda client: client.connect(request_))[0]
    assert request.json() == ({"spawn_config": {"executable": {"image": IMAGE}}} if api.plane
                              else {})
    assert b"null" not in request.body


def test_a_mapping_and_an_instance_are_sent_alike(api: Api) -> None:
    bodies = [sent(api, lambda client: client.connect(given))[0].body
              for given in (FULL, ConnectRequest.from_dict(FULL), MappingProxyType(FULL))]
    assert bodies[0] == bodies[1] == bodies[2]


def test_jamsocket_gets_the_request_as_it_is() -> None:
    with Server([answer(ConnectResponse.from_dict({
            "backend_id": ID, "spawned": True, "status": "scheduled", "token": "t", "url": "u",
        "status_url": "s"}
                                                 ).to_dict())]) as server:
        Jamsocket("acme", "board", TOKEN, api_url=server.url).connect(FULL)
        assert server.requests[0].json() == FULL


@pytest.mark.parametrize("request_", [
    {"key": ""}, {"nope": 1}, {"spawn": False}, {"auth": {"a": b""}},
    {"spawn": {"max_idle_seconds": 1.0}}, [], "{}", 5,
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
def test_account_service_and_environment_make_the_path(given: Tuple[str, str], path: str,
                                                       base: str) -> None:
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


# -------------------------------------------------------------------------------------------------
# What comes back
# -------------------------------------------------------------------------------------------------

def test_connect_gives_the_answer(api: Api) -> None:
    with Server(api.service()) as server:
        connected = api.client(server.url).connect({"key": "k"})
        sent = {"ready_url": "", **api.document(server.url)}
        assert connected.to_dict() == {name: sent[name] for name in sent
                                       if name not in ("subdomain", "drone")}


# -------------------------------------------------------------------------------------------------
# With real backends
# -------------------------------------------------------------------------------------------------

# A web server that says what the platform told it of its caller.
TELLING = python("""if True:
    import http.server, json, os

    class Telling(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            env = {name: os.environ[name] for name in os.environ
                   if name.startswith("SESSION_") or name == "GREETING"}
            body = json.dumps([dict(self.headers), env]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Telling).serve_forever()
""")


def test_a_backend_can_be_had_and_used(api: Api) -> None:
    with running(api, TELLING) as cluster:
        client = cluster.client()
        connected = client.connect({
            "key": "room", "user": "ada", "auth": {"roles": ["admin"]},
            "spawn": {"executable": {"env": {"GREETING": "hello"}}}})
        assert client.wait_until_ready(connected, timeout=LONG).is_ready
        with urllib.request.urlopen(connected.url, timeout=LONG) as response:
            headers, env = json.loads(response.read().decode())
        told = {name.lower(): value for name, value in headers.items()}
        assert told["x-verified-username"] == "ada"
        assert json.loads(told["x-verified-user-data"]) == {"roles": ["admin"]}
        assert told["x-verified-secret"] == connected.secret_token
        assert env == {"GREETING": "hello", "SESSION_BACKEND_ID": connected.backend_id,
                       "SESSION_BACKEND_KEY": "room"}


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


def test_the_platform_takes_a_full_request(api: Api) -> None:
    with running(api, cluster="eu") as cluster:
        connected = cluster.client().connect(FULL)
        assert connected.spawned
        wanted = cluster.backend(connected).wanted
        assert (wanted.key, wanted.user, wanted.auth) == (FULL["key"], FULL["user"], FULL["auth"])
        assert (wanted.env, wanted.lifetime, wanted.max_idle) == ({"GREETING": "grüß\n"}, 3600, 60)


def test_wrong_credentials_are_refused(api: Api) -> None:
    with running(api) as cluster:
        wrong = (Plane(cluster.url, image=IMAGE, headers={"Authorization": "Bearer wrong"})
                 if api.plane
                 else Jamsocket("acme", "board", "wrong", api_url=cluster.url))
        with pytest.raises(jamsocket_lite.AuthenticationError) as caught:
            wrong.connect()
        assert caught.value.status == 401
