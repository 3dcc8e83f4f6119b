"""A small HTTP proxy that notes what it was asked: CONNECT tunnels, and plain http by absolute
URIs.

    with Server(tls=certificates.server_context()) as server:
        with Proxy(routes={"api.example.test:443": ("127.0.0.1", server.port)}) as proxy:
            ...                         # with HTTPS_PROXY=proxy.url, call https://api.example.test/
            assert proxy.seen[0].target == "api.example.test:443"

`routes` gives made-up names an address, since a client goes to loopback names without any proxy.
"""

import base64
import selectors
import socket
from typing import List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from kit.peers import make_request
from kit.server import Gone, Listener, Peer, Request, answer, read_request

__all__ = ["Proxy", "ESTABLISHED", "CONNECT_TIMEOUT", "relay"]

# Only for addresses on this machine, and close() must not wait long for one.
CONNECT_TIMEOUT = 0.5

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy(Listener[Request]):
    """`credentials` is "user:password", without which 407 is answered; `refuse` a status that every
    CONNECT and every request gets, with `text` as its body; `hang` answers nothing; `dribble` sends
    the answer to a CONNECT one byte at a time, `every` so many seconds."""

    def __init__(self, *, credentials: Optional[str] = None, refuse: Optional[int] = None,
                 text: str = "refused by the proxy", hang: bool = False, dribble: bool = False,
                 every: float = 0.2, routes: Optional[Mapping[str, Tuple[str, int]]] = None,
                 host: str = "127.0.0.1") -> None:
        super().__init__(host)
        self.routes = dict(routes or {})
        self._credentials = credentials
        self._refuse = refuse
        self._text = text
        self._hang = hang
        self._dribble = dribble
        self._every = every
        self._acceptor.start()

    @property
    def url(self) -> str:
        return "http://" + self.address

    def url_with(self, credentials: str) -> str:
        """The proxy's url with "user:password" in it."""
        return "http://%s@%s" % (credentials, self.address)

    @property
    def seen(self) -> List[Request]:
        """The requests so far, as they came: a tunnel's is the CONNECT, its target the host and
        port."""
        with self._changed:
            return list(self._notes)

    def handle(self, peer: Peer) -> None:
        head, body = read_request(peer)
        request = self._note(lambda number: make_request(head, body, number))
        if self._hang:
            peer.pause(None)
        refusal = self._refusal(request)
        if refusal is not None:
            peer.send(refusal)
        elif request.method == "CONNECT":
            self._tunnel(peer, request.target)
        else:
            self._forward(peer, request)

    def _refusal(self, request: Request) -> Optional[bytes]:
        text = (self._text + "\n").encode("utf-8")
        kind = ("Content-Type", "text/plain; charset=utf-8")
        if self._credentials is not None and not self._has_credentials(request):
            return answer(text, 407, [kind, ("Proxy-Authenticate", 'Basic realm="proxy"')])
        if self._refuse is not None:
            return answer(text, self._refuse, [kind])
        return None

    def _has_credentials(self, request: Request) -> bool:
        expected = base64.b64encode((self._credentials or "").encode("utf-8")).decode("ascii")
        return request.header("Proxy-Authorization") == "Basic " + expected

    def _tunnel(self, peer: Peer, target: str) -> None:
        upstream = self._connect(peer, target)
        try:
            if self._dribble:
                peer.dribble(ESTABLISHED, self._every)
            else:
                peer.send(ESTABLISHED)
            relay(peer.sock, upstream)
        finally:
            self._hang_up(upstream)

    def _forward(self, peer: Peer, request: Request) -> None:
        url = urlsplit(request.target)
        if url.scheme != "http" or not url.netloc:
            peer.send(answer(b"not an absolute http url\n", 400))
            return
        target = url.netloc if url.port is not None else url.netloc + ":80"
        upstream = self._connect(peer, target)
        try:
            upstream.sendall(_origin_head(request) + request.body)
            relay(peer.sock, upstream)
        except OSError:
            raise Gone from None
        finally:
            self._hang_up(upstream)

    def _connect(self, peer: Peer, target: str) -> socket.socket:
        host, _, port = target.rpartition(":")
        try:
            address = self.routes.get(target) or (host.strip("[]"), int(port))
            upstream = socket.create_connection(address, CONNECT_TIMEOUT)
        except (OSError, ValueError):
            peer.send(answer(b"cannot connect\n", 502))
            raise Gone from None
        try:
            upstream.settimeout(None)
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.track(upstream)
        except BaseException:
            upstream.close()
            raise
        return upstream

    def _hang_up(self, upstream: socket.socket) -> None:
        self.forget(upstream)
        upstream.close()


def _origin_head(request: Request) -> bytes:
    # What the server behind a proxy gets: the path alone, and nothing that was meant for the proxy.
    url = urlsplit(request.target)
    path = (url.path or "/") + ("?" + url.query if url.query else "")
    lines = ["%s %s HTTP/1.1" % (request.method, path)]
    lines += ["%s: %s" % field for field in request.headers if
              not field[0].lower().startswith("proxy-")]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def relay(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                try:
                    data = key.fileobj.recv(65536)
                    key.data.sendall(data)
                except OSError:
                    raise Gone from None
                if not data:
                    return
