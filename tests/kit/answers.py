"""What a server sends: whole answers, and the pieces of an event stream."""

import json
from http.client import responses
from typing import Any, Optional, Sequence, Tuple

Headers = Sequence[Tuple[str, str]]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"  # to be ended by what follows
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


# What a captive portal sends instead of the answer.
PAGE = (b"<!DOCTYPE html><html><head><title>Welcome</title></head>"
        b"<body>Log in to the guest network</body></html>")


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % size


def answer(body: Any = b"", status: int = 200, headers: Headers = (), reason: Optional[str] = None,
           length: bool = True, chunked: bool = False) -> bytes:
    """A whole answer. A body that is not bytes is sent as JSON; `length=False` leaves its end to
    the close."""
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


def event(data: Any, id: Optional[str] = None, event: Optional[str] = None,
          retry: Optional[int] = None) -> bytes:
    """One event. Data that is not a string is sent as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    named = [("id", id), ("event", event), ("retry", retry)]
    lines = ["%s:%s" % (name, value) for name, value in named if value is not None]
    for line in text.split("\n"):
        # As the platform sends it; a reader takes one space away, so a line that begins with one
        # needs another.
        lines.append("data:" + (" " if line.startswith(" ") else "") + line)
    return ("\n".join(lines) + "\n\n").encode("utf-8")


def _head(status: int, reason: Optional[str], fields: Headers) -> bytes:
    if reason is None:
        reason = responses.get(status, "")
    lines = ["HTTP/1.1 %d %s" % (status, reason)] + ["%s: %s" % field for field in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
