"""The event stream by the WHATWG's rules: ids and retry, and how large a line and an event may
be."""

import time
from typing import Dict, List, Optional, Sequence, Tuple

import pytest

from jamsocket_lite import JamsocketTimeout
from kit.deadlines import in_time, patiently
from kit.platforms import ID, Api
from kit.scenarios import check
from kit.server import Repeat, Server, stream_head
from kit.streams import END, heard, line, listen, word

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.waits]


# -------------------------------------------------------------------------------------------------
# Ids
# -------------------------------------------------------------------------------------------------

def ids(api: Api, *bodies: bytes) -> List[Optional[str]]:
    """The Last-Event-ID that comes after each of these bodies."""
    found = listen(api, *[[stream_head(), body] for body in bodies], [stream_head(), END])
    assert found.statuses[-1] == "terminated" and found.ids[0] is None
    return found.ids[1:]


@pytest.mark.parametrize("id", ["5", "ready", "a b", "a:b", "0", "x" * 200, '"\\<>%0d%0a',
                                "a,b;c=d"])
def test_an_id_is_sent_back_as_last_event_id(api: Api, id: str) -> None:
    assert ids(api, word("one", id=id)) == [id]
    assert ids(api, ("id: %s\n" % id).encode() + word("one")) == [id]


# Bodies, and the Last-Event-ID that comes after each.
ID_RULES: Dict[str, Tuple[Sequence[bytes], Sequence[Optional[str]]]] = {
    "stays until there is another": (
        [word("one", id="1") + word("two"), word("three"), word("four", id="4")], ["1", "1", "4"]),
    "counts from an event without data": ([word("one", id="1") + b"id:2\n\n"], ["2"]),
    "counts from an event of another type": ([b"id:3\nevent:other\n" + word("no")], ["3"]),
    "is the last of an event's": ([b"id:1\nid:2\n" + word("one")], ["2"]),
    "is taken away by an empty one": ([word("one", id="1"), word("two", id="")], ["1", None]),
    "is taken away by a name alone": ([word("one", id="1") + b"id\n" + word("two")], [None]),
    "is none with NUL": ([word("one", id="1") + b"id:2\0\n" + word("two")], ["1"]),
    "is none before its event is complete": (
        [word("one", id="1") + b"id:2\n" + line("no")], ["1"]),
    "is none where its event never was": (
        [word("one", id="1") + b"id:2\n", word("two")], ["1", "1"]),
}


@pytest.mark.parametrize("rule", ID_RULES)
def test_ids_follow_the_standard(api: Api, rule: str) -> None:
    bodies, expected = ID_RULES[rule]
    assert ids(api, *bodies) == expected


@pytest.mark.parametrize("id", [b"a\x01b", b"\x7f", b"a\x0bb", b"a\x1b[31m", b"x" * 100000],
                         ids=lambda id: repr(id)[:20])
def test_an_id_that_a_header_cannot_carry_does_not_harm(api: Api, id: bytes) -> None:
    found = listen(api, [stream_head(), b"id:" + id + b"\n" + word("one")],
                   [stream_head(), word("two") + END])
    assert found.statuses == ["one", "two", "terminated"]
    assert id not in found.requests[1].head


def test_an_id_beyond_ascii_goes_back_as_it_came_or_not_at_all(api: Api) -> None:
    [id] = ids(api, word("one", id="é日"))
    assert id is None or id.encode("latin-1") == "é日".encode("utf-8")


# -------------------------------------------------------------------------------------------------
# Retry
# -------------------------------------------------------------------------------------------------

def gap(api: Api, fields: bytes) -> float:
    """Seconds between an opening with these fields and the next, which its end brings about."""
    found = listen(api, [stream_head(), fields + word("one")], [stream_head(), END])
    return found.requests[1].at - found.requests[0].at


@pytest.mark.parametrize("fields", [b"retry:600\n", b"retry: 600\n", b"retry:600\n\n",
                                    b"retry:1\nretry:600\n"], ids=repr)
def test_retry_is_how_long_to_stay_away(api: Api, fields: bytes) -> None:
    assert gap(api, fields) >= 0.5


@pytest.mark.parametrize("value", ["-50000", "5e4", "40000ms", "", " 40000", "40000.0", "+40000",
                                   "0x10000", "40_000", "٤٠٠٠٠"])
def test_a_retry_that_is_no_number_is_passed_over(api: Api, value: str) -> None:
    began = time.monotonic()
    assert in_time(gap(api, b"retry: %s\n" % value.encode("utf-8")), 3.0, began)


@pytest.mark.slow
@pytest.mark.parametrize("value", [b"5001", b"3600000", b"9" * 5000],
                         ids=["a little more", "an hour", "5000 digits"])
def test_a_retry_is_honoured_up_to_5_seconds(api: Api, value: bytes) -> None:
    began = time.monotonic()
    seconds = gap(api, b"retry:%s\n" % value)
    assert 4.9 <= seconds and in_time(seconds, 9.0, began)


@pytest.mark.parametrize("value", [b"4000", b"9" * 30], ids=repr)
def test_retry_is_no_reason_to_pass_the_deadline(api: Api, value: bytes) -> None:
    def check(timeout: float) -> None:
        with Server(api.channels([stream_head(), b"retry:%s\n" % value + word("one")])) as server:
            with pytest.raises(JamsocketTimeout) as caught:
                list(api.client(server.url).status_stream(ID, timeout=timeout))
            last = caught.value.last_state
            assert last is not None and str(last.status) == "one"
            assert [one.target for one in server.requests].count(api.stream_target()) == 1

    patiently(check)


# -------------------------------------------------------------------------------------------------
# Bounds
# -------------------------------------------------------------------------------------------------

LIMIT = 128 * 1024


def padded(size: int, status: str = "big") -> bytes:
    """A data line of so many bytes, its end not counted, with a state in it."""
    start = b'data:{"status":"%s","time":"t","x":"' % status.encode()
    return start + b"x" * (size - len(start) - 2) + b'"}'


def several(sizes: Sequence[int]) -> bytes:
    """An event of data lines of these sizes, a state in all; lines of white space but for the
    first."""
    return b"".join([padded(sizes[0])] + [b"\ndata:" + b" " * (size - 5) for size
                                          in sizes[1:]]) + b"\n\n"


FITTING = {
    "a line": padded(LIMIT) + b"\n\n",
    "a line with CRLF": padded(LIMIT) + b"\r\n\r\n",
    "several lines": several([LIMIT - 4000] + [1000] * 4),
    "a comment": b":" + b"x" * (LIMIT - 1) + b"\n" + word("big"),
    "many comments": (b":" + b"x" * 1000 + b"\n") * 300 + word("big"),
    "many events": b"event:other\n" + padded(LIMIT - 100) + b"\n\n" + padded(LIMIT) + b"\n\n",
    "many events without data": (b"id:" + b"x" * 500 + b"\n\n") * 600 + word("big"),
}
LARGE = {
    "a line": padded(LIMIT + 1) + b"\n\n",
    "several lines": several([LIMIT - 4000] + [1000] * 3 + [1001]),
    "a comment": b":" + b"x" * LIMIT + b"\n" + word("big"),
    "an unknown field": b"x" * (LIMIT + 1) + b"\n" + word("big"),
    "an id": b"id:" + b"x" * LIMIT + b"\n" + word("big"),
    "an event of another type": b"event:other\n" + padded(LIMIT - 6) + b"\ndata:x\n\n"
    + word("big"),
    "a line of an event that never ends": padded(LIMIT + 1),
}


@pytest.mark.parametrize("name", list(FITTING))
def test_a_line_and_an_event_may_have_128_kib(api: Api, name: str) -> None:
    assert heard(api, word("one") + FITTING[name] + word("two")) == ["one", "big", "two"]


@pytest.mark.parametrize("name", LARGE)
def test_a_line_or_an_event_of_more_is_left_and_the_stream_opened_again(api: Api,
                                                                        name: str) -> None:
    assert heard(api, word("one") + LARGE[name] + word("no"), word("two")) == ["one", "two"]


@pytest.mark.parametrize("endless", [b"x" * 8192, b"data:" + b"x" * 1000 + b"\n",
                                     b":" + b"x" * 8192], ids=["line", "event", "comment"])
def test_what_never_ends_is_not_read_on(api: Api, endless: bytes) -> None:
    found = listen(api, [stream_head(), Repeat(endless)], [stream_head(), END])
    assert found.statuses == ["terminated"] and len(found.requests) == 2


@pytest.mark.parametrize("name", ["a line", "several lines"])
def test_what_was_too_large_is_named_when_the_deadline_passes(api: Api, name: str) -> None:
    def check(timeout: float) -> None:
        with Server(api.channels([stream_head(), LARGE[name] + END],
                                 api.told("waiting"))) as server:
            with pytest.raises(JamsocketTimeout, match="(line|event) .*longer than 131072 bytes"):
                list(api.client(server.url).status_stream(ID, timeout=timeout))

    patiently(check)
