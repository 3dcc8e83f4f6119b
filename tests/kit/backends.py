"""Real backends for the local platform: processes that listen, or do not, and end, or do not."""

import socket
import sys
from typing import List

from kit.deadlines import LONG


def python(script: str, *arguments: str) -> List[str]:
    return [sys.executable, "-S", "-c", script, *arguments]


LISTEN = """
import os, signal, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', int(os.environ['PORT'])))
"""
POLITE = LISTEN + """
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
s.listen(5)
while True: signal.pause()
"""
STUBBORN = LISTEN + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
s.listen(5)
while True: signal.pause()
"""
CRASHING = "raise SystemExit(3)"
DEAF = "import signal\nwhile True: signal.pause()"  # it never listens

# Listens once what it is connected to says so.
GATED = LISTEN + """
if sys.argv[2:]: signal.signal(signal.SIGTERM, signal.SIG_IGN)
gate = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
if not gate.recv(1): raise SystemExit(3)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
s.listen(5)
while True: signal.pause()
"""


class Gate:
    """Backends that become ready when the test says so, one after the other; or crash. Stubborn
    ones ignore SIGTERM until then."""

    def __init__(self, stubborn: bool = False) -> None:
        self._stubborn = stubborn
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self._listener.settimeout(LONG)

    @property
    def command(self) -> List[str]:
        port = str(self._listener.getsockname()[1])
        return python(GATED, port, *["stubborn"] * self._stubborn)

    def wait(self) -> socket.socket:
        """Wait for the next backend. It waits in turn, until this is sent something, or closed."""
        return self._listener.accept()[0]

    def open(self) -> None:
        """Let the next backend become ready."""
        self._release(b"!")

    def crash(self) -> None:
        """Let the next backend fail before it is ready."""
        self._release(b"")

    def _release(self, data: bytes) -> None:
        with self.wait() as backend:
            backend.sendall(data)

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
