"""The status stream of the local platform, byte by byte where the two APIs differ."""

import json
import socket
import threading

import pytest

from kit.backends import DEAF, POLITE, python
from kit.deadlines import LONG
from kit.platforms import LIFE, Api
from kit.raw import Stream, asking, call, spawn, status_url, stream_url, terminate
from local.local_platform import LocalPlatform

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

NEVER = 600.0
NONE = ["/nonexistent"]


def silent(sock: socket.socket, seconds: float = 0.3) -> bool:
    """Not a byte comes for so long, not even of a head."""
    sock.settimeout(seconds)
    try:
        sock.recv(1)
    except socket.timeout:
        return True
    return False


def get(path: str) -> bytes:
    return ("GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path).encode()


def test_a_stream_replays_and_goes_on(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        _, backend = spawn(platform)
        with Stream(stream_url(platform, backend.id)) as early:
            assert early.until("ready") == backend.states
            with Stream(stream_url(platform, backend.id)) as late:
                assert late.until("ready") == backend.states
                terminate(platform, backend.id)
                assert late.until("terminated") == early.until("terminated") == backend.states[5:]


def test_its_states_are_those_of_the_status_call(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        answer, backend = spawn(platform)
        with Stream(stream_url(platform, backend.id)) as stream:
            assert stream.until("ready")[-1] == call(answer["status_url"]).json


def test_a_stream_outlives_its_backend(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        _, backend = spawn(platform)
        with Stream(stream_url(platform, backend.id)) as stream:
            stream.until("ready")
            terminate(platform, backend.id)
            stream.until("terminated")
            assert stream.is_silent()


def test_the_stream_of_an_ended_backend_replays_all_and_stays_open(api: Api) -> None:
    with LocalPlatform(NONE, plane=api.plane) as platform:
        _, backend = spawn(platform)
        backend.wait("terminated")
        with Stream(stream_url(platform, backend.id)) as stream:
            assert stream.until("terminated") == backend.states
            assert stream.is_silent()


def test_a_stream_is_an_event_stream_in_chunks(api: Api) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane) as platform:
        _, backend = spawn(platform)
        with Stream(stream_url(platform, backend.id)) as stream:
            assert stream.response.headers.get_content_type() == "text/event-stream"
            assert stream.response.headers["Transfer-Encoding"] == "chunked"


def test_an_event_of_the_dev_server_is_its_data_and_a_blank_line() -> None:
    with LocalPlatform(NONE) as platform:
        answer, backend = spawn(platform)
        with Stream(answer["status_url"] + "/stream") as stream:
            lines = [stream.response.readline() for _ in range(2)]
            state = json.dumps(backend.states[0], separators=(",", ":"))
            assert b"".join(lines) == b"data:%s\n\n" % state.encode()


def test_an_event_of_plane_is_its_data_and_then_its_id() -> None:
    with LocalPlatform(NONE, plane=True) as platform:
        answer, backend = spawn(platform)
        with Stream(answer["status_url"] + "-stream") as stream:
            lines = [stream.response.readline() for _ in range(3)]
            state = json.dumps(backend.states[0], separators=(",", ":"))
            assert b"".join(lines) == b"data: %s\nid: scheduled\n\n" % state.encode()


def test_a_client_of_http_1_0_gets_the_events_as_they_are() -> None:
    with LocalPlatform(NONE) as platform:
        _, backend = spawn(platform)
        request = b"GET /v2/backend/%s/status/stream HTTP/1.0\r\n\r\n" % backend.id.encode()
        with asking(platform, request) as sock:
            received = b""
            while b"terminated" not in received:
                received += sock.recv(65536)
            assert b"\r\n\r\ndata:{" in received and b"chunked" not in received


def test_a_client_that_leaves_a_silent_stream_is_noticed(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        _, backend = spawn(platform)
        backend.wait("ready")
        before = set(threading.enumerate())
        with Stream(stream_url(platform, backend.id)) as stream:
            stream.until("ready")
            serving = set(threading.enumerate()) - before
            assert serving
        for thread in serving:
            thread.join(LONG)
            assert not thread.is_alive()


# -------------------------------------------------------------------------------------------------
# Last-Event-ID
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("last", ["scheduled", "waiting"])
def test_plane_tells_later_states_only(last: str) -> None:
    with LocalPlatform(python(POLITE), plane=True) as platform:
        _, backend = spawn(platform)
        backend.wait("ready")
        url = stream_url(platform, backend.id)
        with Stream(url, {"Last-Event-ID": last}) as stream:
            assert stream.until("ready") == backend.states[LIFE.index(last) + 1:]


def test_plane_tells_none_ever_after_terminated() -> None:
    with LocalPlatform(NONE, plane=True, keep_alive=0.05) as platform:
        _, backend = spawn(platform)
        backend.wait("terminated")
        url = stream_url(platform, backend.id)
        with Stream(url, {"Last-Event-ID": "terminated"}) as stream:
            assert [stream.event(), stream.event()] == [{"": ""}, {"": ""}]


@pytest.mark.parametrize("last", ["nonsense", "", "7"])
def test_plane_ignores_an_id_that_it_does_not_know(last: str) -> None:
    with LocalPlatform(NONE, plane=True) as platform:
        _, backend = spawn(platform)
        url = stream_url(platform, backend.id)
        with Stream(url, {"Last-Event-ID": last}) as stream:
            assert stream.event()["id"] == "scheduled"


def test_the_dev_server_replays_all_whatever_was_the_last() -> None:
    with LocalPlatform(NONE) as platform:
        _, backend = spawn(platform)
        backend.wait("terminated")
        url = stream_url(platform, backend.id)
        with Stream(url, {"Last-Event-ID": "terminated"}) as stream:
            assert stream.until("terminated") == backend.states


# -------------------------------------------------------------------------------------------------
# Comments
# -------------------------------------------------------------------------------------------------

def test_planes_idle_streams_carry_comments() -> None:
    with LocalPlatform(python(DEAF), plane=True, keep_alive=0.05) as platform:
        _, backend = spawn(platform)
        with Stream(stream_url(platform, backend.id)) as stream:
            stream.until("waiting")
            assert [stream.event(), stream.event()] == [{"": ""}, {"": ""}]


def test_a_comment_comes_every_fifteen_seconds_where_nobody_says_otherwise() -> None:
    assert LocalPlatform(plane=True).keep_alive == 15.0


def test_the_dev_servers_idle_streams_carry_nothing() -> None:
    with LocalPlatform(python(DEAF), keep_alive=0.05) as platform:
        _, backend = spawn(platform)
        with Stream(stream_url(platform, backend.id)) as stream:
            stream.until("waiting")
            assert stream.is_silent(0.3)


# -------------------------------------------------------------------------------------------------
# Of nobody
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["nobody", "UPPER", "x" * 300])
def test_planes_stream_of_nobody_is_open_and_silent(name: str) -> None:
    with LocalPlatform(plane=True) as platform:
        assert call(status_url(platform, name)).status == 404
        with Stream(stream_url(platform, name)) as stream:
            assert stream.response.status == 200 and stream.is_silent()


def test_planes_stream_of_nobody_carries_comments() -> None:
    with LocalPlatform(plane=True, keep_alive=0.05) as platform:
        with Stream(stream_url(platform, "nobody")) as stream:
            assert [stream.event(), stream.event()] == [{"": ""}, {"": ""}]


def test_the_dev_servers_stream_of_nobody_hangs_without_a_head() -> None:
    with LocalPlatform() as platform:
        with asking(platform, get("/v2/backend/nobody/status/stream")) as sock:
            assert silent(sock)


@pytest.mark.parametrize("name", ["UPPER", "no_name", "x" * 300])
def test_the_dev_servers_stream_of_no_name_is_empty_at_once(name: str) -> None:
    with LocalPlatform() as platform:
        answer = call(stream_url(platform, name))
        assert (answer.status, answer.body) == (200, b"")


def test_the_dev_servers_head_comes_with_the_first_event() -> None:
    with LocalPlatform(python(DEAF), lag=NEVER) as platform:
        _, backend = spawn(platform)
        with asking(platform, get("/v2/backend/%s/status/stream" % backend.id)) as sock:
            assert silent(sock)


def test_closing_ends_a_stream_that_hangs() -> None:
    platform = LocalPlatform()
    platform.start()
    with asking(platform, get("/v2/backend/nobody/status/stream")) as sock:
        assert silent(sock, 0.1)
        platform.close()
        sock.settimeout(LONG)
        assert sock.recv(1) == b""
