"""Instances as values: equality, hashes, copies; and no secret in a text of theirs."""

import copy
import dataclasses
import decimal
import json
import pickle
from typing import Any, Callable, Dict, List, Optional

import pytest

from jamsocket_lite import (BackendState, ConnectRequest, ConnectResponse, Executable, SpawnConfig,
                            ValidationError)
from kit.documents import DOCUMENTS, REQUEST, REQUESTS, REQUIRED, RESPONSE, STATE, each_document
from kit.platforms import TIME


# -------------------------------------------------------------------------------------------------
# Values
# -------------------------------------------------------------------------------------------------

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
            assert (
                hash(made) == hash(kind.from_dict(document))
                and len({made, kind.from_dict(document)}) == 1
            )


PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def from_the_future() -> List[Any]:
    return [BackendState.from_dict({"status": "sleeping", "time": TIME, "exit_error": True},
                                   strict=False),
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


# -------------------------------------------------------------------------------------------------
# Secrets
# -------------------------------------------------------------------------------------------------

SECRET = "hunter2hunter2"
SECRET_URLS = ["https://h.test/%s/", "https://h.test/%s", "http://h.test:8080/a?b=%s",
               "https://h.test?%s", "https://h.test#%s", "%s", "/%s", "//%s/", "https:/%s",
               "https:%s", "https://u:%s@h.test/", "https://%s@h.test/", "https://h.test\\%s",
               "https://h.test\n%s", " https://h.test/%s", "https:///%s", "wss://h.test/%s", "\n%s",
               "https://h.test %s", "https://[::1]/%s", "x://y z/%s"]


def shows(value: Any) -> str:
    return "\n".join([repr(value), str(value), "%s %r" % (value, value), "{}".format(value),
                      repr([value])])


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
    (ConnectRequest, {"key": SECRET * 20}), (ConnectRequest, {"user": [SECRET]}),
    (ConnectRequest, {"spawn": SECRET}),
    (ConnectRequest, {"auth": SECRET}), (ConnectRequest, {"auth": [SECRET]}),
    (ConnectRequest, SECRET),
    (ConnectRequest, {"auth": {"a": {SECRET}}}), (ConnectRequest, {"auth": {"a": SECRET.encode()}}),
    (ConnectRequest, {"auth": {"a": SECRET + "\ud800"}}),
    (ConnectRequest, {"auth": {"a": decimal.Decimal("987654321")}}),
    (ConnectRequest, {"auth": {"a": 987654321 * 10 ** 30}}), (ConnectRequest, {"user": 987654321}),
    (Executable, {"env": {"A": SECRET + "\0"}}), (Executable, {"env": {"A": [SECRET]}}),
    (Executable, {"env": SECRET}),
    (Executable, {"env": {"A": SECRET + "\ud800"}}), (Executable, {"env": {"PORT": SECRET}}),
    (ConnectResponse, {**RESPONSE, "token": [SECRET]}),
    (ConnectResponse, {**RESPONSE, "token": 987654321}),
    (ConnectResponse, {**RESPONSE, "url": {"a": SECRET}}),
    (ConnectResponse, {**RESPONSE, "status": SECRET}),
    (BackendState, {"status": SECRET, "time": TIME}),
    (BackendState, {**STATE, "termination_reason": SECRET}),
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
