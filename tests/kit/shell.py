"""The command line as a process with whatever streams a test gives it, and a server for it.

with answering() as server:
    done = run("connect", "--key", "a", env=towards(server))
assert done.status == 0
"""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import jamsocket_lite
from kit.platforms import JAMSOCKET, is_stream, state
from kit.secrets import TOKEN
from local.local_platform import LocalPlatform
from kit.server import Request, Server, Silence, Step, answer, event, stream_head

FILE = str(Path(jamsocket_lite.__file__).resolve())
MINUTE = 60.0  # for a process that hangs; on a busy machine one takes seconds to begin


class Done(NamedTuple):
    """A process that has ended."""

    status: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode("utf-8")

    @property
    def errors(self) -> str:
        return self.err.decode("utf-8")


def setting(**variables: str) -> Dict[str, str]:
    """An environment with nothing else in it but where programs are."""
    return {"PATH": os.environ["PATH"], **variables}


def towards(server: Server) -> Dict[str, str]:
    """The hosted platform's settings, for a server of ours."""
    return setting(
        JAMSOCKET_ACCOUNT="acme",
        JAMSOCKET_SERVICE="board",
        JAMSOCKET_TOKEN=TOKEN,
        JAMSOCKET_API_URL=server.url,
    )


def settings_of(platform: LocalPlatform) -> Dict[str, str]:
    """A running platform's settings, of either kind."""
    if platform.plane:
        return setting(PLANE_URL=platform.url, PLANE_IMAGE="image")
    return setting(JAMSOCKET_DEV="true", JAMSOCKET_DEV_PORT=str(platform.port))


class Inside:
    """The command line in this process, which is quicker, and shows enough where no shell, terminal
    or signal takes part: `inside("status", "b1", env=towards(server))`."""

    def __init__(self, capsys: Any, monkeypatch: Any) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str, env: Dict[str, str]) -> Done:
        for name, value in env.items():
            self.monkeypatch.setenv(name, value)
        self.capsys.readouterr()
        status = jamsocket_lite.main(list(arguments))
        out, err = self.capsys.readouterr()
        return Done(status, out.encode("utf-8"), err.encode("utf-8"))


def started(
    command: Sequence[Any], env: Dict[str, str], **streams: Any
) -> "subprocess.Popen[bytes]":
    """A process whose output is kept, unless `streams` says where it goes."""
    given: Dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    return subprocess.Popen(list(command), env=env, **{**given, **streams})


def ended(process: "subprocess.Popen[bytes]", given: Optional[bytes] = None) -> Done:
    try:
        out, err = process.communicate(given, MINUTE)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out or b"", err or b"")


def run(
    *arguments: Any, env: Dict[str, str], given: Optional[bytes] = None, **streams: Any
) -> Done:
    """The command line as a process, from the file; `given` is its input."""
    if given is not None:
        streams["stdin"] = subprocess.PIPE
    return ended(started([sys.executable, FILE, *arguments], env, **streams), given)


def stream_of(*states: Dict[str, Any]) -> List[Step]:
    """A stream that tells these states and then stays open."""
    return [stream_head(), *map(event, states), Silence()]


def answering(
    connect: Optional[Sequence[Step]] = None,
    status: Optional[Sequence[Step]] = None,
    stream: Optional[Sequence[Step]] = None,
    **changes: Any,
) -> Server:
    """A server that answers each kind of call so; otherwise its backend becomes ready. `changes`
    are those of its answer to a connect."""

    def script(request: Request) -> Sequence[Step]:
        if request.target.endswith("/connect"):
            return connect or [answer({**JAMSOCKET.document(server.url), **changes})]
        if request.method == "POST":
            return [answer(JAMSOCKET.terminated())]
        if is_stream(request):
            return stream or stream_of(state("loading"), state("ready"))
        return status or [answer(state("ready"))]

    server = Server(script)
    return server


def is_one_error_line(text: str) -> bool:
    return (
        text.endswith("\n") and text.count("\n") == 1 and len(text) > 20 and "Traceback" not in text
    )


def on_terminal(
    arguments: Sequence[str], env: Dict[str, str], meanwhile: Any = None
) -> Tuple[int, bytes, str]:
    """Its status, its standard output, and what a terminal got of its standard error."""
    master, slave = pty.openpty()
    try:
        process = started([sys.executable, FILE, *arguments], env, stderr=slave)
        os.close(slave)
        shown = b""
        end = time.monotonic() + MINUTE
        while time.monotonic() < end:
            if not select.select([master], [], [], 1.0)[0]:
                continue
            try:
                piece = os.read(master, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            shown += piece
            if meanwhile is not None:
                meanwhile(shown.decode("utf-8"))
            if not piece:
                break
        out, _ = process.communicate(timeout=MINUTE)
    finally:
        os.close(master)
    return process.returncode, out, shown.decode("utf-8")
