"""However a wait or a stream is left, its socket is freed at once."""

import gc
import threading
from typing import Any, Callable, Dict, Sequence

import pytest

from jamsocket_lite import BackendState, JamsocketError, JamsocketTimeout
from kit.deadlines import LONG, wait_until
from kit.platforms import ID, TIME, Api, Cluster, connected, up_to_ready
from kit.server import Server, Silence, Step, answer, event, stream_head

pytestmark = pytest.mark.usefixtures("nothing_left")


class Mine(Exception):
    """The caller's own."""


@pytest.mark.parametrize("error", [Mine("x"), KeyboardInterrupt(), OSError(5, "x"), TimeoutError(),
                                   StopIteration(), GeneratorExit(), JamsocketTimeout("x")],
                         ids=lambda error: type(error).__name__)
def test_what_on_status_raises_comes_out_and_frees_the_socket(api: Api,
                                                              error: BaseException) -> None:
    def on_status(state: BackendState) -> None:
        raise error

    with Server(api.channels([stream_head(), event(api.state("loading")), Silence()])) as server:
        with pytest.raises(type(error)) as caught:
            api.client(server.url).wait_until_ready(ID, timeout=LONG, on_status=on_status)
        assert caught.value is error
        assert server.wait_closed(LONG)


def test_on_status_is_a_function(api: Api) -> None:
    with Server() as server:
        with pytest.raises(TypeError):
            api.client(server.url).wait_until_ready(ID, on_status="print")  # type: ignore[arg-type]
        assert server.connections == 0


def leave_by_break(stream: Any) -> None:
    for _ in stream:
        break


ENDS: Dict[str, Callable[[Any], Any]] = {
    "close": lambda stream: (next(stream), stream.close()),
    "break": leave_by_break,
    "throw": lambda stream: (next(stream), pytest.raises(Mine, stream.throw, Mine())),
    "never begun": lambda stream: stream.close(),
}


@pytest.mark.parametrize("way", list(ENDS))
def test_leaving_a_stream_frees_its_socket_at_once(api: Api, way: str) -> None:
    """Without the collector's help."""
    with Server(api.channels([api.streamed("loading"), Silence()])) as server:
        stream = api.client(server.url).status_stream(ID)
        gc.disable()
        try:
            ENDS[way](stream)
            del stream
            assert server.wait_closed(LONG)
        finally:
            gc.enable()
        assert (server.connections == 0) == (way == "never begun")


def test_a_real_stream_that_is_left_is_gone_on_the_platform(cluster: Cluster) -> None:
    connected = cluster.spawn()
    stream = cluster.client().status_stream(connected)
    assert cluster.is_whole(up_to_ready(stream), connected)
    threads = threading.active_count()
    stream.close()
    # The platform serves a stream by two threads of its own.
    assert wait_until(lambda: threading.active_count() <= threads - 2)


READY = {"status": "ready", "time": TIME}


@pytest.mark.waits
@pytest.mark.parametrize("steps, status, timeout", [
    ([stream_head(), event(READY), Silence()], [answer(READY)], LONG),
    ([stream_head(), event({"status": "terminated", "time": TIME}), Silence()], [Silence()], LONG),
    ([stream_head(), Silence()], [Silence()], 0.3),
    ([answer(b"", 401)], [answer(b"", 401)], LONG),
], ids=["ready", "terminated", "deadline", "refused"])
def test_a_wait_leaves_no_socket_however_it_ends(api: Api, steps: Sequence[Step],
                                                 status: Sequence[Step], timeout: float) -> None:
    with Server(api.channels(steps, status or None)) as server:
        try:
            api.client(server.url).wait_until_ready(ID, timeout=timeout)
        except JamsocketError:
            pass
        assert server.wait_closed(LONG)
