"""The stub says what the module says, and each of the platforms' calls is there everywhere."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Type

import pytest

import jamsocket_lite
from dev import stub
from jamsocket_lite import Jamsocket, Plane

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENTS = {"Jamsocket": Jamsocket, "Plane": Plane}
METHODS = {"stream": "status_stream"}  # a call of the platforms whose method has another name
MADE_OF_OTHERS = {"connect_and_wait", "wait_until_ready"}


@pytest.mark.skipif(sys.version_info < (3, 9), reason="needs ast.unparse, of Python 3.9")
def test_the_stub_is_what_make_stub_makes_of_the_module() -> None:
    assert stub.STUB.read_text("utf-8") == stub.made(), "run make stub"


def methods_of(client: Type[Any]) -> Dict[str, Any]:
    return {name: member for name, member in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_")}


def endpoints_of(client: Type[Any]) -> List[str]:
    """The names of the calls in a client's table."""
    table = getattr(jamsocket_lite, "_%s_ENDPOINTS" % client.__name__.upper())
    return list(table)


@pytest.mark.parametrize("name", CLIENTS)
def test_each_endpoint_of_a_table_has_a_method_and_each_method_an_endpoint(name: str) -> None:
    methods = {METHODS.get(call, call) for call in endpoints_of(CLIENTS[name])}
    assert methods | MADE_OF_OTHERS == set(methods_of(CLIENTS[name]))


def test_both_clients_have_the_same_methods() -> None:
    assert methods_of(Jamsocket).keys() == methods_of(Plane).keys()


@pytest.mark.parametrize("method", methods_of(Jamsocket))
def test_each_method_says_what_it_does_and_stands_in_the_readme(method: str) -> None:
    docstring = methods_of(Jamsocket)[method].__doc__
    assert docstring is None or len(docstring) > 40  # None: python -OO
    assert re.search(r"\.%s\(" % method, (ROOT / "README.md").read_text("utf-8")), method
