"""Settings: any string is taken as its plain value, and what cannot take effect is refused."""

import enum
from collections.abc import Mapping as MappingABC
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import ConfigurationError, Jamsocket, Plane
from kit.platforms import ID, IMAGE, PLANE, Client, service
from kit.secrets import TOKEN
from kit.server import Server

pytestmark = pytest.mark.usefixtures("nothing_left")

API_URL = "https://api.jamsocket.com"


# -------------------------------------------------------------------------------------------------
# Strings of other classes
# -------------------------------------------------------------------------------------------------


class Tagged(str):
    """As tools mark what came out of a template, and as markup is kept apart from text: what is
    made of it is another text, or is refused."""

    def __str__(self) -> str:
        return "<tagged>"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return "<tagged>"

    def __add__(self, other: str) -> "Tagged":
        return Tagged("<%s>" % str.__str__(other))

    def __radd__(self, other: str) -> "Tagged":
        return Tagged("<%s>" % other)

    def __contains__(self, other: object) -> bool:
        raise TypeError("this is no plain text")

    def __iter__(self) -> Iterator[str]:
        raise TypeError("this is no plain text")

    def encode(self, *arguments: Any, **options: Any) -> bytes:
        raise TypeError("this is no plain text")

    def split(self, *arguments: Any, **options: Any) -> List[str]:
        raise TypeError("this is no plain text")

    partition = rpartition = strip = rstrip = lower = replace = split  # type: ignore[assignment]


def member(text: str) -> str:
    """A member of an Enum of strings, which says its own name where it is made text."""
    make: Any = enum.Enum
    value: str = make("Setting", {"IT": text}, type=str).IT
    return value


KINDS: Dict[str, Callable[[str], str]] = {"subclass": Tagged, "enum": member}
each_kind = pytest.mark.parametrize("kind", list(KINDS))


def jamsocket(url: str, **settings: str) -> Client:
    given: Dict[str, Any] = {
        "account": "acme",
        "service": "board/eu",
        "token": TOKEN,
        "api_url": url,
        **settings,
    }
    return Jamsocket(**given)


def plane(url: str, header: Tuple[str, str] = ("X-Gate", "open"), **settings: str) -> Client:
    given: Dict[str, Any] = {
        "url": url,
        "image": "app:1",
        "pool": "p1",
        "namespace": "n1",
        **settings,
    }
    return Plane(headers=dict([header]), **given)


Make = Callable[[str, Callable[[str], str]], Client]

SETTINGS: Dict[str, Make] = {
    "account": lambda url, odd: jamsocket(url, account=odd("acme")),
    "service": lambda url, odd: jamsocket(url, service=odd("board/eu")),
    "token": lambda url, odd: jamsocket(url, token=odd(TOKEN)),
    "api_url": lambda url, odd: jamsocket(odd(url)),
    "Plane's url": lambda url, odd: plane(odd(url)),
    "Plane's image": lambda url, odd: plane(url, image=odd("app:1")),
    "Plane's pool": lambda url, odd: plane(url, pool=odd("p1")),
    "Plane's namespace": lambda url, odd: plane(url, namespace=odd("n1")),
    "a header's name": lambda url, odd: plane(url, (odd("X-Gate"), "open")),
    "a header's value": lambda url, odd: plane(url, ("X-Gate", odd("open"))),
    "the environment": lambda url, odd: Jamsocket.from_env(
        {
            "JAMSOCKET_ACCOUNT": odd("acme"),
            "JAMSOCKET_SERVICE": odd("board"),
            "JAMSOCKET_TOKEN": odd(TOKEN),
            "JAMSOCKET_API_URL": odd(url),
        }
    ),
    "dev mode in the environment": lambda url, odd: Jamsocket.from_env(
        {"JAMSOCKET_DEV": odd("true"), "JAMSOCKET_DEV_PORT": odd(url.rpartition(":")[2])}
    ),
    "Plane's environment": lambda url, odd: Plane.from_env(
        {
            "PLANE_URL": odd(url),
            "PLANE_IMAGE": odd("app:1"),
            "PLANE_POOL": odd("p1"),
            "PLANE_NAMESPACE": odd("n1"),
            "PLANE_AUTHORIZATION": odd("Basic eA=="),
        }
    ),
}


def is_planes(name: str) -> bool:
    return "Plane" in name or "header" in name


def sent(
    name: str, kind: Callable[[str], str]
) -> List[Tuple[str, str, List[Tuple[str, str]], bytes]]:
    """What a client with such a setting sends."""
    with Server(PLANE.service() if is_planes(name) else service()) as server:
        client = SETTINGS[name](server.url, kind)
        client.connect({"key": "k"})
        client.terminate(ID)
        return [
            (one.method, one.target, [pair for pair in one.headers if pair[0] != "Host"], one.body)
            for one in server.requests
        ]


@each_kind
@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_setting_may_be_a_string_of_any_class(name: str, kind: str) -> None:
    assert sent(name, KINDS[kind]) == sent(name, str)


@each_kind
@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_setting_is_kept_as_its_plain_value(name: str, kind: str) -> None:
    """Nothing of the foreign class is left, to be met later by a pickle or a repr."""
    client = SETTINGS[name]("http://127.0.0.1:8080", KINDS[kind])
    assert "tagged" not in repr(client) and "Setting" not in repr(client)
    odd = [
        value
        for value in vars(client).values()
        if isinstance(value, str) and type(value) is not str
    ]
    assert odd == []


@each_kind
def test_a_backend_may_be_named_by_a_string_of_any_class(api: Any, kind: str) -> None:
    odd = KINDS[kind]
    with Server(api.service()) as server:
        client = api.client(server.url)
        assert client.status(odd(ID)).is_ready
        assert client.status(odd(server.url + api.status_target())).is_ready
        client.terminate(odd(ID))
        assert client.wait_until_ready(odd(ID)).is_ready
        assert jamsocket_lite.wait_until_ready(odd(server.url + api.status_target())).is_ready
        targets = {one.target for one in server.requests}
    assert targets <= {api.status_target(), api.stream_target(), api.terminate_target()}


@each_kind
def test_the_functions_settings_may_be_strings_of_any_class(kind: str) -> None:
    odd = KINDS[kind]
    with Server(service()) as server:
        jamsocket_lite.connect(
            account=odd("acme"), service=odd("board"), token=odd(TOKEN), api_url=odd(server.url)
        )
        (one,) = server.requests
    assert one.target == "/v2/service/acme/board/connect"
    assert one.header("Authorization") == "Bearer " + TOKEN


class Unreadable(MappingABC):  # type: ignore[type-arg]
    """Headers of a store that is not there."""

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("the store is closed, its password was hunter2")

    def __getitem__(self, name: str) -> str:
        raise RuntimeError("the store is closed, its password was hunter2")

    def __len__(self) -> int:
        return 1


def test_headers_that_cannot_be_read_are_refused_without_their_words() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Plane(image=IMAGE, headers=Unreadable())
    texts = [str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)]
    assert not [text for text in texts if "hunter2" in text]


# -------------------------------------------------------------------------------------------------
# What cannot take effect
# -------------------------------------------------------------------------------------------------

OTHER = "http://127.0.0.1:9"

INEFFECTIVE: Dict[str, Callable[[], Any]] = {
    "dev mode with an api_url": lambda: Jamsocket(dev=True, api_url=OTHER),
    "a port without dev mode": lambda: Jamsocket("a", "s", "t", port=9),
    "connect, a url without credentials": lambda: jamsocket_lite.connect(api_url=OTHER),
    "connect, a port without credentials": lambda: jamsocket_lite.connect(port=9),
    "connect, a port without dev mode": lambda: jamsocket_lite.connect(
        account="a", service="s", token="t", port=9
    ),
    "connect, dev mode with an api_url": lambda: jamsocket_lite.connect(dev=True, api_url=OTHER),
    "connect, a url with dev mode and a port": lambda: jamsocket_lite.connect(
        dev=True, port=9, api_url=OTHER
    ),
}


@pytest.mark.parametrize("name", list(INEFFECTIVE))
def test_an_option_that_cannot_take_effect_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a token would go to where its owner did not mean it to go."""
    with Server(service()) as server:
        for variable, value in {
            "ACCOUNT": "acme",
            "SERVICE": "board",
            "TOKEN": TOKEN,
            "API_URL": server.url,
        }.items():
            monkeypatch.setenv("JAMSOCKET_" + variable, value)
        with pytest.raises(ConfigurationError, match="api_url" if "url" in name else "port"):
            INEFFECTIVE[name]()
        assert server.connections == 0


@pytest.mark.parametrize("options", [{"api_url": OTHER}, {"port": 9}], ids=["api_url", "port"])
def test_an_option_of_jamsockets_is_refused_where_plane_is_set_up(
    options: Dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(PLANE.service()) as server:
        monkeypatch.setenv("PLANE_URL", server.url)
        monkeypatch.setenv("PLANE_IMAGE", IMAGE)
        with pytest.raises(ConfigurationError):
            jamsocket_lite.connect(**options)
        assert server.connections == 0


def test_options_with_their_own_defaults_are_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(service()) as server:
        monkeypatch.setenv("JAMSOCKET_DEV", "true")
        monkeypatch.setenv("JAMSOCKET_DEV_PORT", str(server.port))
        jamsocket_lite.connect(dev=False, port=8080, api_url=API_URL)
        Jamsocket(dev=True, port=server.port, api_url=API_URL).connect()
        assert [one.target for one in server.requests] == ["/v2/service/-/-/connect"] * 2
