"""No error shows a secret, whatever the server repeats."""

import json
import os
import subprocess
import sys
from typing import Callable, Dict, Sequence, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import HTTPError, ValidationError
from kit.answers import length
from kit.calls import Call, name_of
from kit.deadlines import LONG, record, timed
from kit.platforms import client, told
from kit.secrets import (AUTH_NUMBER, AUTH_VALUE, BACKEND_TOKEN, ENV_LINES, ENV_VALUE, READY_PATH,
                         SECRET_TOKEN, TOKEN, URL_PATH, failure, look_over)
from kit.server import Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

# What each call knows to be a secret, and a server may repeat.
KNOWN: Dict[str, Sequence[str]] = {
    "connect": (TOKEN, ENV_VALUE, *ENV_LINES, AUTH_VALUE, str(AUTH_NUMBER)),
    "status": (BACKEND_TOKEN, SECRET_TOKEN, URL_PATH, READY_PATH),
    "terminate": (TOKEN, BACKEND_TOKEN, SECRET_TOKEN, URL_PATH, READY_PATH),
}


def echoes(secrets: Sequence[str]) -> Dict[str, Callable[[int], bytes]]:
    """Answers with a status that repeat what they were told."""
    all_of_it = "; ".join(secrets)
    escaped = "".join("\\u%04x" % ord(character) for character in all_of_it)
    text = [("Content-Type", "text/plain")]
    return {
        "plain text": lambda status: answer(all_of_it.encode(), status, text),
        "no content type": lambda status: answer(b"Authorization: Bearer " + all_of_it.encode(),
                                                 status),
        "each alone": lambda status: answer("\n".join("no: '%s'" % one for one in secrets).encode(),
                                            status, text),
        "the platform's message": lambda status: answer({"error": {
            "message": "not allowed: " + all_of_it, "status": status, "code": "X", "id": "r1"}},
                                                        status),
        "its code and id": lambda status: answer({"error": {
            "message": "no", "status": status, "code": all_of_it, "id": all_of_it[::1]}}, status),
        "Plane's": lambda status: answer({"id": all_of_it, "kind": all_of_it, "message": all_of_it},
                                         status),
        "escaped JSON": lambda status: answer(('{"error":{"message":"%s"}}' % escaped).encode(),
                                              status),
        "a JSON string": lambda status: answer(all_of_it, status),
        "the reason": lambda status: answer(b"", status, reason=all_of_it),
        "a header": lambda status: answer(b"", status,
                                          [("Location", all_of_it), ("Retry-After", all_of_it)]),
        "a url": lambda status: answer(("see https://%s@x.example.test/%s?q=%s" % (
            secrets[0], secrets[-1], secrets[0])).encode(), status, text),
        "capitals": lambda status: answer(all_of_it.upper().encode(), status, text),
        "far behind": lambda status: answer(b"x" * 180 + all_of_it.encode(), status, text),
        "a document of the wrong shape": lambda status: answer({
            "status": secrets, "time": {secrets[0]: secrets}, "backend_id": {},
            secrets[0]: secrets}, status),
        "a document that is not JSON": lambda status: answer(b'{"status": ' + all_of_it.encode(),
                                                             status),
        "a page": lambda status: answer(b"<html>" + all_of_it.encode(), status,
                                        [("Content-Type", "text/html")]),
        "a content type": lambda status: answer(b"{}", status, [("Content-Type", all_of_it),
                                                                ("Content-Encoding", all_of_it)]),
    }


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
def test_no_error_shows_a_secret_that_the_server_repeats(status: int, single: Call) -> None:
    """Every text of every error is searched by `failure`, with its whole chain."""
    name = name_of(single)
    with Server() as server:
        for make in echoes(KNOWN[name]).values():
            server.script = [make(status)]
            outcome = timed(lambda: single(server.url)).outcome
            if outcome is not None or name != "terminate":  # to that single any JSON is good
                look_over(outcome)
    record("secrets repeated with status %d, %s" % (status, name),
           "searched every text, found none")


def test_no_part_of_a_secret_shows_where_an_echo_is_cut(single: Call) -> None:
    """By the server, or by our own limits."""
    for secret in KNOWN[name_of(single)]:
        half = secret[:len(secret) * 3 // 4]
        for body in (b" " * (64 * 1024 - len(half)) + secret.encode() + b"tail",
                     b"no: " + half.encode()):
            head = b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n" + length(99999)
            with Server([head + body]) as server:
                error = failure(lambda: single(server.url), HTTPError)
                assert half not in str(error), "a cut echo shows " + half[:4]


COMMANDS: Dict[str, Tuple[Sequence[str], str, int]] = {
    "connect": (["connect", "--env", "API_KEY=" + ENV_VALUE, "--auth",
                 json.dumps({"session": AUTH_VALUE})], "plain text", 401),
    "terminate": (["terminate", "b4ckend"], "Plane's", 404),
    "wait": (["wait", "--timeout", "5", "b4ckend"], "the platform's message", 401),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_shows_no_secret_that_the_server_repeats(command: str) -> None:
    """In neither of its outputs, with whatever error it ends."""
    arguments, how, status = COMMANDS[command]
    told = (TOKEN, ENV_VALUE, AUTH_VALUE) if command == "connect" else (TOKEN,)
    with Server([echoes(told)[how](status)]) as server:
        env = {**os.environ, "JAMSOCKET_ACCOUNT": "acme", "JAMSOCKET_SERVICE": "board",
               "JAMSOCKET_TOKEN": TOKEN, "JAMSOCKET_API_URL": server.url}
        done = subprocess.run([sys.executable, jamsocket_lite.__file__, *arguments], env=env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=LONG)
    assert done.returncode == (3 if status == 401 else 1) and done.stdout == b""
    assert not [secret for secret in told if secret.encode() in done.stderr]
    assert done.stderr.count(b"\n") == 1 and b"Traceback" not in done.stderr


def test_a_broken_request_shows_no_secret() -> None:
    """ValidationError tells the place and the kind, not the value."""
    for document in ({"key": [TOKEN]}, {"auth": {"x": {TOKEN}}},
                     {"spawn": {"executable": {"env": {"X": [ENV_VALUE]}}}},
                     {"spawn": {"executable": {"env": {"X": ENV_VALUE + "\0"}}}},
                     {"user": TOKEN.encode()}, {"spawn": {"tag": TOKEN + "\ud800"}},
                     {"key": TOKEN * 20}, {"auth": [AUTH_VALUE]},
                     {"auth": {"x": AUTH_VALUE + "\ud800"}},
                     {"auth": {"number": AUTH_NUMBER * 10 ** 30}}):
        failure(lambda: client("http://127.0.0.1:1").connect(document), ValidationError)
