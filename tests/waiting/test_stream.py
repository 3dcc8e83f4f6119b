"""The event stream by the WHATWG's rules, seen through `status_stream` and a server that says exactly what it is told.

A status that this version does not know is yielded as it came, so each event of a test carries a word of its own.
"""

import json
import threading
from itertools import cycle
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, TypeVar

import pytest

from kit.deadlines import LONG
from kit.platforms import APIS, Api, ID, LIFE, events, in_turn, statuses
from kit.threads import for_each
from jamsocket_lite import JamsocketTimeout, ProtocolError
from kit.server import Dribble, Pause, Repeat, Request, Server, Silence, Step, Wait, answer, chunk, event, stream_head

pytestmark = pytest.mark.usefixtures("nothing_left")

T = TypeVar("T")

LIMIT = 128 * 1024
BOM = b"\xef\xbb\xbf"


def word(status: str, **fields: Any) -> bytes:
    """An event with that status."""
    return event({"status": status, "time": "t"}, **fields)


def line(status: str, end: bytes = b"\n") -> bytes:
    """Its data line alone."""
    return word(status).split(b"\n")[0] + end


END = word("terminated")


class Heard(NamedTuple):
    statuses: List[str]
    ids: List[Optional[str]]  # the Last-Event-ID of each opening
    requests: List[Request]  # those that open the stream


def listen(api: Api, *openings: Sequence[Step], timeout: Optional[float] = LONG) -> Heard:
    """All that a stream yields whose openings are answered so, until it is `terminated`."""
    with Server(api.channels(in_turn(*openings))) as server:
        heard = statuses(list(api.client(server.url).status_stream(ID, timeout=timeout)))
        assert server.wait_closed(LONG)
        opened = [request for request in server.requests if request.target == api.stream_target()]
    return Heard(heard, [request.header("Last-Event-ID") for request in opened], opened)


def heard(api: Api, *bodies: bytes) -> List[str]:
    """What these bodies yield, one after the other. The last is followed by the end, which is left out here."""
    openings = [[stream_head(), body] for body in (*bodies[:-1], bodies[-1] + END)]
    found = listen(api, *openings)
    assert found.statuses[-1] == "terminated" and len(found.requests) == len(bodies)
    return found.statuses[:-1]


def on_both(check: Callable[[Api, T], None], cases: Sequence[T]) -> None:
    """Checks each case with either platform, all at once: those that open a stream again mostly wait."""
    for_each(lambda row: check(*row), [(api, case) for api in APIS.values() for case in cases])


# ---------------------------------------------------------------------------------------------------------------------
# Lines
# ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_a_line_ends_with_cr_lf_or_both(api: Api, end: bytes) -> None:
    lines = [b":hello", b"event:message", line("one", b""), b"", line("two", b""), b"id:1", b"", b"",
             line("three", b""), b"", b""]
    assert heard(api, end.join(lines)) == ["one", "two", "three"]


@pytest.mark.parametrize("ends, dispatched", [
    (b"\n\n", True), (b"\r\r", True), (b"\r\n\r\n", True), (b"\n\r", True), (b"\n\r\n", True), (b"\r\n\n", True),
    (b"\r\n\r", True), (b"\r\r\n", True), (b"\n", False), (b"\r", False), (b"\r\n", False),
], ids=repr)
def test_an_empty_line_ends_an_event_whatever_the_line_ends(api: Api, ends: bytes, dispatched: bool) -> None:
    # Without the empty line the next one belongs to the same event, which then is no JSON.
    body = line("one", ends) + line("two", b"\n\n") + line("three", b"\n\n")
    assert heard(api, body) == (["one", "two", "three"] if dispatched else ["three"])


def test_nothing_else_ends_a_line(api: Api) -> None:
    text = "a\u2028b\u2029c\x85d\x7fe"
    raw = ('data:{"status":"%s","time":"t"}\n\n' % text).encode("utf-8")
    comment = ":\x0b\x0c\x00\x1c\x1d\x1e\u2028data:{\"status\":\"no\",\"time\":\"t\"}\n\n".encode("utf-8")
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
    body = b":\n\n: x\n\n" + b":" + line("no") + b"\n" + b":a\n" + line("one") + b":b\n\n" + b":\r\n:\r\n" + word("two")
    assert heard(api, body) == ["one", "two"]


def test_fields_are_told_by_their_exact_names(api: Api) -> None:
    wrong = [b"Data", b"DATA", b" data", b"data ", b"datum", b"dat", b"data\t", b"\xc3\xbc", b"date"]
    body = b"".join(name + word("no")[4:] for name in wrong)
    assert heard(api, body + word("one")) == ["one"]


def test_unknown_fields_are_passed_over_within_an_event(api: Api) -> None:
    assert heard(api, b"time:5\nnothing\nx:y:z\n" + line("one") + b"foo: bar\n\n") == ["one"]


def test_one_space_after_the_colon_is_taken_away(api: Api) -> None:
    spaced = b"data: " + word("two")[5:]
    assert heard(api, b"event: message\n" + spaced) == ["two"]
    # Only one: " message" is another type.
    assert heard(api, b"event:  message\n" + word("no") + word("one")) == ["one"]


# ---------------------------------------------------------------------------------------------------------------------
# Events
# ---------------------------------------------------------------------------------------------------------------------

def test_data_lines_are_joined_with_line_feeds(api: Api) -> None:
    assert heard(api, b'data:{"status":\ndata: "one",\ndata\ndata:\ndata:"time":"t"}\n\n') == ["one"]
    # Joined with nothing this would be a whole number, joined with a line feed it is no JSON.
    assert heard(api, b'data:{"status":"no","time":"t","x":1\ndata:2}\n\n' + word("two")) == ["two"]


def test_other_fields_may_stand_between_data_lines(api: Api) -> None:
    assert heard(api, b'data:{"status":"one",\nid:5\n:c\nretry:1\ndata:"time":"t"}\n\n') == ["one"]


@pytest.mark.parametrize("kind, yielded", [
    (b"event:message\n", True), (b"event:\n", True), (b"event\n", True), (b"", True),
    (b"event:other\nevent:message\n", True),
    (b"event:error\n", False), (b"event:Message\n", False), (b"event:message\nevent:other\n", False),
    (b"event:message \n", False), (b"event:ready\n", False),
], ids=repr)
def test_only_events_of_type_message_count(api: Api, kind: bytes, yielded: bool) -> None:
    # The type is the event's alone: it does not reach the next one.
    assert heard(api, kind + word("one") + word("two")) == (["one", "two"] if yielded else ["two"])


def test_an_event_without_data_is_passed_over(api: Api) -> None:
    body = b"event:message\n\nid:1\n\nretry:1\n\ndata\n\ndata:\n\ndata: \n\n\n\n\n"
    assert heard(api, body + word("one")) == ["one"]


@pytest.mark.parametrize("data", [
    "hello", "null", "[]", "{}", "5", '"ready"', "NaN", '{"status":"no"}', '{"time":"t"}', '{"status":5,"time":"t"}',
    '{"status":null,"time":"t"}', '{"status":"no","time":NaN}', '{"status":"no","time":"t"',
    '{"status":"no","time":[]}', '[{"status":"no","time":"t"}]', "[" * 50000, "{'status':'no','time':'t'}",
    '{"status":"no","time":1' + "0" * 5000 + "}", "<html>",
], ids=lambda data: data[:30])
def test_an_event_that_is_no_state_is_passed_over(api: Api, data: str) -> None:
    assert heard(api, word("one") + event(data) + word("two")) == ["one", "two"]


def test_an_event_that_is_not_utf_8_harms_no_other(api: Api) -> None:
    bad = b'data:{"status":"\xff\xfe","time":"t"}\n\n'
    found = heard(api, word("one") + b":\xff\n\n\xff:\n" + b"data:\xff\n\n" + bad + b"id:\xff\n" + word("two"))
    assert found == ["one", "\ufffd\ufffd", "two"]


def test_an_unfinished_last_event_is_dropped() -> None:
    def check(api: Api, rest: bytes) -> None:
        # Nor does it reach into the next opening.
        assert heard(api, word("one") + rest, word("two")) == ["one", "two"]
        assert heard(api, word("one") + rest, b"\n" + word("two")) == ["one", "two"]

    on_both(check, [line("no"), line("no", b""), line("no", b"\r"), line("no") + b"id:9", line("no") + b":",
                    b"event:other\n", b"event:other\n" + line("no"), b"da"])


def test_a_state_is_yielded_as_soon_as_its_event_is_complete(api: Api) -> None:
    gates = [threading.Event() for _ in range(3)]
    steps: List[Step] = [stream_head(), word("one"), Wait(gates[0]), line("two"), b"\n", Wait(gates[1]),
                         b"\r" + word("three"), Wait(gates[2]), END]
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
    steps: List[Step] = [stream_head(), line("one", end) + b"\r", Wait(go), b"\n" + line("two", end) + end, END]
    with Server(api.channels(steps)) as server:
        stream = api.client(server.url).status_stream(ID, timeout=LONG)
        assert str(next(stream).status) == "one"
        go.set()
        assert statuses(list(stream)) == ["two", "terminated"]


# ---------------------------------------------------------------------------------------------------------------------
# Chunks
# ---------------------------------------------------------------------------------------------------------------------

# A bit of all: the end of a chunk may fall into any of it.
BODY = (BOM + b":c\r\n\r\nevent: message\r" + line("one", b"\r\r") + b"id:\xc3\xbc\r\n" + line("t\u00fc", b"\r\n\r\n")
        + b'data: {"status":\n\rdata:"no"\r\n\n' + b'data:{"status":"\xf0\x9f\x98\x80",\ndata:"time":"t"}\n\r'
        + b'data:{"status":"four",\r\ndata:"time":"t"}\r\n\r\n' + BOM + word("no") + b"event:x\n" + word("no") + END)
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
        assert listen(api, [stream_head() + BODY[:cut], Pause(0.002), BODY[cut:]]).statuses == WORDS, cut


@pytest.mark.parametrize("kind", ["text/event-stream; charset=utf-8", "Text/Event-Stream", "text/event-stream ;x=y"])
def test_a_content_type_may_have_parameters(api: Api, kind: str) -> None:
    assert listen(api, [answer(word("one") + END, headers=[("Content-Type", kind)])]).statuses == ["one", "terminated"]


# ---------------------------------------------------------------------------------------------------------------------
# Ids
# ---------------------------------------------------------------------------------------------------------------------

def ids(api: Api, *bodies: bytes) -> List[Optional[str]]:
    """The Last-Event-ID that comes after each of these bodies."""
    found = listen(api, *[[stream_head(), body] for body in bodies], [stream_head(), END])
    assert found.statuses[-1] == "terminated" and found.ids[0] is None
    return found.ids[1:]


def test_an_id_is_sent_back_as_last_event_id() -> None:
    def check(api: Api, id: str) -> None:
        assert ids(api, word("one", id=id)) == [id]
        assert ids(api, ("id: %s\n" % id).encode() + word("one")) == [id]

    on_both(check, ["5", "ready", "a b", "a:b", "0", "x" * 200, '"\\<>%0d%0a', "a,b;c=d"])


# Bodies, and the Last-Event-ID that comes after each.
ID_RULES = [
    ("stays until there is another", [word("one", id="1") + word("two"), word("three"), word("four", id="4")],
     ["1", "1", "4"]),
    ("counts from an event without data", [word("one", id="1") + b"id:2\n\n"], ["2"]),
    ("counts from an event of another type", [b"id:3\nevent:other\n" + word("no")], ["3"]),
    ("is the last of an event's", [b"id:1\nid:2\n" + word("one")], ["2"]),
    ("is taken away by an empty one", [word("one", id="1"), word("two", id="")], ["1", None]),
    ("is taken away by a name alone", [word("one", id="1") + b"id\n" + word("two")], [None]),
    ("is none with NUL", [word("one", id="1") + b"id:2\0\n" + word("two")], ["1"]),
    ("is none before its event is complete", [word("one", id="1") + b"id:2\n" + line("no")], ["1"]),
    ("is none where its event never was", [word("one", id="1") + b"id:2\n", word("two")], ["1", "1"]),
]


def test_ids_follow_the_standard() -> None:
    def check(api: Api, row: Any) -> None:
        _, bodies, expected = row
        assert ids(api, *bodies) == expected

    on_both(check, ID_RULES)


def test_an_id_that_a_header_cannot_carry_does_not_harm() -> None:
    def check(api: Api, id: bytes) -> None:
        found = listen(api, [stream_head(), b"id:" + id + b"\n" + word("one")], [stream_head(), word("two") + END])
        assert found.statuses == ["one", "two", "terminated"]
        assert id not in found.requests[1].head

    on_both(check, [b"a\x01b", b"\x7f", b"a\x0bb", b"a\x1b[31m", b"x" * 100000])


def test_an_id_beyond_ascii_goes_back_as_it_came_or_not_at_all(api: Api) -> None:
    [id] = ids(api, word("one", id="é日"))
    assert id is None or id.encode("latin-1") == "é日".encode("utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Retry
# ---------------------------------------------------------------------------------------------------------------------

def gap(api: Api, fields: bytes) -> float:
    """Seconds between an opening with these fields and the next, which its end brings about."""
    found = listen(api, [stream_head(), fields + word("one")], [stream_head(), END])
    return found.requests[1].at - found.requests[0].at


def test_retry_is_how_long_to_stay_away() -> None:
    def check(api: Api, fields: bytes) -> None:
        assert gap(api, fields) >= 0.5

    on_both(check, [b"retry:600\n", b"retry: 600\n", b"retry:600\n\n", b"retry:1\nretry:600\n"])


def test_a_retry_that_is_no_number_is_passed_over() -> None:
    def check(api: Api, value: bytes) -> None:
        assert gap(api, b"retry: " + value + b"\n") < 3.0

    on_both(check, [b"-5000", b"5e3", b"4000ms", b"", b" 4000", b"4000.0", b"+4000", b"0x1000", b"4_000",
                    "٤٠٠٠".encode("utf-8")])


@pytest.mark.slow
def test_a_retry_is_honoured_up_to_5_seconds() -> None:
    def check(api: Api, fields: bytes) -> None:
        assert 4.9 <= gap(api, fields) < 9.0

    on_both(check, [b"retry:5001\n", b"retry:3600000\n", b"retry:" + b"9" * 5000 + b"\n"])


def test_retry_is_no_reason_to_pass_the_deadline() -> None:
    def check(api: Api, fields: bytes) -> None:
        with Server(api.channels([stream_head(), fields + word("one")])) as server:
            stream = api.client(server.url).status_stream(ID, timeout=0.3)
            with pytest.raises(JamsocketTimeout) as caught:
                list(stream)
            assert caught.value.last_state is not None and str(caught.value.last_state.status) == "one"
            assert len([one for one in server.requests if one.target == api.stream_target()]) == 1

    on_both(check, [b"retry:4000\n", b"retry:" + b"9" * 30 + b"\n"])


# ---------------------------------------------------------------------------------------------------------------------
# The order of states
# ---------------------------------------------------------------------------------------------------------------------

def test_each_state_is_yielded_once_in_the_lifecycles_order(api: Api) -> None:
    told = ["loading", "scheduled", "loading", "ready", "ready", "waiting", "starting", "terminating", "ready",
            "terminated"]
    found = listen(api, [stream_head(), *map(word, told)])
    assert found.statuses == ["loading", "ready", "terminating", "terminated"]


def test_a_replay_after_a_reconnection_is_not_yielded_again(api: Api) -> None:
    replay = b"".join(map(word, LIFE[:3]))
    later = b"".join(map(word, LIFE)) + word("terminating") + END
    found = listen(api, [stream_head(), replay], [stream_head(), replay], [stream_head(), later])
    assert found.statuses == LIFE + ["terminating", "terminated"] and len(found.requests) == 3


def test_states_from_the_future_are_yielded_once_each(api: Api) -> None:
    assert heard(api, word("hibernating") + word("waking") + word("hibernating"), word("waking") + word("ready")) == [
        "hibernating", "waking", "ready"]


def test_a_reason_from_the_future_is_kept(api: Api) -> None:
    last = {"status": "terminated", "time": "t", "termination_reason": "bored", "termination_kind": "gentle"}
    with Server(api.channels([stream_head(), event(last)])) as server:
        [state] = api.client(server.url).status_stream(ID, timeout=LONG)
    assert state.to_dict() == last


def test_the_stream_ends_at_terminated_though_the_connection_does_not(api: Api) -> None:
    found = listen(api, [stream_head(), word("ready") + END + word("no"), Silence()])
    assert found.statuses == ["ready", "terminated"] and len(found.requests) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Bounds
# ---------------------------------------------------------------------------------------------------------------------

def padded(size: int, status: str = "big") -> bytes:
    """A data line of so many bytes, its end not counted, with a state in it."""
    start = b'data:{"status":"%s","time":"t","x":"' % status.encode()
    return start + b"x" * (size - len(start) - 2) + b'"}'


def several(sizes: Sequence[int]) -> bytes:
    """An event of data lines of these sizes, a state in all; lines of white space but for the first."""
    return b"".join([padded(sizes[0])] + [b"\ndata:" + b" " * (size - 5) for size in sizes[1:]]) + b"\n\n"


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
    "an event of another type": b"event:other\n" + padded(LIMIT - 6) + b"\ndata:x\n\n" + word("big"),
    "a line of an event that never ends": padded(LIMIT + 1),
}


@pytest.mark.parametrize("name", list(FITTING))
def test_a_line_and_an_event_may_have_128_kib(api: Api, name: str) -> None:
    assert heard(api, word("one") + FITTING[name] + word("two")) == ["one", "big", "two"]


def test_a_line_or_an_event_of_more_is_refused() -> None:
    def check(api: Api, name: str) -> None:
        with Server(api.channels([stream_head(), word("one") + LARGE[name] + END])) as server:
            stream = api.client(server.url).status_stream(ID, timeout=LONG)
            assert str(next(stream).status) == "one"
            with pytest.raises(ProtocolError, match="line|event") as caught:
                list(stream)
            assert server.wait_closed(LONG)
        assert str(LIMIT) in str(caught.value) or "128" in str(caught.value)

    on_both(check, list(LARGE))


def test_what_never_ends_is_refused_and_not_read_on() -> None:
    def check(api: Api, endless: bytes) -> None:
        with Server(api.channels([stream_head(), Repeat(endless)])) as server:
            with pytest.raises(ProtocolError):
                list(api.client(server.url).status_stream(ID, timeout=LONG))
            assert server.wait_closed(LONG)

    on_both(check, [b"x" * 8192, b"data:" + b"x" * 1000 + b"\n", b":" + b"x" * 8192])


def test_the_words_of_a_stream_are_those_of_json(api: Api) -> None:
    """Escapes in an event mean what they mean in JSON."""
    assert heard(api, event(json.dumps({"status": "ü\n\u2028\"", "time": "t"}))) == ["ü\n\u2028\""]
