"""A field is declared once, in its class, and nothing about it can be forgotten elsewhere.

Each test adds a field to a copy of the file, as a later version of the platform may.
"""

import ast
import copy
import functools
import sys
import types
from pathlib import Path
from typing import Any, Iterator, List

import pytest

import jamsocket_lite
from jamsocket_lite import (
    BackendState,
    ConnectRequest,
    ConnectResponse,
    Executable,
    ResourceLimits,
    SpawnConfig,
)

TREE = ast.parse(Path(jamsocket_lite.__file__).read_bytes())
NAME = "jamsocket_lite_with_a_new_field"
STATE = BackendState("ready", "2026-11-23T22:46:13.368Z")
ANSWER = ConnectResponse("b1", True, "ready", "t", "https://h.test/", "https://h.test/status")

# Each class, an optional field of it, a value of that field, one that it refuses, and the rest.
ROWS: List[Any] = [
    (ResourceLimits, "cpu_period", 5, "5", {}),
    (Executable, "env", {"A": "1"}, {"A": 1}, {}),
    (Executable, "resource_limits", {"cpu_period": 5}, 5, {}),
    (SpawnConfig, "tag", "t", 5, {}),
    (SpawnConfig, "max_idle_seconds", 5, -1, {}),
    (ConnectRequest, "user", "u", 5, {}),
    (ConnectRequest, "auth", {"a": [1]}, {"a": b""}, {}),
    (ConnectResponse, "secret_token", "s", 5, ANSWER.to_dict()),
    (BackendState, "exit_error", True, "no", STATE.to_dict()),
]
each_field = pytest.mark.parametrize(
    "row", ROWS, ids=["%s.%s" % (row[0].__name__, row[1]) for row in ROWS]
)
each_class = pytest.mark.parametrize("kind", list(dict.fromkeys(row[0] for row in ROWS)))


def body_of(tree: ast.Module, name: str) -> List[ast.stmt]:
    return next(
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name
    )


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    yield
    sys.modules.pop(NAME, None)


def imported(tree: ast.Module) -> Any:
    module = types.ModuleType(NAME)
    sys.modules[NAME] = module  # where dataclasses look
    exec(compile(ast.fix_missing_locations(tree), NAME, "exec"), vars(module))
    return module


@functools.lru_cache(None)
def with_field_like(kind: type, name: str) -> Any:
    """The class of a file in which `new_field` is declared as that field is."""
    tree = copy.deepcopy(TREE)
    body = body_of(tree, kind.__name__)
    (at,) = [
        index
        for index, node in enumerate(body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == name
    ]
    new = copy.deepcopy(body[at])
    assert isinstance(new, ast.AnnAssign) and isinstance(new.target, ast.Name)
    new.target.id = "new_field"
    body.insert(at + 1, new)
    return getattr(imported(tree), kind.__name__)


@each_class
def test_a_field_without_its_rule_is_refused_at_import(kind: type) -> None:
    """Not first when a document has it, or, worse, never."""
    tree = copy.deepcopy(TREE)
    (plain,) = ast.parse("new_field: Optional[str] = None").body
    body = body_of(tree, kind.__name__)
    last = max(index for index, node in enumerate(body) if isinstance(node, ast.AnnAssign))
    body.insert(last + 1, plain)
    with pytest.raises(Exception, match="new_field|" + kind.__name__):
        imported(tree)


@each_field
def test_a_new_field_is_read_and_written(row: Any) -> None:
    kind, name, good, _, rest = row
    changed = with_field_like(kind, name)
    assert changed.from_dict({**rest, "new_field": good}).to_dict() == {**rest, "new_field": good}


@each_field
def test_a_new_field_is_checked_when_it_is_read(row: Any) -> None:
    kind, name, _, bad, rest = row
    with pytest.raises(ValueError) as caught:
        with_field_like(kind, name).from_dict({**rest, "new_field": bad})
    assert str(getattr(caught.value, "path")).startswith("new_field")


@each_field
def test_a_new_field_is_checked_in_the_constructor(row: Any) -> None:
    kind, name, _, bad, rest = row
    changed = with_field_like(kind, name)
    with pytest.raises(ValueError) as caught:
        changed(**{**rest, "new_field": bad})
    assert str(getattr(caught.value, "path")).startswith("new_field")


def test_a_new_field_like_a_secret_one_is_a_secret() -> None:
    changed = with_field_like(ConnectResponse, "secret_token")
    assert "hunter2" not in repr(changed.from_dict({**ANSWER.to_dict(), "new_field": "hunter2"}))
