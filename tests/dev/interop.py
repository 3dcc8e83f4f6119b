#!/usr/bin/env python3
"""Installs the tools that people hang on urllib, http.client, socket and ssl, and runs the tests
with them; options go to pytest. `make test-interop` uses it.

Only wheels are installed, so that nothing has to be compiled: where this Python has none of a tool,
that is told, and the tool's tests are skipped.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import List, Mapping

TESTS = Path(__file__).resolve().parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from dev.environments import ROOT, Python, asked, call, make, python_of, requirements

FILES = ["tests/network/test_interop.py", "tests/network/test_interop_ways.py"]

# What is imported of a tool, and the packages that bring it.
NEWEST = {
    "opentelemetry": ["opentelemetry-instrumentation-urllib", "opentelemetry-sdk"],
    "aws_xray_sdk": ["aws-xray-sdk"],
    "sentry_sdk": ["sentry-sdk"],
    "vcr": ["vcrpy"],
    "mocket": ["mocket"],
    "httpretty": ["httpretty"],
    "socks": ["PySocks"],
    "truststore": ["truststore"],
    "gevent": ["gevent"],
    "eventlet": ["eventlet"],
}
# The last that checks a certificate in wrap_socket alone, handshake or not.
OLDER = {"truststore": ["truststore==0.10.4"]}

WHEELS = ["--only-binary", ":all:", "--no-binary", "httpretty"]  # which is Python alone


def install(place: Path, python: Python, tools: Mapping[str, List[str]]) -> List[str]:
    """Makes an environment with pytest and the tools. Returns those that are there then."""
    make(python, place, [each for each in requirements() if re.match(r"pytest\b", each)])
    return [tool for tool, packages in tools.items() if installed(place, tool, packages)]


def installed(place: Path, tool: str, packages: List[str]) -> bool:
    try:
        call([python_of(place), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
              *WHEELS, *packages])
    except RuntimeError as error:
        if "No matching distribution found" not in str(error):
            raise
        print("no wheel of %s for this Python: its tests are skipped" % tool, flush=True)
        return False
    return True


def test(place: Path, tools: List[str], options: List[str]) -> int:
    # In INTEROP are those whose absence is a failure.
    return subprocess.call([python_of(place), "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs",
                            *FILES, *options], cwd=str(ROOT), stdin=subprocess.DEVNULL,
                           env={**os.environ, "INTEROP": " ".join(tools)})


def main(options: List[str]) -> int:
    python = asked(sys.executable)
    if python is None:
        print("this Python is none that the suite supports", file=sys.stderr)
        return 2
    newest, older = ROOT / ".venv-interop", ROOT / ".venv-interop-older"
    status = test(newest, install(newest, python, NEWEST), options)
    return status or test(older, install(older, python, OLDER), ["-k", "truststore", *options])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
