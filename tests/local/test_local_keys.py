"""A key of the local platform is held until its backend has ended, as the platforms hold it."""

import threading
from typing import List

import pytest

from kit.backends import DEAF, POLITE, SHOUTING, STUBBORN, python
from kit.deadlines import LONG
from kit.platforms import Api
from kit.raw import call, connect, request_for, spawn, terminate
from kit.threads import together
from local.local_platform import LocalPlatform

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

NEVER = 600.0  # longer than any test


def test_a_held_key_gives_the_same_backend_and_another_token(api: Api) -> None:
    with LocalPlatform(python(SHOUTING), plane=api.plane) as platform:
        first, backend = spawn(platform, key="k")
        backend.wait("ready")
        second, again = spawn(platform, key="k", may_spawn=False)
        assert (again, second["spawned"], second["status"]) == (backend, False, "ready")
        assert second["token"] != first["token"]
        assert {call(first["url"]).status, call(second["url"]).status} == {200}


def test_who_asks_without_a_key_gets_a_backend_of_his_own(api: Api) -> None:
    with LocalPlatform(["/nonexistent"], plane=api.plane) as platform:
        backends = [spawn(platform, key="k")[1], spawn(platform)[1], spawn(platform)[1]]
        assert len({backend.id for backend in backends}) == 3


def test_of_many_connects_at_once_under_a_new_key_one_spawns(api: Api) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane) as platform:
        start = threading.Barrier(20)

        def one() -> List[object]:
            start.wait(LONG)
            answer = spawn(platform, key="k")[0]
            return [answer["backend_id"], answer["spawned"]]

        answers = list(together({str(n): one for n in range(20)}, 20).values())
        assert len({id for id, _ in answers}) == 1
        assert sum(bool(spawned) for _, spawned in answers) == 1


def test_another_image_or_tag_under_a_held_key_is_ignored(api: Api) -> None:
    with LocalPlatform(python(DEAF), plane=api.plane) as platform:
        _, backend = spawn(platform, key="k", tag="one", image="i")
        answer, again = spawn(platform, key="k", tag="two", image="j")
        assert (again, answer["spawned"]) == (backend, False)


def test_right_after_a_terminate_its_key_still_gives_ready(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        _, backend = spawn(platform, key="k")
        backend.wait("ready")
        platform.lag = NEVER
        assert terminate(platform, backend.id).status == 200
        answer, again = spawn(platform, key="k")
        assert (again, answer["spawned"], answer["status"]) == (backend, False, "ready")


def test_a_terminating_backend_holds_its_key_and_its_url_is_gone(api: Api) -> None:
    with LocalPlatform(python(STUBBORN), plane=api.plane, grace=NEVER) as platform:
        answer, backend = spawn(platform, key="k")
        backend.wait("ready")
        terminate(platform, backend.id)
        backend.wait("terminating")
        held, again = spawn(platform, key="k")
        assert (again, held["spawned"], held["status"]) == (backend, False, "terminating")
        assert {call(answer["url"]).status, call(held["url"]).status} == {410}


def test_a_key_is_free_once_its_backend_has_ended(api: Api) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane) as platform:
        _, backend = spawn(platform, key="k")
        backend.wait("ready")
        terminate(platform, backend.id)
        backend.wait("terminated")
        answer, another = spawn(platform, key="k")
        assert answer["spawned"] and another is not backend


def test_a_key_that_nobody_holds_is_409_for_who_may_not_spawn(api: Api) -> None:
    with LocalPlatform(["/nonexistent"], plane=api.plane, tokens=["-"]) as platform:
        headers = {"Authorization": "Bearer -", "Content-Type": "application/json"}
        answer = connect(platform, request_for(platform, key="k", may_spawn=False), headers)
        assert answer.status == 409
        kind = answer.json["kind"] if api.plane else answer.json["error"]["code"]
        assert kind == ("KeyUnheldNoSpawnConfig" if api.plane else "KEY_NOT_HELD")


def test_a_process_that_ignores_sigterm_holds_its_key_for_the_grace(api: Api) -> None:
    with LocalPlatform(python(STUBBORN), plane=api.plane, grace=0.3) as platform:
        _, backend = spawn(platform, key="k")
        backend.wait("ready")
        terminate(platform, backend.id)
        backend.wait("terminated")
        assert spawn(platform, key="k")[0]["spawned"]


def test_the_grace_is_thirty_seconds_where_nobody_sets_it() -> None:
    assert LocalPlatform().grace == 30.0


def test_keys_of_two_services_are_two() -> None:
    with LocalPlatform(python(DEAF), tokens=["t"]) as platform:
        ids = [connect(platform, {"key": "k"}, {"Authorization": "bearer t"},
                       "/v2/service/a/%s/connect" % service).json["backend_id"]
               for service in ("s", "s", "s/env", "other")]
        assert ids[0] == ids[1] and len(set(ids)) == 3


def test_keys_of_two_namespaces_are_two() -> None:
    with LocalPlatform(python(DEAF), plane=True) as platform:
        config = {"executable": {"image": "i"}}
        named = {"name": "k", "namespace": "n"}
        first = connect(platform, {"key": named, "spawn_config": config}).json
        again = connect(platform, {"key": named}).json
        other = connect(platform, {"key": {"name": "k"}, "spawn_config": config}).json
        assert platform.backend(first["backend_id"]).key == "k"
        assert (again["backend_id"], again["spawned"], again["drone"]) == (
            first["backend_id"], False, None)
        assert other["spawned"]
