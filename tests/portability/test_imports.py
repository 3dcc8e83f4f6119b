"""What the file imports is bounded: the standard library alone; at import only what the types need,
the rest where it is used."""

import ast
import sys
from typing import Dict, List, Sequence, Set

import pytest

from kit.certificates import Certificates
from kit.places import FILE, TOKEN, Place, run
from kit.server import Server, answer

# What is imported, by when, and why. Whatever these import themselves comes along.
AT_IMPORT = {
    "collections.abc": "to know a mapping",
    "contextlib": "closing",
    "dataclasses": "the types",
    "errno": "the system's own timeout",
    "functools": "classes that are derived when a call is made",
    "io": "what a socket's bytes are read through",
    "math": "inf, nan",
    "os": "the environment",
    "re": "urls, event streams, what is hidden of a text",
    "sys": "the version, the platform, the standard streams",
    "time": "deadlines",
    "types": "classes that only name their fields",
    "typing": "the types",
}
FOR_A_CLIENT = {
    "urllib.parse": "its url",
}
FOR_HTTP = {
    "ipaddress": "whether a host is this machine",
    "codecs": "whether names can be encoded",
    "http.client": "the connection",
    "json": "the bodies",
    "socket": "the connection",
    "urllib.request": "all of HTTP",
}
FOR_HTTPS = {
    "ssl": "the connection",
}
ELSEWHERE = {
    "argparse": "the command line",
    "base64": "a proxy's credentials",
    "email.utils": "a date in Retry-After",
}
# Codecs that the standard library asks for.
BESIDES = {
    "encodings.idna": "socket, to look a name up",
    "encodings.latin_1": "the headers",
    "encodings.utf_8_sig": "the bodies",
}

# Each costs whoever wants the types alone dearly, or does what the file says it does not: threads,
# logging, processes.
HEAVY = {"argparse", "asyncio", "base64", "concurrent", "ctypes", "datetime", "decimal", "email",
         "hashlib", "http", "ipaddress", "json", "locale", "logging", "multiprocessing", "pickle",
         "queue", "random", "select", "selectors", "shutil", "signal", "socket", "ssl",
         "subprocess", "tempfile", "threading", "urllib", "uuid", "zipfile"}
NEVER = {"asyncio", "concurrent", "ctypes", "logging", "multiprocessing", "queue", "subprocess"}


def imported(nodes: Sequence[ast.stmt], deep: bool) -> Set[str]:
    """What these statements import, in functions too where `deep`; never what is there for type
    checkers alone."""
    found: Set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module != "__future__"
            found.add(str(node.module))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not deep:
            continue
        elif isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            found |= imported(node.orelse, deep)
        else:
            inner: List[ast.stmt] = []
            for name in ("body", "orelse", "finalbody", "handlers"):
                inner += getattr(node, name, [])
            found |= imported(inner, deep)
    return found


def phases(place: Place, program: str, *arguments: str) -> Dict[str, Set[str]]:
    """`note(name)` in the program notes what has been imported by then."""
    start = ("import sys\nfirst, phases = set(sys.modules), {}\nsys.path.insert(0, %r)\n"
             "def note(name):\n    phases[name] = sorted(set(sys.modules) - first)\n"
             % str(place.folder))
    report = run([sys.executable, "-I", "-S", "-W", "error", "-c",
                  start + program + "\nimport json\nprint(json.dumps(phases))\n", *arguments],
                 place.folder).json()
    return {name: set(modules) for name, modules in report.items()}


def top(modules: Set[str]) -> Set[str]:
    return {name.partition(".")[0] for name in modules}


def bound(place: Place, *tables: Dict[str, str]) -> Set[str]:
    """What this Python has in its memory when it has imported only what is in the tables."""
    names = [name for table in tables for name in table]
    modules = phases(place, "import %s\nnote('all')" % ", ".join(names))["all"]
    return modules | {"jamsocket_lite"}


def test_the_file_imports_what_is_in_the_tables_and_nothing_else() -> None:
    found = imported(ast.parse(FILE.read_bytes()).body, deep=True)
    assert found == {*AT_IMPORT, *FOR_A_CLIENT, *FOR_HTTP, *FOR_HTTPS, *ELSEWHERE}
    if sys.version_info >= (3, 10):
        assert top(found) <= sys.stdlib_module_names


def test_what_only_a_call_needs_is_imported_where_it_is_used() -> None:
    assert imported(ast.parse(FILE.read_bytes()).body, deep=False) == set(AT_IMPORT)


def test_the_import_and_the_types_import_next_to_nothing(copied: Place) -> None:
    seen = phases(
        copied,
        """
import jamsocket_lite as lite
note('import')
request = lite.ConnectRequest.from_dict({'key': 'a', 'auth': {'b': [1.5]}, 'spawn': {'tag': 'c'}})
state = lite.BackendState.from_dict({'status': 'ready', 'time': 1764000000000})
text = repr([request.to_dict(), state])
try:
    lite.ConnectRequest(key='')
except lite.ValidationError:
    pass
note('types')
client = lite.Jamsocket('a', 'b', 'c')
note('client')
""",
    )
    allowed = bound(copied, AT_IMPORT)
    assert not top(allowed) & HEAVY
    assert seen["import"] <= allowed
    assert seen["types"] == seen["import"]
    assert seen["client"] <= bound(copied, AT_IMPORT, FOR_A_CLIENT)


def test_connect_wait_and_terminate_import_no_more_than_they_need(copied: Place) -> None:
    seen = phases(copied, """
import jamsocket_lite as lite
client = lite.Jamsocket('acme', 'whiteboard', %r, api_url=%r)
connected = client.connect({'key': 'a'})
client.wait_until_ready(connected, timeout=30)
client.terminate(connected, hard=True)
note('http')
""" % (TOKEN, copied.platform.url))
    allowed = bound(copied, AT_IMPORT, FOR_A_CLIENT, FOR_HTTP, BESIDES)
    assert not top(allowed) & NEVER
    assert "urllib.request" in seen["http"] and seen["http"] - allowed == set()


def test_https_imports_ssl_besides(copied: Place, certificates: Certificates) -> None:
    with Server([answer({"status": "ready", "time": "2026-11-23T22:46:13.368Z"})],
                tls=certificates.server_context()) as server:
        seen = phases(copied, """
import jamsocket_lite as lite, os
os.environ['SSL_CERT_FILE'] = sys.argv[1]
client = lite.Jamsocket('acme', 'whiteboard', 'token', api_url=sys.argv[2])
assert client.status('abc', timeout=30).is_ready
note('https')
""", certificates.ca_file, "https://localhost:%d" % server.port)
    assert "ssl" in seen["https"]
    allowed = bound(copied, AT_IMPORT, FOR_A_CLIENT, FOR_HTTP, BESIDES, FOR_HTTPS)
    assert seen["https"] - allowed == set()


def test_only_the_command_line_imports_argparse(copied: Place) -> None:
    seen = phases(copied, """
import jamsocket_lite
note('import')
sys.stderr = None
assert jamsocket_lite.main(['wait']) == 2
note('main')
""")
    assert "argparse" not in seen["import"] and "argparse" in seen["main"]


@pytest.mark.skipif(sys.version_info < (3, 8), reason="audit hooks came with Python 3.8")
def test_the_import_opens_nothing_and_starts_nothing(copied: Place) -> None:
    done = run(
        [
            sys.executable,
            "-I",
            "-S",
            "-B",
            "-W",
            "error",
            "-c",
            """
import json, sys
sys.path.insert(0, %r)
events, prefixes = [], tuple(map(str.lower, [*sys.path, sys.prefix, sys.base_prefix]))
def hook(event, arguments):
    mine = event.startswith(("socket", "subprocess", "os.", "_thread.start", "ctypes", "urllib",
                             "tempfile", "shutil"))
    mine = mine and event not in ("os.listdir", "os.scandir")   # the import system's
    if mine or event == "open" and not str(arguments[0]).lower().startswith(prefixes):
        events.append(event)
sys.addaudithook(hook)
import jamsocket_lite
found = list(events)
open(sys.argv[1]).close()
print(json.dumps([found, events]))
""" % str(copied.folder),
            "/dev/null",
        ],
        copied.folder,
    )
    assert done.json() == [[], ["open"]]
