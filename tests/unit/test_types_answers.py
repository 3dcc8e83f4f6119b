"""Answers: strict or not, the wire's spellings, times."""

import math
from typing import Any, Dict

import pytest

from jamsocket_lite import BackendState, ConnectResponse
from kit.documents import FULL, KINDS, REASONS, RESPONSE, each_answer, refused
from kit.platforms import STATUSES, TIME


@each_answer
def test_an_answer_ignores_unknown_fields(kind: Any) -> None:
    for more in ({"subdomain": None}, {"drone": "dr-1", "a b": object(), "to_dict": 1,
                                       "_required": ()}):
        for strict in (True, False):
            assert kind.from_dict({**FULL[kind], **more},
                                  strict=strict) == kind.from_dict(FULL[kind])


@pytest.mark.parametrize("kind, field, value", [
    *[(ConnectResponse, name, value) for name in ("backend_id", "status", "token", "url",
                                                  "status_url", "ready_url", "secret_token")
      for value in (5, b"x", ["x"], True)],
    (ConnectResponse, "spawned", "yes"),
    *[(BackendState, name, value) for name in ("status", "termination_reason", "termination_kind")
      for value in (5, b"x", ["x"], True)],
    *[(BackendState, "time", value) for value in (1.5, b"x", ["x"], True, math.nan)],
], ids=repr)
def test_an_answers_field_has_its_type_strict_or_not(kind: Any, field: str, value: Any) -> None:
    for strict in (True, False):
        refused(lambda: kind.from_dict({**FULL[kind], field: value}, strict=strict), field)
    refused(lambda: kind(**{**FULL[kind], field: value}), field)


def test_urls_and_times_are_not_looked_into() -> None:
    urls = {"url": "", "status_url": "nonsense", "ready_url": "\n"}
    assert ConnectResponse.from_dict({**RESPONSE, **urls}).to_dict() == {**RESPONSE, **urls}
    for text in ("", "yesterday", "2026-13-99", "0"):
        assert BackendState.from_dict({"status": "ready", "time": text}).time == text


def test_the_constructor_is_strict_with_answers() -> None:
    refused(lambda: BackendState("sleeping", TIME), "status")  # type: ignore[arg-type]
    refused(lambda: BackendState("terminating", TIME), "termination_reason")
    refused(lambda: BackendState("ready", TIME, exit_error=False), "exit_error")
    refused(lambda: ConnectResponse(**{**RESPONSE, "status": "sleeping"}), "status")


@pytest.mark.parametrize("document, place", [
    ({"status": "sleeping", "time": TIME}, "status"),
    ({"status": "", "time": TIME}, "status"),
    ({"status": "READY", "time": TIME}, "status"),
    ({"status": "terminating", "time": TIME}, "termination_reason"),
    ({"status": "hard-terminating", "time": TIME, "termination_reason": None},
     "termination_reason"),
    ({"status": "terminated", "time": TIME, "termination_reason": "bored"}, "termination_reason"),
    ({"status": "terminated", "time": TIME, "termination_kind": "gentle"}, "termination_kind"),
    *[({"status": status, "time": TIME, name: value}, name) for status in STATUSES[:5]
      for name, value in (
        ("termination_reason", "swept"), ("termination_kind", "hard"), ("exit_error", False))],
], ids=repr)
def test_strict_refuses_what_not_strict_keeps_as_it_came(document: Dict[str, Any],
                                                         place: str) -> None:
    refused(lambda: BackendState.from_dict(document), place)
    refused(lambda: BackendState.from_dict(document, strict=True), place)
    kept = BackendState.from_dict(document, strict=False)
    assert kept.to_dict() == {name: value for name, value in document.items() if value is not None}


def test_a_response_may_hold_a_status_from_the_future() -> None:
    document = {**RESPONSE, "status": "sleeping"}
    refused(lambda: ConnectResponse.from_dict(document), "status")
    assert ConnectResponse.from_dict(document, strict=False).to_dict() == document


@pytest.mark.parametrize("document", [
    *[{"status": status} for status in STATUSES[:5]],
    *[{"status": status, "termination_reason": reason} for status in STATUSES[5:] for reason
      in REASONS],
    *[{"status": "terminating", "termination_reason": "lost", "termination_kind": kind} for kind
      in KINDS],
    *[{"status": "terminated", "termination_kind": kind, "exit_error": True} for kind in KINDS],
    {"status": "terminated"}, {"status": "terminated", "exit_error": True},
], ids=lambda document: "-".join(map(str, document.values())))
def test_every_state_of_the_seed_document_passes_the_strict_check(document: Dict[str, Any]) -> None:
    given = {**document, "time": TIME}
    assert BackendState.from_dict(given).to_dict() == given == BackendState(**given).to_dict()


@pytest.mark.parametrize("wire, seed", [("keyexpired", "key_expired"),
                                        ("startuptimeout", "startup_timeout"),
                                        ("internalerror", "internal_error")])
@pytest.mark.parametrize("strict", [True, False])
def test_both_spellings_of_a_reason_are_read(wire: str, seed: str, strict: bool) -> None:
    for spelling in (wire, seed):
        document = {"status": "terminating", "time": TIME, "termination_reason": spelling}
        assert BackendState.from_dict(document, strict=strict).termination_reason == seed


@pytest.mark.parametrize("milliseconds, text", [
    (1795474000000 - 126632, "2026-11-23T22:44:33.368Z"), (0, "1970-01-01T00:00:00.000Z"),
    (999, "1970-01-01T00:00:00.999Z"), (951782400001, "2000-02-29T00:00:00.001Z"),
    (2 ** 31 * 1000, "2038-01-19T03:14:08.000Z"), (253402300799999, "9999-12-31T23:59:59.999Z"),
])
@pytest.mark.parametrize("strict", [True, False])
def test_milliseconds_become_iso_8601(milliseconds: int, text: str, strict: bool) -> None:
    assert BackendState.from_dict({"status": "ready", "time": milliseconds},
                                  strict=strict).time == text


@pytest.mark.parametrize("time", [True, 2 ** 63, -2 ** 63, 10 ** 5000, 1.5],
                         ids=["bool", "too late", "too early", "long", "float"])
def test_a_number_that_is_no_time_is_refused(time: Any) -> None:
    for strict in (True, False):
        refused(lambda: BackendState.from_dict({"status": "ready", "time": time}, strict=strict),
                "time")


@pytest.mark.parametrize("status", STATUSES)
def test_is_ready_and_is_terminated_name_one_status_each(status: str) -> None:
    state = BackendState.from_dict({"status": status, "time": TIME}, strict=False)
    assert (state.is_ready, state.is_terminated) == (status == "ready", status == "terminated")


def test_a_status_from_the_future_is_neither() -> None:
    state = BackendState.from_dict({"status": "sleeping", "time": TIME}, strict=False)
    assert (state.is_ready, state.is_terminated) == (False, False)
