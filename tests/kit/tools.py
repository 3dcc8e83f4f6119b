"""Programs that put a tool to work around the client's calls, each in a process of its own, and
what comes of it. They are in tests/network/programs.

    @each_scheme
    @each_call
    def test_the_tool_sees_every_request(call: str, scheme: str, tried: Try) -> None:
        need("tool")
        tried("with_tool.py", scheme).check_seen(call)
"""

import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple
from urllib.parse import urlsplit

import pytest

from kit.certificates import Certificates
from kit.places import FILE, Done, run
from kit.platforms import service
from kit.server import Request, Script, Server, Step

__all__ = ["NAME", "FINE", "PLACES", "each_call", "each_scheme", "need", "platform", "serve",
           "start", "line", "Tried", "Try", "trying_once"]

TESTS = Path(__file__).resolve().parent.parent
PROGRAMS = TESTS / "network" / "programs"

NAME = "api.example.test"  # which no resolver knows
FINE = {"connect": "b4ckend", "status": "ready", "wait": "ready"}  # what the calls return

# What the requests of each call have in their path, and no others (programs/calls.py).
PLACES = {"connect": "/connect", "status": "/asked/", "wait": "/awaited/"}

each_call = pytest.mark.parametrize("call", list(PLACES))
each_scheme = pytest.mark.parametrize("scheme", ["http", "https"])


def need(tool: str) -> None:
    """A tool that is not here is no failure, but where it was just installed."""
    if importlib.util.find_spec(tool) is None:
        missing = pytest.fail if tool in os.environ.get("INTEROP", "").split() else pytest.skip
        missing("needs %s, which `make test-interop` installs where it has a wheel" % tool)


def platform(request: Request) -> Sequence[Step]:
    script = service("http://" + NAME)
    assert callable(script)
    return script(request)


def serve(scheme: str, certificates: Certificates, script: Script = platform) -> Server:
    return Server(script, tls=certificates.server_context() if scheme == "https" else None)


def start(certificates: Certificates, program: str, *arguments: str) -> Done:
    """Runs a program; the system's store of authorities is the tests' own there."""
    path = os.pathsep.join([str(FILE.parent), str(TESTS)])
    return run([sys.executable, "-W", "ignore", str(PROGRAMS / program), *arguments], PROGRAMS,
               {"PYTHONPATH": path, "SSL_CERT_FILE": certificates.ca_file})


def line(request: Request) -> Tuple[str, str]:
    return request.method, urlsplit(request.target).path


class Tried(NamedTuple):
    """What a program reported, and what reached the server meanwhile."""

    report: Dict[str, Any]
    requests: List[Request]

    def requests_of(self, call: str) -> List[Request]:
        return [request for request in self.requests if PLACES[call] in request.target]

    def backends(self) -> List[str]:
        """About which the server was asked, in turn."""
        return [request.target.split("/")[3] for request in self.requests]

    def check_seen(self, call: str) -> None:
        """The call did its work, and the tool saw each of its requests once, with its answer."""
        assert self.report["outcomes"][call] == FINE[call]
        seen = Counter((method, path, status) for method, path, status in self.report["seen"]
                       if PLACES[call] in path)
        assert seen and seen == Counter((*line(request), 200) for request in self.requests_of(call))

    def check_carries(self, call: str, header: str) -> None:
        """Each request of the call brought this header."""
        requests = self.requests_of(call)
        assert requests and all(request.header(header) for request in requests)

    def check_served(self, call: str) -> None:
        """The call did its work by the tool alone."""
        assert self.report["outcomes"][call] == FINE[call] and not self.requests_of(call)
        assert [path for _, path, _ in self.report["seen"] if PLACES[call] in path]

    def check_around(self) -> None:
        """Calls before the tool was there, and after, went to the server."""
        assert (self.report["before"], self.report["after"]) == ("ready", "ready")
        assert self.backends() == ["before", "after"]


Try = Callable[[str, str], Tried]


def trying_once(certificates: Certificates, fake: bool = False) -> Try:
    """Runs a program once for a scheme, however many tests look at it. It gets the server's url;
    with `fake` that of a server which does not exist, and the real one's for the calls around."""
    known: Dict[Tuple[str, str], Tried] = {}

    def trying(program: str, scheme: str) -> Tried:
        if (program, scheme) not in known:
            with serve(scheme, certificates) as server:
                urls = ["%s://%s" % (scheme, NAME)] * fake + [server.url]
                report = start(certificates, program, *urls).json()
                known[program, scheme] = Tried(report, server.requests)
        return known[program, scheme]

    return trying
