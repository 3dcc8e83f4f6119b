"""What a local platform knew, and when: whether a `ready` that a client returned was over by then.

    witness = Witness()
    watch(platform, witness.note)
    begun = time.monotonic()
    client.wait_until_ready(response)
    assert not witness.was_over(response.backend_id, begun, time.monotonic())
"""

import re
import time
from collections import defaultdict
from typing import Callable, DefaultDict, Dict, List

from local.local_platform import LocalPlatform, Request

__all__ = ["Note", "Witness", "watch"]

OVER = ("terminating", "hard-terminating", "terminated")

# A moment of time.monotonic(), a backend's id, and "asked" or a status.
Note = Callable[[float, str, str], None]


class Witness:
    def __init__(self) -> None:
        self._asked: DefaultDict[str, List[float]] = defaultdict(list)
        self._over: Dict[str, float] = {}

    def note(self, moment: float, id: str, what: str) -> None:
        if what == "asked":
            self._asked[id].append(moment)
        elif what in OVER:
            self._over.setdefault(id, moment)

    def was_over(self, id: str, begun: float, returned: float) -> bool:
        """Whether a wait that began and returned `ready` at these moments should not have: the
        backend had ended by then, and no status call of the time before that, and after the wait
        began, had reached the platform."""
        over = self._over.get(id)
        if over is None or over > returned:
            return False
        return not any(begun <= asked < over for asked in self._asked[id])


class _Requests(List[Request]):
    def __init__(self, note: Note) -> None:
        super().__init__()
        self._note = note

    def append(self, request: Request) -> None:
        moment = time.monotonic()
        match = re.match(r".*/(\w+)/status\Z", request.path)
        if match:
            self._note(moment, match.group(1), "asked")
        super().append(request)


def watch(platform: LocalPlatform, note: Note) -> None:
    """Have a platform tell each status call that reaches it, and each state of a backend."""
    def log(line: str) -> None:
        moment = time.monotonic()
        match = re.match(r'backend (\w+)(?: \(key ".*"\))?: ([a-z-]+)', line)
        if match:
            note(moment, match.group(1), match.group(2))

    platform.log = log
    platform.requests = _Requests(note)
