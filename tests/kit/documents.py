"""Of each class a full document and short ones, and what is checked of every refusal."""

import copy
from collections.abc import Mapping as MappingABC
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from jamsocket_lite import (BackendState, ConnectRequest, ConnectResponse, Executable,
                            ResourceLimits, SpawnConfig, ValidationError)
from kit.platforms import TIME

KINDS = ["soft", "hard"]
REASONS = ["swept", "external", "key_expired", "lost", "startup_timeout", "internal_error"]
RESERVED = ["PORT", "SESSION_BACKEND_ID", "SESSION_BACKEND_KEY", "SESSION_BACKEND_FENCING_TOKEN",
            "JAMSOCKET_SERVICE"]

LIMITS: Dict[str, Any] = {"cpu_period": 100000, "cpu_period_percent": 150, "cpu_time_limit": 60,
          "memory_limit_bytes": 2 ** 30, "disk_limit_bytes": 0}
EXECUTABLE: Dict[str, Any] = {"mount": "data", "env": {"PATH": "/bin", "EMPTY": ""},
                              "resource_limits": LIMITS}
SPAWN: Dict[str, Any] = {"tag": "v2", "cluster": "eu", "lifetime_limit_seconds": 3600,
                         "max_idle_seconds": 0, "executable": EXECUTABLE}
AUTH: Dict[str, Any] = {"roles": ["admin", {"of": None}], "level": 1.5, "ok": True,
                        "id": 2 ** 64 - 1, "ü": "日本"}
REQUEST: Dict[str, Any] = {"key": "board/42", "spawn": SPAWN, "user": "ada", "auth": AUTH}
RESPONSE: Dict[str, Any] = {"backend_id": "b1", "spawned": True, "status": "scheduled",
                            "token": "t1", "url": "https://h.test/t1/",
                            "status_url": "https://h.test/s", "ready_url": "https://h.test/r",
                            "secret_token": "s1"}
SHORT_RESPONSE: Dict[str, Any] = {name: value for name, value in RESPONSE.items() if name not
                                  in ("ready_url",
                      "secret_token")}
STATE: Dict[str, Any] = {"status": "terminated", "time": TIME, "termination_reason": "swept",
         "termination_kind": "soft", "exit_error": False}

# Of each class a full document, and short ones.
DOCUMENTS: List[Tuple[Any, Dict[str, Any]]] = [
    (ResourceLimits, LIMITS), (ResourceLimits, {}),
    (Executable, EXECUTABLE), (Executable, {"mount": False, "env": {}, "resource_limits": {}}),
    (Executable, {}),
    (SpawnConfig, SPAWN), (SpawnConfig, {"executable": {}}), (SpawnConfig, {}),
    (ConnectRequest, REQUEST), (ConnectRequest, {"key": "k", "spawn": False}),
    (ConnectRequest, {"spawn": True}),
    (ConnectRequest, {"spawn": {}, "auth": {}, "user": ""}), (ConnectRequest, {}),
    (ConnectResponse, RESPONSE), (ConnectResponse, {**SHORT_RESPONSE, "ready_url": ""}),
    (BackendState, STATE), (BackendState, {"status": "ready", "time": TIME}),
    (BackendState, {"status": "terminating", "time": TIME, "termination_reason": "external"}),
]
CLASSES: List[Any] = [ResourceLimits, Executable, SpawnConfig, ConnectRequest, ConnectResponse,
                      BackendState]
REQUESTS, ANSWERS = CLASSES[:4], CLASSES[4:]
FULL: Dict[Any, Dict[str, Any]] = {kind: next(given for one, given in DOCUMENTS if one is kind)
                                   for kind in CLASSES}
REQUIRED = {ConnectResponse: ["backend_id", "spawned", "status", "token", "url", "status_url"],
            BackendState: ["status", "time"]}

each_document = pytest.mark.parametrize("kind, document", DOCUMENTS,
                                        ids=["%s-%d" % (one[0].__name__, n) for n, one
                                             in enumerate(DOCUMENTS)])
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
    """Checks that this raises a ValidationError for that place, with a single short line; the
    line."""
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
