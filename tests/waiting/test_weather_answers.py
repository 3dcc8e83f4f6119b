"""Single calls in bad weather: whatever is answered, `connect`, `status` and `terminate` keep the contract."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type
from urllib.parse import unquote

import pytest

import jamsocket_lite
from conftest import ROOT
from kit.certificates import Certificates
from jamsocket_lite import (AuthenticationError, BackendState, ConfigurationError, ConnectResponse, HTTPError,
                            Jamsocket, JamsocketError, JamsocketTimeout, NetworkError, ProtocolError, RateLimitError,
                            ValidationError, wait_until_ready)
from kit.server import (Action, Close, Drain, Dribble, Pause, Peer, Repeat, Request, Reset, Script, Server, Silence, Step,
                    Wait, answer, at_once, chunk, stream_head)
from kit.calls import Call, SINGLE, call_connect, call_status, name_of, right_document
from kit.deadlines import LONG, SHORT, Timed, against, keeps_deadline, record, timed
from kit.platforms import channels, client, connected, events, state, streamed, told
from kit.secrets import (AUTH_NUMBER, AUTH_VALUE, BACKEND_TOKEN, ENV_LINES, ENV_VALUE, READY_PATH,
                         SECRETS, SECRET_TOKEN, TOKEN, URL_PATH, failed, failure, look_over)
from kit.threads import together


pytestmark = pytest.mark.usefixtures("nothing_left")


each_call = pytest.mark.parametrize("call", list(SINGLE.values()), ids=list(SINGLE))

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
READY = json.dumps(state("ready")).encode()
MIB = 1 << 20


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % size


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


# ---------------------------------------------------------------------------------------------------------------------
# Silence and dribble: each call ends within its deadline
# ---------------------------------------------------------------------------------------------------------------------

def slow_answers(every: float) -> Dict[str, List[Step]]:
    """Answers that never come to an end, although each of their bytes comes soon."""
    return {
        "silence": [Silence()],
        "silence, request unread": [at_once, Silence()],
        "dribbled status line": [Dribble(HEAD + length(2) + b"{}", every)],
        "dribbled header": [HEAD, Dribble(b"X-Slow: " + b"x" * 500, every)],
        "headers for ever": [HEAD, Repeat(b"X-Slow: x\r\n", pause=every)],
        "interim answers for ever": [Repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", pause=every)],
        "silence after the headers": [HEAD + length(500), Silence()],
        "silence in the body": [HEAD + length(500) + READY, Silence()],
        "dribbled body": [HEAD + length(500), Dribble(b" " * 500, every)],
        "dribbled body without a length": [HEAD + b"\r\n", Dribble(b" " * 500, every)],
        "dribbled chunk size": [HEAD + CHUNKED, Dribble(b"5; " + b"x" * 500, every)],
        "dribbled chunk": [HEAD + CHUNKED + b"1f4\r\n", Dribble(b" " * 500, every)],
        "chunks of one byte for ever": [HEAD + CHUNKED, Repeat(chunk(b" "), pause=every)],
        "silence between two chunks": [HEAD + CHUNKED + chunk(READY), Silence()],
    }


@pytest.mark.parametrize("deadline, every, secure", [(SHORT, 0.04, False), (SHORT, 0.04, True), (0.7, 0.2, False)],
                         ids=["short", "short over TLS", "long"])
def test_a_slow_answer_ends_with_the_deadline(deadline: float, every: float, secure: bool,
                                              certificates: Certificates) -> None:
    def job(name: str, weather: str, steps: List[Step]) -> Callable[[], Any]:
        tls = certificates.server_context() if secure else None
        options: Dict[str, Any] = {"ssl_context": certificates.client_context()} if secure else {}
        attempt = against(steps, SINGLE[name], deadline, options, tls=tls)
        label = "%s, %s over %s" % (weather, name, "TLS" if secure else "TCP")
        return lambda: keeps_deadline(label, attempt, deadline)

    answers = slow_answers(every)
    # The long deadline shows that it is not one read's that counts; for that one call will do.
    names = list(SINGLE) if deadline == SHORT and not secure else ["status"]
    together({"%s: %s" % (name, weather): job(name, weather, steps)
                  for name in names for weather, steps in answers.items()}, width=14)


def test_a_slow_error_answer_ends_with_the_deadline() -> None:
    """What it is about may be said or not; but soon."""
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
    slow: Dict[str, List[Step]] = {
        "dribbled error": [head + length(500), Dribble(b"a" * 500, 0.04)],
        "silence in an error": [head + length(500) + b"a", Silence()],
        "an error's chunks for ever": [head + CHUNKED, Repeat(chunk(b"a"), pause=0.04)],
    }

    def job(name: str, weather: str) -> Callable[[], Any]:
        attempt = against(slow[weather], SINGLE[name])
        return lambda: keeps_deadline("%s, %s" % (weather, name), attempt, SHORT, HTTPError, JamsocketTimeout)

    together({"%s: %s" % (name, weather): job(name, weather) for name in SINGLE for weather in slow})


def test_a_request_that_is_not_taken_ends_with_the_deadline() -> None:
    """Sending has the same deadline as all else: here the system's buffers are full."""
    def attempt() -> Timed:
        go = threading.Event()
        with Server([at_once, Wait(go), Drain()]) as server:
            result = timed(lambda: client(server.url).connect({"auth": {"text": "x" * 6 * MIB}}, timeout=0.7))
            go.set()
            assert server.wait_closed(LONG)
        return result

    keeps_deadline("a request that is not taken", attempt, 0.7)


class Sip(Action):
    """Read what there is, a little at a time, for so long as the client sends."""

    def run(self, peer: Peer) -> None:
        while True:
            peer.receive()
            peer.pause(0.02)


def test_a_request_that_is_taken_slowly_ends_with_the_deadline() -> None:
    """Though each piece of it is taken in time."""
    def attempt() -> Timed:
        with Server([at_once, Sip()]) as server:
            result = timed(lambda: client(server.url).connect({"auth": {"text": "x" * 24 * MIB}}, timeout=0.9))
        return result

    keeps_deadline("a request that is taken slowly", attempt, 0.9)


def test_the_clients_timeout_holds_where_the_call_has_none() -> None:
    def job(name: str) -> Callable[[], Any]:
        def without(url: str, timeout: float) -> Any:
            return SINGLE[name](url, None, timeout_of_client=timeout)

        return lambda: keeps_deadline("silence, the client's timeout, " + name, against([Silence()], without))

    together({name: job(name) for name in SINGLE})


@each_call
def test_an_answer_is_over_when_its_length_says_so(call: Call) -> None:
    """Not when the connection ends, which a proxy may keep open."""
    name = name_of(call)
    for chunked in (False, True):
        def script(request: Request) -> List[Step]:
            body = right_document(server.url, name)
            return [answer(body, chunked=chunked), Silence()]

        with Server(script) as server:
            call(server.url)
            assert server.wait_closed(LONG) and server.connections == 1


def test_an_early_answer_is_heard_while_the_request_is_still_being_sent() -> None:
    refused = answer({"error": {"message": "too large", "status": 413, "code": "TOO_LARGE", "id": "r1"}}, 413)
    with Server([at_once, refused, Drain()]) as server:
        error = failure(lambda: client(server.url).connect({"auth": {"text": "x" * 300000}}, timeout=LONG), HTTPError)
        assert (error.status, error.code) == (413, "TOO_LARGE")


def test_a_large_request_does_not_delay_its_error() -> None:
    """All of it is a secret that the answer may repeat; to look for it takes next to no time."""
    def connect(url: str, timeout: float) -> Any:
        return client(url).connect({"auth": {"text": "x" * MIB}}, timeout=timeout)

    answers = answer(json.dumps({"error": {"message": "y" * 60000}}).encode(), 500)
    keeps_deadline("the error for a large request", against([answers], connect), SHORT, HTTPError)


# ---------------------------------------------------------------------------------------------------------------------
# Once
# ---------------------------------------------------------------------------------------------------------------------

LOST: Dict[str, List[Step]] = {
    "closed": [Close()],
    "reset": [Reset()],
    "closed in the headers": [HEAD],
    "reset in the body": [HEAD + length(500) + b"{", Pause(0.02), Reset()],
    "not JSON": [answer(b"oops")],
    "redirect to itself": [answer(b"", 307, [("Location", "/")])],
    "408": [answer(b"", 408)],
    "429": [answer(b"", 429, [("Retry-After", "0")])],
    "500": [answer(b"", 500)],
    "503 to be tried again": [answer(b"", 503, [("Retry-After", "0")])],
    "421": [answer(b"", 421)],
}


@each_call
@pytest.mark.parametrize("steps", list(LOST.values()), ids=list(LOST))
def test_a_call_is_sent_once_and_never_repeated(steps: List[Step], call: Call) -> None:
    """A second `connect` might start a second backend."""
    with Server(steps) as server:
        start = time.monotonic()
        look_over(timed(lambda: call(server.url)).outcome)
        assert time.monotonic() - start < LONG / 2  # and it does not wait for the deadline
        assert server.wait_closed(LONG)
        assert (server.connections, len(server.requests)) == (1, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Too much
# ---------------------------------------------------------------------------------------------------------------------

class Much(NamedTuple):
    steps: List[Step]
    kind: Type[JamsocketError]
    says: str  # what the error calls too large


K16 = b"x" * 16384
GIB = 1 << 30
TOO_MUCH: Dict[str, Much] = {
    "an endless body": Much([HEAD + b"\r\n", Repeat(K16)], ProtocolError, "answer"),
    "an endless body with a length": Much([HEAD + length(10 ** 15), Repeat(K16)], ProtocolError, "answer"),
    "endless chunks": Much([HEAD + CHUNKED, Repeat(chunk(K16))], ProtocolError, "answer"),
    "an endless chunk": Much([HEAD + CHUNKED + b"fffffffffff\r\n", Repeat(K16)], ProtocolError, "answer"),
    "an endless chunk size": Much([HEAD + CHUNKED, Repeat(b"0" * 16384)], ProtocolError, "chunk"),
    "an endless chunk extension": Much([HEAD + CHUNKED + b"5;", Repeat(K16)], ProtocolError, "chunk"),
    "an endless status line": Much([b"HTTP/1.1 200 ", Repeat(K16)], ProtocolError, "header|status line"),
    "an endless line": Much([Repeat(K16)], ProtocolError, "header|status line"),
    "an endless header": Much([HEAD + b"X-Long: ", Repeat(K16)], ProtocolError, "header"),
    "ten thousand headers": Much([HEAD + b"".join(b"X-Header-%d: %d\r\n" % (n, n) for n in range(10000)) + b"\r\n"],
                                 ProtocolError, "header"),
    "headers without end": Much([HEAD, Repeat(b"X-Header: x\r\n" * 1000)], ProtocolError, "header"),
    "interim answers without end": Much([Repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)], ProtocolError, "header"),
    "one byte more than an answer may have": Much([answer(b"[" + b" " * (128 * 1024 - 1) + b"]")], ProtocolError,
                                                  "answer"),
    "an error answer of a gigabyte": Much(
        [b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n" + length(GIB), Repeat(K16, GIB // 16384)], HTTPError, ""),
    "an error answer of a gigabyte in chunks": Much(
        [b"HTTP/1.1 500 Oops\r\n" + CHUNKED, Repeat(chunk(K16), GIB // 16384)], HTTPError, ""),
    "a redirect's endless body": Much([b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Repeat(K16)], ProtocolError, ""),
}


@each_call
@pytest.mark.parametrize("weather", list(TOO_MUCH))
def test_what_is_too_large_is_left_at_once_and_named(weather: str, call: Call) -> None:
    much = TOO_MUCH[weather]
    with Server(much.steps) as server:
        error = failure(lambda: call(server.url), much.kind)
        assert re.search(much.says, str(error)), str(error)
        assert server.wait_closed(LONG) and server.connections == 1


# What is allowed, at its most expensive; a wait and a stream read it again and again.
FULL = 128 * 1024
MOST_EXPENSIVE: Dict[str, bytes] = {
    "small objects": b"[" + b"{}," * (FULL // 3 - 1) + b"0]",
    "objects of one key": b"[" + b'{"":0},' * (FULL // 7 - 1) + b"0]",
    "small lists": b"[" + b"[]," * (FULL // 3 - 1) + b"0]",
    "deep lists": b"[" * (FULL // 2) + b"]" * (FULL // 2),
    "short keys": b"{" + b",".join(b'"%x":{}' % n for n in range(FULL // 12)) + b"}",
    "numbers": b"[" + b"1.5," * (FULL // 4 - 1) + b"0]",
}
def stream_of(*steps: Step) -> Script:
    return channels([stream_head(), *steps], told("starting"))


def endless_stream(*parts: bytes) -> Script:
    return stream_of(b"".join(parts[:-1]), Repeat(parts[-1]))


# Each of these is asked for by a path of its own on one server.
Row = Tuple[str, Script]
MEMORY: Dict[str, Row] = {}
for _name, _much in TOO_MUCH.items():
    MEMORY[_name] = ("status", _much.steps)
for _name, _body in MOST_EXPENSIVE.items():
    MEMORY["128 KiB of " + _name] = ("connect", [answer(_body)])
    MEMORY["an error of 128 KiB of " + _name] = ("connect", [answer(_body, 500)])
    MEMORY["events of " + _name] = (
        "stream", stream_of(Repeat(b"data:" + _body[:FULL - 100] + b"\n\n", 8), events("terminated")))
MEMORY.update({
    "a body in chunks of one byte": ("status", [HEAD + CHUNKED, b"1\r\nx\r\n" * FULL]),
    "an event of a gigabyte, in one line": ("stream", endless_stream(b"data:", K16)),
    "an event of a gigabyte, in many lines": ("stream", endless_stream(b"data:x\n" * 2000)),
    "an event with a gigabyte of ids": ("stream", endless_stream(b"id:1\n" * 2000)),
    "an event of a gigabyte, in a wait": ("wait", endless_stream(b"data:", K16)),
    "a status answer of a gigabyte, in a wait": ("wait", channels([Close()], [HEAD + length(GIB), Repeat(K16)])),
    "states from the future": ("stream", stream_of(*(
        b"".join(b'data:{"status":"state-%d-%s","time":""}\n\n' % (n, b"x" * 2000) for n in range(m, m + 50))
        for m in range(0, 5000, 50)), events("terminated"))),
})

# Each row has a process of its own, in which everything was used once before the measuring.
MEASURE = """
import json, os, re, sys
sys.path[:0] = json.loads(sys.argv[1])
from jamsocket_lite import JamsocketError
from kit.calls import CALLS
def peak():
    with open("/proc/self/status") as file:  # exact, unlike ru_maxrss, which lacks what is still counted elsewhere
        return int(re.search("VmHWM:\\s*(\\d+) kB", file.read()).group(1)) * 1024
def use(call, url, seconds):
    try:
        CALLS[call](url, seconds)
        return "nothing"
    except JamsocketError as error:
        return type(error).__name__ + ": " + str(error)
def measure(call, url, seconds):
    for used in ("status", call):
        use(used, sys.argv[2], 60.0)
    before = peak()
    said = use(call, url, seconds)
    return peak() - before, said
rows = json.loads(sys.stdin.readline())
for first in range(0, len(rows), 8):
    answers = []
    for row in rows[first:first + 8]:
        reading, writing = os.pipe()
        if not os.fork():
            os.write(writing, json.dumps(measure(*row)).encode())
            os._exit(0)
        os.close(writing)
        answers.append(os.fdopen(reading))
    for answer in answers:
        with answer:
            print(answer.read() or json.dumps([-1, "it died"]), flush=True)
        os.wait()
"""


def measure_memory(rows: Mapping[str, Row], seconds: float) -> Dict[str, Tuple[int, str]]:
    """How much the peak of a real process grew over each call of so many seconds, and what the call said."""
    names = list(rows)

    def script(request: Request) -> Sequence[Step]:
        match = re.match(r"/(\d+)/", request.target)
        if match:
            steps = rows[names[int(match.group(1))]][1]
            return steps(request) if callable(steps) else steps
        if request.target.endswith("/stream"):
            return [streamed("ready", "terminated")]
        return [answer({**connected(server.url).to_dict(), **state("ready")})]

    tests = str(ROOT / "tests")
    paths = [tests] if os.environ.get("JAMSOCKET_LITE_INSTALLED") else [tests, str(ROOT)]
    with Server(script) as server:
        asked = [(rows[name][0], "%s/%d" % (server.url, number), 0.5 if rows[name][0] == "wait" else seconds)
                 for number, name in enumerate(names)]
        done = subprocess.run([sys.executable, "-c", MEASURE, json.dumps(paths), json.dumps(server.url)],
                              input=json.dumps(asked).encode() + b"\n", stdout=subprocess.PIPE, timeout=900)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(lines) == len(names)
    return {name: (growth, said) for name, (growth, said) in zip(names, lines)}


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="a forked process has a peak of its own on Linux")


def check_memory(rows: Mapping[str, Row], seconds: float = LONG) -> Dict[str, str]:
    measured = measure_memory(rows, seconds)
    for name, (growth, said) in measured.items():
        record("memory: " + name, "grew by %.1f MiB; %s" % (growth / MIB, said[:90]))
    grown = {name: growth for name, (growth, _) in measured.items() if not 0 <= growth <= 4 * MIB}
    assert not grown
    return {name: said for name, (_, said) in measured.items()}


QUICK = ("an endless body", "ten thousand headers", "an error answer of a gigabyte", "128 KiB of small objects",
         "128 KiB of objects of one key", "events of small lists", "an event of a gigabyte, in one line",
         "an event of a gigabyte, in a wait")


@on_linux
@pytest.mark.parametrize("names", [QUICK, pytest.param(tuple(MEMORY), marks=pytest.mark.slow)], ids=["some", "all"])
def test_no_answer_and_no_event_takes_more_than_4_mib(names: Sequence[str]) -> None:
    """Measured in real processes; the server is in this one."""
    said = check_memory({name: MEMORY[name] for name in names})
    for name, words in said.items():
        if name.startswith("an event"):
            assert re.search("event", words), (name, words)
        if name in TOO_MUCH:
            assert words.startswith(TOO_MUCH[name].kind.__name__) and re.search(TOO_MUCH[name].says, words)


@on_linux
@pytest.mark.slow
def test_a_gigabyte_that_is_passed_over_takes_no_memory() -> None:
    """All of it is read, since the state comes at its end."""
    end = events("terminated")
    large = b"data:" + b"x" * 100000 + b"\n\n"
    comment = b":" + b"x" * 60000 + b"\n"
    small = b"event:other\ndata:{}\n\n:\n" * 1000
    rows: Dict[str, Row] = {
        "a gigabyte of garbage events": ("stream", stream_of(Repeat(large, GIB // len(large)), end)),
        "a gigabyte of comments": ("stream", stream_of(Repeat(comment, GIB // len(comment)), end)),
        "a hundred megabytes of small events": (
            "stream", stream_of(Repeat(small, 100 * MIB // len(small)), end)),
    }
    said = check_memory(rows, 500.0)
    assert set(said.values()) == {"nothing"}


# ---------------------------------------------------------------------------------------------------------------------
# Too little
# ---------------------------------------------------------------------------------------------------------------------

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
ENDS: Dict[str, List[Step]] = {"closed": [Close()], "cut": [Close(notify=False)], "reset": [Pause(0.02), Reset()]}


@each_call
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_answer_cut_short_is_a_network_error(secure: bool, call: Call, certificates: Certificates) -> None:
    """Closed, cut or reset, at every place; whatever came before it is no answer."""
    tls = certificates.server_context() if secure else None
    options: Dict[str, Any] = {"ssl_context": certificates.client_context()} if secure else {}

    def job(steps: List[Step]) -> Callable[[], None]:
        def run() -> None:
            with Server(steps, tls=tls) as server:
                failure(lambda: call(server.url, **options), NetworkError)
                assert server.wait_closed(LONG) and server.connections == 1
        return run

    together({"%s %s" % (end, place): job(steps + last) for place, steps in TOO_LITTLE.items()
                  for end, last in ENDS.items() if secure or end != "cut"})


@pytest.mark.parametrize("end", list(ENDS))
def test_a_body_without_a_length_that_is_cut_is_no_answer(end: str) -> None:
    with Server([HEAD + b"\r\n" + READY[:-5], *ENDS[end]]) as server:
        failure(lambda: call_status(server.url), ProtocolError, NetworkError)


@pytest.mark.parametrize("call", [call_connect, call_status])
@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 299])
def test_an_empty_answer_is_not_the_apis(status: int, call: Call) -> None:
    for steps in ([answer(b"", status)], [answer(b"", status, length=False)], [answer(b"", status, chunked=True)],
                  [answer(b" \r\n", 200)]):
        with Server(steps) as server:
            assert "nothing" in str(failure(lambda: call(server.url), ProtocolError))


def test_an_answer_without_a_body_is_not_waited_for() -> None:
    """204 and 304 have none, whatever else is said; the connection stays open."""
    for status in (204, 304):
        with Server([b"HTTP/1.1 %d No\r\n\r\n" % status, Silence()]) as server:
            failure(lambda: call_status(server.url), ProtocolError)


# ---------------------------------------------------------------------------------------------------------------------
# Wrong
# ---------------------------------------------------------------------------------------------------------------------

PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Log in to the guest network</body></html>"
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
    "a coding that nobody knows": answer(READY, 200, [("Content-Encoding", "br")]),
}
WRONG_SHAPE: Dict[str, Any] = {
    "null": None, "true": True, "a number": 7, "a string": "ready", "a list": [state("ready")], "nothing in it": {},
    "an error with status 200": {"error": {"message": "no", "status": 404, "code": "NOT_FOUND", "id": "r1"}},
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
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\n" + length(len(READY)) + READY,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + READY,
    "a length that is a word": HEAD + b"Content-Length: long\r\n\r\n" + READY,
    "a length of a thousand digits": HEAD + b"Content-Length: " + b"9" * 1000 + b"\r\n\r\n" + READY,
    "a length in other digits": HEAD + "Content-Length: ²\r\n\r\n".encode("latin-1") + READY,
    "a coding of transfer that nobody knows": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + READY,
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


@pytest.mark.parametrize("weather", ["text", "half of a document", "an HTML page", "NaN", "JSON nested 100,000 deep",
                                     "gzip that nobody asked for"])
def test_terminate_wants_json_too(weather: str) -> None:
    with Server(stays(WRONG[weather])) as server:
        failure(lambda: SINGLE["terminate"](server.url), ProtocolError)


@pytest.mark.parametrize("weather", list(WRONG_SHAPE))
def test_an_answer_of_the_wrong_shape_is_a_protocol_error_and_no_validation_error(weather: str) -> None:
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


@each_call
@pytest.mark.parametrize("weather", list(NOT_HTTP))
def test_what_is_not_http_is_a_protocol_error(weather: str, call: Call) -> None:
    with Server(stays(NOT_HTTP[weather])) as server:
        failure(lambda: call(server.url), ProtocolError)


RIGHT_BUT_ODD: Dict[str, bytes] = {
    "interim answers first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\n",
    "an empty reason": b"HTTP/1.1 200 \r\n",
    "a reason beyond ASCII": "HTTP/1.1 200 déjà vu\r\n".encode("latin-1"),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n",
    "two kinds of line end": b"HTTP/1.1 200 OK\nX-A: b\n",
    "small letters": b"HTTP/1.1 200 OK\r\nconnection: close\r\n",
    "no content type": b"HTTP/1.1 200 OK\r\n",
    "a hundred headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(100)),
    "201": b"HTTP/1.1 201 Created\r\n",
}


@pytest.mark.parametrize("weather", list(RIGHT_BUT_ODD))
def test_an_odd_head_does_not_spoil_the_answer(weather: str) -> None:
    head = RIGHT_BUT_ODD[weather]
    head += b"HTTP/1.1 200 OK\r\n" if weather == "interim answers first" else b""
    for sent in (head + length(len(READY)) + READY + b"more than that",
                 head + b"content-LENGTH:%d\r\n\r\n" % len(READY) + READY,
                 head + CHUNKED + chunk(READY[:1]) + chunk(READY[1:]) + chunk(b""),
                 head + b"TRANSFER-encoding:Chunked\r\n\r\n" + b"%04X ; a=b\r\n" % len(READY) + READY + b"\r\n0\r\n"
                 + b"X-Trailer: x\r\n\r\n",
                 head + b"\r\n" + READY):
        with Server([sent]) as server:
            assert call_status(server.url).status == "ready"


ODD_JSON: Dict[str, bytes] = {
    "duplicate keys": b'{"status":"terminated","status":"ready","time":"2026"}',
    "a byte-order mark": b"\xef\xbb\xbf" + READY,
    "space around it": b" \r\n\t" + READY + b"\n\n",
    "a lone surrogate": b'{"status":"ready","time":"\\ud800"}',
    "a lone surrogate where nobody looks": b'{"status":"ready","time":"","x\\udc00":"\\ud800"}',
    "a number of 100,000 digits where nobody looks": b'{"status":"ready","time":"","x":1' + b"0" * 100000 + b"}",
    "lists 90,000 deep where nobody looks": b'{"status":"ready","time":"","x":' + b"[" * 60000 + b"]" * 60000 + b"}",
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


# ---------------------------------------------------------------------------------------------------------------------
# Redirects, and urls that lead elsewhere
# ---------------------------------------------------------------------------------------------------------------------

REDIRECTS = (300, 301, 302, 303, 304, 305, 306, 307, 308, 399)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("status", REDIRECTS)
def test_no_redirect_is_followed(status: int, secure: bool, certificates: Certificates) -> None:
    """Not to another origin, not to plain http, not to a file, not to the same server."""
    options: Dict[str, Any] = {"ssl_context": certificates.client_context()} if secure else {}
    with Server() as other, Server(tls=certificates.server_context() if secure else None) as server:
        places = [other.url + "/" + TOKEN, server.url + "/" + TOKEN, "//" + other.address + "/", "/elsewhere", "",
                  "file:///etc/passwd", "file:" + URL_PATH, "ftp://127.0.0.1/", "data:text/plain," + TOKEN,
                  "http://%s:%s@%s/" % (BACKEND_TOKEN, SECRET_TOKEN, other.address), TOKEN, " \t", "http://[::1",
                  "\xff\xfe"]
        calls = list(SINGLE.values())
        for number, place in enumerate(places):
            before = len(server.requests)
            server.script = [answer(b"moved to " + place.encode(), status, [("Location", place)])]
            error = failure(lambda: calls[number % 3](server.url, **options), ProtocolError)
            assert str(status) in str(error) and "etc/passwd" not in str(error)
            assert len(server.requests) == before + 1
        server.script = [answer(b"", status)]
        failure(lambda: call_status(server.url, **options), ProtocolError)
        assert other.connections == 0
    record("redirect %d%s" % (status, " over TLS" if secure else ""), "nothing arrived elsewhere")


def urls_elsewhere(address: str) -> List[str]:
    return ["file:///etc/passwd", "file://%s/etc/passwd" % address, "FILE:///etc/passwd", "ftp://%s/x" % address,
            "gopher://%s/x" % address, "ws://%s/x" % address, "unix:///tmp/x", "://%s/x" % address,
            "http://user@%s/x" % address, "http://user:%s@%s/x" % (SECRET_TOKEN, address),
            "http://%s@%s/x" % (BACKEND_TOKEN, address), "http:///x", "http://", "https://:443/x", "http://?x",
            "http://%s:x/" % address, "http://127.0.0.1:0/x", "http://127.0.0.1:65536/x", "http://127.0.0.1:-1/x",
            "http://127.0.0.1:999999999999/x", "http://127.0.0.1:٣/x",
            "http://%s/a b" % address, "http://%s/\r\nX-Injected: 1" % address, "http://%s/\n" % address,
            "http://%s/\0" % address, "http://%s/é" % address, " http://%s/x" % address, "http://%s/\ud800" % address,
            "http://127.0.0.1\\@%s/x" % address, "http://[::1/x", "http://::1/x",
            "http://ex ample/x", "http://münchen.example.test/x", "http://a%%2f%s/x" % address]


def test_a_url_that_is_not_plain_http_or_https_is_never_opened() -> None:
    """Neither one of the caller's nor one that the platform sent."""
    with Server([answer(READY)]) as server:
        one = client(server.url)
        for url in urls_elsewhere(server.address):
            failure(lambda: one.status(url), ConfigurationError)
            failure(lambda: one.status_stream(url), ConfigurationError)
            failure(lambda: one.wait_until_ready(url), ConfigurationError)
            failure(lambda: wait_until_ready(url), ConfigurationError)
            sent = connected("", status_url=url)
            failure(lambda: one.status(sent), ConfigurationError, ProtocolError)
            failure(lambda: one.status_stream(sent), ConfigurationError, ProtocolError)
            failure(lambda: one.wait_until_ready(sent), ConfigurationError, ProtocolError)
            failure(lambda: wait_until_ready(sent), ConfigurationError, ProtocolError)
            failure(lambda: client(url), ConfigurationError)
        for url in ("", "/v2/backend/x/status", "//%s/x" % server.address, "status"):
            sent = connected("", status_url=url)
            failure(lambda: one.status(sent), ConfigurationError, ProtocolError)
        assert server.connections == 0
    record("urls of other kinds", "nothing was opened")


def test_credentials_go_to_the_api_alone() -> None:
    """Status and stream are wherever the platform says; what ends a backend is where the client was told."""
    with Server([answer(state("ready"))]) as other, Server([answer({"status": "ok"})]) as api:
        one, sent = client(api.url), connected(other.url)
        assert one.status(sent).is_ready and one.status(other.url + "/v2/backend/b4ckend/status").is_ready
        one.terminate(sent)
        one.terminate(other.url + "/v2/backend/b4ckend/status")
        assert [request.target for request in api.requests] == ["/v2/backend/b4ckend/terminate"] * 2
        assert [request.header("Authorization") for request in api.requests] == ["Bearer " + TOKEN] * 2
        assert [request.target for request in other.requests] == ["/v2/backend/b4ckend/status"] * 2
        for request in other.requests:
            assert request.header("Authorization") is None
            assert not any(secret.encode() in request.head + request.body for secret in SECRETS)


# ---------------------------------------------------------------------------------------------------------------------
# Names of odd characters
# ---------------------------------------------------------------------------------------------------------------------

ODD_NAMES = ("a\rb", "a\nb", "a\r\nX-Injected: 1\r\n\r\n", "a\0b", "a/b", "/", "/a", "a/", "a//b", "..", ".", "../..",
             "../../v2/backend/other/terminate", "a/../b", "...", "?", "a?b=c", "#", "a#b", "%2f", "a%2Fb", "%2e%2e",
             "%", "%00", "%zz", " ", "a b", " a ", "\t", "a+b", "a&b=c", "a;b", "a:b", "a@b", "a\\b", "..\\..", "é",
             "日本", "😀", "\u202e", "\x7f", "\x80", "\ufeff", "a" * 3000, "'\"<>", "*", "~", "\ud800")
REFUSALS = (ConfigurationError, ValidationError)
ids = [ascii(name)[1:-1][:30] for name in ODD_NAMES]


def check_path(request: Request, *segments: str) -> None:
    """The path names exactly these, to whoever reads a path rightly."""
    assert request.target.isascii() if hasattr(str, "isascii") else request.target.encode("ascii")
    assert not set(request.target) & set("?#\\\r\n \t")
    parts = request.target.split("/")
    assert not set(parts) & {".", ".."}
    assert [unquote(part, errors="strict") for part in parts] == ["", "v2", *segments]


def check_only_request(server: Server, before: int = 0) -> Request:
    assert server.wait_closed(LONG) and server.connections == len(server.requests) == before + 1
    request = server.requests[-1]
    assert request.head.count(b"\r\n\r\n") == 1
    assert {name.lower() for name, _ in request.headers} <= {
        "host", "user-agent", "accept", "accept-encoding", "connection", "content-type", "content-length",
        "authorization", "cache-control"}
    return request


@pytest.mark.parametrize("name", ODD_NAMES, ids=ids)
def test_the_path_that_arrives_names_what_was_given(name: str) -> None:
    """Or the name is refused before anything is sent."""
    def outcome(call: Callable[[], Any]) -> bool:
        result = timed(call).outcome
        if isinstance(result, BaseException):
            failed(result, *REFUSALS)
        return not isinstance(result, BaseException)

    def from_client(account: str, service: str) -> Callable[[str], Any]:
            return lambda url: Jamsocket(account, service, TOKEN, api_url=url).connect({}, timeout=LONG)

    calls: Dict[str, Tuple[Callable[[str], Any], Sequence[str]]] = {
        "account": (from_client(name, "board"), ("service", name, "board", "connect")),
        "service": (from_client("acme", name), ("service", "acme", *name.split("/"), "connect")),
        "environment": (from_client("acme", "board/" + name),
                        ("service", "acme", "board", *name.split("/"), "connect")),
        "status": (lambda url: client(url).status(name), ("backend", name, "status")),
        "terminate": (lambda url: client(url).terminate(name), ("backend", name, "terminate")),
        "terminate, by an answer": (lambda url: client(url).terminate(connected(url, backend_id=name)),
                                    ("backend", name, "terminate")),
    }
    with Server() as server:
        server.script = [answer({**connected(server.url).to_dict(), **state("ready")})]
        for what, (call, segments) in calls.items():
            before = server.connections
            if outcome(lambda: call(server.url)):
                check_path(check_only_request(server, before), *segments)
                assert len(segments) <= 5
            else:
                assert server.connections == before, what
    record("names of odd characters", "each arrived as it was given, or nothing was sent")


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if name not in ("..", ".", "\ud800")])
def test_an_id_of_any_text_can_be_asked_for(name: str) -> None:
    with Server([answer(READY)]) as server:
        assert client(server.url).status(name).is_ready


@pytest.mark.parametrize("name", ["account", "service", "token"])
def test_credentials_that_no_request_can_carry_are_a_configuration_error(name: str) -> None:
    for value in ("", "..", "\ud800", None, 7, b"bytes") if name != "token" else ("", None, 7, b"x", "\ud800"):
        given: Dict[str, Any] = {"account": "acme", "service": "board", "token": TOKEN, name: value}
        failure(lambda: Jamsocket(**given), ConfigurationError)


@pytest.mark.parametrize("name", ODD_NAMES, ids=ids)
def test_a_token_arrives_as_it_is_or_is_refused(name: str) -> None:
    token = "secret-" + name + "-token"
    if not all(0x21 <= ord(character) < 0x7F for character in token):
        error = failure(lambda: Jamsocket("acme", "board", token), ConfigurationError)
        assert "secret-" not in str(error)
        return
    with Server() as server:
        server.script = [answer(connected(server.url).to_dict())]
        Jamsocket("acme", "board", token, api_url=server.url).connect()
        assert check_only_request(server).header("Authorization") == "Bearer " + token


@pytest.mark.parametrize("name", ODD_NAMES, ids=ids)
def test_keys_and_env_arrive_as_they_are_or_are_refused(name: str) -> None:
    documents: List[Dict[str, Any]] = [
        {"key": name}, {"user": name}, {"auth": {name: [name]}},
        {"key": "k", "spawn": {"tag": name, "executable": {"env": {"NAME": name}}}},
        {"key": "k", "spawn": {"executable": {"env": {name: "value"}}}}]
    with Server() as server:
        server.script = [answer(connected(server.url).to_dict())]
        for document in documents:
            before = server.connections
            outcome = timed(lambda: client(server.url).connect(document)).outcome
            if isinstance(outcome, ConnectResponse):
                request = check_only_request(server, before)
                assert request.json() == document
                request.body.decode("ascii")
                assert request.target == "/v2/service/acme/board/connect"
            else:
                failed(outcome, ValidationError)
                assert server.connections == before


# ---------------------------------------------------------------------------------------------------------------------
# Statuses
# ---------------------------------------------------------------------------------------------------------------------

class Told(NamedTuple):
    body: bytes
    kind: Optional[str]
    message: str  # is in the error's text
    code: Optional[str]
    request_id: Optional[str]


def platform_error(status: int) -> Dict[str, Any]:
    return {"error": {"message": "No such thing", "status": status, "code": "SUCH_CODE", "id": "request-1"}}


PLANE_ERROR = {"id": "plane-1", "kind": "KeyHeld", "message": "It is held"}


def bodies(status: int) -> Dict[str, Told]:
    return {
        "platform": Told(json.dumps(platform_error(status)).encode(), "application/json", "No such thing", "SUCH_CODE",
                         "request-1"),
        "plane": Told(json.dumps(PLANE_ERROR).encode(), "application/json; charset=utf-8", "It is held", "KeyHeld",
                      "plane-1"),
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
    assert (error.status, error.code, error.request_id, error.retry_after) == (status, told.code, told.request_id, None)
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
            check_status(server, status, list(bodies(status).values())[status % 5], calls[status % 3])


@each_call
@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 409, 429, 500, 502, 503, 600, 999])
def test_an_error_carries_what_the_server_said(status: int, call: Call) -> None:
    with Server() as server:
        for told in bodies(status).values():
            check_status(server, status, told, call)


ODD_ERRORS: Dict[str, Any] = {
    "an error that is null": {"error": None}, "an error that is text": {"error": "it broke"},
    "an error that is a list": {"error": [1, 2]}, "a message that is a number": {"error": {"message": 7}},
    "a code that is a list": {"error": {"message": "m", "code": [], "id": {}}}, "a list": [1], "null": None,
    "a string": "it broke", "a number": 7, "an empty object": {}, "an error in an error": {"error": {"error": {}}},
    "a message of many lines": {"error": {"message": "a\r\nb\0\x1b[31m\u202e" * 100}},
    "a message of a megabyte": {"error": {"message": "m" * MIB}},
    "a lone surrogate": {"error": {"message": "\ud800", "code": "\udfff", "id": "\ud800"}},
    "deep lists": [[[[[]]]]] * 3,
    "a code of many lines": {"error": {"message": "m", "code": "A\nB" * 1000, "id": "\r\n" * 1000}},
}


@pytest.mark.parametrize("weather", list(ODD_ERRORS))
def test_an_odd_error_is_an_http_error_all_the_same(weather: str) -> None:
    with Server() as server:
        for body in (json.dumps(ODD_ERRORS[weather]).encode(), repr(ODD_ERRORS[weather]).encode("utf-8", "replace")):
            server.script = [answer(body, 502)]
            error = failure(lambda: call_connect(server.url), HTTPError)
            assert error.status == 502
            assert error.code is None or type(error.code) is str
            assert error.request_id is None or type(error.request_id) is str


@pytest.mark.parametrize("body", [b"[" * 60000, b"\xff\xfe\0", b'{"error":{"message":' + b"1" * 60000 + b"}}"],
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


NOW = 1e9  # far from any year that matters
RETRY_AFTER: Dict[str, Tuple[str, Optional[float]]] = {
    "seconds": ("7", 7.0), "zero": ("0", 0.0), "a fraction": ("0.493", 0.493), "with space": (" 12 ", 12.0),
    "many seconds": ("86400", 86400.0),
    "a past date": ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    "an old kind of date": ("Wednesday, 21-Oct-15 07:28:00 GMT", 0.0),
}
NO_RETRY_AFTER: Dict[str, str] = {
    "garbage": "soon", "nothing": "", "negative": "-5", "nan": "nan", "inf": "inf", "minus inf": "-inf",
    "an exponent": "1e999", "hexadecimal": "0x10", "underscores": "1_0", "other digits": "²",
    "two": "7, 8", "the 32nd": "Wed, 32 Oct 2015 07:28:00 GMT", "half a date": "Wed, 21 Oct", "colons": ":::::",
    "the year 99999": "Wed, 21 Oct 99999 07:28:00 GMT", "the year 0": "Wed, 21 Oct 0000 07:28:00 GMT",
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
    with Server([answer(b"", 429, [("Retry-After", formatdate(time.time() + 100, usegmt=True))])]) as server:
        retry_after = failure(lambda: call_connect(server.url), RateLimitError).retry_after
        assert retry_after is not None and 80 < retry_after <= 100


@pytest.mark.parametrize("weather", list(NO_RETRY_AFTER))
def test_a_strange_retry_after_is_finite_and_not_negative_or_none(weather: str) -> None:
    with Server([answer(b"", 429, [("Retry-After", NO_RETRY_AFTER[weather])])]) as server:
        retry_after = failure(lambda: call_connect(server.url), RateLimitError).retry_after
        assert retry_after is None or type(retry_after) is float and 0.0 <= retry_after < float("inf")
    record("Retry-After: " + weather, str(retry_after))
    if weather in ("garbage", "nothing", "nan", "hexadecimal"):
        assert retry_after is None


# ---------------------------------------------------------------------------------------------------------------------
# Secrets
# ---------------------------------------------------------------------------------------------------------------------

# What each call knows to be a secret, and a server may repeat.
KNOWN: Dict[str, Sequence[str]] = {
    "connect": (TOKEN, ENV_VALUE, *ENV_LINES, AUTH_VALUE, str(AUTH_NUMBER)),
    "status": (BACKEND_TOKEN, SECRET_TOKEN, URL_PATH, READY_PATH),
    "terminate": (TOKEN, BACKEND_TOKEN, SECRET_TOKEN, URL_PATH, READY_PATH),
}


def echoes(secrets: Sequence[str]) -> Dict[str, Callable[[int], bytes]]:
    """Answers with a status that repeat what they were told."""
    all_of_it = "; ".join(secrets)
    escaped = "".join("\\u%04x" % ord(character) for character in all_of_it)
    text = [("Content-Type", "text/plain")]
    return {
        "plain text": lambda status: answer(all_of_it.encode(), status, text),
        "no content type": lambda status: answer(b"Authorization: Bearer " + all_of_it.encode(), status),
        "each alone": lambda status: answer("\n".join("no: '%s'" % one for one in secrets).encode(), status, text),
        "the platform's message": lambda status: answer({"error": {
            "message": "not allowed: " + all_of_it, "status": status, "code": "X", "id": "r1"}}, status),
        "its code and id": lambda status: answer({"error": {
            "message": "no", "status": status, "code": all_of_it, "id": all_of_it[::1]}}, status),
        "Plane's": lambda status: answer({"id": all_of_it, "kind": all_of_it, "message": all_of_it}, status),
        "escaped JSON": lambda status: answer(('{"error":{"message":"%s"}}' % escaped).encode(), status),
        "a JSON string": lambda status: answer(all_of_it, status),
        "the reason": lambda status: answer(b"", status, reason=all_of_it),
        "a header": lambda status: answer(b"", status, [("Location", all_of_it), ("Retry-After", all_of_it)]),
        "a url": lambda status: answer(("see https://%s@x.example.test/%s?q=%s" % (
            secrets[0], secrets[-1], secrets[0])).encode(), status, text),
        "capitals": lambda status: answer(all_of_it.upper().encode(), status, text),
        "far behind": lambda status: answer(b"x" * 180 + all_of_it.encode(), status, text),
        "a document of the wrong shape": lambda status: answer({
            "status": secrets, "time": {secrets[0]: secrets}, "backend_id": {}, secrets[0]: secrets}, status),
        "a document that is not JSON": lambda status: answer(b'{"status": ' + all_of_it.encode(), status),
        "a page": lambda status: answer(b"<html>" + all_of_it.encode(), status, [("Content-Type", "text/html")]),
        "a content type": lambda status: answer(b"{}", status, [("Content-Type", all_of_it),
                                                                ("Content-Encoding", all_of_it)]),
    }


@each_call
@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
def test_no_error_shows_a_secret_that_the_server_repeats(status: int, call: Call) -> None:
    """Every text of every error is searched by `failure`, with its whole chain."""
    name = name_of(call)
    with Server() as server:
        for make in echoes(KNOWN[name]).values():
            server.script = [make(status)]
            outcome = timed(lambda: call(server.url)).outcome
            if outcome is not None or name != "terminate":  # to that call any JSON is good
                look_over(outcome)
    record("secrets repeated with status %d, %s" % (status, name), "searched every text, found none")


@each_call
def test_no_part_of_a_secret_shows_where_an_echo_is_cut(call: Call) -> None:
    """By the server, or by our own limits."""
    for secret in KNOWN[name_of(call)]:
        half = secret[:len(secret) * 3 // 4]
        for body in (b" " * (64 * 1024 - len(half)) + secret.encode() + b"tail", b"no: " + half.encode()):
            head = b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n" + length(99999)
            with Server([head + body]) as server:
                error = failure(lambda: call(server.url), HTTPError)
                assert half not in str(error), "a cut echo shows " + half[:4]


COMMANDS: Dict[str, List[str]] = {
    "connect": ["connect", "--env", "API_KEY=" + ENV_VALUE, "--auth", json.dumps({"session": AUTH_VALUE})],
    "terminate": ["terminate", "b4ckend"], "wait": ["wait", "--timeout", "5", "b4ckend"],
}


def test_the_command_line_shows_no_secret_that_the_server_repeats() -> None:
    """In neither of its outputs, with whatever error it ends."""
    def job(command: str, how: str, status: int) -> Callable[[], None]:
        told = (TOKEN, ENV_VALUE, AUTH_VALUE) if command == "connect" else (TOKEN,)

        def run() -> None:
            with Server([echoes(told)[how](status)]) as server:
                environment = {**os.environ, "JAMSOCKET_ACCOUNT": "acme", "JAMSOCKET_SERVICE": "board",
                               "JAMSOCKET_TOKEN": TOKEN, "JAMSOCKET_API_URL": server.url}
                done = subprocess.run([sys.executable, jamsocket_lite.__file__, *COMMANDS[command]], env=environment,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      timeout=60)
            assert done.returncode == (3 if status == 401 else 1) and done.stdout == b""
            assert not [secret for secret in told if secret.encode() in done.stderr]
            assert done.stderr.count(b"\n") == 1 and b"Traceback" not in done.stderr
        return run

    cases = (("connect", "plain text", 401), ("terminate", "Plane's", 404), ("wait", "the platform's message", 401))
    together({"%s: %s" % (command, how): job(command, how, status) for command, how, status in cases}, 2)


def test_a_broken_request_shows_no_secret() -> None:
    """ValidationError tells the place and the kind, not the value."""
    for document in ({"key": [TOKEN]}, {"auth": {"x": {TOKEN}}}, {"spawn": {"executable": {"env": {"X": [ENV_VALUE]}}}},
                     {"spawn": {"executable": {"env": {"X": ENV_VALUE + "\0"}}}}, {"user": TOKEN.encode()},
                     {"spawn": {"tag": TOKEN + "\ud800"}}, {"key": TOKEN * 20}, {"auth": [AUTH_VALUE]},
                     {"auth": {"x": AUTH_VALUE + "\ud800"}}, {"auth": {"number": AUTH_NUMBER * 10 ** 30}}):
        failure(lambda: client("http://127.0.0.1:1").connect(document), ValidationError)


def test_bad_weather_prints_and_logs_nothing(capfd: pytest.CaptureFixture[str],
                                             caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    for steps in (stays(WRONG["an HTML page"]), [Reset()], [answer(b"no", 500)], [HEAD], [answer(b"", 302)]):
        for call in SINGLE.values():
            with Server(steps) as server:
                look_over(timed(lambda: call(server.url)).outcome)
    assert capfd.readouterr() == ("", "") and not caplog.records
