"""A real HAProxy in front of a server on this machine, as it comes: it holds each event of a stream
back for 200 ms.

    with HAProxy(platform.port) as haproxy:
        ...                             # call haproxy.url
"""

from typing import List

import pytest

from kit.process import ServerProcess, find

__all__ = ["HAPROXY", "HAProxy", "needs_haproxy"]

HAPROXY = find("haproxy")

needs_haproxy = pytest.mark.skipif(
    HAPROXY is None, reason="HAProxy is not installed (apt install haproxy)")

# The timeouts are its documentation's: without them it warns, and keeps dead connections for ever.
CONFIGURATION = """\
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend front
    bind 127.0.0.1:%d
    default_backend platform
backend platform
    server platform 127.0.0.1:%d
"""


class HAProxy(ServerProcess):
    def __init__(self, upstream: int) -> None:
        super().__init__()
        configuration = CONFIGURATION % (self.port, upstream)
        (self.folder / "haproxy.cfg").write_text(configuration, encoding="utf-8")

    def command(self) -> List[str]:
        return [HAPROXY or "haproxy", "-db", "-f", "haproxy.cfg"]
