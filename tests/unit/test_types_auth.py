"""`auth` is what JSON can carry, and a subclass counts as its plain value."""

import collections
import decimal
import enum
import math
from typing import Any, Dict, Iterator, List

import pytest

from jamsocket_lite import BackendState, ConnectRequest, SpawnConfig, ValidationError
from kit.documents import is_plain, refused, request_with
from kit.platforms import TIME


# -------------------------------------------------------------------------------------------------
# What JSON can carry
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("auth, path", [
    ({"a": math.nan}, "auth.a"),
    ({"a": math.inf}, "auth.a"),
    ({"a": [-math.inf]}, "auth.a[0]"),
    ({"roles": [b"x"]}, "auth.roles[0]"),
    ({"roles": ["x", {"a b": [0, 1, {"c": object()}]}]}, "auth.roles[1]['a b'][2].c"),
    ({"a b": b"x"}, "auth['a b']"),
    ({"a": {"": b"x"}}, "auth.a['']"),
    ({"a": {"1": b"x"}}, "auth.a['1']"),
    ({"a": {"ü": b"x"}}, "auth.a.ü"),
    ({"a": {"a.b": b"x"}}, "auth.a['a.b']"),
    ({"a": ((b"x",),)}, "auth.a[0][0]"),
    ({"a": 2 ** 64}, "auth.a"),
    ({"a": -2 ** 63 - 1}, "auth.a"),
    ({"a": 10 ** 5000}, "auth.a"),
    ({"a": {1, 2}}, "auth.a"),
    ({"a": decimal.Decimal(1)}, "auth.a"),
    ({"a": 1j}, "auth.a"),
    ({"a": iter([])}, "auth.a"),
    ({"a": bytearray()}, "auth.a"),
    ({"a": int}, "auth.a"),
    ({"a": SpawnConfig()}, "auth.a"),
])
def test_auth_is_what_json_can_carry(auth: Any, path: str) -> None:
    refused(lambda: ConnectRequest.from_dict({"auth": auth}), path)
    refused(lambda: ConnectRequest(auth=auth), path)


@pytest.mark.parametrize("key", [1, None, True, b"a", 1.5, ("a",)], ids=repr)
def test_the_keys_of_mappings_are_strings(key: Any) -> None:
    documents = [(request_with("auth", {key: 1}), "auth"), (request_with("auth", {"a": [{key: 1}]}),
                                                            "auth.a[0]"),
                 (request_with("spawn.executable.env", {key: "1"}), "spawn.executable.env"),
                 ({key: 1}, ""), (request_with("spawn", {key: 1}), "spawn")]
    for document, place in documents:
        with pytest.raises(ValidationError) as caught:
            ConnectRequest.from_dict(document)
        assert caught.value.path.startswith(place) and "string" in str(caught.value)


def test_auth_keeps_every_kind_of_value() -> None:
    values: List[Any] = [None, True, False, 0, -2 ** 63, 2 ** 64 - 1, 0.1, 1e308, -0.0, "", "ü😀",
                         [], {}]
    auth: Dict[str, Any] = {"a": values, "": {"b c": 1}}
    assert ConnectRequest.from_dict({"auth": auth}).to_dict() == {"auth": auth}
    assert repr(ConnectRequest(auth=auth).auth) == repr(auth)  # True stays True, 0.0 keeps its sign


def test_tuples_in_auth_become_lists() -> None:
    point = collections.namedtuple("point", "x y")
    assert ConnectRequest(auth={"a": (1, (2, ()),
                                      point(3, 4))}).to_dict() == {"auth": {"a": [1, [2, []],
                                                                                  [3, 4]]}}


def nested(levels: int, innermost: Any) -> Any:
    """So many containers, lists and mappings in turn, with a mapping outermost."""
    for level in range(levels - 1, -1, -1):
        innermost = [innermost] if level % 2 else {"a": innermost}
    return innermost


def test_auth_may_be_100_levels_deep() -> None:
    auth = nested(99, [])
    assert ConnectRequest(auth=auth).auth == auth
    for levels in (102, 1000, 20000):
        too_deep = nested(levels, 1)
        refused(lambda: ConnectRequest.from_dict({"auth": too_deep}))


def cycles() -> Iterator[Any]:
    own: List[Any] = []
    own.append(own)
    yield {"a": own}
    twice: List[Any] = []
    twice += [twice, twice]  # without a bound on the values it would double at each level
    yield {"a": twice}
    around: Dict[str, Any] = {}
    around["a"] = [around]
    yield around
    wide: Any = "x"
    for _ in range(60):
        wide = {"l": wide, "r": wide}  # no cycle, and 2 ** 60 values
    yield wide


@pytest.mark.parametrize("auth", list(cycles()), ids=["list", "doubling list", "mapping", "wide"])
def test_a_cycle_in_auth_is_refused(auth: Any) -> None:
    refused(lambda: ConnectRequest(auth=auth))


def test_a_value_may_stand_twice_in_auth() -> None:
    shared = {"x": [1]}
    made = ConnectRequest(auth={"a": shared, "b": [shared, shared]})
    assert made.to_dict() == {"auth": {"a": {"x": [1]}, "b": [{"x": [1]}, {"x": [1]}]}}


# -------------------------------------------------------------------------------------------------
# Enums and other subclasses count as their plain value
# -------------------------------------------------------------------------------------------------

class Word(str, enum.Enum):
    READY = "ready"
    NAME = "NAME"


class Number(int, enum.Enum):
    FIVE = 5


class Fraction(float, enum.Enum):
    HALF = 0.5


class Text(str):
    pass


def test_members_of_an_enum_count_as_their_plain_value() -> None:
    made = ConnectRequest.from_dict({
        "key": Word.NAME, "user": Text("ada"),
        "spawn": {"max_idle_seconds": Number.FIVE, "executable": {
            "mount": Word.NAME, "env": {Word.NAME: Word.READY},
            "resource_limits": {"cpu_period": Number.FIVE}}},
        "auth": {Word.NAME: [Word.READY, Number.FIVE, Fraction.HALF]}})
    given = made.to_dict()
    assert given == {
        "key": "NAME", "user": "ada",
        "spawn": {"max_idle_seconds": 5, "executable": {
            "mount": "NAME", "env": {"NAME": "ready"}, "resource_limits": {"cpu_period": 5}}},
        "auth": {"NAME": ["ready", 5, 0.5]}}
    assert is_plain(given) and type(made.key) is str and is_plain(made.auth)
    assert isinstance(made.spawn, SpawnConfig) and type(made.spawn.max_idle_seconds) is int


def test_field_names_may_be_members_of_an_enum() -> None:
    class Field(str, enum.Enum):
        KEY = "key"
        SPAWN = "spawn"
        TAG = "tag"

    document: Any = {Field.KEY: "k", Field.SPAWN: {Field.TAG: "v2"}}
    assert ConnectRequest.from_dict(document).to_dict() == {"key": "k", "spawn": {"tag": "v2"}}


def test_members_of_an_enum_count_in_answers() -> None:
    state = BackendState.from_dict({"status": Word.READY, "time": Text(TIME)})
    assert state == BackendState("ready",
                                 TIME) and type(state.status) is str and type(state.time) is str
    built = BackendState(Word.READY, TIME)
    assert built == state and type(built.status) is str
    assert BackendState.from_dict({"status": "ready",
                                   "time": Number.FIVE}).time == "1970-01-01T00:00:00.005Z"
