"""Scenarios whose outcome a test looks at itself, played side by side with all that wait.

    @scenes({"at once": waiting([streamed("ready"), Silence()], told("ready"))})
    def test_ready_is_returned(play: Play) -> None:
        assert play().result.is_ready
"""

import functools
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import pytest

from kit.deadlines import LONG
from kit.platforms import Steps, told
from kit.scenarios import Outcome, Scenario, run_stream, run_wait
from kit.server import Step, answer

Play = Callable[[], Outcome]

PAGE: List[Step] = [answer(b"<html>Back soon</html>", 200, [("Content-Type", "text/html")])]
CLOSED: List[Step] = []  # at once, each time


def waiting(stream: Steps, status: Steps, timeout: float = LONG, known: str = "scheduled") -> Play:
    """A wait that meets this."""
    return functools.partial(run_wait, Scenario(stream, status, None, LONG, timeout, known))


def streaming(stream: Steps, status: Steps, timeout: float = LONG) -> Play:
    """A stream that meets this."""
    return functools.partial(run_stream, Scenario(stream, status, None, LONG, timeout))


def both(stream: Steps, status: Steps, timeout: float = LONG) -> Dict[str, Play]:
    return {"wait": waiting(stream, status, timeout), "stream": streaming(stream, status, timeout)}


def scenes(table: Mapping[str, Play], slow: Sequence[str] = ()) -> Callable[[Any], Any]:
    """A test of each."""
    params = [pytest.param(play, id=name, marks=[pytest.mark.slow] if name in slow else [])
              for name, play in table.items()]
    return lambda test: pytest.mark.waits(pytest.mark.parametrize("play", params)(test))


def named(tables: Mapping[str, Mapping[str, Play]]) -> Dict[str, Play]:
    return {"%s, %s" % (name, call): play for name, table in tables.items()
            for call, play in table.items()}


def turning(first: Sequence[Step], *later: Tuple[float, Sequence[Step]]) -> Steps:
    """Answers that change with time, in seconds since they were first asked for."""
    began: List[float] = []
    lock = threading.Lock()

    def steps(number: int) -> Sequence[Step]:
        with lock:
            if number == 1 or not began:  # of each playing
                began[:] = [time.monotonic()]
        passed = time.monotonic() - began[0]
        return [first, *(each for moment, each in later if passed >= moment)][-1]

    return steps


def told_at(*later: Tuple[float, str]) -> Steps:
    """A status call that tells the truth: `scheduled`, and from these moments on these."""
    return turning(told("scheduled"), *((moment, told(status)) for moment, status in later))
