"""status: the state as it is given, with its words and times."""

from typing import Any, Callable, List, Sequence, Tuple
from urllib.parse import unquote

import pytest

import jamsocket_lite
from jamsocket_lite import (BackendState, ConfigurationError, HTTPError, JamsocketError,
                            ProtocolError, ValidationError)
from kit.calls import METHODS, SINGLE
from kit.platforms import ID, TIME, Api, Cluster
from kit.server import Request, Server, Step, answer, closed_port

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_status_gives_the_state_with_its_time_in_iso_8601(api: Api) -> None:
    state = api.state("terminated", termination_reason="keyexpired", termination_kind="hard",
                      exit_error=True)
    with Server([answer(state)]) as server:
        assert api.client(server.url).status(ID) == BackendState("terminated", TIME, "key_expired",
                                                                 "hard", True)


def test_words_from_the_future_are_kept(api: Api) -> None:
    def script(request: Request) -> Sequence[Step]:
        if request.method == "POST":
            return [answer(api.document("http://h.test", status="sleeping", more=[1]))]
        return [answer(api.state("sleeping", termination_reason="bored", dream={"a": 1}))]

    with Server(script) as server:
        client = api.client(server.url)
        assert str(client.connect().status) == "sleeping"
        assert client.status(ID).to_dict() == {"status": "sleeping", "time": TIME,
                                               "termination_reason": "bored"}


def test_nulls_of_an_answer_are_as_good_as_nothing(api: Api) -> None:
    state = api.state("terminated", termination_reason=None, termination_kind=None, exit_error=None)
    with Server([answer(state)]) as server:
        assert api.client(server.url).status(ID) == BackendState("terminated", TIME)
    with Server([answer(api.document("http://h.test", secret_token=None))]) as server:
        assert api.client(server.url).connect().secret_token is None


@pytest.mark.parametrize("wrong", [{}, [], None, 5, "ready", {"status": "ready"},
                                   {"status": 5, "time": TIME}],
                         ids=repr)
def test_an_answer_of_the_wrong_shape_is_a_protocol_error(api: Api, wrong: Any) -> None:
    with Server([answer(wrong)]) as server:
        client = api.client(server.url)
        for call in (lambda: client.status(ID), lambda: client.connect()):
            with pytest.raises(ProtocolError) as caught:
                call()
            assert not isinstance(caught.value, ValidationError)


@pytest.mark.parametrize("name", SINGLE)
def test_an_error_keeps_its_meaning(api: Api, name: str) -> None:
    body = api.refusal(409, "KeyHeld", "the key is held", "req-12")
    with Server([answer(body, 409)]) as server:
        with pytest.raises(HTTPError) as caught:
            METHODS[name](api.client(server.url))
    error = caught.value
    assert (error.status, error.code, error.request_id) == (409, "KeyHeld", "req-12")
    assert "the key is held" in str(error)


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_names_nothing_is_refused(api: Api, id: str) -> None:
    with Server(api.service()) as server:
        client = api.client(server.url)
        calls: List[Callable[[], Any]] = [
            lambda: client.status(id), lambda: client.status_stream(id),
            lambda: client.wait_until_ready(id),
            lambda: client.terminate(id), lambda: jamsocket_lite.wait_until_ready(id)]
        for call in calls:
            with pytest.raises(ConfigurationError):
                call()
        assert server.connections == 0


@pytest.mark.parametrize("id", ["a/b", "../x", "a?b", "a#b", "a%2fb", "a b", "ü", "a\r\nX: y",
                                "\0"], ids=ascii)
def test_an_id_arrives_as_it_is_or_not_at_all(api: Api, id: str) -> None:
    with Server(api.service()) as server:
        client = api.client(server.url)
        calls: List[Tuple[Callable[[str], Any], str]] = [(client.status, api.status_target("%s")),
                                                         (client.terminate,
                                                          api.terminate_target(id="%s"))]
        for call, target in calls:
            prefix, suffix = target.split("%s")
            before = len(server.requests)
            try:
                call(id)
            except JamsocketError:
                pass
            for request in server.requests[before:]:
                middle = request.target[len(prefix):len(request.target) - len(suffix)]
                assert request.target == prefix + middle + suffix
                assert unquote(middle) == id and not set(middle) & set("/?# ")


@pytest.mark.parametrize("url", ["ftp://h.test/s", "file:///etc/passwd", "http://u:p@h.test/s",
                                 "http:///s", "://", "http://h.test/a b", "http://h.test:0/s",
                                 "javascript://x", "http://h.test\r\n/s"])
def test_only_http_and_https_urls_are_opened(api: Api, url: str) -> None:
    client = api.client("http://127.0.0.1:%d" % closed_port(), timeout=5)
    sent = api.connected("http://h.test", status_url=url)
    calls: List[Callable[[Any], Any]] = [client.status, client.status_stream,
                                         client.wait_until_ready, jamsocket_lite.wait_until_ready]
    # Plane's methods ask at their own url, wherever an answer says that its backend is.
    for backend, those in ((url, calls), (sent, calls[3:] if api.plane else calls)):
        for call in those:
            with pytest.raises(ConfigurationError) as caught:
                call(backend)
            assert "u:p" not in str(caught.value) and "passwd" not in str(caught.value)


def test_the_modules_function_wants_a_status_url() -> None:
    with pytest.raises(ConfigurationError):
        jamsocket_lite.wait_until_ready(ID)


def test_an_unknown_backend_is_404(cluster: Cluster) -> None:
    client = cluster.client()
    for call in (lambda: client.status("nobody"), lambda: client.terminate("nobody")):
        with pytest.raises(HTTPError) as caught:
            call()
        assert caught.value.status == 404 and caught.value.code and caught.value.request_id
