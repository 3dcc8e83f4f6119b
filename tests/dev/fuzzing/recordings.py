"""Answers and streams as they were recorded, of both platforms, and what may stand in front."""

from typing import List
from urllib.parse import quote

from kit.platforms import state
from kit.secrets import TOKEN
from kit.server import answer, chunk, event, stream_head

DEV_CONNECT = (
    b'{"backend_id":"o32yhwwj29z3vz",'
    b'"status_url":"http://localhost:8080/v2/backend/o32yhwwj29z3vz/status",'
    b'"status":"scheduled","spawned":true,"ready_url":"",'
    b'"url":"http://localhost:8081/tpPHHVd2vYqa/",'
    b'"secret_token":"s0me-secret","token":"tpPHHVd2vYqa"}')
PLANE_CONNECT = (
    b'{"backend_id":"nq3kg5","spawned":true,"status":"scheduled","token":"t-1",'
    b'"url":"https://plane.example.test/t-1/","subdomain":null,"secret_token":"s-1",'
    b'"status_url":"http://localhost:8080/pub/b/nq3kg5/status","drone":"dr-1"}')
# What no text may show, beside the secrets of the kit.
SECRETS = ("tpPHHVd2vYqa", "s0me-secret")

DEV_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nVary: Origin\r\n"
    b"Date: Mon, 23 Nov 2026 22:46:13 GMT\r\nConnection: close\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n")
STATES = [
    state("scheduled"), state("loading"), state("starting"), state("waiting"), state("ready"),
    state("terminating", termination_reason="keyexpired", termination_kind="soft"),
    state("hard-terminating", termination_reason="swept"),
    state("terminated", termination_reason="external", termination_kind="hard", exit_error=True)]
DEV_EVENTS = b"".join(event(one) for one in STATES)
PLANE_EVENTS = b":\n\n%s:\n\n" % b"".join(
    event({**one, "time": 1732401973368}, id=one["status"]) for one in STATES)


def in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start:start + size] for start in range(0, len(body), size)]
    return b"".join(map(chunk, pieces)) + chunk(b"")


def refusal(message: str, status: int) -> bytes:
    return answer({"error": {"message": message, "status": status, "code": "SERVICE_NOT_FOUND",
                             "id": "req_7f"}}, status)


SINGLE: List[bytes] = [
    DEV_HEAD + in_chunks(DEV_CONNECT, 1000),
    DEV_HEAD + in_chunks(DEV_CONNECT, 50),
    answer(DEV_CONNECT),
    answer(PLANE_CONNECT),
    answer(PLANE_CONNECT, length=False),
    answer(state("ready")),
    answer(state("ready"), headers=[("Age", "15")]),
    answer({**STATES[5], "time": 1732401973368}),
    DEV_HEAD + in_chunks(b'{"status":"terminated","time":"","exit_error":true}', 9),
    answer({"status": "ok"}),
    answer(None),
    refusal("Service not found", 404),
    refusal("Service not found", 401),
    refusal("no account has the token " + TOKEN, 403),
    refusal("the header was Bearer%%20%s" % quote(TOKEN, safe=""), 401),
    refusal("cut short: " + TOKEN[:14], 500),
    answer(b"backend not found", 404),
    answer({"id": "x", "kind": "KeyHeld", "message": "Key is held"}, 409),
    answer(b"", 429, [("Retry-After", "7")]),
    answer(b"", 503, [("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")]),
    answer(b"<html>502</html>", 502),
    answer(b"", 302, [("Location", "https://elsewhere.example.test/")]),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    + answer(state("ready")),
]
STREAM: List[bytes] = [
    stream_head() + DEV_EVENTS,
    stream_head(True) + in_chunks(DEV_EVENTS, 60),
    stream_head() + PLANE_EVENTS,
    stream_head(True) + in_chunks(PLANE_EVENTS, 1000),
    stream_head() + event(STATES[4]) + b"retry:10\n\n",
    stream_head() + b"".join(event(one).replace(b'","', b'",\ndata:"') for one in STATES)
    .replace(b"\n", b"\r\n"),
    stream_head() + DEV_EVENTS.replace(b"\n", b"\r\n"),
    stream_head() + DEV_EVENTS.replace(b"\n", b"\r"),
    stream_head(True) + b"".join(
        chunk(bytes([byte])) for byte in event(STATES[0]) + event(STATES[7])),
]
