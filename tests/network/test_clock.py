"""A clock that goes in coarse steps: what ends by it is a passed deadline all the same."""

from typing import List

import pytest

from kit.children import finished
from kit.server import DeadAddress, Server, Silence, Step


@pytest.mark.waits
def test_a_coarse_clock_makes_no_network_error_of_a_passed_deadline() -> None:
    """Neither in connecting, nor in a handshake, nor before an answer, nor within it."""
    half: List[Step] = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", Silence()]
    with DeadAddress() as dead, Server([Silence()]) as silent, Server(half) as begun, \
            Server(handshake="silent") as secure:
        found = finished("coarse", "http://%s:%d" % dead.addresses[0], silent.url, begun.url,
                         secure.url)
    assert {kind for kind, _ in found} == {"JamsocketTimeout"}
    assert len(found) > 100 and min(late for _, late in found) > -0.017
