"""Jamsocket from Python, in one file, with the standard library alone. Copy it beside your code.

    import jamsocket_lite

    jamsocket = jamsocket_lite.Jamsocket(account="acme", service="whiteboard", token="...")
    connected = jamsocket.connect({"key": "board/42"})      # starts a backend, or finds the one that holds the key
    jamsocket.wait_until_ready(connected, timeout=30)       # blocks, 30 seconds at most
    print(connected.url)                                    # HTTP and WebSockets; whoever has the url may use it

In development `Jamsocket(dev=True)` talks to the local dev server; `Jamsocket.from_env()` reads the environment;
`Plane(image=...)` has the same methods for a self-hosted Plane cluster; `python3 jamsocket_lite.py --help` is the
command line. A backend's life goes one way, and may skip steps:

    scheduled > loading > starting > waiting > ready > terminating > hard-terminating > terminated

    JamsocketError
      ValidationError      data that breaks the types' rules (`path` says where)
      ConfigurationError   missing or malformed credentials, environment, url, port, timeout
      NetworkError         no whole answer
      ProtocolError        an answer, but not the API's
      HTTPError            status 400 and above (`status`, `code`, `request_id`, `retry_after`)
        AuthenticationError, RateLimitError
      JamsocketTimeout     the deadline passed (`last_state`)
      BackendTerminated    it will never be ready (`state`)
"""

import _thread
import io
import math
import os
import re
import sys
import time
from collections.abc import Mapping as _MappingABC
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, Iterable, List, Mapping, Optional, Tuple, Type, TypeVar, Union

# Whatever only a call needs (json, socket, ssl, http.client, urllib) is imported where it is used: a program that
# only wants the types pays for nothing else, and an interpreter without ssl or sockets still imports this file.

if TYPE_CHECKING:
    import http.client
    import ssl
    from urllib.parse import SplitResult

__version__ = "1.0.0"

__all__ = [
    "Jamsocket", "Plane", "connect", "wait_until_ready",
    "ConnectRequest", "SpawnConfig", "Executable", "ResourceLimits", "ConnectResponse", "BackendState",
    "BackendStatus", "TerminationKind", "TerminationReason",
    "JamsocketError", "ValidationError", "ConfigurationError", "NetworkError", "ProtocolError", "HTTPError",
    "AuthenticationError", "RateLimitError", "JamsocketTimeout", "BackendTerminated",
]


# ---- The vocabulary --------------------------------------------------------------------------------------------------

_STATUSES = ("scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated")
_KINDS = ("soft", "hard")
_REASONS = ("swept", "external", "key_expired", "lost", "startup_timeout", "internal_error")

if sys.version_info >= (3, 8):
    from typing import Literal

    BackendStatus = Literal[
        "scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated"
    ]
    TerminationKind = Literal["soft", "hard"]
    TerminationReason = Literal["swept", "external", "key_expired", "lost", "startup_timeout", "internal_error"]
else:  # Python 3.7 has no Literal
    BackendStatus = TerminationKind = TerminationReason = str

# The lifecycle's order: a backend may skip states but never goes back.
_RANK = {status: rank for rank, status in enumerate(_STATUSES)}
_READY, _TERMINATING, _TERMINATED = _RANK["ready"], _RANK["terminating"], _RANK["terminated"]

# The document says `key_expired`; the platform, its dev server and Plane send `keyexpired`.
_SPELLINGS = {reason.replace("_", ""): reason for reason in _REASONS}

_RESERVED_ENV = (
    "PORT", "SESSION_BACKEND_ID", "SESSION_BACKEND_KEY", "SESSION_BACKEND_FENCING_TOKEN", "JAMSOCKET_SERVICE",
)

_INT32, _INT64 = 2**31 - 1, 2**63 - 1  # the server's types for the `..._seconds` fields, and for bytes and cpu times
_KEY_LENGTH = 128  # code points
_JSON_LEVELS = 100  # of `auth`: far more than anyone nests, far less than what exhausts a parser's stack
_JSON_VALUES = 100000  # of `auth`: a list that holds itself twice at each level would double that often

_API_URL = "https://api.jamsocket.com"
_USER_AGENT = "jamsocket-lite/" + __version__  # some edges answer 403 to the standard library's own

_HEAD_LIMIT = 64 * 1024  # a status line and headers; http.client alone would take 100 headers of 64 KiB
_BODY_LIMIT = 128 * 1024  # an answer: JSON of small objects takes 25 times its text in memory
_ERROR_LIMIT = 64 * 1024  # what is read of an error's body
_EVENT_LIMIT = 128 * 1024  # one line of an event stream, and one event's data
_READ_SIZE = 16 * 1024
_MESSAGE_LENGTH = 200  # what is quoted of a server's error message

_LONGEST_WAIT = 3600.0  # one socket operation; sockets refuse very large timeouts
_ADDRESS_SHARE = 5.0  # seconds for one of several addresses of a name before the next is tried
_ATTEMPT = 5.0  # seconds for opening a stream, or for one status call, inside a wait
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts inside a wait
_NEWBORN = 2.0  # seconds in which a 404 may be a backend about to exist


# ---- The errors ------------------------------------------------------------------------------------------------------


class JamsocketError(Exception):
    """The base of all errors of this module. No text of theirs holds a secret."""

    # Inside a wait: this will not pass by itself (a redirect, a certificate that does not hold).
    _lasting = False


class ValidationError(JamsocketError, ValueError):
    """Data that breaks the types' rules. `path` says where: `spawn.executable.env.PATH`, `auth.roles[0]`."""

    def __init__(self, message: str = "", *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class ConfigurationError(JamsocketError, ValueError):
    """Missing or malformed credentials, environment, url, port or timeout; https where Python has no `ssl`."""


class NetworkError(JamsocketError, OSError):
    """No whole answer: name lookup, refused, reset, cut short, TLS, a proxy's refusal."""


class ProtocolError(JamsocketError):
    """An answer that is not the API's: not JSON, of the wrong shape, too large, a redirect, not an event stream."""


class HTTPError(JamsocketError):
    """The server answered with status 400 or above.

    `code` and `request_id` are the platform's (Plane's `kind` and `id`), `retry_after` is in seconds.
    """

    def __init__(self, message: str = "", *, status: int = 0, code: Optional[str] = None,
                 request_id: Optional[str] = None, retry_after: Optional[float] = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after


class AuthenticationError(HTTPError):
    """Status 401, 403 or 407: the credentials were refused."""


class RateLimitError(HTTPError):
    """Status 429: too many requests; `retry_after` says how long to stay away, where the server did."""


class JamsocketTimeout(JamsocketError, TimeoutError):
    """The deadline passed, in whatever phase. `last_state` is the latest state that a wait or a stream saw."""

    def __init__(self, message: str = "", *, last_state: "Optional[BackendState]" = None) -> None:
        super().__init__(message)
        self.last_state = last_state


class BackendTerminated(JamsocketError):
    """The backend is terminating or terminated, as `state` says, so it will never be ready."""

    state: "BackendState"

    def __init__(self, message: str = "", *, state: "Optional[BackendState]" = None) -> None:
        super().__init__(message)
        if state is not None:
            self.state = state


# ---- The checks ------------------------------------------------------------------------------------------------------
#
# A check takes a value and its path, and returns the value to keep. It names the kind that came, never the value, which
# may be a secret. `type()` is asked rather than `isinstance`, which a foreign object can answer as it likes.

_Check = Callable[[Any, str], Any]


def _kind(value: object) -> str:
    return "None" if value is None else str(type(value).__name__)[:40]


def _invalid(path: str, message: str) -> ValidationError:
    place = path if len(path) <= 100 else path[:99] + "…"
    return ValidationError(place + ": " + message if path else message, path=path)


def _join(path: str, key: str) -> str:
    if not key.isidentifier():
        return "%s[%r]" % (path, key)
    return path + "." + key if path else key


def _is(value: object, kind: type) -> bool:
    return issubclass(type(value), kind)


def _string(value: Any, path: str) -> str:
    if type(value) is str:
        return value
    if not _is(value, str):
        raise _invalid(path, "expected a string, got " + _kind(value))
    return str.__str__(value)  # the plain value, also of a member of an Enum


def _text(value: Any, path: str) -> str:
    """A string that we send: one that UTF-8 can carry."""
    text = _string(value, path)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _invalid(path, "expected Unicode text, got a string with a lone surrogate")
    return text


def _boolean(value: Any, path: str) -> bool:
    if type(value) is not bool:
        raise _invalid(path, "expected true or false, got " + _kind(value))
    return value


def _integer(value: Any, path: str, lowest: int, highest: int) -> int:
    if not _is(value, int) or type(value) is bool:
        raise _invalid(path, "expected an integer, got " + _kind(value))
    number = int.__int__(value)
    if not lowest <= number <= highest:
        raise _invalid(path, "expected an integer from %d to %d, got one outside" % (lowest, highest))
    return number


def _up_to(highest: int) -> _Check:
    return lambda value, path: _integer(value, path, 0, highest)


def _one_of(*kinds: Tuple[type, _Check], expected: str) -> _Check:
    def check(value: Any, path: str) -> Any:
        for kind, accept in kinds:
            if _is(value, kind):
                return accept(value, path)
        raise _invalid(path, "expected %s, got %s" % (expected, _kind(value)))

    return check


def _instance(kind: type) -> _Check:
    return _one_of((kind, lambda value, path: value), expected="an instance of " + kind.__name__)


def _mapping(value: Any, path: str) -> Dict[str, Any]:
    """A plain dict of our own with the mapping's items."""
    if not _is(value, _MappingABC):
        raise _invalid(path, "expected a mapping, got " + _kind(value))
    copied = {}
    for key in value:
        if not _is(key, str):
            raise _invalid(path, "expected keys that are strings, got " + _kind(key))
        copied[str.__str__(key)] = value[key]
    return copied


def _key(value: Any, path: str) -> str:
    key = _text(value, path)
    if not 1 <= len(key) <= _KEY_LENGTH:
        raise _invalid(path, "expected 1 to %d characters, got %d" % (_KEY_LENGTH, len(key)))
    return key


def _env(value: Any, path: str) -> Dict[str, str]:
    env = _mapping(value, path)
    for name, text in env.items():
        place = _join(path, name)
        if name in _RESERVED_ENV:
            raise _invalid(place, "expected another name, got one that the platform sets itself")
        if not name or "=" in name or "\0" in _text(name, place):
            raise _invalid(place, "expected a name without = and NUL, got an empty or malformed one")
        env[name] = _text(text, place)
        if "\0" in env[name]:
            raise _invalid(place, "expected a string without NUL, got one with it")
    return env


def _auth(value: Any, path: str) -> Dict[str, Any]:
    remaining = [_JSON_VALUES]

    def copy(value: Any, path: str, level: int) -> Any:
        remaining[0] -= 1
        if level > _JSON_LEVELS or remaining[0] < 0:
            raise _invalid(path, "expected at most %d levels and %d values, got more, or a cycle"
                           % (_JSON_LEVELS, _JSON_VALUES))
        if value is None or type(value) is bool:
            return value
        if _is(value, str):
            return _text(value, path)
        if _is(value, int):
            return _integer(value, path, -(2**63), 2**64 - 1)
        if _is(value, float):
            if not math.isfinite(float.__float__(value)):
                raise _invalid(path, "expected a finite number, got nan or an infinity")
            return float.__float__(value)
        if _is(value, list) or _is(value, tuple):
            return [copy(item, "%s[%d]" % (path, index), level + 1) for index, item in enumerate(value)]
        if _is(value, _MappingABC):
            items = _mapping(value, path).items()
            return {_text(key, _join(path, key)): copy(item, _join(path, key), level + 1) for key, item in items}
        raise _invalid(path, "expected what JSON can carry, got " + _kind(value))

    if not _is(value, _MappingABC):
        raise _invalid(path, "expected a mapping, got " + _kind(value))
    copied: Dict[str, Any] = copy(value, path, 1)
    return copied


def _reason(value: Any, path: str) -> str:
    reason = _string(value, path)
    return _SPELLINGS.get(reason, reason)


def _moment(value: Any, path: str) -> str:
    """ISO 8601; Plane sends milliseconds since the epoch."""
    if type(value) is str:
        return value
    if not _is(value, int) or type(value) is bool:
        return _string(value, path)
    seconds, milliseconds = divmod(_integer(value, path, 0, 253402300799999), 1000)  # until the year 9999
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".%03dZ" % milliseconds


# ---- The types -------------------------------------------------------------------------------------------------------
#
# The checks of a class stand in `_checks`, in the order of its fields. They serve construction and `from_dict` alike;
# what a foreign object raises while it is read becomes a ValidationError in one place, `_sound`.

_R = TypeVar("_R", bound="_Record")


def _origin(url: str) -> str:
    """What may be shown of a url: scheme, host and port."""
    parts = re.match(r"(\w+://)(?:[^/?#\\]*@)?([\w.:\[\]-]+)(?=[/?#]|$)", url, re.ASCII)
    return parts.group(1) + parts.group(2) if parts else "…"


def _unshared(value: Any) -> Any:
    if isinstance(value, _Record):
        return value.to_dict()
    if type(value) is dict:
        return {key: _unshared(item) for key, item in value.items()}
    if type(value) is list:
        return [_unshared(item) for item in value]
    return value


class _Record:
    """What the six types share."""

    _checks: Mapping[str, _Check] = {}
    _required: Tuple[str, ...] = ()
    _hidden: Tuple[str, ...] = ()  # fields of which `repr` shows nothing
    _urls: Tuple[str, ...] = ()  # fields of which `repr` shows the origin

    def __post_init__(self) -> None:
        vars(self).update(self._sound(vars(self), "", True, True))

    @classmethod
    def _sound(cls, data: Any, path: str, built: bool, strict: bool) -> Dict[str, Any]:
        """The values to keep, or a ValidationError whatever `data` is."""
        try:
            values = cls._values(data, path, built)
            if strict:
                cls._check_whole(values, path)
            return values
        except ValidationError:
            raise
        except Exception:
            pass  # not our object's fault, and its text may hold anything
        raise _invalid(path, "expected a mapping that can be read, got one that raises an error")

    @classmethod
    def _values(cls, data: Any, path: str, built: bool) -> Dict[str, Any]:
        given = data if type(data) is dict else _mapping(data, path)
        values = {}
        for name, check in cls._checks.items():
            value = given.get(name)
            if value is not None:
                values[name] = check(value, _join(path, name) if path else name)
            elif name in cls._required:
                raise _invalid(_join(path, name), "expected a value, got " + ("None" if name in given else "nothing"))
            else:
                values[name] = getattr(cls, name)  # the field's default
        return values

    @classmethod
    def _check_whole(cls, values: Dict[str, Any], path: str) -> None:
        """What one field alone does not tell."""

    @classmethod
    def _kept(cls: Type[_R], values: Dict[str, Any]) -> _R:
        """An instance of values that are checked already."""
        record = object.__new__(cls)
        vars(record).update(values)
        return record

    def to_dict(self) -> Dict[str, Any]:
        """What `json.dumps` takes as it is, without the fields that are None; it shares nothing with the instance."""
        return {name: _unshared(value) for name, value in vars(self).items() if value is not None}

    def __repr__(self) -> str:
        shown = []
        for name, value in vars(self).items():
            if value is not None:
                hidden = name in self._hidden
                shown.append("%s=%s" % (name, "…" if hidden else repr(_origin(value) if name in self._urls else value)))
        return "%s(%s)" % (type(self).__name__, ", ".join(shown))


class _Request(_Record):
    """What is sent: unknown fields are refused, for a misspelt option must not be silently dropped."""

    _nested: "Mapping[str, Type[_Request]]" = {}

    @classmethod
    def from_dict(cls: "Type[_Q]", data: Mapping[str, Any]) -> "_Q":
        """Checks every field and copies what it keeps. Raises ValidationError, whose `path` names the place."""
        return cls._kept(cls._sound(data, "", False, True))

    @classmethod
    def _values(cls, data: Any, path: str, built: bool) -> Dict[str, Any]:
        given = _mapping(data, path)
        for name in given:
            if name not in cls._checks:
                raise _invalid(_join(path, name), "expected one of %s, got an unknown field" % ", ".join(cls._checks))
        if not built:
            for name, kind in cls._nested.items():
                if _is(given.get(name), _MappingABC):
                    given[name] = kind._kept(kind._sound(given[name], _join(path, name), False, True))
        return super()._values(given, path, built)


_Q = TypeVar("_Q", bound=_Request)


class _Answer(_Record):
    """What the platform sends: unknown fields are ignored, and `strict=False` keeps words from the future."""

    @classmethod
    def from_dict(cls: "Type[_A]", data: Mapping[str, Any], *, strict: bool = True) -> "_A":
        """Checks every field and copies what it keeps. Raises ValidationError, whose `path` names the place.

        `strict` refuses what this version does not know; without it, unknown words are kept as they came.
        """
        return cls._kept(cls._sound(data, "", False, strict))


_A = TypeVar("_A", bound=_Answer)


@dataclass(frozen=True, repr=False)
class ResourceLimits(_Request):
    """What a backend may use. Integers of 0 and more.

    `cpu_period` is in microseconds, `cpu_period_percent` the percentage of it that may be used (100 is one whole core,
    255 the most), `cpu_time_limit` in seconds; memory and disk in bytes.
    """

    cpu_period: Optional[int] = None
    cpu_period_percent: Optional[int] = None
    cpu_time_limit: Optional[int] = None
    memory_limit_bytes: Optional[int] = None
    disk_limit_bytes: Optional[int] = None

    _checks = {
        "cpu_period": _up_to(_INT64), "cpu_period_percent": _up_to(255), "cpu_time_limit": _up_to(_INT64),
        "memory_limit_bytes": _up_to(_INT64), "disk_limit_bytes": _up_to(_INT64),
    }


@dataclass(frozen=True, repr=False)
class Executable(_Request):
    """What runs: its mount (a name, or whether there is one), its environment, its limits.

    `env` holds strings, and none of the names that the platform sets itself (`PORT`, `SESSION_BACKEND_ID`,
    `SESSION_BACKEND_KEY`, `SESSION_BACKEND_FENCING_TOKEN`, `JAMSOCKET_SERVICE`). Treat it as read-only.
    """

    mount: Optional[Union[str, bool]] = None
    env: Optional[Mapping[str, str]] = None
    resource_limits: Optional[ResourceLimits] = None

    _checks = {
        "mount": _one_of((bool, _boolean), (str, _text), expected="a string, true or false"),
        "env": _env,
        "resource_limits": _instance(ResourceLimits),
    }
    _nested = {"resource_limits": ResourceLimits}
    _hidden = ("env",)


@dataclass(frozen=True, repr=False)
class SpawnConfig(_Request):
    """How a backend is started: the service's image `tag`, the `cluster`, and how long it may live and idle.

    The two limits are whole seconds from 0 to 2**31 - 1. The platform ends a backend that idles for 300 seconds where
    `spawn` is not a SpawnConfig.
    """

    tag: Optional[str] = None
    cluster: Optional[str] = None
    lifetime_limit_seconds: Optional[int] = None
    max_idle_seconds: Optional[int] = None
    executable: Optional[Executable] = None

    _checks = {
        "tag": _text, "cluster": _text, "lifetime_limit_seconds": _up_to(_INT32), "max_idle_seconds": _up_to(_INT32),
        "executable": _instance(Executable),
    }
    _nested = {"executable": Executable}


@dataclass(frozen=True, repr=False)
class ConnectRequest(_Request):
    """Which backend is wanted.

    `key`: 1 to 128 characters; the running backend that holds it is taken, otherwise one is started. `spawn`: how to
    start it, or False (with a key) never to start one. `user` and `auth` are handed to the backend; `auth` is what
    JSON can carry, to be treated as read-only.
    """

    key: Optional[str] = None
    spawn: Optional[Union[bool, SpawnConfig]] = None
    user: Optional[str] = None
    auth: Optional[Mapping[str, Any]] = None

    _checks = {
        "key": _key,
        "spawn": _one_of((bool, _boolean), (SpawnConfig, lambda value, path: value),
                         expected="true, false or a SpawnConfig"),
        "user": _text,
        "auth": _auth,
    }
    _nested = {"spawn": SpawnConfig}
    _hidden = ("auth",)

    @classmethod
    def _check_whole(cls, values: Dict[str, Any], path: str) -> None:
        if values["spawn"] is False and values["key"] is None:
            raise _invalid("key", "expected a key where spawn is false, got nothing")


def _check_word(values: Dict[str, Any], name: str, words: Tuple[str, ...]) -> None:
    if values[name] is not None and values[name] not in words:
        raise _invalid(name, "expected one of %s, got another word" % ", ".join(words))


@dataclass(frozen=True, repr=False)
class ConnectResponse(_Answer):
    """A backend to talk to. `url`, `ready_url`, `token` and `secret_token` are secrets and are not shown by `repr`.

    `spawned` says whether this call started it. `ready_url` is a page for browsers that sends them on once the backend
    is ready, or "".
    """

    backend_id: str
    spawned: bool
    status: BackendStatus
    token: str
    url: str
    status_url: str
    ready_url: str = ""
    secret_token: Optional[str] = None

    _checks = {
        "backend_id": _string, "spawned": _boolean, "status": _string, "token": _string, "url": _string,
        "status_url": _string, "ready_url": _string, "secret_token": _string,
    }
    _required = ("backend_id", "spawned", "status", "token", "url", "status_url")
    _hidden = ("token", "secret_token")
    _urls = ("url", "status_url", "ready_url")

    @classmethod
    def _check_whole(cls, values: Dict[str, Any], path: str) -> None:
        _check_word(values, "status", _STATUSES)


@dataclass(frozen=True, repr=False)
class BackendState(_Answer):
    """A backend's status since `time` (ISO 8601), and, from `terminating` on, what is known of why it ends."""

    status: BackendStatus
    time: str
    termination_reason: Optional[TerminationReason] = None
    termination_kind: Optional[TerminationKind] = None
    exit_error: Optional[bool] = None

    _checks = {
        "status": _string, "time": _moment, "termination_reason": _reason, "termination_kind": _string,
        "exit_error": _boolean,
    }
    _required = ("status", "time")

    @property
    def is_ready(self) -> bool:
        return self.status == "ready"

    @property
    def is_terminated(self) -> bool:
        """Whether it has ended for good; `terminating` and `hard-terminating` are on the way there."""
        return self.status == "terminated"

    @classmethod
    def _values(cls, data: Any, path: str, built: bool) -> Dict[str, Any]:
        values = super()._values(data, path, built)
        if built:
            _string(data["time"], "time")
        return values

    @classmethod
    def _check_whole(cls, values: Dict[str, Any], path: str) -> None:
        _check_word(values, "status", _STATUSES)
        _check_word(values, "termination_reason", _REASONS)
        _check_word(values, "termination_kind", _KINDS)
        rank = _RANK[values["status"]]
        if _TERMINATING <= rank < _TERMINATED and values["termination_reason"] is None:
            raise _invalid("termination_reason", "expected a reason with this status, got nothing")
        for name in ("termination_reason", "termination_kind", "exit_error"):
            if rank < _TERMINATING and values[name] is not None:
                raise _invalid(name, "expected nothing with this status, got " + _kind(values[name]))
