"""What is Plane's own: how a request is translated, where the headers go, what its answers and errors become, and when
the module's functions speak to it. What both clients share is tested for both in the files beside this one."""

import inspect
from types import MappingProxyType
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import pytest

import jamsocket_lite
from kit.backends import Gate
from kit.deadlines import LONG
from kit.platforms import APIS, ID, PLANE, TIME, running, statuses
from kit.secrets import BACKEND_TOKEN, SECRET_TOKEN, TOKEN
from jamsocket_lite import (BackendState, ConfigurationError, ConnectRequest, Executable, HTTPError, Jamsocket,
                            Plane, ResourceLimits, SpawnConfig)
from kit.server import Request, Server, Silence, Step, answer, event, stream_head

pytestmark = pytest.mark.usefixtures("nothing_left")

IMAGE = "app:1"
SECRET = "header-secret-0123456789"
HEADERS = {"Authorization": "Bearer " + SECRET, "X-Gate": SECRET + "-2", "Cookie": "id=%s; more" % SECRET}


def answering(request: Request) -> Sequence[Step]:
    """Plane as it should be, but that the backend is ready from the first."""
    if request.target.endswith("/status-stream"):
        return [stream_head(), event(PLANE.state("ready"), id="ready"), Silence()]
    if request.target.endswith("/status"):
        return [answer(PLANE.state("ready"))]
    if request.target.endswith("-terminate"):
        return [answer(None)]
    return [answer(PLANE.document("http://" + str(request.header("Host"))))]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answering) as running:
        yield running


def translated(request: Any, image: str = IMAGE, **options: Any) -> Any:
    """The document that Plane gets for a request."""
    with Server(answering) as server:
        Plane(server.url, image=image, **options).connect(request)
        assert len(server.requests) == 1 and server.requests[0].target == "/ctrl/connect"
        assert server.requests[0].header("Content-Type") == "application/json"
        return server.requests[0].json()


# ---------------------------------------------------------------------------------------------------------------------
# The client
# ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["connect", "status", "status_stream", "wait_until_ready", "terminate"])
def test_the_methods_are_those_of_jamsocket(name: str) -> None:
    assert inspect.signature(getattr(Plane, name)) == inspect.signature(getattr(Jamsocket, name))


def test_an_image_is_needed() -> None:
    with pytest.raises(TypeError):
        Plane()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Plane("http://localhost:8080", IMAGE)  # type: ignore[call-arg]


def test_the_controller_is_on_this_machine_by_default() -> None:
    assert "http://localhost:8080" in repr(Plane(image=IMAGE))


# ---------------------------------------------------------------------------------------------------------------------
# Requests
# ---------------------------------------------------------------------------------------------------------------------

DEFAULT = {"executable": {"image": IMAGE}}
IMAGE_ONLY = {"image": IMAGE}
LIMITS = {"cpu_period": 1, "cpu_period_percent": 2, "cpu_time_limit": 3, "memory_limit_bytes": 4, "disk_limit_bytes": 5}


@pytest.mark.parametrize("request_, options, document", [
    (None, {}, {"spawn_config": DEFAULT}),
    ({}, {}, {"spawn_config": DEFAULT}),
    ({"spawn": None}, {}, {"spawn_config": DEFAULT}),
    ({"spawn": True}, {}, {"spawn_config": DEFAULT}),
    ({"spawn": {}}, {}, {"spawn_config": DEFAULT}),
    ({"spawn": {"executable": {}}}, {}, {"spawn_config": DEFAULT}),
    ({"key": "k"}, {}, {"key": {"name": "k"}, "spawn_config": DEFAULT}),
    ({"key": "k"}, {"namespace": "n"}, {"key": {"name": "k", "namespace": "n"}, "spawn_config": DEFAULT}),
    ({"key": "k", "spawn": False}, {}, {"key": {"name": "k"}}),
    ({"key": "k", "spawn": False}, {"namespace": "n", "pool": "p"}, {"key": {"name": "k", "namespace": "n"}}),
    ({}, {"namespace": "n"}, {"spawn_config": DEFAULT}),
    ({}, {"pool": "p"}, {"spawn_config": {**DEFAULT, "pool": "p"}}),
    ({"user": "ada", "auth": {"a": [None, {"key": "x"}]}}, {},
     {"spawn_config": DEFAULT, "user": "ada", "auth": {"a": [None, {"key": "x"}]}}),
    ({"user": "", "auth": {}}, {}, {"spawn_config": DEFAULT, "user": "", "auth": {}}),
    ({"spawn": {"cluster": "c", "lifetime_limit_seconds": 0, "max_idle_seconds": 7}}, {},
     {"spawn_config": {**DEFAULT, "cluster": "c", "lifetime_limit_seconds": 0, "max_idle_seconds": 7}}),
    ({"spawn": {"tag": "2"}}, {}, {"spawn_config": {"executable": {"image": "app:2"}}}),
    ({"spawn": {"executable": {"mount": True, "env": {"image": "x"}, "resource_limits": LIMITS}}}, {},
     {"spawn_config": {"executable": {**IMAGE_ONLY, "mount": True, "env": {"image": "x"}, "resource_limits": LIMITS}}}),
    ({"spawn": {"executable": {"mount": False, "env": {}, "resource_limits": {}}}}, {},
     {"spawn_config": {"executable": {"image": IMAGE, "mount": False, "env": {}, "resource_limits": {}}}}),
    ({"spawn": {"executable": {"mount": "m"}}}, {}, {"spawn_config": {"executable": {"image": IMAGE, "mount": "m"}}}),
    (ConnectRequest("k", SpawnConfig("2", "c", 8, 9, Executable("m", {"A": "1"}, ResourceLimits(1))), "u", {}),
     {"namespace": "n", "pool": "p"},
     {"key": {"name": "k", "namespace": "n"}, "user": "u", "auth": {}, "spawn_config": {
         "cluster": "c", "pool": "p", "lifetime_limit_seconds": 8, "max_idle_seconds": 9, "executable": {
             "image": "app:2", "mount": "m", "env": {"A": "1"}, "resource_limits": {"cpu_period": 1}}}}),
])
def test_a_request_is_translated(request_: Any, options: Dict[str, Any], document: Dict[str, Any]) -> None:
    assert translated(request_, **options) == document


@pytest.mark.parametrize("image, tag, expected", [
    ("app", "2", "app:2"),
    ("app:1", "2", "app:2"),
    ("library/app", "2", "library/app:2"),
    ("localhost:5000/app", "2", "localhost:5000/app:2"),
    ("localhost:5000/app:1", "2", "localhost:5000/app:2"),
    ("registry.test:5000/a/b/app:latest", "v1.2-x_3", "registry.test:5000/a/b/app:v1.2-x_3"),
    ("app@sha256:0123456789abcdef", "2", "app:2"),
    ("localhost:5000/app:1@sha256:0123456789abcdef", "2", "localhost:5000/app:2"),
])
def test_a_tag_replaces_the_images(image: str, tag: str, expected: str) -> None:
    assert translated({"spawn": {"tag": tag}}, image)["spawn_config"]["executable"]["image"] == expected
    assert translated({"spawn": {"cluster": "c"}}, image)["spawn_config"]["executable"]["image"] == image


def test_a_request_is_not_changed_by_its_translation() -> None:
    request = {"key": "k", "spawn": {"tag": "2", "executable": {"env": {"A": "1"}}}, "auth": {"a": [1]}}
    instance, before = ConnectRequest.from_dict(request), repr(request)
    translated(request)
    translated(instance)
    assert repr(request) == before and instance == ConnectRequest.from_dict(request)


# ---------------------------------------------------------------------------------------------------------------------
# Headers
# ---------------------------------------------------------------------------------------------------------------------

def each_way(client: Plane, backend: Any) -> None:
    """Every request that a client makes for a backend, but terminate."""
    client.status(backend)
    client.wait_until_ready(backend, timeout=LONG)
    stream = client.status_stream(backend, timeout=LONG)
    next(stream)
    stream.close()


def test_headers_go_to_the_controller_with_every_call(server: Server) -> None:
    client = Plane(server.url, image=IMAGE, headers=MappingProxyType(HEADERS))
    connected = client.connect()
    for backend in (connected, connected.backend_id, connected.status_url):
        each_way(client, backend)
        client.terminate(backend)
    assert len(server.requests) >= 12
    for request in server.requests:
        assert {name: request.header(name) for name in HEADERS} == HEADERS


def test_headers_go_to_no_other_origin(server: Server) -> None:
    """Another port, and another name of the same host, are other origins."""
    with Server(answering) as elsewhere:
        client = Plane(server.url, image=IMAGE, headers=HEADERS)
        for url in (elsewhere.url, server.url.replace("127.0.0.1", "localhost")):
            for backend in (PLANE.connected(url), url + PLANE.status_target()):
                each_way(client, backend)
        requests = elsewhere.requests + server.requests
        assert elsewhere.requests and server.requests
        for request in requests:
            assert SECRET.encode() not in request.head


def test_an_origin_is_the_same_however_it_is_written(server: Server) -> None:
    client = Plane(server.url + "/", image=IMAGE, headers=HEADERS)
    client.status(server.url.replace("http://", "HTTP://") + PLANE.status_target())
    assert server.requests[0].header("X-Gate") == HEADERS["X-Gate"]


def test_without_headers_there_are_no_credentials(server: Server) -> None:
    client = Plane(server.url, image=IMAGE)
    connected = client.connect()
    each_way(client, connected)
    client.terminate(connected)
    for request in server.requests:
        assert request.header("Authorization") is None
        for secret in (BACKEND_TOKEN, SECRET_TOKEN):
            assert secret.encode() not in request.head


def test_the_functions_have_no_headers(server: Server) -> None:
    jamsocket_lite.wait_until_ready(server.url + PLANE.status_target(), timeout=LONG)
    assert all(request.header("Authorization") is None for request in server.requests)


def test_changing_the_mapping_later_changes_nothing(server: Server) -> None:
    headers = dict(HEADERS)
    client = Plane(server.url, image=IMAGE, headers=headers)
    headers.clear()
    client.status(ID)
    assert server.requests[0].header("X-Gate") == HEADERS["X-Gate"]


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "Content-Type"])
def test_a_header_of_the_protocol_itself_is_refused_or_sent_once(server: Server, name: str) -> None:
    """Two of them would have the two ends see two different requests."""
    try:
        client = Plane(server.url, image=IMAGE, headers={name: "7"})
    except ConfigurationError:
        return
    client.connect()
    assert len([one for one, _ in server.requests[0].headers if one.lower() == name.lower()]) == 1


def test_no_text_shows_a_header(server: Server) -> None:
    client = Plane(server.url, image=IMAGE, headers=HEADERS)
    for text in (repr(client), str(client), "%r" % [client]):
        assert SECRET not in text
    body = {"id": SECRET, "kind": SECRET, "message": "%s is not %s" % (HEADERS["Authorization"], HEADERS["Cookie"])}
    server.script = [answer(body, 403)]
    calls: List[Callable[[], Any]] = [client.connect, lambda: client.status(ID), lambda: client.terminate(ID),
                                      lambda: client.wait_until_ready(ID, timeout=LONG)]
    for call in calls:
        with pytest.raises(jamsocket_lite.AuthenticationError) as caught:
            call()
        for text in (str(caught.value), repr(caught.value), repr(vars(caught.value))):
            assert SECRET not in text


@pytest.mark.parametrize("headers", [{"A": SECRET + "\r\nB: c"}, {"A": [SECRET]}, [("A", SECRET)], {"A b": SECRET},
                                     {"A": SECRET + "ü"}], ids=repr)
def test_a_malformed_header_is_refused_without_its_value(headers: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Plane(image=IMAGE, headers=headers)
    assert SECRET not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Answers
# ---------------------------------------------------------------------------------------------------------------------

def test_what_plane_answers_beyond_the_types_is_ignored(server: Server) -> None:
    connected = Plane(server.url, image=IMAGE).connect()
    assert set(connected.to_dict()) == {"backend_id", "spawned", "status", "token", "url", "status_url", "ready_url",
                                        "secret_token"}
    assert connected.ready_url == ""


def test_times_become_iso_8601_in_states_and_events(server: Server) -> None:
    client = Plane(server.url, image=IMAGE)
    assert client.status(ID) == client.wait_until_ready(ID, timeout=LONG) == BackendState("ready", TIME)
    stream = client.status_stream(ID, timeout=LONG)
    assert next(stream).time == TIME
    stream.close()


def test_a_terminating_state_may_carry_its_kind(server: Server) -> None:
    server.script = [answer(PLANE.state("terminating", termination_reason="startuptimeout", termination_kind="hard"))]
    assert Plane(server.url, image=IMAGE).status(ID) == BackendState("terminating", TIME, "startup_timeout", "hard")


@pytest.mark.parametrize("status, kind", [
    (500, "FailedToAcquireKey"), (409, "KeyUnheldNoSpawnConfig"), (409, "KeyHeldUnhealthy"), (409, "KeyHeld"),
    (500, "NoDroneAvailable"), (409, "FailedToRemoveKey"), (500, "DatabaseError"), (400, "NoClusterProvided"),
    (404, "NotFound"), (400, "InvalidClusterName"), (500, "Other"), (418, "FromTheFuture"),
])
def test_an_error_has_its_kind_as_code_and_its_id(server: Server, status: int, kind: str) -> None:
    server.script = [answer({"id": "err_123", "kind": kind, "message": "what went wrong"}, status)]
    client = Plane(server.url, image=IMAGE)
    calls: List[Callable[[], Any]] = [client.connect, lambda: client.status(ID), lambda: client.terminate(ID)]
    for call in calls:
        with pytest.raises(HTTPError) as caught:
            call()
        assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, kind, "err_123")
        assert "what went wrong" in str(caught.value) and kind in str(caught.value)


@pytest.mark.parametrize("body", [b"null", b" null\n"])
def test_a_terminate_is_answered_with_null(server: Server, body: bytes) -> None:
    server.script = [answer(body, headers=[("Content-Type", "application/json")])]
    Plane(server.url, image=IMAGE).terminate(ID)
    assert (server.requests[0].method, server.requests[0].body) == ("POST", b"")


# ---------------------------------------------------------------------------------------------------------------------
# The environment
# ---------------------------------------------------------------------------------------------------------------------

def test_from_env_reads_url_and_image(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Plane.from_env({"PLANE_URL": server.url, "PLANE_IMAGE": "app:7"})
    monkeypatch.setenv("PLANE_URL", server.url)
    monkeypatch.setenv("PLANE_IMAGE", "app:7")
    for client in (given, Plane.from_env()):
        client.connect()
        assert server.requests[-1].json() == {"spawn_config": {"executable": {"image": "app:7"}}}


@pytest.mark.parametrize("env, named", [
    ({}, "PLANE_URL"), ({"PLANE_URL": "http://h.test"}, "PLANE_IMAGE"), ({"PLANE_IMAGE": "app"}, "PLANE_URL"),
    ({"PLANE_URL": "", "PLANE_IMAGE": "app"}, "PLANE_URL"),
    ({"PLANE_URL": "http://h.test", "PLANE_IMAGE": ""}, "PLANE_IMAGE"),
    ({"PLANE_URL": "h.test", "PLANE_IMAGE": "app"}, "url"),
    ({"PLANE_URL": "ftp://h.test", "PLANE_IMAGE": "app"}, "url"),
    ({"JAMSOCKET_DEV": "true"}, "PLANE_URL"),
], ids=repr)
def test_a_malformed_environment_is_refused_by_name(env: Mapping[str, str], named: str,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANE_URL", "http://other.test")
    monkeypatch.setenv("PLANE_IMAGE", "other")
    with pytest.raises(ConfigurationError, match="(?i)" + named):
        Plane.from_env(env)


# Which of the two the module's connect() takes.
CHOICES: List[Tuple[Dict[str, str], str]] = [
    ({}, "/ctrl/connect"),
    ({"JAMSOCKET_DEV": "true"}, "/v2/service/-/-/connect"),
    ({"JAMSOCKET_ACCOUNT": "acme", "JAMSOCKET_SERVICE": "board", "JAMSOCKET_TOKEN": TOKEN},
     "/v2/service/acme/board/connect"),
]


@pytest.mark.parametrize("more, target", CHOICES, ids=["Plane alone", "dev mode", "credentials"])
def test_connect_takes_plane_when_nothing_is_said_of_jamsocket(more: Dict[str, str], target: str, server: Server,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(server.port)
    for name, value in {"PLANE_URL": server.url, "PLANE_IMAGE": IMAGE, **more}.items():
        monkeypatch.setenv(name, value)
    if more:
        monkeypatch.setenv("JAMSOCKET_DEV_PORT" if "JAMSOCKET_DEV" in more else "JAMSOCKET_API_URL",
                           port if "JAMSOCKET_DEV" in more else server.url)
    assert jamsocket_lite.connect({"key": "k"}).backend_id == ID
    assert [request.target for request in server.requests] == [target]


def test_half_of_jamsockets_credentials_are_no_reason_to_take_plane(server: Server,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PLANE_URL", server.url), ("PLANE_IMAGE", IMAGE), ("JAMSOCKET_TOKEN", TOKEN)):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="JAMSOCKET_ACCOUNT"):
        jamsocket_lite.connect()
    assert server.connections == 0


def test_arguments_go_before_planes_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PLANE_IMAGE", IMAGE)
    jamsocket_lite.connect(account="acme", service="board", token=TOKEN, api_url=server.url)
    jamsocket_lite.connect(dev=True, port=server.port)
    assert [one.target for one in server.requests] == ["/v2/service/acme/board/connect", "/v2/service/-/-/connect"]


def test_without_an_image_connect_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANE_URL", server.url)
    with pytest.raises(ConfigurationError, match="PLANE_IMAGE"):
        jamsocket_lite.connect()


def test_the_functions_do_the_whole_job_with_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(PLANE) as cluster:
        cluster.platform.tokens = ()
        monkeypatch.setenv("PLANE_URL", cluster.url)
        monkeypatch.setenv("PLANE_IMAGE", IMAGE)
        connected = jamsocket_lite.connect({"key": "room"})
        assert jamsocket_lite.wait_until_ready(connected, timeout=LONG).is_ready
        assert jamsocket_lite.connect({"key": "room", "spawn": False}).backend_id == connected.backend_id


# ---------------------------------------------------------------------------------------------------------------------
# The same program on both
# ---------------------------------------------------------------------------------------------------------------------

def program(client: Any) -> List[Any]:
    """All that a program does with a client, and what it sees, without names and times."""
    connected = client.connect({"key": "room", "user": "ada", "auth": {"a": 1}, "spawn": {"max_idle_seconds": 60}})
    ready = client.wait_until_ready(connected, timeout=LONG)
    again = client.connect({"key": "room", "spawn": False})
    client.terminate(again)
    states = list(client.status_stream(connected, timeout=LONG))
    last = states[-1]
    return [connected.spawned, connected.status, connected.ready_url, ready.status, again.spawned, again.status,
            statuses(states), last.status, last.termination_reason, last.termination_kind, bool(last.exit_error),
            again.backend_id == connected.backend_id, type(last.time), len(last.time)]


def test_a_program_moves_to_plane_by_changing_how_the_client_is_made() -> None:
    seen = []
    for api in APIS.values():
        with running(api) as cluster:
            seen.append(program(cluster.client()))
    assert seen[0] == seen[1]


def test_a_key_is_unique_in_its_namespace() -> None:
    with running(PLANE) as cluster:
        one, two = cluster.client(namespace="one"), cluster.client(namespace="two")
        first = one.connect({"key": "room"})
        assert two.connect({"key": "room"}).backend_id != first.backend_id
        assert one.connect({"key": "room"}).backend_id == first.backend_id
        with pytest.raises(HTTPError) as caught:
            cluster.client().connect({"key": "room", "spawn": False})
        assert (caught.value.status, caught.value.code) == (409, "KeyUnheldNoSpawnConfig")
