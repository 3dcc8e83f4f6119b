"""The public functions' signatures are the contract's."""

import inspect
import re
from typing import Any

import pytest

import jamsocket_lite
from jamsocket_lite import Jamsocket, Plane
from kit.secrets import TOKEN

URL = "'https://api.jamsocket.com'"
METHODS = [
    ("connect", "request=None, *, timeout=None"),
    ("status", "backend, *, timeout=None"),
    ("status_stream", "backend, *, timeout=None"),
    ("wait_until_ready", "backend, *, timeout=60.0, on_status=None"),
    ("terminate", "backend, *, hard=False, timeout=None"),
]
SIGNATURES = [
    (Jamsocket, "account=None, service=None, token=None, *, dev=False, port=8080, api_url=%s, "
                "timeout=60.0, ssl_context=None" % URL),
    (Plane, "url='http://localhost:8080', *, image, pool=None, namespace=None, timeout=60.0, "
            "ssl_context=None, headers=None"),
    *[(getattr(kind, name), "self, " + rest)
      for kind in (Jamsocket, Plane) for name, rest in METHODS],
    (Jamsocket.from_env, "env=None"),
    (Plane.from_env, "env=None"),
    (jamsocket_lite.connect, "request=None, *, account=None, service=None, token=None, dev=False, "
                             "port=8080, api_url=%s, timeout=60.0, ssl_context=None" % URL),
    (jamsocket_lite.wait_until_ready,
     "backend, *, timeout=60.0, on_status=None, ssl_context=None"),
]


@pytest.mark.parametrize("function, expected", SIGNATURES,
                         ids=[one.__qualname__ for one, _ in SIGNATURES])
def test_a_signature_is_the_contracts(function: Any, expected: str) -> None:
    parameters = inspect.signature(function).parameters.values()
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
    found = re.sub(r" ?= ?", "=", str(inspect.Signature(plain)))
    assert found == "(%s)" % expected


def test_credentials_are_keyword_arguments_of_the_function() -> None:
    with pytest.raises(TypeError):
        jamsocket_lite.connect({}, "acme")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Jamsocket("acme", "board", TOKEN, True)  # type: ignore[call-arg]
