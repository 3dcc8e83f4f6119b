"""Servers that answer exactly what a test tells them to, rightly or wrongly.

    with Server([stream_head(), event({"status": "ready"}), Silence()]) as server:
        ...                             # call server.url
        assert server.wait_closed(5)    # the client let go of its connection
        assert server.requests[0].target == "/"

A script is a list of steps for one connection, run once the request (head and Content-Length body) has been read; or a
callable that gets the Request and gives the list. A step is one of

- bytes, sent as they are;
- one of the actions below (Pause, Dribble, Repeat, Wait, Silence, Close, Reset, Read, Drain);
- a callable without arguments; bytes that it returns are sent.

At the end of its script a connection is closed. A list that begins with `at_once` is run before anything was read; it
may read the request later, with Read(). A script also ends when the client closes, which every step notices, and when
the server is closed.
"""

import json
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
import unittest
from http.client import responses
from types import TracebackType
from typing import (Any, Callable, Generic, List, NamedTuple, Optional, Sequence, Set, Tuple, Type, TypeVar,
                    Union)

if sys.platform == "linux":
    import select

__all__ = ["Server", "Request", "Script", "Step", "Action", "at_once", "Read", "Drain", "Pause", "Dribble", "Repeat",
           "Wait", "Silence", "Close", "Reset", "answer", "stream_head", "chunk", "event", "closed_port", "DeadAddress",
           "Listener", "Peer", "Gone", "read_request", "hung_up"]

Headers = Sequence[Tuple[str, str]]

# Enough for Python and a TLS handshake; 500 threads of the usual 8 MB would be 4 GB of addresses.
STACK = 512 * 1024

# How often to look where the system cannot wake us.
TICK = 0.02


class Gone(Exception):
    """The client or the server closed the connection, so the script is over."""


# ---------------------------------------------------------------------------------------------------------------------
# Answers
# ---------------------------------------------------------------------------------------------------------------------

def answer(body: Any = b"", status: int = 200, headers: Headers = (), reason: Optional[str] = None,
           length: bool = True, chunked: bool = False) -> bytes:
    """A whole answer. A body that is not bytes is sent as JSON; `length=False` leaves its end to the close."""
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if not isinstance(body, bytes):
        body = json.dumps(body).encode("ascii")
        if "content-type" not in names:
            fields.append(("Content-Type", "application/json"))
    if chunked:
        fields.append(("Transfer-Encoding", "chunked"))
        body = (chunk(body) if body else b"") + chunk(b"")
    elif length and "content-length" not in names:
        fields.append(("Content-Length", str(len(body))))
    return _head(status, reason, fields) + bytes(body)


def stream_head(chunked: bool = False, headers: Headers = ()) -> bytes:
    """The head of an event stream, which ends with the last chunk or else with the connection."""
    fields = [("Content-Type", "text/event-stream"), *headers]
    if chunked:
        fields.append(("Transfer-Encoding", "chunked"))
    return _head(200, None, fields)


def chunk(data: bytes) -> bytes:
    """One chunk; that of no data is the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(data: Any, id: Optional[str] = None, event: Optional[str] = None, retry: Optional[int] = None) -> bytes:
    """One event. Data that is not a string is sent as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    named = [("id", id), ("event", event), ("retry", retry)]
    lines = ["%s:%s" % (name, value) for name, value in named if value is not None]
    for line in text.split("\n"):
        # As the platform sends it; a reader takes one space away, so a line that begins with one needs another.
        lines.append("data:" + (" " if line.startswith(" ") else "") + line)
    return ("\n".join(lines) + "\n\n").encode("utf-8")


def _head(status: int, reason: Optional[str], fields: Headers) -> bytes:
    if reason is None:
        reason = responses.get(status, "")
    lines = ["HTTP/1.1 %d %s" % (status, reason)] + ["%s: %s" % field for field in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# ---------------------------------------------------------------------------------------------------------------------
# One connection
# ---------------------------------------------------------------------------------------------------------------------

def hung_up(sock: socket.socket, seconds: Optional[float]) -> bool:
    """Wait until the other side has closed (or ours was shut down), at most so long; None is without end.

    It never reads: what the client sends has to stay in its way, or a test could not make it block while sending. The
    end of a client that has more to send than the system's buffers take is therefore not seen before Read or Drain.
    """
    if sys.platform == "linux":
        poller = select.poll()
        poller.register(sock, select.POLLRDHUP)  # errors and a full close are always reported
        return bool(poller.poll(None if seconds is None else max(0.0, seconds) * 1000))
    return _hung_up_slowly(sock, seconds)


def _hung_up_slowly(sock: socket.socket, seconds: Optional[float]) -> bool:
    # Without POLLRDHUP an end behind unread bytes is not seen; a script that has read the request has none.
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
    """A connection as its server has it: plain, or TLS through memory, so that the socket itself stays at hand."""

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
        # A socket closed with bytes unread sends a reset, and the client may lose the end of the answer to it.
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


# ---------------------------------------------------------------------------------------------------------------------
# Requests
# ---------------------------------------------------------------------------------------------------------------------

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
        """The value of a header, None without it, all values with commas between where it came several times."""
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


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------

class Action:
    """A step that does more than to send some bytes."""

    def run(self, peer: Peer) -> None:
        raise NotImplementedError


class _AtOnce(Action):
    def run(self, peer: Peer) -> None:
        pass


at_once = _AtOnce()  # at the beginning of a list: do not wait for the request


class Read(Action):
    """Read the request, which a list that begins with `at_once` has not done. It is not recorded."""

    def run(self, peer: Peer) -> None:
        read_request(peer)


class Drain(Action):
    """Read and throw away whatever comes until the client closes."""

    def run(self, peer: Peer) -> None:
        while True:
            peer.receive()


class Pause(Action):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, peer: Peer) -> None:
        peer.pause(self.seconds)


class Dribble(Action):
    """Send one byte at a time, and pause after each."""

    def __init__(self, data: bytes, every: float = 0.2) -> None:
        self.data, self.every = data, every

    def run(self, peer: Peer) -> None:
        peer.dribble(self.data, self.every)


class Repeat(Action):
    """Send the same again and again, for ever where no number of times is given."""

    def __init__(self, data: bytes, times: Optional[int] = None, pause: float = 0.0) -> None:
        self.data, self.times, self.every = data, times, pause

    def run(self, peer: Peer) -> None:
        sent = 0
        while self.times is None or sent < self.times:
            peer.send(self.data)
            sent += 1
            if self.every:
                peer.pause(self.every)


class Wait(Action):
    """Go on when the event is set."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def run(self, peer: Peer) -> None:
        while not self.event.wait(TICK):
            peer.pause(0)


class Silence(Action):
    """Keep the connection open, without a byte, until one of the two sides closes it."""

    def run(self, peer: Peer) -> None:
        peer.pause(None)


class Close(Action):
    """Close in an orderly way; `notify=False` leaves out TLS's goodbye, as a cut connection does."""

    def __init__(self, notify: bool = True) -> None:
        self.notify = notify

    def run(self, peer: Peer) -> None:
        peer.close(self.notify)
        raise Gone


class Reset(Action):
    """Close so that the client sees a reset."""

    def run(self, peer: Peer) -> None:
        peer.reset()
        raise Gone


Step = Union[bytes, Action, Callable[[], Optional[bytes]]]
Script = Union[Sequence[Step], Callable[[Request], Sequence[Step]]]


def _run(steps: Sequence[Step], peer: Peer) -> None:
    for step in steps:
        if isinstance(step, Action):
            step.run(peer)
            continue
        data = step if isinstance(step, bytes) else step()
        if data is not None:
            peer.send(data)


# ---------------------------------------------------------------------------------------------------------------------
# Servers
# ---------------------------------------------------------------------------------------------------------------------

Self = TypeVar("Self", bound="Listener[Any]")
T = TypeVar("T")

_stack_lock = threading.Lock()


def _start_small(thread: threading.Thread) -> None:
    # The size is the whole process's, so it is put back at once.
    with _stack_lock:
        before = threading.stack_size(STACK)
        try:
            thread.start()
        finally:
            threading.stack_size(before)


class Listener(Generic[T]):
    """Accepts connections and gives each a thread that runs `handle`; what it noted is in `_notes`."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.connections = 0  # accepted so far
        self.errors: List[BaseException] = []  # what broke in a script; leaving `with` raises the first
        self._notes: List[T] = []
        self._open = 0
        self._sockets: Set[socket.socket] = set()  # to be shut down by close()
        self._threads: Set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.bind((host, 0))
        self._socket.listen(1024)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._alarm, self._bell = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept_all, daemon=True)

    def handle(self, peer: Peer) -> None:
        raise NotImplementedError

    @property
    def address(self) -> str:
        return "[%s]:%d" % (self.host, self.port) if ":" in self.host else "%s:%d" % (self.host, self.port)

    @property
    def open_connections(self) -> int:
        """How many clients have a connection now that neither side has closed."""
        with self._changed:
            return self._open

    def wait_closed(self, timeout: float) -> bool:
        """Wait until no connection is open."""
        return self._wait_for(lambda: self._open == 0, timeout)

    def wait_connections(self, count: int, timeout: float) -> bool:
        """Wait until so many connections were accepted, open or not."""
        return self._wait_for(lambda: self.connections >= count, timeout)

    def close(self) -> None:
        """Close every connection and wait for the threads."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._bell.send(b"!")
        self._acceptor.join()
        for sock in (self._socket, self._alarm, self._bell):
            sock.close()
        with self._changed:
            for sock in self._sockets:
                _shut_down(sock)
            threads = list(self._threads)
        for thread in threads:
            thread.join(5)
            if thread.is_alive():
                raise RuntimeError("a script does not end")

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
        if self.errors and error is None:
            raise self.errors[0]

    def track(self, sock: socket.socket) -> None:
        """Have close() shut this socket down too."""
        with self._changed:
            if self._closing.is_set():
                raise Gone
            self._sockets.add(sock)

    def forget(self, sock: socket.socket) -> None:
        """To be called before a tracked socket is closed: its number may be another's a moment later."""
        with self._changed:
            self._sockets.discard(sock)

    def _wait_for(self, test: Callable[[], bool], timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(test, timeout)

    def _note(self, make: Callable[[int], T]) -> T:
        with self._changed:
            note = make(len(self._notes) + 1)
            self._notes.append(note)
            self._changed.notify_all()
        return note

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._alarm, selectors.EVENT_READ)
            while not self._closing.is_set():
                selector.select()
                self._accept()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except BlockingIOError:
            return
        except OSError:
            self._closing.wait(TICK)  # out of descriptors: one may be free in a moment
            return
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
        with self._changed:
            self.connections += 1
            self._open += 1
            self._sockets.add(sock)
            self._threads.add(thread)
            self._changed.notify_all()
        _start_small(thread)

    def _serve(self, sock: socket.socket) -> None:
        peer = Peer(sock, self.forget)
        try:
            self.handle(peer)
        except Gone:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            peer.close()
            with self._changed:
                self._open -= 1
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()


def _shut_down(sock: socket.socket) -> None:
    # Wakes a thread that reads from it or writes to it; close() alone would not.
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Server(Listener[Request]):
    """A scripted server; see the module's description.

    `handshake` is "normal", "silent" (TCP is accepted, TLS never answered) or "dribble" (its bytes come one at a time,
    `every` so many seconds). `script` may be replaced while the server runs; without one, every answer is `{}`.
    """

    def __init__(self, script: Optional[Script] = None, *, tls: Optional[ssl.SSLContext] = None,
                 host: str = "127.0.0.1", handshake: str = "normal", every: float = 0.2) -> None:
        if handshake not in ("normal", "silent", "dribble"):
            raise ValueError("handshake is normal, silent or dribble")
        if handshake == "dribble" and tls is None:
            raise ValueError("a handshake needs a context")
        super().__init__(host)
        self.script: Script = [answer({})] if script is None else script
        self._tls = tls
        self._handshake = handshake
        self._every = every
        self._acceptor.start()

    @property
    def url(self) -> str:
        if self._tls is None and self._handshake == "normal":
            return "http://" + self.address
        return "https://localhost:%d" % self.port

    @property
    def requests(self) -> List[Request]:
        """The requests so far, in the order in which they were complete."""
        with self._changed:
            return list(self._notes)

    def wait_requests(self, count: int, timeout: float) -> bool:
        """Wait until so many requests were read."""
        return self._wait_for(lambda: len(self._notes) >= count, timeout)

    def handle(self, peer: Peer) -> None:
        if self._handshake == "silent":
            peer.pause(None)
        if self._tls is not None:
            peer.handshake(self._tls, self._every if self._handshake == "dribble" else None)
        script = self.script
        if not callable(script) and script and script[0] is at_once:
            _run(script, peer)
            return
        head, body = read_request(peer)
        request = self._note(lambda number: make_request(head, body, number))
        _run(script(request) if callable(script) else script, peer)


# ---------------------------------------------------------------------------------------------------------------------
# No server at all
# ---------------------------------------------------------------------------------------------------------------------

def closed_port(host: str = "127.0.0.1") -> int:
    """A port where nobody listens: connecting is refused at once."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


class DeadAddress:
    """Addresses on which connecting hangs: 127.0.0.1, 127.0.0.2, … with one and the same port.

    Each is a listening socket that accepts nothing and whose queue is full; Linux leaves further callers without an
    answer, as a host that is down does. Where the system does otherwise the test is skipped.
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

    def infos(self) -> List[Tuple[socket.AddressFamily, socket.SocketKind, int, str, Tuple[str, int]]]:
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
        # The port that is free on the first address may be taken on another: then try with a new one.
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
