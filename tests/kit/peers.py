"""A connection as its server has it, and the requests that come by it."""

import json
import selectors
import socket
import ssl
import struct
import sys
import time
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

if sys.platform == "linux":
    import select

TICK = 0.02  # how often to look where the system cannot wake us


class Gone(Exception):
    """The client or the server closed the connection, so the script is over."""


def hung_up(sock: socket.socket, seconds: Optional[float]) -> bool:
    """Wait until the other side has closed (or ours was shut down), at most so long; None is
    without end.

    It never reads: what the client sends has to stay in its way, or a test could not make it block
    while sending. The end of a client that has more to send than the system's buffers take is
    therefore not seen before Read or Drain.
    """
    if sys.platform == "linux":
        poller = select.poll()
        poller.register(sock, select.POLLRDHUP)  # errors and a full close are always reported
        return bool(poller.poll(None if seconds is None else max(0.0, seconds) * 1000))
    return hung_up_slowly(sock, seconds)


def hung_up_slowly(sock: socket.socket, seconds: Optional[float]) -> bool:
    # Without POLLRDHUP an end behind unread bytes is not seen; a script that has read the request
    # has none.
    end = None if seconds is None else time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        while True:
            left = TICK if end is None else min(TICK, end - time.monotonic())
            if selector.select(max(0.0, left)):
                try:
                    if not sock.recv(1, socket.MSG_PEEK):
                        return True
                except OSError:
                    return True
                time.sleep(max(0.0, left))
            if end is not None and time.monotonic() >= end:
                return False


class Peer:
    """A connection as its server has it: plain, or TLS through memory, so that the socket itself
    stays at hand."""

    def __init__(self, sock: socket.socket, forget: Callable[[socket.socket], None]) -> None:
        self.sock = sock
        self._forget = forget  # called before the socket is closed
        self._closed = False
        self._tls: Optional[ssl.SSLObject] = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    def handshake(self, context: ssl.SSLContext, every: Optional[float] = None) -> None:
        """Do the TLS handshake; with `every`, send it one byte at a time, so many seconds apart."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush(every)
                self._fill()
            except ssl.SSLError:
                self._flush(None)  # the alert that says why
                raise Gone from None
        self._flush(every)
        self._tls = tls

    def send(self, data: bytes) -> None:
        if self._tls is None:
            self._send_raw(data)
            return
        left = memoryview(data)
        try:
            while left:
                left = left[self._tls.write(left[:65536]):]
                self._flush(None)
        except ssl.SSLError:
            raise Gone from None

    def receive(self) -> bytes:
        """What the client sent next."""
        if self._tls is None:
            return self._receive_raw()
        while True:
            try:
                data = self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._fill()
                continue
            except ssl.SSLError:
                raise Gone from None
            if not data:
                raise Gone
            return data

    def pause(self, seconds: Optional[float]) -> None:
        if hung_up(self.sock, seconds):
            raise Gone

    def dribble(self, data: bytes, every: float) -> None:
        for byte in data:
            self.send(bytes([byte]))
            self.pause(every)

    def close(self, notify: bool = True) -> None:
        """Close in an orderly way."""
        if not self._first_close():
            return
        self.sock.setblocking(False)
        if notify and self._tls is not None:
            self._say_goodbye(self._tls)
        self._drain()
        self.sock.close()

    def reset(self) -> None:
        """Close so that the client sees a reset."""
        if not self._first_close():
            return
        layout = "hh" if sys.platform == "win32" else "ii"
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(layout, 1, 0))
        except OSError:
            pass  # already reset by the other side
        self.sock.close()

    def _first_close(self) -> bool:
        first, self._closed = not self._closed, True
        self._forget(self.sock)
        return first

    def _say_goodbye(self, tls: ssl.SSLObject) -> None:
        try:
            tls.unwrap()
        except OSError:
            pass  # it wants the client's goodbye too, and we do not wait for that
        try:
            self.sock.sendall(self._outgoing.read())
        except OSError:
            pass

    def _drain(self) -> None:
        # A socket closed with bytes unread sends a reset, and the client may lose the end of the
        # answer to it.
        try:
            for _ in range(64):
                if not self.sock.recv(65536):
                    break
        except OSError:
            pass

    def _fill(self) -> None:
        self._incoming.write(self._receive_raw())

    def _flush(self, every: Optional[float]) -> None:
        data = self._outgoing.read()
        if every is None:
            self._send_raw(data)
            return
        for byte in data:
            self._send_raw(bytes([byte]))
            self.pause(every)

    def _send_raw(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone from None

    def _receive_raw(self) -> bytes:
        try:
            data = self.sock.recv(65536)
        except OSError:
            raise Gone from None
        if not data:
            raise Gone
        return data


# -------------------------------------------------------------------------------------------------
# Requests
# -------------------------------------------------------------------------------------------------

class Request(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    headers: List[Tuple[str, str]]
    body: bytes
    number: int  # 1 is the server's first request
    at: float  # time.monotonic() once it was read
    head: bytes  # as sent, with the empty line

    def header(self, name: str) -> Optional[str]:
        """The value of a header, None without it, all values with commas between where it came
        several times."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def json(self) -> Any:
        return json.loads(self.body.decode("utf-8"))


def read_request(peer: Peer) -> Tuple[bytes, bytes]:
    """Read a head and the body that its Content-Length announces."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    head += b"\r\n\r\n"
    size = 0
    for name, value in _parse(head)[2]:
        if name.lower() == "content-length":
            size = int(value)
    parts, got = [body], len(body)
    while got < size:
        parts.append(peer.receive())
        got += len(parts[-1])
    return head, b"".join(parts)


def _parse(head: bytes) -> Tuple[str, str, List[Tuple[str, str]]]:
    lines = head.decode("latin-1").split("\r\n")
    method, target = (lines[0].split(" ") + ["", ""])[:2]
    pairs = [line.partition(":") for line in lines[1:] if line]
    return method, target, [(name, value.strip()) for name, _, value in pairs]


def make_request(head: bytes, body: bytes, number: int) -> Request:
    method, target, headers = _parse(head)
    return Request(method, target, headers, body, number, time.monotonic(), head)
