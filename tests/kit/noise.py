"""How late the machine itself is, while something else is measured on it.

A run of the tests watches all of the time: `in_time` (see kit/deadlines.py) takes off what a call,
too, may have been late by.
"""

import threading
import time
from typing import List, Optional, Tuple

__all__ = ["Noise", "watch", "lateness"]

PAUSE = 0.02
# A test may put a clock of its own in its place.
_now = time.monotonic


class Noise(threading.Thread):
    """A thread that wants nothing but to wake up in time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0
        self.late: List[Tuple[float, float]] = []  # when it should have woken, and when it did
        self.latest = 0.0  # when it last woke
        self._over = threading.Event()

    def run(self) -> None:
        while True:
            begun = _now()
            if self._over.wait(PAUSE):
                return
            due, now = begun + PAUSE, _now()
            self.most = max(self.most, now - due)
            if now - due > 0.005:
                self.late.append((due, now))
            self.latest = now

    def between(self, begun: float, ended: float) -> float:
        """For how much of that time it slept on. Known for sure only a while after."""
        slept = 0.0
        for due, now in reversed(self.late):
            if now < begun:
                break
            slept += max(0.0, min(now, ended) - max(due, begun))
        return slept

    def stop(self) -> None:
        self._over.set()
        self.join()


_watching: Optional[Noise] = None


def watch() -> None:
    """From now on, until the process ends."""
    global _watching
    if _watching is None:
        _watching = Noise()
        _watching.start()


def lateness(begun: float, ended: float) -> float:
    """For how much of that time the machine was late; 0 where nothing watches."""
    if _watching is None:
        return 0.0
    until = _now() + 60.0
    while _watching.latest <= ended and _now() < until:
        time.sleep(PAUSE)
    return _watching.between(begun, ended)
