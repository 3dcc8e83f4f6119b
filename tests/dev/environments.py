#!/usr/bin/env python3
"""Runs the suite on every Python of this machine, or makes one virtual environment for it. Standard
library only.

    python3 tests/dev/environments.py                # CPython 3.7 and newer, PyPy 3, found here
    python3 tests/dev/environments.py 3.7 pypy3.10   # only these
    python3 tests/dev/environments.py --ends         # only the oldest and the newest
    python3 tests/dev/environments.py --make .venv   # one environment, with all that tests need

Each Python gets an environment below .venvs, which is kept for the next run, and the newest pytest
that supports it. What pytest wrote stands beside the environment, as a text file. The exit status
is 0 only where every Python that was found ran the suite without a failure.
"""

import argparse
import configparser
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = ROOT / ".venvs"
OLDEST = (3, 7)
NEWEST = 30  # a minor version that no Python has yet
AT_ONCE = 2
LONGEST = 1200.0  # seconds for one environment
LINE = "%-12s  %-9s  %-8s  %6s  %6s  %7s  %7s"

ASK = """
import platform, sys
try:
    import venv, ensurepip
    complete = 1
except ImportError:
    complete = 0
kind = {"CPython": "", "PyPy": "pypy"}.get(platform.python_implementation(), "other")
threads = "t" if "t" in getattr(sys, "abiflags", "") else ""
print(kind, threads, *sys.version_info[:3], complete, sys.version_info[3] == "final", sep=",")
"""


class Python(NamedTuple):
    name: str  # "3.11", "pypy3.10"
    version: Tuple[int, ...]
    complete: bool  # it can make environments with pip
    path: str


class Result(NamedTuple):
    python: Python
    pytest: str
    counts: Dict[str, int]
    seconds: float
    trouble: str  # or ""

    @property
    def failed(self) -> int:
        return self.counts.get("failed", 0) + self.counts.get("error",
                                                              0) + self.counts.get("errors", 0)


# -------------------------------------------------------------------------------------------------
# The interpreters
# -------------------------------------------------------------------------------------------------

def candidates() -> List[str]:
    """Paths that may be interpreters: on PATH, where pyenv has shims that lead nowhere, and pyenv's
    own."""
    names = ["python3", "pypy3"]
    names += ["%s3.%d" % (kind, minor) for kind in ("python", "pypy") for minor in range(OLDEST[1],
                                                                                         NEWEST)]
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    found = [folder / name for folder in folders for name in names]
    return list(dict.fromkeys(str(path) for path in found if os.access(str(path),
                                                                       os.X_OK))) + under_pyenv()


def under_pyenv() -> List[str]:
    roots = {os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")}
    roots.add(os.path.expanduser("~/.pyenv"))
    return [str(path) for root in sorted(roots) for path
            in sorted(Path(root).glob("versions/*/bin/python3"))]


def asked(path: str) -> Optional[Python]:
    try:
        done = subprocess.run([path, "-I", "-c", ASK], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              universal_newlines=True, timeout=60)
        kind, threads, *numbers, final = done.stdout.rstrip("\n").split(",")
        major, minor, micro, complete = map(int, numbers)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if kind == "other" or (major, minor) < OLDEST or final != "True":
        return None
    return Python("%s%d.%d%s" % (kind, major, minor, threads), (major, minor, micro),
                  bool(complete), path)


def interpreters() -> List[Python]:
    """The best of each version: one that is complete, then the newest."""
    with ThreadPoolExecutor(AT_ONCE * 2) as pool:
        pythons = [python for python in pool.map(asked, candidates()) if python is not None]
    best: Dict[str, Python] = {}
    for python in pythons:
        known = best.get(python.name)
        if known is None or (known.complete, known.version) < (python.complete, python.version):
            best[python.name] = python
    return sorted(best.values(), key=lambda python: ("pypy" in python.name, python.version))


def ends(pythons: Sequence[Python]) -> List[Python]:
    """The oldest and the newest, PyPy and builds without the global lock apart."""
    usual = [python for python in pythons if re.match(r"[0-9.]+\Z", python.name)]
    return usual[:1] + usual[1:][-1:]


def silent() -> List[str]:
    """Those of pyenv that do not run although they are installed: a suite that left them out would
    prove too little."""
    def runs(path: str) -> bool:
        return subprocess.call([path, "-I", "-c", ""], stdin=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL) == 0
    return [path for path in under_pyenv() if not runs(path)]


# -------------------------------------------------------------------------------------------------
# The environments
# -------------------------------------------------------------------------------------------------

def requirements() -> List[str]:
    """What setup.cfg names for tests."""
    config = configparser.ConfigParser()
    config.read(str(ROOT / "setup.cfg"), encoding="utf-8")
    return config["options.extras_require"]["test"].split("\n")[1:]


def python_of(place: Path) -> str:
    return str(place / ("Scripts" if os.name == "nt" else "bin") / "python")


def make(python: Python, place: Path, wanted: Sequence[str]) -> None:
    """An environment with these packages, unless it is there already."""
    stamp = place / "complete.txt"
    state = "\n".join([python.path, ".".join(map(str, python.version)), *wanted])
    if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
        return
    inside = python_of(place)
    if python.complete:
        call([python.path, "-m", "venv", "--clear", str(place)])
    else:  # as Debian's, which comes without ensurepip: then its own pip puts one in
        call([python.path, "-m", "venv", "--clear", "--without-pip", str(place)])
        call([python.path, "-m", "pip", "--python", inside, "install", "--quiet", "pip"])
    call([inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
    stamp.write_text(state, encoding="utf-8")


def call(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=LONGEST)
    if done.returncode:
        raise RuntimeError("%s failed:\n%s" % (" ".join(command), done.stdout))


# -------------------------------------------------------------------------------------------------
# The suite
# -------------------------------------------------------------------------------------------------

def try_on(python: Python, options: Sequence[str]) -> Result:
    start = time.monotonic()
    place = PLACE / python.name
    version, counts, trouble = "-", {}, ""  # type: str, Dict[str, int], str
    try:
        # `make types` is enough
        make(python, place, [each for each in requirements() if not re.match(r"mypy\b", each)])
        version = subprocess.run([python_of(place), "-c",
                                  "import pytest; print(pytest.__version__)"], check=True,
                                 stdout=subprocess.PIPE, universal_newlines=True,
                                 timeout=60).stdout.strip()
        start = time.monotonic()  # of the suite alone
        counts, trouble = run_suite(python, place, options)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        trouble = str(error)
    return Result(python, version, counts, time.monotonic() - start, trouble)


def run_suite(python: Python, place: Path, options: Sequence[str]) -> Tuple[Dict[str, int], str]:
    log = place.with_name(python.name + ".txt")
    command = [python_of(place), "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "-rfE",
               *options]
    with open(str(log), "wb") as output:
        # Its own session, so that all it started can be ended with it.
        process = subprocess.Popen(command, cwd=str(ROOT), stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        running.add(process)
        try:
            status: Optional[int] = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            end(process)
            status = None
        finally:
            running.discard(process)
    written = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    closing = written[-1] if written else ""
    counts = {word: int(number) for number, word
              in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", closing)}
    if status == 0 and counts.get("passed"):
        return counts, ""
    how = "took longer than %d seconds" % LONGEST if status is None else "exit status %d" % status
    return counts, "\n".join([how, *written[-60:]])


running = set()  # type: set[subprocess.Popen[bytes]]


def end(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (OSError, AttributeError):
        process.kill()
    process.wait()


def run_all(pythons: Sequence[Python], options: Sequence[str]) -> int:
    print(LINE % ("interpreter", "version", "pytest", "passed", "failed", "skipped", "seconds"),
          flush=True)
    start = time.monotonic()
    printing = threading.Lock()

    def one(python: Python) -> Result:
        result = try_on(python, options)
        with printing:
            print(LINE % (("PyPy " if "pypy" in python.name else "CPython ")
                          + python.name.replace("pypy", ""),
                          ".".join(map(str, python.version)), result.pytest,
                          result.counts.get("passed", 0), result.failed,
                          result.counts.get("skipped", 0), "%.1f" % result.seconds), flush=True)
        return result

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(one, python) for python in pythons]
        try:
            results = [each.result() for each in waiting]
        except KeyboardInterrupt:
            for each in waiting:
                each.cancel()
            for process in list(running):
                end(process)
            return 130
    bad = [result for result in results if result.trouble or result.failed]
    for result in bad:
        print("\n---- %s (%s) ----\n%s" % (result.python.name, result.python.path, result.trouble))
    total: Counter[str] = Counter()
    for result in results:
        total.update(failed=result.failed, passed=result.counts.get("passed", 0),
                     skipped=result.counts.get("skipped", 0),
                     errors=int(bool(result.trouble and not result.failed)))
    # All of them together, in the words of pytest.
    said = ", ".join("%d %s" % (number, word) for word, number in total.items() if number or word
                     == "passed")
    print("=== %s in %.2fs ===" % (said, time.monotonic() - start))
    return 1 if bad else 0


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description=__doc__)
    parser.add_argument("--make", metavar="PLACE", type=Path,
                        help="only make an environment there, for this Python")
    parser.add_argument("--list", action="store_true", help="only tell what was found")
    parser.add_argument("--ends", action="store_true",
                        help="only the oldest and the newest CPython")
    parser.add_argument("--pytest", metavar="OPTION", action="append", default=[],
                        help="for pytest; repeatable")
    parser.add_argument("names", metavar="NAME", nargs="*", help="3.7, pypy3.10, ...")
    options = parser.parse_args(argv)
    if options.make is not None:
        this = asked(sys.executable)
        if this is None:
            parser.error("--make: this Python is none that the suite supports")
        make(this, options.make.resolve(), requirements())
        return 0
    found, broken = interpreters(), silent()
    chosen = [python for python in found if not options.names or python.name in options.names]
    missing = set(options.names) - {python.name for python in chosen}
    if options.ends:
        chosen = ends(chosen)
    if missing or not chosen:
        print("not found: " + (", ".join(sorted(missing)) or "any Python of 3.7 or newer"),
              file=sys.stderr)
        return 1
    for python in chosen if options.list else []:
        print("%-8s  %-8s  %s" % (python.name, ".".join(map(str, python.version)), python.path))
    for path in broken:
        print("does not run: " + path, file=sys.stderr)
    return 0 if options.list else run_all(chosen, options.pytest) or int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
