"""Where Python lacks something, the file still imports, and says what is missing when it is
needed."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from kit.certificates import Certificates
from kit.places import PROGRAMS, TOKEN, Place, run
from kit.server import Server, Silence, answer, closed_port


# How a module can be missing: never built, or built for another library.
ABSENT = "raise ModuleNotFoundError(\"No module named '%s'\", name='%s')\n"
MISMATCHED = (
    "raise ImportError('/usr/lib/python3/lib-dynload/%s.so: undefined symbol: %s_get1_thing')\n"
)

# Makes each call with a timeout of a few seconds, and prints the name and the text of what it
# raises.
CALLS = """
import json, jamsocket_lite, user
def outcome(call):
    try:
        return "returned", repr(call())
    except jamsocket_lite.JamsocketError as error:
        return type(error).__name__, str(error)
def calls(url):
    client = jamsocket_lite.Jamsocket("acme", "whiteboard", "%s", api_url=url)
    return {"connect": lambda: client.connect({"key": "a"}, timeout=20),
            "status": lambda: client.status("abc", timeout=20),
            "terminate": lambda: client.terminate("abc", timeout=20)}
def show(url):
    kinds = {name: outcome(call) for name, call in calls(url).items()}
    print(json.dumps({"calls": kinds, "refusals": user.refusals(jamsocket_lite),
                      "hints": user.hints(jamsocket_lite)}))
""" % TOKEN


def missing(place: Place, module: str, how: str) -> str:
    """Shadows a module; the beginning of a program that makes sure of it."""
    (place.folder / (module + ".py")).write_text(how % (module, module))
    return (
        "import sys\nsys.path.insert(0, %r)\ntry:\n    import %s\nexcept ImportError:\n    pass\n"
        "else:\n    raise SystemExit('it is there')\n" % (str(place.folder), module)
    )


def kinds_of(report: Dict[str, Any]) -> Dict[str, str]:
    return {name: kind for name, (kind, _) in report["calls"].items()}


def all_calls(kind: str) -> Dict[str, str]:
    return dict.fromkeys(("connect", "status", "terminate"), kind)


# -------------------------------------------------------------------------------------------------
# Modules
# -------------------------------------------------------------------------------------------------

WAYS = pytest.mark.parametrize("how", [ABSENT, MISMATCHED], ids=["absent", "mismatched"])


@WAYS
@pytest.mark.parametrize("module", ["_ssl", "_ctypes"])
def test_plain_http_works_without(copied: Place, module: str, how: str) -> None:
    copied.check(copied.python("-c", missing(copied, module, how) + copied.program))


@WAYS
@pytest.mark.parametrize("module", ["_ssl", "ssl"])
def test_without_ssl_https_is_a_configuration_error_that_says_so(copied: Place, module: str,
                                                                 how: str) -> None:
    program = missing(copied, module,
                      how) + CALLS + "show('https://127.0.0.1:%d')\n" % closed_port()
    report = copied.python("-c", program).json()
    assert kinds_of(report) == all_calls("ConfigurationError")
    assert all("ssl" in text and "https" in text for _, text in report["calls"].values())
    copied.check_types(report)


def test_without_ssl_a_wait_for_https_fails_at_once(copied: Place) -> None:
    wait = ("done = outcome(lambda: jamsocket_lite.wait_until_ready('https://127.0.0.1:1/'))\n"
            "print(json.dumps(done))\n")
    assert copied.python("-c", missing(copied, "_ssl", ABSENT) + CALLS
                        + wait).json()[0] == "ConfigurationError"


# -------------------------------------------------------------------------------------------------
# Disk and certificates
# -------------------------------------------------------------------------------------------------

def test_works_where_no_byte_can_be_written_to_a_disk(copied: Place) -> None:
    program = (
        "try:\n    with open('full', 'wb', 0) as file:\n        file.write(b'x')\n"
        "except OSError:\n    pass\n"
        "else:\n    raise SystemExit('there is room')\n" + copied.program
    )
    command = [sys.executable, "-W", "error", "-c", program]
    copied.check(run([shutil.which("sh") or "sh", "-c", 'ulimit -f 0 && exec "$0" "$@"', *command],
                    copied.folder))
    (copied.folder / "full").unlink()
    stems = {path.name.partition(".")[0] for path in copied.folder.rglob("*")}
    assert stems == {"jamsocket_lite", "user", "__pycache__"}


@pytest.mark.parametrize("store", ["none", "ours"])
def test_certificates_come_from_ssl_cert_file_or_the_error_names_it(copied: Place,
                                                                    certificates: Certificates,
                                                                    store: str) -> None:
    known = certificates.ca_file if store == "ours" else str(copied.folder / "nothing")
    env = {"SSL_CERT_FILE": known, "SSL_CERT_DIR": str(copied.folder / "nowhere")}
    with Server([answer({"status": "ready", "time": "2026-11-23T22:46:13.368Z"})],
                tls=certificates.server_context()) as server:
        report = copied.python("-c", CALLS + "show('https://localhost:%d')\n" % server.port,
                              env=env).json()
    kind, text = report["calls"]["status"]
    if store == "ours":
        assert kind == "returned"
    else:
        assert kinds_of(report) == all_calls("NetworkError")
        assert "SSL_CERT_FILE" in text and "ssl_context" in text


# -------------------------------------------------------------------------------------------------
# No sockets, as in WebAssembly; no threads
# -------------------------------------------------------------------------------------------------

# What builds for WebAssembly do: a function of the standard library, and what it raises there.
NO_SOCKETS = {
    "socket-is-an-oserror": ("socket.socket.__init__", "OSError(138, 'Not supported')"),
    "connect-is-an-oserror": ("socket.socket.connect", "OSError(23, 'Host is unreachable')"),
    "connect-times-out-at-once": ("socket.socket.connect", "socket.timeout('timed out')"),
    "lookup-is-an-oserror": ("socket.getaddrinfo",
                             "socket.gaierror(-4, 'Non-recoverable failure')"),
}


def test_without_the_socket_module_the_types_work_and_a_call_is_a_network_error(
    copied: Place,
) -> None:
    program = missing(copied, "_socket",
                      ABSENT) + CALLS + "show('http://127.0.0.1:%d')\n" % closed_port()
    report = copied.python("-c", program).json()
    assert kinds_of(report) == all_calls("NetworkError")
    copied.check_types(report)


@pytest.mark.parametrize("how", NO_SOCKETS)
def test_without_sockets_a_call_is_a_network_error(copied: Place, how: str) -> None:
    """No JamsocketTimeout: there is time left."""
    with Server([Silence()]) as server:
        program = "import socket\ndef fail(*_): raise {1}\n{0} = fail\n".format(*NO_SOCKETS[how])
        report = copied.python("-c", program + CALLS + "show('%s')\n" % server.url).json()
    assert kinds_of(report) == all_calls("NetworkError"), report["calls"]
    copied.check_types(report)


def test_where_tls_is_not_supported_a_call_is_a_network_error(copied: Place) -> None:
    """`import ssl` works there, and what it makes raises no OSError."""
    with Server([Silence()]) as server:
        program = (
            "import ssl\n"
            "def wrap(*_, **__): raise RuntimeError('TLS not supported in this environment')\n"
            "ssl.SSLContext.wrap_socket = ssl.SSLContext.wrap_bio = wrap\n"
            + CALLS
            + "show('https://127.0.0.1:%d')\n" % server.port
        )
        report = copied.python("-c", program).json()
    assert kinds_of(report) == all_calls("NetworkError")


def test_works_where_no_thread_can_be_started(copied: Place) -> None:
    copied.check(copied.python("-c", "import _thread, threading\n"
                             "def start(*_, **__): raise RuntimeError(\"can't start new thread\")\n"
                             "_thread.start_new_thread = threading._start_new_thread = start\n"
                             "threading.Thread.start = _thread.start_joinable_thread = start\n"
                             + copied.program))


def test_in_pyodide(copied: Place) -> None:
    """The whole file in a real WebAssembly build. JAMSOCKET_LITE_PYODIDE: the folder of the npm
    package pyodide."""
    folder, node = os.environ.get("JAMSOCKET_LITE_PYODIDE"), shutil.which("node")
    if not folder or node is None:
        pytest.skip("needs node, and Pyodide's folder in JAMSOCKET_LITE_PYODIDE")
    urls = ("http://localhost:9", "http://api.example.test", "https://api.example.test")
    program = (
        "import sys\nsys.path.insert(0, '/home/pyodide')\n%sfor url in %r:\n    show(url)\n"
        % (CALLS, urls)
    )
    done = run([node, str(PROGRAMS / "pyodide.mjs"), str(Path(folder) / "pyodide.mjs"),
                str(copied.folder), program],
               copied.folder)
    reports = [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]
    assert [kinds_of(report) for report
            in reports] == [all_calls("NetworkError")] * len(urls), reports or done.err
    for report in reports:
        copied.check_types(report)


# -------------------------------------------------------------------------------------------------
# An old one
# -------------------------------------------------------------------------------------------------

def test_python_3_6_is_told_which_python_is_needed(copied: Place) -> None:
    pythons = [shutil.which("python3.6"),
               *map(str, Path.home().glob(".pyenv/versions/3.6.*/bin/python"))]
    for python in filter(None, pythons):
        if run([python, "-c", ""], copied.folder).code != 0:
            continue  # a shim of pyenv's
        done = run([python, "-c", "import jamsocket_lite"], copied.folder)
        assert done.code == 1
        assert "ImportError: jamsocket_lite needs Python 3.7 or newer" in done.err
        return
    pytest.skip("needs Python 3.6")
