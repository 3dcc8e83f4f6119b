"""Servers that answer exactly what a test tells them to, rightly or wrongly.

    with Server([stream_head(), event({"status": "ready"}), Silence()]) as server:
        ...                             # call server.url
        assert server.wait_closed(5)    # the client let go of its connection
        assert server.requests[0].target == "/"

A script is a list of steps for one connection, run once the request (head and Content-Length body)
has been read; or a callable that gets the Request and gives the list. A step is one of

- bytes, sent as they are;
- one of the actions below (Pause, Dribble, Repeat, Wait, Silence, Close, Reset, Read, Drain);
- a callable without arguments; bytes that it returns are sent.

At the end of its script a connection is closed. A list that begins with `at_once` is run before
anything was read; it may read the request later, with Read(). A script also ends when the client
closes, which every step notices, and when the server is closed.
"""

import selectors
import socket
import ssl
import threading
from types import TracebackType
from typing import Any, Callable, Generic, List, Optional, Set, Type, TypeVar

from kit.addresses import DeadAddress, closed_port
from kit.answers import answer, chunk, event, stream_head
from kit.peers import TICK, Gone, Peer, Request, hung_up, make_request, read_request
from kit.steps import (Action, Close, Drain, Dribble, Pause, Read, Repeat, Reset, Script, Silence,
                       Step, Wait, at_once, run)

# All that a test with a server needs.
__all__ = ["Server", "Listener", "Peer", "Gone", "Request", "read_request", "hung_up",
           "Script", "Step", "Action", "at_once", "Read", "Drain", "Pause", "Dribble", "Repeat",
           "Wait", "Silence", "Close", "Reset", "answer", "stream_head", "chunk", "event",
           "closed_port", "DeadAddress"]

# Enough for Python and a TLS handshake; 500 threads of the usual 8 MB would be 4 GB of addresses.
STACK = 512 * 1024

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
    """Accepts connections and gives each a thread that runs `handle`; what it noted is in
    `_notes`."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.connections = 0  # accepted so far
        # What broke in a script; leaving `with` raises the first
        self.errors: List[BaseException] = []
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
        return "[%s]:%d" % (self.host, self.port) if ":" in self.host else "%s:%d" % (self.host,
                                                                                      self.port)

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
            thread.join(60)
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
        """To be called before a tracked socket is closed: its number may be another's a moment
        later."""
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

    `handshake` is "normal", "silent" (TCP is accepted, TLS never answered) or "dribble" (its bytes
    come one at a time, `every` so many seconds). `script` may be replaced while the server runs;
    without one, every answer is `{}`.
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
            run(script, peer)
            return
        head, body = read_request(peer)
        request = self._note(lambda number: make_request(head, body, number))
        run(script(request) if callable(script) else script, peer)
