"""Plane's headers: secrets, for the controller's origin alone."""

from types import MappingProxyType
from typing import Any, Callable, List

import pytest

import jamsocket_lite
from jamsocket_lite import ConfigurationError, Plane
from kit.deadlines import LONG
from kit.platforms import ID, PLANE
from kit.secrets import BACKEND_TOKEN, SECRET_TOKEN
from kit.server import Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

IMAGE = "app:1"
SECRET = "header-secret-0123456789"
HEADERS = {"Authorization": "Bearer " + SECRET, "X-Gate": SECRET + "-2", "Cookie": "id=%s; more"
           % SECRET}


def each_way(client: Plane, backend: Any) -> None:
    """Every request that a client makes for a backend, but terminate."""
    client.status(backend)
    client.wait_until_ready(backend, timeout=LONG)
    stream = client.status_stream(backend, timeout=LONG)
    next(stream)
    stream.close()


def test_headers_go_to_the_controller_with_every_call(plane_server: Server) -> None:
    client = Plane(plane_server.url, image=IMAGE, headers=MappingProxyType(HEADERS))
    connected = client.connect()
    for backend in (connected, connected.backend_id, connected.status_url):
        each_way(client, backend)
        client.terminate(backend)
    assert len(plane_server.requests) >= 12
    for request in plane_server.requests:
        assert {name: request.header(name) for name in HEADERS} == HEADERS


def test_headers_go_to_no_other_origin(plane_server: Server) -> None:
    """Another port, and another name of the same host, are other origins."""
    with Server(PLANE.service()) as elsewhere:
        client = Plane(plane_server.url, image=IMAGE, headers=HEADERS)
        for url in (elsewhere.url, plane_server.url.replace("127.0.0.1", "localhost")):
            each_way(client, url + PLANE.status_target())
        requests = elsewhere.requests + plane_server.requests
        assert elsewhere.requests and plane_server.requests
        for request in requests:
            assert SECRET.encode() not in request.head


def test_a_backend_is_asked_for_at_the_clients_own_url(plane_server: Server) -> None:
    """What a controller says of its own address is often not where it can be reached."""
    with Server(PLANE.service()) as elsewhere:
        client = Plane(plane_server.url, image=IMAGE, headers=HEADERS)
        for url in (elsewhere.url, "http://0.0.0.0:8080", "", "ftp://h.test"):
            each_way(client, PLANE.connected(url))
        assert not elsewhere.requests
        for request in plane_server.requests:
            assert request.header("X-Gate") == HEADERS["X-Gate"]


def test_an_origin_is_the_same_however_it_is_written(plane_server: Server) -> None:
    client = Plane(plane_server.url + "/", image=IMAGE, headers=HEADERS)
    client.status(plane_server.url.replace("http://", "HTTP://") + PLANE.status_target())
    assert plane_server.requests[0].header("X-Gate") == HEADERS["X-Gate"]


def test_without_headers_there_are_no_credentials(plane_server: Server) -> None:
    client = Plane(plane_server.url, image=IMAGE)
    connected = client.connect()
    each_way(client, connected)
    client.terminate(connected)
    for request in plane_server.requests:
        assert request.header("Authorization") is None
        for secret in (BACKEND_TOKEN, SECRET_TOKEN):
            assert secret.encode() not in request.head


def test_the_functions_have_no_headers(plane_server: Server) -> None:
    jamsocket_lite.wait_until_ready(plane_server.url + PLANE.status_target(), timeout=LONG)
    assert all(request.header("Authorization") is None for request in plane_server.requests)


def test_changing_the_mapping_later_changes_nothing(plane_server: Server) -> None:
    headers = dict(HEADERS)
    client = Plane(plane_server.url, image=IMAGE, headers=headers)
    headers.clear()
    client.status(ID)
    assert plane_server.requests[0].header("X-Gate") == HEADERS["X-Gate"]


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection",
                                  "Content-Type"])
def test_a_header_of_the_protocol_itself_is_refused_or_sent_once(plane_server: Server,
                                                                 name: str) -> None:
    """Two of them would have the two ends see two different requests."""
    try:
        client = Plane(plane_server.url, image=IMAGE, headers={name: "7"})
    except ConfigurationError:
        return
    client.connect()
    assert len([one for one, _ in plane_server.requests[0].headers if one.lower()
                == name.lower()]) == 1


def test_no_text_shows_a_header(plane_server: Server) -> None:
    client = Plane(plane_server.url, image=IMAGE, headers=HEADERS)
    for text in (repr(client), str(client), "%r" % [client]):
        assert SECRET not in text
    body = {"id": SECRET, "kind": SECRET, "message": "%s is not %s" % (HEADERS["Authorization"],
                                                                       HEADERS["Cookie"])}
    plane_server.script = [answer(body, 403)]
    calls: List[Callable[[], Any]] = [client.connect, lambda: client.status(ID),
                                      lambda: client.terminate(ID),
                                      lambda: client.wait_until_ready(ID, timeout=LONG)]
    for call in calls:
        with pytest.raises(jamsocket_lite.AuthenticationError) as caught:
            call()
        for text in (str(caught.value), repr(caught.value), repr(vars(caught.value))):
            assert SECRET not in text


@pytest.mark.parametrize("headers", [{"A": SECRET + "\r\nB: c"}, {"A": [SECRET]}, [("A", SECRET)],
                                     {"A b": SECRET}, {"A": SECRET + "ü"}], ids=repr)
def test_a_malformed_header_is_refused_without_its_value(headers: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Plane(image=IMAGE, headers=headers)
    assert SECRET not in str(caught.value)
