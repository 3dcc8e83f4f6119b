"""A page of another origin can read whatever the local platform answers, as with the platforms; and
it can start nothing."""

from typing import Callable, Dict

import pytest

from kit.backends import DEAF, LEAVING, POLITE, SHOUTING, STUBBORN, python
from kit.platforms import Api
from kit.raw import (Answer, Stream, asking, call, connect, request_for, spawn, status_url,
                     stream_url, terminate)
from local.local_platform import LocalPlatform

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

NONE = ["/nonexistent"]
PAGE = {"Origin": "https://page.test"}


def readable(answer: Answer) -> bool:
    return answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]


API_CALLS: Dict[str, Callable[[LocalPlatform], Answer]] = {
    "connect": lambda platform: connect(platform, request_for(platform)),
    "a connect that is no JSON": lambda platform: connect(platform, b"{"),
    "a connect of the wrong shape": lambda platform: connect(platform, b"[]"),
    "a connect that fails": lambda platform: connect(platform, request_for(platform, user="\0")),
    "status": lambda platform: call(spawn(platform)[0]["status_url"], headers=PAGE),
    "the status of nobody": lambda platform: call(status_url(platform, "nobody"), headers=PAGE),
    "terminate": lambda platform: terminate(platform, spawn(platform)[1].id),
    "a path that is none": lambda platform: call(platform.url + "/v2/x", headers=PAGE),
    "a method that is none": lambda platform: call(platform.url, "BREW", headers=PAGE),
}


@pytest.mark.parametrize("name", list(API_CALLS))
def test_every_answer_of_the_api_is_readable(api: Api, name: str) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane) as platform:
        assert readable(API_CALLS[name](platform))


def test_a_refused_token_is_readable() -> None:
    with LocalPlatform(NONE) as platform:
        answer = connect(platform, headers=PAGE)
        assert (answer.status, readable(answer)) == (401, True)


def test_a_type_that_plane_does_not_take_is_readable() -> None:
    with LocalPlatform(NONE, plane=True) as platform:
        answer = connect(platform, headers=PAGE)
        assert (answer.status, readable(answer)) == (415, True)


@pytest.mark.parametrize("request_, status", [
    (b"POST /%s HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n", b"413"),
    (b"GET /%s HTTP/1.1\r\nX: " + b"x" * 70000 + b"\r\n\r\n", b"431"),
], ids=["413", "431"])
def test_what_is_no_request_to_it_is_answered_readably(request_: bytes, status: bytes) -> None:
    request_ = request_.replace(b"%s", b"v2/x")
    with LocalPlatform(NONE) as platform, asking(platform, request_) as sock:
        received = b"".join(iter(lambda: sock.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in received


def test_a_stream_is_readable(api: Api) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane) as platform:
        _, backend = spawn(platform)
        with Stream(stream_url(platform, backend.id), PAGE) as stream:
            assert stream.response.headers["Access-Control-Allow-Origin"] == "*"


# -------------------------------------------------------------------------------------------------
# The proxy
# -------------------------------------------------------------------------------------------------

def allows_all(answer: Answer) -> bool:
    allowed = {name: answer.headers["Access-Control-Allow-" + name]
               for name in ("Origin", "Methods", "Headers")}
    return allowed == {"Origin": "*", "Methods": "*", "Headers": "*, Authorization"}


def test_what_a_backend_answers_is_readable(api: Api) -> None:
    with LocalPlatform(python(SHOUTING), plane=api.plane) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        assert allows_all(call(answer["url"], headers=PAGE))


OWN = POLITE.replace("while True: signal.pause()", r"""
while True:
    c, _ = s.accept()
    if c.recv(65536): c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n'
                                b'Access-Control-Allow-Origin: https://mine.test\r\n\r\n')
    c.close()
""")


def test_a_backend_may_have_its_own_mind(api: Api) -> None:
    with LocalPlatform(python(OWN), plane=api.plane) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        headers = call(answer["url"], headers=PAGE).headers
        assert headers.get_all("Access-Control-Allow-Origin") == ["https://mine.test"]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_the_410_of_an_ended_backend_is_readable(api: Api, method: str) -> None:
    with LocalPlatform(NONE, plane=api.plane) as platform:
        answer, backend = spawn(platform)
        backend.wait("terminated")
        gone = call(answer["url"], method, headers=PAGE)
        assert (gone.status, allows_all(gone)) == (410, True)


def test_the_410_of_a_terminating_backend_is_readable(api: Api) -> None:
    with LocalPlatform(python(STUBBORN), plane=api.plane, grace=600) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        terminate(platform, backend.id)
        backend.wait("terminating")
        gone = call(answer["url"], headers=PAGE)
        assert (gone.status, allows_all(gone)) == (410, True)


def test_the_410_of_nobody_is_readable(api: Api) -> None:
    with LocalPlatform(plane=api.plane) as platform:
        gone = call(platform.url + "/nobody/", headers=PAGE)
        assert (gone.status, allows_all(gone)) == (410, True)


def test_the_502_of_a_backend_that_hung_up_is_readable(api: Api) -> None:
    with LocalPlatform(python(LEAVING), plane=api.plane) as platform:
        answer, backend = spawn(platform, env={"CODE": "0"})
        backend.wait("ready")
        failed = call(answer["url"], headers=PAGE)
        assert (failed.status, allows_all(failed)) == (502, True)


# -------------------------------------------------------------------------------------------------
# What no page can do
# -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}], ids=str)
def test_no_page_can_start_a_process_without_a_preflight(
        api: Api, headers: Dict[str, str]) -> None:
    with LocalPlatform(NONE, plane=api.plane) as platform:
        answer = connect(platform, request_for(platform), {**headers, **PAGE})
        assert answer.status == (415 if api.plane else 401)


def test_no_preflight_lets_a_page_connect(api: Api) -> None:
    with LocalPlatform(NONE, plane=api.plane) as platform:
        url = platform.url + ("/ctrl/connect" if api.plane else "/v2/service/-/-/connect")
        headers = call(url, "OPTIONS", headers=PAGE).headers
        assert "Access-Control-Allow-Headers" not in headers
