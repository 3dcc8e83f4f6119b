"""The processes of the benchmark: how they are started, and how their work is counted.

They run in a new virtual environment of the Python that runs the benchmark, so that nothing that is
installed beside it starts with them, with a bare environment, and come as bytecode. requests and
httpx come from an environment that is kept, and only to the runs that are about them. The platform
that they all talk to is a process of its own.
"""

import compileall
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from dev.environments import PLACE, asked, make, python_of
from kit.certificates import Certificates

HERE = Path(__file__).resolve().parent
LIBRARIES = ("requests", "httpx")
WHERE = """
import httpx, requests, sysconfig
print(sysconfig.get_path("purelib"), requests.__version__, httpx.__version__, sep="\\n")
"""


class Run(NamedTuple):
    """A run of Python, in the folder of the module that is measured, or of the one before."""

    arguments: Sequence[str]
    folder: str = "now"

    def as_before(self) -> "Run":
        return self._replace(folder="before")


Runs = Mapping[str, Run]


class Counter(NamedTuple):
    """A way to count what a process takes."""

    unit: str
    description: str
    scale: float  # from what is counted to the unit
    command: Sequence[str] = ()
    pattern: str = ""  # of the number in its report, on standard error


COUNTERS = (
    Counter("M instructions", "M instructions (valgrind)", 1e-6,
            ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
            r"Collected : ([\d,]+)"),
    Counter("M instructions", "M instructions (perf)", 1e-6,
            ("perf", "stat", "-e", "instructions:u"), r"([\d,]+) +instructions:u"),
)
PROCESSOR_TIME = Counter("ms of processor time",
                         "ms of processor time: neither valgrind nor perf works here", 1e3)


class Processes:
    """Runs Python where `import jamsocket_lite` and the jobs are found."""

    def __init__(self, module: Path, before: Optional[Path], stack: ExitStack) -> None:
        self.notes: List[str] = []
        self.has_before = before is not None
        self._authority: Dict[str, str] = {}  # for https alone
        self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._python = self._make_python()
        # PYTHONHASHSEED: so that two runs take the same way.
        self._environment = {"PYTHONHASHSEED": "0"}
        for name in ("SYSTEMROOT", "LD_LIBRARY_PATH"):  # what some systems and interpreters need
            if name in os.environ:
                self._environment[name] = os.environ[name]
        self._copy_programs("now", module)
        if before is not None:
            self._copy_programs("before", before)
        self.bases = self._start_platform(stack)
        self.counter = next(filter(self._works, COUNTERS), PROCESSOR_TIME)

    def find_libraries(self) -> Dict[str, str]:
        """Those that are here or can be installed, and how a program begins that imports them."""
        this = asked(sys.executable)
        try:
            if this is None:
                raise RuntimeError("this Python is none that the suite supports")
            place = PLACE / ("bench-" + this.name)
            make(this, place, LIBRARIES)
            told = subprocess.run([python_of(place), "-c", WHERE], stdout=subprocess.PIPE,
                                  universal_newlines=True, check=True, timeout=60).stdout
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self.notes.append("No requests, no httpx: %s." % str(error).splitlines()[-1])
            return {}
        folder, *versions = told.splitlines()
        self.notes += ["%s is %s." % pair for pair in zip(LIBRARIES, versions)]
        return dict.fromkeys(LIBRARIES, "import sys; sys.path.append(%r); " % folder)

    def inside(self, part: str, *arguments: object) -> Any:
        """What a part of inside.py measures."""
        return json.loads(self._run(Run(["inside.py", part, *map(str, arguments)])).stdout)

    def counts(self, runs: Runs) -> Dict[str, float]:
        """What each of these runs takes: instructions side by side, times in turn."""
        self._warm(runs)
        if self.counter.command:
            with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
                taken = pool.map(lambda run: self._count(self.counter, run), runs.values())
                return dict(zip(runs, taken))
        return _in_turn(lambda run: self._count(self.counter, run), runs, 9)

    def milliseconds(self, runs: Runs, rounds: int) -> Dict[str, float]:
        """How long each of these runs takes."""
        def timed(run: Run) -> float:
            begun = time.perf_counter()
            self._run(run)
            return (time.perf_counter() - begun) * 1e3

        self._warm(runs)
        return _in_turn(timed, runs, rounds)

    def _make_python(self) -> str:
        place = self._directory / "venv"
        venv.create(str(place), with_pip=False, symlinks=os.name != "nt")
        return str(place / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))

    def _copy_programs(self, folder: str, module: Path) -> None:
        place = self._directory / folder
        place.mkdir()
        shutil.copy(str(module), str(place / "jamsocket_lite.py"))
        for source in (HERE / "inside.py", *(HERE / "jobs").glob("*.py")):
            shutil.copy(str(source), str(place / source.name))
        compileall.compile_dir(str(place), quiet=1)

    def _start_platform(self, stack: ExitStack) -> Dict[str, str]:
        """The platform's urls, by scheme."""
        process = stack.enter_context(subprocess.Popen(
            [sys.executable, str(HERE / "stub_platform.py"), *self._make_certificates()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True))
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        return {scheme: "%s://127.0.0.1:%d" % (scheme, port) for scheme, port in ports.items()}

    def _make_certificates(self) -> List[str]:
        try:
            made = Certificates(self._directory / "certificates")
        except RuntimeError as error:
            self.notes.append("No TLS: %s." % error)
            return []
        # REQUESTS_CA_BUNDLE is what requests knows.
        self._authority = {"SSL_CERT_FILE": made.ca_file, "REQUESTS_CA_BUNDLE": made.ca_file}
        return [str(made.directory / "good.pem"), str(made.directory / "server.key")]

    def _run(self, run: Run, under: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        environment = dict(self._environment)
        if any(argument.startswith("https:") for argument in run.arguments):
            environment.update(self._authority)
        return subprocess.run(
            [*under, self._python, "-s", *run.arguments], cwd=str(self._directory / run.folder),
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True, check=True, timeout=120)

    def _warm(self, runs: Runs) -> None:
        for run in runs.values():
            self._run(run)

    def _works(self, counter: Counter) -> bool:
        try:
            return self._count(counter, Run(["-c", ""])) > 0
        except (OSError, subprocess.SubprocessError, AttributeError):
            return False

    def _count(self, counter: Counter, run: Run) -> float:
        if not counter.command:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            self._run(run)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return seconds * counter.scale
        program = shutil.which(counter.command[0])
        if program is None:
            raise FileNotFoundError(counter.command[0])
        done = self._run(run, [program, *counter.command[1:]])
        report = re.search(counter.pattern, done.stderr)
        assert report is not None, "no count in the report"
        return int(report.group(1).replace(",", "")) * counter.scale


def _in_turn(measure: Callable[[Run], float], runs: Runs, rounds: int) -> Dict[str, float]:
    taken = [{name: measure(run) for name, run in runs.items()} for _ in range(rounds)]
    return {name: median(one[name] for one in taken) for name in runs}
