"""How long a failure of the status call is borne when it comes again and again, a test a reason."""

from typing import Dict, List, Sequence, Tuple

import pytest

from jamsocket_lite import HTTPError, JamsocketTimeout, ProtocolError
from kit.deadlines import SHORT, patiently, undisturbed
from kit.platforms import Steps, events, in_turn, streamed, told
from kit.scenarios import Outcome, Scenario, run_wait
from kit.scenes import (CLOSED, PAGE, Play, both, named, scenes, streaming, turning, waiting)
from kit.secrets import failed
from kit.server import Close, Pause, Reset, Silence, Step, answer, stream_head

REFUSED: List[Step] = [answer(b"", 405)]  # the stream, each time
NOBODY: List[Step] = [answer(b"", 404)]
PASSING: Dict[str, List[Step]] = {
    "closed": CLOSED, "reset": [Reset()], "cut short": [answer({})[:-1], Close()],
    **{str(status): [answer(b"", status)] for status in (408, 429, 500, 502, 503, 504, 599)}}


def then_works(*failures: Sequence[Step]) -> Dict[str, Play]:
    """A status call that fails first, for a wait and a stream that have nothing else."""
    return {"wait": waiting(REFUSED, in_turn(*failures, told("ready"))),
            "stream": streaming(REFUSED, in_turn(*failures, told("terminated")))}


def works_at(moment: float, *failures: Sequence[Step]) -> Dict[str, Play]:
    """The same by time; each further failure begins a second and a half after the one before."""
    later = [(1.5 * number, steps) for number, steps in enumerate(failures)][1:]
    return {"wait": waiting(REFUSED, turning(failures[0], *later, (moment, told("ready")))),
            "stream": streaming(REFUSED, turning(failures[0], *later,
                                                 (moment, told("terminated"))))}


def done(play: Play, limit: float) -> Outcome:
    """A wait that returned `ready`, a stream that went on to the end, in so many seconds."""
    shown = play()
    assert not isinstance(shown.result, Exception), repr(shown.result)
    assert shown.seen[-1] in ("ready", "terminated")
    assert shown.is_soon(shown.seconds, limit), shown.seconds
    return shown


@scenes(named({"almost five": works_at(4.3, PAGE), "a second": works_at(1.0, PAGE)}))
def test_a_maintenance_page_is_borne(play: Play) -> None:
    """The last call falls on the end of the five seconds."""
    undisturbed(lambda: done(play, 8.0))


@scenes(both(REFUSED, PAGE))
def test_a_maintenance_page_is_borne_for_five_seconds(play: Play) -> None:
    shown = play()
    failed(shown.result, ProtocolError)
    assert shown.seconds > 4.9 and shown.is_soon(shown.seconds, 8.0)


@scenes(named({"almost two": works_at(1.6, NOBODY), "a second": works_at(1.0, NOBODY)}))
def test_a_404_is_borne(play: Play) -> None:
    undisturbed(lambda: done(play, 5.0))


@scenes(named({"404, 503, 404": works_at(4.4, NOBODY, PASSING["503"], NOBODY),
               "404, a page, 404": works_at(4.4, NOBODY, PAGE, NOBODY),
               "404, an answer, 404": works_at(4.4, NOBODY, told("starting"), NOBODY)}))
def test_a_failure_of_another_kind_starts_the_time_anew(play: Play) -> None:
    assert undisturbed(lambda: done(play, 12.0)).seconds > 3.9


@scenes({"wait": waiting([Pause(1.4), streamed("scheduled"), Pause(1.4), events("waiting"),
                          Pause(0.3), events("ready"), Silence()],
                         turning(NOBODY, (3.4, told("ready"))))})
def test_a_state_of_the_stream_starts_the_time_anew(play: Play) -> None:
    """404 from 0.5 s on, and still after more than two seconds."""
    assert undisturbed(lambda: done(play, 12.0)).seconds > 2.9


@scenes(named({name: both(REFUSED, PASSING[name], 2.7)
               for name in ("closed", "408", "429", "500", "503")}))
def test_what_passes_by_itself_is_borne_until_the_deadline(play: Play) -> None:
    failed(play().result, JamsocketTimeout)


FAILURES: Dict[str, Tuple[Steps, Steps, float]] = {
    "the status call's": ([stream_head(), Silence()], [answer(b"", 503)], 1.0),
    "the stream's": ([answer(b"", 503)], told("scheduled"), 0.4),
    "before a stream that the deadline cuts short": (
        in_turn([answer(b"", 503)], [Silence()]), told("scheduled"), 0.4),
    "before a status call that the deadline cuts short": (
        [stream_head(), Silence()], in_turn([answer(b"", 503)], [Silence()]), 2.0)}


@pytest.mark.waits
@pytest.mark.parametrize("name", FAILURES)
def test_the_deadlines_error_names_the_last_failure(name: str) -> None:
    stream, status, seconds = FAILURES[name]

    def check(timeout: float) -> None:
        scenario = Scenario(stream, status, JamsocketTimeout, timeout=seconds * timeout / SHORT)
        assert "503" in str(failed(run_wait(scenario).result, JamsocketTimeout))

    patiently(check)


@scenes(named({name: then_works(steps, steps, steps) for name, steps in PASSING.items()}))
def test_what_passes_by_itself_is_borne(play: Play) -> None:
    done(play, 8.0)


@scenes(named({str(status): then_works([answer(b"", status, [("Retry-After", "86400")])])
               for status in (500, 502, 503, 504, 408)}))
def test_only_a_429_may_say_when_to_ask_again(play: Play) -> None:
    """One 503 of a front would silence a wait for a day."""
    done(play, 5.0)


@scenes(both([answer(b"", 503, [("Retry-After", "86400")])], PASSING["503"], 2.5))
def test_a_stream_is_opened_again_whatever_a_503_asks_for(play: Play) -> None:
    shown = play()
    failed(shown.result, JamsocketTimeout)
    assert len(shown.times(streaming=True)) >= 3


@scenes(named({str(status): both(REFUSED, [answer(b"", status)])
               for status in (400, 401, 402, 403, 405, 406, 410, 418, 422, 451)}))
def test_what_will_not_pass_is_not_borne(play: Play) -> None:
    shown = play()
    assert isinstance(shown.result, HTTPError) and shown.is_soon(shown.seconds, 2.5)
    assert len(shown.times(streaming=False)) == 1
