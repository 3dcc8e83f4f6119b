"""So do the TLS servers, the certificates and the proxy."""

import http.client
import shutil
import socket
import ssl
import time
from pathlib import Path
from typing import Dict, Tuple

import pytest

from kit.addresses import NAME
from kit.certificates import WHICH, Certificates
from kit.deadlines import LONG
from kit.outsiders import dial, fetch, read_all, via
from kit.proxy import ESTABLISHED, Proxy
from kit.server import Close, Server, Silence, answer, closed_port

# The tests' own tools change seldom, so `make test` goes without; `make test-slow` has them.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]


# -------------------------------------------------------------------------------------------------
# TLS
# -------------------------------------------------------------------------------------------------

def strict(context: ssl.SSLContext) -> ssl.SSLContext:
    """As Python 3.13 has it by default."""
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_https_works_and_keeps_the_request(certificates: Certificates) -> None:
    with Server([answer(b"x" * 300000)], tls=certificates.server_context()) as server:
        assert server.url == "https://localhost:%d" % server.port
        assert fetch(server, "POST", "/", b"y" * 300000,
                     strict(certificates.client_context())) == (200, b"x" * 300000)
        assert server.requests[0].body == b"y" * 300000


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "api.example.test"])
def test_the_good_certificate_is_good_for_its_names(name: str, certificates: Certificates) -> None:
    with Server(tls=certificates.server_context()) as server, dial(server, b"") as sock:
        with strict(certificates.client_context()).wrap_socket(sock,
                                                               server_hostname=name) as secure:
            assert secure.version() in ("TLSv1.2", "TLSv1.3")


# The numbers are OpenSSL's X509_V_ERR_….
@pytest.mark.parametrize("which, code", [("expired", 10), ("wrong-host", 62), ("self-signed", 18),
                                         ("unknown-ca", 20)])
@pytest.mark.parametrize("strictly", [False, True], ids=["default", "strict"])
def test_a_bad_certificate_is_refused_for_its_fault(which: str, code: int, strictly: bool,
                                                    certificates: Certificates) -> None:
    context = strict(certificates.client_context()) if strictly else certificates.client_context()
    with Server(tls=certificates.server_context(which)) as server:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            fetch(server, context=context)
        assert caught.value.verify_code == code
        assert server.wait_closed(LONG) and not server.requests


def test_the_other_faults_pass_where_they_are_trusted(certificates: Certificates) -> None:
    for which, authority in (("self-signed", "self-signed"), ("unknown-ca", "other-ca")):
        context = ssl.create_default_context(cafile=str(certificates.directory / (authority
                                                                                  + ".pem")))
        with Server(tls=certificates.server_context(which)) as server:
            assert fetch(server, context=strict(context))[0] == 200


def test_a_cut_and_an_orderly_end_differ(certificates: Certificates) -> None:
    for last, cut in ((Close(), False), (Close(notify=False), True)):
        with Server([b"a", last], tls=certificates.server_context()) as server, dial(server,
                                                                                     b"") as sock:
            context = certificates.client_context()
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


def test_a_silent_server_accepts_and_never_shakes_hands(certificates: Certificates) -> None:
    with Server(handshake="silent") as server:
        assert server.url.startswith("https://localhost:")
        with dial(server, b"") as sock:
            sock.settimeout(0.3)
            with pytest.raises(socket.timeout):
                certificates.client_context().wrap_socket(sock, server_hostname="localhost").close()
        assert server.connections == 1 and server.wait_closed(LONG)


def test_a_dribbled_handshake_is_slow_but_right(certificates: Certificates) -> None:
    with Server(tls=certificates.server_context(), handshake="dribble", every=0.0002) as server:
        start = time.monotonic()
        assert fetch(server, context=certificates.client_context()) == (200, b"{}")
        assert time.monotonic() - start > 0.1
    with Server(tls=certificates.server_context(), handshake="dribble", every=0.05) as server:
        with dial(server, b"") as sock:
            # Each read is quick enough for the timeout of a socket; the whole is not.
            context = certificates.client_context()
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


def test_certificates_know_their_kinds(certificates: Certificates) -> None:
    for which in WHICH:
        certificates.server_context(which)
    with pytest.raises(ValueError, match="self-signed"):
        certificates.server_context("best")


# -------------------------------------------------------------------------------------------------
# Proxies
# -------------------------------------------------------------------------------------------------

def routes(server: Server, port: int) -> Dict[str, Tuple[str, int]]:
    return {"%s:%d" % (NAME, port): ("127.0.0.1", server.port)}


def test_a_proxy_tunnels_tls(certificates: Certificates) -> None:
    with Server([answer(b"through")], tls=certificates.server_context()) as server:
        with Proxy(routes=routes(server, 443)) as proxy:
            assert via(proxy.url, "https://%s/x" % NAME,
                       certificates.client_context()) == b"through"
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


def test_a_proxy_wants_its_credentials(certificates: Certificates) -> None:
    with Server([answer(b"in")], tls=certificates.server_context()) as server:
        with Proxy(routes=routes(server, 443), credentials="me:pass") as proxy:
            for wrong in (proxy.url, proxy.url_with("me:word")):
                with pytest.raises(OSError, match="407"):
                    via(wrong, "https://%s/" % NAME, certificates.client_context())
            assert server.connections == 0
            assert via(proxy.url_with("me:pass"), "https://%s/" % NAME,
                       certificates.client_context()) == b"in"
            assert [one.header("Proxy-Authorization") for one in proxy.seen] == [
                None, "Basic bWU6d29yZA==", "Basic bWU6cGFzcw=="]


def test_a_proxy_refuses(certificates: Certificates) -> None:
    with Proxy(refuse=503, text="closed today") as proxy:
        with pytest.raises(OSError, match="503"):
            via(proxy.url, "https://%s/" % NAME, certificates.client_context())
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
