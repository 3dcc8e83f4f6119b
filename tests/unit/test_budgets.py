"""Work is bounded by the size of what is given: large documents are checked and searched quickly.

What is measured is this thread's own time on the processor, so that a busy machine changes little.
"""

import time
from typing import Any, Callable, Dict, Tuple

import pytest

from jamsocket_lite import ConnectRequest, Executable, HTTPError, Jamsocket, ValidationError
from kit.secrets import TOKEN
from kit.server import Server, answer

pytestmark = pytest.mark.skipif(
    not hasattr(time, "thread_time"), reason="needs the time of one thread"
)

LARGE = 1.0  # for about a megabyte; several times what is promised, and half of what went wrong
SMALL = 0.1  # for 50 kB, which is promised within milliseconds


def spent(call: Callable[[], Any]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


# -------------------------------------------------------------------------------------------------
# Checks
# -------------------------------------------------------------------------------------------------


def nested(levels: int, leaf: Any) -> Any:
    for _ in range(levels):
        leaf = {"k" * 1000: leaf}
    return leaf


# A path to each item is long in these, and is wanted for none.
LONG_WAYS: Dict[str, Any] = {
    "a long key": {"k" * 100000: [0] * 90000},
    "an odd key": {"k\n" * 50000: [0] * 90000},
    "many levels": nested(95, [0] * 90000),
    "many keys": {"k" * 1000 + str(number): [0] * 98 for number in range(900)},
}
each_way = pytest.mark.parametrize("way", list(LONG_WAYS))


@each_way
def test_a_megabyte_is_checked_quickly(way: str) -> None:
    assert spent(lambda: ConnectRequest(auth=LONG_WAYS[way])) < LARGE


@each_way
def test_a_megabyte_is_read_quickly(way: str) -> None:
    assert spent(lambda: ConnectRequest.from_dict({"auth": LONG_WAYS[way]})) < LARGE


@each_way
def test_a_megabyte_is_written_quickly(way: str) -> None:
    request = ConnectRequest(auth=LONG_WAYS[way])
    assert spent(request.to_dict) + spent(lambda: repr(request)) < LARGE


def test_what_is_wrong_at_the_end_of_a_megabyte_is_found_quickly() -> None:
    def refused() -> None:
        with pytest.raises(ValidationError) as caught:
            ConnectRequest(auth={"k" * 1000: [*[0] * 90000, b""]})
        assert caught.value.path.endswith("[90000]")

    assert spent(refused) < LARGE


def test_ten_thousand_variables_are_checked_quickly() -> None:
    env = {"NAME_%06d" % number: "v" * 90 for number in range(10000)}
    assert spent(lambda: Executable(env=env)) < LARGE


# -------------------------------------------------------------------------------------------------
# The search for secrets in a server's words
# -------------------------------------------------------------------------------------------------

TEXT = "the words of a server, which are no secret; "

# What is secret, so often, and what the server says, which resembles it.
SEARCHES: Dict[str, Tuple[Callable[[int], Any], int, str]] = {
    "values alike": (lambda n: ["value-%06d" % number for number in range(n)], 70000, "value-0"),
    "odd values": (lambda n: ["a/%05d/b é" % number for number in range(n)], 90000, "a/00"),
    "short values": (lambda n: ["%04d" % (number % 10000) for number in range(n)], 90000, "00000"),
    "lines": (lambda n: "\n".join("ä/%05d" % number for number in range(n)), 90000, "ä/000"),
    "one letter": (lambda n: "a" * n, 1000000, "aaaaa"),
    "percent signs": (lambda n: "%2F" * n, 330000, "%2F%2"),
    "all text": (lambda n: (TEXT * (n // len(TEXT))).replace("words", "sword"), 1000000, TEXT),
}
each_search = pytest.mark.parametrize("search", list(SEARCHES))


def search_time(search: str, part: int) -> float:
    """What a refused connect takes, with its checks, its JSON and its sending."""
    make, count, words = SEARCHES[search]
    message = words * (60000 // len(words.encode()))
    error = {"message": message, "status": 409, "code": "HELD", "id": "r1"}
    with Server([answer({"error": error}, 409)]) as server:
        client = Jamsocket("acme", "board", TOKEN, api_url=server.url)

        def call(auth: Any) -> None:
            with pytest.raises(HTTPError, match="409"):
                client.connect({"auth": {"v": auth}})

        call("the first one imports what it needs")
        secrets = make(count // part)
        return spent(lambda: call(secrets))


@each_search
def test_a_megabyte_of_secrets_is_searched_for_quickly(search: str) -> None:
    assert search_time(search, 1) < LARGE


@each_search
def test_50_kilobytes_of_secrets_are_searched_for_at_once(search: str) -> None:
    assert search_time(search, 20) < SMALL
