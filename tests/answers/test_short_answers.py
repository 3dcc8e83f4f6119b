"""Too little: an answer that is cut short, or empty."""

from typing import Dict, List

import pytest

from jamsocket_lite import NetworkError, ProtocolError
from kit.answers import CHUNKED, HEAD, length
from kit.calls import Call, call_connect, call_status
from kit.certificates import Certificates
from kit.deadlines import LONG
from kit.platforms import READY
from kit.secrets import failure
from kit.server import Close, Pause, Reset, Server, Silence, Step, answer, chunk

pytestmark = pytest.mark.usefixtures("nothing_left")

TOO_LITTLE: Dict[str, List[Step]] = {
    "before the status line": [],
    "in the status line": [b"HTTP/1.1 20"],
    "after the status line": [b"HTTP/1.1 200 OK\r\n"],
    "in a header": [HEAD + b"Content-Le"],
    "before the empty line": [HEAD],
    "after an interim answer": [b"HTTP/1.1 100 Continue\r\n\r\n"],
    "after the headers": [HEAD + length(500)],
    "in the body": [HEAD + length(len(READY)) + READY[:-1]],
    "a byte before the length": [HEAD + length(len(READY) + 1) + READY],
    "before the first chunk": [HEAD + CHUNKED],
    "in a chunk's size": [HEAD + CHUNKED + b"1"],
    "after a chunk's size": [HEAD + CHUNKED + b"%x\r\n" % len(READY)],
    "in a chunk": [HEAD + CHUNKED + chunk(READY)[:-20]],
    "in a chunk's last line end": [HEAD + CHUNKED + chunk(READY)[:-1]],
    "between two chunks": [HEAD + CHUNKED + chunk(READY[:10])],
    "before the last chunk": [HEAD + CHUNKED + chunk(READY)],
}
ENDS: Dict[str, List[Step]] = {"closed": [Close()], "cut": [Close(notify=False)],
                               "reset": [Pause(0.02), Reset()]}


@pytest.mark.parametrize("end", ["closed", "reset"])
@pytest.mark.parametrize("place", TOO_LITTLE)
def test_an_answer_cut_short_is_a_network_error(place: str, end: str, single: Call) -> None:
    """Whatever came before it is no answer."""
    with Server(TOO_LITTLE[place] + ENDS[end]) as server:
        failure(lambda: single(server.url), NetworkError)
        assert server.wait_closed(LONG) and server.connections == 1


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", TOO_LITTLE)
def test_an_answer_cut_short_over_tls_is_a_network_error(place: str, end: str,
                                                         certificates: Certificates) -> None:
    with Server(TOO_LITTLE[place] + ENDS[end], tls=certificates.server_context()) as server:
        context = certificates.client_context()
        failure(lambda: call_status(server.url, ssl_context=context), NetworkError)
        assert server.wait_closed(LONG) and server.connections == 1


@pytest.mark.parametrize("end", list(ENDS))
def test_a_body_without_a_length_that_is_cut_is_no_answer(end: str) -> None:
    with Server([HEAD + b"\r\n" + READY[:-5], *ENDS[end]]) as server:
        failure(lambda: call_status(server.url), ProtocolError, NetworkError)


@pytest.mark.parametrize("call", [call_connect, call_status])
@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 299])
def test_an_empty_answer_is_not_the_apis(status: int, call: Call) -> None:
    for steps in ([answer(b"", status)], [answer(b"", status, length=False)],
                  [answer(b"", status, chunked=True)], [answer(b" \r\n", 200)]):
        with Server(steps) as server:
            assert "empty" in str(failure(lambda: call(server.url), ProtocolError))


def test_an_answer_without_a_body_is_not_waited_for() -> None:
    """204 and 304 have none, whatever else is said; the connection stays open."""
    for status in (204, 304):
        with Server([b"HTTP/1.1 %d No\r\n\r\n" % status, Silence()]) as server:
            failure(lambda: call_status(server.url), ProtocolError)
