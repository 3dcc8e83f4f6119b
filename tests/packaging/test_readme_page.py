"""The README's web page: its server runs as it stands there, and talks to real backends."""

import http.server
import importlib
import re
import runpy
import urllib.request
from pathlib import Path
from typing import Any, Dict

import pytest

from kit.deadlines import LONG
from kit.pages import SCRIPT, connected, programs, serving
from kit.readme import block
from kit.server import closed_port
from local.local_platform import LocalPlatform


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def page(folder: Path, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, with a dev server."""
    monkeypatch.setenv("JAMSOCKET_DEV", "true")
    monkeypatch.setenv("JAMSOCKET_DEV_PORT", str(platform.port))
    return importlib.import_module("page")


def test_the_page_is_given_the_answer(page: Any, platform: LocalPlatform) -> None:
    with serving(page.Page) as server:
        answer = server.answer()
    backend = platform.backend(answer["backend_id"])
    assert (backend.key, backend.wanted.user) == ("board/42", "ada")
    assert answer["status_url"].endswith("/v2/backend/%s/status" % backend.id)
    assert answer["url"] and answer["token"]


def test_the_url_that_the_page_is_given_opens_the_backend(page: Any,
                                                          platform: LocalPlatform) -> None:
    with serving(page.Page) as server:
        answer = server.answer()
    platform.backend(answer["backend_id"]).wait("ready")
    with urllib.request.urlopen(answer["url"], timeout=LONG) as said:
        assert b"board/42" in said.read()


def test_two_pages_get_one_backend_and_a_url_each(page: Any) -> None:
    with serving(page.Page) as server:
        one, two = server.answer(), server.answer()
    assert one["backend_id"] == two["backend_id"]
    assert (one["spawned"], two["spawned"]) == (True, False)
    assert one["url"] != two["url"]


def test_what_an_answer_holds_cannot_end_the_script_element(page: Any) -> None:
    wicked = {"url": "</script><script>alert(1)</script><!-- \u2028 %s"}

    class Wicked(page.Page):  # type: ignore[misc]
        def connect(self, request: Any) -> Dict[str, Any]:
            return wicked

    with serving(Wicked) as server:
        assert connected(server.get()) == wicked


def test_nobody_keeps_the_page(page: Any) -> None:
    with serving(page.Page) as server:
        with server.open() as answer:
            assert answer.headers["Cache-Control"] == "no-store"


def test_the_page_gets_its_script_and_nothing_else(page: Any) -> None:
    with serving(page.Page) as server:
        assert server.get("/page.js") == SCRIPT
        assert server.failed("/page.py") == 404


def test_a_platform_that_cannot_be_reached_is_a_503(page: Any,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAMSOCKET_DEV_PORT", str(closed_port()))
    with serving(page.Page) as server:
        assert server.failed("/") == 503


@pytest.mark.parametrize("name, handler", [("page", "Page"), ("relay", "Relay")])
def test_as_a_program_it_serves_this_machine(name: str, handler: str, folder: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    served = []

    class Server:
        def __init__(self, address: Any, handler: Any) -> None:
            self.what = address[0], handler.__name__

        def serve_forever(self) -> None:
            served.append(self.what)

    monkeypatch.setattr(http.server, "ThreadingHTTPServer", Server)
    monkeypatch.setenv("PLANE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PLANE_IMAGE", "image")
    runpy.run_path(name + ".py", run_name="__main__")
    assert served == [("127.0.0.1", handler)]


# What is not Python: at least it speaks of the same things


def test_page_and_backend_agree_on_their_events() -> None:
    script, backend = block("jsx"), block("js")
    sent = set(re.findall(r"send\('(\w+)'", script))
    heard = set(re.findall(r"useEventListener\('(\w+)'", script))
    assert sent and sent == set(re.findall(r"socket\.on\('(\w+)'", backend))
    assert heard and heard == set(re.findall(r"io\.emit\('(\w+)'", backend))


def test_the_script_reads_the_element_that_the_server_writes() -> None:
    assert set(re.findall(r"getElementById\('([\w-]+)'\)", block("jsx"))) == set(
        re.findall(r"id=\"([\w-]+)\"", block("python page")))


def test_nothing_is_sent_in_an_effect_that_waits_for_ready() -> None:
    """React 18 and newer would lose it."""
    assert not re.search(r"\[[^\]]*\bready\b[^\]]*\]", block("jsx"))
