"""`--request -`: standard input is UTF-8 whatever the locale, and its time is nobody's deadline."""

import io
import json
import os
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional

import pytest

import jamsocket_lite
from kit.shell import (
    FILE,
    Done,
    answering,
    ended,
    is_one_error_line,
    run,
    setting,
    started,
    stream_of,
    towards,
)
from kit.platforms import ID, state

REQUEST = {"key": "café", "auth": {"who": "日本 😀", "sign": "€"}, "user": "größer"}
TEXT = json.dumps(REQUEST, ensure_ascii=False)
MARK = b"\xef\xbb\xbf"

# Where a program that trusts the locale reads something else, or nothing at all.
PLACES: Dict[str, Dict[str, str]] = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "utf-16": {"PYTHONIOENCODING": "utf-16"},
    "the C locale": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "no locale": {},
    "UTF-8 mode": {"PYTHONUTF8": "1"},
}


def check_request(place: str, given: bytes) -> None:
    with answering() as server:
        env = {**towards(server), **PLACES[place]}
        done = run("connect", "--request", "-", env=env, given=given)
        assert (done.status, done.err) == (0, b"")
        assert [sent.json() for sent in server.requests] == [REQUEST]


@pytest.mark.parametrize("place", list(PLACES))
def test_standard_input_is_utf_8_whatever_the_locale(place: str) -> None:
    check_request(place, TEXT.encode("utf-8") + b"\r\n")


@pytest.mark.parametrize("place", ["cp1252", "no locale"])
def test_a_byte_order_mark_is_skipped_whatever_the_locale(place: str) -> None:
    check_request(place, MARK + TEXT.encode("utf-8"))


@pytest.mark.parametrize("place", ["cp1252", "the C locale"])
def test_what_is_no_utf_8_is_invalid_whatever_the_locale(place: str) -> None:
    with answering() as server:
        done = run(
            "connect",
            "--request",
            "-",
            env={**towards(server), **PLACES[place]},
            given=TEXT.replace("日本 😀", "").encode("cp1252"),
        )
        assert server.connections == 0
    assert (done.status, done.out) == (2, b"") and is_one_error_line(done.errors)


@pytest.mark.parametrize(
    "given",
    [MARK, MARK + MARK + b"{}", TEXT.encode("utf-16"), b" \n", b"{}{}", b'{"key": "a\0b"}'],
    ids=["a mark alone", "two marks", "utf-16", "space", "two requests", "NUL"],
)
def test_what_is_no_request_is_invalid(given: bytes) -> None:
    with answering() as server:
        done = run("connect", "--request", "-", env=towards(server), given=given)
        assert server.connections == 0
    assert (done.status, done.out) == (2, b"") and is_one_error_line(done.errors)


def test_a_program_may_stand_in_for_standard_input_with_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stream without bytes beneath it, as notebooks and tests have."""
    with answering() as server:
        for name, value in towards(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.StringIO(TEXT))
        assert jamsocket_lite.main(["connect", "--request", "-"]) == 0
        assert [sent.json() for sent in server.requests] == [REQUEST]
    assert json.loads(capsys.readouterr().out)["backend_id"] == ID


# -------------------------------------------------------------------------------------------------
# An input that cannot be read
# -------------------------------------------------------------------------------------------------


def closed() -> Done:
    command = '"$0" "$@" <&-'
    return ended(
        started(
            ["sh", "-c", command, sys.executable, FILE, "connect", "--request", "-"],
            setting(JAMSOCKET_DEV="true"),
        )
    )


def given_as(path: str, flags: int) -> Done:
    descriptor = os.open(path, flags)
    try:
        return run("connect", "--request", "-", env=setting(JAMSOCKET_DEV="true"), stdin=descriptor)
    finally:
        os.close(descriptor)


UNREADABLE: Dict[str, Callable[[], Done]] = {
    "closed": closed,
    "only for writing": lambda: given_as(os.devnull, os.O_WRONLY),
    "empty": lambda: given_as(os.devnull, os.O_RDONLY),
}


@pytest.mark.parametrize("how", list(UNREADABLE))
def test_an_input_that_cannot_be_read_is_one_error_line(how: str) -> None:
    done = UNREADABLE[how]()
    assert (done.status, done.out) == (2, b"") and is_one_error_line(done.errors)


@pytest.mark.parametrize(
    "command", [["connect", "--wait"], ["status", ID], ["terminate", ID]], ids=" ".join
)
def test_a_closed_input_is_nothing_to_a_command_that_reads_none(command: List[str]) -> None:
    with answering() as server:
        done = ended(
            started(
                ["sh", "-c", '"$0" "$@" <&-', sys.executable, FILE, *command, "--quiet"],
                towards(server),
            )
        )
    assert (done.status, done.err) == (0, b"")


def test_a_closed_stream_of_a_program_is_an_input_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"{}"), "utf-8")
    stdin.close()
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setenv("JAMSOCKET_DEV", "true")
    assert jamsocket_lite.main(["connect", "--request", "-"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and is_one_error_line(err)


# -------------------------------------------------------------------------------------------------
# The time
# -------------------------------------------------------------------------------------------------


class Clock:
    """time.monotonic, which can be set ahead."""

    def __init__(self) -> None:
        self._real, self._ahead, self.reads = time.monotonic, 0.0, 0

    def __call__(self) -> float:
        self.reads += 1
        return self._real() + self._ahead

    def jump(self, seconds: float) -> None:
        self._ahead += seconds


class Late(io.BytesIO):
    """An input that comes an hour late."""

    clock: Optional[Clock] = None

    def read(self, size: Optional[int] = -1) -> bytes:
        if self.clock is not None:
            self.clock.jump(3600)
            self.clock = None
        return super().read(size)

    def read1(self, size: Optional[int] = -1) -> bytes:
        return self.read(size)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    readinto1 = readinto


@pytest.mark.parametrize("more", [[], ["--wait", "--quiet"]], ids=["connect", "wait"])
def test_time_counts_from_when_the_input_was_read(
    more: List[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An input that comes after the deadline is no misuse, and not late."""
    clock, late = Clock(), Late(b'{"key": "late"}')
    late.clock = clock
    with answering() as server:
        for name, value in towards(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(late, "utf-8"))
        monkeypatch.setattr(time, "monotonic", clock)
        status = jamsocket_lite.main(["connect", "--request", "-", "--timeout", "60", *more])
        monkeypatch.undo()
    out, err = capsys.readouterr()
    assert late.clock is None and clock.reads > 0, "the clock is read in another way"
    assert (status, err) == (0, "") and json.loads(out)["backend_id"] == ID


def test_a_wrong_timeout_is_told_before_the_input_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = io.StringIO("{}")
    monkeypatch.setattr(sys, "stdin", text)
    monkeypatch.setenv("JAMSOCKET_DEV", "true")
    assert jamsocket_lite.main(["connect", "--request", "-", "--timeout", "-1"]) == 2
    assert text.tell() == 0 and "timeout" in capsys.readouterr().err


def test_a_deadline_that_passed_while_connecting_is_no_misuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left for the wait is less than nothing by then."""
    clock = Clock()
    loads = json.loads

    def slow_loads(*arguments: Any, **named: Any) -> Any:
        found = loads(*arguments, **named)
        if isinstance(found, dict) and "backend_id" in found:
            clock.jump(3600)
        return found

    waiting = state("loading")
    with answering(status=None, stream=stream_of(waiting)) as server:
        for name, value in towards(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(time, "monotonic", clock)
        monkeypatch.setattr(json, "loads", slow_loads)
        status = jamsocket_lite.main(["connect", "--wait", "--timeout", "60", "--quiet"])
        monkeypatch.undo()
    out, err = capsys.readouterr()
    assert (status, out) == (4, "") and is_one_error_line(err) and ID in err


def test_an_input_that_is_written_slowly_is_read_to_its_end() -> None:
    with answering() as server:
        process = started(
            [sys.executable, FILE, "connect", "--request", "-"],
            towards(server),
            stdin=subprocess.PIPE,
        )
        assert process.stdin is not None
        for piece in (b'{"key":', b' "in pieces', b'"}'):
            process.stdin.write(piece)
            process.stdin.flush()
            assert process.poll() is None and server.connections == 0
        done = ended(process)
        assert done.status == 0 and server.requests[0].json() == {"key": "in pieces"}
