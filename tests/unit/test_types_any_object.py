"""Any Python object may be passed in: it is taken, or a ValidationError, and nothing else."""

import json
from collections.abc import Mapping as MappingABC
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from jamsocket_lite import BackendState, ConnectRequest, Executable, SpawnConfig, ValidationError
from kit.documents import ANSWERS, CLASSES, FULL, OtherMapping, is_plain, refused

SECRET = "hunter2hunter2"


class Evil(Exception):
    pass


def fail(*_: Any, **__: Any) -> Any:
    raise Evil("%s\nsecond line" % SECRET)


def mapping(**methods: Any) -> Any:
    base = {"__iter__": lambda self: iter(["key"]), "__getitem__": lambda self, key: "k",
            "__len__": lambda self: 1}
    return type("Odd", (MappingABC,), {**base, **methods})()


class EvilMeta(type):
    @property
    def __name__(cls) -> Any:  # type: ignore[override]
        return fail()

    __repr__ = __instancecheck__ = __subclasscheck__ = __hash__ = fail


class LyingMeta(type):
    __name__ = 5  # type: ignore[assignment]


class Registered:
    """Called a Mapping, and not one."""


MappingABC.register(Registered)

HOSTILE: Dict[str, Any] = {
    "iter": mapping(__iter__=fail),
    "iter gives None": mapping(__iter__=lambda self: None),
    "next": mapping(__iter__=lambda self: map(fail, [1])),
    "getitem": mapping(__getitem__=fail),
    "no item": mapping(__getitem__=lambda self, key: {}[key]),
    "len": mapping(__len__=fail),
    "keys": mapping(keys=fail, items=fail, values=fail, get=fail, __contains__=fail, __eq__=fail,
                    __bool__=fail),
    "recursion": mapping(__getitem__=lambda self, key: self[key]),
    "stop": mapping(__getitem__=lambda self, key: next(iter(()))),
    "registered": Registered(),
    "class": type("Odd", (), {"__class__": property(fail)})(),
    "lying class": type("Odd", (), {"__class__": dict})(),
    "getattribute": type("Odd", (), {"__getattribute__": fail})(),
    "dict": type("Odd", (dict,), {name: fail for name in ("__iter__", "__getitem__", "__len__",
                                                          "keys", "items", "get", "__contains__",
                                                          "__eq__")})({"key": "k"}),
    "str": type("Odd", (str,), {name: fail for name in (
        "__str__", "__eq__", "__hash__", "__len__", "__iter__", "__repr__", "__lt__",
        "isidentifier", "__format__",
        "encode", "__contains__", "__getitem__", "__add__", "__radd__", "__mod__")})("text"),
    "int": type("Odd", (int,), {name: fail for name in ("__int__", "__index__", "__le__", "__ge__",
                                                        "__lt__", "__gt__", "__eq__", "__hash__",
                                                        "__repr__", "__bool__")})(5),
    "float": type("Odd", (float,),
                  {name: fail for name in ("__float__", "__eq__", "__repr__", "__hash__")})(5.5),
    "list": type("Odd", (list,),
                 {name: fail for name in ("__iter__", "__getitem__", "__len__")})([1]),
    "tuple": type("Odd", (tuple,),
                  {name: fail for name in ("__iter__", "__getitem__", "__len__")})([1]),
    "meta": EvilMeta("Odd", (), {})(),
    "lying meta": LyingMeta("Odd", (), {})(),
    "class itself": EvilMeta("Odd", (), {}),
    "two-line name": type("a\nb", (), {})(),
    "long name": type("n" * 10000, (), {})(),
    "control name": type("a\x1b[31m\u2028b", (), {})(),
    "eq": type("Odd", (), {"__eq__": fail, "__ne__": fail, "__bool__": fail, "__repr__": fail,
                           "__str__": fail, "__hash__": fail, "__len__": fail,
                           "__format__": fail})(),
}


def key_like(**methods: Any) -> Any:
    """A key that behaves until it is in a dict."""
    return type("Odd", (str,), {"__hash__": str.__hash__, **methods})("odd key")


def places(value: Any) -> Iterator[Tuple[Any, Any]]:
    for kind in CLASSES:
        yield kind, value
        for name in FULL[kind]:
            yield kind, {**FULL[kind], name: value}
    yield Executable, {"env": {"A": value}}
    for auth in ({"a": value}, {"a": [value]}, {"a": {"b": (value,)}}):
        yield ConnectRequest, {"auth": auth}
    for method in ("isidentifier", "__str__", "__repr__", "__eq__", "__len__", "__iter__",
                   "__format__", "encode"):
        odd = key_like(**({"__eq__": fail} if method == "__eq__" else {method: fail}))
        yield Executable, {"env": {odd: value}}
        yield ConnectRequest, {"auth": {odd: value}}
        yield ConnectRequest, {odd: value}
        yield BackendState, OtherMapping({odd: value})


@pytest.mark.parametrize("name", list(HOSTILE))
def test_any_object_gives_a_value_or_a_validation_error(name: str) -> None:
    refusals = 0
    for kind, document in places(HOSTILE[name]):
        calls: List[Callable[[], Any]] = [lambda: kind.from_dict(document)]
        if kind in ANSWERS:
            calls.append(lambda: kind.from_dict(document, strict=False))
        if (
            type(document) is dict
            and set(map(type, document)) == {str}
            and set(document) <= set(FULL[kind])
        ):
            calls.append(lambda: kind(**document))
        for call in calls:
            try:
                made = call()
            except ValidationError as error:
                refusals += 1
                check_hostile(error)
            else:
                assert is_plain(made.to_dict()) and json.dumps(made.to_dict()) and repr(made)
    assert refusals


def check_hostile(error: ValidationError) -> None:
    message = str(error)
    assert len(message.splitlines()) == 1 and len(message) <= 300 and message.isprintable(), message
    assert type(error.path) is str and SECRET not in message
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize("key", ["k" * 100000, "a\nb", "a\u2028b", "\x1b[31m", "\x85", "\u202e",
                                 "'\"", "\\", "\ud800"],
                         ids=["long", "LF", "U+2028", "ESC", "NEL", "RLO", "quotes", "backslash",
                              "surrogate"])
def test_odd_keys_leave_a_message_a_single_short_line(key: str) -> None:
    for kind, document in ((ConnectRequest, {"auth": {key: b""}}), (ConnectRequest, {key: 1}),
                           (ConnectRequest, {"auth": {"a": {key: {key: b""}}}}),
                           (SpawnConfig, {key: 1}), (Executable, {"env": {key: 5}})):
        refused(lambda: kind.from_dict(document))


def test_a_mapping_that_changes_is_read_once() -> None:
    """What was checked is what is kept."""
    answers = iter(["good"] + [5] * 1000)
    made = ConnectRequest.from_dict(mapping(__getitem__=lambda self, key: next(answers)))
    assert made == ConnectRequest(key="good")
