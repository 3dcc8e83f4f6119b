"""Slow replays: a backend's life, told by a stream with a pause of 0 to 3 s at each place of it,
while the status call tells the truth, fails, hangs, or says 404."""

import random
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from dev.fuzzing.cases import (Case, Failure, Late, check_connected, check_error,
                                check_order)
from dev.fuzzing.recordings import refusal
from jamsocket_lite import (BackendState, BackendTerminated, ConnectResponse, HTTPError,
                            JamsocketTimeout, ProtocolError)
from kit.platforms import (ENDING, JAMSOCKET, LIFE, STATUSES, client, connected, is_stream, state,
                           streamed, told)
from kit.secrets import REQUEST
from kit.server import (Action, Pause, Peer, Request, Reset, Silence, Step, answer, chunk, event,
                        stream_head)

PAUSES = (0.0, 0.0, 0.0, 0.05, 0.3, 0.6, 1.0, 1.5, 1.9, 2.1, 3.0)
# How a status call fails, and for how many seconds of that the client bears it.
FAILURES: Dict[str, Tuple[Sequence[Step], float]] = {
    "503": ([answer(b"", 503)], 1e9),
    "429": ([answer(b"", 429, [("Retry-After", "1")])], 1e9),
    "reset": ([Reset()], 1e9),
    "hangs": ([Silence()], 1e9),
    "cached": ([answer(state("ready"), headers=[("Age", "15")])], 1e9),
    "page": ([answer(b"<html>Back in a moment</html>")], 5.0),
    "404": ([refusal("Backend not found", 404)], 2.0),
}
# How many seconds after a stream told something a caller may learn of it: a status call that is
# under way comes first.
PATIENCE = {"slow": 3.0, "hangs": 7.0}
PROMPT = 1.0
SECOND = "s3cond"  # the backend that comes after one that is over


class Noted(NamedTuple):
    """Something that the server did, so many seconds after the call began."""

    at: float
    channel: str  # "stream", "status", "failed", "closed"
    status: str = ""


class Telling(Action):
    """A stream that tells a life, never before it happens, with pauses."""

    def __init__(self, replay: "Replay", pauses: Sequence[float], cut_after: Optional[int]) -> None:
        self.replay, self.pauses, self.cut_after = replay, pauses, cut_after

    def run(self, peer: Peer) -> None:
        try:
            peer.pause(self.pauses[0])
            peer.send(stream_head(self.replay.chunked))
            for place, (status, at) in enumerate(self.replay.life):
                if place == self.cut_after:
                    return
                peer.pause(max(at - self.replay.now(), 0.0))
                self.tell(peer, status, self.pauses[place + 1])
            peer.pause(None)
        finally:
            self.replay.note("closed")

    def tell(self, peer: Peer, status: str, pause: float) -> None:
        data = event(state(status))
        if self.replay.chunked:
            data = chunk(data)
        first = len(data) // 2 if self.replay.within else 0
        if first:
            peer.send(data[:first])
        peer.pause(pause)
        self.replay.note("stream", status)
        peer.send(data[first:])


class Replay(Case):
    kind = "replay"

    def __init__(self, rng: random.Random) -> None:
        self.call = rng.choice(("wait", "stream", "both"))
        self.spawned = rng.random() < 0.5  # by a connect of ours
        self.deadline = rng.choice((1.0, 3.0, 5.0, 8.0))
        self.how = rng.choice(("works", "works", "slow", *FAILURES))
        self.failing_first = rng.choice((0, 0, 1, 3)) if self.how == "works" else 0
        self.life = make_life(rng)
        self.pauses = [rng.choice(PAUSES) for _ in range(len(self.life) + 1)]
        self.cut_after = rng.randrange(len(self.life) + 1) if rng.random() < 0.3 else None
        self.chunked, self.within = rng.random() < 0.3, rng.random() < 0.3
        self.slowness = rng.uniform(0.3, 1.8)
        self.noted: List[Noted] = []
        self.told: List[Tuple[float, str]] = []  # to the caller
        self.url, self.begun, self.returned = "", 0.0, 0.0
        self.connected_again: Optional[float] = None
        self._streams = self._calls = self._connects = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return ("a %s%s of %.0f s; life %s; pauses %s%s%s%s; the status call %s%s%s" % (
            self.call, " that spawns" if self.call == "both" and self.spawned else "",
            self.deadline,
            ", ".join("%s %.2f" % one for one in self.life), self.pauses,
            ", in chunks" if self.chunked else "", ", within events" if self.within else "",
            "" if self.cut_after is None else ", cut after %d" % self.cut_after, self.how,
            " after %d failures" % self.failing_first if self.failing_first else "",
            self.seen()))

    def seen(self) -> str:
        return "".join(
            ["\n%8.3f %s %s" % one for one in self.noted]
            + ["\n%8.3f the caller was told %s" % one for one in self.told]
            + ["\n%8.3f the end" % self.returned] if self.returned else [])

    def now(self) -> float:
        return time.monotonic() - self.begun

    def note(self, channel: str, status: str = "") -> None:
        with self._lock:
            self.noted.append(Noted(self.now(), channel, status))

    def run(self, url: str, **options: Any) -> Any:
        self.url, self.begun = url, time.monotonic()
        try:
            return self._call(url, **options)
        finally:
            self.returned = self.now()

    def _call(self, url: str, **options: Any) -> Any:
        def note(one: BackendState) -> None:
            self.told.append((self.now(), one.status))

        platform: Any = client(url, **options)
        backend = connected(url)
        if self.call == "both":
            return platform.connect_and_wait(REQUEST, timeout=self.deadline, on_status=note)
        if self.call == "wait":
            return platform.wait_until_ready(backend, timeout=self.deadline, on_status=note)
        for one in platform.status_stream(backend, timeout=self.deadline):
            note(one)
        return None

    # ---- What the server does --------------------------------------------------------------------

    def steps(self, request: Request) -> Sequence[Step]:
        if request.target.endswith("/connect"):
            return [answer(self.connect())]
        if "/%s/" % SECOND in request.target:
            return [streamed("ready"), Silence()] if is_stream(request) else told("ready")
        if is_stream(request):
            with self._lock:
                self._streams += 1
                first = self._streams == 1
            pauses = self.pauses if first else [0.0] * len(self.pauses)
            return [Telling(self, pauses, self.cut_after if first else None)]
        if self.how in FAILURES:
            self.note("failed")
            return FAILURES[self.how][0]
        with self._lock:
            self._calls += 1
            failing = self._calls <= self.failing_first
        if failing:
            self.note("failed")
            return [answer(b"", 503)]
        return [Pause(self.slowness if self.how == "slow" else 0.0), self.truth]

    def connect(self) -> Dict[str, Any]:
        """The backend of this life; to those that come again another, which is ready."""
        with self._lock:
            self._connects += 1
            if self._connects > 1:
                self.connected_again = self.now()
                return JAMSOCKET.document(self.url, backend_id=SECOND, status_url="%s%s" % (
                    self.url, JAMSOCKET.status_target(SECOND)))
        status = self.truth_at(self.now())
        if status not in ENDING:
            status = "scheduled"
        self.note("connect", status)
        return JAMSOCKET.document(self.url, status=status, spawned=self.spawned)

    def truth(self) -> bytes:
        status = self.truth_at(self.now())
        self.note("status", status)
        return answer(state(status))

    def truth_at(self, moment: float) -> str:
        return [status for status, at in self.life if at <= moment][-1]

    # ---- What may come of it ---------------------------------------------------------------------

    def check(self, outcome: Any) -> None:
        if self.connected_again is not None:
            self.check_connected_again(outcome)
        self.check_told()
        if isinstance(outcome, BaseException):
            self.check_error(outcome)
        elif self.call == "stream":
            if not self.told or self.told[-1][1] != "terminated":
                raise Failure("the stream ended early")
        elif self.connected_again is None:
            self.check_ready(outcome)
        self.check_prompt()

    def check_connected_again(self, outcome: Any) -> None:
        again = self.connected_again or 0.0
        over = [one.at for one in self.noted if one.status in ENDING and one.at <= again]
        if self.spawned or not over:
            raise Failure("connected again, though the backend is its own or not over")
        if self._connects > 2:
            raise Failure("connected again, though a backend was spawned")
        if type(outcome) is ConnectResponse and outcome.backend_id != SECOND:
            raise Failure("returned the backend that was over")
        # What follows is about the first backend.
        self.told = [one for one in self.told if one[0] < again]

    def check_told(self) -> None:
        check_order([status for _, status in self.told])
        for at, status in self.told:
            if not any(one.status == status and one.at <= at for one in self.noted):
                raise Failure("%s was told before it was known" % status)

    def check_error(self, error: BaseException) -> None:
        check_error("stream" if self.call == "stream" else "wait", error)
        if self.call == "both" and getattr(error, "response", None) is None:
            if self.noted and self.noted[0].at < self.returned - 0.3:
                raise Failure("%r without the answer of its connect" % error)
        statuses = [one.status for one in self.noted]
        if isinstance(error, BackendTerminated):
            if self.call == "both" and not self.spawned:
                raise Failure("ended by the end of another's backend")
            status = "" if error.state is None else error.state.status
            if status not in ENDING or status not in statuses:
                raise Failure("ended by %r, which nobody told" % status)
        elif isinstance(error, JamsocketTimeout):
            if self.returned < self.deadline - 0.02:
                raise Failure("timed out at %.2f s" % self.returned)
        else:
            expected = {"404": HTTPError, "page": ProtocolError}.get(self.how)
            if type(error) is not expected:
                raise Failure("%r, though it passes" % error)
            if self.returned < FAILURES[self.how][1] - 0.1:
                raise Failure("given up at %.2f s" % self.returned)

    def check_ready(self, outcome: Any) -> None:
        if self.call == "both":
            check_connected(outcome)
        elif type(outcome) is not BackendState or not outcome.is_ready:
            raise Failure("wait gave %r" % (outcome,))
        before = [one for one in self.noted if one.at <= self.returned]
        over = [one.at for one in before if one.status in ENDING]
        if over and min(over) < self.returned - 0.3:
            raise Late("ready %.2f s after its end was told" % (self.returned - min(over)))
        if not any(one.channel == "status" and one.status == "ready" for one in before):
            self.check_by_itself(before)

    def check_by_itself(self, before: Sequence[Noted]) -> None:
        """Without a status call's word a stream's `ready` counts where that call fails, and the
        stream, still open, has told nothing more for two seconds."""
        if self.how == "404":
            raise Failure("ready, against a 404")
        told = [one for one in before if one.channel == "stream"]
        if not told or told[-1].status != "ready":
            kind = Late if told and told[-1].at > self.returned - 0.3 else Failure
            raise kind("ready, which the stream did not say last")
        if self.returned - told[-1].at < 1.95:
            raise Failure("ready %.2f s after the stream's word" % (self.returned - told[-1].at))
        closed = [one.at for one in before if one.channel == "closed" and one.at > told[-1].at]
        if closed and closed[0] < self.returned - 0.3:
            raise Late("ready by a stream that was closed")
        if not any(one.channel == "failed" and one.at >= told[-1].at for one in before):
            raise Failure("ready without having asked again")

    def check_prompt(self) -> None:
        patience = PATIENCE.get(self.how, PROMPT)
        for one in self.noted:
            late = self.returned - one.at - patience
            if one.channel != "stream" or late <= 0:
                continue
            if self.connected_again is not None and self.connected_again < one.at + patience + 0.2:
                continue
            if self.call == "stream":
                reached = [at for at, status in self.told
                           if STATUSES.index(status) >= STATUSES.index(one.status)]
                if not reached or reached[0] > one.at + patience:
                    raise Late("%s of %.2f s was not told in time" % (one.status, one.at))
            elif one.status in ENDING:
                raise Late("the end of %.2f s was not told in time" % one.at)
            elif one.status == "ready" and self.is_confirmed(one.at, one.at + patience):
                raise Late("ready of %.2f s was not returned in time" % one.at)

    def is_confirmed(self, begin: float, end: float) -> bool:
        """Whether a status call would have said `ready` for all of this time."""
        failed = any(one.channel == "failed" and one.at >= begin for one in self.noted)
        return (self.how == "works" and not failed
                and self.truth_at(begin) == self.truth_at(end) == "ready")


def make_life(rng: random.Random) -> List[Tuple[str, float]]:
    """Statuses and when each began, in seconds after the call began; some are long past."""
    statuses = [status for status in LIFE[:4] if rng.random() < 0.6]
    if rng.random() < 0.85:
        statuses.append("ready")
    if rng.random() < 0.6:
        statuses += [status for status in ENDING if rng.random() < 0.7]
    statuses = statuses or ["scheduled"]
    past = rng.randrange(1, len(statuses) + 1)
    moment, life = 0.0, []
    for place, status in enumerate(statuses):
        if place >= past:
            moment += rng.choice((0.02, 0.2, 0.5, 1.0, 2.0, 3.0))
        life.append((status, moment if place >= past else -1.0))
    return life


def make(rng: random.Random) -> Replay:
    return Replay(rng)
