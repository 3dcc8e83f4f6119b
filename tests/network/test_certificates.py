"""Certificates are checked, always; what a handshake that fails looks like."""

import re
import socket
import ssl
from pathlib import Path
from typing import Any, Dict, Sequence

import pytest

from jamsocket_lite import ConfigurationError, JamsocketTimeout, NetworkError, ProtocolError
from kit.calls import SINGLE, Call, call_connect, name_of
from kit.certificates import Certificates
from kit.deadlines import LONG, record
from kit.platforms import client, connected, service
from kit.secrets import failure
from kit.server import Close, Drain, Reset, Server, Step, at_once, hung_up

pytestmark = pytest.mark.usefixtures("nothing_left")

FAULTS = {"expired": "expired", "wrong-host": "(?i)host ?name|not valid for",
          "self-signed": "(?i)self.signed", "unknown-ca": "(?i)issuer|authority"}


@pytest.mark.parametrize("which", list(FAULTS))
def test_a_certificate_that_does_not_hold_is_a_network_error_that_says_why(
    which: str, call: Call, certificates: Certificates
) -> None:
    with Server(tls=certificates.server_context(which)) as server:
        text = str(failure(lambda: call(server.url, LONG,
                                        ssl_context=certificates.client_context()), NetworkError))
        assert re.search(FAULTS[which], text), text
        if which in ("self-signed", "unknown-ca"):  # there it helps
            assert "SSL_CERT_FILE" in text and "ssl_context" in text
        assert not server.requests and server.wait_closed(LONG)
    record("certificate: %s, %s" % (which, name_of(call)), text.partition(": ")[2][:90])


def test_a_private_authority_comes_in_by_the_context_or_the_environment(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the environment changes while the program runs."""
    with Server(tls=certificates.server_context()) as server:
        server.script = service(server.url)
        failure(lambda: call_connect(server.url), NetworkError)
        assert call_connect(server.url,
                            ssl_context=certificates.client_context()).backend_id == "b4ckend"
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


BROKEN: Dict[str, Sequence[Step]] = {
    "closed": [at_once, Close()],
    "reset": [at_once, Reset()],
    "plain http": [at_once, b"HTTP/1.1 400 Bad Request\r\n\r\n", Drain()],
    "an alert": [at_once, b"\x15\x03\x01\x00\x02\x02\x28", Close()],
    "garbage": [at_once, b"\x16\x03\x03\xff\xff" + b"x" * 70000, Drain()],
}


@pytest.mark.parametrize("weather", BROKEN)
def test_a_handshake_that_fails_is_a_network_error(weather: str, single: Call,
                                                   certificates: Certificates) -> None:
    with Server(BROKEN[weather]) as server:
        failure(lambda: single("https://" + server.address,
                               ssl_context=certificates.client_context()), NetworkError)
        assert server.wait_closed(LONG)


@pytest.mark.waits
@pytest.mark.parametrize("weather", BROKEN)
def test_a_handshake_that_fails_may_pass_in_a_wait_and_a_stream(
        weather: str, lasting: Call, certificates: Certificates) -> None:
    with Server(BROKEN[weather]) as server:
        failure(lambda: lasting("https://" + server.address, 0.2,
                                ssl_context=certificates.client_context()),
                NetworkError, JamsocketTimeout)
        assert server.wait_closed(LONG)


def test_a_reset_before_the_handshake_leaves_no_socket_behind(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some versions of wrap_socket forget the socket that they have taken over."""
    class Late(socket.socket):
        def connect(self, address: Any) -> None:
            super().connect(address)
            hung_up(self, LONG)

    monkeypatch.setattr(socket, "socket", Late)
    with Server([at_once, Reset()]) as server:
        for call in SINGLE.values():
            failure(lambda: call("https://" + server.address,
                                 ssl_context=certificates.client_context()), NetworkError)


def test_plain_http_to_a_tls_port_is_an_error_of_ours(certificates: Certificates) -> None:
    with Server(tls=certificates.server_context()) as server:
        failure(lambda: call_connect("http://" + server.address), NetworkError, ProtocolError)
