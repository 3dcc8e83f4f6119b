"""Lines that a checker must refuse, each marked with mypy's name for why. Only ever checked, never
run."""

from typing import NoReturn

import jamsocket_lite
from jamsocket_lite import (BackendState, BackendStatus, ConnectRequest, ConnectResponse,
                            Executable, HTTPError, Jamsocket, JamsocketTimeout, Plane,
                            ResourceLimits, SpawnConfig, TerminationKind)


def never(value: NoReturn) -> NoReturn:
    raise AssertionError(value)


# A wrong literal

status: BackendStatus = "redy"  # E: assignment
kind: TerminationKind = "brutal"  # E: assignment
BackendState("starting up", "2026-11-23T22:46:13.368Z")  # E: arg-type
BackendState("terminated", "", termination_reason="keyexpired")  # E: arg-type
BackendState("terminated", "", termination_kind="Soft")  # E: arg-type
ConnectResponse("id", True, "Ready", "token", "url", "status_url")  # E: arg-type

# A wrong field type

ResourceLimits(cpu_period=0.5)  # E: arg-type
ResourceLimits(memory_limit_bytes="1G")  # E: arg-type
Executable(env={"PORT_COUNT": 3})  # E: dict-item
Executable(env=["MODE=test"])  # E: arg-type
Executable(mount=3)  # E: arg-type
Executable(resource_limits={"cpu_period": 1})  # E: arg-type
SpawnConfig(max_idle_seconds="300")  # E: arg-type
SpawnConfig(lifetime_limit_seconds=3600.0)  # E: arg-type
SpawnConfig(executable={"mount": True})  # E: arg-type
ConnectRequest(key=42)  # E: arg-type
ConnectRequest(spawn="false")  # E: arg-type
ConnectRequest(spawn={"tag": "latest"})  # E: arg-type
ConnectRequest(auth=["admin"])  # E: arg-type
ConnectResponse("id", "yes", "ready", "token", "url", "status_url")  # E: arg-type
BackendState("ready", 1762345678901)  # E: arg-type
BackendState.from_dict('{"status": "ready"}')  # E: arg-type
BackendState.from_dict({}, strict="no")  # E: arg-type

# A misspelt keyword, a missing one, one given by position

ResourceLimits(cpu_percent=50)  # E: call-arg
SpawnConfig(max_idle=300)  # E: call-arg
ConnectRequest(keys="board")  # E: call-arg
BackendState("ready")  # E: call-arg
ConnectResponse("id", True, "ready", "token")  # E: call-arg
ConnectRequest.from_dict({}, strict=False)  # E: call-arg
Jamsocket(acount="acme")  # E: call-arg
Jamsocket("acme", "board", "token", True)  # E: call-arg
Jamsocket(image="image")  # E: call-arg
Plane("http://localhost:8080")  # E: call-arg
Plane(image="image", token="token")  # E: call-arg

# Frozen fields


def change(request: ConnectRequest, response: ConnectResponse, state: BackendState,
           config: SpawnConfig) -> None:
    request.key = "other"  # E: misc
    response.url = "http://elsewhere"  # E: misc
    state.status = "ready"  # E: misc
    state.is_ready = True  # E: misc
    config.tag = None  # E: misc
    request.keys = "other"  # E: attr-defined


# A comparison that is never true


def compare(response: ConnectResponse, state: BackendState) -> bool:
    if state.status == "redy":  # E: comparison-overlap
        return True
    if state.termination_reason == "keyexpired":  # E: comparison-overlap
        return True
    if state.termination_kind == "graceful":  # E: comparison-overlap
        return True
    return response.status == "READY"  # E: comparison-overlap


# A forgotten Optional


def forget(request: ConnectRequest, response: ConnectResponse, state: BackendState, http: HTTPError,
           late: JamsocketTimeout) -> str:
    print(len(request.key))  # E: arg-type
    print(response.secret_token.upper())  # E: union-attr
    print(late.last_state.status)  # E: union-attr
    print(http.retry_after + 1)  # E: operator
    kind: TerminationKind = state.termination_kind  # E: assignment
    for role in request.auth["roles"]:  # E: index
        print(role, kind)
    return http.request_id  # E: return-value


# A status that was forgotten


def colour(status: BackendStatus) -> str:
    if status == "ready":
        return "green"
    elif status == "terminated" or status == "terminating":
        return "red"
    elif (
        status == "scheduled" or status == "loading" or status == "starting" or status == "waiting"
    ):
        return "yellow"
    never(status)  # E: arg-type


def icon(state: BackendState) -> str:
    match state.status:
        case "scheduled" | "loading" | "starting" | "waiting" | "ready":
            return "up"
        case "terminating" | "hard-terminating":
            return "ending"
        case other:
            never(other)  # E: arg-type


# Calls


def print_nothing() -> None:
    pass


def call(jamsocket: Jamsocket, plane: Plane, response: ConnectResponse) -> None:
    jamsocket.connect("board/42")  # E: arg-type
    jamsocket.connect(key="board/42")  # E: call-arg
    jamsocket.connect({"key": "board/42"}, 5)  # E: call-arg
    jamsocket.connect({"key": "board/42"}, timeout="5")  # E: arg-type
    jamsocket.status()  # E: call-arg
    jamsocket.status(42)  # E: arg-type
    jamsocket.status(response.to_dict())  # E: arg-type
    jamsocket.wait_until_ready(response, 30)  # E: call-arg
    jamsocket.wait_until_ready(response, on_status=print_nothing)  # E: arg-type
    jamsocket.wait_for_ready(response)  # E: attr-defined
    jamsocket.terminate(response, hard="yes")  # E: arg-type
    result = jamsocket.terminate(response)  # E: func-returns-value
    for state in jamsocket.wait_until_ready(response):  # E: attr-defined
        print(state, result)
    url: str = jamsocket.connect()  # E: assignment
    ready: str = jamsocket.wait_until_ready(response)  # E: assignment
    print(response.ready, url, ready)  # E: attr-defined
    print(response["url"])  # E: index
    plane.wait_until_ready(response, timeout=[])  # E: arg-type
    plane.from_env("PLANE_URL")  # E: arg-type
    jamsocket_lite.connect({}, acount="acme")  # E: call-arg
    jamsocket_lite.wait_until_ready()  # E: call-arg
    jamsocket_lite.wait_until_ready(response, ssl_context=False)  # E: arg-type
    jamsocket_lite.main("status")  # a string is a sequence of strings
    jamsocket_lite.main(["status", 42])  # E: list-item
    jamsocket_lite.terminate(response)  # E: attr-defined
