"""Replays that come with a pause in them, at each place, while the status call works or does not.

The backend was ready once and is over, or is ready still; nothing but the truth may be returned.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import pytest

from jamsocket_lite import BackendState, BackendTerminated, HTTPError
from kit.deadlines import undisturbed
from kit.platforms import LIFE, STATUSES, Steps, events, told
from kit.scenarios import FAILS, HANGS, Outcome, Scenario, in_order, run_stream, run_wait
from kit.secrets import failed
from kit.server import Pause, Silence, Step, answer, stream_head

NOBODY: List[Step] = [answer(b"", 404)]
FIRST, LATER = 0.6, (1.5, 3.0)  # pauses; the others are slow


def calls(now: str) -> Dict[str, Steps]:
    """What the status call does."""
    return {"works": told(now), "fails": FAILS, "hangs": HANGS, "says 404": NOBODY}


class Replay(NamedTuple):
    """The states of a life, with a pause before one of them."""

    life: Sequence[str]
    call: str
    place: int
    pause: float

    @property
    def before(self) -> str:
        """The state before the pause."""
        return self.life[self.place - 1] if self.place else ""

    def played(self, run: Callable[[Scenario], Outcome] = run_wait) -> Outcome:
        steps: List[Step] = [stream_head() + events(*self.life[:self.place]), Pause(self.pause),
                             events(*self.life[self.place:]), Silence()]
        return run(Scenario(steps, calls(self.life[-1])[self.call], None))


def replays(life: Sequence[str], *names: str, slow: Sequence[str] = ()) -> Callable[[Any], Any]:
    """A test of each way of the status call, place and pause."""
    params = [pytest.param(Replay(life, call, 0, 0.0), id="at once, " + call) for call in names]
    params += [pytest.param(
        Replay(life, call, place, pause), id="%.1f s before %s, %s" % (pause, status, call),
        marks=[pytest.mark.slow] if pause in LATER or call in slow else [])
        for call in names for place, status in enumerate(life) for pause in (FIRST, *LATER)]
    return lambda test: pytest.mark.waits(pytest.mark.parametrize("replay", params)(test))


@replays(LIFE, "works", "fails", "hangs", slow=["hangs"])
def test_a_replay_of_what_is_ready_is_ready(replay: Replay) -> None:
    shown = replay.played()
    assert isinstance(shown.result, BackendState) and shown.result.is_ready
    assert shown.is_soon(shown.seconds, 15.0)


@replays(LIFE, "says 404")
def test_a_replay_of_what_nobody_knows_is_no_ready(replay: Replay) -> None:
    assert failed(replay.played().result, HTTPError).status == 404


@replays(STATUSES, "works", "fails", "hangs", "says 404")
def test_a_replay_of_what_is_over_is_never_ready(replay: Replay) -> None:
    """Where nothing else works and the stream is silent for long, its last word has to do."""
    def check() -> None:
        shown = replay.played()
        if isinstance(shown.result, BackendState) and (
                replay.call in ("works", "says 404") or shown.seconds - shown.moments[-1] < 1.95):
            pytest.fail("a ready that is over")  # however late the machine was
        if replay.call == "fails" and replay.before == "ready" and replay.pause > 2.0:
            assert isinstance(shown.result, BackendState) and shown.result.is_ready
        elif replay.call == "says 404" and isinstance(shown.result, HTTPError):
            assert failed(shown.result, HTTPError).status == 404 and replay.pause > 1.0
        else:
            state = failed(shown.result, BackendTerminated).state
            # The latest that had arrived.
            assert state.is_terminated or state.status == replay.before
            assert shown.is_soon(shown.seconds, 7.0)

    undisturbed(check)


@replays(STATUSES, "works", "fails", "hangs")
def test_a_stream_tells_a_replay_to_its_end(replay: Replay) -> None:
    """Whole where the status call tells nothing; else it may know the end before."""
    shown = replay.played(run_stream)
    assert shown.result is None and shown.seen[-1] == "terminated"
    assert replay.call == "works" or in_order(shown.seen) == list(STATUSES)
