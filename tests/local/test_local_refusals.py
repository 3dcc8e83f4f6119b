"""What the local platform refuses, and in whose words: the hosted API's, the dev server's, Plane's
own, or those of the framework under Plane."""

from typing import Any, Dict

import pytest

from kit.backends import DEAF, python
from kit.deadlines import LONG
from kit.platforms import Api
from kit.raw import (CONNECT, JSON, Answer, Body, asking, call, connect, request_for, spawn,
                     terminate)
from local.local_platform import LocalPlatform

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

NONE = ["/nonexistent"]
IMAGE: Dict[str, Any] = {"executable": {"image": "i"}}
FAILED = {"id", "kind", "message"}  # an error of Plane's own


def hosted(request: Body) -> Answer:
    """What the hosted platform's API says."""
    with LocalPlatform(NONE, tokens=["t"]) as platform:
        return connect(platform, request, {"Authorization": "Bearer t"})


def plane(request: Body, **options: Any) -> Answer:
    with LocalPlatform(NONE, plane=True, **options) as platform:
        return connect(platform, request)


def words(answer: Answer) -> str:
    """Plain text, from the framework."""
    assert answer.headers.get_content_type() == "text/plain"
    text = answer.body.decode()
    assert text and not text.startswith("{")
    return text


ILL_SHAPED = [
    (b"{", "JSON"), (b"null", "body"), (b"[]", "body"), (b"NaN", "JSON"), (b"[" * 100000, "JSON"),
    (b'{"user": "\\ud800"}', "JSON"),
    ({"key": ""}, "key"), ({"key": "k" * 129}, "key"), ({"key": 1}, "key"), ({"key": None}, "key"),
    ({"spawn": None}, "spawn"), ({"spawn": False}, "spawn"), ({"spawn": 1}, "spawn"),
    ({"kee": "k"}, "kee"), ({"auth": []}, "auth"), ({"auth": None}, "auth"), ({"user": 1}, "user"),
    ({"spawn": {"max_idle_seconds": 1.0}}, "spawn.max_idle_seconds"),
    ({"spawn": {"lifetime_limit_seconds": -1}}, "spawn.lifetime_limit_seconds"),
    ({"spawn": {"lifetime_limit_seconds": True}}, "spawn.lifetime_limit_seconds"),
    ({"spawn": {"lifetime_limit_seconds": 2 ** 31}}, "spawn.lifetime_limit_seconds"),
    ({"spawn": {"executable": {"env": {"PORT": "1"}}}}, "spawn.executable.env.PORT"),
    ({"spawn": {"executable": {"env": {"SESSION_BACKEND_KEY": "1"}}}}, "spawn.executable.env"),
    ({"spawn": {"executable": {"env": {"A=B": "1"}}}}, "spawn.executable.env"),
    ({"spawn": {"executable": {"env": {"A": 1}}}}, "spawn.executable.env.A"),
    ({"spawn": {"executable": {"env": {"A": "\0"}}}}, "spawn.executable.env.A"),
    ({"spawn": {"executable": {"resource_limits": {"cpu_period_percent": 256}}}},
     "cpu_period_percent"),
    ({"spawn": {"executable": {"image": "i"}}}, "spawn.executable.image"),
]


@pytest.mark.parametrize("request_, told", ILL_SHAPED, ids=lambda value: str(value)[:60])
def test_the_hosted_api_refuses_an_ill_shaped_request(request_: Body, told: str) -> None:
    answer = hosted(request_)
    error = answer.json["error"]
    assert (answer.status, error["status"]) == (400, 400)
    assert set(error) == {"message", "status", "code", "id"}
    assert told in error["message"]


@pytest.mark.parametrize("request_", [
    {"key": "ü" * 128, "user": "u", "auth": {"a": [1, {"b": None}]}}, {"spawn": True},
    {"spawn": {}}, b"",
    {"spawn": {"tag": "t", "cluster": "c", "lifetime_limit_seconds": 2 ** 31 - 1,
               "max_idle_seconds": 9, "executable": {
                   "mount": True, "env": {"A": ""}, "resource_limits": {
                       "cpu_period": 1, "cpu_period_percent": 255, "cpu_time_limit": 1,
                       "memory_limit_bytes": 2 ** 63 - 1, "disk_limit_bytes": 0}}}},
], ids=lambda value: str(value)[:60])
def test_the_hosted_api_takes_a_well_shaped_request(request_: Body) -> None:
    assert hosted(request_).status == 200


@pytest.mark.parametrize("request_, status", [
    (b"{", 400), ({"spawn": 1}, 400), ({"key": "k", "spawn": False}, 409)], ids=str)
def test_the_dev_server_refuses_in_plain_words_without_a_type(request_: Body, status: int) -> None:
    with LocalPlatform(NONE) as platform:
        answer = connect(platform, request_)
        assert (answer.status, answer.headers["Content-Type"]) == (status, None)
        assert answer.body and not answer.body.startswith(b"{")


def test_the_dev_servers_404_is_empty() -> None:
    with LocalPlatform(NONE) as platform:
        for path in ("/", "/v2/x", "/v2/backend/nobody/status", "/pub/b/x/status"):
            answer = call(platform.url + path)
            assert (answer.status, answer.body) == (404, b"")
        assert terminate(platform, "nobody").status == 404
        assert call(platform.url + CONNECT, "GET").status == 404


def test_the_dev_server_has_no_environments() -> None:
    with LocalPlatform(NONE) as platform:
        assert connect(platform, path="/v2/service/-/-/environment/connect").status == 404


def test_plane_knows_its_own_paths_alone() -> None:
    with LocalPlatform(NONE, plane=True) as platform:
        assert call(platform.url + CONNECT, "POST", b"{}", JSON).status == 404
        assert call(platform.url + "/ctrl/connect").status == 404


def test_planes_status_of_an_unknown_backend_is_404_at_once() -> None:
    with LocalPlatform(NONE, plane=True) as platform:
        answer = call(platform.url + "/pub/b/nobody/status")
        assert (answer.status, answer.json["kind"], set(answer.json)) == (404, "NotFound", FAILED)


@pytest.mark.parametrize("body", [b"nonsense", b"{", b"[" * 100000, b"\xff"],
                         ids=["words", "cut", "deep", "no UTF-8"])
def test_plane_says_400_in_plain_text_to_what_is_no_json(body: bytes) -> None:
    answer = plane(body)
    assert answer.status == 400
    words(answer)


@pytest.mark.parametrize("request_", [
    {"spawn_config": {**IMAGE, "max_idle_seconds": 0.5}},
    {"spawn_config": {**IMAGE, "max_idle_seconds": 3000000000}},
    {"spawn_config": IMAGE, "auth": None}, {"key": "k"}, {"key": {}}, {"spawn": True},
    {"spawn_config": {}}, {"spawn_config": {"executable": {}}},
    {"spawn_config": {**IMAGE, "tag": "t"}}, b"[]",
], ids=str)
def test_plane_says_422_in_plain_text_to_the_wrong_shape(request_: Body) -> None:
    answer = plane(request_)
    assert answer.status == 422
    words(answer)


@pytest.mark.parametrize("headers", [
    {}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"},
], ids=str)
def test_plane_says_415_in_plain_text_to_another_type(headers: Dict[str, str]) -> None:
    with LocalPlatform(NONE, plane=True) as platform:
        answer = connect(platform, {"spawn_config": IMAGE}, headers)
        assert answer.status == 415
        words(answer)


def test_plane_says_413_in_plain_text_above_two_megabytes() -> None:
    """At once: it does not wait for a body that it will not take."""
    head = (b"POST /ctrl/connect HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n")
    with LocalPlatform(NONE, plane=True) as platform, asking(platform, head % (2097153,)) as sock:
        received = b"".join(iter(lambda: sock.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nContent-Type: text/plain" in received and b"{" not in received


def test_plane_takes_two_megabytes() -> None:
    request = request_for(LocalPlatform(plane=True), auth={"a": "x" * 2000000})
    assert plane(request).status == 200


NUL: Dict[str, Dict[str, Any]] = {"user": {"user": "a\0"}, "auth": {"auth": {"a": ["\0"]}},
                                  "a name in auth": {"auth": {"\0": 1}}, "key": {"key": "a\0"}}


@pytest.mark.parametrize("where", list(NUL))
def test_nul_is_planes_500_other(where: str) -> None:
    answer = plane(request_for(LocalPlatform(plane=True), **NUL[where]))
    assert (answer.status, answer.json["kind"], set(answer.json)) == (500, "Other", FAILED)


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert plane(request_for(LocalPlatform(plane=True), user="\\u0000")).status == 200


@pytest.mark.parametrize("where", list(NUL))
def test_nul_is_the_hosted_apis_500(where: str) -> None:
    answer = hosted(request_for(LocalPlatform(), **NUL[where]))
    assert (answer.status, answer.json["error"]["status"]) == (500, 500)


@pytest.mark.parametrize("length, status", [(255, 200), (256, 500)])
def test_a_user_may_have_255_characters(api: Api, length: int, status: int) -> None:
    request = request_for(LocalPlatform(plane=api.plane), user="ü" * length)
    assert (plane(request) if api.plane else hosted(request)).status == status


@pytest.mark.parametrize("length, status", [(255, 200), (256, 500)])
def test_a_namespace_may_have_255_characters(length: int, status: int) -> None:
    request = {"key": {"name": "k", "namespace": "n" * length}, "spawn_config": IMAGE}
    assert plane(request).status == status


def test_an_environment_that_does_not_fit_the_notification_is_planes_500() -> None:
    with LocalPlatform(python(DEAF), plane=True) as platform:
        answer = connect(platform, request_for(platform, key="k", env={"A": "x" * 7494}))
        assert (answer.status, answer.json["kind"]) == (500, "Other")
        answer = connect(platform, request_for(platform, key="k", env={"A": "x" * 7000}))
        assert (answer.status, answer.json["spawned"]) == (200, True)  # the key stayed free


@pytest.mark.parametrize("more", [
    {"pool": "other"}, {"cluster": "other"}, {"cluster": "no:such/one"}], ids=str)
def test_where_no_drone_is_plane_says_500(more: Dict[str, str]) -> None:
    answer = plane({"spawn_config": {**IMAGE, **more}})
    assert (answer.status, answer.json["kind"]) == (500, "NoDroneAvailable")


def test_planes_drone_is_in_the_cluster_and_the_pool_that_it_is_given() -> None:
    with LocalPlatform(NONE, plane=True, cluster="c.test", pool="p") as platform:
        config = {**IMAGE, "cluster": "c.test", "pool": "p"}
        assert connect(platform, {"spawn_config": config}).status == 200
        assert connect(platform, {"spawn_config": IMAGE}).status == 500


def test_plane_wants_a_key_or_a_config() -> None:
    answer = plane({})
    assert (answer.status, answer.json["kind"]) == (409, "KeyUnheldNoSpawnConfig")


def test_terminating_takes_a_known_token_and_a_boolean() -> None:
    with LocalPlatform(python(DEAF), tokens=["t"]) as platform:
        _, backend = spawn(platform)
        backend.wait("waiting", LONG)
        url = "%s/v2/backend/%s/terminate" % (platform.url, backend.id)
        listed = {"Authorization": "Bearer t"}
        assert call(url, "POST", b"{}").status == 401
        assert call(url, "POST", {"hard": 1}, listed).status == 400
        assert call(url, "POST", {"hard": False}, listed).status == 200
