"""An answer that comes before the request was taken whole is that answer, over http and https
alike."""

import socket
from typing import Any, Dict, List, Optional, Sequence

import pytest

from jamsocket_lite import AuthenticationError, HTTPError, JamsocketTimeout, RateLimitError
from kit.certificates import Certificates
from kit.deadlines import LONG, SHORT, Timed, keeps_deadline, timed
from kit.platforms import client
from kit.secrets import failure
from kit.server import (Action, Close, Drain, Gone, Pause, Peer, Reset, Server, Silence, Step,
                        answer, at_once)

pytestmark = pytest.mark.usefixtures("nothing_left")


class ReadHead(Action):
    """Read until the headers are there, and whatever came of the body with them."""

    def run(self, peer: Peer) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += peer.receive()


class Linger(Action):
    """Say that no more will be sent, and read on until the client hangs up, as nginx does."""

    def run(self, peer: Peer) -> None:
        try:
            peer.sock.shutdown(socket.SHUT_WR)
        except OSError:
            raise Gone from None  # it had its answer, and has hung up already
        Drain().run(peer)


def refusal(status: int) -> bytes:
    return answer({"error": {"message": "no", "status": status, "code": "NO", "id": "r1"}}, status)


ENDS: Dict[str, Sequence[Step]] = {
    "closes": [Close()],  # what is unread then makes it a reset
    "is cut off": [Close(notify=False)],
    "lingers": [Linger()],
    "reads on": [Drain()],
    "is reset in a moment": [Pause(0.1), Reset()],
}
SIZES = (1000, 200000, 1000000, 5000000)
STATUSES = (400, 401, 403, 408, 409, 411, 413, 414, 415, 422, 429, 431, 500, 502, 503)

each_scheme = pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])


def connect(server: Server, size: int, context: Any, timeout: float = LONG) -> Any:
    """A user's name is no secret, so that it is not looked for in what the server says."""
    one = client(server.url, ssl_context=context)
    return one.connect({"user": "u" * size}, timeout=timeout)


def refused(script: Sequence[Step], size: int, certificates: Optional[Certificates]) -> HTTPError:
    tls = certificates.server_context() if certificates else None
    context = certificates.client_context() if certificates else None
    with Server(script, tls=tls) as server:
        return failure(lambda: connect(server, size, context), HTTPError, AuthenticationError,
                       RateLimitError)


@each_scheme
@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize("size", SIZES)
def test_an_early_answer_counts_however_the_connection_ends(
        size: int, end: str, secure: bool, certificates: Certificates) -> None:
    script: List[Step] = [at_once, ReadHead(), refusal(413), *ENDS[end]]
    error = refused(script, size, certificates if secure else None)
    assert (error.status, error.code, error.request_id) == (413, "NO", "r1")


@each_scheme
@pytest.mark.parametrize("status", STATUSES)
def test_an_early_answer_of_any_status_counts(status: int, secure: bool,
                                              certificates: Certificates) -> None:
    script: List[Step] = [at_once, ReadHead(), refusal(status), Close()]
    error = refused(script, 1000000, certificates if secure else None)
    assert (error.status, error.code) == (status, "NO")


@each_scheme
def test_an_early_answer_counts_also_where_the_rest_is_never_read(
        secure: bool, certificates: Certificates) -> None:
    """Nobody hangs up: it is heard while the request waits to be taken, at the deadline at last."""
    tls = certificates.server_context() if secure else None
    context = certificates.client_context() if secure else None

    def attempt() -> Timed:
        with Server([at_once, ReadHead(), refusal(413), Silence()], tls=tls) as server:
            return timed(lambda: connect(server, 8000000, context, SHORT))

    keeps_deadline("an answer, but no reader", attempt, SHORT, HTTPError, JamsocketTimeout)
