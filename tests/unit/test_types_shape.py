"""The types' fields, hints and aliases, and the way of a document there and back."""

import collections
import copy
import dataclasses
import json
import sys
import typing
from collections import UserDict
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional

import pytest

import jamsocket_lite
from jamsocket_lite import (BackendState, ConnectRequest, ConnectResponse, Executable,
                            ResourceLimits, SpawnConfig, ValidationError)
from kit.documents import (AUTH, CLASSES, EXECUTABLE, FULL, KINDS, LIMITS, REASONS, REQUEST,
                           REQUIRED, SPAWN, OtherMapping, each_answer, each_class, each_document,
                           is_plain, refused)
from kit.platforms import STATUSES


# -------------------------------------------------------------------------------------------------
# Shape
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, fields", [
    (ResourceLimits,
     "cpu_period=None cpu_period_percent=None cpu_time_limit=None memory_limit_bytes=None "
                     "disk_limit_bytes=None"),
    (Executable, "mount=None env=None resource_limits=None"),
    (SpawnConfig,
     "tag=None cluster=None lifetime_limit_seconds=None max_idle_seconds=None executable=None"),
    (ConnectRequest, "key=None spawn=None user=None auth=None"),
    (ConnectResponse,
     "backend_id spawned status token url status_url ready_url='' secret_token=None"),
    (BackendState, "status time termination_reason=None termination_kind=None exit_error=None"),
])
def test_fields_defaults_and_their_order_are_the_contracts(kind: Any, fields: str) -> None:
    found = [one.name if one.default is dataclasses.MISSING else "%s=%r" % (one.name, one.default)
             for one in dataclasses.fields(kind)]
    assert " ".join(found) == fields
    assert all(one.init and one.default_factory is dataclasses.MISSING for one
               in dataclasses.fields(kind))


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
    assert [one.name for one in dataclasses.fields(kind)] == [name for name in hints if
                                                              not name.startswith("_")]


def test_hints_of_the_methods_and_clients_can_be_had() -> None:
    for kind in CLASSES:
        assert typing.get_type_hints(kind.to_dict)["return"] == Dict[str, Any]
        assert "data" in typing.get_type_hints(kind.from_dict)
    hints = typing.get_type_hints(ConnectRequest)
    assert hints["spawn"] == Optional[typing.Union[bool, SpawnConfig]]
    assert hints["auth"] == Optional[Mapping[str, Any]]


ALIASES = [("BackendStatus", list(STATUSES)), ("TerminationKind", KINDS),
           ("TerminationReason", REASONS)]


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


# -------------------------------------------------------------------------------------------------
# There and back
# -------------------------------------------------------------------------------------------------

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
    document["spawn"]["executable"]["env"]["PATH"] = "changed"
    document["auth"]["roles"][1]["of"] = "changed"
    document["auth"]["roles"].append("changed")
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


def deeply(wrap: Callable[[Dict[str, Any]], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return wrap({key: deeply(wrap, item) for key, item in value.items()})
    if isinstance(value, list):
        return [deeply(wrap, item) for item in value]
    return value


@pytest.mark.parametrize("wrap", [MappingProxyType, UserDict, collections.OrderedDict,
                                  collections.ChainMap, OtherMapping,
                                  lambda items: collections.defaultdict(str, items)],
                         ids=["proxy", "UserDict", "OrderedDict", "ChainMap", "own", "defaultdict"])
@each_document
def test_any_mapping_is_taken_at_every_level(kind: Any, document: Dict[str, Any],
                                             wrap: Any) -> None:
    made = kind.from_dict(deeply(wrap, document))
    assert made == kind.from_dict(document) and is_plain(made.to_dict())


def test_reading_a_mapping_leaves_it_alone() -> None:
    document: Any = collections.defaultdict(str, {"key": "k"})
    ConnectRequest.from_dict(document)
    assert dict(document) == {"key": "k"}


@pytest.mark.parametrize("value", [None, [], (), "{}", b"{}", 0, True, 1.5, object(), dict,
                                   [("key", "k")]], ids=repr)
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
    assert ConnectRequest.from_dict({**REQUEST,
                                     "spawn": spawn}) == ConnectRequest.from_dict(REQUEST)


def test_the_constructor_takes_nested_instances_only() -> None:
    refused(lambda: Executable(resource_limits=LIMITS), "resource_limits")  # type: ignore[arg-type]
    refused(lambda: SpawnConfig(executable=EXECUTABLE), "executable")  # type: ignore[arg-type]
    refused(lambda: ConnectRequest(spawn=SPAWN), "spawn")  # type: ignore[arg-type]
    limits: Any = ResourceLimits()
    refused(lambda: SpawnConfig(executable=limits), "executable")
    made = ConnectRequest("board/42", SpawnConfig("v2", "eu", 3600, 0, Executable(
        "data", {"PATH": "/bin", "EMPTY": ""}, ResourceLimits(100000, 150, 60, 2 ** 30, 0))), "ada",
                          AUTH)
    assert made == ConnectRequest.from_dict(REQUEST)


def test_the_mappings_that_are_held_are_plain_dicts() -> None:
    made = ConnectRequest(
        auth=MappingProxyType({"a": UserDict({"b": ({"c": 1},)})}),
        spawn=SpawnConfig(executable=Executable(env=MappingProxyType({"A": "1"}))),
    )
    assert is_plain(made.auth) and made.auth == {"a": {"b": [{"c": 1}]}}
    assert (
        isinstance(made.spawn, SpawnConfig)
        and made.spawn.executable
        and type(made.spawn.executable.env) is dict
    )
