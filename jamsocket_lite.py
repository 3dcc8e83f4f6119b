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
import errno
import math
import os
import re
import sys
import time
from collections.abc import Mapping as _MappingABC
from contextlib import closing
from dataclasses import dataclass
from typing import (TYPE_CHECKING, Any, Callable, Dict, Generator, Iterable, List, Mapping, Optional, Sequence, Set,
                    Tuple, Type, TypeVar, Union)

# What only a call needs (json, socket, ssl, selectors) is imported where it is used: a program that wants the types
# alone does not pay for it, and an interpreter without ssl or sockets can still import this file.
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

if sys.version_info >= (3, 8):
    from typing import Literal

    BackendStatus = Literal[
        "scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated"
    ]
    TerminationKind = Literal["soft", "hard"]
    TerminationReason = Literal["swept", "external", "key_expired", "lost", "startup_timeout", "internal_error"]
else:  # Python 3.7 has no Literal
    BackendStatus = TerminationKind = TerminationReason = str

_STATUSES = ("scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated")
_KINDS = ("soft", "hard")
_REASONS = ("swept", "external", "key_expired", "lost", "startup_timeout", "internal_error")

# The lifecycle's order: a backend may skip states but never goes back.
_RANK = {status: rank for rank, status in enumerate(_STATUSES)}
_TERMINATING, _TERMINATED = _RANK["terminating"], _RANK["terminated"]

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
_BOM = b"\xef\xbb\xbf"
_PORTS = {"http": 80, "https": 443}
_VISIBLE = frozenset(map(chr, range(0x21, 0x7F)))  # what urls and tokens are made of
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3
_OWN_HEADERS = ("host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding")

# Sizes, in bytes.
_HEAD_LIMIT = 64 * 1024  # a status line and headers
_BODY_LIMIT = 128 * 1024  # an answer
_ERROR_LIMIT = 64 * 1024  # what is read of an error's body
_EVENT_LIMIT = 128 * 1024  # a line of an event stream, and an event
_JSON_OBJECTS = 1000  # objects and lists in an answer or event: small ones take 25 to 100 times their text in memory
_CHUNK_LINE_LIMIT = 1024
_READ_SIZE = 16 * 1024
_MESSAGE_LENGTH = 200  # what is quoted of a server's message, in characters
_SECRET_LENGTH = 4  # what is shorter is not searched for there

# Times, in seconds.
_TICK = 0.001  # about the precision of a socket's timeout
_LONGEST_WAIT = 3600.0  # of one socket operation; sockets refuse very large timeouts
_ADDRESS_SHARE = 5.0  # for one of several addresses of a name before the next is tried
_ATTEMPT = 5.0  # for opening a stream, or for the first status call, inside a wait
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # between attempts inside a wait
_FIRST_CHECK, _CHECK = 1.0, 5.0  # until a wait makes the status call, and makes it again
_NEWBORN = 2.0  # in which a 404 may be a backend about to exist
_QUIET = 0.5  # without a byte, and a stream is through with its replay
_SETTLED = 2.0  # without a byte, and its last word counts, even while the status call hangs
_IDLE = 60.0  # without a byte, and it is opened again: the connection may be dead

_STRANGE_ANSWERS = 3  # in a row that are not the API's: then this is not the API
_UNKNOWN_WORDS = 1000  # from the future that a stream remembers


# ---- The errors ------------------------------------------------------------------------------------------------------


class JamsocketError(Exception):
    """The base of all errors of this module. No text of theirs holds a secret."""

    _lasting = False  # whether it is one that will not pass by itself, inside a wait


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
    name = str(type(value).__name__)[:40] if value is not None else "None"
    return name if name.isprintable() else ascii(name)


def _invalid(path: str, expected: str, got: str) -> ValidationError:
    place = path if len(path) <= 100 else path[:99] + "…"
    return ValidationError("%sexpected %s, got %s" % (place and place + ": ", expected, got), path=path)


def _join(path: str, key: str) -> str:
    return "%s[%r]" % (path, key) if not key.isidentifier() else path + "." + key if path else key


def _is(value: object, kind: type) -> bool:
    return issubclass(type(value), kind)


def _string(value: Any, path: str) -> str:
    if type(value) is str:
        return value
    if not _is(value, str):
        raise _invalid(path, "a string", _kind(value))
    return str.__str__(value)  # the plain value, also of a member of an Enum


def _text(value: Any, path: str) -> str:
    """A string that we send: one that UTF-8 can carry."""
    text = _string(value, path)
    if not _is_unicode(text):
        raise _invalid(path, "Unicode text", "a string with a lone surrogate")
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _boolean(value: Any, path: str) -> bool:
    if type(value) is not bool:
        raise _invalid(path, "true or false", _kind(value))
    return value


def _integer(value: Any, path: str, lowest: int, highest: int) -> int:
    if not _is(value, int) or type(value) is bool:
        raise _invalid(path, "an integer", _kind(value))
    number = int.__int__(value)
    if not lowest <= number <= highest:
        raise _invalid(path, "an integer from %d to %d" % (lowest, highest), "one outside")
    return number


def _up_to(highest: int) -> _Check:
    return lambda value, path: _integer(value, path, 0, highest)


def _one_of(*kinds: Tuple[type, _Check], expected: str) -> _Check:
    def check(value: Any, path: str) -> Any:
        for kind, accept in kinds:
            if _is(value, kind):
                return accept(value, path)
        raise _invalid(path, expected, _kind(value))

    return check


def _instance(kind: type) -> Tuple[type, _Check]:
    return kind, lambda value, path: value


def _mapping(value: Any, path: str) -> Dict[str, Any]:
    """A plain dict of our own with the mapping's items."""
    if not _is(value, _MappingABC):
        raise _invalid(path, "a mapping", _kind(value))
    copied = {}
    for key in value:
        if not _is(key, str):
            raise _invalid(path, "keys that are strings", _kind(key))
        copied[str.__str__(key)] = value[key]
    return copied


def _key(value: Any, path: str) -> str:
    key = _text(value, path)
    if not 1 <= len(key) <= _KEY_LENGTH:
        raise _invalid(path, "1 to %d characters" % _KEY_LENGTH, str(len(key)))
    return key


def _env(value: Any, path: str) -> Dict[str, str]:
    env = _mapping(value, path)
    for name, text in env.items():
        place = _join(path, name)
        if name in _RESERVED_ENV:
            raise _invalid(place, "another name", "one that the platform sets itself")
        if not name or "=" in name or "\0" in _text(name, place):
            raise _invalid(place, "a name without = and NUL", "an empty or malformed one")
        env[name] = _text(text, place)
        if "\0" in env[name]:
            raise _invalid(place, "a string without NUL", "one with it")
    return env


def _auth(value: Any, path: str) -> Dict[str, Any]:
    budget = [_JSON_VALUES]

    def copy(value: Any, path: str, level: int) -> Any:
        budget[0] -= 1
        nests = any(_is(value, kind) for kind in (list, tuple, _MappingABC))
        if budget[0] < 0 or nests and level > _JSON_LEVELS:
            raise _invalid(path, "at most %d levels and %d values" % (_JSON_LEVELS, _JSON_VALUES), "more, or a cycle")
        if value is None or type(value) is bool:
            return value
        if _is(value, str):
            return _text(value, path)
        if _is(value, int):
            return _integer(value, path, -(2**63), 2**64 - 1)
        if _is(value, float):
            if not math.isfinite(float.__float__(value)):
                raise _invalid(path, "a finite number", "nan or an infinity")
            return float.__float__(value)
        if nests and not _is(value, _MappingABC):
            return [copy(item, "%s[%d]" % (path, index), level + 1) for index, item in enumerate(value)]
        if nests:
            items = _mapping(value, path).items()
            return {_text(key, _join(path, key)): copy(item, _join(path, key), level + 1) for key, item in items}
        raise _invalid(path, "what JSON can carry", _kind(value))

    copied: Dict[str, Any] = copy(_mapping(value, path), path, 1)
    return copied


def _reason(value: Any, path: str) -> str:
    reason = _string(value, path)
    return _SPELLINGS.get(reason, reason)


def _moment(value: Any, path: str) -> str:
    """ISO 8601; Plane sends milliseconds since the epoch."""
    if not _is(value, int) or type(value) is bool:
        return _string(value, path)
    seconds, milliseconds = divmod(_integer(value, path, 0, 253402300799999), 1000)  # until the year 9999
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".%03dZ" % milliseconds


# ---- The types -------------------------------------------------------------------------------------------------------
#
# The checks of a class stand in `_checks`, in the order of its fields, and serve construction and `from_dict` alike.
# What a foreign object raises while it is read becomes a ValidationError in one place, `_read`.

_T = TypeVar("_T")
_Q = TypeVar("_Q", bound="_Request")
_A = TypeVar("_A", bound="_Answer")


class _Record:
    """What the six types share."""

    _checks: Mapping[str, _Check] = {}
    _hidden: Tuple[str, ...] = ()  # fields of which `repr` shows nothing
    _urls: Tuple[str, ...] = ()  # fields of which `repr` shows the origin

    def __post_init__(self) -> None:
        vars(self).update(self._read(vars(self), "", built=True))

    @classmethod
    def _read(cls, data: Any, path: str, *, built: bool = False, strict: bool = True) -> Dict[str, Any]:
        """The values to keep, or a ValidationError whatever `data` is. `built`: they are a constructor's arguments."""
        try:
            given = cls._fields(data, path, built)
            values = {}
            for name, check in cls._checks.items():
                value = given.get(name)
                if value is not None:
                    values[name] = check(value, _join(path, name) if path else name)
                elif hasattr(cls, name):
                    values[name] = getattr(cls, name)  # the field's default
                else:
                    raise _invalid(_join(path, name), "a value", "None" if name in given else "nothing")
            if strict:
                cls._check_whole(values)
            return values
        except ValidationError:
            raise
        except Exception:
            pass  # its text may hold anything
        raise _invalid(path, "a mapping that can be read", "one that raises an error")

    @classmethod
    def _fields(cls, data: Any, path: str, built: bool) -> Dict[str, Any]:
        return data if type(data) is dict else _mapping(data, path)

    @classmethod
    def _check_whole(cls, values: Dict[str, Any]) -> None:
        """What one field alone does not tell."""

    @classmethod
    def _kept(cls: Type[_T], values: Dict[str, Any]) -> _T:
        """An instance of values that are checked already."""
        record = object.__new__(cls)
        vars(record).update(values)
        return record

    def to_dict(self) -> Dict[str, Any]:
        """What `json.dumps` takes as it is, without the fields that are None; it shares nothing with the instance."""
        return {name: _unshared(value) for name, value in vars(self).items() if value is not None}

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        shown = {name: _origin(value) if name in self._urls else value for name, value in vars(self).items()}
        return "%s(%s)" % (type(self).__name__, ", ".join(
            name + "=" + ("…" if name in self._hidden else repr(value)) for name, value in shown.items() if value is not None))


def _known(word: str, words: Tuple[str, ...]) -> str:
    """A word that may be shown: one from the future could be anything."""
    return word if word in words else "an unknown word"


def _origin(url: str) -> str:
    """What may be shown of a url: scheme, host and port."""
    parts = re.match(r"(\w+://)(?:[^/?#\\]*@)?((?:[\w.-]+|\[[\w:.]+\])(?::\d+)?)(?=[/?#]|\Z)", url, re.ASCII)
    return parts.group(1) + parts.group(2) if parts else "…" if url else ""


def _unshared(value: Any) -> Any:
    if isinstance(value, _Record):
        return value.to_dict()
    if type(value) is dict:
        return {key: _unshared(item) for key, item in value.items()}
    if type(value) is list:
        return [_unshared(item) for item in value]
    return value


class _Request(_Record):
    """What is sent: unknown fields are refused, for a misspelt option must not be silently dropped."""

    _nested: Mapping[str, Type[_Record]] = {}

    @classmethod
    def from_dict(cls: Type[_Q], data: Mapping[str, Any]) -> _Q:
        """Checks every field and copies what it keeps. Raises ValidationError, whose `path` names the place."""
        return cls._kept(cls._read(data, ""))

    @classmethod
    def _fields(cls, data: Any, path: str, built: bool) -> Dict[str, Any]:
        given = _mapping(data, path)
        for name in given:
            if name not in cls._checks:
                raise _invalid(_join(path, name), "one of " + ", ".join(cls._checks), "an unknown field")
        for name, kind in cls._nested.items():
            if not built and _is(given.get(name), _MappingABC):
                given[name] = kind._kept(kind._read(given[name], _join(path, name)))
        return given


class _Answer(_Record):
    """What the platform sends: unknown fields are ignored, and `strict=False` keeps words from the future."""

    _words: Mapping[str, Tuple[str, ...]] = {}  # fields that hold one of a few

    @classmethod
    def from_dict(cls: Type[_A], data: Mapping[str, Any], *, strict: bool = True) -> _A:
        """Checks every field and copies what it keeps. Raises ValidationError, whose `path` names the place.

        `strict` refuses what this version does not know; without it, unknown words are kept as they came.
        """
        return cls._kept(cls._read(data, "", strict=strict))

    @classmethod
    def _check_whole(cls, values: Dict[str, Any]) -> None:
        for name, words in cls._words.items():
            if values[name] is not None and values[name] not in words:
                raise _invalid(name, "one of " + ", ".join(words), "another word")


@dataclass(frozen=True, repr=False, eq=False)
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


@dataclass(frozen=True, repr=False, eq=False)
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
        "resource_limits": _one_of(_instance(ResourceLimits), expected="ResourceLimits"),
    }
    _nested = {"resource_limits": ResourceLimits}
    _hidden = ("env",)


@dataclass(frozen=True, repr=False, eq=False)
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
        "executable": _one_of(_instance(Executable), expected="an Executable"),
    }
    _nested = {"executable": Executable}


@dataclass(frozen=True, repr=False, eq=False)
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
        "spawn": _one_of((bool, _boolean), _instance(SpawnConfig), expected="true, false or a SpawnConfig"),
        "user": _text,
        "auth": _auth,
    }
    _nested = {"spawn": SpawnConfig}
    _hidden = ("auth",)

    @classmethod
    def _check_whole(cls, values: Dict[str, Any]) -> None:
        if values["spawn"] is False and values["key"] is None:
            raise _invalid("key", "a key where spawn is false", "nothing")


@dataclass(frozen=True, repr=False, eq=False)
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
    _hidden = ("token", "secret_token")
    _urls = ("url", "status_url", "ready_url")
    _words = {"status": _STATUSES}


@dataclass(frozen=True, repr=False, eq=False)
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
    _words = {"status": _STATUSES, "termination_reason": _REASONS, "termination_kind": _KINDS}

    @property
    def is_ready(self) -> bool:
        """Whether it can be used."""
        return self.status == "ready"

    @property
    def is_terminated(self) -> bool:
        """Whether it has ended for good; `terminating` and `hard-terminating` are on the way there."""
        return self.status == "terminated"

    @classmethod
    def _fields(cls, data: Any, path: str, built: bool) -> Dict[str, Any]:
        given = super()._fields(data, path, built)
        if built:
            _string(given["time"], "time")  # milliseconds are the wire's
        return given

    @classmethod
    def _check_whole(cls, values: Dict[str, Any]) -> None:
        super()._check_whole(values)
        rank = _RANK[values["status"]]
        if _TERMINATING <= rank < _TERMINATED and values["termination_reason"] is None:
            raise _invalid("termination_reason", "a reason with this status", "nothing")
        for name in ("termination_reason", "termination_kind", "exit_error"):
            if rank < _TERMINATING and values[name] is not None:
                raise _invalid(name, "nothing with this status", _kind(values[name]))


# ---- HTTP ------------------------------------------------------------------------------------------------------------
#
# One exchange, one connection, one deadline. An answer is read piece by piece, as far as it is here by a given moment
# (`until`, of time.monotonic()), so that no read outlasts a deadline, and a wait can look at two of them in turn. That,
# and a bound on every size, urllib.request and http.client cannot give: their timeout is one read's, and a read of
# theirs that was cut short cannot go on. To import them also costs more than all of this file.


class _Url:
    """A url that may be opened: http or https, without a user name, of visible ASCII."""

    def __init__(self, text: str, what: str = "url") -> None:
        scheme, _, rest = text.partition("#")[0].partition("://")
        address = rest.replace("?", "/").partition("/")[0]
        host, colon, port = address.rpartition(":") if ":" in address.rpartition("]")[2] else (address, "", "")
        number = int(port) if port.isdecimal() and len(port) < 6 else 0 if colon else _PORTS.get(scheme.lower(), 0)
        plain = host[1:-1].replace(":", "") if host[:1] + host[-1:] == "[]" else host
        if scheme.lower() not in _PORTS or not (plain and set(plain) <= _UNRESERVED and set(text) <= _VISIBLE
                                                and 0 < number < 65536):
            raise ConfigurationError("%s: expected a url like https://host:port/path (http or https, no user name, "
                                     "visible ASCII), got another" % what)
        self.scheme, self.host, self.port = scheme.lower(), host.lower(), number
        self.address = self.host if number == _PORTS[self.scheme] else "%s:%d" % (self.host, number)
        self.origin = self.scheme + "://" + self.address  # all of it that may be shown
        path = rest[len(address):]
        self.path = path if path.startswith("/") else "/" + path

    def extended(self, more: str) -> "_Url":
        path, mark, query = self.path.partition("?")
        return _Url(self.origin + path.rstrip("/") + more + mark + query)


def _segment(text: str, what: str) -> str:
    """One segment of a path, which arrives as exactly this text."""
    if text in ("", ".", "..") or not _is_unicode(text):
        raise ConfigurationError("%s: expected a name, got nothing, dots alone or a lone surrogate" % what)
    return _percent(text)


def _percent(text: str) -> str:
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else "%%%02X" % byte for byte in text.encode("utf-8", "replace"))


_contexts: "Dict[Tuple[Optional[str], Optional[str]], ssl.SSLContext]" = {}  # the default one, once it is made
_contexts_lock = _thread.allocate_lock()


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
            raise ConfigurationError("ssl_context: expected an SSLContext that checks certificates and host names, such "
                                     "as ssl.create_default_context(cafile=...) for a private authority, got another")
        return given
    authorities = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    with _contexts_lock:
        if authorities not in _contexts:
            _contexts.clear()
            _contexts[authorities] = ssl.create_default_context()
        return _contexts[authorities]


def _proxy(url: _Url) -> Tuple[Optional[_Url], List[Tuple[str, str]], List[str]]:
    """The proxy for a url, as urllib finds it, the header for it, and its secrets. Loopback addresses have none."""
    variable = url.scheme + "_proxy"
    if sys.platform not in ("win32", "darwin") and variable not in map(str.lower, os.environ):
        return None, [], []  # only those two keep settings elsewhere, and urllib.request is dear to import
    from base64 import b64encode
    from ipaddress import ip_address
    from urllib.parse import unquote_to_bytes
    from urllib.request import getproxies, proxy_bypass

    name, setting = url.host.strip("[]"), getproxies().get(url.scheme)
    try:
        loopback = ip_address(name).is_loopback
    except ValueError:
        loopback = ("." + name.rstrip(".")).endswith(".localhost")
    if not setting or loopback or proxy_bypass("%s:%d" % (name, url.port)):
        return None, [], []
    scheme, _, rest = setting.rpartition("://")
    credentials, _, address = rest.rpartition("@")
    if scheme.lower() not in ("", "http", "https"):
        raise ConfigurationError("%s: expected an http proxy, got another kind" % variable)
    proxy = _Url("http://" + address, variable)
    if not credentials:
        return proxy, [], []
    plain = b":".join(map(unquote_to_bytes, credentials.split(":", 1)))
    header = "Basic " + b64encode(plain).decode("ascii")
    return proxy, [("Proxy-Authorization", header)], [header, *plain.decode("utf-8", "replace").split(":", 1)[1:]]


def _dial(host: str, port: int, until: float) -> "socket.socket":
    """Connects to the first address of a name that answers; each gets its share of the time."""
    import socket

    # Bytes, for a string would have the codec for other than ASCII names imported.
    addresses = socket.getaddrinfo(host.strip("[]").encode("ascii"), port, 0, socket.SOCK_STREAM)
    if host == "localhost":  # what listens there often has this one alone, and some systems wait long for the other
        addresses.sort(key=lambda address: address[0] != socket.AF_INET)
    for others in range(len(addresses) - 1, -1, -1):
        family, kind, protocol, _, address = addresses[-1 - others]
        left, sock = until - time.monotonic(), None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(_allowed(min(left / (others + 1), _ADDRESS_SHARE) if others else left))
            sock.connect(address)
            return sock
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not others or not isinstance(error, OSError) or time.monotonic() >= until:
                raise
    raise NetworkError("the name has no address")


def _close_lost(error: OSError) -> None:
    """Closes the socket that CPython's wrap_socket forgets where the connection was reset a moment ago."""
    import ssl

    trace = error.__traceback__
    while trace is not None:
        lost = trace.tb_frame.f_locals.get("self")
        if isinstance(lost, ssl.SSLSocket):
            lost.close()
        trace = trace.tb_next


def _allowed(seconds: float) -> float:
    """A timeout that sockets take; 0 would mean not to wait at all."""
    return min(max(seconds, _TICK), _LONGEST_WAIT)


def _guarded(doing: str, until: float, work: Callable[[], _T]) -> _T:
    """The one place where foreign exceptions become ours. They are no cause or context of ours: they may quote all."""
    try:
        return work()
    except JamsocketError:
        raise
    except Exception as error:
        # A timeout is known by the deadline: some systems raise TimeoutError long before it.
        if time.monotonic() >= until - _TICK:
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
    """A request, sent, and its answer, read as far as it is here. Whoever makes one closes it.

    `until` bounds the sending, and the reading of an error's body. A server may repeat what is in `secrets`.
    """

    def __init__(self, method: str, url: _Url, until: float, context: "Optional[ssl.SSLContext]",
                 fields: Iterable[Tuple[str, str]], body: Optional[bytes], secrets: Any) -> None:
        self.url, self.until, self.secrets = url, until, [secrets]
        self.sock: Any = None
        self._expect_head()
        fields = [("Host", url.address), ("User-Agent", _USER_AGENT), ("Accept-Encoding", "identity"),
                  ("Cache-Control", "no-cache"), ("Connection", "close"), *fields]
        if body is not None:
            fields += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        try:
            _guarded("cannot reach " + url.origin, until, lambda: self._open(method, fields, body or b"", context))
        except BaseException:
            self.close()
            raise

    def _expect_head(self) -> None:
        self.status = 0  # until the head is here
        self.headers: Dict[str, str] = {}
        self._head_size = 0
        self._held = b""  # received, and not looked at
        self._left: Optional[int] = None  # bytes to come of the body, or of the chunk; None: until the connection ends
        self._chunked = self._in_chunks = False  # the latter: a chunk was begun
        self._body = bytearray()

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()

    def _open(self, method: str, fields: List[Tuple[str, str]], body: bytes,
              context: "Optional[ssl.SSLContext]") -> None:
        secured = _checking(context) if self.url.scheme == "https" else None
        proxy, proxy_fields, proxy_secrets = _proxy(self.url)
        self.secrets.append(proxy_secrets)
        nearest, target = proxy or self.url, self.url.path
        self.sock = _guarded("cannot reach " + nearest.origin, self.until,
                             lambda: _dial(nearest.host, nearest.port, self.until))
        if proxy and secured:
            self._tunnel(proxy_fields)
        elif proxy:
            target, fields = self.url.origin + target, fields + proxy_fields
        if secured:
            try:
                self.sock = secured.wrap_socket(self.sock, server_hostname=self.url.host.strip("[]").encode("ascii"),
                                                do_handshake_on_connect=False)
            except OSError as error:
                _close_lost(error)
                raise
            self.sock.settimeout(_allowed(self.until - time.monotonic()))
            self.sock.do_handshake()
        self._send(method, target, fields, body)

    def _tunnel(self, fields: List[Tuple[str, str]]) -> None:
        target = "%s:%d" % (self.url.host, self.url.port)
        self._send("CONNECT", target, [("Host", target), ("User-Agent", _USER_AGENT), *fields], b"")
        if not self.head(self.until):
            raise JamsocketTimeout("the proxy did not answer before the deadline")
        if self.status == 407:
            raise AuthenticationError("HTTP 407: the proxy wants other credentials than https_proxy has", status=407)
        if not 200 <= self.status < 300:
            refusal = NetworkError("the proxy refused to reach %s (HTTP %d)" % (self.url.origin, self.status))
            refusal._lasting = 400 <= self.status < 500
            raise refusal
        if self._held:
            raise NetworkError("the proxy sent something of its own through the tunnel to " + self.url.origin)
        self._expect_head()

    def _send(self, method: str, target: str, fields: List[Tuple[str, str]], body: bytes) -> None:
        lines = ["%s %s HTTP/1.1" % (method, target), *("%s: %s" % field for field in fields), "", ""]
        unsent = memoryview("\r\n".join(lines).encode("latin-1") + body)
        try:
            while unsent:
                if time.monotonic() >= self.until:  # though each piece of it was taken in time
                    raise JamsocketTimeout("%s did not take the request before the deadline" % self.url.origin)
                self.sock.settimeout(_allowed(self.until - time.monotonic()))
                unsent = unsent[self.sock.send(unsent):]
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before it hung up: reading tells

    def _receive(self, until: float) -> Optional[bytes]:
        """What came next, b"" at the end, None if nothing came until then."""
        while True:
            self.sock.settimeout(min(max(until - time.monotonic(), 0.0), _LONGEST_WAIT))
            try:
                return self.sock.recv(_READ_SIZE)  # type: ignore[no-any-return]
            except OSError as error:
                # The first two are socket.timeout before and since 3.10, the others what not to wait at all raises.
                if (type(error).__name__ not in ("timeout", "TimeoutError", "BlockingIOError", "SSLWantReadError")
                        or error.errno == errno.ETIMEDOUT):
                    raise
            if time.monotonic() >= until:
                return None

    def _more(self, until: float, missing: str) -> Optional[bool]:
        """Takes in what came next. None if nothing came until then; False at the end, where nothing may be missing."""
        data = _guarded("the connection to %s broke" % self.url.origin, math.inf, lambda: self._receive(until))
        if data == b"" and missing:
            raise NetworkError("%s closed the connection %s" % (self.url.origin, missing))
        self._held += data or b""
        return None if data is None else bool(data)

    def head(self, until: float) -> bool:
        """Whether status and headers are here by then."""
        while not self.status:
            head, end, rest = self._held.partition(b"\n\r\n")
            size = len(head) + len(end)
            if self._head_size + size > _HEAD_LIMIT:
                raise ProtocolError("%s: headers of more than %d bytes" % (self.url.origin, _HEAD_LIMIT))
            if end:
                self._held = rest
                self._head_size += size
                self._parse_head(head.decode("latin-1"))
            elif not self._more(until, "in the middle of the headers" if head else "without an answer"):
                return False
        return True

    def _parse_head(self, head: str) -> None:
        first, *lines = head.split("\n")
        if not re.match(r"HTTP/1\.\d [1-9]\d\d(\s|\Z)", first, re.ASCII):
            raise ProtocolError("%s: the answer is not HTTP/1" % self.url.origin)
        status = int(first[9:12])
        headers: Dict[str, str] = {}
        if 100 <= status < 200 and status != 101:
            return  # the final answer follows
        for name, _, value in (line.partition(":") for line in lines):
            headers.setdefault(name.strip().lower(), value.strip())
        coding, length = headers.get("transfer-encoding", "identity").lower(), headers.get("content-length", "0")
        if coding not in ("identity", "chunked") or not re.match(r"[0-9]{1,18}\Z", length):
            raise ProtocolError("%s: an answer whose end cannot be told" % self.url.origin)
        self.status, self.headers, self._chunked = status, headers, coding == "chunked"
        if self._chunked or status in (204, 304) or "content-length" in headers:
            self._left = 0 if self._chunked else int(length)

    def piece(self, until: float) -> Optional[bytes]:
        """The next bytes of the body, b"" at its end, None if none came until then."""
        while True:
            if self._left == 0 and not (self._chunked and self._begin_chunk()):
                return b""
            if self._held and self._left != 0:
                piece = self._held[:self._left]
                self._held = self._held[len(piece):]
                self._left = None if self._left is None else self._left - len(piece)
                return piece
            more = self._more(until, "" if self._left is None else "in the middle of the answer")
            if not more:
                return None if more is None else b""

    def _begin_chunk(self) -> bool:
        """Reads the size of the next chunk, once it is here. False at the end of the body."""
        line, end, rest = self._held[2 if self._in_chunks else 0:].partition(b"\n")
        if end and (self._in_chunks and self._held[:2] != b"\r\n" or not re.match(rb"[0-9a-fA-F]{1,15}[ \t]*[;\r]", line)
                    ) or len(line) > _CHUNK_LINE_LIMIT:
            raise ProtocolError("%s: an answer in malformed chunks" % self.url.origin)
        if end:
            self._in_chunks, self._held, self._left = True, rest, int(re.split(rb"[;\r]", line)[0], 16)
            self._chunked = self._left > 0  # what follows the last one tells nothing
        return self._chunked

    def accepted(self, until: float) -> bool:
        """Whether the head of a good answer is here by then. Any other answer raises what it means."""
        if not self.head(until):
            return False
        if not 200 <= self.status < 300:
            raise self._refusal()
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise ProtocolError("%s: a compressed answer, which nobody asked for" % self.url.origin)
        return True

    def complete(self, until: float) -> bool:
        """Whether the whole of a good answer is here by then."""
        return self.accepted(until) and self._take_body(_BODY_LIMIT, until)

    def text(self) -> str:
        """The body of a good answer, whole; in UTF-8, of which a byte-order mark is no part."""
        if not self.complete(self.until):
            raise JamsocketTimeout("%s did not answer before the deadline" % self.url.origin)
        try:
            return self._body[3 if self._body.startswith(_BOM) else 0:].decode("utf-8")
        except UnicodeDecodeError:
            pass  # it quotes the answer
        raise ProtocolError("%s: expected JSON, got bytes that are not UTF-8" % self.url.origin)

    def _take_body(self, limit: int, until: float) -> bool:
        while len(self._body) <= limit:
            piece = self.piece(until)
            if not piece:
                return piece is not None
            self._body += piece
        raise ProtocolError("%s: an answer of more than %d bytes" % (self.url.origin, limit))

    def _refusal(self) -> JamsocketError:
        """What a status outside 200 to 299 means."""
        text = "HTTP %d from %s" % (self.status, self.url.origin)
        if self.status < 400:
            place = _hush(_origin(self.headers.get("location", "")), self.secrets)
            refusal = ProtocolError("%s: redirects (here to %s) are not followed" % (text, place or "nowhere"))
            refusal._lasting = True
            return refusal
        try:
            self._take_body(_ERROR_LIMIT, self.until)
        except JamsocketError:
            pass  # what there is of it will do
        message, code, request_id = _error_parts(bytes(self._body), self.headers, self.secrets)
        details = ", ".join(name + value for name, value in (("code ", code), ("request ", request_id)) if value)
        text += (": " + message if message else "") + (" (%s)" % details if details else "")
        kind = {401: AuthenticationError, 403: AuthenticationError, 407: AuthenticationError,
                429: RateLimitError}.get(self.status, HTTPError)
        return kind(text, status=self.status, code=code, request_id=request_id,
                    retry_after=_retry_after(self.headers.get("retry-after", "")))


def _json(text: str, origin: str, most: float = _JSON_OBJECTS) -> Any:
    import json

    def refuse(name: str) -> None:
        raise ValueError("JSON has no " + name)

    if text.count("{") + text.count("[") > most:
        raise ProtocolError("%s: expected JSON of at most %d objects and lists, got more" % (origin, most))
    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        pass  # their texts quote the answer
    got = "nothing" if not text.strip() else "an HTML page" if text.lstrip()[:1] == "<" else "something else"
    raise ProtocolError("%s: expected JSON, got %s" % (origin, got))


def _strings(value: Any) -> Iterable[str]:
    """All that is secret in what may be nested: each value, its lines, and what follows `Bearer`."""
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
    elif value is not None:
        text = str(value)
        yield from (text, *text.splitlines(), text.partition(" ")[2])


def _hush(text: str, secrets: Any) -> str:
    """A server's words as one printable line, without the secrets that it repeats, whole or cut off at the end."""
    import json

    longest = 5 * _MESSAGE_LENGTH
    lower = {capital: capital + 32 for capital in range(65, 91)}  # str.lower may change the length
    text = text[:longest]
    found = text.translate(lower)
    starts = {found[at:at + _SECRET_LENGTH] for at in range(len(found))}
    told = {secret[:longest] for secret in _strings(secrets) if len(secret) >= _SECRET_LENGTH and (
        secret[:_SECRET_LENGTH].translate(lower) in starts or not set(secret[:_SECRET_LENGTH]) <= _UNRESERVED)}
    for secret in sorted(told, key=len, reverse=True):
        for form in {secret, json.dumps(secret)[1:-1], _percent(secret)}:
            form = form.translate(lower)
            at = found.find(form[:_SECRET_LENGTH])
            while at >= 0:
                if form.startswith(found[at:at + len(form)]):
                    text, found = (whole[:at] + "…" + whole[at + len(form):] for whole in (text, found))
                at = found.find(form[:_SECRET_LENGTH], at + 1)
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= _MESSAGE_LENGTH else text[:_MESSAGE_LENGTH] + "…"


def _error_parts(body: bytes, headers: Mapping[str, str], secrets: Any) -> Tuple[str, Optional[str], Optional[str]]:
    """Message, code and request id from the platform's error, from Plane's, or from the dev server's plain text."""
    text = body.decode("utf-8", "replace")
    try:
        found = _json(text, "")
    except ProtocolError:
        plain = headers.get("content-type", "text/plain").lower().startswith("text/plain") and text.lstrip()[:1] != "<"
        return _hush(text, secrets) if plain else "", None, None
    error = found.get("error", found) if isinstance(found, dict) else found
    parts = error if isinstance(error, dict) else {"message": error}
    message, code, kind, request_id = (_hush(parts[name], secrets) if isinstance(parts.get(name), str) else None
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


# ---- The event stream ------------------------------------------------------------------------------------------------


class _Events:
    """Bytes in, the data of `message` events out, by https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    def __init__(self, last_id: bytes = b"", retry: float = 0.0) -> None:
        self.last_id, self.retry = last_id, retry  # the latter in seconds
        self._line = bytearray()  # what there is of the next one
        self._after_cr = False  # a line feed now belongs to the carriage return before it
        self._started = False
        self._id, self._type, self._size = last_id, b"", 0
        self._data: List[bytes] = []

    def feed(self, received: bytes) -> List[str]:
        """The data of the events that these bytes complete."""
        first, *others = re.split(rb"\r\n|\r|\n", received[1:] if self._after_cr and received[:1] == b"\n" else received)
        self._after_cr = received.endswith(b"\r")
        self._line += first
        if len(self._line) > _EVENT_LIMIT:
            raise ProtocolError("a line of the event stream has more than %d bytes" % _EVENT_LIMIT)
        if not others:
            return []
        lines, self._line = [bytes(self._line), *others[:-1]], bytearray(others[-1])
        if not self._started and lines[0].startswith(_BOM):
            lines[0] = lines[0][3:]
        self._started = True
        return [data for data in map(self._take, lines) if data is not None]

    def _take(self, line: bytes) -> Optional[str]:
        if not line:
            kind, data, self.last_id = self._type, self._data, self._id
            self._type, self._size, self._data = b"", 0, []
            return b"\n".join(data).decode("utf-8", "replace") if data and kind in (b"", b"message") else None
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        self._size += len(line) if name else 0  # a comment has no name
        if self._size > _EVENT_LIMIT:
            raise ProtocolError("an event of the event stream has more than %d bytes" % _EVENT_LIMIT)
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value
        elif name == b"id" and b"\0" not in value:
            self._id = value
        elif name == b"retry" and value.isdigit():
            self.retry = min(float(value) / 1000, _LONGEST_PAUSE)
        return None


# ---- Waiting ---------------------------------------------------------------------------------------------------------
#
# A wait hears of a backend by its event stream, which tells at once but may be held back, end early, or replay what is
# over, and, as a safety net, by the status call every few seconds. One loop looks at both, without a thread.


class _Channel:
    """One of the two ways: the exchange under way, or else when the next one is due."""

    def __init__(self, due: float) -> None:
        self.exchange: Optional[_Exchange] = None
        self.due = due
        self.failures = self._strange = 0  # in a row; of these, those that ended with an answer that is not the API's

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
    """A wait, or a stream, under way. `ask` and `listen` make the exchanges, the latter with a `Last-Event-ID`.

    `safe`: the status call's states count too, and the stream's errors do not; otherwise that call only finds out
    whether there is such a backend at all, while the stream does not tell.
    """

    def __init__(self, ask: Callable[[float], _Exchange], listen: Callable[[float, bytes], _Exchange], until: float, *,
                 safe: bool, ask_first: bool = False) -> None:
        now = time.monotonic()
        self._ask, self._listen, self._until, self._born, self._safe = ask, listen, until, now, safe
        self._streaming, self._asking = _Channel(now), _Channel(now)
        (self._streaming if ask_first else self._asking).due += _FIRST_CHECK
        self._asked = -math.inf  # when the last status call was made
        self._denied = False  # it said 404
        self._last: Optional[BackendState] = None  # the latest new state
        self._rank = -1
        self._unknown: Set[str] = set()
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

    def late(self) -> JamsocketTimeout:
        """The error for the deadline."""
        heard = "nothing was heard" if self._last is None else "last seen " + _known(self._last.status, _STATUSES)
        trouble = "; last trouble: %s" % self._trouble if self._trouble else ""
        return JamsocketTimeout("the deadline passed: %s%s" % (heard, trouble), last_state=self._last)

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

    def _look_at_status(self) -> List[Tuple[BackendState, bool]]:
        channel, now = self._asking, time.monotonic()
        try:
            if channel.exchange is None:
                if now < self._asking_due():
                    return []
                self._asked = now
                patience = _ATTEMPT * min(1 + channel.failures, 3)  # it may be slow rather than dead
                channel.exchange = self._ask(min(self._until, now + patience))
            if not channel.exchange.complete(0.0) and now < channel.exchange.until:
                return []
            state = _checked(BackendState, channel.exchange.text(), channel.exchange.url.origin)
        except JamsocketError as error:
            self._trouble, self._denied = error, getattr(error, "status", 0) == 404
            # A stream that tells of the backend is about to tell of its end too, which a 404 may mean.
            alive = self._told is not None and not channel.failures
            channel.failed(error, self._denied and (alive or now - self._born < _NEWBORN))
            return []
        channel.close()
        channel.worked()
        channel.due, self._denied = time.monotonic() + _CHECK, False
        return [(state, True)] if self._safe else []

    def _asking_due(self) -> float:
        return self._asking.due if self._safe or self._told is None else math.inf

    def _look_at_stream(self) -> List[Tuple[BackendState, bool]]:
        channel, now = self._streaming, time.monotonic()
        try:
            if channel.exchange is None:
                if now < channel.due:
                    return []
                self._begin_stream(_Events(self._events.last_id, self._events.retry))
                channel.exchange = self._listen(min(self._until, now + _ATTEMPT), self._events.last_id)
            return self._read_stream(channel.exchange)
        except JamsocketError as error:
            self._trouble, self._told, self._more = error, None, False
            newborn = getattr(error, "status", 0) == 404 and now - self._born < _NEWBORN
            channel.failed(error, self._safe or newborn, self._events.retry)
            self._asking.due = min(self._asking.due, max(now, self._asked + _CHECK))
            return []

    def _read_stream(self, exchange: _Exchange) -> List[Tuple[BackendState, bool]]:
        piece = None
        if exchange.accepted(0.0):
            if exchange.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/event-stream":
                raise ProtocolError("%s: expected an event stream, got another kind of answer" % exchange.url.origin)
            piece = exchange.piece(0.0)
        self._more = bool(piece)
        if piece == b"":
            raise NetworkError("%s ended the event stream" % exchange.url.origin)
        if piece is None:
            if self._quiet >= _IDLE:
                raise NetworkError("%s: nothing came of the event stream for a long time" % exchange.url.origin)
            return self._settled()
        self._quiet = 0.0
        states = [state for state in map(_state_in, self._events.feed(piece)) if state is not None]
        if states:
            self._told = states[-1]
            if self._told.is_ready and not self._caught_up and not self._asking.failures:
                self._asking.due = min(self._asking.due, time.monotonic())
        return [(state, self._caught_up and state is self._told) for state in states]

    def _settled(self) -> List[Tuple[BackendState, bool]]:
        """`ready`, where that is the replay's last word. The status call is better evidence, where it can be had."""
        if self._told is None or not self._told.is_ready or not self._caught_up or self._denied:
            return []
        return [(self._told, self._asking.exchange is None or self._quiet >= _SETTLED)]

    def _await(self) -> None:
        """Waits until there is something to look at, or to do."""
        if self._more:
            return
        now = time.monotonic()
        streaming, asking = self._streaming.exchange, self._asking.exchange
        silences = [now + limit - self._quiet for limit in (_QUIET, _SETTLED, _IDLE) if limit > self._quiet]
        due = min(self._until, silences[0] if streaming else self._streaming.due,
                  asking.until if asking else self._asking_due())
        _pause([exchange.sock for exchange in (streaming, asking) if exchange], due - now)
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


def _state_in(event: str) -> Optional[BackendState]:
    """The state that an event holds; what holds another thing is passed over."""
    try:
        return _checked(BackendState, event, "")
    except ProtocolError:
        return None


def _checked(kind: Type[_A], text: str, origin: str) -> _A:
    """An answer of the API. Its words from the future are kept."""
    document = _json(text, origin)
    try:
        return kind.from_dict(document, strict=False)
    except ValidationError as error:
        problem = str(error)
    raise ProtocolError("%s: not a %s: %s" % (origin, kind.__name__, problem))


# ---- The clients -----------------------------------------------------------------------------------------------------


def _seconds(timeout: Optional[float]) -> float:
    """A timeout that makes sense; None is none, as is inf."""
    if timeout is None:
        return math.inf
    if type(timeout) is bool or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ConfigurationError("timeout: expected a number of seconds above 0, got another value")
    return float(min(timeout, 1e9))


def _setting(name: str, value: Any) -> str:
    if type(value) is not str or not value:
        raise ConfigurationError("%s: expected a string, got %s" % (name, _kind(value) if value else "none"))
    return value


class _Client:
    """What the clients share. `headers` are secrets, sent with `connect` and `terminate`."""

    _connect_path = _status_path = ""

    def __init__(self, url: str, what: str, headers: List[Tuple[str, str]], timeout: Optional[float],
                 ssl_context: "Optional[ssl.SSLContext]") -> None:
        self._base = _Url(url, what)
        self._headers = headers
        self._timeout = _seconds(timeout)
        self._context = None if ssl_context is None else _checking(ssl_context)

    def __repr__(self) -> str:
        return "<%s at %s>" % (type(self).__name__, self._base.origin)

    def connect(self, request: Union[ConnectRequest, Mapping[str, Any], None] = None, *,
                timeout: Optional[float] = None) -> ConnectResponse:
        """Starts a backend, or finds the one that holds the request's key. Sent once, never repeated.

        `timeout`: seconds for the whole call; None: the client's. Raises ValidationError for a request that the
        platform would refuse; AuthenticationError, RateLimitError or another HTTPError; NetworkError, ProtocolError or
        JamsocketTimeout, after which a backend may have been started all the same.
        """
        until = self._until(timeout)
        if not isinstance(request, ConnectRequest):
            request = ConnectRequest.from_dict({} if request is None else request)
        executable = request.spawn.executable if isinstance(request.spawn, SpawnConfig) else None
        secrets = [request.auth, executable and executable.env]
        text = self._post(self._connect_path, self._document(request), until, secrets)
        return _checked(ConnectResponse, text, self._base.origin)

    def status(self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = None) -> BackendState:
        """The state of a backend, given as its ConnectResponse, its id or its status url. It needs no credentials.

        `timeout`: seconds for the whole call; None: the client's. Raises HTTPError (404: no such backend, or gone),
        NetworkError, ProtocolError or JamsocketTimeout.
        """
        until = self._until(timeout)
        url, secrets = self._find(backend)
        with closing(self._ask(url, until, secrets)) as exchange:
            return _checked(BackendState, exchange.text(), url.origin)

    def status_stream(self, backend: Union[ConnectResponse, str], *,
                      timeout: Optional[float] = None) -> Generator[BackendState, None, None]:
        """Yields each state once, as soon as it is told, in the lifecycle's order, and ends after `terminated`.

        It begins with the states so far. A stream that ends early is opened again. `timeout`: seconds until
        JamsocketTimeout; None: never. Raises HTTPError, NetworkError or ProtocolError for what will not pass.
        """
        until = time.monotonic() + _seconds(timeout)
        return self._each_once(self._watch(backend, until, safe=False))

    def _each_once(self, watch: _Watch) -> Generator[BackendState, None, None]:
        with closing(watch.states()) as states:
            for state, new, _ in states:
                if new:
                    yield state
                if state.is_terminated:
                    return
        raise watch.late()

    def wait_until_ready(self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = 60.0,
                         on_status: Optional[Callable[[BackendState], None]] = None) -> BackendState:
        """Returns the `ready` state as soon as the platform tells it.

        `timeout`: seconds; None: for ever. `on_status` is called with each new state, in order; what it raises ends the
        wait. Raises BackendTerminated as soon as the backend cannot become ready any more, JamsocketTimeout at the
        deadline, HTTPError for what will not pass (401, 403; 404 after two seconds), NetworkError for a certificate
        that does not hold. It goes on through lost connections, 5xx and 429.
        """
        until = time.monotonic() + _seconds(timeout)
        if on_status is not None and not callable(on_status):
            raise TypeError("on_status: expected a function, got " + _kind(on_status))
        known = backend.status if isinstance(backend, ConnectResponse) else ""
        if _RANK.get(known, 0) >= _TERMINATING:
            raise _terminated(BackendState.from_dict({"status": known, "time": ""}, strict=False))
        watch = self._watch(backend, until, safe=True, ask_first=known == "ready")
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
        _json(self._post(path, document, until, secrets), self._base.origin)

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
            paths = [url.split("/")[3:] for url in (backend.url, backend.ready_url)]
            return _Url(backend.status_url, "status_url"), [backend.token, backend.secret_token, paths]
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
            raise ConfigurationError("backend: expected an id, or a url that ends with /ID/status, got another url")
        return unquote(match.group(1))

    def _exchange(self, method: str, url: _Url, until: float, headers: List[Tuple[str, str]], secrets: Any,
                  body: Optional[bytes] = None) -> _Exchange:
        own = [value for _, value in self._headers]
        return _Exchange(method, url, until, self._context, headers, body, [secrets, own])

    def _post(self, path: str, document: Optional[Dict[str, Any]], until: float, secrets: Any) -> str:
        import json

        body = b"" if document is None else json.dumps(document).encode("ascii")
        headers = [("Accept", "application/json"), *self._headers]
        with closing(self._exchange("POST", self._base.extended(path), until, headers, secrets, body)) as exchange:
            return exchange.text()

    def _watch(self, backend: Union[ConnectResponse, str], until: float, **how: bool) -> _Watch:
        url, secrets = self._find(backend)
        return _Watch(lambda limit: self._ask(url, limit, secrets),
                      lambda limit, last_id: self._listen(url, limit, secrets, last_id), until, **how)

    def _ask(self, url: _Url, until: float, secrets: Any) -> _Exchange:
        return self._exchange("GET", url, until, [("Accept", "application/json"), *self._status_headers(url)], secrets)

    def _listen(self, url: _Url, until: float, secrets: Any, last_id: bytes) -> _Exchange:
        headers = [("Accept", "text/event-stream"), *self._status_headers(url)]
        if 0 < len(last_id) < 1000 and min(last_id) >= 0x20 and 0x7F not in last_id:
            headers.append(("Last-Event-ID", last_id.decode("latin-1")))  # its bytes go out as they came
        stream = url.extended("-stream" if "/pub/b/" in url.path else "/stream")
        return self._exchange("GET", stream, until, headers, secrets)


def _terminated(state: BackendState) -> BackendTerminated:
    why = " (%s)" % _known(state.termination_reason, _REASONS) if state.termination_reason else ""
    return BackendTerminated("the backend is %s%s, so it will not become ready" % (state.status, why), state=state)


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
        missing = [name for name, value in given.items() if not value]
        if missing:
            raise ConfigurationError("expected %s, got nothing: pass it to Jamsocket(), or set %s, or use dev mode "
                                     "(dev=True, JAMSOCKET_DEV=true)" % (
                                         ", ".join(missing), ", ".join("JAMSOCKET_" + name.upper() for name in missing)))
        places = [_setting("account", account), *_setting("service", service).split("/")]
        if len(places) > 3:
            raise ConfigurationError("service: expected name or name/environment, got more")
        if not set(_setting("token", token)) <= _VISIBLE:
            raise ConfigurationError("token: expected visible ASCII characters, got others")
        super().__init__(_setting("api_url", api_url), "api_url", [("Authorization", "Bearer %s" % token)], timeout,
                         ssl_context)
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
        sound = all(name and set(name) <= _VISIBLE - set('"(),/:;<=>?@[\\]{}') and name.lower() not in _OWN_HEADERS
                    and type(value) is str and set(value) <= _VISIBLE | {" "} for name, value in fields)
    except Exception:
        sound = False
    if not sound:
        raise ConfigurationError("headers: expected a mapping of names to values, all visible ASCII, and none of "
                                 + ", ".join(_OWN_HEADERS))
    return fields


# ---- The environment and the two functions ---------------------------------------------------------------------------


def _jamsocket_settings(env: Mapping[str, str]) -> Dict[str, Any]:
    dev = env.get("JAMSOCKET_DEV", "").lower()
    if dev not in ("true", "false", ""):
        raise ConfigurationError("JAMSOCKET_DEV: expected true or false, got another word")
    if dev == "true":
        port = env.get("JAMSOCKET_DEV_PORT") or "8080"
        if not re.match(r"[0-9]{1,5}\Z", port):
            raise ConfigurationError("JAMSOCKET_DEV_PORT: expected an integer from 1 to 65535, got another value")
        return {"dev": True, "port": int(port)}
    settings: Dict[str, Any] = {name: env.get("JAMSOCKET_" + name.upper()) for name in ("account", "service", "token")}
    return {**settings, "api_url": env.get("JAMSOCKET_API_URL") or _API_URL}


def _plane_settings(env: Mapping[str, str]) -> Dict[str, Any]:
    missing = [name for name in ("PLANE_URL", "PLANE_IMAGE") if not env.get(name)]
    if missing:
        raise ConfigurationError("expected %s in the environment, got nothing" % " and ".join(missing))
    return {"url": env["PLANE_URL"], "image": env["PLANE_IMAGE"]}


def _client_from_env(**options: Any) -> _Client:
    """Jamsocket, unless Plane alone is set up."""
    named = any(os.environ.get("JAMSOCKET_" + name) for name in ("DEV", "ACCOUNT", "SERVICE", "TOKEN"))
    if os.environ.get("PLANE_URL") and not named:
        return Plane(**_plane_settings(os.environ), **options)
    return Jamsocket(**_jamsocket_settings(os.environ), **options)


def connect(request: Union[ConnectRequest, Mapping[str, Any], None] = None, *, account: Optional[str] = None,
            service: Optional[str] = None, token: Optional[str] = None, dev: bool = False, port: int = 8080,
            api_url: str = _API_URL, timeout: float = 60.0,
            ssl_context: "Optional[ssl.SSLContext]" = None) -> ConnectResponse:
    """`connect` of a client made for it: of the arguments or, without credentials and `dev`, of the environment (as
    Jamsocket.from_env, or Plane.from_env where PLANE_URL is set and no Jamsocket variable)."""
    if dev or not account is service is token is None:
        client: _Client = Jamsocket(account, service, token, dev=dev, port=port, api_url=api_url, timeout=timeout,
                                    ssl_context=ssl_context)
    else:
        client = _client_from_env(timeout=timeout, ssl_context=ssl_context)
    return client.connect(request)


def wait_until_ready(backend: Union[ConnectResponse, str], *, timeout: Optional[float] = 60.0,
                     on_status: Optional[Callable[[BackendState], None]] = None,
                     ssl_context: "Optional[ssl.SSLContext]" = None) -> BackendState:
    """Jamsocket.wait_until_ready for a ConnectResponse or a status url; it needs no credentials."""
    if isinstance(backend, str) and "://" not in backend:
        raise ConfigurationError("backend: expected a status url, got another string (only a client can take an id)")
    return _Client(_API_URL, "", [], None, ssl_context).wait_until_ready(backend, timeout=timeout, on_status=on_status)


# ---- The command line ------------------------------------------------------------------------------------------------

_HELP = """\
Start Jamsocket session backends, wait for them, watch and end them.

Credentials come from the environment: JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE, JAMSOCKET_TOKEN (and JAMSOCKET_API_URL); or
JAMSOCKET_DEV=true (and JAMSOCKET_DEV_PORT) for a dev server on this machine; or PLANE_URL and PLANE_IMAGE for a
self-hosted Plane. BACKEND is a backend's id, or its status url, which needs no credentials.
"""
_EPILOG = """\
example:      url=$(%(prog)s connect --key board-42 --wait --format url) && curl "$url"
exit status:  0 done   1 the platform's or the network's error   2 usage, configuration or invalid data
              3 refused credentials   4 deadline passed   5 the backend terminated   130 interrupted
"""


def _parser() -> "argparse.ArgumentParser":
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            message = re.sub(r": ['\"].*", "", message, flags=re.DOTALL)  # what was given may be a secret
            raise ConfigurationError("%s; see %s --help" % (message, self.prog))

    parser = Parser(prog=os.path.basename(sys.argv[0] or "") or "jamsocket-lite", description=_HELP, epilog=_EPILOG,
                    allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands.required = True
    for command, text, timeout in (
            ("connect", "start a backend, or find the one that holds a key; print the answer", "60"),
            ("wait", "wait until it is ready; print its state", "60"), ("status", "print its state", ""),
            ("stream", "print each of its states as a line, until it is terminated", "none"), ("terminate", "end it", "")):
        added = commands.add_parser(command, help=text, description=text, allow_abbrev=False)
        added.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help="no progress on standard error")
        if timeout:
            added.add_argument("--timeout", metavar="S", type=float, help="seconds for all of it (%s)" % timeout)
        if command == "terminate":
            added.add_argument("--hard", action="store_true", help="at once, without time to clean up")
        if command != "connect":
            added.add_argument("backend", metavar="BACKEND", help="its id or its status url")
            continue
        for option, value, text in (
                ("--key", "K", "the key that the backend holds"), ("--tag", "T", "the image's tag"),
                ("--cluster", "C", "where to run it"), ("--user", "U", "who will use it"),
                ("--auth", "JSON", "an object that is handed to the backend"),
                ("--request", "JSON", "a whole request instead of these options; - reads it from standard input, so "
                 "that other users of the machine cannot see it")):
            added.add_argument(option, metavar=value, help=text)
        added.add_argument("--no-spawn", action="store_true", help="only find one, never start one")
        added.add_argument("--env", metavar="NAME=VALUE", action="append", help="a variable for it; repeatable")
        added.add_argument("--max-idle-seconds", metavar="N", type=int, help="end it when nobody used it for so long")
        added.add_argument("--lifetime-limit-seconds", metavar="N", type=int, help="end it after so long")
        added.add_argument("--wait", action="store_true", help="wait until it is ready")
        added.add_argument("--format", choices=("json", "url"), default="json", help="all of the answer, or its url (json)")
    return parser


def _requested(options: "argparse.Namespace") -> ConnectRequest:
    """The request that the options of `connect` make."""

    def given(**fields: Any) -> Dict[str, Any]:
        return {name: value for name, value in fields.items() if value is not None}

    def parsed(option: str, text: Optional[str]) -> Any:
        return None if text is None else _json(text, option, math.inf)

    pairs = [pair.partition("=") for pair in options.env or ()]
    if not all(mark for _, mark, _ in pairs):
        raise ConfigurationError("--env: expected NAME=VALUE, got something without =")
    spawn = given(tag=options.tag, cluster=options.cluster, max_idle_seconds=options.max_idle_seconds,
                  lifetime_limit_seconds=options.lifetime_limit_seconds,
                  executable={"env": {name: value for name, _, value in pairs}} if pairs else None)
    try:
        request = given(key=options.key, user=options.user, auth=parsed("--auth", options.auth),
                        spawn=False if options.no_spawn else spawn or None)
        text = sys.stdin.read() if options.request == "-" and sys.stdin else options.request
        whole = parsed("--request", text)
    except (ProtocolError, OSError, UnicodeError) as error:
        problem = str(error) if isinstance(error, ProtocolError) else "--request: standard input cannot be read as text"
    else:
        if spawn and options.no_spawn or request and text is not None:
            raise ConfigurationError("expected --no-spawn, or --request, or the options that say what to start; got both")
        return ConnectRequest.from_dict(request if text is None else whole)
    raise ConfigurationError(problem)


class _Progress:
    """Shows each status on standard error: in one place on a terminal, elsewhere a line each."""

    backend = ""  # which one, once that is known

    def __init__(self, shown: bool) -> None:
        self._stream = sys.stderr if shown else None
        self._redraws = getattr(self._stream, "isatty", bool)()
        self._width = 0

    def __call__(self, state: BackendState) -> None:
        text = "%s: %s" % (self.backend or "backend", _known(state.status, _STATUSES))
        _print(self._stream, "\r" + text.ljust(self._width) if self._redraws else text + "\n")
        self._width = len(text)

    def end(self) -> None:
        if self._redraws and self._width:
            _print(self._stream, "\n")


def _print(stream: Any, text: str) -> None:
    if stream is not None:  # as in programs without a console
        stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()


def _run(options: "argparse.Namespace", progress: _Progress) -> None:
    import json

    def show(answer: Any) -> None:
        _print(sys.stdout, (answer if isinstance(answer, str) else json.dumps(answer.to_dict())) + "\n")

    timeout = getattr(options, "timeout", None)
    until = time.monotonic() + _seconds(60.0 if timeout is None else timeout)
    by_url = "://" in getattr(options, "backend", "") and options.command != "terminate"
    client = _Client(_API_URL, "", [], 60.0, None) if by_url else _client_from_env()
    if options.command == "connect":
        response = client.connect(_requested(options), timeout=until - time.monotonic())
        progress.backend = "backend " + _hush(response.backend_id, None)  # an error must not lose it
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


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The command line; returns the exit status. `argv`: the arguments, instead of the process's."""
    progress = _Progress(False)
    try:
        options, others = _parser().parse_known_args(argv)
        if others:  # only the names, for someone may have passed a token
            names = [other.partition("=")[0] for other in others if other.startswith("--")]
            raise ConfigurationError("unknown arguments%s; see --help (credentials come from the environment alone)"
                                     % "".join(" " + name for name in names))
        progress = _Progress(not options.quiet)
        _run(options, progress)
        return 0
    except KeyboardInterrupt:
        text, status = "interrupted", 130
    except JamsocketError as error:
        statuses = {ValidationError: 2, ConfigurationError: 2, AuthenticationError: 3, JamsocketTimeout: 4,
                    BackendTerminated: 5}
        text = progress.backend + ": " + str(error) if progress.backend else str(error)
        status = statuses.get(type(error), 1)
    except OSError as error:  # standard output takes no more, nor will it when the process ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return 1
        text, status = "cannot write: %s" % error.strerror, 1
    finally:
        progress.end()
    _print(sys.stderr, "jamsocket-lite: %s\n" % text)
    return status


if __name__ == "__main__":
    sys.exit(main())
