"""Names and addresses, also such as have no server at all behind them."""

import atexit
import selectors
import socket
import unittest
from typing import Any, List, Tuple


NAME = "api.example.test"  # has no address but what a proxy's routes, or `reach`, give it


def reach(monkeypatch: Any, *addresses: Tuple[str, int]) -> None:
    """Gives every name these addresses; what a name server would say is no matter of the
    client's."""
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


# Bound for as long as the process lives, and never listening: no server, of another process
# neither, is given that port while somebody here still tries to reach it.
_closed = socket.socket()
_closed.bind(("127.0.0.1", 0))
atexit.register(_closed.close)


def closed_port() -> int:
    """A port of 127.0.0.1 where nobody listens: connecting is refused at once."""
    port: int = _closed.getsockname()[1]
    return port


class DeadAddress:
    """Addresses on which connecting hangs: 127.0.0.1, 127.0.0.2, … with one and the same port.

    Each is a listening socket that accepts nothing and whose queue is full; Linux leaves further
    callers without an answer, as a host that is down does. Where the system does otherwise the test
    is skipped.
    """

    def __init__(self, count: int = 1) -> None:
        self.hosts = ["127.0.0.%d" % (last + 1) for last in range(count)]
        self._listeners: List[socket.socket] = []
        self._callers: List[socket.socket] = []

    @property
    def host(self) -> str:
        return self.hosts[0]

    @property
    def addresses(self) -> List[Tuple[str, int]]:
        return [(host, self.port) for host in self.hosts]

    def infos(self) -> List[Tuple[socket.AddressFamily, socket.SocketKind, int, str,
                                  Tuple[str, int]]]:
        """What socket.getaddrinfo would answer for a name that has all of these addresses."""
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]

    def __enter__(self) -> "DeadAddress":
        try:
            self._bind_all()
            self._fill_all()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for sock in self._callers + self._listeners:
            sock.close()
        self._callers, self._listeners = [], []

    def _bind_all(self) -> None:
        # The port that is free on the first address may be taken on another: then try with a new
        # one.
        for _ in range(20):
            port = 0
            try:
                for host in self.hosts:
                    sock = socket.socket()
                    self._listeners.append(sock)
                    sock.bind((host, port))
                    sock.listen(0)
                    port = sock.getsockname()[1]
                self.port: int = port
                return
            except OSError:
                self.close()
        raise unittest.SkipTest("cannot bind %s on one port" % ", ".join(self.hosts))

    def _fill_all(self) -> None:
        # A queue of length 0 takes one caller on Linux; three more are there to be sure.
        for _ in range(4):
            for address in self.addresses:
                sock = socket.socket()
                self._callers.append(sock)
                sock.setblocking(False)
                sock.connect_ex(address)
        last = self._callers[-len(self.hosts):]
        with selectors.DefaultSelector() as selector:
            for sock in last:
                selector.register(sock, selectors.EVENT_WRITE)
            if selector.select(0.1):
                raise unittest.SkipTest("a full queue does not make connecting hang here")
