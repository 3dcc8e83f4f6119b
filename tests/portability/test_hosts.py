"""The file works in programs that are not its user's own: a serverless runtime, a debugger."""

import http.server
import json
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Type

import pytest

from local.local_platform import LocalPlatform
from kit.deadlines import LONG
from kit.places import BACKEND, PROGRAMS, TOKEN, Done, Place, run
from kit.server import Request, Reset, Server, Step, answer

SECRET = "c2VjcmV0-0123456789"      # whoever has a url with it may use the backend


@pytest.fixture
def busy_platform(tmp_path: Path) -> Iterator[LocalPlatform]:
    with LocalPlatform(BACKEND, tokens=[TOKEN]) as running:
        yield running


# -------------------------------------------------------------------------------------------------
# A serverless runtime
# -------------------------------------------------------------------------------------------------

class Outcome(NamedTuple):
    """What the runtime posted for an invocation."""
    kind: str           # "response", or "error"
    document: Any
    left: float         # seconds until the invocation's deadline, when it was posted


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "RuntimeApi"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        assert self.path == "/2018-06-01/runtime/invocation/next", self.path
        invocation = self.server.waiting.get()
        if invocation is None:
            self._reply(410, b"")
            return
        event, seconds = invocation
        self.server.deadline = time.time() + seconds
        self._reply(200, json.dumps(event).encode("ascii"), {
            "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "Lambda-Runtime-Deadline-Ms": str(int(self.server.deadline * 1000))})

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8"))
        self.server.outcomes.put(Outcome(self.path.rpartition("/")[2], document,
                                         self.server.deadline - time.time()))
        self._reply(202, b"{}")

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)),
                            "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class RuntimeApi(http.server.HTTPServer):
    """The host's side of https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, one
    invocation at a time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.waiting: "queue.Queue[Optional[Tuple[Any, float]]]" = queue.Queue()
        self.outcomes: "queue.Queue[Outcome]" = queue.Queue()
        self.deadline = 0.0


class Function:
    """A deployed function with its runtime process. `invoke` it, then `end` it to read its log."""

    def __init__(self, place: Place, api_url: str) -> None:
        self._api = RuntimeApi()
        self._thread = threading.Thread(target=self._api.serve_forever,
                                        kwargs={"poll_interval": 0.02})
        task = place.folder / "task"
        task.mkdir()
        Place(task, place.platform, place.key).copy("handler.py")
        (task / "user.py").unlink()
        env = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % self._api.server_address[1],
               "LAMBDA_TASK_ROOT": str(task), "_HANDLER": "handler.handle",
               "JAMSOCKET_ACCOUNT": "acme", "JAMSOCKET_SERVICE": "whiteboard",
               "JAMSOCKET_TOKEN": TOKEN, "JAMSOCKET_API_URL": api_url}
        self._process = subprocess.Popen([sys.executable, "-X", "dev", "-W", "error",
                                          str(PROGRAMS / "runtime.py")],
                                         env=env, cwd=str(place.folder), stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self) -> "Function":
        self._thread.start()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self._process.kill()
        self._process.communicate()
        self._api.waiting.put(None)     # for a runtime that asks still
        self._api.shutdown()
        self._thread.join()
        self._api.server_close()

    def invoke(self, request: Mapping[str, Any], seconds: float = LONG) -> Outcome:
        self._api.waiting.put(({"request": request}, seconds))
        return self.outcome()

    def outcome(self) -> Outcome:
        """The next one that its runtime posts."""
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            ended = self._process.poll() is not None
            try:
                return self._api.outcomes.get(timeout=0.2)
            except queue.Empty:
                assert not ended, self._process.communicate()
        raise TimeoutError("the runtime posted nothing")

    def end(self) -> Done:
        self._api.waiting.put(None)
        out, err = self._process.communicate(timeout=LONG)
        return Done(self._process.returncode, out.decode("utf-8"), err.decode("utf-8"))


def test_a_serverless_function_is_invoked_cold_and_warm(tmp_path: Path,
                                                        busy_platform: LocalPlatform) -> None:
    """It waits with what is left of the invocation, fails cleanly where that is too short, and goes
    on afterwards."""
    with Function(Place(tmp_path, busy_platform, ""), busy_platform.url) as function:
        cold = function.invoke({"key": "board"})
        warm = function.invoke({"key": "board"})
        slow = {"key": "slow", "spawn": {"executable": {"env": {"DELAY": "60"}}}}
        lates: List[Outcome] = []
        for seconds in (1.2, 1.2, 2.4, 2.4, 4.8, 4.8):  # a busy machine is late at the end of some
            lates.append(function.invoke(slow, seconds))
            if lates[-1].document.get("errorType") == "JamsocketTimeout" and lates[-1].left > 0:
                break
        late = lates[-1]
        unfit = function.invoke({"key": "board"}, 0.1)
        after = function.invoke({"key": "board"})
        done = function.end()
    assert {cold.kind, warm.kind, after.kind} == {"response"} and {late.kind,
                                                                   unfit.kind} == {"error"}
    count = [each.document["invocations"] for each in (cold, warm, after)]
    assert count == [1, 2, 4 + len(lates)]
    assert cold.document["headers"]["Location"].startswith(busy_platform.url)
    # The function answered itself, before its host would have ended it.
    assert late.document["errorType"] == "JamsocketTimeout" and late.left > 0
    # No time at all is not a timeout
    assert unfit.document["errorType"] == "ConfigurationError"
    connects = [request for request in busy_platform.requests if request.path.endswith("/connect")]
    assert 4 <= len(connects) <= 3 + len(lates)
    assert (done.code, done.err) == (0, "") and "JamsocketTimeout" in done.out
    assert not secrets_in(done, [late, unfit], [TOKEN, *tokens_of(busy_platform)])


def tokens_of(platform: LocalPlatform) -> List[str]:
    """What the platform handed out, which whoever reads a log must not find."""
    return [*platform._tickets, *(ticket.secret for ticket in platform._tickets.values())]


def secrets_in(done: Done, outcomes: List[Outcome], secrets: List[str]) -> List[str]:
    shown = done.out + done.err + json.dumps([outcome.document for outcome in outcomes])
    return [secret for secret in secrets if secret in shown]


# By the key of a connect request: how it fails, while the platform repeats all the secrets that it
# has.
FAILURES = {
    "refused": "AuthenticationError", "broken": "HTTPError", "redirected": "ProtocolError",
    "garbled": "ProtocolError",
    "misshapen": "ProtocolError", "no-http": "ProtocolError", "reset": "NetworkError",
    # These have an answer, and fail in the wait for it:
    "no-url": "ConfigurationError", "unreachable": "JamsocketTimeout", "over": "BackendTerminated",
    "status-refused": "AuthenticationError", "status-redirected": "ProtocolError",
}


def connected(url: str, key: str) -> Dict[str, Any]:
    status_urls = {"no-url": "http://%s@127.0.0.1:1" % SECRET, "unreachable": "http://127.0.0.1:1/"
                   + SECRET}
    return {"backend_id": key, "spawned": True, "status": "terminating" if key == "over"
            else "scheduled",
            "token": [SECRET] if key == "misshapen" else SECRET, "secret_token": SECRET,
            "url": "%s/%s/" % (url, SECRET), "ready_url": "%s/%s/ready" % (url, SECRET),
            "status_url": status_urls.get(key, "%s/v2/backend/%s/status" % (url, key))}


def failure(request: Request) -> List[Step]:
    url = "http://%s" % request.header("host")
    status = request.method == "GET"
    key = request.target.split("/")[3] if status else request.json()["key"]
    secret = SECRET if status else TOKEN
    said = "Bearer %s is not one of %s at /%s/" % (secret, secret, secret)
    refusal = answer({"error": {"message": said, "code": secret, "id": secret}}, 403)
    redirect = answer(b"", 302, [("Location", "https://%s.example.test/%s" % (secret, secret))])
    answers: Dict[str, Step] = {
        "refused": refusal, "redirected": redirect,
        "broken": answer(said.encode("ascii"), 500, [("Content-Type", "text/plain")]),
        "garbled": answer(said.encode("ascii")), "no-http": said.encode("ascii") + b"\r\n\r\n",
        "reset": Reset()}
    if status:
        answers = {"status-refused": refusal, "status-redirected": redirect}
    return [answers.get(key) or answer(connected(url, key))]


def test_what_a_serverless_host_logs_shows_no_token(tmp_path: Path,
                                                    busy_platform: LocalPlatform) -> None:
    """Its log holds the text and the whole traceback, causes included, of every way to fail."""
    with Server(failure) as server, Function(Place(tmp_path, busy_platform, ""),
                                             server.url) as function:
        outcomes = {key: function.invoke({"key": key}, 0.8 if key == "unreachable" else LONG)
                    for key in FAILURES}
        done = function.end()
    assert {key: (each.kind, each.document["errorType"]) for key, each in outcomes.items()} == \
        {key: ("error", kind) for key, kind in FAILURES.items()}
    assert (done.code, done.err) == (0, "") and done.out.count("Traceback") == len(FAILURES)
    assert not secrets_in(done, list(outcomes.values()), [TOKEN, SECRET])


def test_a_serverless_function_that_is_set_up_wrongly_fails_as_it_starts(
    tmp_path: Path, busy_platform: LocalPlatform
) -> None:
    with Function(Place(tmp_path, busy_platform, ""), "ftp://" + TOKEN) as function:
        outcome = function.outcome()
        done = function.end()
    assert outcome.document["errorType"] == "ConfigurationError" and (done.code,
                                                                      done.err) == (1, "")
    assert not secrets_in(done, [outcome], [TOKEN])


# -------------------------------------------------------------------------------------------------
# A debugger
# -------------------------------------------------------------------------------------------------

def test_in_the_python_of_gdb(tmp_path: Path, busy_platform: LocalPlatform) -> None:
    gdb = shutil.which("gdb")
    if gdb is None:
        pytest.skip("needs gdb")
    asked = run([gdb, "-nx", "-batch", "-ex",
                 "python import sys; print(sys.version_info >= (3, 7))"], tmp_path)
    if asked.out.strip() != "True":
        pytest.skip("needs a gdb with Python 3.7 or later")
    place = Place(tmp_path, busy_platform, "gdb")
    place.copy()
    (tmp_path / "program.py").write_text("import warnings\nwarnings.simplefilter('error')\n"
                                         + place.program)
    report = run([gdb, "-nx", "-batch", "-ex", "python exec(open('program.py').read())"],
                 tmp_path).json()
    place.check_report(report, place.key, str(tmp_path / "jamsocket_lite.py"))
