"""A short run of the fuzzer (`python tests/dev/fuzz.py` makes long ones), and whether it would notice."""

import os
import subprocess
import sys
from typing import Any, Dict, List

import pytest

from dev import fuzz
from jamsocket_lite import (BackendState, BackendTerminated, ConfigurationError, HTTPError, JamsocketTimeout,
                            NetworkError, ProtocolError)
from kit.backends import python
from kit.deadlines import record
from kit.platforms import connected, state, statuses
from kit.secrets import TOKEN


pytestmark = pytest.mark.usefixtures("nothing_left")


def test_mutated_answers_and_streams_break_no_promise() -> None:
    report = fuzz.fuzz(20261125, cases=120)
    record("fuzz", "%d cases, at most %.0f ms past a deadline" % (report.cases, report.latest * 1000))
    assert report.cases == 120
    # A run in which nothing gets through, or all of it, would prove nothing.
    assert {"list", "ProtocolError", "NetworkError", "HTTPError"} <= set(report.outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mutated_answers_and_streams_break_no_promise_for_a_while(seed: int) -> None:
    assert fuzz.fuzz(seed, seconds=10.0).cases > 100


def test_a_case_is_the_same_again() -> None:
    for number in range(50):
        one, other = fuzz.make_case(7, number), fuzz.make_case(7, number)
        assert one[:3] == other[:3] and one.pieces.pieces == other.pieces.pieces
        assert b"".join(one.pieces.pieces) == one.data
    assert len({fuzz.make_case(7, number).data for number in range(50)}) > 30
    assert fuzz.make_case(8, 0).data != fuzz.make_case(7, 0).data


def states(*statuses: str) -> List[BackendState]:
    return [BackendState.from_dict(state(status), strict=False) for status in statuses]


BROKEN: Dict[str, Any] = {
    "a foreign error": ("status", KeyError("status")),
    "an error of another kind of call": ("connect", BackendTerminated("over", state=states("terminated")[0])),
    "a configuration error": ("status", ConfigurationError("url: expected another")),
    "an error with a secret": ("status", ProtocolError("got " + TOKEN)),
    "an error of two lines": ("status", NetworkError("broken\nin two")),
    "an error without a text": ("status", NetworkError()),
    "a status below 400": ("status", HTTPError("no", status=200)),
    "an endless retry_after": ("status", HTTPError("no", status=500, retry_after=float("inf"))),
    "nothing": ("status", None), "a dict": ("connect", {}), "something": ("terminate", {"status": "ok"}),
    "not ready": ("wait", states("waiting")[0]), "going back": ("stream", states("ready", "waiting", "terminated")),
    "twice": ("stream", states("ready", "ready", "terminated")), "unfinished": ("stream", states("ready")),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_the_fuzzer_notices(name: str) -> None:
    with pytest.raises(AssertionError):
        fuzz.check_outcome(*BROKEN[name])


@pytest.mark.parametrize("call, outcome", [
    ("status", states("dreaming")[0]), ("terminate", None), ("connect", connected("http://x")),
    ("wait", states("ready")[0]), ("stream", states("loading", "dreaming", "terminated")),
    ("stream", JamsocketTimeout("late")), ("wait", BackendTerminated("over", state=states("terminated")[0]))])
def test_the_fuzzer_takes_what_is_right(call: str, outcome: Any) -> None:
    fuzz.check_outcome(call, outcome)


def test_the_fuzzer_notices_a_difference_that_the_pieces_make(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the server is what makes it: whatever comes in several pieces loses the last one."""
    run = fuzz.Pieces.run
    monkeypatch.setattr(fuzz.Pieces, "run", lambda self, peer: run(fuzz.Pieces(
        self.pieces[:-1] if len(self.pieces) > 1 else self.pieces, 0.0), peer))
    with pytest.raises(fuzz.Failure, match="pieces make a difference"):
        fuzz.fuzz(1, cases=300)


@pytest.mark.skipif(bool(os.environ.get("JAMSOCKET_LITE_INSTALLED")), reason="it needs no installed package")
def test_the_fuzzer_runs_by_itself_with_the_standard_library_alone() -> None:
    command = [sys.executable, "-S", fuzz.__file__, "--seconds", "0.2", "--seed", "5"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith(b"seed 5\n") and b" cases, at most " in done.stdout
    alone = subprocess.run(command[:3] + ["--seed", "5", "--case", "3"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=60)
    assert alone.returncode == 0 and b"it holds" in alone.stdout
