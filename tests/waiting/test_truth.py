"""A wait returns only a `ready` that is so now: the stream wakes it, the status call decides."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import List, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import BackendState, BackendTerminated, HTTPError, JamsocketTimeout
from kit.deadlines import LONG, in_time, patiently
from kit.platforms import (ENDING, LIFE, STATUSES, TIME, Api, client, connected, events, in_turn,
                           state, streamed, told)
from kit.scenarios import FAILS, HANGS, refusing
from kit.scenes import CLOSED, PAGE, Play, scenes, streaming, told_at, turning, waiting
from kit.secrets import failed
from kit.server import (Pause, Request, Server, Silence, Step, Wait, answer, event,
                        stream_head)

def cached(status: str, age: str = "15") -> List[Step]:
    """What a cache says of a backend, some seconds after the platform did."""
    return [answer(state(status), 200, [("Age", age)])]


# --------------------------------------------------------------------------------------------------
# A ready that is over
# --------------------------------------------------------------------------------------------------

@scenes({
    "replayed after a pause, the end held back": waiting(
        [streamed("scheduled"), Pause(0.6), events("ready"), Pause(0.05), events("terminated"),
         Silence()], told("terminated")),
    "each event held back for 0.2 s": waiting(
        [streamed("scheduled"), Pause(0.8), events("ready"), Pause(0.2), events("terminated"),
         Silence()], told_at((0.7, "terminated"))),
    "the end is never told by the stream": waiting(
        [streamed("scheduled"), Pause(0.6), events("ready"), Silence()], told("terminated")),
    "the status call says so only at the second time": waiting(
        [streamed("scheduled"), Pause(0.6), events("ready"), Silence()],
        in_turn(FAILS, told("terminated"))),
})
def test_a_ready_that_is_over_is_never_returned(play: Play) -> None:
    shown = play()
    assert failed(shown.result, BackendTerminated).state.is_terminated
    assert shown.is_soon(shown.seconds, 5.0)


def refused_behind(*first: Step) -> Tuple[List[Step], List[Step]]:
    """A stream that tells the end while a status call is under way, which is refused only then."""
    asked, over = threading.Event(), threading.Event()
    return ([*first, Wait(asked), events("terminated"), over.set, Silence()],
            [asked.set, Wait(over), *refusing(403)])


@scenes({
    "a refusal": waiting(*refused_behind(streamed("scheduled", "ready"))),
    "a refusal, in a stream": streaming(*refused_behind(stream_head())),
})
def test_what_has_come_of_the_stream_is_told_before_a_failure_of_the_status_call_counts(
    play: Play
) -> None:
    shown = play()
    assert shown.seen[-1:] == ["terminated"]


def ready_behind_the_end() -> Tuple[List[Step], List[Step]]:
    """A stream that tells the end while a status call is under way, which says ready then."""
    asked, over = threading.Event(), threading.Event()
    return ([stream_head(), Wait(asked), events("terminated"), over.set, Silence()],
            [asked.set, Wait(over), *told("ready")])


@scenes({"terminated": waiting(*ready_behind_the_end())})
def test_what_has_come_of_the_stream_is_told_before_an_answer_of_the_status_call_counts(
    play: Play
) -> None:
    assert failed(play().result, BackendTerminated).state.is_terminated


FROZEN = """
import signal, sys
sys.path[:0] = sys.argv[2:]
from jamsocket_lite import BackendTerminated, wait_until_ready
try:
    print(wait_until_ready(sys.argv[1], timeout=20).status)
except BackendTerminated as error:
    print("over:", error.state.status)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
@pytest.mark.usefixtures("nothing_left")
def test_a_process_that_was_stopped_meanwhile_returns_no_ready_that_is_over() -> None:
    """What it reads when it goes on was true before."""
    born, stopped, over = threading.Event(), threading.Event(), threading.Event()

    def stop() -> None:
        assert born.wait(LONG)
        process.send_signal(signal.SIGSTOP)
        stopped.set()

    def script(request: Request) -> List[Step]:
        if request.target.endswith("/stream"):
            return [streamed("scheduled"), Pause(0.1), stop, events("ready"), Pause(0.7), go_on,
                    Pause(0.05), events("terminated"), Silence()]
        return told("terminated" if over.is_set() else "scheduled")

    def go_on() -> None:
        over.set()
        process.send_signal(signal.SIGCONT)

    with Server(script) as server:
        paths = [str(Path(jamsocket_lite.__file__).parent)]
        command = [sys.executable, "-c", FROZEN, connected(server.url).status_url, *paths]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            born.set()
            said, _ = process.communicate(timeout=LONG)
        assert stopped.is_set() and said == b"over: terminated" + os.linesep.encode()


# --------------------------------------------------------------------------------------------------
# A ready that the status call does not confirm
# --------------------------------------------------------------------------------------------------

LIVE: List[Step] = [streamed("scheduled", "waiting"), Pause(0.4), events("ready"), Silence()]


@scenes({"500": waiting(LIVE, FAILS), "a page": waiting(LIVE, PAGE),
         "nothing": waiting(LIVE, CLOSED), "out of a cache": waiting(LIVE, cached("scheduled"))})
def test_a_streams_ready_counts_by_itself_after_two_seconds_of_failing_calls(play: Play) -> None:
    shown = play()
    assert isinstance(shown.result, BackendState) and shown.result.is_ready
    assert 2.0 < shown.seconds and shown.is_soon(shown.seconds, 6.0)


@scenes({"scheduled": waiting(LIVE, told("scheduled"), 3.5),
         "waiting": waiting(LIVE, told("waiting"), 3.5)})
def test_a_streams_ready_does_not_count_where_the_status_call_says_less(play: Play) -> None:
    shown = play()
    assert failed(shown.result, JamsocketTimeout).last_state is not None


@scenes({"waiting": waiting(LIVE, in_turn(*[told("waiting")] * 3, HANGS), 4.5)})
def test_a_streams_ready_does_not_count_where_the_deadline_cuts_the_next_status_call_short(
        play: Play) -> None:
    """Those before it said less, and it might have too."""
    shown = play()
    assert failed(shown.result, JamsocketTimeout).last_state is not None


@scenes({"starting, then ready": waiting(LIVE, told_at((2.0, "ready")))})
def test_a_status_call_that_says_less_is_asked_again_soon(play: Play) -> None:
    """It may be another controller's, that lags behind."""
    shown = play()
    assert isinstance(shown.result, BackendState) and shown.result.is_ready
    assert shown.is_soon(shown.seconds, 6.0)


@scenes({"404": waiting(LIVE, [answer(b"", 404)])})
def test_a_streams_ready_does_not_count_where_nobody_knows_the_backend(play: Play) -> None:
    shown = play()
    assert failed(shown.result, HTTPError).status == 404


@scenes({"closed": waiting([streamed(*LIFE)], FAILS, 3.5)})
def test_a_streams_ready_does_not_count_where_the_stream_is_lost(play: Play) -> None:
    shown = play()
    failed(shown.result, JamsocketTimeout)


# --------------------------------------------------------------------------------------------------
# Caches
# --------------------------------------------------------------------------------------------------

@scenes({"refused": waiting(FAILS, turning(cached("ready"), (0.9, told("terminated")))),
         "silent": waiting(HANGS, turning(cached("ready"), (0.9, told("terminated"))))})
def test_a_ready_out_of_a_cache_is_never_returned(play: Play) -> None:
    shown = play()
    assert failed(shown.result, BackendTerminated).state.is_terminated
    assert "ready" not in shown.seen


@scenes({"terminated": streaming(FAILS, turning(cached("ready"), (0.9, told("terminated"))))})
def test_a_stream_tells_nothing_that_comes_out_of_a_cache(play: Play) -> None:
    shown = play()
    assert shown.result is None and shown.seen == ["terminated"]


@pytest.mark.waits
def test_a_cache_that_is_never_passed_by_is_named() -> None:
    def check(timeout: float) -> None:
        shown = waiting([stream_head(), Silence()], cached("ready"), 5 * timeout)()
        assert "cache" in str(failed(shown.result, JamsocketTimeout)).lower()

    patiently(check)


@scenes({"0": waiting(FAILS, cached("ready", "0")),
         "none": waiting(FAILS, told("ready"))})
def test_an_answer_without_age_was_said_now(play: Play) -> None:
    shown = play()
    assert isinstance(shown.result, BackendState) and shown.result.is_ready


@pytest.mark.usefixtures("nothing_left")
def test_a_single_status_call_returns_what_a_cache_says() -> None:
    with Server(cached("ready")) as server:
        assert client(server.url).status(connected(server.url)).is_ready


# --------------------------------------------------------------------------------------------------
# The latest state that is known
# --------------------------------------------------------------------------------------------------

SWEPT = state("terminating", termination_reason="swept", termination_kind="soft")
OVER = state("terminated", termination_reason="swept", termination_kind="soft", exit_error=False)


@scenes({
    "terminating": waiting([streamed(*LIFE) + event(SWEPT) + event(OVER), Silence()], HANGS),
    "hard-terminating": waiting([streamed("waiting", "hard-terminating") + event(OVER), Silence()],
                             HANGS),
    "in chunks": waiting([stream_head(chunked=True) + b"".join(
        b"%x\r\n%s\r\n" % (len(each), each) for each in (event(SWEPT), event(OVER))), Silence()],
        HANGS),
})
def test_of_a_replay_the_last_state_is_reported(play: Play) -> None:
    shown = play()
    over = BackendState("terminated", TIME, "swept", "soft", False)
    assert failed(shown.result, BackendTerminated).state == over
    assert shown.seen[-1] == "terminated"


@scenes({known + ", " + told_status: waiting(HANGS, [answer(document)], known=known)
         for known in ENDING for told_status, document in (("terminating", SWEPT),
                                                           ("terminated", OVER))
         if STATUSES.index(known) <= STATUSES.index(told_status)})
def test_what_only_the_answer_said_is_asked_for_once(play: Play) -> None:
    """The platform knows when and why."""
    shown = play()
    found = failed(shown.result, BackendTerminated).state
    assert found.time == TIME and found.termination_reason == "swept"
    assert len(shown.times(streaming=False)) == 1 and shown.is_soon(shown.seconds, 2.0)


@scenes({"fails": waiting(HANGS, FAILS, known="terminating"),
         "hangs": waiting(HANGS, HANGS, known="terminating"),
         "404": waiting(HANGS, [answer(b"", 404)], known="terminating"),
         "tells less": waiting(HANGS, told("waiting"), known="terminating"),
         "says ready": waiting(HANGS, told("ready"), known="terminating"),
         "is a cache": waiting(HANGS, cached("terminated"), known="terminating")})
def test_where_nobody_knows_more_the_answers_status_is_reported(play: Play) -> None:
    shown = play()
    assert failed(shown.result, BackendTerminated).state.status == "terminating"
    assert shown.result.state.time == "" and shown.is_soon(shown.seconds, 4.0)


@pytest.mark.usefixtures("nothing_left")
def test_an_answer_that_is_over_is_asked_for_within_the_deadline(api: Api) -> None:
    with Server([Silence()]) as server:
        start = time.monotonic()
        with pytest.raises((BackendTerminated, JamsocketTimeout)):
            api.client(server.url).wait_until_ready(api.connected(server.url, "terminating"),
                                                    timeout=0.3)
        assert in_time(time.monotonic() - start, 1.5, start)
