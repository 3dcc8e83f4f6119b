"""Recordings mutated byte by byte, and cut into pieces on their way."""

import random
from typing import Any, Dict, Optional, Sequence

from dev.fuzzing.cases import Case, Failure, check_outcome
from dev.fuzzing.recordings import SINGLE, STREAM, refusal
from kit.platforms import is_stream, state
from kit.secrets import TOKEN
from kit.server import Action, Peer, Request, Reset, Silence, Step, answer, event, stream_head

WORDS: Sequence[bytes] = [
    b"", b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b":", b" ", b"\t", b"-", b"0",
    b"9" * 30, b"ffffffffffffffff", b"-1", b"1e999", b"NaN", b"null", b"true", b"{}", b"[]",
    b"[" * 5000, b'"', b"\\", b"\\ud800", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80",
    b"\xe2\x80\xa8", b"\x1b[31m", b"data:", b"data", b"id:", b"event:x\n",
    b"retry:99999999999999999999\n", b": x\n", TOKEN.encode(),
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n", b"Location: file:///etc/passwd\r\n", b"Age: 15\r\n",
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"5;x=y\r\nhello\r\n", b"Retry-After: 0.01\r\n",
    b"Content-Type: text/event-stream\r\n", b"X: " + b"y" * 70000 + b"\r\n", b"X: y\r\n" * 200,
    b"x" * 140000, b'"status":"terminated",', b'"status":"dreaming",', b'"time":0,',
    b'"time":' + b"1" * 5000 + b",",
]


def mutate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5, 10))):
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + rng.choice((1, 1, 2, 4, 16, 64, 256)))
        kind = rng.randrange(10)
        if kind < 3 and place < len(data):  # another byte
            flipped = data[place] ^ 1 << rng.randrange(8)
            byte = rng.choice((rng.randrange(256), flipped, rng.choice(b"\r\n:{}[]\"0 ")))
            data = data[:place] + bytes([byte]) + data[place + 1:]
        elif kind == 3:
            data = data[:place] + data[end:]
        elif kind == 4:
            data = data[:end] + data[place:]
        elif kind < 7:
            data = data[:place] + rng.choice(WORDS) + data[place if rng.random() < 0.5 else end:]
        elif kind == 7:
            data = data[:place]
        elif kind == 8:
            other = rng.choice(others)
            data = data[:place] + other[rng.randrange(len(other)):]
        else:
            data = data[:place] + data[place:end] * rng.randrange(2, 40) + data[end:]
    return data


class Pieces(Action):
    """Sends bytes in pieces of their own, as the network may deliver them."""

    def __init__(self, pieces: Sequence[bytes], pause: float) -> None:
        self.pieces, self.every = pieces, pause

    def run(self, peer: Peer) -> None:
        for piece in self.pieces:
            peer.send(piece)
            if self.every:
                peer.pause(self.every)


def cut(rng: random.Random, data: bytes) -> Pieces:
    kind = rng.randrange(4)
    if kind == 0 and len(data) < 2000:
        return Pieces([bytes([byte]) for byte in data], 0.0)
    if kind == 1:  # few, each arrives alone, and many begin where a line ends
        ends = [place for place, byte in enumerate(data, 1) if byte in b"\r\n"] or [0]
        places = sorted(rng.choice(ends) if rng.random() < 0.6 else rng.randrange(len(data) + 1)
                        for _ in range(rng.randrange(1, 8)))
        return Pieces([data[start:end] for start, end in zip([0, *places], [*places, len(data)])],
                      0.002)
    size = rng.choice((1, 2, 3, 7, 100, 1000)) if len(data) < 5000 else 4096
    return Pieces([data[start:start + size] for start in range(0, len(data), size)], 0.0)


ENDS: Dict[str, Step] = {"close": b"", "reset": Reset(), "silence": Silence()}
# What the status call says where the stream is mutated.
STATUS: Dict[str, Sequence[Step]] = {
    "silence": [Silence()],
    "ready": [answer(state("ready"))],
    "terminated": [answer(state("terminated"))],
    "503": [answer(b"", 503)],
    "404": [refusal("Backend not found", 404)],
}


class Mutation(Case):
    """A mutated answer, or in a wait and a stream a mutated stream or status answer."""

    kind = "mutation"

    def __init__(self, call: str, target: str, data: bytes, ends: str, status: str,
                 pieces: Pieces) -> None:
        self.call, self.target, self.data, self.ends = call, target, data, ends
        self.status, self.pieces = status, pieces
        # Those that wait get more time only where something else ends the call.
        self.deadline = 0.4 if ends == "silence" else 2.0
        self._streams = 0

    def __repr__(self) -> str:
        return "a %s whose %s is %d bytes %r, then %s; status %s" % (
            self.call, self.target, len(self.data), self.data[:3000], self.ends, self.status)

    def steps(self, request: Request) -> Sequence[Step]:
        mutated = [self.pieces, ENDS[self.ends]]
        if self.target == "answer":
            return mutated
        if is_stream(request):
            # It is mutated once; when it is opened again, it is over.
            self._streams += 1
            if self._streams == 1 and self.target == "stream":
                return mutated
            return [stream_head() + event(state("terminated")), Silence()]
        return mutated if self.target == "status" else STATUS[self.status]

    def check(self, outcome: Any) -> None:
        check_outcome(self.call, outcome)
        if self.call == "wait" and not isinstance(outcome, BaseException):
            if self.target == "stream" and self.status != "ready":
                raise Failure("ready, which the status call did not say")

    def otherwise(self) -> Optional[Case]:
        """The same in one piece; not of a wait, in which the two channels race."""
        if self.ends != "close" or self.call == "wait" or self.target == "status":
            return None
        if self.call == "stream" and self.status != "silence":
            return None
        return Mutation(self.call, self.target, self.data, self.ends, self.status,
                        Pieces([self.data], 0.0))


def make(rng: random.Random) -> Mutation:
    call = rng.choice(("connect", "status", "terminate", "wait", "stream", "stream"))
    target = "answer"
    if call in ("wait", "stream"):
        target = rng.choice(("stream", "stream", "stream", "status"))
    recorded = STREAM if target == "stream" and rng.random() < 0.9 else SINGLE
    data = mutate(rng, rng.choice(recorded), SINGLE + STREAM)
    ends = rng.choice(("close",) * 12 + ("reset", "silence"))
    status = rng.choice(list(STATUS)) if call == "wait" or rng.random() < 0.2 else "silence"
    return Mutation(call, target, data, ends, status, cut(rng, data))
