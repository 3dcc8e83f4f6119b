"""Names of odd characters arrive as they are, or nothing is sent."""

from typing import Any, Callable, Dict, List, Sequence, Tuple
from urllib.parse import unquote

import pytest

from jamsocket_lite import ConfigurationError, ConnectResponse, Jamsocket, ValidationError
from kit.deadlines import LONG, record, timed
from kit.platforms import READY, client, connected, state
from kit.secrets import TOKEN, failed, failure
from kit.server import Request, Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

ODD_NAMES = ("a\rb", "a\nb", "a\r\nX-Injected: 1\r\n\r\n", "a\0b", "a/b", "/", "/a", "a/", "a//b",
             "..", ".", "../..", "../../v2/backend/other/terminate", "a/../b", "...", "?", "a?b=c",
             "#", "a#b", "%2f", "a%2Fb", "%2e%2e", "%", "%00", "%zz", " ", "a b", " a ", "\t",
             "a+b", "a&b=c", "a;b", "a:b", "a@b", "a\\b", "..\\..", "é", "日本", "😀", "\u202e",
             "\x7f", "\x80", "\ufeff", "a" * 3000, "'\"<>", "*", "~", "\ud800")
REFUSALS = (ConfigurationError, ValidationError)
ids = [ascii(name)[1:-1][:30] for name in ODD_NAMES]


def check_path(request: Request, *segments: str) -> None:
    """The path names exactly these, to whoever reads a path rightly."""
    assert request.target.isascii() if hasattr(str, "isascii") else request.target.encode("ascii")
    assert not set(request.target) & set("?#\\\r\n \t")
    parts = request.target.split("/")
    assert not set(parts) & {".", ".."}
    assert [unquote(part, errors="strict") for part in parts] == ["", "v2", *segments]


def check_only_request(server: Server, before: int = 0) -> Request:
    assert server.wait_closed(LONG) and server.connections == len(server.requests) == before + 1
    request = server.requests[-1]
    assert request.head.count(b"\r\n\r\n") == 1
    assert {name.lower() for name, _ in request.headers} <= {
        "host", "user-agent", "accept", "accept-encoding", "connection", "content-type",
        "content-length",
        "authorization", "cache-control"}
    return request


@pytest.mark.parametrize("name", ODD_NAMES, ids=ids)
def test_the_path_that_arrives_names_what_was_given(name: str) -> None:
    """Or the name is refused before anything is sent."""
    def outcome(call: Callable[[], Any]) -> bool:
        result = timed(call).outcome
        if isinstance(result, BaseException):
            failed(result, *REFUSALS)
        return not isinstance(result, BaseException)

    def from_client(account: str, service: str) -> Callable[[str], Any]:
        return lambda url: Jamsocket(account, service, TOKEN,
                                         api_url=url).connect({}, timeout=LONG)

    calls: Dict[str, Tuple[Callable[[str], Any], Sequence[str]]] = {
        "account": (from_client(name, "board"), ("service", name, "board", "connect")),
        "service": (from_client("acme", name), ("service", "acme", *name.split("/"), "connect")),
        "environment": (
            from_client("acme", "board/" + name),
            ("service", "acme", "board", *name.split("/"), "connect"),
        ),
        "status": (lambda url: client(url).status(name), ("backend", name, "status")),
        "terminate": (lambda url: client(url).terminate(name), ("backend", name, "terminate")),
        "terminate, by an answer": (
            lambda url: client(url).terminate(connected(url, backend_id=name)),
            ("backend", name, "terminate"),
        ),
    }
    with Server() as server:
        server.script = [answer({**connected(server.url).to_dict(), **state("ready")})]
        for what, (call, segments) in calls.items():
            before = server.connections
            if outcome(lambda: call(server.url)):
                check_path(check_only_request(server, before), *segments)
                assert len(segments) <= 5
            else:
                assert server.connections == before, what
    record("names of odd characters", "each arrived as it was given, or nothing was sent")


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if name not in ("..", ".", "\ud800")])
def test_an_id_of_any_text_can_be_asked_for(name: str) -> None:
    with Server([answer(READY)]) as server:
        assert client(server.url).status(name).is_ready


@pytest.mark.parametrize("name", ["account", "service", "token"])
def test_credentials_that_no_request_can_carry_are_a_configuration_error(name: str) -> None:
    for value in ("", "..", "\ud800", None, 7, b"bytes") if name != "token" else ("", None, 7, b"x",
                                                                                  "\ud800"):
        given: Dict[str, Any] = {"account": "acme", "service": "board", "token": TOKEN, name: value}
        failure(lambda: Jamsocket(**given), ConfigurationError)


@pytest.mark.parametrize("name", ODD_NAMES, ids=ids)
def test_a_token_arrives_as_it_is_or_is_refused(name: str) -> None:
    token = "secret-" + name + "-token"
    if not all(0x21 <= ord(character) < 0x7F for character in token):
        error = failure(lambda: Jamsocket("acme", "board", token), ConfigurationError)
        assert "secret-" not in str(error)
        return
    with Server() as server:
        server.script = [answer(connected(server.url).to_dict())]
        Jamsocket("acme", "board", token, api_url=server.url).connect()
        assert check_only_request(server).header("Authorization") == "Bearer " + token


@pytest.mark.parametrize("name", ODD_NAMES, ids=ids)
def test_keys_and_env_arrive_as_they_are_or_are_refused(name: str) -> None:
    documents: List[Dict[str, Any]] = [
        {"key": name}, {"user": name}, {"auth": {name: [name]}},
        {"key": "k", "spawn": {"tag": name, "executable": {"env": {"NAME": name}}}},
        {"key": "k", "spawn": {"executable": {"env": {name: "value"}}}}]
    with Server() as server:
        server.script = [answer(connected(server.url).to_dict())]
        for document in documents:
            before = server.connections
            outcome = timed(lambda: client(server.url).connect(document)).outcome
            if isinstance(outcome, ConnectResponse):
                request = check_only_request(server, before)
                assert request.json() == document
                request.body.decode("ascii")
                assert request.target == "/v2/service/acme/board/connect"
            else:
                failed(outcome, ValidationError)
                assert server.connections == before
