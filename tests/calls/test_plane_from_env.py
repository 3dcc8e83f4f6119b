"""Plane by the environment, and when the module's functions take it."""

from typing import Dict, List, Mapping, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import ConfigurationError, Plane
from kit.deadlines import LONG
from kit.platforms import ID, PLANE, running
from kit.secrets import TOKEN
from kit.server import Server

pytestmark = pytest.mark.usefixtures("nothing_left")

IMAGE = "app:1"


def test_from_env_reads_url_and_image(plane_server: Server,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    given = Plane.from_env({"PLANE_URL": plane_server.url, "PLANE_IMAGE": "app:7"})
    monkeypatch.setenv("PLANE_URL", plane_server.url)
    monkeypatch.setenv("PLANE_IMAGE", "app:7")
    for client in (given, Plane.from_env()):
        client.connect()
        assert plane_server.requests[-1].json() == {
            "spawn_config": {"executable": {"image": "app:7"}}
        }


@pytest.mark.parametrize("env, named", [
    ({}, "PLANE_URL"), ({"PLANE_URL": "http://h.test"}, "PLANE_IMAGE"),
    ({"PLANE_IMAGE": "app"}, "PLANE_URL"),
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
def test_connect_takes_plane_when_nothing_is_said_of_jamsocket(
    more: Dict[str, str], target: str, plane_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(plane_server.port)
    for name, value in {"PLANE_URL": plane_server.url, "PLANE_IMAGE": IMAGE, **more}.items():
        monkeypatch.setenv(name, value)
    if more:
        monkeypatch.setenv("JAMSOCKET_DEV_PORT" if "JAMSOCKET_DEV" in more else "JAMSOCKET_API_URL",
                           port if "JAMSOCKET_DEV" in more else plane_server.url)
    assert jamsocket_lite.connect({"key": "k"}).backend_id == ID
    assert [request.target for request in plane_server.requests] == [target]


def test_half_of_jamsockets_credentials_are_no_reason_to_take_plane(
    plane_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PLANE_URL", plane_server.url), ("PLANE_IMAGE", IMAGE),
                        ("JAMSOCKET_TOKEN", TOKEN)):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="JAMSOCKET_ACCOUNT"):
        jamsocket_lite.connect()
    assert plane_server.connections == 0


def test_arguments_go_before_planes_environment(plane_server: Server,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PLANE_IMAGE", IMAGE)
    jamsocket_lite.connect(account="acme", service="board", token=TOKEN, api_url=plane_server.url)
    jamsocket_lite.connect(dev=True, port=plane_server.port)
    assert [one.target for one in plane_server.requests] == ["/v2/service/acme/board/connect",
                                                             "/v2/service/-/-/connect"]


def test_without_an_image_connect_says_so(plane_server: Server,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANE_URL", plane_server.url)
    with pytest.raises(ConfigurationError, match="PLANE_IMAGE"):
        jamsocket_lite.connect()


def test_the_functions_do_the_whole_job_with_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(PLANE) as cluster:
        cluster.platform.tokens = ()
        monkeypatch.setenv("PLANE_URL", cluster.url)
        monkeypatch.setenv("PLANE_IMAGE", IMAGE)
        connected = jamsocket_lite.connect({"key": "room"})
        assert jamsocket_lite.wait_until_ready(connected, timeout=LONG).is_ready
        assert jamsocket_lite.connect({"key": "room",
                                       "spawn": False}).backend_id == connected.backend_id
