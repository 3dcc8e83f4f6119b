"""The scripted server misbehaves as it says; otherwise the tests that use it would prove
nothing."""

import http.client
import socket
import sys
import threading
import time
from typing import Callable, List, Optional

import pytest

from kit import peers
from kit.certificates import Certificates
from kit.deadlines import LONG, in_time, undisturbed
from kit.outsiders import dial, fetch, read_all
from kit.server import (Close, DeadAddress, Drain, Dribble, Pause, Read, Repeat, Request, Reset,
                        Server, Silence, Step, Wait, answer, at_once, chunk, closed_port, event,
                        stream_head)

# The tests' own tools change seldom, so `make test` goes without; `make test-slow` has them.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]


# -------------------------------------------------------------------------------------------------
# Answers
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sent, status, body", [
    (answer({"a": "ü"}), 200, b'{"a": "\\u00fc"}'),
    (answer(b"no", 404), 404, b"no"),
    (answer(b"open", length=False), 200, b"open"),
    (answer(b"parts", chunked=True), 200, b"parts"),
    (answer(chunked=True), 200, b""),
    (stream_head() + event("x"), 200, b"data:x\n\n"),
    (stream_head(chunked=True) + chunk(event("x")) + chunk(b""), 200, b"data:x\n\n"),
])
def test_an_answer_is_read_as_it_was_meant(sent: bytes, status: int, body: bytes) -> None:
    with Server([sent]) as server:
        assert fetch(server) == (status, body)


def test_an_answer_has_the_headers_it_was_given() -> None:
    sent = answer([], 429, [("Retry-After", "3"), ("content-length", "7")], "Slow down")
    assert sent == (b"HTTP/1.1 429 Slow down\r\nRetry-After: 3\r\ncontent-length: 7\r\n"
                    b"Content-Type: application/json\r\n\r\n[]")


def test_an_event_has_its_fields() -> None:
    assert event({"status": "ready"}) == b'data:{"status":"ready"}\n\n'
    assert event("a\n b", id="1", event="e",
                 retry=5) == b"id:1\nevent:e\nretry:5\ndata:a\ndata:  b\n\n"


def test_requests_are_recorded() -> None:
    def script(request: Request) -> List[Step]:
        return [answer({"number": request.number, "body": request.json()})]

    with Server(script) as server:
        assert server.url == "http://127.0.0.1:%d" % server.port
        assert fetch(server, "POST", "/a?b", b"[1]") == (200, b'{"number": 1, "body": [1]}')
        assert fetch(server, "PUT", "/", b'"%s"' % (b"x" * 300000))[0] == 200
        first, second = server.requests
    assert (first.method, first.target, first.body, first.number) == ("POST", "/a?b", b"[1]", 1)
    assert first.head.startswith(b"POST /a?b HTTP/1.1\r\n") and first.head.endswith(b"\r\n\r\n")
    assert first.header("host") == "127.0.0.1:%d" % server.port and first.header("nothing") is None
    assert len(second.body) == 300002 and first.at <= second.at <= time.monotonic()


# -------------------------------------------------------------------------------------------------
# Steps
# -------------------------------------------------------------------------------------------------

def test_a_reset_is_seen_as_a_reset() -> None:
    with Server([b"HTTP/1.1 200 OK\r\n", Reset()]) as server, dial(server) as sock:
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_a_reset_is_seen_through_tls(certificates: Certificates) -> None:
    with Server([Reset()], tls=certificates.server_context()) as server:
        with pytest.raises(ConnectionResetError):
            fetch(server, context=certificates.client_context())


def test_dribbled_bytes_come_one_at_a_time() -> None:
    def check() -> None:
        start = time.monotonic()
        with Server([Dribble(b"abcd", 0.1)]) as server, dial(server) as sock:
            first = sock.recv(100)
            assert first != b"abcd" and first + read_all(sock) == b"abcd"
            assert time.monotonic() - start > 0.35

    undisturbed(check)  # who is late gets several at once


def test_a_pause_and_an_event_hold_the_answer_back() -> None:
    go = threading.Event()
    start = time.monotonic()
    with Server([b"a", Pause(0.2), b"b", Wait(go), b"c"]) as server, dial(server) as sock:
        assert sock.recv(1) == b"a"
        assert sock.recv(1) == b"b"
        assert time.monotonic() - start > 0.15
        sock.settimeout(0.1)
        with pytest.raises(socket.timeout):
            sock.recv(10)
        go.set()
        sock.settimeout(LONG)
        assert read_all(sock) == b"c"


def test_a_callable_step_is_called_in_its_turn() -> None:
    called = threading.Event()
    with Server([called.set, lambda: b"yes" if called.is_set()
                 else b"no"]) as server, dial(server) as sock:
        assert read_all(sock) == b"yes"


def test_what_is_repeated_ends_with_its_number() -> None:
    with Server([Repeat(b"ab", times=3, pause=0.01), Close()]) as server, dial(server) as sock:
        assert read_all(sock) == b"ababab"


def test_at_once_does_not_wait_for_the_request() -> None:
    with Server([at_once, b"early", Read(), b" late"]) as server, dial(server, b"") as sock:
        assert sock.recv(100) == b"early"
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_all(sock) == b" late"


def test_what_nobody_reads_blocks_the_sender() -> None:
    go = threading.Event()
    with Server([at_once, Wait(go), Drain()]) as server:
        with dial(server, b"") as sock:
            sock.settimeout(0.3)
            with pytest.raises(socket.timeout):
                sock.sendall(bytes(50000000))
        assert not server.wait_closed(0)  # the end is behind what nobody has read yet
        go.set()
        assert server.wait_closed(LONG)


@pytest.mark.parametrize("last", [Silence(), Pause(600), Wait(threading.Event()),
                                  Repeat(b"x" * 1000), Repeat(b"x", pause=0.01),
                                  Dribble(bytes(100000), 0.01)], ids=type)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_script_ends_with_either_side(last: Step, secure: bool,
                                        certificates: Certificates) -> None:
    server = Server([b"a", last], tls=certificates.server_context() if secure else None)
    with server:
        clients = [dial(server, b"") for _ in range(2)]
        if secure:
            clients = [certificates.client_context().wrap_socket(sock, server_hostname="localhost")
                       for sock in clients]
        for sock in clients:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert sock.recv(1) == b"a"
        assert (server.connections, server.open_connections, server.wait_closed(0)) == (2, 2, False)
        with clients[0]:
            pass
        assert not server.wait_closed(0)
        with clients[1]:
            pass
        assert server.wait_closed(LONG) and server.open_connections == 0

        with dial(server, b""):
            assert server.wait_connections(3, LONG)
            start = time.monotonic()
            server.close()
            assert in_time(time.monotonic() - start, 1.0 + 4.0, start)


@pytest.mark.parametrize("look", [peers.hung_up, peers.hung_up_slowly])
def test_the_end_of_a_peer_is_seen_on_every_system(look: Callable[[socket.socket, Optional[float]],
                                                                  bool]) -> None:
    one, other = socket.socketpair()
    with one:
        with other:
            assert not look(one, 0) and not look(one, 0.05)
            other.sendall(b"x")
            assert not look(one, 0) and not look(one, 0.05)
            assert one.recv(10) == b"x"
        assert look(one, 0) and look(one, LONG) and look(one, None)


def test_a_script_that_breaks_is_reported() -> None:
    def script(request: Request) -> List[Step]:
        raise LookupError(request.target)

    with pytest.raises(LookupError, match="/broken"):
        with Server(script) as server:
            with pytest.raises(http.client.RemoteDisconnected):
                fetch(server, target="/broken")


@pytest.mark.usefixtures("many_files")
def test_500_connections_at_once() -> None:
    go = threading.Event()
    before = threading.stack_size()
    with Server([Wait(go), b"x"]) as server:
        clients = [dial(server) for _ in range(500)]
        assert server.wait_requests(500, LONG)
        assert (server.connections, server.open_connections) == (500, 500)
        go.set()
        for sock in clients:
            with sock:
                assert read_all(sock) == b"x"
        assert server.wait_closed(LONG)
    assert threading.stack_size() == before


# -------------------------------------------------------------------------------------------------
# No connection
# -------------------------------------------------------------------------------------------------

def test_a_closed_port_refuses() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", closed_port()), LONG)


def test_connecting_to_a_dead_address_hangs() -> None:
    with DeadAddress(3) as dead:
        assert dead.addresses == [("127.0.0.%d" % n, dead.port) for n in (1, 2, 3)]
        for address in dead.addresses:
            with pytest.raises(socket.timeout):
                socket.create_connection(address, 0.2)


def test_a_name_can_have_dead_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with DeadAddress(2) as dead:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: dead.infos())
        start = time.monotonic()
        with pytest.raises(socket.timeout):
            socket.create_connection(("api.example.test", dead.port), 0.2)
        assert time.monotonic() - start > 0.35  # once per address


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue is silent on Linux only")
def test_a_dead_address_is_never_skipped_on_linux() -> None:
    try:
        with DeadAddress():
            pass
    except BaseException as error:
        pytest.fail(repr(error))
