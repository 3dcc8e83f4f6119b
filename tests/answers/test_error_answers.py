"""Statuses from 400 on, and what a server says with them."""

import json
import time
from email.utils import formatdate
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Type

import pytest

from jamsocket_lite import AuthenticationError, HTTPError, RateLimitError
from kit.answers import CHUNKED, PAGE, length
from kit.calls import SINGLE, Call, call_connect
from kit.deadlines import record
from kit.platforms import told
from kit.secrets import failure
from kit.server import Close, Pause, Reset, Server, Step, answer

pytestmark = pytest.mark.usefixtures("nothing_left")



class Told(NamedTuple):
    body: bytes
    kind: Optional[str]
    message: str  # is in the error's text
    code: Optional[str]
    request_id: Optional[str]


def platform_error(status: int) -> Dict[str, Any]:
    return {"error": {"message": "No such thing", "status": status, "code": "SUCH_CODE",
                      "id": "request-1"}}


PLANE_ERROR = {"id": "plane-1", "kind": "KeyHeld", "message": "It is held"}


def bodies(status: int) -> Dict[str, Told]:
    return {
        "platform": Told(json.dumps(platform_error(status)).encode(), "application/json",
                         "No such thing", "SUCH_CODE", "request-1"),
        "plane": Told(json.dumps(PLANE_ERROR).encode(), "application/json; charset=utf-8",
                      "It is held", "KeyHeld", "plane-1"),
        "dev server": Told(b"backend not found", None, "backend not found", None, None),
        "html": Told(PAGE, "text/html; charset=utf-8", "", None, None),
        "nothing": Told(b"", None, "", None, None),
    }


def kind_of(status: int) -> Type[HTTPError]:
    return {401: AuthenticationError, 403: AuthenticationError, 407: AuthenticationError,
            429: RateLimitError}.get(status, HTTPError)


def check_status(server: Server, status: int, told: Told, call: Call) -> None:
    server.script = [answer(told.body, status, [("Content-Type", told.kind)] if told.kind else [])]
    before = server.connections
    error = failure(lambda: call(server.url), kind_of(status))
    assert (error.status, error.code, error.request_id, error.retry_after) == (status, told.code,
                                                                               told.request_id,
                                                                               None)
    assert str(status) in str(error)
    if status != 407:  # that is a proxy's, which has nothing to say about the API
        assert told.message in str(error)
    assert "<" not in str(error) and "guest network" not in str(error)
    assert server.connections == before + 1


@pytest.mark.parametrize("first", range(400, 600, 50))
def test_every_status_from_400_on_is_an_http_error(first: int) -> None:
    calls = list(SINGLE.values())
    with Server() as server:
        for status in range(first, first + 50):
            check_status(server, status, list(bodies(status).values())[status % 5],
                         calls[status % 3])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 409, 429, 500, 502, 503, 600, 999])
def test_an_error_carries_what_the_server_said(status: int, single: Call) -> None:
    with Server() as server:
        for told in bodies(status).values():
            check_status(server, status, told, single)


MIB = 1 << 20
ODD_ERRORS: Dict[str, Any] = {
    "an error that is null": {"error": None}, "an error that is text": {"error": "it broke"},
    "an error that is a list": {"error": [1, 2]},
    "a message that is a number": {"error": {"message": 7}},
    "a code that is a list": {"error": {"message": "m", "code": [], "id": {}}}, "a list": [1],
    "null": None,
    "a string": "it broke", "a number": 7, "an empty object": {},
    "an error in an error": {"error": {"error": {}}},
    "a message of many lines": {"error": {"message": "a\r\nb\0\x1b[31m\u202e" * 100}},
    "a message of a megabyte": {"error": {"message": "m" * MIB}},
    "a lone surrogate": {"error": {"message": "\ud800", "code": "\udfff", "id": "\ud800"}},
    "deep lists": [[[[[]]]]] * 3,
    "a code of many lines": {"error": {"message": "m", "code": "A\nB" * 1000, "id": "\r\n" * 1000}},
}


@pytest.mark.parametrize("weather", list(ODD_ERRORS))
def test_an_odd_error_is_an_http_error_all_the_same(weather: str) -> None:
    with Server() as server:
        for body in (json.dumps(ODD_ERRORS[weather]).encode(),
                     repr(ODD_ERRORS[weather]).encode("utf-8", "replace")):
            server.script = [answer(body, 502)]
            error = failure(lambda: call_connect(server.url), HTTPError)
            assert error.status == 502
            assert error.code is None or type(error.code) is str
            assert error.request_id is None or type(error.request_id) is str


@pytest.mark.parametrize("body", [b"[" * 60000, b"\xff\xfe\0", b'{"error":{"message":'
                                  + b"1" * 60000 + b"}}"],
                         ids=["very deep lists", "no UTF-8", "a huge number"])
def test_an_error_that_cannot_be_read_is_an_http_error_all_the_same(body: bytes) -> None:
    with Server([answer(body, 502)]) as server:
        assert failure(lambda: call_connect(server.url), HTTPError).status == 502


@pytest.mark.parametrize("steps", [
    [b"HTTP/1.1 503 No\r\nContent-Length: 500\r\n\r\nback soon", Close()],
    [b"HTTP/1.1 503 No\r\n" + CHUNKED + b"zz", Close()],
    [b"HTTP/1.1 503 No\r\n" + CHUNKED + b"9\r\nback soon", Pause(0.02), Reset()],
    [b"HTTP/1.1 503 No\r\nContent-Encoding: gzip\r\n" + length(5) + b"\x1f\x8b\x08\0\0", Close()],
], ids=["closed", "malformed", "reset", "compressed"])
def test_an_error_whose_body_is_broken_keeps_its_status(steps: List[Step]) -> None:
    with Server(steps) as server:
        assert failure(lambda: call_connect(server.url), HTTPError).status == 503


RETRY_AFTER: Dict[str, Tuple[str, Optional[float]]] = {
    "seconds": ("7", 7.0), "zero": ("0", 0.0), "a fraction": ("0.493", 0.493),
    "with space": (" 12 ", 12.0),
    "many seconds": ("86400", 86400.0),
    "a past date": ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    "an old kind of date": ("Wednesday, 21-Oct-15 07:28:00 GMT", 0.0),
}
NO_RETRY_AFTER: Dict[str, str] = {
    "garbage": "soon", "nothing": "", "negative": "-5", "nan": "nan", "inf": "inf",
    "minus inf": "-inf",
    "an exponent": "1e999", "hexadecimal": "0x10", "underscores": "1_0", "other digits": "²",
    "two": "7, 8", "the 32nd": "Wed, 32 Oct 2015 07:28:00 GMT", "half a date": "Wed, 21 Oct",
    "colons": ":::::",
    "the year 99999": "Wed, 21 Oct 99999 07:28:00 GMT",
    "the year 0": "Wed, 21 Oct 0000 07:28:00 GMT",
    "a huge zone": "Wed, 21 Oct 2015 07:28:00 +999999999999", "5000 digits": "9" * 5000,
    "5000 digits and a fraction": "1." + "9" * 5000, "400 digits": "9" * 400,
}


@pytest.mark.parametrize("status", [429, 503, 404])
@pytest.mark.parametrize("weather", list(RETRY_AFTER))
def test_retry_after_is_read_in_all_its_forms(weather: str, status: int) -> None:
    text, expected = RETRY_AFTER[weather]
    with Server([answer(b"", status, [("Retry-After", text)])]) as server:
        assert failure(lambda: call_connect(server.url), kind_of(status)).retry_after == expected


def test_retry_after_may_be_a_date_to_come() -> None:
    with Server([answer(b"", 429,
                        [("Retry-After", formatdate(time.time() + 100, usegmt=True))])]) as server:
        retry_after = failure(lambda: call_connect(server.url), RateLimitError).retry_after
        assert retry_after is not None and 80 < retry_after <= 100


@pytest.mark.parametrize("weather", list(NO_RETRY_AFTER))
def test_a_strange_retry_after_is_finite_and_not_negative_or_none(weather: str) -> None:
    with Server([answer(b"", 429, [("Retry-After", NO_RETRY_AFTER[weather])])]) as server:
        retry_after = failure(lambda: call_connect(server.url), RateLimitError).retry_after
        assert (
            retry_after is None or type(retry_after) is float and 0.0 <= retry_after < float("inf")
        )
    record("Retry-After: " + weather, str(retry_after))
    if weather in ("garbage", "nothing", "nan", "hexadecimal"):
        assert retry_after is None
