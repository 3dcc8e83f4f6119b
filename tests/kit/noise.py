"""How late the machine itself is, while something else is measured on it."""

import threading
import time
from typing import List, Tuple

__all__ = ["Noise"]


class Noise(threading.Thread):
    """A thread that wants nothing but to wake up in time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0
        self.late: List[Tuple[float, float]] = []  # when it should have woken, and when it did
        self._over = threading.Event()

    def run(self) -> None:
        while True:
            begun = time.monotonic()
            if self._over.wait(0.05):
                return
            due, now = begun + 0.05, time.monotonic()
            self.most = max(self.most, now - due)
            if now - due > 0.05:
                self.late.append((due, now))

    def between(self, begun: float, ended: float) -> float:
        """For how much of that time it slept on. Known for sure only a while after."""
        return sum(max(0.0, min(now, ended) - max(due, begun)) for due, now in self.late)

    def stop(self) -> None:
        self._over.set()
        self.join()
