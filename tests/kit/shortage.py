"""A process that runs out of descriptors, and prints what came of its calls.

    python … CALL URL           # one with none left, one with one, one with two, …
    python … crowd URL          # sixty waits at once, where there are a hundred
"""

import json
import os
import resource
import sys
import warnings
from typing import Any, Dict, List

from kit.calls import CALLS, call_wait
from kit.threads import together

PATIENCE = {"wait": (0.3, 1.2, 5.0), "stream": (0.3, 1.2, 5.0)}


def leave(number: int) -> None:
    """The system gives the lowest that is free, and none from the limit on."""
    free = os.dup(0)
    os.close(free)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + number, hard))


def outcome(call: Any, *arguments: Any) -> List[str]:
    """The class of what was returned or raised, and its text."""
    try:
        return [type(call(*arguments)).__name__, ""]
    except BaseException as error:
        return [type(error).__name__, str(error)]


def one_by_one(name: str, url: str) -> List[List[str]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = [outcome(CALLS[name], url, 5.0)]  # what is made at the first call is made
    for number in range(6):
        leave(number)
        for patience in PATIENCE.get(name, (5.0,)):
            row = outcome(CALLS[name], url, patience)
            if row[0] != "JamsocketTimeout" or "open files" in row[1]:
                break  # else it was the machine that took so long
        found.append(row)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    return found


def crowd(url: str) -> List[List[str]]:
    leave(100)
    found: Dict[str, List[str]] = together({
        str(number): lambda: outcome(call_wait, url, 2.5) for number in range(60)}, 60)
    return list(found.values())


def main() -> None:
    warnings.simplefilter("error")
    name, url = sys.argv[1:]
    print(json.dumps(crowd(url) if name == "crowd" else one_by_one(name, url)))
