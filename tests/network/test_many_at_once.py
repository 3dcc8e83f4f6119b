"""One client in a crowd of threads, each of which gets its own answer."""

import threading
import time
from typing import Any, Callable, Dict, List, Sequence

import pytest

from jamsocket_lite import BackendState
from kit.deadlines import LONG, record, timed
from kit.leftovers import leaving_nothing
from kit.places import run
from kit.platforms import client, connected, is_stream, state
from kit.server import Pause, Request, Server, Silence, Step, Wait, answer, event, stream_head
from kit.threads import together

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_threads_that_wait_at_once_through_one_client_each_get_their_own_answer(count: int) -> None:
    """Nobody's answer comes before all of them wait; then nothing is left."""
    go, ready = threading.Event(), threading.Event()

    def script(request: Request) -> Sequence[Step]:
        own = request.target.split("/")[3]

        def state(status: str) -> Dict[str, str]:
            return {"status": status, "time": own}

        if not is_stream(request):
            return [answer(state("ready" if ready.is_set() else "starting"))]
        return [stream_head() + event(state("scheduled")), Wait(go), event(state("waiting")),
                Pause(0.7), ready.set, event(state("ready")), Silence()]

    answers: Dict[str, Any] = {}
    with leaving_nothing():
        with Server(script) as server:
            one = client(server.url)

            def wait(own: str) -> None:
                seen: List[str] = []
                result = timed(
                    lambda: one.wait_until_ready(
                        own, timeout=60.0, on_status=lambda state: seen.append(state.time)
                    )
                )
                answers[own] = result.outcome, set(seen)

            before = threading.stack_size(512 * 1024)
            threads = [threading.Thread(target=wait, args=("backend-%d" % number,)) for number
                       in range(count)]
            start = time.monotonic()
            for thread in threads:
                thread.start()
            threading.stack_size(before)
            assert server.wait_connections(count, 60.0) and server.wait_requests(count, 60.0)
            waiting = time.monotonic() - start
            go.set()
            for thread in threads:
                thread.join(60.0)
            done = time.monotonic() - start
            assert server.wait_closed(LONG)
        for own, (outcome, seen) in answers.items():
            assert isinstance(outcome, BackendState), repr(outcome)
            assert outcome.is_ready and outcome.time == own and seen == {own}
        assert len(answers) == count
    record("%d threads at once" % count,
           "all waiting after %.1f s, all answered after %.1f s, nothing left" % (
        waiting, done))


def test_threads_share_a_client_without_mixing_answers() -> None:
    def script(request: Request) -> Sequence[Step]:
        if request.target.endswith("/connect"):
            return [answer({**connected("http://x").to_dict(),
                            "backend_id": request.json()["key"]})]
        return [answer({"status": "ready", "time": request.target.split("/")[3]})]

    with Server(script) as server:
        one = client(server.url)

        def job(own: str) -> Callable[[], None]:
            def run() -> None:
                for number in range(5):
                    assert one.connect({"key": own}).backend_id == own
                    assert one.status(own).time == own
            return run

        together({"key-%d" % number: job("key-%d" % number) for number in range(20)}, 20)
        assert len(server.requests) == 200
