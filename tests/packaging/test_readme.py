"""The README's Python examples run as they stand there, in a folder that has nothing but the copied
file. Shell examples, the web page and the contributor's part have files of their own."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from kit.backends import DEAF, python
from kit.readme import (BLOCKS, README, block, blocks, cases, environment, folder_of, run, section,
                        sections)
from kit.wheels import ROOT
from local.local_platform import LocalPlatform

PYTHON = [sys.executable, "-X", "dev", "-X", "utf8", "example.py"]

# By their kinds, and how many there are. Whoever adds one sees here that it is run.
KINDS = {"python": 7, "python plane": 1, "python local": 1, "python page": 1, "python relay": 1,
         "sh": 2, "sh copy": 1, "sh checksum": 1, "crontab": 1, "make": 1, "nginx": 1, "jsx": 1,
         "js": 1, "console": 3, "text": 2}


def write(text: str, folder: Path) -> None:
    (folder / "example.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("text", cases("python"))
def test_an_example_runs(text: str, tmp_path: Path, platform: LocalPlatform) -> None:
    write(text, folder_of(tmp_path))
    run(PYTHON, tmp_path, environment(platform))


@pytest.mark.parametrize("text", cases("python plane"))
def test_an_example_for_plane_runs(text: str, tmp_path: Path) -> None:
    write(text, folder_of(tmp_path))
    with LocalPlatform(plane=True) as controller:
        run(PYTHON, tmp_path, environment(controller))


def test_the_local_platform_serves_other_peoples_tests(tmp_path: Path,
                                                       platform: LocalPlatform) -> None:
    write(block("python local"), folder_of(tmp_path))
    shutil.copy(str(ROOT / "tests" / "local" / "local_platform.py"), str(tmp_path))
    run(PYTHON, tmp_path, {"PATH": environment(platform)["PATH"]})


def test_the_first_example_prints_what_stands_below_it(tmp_path: Path,
                                                       platform: LocalPlatform) -> None:
    first = next(block.text for block in BLOCKS if block.kind == "python")
    below = next(block.text for block in BLOCKS if block.kind == "text")
    write(first, folder_of(tmp_path))
    printed = run(PYTHON, tmp_path, environment(platform))
    backend_id = r"(?<=backend )\w+"
    assert re.sub(backend_id, "ID", printed).strip() == re.sub(backend_id, "ID", below).strip()


@pytest.mark.parametrize("seconds, status", [(30, 302), (1.2, 503)],
                         ids=["enough-time", "too-short"])
def test_the_lambda_handler_answers(seconds: float, status: int, tmp_path: Path) -> None:
    text = block("python", "def handler(") + LAMBDA % (seconds, seconds)
    write(text, folder_of(tmp_path))
    with LocalPlatform(None if status == 302 else python(DEAF)) as platform:
        printed = run([sys.executable, "example.py"], tmp_path, environment(platform))
    assert printed.strip() == str(status)


LAMBDA = """
import time

class Context:
    end = time.monotonic() + %r
    def get_remaining_time_in_millis(self):
        return (self.end - time.monotonic()) * 1000

print(handler({"document": "lambda-%r"}, Context())["statusCode"])
"""


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {block.kind: len(blocks(block.kind)) for block in BLOCKS} == KINDS
    fences = re.findall(r"^```", README, re.M)
    assert len(fences) == 2 * len(BLOCKS)


# The text itself


def test_every_link_within_leads_somewhere() -> None:
    titles = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in sections()}
    anchors = re.findall(r"\]\(#([\w-]+)\)", README)
    assert anchors and set(anchors) <= titles


def test_every_link_to_a_file_leads_to_one() -> None:
    files = re.findall(r"\]\((?!#|https?://)([^)#]+)", README)
    assert files and [name for name in files if not (ROOT / name).exists()] == []


def test_the_contents_name_every_section_in_order() -> None:
    named = re.findall(r"\]\(#([\w-]+)\)", README[:README.index("\n## ")])
    titles = re.findall(r"^## (.*)$", re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S), re.M)
    assert named == [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_no_table_is_wider_than_a_page() -> None:
    rows = [line for line in README.splitlines() if line.startswith("|")]
    assert rows and [row for row in rows if row.replace(r"\|", "").count("|") > 5] == []


def test_no_line_is_longer_than_others_of_this_project() -> None:
    """But for rows of tables, and the lines of two formats that cannot break one."""
    unbroken = block("crontab") + block("make")
    long = [line for line in README.splitlines() if len(line) > 100 and not line.startswith("|")]
    assert [line for line in long if line not in unbroken] == []


def test_every_class_of_errors_has_its_row() -> None:
    import jamsocket_lite

    classes = {name for name in jamsocket_lite.__all__
               if isinstance(getattr(jamsocket_lite, name), type)
               and issubclass(getattr(jamsocket_lite, name), Exception)}
    assert set(re.findall(r"^\| `(\w+)` \| (?!`path)", section("Errors"), re.M)) >= classes


def test_every_method_of_a_client_has_its_row() -> None:
    import jamsocket_lite

    methods = {name for name in dir(jamsocket_lite.Jamsocket)
               if not name.startswith("_") and name != "from_env"}
    assert set(re.findall(r"^\| `(\w+)\(", section("Calls"), re.M)) >= methods
