#!/usr/bin/env python3
"""Runs the suite in eight parts side by side, since most of its time is waiting; options go to all.
`make test` uses it.

    .venv/bin/python tests/dev/parts.py                 # as `python -m pytest`, in a third of the time
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import List

TESTS = Path(__file__).resolve().parent.parent
PARTS = 8


def parts() -> List[List[str]]:
    """The test files, dealt out by size to and fro, so that all parts have about as much to do."""
    files = sorted(TESTS.rglob("test_*.py"), key=lambda file: (-file.stat().st_size, file.name))
    dealt: List[List[str]] = [[] for _ in range(PARTS)]
    to_and_fro = [*range(PARTS), *reversed(range(PARTS))]
    for number, file in enumerate(files):
        dealt[to_and_fro[number % len(to_and_fro)]].append(str(file.relative_to(TESTS.parent)))
    return dealt


def main(options: List[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    runs = [subprocess.Popen([*command, *options, *part], cwd=str(TESTS.parent),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT) for part in parts()]
    total: "Counter[str]" = Counter()
    status = 0
    for run in runs:
        said = run.communicate()[0].decode("utf-8", "replace")
        print(said, end="", flush=True)
        closing = said.rstrip().splitlines()[-1:]
        total.update({word: int(number) for number, word
                      in re.findall(r"(\d+) (passed|failed|skipped|error)", "".join(closing))})
        status = max(status, run.returncode)
    print("All parts: %d passed, %d failed, %d skipped" % (total["passed"], total["failed"]
                                                            + total["error"], total["skipped"]))
    return status if total["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
