"""What a server says, with every character that is more than text to a terminal or a log, through
every output.
"""

import json
import unicodedata
from typing import Any, Dict, List, Optional, Sequence

import pytest

import jamsocket_lite
from kit.deadlines import patiently
from kit.server import Server, Step, answer
from kit.shell import Inside, answering, is_one_error_line, on_terminal, stream_of, towards
from kit.platforms import ID, JAMSOCKET, state

# What is no text: C0, DEL and C1 (escapes among them), line separators, marks that turn or hide
# text, byte-order marks, halves of a surrogate pair, what is in private use or stands for nothing.
RANGES = "00-1f 7f-9f ad 61c 200b-200f 2028-202e 2060 2066-2069 dc9b d800 e000 feff fff9 ffff e0001"
ENDS = [[int(end, 16) for end in one.split("-")] for one in RANGES.split()]
ODD = [chr(code) for ends in ENDS for code in range(ends[0], ends[-1] + 1)]
ESCAPES = (
    "\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2J\x9b31mred\rback\n\nline\u2028\u202egnp.exe\u202c"
)
WORDS = "one%stwo %s" % ("".join(ODD), ESCAPES)


def is_visible(text: str) -> bool:
    """Nothing in it but what is seen, spaces, and the ends of lines."""
    return all(character == "\n" or character.isprintable() for character in text)


def is_plain_json(text: str) -> bool:
    """Lines of JSON in visible ASCII."""
    return bool(text) and all(
        line and line.isascii() and line.isprintable() and json.loads(line)
        for line in text.splitlines()
    )


def refusal(**more: str) -> List[Step]:
    error = {"message": "no", "status": 418, "code": "TEAPOT", "id": "r1", **more}
    return [answer({"error": error}, 418)]


def raw(head: str, body: bytes = b"") -> List[Step]:
    return [
        ("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (head, len(body))).encode("utf-8", "replace")
        + body
    ]


HEADER = "".join(
    character
    for character in WORDS
    if character not in "\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\ud800\udc9b"
)
PLAIN = ("Content-Type", "text/plain; charset=utf-8")

# Where in an error's answer the words may stand.
ANSWERS: Dict[str, Sequence[Step]] = {
    "message": refusal(message=WORDS),
    "code": refusal(code=WORDS),
    "request id": refusal(id=WORDS),
    "all of them": refusal(message=WORDS, code=WORDS, id=WORDS),
    "Plane's kind": [answer({"id": WORDS, "kind": WORDS, "message": WORDS}, 500)],
    "plain text": [answer(WORDS.encode("utf-8", "replace"), 500, [PLAIN])],
    "plain text without a type": [answer(WORDS.encode("utf-8", "replace"), 500)],
    "bytes that are no text": [answer(bytes(range(256)), 500, [PLAIN])],
    "the reason": raw("500 " + HEADER),
    "a redirect": raw("302 Found\r\nLocation: http://h.test/" + HEADER),
    "a redirect's host": raw("302 Found\r\nLocation: http://" + HEADER),
    "the type": raw("200 OK\r\nContent-Type: " + HEADER, b"{"),
    "the first line": [WORDS.encode("utf-8", "replace") + b"\r\n\r\n"],
    "a document": [answer({WORDS: WORDS})],
    "no document": [answer(json.dumps(WORDS).encode())],
    "a status": [answer({"status": 5, "time": WORDS})],
}


@pytest.mark.parametrize("where", list(ANSWERS))
def test_an_error_shows_a_servers_words_as_text(where: str, inside: Inside) -> None:
    with Server(ANSWERS[where]) as server:
        done = inside("status", ID, env=towards(server))
    assert (done.status, done.text) == (1, "")
    assert is_one_error_line(done.errors) and is_visible(done.errors), ascii(done.errors)


@pytest.mark.parametrize(
    "where", ["message", "code", "request id", "plain text", "the reason", "a redirect's host"]
)
def test_an_exception_holds_a_servers_words_as_text(where: str) -> None:
    with Server(ANSWERS[where]) as server:
        with pytest.raises(jamsocket_lite.JamsocketError) as caught:
            jamsocket_lite.Jamsocket("a", "s", "token", api_url=server.url).status(ID)
    texts = [
        str(caught.value),
        *map(str, caught.value.args),
        str(getattr(caught.value, "code", "")),
        str(getattr(caught.value, "request_id", "")),
    ]
    assert all(text.isprintable() for text in texts), ascii(texts)


def test_what_is_text_in_a_message_stays(inside: Inside) -> None:
    with Server(refusal(message="Größe: 10 € — 日本 😀")) as server:
        with pytest.raises(jamsocket_lite.HTTPError, match="Größe: 10 € — 日本 😀"):
            jamsocket_lite.Jamsocket("a", "s", "token", api_url=server.url).status(ID)


# -------------------------------------------------------------------------------------------------
# States and answers
# -------------------------------------------------------------------------------------------------

ODD_STATES: Dict[str, Dict[str, Any]] = {
    "an unknown status": state(WORDS),
    "a time": {"status": "loading", "time": WORDS},
    "a reason": state("terminated", termination_reason=WORDS),
    "a kind": state("terminated", termination_kind=WORDS),
}


@pytest.mark.parametrize("where", list(ODD_STATES))
def test_a_state_is_printed_as_plain_json(where: str, inside: Inside) -> None:
    told = ODD_STATES[where]
    with answering(status=[answer(told)]) as server:
        done = inside("status", ID, env=towards(server))
    assert (
        (done.status, done.errors) == (0, "")
        and is_plain_json(done.text)
        and json.loads(done.text) == told
    )


@pytest.mark.parametrize("where", list(ODD_STATES))
def test_a_stream_is_printed_as_a_line_of_plain_json_each(where: str, inside: Inside) -> None:
    told, last = ODD_STATES[where], state("terminated")
    states = [told] if told["status"] == "terminated" else [told, last]
    with answering(status=[answer(state("scheduled"))], stream=stream_of(*states)) as server:
        done = inside("stream", ID, env=towards(server))
    assert done.status == 0 and is_plain_json(done.text)
    lines = [json.loads(line) for line in done.text.splitlines()]
    assert [line for line in lines if line["status"] != "scheduled"] == states


@pytest.mark.parametrize("where", list(ODD_STATES))
def test_progress_shows_a_servers_words_as_text(where: str, inside: Inside) -> None:
    told = ODD_STATES[where]
    ready = [state("ready")] if told["status"] != "terminated" else []
    with answering(
        status=[answer(ready[0] if ready else told)],
        stream=stream_of(told, *ready),
        backend_id="b\x1b[31m\u202e1\n2",
    ) as server:
        done = inside("connect", "--wait", env=towards(server))
        assert done.status == (0 if ready else 5) and is_visible(done.errors), ascii(done.errors)
        if ready:
            assert is_plain_json(done.text)
            assert json.loads(done.text) == {
                **JAMSOCKET.document(server.url),
                "backend_id": "b\x1b[31m\u202e1\n2",
            }


def test_a_terminal_gets_no_control_character_but_our_own() -> None:
    with answering(stream=stream_of(state(WORDS), state("ready")), backend_id=WORDS[:80]) as server:
        status, out, shown = on_terminal(["connect", "--wait"], towards(server))
    assert status == 0 and is_plain_json(out.decode())
    assert is_visible(shown.replace("\r", "").replace("\x1b[K", "")), ascii(shown)


@pytest.mark.parametrize("stage", ["refused", "ended", "late"])
def test_an_id_in_an_error_is_text(stage: str, inside: Inside) -> None:
    stream: Optional[Sequence[Step]] = (
        None
        if stage == "refused"
        else stream_of(state("terminated") if stage == "ended" else state("loading"))
    )
    status = (
        refusal()
        if stage == "refused"
        else [answer(state("terminated" if stage == "ended" else "loading"))]
    )
    with answering(
        status=status, stream=refusal() if stream is None else stream, backend_id="seen" + WORDS
    ) as server:
        def check(timeout: float) -> None:  # in which the connect has to be answered
            seconds = str(2 * timeout) if stage == "late" else "20"
            done = inside("connect", "--wait", "--quiet", "--timeout", seconds, env=towards(server))
            assert done.status == {"refused": 1, "ended": 5, "late": 4}[stage] and done.text == ""
            assert is_one_error_line(done.errors) and is_visible(done.errors)
            assert "seen" in done.errors

        patiently(check)


@pytest.mark.parametrize(
    "where", ["backend_id", "token", "secret_token", "url", "status_url", "ready_url"]
)
def test_an_answer_is_printed_as_plain_json(where: str, inside: Inside) -> None:
    changes: Dict[str, Any] = {where: WORDS}
    with answering(**changes) as server:
        done = inside("connect", env=towards(server))
        assert (done.status, done.errors) == (0, "") and is_plain_json(done.text)
        assert json.loads(done.text) == {**JAMSOCKET.document(server.url), where: WORDS}


# -------------------------------------------------------------------------------------------------
# --format url
# -------------------------------------------------------------------------------------------------

NO_URLS = [
    "",
    " ",
    "https://h.test/a b",
    "https://h.test/\n",
    "\nhttps://h.test/",
    "https://h.test/\r\nhttps://x.test/",
    "https://h.test/\x1b[31m",
    "https://h.test/\x07",
    "https://h.test/\x7f",
    "https://h.test/\x9b31m",
    "https://h.test/café/",
    "https://h.test/\u202e",
    "https://h.test/\u2028",
    "https://h.test/\ud800",
    "https://bücher.test/",
    "/relative/",
    "//h.test/",
    "h.test/x",
    "ftp://h.test/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "javascript://h.test/",
    "data:text/html,x",
    "https:",
    "https://",
    "https:///x",
    "-https://h.test/",
    "--help",
]


@pytest.mark.parametrize("url", NO_URLS, ids=ascii)
def test_what_is_no_url_is_not_printed_as_one(url: str, inside: Inside) -> None:
    """A shell takes what is printed for one word, and a terminal for what it says."""
    with answering(url=url) as server:
        done = inside("connect", "--format", "url", env=towards(server))
    assert (done.status, done.text) == (1, "")
    assert is_one_error_line(done.errors) and is_visible(done.errors) and ID in done.errors


URLS = [
    "https://h.test/s3kret/",
    "http://127.0.0.1:8080/s3kret",
    "HTTPS://H.Test/Path",
    "https://h.test",
    "https://h.test:443/",
    "http://[::1]:8080/x/",
    "https://h.test/%0a%1b?q=%00&x=1#fragment",
    "https://h.test/caf%C3%A9/",
    "https://h.test/~!$&'()*+,;=:@/-._",
    "https://h.test/?token=s3kret",
    "https://h.test/a//b/../c",
    "https://h.test/" + "x" * 5000,
]


@pytest.mark.parametrize("url", URLS, ids=lambda url: str(url)[:40])
def test_a_url_is_printed_as_it_came(url: str, inside: Inside) -> None:
    with answering(url=url) as server:
        done = inside("connect", "--format", "url", env=towards(server))
    assert (done.status, done.text, done.errors) == (0, url + "\n", "")


def test_with_json_any_url_is_printed(inside: Inside) -> None:
    """What is no url for a shell is still the answer, for who wants to see it."""
    with answering(url="") as server:
        done = inside("connect", env=towards(server))
        assert (done.status, done.errors) == (0, "") and json.loads(done.text) == {
            **JAMSOCKET.document(server.url),
            "url": "",
        }


def test_all_odd_characters_are_odd() -> None:
    """What the tests above stand on."""
    assert not any(character.isprintable() for character in ODD)
    assert {unicodedata.category(character) for character in ODD} >= {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
    }
