"""The environment: what may stand in for it, and a gate before a controller that it names."""

from types import MappingProxyType
from typing import Any, Callable, Dict, List

import pytest

import jamsocket_lite
from jamsocket_lite import ConfigurationError, Jamsocket, Plane
from kit.platforms import ID, PLANE, service
from kit.secrets import TOKEN
from kit.server import Request, Server, answer
from kit.shell import run, setting

pytestmark = pytest.mark.usefixtures("nothing_left")


# -------------------------------------------------------------------------------------------------
# What stands in for the environment
# -------------------------------------------------------------------------------------------------

GOOD = {"JAMSOCKET_ACCOUNT": "acme", "JAMSOCKET_SERVICE": "board", "JAMSOCKET_TOKEN": TOKEN}
GOOD_PLANE = {"PLANE_URL": "http://127.0.0.1:9", "PLANE_IMAGE": "app"}


class Failing(Dict[str, str]):
    """A mapping that cannot be read: a store that is not there."""

    def __getitem__(self, name: str) -> str:
        raise RuntimeError("the store is closed, its password was hunter2")

    def get(self, *arguments: Any) -> Any:
        raise RuntimeError("the store is closed, its password was hunter2")


ODD = [True, 1, 1.5, b"true", ["true"], {"a": "b"}, object]


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize(
    "name",
    [
        "JAMSOCKET_DEV",
        "JAMSOCKET_ACCOUNT",
        "JAMSOCKET_SERVICE",
        "JAMSOCKET_TOKEN",
        "JAMSOCKET_API_URL",
    ],
)
def test_a_variable_that_is_no_string_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name.replace("JAMSOCKET_", "(?i)")):
        Jamsocket.from_env({**GOOD, name: value})


def test_dev_mode_is_no_bool() -> None:
    """A mapping of one's own is no place for another type than the environment has."""
    with pytest.raises(ConfigurationError, match="JAMSOCKET_DEV"):
        Jamsocket.from_env({**GOOD, "JAMSOCKET_DEV": False})  # type: ignore[dict-item]


@pytest.mark.parametrize("value", [8080, True, 80.5, b"8080"], ids=repr)
def test_a_port_that_is_no_string_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="(?i)port"):
        Jamsocket.from_env({"JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": value})


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize(
    "name", ["PLANE_URL", "PLANE_IMAGE", "PLANE_POOL", "PLANE_NAMESPACE", "PLANE_AUTHORIZATION"]
)
def test_a_variable_of_planes_that_is_no_string_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name.replace("PLANE_", "(?i)")):
        Plane.from_env({**GOOD_PLANE, name: value})


@pytest.mark.parametrize("make", [Jamsocket.from_env, Plane.from_env], ids=["Jamsocket", "Plane"])
def test_a_mapping_that_cannot_be_read_is_refused_without_its_words(
    make: Callable[[Any], Any],
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(Failing(GOOD))
    assert "hunter2" not in "%s %r %r" % (
        caught.value,
        caught.value.__cause__,
        caught.value.__context__,
    )


def test_any_mapping_stands_in_for_the_environment() -> None:
    with Server(service()) as server:
        Jamsocket.from_env(MappingProxyType({**GOOD, "JAMSOCKET_API_URL": server.url})).connect()
        assert [one.target for one in server.requests] == ["/v2/service/acme/board/connect"]
    with Server(PLANE.service()) as server:
        Plane.from_env(MappingProxyType({**GOOD_PLANE, "PLANE_URL": server.url})).connect()
        assert [one.target for one in server.requests] == ["/ctrl/connect"]


# -------------------------------------------------------------------------------------------------
# Plane's environment, with a gate before the controller
# -------------------------------------------------------------------------------------------------

GATE = "Basic Z2F0ZTprZWVwZXItNDI="
CONFIG = {"executable": {"image": "app:7"}, "pool": "pool-1"}


def gated(server: Server) -> Dict[str, str]:
    return {
        "PLANE_URL": server.url,
        "PLANE_IMAGE": "app:7",
        "PLANE_POOL": "pool-1",
        "PLANE_NAMESPACE": "ns-1",
        "PLANE_AUTHORIZATION": GATE,
    }


def passed_the_gate(requests: List[Request]) -> bool:
    return bool(requests) and all(one.header("Authorization") == GATE for one in requests)


def expected_of(request: Request) -> None:
    assert request.json() == {"key": {"name": "k", "namespace": "ns-1"}, "spawn_config": CONFIG}


def test_plane_reads_pool_namespace_and_authorization(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(PLANE.service()) as server:
        given = Plane.from_env(gated(server))
        for name, value in gated(server).items():
            monkeypatch.setenv(name, value)
        for client in (given, Plane.from_env()):
            answered = client.connect({"key": "k"})
            expected_of(server.requests[-1])
            client.wait_until_ready(answered)
            client.status(answered)
            client.terminate(answered)
        assert passed_the_gate(server.requests)


@pytest.mark.parametrize("name", ["PLANE_POOL", "PLANE_NAMESPACE", "PLANE_AUTHORIZATION"])
def test_an_empty_variable_of_planes_is_none(name: str) -> None:
    with Server(PLANE.service()) as server:
        env = {"PLANE_URL": server.url, "PLANE_IMAGE": "app:7", name: ""}
        Plane.from_env(env).connect({"key": "k"})
        (one,) = server.requests
    assert one.json() == {"key": {"name": "k"}, "spawn_config": {"executable": {"image": "app:7"}}}
    assert one.header("Authorization") is None


def test_connect_passes_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(PLANE.service()) as server:
        for name, value in gated(server).items():
            monkeypatch.setenv(name, value)
        assert jamsocket_lite.connect({"key": "k"}).backend_id == ID
        expected_of(server.requests[0])
        assert passed_the_gate(server.requests)


@pytest.mark.parametrize(
    "arguments",
    [
        ["connect", "--key", "k"],
        ["connect", "--key", "k", "--wait"],
        ["wait", ID],
        ["status", ID],
        ["terminate", ID],
        ["wait", "URL"],
        ["status", "URL"],
        ["terminate", "URL"],
    ],
    ids=" ".join,
)
def test_the_command_line_passes_the_gate(arguments: List[str]) -> None:
    with Server(PLANE.service()) as server:
        url = server.url + PLANE.status_target()
        arguments = [url if argument == "URL" else argument for argument in arguments]
        done = run(*arguments, "--quiet", env=setting(**gated(server)))
        assert (done.status, done.err) == (0, b"")
        assert passed_the_gate(server.requests)


@pytest.mark.parametrize("command", ["status", "wait"])
def test_the_command_line_shows_the_gates_key_to_no_other_host(command: str) -> None:
    with Server(PLANE.service()) as controller, Server(PLANE.service()) as other:
        done = run(
            command, other.url + PLANE.status_target(), "--quiet", env=setting(**gated(controller))
        )
        assert done.status == 0 and controller.connections == 0
        assert other.requests and all(one.header("Authorization") is None for one in other.requests)


def test_a_gates_key_is_a_secret() -> None:
    """It is not repeated where the gate repeats it."""
    refusing = [answer(("no such user: " + GATE).encode(), 401, [("Content-Type", "text/plain")])]
    with Server(refusing) as server:
        client = Plane.from_env(gated(server))
        assert GATE not in repr(client)
        with pytest.raises(jamsocket_lite.AuthenticationError) as caught:
            client.connect()
    assert "Z2F0ZT" not in str(caught.value)


def test_a_malformed_authorization_is_refused_without_its_value() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Plane.from_env({**GOOD_PLANE, "PLANE_AUTHORIZATION": "Basic hunter2\r\nX: y"})
    assert "hunter2" not in str(caught.value)
