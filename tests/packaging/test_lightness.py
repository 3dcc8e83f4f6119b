"""The module stays light to read: whoever pastes it into a project reads it first."""

import ast
from pathlib import Path
from typing import Iterator, List, Tuple

import jamsocket_lite

SOURCE = Path(jamsocket_lite.__file__).read_text(encoding="utf-8")
LINES = SOURCE.splitlines()
TREE = ast.parse(SOURCE)


def choices(tree: ast.AST) -> List[ast.IfExp]:
    """The conditional expressions in it: `this if so else that`."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.IfExp)]


def last_line(tree: ast.AST) -> int:
    # Python 3.7 knows where a node begins, not where it ends.
    return max(int(getattr(node, "end_lineno", 0) or getattr(node, "lineno", 0))
               for node in ast.walk(tree))


def functions() -> Iterator[Tuple[str, int]]:
    """Each with its number of lines."""
    for node in ast.walk(TREE):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, last_line(node) - node.lineno + 1


def test_no_line_is_longer_than_100_columns() -> None:
    assert ["line %d" % number for number, line in enumerate(LINES, 1) if len(line) > 100] == []


def test_there_are_few_conditional_expressions() -> None:
    """A statement with two branches is read twice as fast."""
    assert len(choices(TREE)) < 1.5 * len(LINES) / 100


def test_no_conditional_expression_stands_in_another() -> None:
    assert ["line %d" % outer.lineno for outer in choices(TREE) if len(choices(outer)) > 1] == []


def test_no_function_is_longer_than_50_lines() -> None:
    assert {name: length for name, length in functions() if length > 50} == {}
