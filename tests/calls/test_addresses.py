"""Where a call goes: what a server says of its own address is often not where it can be reached."""

import socket
import urllib.request
from contextlib import closing
from typing import Any, Callable, Dict, Sequence

import pytest

import jamsocket_lite
from jamsocket_lite import ConnectResponse, Jamsocket, Plane
from kit.deadlines import LONG
from kit.platforms import ID, IMAGE, JAMSOCKET, PLANE, Api, running
from kit.secrets import TOKEN
from kit.server import Request, Server, Step, closed_port

pytestmark = pytest.mark.usefixtures("nothing_left")

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def has_ipv6() -> bool:
    try:
        with closing(socket.socket(socket.AF_INET6)) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6 on this machine")

# What controllers say of themselves, and what no answer should: nobody is there.
CLAIMS = {
    "every interface": "http://0.0.0.0:%d/pub/b/%s/status",
    "every interface, IPv6": "http://[::]:%d/pub/b/%s/status",
    "the same in full": "http://[0:0:0:0:0:0:0:0]:%d/pub/b/%s/status",
    "another port": "http://127.0.0.1:%d/pub/b/%s/status",
    "a path": "/pub/b/%.0d%s/status",
    "no url": "controller:%d, %s",
    "another scheme": "ftp://127.0.0.1:%d/pub/b/%s/status",
    "nothing": "%.0d%.0s",
}

METHODS: Dict[str, Callable[[Any, ConnectResponse], Any]] = {
    "status": lambda client, answer: client.status(answer),
    "status_stream": lambda client, answer: next(client.status_stream(answer, timeout=LONG)),
    "wait_until_ready": lambda client, answer: client.wait_until_ready(answer, timeout=LONG),
    "terminate": lambda client, answer: client.terminate(answer),
}


def claimed(name: str) -> str:
    return CLAIMS[name] % (closed_port(), ID)


def below(path: str, api: Api) -> Callable[[Request], Sequence[Step]]:
    """A platform that stands under a path of another site."""
    script: Any = api.service()

    def under(request: Request) -> Sequence[Step]:
        assert request.target.startswith(path + "/"), request.target
        steps: Sequence[Step] = script(request._replace(target=request.target[len(path) :]))
        return steps

    return under


@pytest.mark.parametrize("name", list(CLAIMS))
@pytest.mark.parametrize("method", list(METHODS))
def test_planes_methods_ask_at_their_own_url(method: str, name: str) -> None:
    with Server(PLANE.service(status_url=claimed(name))) as server:
        client = Plane(server.url, image=IMAGE, headers={"X-Gate": "open"}, timeout=LONG)
        METHODS[method](client, client.connect())
        assert len(server.requests) >= 2
        assert all(one.header("X-Gate") == "open" for one in server.requests)
        assert all("/%s/" % ID in one.target for one in server.requests[1:])


@pytest.mark.parametrize("method", list(METHODS))
def test_planes_methods_keep_the_path_of_their_own_url(method: str) -> None:
    """The controller says its address without it, where another application would answer."""
    with Server(below("/gate/plane", PLANE)) as server:
        client = Plane(server.url + "/gate/plane/", image=IMAGE, timeout=LONG)
        METHODS[method](client, client.connect())
        assert all(one.target.startswith("/gate/plane/") for one in server.requests)


@pytest.mark.parametrize("method", list(METHODS))
def test_an_answer_of_another_controller_is_asked_for_by_its_id(method: str) -> None:
    with Server() as elsewhere, Server(PLANE.service()) as server:
        answer = PLANE.connected(elsewhere.url)
        METHODS[method](Plane(server.url, image=IMAGE, timeout=LONG), answer)
        assert server.requests and elsewhere.connections == 0


@pytest.mark.parametrize("name", list(CLAIMS))
def test_a_backend_can_be_ended_by_its_answer_whatever_that_says(api: Api, name: str) -> None:
    """Terminating needs no status url."""
    with Server(api.service(status_url=claimed(name))) as server:
        client = api.client(server.url)
        client.terminate(client.connect())
        assert [one.target for one in server.requests] == [
            api.connect_target,
            api.terminate_target(),
        ]


def test_a_controller_is_waited_for_from_another_host() -> None:
    """A real process, whose controller knows itself by another name alone."""
    with running(PLANE) as cluster:
        client = cluster.client()
        answer = client.connect({"key": "board"})
        fields = {**answer.to_dict(), "status_url": claimed("every interface")}
        lied_to = ConnectResponse.from_dict(fields)
        assert client.wait_until_ready(lied_to).is_ready and client.status(lied_to).is_ready
        client.terminate(lied_to, hard=True)
        cluster.backend(answer).wait("terminated")


# -------------------------------------------------------------------------------------------------
# Where the status url counts
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["status", "status_stream", "wait_until_ready"])
def test_jamsockets_methods_ask_at_the_status_url(method: str) -> None:
    with Server(JAMSOCKET.service()) as region, Server(JAMSOCKET.service(region.url)) as server:
        client = Jamsocket("acme", "board", TOKEN, api_url=server.url, timeout=LONG)
        METHODS[method](client, client.connect())
        assert len(server.requests) == 1 and region.requests
        assert all(one.header("Authorization") is None for one in region.requests)


def test_the_modules_wait_asks_at_the_status_url(api: Api) -> None:
    with Server(api.service()) as server:
        answer = api.connected(server.url)
        assert jamsocket_lite.wait_until_ready(answer, timeout=LONG).is_ready
        targets = {one.target for one in server.requests}
    assert targets <= {api.status_target(), api.stream_target()} and targets


# -------------------------------------------------------------------------------------------------
# Every url that the standard library opens
# -------------------------------------------------------------------------------------------------

FORMS = {
    "as it is": "http://127.0.0.1:%d",
    "capitals": "HTTP://LOCALHOST:%d",
    "a slash": "http://127.0.0.1:%d/",
    "a zero before the port": "http://127.0.0.1:0%d",
    "an address in short": "http://127.1:%d",
    "an address as a number": "http://2130706433:%d",
    "every interface": "http://0.0.0.0:%d",
    "a dot at the end": "http://controller.test.:%d",
    "an underscore": "http://plane_controller.test:%d",
    "a name beyond ASCII": "http://bücher.test:%d",
    "the same as ASCII": "http://xn--bcher-kva.test:%d",
}
FORMS_6 = {
    "IPv6": "http://[::1]:%d",
    "IPv6 in full": "http://[0:0:0:0:0:0:0:1]:%d",
    "every IPv6 interface": "http://[::]:%d",
    "every one in full": "http://[0:0:0:0:0:0:0:0]:%d",
}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of .test are this machine's."""
    known: Any = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else str(host)
        return known(
            "127.0.0.1" if text.rstrip(".").endswith(".test") else host, *arguments, **options
        )

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def check_that_all_open(server: Server, base: str, api: Api) -> None:
    with DIRECT.open(base.rstrip("/") + api.status_target(), timeout=LONG) as response:
        assert (
            response.status == 200
        )  # the standard library opens it: this is what the test stands on
    client = api.client(base)
    assert client.status(ID).is_ready and client.wait_until_ready(ID).is_ready
    assert next(client.status_stream(ID)).is_ready
    assert client.connect().backend_id == ID
    assert jamsocket_lite.wait_until_ready(base.rstrip("/") + api.status_target()).is_ready
    client.terminate(ID)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("name", list(FORMS))
def test_every_url_is_taken_that_urllib_opens(
    api: Api, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(api.service("http://127.0.0.1:9")) as server:
        check_that_all_open(server, FORMS[name] % server.port, api)


@needs_ipv6
@pytest.mark.parametrize("name", list(FORMS_6))
def test_every_address_is_taken_that_urllib_opens(api: Api, name: str) -> None:
    with Server(api.service("http://127.0.0.1:9"), host="::1") as server:
        check_that_all_open(server, FORMS_6[name] % server.port, api)
