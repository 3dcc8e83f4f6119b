"""The life of a backend on the local platform: its states in order, none left out, and its end."""

import http.client
import os
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest

from kit.backends import CRASHING, DEAF, LEAVING, PARENT, POLITE, STUBBORN, python
from kit.deadlines import LONG
from kit.platforms import LIFE, Api
from kit.raw import (Stream, call, connect, milliseconds, request_for, spawn, status_url, statuses,
                     stream_url, terminate, watcher)
from local.local_platform import LocalPlatform

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

NEVER = 600.0  # longer than any test
NONE = ["/nonexistent"]


def test_a_backend_goes_through_every_state_to_ready(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        _, backend = spawn(platform)
        backend.wait("ready")
        assert statuses(backend) == LIFE
        times = [milliseconds(state) for state in backend.states]
        assert times == sorted(times)


def test_the_status_call_tells_the_latest_state(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        answer, backend = spawn(platform)
        state = backend.wait("ready")
        assert call(answer["status_url"]).json == state == {
            "status": "ready", "time": state["time"]}
        assert abs(milliseconds(state) / 1000 - time.time()) < 60


def test_times_are_text_of_milliseconds_or_on_plane_their_number(api: Api) -> None:
    with LocalPlatform(NONE, plane=api.plane) as platform:
        _, backend = spawn(platform)
        when = backend.wait("terminated")["time"]
        assert type(when) is int if api.plane else (when[-5], when[-1], len(when)) == (".", "Z", 24)


def test_a_status_call_has_no_cache_control(api: Api) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane) as platform:
        assert call(spawn(platform)[0]["status_url"]).headers["Cache-Control"] is None


# -------------------------------------------------------------------------------------------------
# What the dev server does not know yet, or no longer
# -------------------------------------------------------------------------------------------------

def test_the_dev_server_holds_a_status_call_until_the_first_event(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.local_platform.STATUS_HELD", LONG)  # however late the event is
    with LocalPlatform(python(DEAF), lag=0.2) as platform:
        answer = call(spawn(platform)[0]["status_url"])
        assert (answer.status, answer.json["status"] in LIFE) == (200, True)


def test_the_dev_server_knows_no_backend_without_an_event() -> None:
    """It says so after half a second, and cannot end it."""
    with LocalPlatform(python(DEAF), lag=NEVER) as platform:
        answer, backend = spawn(platform)
        asked = time.monotonic()
        assert call(answer["status_url"]).status == 404
        assert time.monotonic() - asked > 0.45
        assert terminate(platform, backend.id).status == 404


def test_plane_knows_a_backend_at_once() -> None:
    with LocalPlatform(python(DEAF), plane=True, lag=NEVER) as platform:
        assert call(spawn(platform)[0]["status_url"]).status == 200


def test_the_dev_server_forgets_a_backend_that_has_ended() -> None:
    with LocalPlatform(NONE) as platform:
        answer, backend = spawn(platform)
        backend.wait("terminated")
        assert call(answer["status_url"]).status == 404
        assert terminate(platform, backend.id).status == 404
        with Stream(answer["status_url"] + "/stream") as stream:
            assert stream.until("terminated") == backend.states


def test_plane_remembers_a_backend_that_has_ended() -> None:
    with LocalPlatform(NONE, plane=True) as platform:
        answer, backend = spawn(platform)
        last = backend.wait("terminated")
        assert call(answer["status_url"]).json == last
        ended = terminate(platform, backend.id)
        assert (ended.status, ended.body) == (200, b"null")


# -------------------------------------------------------------------------------------------------
# Terminating
# -------------------------------------------------------------------------------------------------

def test_terminate_is_answered_before_the_state_changes(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        platform.lag = NEVER
        assert terminate(platform, backend.id).json == (None if api.plane else {"status": "ok"})
        assert call(answer["status_url"]).json["status"] == "ready"


@pytest.mark.parametrize("script, hard, ends", [
    (POLITE, False, ["terminating", "terminated"]),
    (STUBBORN, False, ["terminating", "terminated"]),
    (STUBBORN, True, ["hard-terminating", "terminated"]),
], ids=["soft", "soft, but SIGTERM is ignored", "hard"])
def test_terminating(api: Api, script: str, hard: bool, ends: List[str]) -> None:
    grace = 0.2 if script is STUBBORN else LONG
    with LocalPlatform(python(script), plane=api.plane, grace=grace) as platform:
        _, backend = spawn(platform)
        backend.wait("ready")
        terminate(platform, backend.id, hard)
        last = backend.wait("terminated")
        assert statuses(backend) == LIFE + ends
        assert {state["termination_reason"] for state in backend.states[5:]} == {"external"}
        assert last["termination_kind"] == ("hard" if hard else "soft")


def test_plane_names_the_kind_while_terminating_and_the_dev_server_at_the_end(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        _, backend = spawn(platform)
        backend.wait("ready")
        terminate(platform, backend.id)
        backend.wait("terminated")
        kinds = [state.get("termination_kind") for state in backend.states[5:]]
        assert kinds == ["soft" if api.plane else None, "soft"]


def test_a_hard_termination_overtakes_a_soft_one(api: Api) -> None:
    with LocalPlatform(python(STUBBORN), plane=api.plane, grace=NEVER) as platform:
        _, backend = spawn(platform)
        backend.wait("ready")
        terminate(platform, backend.id)
        backend.wait("terminating")
        terminate(platform, backend.id, hard=True)
        assert backend.wait("terminated")["termination_kind"] == "hard"
        assert statuses(backend) == LIFE + ["terminating", "hard-terminating", "terminated"]


def test_a_backend_can_be_terminated_before_it_is_ready(api: Api) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane) as platform:
        _, backend = spawn(platform)
        backend.wait("waiting")
        terminate(platform, backend.id, hard=True)
        backend.wait("terminated")
        assert statuses(backend) == LIFE[:4] + ["hard-terminating", "terminated"]


def test_a_terminate_of_an_unknown_backend_is_planes_not_found() -> None:
    with LocalPlatform(plane=True) as platform:
        answer = terminate(platform, "nobody")
        assert (answer.status, answer.json["kind"]) == (404, "NotFound")


# -------------------------------------------------------------------------------------------------
# Ends of its own
# -------------------------------------------------------------------------------------------------

def ended(api: Api, **exit_error: bool) -> Dict[str, Any]:
    """A last state that gives no reason. The dev server is silent about a good exit."""
    return {"status": "terminated", **({"exit_error": False} if api.plane else {}), **exit_error}


def without_time(state: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in state.items() if name != "time"}


def test_a_crash_before_ready_is_an_exit_error_without_a_reason(api: Api) -> None:
    with LocalPlatform(python(CRASHING), plane=api.plane) as platform:
        _, backend = spawn(platform)
        last = backend.wait("terminated")
        assert without_time(last) == ended(api, exit_error=True)
        assert statuses(backend) == LIFE[:4] + ["terminated"]


def test_a_command_that_is_missing_is_an_image_that_cannot_be_loaded(api: Api) -> None:
    lines: List[str] = []
    with LocalPlatform(NONE, plane=api.plane, log=lines.append) as platform:
        _, backend = spawn(platform)
        last = backend.wait("terminated")
        assert without_time(last) == ended(api)
        assert statuses(backend) == ["scheduled", "loading", "terminated"]
    assert any("/nonexistent" in line for line in lines)


def test_a_command_that_cannot_be_run_is_an_image_that_does_not_start(
        api: Api, tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(b"no program")
    os.chmod(str(file), 0o600)
    with LocalPlatform([str(file)], plane=api.plane) as platform:
        _, backend = spawn(platform)
        last = backend.wait("terminated")
        assert without_time(last) == ended(api)
        assert statuses(backend) == ["scheduled", "loading", "starting", "terminated"]


@pytest.mark.parametrize("code", [0, 7])
def test_a_process_that_ends_by_itself_is_terminated(api: Api, code: int) -> None:
    with LocalPlatform(python(LEAVING), plane=api.plane) as platform:
        answer, backend = spawn(platform, env={"CODE": str(code)})
        backend.wait("ready")
        assert call(answer["url"]).status == 502
        last = backend.wait("terminated")
        assert without_time(last) == (ended(api, exit_error=True) if code else ended(api))
        assert statuses(backend) == LIFE + ["terminated"]


def test_a_backend_that_does_not_listen_in_time_is_killed(api: Api) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane, startup_timeout=0.2) as platform:
        _, backend = spawn(platform)
        last = backend.wait("terminated")
        assert statuses(backend) == LIFE[:4] + ["hard-terminating", "terminated"]
        assert (last["termination_reason"], last["termination_kind"]) == ("startuptimeout", "hard")


# -------------------------------------------------------------------------------------------------
# Nothing outlives it
# -------------------------------------------------------------------------------------------------

def test_what_a_backend_started_dies_with_it() -> None:
    with watcher() as (listener, port), LocalPlatform(python(PARENT)) as platform:
        _, backend = spawn(platform, env={"WATCH": port})
        held, _ = listener.accept()
        with held:
            held.settimeout(LONG)
            terminate(platform, backend.id)
            assert held.recv(1) == b""


def test_closing_ends_everything_at_once(api: Api) -> None:
    with watcher() as (listener, port):
        platform = LocalPlatform(python(PARENT), plane=api.plane, grace=NEVER)
        platform.start()
        _, backend = spawn(platform, env={"WATCH": port})
        backend.wait("ready")
        held, _ = listener.accept()
        with held, Stream(stream_url(platform, backend.id)) as stream:
            stream.until("ready")
            idle = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=LONG)
            idle.request("GET", "/v2/")
            idle.getresponse().read()
            platform.close()
            held.settimeout(LONG)
            assert held.recv(1) == b"" and idle.sock.recv(1) == b""
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                stream.response.read()
            idle.close()
        assert backend.status == "terminated"
        with pytest.raises(ConnectionError):
            connect(platform, request_for(platform))
        platform.close()


def test_of_those_that_have_ended_it_knows_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.local_platform.KEPT", 1)
    with LocalPlatform(NONE, plane=True) as platform:
        first, second = spawn(platform)[1], spawn(platform)[1]
        first.wait("terminated")
        second.wait("terminated")
        spawn(platform)[1].wait("terminated")
        assert call(status_url(platform, first.id)).status == 404
