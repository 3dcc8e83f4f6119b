#!/usr/bin/env python3
"""Ten checks of a live platform, for whoever has just set up an account or a cluster: `make check`.
Needs the standard library and jamsocket_lite.py alone.

    JAMSOCKET_DEV=true python3 tests/dev/check.py
    PLANE_URL=https://plane.example.com PLANE_IMAGE=me/app python3 tests/dev/check.py --cluster apps

Prints a line for each with the time it took. What it starts is ended, also when a check fails or
Ctrl-C is pressed. Exit status: 0 all passed, 1 one failed, 2 the environment names no platform or a
setting is wrong, 130 interrupted.
"""

import argparse
import ipaddress
import os
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable, Dict, Generator, List, NoReturn, Optional, Sequence, Union
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from jamsocket_lite import (AuthenticationError, BackendState, ConfigurationError,
                            ConnectResponse, HTTPError, Jamsocket, JamsocketError, Plane)

STATUSES = ("scheduled", "loading", "starting", "waiting", "ready",
            "terminating", "hard-terminating", "terminated")

# A dev server says 404 of a backend that has ended, and also of one that it has just started: how
# often it has to say so.
PATIENCE = 4

# What ends the backends of this program where it cannot do so itself.
LIMITS = {"max_idle_seconds": 120, "lifetime_limit_seconds": 600}

UNSET = """\
check: nothing in the environment names a platform. Set the variables of one:
  JAMSOCKET_ACCOUNT, JAMSOCKET_SERVICE, JAMSOCKET_TOKEN
      a Jamsocket account (and JAMSOCKET_API_URL, where it has an API of its own)
  JAMSOCKET_DEV=true
      the dev server on this machine (and JAMSOCKET_DEV_PORT, where it is not 8080)
  PLANE_URL, PLANE_IMAGE
      a Plane controller, and the image to start (and PLANE_POOL, PLANE_NAMESPACE;
      PLANE_AUTHORIZATION, where something before it wants an Authorization header)"""

Client = Union[Jamsocket, Plane]


class Wrong(Exception):
    """A check did not find what it expected."""


class LeftOut(Exception):
    """A check could not be made, because an earlier one failed."""


def client_by_environment() -> Client:
    """The one that the module's functions and its command line use; exits where there is none."""
    names = ("JAMSOCKET_DEV", "JAMSOCKET_ACCOUNT", "JAMSOCKET_SERVICE", "JAMSOCKET_TOKEN")
    jamsocket = any(os.environ.get(name) for name in names)
    plane = os.environ.get("PLANE_URL") or os.environ.get("PLANE_IMAGE")
    if not jamsocket and not plane:
        print(UNSET, file=sys.stderr)
        raise SystemExit(2)
    return Jamsocket.from_env() if jamsocket else Plane.from_env()


def expect(true: bool, otherwise: str) -> None:
    if not true:
        raise Wrong(otherwise)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def get(url: str, timeout: float) -> int:
    """The status of whatever answers there; at a loopback address without a proxy, as the module
    does it."""
    here = is_loopback(urlsplit(url).hostname or "")
    opener = urllib.request.build_opener(*[urllib.request.ProxyHandler({})] * here)
    try:
        with opener.open(url, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


class Checks:
    """Each method is one check, and returns what it has to say. They share one key, and the backend
    that holds it."""

    def __init__(self, client: Client, spawn: Dict[str, Any], timeout: float) -> None:
        self.client, self.timeout = client, timeout
        self.key = "jamsocket-lite-check-" + secrets.token_hex(8)
        self.request = {"key": self.key, "spawn": spawn}
        self.started: List[str] = []
        self._backend: Optional[ConnectResponse] = None
        self._is_ready = False
        self._stream: Optional[Generator[BackendState, None, None]] = None

    @property
    def backend(self) -> ConnectResponse:
        if self._backend is None:
            raise LeftOut("there is no backend")
        return self._backend

    @property
    def ready_backend(self) -> ConnectResponse:
        if not self._is_ready:
            raise LeftOut("there is no backend that is ready")
        return self.backend

    def connect(self) -> str:
        """connect starts a backend"""
        answer = self.client.connect(self.request, timeout=self.timeout)
        self._backend = answer
        self.started.append(answer.backend_id)
        expect(answer.spawned, "a key that nobody has used before was held already")
        for name in ("url", "status_url"):
            scheme = urlsplit(getattr(answer, name)).scheme
            expect(scheme in ("http", "https"), "its %s is no http or https url" % name)
        return "%s, %s" % (answer.backend_id, answer.status)

    def same_key(self) -> str:
        """the same key gives the same backend"""
        first = self.backend
        again = self.client.connect(self.request, timeout=self.timeout)
        if again.backend_id != first.backend_id:
            self.started.append(again.backend_id)
            raise Wrong("backend %s" % again.backend_id)
        expect(not again.spawned, "the answer says that it was started anew")
        return ""

    def ready(self) -> str:
        """it becomes ready"""
        seen: List[BackendState] = []
        self.client.wait_until_ready(self.backend, timeout=self.timeout, on_status=seen.append)
        self._is_ready = True
        return ", ".join(state.status for state in seen)

    def status(self) -> str:
        """its status can be asked for"""
        state = self.client.status(self.ready_backend, timeout=self.timeout)
        expect(state.is_ready, "it is %s, not ready" % state.status)
        return "%s since %s" % (state.status, state.time)

    def stream(self) -> str:
        """its stream tells the states in their order"""
        # Kept open for the check of its end: a dev server forgets at once what has ended.
        self._stream = self.client.status_stream(self.ready_backend, timeout=5 * self.timeout)
        return self._read_stream("ready")

    def url(self) -> str:
        """its url answers"""
        url = self.ready_backend.url
        host = urlsplit(url).hostname
        try:
            status = get(url, self.timeout)
        except OSError as error:
            raise Wrong("%s: %s" % (host, getattr(error, "reason", error))) from None
        except HTTPException as error:  # whose text may hold the url, which is a secret
            raise Wrong("%s: %s" % (host, type(error).__name__)) from None
        expect(status < 500 and status != 410, "HTTP status %d" % status)
        return "HTTP status %d" % status

    def refusal(self) -> str:
        """a request that cannot be met is refused"""
        unheld = {"key": self.key + "-unheld", "spawn": False}
        try:
            got = self.client.connect(unheld, timeout=self.timeout)
        except AuthenticationError:
            raise
        except HTTPError as error:
            expect(error.status not in (502, 503, 504), "HTTP status %d" % error.status)
            return "HTTP status %d%s" % (error.status, ", " + error.code if error.code else "")
        self.started.append(got.backend_id)
        raise Wrong("a key that nobody holds, without a spawn, gave backend %s" % got.backend_id)

    def terminate(self) -> str:
        """it can be terminated"""
        self.client.terminate(self.backend, timeout=self.timeout)
        return ""

    def end(self) -> str:
        """its stream tells the end"""
        if self._stream is None:
            raise LeftOut("there is no stream")
        told = self._read_stream("terminated")
        self.started.remove(self.backend.backend_id)
        return told

    def again(self) -> str:
        """connect_and_wait gives a new one under that key"""
        old = self.backend
        answer = self.client.connect_and_wait(self.request, timeout=self.timeout)
        self.started.append(answer.backend_id)
        expect(answer.backend_id != old.backend_id, "it is the one that was terminated")
        return "%s is ready" % answer.backend_id

    def _read_stream(self, last: str) -> str:
        """Read on until that status."""
        assert self._stream is not None
        seen: List[BackendState] = []
        for state in self._stream:
            seen.append(state)
            if state.status == last:
                break
        else:
            raise Wrong("it ended without " + last)
        known = [STATUSES.index(state.status) for state in seen if state.status in STATUSES]
        told = ", ".join(state.status for state in seen)
        expect(known == sorted(set(known)), told)
        reason = seen[-1].termination_reason
        return told + (" (%s)" % reason if reason else "")

    def clean_up(self) -> List[str]:
        """End what was started; the ids of those that may still run."""
        if self._stream is not None:
            self._stream.close()
        # The answer to a connect that was interrupted is lost, but the key leads to its backend.
        try:
            held = self.client.connect({"key": self.key, "spawn": False}, timeout=10)
            self.started.append(held.backend_id)
        except JamsocketError:
            pass
        return [id for id in dict.fromkeys(self.started) if not self._ended(id)]

    def _ended(self, id: str) -> bool:
        for _ in range(PATIENCE):
            try:
                self.client.terminate(id, hard=True, timeout=10)
                return True
            except HTTPError as error:
                if error.status != 404:
                    return False
            except JamsocketError:
                return False
            time.sleep(0.3)
        return True


def run(checks: Checks) -> int:
    """Make all of them; how many failed."""
    each: Sequence[Callable[[], str]] = (
        checks.connect, checks.same_key, checks.ready, checks.status, checks.stream, checks.url,
        checks.refusal, checks.terminate, checks.end, checks.again)
    failed = 0
    for number, check in enumerate(each, 1):
        begun = time.monotonic()
        try:
            result, said = "ok", check()
        except LeftOut as reason:
            result, said = "left out", str(reason)
        except (JamsocketError, Wrong) as error:
            result, said = "FAILED", str(error)
        failed += result != "ok"
        title = (check.__doc__ or "") + (": " + said if said else "")
        took = time.monotonic() - begun
        print("%2d  %-8s %6.2f s  %s" % (number, result, took, title), flush=True)
    return failed


def checked(checks: Checks) -> int:
    """Make them and clean up, also after an interruption; the exit status."""
    begun = time.monotonic()
    try:
        try:
            failed = run(checks)
        finally:
            left = checks.clean_up()
            if left:
                print("These may run on until their limits: " + ", ".join(left), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    outcome = "%d of 10 failed" % failed if failed else "all passed"
    print("%s in %.1f s" % (outcome, time.monotonic() - begun))
    return 1 if failed else 0


def interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", help="where to start backends, if the platform has no default")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS",
                        help="how long a check may take (default: 60)")
    options = parser.parse_args(argv)
    spawn: Dict[str, Any] = dict(LIMITS)
    if options.cluster is not None:
        spawn["cluster"] = options.cluster
    try:
        client = client_by_environment()
    except ConfigurationError as error:
        print("check: %s" % error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, interrupt)
    print(repr(client), flush=True)
    return checked(Checks(client, spawn, options.timeout))


if __name__ == "__main__":
    sys.exit(main())
