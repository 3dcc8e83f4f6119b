#!/usr/bin/env python3
"""The module's stub, made from the module: `make stub` writes it, a test holds it against this.

It is what type checkers and editors read where the module is installed: each public name, what it
is derived from and annotated with, the docstrings, and nothing of how it works.
"""

import ast
import re
import sys
from pathlib import Path
from typing import Dict, List, Set, Union

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = ROOT / "jamsocket_lite.py"
STUB = ROOT / "stubs" / "jamsocket_lite-stubs" / "__init__.pyi"

HEAD = '''"""%s

Made by `make stub`: what type checkers and editors read where jamsocket_lite is installed.
"""

import ssl
from dataclasses import dataclass
from typing import (
    %s,
)

__version__: str
'''
IN_TYPING = ("Any", "Callable", "Dict", "Generator", "List", "Literal", "Mapping", "Optional",
             "Sequence", "Tuple", "Type", "TypeVar", "Union")
DUNDERS = ("__init__", "__post_init__", "__eq__", "__hash__", "__repr__", "__reduce__")

Definition = Union[ast.ClassDef, ast.FunctionDef]


class Stub:
    """Of a module's source. (Needs Python 3.9, where `ast.unparse` came.)"""

    def __init__(self, source: str) -> None:
        self.lines = source.splitlines()
        self.tree = ast.parse(source)
        self.found: Dict[str, ast.stmt] = {}
        for node in self.tree.body:
            parts = node.body if isinstance(node, ast.If) else [node]
            self.found.update({name: part for part in parts for name in names_of(part)})

    def text(self) -> str:
        wanted = self.wanted()
        parts = [self.shown(node) for name, node in self.found.items() if name in wanted]
        exported = [ast.get_source_segment("\n".join(self.lines), node) or ""
                    for node in self.tree.body if is_export(node)]
        body = "\n".join([*exported, *parts]) + "\n"
        used = [name for name in IN_TYPING if re.search(r"\b%s\b" % name, body)]
        docstring = (ast.get_docstring(self.tree) or "").partition("\n")[0]
        return HEAD % (docstring, ",\n    ".join(used)) + body

    def wanted(self) -> Set[str]:
        """What `__all__` names, `main`, and the private names in what is shown of them."""
        exports = [ast.literal_eval(node.value) for node in self.tree.body if is_export(node)
                   if isinstance(node, (ast.Assign, ast.AugAssign))]
        todo = ["main", *(name for names in exports for name in names)]
        wanted: Set[str] = set()
        while todo:
            name = todo.pop()
            if name in self.found and name not in wanted:
                wanted.add(name)
                todo += re.findall(r"\b_[A-Z]\w*", self.shown(self.found[name]))
        return wanted

    def shown(self, node: ast.stmt) -> str:
        if isinstance(node, ast.ClassDef):
            return "\n" + self.class_of(node)
        if isinstance(node, ast.FunctionDef):
            return "\n" + self.definition(node)
        lines = self.lines[node.lineno - 1:node.end_lineno]
        return "\n".join(line[node.col_offset:] for line in lines)

    def definition(self, node: Definition) -> str:
        """Its head and docstring, as they stand in the module."""
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        head = self.lines[first - 1:node.body[0].lineno - 1]
        if ast.get_docstring(node) is None:
            while not head[-1].strip() or head[-1].lstrip().startswith("#"):
                del head[-1]
            return "\n".join([*head[:-1], head[-1] + " ..."])
        return "\n".join(head + self.lines[node.body[0].lineno - 1:node.body[0].end_lineno])

    def class_of(self, node: ast.ClassDef) -> str:
        parts = []
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and is_shown(part.name):
                parts.append(self.definition(part))
            elif isinstance(part, ast.AnnAssign) and is_shown(ast.unparse(part.target)):
                comment = re.search(r"  # (?!type:).*", self.lines[part.lineno - 1])
                field = field_of(part, has_defaults=bool(node.decorator_list))
                parts.append("    " + field + (comment.group() if comment else ""))
        head = self.definition(node)
        return "\n".join([head, *parts] if not head.endswith(" ...") else [head[:-4], *parts])


def names_of(node: ast.stmt) -> List[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def is_export(node: ast.stmt) -> bool:
    if isinstance(node, ast.AugAssign):
        return ast.unparse(node.target) == "__all__"
    return names_of(node) == ["__all__"]


def is_shown(name: str) -> bool:
    return name in DUNDERS or not name.startswith("_")


def field_of(node: ast.AnnAssign, has_defaults: bool) -> str:
    """With its default, where a constructor has it as an argument, without its metadata."""
    text = "%s: %s" % (ast.unparse(node.target), ast.unparse(node.annotation))
    value = node.value
    if isinstance(value, ast.Call):
        defaults = [keyword.value for keyword in value.keywords if keyword.arg == "default"]
        value = defaults[0] if defaults else None
    if value is None or not has_defaults:
        return text
    return "%s = %s" % (text, ast.unparse(value))


def made() -> str:
    return Stub(MODULE.read_text("utf-8")).text()


if __name__ == "__main__":
    STUB.write_text(made(), "utf-8")
    print("wrote %s" % STUB.relative_to(ROOT), file=sys.stderr)
