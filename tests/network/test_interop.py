"""What people hang on urllib, http.client, socket and ssl sees and serves the calls as it does
theirs: tracers, a recorder, fakes.

Each tool has processes of its own, whose programs are beside this file. `make test-interop`
installs the tools and runs these tests; elsewhere those whose tool is not here are skipped.
"""

from collections import Counter
from typing import Callable, Dict, NamedTuple, Sequence

import pytest

from kit.certificates import Certificates
from kit.server import Request, Silence, Step
from kit.tools import (FINE, PLACES, Tried, Try, each_call, each_scheme, line, need, platform,
                       serve, start, trying_once)


@pytest.fixture(scope="module")
def tried(certificates: Certificates) -> Try:
    return trying_once(certificates)


# --------------------------------------------------------------------------------------------------
# Tracers, which are turned on after the process's first call
# --------------------------------------------------------------------------------------------------

@each_scheme
@each_call
def test_opentelemetry_sees_every_request(call: str, scheme: str, tried: Try) -> None:
    need("opentelemetry")
    tried("with_opentelemetry.py", scheme).check_seen(call)


@each_scheme
@each_call
def test_opentelemetry_hands_its_trace_on(call: str, scheme: str, tried: Try) -> None:
    need("opentelemetry")
    tried("with_opentelemetry.py", scheme).check_carries(call, "traceparent")


@each_scheme
@each_call
def test_xray_sees_every_request(call: str, scheme: str, tried: Try) -> None:
    need("aws_xray_sdk")
    tried("with_xray.py", scheme).check_seen(call)


@each_scheme
@each_call
def test_sentry_sees_every_request(call: str, scheme: str, tried: Try) -> None:
    need("sentry_sdk")
    tried("with_sentry.py", scheme).check_seen(call)


@each_scheme
@each_call
def test_sentry_hands_its_trace_on(call: str, scheme: str, tried: Try) -> None:
    need("sentry_sdk")
    tried("with_sentry.py", scheme).check_carries(call, "sentry-trace")


# --------------------------------------------------------------------------------------------------
# A recorder
# --------------------------------------------------------------------------------------------------

class Taped(NamedTuple):
    recording: Tried
    replay: Tried
    refusal: Tried  # by a cassette that is empty and may not be written


Tapes = Callable[[str], Taped]


def ending(request: Request) -> Sequence[Step]:
    """As the platform, but a stream ends after its last event, for a recorder reads to its end."""
    return [step for step in platform(request) if not isinstance(step, Silence)]


@pytest.fixture(scope="module")
def taped(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Tapes:
    """Runs vcrpy once for a scheme, however many tests look at it."""
    known: Dict[str, Taped] = {}

    def run_all(scheme: str) -> Taped:
        folder = tmp_path_factory.mktemp("cassettes")
        full, empty = str(folder / "full.yaml"), str(folder / "empty.yaml")
        with serve(scheme, certificates, ending) as server:
            def trying(*arguments: str) -> Tried:
                earlier = len(server.requests)
                report = start(certificates, "with_vcrpy.py", server.url, *arguments).json()
                return Tried(report, server.requests[earlier:])

            recording = trying(full, "once", "before")
            return Taped(recording, trying(full, "none"), trying(empty, "none"))

    def trying_once(scheme: str) -> Taped:
        if scheme not in known:
            known[scheme] = run_all(scheme)
        return known[scheme]

    return trying_once


@each_scheme
@each_call
def test_vcrpy_records(call: str, scheme: str, taped: Tapes) -> None:
    need("vcr")
    recording = taped(scheme).recording
    assert recording.report["outcomes"][call] == FINE[call]
    recorded = Counter((method, path) for method, path in recording.report["recorded"]
                       if PLACES[call] in path)
    assert recorded and recorded == Counter(map(line, recording.requests_of(call)))


@each_scheme
@each_call
def test_vcrpy_replays(call: str, scheme: str, taped: Tapes) -> None:
    need("vcr")
    replay = taped(scheme).replay
    assert replay.report["outcomes"][call] == FINE[call] and not replay.requests_of(call)


@each_scheme
@each_call
def test_vcrpys_refusal_comes_out_as_it_is(call: str, scheme: str, taped: Tapes) -> None:
    need("vcr")
    refusal = taped(scheme).refusal
    assert refusal.report["outcomes"][call] == "CannotOverwriteExistingCassetteException"
    assert not refusal.requests_of(call)


@each_scheme
def test_around_a_cassette_calls_go_to_the_server(scheme: str, taped: Tapes) -> None:
    """Whether the process's first call is made inside or outside of it."""
    need("vcr")
    recording, replay, refusal = taped(scheme)
    recording_backends = [backend for backend in recording.backends()
                          if backend in ("before", "after")]
    assert recording_backends == ["before", "after"]
    assert replay.backends() == refusal.backends() == ["after"]
    for each in (recording, replay, refusal):
        assert each.report["after"] == "ready"
        assert not [path for _, path in each.report["recorded"]
                    if "/before/" in path or "/after/" in path]


# --------------------------------------------------------------------------------------------------
# Fakes, of a server whose name does not exist; one that runs is for the calls around them
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faked(certificates: Certificates) -> Try:
    return trying_once(certificates, fake=True)


@each_scheme
@each_call
def test_mocket_serves(call: str, scheme: str, faked: Try) -> None:
    need("mocket")
    faked("with_mocket.py", scheme).check_served(call)


@each_scheme
def test_around_mocket_calls_go_to_the_server(scheme: str, faked: Try) -> None:
    need("mocket")
    faked("with_mocket.py", scheme).check_around()


@each_scheme
@each_call
def test_httpretty_serves(call: str, scheme: str, faked: Try) -> None:
    need("httpretty")
    faked("with_httpretty.py", scheme).check_served(call)


@each_scheme
def test_around_httpretty_calls_go_to_the_server(scheme: str, faked: Try) -> None:
    need("httpretty")
    faked("with_httpretty.py", scheme).check_around()
