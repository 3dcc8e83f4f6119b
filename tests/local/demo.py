#!/usr/bin/env python3
"""The main job, on this machine: `make demo`. Standard library only; nothing is left running.

Starts tests/local/local_platform.py as a process, connects, waits until the backend is ready, calls
its url, prints the answer, ends it; then the same with a self-hosted Plane's API, where only the
client is made differently.
"""

import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Union

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from jamsocket_lite import BackendState, Jamsocket, JamsocketError, Plane

# The backends are on this machine, whatever proxy the environment names.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def platform(*options: str) -> Iterator[str]:
    """The platform's url, while its process runs. Its backends end with it."""
    command = [sys.executable, str(HERE / "local_platform.py"), "--port", "0", *options]
    process: "subprocess.Popen[Any]" = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        universal_newlines=True)
    assert process.stdout is not None
    try:
        match = re.search(r"http://\S+", process.stdout.readline())
        if match is None:
            raise SystemExit("demo: the local platform did not start; try %s" % " ".join(command))
        yield match.group()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def show(state: BackendState) -> None:
    print("   ... " + state.status, flush=True)


def run(client: Union[Jamsocket, Plane]) -> None:
    """The same code for both."""
    request = {"key": "demo", "spawn": {"max_idle_seconds": 60}}
    backend = client.connect_and_wait(request, timeout=30, on_status=show)
    try:
        how = "started" if backend.spawned else "found"
        print("   backend %s, %s" % (backend.backend_id, how), flush=True)
        with DIRECT.open(backend.url, timeout=10) as answer:
            print("   its url answers: " + answer.read().decode("utf-8").strip(), flush=True)
    finally:
        client.terminate(backend)
    for state in client.status_stream(backend, timeout=30):
        if state.is_terminated:
            print("   %s (%s)" % (state.status, state.termination_reason), flush=True)


def main() -> int:
    try:
        with platform() as url:
            port = int(url.rpartition(":")[2])
            print("Jamsocket(dev=True, port=%d)" % port, flush=True)
            run(Jamsocket(dev=True, port=port))
        with platform("--plane") as url:
            print("Plane(%r, image='demo')" % url, flush=True)
            run(Plane(url, image="demo"))
    except JamsocketError as error:
        print("demo: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("done: nothing is left running")
    return 0


if __name__ == "__main__":
    sys.exit(main())
