"""A process that forks, or is interrupted, while a call of its own is under way.

    python … moments URL        # at moments spread over the whole of a call
    python … loading URL        # while another thread loads the certificates
    python … storm URL          # at any moment, while three threads call
    python … handler URL        # a handler calls while the certificates are loaded
"""

import faulthandler
import json
import os
import re
import signal
import ssl
import sys
import tempfile
import threading
from typing import Any, Dict, List, Optional, Tuple

from kit.deadlines import LONG
from kit.platforms import client, connected

MOMENTS = 30
PATIENCE = 8.0  # a call's, with which a child that hangs is long late


def call(url: str) -> bool:
    return client(url, timeout=PATIENCE).status(connected(url)).is_ready


def child_calls(url: str) -> str:
    """How a child that is forked now fares; of one that hangs, in which file."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(2 * PATIENCE, exit=True, file=told)
            try:
                told.write(b"ready" if call(url) else b"no answer")
            except BaseException as error:
                told.write(repr(error).encode())
            told.flush()
            os._exit(0)
        os.waitpid(child, 0)
        told.seek(0)
        text = told.read().decode()
    where = re.search(r'File ".*?([^/]+)", line', text)
    return "hangs in " + where.group(1) if where else text


class Stepped(threading.Thread):
    """A call that stops at each of some moments, until it is told to go on."""

    def __init__(self, url: str, moments: Optional[range] = None) -> None:
        super().__init__(daemon=True)
        self.url, self.moments = url, moments
        self.count = 0
        self.where: Tuple[str, int, str] = ("", 0, "")
        self.stopped, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def run(self) -> None:
        sys.setprofile(self._at)
        call(self.url)
        sys.setprofile(None)
        self.where = ("", 0, "")
        self.stopped.release()

    def _at(self, frame: Any, event: str, argument: Any) -> None:
        self.count += 1
        if self.moments and self.count in self.moments:
            self.where = (os.path.basename(frame.f_code.co_filename), frame.f_lineno, event)
            self.stopped.release()
            self.go_on.acquire()


def moments(url: str) -> Dict[str, List[str]]:
    """Where children did not fare well; the call itself is not the process's first."""
    call(url)
    # In another spelling, so that what was made for the first call does not do for the others.
    folder, name = os.path.split(os.environ["SSL_CERT_FILE"])
    os.environ["SSL_CERT_FILE"] = os.path.join(folder, ".", name)
    whole = Stepped(url)
    whole.start()
    whole.join(LONG)
    stepped = Stepped(url, range(1, whole.count, max(1, whole.count // MOMENTS)))
    stepped.start()
    found: Dict[str, List[str]] = {}
    while stepped.stopped.acquire(timeout=LONG) and stepped.where[0]:
        found.setdefault(child_calls(url), []).append("%s:%d %s" % stepped.where)
        stepped.go_on.release()
    stepped.join(LONG)
    return found


def when_loading(then: Any) -> None:
    """Does something each time that a context is about to load the system's certificates."""
    load = ssl.SSLContext.load_default_certs

    def load_default_certs(self: ssl.SSLContext, *arguments: Any) -> None:
        then()
        load(self, *arguments)

    ssl.SSLContext.load_default_certs = load_default_certs  # type: ignore


def loading(url: str) -> Dict[str, List[str]]:
    reached, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def then() -> None:
        if os.getpid() == parent:
            reached.set()
            go_on.wait(LONG)

    when_loading(then)
    caller = threading.Thread(target=call, args=(url,), daemon=True)
    caller.start()
    if not reached.wait(LONG):
        return {"nothing is loaded": []}
    found = child_calls(url)
    go_on.set()
    caller.join(LONG)
    return {found: ["loading"]}


def storm(url: str) -> Dict[str, List[str]]:
    call(url)
    over = threading.Event()

    def go_on_calling() -> None:
        while not over.is_set():
            call(url)

    callers = [threading.Thread(target=go_on_calling, daemon=True) for _ in range(3)]
    for caller in callers:
        caller.start()
    found: Dict[str, List[str]] = {}
    for number in range(MOMENTS):
        found.setdefault(child_calls(url), []).append(str(number))
    over.set()
    for caller in callers:
        caller.join(LONG)
    return found


def handler(url: str) -> Dict[str, List[str]]:
    """The handler's own call needs what the interrupted one was about to make."""
    found: List[str] = []

    def handle(*_: object) -> None:
        if not found:
            found.append("interrupted")
            client(url, timeout=PATIENCE).terminate(connected(url))
            found.append("terminated")

    signal.signal(signal.SIGUSR1, handle)
    when_loading(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    # A deadlock of the only thread is ended by the system alone.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(LONG))
    if call(url):
        found.append("ready")
    return {"done": found}


def main() -> None:
    ways = {"moments": moments, "loading": loading, "storm": storm, "handler": handler}
    print(json.dumps(ways[sys.argv[1]](sys.argv[2])))
