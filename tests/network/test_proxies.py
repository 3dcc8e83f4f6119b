"""Proxies: tunnels and plain http, credentials, refusals, what breaks, and when none is used."""

from base64 import b64encode
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

import pytest

from jamsocket_lite import (AuthenticationError, ConfigurationError, HTTPError, Jamsocket,
                            JamsocketError, NetworkError, ProtocolError)
from kit.addresses import NAME, has_ipv6, reach
from kit.calls import CALLS, SINGLE, Call, call_connect, call_status, call_terminate
from kit.certificates import Certificates
from kit.deadlines import LONG, SHORT, at_most, keeps_deadline, timed
from kit.platforms import client, connected, service
from kit.proxy import ESTABLISHED, Proxy
from kit.secrets import PROXY_CREDENTIALS, SECRETS, TOKEN, failure
from kit.server import (Action, Close, DeadAddress, Pause, Peer, Repeat, Reset, Server, Silence,
                        Step, at_once, closed_port)
from kit.threads import together

pytestmark = pytest.mark.usefixtures("nothing_left")


# -------------------------------------------------------------------------------------------------
# Through a proxy
# -------------------------------------------------------------------------------------------------

def routes(server: Server) -> Dict[str, Tuple[str, int]]:
    return {"%s:%d" % (NAME, port): ("127.0.0.1", server.port) for port in (80, 443, 8443)}


@pytest.mark.parametrize("credentials", [None, PROXY_CREDENTIALS], ids=["open", "credentials"])
@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_https_goes_through_a_tunnel_of_the_proxy(variable: str, credentials: Optional[str],
                                                  certificates: Certificates,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """And the proxy learns nothing but the name."""
    url = "https://" + NAME
    with Server(service(url), tls=certificates.server_context()) as server:
        with Proxy(routes=routes(server), credentials=credentials) as proxy:
            monkeypatch.setenv(variable, proxy.url if credentials is None
                               else proxy.url_with(credentials))
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
                assert (
                    request.header("Proxy-Authorization") is None and request.header("Host") == NAME
                )
            assert server.requests[0].header("Authorization") == "Bearer " + TOKEN
            assert proxy.wait_closed(LONG) and server.wait_closed(LONG)


@pytest.mark.parametrize("credentials", [None, PROXY_CREDENTIALS], ids=["open", "credentials"])
@pytest.mark.parametrize("port", [80, 8443])
def test_http_goes_through_the_proxy(port: int, credentials: Optional[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://%s" % NAME + ("" if port == 80 else ":%d" % port)
    with Server(service(url)) as server, Proxy(routes=routes(server),
                                               credentials=credentials) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url if credentials is None
                           else proxy.url_with(credentials))
        assert call_connect(url).backend_id == "b4ckend"
        assert client(url).wait_until_ready(connected(url), timeout=LONG).is_ready
        assert (
            proxy.seen[0].method == "POST"
            and proxy.seen[0].target == url + "/v2/service/acme/board/connect"
        )
        assert server.requests[0].target == "/v2/service/acme/board/connect"
        assert server.requests[0].header("Host") == url[len("http://"):]
        assert all(request.header("Proxy-Authorization") is None for request in server.requests)


@pytest.mark.parametrize("sent, user", [("a%40b:c%3Ad%2Fe", "a@b:c:d/e"), ("%C3%A9:%C3%A9", "é:é"),
                                        ("only", None)])
def test_a_proxys_credentials_may_hold_any_character(sent: str, user: Optional[str],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://" + NAME
    with Server(service(url)) as server, Proxy(routes=routes(server), credentials=user) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url_with(sent))
        call_connect(url)
        if user is not None:
            expected = "Basic " + b64encode(user.encode("utf-8")).decode("ascii")
            assert proxy.seen[0].header("Proxy-Authorization") == expected


# -------------------------------------------------------------------------------------------------
# Proxies that refuse, break, or waste time
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_other_credentials_is_an_authentication_error(
    scheme: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in ("", PROXY_CREDENTIALS + "@"):
        with Proxy(credentials="someone:else", text="no: '%s'" % given) as proxy:
            monkeypatch.setenv(scheme + "_proxy", "http://%s%s" % (given, proxy.address))
            with at_most(3.0):
                error = failure(lambda: call(scheme + "://" + NAME, LONG), AuthenticationError)
            assert error.status == 407


@pytest.mark.parametrize("status", [302, 400, 403, 404, 500, 502, 503])
def test_a_proxy_that_refuses_a_tunnel_is_a_network_error(status: int,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the proxy's, not the API's."""
    with Proxy(refuse=status, text="closed; %s %s" % (PROXY_CREDENTIALS, TOKEN)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url_with(PROXY_CREDENTIALS))
        for call in SINGLE.values():
            error = failure(lambda: call("https://" + NAME, LONG), NetworkError)
            assert str(status) in str(error) and "proxy" in str(error)


@pytest.mark.parametrize("status", [403, 502, 503])
def test_a_proxys_answer_to_plain_http_is_an_http_error(status: int,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(refuse=status, text="closed; %s %s" % (PROXY_CREDENTIALS, TOKEN)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url_with(PROXY_CREDENTIALS))
        error = failure(lambda: call_connect("http://" + NAME), HTTPError, AuthenticationError)
        assert error.status == status


class Hear(Action):
    """Until something comes through the tunnel: by then its other end has the answer."""

    def run(self, peer: Peer) -> None:
        peer.receive()


BROKEN_PROXIES: Dict[str, Tuple[List[Step], Type[JamsocketError]]] = {
    "closes at once": ([at_once, Close()], NetworkError),
    "closes": ([Close()], NetworkError),
    "resets": ([Reset()], NetworkError),
    "closes in its answer": ([ESTABLISHED[:20], Close()], NetworkError),
    "closes the tunnel": ([ESTABLISHED, Close()], NetworkError),
    "resets the tunnel": ([ESTABLISHED, Pause(0.02), Reset()], NetworkError),
    "speaks another protocol": ([b"SSH-2.0-OpenSSH\r\n\r\n", Silence()], ProtocolError),
    "sends headers without end": ([ESTABLISHED[:-2], Repeat(b"X: y\r\n" * 1000)], ProtocolError),
    "sends a page through the tunnel": ([ESTABLISHED, Hear(), b"<html>" * 1000, Silence()],
                                        NetworkError),
}


@pytest.mark.parametrize("weather", list(BROKEN_PROXIES))
def test_a_broken_proxy_is_a_network_or_protocol_error(weather: str,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    steps, kind = BROKEN_PROXIES[weather]
    with Server(steps) as server:
        monkeypatch.setenv("https_proxy", "http://%s@%s" % (PROXY_CREDENTIALS, server.address))
        for call in SINGLE.values():
            failure(lambda: call("https://" + NAME, LONG), kind)
        assert server.connections == 3 and server.wait_closed(LONG)


def test_a_proxy_that_is_not_there_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = "127.0.0.1:%d" % closed_port()
    for scheme in ("http", "https"):
        monkeypatch.setenv(scheme + "_proxy", "http://%s@%s/" % (PROXY_CREDENTIALS, address))
        assert address in str(failure(lambda: call_connect(scheme + "://" + NAME), NetworkError))


@pytest.mark.parametrize("value", [
    "socks5://%s@127.0.0.1:1080", "ftp://%s@127.0.0.1:21", "http://%s@", "http://%s@:80",
    "http://%s@127.0.0.1:x",
    "http://%s@127.0.0.1:99999", "http://%s@a b", "%s@", "http://%s@[::1",
    "file:///%s"])
def test_a_proxy_setting_that_makes_no_sense_is_a_configuration_error(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which never shows the password."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(scheme + "_proxy", value % PROXY_CREDENTIALS)
        failure(lambda: call_connect(scheme + "://" + NAME), ConfigurationError)


@pytest.mark.parametrize("weather", ["hangs", "dribbles", "hangs in the tunnel",
                                     "never takes the connection"])
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
        with Proxy(routes=routes(server), hang=weather == "hangs", dribble=weather == "dribbles",
                   every=0.04) as proxy:
            check_all(proxy.address)
            assert proxy.wait_closed(LONG) and server.wait_closed(LONG)


# -------------------------------------------------------------------------------------------------
# Without a proxy
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("no_proxy, direct", [
    (NAME, True), ("example.test", True), (".example.test", True), ("*", True),
    ("other.test, %s" % NAME, True),
    (NAME.upper(), True), (NAME + ":{port}", True), ("", False), ("other.test", False),
    (NAME + ":1", False),
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


LOOPBACK = [("127.0.0.1", "localhost"), ("127.0.0.1", "LocalHost"), ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]"), ("127.1.2.3", "127.1.2.3"), ("::1", "[0:0:0:0:0:0:0:1]")]


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("address, name", LOOPBACK)
def test_loopback_never_goes_through_a_proxy(address: str, name: str, secure: bool,
                                             certificates: Certificates,
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
