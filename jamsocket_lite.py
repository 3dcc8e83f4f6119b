# cython: annotation_typing=False
"""Jamsocket from Python, in one file, with the standard library alone. Copy it beside your code.

    from jamsocket_lite import Jamsocket

    jamsocket = Jamsocket(account="acme", service="whiteboard", token="...")
    backend = jamsocket.connect_and_wait({"key": "board/42"}, timeout=30)
    print(backend.url)  # HTTP and WebSockets; whoever has the url may use the backend

The backend that holds the key is taken, or one is started; the call takes 30 seconds at most.
`Jamsocket(dev=True)` talks to the dev server on this machine, `Jamsocket.from_env()` reads the
environment, `Plane(image=...)` has the same methods for a self-hosted Plane controller, and
`python3 jamsocket_lite.py --help` is the command line.

A backend's life goes one way, and may skip steps:

    scheduled > loading > starting > waiting > ready > terminating > hard-terminating > terminated

The rooms of this file, each building on those above it:

    Words           the platform's statuses, kinds and reasons
    Errors          what a call may raise
    Checks          one value and its place -> the value to keep, or ValidationError
    Types           the six dataclasses; each field is declared once, with its check
    HTTP            a request and a deadline -> JSON, or an open stream, on urllib
    Events          bytes of an event stream -> events
    Platforms       each call's method and path on Jamsocket and on Plane
    Waiting         a backend's states, as they become known
    Clients         the public methods
    Functions       connect() and wait_until_ready(), and what the environment means
    Command line    arguments, output, exit status

The errors:

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

import sys

if sys.version_info < (3, 7):
    version = "%d.%d" % sys.version_info[:2]
    raise ImportError("jamsocket_lite needs Python 3.7 or newer; this is Python " + version)

import errno
import functools
import io
import math
import os
import re
import time
from collections.abc import Mapping as _MappingABC
from contextlib import closing, contextmanager, suppress
from dataclasses import MISSING, dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, List, Mapping, Optional
from typing import ClassVar, Sequence, Set, Tuple, Type, TypeVar, Union

# What only a call needs (urllib, json, ssl, argparse) is imported where it is used: a program that
# wants the types alone does not pay for it, and a Python without ssl can import this file.
if TYPE_CHECKING:
    import argparse
    import http.client
    import socket
    import ssl
    import urllib.request

__version__ = "1.1.0"

__all__ = ["Jamsocket", "Plane", "connect", "wait_until_ready"]
__all__ += ["ConnectRequest", "SpawnConfig", "Executable", "ResourceLimits"]
__all__ += ["ConnectResponse", "BackendState"]
__all__ += ["BackendStatus", "TerminationKind", "TerminationReason"]
__all__ += ["JamsocketError", "ValidationError", "ConfigurationError", "NetworkError"]
__all__ += ["ProtocolError", "HTTPError", "AuthenticationError", "RateLimitError"]
__all__ += ["JamsocketTimeout", "BackendTerminated"]

_T = TypeVar("_T")


# ---- Words -----------------------------------------------------------------------------------

if sys.version_info >= (3, 8):
    from typing import Literal

    BackendStatus = Literal[
        "scheduled",
        "loading",
        "starting",
        "waiting",
        "ready",
        "terminating",
        "hard-terminating",
        "terminated",
    ]
    TerminationKind = Literal["soft", "hard"]
    TerminationReason = Literal[
        "swept", "external", "key_expired", "lost", "startup_timeout", "internal_error"
    ]
else:  # Python 3.7 has no Literal
    BackendStatus = TerminationKind = TerminationReason = str

_ENDING = ("terminating", "hard-terminating", "terminated")
_STATUSES = ("scheduled", "loading", "starting", "waiting", "ready", *_ENDING)
_RANKS = {status: rank for rank, status in enumerate(_STATUSES)}
_KINDS = ("soft", "hard")
_REASONS = ("swept", "external", "key_expired", "lost", "startup_timeout", "internal_error")


# ---- Errors ----------------------------------------------------------------------------------


class JamsocketError(Exception):
    """The base of all. No text of theirs shows a secret."""

    response: "Optional[ConnectResponse]" = None  # of `connect_and_wait`
    _permanent = False  # it will not pass by itself

    def __init__(self, message: str = "", **carried: Any) -> None:
        super().__init__(message)
        for name, value in carried.items():
            if not hasattr(self, name):
                raise TypeError("%s carries no %s" % (type(self).__name__, name))
            setattr(self, name, value)

    if not TYPE_CHECKING:

        def __new__(cls, *arguments, **carried):
            # RustPython's OSError.__new__ takes no keyword arguments.
            return super().__new__(cls, *arguments)

    def __reduce__(self) -> Any:
        # GraalPy's OSError.__reduce__ leaves the attributes out.
        return type(self), self.args, vars(self)


class ValidationError(JamsocketError, ValueError):
    """Data that breaks the types' rules."""

    path: str = ""  # where: `spawn.executable.env.PATH`, `auth.roles[0]`


class ConfigurationError(JamsocketError, ValueError):
    """Missing or malformed settings; https without `ssl`."""

    _permanent = True


class NetworkError(JamsocketError, OSError):
    """No whole answer: refused, reset, cut short, TLS."""


class ProtocolError(JamsocketError):
    """An answer that is not the API's."""


class HTTPError(JamsocketError):
    """The server answered with status 400 or above."""

    status: int = 0
    code: Optional[str] = None  # the platform's; Plane's `kind`
    request_id: Optional[str] = None
    retry_after: Optional[float] = None  # seconds


class AuthenticationError(HTTPError):
    """Status 401, 403 or 407: the credentials were refused."""


class RateLimitError(HTTPError):
    """Status 429: too many requests."""


class JamsocketTimeout(JamsocketError, TimeoutError):
    """The deadline passed, in whatever phase."""

    last_state: "Optional[BackendState]" = None  # that a wait or a stream saw


class BackendTerminated(JamsocketError):
    """The backend is ending or has ended, so it will never be ready."""

    state: "BackendState" = None  # type: ignore


# ---- Checks ----------------------------------------------------------------------------------
#
# A check takes a value and its place in the document, and returns the value to keep. What it says
# names the kind of a wrong value; the value itself may be a secret. It asks for `type()` rather
# than by `isinstance`, which a foreign object can answer as it likes.

_Place = Tuple[Union[str, int], ...]
_Check = Callable[[Any, _Place], Any]


def _invalid(place: _Place, problem: str) -> ValidationError:
    """The error for a place: `spawn.tag`, `auth.roles[0]`, `auth['a b']`."""
    path = ""
    for step in place:
        if isinstance(step, str) and step.isidentifier():
            path += "." + step
        else:
            path += "[%r]" % step
    path = path.lstrip(".")
    return ValidationError("%.100s %s" % (path or "the document", problem), path=path)


def _kind(value: object) -> str:
    """The name of a value's type, to be shown."""
    return ascii(str(type(value).__name__))[1:-1][:40]


def _amount(number: float) -> str:
    """A number, to be shown."""
    if abs(number) >= 10**20:
        return "one of more than 20 digits"
    return str(number)


def _word(word: str) -> str:
    """A word, to be shown: what does not look like one may be a secret."""
    if re.match(r"[a-z_-]{1,40}\Z", word):
        return word
    return "another word"


def _is(value: object, kind: type) -> bool:
    return issubclass(type(value), kind)


def _is_integer(value: Any) -> bool:
    return _is(value, int) and type(value) is not bool


def _is_unicode(text: str) -> bool:
    return text.encode("utf-8", "ignore").decode("utf-8") == text


def _string(value: Any, place: _Place) -> str:
    if not _is(value, str):
        raise _invalid(place, "must be a string, not " + _kind(value))
    return str.__str__(value)  # the plain value, also of a member of an Enum


def _text(value: Any, place: _Place) -> str:
    text = _string(value, place)
    if "\0" in text or not _is_unicode(text):
        raise _invalid(place, "must not hold NUL or lone surrogates")
    return text


def _boolean(value: Any, place: _Place) -> bool:
    if type(value) is not bool:
        raise _invalid(place, "must be true or false, not " + _kind(value))
    return value


def _integer(highest: int, value: Any, place: _Place) -> int:
    """An integer from 0 on."""
    expected = "must be an integer from 0 to %d, not " % highest
    if not _is_integer(value):
        raise _invalid(place, expected + _kind(value))
    number = int.__int__(value)
    if not 0 <= number <= highest:
        raise _invalid(place, expected + _amount(number))
    return number


def _mapping(value: Any, place: _Place) -> Dict[str, Any]:
    """A plain dict of our own with the mapping's items."""
    if not _is(value, _MappingABC):
        raise _invalid(place, "must be a mapping, not " + _kind(value))
    copied: Dict[str, Any] = {}
    for count, key in enumerate(value):
        if not _is(key, str):
            raise _invalid(place, "must have string keys, not " + _kind(key))
        if count >= 100000:  # it may have no end
            raise _invalid(place, "must have at most 100000 items")
        copied[str.__str__(key)] = value[key]
    return copied


def _key(value: Any, place: _Place) -> str:
    key = _text(value, place)
    if not 1 <= len(key) <= 128:
        raise _invalid(place, "must have 1 to 128 characters, not %d" % len(key))
    return key


def _mount(value: Any, place: _Place) -> Union[str, bool]:
    if type(value) is bool:
        return value
    if not _is(value, str):
        raise _invalid(place, "must be a string or boolean, not " + _kind(value))
    return _text(value, place)


def _env(value: Any, place: _Place) -> Dict[str, str]:
    reserved = ["PORT", "SESSION_BACKEND_ID", "SESSION_BACKEND_KEY"]
    reserved += ["SESSION_BACKEND_FENCING_TOKEN", "JAMSOCKET_SERVICE"]
    env = _mapping(value, place)
    for name in env:
        at = (*place, name)
        if name in reserved:
            raise _invalid(at, "is a name that the platform sets itself")
        if not name or "=" in _text(name, at):
            raise _invalid(at, "must have a name, and one without =")
        env[name] = _text(env[name], at)
    return env


def _auth(value: Any, place: _Place) -> Any:
    """A copy of what JSON can carry."""
    most_levels, most_values = 100, 100000  # it may hold itself
    beyond = "has over %d levels or %d values" % (most_levels, most_values)
    budget = iter(range(most_values))

    def copy(value: Any, place: _Place) -> Any:
        if next(budget, None) is None:
            raise _invalid(place, beyond)
        if value is None or type(value) is bool:
            return value
        if _is(value, str):
            return _text(value, place)
        if _is(value, int):
            if not -(2**63) <= int.__int__(value) < 2**64:
                raise _invalid(place, "must be an integer of 64 bits")
            return int.__int__(value)
        if _is(value, float):
            if not math.isfinite(float.__float__(value)):
                raise _invalid(place, "must be a finite number, as JSON has")
            return float.__float__(value)
        if len(place) > most_levels:
            raise _invalid(place, beyond)
        if _is(value, list) or _is(value, tuple):
            return [copy(item, (*place, index)) for index, item in enumerate(value)]
        if _is(value, _MappingABC):
            items = _mapping(value, place).items()
            return {_text(key, (*place, key)): copy(item, (*place, key)) for key, item in items}
        raise _invalid(place, "must be JSON data, not " + _kind(value))

    return copy(_mapping(value, place), place)


def _time(value: Any, place: _Place) -> str:
    """ISO 8601, also of Plane's milliseconds since the epoch."""
    if not _is_integer(value):
        return _string(value, place)
    in_year_9999 = 253402300799999
    seconds, milliseconds = divmod(_integer(in_year_9999, value, place), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds)) + "%03dZ" % milliseconds


# ---- Types -----------------------------------------------------------------------------------
#
# A field is declared once: its rule stands in its `metadata`, and the constructor, `from_dict`,
# `to_dict` and `repr` go by it. (`dataclasses.field` itself, because type checkers know it.)
# Beside the check a rule has `shown`, what may be shown of a value; `words`, if a strict check
# refuses others; `record`, if it is a type that in `from_dict` may come as a mapping.

_R = TypeVar("_R", bound="_Record")
_A = TypeVar("_A", bound="_Answer")
_Values = Dict[str, Any]


def _rule(check: _Check, shown: Callable[[Any], str] = repr, **more: Any) -> _Values:
    return {"check": check, "shown": shown, **more}


def _known(words: Tuple[str, ...]) -> _Values:
    # The document says `key_expired`; the platform, its dev server and Plane send `keyexpired`.
    spellings = {word.replace("_", ""): word for word in words}

    def check(value: Any, place: _Place) -> str:
        word = _string(value, place)
        return spellings.get(word, word)

    return _rule(check, words=words)


def _hidden(value: Any) -> str:
    return "…"


def _origin(url: str) -> str:
    """What may be shown of a url: scheme, host and port."""
    host = r"(?:[\w.-]+|\[[\w:.]+\])(?::\d+)?"
    parts = re.match(r"(\w+://)(?:[^/?#\\]*@)?(%s)(?=[/?#]|\Z)" % host, url, re.ASCII)
    if parts:
        return parts.group(1) + parts.group(2)
    return url and "…"


_INT8 = _rule(functools.partial(_integer, 2**8 - 1))  # the server's types
_INT32 = _rule(functools.partial(_integer, 2**31 - 1))
_INT64 = _rule(functools.partial(_integer, 2**63 - 1))
_TEXT = _rule(_text)
_SECRET = _rule(_string, _hidden)
_URL = _rule(_string, _origin)


class _Record:
    """What the six types share."""

    __dataclass_fields__: ClassVar[Dict[str, Any]]  # by name
    _ignores_unknown = False  # for an option may be misspelt

    def __post_init__(self) -> None:
        vars(self).update(self._read(vars(self), (), wire=False, strict=True))

    @classmethod
    def from_dict(cls: Type[_R], data: Mapping[str, Any]) -> _R:
        """Checks every field and copies what it keeps. Raises ValidationError."""
        return cls._made(data)

    @classmethod
    def _made(cls: Type[_R], data: Any, place: _Place = (), strict: bool = True) -> _R:
        """An instance of what a document holds."""
        record = object.__new__(cls)
        vars(record).update(cls._read(data, place, wire=True, strict=strict))
        return record

    @classmethod
    def _instance(cls: Type[_R], value: Any, place: _Place = (), booleans: str = "") -> _R:
        """The value, if it is an instance, also of another copy of this file."""
        if _is(value, cls) or (booleans and type(value) is bool):
            return value  # type: ignore
        bases = {base.__name__: vars(base) for base in type(value).__mro__}
        if "__dataclass_fields__" in bases.get(cls.__name__, {}):
            return cls._made(value.to_dict(), place, strict=False)
        expected = "must be %sa %s" % (booleans, cls.__name__)
        raise _invalid(place, "%s, not %s" % (expected, _kind(value)))

    @classmethod
    def _read(cls, data: Any, place: _Place, wire: bool, strict: bool) -> _Values:
        """The values to keep, or a ValidationError, whatever `data` is.

        `wire`: it may hold mappings in the place of instances.
        """
        try:
            return cls._checked(_mapping(data, place), place, wire, strict)
        except ValidationError:
            raise
        except Exception:
            pass  # a foreign object's; its text may hold anything
        raise _invalid(place, "cannot be read: it raised an error")

    @classmethod
    def _checked(cls, data: _Values, place: _Place, wire: bool, strict: bool) -> _Values:
        known, values = cls.__dataclass_fields__, {}
        for name in data:
            if name not in known and not cls._ignores_unknown:
                raise _invalid((*place, name), "is none of the fields " + ", ".join(known))
        for name, declared in known.items():
            rule, value, at = declared.metadata, data.get(name), (*place, name)
            if value is None and declared.default is not MISSING:
                values[name] = declared.default
                continue
            if wire and "record" in rule and _is(value, _MappingABC):
                value = rule["record"]._made(value, at)
            values[name] = value = rule["check"](value, at)
            words = rule.get("words", (value,))
            if strict and value not in words:
                known_words = ", ".join(words)
                raise _invalid(at, "must be one of %s, not %s" % (known_words, _word(value)))
        if strict:
            cls._check_together(values, place)
        return values

    @classmethod
    def _check_together(cls, values: _Values, place: _Place) -> None:
        """What one field alone does not tell."""

    def to_dict(self) -> Dict[str, Any]:
        """A copy for `json.dumps`, without the fields that are None."""
        return {name: _unshared(value) for name, value in vars(self).items() if value is not None}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        shown = []
        for name, declared in self.__dataclass_fields__.items():
            value = getattr(self, name)
            if value is not None:
                shown.append("%s=%s" % (name, declared.metadata["shown"](value)))
        return "%s(%s)" % (type(self).__name__, ", ".join(shown))


class _Answer(_Record):
    """What the platform sends."""

    _ignores_unknown = True

    @classmethod
    def from_dict(cls: Type[_A], data: Mapping[str, Any], *, strict: bool = True) -> _A:
        """Checks every field and copies what it keeps. Raises ValidationError.

        `strict` refuses unknown words, and termination fields that do not fit the status.
        """
        return cls._made(data, strict=strict)


def _unshared(value: Any) -> Any:
    if isinstance(value, _Record):
        return value.to_dict()
    if type(value) is dict:
        return {key: _unshared(item) for key, item in value.items()}
    if type(value) is list:
        return [_unshared(item) for item in value]
    return value


def _inner(record: Type[_Record], booleans: str = "") -> _Values:
    return _rule(functools.partial(record._instance, booleans=booleans), record=record)


@dataclass(frozen=True, repr=False, eq=False)
class ResourceLimits(_Record):
    """What a backend may use, in integers from 0: memory and disk in bytes.

    Of each `cpu_period` (microseconds) it may use `cpu_period_percent` (100 is one whole core, 255
    the most), and `cpu_time_limit` (seconds) in all.
    """

    cpu_period: Optional[int] = field(default=None, metadata=_INT64)
    cpu_period_percent: Optional[int] = field(default=None, metadata=_INT8)
    cpu_time_limit: Optional[int] = field(default=None, metadata=_INT64)
    memory_limit_bytes: Optional[int] = field(default=None, metadata=_INT64)
    disk_limit_bytes: Optional[int] = field(default=None, metadata=_INT64)


@dataclass(frozen=True, repr=False, eq=False)
class Executable(_Record):
    """What runs: its mount (a name, or whether there is one), its environment, its limits.

    Treat `env` as read-only. The platform itself sets `PORT`, `SESSION_BACKEND_ID`,
    `SESSION_BACKEND_KEY`, `SESSION_BACKEND_FENCING_TOKEN` and `JAMSOCKET_SERVICE`.
    """

    mount: Optional[Union[str, bool]] = field(default=None, metadata=_rule(_mount))
    env: Optional[Mapping[str, str]] = field(default=None, metadata=_rule(_env, _hidden))
    resource_limits: Optional[ResourceLimits] = field(default=None, metadata=_inner(ResourceLimits))


@dataclass(frozen=True, repr=False, eq=False)
class SpawnConfig(_Record):
    """How a backend is started: the image's `tag`, the `cluster`, how long it may live and idle.

    The two limits are whole seconds up to 2**31 - 1. Where `spawn` is not a SpawnConfig, the
    platform ends a backend that idles for 300 seconds.
    """

    tag: Optional[str] = field(default=None, metadata=_TEXT)
    cluster: Optional[str] = field(default=None, metadata=_TEXT)
    lifetime_limit_seconds: Optional[int] = field(default=None, metadata=_INT32)
    max_idle_seconds: Optional[int] = field(default=None, metadata=_INT32)
    executable: Optional[Executable] = field(default=None, metadata=_inner(Executable))


@dataclass(frozen=True, repr=False, eq=False)
class ConnectRequest(_Record):
    """Which backend is wanted: the one that holds the `key` (1 to 128 characters), else a new one.

    `spawn`: how to start it, or False, with a key, never to. `user` and `auth` are handed to the
    backend; `auth` is what JSON can carry. Treat it as read-only.
    """

    key: Optional[str] = field(default=None, metadata=_rule(_key))
    spawn: Optional[Union[bool, SpawnConfig]] = field(
        default=None, metadata=_inner(SpawnConfig, "true, false or ")
    )
    user: Optional[str] = field(default=None, metadata=_TEXT)
    auth: Optional[Mapping[str, Any]] = field(default=None, metadata=_rule(_auth, _hidden))

    @classmethod
    def _check_together(cls, values: _Values, place: _Place) -> None:
        if values["spawn"] is False and values["key"] is None:
            raise _invalid((*place, "key"), "is needed where spawn is false")


@dataclass(frozen=True, repr=False, eq=False)
class ConnectResponse(_Answer):
    """A backend to talk to. The tokens and the paths of its urls are secrets."""

    backend_id: str = field(metadata=_rule(_string))
    spawned: bool = field(metadata=_rule(_boolean))  # by this call
    status: BackendStatus = field(metadata=_known(_STATUSES))
    token: str = field(metadata=_SECRET)
    url: str = field(metadata=_URL)
    status_url: str = field(metadata=_URL)
    ready_url: str = field(default="", metadata=_URL)  # for browsers
    secret_token: Optional[str] = field(default=None, metadata=_SECRET)


@dataclass(frozen=True, repr=False, eq=False)
class BackendState(_Answer):
    """A backend's status since `time` (ISO 8601) and, where it ends, why."""

    status: BackendStatus = field(metadata=_known(_STATUSES))
    time: str = field(metadata=_rule(_time))
    termination_reason: Optional[TerminationReason] = field(default=None, metadata=_known(_REASONS))
    termination_kind: Optional[TerminationKind] = field(default=None, metadata=_known(_KINDS))
    exit_error: Optional[bool] = field(default=None, metadata=_rule(_boolean))

    @property
    def is_ready(self) -> bool:
        """Whether it can be used."""
        return self.status == "ready"

    @property
    def is_terminated(self) -> bool:
        """Whether it has ended, not only begun to."""
        return self.status == "terminated"

    @classmethod
    def _check_together(cls, values: _Values, place: _Place) -> None:
        status = values["status"]
        if status in _ENDING[:-1] and values["termination_reason"] is None:
            raise _invalid((*place, "termination_reason"), "must be given with status " + status)
        for name in ("termination_reason", "termination_kind", "exit_error"):
            if status not in _ENDING and values[name] is not None:
                raise _invalid((*place, name), "does not belong to status " + status)


for _class in (*_Record.__subclasses__(), *_Answer.__subclasses__()):
    for _field in vars(_class).get("__dataclass_fields__", {}).values():
        if "check" not in _field.metadata:
            raise TypeError("field %s of %s has no rule" % (_field.name, _class.__name__))


# ---- HTTP ------------------------------------------------------------------------------------
#
# urllib.request with an opener of our own, so that what people hang on urllib, http.client, socket
# and ssl (tracers, recorders, fakes, resolvers, SOCKS) sees and serves these calls as it does
# theirs. Its timeout is one socket operation's, though. The classes derived from its handlers,
# connections and responses give each operation what is left of the call's deadline.

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SslContext = Optional["ssl.SSLContext"]


class _Deadline:
    """The moment that a call may not outlast."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """The seconds left, not below 0; `inf` for a deadline that never comes."""
        return max(self._end - time.monotonic(), 0.0)

    def left(self) -> float:
        """The seconds left, as a socket takes them, or JamsocketTimeout."""
        seconds = self.remaining()  # read once: 0 would be a socket that does not wait
        if not seconds:
            raise JamsocketTimeout("the deadline passed")
        return min(seconds, 1e6)  # sockets refuse very large timeouts

    def nearer(self, seconds: float) -> "_Deadline":
        """A deadline for one attempt."""
        return _Deadline(min(seconds, self.remaining()))


class _Url:
    """A url that may be opened: http or https, without a user name, of visible ASCII."""

    def __init__(self, text: str, what: str) -> None:
        from urllib.parse import urlsplit

        parts, host, port = urlsplit(""), "", None
        hosts = r"(?a:([\w~-]{1,63}\.)*[\w~-]{1,63}\.?|[0-9a-f:.]*:[0-9a-f:.]*)"
        try:
            if not text.isascii():
                netloc = re.compile(r"(?<=://)[^/?#]+")
                text = netloc.sub(lambda found: found[0].encode("idna").decode(), text, 1)
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
            is_sound = re.fullmatch(r"[\x21-\x7e]+", text) and re.fullmatch(hosts, host)
        except (LookupError, ValueError):
            is_sound = None
        if not is_sound or port == 0 or "@" in parts.netloc or parts.scheme not in _DEFAULT_PORTS:
            problem = "must be a url like https://host:port/path, of ASCII, without a user name"
            raise ConfigurationError("%s %s" % (what, problem))
        self.text = text.partition("#")[0]
        self.scheme, self.host, self.netloc = parts.scheme, host, parts.netloc
        self.path, self.query = parts.path, parts.query
        if ":" in host:
            host = "[%s]" % host
        self.origin = "%s://%s" % (self.scheme, host)  # all of it that may be shown
        if port not in (None, _DEFAULT_PORTS[self.scheme]):
            self.origin += ":%s" % port

    def extended(self, path: str, query: Optional[Mapping[str, str]] = None) -> "_Url":
        """The url of something below this one."""
        from urllib.parse import urlencode

        below = object.__new__(_Url)
        vars(below).update(vars(self), path=self.path.rstrip("/") + path)
        below.query = "&".join(filter(None, [self.query, urlencode(query or {})]))
        below.text = "%s://%s%s" % (self.scheme, self.netloc, below.path)
        if below.query:
            below.text += "?" + below.query
        return below


class _HttpRequest:
    """What is sent. A server may repeat what is in `secrets`, which may be nested."""

    ssl_context: _SslContext = None
    document: Any = None  # goes out as JSON

    def __init__(self, method: str, url: _Url, headers: Dict[str, str], secrets: Any) -> None:
        self.method, self.url, self.headers, self.secrets = method, url, headers, secrets


if TYPE_CHECKING:
    _ConnectionBase = http.client.HTTPConnection
    _ResponseBase = http.client.HTTPResponse
else:
    _ConnectionBase = _ResponseBase = object


@functools.lru_cache(maxsize=16)
def _derived(mixin: type, base: type) -> Any:
    """A class of theirs with ours before it.

    Made at the call, of what http.client has then: recorders replace its classes.
    """
    return type(mixin.__name__, (mixin, base), {})


class _Connection(_ConnectionBase):
    """A connection of which each step gets the time that is left."""

    def __init__(self, host: str, *, deadline: _Deadline, **options: Any) -> None:
        import http.client
        import socket

        super().__init__(host, **options)
        self._deadline = deadline
        self._response: Any = None  # the last one that was made
        self.response_class: Any = self._respond
        if socket.create_connection.__module__ == "socket":  # else somebody's own
            self._create_connection = self._connect_in_time

    def _connect_in_time(self, address: Any, timeout: Any, source: Any = None) -> "socket.socket":
        """Connects to the first address that answers; each gets a share of the time."""
        import socket

        found = list(socket.getaddrinfo(address[0], address[1], 0, socket.SOCK_STREAM))
        if address[0] == "localhost":
            # What listens there often has IPv4 alone, and some systems wait long for the other.
            found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        while found:
            family, kind, protocol, _, place = found.pop(0)
            sock = socket.socket(family, kind, protocol)
            try:
                share = self._deadline.left()
                if found:
                    share = min(share / (len(found) + 1), 5.0)
                sock.settimeout(share)
                sock.connect(place)
                sock.settimeout(self._deadline.left())
                return sock
            except BaseException as error:
                sock.close()
                if not found or not isinstance(error, OSError) or _is_of_caller(error):
                    raise
        raise OSError(errno.EADDRNOTAVAIL, "the name has no address")

    def _respond(self, sock: Any, *arguments: Any, **options: Any) -> Any:
        import http.client

        make = _derived(_Response, http.client.HTTPResponse)
        self._response = response = make(sock, *arguments, **options)
        if type(response.fp) is io.BufferedReader:  # else a fake's own
            response.reader = _Reader(response.fp.detach(), sock, self._deadline)
            response.fp = io.BufferedReader(response.reader)
        return response

    def _tunnel(self) -> None:
        try:
            super()._tunnel()  # type: ignore[misc]
        finally:
            if self._response is not None:
                self._response.close()  # Python 3.8 leaves it open
        self.sock.settimeout(self._deadline.left())  # for the handshake

    def send(self, data: Any) -> None:
        """Sends piece by piece, each with the time left.

        A peer that hangs up meanwhile may have answered before: reading will tell.
        """
        piece = 16 * 1024  # at most one TLS record
        if self.sock is None:
            self.connect()
        sock: Any = self.sock
        try:
            for start in range(0, len(data), piece):
                sock.settimeout(self._deadline.left())
                super().send(data[start : start + piece])
        except OSError as error:
            hang_ups = ("SSLEOFError", "SSLZeroReturnError")
            is_hang_up = isinstance(error, ConnectionError) or type(error).__name__ in hang_ups
            if not is_hang_up and error.errno != errno.EIO:  # GraalPy's
                raise


class _SecureConnection(_Connection):
    _context: Any  # HTTPSConnection's

    def connect(self) -> None:
        import codecs

        def wrap(sock: Any, server_hostname: str) -> Any:
            return context.wrap_socket(sock, server_hostname=server_hostname.encode("ascii"))

        context = self._context
        try:
            codecs.lookup("idna")
        except LookupError:
            # GraalPy in an isolated context cannot encode a name; bytes will do.
            self._context = SimpleNamespace(wrap_socket=wrap)
        try:
            super().connect()
        except BaseException as error:
            # ssl leaves a socket open whose handshake a caller's exception, or a reset, broke off.
            trace = error.__traceback__
            while trace is not None:
                owner: Any = trace.tb_frame.f_locals.get("self")
                if type(owner).__name__ == "SSLSocket":
                    owner.close()
                trace = trace.tb_next
            raise


class _Response(_ResponseBase):
    """A response that is read through a `_Reader`."""

    reader: "Optional[_Reader]" = None

    def _read_status(self) -> Any:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        if status in range(102, 200):  # http.client knows 100 alone
            status = 100
        return version, status, reason

    def begin(self) -> None:
        import http.client

        try:
            super().begin()
        except http.client.HTTPException:
            if self.reader is None or not self.reader.ended:
                raise
        if self.reader is not None and self.reader.ended:
            raise NetworkError("the connection was closed before the end of the headers")


class _Reader(io.RawIOBase):
    """The bytes of a socket. Each `recv` gets the time left; all are counted."""

    def __init__(self, raw: Any, sock: Any, deadline: _Deadline) -> None:
        self.sock, self.deadline = sock, deadline
        self.limit: float = 1024 * 1024  # bytes of an answer with its framing
        self.patience: Optional[float] = None  # seconds; then a read gives nothing
        self.ended = False
        self._raw = raw
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        patience = self.patience
        self.sock.settimeout(self.deadline.left() if patience is None else patience)
        try:
            received: int = self.sock.recv_into(buffer)
        except OSError as error:
            nothing_came = ("timeout", "TimeoutError", "BlockingIOError", "SSLWantReadError")
            if patience is None or type(error).__name__ not in nothing_came or _is_of_caller(error):
                raise
            return None
        self.ended = received == 0
        self._received += received
        if self._received > self.limit:
            raise ProtocolError("the answer is larger than %d bytes" % self.limit)
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()


def _attempt(doing: str, deadline: _Deadline, work: Callable[[], _T]) -> _T:
    """The one place where what the network, TLS, HTTP and the system raise becomes ours.

    Ours is raised outside of the `except`: theirs may quote a secret, and must not be its context.
    """
    try:
        return work()
    except Exception as error:
        failure = _translated(error, doing, deadline)
    raise failure


def _translated(error: Exception, doing: str, deadline: _Deadline) -> Exception:
    """The error to raise for one that came out of urllib. A caller's stays as it is."""
    reason = getattr(error, "reason", None)
    if type(error).__name__ == "URLError" and isinstance(reason, Exception):
        error = reason  # what was raised while the request was sent
    if type(error) in (JamsocketTimeout, NetworkError, ProtocolError):
        return type(error)("%s: %s" % (doing, error))
    if isinstance(error, OSError):
        return _of_system(error, doing, deadline)
    if isinstance(error, ImportError) and error.name == "_socket":
        return NetworkError("%s: this Python has no sockets" % doing)
    if isinstance(error, RuntimeError) and "TLS not supported" in str(error):  # Pyodide
        return NetworkError("%s: this Python has no TLS" % doing)
    from http.client import HTTPException, IncompleteRead

    if isinstance(error, IncompleteRead):
        # http.client makes it of every ValueError around a chunk's size, also of a caller's.
        cause = error.__context__
        if isinstance(cause, ValueError) and "invalid literal" not in str(cause):
            return cause
        if isinstance(cause, ValueError) and not str(cause).endswith("b''"):
            return ProtocolError("%s: the answer is not proper HTTP (a chunk's size)" % doing)
        return NetworkError("%s: the connection was closed in the middle of the answer" % doing)
    if isinstance(error, HTTPException):
        problem = type(error).__name__  # its text may quote the answer
        if str(error).startswith("got more than"):
            problem = str(error)
        return ProtocolError("%s: the answer is not proper HTTP (%s)" % (doing, problem))
    return error


def _is_of_caller(error: OSError) -> bool:
    """Whether it is no system's and no socket's TimeoutError, but a caller's."""
    is_socket_text = str(error).endswith("timed out")
    return isinstance(error, TimeoutError) and error.errno is None and not is_socket_text


def _of_system(error: OSError, doing: str, deadline: _Deadline) -> Exception:
    """What an error of the system, of a socket or of TLS means."""
    if _is_of_caller(error):
        return error
    # Before Python 3.10 a socket's is no TimeoutError.
    timed_out = isinstance(error, TimeoutError) or str(error).endswith("timed out")
    clock_step = 0.02 * timed_out  # the clock of Windows goes in steps of 15.6 ms
    if deadline.remaining() <= clock_step:
        return JamsocketTimeout("%s: the deadline passed" % doing)
    refusal = re.match(r"Tunnel connection failed: (\d{3})", str(error))
    if refusal:
        status = int(refusal.group(1))
        text = "%s: the proxy answered HTTP %d" % (doing, status)
        if status == 407:
            text += "; the environment's proxy setting needs other credentials"
            return AuthenticationError(text, status=status)
        is_permanent = 400 <= status < 500 and status not in (408, 429)
        return NetworkError(text, _permanent=is_permanent)
    if hasattr(error, "verify_code"):
        problem = getattr(error, "verify_message", None) or "it is not trusted"
        hint = "a private authority is named by SSL_CERT_FILE or ssl_context"
        text = "%s: the certificate was refused: %s (%s)" % (doing, problem, hint)
        return NetworkError(text, _permanent=True)
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None)
    if timed_out:
        reason = "timed out"
    elif not isinstance(reason, str):
        reason = type(error).__name__
    return NetworkError("%s: %s" % (doing, reason))


@functools.lru_cache(maxsize=1)
def _default_context(make: Any, kind: Any, file: Optional[str], directory: Optional[str]) -> Any:
    """The context that `make` makes of these. It takes 40 ms, so the last one is kept."""
    context = make()
    if file and sys.implementation.name in ("graalpy", "rustpython"):  # they ignore it
        context.load_verify_locations(file)
    return context


def _verifying_context(given: _SslContext) -> "ssl.SSLContext":
    """A context that checks certificates: the given one, or the default one."""
    try:
        import ssl
    except ImportError:
        raise ConfigurationError("https needs ssl, which this Python lacks") from None
    context, what = given, "ssl_context"
    if context is None:
        what, make = "ssl._create_default_https_context", ssl._create_default_https_context
        places = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        context = _default_context(make, ssl.SSLContext, *places)
        genuine: Any = getattr(ssl, "_SSLContext", object)
        if type(context) is ssl.SSLContext and not isinstance(context, genuine):
            return context  # a fake's, which stands in the place of ssl's
    verifies = getattr(context, "verify_mode", None) == ssl.CERT_REQUIRED
    if not verifies or not getattr(context, "check_hostname", False):
        example = "ssl.create_default_context(cafile=...)"
        problem = "%s must check certificates and names, as %s does" % (what, example)
        raise ConfigurationError(problem)
    return context


def _proxy_for(url: _Url) -> Optional[str]:
    """The proxy that urllib finds in the environment; none for a loopback address."""
    from urllib.request import getproxies, proxy_bypass

    if _is_loopback(url.host):
        return None
    proxy = getproxies().get(url.scheme)
    if not proxy or proxy_bypass(url.netloc):
        return None
    scheme, _, rest = proxy.rpartition("://")
    variable = url.scheme + "_proxy"
    if scheme.lower() not in ("", "http"):
        raise ConfigurationError("%s must name an http:// proxy" % variable)
    _Url("http://" + rest.rpartition("@")[2], variable)
    return "http://" + rest


@functools.lru_cache(maxsize=16)
def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return ("." + host.rstrip(".")).endswith(".localhost")


def _proxy_secrets(url: _Url) -> List[str]:
    """The proxy's user name and password, and as the header has them."""
    from base64 import b64encode
    from urllib.parse import unquote

    credentials, _, _ = (_proxy_for(url) or "").partition("://")[2].rpartition("@")
    plain = unquote(credentials)
    return [*plain.split(":", 1), b64encode(plain.encode("utf-8")).decode("ascii")]


@functools.lru_cache(maxsize=4)
def _opener(level: int, proxy: Optional[str]) -> Any:
    """An opener for requests that bring their connection. It takes long to make."""
    import urllib.request as urllib_request

    handler: Any = urllib_request.HTTPHandler(level)
    handler.http_open = lambda prepared: handler.do_open(prepared.connection, prepared)
    handler.https_open, handler.https_request = handler.http_open, handler.http_request
    opener = urllib_request.OpenerDirector()
    opener.addheaders = []
    opener.add_handler(handler)
    if proxy is not None:
        opener.add_handler(urllib_request.ProxyHandler({"http": proxy, "https": proxy}))
    return opener


def _open(request: _HttpRequest, deadline: _Deadline) -> Any:
    """The response to a request, its status and headers read. Any status is one."""
    doing = "cannot reach " + request.url.origin
    proxy = _attempt(doing, deadline, lambda: _proxy_for(request.url))
    if proxy is not None:
        doing += " through the proxy " + _origin(proxy)

    def work() -> Any:
        import http.client
        import json
        from urllib.request import Request

        options: Dict[str, Any] = {"deadline": deadline}
        if request.url.scheme == "https":
            options["context"] = _verifying_context(request.ssl_context)
            connection = _derived(_SecureConnection, http.client.HTTPSConnection)
        else:
            connection = _derived(_Connection, http.client.HTTPConnection)
        body = b"" if request.method == "POST" else None
        if request.document is not None:
            body = json.dumps(request.document).encode("ascii")
        prepared: Any = Request(request.url.text, body, method=request.method)
        for name, value in request.headers.items():
            prepared.add_unredirected_header(name, value)
        prepared.connection = functools.partial(connection, **options)
        opener = _opener(http.client.HTTPConnection.debuglevel, proxy)
        return opener.open(prepared, timeout=deadline.left())

    return _attempt(doing, deadline, work)


def _read_body(response: Any, limit: int, deadline: _Deadline, body: bytearray) -> None:
    """Appends the body. Raises where it is cut short, or larger than the limit."""
    length = getattr(response, "length", None)
    missing = math.inf if length is None else length  # older read1 do not count
    read = getattr(response, "read1", response.read)  # vcrpy's response has no read1
    while missing > 0:
        deadline.left()  # raises, though bytes keep coming
        piece = read(min(missing, limit + 1 - len(body)))
        if not piece and missing < math.inf:
            raise NetworkError("the connection was closed in the middle of the answer")
        if not piece:
            return
        body += piece
        missing -= len(piece)
        if len(body) > limit:
            raise ProtocolError("the answer is larger than %d bytes" % limit)


def _refuse(response: Any, request: _HttpRequest, deadline: _Deadline) -> None:
    """Raises what a status outside 200 to 299 means."""
    status = response.status
    if 200 <= status < 300:
        return
    text = "HTTP %d from %s" % (status, request.url.origin)
    if status in (301, 302, 303, 307, 308):
        text += ": redirects are not followed; use the address they lead to"
        raise ProtocolError(text, _permanent=True)
    if status < 400:
        raise ProtocolError(text + ": the API has no such answer")
    body = bytearray()
    with suppress(JamsocketError):  # what there is of it will do
        _attempt(text, deadline, lambda: _read_body(response, 64 * 1024, deadline, body))
    raise _http_error(text, response, bytes(body), request)


def _http_error(text: str, response: Any, body: bytes, request: _HttpRequest) -> HTTPError:
    status, headers = response.status, response.headers
    words = _error_words(body, headers.get("Content-Type") or "text/plain")
    secrets = [request.secrets, _proxy_secrets(request.url)]
    said = {name: _sayable(word, secrets) for name, word in words.items()}
    code, request_id = said.get("code") or said.get("kind"), said.get("id")
    if said.get("message"):
        text += ": " + said["message"]
    elif _printable(words.get("message", "")):
        text += ": (its message is left out, for it repeats a secret)"
    details = []
    if code:
        details.append("code " + code)
    if request_id:
        details.append("request " + request_id)
    if details:
        text += " (%s)" % ", ".join(details)
    kinds: Dict[int, Type[HTTPError]] = dict.fromkeys((401, 403, 407), AuthenticationError)
    kinds[429] = RateLimitError
    error = kinds.get(status, HTTPError)(text, status=status)
    error.code, error.request_id = code or None, request_id or None
    error.retry_after = _retry_after(headers.get("Retry-After") or "")
    return error


def _error_words(body: bytes, content_type: str) -> Dict[str, str]:
    """`message`, `code` (Plane's `kind`) and `id`, or the dev server's plain text as `message`."""
    try:
        document = _json(body, "")
    except ProtocolError:
        text = body.decode("utf-8", "replace").lstrip("\ufeff")
        if content_type.lower().startswith("text/plain") and text.lstrip()[:1] != "<":
            return {"message": text}
        return {}
    if isinstance(document, dict):
        document = document.get("error", document)
    if not isinstance(document, dict):
        document = {"message": document}
    return {name: word for name, word in document.items() if isinstance(word, str)}


def _sayable(words: str, secrets: Any) -> str:
    """A server's words as one line; "" where they repeat a secret."""
    longest = 200
    line = _printable(words[: 4 * longest])
    if len(line) > longest:
        line = line[:longest] + "…"
    return "" if _repeats(line, secrets) else line


def _printable(words: str) -> str:
    return "".join(filter(str.isprintable, " ".join(words.split())))


def _repeats(text: str, secrets: Any) -> bool:
    """Whether a text has six letters or digits in a row of a secret, or all of a short one.

    No spelling (percent-encoding, JSON, HTML, escapes) changes these.
    """
    row, shortest = 6, 4
    text = text.lower()
    known = [secret.lower() for secret in _strings(secrets)]
    joined = "\n".join(known)
    for run in re.findall(r"[^\W_]{%d,}" % row, text):
        for start in range(len(run) - row + 1):
            if run[start : start + row] in joined:
                return True
    has_row = re.compile(r"[^\W_]{%d}" % row)
    short = [secret for secret in known if shortest <= len(secret) <= len(text)]
    return any(secret in text and not has_row.search(secret) for secret in short)


def _strings(secrets: Any) -> List[str]:
    """Each text and number in what may be nested. Booleans and keys are no secrets."""
    found, todo = [], [secrets]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo.extend(value.values())
        elif isinstance(value, (list, tuple)):
            todo.extend(value)
        elif value is not None and not isinstance(value, bool):
            found.append(str(value))
    return found


def _retry_after(text: str) -> Optional[float]:
    """Seconds, from a header that holds a number of them or a date."""
    if re.match(r"[0-9]{1,9}(\.[0-9]*)?\s*\Z", text):
        return float(text)
    from email.utils import mktime_tz, parsedate_tz

    with suppress(Exception):  # they raise several kinds for what is no date
        return max(mktime_tz(parsedate_tz(text)) - time.time(), 0.0)  # type: ignore[arg-type]
    return None


def _fetch(request: _HttpRequest, deadline: _Deadline) -> Tuple[Any, int]:
    """Sends a request once: the answer's JSON, and its age in seconds, if a cache kept it."""
    limit = 128 * 1024  # bytes; JSON of small objects takes 25 times its text in memory
    origin, body = request.url.origin, bytearray()
    with closing(_open(request, deadline)) as response:
        _refuse(response, request, deadline)
        doing = "cannot read the answer of " + origin
        _attempt(doing, deadline, lambda: _read_body(response, limit, deadline, body))
        age = (response.headers.get("Age") or "")[:9]
    return _json(bytes(body), origin), int(age.isdecimal() and age)


def _json(text: bytes, origin: str) -> Any:
    import json

    def refuse(name: str) -> None:
        raise ValueError("JSON has no " + name)

    try:
        if _is_deep(text):
            raise RecursionError
        decoded = str(text, "utf-8")
        return json.loads(decoded[decoded.startswith("\ufeff") :], parse_constant=refuse)
    except (ValueError, RecursionError):
        pass  # their texts quote the answer
    kinds = {b"": "is empty", b"<": "is an HTML page"}
    found = kinds.get(text.lstrip()[:1], "is something else")
    raise ProtocolError("%s must answer with JSON; its answer %s" % (origin, found))


def _is_deep(text: bytes) -> bool:
    """Whether JSON has over 100 levels, which can crash a thread of Python 3.13."""
    level = 0
    if text.count(b"[") + text.count(b"{") > 100:
        for mark in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', text):
            level += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark.group(), 0)
            if level > 100:
                return True
    return False


def _validated(record: Type[_A], document: Any, origin: str) -> _A:
    """An answer of the API. Words that this version does not know are kept."""
    try:
        return record.from_dict(document, strict=False)
    except ValidationError as error:
        problem = str(error)
    raise ProtocolError("%s answered with no %s: %s" % (origin, record.__name__, problem))


# ---- Events ----------------------------------------------------------------------------------


class _Events:
    """Bytes in, the data of `message` events out.

    By https://html.spec.whatwg.org/multipage/server-sent-events.html.
    """

    LIMIT = 128 * 1024  # bytes of a line, and of an event

    def __init__(self, last_id: bytes = b"", retry: float = 0.0) -> None:
        self.last_id = last_id
        self.retry = retry  # seconds until the stream may be opened again
        self._line = bytearray()  # what has come of the next line
        self._after_cr = False  # a line feed now belongs to the carriage return before it
        self._started = False
        self._id, self._type, self._size = last_id, b"", 0
        self._data: List[bytes] = []

    def feed(self, received: bytes) -> List[str]:
        """The data of the events that these bytes complete."""
        if self._after_cr and received[:1] == b"\n":
            received = received[1:]
        self._after_cr = received.endswith(b"\r")
        first, *others = re.split(rb"\r\n|\r|\n", received)
        self._line += first
        if len(self._line) > self.LIMIT:
            raise ProtocolError("a line is longer than %d bytes" % self.LIMIT)
        if not others:
            return []
        lines, self._line = [bytes(self._line), *others[:-1]], bytearray(others[-1])
        if not self._started and lines[0].startswith(b"\xef\xbb\xbf"):
            lines[0] = lines[0][3:]
        self._started = True
        return [event for line in lines for event in self._take(line)]

    def _take(self, line: bytes) -> List[str]:
        """The event that this line completes, if it is an empty one, and there is one."""
        if not line:
            kind, data, self.last_id = self._type, self._data, self._id
            self._type, self._size, self._data = b"", 0, []
            is_message = data and kind in (b"", b"message")
            return [b"\n".join(data).decode("utf-8", "replace")] if is_message else []
        name, _, value = line.partition(b":")
        if not name:
            return []  # a comment
        if value.startswith(b" "):
            value = value[1:]
        self._size += len(line)
        if self._size > self.LIMIT:
            raise ProtocolError("an event is longer than %d bytes" % self.LIMIT)
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value
        elif name == b"id" and b"\0" not in value:
            self._id = value
        elif name == b"retry" and value.isdigit():
            self.retry = float(value) / 1000
        return []


class _EventStream:
    """An open event stream; `attempt` is for opening it, `deadline` for reading it."""

    def __init__(
        self, request: _HttpRequest, events: _Events, attempt: _Deadline, deadline: _Deadline
    ) -> None:
        origin = request.url.origin
        self._events, self._deadline = events, deadline
        self._doing = "the event stream of %s broke" % origin
        self._failure: Optional[JamsocketError] = None
        self._response = _open(request, attempt)
        self._reader: Optional[_Reader] = getattr(self._response, "reader", None)
        if self._reader is not None:
            self._reader.limit = math.inf
        try:
            _refuse(self._response, request, attempt)
            kind = (self._response.headers.get("Content-Type") or "").partition(";")[0]
            if kind.strip().lower() != "text/event-stream":
                raise ProtocolError("%s must answer with an event stream" % origin)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with suppress(ValueError):  # a fake's file, which another response has closed
            self._response.close()

    def read(self, seconds: float) -> List[str]:
        """The events that arrive within so many seconds: once there is one, all that are here.

        Raises NetworkError, ProtocolError or JamsocketTimeout where the stream ends or breaks,
        after the events before that were returned.
        """
        found: List[str] = []
        try:
            if self._failure is not None:
                raise self._failure
            _attempt(self._doing, self._deadline, lambda: self._collect(found, seconds))
        except JamsocketError as error:
            self._failure = error
            if not found:
                raise
        return found

    def _collect(self, found: List[str], seconds: float) -> None:
        at_once, most = 0.05, 64 * 1024  # seconds and bytes for what is here
        until, end = _Deadline(seconds), _Deadline(max(seconds, at_once))
        taken = 0
        while end.remaining() and taken < most:
            if not self._has_arrived(0.0 if found else until.remaining()):
                return
            piece = self._read_piece()
            events = self._events.feed(piece)
            if events and not found:
                end = _Deadline(at_once)
            found += events
            if found:
                taken += len(piece)

    def _has_arrived(self, seconds: float) -> bool:
        """Whether something to read is here within so many seconds.

        A read that the clock cut short could not be gone on with in http.client.
        """
        reader, buffer = self._reader, getattr(self._response, "fp", None)
        if reader is None or buffer is None:
            return True
        reader.patience = min(seconds, 3600.0)
        try:
            return bool(buffer.peek(1)) or reader.ended
        finally:
            reader.patience = None

    def _read_piece(self) -> bytes:
        """What is here of the body; what was begun, as a chunk's head, has two seconds."""
        response = self._response
        if self._reader is not None:
            self._reader.deadline = self._deadline.nearer(2.0)
        piece: bytes = getattr(response, "read1", response.read)(16 * 1024)
        if not piece:
            raise NetworkError("it ended")
        if getattr(response, "chunked", False) and response.chunk_left == 0:
            # The line end of a chunk that is read up would look like something that has arrived.
            response.fp.read(2)
            response.chunk_left = None
        return piece


# ---- Platforms -------------------------------------------------------------------------------

# Each call's method and path.
_JAMSOCKET_ENDPOINTS = {
    "connect": "POST /v2/service/{service}/connect",
    "status": "GET /v2/backend/{backend}/status",
    "stream": "GET /v2/backend/{backend}/status/stream",
    "terminate": "POST /v2/backend/{backend}/terminate",
}
_PLANE_ENDPOINTS = {
    "connect": "POST /ctrl/connect",
    "status": "GET /pub/b/{backend}/status",
    "stream": "GET /pub/b/{backend}/status-stream",
    "terminate": "POST /ctrl/b/{backend}/{how}-terminate",
}


def _stream_url(status_url: _Url) -> _Url:
    """The url of the stream that belongs to a status url of either platform."""
    is_planes = re.search(r"/pub/b/[^/]+/status/*\Z", status_url.path)
    return status_url.extended("-stream" if is_planes else "/stream")


def _id_in(status_url: _Url) -> str:
    """The backend's id in a status url of either platform."""
    from urllib.parse import unquote

    found = re.search(r"/(?:v2/backend|pub/b)/([^/]+)/status/*\Z", status_url.path)
    if found is None:
        raise ConfigurationError("backend must be an id, or a url that ends with ID/status")
    return unquote(found[1])


def _segment(name: str) -> str:
    """One segment of a path, which arrives as exactly this name."""
    from urllib.parse import quote

    if name in ("", ".", "..") or not _is_unicode(name):
        raise ConfigurationError("account, service and backend must be Unicode, not empty or dots")
    return quote(name, safe="")


class _Address:
    """How a backend is asked for its status, and how its stream is opened."""

    def __init__(self, status: _HttpRequest, stream: _HttpRequest) -> None:
        self._status, self._stream = status, stream
        stream.headers["Accept"] = "text/event-stream"

    def ask(self, deadline: _Deadline, *, fresh: bool = False) -> BackendState:
        """What the status call says; where it is to be `fresh`, no cache's answer will do."""
        document, age = _fetch(self._status, deadline)
        origin = self._status.url.origin
        if fresh and age > 0:
            raise NetworkError("%s: a cache has kept the status for %d seconds" % (origin, age))
        return _validated(BackendState, document, origin)

    def listen(self, events: _Events, attempt: _Deadline, deadline: _Deadline) -> _EventStream:
        headers = self._stream.headers
        headers.pop("Last-Event-ID", None)
        # A header can carry it; its bytes go out as they came.
        if re.fullmatch(rb"[^\0-\x1f\x7f]{1,999}", events.last_id):
            headers["Last-Event-ID"] = events.last_id.decode("latin-1")
        return _EventStream(self._stream, events, attempt, deadline)


# ---- Waiting ---------------------------------------------------------------------------------
#
# The stream wakes, the status call decides. Each has a moment when it is next due, and the loop
# waits on the stream until the nearer one. What is here of the stream is read before an answer or
# a failure of the status call counts.
#
#   learned                              then
#   no stream has told anything          the status call is due after 0.5 s, then in growing pauses
#   the stream told a state              the status call is due ten seconds after the last one
#   it told `ready`                      a wait: due now; its word decides
#   the status call said less than that  due again at the pace without a stream
#   it failed                            the same, for as long as `_patience` says
#   it failed, 2 s after `ready`         a wait: done, where the stream has told nothing since
#   the stream was refused, or broke     opened again after a pause; after an attempt that used up
#                                        its time the status call goes first

_OnStatus = Optional[Callable[[BackendState], None]]
_Updates = Generator[List[BackendState], None, None]


def _pauses(first: float, longest: float) -> Generator[float, None, None]:
    """Growing pauses, shortened by chance: no crowd comes back at once."""
    while True:
        yield first * (1 - os.urandom(1)[0] / 1024)
        first = min(2 * first, longest)


def _patience(error: JamsocketError) -> float:
    """For how many seconds the status call may go on failing like this."""
    if error._permanent:
        return 0.0  # a redirect, a refused certificate
    if isinstance(error, (NetworkError, JamsocketTimeout)):
        return math.inf  # a lost connection, a cache's answer
    if isinstance(error, ProtocolError):
        return 5.0  # a maintenance page, half an answer
    if isinstance(error, HTTPError):
        if error.status in (408, 429) or error.status >= 500:
            return math.inf  # it is busy, or about to be back
        if error.status == 404:
            return 2.0  # a backend about to exist, a front that reloads
    return 0.0


def _rank(state: Optional[BackendState]) -> int:
    """Its place in the lifecycle; -1 for none, and for an unknown one."""
    return -1 if state is None else _RANKS.get(state.status, -1)


class _Watch:
    """A wait, or a stream, under way. `ask_now`: before there is a stream to hear."""

    ATTEMPT = 2.0  # seconds for an opening, or a call
    CHECK = 10.0  # seconds between calls while a stream tells

    def __init__(self, address: _Address, deadline: _Deadline, waits: bool, ask_now: bool) -> None:
        self._address, self._deadline, self._waits = address, deadline, waits
        now = time.monotonic()
        self.latest: Optional[BackendState] = None
        self.ready: Optional[BackendState] = None  # once it counts
        self._unknown: Set[int] = set()  # hashes of unknown statuses
        self._failure = ""
        self._start_small()

        self._stream: Optional[_EventStream] = None
        self._stream_due = now
        self._events = _Events()
        self._told: Optional[BackendState] = None  # by this stream
        self._told_ready = math.inf  # since when that is `ready`

        self._status_due = now if ask_now else now + next(self._status_pauses)
        self._asked = now  # when the last call was made
        self._not_before = now  # by a Retry-After
        self._failures = 0  # of status calls, in a row
        self._patience: Optional[float] = None  # None: nothing fails
        self._borne_until = math.inf

    def _start_small(self) -> None:
        self._stream_pauses, self._status_pauses = _pauses(0.1, 5.0), _pauses(0.5, 2.0)

    def updates(self) -> _Updates:
        """The new states as they become known, until the deadline."""
        try:
            while self._deadline.remaining():
                now = time.monotonic()
                status_due = max(self._status_due, self._not_before)
                if status_due <= now:
                    yield from self._ask()
                elif self._stream_due <= now:
                    self._open()
                else:
                    seconds = min(status_due, self._stream_due) - now
                    yield self._listen(min(seconds, self._deadline.remaining()))
        finally:
            if self._stream is not None:
                self._stream.close()

    def timeout(self) -> JamsocketTimeout:
        text = "the deadline passed; nothing was heard of the backend"
        if self.latest is not None:
            text = "the deadline passed; the backend was " + _word(self.latest.status)
        if self._failure:
            text += "; the last failure was: " + self._failure
        return JamsocketTimeout(text, last_state=self.latest)

    def _note(self, error: JamsocketError) -> None:
        """For the deadline's text. What the deadline cut short says less."""
        is_cut = isinstance(error, JamsocketTimeout) and self._deadline.remaining() < self.ATTEMPT
        if not is_cut or not self._failure:
            self._failure = str(error)

    def _learn(self, states: List[BackendState]) -> List[BackendState]:
        """Those of the states that are new."""
        new = []
        for state in states:
            code = hash(state.status)
            if _rank(state) > _rank(self.latest):
                self.latest = state
                new.append(state)
            elif _rank(state) < 0 and code not in self._unknown and len(self._unknown) < 1000:
                self._unknown.add(code)  # the words may be long
                self.latest = self.latest or state
                new.append(state)
        if new:
            self._start_small()
        return new

    def _open(self) -> None:
        self._events = _Events(self._events.last_id, self._events.retry)
        # Where the deadline is near, time is left for a status call.
        attempt = self._deadline.nearer(min(self.ATTEMPT, self._deadline.remaining() / 2))
        try:
            self._stream = self._address.listen(self._events, attempt, self._deadline)
            self._stream_due = math.inf
        except JamsocketError as error:
            self._lose_stream(error)

    def _lose_stream(self, error: JamsocketError) -> None:
        """A stream's failure ends nothing: the status calls carry on."""
        self._note(error)
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        now = time.monotonic()
        pause = max(next(self._stream_pauses), min(self._events.retry, 5.0))
        if isinstance(error, RateLimitError):
            pause = max(pause, error.retry_after or 0.0)
        self._stream_due = now + pause
        is_refused = self.latest is None and _patience(error) == 0
        if is_refused or isinstance(error, JamsocketTimeout):
            self._status_due = now  # it goes before the next attempt
        elif self._told is not None:
            self._status_due = min(self._status_due, now + next(self._status_pauses))
        self._told, self._told_ready = None, math.inf

    def _listen(self, seconds: float) -> List[BackendState]:
        """The new states of what the stream tells within so many seconds."""
        if self._stream is None:
            time.sleep(min(seconds, 3600.0))
            return []
        try:
            events = self._stream.read(seconds)
        except JamsocketError as error:
            self._lose_stream(error)
            return []
        states = list(filter(None, map(_state_in, events)))
        for state in states:
            if self._told is None:
                self._status_due = self._asked + self.CHECK
            if not state.is_ready:
                self._told_ready = math.inf
            elif self._told_ready == math.inf:
                self._told_ready = time.monotonic()
                if self._waits:
                    self._status_due = self._told_ready
            self._told, self._patience = state, None
        return self._learn(states)

    def _ask(self) -> _Updates:
        """Makes the status call; what is here of the stream counts first."""
        self._asked, self._status_due = time.monotonic(), math.inf
        seconds = self.ATTEMPT * min(1 + self._failures, 3)  # it may be slow
        if self._told is not None and not self._waits:
            seconds = self.ATTEMPT  # a stream that tells is not kept waiting
        try:
            state = self._address.ask(self._deadline.nearer(seconds), fresh=True)
        except JamsocketError as error:
            yield self._listen(0.0)
            self._bear(error)
            yield []
            return
        new = self._listen(0.0) + self._learn([state])
        self._failures, self._patience = 0, None
        if state.is_ready:
            self.ready = state
        if self._told is not None and _rank(state) >= _rank(self._told):
            due = self._asked + self.CHECK
        else:
            due = time.monotonic() + next(self._status_pauses)
        self._status_due = min(self._status_due, due)
        yield new

    def _bear(self, error: JamsocketError) -> None:
        """Raises a failure of the status call, or has it made again."""
        self._failures += 1
        self._note(error)
        patience = _patience(error)
        if patience != self._patience:
            self._patience, self._borne_until = patience, self._asked + patience
        if self._asked >= self._borne_until:
            raise error
        due = time.monotonic() + next(self._status_pauses)
        settled = self._told_ready + 2.0  # then `ready` can count by itself
        is_404 = getattr(error, "status", 0) == 404
        # A call that our own deadline cut short after one that was answered has not failed.
        was_cut = self._failures == 1 and not self._deadline.remaining()
        if self._asked < settled:
            due = min(due, settled)
        elif not is_404 and not was_cut:
            self.ready = self._told
        if isinstance(error, RateLimitError):
            self._not_before = time.monotonic() + (error.retry_after or 0.0)
        # The last call falls on the end of the patience.
        self._status_due = min(self._status_due, due, self._borne_until)


def _state_in(event: str) -> Optional[BackendState]:
    """The state that an event holds; what holds another thing is passed over."""
    try:
        return _validated(BackendState, _json(event.encode("utf-8"), ""), "")
    except ProtocolError:
        return None


def _wait_until_ready(
    address: _Address, deadline: _Deadline, on_status: _OnStatus, connected: str
) -> BackendState:
    """Waits for a backend; `connected`: its status by the connect, or ""."""
    if connected in _ENDING:
        state = _ending_state(address, deadline, connected)
        if on_status is not None:
            on_status(state)
        raise _terminated(state)
    watch = _Watch(address, deadline, waits=True, ask_now=connected == "ready")
    with closing(watch.updates()) as updates:
        for new in updates:
            for state in new:
                if on_status is not None:
                    on_status(state)
            if watch.latest is not None and watch.latest.status in _ENDING:
                raise _terminated(watch.latest)
            if watch.ready is not None:
                return watch.ready
    raise watch.timeout()


def _ending_state(address: _Address, deadline: _Deadline, connected: str) -> BackendState:
    """What one status call tells of a backend that is ending, as is known."""
    known = BackendState.from_dict({"status": connected, "time": ""}, strict=False)
    with suppress(JamsocketError):
        state = address.ask(deadline.nearer(_Watch.ATTEMPT), fresh=True)
        if _rank(state) >= _rank(known):
            return state
    return known


def _terminated(state: BackendState) -> BackendTerminated:
    text = "the backend is " + state.status
    if state.termination_reason is not None:
        text += " (%s)" % _word(state.termination_reason)
    return BackendTerminated(text + ", so it will not become ready", state=state)


def _each_state(address: _Address, deadline: _Deadline) -> Generator[BackendState, None, None]:
    """Each state once, until `terminated`."""
    watch = _Watch(address, deadline, waits=False, ask_now=False)
    with closing(watch.updates()) as updates:
        for new in updates:
            for state in new:
                yield state
                if state.is_terminated:
                    return
    raise watch.timeout()


# ---- Clients ---------------------------------------------------------------------------------

_API_URL = "https://api.jamsocket.com"
_DEV_PORT = 8080

_RequestLike = Union[ConnectRequest, Mapping[str, Any], None]
_Backend = Union[ConnectResponse, str]
_Timeout = Optional[float]
_Env = Optional[Mapping[str, str]]


def _deadline(timeout: _Timeout, default: _Timeout = None) -> _Deadline:
    """The deadline of a call that begins now. Without a timeout the default counts."""
    if timeout is None:
        timeout = math.inf if default is None else default
    expected = "timeout must be a number of seconds above 0, not "
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise ConfigurationError(expected + _kind(timeout))
    if not timeout > 0:
        raise ConfigurationError(expected + _amount(timeout))
    return _Deadline(min(timeout, 1e9))


def _setting(name: str, value: Any) -> str:
    """A setting as its plain value, "" for None."""
    if value is not None and not isinstance(value, str):
        raise ConfigurationError("%s must be a string, not %s" % (name, _kind(value)))
    return str.__str__(value or "")


def _needed(prefix: str, settings: Dict[str, Any]) -> List[str]:
    """The plain values of settings that must be there."""
    values = {name: _setting(name, value) for name, value in settings.items()}
    missing = [name for name, value in values.items() if not value]
    if missing:
        named = ", ".join("%s (%s)" % (name, prefix + name.upper()) for name in missing)
        raise ConfigurationError("missing: %s; pass it, or set the variable" % named)
    return list(values.values())


def _read_mapping(what: str, read: Callable[[], _T]) -> _T:
    """What is read of a caller's mapping. What that raises may hold a secret."""
    with suppress(Exception):
        return read()
    raise ConfigurationError("%s must be a mapping that can be read" % what)


def _as_request(request: Any) -> ConnectRequest:
    if request is None:
        return ConnectRequest()
    if _is(request, _MappingABC):
        return ConnectRequest.from_dict(request)
    return ConnectRequest._instance(request)


def _fields_of(backend: Any) -> Dict[str, Any]:
    """What is known of a backend, by the names of a ConnectResponse's fields."""
    if isinstance(backend, str):
        text = str.__str__(backend)
        return {"status_url" if "://" in text else "backend_id": text}
    with suppress(ValidationError):
        return ConnectResponse._instance(backend).to_dict()
    raise TypeError("backend must be a ConnectResponse or a string, not " + _kind(backend))


def _check_callback(on_status: Any) -> None:
    if on_status is not None and not callable(on_status):
        raise TypeError("on_status must be a function, not " + _kind(on_status))


def _backend_secrets(known: Dict[str, Any]) -> List[Any]:
    """The tokens, and what follows the origin in the urls that let one in."""
    paths = [known.get(name, "").split("/", 3)[3:] for name in ("url", "ready_url")]
    return [known.get("token"), known.get("secret_token"), paths]


def _checked_headers(headers: Any) -> Dict[str, str]:
    """A copy of the headers that a client is to send."""
    own = "host connection content-length content-type transfer-encoding accept-encoding"
    checked: Dict[str, str] = {}
    given = _read_mapping("headers", lambda: {} if headers is None else _mapping(headers, ()))
    for name, value in given.items():
        is_name = re.match(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z", name)
        is_value = isinstance(value, str) and re.match(r"[\x20-\x7e]*\Z", value)
        if not is_name or not is_value or name.lower() in own.split():
            raise ConfigurationError("headers must be of visible ASCII, and none of these: " + own)
        checked[name] = str.__str__(value)
    return checked


class _Client:
    """What the clients share. `headers` are secrets."""

    _endpoints: Dict[str, str]
    _service = ""  # as it stands in a path
    _public: Tuple[str, ...] = ("status", "stream")  # calls without credentials
    # Where a ConnectResponse is asked for: at the client's own url, or at its status url.
    _asks_at_own_url = False

    def __init__(self, url: Any, headers: Any, timeout: Any, ssl_context: Any) -> None:
        _deadline(timeout)
        self._url: _Url = url
        self._timeout = timeout
        self._headers = _checked_headers(headers)
        scheme = "(?i)^(bearer|basic) +"  # is no secret
        self._secrets = [re.sub(scheme, "", value) for value in self._headers.values()]
        self._ssl_context = ssl_context
        if ssl_context is not None:
            _verifying_context(ssl_context)

    def __repr__(self) -> str:
        return "<%s at %s>" % (type(self).__name__, self._url.origin)

    def connect(self, request: _RequestLike = None, *, timeout: _Timeout = None) -> ConnectResponse:
        """Starts a backend, or takes the one that holds the request's key. Sent once.

        After a NetworkError, ProtocolError or JamsocketTimeout one may have been started.
        """
        deadline = _deadline(timeout, self._timeout)
        return self._connect(_as_request(request), deadline)

    def status(self, backend: _Backend, *, timeout: _Timeout = None) -> BackendState:
        """The state of a backend, given as its ConnectResponse, its id or its status url."""
        deadline = _deadline(timeout, self._timeout)
        return self._address(_fields_of(backend)).ask(deadline)

    def status_stream(
        self, backend: _Backend, *, timeout: _Timeout = None
    ) -> Generator[BackendState, None, None]:
        """Yields each state once, as soon as it is known, and ends after `terminated`.

        It begins with the states so far, and bears what `wait_until_ready` does.
        """
        deadline = _deadline(timeout)
        return _each_state(self._address(_fields_of(backend)), deadline)

    def wait_until_ready(
        self, backend: _Backend, *, timeout: _Timeout = 60.0, on_status: _OnStatus = None
    ) -> BackendState:
        """Returns the `ready` state as soon as the platform tells it.

        `on_status` is called with each new state, in order; what it raises ends the wait.
        BackendTerminated is raised as soon as the backend cannot become ready any more. Lost
        connections, 408, 429 and 5xx are borne until the deadline, an answer that is not the
        API's for five seconds, 404 for two, and any other error not at all.
        """
        deadline = _deadline(timeout)
        _check_callback(on_status)
        known = _fields_of(backend)
        return _wait_until_ready(self._address(known), deadline, on_status, known.get("status", ""))

    def connect_and_wait(
        self, request: _RequestLike = None, *, timeout: _Timeout = 60.0, on_status: _OnStatus = None
    ) -> ConnectResponse:
        """Connects, waits until the backend is ready, and returns the connect's answer.

        Where the key's backend is on its way out, it connects again, until a new one is started.
        (Right after a `terminate` the platform may still call the old one ready; read its
        `status_stream` to the end before.) An error has the answer to the last connect as
        `response`; BackendTerminated is about a backend that this call started.
        """
        deadline = _deadline(timeout)
        _check_callback(on_status)
        wanted, pauses = _as_request(request), _pauses(0.1, 2.0)
        response, state = None, None
        told: Set[Tuple[str, str]] = set()

        def tell(state: BackendState) -> None:
            known = (response.backend_id if response else "", state.status)
            if on_status is not None and known not in told:
                told.add(known)  # the same backend may be met again and again
                on_status(state)

        while True:
            try:
                if state is not None and not deadline.remaining():
                    raise JamsocketTimeout("the deadline passed; the key's backend is still ending")
                response = self._connect(wanted, deadline)
                _wait_until_ready(
                    self._address(_fields_of(response)), deadline, tell, response.status
                )
                return response
            except JamsocketError as error:
                error.response = response
                if isinstance(error, JamsocketTimeout) and error.last_state is None:
                    error.last_state = state
                if not isinstance(error, BackendTerminated) or response is None or response.spawned:
                    raise
                state = error.state
            time.sleep(min(next(pauses), deadline.remaining()))

    def terminate(self, backend: _Backend, *, hard: bool = False, timeout: _Timeout = None) -> None:
        """Ends a backend: softly, with time to clean up, or `hard`. Sent once.

        It returns before the state changes.
        """
        deadline = _deadline(timeout, self._timeout)
        if type(hard) is not bool:
            raise TypeError("hard must be True or False, not " + _kind(hard))
        known, how = _fields_of(backend), "hard" if hard else "soft"
        if "backend_id" not in known:
            known["backend_id"] = _id_in(_Url(known["status_url"], "backend"))
        segments = {"backend": _segment(known["backend_id"]), "how": how}
        # Where the path does not say how, the document does.
        document = None if "{how}" in self._endpoints["terminate"] else {"hard": hard}
        request = self._request("terminate", _backend_secrets(known), document, **segments)
        _fetch(request, deadline)

    def _document(self, request: ConnectRequest) -> Dict[str, Any]:
        """A request in the platform's words."""
        return request.to_dict()

    def _connect(self, request: ConnectRequest, deadline: _Deadline) -> ConnectResponse:
        executable = getattr(request.spawn, "executable", None)
        secrets = [request.auth, getattr(executable, "env", None)]
        sent = self._request("connect", secrets, self._document(request))
        answer, _ = _fetch(sent, deadline)
        return _validated(ConnectResponse, answer, self._url.origin)

    def _address(self, known: Dict[str, Any]) -> _Address:
        secrets = _backend_secrets(known)
        if "backend_id" in known and (self._asks_at_own_url or "status_url" not in known):
            segment = _segment(known["backend_id"])
            status = self._request("status", secrets, backend=segment)
            return _Address(status, self._request("stream", secrets, backend=segment))
        url = _Url(known["status_url"], "status_url")
        status = self._request_to("status", url, secrets)
        return _Address(status, self._request_to("stream", _stream_url(url), secrets))

    def _request(
        self, call: str, secrets: Any, document: Any = None, query: Any = None, **segments: str
    ) -> _HttpRequest:
        """A request of a call at the client's own url; the segments fill in its path."""
        path = self._endpoints[call].split()[1].format(service=self._service, **segments)
        return self._request_to(call, self._url.extended(path, query), secrets, document)

    def _request_to(self, call: str, url: _Url, secrets: Any, document: Any = None) -> _HttpRequest:
        method = self._endpoints[call].split()[0]
        headers = {"Accept": "application/json", "Cache-Control": "no-cache"}
        headers["User-Agent"] = "jamsocket-lite/" + __version__  # edges refuse urllib's
        if url.origin == self._url.origin and call not in self._public:
            headers.update(self._headers)
        request = _HttpRequest(method, url, headers, [secrets, self._secrets, url.query])
        request.document, request.ssl_context = document, self._ssl_context
        if method == "POST":
            headers["Content-Type"] = "application/json"
        return request


class Jamsocket(_Client):
    """A client of the hosted platform, or of its dev server. Threads may share it.

    `account`, `service` (`"name"` or `"name/environment"`) and `token` are needed, but for
    `dev=True`: the dev server on this machine, at `port`. `ssl_context`: for a private authority.

    A `timeout` is a whole call's, in seconds. None is the client's for `connect`, `status` and
    `terminate`, and no deadline for the others. A setting that makes no sense is a
    ConfigurationError, a request that the platform would refuse a ValidationError, and a backend
    that is unknown, or gone, an HTTPError with status 404. Each call may raise the other errors.
    """

    _endpoints = _JAMSOCKET_ENDPOINTS

    def __init__(
        self,
        account: Optional[str] = None,
        service: Optional[str] = None,
        token: Optional[str] = None,
        *,
        dev: bool = False,
        port: int = _DEV_PORT,
        api_url: str = _API_URL,
        timeout: float = 60.0,
        ssl_context: _SslContext = None,
    ) -> None:
        if type(dev) is not bool:
            raise ConfigurationError("dev must be True or False, not " + _kind(dev))
        if not _is_integer(port):
            raise ConfigurationError("port must be an integer, not " + _kind(port))
        if not 0 < port < 65536:
            raise ConfigurationError("port must be from 1 to 65535, not " + _amount(port))
        if dev and _setting("api_url", api_url) != _API_URL:
            raise ConfigurationError("api_url has no effect with dev=True")
        if not dev and port != _DEV_PORT:
            raise ConfigurationError("port has no effect without dev=True")
        if dev:
            account = service = token = "-"
            api_url = "http://localhost:%d" % port
        given = {"account": account, "service": service, "token": token}
        account, service, token = _needed("JAMSOCKET_", given)
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ConfigurationError("token must be of visible ASCII characters")
        names = [account, *service.split("/")]
        if len(names) > 3:
            raise ConfigurationError("service must be name or name/environment")
        self._service = "/".join(_segment(name) for name in names)
        url = _Url(_setting("api_url", api_url), "api_url")
        super().__init__(url, {"Authorization": "Bearer " + token}, timeout, ssl_context)

    @classmethod
    def from_env(cls, env: _Env = None) -> "Jamsocket":
        """A client by the environment; `env` stands in for os.environ.

        JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE, JAMSOCKET_TOKEN and, where set, JAMSOCKET_API_URL; or,
        with JAMSOCKET_DEV=true, JAMSOCKET_DEV_PORT (8080).
        """
        return cls(**_jamsocket_settings(env))


class Plane(_Client):
    """A client of a self-hosted Plane controller, with the methods of Jamsocket.

    `image`: the backends' container image; a request's `tag` replaces its tag. `pool`: the drones
    that may run them. `namespace`: what their keys are unique in. `headers`: for a reverse proxy
    before the controller; they are secrets, sent to its origin alone.
    """

    _endpoints = _PLANE_ENDPOINTS
    _asks_at_own_url = True  # a controller may not know where it can be reached
    _public = ()  # what stands before it may want headers always

    def __init__(
        self,
        url: str = "http://localhost:8080",
        *,
        image: str,
        pool: Optional[str] = None,
        namespace: Optional[str] = None,
        timeout: float = 60.0,
        ssl_context: _SslContext = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> None:
        url, self._image = _needed("PLANE_", {"url": url, "image": image})
        self._pool, self._namespace = _setting("pool", pool), _setting("namespace", namespace)
        super().__init__(_Url(url, "url"), headers, timeout, ssl_context)

    @classmethod
    def from_env(cls, env: _Env = None) -> "Plane":
        """A client by the environment; `env` stands in for os.environ.

        PLANE_URL, PLANE_IMAGE and, where set, PLANE_POOL, PLANE_NAMESPACE and PLANE_AUTHORIZATION
        (the Authorization header for what stands before the controller).
        """
        return cls(**_plane_settings(env))

    def _document(self, request: ConnectRequest) -> Dict[str, Any]:
        if request.user is not None and len(request.user) > 255:
            # Plane answers 500, but leaves a backend behind that holds the key.
            raise _invalid(("user",), "must have at most 255 characters on Plane")
        document = request.to_dict()
        key, spawn = document.pop("key", None), document.pop("spawn", None)
        if key is not None:
            document["key"] = {"name": key}
            if self._namespace:
                document["key"]["namespace"] = self._namespace
        if spawn is False:
            return document
        config: Dict[str, Any] = spawn if isinstance(spawn, dict) else {}
        image, tag = self._image, config.pop("tag", None)
        if tag is not None:
            image = re.sub(r"(:[^/@]*)?(@.*)?\Z", "", image)
            image += ("@" if tag.startswith("sha256:") else ":") + tag
        config["executable"] = {"image": image, **config.get("executable", {})}
        if self._pool:
            config["pool"] = self._pool
        document["spawn_config"] = config
        return document


# ---- Functions -------------------------------------------------------------------------------


def _variables(env: _Env, prefix: str, *names: str) -> Dict[str, Any]:
    """The variables of these names that are set, and not empty."""
    source = os.environ if env is None else env
    found = _read_mapping(
        "env", lambda: {name: source.get(prefix + name.upper()) for name in names}
    )
    settings = {name: _setting(prefix + name.upper(), value) for name, value in found.items()}
    return {name: value for name, value in settings.items() if value}


def _jamsocket_settings(env: _Env) -> Dict[str, Any]:
    names = ("dev", "dev_port", "account", "service", "token", "api_url")
    settings = _variables(env, "JAMSOCKET_", *names)
    dev, port = settings.pop("dev", "false").lower(), settings.pop("dev_port", str(_DEV_PORT))
    if dev not in ("true", "false"):
        raise ConfigurationError("JAMSOCKET_DEV must be true or false, not " + _word(dev))
    if dev == "false":
        return settings
    if not re.match(r"[0-9]{1,5}\Z", port):
        raise ConfigurationError("JAMSOCKET_DEV_PORT must be an integer from 1 to 65535")
    return {"dev": True, "port": int(port)}


def _plane_settings(env: _Env) -> Dict[str, Any]:
    names = ("url", "image", "pool", "namespace", "authorization")
    settings = {"url": "", "image": "", **_variables(env, "PLANE_", *names)}
    if "authorization" in settings:
        settings["headers"] = {"Authorization": settings.pop("authorization")}
    return settings


def _client_from_env(**options: Any) -> _Client:
    """Plane, where it alone is set up; else Jamsocket."""
    names = ("JAMSOCKET_DEV", "JAMSOCKET_ACCOUNT", "JAMSOCKET_SERVICE", "JAMSOCKET_TOKEN")
    if os.environ.get("PLANE_URL") and not any(os.environ.get(name) for name in names):
        return Plane(**_plane_settings(None), **options)
    return Jamsocket(**_jamsocket_settings(None), **options)


def connect(
    request: _RequestLike = None,
    *,
    account: Optional[str] = None,
    service: Optional[str] = None,
    token: Optional[str] = None,
    dev: bool = False,
    port: int = _DEV_PORT,
    api_url: str = _API_URL,
    timeout: float = 60.0,
    ssl_context: _SslContext = None,
) -> ConnectResponse:
    """`connect` of a client that is made for this call.

    It is made of the arguments or, without credentials and `dev`, of the environment: as
    Jamsocket.from_env does, or Plane.from_env where PLANE_URL is set and no Jamsocket variable.
    """
    options: Dict[str, Any] = {"timeout": timeout, "ssl_context": ssl_context}
    if not dev and account is None and service is None and token is None:
        if api_url != _API_URL or port != _DEV_PORT:
            raise ConfigurationError("api_url and port have no effect without credentials")
        client = _client_from_env(**options)
    else:
        client = Jamsocket(account, service, token, dev=dev, port=port, api_url=api_url, **options)
    return client.connect(request)


def wait_until_ready(
    backend: _Backend,
    *,
    timeout: _Timeout = 60.0,
    on_status: _OnStatus = None,
    ssl_context: _SslContext = None,
) -> BackendState:
    """Jamsocket.wait_until_ready for a ConnectResponse or a status url, without credentials."""
    if "status_url" not in _fields_of(backend):
        raise ConfigurationError("backend must have a status url; only a client can take an id")
    client = Jamsocket(dev=True, ssl_context=ssl_context)
    return client.wait_until_ready(backend, timeout=timeout, on_status=on_status)


# ---- Command line ----------------------------------------------------------------------------

_HELP = """\
Start Jamsocket session backends, wait for them, watch and end them.

Credentials come from the environment: JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE,
JAMSOCKET_TOKEN (and JAMSOCKET_API_URL); or JAMSOCKET_DEV=true (and
JAMSOCKET_DEV_PORT) for a dev server on this machine; or PLANE_URL and
PLANE_IMAGE (and PLANE_POOL, PLANE_NAMESPACE, PLANE_AUTHORIZATION) for a
self-hosted Plane. BACKEND is a backend's id, or its status url, which needs
no credentials.
"""
_EPILOG = """\
example:
  url=$(%(prog)s connect --key board-42 --wait --format url)
  curl "$url"
exit status:
  0 done                        1 the platform's or the network's error
  2 usage, configuration, data  3 refused credentials
  4 deadline passed             5 the backend terminated
  130 interrupted
"""
_EXIT_STATUSES: Dict[type, int] = {ValidationError: 2, ConfigurationError: 2}
_EXIT_STATUSES.update({AuthenticationError: 3, JamsocketTimeout: 4, BackendTerminated: 5})


def _parser() -> "argparse.ArgumentParser":
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            # The value that it quotes may be a secret.
            problem = re.sub(r":? ['\"].*", "", message, flags=re.DOTALL)
            raise ConfigurationError("%s; see %s --help" % (problem, self.prog))

        def _print_message(self, message: str, file: Any = None) -> None:
            _show(message.rstrip("\n"))

    parser = Parser(
        prog=os.path.basename("".join(sys.argv[:1])) or "jamsocket-lite",  # GraalPy has no argv
        description=_HELP,
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    quiet = "no progress on standard error"
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--quiet", action="store_true", help=quiet)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # An option of a command that is not given does not hide one that stands before the command.
    unset: Dict[str, Any] = {"allow_abbrev": False, "argument_default": argparse.SUPPRESS}

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, **unset)
        command.add_argument("--quiet", action="store_true", help=quiet)
        if name in ("connect", "wait", "stream"):
            text = "seconds for all of it (%(default)s)"
            command.add_argument("--timeout", metavar="S", type=float, default=60.0, help=text)
        if name != "connect":
            command.add_argument("backend", metavar="BACKEND", help="its id or its status url")
        return command

    _add_connect_options(add("connect", "start a backend, or find the one that holds a key"))
    add("wait", "wait until it is ready; print its state")
    add("status", "print its state")
    stream = add("stream", "print each of its states as a line, until it is terminated")
    stream.set_defaults(timeout=None)
    terminate = add("terminate", "end it")
    terminate.add_argument("--hard", action="store_true", default=False, help="at once")
    return parser


def _add_connect_options(parser: "argparse.ArgumentParser") -> None:
    add = parser.add_argument
    add("--key", metavar="K", help="the key that the backend holds")
    add("--no-spawn", dest="spawn", action="store_false", help="only find one, never start one")
    add("--tag", metavar="T", help="the image's tag")
    add("--cluster", metavar="C", help="where to run it")
    add("--env", metavar="NAME=VALUE", action="append", help="a variable for it; repeatable")
    add("--max-idle-seconds", metavar="N", type=int, help="end it once unused for so long")
    add("--lifetime-limit-seconds", metavar="N", type=int, help="end it after so long")
    add("--user", metavar="U", help="who will use it")
    add("--auth", metavar="JSON", help="an object that is handed to the backend")
    add("--request", metavar="JSON", help="all of these; - reads it from standard input")
    add("--wait", action="store_true", default=False, help="wait until it is ready")
    add("--format", choices=("json", "url"), default="json", help="all of the answer, or its url")


def _asked_for(args: "argparse.Namespace") -> ConnectRequest:
    """The request that the options of `connect` make."""

    def given(*names: str) -> Dict[str, Any]:
        return {name: value for name, value in vars(args).items() if name in names}

    request = given("key", "spawn", "user")
    spawn = given("tag", "cluster", "max_idle_seconds", "lifetime_limit_seconds")
    if "env" in args:
        if not all("=" in pair for pair in args.env):
            raise ConfigurationError("--env must be NAME=VALUE")
        spawn["executable"] = {"env": dict(pair.split("=", 1) for pair in args.env)}
    if spawn and "spawn" in request:
        raise ConfigurationError("--no-spawn does not go with options that say how to spawn")
    if spawn:
        request["spawn"] = spawn
    if "auth" in args:
        request["auth"] = _parsed("--auth", args.auth)
    if "request" in args:
        if request:
            raise ConfigurationError("--request does not go with options that make a request")
        text = _standard_input() if args.request == "-" else args.request
        request = _parsed("--request", text)
    return ConnectRequest.from_dict(request)


def _parsed(option: str, text: Union[str, bytes]) -> Any:
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogateescape")
    with suppress(ProtocolError):
        return _json(text, option)
    raise ConfigurationError("%s must be JSON in UTF-8" % option)


def _standard_input() -> Union[str, bytes]:
    """All of it, if possible as bytes: a request is UTF-8 whatever the locale."""
    stream: Any = sys.stdin
    with suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
        return getattr(stream, "buffer", stream).read()  # type: ignore[no-any-return]
    raise ConfigurationError("--request - needs standard input, which cannot be read")


def _write(stream: Any, text: str) -> None:
    """Writes at once: what a buffer keeps may fail when the process ends."""
    if stream is None:  # closed, or a program without a console
        return
    encoding = getattr(stream, "encoding", None) or "ascii"
    data = text.encode(encoding, "backslashreplace")
    try:
        stream.flush()
        descriptor = stream.fileno()
    except (AttributeError, io.UnsupportedOperation):  # a program's own stream
        stream.write(data.decode(encoding))
        return
    while data:
        data = data[os.write(descriptor, data) :]


def _show(answer: Union[_Record, str]) -> None:
    """A line on standard output. Raises JamsocketError where that takes no more."""
    import json

    if isinstance(answer, _Record):
        answer = json.dumps(answer.to_dict())
    try:
        _write(sys.stdout, answer + "\n")
    except BrokenPipeError:  # who read it has left
        raise JamsocketError from None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", "it is closed")
        raise JamsocketError("cannot write to standard output: %s" % problem) from None


def _tell(text: str) -> None:
    """Words on standard error. Where that does not take them, nothing is lost."""
    with suppress(OSError, ValueError):
        _write(sys.stderr, text)


@contextmanager
def _progress(quiet: bool) -> Generator[_OnStatus, None, None]:
    """Tells each status on standard error: a terminal has them in one place."""
    redraws = bool(getattr(sys.stderr, "isatty", bool)())
    form = "\rbackend: %-40s" if redraws else "backend: %s\n"
    told = []

    def tell(state: BackendState) -> None:
        told.append(state.status)
        _tell(form % _word(state.status))

    try:
        yield None if quiet else tell
    finally:
        if redraws and told:
            _tell("\n")


def _run(args: "argparse.Namespace") -> None:
    client: _Client = Jamsocket(dev=True)  # which can ask at a status url
    try:
        client = _client_from_env()
    except ConfigurationError:
        if args.command == "terminate" or "://" not in getattr(args, "backend", ""):
            raise
    if args.command == "connect":
        _run_connect(args, client)
    elif args.command == "wait":
        with _progress(args.quiet) as progress:
            state = client.wait_until_ready(args.backend, timeout=args.timeout, on_status=progress)
        _show(state)
    elif args.command == "status":
        _show(client.status(args.backend))
    elif args.command == "stream":
        with closing(client.status_stream(args.backend, timeout=args.timeout)) as states:
            for state in states:
                _show(state)
    else:
        client.terminate(args.backend, hard=args.hard)


def _run_connect(args: "argparse.Namespace", client: _Client) -> None:
    timeout = args.timeout
    _deadline(timeout)  # a wrong one is told before standard input is read
    request = _asked_for(args)
    if args.wait:
        with _progress(args.quiet) as progress:
            response = client.connect_and_wait(request, timeout=timeout, on_status=progress)
    else:
        response = client.connect(request, timeout=timeout)
    try:
        if args.format == "json":
            _show(response)
        elif re.match(r"(?i)https?://[^/?#][\x21-\x7e]*\Z", response.url):
            _show(response.url)
        else:
            raise ProtocolError("the platform sent a url that is none: not http, or not ASCII")
    except JamsocketError as error:
        error.response = response
        raise


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The command line; returns the exit status. `argv`: the arguments, not the process's."""
    try:
        args, others = _parser().parse_known_args(argv)
        if others:  # without values: one may be a token
            names = [other.partition("=")[0] for other in others if other.startswith("--")]
            raise ConfigurationError(" ".join(["unknown arguments", *names, "(see --help)"]))
        _run(args)
        return 0
    except KeyboardInterrupt:
        text, status = "interrupted", 130
    except JamsocketError as error:
        text, status = str(error), _EXIT_STATUSES.get(type(error), 1)
        if text and error.response is not None:  # to find it, and end it
            text = "backend %s: %s" % (error.response.backend_id, text)
    if text:
        _tell("jamsocket-lite: %s\n" % _printable(text))
    return status


if __name__ == "__main__":
    sys.exit(main())
