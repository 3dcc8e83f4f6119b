"""A server that repeats a secret in any spelling: its words are left out, and the rest stays."""

import html
import json
import re
from typing import Any, Callable, Dict, Sequence, Tuple
from urllib.parse import quote, quote_plus

import pytest

from jamsocket_lite import ConnectResponse, HTTPError, Jamsocket, Plane
from kit.platforms import ID, IMAGE, JAMSOCKET, PLANE
from kit.server import Request, Server, Step, answer

pytestmark = pytest.mark.usefixtures("nothing_left")

# One that every spelling below changes somewhere.
SECRET = "Zq1w2e3/r+4 t\"5&y<6'u\\7%i8é9K0x/Vb7n8m9"
PLAIN = "Zq1w2e3-r4.t5y6_u7i8K0x-Vb7n8m9"  # where a secret may hold no more than this

SPELLINGS: Dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded but for slashes": quote,
    "percent-encoded in small letters": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), quote(text, safe="")
    ),
    "as in a form": quote_plus,
    "twice percent-encoded": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON with letters beyond ASCII": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON twice": lambda text: json.dumps(json.dumps(text)),
    "HTML": html.escape,
    "HTML with slashes as numbers": lambda text: html.escape(text).replace("/", "&#x2F;"),
    "HTML by numbers": lambda text: re.sub(r"\W", lambda found: "&#%d;" % ord(found[0]), text),
    "HTML twice": lambda text: html.escape(html.escape(text)),
    "Python": repr,
    "escapes in hexadecimal": lambda text: re.sub(
        r"\W", lambda found: "\\x%02x" % ord(found[0]), text
    ),
    "a shell's": lambda text: "'" + text.replace("'", "'\\''") + "'",
    "capitals": str.upper,
    "small letters": str.lower,
    "its first half": lambda text: text[: len(text) // 2],
    "its second half": lambda text: text[len(text) // 2 :],
    "in quotation": lambda text: "“%s”" % text,
    "within a word": lambda text: "x%sx" % text,
    "with a mark in it": lambda text: text[:12] + "\u200b" + text[12:],
}


def runs(secret: str) -> Sequence[str]:
    """The parts of a secret that no text may hold: six letters and digits in a row."""
    return [
        part[at : at + 6].lower()
        for part in re.findall("[0-9A-Za-z]{6,}", secret)
        for at in range(len(part) - 5)
    ]


def texts(error: Any) -> str:
    return "%s %r %r" % (error, error, vars(error))


def refused(call: Callable[[str], Any], steps: Any) -> HTTPError:
    with Server(steps) as server:
        with pytest.raises(HTTPError) as caught:
            call(server.url)
    return caught.value


def refusal(message: str, code: str = "TEAPOT", id: str = "r1") -> Sequence[Step]:
    return [answer({"error": {"message": message, "status": 418, "code": code, "id": id}}, 418)]


def with_auth(secret: str) -> Callable[[str], Any]:
    def call(url: str) -> Any:
        return Jamsocket("a", "s", "key", api_url=url).connect({"auth": {"password": secret}})

    return call


def answered(**changes: str) -> Callable[[str], Any]:
    """A status call for an answer with such a field."""

    def call(url: str) -> Any:
        fields = {**JAMSOCKET.document(url), **changes}
        return Jamsocket("a", "s", "key", api_url=url).status(ConnectResponse.from_dict(fields))

    return call


def with_header(name: str, value: str) -> Callable[[str], Any]:
    return lambda url: Plane(url, image=IMAGE, headers={name: value}).status(ID)


@pytest.mark.parametrize("spelling", list(SPELLINGS))
def test_no_spelling_of_a_secret_is_shown(spelling: str) -> None:
    message = "the zebra does not know %s here" % SPELLINGS[spelling](SECRET)
    error = refused(with_auth(SECRET), refusal(message))
    shown = texts(error).lower()
    assert not [run for run in runs(SECRET) if run in shown]
    assert "zebra" not in shown, "what holds a secret is left out as a whole"
    assert (error.status, error.code, error.request_id) == (418, "TEAPOT", "r1")


# Where a call has its secrets from.
SOURCES: Dict[str, Callable[[str], Any]] = {
    "the token": lambda url: Jamsocket("a", "s", PLAIN, api_url=url).terminate(ID),
    "a value of auth": with_auth(PLAIN),
    "a value deep in auth": lambda url: Jamsocket("a", "s", "key", api_url=url).connect(
        {"auth": {"a": [{"b": [1, PLAIN]}]}}
    ),
    "a value of env": lambda url: Jamsocket("a", "s", "key", api_url=url).connect(
        {"spawn": {"executable": {"env": {"NAME": PLAIN}}}}
    ),
    "a line of env": lambda url: Jamsocket("a", "s", "key", api_url=url).connect(
        {"spawn": {"executable": {"env": {"NAME": "first\n%s\nlast" % PLAIN}}}}
    ),
    "the answer's token": answered(token=PLAIN),
    "the answer's secret token": answered(secret_token=PLAIN),
    "the url's path": answered(url="https://h.test/%s/" % PLAIN),
    "the url's query": answered(url="https://h.test/?token=" + PLAIN),
    "the url's second parameter": answered(url="https://h.test/?a=b&token=%s&c=d" % PLAIN),
    "the url's fragment": answered(url="https://h.test/#" + PLAIN),
    "the ready url's path": answered(ready_url="https://h.test/_r/" + PLAIN),
    "the ready url's query": answered(ready_url="https://h.test/_r?t=" + PLAIN),
    "a bearer's token": with_header("Authorization", "Bearer " + PLAIN),
    "basic credentials": with_header("Authorization", "Basic " + PLAIN),
    "a header": with_header("X-Api-Key", PLAIN),
    "a cookie": with_header("Cookie", "session=" + PLAIN),
    "a cookie among others": with_header("Cookie", "theme=dark; session=%s; lang=en" % PLAIN),
}


@pytest.mark.parametrize("spelling", ["as it is", "capitals", "its second half", "within a word"])
@pytest.mark.parametrize("source", list(SOURCES))
def test_every_secret_that_a_call_knows_is_looked_for(source: str, spelling: str) -> None:
    told = SPELLINGS[spelling](PLAIN)
    for steps in (
        refusal("no: " + told, told, told),
        [answer(("no: " + told).encode(), 418, [("Content-Type", "text/plain")])],
        [answer({"id": told, "kind": told, "message": told}, 418)],
    ):
        shown = texts(refused(SOURCES[source], steps)).lower()
        assert not [run for run in runs(PLAIN) if run in shown]


@pytest.mark.parametrize("credentials", ["%s", "%s:", "user:%s", "%s:x"])
def test_a_proxys_credentials_are_secret_whichever_they_are(
    credentials: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With some of them the user's name is the key."""
    told = "407: no such user: " + PLAIN
    with Server([answer(told.encode(), 407, [("Content-Type", "text/plain")])]) as proxy:
        address = proxy.url.replace("//", "//%s@" % (credentials % PLAIN))
        monkeypatch.setenv("http_proxy", address)
        with pytest.raises(HTTPError) as caught:
            Jamsocket("a", "s", "key", api_url="http://h.test").status(ID)
        assert proxy.requests
    shown = texts(caught.value).lower()
    assert not [run for run in runs(PLAIN) if run in shown]


# -------------------------------------------------------------------------------------------------
# Secrets without six letters in a row, and what is none
# -------------------------------------------------------------------------------------------------

SHORT = ["k3y!", "a-b-c-d", "pass?", "12 34 56", "ab/cd/ef", "日本語です"]


@pytest.mark.parametrize("secret", SHORT)
def test_a_short_secret_is_left_out_as_a_whole(secret: str) -> None:
    error = refused(with_auth(secret), refusal("the zebra knows no '%s'" % secret))
    assert secret not in texts(error) and "zebra" not in texts(error)


@pytest.mark.parametrize("where", ["code", "id"])
def test_a_code_or_id_that_holds_a_secret_is_left_out(where: str) -> None:
    told: Dict[str, str] = {where: "x-%s-y" % PLAIN}
    error = refused(with_auth(PLAIN), refusal("the zebra stays", **told))
    assert "the zebra stays" in str(error)
    assert not [run for run in runs(PLAIN) if run in texts(error).lower()]
    assert (error.request_id if where == "code" else error.code) == (
        "r1" if where == "code" else "TEAPOT"
    )


def test_the_text_says_that_something_was_left_out() -> None:
    silent = refused(with_auth(PLAIN), refusal(""))
    hidden = refused(with_auth(PLAIN), refusal("no: " + PLAIN))
    assert str(hidden) != str(silent) and len(str(hidden)) > len(str(silent))


NO_SECRETS: Dict[str, Tuple[Callable[[str], Any], str]] = {
    "five letters of one": (with_auth("abcdefgh1234"), "abcde is not 1234"),
    "three characters": (with_auth("abc"), "abc is unknown"),
    "a key of auth": (
        lambda url: Jamsocket("a", "s", "key", api_url=url).connect({"auth": {"administrator": 1}}),
        "no administrator",
    ),
    "a boolean": (
        lambda url: Jamsocket("a", "s", "key", api_url=url).connect({"auth": {"a": True}}),
        "this is not true",
    ),
    "nothing": (
        lambda url: Jamsocket("a", "s", "key", api_url=url).connect({"auth": {"a": None, "b": ""}}),
        "None of null",
    ),
    "the name of a variable": (
        lambda url: Jamsocket("a", "s", "key", api_url=url).connect(
            {"spawn": {"executable": {"env": {"DATABASE_URL": "zzzzzzzzz"}}}}
        ),
        "DATABASE_URL is reserved",
    ),
    "Bearer": (with_header("Authorization", "Bearer " + PLAIN), "Bearer token is missing"),
    "Basic": (with_header("Authorization", "Basic " + PLAIN), "Basic credentials, please"),
    "a header's name": (with_header("X-Api-Key", PLAIN), "no X-Api-Key here"),
}


@pytest.mark.parametrize("name", list(NO_SECRETS))
def test_what_is_no_secret_is_shown(name: str) -> None:
    call, message = NO_SECRETS[name]
    assert message in str(refused(call, refusal(message)))


def test_each_call_of_plane_knows_its_headers() -> None:
    def telling(request: Request) -> Sequence[Step]:
        return [answer({"id": "i", "kind": "k", "message": request.header("Cookie")}, 418)]

    with Server(telling) as server:
        client = Plane(server.url, image=IMAGE, headers={"Cookie": "s=" + PLAIN})
        known = ConnectResponse.from_dict(PLANE.document(server.url))
        for call in (client.connect, lambda: client.status(known), lambda: client.terminate(known)):
            with pytest.raises(HTTPError) as caught:
                call()
            assert not [run for run in runs(PLAIN) if run in texts(caught.value).lower()]
