"""The command line where a standard stream is closed, full, or without anybody at its other end.

An answer that cannot be written is an error, progress that cannot be written is nothing, and a
program's own descriptors are its own.
"""

import io
import json
import os
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

import pytest

import jamsocket_lite
from kit.server import Server, answer
from kit.shell import (
    FILE,
    Done,
    answering,
    ended,
    is_one_error_line,
    on_terminal,
    run,
    setting,
    started,
    stream_of,
    towards,
)
from kit.deadlines import LONG
from kit.platforms import ID, JAMSOCKET, state

ROOT = str(Path(FILE).parent)
HOW = ["closed", "full", "broken"]
each_way = pytest.mark.parametrize(
    "how",
    [
        pytest.param(
            how,
            marks=pytest.mark.skipif(
                how == "full" and not os.path.exists("/dev/full"), reason="needs /dev/full"
            ),
        )
        for how in HOW
    ],
)

ENDED = [answer(state("terminated", termination_reason="external", termination_kind="hard"))]
REFUSED = [
    answer({"error": {"message": "no", "status": 401, "code": "UNAUTHORIZED", "id": "r1"}}, 401)
]


@contextmanager
def spoiled(how: str, *numbers: int) -> Iterator[Dict[str, Any]]:
    """What `spoilt_run` needs to give a process standard output (1) or error (2) of that kind."""
    names = {1: "stdout", 2: "stderr"}
    if how == "closed":
        yield {"closing": "".join(" %d>&-" % number for number in numbers)}
        return
    if how == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    try:
        yield {names[number]: descriptor for number in numbers}
    finally:
        os.close(descriptor)


def spoilt_run(*arguments: str, env: Dict[str, str], how: str, numbers: Sequence[int]) -> Done:
    """The command line with these of its streams closed, full or broken."""
    with spoiled(how, *numbers) as streams:
        command = " ".join(map(shlex.quote, [sys.executable, FILE, *arguments])) + streams.pop(
            "closing", ""
        )
        return ended(started(["sh", "-c", "exec " + command], env, **streams))


# -------------------------------------------------------------------------------------------------
# Standard error: what cannot be written there costs nothing
# -------------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize(
    "command", [["connect", "--wait"], ["wait", ID], ["stream", ID]], ids=" ".join
)
def test_progress_that_cannot_be_written_costs_neither_answer_nor_status(
    command: List[str], how: str
) -> None:
    stream = stream_of(state("ready"), state("terminated")) if command[0] == "stream" else None
    with answering(stream=stream) as server:
        done = spoilt_run(*command, env=towards(server), how=how, numbers=[2])
        expected = JAMSOCKET.document(server.url) if command[0] == "connect" else state("ready")
        assert done.status == 0 and json.loads(done.out.splitlines()[0]) == expected


@each_way
@pytest.mark.parametrize(
    "command, status",
    [(["connect", "--wait"], 5), (["connect"], 3), (["reconnect"], 2)],
    ids=["terminated", "refused", "usage"],
)
def test_an_error_that_cannot_be_written_keeps_its_status(
    command: List[str], status: int, how: str
) -> None:
    with answering(
        connect=REFUSED if status == 3 else None, status=ENDED, stream=[*ENDED]
    ) as server:
        done = spoilt_run(*command, env=towards(server), how=how, numbers=[2])
    assert (done.status, done.out) == (status, b"")


def test_a_terminal_that_goes_away_costs_nothing() -> None:
    """As when the window is closed in which a job in the background was started."""
    with answering() as server:
        master, slave = os.openpty()
        process = started(
            [sys.executable, FILE, "connect", "--wait"], towards(server), stderr=slave
        )
        os.close(slave)
        os.close(master)
        done = ended(process)
        assert done.status == 0 and json.loads(done.out) == JAMSOCKET.document(server.url)


# -------------------------------------------------------------------------------------------------
# Standard output: what cannot be written there is an error, and the backend is named
# -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command",
    [["connect"], ["connect", "--format", "url"], ["connect", "--wait", "--quiet"]],
    ids=" ".join,
)
def test_a_backend_whose_answer_cannot_be_written_is_named(command: List[str]) -> None:
    """It was started, and somebody has to end it."""
    with answering() as server:
        done = spoilt_run(*command, env=towards(server), how="full", numbers=[1])
    assert done.status == 1 and is_one_error_line(done.errors) and ID in done.errors


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command", [["status", ID], ["wait", ID, "--quiet"], ["stream", ID]], ids=" ".join
)
def test_a_state_that_cannot_be_written_is_an_error(command: List[str]) -> None:
    with answering() as server:
        done = spoilt_run(*command, env=towards(server), how="full", numbers=[1])
        assert server.wait_closed(LONG)
    assert done.status == 1 and is_one_error_line(done.errors)


@pytest.mark.parametrize(
    "command", [["connect"], ["connect", "--format", "url"], ["stream", ID]], ids=" ".join
)
def test_a_reader_that_has_left_ends_it_with_no_traceback(command: List[str]) -> None:
    with answering() as server:
        done = spoilt_run(*command, env=towards(server), how="broken", numbers=[1])
    assert done.status == 1 and (done.err == b"" or is_one_error_line(done.errors))


@pytest.mark.parametrize("how", ["full", "broken"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_cannot_be_written_is_an_error(option: str, how: str) -> None:
    if how == "full" and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = spoilt_run(option, env=setting(), how=how, numbers=[1])
    assert done.status == 1 and (how == "broken" or is_one_error_line(done.errors))
    assert done.err.count(b"\n") <= 1 and b"Traceback" not in done.err


@each_way
def test_terminate_needs_no_standard_output(how: str) -> None:
    with answering() as server:
        done = spoilt_run("terminate", ID, env=towards(server), how=how, numbers=[1])
        assert len(server.requests) == 1
    assert (done.status, done.err) == (0, b"")


@each_way
def test_two_streams_that_take_nothing_are_no_reason_to_crash(how: str) -> None:
    with answering() as server:
        done = spoilt_run("connect", "--wait", env=towards(server), how=how, numbers=[1, 2])
        assert server.requests[0].target.endswith("/connect") and server.wait_closed(LONG)
    assert done.status == (0 if how == "closed" else 1)


@pytest.mark.parametrize("command", [["connect", "--wait"], ["status", ID]], ids=" ".join)
def test_the_connection_that_gets_a_closed_streams_number_is_sent_no_text(
    command: List[str],
) -> None:
    """The first socket is then descriptor 1 or 2."""
    with answering() as server:
        done = spoilt_run(*command, env=towards(server), how="closed", numbers=[1, 2])
        assert done.status == 0
        for request in server.requests:
            assert request.target.startswith("/v2/") and len(request.body) <= 2


# -------------------------------------------------------------------------------------------------
# main() called by a program
# -------------------------------------------------------------------------------------------------

PROGRAM = """
import errno, io, os, sys
sys.path.insert(0, {root!r})
import jamsocket_lite

class Failing(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error
    def write(self, text):
        raise self.error

closed = io.StringIO()
closed.close()
full = OSError(errno.ENOSPC, "No space left on device")
broken = {{"full": Failing(full), "gone": Failing(BrokenPipeError()), "closed": closed,
          "as it is": sys.stdout}}
before, free, own = os.fstat(1), os.dup(0), sys.stdout
sys.stdout = broken[{name!r}]
status = jamsocket_lite.main(["status", "b1"])
sys.stdout = own
after, still_free = os.fstat(1), os.dup(0)
same = (before.st_dev, before.st_ino, before.st_rdev) == (after.st_dev, after.st_ino, after.st_rdev)
os.write(2, b"%d %s %s\\n" % (status, str(same).encode(), str(still_free == free + 1).encode()))
os._exit(0)
"""


@pytest.mark.parametrize("name", ["full", "gone", "closed"])
def test_main_leaves_a_programs_descriptors_alone(name: str) -> None:
    """Its standard output may be an object of its own, and its descriptor 1 anything."""
    with answering() as server:
        program = PROGRAM.format(root=ROOT, name=name)
        done = ended(started([sys.executable, "-W", "error", "-c", program], towards(server)))
    assert done.errors.splitlines()[-1] == "1 True True" and "Traceback" not in done.errors


def test_a_programs_own_stream_gets_what_its_encoding_can_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a stream has no descriptor, and would refuse the rest."""
    errors = io.TextIOWrapper(io.BytesIO(), "ascii")
    with Server([answer({"message": "größer"}, 400)]) as server:
        for name, value in towards(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stderr", errors)
        assert jamsocket_lite.main(["status", ID]) == 1
        monkeypatch.undo()
    errors.seek(0)
    assert "gr\\xf6" in errors.read()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_main_leaves_a_full_descriptor_1_to_its_program() -> None:
    with answering() as server, open("/dev/full", "wb") as full:
        program = PROGRAM.format(root=ROOT, name="as it is")
        done = ended(
            started([sys.executable, "-W", "error", "-c", program], towards(server), stdout=full)
        )
    assert done.errors.splitlines()[-1] == "1 True True" and "Traceback" not in done.errors


# -------------------------------------------------------------------------------------------------
# Progress: redrawn on a terminal, lines elsewhere, whatever the others are
# -------------------------------------------------------------------------------------------------


def test_progress_is_redrawn_though_standard_output_is_a_file(tmp_path: Path) -> None:
    with answering() as server:
        status, out, shown = on_terminal(["connect", "--wait"], towards(server))
        assert status == 0 and json.loads(out) == JAMSOCKET.document(server.url)
    assert (
        shown.count("\r") >= 2 and shown.endswith("\n") and shown.count("\n") == 1
    )  # a terminal writes CR LF


def test_progress_is_lines_in_a_file_though_standard_output_is_a_terminal(tmp_path: Path) -> None:
    master, slave = os.openpty()
    with answering() as server, open(str(tmp_path / "errors"), "wb") as errors:
        process = started(
            [sys.executable, FILE, "wait", ID], towards(server), stdout=slave, stderr=errors
        )
        os.close(slave)
        assert json.loads(os.read(master, 4096)) == state("ready")
        assert process.wait(LONG) == 0
        os.close(master)
    shown = (tmp_path / "errors").read_text()
    assert (
        "\r" not in shown and shown.endswith("\n") and shown.splitlines()[-1].split()[-1] == "ready"
    )


def test_an_answer_starts_on_a_line_of_its_own_where_both_are_one_terminal() -> None:
    master, slave = os.openpty()
    with answering() as server:
        process = started(
            [sys.executable, FILE, "wait", ID], towards(server), stdout=slave, stderr=slave
        )
        os.close(slave)
        shown = b""
        while b"}" not in shown:
            shown += os.read(master, 4096)
        assert process.wait(LONG) == 0
        os.close(master)
    lines = [line for line in shown.decode().replace("\r\n", "\n").split("\n") if "{" in line]
    assert len(lines) == 1 and json.loads(lines[0]) == state("ready")


# -------------------------------------------------------------------------------------------------
# Encodings
# -------------------------------------------------------------------------------------------------

ENCODINGS = ["ascii", "cp1252", "cp037", "utf-16"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_all_that_is_printed_can_be_read_in_the_streams_encoding(encoding: str) -> None:
    refusal = [
        answer(
            {"error": {"message": "größer als 10 €", "status": 400, "code": "C", "id": "i"}}, 400
        )
    ]
    with answering(status=refusal, user="größer") as server:
        env = {**towards(server), "PYTHONIOENCODING": encoding}
        good, bad = run("connect", env=env), run("status", ID, env=env)
        assert (good.status, json.loads(good.out.decode(encoding))) == (
            0,
            JAMSOCKET.document(server.url),
        )
    assert (bad.status, bad.out) == (1, b"") and is_one_error_line(bad.err.decode(encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_progress_can_be_read_in_the_streams_encoding(encoding: str) -> None:
    with answering(stream=stream_of(state("größer"), state("ready"))) as server:
        done = run("wait", ID, env={**towards(server), "PYTHONIOENCODING": encoding})
    assert (done.status, json.loads(done.out.decode(encoding))) == (0, state("ready"))
    shown = done.err.decode(encoding)
    assert shown.splitlines()[-1].split()[-1] == "ready"
