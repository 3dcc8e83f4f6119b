"""The README's shell examples, those of cron and make among them, run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest

from kit.readme import MINUTE, block, blocks, cases, environment, folder_of, run
from kit.wheels import ROOT
from local.local_platform import LocalPlatform


def sh(text: str, folder: Path, env: Dict[str, str]) -> str:
    return run(["sh", "-eu", "-c", text], folder, env)


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip("needs " + ", ".join(missing))


@pytest.mark.parametrize("text", cases("sh"))
def test_a_shell_example_runs(text: str, tmp_path: Path, platform: LocalPlatform) -> None:
    need(*["curl"] * ("curl" in text))
    done = subprocess.run(["sh", "-eu", "-c", text], cwd=str(folder_of(tmp_path)),
                          env=environment(platform), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=MINUTE)
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode()
    assert "Hello from session backend" in said or '"status": "ready"' in said


def test_the_crontabs_command_runs_without_a_terminal_or_a_home(tmp_path: Path,
                                                                platform: LocalPlatform) -> None:
    command = block("crontab").strip().splitlines()[-1].split("* * *", 1)[1].strip()
    command = command.replace("/opt/reports/", "").replace("/var/log/", "")
    sh(command, folder_of(tmp_path), environment(platform))
    assert '"backend_id"' in (tmp_path / "nightly.json").read_text(encoding="utf-8")


def test_the_makefile_runs(tmp_path: Path, platform: LocalPlatform) -> None:
    need("make")
    (folder_of(tmp_path) / "Makefile").write_text(block("make"), encoding="utf-8")
    run(["make", "-s", "stop"], tmp_path, environment(platform))
    assert '"backend_id"' in (tmp_path / "backend.json").read_text(encoding="utf-8")


def test_the_makefile_stops_where_it_fails(tmp_path: Path, platform: LocalPlatform) -> None:
    need("make")
    (folder_of(tmp_path) / "Makefile").write_text(block("make"), encoding="utf-8")
    done = subprocess.run(["make", "-s", "stop"], cwd=str(tmp_path), stdin=subprocess.DEVNULL,
                          env={"PATH": environment(platform)["PATH"]}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=MINUTE)
    assert done.returncode != 0 and b"JAMSOCKET_ACCOUNT" in done.stderr


# ---- A copy and where it comes from ------------------------------------------------------------


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A repository in which the file has had two versions, and a project with a copy beside it."""
    need("git")
    repository = tmp_path / "repository"
    repository.mkdir()
    (tmp_path / "your-project").mkdir()
    for version in ("old", "new"):
        (repository / "jamsocket_lite.py").write_text("# %s\n" % version, encoding="utf-8")
        sh("git init -q . && git add . && "
           "git -c user.name=n -c user.email=e commit -qm %s" % version,
           repository, {"PATH": os.environ["PATH"]})
    return repository


def compare(history: Path, copy: str) -> str:
    (history.parent / "your-project" / "jamsocket_lite.py").write_text(copy, encoding="utf-8")
    return sh(block("sh copy"), history, {"PATH": os.environ["PATH"], "HOME": str(history)})


def test_a_copy_is_found_in_the_history(history: Path) -> None:
    said = compare(history, "# old\n")
    assert len(re.findall(r"^[0-9a-f]+ (old|new)$", said, re.M)) == 2
    assert "-# old" in said and "+# new" in said


def test_a_copy_of_today_differs_in_nothing(history: Path) -> None:
    assert re.match(r"[0-9a-f]+ new\n\Z", compare(history, "# new\n"))


def test_a_copy_that_was_edited_is_found_nowhere(history: Path) -> None:
    assert compare(history, "# mine\n").startswith("---")


def test_a_checksum_tells_of_edits(tmp_path: Path) -> None:
    need("sha256sum")
    make, check = block("sh checksum").splitlines()
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    assert sh(make + "\n" + check, folder_of(tmp_path), env) == "jamsocket_lite.py: OK\n"
    (tmp_path / "jamsocket_lite.py").write_text("# mine\n", encoding="utf-8")
    done = subprocess.run(["sh", "-c", check], cwd=str(tmp_path), env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=MINUTE)
    assert done.returncode == 1 and done.stdout == b"jamsocket_lite.py: FAILED\n"


# ---- What is shown, not run to its end ---------------------------------------------------------


def test_every_program_that_a_console_starts_is_there() -> None:
    shown = "".join(each.text for each in blocks("console"))
    started = re.findall(r"python3 (tests/\S+\.py)", shown)
    assert started and [name for name in started if not (ROOT / name).is_file()] == []


def test_the_local_platform_starts_as_shown() -> None:
    (line,) = [each.text.strip() for each in blocks("console")
               if each.text.count("\n") == 1 and "local_platform.py" in each.text]
    words = line.replace("$ python3", sys.executable).replace("8080", "0").split()[:-2]
    with subprocess.Popen(words + [sys.executable, "-c", ""], cwd=str(ROOT),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            assert re.search(rb"http://127\.0\.0\.1:\d+", process.stdout.readline())
        finally:
            process.terminate()
