"""The way to the server: proxies, certificates, dead addresses, a crowd of threads, Ctrl-C."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Type

import pytest

from conftest import ROOT
from kit.certificates import Certificates
from jamsocket_lite import (AuthenticationError, BackendState, ConfigurationError, HTTPError, Jamsocket,
                            JamsocketError, JamsocketTimeout, NetworkError, ProtocolError)
from kit.proxy import ESTABLISHED, Proxy
from kit.server import (Close, DeadAddress, Drain, Pause, Repeat, Request, Reset, Server, Silence, Step, Wait, answer,
                    at_once, closed_port, hung_up, stream_head)
from kit.calls import (CALLS, Call, LASTING, SINGLE, call_connect, call_status, call_terminate,
                       name_of)
from kit.deadlines import LONG, SHORT, keeps_deadline, record, timed
from kit.leftovers import leaving_nothing
from kit.platforms import channels, client, connected, is_stream, service, state, streamed
from kit.secrets import PROXY_CREDENTIALS, SECRETS, TOKEN, failed, failure
from kit.threads import together

NAME = "api.example.test"

each_call = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))


pytestmark = pytest.mark.usefixtures("nothing_left")


# ---------------------------------------------------------------------------------------------------------------------
# Proxies
# ---------------------------------------------------------------------------------------------------------------------

def routes(server: Server) -> Dict[str, Tuple[str, int]]:
    return {"%s:%d" % (NAME, port): ("127.0.0.1", server.port) for port in (80, 443, 8443)}


@pytest.mark.parametrize("credentials", [None, PROXY_CREDENTIALS], ids=["open", "credentials"])
@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_https_goes_through_a_tunnel_of_the_proxy(variable: str, credentials: Optional[str], certificates: Certificates,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """And the proxy learns nothing but the name."""
    url = "https://" + NAME
    with Server(service(url), tls=certificates.server_context()) as server:
        with Proxy(routes=routes(server), credentials=credentials) as proxy:
            monkeypatch.setenv(variable, proxy.url if credentials is None else proxy.url_with(credentials))
            options: Dict[str, Any] = {"ssl_context": certificates.client_context()}
            assert call_connect(url, **options).backend_id == "b4ckend"
            assert call_status(url, **options).is_ready
            call_terminate(url, **options)
            assert client(url, **options).wait_until_ready(connected(url), timeout=LONG).is_ready
            assert next(client(url, **options).status_stream(connected(url), timeout=LONG)).is_ready
            assert {(one.method, one.target) for one in proxy.seen} == {("CONNECT", NAME + ":443")}
            for one in proxy.seen:
                assert one.body == b"" and one.header("Authorization") is None
                assert not any(secret.encode() in one.head for secret in SECRETS[:-1])
                if credentials is None:
                    assert one.header("Proxy-Authorization") is None
            for request in server.requests:
                assert request.header("Proxy-Authorization") is None and request.header("Host") == NAME
            assert server.requests[0].header("Authorization") == "Bearer " + TOKEN
            assert proxy.wait_closed(LONG) and server.wait_closed(LONG)


@pytest.mark.parametrize("credentials", [None, PROXY_CREDENTIALS], ids=["open", "credentials"])
@pytest.mark.parametrize("port", [80, 8443])
def test_http_goes_through_the_proxy(port: int, credentials: Optional[str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://%s" % NAME + ("" if port == 80 else ":%d" % port)
    with Server(service(url)) as server, Proxy(routes=routes(server), credentials=credentials) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url if credentials is None else proxy.url_with(credentials))
        assert call_connect(url).backend_id == "b4ckend"
        assert client(url).wait_until_ready(connected(url), timeout=LONG).is_ready
        assert proxy.seen[0].method == "POST" and proxy.seen[0].target == url + "/v2/service/acme/board/connect"
        assert server.requests[0].target == "/v2/service/acme/board/connect"
        assert server.requests[0].header("Host") == url[len("http://"):]
        assert all(request.header("Proxy-Authorization") is None for request in server.requests)


@pytest.mark.parametrize("sent, user", [("a%40b:c%3Ad%2Fe", "a@b:c:d/e"), ("%C3%A9:%C3%A9", "é:é"), ("only", None)])
def test_a_proxys_credentials_may_hold_any_character(sent: str, user: Optional[str],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://" + NAME
    with Server(service(url)) as server, Proxy(routes=routes(server), credentials=user) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url_with(sent))
        call_connect(url)
        if user is not None:
            expected = "Basic " + b64encode(user.encode("utf-8")).decode("ascii")
            assert proxy.seen[0].header("Proxy-Authorization") == expected


@each_call
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_other_credentials_is_an_authentication_error(scheme: str, call: Call,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("", PROXY_CREDENTIALS + "@"):
        with Proxy(credentials="someone:else", text="no: '%s'" % given) as proxy:
            monkeypatch.setenv(scheme + "_proxy", "http://%s%s" % (given, proxy.address))
            done = timed(lambda: call(scheme + "://" + NAME, LONG))
            assert failed(done.outcome, AuthenticationError).status == 407
            assert done.seconds < 3.0


@pytest.mark.parametrize("status", [302, 400, 403, 404, 500, 502, 503])
def test_a_proxy_that_refuses_a_tunnel_is_a_network_error(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the proxy's, not the API's."""
    with Proxy(refuse=status, text="closed; %s %s" % (PROXY_CREDENTIALS, TOKEN)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url_with(PROXY_CREDENTIALS))
        for call in SINGLE.values():
            error = failure(lambda: call("https://" + NAME, LONG), NetworkError)
            assert str(status) in str(error) and "proxy" in str(error)


@pytest.mark.parametrize("status", [403, 502, 503])
def test_a_proxys_answer_to_plain_http_is_an_http_error(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(refuse=status, text="closed; %s %s" % (PROXY_CREDENTIALS, TOKEN)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url_with(PROXY_CREDENTIALS))
        error = failure(lambda: call_connect("http://" + NAME), HTTPError, AuthenticationError)
        assert error.status == status


BROKEN_PROXIES: Dict[str, Tuple[List[Step], Type[JamsocketError]]] = {
    "closes at once": ([at_once, Close()], NetworkError),
    "closes": ([Close()], NetworkError),
    "resets": ([Reset()], NetworkError),
    "closes in its answer": ([ESTABLISHED[:20], Close()], NetworkError),
    "closes the tunnel": ([ESTABLISHED, Close()], NetworkError),
    "resets the tunnel": ([ESTABLISHED, Pause(0.02), Reset()], NetworkError),
    "speaks another protocol": ([b"SSH-2.0-OpenSSH\r\n\r\n", Silence()], ProtocolError),
    "sends headers without end": ([ESTABLISHED[:-2], Repeat(b"X: y\r\n" * 1000)], ProtocolError),
    "sends a page through the tunnel": ([ESTABLISHED, Pause(0.05), b"<html>" * 1000, Silence()], NetworkError),
}


@pytest.mark.parametrize("weather", list(BROKEN_PROXIES))
def test_a_broken_proxy_is_a_network_or_protocol_error(weather: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, kind = BROKEN_PROXIES[weather]
    with Server(steps) as server:
        monkeypatch.setenv("https_proxy", "http://%s@%s" % (PROXY_CREDENTIALS, server.address))
        for call in SINGLE.values():
            failure(lambda: call("https://" + NAME, LONG), kind)
        assert server.connections == 3 and server.wait_closed(LONG)


def test_a_proxy_that_is_not_there_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "127.0.0.1:%d" % closed_port()
    for scheme in ("http", "https"):
        monkeypatch.setenv(scheme + "_proxy", "http://%s@%s/" % (PROXY_CREDENTIALS, address))
        assert address in str(failure(lambda: call_connect(scheme + "://" + NAME), NetworkError))


@pytest.mark.parametrize("value", [
    "socks5://%s@127.0.0.1:1080", "ftp://%s@127.0.0.1:21", "http://%s@", "http://%s@:80", "http://%s@127.0.0.1:x",
    "http://%s@127.0.0.1:99999", "http://%s@a b", "%s@", "http://%s@[::1", "http://%s@\u00e9", "file:///%s"])
def test_a_proxy_setting_that_makes_no_sense_is_a_configuration_error(value: str,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Which never shows the password."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(scheme + "_proxy", value % PROXY_CREDENTIALS)
        failure(lambda: call_connect(scheme + "://" + NAME), ConfigurationError)


@pytest.mark.parametrize("weather", ["hangs", "dribbles", "hangs in the tunnel", "never takes the connection"])
def test_a_slow_proxy_ends_with_the_deadline(weather: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_all(address: str) -> None:
        monkeypatch.setenv("https_proxy", "http://%s@%s" % (PROXY_CREDENTIALS, address))

        def job(name: str) -> Callable[[], Any]:
            return lambda: keeps_deadline("a proxy that %s, %s" % (weather, name), lambda: timed(
                lambda: CALLS[name]("https://" + NAME, SHORT)))

        together({name: job(name) for name in CALLS})

    if weather == "never takes the connection":
        with DeadAddress() as dead:
            check_all("%s:%d" % dead.addresses[0])
        return
    with Server(handshake="silent") as server:
        with Proxy(routes=routes(server), hang=weather == "hangs", dribble=weather == "dribbles", every=0.04) as proxy:
            check_all(proxy.address)
            assert proxy.wait_closed(LONG) and server.wait_closed(LONG)


def reach(monkeypatch: pytest.MonkeyPatch, *addresses: Tuple[str, int]) -> None:
    """Gives every name these addresses; what a name server would say is no matter of the client's."""
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)


@pytest.mark.parametrize("no_proxy, direct", [
    (NAME, True), ("example.test", True), (".example.test", True), ("*", True), ("other.test, %s" % NAME, True),
    (NAME.upper(), True), (NAME + ":{port}", True), ("", False), ("other.test", False), (NAME + ":1", False),
    ("ple.test", False)])
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_no_proxy_is_read_as_urllib_does(variable: str, no_proxy: str, direct: bool,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server:
        url = "http://%s:%d" % (NAME, server.port)
        server.script = service(url)
        with Proxy(routes={"%s:%d" % (NAME, server.port): ("127.0.0.1", server.port)}) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            monkeypatch.setenv(variable, no_proxy.format(port=server.port))
            if direct:
                reach(monkeypatch, ("127.0.0.1", server.port))
            call_connect(url)
            assert (proxy.connections == 0) is direct and server.connections == 1


def test_an_empty_proxy_variable_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server:
        url = "http://%s:%d" % (NAME, server.port)
        server.script = service(url)
        monkeypatch.setenv("http_proxy", "")
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        reach(monkeypatch, ("127.0.0.1", server.port))
        call_connect(url)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


LOOPBACK = [("127.0.0.1", "localhost"), ("127.0.0.1", "LocalHost"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"),
            ("127.1.2.3", "127.1.2.3"), ("::1", "[0:0:0:0:0:0:0:1]")]


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("address, name", LOOPBACK)
def test_loopback_never_goes_through_a_proxy(address: str, name: str, secure: bool, certificates: Certificates,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    if ":" in address and not has_ipv6():
        pytest.skip("no IPv6 here")
    if secure and name not in ("localhost", "127.0.0.1", "[::1]"):
        pytest.skip("the certificate has no such name")
    tls = certificates.server_context() if secure else None
    with Proxy() as proxy, Server(host=address, tls=tls) as server:
        for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
            monkeypatch.setenv(variable, proxy.url)
        url = "%s://%s:%d" % ("https" if secure else "http", name, server.port)
        server.script = service(url)
        options: Dict[str, Any] = {"ssl_context": certificates.client_context()} if secure else {}
        call_connect(url, **options)
        assert client(url, **options).wait_until_ready(connected(url), timeout=LONG).is_ready
        assert proxy.connections == 0 and server.connections >= 2


def test_dev_mode_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy() as proxy, Server() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        server.script = service("http://localhost:%d" % server.port)
        assert Jamsocket(dev=True, port=server.port).connect().backend_id == "b4ckend"
        assert proxy.connections == 0


# ---------------------------------------------------------------------------------------------------------------------
# Certificates
# ---------------------------------------------------------------------------------------------------------------------

FAULTS = {"expired": "expired", "wrong-host": "(?i)host ?name|not valid for", "self-signed": "(?i)self.signed",
          "unknown-ca": "(?i)issuer|authority"}


@each_call
@pytest.mark.parametrize("which", list(FAULTS))
def test_a_certificate_that_does_not_hold_is_a_network_error_that_says_why(which: str, call: Call,
                                                                         certificates: Certificates) -> None:
    with Server(tls=certificates.server_context(which)) as server:
        text = str(failure(lambda: call(server.url, LONG, ssl_context=certificates.client_context()), NetworkError))
        assert re.search(FAULTS[which], text), text
        if which in ("self-signed", "unknown-ca"):  # there it helps
            assert "SSL_CERT_FILE" in text and "ssl_context" in text
        assert not server.requests and server.wait_closed(LONG)
    record("certificate: %s, %s" % (which, name_of(call)), text.partition(": ")[2][:90])


def test_a_private_authority_comes_in_by_the_context_or_the_environment(certificates: Certificates,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the environment changes while the program runs."""
    with Server(tls=certificates.server_context()) as server:
        server.script = service(server.url)
        failure(lambda: call_connect(server.url), NetworkError)
        assert call_connect(server.url, ssl_context=certificates.client_context()).backend_id == "b4ckend"
        failure(lambda: call_connect(server.url), NetworkError)
        monkeypatch.setenv("SSL_CERT_FILE", certificates.ca_file)
        assert call_connect(server.url).backend_id == "b4ckend"
        assert client(server.url).wait_until_ready(connected(server.url), timeout=LONG).is_ready
        assert next(client(server.url).status_stream(connected(server.url), timeout=LONG)).is_ready
        monkeypatch.delenv("SSL_CERT_FILE")
        failure(lambda: call_connect(server.url), NetworkError)


def test_an_authority_file_that_is_none_is_our_error(tmp_path: Path, certificates: Certificates,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL passes over what it cannot read; then no certificate holds."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not a certificate")
    with Server(tls=certificates.server_context()) as server:
        for path in (garbage, tmp_path / "missing.pem", tmp_path):
            monkeypatch.setenv("SSL_CERT_FILE", str(path))
            failure(lambda: call_connect(server.url), NetworkError, ConfigurationError)


def test_certificates_cannot_be_left_unchecked(certificates: Certificates) -> None:
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    half = certificates.client_context()
    half.check_hostname = False
    nothing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nothing.check_hostname, nothing.verify_mode = False, ssl.CERT_NONE
    for context in (unchecked, half, nothing, True, "none"):
        failure(lambda: client("https://localhost:1", ssl_context=context), ConfigurationError)


@pytest.mark.parametrize("steps", [
    [at_once, Close()], [at_once, Reset()], [at_once, b"HTTP/1.1 400 Bad Request\r\n\r\n", Drain()],
    [at_once, b"\x15\x03\x01\x00\x02\x02\x28", Close()], [at_once, b"\x16\x03\x03\xff\xff" + b"x" * 70000, Drain()],
], ids=["closed", "reset", "plain http", "an alert", "garbage"])
def test_a_handshake_that_fails_is_a_network_error(steps: List[Step], certificates: Certificates) -> None:
    """In a wait and a stream it may pass by itself, so these may end with their deadline."""
    with Server(steps) as server:
        def job(name: str) -> Callable[[], Any]:
            lasting = name in LASTING
            kinds = (NetworkError, JamsocketTimeout) if lasting else (NetworkError,)
            return lambda: failure(lambda: CALLS[name]("https://" + server.address, 0.2 if lasting else LONG,
                                                       ssl_context=certificates.client_context()), *kinds)

        together({name: job(name) for name in CALLS})
        assert server.wait_closed(LONG)


def test_a_reset_before_the_handshake_leaves_no_socket_behind(certificates: Certificates,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Some versions of wrap_socket forget the socket that they have taken over."""
    class Late(socket.socket):
        def connect(self, address: Any) -> None:
            super().connect(address)
            hung_up(self, LONG)

    monkeypatch.setattr(socket, "socket", Late)
    with Server([at_once, Reset()]) as server:
        for call in SINGLE.values():
            failure(lambda: call("https://" + server.address, ssl_context=certificates.client_context()), NetworkError)


def test_plain_http_to_a_tls_port_is_an_error_of_ours(certificates: Certificates) -> None:
    with Server(tls=certificates.server_context()) as server:
        failure(lambda: call_connect("http://" + server.address), NetworkError, ProtocolError)


# ---------------------------------------------------------------------------------------------------------------------
# Addresses
# ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_dead_address_ends_with_the_deadline(secure: bool, certificates: Certificates) -> None:
    with DeadAddress() as dead:
        url = "%s://127.0.0.1:%d" % ("https" if secure else "http", dead.port)
        options: Dict[str, Any] = {"ssl_context": certificates.client_context()}

        def job(name: str) -> Callable[[], Any]:
            return lambda: keeps_deadline("a dead address, %s%s" % (name, ", TLS" if secure else ""), lambda: timed(
                lambda: CALLS[name](url, SHORT, **options)))

        together({name: job(name) for name in CALLS})


def test_several_dead_addresses_of_a_name_share_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with DeadAddress(3) as dead:
        reach(monkeypatch, *dead.addresses)
        url = "http://%s:%d" % (NAME, dead.port)

        def job(name: str, deadline: float) -> Callable[[], Any]:
            label = "three dead addresses of one name, %s, %.1f s" % (name, deadline)
            return lambda: keeps_deadline(label, lambda: timed(lambda: CALLS[name](url, deadline)), deadline)

        together({"%s %s" % (name, deadline): job(name, deadline) for name in CALLS for deadline in (SHORT, 0.7)})


@pytest.mark.parametrize("first", ["dead", "refusing"])
def test_another_address_of_the_name_is_tried(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with DeadAddress() as dead, Server() as server:
        url = "http://" + NAME
        server.script = service(url)
        bad = dead.addresses[0] if first == "dead" else ("127.0.0.1", closed_port())
        reach(monkeypatch, bad, ("127.0.0.1", server.port))
        def job(name: str) -> Callable[[], Any]:
            return lambda: SINGLE[name](url, 0.8)

        jobs = {name: job(name) for name in SINGLE}
        jobs["wait"] = lambda: client(url).wait_until_ready(connected(url), timeout=1.6 if first == "dead" else LONG)
        assert together(jobs)["wait"].is_ready


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
    UnicodeError("label too long: " + TOKEN), OSError(28, "No space left on device"), [],
], ids=["no such name", "no name server", "no name at all", "another error", "no address"])
def test_a_name_that_leads_nowhere_is_a_network_error(raised: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> List[Any]:
        if isinstance(raised, list):
            return raised
        raise raised

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for call in SINGLE.values():
        failure(lambda: call("http://" + NAME, LONG), NetworkError)
    together({name: lambda call=call: failure(lambda: call("http://" + NAME, 0.1), JamsocketTimeout)  # type: ignore
                  for name, call in LASTING.items()})


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a" * 300, "a..b", ".", "-", "1.2.3.4.5", "0x7f.1.1.1.1",
                                  "[::1%25lo]", "[v1.x]", "999.999.999.999", "xn--", "xn--\u00fc"])
def test_a_host_that_is_none_is_our_error(host: str) -> None:
    failure(lambda: call_connect("http://%s:1" % host, 5.0), NetworkError, ConfigurationError, JamsocketTimeout)


def test_a_refused_connection_is_a_network_error_or_waited_for() -> None:
    url = "http://127.0.0.1:%d" % closed_port()
    for call in SINGLE.values():
        assert "refused" in str(failure(lambda: call(url, LONG), NetworkError))

    def job(name: str) -> Callable[[], Any]:
        return lambda: keeps_deadline("a refused connection, " + name, lambda: timed(lambda: LASTING[name](url, SHORT)))

    together({name: job(name) for name in LASTING})


# ---------------------------------------------------------------------------------------------------------------------
# Many at once
# ---------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def many_files() -> Iterator[None]:
    """Descriptors for both ends of 500 waits with two connections each."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 3000:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
        except (OSError, ValueError) as error:
            pytest.skip("too few descriptors: %s" % error)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_threads_that_wait_at_once_through_one_client_each_get_their_own_answer(count: int) -> None:
    """Nobody's answer comes before all of them wait; then nothing is left."""
    go = threading.Event()

    def script(request: Request) -> Sequence[Step]:
        own = request.target.split("/")[3]
        if not is_stream(request):
            return [answer({"status": "starting", "time": own})]
        def event_of(status: str) -> bytes:
            return b'data:{"status":"%s","time":"%s"}\n\n' % (status.encode(), own.encode())
        return [stream_head() + event_of("scheduled"), Wait(go), event_of("waiting"), Pause(0.7), event_of("ready"),
                Silence()]

    answers: Dict[str, Any] = {}
    with leaving_nothing():
        with Server(script) as server:
            one = client(server.url)

            def wait(own: str) -> None:
                seen: List[str] = []
                result = timed(lambda: one.wait_until_ready(own, timeout=60.0,
                                                            on_status=lambda state: seen.append(state.time)))
                answers[own] = result.outcome, set(seen)

            before = threading.stack_size(512 * 1024)
            threads = [threading.Thread(target=wait, args=("backend-%d" % number,)) for number in range(count)]
            start = time.monotonic()
            for thread in threads:
                thread.start()
            threading.stack_size(before)
            assert server.wait_connections(count, 60.0) and server.wait_requests(count, 60.0)
            waiting = time.monotonic() - start
            go.set()
            for thread in threads:
                thread.join(60.0)
            done = time.monotonic() - start
            assert server.wait_closed(LONG)
        for own, (outcome, seen) in answers.items():
            assert isinstance(outcome, BackendState), outcome
            assert outcome.is_ready and outcome.time == own and seen == {own}
        assert len(answers) == count
    record("%d threads at once" % count, "all waiting after %.1f s, all answered after %.1f s, nothing left" % (
        waiting, done))


def test_threads_share_a_client_without_mixing_answers() -> None:
    def script(request: Request) -> Sequence[Step]:
        if request.target.endswith("/connect"):
            return [answer({**connected("http://x").to_dict(), "backend_id": request.json()["key"]})]
        return [answer({"status": "ready", "time": request.target.split("/")[3]})]

    with Server(script) as server:
        one = client(server.url)

        def job(own: str) -> Callable[[], None]:
            def run() -> None:
                for number in range(5):
                    assert one.connect({"key": own}).backend_id == own
                    assert one.status(own).time == own
            return run

        together({"key-%d" % number: job("key-%d" % number) for number in range(20)}, 20)
        assert len(server.requests) == 200


# ---------------------------------------------------------------------------------------------------------------------
# Ctrl-C
# ---------------------------------------------------------------------------------------------------------------------

# It lives on after the call was left, so that it is not its end that closes the socket.
INTERRUPTED = """
import signal, sys
sys.path[:0] = sys.argv[3:]
from jamsocket_lite import Jamsocket
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run
client = Jamsocket("acme", "board", "token", api_url=sys.argv[2])
calls = {"connect": client.connect, "status": lambda: client.status("b4ckend"),
         "wait": lambda: client.wait_until_ready("b4ckend", timeout=60),
         "stream": lambda: list(client.status_stream("b4ckend", timeout=60))}
try:
    calls[sys.argv[1]]()
except KeyboardInterrupt:
    print("left", flush=True)
sys.stdin.read()
"""


def interrupt(name: str, where: str, steps: Any) -> None:
    paths = [] if os.environ.get("JAMSOCKET_LITE_INSTALLED") else [str(ROOT)]
    with Server(steps) as server:
        process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, name, server.url, *paths],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin and process.stdout
        try:
            assert server.wait_requests(1, LONG)
            if where == "in a pause":
                assert server.wait_requests(2, LONG) and server.wait_closed(LONG)
            if where == "in the answer":
                time.sleep(0.1)  # for it to be read; were it not, the case would be the other one
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == b"left\n"
            left = time.monotonic() - start
            assert server.wait_closed(2.0), "the socket is still open"
            assert process.poll() is None and left < 2.0
            record("Ctrl-C %s, %s" % (where, name), "left after %.0f ms, socket closed" % (left * 1000))
        finally:
            process.stdin.close()
            process.stdout.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.skipif(os.name != "posix", reason="other systems have no SIGINT for one process")
def test_ctrl_c_leaves_a_call_at_once_with_the_socket_closed() -> None:
    body: List[Step] = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", Silence()]
    cases: Dict[str, Tuple[Sequence[str], Any]] = {
        "before the answer": (("connect", "wait", "stream"), [Silence()]),
        "in the answer": (("status", "stream"), channels([streamed("scheduled"), Silence()], body)),
        "in a pause": (("wait",), [answer(b"", 429, [("Retry-After", "3600")])]),
    }
    together({"%s, %s" % (name, where): (lambda name=name, where=where: interrupt(  # type: ignore[misc]
        name, where, cases[where][1])) for where, (names, _) in cases.items() for name in names}, 6)
