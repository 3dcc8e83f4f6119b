"""Functions of the standard library that programs replace get the arguments that urllib gives
them."""

import socket
import ssl
from typing import Any, List

import pytest

from kit.calls import CALLS, Call
from kit.certificates import Certificates
from kit.deadlines import LONG
from kit.platforms import channels, client, service, streamed, told
from kit.server import Server, Silence

pytestmark = pytest.mark.usefixtures("nothing_left")


def script(call: Call) -> Any:
    if call is CALLS["stream"]:
        return channels([streamed("terminated"), Silence()], told("terminated"))
    return service()


@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
def test_a_lookup_gets_the_host_as_text(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pins and overrides compare it."""
    hosts: List[Any] = []

    def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> List[Any]:
        hosts.append((type(host), host, type(port), port))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    with Server(script(call)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        call("http://pinned.example.test:8123", LONG)
    others = {one for one in hosts if one[1] != "127.0.0.1"}  # a thread of another test's may ask
    assert others == {(str, "pinned.example.test", int, 8123)}


@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
def test_a_socket_is_wrapped_when_it_is_connected_and_its_handshake_done_there(
        call: Call, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who replaces wrap_socket looks at the certificate right after it."""
    peers: List[Any] = []
    wrap = ssl.SSLContext.wrap_socket

    def wrap_socket(self: ssl.SSLContext, sock: socket.socket, *arguments: Any,
                    **options: Any) -> ssl.SSLSocket:
        assert sock.getpeername() and not arguments
        wrapped = wrap(self, sock, **options)
        assert wrapped.getpeercert(), "no handshake yet"
        peers.append((type(options["server_hostname"]), options["server_hostname"]))
        return wrapped

    with Server(script(call), tls=certificates.server_context()) as server:
        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap_socket)
        call(server.url, LONG, ssl_context=certificates.client_context())
    assert set(peers) == {(str, "localhost")}


def test_connections_are_made_by_whatever_socket_class_is_there(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """As SOCKS libraries replace it."""
    made: List[Any] = []

    class Noting(socket.socket):
        def connect(self, address: Any) -> None:
            made.append(address)
            super().connect(address)

    with Server(told("ready")) as server:
        monkeypatch.setattr(socket, "socket", Noting)
        assert client(server.url).status("b4ckend").is_ready
        assert made == [("127.0.0.1", server.port)]
