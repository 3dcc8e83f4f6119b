"""The README's configuration of nginx in front of a controller does what the text says."""

import http.client
from typing import Iterator

import pytest

from jamsocket_lite import AuthenticationError, Plane
from kit.deadlines import LONG
from kit.nginx import Nginx, needs_nginx
from kit.platforms import IMAGE
from kit.readme import block
from local.local_platform import LocalPlatform

pytestmark = needs_nginx

GATE = {"PLANE_IMAGE": IMAGE, "PLANE_AUTHORIZATION": "Bearer CHANGE-ME"}


@pytest.fixture(scope="module")
def controller() -> Iterator[LocalPlatform]:
    with LocalPlatform(plane=True) as running:
        yield running


@pytest.fixture(scope="module")
def nginx(controller: LocalPlatform) -> Iterator[Nginx]:
    locations = block("nginx").replace("http://127.0.0.1:8080", controller.url)
    assert controller.url in locations
    with Nginx(controller.port, server=locations) as running:
        yield running


def test_who_has_the_header_starts_waits_for_and_ends_a_backend(nginx: Nginx) -> None:
    plane = Plane.from_env({"PLANE_URL": nginx.url, **GATE})
    backend = plane.connect_and_wait(timeout=LONG)
    plane.terminate(backend, timeout=LONG)


def test_who_has_not_is_refused(nginx: Nginx) -> None:
    with pytest.raises(AuthenticationError):
        Plane(nginx.url, image=IMAGE, timeout=LONG).connect()


def test_who_has_not_cannot_end_a_backend(nginx: Nginx, controller: LocalPlatform) -> None:
    backend = Plane(controller.url, image=IMAGE, timeout=LONG).connect()
    with pytest.raises(AuthenticationError):
        Plane(nginx.url, image=IMAGE, timeout=LONG).terminate(backend.backend_id)


def test_everyone_may_read_a_state(nginx: Nginx, controller: LocalPlatform) -> None:
    backend = Plane(controller.url, image=IMAGE, timeout=LONG).connect()
    controller.backend(backend.backend_id).wait("ready")
    anyone = Plane(nginx.url, image=IMAGE, timeout=LONG)
    assert anyone.status(backend.backend_id).is_ready


def test_a_streams_events_come_through_while_it_is_open(nginx: Nginx,
                                                        controller: LocalPlatform) -> None:
    backend = Plane(controller.url, image=IMAGE, timeout=LONG).connect()
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=LONG)
    try:
        connection.request("GET", "/pub/b/%s/status-stream" % backend.backend_id)
        with connection.getresponse() as stream:
            assert any(b'"ready"' in line for line in stream)
    finally:
        connection.close()
