"""The command line: in process where that shows enough, as a process where a shell, terminal or signal takes part."""

import io
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import BackendState, ConnectResponse, main
from local.local_platform import LocalPlatform
from kit.server import Request, Server, Silence, Step, Wait, answer, closed_port, event, stream_head

# For what must come to pass: only a broken program takes so long.
LONG = 30.0
FILE = str(Path(jamsocket_lite.__file__).resolve())
TOKEN = "tok3n-that-nobody-may-see"
TIME = "2026-11-23T22:46:13.368Z"
LIFE = ["scheduled", "loading", "starting", "waiting", "ready"]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Done(NamedTuple):
    status: int
    out: str
    err: str


def setting(**variables: str) -> Dict[str, str]:
    """An environment with nothing else in it but where programs are."""
    return {"PATH": os.environ["PATH"], **variables}


def towards(server: Server) -> Dict[str, str]:
    """The hosted platform's settings, for a server of ours."""
    return setting(JAMSOCKET_ACCOUNT="acme", JAMSOCKET_SERVICE="board", JAMSOCKET_TOKEN=TOKEN,
                   JAMSOCKET_API_URL=server.url)


def settings_of(platform: LocalPlatform) -> Dict[str, str]:
    if platform.plane:
        return setting(PLANE_URL=platform.url, PLANE_IMAGE="image")
    return setting(JAMSOCKET_DEV="true", JAMSOCKET_DEV_PORT=str(platform.port))


def ended(process: "subprocess.Popen[bytes]", given: Optional[bytes] = None) -> Done:
    try:
        out, err = process.communicate(given, LONG)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out.decode("utf-8"), err.decode("utf-8"))


def started(command: Sequence[Any], env: Dict[str, str], stdin: int = subprocess.DEVNULL,
            **options: Any) -> "subprocess.Popen[bytes]":
    streams: Dict[str, Any] = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(list(command), env=env, **streams)


def run(*arguments: Any, env: Dict[str, str], given: Optional[bytes] = None, **options: Any) -> Done:
    """The command line as a process, from the file."""
    stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
    return ended(started([sys.executable, FILE, *arguments], env, stdin, **options), given)


@pytest.fixture
def inside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> "Inside":
    return Inside(capsys, monkeypatch)


class Inside:
    """The command line in this process."""

    def __init__(self, capsys: "pytest.CaptureFixture[str]", monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str, env: Dict[str, str]) -> Done:
        for name, value in env.items():
            self.monkeypatch.setenv(name, value)
        self.capsys.readouterr()
        status = main(list(arguments))
        return Done(status, *self.capsys.readouterr())


@pytest.fixture(scope="module", params=["jamsocket", "plane"])
def house(request: pytest.FixtureRequest) -> Iterator[LocalPlatform]:
    """A platform of either kind, which the tests share."""
    with LocalPlatform(plane=request.param == "plane") as running:
        yield running


@pytest.fixture(scope="module")
def dev() -> Iterator[LocalPlatform]:
    """Where nothing of the test depends on the kind of platform."""
    with LocalPlatform() as running:
        yield running


def backend_answer(server_url: str, **changes: Any) -> Dict[str, Any]:
    return {"backend_id": "b1", "spawned": True, "status": "scheduled", "token": "sekret-1", "ready_url": "",
            "url": server_url + "/sekret-2/", "status_url": server_url + "/v2/backend/b1/status",
            "secret_token": "sekret-3", **changes}


def scripted(connect: Sequence[Step], status: Sequence[Step], stream: Sequence[Step]) -> Server:
    """A server that answers each call so; by default, `connect` with a backend of its own."""
    def script(request: Request) -> Sequence[Step]:
        if request.method == "POST":
            return connect or [answer(backend_answer(server.url))]
        return stream if request.target.endswith("/stream") else status

    server = Server(script)
    return server


def state(status: str, **more: Any) -> Dict[str, Any]:
    return {"status": status, "time": TIME, **more}


def stream_of(*states: Dict[str, Any]) -> List[Step]:
    """A stream that tells these states and then stays open."""
    return [stream_head(), *map(event, states), Silence()]


def is_one_error_line(err: str) -> bool:
    return err.endswith("\n") and err.count("\n") == 1 and len(err) > 20 and "Traceback" not in err


# ---------------------------------------------------------------------------------------------------------------------
# What it does
# ---------------------------------------------------------------------------------------------------------------------

def test_the_whole_life_of_a_backend(house: LocalPlatform, inside: Inside, tmp_path: Path) -> None:
    """By every command, from a file copied alone into an empty folder; without HOME, without a terminal."""
    shutil.copy(FILE, str(tmp_path))
    env = settings_of(house)

    def copied(*arguments: str) -> Done:
        return ended(started([sys.executable, "-W", "error", "jamsocket_lite.py", *arguments], env, cwd=str(tmp_path)))

    connected = copied("connect", "--key", "whole life", "--wait")
    assert connected.status == 0, connected.err
    response = ConnectResponse.from_dict(json.loads(connected.out))
    assert response.spawned and connected.out.count("\n") == 1
    assert [line.split()[-1] for line in connected.err.splitlines()][-1] == "ready"

    for which in (response.backend_id, response.status_url):
        for command in ("status", "wait"):
            seen = inside(command, which, "--quiet", env=env)
            assert (seen.status, seen.err) == (0, "") and BackendState.from_dict(json.loads(seen.out)).is_ready

    with started([sys.executable, FILE, "stream", response.backend_id], env) as streaming:
        assert streaming.stdout is not None
        lines = [streaming.stdout.readline() for _ in LIFE]  # they come while the backend lives
        assert [json.loads(line)["status"] for line in lines] == LIFE
        ending = copied("terminate", response.backend_id)
        assert (ending.status, ending.out, ending.err) == (0, "", "")
        rest = ended(streaming)
    assert (rest.status, rest.err) == (0, "")
    assert [json.loads(line)["status"] for line in rest.out.splitlines()] == ["terminating", "terminated"]
    house.backend(response.backend_id).wait("terminated")
    over = inside("wait", response.status_url, "--quiet", env=env)
    assert (over.status, over.out) == (5, "") and is_one_error_line(over.err)


@pytest.mark.parametrize("arguments, kind", [([], "soft"), (["--hard"], "hard")], ids=["soft", "hard"])
def test_terminate_is_soft_unless_hard_is_asked_for(house: LocalPlatform, inside: Inside, arguments: List[str],
                                                    kind: str) -> None:
    env = settings_of(house)
    response = json.loads(inside("connect", "--wait", "--quiet", env=env).out)
    assert inside("terminate", response["status_url"], *arguments, env=env) == Done(0, "", "")
    backend = house.backend(response["backend_id"])
    assert backend.wait("terminated")["termination_kind"] == kind


def test_the_url_alone_is_printed_and_works(house: LocalPlatform, inside: Inside) -> None:
    done = inside("connect", "--wait", "--format", "url", "--quiet", env=settings_of(house))
    assert (done.status, done.err, done.out.count("\n")) == (0, "", 1)
    with DIRECT.open(done.out.strip(), timeout=LONG) as response:
        assert response.read().startswith(b"Hello from session backend")


def test_a_key_finds_its_backend_again(house: LocalPlatform, inside: Inside) -> None:
    first, second = [json.loads(inside("connect", "--key", "found again", env=settings_of(house)).out) for _ in "ab"]
    assert (first["spawned"], second["spawned"]) == (True, False)
    assert first["backend_id"] == second["backend_id"]


@pytest.mark.parametrize("arguments, document", [
    ([], {}),
    (["--key", "a/b ü"], {"key": "a/b ü"}),
    (["--key=--key"], {"key": "--key"}),
    (["--no-spawn", "--key", "k"], {"key": "k", "spawn": False}),
    (["--tag", "v1", "--cluster", "c"], {"spawn": {"tag": "v1", "cluster": "c"}}),
    (["--max-idle-seconds", "30", "--lifetime-limit-seconds", "0"],
     {"spawn": {"max_idle_seconds": 30, "lifetime_limit_seconds": 0}}),
    (["--env", "A=1", "--env", "B=x=y z", "--env", "C="],
     {"spawn": {"executable": {"env": {"A": "1", "B": "x=y z", "C": ""}}}}),
    (["--user", "ada", "--auth", '{"roles": ["ü", 1, null]}'], {"user": "ada", "auth": {"roles": ["ü", 1, None]}}),
    (["--request", '{"key": "k", "spawn": {"tag": "t"}}'], {"key": "k", "spawn": {"tag": "t"}}),
    (["--request", "{}"], {}),
], ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "")
def test_the_options_become_the_request(inside: Inside, arguments: List[str], document: Dict[str, Any]) -> None:
    with scripted([], [], []) as server:
        done = inside("connect", *arguments, env=towards(server))
        assert (done.status, done.err) == (0, "") and json.loads(done.out) == backend_answer(server.url)
        sent, = server.requests
    assert sent.json() == document and sent.target == "/v2/service/acme/board/connect"
    assert sent.header("authorization") == "Bearer " + TOKEN


def test_a_request_is_read_from_standard_input() -> None:
    with scripted([], [], []) as server:
        done = run("connect", "--request", "-", env=towards(server), given='{"auth": {"who": "ü"}}'.encode("utf-8"))
        assert (done.status, done.err) == (0, "")
        assert [sent.json() for sent in server.requests] == [{"auth": {"who": "ü"}}]


@pytest.mark.parametrize("command", [["status"], ["wait", "--quiet"], ["stream"]], ids=lambda value: str(value[0]))
def test_a_status_url_needs_no_credentials(inside: Inside, command: List[str]) -> None:
    name = "terminated" if command[0] == "stream" else "ready"
    with scripted([], [answer(state(name))], stream_of(state(name))) as server:
        done = inside(*command, server.url + "/v2/backend/b1/status", env={})
        assert (done.status, done.err) == (0, "") and json.loads(done.out) == state(name)
        assert all(sent.header("authorization") is None for sent in server.requests)


def test_plane_is_used_only_where_no_jamsocket_variable_is_set(inside: Inside) -> None:
    with scripted([], [], []) as server:
        env = {**towards(server), "PLANE_URL": "http://127.0.0.1:%d" % closed_port(), "PLANE_IMAGE": "image"}
        assert inside("connect", env=env).status == 0


def test_connecting_and_waiting_share_one_deadline(inside: Inside) -> None:
    """The wait gets what connecting left, which is little."""
    def late() -> None:
        time.sleep(0.7)

    def script(request: Request) -> Sequence[Step]:
        if request.method == "POST":
            return [late, answer(backend_answer(server.url))]
        return stream_of(state("loading")) if request.target.endswith("/stream") else [answer(state("loading"))]

    with Server(script) as server:
        start = time.monotonic()
        done = inside("connect", "--wait", "--timeout", "0.8", "--quiet", env=towards(server))
        took = time.monotonic() - start
    assert (done.status, done.out) == (4, "") and is_one_error_line(done.err)
    assert 0.75 < took < 1.35  # two would be 1.5


# ---------------------------------------------------------------------------------------------------------------------
# How it ends
# ---------------------------------------------------------------------------------------------------------------------

REFUSED = [answer({"error": {"message": "no", "status": 401, "code": "UNAUTHORIZED", "id": "r1"}}, 401)]
BROKEN = [answer({"error": {"message": "oops", "status": 500, "code": "INTERNAL", "id": "r2"}}, 500)]
ENDED = state("terminated", termination_reason="external", termination_kind="hard")
SILENT: List[Step] = [Silence()]

ENDINGS = [
    ("connect", ["connect"], BROKEN, 1),
    ("connect refused", ["connect"], REFUSED, 3),
    ("connect forbidden", ["connect"], [answer(b"<html>", 403)], 3),
    ("connect at its limit", ["connect"], [answer(b"", 429)], 1),
    ("connect held", ["connect", "--no-spawn", "--key", "k"], [answer(b"no such key", 409)], 1),
    ("connect elsewhere", ["connect"], [answer(b"", 302, [("Location", "http://127.0.0.1:1/")])], 1),
    ("connect not json", ["connect"], [answer(b"<html>")], 1),
    ("connect cut short", ["connect"], [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"], 1),
    ("connect silent", ["connect", "--timeout", "0.3"], SILENT, 4),
    ("wait silent", ["wait", "b1", "--timeout", "0.3"], SILENT, 4),
    ("stream silent", ["stream", "b1", "--timeout", "0.3"], SILENT, 4),
    ("wait refused", ["wait", "b1"], REFUSED, 3),
    ("wait over", ["wait", "b1", "--quiet"], [answer(ENDED)], 5),
    ("status", ["status", "b1"], BROKEN, 1),
    ("status unknown", ["status", "b1"], [answer(b"", 404)], 1),
    ("stream refused", ["stream", "b1"], REFUSED, 3),
    ("terminate", ["terminate", "b1"], BROKEN, 1),
    ("terminate refused", ["terminate", "b1", "--hard"], REFUSED, 3),
]


@pytest.mark.parametrize("arguments, steps, status", [ending[1:] for ending in ENDINGS],
                         ids=[ending[0] for ending in ENDINGS])
def test_an_error_is_one_line_and_a_status(inside: Inside, arguments: List[str], steps: Sequence[Step],
                                           status: int) -> None:
    with Server(steps) as server:
        done = inside(*arguments, env=towards(server))
    assert (done.status, done.out) == (status, "")
    assert is_one_error_line(done.err) and TOKEN not in done.err


def test_a_refused_connection_is_the_networks_error(inside: Inside) -> None:
    env = setting(JAMSOCKET_DEV="true", JAMSOCKET_DEV_PORT=str(closed_port()))
    done = inside("connect", env=env)
    assert (done.status, done.out) == (1, "") and is_one_error_line(done.err)


def test_a_backend_that_crashes_while_it_is_waited_for(inside: Inside) -> None:
    with LocalPlatform([sys.executable, "-c", "raise SystemExit(3)"]) as platform:
        done = inside("connect", "--wait", "--quiet", env=settings_of(platform))
    assert (done.status, done.out) == (5, "") and is_one_error_line(done.err)


def test_a_stream_that_breaks_off_for_good_keeps_what_was_printed(inside: Inside) -> None:
    told: List[Step] = [stream_head(), event(state("loading"))]
    with Server() as server:
        server.script = lambda request: told if request.number == 1 else REFUSED
        done = inside("stream", "b1", env=towards(server))
    assert done.status == 3 and json.loads(done.out) == state("loading") and is_one_error_line(done.err)


USAGE: List[List[str]] = [
    [], ["reconnect"], ["connect", "--frobnicate"], ["connect", "extra"], ["connect", "--ke", "k"],
    ["connect", "--key"], ["status"], ["status", "a", "b"], ["wait"], ["terminate"], ["connect", "--format", "yaml"],
    ["connect", "--timeout", "0"], ["connect", "--timeout", "-1"], ["connect", "--timeout", "nan"],
    ["connect", "--timeout", "soon"], ["wait", "b1", "--timeout", "0"], ["stream", "b1", "--timeout", "nan"],
    ["connect", "--max-idle-seconds", "1.5"], ["connect", "--lifetime-limit-seconds", "-1"],
    ["connect", "--key", ""], ["connect", "--key", "k" * 129], ["connect", "--no-spawn"],
    ["connect", "--no-spawn", "--key", "k", "--tag", "t"], ["connect", "--env", "NAME"], ["connect", "--env", "=x"],
    ["connect", "--env", "PORT=1"], ["connect", "--auth", "{"], ["connect", "--auth", "[]"],
    ["connect", "--request", '{"keys": "k"}'], ["connect", "--request", "null"],
    ["connect", "--request", "{}", "--key", "k"], ["status", ""], ["status", ".."], ["status", "ftp://127.0.0.1/x"],
    ["terminate", "http://127.0.0.1/elsewhere"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=lambda arguments: " ".join(arguments)[:40] or "nothing")
def test_misuse_is_told_before_anything_is_sent(inside: Inside, arguments: List[str]) -> None:
    with Server() as server:
        done = inside(*arguments, env=towards(server))
        assert server.requests == []
    assert (done.status, done.out) == (2, "") and is_one_error_line(done.err)


@pytest.mark.parametrize("env", [
    {}, {"JAMSOCKET_ACCOUNT": "a", "JAMSOCKET_SERVICE": "s"}, {"JAMSOCKET_DEV": "yes"},
    {"PLANE_URL": "http://127.0.0.1"},
    {"JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": "http"},
    {"JAMSOCKET_ACCOUNT": "a", "JAMSOCKET_SERVICE": "s", "JAMSOCKET_TOKEN": TOKEN + "\n"},
    {"JAMSOCKET_ACCOUNT": "a", "JAMSOCKET_SERVICE": "s", "JAMSOCKET_TOKEN": TOKEN, "JAMSOCKET_API_URL": "ftp://x"},
], ids=["nothing", "no token", "dev", "no image", "port", "token", "api url"])
def test_a_missing_or_malformed_setting_is_told(inside: Inside, env: Dict[str, str]) -> None:
    done = inside("connect", env=env)
    assert (done.status, done.out) == (2, "") and is_one_error_line(done.err) and TOKEN not in done.err


@pytest.mark.parametrize("given", [b"", b"{", b"null", b'{"keys": 1}', b"\xff\xfe\x00", b'{"key": "\xff"}',
                                   b"[" * 100000], ids=["nothing", "cut", "null", "unknown", "bytes", "a byte", "deep"])
def test_an_input_that_is_no_request_is_invalid(inside: Inside, given: bytes) -> None:
    inside.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8"))
    done = inside("connect", "--request", "-", env={"JAMSOCKET_DEV": "true"})
    assert (done.status, done.out) == (2, "") and is_one_error_line(done.err)


def test_an_argument_that_is_not_unicode_is_invalid() -> None:
    done = run("connect", "--key", b"\xff", env=setting(JAMSOCKET_DEV="true"))
    assert (done.status, done.out) == (2, "") and is_one_error_line(done.err)


def test_an_interrupt_ends_a_wait_at_once() -> None:
    with scripted([], [answer(state("loading"))], stream_of(state("loading"))) as server:
        process = started([sys.executable, FILE, "wait", "b1", "--quiet"], towards(server))
        assert server.wait_requests(1, LONG)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        done = ended(process)
        assert time.monotonic() - start < 5
        assert server.wait_closed(LONG)
    assert (done.status, done.out) == (130, "")
    assert done.err.count("\n") == 1 and "Traceback" not in done.err


# ---------------------------------------------------------------------------------------------------------------------
# What nobody may see
# ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [
    ["connect", "--token", TOKEN], ["connect", "--token=" + TOKEN], ["--token", TOKEN, "connect"],
    ["--token=" + TOKEN, "connect"], ["connect", TOKEN], ["connect", "--api-key", TOKEN, "--key", "k"],
    ["connect", "-t", TOKEN], ["connect", "-t" + TOKEN], ["status", "b1", "--token", TOKEN], ["status", "b1", TOKEN],
    ["terminate", "--token", TOKEN, "b1"], [TOKEN], ["connect", "--tok", TOKEN], ["connect", "--auth", TOKEN],
    ["connect", "--auth", '{"a": "%s"' % TOKEN], ["connect", "--request", TOKEN], ["connect", "--env", TOKEN],
    ["connect", "--env", "PORT=" + TOKEN], ["connect", "--env", "A\ud800=" + TOKEN],
    ["connect", "--request", '{"key": ["%s"]}' % TOKEN], ["connect", "--key", TOKEN * 10],
    ["status", "https://user:%s@127.0.0.1/x" % TOKEN], ["terminate", "http://127.0.0.1/%s/" % TOKEN],
], ids=lambda arguments: " ".join(arguments).replace(TOKEN, "TOKEN").encode("ascii", "replace").decode()[:50])
def test_what_was_given_is_not_repeated(inside: Inside, arguments: List[str]) -> None:
    """A token in the wrong place must not reach a log as well."""
    with Server() as server:
        done = inside(*arguments, env=towards(server))
        assert server.requests == []
    assert (done.status, done.out) == (2, "") and is_one_error_line(done.err)
    assert TOKEN not in done.err


def test_what_a_server_echoes_is_not_repeated(inside: Inside) -> None:
    def echo(request: Request) -> Sequence[Step]:
        text = "refused %s %s" % (request.header("authorization"), request.body.decode())
        return [answer({"error": {"message": text, "status": 400, "code": "X", "id": "r"}}, 400)]

    with Server(echo) as server:
        done = inside("connect", "--env", "A=the-value-of-a", "--auth", '{"b": "the-value-of-b"}', env=towards(server))
    assert done.status == 1 and is_one_error_line(done.err)
    assert not any(secret in done.err for secret in (TOKEN, "the-value-of-a", "the-value-of-b"))


def test_progress_and_errors_show_no_url_and_no_token(dev: LocalPlatform, inside: Inside) -> None:
    done = inside("connect", "--wait", env=settings_of(dev))
    response = json.loads(done.out)
    assert done.status == 0
    for secret in (response["token"], response["secret_token"], response["url"]):
        assert secret not in done.err


# ---------------------------------------------------------------------------------------------------------------------
# Progress, and streams that are not as usual
# ---------------------------------------------------------------------------------------------------------------------

STEPS = ["loading", "starting", "ready"]
TOLD = stream_of(*map(state, STEPS))
WAITED = [answer(state("loading"))]


def test_progress_is_a_line_a_status_where_there_is_no_terminal() -> None:
    with scripted([], [answer(state("ready"))], TOLD) as server:
        done = run("wait", "b1", env=towards(server))
    assert done.status == 0 and json.loads(done.out)["status"] == "ready"
    assert [line.split()[-1] for line in done.err.splitlines()][-1] == "ready"
    assert "\r" not in done.err and "\x1b" not in done.err and done.err.endswith("\n")
    shown = [line.split()[-1] for line in done.err.splitlines()]
    assert shown == [name for name in STEPS if name in shown] and len(shown) == len(set(shown))


def test_quiet_turns_progress_off(inside: Inside) -> None:
    with scripted([], [answer(state("ready"))], TOLD) as server:
        done = inside("connect", "--wait", "--quiet", env=towards(server))
    assert (done.status, done.err) == (0, "")


def on_terminal(arguments: Sequence[str], env: Dict[str, str], meanwhile: Any = None) -> Tuple[int, bytes, str]:
    """Its status, its standard output, and what a terminal got of its standard error."""
    master, slave = pty.openpty()
    try:
        process = started([sys.executable, FILE, *arguments], env, stderr=slave)
        os.close(slave)
        shown = b""
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            if not select.select([master], [], [], 1.0)[0]:
                continue
            try:
                piece = os.read(master, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            shown += piece
            if meanwhile is not None:
                meanwhile(shown.decode("utf-8"))
            if not piece:
                break
        out, _ = process.communicate(timeout=LONG)
    finally:
        os.close(master)
    return process.returncode, out, shown.decode("utf-8")


def on_screen(text: str) -> List[str]:
    """The lines that remain on a terminal of 80 columns that knows CR, LF and how to erase a line."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\d*K|\r|\n|[^\r\n\x1b]", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, lines = row + 1, lines + [""]
        elif part.startswith("\x1b"):
            lines[row] = lines[row][:column] if part in ("\x1b[K", "\x1b[0K") else " " * column
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1:]
            column += 1
    return [line.rstrip() for line in lines]


def test_progress_is_redrawn_in_place_on_a_terminal() -> None:
    """Each status is seen, one line remains, and the longer word before leaves nothing behind."""
    after_start, after_loading = threading.Event(), threading.Event()
    told: List[Step] = [stream_head(), event(state("scheduled")), Wait(after_start), event(state("loading")),
                        Wait(after_loading), event(state("ready")), Silence()]

    def meanwhile(shown: str) -> None:
        if "scheduled" in shown:
            after_start.set()
        if "loading" in shown:
            after_loading.set()

    with Server() as server:
        server.script = lambda request: told if request.target.endswith("/stream") else (
            [answer(state("ready" if after_loading.is_set() else "scheduled"))])
        status, out, shown = on_terminal(["wait", "b1"], towards(server), meanwhile)
    assert status == 0 and json.loads(out.decode())["status"] == "ready"
    screen = on_screen(shown)
    assert len(screen) == 2 and screen[0].split()[-1] == "ready" and screen[1] == ""
    assert re.findall("scheduled|loading|ready", shown)[0] == "scheduled"
    assert "loading" not in screen[0] and "scheduled" not in screen[0]


def test_an_error_stands_on_a_line_of_its_own_on_a_terminal() -> None:
    with scripted([], [answer(state("loading"))], stream_of(state("loading"), ENDED)) as server:
        status, out, shown = on_terminal(["wait", "b1"], towards(server))
    assert (status, out) == (5, b"")
    progress, error, rest = on_screen(shown)
    assert progress.endswith("terminated") and error and rest == ""


class Plain:
    """A stream as some hosts have it: without a buffer, without isatty, without an encoding."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("command", [["connect", "--wait"], ["connect", "--format", "url"], ["status", "b1"],
                                     ["wait", "b1"], ["terminate", "b1"], ["status"], ["wait", "b1", "--timeout", "0"]],
                         ids=" ".join)
def test_it_runs_without_standard_streams(monkeypatch: pytest.MonkeyPatch, command: List[str]) -> None:
    expected = 2 if command in (["status"], ["wait", "b1", "--timeout", "0"]) else 0
    with scripted([], [answer(state("ready"))], TOLD) as server:
        for name, value in towards(server).items():
            monkeypatch.setenv(name, value)
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, None)
        assert main(command) == expected


def test_it_takes_plain_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Plain(), Plain()
    with scripted([], [answer(state("ready"))], TOLD) as server:
        for name, value in towards(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert main(["connect", "--wait"]) == 0
    assert json.loads(out.text)["backend_id"] == "b1" and err.text.rstrip().endswith("ready")


def test_an_input_that_is_not_there_is_no_request(monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setenv("JAMSOCKET_DEV", "true")
    assert main(["connect", "--request", "-"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and is_one_error_line(err)


def test_closed_streams_do_no_harm() -> None:
    with scripted([], [answer(state("ready"))], TOLD) as server:
        command = "%s %s connect --wait <&- >&- 2>&-" % (shlex.quote(sys.executable), shlex.quote(FILE))
        assert ended(started(["sh", "-c", command], towards(server))).status == 0


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_no_text_is_too_foreign_for_a_stream(encoding: str) -> None:
    """JSON is ASCII anyway; the server's words come in whatever way the terminal can show them."""
    message = {"error": {"message": "größer als 10 €", "status": 400, "code": "C", "id": "i"}}
    with scripted([answer(message, 400)], [answer(state("größer"))], []) as server:
        env = {**towards(server), "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
        failing = started([sys.executable, FILE, "connect"], env)
        telling = started([sys.executable, FILE, "status", "b1"], env)
        out, err = failing.communicate(timeout=LONG)
        assert (failing.returncode, out) == (1, b"") and is_one_error_line(err.decode(encoding))
        out, err = telling.communicate(timeout=LONG)
        assert (telling.returncode, err) == (0, b"") and json.loads(out.decode(encoding))["status"] == "größer"


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    """As `stream ... | head -1` does."""
    left = threading.Event()
    told: List[Step] = [stream_head(), event(state("loading")), Wait(left), event(state("starting")), Silence()]
    with scripted([], [answer(state("loading"))], told) as server:
        process = started([sys.executable, FILE, "stream", "b1"], towards(server))
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline().decode())["status"] == "loading"
        process.stdout.close()
        left.set()
        assert process.wait(LONG) != 0
        assert process.stderr.read() == b""
        process.stderr.close()


def test_a_reader_that_has_left_before_anything_came_ends_it_quietly() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with scripted([], [answer(state("ready"))], []) as server:
        process = started([sys.executable, FILE, "status", "b1"], towards(server), stdout=write_end)
        os.close(write_end)
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 1 and err == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_like_another() -> None:
    with scripted([], [answer(state("ready"))], []) as server, open("/dev/full", "wb") as full:
        process = started([sys.executable, FILE, "status", "b1"], towards(server), stdout=full)
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 1 and is_one_error_line(err.decode())


# ---------------------------------------------------------------------------------------------------------------------
# Where it is started from
# ---------------------------------------------------------------------------------------------------------------------

def test_help_tells_a_newcomer_what_to_do(tmp_path: Path) -> None:
    done = run("--help", env=setting(), cwd=str(tmp_path))
    assert (done.status, done.err) == (0, "")
    for told in ("connect", "wait", "status", "stream", "terminate", "JAMSOCKET_ACCOUNT", "JAMSOCKET_SERVICE",
                 "JAMSOCKET_TOKEN", "JAMSOCKET_DEV", "PLANE_URL", "PLANE_IMAGE", "--wait --format url", "130"):
        assert told in done.out, told
    assert max(map(len, done.out.splitlines())) <= 120


def test_each_commands_options_are_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for name in ("connect", "wait", "status", "stream", "terminate"):
        try:
            assert main([name, "--help"]) == 0
        except SystemExit as end:  # argparse's way
            assert end.code == 0
        told[name] = capsys.readouterr().out
    for option in ("--key", "--no-spawn", "--tag", "--cluster", "--env", "--max-idle-seconds",
                   "--lifetime-limit-seconds", "--user", "--auth", "--request", "--wait", "--timeout", "--format"):
        assert option in told["connect"], option
    assert "--hard" in told["terminate"] and "--timeout" in told["wait"] and "--timeout" in told["stream"]
    assert all("BACKEND" in text for name, text in told.items() if name != "connect")


def test_the_version_is_told() -> None:
    assert run("--version", env=setting()) == Done(0, jamsocket_lite.__version__ + "\n", "")


@pytest.mark.parametrize("options", [["-m", "jamsocket_lite"], ["-OO", "-I", "-S", "jamsocket_lite.py"],
                                     ["-bb", "-X", "dev", "-W", "error", "jamsocket_lite.py"]], ids=" ".join)
def test_it_runs_as_a_module_and_with_the_interpreters_options(tmp_path: Path, options: List[str]) -> None:
    shutil.copy(FILE, str(tmp_path))
    with scripted([], [answer(state("ready"))], []) as server:
        done = ended(started([sys.executable, *options, "status", "b1"], towards(server), cwd=str(tmp_path)))
    assert (done.status, done.err) == (0, "") and json.loads(done.out) == state("ready")


SCRIPT = """
url=$({python} jamsocket_lite.py connect --key shell --wait --format url) || exit $?
echo "got $url"
"""


def in_shell(script: str, env: Dict[str, str], folder: Path, shell: str = "sh", **options: Any) -> Done:
    shutil.copy(FILE, str(folder))
    text = script.replace("{python}", shlex.quote(sys.executable))
    return ended(started([shell, "-c", text], env, cwd=str(folder), **options))


def test_a_shell_script_gets_the_url(dev: LocalPlatform, tmp_path: Path) -> None:
    done = in_shell(SCRIPT, settings_of(dev), tmp_path)
    assert done.status == 0 and re.fullmatch(r"got http://\S+\n", done.out)
    assert [line.split()[-1] for line in done.err.splitlines()][-1] == "ready"
    with DIRECT.open(done.out.split()[1], timeout=LONG) as response:
        assert response.status == 200


@pytest.mark.parametrize("steps, status", [(REFUSED, 3), (BROKEN, 1)], ids=["refused", "broken"])
def test_a_shell_script_ends_with_its_status(tmp_path: Path, steps: Sequence[Step], status: int) -> None:
    with Server(steps) as server:
        done = in_shell("set -e\n" + SCRIPT, towards(server), tmp_path)
    assert (done.status, done.out) == (status, "") and is_one_error_line(done.err)


def test_a_shell_script_tells_the_statuses_apart(tmp_path: Path) -> None:
    script = """
for backend in ready ended silent; do
    [ $backend = silent ] && timeout=0.3 || timeout=20
    {python} jamsocket_lite.py wait $backend --timeout $timeout --quiet > /dev/null 2>&1
    case $? in 0) echo ready;; 4) echo late;; 5) echo over;; *) echo other;; esac
done
"""
    answers: Dict[str, Sequence[Step]] = {"ready": [answer(state("ready"))], "ended": [answer(ENDED)], "silent": SILENT}
    streams: Dict[str, Sequence[Step]] = {"ready": stream_of(state("ready")), "ended": stream_of(ENDED),
                                          "silent": SILENT}

    def each(request: Request) -> Sequence[Step]:
        return (streams if request.target.endswith("/stream") else answers)[request.target.split("/")[3]]

    with Server(each) as server:
        done = in_shell(script, towards(server), tmp_path)
    assert done.out.split() == ["ready", "over", "late"]


def test_the_first_line_of_a_stream_is_enough_for_head(dev: LocalPlatform, tmp_path: Path, inside: Inside) -> None:
    env = settings_of(dev)
    response = json.loads(inside("connect", "--wait", "--quiet", env=env).out)
    inside("terminate", response["backend_id"], "--hard", env=env)
    dev.backend(response["backend_id"]).wait("terminated")
    done = in_shell("{python} jamsocket_lite.py stream %s | head -1" % response["backend_id"], env, tmp_path)
    assert (done.status, done.err) == (0, "") and json.loads(done.out)["status"] == "scheduled"


def test_cron_runs_it_without_terminal_home_or_locale(dev: LocalPlatform, tmp_path: Path) -> None:
    """As cron does: sh, a short PATH, no input, output into a file, a session of its own."""
    env = {**settings_of(dev), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "nobody"}
    done = in_shell("{python} jamsocket_lite.py connect --key cron --wait >> log.txt 2>> errors.txt", env, tmp_path,
                    start_new_session=True)
    assert done == Done(0, "", "")
    assert json.loads((tmp_path / "log.txt").read_text())["backend_id"]
    errors = (tmp_path / "errors.txt").read_text()
    assert errors.splitlines()[-1].split()[-1] == "ready" and "\r" not in errors


MAKEFILE = """
url.txt:
\t{python} jamsocket_lite.py connect --key make --wait --quiet --format url > $@ || { rm -f $@; exit 1; }
failing:
\t@{python} jamsocket_lite.py connect --key ''
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_makefile_uses_it_and_stops_where_it_fails(dev: LocalPlatform, tmp_path: Path) -> None:
    shutil.copy(FILE, str(tmp_path))
    (tmp_path / "Makefile").write_text(MAKEFILE.replace("{python}", shlex.quote(sys.executable)))
    good = ended(started(["make"], settings_of(dev), cwd=str(tmp_path)))
    assert good.status == 0 and (tmp_path / "url.txt").read_text().startswith("http://")
    bad = ended(started(["make", "failing"], settings_of(dev), cwd=str(tmp_path)))
    assert bad.status == 2 and bad.out == "" and "Error 2" in bad.err and "Traceback" not in bad.err
