"""What people hang on urllib, http.client, socket and ssl sees and serves the calls as it does
theirs: the ways to the server, greenlets, what programs replace by hand.

Each tool has processes of its own, whose programs are beside this file. `make test-interop`
installs the tools and runs these tests; elsewhere those whose tool is not here are skipped.
"""

import socket
import ssl
import threading
from typing import Any, Callable, List, Sequence

import pytest

from jamsocket_lite import ConfigurationError
from kit.calls import call_connect, call_status, call_wait
from kit.certificates import Certificates
from kit.platforms import is_stream
from kit.secrets import failure
from kit.server import Request, Server, Step, Wait
from kit.socks_server import SocksServer
from kit.tools import (FINE, NAME, PLACES, Tried, Try, each_call, each_scheme, need, platform,
                       serve, start, trying_once)


@pytest.fixture(scope="module")
def tried(certificates: Certificates) -> Try:
    return trying_once(certificates)


# --------------------------------------------------------------------------------------------------
# The ways to the server
# --------------------------------------------------------------------------------------------------

@each_scheme
def test_pysocks_carries_every_connection(scheme: str, certificates: Certificates) -> None:
    need("socks")
    with serve(scheme, certificates) as server, SocksServer() as socks:
        done = start(certificates, "with_pysocks.py", server.url, str(socks.port), *FINE)
        assert done.json()["outcomes"] == FINE
        assert len(server.requests) == server.connections == len(socks.seen)
        assert {target.rpartition(":")[2] for target in socks.seen} == {str(server.port)}


@each_scheme
def test_pysocks_leaves_names_to_its_server(scheme: str, certificates: Certificates) -> None:
    """Where getaddrinfo is replaced too, as is usual against leaks of names."""
    need("socks")
    address = NAME + ":4321"
    with serve(scheme, certificates) as server:
        with SocksServer({address: ("127.0.0.1", server.port)}) as socks:
            done = start(certificates, "with_pysocks.py", "%s://%s" % (scheme, address),
                         str(socks.port), "names", *FINE)
            assert done.json()["outcomes"] == FINE
            assert socks.seen == [address] * len(server.requests)


@pytest.mark.parametrize("call", ["connect", "status"])  # a wait bears it
def test_a_refusal_of_pysocks_server_is_a_network_error(call: str,
                                                        certificates: Certificates) -> None:
    need("socks")
    with serve("http", certificates) as server, SocksServer(refuse=True) as socks:
        done = start(certificates, "with_pysocks.py", server.url, str(socks.port), call)
        assert done.json()["outcomes"] == {call: "NetworkError"}
        assert socks.seen and not server.connections


def test_truststore_checks_certificates(tried: Try) -> None:
    """Against the system's store, which here is the tests' own."""
    need("truststore")
    done = tried("with_truststore.py", "https")
    assert done.report["outcomes"] == FINE
    assert done.report["wrapped"] == len(done.requests)


def test_truststore_refuses_an_authority_that_the_system_does_not_know(
        certificates: Certificates) -> None:
    need("truststore")
    with Server(platform, tls=certificates.server_context("unknown-ca")) as server:
        report = start(certificates, "with_truststore.py", server.url).json()
        assert report["outcomes"] == dict.fromkeys(FINE, "NetworkError")
        assert report["wrapped"] and not server.requests


# --------------------------------------------------------------------------------------------------
# Greenlets
# --------------------------------------------------------------------------------------------------

def check_greenlets(program: str, scheme: str, certificates: Certificates) -> None:
    """Three calls at once, each of which gets no answer before the two others have asked."""
    there = {call: threading.Event() for call in PLACES}

    def script(request: Request) -> Sequence[Step]:
        call = next(call for call, place in PLACES.items() if place in request.target)
        if call == "wait" and not is_stream(request):
            return platform(request)
        there[call].set()
        return [*map(Wait, there.values()), *platform(request)]

    with serve(scheme, certificates, script) as server:
        assert start(certificates, program, server.url).json()["outcomes"] == FINE


@each_scheme
def test_calls_in_greenlets_of_gevent_let_each_other_run(scheme: str,
                                                         certificates: Certificates) -> None:
    need("gevent")
    check_greenlets("with_gevent.py", scheme, certificates)


@each_scheme
def test_calls_in_greenlets_of_eventlet_let_each_other_run(scheme: str,
                                                           certificates: Certificates) -> None:
    need("eventlet")
    check_greenlets("with_eventlet.py", scheme, certificates)


# --------------------------------------------------------------------------------------------------
# What programs replace in the standard library by hand
# --------------------------------------------------------------------------------------------------

@each_scheme
@pytest.mark.parametrize("call", [call_connect, call_status, call_wait])
def test_a_replaced_getaddrinfo_is_asked(call: Callable[..., Any], scheme: str,
                                         certificates: Certificates,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name as a str, as urllib does."""
    asked: List[Any] = []
    with serve(scheme, certificates) as server:
        def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> List[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        call("%s://%s" % (scheme, NAME), ssl_context=certificates.client_context())
        assert asked == [NAME] * len(server.requests) and {type(host) for host in asked} == {str}


@pytest.mark.parametrize("call", [call_connect, call_status, call_wait])
def test_a_replaced_default_context_that_checks_nothing_is_refused(
        call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)
    failure(lambda: call("https://localhost:1"), ConfigurationError)


@each_call
def test_a_replaced_default_context_of_https_is_used(call: str, other_context: Tried) -> None:
    assert other_context.report["outcomes"][call] == FINE[call]


@pytest.fixture(scope="module")
def other_context(certificates: Certificates) -> Tried:
    """With a server whose authority is known to the replaced context alone."""
    with Server(platform, tls=certificates.server_context("unknown-ca")) as server:
        done = start(certificates, "with_default_context.py", server.url,
                     str(certificates.directory / "other-ca.pem"))
        return Tried(done.json(), server.requests)


@each_scheme
@each_call
def test_debuglevel_prints_the_conversation(call: str, scheme: str, tried: Try) -> None:
    done = tried("with_debuglevel.py", scheme)
    assert done.report["outcomes"][call] == FINE[call]
    printed: str = done.report["printed"]
    assert done.requests_of(call)
    for request in done.requests_of(call):
        assert "send: b'%s %s HTTP/1.1" % (request.method, request.target) in printed
    assert printed.count("reply: 'HTTP/1.1 200 OK") == len(done.requests)
