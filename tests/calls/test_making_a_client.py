"""What a client is made with: what it refuses before anything is sent, and which times are good."""

import math
import ssl
from typing import Any, Callable, Dict, List, Sequence

import pytest

import jamsocket_lite
from jamsocket_lite import ConfigurationError, HTTPError, Jamsocket, Plane
from kit.calls import first
from kit.deadlines import LONG
from kit.platforms import ID, IMAGE, Api
from kit.secrets import TOKEN
from kit.server import Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

MISCONFIGURED: Dict[str, Callable[[], Any]] = {
    "nothing": lambda: Jamsocket(),
    "no token": lambda: Jamsocket("a", "s"),
    "empty account": lambda: Jamsocket("", "s", "t"),
    "empty service": lambda: Jamsocket("a", "", "t"),
    "empty token": lambda: Jamsocket("a", "s", ""),
    "account no string": lambda: Jamsocket(5, "s", "t"),  # type: ignore[arg-type]
    "service no string": lambda: Jamsocket("a", ["s"], "t"),  # type: ignore[arg-type]
    "token no string": lambda: Jamsocket("a", "s", b"t"),  # type: ignore[arg-type]
    "token with a line end": lambda: Jamsocket("a", "s", "t\r\nX: y"),
    "token with a space": lambda: Jamsocket("a", "s", "t t"),
    "token beyond ASCII": lambda: Jamsocket("a", "s", "tö"),
    "account of dots": lambda: Jamsocket("..", "s", "t"),
    "service of dots": lambda: Jamsocket("a", "..", "t"),
    "empty environment": lambda: Jamsocket("a", "s/", "t"),
    "two environments": lambda: Jamsocket("a", "s/e/f", "t"),
    "api_url empty": lambda: Jamsocket("a", "s", "t", api_url=""),
    "api_url None": lambda: Jamsocket("a", "s", "t", api_url=None),  # type: ignore[arg-type]
    "api_url without scheme": lambda: Jamsocket("a", "s", "t", api_url="api.jamsocket.com"),
    "api_url ftp": lambda: Jamsocket("a", "s", "t", api_url="ftp://h.test"),
    "api_url file": lambda: Jamsocket("a", "s", "t", api_url="file:///etc/passwd"),
    "api_url with a user": lambda: Jamsocket("a", "s", "t", api_url="https://u:p@h.test"),
    "api_url with a space": lambda: Jamsocket("a", "s", "t", api_url="https://h.test/a b"),
    "api_url with a line end": lambda: Jamsocket("a", "s", "t", api_url="https://h.test/\r\nX: y"),
    "api_url without a host": lambda: Jamsocket("a", "s", "t", api_url="https:///x"),
    "api_url with a bad port": lambda: Jamsocket("a", "s", "t", api_url="https://h.test:99999"),
    "api_url with a word as port": lambda: Jamsocket("a", "s", "t", api_url="https://h.test:http"),
    "Plane url": lambda: Plane("localhost:8080", image=IMAGE),
    "Plane url empty": lambda: Plane("", image=IMAGE),
    "Plane image empty": lambda: Plane(image=""),
    "Plane image no string": lambda: Plane(image=None),  # type: ignore[arg-type]
    "Plane pool": lambda: Plane(image=IMAGE, pool=5),  # type: ignore[arg-type]
    "Plane namespace": lambda: Plane(image=IMAGE, namespace=["n"]),  # type: ignore[arg-type]
    "no context": lambda: Jamsocket("a", "s", "t", ssl_context="yes"),  # type: ignore[arg-type]
}


PORTS: Sequence[Any] = (0, -1, 65536, 10 ** 30, True, "8080", 8080.0, None)
HEADERS: Sequence[Any] = ([("A", "b")], {"A": 5}, {5: "b"}, {"A": "b\r\nC: d"}, {"A: b\r\nC": "d"},
                          {"": "b"}, {"A b": "c"}, {"A": "ü"}, "A: b")


@pytest.mark.parametrize("port", PORTS, ids=repr)
def test_a_port_is_a_number_from_1_to_65535(port: Any) -> None:
    with pytest.raises(ConfigurationError, match="(?i)port"):
        Jamsocket(dev=True, port=port)


@pytest.mark.parametrize("dev", ["false", "", 0, 1, None])
def test_dev_is_true_or_false(dev: Any) -> None:
    """The word false, as an environment has it, must not lead to the dev server."""
    with pytest.raises(ConfigurationError, match="dev must be True or False"):
        Jamsocket("a", "s", "t", dev=dev)



@pytest.mark.parametrize("headers", HEADERS, ids=repr)
def test_headers_are_names_with_values_that_http_can_carry(headers: Any) -> None:
    with pytest.raises(ConfigurationError, match="headers"):
        Plane(image=IMAGE, headers=headers)


@pytest.mark.parametrize("name", list(MISCONFIGURED))
def test_a_misconfigured_client_is_not_made(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MISCONFIGURED[name]()
    message = str(caught.value)
    assert message.isprintable() and len(message) < 300
    assert "t\r\nX" not in message and "u:p" not in message


def test_a_context_that_does_not_check_is_refused() -> None:
    """Certificates are checked, always."""
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigurationError, match="ssl_context"):
        Jamsocket("a", "s", "t", ssl_context=careless)
    Jamsocket("a", "s", "t", ssl_context=ssl.create_default_context())


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match="account.*service.*token"):
        Jamsocket()
    with pytest.raises(ConfigurationError, match="token") as caught:
        Jamsocket("acme", "board")
    assert "account" not in str(caught.value).split(",")[0]


WRONG_TIMEOUTS = [0, 0.0, -1, -0.5, math.nan, -math.inf, True, False, "5", b"5", [5], 5j]


@pytest.mark.parametrize("timeout", WRONG_TIMEOUTS, ids=repr)
def test_a_timeout_is_a_number_of_seconds_above_0(api: Api, timeout: Any) -> None:
    with Server() as server:
        with pytest.raises(ConfigurationError, match="timeout"):
            api.client(server.url, timeout=timeout)
        client = api.client(server.url)
        calls: List[Callable[[], Any]] = [
            lambda: client.connect(timeout=timeout), lambda: client.status(ID, timeout=timeout),
            lambda: client.terminate(ID, timeout=timeout),
            lambda: client.wait_until_ready(ID, timeout=timeout),
            # At the call, not at the first state
            lambda: client.status_stream(ID, timeout=timeout),
            lambda: jamsocket_lite.wait_until_ready(server.url + api.status_target(),
                                                    timeout=timeout),
            lambda: jamsocket_lite.connect(account="a", service="s", token="t", api_url=server.url,
                                           timeout=timeout)]
        for call in calls:
            with pytest.raises(ConfigurationError, match="timeout"):
                call()
        assert server.connections == 0


@pytest.mark.parametrize("timeout", [5, 0.5 + LONG, math.inf, 1e10, 10 ** 400, 1e308],
                         ids=["int", "float", "inf", "1e10", "huge int", "1e308"])
def test_any_time_above_0_is_good(api: Api, timeout: float) -> None:
    with Server(api.service()) as server:
        client = api.client(server.url, timeout=timeout)
        assert client.connect().backend_id == client.connect(timeout=timeout).backend_id == ID
        assert client.wait_until_ready(ID, timeout=timeout).is_ready
        assert first(client.status_stream(ID, timeout=timeout)).is_ready


def test_no_time_limit_is_good_where_the_contract_has_none(api: Api) -> None:
    with Server(api.service()) as server:
        client = api.client(server.url)
        assert client.wait_until_ready(ID, timeout=None).is_ready
        assert first(client.status_stream(ID, timeout=None)).is_ready
        assert jamsocket_lite.wait_until_ready(api.connected(server.url), timeout=None).is_ready


def test_no_repr_of_a_client_shows_its_secrets(api: Api) -> None:
    client = api.client("https://h.test/secret-path")
    for text in (repr(client), str(client), "%s" % client, repr([client])):
        assert TOKEN not in text and "secret-path" not in text


@pytest.mark.parametrize("form", [TOKEN, TOKEN.upper(), "Bearer " + TOKEN, "x%sx" % TOKEN])
def test_a_secret_that_the_server_echoes_is_not_repeated(api: Api, form: str) -> None:
    body = api.refusal(400, form, "bad token %s for %s" % (form, "hunter2hunter2"), form)
    with Server([answer(body, 400)]) as server:
        client = api.client(server.url)
        secret = {"auth": {"password": "hunter2hunter2"}}
        with pytest.raises(HTTPError) as caught:
            client.connect(secret)
    for text in (str(caught.value), repr(caught.value), repr(vars(caught.value))):
        assert TOKEN.lower() not in text.lower() and "hunter2hunter2" not in text
