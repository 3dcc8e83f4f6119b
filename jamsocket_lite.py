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
import math
import os
import re
import sys
import time
from collections.abc import Mapping as _MappingABC
from contextlib import closing
from dataclasses import dataclass
from typing import (TYPE_CHECKING, Any, Callable, Dict, Generator, Iterable, List, Mapping, NoReturn, Optional, Sequence, Set,
                    Tuple, Type, TypeVar, Union)

# Whatever only a call needs (json, socket, ssl, http.client, urllib) is imported where it is used: a program that
# only wants the types pays for nothing else, and an interpreter without ssl or sockets still imports this file.

if TYPE_CHECKING:
    import argparse
    import socket
    import ssl

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
_CHUNK_LINE_LIMIT = 1024
_READ_SIZE = 16 * 1024
_MESSAGE_LENGTH = 200  # what is quoted of a server's error message

# In seconds:
_LONGEST_WAIT = 3600.0  # one socket operation; sockets refuse very large timeouts
_ADDRESS_SHARE = 5.0  # for one of several addresses of a name before the next is tried
_ATTEMPT = 5.0  # for opening a stream, or for one status call, inside a wait
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # between attempts inside a wait
_FIRST_CHECK, _CHECK = 1.0, 5.0  # until a wait makes the status call, and makes it again
_NEWBORN = 2.0  # in which a 404 may be a backend about to exist
_QUIET = 0.5  # after so long without a byte a stream is through with its replay
_SETTLED = 2.0  # after so long its last word stands, even while the status call has no answer
_IDLE = 60.0  # after so long without one it is opened again: the connection may be dead

_STRANGE_ANSWERS = 3  # in a row that are not the API's: then this is not the API
_UNKNOWN_WORDS = 1000  # from the future that a stream remembers

_PORTS = {"http": 80, "https": 443}
_VISIBLE = frozenset(map(chr, range(0x21, 0x7F)))  # what a url and a token are made of
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3
_FRAMING = ("content-length", "transfer-encoding")  # headers that must not contradict each other


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

    _lasting = True


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

_T = TypeVar("_T")
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


# ---- The event stream ------------------------------------------------------------------------------------------------


class _Events:
    """Bytes in, the data of `message` events out, by https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    def __init__(self, last_id: bytes = b"", retry: float = 0.0) -> None:
        self.last_id = last_id
        self.retry = retry  # seconds
        self._line = bytearray()  # the one that is not complete
        self._after_cr = False  # a line feed here belongs to the carriage return before it
        self._first_line = True
        self._id, self._type, self._data, self._size = last_id, b"", [], 0  # type: bytes, bytes, List[bytes], int

    def feed(self, data: bytes) -> List[str]:
        """The events that these bytes complete."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        lines = re.split(rb"\r\n|\r|\n", data)
        self._line += lines[0]
        if len(self._line) > _EVENT_LIMIT:
            raise ProtocolError("a line of the event stream is longer than %d bytes" % _EVENT_LIMIT)
        if len(lines) == 1:
            return []
        lines[0] = bytes(self._line)
        self._line = bytearray(lines.pop())
        if self._first_line and lines[0].startswith(b"\xef\xbb\xbf"):
            lines[0] = lines[0][3:]
        self._first_line = False
        return [event for event in map(self._take, lines) if event is not None]

    def _take(self, line: bytes) -> Optional[str]:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        if not name:
            return None  # a comment
        value = value[1:] if value.startswith(b" ") else value
        self._size += len(line)
        if self._size > _EVENT_LIMIT:
            raise ProtocolError("an event of the event stream is larger than %d bytes" % _EVENT_LIMIT)
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value
        elif name == b"id" and b"\0" not in value:
            self._id = value
        elif name == b"retry" and value.isdigit():
            self.retry = min(float(value) / 1000, _LONGEST_PAUSE)
        return None

    def _dispatch(self) -> Optional[str]:
        kind, data, self.last_id = self._type, self._data, self._id
        self._type, self._data, self._size = b"", [], 0
        return b"\n".join(data).decode("utf-8", "replace") if data and kind in (b"", b"message") else None


# ---- HTTP ------------------------------------------------------------------------------------------------------------
#
# One exchange, one connection, one deadline. An answer is read piece by piece, as far as it is here by a given moment
# (`until`, of time.monotonic()), so that no read outlasts a deadline, and a wait can look at two of them in turn. That,
# and a bound on every size, urllib.request and http.client cannot give: their timeout is one read's, and a read of
# theirs that was cut short cannot go on. Importing them also costs more than all of this file.


class _Url:
    """A url that may be opened: http or https, without a user name, of visible ASCII."""

    def __init__(self, text: str, what: str = "url") -> None:
        scheme, _, rest = text.partition("#")[0].partition("://")
        address = rest.replace("?", "/").partition("/")[0]
        host, colon, port = address.rpartition(":") if address[-1:] != "]" and ":" in address else (address, "", "")
        self.scheme, self.host = scheme.lower(), host.lower()
        named = set(host) <= _UNRESERVED or host[:1] + host[-1:] == "[]" and set(host[1:-1]) <= set("0123456789abcdefABCDEF:.")
        if not (self.scheme in _PORTS and host and named and set(text) <= _VISIBLE
                and (not colon or port.isdigit() and 0 < int(port[:6]) < 65536)):
            raise ConfigurationError("%s: expected a url like https://host:port/path (http or https, no user name, "
                                     "visible ASCII), got another" % what)
        default = _PORTS[self.scheme]
        self.port = int(port) if colon else default
        self.address = self.host if self.port == default else "%s:%d" % (self.host, self.port)
        self.origin = self.scheme + "://" + self.address  # all of it that may be shown
        path = rest[len(address):]
        self.path = path if path.startswith("/") else "/" + path

    def extended(self, more: str) -> "_Url":
        path, mark, query = self.path.partition("?")
        return _Url(self.origin + path.rstrip("/") + more + mark + query)


def _segment(text: str, what: str) -> str:
    """One segment of a path, which arrives as exactly this text."""
    if text in ("", ".", ".."):
        raise ConfigurationError("%s: expected a name, got nothing or dots alone" % what)
    encoded = _text(text, what).encode("utf-8")
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else "%%%02X" % byte for byte in encoded)


def _checking(given: "Optional[ssl.SSLContext]") -> "ssl.SSLContext":
    """A context that checks certificates. The default one is made once a process: that takes 40 ms and more."""
    try:
        import ssl
    except ImportError:
        ssl = None  # type: ignore[assignment]
    if ssl is None:
        raise ConfigurationError("https needs the module ssl, which this Python lacks: use one that has it, or http")
    if given is not None:
        if not (isinstance(given, ssl.SSLContext) and given.verify_mode == ssl.CERT_REQUIRED and given.check_hostname):
            raise ConfigurationError("ssl_context: expected an SSLContext that checks certificates and host names, got "
                                     "another; one for a private authority is ssl.create_default_context(cafile=...)")
        return given
    authorities = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    with _contexts_lock:
        if authorities not in _contexts:
            _contexts.clear()
            _contexts[authorities] = ssl.create_default_context()
        return _contexts[authorities]


_contexts: "Dict[Tuple[Optional[str], Optional[str]], ssl.SSLContext]" = {}
_contexts_lock = _thread.allocate_lock()


def _proxy(url: _Url) -> "Tuple[Optional[_Url], List[Tuple[str, str]]]":
    """The proxy for a url, as urllib finds it, and the header that it wants. Loopback addresses are reached directly."""
    variable = url.scheme + "_proxy"
    if sys.platform not in ("win32", "darwin") and variable not in map(str.lower, os.environ):
        return None, []  # elsewhere there is no other setting, and urllib.request is dear to import
    if re.match(r"((.+\.)?localhost\.?|127(\.\d+){1,3}|\[::1\])\Z", url.host):
        return None, []
    from base64 import b64encode
    from urllib.parse import unquote_to_bytes
    from urllib.request import getproxies, proxy_bypass

    setting = getproxies().get(url.scheme)
    if not setting or proxy_bypass("%s:%d" % (url.host.strip("[]"), url.port)):
        return None, []
    scheme, _, rest = setting.rpartition("://")
    credentials, _, address = rest.rpartition("@")
    if scheme.lower() not in ("", "http", "https"):
        raise ConfigurationError("%s: expected an http proxy, got another kind" % variable)
    headers = []
    if credentials:
        plain = b":".join(unquote_to_bytes(part) for part in credentials.split(":", 1))
        headers = [("Proxy-Authorization", "Basic " + b64encode(plain).decode("ascii"))]
    return _Url("http://" + address, variable), headers


def _dial(host: str, port: int, until: float) -> "socket.socket":
    """Connects to the first address of a name that answers; each gets its share of the time."""
    import socket

    addresses = socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM)
    if host == "localhost":  # what listens there often has this one alone, and some systems wait long for the other
        addresses.sort(key=lambda address: address[0] != socket.AF_INET)
    for others in range(len(addresses) - 1, -1, -1):
        family, kind, protocol, _, address = addresses[-1 - others]
        left = until - time.monotonic()
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_allowed(min(left / (others + 1), _ADDRESS_SHARE) if others else left))
            sock.connect(address)
            return sock
        except BaseException as error:
            sock.close()
            if not others or not isinstance(error, OSError) or time.monotonic() >= until:
                raise
    raise NetworkError("the name has no address")


def _allowed(seconds: float) -> float:
    """A timeout that sockets take; 0 would mean not to wait at all."""
    return min(max(seconds, 0.001), _LONGEST_WAIT)


def _is_timeout(error: BaseException) -> bool:
    """Whether a socket waited as long as it was told to; the system's own ETIMEDOUT has a number."""
    import socket

    return isinstance(error, socket.timeout) and error.errno is None


def _guarded(doing: str, until: float, work: Callable[[], _T]) -> _T:
    """The one place where foreign exceptions become ours. They are no cause or context of ours: they may quote all."""
    try:
        return work()
    except JamsocketError:
        raise
    except Exception as error:
        if time.monotonic() >= until or _is_timeout(error):
            failure: JamsocketError = JamsocketTimeout(doing + ": the deadline passed")
        else:
            failure = NetworkError("%s: %s" % (doing, _why(error)))
            failure._lasting = hasattr(error, "verify_code")
    raise failure


def _why(error: Exception) -> str:
    code = getattr(error, "verify_code", None)
    if code is not None:  # https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
        hint = "; name its authority by SSL_CERT_FILE or ssl_context" if code in (2, 18, 19, 20, 21) else ""
        return "the certificate does not hold, %s%s" % (getattr(error, "verify_message", "it was refused"), hint)
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return reason if isinstance(reason, str) else type(error).__name__


class _Exchange:
    """A request, sent, and its answer, to be read. Whoever makes one closes it.

    `until` bounds the sending, and the reading of an error's body. `secrets` are what the server was told and may echo.
    """

    def __init__(self, method: str, url: _Url, until: float, context: "Optional[ssl.SSLContext]",
                 headers: Iterable[Tuple[str, str]], body: Optional[bytes] = None, secrets: Any = None) -> None:
        self.url, self.until, self.secrets = url, until, [secrets]
        self.sock: Any = None
        self._forget()
        fields = [("Host", url.address), ("User-Agent", _USER_AGENT), ("Accept-Encoding", "identity"),
                  ("Connection", "close"), *headers]
        if body is not None:
            fields += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        try:
            _guarded("cannot reach " + url.origin, until, lambda: self._open(method, fields, body or b"", context))
        except BaseException:
            self.close()
            raise

    def _forget(self) -> None:
        """Ready for the head of an answer."""
        self.status = 0  # until the head is here
        self.headers: Dict[str, str] = {}
        self._head_size = 0
        self._held = b""  # received, and not looked at
        self._left: Optional[int] = None  # bytes to come of the body, or of the chunk; None: until the connection ends
        self._chunks = -1  # chunks begun; -1: the body is not in chunks
        self._body = bytearray()

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()

    def _open(self, method: str, fields: List[Tuple[str, str]], body: bytes,
              context: "Optional[ssl.SSLContext]") -> None:
        secured = _checking(context) if self.url.scheme == "https" else None
        proxy, proxy_fields = _proxy(self.url)
        self.secrets.append([value for _, value in proxy_fields])
        nearest, target = proxy or self.url, self.url.path
        self.sock = _guarded("cannot reach " + nearest.origin, self.until,
                             lambda: _dial(nearest.host, nearest.port, self.until))
        if proxy and secured:
            self._tunnel(proxy_fields)
        elif proxy:
            target, fields = self.url.origin + target, fields + proxy_fields
        if secured:
            self.sock = secured.wrap_socket(self.sock, server_hostname=self.url.host.strip("[]"),
                                            do_handshake_on_connect=False)
            self.sock.settimeout(_allowed(self.until - time.monotonic()))
            self.sock.do_handshake()
        self._send(method, target, fields, body)

    def _tunnel(self, fields: List[Tuple[str, str]]) -> None:
        target = "%s:%d" % (self.url.host, self.url.port)
        self._send("CONNECT", target, [("Host", target), ("User-Agent", _USER_AGENT), *fields], b"")
        if not self.head(self.until):
            raise JamsocketTimeout("the proxy did not answer before the deadline")
        if self.status == 407:
            raise AuthenticationError("HTTP 407 from the proxy: the credentials in https_proxy are missing or wrong",
                                      status=407)
        if not 200 <= self.status < 300:
            refusal = NetworkError("the proxy refused to reach %s (HTTP %d)" % (self.url.origin, self.status))
            refusal._lasting = 400 <= self.status < 500
            raise refusal
        self._forget()

    def _send(self, method: str, target: str, fields: List[Tuple[str, str]], body: bytes) -> None:
        lines = ["%s %s HTTP/1.1" % (method, target), *("%s: %s" % field for field in fields), "", ""]
        unsent = memoryview("\r\n".join(lines).encode("latin-1") + body)
        try:
            while unsent:
                self.sock.settimeout(_allowed(self.until - time.monotonic()))
                unsent = unsent[self.sock.send(unsent):]
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before it hung up: reading tells

    def _more(self, until: float) -> Optional[bytes]:
        """What came next, b"" at the end, None if nothing came until then."""
        return _guarded("the connection to %s broke" % self.url.origin, math.inf, lambda: self._receive(until))

    def _receive(self, until: float) -> Optional[bytes]:
        while True:
            self.sock.settimeout(min(max(until - time.monotonic(), 0.0), _LONGEST_WAIT))
            try:
                return self.sock.recv(_READ_SIZE)  # type: ignore[no-any-return]
            except OSError as error:
                # Not to wait at all has exceptions of its own: BlockingIOError, and ssl's SSLWantReadError.
                if not (_is_timeout(error) or isinstance(error, BlockingIOError) or "WantRead" in type(error).__name__):
                    raise
            if time.monotonic() >= until:
                return None

    def head(self, until: float) -> bool:
        """Whether status and headers are here by then."""
        looked = 0
        while not self.status:
            end = self._held.find(b"\n\r\n", looked)
            size = end + 3 if end >= 0 else len(self._held)
            if self._head_size + size > _HEAD_LIMIT:
                raise ProtocolError("%s: headers of more than %d bytes" % (self.url.origin, _HEAD_LIMIT))
            if end >= 0:
                head, self._held, looked = self._held[:end], self._held[size:], 0
                self._head_size += size
                self._parse_head(head.decode("latin-1"))
                continue
            looked = max(0, size - 2)
            data = self._more(until)
            if data is None:
                return False
            if not data:
                raise NetworkError("%s closed the connection %s" % (
                    self.url.origin, "in the middle of the headers" if self._held else "without an answer"))
            self._held += data
        return True

    def _parse_head(self, head: str) -> None:
        first, *lines = head.split("\n")
        version, _, rest = first.strip().partition(" ")
        if not version.startswith("HTTP/1.") or not (rest[:3].isdigit() and rest[3:4] in ("", " ") and rest[0] != "0"):
            raise ProtocolError("%s: the answer is not HTTP/1" % self.url.origin)
        status = int(rest[:3])
        if 100 <= status < 200 and status != 101:
            return  # the final answer follows
        headers: Dict[str, str] = {}
        for name, _, value in (line.partition(":") for line in lines):
            if headers.setdefault(name.lower(), value.strip()) != value.strip() and name.lower() in _FRAMING:
                raise ProtocolError("%s: headers that contradict each other" % self.url.origin)
        self.status, self.headers = status, headers
        coding, length = headers.get("transfer-encoding", "").lower(), headers.get("content-length", "0")
        if coding not in ("", "identity", "chunked") or not (length.isdigit() and length.isascii() and len(length) < 19):
            raise ProtocolError("%s: an answer whose end cannot be told" % self.url.origin)
        if coding == "chunked":
            self._chunks = self._left = 0
        elif "content-length" in headers or status in (204, 304):
            self._left = int(length)

    def piece(self, until: float) -> Optional[bytes]:
        """The next bytes of the body, b"" at its end, None if none came until then."""
        while True:
            if self._left == 0 and not self._begin_chunk():
                return b""
            if self._held and self._left != 0:
                piece, self._held = self._held[:self._left], self._held[self._left or len(self._held):]
                self._left = None if self._left is None else self._left - len(piece)
                return piece
            data = self._more(until)
            if not data:
                if data is None or self._left is None:
                    return data
                raise NetworkError("%s cut the answer short" % self.url.origin)
            self._held += data

    def _begin_chunk(self) -> bool:
        """Reads the size of the next chunk, if it is here. False at the end of the body."""
        if self._chunks < 0:
            return False
        start = 2 if self._chunks and self._held.startswith(b"\r\n") else 0  # each chunk ends with a line end
        line, end, rest = self._held[start:].partition(b"\n")
        if len(line) > _CHUNK_LINE_LIMIT or end and (bool(self._chunks) != bool(start)
                                                     or not re.match(rb"[0-9a-fA-F]{1,15}[ \t]*(;.*)?\r?\Z", line)):
            raise ProtocolError("%s: an answer in malformed chunks" % self.url.origin)
        if end:
            self._chunks, self._held, self._left = 1, rest, int(line.partition(b";")[0], 16)
        return not end or self._left != 0  # what follows the last chunk tells us nothing

    def accepted(self, until: float) -> bool:
        """Whether the head of a good answer is here by then. Any other answer raises what it means."""
        if not self.head(until):
            return False
        if not 200 <= self.status < 300:
            raise self._refusal()
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise ProtocolError("%s: a compressed answer, which nobody asked for" % self.url.origin)
        return True

    def answer(self, until: float) -> Optional[bytes]:
        """The whole body of a good answer, None if it is not here by then."""
        if not self.accepted(until):
            return None
        if self._chunks < 0 and (self._left or 0) + len(self._body) > _BODY_LIMIT:
            raise self._too_large(_BODY_LIMIT)
        return self._whole(_BODY_LIMIT, until)

    def _whole(self, limit: int, until: float) -> Optional[bytes]:
        while True:
            piece = self.piece(until)
            if not piece:
                return None if piece is None else bytes(self._body)
            self._body += piece
            if len(self._body) > limit:
                raise self._too_large(limit)

    def _too_large(self, limit: int) -> ProtocolError:
        return ProtocolError("%s: an answer of more than %d bytes" % (self.url.origin, limit))

    def whole_answer(self) -> bytes:
        body = self.answer(self.until)
        if body is None:
            raise JamsocketTimeout("%s did not answer before the deadline" % self.url.origin)
        return body

    def _refusal(self) -> JamsocketError:
        """What a status outside 200 to 299 means."""
        text = "HTTP %d from %s" % (self.status, self.url.origin)
        if self.status < 400:
            place = _hush(_origin(self.headers.get("location", "")), self.secrets)
            refusal = ProtocolError("%s, not followed: redirects (here to %s) are refused" % (text, place))
            refusal._lasting = True
            return refusal
        try:
            self._whole(_ERROR_LIMIT, self.until)
        except JamsocketError:
            pass  # what there is of it will do
        message, code, request_id = _error_parts(bytes(self._body), self.headers, self.secrets)
        details = [name + " " + value for name, value in (("code", code), ("request", request_id)) if value]
        text += (": " + message if message else "") + (" (%s)" % ", ".join(details) if details else "")
        kind = {401: AuthenticationError, 403: AuthenticationError, 407: AuthenticationError,
                429: RateLimitError}.get(self.status, HTTPError)
        return kind(text, status=self.status, code=code, request_id=request_id,
                    retry_after=_retry_after(self.headers.get("retry-after", "")))


def _json(body: bytes, origin: str) -> Any:
    import json

    def refuse(name: str) -> None:
        raise ValueError("JSON has no " + name)

    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError):
        pass  # their texts quote the answer
    got = "nothing" if not body.strip() else "an HTML page" if body.lstrip()[:1] == b"<" else "something else"
    raise ProtocolError("%s: expected JSON, got %s" % (origin, got))


def _texts(value: Any) -> Iterable[str]:
    """All strings in what may be nested, with each line, and what follows `Bearer` or `Basic`, on its own too."""
    if isinstance(value, str):
        yield from (value, *value.splitlines(), value.partition(" ")[2])
    elif isinstance(value, (list, tuple, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _hush(text: str, secrets: Any) -> str:
    """A server's words as one printable line, without the secrets that it repeats."""
    for secret in sorted({secret for secret in _texts(secrets) if len(secret) > 3}, key=len, reverse=True):
        for form in (secret, ascii(secret)[1:-1], "".join(c if c in _UNRESERVED else "%%%02X" % ord(c) for c in secret)):
            text = re.sub(re.escape(form), "…", text, flags=re.IGNORECASE)
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= _MESSAGE_LENGTH else text[:_MESSAGE_LENGTH] + "…"


def _error_parts(body: bytes, headers: Mapping[str, str], secrets: Any) -> Tuple[str, Optional[str], Optional[str]]:
    """Message, code and request id from the platform's error, from Plane's, or from the dev server's plain text."""
    try:
        found = _json(body, "")
    except ProtocolError:
        plain = headers.get("content-type", "text/plain").lower().startswith("text/plain")
        return _hush(body.decode("utf-8", "replace"), secrets) if plain else "", None, None
    error = found.get("error", found) if type(found) is dict else {"message": found}
    error = error if type(error) is dict else {"message": error}
    message, code, kind, request_id = (_hush(error[name], secrets) if type(error.get(name)) is str else None
                                       for name in ("message", "code", "kind", "id"))
    return message or "", code or kind, request_id


def _retry_after(text: str) -> Optional[float]:
    """Seconds, from a header that holds a number of them or a date."""
    if re.match(r"[0-9]{1,9}(\.[0-9]*)?\Z", text):
        return float(text)
    from email.utils import mktime_tz, parsedate_tz

    try:
        date = parsedate_tz(text)
        seconds = mktime_tz(date) - time.time() if date else math.nan
    except Exception:
        return None  # they raise several kinds for what is no date
    return max(seconds, 0.0) if math.isfinite(seconds) else None


# ---- Waiting ---------------------------------------------------------------------------------------------------------
#
# A wait hears of a backend by its event stream, which tells at once but may be held back, end early, or replay what is
# over, and, as a safety net, by the status call every few seconds. One loop looks at both, without a thread.


class _Channel:
    """One of the two ways: the exchange under way, or else when the next one is due."""

    def __init__(self, due: float) -> None:
        self.exchange: Optional[_Exchange] = None
        self.due = due
        self.failures = 0  # since it worked
        self._strange = 0  # answers in a row that are not the API's

    def close(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.close()

    def worked(self) -> None:
        self.failures = self._strange = 0

    def failed(self, error: JamsocketError, tolerated: bool, retry: float = 0.0) -> None:
        """Plans the next exchange, or raises what will not pass by itself."""
        self.close()
        self._strange = self._strange + 1 if isinstance(error, ProtocolError) else 0
        if isinstance(error, HTTPError):
            tolerated = tolerated or error.status == 429 or error.status >= 500
        elif not error._lasting and self._strange < _STRANGE_ANSWERS:
            tolerated = True
        if not tolerated:
            raise error
        pause = min(_FIRST_PAUSE * 2**min(self.failures, 9), _LONGEST_PAUSE)
        pause *= 0.75 + os.urandom(1)[0] / 512  # so that a crowd of waiters does not come back at once
        self.failures += 1
        self.due = time.monotonic() + max(pause, retry, getattr(error, "retry_after", None) or 0.0)


class _Watch:
    """A wait, or a stream, under way.

    `safe`: the status call's states count too, and the stream's errors do not; otherwise that call only finds out
    whether there is such a backend at all.
    """

    def __init__(self, client: "_Client", url: _Url, until: float, secrets: Any, safe: bool, ask_first: bool) -> None:
        now = time.monotonic()
        self._client, self._url, self._secrets = client, url, secrets
        self._until, self._born, self._safe = until, now, safe
        self._streaming, self._asking = _Channel(now), _Channel(now)
        (self._streaming if ask_first else self._asking).due += _FIRST_CHECK
        self._asked = -math.inf  # when the last status call was made
        self._denied = False  # it said 404
        self._last: Optional[BackendState] = None  # the latest new state
        self._rank, self._unknown = -1, set()  # type: int, Set[str]
        self._trouble: Optional[JamsocketError] = None
        self._begin_stream(_Events())

    def _begin_stream(self, events: _Events) -> None:
        self._events = events
        self._told: Optional[BackendState] = None  # the last state that this stream told
        self._quiet = 0.0  # seconds waited since its last byte
        self._caught_up = False  # its replay is over, so what it told is the present
        self._more = False  # it may have more at once

    def states(self) -> Generator[Tuple[BackendState, bool, bool], None, None]:
        """Each state that is told, whether it is new, and whether it is surely the present one; until the deadline."""
        try:
            while True:
                for look in (self._look_at_status, self._look_at_stream):
                    for state, present in look():
                        yield state, self._is_new(state), present
                if time.monotonic() >= self._until:
                    return
                self._await()
        finally:
            self._streaming.close()
            self._asking.close()

    def _is_new(self, state: BackendState) -> bool:
        rank = _RANK.get(state.status)
        if rank is None:
            new = state.status not in self._unknown and len(self._unknown) < _UNKNOWN_WORDS
            self._unknown.add(state.status if new else "")
        else:
            new = rank > self._rank
            self._rank = max(rank, self._rank)
        if new:
            self._last = state
            self._streaming.worked()
        return new

    def late(self) -> JamsocketTimeout:
        """The error for the deadline."""
        seen = "nothing was heard of the backend" if self._last is None else "last seen " + _hush(self._last.status, None)
        trouble = "" if self._trouble is None else "; last trouble: %s" % self._trouble
        return JamsocketTimeout("the deadline passed, %s%s" % (seen, trouble), last_state=self._last)

    def _limit(self) -> float:
        return min(self._until, time.monotonic() + _ATTEMPT)

    def _needs_asking(self) -> bool:
        return self._safe or self._told is None

    def _look_at_status(self) -> List[Tuple[BackendState, bool]]:
        channel, now = self._asking, time.monotonic()
        try:
            if channel.exchange is None:
                if now < channel.due or not self._needs_asking():
                    return []
                self._asked = now
                channel.exchange = self._client._ask(self._url, self._limit(), self._secrets)
            body = channel.exchange.answer(0.0)
            if body is None:
                if now < channel.exchange.until:
                    return []
                raise JamsocketTimeout("%s did not answer in time" % self._url.origin)
            state = _checked(BackendState, body, self._url.origin)
        except JamsocketError as error:
            self._denied = getattr(error, "status", 0) == 404
            # A stream that tells of the backend is about to tell of its end, which a 404 may mean.
            alive = self._told is not None and not channel.failures
            channel.failed(error, self._denied and (alive or now - self._born < _NEWBORN))
            self._trouble = error
            return []
        channel.close()
        channel.worked()
        channel.due, self._denied = time.monotonic() + _CHECK, False
        return [(state, True)] if self._safe else []

    def _look_at_stream(self) -> List[Tuple[BackendState, bool]]:
        channel = self._streaming
        try:
            if channel.exchange is None:
                if time.monotonic() < channel.due:
                    return []
                self._begin_stream(_Events(self._events.last_id, self._events.retry))
                channel.exchange = self._client._listen(self._url, self._limit(), self._secrets, self._events.last_id)
            return self._read_stream(channel.exchange)
        except JamsocketError as error:
            newborn = getattr(error, "status", 0) == 404 and time.monotonic() - self._born < _NEWBORN
            channel.failed(error, self._safe or newborn, self._events.retry)
            self._trouble = error
            self._told = None
            self._asking.due = min(self._asking.due, max(time.monotonic(), self._asked + _CHECK))
            return []

    def _read_stream(self, exchange: _Exchange) -> List[Tuple[BackendState, bool]]:
        piece = None
        if exchange.accepted(0.0):
            if exchange.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/event-stream":
                raise ProtocolError("%s: expected an event stream, got another kind of answer" % self._url.origin)
            piece = exchange.piece(0.0)
        self._more = bool(piece)
        if piece is None:
            return self._on_silence()
        if not piece:
            raise NetworkError("%s ended the event stream" % self._url.origin)
        self._quiet = 0.0
        states = [state for state in map(_state_in, self._events.feed(piece)) if state is not None]
        if states:
            self._told = states[-1]
            if self._told.is_ready and not self._caught_up:
                self._asking.due = min(self._asking.due, time.monotonic())
        return [(state, self._caught_up and state is self._told) for state in states]

    def _on_silence(self) -> List[Tuple[BackendState, bool]]:
        if self._quiet >= _IDLE:
            raise NetworkError("%s: nothing came of the event stream for %d seconds" % (self._url.origin, _IDLE))
        if self._told is None or not (self._told.is_ready and self._caught_up) or self._denied:
            return []
        # The last word of the replay is `ready`. The status call is better evidence, where it can be had.
        return [(self._told, self._asking.exchange is None or self._quiet >= _SETTLED)]

    def _await(self) -> None:
        """Waits until there is something to look at, or to do."""
        if self._more:
            return
        now = time.monotonic()
        streaming, asking = self._streaming.exchange, self._asking.exchange
        dues = [self._until, asking.until if asking else self._asking.due if self._needs_asking() else math.inf]
        if streaming:
            dues.append(now + next((limit - self._quiet for limit in (_QUIET, _SETTLED, _IDLE) if limit > self._quiet), 0))
        else:
            dues.append(self._streaming.due)
        _pause([exchange.sock for exchange in (streaming, asking) if exchange], min(dues) - now)
        self._quiet += time.monotonic() - now
        self._caught_up = self._caught_up or self._told is not None and self._quiet >= _QUIET


def _pause(sockets: "List[socket.socket]", seconds: float) -> None:
    """Waits until one of the sockets can be read, at most so long."""
    seconds = min(max(seconds, 0.0), _LONGEST_WAIT)
    if not sockets:
        time.sleep(seconds)
        return
    import selectors

    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        selector.select(seconds)


def _state_in(event: str) -> "Optional[BackendState]":
    """The state that an event holds; None where it holds something else, which is passed over."""
    try:
        return _checked(BackendState, event.encode("utf-8"), "")
    except ProtocolError:
        return None


def _checked(kind: "Type[_A]", body: bytes, origin: str) -> "_A":
    """An answer of the API. Its words from the future are kept."""
    document = _json(body, origin)
    try:
        return kind.from_dict(document, strict=False)
    except ValidationError as error:
        problem = str(error)
    raise ProtocolError("%s: not a %s: %s" % (origin, kind.__name__, problem))


# ---- The clients -----------------------------------------------------------------------------------------------------

_OWN_HEADERS = ("host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding")
_OnStatus = Callable[[BackendState], None]


def _seconds(timeout: Optional[float]) -> float:
    """A timeout that makes sense; None is none, as is inf."""
    if timeout is None:
        return math.inf
    if type(timeout) is bool or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ConfigurationError("timeout: expected a number of seconds above 0, got %s" % (
            "one that is not" if isinstance(timeout, (int, float)) else _kind(timeout)))
    return float(min(timeout, 1e9))


class _Client:
    """What the clients share. `headers` are secrets, sent with `connect` and `terminate`."""

    _connect_path = _status_path = _terminate_path = ""

    def __init__(self, url: str, what: str, headers: Iterable[Tuple[str, str]], timeout: Optional[float],
                 ssl_context: "Optional[ssl.SSLContext]") -> None:
        self._base = _Url(url, what)
        self._headers = list(headers)
        self._timeout = _seconds(timeout)
        self._context = None if ssl_context is None else _checking(ssl_context)

    def __repr__(self) -> str:
        return "%s(%s)" % (type(self).__name__.lstrip("_"), self._base.origin)

    def connect(self, request: Union[ConnectRequest, Mapping[str, Any], None] = None, *,
                timeout: Optional[float] = None) -> ConnectResponse:
        """Starts a backend, or finds the one that holds the request's key. Sent once, never repeated.

        `timeout`: seconds for the whole call; None: the client's. Raises ValidationError for a request that the
        platform would refuse, AuthenticationError, RateLimitError or another HTTPError, NetworkError, ProtocolError or
        JamsocketTimeout.
        """
        until = self._until(timeout)
        if not isinstance(request, ConnectRequest):
            request = ConnectRequest.from_dict({} if request is None else request)
        env = request.spawn.executable.env if isinstance(request.spawn, SpawnConfig) and request.spawn.executable else None
        with closing(self._post(self._connect_path, self._document(request), until, [request.auth, env])) as exchange:
            body = exchange.whole_answer()
        return _checked(ConnectResponse, body, self._base.origin)

    def status(self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = None) -> BackendState:
        """The state of a backend, given as its ConnectResponse, its id or its status url. It needs no credentials.

        `timeout`: seconds for the whole call; None: the client's. Raises HTTPError (404: no such backend, or gone),
        NetworkError, ProtocolError or JamsocketTimeout.
        """
        until = self._until(timeout)
        url, secrets = self._find(backend)
        with closing(self._ask(url, until, secrets)) as exchange:
            body = exchange.whole_answer()
        return _checked(BackendState, body, url.origin)

    def status_stream(self, backend: Union[ConnectResponse, str], *,
                      timeout: Optional[float] = None) -> Generator[BackendState, None, None]:
        """Yields each state once, as soon as it is told, in the lifecycle's order, and ends after `terminated`.

        It begins with the states so far, and opens a stream that ends early again. `timeout`: seconds until
        JamsocketTimeout; None: never. Raises HTTPError, NetworkError or ProtocolError for what will not pass.
        """
        url, secrets = self._find(backend)
        watch = _Watch(self, url, time.monotonic() + _seconds(timeout), secrets, safe=False, ask_first=False)
        return self._each_once(watch)

    def _each_once(self, watch: _Watch) -> Generator[BackendState, None, None]:
        with closing(watch.states()) as states:
            for state, new, _ in states:
                if new:
                    yield state
                if state.is_terminated:
                    return
        raise watch.late()

    def wait_until_ready(self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = 60.0,
                         on_status: Optional[_OnStatus] = None) -> BackendState:
        """Returns the `ready` state as soon as the platform tells it.

        `timeout`: seconds; None: for ever. `on_status` is called with each new state, in order; what it raises ends the
        wait. Raises BackendTerminated when the backend can no longer become ready, JamsocketTimeout at the deadline,
        HTTPError for what will not pass (401, 403, 404 after the first two seconds), NetworkError for a certificate
        that does not hold. Lost connections, 5xx and 429 it waits through.
        """
        until = time.monotonic() + _seconds(timeout)
        if on_status is not None and not callable(on_status):
            raise TypeError("on_status: expected a function, got " + _kind(on_status))
        url, secrets = self._find(backend)
        known = backend.status if isinstance(backend, ConnectResponse) else ""
        if _RANK.get(known, 0) >= _TERMINATING:
            raise _terminated(BackendState.from_dict({"status": known, "time": ""}, strict=False))
        watch = _Watch(self, url, until, secrets, safe=True, ask_first=known == "ready")
        with closing(watch.states()) as states:
            for state, new, present in states:
                if new and on_status is not None:
                    on_status(state)
                if _RANK.get(state.status, 0) >= _TERMINATING:
                    raise _terminated(state)
                if state.is_ready and present:
                    return state
        raise watch.late()

    def terminate(self, backend: Union[ConnectResponse, str], *, hard: bool = False,
                  timeout: Optional[float] = None) -> None:
        """Ends a backend: softly, with time to clean up, or `hard`. Sent once; returns before the state changes.

        `timeout`: seconds for the whole call; None: the client's. Raises as `connect` does; HTTPError 404: no such
        backend, or gone already.
        """
        until = self._until(timeout)
        if type(hard) is not bool:
            raise TypeError("hard: expected True or False, got " + _kind(hard))
        _, secrets = self._find(backend)
        path, document = self._termination(_segment(self._id(backend), "backend"), hard)
        with closing(self._post(path, document, until, secrets)) as exchange:
            _json(exchange.whole_answer(), self._base.origin)

    # What differs between the platforms:

    def _document(self, request: ConnectRequest) -> Dict[str, Any]:
        raise NotImplementedError

    def _termination(self, backend: str, hard: bool) -> Tuple[str, Optional[Dict[str, Any]]]:
        raise NotImplementedError

    def _status_headers(self, url: _Url) -> List[Tuple[str, str]]:
        return []

    # What does not:

    def _until(self, timeout: Optional[float]) -> float:
        return time.monotonic() + (self._timeout if timeout is None else _seconds(timeout))

    def _find(self, backend: Union[ConnectResponse, str]) -> Tuple[_Url, Any]:
        """The status url of a backend, and the secrets that are known of it."""
        if isinstance(backend, ConnectResponse):
            urls = [url.split("/")[3:] for url in (backend.url, backend.ready_url)]
            return _Url(backend.status_url, "status_url"), [backend.token, backend.secret_token, urls]
        if not isinstance(backend, str):
            raise TypeError("backend: expected a ConnectResponse or a string, got " + _kind(backend))
        if "://" in backend:
            return _Url(backend, "backend"), None
        return self._base.extended(self._status_path % _segment(backend, "backend")), None

    def _id(self, backend: Union[ConnectResponse, str]) -> str:
        if isinstance(backend, ConnectResponse):
            return backend.backend_id
        if "://" not in backend:
            return backend
        from urllib.parse import unquote

        match = re.search(r"/(?:v2/backend|pub/b)/([^/?]+)/status(?:\?|\Z)", backend)
        if match is None:
            raise ConfigurationError("backend: expected an id or a url that ends with /ID/status, got another url")
        return unquote(match.group(1))

    def _exchange(self, method: str, url: _Url, until: float, headers: List[Tuple[str, str]], secrets: Any,
                  body: Optional[bytes] = None) -> _Exchange:
        own = [value for _, value in self._headers]
        return _Exchange(method, url, until, self._context, headers, body, [secrets, own])

    def _post(self, path: str, document: Optional[Dict[str, Any]], until: float, secrets: Any) -> _Exchange:
        import json

        body = b"" if document is None else json.dumps(document).encode("ascii")
        headers = [("Accept", "application/json"), *self._headers]
        return self._exchange("POST", self._base.extended(path), until, headers, secrets, body)

    def _ask(self, url: _Url, until: float, secrets: Any) -> _Exchange:
        return self._exchange("GET", url, until, [("Accept", "application/json"), *self._status_headers(url)], secrets)

    def _listen(self, url: _Url, until: float, secrets: Any, last_id: bytes) -> _Exchange:
        headers = [("Accept", "text/event-stream"), ("Cache-Control", "no-cache"), *self._status_headers(url)]
        if 0 < len(last_id) < 1000 and min(last_id) >= 0x20 and 0x7F not in last_id:
            headers.append(("Last-Event-ID", last_id.decode("latin-1")))  # its bytes go out as they came
        stream = url.extended("-stream" if "/pub/b/" in url.path else "/stream")
        return self._exchange("GET", stream, until, headers, secrets)


def _terminated(state: BackendState) -> BackendTerminated:
    why = " (%s)" % _hush(state.termination_reason, None) if state.termination_reason else ""
    return BackendTerminated("the backend is %s%s, so it will not become ready" % (state.status, why), state=state)


def _setting(name: str, value: Any) -> str:
    if type(value) is not str or not value:
        raise ConfigurationError("%s: expected a string, got %s" % (name, "an empty one" if value == "" else _kind(value)))
    return value


class Jamsocket(_Client):
    """A client of the hosted platform, or of its dev server. It keeps no connection; threads may share it.

    `account`, `service` (`"name"` or `"name/environment"`) and `token` are needed, but for `dev=True`, which means the
    dev server on this machine, at `port`. `timeout`: seconds for a whole `connect`, `status` or `terminate`.
    `ssl_context`: one that knows a private authority. Raises ConfigurationError.
    """

    _status_path = "/v2/backend/%s/status"

    def __init__(self, account: Optional[str] = None, service: Optional[str] = None, token: Optional[str] = None, *,
                 dev: bool = False, port: int = 8080, api_url: str = _API_URL, timeout: float = 60.0,
                 ssl_context: "Optional[ssl.SSLContext]" = None) -> None:
        if dev:
            if type(port) is not int or not 0 < port < 65536:
                raise ConfigurationError("port: expected an integer from 1 to 65535, got another value")
            account = service = token = "-"
            api_url = "http://localhost:%d" % port
        given = {"account": account, "service": service, "token": token}
        missing = [name for name, value in given.items() if value is None or value == ""]
        if missing:
            raise ConfigurationError("expected %s, got nothing: pass it to Jamsocket(), or set %s, or use dev mode "
                                     "(dev=True, JAMSOCKET_DEV=true)" % (
                                         ", ".join(missing), ", ".join("JAMSOCKET_" + name.upper() for name in missing)))
        places = [_setting("account", account), *_setting("service", service).split("/")]
        if len(places) > 3:
            raise ConfigurationError("service: expected name or name/environment, got more")
        if not set(_setting("token", token)) <= _VISIBLE:
            raise ConfigurationError("token: expected visible ASCII characters, got others")
        authorization = ("Authorization", "Bearer " + _setting("token", token))
        super().__init__(_setting("api_url", api_url), "api_url", [authorization], timeout, ssl_context)
        path = "/".join(_segment(place, "account or service") for place in places)
        self._connect_path = "/v2/service/%s/connect" % path

    @classmethod
    def from_env(cls, env: Optional[Mapping[str, str]] = None) -> "Jamsocket":
        """A client by JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE, JAMSOCKET_TOKEN and, where set, JAMSOCKET_API_URL; or, with
        JAMSOCKET_DEV=true, by JAMSOCKET_DEV_PORT (8080). `env` stands in for os.environ. Raises ConfigurationError."""
        return cls(**_jamsocket_settings(os.environ if env is None else env))

    def _document(self, request: ConnectRequest) -> Dict[str, Any]:
        return request.to_dict()

    def _termination(self, backend: str, hard: bool) -> Tuple[str, Optional[Dict[str, Any]]]:
        return "/v2/backend/%s/terminate" % backend, {"hard": hard}


class Plane(_Client):
    """A client of a self-hosted Plane controller, with the methods of Jamsocket.

    `image`: the backends' container image; a request's `tag` replaces its tag. `pool`: the drones that may run them.
    `namespace`: what their keys are unique in. `headers`: for a reverse proxy before the controller; they are secrets
    and sent to the controller's origin alone. Raises ConfigurationError.
    """

    _connect_path = "/ctrl/connect"
    _status_path = "/pub/b/%s/status"

    def __init__(self, url: str = "http://localhost:8080", *, image: str, pool: Optional[str] = None,
                 namespace: Optional[str] = None, timeout: float = 60.0,
                 ssl_context: "Optional[ssl.SSLContext]" = None, headers: Optional[Mapping[str, str]] = None) -> None:
        super().__init__(_setting("url", url), "url", _header_fields(headers), timeout, ssl_context)
        self._image = _setting("image", image)
        self._pool = None if pool is None else _setting("pool", pool)
        self._namespace = None if namespace is None else _setting("namespace", namespace)

    @classmethod
    def from_env(cls, env: Optional[Mapping[str, str]] = None) -> "Plane":
        """A client by PLANE_URL and PLANE_IMAGE. `env` stands in for os.environ. Raises ConfigurationError."""
        return cls(**_plane_settings(os.environ if env is None else env))

    def _document(self, request: ConnectRequest) -> Dict[str, Any]:
        """Plane's spelling of a request."""
        document = request.to_dict()
        key, spawn = document.pop("key", None), document.pop("spawn", None)
        if key is not None:
            document["key"] = {"name": key}
            if self._namespace is not None:
                document["key"]["namespace"] = self._namespace
        if spawn is not False:
            config: Dict[str, Any] = spawn if isinstance(spawn, dict) else {}
            image, tag = self._image, config.pop("tag", None)
            if tag is not None:
                path, slash, name = image.partition("@")[0].rpartition("/")
                image = path + slash + name.partition(":")[0] + ":" + tag
            config["executable"] = {"image": image, **config.get("executable", {})}
            if self._pool is not None:
                config["pool"] = self._pool
            document["spawn_config"] = config
        return document

    def _termination(self, backend: str, hard: bool) -> Tuple[str, Optional[Dict[str, Any]]]:
        return "/ctrl/b/%s/%s-terminate" % (backend, "hard" if hard else "soft"), None

    def _status_headers(self, url: _Url) -> List[Tuple[str, str]]:
        return self._headers if url.origin == self._base.origin else []


def _header_fields(headers: Any) -> List[Tuple[str, str]]:
    try:
        fields = list(_mapping({} if headers is None else headers, "headers").items())
        sound = all(set(name) <= _VISIBLE - set('"(),/:;<=>?@[\\]{}') and name and name.lower() not in _OWN_HEADERS
                    and type(value) is str and set(value) <= _VISIBLE | {" "} for name, value in fields)
    except Exception:
        sound = False
    if not sound:
        raise ConfigurationError("headers: expected a mapping of names to values, all visible ASCII, and none of %s"
                                 % ", ".join(_OWN_HEADERS))
    return fields


# ---- The environment and the two functions ---------------------------------------------------------------------------


def _jamsocket_settings(env: Mapping[str, str]) -> Dict[str, Any]:
    dev = env.get("JAMSOCKET_DEV", "").lower()
    if dev not in ("true", "false", ""):
        raise ConfigurationError("JAMSOCKET_DEV: expected true or false, got another word")
    if dev == "true":
        port = env.get("JAMSOCKET_DEV_PORT") or "8080"
        if not (port.isdigit() and 0 < int(port[:6]) < 65536):
            raise ConfigurationError("JAMSOCKET_DEV_PORT: expected an integer from 1 to 65535, got another value")
        return {"dev": True, "port": int(port)}
    settings: Dict[str, Any] = {name: env.get("JAMSOCKET_" + name.upper()) for name in ("account", "service", "token")}
    settings["api_url"] = env.get("JAMSOCKET_API_URL") or _API_URL
    return settings


def _plane_settings(env: Mapping[str, str]) -> Dict[str, Any]:
    missing = [name for name in ("PLANE_URL", "PLANE_IMAGE") if not env.get(name)]
    if missing:
        raise ConfigurationError("expected %s in the environment, got nothing" % " and ".join(missing))
    return {"url": env["PLANE_URL"], "image": env["PLANE_IMAGE"]}


def _client_from_env(**options: Any) -> _Client:
    """Jamsocket, unless only Plane is set up."""
    named = any(os.environ.get("JAMSOCKET_" + name) for name in ("DEV", "ACCOUNT", "SERVICE", "TOKEN"))
    if os.environ.get("PLANE_URL") and not named:
        return Plane(**_plane_settings(os.environ), **options)
    return Jamsocket(**_jamsocket_settings(os.environ), **options)


def connect(request: Union[ConnectRequest, Mapping[str, Any], None] = None, *, account: Optional[str] = None,
            service: Optional[str] = None, token: Optional[str] = None, dev: bool = False, port: int = 8080,
            api_url: str = _API_URL, timeout: float = 60.0,
            ssl_context: "Optional[ssl.SSLContext]" = None) -> ConnectResponse:
    """Jamsocket.connect with a client made for it: of the arguments or, without credentials and `dev`, of the
    environment (as Jamsocket.from_env, or Plane.from_env where PLANE_URL is set and no Jamsocket variable)."""
    if dev or not account is service is token is None:
        client: _Client = Jamsocket(account, service, token, dev=dev, port=port, api_url=api_url, timeout=timeout,
                                    ssl_context=ssl_context)
    else:
        client = _client_from_env(timeout=timeout, ssl_context=ssl_context)
    return client.connect(request)


def wait_until_ready(backend: Union[ConnectResponse, str], *, timeout: Optional[float] = 60.0,
                     on_status: Optional[_OnStatus] = None,
                     ssl_context: "Optional[ssl.SSLContext]" = None) -> BackendState:
    """Jamsocket.wait_until_ready for a ConnectResponse or a status url; it needs no credentials."""
    if isinstance(backend, str) and "://" not in backend:
        raise ConfigurationError("backend: expected a status url, got another string (only a client can take an id)")
    return _Client(_API_URL, "", [], None, ssl_context).wait_until_ready(backend, timeout=timeout, on_status=on_status)


# ---- The command line ------------------------------------------------------------------------------------------------

_HELP = """\
Start Jamsocket session backends and talk about them, from a shell.

The credentials come from the environment: JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE, JAMSOCKET_TOKEN and, where needed,
JAMSOCKET_API_URL; or JAMSOCKET_DEV=true (and JAMSOCKET_DEV_PORT) for a dev server on this machine; or PLANE_URL and
PLANE_IMAGE for a self-hosted Plane. BACKEND is a backend's id or its status url, which needs no credentials.
"""
_EPILOG = """\
example:  url=$(%(prog)s connect --key board-42 --wait --format url) && curl "$url"

exit status:  0 done   1 the platform's or the network's error   2 usage, configuration or invalid data
              3 refused credentials   4 deadline passed   5 the backend terminated   130 interrupted
"""


def _parser() -> "argparse.ArgumentParser":
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigurationError("%s; see %s --help" % (message, self.prog))

    def command(name: str, text: str, *, timeout: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.add_argument("--quiet", action="store_true", help="no progress on standard error")
        if timeout:
            added.add_argument("--timeout", metavar="S", type=float, help="seconds for all of it (%s)" % timeout)
        if name != "connect":
            added.add_argument("backend", metavar="BACKEND", help="its id or its status url")
        return added

    prog = "jamsocket-lite" if os.path.basename(sys.argv[0] or "") == "jamsocket-lite" else "jamsocket_lite.py"
    parser = Parser(prog=prog, description=_HELP, epilog=_EPILOG, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands.required = True
    connecting = command("connect", "start a backend, or find the one that holds a key; print the answer", timeout="60")
    for option, name, text in (("--key", "K", "the key that the backend holds"), ("--tag", "T", "the image's tag"),
                               ("--cluster", "C", "where to run it"), ("--user", "U", "who will use it"),
                               ("--auth", "JSON", "an object that is handed to the backend"),
                               ("--request", "JSON", "a whole request instead of these options; - reads it from "
                                "standard input, where other users cannot see it")):
        connecting.add_argument(option, metavar=name, help=text)
    connecting.add_argument("--no-spawn", action="store_true", help="only find one, never start one")
    connecting.add_argument("--env", metavar="NAME=VALUE", action="append", help="a variable for it; repeatable")
    connecting.add_argument("--max-idle-seconds", metavar="N", type=int, help="end it after so long without a connection")
    connecting.add_argument("--lifetime-limit-seconds", metavar="N", type=int, help="end it after so long")
    connecting.add_argument("--wait", action="store_true", help="wait until it is ready")
    connecting.add_argument("--format", choices=("json", "url"), default="json", help="print the url alone (json)")
    command("wait", "wait until it is ready; print its state", timeout="60")
    command("status", "print its state")
    command("stream", "print each of its states as a line, until it is terminated", timeout="none")
    command("terminate", "end it").add_argument("--hard", action="store_true", help="at once, without time to clean up")
    return parser


def _request_of(options: "argparse.Namespace") -> ConnectRequest:
    spawn = {name: getattr(options, name) for name in ("tag", "cluster", "max_idle_seconds", "lifetime_limit_seconds")
             if getattr(options, name) is not None}
    if options.env:
        pairs = [pair.partition("=") for pair in options.env]
        if not all(mark for _, mark, _ in pairs):
            raise ConfigurationError("--env: expected NAME=VALUE, got something without =")
        spawn["executable"] = {"env": {name: value for name, _, value in pairs}}
    fields = {"key": options.key, "user": options.user, "spawn": spawn or None,
              "auth": None if options.auth is None else _argument_json("--auth", options.auth)}
    if options.no_spawn:
        fields["spawn"] = False
    given = {name: value for name, value in fields.items() if value is not None}
    if spawn and options.no_spawn or given and options.request is not None:
        raise ConfigurationError("expected either --no-spawn or --request, or the options that say what to start")
    if options.request is None:
        return ConnectRequest.from_dict(given)
    text = sys.stdin.read() if options.request == "-" and sys.stdin else options.request
    return ConnectRequest.from_dict(_argument_json("--request", text))


def _argument_json(option: str, text: str) -> Any:
    try:
        return _json(text.encode("utf-8", "surrogatepass"), option)
    except ProtocolError:
        pass
    raise ConfigurationError("%s: expected JSON, got something else" % option)


class _Progress:
    """Shows each status: in one place on a terminal, elsewhere a line each."""

    def __init__(self, shown: bool) -> None:
        self._stream = sys.stderr if shown else None
        self._redraws = bool(getattr(self._stream, "isatty", bool)())
        self._width = 0

    def __call__(self, state: BackendState) -> None:
        text = "backend: " + _hush(state.status, None)
        _print(self._stream, "\r" + text.ljust(self._width) if self._redraws else text + "\n")
        self._width = len(text)

    def end(self) -> None:
        if self._redraws and self._width:
            _print(self._stream, "\n")


def _print(stream: Any, text: str) -> None:
    if stream is not None:  # as in programs without a console
        stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()


def _run(options: "argparse.Namespace") -> None:
    import json

    def show(document: Any) -> None:
        _print(sys.stdout, (document if isinstance(document, str) else json.dumps(document.to_dict())) + "\n")

    timeout = getattr(options, "timeout", None)
    until = time.monotonic() + _seconds(60.0 if timeout is None else timeout)
    by_url = "://" in getattr(options, "backend", "") and options.command != "terminate"
    client = _Client(_API_URL, "", [], 60.0, None) if by_url else _client_from_env()
    progress = _Progress(not options.quiet)
    try:
        if options.command == "connect":
            response = client.connect(_request_of(options), timeout=until - time.monotonic())
            if options.wait:
                client.wait_until_ready(response, timeout=max(until - time.monotonic(), 0.001), on_status=progress)
            show(response.url if options.format == "url" else response)
        elif options.command == "wait":
            show(client.wait_until_ready(options.backend, timeout=until - time.monotonic(), on_status=progress))
        elif options.command == "status":
            show(client.status(options.backend))
        elif options.command == "stream":
            for state in client.status_stream(options.backend, timeout=timeout):
                show(state)
        else:
            client.terminate(options.backend, hard=options.hard)
    finally:
        progress.end()


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The command line; returns the exit status. `argv`: the arguments, instead of those of the process."""
    try:
        options, others = _parser().parse_known_args(argv)
        if others:  # only the names: someone may have passed a token
            names = [other.partition("=")[0] for other in others if other.startswith("--")]
            raise ConfigurationError("expected other arguments, got %s; see --help (credentials come from the "
                                     "environment alone)" % (", ".join(names) or "more than the command takes"))
        _run(options)
        return 0
    except KeyboardInterrupt:
        text, status = "interrupted", 130
    except BrokenPipeError:
        sys.stdout = None  # whoever read our output has gone
        return 1
    except JamsocketError as error:
        statuses = {ValidationError: 2, ConfigurationError: 2, AuthenticationError: 3, JamsocketTimeout: 4,
                    BackendTerminated: 5}
        text, status = str(error), statuses.get(type(error), 1)
    _print(sys.stderr, "jamsocket-lite: %s\n" % text)
    return status


if __name__ == "__main__":
    sys.exit(main())
