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
from typing import Any, Callable, DefaultDict, Dict, List

from local.local_platform import Handler, LocalPlatform

__all__ = ["SAID_READY", "Note", "Witness", "watch"]

SAID_READY = "said ready"
OVER = ("terminating", "hard-terminating", "terminated")

# A moment of time.monotonic(), a backend's id, and the state that it entered, or SAID_READY.
Note = Callable[[float, str, str], None]


class Witness:
    def __init__(self) -> None:
        self._said: DefaultDict[str, List[float]] = defaultdict(list)
        self._over: Dict[str, float] = {}

    def note(self, moment: float, id: str, what: str) -> None:
        if what == SAID_READY:
            self._said[id].append(moment)
        elif what in OVER:
            self._over.setdefault(id, moment)

    def was_over(self, id: str, begun: float, returned: float) -> bool:
        """Whether a wait that began and returned `ready` at these moments should not have: the
        backend had ended by then, and no status call had been answered `ready` since it began."""
        over = self._over.get(id)
        if over is None or over > returned:
            return False
        return not any(begun <= said <= returned for said in self._said[id])


def watch(platform: LocalPlatform, note: Note) -> None:
    """Have a platform that was started tell each state of a backend, and each status call that is
    answered `ready`."""
    class Watched(Handler):
        def _reply(self, *args: Any, **kwargs: Any) -> None:
            match = re.match(r".*/(\w+)/status\Z", self.path)
            said = [one.get("status") for one in args if isinstance(one, dict)]
            if match and said == ["ready"]:
                note(time.monotonic(), match.group(1), SAID_READY)
            super()._reply(*args, **kwargs)

    def log(line: str) -> None:
        moment = time.monotonic()
        match = re.match(r'backend (\w+)(?: \(key ".*"\))?: ([a-z-]+)', line)
        if match:
            note(moment, match.group(1), match.group(2))

    assert platform._server is not None
    platform._server.RequestHandlerClass = Watched
    platform.log = log
