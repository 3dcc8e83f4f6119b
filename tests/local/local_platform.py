#!/usr/bin/env python3
"""A Jamsocket platform on this machine: no account, no Docker, one file, the standard library.

    python3 tests/local/local_platform.py                       # Jamsocket, with a small backend
    python3 tests/local/local_platform.py -- node server.js     # your program as the backend
    python3 tests/local/local_platform.py --plane -- ./mine     # a self-hosted Plane instead

It needs POSIX and Python 3.7 or newer. Every backend is a real process: your command, run with
PORT, SESSION_BACKEND_ID, SESSION_BACKEND_KEY (where there is a key) and the request's `env` in its
environment. It is ready once it accepts connections on 127.0.0.1:PORT. The url of a connect answer
is reverse-proxied to it, WebSockets too, with the X-Verified-… headers that the platform adds.
Backends that are idle, too old or too slow to start are ended as the platform would, and all of
them end with this program.

It behaves as Jamsocket's dev server and Plane were seen to, where that is unkind too: a key is held
until its backend has ended, a termination shows a little after its answer, the dev server forgets
a backend that has ended.

The same as a library, for tests:

    with LocalPlatform([sys.executable, "backend.py"], startup_timeout=5) as platform:
        ...                                     # POST to platform.url + "/v2/service/-/-/connect"
        platform.backend(id).wait("ready")      # the state, as the wire has it
        assert platform.requests[0].method == "POST"        # everything received, in order
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import http.server
import itertools
import json
import math
import os
import random
import re
import secrets
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from types import TracebackType
from typing import (Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, NoReturn, Optional,
                    Sequence, Set, Tuple, Type, Union)

__all__ = ["LocalPlatform", "Backend", "Request"]

STATUSES = ("scheduled", "loading", "starting", "waiting", "ready", "terminating",
            "hard-terminating", "terminated")
RESERVED_ENV = ("PORT", "SESSION_BACKEND_ID", "SESSION_BACKEND_KEY",
                "SESSION_BACKEND_FENCING_TOKEN", "JAMSOCKET_SERVICE")
DEFAULT_COMMAND = (sys.executable, os.path.abspath(__file__), "--backend")
CORS = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Methods", "*"),
        ("Access-Control-Allow-Headers", "*, Authorization"))

LARGEST_BODY = 1 << 21
LARGEST_HEAD = 1 << 16
LONGEST_NAME = 255      # in characters, of a user or a namespace
LARGEST_SPAWN = 7500    # in bytes: with its frame it has to fit a notification of the database
STATUS_HELD = 0.5       # how long the dev server waits for a backend's first event, before its 404
SPARED = 0.4            # of the time between two sweeps: what is younger is not ended by one
PORT_POLL = 0.015       # a port cannot wake us, so look often
# One after the other, from among those that systems do not give out: so nothing takes one before
# its backend does, another platform of this process neither.
PORTS = itertools.cycle(random.sample(range(20000, 32000), 12000))
KEPT = 1000             # ended backends still known, lest a server left open grows for ever

Check = Callable[[Any, str], None]


class Request(NamedTuple):
    """What was received. The body of a proxied request is streamed on, and empty here."""
    method: str
    path: str
    headers: List[Tuple[str, str]]
    body: bytes


class Stop(NamedTuple):
    kind: str       # "soft" or "hard"
    reason: str


class Wanted(NamedTuple):
    """A connect request, whichever API it came by."""
    key: Optional[str]
    scope: str                  # what a key is unique in
    drone: Tuple[Optional[str], Optional[str]]      # the cluster and the pool to spawn in
    may_spawn: bool
    env: Mapping[str, str]
    lifetime: float
    max_idle: float
    user: Optional[str]
    auth: Mapping[str, Any]


class Ticket(NamedTuple):
    """What a token in a url stands for."""
    backend: "Backend"
    secret: str
    user: Optional[str]
    auth: Mapping[str, Any]


class Refused(Exception):
    """With Jamsocket's `code` and Plane's `kind`. What has no kind is refused by the framework
    under Plane, as plain text."""

    def __init__(self, status: int, message: str, code: str = "BAD_REQUEST",
                 kind: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.kind = status, message, code, kind


def unknown(what: str) -> Refused:
    return Refused(404, "no such " + what, "NOT_FOUND", "NotFound")


# -------------------------------------------------------------------------------------------------
# What a request may hold. Stricter than the platforms where they would drop a field silently, for
# here you want to know.
# -------------------------------------------------------------------------------------------------

def refuse(path: str, expected: str) -> NoReturn:
    raise Refused(422, "%s: expected %s" % (path.lstrip(".") or "body", expected))


def text(shortest: int = 0, longest: float = math.inf) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or not shortest <= len(value) <= longest:
            size = " of %d to %g characters" % (shortest, longest) if shortest else ""
            refuse(path, "a string" + size)
    return check


def whole(most: int) -> Check:
    def check(value: Any, path: str) -> None:
        if type(value) is not int or not 0 <= value <= most:
            refuse(path, "a whole number from 0 to %d" % most)
    return check


def flag_or(other: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, bool):
            other(value, path)
    return check


def mapping(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        refuse(path, "an object")


def fields(known: Mapping[str, Check], *required: str) -> Check:
    def check(value: Any, path: str) -> None:
        mapping(value, path)
        for name in required:
            if name not in value:
                refuse("%s.%s" % (path, name), "a value")
        for name, item in value.items():
            if name not in known:
                refuse("%s.%s" % (path, name), "no such field")
            known[name](item, "%s.%s" % (path, name))
    return check


def environment(value: Any, path: str) -> None:
    mapping(value, path)
    for name, item in value.items():
        if not name or "=" in name or "\0" in name or name in RESERVED_ENV:
            refuse("%s.%s" % (path, name), "a name that is not reserved, without '=' and NUL")
        text()(item, "%s.%s" % (path, name))
        if "\0" in item:
            refuse("%s.%s" % (path, name), "a string without NUL")


EXECUTABLE: Dict[str, Check] = {
    "mount": flag_or(text()),
    "env": environment,
    "resource_limits": fields({
        "cpu_period": whole(2 ** 63 - 1),
        "cpu_period_percent": whole(255),
        "cpu_time_limit": whole(2 ** 63 - 1),
        "memory_limit_bytes": whole(2 ** 63 - 1),
        "disk_limit_bytes": whole(2 ** 63 - 1)}),
}
LIMITS: Dict[str, Check] = {"lifetime_limit_seconds": whole(2 ** 31 - 1),
                            "max_idle_seconds": whole(2 ** 31 - 1)}
WHO: Dict[str, Check] = {"user": text(), "auth": mapping}

JAMSOCKET_REQUEST = fields({
    **WHO,
    "key": text(1, 128),
    "spawn": flag_or(fields({
        **LIMITS, "tag": text(), "cluster": text(), "executable": fields(EXECUTABLE)}))})

TERMINATE_REQUEST = fields({"hard": flag_or(lambda value, path: refuse(path, "a boolean"))})

PLANE_REQUEST = fields({
    **WHO,
    "key": fields({"name": text(1, 128), "namespace": text(), "tag": text()}, "name"),
    "spawn_config": fields({
        **LIMITS, "cluster": text(), "pool": text(),
        "executable": fields({**EXECUTABLE, "image": text(1), "pull_policy": text()}, "image"),
    }, "executable")})


def parse_json(body: bytes) -> Any:
    def no_constant(name: str) -> NoReturn:
        raise ValueError(name)
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=no_constant)
        # Lone surrogates are refused, as by the platforms.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    return value


# -------------------------------------------------------------------------------------------------
# The two APIs: everything in which they differ
# -------------------------------------------------------------------------------------------------

def wanted(body: Dict[str, Any], config: Dict[str, Any], key: Mapping[str, Any],
           may_spawn: bool) -> Wanted:
    """What both APIs take alike, and refuse alike: the database behind them takes no more."""
    user, auth, scope = body.get("user"), body.get("auth", {}), key.get("namespace", "")
    holds_nul = re.search(r"(?<!\\)(\\\\)*\\u0000", json.dumps([key, user, auth]))
    too_long = len(user or "") > LONGEST_NAME or len(scope) > LONGEST_NAME
    spawned = json.dumps(config, ensure_ascii=False).encode()
    if holds_nul or too_long or len(spawned) > LARGEST_SPAWN:
        raise Refused(500, "Internal error.", "INTERNAL", "Other")
    return Wanted(
        key=key.get("name"), scope=scope, user=user, auth=auth, may_spawn=may_spawn,
        drone=(config.get("cluster"), config.get("pool")),
        env=config.get("executable", {}).get("env", {}),
        lifetime=config.get("lifetime_limit_seconds", math.inf),
        max_idle=config.get("max_idle_seconds", math.inf))


class Jamsocket:
    """The platform's HTTP API v2 as its dev server speaks it; `hosted` has the other's errors."""

    routes = (("POST", r"/v2/service/([^/]+/[^/]+(?:/[^/]+)?)/connect", "connect"),
              ("GET", r"/v2/backend/([^/]+)/status", "status"),
              ("GET", r"/v2/backend/([^/]+)/status/stream", "stream"),
              ("POST", r"/v2/backend/([^/]+)/terminate", "terminate"))
    status_path = "/v2/backend/%s/status"
    chunks_answers = True
    type_of_words: Optional[str] = None     # the Content-Type of an error that is plain text

    def __init__(self, hosted: bool) -> None:
        self.hosted = hosted

    def time(self) -> Union[str, int]:
        return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def error(self, refused: Refused) -> Tuple[int, Union[str, Dict[str, Any]]]:
        status = 400 if refused.status == 422 else refused.status
        if not self.hosted:
            return status, "" if status == 404 else refused.message
        return status, {"error": {"message": refused.message, "status": status,
                                  "code": refused.code, "id": secrets.token_hex(8)}}

    def wanted(self, scope: str, body: Any) -> Wanted:
        JAMSOCKET_REQUEST(body, "")
        spawn = body.get("spawn", True)
        if spawn is False and "key" not in body:
            raise Refused(400, "spawn: false needs a key")
        config = dict(spawn) if isinstance(spawn, dict) else {"max_idle_seconds": 300}
        config.pop("cluster", None)     # the dev server has but one
        key = {"name": body.get("key"), "namespace": scope}
        return wanted(body, config, key, spawn is not False)

    def answer(self, common: Dict[str, Any], drone: Optional[str]) -> Dict[str, Any]:
        return {**common, "ready_url": ""}

    def stop_kind(self, path: str, body: bytes) -> str:
        request = parse_json(body or b"{}")
        TERMINATE_REQUEST(request, "")
        return "hard" if request.get("hard") else "soft"

    def stopped(self) -> Any:
        return {"status": "ok"}

    def state(self, status: str, stop: Optional[Stop], exit_error: bool) -> Dict[str, Any]:
        state: Dict[str, Any] = {"status": status, "time": self.time()}
        if stop:
            state["termination_reason"] = stop.reason
            if status == "terminated":
                state["termination_kind"] = stop.kind
        if exit_error:
            state["exit_error"] = True
        return state

    def event(self, state: Dict[str, Any]) -> str:
        return "data:%s\n\n" % json.dumps(state, separators=(",", ":"))


class Plane(Jamsocket):
    """The API of Plane's controller."""
    routes = (("POST", r"/ctrl(/)connect", "connect"),
              ("GET", r"/pub/b/([^/]+)/status", "status"),
              ("GET", r"/pub/b/([^/]+)/status-stream", "stream"),
              ("POST", r"/ctrl/b/([^/]+)/(?:soft|hard)-terminate", "terminate"))
    status_path = "/pub/b/%s/status"
    chunks_answers = False
    type_of_words = "text/plain; charset=utf-8"

    def time(self) -> Union[str, int]:
        return int(time.time() * 1000)

    def error(self, refused: Refused) -> Tuple[int, Union[str, Dict[str, Any]]]:
        if not refused.kind:
            return refused.status, refused.message
        return refused.status, {"id": secrets.token_hex(8), "kind": refused.kind,
                                "message": refused.message}

    def wanted(self, scope: str, body: Any) -> Wanted:
        PLANE_REQUEST(body, "")
        config = body.get("spawn_config", {})
        return wanted(body, config, body.get("key", {}), bool(config))

    def answer(self, common: Dict[str, Any], drone: Optional[str]) -> Dict[str, Any]:
        return {**common, "subdomain": None, "drone": drone}

    def stop_kind(self, path: str, body: bytes) -> str:
        return "hard" if path.endswith("/hard-terminate") else "soft"

    def stopped(self) -> Any:
        return None

    def state(self, status: str, stop: Optional[Stop], exit_error: bool) -> Dict[str, Any]:
        state: Dict[str, Any] = {"status": status, "time": self.time()}
        if stop:
            state.update(termination_reason=stop.reason, termination_kind=stop.kind)
        if status == "terminated":
            state["exit_error"] = exit_error
        return state

    def event(self, state: Dict[str, Any]) -> str:
        return "data: %s\nid: %s\n\n" % (json.dumps(state, separators=(",", ":")), state["status"])


# -------------------------------------------------------------------------------------------------
# A backend: one process, one thread that leads it through its states, one that waits for its exit
# -------------------------------------------------------------------------------------------------

def listening(port: int) -> bool:
    # Bound first, to see the one source port in thousands from which it would connect to itself.
    with socket.socket() as probe:
        probe.settimeout(1.0)
        probe.bind(("127.0.0.1", 0))
        return bool(probe.getsockname()[1] != port) and probe.connect_ex(("127.0.0.1", port)) == 0


def marked(mark: socket.socket, port: int) -> bool:
    """Whether a port could be marked as one's own, so that platforms of other processes see it."""
    try:
        if sys.platform == "linux":     # elsewhere there are no such names
            mark.bind("\0jamsocket-lite-port-%d" % port)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def kill_group(pid: int) -> None:
    # macOS gives no permission to kill what is dead.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class Backend:
    """A session backend. `states` are as the wire has them, `pid` is None until a process runs."""

    def __init__(self, platform: "LocalPlatform", wanted: Wanted, port: int,
                 mark: socket.socket) -> None:
        self.id = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(14))
        self.key = wanted.key
        self.states: List[Dict[str, Any]] = []
        self.pid: Optional[int] = None
        self.port = port
        self._mark = mark               # that the port is taken
        self.wanted = wanted
        self.in_use = 0                 # proxied requests under way
        self._platform = platform
        self._changed = platform.changed
        self._born = self._touched = time.monotonic()
        self._exit_code: Optional[int] = None
        self._stop: Optional[Stop] = None
        if platform.plane:
            self._enter("scheduled")

    @property
    def status(self) -> str:
        return str(self.states[-1]["status"]) if self.states else "scheduled"

    def wait(self, status: str, timeout: float = 60.0) -> Dict[str, Any]:
        """Wait until it has been through `status`; that state."""
        def found() -> List[Dict[str, Any]]:
            return [state for state in self.states if state["status"] == status]
        with self._changed:
            if not self._changed.wait_for(found, timeout):
                raise TimeoutError("backend %s is still %s, not %s"
                                   % (self.id, self.status, status))
            return found()[0]

    def becomes_ready(self) -> bool:
        """Wait until it is ready, or never will be; whether it is."""
        with self._changed:
            self._changed.wait_for(lambda: self.status not in STATUSES[:STATUSES.index("ready")])
            return self.status == "ready"

    def stop(self, kind: str, reason: str = "external") -> None:
        with self._changed:
            if self._stop is None or (self._stop.kind, kind) == ("soft", "hard"):
                self._stop = Stop(kind, reason)
                self._changed.notify_all()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """While this lasts it is not idle."""
        with self._changed:
            self._touched = self._touched if self.in_use else time.monotonic()
            self.in_use += 1
        try:
            yield
        finally:
            with self._changed:
                self.in_use -= 1
                self._touched = self._touched if self.in_use else time.monotonic()
                self._changed.notify_all()

    def live(self) -> None:
        """All of its life, from scheduled to terminated."""
        if not self.states:             # the dev server hears of it later than who connected
            with self._changed:
                self._changed.wait_for(lambda: self._stop, self._platform.lag)
            self._enter("scheduled")
        self._enter("loading")
        try:
            process = self._start_process()
        except (OSError, ValueError) as error:
            self._platform.log("backend %s: cannot run %s: %s"
                               % (self.id, self._platform.command[0], error))
            if not isinstance(error, FileNotFoundError):
                self._enter("starting")     # as an image that is there, but does not run
            self._enter("terminated")
            return
        self.pid = process.pid
        self._platform.start_thread(self._reap, process)
        self._enter("starting")
        self._enter("waiting")
        self._await_ready()
        with self._changed:
            while not self._over():
                self._changed.wait(min(self._next_limit()[0] - time.monotonic(), 3600.0))
        self._shut_down(process.pid)

    def _start_process(self) -> "subprocess.Popen[bytes]":
        env = {**self.wanted.env, "PORT": str(self.port), "SESSION_BACKEND_ID": self.id}
        if self.key is not None:
            env["SESSION_BACKEND_KEY"] = self.key
        inherited = {name: value for name, value in os.environb.items()
                     if name.decode("latin-1") not in RESERVED_ENV}
        own = {name.encode(): value.encode() for name, value in env.items()}
        # Its own session, so that everything it starts can be killed with it; and its output on our
        # standard error.
        return subprocess.Popen(self._platform.command, stdin=subprocess.DEVNULL, stdout=2,
                                start_new_session=True, env={**inherited, **own})

    def _reap(self, process: "subprocess.Popen[bytes]") -> None:
        # Looked at before it is reaped, so that its pid is not another's when its group is killed.
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()              # macOS before 3.13
        with self._changed:
            kill_group(process.pid)
            self._exit_code = process.wait()
            self._changed.notify_all()

    def _await_ready(self) -> None:
        while not self._over():
            if listening(self.port):
                with self._changed:
                    if not self._over():
                        self._enter("ready")
                return
            with self._changed:
                self._changed.wait(PORT_POLL)

    def _last_use(self) -> float:
        """As the proxy tells it: when a use begins and ends, and now and then in between."""
        if not self.in_use:
            return self._touched
        used_for = time.monotonic() - self._touched
        return self._touched + used_for - used_for % self._platform.report

    def _next_limit(self) -> Tuple[float, Stop]:
        swept = min(self._born + self.wanted.lifetime, self._last_use() + self.wanted.max_idle)
        swept = max(swept, self._born + SPARED * self._platform.sweep)
        limits = [(self._platform.sweep_after(swept), Stop("soft", "swept"))]
        if self.status != "ready":
            too_slow = self._born + self._platform.startup_timeout
            limits.append((too_slow, Stop("hard", "startuptimeout")))
        return min(limits)

    def _over(self) -> bool:
        with self._changed:
            when, stop = self._next_limit()
            if self._stop is None and when <= time.monotonic():
                self._stop = stop
            return self._stop is not None or self._exit_code is not None

    def _shut_down(self, pid: int) -> None:
        with self._changed:
            if self._exit_code is None and self._stop and self._stop.kind == "soft":
                self._enter("terminating")
                os.kill(pid, signal.SIGTERM)
                self._changed.wait_for(self._ended_or_overtaken, self._platform.grace)
            if self._exit_code is None and self._stop:
                if self._stop.kind == "hard":
                    self._enter("hard-terminating")
                kill_group(pid)
                self._changed.wait_for(lambda: self._exit_code is not None)
            self._enter("terminated")

    def _ended_or_overtaken(self) -> bool:
        return self._exit_code is not None or self._stop is not None and self._stop.kind == "hard"

    def _enter(self, status: str) -> None:
        stop = self._stop if STATUSES.index(status) > STATUSES.index("ready") else None
        state = self._platform.api.state(status, stop, bool(self._exit_code))
        with self._changed:
            self.states.append(state)
            if status == "terminated":
                self._platform.forget(self)
                self._mark.close()
            self._changed.notify_all()
        key = "" if self.key is None else " (key %s)" % json.dumps(self.key)
        details = [str(state[name]) for name in ("termination_kind", "termination_reason")
                   if name in state]
        if state.get("exit_error"):
            details.append("exit error")
        self._platform.log("backend %s%s: %s" % (self.id, key, ", ".join([status] + details)))


# -------------------------------------------------------------------------------------------------
# HTTP
# -------------------------------------------------------------------------------------------------

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True      # no event waits for the acknowledgement of the one before
    server: "Server"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):      # backends may be sent any method
            return self._dispatch
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def end_headers(self) -> None:
        """Every page may read every answer. Starting and ending takes a preflight, which is told no
        more than this."""
        self.send_header(*CORS[0])
        super().end_headers()

    def _dispatch(self) -> None:
        self.platform = self.server.platform
        path = self.path.partition("?")[0]
        first = path.split("/")[1] if path.startswith("/") else ""
        if first not in ("", "v2", "ctrl", "pub"):
            self._record(b"")
            self._proxy(first)
            return
        try:
            self._route(path, self._body())
        except Refused as refused:
            status, told = self.platform.api.error(refused)
            if isinstance(told, str):
                self._send(status, told.encode(), self.platform.api.type_of_words)
            else:
                self._reply(told, status)

    def _route(self, path: str, body: bytes) -> None:
        self._record(body)
        for method, pattern, name in self.platform.api.routes:
            match = re.match(pattern + r"\Z", path)
            if match and self.command == "OPTIONS":
                self._send(204)
                return
            if match and method == self.command:
                getattr(self, "_" + name)(match.group(1), body)
                return
        raise unknown("endpoint")

    def _record(self, body: bytes) -> None:
        if self.platform.recording:
            self.platform.requests.append(
                Request(self.command, self.path, list(self.headers.items()), body))

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        chunked = "Transfer-Encoding" in self.headers
        if chunked or not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            raise Refused(413, "the body needs a Content-Length of at most %d" % LARGEST_BODY,
                          "PAYLOAD_TOO_LARGE")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError("the client left")
        return body

    def _reply(self, value: Any, status: int = 200, chunked: bool = False) -> None:
        self._send(status, json.dumps(value).encode(), "application/json", chunked)

    def _send(self, status: int, body: bytes = b"", kind: Optional[str] = None,
              chunked: bool = False) -> None:
        chunked = chunked and self.request_version != "HTTP/1.0"
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif status != 204:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if chunked:
            self._write_chunk(body)
            self._write_chunk(b"")
        else:
            self.wfile.write(body)

    def _authorize(self, scope: str = "-/-") -> None:
        platform = self.platform
        if platform.plane and not platform.tokens:
            return
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        known = token in platform.tokens
        if not platform.plane and scope == "-/-":
            known = known or token == "-"
        if kind.lower() != "bearer" or not known:
            raise Refused(401, "the token is missing or wrong", "UNAUTHORIZED", "Other")

    # The API

    def _connect(self, scope: str, body: bytes) -> None:
        if scope.count("/") > 1 and not self.platform.api.hosted:
            raise unknown("endpoint")   # the dev server has no environments
        self._authorize(scope)
        # Without credentials only this keeps any web page from starting processes here.
        if self.platform.plane and self.headers.get_content_type() != "application/json":
            raise Refused(415, "expected a request with Content-Type: application/json")
        wanted = self.platform.api.wanted(scope, parse_json(body or b"{}"))
        base = self.platform.url
        if re.match(r"[\w.:\[\]-]+\Z", self.headers.get("Host", "")):
            base = "http://" + self.headers["Host"]     # how this client reaches us
        self._reply(self.platform.connect(wanted, base), chunked=self.platform.api.chunks_answers)

    def _visible(self, name: str) -> Optional[Backend]:
        """The dev server knows a backend from its first event until its end."""
        backend = self.platform.known(name)
        if self.platform.plane or backend and backend.states and backend.status != "terminated":
            return backend
        return None

    def _find(self, name: str) -> Backend:
        backend = self._visible(name)
        if backend is None:
            raise unknown("backend")
        return backend

    def _status(self, name: str, body: bytes) -> None:
        platform = self.platform
        with platform.changed:
            platform.changed.wait_for(lambda: platform.closing or self._visible(name),
                                      0.0 if platform.plane else STATUS_HELD)
            state = self._find(name).states[-1]
        self._reply(state)

    def _terminate(self, name: str, body: bytes) -> None:
        self._authorize()
        backend = self._find(name)
        kind = self.platform.api.stop_kind(self.path.partition("?")[0], body)
        self._reply(self.platform.api.stopped())
        with self.platform.changed:     # until then its state is what it was, whoever asks
            self.platform.changed.wait_for(lambda: self.platform.closing, self.platform.lag)
        backend.stop(kind)

    def _stream(self, name: str, body: bytes) -> None:
        self.close_connection = True
        if not self.platform.plane and not re.match(r"[a-z0-9-]{1,45}\Z", name):
            self._start_events()
            self._write_chunk(b"")
            return
        backend = self.platform.known(name)
        self._gone = False
        watcher = self.platform.start_thread(self._watch)
        try:
            self._send_events(backend)
        finally:
            hang_up(self.connection)
            watcher.join()

    def _watch(self) -> None:
        """Nothing but a blocked read tells at once that a silent client has left."""
        with contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass
        with self.platform.changed:
            self._gone = True
            self.platform.changed.notify_all()

    def _send_events(self, backend: Optional[Backend]) -> None:
        platform, changed = self.platform, self.platform.changed
        last_id = self.headers.get("Last-Event-ID", "") if platform.plane else ""
        after = STATUSES.index(last_id) if last_id in STATUSES else -1
        states = backend.states if backend else []
        sent = 0

        def something() -> bool:
            return len(states) > sent or self._gone or platform.closing

        if platform.plane:
            self._start_events()
        while True:
            with changed:
                changed.wait_for(something, platform.keep_alive if platform.plane else None)
                if self._gone or platform.closing:
                    return
                new = states[sent:]
            if not platform.plane and not sent:
                self._start_events()    # the dev server's head comes with the first event
            for state in new:
                if STATUSES.index(state["status"]) > after:
                    self._write_chunk(platform.api.event(state).encode())
            if not new:
                self._write_chunk(b":\n\n")
            sent += len(new)

    def _start_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        if self.request_version != "HTTP/1.0":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _write_chunk(self, data: bytes) -> None:
        if self.request_version != "HTTP/1.0":
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.wfile.write(data)

    # The proxy: one request a connection, so that after the heads only bytes are passed on

    def _proxy(self, token: str) -> None:
        self.close_connection = True
        ticket = self.platform.ticket(token)
        if ticket is None or not ticket.backend.becomes_ready():
            self._refuse(410, "This url is not, or no longer, one of a backend.\n")
            return
        with ticket.backend.used():
            self._forward(ticket, token)

    def _refuse(self, status: int, message: str) -> None:
        self.send_response(status)
        for header in CORS[1:]:
            self.send_header(*header)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(message)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(message.encode())

    def _forward(self, ticket: Ticket, token: str) -> None:
        try:
            upstream = socket.create_connection(("127.0.0.1", ticket.backend.port), 10.0)
        except OSError:
            self._refuse(502, "The backend does not accept connections.\n")
            return
        with upstream:
            upstream.settimeout(None)
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):      # one that hung up is seen by what it answers
                upstream.sendall(self._forwarded_head(ticket, token))
            pump = self.platform.start_thread(self._pump_request, upstream)
            try:
                self._pump_answer(upstream)
            finally:
                hang_up(self.connection)
                hang_up(upstream)
                pump.join()

    def _upgrades(self) -> bool:
        return "upgrade" in self.headers.get("Connection", "").lower()

    def _forwarded_head(self, ticket: Ticket, token: str) -> bytes:
        rest = self.path[len(token) + 1:]
        lines = ["%s %s HTTP/1.1" % (self.command, rest if rest.startswith("/") else "/" + rest)]
        # BaseHTTPRequestHandler has answered Expect.
        dropped = {"expect"} if self._upgrades() else {"expect", "connection", "keep-alive"}
        lines += ["%s: %s" % (name, value) for name, value in self.headers.items()
                  if name.lower() not in dropped and not name.lower().startswith("x-verified-")]
        if not self._upgrades():
            lines.append("Connection: close")
        # A control character no header can hold; then the platform leaves it out.
        if ticket.user is not None and not re.search(r"[\x00-\x1f\x7f]", ticket.user):
            lines.append("X-Verified-Username: " + ticket.user.encode().decode("latin-1"))
        auth = json.dumps(ticket.auth, ensure_ascii=False, separators=(",", ":"))
        lines += ["X-Verified-User-Data: " + auth.encode().decode("latin-1"),
                  "X-Verified-Path: " + self.path.partition("?")[0],
                  "X-Verified-Backend: " + ticket.backend.id, "X-Verified-Secret: " + ticket.secret]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _pump_request(self, upstream: socket.socket) -> None:
        # What follows the body is a second request, which is not taken here: only its end matters.
        length = self.headers.get("Content-Length", "0")
        left = float(length) if length.isdecimal() else 0.0
        if self._upgrades() or "Transfer-Encoding" in self.headers:
            left = math.inf
        with contextlib.suppress(OSError):
            while True:
                data = self.rfile.read1(65536)
                if not data:
                    break
                upstream.sendall(data[:int(min(left, len(data)))])
                left -= len(data)
                left = max(left, 0.0)
        hang_up(upstream)

    def _pump_answer(self, upstream: socket.socket) -> None:
        head = b""
        with contextlib.suppress(ConnectionError):
            while b"\r\n\r\n" not in head and len(head) < LARGEST_HEAD:
                data = upstream.recv(65536)
                if not data:
                    break
                head += data
        if not head:
            self._refuse(502, "The backend hung up without an answer.\n")
            return
        self.connection.sendall(self._relayed_head(head))
        while True:
            data = upstream.recv(65536)
            if not data:
                return
            self.connection.sendall(data)

    def _relayed_head(self, received: bytes) -> bytes:
        """Every page may read it, unless the backend has its own mind about that."""
        head, end, body = received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        if not end or lines[0].split(b" ")[1:2] == [b"101"]:
            return received
        lines = [line for line in lines if not re.match(rb"(connection|keep-alive):", line, re.I)]
        lines.append(b"Connection: close")
        if not re.search(rb"\naccess-control-allow-(origin|methods|headers):", head, re.I):
            lines += ["{}: {}".format(*header).encode() for header in CORS]
        return b"\r\n".join(lines) + end + body


def hang_up(connection: socket.socket) -> None:
    """Unlike close(), this wakes a thread that is reading."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Server(socketserver.TCPServer):
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, platform: "LocalPlatform", address: Tuple[str, int]) -> None:
        self.platform = platform
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)


# -------------------------------------------------------------------------------------------------
# The platform
# -------------------------------------------------------------------------------------------------

def origin(host: str, port: int) -> str:
    return ("http://[%s]:%d" if ":" in host else "http://%s:%d") % (host, port)


class LocalPlatform:
    """The server and its backends. `command` is run for each backend, without one a small server.

    `tokens` are accepted for any account and service, besides the dev mode's `-`; with some, errors
    are the hosted platform's. With `plane` no token is needed unless some are given; `cluster` and
    `pool` are those of its one drone, and `controller_url` begins each status_url, or else, as with
    a controller that was not told its url, the address it is bound to.

    The times, in seconds: `startup_timeout` for a backend to listen; `grace` for one to end after a
    soft termination; `lag` until a termination shows, and, as on the dev server, a new backend;
    `sweep` from one look at the idle and the old to the next; `report` from one word of the proxy
    that a backend is in use to the next; `keep_alive` between the comments of an idle stream of
    Plane's.

    `log` gets one line for each change of a state. With `record` off, `requests` stays empty.
    """

    def __init__(self, command: Optional[Sequence[str]] = None, *, host: str = "127.0.0.1",
                 port: int = 0, plane: bool = False, tokens: Sequence[str] = (),
                 cluster: str = "local", pool: str = "", controller_url: Optional[str] = None,
                 startup_timeout: float = 30.0, grace: float = 30.0, lag: float = 0.05,
                 sweep: float = 5.0, report: float = 7.0, keep_alive: float = 15.0,
                 log: Callable[[str], None] = lambda line: None, record: bool = True) -> None:
        self.command = list(command or DEFAULT_COMMAND)
        self.host, self.port, self.url = host, port, ""
        self.plane, self.tokens = plane, tuple(tokens)
        self.startup_timeout, self.grace, self.lag = startup_timeout, grace, lag
        self.sweep, self.report, self.keep_alive = sweep, report, keep_alive
        self.cluster, self.pool, self.controller_url = cluster, pool, controller_url
        self.log, self.recording = log, record
        self.requests: List[Request] = []
        self.api = (Plane if plane else Jamsocket)(hosted=bool(tokens))
        self.changed = threading.Condition()        # guards all that follows, and the backends
        self.closing = False
        self._started = time.monotonic()
        self._server: Optional[Server] = None
        self._threads: Set[threading.Thread] = set()
        self._connections: Set[socket.socket] = set()
        self._backends: Dict[str, Backend] = {}
        self._keys: Dict[Tuple[str, str], Backend] = {}
        self._tickets: Dict[str, Ticket] = {}

    def start(self) -> None:
        """Listen; OSError where the address cannot be had."""
        self._server = Server(self, (self.host, self.port))
        self.port = self._server.server_address[1]
        everywhere = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
        self._reached = everywhere.get(self.host, self.host)
        self.url = origin(self._reached, self.port)
        self.start_thread(self._accept, self._server)
        atexit.register(self.close)

    def close(self) -> None:
        """End streams, connections and backends at once; no thread and no process is left then."""
        atexit.unregister(self.close)
        with self.changed:
            self.closing = True
            server, self._server = self._server, None
            backends, connections = list(self._backends.values()), list(self._connections)
            self.changed.notify_all()
        if server is not None:
            # A connection lets accept() return; closing does not do so everywhere.
            with contextlib.suppress(OSError):
                socket.create_connection((self._reached, self.port), 5.0).close()
        for connection in connections:
            hang_up(connection)
        for backend in backends:
            backend.stop("hard")
        self._join_threads()
        if server is not None:
            server.server_close()

    def _join_threads(self) -> None:
        while self._threads:            # those that end may have started others
            with self.changed:
                threads, self._threads = self._threads, set()
            for thread in threads:
                thread.join()

    def __enter__(self) -> "LocalPlatform":
        self.start()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def backend(self, id: str) -> Backend:
        """The backend of that name; KeyError where there is none."""
        with self.changed:
            return self._backends[id]

    def known(self, id: str) -> Optional[Backend]:
        with self.changed:
            return self._backends.get(id)

    def ticket(self, token: str) -> Optional[Ticket]:
        with self.changed:
            return self._tickets.get(token)

    def connect(self, wanted: Wanted, base: str) -> Dict[str, Any]:
        """The answer to a connect request, with urls that begin with `base`."""
        with self.changed:
            if self.closing:
                raise Refused(503, "the platform is closing", "UNAVAILABLE", "Other")
            backend, spawned = self._held(wanted), False
            if backend is None:
                backend, spawned = self._spawn(wanted), True
            token, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
            if backend.status != "terminated":
                self._tickets[token] = Ticket(backend, secret, wanted.user, wanted.auth)
            return self.api.answer({
                "backend_id": backend.id,
                "spawned": spawned,
                "status": "scheduled" if spawned else backend.status,
                "token": token,
                "url": "%s/%s/" % (base, token),
                "status_url": self._own_url(base) + self.api.status_path % backend.id,
                "secret_token": secret,
            }, "dr-local" if spawned else None)

    def _own_url(self, base: str) -> str:
        """What a status_url begins with: a controller of Plane's says what it was told, less the
        path, or where it is bound."""
        if not self.plane:
            return base
        own = self.controller_url or origin(self.host or "0.0.0.0", self.port)
        return "/".join(own.split("/")[:3])

    def _held(self, wanted: Wanted) -> Optional[Backend]:
        backend = None if wanted.key is None else self._keys.get((wanted.scope, wanted.key))
        if backend is None and not wanted.may_spawn:
            raise Refused(409, "the key is not held, and the request does not let it spawn",
                          "KEY_NOT_HELD", "KeyUnheldNoSpawnConfig")
        return backend

    def _spawn(self, wanted: Wanted) -> Backend:
        cluster, pool = wanted.drone
        if cluster not in (None, self.cluster) or (pool or "") != self.pool:
            raise Refused(500, "No active drone available.", "NO_DRONE", "NoDroneAvailable")
        backend = Backend(self, wanted, *self._free_port())
        self._backends[backend.id] = backend
        if wanted.key is not None:
            self._keys[(wanted.scope, wanted.key)] = backend
        self.start_thread(backend.live)
        return backend

    def sweep_after(self, when: float) -> float:
        """The first look at the idle and the old that finds what is due at that time."""
        if not self.sweep or math.isinf(when):
            return when
        return self._started + math.ceil((when - self._started) / self.sweep) * self.sweep

    def _free_port(self) -> Tuple[int, socket.socket]:
        """And what marks it as taken, for the backend itself binds it only after a while."""
        while True:
            port, mark = next(PORTS), socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
                if marked(mark, port):
                    return port, mark
            mark.close()

    def forget(self, backend: Backend) -> None:
        """What must not outlive a backend: its hold on its key, its tokens; and the oldest of those
        that have ended."""
        self._keys = {key: holder for key, holder in self._keys.items() if holder is not backend}
        self._tickets = {token: ticket for token, ticket in self._tickets.items()
                         if ticket.backend is not backend}
        ended = [each for each in self._backends.values() if each.status == "terminated"]
        for each in ended[:-KEPT]:
            del self._backends[each.id]

    def start_thread(self, target: Callable[..., None], *args: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self.changed:
            thread.start()
            self._threads = {each for each in self._threads if each.is_alive()} | {thread}
        return thread

    def _accept(self, server: Server) -> None:
        while True:
            try:
                connection, address = server.get_request()
            except OSError:             # out of descriptors, or a client that left at once
                if self.closing:
                    return
                time.sleep(PORT_POLL)
                continue
            with self.changed:
                if self.closing:
                    connection.close()
                    return
                self._connections.add(connection)
            self.start_thread(self._serve, server, connection, address)

    def _serve(self, server: Server, connection: socket.socket, address: Any) -> None:
        try:
            server.finish_request(connection, address)
        except OSError:
            pass                        # the client left
        finally:
            with self.changed:
                self._connections.discard(connection)
            server.shutdown_request(connection)


# -------------------------------------------------------------------------------------------------
# The backend that runs where no command is given
# -------------------------------------------------------------------------------------------------

class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        key = os.environ.get("SESSION_BACKEND_KEY")
        holds = "no key" if key is None else "the key %s" % json.dumps(key)
        id = os.environ["SESSION_BACKEND_ID"]
        body = "Hello from session backend %s, which holds %s.\n" % (id, holds)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


class GreeterServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True      # a connection that has ended may still hold the port
    daemon_threads = True


def greet() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with GreeterServer(("127.0.0.1", int(os.environ["PORT"])), Greeter) as server:
        server.serve_forever()


# -------------------------------------------------------------------------------------------------
# Command line
# -------------------------------------------------------------------------------------------------

def parse(argv: Sequence[str]) -> Tuple[argparse.Namespace, List[str]]:
    """Options, and what follows the first `--` as it is: it may hold options, and another `--`."""
    cut = list(argv).index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] [-- CMD ARG...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Run a Jamsocket platform on this machine, for development: no account and no Docker\n"
            "needed. Each session backend is a process of its own, started as CMD ARG... when a\n"
            "client connects. CMD must listen on 127.0.0.1 at the port in its environment\n"
            "variable PORT. Without CMD, each backend is a small web server that says hello."),
        epilog=("example: %(prog)s --port 9000 -- node server.js\n"
                "Stop it with Ctrl-C; its backends end with it."))
    option = parser.add_argument
    option("--port", type=int, default=8080,
           help="port to listen on, 0 for any free one (default: 8080)")
    option("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    option("--plane", action="store_true",
           help="serve the API of a self-hosted Plane controller instead of Jamsocket's")
    option("--token", action="append", default=[], metavar="TOKEN",
           help="accept this token too, for any account and service (repeatable)")
    option("--startup-timeout", type=float, default=30.0, metavar="SECONDS",
           help="how long a backend may take to listen (default: 30)")
    option("--grace", type=float, default=30.0, metavar="SECONDS",
           help="how long a backend may take to end after SIGTERM (default: 30)")
    option("--cluster", default="local",
           help="with --plane, the cluster of its drone (default: local)")
    option("--pool", default="",
           help="with --plane, the pool of its drone (default: the unnamed one)")
    option("--controller-url", metavar="URL",
           help="with --plane, what a status_url begins with (default: the address listened on)")
    options = parser.parse_args(list(argv[:cut]))
    if not 0 <= options.port <= 65535:
        parser.error("--port: expected 0 to 65535")
    return options, list(argv[cut + 1:])


def log(line: str) -> None:
    with contextlib.suppress(OSError):      # a terminal that has gone must not end a thread
        print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


def serve(platform: LocalPlatform) -> int:
    """Run until a signal comes. It arrives by a pipe: a handler that raised could cut the clean-up
    short, and one that only Python runs may wait for ever until this thread is done reading."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name)
        if name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:      # nohup
            signal.signal(number, lambda *_: None)
    try:
        platform.start()
    except (OSError, OverflowError) as error:
        where = "port %d of %s" % (platform.port, platform.host)
        print("local_platform: cannot listen on %s: %s; choose another with --port"
              % (where, getattr(error, "strerror", None) or error), file=sys.stderr)
        return 1
    try:
        how = ("PLANE_URL=%s PLANE_IMAGE=local" % platform.url if platform.plane
               else "JAMSOCKET_DEV=true JAMSOCKET_DEV_PORT=%d" % platform.port)
        name = "Plane" if platform.plane else "Jamsocket"
        print("%s on %s - point a client at it with %s" % (name, platform.url, how), flush=True)
        os.read(read_end, 1)
    finally:
        platform.close()
    return 0


def main(argv: Optional[Sequence[str]] = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments == ["--backend"]:
        greet()
        return 0
    options, command = parse(arguments)
    return serve(LocalPlatform(
        command, host=options.host, port=options.port, plane=options.plane, tokens=options.token,
        cluster=options.cluster, pool=options.pool, controller_url=options.controller_url,
        startup_timeout=options.startup_timeout, grace=options.grace, record=False, log=log))


if __name__ == "__main__":
    sys.exit(main())
