"""A short soak (`make soak` makes long ones), and whether it would notice."""

import re
import time

import pytest

from dev import soak
from jamsocket_lite import NetworkError
from kit.deadlines import record
from kit.haproxy import needs_haproxy
from kit.nginx import needs_nginx
from kit.witness import SAID_READY, Witness


@needs_nginx
@needs_haproxy
def test_a_short_soak_holds() -> None:
    report = soak.soak(2.0, 20261125, longest=1.0)
    record("soak", "%d sessions, %.2f s past a deadline" % (report.sessions, report.latest))
    assert not report.faults(), "\n".join(report.faults())
    assert {"connect", "wait", "stream", "terminate"} <= set(report.outcomes)


@pytest.fixture
def report() -> soak.Report:
    """Of a run without a fault."""
    made = soak.Report()
    assert made.call("wait", 60.0, lambda: 7) == 7
    made.ready.append(soak.Ready("b", 5.0, 6.0))
    made.judge(Witness())
    assert not made.faults() and "wait" in made.lines()[1]
    return made


def test_a_ready_that_is_over_is_a_fault(report: soak.Report) -> None:
    witness = Witness()
    witness.note(4.9, "b", SAID_READY)
    witness.note(5.5, "b", "terminating")
    report.judge(witness)
    assert report.faults() == ["1 times `ready` was over"]


def test_a_ready_that_ended_after_the_platform_had_said_it_is_none(report: soak.Report) -> None:
    witness = Witness()
    witness.note(5.4, "b", SAID_READY)
    witness.note(5.5, "b", "terminated")
    report.judge(witness)
    assert not report.faults()


def test_a_foreign_exception_is_a_fault(report: soak.Report) -> None:
    def call() -> None:
        raise KeyError("status")

    report.call("wait", 1.0, call)
    fault, = report.faults()
    assert fault.startswith("foreign") and "KeyError: 'status'" in fault


def test_an_error_of_the_contract_is_none(report: soak.Report) -> None:
    def call() -> None:
        raise NetworkError("connection refused")

    assert report.call("wait", 1.0, call) is None
    assert not report.faults()


def test_a_call_past_its_deadline_is_a_fault(report: soak.Report,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "SLACK", 0.1)
    report.call("wait", 0.1, lambda: time.sleep(0.3))
    report.judge(Witness())
    fault, = report.faults()
    assert re.match(r"late: wait: done after \d+\.\d\d s of 0\.10 s\Z", fault)


def test_a_call_that_is_late_with_the_whole_machine_is_none(report: soak.Report) -> None:
    report.overdue.append(soak.Overdue(5.0, 9.0, 3.0, "wait"))
    report.noise.late.append((6.0, 8.5))
    report.judge(Witness())
    assert not report.faults()


def test_a_descriptor_that_is_left_is_a_fault(report: soak.Report) -> None:
    report.files = 6, 7
    assert report.faults() == ["descriptors are left"]
