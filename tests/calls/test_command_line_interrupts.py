"""Ctrl-C ends any command at once, wherever it stands, with one line and the status 130."""

import os
import signal
import subprocess
import sys
from typing import Dict, List

import pytest

from kit.deadlines import LONG
from kit.platforms import ID, state
from kit.server import Server, Silence, Step, answer
from kit.shell import FILE, Done, answering, ended, started, stream_of, towards

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals between processes")

COMMANDS: List[List[str]] = [
    ["connect", "--quiet"],
    ["status", ID],
    ["terminate", ID],
    ["wait", ID, "--quiet"],
    ["stream", ID],
]
# How far the server's answer has come by then.
MOMENTS: Dict[str, List[Step]] = {
    "nothing": [Silence()],
    "half a head": [b"HTTP/1.1 200 OK\r\nContent-Ty", Silence()],
    "half a body": [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Silence()],
}
LOADING = [answer(state("loading"))]


def interrupted(process: "subprocess.Popen[bytes]") -> Done:
    process.send_signal(signal.SIGINT)
    return ended(process)


def is_interruption(done: Done) -> bool:
    """The status, and one line that is no traceback."""
    text = done.errors
    return done.status == 130 and text.count("\n") == 1 and text.strip() != ""


def check_interruption(command: List[str], steps: List[Step]) -> None:
    with Server(steps) as server:
        process = started([sys.executable, FILE, *command], towards(server))
        assert server.wait_requests(1, LONG)
        done = interrupted(process)
        assert server.wait_closed(LONG)
    assert is_interruption(done) and done.out == b""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_interrupt_ends_each_command_at_once(command: List[str]) -> None:
    check_interruption(command, MOMENTS["nothing"])


@pytest.mark.parametrize("moment", list(MOMENTS))
def test_an_interrupt_ends_a_command_however_far_the_answer_has_come(moment: str) -> None:
    check_interruption(["status", ID], MOMENTS[moment])


def test_an_interrupt_ends_a_wait_after_its_connect() -> None:
    with answering(status=LOADING, stream=stream_of(state("loading"))) as server:
        process = started([sys.executable, FILE, "connect", "--wait", "--quiet"], towards(server))
        assert server.wait_requests(2, LONG)
        done = interrupted(process)
        assert server.wait_closed(LONG)
    assert is_interruption(done) and done.out == b""


def test_an_interrupt_ends_the_reading_of_the_input() -> None:
    with Server() as server:
        command = [sys.executable, FILE, "connect", "--request", "-"]
        process = started(command, towards(server), stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(b" " * 200000)  # more than a pipe holds: by then it is being read
        done = interrupted(process)
        assert server.connections == 0
    assert is_interruption(done) and done.out == b""


def test_an_interrupt_leaves_what_a_stream_has_printed() -> None:
    with answering(status=LOADING, stream=stream_of(state("loading"))) as server:
        process = started([sys.executable, FILE, "stream", ID], towards(server))
        assert process.stdout is not None
        assert b"loading" in process.stdout.readline()
        done = interrupted(process)
    assert is_interruption(done) and done.out == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_interrupt_that_cannot_be_told_keeps_its_status() -> None:
    with Server([Silence()]) as server, open("/dev/full", "wb") as full:
        process = started([sys.executable, FILE, "wait", ID], towards(server), stderr=full)
        assert server.wait_requests(1, LONG)
        done = interrupted(process)
    assert (done.status, done.out) == (130, b"")
