"""The types of the contract: what they take, what they refuse and where, what they give, and what they never show."""

import collections
import copy
import dataclasses
import decimal
import enum
import json
import math
import pickle
import sys
import typing
from collections import UserDict
from collections.abc import Mapping as MappingABC
from types import MappingProxyType
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import (BackendState, ConnectRequest, ConnectResponse, Executable, ResourceLimits, SpawnConfig,
                            ValidationError)

TIME = "2026-11-23T22:46:13.368Z"
INT32, INT64 = 2 ** 31 - 1, 2 ** 63 - 1

STATUSES = ["scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated"]
KINDS = ["soft", "hard"]
REASONS = ["swept", "external", "key_expired", "lost", "startup_timeout", "internal_error"]
RESERVED = ["PORT", "SESSION_BACKEND_ID", "SESSION_BACKEND_KEY", "SESSION_BACKEND_FENCING_TOKEN", "JAMSOCKET_SERVICE"]

LIMITS = {"cpu_period": 100000, "cpu_period_percent": 150, "cpu_time_limit": 60, "memory_limit_bytes": 2 ** 30,
          "disk_limit_bytes": 0}
EXECUTABLE = {"mount": "data", "env": {"PATH": "/bin", "EMPTY": ""}, "resource_limits": LIMITS}
SPAWN = {"tag": "v2", "cluster": "eu", "lifetime_limit_seconds": 3600, "max_idle_seconds": 0, "executable": EXECUTABLE}
AUTH = {"roles": ["admin", {"of": None}], "level": 1.5, "ok": True, "id": 2 ** 64 - 1, "ü": "日本"}
REQUEST = {"key": "board/42", "spawn": SPAWN, "user": "ada", "auth": AUTH}
RESPONSE = {"backend_id": "b1", "spawned": True, "status": "scheduled", "token": "t1", "url": "https://h.test/t1/",
            "status_url": "https://h.test/s", "ready_url": "https://h.test/r", "secret_token": "s1"}
SHORT_RESPONSE = {name: value for name, value in RESPONSE.items() if name not in ("ready_url", "secret_token")}
STATE = {"status": "terminated", "time": TIME, "termination_reason": "swept", "termination_kind": "soft",
         "exit_error": False}

# Of each class a full document, and short ones.
DOCUMENTS: List[Tuple[Any, Dict[str, Any]]] = [
    (ResourceLimits, LIMITS), (ResourceLimits, {}),
    (Executable, EXECUTABLE), (Executable, {"mount": False, "env": {}, "resource_limits": {}}), (Executable, {}),
    (SpawnConfig, SPAWN), (SpawnConfig, {"executable": {}}), (SpawnConfig, {}),
    (ConnectRequest, REQUEST), (ConnectRequest, {"key": "k", "spawn": False}), (ConnectRequest, {"spawn": True}),
    (ConnectRequest, {"spawn": {}, "auth": {}, "user": ""}), (ConnectRequest, {}),
    (ConnectResponse, RESPONSE), (ConnectResponse, {**SHORT_RESPONSE, "ready_url": ""}),
    (BackendState, STATE), (BackendState, {"status": "ready", "time": TIME}),
    (BackendState, {"status": "terminating", "time": TIME, "termination_reason": "external"}),
]
CLASSES: List[Any] = [ResourceLimits, Executable, SpawnConfig, ConnectRequest, ConnectResponse, BackendState]
REQUESTS, ANSWERS = CLASSES[:4], CLASSES[4:]
FULL: Dict[Any, Dict[str, Any]] = {kind: next(given for one, given in DOCUMENTS if one is kind) for kind in CLASSES}
REQUIRED = {ConnectResponse: ["backend_id", "spawned", "status", "token", "url", "status_url"],
            BackendState: ["status", "time"]}

each_document = pytest.mark.parametrize("kind, document", DOCUMENTS,
                                        ids=["%s-%d" % (one[0].__name__, n) for n, one in enumerate(DOCUMENTS)])
each_class = pytest.mark.parametrize("kind", CLASSES)
each_answer = pytest.mark.parametrize("kind", ANSWERS)


def request_with(path: str, value: Any) -> Dict[str, Any]:
    """The full request with another value at a path of plain names."""
    document = copy.deepcopy(REQUEST)
    place: Any = document
    *parents, last = path.split(".")
    for name in parents:
        place = place[name]
    place[last] = value
    return document


def refused(make: Callable[[], Any], path: Optional[str] = None) -> str:
    """Checks that this raises a ValidationError for that place, with a single short line; the line."""
    with pytest.raises(ValidationError) as caught:
        make()
    message = str(caught.value)
    if path is not None:
        assert caught.value.path == path
        assert message.startswith(path)
    assert len(message.splitlines()) == 1 and len(message) <= 300, message
    assert message.isprintable()
    return message


def is_plain(value: Any) -> bool:
    """Whether all of it is of exactly the types that JSON knows."""
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


# ---------------------------------------------------------------------------------------------------------------------
# Shape
# ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, fields", [
    (ResourceLimits, "cpu_period=None cpu_period_percent=None cpu_time_limit=None memory_limit_bytes=None "
                     "disk_limit_bytes=None"),
    (Executable, "mount=None env=None resource_limits=None"),
    (SpawnConfig, "tag=None cluster=None lifetime_limit_seconds=None max_idle_seconds=None executable=None"),
    (ConnectRequest, "key=None spawn=None user=None auth=None"),
    (ConnectResponse, "backend_id spawned status token url status_url ready_url='' secret_token=None"),
    (BackendState, "status time termination_reason=None termination_kind=None exit_error=None"),
])
def test_fields_defaults_and_their_order_are_the_contracts(kind: Any, fields: str) -> None:
    found = [one.name if one.default is dataclasses.MISSING else "%s=%r" % (one.name, one.default)
             for one in dataclasses.fields(kind)]
    assert " ".join(found) == fields
    assert all(one.init and one.default_factory is dataclasses.MISSING for one in dataclasses.fields(kind))


@each_class
def test_an_instance_is_frozen(kind: Any) -> None:
    made = kind.from_dict(FULL[kind])
    for name in FULL[kind]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, name, None)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(made, name)
    assert made.to_dict() == FULL[kind]


@each_class
def test_type_hints_can_be_had(kind: Any) -> None:
    hints = typing.get_type_hints(kind)
    assert [one.name for one in dataclasses.fields(kind)] == [name for name in hints if not name.startswith("_")]


def test_hints_of_the_methods_and_clients_can_be_had() -> None:
    for kind in CLASSES:
        assert typing.get_type_hints(kind.to_dict)["return"] == Dict[str, Any]
        assert "data" in typing.get_type_hints(kind.from_dict)
    hints = typing.get_type_hints(ConnectRequest)
    assert hints["spawn"] == Optional[typing.Union[bool, SpawnConfig]]
    assert hints["auth"] == Optional[Mapping[str, Any]]


ALIASES = [("BackendStatus", STATUSES), ("TerminationKind", KINDS), ("TerminationReason", REASONS)]


@pytest.mark.skipif(sys.version_info < (3, 8), reason="Python 3.7 has no Literal")
@pytest.mark.parametrize("name, words", ALIASES)
def test_an_alias_lists_the_seed_documents_words(name: str, words: List[str]) -> None:
    alias = getattr(jamsocket_lite, name)
    assert list(alias.__args__) == words
    assert "Literal" in str(alias)


@pytest.mark.skipif(sys.version_info >= (3, 8), reason="Python 3.7 alone has no Literal")
@pytest.mark.parametrize("name, words", ALIASES)
def test_an_alias_is_str_without_literal(name: str, words: List[str]) -> None:
    assert getattr(jamsocket_lite, name) is str


# ---------------------------------------------------------------------------------------------------------------------
# There and back
# ---------------------------------------------------------------------------------------------------------------------

@each_document
def test_a_document_survives_the_round_trip(kind: Any, document: Dict[str, Any]) -> None:
    made = kind.from_dict(document)
    given = made.to_dict()
    assert given == document and kind.from_dict(given) == made
    assert json.loads(json.dumps(given, allow_nan=False)) == document


@each_document
def test_to_dict_gives_plain_values_only(kind: Any, document: Dict[str, Any]) -> None:
    assert is_plain(kind.from_dict(document).to_dict())


@each_class
def test_to_dict_omits_what_is_none(kind: Any) -> None:
    document = {name: FULL[kind][name] for name in REQUIRED.get(kind, [])}
    if kind is BackendState:
        document["status"] = "ready"
    expected = {**document, "ready_url": ""} if kind is ConnectResponse else document
    assert kind.from_dict(document).to_dict() == expected


@each_class
def test_an_optional_field_may_be_absent_or_null(kind: Any) -> None:
    for name in FULL[kind]:
        if name in REQUIRED.get(kind, []):
            continue
        absent = {key: value for key, value in FULL[kind].items() if key != name}
        assert kind.from_dict({**absent, name: None}) == kind.from_dict(absent), name


def test_an_optional_null_inside_auth_is_a_value() -> None:
    assert ConnectRequest(auth={"a": None}).to_dict() == {"auth": {"a": None}}


@each_answer
def test_a_required_field_is_required(kind: Any) -> None:
    for name in REQUIRED[kind]:
        absent = {key: value for key, value in FULL[kind].items() if key != name}
        refused(lambda: kind.from_dict(absent), name)
        refused(lambda: kind.from_dict({**absent, name: None}), name)
        refused(lambda: kind.from_dict({**absent, name: None}, strict=False), name)


def test_from_dict_shares_nothing_with_its_document() -> None:
    document = copy.deepcopy(REQUEST)
    made = ConnectRequest.from_dict(document)
    document["spawn"]["executable"]["env"]["PATH"] = "changed"  # type: ignore[index]
    document["auth"]["roles"][1]["of"] = "changed"  # type: ignore[index]
    document["auth"]["roles"].append("changed")  # type: ignore[index]
    assert made.to_dict() == REQUEST


def test_an_instance_shares_nothing_with_its_arguments() -> None:
    env, roles = {"A": "1"}, ["x"]
    executable, request = Executable(env=env), ConnectRequest(auth={"roles": roles})
    env["A"] = "changed"
    roles.append("changed")
    assert executable.env == {"A": "1"} and request.auth == {"roles": ["x"]}


def test_to_dict_shares_nothing_with_the_instance() -> None:
    made = ConnectRequest.from_dict(REQUEST)
    given = made.to_dict()
    given["spawn"]["executable"]["env"]["PATH"] = "changed"
    given["spawn"]["executable"]["resource_limits"].clear()
    given["auth"]["roles"][1]["of"] = "changed"
    given["auth"].clear()
    assert made.to_dict() == REQUEST


class OtherMapping(MappingABC):  # type: ignore[type-arg]
    """A Mapping that is no dict."""

    def __init__(self, items: Dict[Any, Any]) -> None:
        self.items_ = items

    def __getitem__(self, key: Any) -> Any:
        return self.items_[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items_)

    def __len__(self) -> int:
        return len(self.items_)


def deeply(wrap: Callable[[Dict[str, Any]], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return wrap({key: deeply(wrap, item) for key, item in value.items()})
    if isinstance(value, list):
        return [deeply(wrap, item) for item in value]
    return value


@pytest.mark.parametrize("wrap", [MappingProxyType, UserDict, collections.OrderedDict, collections.ChainMap,
                                  OtherMapping, lambda items: collections.defaultdict(str, items)],
                         ids=["proxy", "UserDict", "OrderedDict", "ChainMap", "own", "defaultdict"])
@each_document
def test_any_mapping_is_taken_at_every_level(kind: Any, document: Dict[str, Any], wrap: Any) -> None:
    made = kind.from_dict(deeply(wrap, document))
    assert made == kind.from_dict(document) and is_plain(made.to_dict())


def test_reading_a_mapping_leaves_it_alone() -> None:
    document: Any = collections.defaultdict(str, {"key": "k"})
    ConnectRequest.from_dict(document)
    assert dict(document) == {"key": "k"}


@pytest.mark.parametrize("value", [None, [], (), "{}", b"{}", 0, True, 1.5, object(), dict, [("key", "k")]], ids=repr)
@each_class
def test_what_is_no_mapping_is_refused_as_the_document_itself(kind: Any, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.from_dict(value)
    assert caught.value.path == "" and "mapping" in str(caught.value)


def test_from_dict_takes_nested_instances_too() -> None:
    limits, executable = ResourceLimits.from_dict(LIMITS), Executable.from_dict(EXECUTABLE)
    spawn = SpawnConfig.from_dict(SPAWN)
    assert Executable.from_dict({**EXECUTABLE, "resource_limits": limits}) == executable
    assert SpawnConfig.from_dict({**SPAWN, "executable": executable}) == spawn
    assert ConnectRequest.from_dict({**REQUEST, "spawn": spawn}) == ConnectRequest.from_dict(REQUEST)


def test_the_constructor_takes_nested_instances_only() -> None:
    refused(lambda: Executable(resource_limits=LIMITS), "resource_limits")  # type: ignore[arg-type]
    refused(lambda: SpawnConfig(executable=EXECUTABLE), "executable")  # type: ignore[arg-type]
    refused(lambda: ConnectRequest(spawn=SPAWN), "spawn")  # type: ignore[arg-type]
    refused(lambda: SpawnConfig(executable=ResourceLimits()), "executable")  # type: ignore[arg-type]
    made = ConnectRequest("board/42", SpawnConfig("v2", "eu", 3600, 0, Executable(
        "data", {"PATH": "/bin", "EMPTY": ""}, ResourceLimits(100000, 150, 60, 2 ** 30, 0))), "ada", AUTH)
    assert made == ConnectRequest.from_dict(REQUEST)


def test_the_mappings_that_are_held_are_plain_dicts() -> None:
    made = ConnectRequest(auth=MappingProxyType({"a": UserDict({"b": ({"c": 1},)})}),
                          spawn=SpawnConfig(executable=Executable(env=MappingProxyType({"A": "1"}))))
    assert is_plain(made.auth) and made.auth == {"a": {"b": [{"c": 1}]}}
    assert isinstance(made.spawn, SpawnConfig) and made.spawn.executable and type(made.spawn.executable.env) is dict


# ---------------------------------------------------------------------------------------------------------------------
# What is refused, and where
# ---------------------------------------------------------------------------------------------------------------------

class Word(str, enum.Enum):
    READY = "ready"
    NAME = "NAME"


class Number(int, enum.Enum):
    FIVE = 5


class Fraction(float, enum.Enum):
    HALF = 0.5


class Text(str):
    pass


TEXT_FIELDS = ["key", "user", "spawn.tag", "spawn.cluster"]
SECONDS = ["spawn.lifetime_limit_seconds", "spawn.max_idle_seconds"]
BIG = ["spawn.executable.resource_limits." + name
       for name in ("cpu_period", "cpu_time_limit", "memory_limit_bytes", "disk_limit_bytes")]
PERCENT = "spawn.executable.resource_limits.cpu_period_percent"
NUMBERS = [(path, INT32) for path in SECONDS] + [(path, INT64) for path in BIG] + [(PERCENT, 255)]
each_number = pytest.mark.parametrize("path, most", NUMBERS, ids=[path for path, _ in NUMBERS])


@pytest.mark.parametrize("value", [5, 1.5, b"text", ["text"], {"a": "b"}, object()], ids=repr)
@pytest.mark.parametrize("path", TEXT_FIELDS + ["spawn.executable.env.PATH"])
def test_a_string_is_wanted(path: str, value: Any) -> None:
    message = refused(lambda: ConnectRequest.from_dict(request_with(path, value)), path)
    assert "string" in message and type(value).__name__ in message


@pytest.mark.parametrize("value", [5, 1.5, b"text", ["text"], object()], ids=repr)
@pytest.mark.parametrize("path", ["spawn", "spawn.executable", "spawn.executable.resource_limits",
                                  "spawn.executable.env", "auth"])
def test_a_mapping_is_wanted(path: str, value: Any) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with(path, value)), path)


@pytest.mark.parametrize("path", ["spawn.executable", "spawn.executable.resource_limits", "spawn.executable.env",
                                  "auth", "key", "user", "spawn.tag"])
def test_true_stands_for_nothing_else(path: str) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with(path, True)), path)


@pytest.mark.parametrize("value", [True, False, 3600.0, 0.5, math.nan, math.inf, "5", b"5", decimal.Decimal(5), [5],
                                   5j, Fraction.HALF], ids=repr)
@each_number
def test_a_number_is_a_whole_one_of_type_int(path: str, most: int, value: Any) -> None:
    message = refused(lambda: ConnectRequest.from_dict(request_with(path, value)), path)
    assert "integer" in message and type(value).__name__ in message


@each_number
def test_a_number_may_be_as_large_as_the_servers_type(path: str, most: int) -> None:
    for value in (0, 1, most):
        document = request_with(path, value)
        assert ConnectRequest.from_dict(document).to_dict() == document
    for value in (-1, most + 1, -most, 10 ** 30, 10 ** 5000):
        message = refused(lambda: ConnectRequest.from_dict(request_with(path, value)), path)
        assert str(most) in message  # what is allowed is said


@pytest.mark.parametrize("key", ["k", "k" * 128, "😀" * 128, " ", "a/b?c#d", "\n"], ids=ascii)
def test_a_key_has_1_to_128_code_points(key: str) -> None:
    assert ConnectRequest.from_dict({"key": key}).key == ConnectRequest(key=key).key == key


@pytest.mark.parametrize("key", ["", "k" * 129, "😀" * 129, "k" * 100000], ids=["0", "129", "129 wide", "many"])
def test_a_key_of_another_length_is_refused(key: str) -> None:
    assert "128" in refused(lambda: ConnectRequest.from_dict({"key": key}), "key")
    refused(lambda: ConnectRequest(key=key), "key")


def test_spawn_false_needs_a_key() -> None:
    for make in (lambda: ConnectRequest.from_dict({"spawn": False}),
                 lambda: ConnectRequest.from_dict({"spawn": False, "key": None}),
                 lambda: ConnectRequest(spawn=False, user="ada")):
        assert "key" in refused(make)
    assert ConnectRequest(key="k", spawn=False).to_dict() == {"key": "k", "spawn": False}
    assert ConnectRequest(spawn=True).to_dict() == {"spawn": True}


@pytest.mark.parametrize("value", [0, 1, "true", 0.0], ids=repr)
def test_only_a_bool_is_a_bool(value: Any) -> None:
    refused(lambda: ConnectRequest.from_dict({"key": "k", "spawn": value}), "spawn")
    refused(lambda: ConnectResponse.from_dict({**RESPONSE, "spawned": value}), "spawned")
    refused(lambda: BackendState.from_dict({**STATE, "exit_error": value}), "exit_error")
    if value != "true":
        refused(lambda: Executable.from_dict({"mount": value}), "mount")


@pytest.mark.parametrize("mount", [True, False, "", "data"], ids=repr)
def test_a_mount_is_a_bool_or_a_string(mount: Any) -> None:
    assert Executable.from_dict({"mount": mount}).to_dict() == {"mount": mount}
    assert type(Executable(mount=mount).mount) is type(mount)


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_env_name_is_refused(name: str) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with("spawn.executable.env", {name: "1"})),
            "spawn.executable.env." + name)
    refused(lambda: Executable(env={name: "1"}), "env." + name)
    assert Executable(env={name.lower(): "1", name + "_": "2"}).env == {name.lower(): "1", name + "_": "2"}


@pytest.mark.parametrize("name, place", [
    ("", "env['']"), ("A=B", "env['A=B']"), ("=", "env['=']"), ("A\0", "env['A\\x00']"), ("\0", "env['\\x00']"),
], ids=ascii)
def test_a_malformed_env_name_is_refused(name: str, place: str) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with("spawn.executable.env", {"OK": "1", name: "1"})),
            "spawn.executable." + place)


@pytest.mark.parametrize("value", ["\0", "a\0b", 1, True, None, b"x", ["x"]], ids=ascii)
def test_an_env_value_is_a_string_without_nul(value: Any) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with("spawn.executable.env", {"OK": "1", "A": value})),
            "spawn.executable.env.A")


def test_other_env_names_and_values_are_kept_as_they_are() -> None:
    env = {"a b": "=", "ü": "日\n本", "1": "", "PATH": "x" * 10000, "port": "8080"}
    assert Executable.from_dict({"env": env}).to_dict() == {"env": env}


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc80b", "\ude00\ud83d"], ids=ascii)
def test_a_lone_surrogate_is_refused_anywhere(text: str) -> None:
    for path in TEXT_FIELDS + ["spawn.executable.mount", "spawn.executable.env.PATH"]:
        refused(lambda: ConnectRequest.from_dict(request_with(path, text)), path)
    refused(lambda: Executable(env={text: "1"}))
    refused(lambda: ConnectRequest(auth={text: "1"}))
    refused(lambda: ConnectRequest(auth={"a": [text]}), "auth.a[0]")
    refused(lambda: ConnectRequest(auth={"a": {"b": {text: 1}}}))


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_refuses_unknown_fields(kind: Any) -> None:
    for name in ("keys", "max_idle_second", "Key", "_checks", "to_dict"):
        refused(lambda: kind.from_dict({**FULL[kind], name: None}), name)
    refused(lambda: kind.from_dict({"a b": 1}), "['a b']")


@pytest.mark.parametrize("path", ["nope", "spawn.nope", "spawn.executable.nope",
                                  "spawn.executable.resource_limits.nope"])
def test_an_unknown_field_is_named_with_its_path(path: str) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with(path, 1)), path)


@each_answer
def test_an_answer_ignores_unknown_fields(kind: Any) -> None:
    for more in ({"subdomain": None}, {"drone": "dr-1", "a b": object(), "to_dict": 1, "_required": ()}):
        for strict in (True, False):
            assert kind.from_dict({**FULL[kind], **more}, strict=strict) == kind.from_dict(FULL[kind])


@pytest.mark.parametrize("kind, field, value", [
    *[(ConnectResponse, name, value) for name in ("backend_id", "status", "token", "url", "status_url", "ready_url",
                                                  "secret_token") for value in (5, b"x", ["x"], True)],
    (ConnectResponse, "spawned", "yes"),
    *[(BackendState, name, value) for name in ("status", "termination_reason", "termination_kind")
      for value in (5, b"x", ["x"], True)],
    *[(BackendState, "time", value) for value in (1.5, b"x", ["x"], True, math.nan)],
], ids=repr)
def test_an_answers_field_has_its_type_strict_or_not(kind: Any, field: str, value: Any) -> None:
    for strict in (True, False):
        refused(lambda: kind.from_dict({**FULL[kind], field: value}, strict=strict), field)
    refused(lambda: kind(**{**FULL[kind], field: value}), field)


def test_urls_and_times_are_not_looked_into() -> None:
    urls = {"url": "", "status_url": "nonsense", "ready_url": "\n"}
    assert ConnectResponse.from_dict({**RESPONSE, **urls}).to_dict() == {**RESPONSE, **urls}
    for text in ("", "yesterday", "2026-13-99", "0"):
        assert BackendState.from_dict({"status": "ready", "time": text}).time == text


@pytest.mark.parametrize("kind", CLASSES)
def test_the_constructor_runs_the_same_checks(kind: Any) -> None:
    for name, value in FULL[kind].items():
        given = {key: item for key, item in FULL[kind].items() if not isinstance(item, dict)}
        refused(lambda: kind(**{**given, name: object()}), name)


def test_the_constructor_is_strict_with_answers() -> None:
    refused(lambda: BackendState("sleeping", TIME), "status")  # type: ignore[arg-type]
    refused(lambda: BackendState("terminating", TIME), "termination_reason")
    refused(lambda: BackendState("ready", TIME, exit_error=False), "exit_error")
    refused(lambda: ConnectResponse(**{**RESPONSE, "status": "sleeping"}), "status")  # type: ignore[arg-type]


def test_replace_checks_again() -> None:
    refused(lambda: dataclasses.replace(SpawnConfig(tag="x"), max_idle_seconds=-1), "max_idle_seconds")
    assert dataclasses.replace(SpawnConfig(tag="x"), max_idle_seconds=1) == SpawnConfig("x", max_idle_seconds=1)


# ---------------------------------------------------------------------------------------------------------------------
# Auth
# ---------------------------------------------------------------------------------------------------------------------

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
    documents = [(request_with("auth", {key: 1}), "auth"), (request_with("auth", {"a": [{key: 1}]}), "auth.a[0]"),
                 (request_with("spawn.executable.env", {key: "1"}), "spawn.executable.env"), ({key: 1}, ""),
                 (request_with("spawn", {key: 1}), "spawn")]
    for document, place in documents:
        with pytest.raises(ValidationError) as caught:
            ConnectRequest.from_dict(document)
        assert caught.value.path.startswith(place) and "string" in str(caught.value)


def test_auth_keeps_every_kind_of_value() -> None:
    values: List[Any] = [None, True, False, 0, -2 ** 63, 2 ** 64 - 1, 0.1, 1e308, -0.0, "", "ü😀", [], {}]
    auth: Dict[str, Any] = {"a": values, "": {"b c": 1}}
    assert ConnectRequest.from_dict({"auth": auth}).to_dict() == {"auth": auth}
    assert repr(ConnectRequest(auth=auth).auth) == repr(auth)  # True stays True, 0.0 keeps its sign


def test_tuples_in_auth_become_lists() -> None:
    point = collections.namedtuple("point", "x y")
    assert ConnectRequest(auth={"a": (1, (2, ()), point(3, 4))}).to_dict() == {"auth": {"a": [1, [2, []], [3, 4]]}}


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


# ---------------------------------------------------------------------------------------------------------------------
# Enums and other subclasses count as their plain value
# ---------------------------------------------------------------------------------------------------------------------

def test_members_of_an_enum_count_as_their_plain_value() -> None:
    made = ConnectRequest.from_dict({
        "key": Word.NAME, "user": Text("ada"),
        "spawn": {"max_idle_seconds": Number.FIVE, "executable": {
            "mount": Word.NAME, "env": {Word.NAME: Word.READY}, "resource_limits": {"cpu_period": Number.FIVE}}},
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
    assert state == BackendState("ready", TIME) and type(state.status) is str and type(state.time) is str
    built = BackendState(Word.READY, TIME)
    assert built == state and type(built.status) is str
    assert BackendState.from_dict({"status": "ready", "time": Number.FIVE}).time == "1970-01-01T00:00:00.005Z"


# ---------------------------------------------------------------------------------------------------------------------
# Answers: strict or not, spellings, times
# ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("document, place", [
    ({"status": "sleeping", "time": TIME}, "status"),
    ({"status": "", "time": TIME}, "status"),
    ({"status": "READY", "time": TIME}, "status"),
    ({"status": "terminating", "time": TIME}, "termination_reason"),
    ({"status": "hard-terminating", "time": TIME, "termination_reason": None}, "termination_reason"),
    ({"status": "terminated", "time": TIME, "termination_reason": "bored"}, "termination_reason"),
    ({"status": "terminated", "time": TIME, "termination_kind": "gentle"}, "termination_kind"),
    *[({"status": status, "time": TIME, name: value}, name) for status in STATUSES[:5] for name, value in (
        ("termination_reason", "swept"), ("termination_kind", "hard"), ("exit_error", False))],
], ids=repr)
def test_strict_refuses_what_not_strict_keeps_as_it_came(document: Dict[str, Any], place: str) -> None:
    refused(lambda: BackendState.from_dict(document), place)
    refused(lambda: BackendState.from_dict(document, strict=True), place)
    kept = BackendState.from_dict(document, strict=False)
    assert kept.to_dict() == {name: value for name, value in document.items() if value is not None}


def test_a_response_may_hold_a_status_from_the_future() -> None:
    document = {**RESPONSE, "status": "sleeping"}
    refused(lambda: ConnectResponse.from_dict(document), "status")
    assert ConnectResponse.from_dict(document, strict=False).to_dict() == document


@pytest.mark.parametrize("document", [
    *[{"status": status} for status in STATUSES[:5]],
    *[{"status": status, "termination_reason": reason} for status in STATUSES[5:] for reason in REASONS],
    *[{"status": "terminating", "termination_reason": "lost", "termination_kind": kind} for kind in KINDS],
    *[{"status": "terminated", "termination_kind": kind, "exit_error": True} for kind in KINDS],
    {"status": "terminated"}, {"status": "terminated", "exit_error": True},
], ids=lambda document: "-".join(map(str, document.values())))
def test_every_state_of_the_seed_document_passes_the_strict_check(document: Dict[str, Any]) -> None:
    given = {**document, "time": TIME}
    assert BackendState.from_dict(given).to_dict() == given == BackendState(**given).to_dict()


@pytest.mark.parametrize("wire, seed", [("keyexpired", "key_expired"), ("startuptimeout", "startup_timeout"),
                                        ("internalerror", "internal_error")])
@pytest.mark.parametrize("strict", [True, False])
def test_both_spellings_of_a_reason_are_read(wire: str, seed: str, strict: bool) -> None:
    for spelling in (wire, seed):
        document = {"status": "terminating", "time": TIME, "termination_reason": spelling}
        assert BackendState.from_dict(document, strict=strict).termination_reason == seed


@pytest.mark.parametrize("milliseconds, text", [
    (1795474000000 - 126632, "2026-11-23T22:44:33.368Z"), (0, "1970-01-01T00:00:00.000Z"),
    (999, "1970-01-01T00:00:00.999Z"), (951782400001, "2000-02-29T00:00:00.001Z"),
    (2 ** 31 * 1000, "2038-01-19T03:14:08.000Z"), (253402300799999, "9999-12-31T23:59:59.999Z"),
])
@pytest.mark.parametrize("strict", [True, False])
def test_milliseconds_become_iso_8601(milliseconds: int, text: str, strict: bool) -> None:
    assert BackendState.from_dict({"status": "ready", "time": milliseconds}, strict=strict).time == text


@pytest.mark.parametrize("time", [True, 2 ** 63, -2 ** 63, 10 ** 5000, 1.5],
                         ids=["bool", "too late", "too early", "long", "float"])
def test_a_number_that_is_no_time_is_refused(time: Any) -> None:
    for strict in (True, False):
        refused(lambda: BackendState.from_dict({"status": "ready", "time": time}, strict=strict), "time")


@pytest.mark.parametrize("status", STATUSES)
def test_is_ready_and_is_terminated_name_one_status_each(status: str) -> None:
    state = BackendState.from_dict({"status": status, "time": TIME}, strict=False)
    assert (state.is_ready, state.is_terminated) == (status == "ready", status == "terminated")


def test_a_status_from_the_future_is_neither() -> None:
    state = BackendState.from_dict({"status": "sleeping", "time": TIME}, strict=False)
    assert (state.is_ready, state.is_terminated) == (False, False)


# ---------------------------------------------------------------------------------------------------------------------
# Instances as values
# ---------------------------------------------------------------------------------------------------------------------

@each_document
def test_instances_compare_by_value(kind: Any, document: Dict[str, Any]) -> None:
    made = kind.from_dict(document)
    assert made == kind.from_dict(copy.deepcopy(document)) and not made != kind.from_dict(document)
    assert made != document and made != object()
    for name in document:
        if name not in REQUIRED.get(kind, []) and name != "termination_reason":
            less = {key: value for key, value in document.items() if key != name}
            if document[name] != "" and not (name == "key" and document.get("spawn") is False):
                assert made != kind.from_dict(less), name


def test_instances_of_two_classes_are_never_equal() -> None:
    assert len({repr(kind()) for kind in REQUESTS}) == 4
    assert all(one() != other() for one in REQUESTS for other in REQUESTS if one is not other)


def test_instances_without_a_mapping_hash() -> None:
    for kind, document in DOCUMENTS:
        made = kind.from_dict(document)
        if '"env": {' in json.dumps(document) or document.get("auth") is not None:
            with pytest.raises(TypeError):
                hash(made)
        else:
            assert hash(made) == hash(kind.from_dict(document)) and len({made, kind.from_dict(document)}) == 1


PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def from_the_future() -> List[Any]:
    return [BackendState.from_dict({"status": "sleeping", "time": TIME, "exit_error": True}, strict=False),
            ConnectResponse.from_dict({**RESPONSE, "status": "sleeping"}, strict=False)]


@pytest.mark.parametrize("duplicate", [
    *[(lambda made, n=protocol: pickle.loads(pickle.dumps(made, n))) for protocol in PROTOCOLS],
    copy.copy, copy.deepcopy,
], ids=["pickle-%d" % n for n in PROTOCOLS] + ["copy", "deepcopy"])
def test_instances_pickle_and_copy(duplicate: Callable[[Any], Any]) -> None:
    for made in [kind.from_dict(document) for kind, document in DOCUMENTS] + from_the_future():
        other = duplicate(made)
        assert other == made and type(other) is type(made) and repr(other) == repr(made)
        assert other.to_dict() == made.to_dict()


def test_a_deep_copy_has_mappings_of_its_own() -> None:
    made = ConnectRequest.from_dict(REQUEST)
    other: Any = copy.deepcopy(made)
    other.auth["roles"].append("changed")
    other.spawn.executable.env["A"] = "changed"
    assert made.to_dict() == REQUEST


def test_asdict_works() -> None:
    assert dataclasses.asdict(BackendState.from_dict(STATE)) == STATE
    assert dataclasses.asdict(ConnectRequest.from_dict(REQUEST)) == REQUEST


# ---------------------------------------------------------------------------------------------------------------------
# Secrets
# ---------------------------------------------------------------------------------------------------------------------

SECRET = "hunter2hunter2"
SECRET_URLS = ["https://h.test/%s/", "https://h.test/%s", "http://h.test:8080/a?b=%s", "https://h.test?%s",
               "https://h.test#%s", "%s", "/%s", "//%s/", "https:/%s", "https:%s", "https://u:%s@h.test/",
               "https://%s@h.test/", "https://h.test\\%s", "https://h.test\n%s", " https://h.test/%s", "https:///%s",
               "wss://h.test/%s", "\n%s", "https://h.test %s", "https://[::1]/%s", "x://y z/%s"]


def shows(value: Any) -> str:
    return "\n".join([repr(value), str(value), "%s %r" % (value, value), "{}".format(value), repr([value])])


@pytest.mark.parametrize("url", SECRET_URLS)
@pytest.mark.parametrize("field", ["url", "ready_url"])
def test_no_repr_shows_the_path_of_a_secret_url(field: str, url: str) -> None:
    made = ConnectResponse.from_dict({**RESPONSE, field: url % SECRET})
    assert SECRET not in shows(made)


def test_no_repr_shows_a_secret() -> None:
    response = ConnectResponse.from_dict({**RESPONSE, "token": SECRET, "secret_token": SECRET})
    request = ConnectRequest.from_dict({**REQUEST, "auth": {"roles": [SECRET], "b": {"c": SECRET}}})
    executable = Executable(env={"PASSWORD": SECRET})
    for made in (response, request, executable, SpawnConfig(executable=executable),
                 ConnectRequest(spawn=SpawnConfig(executable=executable))):
        assert SECRET not in shows(made)


def test_a_repr_shows_what_is_no_secret() -> None:
    shown = repr(ConnectResponse.from_dict(RESPONSE))
    assert shown.startswith("ConnectResponse(") and "'b1'" in shown and "https://h.test" in shown
    assert repr(BackendState("ready", TIME)) == "BackendState(status='ready', time='%s')" % TIME
    assert "'board/42'" in repr(ConnectRequest.from_dict(REQUEST))


@pytest.mark.parametrize("kind, document", [
    (ConnectRequest, {"key": SECRET * 20}), (ConnectRequest, {"user": [SECRET]}), (ConnectRequest, {"spawn": SECRET}),
    (ConnectRequest, {"auth": SECRET}), (ConnectRequest, {"auth": [SECRET]}), (ConnectRequest, SECRET),
    (ConnectRequest, {"auth": {"a": {SECRET}}}), (ConnectRequest, {"auth": {"a": SECRET.encode()}}),
    (ConnectRequest, {"auth": {"a": SECRET + "\ud800"}}),
    (ConnectRequest, {"auth": {"a": decimal.Decimal("987654321")}}),
    (ConnectRequest, {"auth": {"a": 987654321 * 10 ** 30}}), (ConnectRequest, {"user": 987654321}),
    (Executable, {"env": {"A": SECRET + "\0"}}), (Executable, {"env": {"A": [SECRET]}}), (Executable, {"env": SECRET}),
    (Executable, {"env": {"A": SECRET + "\ud800"}}), (Executable, {"env": {"PORT": SECRET}}),
    (ConnectResponse, {**RESPONSE, "token": [SECRET]}), (ConnectResponse, {**RESPONSE, "token": 987654321}),
    (ConnectResponse, {**RESPONSE, "url": {"a": SECRET}}), (ConnectResponse, {**RESPONSE, "status": SECRET}),
    (BackendState, {"status": SECRET, "time": TIME}), (BackendState, {**STATE, "termination_reason": SECRET}),
    (BackendState, {**STATE, "time": [SECRET]}), (SpawnConfig, {"tag": {SECRET: SECRET}}),
], ids=str)
def test_no_message_holds_a_value(kind: Any, document: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.from_dict(document)
    error: Optional[BaseException] = caught.value
    while error is not None:  # what a host logs is the whole chain
        for text in (str(error), repr(error), repr(vars(error))):
            assert SECRET not in text and "987654321" not in text
        error = error.__cause__ or error.__context__


# ---------------------------------------------------------------------------------------------------------------------
# Any Python object may be passed in
# ---------------------------------------------------------------------------------------------------------------------

class Evil(Exception):
    pass


def fail(*_: Any, **__: Any) -> Any:
    raise Evil("%s\nsecond line" % SECRET)


def mapping(**methods: Any) -> Any:
    base = {"__iter__": lambda self: iter(["key"]), "__getitem__": lambda self, key: "k", "__len__": lambda self: 1}
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
    "keys": mapping(keys=fail, items=fail, values=fail, get=fail, __contains__=fail, __eq__=fail, __bool__=fail),
    "recursion": mapping(__getitem__=lambda self, key: self[key]),
    "stop": mapping(__getitem__=lambda self, key: next(iter(()))),
    "registered": Registered(),
    "class": type("Odd", (), {"__class__": property(fail)})(),
    "lying class": type("Odd", (), {"__class__": dict})(),
    "getattribute": type("Odd", (), {"__getattribute__": fail})(),
    "dict": type("Odd", (dict,), {name: fail for name in ("__iter__", "__getitem__", "__len__", "keys", "items", "get",
                                                         "__contains__", "__eq__")})({"key": "k"}),
    "str": type("Odd", (str,), {name: fail for name in (
        "__str__", "__eq__", "__hash__", "__len__", "__iter__", "__repr__", "__lt__", "isidentifier", "__format__",
        "encode", "__contains__", "__getitem__", "__add__", "__radd__", "__mod__")})("text"),
    "int": type("Odd", (int,), {name: fail for name in ("__int__", "__index__", "__le__", "__ge__", "__lt__", "__gt__",
                                                       "__eq__", "__hash__", "__repr__", "__bool__")})(5),
    "float": type("Odd", (float,), {name: fail for name in ("__float__", "__eq__", "__repr__", "__hash__")})(5.5),
    "list": type("Odd", (list,), {name: fail for name in ("__iter__", "__getitem__", "__len__")})([1]),
    "tuple": type("Odd", (tuple,), {name: fail for name in ("__iter__", "__getitem__", "__len__")})([1]),
    "meta": EvilMeta("Odd", (), {})(),
    "lying meta": LyingMeta("Odd", (), {})(),
    "class itself": EvilMeta("Odd", (), {}),
    "two-line name": type("a\nb", (), {})(),
    "long name": type("n" * 10000, (), {})(),
    "control name": type("a\x1b[31m\u2028b", (), {})(),
    "eq": type("Odd", (), {"__eq__": fail, "__ne__": fail, "__bool__": fail, "__repr__": fail, "__str__": fail,
                           "__hash__": fail, "__len__": fail, "__format__": fail})(),
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
    for method in ("isidentifier", "__str__", "__repr__", "__eq__", "__len__", "__iter__", "__format__", "encode"):
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
        if type(document) is dict and set(map(type, document)) == {str} and set(document) <= set(FULL[kind]):
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


@pytest.mark.parametrize("key", ["k" * 100000, "a\nb", "a\u2028b", "\x1b[31m", "\x85", "\u202e", "'\"", "\\", "\ud800"],
                         ids=["long", "LF", "U+2028", "ESC", "NEL", "RLO", "quotes", "backslash", "surrogate"])
def test_odd_keys_leave_a_message_a_single_short_line(key: str) -> None:
    for kind, document in ((ConnectRequest, {"auth": {key: b""}}), (ConnectRequest, {key: 1}),
                           (ConnectRequest, {"auth": {"a": {key: {key: b""}}}}), (SpawnConfig, {key: 1}),
                           (Executable, {"env": {key: 5}})):
        refused(lambda: kind.from_dict(document))


def test_a_mapping_that_changes_is_read_once() -> None:
    """What was checked is what is kept."""
    answers = iter(["good"] + [5] * 1000)
    made = ConnectRequest.from_dict(mapping(__getitem__=lambda self, key: next(answers)))
    assert made == ConnectRequest(key="good")
