"""How soon a wait and a stream know: by whichever of the two ways works, and never kept by the
other."""

from itertools import accumulate
from typing import Dict, List, Sequence

from jamsocket_lite import BackendState, BackendTerminated, JamsocketTimeout
from kit.deadlines import undisturbed
from kit.platforms import STATUSES, events, in_turn, streamed, told
from kit.scenarios import FAILS, HANGS
from kit.scenes import PAGE, Play, both, scenes, streaming, told_at, waiting
from kit.secrets import failed
from kit.server import Close, Pause, Repeat, Reset, Silence, Step, answer, stream_head

HANGING_503: List[Step] = [
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 500\r\n\r\nno", Silence()]

# --------------------------------------------------------------------------------------------------
# Without a stream
# --------------------------------------------------------------------------------------------------

NO_STREAM: Dict[str, Sequence[Step]] = {
    "500": FAILS, "403": [answer(b"", 403)], "a redirect": [answer(b"", 302, [("Location", "/")])],
    "429 for a minute": [answer(b"", 429, [("Retry-After", "60")])],
    "a page": PAGE,
    "closed": [Close()], "reset": [Reset()], "empty": [stream_head()], "silent": HANGS,
    "without events": [stream_head(), Silence()],
    "comments": [stream_head(), Repeat(b":\n\n", pause=0.1)],
    "an event that never ends": [stream_head() + b"data:{", Silence()],
    "a chunk that never ends": [stream_head(chunked=True) + b"10\r\ndata", Silence()],
}


@scenes({name: waiting(steps, told_at((1.6, "ready"))) for name, steps in NO_STREAM.items()})
def test_ready_is_known_soon_without_a_stream(play: Play) -> None:
    """Within 2.5 s, also after a while."""
    shown = play()
    assert isinstance(shown.result, BackendState) and shown.result.is_ready
    assert shown.is_soon(shown.late(1.6), 3.1)


@scenes({"no headers": waiting(HANGS, told("ready"), 1.5),
         "no events": waiting([stream_head(), Silence()], told("ready"), 1.5)})
def test_a_near_deadline_leaves_time_for_the_status_call(play: Play) -> None:
    """Nearer than the two seconds that an attempt to open a stream may take."""
    def check() -> None:
        result = play().result
        assert isinstance(result, BackendState) and result.is_ready

    undisturbed(check)


@scenes({"no headers": streaming(HANGS, told("waiting"), 1.5)})
def test_a_near_deadline_leaves_a_stream_time_for_the_status_call(play: Play) -> None:
    def check() -> None:
        assert play().seen == ["waiting"]

    undisturbed(check)


@scenes({name: waiting(NO_STREAM[name], told_at((0.3, "terminated")))
         for name in ("500", "closed", "silent", "comments")})
def test_the_end_is_known_soon_without_a_stream(play: Play) -> None:
    shown = play()
    failed(shown.result, BackendTerminated)
    assert shown.is_soon(shown.late(0.3), 3.1)


@scenes({name: streaming(steps, told_at((0.6, "waiting"), (1.2, "ready"), (2.2, "terminated")))
         for name, steps in NO_STREAM.items()})
def test_a_stream_tells_what_the_status_call_tells(play: Play) -> None:
    """A controller that has lost its database sends comments; nginx as it comes sends nothing."""
    shown = play()
    assert shown.result is None
    assert shown.seen[0] == "scheduled" and shown.seen[-1] == "terminated"
    assert shown.is_soon(shown.late(2.2), 3.1)


# --------------------------------------------------------------------------------------------------
# With a stream
# --------------------------------------------------------------------------------------------------

@scenes({"terminated": streaming([streamed("scheduled", "ready"), Repeat(b":\n\n", pause=0.5)],
                              told("terminated"), 30.0),
         "ready": waiting([streamed("scheduled"), Repeat(b":\n\n", pause=0.5)],
                       told_at((5.0, "ready")), 30.0)}, slow=["terminated", "ready"])
def test_a_stream_that_told_something_is_not_trusted_for_more_than_ten_seconds(
        play: Play) -> None:
    """It is open and sends comments, and has lost an event."""
    shown = play()
    assert not isinstance(shown.result, Exception)
    assert shown.states[-1].status in ("ready", "terminated")
    assert shown.is_soon(shown.seconds, 22.0)


TELLING: List[Step] = [streamed("scheduled"), Pause(1.3), events("loading"), Pause(0.2),
                       events("starting"), Pause(0.2), events("terminated"), Silence()]


@scenes({"a body that hangs": streaming(TELLING, HANGING_503), "silence": streaming(TELLING, HANGS),
         "a body that hangs, in a wait": waiting(TELLING, HANGING_503)})
def test_a_stream_that_tells_is_not_kept_by_a_status_call(play: Play) -> None:
    def check() -> None:  # a stream that is half a second late leaves the status call its turn
        shown = play()
        assert shown.seen == ["scheduled", "loading", "starting", "terminated"]
        for came, told_after in zip(shown.moments, accumulate((0.0, 1.3, 0.2, 0.2))):
            assert shown.is_soon(came - told_after, 1.0)

    undisturbed(check)


SILENT_FIRST: List[Step] = [stream_head(), Pause(1.3), events("loading"), Pause(0.2),
                            events("starting"), Pause(0.2), events("terminated"), Silence()]


@scenes({"a body that hangs": streaming(SILENT_FIRST, HANGING_503),
         "silence": streaming(SILENT_FIRST, HANGS),
         "a body that hangs, in a wait": waiting(SILENT_FIRST, HANGING_503)})
def test_a_status_call_keeps_events_for_two_seconds_at_most(play: Play) -> None:
    shown = play()
    assert shown.seen == ["loading", "starting", "terminated"]
    for came, told_after in zip(shown.moments, accumulate((1.3, 0.2, 0.2))):
        assert shown.is_soon(came - told_after, 2.7)


# --------------------------------------------------------------------------------------------------
# Attempts
# --------------------------------------------------------------------------------------------------

@scenes(both(in_turn(HANGS, [streamed("terminated")]), FAILS))
def test_a_stream_that_is_not_answered_is_given_up_after_two_seconds(play: Play) -> None:
    """The next one may be answered; a status call goes first."""
    shown = play()
    first, second = shown.times(streaming=True)[:2]
    assert shown.seen == ["terminated"]
    assert 1.9 < second - shown.began and shown.is_soon(second - shown.began, 5.0)
    assert any(first < moment < second for moment in shown.times(streaming=False))


@scenes(both([Close()], in_turn(HANGS, told("terminated"))))
def test_a_status_call_that_is_not_answered_is_given_up_after_two_seconds(play: Play) -> None:
    shown = play()
    assert shown.seen == ["terminated"] and shown.is_soon(shown.seconds, 6.0)


# --------------------------------------------------------------------------------------------------
# Pauses
# --------------------------------------------------------------------------------------------------

CUT = in_turn(*([streamed(*STATUSES[:count + 1])] for count in range(len(STATUSES))))


@scenes({"stream": streaming(CUT, FAILS)})
def test_pauses_are_small_again_after_a_stream_that_told_something(play: Play) -> None:
    """A front cuts each stream, and each tells a state more."""
    shown = play()
    assert shown.seen == list(STATUSES) and len(shown.times(streaming=True)) == len(STATUSES)
    assert shown.is_soon(max(shown.gaps(streaming=True)), 1.0)
    assert shown.is_soon(shown.seconds, 4.0)


@scenes({"the same again": streaming([streamed("scheduled")], told("scheduled"), 3.5),
         "nothing": streaming([stream_head()], told("scheduled"), 3.5)})
def test_pauses_grow_after_a_stream_that_told_nothing_new(play: Play) -> None:
    shown = play()
    failed(shown.result, JamsocketTimeout)
    assert 3 <= len(shown.times(streaming=True)) <= 12


@scenes({"closed": streaming([Close()], FAILS, 30.0),
         "empty": streaming([stream_head()], FAILS, 30.0),
         "an hour asked for": streaming([stream_head() + b"retry:3600000\n\n"], FAILS, 12.0)},
        slow=["closed", "empty", "an hour asked for"])
def test_no_pause_is_longer_than_five_seconds(play: Play) -> None:
    """Jitter included."""
    shown = play()
    failed(shown.result, JamsocketTimeout)
    assert shown.is_soon(max(shown.gaps(streaming=True)), 5.3)
    assert shown.is_soon(max(shown.gaps(streaming=False)), 2.3)


@scenes({"silent": both(HANGS, HANGS, 30.0)["stream"]}, slow=["silent"])
def test_no_attempt_takes_longer_than_its_bound(play: Play) -> None:
    """Six seconds of a status call, two of a stream, and a pause between them."""
    shown = play()
    failed(shown.result, JamsocketTimeout)
    assert shown.is_soon(max(shown.gaps(streaming=True)), 13.5)
    assert shown.is_soon(max(shown.gaps(streaming=False)), 13.5)
