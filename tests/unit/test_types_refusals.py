"""What a request refuses, and where: kinds of values, numbers, keys, names of the environment."""

import dataclasses
import decimal
import enum
import math
from typing import Any

import pytest

from jamsocket_lite import BackendState, ConnectRequest, ConnectResponse, Executable, SpawnConfig
from kit.documents import CLASSES, FULL, REQUESTS, RESERVED, RESPONSE, STATE, refused, request_with


class Fraction(float, enum.Enum):
    HALF = 0.5


TEXT_FIELDS = ["key", "user", "spawn.tag", "spawn.cluster"]
SECONDS = ["spawn.lifetime_limit_seconds", "spawn.max_idle_seconds"]
BIG = ["spawn.executable.resource_limits." + name
       for name in ("cpu_period", "cpu_time_limit", "memory_limit_bytes", "disk_limit_bytes")]
PERCENT = "spawn.executable.resource_limits.cpu_period_percent"
INT32, INT64 = 2 ** 31 - 1, 2 ** 63 - 1
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


@pytest.mark.parametrize("path", ["spawn.executable", "spawn.executable.resource_limits",
                                  "spawn.executable.env", "auth", "key", "user", "spawn.tag"])
def test_true_stands_for_nothing_else(path: str) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with(path, True)), path)


@pytest.mark.parametrize("value", [True, False, 3600.0, 0.5, math.nan, math.inf, "5", b"5",
                                   decimal.Decimal(5), [5], 5j, Fraction.HALF], ids=repr)
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


@pytest.mark.parametrize("key", ["", "k" * 129, "😀" * 129, "k" * 100000],
                         ids=["0", "129", "129 wide", "many"])
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
    assert Executable(env={name.lower(): "1", name + "_": "2"}).env == {name.lower(): "1",
                                                                        name + "_": "2"}


@pytest.mark.parametrize("name, place", [
    ("", "env['']"), ("A=B", "env['A=B']"), ("=", "env['=']"), ("A\0", "env['A\\x00']"),
    ("\0", "env['\\x00']"),
], ids=ascii)
def test_a_malformed_env_name_is_refused(name: str, place: str) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with("spawn.executable.env",
                                                          {"OK": "1", name: "1"})),
            "spawn.executable." + place)


@pytest.mark.parametrize("value", ["\0", "a\0b", 1, True, None, b"x", ["x"]], ids=ascii)
def test_an_env_value_is_a_string_without_nul(value: Any) -> None:
    refused(lambda: ConnectRequest.from_dict(request_with("spawn.executable.env",
                                                          {"OK": "1", "A": value})),
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


@pytest.mark.parametrize("kind", CLASSES)
def test_the_constructor_runs_the_same_checks(kind: Any) -> None:
    for name, value in FULL[kind].items():
        given = {key: item for key, item in FULL[kind].items() if not isinstance(item, dict)}
        refused(lambda: kind(**{**given, name: object()}), name)


def test_replace_checks_again() -> None:
    refused(lambda: dataclasses.replace(SpawnConfig(tag="x"), max_idle_seconds=-1),
            "max_idle_seconds")
    assert dataclasses.replace(SpawnConfig(tag="x"),
                               max_idle_seconds=1) == SpawnConfig("x", max_idle_seconds=1)
