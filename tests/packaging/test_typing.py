"""What a user's type checker says: the same of the copied file and of the installed wheel."""

import contextlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Set, Tuple

import pytest

from kit import wheels

HERE = Path(__file__).resolve().parent
ALLOWED = HERE / "stubtest_allowlist.txt"
STUB = wheels.ROOT / "stubs" / "jamsocket_lite-stubs" / "__init__.pyi"
# Of `make types`: then the standard library need not be read again
KNOWN = wheels.ROOT / ".mypy_cache"
PROGRAMS = ("check_stub.py", "right.py", "wrong.py")

if importlib.util.find_spec("mypy") is None or sys.version_info < (3, 10):
    pytest.skip("needs mypy, on a Python that knows `match`", allow_module_level=True)

# The programs use what 3.11 brought to `typing`.
VERSION = "%d.%d" % max(sys.version_info[:2], (3, 11))
Complaints = Set[Tuple[int, str]]


class Verdict(NamedTuple):
    complaints: Dict[str, Complaints]  # of each file: line and code
    output: str
    log: str


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Verdict]:
    """What each checker says of the programs. All of them run at the same time."""
    made = wheels.installed(tmp_path_factory.getbasetemp() / "wheel")
    site_packages, = made.environment.glob("lib/python*/site-packages")
    (site_packages / "mypy.pth").write_text(str(wheels.home_of("mypy")) + "\n")
    mypy = ["-m", "mypy", "--strict", "--no-error-summary", "--config-file=", "--python-version",
            VERSION, "--cache-dir", "cache"]
    # By a Python that has not installed it: the environment's would take the types from the stub.
    commands = {
        "copied": [sys.executable, *mypy, *PROGRAMS],
        "installed": [made.python, *mypy, "--verbose", *PROGRAMS, "the_stub.pyi"],
        "stubtest": [
            made.python,
            "-m",
            "mypy.stubtest",
            "jamsocket_lite",
            "--allowlist",
            str(ALLOWED),
        ],
    }
    running = {}
    for place, command in commands.items():
        folder = tmp_path_factory.mktemp(place)
        if KNOWN.is_dir() and place != "stubtest":
            with contextlib.suppress(OSError):  # somebody may be writing there
                shutil.copytree(str(KNOWN), str(folder / "cache"))
        for program in PROGRAMS:
            shutil.copy(str(HERE / "typing" / program), str(folder))
        if place == "copied":
            shutil.copy(str(wheels.ROOT / "jamsocket_lite.py"), str(folder))
        elif place == "installed":  # mypy keeps silent about errors in an installed stub
            shutil.copy(str(STUB), str(folder / "the_stub.pyi"))
        running[place] = subprocess.Popen(command, cwd=str(folder), stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                          universal_newlines=True)
    ended = {place: process.communicate(timeout=wheels.MINUTES) for place, process
             in running.items()}
    return {place: Verdict(sorted_out(output), output, log) for place, (output, log)
            in ended.items()}


def sorted_out(output: str) -> Dict[str, Complaints]:
    complaints: Dict[str, Complaints] = {}
    for match in re.finditer(r"^([^:\n]+):(\d+): error: .*\[([\w-]+)\]$", output, re.M):
        complaints.setdefault(match.group(1), set()).add((int(match.group(2)), match.group(3)))
    return complaints


def marked(program: str) -> List[Tuple[int, str]]:
    lines = (HERE / "typing" / program).read_text(encoding="utf-8").splitlines()
    found = [(number, re.search(r"  # E: ([\w-]+)$", line)) for number, line in enumerate(lines, 1)]
    return [(number, match.group(1)) for number, match in found if match is not None]


both = pytest.mark.parametrize("place", ["copied", "installed"])


@both
@pytest.mark.parametrize("program", ["right.py", "check_stub.py"])
def test_right_programs_pass(verdicts: Dict[str, Verdict], place: str, program: str) -> None:
    assert program not in verdicts[place].output, verdicts[place].output


@both
def test_wrong_programs_are_refused_line_by_line(verdicts: Dict[str, Verdict], place: str) -> None:
    expected = set(marked("wrong.py"))
    assert len(expected) > 50
    assert verdicts[place].complaints["wrong.py"] == expected, verdicts[place].output


@both
def test_there_is_no_complaint_of_anything_else(verdicts: Dict[str, Verdict], place: str) -> None:
    """Neither of the module, nor of the stub, nor of mypy itself."""
    lines = verdicts[place].output.splitlines()
    assert [line for line in lines if not re.match(r"wrong\.py:\d+: ", line)] == []


def test_the_types_come_from_where_they_should(verdicts: Dict[str, Verdict]) -> None:
    """The installed programs could be checked against another copy, or against nothing."""
    assert "jamsocket_lite-stubs/__init__.pyi" in verdicts["installed"].log.replace("\\", "/")


def test_the_stub_says_what_the_module_has(verdicts: Dict[str, Verdict]) -> None:
    assert verdicts["stubtest"].output.startswith("Success"), verdicts["stubtest"]


def test_only_the_three_aliases_and_a_state_are_excepted() -> None:
    lines = ALLOWED.read_text(encoding="utf-8").splitlines()
    entries = {line.replace("\\", "") for line in lines if line and not line.startswith("#")}
    assert entries <= {"jamsocket_lite." + name for name in ("BackendStatus", "TerminationKind",
                                                             "TerminationReason",
                                                             "BackendTerminated.state")}
