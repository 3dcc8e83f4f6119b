"""The file works under every flag of the interpreter, and in every shape that it is copied in."""

import importlib.util
import marshal
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import zipapp
import zipfile
from pathlib import Path
from typing import List, Sequence

import pytest

from kit.deadlines import LONG
from kit.places import FILE, PROGRAMS, TOKEN, Done, Place, run


def found(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip("needs the command " + name)
    return path


# -------------------------------------------------------------------------------------------------
# Flags
# -------------------------------------------------------------------------------------------------

ALL_FLAGS = ("-OO", "-bb", "-X", "dev", "-W", "error", "-I", "-S")


@pytest.mark.parametrize("flags", [("-O",), ("-OO",), ("-W", "error"), ("-X", "dev"), ("-I", "-S"),
                                   ("-b",), ("-bb",), ALL_FLAGS], ids=" ".join)
def test_a_flag_changes_nothing(place: Place, flags: Sequence[str]) -> None:
    """No warning, no unclosed socket, and no rule that an assert or a docstring held."""
    place.copy()
    place.check(run([sys.executable, *flags, "-c", place.program], place.folder))


@pytest.mark.parametrize("flags", [("-OO",), ALL_FLAGS], ids=" ".join)
def test_without_docstrings_the_command_line_still_helps(place: Place,
                                                         flags: Sequence[str]) -> None:
    place.copy()
    done, usual = (run([sys.executable, *each, "jamsocket_lite.py", "--help"], place.folder)
                   for each in (flags, ()))
    assert done == usual and (done.code, done.err) == (0, "") and "terminate" in done.out


# -------------------------------------------------------------------------------------------------
# Loading
# -------------------------------------------------------------------------------------------------

def test_copied_alone_into_an_empty_folder(place: Place) -> None:
    shutil.copy(str(FILE), str(place.folder / "jamsocket_lite.py"))
    text = (
        (PROGRAMS / "user.py").read_text("utf-8")
        + "\nimport jamsocket_lite\n"
        + place.call.replace("user.", "")
    )
    done = place.python("-", text=text)
    module_origin = done.json()["origin"]
    place.check(done)
    assert Path(module_origin).parent == place.folder
    assert {path.name for path in place.folder.iterdir()} <= {"jamsocket_lite.py", "__pycache__"}


@pytest.mark.parametrize("name", ["jamsocket_lite", "vendored.jamsocket_lite"])
def test_loaded_by_its_path_without_an_entry_in_sys_modules(place: Place, name: str) -> None:
    place.copy()
    place.check(place.python("-c", "import importlib.util, sys, user\n"
                             "spec = importlib.util.spec_from_file_location(%r, %r)\n"
                             "jamsocket_lite = importlib.util.module_from_spec(spec)\n"
                             "spec.loader.exec_module(jamsocket_lite)\n"
                             "assert spec.name not in sys.modules\n"
                             % (name, str(place.folder / "jamsocket_lite.py")) + place.call))


@pytest.mark.parametrize("names", ["{}", "{'__name__': 'pasted'}"])
def test_pasted_as_text(place: Place, names: str) -> None:
    place.copy()
    (place.folder / "jamsocket_lite.py").rename(place.folder / "text")
    place.check(
        place.python(
            "-c",
            "import types, user\nnames = %s\n"
            "with open('text', 'rb') as file:\n    exec(file.read(), names)\n"
            "names['__name__'] = 'pasted'\njamsocket_lite = types.SimpleNamespace(**names)\n"
            % names
            + place.call,
        ),
        origin=None,
    )


def zipped(place: Place, name: str, **texts: str) -> None:
    with zipfile.ZipFile(str(place.folder / name), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(str(FILE), "jamsocket_lite.py")
        archive.write(str(PROGRAMS / "user.py"), "user.py")
        for stem, text in texts.items():
            archive.writestr(stem + ".py", text)


def test_inside_a_zip_on_the_path(place: Place) -> None:
    zipped(place, "layer.zip")
    done = place.python("-c", "import jamsocket_lite, user\n" + place.call,
                        env={"PYTHONPATH": "layer.zip"})
    report = done.json()
    assert Path(report["origin"]).parts[-2:] == ("layer.zip", "jamsocket_lite.py")
    place.check_report(report, place.key, report["origin"])
    assert [path.name for path in place.folder.iterdir()] == ["layer.zip"]


def test_as_a_zipapp(place: Place) -> None:
    source = place.folder / "source"
    source.mkdir()
    Place(source, place.platform, place.key).copy()
    (source / "__main__.py").write_text("import jamsocket_lite, user\n" + place.call)
    zipapp.create_archive(str(source), str(place.folder / "program.pyz"))
    shutil.rmtree(str(source))
    origin = os.path.join("program.pyz", "jamsocket_lite.py")
    place.check(place.python(str(place.folder / "program.pyz")), origin)


def test_the_command_line_runs_from_a_zip(place: Place) -> None:
    zipped(place, "layer.zip")
    done = place.python("-m", "jamsocket_lite", "connect", "--key", place.key, "--wait", "--quiet",
                        env={"PYTHONPATH": "layer.zip", "JAMSOCKET_ACCOUNT": "acme",
                             "JAMSOCKET_SERVICE": "whiteboard", "JAMSOCKET_TOKEN": TOKEN,
                             "JAMSOCKET_API_URL": place.platform.url})
    assert place.platform.backend(done.json()["backend_id"]).key == place.key


@pytest.mark.parametrize("optimize", [0, 2], ids=["as-it-is", "without-docstrings"])
def test_as_bytecode_alone(place: Place, optimize: int) -> None:
    place.copy()
    source = place.folder / "jamsocket_lite.py"
    py_compile.compile(str(source), str(source.with_suffix(".pyc")), doraise=True,
                       optimize=optimize)
    source.unlink()
    shutil.rmtree(str(place.folder / "__pycache__"))
    place.check(place.python("-c", place.program), origin="jamsocket_lite.pyc")


# -------------------------------------------------------------------------------------------------
# A disk that cannot be written, and an environment without anything
# -------------------------------------------------------------------------------------------------

def read_only_mount(folder: Path) -> List[str]:
    """The beginning of a command that finds the folder on a read-only file system."""
    unshare, script = (
        shutil.which("unshare"),
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"',
    )
    for options in (["-m"], ["-r", "-m"]):
        prefix = [unshare or "", *options, "sh", "-c", script, str(folder)]
        if unshare and run([*prefix, "true"], folder).code == 0:
            return prefix
    pytest.skip("needs unshare (util-linux), and the right to mount")


def listing(folder: Path) -> List[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def test_on_a_read_only_file_system_with_no_home_and_an_empty_environment(place: Place) -> None:
    place.copy()
    program = (
        "import errno, os\nassert set(os.environ) <= {'LC_CTYPE'}, os.environ\n"
        "try:\n    open(%r, 'w')\nexcept OSError as error:\n    assert error.errno == errno.EROFS\n"
        "else:\n    raise SystemExit('the folder can be written')\n" % str(place.folder / "new")
    ) + place.program
    before = listing(place.folder)
    place.check(run([*read_only_mount(place.folder), found("env"), "-i", sys.executable, "-W",
                     "error", "-c", program],
                    place.folder))
    assert listing(place.folder) == before


# -------------------------------------------------------------------------------------------------
# Programs of other languages
# -------------------------------------------------------------------------------------------------

def compiled(folder: Path, *options: str) -> Path:
    """The embedding program, for the Python that runs the tests."""
    variables = {name: str(sysconfig.get_config_var(name) or "") for name in (
        "LIBDIR", "LIBPL", "LDVERSION", "LIBS", "SYSLIBS", "LINKFORSHARED", "PYTHONFRAMEWORK")}
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists() or variables["PYTHONFRAMEWORK"]:
        pytest.skip("needs the headers of this Python and its library")
    program = folder / "program"
    done = subprocess.run(
        [found("cc"), "-O0", "-w", "-I", str(include), *options, str(PROGRAMS / "embed.c"), "-o",
         str(program), "-L" + variables["LIBDIR"], "-L" + variables["LIBPL"],
         "-Wl,-rpath," + variables["LIBDIR"], *variables["LINKFORSHARED"].split(),
         "-lpython" + variables["LDVERSION"], *variables["LIBS"].split(),
         *variables["SYSLIBS"].split()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LONG)
    if done.returncode != 0 and b"-lpython" in done.stdout:
        pytest.skip("needs this Python as a library")
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
    return program


def embedded(program: Path, place: Place, *arguments: str) -> Done:
    return run([str(program), *arguments], place.folder, {"PYTHONHOME": sys.base_prefix,
                                                          "PYTHONWARNINGS": "error"})


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("embedding"))


@pytest.mark.parametrize("options", [(), ("--sub-interpreter",)],
                         ids=["main-interpreter", "sub-interpreter"])
def test_in_a_program_that_embeds_python(place: Place, embedding: Path,
                                         options: Sequence[str]) -> None:
    place.copy()
    place.check(embedded(embedding, place, *options, place.program))


def test_frozen_into_an_executable(place: Place) -> None:
    lines, table = [], []
    for name, path in (("jamsocket_lite", FILE), ("user", PROGRAMS / "user.py")):
        code = marshal.dumps(compile(path.read_bytes(), name + ".py", "exec", dont_inherit=True,
                                     optimize=2))
        lines.append("static const unsigned char code_%s[] = {%s};"
                     % (name, ",".join(map(str, code))))
        table.append('{.name = "%s", .code = code_%s, .size = %d},' % (name, name, len(code)))
    header = place.folder / "frozen.h"
    header.write_text("%s\nstatic const struct _frozen frozen[] = {%s {0}};\n" % ("\n".join(lines),
                                                                                  " ".join(table)))
    program = compiled(place.folder, '-DFROZEN_HEADER="%s"' % header)
    report = embedded(program, place,
                      "import os, sys\nsys.frozen = True\nimport jamsocket_lite, user\n"
                      "assert not os.path.exists(getattr(jamsocket_lite, '__file__', ''))\n"
                      + place.call).json()
    assert report["origin"].startswith("frozen")
    place.check_report(report, place.key, report["origin"])


# -------------------------------------------------------------------------------------------------
# Beside the main thread of the main interpreter of one process
# -------------------------------------------------------------------------------------------------

def test_in_a_thread(place: Place) -> None:
    place.copy()
    place.check(
        place.python(
            "-c",
            "import threading\ndef work():\n    import jamsocket_lite, user\n    "
            + place.call
            + "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\n",
        )
    )


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_in_a_sub_interpreter(place: Place, kind: str) -> None:
    """An isolated one has, since 3.12, a lock of its own, and refuses daemon threads, fork and
    exec."""
    name = next((name for name in ("_interpreters", "_xxsubinterpreters")
                 if importlib.util.find_spec(name)), None)
    if name is None:
        pytest.skip("this Python has no module for sub-interpreters")
    place.copy()
    argument = repr(kind) if name == "_interpreters" else "isolated=%s" % (kind == "isolated")
    if sys.version_info < (3, 9):
        argument = ""
    inside = ("import %s as interpreters\n"
              "id = interpreters.create(%s)\nfailure = interpreters.run_string(id, %%r)\n"
              "assert failure is None, failure\ninterpreters.destroy(id)\n" % (name, argument))
    if place.python("-c", inside % "import urllib.request").code < 0:
        pytest.skip("this Python crashes when it destroys one that has imported urllib.request")
    place.check(place.python("-c", inside % place.program))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_the_processes_of_a_pool(place: Place, method: str) -> None:
    """Answers and errors come back from them whole."""
    place.copy("pool.py")
    report = place.python("pool.py", method, place.platform.url, TOKEN, place.key).json()
    for name in ("pool", "process"):
        place.check_report(report.pop(name), "%s/%s" % (place.key, name),
                           str(place.folder / "jamsocket_lite.py"))
    assert report == {"exit": 0, "terminated": ["BackendTerminated", True],
                      "refused": ["AuthenticationError", 401],
                      "invalid": ["ValidationError", "key"]}


def test_under_the_monkey_patching_of_gevent(place: Place) -> None:
    """A wait lets the other greenlets run."""
    if importlib.util.find_spec("gevent") is None:
        pytest.skip("needs gevent")
    place.copy()
    program = (
        "import gevent.monkey\ngevent.monkey.patch_all()\n"
        "import gevent, jamsocket_lite, user\nturns = []\n"
        "def tick():\n    while True:\n        turns.append(1)\n        gevent.sleep(0.002)\n"
        "ticking = gevent.spawn(tick)\n"
        + place.call
        + "ticking.kill()\nassert len(turns) > 10, turns\n"
    )
    # gevent itself warns on some versions.
    place.check(run([sys.executable, "-W", "error::ResourceWarning", "-c", program], place.folder))


def test_where_select_has_nothing_but_select(place: Place) -> None:
    """Some monkey-patching, and some systems, leave no poll, epoll or kqueue."""
    place.copy()
    place.check(place.python("-c",
                             "import select\nfor name in ('poll', 'epoll', 'kqueue', 'devpoll'):\n"
                             "    if hasattr(select, name):\n        delattr(select, name)\n"
                             + place.program))
