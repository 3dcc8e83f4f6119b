"""A short run of the fuzzer (`make fuzz` makes long ones), and whether it would notice."""

import os
import random
import subprocess
import sys
from typing import Any, Dict, List, Tuple

import pytest

from dev import fuzz
from dev.fuzzing import floods, mutations, replays
from dev.fuzzing.cases import Failure, check_outcome
from dev.fuzzing.replays import Noted
from jamsocket_lite import (BackendState, BackendTerminated, ConfigurationError, HTTPError,
                            JamsocketTimeout, NetworkError, ProtocolError)
from kit.deadlines import record
from kit.platforms import connected, state
from kit.secrets import TOKEN

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_mutations_floods_and_slow_replays_break_no_promise() -> None:
    report = fuzz.fuzz(20261125, cases=160, longest=3.0)
    record("fuzz", "%d cases, at most %.0f ms past a deadline" % (
        report.cases, report.latest * 1000))
    assert report.cases > 120
    # A run in which nothing gets through, or all of it, would prove nothing.
    assert {"mutation: list", "mutation: ProtocolError", "mutation: NetworkError",
            "mutation: HTTPError", "flood: JamsocketTimeout",
            "replay: JamsocketTimeout"} <= set(report.outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mutations_floods_and_slow_replays_break_no_promise_for_a_while(seed: int) -> None:
    assert fuzz.fuzz(seed, seconds=15.0).cases > 100


def test_a_case_is_the_same_again() -> None:
    cases = [repr(fuzz.make_case(7, number)) for number in range(100)]
    assert cases == [repr(fuzz.make_case(7, number)) for number in range(100)]
    assert len(set(cases)) > 90
    assert repr(fuzz.make_case(8, 1)) != cases[1]


def test_pieces_are_all_of_a_mutated_answer() -> None:
    for seed in range(50):
        case = mutations.make(random.Random(seed))
        assert b"".join(case.pieces.pieces) == case.data


def test_every_flood_names_its_own_bytes() -> None:
    for table in (floods.OF_ANSWERS, floods.OF_STREAMS):
        assert all(unit for _, unit in table.values())
        assert len(set(table.values())) == len(table)


# ---- What comes of a mutation --------------------------------------------------------------------


def states(*statuses: str) -> List[BackendState]:
    return [BackendState.from_dict(state(status), strict=False) for status in statuses]


BROKEN: Dict[str, Any] = {
    "a foreign error": ("status", KeyError("status")),
    "an error of another kind of call": (
        "connect", BackendTerminated("over", state=states("terminated")[0])),
    "a configuration error": ("status", ConfigurationError("url: expected another")),
    "an error with a secret": ("status", ProtocolError("got " + TOKEN)),
    "an error with a part of one": ("status", ProtocolError("got " + TOKEN[4:10])),
    "an error of two lines": ("status", NetworkError("broken\nin two")),
    "an error without a text": ("status", NetworkError()),
    "a status below 400": ("status", HTTPError("no", status=200)),
    "an endless retry_after": ("status", HTTPError("no", status=500, retry_after=float("inf"))),
    "nothing": ("status", None),
    "a dict": ("connect", {}),
    "something": ("terminate", {"status": "ok"}),
    "not ready": ("wait", states("waiting")[0]),
    "going back": ("stream", states("ready", "waiting", "terminated")),
    "twice": ("stream", states("ready", "ready", "terminated")),
    "unfinished": ("stream", states("ready")),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_the_fuzzer_notices(name: str) -> None:
    with pytest.raises(AssertionError):
        check_outcome(*BROKEN[name])


@pytest.mark.parametrize("call, outcome", [
    ("status", states("dreaming")[0]),
    ("terminate", None),
    ("connect", connected("http://x")),
    ("wait", states("ready")[0]),
    ("stream", states("loading", "dreaming", "terminated")),
    ("stream", JamsocketTimeout("late")),
    ("wait", BackendTerminated("over", state=states("terminated")[0]))])
def test_the_fuzzer_takes_what_is_right(call: str, outcome: Any) -> None:
    check_outcome(call, outcome)


def test_the_fuzzer_notices_a_difference_that_the_pieces_make(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the server is what makes it: whatever comes in several pieces loses the last one."""
    run = mutations.Pieces.run
    monkeypatch.setattr(mutations.Pieces, "run", lambda self, peer: run(mutations.Pieces(
        self.pieces[:-1] if len(self.pieces) > 1 else self.pieces, 0.0), peer))
    with pytest.raises(Failure, match="pieces make a difference"):
        fuzz.fuzz(1, cases=300, longest=2.0)


# ---- What comes of a slow replay -----------------------------------------------------------------

READY = states("ready")[0]
OVER = BackendTerminated("over", state=states("terminated")[0])
LATE = JamsocketTimeout("late")
STREAMED = Noted(1.0, "stream", "ready")
FAILED = Noted(1.5, "failed")
ENDED = Noted(2.0, "stream", "terminated")


def replay(how: str, noted: List[Noted], returned: float, call: str = "wait",
           told: Tuple[Tuple[float, str], ...] = ()) -> replays.Replay:
    """One that was run: a backend that has been ready since before the call."""
    made = replays.make(random.Random(1))
    made.how, made.call, made.noted, made.returned = how, call, noted, returned
    made.life, made.deadline, made.told = [("ready", -1.0)], 8.0, list(told)
    made.failing_first = 0
    return made


WRONG: Dict[str, Tuple[replays.Replay, Any]] = {
    "ready that was over": (replay("works", [Noted(1.0, "status", "ready"), ENDED], 3.5), READY),
    "ready by a replay alone": (replay("works", [STREAMED], 1.1), READY),
    "ready by a replay at once": (replay("503", [STREAMED, FAILED], 2.5), READY),
    "ready by a replay without asking again": (replay("503", [STREAMED], 3.1), READY),
    "ready by a replay against a 404": (replay("404", [STREAMED, FAILED], 3.1), READY),
    "ready by a replay that went on": (replay("503", [STREAMED, FAILED, ENDED], 2.2), READY),
    "ready by a stream that was closed": (
        replay("503", [STREAMED, FAILED, Noted(2.0, "closed")], 3.1), READY),
    "ready that comes late": (
        replay("works", [STREAMED, Noted(5.0, "status", "ready")], 5.0), READY),
    "an end that nobody told": (replay("works", [], 1.0), OVER),
    "an end that comes late": (replay("works", [ENDED], 5.0), OVER),
    "a state that nobody told": (replay("works", [], 8.0, told=((1.0, "ready"),)), LATE),
    "a time-out that comes early": (replay("hangs", [], 2.0), LATE),
    "a failure that passes": (replay("503", [FAILED], 8.0), HTTPError("no", status=503)),
    "a failure that is not borne": (replay("404", [FAILED], 1.6), HTTPError("no", status=404)),
    "a stream's state that comes late": (
        replay("works", [STREAMED], 8.0, "stream", ((4.0, "ready"),)), LATE),
    "a stream that ends early": (replay("works", [STREAMED], 2.0, "stream", ((1.0, "ready"),)),
                                 None),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_the_fuzzer_notices_in_a_replay(name: str) -> None:
    case, outcome = WRONG[name]
    with pytest.raises(AssertionError):
        case.check(outcome)


@pytest.mark.parametrize("case, outcome", [
    (replay("works", [STREAMED, Noted(1.1, "status", "ready")], 1.1), READY),
    (replay("503", [STREAMED, FAILED], 3.1), READY),
    (replay("works", [STREAMED, FAILED], 3.1), READY),  # where the status call works later on
    (replay("works", [ENDED], 2.1), OVER),
    (replay("hangs", [STREAMED], 8.0), LATE),
    (replay("404", [STREAMED, FAILED], 3.6), HTTPError("no", status=404)),
    (replay("works", [ENDED], 2.1, "stream", ((2.1, "terminated"),)), None)])
def test_the_fuzzer_takes_what_is_right_in_a_replay(case: replays.Replay, outcome: Any) -> None:
    case.check(outcome)


# ---- As a program --------------------------------------------------------------------------------


@pytest.mark.skipif(bool(os.environ.get("JAMSOCKET_LITE_INSTALLED")),
                    reason="it needs no installed package")
def test_the_fuzzer_runs_by_itself_with_the_standard_library_alone() -> None:
    command = [sys.executable, "-S", fuzz.__file__, "--seed", "5"]
    done = subprocess.run([*command, "--seconds", "0.2", "--longest", "2"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith(b"seed 5\n"), done.stdout
    assert b" cases, at most " in done.stdout
    alone = subprocess.run([*command, "--case", "3"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=60)
    assert alone.returncode == 0 and b"it holds" in alone.stdout
