"""Programs of the kit that are processes of their own: each a module here with a `main`.

    with started("floods", certificate, key) as process: ...
    assert finished("forks", "storm", server.url) == {...}      # the JSON that it printed
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Mapping, Optional

import jamsocket_lite
from kit.deadlines import LONG

FOLDERS = [str(Path(__file__).resolve().parent.parent), str(Path(jamsocket_lite.__file__).parent)]


def command(module: str, *arguments: str) -> List[str]:
    program = "import sys; sys.path[:0] = %r; from kit.%s import main; main()" % (FOLDERS, module)
    return [sys.executable, "-c", program, *arguments]


def started(module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command(module, *arguments), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)


def finished(module: str, *arguments: str, env: Optional[Mapping[str, str]] = None) -> Any:
    """What it printed."""
    done = subprocess.run(command(module, *arguments), stdin=subprocess.DEVNULL, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=3 * LONG)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return json.loads(done.stdout.decode("utf-8"))
