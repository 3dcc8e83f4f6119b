"""The README's blocks, by the words after their fences (`python`, `python plane`, `sh`, …), and how
they are run: in a folder that holds nothing but the copied file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

import pytest

from kit.wheels import ROOT
from local.local_platform import LocalPlatform

__all__ = ["README", "BLOCKS", "MINUTE", "Block", "blocks", "cases", "block", "section",
           "sections", "folder_of", "environment", "run"]

README = (ROOT / "README.md").read_text(encoding="utf-8")
MINUTE = 60.0


class Block(NamedTuple):
    kind: str
    text: str

    @property
    def name(self) -> str:
        return re.sub(r"\W+", "-", self.text.strip().splitlines()[0])[:40]


BLOCKS = [Block(kind, text)
          for kind, text in re.findall(r"^```([\w ]+)\n(.*?)^```$", README, re.M | re.S)]


def blocks(kind: str) -> List[Block]:
    return [block for block in BLOCKS if block.kind == kind]


def cases(kind: str) -> List[Any]:
    """The texts of that kind, to parametrise a test with."""
    return [pytest.param(block.text, id=block.name) for block in blocks(kind)]


def block(kind: str, holding: str = "") -> str:
    """The text of the one block of that kind that holds these words."""
    (found,) = [block.text for block in blocks(kind) if holding in block.text]
    return found


def sections() -> Dict[str, str]:
    """What stands below each title, without the blocks."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
    titles = re.split(r"^#+ (.*)$", prose, flags=re.M)
    return dict(zip(titles[1::2], titles[2::2]))


def section(title: str) -> str:
    return sections()[title]


def folder_of(tmp_path: Path) -> Path:
    shutil.copy(str(ROOT / "jamsocket_lite.py"), str(tmp_path))
    return tmp_path


def environment(platform: LocalPlatform) -> Dict[str, str]:
    """That of somebody who develops against this platform, of either kind."""
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    if platform.plane:
        return {"PATH": path, "PLANE_URL": platform.url, "PLANE_IMAGE": "acme/whiteboard:v1"}
    return {"PATH": path, "JAMSOCKET_DEV": "true", "JAMSOCKET_DEV_PORT": str(platform.port)}


def run(command: Sequence[str], folder: Path, env: Dict[str, str]) -> str:
    """What it printed, after which it ended well and without complaints."""
    done = subprocess.run(command, cwd=str(folder), env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=MINUTE)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode()
