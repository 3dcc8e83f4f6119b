"""The calls, all of one shape, so that one table of weather serves them all."""

from contextlib import closing
from typing import Any, Callable, Generator, List, Mapping, Optional

from jamsocket_lite import BackendState, ConnectResponse
from kit.deadlines import LONG
from kit.platforms import ID, JAMSOCKET, Api, Client, client, connected, state
from kit.secrets import REQUEST
from kit.server import Request, Server

Call = Callable[..., Any]


def call_connect(url: str, timeout: Optional[float] = LONG, timeout_of_client: float = LONG,
                 **options: Any) -> ConnectResponse:
    return client(url, timeout=timeout_of_client, **options).connect(REQUEST, timeout=timeout)


def call_status(url: str, timeout: Optional[float] = LONG, timeout_of_client: float = LONG,
                **options: Any) -> BackendState:
    one = client(url, timeout=timeout_of_client, **options)
    return one.status(connected(url), timeout=timeout)


def call_terminate(url: str, timeout: Optional[float] = LONG, timeout_of_client: float = LONG,
                   **options: Any) -> None:
    one = client(url, timeout=timeout_of_client, **options)
    one.terminate(connected(url), hard=True, timeout=timeout)


def call_wait(url: str, timeout: Optional[float] = LONG, **options: Any) -> BackendState:
    return client(url, **options).wait_until_ready(connected(url), timeout=timeout)


def call_stream(url: str, timeout: Optional[float] = LONG, **options: Any) -> List[BackendState]:
    return list(client(url, **options).status_stream(connected(url), timeout=timeout))


SINGLE: Mapping[str, Call] = {  # of one request
    "connect": call_connect, "status": call_status, "terminate": call_terminate}
LASTING: Mapping[str, Call] = {"wait": call_wait, "stream": call_stream}
CALLS: Mapping[str, Call] = {**SINGLE, **LASTING}


def name_of(call: Call) -> str:
    return call.__name__[len("call_"):]


def right_document(url: str, call: str) -> Any:
    """What the platform answers to a single call."""
    return {"connect": connected(url).to_dict(), "status": state("ready"),
            "terminate": JAMSOCKET.terminated()}[call]


# -------------------------------------------------------------------------------------------------
# The methods of a client, on either platform
# -------------------------------------------------------------------------------------------------

def first(stream: Generator[BackendState, None, None]) -> BackendState:
    """The first state of a stream, which is closed then."""
    with closing(stream):
        return next(stream)


METHODS: Mapping[str, Callable[[Client], Any]] = {
    "connect": lambda client: client.connect(),
    "status": lambda client: client.status(ID),
    "status_stream": lambda client: first(client.status_stream(ID, timeout=LONG)),
    "wait_until_ready": lambda client: client.wait_until_ready(ID, timeout=LONG),
    "terminate": lambda client: client.terminate(ID),
}


def sent(api: Api, call: Callable[[Client], Any], **options: Any) -> List[Request]:
    """What a call sends to a server that answers well."""
    with Server(api.service()) as server:
        call(api.client(server.url, **options))
        assert server.wait_closed(LONG)
        assert server.connections == len(server.requests)
        return server.requests
