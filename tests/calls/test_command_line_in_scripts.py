"""The command line in a shell, a makefile, a cron job, a module."""

import json
import re
import shlex
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest

from kit.deadlines import LONG
from kit.platforms import state
from kit.server import Request, Server, Silence, Step, answer
from kit.shell import (FILE, Done, Inside, answering, ended, is_one_error_line, settings_of,
                       started, stream_of, towards)
from local.local_platform import LocalPlatform

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
REFUSED = [answer({"error": {"message": "no", "status": 401, "code": "UNAUTHORIZED", "id": "r1"}},
                  401)]
BROKEN = [answer({"error": {"message": "oops", "status": 500, "code": "INTERNAL", "id": "r2"}},
                 500)]
ENDED = state("terminated", termination_reason="external", termination_kind="hard")
SILENT: List[Step] = [Silence()]


@pytest.mark.parametrize("options",
                         [["-m", "jamsocket_lite"], ["-OO", "-I", "-S", "jamsocket_lite.py"],
                          ["-bb", "-X", "dev", "-W", "error", "jamsocket_lite.py"]], ids=" ".join)
def test_it_runs_as_a_module_and_with_the_interpreters_options(tmp_path: Path,
                                                               options: List[str]) -> None:
    shutil.copy(FILE, str(tmp_path))
    with answering(None, [answer(state("ready"))]) as server:
        done = ended(started([sys.executable, *options, "status", "b1"], towards(server),
                             cwd=str(tmp_path)))
    assert (done.status, done.errors) == (0, "") and json.loads(done.text) == state("ready")


SCRIPT = """
url=$({python} jamsocket_lite.py connect --key shell --wait --format url) || exit $?
echo "got $url"
"""


def in_shell(script: str, env: Dict[str, str], folder: Path, shell: str = "sh",
             **options: Any) -> Done:
    shutil.copy(FILE, str(folder))
    text = script.replace("{python}", shlex.quote(sys.executable))
    return ended(started([shell, "-c", text], env, cwd=str(folder), **options))


def test_a_shell_script_gets_the_url(dev: LocalPlatform, tmp_path: Path) -> None:
    done = in_shell(SCRIPT, settings_of(dev), tmp_path)
    assert done.status == 0 and re.fullmatch(r"got http://\S+\n", done.text)
    assert [line.split()[-1] for line in done.errors.splitlines()][-1] == "ready"
    with DIRECT.open(done.text.split()[1], timeout=LONG) as response:
        assert response.status == 200


@pytest.mark.parametrize("steps, status", [(REFUSED, 3), (BROKEN, 1)], ids=["refused", "broken"])
def test_a_shell_script_ends_with_its_status(tmp_path: Path, steps: Sequence[Step],
                                             status: int) -> None:
    with Server(steps) as server:
        done = in_shell("set -e\n" + SCRIPT, towards(server), tmp_path)
    assert (done.status, done.text) == (status, "") and is_one_error_line(done.errors)


def test_a_shell_script_tells_the_statuses_apart(tmp_path: Path) -> None:
    script = """
for backend in ready ended silent; do
    [ $backend = silent ] && timeout=0.3 || timeout=20
    {python} jamsocket_lite.py wait $backend --timeout $timeout --quiet > /dev/null 2>&1
    case $? in 0) echo ready;; 4) echo late;; 5) echo over;; *) echo other;; esac
done
"""
    answers: Dict[str, Sequence[Step]] = {"ready": [answer(state("ready"))],
                                          "ended": [answer(ENDED)], "silent": SILENT}
    streams: Dict[str, Sequence[Step]] = {"ready": stream_of(state("ready")),
                                          "ended": stream_of(ENDED), "silent": SILENT}

    def each(request: Request) -> Sequence[Step]:
        return (streams if request.target.endswith("/stream")
                else answers)[request.target.split("/")[3]]

    with Server(each) as server:
        done = in_shell(script, towards(server), tmp_path)
    assert done.text.split() == ["ready", "over", "late"]


def test_the_first_line_of_a_stream_is_enough_for_head(dev: LocalPlatform, tmp_path: Path,
                                                       inside: Inside) -> None:
    env = settings_of(dev)
    response = json.loads(inside("connect", "--wait", "--quiet", env=env).text)
    inside("terminate", response["backend_id"], "--hard", env=env)
    dev.backend(response["backend_id"]).wait("terminated")
    done = in_shell("{python} jamsocket_lite.py stream %s | head -1" % response["backend_id"], env,
                    tmp_path)
    assert (done.status, done.errors) == (0, "") and json.loads(done.text)["status"] == "scheduled"


def test_cron_runs_it_without_terminal_home_or_locale(dev: LocalPlatform, tmp_path: Path) -> None:
    """As cron does: sh, a short PATH, no input, output into a file, a session of its own."""
    env = {**settings_of(dev), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "nobody"}
    done = in_shell(
        "{python} jamsocket_lite.py connect --key cron --wait >> log.txt 2>> errors.txt",
        env,
        tmp_path,
        start_new_session=True,
    )
    assert done == Done(0, b"", b"")
    assert json.loads((tmp_path / "log.txt").read_text())["backend_id"]
    errors = (tmp_path / "errors.txt").read_text()
    assert errors.splitlines()[-1].split()[-1] == "ready" and "\r" not in errors


MAKEFILE = """
url.txt:
\t{python} jamsocket_lite.py connect --key make --wait --quiet --format url > $@ \\
\t\t|| { rm -f $@; exit 1; }
failing:
\t@{python} jamsocket_lite.py connect --key ''
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_makefile_uses_it_and_stops_where_it_fails(dev: LocalPlatform, tmp_path: Path) -> None:
    shutil.copy(FILE, str(tmp_path))
    (tmp_path / "Makefile").write_text(MAKEFILE.replace("{python}", shlex.quote(sys.executable)))
    good = ended(started(["make"], settings_of(dev), cwd=str(tmp_path)))
    assert good.status == 0 and (tmp_path / "url.txt").read_text().startswith("http://")
    bad = ended(started(["make", "failing"], settings_of(dev), cwd=str(tmp_path)))
    assert (
        bad.status == 2
        and bad.text == ""
        and "Error 2" in bad.errors
        and "Traceback" not in bad.errors
    )
