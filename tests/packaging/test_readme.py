"""The README's examples run as they stand there, in a folder that has nothing but the copied file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple

import pytest

from conftest import ROOT
from local.local_platform import LocalPlatform

README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    kind: str
    text: str

    @property
    def name(self) -> str:
        return re.sub(r"\W+", "-", self.text.strip().splitlines()[0])[:40]


BLOCKS = [Block(kind, text) for kind, text in re.findall(r"^```([\w ]+)\n(.*?)^```$", README, re.M | re.S)]
HANDLER = "def handler("


def blocks(kind: str) -> List[Any]:
    return [pytest.param(block.text, id=block.name) for block in BLOCKS if block.kind == kind]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(str(ROOT / "jamsocket_lite.py"), str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def dev() -> Iterator[Dict[str, str]]:
    """The environment of somebody in dev mode, with the local platform."""
    with LocalPlatform() as running:
        yield {"PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
               "JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": str(running.port)}


def run(command: List[str], folder: Path, env: Dict[str, str]) -> str:
    done = subprocess.run(command, cwd=str(folder), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode()


@pytest.mark.parametrize("text", blocks("python"))
def test_an_example_runs(text: str, folder: Path, dev: Dict[str, str]) -> None:
    (folder / "example.py").write_text(text, encoding="utf-8")
    run([sys.executable, "-X", "dev", "-X", "utf8", "example.py"], folder, dev)


def test_the_first_example_shows_progress_and_the_backends_answer(folder: Path, dev: Dict[str, str]) -> None:
    (folder / "example.py").write_text(BLOCKS[0].text, encoding="utf-8")
    printed = run([sys.executable, "-X", "utf8", "example.py"], folder, dev)
    assert "ready\nHello from session backend" in printed


@pytest.mark.parametrize("text", blocks("python plane"))
def test_a_plane_example_runs(text: str, folder: Path, dev: Dict[str, str]) -> None:
    (folder / "example.py").write_text(text, encoding="utf-8")
    with LocalPlatform(plane=True) as running:
        run([sys.executable, "-X", "dev", "-X", "utf8", "example.py"], folder,
            {"PATH": dev["PATH"], "PLANE_URL": running.url, "PLANE_IMAGE": "acme/whiteboard:v1"})


@pytest.mark.parametrize("seconds, status", [(30, 302), (1.2, 503)], ids=["enough-time", "too-short"])
def test_the_lambda_handler_answers(seconds: float, status: int, folder: Path, dev: Dict[str, str]) -> None:
    (text,) = [block.text for block in BLOCKS if HANDLER in block.text]
    (folder / "example.py").write_text(text + "\n".join([
        "", "import json, time", "", "class Context:", "    end = time.monotonic() + %r" % seconds,
        "    def get_remaining_time_in_millis(self):", "        return (self.end - time.monotonic()) * 1000", "",
        "print(json.dumps(handler({'document': 'lambda-%r'}, Context())))" % seconds]), encoding="utf-8")
    with LocalPlatform([sys.executable, "-c", "import time; time.sleep(60)"]) as never_ready:
        env = dev if status == 302 else {**dev, "JAMSOCKET_DEV_PORT": str(never_ready.port)}
        assert '"statusCode": %d' % status in run([sys.executable, "example.py"], folder, env)


@pytest.mark.parametrize("text", blocks("sh"))
def test_a_shell_example_runs(text: str, folder: Path, dev: Dict[str, str]) -> None:
    if "curl" in text and not shutil.which("curl"):
        pytest.skip("no curl here")
    done = subprocess.run(["sh", "-eu", "-c", text], cwd=str(folder), env=dev, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert "Hello from session backend" in done.stdout.decode() or '"status": "ready"' in done.stdout.decode()


def test_the_crontabs_command_runs_without_a_terminal_or_a_home(folder: Path, dev: Dict[str, str]) -> None:
    (text,) = [block.text for block in BLOCKS if block.kind == "crontab"]
    command = text.strip().splitlines()[-1].split("* * *", 1)[1].strip()
    command = command.replace("/opt/reports/", "").replace("/var/log/", "")
    run(["sh", "-c", command], folder, dev)
    assert '"backend_id"' in (folder / "nightly.json").read_text()


def test_the_makefile_runs_and_stops_where_it_fails(folder: Path, dev: Dict[str, str]) -> None:
    (text,) = [block.text for block in BLOCKS if block.kind == "make"]
    (folder / "Makefile").write_text(text)
    run(["make", "-s", "stop"], folder, dev)
    (folder / "backend.json").unlink()
    failed = subprocess.run(["make", "-s", "stop"], cwd=str(folder), env={"PATH": dev["PATH"]}, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, timeout=60)
    assert failed.returncode != 0 and b"JAMSOCKET_ACCOUNT" in failed.stderr


def test_every_example_is_run() -> None:
    assert {block.kind for block in BLOCKS} == {"python", "python plane", "sh", "crontab", "make", "console"}
    assert len(blocks("python")) > 6 and len(blocks("sh")) > 1


def test_the_dev_server_starts_as_shown(folder: Path) -> None:
    (text,) = [block.text for block in BLOCKS if block.kind == "console"]
    match = re.match(r"\$ python3 (tests/local/local_platform.py) --port 8080 -- node server.js\n\Z", text)
    assert match and (ROOT / match.group(1)).is_file()


def test_the_commands_that_set_all_up_are_the_makefiles() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([\w-]+)`", README):
        assert re.search(r"^%s:" % target, makefile, re.M), target


def test_every_link_within_leads_somewhere() -> None:
    titles = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", README, re.M)}
    anchors = re.findall(r"\]\(#([\w-]+)\)", README)
    assert anchors and set(anchors) <= titles
