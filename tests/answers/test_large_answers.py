"""Too much: it is left at once and named, and takes no memory."""

import json
import os
import re
import subprocess
import sys
from typing import Dict, List, NamedTuple, Sequence, Tuple, Type

import pytest

from conftest import ROOT
from jamsocket_lite import HTTPError, JamsocketError, ProtocolError
from kit.answers import CHUNKED, HEAD, length
from kit.calls import LASTING, Call
from kit.deadlines import LONG, record
from kit.platforms import channels, connected, events, is_stream, state, streamed, told
from kit.secrets import failure
from kit.server import Close, Repeat, Request, Script, Server, Step, answer, chunk, stream_head

pytestmark = pytest.mark.usefixtures("nothing_left")

MIB = 1 << 20
GIB = 1 << 30
K16 = b"x" * 16384


class Much(NamedTuple):
    steps: List[Step]
    kind: Type[JamsocketError]
    says: str  # what the error calls too large


TOO_MUCH: Dict[str, Much] = {
    "an endless body": Much([HEAD + b"\r\n", Repeat(K16)], ProtocolError, "answer"),
    "an endless body with a length": Much([HEAD + length(10 ** 15), Repeat(K16)], ProtocolError,
                                          "answer"),
    "endless chunks": Much([HEAD + CHUNKED, Repeat(chunk(K16))], ProtocolError, "answer"),
    "an endless chunk": Much([HEAD + CHUNKED + b"fffffffffff\r\n", Repeat(K16)], ProtocolError,
                             "answer"),
    "an endless chunk size": Much([HEAD + CHUNKED, Repeat(b"0" * 16384)], ProtocolError, "chunk"),
    "an endless chunk extension": Much([HEAD + CHUNKED + b"5;", Repeat(K16)], ProtocolError,
                                       "chunk"),
    "an endless status line": Much([b"HTTP/1.1 200 ", Repeat(K16)], ProtocolError,
                                   "header|status line"),
    "an endless line": Much([Repeat(K16)], ProtocolError, "header|status line"),
    "an endless header": Much([HEAD + b"X-Long: ", Repeat(K16)], ProtocolError, "header"),
    "ten thousand headers": Much([HEAD + b"".join(b"X-Header-%d: %d\r\n" % (n, n) for n
                                                  in range(10000)) + b"\r\n"],
                                 ProtocolError, "header"),
    "headers without end": Much([HEAD, Repeat(b"X-Header: x\r\n" * 1000)], ProtocolError, "header"),
    "interim answers without end": Much([Repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)],
                                        ProtocolError, "answer"),
    "one byte more than an answer may have": Much([answer(b"[" + b" " * (128 * 1024 - 1) + b"]")],
                                                  ProtocolError, "answer"),
    "an error answer of a gigabyte": Much(
        [b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n" + length(GIB),
         Repeat(K16, GIB // 16384)], HTTPError, ""),
    "an error answer of a gigabyte in chunks": Much(
        [b"HTTP/1.1 500 Oops\r\n" + CHUNKED, Repeat(chunk(K16), GIB // 16384)], HTTPError, ""),
    "a redirect's endless body": Much([b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Repeat(K16)],
                                      ProtocolError, ""),
}


@pytest.mark.parametrize("weather", list(TOO_MUCH))
def test_what_is_too_large_is_left_at_once_and_named(weather: str, single: Call) -> None:
    much = TOO_MUCH[weather]
    with Server(much.steps) as server:
        error = failure(lambda: single(server.url), much.kind)
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


# A call, and the script that answers it.
Row = Tuple[str, Script]
MEMORY: Dict[str, Row] = {}
for _name, _much in TOO_MUCH.items():
    MEMORY[_name] = ("status", _much.steps)
for _name, _body in MOST_EXPENSIVE.items():
    MEMORY["128 KiB of " + _name] = ("connect", [answer(_body)])
    MEMORY["an error of 128 KiB of " + _name] = ("connect", [answer(_body, 500)])
    MEMORY["events of " + _name] = (
        "stream", stream_of(Repeat(b"data:" + _body[:FULL - 100] + b"\n\n", 8),
                            events("terminated")))
MEMORY.update({
    "a body in chunks of one byte": ("status", [HEAD + CHUNKED, b"1\r\nx\r\n" * FULL]),
    "an event of a gigabyte, in one line": ("stream", endless_stream(b"data:", K16)),
    "an event of a gigabyte, in many lines": ("stream", endless_stream(b"data:x\n" * 2000)),
    "an event with a gigabyte of ids": ("stream", endless_stream(b"id:1\n" * 2000)),
    "an event of a gigabyte, in a wait": ("wait", endless_stream(b"data:", K16)),
    "a status answer of a gigabyte, in a wait": ("wait",
                                                 channels([Close()],
                                                          [HEAD + length(GIB), Repeat(K16)])),
    "states from the future": ("stream", stream_of(*(
        b"".join(b'data:{"status":"state-%d-%s","time":""}\n\n' % (n, b"x" * 2000) for n
                 in range(m, m + 50))
        for m in range(0, 5000, 50)), events("terminated"))),
})

# Each row has a process of its own, in which everything was used once before the measuring.
MEASURE = """
import json, os, re, sys
call, url, seconds, *sys.path[:0] = sys.argv[1:]
from jamsocket_lite import JamsocketError
from kit.calls import CALLS

def peak():
    with open("/proc/self/status") as file:
        return int(re.search("VmHWM:\\s*(\\d+) kB", file.read()).group(1)) * 1024

def use(call, url, seconds):
    try:
        CALLS[call](url, seconds)
        return "nothing"
    except JamsocketError as error:
        return type(error).__name__ + ": " + str(error)

for used in ("status", call):
    use(used, url + "/well", 60.0)
if os.fork():
    os.wait()
else:  # its peak begins with what it has
    before = peak()
    said = use(call, url, float(seconds))
    print(json.dumps([peak() - before, said]))
"""


def growth(row: Row, seconds: float) -> Tuple[int, str]:
    """How much the peak of a real process grew over a call of so many seconds, and what it said."""
    call, script = row

    def answered(request: Request) -> Sequence[Step]:
        if not request.target.startswith("/well/"):
            return script(request) if callable(script) else script
        if is_stream(request):
            return [streamed("ready", "terminated")]
        return [answer({**connected(server.url).to_dict(), **state("ready")})]

    paths = [str(ROOT / "tests")] + [str(ROOT)] * (not os.environ.get("JAMSOCKET_LITE_INSTALLED"))
    with Server(answered) as server:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, call, server.url, str(seconds), *paths],
            stdout=subprocess.PIPE, timeout=900)
    grew, said = json.loads(done.stdout.decode())
    return grew, said


on_linux = pytest.mark.skipif(sys.platform != "linux",
                              reason="a forked process has a peak of its own on Linux")
# JSON of small objects is the worst; before Python 3.8 an empty dict takes 240 bytes.
MOST = (8 if sys.version_info >= (3, 8) else 16) * MIB
QUICK = ("an endless body", "ten thousand headers", "an error answer of a gigabyte",
         "128 KiB of small objects", "128 KiB of objects of one key", "events of small lists",
         "an event of a gigabyte, in one line", "an event of a gigabyte, in a wait")


@on_linux
@pytest.mark.waits
@pytest.mark.parametrize("weather", [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in MEMORY])
def test_no_answer_and_no_event_takes_much_memory(weather: str) -> None:
    """Measured in a real process; the server is in this one."""
    row = MEMORY[weather]
    grew, said = growth(row, 2.0 if row[0] in LASTING else LONG)
    record("memory: " + weather, "grew by %.1f MiB; %s" % (grew / MIB, said[:90]))
    assert 0 <= grew <= MOST, "%.1f MiB" % (grew / MIB)
    if weather in TOO_MUCH:
        much = TOO_MUCH[weather]
        assert said.startswith(much.kind.__name__) and re.search(much.says, said), said


def much_of(part: bytes, size: int) -> Row:
    """A stream of so many bytes, all of which is read, since the state comes at its end."""
    return "stream", stream_of(Repeat(part, size // len(part)), events("terminated"))


PASSED_OVER: Dict[str, Row] = {
    "a gigabyte of garbage events": much_of(b"data:" + b"x" * 100000 + b"\n\n", GIB),
    "a gigabyte of comments": much_of(b":" + b"x" * 60000 + b"\n", GIB),
    "a hundred megabytes of small events": much_of(
        b"event:other\ndata:{}\n\n:\n" * 1000, 100 * MIB),
}


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("weather", PASSED_OVER)
def test_a_gigabyte_that_is_passed_over_takes_no_memory(weather: str) -> None:
    grew, said = growth(PASSED_OVER[weather], 500.0)
    record("memory: " + weather, "grew by %.1f MiB; %s" % (grew / MIB, said))
    assert 0 <= grew <= MOST and said == "nothing"
