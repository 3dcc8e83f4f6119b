"""What another copy of the module made is taken as its own: after a reload, or vendored twice."""

import importlib
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, Tuple

import pytest

import jamsocket_lite
from jamsocket_lite import Plane
from kit.deadlines import LONG
from kit.platforms import ID, IMAGE, Api
from kit.server import Server, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

REQUEST = {
    "key": "k",
    "spawn": {"tag": "t", "executable": {"env": {"A": "1"}, "resource_limits": {"cpu_period": 5}}},
    "user": "u",
    "auth": {"a": [1]},
}


def vendored(folder: Path) -> Any:
    shutil.copy(jamsocket_lite.__file__, str(folder / "vendored_jamsocket.py"))
    return importlib.import_module("vendored_jamsocket")


def second_copy(folder: Path) -> Tuple[Any, Any]:
    return jamsocket_lite, vendored(folder)


def reloaded(folder: Path) -> Tuple[Any, Any]:
    """The module as it is after a reload, and the classes that it had before."""
    module = vendored(folder)
    before = SimpleNamespace(**{name: getattr(module, name) for name in module.__all__})
    importlib.reload(module)
    assert module.ConnectRequest is not before.ConnectRequest
    return module, before


HOW: Dict[str, Callable[[Path], Tuple[Any, Any]]] = {
    "a second copy": second_copy,
    "a reload": reloaded,
}


@pytest.fixture(scope="module", params=list(HOW))
def copies(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tuple[Any, Any]]:
    """Two copies of the module: the one that is called, and the other."""
    folder = tmp_path_factory.mktemp("copies")
    sys.path.insert(0, str(folder))
    try:
        yield HOW[request.param](folder)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("vendored_jamsocket", None)


@pytest.fixture
def ours(copies: Tuple[Any, Any]) -> Any:
    return copies[0]


@pytest.fixture
def other(copies: Tuple[Any, Any]) -> Any:
    return copies[1]


def client_of(ours: Any, api: Api, url: str) -> Any:
    if api.plane:
        return ours.Plane(url, image=IMAGE, timeout=LONG)
    return ours.Jamsocket("acme", "board", "token", api_url=url, timeout=LONG)


CALLS: Dict[str, Callable[[Any, Any], Any]] = {
    "status": lambda client, answered: client.status(answered),
    "wait_until_ready": lambda client, answered: client.wait_until_ready(answered),
    "status_stream": lambda client, answered: next(client.status_stream(answered)),
}


@pytest.mark.parametrize("name", list(CALLS))
def test_an_answer_of_another_copy_names_its_backend(
    name: str, api: Api, ours: Any, other: Any
) -> None:
    with Server(api.service()) as server:
        answered = other.ConnectResponse.from_dict(api.document(server.url))
        state = CALLS[name](client_of(ours, api, server.url), answered)
        assert type(state) is ours.BackendState and state.is_ready


def test_a_backend_is_ended_by_an_answer_of_another_copy(api: Api, ours: Any, other: Any) -> None:
    with Server(api.service()) as server:
        answered = other.ConnectResponse.from_dict(api.document(server.url))
        client_of(ours, api, server.url).terminate(answered)
        assert [one.target for one in server.requests] == [api.terminate_target()]


def test_the_modules_wait_takes_an_answer_of_another_copy(api: Api, ours: Any, other: Any) -> None:
    with Server(api.service()) as server:
        answered = other.ConnectResponse.from_dict(api.document(server.url))
        assert ours.wait_until_ready(answered, timeout=LONG).is_ready


def test_an_answer_with_a_word_from_the_future_is_taken_too(
    api: Api, ours: Any, other: Any
) -> None:
    with Server(api.service()) as server:
        document = api.document(server.url, status="pondering")
        answered = other.ConnectResponse.from_dict(document, strict=False)
        assert client_of(ours, api, server.url).wait_until_ready(answered).is_ready


def test_a_request_of_another_copy_is_sent(api: Api, ours: Any, other: Any) -> None:
    with Server(api.service()) as server:
        client = client_of(ours, api, server.url)
        client.connect(other.ConnectRequest.from_dict(REQUEST))
        client.connect(REQUEST)
        first, second = [one.json() for one in server.requests]
    assert first == second


def test_an_instance_of_another_copy_is_read_where_one_is_nested(ours: Any, other: Any) -> None:
    spawn = other.SpawnConfig.from_dict(REQUEST["spawn"])
    read = ours.ConnectRequest.from_dict({**REQUEST, "spawn": spawn})
    assert read == ours.ConnectRequest.from_dict(REQUEST)
    assert type(read.spawn) is ours.SpawnConfig
    assert type(read.spawn.executable) is ours.Executable


def test_a_constructor_takes_an_instance_of_another_copy(ours: Any, other: Any) -> None:
    limits = other.ResourceLimits(cpu_period=5)
    made = ours.Executable(resource_limits=limits)
    assert made == ours.Executable(resource_limits=ours.ResourceLimits(cpu_period=5))


def test_what_another_copy_did_not_check_is_checked(ours: Any, other: Any) -> None:
    """Its fields are no better for being in such an instance."""
    wrong = other.SpawnConfig(tag="t")
    object.__setattr__(wrong, "tag", 5)
    with pytest.raises(ours.ValidationError) as caught:
        ours.ConnectRequest.from_dict({"spawn": wrong})
    assert caught.value.path == "spawn.tag"


def test_the_secrets_of_another_copys_answer_are_secret(api: Api, ours: Any, other: Any) -> None:
    with Server([answer(b"no: Zx1c2v3b4n5", 418, [("Content-Type", "text/plain")])]) as server:
        answered = other.ConnectResponse.from_dict(api.document(server.url, token="Zx1c2v3b4n5"))
        with pytest.raises(ours.HTTPError) as caught:
            client_of(ours, api, server.url).status(answered)
    assert "1c2v3b" not in "%s %r" % (caught.value, vars(caught.value))


@pytest.mark.parametrize(
    "thing",
    [SimpleNamespace(backend_id=ID), object(), 5, None, b"b1", ["b1"], {"backend_id": ID}],
    ids=lambda thing: type(thing).__name__,
)
def test_what_has_not_the_shape_of_an_answer_is_no_backend(thing: Any) -> None:
    with pytest.raises(TypeError):
        Plane("http://127.0.0.1:9", image=IMAGE).status(thing)
