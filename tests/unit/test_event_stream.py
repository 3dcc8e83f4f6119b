"""The event stream by the WHATWG's rules: lines, fields, events, chunks."""

import json
import threading
from itertools import cycle
from typing import Dict, Iterator, List

import pytest

from kit.deadlines import LONG
from kit.platforms import APIS, ID, Api, statuses
from kit.server import Dribble, Pause, Server, Step, Wait, answer, chunk, event, stream_head
from kit.streams import BOM, END, heard, line, listen, word

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.waits]


# -------------------------------------------------------------------------------------------------
# Lines
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_a_line_ends_with_cr_lf_or_both(api: Api, end: bytes) -> None:
    lines = [b":hello", b"event:message", line("one", b""), b"", line("two", b""), b"id:1", b"",
             b"", line("three", b""), b"", b""]
    assert heard(api, end.join(lines)) == ["one", "two", "three"]


@pytest.mark.parametrize("ends, dispatched", [
    (b"\n\n", True), (b"\r\r", True), (b"\r\n\r\n", True), (b"\n\r", True), (b"\n\r\n", True),
    (b"\r\n\n", True),
    (b"\r\n\r", True), (b"\r\r\n", True), (b"\n", False), (b"\r", False), (b"\r\n", False),
], ids=repr)
def test_an_empty_line_ends_an_event_whatever_the_line_ends(api: Api, ends: bytes,
                                                            dispatched: bool) -> None:
    # Without the empty line the next one belongs to the same event, which then is no JSON.
    body = line("one", ends) + line("two", b"\n\n") + line("three", b"\n\n")
    assert heard(api, body) == (["one", "two", "three"] if dispatched else ["three"])


def test_nothing_else_ends_a_line(api: Api) -> None:
    text = "a\u2028b\u2029c\x85d\x7fe"
    raw = ('data:{"status":"%s","time":"t"}\n\n' % text).encode("utf-8")
    comment = ':\x0b\x0c\x00\x1c\x1d\x1e\u2028data:{"status":"no","time":"t"}\n\n'.encode("utf-8")
    assert heard(api, comment + raw) == [text]


def test_a_byte_order_mark_is_skipped_at_the_very_beginning_alone(api: Api) -> None:
    assert heard(api, BOM + word("one") + word("two")) == ["one", "two"]
    assert heard(api, BOM + BOM + word("no") + word("two")) == ["two"]
    assert heard(api, word("one") + BOM + word("no") + word("three")) == ["one", "three"]
    assert heard(api, BOM + b"\n" + word("one")) == ["one"]
    assert heard(api, BOM + b":comment\n" + word("one")) == ["one"]
    assert heard(api, b"\xef\xbb" + word("no") + word("one")) == ["one"]


def test_each_opening_may_begin_with_a_byte_order_mark(api: Api) -> None:
    assert heard(api, BOM + word("one"), BOM + word("two")) == ["one", "two"]


def test_comments_are_passed_over(api: Api) -> None:
    body = (
        b":\n\n: x\n\n"
        + b":"
        + line("no")
        + b"\n"
        + b":a\n"
        + line("one")
        + b":b\n\n"
        + b":\r\n:\r\n"
        + word("two")
    )
    assert heard(api, body) == ["one", "two"]


def test_fields_are_told_by_their_exact_names(api: Api) -> None:
    wrong = [b"Data", b"DATA", b" data", b"data ", b"datum", b"dat", b"data\t", b"\xc3\xbc",
             b"date"]
    body = b"".join(name + word("no")[4:] for name in wrong)
    assert heard(api, body + word("one")) == ["one"]


def test_unknown_fields_are_passed_over_within_an_event(api: Api) -> None:
    assert heard(api, b"time:5\nnothing\nx:y:z\n" + line("one") + b"foo: bar\n\n") == ["one"]


def test_one_space_after_the_colon_is_taken_away(api: Api) -> None:
    spaced = b"data: " + word("two")[5:]
    assert heard(api, b"event: message\n" + spaced) == ["two"]
    # Only one: " message" is another type.
    assert heard(api, b"event:  message\n" + word("no") + word("one")) == ["one"]


# -------------------------------------------------------------------------------------------------
# Events
# -------------------------------------------------------------------------------------------------

def test_data_lines_are_joined_with_line_feeds(api: Api) -> None:
    assert heard(api, b'data:{"status":\ndata: "one",\ndata\ndata:\ndata:"time":"t"}\n\n') == [
        "one"
    ]
    # Joined with nothing this would be a whole number, joined with a line feed it is no JSON.
    assert heard(api, b'data:{"status":"no","time":"t","x":1\ndata:2}\n\n' + word("two")) == ["two"]


def test_other_fields_may_stand_between_data_lines(api: Api) -> None:
    assert heard(api, b'data:{"status":"one",\nid:5\n:c\nretry:1\ndata:"time":"t"}\n\n') == ["one"]


@pytest.mark.parametrize("kind, yielded", [
    (b"event:message\n", True), (b"event:\n", True), (b"event\n", True), (b"", True),
    (b"event:other\nevent:message\n", True),
    (b"event:error\n", False), (b"event:Message\n", False), (b"event:message\nevent:other\n",
                                                             False),
    (b"event:message \n", False), (b"event:ready\n", False),
], ids=repr)
def test_only_events_of_type_message_count(api: Api, kind: bytes, yielded: bool) -> None:
    # The type is the event's alone: it does not reach the next one.
    assert heard(api, kind + word("one") + word("two")) == (["one", "two"] if yielded else ["two"])


def test_an_event_without_data_is_passed_over(api: Api) -> None:
    body = b"event:message\n\nid:1\n\nretry:1\n\ndata\n\ndata:\n\ndata: \n\n\n\n\n"
    assert heard(api, body + word("one")) == ["one"]


@pytest.mark.parametrize("data", [
    "hello", "null", "[]", "{}", "5", '"ready"', "NaN", '{"status":"no"}', '{"time":"t"}',
    '{"status":5,"time":"t"}',
    '{"status":null,"time":"t"}', '{"status":"no","time":NaN}', '{"status":"no","time":"t"',
    '{"status":"no","time":[]}', '[{"status":"no","time":"t"}]', "[" * 50000,
    "{'status':'no','time':'t'}",
    '{"status":"no","time":1' + "0" * 5000 + "}", "<html>",
], ids=lambda data: data[:30])
def test_an_event_that_is_no_state_is_passed_over(api: Api, data: str) -> None:
    assert heard(api, word("one") + event(data) + word("two")) == ["one", "two"]


def test_an_event_that_is_not_utf_8_harms_no_other(api: Api) -> None:
    bad = b'data:{"status":"\xff\xfe","time":"t"}\n\n'
    found = heard(api, word("one") + b":\xff\n\n\xff:\n" + b"data:\xff\n\n" + bad + b"id:\xff\n"
                  + word("two"))
    assert found == ["one", "\ufffd\ufffd", "two"]


@pytest.mark.parametrize("rest", [
    line("no"), line("no", b""), line("no", b"\r"), line("no") + b"id:9", line("no") + b":",
    b"event:other\n", b"event:other\n" + line("no"), b"da"], ids=repr)
@pytest.mark.parametrize("start", [b"", b"\n"], ids=repr)
def test_an_unfinished_last_event_is_dropped(api: Api, rest: bytes, start: bytes) -> None:
    """Nor does it reach into the next opening."""
    assert heard(api, word("one") + rest, start + word("two")) == ["one", "two"]


def test_a_state_is_yielded_as_soon_as_its_event_is_complete(api: Api) -> None:
    gates = [threading.Event() for _ in range(3)]
    steps: List[Step] = [stream_head(), word("one"), Wait(gates[0]), line("two"), b"\n",
                         Wait(gates[1]), b"\r" + word("three"), Wait(gates[2]), END]
    with Server(api.channels(steps)) as server:
        stream = api.client(server.url).status_stream(ID, timeout=LONG)
        for gate, expected in zip(gates, ["one", "two", "three"]):
            assert next(stream).status == expected
            gate.set()
        assert statuses(list(stream)) == ["terminated"]


@pytest.mark.parametrize("end", [b"\r", b"\r\n"], ids=["CR", "CRLF"])
def test_a_carriage_return_is_enough_to_complete_an_event(api: Api, end: bytes) -> None:
    """Whether a line feed follows must not be waited for."""
    go = threading.Event()
    steps: List[Step] = [stream_head(), line("one", end) + b"\r", Wait(go),
                         b"\n" + line("two", end) + end, END]
    with Server(api.channels(steps)) as server:
        stream = api.client(server.url).status_stream(ID, timeout=LONG)
        assert str(next(stream).status) == "one"
        go.set()
        assert statuses(list(stream)) == ["two", "terminated"]


def test_the_words_of_a_stream_are_those_of_json(api: Api) -> None:
    """Escapes in an event mean what they mean in JSON."""
    assert heard(api, event(json.dumps({"status": "ü\n\u2028\"", "time": "t"}))) == ["ü\n\u2028\""]


ODD: Dict[str, bytes] = {
    "NUL": b"\0\n\nid:\0\n" + line("one") + b"\n",
    "an HTTP answer": b"HTTP/1.1 200 OK\r\n\r\n" + word("one"),
    "ten thousand events": word("one") * 10000,
    "milliseconds": b'data:{"status":"one","time":1732401973368}\n\n',
    "nulls": b'data:{"status":"one","time":"t","termination_reason":null,"exit_error":null}\n\n',
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_odd_streams_are_read_too(api: Api, body: bytes) -> None:
    assert heard(api, body) == ["one"]


# -------------------------------------------------------------------------------------------------
# Chunks
# -------------------------------------------------------------------------------------------------

# A bit of all: the end of a chunk may fall into any of it.
BODY = (BOM + b":c\r\n\r\nevent: message\r" + line("one", b"\r\r") + b"id:\xc3\xbc\r\n"
        + line("t\u00fc", b"\r\n\r\n")
        + b'data: {"status":\n\rdata:"no"\r\n\n'
        + b'data:{"status":"\xf0\x9f\x98\x80",\ndata:"time":"t"}\n\r'
        + b'data:{"status":"four",\r\ndata:"time":"t"}\r\n\r\n' + BOM + word("no") + b"event:x\n"
        + word("no") + END)
WORDS = ["one", "tü", "😀", "four", "terminated"]


def pieces(body: bytes) -> Iterator[List[bytes]]:
    """Whole, byte by byte, and cut in two at each place."""
    yield [body]
    yield [bytes([byte]) for byte in body]
    for cut in range(1, len(body)):
        yield [body[:cut], body[cut:]]


def test_a_stream_may_be_cut_anywhere_into_chunks() -> None:
    for parts, api in zip(pieces(BODY), cycle(APIS.values())):
        steps = [stream_head(chunked=True) + b"".join(map(chunk, parts)) + chunk(b"")]
        assert listen(api, steps).statuses == WORDS, parts[0]


def test_a_stream_may_come_byte_by_byte(api: Api) -> None:
    assert listen(api, [stream_head(), Dribble(BODY, 0.0005)]).statuses == WORDS


def test_a_stream_may_be_cut_anywhere_into_packets(api: Api) -> None:
    for cut in range(0, len(BODY), 7):
        assert listen(api, [stream_head() + BODY[:cut], Pause(0.002),
                            BODY[cut:]]).statuses == WORDS, cut


@pytest.mark.parametrize("kind", ["text/event-stream; charset=utf-8", "Text/Event-Stream",
                                  "text/event-stream ;x=y"])
def test_a_content_type_may_have_parameters(api: Api, kind: str) -> None:
    assert listen(api, [answer(word("one") + END,
                               headers=[("Content-Type", kind)])]).statuses == ["one", "terminated"]
