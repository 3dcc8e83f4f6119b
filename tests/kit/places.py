"""The places that the file is copied to, and what must come to pass there: each is a process of its
own.

    def test_it_runs_there(place: Place) -> None:
        place.copy()
        place.check(place.python("-c", place.program))
"""

import functools
import importlib.util
import json
import os
import py_compile
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import jamsocket_lite
from kit.deadlines import LONG
from kit.secrets import TOKEN
from local.local_platform import LocalPlatform

__all__ = ["Place", "Done", "FILE", "PROGRAMS", "TOKEN", "BACKEND", "run"]

FILE = Path(jamsocket_lite.__file__)
PROGRAMS = Path(__file__).resolve().parent.parent / "portability" / "programs"

# The platform's backends, in a process that is there at once.
BACKEND = [sys.executable, "-I", "-S", str(PROGRAMS / "backend.py")]

USER = runpy.run_path(str(PROGRAMS / "user.py"))


@functools.lru_cache(None)
def bytecode() -> bytes:
    """The compiled file: to compile it takes most of the time that a program with a fresh copy
    needs."""
    with tempfile.TemporaryDirectory() as folder:
        cached = Path(folder, "compiled")
        py_compile.compile(str(FILE), str(cached), doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        return cached.read_bytes()


class Done(NamedTuple):
    """A process that has ended."""
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, if it ended well and without a word on standard error."""
        assert (self.code, self.err) == (0, ""), self.err[-4000:] + self.out[-1000:]
        return json.loads(self.out)


def run(command: Sequence[str], cwd: Path, env: Optional[Mapping[str, str]] = None,
        text: str = "") -> Done:
    """`env` is added to the tests' environment, without the settings of their own Python."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(command), cwd=str(cwd), env={**inherited, **(env or {})},
                          input=text.encode("utf-8"), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=LONG)
    return Done(
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


class Place:
    """An empty folder, and a platform that a program there is to talk to, about a backend that
    holds `key`."""

    def __init__(self, folder: Path, platform: LocalPlatform, key: str) -> None:
        self.folder, self.platform, self.key = folder, platform, key

    def copy(self, *programs: str) -> None:
        """The file, `user.py` and other programs, side by side."""
        copied = self.folder / "jamsocket_lite.py"
        shutil.copy(str(FILE), str(copied))
        cached = Path(importlib.util.cache_from_source(str(copied)))
        cached.parent.mkdir()
        cached.write_bytes(bytecode())
        for name in ("user.py", *programs):
            shutil.copy(str(PROGRAMS / name), str(self.folder / name))

    @property
    def call(self) -> str:
        """What a program does once it has jamsocket_lite and user."""
        return "user.report(jamsocket_lite, %r, %r, %r)\n" % (self.platform.url, TOKEN, self.key)

    @property
    def program(self) -> str:
        """The same for any Python, also one that does not look into its program's folder."""
        return "import sys\nsys.path.insert(0, %r)\nimport jamsocket_lite, user\n%s" % (
            str(self.folder),
            self.call,
        )

    def python(self, *arguments: str, env: Optional[Mapping[str, str]] = None,
               text: str = "") -> Done:
        """Runs a Python in the folder, one that takes no warning lightly."""
        return run([sys.executable, "-W", "error", *arguments], self.folder, env, text)

    def check(self, done: Done, origin: Optional[str] = "jamsocket_lite.py") -> None:
        """It ended well and silently, and did all of it. `origin`: where in the folder the module
        came from."""
        self.check_report(done.json(), self.key, origin and str(self.folder / origin))

    def check_report(self, report: Dict[str, Any], key: str, origin: Optional[str]) -> None:
        assert report.pop("origin") == origin
        self.check_types(report)
        backend = self.platform.backend(report.pop("backend"))
        seen: List[str] = report.pop("seen")
        states = [state["status"] for state in backend.states]
        assert seen[-1] == "ready" and seen == [status for status in states if status in seen]
        del report["refusals"], report["hints"]
        assert report == {"spawned": True, "ready": "ready", "said": "Hello from " + key}
        assert backend.key == key and backend.wait("terminated")["termination_kind"] == "hard"

    def check_types(self, report: Dict[str, Any]) -> None:
        """The types there do as they do here."""
        assert report["refusals"] == USER["refusals"](jamsocket_lite)
        assert report["hints"] in (USER["hints"](jamsocket_lite), None)
