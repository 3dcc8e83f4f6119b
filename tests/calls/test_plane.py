"""What is Plane's own: how a request is translated, what its answers and errors become, and when
the module's functions speak to it. What both clients share is tested for both in the other
files."""

import inspect
from typing import Any, Callable, Dict, List

import pytest

from jamsocket_lite import (BackendState, ConnectRequest, Executable, HTTPError, Jamsocket, Plane,
                            ResourceLimits, SpawnConfig, ValidationError)
from kit.deadlines import LONG
from kit.platforms import APIS, ID, PLANE, TIME, Cluster, running, statuses
from kit.server import Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

IMAGE = "app:1"


def translated(request: Any, image: str = IMAGE, **options: Any) -> Any:
    """The document that Plane gets for a request."""
    with Server(PLANE.service()) as server:
        Plane(server.url, image=image, **options).connect(request)
        assert len(server.requests) == 1 and server.requests[0].target == "/ctrl/connect"
        assert server.requests[0].header("Content-Type") == "application/json"
        return server.requests[0].json()


# -------------------------------------------------------------------------------------------------
# The client
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["connect", "status", "status_stream", "wait_until_ready",
                                  "terminate"])
def test_the_methods_are_those_of_jamsocket(name: str) -> None:
    assert inspect.signature(getattr(Plane, name)) == inspect.signature(getattr(Jamsocket, name))


def test_an_image_is_needed() -> None:
    with pytest.raises(TypeError):
        Plane()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Plane("http://localhost:8080", IMAGE)  # type: ignore[call-arg]


def test_the_controller_is_on_this_machine_by_default() -> None:
    assert "http://localhost:8080" in repr(Plane(image=IMAGE))


# -------------------------------------------------------------------------------------------------
# Requests
# -------------------------------------------------------------------------------------------------

DEFAULT = {"executable": {"image": IMAGE}}
IMAGE_ONLY = {"image": IMAGE}
LIMITS = {"cpu_period": 1, "cpu_period_percent": 2, "cpu_time_limit": 3, "memory_limit_bytes": 4,
          "disk_limit_bytes": 5}


@pytest.mark.parametrize("request_, options, document", [
    (None, {}, {"spawn_config": DEFAULT}),
    ({}, {}, {"spawn_config": DEFAULT}),
    ({"spawn": None}, {}, {"spawn_config": DEFAULT}),
    ({"spawn": True}, {}, {"spawn_config": DEFAULT}),
    ({"spawn": {}}, {}, {"spawn_config": DEFAULT}),
    ({"spawn": {"executable": {}}}, {}, {"spawn_config": DEFAULT}),
    ({"key": "k"}, {}, {"key": {"name": "k"}, "spawn_config": DEFAULT}),
    ({"key": "k"}, {"namespace": "n"}, {"key": {"name": "k", "namespace": "n"},
                                        "spawn_config": DEFAULT}),
    ({"key": "k", "spawn": False}, {}, {"key": {"name": "k"}}),
    ({"key": "k", "spawn": False}, {"namespace": "n", "pool": "p"},
     {"key": {"name": "k", "namespace": "n"}}),
    ({}, {"namespace": "n"}, {"spawn_config": DEFAULT}),
    ({}, {"pool": "p"}, {"spawn_config": {**DEFAULT, "pool": "p"}}),
    ({"user": "ada", "auth": {"a": [None, {"key": "x"}]}}, {},
     {"spawn_config": DEFAULT, "user": "ada", "auth": {"a": [None, {"key": "x"}]}}),
    ({"user": "", "auth": {}}, {}, {"spawn_config": DEFAULT, "user": "", "auth": {}}),
    ({"spawn": {"cluster": "c", "lifetime_limit_seconds": 0, "max_idle_seconds": 7}}, {},
     {"spawn_config": {**DEFAULT, "cluster": "c", "lifetime_limit_seconds": 0,
                       "max_idle_seconds": 7}}),
    ({"spawn": {"tag": "2"}}, {}, {"spawn_config": {"executable": {"image": "app:2"}}}),
    ({"spawn": {"executable": {"mount": True, "env": {"image": "x"}, "resource_limits": LIMITS}}},
     {}, {"spawn_config": {"executable": {**IMAGE_ONLY, "mount": True, "env": {"image": "x"},
                                          "resource_limits": LIMITS}}}),
    ({"spawn": {"executable": {"mount": False, "env": {}, "resource_limits": {}}}}, {},
     {"spawn_config": {"executable": {"image": IMAGE, "mount": False, "env": {},
                                      "resource_limits": {}}}}),
    ({"spawn": {"executable": {"mount": "m"}}}, {},
     {"spawn_config": {"executable": {"image": IMAGE, "mount": "m"}}}),
    (ConnectRequest("k", SpawnConfig("2", "c", 8, 9,
                                     Executable("m", {"A": "1"}, ResourceLimits(1))), "u", {}),
     {"namespace": "n", "pool": "p"},
     {"key": {"name": "k", "namespace": "n"}, "user": "u", "auth": {}, "spawn_config": {
         "cluster": "c", "pool": "p", "lifetime_limit_seconds": 8, "max_idle_seconds": 9,
        "executable": {
             "image": "app:2", "mount": "m", "env": {"A": "1"},
            "resource_limits": {"cpu_period": 1}}}}),
])
def test_a_request_is_translated(request_: Any, options: Dict[str, Any],
                                 document: Dict[str, Any]) -> None:
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
    assert translated({"spawn": {"tag": tag}},
                      image)["spawn_config"]["executable"]["image"] == expected
    assert translated({"spawn": {"cluster": "c"}},
                      image)["spawn_config"]["executable"]["image"] == image


def test_a_user_that_plane_cannot_store_is_refused() -> None:
    """It would answer 500, and leave a backend behind that holds the key."""
    with Server(PLANE.service()) as server:
        plane = Plane(server.url, image="a/b")
        plane.connect({"user": "u" * 255})
        with pytest.raises(ValidationError) as raised:
            plane.connect({"user": "u" * 256})
        assert raised.value.path == "user" and len(server.requests) == 1


def test_a_request_is_not_changed_by_its_translation() -> None:
    request = {"key": "k", "spawn": {"tag": "2", "executable": {"env": {"A": "1"}}},
               "auth": {"a": [1]}}
    instance, before = ConnectRequest.from_dict(request), repr(request)
    translated(request)
    translated(instance)
    assert repr(request) == before and instance == ConnectRequest.from_dict(request)


# -------------------------------------------------------------------------------------------------
# Answers
# -------------------------------------------------------------------------------------------------

def test_what_plane_answers_beyond_the_types_is_ignored(plane_server: Server) -> None:
    connected = Plane(plane_server.url, image=IMAGE).connect()
    assert set(connected.to_dict()) == {"backend_id", "spawned", "status", "token", "url",
                                        "status_url", "ready_url", "secret_token"}
    assert connected.ready_url == ""


def test_times_become_iso_8601_in_states_and_events(plane_server: Server) -> None:
    client = Plane(plane_server.url, image=IMAGE)
    assert client.status(ID) == client.wait_until_ready(ID, timeout=LONG) == BackendState("ready",
                                                                                          TIME)
    stream = client.status_stream(ID, timeout=LONG)
    assert next(stream).time == TIME
    stream.close()


def test_a_terminating_state_may_carry_its_kind(plane_server: Server) -> None:
    plane_server.script = [answer(PLANE.state("terminating", termination_reason="startuptimeout",
                                              termination_kind="hard"))]
    assert Plane(plane_server.url, image=IMAGE).status(ID) == BackendState("terminating", TIME,
                                                                           "startup_timeout",
                                                                           "hard")


@pytest.mark.parametrize("status, kind", [
    (500, "FailedToAcquireKey"), (409, "KeyUnheldNoSpawnConfig"), (409, "KeyHeldUnhealthy"),
    (409, "KeyHeld"),
    (500, "NoDroneAvailable"), (409, "FailedToRemoveKey"), (500, "DatabaseError"),
    (400, "NoClusterProvided"),
    (404, "NotFound"), (400, "InvalidClusterName"), (500, "Other"), (418, "FromTheFuture"),
])
def test_an_error_has_its_kind_as_code_and_its_id(plane_server: Server, status: int,
                                                  kind: str) -> None:
    plane_server.script = [answer({"id": "err_123", "kind": kind, "message": "what went wrong"},
                                  status)]
    client = Plane(plane_server.url, image=IMAGE)
    calls: List[Callable[[], Any]] = [client.connect, lambda: client.status(ID),
                                      lambda: client.terminate(ID)]
    for call in calls:
        with pytest.raises(HTTPError) as caught:
            call()
        assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, kind,
                                                                                     "err_123")
        assert "what went wrong" in str(caught.value) and kind in str(caught.value)


@pytest.mark.parametrize("body", [b"null", b" null\n"])
def test_a_terminate_is_answered_with_null(plane_server: Server, body: bytes) -> None:
    plane_server.script = [answer(body, headers=[("Content-Type", "application/json")])]
    Plane(plane_server.url, image=IMAGE).terminate(ID)
    assert (plane_server.requests[0].method, plane_server.requests[0].body) == ("POST", b"")


# -------------------------------------------------------------------------------------------------
# The same program on both
# -------------------------------------------------------------------------------------------------

def program(cluster: Cluster) -> List[Any]:
    """All that a program does with a client, and what it sees, without names and times."""
    client: Any = cluster.client()
    connected = client.connect({"key": "room", "user": "ada", "auth": {"a": 1},
                                "spawn": {"max_idle_seconds": 60}})
    ready = client.wait_until_ready(connected, timeout=LONG)
    again = client.connect({"key": "room", "spawn": False})
    client.terminate(again)
    asked = cluster.asked(connected)
    states = list(client.status_stream(connected, timeout=LONG))
    assert cluster.is_whole(statuses(states), connected, asked)
    last = states[-1]
    return [connected.spawned, connected.status, connected.ready_url, ready.status, again.spawned,
            again.status, cluster.statuses(connected), last.status, last.termination_reason,
            last.termination_kind, bool(last.exit_error),
            again.backend_id == connected.backend_id, type(last.time), len(last.time)]


def test_a_program_moves_to_plane_by_changing_how_the_client_is_made() -> None:
    seen = []
    for api in APIS.values():
        with running(api) as cluster:
            seen.append(program(cluster))
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
