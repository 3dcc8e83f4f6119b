"""Answers that are right, oddly written."""

import json
from typing import Dict

import pytest

from jamsocket_lite import BackendState, ProtocolError
from kit.answers import CHUNKED, HEAD, length
from kit.calls import call_status
from kit.deadlines import timed
from kit.platforms import READY
from kit.secrets import failed
from kit.server import Server, answer, chunk

pytestmark = pytest.mark.usefixtures("nothing_left")

RIGHT_BUT_ODD: Dict[str, bytes] = {
    "interim answers first": b"HTTP/1.1 100 Continue\r\n\r\n"
                             b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\n",
    "an empty reason": b"HTTP/1.1 200 \r\n",
    "a reason beyond ASCII": "HTTP/1.1 200 déjà vu\r\n".encode("latin-1"),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n",
    "two kinds of line end": b"HTTP/1.1 200 OK\nX-A: b\n",
    "small letters": b"HTTP/1.1 200 OK\r\nconnection: close\r\n",
    "no content type": b"HTTP/1.1 200 OK\r\n",
    "ninety headers": b"HTTP/1.1 200 OK\r\n"
                      + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(90)),
    "201": b"HTTP/1.1 201 Created\r\n",
}


@pytest.mark.parametrize("weather", list(RIGHT_BUT_ODD))
def test_an_odd_head_does_not_spoil_the_answer(weather: str) -> None:
    head = RIGHT_BUT_ODD[weather]
    head += b"HTTP/1.1 200 OK\r\n" if weather == "interim answers first" else b""
    for sent in (head + length(len(READY)) + READY + b"more than that",
                 head + b"content-LENGTH:%d\r\n\r\n" % len(READY) + READY,
                 head + CHUNKED + chunk(READY[:1]) + chunk(READY[1:]) + chunk(b""),
                 head + b"TRANSFER-encoding:Chunked\r\n\r\n" + b"%04X ; a=b\r\n" % len(READY)
                 + READY + b"\r\n0\r\n"
                 + b"X-Trailer: x\r\n\r\n",
                 head + b"\r\n" + READY):
        with Server([sent]) as server:
            assert call_status(server.url).status == "ready"


# As http.client does: then the end of the connection is the end of the answer.
PASSED_OVER: Dict[str, bytes] = {
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a length that is a word": b"Content-Length: long\r\n\r\n",
    "a length in other digits": "Content-Length: ²\r\n\r\n".encode("latin-1"),
    "a coding of transfer that nobody knows": b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a coding of the body that is not true": b"Content-Encoding: br\r\n\r\n",
}


@pytest.mark.parametrize("weather", PASSED_OVER)
def test_a_header_that_makes_no_sense_is_passed_over(weather: str) -> None:
    with Server([HEAD + PASSED_OVER[weather] + READY]) as server:
        assert call_status(server.url).is_ready


ODD_JSON: Dict[str, bytes] = {
    "duplicate keys": b'{"status":"terminated","status":"ready","time":"2026"}',
    "a byte-order mark": b"\xef\xbb\xbf" + READY,
    "space around it": b" \r\n\t" + READY + b"\n\n",
    "a lone surrogate": b'{"status":"ready","time":"\\ud800"}',
    "a lone surrogate where nobody looks": b'{"status":"ready","time":"","x\\udc00":"\\ud800"}',
    "a number of 100,000 digits where nobody looks": b'{"status":"ready","time":"","x":1'
    + b"0" * 100000 + b"}",
    "lists 90,000 deep where nobody looks": b'{"status":"ready","time":"","x":' + b"[" * 60000
    + b"]" * 60000 + b"}",
    "a status of 100,000 characters": b'{"status":"' + b"s" * 100000 + b'","time":""}',
    "a status that is a lone surrogate": b'{"status":"\\udfff","time":""}',
    "an empty status": b'{"status":"","time":""}',
    "a status of control characters": b'{"status":"\\u0000\\r\\n\\u001b[2J","time":""}',
}


@pytest.mark.parametrize("weather", list(ODD_JSON))
def test_odd_json_is_read_or_refused_and_nothing_else(weather: str) -> None:
    """Which of the two may depend on Python's version."""
    with Server([answer(ODD_JSON[weather])]) as server:
        outcome = timed(lambda: call_status(server.url)).outcome
    if isinstance(outcome, BackendState):
        repr(outcome).encode("utf-8")
        assert outcome.status == json.loads(ODD_JSON[weather].decode("utf-8-sig"))["status"]
    else:
        failed(outcome, ProtocolError)


@pytest.mark.parametrize("weather", ["duplicate keys", "a byte-order mark", "space around it"])
def test_json_that_every_python_reads_alike_is_read(weather: str) -> None:
    with Server([answer(ODD_JSON[weather])]) as server:
        assert call_status(server.url).is_ready


def test_no_answer_is_asked_for_in_a_compressed_form() -> None:
    with Server([answer(READY)]) as server:
        call_status(server.url)
        assert (server.requests[0].header("Accept-Encoding") or "identity") == "identity"
