"""What the checkers must make of each name. Only ever checked, never run."""

import ssl
from typing import Any, Dict, Generator, List, Literal, Mapping, Optional, Tuple, Union, assert_type

import jamsocket_lite
from jamsocket_lite import (AuthenticationError, BackendState, BackendStatus, BackendTerminated,
                            ConfigurationError, ConnectRequest, ConnectResponse, Executable,
                            HTTPError, Jamsocket, JamsocketError, JamsocketTimeout, NetworkError,
                            Plane, ProtocolError, RateLimitError, ResourceLimits, SpawnConfig,
                            TerminationKind, TerminationReason, ValidationError)

assert_type(jamsocket_lite.__version__, str)


def check_words(status: BackendStatus, kind: TerminationKind, reason: TerminationReason) -> None:
    assert_type(status, Literal["scheduled", "loading", "starting", "waiting", "ready",
                                "terminating", "hard-terminating", "terminated"])
    assert_type(kind, Literal["soft", "hard"])
    assert_type(reason, Literal["swept", "external", "key_expired", "lost", "startup_timeout",
                                "internal_error"])


def check_limits(limits: ResourceLimits) -> None:
    assert_type(limits.cpu_period, Optional[int])
    assert_type(limits.cpu_period_percent, Optional[int])
    assert_type(limits.cpu_time_limit, Optional[int])
    assert_type(limits.memory_limit_bytes, Optional[int])
    assert_type(limits.disk_limit_bytes, Optional[int])
    assert_type(ResourceLimits(1, 2, 3, 4, 5), ResourceLimits)


def check_executable(executable: Executable) -> None:
    assert_type(executable.mount, Union[str, bool, None])
    assert_type(executable.env, Optional[Mapping[str, str]])
    assert_type(executable.resource_limits, Optional[ResourceLimits])
    assert_type(Executable(True, {"A": "1"}, ResourceLimits()), Executable)


def check_config(config: SpawnConfig) -> None:
    assert_type(config.tag, Optional[str])
    assert_type(config.cluster, Optional[str])
    assert_type(config.lifetime_limit_seconds, Optional[int])
    assert_type(config.max_idle_seconds, Optional[int])
    assert_type(config.executable, Optional[Executable])
    assert_type(SpawnConfig("latest", "here", 3600, 60, Executable()), SpawnConfig)


def check_request(request: ConnectRequest) -> None:
    assert_type(request.key, Optional[str])
    assert_type(request.spawn, Union[bool, SpawnConfig, None])
    assert_type(request.user, Optional[str])
    assert_type(request.auth, Optional[Mapping[str, Any]])
    assert_type(ConnectRequest("key", SpawnConfig(), "user", {"role": ["admin"]}), ConnectRequest)


def check_response(response: ConnectResponse) -> None:
    assert_type(response.backend_id, str)
    assert_type(response.spawned, bool)
    assert_type(response.status, BackendStatus)
    assert_type(response.token, str)
    assert_type(response.url, str)
    assert_type(response.status_url, str)
    assert_type(response.ready_url, str)
    assert_type(response.secret_token, Optional[str])
    assert_type(ConnectResponse("id", True, "ready", "token", "url", "status", "", None),
                ConnectResponse)


def check_state(state: BackendState) -> None:
    assert_type(state.status, BackendStatus)
    assert_type(state.time, str)
    assert_type(state.termination_reason, Optional[TerminationReason])
    assert_type(state.termination_kind, Optional[TerminationKind])
    assert_type(state.exit_error, Optional[bool])
    assert_type(state.is_ready, bool)
    assert_type(state.is_terminated, bool)
    assert_type(BackendState("terminated", "", "lost", "hard", True), BackendState)


def check_documents(document: Mapping[str, Any]) -> None:
    assert_type(ResourceLimits.from_dict(document), ResourceLimits)
    assert_type(Executable.from_dict(document), Executable)
    assert_type(SpawnConfig.from_dict(document), SpawnConfig)
    assert_type(ConnectRequest.from_dict(document), ConnectRequest)
    assert_type(ConnectResponse.from_dict(document), ConnectResponse)
    assert_type(ConnectResponse.from_dict(document, strict=False), ConnectResponse)
    assert_type(BackendState.from_dict(document), BackendState)
    assert_type(BackendState.from_dict(document, strict=False), BackendState)
    assert_type(ResourceLimits().to_dict(), Dict[str, Any])
    assert_type(Executable().to_dict(), Dict[str, Any])
    assert_type(SpawnConfig().to_dict(), Dict[str, Any])
    assert_type(ConnectRequest().to_dict(), Dict[str, Any])
    assert_type(BackendState("ready", "").to_dict(), Dict[str, Any])


def check_jamsocket(context: ssl.SSLContext, seen: List[BackendState]) -> None:
    client = Jamsocket("account", "service", "token", dev=False, port=8080,
                       api_url="https://api.jamsocket.com", timeout=60, ssl_context=context)
    assert_type(client, Jamsocket)
    assert_type(Jamsocket(dev=True), Jamsocket)
    assert_type(Jamsocket.from_env(), Jamsocket)
    assert_type(Jamsocket.from_env({"JAMSOCKET_DEV": "true"}), Jamsocket)
    response = client.connect()
    assert_type(response, ConnectResponse)
    assert_type(client.connect(ConnectRequest(), timeout=0.5), ConnectResponse)
    assert_type(client.connect({"key": "k"}, timeout=None), ConnectResponse)
    assert_type(client.status(response, timeout=1), BackendState)
    assert_type(client.status("id", timeout=None), BackendState)
    assert_type(client.status_stream(response, timeout=1), Generator[BackendState, None, None])
    assert_type(client.wait_until_ready("id", timeout=None, on_status=seen.append), BackendState)
    client.terminate(response)
    client.terminate("id", hard=True, timeout=2)


def check_plane(context: ssl.SSLContext) -> None:
    client = Plane("http://localhost:8080", image="image", pool="pool", namespace="namespace",
                   timeout=1.5, ssl_context=context, headers={"X-Key": "secret"})
    assert_type(client, Plane)
    assert_type(Plane(image="image"), Plane)
    assert_type(Plane.from_env(), Plane)
    assert_type(Plane.from_env({"PLANE_URL": "http://localhost", "PLANE_IMAGE": "image"}), Plane)
    response = client.connect({"key": "k"}, timeout=0.5)
    assert_type(response, ConnectResponse)
    assert_type(client.status(response, timeout=1), BackendState)
    assert_type(client.status_stream("id"), Generator[BackendState, None, None])
    assert_type(client.wait_until_ready(response, timeout=3), BackendState)
    client.terminate(response, hard=True)


def check_functions(context: ssl.SSLContext, seen: List[BackendState]) -> None:
    assert_type(jamsocket_lite.connect(), ConnectResponse)
    response = jamsocket_lite.connect({"key": "k"}, account="a", service="s", token="t", dev=False,
                                      port=1, api_url="u", timeout=1, ssl_context=context)
    assert_type(response, ConnectResponse)
    assert_type(jamsocket_lite.wait_until_ready(response), BackendState)
    assert_type(jamsocket_lite.wait_until_ready("u", timeout=None, on_status=seen.append,
                                                ssl_context=None),
                BackendState)
    assert_type(jamsocket_lite.main(), int)
    assert_type(jamsocket_lite.main(["status", "id"]), int)


def check_errors(late: JamsocketTimeout, over: BackendTerminated, invalid: ValidationError,
                 http: HTTPError) -> None:
    assert_type(late.last_state, Optional[BackendState])
    assert_type(over.state, BackendState)
    assert_type(invalid.path, str)
    assert_type(http.status, int)
    assert_type(http.code, Optional[str])
    assert_type(http.request_id, Optional[str])
    assert_type(http.retry_after, Optional[float])
    every: Tuple[JamsocketError, ...] = (late, over, invalid, http, ConfigurationError(),
                                         NetworkError(), ProtocolError(), AuthenticationError(),
                                         RateLimitError())
    as_https: Tuple[HTTPError, ...] = (AuthenticationError("refused", status=401),
                                       RateLimitError(retry_after=1.5))
    as_builtins: Tuple[ValueError, ValueError, OSError, TimeoutError] = (
        invalid, ConfigurationError(""), NetworkError(""), late)
    print(every, as_https, as_builtins)
