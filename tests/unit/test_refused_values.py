"""Values that the platform refuses, and mappings without an end, are refused with their path."""

from collections.abc import Mapping as MappingABC
from typing import Any, Callable, Dict, Iterator, List

import pytest

import jamsocket_lite
from jamsocket_lite import (
    BackendState,
    ConfigurationError,
    ConnectRequest,
    ConnectResponse,
    JamsocketError,
    Plane,
    SpawnConfig,
    ValidationError,
)
from kit.platforms import IMAGE
from kit.server import Server

# -------------------------------------------------------------------------------------------------
# NUL and halves of surrogate pairs: the platform's database holds neither
# -------------------------------------------------------------------------------------------------

PLACES: Dict[str, Callable[[str], Any]] = {
    "key": lambda text: {"key": text},
    "user": lambda text: {"user": text},
    "auth.a": lambda text: {"auth": {"a": text}},
    "auth.a[1].b": lambda text: {"auth": {"a": [0, {"b": text}]}},
    "spawn.tag": lambda text: {"spawn": {"tag": text}},
    "spawn.cluster": lambda text: {"spawn": {"cluster": text}},
    "spawn.executable.mount": lambda text: {"spawn": {"executable": {"mount": text}}},
    "spawn.executable.env.A": lambda text: {"spawn": {"executable": {"env": {"A": text}}}},
}
NAMES: Dict[str, Callable[[str], Any]] = {
    "auth": lambda text: {"auth": {text: 1}},
    "auth.a[0]": lambda text: {"auth": {"a": [{text: 1}]}},
    "spawn.executable.env": lambda text: {"spawn": {"executable": {"env": {text: "1"}}}},
}
TEXTS = {
    "NUL": "\0",
    "NUL at the end": "text\0",
    "NUL within": "te\0xt",
    "half a pair": "te\ud83dxt",
}
each_text = pytest.mark.parametrize("text", list(TEXTS))


def refusal(call: Callable[[], Any]) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        call()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
    return caught.value


@each_text
@pytest.mark.parametrize("place", list(PLACES))
def test_a_text_that_the_platform_refuses_is_refused_here(place: str, text: str) -> None:
    document = PLACES[place](TEXTS[text])
    assert refusal(lambda: ConnectRequest.from_dict(document)).path == place


@each_text
@pytest.mark.parametrize("place", list(NAMES))
def test_a_name_that_the_platform_refuses_is_refused_here(place: str, text: str) -> None:
    document = NAMES[place](TEXTS[text])
    assert refusal(lambda: ConnectRequest.from_dict(document)).path.startswith(place)


@each_text
def test_the_constructors_refuse_it_too(text: str) -> None:
    odd = TEXTS[text]
    assert refusal(lambda: ConnectRequest(key=odd)).path == "key"
    assert refusal(lambda: ConnectRequest(auth={"a": [odd]})).path == "auth.a[0]"
    assert refusal(lambda: SpawnConfig(cluster=odd)).path == "cluster"


@each_text
def test_nothing_of_it_is_sent(text: str, api: Any) -> None:
    with Server(api.service()) as server:
        client = api.client(server.url)
        for place in ("key", "user", "auth.a", "spawn.executable.mount"):
            assert refusal(lambda: client.connect(PLACES[place](TEXTS[text]))).path == place
        assert server.connections == 0


def test_text_that_is_only_odd_is_taken() -> None:
    odd = "\x01\x1f\x7f\x85\u2028\ufeff\uffff😀"
    assert ConnectRequest(key=odd, user=odd, auth={odd: odd}).auth == {odd: odd}


def test_an_answer_may_hold_what_a_request_may_not() -> None:
    """It is the platform's word, and is kept as it came."""
    state = BackendState.from_dict({"status": "ready", "time": "a\0b\ud800"})
    assert state.time == "a\0b\ud800"


# -------------------------------------------------------------------------------------------------
# What has no end
# -------------------------------------------------------------------------------------------------


class TooMany(BaseException):
    """Asked for more than anybody could want."""


class Endless(MappingABC):  # type: ignore[type-arg]
    """A mapping that has another key, and another, or the same again."""

    def __init__(self, name: Callable[[int], str], value: Any) -> None:
        self.name, self.value = name, value

    def __iter__(self) -> Iterator[str]:
        for number in range(1000000):
            yield self.name(number)
        raise TooMany

    def __getitem__(self, key: str) -> Any:
        return self.value

    def __len__(self) -> int:
        return 1


class Deep(MappingABC):  # type: ignore[type-arg]
    """A mapping that holds another such mapping, and that another."""

    made = 0

    def __init__(self) -> None:
        Deep.made += 1
        if Deep.made > 10000:
            raise TooMany

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __getitem__(self, key: str) -> Any:
        return Deep()

    def __len__(self) -> int:
        return 1


ENDLESS: Dict[str, Callable[[Any], Any]] = {
    "new keys": lambda value: Endless("k%d".__mod__, value),
    "one key": lambda value: Endless(lambda number: "k", value),
}
each_endless = pytest.mark.parametrize("which", list(ENDLESS))


@each_endless
@pytest.mark.parametrize("kind", [ConnectRequest, SpawnConfig, ConnectResponse, BackendState])
def test_a_document_without_an_end_is_refused(kind: Any, which: str) -> None:
    refusal(lambda: kind.from_dict(ENDLESS[which]("v")))


@each_endless
def test_auth_without_an_end_is_refused(which: str) -> None:
    endless = ENDLESS[which]("v")
    for auth, path in ((endless, "auth"), ({"a": [endless]}, "auth.a[0]")):
        assert refusal(lambda: ConnectRequest(auth=auth)).path.startswith(path)


@each_endless
def test_env_without_an_end_is_refused(which: str) -> None:
    document = {"spawn": {"executable": {"env": ENDLESS[which]("v")}}}
    path = refusal(lambda: ConnectRequest.from_dict(document)).path
    assert path.startswith("spawn.executable.env")


def test_auth_that_goes_down_without_an_end_is_refused() -> None:
    Deep.made = 0
    assert refusal(lambda: ConnectRequest(auth=Deep())).path.startswith("auth.a.a")


@each_endless
def test_headers_without_an_end_are_refused(which: str) -> None:
    with pytest.raises(ConfigurationError):
        Plane(image=IMAGE, headers=ENDLESS[which]("v"))


# -------------------------------------------------------------------------------------------------
# An error that a program makes itself
# -------------------------------------------------------------------------------------------------

ERRORS: List[Any] = [
    kind
    for kind in (getattr(jamsocket_lite, name) for name in jamsocket_lite.__all__)
    if isinstance(kind, type) and issubclass(kind, JamsocketError)
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: str(kind.__name__))
def test_an_error_has_no_answer_of_a_connect_unless_it_is_given_one(kind: Any) -> None:
    assert kind("x").response is None


def test_a_termination_without_its_state_has_none() -> None:
    error: Any = jamsocket_lite.BackendTerminated("x")
    assert error.state is None
