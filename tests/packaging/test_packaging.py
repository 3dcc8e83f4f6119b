"""The wheel holds what it should, installs, and brings the command; the checkout holds nothing
astray."""

import ast
import configparser
import email
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import List, Set

import pytest

import jamsocket_lite
from kit import wheels
from kit.wheels import ROOT, Wheel

STUB = ROOT / "stubs" / "jamsocket_lite-stubs" / "__init__.pyi"
TOP_LEVEL = {"setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE",
             "Makefile", ".gitignore", ".ci", "jamsocket_lite.py", "stubs", "tests"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    return wheels.installed(tmp_path_factory.getbasetemp() / "wheel")


def in_environment(wheel: Wheel, folder: Path, *arguments: str) -> str:
    return wheels.run([wheel.python, *arguments], folder)


# -------------------------------------------------------------------------------------------------
# The wheel
# -------------------------------------------------------------------------------------------------

def test_the_wheel_holds_the_module_and_its_stub_and_nothing_else(wheel: Wheel) -> None:
    info = "jamsocket_lite-%s.dist-info/" % jamsocket_lite.__version__
    assert wheel.path.name == "jamsocket_lite-%s-py3-none-any.whl" % jamsocket_lite.__version__
    assert {name for name in wheel.names if not name.startswith(info)} == {
        "jamsocket_lite.py", "jamsocket_lite-stubs/__init__.pyi"}
    about = {name[len(info):].replace("licenses/", "") for name in wheel.names
             if name.startswith(info)}
    assert about == {"LICENSE", "METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt"}


def test_what_it_holds_is_what_it_was_made_of(wheel: Wheel) -> None:
    source = wheel.path.parent / "source"
    assert wheel.read("jamsocket_lite.py") == (source / "jamsocket_lite.py").read_text(
        encoding="utf-8"
    )
    stub = source / STUB.relative_to(ROOT)
    assert wheel.read("jamsocket_lite-stubs/__init__.pyi") == stub.read_text(encoding="utf-8")


def test_the_metadata_is_right_and_names_no_requirement_but_for_tests(wheel: Wheel) -> None:
    text = wheel.read("jamsocket_lite-%s.dist-info/METADATA" % jamsocket_lite.__version__)
    metadata = email.message_from_string(text)
    assert metadata["Name"].replace("-", "_") == "jamsocket_lite"  # some setuptools write a hyphen
    assert metadata["Version"] == jamsocket_lite.__version__
    assert metadata["Requires-Python"] == ">=3.7" and metadata["License"] == "MIT"
    required = metadata.get_all("Requires-Dist") or []
    assert required and all("extra == " in line for line in required)
    assert {re.split(r"\W", line)[0] for line in required} == {"pytest", "mypy", "setuptools",
                                                               "wheel"}


def test_the_metadata_is_in_setup_cfg_alone() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("[")] == ["[build-system]"]
    assert not (ROOT / "setup.py").exists()


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="needs setuptools")
def test_the_source_distribution_holds_all_that_a_wheel_is_made_of(tmp_path: Path) -> None:
    source = tmp_path / "source"
    wheels.copy_sources(source)
    build = "import setuptools.build_meta as b; print(b.build_sdist('.'))"
    archive = source / wheels.run([sys.executable, "-W", "ignore", "-c", build], source).split()[-1]
    with tarfile.open(str(archive)) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert names >= {"jamsocket_lite.py", "stubs/jamsocket_lite-stubs/__init__.pyi", "LICENSE",
                     "setup.cfg", "pyproject.toml", "README.md", "CHANGELOG.md"}


# -------------------------------------------------------------------------------------------------
# Installed
# -------------------------------------------------------------------------------------------------

def test_the_command_is_installed_and_explains_itself(wheel: Wheel, tmp_path: Path) -> None:
    said = wheels.run([wheel.command, "--help"], tmp_path)
    assert said.startswith("usage: jamsocket-lite ")
    assert all(command in said for command in ("connect", "wait", "status", "stream", "terminate"))


def test_the_command_ends_with_mains_status(wheel: Wheel, tmp_path: Path) -> None:
    done = subprocess.run([wheel.command, "status"], cwd=str(tmp_path), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"") and done.stderr.count(b"\n") == 1


def test_the_installed_module_runs_with_dash_m(wheel: Wheel, tmp_path: Path) -> None:
    assert in_environment(wheel, tmp_path, "-m", "jamsocket_lite",
                          "--version").strip() == jamsocket_lite.__version__


def test_the_installed_module_is_the_wheels(wheel: Wheel, tmp_path: Path) -> None:
    said = in_environment(wheel, tmp_path, "-W", "error", "-c",
                          "import jamsocket_lite; print(jamsocket_lite.__file__)")
    assert wheel.environment in Path(said.strip()).parents


@pytest.mark.slow
def test_the_suite_passes_with_the_installed_module(wheel: Wheel, tmp_path: Path) -> None:
    """As far as it is about what is installed. It is started elsewhere, so that the checkout's file
    is out of reach."""
    files = [str(ROOT / "tests" / name) for name in ("unit", "calls")]
    program = (
        "import jamsocket_lite, pytest, sys; "
        "assert jamsocket_lite.__file__.startswith(sys.prefix); "
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    said = wheels.run([wheel.python, "-c", program, "-q", "-p", "no:cacheprovider", "-c",
                       str(ROOT / "setup.cfg"), "--rootdir", str(ROOT), *files], tmp_path,
                      {"PYTHONPATH": str(wheels.home_of("pytest")),
                       "JAMSOCKET_LITE_INSTALLED": "1"})
    assert re.search(r"\d+ passed", said.splitlines()[-1])


# -------------------------------------------------------------------------------------------------
# The stub
# -------------------------------------------------------------------------------------------------

def public(tree: ast.Module) -> Set[str]:
    """What a module's text defines at its top level, without what it imports."""
    names: Set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def test_the_stubs_names_are_the_modules() -> None:
    assert public(ast.parse(STUB.read_text(encoding="utf-8"))) == set(jamsocket_lite.__all__) | {
        "main"
    }


def test_the_stub_exports_what_the_module_exports() -> None:
    text = STUB.read_text(encoding="utf-8")
    exported: List[str] = []
    for line in re.findall(r"^__all__ \+?= (.+)$", text, re.M):
        exported += ast.literal_eval(line)
    assert exported == jamsocket_lite.__all__


def test_the_stub_has_a_docstring_where_editors_show_one() -> None:
    """Of each class and function, and of each public method but the obvious ones."""
    obvious = {"is_ready"}
    silent = []
    for node in ast.walk(ast.parse(STUB.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            if not ast.get_docstring(node) and node.name not in obvious:
                silent.append(node.name)
    assert silent == []


# -------------------------------------------------------------------------------------------------
# The checkout
# -------------------------------------------------------------------------------------------------

def git(*arguments: str) -> List[str]:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                          timeout=60)
    if done.returncode != 0:
        pytest.skip("not a checkout: " + done.stderr.strip())
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_top_level_holds_nothing_else() -> None:
    assert {name.split("/")[0] for name in git("ls-files")} <= TOP_LEVEL


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_nothing_that_is_made_is_kept() -> None:
    made = re.compile(
        r"\.(pyc|pyo|whl|egg-info|pem|key)(/|$)|(^|/)(__pycache__|\.venvs?|dist|build)/"
    )
    assert [name for name in git("ls-files") if made.search(name)] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_alone_lists_every_target() -> None:
    said = wheels.run(["make", "--no-print-directory"], ROOT, {"MAKEFLAGS": ""})
    listed = set(re.findall(r"^make ([\w-]+) ", said, re.M))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert listed == set(re.findall(r"^([a-z][\w-]*):", makefile, re.M))
    assert listed >= {"demo", "test", "test-slow", "test-ends", "test-all", "test-interop", "fuzz",
                      "bench", "lint", "types", "wheel", "clean"}
    phony = {name for line in re.findall(r"^\.PHONY:(.*)$", makefile, re.M) for name
             in line.split()}
    assert listed <= phony
    assert all("needs " in line for line in said.splitlines())


def test_the_programs_that_make_runs_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"python\S* (tests/\S+)|\(PYTHON\) (tests/\S+)", makefile))
    for name in {first or second for first, second in named}:
        assert (ROOT / name).is_file() or (ROOT / name / "__main__.py").is_file(), name


def test_ci_calls_the_test_commands() -> None:
    path = ROOT / ".ci" / "run"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].endswith("bash") and "set -euo pipefail" in lines
    assert [" ".join(line.split()[:2]) for line in lines if line.startswith("make ")] == [
        "make test", "make test-slow", "make test-ends", "make test-interop"]
    assert os.access(str(path), os.X_OK)


def test_the_tests_are_quick_unless_asked() -> None:
    config = configparser.ConfigParser()
    config.read(str(ROOT / "setup.cfg"), encoding="utf-8")
    assert '-m "not slow"' in config["tool:pytest"]["addopts"]
    assert config["tool:pytest"]["filterwarnings"].split() == ["error"]
    assert config["mypy"]["strict"] == "True"


def test_the_demo_shows_both_platforms_and_leaves_nothing(tmp_path: Path) -> None:
    said = wheels.run([sys.executable, "-W", "error", str(ROOT / "tests" / "local" / "demo.py")],
                      tmp_path)
    halves = said.split("Plane(")
    assert len(halves) == 2 and halves[0].startswith("Jamsocket(")
    for half in halves:
        order = ["... ready", "   backend ", "its url answers: Hello from session backend",
                 "terminated"]
        places = [half.find(text) for text in order]
        assert -1 not in places and places == sorted(places), half
    for port in re.findall(r"(?:port=|127\.0\.0\.1:)(\d+)", said):
        assert not listening(int(port))


def listening(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -------------------------------------------------------------------------------------------------
# make test-all
# -------------------------------------------------------------------------------------------------

def environments(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(ROOT / "tests" / "dev" / "environments.py"),
                           *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=120)


def test_pythons_are_found_once_each_in_order(tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """On PATH by their names, where a shim may lead nowhere; and below pyenv."""
    base = os.path.realpath(sys.executable)
    ours = "%s%d.%d" % (("pypy" if sys.implementation.name == "pypy" else "",)
                        + sys.version_info[:2])
    (tmp_path / "on-path").mkdir()
    shim = tmp_path / "on-path" / "python3.29"
    shim.write_text("#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    (tmp_path / "on-path" / "python3").symlink_to(base)
    (tmp_path / "pyenv" / "versions" / "ours" / "bin").mkdir(parents=True)
    (tmp_path / "pyenv" / "versions" / "ours" / "bin" / "python3").symlink_to(base)
    monkeypatch.setenv("PATH", str(tmp_path / "on-path"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("HOME", str(tmp_path))
    done = environments("--list")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [ours]


def test_a_python_that_is_installed_but_does_not_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "versions" / "3.9.9" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3").write_text("#!/bin/sh\nexit 1\n")
    (folder / "python3").chmod(0o755)
    (tmp_path / "python3").symlink_to(os.path.realpath(sys.executable))
    for name, value in (("PATH", tmp_path), ("PYENV_ROOT", tmp_path), ("HOME", tmp_path)):
        monkeypatch.setenv(name, str(value))
    assert str(folder / "python3") in environments("--list").stderr


def test_the_ends_are_the_oldest_and_the_newest(tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    for name, said in (("python3.7", ",,3,7,9"), ("python3.9", ",,3,9,1"),
                       ("python3.12", ",,3,12,0"), ("python3.13", ",t,3,13,0"),
                       ("pypy3.10", "pypy,,3,10,0")):
        python = tmp_path / name
        python.write_text("#!/bin/sh\necho '%s,1,True'\n" % said)
        python.chmod(0o755)
    for name in ("PATH", "PYENV_ROOT", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    listed = environments("--ends", "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["3.7", "3.12"]
    assert len(environments("--list").stdout.splitlines()) == 5


def test_a_python_that_is_asked_for_and_not_there_fails(tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "PYENV_ROOT", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    done = environments("3.99")
    assert done.returncode == 1 and "3.99" in done.stderr
