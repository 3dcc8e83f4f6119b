"""The platform that the benchmark talks to: a process of its own, whose work is not the client's.

    python3 stub_platform.py [CERTIFICATE KEY]

Prints its ports, plain and TLS, as JSON, and ends at the end of standard input. What a backend does
is in its id:

| id         | status             | stream                                                      |
| ---------- | ------------------ | ----------------------------------------------------------- |
| ready      | ready              | the same, then silence                                      |
| idle       | starting           | the same, then silence                                      |
| at-T       | ready from then on | starting, and ready then (T: microseconds of the clock)     |
| events-N   | starting           | starting, N more of it, terminated                          |
| comments-N | starting           | a few comments, starting, N keep-alive comments, terminated |
"""

import json
import socket
import ssl
import sys
import threading
import time
from typing import Dict, Iterator, Optional, Tuple

BLOCK = 1000  # events or comments sent at once
WARMING = 20 * BLOCK  # comments before the first state, from which on memory is watched
STATE = {"time": "2026-11-23T22:46:13.368Z"}
CONNECTED = {
    "backend_id": "ready", "spawned": False, "status": "ready", "token": "t" * 43,
    "ready_url": "", "secret_token": "s" * 43,
}


def compact(document: Dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def event(status: str) -> bytes:
    return b"data:%s\n\n" % compact(dict(STATE, status=status))


def answer(document: Dict[str, object]) -> bytes:
    body = compact(document)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def status_of(backend: str) -> str:
    kind, _, number = backend.partition("-")
    ready = kind == "ready" or kind == "at" and time.monotonic() * 1e6 >= int(number)
    return "ready" if ready else "starting"


def sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic() - 0.001))
    while time.monotonic() < moment:
        pass  # the system's timers are late by a tenth of a millisecond


def stream_of(backend: str) -> Iterator[bytes]:
    kind, _, number = backend.partition("-")
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    if kind == "comments":
        yield from (b": keep-alive\n\n" * BLOCK for _ in range(WARMING // BLOCK))
    yield event(status_of(backend))
    if kind == "at":
        sleep_until(int(number) / 1e6)
        yield event("ready")
    elif kind in ("events", "comments"):
        block = (event("starting") if kind == "events" else b": keep-alive\n\n") * BLOCK
        yield from (block for _ in range(int(number) // BLOCK))
        yield event("terminated")


def receive(sock: socket.socket, received: bytes) -> Optional[Tuple[bytes, bytes, bytes]]:
    """The head of a request, its body, and what came after it; None where the client has closed."""
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if end and len(rest) >= size:
            return head, rest[:size], rest[size:]
        more = sock.recv(65536)
        if not more:
            return None
        received += more


def listen(context: Optional[ssl.SSLContext]) -> int:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    threading.Thread(target=accept, args=(listener, context), daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def accept(listener: socket.socket, context: Optional[ssl.SSLContext]) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, context), daemon=True).start()


def serve(sock: socket.socket, context: Optional[ssl.SSLContext]) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        converse(sock, "http" if context is None else "https")
    except OSError:
        pass  # the client has gone
    finally:
        sock.close()


def converse(sock: socket.socket, scheme: str) -> None:
    rest = b""
    while True:
        request = receive(sock, rest)
        if request is None:
            return
        head, body, rest = request
        target = head.split(b" ", 2)[1].decode("ascii")
        lowered = head.lower() + b"\r\n"
        authorized = b"\r\nauthorization: bearer secret\r\n" in lowered
        if target.endswith("/stream"):
            for data in stream_of(target.split("/")[-3]):
                sock.sendall(data)
            sock.recv(1)  # until the client closes
            return
        if target.endswith("/status"):
            sock.sendall(answer(dict(STATE, status=status_of(target.split("/")[-2]))))
        elif authorized and json.loads(body) == {"key": "board/42"}:
            origin = "%s://127.0.0.1:%d" % (scheme, sock.getsockname()[1])
            sock.sendall(answer(dict(CONNECTED, url=origin + "/" + "t" * 43 + "/",
                                     status_url=origin + "/v2/backend/ready/status")))
        else:
            sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        if b"\r\nconnection: close\r\n" in lowered:
            return


def main() -> None:
    threading.stack_size(256 * 1024)
    ports = {"http": listen(None)}
    if len(sys.argv) == 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        ports["https"] = listen(context)
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
