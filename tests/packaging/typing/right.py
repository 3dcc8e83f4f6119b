"""Programs as users write them. They check without a complaint. Only ever checked, never run."""

import argparse
import sys
from contextlib import closing
from typing import Any, Dict, List, NoReturn, Optional, Union

import jamsocket_lite
from jamsocket_lite import (AuthenticationError, BackendState, BackendStatus, BackendTerminated,
                            ConnectRequest, ConnectResponse, Executable, HTTPError, Jamsocket,
                            JamsocketError, JamsocketTimeout, Plane, RateLimitError, ResourceLimits,
                            SpawnConfig)


def never(value: NoReturn) -> NoReturn:
    raise AssertionError(value)


# A small script

def open_board(board: int) -> str:
    jamsocket = Jamsocket(account="acme", service="whiteboard", token="...")
    connected = jamsocket.connect({"key": "board/%d" % board})
    jamsocket.wait_until_ready(connected, timeout=30)
    return connected.url


# A serverless function

def handler(event: Dict[str, Any], context: Any) -> Dict[str, Any]:
    left: float = context.get_remaining_time_in_millis() / 1000 - 1
    try:
        response = jamsocket_lite.connect(ConnectRequest(key=event["key"], user="ada",
                                                         auth={"roles": ["admin"]}))
        state = jamsocket_lite.wait_until_ready(response, timeout=left)
    except JamsocketTimeout as error:
        return {"statusCode": 504, "last": error.last_state.status if error.last_state else None}
    except BackendTerminated as error:
        return {"statusCode": 502, "why": error.state.termination_reason}
    except RateLimitError as error:
        return {"statusCode": 429, "headers": {"Retry-After": str(error.retry_after or 1)}}
    except AuthenticationError as error:
        return {"statusCode": 500, "status": error.status}
    except HTTPError as error:
        return {"statusCode": 502, "id": error.request_id or "", "code": (error.code or "").lower()}
    except JamsocketError as error:
        return {"statusCode": 502, "message": str(error)}
    return {"statusCode": 302, "headers": {"Location": response.url}, "ready": state.is_ready}


# Every status, by `if` and by `match`; the checker knows when one is missing

def colour(status: BackendStatus) -> str:
    if status == "scheduled" or status == "loading" or status == "starting" or status == "waiting":
        return "yellow"
    elif status == "ready":
        return "green"
    elif status == "terminating" or status == "hard-terminating":
        return "orange"
    elif status == "terminated":
        return "red"
    else:
        never(status)


def icon(state: BackendState) -> str:
    match state.status:
        case "scheduled" | "loading" | "starting" | "waiting":
            return "…"
        case "ready":
            return "✓"
        case "terminating" | "hard-terminating":
            return "↓"
        case "terminated":
            return "✗"
        case other:
            never(other)


def sentence(state: BackendState) -> str:
    reason = state.termination_reason
    if reason is None:
        return state.status
    elif reason == "swept" or reason == "key_expired":
        return "idle"
    elif reason == "external":
        return "ended"
    elif reason == "lost" or reason == "startup_timeout" or reason == "internal_error":
        return "failed"
    else:
        never(reason)


# A program that moves between the platform and a cluster of its own

def client_for(options: argparse.Namespace) -> Union[Jamsocket, Plane]:
    if options.plane:
        return Plane(options.plane, image="registry.example/board:1",
                     headers={"X-Key": options.key})
    return Jamsocket.from_env()


class Board:
    def __init__(self, client: Union[Jamsocket, Plane]) -> None:
        self.client = client
        self.history: List[BackendState] = []
        self.response: Optional[ConnectResponse] = None

    def open(self, key: Optional[str] = None) -> str:
        limits = ResourceLimits(cpu_period=100000, cpu_period_percent=50,
                                memory_limit_bytes=512 * 1024 * 1024)
        config = SpawnConfig(tag="latest", max_idle_seconds=30,
                             executable=Executable(mount=True, env={"MODE": "test"},
                                                   resource_limits=limits))
        self.response = self.client.connect(ConnectRequest(key=key, spawn=config), timeout=5)
        self.client.wait_until_ready(self.response, on_status=self.history.append)
        return self.response.url

    def watch(self) -> None:
        if self.response is None:
            return
        with closing(self.client.status_stream(self.response, timeout=None)) as states:
            for state in states:
                print(state.time, icon(state), sentence(state), file=sys.stderr)

    def close(self) -> None:
        if self.response is not None and not self.client.status(self.response).is_terminated:
            self.client.terminate(self.response, hard=self.history[-1].status != "ready")


def save(response: ConnectResponse) -> ConnectResponse:
    document = response.to_dict()
    return ConnectResponse.from_dict(document, strict=False)


if __name__ == "__main__":
    sys.exit(jamsocket_lite.main(["connect", "--wait"]))
