#!/usr/bin/env python3
"""Runs the suite in two halves side by side, since most of its time is waiting; options go to both.
`make test` uses it.

    .venv/bin/python tests/dev/halves.py                # as `python -m pytest`, in half of the time
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import List, Tuple

TESTS = Path(__file__).resolve().parent.parent


def halves() -> Tuple[List[str], List[str]]:
    """The test files, dealt out by size to and fro, so that both halves have about as much to
    do."""
    files = sorted(TESTS.rglob("test_*.py"), key=lambda file: (-file.stat().st_size, file.name))
    dealt = [str(file.relative_to(TESTS.parent)) for file in files]
    return dealt[::4] + dealt[3::4], dealt[1::4] + dealt[2::4]


def main(options: List[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    runs = [subprocess.Popen([*command, *options, *half], cwd=str(TESTS.parent),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT) for half in halves()]
    total: "Counter[str]" = Counter()
    status = 0
    for run in runs:
        said = run.communicate()[0].decode("utf-8", "replace")
        print(said, end="", flush=True)
        closing = said.rstrip().splitlines()[-1:]
        total.update({word: int(number) for number, word
                      in re.findall(r"(\d+) (passed|failed|skipped|error)", "".join(closing))})
        status = max(status, run.returncode)
    print("Both halves: %d passed, %d failed, %d skipped" % (total["passed"], total["failed"]
                                                             + total["error"], total["skipped"]))
    return status if total["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
