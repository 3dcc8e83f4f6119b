"""No redirect is followed, no url of another kind is opened, no credentials go elsewhere."""

from typing import Any, Dict

import pytest

from jamsocket_lite import ConfigurationError, ProtocolError, wait_until_ready
from kit.calls import SINGLE, call_status
from kit.certificates import Certificates
from kit.deadlines import record
from kit.platforms import READY, client, connected, state
from kit.secrets import BACKEND_TOKEN, SECRETS, SECRET_TOKEN, TOKEN, URL_PATH, failure
from kit.server import Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

REDIRECTS = (300, 301, 302, 303, 304, 305, 306, 307, 308, 399)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("status", REDIRECTS)
def test_no_redirect_is_followed(status: int, secure: bool, certificates: Certificates) -> None:
    """Not to another origin, not to plain http, not to a file, not to the same server."""
    options: Dict[str, Any] = {"ssl_context": certificates.client_context()} if secure else {}
    with Server() as other, Server(tls=certificates.server_context() if secure else None) as server:
        places = [other.url + "/" + TOKEN, server.url + "/" + TOKEN, "//" + other.address + "/",
                  "/elsewhere", "", "file:///etc/passwd", "file:" + URL_PATH, "ftp://127.0.0.1/",
                  "data:text/plain," + TOKEN, "http://%s:%s@%s/" % (BACKEND_TOKEN, SECRET_TOKEN,
                                                                    other.address), TOKEN, " \t",
                  "http://[::1", "\xff\xfe"]
        calls = list(SINGLE.values())
        for number, place in enumerate(places):
            before = len(server.requests)
            server.script = [answer(b"moved to " + place.encode(), status, [("Location", place)])]
            error = failure(lambda: calls[number % 3](server.url, **options), ProtocolError)
            assert str(status) in str(error) and "etc/passwd" not in str(error)
            assert len(server.requests) == before + 1
        server.script = [answer(b"", status)]
        failure(lambda: call_status(server.url, **options), ProtocolError)
        assert other.connections == 0
    record("redirect %d%s" % (status, " over TLS" if secure else ""), "nothing arrived elsewhere")


ELSEWHERE = (  # %s is a server's address
    "file:///etc/passwd", "file://%s/etc/passwd", "FILE:///etc/passwd", "ftp://%s/x",
    "gopher://%s/x", "ws://%s/x", "unix:///tmp/x", "://%s/x", "http://user@%s/x",
    "http://user:" + SECRET_TOKEN + "@%s/x", "http://" + BACKEND_TOKEN + "@%s/x", "http:///x",
    "http://", "https://:443/x", "http://?x", "http://%s:x/", "http://127.0.0.1:0/x",
    "http://127.0.0.1:65536/x", "http://127.0.0.1:-1/x", "http://127.0.0.1:999999999999/x",
    "http://127.0.0.1:٣/x", "http://%s/a b", "http://%s/\r\nX-Injected: 1", "http://%s/\n",
    "http://%s/\0", "http://%s/é", " http://%s/x", "http://%s/\ud800", "http://127.0.0.1\\@%s/x",
    "http://[::1/x", "http://::1/x", "http://ex ample/x",
    "http://a%%2f%s/x")


@pytest.mark.parametrize("url", ELSEWHERE, ids=lambda url: ascii(url)[1:-1])
def test_a_url_that_is_not_plain_http_or_https_is_never_opened(url: str) -> None:
    """Neither one of the caller's nor one that the platform sent."""
    with Server([answer(READY)]) as server:
        url = url % server.address if "%s" in url else url
        one, sent = client(server.url), connected("", status_url=url)
        for call in (one.status, one.status_stream, one.wait_until_ready, wait_until_ready):
            failure(lambda: call(url), ConfigurationError)
            failure(lambda: call(sent), ConfigurationError, ProtocolError)
        failure(lambda: client(url), ConfigurationError)
        assert server.connections == 0


@pytest.mark.parametrize("url", ["", "/v2/backend/x/status", "//%s/x", "status"])
def test_a_status_url_that_is_none_is_never_opened(url: str) -> None:
    with Server([answer(READY)]) as server:
        sent = connected("", status_url=url.replace("%s", server.address))
        failure(lambda: client(server.url).status(sent), ConfigurationError, ProtocolError)
        assert server.connections == 0


def test_credentials_go_to_the_api_alone() -> None:
    """Status and stream are wherever the platform says; what ends a backend is where the client was
    told."""
    with Server([answer(state("ready"))]) as other, Server([answer({"status": "ok"})]) as api:
        one, sent = client(api.url), connected(other.url)
        assert one.status(sent).is_ready and one.status(other.url
                                                        + "/v2/backend/b4ckend/status").is_ready
        one.terminate(sent)
        one.terminate(other.url + "/v2/backend/b4ckend/status")
        assert [request.target for request in api.requests] == ["/v2/backend/b4ckend/terminate"] * 2
        assert [request.header("Authorization") for request in api.requests] == ["Bearer "
                                                                                 + TOKEN] * 2
        assert [request.target for request in other.requests] == ["/v2/backend/b4ckend/status"] * 2
        for request in other.requests:
            assert request.header("Authorization") is None
            assert not any(secret.encode() in request.head + request.body for secret in SECRETS)
