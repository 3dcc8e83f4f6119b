"""What the local platform answers to a connect request, and what it hands on to the process."""

import http.client
import socket
import sys
from pathlib import Path
from typing import Dict, List, Optional

import pytest

from kit.backends import LISTEN, POLITE, python
from kit.deadlines import LONG
from kit.platforms import Api
from kit.raw import CONNECT, DEV, JSON, call, connect, request_for, spawn, terminate
from local.local_platform import LocalPlatform

# The tests' own tools change seldom, so `make test` goes without; `make test-slow` has them.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

COMMON = {"backend_id", "spawned", "status", "token", "url", "status_url", "secret_token"}
NONE = ["/nonexistent"]  # a command whose backends end at once


def test_the_dev_servers_answer() -> None:
    with LocalPlatform(python(POLITE)) as platform:
        answer, backend = spawn(platform)
        assert set(answer) == COMMON | {"ready_url"}
        assert (answer["spawned"], answer["status"], answer["ready_url"]) == (True, "scheduled", "")
        assert answer["status_url"] == "%s/v2/backend/%s/status" % (platform.url, backend.id)
        assert answer["url"] == "%s/%s/" % (platform.url, answer["token"])


def test_planes_answer_names_its_drone_and_no_subdomain() -> None:
    with LocalPlatform(python(POLITE), plane=True) as platform:
        answer, backend = spawn(platform)
        assert set(answer) == COMMON | {"subdomain", "drone"}
        assert (answer["spawned"], answer["status"]) == (True, "scheduled")
        assert (answer["subdomain"], answer["drone"]) == (None, "dr-local")
        assert answer["status_url"] == "%s/pub/b/%s/status" % (platform.url, backend.id)


def test_the_dev_server_sends_its_answer_in_chunks_and_plane_with_a_length(api: Api) -> None:
    with LocalPlatform(NONE, plane=api.plane) as platform:
        headers = connect(platform, request_for(platform)).headers
        assert ("Content-Length" in headers) is api.plane
        assert (headers["Transfer-Encoding"] == "chunked") is not api.plane


def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    with LocalPlatform(NONE) as platform:
        with socket.create_connection(("127.0.0.1", platform.port), LONG) as sock:
            sock.sendall(b"POST %s HTTP/1.0\r\nAuthorization: Bearer -\r\n\r\n" % CONNECT.encode())
            received = b"".join(iter(lambda: sock.recv(65536), b""))
        assert b"chunked" not in received and received.endswith(b"}")


def test_the_urls_are_those_by_which_the_client_came() -> None:
    with LocalPlatform(NONE) as platform:
        answer = connect(platform, headers={**DEV, "Host": "example.test:1"}).json
        assert answer["status_url"].startswith("http://example.test:1/v2/")
        assert answer["url"].startswith("http://example.test:1/")


def test_a_host_header_that_is_no_host_makes_no_url() -> None:
    with LocalPlatform(NONE) as platform:
        answer = connect(platform, headers={**DEV, "Host": "a b/c"}).json
        assert answer["url"].startswith(platform.url)


@pytest.mark.parametrize("host, said", [("0.0.0.0", "http://0.0.0.0:%d/pub/b/"),
                                        ("", "http://0.0.0.0:%d/pub/b/"),
                                        ("::", "http://[::]:%d/pub/b/")])
def test_a_plane_that_was_not_told_its_url_says_what_it_is_bound_to(host: str, said: str) -> None:
    try:
        platform = LocalPlatform(NONE, plane=True, host=host)
        platform.start()
    except OSError:
        pytest.skip("no IPv6 here")
    try:
        answer = connect(platform, request_for(platform)).json
        assert answer["status_url"].startswith(said % platform.port)
        assert answer["url"].startswith(platform.url)  # the proxy knows where it is
    finally:
        platform.close()


def test_a_plane_that_was_told_its_url_drops_the_path() -> None:
    with LocalPlatform(NONE, plane=True, controller_url="https://planes.test:1/plane/") as platform:
        answer, backend = spawn(platform)
        assert answer["status_url"] == "https://planes.test:1/pub/b/%s/status" % backend.id


def test_the_backend_of_its_own_says_who_it_is() -> None:
    with LocalPlatform() as platform:
        answer, backend = spawn(platform, key="a room")
        backend.wait("ready")
        greeting = call(answer["url"]).body.decode()
        assert backend.id in greeting and '"a room"' in greeting
        terminate(platform, backend.id)
        backend.wait("terminated")
        assert backend.states[-2]["status"] == "terminating"


SAYING = LISTEN + """
s.listen(5)
names = 'SESSION_BACKEND_ID', 'SESSION_BACKEND_KEY', 'GREETING', 'JAMSOCKET_SERVICE'
with open(os.environ['TO'], 'w') as file:
    file.write(ascii([os.environ.get(name) for name in names]))
os._exit(0)
"""


def test_the_process_gets_the_requests_environment(api: Api, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with LocalPlatform([sys.executable, "-c", SAYING], plane=api.plane) as platform:
        _, backend = spawn(platform, key="ключ", env={"GREETING": "hé", "TO": str(told)})
        backend.wait("terminated")
    assert told.read_text().strip() == ascii([backend.id, "ключ", "hé", None])


@pytest.mark.parametrize("path, token, status", [
    (CONNECT, None, 401), (CONNECT, "Basic -", 401), (CONNECT, "Bearer x", 401),
    (CONNECT, "Bearer -", 200),
    ("/v2/service/a/s/connect", "Bearer -", 401), ("/v2/service/-/-/env/connect", "Bearer -", 401),
    ("/v2/service/a/s/connect", "Bearer listed", 200),
    ("/v2/service/a/s/env/connect", "Bearer listed", 200), (CONNECT, "Bearer listed", 200),
])
def test_connecting_takes_a_known_token(path: str, token: Optional[str], status: int) -> None:
    with LocalPlatform(NONE, tokens=["listed"]) as platform:
        headers = {"Authorization": token} if token else {}
        answer = connect(platform, path=path, headers=headers)
        assert answer.status == status
        assert status == 200 or answer.json["error"]["code"] == "UNAUTHORIZED"


def test_plane_wants_a_token_only_where_one_is_listed() -> None:
    with LocalPlatform(NONE, plane=True) as platform:
        assert connect(platform, request_for(platform)).status == 200


@pytest.mark.parametrize("headers, status", [
    (JSON, 401), ({**JSON, "Authorization": "Bearer x"}, 401),
    ({**JSON, "Authorization": "Bearer t"}, 200)])
def test_plane_takes_a_listed_token(headers: Dict[str, str], status: int) -> None:
    with LocalPlatform(NONE, plane=True, tokens=["t"]) as platform:
        assert connect(platform, request_for(platform), headers).status == status


def test_a_connection_takes_many_requests_and_each_is_recorded() -> None:
    seen: List[int] = []
    with LocalPlatform() as platform:
        connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=LONG)
        for method, path, body in (("POST", "/v2/x?a=b", b"12"), ("GET", "/v2/y", b"")):
            connection.request(method, path, body, {"X-Mine": "ja"})
            response = connection.getresponse()
            response.read()
            seen.append(response.status)
        connection.close()
        assert seen == [404, 404]
        assert [(r.method, r.path, r.body) for r in platform.requests] == [
            ("POST", "/v2/x?a=b", b"12"), ("GET", "/v2/y", b"")]
        assert ("X-Mine", "ja") in platform.requests[1].headers
