"""A fork, or a signal's handler, meets a call that is under way: no lock of ours is held there.

For certificates the processes trust what SSL_CERT_FILE names, so that each makes its contexts
as most programs do.
"""

import os
from typing import Any, Dict, Iterator

import pytest

from kit.certificates import Certificates
from kit.children import finished
from kit.platforms import service
from kit.server import Server

pytestmark = [pytest.mark.usefixtures("nothing_left"),
              pytest.mark.skipif(not hasattr(os, "fork"), reason="no process forks here")]


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Server]:
    tls = certificates.server_context() if request.param == "https" else None
    with Server(service(), tls=tls) as started:
        yield started


@pytest.fixture
def secure_server(certificates: Certificates) -> Iterator[Server]:
    with Server(service(), tls=certificates.server_context()) as started:
        yield started


def found(way: str, server: Server, certificates: Certificates) -> Dict[str, Any]:
    result = finished("forks", way, server.url,
                      env={**os.environ, "SSL_CERT_FILE": certificates.ca_file})
    assert isinstance(result, dict)
    return result


def test_a_child_can_call_whenever_it_was_forked(server: Server,
                                                 certificates: Certificates) -> None:
    """At moments spread over the whole of another thread's call."""
    result = found("moments", server, certificates)
    assert list(result) == ["ready"] and len(result["ready"]) > 20, result


def test_a_child_can_call_that_was_forked_while_certificates_were_loaded(
        secure_server: Server, certificates: Certificates) -> None:
    assert found("loading", secure_server, certificates) == {"ready": ["loading"]}


@pytest.mark.slow
def test_children_can_call_while_many_threads_do(server: Server,
                                                 certificates: Certificates) -> None:
    """Forked wherever these are, in C code too. There OpenSSL has locks of its own, so that one
    child in some hundreds hangs in it, as those of any program do."""
    result = found("storm", server, certificates)
    hanging = result.pop("hangs in ssl.py", [])
    assert list(result) == ["ready"] and len(hanging) < 5, result
    assert not hanging or server.url.startswith("https")


def test_a_handler_can_call_while_certificates_are_loaded(secure_server: Server,
                                                          certificates: Certificates) -> None:
    result = found("handler", secure_server, certificates)
    assert result == {"done": ["interrupted", "terminated", "ready"]}
