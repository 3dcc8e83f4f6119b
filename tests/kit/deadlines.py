"""How long a test waits, and deadlines measured.

With MEASURED set to a file's name, the figures are there at the end of the run, as
`weather | measured`; those of other runs stay, unless they were measured again.
"""

import atexit
import os
import re
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Type, TypeVar

from jamsocket_lite import JamsocketError, JamsocketTimeout
from kit.noise import lateness
from kit.secrets import failed
from kit.server import Script, Server

T = TypeVar("T")

LONG = 60.0  # for what must come to pass: only what is broken takes so long
SHORT = 0.3  # a deadline that is meant to pass
GRACE = 0.25  # how long after its deadline a call may return, where nothing else is going on


class Timed(NamedTuple):
    outcome: Any  # what was returned, or raised
    seconds: float


def timed(call: Callable[[], Any]) -> Timed:
    start = time.monotonic()
    try:
        outcome = call()
    except Exception as error:
        outcome = error
    return Timed(outcome, time.monotonic() - start)


def slowness() -> float:
    """How many times as long as its processor time this thread's work takes now: 1 on a machine
    with nothing else to do, 100 for a thread that gets a hundredth of a processor."""
    work = 0.01
    start, before = time.monotonic(), time.thread_time()
    while time.thread_time() - before < work:
        pass
    return max(1.0, (time.monotonic() - start) / work)


def in_time(seconds: float, limit: float, since: Optional[float] = None) -> bool:
    """Whether something took no longer than it may, on a machine that is as busy as this one is, or
    was meanwhile: since that moment, or else for the last so many seconds."""
    if seconds <= limit:
        return True
    now = time.monotonic()
    late = lateness(now - seconds if since is None else since, now)
    return seconds - late <= limit or seconds <= limit * slowness()


@contextmanager
def at_most(limit: float) -> Iterator[None]:
    """What is done meanwhile, or fails, takes no longer than that."""
    start = time.monotonic()
    try:
        yield
    finally:
        took = time.monotonic() - start
        assert in_time(took, limit, start), "took %.3f s" % took


def patiently(check: Callable[[float], None]) -> None:
    """A check with a deadline before which something has to happen: a busy machine may need a
    longer one, what is broken fails with each."""
    for timeout in (SHORT, 4 * SHORT):
        try:
            return check(timeout)
        except Exception:
            pass  # whatever it was: the last deadline is long enough for it to show again
    check(12 * SHORT)


def wait_until(test: Callable[[], bool], seconds: float = LONG) -> bool:
    """For what no event tells: the end of a thread, a file of another process."""
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() >= end:
            return False
        time.sleep(0.0005)
    return True


def undisturbed(check: Callable[[], T]) -> T:
    """A check of moments that depend on each other. Where it fails while the machine was late that
    proves nothing, and it is made again."""
    for _ in range(5):
        begun = time.monotonic()
        try:
            return check()
        except Exception:
            if lateness(begun, time.monotonic()) < 0.1:
                raise
    return check()


def keeps_deadline(weather: str, attempt: Callable[[], Timed], deadline: float = SHORT,
                   *kinds: Type[JamsocketError]) -> Any:
    """The error with which a call ends at its deadline; without `kinds` it is JamsocketTimeout."""
    for _ in range(5):
        # A busy machine is late now and then, a client that waits for the wrong thing always.
        begun = time.monotonic()
        once = attempt()
        if once.seconds - deadline <= GRACE:
            break
    past = once.seconds - deadline
    error = failed(once.outcome, *(kinds or (JamsocketTimeout,)))
    if type(error) is JamsocketTimeout:
        assert past > -0.02, "%.3f s before the deadline" % -past
    record(weather, "%.0f ms past the deadline of %.1f s" % (max(0.0, past) * 1000, deadline))
    assert in_time(past, GRACE, begun), "%.3f s past the deadline" % past
    return error


def against(script: Script, call: Callable[..., Any], timeout: float = SHORT,
            client_options: Optional[Mapping[str, Any]] = None,
            **server_options: Any) -> Callable[[], Timed]:
    """An attempt of a call against a server of its own, of which it must let go at once, although
    it still runs."""
    def attempt() -> Timed:
        with Server(script, **server_options) as server:
            result = timed(lambda: call(server.url, timeout, **(client_options or {})))
            assert server.wait_closed(LONG), "the connection is still open"
        return result
    return attempt


# -------------------------------------------------------------------------------------------------
# The figures
# -------------------------------------------------------------------------------------------------

_rows: Dict[str, str] = {}  # of this run


def record(weather: str, measured: str) -> None:
    """A row of the figures, which holds one line a weather: no port, no address."""
    port = re.compile(r"127\.0\.0\.1:\d+")
    _rows[port.sub("127.0.0.1", weather)] = port.sub("127.0.0.1", measured)


def _write_figures() -> None:
    name = os.environ.get("MEASURED")
    if not name or not _rows:
        return
    rows: Dict[str, str] = {}
    if os.path.exists(name):
        with open(name, encoding="utf-8") as file:
            for line in file:
                weather, _, measured = line.rstrip("\n").partition(" | ")
                rows[weather] = measured
    rows.update(_rows)
    with open(name, "w", encoding="utf-8") as file:
        file.writelines("%s | %s\n" % row for row in sorted(rows.items()))


atexit.register(_write_figures)
