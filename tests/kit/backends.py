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

# Leaves with the second connection: the first is the platform's look whether anybody listens.
LEAVING = LISTEN + "s.listen(5); s.accept(); s.accept(); os._exit(int(os.environ['CODE']))"
# Its child holds a connection to a port of ours until it dies, and does not heed SIGTERM.
PARENT = LISTEN + """
import subprocess
subprocess.Popen([sys.executable, '-S', '-c', '''if True:
    import os, signal, socket
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    held = socket.create_connection(('127.0.0.1', int(os.environ['WATCH'])))
    while True: signal.pause()'''])
s.listen(5)
while True: signal.pause()
"""
# Says what it received, the body in capitals; after an upgrade for as long as the client sends.
SHOUTING = LISTEN + """
s.listen(5)
while True:
    c, _ = s.accept()
    head = b''
    while b'\\r\\n\\r\\n' not in head:
        data = c.recv(65536)
        if not data: break
        head += data
    else:
        head, _, rest = head.partition(b'\\r\\n\\r\\n')
        if b'Upgrade: shout' in head:
            c.sendall(b'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\n'
                      b'Upgrade: shout\\r\\n\\r\\n' + rest.upper())
            while True:
                data = c.recv(65536)
                if not data: break
                c.sendall(data.upper())
        else:
            length = 0
            for line in head.split(b'\\r\\n'):
                if line.lower().startswith(b'content-length:'): length = int(line[15:])
            while len(rest) < length: rest += c.recv(65536)
            while b'chunked' in head and b'0\\r\\n\\r\\n' not in rest: rest += c.recv(65536)
            body = head + b'\\n\\n' + rest.upper()
            c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nX-Mine: 1\\r\\n\\r\\n'
                      % len(body) + body)
    c.close()
"""

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
