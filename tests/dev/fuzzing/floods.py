"""Floods: bytes without end, at each place of an answer and of a stream, in pieces of each size."""

import random
from typing import Dict, Sequence, Tuple

from dev.fuzzing.cases import Case
from dev.fuzzing.recordings import refusal
from kit.platforms import is_stream, state
from kit.server import (Action, Peer, Repeat, Request, Silence, Step, answer, chunk, event,
                        stream_head)

JSON = b"Content-Type: application/json\r\n"
EVENTS = b"Content-Type: text/event-stream\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

# What comes first, and what then comes again and again.
Flood = Tuple[bytes, bytes]


def anywhere(kind: bytes) -> Dict[str, Flood]:
    return {
        "a status line": (b"HTTP/1.1 200 O", b"K"),
        "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "interim headers": (b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n"),
        "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        "headers": (OK, b"X: y\r\n"),
        "one header": (OK + b"X: ", b"y"),
        "folded lines": (OK + b"X: y\r\n", b" z\r\n"),
        "small chunks": (OK + kind + CHUNKED, b"1\r\n \r\n"),
        "chunk extensions": (OK + kind + CHUNKED, b"1;" + b"x" * 1000 + b"\r\n \r\n"),
        "one extension": (OK + kind + CHUNKED + b"1;", b"x"),
        "a chunk's size": (OK + kind + CHUNKED, b"0"),
        "trailers": (OK + kind + CHUNKED + chunk(b" ") + b"0\r\n", b"X: y\r\n"),
        "one trailer": (OK + kind + CHUNKED + chunk(b" ") + b"0\r\nX: ", b"y"),
        "blanks": (OK + kind + b"\r\n", b" "),
        "line feeds": (OK + kind + b"\r\n", b"\n"),
        "carriage returns": (OK + kind + b"\r\n", b"\r"),
    }


OF_ANSWERS: Dict[str, Flood] = {
    **anywhere(JSON),
    "digits": (OK + JSON + b"\r\n", b"1"),
    "brackets": (OK + JSON + b"\r\n", b"["),
    "an error's body": (b"HTTP/1.1 500 No\r\n" + JSON + b"\r\n", b" "),
    "behind the answer": (answer(state("ready")), b"x"),
}
OF_STREAMS: Dict[str, Flood] = {
    **anywhere(EVENTS),
    "comments": (stream_head(), b":\n\n"),
    "chunked comments": (stream_head(True), chunk(b":\n\n")),
    "one comment": (stream_head() + b":", b"x"),
    "events": (stream_head(), event(state("starting"))),
    "unknown events": (stream_head(), b'data:{"status":"dreaming","time":""}\n\n'),
    "other events": (stream_head(), b"event:x\ndata:y\n\n"),
    "broken events": (stream_head(), b"data:{\n\n"),
    "data lines": (stream_head(), b"data:x\n"),
    "empty data lines": (stream_head(), b"data\n"),
    "one data line": (stream_head() + b"data:", b"x"),
    "ids": (stream_head(), b"id:1\n\n"),
    "one id": (stream_head() + b"id:", b"x"),
    "retries": (stream_head(), b"retry:1\n\n"),
    "events without an end": (stream_head(True), chunk(event(state("waiting")))),
}
# What the other channel of a wait or a stream does meanwhile.
MEANWHILE: Dict[str, Tuple[Sequence[Step], Sequence[Step]]] = {  # as a stream, as a status call
    "silent": ([Silence()], [Silence()]),
    "refused": ([refusal("No", 503)], [refusal("No", 503)]),
    "well": ([stream_head() + event(state("starting")), Silence()], [answer(state("starting"))]),
}


class Bytes(Action):
    """Sends one byte at a time, without an end."""

    def __init__(self, unit: bytes, pause: float) -> None:
        self.unit, self.every = unit, pause

    def run(self, peer: Peer) -> None:
        while True:
            for byte in self.unit:
                peer.send(bytes([byte]))
                if self.every:
                    peer.pause(self.every)


class Flooded(Case):
    """A call with a deadline of 0.3 s, which a flood does not move."""

    kind = "flood"
    deadline = 0.3

    def __init__(self, call: str, target: str, name: str, flood: Flood, how: str, pause: float,
                 meanwhile: str) -> None:
        self.call, self.target, self.name, self.flood = call, target, name, flood
        self.how, self.pause, self.meanwhile = how, pause, meanwhile

    def __repr__(self) -> str:
        return "a %s whose %s is flooded with %s, in %s, %.3f s apart, the other channel %s" % (
            self.call, self.target, self.name, self.how, self.pause, self.meanwhile)

    def steps(self, request: Request) -> Sequence[Step]:
        streaming = is_stream(request)
        if self.target != "answer" and streaming != (self.target == "stream"):
            return MEANWHILE[self.meanwhile][0 if streaming else 1]
        first, unit = self.flood
        if self.how == "bytes":
            return [first, Bytes(unit, self.pause)]
        times = {"units": 1, "blocks": 1 + 16384 // len(unit)}[self.how]
        return [first, Repeat(unit * times, pause=self.pause)]


def make(rng: random.Random) -> Flooded:
    call = rng.choice(("connect", "status", "terminate", "wait", "stream"))
    target = rng.choice(("stream", "status")) if call in ("wait", "stream") else "answer"
    floods = OF_STREAMS if target == "stream" else OF_ANSWERS
    name = rng.choice(list(floods))
    return Flooded(call, target, name, floods[name], rng.choice(("bytes", "units", "blocks")),
                   rng.choice((0.0, 0.0, 0.001, 0.01)), rng.choice(list(MEANWHILE)))
