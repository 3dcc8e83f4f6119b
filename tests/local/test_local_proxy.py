"""The url of a connect answer: what the proxy hands on, and what it says itself."""

import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import Iterator, Tuple

import pytest

from kit.backends import CRASHING, DEAF, LISTEN, SHOUTING, Gate, python
from kit.deadlines import LONG
from kit.platforms import Api
from kit.raw import call, opened, spawn, terminate, upgraded, watcher
from local.local_platform import Backend, LocalPlatform

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]


@pytest.fixture
def shouting(nothing_left: None, api: Api) -> Iterator[Tuple[Backend, str]]:
    """A backend that repeats what it was sent, and its url."""
    with LocalPlatform(python(SHOUTING), plane=api.plane) as platform:
        answer, backend = spawn(platform, user="ü", auth={"role": "ä"})
        backend.wait("ready")
        yield backend, answer["url"]


def test_a_request_is_passed_on_without_the_token(shouting: Tuple[Backend, str]) -> None:
    answer = call(shouting[1] + "a/b?c=d", "PATCH", b"hello", {"X-Mine": "1"})
    head = answer.body.decode().split("\r\n")
    assert head[0] == "PATCH /a/b?c=d HTTP/1.1" and answer.body.endswith(b"\n\nHELLO")
    assert "X-Mine: 1" in head
    assert (answer.status, answer.headers["X-Mine"]) == (200, "1")
    assert answer.headers["Connection"] == "close"


def test_the_backend_is_told_who_comes(shouting: Tuple[Backend, str]) -> None:
    backend, url = shouting
    head = call(url + "x?y").body.decode().partition("\n\n")[0].split("\r\n")
    assert "X-Verified-Backend: " + backend.id in head
    assert "X-Verified-Username: ü" in head
    assert 'X-Verified-User-Data: {"role":"ä"}' in head  # raw UTF-8
    assert "X-Verified-Path: /%s/x" % url.split("/")[3] in head
    assert any(line.startswith("X-Verified-Secret: ") for line in head)


def test_nobody_can_forge_who_comes(shouting: Tuple[Backend, str]) -> None:
    assert b"forged" not in call(shouting[1], headers={"X-Verified-Backend": "forged"}).body


def test_a_user_that_no_header_can_hold_is_left_out() -> None:
    with LocalPlatform(python(SHOUTING)) as platform:
        answer, backend = spawn(platform, user="u\r\nX-Evil: 1")
        backend.wait("ready")
        head = call(answer["url"]).body
        assert b"X-Verified-Username" not in head and b"X-Evil" not in head
        assert b"X-Verified-User-Data: {}" in head


def test_a_url_works_without_its_last_slash(shouting: Tuple[Backend, str]) -> None:
    assert call(shouting[1][:-1] + "?q").body.startswith(b"GET /?q HTTP/1.1")


def test_a_large_body_is_passed_on(shouting: Tuple[Backend, str]) -> None:
    assert call(shouting[1], "POST", b"x" * 3000000).body.count(b"X") >= 3000000


def test_a_chunked_body_is_passed_on(shouting: Tuple[Backend, str]) -> None:
    connection, path = opened(shouting[1])
    connection.request("POST", path, iter([b"one", b"two"]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    body = connection.getresponse().read()
    connection.close()
    assert body.endswith(b"\n\n3\r\nONE\r\n3\r\nTWO\r\n0\r\n\r\n")


def test_an_upgraded_connection_is_a_tunnel(shouting: Tuple[Backend, str]) -> None:
    with upgraded(shouting[1]) as tunnel:
        for word in (b"one", b"two"):
            tunnel.sendall(word)
            assert tunnel.recv(100) == word.upper()


LATE = LISTEN + """
gate = socket.create_connection(('127.0.0.1', int(os.environ['GATE'])))
gate.recv(1)
s.listen(5)
while True:
    c, _ = s.accept()
    if c.recv(65536): c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nlate')
    c.close()
"""


def test_a_request_before_ready_is_held_until_then(api: Api) -> None:
    with watcher() as (listener, port), LocalPlatform(python(LATE), plane=api.plane) as platform:
        answer, backend = spawn(platform, env={"GATE": port})
        gate, _ = listener.accept()
        with gate, ThreadPoolExecutor(1) as pool:
            asked = pool.submit(call, answer["url"])
            with pytest.raises(NotYet):
                asked.result(0.2)
            gate.sendall(b"!")
            assert (asked.result(LONG).status, asked.result().body) == (200, b"late")


def test_a_request_before_a_crash_is_410(api: Api) -> None:
    with Gate() as gate, LocalPlatform(gate.command, plane=api.plane) as platform:
        answer, backend = spawn(platform)
        backend.wait("waiting")
        timer = threading.Timer(0.1, gate.crash)
        timer.start()
        assert call(answer["url"]).status == 410
        timer.join()


def test_a_backend_that_crashed_is_410(api: Api) -> None:
    with LocalPlatform(python(CRASHING), plane=api.plane) as platform:
        answer, backend = spawn(platform)
        backend.wait("terminated")
        assert call(answer["url"]).status == 410


def test_a_backend_that_was_ended_is_410(api: Api) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane) as platform:
        answer, backend = spawn(platform)
        backend.wait("waiting")
        terminate(platform, backend.id, hard=True)
        backend.wait("terminated")
        assert call(answer["url"]).status == 410


def test_a_url_of_nobody_is_410(api: Api) -> None:
    with LocalPlatform(plane=api.plane) as platform:
        assert call(platform.url + "/nobody/").status == 410
