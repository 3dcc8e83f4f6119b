"""Answers that are not the API's: no JSON, of the wrong shape, no HTTP."""

import threading
from typing import Any, Dict, List, Sequence

import pytest

from jamsocket_lite import NetworkError, ProtocolError
from kit.answers import CHUNKED, HEAD, PAGE, length
from kit.calls import SINGLE, Call, call_connect, call_status
from kit.deadlines import LONG, timed
from kit.platforms import READY, connected, state
from kit.secrets import failure, look_over
from kit.server import Reset, Server, Silence, Step, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

WRONG: Dict[str, bytes] = {
    "an HTML page": answer(PAGE, 200, [("Content-Type", "text/html")]),
    "an HTML page that says it is JSON": answer(PAGE, 200, [("Content-Type", "application/json")]),
    "text": answer(b"OK"),
    "half of a document": answer(READY[:-1]),
    "two documents": answer(READY + READY),
    "JSON nested 100,000 deep": answer(b"[" * 100000 + b"]" * 30000),
    "objects nested 20,000 deep": answer(b'{"a":' * 20000 + b"1" + b"}" * 20000),
    "NaN": answer(b'{"status":"ready","time":NaN}'),
    "an infinity": answer(b'{"status":"ready","time":-Infinity}'),
    "a number that is an infinity": answer(b'{"status":"ready","time":1e999}'),
    "a number of 100,000 digits": answer(b'{"status":"ready","time":1' + b"0" * 100000 + b"}"),
    "a number of 4,000 digits": answer(b'{"status":"ready","time":1' + b"0" * 4000 + b"}"),
    "bytes that are not UTF-8": answer(b'{"status":"ready","time":"\xff\xfe"}'),
    "a surrogate in UTF-8": answer(b'{"status":"ready","time":"\xed\xa0\x80"}'),
    "UTF-16": answer(READY.decode().encode("utf-16")),
    "gzip that nobody asked for": answer(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"x" * 50, 200,
                                         [("Content-Encoding", "gzip")]),
    "gzip that is not announced": answer(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"x" * 50),
    "a control character in a string": answer(b'{"status":"ready","time":"a\nb"}'),
}
WRONG_SHAPE: Dict[str, Any] = {
    "null": None, "true": True, "a number": 7, "a string": "ready", "a list": [state("ready")],
    "nothing in it": {},
    "an error with status 200": {"error": {"message": "no", "status": 404, "code": "NOT_FOUND",
                                           "id": "r1"}},
    "null fields": {"status": None, "time": None, "backend_id": None, "token": None},
    "a status that is a list": {**state("ready"), "status": ["ready"]},
    "a status that is a number": {**state("ready"), "status": 4},
    "a time that is a list": {**state("ready"), "time": []},
    "a time that is before 1970": {**state("ready"), "time": -1},
    "a time that is no moment": {**state("ready"), "time": 10 ** 30},
    "a time with a fraction": {**state("ready"), "time": 1.5},
    "a time that is true": {**state("ready"), "time": True},
    "no time": {"status": "ready"},
}
NOT_HTTP: Dict[str, bytes] = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "no status line": READY + b"\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n{}",
    "a status that is a word": b"HTTP/1.1 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 No\r\n\r\n",
    "a negative status": b"HTTP/1.1 -20 OK\r\n\r\n",
    "empty lines alone": b"\r\n\r\n\r\n\r\n",
    "zeros": b"\0" * 100 + b"\r\n\r\n",
    "bytes beyond ASCII": bytes(range(128, 256)) + b"\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\n" + length(len(READY)) + READY,
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
}

# Nobody can tell where such a body ends, or how it goes on.
BADLY_FRAMED: Dict[str, bytes] = {
    "a length of a thousand digits": HEAD + b"Content-Length: " + b"9" * 1000 + b"\r\n\r\n" + READY,
    "a chunk size that is a word": HEAD + CHUNKED + b"zz\r\n" + READY,
    "a negative chunk size": HEAD + CHUNKED + b"-5\r\n" + READY,
    "a chunk size with 0x": HEAD + CHUNKED + b"0x10\r\n" + READY,
    "an empty chunk size": HEAD + CHUNKED + b"\r\n" + READY,
    "a chunk size with underscores": HEAD + CHUNKED + b"1_0\r\n" + READY,
    "a chunk that is longer than it says": HEAD + CHUNKED + b"5\r\n" + READY + b"\r\n0\r\n\r\n",
}


def stays(sent: bytes) -> List[Step]:
    """Nothing but the answer itself tells that it is wrong: the connection stays open."""
    return [sent, Silence()]


@pytest.mark.parametrize("weather", list(WRONG))
def test_an_answer_that_is_not_json_is_a_protocol_error(weather: str) -> None:
    for call in (call_connect, call_status):
        with Server(stays(WRONG[weather])) as server:
            error = failure(lambda: call(server.url), ProtocolError)
            assert "guest network" not in str(error) and "xxxxx" not in str(error)


@pytest.mark.parametrize("weather", ["text", "half of a document", "an HTML page", "NaN",
                                     "JSON nested 100,000 deep", "gzip that nobody asked for"])
def test_terminate_wants_json_too(weather: str) -> None:
    with Server(stays(WRONG[weather])) as server:
        failure(lambda: SINGLE["terminate"](server.url), ProtocolError)


def test_deep_json_does_not_exhaust_a_small_stack() -> None:
    """Python 3.13 crashed, in a thread of 512 KiB."""
    broken: List[BaseException] = []

    def call() -> None:
        try:
            failure(lambda: call_status(server.url), ProtocolError)
        except BaseException as error:
            broken.append(error)

    with Server(stays(answer(b"[" * 100000))) as server:
        before = threading.stack_size(512 * 1024)
        thread = threading.Thread(target=call)
        thread.start()
        threading.stack_size(before)
        thread.join(LONG)
    assert not thread.is_alive() and not broken, broken


@pytest.mark.parametrize("size", [b"zz", b"0x", b"-", b""])
def test_a_chunk_without_a_proper_size_is_a_protocol_error(size: bytes) -> None:
    with Server(stays(HEAD + CHUNKED + size + b"\r\n" + READY)) as server:
        assert "chunk" in str(failure(lambda: call_status(server.url), ProtocolError))


@pytest.mark.parametrize("weather", list(WRONG_SHAPE))
def test_an_answer_of_the_wrong_shape_is_a_protocol_error_and_no_validation_error(
    weather: str,
) -> None:
    for call in (call_connect, call_status):
        with Server([answer(WRONG_SHAPE[weather])]) as server:
            failure(lambda: call(server.url), ProtocolError)


@pytest.mark.parametrize("field", ["backend_id", "spawned", "status", "token", "url", "status_url"])
def test_a_connect_answer_needs_each_of_its_fields(field: str) -> None:
    wrongs: Sequence[Any] = (None, 7, [], {})
    for wrong in wrongs:
        with Server() as server:
            document = connected(server.url).to_dict()
            server.script = [answer({**document, field: wrong})]
            error = failure(lambda: call_connect(server.url), ProtocolError)
            assert field in str(error)


@pytest.mark.parametrize("weather", list(NOT_HTTP))
def test_what_is_not_http_is_a_protocol_error(weather: str, single: Call) -> None:
    with Server(stays(NOT_HTTP[weather])) as server:
        failure(lambda: single(server.url), ProtocolError)


@pytest.mark.parametrize("weather", BADLY_FRAMED)
def test_what_is_badly_framed_is_no_whole_answer(weather: str, single: Call) -> None:
    with Server([BADLY_FRAMED[weather]]) as server:
        failure(lambda: single(server.url), NetworkError, ProtocolError)


def test_bad_weather_prints_and_logs_nothing(capfd: pytest.CaptureFixture[str],
                                             caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    for steps in (stays(WRONG["an HTML page"]), [Reset()], [answer(b"no", 500)], [HEAD],
                  [answer(b"", 302)]):
        for call in SINGLE.values():
            with Server(steps) as server:
                look_over(timed(lambda: call(server.url)).outcome)
    assert capfd.readouterr() == ("", "") and not caplog.records
