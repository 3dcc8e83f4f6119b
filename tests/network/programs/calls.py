"""What every program here does once its tool is in place: the three calls for it to see or serve.

Each call has a backend of its own, so that a request's path tells which call made it.
"""

import json

import jamsocket_lite

TIMEOUT = 30


def client(url):
    return jamsocket_lite.Jamsocket("acme", "board", "token-of-acme", api_url=url, timeout=TIMEOUT)


def connect(url):
    return client(url).connect({"key": "board/42"}).backend_id


def status(url, backend="asked"):
    return client(url).status(backend).status


def wait(url, backend="awaited"):
    return client(url).wait_until_ready(backend, timeout=TIMEOUT).status


CALLS = {"connect": connect, "status": status, "wait": wait}


def outcomes(url, names=tuple(CALLS)):
    """What each call returned, or the class of what it raised."""
    return {name: outcome(CALLS[name], url) for name in names}


def outcome(call, *arguments):
    try:
        return call(*arguments)
    except Exception as error:
        return type(error).__name__


def report(**facts):
    """Tell the test."""
    print(json.dumps(facts))
