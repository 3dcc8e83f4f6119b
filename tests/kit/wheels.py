"""Builds the wheel in a copy of what it is made of, and installs it, once for all tests that need
it."""

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE",
           "jamsocket_lite.py", "stubs")
MINUTES = 300.0  # for pip, which may have to fetch setuptools


class Wheel(NamedTuple):
    path: Path
    environment: Path  # a virtual environment with the wheel in it and nothing else
    python: str

    @property
    def command(self) -> str:
        return str(Path(self.python).parent / ("jamsocket-lite.exe" if os.name == "nt"
                                               else "jamsocket-lite"))

    @property
    def names(self) -> List[str]:
        with zipfile.ZipFile(str(self.path)) as archive:
            return archive.namelist()

    def read(self, name: str) -> str:
        with zipfile.ZipFile(str(self.path)) as archive:
            return archive.read(name).decode("utf-8")


def run(command: Sequence[str], cwd: Path, env: Optional[Dict[str, str]] = None) -> str:
    """What it printed. A failure shows all of that, which check_call would not."""
    done = subprocess.run(command, cwd=str(cwd), env={**os.environ, **(env or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=MINUTES)
    assert done.returncode == 0, "%s\n%s" % (" ".join(command), done.stdout)
    return done.stdout


@functools.lru_cache(maxsize=None)
def installed(directory: Path) -> Wheel:
    """The wheel, built and installed below `directory`; the second call only tells where."""
    source, environment = directory / "source", directory / "environment"
    copy_sources(source)
    # Where all that builds a wheel is here already, pip need not fetch it.
    isolation = ["--no-build-isolation"] if can_build() else []
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation, "--wheel-dir",
         str(directory), str(source)], directory)
    path, = directory.glob("*.whl")
    # Without pip of its own an environment is made in a tenth of the time; ours does its work.
    run([sys.executable, "-m", "venv", "--without-pip", str(environment)], directory)
    python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
    run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed",
         str(path)],
        directory, {"PYTHONPATH": str(home_of("pip"))})
    return Wheel(path, environment, python)


def copy_sources(directory: Path) -> None:
    directory.mkdir(parents=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(str(ROOT / name), str(directory / name),
                            ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(str(ROOT / name), str(directory))


def can_build() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("setuptools", "wheel"))


def home_of(package: str) -> Path:
    """The directory from which a package is imported here, for other environments to import it from
    too."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, package + " is not installed"
    return Path(spec.origin).parent.parent
