"""The benchmark runs; what it measures is judged by whoever reads its table (`make bench`)."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent / "bench" / "bench.py"
MODULE = BENCH.parents[3] / "jamsocket_lite.py"


def table(*arguments: str) -> str:
    done = subprocess.run([sys.executable, str(BENCH), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_benchmark_compares_two_versions() -> None:
    rows = [row.split(" | ") for row in table("--before", str(MODULE), "1").splitlines()
            if row.startswith("| 1. import")]
    ratios = {row[0].partition(": to ")[2]: float(row[1]) for row in rows}
    assert ratios["dataclasses and typing"] > 0 and ratios["the version before"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("row", ["3", "4", "5"])
def test_the_benchmark_measures_calls_waits_and_types(row: str) -> None:
    assert "\n| %s. " % row in table(row)
