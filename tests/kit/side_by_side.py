"""Tests that mostly wait run side by side: those that are marked `waits`.

Each stays a test of its own, with its own result, and any of them can be run alone. The first to be
run runs all that were selected, of every file, in threads. So they may take parameters and fixtures
of the session, for nothing else can be set up for several at once.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Dict, List

import pytest

WIDTH = 40

_results: "Dict[str, Future[None]]" = {}


def run(item: pytest.Function) -> None:
    """The outcome of a test that is marked so."""
    if item.nodeid not in _results:
        _run_all([other for other in item.session.items
                  if isinstance(other, pytest.Function)
                  and other.get_closest_marker("waits") and other.nodeid not in _results], item)
    _results.pop(item.nodeid).result()


def _run_all(items: List[pytest.Function], first: pytest.Function) -> None:
    with ThreadPoolExecutor(WIDTH) as pool:
        # All are there before a server starts threads of a small stack, which would be theirs too:
        # deep JSON would not fit it, and CPython 3.13 would crash.
        all_there = threading.Barrier(WIDTH)
        list(pool.map(lambda _: all_there.wait(), range(WIDTH)))
        for item in items:
            _results[item.nodeid] = pool.submit(item.obj, **_arguments(item, first))


def _arguments(item: pytest.Function, first: pytest.Function) -> Dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    given = {} if callspec is None else {**getattr(callspec, "funcargs", {}), **callspec.params}
    arguments = {}
    for name in item._fixtureinfo.argnames:
        if name not in given:
            scope = item._fixtureinfo.name2fixturedefs[name][-1].scope
            assert scope == "session", "%s: %s cannot be shared" % (item.nodeid, name)
            given[name] = first._request.getfixturevalue(name)
        arguments[name] = given[name]
    return arguments
