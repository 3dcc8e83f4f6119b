"""Descriptors run out, at each place that opens one: that is an error of the network."""

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

import jamsocket_lite
from kit.calls import CALLS, LASTING
from kit.certificates import Certificates
from kit.children import finished
from kit.deadlines import LONG
from kit.platforms import channels, service, streamed, told
from kit.scenes import told_at
from kit.server import Server, Silence, Step
from kit.threads import together

pytest.importorskip("resource")

OURS = {False: {"NetworkError"}, True: {"NetworkError", "JamsocketTimeout"}}  # of those that last

OVER: List[Step] = [streamed("terminated"), Silence()]


def short(name: str, url: str, certificates: Certificates) -> List[List[str]]:
    found = finished("shortage", name, url,
                     env={**os.environ, "SSL_CERT_FILE": certificates.ca_file})
    assert isinstance(found, list)
    return found


@pytest.fixture(scope="module")
def outcomes(certificates: Certificates) -> Dict[str, Any]:
    """Of every call, over both schemes, with so many left."""
    def job(name: str, secure: bool) -> Any:
        script = channels(OVER, told("terminated")) if name == "stream" else service()
        with Server(script, tls=certificates.server_context() if secure else None) as server:
            return short(name, server.url, certificates)

    cases = [(name, scheme) for scheme in ("http", "https") for name in CALLS]
    return together({"%s, %s" % case: functools.partial(job, case[0], case[1] == "https")
                     for case in cases}, 4)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", list(CALLS))
def test_a_call_that_lacks_a_descriptor_is_a_network_error(name: str, scheme: str,
                                                           outcomes: Dict[str, Any]) -> None:
    """A wait and a stream bear it until their deadline, whose error names it."""
    whole, *short_of = outcomes["%s, %s" % (name, scheme)]
    refused = [row for row in short_of if row[0] != whole[0]]
    assert 1 <= len(refused) < len(short_of)
    assert {kind for kind, _ in refused} <= OURS[name in LASTING], refused
    assert any("open files" in text for _, text in refused), refused


FIRST = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from jamsocket_lite import BackendState, Jamsocket
client = Jamsocket("acme", "board", "token", api_url=sys.argv[3], timeout=20)
calls = {"connect": client.connect, "status": lambda: client.status("b4ckend"),
         "wait": lambda: client.wait_until_ready("b4ckend", timeout=0.7),
         "stream": lambda: list(client.status_stream("b4ckend", timeout=0.7))}
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + int(sys.argv[4]), hard))
try:
    print(type(calls[sys.argv[2]]()).__name__)
except BaseException as error:
    print(type(error).__name__)
"""


@pytest.mark.waits
@pytest.mark.parametrize("left", ["0", "1", "2", "3"])
@pytest.mark.parametrize("name, scheme", [
    ("connect", "http"), ("connect", "https"), ("wait", "http"),
    *(pytest.param(name, "http", marks=pytest.mark.slow) for name in ("status", "stream"))])
def test_a_processs_first_call_that_lacks_a_descriptor_is_a_network_error(
        name: str, scheme: str, left: str, certificates: Certificates) -> None:
    """Where modules, and perhaps a list of authorities, are still to be read."""
    tls = certificates.server_context() if scheme == "https" else None
    with Server(service(), tls=tls) as server:
        command = [sys.executable, "-c", FIRST, str(Path(jamsocket_lite.__file__).parent), name,
                   server.url, left]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=LONG, env={
            **os.environ, "SSL_CERT_FILE": certificates.ca_file})
    kind = done.stdout.decode().strip()
    assert kind in OURS[name in LASTING] or left != "0" and kind in (
        "ConnectResponse", "BackendState"), kind


@pytest.mark.waits
def test_a_crowd_of_waits_that_lacks_descriptors_waits_on(certificates: Certificates) -> None:
    """Some of them without a stream, or without any answer until their deadline."""
    with Server(channels([streamed("scheduled"), Silence()], told_at((1.0, "ready")))) as server:
        found = short("crowd", server.url, certificates)
    assert {kind for kind, _ in found} <= {"BackendState", "JamsocketTimeout"}, found
