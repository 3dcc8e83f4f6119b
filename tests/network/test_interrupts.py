"""Ctrl-C leaves a call at once, with the socket closed."""

import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict, Sequence

import pytest

from conftest import ROOT
from kit.deadlines import LONG, in_time, record
from kit.platforms import channels, streamed
from kit.server import Script, Server, Silence, Step, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

# It lives on after the call was left, so that it is not its end that closes the socket.
INTERRUPTED = """
import signal, sys
sys.path[:0] = sys.argv[3:]
from jamsocket_lite import Jamsocket
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run
client = Jamsocket("acme", "board", "token", api_url=sys.argv[2])
calls = {"connect": client.connect, "status": lambda: client.status("b4ckend"),
         "wait": lambda: client.wait_until_ready("b4ckend", timeout=60),
         "stream": lambda: list(client.status_stream("b4ckend", timeout=60))}
try:
    calls[sys.argv[1]]()
except KeyboardInterrupt:
    print("left", flush=True)
sys.stdin.read()
"""


def interrupt(name: str, where: str, steps: Any) -> None:
    paths = [] if os.environ.get("JAMSOCKET_LITE_INSTALLED") else [str(ROOT)]
    with Server(steps) as server:
        process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, name, server.url, *paths],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin and process.stdout
        try:
            assert server.wait_requests(1, LONG)
            if where == "in a pause":
                assert server.wait_requests(2, LONG) and server.wait_closed(LONG)
            if where == "in the answer":
                time.sleep(0.1)  # for it to be read; were it not, the case would be the other one
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == b"left\n"
            left = time.monotonic() - start
            assert server.wait_closed(LONG), "the socket is still open"
            assert process.poll() is None and in_time(left, 2.0, start)
            record("Ctrl-C %s, %s" % (where, name), "left after %.0f ms, socket closed"
                   % (left * 1000))
        finally:
            process.stdin.close()
            process.stdout.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


BODY: Sequence[Step] = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", Silence()]
WHERE: Dict[str, Script] = {
    "before the answer": [Silence()],
    "in the answer": channels([streamed("scheduled"), Silence()], BODY),
    "in a pause": [answer(b"", 429, [("Retry-After", "3600")])],
}


@pytest.mark.waits
@pytest.mark.skipif(os.name != "posix", reason="other systems have no SIGINT for one process")
@pytest.mark.parametrize("name, where", [
    ("connect", "before the answer"), ("wait", "before the answer"),
    ("stream", "before the answer"), ("status", "in the answer"), ("stream", "in the answer"),
    ("wait", "in a pause")])
def test_ctrl_c_leaves_a_call_at_once_with_the_socket_closed(name: str, where: str) -> None:
    interrupt(name, where, WHERE[where])
