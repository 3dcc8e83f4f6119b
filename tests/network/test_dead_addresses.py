"""Names and addresses that lead nowhere, or not all of which do."""

import socket
from typing import Any, Callable, List

import pytest

from jamsocket_lite import ConfigurationError, Jamsocket, JamsocketTimeout, NetworkError
from kit.addresses import NAME, reach
from kit.calls import CALLS, SINGLE, Call, call_connect, call_wait, name_of
from kit.certificates import Certificates
from kit.deadlines import LONG, SHORT, keeps_deadline, patiently, timed
from kit.platforms import client, connected, service
from kit.secrets import failure
from kit.server import DeadAddress, Server, closed_port
from kit.threads import together

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.waits
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_dead_address_ends_with_the_deadline(scheme: str, call: Call,
                                               certificates: Certificates) -> None:
    with DeadAddress() as dead:
        url, context = "%s://127.0.0.1:%d" % (scheme, dead.port), certificates.client_context()
        keeps_deadline("a dead address, %s, %s" % (name_of(call), scheme),
                       lambda: timed(lambda: call(url, SHORT, ssl_context=context)))


def test_several_dead_addresses_of_a_name_share_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with DeadAddress(3) as dead:
        reach(monkeypatch, *dead.addresses)
        url = "http://%s:%d" % (NAME, dead.port)

        def job(name: str, deadline: float) -> Callable[[], Any]:
            label = "three dead addresses of one name, %s, %.1f s" % (name, deadline)
            return lambda: keeps_deadline(label, lambda: timed(lambda: CALLS[name](url, deadline)),
                                          deadline)

        together({"%s %s" % (name, deadline): job(name, deadline) for name in CALLS for deadline
                  in (SHORT, 0.7)})


@pytest.mark.parametrize("first", ["dead", "refusing"])
def test_another_address_of_the_name_is_tried(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with DeadAddress() as dead, Server() as server:
        url = "http://" + NAME
        server.script = service(url)
        bad = dead.addresses[0] if first == "dead" else ("127.0.0.1", closed_port())
        reach(monkeypatch, bad, ("127.0.0.1", server.port))

        def check(timeout: float) -> None:
            def job(name: str) -> Callable[[], Any]:
                return lambda: SINGLE[name](url, 2 * timeout)

            jobs = {name: job(name) for name in SINGLE}
            jobs["wait"] = lambda: client(url).wait_until_ready(
                connected(url), timeout=5 * timeout if first == "dead" else LONG)
            assert together(jobs)["wait"].is_ready

        patiently(check)


def test_localhost_is_tried_by_ipv4_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems wait long for the other, and dev servers often have this one alone."""
    with Server() as server:
        both_kinds = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        order: List[Any] = []

        class Noting(socket.socket):
            def connect(self, address: Any) -> None:
                order.append(address[0])
                super().connect(address)

        monkeypatch.setattr(socket, "socket", Noting)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(both_kinds))
        server.script = service("http://localhost:%d" % server.port)
        Jamsocket(dev=True, port=server.port).connect()
        assert order == ["127.0.0.1"]


@pytest.mark.parametrize("raised", [
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
    OSError(28, "No space left on device"), [],
], ids=["no such name", "no name server", "another error", "no address"])
def test_a_name_that_leads_nowhere_is_a_network_error(raised: Any, single: Call,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> List[Any]:
        if isinstance(raised, list):
            return raised
        raise raised

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    failure(lambda: single("http://" + NAME, LONG), NetworkError)
    failure(lambda: call_wait("http://" + NAME, 0.1), JamsocketTimeout)


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a" * 300, "a..b", ".", "-", "1.2.3.4.5",
                                  "0x7f.1.1.1.1", "[::1%25lo]", "[v1.x]", "999.999.999.999", "xn--",
                                  "xn--\u00fc"])
def test_a_host_that_is_none_is_our_error(host: str) -> None:
    failure(lambda: call_connect("http://%s:1" % host, 5.0), NetworkError, ConfigurationError,
            JamsocketTimeout)


def test_a_refused_connection_is_a_network_error(single: Call) -> None:
    url = "http://127.0.0.1:%d" % closed_port()
    assert "refused" in str(failure(lambda: single(url, LONG), NetworkError))


@pytest.mark.waits
def test_a_refused_connection_is_waited_for(lasting: Call) -> None:
    url = "http://127.0.0.1:%d" % closed_port()
    keeps_deadline("a refused connection, " + name_of(lasting),
                   lambda: timed(lambda: lasting(url, SHORT)))
