"""The idle and the old are looked at now and then, and ended softly, as `swept`."""

import math
import time
from typing import Dict

import pytest

from kit.backends import POLITE, SHOUTING, STUBBORN, python
from kit.deadlines import LONG
from kit.platforms import LIFE, Api
from kit.raw import connect, milliseconds, spawn, statuses, upgraded
from local.local_platform import Backend, LocalPlatform

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

OFTEN = 0.05  # seconds between two looks
NEVER = 600.0

LIMITS: Dict[str, Dict[str, int]] = {"idle": {"max_idle_seconds": 0},
                                     "old": {"lifetime_limit_seconds": 0}}


def sweep(platform: LocalPlatform) -> None:
    """From now on."""
    with platform.changed:
        platform.sweep = OFTEN
        platform.changed.notify_all()


@pytest.mark.parametrize("limit", list(LIMITS))
def test_it_ends_softly_and_the_reason_is_swept(api: Api, limit: str) -> None:
    with LocalPlatform(python(POLITE), plane=api.plane, sweep=NEVER) as platform:
        _, backend = spawn(platform, limits=LIMITS[limit])
        backend.wait("ready")
        sweep(platform)
        assert backend.wait("terminating")["termination_reason"] == "swept"
        last = backend.wait("terminated")
        assert (last["termination_reason"], last["termination_kind"]) == ("swept", "soft")
        assert statuses(backend) == LIFE + ["terminating", "terminated"]


def test_one_that_ignores_sigterm_has_the_grace_as_after_a_terminate(api: Api) -> None:
    with LocalPlatform(python(STUBBORN), plane=api.plane, sweep=NEVER, grace=NEVER) as platform:
        _, backend = spawn(platform, key="k", limits={"max_idle_seconds": 0})
        backend.wait("ready")
        sweep(platform)
        backend.wait("terminating")
        answer, again = spawn(platform, key="k")
        assert (again, answer["status"]) == (backend, "terminating")


@pytest.mark.parametrize("limit", list(LIMITS))
def test_a_limit_of_nothing_lives_until_a_look_that_finds_it_old_enough(limit: str) -> None:
    """With looks every five seconds it lives two to seven."""
    with LocalPlatform(python(POLITE), plane=True, sweep=1.0) as platform:
        _, backend = spawn(platform, limits=LIMITS[limit])
        born, ended = backend.wait("scheduled"), backend.wait("terminating")
        assert milliseconds(ended) - milliseconds(born) >= 395


def test_nothing_is_swept_between_two_looks() -> None:
    with LocalPlatform(python(POLITE), plane=True, sweep=NEVER) as platform:
        _, backend = spawn(platform, limits={"max_idle_seconds": 0})
        backend.wait("ready")
        with pytest.raises(TimeoutError):
            backend.wait("terminating", 0.3)


def test_it_looks_every_five_seconds_where_nobody_says_otherwise() -> None:
    assert LocalPlatform().sweep == 5.0


def limit_idleness(platform: LocalPlatform, backend: Backend, seconds: float) -> None:
    """To less than a request can say."""
    with platform.changed:
        backend.wanted = backend.wanted._replace(max_idle=seconds)
        platform.changed.notify_all()


def test_it_is_not_idle_while_a_request_is_under_way(api: Api) -> None:
    with LocalPlatform(python(SHOUTING), plane=api.plane, sweep=OFTEN, report=OFTEN) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        with upgraded(answer["url"]):
            limit_idleness(platform, backend, 0.2)
            with pytest.raises(TimeoutError):
                backend.wait("terminating", 0.6)
        assert backend.wait("terminating", LONG)["termination_reason"] == "swept"


def test_one_in_use_is_ended_where_the_proxy_reports_more_seldom_than_the_limit(api: Api) -> None:
    """As with `max_idle_seconds` under 15 and a proxy that reports every 7 seconds."""
    with LocalPlatform(python(SHOUTING), plane=api.plane, sweep=OFTEN, report=NEVER) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        with upgraded(answer["url"]):
            limit_idleness(platform, backend, 0.2)
            assert backend.wait("terminating", LONG)["termination_reason"] == "swept"


def test_the_proxy_reports_every_seven_seconds_where_nobody_says_otherwise() -> None:
    assert LocalPlatform().report == 7.0


def test_idleness_begins_when_the_last_use_ends() -> None:
    with LocalPlatform(python(SHOUTING), plane=True, sweep=OFTEN, report=OFTEN) as platform:
        answer, backend = spawn(platform)
        backend.wait("ready")
        with upgraded(answer["url"]):
            limit_idleness(platform, backend, 0.3)
            left = time.time() * 1000
        assert milliseconds(backend.wait("terminating")) - left > 295


def test_jamsockets_backends_are_idle_after_five_minutes_unless_spawn_is_an_object() -> None:
    with LocalPlatform(["/nonexistent"]) as platform:
        for request, limit in (({}, 300), ({"spawn": True}, 300), ({"spawn": {}}, math.inf)):
            backend = platform.backend(connect(platform, request).json["backend_id"])
            assert backend.wanted.max_idle == limit
