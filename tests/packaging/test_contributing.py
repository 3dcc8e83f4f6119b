"""What the README tells contributors, and what the changelog tells everyone else, is so."""

import re
import subprocess
import sys
from typing import List

import pytest

import jamsocket_lite
from kit.readme import README, block, section
from kit.wheels import ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def rows(title: str) -> List[str]:
    """The first column of the table in this section, without its head."""
    return re.findall(r"^\| `?([^|`]+?)`? \|", section(title), re.M)[2:]


def test_every_make_target_that_it_names_is_the_makefiles() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([\w-]+)`", README))
    assert "demo" in named
    assert [name for name in named if not re.search("^%s:" % name, makefile, re.M)] == []


def test_every_target_that_takes_a_while_has_its_row() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.M))
    quick = {"help", "lint", "types", "stub", "wheel", "clean"}
    assert {"make " + name for name in targets - quick} == set(rows("Contributing"))


def test_the_table_of_tests_names_every_folder() -> None:
    folders = {"tests/" + path.name for path in (ROOT / "tests").iterdir()
               if path.is_dir() and path.name != "__pycache__"}
    assert set(rows("The tests")) == folders


def test_the_table_of_rooms_is_the_files() -> None:
    source = (ROOT / "jamsocket_lite.py").read_text(encoding="utf-8")
    assert rows("The file") == re.findall(r"^# ---- (.+?) -+$", source, re.M)


def test_what_it_says_to_touch_is_there() -> None:
    named = re.findall(r"`([\w./]+)`", section("Where to touch"))
    functions = {name for name in named if re.match(r"_[a-z]+(_[a-z]+)*$|_[A-Z]", name)}
    files = {name for name in named if re.search(r"/|\.(py|md)$", name)}
    assert len(functions) > 6 and len(files) > 3
    source = (ROOT / "jamsocket_lite.py").read_text(encoding="utf-8")
    assert {name for name in functions
            if not re.search(r"^(    )?((def|class) )?%s\b" % name, source, re.M)} == set()
    assert {name for name in files if not (ROOT / name).exists()} == set()


def test_every_tool_that_is_tried_has_its_row() -> None:
    programs = (ROOT / "tests" / "network" / "programs").glob("with_*.py")
    tools = {path.stem[len("with_"):].replace("default_context", "default_https_context")
             for path in programs}
    table = re.sub(r"[^a-z|]", "", section("Tracing, recording, faking").lower())
    assert len(tools) > 10
    assert [tool for tool in tools if tool.replace("_", "") not in table] == []


def commands() -> List[str]:
    return re.findall(r"^\$ \.venv/bin/python -m pytest(.*)$", block("console", "pytest"), re.M)


@pytest.mark.parametrize("arguments", [each for each in commands() if each])
def test_a_command_that_it_names_finds_tests(arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
         *arguments.split()], cwd=str(ROOT), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, universal_newlines=True, timeout=120)
    assert done.returncode == 0 and re.search(r"^tests/\S+::\w+", done.stdout, re.M), done.stdout


# ---- The changelog -----------------------------------------------------------------------------


def versions() -> List[str]:
    return re.findall(r"^## (.*)$", CHANGELOG, re.M)


def test_the_changelog_knows_this_version() -> None:
    assert jamsocket_lite.__version__ in versions()


def test_the_changelogs_newest_version_comes_first() -> None:
    numbers = [[int(part) for part in version.split(".")] for version in versions()]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) > 1


def test_the_changelogs_links_lead_somewhere() -> None:
    for file, _, anchor in re.findall(r"\]\(([\w.]+)(#([\w-]+))?\)", CHANGELOG):
        assert (ROOT / file).is_file()
        assert not anchor or "(#%s)" % anchor in README
