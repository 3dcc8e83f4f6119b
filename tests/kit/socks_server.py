"""A SOCKS5 server without credentials (RFC 1928), which notes where it was asked to connect.

    with SocksServer({"api.example.test:80": ("127.0.0.1", server.port)}) as socks:
        ...                         # through 127.0.0.1:socks.port, call http://api.example.test/
        assert socks.seen == ["api.example.test:80"]
"""

import socket
from typing import List, Mapping, Optional, Tuple

from kit.proxy import CONNECT_TIMEOUT, relay
from kit.server import Gone, Listener, Peer

__all__ = ["SocksServer"]

CONNECT, IPV4, NAME, IPV6 = 1, 1, 3, 4
DONE, REFUSED = 0, 5


class SocksServer(Listener[str]):
    """`routes` gives made-up names an address; `refuse` turns every request down."""

    def __init__(self, routes: Optional[Mapping[str, Tuple[str, int]]] = None,
                 refuse: bool = False) -> None:
        super().__init__()
        self.routes = dict(routes or {})
        self._refuse = refuse
        self._acceptor.start()

    @property
    def seen(self) -> List[str]:
        """Where it was asked to connect so far, each as host:port."""
        with self._changed:
            return list(self._notes)

    def handle(self, peer: Peer) -> None:
        version, methods = _exactly(peer, 2)
        assert version == 5, "this is not SOCKS5"
        _exactly(peer, methods)
        peer.send(b"\x05\x00")  # none of the methods' credentials is wanted
        _, command, _, kind = _exactly(peer, 4)
        assert command == CONNECT
        target = "%s:%d" % (_host(peer, kind), int.from_bytes(_exactly(peer, 2), "big"))
        self._note(lambda number: target)
        upstream = None if self._refuse else self._connect(target)
        peer.send(bytes([5, REFUSED if upstream is None else DONE, 0, IPV4]) + bytes(6))
        if upstream is None:
            return
        with upstream:
            self.track(upstream)
            try:
                relay(peer.sock, upstream)
            finally:
                self.forget(upstream)

    def _connect(self, target: str) -> Optional[socket.socket]:
        host, _, port = target.rpartition(":")
        try:
            upstream = socket.create_connection(self.routes.get(target, (host, int(port))),
                                                CONNECT_TIMEOUT)
        except OSError:
            return None
        upstream.settimeout(None)
        return upstream


def _host(peer: Peer, kind: int) -> str:
    if kind == NAME:
        return _exactly(peer, _exactly(peer, 1)[0]).decode("ascii")
    if kind == IPV4:
        return socket.inet_ntop(socket.AF_INET, _exactly(peer, 4))
    assert kind == IPV6
    return socket.inet_ntop(socket.AF_INET6, _exactly(peer, 16))


def _exactly(peer: Peer, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            some = peer.sock.recv(size - len(data))
        except OSError:
            raise Gone from None
        if not some:
            raise Gone
        data += some
    return data
