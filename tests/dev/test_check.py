"""The checks of a live platform (`make check`), and whether they would notice."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

import pytest

from kit.backends import CRASHING, DEAF, python
from kit.deadlines import LONG
from kit.platforms import IMAGE, Api
from local.local_platform import LocalPlatform

CHECK = Path(__file__).resolve().parent / "check.py"

# With nothing but the standard library and what lies beside it.
COMMAND = [sys.executable, "-I", "-S", str(CHECK)]


class Watched(NamedTuple):
    """A platform, the environment that leads to it, and the ids of its backends."""

    platform: LocalPlatform
    environment: Dict[str, str]
    ids: List[str]

    def has_ended_all(self) -> bool:
        for id in set(self.ids):
            self.platform.backend(id).wait("terminated", LONG)
        return bool(self.ids)


@contextmanager
def watched(api: Api, command: Optional[Sequence[str]] = None) -> Iterator[Watched]:
    ids: List[str] = []

    def log(line: str) -> None:
        ids.extend(re.findall(r"^backend (\w+)", line))

    with LocalPlatform(command, plane=api.plane, log=log) as platform:
        if api.plane:
            environment = {"PLANE_URL": platform.url, "PLANE_IMAGE": IMAGE}
        else:
            environment = {"JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": str(platform.port)}
        yield Watched(platform, environment, ids)


class Done(NamedTuple):
    code: int
    lines: List[str]
    complaint: str

    def results(self) -> List[str]:
        """Of each check: "ok", "FAILED" or "left out"."""
        matches = [re.match(r"\s*\d+  (ok|FAILED|left out)\s+\d+\.\d\d s  \w", line)
                   for line in self.lines]
        return [match.group(1) for match in matches if match]


def check(environment: Mapping[str, str], *options: str) -> Done:
    done = subprocess.run([*COMMAND, *options], env={**os.environ, **environment},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=5 * LONG)
    return Done(done.returncode, done.stdout.decode().splitlines(), done.stderr.decode())


@pytest.mark.waits
def test_all_pass_on_a_platform_that_works(api: Api) -> None:
    with watched(api) as one:
        done = check(one.environment)
        assert (done.code, done.complaint) == (0, ""), done
        assert done.results() == ["ok"] * 10
        assert done.lines[-1].startswith("all passed in ")
        assert one.has_ended_all()


@pytest.mark.waits
def test_a_backend_that_crashes_fails_the_checks(api: Api) -> None:
    with watched(api, python(CRASHING)) as one:
        done = check(one.environment, "--timeout", "10")
        assert (done.code, done.complaint) == (1, ""), done
        assert done.results()[2:6] == ["FAILED", "left out", "left out", "left out"]
        assert len(done.results()) == 10 and done.results()[-1] == "FAILED"
        assert re.match(r"\d+ of 10 failed in ", done.lines[-1])
        assert one.has_ended_all()


@pytest.mark.waits
def test_a_backend_that_does_not_become_ready_is_ended(api: Api) -> None:
    with watched(api, python(DEAF)) as one:
        done = check(one.environment, "--timeout", "6")
        assert done.code == 1 and done.results()[2] == "FAILED"
        assert one.has_ended_all()


@pytest.mark.waits
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_an_interruption_ends_the_backend(api: Api, number: int) -> None:
    with watched(api, python(DEAF)) as one:
        running = subprocess.Popen(COMMAND, env={**os.environ, **one.environment},
                                   stdout=subprocess.PIPE)
        with running:
            assert running.stdout is not None
            while b"same backend" not in running.stdout.readline():
                assert running.poll() is None
            running.send_signal(number)
            rest = running.stdout.read().decode().splitlines()
            assert (running.wait(LONG), rest) == (130, ["interrupted"])
        assert one.has_ended_all()


@pytest.mark.waits
def test_a_platform_that_is_not_there_fails_all_checks() -> None:
    done = check({"PLANE_URL": "http://127.0.0.1:1", "PLANE_IMAGE": IMAGE})
    assert done.code == 1 and "ok" not in done.results() and len(done.results()) == 10


def test_without_a_platform_in_the_environment_it_says_which_variables_to_set() -> None:
    done = check({})
    assert (done.code, done.lines) == (2, [])
    names = set(re.findall(r"\b(?:JAMSOCKET|PLANE)_[A-Z_]+", done.complaint))
    assert {"JAMSOCKET_ACCOUNT", "JAMSOCKET_SERVICE", "JAMSOCKET_TOKEN", "JAMSOCKET_API_URL",
            "JAMSOCKET_DEV", "JAMSOCKET_DEV_PORT", "PLANE_URL", "PLANE_IMAGE", "PLANE_POOL",
            "PLANE_NAMESPACE", "PLANE_AUTHORIZATION"} <= names


def test_a_setting_that_is_wrong_is_a_line() -> None:
    done = check({"JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": "many"})
    assert (done.code, done.lines) == (2, [])
    assert done.complaint.startswith("check: ") and done.complaint.count("\n") == 1


@pytest.mark.waits
def test_no_secret_is_printed(api: Api) -> None:
    with watched(api) as one:
        done = check(one.environment)
        paths = [request.path.strip("/") for request in one.platform.requests]
        tokens = [path for path in paths if re.match(r"[\w-]{20,}\Z", path)]  # of the url
        assert tokens and not [token for token in tokens if token in "".join(done.lines)]
