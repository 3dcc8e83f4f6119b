"""A server as a process of its own, on a port that it keeps when it is killed and started again."""

import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Sequence, Type, TypeVar

from kit.deadlines import LONG

__all__ = ["ServerProcess", "find", "free_port"]

S = TypeVar("S", bound="ServerProcess")

TICK = 0.02  # a port cannot wake us

# One after the other, lest two tests side by side take the same; and below those that systems give
# to outgoing connections, so that none of these takes the port of a server that is down.
PORTS = itertools.cycle(random.sample(range(15000, 20000), 5000))


def free_port() -> int:
    while True:
        port = next(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def find(program: str) -> Optional[str]:
    """Where that program is, also where Debian has it for root alone."""
    return shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


class ServerProcess:
    """A folder with its configuration, and the process, once `start()` has returned. Leaving the
    context ends both."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="jamsocket-lite-tests-"))
        self._process: "Optional[subprocess.Popen[Any]]" = None

    def command(self) -> Sequence[str]:
        """What to run, in the foreground, in the folder."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d" % self.port

    @property
    def said(self) -> str:
        """What it wrote to its standard output and error so far."""
        output = self.folder / "output.txt"
        return output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""

    def start(self) -> None:
        """Start it (again); returns when it accepts connections."""
        with open(str(self.folder / "output.txt"), "ab") as output:
            # In a group of its own, so that kill() reaches its workers too.
            self._process = subprocess.Popen(
                list(self.command()), cwd=str(self.folder), stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + LONG
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                name = type(self).__name__
                raise RuntimeError("%s did not start: %s" % (name, self.said[-2000:]))
            time.sleep(TICK)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as its operator would."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(LONG)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(str(self.folder), ignore_errors=True)

    def __enter__(self: S) -> S:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
