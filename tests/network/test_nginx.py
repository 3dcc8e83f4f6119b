"""Behind a real nginx: as it comes, which lets not one byte of an event stream through, and with
the settings that people put in front of a controller."""

import contextlib
import http.client
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, List, NamedTuple, Tuple

import pytest

from jamsocket_lite import (AuthenticationError, BackendState, BackendTerminated, HTTPError,
                            JamsocketError, Plane, ProtocolError, RateLimitError)
from kit.backends import STUBBORN, Gate, python
from kit.certificates import Certificates
from kit.deadlines import LONG, at_most, wait_until
from kit.nginx import Nginx, needs_nginx
from kit.platforms import IMAGE, LIFE, PLANE, Api, Client, Cluster, running, statuses
from kit.secrets import TOKEN

pytestmark = needs_nginx

UNBUFFERED = "proxy_buffering off; "
CUT = UNBUFFERED + "proxy_read_timeout 1s; "
LIMIT = "limit_req zone=calls; limit_req_status 429; "
ZONE = "limit_req_zone $binary_remote_addr zone=calls:1m rate=%s;"
COMPRESSING = ("gzip on; gzip_proxied any; gzip_min_length 1; "
               "gzip_types application/json text/event-stream;")
REFUSING = 'if ($http_authorization != "Bearer %s") { return 401; }' % TOKEN

# A dev server knows nothing of what has ended, so who has no stream just then may not hear of it.
FORGOTTEN = "404"
ENDS = ("terminated", FORGOTTEN)


class Front(NamedTuple):
    """A platform whose backends become ready when the test says so, and an nginx before it."""

    cluster: Cluster
    gate: Gate
    nginx: Nginx

    @property
    def client(self) -> Client:
        return self.cluster.api.client(self.nginx.url)

    @property
    def streams(self) -> int:
        """How many have been asked for."""
        return self._requests("stream")

    @property
    def status_calls(self) -> int:
        return self._requests("/status")

    def _requests(self, ending: str) -> int:
        return sum(request.path.endswith(ending) for request in self.cluster.platform.requests)


def front(cluster: Cluster, location: str = "", **settings: Any) -> Nginx:
    if not cluster.api.plane:  # whose answers lead elsewhere, where the Host is not passed on
        location += "proxy_set_header Host $http_host;"
    return Nginx(cluster.platform.port, location=location, **settings)


@contextlib.contextmanager
def gated(api: Api, location: str = "", **settings: Any) -> Iterator[Front]:
    with Gate() as gate, running(api, gate.command) as cluster:
        with front(cluster, location, **settings) as nginx:
            yield Front(cluster, gate, nginx)


@contextlib.contextmanager
def meanwhile(call: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    """The future of a call that is under way."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call, *arguments, **options)


def streamed(client: Client, backend: Any, act: Callable[[BackendState], None]) -> List[str]:
    """What the stream tells, until its end; `act` is called with each state."""
    seen: List[BackendState] = []
    try:
        for state in client.status_stream(backend, timeout=LONG):
            seen.append(state)
            act(state)
    except HTTPError as error:
        if error.status != 404 or isinstance(client, Plane):
            raise
        return statuses(seen) + [FORGOTTEN]
    return statuses(seen)


def streamed_to_its_end(client: Client, backend: Any) -> List[str]:
    """The same of a backend that is ended as soon as it is ready."""
    def act(state: BackendState) -> None:
        if state.is_ready:
            client.terminate(backend)

    return streamed(client, backend, act)


def is_part(told: List[str], entered: List[str]) -> bool:
    """The status calls may miss states; what they tell comes in order, once each."""
    return told == [status for status in entered + [FORGOTTEN] if status in told]


def calls(client: Client) -> List[Callable[[], Any]]:
    """One of each kind."""
    return [client.connect,
            lambda: client.status("some"),
            lambda: client.terminate("some"),
            lambda: client.wait_until_ready("some", timeout=LONG),
            lambda: list(client.status_stream("some", timeout=LONG))]


# --------------------------------------------------------------------------------------------------
# As it comes
# --------------------------------------------------------------------------------------------------

@pytest.mark.waits
def test_as_it_comes_not_one_byte_of_a_stream_gets_through(api: Api) -> None:
    with running(api) as cluster, front(cluster) as nginx:
        connected = cluster.spawn()
        connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=1.0)
        with contextlib.closing(connection):
            connection.request("GET", api.stream_target(connected.backend_id))
            with pytest.raises(OSError, match="timed out"):
                connection.getresponse()


@pytest.mark.waits
def test_as_it_comes_the_status_calls_carry_the_wait(api: Api) -> None:
    with gated(api) as before:
        connected = before.client.connect()
        with meanwhile(before.client.wait_until_ready, connected, timeout=2 * LONG) as waiting:
            before.gate.open()
            assert waiting.result(LONG).is_ready


@pytest.mark.waits
def test_as_it_comes_a_wait_is_not_much_later(api: Api) -> None:
    with gated(api) as before:
        connected = before.client.connect()
        with meanwhile(before.client.wait_until_ready, connected, timeout=2 * LONG) as waiting:
            assert wait_until(lambda: before.status_calls >= 4)  # its pauses have grown by then
            before.gate.open()
            before.cluster.backend(connected).wait("ready")
            with at_most(3.5):
                assert waiting.result(LONG).is_ready


@pytest.mark.waits
def test_as_it_comes_a_wait_hears_of_a_crash(api: Api) -> None:
    with gated(api) as before:
        connected = before.client.connect()
        with meanwhile(before.client.wait_until_ready, connected, timeout=2 * LONG) as waiting:
            # Where it is forgotten at once, nobody knows more than that it is not there.
            before.gate.crash()
            error = waiting.exception(LONG)
    if isinstance(error, BackendTerminated):
        assert error.state.status == "terminated"
    else:
        assert isinstance(error, HTTPError) and error.status == 404 and not api.plane


@pytest.mark.waits
def test_as_it_comes_a_stream_tells_what_the_status_calls_tell(api: Api) -> None:
    with gated(api) as before:
        connected = before.client.connect()

        def act(state: BackendState) -> None:
            if state.status == "waiting":
                before.gate.open()
            elif state.is_ready:
                before.client.terminate(connected)

        told = streamed(before.client, connected, act)
        assert {"waiting", "ready"} <= set(told) and told[-1] in ENDS
        assert is_part(told, before.cluster.statuses(connected))


@pytest.mark.waits
def test_as_it_comes_a_stream_of_an_ended_backend_ends() -> None:
    with running(PLANE) as cluster, front(cluster) as nginx:
        client = cluster.api.client(nginx.url)
        connected = cluster.spawn()
        client.terminate(connected)
        cluster.backend(connected).wait("terminated")
        told = [state.status for state in client.status_stream(connected, timeout=LONG)]
        assert told == ["terminated"]


@pytest.mark.waits
def test_as_it_comes_connect_and_wait_waits_out_a_backend_that_is_ending(api: Api) -> None:
    with running(api, python(STUBBORN), grace=1.0) as cluster, front(cluster) as nginx:
        client = api.client(nginx.url)
        first = client.connect_and_wait({"key": "board"}, timeout=LONG)
        client.terminate(first)
        cluster.backend(first).wait("terminating")
        second = client.connect_and_wait({"key": "board"}, timeout=LONG)
        assert second.spawned and second.backend_id != first.backend_id


# --------------------------------------------------------------------------------------------------
# Without buffering
# --------------------------------------------------------------------------------------------------

@pytest.mark.waits
def test_unbuffered_a_stream_tells_every_state(api: Api) -> None:
    with running(api) as cluster, front(cluster, UNBUFFERED) as nginx:
        client = api.client(nginx.url)

        def complete() -> bool:
            connected = client.connect()
            return streamed_to_its_end(client, connected) == cluster.statuses(connected)

        # On a very busy machine a status call may be faster than the replay, and what it passes
        # over is not told.
        assert any(complete() for _ in range(3))


@pytest.mark.waits
def test_unbuffered_a_wait_sees_every_state(api: Api) -> None:
    with running(api) as cluster, front(cluster, UNBUFFERED) as nginx:
        client = api.client(nginx.url)

        def complete() -> bool:
            seen: List[BackendState] = []
            client.wait_until_ready(client.connect(), timeout=LONG, on_status=seen.append)
            return statuses(seen) == LIFE

        assert any(complete() for _ in range(3))


@pytest.mark.waits
def test_a_wait_outlives_streams_that_are_cut_each_second(api: Api) -> None:
    with gated(api, CUT) as before:
        connected = before.client.connect()
        with meanwhile(before.client.wait_until_ready, connected, timeout=2 * LONG) as waiting:
            assert wait_until(lambda: before.streams >= 3)
            before.gate.open()
            assert waiting.result(LONG).is_ready


@pytest.mark.waits
def test_a_stream_outlives_streams_that_are_cut_each_second(api: Api) -> None:
    with gated(api, CUT) as before:
        connected = before.client.connect()
        with meanwhile(streamed_to_its_end, before.client, connected) as telling:
            assert wait_until(lambda: before.streams >= 3)
            before.gate.open()
            told = telling.result(LONG)
        assert "ready" in told and told[-1] in ENDS
        assert is_part(told, before.cluster.statuses(connected))


# --------------------------------------------------------------------------------------------------
# A gate with TLS
# --------------------------------------------------------------------------------------------------

@pytest.fixture
def gate_url(certificates: Certificates) -> Iterator[str]:
    """Of a gate that wants an Authorization header, before a controller that is reached by http."""
    with running(PLANE) as cluster:
        settings = {"server": REFUSING, "certificates": certificates}
        with front(cluster, UNBUFFERED, **settings) as nginx:
            yield nginx.url


def test_all_calls_pass_a_gate_with_its_header(gate_url: str, certificates: Certificates) -> None:
    client = Plane(gate_url, image=IMAGE, ssl_context=certificates.client_context(),
                   headers={"Authorization": "Bearer " + TOKEN})
    connected = client.connect_and_wait({"key": "board"}, timeout=LONG)
    assert client.status(connected).is_ready
    assert streamed_to_its_end(client, connected)[-1] == "terminated"


def test_all_calls_pass_a_gate_by_the_environment(
        gate_url: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates.ca_file)
    client = Plane.from_env({"PLANE_URL": gate_url, "PLANE_IMAGE": IMAGE,
                             "PLANE_AUTHORIZATION": "Bearer " + TOKEN})
    connected = client.connect_and_wait(timeout=LONG)
    assert client.status(connected).is_ready
    assert streamed_to_its_end(client, connected)[-1] == "terminated"


def test_without_its_header_a_gate_refuses_every_call(
        gate_url: str, certificates: Certificates) -> None:
    client = Plane(gate_url, image=IMAGE, ssl_context=certificates.client_context())
    for call in calls(client):
        with pytest.raises(AuthenticationError) as caught:
            call()
        assert caught.value.status == 401


# --------------------------------------------------------------------------------------------------
# What else people set
# --------------------------------------------------------------------------------------------------

@pytest.mark.waits
def test_a_call_above_the_limit_is_a_rate_limit_error(api: Api) -> None:
    with running(api) as cluster, front(cluster, LIMIT, http=ZONE % "1r/m") as nginx:
        client = api.client(nginx.url)
        client.connect()
        with pytest.raises(RateLimitError):
            client.connect()


@pytest.mark.waits
def test_a_wait_bears_a_rate_limit(api: Api) -> None:
    with gated(api, UNBUFFERED + LIMIT, http=ZONE % "12r/m") as before:
        connected = before.client.connect()
        with meanwhile(before.client.wait_until_ready, connected, timeout=2 * LONG) as waiting:
            assert wait_until(lambda: '" 429 ' in before.nginx.log())
            before.gate.open()
            assert waiting.result(LONG).is_ready


@pytest.mark.waits
def test_a_front_that_compresses_is_not_asked_to(api: Api) -> None:
    with running(api) as cluster, front(cluster, UNBUFFERED + COMPRESSING) as nginx:
        client = api.client(nginx.url)
        connected = client.connect_and_wait(timeout=LONG)
        asking = urllib.request.Request(
            nginx.url + api.status_target(connected.backend_id),
            headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(asking, timeout=LONG) as compressed:
            assert compressed.headers["Content-Encoding"] == "gzip"
        assert client.status(connected).is_ready
        assert streamed_to_its_end(client, connected)[-1] == "terminated"


@pytest.mark.waits
def test_a_redirect_to_https_is_refused_at_once(api: Api) -> None:
    with gated(api, server="return 301 https://$host$request_uri;") as before:
        for call in calls(before.client):
            with pytest.raises(ProtocolError, match="redirect"):
                call()
        assert not before.cluster.platform.requests


# --------------------------------------------------------------------------------------------------
# With its upstream down
# --------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def lost(before: Front, upstream: Nginx, call: Callable[[], Any]) -> Iterator[None]:
    """Takes the upstream away once a stream is open, for three seconds at least, in which a lone
    call fails with nginx's page."""
    assert wait_until(lambda: before.streams >= 1)
    upstream.kill()
    since = time.monotonic()
    with pytest.raises(JamsocketError) as caught:
        call()
    assert isinstance(caught.value, HTTPError) and caught.value.status == 502
    yield
    time.sleep(max(0.0, since + 3.0 - time.monotonic()))
    upstream.start()


@contextlib.contextmanager
def fragile(api: Api) -> Iterator[Tuple[Front, Nginx]]:
    """An nginx that stays, before one that can be killed, before a platform that stays."""
    with gated(api, UNBUFFERED) as before:
        location = UNBUFFERED + "proxy_set_header Host $http_host;"
        with Nginx(before.nginx.port, location=location) as outer:
            yield before._replace(nginx=outer), before.nginx


@pytest.mark.waits
def test_a_wait_bears_three_seconds_of_502(api: Api) -> None:
    with fragile(api) as (before, upstream):
        connected = before.client.connect()
        with meanwhile(before.client.wait_until_ready, connected, timeout=2 * LONG) as waiting:
            with lost(before, upstream, lambda: before.client.status(connected)):
                before.gate.open()
            assert waiting.result(LONG).is_ready


@pytest.mark.waits
def test_a_stream_bears_three_seconds_of_502(api: Api) -> None:
    with fragile(api) as (before, upstream):
        connected = before.client.connect()
        with meanwhile(streamed_to_its_end, before.client, connected) as telling:
            with lost(before, upstream, lambda: before.client.status(connected)):
                before.gate.open()
            told = telling.result(LONG)
        assert "ready" in told and told[-1] in ENDS
        assert is_part(told, before.cluster.statuses(connected))
