"""What a test must not leave behind; the fixture `nothing_left` looks."""

import os
import threading
import warnings
from contextlib import contextmanager
from typing import Iterator, Set

from kit.deadlines import wait_until


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """What happens meanwhile leaves no thread, no descriptor, no socket for the collector."""
    threads: Set[threading.Thread] = set(threading.enumerate())
    files = open_files()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        yield
    unclosed = [str(one.message) for one in seen if issubclass(one.category, ResourceWarning)]
    assert not unclosed, "left to the collector: " + ", ".join(unclosed)
    # A server's threads may take a moment to end after they have reported that they did.
    assert wait_until(lambda: set(threading.enumerate()) <= threads), (
        "left running: %s" % threading.enumerate())
    assert wait_until(lambda: open_files() <= files), (
        "left open: %d descriptors" % (open_files() - files))
