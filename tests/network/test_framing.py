"""Where an answer begins and ends: as `http.client` reads it, whatever old or odd servers write."""

import json
from typing import Dict, List

import pytest

from jamsocket_lite import HTTPError, ProtocolError
from kit.calls import CALLS, SINGLE, Call, call_connect, call_status, right_document
from kit.deadlines import LONG, at_most
from kit.platforms import channels, events, state, statuses
from kit.scenarios import FAILS
from kit.secrets import failure
from kit.server import Server, Silence, Step, answer, chunk, stream_head

pytestmark = pytest.mark.usefixtures("nothing_left")

each_single = pytest.mark.parametrize("call", list(SINGLE.values()), ids=list(SINGLE))
READY = json.dumps(state("ready")).encode()


def stays(sent: bytes) -> List[Step]:
    """Nothing but the answer itself tells where it ends."""
    return [sent, Silence()]


def bare(sent: bytes) -> bytes:
    """The same with line feeds alone in its head."""
    head, _, body = sent.partition(b"\r\n\r\n")
    return head.replace(b"\r\n", b"\n") + b"\n\n" + body


@pytest.mark.parametrize("name", list(SINGLE))
def test_a_head_may_end_its_lines_with_line_feeds_alone(name: str) -> None:
    with Server() as server:
        server.script = stays(bare(answer(right_document(server.url, name))))
        with at_most(5.0):
            SINGLE[name](server.url, LONG)


@pytest.mark.parametrize("chunked", [False, True], ids=["to its end", "in chunks"])
def test_a_streams_head_may_end_its_lines_with_line_feeds_alone(chunked: bool) -> None:
    body = events("ready", "terminated")
    sent = chunk(body) if chunked else body
    stream: List[Step] = [bare(stream_head(chunked)) + sent, Silence()]
    with Server(channels(stream, FAILS)) as server, at_most(5.0):
        assert statuses(CALLS["stream"](server.url, LONG)) == ["ready", "terminated"]


@each_single
@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_body_is_not_waited_for_whatever_length_it_says(status: int,
                                                                    call: Call) -> None:
    sent = b"HTTP/1.1 %d Odd\r\nContent-Length: 5\r\n\r\n" % status
    with Server(stays(sent)) as server:
        with at_most(5.0):
            failure(lambda: call(server.url, LONG), ProtocolError)


@each_single
@pytest.mark.parametrize("status", [101, 304])
def test_what_is_no_redirect_is_called_none(status: int, call: Call) -> None:
    with Server(stays(b"HTTP/1.1 %d Odd\r\nUpgrade: other\r\n\r\n" % status)) as server:
        text = str(failure(lambda: call(server.url, LONG), ProtocolError))
    assert str(status) in text and "redirect" not in text and "nowhere" not in text


FOLDED: Dict[str, bytes] = {
    "a length": b"X-Folded: a\r\n Content-Length: 3\r\n",
    "a coding": b"X-Folded: a\r\n\tTransfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("name", list(FOLDED))
def test_a_folded_line_is_no_header_of_its_own(name: str) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + FOLDED[name] + b"Content-Length: %d\r\n\r\n" % len(READY)
    with Server(stays(head + READY)) as server:
        assert call_status(server.url).is_ready


@pytest.mark.parametrize("coding", ["", " ", "identity"])
def test_a_coding_that_is_none_is_no_compression(coding: str) -> None:
    with Server([answer(state("ready"), 200, [("Content-Encoding", coding)])]) as server:
        assert call_status(server.url).is_ready


def test_an_error_with_a_byte_order_mark_keeps_its_message() -> None:
    document = {"error": {"message": "no such room", "status": 409, "code": "GONE", "id": "r-9"}}
    body = b"\xef\xbb\xbf" + json.dumps(document).encode()
    with Server([answer(body, 409, [("Content-Type", "application/json")])]) as server:
        error = failure(lambda: call_connect(server.url), HTTPError)
    assert "no such room" in str(error) and (error.code, error.request_id) == ("GONE", "r-9")
