"""The local platform as a program, which is how its users know it."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Sequence

import pytest

from kit.backends import PARENT, python
from kit.deadlines import LONG
from kit.raw import CONNECT, DEV, JSON, Stream, call, watcher
from local.local_platform import parse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

FILE = str(Path(__file__).resolve().parent / "local_platform.py")


def program(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, FILE, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, universal_newlines=True)


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_leaves_no_orphan(number: signal.Signals) -> None:
    command = python(PARENT)
    with watcher() as (listener, port), program("--port", "0", "--", *command) as process:
        line = first_line(process)
        url = line.split()[2]
        assert "JAMSOCKET_DEV=true JAMSOCKET_DEV_PORT=" + url.rpartition(":")[2] in line
        body = {"key": "k", "spawn": {"executable": {"env": {"WATCH": port}}}}
        answer = call(url + CONNECT, "POST", body, DEV).json
        with Stream(answer["status_url"] + "/stream") as stream:
            stream.until("ready")
        held, _ = listener.accept()
        with held:
            process.send_signal(number)
            out, err = process.communicate(timeout=LONG)  # the end of all that hold its output
            assert held.recv(1) == b""
        assert process.returncode == 0 and "Traceback" not in err
        assert 'backend %s (key "k"): ready\n' % answer["backend_id"] in err
        assert answer["token"] not in out + err


def test_it_serves_plane_and_the_output_of_backends_is_seen() -> None:
    script = "import sys; print('from the backend', flush=True)"
    with program("--port", "0", "--plane", "--", *python(script)) as process:
        line = first_line(process)
        url = line.split()[2]
        assert "PLANE_URL=%s PLANE_IMAGE=" % url in line
        body = {"spawn_config": {"executable": {"image": "i"}}}
        answer = call(url + "/ctrl/connect", "POST", body, JSON).json
        with Stream(answer["status_url"] + "-stream") as stream:
            stream.until("terminated")
        process.terminate()
        assert "from the backend\n" in process.communicate(timeout=LONG)[1]


def test_its_plane_takes_a_cluster_a_pool_and_its_own_url() -> None:
    options = ["--cluster", "c", "--pool", "p", "--controller-url", "http://planes.test"]
    with program("--port", "0", "--plane", *options, "--", "/nonexistent") as process:
        url = first_line(process).split()[2]
        body = {"spawn_config": {"executable": {"image": "i"}, "cluster": "c", "pool": "p"}}
        answer = call(url + "/ctrl/connect", "POST", body, JSON).json
        assert answer["status_url"].startswith("http://planes.test/pub/b/")
        process.terminate()
        process.communicate(timeout=LONG)


def test_its_grace_can_be_set() -> None:
    assert [parse(["--grace", "0.5"])[0].grace, parse([])[0].grace] == [0.5, 30.0]


def test_what_follows_two_dashes_is_the_command_as_it_is() -> None:
    assert parse(["--port", "1", "--", "x", "--port", "--", "2"])[1] == ["x", "--port", "--", "2"]


def test_a_taken_port_is_one_clear_line() -> None:
    with watcher() as (_, port), program("--port", port) as process:
        out, err = process.communicate(timeout=LONG)
        assert (process.returncode, out, err.count("\n")) == (1, "", 1)
        assert port in err and "--port" in err and "Traceback" not in err


@pytest.mark.parametrize("arguments, code", [(["--help"], 0), (["--port", "x"], 2),
                                             (["--port", "70000"], 2), (["stray"], 2)], ids=str)
def test_it_explains_itself(arguments: Sequence[str], code: int) -> None:
    with program(*arguments) as process:
        out, err = process.communicate(timeout=LONG)
        assert process.returncode == code
        assert "usage: local_platform.py [options] [-- CMD ARG...]" in out + err
