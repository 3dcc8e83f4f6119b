"""Progress on a terminal and elsewhere, and streams that are not as usual."""

import json
import os
import re
import shlex
import sys
import threading
from typing import List

import pytest

from jamsocket_lite import main
from kit.deadlines import LONG
from kit.platforms import ID, state
from kit.server import Server, Silence, Step, Wait, answer, event, stream_head
from kit.shell import (FILE, Inside, answering, ended, is_one_error_line, on_terminal, run, started,
                       stream_of, towards)

STEPS = ["loading", "starting", "ready"]
TOLD = stream_of(*map(state, STEPS))
ENDED = state("terminated", termination_reason="external", termination_kind="hard")


def test_progress_is_a_line_a_status_where_there_is_no_terminal() -> None:
    with answering(None, [answer(state("ready"))], TOLD) as server:
        done = run("wait", "b1", env=towards(server))
    assert done.status == 0 and json.loads(done.text)["status"] == "ready"
    assert [line.split()[-1] for line in done.errors.splitlines()][-1] == "ready"
    assert "\r" not in done.errors and "\x1b" not in done.errors and done.errors.endswith("\n")
    shown = [line.split()[-1] for line in done.errors.splitlines()]
    assert shown == [name for name in STEPS if name in shown] and len(shown) == len(set(shown))


def test_quiet_turns_progress_off(inside: Inside) -> None:
    with answering(None, [answer(state("ready"))], TOLD) as server:
        done = inside("connect", "--wait", "--quiet", env=towards(server))
    assert (done.status, done.errors) == (0, "")


def on_screen(text: str) -> List[str]:
    """The lines that remain on a terminal of 80 columns that knows CR, LF and how to erase a
    line."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\d*K|\r|\n|[^\r\n\x1b]", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, lines = row + 1, lines + [""]
        elif part.startswith("\x1b"):
            lines[row] = lines[row][:column] if part in ("\x1b[K", "\x1b[0K") else " " * column
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1:]
            column += 1
    return [line.rstrip() for line in lines]


def test_progress_is_redrawn_in_place_on_a_terminal() -> None:
    """Each status is seen, one line remains, and the longer word before leaves nothing behind."""
    after_start, after_loading = threading.Event(), threading.Event()
    told: List[Step] = [stream_head(), event(state("scheduled")), Wait(after_start),
                        event(state("loading")), Wait(after_loading), event(state("ready")),
                        Silence()]

    def meanwhile(shown: str) -> None:
        if "scheduled" in shown:
            after_start.set()
        if "loading" in shown:
            after_loading.set()

    with Server() as server:
        server.script = lambda request: told if request.target.endswith("/stream") else (
            [answer(state("ready" if after_loading.is_set() else "scheduled"))])
        status, out, shown = on_terminal(["wait", "b1"], towards(server), meanwhile)
    assert status == 0 and json.loads(out.decode())["status"] == "ready"
    screen = on_screen(shown)
    assert len(screen) == 2 and screen[0].split()[-1] == "ready" and screen[1] == ""
    assert re.findall("scheduled|loading|ready", shown)[0] == "scheduled"
    assert "loading" not in screen[0] and "scheduled" not in screen[0]


def test_an_error_stands_on_a_line_of_its_own_on_a_terminal() -> None:
    with answering(None, [answer(state("loading"))], stream_of(state("loading"), ENDED)) as server:
        status, out, shown = on_terminal(["wait", "b1"], towards(server))
    assert (status, out) == (5, b"")
    progress, error, rest = on_screen(shown)
    assert progress.endswith("terminated") and error and rest == ""


class Plain:
    """A stream as some hosts have it: without a buffer, without isatty, without an encoding."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("command", [["connect", "--wait"], ["connect", "--format", "url"],
                                     ["status", "b1"], ["wait", "b1"], ["terminate", "b1"],
                                     ["status"], ["wait", "b1", "--timeout", "0"]],
                         ids=" ".join)
def test_it_runs_without_standard_streams(monkeypatch: pytest.MonkeyPatch,
                                          command: List[str]) -> None:
    expected = 2 if command in (["status"], ["wait", "b1", "--timeout", "0"]) else 0
    with answering(None, [answer(state("ready"))], TOLD) as server:
        for name, value in towards(server).items():
            monkeypatch.setenv(name, value)
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, None)
        assert main(command) == expected


def test_it_takes_plain_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Plain(), Plain()
    with answering(None, [answer(state("ready"))], TOLD) as server:
        for name, value in towards(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert main(["connect", "--wait"]) == 0
    assert json.loads(out.text)["backend_id"] == ID and err.text.rstrip().endswith("ready")


def test_closed_streams_do_no_harm() -> None:
    with answering(None, [answer(state("ready"))], TOLD) as server:
        command = "%s %s connect --wait <&- >&- 2>&-" % (shlex.quote(sys.executable),
                                                         shlex.quote(FILE))
        assert ended(started(["sh", "-c", command], towards(server))).status == 0


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_no_text_is_too_foreign_for_a_stream(encoding: str) -> None:
    """JSON is ASCII anyway; the server's words come in whatever way the terminal can show them."""
    message = {"error": {"message": "größer als 10 €", "status": 400, "code": "C", "id": "i"}}
    with answering([answer(message, 400)], [answer(state("größer"))]) as server:
        env = {**towards(server), "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
        failing = started([sys.executable, FILE, "connect"], env)
        telling = started([sys.executable, FILE, "status", "b1"], env)
        out, err = failing.communicate(timeout=LONG)
        assert (failing.returncode, out) == (1, b"") and is_one_error_line(err.decode(encoding))
        out, err = telling.communicate(timeout=LONG)
        assert (telling.returncode,
                err) == (0, b"") and json.loads(out.decode(encoding))["status"] == "größer"


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    """As `stream ... | head -1` does."""
    left = threading.Event()
    told: List[Step] = [stream_head(), event(state("loading")), Wait(left),
                        event(state("starting")), Silence()]
    with answering(None, [answer(state("loading"))], told) as server:
        process = started([sys.executable, FILE, "stream", "b1"], towards(server))
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline().decode())["status"] == "loading"
        process.stdout.close()
        left.set()
        assert process.wait(LONG) != 0
        assert process.stderr.read() == b""
        process.stderr.close()


def test_a_reader_that_has_left_before_anything_came_ends_it_quietly() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with answering(None, [answer(state("ready"))]) as server:
        process = started([sys.executable, FILE, "status", "b1"], towards(server), stdout=write_end)
        os.close(write_end)
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 1 and err == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_like_another() -> None:
    with answering(None, [answer(state("ready"))]) as server, open("/dev/full", "wb") as full:
        process = started([sys.executable, FILE, "status", "b1"], towards(server), stdout=full)
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 1 and is_one_error_line(err.decode())
