"""How a command ends: a line of error and a status; and what nobody may see."""

import io
import json
import sys
from typing import Dict, List, Sequence

import pytest

from jamsocket_lite import main
from kit.platforms import state
from kit.secrets import TOKEN
from kit.server import Request, Server, Silence, Step, answer, closed_port, event, stream_head
from kit.shell import Inside, is_one_error_line, run, setting, settings_of, towards
from local.local_platform import LocalPlatform


# -------------------------------------------------------------------------------------------------
# How it ends
# -------------------------------------------------------------------------------------------------

REFUSED = [answer({"error": {"message": "no", "status": 401, "code": "UNAUTHORIZED", "id": "r1"}},
                  401)]
BROKEN = [answer({"error": {"message": "oops", "status": 500, "code": "INTERNAL", "id": "r2"}},
                 500)]
ENDED = state("terminated", termination_reason="external", termination_kind="hard")
SILENT: List[Step] = [Silence()]

ENDINGS = [
    ("connect", ["connect"], BROKEN, 1),
    ("connect refused", ["connect"], REFUSED, 3),
    ("connect forbidden", ["connect"], [answer(b"<html>", 403)], 3),
    ("connect at its limit", ["connect"], [answer(b"", 429)], 1),
    ("connect held", ["connect", "--no-spawn", "--key", "k"], [answer(b"no such key", 409)], 1),
    ("connect elsewhere", ["connect"], [answer(b"", 302, [("Location", "http://127.0.0.1:1/")])],
     1),
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
def test_an_error_is_one_line_and_a_status(inside: Inside, arguments: List[str],
                                           steps: Sequence[Step], status: int) -> None:
    with Server(steps) as server:
        done = inside(*arguments, env=towards(server))
    assert (done.status, done.text) == (status, "")
    assert is_one_error_line(done.errors) and TOKEN not in done.errors


def test_a_refused_connection_is_the_networks_error(inside: Inside) -> None:
    env = setting(JAMSOCKET_DEV="true", JAMSOCKET_DEV_PORT=str(closed_port()))
    done = inside("connect", env=env)
    assert (done.status, done.text) == (1, "") and is_one_error_line(done.errors)


def test_a_backend_that_crashes_while_it_is_waited_for(inside: Inside) -> None:
    with LocalPlatform([sys.executable, "-c", "raise SystemExit(3)"]) as platform:
        done = inside("connect", "--wait", "--quiet", env=settings_of(platform))
    assert (done.status, done.text) == (5, "") and is_one_error_line(done.errors)


def test_a_stream_that_breaks_off_for_good_keeps_what_was_printed(inside: Inside) -> None:
    told: List[Step] = [stream_head() + event(state("loading"))]
    with Server() as server:
        server.script = lambda request: told if request.number == 1 else REFUSED
        done = inside("stream", "b1", env=towards(server))
    assert (
        done.status == 3
        and json.loads(done.text) == state("loading")
        and is_one_error_line(done.errors)
    )


USAGE: List[List[str]] = [
    [], ["reconnect"], ["connect", "--frobnicate"], ["connect", "extra"], ["connect", "--ke", "k"],
    ["connect", "--key"], ["status"], ["status", "a", "b"], ["wait"], ["terminate"],
    ["connect", "--format", "yaml"],
    ["connect", "--timeout", "0"], ["connect", "--timeout", "-1"], ["connect", "--timeout", "nan"],
    ["connect", "--timeout", "soon"], ["wait", "b1", "--timeout", "0"],
    ["stream", "b1", "--timeout", "nan"],
    ["connect", "--max-idle-seconds", "1.5"], ["connect", "--lifetime-limit-seconds", "-1"],
    ["connect", "--key", ""], ["connect", "--key", "k" * 129], ["connect", "--no-spawn"],
    ["connect", "--no-spawn", "--key", "k", "--tag", "t"], ["connect", "--env", "NAME"],
    ["connect", "--env", "=x"],
    ["connect", "--env", "PORT=1"], ["connect", "--auth", "{"], ["connect", "--auth", "[]"],
    ["connect", "--request", '{"keys": "k"}'], ["connect", "--request", "null"],
    ["connect", "--request", "{}", "--key", "k"], ["status", ""], ["status", ".."],
    ["status", "ftp://127.0.0.1/x"],
    ["terminate", "http://127.0.0.1/elsewhere"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=lambda arguments: " ".join(arguments)[:40]
                         or "nothing")
def test_misuse_is_told_before_anything_is_sent(inside: Inside, arguments: List[str]) -> None:
    with Server() as server:
        done = inside(*arguments, env=towards(server))
        assert server.requests == []
    assert (done.status, done.text) == (2, "") and is_one_error_line(done.errors)


@pytest.mark.parametrize("env", [
    {}, {"JAMSOCKET_ACCOUNT": "a", "JAMSOCKET_SERVICE": "s"}, {"JAMSOCKET_DEV": "yes"},
    {"PLANE_URL": "http://127.0.0.1"},
    {"JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": "http"},
    {"JAMSOCKET_ACCOUNT": "a", "JAMSOCKET_SERVICE": "s", "JAMSOCKET_TOKEN": TOKEN + "\n"},
    {"JAMSOCKET_ACCOUNT": "a", "JAMSOCKET_SERVICE": "s", "JAMSOCKET_TOKEN": TOKEN,
     "JAMSOCKET_API_URL": "ftp://x"},
], ids=["nothing", "no token", "dev", "no image", "port", "token", "api url"])
def test_a_missing_or_malformed_setting_is_told(inside: Inside, env: Dict[str, str]) -> None:
    done = inside("connect", env=env)
    assert (done.status,
            done.text) == (2, "") and is_one_error_line(done.errors) and TOKEN not in done.errors


@pytest.mark.parametrize("given", [b"", b"{", b"null", b'{"keys": 1}', b"\xff\xfe\x00",
                                   b'{"key": "\xff"}', b"[" * 100000],
                         ids=["nothing", "cut", "null", "unknown", "bytes", "a byte", "deep"])
def test_an_input_that_is_no_request_is_invalid(inside: Inside, given: bytes) -> None:
    inside.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8"))
    done = inside("connect", "--request", "-", env={"JAMSOCKET_DEV": "true"})
    assert (done.status, done.text) == (2, "") and is_one_error_line(done.errors)


def test_an_input_that_is_not_there_is_no_request(monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setenv("JAMSOCKET_DEV", "true")
    assert main(["connect", "--request", "-"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and is_one_error_line(err)


def test_an_argument_that_is_not_unicode_is_invalid() -> None:
    done = run("connect", "--key", b"\xff", env=setting(JAMSOCKET_DEV="true"))
    assert (done.status, done.text) == (2, "") and is_one_error_line(done.errors)


# -------------------------------------------------------------------------------------------------
# What nobody may see
# -------------------------------------------------------------------------------------------------


GIVEN = "tok3n-that-nobody-may-see"
MISPLACED: List[List[str]] = [
    ["connect", "--token", GIVEN], ["connect", "--token=" + GIVEN],
    ["--token", GIVEN, "connect"], ["--token=" + GIVEN, "connect"], ["connect", GIVEN],
    ["connect", "--api-key", GIVEN, "--key", "k"], ["connect", "-t", GIVEN],
    ["connect", "-t" + GIVEN], ["status", "b1", "--token", GIVEN], ["status", "b1", GIVEN],
    ["terminate", "--token", GIVEN, "b1"], [GIVEN], ["connect", "--tok", GIVEN],
    ["connect", "--auth", GIVEN], ["connect", "--auth", '{"a": "%s"' % GIVEN],
    ["connect", "--request", GIVEN], ["connect", "--env", GIVEN],
    ["connect", "--no-spawn=" + GIVEN], ["status", "b1", "--quiet=" + GIVEN],
    ["connect", "--env", "PORT=" + GIVEN], ["connect", "--env", "A\ud800=" + GIVEN],
    ["connect", "--request", '{"key": ["%s"]}' % GIVEN], ["connect", "--key", GIVEN * 10],
    ["status", "https://user:%s@127.0.0.1/x" % GIVEN],
    ["terminate", "http://127.0.0.1/%s/" % GIVEN],
]


@pytest.mark.parametrize("arguments", MISPLACED, ids=lambda arguments: ascii(
    " ".join(arguments).replace(GIVEN, "GIVEN"))[1:-1])
def test_what_was_given_is_not_repeated(inside: Inside, arguments: List[str]) -> None:
    """A token in the wrong place must not reach a log as well."""
    with Server() as server:
        done = inside(*arguments, env=towards(server))
        assert server.requests == []
    assert (done.status, done.text) == (2, "") and is_one_error_line(done.errors)
    assert GIVEN not in done.errors


def test_what_a_server_echoes_is_not_repeated(inside: Inside) -> None:
    def echo(request: Request) -> Sequence[Step]:
        text = "refused %s %s" % (request.header("authorization"), request.body.decode())
        return [answer({"error": {"message": text, "status": 400, "code": "X", "id": "r"}}, 400)]

    with Server(echo) as server:
        done = inside("connect", "--env", "A=the-value-of-a", "--auth", '{"b": "the-value-of-b"}',
                      env=towards(server))
    assert done.status == 1 and is_one_error_line(done.errors)
    assert not any(secret in done.errors for secret in (TOKEN, "the-value-of-a", "the-value-of-b"))


def test_progress_and_errors_show_no_url_and_no_token(dev: LocalPlatform, inside: Inside) -> None:
    done = inside("connect", "--wait", env=settings_of(dev))
    response = json.loads(done.text)
    assert done.status == 0
    for secret in (response["token"], response["secret_token"], response["url"]):
        assert secret not in done.errors
