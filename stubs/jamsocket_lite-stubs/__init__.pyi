"""Jamsocket and Plane from Python, in one file. What type checkers and editors read of it, where it is installed."""

import ssl
from dataclasses import dataclass
from typing import Any, Callable, Dict, Generator, Literal, Mapping, Optional, Sequence, Type, TypeVar, Union

_T = TypeVar("_T")

__version__: str

__all__ = [
    "Jamsocket", "Plane", "connect", "wait_until_ready",
    "ConnectRequest", "SpawnConfig", "Executable", "ResourceLimits", "ConnectResponse", "BackendState",
    "BackendStatus", "TerminationKind", "TerminationReason",
    "JamsocketError", "ValidationError", "ConfigurationError", "NetworkError", "ProtocolError", "HTTPError",
    "AuthenticationError", "RateLimitError", "JamsocketTimeout", "BackendTerminated",
]

BackendStatus = Literal[
    "scheduled", "loading", "starting", "waiting", "ready", "terminating", "hard-terminating", "terminated"
]
TerminationKind = Literal["soft", "hard"]
TerminationReason = Literal["swept", "external", "key_expired", "lost", "startup_timeout", "internal_error"]

# ---- Errors ----

class JamsocketError(Exception):
    """The base of all errors of this module. No text of theirs holds a secret."""

class ValidationError(JamsocketError, ValueError):
    """Data that breaks the types' rules. `path` says where: `spawn.executable.env.PATH`, `auth.roles[0]`."""

    path: str
    def __init__(self, message: str = "", *, path: str = "") -> None: ...

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

    status: int
    code: Optional[str]
    request_id: Optional[str]
    retry_after: Optional[float]
    def __init__(
        self, message: str = "", *, status: int = 0, code: Optional[str] = None, request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None: ...

class AuthenticationError(HTTPError):
    """Status 401, 403 or 407: the credentials were refused."""

class RateLimitError(HTTPError):
    """Status 429: too many requests; `retry_after` says how long to stay away, where the server did."""

class JamsocketTimeout(JamsocketError, TimeoutError):
    """The deadline passed, in whatever phase. `last_state` is the latest state that a wait or a stream saw."""

    last_state: Optional[BackendState]
    def __init__(self, message: str = "", *, last_state: Optional[BackendState] = None) -> None: ...

class BackendTerminated(JamsocketError):
    """The backend is terminating or terminated, as `state` says, so it will never be ready."""

    state: BackendState
    def __init__(self, message: str = "", *, state: Optional[BackendState] = None) -> None: ...

# ---- Requests ----

@dataclass(frozen=True, repr=False)
class ResourceLimits:
    """What a backend may use. Integers of 0 and more.

    `cpu_period` is in microseconds, `cpu_period_percent` the percentage of it that may be used (100 is one whole core,
    255 the most), `cpu_time_limit` in seconds; memory and disk in bytes.
    """

    cpu_period: Optional[int] = None
    cpu_period_percent: Optional[int] = None
    cpu_time_limit: Optional[int] = None
    memory_limit_bytes: Optional[int] = None
    disk_limit_bytes: Optional[int] = None
    @classmethod
    def from_dict(cls: Type[_T], data: Mapping[str, Any]) -> _T:
        """Checks every field; raises ValidationError, also for an unknown field."""
    def to_dict(self) -> Dict[str, Any]:
        """What `json.dumps` takes as it is, without the fields that are None."""

@dataclass(frozen=True, repr=False)
class Executable:
    """What runs: its mount (a name, or whether there is one), its environment, its limits.

    `env` holds strings, and none of the names that the platform sets itself (`PORT`, `SESSION_BACKEND_ID`,
    `SESSION_BACKEND_KEY`, `SESSION_BACKEND_FENCING_TOKEN`, `JAMSOCKET_SERVICE`). Treat it as read-only.
    """

    mount: Optional[Union[str, bool]] = None
    env: Optional[Mapping[str, str]] = None
    resource_limits: Optional[ResourceLimits] = None
    @classmethod
    def from_dict(cls: Type[_T], data: Mapping[str, Any]) -> _T:
        """Checks every field; raises ValidationError, also for an unknown field."""
    def to_dict(self) -> Dict[str, Any]:
        """What `json.dumps` takes as it is, without the fields that are None."""

@dataclass(frozen=True, repr=False)
class SpawnConfig:
    """How a backend is started: the service's image `tag`, the `cluster`, and how long it may live and idle.

    The two limits are whole seconds from 0 to 2**31 - 1. The platform ends a backend that idles for 300 seconds where
    `spawn` is not a SpawnConfig.
    """

    tag: Optional[str] = None
    cluster: Optional[str] = None
    lifetime_limit_seconds: Optional[int] = None
    max_idle_seconds: Optional[int] = None
    executable: Optional[Executable] = None
    @classmethod
    def from_dict(cls: Type[_T], data: Mapping[str, Any]) -> _T:
        """Checks every field; raises ValidationError, also for an unknown field."""
    def to_dict(self) -> Dict[str, Any]:
        """What `json.dumps` takes as it is, without the fields that are None."""

@dataclass(frozen=True, repr=False)
class ConnectRequest:
    """Which backend is wanted.

    `key`: 1 to 128 characters; the running backend that holds it is taken, otherwise one is started. `spawn`: how to
    start it, or False (with a key) never to start one. `user` and `auth` are handed to the backend; `auth` is what
    JSON can carry, to be treated as read-only.
    """

    key: Optional[str] = None
    spawn: Optional[Union[bool, SpawnConfig]] = None
    user: Optional[str] = None
    auth: Optional[Mapping[str, Any]] = None
    @classmethod
    def from_dict(cls: Type[_T], data: Mapping[str, Any]) -> _T:
        """Checks every field; raises ValidationError, also for an unknown field."""
    def to_dict(self) -> Dict[str, Any]:
        """What `json.dumps` takes as it is, without the fields that are None."""

# ---- Answers ----

@dataclass(frozen=True, repr=False)
class ConnectResponse:
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
    @classmethod
    def from_dict(cls: Type[_T], data: Mapping[str, Any], *, strict: bool = True) -> _T:
        """Checks every field; raises ValidationError. Without `strict`, words from the future are kept."""
    def to_dict(self) -> Dict[str, Any]:
        """What `json.dumps` takes as it is, without the fields that are None."""

@dataclass(frozen=True, repr=False)
class BackendState:
    """A backend's status since `time` (ISO 8601), and, from `terminating` on, what is known of why it ends."""

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
        """Whether it has ended for good; `terminating` and `hard-terminating` are on the way there."""
    @classmethod
    def from_dict(cls: Type[_T], data: Mapping[str, Any], *, strict: bool = True) -> _T:
        """Checks every field; raises ValidationError. Without `strict`, words from the future are kept."""
    def to_dict(self) -> Dict[str, Any]:
        """What `json.dumps` takes as it is, without the fields that are None."""

# ---- Clients ----

class Jamsocket:
    """A client of the hosted platform, or of its dev server. It keeps no connection; threads may share it.

    `account`, `service` (`"name"` or `"name/environment"`) and `token` are needed, but for `dev=True`, which means the
    dev server on this machine, at `port`. `timeout`: seconds for a whole `connect`, `status` or `terminate`.
    `ssl_context`: one that knows a private authority. Raises ConfigurationError.
    """

    def __init__(
        self, account: Optional[str] = None, service: Optional[str] = None, token: Optional[str] = None, *,
        dev: bool = False, port: int = 8080, api_url: str = "https://api.jamsocket.com", timeout: float = 60.0,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None: ...
    @classmethod
    def from_env(cls, env: Optional[Mapping[str, str]] = None) -> Jamsocket:
        """A client by JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE, JAMSOCKET_TOKEN and, where set, JAMSOCKET_API_URL; or, with
        JAMSOCKET_DEV=true, by JAMSOCKET_DEV_PORT (8080). `env` stands in for os.environ. Raises ConfigurationError."""
    def connect(
        self, request: Union[ConnectRequest, Mapping[str, Any], None] = None, *, timeout: Optional[float] = None
    ) -> ConnectResponse:
        """Starts a backend, or finds the one that holds the request's key. Sent once, never repeated.

        `timeout`: seconds for the whole call; None: the client's. Raises ValidationError for a request that the
        platform would refuse; AuthenticationError, RateLimitError or another HTTPError; NetworkError, ProtocolError or
        JamsocketTimeout, after which a backend may have been started all the same.
        """
    def status(
        self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = None
    ) -> BackendState:
        """The state of a backend, given as its ConnectResponse, its id or its status url. It needs no credentials.

        `timeout`: seconds for the whole call; None: the client's. Raises HTTPError (404: no such backend, or gone),
        NetworkError, ProtocolError or JamsocketTimeout.
        """
    def status_stream(
        self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = None
    ) -> Generator[BackendState, None, None]:
        """Yields each state once, as soon as it is told, in the lifecycle's order, and ends after `terminated`.

        It begins with the states so far. A stream that ends early is opened again. `timeout`: seconds until
        JamsocketTimeout; None: never. Raises HTTPError, NetworkError or ProtocolError for what will not pass.
        """
    def wait_until_ready(
        self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = 60.0,
        on_status: Optional[Callable[[BackendState], None]] = None,
    ) -> BackendState:
        """Returns the `ready` state as soon as the platform tells it.

        `timeout`: seconds; None: for ever. `on_status` is called with each new state, in order; what it raises ends the
        wait. Raises BackendTerminated as soon as the backend cannot become ready any more, JamsocketTimeout at the
        deadline, HTTPError for what will not pass (401, 403; 404 after two seconds), NetworkError for a certificate
        that does not hold. It goes on through lost connections, 5xx and 429.
        """
    def terminate(
        self, backend: Union[ConnectResponse, str], *, hard: bool = False, timeout: Optional[float] = None
    ) -> None:
        """Ends a backend: softly, with time to clean up, or `hard`. Sent once; returns before the state changes.

        `timeout`: seconds for the whole call; None: the client's. Raises as `connect` does; HTTPError 404: no such
        backend, or gone already.
        """

class Plane:
    """A client of a self-hosted Plane controller, with the methods of Jamsocket.

    `image`: the backends' container image; a request's `tag` replaces its tag. `pool`: the drones that may run them.
    `namespace`: what their keys are unique in. `headers`: for a reverse proxy before the controller; they are secrets
    and sent to the controller's origin alone. Raises ConfigurationError.
    """

    def __init__(
        self, url: str = "http://localhost:8080", *, image: str, pool: Optional[str] = None,
        namespace: Optional[str] = None, timeout: float = 60.0, ssl_context: Optional[ssl.SSLContext] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> None: ...
    @classmethod
    def from_env(cls, env: Optional[Mapping[str, str]] = None) -> Plane:
        """A client by PLANE_URL and PLANE_IMAGE. `env` stands in for os.environ. Raises ConfigurationError."""
    def connect(
        self, request: Union[ConnectRequest, Mapping[str, Any], None] = None, *, timeout: Optional[float] = None
    ) -> ConnectResponse:
        """As Jamsocket.connect."""
    def status(
        self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = None
    ) -> BackendState:
        """As Jamsocket.status."""
    def status_stream(
        self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = None
    ) -> Generator[BackendState, None, None]:
        """As Jamsocket.status_stream."""
    def wait_until_ready(
        self, backend: Union[ConnectResponse, str], *, timeout: Optional[float] = 60.0,
        on_status: Optional[Callable[[BackendState], None]] = None,
    ) -> BackendState:
        """As Jamsocket.wait_until_ready."""
    def terminate(
        self, backend: Union[ConnectResponse, str], *, hard: bool = False, timeout: Optional[float] = None
    ) -> None:
        """As Jamsocket.terminate."""

# ---- Functions ----

def connect(
    request: Union[ConnectRequest, Mapping[str, Any], None] = None, *, account: Optional[str] = None,
    service: Optional[str] = None, token: Optional[str] = None, dev: bool = False, port: int = 8080,
    api_url: str = "https://api.jamsocket.com", timeout: float = 60.0, ssl_context: Optional[ssl.SSLContext] = None,
) -> ConnectResponse:
    """Jamsocket.connect with a client made for it: of the arguments or, without credentials and `dev`, of the
    environment (as Jamsocket.from_env, or Plane.from_env where PLANE_URL is set and no Jamsocket variable)."""

def wait_until_ready(
    backend: Union[ConnectResponse, str], *, timeout: Optional[float] = 60.0,
    on_status: Optional[Callable[[BackendState], None]] = None, ssl_context: Optional[ssl.SSLContext] = None,
) -> BackendState:
    """Jamsocket.wait_until_ready for a ConnectResponse or a status url; it needs no credentials."""

def main(argv: Optional[Sequence[str]] = None) -> int:
    """The command line; returns the exit status. `argv`: the arguments, instead of those of the process."""
