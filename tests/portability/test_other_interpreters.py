"""Ways of CPython that are not Python's: each is taken away here, as other interpreters lack it."""

import builtins
import copy
import http.client
import pickle
import ssl
import sys
import types
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

import jamsocket_lite
from jamsocket_lite import BackendState, NetworkError
from kit.certificates import Certificates
from kit.deadlines import LONG
from kit.platforms import ID, client, service, state
from kit.server import Server, answer, at_once
from kit.shell import ended, is_one_error_line, setting, started

FILE = Path(jamsocket_lite.__file__)
NAME = "jamsocket_lite_elsewhere"


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    yield
    sys.modules.pop(NAME, None)


def imported(**replaced: Any) -> Any:
    """A copy of the module that finds other things among the builtins."""
    module = types.ModuleType(NAME)
    sys.modules[NAME] = module  # where dataclasses and pickle look
    vars(module)["__builtins__"] = {**vars(builtins), **replaced}
    vars(module)["__file__"] = str(FILE)
    exec(compile(FILE.read_bytes(), str(FILE), "exec"), vars(module))
    return module


# -------------------------------------------------------------------------------------------------
# The system's errors
# -------------------------------------------------------------------------------------------------


def strict_class(base: Any) -> Any:
    """A builtin error as it is in RustPython, whose `__new__` takes no keywords, and in GraalPy,
    whose `__reduce__` knows nothing but `args`."""

    def __new__(cls: Any, *arguments: Any) -> Any:
        return base.__new__(cls, *arguments)

    def __reduce__(self: Any) -> Any:
        return type(self), self.args

    namespace = {"__new__": __new__, "__reduce__": __reduce__, "__module__": "builtins"}
    return type(base.__name__, (base,), namespace)


STRICT = {kind.__name__: strict_class(kind) for kind in (OSError, TimeoutError, ValueError)}


@pytest.fixture(scope="module")
def elsewhere() -> Any:
    """The module where the builtin errors are strict."""
    return imported(**STRICT)


STATE = {"status": "loading", "time": "2026-11-23T22:46:13.368Z"}
MAKE: Dict[str, Callable[[Any], Any]] = {
    "JamsocketTimeout": lambda module: module.JamsocketTimeout(
        "late", last_state=module.BackendState.from_dict(STATE)
    ),
    "BackendTerminated": lambda module: module.BackendTerminated(
        "over", state=module.BackendState.from_dict(STATE)
    ),
    "ValidationError": lambda module: module.ValidationError("no", path="auth.a"),
    "NetworkError": lambda module: module.NetworkError("no network"),
    "ConfigurationError": lambda module: module.ConfigurationError("no token"),
    "HTTPError": lambda module: module.HTTPError("no", status=418, code="C", request_id="r"),
}
each_error = pytest.mark.parametrize("name", list(MAKE))
DUPLICATE: Dict[str, Callable[[Any], Any]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@each_error
def test_an_error_takes_keywords_where_its_builtin_base_takes_none(
    name: str, elsewhere: Any
) -> None:
    error = MAKE[name](elsewhere)
    assert str(error) == str(MAKE[name](jamsocket_lite))
    assert isinstance(error, elsewhere.JamsocketError)


@pytest.mark.parametrize("how", list(DUPLICATE))
@each_error
def test_an_error_keeps_what_it_carries_where_its_builtin_base_forgets_it(
    name: str, how: str, elsewhere: Any
) -> None:
    error = MAKE[name](elsewhere)
    error.note = "a user's"
    again = DUPLICATE[how](error)
    assert type(again) is type(error) and (again.args, vars(again)) == (error.args, vars(error))
    assert vars(again) and again is not error


# -------------------------------------------------------------------------------------------------
# An embedded interpreter, without arguments of its own
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [[], [""], ["-c"]], ids=repr)
def test_the_command_line_runs_without_a_name(
    argv: List[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert jamsocket_lite.main() == 2
    out, err = capsys.readouterr()
    assert out == "" and is_one_error_line(err)


def test_the_command_line_takes_arguments_where_the_process_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    with Server([answer(state("ready"))]) as server:
        assert jamsocket_lite.main(["status", server.url + "/v2/backend/b1/status"]) == 0
    assert '"ready"' in capsys.readouterr().out


# -------------------------------------------------------------------------------------------------
# TLS
# -------------------------------------------------------------------------------------------------


def ask(server: Server) -> BackendState:
    return client(server.url.replace("127.0.0.1", "localhost")).status(ID)


@pytest.mark.parametrize("name", ["graalpy", "rustpython"])
def test_ssl_cert_file_is_read_where_ssl_does_not_read_it(
    name: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        pass

    monkeypatch.setattr(sys.implementation, "name", name)
    monkeypatch.setattr(ssl.SSLContext, "set_default_verify_paths", nothing)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", nothing)
    monkeypatch.setenv("SSL_CERT_FILE", certificates.ca_file)
    with Server(service(), tls=certificates.server_context()) as server:
        assert ask(server).is_ready


def test_a_refused_certificate_ends_a_wait_whatever_its_code(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some say 1 for all that is wrong with one."""

    def refuse(*_: Any, **__: Any) -> Any:
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_code, error.verify_message = 1, "certificate verify failed"
        raise error

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", refuse)
    with Server(service(), tls=certificates.server_context()) as server:
        one = client(server.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(NetworkError, match="certificate"):
            one.wait_until_ready(ID, timeout=LONG)


WITHOUT_IDNA = """
import sys, socket
sys.modules["encodings.idna"] = None
try:
    "localhost".encode("idna")
    raise SystemExit("the codec is there")
except LookupError:
    pass
known = socket.getaddrinfo  # which needs the codec in CPython alone
socket.getaddrinfo = lambda host, *more, **named: known(host.encode(), *more, **named)
sys.path.insert(0, {root!r})
import jamsocket_lite
client = jamsocket_lite.Jamsocket("a", "s", "t", api_url={url!r})
print(client.status("b1").status)
"""


def test_a_host_is_checked_where_the_idna_codec_is_missing(certificates: Certificates) -> None:
    with Server(service(), tls=certificates.server_context()) as server:
        program = WITHOUT_IDNA.format(root=str(FILE.parent), url=server.url)
        env = setting(SSL_CERT_FILE=certificates.ca_file)
        done = ended(started([sys.executable, "-c", program], env))
    assert (done.errors, done.out.split()) == ("", [b"ready"])


# -------------------------------------------------------------------------------------------------
# Sockets
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), OSError("gone"), OSError()], ids=repr
)
@pytest.mark.parametrize("name", ["send", "getresponse"])
def test_a_lost_connection_may_be_any_error_of_the_system(
    name: str, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset is a plain one there, without a class of its own."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(http.client.HTTPConnection, name, fail)
    with Server([at_once]) as server:  # which closes
        with pytest.raises(NetworkError):
            client(server.url).status(ID)


# -------------------------------------------------------------------------------------------------
# A standard library with less in it, and compilers
# -------------------------------------------------------------------------------------------------


def test_the_file_imports_where_urllib_has_nothing_but_urlopen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Classes made of its handlers at import would break it there."""
    poor: Any = types.ModuleType("urllib.request")
    poor.urlopen = urllib.request.urlopen
    monkeypatch.setitem(sys.modules, "urllib.request", poor)
    monkeypatch.setattr(urllib, "request", poor)
    module = imported()
    assert module.ConnectRequest.from_dict({"key": "k"}).to_dict() == {"key": "k"}


def test_the_first_line_tells_cython_that_annotations_are_for_people() -> None:
    """With its defaults it enforces them, and refuses what the checks would take."""
    first = FILE.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# cython: annotation_typing=False"
