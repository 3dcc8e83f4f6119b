"""The command line: what each command does."""

import json
import shutil
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Sequence
from urllib.parse import urlsplit

import pytest

import jamsocket_lite
from jamsocket_lite import BackendState, ConnectResponse, main
from kit.deadlines import LONG, in_time
from kit.platforms import JAMSOCKET, LIFE, state
from kit.secrets import TOKEN
from kit.server import Request, Server, Step, answer, closed_port
from kit.shell import (FILE, Done, Inside, answering, ended, is_one_error_line, run, setting,
                       settings_of, started, stream_of, towards)
from local.local_platform import LocalPlatform

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def test_the_whole_life_of_a_backend(house: LocalPlatform, inside: Inside, tmp_path: Path) -> None:
    """By every command, from a file copied alone into an empty folder; without HOME, without a
    terminal."""
    shutil.copy(FILE, str(tmp_path))
    env = settings_of(house)

    def copied(*arguments: str) -> Done:
        return ended(started([sys.executable, "-W", "error", "jamsocket_lite.py", *arguments], env,
                             cwd=str(tmp_path)))

    connected = copied("connect", "--key", "whole life", "--wait")
    assert connected.status == 0, connected.errors
    response = ConnectResponse.from_dict(json.loads(connected.text))
    assert response.spawned and connected.text.count("\n") == 1
    assert [line.split()[-1] for line in connected.errors.splitlines()][-1] == "ready"

    for which in (response.backend_id, response.status_url):
        for command in ("status", "wait"):
            seen = inside(command, which, "--quiet", env=env)
            assert (seen.status, seen.errors) == (0, "") and BackendState.from_dict(
                json.loads(seen.text)
            ).is_ready

    def asked() -> int:
        paths = [request.path for request in house.requests]
        return paths.count(urlsplit(response.status_url).path)

    before = asked()
    with started([sys.executable, FILE, "stream", response.backend_id], env) as streaming:
        assert streaming.stdout is not None
        told = [""]
        while told[-1] != "ready":  # they come while the backend lives
            told.append(json.loads(streaming.stdout.readline().decode())["status"])
        overtaken = asked() > before  # where the machine is very busy
        ending = copied("terminate", response.backend_id)
        assert (ending.status, ending.text, ending.errors) == (0, "", "")
        rest = ended(streaming)
    assert (rest.status, rest.errors) == (0, "")
    assert told[1:] == [status for status in LIFE if status in told or not overtaken]
    assert [json.loads(line)["status"] for line in rest.text.splitlines()] == ["terminating",
                                                                               "terminated"]
    house.backend(response.backend_id).wait("terminated")
    over = inside("wait", response.status_url, "--quiet", env=env)
    assert (over.status, over.text) == (5, "") and is_one_error_line(over.errors)


@pytest.mark.parametrize("arguments, kind", [([], "soft"), (["--hard"], "hard")],
                         ids=["soft", "hard"])
def test_terminate_is_soft_unless_hard_is_asked_for(house: LocalPlatform, inside: Inside,
                                                    arguments: List[str], kind: str) -> None:
    env = settings_of(house)
    response = json.loads(inside("connect", "--wait", "--quiet", env=env).text)
    assert inside("terminate", response["status_url"], *arguments, env=env) == Done(0, b"", b"")
    backend = house.backend(response["backend_id"])
    assert backend.wait("terminated")["termination_kind"] == kind


def test_the_url_alone_is_printed_and_works(house: LocalPlatform, inside: Inside) -> None:
    done = inside("connect", "--wait", "--format", "url", "--quiet", env=settings_of(house))
    assert (done.status, done.errors, done.text.count("\n")) == (0, "", 1)
    with DIRECT.open(done.text.strip(), timeout=LONG) as response:
        assert response.read().startswith(b"Hello from session backend")


def test_a_key_finds_its_backend_again(house: LocalPlatform, inside: Inside) -> None:
    first, second = [json.loads(inside("connect", "--key", "found again",
                                       env=settings_of(house)).text) for _ in "ab"]
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
    (["--user", "ada", "--auth", '{"roles": ["ü", 1, null]}'],
     {"user": "ada", "auth": {"roles": ["ü", 1, None]}}),
    (["--request", '{"key": "k", "spawn": {"tag": "t"}}'], {"key": "k", "spawn": {"tag": "t"}}),
    (["--request", "{}"], {}),
], ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "")
def test_the_options_become_the_request(inside: Inside, arguments: List[str],
                                        document: Dict[str, Any]) -> None:
    with answering() as server:
        done = inside("connect", *arguments, env=towards(server))
        assert (done.status,
                done.errors) == (0, "") and json.loads(done.text) == JAMSOCKET.document(server.url)
        sent, = server.requests
    assert sent.json() == document and sent.target == "/v2/service/acme/board/connect"
    assert sent.header("authorization") == "Bearer " + TOKEN


def test_a_request_is_read_from_standard_input() -> None:
    with answering() as server:
        done = run("connect", "--request", "-", env=towards(server),
                   given='{"auth": {"who": "ü"}}'.encode("utf-8"))
        assert (done.status, done.errors) == (0, "")
        assert [sent.json() for sent in server.requests] == [{"auth": {"who": "ü"}}]


@pytest.mark.parametrize("command", [["status"], ["wait", "--quiet"], ["stream"]],
                         ids=lambda value: str(value[0]))
def test_a_status_url_needs_no_credentials(inside: Inside, command: List[str]) -> None:
    name = "terminated" if command[0] == "stream" else "ready"
    with answering(None, [answer(state(name))], stream_of(state(name))) as server:
        done = inside(*command, server.url + "/v2/backend/b1/status", env={})
        assert (done.status, done.errors) == (0, "") and json.loads(done.text) == state(name)
        assert all(sent.header("authorization") is None for sent in server.requests)


def test_plane_is_used_only_where_no_jamsocket_variable_is_set(inside: Inside) -> None:
    with answering() as server:
        env = {**towards(server), "PLANE_URL": "http://127.0.0.1:%d" % closed_port(),
               "PLANE_IMAGE": "image"}
        assert inside("connect", env=env).status == 0


def test_connecting_and_waiting_share_one_deadline(inside: Inside) -> None:
    """The wait gets what connecting left, which is little."""
    def late() -> None:
        time.sleep(0.7)

    def script(request: Request) -> Sequence[Step]:
        if request.method == "POST":
            return [late, answer(JAMSOCKET.document(server.url))]
        return (
            stream_of(state("loading"))
            if request.target.endswith("/stream")
            else [answer(state("loading"))]
        )

    with Server(script) as server:
        start = time.monotonic()
        done = inside("connect", "--wait", "--timeout", "0.8", "--quiet", env=towards(server))
        took = time.monotonic() - start
    assert (done.status, done.text) == (4, "") and is_one_error_line(done.errors)
    assert took > 0.75 and in_time(took, 1.35, start)  # two would be 1.5


def test_help_tells_a_newcomer_what_to_do(tmp_path: Path) -> None:
    done = run("--help", env=setting(), cwd=str(tmp_path))
    assert (done.status, done.errors) == (0, "")
    for told in ("connect", "wait", "status", "stream", "terminate", "JAMSOCKET_ACCOUNT",
                 "JAMSOCKET_SERVICE", "JAMSOCKET_TOKEN", "JAMSOCKET_DEV", "PLANE_URL",
                 "PLANE_IMAGE", "--wait --format url", "130"):
        assert told in done.text, told
    assert max(map(len, done.text.splitlines())) <= 120


def test_each_commands_options_are_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for name in ("connect", "wait", "status", "stream", "terminate"):
        try:
            assert main([name, "--help"]) == 0
        except SystemExit as end:  # argparse's way
            assert end.code == 0
        told[name] = capsys.readouterr().out
    for option in ("--key", "--no-spawn", "--tag", "--cluster", "--env", "--max-idle-seconds",
                   "--lifetime-limit-seconds", "--user", "--auth", "--request", "--wait",
                   "--timeout", "--format"):
        assert option in told["connect"], option
    assert (
        "--hard" in told["terminate"]
        and "--timeout" in told["wait"]
        and "--timeout" in told["stream"]
    )
    assert all("BACKEND" in text for name, text in told.items() if name != "connect")


def test_the_version_is_told() -> None:
    assert run("--version", env=setting()) == Done(0, jamsocket_lite.__version__.encode() + b"\n",
                                                   b"")
