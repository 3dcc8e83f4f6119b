"""Event streams that say exactly what they are told, seen through `status_stream`.

A status that this version does not know is yielded as it came, so each event of a test carries a
word of its own."""

import time
from typing import Any, List, NamedTuple, Optional, Sequence

from kit.deadlines import LONG
from kit.noise import lateness
from kit.platforms import ID, Api, in_turn, statuses
from kit.server import Request, Server, Step, event, stream_head

BOM = b"\xef\xbb\xbf"


def word(status: str, **fields: Any) -> bytes:
    """An event with that status."""
    return event({"status": status, "time": "t"}, **fields)


def line(status: str, end: bytes = b"\n") -> bytes:
    """Its data line alone."""
    return word(status).split(b"\n")[0] + end


END = word("terminated")


class Heard(NamedTuple):
    statuses: List[str]
    ids: List[Optional[str]]  # the Last-Event-ID of each opening
    requests: List[Request]  # those that open the stream


def listen(api: Api, *openings: Sequence[Step], timeout: Optional[float] = LONG) -> Heard:
    """All that a stream yields whose openings are answered so, until it is `terminated`. An opening
    is given up after two seconds: where the machine was so late it is listened to again."""
    for _ in range(5):
        begun = time.monotonic()
        found = _listen(api, openings, timeout)
        if lateness(begun, time.monotonic()) < 1.0:
            break
    return found


def _listen(api: Api, openings: Sequence[Sequence[Step]], timeout: Optional[float]) -> Heard:
    with Server(api.channels(in_turn(*openings))) as server:
        heard = statuses(list(api.client(server.url).status_stream(ID, timeout=timeout)))
        assert server.wait_closed(LONG)
        opened = [request for request in server.requests if request.target == api.stream_target()]
    return Heard(heard, [request.header("Last-Event-ID") for request in opened], opened)


def heard(api: Api, *bodies: bytes) -> List[str]:
    """What these bodies yield, one after the other. The last is followed by the end, which is left
    out here."""
    openings = [[stream_head(), body] for body in (*bodies[:-1], bodies[-1] + END)]
    found = listen(api, *openings)
    assert found.statuses[-1] == "terminated" and len(found.requests) == len(bodies)
    return found.statuses[:-1]
