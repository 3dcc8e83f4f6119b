"""A process whose clock goes in steps of 15.6 ms, as Windows' does: `python … URL…` prints the
classes of what calls with short deadlines raise, which nobody answers at these urls.
"""

import json
import sys
import time
from typing import Any, Dict, List

STEP = 0.0156
_exact = time.monotonic
time.monotonic = lambda: _exact() // STEP * STEP  # before the module can take hold of it

from kit.calls import CALLS, LASTING
from kit.threads import together


def outcome(name: str, url: str, timeout: float) -> List[Any]:
    """What was raised, and how long it took by an exact clock."""
    start = _exact()
    try:
        return ["nothing raised by " + repr(CALLS[name](url, timeout)), 0.0]
    except Exception as error:
        return [type(error).__name__, _exact() - start - timeout]


def main() -> None:
    times = [0.03 + 0.0013 * number for number in range(12)]

    def run(name: str, url: str) -> List[List[Any]]:
        return [outcome(name, url, timeout) for timeout in times[::3 if name in LASTING else 1]]

    found: Dict[str, List[List[Any]]] = together({
        "%s %s" % (name, url): lambda name=name, url=url: run(name, url)  # type: ignore[misc]
        for name in CALLS for url in sys.argv[1:]}, 10)
    print(json.dumps([row for rows in found.values() for row in rows]))
