"""The steps of a scripted server that do more than to send some bytes."""

import threading
from typing import Callable, Optional, Sequence, Union

from kit.peers import TICK, Gone, Peer, Request, read_request


class Action:
    """A step that does more than to send some bytes."""

    def run(self, peer: Peer) -> None:
        raise NotImplementedError


class _AtOnce(Action):
    def run(self, peer: Peer) -> None:
        pass


at_once = _AtOnce()  # at the beginning of a list: do not wait for the request


class Read(Action):
    """Read the request, which a list that begins with `at_once` has not done. It is not
    recorded."""

    def run(self, peer: Peer) -> None:
        read_request(peer)


class Drain(Action):
    """Read and throw away whatever comes until the client closes."""

    def run(self, peer: Peer) -> None:
        while True:
            peer.receive()


class Pause(Action):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, peer: Peer) -> None:
        peer.pause(self.seconds)


class Dribble(Action):
    """Send one byte at a time, and pause after each."""

    def __init__(self, data: bytes, every: float = 0.2) -> None:
        self.data, self.every = data, every

    def run(self, peer: Peer) -> None:
        peer.dribble(self.data, self.every)


class Repeat(Action):
    """Send the same again and again, for ever where no number of times is given."""

    def __init__(self, data: bytes, times: Optional[int] = None, pause: float = 0.0) -> None:
        self.data, self.times, self.every = data, times, pause

    def run(self, peer: Peer) -> None:
        sent = 0
        while self.times is None or sent < self.times:
            peer.send(self.data)
            sent += 1
            if self.every:
                peer.pause(self.every)


class Wait(Action):
    """Go on when the event is set."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def run(self, peer: Peer) -> None:
        while not self.event.wait(TICK):
            peer.pause(0)


class Silence(Action):
    """Keep the connection open, without a byte, until one of the two sides closes it."""

    def run(self, peer: Peer) -> None:
        peer.pause(None)


class Close(Action):
    """Close in an orderly way; `notify=False` leaves out TLS's goodbye, as a cut connection
    does."""

    def __init__(self, notify: bool = True) -> None:
        self.notify = notify

    def run(self, peer: Peer) -> None:
        peer.close(self.notify)
        raise Gone


class Reset(Action):
    """Close so that the client sees a reset."""

    def run(self, peer: Peer) -> None:
        peer.reset()
        raise Gone


Step = Union[bytes, Action, Callable[[], Optional[bytes]]]
Script = Union[Sequence[Step], Callable[[Request], Sequence[Step]]]


def run(steps: Sequence[Step], peer: Peer) -> None:
    for step in steps:
        if isinstance(step, Action):
            step.run(peer)
            continue
        data = step if isinstance(step, bytes) else step()
        if data is not None:
            peer.send(data)
