"""The test-suite's servers misbehave as they say; otherwise the tests that use them would prove
nothing."""

import http.client
import shutil
import socket
import ssl
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from kit import certificates
from kit import peers
from kit.certificates import Certificates
from kit.proxy import ESTABLISHED, Proxy
from kit.server import (Close, DeadAddress, Drain, Dribble, Pause, Read, Repeat, Request, Reset,
                        Server, Silence, Step, Wait, answer, at_once, chunk, closed_port, event,
                        stream_head)

# The tests' own tools change seldom, so `make test` goes without; `make test-slow` has them.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

# For what must come to pass: only a broken peer waits so long.
LONG = 20.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def dial(server: Server, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), LONG)
    sock.sendall(request)
    return sock


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while True:
        parts.append(sock.recv(65536))
        if not parts[-1]:
            return b"".join(parts)


def fetch(server: Server, method: str = "GET", target: str = "/", body: Optional[bytes] = None,
          context: Optional[ssl.SSLContext] = None) -> Tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
    if context is not None:
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=LONG,
                                                 context=context)
    try:
        connection.request(method, target, body)
        with connection.getresponse() as response:
            return response.status, response.read()
    finally:
        connection.close()


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


def test_a_reset_is_seen_through_tls(made: Certificates) -> None:
    with Server([Reset()], tls=made.server_context()) as server:
        with pytest.raises(ConnectionResetError):
            fetch(server, context=made.client_context())


def test_dribbled_bytes_come_one_at_a_time() -> None:
    start = time.monotonic()
    with Server([Dribble(b"abcd", 0.1)]) as server, dial(server) as sock:
        first = sock.recv(100)
        assert first != b"abcd" and first + read_all(sock) == b"abcd"
        assert time.monotonic() - start > 0.35


def test_a_pause_and_an_event_hold_the_answer_back() -> None:
    go = threading.Event()
    start = time.monotonic()
    with Server([b"a", Pause(0.2), b"b", Wait(go), b"c"]) as server, dial(server) as sock:
        assert sock.recv(10) == b"a"
        assert sock.recv(10) == b"b"
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
def test_a_script_ends_with_either_side(last: Step, secure: bool, made: Certificates) -> None:
    server = Server([b"a", last], tls=made.server_context() if secure else None)
    with server:
        clients = [dial(server, b"") for _ in range(2)]
        if secure:
            clients = [made.client_context().wrap_socket(sock, server_hostname="localhost")
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
            assert time.monotonic() - start < 1.0 + 4.0  # for a machine with other things to do


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


@pytest.fixture
def many_files() -> Iterator[None]:
    """Descriptors for both ends of 500 connections: a usual limit is 1024, or 256."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 1200:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1200, hard))
        except (OSError, ValueError) as error:
            pytest.skip("too few descriptors: %s" % error)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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


# -------------------------------------------------------------------------------------------------
# TLS
# -------------------------------------------------------------------------------------------------

def strict(context: ssl.SSLContext) -> ssl.SSLContext:
    """As Python 3.13 has it by default."""
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_https_works_and_keeps_the_request(made: Certificates) -> None:
    with Server([answer(b"x" * 300000)], tls=made.server_context()) as server:
        assert server.url == "https://localhost:%d" % server.port
        assert fetch(server, "POST", "/", b"y" * 300000,
                     strict(made.client_context())) == (200, b"x" * 300000)
        assert server.requests[0].body == b"y" * 300000


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "api.example.test"])
def test_the_good_certificate_is_good_for_its_names(name: str, made: Certificates) -> None:
    with Server(tls=made.server_context()) as server, dial(server, b"") as sock:
        with strict(made.client_context()).wrap_socket(sock, server_hostname=name) as secure:
            assert secure.version() in ("TLSv1.2", "TLSv1.3")


# The numbers are OpenSSL's X509_V_ERR_….
@pytest.mark.parametrize("which, code", [("expired", 10), ("wrong-host", 62), ("self-signed", 18),
                                         ("unknown-ca", 20)])
@pytest.mark.parametrize("strictly", [False, True], ids=["default", "strict"])
def test_a_bad_certificate_is_refused_for_its_fault(which: str, code: int, strictly: bool,
                                                    made: Certificates) -> None:
    context = strict(made.client_context()) if strictly else made.client_context()
    with Server(tls=made.server_context(which)) as server:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            fetch(server, context=context)
        assert caught.value.verify_code == code
        assert server.wait_closed(LONG) and not server.requests


def test_the_other_faults_pass_where_they_are_trusted(made: Certificates) -> None:
    for which, authority in (("self-signed", "self-signed"), ("unknown-ca", "other-ca")):
        context = ssl.create_default_context(cafile=str(made.directory / (authority + ".pem")))
        with Server(tls=made.server_context(which)) as server:
            assert fetch(server, context=strict(context))[0] == 200


def test_a_cut_and_an_orderly_end_differ(made: Certificates) -> None:
    for last, cut in ((Close(), False), (Close(notify=False), True)):
        with Server([b"a", last], tls=made.server_context()) as server, dial(server, b"") as sock:
            context = made.client_context()
            # Python 3.8 and 3.9 have OpenSSL 3 keep quiet about the difference.
            context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0x80)
            with context.wrap_socket(sock, server_hostname="localhost",
                                     suppress_ragged_eofs=False) as secure:
                secure.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert secure.recv(1) == b"a"
                if cut:
                    with pytest.raises(ssl.SSLError):
                        secure.recv(1)
                else:
                    assert secure.recv(1) == b""


def test_a_silent_server_accepts_and_never_shakes_hands(made: Certificates) -> None:
    with Server(handshake="silent") as server:
        assert server.url.startswith("https://localhost:")
        with dial(server, b"") as sock:
            sock.settimeout(0.3)
            with pytest.raises(socket.timeout):
                made.client_context().wrap_socket(sock, server_hostname="localhost").close()
        assert server.connections == 1 and server.wait_closed(LONG)


def test_a_dribbled_handshake_is_slow_but_right(made: Certificates) -> None:
    with Server(tls=made.server_context(), handshake="dribble", every=0.0002) as server:
        start = time.monotonic()
        assert fetch(server, context=made.client_context()) == (200, b"{}")
        assert time.monotonic() - start > 0.1
    with Server(tls=made.server_context(), handshake="dribble", every=0.05) as server:
        with dial(server, b"") as sock:
            # Each read is quick enough for the timeout of a socket; the whole is not.
            context = made.client_context()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            shake = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                shake.do_handshake()
            sock.sendall(outgoing.read())
            assert len(b"".join(sock.recv(100) for _ in range(5))) < 50


def test_a_missing_openssl_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match="openssl command"):
        Certificates(tmp_path)


def test_certificates_know_their_kinds(made: Certificates) -> None:
    for which in certificates.WHICH:
        made.server_context(which)
    with pytest.raises(ValueError, match="self-signed"):
        made.server_context("best")


# -------------------------------------------------------------------------------------------------
# Proxies
# -------------------------------------------------------------------------------------------------

NAME = "api.example.test"


def via(proxy_url: str, url: str, context: Optional[ssl.SSLContext] = None) -> bytes:
    handlers: List[Any] = [urllib.request.ProxyHandler({"http": proxy_url, "https": proxy_url})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(url, timeout=LONG) as response:
        body: bytes = response.read()
        return body


def routes(server: Server, port: int) -> Dict[str, Tuple[str, int]]:
    return {"%s:%d" % (NAME, port): ("127.0.0.1", server.port)}


def test_a_proxy_tunnels_tls(made: Certificates) -> None:
    with Server([answer(b"through")], tls=made.server_context()) as server:
        with Proxy(routes=routes(server, 443)) as proxy:
            assert via(proxy.url, "https://%s/x" % NAME, made.client_context()) == b"through"
            assert [(one.method, one.target) for one in proxy.seen] == [("CONNECT", NAME + ":443")]
            assert server.requests[0].target == "/x"
            assert proxy.wait_closed(LONG) and server.wait_closed(LONG)


def test_a_proxy_reaches_an_address_without_a_route() -> None:
    with Server([answer(b"direct")]) as server, Proxy() as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=LONG)
        connection.set_tunnel("127.0.0.1", server.port)
        connection.request("GET", "/")
        with connection.getresponse() as response:
            assert response.read() == b"direct"
        connection.close()


@pytest.mark.parametrize("port, url", [(80, "http://%s/x?y=1" % NAME),
                                       (81, "http://%s:81/x?y=1" % NAME)])
def test_a_proxy_forwards_plain_http(port: int, url: str) -> None:
    with Server([answer(b"forwarded")]) as server, Proxy(routes=routes(server, port),
                                                         credentials="me:pass") as proxy:
        assert via(proxy.url_with("me:pass"), url) == b"forwarded"
        assert [(one.method, one.target) for one in proxy.seen] == [("GET", url)]
        assert server.requests[0].target == "/x?y=1"
        assert proxy.seen[0].header("Proxy-Authorization") == "Basic bWU6cGFzcw=="
        assert server.requests[0].header("Proxy-Authorization") is None


def test_a_proxy_wants_its_credentials(made: Certificates) -> None:
    with Server([answer(b"in")], tls=made.server_context()) as server:
        with Proxy(routes=routes(server, 443), credentials="me:pass") as proxy:
            for wrong in (proxy.url, proxy.url_with("me:word")):
                with pytest.raises(OSError, match="407"):
                    via(wrong, "https://%s/" % NAME, made.client_context())
            assert server.connections == 0
            assert via(proxy.url_with("me:pass"), "https://%s/" % NAME,
                       made.client_context()) == b"in"
            assert [one.header("Proxy-Authorization") for one in proxy.seen] == [
                None, "Basic bWU6d29yZA==", "Basic bWU6cGFzcw=="]


def test_a_proxy_refuses(made: Certificates) -> None:
    with Proxy(refuse=503, text="closed today") as proxy:
        with pytest.raises(OSError, match="503"):
            via(proxy.url, "https://%s/" % NAME, made.client_context())
        with socket.create_connection(("127.0.0.1", proxy.port), LONG) as sock:
            sock.sendall(b"CONNECT a:1 HTTP/1.1\r\n\r\n")
            assert read_all(sock).endswith(b"\r\n\r\nclosed today\n")


def test_a_proxy_cannot_connect() -> None:
    with Proxy(routes={NAME + ":443": ("127.0.0.1", closed_port())}) as proxy:
        for target in (NAME + ":443", "nonsense"):
            with socket.create_connection(("127.0.0.1", proxy.port), LONG) as sock:
                sock.sendall(b"CONNECT %s HTTP/1.1\r\n\r\n" % target.encode())
                assert read_all(sock).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("hang", [True, False], ids=["hang", "dribble"])
def test_a_proxy_wastes_time(hang: bool) -> None:
    with Server() as server, Proxy(routes=routes(server, 443), hang=hang, dribble=not hang,
                                   every=0.05) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), LONG) as sock:
            sock.sendall(b"CONNECT %s:443 HTTP/1.1\r\n\r\n" % NAME.encode())
            if hang:
                sock.settimeout(0.3)
                with pytest.raises(socket.timeout):
                    sock.recv(1)
            else:
                some = b"".join(sock.recv(100) for _ in range(4))
                assert ESTABLISHED.startswith(some) and some != ESTABLISHED
        assert proxy.wait_closed(LONG) and server.wait_closed(LONG)


def test_a_tunnel_ends_with_the_proxy() -> None:
    with Server([b"a", Silence()]) as server, Proxy(routes=routes(server, 443)) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), LONG) as sock:
            sock.sendall(b"CONNECT %s:443 HTTP/1.1\r\n\r\n" % NAME.encode())
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert sock.recv(10) == b"a"
            proxy.close()
            assert server.wait_closed(LONG)
