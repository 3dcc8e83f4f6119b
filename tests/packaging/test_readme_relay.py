"""The README's relay for pages on Plane runs as it stands there, and frees what pages leave."""

import importlib
import json
import re
from pathlib import Path
from typing import Any, Iterator, Optional

import pytest

from jamsocket_lite import BackendState
from kit.backends import python
from kit.deadlines import LONG
from kit.pages import SCRIPT, programs, serving, states
from kit.platforms import LIFE
from local.local_platform import LocalPlatform

NEVER_READY = python("import time; time.sleep(600)")


@pytest.fixture
def controller() -> Iterator[LocalPlatform]:
    with LocalPlatform(plane=True) as running:
        yield running


@pytest.fixture
def relay(tmp_path: Path, controller: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> Any:
    return import_relay(tmp_path, controller, monkeypatch)


def import_relay(folder: Path, controller: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, with a Plane. Its heart beats faster, so that the tests need not wait."""
    programs(folder, monkeypatch)
    monkeypatch.setenv("PLANE_URL", controller.url)
    monkeypatch.setenv("PLANE_IMAGE", "acme/whiteboard:v1")
    module = importlib.import_module("relay")
    monkeypatch.setattr(module, "HEARTBEAT", 0.3)
    return module


def test_on_plane_the_page_asks_its_own_server(relay: Any, controller: LocalPlatform) -> None:
    with serving(relay.Relay) as server:
        answer = server.answer()
        assert answer["status_url"] == "/backends/%s/status" % answer["backend_id"]
        controller.backend(answer["backend_id"]).wait("ready")
        assert json.loads(server.get(answer["status_url"] + "?x0y1"))["status"] == "ready"


def test_the_stream_tells_every_state_in_its_order(relay: Any) -> None:
    with serving(relay.Relay) as server:
        with server.stream(server.answer()["status_url"]) as stream:
            seen = [state["status"] for state in states(stream, until="ready")]
    # A slow start makes for another round, whose replay a page passes over.
    assert list(dict.fromkeys(seen)) == LIFE


def test_an_event_is_one_write(relay: Any) -> None:
    """The page's library loses one that comes in two pieces."""
    with serving(relay.Relay) as server:
        with server.stream(server.answer()["status_url"]) as stream:
            states(stream, until="ready")
    events = [data for data in server.writes if b"data" in data]
    assert len(events) >= 5
    assert all(re.match(rb"data: \{[^\n]*\}\n\n\Z", data) for data in events)


def test_the_stream_ends_once_the_backend_has(relay: Any, controller: LocalPlatform) -> None:
    with serving(relay.Relay) as server:
        answer = server.answer()
        with server.stream(answer["status_url"]) as stream:
            states(stream, until="ready")
            controller.backend(answer["backend_id"]).stop("hard")
            assert states(stream)[-1]["status"] == "terminated"


def test_the_relay_uses_the_wires_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalPlatform(NEVER_READY, plane=True, startup_timeout=0.3) as controller:
        with serving(import_relay(tmp_path, controller, monkeypatch).Relay) as server:
            answer = server.answer()
            with server.stream(answer["status_url"]) as stream:
                last = states(stream)[-1]
            status = json.loads(server.get(answer["status_url"]))
    assert (last["status"], last["termination_reason"]) == ("terminated", "startuptimeout")
    assert status == last


@pytest.mark.parametrize("reason, wire", [
    ("key_expired", "keyexpired"), ("startup_timeout", "startuptimeout"),
    ("internal_error", "internalerror"), ("swept", "swept"), ("external", "external"),
    ("lost", "lost"), (None, None)])
def test_every_reason_has_the_wires_spelling(reason: Optional[str], wire: Optional[str],
                                             relay: Any) -> None:
    state = BackendState.from_dict(
        {"status": "terminated", "time": "", "termination_reason": reason})
    assert json.loads(relay.wire(state)).get("termination_reason") == wire


def test_a_page_that_leaves_frees_its_thread(relay: Any) -> None:
    with serving(relay.Relay) as server:
        with server.stream(server.answer()["status_url"]) as stream:
            states(stream, until="ready")
            thread = server.threads[-1]
            assert thread.is_alive()
        thread.join(LONG)
        assert not thread.is_alive()


def test_a_page_that_leaves_is_no_error(relay: Any, capfd: "pytest.CaptureFixture[str]") -> None:
    with serving(relay.Relay) as server:
        with server.stream(server.answer()["status_url"]) as stream:
            states(stream, until="ready")
        server.threads[-1].join(LONG)
    assert "Traceback" not in capfd.readouterr().err


def test_a_page_that_stays_hears_the_heart_beat(relay: Any, controller: LocalPlatform) -> None:
    """And once the backend ends, many beats later, it hears that."""
    with serving(relay.Relay) as server:
        answer = server.answer()
        with server.stream(answer["status_url"]) as stream:
            beats = 0
            for line in stream:
                beats += line == b"\n"
                if beats > 12:
                    break
            controller.backend(answer["backend_id"]).stop("hard")
            assert states(stream)[-1]["status"] == "terminated"


@pytest.mark.parametrize("path", [
    "/backends/unknown/status", "/backends/unknown/status/stream",
    "/backends/http://127.0.0.1:1/status", "/backends/..%2F..%2Fctrl/status"])
def test_an_id_that_is_not_one_of_ours_asks_nothing_of_plane(path: str, relay: Any,
                                                             controller: LocalPlatform) -> None:
    with serving(relay.Relay) as server:
        assert server.failed(path) == 404
    assert controller.requests == []


def test_a_backend_that_another_program_connected_is_none_of_ours(relay: Any) -> None:
    other = relay.plane.connect()
    with serving(relay.Relay) as server:
        assert server.failed("/backends/%s/status" % other.backend_id) == 404


def test_while_plane_is_away_the_last_known_state_is_told(relay: Any,
                                                          controller: LocalPlatform) -> None:
    with serving(relay.Relay) as server:
        answer = server.answer()
        controller.backend(answer["backend_id"]).wait("ready")
        assert json.loads(server.get(answer["status_url"]))["status"] == "ready"
        controller.close()
        assert json.loads(server.get(answer["status_url"]))["status"] == "ready"


def test_before_anything_is_known_the_connects_status_is_told(relay: Any,
                                                              controller: LocalPlatform) -> None:
    with serving(relay.Relay) as server:
        answer = server.answer()
        controller.close()
        assert json.loads(server.get(answer["status_url"]))["status"] == answer["status"]


def test_the_relays_page_is_the_first_programs(relay: Any) -> None:
    with serving(relay.Relay) as server:
        assert server.get("/page.js") == SCRIPT
        assert server.failed("/else") == 404
