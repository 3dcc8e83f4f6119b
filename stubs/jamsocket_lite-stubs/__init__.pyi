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
    """What a backend may use: microseconds, seconds, bytes; 100 percent is a core."""
    cpu_period: Optional[int] = None
    cpu_period_percent: Optional[int] = None
    cpu_time_limit: Optional[int] = None
    memory_limit_bytes: Optional[int] = None
    disk_limit_bytes: Optional[int] = None

@dataclass(frozen=True, repr=False, eq=False)
class Executable(_Record):
    """What runs. `env` is read-only; the platform adds `PORT` and others."""
    mount: Optional[Union[str, bool]] = None
    env: Optional[Mapping[str, str]] = None
    resource_limits: Optional[ResourceLimits] = None

@dataclass(frozen=True, repr=False, eq=False)
class SpawnConfig(_Record):
    """How a backend is started, and when it is ended again."""
    tag: Optional[str] = None
    cluster: Optional[str] = None
    lifetime_limit_seconds: Optional[int] = None
    max_idle_seconds: Optional[int] = None
    executable: Optional[Executable] = None

@dataclass(frozen=True, repr=False, eq=False)
class ConnectRequest(_Record):
    """Which backend is wanted: the one that holds the `key`, else a new one.

    `spawn`: how, or False: never. `user` and `auth` (JSON, read-only) are handed to it.
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

class _Client:
    """What the clients share. `headers` are secrets, sent with the private calls."""
    def __init__(
        self, url: Any, what: str, headers: Dict[str, str], timeout: Any, ssl_context: _SslContext
    ) -> None: ...
    def __repr__(self) -> str: ...
    def connect(self, request: _RequestLike = None, *, timeout: _Timeout = None) -> ConnectResponse:
        """Starts a backend, or takes the one that holds the request's key. Sent once.

        `timeout`: seconds for the whole call; None: the client's. Raises ValidationError for a
        request that the platform would refuse; AuthenticationError, RateLimitError or another
        HTTPError; NetworkError, ProtocolError or JamsocketTimeout, after which a backend may have
        been started all the same.
        """
    def status(self, backend: _Backend, *, timeout: _Timeout = None) -> BackendState:
        """The state of a backend, given as its ConnectResponse, its id or its status url.

        `timeout`: seconds for the whole call; None: the client's. Raises HTTPError (404: no such
        backend, or gone), NetworkError, ProtocolError or JamsocketTimeout.
        """
    def status_stream(
        self, backend: _Backend, *, timeout: _Timeout = None
    ) -> Generator[BackendState, None, None]:
        """Yields each state once, as soon as it is known, and ends after `terminated`.

        It begins with the states so far, and goes on through lost streams. `timeout`: seconds until
        JamsocketTimeout; None: never. Raises as `wait_until_ready` does for what will not pass.
        """
    def wait_until_ready(
        self, backend: _Backend, *, timeout: _Timeout = 60.0, on_status: _OnStatus = None
    ) -> BackendState:
        """Returns the `ready` state as soon as the platform tells it.

        `timeout`: seconds; None: for ever. `on_status` is called with each new state, in order;
        what it raises ends the wait. Raises BackendTerminated as soon as the backend cannot become
        ready any more, JamsocketTimeout at the deadline, and what will not pass by itself: 401, 403
        and other HTTPErrors, 404 after two seconds, a ProtocolError after five, a NetworkError for
        a refused certificate. It goes on through lost connections, 408, 429 and 5xx.
        """
    def connect_and_wait(
        self, request: _RequestLike = None, *, timeout: _Timeout = 60.0, on_status: _OnStatus = None
    ) -> ConnectResponse:
        """Connects, waits until the backend is ready, and returns the connect's answer.

        A key is held until its backend has ended, so a connect may give one that is on its way out.
        Then it connects again, until a new one is started. (Right after a `terminate` the platform
        may still call the old one ready; read its `status_stream` to the end before.)

        `timeout`: seconds for all of it; None: for ever. Raises what `connect` and
        `wait_until_ready` raise; an error after a connect that was answered has that answer as
        `response`. BackendTerminated is about a backend that this call started.
        """
    def terminate(self, backend: _Backend, *, hard: bool = False, timeout: _Timeout = None) -> None:
        """Ends a backend: softly, with time to clean up, or `hard`. Sent once.

        It returns before the state changes. `timeout`: seconds for the whole call; None: the
        client's. Raises as `connect` does; HTTPError 404: no such backend, or gone already.
        """

class Jamsocket(_Client):
    """A client of the hosted platform, or of its dev server. Threads may share it.

    `account`, `service` (`"name"` or `"name/environment"`) and `token` are needed, but for
    `dev=True`, which means the dev server on this machine, at `port`. `timeout`: seconds for a
    whole `connect`, `status` or `terminate`. `ssl_context`: one that knows a private authority.
    Raises ConfigurationError.
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
    def from_env(cls, env: Optional[Mapping[str, str]] = None) -> "Jamsocket":
        """A client by the environment; `env` stands in for os.environ.

        JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE, JAMSOCKET_TOKEN and, where set, JAMSOCKET_API_URL; or,
        with JAMSOCKET_DEV=true, JAMSOCKET_DEV_PORT (8080). Raises ConfigurationError.
        """

class Plane(_Client):
    """A client of a self-hosted Plane controller, with the methods of Jamsocket.

    `image`: the backends' container image; a request's `tag` replaces its tag. `pool`: the drones
    that may run them. `namespace`: what their keys are unique in. `headers`: for a reverse proxy
    before the controller; they are secrets, sent to the controller's origin alone. Raises
    ConfigurationError.
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
    def from_env(cls, env: Optional[Mapping[str, str]] = None) -> "Plane":
        """A client by the environment; `env` stands in for os.environ.

        PLANE_URL, PLANE_IMAGE and, where set, PLANE_POOL, PLANE_NAMESPACE and PLANE_AUTHORIZATION
        (the Authorization header for what stands before the controller). Raises ConfigurationError.
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
