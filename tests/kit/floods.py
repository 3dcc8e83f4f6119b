"""Servers that never stop sending, in a process of their own, so that they always have more.

    with Flooder(certificates) as flooder:
        client(flooder.url("headers")).status("b4ckend", timeout=0.3)
"""

import ssl
import sys
from types import TracebackType
from typing import Dict, List, Optional, Sequence, Type

from kit.certificates import Certificates
from kit.children import started
from kit.platforms import events, is_stream, told
from kit.server import Action, Close, Peer, Repeat, Request, Server, Step, chunk, event, stream_head

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class Records(Action):
    """Send the same for ever, each byte by itself: over TLS in a record of its own."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def run(self, peer: Peer) -> None:
        while True:
            for byte in self.data:
                peer.send(bytes([byte]))


ANSWERS: Dict[str, Sequence[Step]] = {
    "one-byte chunks": [OK + CHUNKED, Repeat(b"1\r\n{\r\n" * 5000)],
    "one-byte chunks with extensions": [OK + CHUNKED,
                                        Repeat(b"1;%s\r\n{\r\n" % (b"x" * 1000) * 30)],
    "one-byte chunks of an error": [b"HTTP/1.1 500 Oops\r\n" + CHUNKED,
                                    Repeat(b"1\r\n{\r\n" * 5000)],
    "chunks of white space": [OK + CHUNKED, Repeat(b"1\r\n \r\n" * 5000)],
    "headers": [OK, Repeat(b"X-Header: x\r\n" * 2000)],
    "a header": [OK + b"X-Header: ", Repeat(b"x" * 30000)],
    "trailers": [OK + CHUNKED + chunk(b"{}") + b"0\r\n", Repeat(b"X-Trailer: x\r\n" * 2000)],
    "interim answers": [Repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)],
    "interim answers with headers": [
        Repeat(b"HTTP/1.1 100 Continue\r\nX-Header: x\r\n\r\n" * 1000)],
    "records of a byte": [OK + CHUNKED, Records(b"1\r\n{\r\n")],
    "records of a byte in a header": [OK + b"X-Header: ", Records(b"x")],
}


def _flooding(*parts: bytes, chunked: bool = False) -> List[Step]:
    return [stream_head(chunked) + b"".join(parts[:-1]), Repeat(parts[-1])]


STREAMS: Dict[str, Sequence[Step]] = {
    "comments": _flooding(b":\n" * 10000),
    "comments after a state": _flooding(events("scheduled"), b":\n" * 10000),
    "empty lines": _flooding(b"\n" * 20000),
    "the same state": _flooding(events("scheduled") * 300),
    "events of another type": _flooding((b"event: ping\n" + events("ready")) * 300),
    "events that are no state": _flooding(b"data:[]\n\n" * 2000),
    "small lines of one event": _flooding(b"data:\n" * 4000),
    "chunks of one byte": _flooding(b"1\r\n:\r\n" * 5000, chunked=True),
    "chunks with extensions": _flooding(b"1;%s\r\n:\r\n" % (b"x" * 1000) * 30, chunked=True),
    "headers of a stream": [OK + b"Content-Type: text/event-stream\r\n",
                            Repeat(b"X-Header: x\r\n" * 2000)],
    "records of comments": [stream_head(), Records(b":\n")],
    "125 kB states that nobody knows": [stream_head(), *(
        event({"status": "state-%d-%s" % (number, "x" * 125000), "time": ""})
        for number in range(300)), events("terminated")],
}

FLOODS: Dict[str, Sequence[Step]] = {**ANSWERS, **STREAMS}


def script(request: Request) -> Sequence[Step]:
    """The path says which flood, and of which of the two channels. The other has no stream, or a
    status call that works."""
    name, channel = request.target.split("/")[1:3]
    if channel == "stream" and not is_stream(request):
        return told("scheduled")
    if channel == "status" and is_stream(request):
        return [Close()]
    return list(FLOODS.values())[int(name)]


class Flooder:
    """The process."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def url(self, name: str, channel: str = "all", secure: bool = False) -> str:
        return "%s/%d/%s" % (self._urls[secure], list(FLOODS).index(name), channel)

    def __enter__(self) -> "Flooder":
        directory = self._certificates.directory
        self._process = started("floods", *(
            str(directory / name) for name in ("good.pem", "server.key")))
        assert self._process.stdout
        plain, secure = (self._process.stdout.readline().decode().strip() for _ in range(2))
        self._urls = {False: plain, True: secure}
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self._process.communicate()


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:])
    with Server(script) as plain, Server(script, tls=context) as secure:
        print(plain.url, secure.url, sep="\n", flush=True)
        sys.stdin.read()  # until whoever started it is done
