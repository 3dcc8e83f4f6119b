"""Servers that never stop sending: the deadline holds, and memory does not grow with what comes."""

import collections
import gc
import itertools
import tracemalloc
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, Sequence, Type

import pytest

from jamsocket_lite import HTTPError, JamsocketError, JamsocketTimeout, ProtocolError
from kit.calls import CALLS, LASTING, SINGLE, Call
from kit.certificates import Certificates
from kit.deadlines import LONG, SHORT, Timed, keeps_deadline, timed
from kit.floods import ANSWERS, STREAMS, Flooder
from kit.leftovers import leaving_nothing
from kit.platforms import client, connected
from kit.server import Server, answer
from kit.threads import together

ENDS = (JamsocketTimeout, ProtocolError, HTTPError)  # what is too much may be named before


@pytest.fixture(scope="module")
def flooder(certificates: Certificates) -> Iterator[Flooder]:
    with Flooder(certificates) as started:
        yield started


class Flood(NamedTuple):
    """One of them, and the call that meets it, with a deadline that lets it."""

    name: str
    call: str
    channel: str = "all"
    secure: bool = False
    deadline: float = SHORT


SINGLES = [Flood(name, call) for call in SINGLE for name in ANSWERS]
WAITS = [Flood(name, "wait", "status", False, 0.8) for name in ANSWERS]  # no stream: status calls
EVENTS = [Flood(name, call, "stream") for name in list(STREAMS)[:-1] for call in LASTING]
SECURE = [Flood(name, call, "all", True) for call in ("connect", "wait") for name in (
    "one-byte chunks", "comments", "records of a byte", "records of a byte in a header")]


# The others do the same by the same means.
SLOW = {*SINGLES[len(ANSWERS):], *(flood for flood in WAITS if flood.name not in (
    "one-byte chunks", "headers", "interim answers", "records of a byte"))}


def named(floods: Sequence[Flood]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("flood", [pytest.param(
        flood, id="%s, %s" % (flood.name, flood.call),
        marks=[pytest.mark.slow] if flood in SLOW else []) for flood in floods])


@pytest.fixture(scope="module")
def ends(flooder: Flooder, certificates: Certificates,
         request: pytest.FixtureRequest) -> Dict[Flood, Any]:
    """How each call that was selected ended, a few at a time, and how to see it again, alone."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = [item.callspec.params.get("flood") for item in items if hasattr(item, "callspec")]

    def job(flood: Flood) -> Callable[[], Timed]:
        url = flooder.url(flood.name, flood.channel, flood.secure)
        options = {"ssl_context": certificates.client_context()} if flood.secure else {}
        return lambda: timed(lambda: CALLS[flood.call](url, flood.deadline, **options))

    jobs = {flood: job(flood) for flood in chosen if isinstance(flood, Flood)}
    with leaving_nothing():
        first = together({str(number): run for number, run in enumerate(jobs.values())}, 5)
    return {flood: [first[str(number)], job] for number, (flood, job) in enumerate(jobs.items())}


def check(flood: Flood, ends: Dict[Flood, Any], *kinds: Type[JamsocketError]) -> None:
    first, again = ends[flood]
    attempts = itertools.chain([lambda: first], itertools.repeat(again))
    keeps_deadline("a flood of %s, %s" % (flood.name, flood.call), lambda: next(attempts)(),
                   flood.deadline, *kinds)


@named(SINGLES)
def test_a_flooding_answer_ends_with_the_deadline(flood: Flood, ends: Dict[Flood, Any]) -> None:
    check(flood, ends, *ENDS)


@named(WAITS)
def test_a_flooding_status_call_ends_with_a_waits_deadline(flood: Flood,
                                                           ends: Dict[Flood, Any]) -> None:
    check(flood, ends)


@named(EVENTS)
def test_a_flooding_stream_ends_with_the_deadline(flood: Flood, ends: Dict[Flood, Any]) -> None:
    check(flood, ends)


@named(SECURE)
def test_a_flood_over_tls_ends_with_the_deadline(flood: Flood, ends: Dict[Flood, Any]) -> None:
    check(flood, ends, *ENDS)


@pytest.mark.usefixtures("nothing_left")
def test_a_handshake_that_comes_byte_by_byte_ends_with_the_deadline(
        certificates: Certificates) -> None:
    """Each byte comes in time, for two seconds and more."""
    context = certificates.client_context()
    with Server([answer({})], tls=certificates.server_context(), handshake="dribble",
                every=0.002) as server:
        keeps_deadline("a dribbled handshake", lambda: timed(
            lambda: CALLS["connect"](server.url, SHORT, ssl_context=context)))


# --------------------------------------------------------------------------------------------------
# Memory
# --------------------------------------------------------------------------------------------------

def grown(run: Callable[[], Any]) -> float:
    """How many MiB were taken at once while it ran."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / (1 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [
    "one-byte chunks", "one-byte chunks with extensions",
    *(pytest.param(name, marks=pytest.mark.slow) for name in (
        "trailers", "interim answers", "headers"))])
def test_a_flooding_answer_takes_no_4_mib(name: str, flooder: Flooder) -> None:
    assert grown(lambda: timed(lambda: CALLS["connect"](flooder.url(name), SHORT))) < 4


@pytest.mark.parametrize("name", [
    "chunks with extensions", *(pytest.param(name, marks=pytest.mark.slow) for name in (
        "comments after a state", "chunks of one byte", "small lines of one event"))])
def test_a_flooding_stream_takes_no_4_mib(name: str, flooder: Flooder) -> None:
    assert grown(lambda: timed(lambda: CALLS["stream"](flooder.url(name, "stream"), SHORT))) < 4


@pytest.mark.parametrize("call", list(LASTING.values()), ids=list(LASTING))
def test_what_was_told_takes_no_4_mib_to_remember(call: Call, flooder: Flooder) -> None:
    """States that nobody knows are told once each: their number has a bound, and their size."""
    url = flooder.url("125 kB states that nobody knows", "stream")
    if call is CALLS["stream"]:
        assert grown(lambda: drop(client(url).status_stream(connected(url), timeout=LONG))) < 4
    else:
        assert grown(lambda: timed(lambda: call(url, LONG))) < 4


def drop(states: Iterable[Any]) -> None:
    """Nothing of them is kept here."""
    collections.deque(states, maxlen=0)
