"""Behind a real HAProxy as it comes, which holds each event of a stream back for 200 ms."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from jamsocket_lite import BackendState, BackendTerminated, HTTPError
from kit.backends import Gate
from kit.deadlines import LONG
from kit.haproxy import HAProxy, needs_haproxy
from kit.platforms import Api, Cluster, running
from kit.witness import Witness, watch
from local.local_platform import Backend

pytestmark = needs_haproxy


def test_a_wait_returns_ready(api: Api) -> None:
    with Gate() as gate, running(api, gate.command) as cluster:
        with HAProxy(cluster.platform.port) as haproxy, ThreadPoolExecutor(1) as pool:
            client = api.client(haproxy.url)
            connected = client.connect()
            waiting = pool.submit(client.wait_until_ready, connected, timeout=2 * LONG)
            gate.open()
            assert waiting.result(LONG).is_ready


def test_a_stream_tells_each_state_until_the_end(cluster: Cluster) -> None:
    with HAProxy(cluster.platform.port) as haproxy:
        client = cluster.api.client(haproxy.url)
        connected = client.connect()
        told = []
        for state in client.status_stream(connected, timeout=LONG):
            told.append(state.status)
            if state.is_ready:
                client.terminate(connected)
        entered = cluster.statuses(connected)
        assert told[-1] == "terminated" and told == [one for one in entered if one in told]


def test_a_ready_that_is_over_is_not_returned(api: Api) -> None:
    """Each backend ends before HAProxy passes on that it is ready."""
    delays = (0.0, 0.05, 0.1, 0.15)
    with Gate() as gate, running(api, gate.command) as cluster:
        witness = Witness()
        watch(cluster.platform, witness.note)
        with HAProxy(cluster.platform.port) as haproxy, ThreadPoolExecutor(8) as pool:
            client = api.client(haproxy.url)

            def wait(waiting: Event, delay: float) -> str:
                def on_status(state: BackendState) -> None:
                    if state.status == "waiting":
                        waiting.set()

                connected = client.connect()
                ending = pool.submit(end_when_ready, cluster.backend(connected), delay)
                begun = time.monotonic()
                try:
                    client.wait_until_ready(connected, timeout=LONG, on_status=on_status)
                except BackendTerminated:
                    return "terminated"
                except HTTPError as error:  # where what has ended is forgotten at once
                    assert error.status == 404 and not api.plane
                    return "gone"
                returned = time.monotonic()
                ending.result(LONG)
                over = witness.was_over(connected.backend_id, begun, returned)
                return "over" if over else "ready"

            hears = [Event() for _ in delays]
            waits = [pool.submit(wait, *one) for one in zip(hears, delays)]
            for heard in hears:
                assert heard.wait(LONG)
            time.sleep(1.0)  # so that what the stream tells next cannot be of a replay
            for _ in delays:
                gate.open()
            assert "over" not in [one.result(2 * LONG) for one in waits]


def end_when_ready(backend: Backend, delay: float) -> None:
    backend.wait("ready")
    time.sleep(delay)
    backend.stop("hard")
    backend.wait("terminated")
