"""Proxies that refuse for a while, and those that would be spoken to in clear."""

from typing import Any, Dict, List, Optional, Sequence

import pytest

from jamsocket_lite import ConfigurationError, HTTPError, NetworkError
from kit.calls import CALLS, SINGLE, Call
from kit.certificates import Certificates
from kit.deadlines import LONG, at_most
from kit.platforms import channels, client, connected, streamed, told
from kit.proxy import Proxy
from kit.secrets import PROXY_CREDENTIALS, failure
from kit.server import Request, Server, Silence, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

HOST = "api.example.test"
each_scheme = pytest.mark.parametrize("scheme", ["http", "https"])


class Reluctant(Proxy):
    """Refuses its first requests, each with one of these statuses."""

    def __init__(self, server: Server, statuses: Sequence[int]) -> None:
        self._statuses = list(statuses)
        super().__init__(routes={"%s:%d" % (HOST, port): ("127.0.0.1", server.port)
                                 for port in (80, 443)})

    def _refusal(self, request: Request) -> Optional[bytes]:
        return answer(b"", self._statuses.pop(0)) if self._statuses else None


@each_scheme
@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_wait_goes_on_through_a_proxys_passing_refusals(
        status: int, scheme: str, certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch) -> None:
    url, secure = scheme + "://" + HOST, scheme == "https"
    options: Dict[str, Any] = {"ssl_context": certificates.client_context()} if secure else {}
    tls = certificates.server_context() if secure else None
    with Server(channels([streamed("ready"), Silence()], told("ready")), tls=tls) as server:
        with Reluctant(server, [status] * 2) as proxy:
            monkeypatch.setenv(scheme + "_proxy", proxy.url)
            with at_most(8.0):
                assert client(url, **options).wait_until_ready(connected(url),
                                                               timeout=LONG).is_ready
            assert len(proxy.seen) >= 3


@pytest.mark.parametrize("call", list(SINGLE.values()), ids=list(SINGLE))
@pytest.mark.parametrize("status", [408, 429])
def test_a_tunnel_that_is_refused_for_a_while_is_a_network_error(
        status: int, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single call is not sent again."""
    with Proxy(refuse=status) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        error = failure(lambda: call("https://" + HOST, LONG), NetworkError)
        assert str(status) in str(error) and len(proxy.seen) == 1
        assert not isinstance(error, HTTPError)


@each_scheme
@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
@pytest.mark.parametrize("variable", ["%s_proxy", "%S_PROXY"], ids=["small", "capital"])
def test_a_proxy_that_wants_tls_is_refused_and_never_spoken_to(
        variable: str, call: Call, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its password nor a token goes to it in clear."""
    name = variable.replace("%s", scheme).replace("%S", scheme.upper())
    with Server() as proxy:
        monkeypatch.setenv(name, "https://%s@%s" % (PROXY_CREDENTIALS, proxy.address))
        error = failure(lambda: call("%s://%s" % (scheme, HOST), 3.0), ConfigurationError)
        assert scheme + "_proxy" in str(error)
        assert proxy.connections == 0


def test_a_proxy_that_wants_tls_is_no_matter_of_this_machines_own_addresses(
        monkeypatch: pytest.MonkeyPatch) -> None:
    seen: List[str] = []
    with Server(told("ready")) as server:
        monkeypatch.setenv("http_proxy", "https://" + HOST)
        seen.append(client(server.url).status(connected(server.url)).status)
    assert seen == ["ready"]
