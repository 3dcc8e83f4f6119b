"""Jamsocket from Python, in one file, with the standard library alone. Copy it beside your code.

Made by `make stub`: what type checkers and editors read where jamsocket_lite is installed.
"""

import ssl
from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    Literal,
    Mapping,
    Optional,
    Sequence,
    Type,
    TypeVar,
    Union,
)

__version__: str
__all__ = ["Jamsocket", "Plane", "connect", "wait_until_ready"]
__all__ += ["ConnectRequest", "SpawnConfig", "Executable", "ResourceLimits"]
__all__ += ["ConnectResponse", "BackendState"]
__all__ += ["BackendStatus", "TerminationKind", "TerminationReason"]
__all__ += ["JamsocketError", "ValidationError", "ConfigurationError", "NetworkError"]
__all__ += ["ProtocolError", "HTTPError", "AuthenticationError", "RateLimitError"]
__all__ += ["JamsocketTimeout", "BackendTerminated"]
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

class JamsocketError(Exception):
    """The base of all. No text of theirs shows a secret."""
    response: 'Optional[ConnectResponse]'  # of `connect_and_wait`
    def __init__(self, message: str = "", **carried: Any) -> None: ...
    def __reduce__(self) -> Any: ...

class ValidationError(JamsocketError, ValueError):
    """Data that breaks the types' rules."""
    path: str  # where: `spawn.executable.env.PATH`, `auth.roles[0]`

class ConfigurationError(JamsocketError, ValueError):
    """Missing or malformed settings; https without `ssl`."""

class NetworkError(JamsocketError, OSError):
    """No whole answer: refused, reset, cut short, TLS."""

class ProtocolError(JamsocketError):
    """An answer that is not the API's."""

class HTTPError(JamsocketError):
    """The server answered with status 400 or above."""
    status: int
    code: Optional[str]  # the platform's; Plane's `kind`
    request_id: Optional[str]
    retry_after: Optional[float]  # seconds

class AuthenticationError(HTTPError):
    """Status 401, 403 or 407: the credentials were refused."""

class RateLimitError(HTTPError):
    """Status 429: too many requests."""

class JamsocketTimeout(JamsocketError, TimeoutError):
    """The deadline passed, in whatever phase."""
    last_state: 'Optional[BackendState]'  # that a wait or a stream saw

class BackendTerminated(JamsocketError):
    """The backend is ending or has ended, so it will never be ready."""
    state: 'BackendState'
_R = TypeVar("_R", bound="_Record")
_A = TypeVar("_A", bound="_Answer")

class _Record:
    """What the six types share."""
    def __post_init__(self) -> None: ...
    @classmethod
    def from_dict(cls: Type[_R], data: Mapping[str, Any]) -> _R:
        """Checks every field and copies what it keeps. Raises ValidationError."""
    def to_dict(self) -> Dict[str, Any]:
        """A copy for `json.dumps`, without the fields that are None."""
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __repr__(self) -> str: ...

class _Answer(_Record):
    """What the platform sends."""
    @classmethod
    def from_dict(cls: Type[_A], data: Mapping[str, Any], *, strict: bool = True) -> _A:
        """Checks every field and copies what it keeps. Raises ValidationError.

        `strict` refuses unknown words, and termination fields that do not fit the status.
        """

@dataclass(frozen=True, repr=False, eq=False)
class ResourceLimits(_Record):
    """What a backend may use, in integers from 0: memory and disk in bytes.

    Of each `cpu_period` (microseconds) it may use `cpu_period_percent` (100 is one whole core, 255
    the most), and `cpu_time_limit` (seconds) in all.
    """
    cpu_period: Optional[int] = None
    cpu_period_percent: Optional[int] = None
    cpu_time_limit: Optional[int] = None
    memory_limit_bytes: Optional[int] = None
    disk_limit_bytes: Optional[int] = None

@dataclass(frozen=True, repr=False, eq=False)
class Executable(_Record):
    """What runs: its mount (a name, or whether there is one), its environment, its limits.

    Treat `env` as read-only. The platform itself sets `PORT`, `SESSION_BACKEND_ID`,
    `SESSION_BACKEND_KEY`, `SESSION_BACKEND_FENCING_TOKEN` and `JAMSOCKET_SERVICE`.
    """
    mount: Optional[Union[str, bool]] = None
    env: Optional[Mapping[str, str]] = None
    resource_limits: Optional[ResourceLimits] = None

@dataclass(frozen=True, repr=False, eq=False)
class SpawnConfig(_Record):
    """How a backend is started: the image's `tag`, the `cluster`, how long it may live and idle.

    The two limits are whole seconds up to 2**31 - 1. Where `spawn` is not a SpawnConfig, the
    platform ends a backend that idles for 300 seconds.
    """
    tag: Optional[str] = None
    cluster: Optional[str] = None
    lifetime_limit_seconds: Optional[int] = None
    max_idle_seconds: Optional[int] = None
    executable: Optional[Executable] = None

@dataclass(frozen=True, repr=False, eq=False)
class ConnectRequest(_Record):
    """Which backend is wanted: the one that holds the `key` (1 to 128 characters), else a new one.

    `spawn`: how to start it, or False, with a key, never to. `user` and `auth` are handed to the
    backend; `auth` is what JSON can carry. Treat it as read-only.
    """
    key: Optional[str] = None
    spawn: Optional[Union[bool, SpawnConfig]] = None
    user: Optional[str] = None
    auth: Optional[Mapping[str, Any]] = None

@dataclass(frozen=True, repr=False, eq=False)
class ConnectResponse(_Answer):
    """A backend to talk to. The tokens and the paths of its urls are secrets."""
    backend_id: str
    spawned: bool  # by this call
    status: BackendStatus
    token: str
    url: str
    status_url: str
    ready_url: str = ''  # for browsers
    secret_token: Optional[str] = None

@dataclass(frozen=True, repr=False, eq=False)
class BackendState(_Answer):
    """A backend's status since `time` (ISO 8601) and, where it ends, why."""
    status: BackendStatus
    time: str
    termination_reason: Optional[TerminationReason] = None
    termination_kind: Optional[TerminationKind] = None
    exit_error: Optional[bool] = None
    @property
    def is_ready(self) -> bool:
        """Whether it can be used."""
    @property
    def is_terminated(self) -> bool:
        """Whether it has ended, not only begun to."""
_SslContext = Optional["ssl.SSLContext"]
_OnStatus = Optional[Callable[[BackendState], None]]
_API_URL = "https://api.jamsocket.com"
_DEV_PORT = 8080
_RequestLike = Union[ConnectRequest, Mapping[str, Any], None]
_Backend = Union[ConnectResponse, str]
_Timeout = Optional[float]
_Env = Optional[Mapping[str, str]]

class _Client:
    """What the clients share. `headers` are secrets."""
    def __init__(self, url: Any, headers: Any, timeout: Any, ssl_context: Any) -> None: ...
    def __repr__(self) -> str: ...
    def connect(self, request: _RequestLike = None, *, timeout: _Timeout = None) -> ConnectResponse:
        """Starts a backend, or takes the one that holds the request's key. Sent once.

        After a NetworkError, ProtocolError or JamsocketTimeout one may have been started.
        """
    def status(self, backend: _Backend, *, timeout: _Timeout = None) -> BackendState:
        """The state of a backend, given as its ConnectResponse, its id or its status url."""
    def status_stream(
        self, backend: _Backend, *, timeout: _Timeout = None
    ) -> Generator[BackendState, None, None]:
        """Yields each state once, as soon as it is known, and ends after `terminated`.

        It begins with the states so far, and bears what `wait_until_ready` does.
        """
    def wait_until_ready(
        self, backend: _Backend, *, timeout: _Timeout = 60.0, on_status: _OnStatus = None
    ) -> BackendState:
        """Returns the `ready` state as soon as the platform tells it.

        `on_status` is called with each new state, in order; what it raises ends the wait.
        BackendTerminated is raised as soon as the backend cannot become ready any more. Lost
        connections, 408, 429 and 5xx are borne until the deadline, an answer that is not the
        API's for five seconds, 404 for two, and any other error not at all.
        """
    def connect_and_wait(
        self, request: _RequestLike = None, *, timeout: _Timeout = 60.0, on_status: _OnStatus = None
    ) -> ConnectResponse:
        """Connects, waits until the backend is ready, and returns the connect's answer.

        Where the key's backend is on its way out, it connects again, until a new one is started.
        (Right after a `terminate` the platform may still call the old one ready; read its
        `status_stream` to the end before.) An error has the answer to the last connect as
        `response`; BackendTerminated is about a backend that this call started.
        """
    def terminate(self, backend: _Backend, *, hard: bool = False, timeout: _Timeout = None) -> None:
        """Ends a backend: softly, with time to clean up, or `hard`. Sent once.

        It returns before the state changes.
        """

class Jamsocket(_Client):
    """A client of the hosted platform, or of its dev server. Threads may share it.

    `account`, `service` (`"name"` or `"name/environment"`) and `token` are needed, but for
    `dev=True`: the dev server on this machine, at `port`. `ssl_context`: for a private authority.

    A `timeout` is a whole call's, in seconds. None is the client's for `connect`, `status` and
    `terminate`, and no deadline for the others. A setting that makes no sense is a
    ConfigurationError, a request that the platform would refuse a ValidationError, and a backend
    that is unknown, or gone, an HTTPError with status 404. Each call may raise the other errors.
    """
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
    ) -> None: ...
    @classmethod
    def from_env(cls, env: _Env = None) -> "Jamsocket":
        """A client by the environment; `env` stands in for os.environ.

        JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE, JAMSOCKET_TOKEN and, where set, JAMSOCKET_API_URL; or,
        with JAMSOCKET_DEV=true, JAMSOCKET_DEV_PORT (8080).
        """

class Plane(_Client):
    """A client of a self-hosted Plane controller, with the methods of Jamsocket.

    `image`: the backends' container image; a request's `tag` replaces its tag. `pool`: the drones
    that may run them. `namespace`: what their keys are unique in. `headers`: for a reverse proxy
    before the controller; they are secrets, sent to its origin alone.
    """
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
    ) -> None: ...
    @classmethod
    def from_env(cls, env: _Env = None) -> "Plane":
        """A client by the environment; `env` stands in for os.environ.

        PLANE_URL, PLANE_IMAGE and, where set, PLANE_POOL, PLANE_NAMESPACE and PLANE_AUTHORIZATION
        (the Authorization header for what stands before the controller).
        """

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

def wait_until_ready(
    backend: _Backend,
    *,
    timeout: _Timeout = 60.0,
    on_status: _OnStatus = None,
    ssl_context: _SslContext = None,
) -> BackendState:
    """Jamsocket.wait_until_ready for a ConnectResponse or a status url, without credentials."""

def main(argv: Optional[Sequence[str]] = None) -> int:
    """The command line; returns the exit status. `argv`: the arguments, not the process's."""
