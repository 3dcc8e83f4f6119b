"""A scripted platform whose connects give one backend after the other.

    with Server(telling(api, dying(), spawned())) as server:
        assert api.client(server.url).connect_and_wait(KEY).backend_id == "fresh"
"""

import threading
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from kit.answers import answer
from kit.deadlines import LONG
from kit.platforms import LIFE, Api, is_stream
from kit.secrets import failure
from kit.server import Request, Script, Server
from kit.steps import Silence, Step

KEY = {"key": "room"}


class Told(NamedTuple):
    """What the platform tells of one backend."""

    id: str
    connected: Dict[str, Any]  # what is particular in the answer to its connect
    stream: Sequence[str] = LIFE
    status: Any = "ready"  # or the steps of its status call


def spawned(id: str = "fresh", **more: Any) -> Told:
    return Told(id, {"spawned": True, "status": "scheduled"}, **more)


def held(so_far: str, id: str = "old", **more: Any) -> Told:
    """One that this connect did not spawn."""
    return Told(id, {"spawned": False, "status": so_far}, **more)


def dying(status: str = "terminating", id: str = "old") -> Told:
    return held(status, id, stream=[*LIFE, status], status=status)


def telling(api: Api, *turns: Any) -> Script:
    """A script: each connect gets the next of these, and the last again and again. A turn is what
    is told of a backend, or the steps of an answer."""
    count, lock = [0], threading.Lock()
    known = {turn.id: turn for turn in turns if isinstance(turn, Told)}

    def script(request: Request) -> Sequence[Step]:
        if request.target == api.connect_target:
            with lock:
                turn = turns[min(count[0], len(turns) - 1)]
                count[0] += 1
            if not isinstance(turn, Told):
                steps: Sequence[Step] = turn
                return steps
            return [answer(document(api, "http://%s" % request.header("Host"), turn))]
        told = next(known[id] for id in known if "/%s/" % id in request.target)
        if is_stream(request):
            return [api.streamed(*told.stream), Silence()]
        return api.told(told.status) if isinstance(told.status, str) else list(told.status)

    return script


def document(api: Api, url: str, told: Told) -> Dict[str, Any]:
    return api.document(url, backend_id=told.id, status_url=url + api.status_target(told.id),
                        **told.connected)


def connects(api: Api, server: Server) -> List[Request]:
    return [one for one in server.requests if one.target == api.connect_target]


def fails(api: Api, script: Script, kind: Any, timeout: float = LONG,
          **options: Any) -> Tuple[Any, int]:
    """The error of a call, and how many connects it sent."""
    with Server(script) as server:
        error = failure(lambda: api.client(server.url).connect_and_wait(
            KEY, timeout=timeout, **options), kind)
        return error, len(connects(api, server))
